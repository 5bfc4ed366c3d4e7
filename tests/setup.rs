//! `inglenook setup`: what is asked, what is written, and that nothing is before the last answer. How it installs the server is tried
//! with a real systemd, by `tests/setup/run`.

#![allow(clippy::unwrap_used)]

mod common;

use common::binary::{Dir, Server, command, fails, ok, run};
use std::io::Write;
use std::net::TcpListener;
use std::process::Stdio;

/// `setup` on a folder, with these answers, up to the greeting of the server that it runs then.
fn set_up(dir: &Dir, answers: &str) -> Server {
    let data = dir.data();
    let mut command = command(dir, &["setup", "--data", data.to_str().unwrap()]);
    let (read, mut write) = std::io::pipe().unwrap();
    write.write_all(answers.as_bytes()).unwrap();
    command.stdin(Stdio::from(read));
    Server::of(command)
}

fn settings(dir: &Dir) -> String {
    std::fs::read_to_string(dir.data().join("inglenook.toml")).unwrap()
}

#[test]
fn a_domain_is_asked_for_looked_up_and_served() {
    let dir = Dir::with("# Ours.");
    let before = settings(&dir);
    // One that can be none, one that no name service leads to, and the latter all the same.
    let server = set_up(&dir, "box_1\nworkshop.test\n\nThe \"Mill\"\n");
    let greeting = server.greeting.join("\n");
    assert!(greeting.contains("Take box-1.") && greeting.contains("leads to workshop.test"), "{greeting}");
    assert_eq!(greeting.matches("leads to workshop.test").count(), 1, "{greeting}");
    assert!(greeting.contains("serves workshop.test"), "{greeting}");
    let with_name = before.replace("[house]\n", "[house]\nname = \"The \\\"Mill\\\"\"\n");
    assert_ne!(with_name, before);
    assert_eq!(settings(&dir), format!("domain = \"workshop.test\"\n{with_name}"));
    server.stop();
    ok(&dir, &["user", "add", "juliet"], "");
    let server = set_up(&dir, "");
    let greeting = server.greeting.join("\n");
    assert!(greeting.contains("stays workshop.test: 1 account belongs to it"), "{greeting}");
    assert!(server.greeting.last().unwrap().contains("inglenook invite"), "{greeting}");
}

#[test]
fn nothing_is_changed_before_the_last_answer() {
    let dir = Dir::new();
    for answers in ["", "workshop.test\n", "box_1\n", "workshop.test\n\n"] {
        let told = fails(&dir, &["setup"], answers);
        assert!(told.contains("standard input has ended"), "{answers:?}: {told}");
        assert!(!dir.data().exists(), "{answers:?}");
    }
}

#[test]
fn a_port_that_another_program_has_is_told_before_anything_is_changed() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let dir = Dir::new();
    std::fs::create_dir_all(dir.data()).unwrap();
    let text = format!("[listen]\nc2s = [\"{}\"]\nc2s_tls = []\n", taken.local_addr().unwrap());
    std::fs::write(dir.data().join("inglenook.toml"), &text).unwrap();
    let told = fails(&dir, &["setup"], "workshop.test\n\n\n");
    assert!(told.contains("Another program listens there") && told.contains("Nothing was changed"), "{told}");
    assert_eq!(settings(&dir), text);
}

#[test]
fn settings_that_are_wrong_are_not_written_over() {
    let dir = Dir::with("plian = true");
    let before = settings(&dir);
    assert!(fails(&dir, &["setup"], "workshop.test\n\n\n").contains("\"plain\""));
    assert_eq!(settings(&dir), before);
}

#[test]
fn a_running_server_is_not_set_up_behind_its_back() {
    let dir = Dir::begun("");
    let server = Server::start(&dir, &[]);
    let before = settings(&dir);
    let told = fails(&dir, &["setup"], "workshop.test\n\n\n");
    assert!(told.contains("End it") && told.contains("Nothing was changed"), "{told}");
    assert_eq!(settings(&dir), before);
    server.stop();
    let said = run(&dir, &["setup", "--sing"], "");
    assert_eq!(said.code, 2);
}
