//! `tl data inspect` and `tl data doctor`: what is in a dataset, and whether it is sound.

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use tl_data::doctor::Severity;
use tl_data::sheet::{self, SheetOptions};
use tl_data::{Contents, DataError, DataPool, DoctorOptions, Part, Quarantine, RgbImage, examine, inspect};

use crate::args::{DataDoctorArgs, DataInspectArgs};
use crate::dataset;
use crate::errors::{Exit, Problems};
use crate::machine;
use crate::ui::{self, Ui};

pub(crate) fn inspection(args: &DataInspectArgs) -> anyhow::Result<()> {
    let ui = RefCell::new(Ui::new());
    let machine = machine::set_up(&args.threads)?;
    let mut problems = Problems::default();
    let opened = dataset::open(&args.data, &args.source, 0.2, 42, &mut problems);
    if let Some(path) = &args.sheet {
        problems.take(fresh_png(path));
    }
    problems.check()?;
    let Some(dataset) = opened else { return Err(Exit(1).into()) };
    let pool = DataPool::new(machine.data_threads)?;
    let contents = Contents::from(&dataset);
    let found =
        watched(&ui, "reading headers", contents.len(), |progress| inspect(&contents, &pool, progress));
    match args.json {
        true => ui::print(&(serde_json::to_string_pretty(&found)? + "\n"))?,
        false => ui::print(&found.to_string())?,
    }
    for warning in &dataset.warnings {
        ui.borrow().line(&format!("warning: {warning}"));
    }
    let Some(path) = &args.sheet else { return Ok(()) };
    let mut pages = Pages::new(path);
    let options = SheetOptions::default();
    let drawn = sheet::class_sheet(&contents, Part::Train, args.per_class, &options, &pool, &mut |page| {
        pages.add(&page)
    });
    pages.finish(drawn, &ui)
}

pub(crate) fn doctor(args: &DataDoctorArgs) -> anyhow::Result<()> {
    let ui = RefCell::new(Ui::new());
    let machine = machine::set_up(&args.threads)?;
    let mut problems = Problems::default();
    let opened = dataset::open(&args.data, &args.source, 0.2, 42, &mut problems);
    if let Some(path) = args.quarantine.as_ref().filter(|path| path.exists()) {
        problems
            .add(anyhow::anyhow!("`{}` exists\n\nhint: give another name with --quarantine", path.display()));
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
    match args.json {
        true => ui::print(&(serde_json::to_string_pretty(&report)? + "\n"))?,
        false => ui::print(&report.to_string())?,
    }
    if let Some(path) = &args.quarantine {
        let list = Quarantine::of(&report);
        tl_fetch::write_whole(path, list.to_string().as_bytes())?;
        let n = list.entries.len();
        let path = path.display();
        ui.borrow()
            .line(&format!("{n} files listed in {path}; leave them out with tl finetune --exclude {path}"));
    }
    // For scripts: whether something is wrong.
    if report.count(Severity::Error) > 0 { Err(Exit(1).into()) } else { Ok(()) }
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

/// A name for pictures that do not exist yet.
pub(crate) fn fresh_png(path: &Path) -> anyhow::Result<()> {
    let png = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("png"));
    anyhow::ensure!(png, "`{}` is no name in .png", path.display());
    anyhow::ensure!(!path.exists(), "`{}` exists\n\nhint: give another name", path.display());
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
        let written = fresh_png(&path).and_then(|()| Ok(tl_fetch::write_whole(&path, &sheet::png(page)?)?));
        if let Err(error) = written {
            self.failed = Some(error);
            let source = std::io::Error::other("a page cannot be written");
            return Err(DataError::Read { path, source });
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
