//! What is below a folder.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A folder and all below it. No link is followed.
pub fn all_below(dir: &Path) -> Vec<PathBuf> {
    let mut found = vec![dir.to_owned()];
    let mut at = 0;
    while let Some(path) = found.get(at).cloned() {
        at += 1;
        if path.symlink_metadata().unwrap().is_dir() {
            found.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
    }
    found
}

/// All files below a folder, and what is in them.
pub fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let plain = all_below(dir).into_iter().filter(|path| path.is_file());
    plain.map(|path| (path.clone(), std::fs::read(path).unwrap())).collect()
}
