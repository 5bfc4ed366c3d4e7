//! The disk format is for good: whatever a released version has written, this one serves, backs up and restores, and every client
//! finds what it left there.
//!
//! `tests/golden/README.md` tells what is in the folders, and how to make one for another format.
#![allow(clippy::unwrap_used)]
#![cfg(target_os = "linux")]

mod client;
#[path = "../common/mod.rs"]
mod common;
mod scene;
mod seen;

use common::binary::{Dir, Server, ok};
use seen::look;
use std::path::{Path, PathBuf};
use std::process::Command;

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

/// The folder of each format there ever was.
fn formats() -> Vec<PathBuf> {
    let all = std::fs::read_dir(golden()).unwrap().map(|entry| entry.unwrap().path());
    let mut all: Vec<PathBuf> = all.filter(|path| path.is_dir()).collect();
    all.sort();
    assert!(all.iter().any(|path| path.ends_with("0.1")), "the first format is there");
    all
}

fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap().trim_end().to_owned()
}

/// Runs a program of the system.
fn system(program: &str, words: &[&str]) -> Vec<u8> {
    let output = Command::new(program).args(words).output().unwrap_or_else(|e| panic!("{program}: {e}"));
    assert!(output.status.success(), "{program} {words:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

fn str(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A data folder out of the archive with this name.
fn unpacked(format: &Path, name: &str) -> Dir {
    let dir = Dir::new();
    system("tar", &["-xzof", str(&format.join(name)), "-C", str(&dir.0)]);
    dir
}

/// A data folder that was restored from this backup.
fn restored(backup: &Path) -> Dir {
    let dir = Dir::new();
    let said = ok(&dir, &["restore", str(backup)], "");
    assert!(said.contains("restored"), "{said}");
    dir
}

/// The golden backup, in a folder of its own.
fn backup(format: &Path) -> (Dir, PathBuf) {
    let dir = Dir::new();
    let file = dir.0.join("golden.backup");
    std::fs::write(&file, system("gzip", &["-dc", str(&format.join("backup.gz"))])).unwrap();
    (dir, file)
}

/// What clients find in a folder is what they left there.
fn shows_the_same(format: &Path, dir: &Dir, what: &str) {
    let seen = look(dir, &text(&format.join("token")));
    let wanted = std::fs::read_to_string(format.join("seen.txt")).unwrap();
    for (n, (seen, wanted)) in seen.lines().zip(wanted.lines()).enumerate() {
        assert_eq!(seen, wanted, "{what} of {}, line {} of seen.txt", format.display(), n + 1);
    }
    assert_eq!(seen.lines().count(), wanted.lines().count(), "{what} of {}", format.display());
}

#[test]
fn a_folder_of_every_format_is_served() {
    for format in formats() {
        shows_the_same(&format, &unpacked(&format, "data.tar.gz"), "the folder");
    }
}

/// The log was synced, the trees were not: the start makes their changes from the frames.
#[test]
fn a_folder_of_every_format_is_served_after_a_power_cut() {
    for format in formats() {
        shows_the_same(&format, &unpacked(&format, "cut.tar.gz"), "the folder after a power cut");
    }
}

#[test]
fn a_backup_of_every_format_is_restored() {
    for format in formats() {
        let (_dir, file) = backup(&format);
        shows_the_same(&format, &restored(&file), "the backup");
    }
}

#[test]
fn a_folder_of_every_format_is_backed_up_while_it_is_served() {
    for format in formats() {
        let dir = unpacked(&format, "data.tar.gz");
        let server = Server::start(&dir, &[]);
        let file = dir.0.join("again.backup");
        ok(&dir, &["backup", str(&file)], "");
        assert!(server.stop().success());
        shows_the_same(&format, &restored(&file), "a backup of the folder");
    }
}

#[test]
fn a_backup_of_every_format_is_restored_backed_up_and_restored_again() {
    for format in formats() {
        let (dir, file) = backup(&format);
        let first = restored(&file);
        let again = dir.0.join("again.backup");
        ok(&first, &["backup", str(&again)], "");
        shows_the_same(&format, &restored(&again), "a backup of the backup");
    }
}

/// What is golden has a full segment of the log besides the one that is written to, and values with files of their own.
#[test]
fn golden_folders_have_all_kinds_of_files() {
    for format in formats() {
        for name in ["data.tar.gz", "cut.tar.gz"] {
            let dir = unpacked(&format, name);
            let count = |folder: &str, end: &str| {
                let files = std::fs::read_dir(dir.data().join("db").join(folder)).unwrap();
                files.filter(|file| file.as_ref().unwrap().file_name().to_str().unwrap().ends_with(end)).count()
            };
            assert_eq!(count("log", ".seg"), 2, "{name}");
            assert!(count("large", "") >= 3, "{name}");
        }
    }
}

/// Makes the folder `INGLENOOK_GOLDEN` of golden data by the program `INGLENOOK_BINARY`.
#[test]
#[ignore = "makes golden data: see tests/golden/README.md"]
fn make() {
    assert!(std::env::var_os("INGLENOOK_BINARY").is_some(), "INGLENOOK_BINARY is the program of that version");
    let format = golden().join(std::env::var("INGLENOOK_GOLDEN").unwrap());
    std::fs::create_dir(&format).expect("what is golden stays as it is");
    let dir = Dir::with(scene::SETTINGS);
    let token = scene::Scene::new(&dir).play();
    std::fs::write(format.join("token"), format!("{token}\n")).unwrap();
    // Everything, before the last message; then the log with it, and the trees without.
    let before = Dir::new();
    let copy = |from: &Path, to: &Path| drop(system("cp", &["-a", str(from), str(to)]));
    copy(&dir.data(), &before.data());
    scene::last_message(&dir).kill();
    let cut = Dir::new();
    copy(&dir.data(), &cut.data());
    for name in ["sled", "mark", "large"] {
        let to = cut.data().join("db").join(name);
        system("rm", &["-r", str(&to)]);
        copy(&before.data().join("db").join(name), &to);
    }
    pack(&cut, &format.join("cut.tar"));
    assert!(Server::start(&dir, &[]).stop().success());
    pack(&dir, &format.join("data.tar"));
    let file = format.join("backup");
    ok(&dir, &["backup", str(&file)], "");
    system("gzip", &["-9n", str(&file)]);
    std::fs::write(format.join("seen.txt"), look(&unpacked(&format, "data.tar.gz"), &token)).unwrap();
}

fn pack(dir: &Dir, file: &Path) {
    let owner = ["--owner=0", "--group=0", "--numeric-owner", "--sort=name"];
    let not = ["--exclude=data/control", "--exclude=data/lock"];
    let words = [&owner[..], &not, &["-cf", str(file), "-C", str(&dir.0), "data"]].concat();
    system("tar", &words);
    system("gzip", &["-9n", str(file)]);
}
