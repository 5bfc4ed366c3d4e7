//! The command `reset`: a new beginning that asks first and deletes nothing.

#![allow(clippy::unwrap_used)]

mod common;

use common::binary::{Dir, Server, fails, ok, run};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};

/// What is in a folder beside its data folder.
fn beside(dir: &Dir) -> Vec<String> {
    let mut names: Vec<String> =
        std::fs::read_dir(&dir.0).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| name != "data");
    names
}

#[test]
fn a_reset_moves_everything_aside_but_the_settings() {
    let dir = Dir::begun("plain = true");
    ok(&dir, &["user", "add", "juliet"], "");
    let settings = std::fs::read(dir.data().join("inglenook.toml")).unwrap();
    // A line is enough: nobody needs a terminal.
    let said = ok(&dir, &["reset"], "example.org\n");
    let [before] = &beside(&dir)[..] else { panic!("{:?}", beside(&dir)) };
    assert!(before.starts_with("data.before-reset-"), "{before}");
    let before = dir.0.join(before);
    assert!(said.contains(&format!("`rm -r {}`", before.display())), "{said}");
    assert!(said.lines().last().unwrap().contains("inglenook serve --data"), "{said}");
    // What was there is whole.
    let old = run(&dir, &["user", "list", "--data", before.to_str().unwrap()], "");
    assert_eq!((old.code, old.out.as_str()), (0, "juliet@example.org\n"));
    // What is there now is for its user alone, and begins anew, for another domain if one likes.
    let mode = std::fs::metadata(dir.data()).unwrap();
    assert_eq!((mode.permissions().mode() & 0o777, mode.uid()), (0o700, std::fs::metadata(&dir.0).unwrap().uid()));
    assert_eq!(std::fs::read(dir.data().join("inglenook.toml")).unwrap(), settings);
    assert!(
        !dir.data().join("domain").exists() && !dir.data().join("cert").exists() && !dir.data().join("db").exists()
    );
    let server = Server::start(&dir, &["--domain", "example.net"]);
    assert_eq!(ok(&dir, &["user", "list"], ""), "");
    assert!(server.stop().success());
}

#[test]
fn a_reset_that_is_not_confirmed_changes_nothing() {
    let dir = Dir::begun("");
    ok(&dir, &["user", "add", "juliet"], "");
    for answer in ["", "\n", "yes\n", "example.net\n", "example.org.\n", &"example.org".repeat(300)] {
        let error = fails(&dir, &["reset"], answer);
        assert!(error.contains("Type example.org to go on") && error.contains("Nothing was changed"), "{error}");
        assert!(beside(&dir).is_empty());
    }
    assert_eq!(ok(&dir, &["user", "list"], ""), "juliet@example.org\n");
}

#[test]
fn a_server_that_runs_is_not_reset() {
    let dir = Dir::with("");
    let server = Server::start(&dir, &["--domain", "example.org"]);
    ok(&dir, &["user", "add", "juliet"], "");
    let error = fails(&dir, &["reset"], "example.org\n");
    assert!(error.contains("runs on") && !error.contains("to go on"), "{error}");
    assert!(beside(&dir).is_empty());
    assert_eq!(ok(&dir, &["user", "list"], ""), "juliet@example.org\n");
    assert!(server.stop().success());
}

#[test]
fn a_second_reset_keeps_what_the_first_moved_aside() {
    let dir = Dir::begun("");
    for _ in 0..2 {
        std::fs::write(dir.data().join("domain"), "example.org\n").unwrap();
        ok(&dir, &["user", "add", "juliet"], "");
        ok(&dir, &["reset"], "example.org\n");
    }
    assert_eq!(beside(&dir).len(), 2);
}

/// Somebody who is not root.
const USER: u32 = 61_234;

/// Whether we are root, who alone can have folders of other people.
fn is_root() -> bool {
    let is = rustix::process::geteuid().is_root();
    if !is {
        eprintln!("left out: only root can become somebody else");
    }
    is
}

/// The owner of a folder gets no file that only root can read by letting root copy it, and does not make root wait for ever.
#[test]
fn root_copies_only_plain_files_of_somebody_else_s_folder() {
    if !is_root() {
        return;
    }
    for (name, how) in ["inglenook.toml", "written"].iter().flat_map(|name| (0..3).map(move |how| (name, how))) {
        let dir = Dir::begun("");
        let (secret, path) = (dir.0.join("secret"), dir.data().join(name));
        std::fs::write(&secret, "# root's alone").unwrap();
        std::fs::set_permissions(&secret, PermissionsExt::from_mode(0o600)).unwrap();
        let _ = std::fs::remove_file(&path);
        match how {
            0 => std::os::unix::fs::symlink(&secret, &path).unwrap(),
            1 => std::fs::hard_link(&secret, &path).unwrap(),
            _ => assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success()),
        }
        chown(dir.data(), Some(USER), Some(USER)).unwrap();
        let error = fails(&dir, &["reset"], "example.org\n");
        assert!(
            error.contains(&format!("{name} cannot be copied")) && error.contains("Nothing was changed"),
            "{error}"
        );
        assert_eq!(beside(&dir), ["secret"], "{name} {how}");
        assert_eq!(std::fs::metadata(&secret).unwrap().uid(), 0);
    }
}

/// The power fails after the folders have changed their names, and before the old one has its own: nothing is lost, and nothing hidden.
#[test]
fn a_reset_that_was_interrupted_is_finished() {
    let interrupted = || {
        let dir = Dir::begun("");
        ok(&dir, &["user", "add", "juliet"], "");
        std::fs::rename(dir.data(), dir.0.join("data.new-0a1b2c3d")).unwrap();
        dir.settings("");
        // One before that was interrupted earlier: there is nothing in it that anybody misses.
        std::fs::create_dir(dir.0.join("data.new-00000000")).unwrap();
        // Not of our making.
        std::fs::create_dir(dir.0.join("precious")).unwrap();
        std::fs::write(dir.0.join("precious/restoring"), "").unwrap();
        std::os::unix::fs::symlink(dir.0.join("precious"), dir.0.join("data.new-11111111")).unwrap();
        std::fs::create_dir(dir.0.join("data.new-novel")).unwrap();
        dir
    };
    let finished = |dir: &Dir| {
        let names = beside(dir);
        let before: Vec<&String> = names.iter().filter(|name| name.starts_with("data.before-reset-")).collect();
        assert!(!names.iter().any(|name| name.starts_with("data.new-0")), "{names:?}");
        assert!(dir.0.join("precious/restoring").exists() && dir.0.join("data.new-11111111").is_symlink());
        assert!(dir.0.join("data.new-novel").is_dir());
        let lists = before.iter().map(|name| run(dir, &["user", "list", "--data", name], "").out);
        assert!(lists.into_iter().any(|list| list == "juliet@example.org\n"), "{names:?}");
        before.len()
    };
    // Whoever asks for the accounts is told where they are.
    let dir = interrupted();
    assert!(fails(&dir, &["user", "list"], "").contains("data.new-0a1b2c3d"));
    assert!(fails(&dir, &["reset"], "").contains("data.new-0a1b2c3d"));
    let server = Server::start(&dir, &["--domain", "example.net"]);
    server.logs("data.before-reset-");
    assert!(server.stop().success());
    assert_eq!(finished(&dir), 1);
    let dir = interrupted();
    std::fs::write(dir.data().join("domain"), "example.net\n").unwrap();
    ok(&dir, &["reset"], "example.net\n");
    assert_eq!(finished(&dir), 2);
}

/// A restored folder that has its place is whole, whatever was not done any more when the power failed, and no reset makes it less.
#[test]
fn a_restored_folder_is_not_taken_for_a_half_one_after_a_reset() {
    let dir = Dir::begun("");
    ok(&dir, &["user", "add", "juliet"], "");
    std::fs::write(dir.data().join("restoring"), "").unwrap();
    ok(&dir, &["reset"], "example.org\n");
    let [before] = &beside(&dir)[..] else { panic!("{:?}", beside(&dir)) };
    assert!(!dir.0.join(before).join("restoring").exists());
}
