//! `inglenook setup`: what is asked, what is written, and that nothing is before the last answer. How it installs the server is tried
//! with a real systemd, by `tests/setup/run`.

#![allow(clippy::unwrap_used)]

mod common;

use common::binary::{Dir, Server, command, fails, ok, run};
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

/// `setup` on a folder, with these answers, up to the greeting of the server that it runs then.
fn set_up(dir: &Dir, answers: &str) -> Server {
    let data = dir.data();
    let mut command = command(dir, &["setup", "--data", data.to_str().unwrap()]);
    let (read, mut write) = std::io::pipe().unwrap();
    command.stdin(Stdio::from(read));
    let answers = answers.to_owned();
    // It may be more than a pipe holds; who does not read all of it has had enough.
    std::thread::spawn(move || drop(write.write_all(answers.as_bytes())));
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
fn settings_are_kept_where_they_are() {
    let dir = Dir::with("");
    let (place, link) = (dir.0.join("elsewhere.toml"), dir.data().join("inglenook.toml"));
    std::fs::rename(&link, &place).unwrap();
    std::os::unix::fs::symlink(&place, &link).unwrap();
    std::fs::set_permissions(&place, PermissionsExt::from_mode(0o640)).unwrap();
    drop(set_up(&dir, "workshop.test\n\n\n"));
    assert!(link.is_symlink());
    assert!(std::fs::read_to_string(&place).unwrap().starts_with("domain = \"workshop.test\"\n"));
    assert_eq!(place.metadata().unwrap().permissions().mode() & 0o777, 0o640);
}

#[test]
fn an_answer_that_is_too_long_is_none() {
    let dir = Dir::with("");
    let long = "a".repeat(100_000);
    let server = set_up(&dir, &format!("{long}.evil.test\nworkshop.test\n\n{long}\n\n"));
    let greeting = server.greeting.join("\n");
    assert_eq!(greeting.matches("too long").count(), 2, "{greeting}");
    assert!(greeting.contains("serves workshop.test"), "{greeting}");
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
