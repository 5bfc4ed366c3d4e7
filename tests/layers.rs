//! Imports go one way, and the world stays outside: no socket, clock, thread, random source or file below `service/`.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Each layer, and what it may name.
const LAYERS: [(&str, &[&str]); 7] = [
    ("wire", &["wire"]),
    ("stream", &["wire", "stream"]),
    ("web", &["wire", "web"]),
    ("store", &["wire", "store"]),
    ("core", &["wire", "store", "core"]),
    ("ext", &["wire", "store", "core", "ext"]),
    ("service", &["wire", "stream", "web", "store", "core", "ext", "service"]),
];

/// The world. `std::net::IpAddr` is only a number, `std::env::consts` only words.
const WORLD: [&str; 19] = [
    "std::fs",
    "std::thread",
    "std::process",
    "time::Instant",
    "Instant::now",
    "SystemTime",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "UnixStream",
    "UnixListener",
    "UnixDatagram",
    "std::env",
    "std::os",
    "ring::rand",
    "async_signal",
    "SystemRandom",
    "smol::",
    "rustix::",
];

/// The engine on the disk: the one user of files below `service/`.
const ENGINE: [&str; 12] = [
    "store/card.rs",
    "store/disk.rs",
    "store/large.rs",
    "store/log/index.rs",
    "store/log/mod.rs",
    "store/log/tests.rs",
    "store/mark.rs",
    "store/probe.rs",
    "store/salvage.rs",
    "store/scan.rs",
    "store/sled_engine.rs",
    "store/trees.rs",
];

fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

/// The code of a layer: (path below `src/`, line number, line without comments).
fn code(layer: &str) -> Vec<(String, usize, String)> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&src.join(layer), &mut files);
    assert!(!files.is_empty(), "there is no layer {layer}");
    files.sort();
    let mut lines = Vec::new();
    for file in files {
        let name = file.strip_prefix(&src).unwrap().to_str().unwrap().to_owned();
        for (n, line) in std::fs::read_to_string(&file).unwrap().lines().enumerate() {
            if !line.trim_start().starts_with("//") {
                lines.push((name.clone(), n + 1, line.to_owned()));
            }
        }
    }
    lines
}

/// The modules of the crate that a text names after `crate::`, one or a group of them.
fn named(text: &str) -> Vec<String> {
    let ident = |s: &str| s.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let mut found = Vec::new();
    for (at, path) in text.match_indices("crate::").map(|(at, m)| (at, &text[at + m.len()..])) {
        if text[..at].ends_with('$') {
            continue;
        }
        let Some(group) = path.strip_prefix('{') else {
            found.push(ident(path));
            continue;
        };
        let mut depth = 0;
        let mut start = 0;
        for (i, c) in group.char_indices() {
            match c {
                '{' => depth += 1,
                ',' | '}' if depth == 0 => {
                    found.push(ident(&group[start..i]));
                    start = i + 1;
                    if c == '}' {
                        break;
                    }
                }
                '}' => depth -= 1,
                _ => {}
            }
        }
    }
    found.retain(|name| !name.is_empty());
    found
}

#[test]
fn the_scanner_sees_every_form() {
    assert_eq!(named("use crate::wire::Jid;"), ["wire"]);
    assert_eq!(named("use crate::{core::{StreamId, State}, store};\ncrate::ext::all()"), ["core", "store", "ext"]);
    assert_eq!(named("use crate::{\n    service,\n};"), ["service"]);
    assert!(named("use self::wire::Jid;").is_empty());
}

#[test]
fn imports_go_one_way() {
    for (layer, may) in LAYERS {
        let code = code(layer);
        let whole: String = code.iter().map(|(_, _, line)| line.as_str().to_owned() + "\n").collect();
        for name in named(&whole) {
            assert!(may.contains(&name.as_str()), "src/{layer} names crate::{name}");
        }
        for (file, n, line) in &code {
            for (other, _) in LAYERS.iter().filter(|(other, _)| !may.contains(other)) {
                assert!(!line.contains(&format!("super::super::{other}::")), "src/{file}:{n} reaches up to {other}");
            }
        }
    }
}

#[test]
fn the_world_stays_outside() {
    for (layer, _) in LAYERS.iter().filter(|(layer, _)| *layer != "service") {
        let mut tests = String::new();
        for (file, n, line) in code(layer) {
            // What tests need stands at the bottom of a file.
            if line.starts_with("#[cfg(test)]") {
                tests.clone_from(&file);
            }
            if tests == file || ENGINE.contains(&file.as_str()) {
                continue;
            }
            for word in WORLD {
                let line = line.replace("std::env::consts", "");
                assert!(!line.contains(word), "src/{file}:{n} uses {word}");
            }
        }
    }
}

#[test]
fn what_is_iterated_has_an_order() {
    for layer in ["core", "ext"] {
        for (file, n, line) in code(layer) {
            // The one file whose maps are gone through in the order of their keys.
            let is_random = file != "core/unordered.rs" && (line.contains("HashMap") || line.contains("HashSet"));
            assert!(!is_random, "src/{file}:{n} uses a random order");
        }
    }
}

/// The circles of files in each layer: how many files each has, the largest first. Whoever makes one smaller makes its number smaller.
const CIRCLES: [(&str, &[usize]); 6] = [
    ("wire", &[2]),
    ("stream", &[3]),
    ("store", &[6]),
    ("core", &[]),
    ("ext", &[22, 7, 5, 2]),
    ("service", &[10, 2, 2]),
];

/// What a text imports or names, as whole paths: groups are taken apart, `as` and what follows a path is left out.
fn paths(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for root in ["crate::", "super::", "self::"] {
        for (at, _) in text.match_indices(root) {
            // A visibility names nothing.
            if text[..at].ends_with("(in ") {
                continue;
            }
            let before = text[..at].chars().next_back();
            if !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':' || c == '$') {
                path(&text[at..], String::new(), &mut found);
            }
        }
    }
    found
}

/// One path from here on, behind `prefix`. Gives what follows it.
fn path<'a>(text: &'a str, mut prefix: String, found: &mut Vec<String>) -> &'a str {
    let mut rest = text.trim_start();
    loop {
        if let Some(group) = rest.strip_prefix('{') {
            rest = group.trim_start();
            while !rest.is_empty() && !rest.starts_with('}') {
                let before = rest.len();
                rest = path(rest, prefix.clone(), found).trim_start();
                if let Some(alias) = rest.strip_prefix("as ") {
                    rest = alias.trim_start_matches(|c: char| c.is_alphanumeric() || c == '_').trim_start();
                }
                rest = rest.strip_prefix(',').unwrap_or(rest).trim_start();
                if rest.len() == before {
                    break;
                }
            }
            return rest.strip_prefix('}').unwrap_or(rest);
        }
        let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
        prefix.push_str(&rest[..end]);
        rest = &rest[end..];
        let Some(next) = rest.strip_prefix("::") else {
            found.push(prefix);
            return rest;
        };
        prefix.push_str("::");
        rest = next.trim_start();
    }
}

/// How a module passes on what another one has.
const PASSED_ON: [&str; 4] = ["pub use ", "pub(super) use ", "pub(crate) use ", "pub(in crate::core) use "];

/// The files of a layer, and which of them each names. Who names what another file only passes on names the file that has it.
struct Files {
    /// The text of each module, without tests; `core::muc` for both `core/muc.rs` and `core/muc/mod.rs`.
    texts: BTreeMap<String, String>,
    /// What a module passes on: its own name and that, and the path of what it is.
    passed: BTreeMap<String, String>,
}

impl Files {
    fn of(layer: &str) -> Files {
        let mut texts: BTreeMap<String, String> = BTreeMap::new();
        let mut tests = String::new();
        for (file, _, line) in code(layer) {
            if line.starts_with("#[cfg(test)]") || file.ends_with("/tests.rs") {
                tests.clone_from(&file);
            }
            let module = file.trim_end_matches(".rs").trim_end_matches("/mod").replace('/', "::");
            let text = texts.entry(module).or_default();
            if tests != file {
                text.push_str(&line);
                text.push('\n');
            }
        }
        let mut files = Files { texts, passed: BTreeMap::new() };
        let mut passed = BTreeMap::new();
        for (module, text) in &files.texts {
            for (at, _) in PASSED_ON.iter().flat_map(|how| text.match_indices(how)) {
                let statement = &text[at..text[at..].find(';').map_or(text.len(), |end| at + end)];
                let mut found = Vec::new();
                path(statement.split_once(" use ").map_or("", |(_, path)| path), String::new(), &mut found);
                for path in found {
                    let name = path.rsplit("::").next().unwrap_or_default();
                    passed.insert(format!("{module}::{name}"), files.whole(module, &path));
                }
            }
        }
        files.passed = passed;
        files
    }

    /// A path as it is from the crate's root on.
    fn whole(&self, module: &str, path: &str) -> String {
        let mut at = module.to_owned();
        let mut rest = path;
        if let Some(path) = rest.strip_prefix("crate::") {
            return path.to_owned();
        }
        rest = rest.strip_prefix("self::").unwrap_or(rest);
        while let Some(path) = rest.strip_prefix("super::") {
            at = at.rsplit_once("::").map_or(String::new(), |(up, _)| up.to_owned());
            rest = path;
        }
        if at.is_empty() { rest.to_owned() } else { format!("{at}::{rest}") }
    }

    /// The module of this layer that has what a path means.
    fn owner(&self, path: &str) -> Option<&str> {
        let mut path = path.to_owned();
        for _ in 0..8 {
            let mut prefix = path.as_str();
            loop {
                if let Some(is) = self.passed.get(prefix) {
                    path = format!("{is}{}", &path[prefix.len()..]);
                    break;
                }
                if let Some((module, _)) = self.texts.get_key_value(prefix) {
                    return Some(module);
                }
                prefix = prefix.rsplit_once("::")?.0;
            }
        }
        None
    }

    /// Which modules each names.
    fn named(&self) -> BTreeMap<&str, BTreeSet<&str>> {
        let all = self.texts.iter().map(|(module, text)| {
            let named = paths(text).into_iter().filter_map(|path| self.owner(&self.whole(module, &path)));
            let below = self.texts.keys().filter(|other| is_named_below(text, module, other)).map(String::as_str);
            (module.as_str(), named.chain(below).filter(|other| other != module).collect())
        });
        all.collect()
    }
}

/// Whether a text names a module right below its own, by its name alone; to pass on what is there does not count.
fn is_named_below(text: &str, module: &str, other: &str) -> bool {
    let Some(name) = other.strip_prefix(module).and_then(|rest| rest.strip_prefix("::")).filter(|n| !n.contains(':'))
    else {
        return false;
    };
    let name = format!("{name}::");
    let passes_on = |statement: &&str| PASSED_ON.iter().any(|how| statement.contains(how));
    text.split(';').filter(|statement| !passes_on(statement)).any(|statement| {
        let mut found = statement.match_indices(&name).map(|(at, _)| statement[..at].chars().next_back());
        found.any(|before| !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':'))
    })
}

/// All that can be reached.
fn reached<'a>(from: &'a str, named: &BTreeMap<&'a str, BTreeSet<&'a str>>) -> BTreeSet<&'a str> {
    let (mut seen, mut next) = (BTreeSet::new(), vec![from]);
    while let Some(one) = next.pop() {
        next.extend(named[one].iter().filter(|other| seen.insert(**other)));
    }
    seen
}

/// The sets of modules that all reach each other, the largest first.
fn circles(files: &Files) -> Vec<BTreeSet<&str>> {
    let named = files.named();
    let reach: BTreeMap<&str, BTreeSet<&str>> = named.keys().map(|one| (*one, reached(one, &named))).collect();
    let of = |one: &&str| reach[*one].iter().copied().filter(|other| reach[other].contains(*one)).collect();
    let all: BTreeSet<BTreeSet<&str>> =
        named.keys().map(of).filter(|circle: &BTreeSet<&str>| circle.len() > 1).collect();
    let mut all: Vec<_> = all.into_iter().collect();
    all.sort_by_key(|circle| std::cmp::Reverse(circle.len()));
    all
}

#[test]
fn the_paths_are_seen_in_every_form() {
    let text = "use super::{a::{self, B}, c as d};\nuse crate::core::{\n    State,\n    sm::Sm,\n};\nfn f(x: &self::g::H) {}\nthiscrate::no;";
    let mut found = paths(text);
    found.sort();
    assert_eq!(
        found,
        ["crate::core::State", "crate::core::sm::Sm", "self::g::H", "super::a::B", "super::a::self", "super::c"]
    );
    let texts = [
        ("core", "pub use state::State;"),
        ("core::state", "use super::sm::Sm;"),
        ("core::sm", "use crate::core::State;"),
    ];
    let files = Files {
        texts: texts.iter().map(|(module, text)| ((*module).to_owned(), (*text).to_owned())).collect(),
        passed: [("core::State".to_owned(), "core::state::State".to_owned())].into(),
    };
    assert_eq!(circles(&files), [BTreeSet::from(["core::sm", "core::state"])]);
}

#[test]
fn no_circle_of_files_grows() {
    let mut grown = String::new();
    for (layer, known) in CIRCLES {
        let files = Files::of(layer);
        let found = circles(&files);
        let sizes: Vec<usize> = found.iter().map(BTreeSet::len).collect();
        if sizes.iter().zip(known.iter().chain(std::iter::repeat(&0))).any(|(size, known)| size > known) {
            grown.push_str(&format!("src/{layer}: {sizes:?} files, at most {known:?}\n"));
            found.iter().for_each(|circle| grown.push_str(&format!("  {circle:?}\n")));
        }
    }
    assert!(grown.is_empty(), "files that all need each other have become more:\n{grown}");
}
