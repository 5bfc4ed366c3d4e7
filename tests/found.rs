//! Which data folder a command is about that was not told, while servers run: the one of a server is found by its process.

#![allow(clippy::unwrap_used)]
#![cfg(target_os = "linux")]

mod common;

use common::binary::{Dir, Server, command, run};
use inglenook::service::owner::find::{Package, Surroundings, existing, flag, start, to_replace};
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::Path;

/// Surroundings in which these processes are all that there are.
fn around(dir: &Dir, servers: &[&Server]) -> Surroundings {
    let processes = dir.0.join("processes");
    std::fs::create_dir_all(&processes).unwrap();
    for server in servers {
        let number = server.child.id().to_string();
        std::os::unix::fs::symlink(Path::new("/proc").join(&number), processes.join(&number)).unwrap();
    }
    Surroundings { state_directory: None, here: dir.0.join("inglenook-data"), packages: Vec::new(), processes }
}

/// By `--data`, whole or from the folder where it was started, by the variable, or by neither.
#[test]
fn the_folder_of_a_server_that_runs_is_found() {
    for how in 0..4 {
        let (dir, elsewhere) = (Dir::with(""), Dir::new());
        let data = dir.data();
        let whole = ["serve", "--domain", "example.org", "--data", data.to_str().unwrap()];
        let words = match how {
            0 => &whole[..],
            1 => &["serve", "--data", "data", "--domain", "example.org"],
            _ => &whole[..3],
        };
        let mut command = command(&dir, words);
        if how == 2 {
            command.env("STATE_DIRECTORY", &data);
        }
        let folder = if how == 3 { dir.0.join("inglenook-data") } else { data.clone() };
        if how == 3 {
            std::fs::rename(&data, &folder).unwrap();
        }
        let server = Server::of(command);
        let around = around(&elsewhere, &[&server]);
        assert_eq!(existing(None, &around).unwrap().dir(), folder, "{how}");
        // When it has ended, nothing is there: a lock that is left over is no server.
        assert!(server.stop().success());
        let error = existing(None, &around).unwrap_err().0;
        assert!(error.contains("there is no data folder"), "{how}: {error}");
    }
}

#[test]
fn a_folder_here_is_not_taken_while_a_server_runs_on_another() {
    let (dir, elsewhere) = (Dir::with(""), Dir::new());
    let server = Server::start(&dir, &["--domain", "example.org"]);
    let around = around(&elsewhere, &[&server]);
    std::fs::create_dir(&around.here).unwrap();
    std::fs::write(around.here.join("domain"), "chat.local\n").unwrap();
    let error = existing(None, &around).unwrap_err().0;
    for part in ["more than one", "of chat.local, no server runs on it", "of example.org, its server runs"] {
        assert!(error.contains(part), "{part}: {error}");
    }
    for folder in [around.here.clone(), dir.data()] {
        assert!(error.contains(&format!("--data {}", folder.display())), "{error}");
        assert_eq!(existing(Some(&folder), &around).unwrap().dir(), folder);
    }
    assert!(server.stop().success());
}

#[test]
fn two_servers_that_run_are_both_named() {
    let (one, other, elsewhere) = (Dir::with(""), Dir::with(""), Dir::new());
    let first = Server::start(&one, &["--domain", "example.org"]);
    let second = Server::start(&other, &["--domain", "example.net"]);
    let error = existing(None, &around(&elsewhere, &[&first, &second])).unwrap_err().0;
    assert!(error.contains("of example.org, its server runs") && error.contains("of example.net"), "{error}");
    assert!(first.stop().success() && second.stop().success());
}

/// Whoever may not look at a server's folder is told that root may, and not that there is none.
#[test]
fn somebody_else_s_server_is_not_overlooked() {
    const USER: u32 = 61_234;
    if !rustix::process::geteuid().is_root() {
        return eprintln!("left out: only root can become somebody else");
    }
    let (dir, elsewhere) = (Dir::with(""), Dir::new());
    // For everybody to run and to enter.
    let copy = elsewhere.0.join("inglenook");
    std::fs::copy(env!("CARGO_BIN_EXE_inglenook"), &copy).unwrap();
    for path in [&elsewhere.0, &copy] {
        std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    }
    let server = Server::start(&dir, &["--domain", "example.org"]);
    let mut command = std::process::Command::new(&copy);
    command.current_dir(&elsewhere.0).env_remove("STATE_DIRECTORY").uid(USER).gid(USER);
    let said = command.args(["user", "remove", "nobody-has-this-name"]).output().unwrap();
    let error = String::from_utf8(said.stderr).unwrap();
    // There may be servers of other people, and of other tests.
    assert!(said.status.code() == Some(1) && !error.contains("there is no data folder"), "{error}");
    assert!(error.contains("sudo") || error.contains("more than one"), "{error}");
    assert!(server.stop().success());
}

fn package(dir: &Path) -> Package {
    Package {
        dir: dir.to_str().unwrap().to_owned().leak(),
        units: &[],
        enabled: &[],
        start: "start",
        stop: "stop",
        reload: "reload",
        revive: "revive",
    }
}

/// Somebody who is neither root nor the user of an installed server.
const STRANGER: u32 = 61_235;

/// Root takes no folder that another user has laid where it looks, by whatever way, and it does not hinder the one that is meant.
#[test]
fn a_folder_that_somebody_else_has_laid_is_not_taken() {
    if !rustix::process::geteuid().is_root() {
        return eprintln!("left out: only root can become somebody else");
    }
    let dir = Dir::new();
    let (planted, installed, roots) = (dir.0.join("planted"), dir.0.join("installed"), dir.0.join("roots"));
    for (folder, user) in [(&planted, STRANGER), (&installed, 61_236), (&roots, 0)] {
        std::fs::create_dir(folder).unwrap();
        std::fs::write(folder.join("domain"), "example.org\n").unwrap();
        chown(folder, Some(user), Some(user)).unwrap();
    }
    let mut around = around(&dir, &[]);
    let package = package(&installed);
    // A folder, a link of the stranger's to what is root's, a link to what is the stranger's.
    for how in 0..3 {
        let link = dir.0.join(format!("here{how}"));
        around.here = if how == 0 { planted.clone() } else { link.clone() };
        if how > 0 {
            let (to, user) = if how == 1 { (&roots, STRANGER) } else { (&planted, 0) };
            std::os::unix::fs::symlink(to, &link).unwrap();
            std::os::unix::fs::lchown(&link, Some(user), Some(user)).unwrap();
        }
        around.packages.clear();
        for error in [existing(None, &around).unwrap_err().0, to_replace(None, &around).unwrap_err().0] {
            let named = format!("--data {} (of user {STRANGER})", around.here.display());
            assert!(error.contains(&named) && error.contains("only if it is named"), "{how}: {error}");
        }
        // One that is named is.
        assert_eq!(existing(Some(&planted), &around).unwrap().dir(), planted);
        // The installed one is taken, whoever has it.
        around.packages = vec![package];
        assert_eq!(existing(None, &around).unwrap().dir(), installed, "{how}");
        assert_eq!(to_replace(None, &around).unwrap().dir(), installed, "{how}");
    }
    // A socket in it is no server that counts.
    let socket = std::os::unix::net::UnixListener::bind(planted.join("control")).unwrap();
    around.here = planted.clone();
    assert_eq!(existing(None, &around).unwrap().dir(), installed);
    drop(socket);
    around.here = roots.clone();
    around.packages.clear();
    assert_eq!(existing(None, &around).unwrap().dir(), roots);
}

/// A process can be called as anybody likes.
#[test]
fn a_server_of_somebody_else_is_named_and_never_taken() {
    if !rustix::process::geteuid().is_root() {
        return eprintln!("left out: only root can become somebody else");
    }
    let (dir, elsewhere) = (Dir::with(""), Dir::new());
    // Root starts it, and it becomes the owner of its folder.
    chown(dir.data(), Some(STRANGER), Some(STRANGER)).unwrap();
    let server = Server::start(&dir, &["--domain", "example.org"]);
    let mut around = around(&elsewhere, &[&server]);
    let named = format!("--data {} (of user {STRANGER})", dir.data().display());
    for error in [existing(None, &around).unwrap_err().0, to_replace(None, &around).unwrap_err().0] {
        assert!(error.contains(&named), "{error}");
    }
    std::fs::create_dir(&around.here).unwrap();
    std::fs::write(around.here.join("domain"), "chat.local\n").unwrap();
    assert_eq!(existing(None, &around).unwrap().dir(), around.here);
    // It is that of the installed server.
    std::fs::remove_dir_all(&around.here).unwrap();
    let package = package(&dir.data());
    around.packages = vec![package];
    assert_eq!(existing(None, &around).unwrap().dir(), dir.data());
    assert!(server.stop().success());
}

#[test]
fn what_is_to_be_typed_names_the_folder() {
    assert_eq!(flag(Path::new("inglenook-data")), "");
    assert_eq!(flag(Path::new("/srv/chat")), " --data /srv/chat");
    assert_eq!(start(Path::new("/srv/chat")), "inglenook serve --data /srv/chat");
    assert_eq!(run(&Dir::new(), &["config"], "").code, 0, "needs no folder");
}
