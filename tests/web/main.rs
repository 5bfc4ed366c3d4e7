//! The door for browsers, and for whoever puts and has files: the real program, inside TLS.
#![allow(clippy::unwrap_used, missing_docs)]

mod bosh;
#[path = "../common/mod.rs"]
mod common;
mod notify;
mod one_port;
mod pages;
mod requests;
mod uploads;
mod websocket;

use common::binary::{Dir, Server, Tls, connect, log_in, ok, tls};
use common::http::{Http, HttpAnswer};

const PASSWORD: &str = "a long secret";

/// A server of `example.org` with accounts.
struct House {
    server: Server,
    dir: Dir,
}

impl House {
    /// `accounts`: their names.
    fn new(accounts: &[&str]) -> House {
        let dir = Dir::begun("plain = true\n[uploads]\ntotal_bytes = 80000000\nfile_bytes = 10000000");
        let file = dir.data().join("inglenook.toml");
        let settings = std::fs::read_to_string(&file).unwrap();
        std::fs::write(file, settings.replace("https = []", "https = [\"127.0.0.1:0\"]\nhttp = [\"127.0.0.1:0\"]"))
            .unwrap();
        for name in accounts {
            let secret = format!("{PASSWORD}\n");
            ok(&dir, &["user", "add", &format!("{name}@example.org"), "--password-stdin"], &secret);
        }
        House { server: Server::start(&dir, &[]), dir }
    }

    fn http(&self) -> Http {
        Http::new(&self.server, &self.dir)
    }

    /// Asks on a connection that has only this request.
    fn ask(&self, what: &str, fields: &str) -> HttpAnswer {
        self.http().ask(what, fields)
    }

    /// A client on TCP, logged in.
    fn client(&self, name: &str) -> Tls {
        let mut stream = tls(connect(&self.server, "c2s_tls"), &self.dir.ca());
        log_in(&mut stream, name, PASSWORD);
        stream
    }
}

/// A server with a port for browsers, on a disk of its own that can be filled; nothing, where there is none to be had.
#[cfg(target_os = "linux")]
fn on_a_small_disk() -> Option<(common::disk::Disk, Server)> {
    let disk = common::disk::Disk::new("24m")?;
    disk.dir.settings("plain = true\ndomain = \"example.org\"\nscram_iterations = 4096");
    let file = disk.dir.data().join("inglenook.toml");
    let settings = std::fs::read_to_string(&file).unwrap();
    std::fs::write(file, settings.replace("https = []", "https = [\"127.0.0.1:0\"]")).unwrap();
    let server = Server::start(&disk.dir, &[]);
    Some((disk, server))
}
