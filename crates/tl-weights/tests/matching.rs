//! Reports of how names fit.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;
use std::path::Path;

use tl_weights::{DType, Expected, Matched, Rename, WeightFile, match_names, write_safetensors};

fn file(dir: &Path, names: &[(&str, usize)]) -> WeightFile {
    let path = dir.join("x.safetensors");
    let rows = names.iter().map(|&(name, n)| (name, DType::U8, vec![n], vec![0; n]));
    write_safetensors(&path, rows, &BTreeMap::new()).unwrap();
    WeightFile::open(path).unwrap()
}

fn rename(name: &str) -> Rename {
    match name.strip_suffix("num_batches_tracked") {
        Some(_) => Rename::Ignore,
        None => Rename::To(name.replace("gamma", "weight")),
    }
}

fn matched(names: &[(&str, usize)], expected: &[(&str, usize)]) -> Matched {
    let dir = tempfile::tempdir().unwrap();
    let shapes: Vec<_> = expected.iter().map(|&(name, n)| (name, [n])).collect();
    let expected: Vec<_> = shapes.iter().map(|(name, shape)| Expected { name, shape }).collect();
    match_names(&expected, &file(dir.path(), names), &rename)
}

#[test]
fn a_full_match_gives_pairs_in_the_order_of_the_net() {
    let full = matched(
        &[("a.gamma", 2), ("b.weight", 3), ("a.num_batches_tracked", 1)],
        &[("b.weight", 3), ("a.weight", 2)],
    );
    assert!(full.is_full());
    let pairs = full.into_result("x").unwrap();
    assert_eq!(pairs, [("b.weight", "b.weight"), ("a.weight", "a.gamma")].map(|(a, b)| (a.into(), b.into())));
}

#[test]
fn dimensions_of_size_1_do_not_count() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.safetensors");
    let rows: Vec<(&str, &[usize])> = vec![
        ("conv", &[4, 3, 1, 1]),
        ("scale", &[6]),
        ("scalar", &[]),
        ("one", &[1, 1]),
        ("turned", &[3, 4]),
        ("flat", &[12]),
        ("empty", &[0]),
        ("left.ovr", &[5, 1]),
    ];
    let tensor = |&(name, shape): &(&'static str, &[usize])| {
        (name, DType::U8, shape.to_vec(), vec![0; shape.iter().product()])
    };
    write_safetensors(&path, rows.iter().map(tensor), &BTreeMap::new()).unwrap();
    let expected: Vec<(&str, &[usize])> = vec![
        ("conv", &[4, 3]),
        ("scale", &[6, 1, 1]),
        ("scalar", &[1]),
        ("one", &[]),
        ("turned", &[4, 3]),
        ("flat", &[4, 3]),
        ("empty", &[]),
        ("left.over", &[1, 5]),
    ];
    let expected: Vec<_> = expected.iter().map(|&(name, shape)| Expected { name, shape }).collect();
    let file = WeightFile::open(path).unwrap();
    let matched = match_names(&expected, &file, &|name| Rename::To(name.to_owned()));
    let fit: Vec<_> = matched.applied.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(fit, ["conv", "scale", "scalar", "one"]);
    // Neither another order nor another number of dimensions is the same shape, though there are as many elements.
    let odd: Vec<_> = matched.misshapen.iter().map(|odd| odd.name.as_str()).collect();
    assert_eq!(odd, ["turned", "flat", "empty"]);
    assert_eq!(matched.missing[0].did_you_mean.as_deref(), Some("left.ovr"));
}

#[test]
fn a_part_is_enough_for_those_who_ask() {
    let some = matched(&[("a", 1), ("b", 2), ("left", 9)], &[("a", 1), ("b", 3), ("zzz", 1)]);
    assert!(some.fits_partly() && !some.is_full());
    let all = matched(&[("a", 1)], &[("a", 1)]);
    assert!(all.fits_partly() && all.is_full());
    assert!(!matched(&[("x", 1)], &[("a", 1)]).fits_partly());
    assert!(
        !matched(&[("a", 1), ("b.gamma", 1), ("b.weight", 1)], &[("a", 1), ("b.weight", 1)]).fits_partly()
    );
}

#[test]
fn everything_that_is_not_right_is_reported() {
    let odd = matched(
        &[("layer4.bn2.gama", 2), ("fc.bias", 3), ("c.gamma", 1), ("c.weight", 1), ("extra", 7)],
        &[("layer4.bn2.weight", 2), ("fc.bias", 10), ("c.weight", 1), ("zzz", 1)],
    );
    assert!(!odd.is_full());
    let error = odd.into_result("net.pth").unwrap_err().to_string();
    let expected = "\
weights `net.pth` do not fit the net
0 tensors fit
2 missing in the file:
  `layer4.bn2.weight` [2]; did you mean `layer4.bn2.gama`?
  `zzz` [1]
1 of another shape:
  `fc.bias`: expected [10], got [3]
1 claimed more than once:
  `c.weight`: by `c.gamma`, `c.weight`
2 left over in the file:
  `extra`
  `layer4.bn2.gama`";
    assert_eq!(error, expected);
}

#[test]
fn long_lists_are_cut() {
    let names: Vec<_> = (0..20).map(|i| format!("n{i:02}")).collect();
    let names: Vec<_> = names.iter().map(|name| (name.as_str(), 1)).collect();
    let report = matched(&names, &[]).report();
    assert!(report.starts_with("0 tensors fit\n20 left over in the file:\n  `n00`"), "{report}");
    assert!(report.ends_with("`n07`\n  … and 12 more"), "{report}");
}
