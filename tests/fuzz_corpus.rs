//! Every file of the fuzz targets' corpora through the check it is for, and mutations of it: what a fuzzer does at length
//! with a nightly compiler, shortly and the same every time.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

#[allow(unreachable_pub)]
#[path = "../fuzz/src/lib.rs"]
mod checks;
mod common;

use std::path::{Path, PathBuf};

fn files(of: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> =
        std::fs::read_dir(of).unwrap_or_else(|e| panic!("{}: {e}", of.display())).map(|f| f.unwrap().path()).collect();
    files.sort();
    files
}

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus")
}

#[test]
fn every_file_passes() {
    for (target, check) in checks::TARGETS {
        let files = files(&corpus().join(target));
        assert!(!files.is_empty(), "{target} has no corpus");
        for file in files {
            println!("{}", file.display());
            check(&std::fs::read(&file).unwrap());
        }
    }
}

#[test]
fn every_corpus_and_every_program_is_a_targets() {
    let names: Vec<&str> = checks::TARGETS.iter().map(|(name, _)| *name).collect();
    for of in [corpus(), corpus().join("../fuzz_targets")] {
        let mut found: Vec<String> =
            files(&of).iter().map(|f| f.file_stem().unwrap().to_str().unwrap().into()).collect();
        found.sort();
        let mut names = names.clone();
        names.sort();
        assert_eq!(found, names, "{}", of.display());
    }
}

#[test]
fn mutations_pass() {
    for (target, check) in checks::TARGETS {
        let files: Vec<Vec<u8>> = files(&corpus().join(target)).iter().map(|f| std::fs::read(f).unwrap()).collect();
        let mut random = common::Random::new(target.len() as u64);
        for round in 0..4_000 {
            let mut data = files[round % files.len()].clone();
            common::mutate(&mut data, &files, &mut random);
            check(&data);
        }
    }
}
