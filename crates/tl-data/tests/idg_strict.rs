//! The flows of `ImageDataGenerator` where data are odd: kinds of files, broken files, empty parts, numbers that
//! are none, links.
//!
//! The golden data are made by `tests/golden/make_idg.py`.
#![allow(clippy::unwrap_used, reason = "the helpers of a test are part of it")]

#[path = "idg_common/mod.rs"]
mod idg_common;

use std::fs;
use std::path::Path;

use idg_common::{args, directory_options, flow_of, frame_options, generator, golden, photos, picture, save};
use ndarray::{Array1, Array4, ArrayD};
use serde_json::{Value, json};
use tl_data::idg::{
    ArrayData, ArrayOptions, Column, Compat, DirectoryOptions, Flow, Frame, FrameOptions, IdgError, Targets,
    Values,
};
use tl_data::{ColumnChoice, DataPool, RgbImage, Table, TableOptions};

#[test]
fn kinds_of_files_are_loaded_as_pillow_loads_them() {
    let levels =
        image::load_from_memory(include_bytes!("data/idg_kinds.png")).unwrap().into_luma16().into_raw();
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("c")).unwrap();
    let mut at = 0;
    let mut wide = 0;
    for case in golden()["kinds"].as_array().unwrap() {
        let name = case["file"].as_str().unwrap();
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name);
        // The extension is of no account, but for Keras to take the file at all.
        fs::copy(from, dir.path().join("c/1.png")).unwrap();
        let mut json = json!({"target_size": [7, 9], "class_mode": null});
        for name in ["color_mode", "interpolation", "keep_aspect_ratio"] {
            json[name] = case[name].clone();
        }
        let load = |compat| {
            let flow = generator(&json!({}), compat)
                .flow_from_directory(dir.path(), &directory_options(&json))
                .unwrap();
            flow.batch(0, 0).unwrap().images
        };
        let images = load(Compat::Keras3);
        assert_eq!(images.len() as u64, case["values"].as_u64().unwrap());
        // Decoders of JPEG may differ by a level in each step.
        let most = if name.ends_with("jpg") { 3.0 } else { 0.0 };
        for (ours, theirs) in images.iter().zip(&levels[at..]) {
            assert!((ours - f32::from(*theirs)).abs() <= most, "{ours} {theirs}: {case}");
        }
        wide += usize::from(images.iter().any(|value| *value > 255.0));
        assert!(load(Compat::Documented).iter().all(|value| (0.0..=255.0).contains(value)), "{case}");
        at += images.len();
    }
    assert_eq!(wide, 6, "16-bit grey is kept as it is");
}

#[test]
fn images_and_masks_are_changed_alike() {
    let dir = tempfile::tempdir().unwrap();
    for i in 0..6 {
        let levels = picture([20, 25, 3], i).iter().map(|v| *v as u8).collect();
        let image = RgbImage::from_raw(25, 20, levels).unwrap();
        for name in [format!("images/all/{i}.jpg"), format!("masks/every/{i}_mask.png")] {
            save(&image, &dir.path().join(name));
        }
    }
    for more in [json!({}), json!({"subset": "training"}), json!({"subset": "validation"})] {
        let (images, masks) =
            (flow_of(&dir.path().join("images"), more.clone()), flow_of(&dir.path().join("masks"), more));
        for (image, mask) in images.epoch(1).zip(masks.epoch(1)) {
            assert_eq!(image.unwrap().images, mask.unwrap().images);
        }
    }
}

#[test]
fn the_parts_of_a_split_share_no_numbers() {
    let dir = tempfile::tempdir().unwrap();
    let levels: Vec<u8> = picture([20, 25, 3], 1).iter().map(|v| *v as u8).collect();
    for i in 0..8 {
        save(&RgbImage::from_raw(25, 20, levels.clone()).unwrap(), &dir.path().join(format!("c/{i}.png")));
    }
    let flow = |subset: &str| flow_of(dir.path(), json!({"subset": subset, "shuffle": false}));
    let (train, val) = (flow("training").batch(0, 0).unwrap(), flow("validation").batch(0, 0).unwrap());
    assert_ne!(train.images.outer_iter().next(), val.images.outer_iter().next());
}

#[test]
fn all_broken_files_of_a_batch_are_named() {
    let dir = photos(4);
    for name in ["a/01.png", "b/02.png"] {
        fs::write(dir.path().join(name), b"<html>").unwrap();
    }
    let flow = flow_of(dir.path(), json!({"shuffle": false, "batch_size": 7}));
    let pool = DataPool::new(2).unwrap();
    let broken: Vec<_> = flow.verify(&pool).into_iter().map(|error| error.path).collect();
    assert_eq!(broken, [dir.path().join("a/01.png"), dir.path().join("b/02.png")]);
    for flow in [flow.clone(), flow.clone().on(&pool)] {
        let error = flow.batch(0, 0).unwrap_err();
        let IdgError::Images { errors } = &error else { panic!("{error}") };
        assert_eq!(errors.0.len(), 2);
        let text = error.to_string();
        assert!(text.contains("2 images") && text.contains("01.png`") && text.contains("02.png`"), "{text}");
        let mut epoch = flow.epoch(0);
        assert!(epoch.next().unwrap().is_err() && epoch.next().is_none() && epoch.len() == 0);
        let mut endless = flow;
        assert!(endless.next().unwrap().is_err() && endless.next().is_none());
    }
    let one = flow_of(dir.path(), json!({"shuffle": false, "batch_size": 4}));
    assert!(matches!(one.batch(0, 0), Err(IdgError::Decode(_))));
    assert!(one.batch(0, 1).is_err());
}

#[test]
fn sizes_that_fill_the_memory_are_refused() {
    let dir = photos(5);
    let flow = |json: Value| {
        let flow =
            generator(&json!({}), Compat::Keras3).flow_from_directory(dir.path(), &directory_options(&json));
        flow.map(drop).unwrap_err().to_string()
    };
    let error = flow(json!({"target_size": [30_000, 30_000]}));
    assert!(error.contains("`target_size` is [30000, 30000], 10299 MiB for an image"), "{error}");
    let error = flow(json!({"target_size": [9_000, 9_000], "color_mode": "rgb", "batch_size": 1_000_000}));
    assert!(error.contains("`batch_size` is 1000000, 9 GiB for 10 images"), "{error}");
    // A batch is never larger than the data.
    let options = directory_options(&json!({"target_size": [4000, 4000], "batch_size": 1_000_000}));
    assert!(generator(&json!({}), Compat::Documented).flow_from_directory(dir.path(), &options).is_ok());
}

/// What a flow says of a part without images, as an error and as a warning.
fn empty_part(flow: impl Fn(Compat) -> Result<Flow, IdgError>) {
    let error = flow(Compat::Documented).unwrap_err().to_string();
    assert!(error.contains("the validation part of") && error.contains("hint: take another"), "{error}");
    let flow = flow(Compat::Keras3).unwrap();
    assert_eq!((flow.samples(), flow.clone().count()), (0, 0));
    assert!(flow.warnings().iter().any(|line| line.contains("is empty")), "{:?}", flow.warnings());
}

#[test]
fn an_empty_part_is_said() {
    let dir = photos(3);
    let split = json!({"validation_split": 0.1});
    let json = json!({"subset": "validation"});
    empty_part(|compat| generator(&split, compat).flow_from_directory(dir.path(), &directory_options(&json)));
    let frame = Frame::new([
        ("filename", Column::texts(["a/00.png", "b/01.png"])),
        ("class", Column::texts(["x", "y"])),
    ])
    .unwrap();
    let mut of_frame = json.clone();
    of_frame["directory"] = json!(dir.path());
    empty_part(|compat| generator(&split, compat).flow_from_dataframe(&frame, &frame_options(&of_frame)));
    let options = ArrayOptions::from_args(args(&json)).unwrap();
    empty_part(|compat| {
        generator(&split, compat).flow(ArrayData::new(Array4::zeros((4, 2, 2, 3))), &options)
    });

    fs::remove_file(dir.path().join("b/00.png")).unwrap();
    let half = generator(&json!({"validation_split": 0.4}), Compat::Documented);
    let flow = half.flow_from_directory(dir.path(), &directory_options(&json)).unwrap();
    assert!(
        flow.warnings().iter().any(|line| line.starts_with("class `b` has no images in the validation part"))
    );
}

#[test]
fn numbers_that_are_none_are_refused() {
    let dir = photos(3);
    let frame = Frame::new([
        ("filename", Column::texts(["a/00.png", "a/01.png", "b/00.png"])),
        ("class", Column::texts(["x", "x", "y"])),
        ("age", Column::Numbers(vec![1.0, f64::NAN, f64::INFINITY])),
        ("box", Column::Vectors(ndarray::array![[0.0, f64::NAN], [0.0, 1.0], [0.0, 1.0]])),
        ("weight", Column::Numbers(vec![1.0, 1.0, 1e300])),
    ])
    .unwrap();
    let flow = |more: Value, compat| {
        let mut json = json!({"directory": dir.path()});
        json.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        generator(&json!({}), compat).flow_from_dataframe(&frame, &frame_options(&json))
    };
    let all = json!({"class_mode": "multi_output", "y_col": ["age", "box"], "weight_col": "weight"});
    let error = flow(all.clone(), Compat::Documented).unwrap_err().to_string();
    for part in [
        "3 problems",
        "column `age` has values that are no finite numbers, in rows 1, 2",
        "column `box` has values that are no finite numbers, in row 0",
        "column `weight` has values that are no finite numbers, in row 2",
    ] {
        assert!(error.contains(part), "{part}: {error}");
    }
    assert_eq!(flow(all, Compat::Keras3).unwrap().warnings().len(), 3);
    assert!(flow(json!({"class_mode": "sparse"}), Compat::Documented).is_ok(), "columns that are not used");

    let x = Array4::zeros((3, 2, 2, 1));
    let data = ArrayData {
        sample_weight: Some(vec![1.0, f32::INFINITY, 1.0]),
        ..ArrayData::new(x).with_labels(Array1::from_vec(vec![0.0, 1.0, f64::NAN]).into_dyn())
    };
    let strict = generator(&json!({}), Compat::Documented);
    let error = strict.flow(data, &ArrayOptions::default()).unwrap_err().to_string();
    assert!(error.contains("`y` has") && error.contains("in row 2") && error.contains("in row 1"), "{error}");
}

#[test]
fn arrays_without_images_or_axes_are_refused() {
    for compat in [Compat::Documented, Compat::Keras3] {
        let flow = |n, y: ArrayD<f64>| {
            let data = ArrayData::new(Array4::zeros((n, 2, 2, 3))).with_labels(y);
            generator(&json!({}), compat).flow(data, &ArrayOptions::default()).unwrap_err().to_string()
        };
        let error = flow(0, ArrayD::zeros(vec![]));
        assert!(error.contains("`x` is [0, 2, 2, 3]") && error.contains("`y` is a single number"), "{error}");
        assert!(flow(1, ArrayD::zeros(vec![])).contains("`y` is a single number"));
    }
}

#[test]
fn tables_need_targets_only_where_there_are_some() {
    let dir = photos(2);
    let frame = Frame::new([("filename", Column::texts(["a/00.png", "b/01.png"]))]).unwrap();
    let flow = |more: Value| {
        let mut json = json!({"directory": dir.path(), "y_col": null});
        json.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        generator(&json!({}), Compat::Documented).flow_from_dataframe(&frame, &frame_options(&json))
    };
    assert_eq!(flow(json!({"class_mode": null})).unwrap().batch(0, 0).unwrap().targets, Targets::None);
    assert_eq!(flow(json!({"class_mode": "input"})).unwrap().batch(0, 0).unwrap().targets, Targets::Input);
    for mode in ["categorical", "binary", "raw", "multi_output"] {
        let error = flow(json!({"class_mode": mode})).unwrap_err().to_string();
        assert!(error.contains("`y_col` is []"), "{error}");
    }
}

#[test]
fn rows_without_labels_have_zeros() {
    let dir = photos(2);
    let frame = Frame::new([
        ("filename", Column::texts(["a/00.png", "a/01.png", "b/00.png"])),
        ("tags", Column::lists([vec!["x"], vec![], vec!["z"]])),
    ])
    .unwrap();
    let rows = |compat, classes: Value| {
        let json = json!({"directory": dir.path(), "y_col": "tags", "classes": classes, "shuffle": false,
            "target_size": [2, 2]});
        let flow = generator(&json!({}), compat).flow_from_dataframe(&frame, &frame_options(&json)).unwrap();
        let Targets::Categorical(rows) = flow.batch(0, 0).unwrap().targets else { panic!("categorical") };
        let said = flow.explain().iter().any(|line| line.starts_with("rows without labels"));
        (rows.outer_iter().map(|row| row.to_vec()).collect::<Vec<_>>(), said)
    };
    for compat in [Compat::Documented, Compat::Keras3] {
        assert_eq!(rows(compat, Value::Null), (vec![vec![1.0, 0.0], vec![0.0, 0.0], vec![0.0, 1.0]], false));
    }
    assert_eq!(rows(Compat::Documented, json!(["x"])), (vec![vec![1.0], vec![0.0]], true));
    assert_eq!(rows(Compat::Keras3, json!(["x"])), (vec![vec![1.0]], true));
}

#[test]
fn arguments_of_older_versions_and_of_other_flows() {
    let dir = photos(2);
    let frame =
        Frame::new([("filename", Column::texts(["a/00.png"])), ("class", Column::texts(["x"]))]).unwrap();
    let json = json!({"directory": dir.path(), "drop_duplicates": false, "sort": true, "has_ext": null,
        "keep_aspect_ratio": true, "target_size": [8, 20], "class_mode": "sparse"});
    let image = |compat, json: &Value| {
        let flow = generator(&json!({}), compat).flow_from_dataframe(&frame, &frame_options(json)).unwrap();
        let warned = flow.warnings().iter().filter(|line| line.contains("does nothing")).count();
        (flow.batch(0, 0).unwrap().images, warned)
    };
    let mut stretched = json.clone();
    stretched["keep_aspect_ratio"] = json!(false);
    let (cut, warned) = image(Compat::Documented, &json);
    assert_eq!(warned, 3);
    let (theirs, warned) = image(Compat::Keras3, &json);
    assert_eq!(warned, 4);
    assert_ne!(cut, theirs);
    assert_eq!(theirs, image(Compat::Keras3, &stretched).0);

    let options = directory_options(&json!({"directory": dir.path()}));
    assert_eq!(options.directory.as_deref(), Some(dir.path()));
    let strict = generator(&json!({}), Compat::Documented);
    assert!(strict.flow_from_directory(dir.path(), &options).is_ok());
    let error = strict.flow_from_directory(&dir.path().join("a"), &options).unwrap_err().to_string();
    assert!(error.contains("which is flowed from"), "{error}");
}

#[test]
fn a_table_becomes_a_frame() {
    let dir = photos(2);
    let csv = |text: &str| {
        let path = dir.path().join("t.csv");
        fs::write(&path, text).unwrap();
        let weight = ColumnChoice::Named("weight".to_owned());
        Table::open(&path, &TableOptions { weight, ..TableOptions::default() }).unwrap()
    };
    let table = csv("file,label,weight\na/00.png,x,1\nb/01.png,y,0.5\na/01.png,x,2\n");
    let json = json!({"directory": &table.root, "class_mode": "sparse", "weight_col": "weight", "shuffle": false,
        "target_size": [4, 4]});
    let strict = generator(&json!({}), Compat::Documented);
    let flow = strict.flow_from_dataframe(&Frame::from(&table), &frame_options(&json)).unwrap();
    let batch = flow.batch(0, 0).unwrap();
    assert_eq!(batch.filenames, ["a/00.png", "b/01.png", "a/01.png"]);
    assert_eq!(batch.targets, Targets::Sparse(ndarray::array![0.0, 1.0, 0.0]));
    assert_eq!(batch.weights, Some(vec![1.0, 0.5, 2.0]));
}

#[cfg(unix)]
#[test]
fn folders_that_cannot_be_read_are_said() {
    let dir = photos(2);
    // A link to itself can be listed, but not followed.
    std::os::unix::fs::symlink("self.png", dir.path().join("a/self.png")).unwrap();
    std::os::unix::fs::symlink(dir.path().join("a"), dir.path().join("b/again")).unwrap();
    std::os::unix::fs::symlink(dir.path().join("b"), dir.path().join("b/loop")).unwrap();
    let flow = flow_of(dir.path(), json!({"follow_links": true}));
    assert_eq!(
        flow.filenames(),
        [
            "a/00.png",
            "a/01.png",
            "a/self.png",
            "b/00.png",
            "b/01.png",
            "b/again/00.png",
            "b/again/01.png",
            "b/again/self.png"
        ]
    );
    assert!(
        flow.warnings().iter().any(|line| line.starts_with("`b/loop` leads to")),
        "{:?}",
        flow.warnings()
    );
    assert_eq!(flow.verify(&DataPool::new(1).unwrap()).len(), 2);
}

#[test]
fn a_list_of_one_column_is_a_table() {
    let dir = photos(1);
    let frame =
        Frame::new([("filename", Column::texts(["a/00.png"])), ("age", Column::Numbers(vec![3.0]))]).unwrap();
    let strict = generator(&json!({}), Compat::Documented);
    for (y_col, shape) in
        [(json!("age"), vec![1]), (json!(["age"]), vec![1, 1]), (json!(["age", "age"]), vec![1, 2])]
    {
        let json = json!({"directory": dir.path(), "class_mode": "raw", "y_col": y_col});
        let flow = strict.flow_from_dataframe(&frame, &frame_options(&json)).unwrap();
        let Targets::Raw(Values::Numbers(ages)) = flow.batch(0, 0).unwrap().targets else {
            panic!("numbers")
        };
        assert_eq!(ages.shape(), shape);
    }
    assert_eq!(FrameOptions::default().y_col.names(), ["class"]);
    assert_eq!(DirectoryOptions::default().directory, None);
}
