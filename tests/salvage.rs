//! The real binary on a data folder that is damaged: it starts with what is whole, or says in one line what to do; and `salvage`.

#![allow(clippy::unwrap_used)]

mod common;

use common::binary::{Dir, LONG, Server, command, fails, login, ok, ping, run, until};
use common::files::files;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

const PASSWORD: &str = "a long password";

/// Nobody else.
#[cfg(target_os = "linux")]
const USER: u32 = 54_321;

/// A house with people, contacts, a picture, a message that waits, and settings.
fn house(killed: bool) -> Dir {
    let dir = Dir::begun("domain = \"example.org\"\nplain = true\nscram_iterations = 4096");
    let server = Server::start(&dir, &[]);
    for n in 0..12 {
        ok(&dir, &["user", "add", &format!("person{n:02}"), "--password-stdin"], PASSWORD);
    }
    let mut romeo = login(&server, &dir, "person03", PASSWORD);
    for n in 0..12 {
        let set = format!(
            "<iq type='set' id='r{n}'><query xmlns='jabber:iq:roster'><item jid='person{n:02}@example.org'/></query></iq>"
        );
        romeo.write_all(set.as_bytes()).unwrap();
        until(&mut romeo, &format!("id='r{n}'"));
    }
    let notes = "note ".repeat(4000);
    let notes = format!(
        "<iq type='set' id='notes'><query xmlns='jabber:iq:private'><notes xmlns='urn:example:notes'>{notes}</notes></query></iq>"
    );
    romeo.write_all(notes.as_bytes()).unwrap();
    until(&mut romeo, "id='notes'");
    let message = "<message type='chat' to='person05@example.org'><body>it waits</body></message>";
    romeo.write_all(message.as_bytes()).unwrap();
    romeo
        .write_all(
            b"<iq type='set' id='last'><query xmlns='jabber:iq:roster'><item jid='last@example.org'/></query></iq>",
        )
        .unwrap();
    until(&mut romeo, "id='last'");
    drop(romeo);
    match killed {
        true => server.kill(),
        false => assert!(server.stop().success()),
    }
    dir
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    std::fs::set_permissions(to, PermissionsExt::from_mode(0o700)).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let to = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &to);
        } else if path.is_file() {
            std::fs::copy(&path, &to).unwrap();
        }
    }
}

/// What a start came to: the server, or what it said when it ended.
fn start(dir: &Dir, as_user: bool) -> Result<Server, Vec<String>> {
    let mut command = command(dir, &["serve", "--data", dir.data().to_str().unwrap()]);
    if as_user {
        become_user(&mut command, dir);
    }
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut errors = child.stderr.take().unwrap();
    let (said, log) = std::sync::mpsc::channel();
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        for line in BufReader::new(errors.by_ref()).lines().map_while(Result::ok) {
            let _ = said.send(line.clone());
            text.push_str(&line);
            text.push('\n');
        }
        text
    });
    let (greeted, greeting) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let (mut lines, mut line) = (Vec::new(), String::new());
        while out.read_line(&mut line).is_ok_and(|n| n > 0) {
            let last = line.starts_with("next ");
            lines.push(std::mem::take(&mut line).trim_end().to_owned());
            if last {
                return greeted.send(Some(lines));
            }
        }
        greeted.send(None)
    });
    match greeting.recv_timeout(LONG).expect("neither a greeting nor an end: it hangs") {
        Some(greeting) => Ok(Server { child, greeting, log: std::sync::Mutex::new(log) }),
        None => {
            assert_eq!(child.wait().unwrap().code(), Some(1), "it ends by itself");
            Err(reader.join().unwrap().lines().map(str::to_owned).collect())
        }
    }
}

#[cfg(target_os = "linux")]
fn become_user(command: &mut std::process::Command, dir: &Dir) {
    use std::os::unix::fs::chown;
    use std::os::unix::process::CommandExt;
    fn give(path: &Path) {
        chown(path, Some(USER), Some(USER)).unwrap();
        if path.is_dir() {
            std::fs::read_dir(path).unwrap().for_each(|entry| give(&entry.unwrap().path()));
        }
    }
    give(&dir.0);
    command.uid(USER).gid(USER);
}

#[cfg(not(target_os = "linux"))]
fn become_user(_: &mut std::process::Command, _: &Dir) {}

/// One line that says what to do.
fn says_what_to_do(lines: &[String]) -> bool {
    let last: Vec<&String> = lines.iter().filter(|line| line.starts_with("inglenook: ")).collect();
    let helps = [
        "Fix:",
        "salvage",
        "restore",
        "Run as",
        "ut the file back",
        "ut it back",
        "ut it in straight quotes",
        "Choose",
        "chown",
        "ake room",
        "emove",
        "ename",
        "Say ",
        "must hold",
        "must be",
        "did you mean",
        " into it",
        "ove what stands",
    ];
    last.len() == 1 && lines.last() == Some(last[0]) && helps.iter().any(|word| last[0].contains(word))
}

type Damage = (&'static str, fn(&Path));

/// Every way to hurt a file.
fn damages() -> Vec<Damage> {
    fn change(path: &Path, how: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = std::fs::read(path).unwrap();
        how(&mut bytes);
        std::fs::write(path, bytes).unwrap();
    }
    vec![
        ("cut in half", |path| change(path, |bytes| bytes.truncate(bytes.len() / 2))),
        ("a bit", |path| {
            change(path, |bytes| {
                let written: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at] != 0).collect();
                if let Some(at) = written.get(written.len() / 2) {
                    bytes[*at] ^= 4;
                }
            });
        }),
        ("the first bit", |path| change(path, |bytes| bytes.iter_mut().take(1).for_each(|byte| *byte ^= 1))),
        ("empty", |path| change(path, Vec::clear)),
        ("gone", |path| std::fs::remove_file(path).unwrap()),
        ("a folder", |path| {
            std::fs::remove_file(path).unwrap();
            std::fs::create_dir(path).unwrap();
        }),
        ("unreadable", |path| std::fs::set_permissions(path, PermissionsExt::from_mode(0o000)).unwrap()),
    ]
}

/// Whatever happens to a file: the server starts, and somebody can log in, or it says in one line what to do.
fn every_file_and_every_damage(killed: bool) {
    let whole = house(killed);
    let names: Vec<PathBuf> =
        files(&whole.data()).into_keys().map(|path| path.strip_prefix(whole.data()).unwrap().to_owned()).collect();
    assert!(names.len() > 12, "{names:?}");
    let is_root = std::fs::metadata("/proc/self").is_ok_and(|meta| std::os::unix::fs::MetadataExt::uid(&meta) == 0);
    let (mut started, mut refused, mut wrong) = (0, 0, Vec::new());
    for name in &names {
        for (what, damage) in damages() {
            if name.ends_with("inglenook.toml") && ["empty", "gone", "cut in half"].contains(&what) {
                // No settings: that is the usual thing, on ports that may be taken here.
                continue;
            }
            let dir = Dir::new();
            copy(&whole.data(), &dir.data());
            let as_user = is_root && what == "unreadable";
            damage(&dir.data().join(name));
            let begun = Instant::now();
            match start(&dir, as_user) {
                Ok(server) => {
                    // Without its settings it may take no passwords in the clear.
                    if !name.ends_with("inglenook.toml") {
                        ping(&mut login(&server, &dir, "person07", PASSWORD));
                    }
                    if !server.stop().success() {
                        wrong.push(format!("{} {what}: it does not stop in order", name.display()));
                    }
                    started += 1;
                }
                Err(lines) if says_what_to_do(&lines) => refused += 1,
                Err(lines) => wrong.push(format!("{} {what}: {}", name.display(), lines.join(" | "))),
            }
            if begun.elapsed() > Duration::from_secs(30) {
                wrong.push(format!("{} {what}: it took {:?}", name.display(), begun.elapsed()));
            }
        }
    }
    assert!(wrong.is_empty(), "{started} started, {refused} refused, wrong: {}", wrong.join("\n"));
    assert!(started > names.len() && refused > 0, "{started} started, {refused} refused");
}

#[test]
fn whatever_is_damaged_after_a_close_it_starts_or_says_what_to_do() {
    every_file_and_every_damage(false);
}

#[test]
fn whatever_is_damaged_after_a_kill_it_starts_or_says_what_to_do() {
    every_file_and_every_damage(true);
}

/// One bit of the database: what is salvaged is served.
#[test]
fn a_damaged_database_is_salvaged() {
    let whole = house(false);
    let db = Path::new("db/sled/db");
    let bytes = std::fs::read(whole.data().join(db)).unwrap();
    let used: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at] != 0).collect();
    let mut refused = 0;
    for part in 1..12 {
        let dir = Dir::new();
        copy(&whole.data(), &dir.data());
        let mut bad = bytes.clone();
        bad[used[used.len() * part / 12]] ^= 1 << (part % 8);
        std::fs::write(dir.data().join(db), &bad).unwrap();
        let Err(lines) = start(&dir, false) else { continue };
        refused += 1;
        let told = lines.last().unwrap();
        assert!(told.contains(&format!("`inglenook salvage {}`", dir.data().display())), "{told}");
        let before = files(&dir.data());
        let said = run(&dir, &["salvage", "data"], "");
        assert_eq!(said.code, 0, "{}{}", said.out, said.err);
        let same =
            |(path, bytes): (&PathBuf, &Vec<u8>)| path.ends_with("lock") || std::fs::read(path).unwrap() == *bytes;
        assert!(before.iter().all(same), "the damaged folder is changed");
        // What it says helps.
        let next = said.out.lines().find_map(|line| line.strip_prefix("next         ")).unwrap();
        assert!(next.starts_with("mv data data.damaged && mv data.salvaged data"), "{next}");
        std::fs::rename(dir.data(), dir.0.join("data.damaged")).unwrap();
        std::fs::rename(dir.0.join("data.salvaged"), dir.data()).unwrap();
        let server = start(&dir, false).unwrap_or_else(|lines| panic!("{lines:?}"));
        let kept = ok(&dir, &["user", "list"], "").lines().count();
        assert!(kept >= 10 || said.out.contains("accounts"), "{kept} accounts: {}", said.out);
        for name in ["person02", "person09"] {
            if ok(&dir, &["user", "list"], "").contains(name) {
                login(&server, &dir, name, PASSWORD);
            } else {
                assert!(said.out.contains("lost         "), "{}", said.out);
            }
        }
        assert!(server.stop().success());
        assert!(ok(&dir, &["check"], "").contains("ok     database: all of it can be read"));
    }
    assert!(refused > 0, "no damage was seen");
}

/// The installed service's folder is a link into one that only root enters (`DynamicUser=` of systemd): what is to be typed moves the
/// folder, and the link stays. With a slash behind it, too.
#[test]
fn the_folder_behind_a_link_is_salvaged() {
    for named in ["link", "link/", "link/.", "private/../link"] {
        let dir = Dir::begun("plain = true");
        ok(&dir, &["user", "add", "juliet"], "");
        std::fs::create_dir(dir.0.join("private")).unwrap();
        std::fs::rename(dir.data(), dir.0.join("private/inglenook")).unwrap();
        std::os::unix::fs::symlink("private/inglenook", dir.0.join("link")).unwrap();
        let said = run(&dir, &["salvage", named], "");
        assert_eq!(said.code, 0, "{named}: {}", said.err);
        let next = said.out.lines().find_map(|line| line.strip_prefix("next         ")).unwrap();
        let real = dir.0.canonicalize().unwrap().join("private/inglenook");
        let real = real.display();
        assert!(next.starts_with(&format!("mv {real} {real}.damaged && mv {real}.salvaged {real} && ")), "{next}");
        assert!(next.ends_with(&format!("inglenook serve --data {real}")), "{next}");
        // As it is to be typed, up to what needs the program.
        let (moves, _) = next.split_once(" && inglenook").unwrap();
        assert!(std::process::Command::new("sh").args(["-c", moves]).status().unwrap().success());
        assert!(dir.0.join("link").is_symlink());
        assert_eq!(run(&dir, &["user", "list", "--data", "link"], "").out, "juliet@example.org\n");
    }
}

/// What is no file in the place of one is lost, and nobody waits for it.
#[test]
fn what_is_no_plain_file_is_lost_and_not_waited_for() {
    let dir = house(false);
    std::fs::write(dir.0.join("secret"), "somebody else's").unwrap();
    let (settings, key) = (dir.data().join("inglenook.toml"), dir.data().join("cert/ca.key"));
    std::fs::remove_file(&settings).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(&settings).status().unwrap().success());
    std::fs::remove_file(&key).unwrap();
    std::os::unix::fs::symlink(dir.0.join("secret"), &key).unwrap();
    let from = dir.data();
    let mut command = std::process::Command::new("timeout");
    command.args(["60", env!("CARGO_BIN_EXE_inglenook"), "salvage", from.to_str().unwrap()]);
    let said = command.output().unwrap();
    let out = String::from_utf8(said.stdout).unwrap();
    assert_eq!(said.status.code(), Some(0), "{out}");
    for name in ["inglenook.toml", "ca.key"] {
        assert!(out.contains(&format!("{name}: it cannot be read")), "{out}");
    }
    let made = std::path::PathBuf::from(format!("{}.salvaged", from.display()));
    assert!(!made.join("inglenook.toml").exists() && !made.join("cert/ca.key").exists());
}

#[test]
fn salvage_needs_something_and_overwrites_nothing() {
    let dir = house(true);
    assert!(run(&dir, &["salvage", "nowhere"], "").err.contains("cannot be read"));
    std::fs::create_dir(dir.0.join("empty")).unwrap();
    assert!(run(&dir, &["salvage", "empty"], "").err.contains("holds no data of inglenook"));
    std::fs::create_dir(dir.0.join("there")).unwrap();
    std::fs::write(dir.0.join("there/file"), "precious").unwrap();
    assert!(run(&dir, &["salvage", "data", "--to", "there"], "").err.contains("is not overwritten"));
    let said = run(&dir, &["salvage", "data", "--to", "new"], "");
    assert_eq!(said.code, 0, "{}{}", said.out, said.err);
    assert!(said.out.contains("lost         nothing"), "{}", said.out);
    // A server has it: then it is not touched.
    let server = Server::start(&dir, &[]);
    let said = run(&dir, &["salvage", "data"], "");
    assert!(said.code == 1 && said.err.contains("runs on"), "{}{}", said.out, said.err);
    assert!(server.stop().success());
}

/// A damaged value costs that value: it is said at the start and by `check`.
#[test]
fn a_damaged_value_costs_itself() {
    for gone in [false, true] {
        for killed in [false, true] {
            let dir = house(killed);
            let (path, mut bytes) = files(&dir.data().join("db/large")).pop_first().unwrap();
            bytes[100] ^= 1;
            if gone {
                std::fs::remove_file(&path).unwrap()
            } else {
                std::fs::write(&path, bytes).unwrap()
            }
            let server = start(&dir, false).unwrap_or_else(|lines| panic!("{lines:?}"));
            let line = server.logs(path.to_str().unwrap());
            assert!(
                line.contains("person03") && line.contains("All else is served") || line.contains("all else is served"),
                "{line}"
            );
            let mut romeo = login(&server, &dir, "person03", PASSWORD);
            let get = "<iq type='get' id='got'><query xmlns='jabber:iq:private'><notes xmlns='urn:example:notes'/></query></iq>";
            romeo.write_all(get.as_bytes()).unwrap();
            let got = until(&mut romeo, "</iq>");
            assert!(got.contains("type='result'") && !got.contains("note note"), "{got}");
            assert!(server.stop().success());
            let said = fails(&dir, &["check"], "");
            assert!(said.contains("one thing is wrong"), "{said}");
            let said = run(&dir, &["check", "--data", "data"], "");
            assert!(said.out.contains("WRONG  database: ") && said.out.contains("person03"), "{}", said.out);
            // A new one heals it.
            let server = start(&dir, false).unwrap_or_else(|lines| panic!("{lines:?}"));
            let mut romeo = login(&server, &dir, "person03", PASSWORD);
            let set = get.replace("type='get' id='got'", "type='set' id='new'");
            romeo.write_all(set.as_bytes()).unwrap();
            until(&mut romeo, "id='new'");
            drop(romeo);
            assert!(server.stop().success());
            ok(&dir, &["check"], "");
        }
    }
}

/// Without threads it says so.
#[test]
#[cfg(target_os = "linux")]
fn a_start_without_threads_ends_with_a_line() {
    use std::os::unix::process::CommandExt;
    for (words, killed) in [(&["serve"][..], false), (&["serve"], true), (&["user", "list"], true)] {
        let dir = house(killed);
        for limit in [2, 3] {
            let data = dir.data();
            let inner = command(&dir, &[words, &["--data", data.to_str().unwrap()]].concat());
            let mut outer = std::process::Command::new("sh");
            outer
                .args(["-c", &format!("ulimit -u {limit} 2>/dev/null || ulimit -p {limit}; exec \"$0\" \"$@\"")])
                .arg(inner.get_program())
                .args(inner.get_args());
            outer.current_dir(&dir.0).env_remove("STATE_DIRECTORY").stderr(Stdio::piped()).stdout(Stdio::null());
            if std::fs::metadata("/proc/self").is_ok_and(|meta| std::os::unix::fs::MetadataExt::uid(&meta) == 0) {
                become_user(&mut outer, &dir);
            }
            let mut child = outer.process_group(0).spawn().unwrap();
            let begun = Instant::now();
            while child.try_wait().unwrap().is_none() {
                assert!(begun.elapsed() < Duration::from_secs(20), "it hangs: {words:?} {limit}");
                std::thread::sleep(Duration::from_millis(20));
            }
            let mut said = String::new();
            child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
            assert_eq!(child.wait().unwrap().code(), Some(1), "{said}");
            assert!(said.lines().last().unwrap().contains("threads") && said.contains("TasksMax"), "{said}");
        }
    }
}
