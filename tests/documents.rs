//! What is generated and kept in the repository says what the code says. `INGLENOOK_BLESS=1 cargo test --test documents`
//! writes it again.
#![allow(clippy::unwrap_used)]

use inglenook::ext::table;
use std::path::PathBuf;

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
