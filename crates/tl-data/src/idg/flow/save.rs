//! Writing the images of a flow to a folder, to look at them.
//!
//! The one decision: the name says which sample in which epoch it is, so that a run writes the same names
//! every time; a file that is there already is never written over, the new one gets a number, and no name ever
//! stands for half a file. Keras ends the name in a random number instead.

use std::fs::{self, OpenOptions};
use std::io::{self, Cursor, ErrorKind, Write};
use std::path::{Path, PathBuf};

use image::{DynamicImage, GrayImage, ImageFormat, RgbImage, RgbaImage};
use ndarray::{Array3, CowArray, Ix3};

use crate::idg::args::Reader;
use crate::idg::error::{IdgError, IdgProblem, nearest};
use crate::idg::layout::hwc;
use crate::idg::options::DataFormat;

/// Where to save the images of each batch, and how to call them: `{prefix}_{index}_{epoch}.{format}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SaveTo {
    /// The folder; made if it is not there.
    pub dir: PathBuf,
    /// Goes before each name; Keras's `save_prefix`.
    pub prefix: String,
    /// `png`, `jpeg`, `jpg`, `bmp`, `gif`, `ppm`, `tif` or `tiff`; Keras's `save_format`.
    pub format: String,
}

/// The formats that can be written.
const FORMATS: &[&str] = &["png", "jpeg", "jpg", "bmp", "gif", "ppm", "tif", "tiff"];

/// How often a free name is looked for.
const TRIES: u32 = 100_000;

impl SaveTo {
    pub(super) fn read(r: &mut Reader) -> Option<Self> {
        let dir = r.optional_text("save_to_dir");
        let (prefix, format) = (r.text("save_prefix", ""), r.text("save_format", "png"));
        Some(Self { dir: dir?.into(), prefix, format })
    }

    pub(super) fn problem(&self) -> Option<IdgProblem> {
        if self.prefix.contains(['/', '\\']) {
            let (got, expected) = (format!("`{}`", self.prefix), "the start of a file's name".to_owned());
            return Some(IdgProblem::Value { name: "save_prefix", got, expected });
        }
        if FORMATS.contains(&self.format.as_str()) {
            return None;
        }
        let nearest = nearest(&self.format, FORMATS.iter().copied());
        Some(IdgProblem::Choice { name: "save_format", got: self.format.clone(), known: FORMATS, nearest })
    }

    /// Saves one image of 1, 3 or 4 channels, stretched so that its least value is black and its largest white.
    pub(super) fn save(
        &self,
        image: &Array3<f32>,
        format: DataFormat,
        index: usize,
        epoch: u64,
    ) -> Result<(), IdgError> {
        let image = hwc(&image.view(), format);
        let name = format!("{}_{index}_{epoch}", self.prefix);
        let path = self.dir.join(format!("{name}.{}", self.format));
        let fail = |path: &Path, reason: String| IdgError::Save { path: path.to_owned(), reason };
        let bytes = self.encoded(image).map_err(|reason| fail(&path, reason))?;
        fs::create_dir_all(&self.dir).map_err(|error| fail(&path, error.to_string()))?;
        let part = self.part(&name, &bytes).map_err(|error| fail(&path, error.to_string()))?;
        let done = self.persist(&part, &name);
        // Whether it has moved or not, there is nothing left to do about the part.
        drop(fs::remove_file(&part));
        done.map_err(|error| fail(&path, error.to_string()))
    }

    /// The content under a name of its own.
    fn part(&self, name: &str, bytes: &[u8]) -> io::Result<PathBuf> {
        for number in 0..TRIES {
            let path = self.dir.join(format!(".{name}.{number}.part"));
            match OpenOptions::new().write(true).create_new(true).open(&path) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
                Ok(mut file) => {
                    let written = file.write_all(bytes);
                    return match written {
                        Ok(()) => Ok(path),
                        Err(error) => {
                            drop(fs::remove_file(&path));
                            Err(error)
                        }
                    };
                }
            }
        }
        Err(too_many())
    }

    /// Gives a part its name, or the first one with a number that is free.
    fn persist(&self, part: &Path, name: &str) -> io::Result<()> {
        for number in 0..TRIES {
            let number = if number == 0 { String::new() } else { format!("_{number}") };
            let path = self.dir.join(format!("{name}{number}.{}", self.format));
            match fs::hard_link(part, &path) {
                Ok(()) => return Ok(()),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => continue,
                // Some file systems have no links: there the name is taken first.
                Err(_) => {}
            }
            match OpenOptions::new().write(true).create_new(true).open(&path) {
                Ok(_) => return fs::rename(part, &path),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Err(too_many())
    }

    fn encoded(&self, image: CowArray<'_, f32, Ix3>) -> Result<Vec<u8>, String> {
        let (height, width, channels) = image.dim();
        let low = image.iter().copied().fold(f32::INFINITY, f32::min);
        let high = image.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let range = if high > low { high - low } else { 1.0 };
        let pixels: Vec<u8> = image.iter().map(|value| ((value - low) / range * 255.0) as u8).collect();
        let (width, height) = (width as u32, height as u32);
        let picture = match channels {
            1 => GrayImage::from_raw(width, height, pixels).map(DynamicImage::ImageLuma8),
            3 => RgbImage::from_raw(width, height, pixels).map(DynamicImage::ImageRgb8),
            4 => RgbaImage::from_raw(width, height, pixels).map(DynamicImage::ImageRgba8),
            _ => None,
        };
        let picture = picture.ok_or_else(|| format!("it has {channels} channels (expected 1, 3 or 4)"))?;
        let (picture, format) = match self.format.as_str() {
            "jpeg" | "jpg" => (opaque(picture), ImageFormat::Jpeg),
            "bmp" => (picture, ImageFormat::Bmp),
            "gif" => (picture.into_rgba8().into(), ImageFormat::Gif),
            "ppm" => (picture.into_rgb8().into(), ImageFormat::Pnm),
            "tif" | "tiff" => (picture, ImageFormat::Tiff),
            _ => (picture, ImageFormat::Png),
        };
        let mut bytes = Cursor::new(Vec::new());
        picture.write_to(&mut bytes, format).map_err(|error| error.to_string())?;
        Ok(bytes.into_inner())
    }
}

fn too_many() -> io::Error {
    io::Error::new(ErrorKind::AlreadyExists, "too many files of this name")
}

/// Without alpha, which JPEG does not have.
fn opaque(picture: DynamicImage) -> DynamicImage {
    if picture.color().has_alpha() { picture.into_rgb8().into() } else { picture }
}
