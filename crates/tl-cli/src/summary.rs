//! `tl summary`: a net's layers as one image or text meets them, what trains, totals and memory. Like Keras's
//! `model.summary()`, with the part that is to be unfrozen in view.

use std::fmt::Write as _;

use serde::Serialize;
use serde_json::Value;
use tch::Device;
use tl_backbones::{Backbone, Layer, Observed, Stage};
use tl_heads::{Head, HeadSpec, Task};
use tl_torch::{Fill, Param, ParamStore, Role};

use crate::args::SummaryArgs;
use crate::memory;
use crate::texts;
use crate::ui;

/// One line of the table.
#[derive(Debug, Serialize)]
struct Row {
    /// As `layers[I]` counts; none in the head.
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<usize>,
    layer: String,
    kind: &'static str,
    /// Stage and block; none in the head.
    #[serde(skip_serializing_if = "Option::is_none")]
    stage: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    block: Option<String>,
    /// Of the output for one image.
    output: Vec<i64>,
    /// Values that gradients can change.
    parameters: usize,
    /// Running statistics.
    buffers: usize,
    /// Whether it is in the part that is to train.
    unfrozen: bool,
    /// Of the parameters, those that train.
    trainable: usize,
    macs: u64,
}

#[derive(Debug, Serialize)]
struct Totals {
    parameters: usize,
    trainable: usize,
    frozen: usize,
    /// Running statistics.
    buffers: usize,
    macs: u64,
    batch: u64,
    weights_bytes: u64,
    inference_bytes: u64,
    training_bytes: u64,
}

/// A stage as a whole.
#[derive(Debug, Serialize)]
struct StageRow {
    stage: String,
    /// Of its output, `N` first.
    output: Vec<Value>,
    parameters: usize,
}

#[derive(Debug, Serialize)]
struct Summary<'a> {
    backbone: &'a str,
    /// `image` or `text`.
    task: &'static str,
    paper: Option<&'a str>,
    /// The side of an image, or the tokens of a text.
    input: u32,
    stages: Vec<StageRow>,
    head: Option<String>,
    unfreeze: Option<&'a str>,
    layers: Vec<Row>,
    totals: Totals,
    /// Scales and shifts of batch-norms in layers that train; they stay as they are.
    frozen_norms: usize,
}

pub(crate) fn run(args: &SummaryArgs) -> anyhow::Result<()> {
    let name = args.net.as_deref().or(args.backbone.as_deref()).unwrap_or_default();
    let batch = args.batch;
    anyhow::ensure!((1..=65_536).contains(&batch), "--batch is {batch}, expected 1 to 65536");
    let (backbone, observed, paper, size) = match texts::is_text_net(name) {
        true => text_net(args, name)?,
        false => image_net(args, name)?,
    };
    let is_text = backbone.text_net().is_some();
    let head =
        args.head.as_deref().map(|spec| head(&backbone, &observed, spec, &args.classes)).transpose()?;
    let trains = trains(&backbone, &observed, args.unfreeze.as_deref())?;
    let (mut layers, frozen_norms) = backbone_rows(&backbone, &observed, &trains, args.unfreeze.is_some());
    if let Some(head) = &head {
        layers.extend(head_rows(head));
    }
    let totals = totals(&layers, net(&layers, &observed, &trains), args.batch);
    let summary = Summary {
        backbone: backbone.name(),
        task: if is_text { "text" } else { "image" },
        paper,
        input: size,
        stages: stage_rows(&backbone, &observed),
        head: head.as_ref().map(|head| head.spec.to_string()),
        unfreeze: args.unfreeze.as_deref(),
        layers,
        totals,
        frozen_norms,
    };
    match args.json {
        true => ui::print_json(&summary),
        false => ui::print_tables(&text(&summary)),
    }
}

type Seen = (Backbone, Observed, Option<&'static str>, u32);

fn image_net(args: &SummaryArgs, name: &str) -> anyhow::Result<Seen> {
    let card = tl_backbones::find(name)?;
    anyhow::ensure!(args.max_length.is_none(), "--max-length is for texts, and `{}` takes images", card.name);
    let size = args.image_size.unwrap_or(card.input().size);
    card.check_size(size)?;
    let backbone = Backbone::new(card, Device::Cpu, Fill::Shapes)?;
    let observed = backbone.observe(size);
    Ok((backbone, observed, Some(card.paper), size))
}

/// Of a text net its configuration is enough.
fn text_net(args: &SummaryArgs, name: &str) -> anyhow::Result<Seen> {
    let net = texts::find(name)?;
    let (name, config, card) = (&net.name, &net.config, net.card());
    anyhow::ensure!(args.image_size.is_none(), "--image-size is for images, and `{name}` takes texts");
    let most = config.max_tokens().and_then(|most| u32::try_from(most).ok()).unwrap_or(u32::MAX);
    let tokens = args.max_length.unwrap_or(texts::MAX_LENGTH as u32).min(match args.max_length {
        None => most,
        Some(_) => u32::MAX,
    });
    anyhow::ensure!(
        (3..=most.min(LONGEST)).contains(&tokens),
        "--max-length is {tokens}, expected 3 to {}: backbone `{name}` takes no more",
        most.min(LONGEST)
    );
    let backbone = Backbone::text_shapes(name, config, None)?;
    let observed = backbone.observe_text(i64::from(tokens));
    Ok((backbone, observed, card.map(|card| card.paper), tokens))
}

/// Tokens of a text that is looked at.
const LONGEST: u32 = 4096;

fn stage_rows(backbone: &Backbone, observed: &Observed) -> Vec<StageRow> {
    let row = |(stage, shape): (&Stage, &Vec<i64>)| StageRow {
        stage: stage.name.to_string(),
        output: std::iter::once("N".into()).chain(shape.iter().map(|&n| n.into())).collect(),
        parameters: count(backbone.store.slice(stage.params()).iter(), |role| role != Role::Buffer),
    };
    backbone.stages.iter().zip(&observed.shapes[1..]).map(row).collect()
}

fn head(backbone: &Backbone, observed: &Observed, spec: &str, classes: &str) -> anyhow::Result<Head> {
    let task = match (classes, classes.parse::<i64>()) {
        ("binary", _) => Task::Binary,
        (_, Ok(classes @ 1..=1_000_000)) => Task::Softmax { classes },
        _ => anyhow::bail!("--classes is `{classes}`, expected a number from 1 to 1000000, or `binary`"),
    };
    let features = tl_train::features(backbone, observed, backbone.stages.len());
    let spec: HeadSpec = spec.parse()?;
    Ok(Head::new(spec, features, task.outputs(), 0.0, (Device::Cpu, Fill::Shapes))?)
}

/// By layer, whether it trains: all, or the part that is named.
fn trains(backbone: &Backbone, observed: &Observed, part: Option<&str>) -> anyhow::Result<Vec<bool>> {
    let Some(part) = part else { return Ok(vec![true; observed.layers.len()]) };
    Ok(tl_finetune::select(&tl_train::net_info(backbone, observed), part)?)
}

/// With a part named, batch-norm is as frozen as it is in training, and counted.
fn backbone_rows(
    backbone: &Backbone,
    observed: &Observed,
    trains: &[bool],
    norms_frozen: bool,
) -> (Vec<Row>, usize) {
    let mut frozen_norms = 0;
    let row = |(index, (layer, trains)): (usize, (&Layer, &bool))| {
        let params = backbone.store.slice(layer.params.clone());
        let count = |counts: fn(Role) -> bool| count(params.iter(), counts);
        let parameters = count(|role| role != Role::Buffer);
        let norms = if norms_frozen && *trains { count(|role| role == Role::Norm) } else { 0 };
        frozen_norms += norms;
        let stage = &backbone.stages[layer.stage];
        Row {
            index: Some(index),
            layer: layer.name.clone(),
            kind: layer.kind,
            stage: Some(stage.name.to_string()),
            block: stage.blocks().nth(layer.block).map(str::to_owned),
            output: layer.output.clone(),
            parameters,
            buffers: count(|role| role == Role::Buffer),
            unfrozen: *trains && parameters > 0,
            trainable: if *trains { parameters - norms } else { 0 },
            macs: layer.macs,
        }
    };
    let rows = observed.layers.iter().zip(trains).enumerate().map(row).collect();
    (rows, frozen_norms)
}

fn head_rows(head: &Head) -> impl Iterator<Item = Row> {
    let store: &ParamStore = &head.store;
    head.layers().into_iter().map(move |layer| {
        // Of a dense layer; nothing else in a head multiplies.
        let weight = store.get(&format!("{}.weight", layer.name)).filter(|param| param.role == Role::Weight);
        Row {
            index: None,
            macs: weight.map_or(0, |param| param.tensor.numel() as u64),
            layer: layer.name,
            kind: layer.kind,
            stage: None,
            block: None,
            output: layer.output,
            parameters: layer.params,
            buffers: layer.buffers,
            unfrozen: layer.params > 0,
            trainable: layer.params,
        }
    })
}

fn count<'a>(params: impl Iterator<Item = &'a Param>, counts: fn(Role) -> bool) -> usize {
    params.filter(|param| counts(param.role)).map(|param| param.tensor.numel()).sum()
}

fn totals(rows: &[Row], net: memory::Net, batch: u64) -> Totals {
    let sum = |of: fn(&Row) -> usize| rows.iter().map(of).sum::<usize>();
    let (parameters, trainable) = (sum(|row| row.parameters), sum(|row| row.trainable));
    Totals {
        parameters,
        trainable,
        frozen: parameters - trainable,
        buffers: sum(|row| row.buffers),
        macs: rows.iter().map(|row| row.macs).sum(),
        batch,
        weights_bytes: net.values * size_of::<f32>() as u64,
        inference_bytes: net.inference(batch),
        training_bytes: net.training(batch),
    }
}

/// As far as memory goes.
fn net(rows: &[Row], observed: &Observed, trains: &[bool]) -> memory::Net {
    memory::Net {
        values: rows.iter().map(|row| (row.parameters + row.buffers) as u64).sum(),
        trainable: rows.iter().map(|row| row.trainable as u64).sum(),
        outputs: observed.layers.iter().map(memory::output_values).collect(),
        first: trains.iter().position(|trains| *trains),
    }
}

fn text(summary: &Summary<'_>) -> String {
    let mut text = String::new();
    let shape = |shape: &[i64]| shape.iter().map(i64::to_string).collect::<Vec<_>>().join(" × ");
    let name = summary.layers.iter().map(|row| row.layer.len()).max().unwrap_or(0).max(5);
    let kind = summary.layers.iter().map(|row| row.kind.chars().count()).max().unwrap_or(0);
    let _ = writeln!(
        text,
        "{:>5}  {:name$}  {:kind$}  {:16}  {:>12}  trains",
        "", "layer", "kind", "output", "parameters"
    );
    let mut stage: Option<&str> = None;
    for row in &summary.layers {
        if row.stage.as_deref() != stage || row.index == Some(0) {
            stage = row.stage.as_deref();
            let _ = writeln!(text, "{}", stage_line(summary, stage));
        }
        let index = row.index.map_or(String::new(), |index| index.to_string());
        let trains = match (row.parameters, row.unfrozen, row.trainable) {
            (0, ..) => "",
            (_, false, _) => "no",
            (_, true, 0) => "frozen norm",
            (_, true, _) => "yes",
        };
        let line = format!(
            "{index:>5}  {:name$}  {:kind$}  {:16}  {:>12}  {trains}",
            row.layer,
            row.kind,
            shape(&row.output),
            grouped(row.parameters as u64),
        );
        let _ = writeln!(text, "{}", line.trim_end());
    }
    let Totals { parameters, trainable, frozen, buffers, macs, batch, .. } = summary.totals;
    text.push('\n');
    let mut line = |what: &str, n: u64| {
        let _ = writeln!(text, "{what:28}{:>18}", grouped(n));
    };
    line("parameters", parameters as u64);
    line("trainable", trainable as u64);
    line("frozen", frozen as u64);
    line("running statistics", buffers as u64);
    line("multiply-accumulates", macs);
    let mut line = |what: &str, n: u64| {
        let _ = writeln!(text, "{what:28}{:>18}", ui::bytes(n));
    };
    line("weights", summary.totals.weights_bytes);
    line(&format!("inference, batch {batch}"), summary.totals.inference_bytes);
    line(&format!("training, batch {batch}"), summary.totals.training_bytes);
    if summary.frozen_norms > 0 {
        let n = grouped(summary.frozen_norms as u64);
        let _ = writeln!(
            text,
            "\n{n} scales and shifts of batch-norms in this part stay frozen, as by default in training"
        );
    }
    text
}

/// The name of a stage; of a text net also its output and its parameters.
fn stage_line(summary: &Summary<'_>, stage: Option<&str>) -> String {
    let name = stage.unwrap_or("head");
    let row = summary.stages.iter().find(|row| row.stage == name).filter(|_| summary.task == "text");
    row.map_or_else(
        || name.to_owned(),
        |row| {
            let shape: Vec<String> = row.output.iter().map(|n| n.to_string().replace('"', "")).collect();
            format!("{name}  [{}]  {} parameters", shape.join(", "), grouped(row.parameters as u64))
        },
    )
}

/// `14,714,688`.
fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::grouped;

    #[test]
    fn digits_come_in_threes() {
        assert_eq!([0, 999, 1000, 14_714_688].map(grouped), ["0", "999", "1,000", "14,714,688"]);
    }
}
