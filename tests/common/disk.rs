//! A file system of a test's own, to fill.

use super::binary::Dir;
use std::io::{ErrorKind, Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// A process that holds a small file system of its own: the folder in it is there as long as it lives.
pub struct Disk {
    holder: Child,
    pub dir: Dir,
    /// Where it is for the holder.
    _at: Dir,
}

impl Disk {
    /// None where the kernel does not let this user have one.
    pub fn new(size: &str) -> Option<Disk> {
        let at = Dir::new();
        let path = at.0.to_str().unwrap().to_owned();
        let mut command = Command::new("unshare");
        if !rustix::process::geteuid().is_root() {
            command.args(["--user", "--map-root-user"]);
        }
        let script = "mount -t tmpfs -o mode=700,size=$2 tmpfs \"$1\" && echo ready && exec cat";
        let mut holder = command
            .args(["--mount", "sh", "-c", script, "sh", &path, size])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .ok()?;
        let mut said = [0; 6];
        if holder.stdout.as_mut().unwrap().read_exact(&mut said).is_err() {
            holder.wait().unwrap();
            return None;
        }
        let inside = PathBuf::from(format!("/proc/{}/root{path}", holder.id()));
        let dir = Dir(inside);
        dir.settings("plain = true");
        Some(Disk { holder, dir, _at: at })
    }

    pub fn fill(&self) {
        let mut file = std::fs::File::create(self.dir.0.join("filler")).unwrap();
        for size in [1 << 16, 1] {
            let block = vec![1; size];
            loop {
                match file.write_all(&block) {
                    Ok(()) => {}
                    Err(e) if e.kind() == ErrorKind::StorageFull => break,
                    Err(e) => panic!("{e}"),
                }
            }
        }
    }

    /// The same, with so many bytes left.
    pub fn fill_but(&self, left: u64) {
        self.fill();
        let file = std::fs::File::options().write(true).open(self.dir.0.join("filler")).unwrap();
        file.set_len(file.metadata().unwrap().len().saturating_sub(left)).unwrap();
    }

    pub fn make_room(&self) {
        std::fs::remove_file(self.dir.0.join("filler")).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Its file system goes with it.
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}
