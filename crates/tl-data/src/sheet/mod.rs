//! Contact sheets: a grid of small pictures with captions.
//!
//! The one decision: a picture is drawn onto its page at once and forgotten, and a page is handed over when it is
//! full. So a sheet of any length takes the memory of one page and one row of pictures.
//!
//! The letters are Noto Sans Mono (SIL Open Font License 1.1, which allows embedding) as bitmaps of the crate
//! `noto-sans-mono-bitmap` (MIT).

mod overlay;
mod text;

use std::collections::BTreeMap;
use std::io::Cursor;
use std::path::Path;

use image::imageops::{replace, thumbnail};
use image::{ImageFormat, Rgb, RgbImage};
use rayon::prelude::*;

use crate::decode::decode_rgb;
use crate::error::DataError;
use crate::folder::Sample;
use crate::inspect::{Contents, short};
use crate::pool::DataPool;
use crate::split::Part;
use crate::table::Task;
pub use overlay::{HeatMap, beside_heat, jpeg};
use text::{LETTER, LINE, draw, legible, wrapped};

/// How a sheet looks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SheetOptions {
    /// Pictures in a row: 1 to 64.
    pub columns: u32,
    /// Rows on a page: 1 to 200.
    pub rows: u32,
    /// The longest side of a small picture, in pixels: 32 to 1024.
    pub thumb: u32,
    /// Lines below a picture: 0 to 8.
    pub lines: u32,
}

impl Default for SheetOptions {
    /// 8 pictures of 160 pixels in a row, 8 rows, 2 lines.
    fn default() -> Self {
        Self { columns: 8, rows: 8, thumb: 160, lines: 2 }
    }
}

/// The largest page, in pixels.
const LARGEST: u64 = 64 << 20;

/// Pixels around and between pictures.
const GAP: u32 = 8;

const PAPER: Rgb<u8> = Rgb([250, 250, 250]);
const FRAME: Rgb<u8> = Rgb([225, 225, 225]);
const INK: Rgb<u8> = Rgb([30, 30, 30]);
const FAINT: Rgb<u8> = Rgb([105, 105, 105]);

impl SheetOptions {
    /// Checks the ranges.
    ///
    /// # Errors
    /// The first field that is out of range, or a page of more than 64 million pixels.
    pub fn check(&self) -> Result<(), DataError> {
        let fields = [
            ("columns", self.columns, 1, 64),
            ("rows", self.rows, 1, 200),
            ("thumb", self.thumb, 32, 1024),
            ("lines", self.lines, 0, 8),
        ];
        for (option, got, least, most) in fields {
            if !(least..=most).contains(&got) {
                let (got, expected) = (got.to_string(), format!("{least} to {most}"));
                return Err(DataError::Option { option, got, expected });
            }
        }
        let (width, height) = self.page();
        if u64::from(width) * u64::from(height) > LARGEST {
            let expected = format!("a page of at most {LARGEST} pixels");
            return Err(DataError::Option {
                option: "rows",
                got: format!("{width}x{height} pixels"),
                expected,
            });
        }
        Ok(())
    }

    /// Height of a row with its captions, the gap below included.
    fn row(&self) -> u32 {
        self.thumb + self.lines * LINE + GAP
    }

    /// Width and height of a full page: each row may have a heading.
    fn page(&self) -> (u32, u32) {
        (GAP + self.columns * (self.thumb + GAP), GAP + self.rows * (self.row() + LINE))
    }
}

/// One place of a sheet.
#[derive(Debug, Clone, PartialEq)]
pub struct Cell {
    /// The picture, of any size; `None` draws an empty frame.
    pub image: Option<RgbImage>,
    /// What is written below; wrapped, and cut where the lines of the sheet end.
    pub caption: String,
}

/// A sheet that is being drawn.
#[derive(Debug)]
pub struct Sheet {
    options: SheetOptions,
    page: RgbImage,
    /// The upper edge of the present row.
    top: u32,
    /// The next column of the present row.
    column: u32,
    /// Rows on this page so far, the present one included.
    rows: u32,
}

impl Sheet {
    /// An empty sheet.
    ///
    /// # Errors
    /// An option is out of range.
    pub fn new(options: SheetOptions) -> Result<Self, DataError> {
        options.check()?;
        let (width, height) = options.page();
        let page = RgbImage::from_pixel(width, height, PAPER);
        Ok(Self { options, page, top: GAP, column: 0, rows: 0 })
    }

    /// Begins a row with a line of text above it; returns the page before, if the row is on a new one.
    pub fn heading(&mut self, text: &str) -> Option<RgbImage> {
        let full = self.begin_row();
        let letters = (self.page.width() - 2 * GAP) / LETTER;
        for line in wrapped(text, letters as usize, 1) {
            draw(&mut self.page, (GAP, self.top), &line, INK);
        }
        self.top += LINE;
        full
    }

    /// Draws a picture into the next place; returns the page before, if the place is on a new one.
    pub fn push(&mut self, cell: &Cell) -> Option<RgbImage> {
        let full =
            if self.rows == 0 || self.column == self.options.columns { self.begin_row() } else { None };
        let SheetOptions { thumb, lines, .. } = self.options;
        let left = GAP + self.column * (thumb + GAP);
        match &cell.image {
            Some(image) if image.width() > 0 && image.height() > 0 => {
                let small = fitted(image, thumb);
                let middle = |side: u32| i64::from((thumb - side) / 2);
                let (x, y) = (middle(small.width()), middle(small.height()));
                replace(&mut self.page, &small, i64::from(left) + x, i64::from(self.top) + y);
            }
            _ => self.frame(left),
        }
        for (i, line) in (0..).zip(wrapped(&cell.caption, (thumb / LETTER) as usize, lines as usize)) {
            draw(&mut self.page, (left, self.top + thumb + i * LINE), &line, FAINT);
        }
        self.column += 1;
        full
    }

    /// Begins a row; nothing happens at the beginning of one. Returns the page before, if the row is on a new
    /// one.
    pub fn begin_row(&mut self) -> Option<RgbImage> {
        if self.rows > 0 && self.column == 0 {
            return None;
        }
        if self.rows > 0 {
            self.top += self.options.row();
        }
        let full = (self.rows == self.options.rows).then(|| self.take_page());
        self.rows += 1;
        self.column = 0;
        full
    }

    /// The last page; `None` if nothing was drawn since the one before.
    pub fn finish(mut self) -> Option<RgbImage> {
        if self.rows == 0 {
            return None;
        }
        self.top += self.options.row();
        Some(self.take_page())
    }

    /// What has been drawn, without the empty rest, and a new page.
    fn take_page(&mut self) -> RgbImage {
        let (width, height) = self.page.dimensions();
        let new = RgbImage::from_pixel(width, height, PAPER);
        let full = std::mem::replace(&mut self.page, new);
        let used = self.top.min(height);
        (self.top, self.rows) = (GAP, 0);
        image::imageops::crop_imm(&full, 0, 0, width, used).to_image()
    }

    fn frame(&mut self, left: u32) {
        let side = self.options.thumb;
        for i in 0..side {
            for (x, y) in [(i, 0), (i, side - 1), (0, i), (side - 1, i)] {
                self.page.put_pixel(left + x, self.top + y, FRAME);
            }
        }
    }
}

/// A picture that fits into `side` x `side`: shrunk by means, or enlarged by whole pixels.
fn fitted(image: &RgbImage, side: u32) -> RgbImage {
    let (width, height) = image.dimensions();
    let long = width.max(height);
    if long > side {
        let scaled = |length: u32| (u64::from(length) * u64::from(side) / u64::from(long)).max(1) as u32;
        return thumbnail(image, scaled(width), scaled(height));
    }
    let factor = side / long;
    RgbImage::from_fn(width * factor, height * factor, |x, y| *image.get_pixel(x / factor, y / factor))
}

/// A page as the content of a PNG file.
///
/// # Errors
/// The image has no pixels.
pub fn png(page: &RgbImage) -> Result<Vec<u8>, DataError> {
    let mut bytes = Cursor::new(Vec::new());
    let written = page.write_to(&mut bytes, ImageFormat::Png);
    written.map_err(|error| DataError::Encode { format: "PNG", detail: error.to_string() })?;
    Ok(bytes.into_inner())
}

/// Small pictures of image files, as the content of JPEG files: the longer side has `side` pixels, or fewer if the image is
/// smaller. None in the place of a file that cannot be decoded.
pub fn thumbnails(paths: &[&Path], side: u32, pool: &DataPool) -> Vec<Option<Vec<u8>>> {
    let one = |path: &&Path| jpeg(&shrunk(decode_rgb(path).ok()?, side.max(1))).ok();
    pool.install(|| paths.par_iter().with_max_len(1).map(one).collect())
}

/// Receives the pages of a sheet, in order.
pub type Pages<'a> = &'a mut dyn FnMut(RgbImage) -> Result<(), DataError>;

/// Draws images of each class or with each label, with its name as a heading: up to `per_class` of each, evenly spaced in
/// their order. Of numbers to predict the order is from the smallest to the largest, and the number is in the caption. An image that cannot be decoded is an empty frame that says so. A class whose name the letters of the sheet
/// cannot write goes by its number.
///
/// # Errors
/// An option is out of range, or `pages` fails.
pub fn class_sheet(
    contents: &Contents<'_>,
    part: Part,
    per_class: usize,
    options: &SheetOptions,
    pool: &DataPool,
    pages: Pages<'_>,
) -> Result<(), DataError> {
    let mut sheet = Sheet::new(options.clone())?;
    let numbers = contents.task == Task::Number;
    let number = |sample: &Sample, column: u32| {
        sample.target.as_ref().and_then(|row| row.get(column as usize).copied()).unwrap_or_default()
    };
    let mut of_name: BTreeMap<u32, Vec<&Sample>> = BTreeMap::new();
    for (_, sample) in contents.samples().filter(|(own, _)| *own == part) {
        let names =
            if numbers { (0..contents.classes.len() as u32).collect() } else { contents.names_of(sample) };
        names.into_iter().for_each(|name| of_name.entry(name).or_default().push(sample));
    }
    for (label, class) in (0_u32..).zip(contents.classes) {
        let mut all = of_name.remove(&label).unwrap_or_default();
        if numbers {
            all.sort_by(|a, b| number(a, label).total_cmp(&number(b, label)));
        }
        let count = all.len().min(per_class);
        let chosen: Vec<&Sample> = (0..count).map(|i| all[i * all.len() / count]).collect();
        let class = legible(class, || format!("class {label}"));
        hand_over(sheet.heading(&format!("{class}: {count} of {} {part} images", all.len())), pages)?;
        for row in chosen.chunks(options.columns as usize) {
            let cell = |sample: &&Sample| {
                // Shrunk before it is kept: a row of photographs may be a gigabyte.
                match decode_rgb(&sample.path) {
                    Ok(image) => {
                        let name = file_name(&sample.rel);
                        let caption = match numbers {
                            true => format!("{} {name}", short(number(sample, label).into())),
                            false => name,
                        };
                        Cell { image: Some(shrunk(image, options.thumb)), caption }
                    }
                    Err(_) => not_decoded(sample),
                }
            };
            let cells: Vec<Cell> = pool.install(|| row.par_iter().with_max_len(1).map(cell).collect());
            for cell in &cells {
                hand_over(sheet.push(cell), pages)?;
            }
        }
    }
    hand_over(sheet.finish(), pages)
}

/// One view of an image: what was done to it, and in a few words how.
pub type ViewOf<'a> = &'a (dyn Fn(&Sample, &RgbImage, usize) -> Result<(RgbImage, String), DataError> + Sync);

/// Draws a row for each image: as it is, then `views` views of it. `options.columns` is replaced by that number.
///
/// `view` gets the sample, the image and the number of the view, from 0; it is called from the worker threads. An
/// image that cannot be decoded is an empty frame, and so is a view that fails.
///
/// # Errors
/// An option is out of range, more than 63 views, or `pages` fails.
pub fn view_sheet(
    samples: &[Sample],
    views: usize,
    view: ViewOf<'_>,
    options: &SheetOptions,
    pool: &DataPool,
    pages: Pages<'_>,
) -> Result<(), DataError> {
    let columns = u32::try_from(views).unwrap_or(u32::MAX).saturating_add(1);
    let mut sheet = Sheet::new(SheetOptions { columns, ..options.clone() })?;
    for sample in samples {
        let Ok(image) = decode_rgb(&sample.path) else {
            hand_over(sheet.begin_row(), pages)?;
            hand_over(sheet.push(&not_decoded(sample)), pages)?;
            continue;
        };
        let cell = |number: usize| match view(sample, &image, number) {
            Ok((image, caption)) => Cell { image: Some(shrunk(image, options.thumb)), caption },
            Err(error) => Cell { image: None, caption: error.to_string() },
        };
        let cells: Vec<Cell> =
            pool.install(|| (0..views).into_par_iter().with_max_len(1).map(cell).collect());
        hand_over(sheet.begin_row(), pages)?;
        let original = Cell { caption: file_name(&sample.rel), image: Some(shrunk(image, options.thumb)) };
        for cell in std::iter::once(&original).chain(&cells) {
            hand_over(sheet.push(cell), pages)?;
        }
    }
    hand_over(sheet.finish(), pages)
}

fn hand_over(page: Option<RgbImage>, pages: Pages<'_>) -> Result<(), DataError> {
    page.map_or(Ok(()), pages)
}

/// The image, or a smaller one if it is larger than it is going to be drawn.
fn shrunk(image: RgbImage, side: u32) -> RgbImage {
    if image.width().max(image.height()) > side { fitted(&image, side) } else { image }
}

fn not_decoded(sample: &Sample) -> Cell {
    Cell { image: None, caption: format!("cannot be decoded: {}", file_name(&sample.rel)) }
}

fn file_name(rel: &str) -> String {
    rel.rsplit('/').next().unwrap_or(rel).to_owned()
}
