//! The flows of `ImageDataGenerator` against Keras 3: files, classes, splits, loading; and what is our own.
//!
//! The golden data are made by `tests/golden/make_idg.py`.
#![allow(clippy::unwrap_used, reason = "the helpers of a test are part of it")]

#[path = "idg_common/mod.rs"]
mod idg_common;

use std::fs;

use idg_common::{
    args, augmented, directory_options, flow_of, frame_options, generator, golden, numbers, photos, picture,
    texts, tree,
};
use image::{DynamicImage, GrayImage, RgbImage, RgbaImage};
use ndarray::{Array1, Array4, ArrayD, Axis};
use serde_json::{Value, json};
use tl_data::DataPool;
use tl_data::idg::{
    ArrayData, ArrayOptions, Column, Compat, DirectoryOptions, FlowBatch, Frame, FrameOptions, IdgError,
    ImageDataGenerator, Labels, Targets, Values,
};

/// The arguments of a case, as it was flowed there.
fn in_order(case: &Value, batch_size: usize) -> Value {
    let mut json = case["args"].clone();
    json["shuffle"] = json!(false);
    json["batch_size"] = json!(batch_size);
    json["target_size"] = json!([3, 4]);
    json
}

/// The targets of a batch as arrays of numbers with their shapes.
fn targets_of(batch: &FlowBatch) -> Vec<(Vec<usize>, Vec<f32>)> {
    let plain = |array: ArrayD<f32>| (array.shape().to_vec(), array.iter().copied().collect());
    let values = |values: &Values| match values {
        Values::Numbers(array) => plain(array.mapv(|value| value as f32)),
        Values::Texts(_) => panic!("texts"),
    };
    match &batch.targets {
        Targets::None | Targets::Input => Vec::new(),
        Targets::Categorical(rows) => vec![plain(rows.clone().into_dyn())],
        Targets::Binary(labels) | Targets::Sparse(labels) => vec![plain(labels.clone().into_dyn())],
        Targets::Raw(raw) => vec![values(raw)],
        Targets::MultiOutput(columns) => columns.iter().map(values).collect(),
    }
}

fn check_targets(batch: &FlowBatch, wanted: &[Value], what: &str) {
    let ours = targets_of(batch);
    assert_eq!(ours.len(), wanted.len(), "{what}");
    for ((shape, values), wanted) in ours.iter().zip(wanted) {
        let shape_wanted: Vec<usize> = numbers(&wanted["shape"]).iter().map(|side| *side as usize).collect();
        assert_eq!((shape, values), (&shape_wanted, &numbers(&wanted["values"])), "{what}");
    }
}

#[test]
fn files_are_loaded_as_pillow_loads_them() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = image::load_from_memory(include_bytes!("data/idg_load.png")).unwrap().into_luma8().into_raw();
    let mut at = 0;
    let cases = golden()["loaded"].as_array().unwrap().clone();
    assert!(cases.len() > 60);
    for case in cases {
        let size = numbers(&case["size"]);
        let (width, height) = (size[0] as u32, size[1] as u32);
        let mode = case["mode"].as_str().unwrap();
        let channels = mode.len();
        let pixels =
            picture([height as usize, width as usize, channels], 5).iter().map(|v| *v as u8).collect();
        let image: DynamicImage = match mode {
            "L" => GrayImage::from_raw(width, height, pixels).unwrap().into(),
            "RGB" => RgbImage::from_raw(width, height, pixels).unwrap().into(),
            _ => RgbaImage::from_raw(width, height, pixels).unwrap().into(),
        };
        fs::create_dir_all(dir.path().join("c")).unwrap();
        image.save(dir.path().join("c/1.png")).unwrap();
        let mut json = json!({"shuffle": false, "class_mode": null});
        for name in ["color_mode", "target_size", "interpolation", "keep_aspect_ratio"] {
            json[name] = case[name].clone();
        }
        for compat in [Compat::Documented, Compat::Keras3] {
            let flow = generator(&json!({}), compat)
                .flow_from_directory(dir.path(), &directory_options(&json))
                .unwrap();
            let images = flow.batch(0, 0).unwrap().images;
            let wanted = &bytes[at..at + images.len()];
            let off = images.iter().zip(wanted).filter(|(a, b)| **a != f32::from(**b)).count();
            assert_eq!((off, images.len() as u64), (0, case["bytes"].as_u64().unwrap()), "{case}");
        }
        at += case["bytes"].as_u64().unwrap() as usize;
    }
}

#[cfg(unix)]
#[test]
fn directories_are_read_as_keras_reads_them() {
    let dir = tree();
    for case in golden()["directories"]["cases"].as_array().unwrap() {
        let split = json!({"validation_split": case["split"]});
        let options = directory_options(&in_order(case, 5));
        for compat in [Compat::Documented, Compat::Keras3] {
            let flow = generator(&split, compat).flow_from_directory(&dir.path().join("tree"), &options);
            let flow = flow.unwrap();
            assert_eq!(flow.filenames(), texts(&case["filenames"]), "{case}");
            assert_eq!(flow.classes(), texts(&case["classes"]));
            let labels = numbers(&case["labels"]).iter().map(|label| *label as u32).collect();
            assert_eq!(*flow.labels(), Labels::One(labels));
            assert_eq!(flow.batches() as u64, case["len"].as_u64().unwrap());
            for (i, wanted) in case["batches"].as_array().unwrap().iter().enumerate() {
                let batch = flow.batch(0, i).unwrap();
                let wanted: Vec<Value> =
                    Some(wanted.clone()).filter(|wanted| !wanted.is_null()).into_iter().collect();
                check_targets(&batch, &wanted, &case.to_string());
                assert_eq!(batch.images.dim().1, 3);
                assert_eq!(batch.filenames, flow.filenames()[i * 5..][..batch.filenames.len()]);
            }
            assert_eq!(
                flow.warnings().iter().any(|line| line.contains("`.hidden` is hidden")),
                case["args"].get("classes").is_none()
            );
        }
    }
}

fn table() -> Frame {
    let golden = golden();
    let table = &golden["frames"]["table"];
    let numbers = |name: &str| Column::Numbers(numbers(&table[name]).into_iter().map(f64::from).collect());
    Frame::new([
        ("filename", Column::texts(texts(&table["filename"]))),
        ("class", Column::texts(texts(&table["class"]))),
        ("two", Column::texts(texts(&table["two"]))),
        ("tags", Column::lists(table["tags"].as_array().unwrap().iter().map(texts))),
        ("few", Column::lists(table["few"].as_array().unwrap().iter().map(texts))),
        ("age", numbers("age")),
        ("weight", numbers("weight")),
    ])
    .unwrap()
}

#[test]
fn tables_are_read_as_keras_reads_them() {
    let dir = tree();
    for case in golden()["frames"]["cases"].as_array().unwrap() {
        let mut json = in_order(case, 4);
        json["directory"] = json!(dir.path().join("tree"));
        let generator = generator(&json!({"validation_split": case["split"]}), Compat::Keras3);
        let flow = generator.flow_from_dataframe(&table(), &frame_options(&json)).unwrap();
        assert_eq!(flow.filenames(), texts(&case["filenames"]), "{case}");
        assert_eq!(flow.batches() as u64, case["len"].as_u64().unwrap());
        assert!(flow.warnings()[0].starts_with("2 rows have no image file"), "{:?}", flow.warnings());
        if let Some(classes) = case.get("classes") {
            assert_eq!(flow.classes(), texts(classes), "{case}");
        }
        let batch = flow.batch(0, 0).unwrap();
        check_targets(&batch, case["targets"].as_array().map_or(&[], Vec::as_slice), &case.to_string());
        let weights = case["weights"].as_array().map(|_| numbers(&case["weights"]));
        assert_eq!(batch.weights, weights, "{case}");
    }
}

fn array_data() -> ArrayData {
    let x = Array4::from_shape_fn((11, 2, 3, 1), |(n, ..)| n as f32);
    let y = Array1::from_iter((0..11).map(|n| f64::from(n % 2))).into_dyn();
    ArrayData { sample_weight: Some((0..11).map(|n| n as f32).collect()), ..ArrayData::new(x).with_labels(y) }
}

#[test]
fn arrays_are_split_as_keras_splits_them() {
    for case in golden()["arrays"].as_array().unwrap() {
        let mut json = case["args"].clone();
        json["shuffle"] = json!(false);
        json["batch_size"] = json!(3);
        let options = ArrayOptions::from_args(args(&json)).unwrap();
        for compat in [Compat::Documented, Compat::Keras3] {
            let flow =
                generator(&json!({"validation_split": case["split"]}), compat).flow(array_data(), &options);
            if case["images"].is_null() {
                assert!(flow.unwrap_err().to_string().contains("do not have the same labels"), "{case}");
                continue;
            }
            let flow = flow.unwrap();
            let batches: Vec<FlowBatch> = flow.epoch(0).collect::<Result<_, _>>().unwrap();
            let images: Vec<f32> = batches
                .iter()
                .flat_map(|batch| batch.images.axis_iter(Axis(0)))
                .map(|image| image[[0, 0, 0]])
                .collect();
            let weights: Vec<f32> = batches.iter().flat_map(|batch| batch.weights.clone().unwrap()).collect();
            let labels: Vec<f32> = batches.iter().flat_map(|batch| targets_of(batch)[0].1.clone()).collect();
            assert_eq!(images, numbers(&case["images"]));
            // Keras does not cut the weights with a subset.
            let wanted = if compat == Compat::Keras3 { numbers(&case["weights"]) } else { images };
            assert_eq!(weights, wanted, "{case}");
            let uncut = json["subset"].is_string() && flow.samples() < 11;
            assert_eq!(flow.explain().iter().any(|line| line.contains("`sample_weight`")), uncut);
            assert_eq!(labels, numbers(&case["labels"]));
            assert_eq!(flow.batches() as u64, case["len"].as_u64().unwrap());
        }
    }
}

#[test]
fn one_hot_labels_are_compared_by_class() {
    let one_hot = |classes: [usize; 6]| {
        ArrayD::from_shape_fn(vec![6, 3], |at| f64::from(u8::from(classes[at[0]] == at[1])))
    };
    let options = ArrayOptions::from_args(args(&json!({"subset": "training"}))).unwrap();
    let flow = |classes, compat| {
        let data = ArrayData::new(Array4::zeros((6, 2, 2, 3))).with_labels(one_hot(classes));
        generator(&json!({"validation_split": 0.5}), compat).flow(data, &options).is_ok()
    };
    assert!(flow([0, 1, 2, 2, 1, 0], Compat::Documented));
    assert!(!flow([0, 1, 1, 2, 2, 2], Compat::Documented));
    assert!(flow([0, 1, 1, 2, 2, 2], Compat::Keras3));
}

#[test]
fn batches_depend_on_the_epoch_alone() {
    let dir = photos(7);
    let flow = flow_of(dir.path(), json!({"subset": "training"}));
    assert_eq!((flow.samples(), flow.batches()), (12, 3));
    let first: Vec<FlowBatch> = flow.epoch(0).map(Result::unwrap).collect();
    let second: Vec<FlowBatch> = flow.epoch(1).map(Result::unwrap).collect();
    assert_ne!(first, second);
    let endless: Vec<FlowBatch> = flow.clone().take(6).map(Result::unwrap).collect();
    assert_eq!(endless, [first.clone(), second].concat());
    assert_eq!(flow.batch(0, 2).unwrap(), first[2]);
    for threads in [1, 3] {
        let pool = DataPool::new(threads).unwrap();
        assert!(flow.clone().on(&pool).epoch(0).map(Result::unwrap).eq(first.iter().cloned()));
    }
    let mut seen: Vec<u32> = first.iter().flat_map(|batch| batch.indices.clone()).collect();
    seen.sort_unstable();
    assert!(seen.iter().copied().eq(0..12));
    assert!(matches!(flow.batch(0, 3), Err(IdgError::Batch { index: 3, batches: 3 })));
}

#[test]
fn the_validation_subset_can_stay_as_it_is() {
    let dir = photos(8);
    let options =
        directory_options(&json!({"target_size": [16, 18], "subset": "validation", "shuffle": false}));
    let changed = generator(&augmented(), Compat::Documented);
    let plain = changed.without_augmentation();
    assert!(changed.augments() && !plain.augments());
    let flow = |generator: &ImageDataGenerator| generator.flow_from_directory(dir.path(), &options).unwrap();
    let (changed, plain) = (flow(&changed), flow(&plain));
    assert_eq!(changed.filenames(), plain.filenames());
    assert_eq!(plain.batch(0, 0).unwrap().images, plain.batch(1, 0).unwrap().images);
    assert_ne!(changed.batch(0, 0).unwrap().images, changed.batch(1, 0).unwrap().images);
}

#[test]
fn saved_images_never_overwrite() {
    let (dir, out) = (photos(2), tempfile::tempdir().unwrap());
    let names = |format: &str| {
        let json =
            json!({"save_to_dir": out.path(), "save_prefix": "x", "save_format": format, "shuffle": false});
        let flow = flow_of(dir.path(), json);
        flow.epoch(1).for_each(|batch| drop(batch.unwrap()));
        let mut names: Vec<String> = fs::read_dir(out.path())
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };
    assert_eq!(names("png"), ["x_0_1.png", "x_1_1.png", "x_2_1.png", "x_3_1.png"]);
    let twice = names("png");
    assert_eq!((twice.len(), twice[1].as_str()), (8, "x_0_1_1.png"));
    assert_eq!(names("jpeg").len(), 12);
    let saved = image::open(out.path().join("x_0_1.png")).unwrap().into_rgb8();
    assert_eq!(saved.dimensions(), (18, 16));
    // Least and largest value are black and white.
    assert_eq!((saved.as_raw().iter().min(), saved.as_raw().iter().max()), (Some(&0), Some(&255)));
}

#[test]
fn colours_and_layouts() {
    let dir = photos(1);
    for (color_mode, channels) in [("rgb", 3), ("rgba", 4), ("grayscale", 1)] {
        let flow = flow_of(dir.path(), json!({"color_mode": color_mode, "class_mode": "input"}));
        let batch = flow.batch(0, 0).unwrap();
        assert_eq!(batch.images.dim(), (2, 16, 18, channels));
        assert_eq!(batch.targets, Targets::Input);
    }
    let first = generator(&json!({"data_format": "channels_first"}), Compat::Documented);
    let flow =
        first.flow_from_directory(dir.path(), &directory_options(&json!({"target_size": [16, 18]}))).unwrap();
    assert_eq!(flow.batch(0, 0).unwrap().images.dim(), (2, 3, 16, 18));
}

#[test]
fn misc_arrays_go_along() {
    let data = ArrayData {
        misc: vec![ArrayD::from_shape_fn(vec![11, 2], |at| (at[0] * 10 + at[1]) as f32)],
        ..array_data()
    };
    let options = ArrayOptions::from_args(args(&json!({"subset": "training", "batch_size": 2}))).unwrap();
    let generator = generator(&json!({"validation_split": 0.2}), Compat::Documented);
    let batch = generator.flow(data, &options).unwrap().next().unwrap().unwrap();
    assert_eq!(batch.misc[0].shape(), [2, 2]);
    assert_eq!(batch.misc[0][[0, 0]], batch.images[[0, 0, 0, 0]] * 10.0);
    let short =
        ArrayData { sample_weight: Some(vec![1.0]), misc: vec![ArrayD::zeros(vec![3])], ..array_data() };
    let error = generator.flow(short, &options).unwrap_err().to_string();
    assert!(
        error.contains("2 problems") && error.contains("`misc` has 3 entries, but there are 11 images"),
        "{error}"
    );
}

#[test]
fn problems_of_a_directory_are_reported_together() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("empty")).unwrap();
    let json = json!({"classes": ["empty", "gone", "a/b"], "class_mode": "binary", "batch_size": 0,
        "subset": "validation",
        "target_size": [0, 9], "color_mode": "grayscale", "save_to_dir": "x", "save_format": "pdf"});
    let strict = generator(&json!({"preprocessing_function": "torch"}), Compat::Documented);
    let error = strict.flow_from_directory(dir.path(), &directory_options(&json)).unwrap_err().to_string();
    for part in [
        "`flow_from_directory` cannot be used: 9 problems",
        "`batch_size` is 0",
        "`subset` is given, but `validation_split` is 0",
        "`save_format` is `pdf`",
        "`target_size` is [0, 9]",
        "`color_mode` is not `rgb`",
        "`classes` has `a/b` where a folder's name is expected",
        "there are 3 classes",
        "class `gone` has no folder",
        "holds no images",
        "hint: give the generator a `validation_split`",
    ] {
        assert!(error.contains(part), "{part}: {error}");
    }
    let json = json!({"classes": ["empty", "gone"], "batch_size": 2});
    let lenient = generator(&json!({}), Compat::Keras3);
    let mut flow = lenient.flow_from_directory(dir.path(), &directory_options(&json)).unwrap();
    assert_eq!((flow.samples(), flow.batches(), flow.warnings().len()), (0, 0, 3), "{:?}", flow.warnings());
    assert!(flow.next().is_none());
    let error = DirectoryOptions::from_args(args(&json!({"class_mod": "binary", "interpolation": "cubic"})))
        .unwrap_err();
    assert!(error.to_string().contains("did you mean `class_mode`?"), "{error}");
    assert!(error.to_string().contains("did you mean `bicubic`?"), "{error}");
    let error = strict.flow_from_directory(&dir.path().join("no"), &DirectoryOptions::default()).unwrap_err();
    assert!(error.to_string().contains("cannot be read"), "{error}");
}

#[test]
fn problems_of_a_table_are_reported_together() {
    let dir = tree();
    let strict = generator(&json!({}), Compat::Documented);
    let flow = |json: Value| {
        let mut json = json;
        json["directory"] = json!(dir.path().join("tree"));
        strict.flow_from_dataframe(&table(), &frame_options(&json)).map(|flow| flow.samples())
    };
    let error = flow(json!({"y_col": "clas", "weight_col": "tags"})).unwrap_err().to_string();
    for part in [
        "4 problems",
        "there is no column `clas`, which `y_col` names",
        "column `tags` has to hold numbers",
        "row 3: there is no file",
        "row 6: `cats/readme.txt` does not end as an image file",
        "hint: did you mean `class`?",
    ] {
        assert!(error.contains(part), "{part}: {error}");
    }
    let error =
        flow(json!({"class_mode": "sparse", "y_col": "age", "x_col": "weight"})).unwrap_err().to_string();
    assert!(
        error.contains("column `age` has to hold texts")
            && error.contains("column `weight` has to hold texts"),
        "{error}"
    );
    assert!(flow(json!({"class_mode": "binary"})).unwrap_err().to_string().contains("there are 3 classes"));
    assert_eq!(
        flow(json!({"validate_filenames": false, "class_mode": "other", "y_col": "age"})).unwrap(),
        12
    );
    let frame = Frame::new([("filename", Column::texts(["a.png"])), ("class", Column::texts(["a", "b"]))]);
    assert!(frame.unwrap_err().to_string().contains("column `class` has 2 rows, but `filename` has 1"));
    let empty =
        Frame::new([("filename", Column::texts::<&str>([])), ("class", Column::texts::<&str>([]))]).unwrap();
    let error = strict.flow_from_dataframe(&empty, &FrameOptions::default()).unwrap_err().to_string();
    assert!(error.contains("no row of the table can be used"), "{error}");
}

#[test]
fn texts_and_vectors_can_be_targets() {
    let dir = photos(2);
    let frame = Frame::new([
        ("filename", Column::texts(["a/00.png", "b/01.png"])),
        ("caption", Column::texts(["one", "two"])),
        ("box", Column::Vectors(ndarray::array![[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]])),
    ])
    .unwrap();
    let json = json!({"directory": dir.path(), "y_col": ["caption", "box"], "class_mode": "multi_output",
        "shuffle": false,
        "target_size": [4, 4]});
    let generator = generator(&json!({}), Compat::Documented);
    let flow = generator.flow_from_dataframe(&frame, &frame_options(&json)).unwrap();
    let Targets::MultiOutput(columns) = flow.batch(0, 0).unwrap().targets else {
        panic!("one for each column")
    };
    assert_eq!(columns[0], Values::Texts(vec!["one".to_owned(), "two".to_owned()]));
    assert!(matches!(&columns[1], Values::Numbers(boxes) if boxes.shape() == [2, 3]));
}

#[cfg(unix)]
#[test]
fn a_loop_of_links_ends() {
    let dir = photos(1);
    std::os::unix::fs::symlink(dir.path(), dir.path().join("a/loop")).unwrap();
    let flow = flow_of(dir.path(), json!({"follow_links": true}));
    assert_eq!(flow.filenames(), ["a/00.png", "a/loop/b/00.png", "b/00.png"]);
    assert_eq!(flow_of(dir.path(), json!({})).samples(), 2);
}

/// An EXIF block that says: turn by 90 degrees.
const TURNED: [u8; 36] = [
    0xFF, 0xE1, 0, 34, b'E', b'x', b'i', b'f', 0, 0, b'I', b'I', 42, 0, 8, 0, 0, 0, 1, 0, 0x12, 1, 3, 0, 1,
    0, 0, 0, 6, 0, 0, 0, 0, 0, 0, 0,
];

#[test]
fn keras_does_not_turn_photos() {
    let dir = tempfile::tempdir().unwrap();
    let image = RgbImage::from_fn(16, 16, |x, _| image::Rgb(if x < 8 { [250, 0, 0] } else { [0, 0, 250] }));
    let mut jpeg = Vec::new();
    image.write_to(&mut std::io::Cursor::new(&mut jpeg), image::ImageFormat::Jpeg).unwrap();
    jpeg.splice(2..2, TURNED);
    fs::create_dir(dir.path().join("c")).unwrap();
    fs::write(dir.path().join("c/1.jpg"), jpeg).unwrap();
    let red = |compat, color_mode: &str| {
        let json = json!({"target_size": [16, 16], "color_mode": color_mode});
        let flow =
            generator(&json!({}), compat).flow_from_directory(dir.path(), &directory_options(&json)).unwrap();
        let images = flow.batch(0, 0).unwrap().images;
        let bright = |y: usize, x: usize| images[[0, y, x, 0]] > 60.0;
        [bright(1, 1), bright(1, 14), bright(14, 1), bright(14, 14)]
    };
    for mode in ["rgb", "rgba", "grayscale"] {
        assert_eq!(red(Compat::Keras3, mode), [true, false, true, false], "{mode}");
        assert_eq!(red(Compat::Documented, mode), [true, true, false, false], "{mode}");
    }
}
