//! The load generator, against the real binary: nothing is lost, doubled or out of order, whatever is in a window.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

mod common;

#[path = "../examples/load/main.rs"]
#[allow(dead_code)]
mod load;

use argh::FromArgs;
use common::binary::{Dir, Server, ok};

#[test]
fn pairs_chat_at_full_speed() {
    let dir = Dir::begun("domain = \"example.org\"\nscram_iterations = 4096\ncommit_window_ms = 10\n");
    let server = Server::start(&dir, &[]);
    for n in 0..8 {
        ok(&dir, &["user", "add", &format!("u{n}@example.org"), "--password-stdin"], "correct horse battery staple\n");
    }
    let (address, pid) = (server.address("c2s_tls").to_string(), server.child.id().to_string());
    let chat = ["chat", "--pairs", "4", "--window", "8", "--seconds", "0.5", "--warm", "0.1"];
    for more in [&["--keep", "always"][..], &["--acks"], &["--keep", "never"]] {
        let words = [&["--address", &address, "--pid", &pid], &chat[..], more].concat();
        let report = load::run(load::Args::from_args(&["load"], &words).unwrap()).unwrap().unwrap();
        let fact = |name| report.fact(name).unwrap();
        assert!(fact("rate") > 0.0 && fact("sent") >= 32.0 && fact("server_rss_mb") > 0.0, "{more:?}");
        for wrong in ["lost", "twice", "disorder", "refused"] {
            assert_eq!(fact(wrong), 0.0, "{more:?}: {wrong}");
        }
    }
}
