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
fn the_table_of_specifications_is_what_the_extensions_say() {
    hold("cross/specifications.md", |is| {
        let (before, rest) = is.split_once(BEGIN).expect("it has the mark where the table begins");
        let (_, after) = rest.split_once(END).expect("it has the mark where the table ends");
        format!("{before}{BEGIN}{}{END}{after}", table::markdown())
    });
}

/// Pages for people: those beside the code, and none of what is built or downloaded.
fn pages() -> Vec<PathBuf> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let mut folders = vec![root.clone()];
    let mut pages = Vec::new();
    while let Some(folder) = folders.pop() {
        for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            if path.is_dir() && name != "target" && !name.starts_with('.') && name != "node_modules" {
                folders.push(path);
            } else if name.ends_with(".md") {
                pages.push(path);
            }
        }
    }
    pages
}

/// The places in a page that a link can lead to: its headings, as hosts of Git repositories name them.
fn anchors(page: &str) -> BTreeSet<String> {
    let mut in_code = false;
    let mut found = BTreeSet::new();
    for line in page.lines() {
        in_code ^= line.starts_with("```");
        let Some(heading) = line.strip_prefix('#').filter(|_| !in_code) else { continue };
        let heading = heading.trim_start_matches('#').trim().to_lowercase();
        let kept = |c: &char| c.is_alphanumeric() || matches!(c, '-' | '_' | ' ');
        found.insert(heading.chars().filter(kept).map(|c| if c == ' ' { '-' } else { c }).collect());
    }
    found
}

#[test]
fn links_between_pages_lead_somewhere() {
    let pages = pages();
    assert!(pages.len() > 8, "{pages:?}");
    let mut links = 0;
    for page in &pages {
        let text = std::fs::read_to_string(page).unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(link, _)| link) {
            if link.contains("://") || link.contains(char::is_whitespace) {
                continue;
            }
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let leads_to = if file.is_empty() { page.clone() } else { page.parent().unwrap().join(file) };
            assert!(leads_to.exists(), "{}: {link} leads nowhere", page.display());
            if !anchor.is_empty() {
                let there = anchors(&std::fs::read_to_string(&leads_to).unwrap());
                assert!(there.contains(anchor), "{}: {link}: there is no such heading", page.display());
            }
            links += 1;
        }
    }
    assert!(links > 30, "{links}");
}

/// What CONTRIBUTING shows of the code is in the code.
#[test]
fn excerpts_are_what_the_code_says() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let read = |file: &str| std::fs::read_to_string(root.join(file)).unwrap();
    let mut code = String::new();
    for file in ["ext/ping.rs", "service/net/listeners.rs", "service/net/listen.rs"] {
        code += &read(&format!("src/{file}"));
    }
    let page = read("CONTRIBUTING.md");
    let excerpts: Vec<&str> =
        page.split("```rust\n").skip(1).filter_map(|rest| rest.split_once("```")).map(|(e, _)| e).collect();
    assert_eq!(excerpts.len(), 3);
    for excerpt in excerpts {
        assert!(code.contains(excerpt), "no longer there: {excerpt}");
    }
}

const SHARES: (&str, &str) = ("//! <!-- shares -->\n", "//! <!-- /shares -->");

fn shares() -> Vec<&'static Shared> {
    table::shares().into_iter().chain(inglenook::service::serve::shared()).collect()
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
