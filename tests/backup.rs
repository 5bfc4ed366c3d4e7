//! The real binary's `backup` and `restore`: while messages flow, with a full disk, with damaged files, and killed at any moment.
//! `INGLENOOK_KILLS` says how often.
#![allow(clippy::unwrap_used, clippy::print_stderr)]
#![cfg(target_os = "linux")]

mod common;

use common::Random;
use common::binary::{Dir, Server, Tls, command, fails, login, ok, ping, run, until};
use common::disk::Disk;
use common::files::all_below;
use inglenook::service::owner::restore;
use inglenook::service::serve::Options;
use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const PASSWORD: &str = "capulet house";

fn add(dir: &Dir, name: &str) {
    ok(dir, &["user", "add", name, "--password-stdin"], &format!("{PASSWORD}\n"));
}

/// A folder with settings, these accounts, and no server.
fn house(names: &[&str]) -> Dir {
    let dir = Dir::begun("plain = true\ndomain = \"example.org\"");
    ok(&dir, &["cert", "renew"], "");
    names.iter().for_each(|name| add(&dir, name));
    dir
}

fn path(dir: &Dir, name: &str) -> String {
    dir.0.join(name).to_str().unwrap().to_owned()
}

fn say(stream: &mut Tls, text: &str) {
    stream.write_all(text.as_bytes()).unwrap();
}

fn message(to: &str, text: &str) -> String {
    format!("<message type='chat' to='{to}@example.org'><body>{text}</body></message>")
}

/// The files below a folder, with what is in them.
fn tree(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.file_name().is_none_or(|name| name != "lock") {
                files.insert(path.clone(), std::fs::read(path).unwrap());
            }
        }
    }
    files
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let to = to.join(path.file_name().unwrap());
        if path.is_dir() { copy(&path, &to) } else { assert!(std::fs::copy(&path, &to).is_ok()) }
    }
}

/// What lies beside the data folder, from restores.
fn beside(dir: &Dir, part: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(&dir.0).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with(&format!("data{part}"))).collect()
}

#[test]
fn a_backup_brings_everything_back() {
    let dir = house(&["juliet", "romeo"]);
    let server = Server::start(&dir, &[]);
    let mut romeo = login(&server, &dir, "romeo", PASSWORD);
    say(&mut romeo, &message("juliet", "wherefore"));
    // One that is too large for a row.
    say(&mut romeo, &message("juliet", &"x".repeat(100_000)));
    ping(&mut romeo);
    // What the core had for storage is before what this asks it.
    add(&dir, "nurse");
    let file = path(&dir, "one.backup");
    let said = ok(&dir, &["backup", &file], "");
    assert!(said.contains("all of it was read back") && said.contains("secret"), "{said}");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!Path::new(&path(&dir, "one.backup.new")).exists());
    let before = std::fs::read(&file).unwrap();
    assert!(fails(&dir, &["backup", &file], "").contains("is there already"));
    assert_eq!(std::fs::read(&file).unwrap(), before);
    assert!(fails(&dir, &["backup", &path(&dir, "no/such/folder")], "").contains("Make the folder first"));
    assert!(fails(&dir, &["restore", &file], "").contains("runs on"));
    assert!(server.stop().success());
    // The same without a server.
    let second = path(&dir, "two.backup");
    ok(&dir, &["backup", &second], "");

    for file in [file, second] {
        // On another box: nothing is there, or a folder with settings of its own.
        let mut other = Dir::new();
        let said = ok(&other, &["restore", &file], "");
        assert!(said.contains("restored") && said.contains("example.org") && !said.contains("before "), "{said}");
        assert_eq!(ok(&other, &["user", "list"], ""), "juliet@example.org\nnurse@example.org\nromeo@example.org\n");
        for (path, content) in tree(&dir.data().join("cert")) {
            let name = path.strip_prefix(dir.data()).unwrap();
            assert_eq!(std::fs::read(other.data().join(name)).unwrap(), content, "{}", name.display());
        }
        for path in tree(&other.data()).keys() {
            assert_eq!(std::fs::metadata(path).unwrap().permissions().mode() & 0o077, 0, "{}", path.display());
        }
        let server = Server::start(&other, &[]);
        let mut juliet = login(&server, &other, "juliet", PASSWORD);
        let came = until(&mut juliet, "xxx</body>");
        assert!(came.contains("<body>wherefore</body>") && came.contains(&"x".repeat(100_000)));
        drop(juliet);
        assert!(server.stop().success());
        // Again, over what is there now.
        let said = ok(&other, &["restore", &file], "");
        let kept = beside(&other, ".before-restore-");
        assert_eq!(kept.len(), 1);
        assert!(said.contains(kept[0].to_str().unwrap()), "{said}");
        assert_eq!(beside(&other, ".new").len(), 0);
        assert!(!other.data().join("restoring").exists());
        // The other folder is the old data, and works.
        other.0.push("aside");
        std::fs::create_dir(&other.0).unwrap();
        std::fs::rename(&kept[0], other.data()).unwrap();
        assert!(ok(&other, &["user", "list"], "").contains("nurse"));
        other.0.pop();
    }
}

#[test]
fn what_does_not_fit_is_refused_and_nothing_changes() {
    let dir = house(&["juliet"]);
    let file = path(&dir, "a.backup");
    ok(&dir, &["backup", &file], "");
    let old = house(&["tybalt"]);
    let before = tree(&old.data());
    let refused = |words: &[&str], why: &str| {
        let said = fails(&old, words, "");
        assert!(said.contains(why), "{why}: {said}");
        assert_eq!(tree(&old.data()), before, "{why}");
        assert_eq!(beside(&old, ".").len(), 0, "{why}");
    };
    refused(&["restore", &path(&dir, "missing")], "cannot be read");
    refused(&["restore", &file, "--domain", "example.net"], "--domain says example.net");
    let good = std::fs::read(&file).unwrap();
    let bad = path(&dir, "bad.backup");
    let mut random = Random::new(7);
    for _ in 0..30 {
        let (at, cut) = (random.below(good.len()), random.below(good.len()));
        let mut bytes = good.clone();
        bytes[at] ^= 1 << random.below(8);
        std::fs::write(&bad, bytes).unwrap();
        refused(&["restore", &bad], "damaged");
        std::fs::write(&bad, &good[..cut]).unwrap();
        refused(&["restore", &bad], "damaged");
    }
    std::fs::write(&bad, "not one").unwrap();
    refused(&["restore", &bad], "not a backup");
    // A folder of somebody else.
    let other = Dir::new();
    std::fs::create_dir(other.data()).unwrap();
    std::fs::write(other.data().join("novel.txt"), "It was a dark and stormy night").unwrap();
    assert!(fails(&other, &["restore", &file], "").contains("something else"));
    assert_eq!(tree(&other.data()).len(), 1);
    // Data of another domain, and settings that say another.
    let foreign = Dir::with("");
    std::fs::write(foreign.data().join("domain"), "example.net\n").unwrap();
    ok(&foreign, &["user", "add", "paris@example.net"], "");
    assert!(fails(&foreign, &["restore", &file], "").contains("belongs to example.net"));
    foreign.settings("domain = \"example.net\"");
    assert!(fails(&foreign, &["restore", &file], "").contains("the setting \"domain\" says"));
    assert_eq!(ok(&foreign, &["user", "list"], ""), "paris@example.net\n");
    // Unless it is said that it is to be so.
    for told in [&[][..], &["--domain", "example.com"]] {
        let error = fails(&foreign, &[&["restore", &file][..], told].concat(), "");
        assert!(error.contains("say so with --domain example.org; else") && error.contains("--data"), "{error}");
    }
    ok(&foreign, &["restore", &file, "--domain", "example.org"], "");
    assert!(!ok(&foreign, &["user", "list"], "").contains("paris"));
    // A folder where nobody has an account gives way, whatever name it was started with.
    let new = Dir::with("");
    assert!(Server::start(&new, &["--domain", "raspberrypi.local"]).stop().success());
    assert!(ok(&new, &["restore", &file], "").contains("domain       example.org"));
    assert_ne!(ok(&new, &["user", "list"], ""), "");
}

/// A backup is one file, and a folder is where it may be.
#[test]
fn a_folder_is_no_backup() {
    let dir = house(&["juliet"]);
    let folder = dir.0.join("backups");
    std::fs::create_dir(&folder).unwrap();
    std::os::unix::fs::symlink(&folder, dir.0.join("link")).unwrap();
    for named in ["backups", "backups/", "link"] {
        let error = fails(&dir, &["backup", named], "");
        let file = std::path::Path::new(named).join("monday.backup");
        let wanted = format!("{named} is a folder: name a file in it, such as {}", file.display());
        assert!(error.contains(&wanted), "{error}");
    }
    assert!(std::fs::read_dir(&folder).unwrap().next().is_none());
    ok(&dir, &["backup", "backups/monday.backup"], "");
    ok(&dir, &["restore", "backups/monday.backup"], "");
}

#[test]
fn a_backup_while_messages_flow_has_all_that_was_acknowledged() {
    let dir = house(&["juliet", "romeo"]);
    let server = Server::start(&dir, &[]);
    let (acked, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    let mut backups = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut romeo = login(&server, &dir, "romeo", PASSWORD);
            let mut n = 0;
            while !stop.load(Ordering::SeqCst) {
                n += 1;
                // A contact is acknowledged when it is stored, and so is then the message before it.
                let set = format!(
                    "<iq type='set' id='n{n}'><query xmlns='jabber:iq:roster'><item jid='c{n}@example.org'/></query></iq>"
                );
                say(&mut romeo, &(message("juliet", &format!("number {n}.")) + &set));
                until(&mut romeo, &format!("id='n{n}'"));
                acked.store(n, Ordering::SeqCst);
            }
        });
        for n in 0..5 {
            let wanted = acked.load(Ordering::SeqCst) + 7;
            while acked.load(Ordering::SeqCst) < wanted {
                std::thread::sleep(Duration::from_millis(5));
            }
            let file = path(&dir, &format!("{n}.backup"));
            let least = acked.load(Ordering::SeqCst);
            ok(&dir, &["backup", &file], "");
            backups.push((file, least));
        }
        stop.store(true, Ordering::SeqCst);
    });
    let last = acked.load(Ordering::SeqCst);
    assert!(server.stop().success());
    for (file, least) in backups {
        let other = Dir::new();
        ok(&other, &["restore", &file], "");
        let server = Server::start(&other, &[]);
        let mut juliet = login(&server, &other, "juliet", PASSWORD);
        let mut romeo = login(&server, &other, "romeo", PASSWORD);
        say(&mut romeo, "<iq type='get' id='roster'><query xmlns='jabber:iq:roster'/></iq>");
        let roster = until(&mut romeo, "</query></iq>");
        let contacts = roster.matches("<item ").count();
        assert!((least..=last + 1).contains(&contacts), "{least} {contacts} {last}");
        for n in 1..=contacts {
            assert!(roster.contains(&format!("'c{n}@example.org'")), "contact {n} of {contacts}");
        }
        // Pages of them come as they are confirmed by answers to pings.
        say(&mut romeo, &message("juliet", "the end"));
        let (mut came, mut answered) = (String::new(), 0);
        while !came.contains("the end") {
            came.push_str(&until(&mut juliet, ">"));
            // Heads that have come whole.
            let heads = came.split("<iq ").skip(1).filter_map(|rest| Some(rest.split_once('>')?.0));
            let heads = heads.filter(|head| head.contains("type='get'"));
            let ids: Vec<&str> =
                heads.map(|head| head.split("id='").nth(1).unwrap().split('\'').next().unwrap()).collect();
            for id in &ids[answered..] {
                say(&mut juliet, &format!("<iq type='result' to='example.org' id='{id}'/>"));
            }
            answered = ids.len();
        }
        let numbers: Vec<usize> =
            came.split("<body>number ").skip(1).map(|t| t.split('.').next().unwrap().parse().unwrap()).collect();
        assert!(numbers.len() >= least && numbers.len() <= last + 1, "{least} {} {last}", numbers.len());
        assert!(numbers.iter().copied().eq(1..=numbers.len()), "{numbers:?}");
        drop((juliet, romeo));
        assert!(server.stop().success());
    }
}

/// Whose data is there, by the accounts in it.
fn whose(dir: &Dir) -> String {
    ok(dir, &["user", "list"], "")
}

#[test]
fn at_every_step_of_a_restore_the_old_or_the_new_is_whole() {
    let new = house(&["juliet"]);
    let file = path(&new, "a.backup");
    ok(&new, &["backup", &file], "");
    let old = house(&["tybalt"]);
    let (before, after) = (whose(&old), whose(&new));
    let mut steps = Vec::new();
    let options = Options { data: Some(old.data()), ..Options::default() };
    let seen = |step: &str| {
        // As if it ended here.
        let left = Dir::new();
        copy(&old.0, &left.0);
        steps.push((step.to_owned(), whose(&left)));
        // And the next one goes well, and clears up.
        ok(&left, &["restore", &file], "");
        assert_eq!(whose(&left), after);
        assert_eq!(beside(&left, ".new").len(), 0, "{step}");
        let kept: Vec<String> = beside(&left, ".before-restore-")
            .iter()
            .map(|path| {
                let aside = Dir::new();
                std::fs::rename(path, aside.data()).unwrap();
                whose(&aside)
            })
            .collect();
        assert!(kept.contains(&before), "{step}: {kept:?}");
    };
    let mut seen = seen;
    restore::observed(&options, Path::new(&file), &mut |step| seen(step)).unwrap();
    let names: Vec<&str> = steps.iter().map(|(step, _)| &**step).collect();
    assert_eq!(names, ["check", "build", "files", "rows", "verify", "sync", "swap", "finish", "end"]);
    for (step, found) in &steps {
        let wanted = if ["finish", "end"].contains(&&**step) { &after } else { &before };
        assert_eq!(found, wanted, "{step}");
    }
}

#[test]
fn a_restore_that_is_killed_leaves_the_old_or_the_new() {
    let kills = std::env::var("INGLENOOK_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(40);
    let files: Vec<(Dir, String, String)> = ["juliet", "romeo"]
        .map(|name| {
            let dir = house(&[name]);
            let file = path(&dir, "a.backup");
            ok(&dir, &["backup", &file], "");
            let whose = whose(&dir);
            (dir, file, whose)
        })
        .into();
    let dir = Dir::new();
    let begun = Instant::now();
    ok(&dir, &["restore", &files[0].1], "");
    let whole = begun.elapsed();
    let mut random = Random::new(std::process::id().into());
    let (mut now, mut done) = (0, 0);
    for n in 0..kills {
        let next = 1 - now;
        let mut command = command(&dir, &["restore", &files[next].1, "--data", dir.data().to_str().unwrap()]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(whole.mul_f64(random.below(1100) as f64 / 1000.0));
        child.kill().unwrap();
        child.wait().unwrap();
        let found = whose(&dir);
        let at = files.iter().position(|(.., whose)| *whose == found);
        assert!(at.is_some(), "kill {n}: {found}");
        done += usize::from(at == Some(next));
        now = at.unwrap();
        // What was taken out of the way is whole as well.
        for path in beside(&dir, ".before-restore-") {
            let aside = Dir::new();
            std::fs::rename(path, aside.data()).unwrap();
            let found = whose(&aside);
            assert!(files.iter().any(|(.., whose)| *whose == found), "kill {n}: {found}");
        }
    }
    eprintln!("{kills} kills within {whole:?}, {done} after the new was in its place");
    ok(&dir, &["restore", &files[0].1], "");
    assert_eq!(whose(&dir), files[0].2);
    assert_eq!(beside(&dir, ".new").len(), 0);
}

#[test]
fn a_full_disk_ends_a_backup_and_a_restore_without_harm() {
    let Some(disk) = Disk::new("24m") else {
        return eprintln!("left out: this user cannot have a file system of its own here");
    };
    let other = house(&["juliet"]);
    let file = path(&other, "a.backup");
    ok(&other, &["backup", &file], "");
    let dir = &disk.dir;
    dir.settings("");
    std::fs::write(dir.data().join("domain"), "example.org\n").unwrap();
    add(dir, "tybalt");
    let list = whose(dir);
    disk.fill();
    // What is there is read from a copy, on a disk that has room.
    let before = tree(&dir.data());
    let said = fails(dir, &["restore", &file], "");
    assert!(said.contains("Make room") || said.contains("make room"), "{said}");
    assert_eq!(tree(&dir.data()), before);
    assert_eq!(beside(dir, ".").len(), 0);
    // There is the data of another house; the file does not fit.
    let target = path(dir, "b.backup");
    let said = fails(&other, &["backup", &target], "");
    assert!(said.contains("Make room") && said.contains("There is no backup"), "{said}");
    assert!(!Path::new(&target).exists() && !Path::new(&format!("{target}.new")).exists());
    disk.make_room();
    assert_eq!(whose(dir), list);
    ok(dir, &["restore", &file], "");
    assert_eq!(whose(dir), "juliet@example.org\n");
}

/// How long commits wait while a backup is made, with a lot of data; and that memory stays small.
#[test]
fn a_large_backup_does_not_stop_the_server() {
    let dir = house(&["juliet", "romeo"]);
    let server = Server::start(&dir, &[]);
    let mut romeo = login(&server, &dir, "romeo", PASSWORD);
    for n in 0..2_000 {
        say(&mut romeo, &message("juliet", &format!("{n} {}", "x".repeat(1_000))));
    }
    ping(&mut romeo);
    add(&dir, "nurse");
    let set = |romeo: &mut Tls, n: usize| {
        let begun = Instant::now();
        say(
            romeo,
            &format!("<iq type='set' id='n{n}'><query xmlns='jabber:iq:private'><a xmlns='b'>{n}</a></query></iq>"),
        );
        until(romeo, &format!("id='n{n}'"));
        begun.elapsed()
    };
    let idle = (0..10).map(|n| set(&mut romeo, n)).max().unwrap();
    let memory = server.memory().0;
    let (mut busy, mut n) = (Duration::ZERO, 100);
    let file = path(&dir, "a.backup");
    std::thread::scope(|scope| {
        let backup = scope.spawn(|| ok(&dir, &["backup", &file], ""));
        while !backup.is_finished() {
            busy = busy.max(set(&mut romeo, n));
            n += 1;
        }
    });
    let grown = server.memory().1.saturating_sub(memory);
    let size = std::fs::metadata(&file).unwrap().len();
    eprintln!("backup of {size} bytes: a change takes {busy:?} at most, {idle:?} without; memory grows by {grown}");
    assert!(busy < idle + Duration::from_secs(2), "{busy:?} {idle:?}");
    assert!(size > 2_000_000);
    assert!(server.stop().success());
}

#[test]
fn the_message_log_comes_along() {
    use inglenook::store::card::Card;
    use inglenook::store::{Batch, Engine, Entry, Page, Query, Tree, key};
    let dir = house(&["juliet"]);
    let database = dir.data().join("db");
    let mut card = Card::open(&database, None).unwrap();
    let entry = |id: u64| Entry {
        id,
        copies: [("juliet", "romeo@example.org")].into_iter().collect(),
        value: format!("{id} {}", "x".repeat(2_000)).into_bytes().into(),
    };
    // Some segments of it, each entry with a row that is gone again.
    for n in 0..30 {
        let mut batch = Batch::default();
        (0..90).for_each(|m| batch.append(entry(1 + n * 90 + m)));
        batch.put(Tree::Offline, key::numbered("juliet", n), *b"waiting");
        card.commit(&[batch]).unwrap();
        let mut batch = Batch::default();
        batch.delete(Tree::Offline, key::numbered("juliet", n));
        card.commit(&[batch]).unwrap();
    }
    let page = Query::Archive(Page {
        owner: "juliet".into(),
        with: None,
        from: 0,
        to: u64::MAX,
        backwards: false,
        rows: usize::MAX,
        bytes: usize::MAX,
    });
    let offline =
        Query::Scan { tree: Tree::Offline, prefix: Box::default(), after: None, rows: usize::MAX, bytes: usize::MAX };
    let (wanted, edge) = (card.query(&page).unwrap(), card.query(&Query::Edge).unwrap());
    assert_eq!(wanted.len(), 2_700);
    card.close().unwrap();
    let file = path(&dir, "a.backup");
    ok(&dir, &["backup", &file], "");
    let other = Dir::new();
    ok(&other, &["restore", &file], "");
    for _ in 0..2 {
        let mut card = Card::open(&other.data().join("db"), None).unwrap();
        card.verify().unwrap();
        assert!(card.query(&page).unwrap() == wanted);
        assert_eq!(card.query(&Query::Edge).unwrap(), edge);
        assert_eq!(card.query(&offline).unwrap(), []);
        card.close().unwrap();
    }
    // It goes on, also behind a crash.
    let mut card = Card::open(&other.data().join("db"), None).unwrap();
    let mut batch = Batch::default();
    batch.append(entry(9_999));
    batch.put(Tree::Offline, key::numbered("juliet", 1), *b"waiting");
    card.commit(&[batch]).unwrap();
    std::mem::forget(card);
    let copied = Dir::new();
    copy(&other.data(), &copied.data());
    let mut card = Card::open(&copied.data().join("db"), None).unwrap();
    assert_eq!(card.query(&page).unwrap().len(), 2_701);
    assert_eq!(card.query(&offline).unwrap().len(), 1);
}

/// Somebody who is not root.
const USER: u32 = 61_234;

/// Root looks into a folder of somebody else as that somebody: nothing there becomes root's, and no link leads to a file of root's.
#[test]
fn a_restore_that_root_is_refused_leaves_nothing_of_root_s() {
    if !rustix::process::geteuid().is_root() {
        return eprintln!("left out: only root can become somebody else");
    }
    let dir = house(&["juliet"]);
    let file = path(&dir, "a.backup");
    ok(&dir, &["backup", &file], "");
    let old = Dir::with("");
    std::fs::write(old.data().join("domain"), "example.net\n").unwrap();
    ok(&old, &["user", "add", "paris@example.net"], "");
    std::fs::remove_file(old.data().join("lock")).unwrap();
    let precious = old.0.join("precious");
    std::fs::write(&precious, "root's").unwrap();
    for entry in all_below(&old.data()) {
        std::os::unix::fs::chown(entry, Some(USER), Some(USER)).unwrap();
    }
    let belongs = || {
        for entry in all_below(&old.data()) {
            assert_eq!(entry.symlink_metadata().unwrap().uid(), USER, "{}", entry.display());
        }
    };
    assert!(fails(&old, &["restore", &file], "").contains("belongs to example.net"));
    belongs();
    let lock = old.data().join("lock");
    let _ = std::fs::remove_file(&lock);
    std::os::unix::fs::symlink(&precious, &lock).unwrap();
    std::os::unix::fs::lchown(&lock, Some(USER), Some(USER)).unwrap();
    fails(&old, &["restore", &file], "");
    fails(&old, &["reset"], "example.net\n");
    belongs();
    assert_eq!(std::fs::read_to_string(precious).unwrap(), "root's");
    assert_eq!(beside(&old, ".").len(), 0);
}

/// A shell that completes a folder's name puts a slash behind it.
#[test]
fn a_folder_s_name_may_end_with_a_slash_or_dots() {
    let dir = house(&["juliet"]);
    let file = path(&dir, "a.backup");
    ok(&dir, &["backup", &file], "");
    std::os::unix::fs::symlink(dir.data(), dir.0.join("link")).unwrap();
    let names = ["data/", "./data//", "data/.", "data/../data", "data/db/..", "link", "link/", "link/."];
    for (n, name) in names.iter().enumerate() {
        let reset = run(&dir, &["reset", "--data", name], "example.org\n");
        assert_eq!(reset.code, 0, "{name}: {}", reset.err);
        let said = run(&dir, &["restore", &file, "--data", name], "");
        // What is not there any more cannot lead up again.
        let name = if name.contains("db") { "data" } else { *name };
        let again = run(&dir, &["restore", &file, "--data", name], "");
        assert_eq!(again.code, 0, "{name}: {}{}", said.err, again.err);
        assert_eq!(beside(&dir, ".before-reset-").len(), n + 1, "{name}");
        assert_eq!(beside(&dir, ".new-").len(), 0, "{name}");
        assert!(dir.0.join("link").is_symlink());
        assert_eq!(ok(&dir, &["user", "list"], ""), "juliet@example.org\n", "{name}");
        let salvaged = run(&dir, &["salvage", name], "");
        let aside = dir.0.join("data.salvaged");
        let plain = !name.contains("..") && !name.contains("link");
        let shown = |path: &Path| match plain {
            true => {
                if name.starts_with("./") { "./" } else { "" }.to_owned() + path.file_name().unwrap().to_str().unwrap()
            }
            false => path.to_str().unwrap().to_owned(),
        };
        assert_eq!(salvaged.code, 0, "{name}: {}", salvaged.err);
        let next = format!("mv {0} {0}.damaged && mv {1} {0} && ", shown(&dir.data()), shown(&aside));
        assert!(salvaged.out.contains(&next), "{name}: {}", salvaged.out);
        std::fs::remove_dir_all(aside).unwrap();
    }
    // Where we are.
    let mut inside = command(&dir, &["restore", &file, "--data", "."]);
    assert!(inside.current_dir(dir.data()).status().unwrap().success());
    // One that is to be made.
    for name in ["made/", "./made2/.", "data/../made3/"] {
        let said = run(&dir, &["restore", &file, "--data", name], "");
        assert_eq!(said.code, 0, "{name}: {}", said.err);
    }
    assert!(["made", "made2", "made3"].iter().all(|name| dir.0.join(name).join("db").is_dir()));
}
