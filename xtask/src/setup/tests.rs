//! Setup with small fakes in place of libtorch; no network.

use std::fs::{self, File};
use std::io::Write;

use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::*;

const HEADER: &str =
    "#define TORCH_VERSION_MAJOR 2\n#define TORCH_VERSION_MINOR 11\n#define TORCH_VERSION_PATCH 0\n";

struct World {
    dir: tempfile::TempDir,
    workspace: Workspace,
}

fn world() -> World {
    let dir = tempfile::tempdir().unwrap();
    let checkout = dir.path().join("checkout");
    fs::create_dir(&checkout).unwrap();
    World { workspace: Workspace::at(&checkout), dir }
}

impl World {
    fn home(&self) -> PathBuf {
        self.dir.path().join("home")
    }

    fn place(&self) -> Place {
        Place::open(self.home(), Device::Cpu, &Ui::new()).unwrap()
    }

    fn archive(&self, version: &str) -> String {
        let path = self.dir.path().join("libtorch.zip");
        let mut zip = ZipWriter::new(File::create(&path).unwrap());
        let library = libtorch::library;
        for (name, text) in [
            ("build-version".to_owned(), version.to_owned()),
            ("include/torch/script.h".to_owned(), String::new()),
            (format!("lib/{}", library("torch_cpu")), "a library".to_owned()),
            (format!("lib/{}", library("torch")), "a library".to_owned()),
            (format!("lib/{}", library("c10")), "a library".to_owned()),
        ] {
            zip.start_file(format!("libtorch/{name}"), SimpleFileOptions::default()).unwrap();
            zip.write_all(text.as_bytes()).unwrap();
        }
        zip.finish().unwrap();
        path.to_string_lossy().into_owned()
    }

    fn at_home(&self) -> Vec<String> {
        let entries = fs::read_dir(self.home()).unwrap();
        let mut names: Vec<_> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

#[test]
fn an_archive_becomes_a_linked_libtorch() {
    let world = world();
    let target = archive::make_from(&world.place(), &Ui::new(), &world.archive("2.11.0+cpu")).unwrap();
    place::link(&world.workspace, &target).unwrap();
    let found = linked(&world.workspace.link()).unwrap().unwrap();
    assert_eq!((found.device, found.source.as_str()), (Device::Cpu, "from an archive, cpu"));
    assert_eq!(world.at_home(), ["libtorch-2.11.0-cpu"]);
    assert_eq!(world.place().existing().unwrap(), target);
}

#[test]
fn a_damaged_libtorch_is_seen_and_made_again() {
    let world = world();
    let archive = world.archive("2.11.0");
    let target = archive::make_from(&world.place(), &Ui::new(), &archive).unwrap();
    place::link(&world.workspace, &target).unwrap();
    let library = target.join("torch/lib").join(libtorch::library("torch_cpu"));
    fs::write(&library, "hal").unwrap();
    assert!(linked(&world.workspace.link()).unwrap().is_none());
    assert!(world.place().existing().is_none());
    archive::make_from(&world.place(), &Ui::new(), &archive).unwrap();
    assert!(linked(&world.workspace.link()).unwrap().is_some());
    assert_eq!(world.at_home(), ["libtorch-2.11.0-cpu"]);
}

#[test]
fn the_wrong_version_leaves_nothing() {
    let world = world();
    let error = archive::make_from(&world.place(), &Ui::new(), &world.archive("2.9.1")).unwrap_err();
    assert!(format!("{error:#}").contains("version 2.9.1, this project needs 2.11.0"), "{error:#}");
    assert!(world.at_home().is_empty());
}

#[test]
fn what_a_killed_setup_left_is_cleared() {
    let world = world();
    fs::create_dir_all(world.home().join("tmp-setup-abc/torch")).unwrap();
    fs::create_dir_all(world.home().join("weights")).unwrap();
    drop(world.place());
    assert_eq!(world.at_home(), ["weights"]);
}

#[test]
fn what_setup_did_not_make_stays() {
    let world = world();
    let target = archive::make_from(&world.place(), &Ui::new(), &world.archive("2.11.0")).unwrap();
    fs::remove_file(target.join("ok.json")).unwrap();
    let error = archive::make_from(&world.place(), &Ui::new(), &world.archive("2.11.0")).unwrap_err();
    assert!(error.to_string().contains("was not made by setup"), "{error:#}");

    fs::create_dir(world.workspace.link()).unwrap();
    let error = place::link(&world.workspace, &target).unwrap_err();
    assert!(error.to_string().contains("is no link"), "{error:#}");
    let error = linked(&world.workspace.link()).unwrap_err();
    assert!(error.to_string().contains("is not made by setup"), "{error:#}");
}

#[test]
#[cfg(unix)]
fn an_installed_python_torch_is_linked_where_it_lies() {
    let world = world();
    let torch = world.dir.path().join("site-packages/torch");
    fs::create_dir_all(torch.join("lib")).unwrap();
    fs::create_dir_all(torch.join("include/torch/headeronly")).unwrap();
    fs::write(torch.join("include/torch/headeronly/version.h"), HEADER).unwrap();
    fs::write(torch.join("include/torch/script.h"), "").unwrap();
    for name in ["torch_cpu", "torch", "c10", "torch_python"] {
        fs::write(torch.join("lib").join(libtorch::library(name)), "a library").unwrap();
    }
    fs::write(torch.join("version.py"), "__version__ = '2.9.0'\n").unwrap();
    let error = python::link(&world.place(), &torch).unwrap_err();
    assert!(error.to_string().contains("version 2.9.0"), "{error:#}");

    fs::write(torch.join("version.py"), "from typing import X\n__version__ = '2.11.0+cu130'\n").unwrap();
    let target = python::link(&world.place(), &torch).unwrap();
    assert!(target.ends_with("libtorch-2.11.0-python"));
    assert!(target.join("torch/lib").join(libtorch::library("torch_cpu")).is_symlink());
    assert!(!target.join("torch/lib").join(libtorch::library("torch_python")).exists());
    if cfg!(target_os = "linux") {
        let script = fs::read_to_string(target.join("torch/lib/libtorch.so")).unwrap();
        assert!(script.starts_with("GROUP"), "{script}");
    }
    assert!(world.place().existing().is_some());
    fs::remove_dir_all(torch.join("lib")).unwrap();
    assert!(world.place().existing().is_none());
}

#[test]
fn a_larger_disk_is_asked_for() {
    let world = world();
    let error = world.place().need(u64::MAX / 2).unwrap_err();
    assert!(error.is::<place::NoSpace>());
    assert!(error.to_string().contains("GB are missing"), "{error}");
}

#[test]
fn the_arguments() {
    let parse = |args: &[&str]| parse(&args.iter().map(|a| (*a).to_owned()).collect::<Vec<_>>());
    let wish = parse(&["--device", "cuda", "--force"]).unwrap();
    assert!(wish.force && wish.device == Some(Device::Cuda));
    assert_eq!(parse(&["--device=cpu"]).unwrap().device, Some(Device::Cpu));
    for wrong in [["--device"].as_slice(), &["--device", "tpu"], &["--devise"]] {
        assert!(parse(wrong).is_err(), "{wrong:?}");
    }
}
