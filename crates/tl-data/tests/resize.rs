//! Resizing and cropping against Pillow and torchvision; the data comes from `tests/golden/make_resize.py`.
#![allow(clippy::unwrap_used, reason = "the helpers of a test are part of it")]

use std::path::PathBuf;

use serde::Deserialize;
use tl_data::{Crop, Interpolation, Params, Preprocess, RgbImage, decode_rgb};

#[derive(Debug, Deserialize)]
struct Case {
    source: String,
    /// x, y, width, height; none for the validation transform.
    window: Option<[u32; 4]>,
    resize: u32,
    input: u32,
    interpolation: Interpolation,
    offset: usize,
}

fn data(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests/data", name].iter().collect()
}

fn run(case: &Case) -> RgbImage {
    let preprocess = Preprocess {
        input: case.input,
        resize: case.resize,
        interpolation: case.interpolation,
        ..Preprocess::imagenet(224)
    };
    let source = decode_rgb(&data(&case.source)).unwrap();
    let crop = case.window.map(|[x, y, width, height]| Crop { x, y, width, height });
    match crop {
        None => preprocess.eval_transform(&source).unwrap(),
        crop => Params { crop, ..Params::default() }.apply(&source, &preprocess).unwrap(),
    }
}

#[test]
fn as_torchvision_does_it() {
    let cases: Vec<Case> =
        serde_json::from_str(&std::fs::read_to_string(data("resize.json")).unwrap()).unwrap();
    let golden = std::fs::read(data("resize.rgb")).unwrap();
    assert!(cases.len() > 20);
    for case in &cases {
        let ours = run(case).into_raw();
        let theirs = &golden[case.offset..case.offset + ours.len()];
        let worst = ours.iter().zip(theirs).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
        let off = ours.iter().zip(theirs).filter(|(a, b)| a != b).count();
        let allowed = match case.interpolation {
            Interpolation::Nearest => 0,
            Interpolation::Bilinear => 1,
            Interpolation::Bicubic => 2,
        };
        assert!(worst <= allowed, "{case:?}: off by up to {worst} in {off} of {} values", ours.len());
        let two = ours.iter().zip(theirs).filter(|(a, b)| a.abs_diff(**b) > 1).count();
        assert!(two * 500 <= ours.len(), "{case:?}: off by 2 in {two} of {} values", ours.len());
        // And where it differs at all, that is not often.
        assert!(off * 5 <= ours.len(), "{case:?}: off in {off} of {} values", ours.len());
    }
}
