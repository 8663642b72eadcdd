//! `--pooling`: how tokens become one vector, the pretrained pooler among it.

use std::fs;
use std::path::Path;

use crate::support::{json, run};
use crate::texts::{net, table, tensor, tiny_net};

/// The rows of a file that NumPy reads.
fn rows(path: &Path, width: usize) -> Vec<Vec<f32>> {
    let bytes = fs::read(path).unwrap();
    let values: Vec<f32> =
        bytes[128..].chunks_exact(4).map(|four| f32::from_le_bytes(four.try_into().unwrap())).collect();
    values.chunks(width).map(<[f32]>::to_vec).collect()
}

#[test]
fn a_pretrained_pooler_is_the_first_layer_of_the_head() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    tiny_net(dir);
    net(dir, "pooled", true);
    table(dir, 60);
    let features = |backbone: &str, pool: &'static str| {
        let out = format!("{backbone}-{pool}.npy");
        run(dir, &["features", "--backbone", backbone, "reviews.csv", "--pool", pool, "--out", &out])
    };
    let of = |pool: &'static str| {
        features("pooled", pool).expect_success();
        rows(&dir.join(format!("pooled-{pool}.npy")), 16)
    };
    let (first, pooled) = (of("cls"), of("pooler"));
    let (_, _, weight) = tensor("pooler.dense.weight", &[16, 16]);
    let (_, _, bias) = tensor("pooler.dense.bias", &[16]);
    for (xs, ys) in first.iter().zip(&pooled) {
        for (i, y) in ys.iter().enumerate() {
            let sum: f32 = xs.iter().zip(&weight[16 * i..]).map(|(x, w)| x * w).sum();
            assert!((y - (sum + bias[i]).tanh()).abs() < 1e-5);
        }
    }
    assert!(of("mean") != of("max") && of("last") != first);

    let words = ["finetune", "--task", "text", "--data", "reviews.csv", "--epochs", "2", "--preset"];
    let words = [&words[..], &["feature-extraction", "--pooling", "pooler", "--backbone"]].concat();
    run(dir, &[&words[..], &["pooled", "--run", "r"]].concat()).expect_success();
    assert_eq!(json(&dir.join("r/model.json"))["head"], "cls-16-tanh");
    run(dir, &["runs", "reproduce", "r"]).expect_success();
    let none = "the weights of `tiny` have no pretrained pooler";
    run(dir, &[&words[..], &["tiny", "--head", "gap"]].concat())
        .expect_error(&["--pooling and --head gap both say how tokens become a vector"]);
    run(dir, &[&words[..], &["tiny"]].concat()).expect_error(&[none]);
    features("tiny", "pooler").expect_error(&[none]);
    run(dir, &["features", "r", "reviews.csv", "--pool", "pooler", "--out", "f.npy"])
        .expect_error(&["a run has its pooler in its head"]);
}
