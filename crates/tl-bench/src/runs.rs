//! What a person waits for: epochs of a head on kept activations, and whole runs of `tl`.

use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::Context;
use tch::{Device, Kind, Tensor};
use tl_finetune::Optimizer as Rule;
use tl_heads::{Head, Task};
use tl_torch::{Fill, Param};
use tl_train::{Optimizer, Target};

use crate::{Group, Work};

pub(crate) fn groups() -> Vec<Group> {
    let cached = Group {
        names: vec!["cached head epoch, 1280 features, 10 classes".to_owned()],
        unit: "images/s",
        make: Box::new(|_| Ok(vec![cached()?])),
    };
    let run = Group {
        names: vec!["run tl finetune, embedded set, head only".to_owned()],
        unit: "runs/min",
        make: Box::new(|_| Ok(vec![whole_run()?])),
    };
    vec![cached, run]
}

/// Steps of a head on rows that are picked from kept activations.
fn cached() -> anyhow::Result<Work> {
    const ROWS: i64 = 4096;
    const WIDTH: i64 = 1280;
    const BATCH: usize = 16;
    let rows = Tensor::rand([ROWS, WIDTH], (Kind::Float, Device::Cpu));
    let labels: Vec<i64> = (0..ROWS).map(|i| i % 10).collect();
    let features = tl_heads::Features::Map { channels: WIDTH, height: 1, width: 1 };
    let task = Task::Softmax { classes: 10 };
    let head = Head::new(
        tl_heads::Pool::Average.into(),
        features,
        task.outputs(),
        0.2,
        (Device::Cpu, Fill::Seed(1)),
    )?;
    for param in head.store.iter() {
        let _ = param.tensor.set_requires_grad(true);
    }
    let mut optimizer = Optimizer::new(Rule::ADAMW);
    let order: Vec<i64> = (0..ROWS).map(|i| i * 1999 % ROWS).collect();
    // In one thread, as a run does it.
    let mut epoch = move || {
        let start = Instant::now();
        for (step, indices) in order.chunks(BATCH).enumerate() {
            let xs = rows.index_select(0, &Tensor::from_slice(indices));
            let right: Vec<i64> = indices.iter().map(|&i| labels[i as usize]).collect();
            let training = tl_heads::Training { seed: step as u64, dropout: None };
            let logits = head.forward(&xs, Some(training));
            logits.cross_entropy_for_logits(&Tensor::from_slice(&right)).backward();
            optimizer.step(head.store.iter().map(target), None);
            for param in head.store.iter() {
                param.tensor.shallow_clone().zero_grad();
            }
        }
        ROWS as f64 / start.elapsed().as_secs_f64()
    };
    Ok(Box::new(move || Ok(tl_torch::alone(&mut epoch))))
}

fn target(param: &Param) -> Target<'_> {
    Target { name: &param.name, tensor: &param.tensor, rate: 1e-3, weight_decay: 0.01 }
}

/// Start-up, decoding, features, training, evaluation and the report.
fn whole_run() -> anyhow::Result<Work> {
    let tl = std::env::current_exe()?.with_file_name("tl");
    anyhow::ensure!(tl.is_file(), "`{}` is not there; `cargo xtask bench` builds it", tl.display());
    let dir = tempfile::tempdir()?;
    let mut number = 0;
    Ok(Box::new(move || {
        number += 1;
        let start = Instant::now();
        let mut command = Command::new(&tl);
        command.args(["finetune", "--preset", "feature-extraction", "--feature-cache", "0", "--run"]);
        command.arg(dir.path().join(number.to_string())).stdin(Stdio::null());
        let output = command.output().context("`tl` cannot be started")?;
        anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr).trim());
        Ok(60.0 / start.elapsed().as_secs_f64())
    }))
}
