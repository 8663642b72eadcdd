//! `tl backbones`: the table of nets.

use serde_json::json;
use tl_weights::Cache;

use crate::args::BackbonesArgs;
use crate::ui;

pub(crate) fn run(args: &BackbonesArgs) -> anyhow::Result<()> {
    let cache = Cache::default_location()?;
    let mut rows = Vec::new();
    let mut text = format!(
        "{:22} {:>10} {:>8} {:>6} {:>6}  {:10} {:11} source\n",
        "backbone", "parameters", "features", "input", "top-1", "weights", "licence"
    );
    for card in tl_backbones::CARDS {
        for weights in card.weights {
            let cached = cache.cached(&weights.source).is_some();
            text.push_str(&format!(
                "{:22} {:>10} {:>8} {:>6} {:>6.1}  {:10} {:11} {}{}\n",
                card.name,
                card.params,
                card.features,
                card.input.size,
                weights.top1,
                weights.name,
                weights.licence,
                weights.source,
                if cached { " (here)" } else { "" },
            ));
            rows.push(json!({
                "backbone": card.name, "paper": card.paper, "parameters": card.params,
                "features": card.features, "input": card.input.size, "weights": weights.name,
                "top1": weights.top1, "licence": weights.licence, "source": weights.source.to_string(),
                "cached": cached,
            }));
        }
    }
    if args.json { ui::print(&(serde_json::to_string_pretty(&rows)? + "\n")) } else { ui::print(&text) }
}
