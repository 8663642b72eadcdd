//! `tl plan`: what a run would do and what it would cost, without doing it.
//!
//! The decision behind it: everything is checked as `finetune` checks it, so that a plan that is printed also runs; and
//! the times are measured on this machine with this net.

use std::cell::RefCell;
use std::sync::atomic::AtomicBool;

use tl_finetune::Plan;
use tl_train::PhasePrice;

use crate::args::PlanArgs;
use crate::errors::Problems;
use crate::finetune::Job;
use crate::spec::resolve;
use crate::ui::{self, Ui};
use crate::{fit, memory, prepare};

pub(crate) fn run(args: &PlanArgs) -> anyhow::Result<()> {
    if args.json {
        return print_schedule(args);
    }
    let ui = RefCell::new(Ui::new());
    let mut job = Job::from_args(&args.settings, None, &ui)?;
    job.announce(&ui);
    ui.borrow().line("measuring  a few batches");
    let never = AtomicBool::new(false);
    job.choose(&never, &ui)?;
    let prices = tl_train::price(&job.model, &job.plan, &job.training(&never), &job.options()?)?;
    ui::print_tables(&table(&job.plan, &prices, |phase| {
        memory::of_phase(&job.model, &job.plan, phase, job.resolved.spec.batch as u64)
    }))
}

/// The phases as `--schedule` reads them. Images and weights are not needed for that.
fn print_schedule(args: &PlanArgs) -> anyhow::Result<()> {
    let mut problems = Problems::default();
    let resolved = resolve(&args.settings, &mut problems);
    if let Some(resolved) = &resolved {
        fit::check(resolved, None, &mut problems);
    }
    problems.check()?;
    let Some(resolved) = resolved else { return Err(crate::errors::Exit(1).into()) };
    let (net, observed) = fit::shapes(&resolved)?;
    let schedule = prepare::schedule(&resolved, &tl_train::net_info(&net, &observed))?;
    ui::print(&(serde_json::to_string_pretty(&schedule)? + "\n"))
}

/// A line for each phase, and the sum.
fn table(plan: &Plan, prices: &[PhasePrice], memory: impl Fn(usize) -> u64) -> String {
    let width = plan.phases.iter().map(|phase| phase.name.chars().count()).max().unwrap_or(0).max(5);
    let mut text = format!(
        "\n{:width$}  {:>10}  {:>10}  {:>8}  {:>10}  {:>11}  {:>11}\n",
        "phase", "features", "an epoch", "epochs", "at most", "kept", "memory"
    );
    for (i, (phase, price)) in plan.phases.iter().zip(prices).enumerate() {
        text.push_str(&format!(
            "{:width$}  {:>10}  {:>10}  {:>8}  {:>10}  {:>11}  {:>11}\n",
            phase.name,
            ui::seconds(price.features),
            ui::seconds(price.epoch),
            phase.epochs,
            ui::seconds(price.total),
            ui::bytes(price.kept),
            ui::bytes(memory(i).saturating_add(price.kept)),
        ));
    }
    let total: f64 = prices.iter().map(|price| price.total).sum();
    text.push_str(&format!(
        "\nin all at most {}, measured on this machine; activations that an earlier run has left are not taken off\n",
        ui::seconds(total)
    ));
    text
}
