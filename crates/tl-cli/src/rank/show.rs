//! The ranking as a table.

use super::{Ranking, measure::Measured};
use crate::ui;

/// A net as soon as it is known.
pub(super) fn line(one: &Measured) -> String {
    format!(
        "{:<20} {:.3} ± {:.3}  {:>6.0} images/s  {}",
        one.backbone,
        one.accuracy,
        one.standard_error,
        one.images_per_second,
        ui::seconds(one.seconds)
    )
}

/// All that a person wants to know.
pub(super) fn text(ranking: &Ranking) -> String {
    let header =
        ["backbone", "accuracy", "± s.e.", "kNN", "images/s", "params", "weights", "on disk", "p", ""];
    let mut rows = vec![header.map(str::to_owned)];
    for (place, row) in ranking.ranked.iter().enumerate() {
        let one = &row.measured;
        let mark = if one.backbone == ranking.recommended { "recommended" } else { "" };
        rows.push([
            one.backbone.clone(),
            format!("{:.4}", one.accuracy),
            format!("{:.4}", one.standard_error),
            format!("{:.4}", one.knn_accuracy),
            format!("{:.0}", one.images_per_second),
            format!("{:.1}M", one.parameters as f64 / 1e6),
            ui::bytes(one.weights_bytes),
            if one.cached { "yes" } else { "fetched" }.to_owned(),
            if place == 0 { "-".to_owned() } else { format!("{:.3}", row.p_against_best) },
            mark.to_owned(),
        ]);
    }
    let width = |i: usize| rows.iter().map(|row| row[i].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let mut text = String::new();
    for row in &rows {
        let cells = row.iter().zip(&widths).enumerate().map(|(i, (cell, &width))| match i {
            0 | 9 => format!("{cell:width$}"),
            _ => format!("{cell:>width$}"),
        });
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text.push_str(&format!(
        "\naccuracy   linear probe on pooled features, {} folds, {} images; p is McNemar's against the best\n",
        ranking.folds, ranking.images
    ));
    for skipped in &ranking.skipped {
        let reason = skipped.reason.lines().next().unwrap_or_default();
        text.push_str(&format!("skipped    {}: {reason}\n", skipped.backbone));
    }
    let picked = ranking.ranked.iter().find(|row| row.measured.backbone == ranking.recommended);
    text.push_str(&format!("use        {}: {}\n", ranking.recommended, ranking.why));
    if let Some(picked) = picked.map(|row| &row.measured) {
        let half = 1.96 * picked.standard_error;
        text.push_str(&format!(
            "expect     {:.3} ({:.3} to {:.3}) of a head alone; features of the {} training images take {}\n",
            picked.accuracy,
            (picked.accuracy - half).max(0.0),
            (picked.accuracy + half).min(1.0),
            ranking.train_images,
            ui::seconds(ranking.train_images as f64 / picked.images_per_second)
        ));
    }
    text.push_str(&format!(
        "go on with tl finetune --data {} --backbone {}\n",
        ui::word(&ranking.data),
        ranking.recommended
    ));
    text
}
