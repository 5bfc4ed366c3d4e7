//! Imports go one way, and the world stays outside: no socket, clock, thread, random source or file below `service/`.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

/// Each layer, and what it may name.
const LAYERS: [(&str, &[&str]); 6] = [
    ("wire", &["wire"]),
    ("stream", &["wire", "stream"]),
    ("store", &["wire", "store"]),
    ("core", &["wire", "store", "core"]),
    ("ext", &["wire", "store", "core", "ext"]),
    ("service", &["wire", "stream", "store", "core", "ext", "service"]),
];

/// The world. `std::net::IpAddr` is only a number.
const WORLD: [&str; 13] = [
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
