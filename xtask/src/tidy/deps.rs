//! Which crate may use which: dependencies point one way, and siblings do not see each other.

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::workspace::Workspace;

/// For each crate the crates of this workspace that it may use; `*` is all of them.
const ALLOWED: &[(&str, &[&str])] = &[
    ("tl-fetch", &[]),
    ("tl-data", &[]),
    ("tl-finetune", &[]),
    ("tl-run", &[]),
    ("tl-linear", &[]),
    // It knows neither nets nor images: whoever serves gives it what answers.
    ("tl-serve", &[]),
    // Texts are split, grouped and left out as images are, by the same code.
    ("tl-text", &["tl-data", "tl-linear"]),
    ("tl-weights", &["tl-fetch"]),
    ("tl-torch", &[]),
    ("tl-backbones", &["tl-torch", "tl-weights"]),
    ("tl-heads", &["tl-torch"]),
    (
        "tl-train",
        &[
            "tl-backbones",
            "tl-data",
            "tl-fetch",
            "tl-finetune",
            "tl-heads",
            "tl-text",
            "tl-torch",
            "tl-weights",
        ],
    ),
    ("tl-export", &["tl-backbones", "tl-data", "tl-heads", "tl-torch", "tl-train", "tl-weights"]),
    ("tl-cli", &["*"]),
    ("tl-bench", &["tl-backbones", "tl-data", "tl-finetune", "tl-heads", "tl-text", "tl-torch", "tl-train"]),
    ("xtask", &["tl-fetch", "xtask-start"]),
    // Compiled before anything else.
    ("xtask-start", &[]),
    ("tl-tests", &[]),
];

/// The crates that may see a tensor.
const TENSORS: &[&str] =
    &["tl-torch", "tl-backbones", "tl-heads", "tl-train", "tl-export", "tl-cli", "tl-bench"];

pub(super) fn violations(workspace: &Workspace) -> Result<Vec<String>> {
    let mut cargo = workspace.cargo();
    let output = cargo.args(["metadata", "--no-deps", "--format-version", "1", "--offline"]).output();
    let output = output.context("cannot run `cargo metadata`")?;
    if !output.status.success() {
        bail!("`cargo metadata` failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(check(&serde_json::from_slice(&output.stdout)?))
}

fn check(metadata: &Value) -> Vec<String> {
    let mut found = Vec::new();
    let packages = metadata["packages"].as_array().map(Vec::as_slice).unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let ours: Vec<String> = packages.iter().map(|p| text(&p["name"])).collect();
    for package in packages {
        let name = text(&package["name"]);
        let file = match &*name {
            "xtask" | "tl-tests" => format!("{}/Cargo.toml", name.trim_start_matches("tl-")),
            "xtask-start" => "xtask/start/Cargo.toml".to_owned(),
            _ => format!("crates/{name}/Cargo.toml"),
        };
        let Some((_, allowed)) = ALLOWED.iter().find(|(n, _)| *n == name) else {
            found.push(format!(
                "{file}:1: `{name}` is not in the table of allowed dependencies (xtask/src/tidy/deps.rs)"
            ));
            continue;
        };
        for dependency in package["dependencies"].as_array().map(Vec::as_slice).unwrap_or_default() {
            let other = text(&dependency["name"]);
            if ours.contains(&other) && !allowed.contains(&"*") && !allowed.contains(&other.as_str()) {
                found.push(format!("{file}:1: `{name}` must not depend on `{other}`"));
            }
            if other == "tch" && !TENSORS.contains(&name.as_str()) {
                found.push(format!("{file}:1: `{name}` must not know `tch`"));
            }
            if other == "torch-sys" && name != "tl-torch" {
                found.push(format!("{file}:1: only `tl-torch` may use `torch-sys`"));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_not_in_the_table_is_found() {
        let package = |name: &str, uses: &[&str]| {
            let uses: Vec<Value> = uses.iter().map(|name| json!({ "name": name })).collect();
            json!({ "name": name, "dependencies": uses })
        };
        let metadata = json!({ "packages": [
            package("tl-data", &["image", "tl-run", "tch"]),
            package("tl-run", &["serde"]),
            package("tl-cli", &["tl-data", "tch"]),
            package("tl-new", &[]),
        ]});
        let found = check(&metadata);
        assert_eq!(found.len(), 3, "{found:?}");
        assert!(found[0].contains("`tl-data` must not depend on `tl-run`"));
        assert!(found[1].contains("`tl-data` must not know `tch`"));
        assert!(found[2].contains("`tl-new` is not in the table"));
    }
}
