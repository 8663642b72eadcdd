//! What every split must hold to, on made-up datasets.
#![allow(clippy::unwrap_used, reason = "the helpers of a test are part of it")]

use std::collections::{BTreeMap, BTreeSet};

use tl_data::split::{Fractions, SplitInput, Strata, fold_parts, folds, parts};
use tl_data::{DataError, LeftOut, Part, SplitFile};

/// Numbers for the tests: splitmix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
}

fn names(n: usize) -> Vec<String> {
    (0..n).map(|i| format!("{}/{i}.jpg", i % 7)).collect()
}

fn input<'a>(names: &'a [String], strata: Strata<'a>, groups: Option<&'a [String]>) -> SplitInput<'a> {
    SplitInput {
        names: names.iter().map(String::as_str).collect(),
        strata,
        groups: groups.map(|groups| groups.iter().map(String::as_str).collect()),
    }
}

/// How many of the places where `what` holds are in each subset.
fn count<T: PartialEq + Copy>(subsets: &[T], subset: T, what: impl Fn(usize) -> bool) -> usize {
    (0..subsets.len()).filter(|&i| subsets[i] == subset && what(i)).count()
}

#[test]
fn classes_are_stratified() {
    let mut random = Random(1);
    for n in [2, 10, 57, 1000] {
        let names = names(n);
        let classes: Vec<u32> = (0..n).map(|_| (random.below(10) * random.below(10) / 10) as u32).collect();
        for (val, test) in [(0.2, 0.0), (0.1, 0.3), (0.5, 0.0)] {
            let split =
                parts(&input(&names, Strata::Classes(classes.clone()), None), Fractions { val, test }, 3)
                    .unwrap();
            for class in 0..10 {
                let size = count(&split, Part::Train, |i| classes[i] == class)
                    + count(&split, Part::Val, |i| classes[i] == class)
                    + count(&split, Part::Test, |i| classes[i] == class);
                let held = |part| count(&split, part, |i| classes[i] == class) as f64;
                assert!(size == 0 || held(Part::Train) >= 1.0);
                assert!(size < 2 || held(Part::Val) >= 1.0);
                assert!((held(Part::Val) - val * size as f64).abs() <= 1.0, "{class} {size}");
                assert!((held(Part::Test) - test * size as f64).abs() <= 1.0, "{class} {size}");
            }
        }
    }
}

#[test]
fn folds_are_even_in_classes_and_in_size() {
    let mut random = Random(2);
    for (n, k) in [(5, 5), (23, 2), (500, 7), (999, 10)] {
        let names = names(n);
        let classes: Vec<u32> = (0..n).map(|_| random.below(6) as u32).collect();
        let dealt = folds(&input(&names, Strata::Classes(classes.clone()), None), k, 9).unwrap();
        let spread = |what: &dyn Fn(usize) -> bool| {
            let counts: Vec<usize> = (0..k).map(|fold| count(&dealt, fold, what)).collect();
            counts.iter().max().unwrap() - counts.iter().min().unwrap()
        };
        assert!(spread(&|_| true) <= 1);
        for class in 0..6 {
            assert!(spread(&|i| classes[i] == class) <= 1);
        }
        let round = fold_parts(&dealt, 1);
        assert!(round.iter().zip(&dealt).all(|(part, fold)| (*part == Part::Val) == (*fold == 1)));
    }
}

#[test]
fn neither_the_order_nor_other_runs_matter() {
    let mut random = Random(3);
    let names = names(300);
    let groups: Vec<String> = (0..300).map(|_| format!("g{}", random.below(60))).collect();
    let labels: Vec<Vec<u32>> = (0..300).map(|_| (0..8).filter(|_| random.below(4) == 0).collect()).collect();
    let numbers: Vec<[f32; 2]> =
        (0..300).map(|_| [random.below(50) as f32, random.below(9) as f32]).collect();
    let classes: Vec<u32> = (0..300).map(|_| random.below(4) as u32).collect();
    let mut order: Vec<usize> = (0..300).collect();
    order.sort_by_cached_key(|_| random.next());
    for grouped in [false, true] {
        for kind in 0..4 {
            let make = |order: &[usize]| {
                let strata = match kind {
                    0 => Strata::Classes(order.iter().map(|&i| classes[i]).collect()),
                    1 => Strata::Labels(order.iter().map(|&i| labels[i].as_slice()).collect()),
                    2 => Strata::Numbers(order.iter().map(|&i| numbers[i].as_slice()).collect()),
                    _ => Strata::Numbers(order.iter().map(|&i| &numbers[i][..1]).collect()),
                };
                let groups = grouped.then(|| order.iter().map(|&i| groups[i].as_str()).collect());
                SplitInput { names: order.iter().map(|&i| names[i].as_str()).collect(), strata, groups }
            };
            let straight: Vec<usize> = (0..300).collect();
            let fractions = Fractions { val: 0.2, test: 0.1 };
            let first = parts(&make(&straight), fractions, 5).unwrap();
            let mixed = parts(&make(&order), fractions, 5).unwrap();
            assert!(order.iter().zip(&mixed).all(|(&i, part)| first[i] == *part), "{kind} {grouped}");
            let first_folds = folds(&make(&straight), 4, 5).unwrap();
            let mixed_folds = folds(&make(&order), 4, 5).unwrap();
            assert!(
                order.iter().zip(&mixed_folds).all(|(&i, fold)| first_folds[i] == *fold),
                "{kind} {grouped}"
            );
            assert_ne!(first, parts(&make(&straight), fractions, 6).unwrap(), "{kind} {grouped}");
        }
    }
}

#[test]
fn groups_stay_whole_and_classes_even() {
    let mut random = Random(4);
    for round in 0..40 {
        let n = 200 + random.below(400) as usize;
        let (many, k) = (20 + random.below(60), 2 + (round % 4) as u32);
        let names = names(n);
        let groups: Vec<String> =
            (0..n).map(|_| (random.below(many) * random.below(many) / many).to_string()).collect();
        let classes: Vec<u32> = (0..n).map(|_| random.below(3) as u32).collect();
        let input = input(&names, Strata::Classes(classes.clone()), Some(&groups));
        let fractions = Fractions { val: 0.2, test: if round % 2 == 0 { 0.0 } else { 0.2 } };
        let split = parts(&input, fractions, round).unwrap();
        whole(&groups, &split);
        for class in 0..3 {
            let size = classes.iter().filter(|&&c| c == class).count() as f64;
            let val = count(&split, Part::Val, |i| classes[i] == class) as f64;
            assert!((val / size - 0.2).abs() < 0.08, "round {round}: {val} of {size}");
        }
        let dealt = folds(&input, k, round).unwrap();
        whole(&groups, &dealt);
        let sizes: Vec<usize> = (0..k).map(|fold| count(&dealt, fold, |_| true)).collect();
        let largest =
            groups.iter().map(|group| groups.iter().filter(|other| *other == group).count()).max().unwrap();
        let (least, most) = (sizes.iter().min().unwrap(), sizes.iter().max().unwrap());
        assert!(*most == largest || most - least <= n / 20, "{sizes:?}, largest group {largest}");
    }
}

fn whole<T: PartialEq + Copy + std::fmt::Debug>(groups: &[String], sides: &[T]) {
    let mut seen: BTreeMap<&str, T> = BTreeMap::new();
    for (group, side) in groups.iter().zip(sides) {
        assert_eq!(*seen.entry(group).or_insert(*side), *side, "{group}");
    }
}

#[test]
fn every_class_of_a_grouped_split_trains_and_no_part_is_empty() {
    let mut random = Random(5);
    let mut possible = 0;
    for round in 0..300 {
        let n = 3 + random.below(12) as usize;
        let names = names(n);
        let groups: Vec<String> = (0..n).map(|_| random.below(6).to_string()).collect();
        let classes: Vec<u32> = (0..n).map(|_| random.below(3) as u32).collect();
        let input = input(&names, Strata::Classes(classes.clone()), Some(&groups));
        match parts(&input, Fractions { val: 0.3, test: 0.0 }, round) {
            Ok(split) => {
                possible += 1;
                whole(&groups, &split);
                assert!(split.contains(&Part::Val));
                for class in &classes {
                    assert!(count(&split, Part::Train, |i| classes[i] == *class) > 0);
                }
            }
            Err(error) => assert!(error.to_string().contains("groups cannot be split"), "{error}"),
        }
    }
    assert!(possible > 150, "{possible}");
}

#[test]
fn labels_are_spread_as_wanted() {
    let mut random = Random(6);
    for n in [100, 1000] {
        let names = names(n);
        // Label 0 in half of the images, label 7 in about 1 of 256.
        let labels: Vec<Vec<u32>> =
            (0..n).map(|_| (0..8).filter(|label| random.below(2 << label) == 0).collect()).collect();
        let strata = Strata::Labels(labels.iter().map(Vec::as_slice).collect());
        let input = input(&names, strata, None);
        let split = parts(&input, Fractions { val: 0.25, test: 0.25 }, 1).unwrap();
        let near = |part, wanted: f64| {
            let size = count(&split, part, |_| true) as f64;
            assert!((size / n as f64 - wanted).abs() < 0.02, "{size} of {n}");
            for label in 0..8 {
                let all = labels.iter().filter(|labels| labels.contains(&label)).count() as f64;
                let has = count(&split, part, |i| labels[i].contains(&label)) as f64;
                assert!((has - wanted * all).abs() <= 1.0 + 0.05 * all, "label {label}: {has} of {all}");
            }
        };
        near(Part::Train, 0.5);
        near(Part::Val, 0.25);
        near(Part::Test, 0.25);
        let dealt = folds(&input, 5, 1).unwrap();
        for (fold, label) in (0..5).flat_map(|fold| (0..8).map(move |label| (fold, label))) {
            let all = labels.iter().filter(|labels| labels.contains(&label)).count() as f64;
            let has = count(&dealt, fold, |i| labels[i].contains(&label)) as f64;
            assert!(
                (has - all / 5.0).abs() <= 1.0 + 0.05 * all,
                "fold {fold}, label {label}: {has} of {all}"
            );
        }
    }
}

#[test]
fn numbers_are_spread_as_wanted() {
    let mut random = Random(7);
    let names = names(1000);
    let values: Vec<[f32; 2]> =
        (0..1000).map(|_| [(random.below(1000) as f32).powi(3), -(random.below(10) as f32)]).collect();
    for columns in [1, 2] {
        let strata = Strata::Numbers(values.iter().map(|row| &row[..columns]).collect());
        let split = parts(&input(&names, strata, None), Fractions { val: 0.2, test: 0.0 }, 1).unwrap();
        for column in 0..columns {
            let mean = |part| {
                let of_part = values.iter().zip(&split).filter(|(_, own)| **own == part);
                let sum: f32 = of_part.map(|(row, _)| row[column]).sum();
                sum / count(&split, part, |_| true) as f32
            };
            assert!(
                (mean(Part::Val) / mean(Part::Train) - 1.0).abs() < 0.06,
                "{} {}",
                mean(Part::Val),
                mean(Part::Train)
            );
        }
        assert!((180..=220).contains(&count(&split, Part::Val, |_| true)));
    }
    let few = Strata::Numbers(values.iter().map(|row| &row[..1]).take(3).collect());
    let split = parts(&input(&names[..3], few, None), Fractions { val: 0.2, test: 0.0 }, 1).unwrap();
    assert_eq!(count(&split, Part::Val, |_| true), 1);
}

#[test]
fn what_cannot_be_split() {
    let names = names(4);
    let whole = |strata, groups| input(&names, strata, groups);
    let fractions =
        |val, test| parts(&whole(Strata::None, None), Fractions { val, test }, 0).map_err(|e| e.to_string());
    for (val, test) in [(0.0, 0.0), (1.0, 0.0), (f64::NAN, 0.0), (0.5, -0.1), (0.5, 0.5), (0.5, f64::NAN)] {
        assert!(fractions(val, test).unwrap_err().starts_with("option `"), "{val} {test}");
    }
    assert_eq!(fractions(0.5, 0.25).unwrap().len(), 4);
    let error = |k| folds(&whole(Strata::None, None), k, 0).unwrap_err().to_string();
    assert!(error(1).contains("option `folds` is 1 (expected at least 2)"));
    assert!(
        error(5).contains("4 images cannot be dealt out to 5 folds\n\nhint: use fewer folds"),
        "{}",
        error(5)
    );
    let one = vec!["g".to_owned(); 4];
    let grouped = whole(Strata::None, Some(&one));
    assert!(
        folds(&grouped, 2, 0).unwrap_err().to_string().contains("1 groups cannot be dealt out to 2 folds")
    );
    let error = parts(&grouped, Fractions { val: 0.2, test: 0.0 }, 0).unwrap_err().to_string();
    assert!(error.contains("1 groups cannot be split so that none is divided"), "{error}");
    let short = parts(&whole(Strata::Classes(vec![0; 3]), None), Fractions { val: 0.2, test: 0.0 }, 0);
    assert!(matches!(short.unwrap_err(), DataError::Option { option: "strata", .. }));
    let twice = SplitInput { names: vec!["a", "b", "a"], strata: Strata::None, groups: None };
    let error = parts(&twice, Fractions { val: 0.2, test: 0.0 }, 0).unwrap_err().to_string();
    assert_eq!(error, "the images cannot be split: `a` is there twice");
    let single = SplitInput { names: vec!["a"], strata: Strata::Labels(vec![&[0]]), groups: None };
    assert_eq!(parts(&single, Fractions { val: 0.2, test: 0.0 }, 0).unwrap(), [Part::Train]);
}

const ODD: [&str; 5] = ["a/1.jpg", "b, c/\"2\".jpg", "line\nbreak.jpg", "#3.jpg", " ü.jpg "];

#[test]
fn saved_splits_come_back() {
    let parts = [Part::Train, Part::Val, Part::Test, Part::Train, Part::Val];
    let file = SplitFile::new(ODD, &parts, BTreeMap::new(), "by hand").unwrap();
    let json = file.to_json();
    assert_eq!(SplitFile::from_json(&json).unwrap(), file);
    assert_eq!(SplitFile::from_csv(&file.to_csv()).unwrap().parts, file.parts);
    assert_eq!(SplitFile::from_csv(&format!("\u{feff}{}", file.to_csv())).unwrap().parts, file.parts);
    assert_eq!(file.parts_of(&ODD, &BTreeSet::new()).unwrap(), parts);
    let small = SplitFile::new(["b", "a"], &[Part::Val, Part::Train], BTreeMap::new(), "x").unwrap();
    // `printf 'a\0train\nb\0val\n' | sha256sum`
    assert_eq!(small.sha256(), "0afa8f57dbab93b9ed6dc4c7648e7e07078641750ee9a2c7b5118d3ffe10e16e");
    assert!(small.to_csv().ends_with("\nfile,split\na,train\nb,val\n"));
    let by_hand = SplitFile::from_csv("file,split\r\nb,Valid\r\n\r\na,training").unwrap();
    assert_eq!(by_hand.parts, small.parts);
}

#[test]
fn what_is_wrong_with_a_saved_split() {
    let file = SplitFile::new(["a", "b", "c"], &[Part::Train, Part::Val, Part::Train], BTreeMap::new(), "x")
        .unwrap();
    let error = file.parts_of(&["a", "d", "b", "e"], &BTreeSet::new()).unwrap_err().to_string();
    assert_eq!(
        error,
        "the images cannot be split: 3 problems\
        \n  - `d` is not in the saved split\
        \n  - `e` is not in the saved split\
        \n  - `c` is in the saved split, but not in the data\
        \n\nhint: make a new split, or give the data that the split was made for"
    );
    let error = |result: Result<SplitFile, DataError>| result.unwrap_err().to_string();
    let json = file.to_json();
    let moved = json.replace("\"b\"", "\"z\"");
    assert!(error(SplitFile::from_json(&moved)).contains("does not have the sha256 that it names"));
    let twice = json.replace("\"b\"", "\"a\"");
    assert!(error(SplitFile::from_json(&twice)).contains("`a` is there twice"));
    assert!(error(SplitFile::from_json(&json[..40])).contains("cannot be read: EOF"));
    assert!(error(SplitFile::from_json(&json.replace("made", "mode"))).contains("unknown field `mode`"));
    assert!(
        error(SplitFile::from_json(&json.replace("\"format\": 1", "\"format\": 2")))
            .contains("its format is 2")
    );
    assert!(error(SplitFile::new(["a"], &[], BTreeMap::new(), "x")).contains("option `parts`"));
    assert!(
        error(SplitFile::new(["a", "a"], &[Part::Val; 2], BTreeMap::new(), "x"))
            .contains("`a` is there twice")
    );

    let csv = file.to_csv();
    assert!(error(SplitFile::from_csv(&csv.replace("b,val", "b,train"))).contains("sha256"));
    assert!(error(SplitFile::from_csv("")).contains("it is empty"));
    assert_eq!(
        error(SplitFile::from_csv("file,split\n\na,trian\nb\nc,val,x\nd,val\nd,val\n")),
        "the images cannot be split: 4 problems\
        \n  - line 3 of the saved split has `trian` (expected `train`, `val` or `test`)\
        \n  - line 4 of the saved split has 1 cells (expected a name and a part)\
        \n  - line 5 of the saved split has 3 cells (expected a name and a part)\
        \n  - `d` is there twice\
        \n\nhint: did you mean `train`?"
    );
    assert!(
        error(SplitFile::from_csv("a,train\n"))
            .contains("line 1 of the saved split has `a,train` (expected the header")
    );
    assert!(
        error(SplitFile::from_csv("file,split\n\"a,train\n"))
            .contains("line 2 of the saved split has a quote")
    );
}

#[test]
fn left_out_files_are_saved_too() {
    let out = BTreeMap::from([("b".to_owned(), LeftOut::Listed), ("c".to_owned(), LeftOut::Unreadable)]);
    let file = SplitFile::new(["a", "d"], &[Part::Train, Part::Val], out.clone(), "x").unwrap();
    assert_eq!(SplitFile::from_json(&file.to_json()).unwrap(), file);
    assert_eq!(SplitFile::from_csv(&file.to_csv()).unwrap().left_out, out);
    assert!(file.to_csv().ends_with("\na,train\nb,left-out\nc,unreadable\nd,val\n"));
    // `printf 'a\0train\nb\0left-out\nc\0unreadable\nd\0val\n' | sha256sum`
    assert_eq!(file.sha256(), "9a8ca5656d759fbb88eccf18cfae2fb08e4df893bd969560de13472a9ef10a59");
    let twice = SplitFile::new(["b"], &[Part::Train], out, "x").unwrap_err().to_string();
    assert_eq!(twice, "the images cannot be split: `b` is there twice");
    let none: BTreeSet<&str> = BTreeSet::new();
    let error = file.parts_of(&["a", "b"], &none).unwrap_err().to_string();
    assert!(error.contains("`b` was left out when the split was saved"), "{error}");
    assert!(error.contains("`d` is in the saved split, but not in the data"), "{error}");
    assert_eq!(file.parts_of(&["a"], &BTreeSet::from(["d"])).unwrap(), [Part::Train]);
}

#[test]
fn saved_splits_are_read_whatever_they_are_called() {
    let dir = tempfile::tempdir().unwrap();
    let file = SplitFile::new(["a", "b"], &[Part::Train, Part::Val], BTreeMap::new(), "x").unwrap();
    let at = |text: &[u8]| {
        let path = dir.path().join("split.txt");
        std::fs::write(&path, text).unwrap();
        SplitFile::read(&path)
            .map(|file| file.parts)
            .map_err(|error| error.to_string().replace(&dir.path().display().to_string(), "DIR"))
    };
    assert_eq!(at(file.to_csv().as_bytes()).unwrap(), file.parts);
    assert_eq!(at(format!("\u{feff}\n{}", file.to_json()).as_bytes()).unwrap(), file.parts);
    assert!(
        at(b"{}").unwrap_err().starts_with("split `DIR/split.txt` cannot be used: the saved split cannot")
    );
    assert!(at(b"file,split\na,\xff\n").unwrap_err().ends_with("cannot be read: it is not UTF-8 text"));
    let error = SplitFile::read(dir.path()).unwrap_err();
    assert_eq!(std::error::Error::source(&error).unwrap().to_string(), "it is not a regular file");
    let missing = SplitFile::read(&dir.path().join("no.json")).unwrap_err().to_string();
    assert!(missing.ends_with("no.json` cannot be read"), "{missing}");
    let large = std::fs::File::create(dir.path().join("large.json")).unwrap();
    large.set_len((256 << 20) + 1).unwrap();
    let error = SplitFile::read(&dir.path().join("large.json")).unwrap_err();
    let error = std::error::Error::source(&error).unwrap().to_string();
    assert_eq!(error, "it is too large (expected at most 256 MiB)");
}
