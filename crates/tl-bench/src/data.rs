//! Photos to batches. What single operations cost is in `tl-data`'s example `speed`.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use tl_data::{
    AugmentPreset, DataPool, Dataset, Loader, LoaderOptions, Preprocess, Sample, SplitOptions, View,
};

use crate::{Group, Work};

const PHOTOS: u32 = 128;
const SIZE: u32 = 224;

/// Decoding and resizing alone, and with changes of increasing strength, on all cores.
pub(crate) fn groups() -> Vec<Group> {
    let names = ["validation", "light", "medium", "strong"];
    vec![Group {
        names: names.iter().map(|name| format!("loader {name} 500x375 jpeg")).collect(),
        unit: "images/s",
        make: Box::new(move |chosen| {
            let dir = Arc::new(tempfile::tempdir()?);
            let samples = photos(dir.path())?;
            let wanted = names.iter().zip(chosen).filter(|(_, chosen)| **chosen);
            wanted.map(|(name, _)| loader(name, &samples, &dir)).collect()
        }),
    }]
}

fn loader(name: &str, samples: &Arc<[Sample]>, dir: &Arc<tempfile::TempDir>) -> anyhow::Result<Work> {
    let preprocess = Preprocess::imagenet(SIZE);
    let preset = AugmentPreset::ALL.into_iter().find(|preset| preset.name() == name);
    let view = match preset {
        Some(preset) => View::train(preprocess, preset.recipe()),
        None => View::Eval(preprocess),
    };
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let (pool, samples, dir) = (DataPool::new(cores)?, Arc::clone(samples), Arc::clone(dir));
    Ok(Box::new(move || {
        debug_assert!(dir.path().exists());
        let options = LoaderOptions::in_order(samples.len(), 16);
        let start = Instant::now();
        for batch in Loader::new(Arc::clone(&samples), view.clone(), options, &pool)? {
            batch?;
        }
        Ok(f64::from(PHOTOS) / start.elapsed().as_secs_f64())
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
        image::RgbImage::from_fn(500, 375, pixel).save(folder.join(format!("{i:03}.jpg")))?;
    }
    let dataset = Dataset::open(dir, &SplitOptions { val_fraction: 0.25, ..SplitOptions::default() })?;
    Ok(dataset.train.into_iter().chain(dataset.val).collect())
}
