//! `tl lr-find`: the range test, with a plot and a suggestion. It leaves no file but the plot that is asked for.

use std::cell::RefCell;
use std::fmt::Write as _;

use tl_train::{EpochResult, Observer, RateRange, Tick, Tried};

use crate::args::LrFindArgs;
use crate::finetune::Job;
use crate::interrupt::Interrupt;
use crate::output::fresh;
use crate::ui::{self, Ui};

pub(crate) fn run(args: &LrFindArgs, interrupt: &Interrupt) -> anyhow::Result<()> {
    let range = range(args)?;
    if let Some(path) = &args.plot {
        let svg = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("svg"));
        anyhow::ensure!(svg, "--plot is `{}`, expected a name in .svg", path.display());
        fresh("--plot", path)?;
    }
    let ui = RefCell::new(Ui::new());
    let job = Job::from_args(&args.settings, None, &ui)?;
    let phases = &job.plan.phases;
    let names = || phases.iter().map(|phase| phase.name.as_str()).collect::<Vec<_>>().join(", ");
    let index = match &args.phase {
        None => 0,
        Some(name) => phases.iter().position(|phase| phase.name == *name).ok_or_else(|| {
            anyhow::anyhow!("there is no phase `{name}`\n\nhint: the plan has: {}", names())
        })?,
    };
    let phase = &phases[index];
    ui.borrow().line(&format!(
        "phase      {}, which trains {} with {}",
        phase.name,
        phase.trained(&job.plan.net),
        phase.optimizer
    ));
    let mut bar = Bar(&ui);
    let images = job.training(&interrupt.stop);
    let tried = tl_train::lr_find(&job.model, (&job.plan, index), &images, &job.options()?, range, &mut bar)?;
    ui.borrow_mut().stop();
    anyhow::ensure!(
        tried.len() > 1,
        "the loss is far too high or no number from the first step on: there is no rate to suggest\n\n\
         hint: begin lower with --from, or look for odd samples with `tl data doctor` or `tl text doctor`"
    );
    let highest = phase.layer_rates.iter().chain([&phase.head_rate]).flatten().copied().fold(0.0, f64::max);
    let suggested = tl_train::steepest(&tried);
    if let Some(path) = &args.plot {
        tl_run::write_whole(path, |file| {
            std::io::Write::write_all(file, tl_run::rate_plot(&points(&tried), suggested).as_bytes())
        })?;
    }
    if args.json {
        let tried: Vec<_> = tried
            .iter()
            .map(|t| serde_json::json!({ "rate": t.rate, "loss": t.loss, "smoothed": t.smoothed }))
            .collect();
        let all = serde_json::json!({
            "phase": phase.name, "planned": highest, "suggested": suggested, "tried": tried
        });
        return ui::print_json(&all);
    }
    let mut text = chart(&tried, suggested, ui::width().unwrap_or(usize::MAX));
    let _ = match suggested {
        Some(rate) => writeln!(
            text,
            "\nsuggested  {rate:.1e}, where the loss falls fastest; the plan has {highest:.1e} as the highest rate of this \
             phase"
        ),
        None => writeln!(text, "\nthe loss never falls: no suggestion; the plan has {highest:.1e}"),
    };
    if let Some(path) = &args.plot {
        let _ = writeln!(text, "plot       {}", path.display());
    }
    ui::print_tables(&text)
}

fn range(args: &LrFindArgs) -> anyhow::Result<RateRange> {
    let usual = RateRange::default();
    let (from, to) = (args.from.unwrap_or(usual.from), args.to.unwrap_or(usual.to));
    let steps = args.steps.unwrap_or(usual.steps);
    anyhow::ensure!(
        from > 0.0 && to > from && to.is_finite(),
        "--from is {from} and --to is {to}, expected two rates above 0, the second higher"
    );
    anyhow::ensure!((10..=100_000).contains(&steps), "--steps is {steps}, expected 10 to 100000");
    Ok(RateRange { from, to, steps })
}

fn points(tried: &[Tried]) -> Vec<(f64, f64, f64)> {
    tried.iter().map(|t| (t.rate, t.loss, t.smoothed)).collect()
}

/// A line for every so many rates, with a bar as long as the loss, none wider than `width`.
fn chart(tried: &[Tried], suggested: Option<f64>, width: usize) -> String {
    const LINES: usize = 24;
    const WIDEST: usize = 50;
    /// What stands before a bar.
    const BEFORE: usize = 22;
    let word = if width < 60 { "  <-" } else { "  <- suggested" };
    let widest = width.saturating_sub(BEFORE + word.len()).clamp(1, WIDEST) as f64;
    let lowest = tried.iter().map(|t| t.smoothed).fold(f64::INFINITY, f64::min);
    let most = tried.iter().map(|t| t.smoothed).fold(0.0, f64::max);
    // What explodes at the end must not flatten the rest.
    let top = most.min(lowest + 3.0 * (tried[0].smoothed - lowest).max(0.1));
    let every = tried.len().div_ceil(LINES);
    let mut text = format!("{:>9}  {:>8}\n", "rate", "loss");
    let mut marked = false;
    for group in tried.chunks(every) {
        let Some(last) = group.last() else { continue };
        let bar = ((last.smoothed.min(top) - lowest) / (top - lowest).max(1e-12) * widest) as usize;
        let here = !marked && suggested.is_some_and(|rate| rate <= last.rate);
        marked |= here;
        let mark = if here { word } else { "" };
        let _ = writeln!(text, "{:9.1e}  {:8.4}  {}{mark}", last.rate, last.smoothed, "▪".repeat(bar + 1));
    }
    text
}

/// Shows how far it is.
struct Bar<'a>(&'a RefCell<Ui>);

impl Observer for Bar<'_> {
    fn tick(&mut self, tick: Tick) {
        self.0.borrow_mut().tick(tick);
    }

    fn epoch(&mut self, _: &EpochResult) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chart_fits_every_terminal() {
        let tried = |i: usize| {
            let rate = 1e-7 * 10f64.powf(i as f64 / 5.0);
            Tried { rate, loss: 1.0, smoothed: 1.0 - 0.02 * i as f64 }
        };
        let tried: Vec<Tried> = (0..30).map(tried).collect();
        for width in [40, 60, 80, 200] {
            let text = chart(&tried, Some(tried[29].rate), width);
            let widest = text.lines().map(console::measure_text_width).max().unwrap();
            assert!(widest <= width && text.contains("  <-"), "{width}: {text}");
            // The highest loss has the longest bar there is room for.
            let bar = text.lines().nth(1).unwrap().matches('▪').count();
            assert!(bar >= 14.min(width - 26) && bar <= 51, "{width}: {text}");
        }
    }
}
