//! What the system says of the server: a process and those it started.

use super::Result;
use std::collections::HashSet;
use std::fs;
use std::os::linux::fs::MetadataExt;
use std::path::Path;

/// A process with all its threads and children.
#[derive(Clone, Copy)]
pub struct Process(pub u32);

/// Of a process: bytes.
#[derive(Clone, Copy, Default)]
pub struct Memory {
    pub rss: u64,
    /// What is shared with others counts in part.
    pub pss: u64,
}

impl Process {
    pub fn this() -> Process {
        Process(std::process::id())
    }

    fn tree(self) -> Vec<u32> {
        let numbers = fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = numbers.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        let parents: Vec<(u32, u32)> = pids.filter_map(|pid| Some((pid, stat(pid)?.1))).collect();
        let mut tree = HashSet::from([self.0]);
        loop {
            let before = tree.len();
            tree.extend(
                parents.iter().filter(|(_, parent)| tree.contains(parent)).map(|(pid, _)| *pid).collect::<Vec<_>>(),
            );
            if tree.len() == before {
                return tree.into_iter().collect();
            }
        }
    }

    /// Seconds of processor time so far, user and system.
    pub fn cpu(self) -> f64 {
        self.tree().into_iter().filter_map(|pid| stat(pid).map(|s| s.0)).sum()
    }

    /// What it has now.
    pub fn memory(self) -> Memory {
        let mut sum = Memory::default();
        for pid in self.tree() {
            let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
            let of = |name: &str| {
                let line = text.lines().find_map(|line| line.strip_prefix(name));
                line.and_then(|l| l.trim().trim_end_matches(" kB").parse::<u64>().ok()).unwrap_or(0) * 1024
            };
            sum.rss += of("Rss:");
            sum.pss += of("Pss:");
        }
        sum
    }

    /// Bytes it gave to the disk so far.
    pub fn written(self) -> u64 {
        let of = |pid| {
            let text = fs::read_to_string(format!("/proc/{pid}/io")).ok()?;
            text.lines().find_map(|line| line.strip_prefix("write_bytes:"))?.trim().parse::<u64>().ok()
        };
        self.tree().into_iter().filter_map(of).sum()
    }
}

/// (seconds of processor time, parent)
fn stat(pid: u32) -> Option<(f64, u32)> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name may hold anything; what follows its last parenthesis is numbers.
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks: u64 = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
    Some((ticks as f64 / rustix::param::clock_ticks_per_second() as f64, fields.get(1)?.parse().ok()?))
}

/// Bytes that a folder takes on the disk.
pub fn folder(path: &Path) -> Result<u64> {
    let mut sum = 0;
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        // A file may go while we look.
        let Ok(meta) = entry.metadata() else { continue };
        sum += if meta.is_dir() { folder(&entry.path()).unwrap_or(0) } else { meta.st_blocks() * 512 };
    }
    Ok(sum)
}
