//! A disk that loses what was not synced, from the notes of `shim.c`.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

/// The library to preload. Built once: a program that starts while the file is written would run without it.
pub(crate) fn shim() -> PathBuf {
    static SHIM: LazyLock<PathBuf> = LazyLock::new(build_shim);
    SHIM.clone()
}

/// `cc` is there: the TLS provider needs it too.
fn build_shim() -> PathBuf {
    let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("shim-{}.so", std::process::id()));
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/storage/shim.c");
    let built = Command::new("cc")
        .args(["-O1", "-shared", "-fPIC", "-o"])
        .arg(&out)
        .arg(source)
        .args(["-ldl", "-lpthread"])
        .status();
    assert!(built.expect("cc starts").success(), "cc builds the shim");
    out
}

/// A name in a folder.
#[derive(Clone)]
struct Name {
    name: String,
    inode: u64,
    folder: bool,
}

/// What is durable.
#[derive(Default)]
pub(crate) struct Disk {
    contents: HashMap<u64, Vec<u8>>,
    folders: BTreeMap<PathBuf, Vec<Name>>,
}

impl Disk {
    /// All that is in a folder now.
    pub(crate) fn scan(root: &Path) -> Disk {
        let mut disk = Disk::default();
        disk.scan_into(root, Path::new(""));
        disk
    }

    fn scan_into(&mut self, root: &Path, at: &Path) {
        let mut names = Vec::new();
        for entry in fs::read_dir(root.join(at)).unwrap() {
            let entry = entry.unwrap();
            // A child that is just being killed may still work on its copy, which is never synced.
            if entry.file_name().as_encoded_bytes().starts_with(b"probe-") {
                continue;
            }
            let (meta, name) = (entry.metadata().unwrap(), entry.file_name().into_string().unwrap());
            if meta.is_dir() {
                self.scan_into(root, &at.join(&name));
            } else if meta.is_file() {
                self.contents.insert(meta.ino(), fs::read(entry.path()).unwrap());
            } else {
                // A socket is nothing that lasts.
                continue;
            }
            names.push(Name { name, inode: meta.ino(), folder: meta.is_dir() });
        }
        names.sort_by(|a, b| a.name.cmp(&b.name));
        self.folders.insert(at.into(), names);
    }

    /// Adds what the notes say was synced since. A torn record at the end was a sync that had not returned.
    pub(crate) fn replay(&mut self, notes: &[u8]) {
        let mut rest = notes;
        while let Some(len) = rest.get(..4) {
            let len = u32::from_le_bytes(len.try_into().unwrap()) as usize;
            let Some(record) = rest.get(4..4 + len) else { break };
            rest = &rest[4 + len..];
            let mut r = Fields(&record[1..]);
            match record[0] {
                b'Z' => drop(self.contents.insert(r.u64(), Vec::new())),
                b'F' => {
                    let (inode, size) = (r.u64(), r.u64() as usize);
                    let content = self.contents.entry(inode).or_default();
                    content.resize(size, 0);
                    while !r.0.is_empty() {
                        let (at, len) = (r.u64() as usize, r.u32() as usize);
                        content[at..at + len].copy_from_slice(r.bytes(len));
                    }
                }
                b'N' => {
                    let len = r.u16() as usize;
                    let path = PathBuf::from(str::from_utf8(r.bytes(len)).unwrap());
                    let mut names = Vec::new();
                    while !r.0.is_empty() {
                        let (folder, inode, len) = (r.bytes(1)[0] == 1, r.u64(), r.u16() as usize);
                        names.push(Name { name: str::from_utf8(r.bytes(len)).unwrap().into(), inode, folder });
                    }
                    self.folders.insert(path, names);
                }
                other => panic!("a note of type {other}"),
            }
        }
    }

    /// Lets some of what was not synced survive: whole folders of names, and pages of contents, as `chance` says.
    pub(crate) fn survive(&mut self, live: &Disk, chance: &mut dyn FnMut() -> bool) {
        const PAGE: usize = 4096;
        for (path, names) in &live.folders {
            if chance() {
                self.folders.insert(path.clone(), names.clone());
            }
        }
        let mut inodes: Vec<_> = live.contents.iter().collect();
        inodes.sort();
        for (inode, new) in inodes {
            let old = self.contents.entry(*inode).or_default();
            if old.len() != new.len() && chance() {
                old.resize(new.len(), 0);
            }
            let pages = old.chunks_mut(PAGE).zip(new.chunks(PAGE));
            for (old, new) in pages {
                let both = old.len().min(new.len());
                if old[..both] != new[..both] && chance() {
                    old[..both].copy_from_slice(&new[..both]);
                }
            }
        }
    }

    /// Makes a folder hold what is durable, and nothing else.
    pub(crate) fn build(&self, root: &Path) {
        let _ = fs::remove_dir_all(root);
        self.build_at(root, Path::new(""));
    }

    fn build_at(&self, root: &Path, at: &Path) {
        fs::create_dir_all(root.join(at)).unwrap();
        for Name { name, inode, folder } in self.folders.get(at).into_iter().flatten() {
            let path = at.join(name);
            if *folder {
                self.build_at(root, &path);
            } else {
                fs::write(root.join(path), self.contents.get(inode).map_or(&[][..], |content| content)).unwrap();
            }
        }
    }
}

struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn bytes(&mut self, n: usize) -> &'a [u8] {
        let (head, rest) = self.0.split_at(n);
        self.0 = rest;
        head
    }
    fn u16(&mut self) -> u16 {
        u16::from_le_bytes(self.bytes(2).try_into().unwrap())
    }
    fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.bytes(4).try_into().unwrap())
    }
    fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.bytes(8).try_into().unwrap())
    }
}
