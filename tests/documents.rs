//! What is generated and kept in the repository says what the code says. `INGLENOOK_BLESS=1 cargo test --test documents`
//! writes it again.
#![allow(clippy::unwrap_used)]

use inglenook::core::share::Shared;
use inglenook::ext::table;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

const BEGIN: &str = "<!-- specifications -->\n";
const END: &str = "<!-- /specifications -->";

/// Compares a file with what it should be, or makes it so.
fn hold(name: &str, should_be: impl FnOnce(&str) -> String) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(name);
    let is = std::fs::read_to_string(&path).unwrap_or_default();
    let should_be = should_be(&is);
    if std::env::var_os("INGLENOOK_BLESS").is_some_and(|v| v == "1") {
        std::fs::write(&path, &should_be).unwrap();
    } else {
        let first = is.lines().zip(should_be.lines()).find(|(a, b)| a != b);
        assert!(is == should_be, "{name} is not what the code says; run with INGLENOOK_BLESS=1. First: {first:?}");
    }
}

#[test]
fn doap_is_what_the_extensions_say() {
    hold("doap.xml", |_| table::doap());
}

#[test]
fn the_table_in_the_readme_is_what_the_extensions_say() {
    if !PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("README.md").exists() {
        return;
    }
    hold("README.md", |is| {
        let (before, rest) = is.split_once(BEGIN).expect("README.md has the mark where the table begins");
        let (_, after) = rest.split_once(END).expect("README.md has the mark where the table ends");
        format!("{before}{BEGIN}{}{END}{after}", table::markdown())
    });
}

const SHARES: (&str, &str) = ("//! <!-- shares -->\n", "//! <!-- /shares -->");

fn shares() -> Vec<&'static Shared> {
    table::shares().into_iter().chain(inglenook::service::shared()).collect()
}

#[test]
fn the_table_of_shares_is_what_the_constants_say() {
    hold("src/lib.rs", |is| {
        let (before, rest) = is.split_once(SHARES.0).expect("src/lib.rs has the mark where the table begins");
        let (_, after) = rest.split_once(SHARES.1).expect("src/lib.rs has the mark where the table ends");
        let table: String = table::shares_markdown(shares()).lines().map(|line| format!("//! {line}\n")).collect();
        format!("{before}{}{table}{}{after}", SHARES.0, SHARES.1)
    });
}

/// All Rust files below `src`: their paths there, and what is in them but for tests.
fn sources(folder: &Path, into: &mut Vec<(String, String)>) {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src");
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|x| x == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            let text = text.split("#[cfg(test)]").next().unwrap().to_owned();
            into.push((path.strip_prefix(&root).unwrap().to_str().unwrap().replace('\\', "/"), text));
        }
    }
}

/// Whoever shares something out stands in the table, with all that is said of it beside the limit.
#[test]
fn nothing_that_is_shared_is_missing_in_the_table() {
    let mut files = Vec::new();
    sources(&PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src"), &mut files);
    let rows = shares();
    let checked: BTreeSet<&str> = rows.iter().map(|row| row.checked).collect();
    let mut told = 0;
    for (path, text) in files.iter().filter(|(path, _)| path != "core/share.rs" && path != "lib.rs") {
        told += text
            .lines()
            .filter(|line| line.trim() == "Shared {" || line.ends_with("SHARED: Shared = Shared {"))
            .count();
        let here = |line: &&str| {
            line.contains("core::share::") || path.starts_with("core/") && line.contains("super::share::")
        };
        let imports = text.lines().filter(|line| line.trim_start().starts_with("use ")).filter(here);
        let asks = imports
            .flat_map(|line| ["Shares", "Ledger", "may_have", "spare"].map(|how| line.contains(how)))
            .any(|yes| yes);
        assert!(!asks || checked.contains(path.as_str()), "{path} shares something out, and is in no row");
        let named = text.lines().filter_map(|line| line.split_once("const ")?.1.split_once(':'));
        for (name, _) in named.filter(|(name, _)| name.contains("SHARE") && *name != "SHARED") {
            let known = rows.iter().any(|row| row.whole.iter().any(|(whole, _)| *whole == name));
            assert!(known, "{name} of {path} is in no row");
        }
    }
    assert_eq!(told, rows.len(), "each that is described stands in the table");
    for row in &rows {
        assert!(files.iter().any(|(path, _)| path == row.checked), "there is no {}", row.checked);
        for (name, value) in row.whole {
            assert!(*value > 0 && files.iter().any(|(_, text)| text.contains(&format!("const {name}: "))), "{name}");
        }
    }
}
