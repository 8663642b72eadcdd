//! `tl backbones`: the tables of nets of images and of texts, and of their published weights.

use serde_json::{Value, json};
use tch::Device;
use tl_backbones::text::{TEXT_CARDS, TextCard, TextPool};
use tl_backbones::{Backbone, Card, Interpolation, Weights};
use tl_torch::Fill;
use tl_weights::{Cache, Source};

use crate::args::{BackbonesArgs, Of};
use crate::ui;

pub(crate) fn run(args: &BackbonesArgs) -> anyhow::Result<()> {
    let cache = Cache::default_location()?;
    let word = args.word.as_deref().unwrap_or_default().to_lowercase();
    let has = |texts: &[&str]| texts.iter().any(|text| text.to_lowercase().contains(&word));
    let wanted = |of: Of| args.task.is_none_or(|task| task == of);
    let images: Vec<&'static Card> = tl_backbones::CARDS
        .iter()
        .copied()
        .filter(|card| {
            let licences: Vec<&str> = card.weights.iter().map(|weights| weights.licence).collect();
            wanted(Of::Image) && (has(&[card.name, card.paper]) || has(&licences))
        })
        .collect();
    let texts: Vec<&'static TextCard> = TEXT_CARDS
        .iter()
        .filter(|card| {
            let TextCard { name, paper, licence, language, family, .. } = card;
            wanted(Of::Text)
                && (has(&[name, paper, licence, language, family.model_type()]) || has(card.aliases))
        })
        .collect();
    if args.json {
        let images = images.iter().map(|card| card_json(card, &cache));
        let texts = texts.iter().map(|card| Ok(text_json(card, &cache)));
        let cards: anyhow::Result<Vec<Value>> = images.chain(texts).collect();
        return ui::print_json(&cards?);
    }
    anyhow::ensure!(
        !(images.is_empty() && texts.is_empty()),
        "no net has `{word}` in its name, family, language, licence or paper\n\nhint: tl backbones lists all"
    );
    let images = (!images.is_empty()).then(|| table(&images, &cache));
    let texts = (!texts.is_empty()).then(|| text_table(&texts, &cache));
    ui::print_tables(&images.into_iter().chain(texts).collect::<Vec<_>>().join("\n"))
}

/// One line a net, with its default weights; lines below it for the others.
fn table(cards: &[&'static Card], cache: &Cache) -> String {
    let header = [
        "backbone", "stages", "params", "MACs", "features", "weights", "input", "top-1", "licence", "source",
    ];
    let mut rows = vec![header.map(str::to_owned)];
    for card in cards {
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
                source(&weights.source, cache.cached(&weights.source).is_some()),
            ]);
        }
    }
    const RIGHT: [bool; 10] = [false, true, true, true, true, false, true, true, false, false];
    columns(&rows, RIGHT)
        + "\ntop-1: percent on ImageNet-1k, as published; the first weights of a net are its default\n"
}

/// One line a net of texts.
fn text_table(cards: &[&'static TextCard], cache: &Cache) -> String {
    let header = [
        "text net", "family", "layers", "width", "params", "tokens", "language", "pooling", "licence",
        "source",
    ];
    let mut rows = vec![header.map(str::to_owned)];
    for card in cards {
        let net = card.source();
        let (place, here) = net.published(cache);
        rows.push([
            card.name.to_owned(),
            card.family.model_type().to_owned(),
            card.layers.to_string(),
            card.width.to_string(),
            short(card.params as u64),
            card.max_tokens.to_string(),
            card.language.to_owned(),
            pooling(card.pool).to_owned(),
            card.licence.to_owned(),
            source(place, here),
        ]);
    }
    const RIGHT: [bool; 10] = [false, false, true, true, true, true, false, false, false, false];
    columns(&rows, RIGHT)
        + "\nany other repository of the hub (OWNER/NAME, @REVISION behind it) or folder with such a net will do\n"
}

fn columns<const N: usize>(rows: &[[String; N]], right: [bool; N]) -> String {
    let width = |i: usize| rows.iter().map(|row| row[i].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..N).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(&widths).zip(right).map(|((cell, &width), right)| match right {
            true => format!("{cell:>width$}"),
            false => format!("{cell:width$}"),
        });
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// In the words of `--pooling`.
fn pooling(pool: TextPool) -> &'static str {
    match pool {
        TextPool::Mean => "mean",
        TextPool::First => "cls",
        TextPool::Last => "last",
    }
}

fn text_json(card: &'static TextCard, cache: &Cache) -> Value {
    let net = card.source();
    let (place, here) = net.published(cache);
    json!({
        "backbone": card.name, "task": "text", "aliases": card.aliases, "paper": card.paper,
        "family": card.family.model_type(), "language": card.language, "layers": card.layers,
        "width": card.width, "parameters": card.params, "max_tokens": card.max_tokens,
        "lower_case": card.lower_case, "pooling": pooling(card.pool), "licence": card.licence,
        "source": place.to_string(), "cached": here,
    })
}

/// Number of stages, the stem included.
fn stages(card: &'static Card) -> String {
    Backbone::new(card, Device::Cpu, Fill::Shapes).map_or(String::new(), |net| net.stages.len().to_string())
}

/// Where from, shortly; `--json` has the whole address.
fn source(place: &Source, here: bool) -> String {
    let from = match place {
        Source::Package { .. } => "pip",
        Source::Hub { .. } => "hub",
        Source::Url { .. } => "torchvision",
        _ => "file",
    };
    if here { format!("{from}, here") } else { from.to_owned() }
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
        "backbone": card.name, "task": "image", "paper": card.paper, "parameters": card.params, "macs": card.macs,
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
