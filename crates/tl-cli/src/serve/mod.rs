//! `tl serve`: a saved model behind HTTP.
//!
//! The decision behind it: `tl-serve` has the sockets, queue and limits; here are the things that it does not know: how
//! an image or a text becomes an input (`images.rs`, `texts.rs`), and how a net of images answers a batch of any size
//! (`batches.rs`).

mod batches;
mod images;
mod page;
mod texts;
mod wish;

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use anyhow::Context;
use tch::Device;
use tl_serve::Options;
use tl_train::EVAL_BATCH;

use crate::args::ServeArgs;
use crate::interrupt::Interrupt;
use crate::machine;
use crate::ui::Ui;

use batches::Batches;
use images::Images;
use texts::Texts;

/// Texts that the net answers at once, where nobody says: they are small, and sorted by length.
const TEXTS: usize = 64;

/// Texts that are accepted and not answered yet, where nobody says: on two cores MiniLM answers them within half the time
/// that a request has.
const TEXTS_QUEUED: usize = 2048;

pub(crate) fn run(args: &ServeArgs, interrupt: &Interrupt) -> anyhow::Result<()> {
    let ui = Ui::new();
    let machine = machine::set_up_cpu(&args.threads)?;
    anyhow::ensure!(args.max_pixels > 0, "--max-pixels is 0, expected 1 or more");
    anyhow::ensure!(args.max_text > 0, "--max-text is 0, expected 1 or more");
    let (saved, mut model) = crate::predict::load(&args.run, args.calibrated, Device::Cpu)?;
    let bytes = |mib: u64| mib.saturating_mul(1 << 20);
    let (batch, queue) = match saved.text.is_some() {
        true => (TEXTS, TEXTS_QUEUED),
        false => (EVAL_BATCH, Options::default().queue),
    };
    let batch = args.batch.unwrap_or(batch.min(args.queue.unwrap_or(batch).max(1)));
    let options = Options {
        batch,
        max_wait: Duration::from_millis(args.max_wait),
        max_body: bytes(args.max_body),
        max_held: Options::default().max_held.max(bytes(args.max_body).saturating_mul(4)),
        timeout: Duration::from_secs(args.timeout),
        queue: args.queue.unwrap_or(queue.max(batch)),
        connections: args.connections,
        readers: machine.data_threads,
        ..Options::default()
    };
    options.check()?;
    let address = SocketAddr::new(args.host, args.port);
    let listener = TcpListener::bind(address).with_context(|| {
        let here = "hint: give another --port, or 0 for any that is free";
        let elsewhere = "hint: --host is an address of this machine, or 0.0.0.0 for all of them";
        let is_ours = TcpListener::bind((args.host, 0)).is_ok();
        format!("failed to listen on {address}\n\n{}", if is_ours { here } else { elsewhere })
    })?;
    let address = listener.local_addr()?;
    if !address.ip().is_loopback() {
        ui.line(&format!(
            "warning: {} can be reached from other machines: there is no encryption, and nobody is asked who they are",
            address.ip()
        ));
    }
    interrupt.be_graceful();
    interrupt.say_at_stop("stopping when what was asked is answered; press Ctrl-C again to stop at once");
    let (precision, ready) = (args.precision.unwrap_or_default(), || {
        ui.line(&format!("serving    {} at http://{address}", args.run.display()));
    });
    if saved.text.is_some() {
        let max_text = usize::try_from(args.max_text.saturating_mul(1 << 10)).unwrap_or(usize::MAX);
        let service = Texts::new(&args.run, &saved, &model, max_text)?;
        let (compute, why) = texts::choose(&mut model, &service, precision)?;
        ui.line(&format!("compute    {why}"));
        model.compute = compute;
        let pad = service.pad();
        ready();
        tl_serve::serve(listener, service, &options, &interrupt.stop, |inputs| {
            texts::answer(&model, inputs, pad).map_err(|error| error.to_string())
        })?;
    } else {
        let service = Images::new(&saved, &model, args.max_pixels.saturating_mul(1_000_000))?;
        let (compute, why) = batches::choose(&mut model, precision, batch)?;
        ui.line(&format!("compute    {why}"));
        model.compute = compute;
        let batches = Batches::new(&model, batch)?;
        ready();
        tl_serve::serve(listener, service, &options, &interrupt.stop, |inputs| {
            batches.answer(&inputs).map_err(|error| error.to_string())
        })?;
    }
    ui.line("stopped    all that was asked is answered");
    Ok(())
}
