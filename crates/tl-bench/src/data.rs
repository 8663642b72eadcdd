//! Photos to batches. What single operations cost is in `tl-data`'s example `speed`.

use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use tl_data::{
    Augment, AugmentPreset, DataPool, Dataset, Loader, LoaderOptions, Preprocess, RandomResizedCrop, Sample,
    SplitOptions, View,
};

use crate::{Group, Work, rate};

const PHOTOS: u32 = 128;
const SIZE: u32 = 224;
const NAMES: [&str; 6] = ["validation", "light", "medium", "strong", "crop and flip", "generator"];

/// Decoding and resizing alone, with changes of increasing strength, and as torchvision and Keras have it in their
/// tutorials; on all cores. The photos are in `kept`, or in a folder that is gone in the end.
pub(crate) fn groups(kept: Option<&Path>) -> Vec<Group> {
    let kept = kept.map(Path::to_owned);
    vec![Group {
        names: NAMES.iter().map(|name| format!("loader {name} 500x375 jpeg")).collect(),
        unit: "images/s",
        make: Box::new(move |chosen| {
            let passing = Rc::new(tempfile::tempdir()?);
            let samples = photos(kept.as_deref().unwrap_or(passing.path()))?;
            let wanted = NAMES.iter().zip(chosen).filter(|(_, chosen)| **chosen);
            wanted.map(|(name, _)| loader(name, &samples, &passing)).collect()
        }),
    }]
}

fn view(name: &str) -> anyhow::Result<View> {
    let preprocess = Preprocess::imagenet(SIZE);
    if let Some(preset) = AugmentPreset::ALL.into_iter().find(|preset| preset.name() == name) {
        return Ok(View::train(preprocess, preset.recipe()));
    }
    Ok(match name {
        "crop and flip" => {
            let crop = Some(RandomResizedCrop::default());
            View::train(preprocess, Augment { random_resized_crop: crop, ..Augment::basic() })
        }
        "generator" => View::Train(
            preprocess,
            serde_json::from_value(serde_json::json!({
                "rotation_range": 20, "zoom_range": 0.2, "width_shift_range": 0.1, "height_shift_range": 0.1,
                "horizontal_flip": true,
            }))?,
        ),
        _ => View::Eval(preprocess),
    })
}

fn loader(name: &str, samples: &Arc<[Sample]>, dir: &Rc<tempfile::TempDir>) -> anyhow::Result<Work> {
    let view = view(name)?;
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let (pool, samples, dir) = (DataPool::new(cores)?, Arc::clone(samples), Rc::clone(dir));
    Ok(Box::new(move || {
        debug_assert!(dir.path().exists());
        let options = LoaderOptions::in_order(samples.len(), 16);
        rate(samples.len(), || {
            for batch in Loader::new(Arc::clone(&samples), view.clone(), options.clone(), &pool)? {
                batch?;
            }
            Ok(())
        })
    }))
}

/// Files like photos: smooth, with edges and some noise.
pub(crate) fn photos(dir: &Path) -> anyhow::Result<Arc<[Sample]>> {
    let noise = tl_torch::uniform(1, "photos", 500 * 375, 12.0);
    for i in 0..PHOTOS {
        let folder = dir.join(if i % 2 == 0 { "even" } else { "odd" });
        std::fs::create_dir_all(&folder)?;
        let pixel = |x: u32, y: u32| {
            let (u, v) = (x as f32 / 40.0 + i as f32, y as f32 / 30.0);
            let shade = if (x / 60 + y / 50 + i).is_multiple_of(3) { 40.0 } else { 0.0 };
            let grain = noise[(y * 500 + x) as usize];
            let of = |phase: f32| (128.0 + 60.0 * (u + phase).sin() * v.cos() + shade + grain) as u8;
            image::Rgb([of(0.0), of(1.0), of(2.0)])
        };
        let path = folder.join(format!("{i:03}.jpg"));
        if !path.is_file() {
            image::RgbImage::from_fn(500, 375, pixel).save(path)?;
        }
    }
    let dataset = Dataset::open(dir, &SplitOptions { val_fraction: 0.25, ..SplitOptions::default() })?;
    Ok(dataset.train.into_iter().chain(dataset.val).collect())
}
