//! What a client costs that is there and says nothing: memory of the whole program, with TLS, task, sockets and session.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

mod common;

use common::binary::{Dir, Server, Tls, connect_from, log_in, ok, ping, tls, until};
use std::io::Write;

/// For an idle session, in bytes.
const BUDGET_BYTES: usize = 7 * 1024;
const ACCOUNTS: usize = 10;
const SESSIONS: usize = 300;
/// Sessions after which all that is made once has been made.
const FIRST: usize = 50;

#[test]
fn an_idle_session_is_small() {
    let dir = Dir::begun("domain = \"example.org\"\nscram_iterations = 4096\nplain = true\n");
    let server = Server::start(&dir, &[]);
    for n in 0..ACCOUNTS {
        ok(&dir, &["user", "add", &format!("u{n}@example.org"), "--password-stdin"], "a long secret\n");
    }
    let mut begun = 0;
    let mut sessions: Vec<Tls> = Vec::new();
    for n in 0..SESSIONS {
        if n == FIRST {
            begun = server.memory().0;
        }
        let socket = connect_from(&server, "c2s_tls", &format!("127.0.{}.1", n % 200));
        let mut stream = tls(socket, &dir.ca());
        log_in(&mut stream, &format!("u{}", n % ACCOUNTS), "a long secret");
        // So that all its buffers have been in use.
        let space = " ".repeat(2_000);
        stream
            .write_all(format!("<iq type='get' id='long'><ping xmlns='urn:xmpp:ping'>{space}</ping></iq>").as_bytes())
            .unwrap();
        until(&mut stream, "id='long'");
        ping(&mut stream);
        sessions.push(stream);
    }
    let bytes = (server.memory().0 - begun) / (SESSIONS - FIRST);
    assert!(bytes <= BUDGET_BYTES, "{bytes} bytes for an idle session");
    for mut stream in sessions {
        ping(&mut stream);
    }
}
