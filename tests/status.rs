//! The real binary's `status`, and that nothing is written when nothing happens. `INGLENOOK_IDLE_SECONDS` says for how long that is
//! watched.
#![allow(clippy::unwrap_used, clippy::print_stderr)]
#![cfg(target_os = "linux")]

mod common;

use common::binary::{Dir, Server, login, ok, ping};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

/// What a line of `status` says.
fn says(status: &str, name: &str) -> String {
    let line = status.lines().find(|line| line.split(' ').next() == Some(name));
    line.unwrap_or_else(|| panic!("no {name} in\n{status}"))[name.len()..].trim().to_owned()
}

#[test]
fn status_tells_people_messages_and_what_was_written() {
    let dir = Dir::begun("plain = true\ncard_writes_gb = 16000");
    assert!(ok(&dir, &["status"], "").contains("none yet"));
    let server = Server::start(&dir, &[]);
    for name in ["juliet", "romeo"] {
        ok(&dir, &["user", "add", name, "--password-stdin"], "capulet house\n");
    }
    let mut romeo = login(&server, &dir, "romeo", "capulet house");
    for n in 0..3 {
        let message = format!("<message type='chat' to='juliet@example.org'><body>{n}</body></message>");
        romeo.write_all(message.as_bytes()).unwrap();
    }
    ping(&mut romeo);
    // When that is stored, so is what was sent before.
    ok(&dir, &["user", "add", "nurse"], "");
    let status = ok(&dir, &["status"], "");
    assert_eq!(says(&status, "domain"), "example.org");
    assert!(says(&status, "server").starts_with("runs for "), "{status}");
    assert_eq!(says(&status, "sessions"), "1 connected, 0 may come back");
    assert_eq!(says(&status, "accounts"), "3");
    assert!(says(&status, "messages").starts_with("3 wait for people who are offline, "), "{status}");
    let written = says(&status, "written");
    assert!(written.starts_with("today ") && written.contains(" syncs") && !written.contains(" 0 B"), "{status}");
    assert!(status.contains(" bytes for each of the "), "{status}");
    assert!(says(&status, "card").contains("% of 16.0 TB"), "{status}");
    let certificate = says(&status, "certificate");
    assert!(certificate.starts_with("until 20") && certificate.contains("ask everybody again"), "{status}");
    drop(romeo);
    assert!(server.stop().success());
    // It is known without a server, and by the next one.
    let book = std::fs::read_to_string(dir.data().join("written")).unwrap();
    let bytes: u64 = says(&book, "bytes").parse().unwrap();
    assert!(bytes > 0 && says(&book, "syncs").parse::<u64>().unwrap() > 0, "{book}");
    let status = ok(&dir, &["status"], "");
    assert_eq!(says(&status, "server"), "it does not run");
    assert_eq!(says(&status, "accounts"), "3");
    assert!(says(&status, "messages").starts_with("3 wait"), "{status}");
    let server = Server::start(&dir, &[]);
    assert!(server.stop().success());
    let book = std::fs::read_to_string(dir.data().join("written")).unwrap();
    assert!(says(&book, "bytes").parse::<u64>().unwrap() > bytes, "{book}");
}

/// When each file and folder of the data was changed last.
fn changed(dir: &Dir) -> BTreeMap<PathBuf, (SystemTime, u64)> {
    let mut found = BTreeMap::new();
    let mut paths = vec![dir.data()];
    while let Some(path) = paths.pop() {
        let meta = path.symlink_metadata().unwrap();
        if meta.is_dir() {
            paths.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
        found.insert(path, (meta.modified().unwrap(), meta.len()));
    }
    found
}

/// What the system says the server has written to disks.
fn written(server: &Server) -> u64 {
    let io = std::fs::read_to_string(format!("/proc/{}/io", server.child.id())).unwrap();
    io.lines().find_map(|line| line.strip_prefix("write_bytes: ")).unwrap().parse().unwrap()
}

#[test]
fn nothing_is_written_when_nothing_happens() {
    let seconds = std::env::var("INGLENOOK_IDLE_SECONDS").ok().and_then(|n| n.parse().ok()).unwrap_or(10);
    let dir = Dir::begun("plain = true\ndomain = \"example.org\"");
    let server = Server::start(&dir, &[]);
    ok(&dir, &["user", "add", "juliet", "--password-stdin"], "capulet house\n");
    let mut juliet = login(&server, &dir, "juliet", "capulet house");
    ping(&mut juliet);
    // What the login was worth is committed.
    let mut before = (written(&server), changed(&dir));
    let begun = Instant::now();
    loop {
        std::thread::sleep(Duration::from_secs(1));
        let now = (written(&server), changed(&dir));
        if std::mem::replace(&mut before, now.clone()) == now {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "it does not come to rest");
    }
    assert!(before.0 > 0, "the system counts");
    std::thread::sleep(Duration::from_secs(seconds));
    assert_eq!((written(&server), changed(&dir)), before, "within {seconds} seconds");
    // Nor does a look at it.
    assert_eq!(says(&ok(&dir, &["status"], ""), "sessions"), "1 connected, 0 may come back");
    assert_eq!((written(&server), changed(&dir)), before);
    // It is alive, and would be seen to write.
    ping(&mut juliet);
    ok(&dir, &["user", "add", "romeo"], "");
    assert!(written(&server) > before.0);
    assert!(server.stop().success());
}
