//! `tl data inspect` and `tl data doctor`: what is in a dataset, and whether it is sound.

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use anyhow::Context;
use tl_data::doctor::{Report, Severity};
use tl_data::sheet::{self, SheetOptions};
use tl_data::{
    Contents, DataError, DataPool, Dataset, DoctorOptions, Ignored, Part, Quarantine, RgbImage, examine,
    inspect, shown,
};

use crate::args::{DataDoctorArgs, DataInspectArgs};
use crate::dataset;
use crate::errors::{Exit, Problems};
use crate::machine;
use crate::output::{folder_of, fresh};
use crate::ui::{self, Ui};

pub(crate) fn inspection(args: &DataInspectArgs) -> anyhow::Result<()> {
    let ui = RefCell::new(Ui::new());
    let machine = machine::set_up_cpu(&args.threads)?;
    let mut problems = Problems::default();
    let task = problems.take(dataset::parse_task(args.classes.as_deref()));
    let opened =
        task.and_then(|task| dataset::open(&args.data, &args.source, task, (0.2, 42), &mut problems));
    if let Some(path) = &args.sheet {
        problems.take(fresh_png("--sheet", path));
        if args.per_class == 0 {
            problems.add(anyhow::anyhow!("--per-class is 0, expected 1 or more"));
        }
    }
    problems.check()?;
    let Some(dataset) = opened else { return Err(Exit(1).into()) };
    let pool = DataPool::new(machine.data_threads)?;
    let contents = Contents::from(&dataset);
    let found =
        watched(&ui, "reading headers", contents.len(), |progress| inspect(&contents, &pool, progress));
    match args.json {
        true => ui::print_json(&found)?,
        false => ui::print_tables(&found.to_string())?,
    }
    passed_over(&dataset, &ui);
    let Some(path) = &args.sheet else { return Ok(()) };
    let mut pages = Pages::new(path);
    let options = SheetOptions::default();
    let drawn = sheet::class_sheet(&contents, Part::Train, args.per_class, &options, &pool, &mut |page| {
        pages.add(&page)
    });
    pages.finish(drawn, &ui)
}

/// What opening a dataset had to say: warnings, and files that are not used.
fn passed_over(dataset: &Dataset, ui: &RefCell<Ui>) {
    for warning in &dataset.warnings {
        ui.borrow().line(&format!("warning: {}", shown(warning)));
    }
    let Ignored { files, first, .. } = &dataset.ignored;
    if *files > 0 {
        let names: Vec<_> = first.iter().map(|name| shown(name)).collect();
        let more = if *files > names.len() { ", …" } else { "" };
        ui.borrow()
            .line(&format!("ignored: {files} files that are no images by name: {}{more}", names.join(", ")));
    }
}

pub(crate) fn doctor(args: &DataDoctorArgs) -> anyhow::Result<()> {
    let ui = RefCell::new(Ui::new());
    let machine = machine::set_up_cpu(&args.threads)?;
    let mut problems = Problems::default();
    let task = problems.take(dataset::parse_task(args.classes.as_deref()));
    let opened = task.and_then(|task| dataset::open_leniently(&args.data, &args.source, task, &mut problems));
    if let Some(path) = &args.quarantine {
        problems.take(fresh("--quarantine", path));
    }
    let options = DoctorOptions { near: (!args.exact).then_some(args.near), ..DoctorOptions::default() };
    problems.take(options.check().map_err(anyhow::Error::from));
    problems.check()?;
    let Some(dataset) = opened else { return Err(Exit(1).into()) };
    let pool = DataPool::new(machine.data_threads)?;
    let contents = Contents::from(&dataset);
    let root = args.data.is_dir().then_some(dataset.root.as_path());
    let report = watched(&ui, "looking", contents.len(), |progress| {
        examine(&contents, root, &options, &pool, progress)
    })?;
    let list = Quarantine::of(&report);
    match args.json {
        true => ui::print_json(&report)?,
        false => ui::print_tables(&format!("{report}{}", next(&report, &list, args)))?,
    }
    passed_over(&dataset, &ui);
    if let Some(path) = &args.quarantine {
        tl_fetch::write_whole(path, list.to_string().as_bytes())?;
        ui.borrow().line(&written(&list, path, &args.data));
    }
    // For scripts: whether something is wrong.
    if report.count(Severity::Error) > 0 { Err(Exit(1).into()) } else { Ok(()) }
}

/// What to do about a report.
fn next(report: &Report, list: &Quarantine, args: &DataDoctorArgs) -> String {
    if report.findings.is_empty() {
        return String::new();
    }
    let some = !(list.entries.is_empty() && list.doubtful.is_empty());
    let leave_out = if some && args.quarantine.is_none() { "; leave out: --quarantine FILE" } else { "" };
    format!("\nsee all: --json{leave_out}\n")
}

/// What is in the list, and what to do with it.
fn written(list: &Quarantine, path: &Path, data: &Path) -> String {
    let (sure, near) = (list.entries.len(), list.doubtful.len());
    let comments = match near {
        0 => String::new(),
        _ => format!("; {near} more that are nearly the same are comments there: look at them"),
    };
    match (sure, near) {
        (0, 0) => format!("nothing to leave out; `{}` lists no files", path.display()),
        (0, _) => format!("`{}` lists no files{comments}", path.display()),
        _ => format!(
            "files listed in `{}`: {sure}{comments}\nleave out   tl finetune --data {} --exclude {}",
            path.display(),
            ui::word(data),
            ui::word(path)
        ),
    }
}

/// Work with a bar that follows it.
pub(crate) fn watched<T>(
    ui: &RefCell<Ui>,
    what: &str,
    total: usize,
    work: impl FnOnce(&(dyn Fn(usize) + Sync)) -> T,
) -> T {
    ui.borrow_mut().start(what, total as u64, false);
    let bar = ui.borrow().handle();
    let done = work(&|done| bar.set_position(done as u64));
    ui.borrow_mut().stop();
    done
}

/// A name for pictures that do not exist yet, further pages included.
pub(crate) fn fresh_png(flag: &str, path: &Path) -> anyhow::Result<()> {
    let png = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("png"));
    anyhow::ensure!(png, "{flag} is `{}`, expected a name in .png", path.display());
    fresh(flag, path)?;
    let start = format!("{}-", path.file_stem().unwrap_or_default().to_string_lossy());
    let entries = std::fs::read_dir(folder_of(path))
        .with_context(|| format!("failed to list `{}`", folder_of(path).display()))?;
    for entry in entries.flatten() {
        let name = entry.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix(&start)?.strip_suffix(".png"));
        let page = number.is_some_and(|number| number.parse::<u32>().is_ok());
        let there = path.with_file_name(&name);
        anyhow::ensure!(
            !page,
            "`{}` exists, and may be a page of this sheet\n\nhint: give another name with {flag}",
            there.display()
        );
    }
    Ok(())
}

/// Pages of a sheet: `NAME.png`, `NAME-2.png`, …
pub(crate) struct Pages {
    path: PathBuf,
    written: Vec<PathBuf>,
    failed: Option<anyhow::Error>,
}

impl Pages {
    pub(crate) fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), written: Vec::new(), failed: None }
    }

    /// The error only ends the drawing; [`Pages::finish`] says what was wrong.
    pub(crate) fn add(&mut self, page: &RgbImage) -> Result<(), DataError> {
        let number = self.written.len() + 1;
        let stem = self.path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let path = match number {
            1 => self.path.clone(),
            _ => self.path.with_file_name(format!("{stem}-{number}.png")),
        };
        if let Err(error) = tl_fetch::write_whole(&path, &sheet::png(page)?) {
            let source = std::io::Error::other(error.to_string());
            self.failed = Some(error.into());
            return Err(DataError::Write { path, source });
        }
        self.written.push(path);
        Ok(())
    }

    /// Says where the pages are, or what went wrong.
    pub(crate) fn finish(self, drawn: Result<(), DataError>, ui: &RefCell<Ui>) -> anyhow::Result<()> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        drawn?;
        for path in &self.written {
            ui.borrow().line(&format!("sheet      {}", path.display()));
        }
        Ok(())
    }
}
