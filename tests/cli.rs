//! The real binary: its commands, its files, its signals, and what it does with connections.

#![allow(clippy::unwrap_used)]

mod common;

use common::binary::{Dir, HEADER, Server, command, connect, connect_from, fails, greet, login, ok, run, tls, until};
use rustix::process::Signal;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

#[test]
fn usage_ends_with_2_and_help_with_0() {
    let dir = Dir::new();
    for wrong in [&["serve", "--sing"][..], &["user", "add"], &["sing"], &["backup"], &["restore"], &["salvage"], &[]] {
        assert_eq!(run(&dir, wrong, "").code, 2, "{wrong:?}");
    }
    let help = run(&dir, &["--help"], "");
    assert_eq!(help.code, 0);
    for verb in ["serve", "user", "room", "cert", "config", "check", "status", "backup", "restore", "salvage", "reset"]
    {
        assert!(help.out.contains(verb), "{}", help.out);
    }
}

#[test]
fn what_config_prints_is_taken_as_settings() {
    let dir = Dir::new();
    let printed = run(&dir, &["config"], "");
    assert_eq!(printed.code, 0);
    let dir = Dir::begun("");
    std::fs::write(dir.data().join("inglenook.toml"), printed.out).unwrap();
    assert_eq!(ok(&dir, &["user", "list"], ""), "");
}

#[test]
fn what_avahi_can_tell_is_of_the_settings() {
    let dir = Dir::begun("");
    let listen = |text: &str| std::fs::write(dir.data().join("inglenook.toml"), format!("[listen]\n{text}\n")).unwrap();
    listen("c2s = [\"[::]:15222\"]\nc2s_tls = [\"127.0.0.1:5223\"]");
    let file = ok(&dir, &["config", "--avahi"], "");
    assert!(file.contains("<name replace-wildcards=\"yes\">Chat of example.org</name>"), "{file}");
    assert!(file.contains("<type>_xmpp-client._tcp</type>\n    <port>15222</port>"), "{file}");
    assert!(!file.contains("_xmpps-client"), "what is open to this box alone is not told: {file}");
    listen("c2s = []\nc2s_tls = []\nhttps = []");
    assert!(fails(&dir, &["config", "--avahi"], "").contains("no port is open to the network"));
    assert!(fails(&dir, &["config"], "").contains("the same everywhere"));
}

#[test]
fn wrong_settings_are_named_with_their_line() {
    let dir = Dir::with("plain = true\nregistratoin = true");
    let error = fails(&dir, &["serve"], "");
    let path = dir.data().join("inglenook.toml");
    let wanted = format!("{}:2: there is no setting \"registratoin\"; did you mean \"registration\"?", path.display());
    assert!(error.contains(&wanted), "{error}");
}

/// A name with a slip of the pen administers nothing, and nobody would know.
#[test]
fn who_is_set_as_administrator_and_is_none_is_told() {
    let dir = Dir::with("domain = \"example.org\"\nadmins = [\"juliet@example.org\", \"paris@example.net\"]");
    let server = Server::start(&dir, &[]);
    assert!(server.logs("juliet@example.org").contains("`inglenook user add juliet@example.org`"));
    assert!(server.logs("paris@example.net").contains("warn: "));
    let notes = |names: &[&str]| {
        let said = ok(&dir, &["check"], "");
        let found: Vec<&str> = said.lines().filter(|line| line.starts_with("note   admins: ")).collect();
        assert_eq!(found.len(), names.len(), "{said}");
        found.iter().zip(names).for_each(|(line, name)| assert!(line.contains(name), "{line}"));
    };
    notes(&["juliet@example.org", "paris@example.net"]);
    ok(&dir, &["user", "add", "juliet"], "");
    notes(&["paris@example.net"]);
    dir.settings("domain = \"example.org\"\nadmins = [\"juliet@example.org\", \"nurse@example.org\"]");
    server.signal(Signal::HUP);
    server.logs("nurse@example.org in the setting");
    notes(&["nurse@example.org"]);
    assert!(server.stop().success());
    notes(&["nurse@example.org"]);
    dir.settings("domain = \"example.org\"\nadmins = [\"juliet@example.org\"]");
    notes(&[]);
}

/// The running server has settings that are right: it is asked, and the file is only warned of.
#[test]
fn wrong_settings_keep_nobody_from_a_server_that_runs() {
    let dir = Dir::with("domain = \"example.org\"");
    let server = Server::start(&dir, &[]);
    let data = dir.data();
    let data = data.to_str().unwrap();
    ok(&dir, &["user", "add", "romeo"], "");
    let wrong = [
        "domain = \"example.net\"",
        "regitsration = true",
        "plain = maybe",
        "domain = \"juliet@example.org\"",
        "domain = \"my_pi.lan\"",
        "domain = \"example.org\"\n[components]\n\"irc.example.net\" = \"0123456789abcdef\"",
    ];
    for (n, settings) in wrong.iter().enumerate() {
        dir.settings(settings);
        let backup = format!("backup-{n}");
        for words in [
            &["status"][..],
            &["user", "add", "juliet"],
            &["user", "passwd", "juliet"],
            &["user", "list"],
            &["room", "list"],
            &["user", "remove", "juliet"],
            &["backup", &backup],
        ] {
            let said = run(&dir, &[words, &["--data", data]].concat(), "");
            if n == 0 && ["passwd", "remove", "add"].contains(words.get(1).unwrap_or(&"")) {
                // Of which domain the new one is meant to be, nobody knows: so there is none.
                assert!(said.code == 1 && said.err.contains("example.org"), "{}", said.err);
                continue;
            }
            assert_eq!(said.code, 0, "{settings}: {words:?}: {}", said.err);
            assert!(said.err.contains("warning") && said.err.contains("not in use"), "{words:?}: {}", said.err);
            assert!(!said.out.contains("warning"), "{}", said.out);
        }
        let said = run(&dir, &["check", "--data", data], "");
        assert_eq!(said.code, 1);
        assert!(said.out.contains("WRONG  settings: ") || said.out.contains("WRONG  domain: "), "{}", said.out);
        for part in ["ok     server: it runs", "ok     storage: it works", "ok     disk: ", "ok     certificate: "] {
            assert!(said.out.contains(part), "{settings}: {part}: {}", said.out);
        }
        assert_eq!(said.out.matches("WRONG").count(), 1, "{}", said.out);
    }
    // A file that is right is not warned of; without a server nothing else is known.
    dir.settings("domain = \"example.org\"");
    assert!(run(&dir, &["user", "list", "--data", data], "").err.is_empty());
    assert!(server.stop().success());
    dir.settings("regitsration = true");
    assert!(fails(&dir, &["user", "list"], "").contains("regitsration"));
    let said = run(&dir, &["check", "--data", data], "");
    for part in ["note   server: it does not run", "ok     database: all of it can be read", "WRONG  settings: "] {
        assert!(said.out.contains(part), "{part}: {}", said.out);
    }
}

#[test]
fn serve_makes_everything_for_its_user_alone() {
    let dir = Dir::with("");
    std::fs::set_permissions(dir.data(), PermissionsExt::from_mode(0o755)).unwrap();
    let server = Server::start(&dir, &["--domain", "example.org"]);
    assert!(server.greeting[0].ends_with("serves example.org"), "{:?}", server.greeting);
    let shown = ok(&dir, &["cert", "show"], "");
    // That of the certificate, which apps show, and no other line that could be taken for it.
    let own: Vec<&String> = server.greeting.iter().filter(|l| l.contains("(apps show this one)")).collect();
    assert!(
        own.len() == 1 && own[0].starts_with("certificate  SHA-256 ") && own[0].contains("; own, until "),
        "{own:?}"
    );
    let authority = server.greeting.iter().find(|l| l.starts_with("authority    ")).unwrap();
    assert!(authority.contains("cert/ca.crt, SHA-256 ") && authority.ends_with(" (for installing)"), "{authority}");
    for line in [own[0], authority] {
        assert_eq!(shown.lines().filter(|l| l == line).count(), 1, "{shown}");
    }
    assert_eq!((shown.matches("SHA-256").count(), shown.matches("SHA-1 ").count()), (2, 0), "{shown}");
    assert!(server.greeting.iter().all(|l| !l.starts_with("fingerprint")), "{:?}", server.greeting);
    assert!(shown.contains("cert/ca.crt") && shown.contains("how        Debian: copy it"), "{shown}");
    assert!(server.greeting.last().unwrap().contains("inglenook user add NAME@example.org --data"));
    let mut folders = vec![dir.data()];
    let mut files = 0;
    while let Some(folder) = folders.pop() {
        let mode = |path: &Path| std::fs::symlink_metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&folder), 0o700, "{}", folder.display());
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if !path.ends_with("inglenook.toml") {
                files += 1;
                assert_eq!(mode(&path), 0o600, "{}", path.display());
            }
        }
    }
    assert!(files >= 8, "{files}");
    assert!(server.stop().success());
}

#[test]
fn one_server_at_a_time_and_one_domain() {
    let dir = Dir::with("");
    let server = Server::start(&dir, &["--domain", "example.org"]);
    let error = fails(&dir, &["serve"], "");
    assert!(error.contains("runs on") && error.contains(&format!("process {}", server.child.id())), "{error}");
    ok(&dir, &["user", "add", "juliet"], "");
    assert!(server.stop().success());
    let error = fails(&dir, &["serve", "--domain", "example.net"], "");
    assert!(error.contains("belong to example.org (1 of them)") && error.contains("inglenook user remove"), "{error}");
    // Without an argument it is the one the data has.
    let server = Server::start(&dir, &[]);
    assert!(server.greeting[0].ends_with("serves example.org"));
}

/// The package starts at once, with a name that nobody has chosen.
#[test]
fn the_domain_is_free_while_there_are_no_accounts() {
    let dir = Dir::with("domain = \"raspberrypi.local\"");
    let server = Server::start(&dir, &[]);
    let old = std::fs::read(dir.ca()).unwrap();
    // Somebody came and went.
    ok(&dir, &["user", "add", "juliet", "--password-stdin"], "a rose by any other name\n");
    dir.settings("domain = \"example.org\"");
    assert!(fails(&dir, &["user", "add", "romeo"], "").contains("domain"));
    dir.settings("");
    ok(&dir, &["user", "remove", "juliet"], "");
    dir.settings("domain = \"example.org\"\nplain = true");
    let error = fails(&dir, &["cert", "show"], "");
    assert!(error.contains("no accounts yet: restart it, and it serves example.org"), "{error}");
    server.signal(Signal::HUP);
    server.logs("nothing was reloaded: the setting \"domain\" says example.org");
    assert!(server.stop().success());
    let server = Server::start(&dir, &[]);
    assert!(server.greeting[0].ends_with("serves example.org"), "{:?}", server.greeting);
    assert_eq!(std::fs::read_to_string(dir.data().join("domain")).unwrap(), "example.org\n");
    assert_ne!(std::fs::read(dir.ca()).unwrap(), old, "the authority has the name, too");
    assert!(dir.data().join("db.of-raspberrypi.local").exists(), "where the archive of juliet ends");
    ok(&dir, &["user", "add", "juliet", "--password-stdin"], "a rose by any other name\n");
    drop(login(&server, &dir, "juliet", "a rose by any other name"));
    assert!(server.stop().success());
    // From here on it stays.
    assert!(fails(&dir, &["serve", "--domain", "example.net"], "").contains("belong to example.org"));
    ok(&dir, &["user", "list"], "");
}

/// Also if the power fails between any two of its steps: the file says the one, the database the other.
#[test]
fn a_change_of_the_domain_is_whole_after_a_power_failure() {
    let dir = Dir::with("");
    assert!(Server::start(&dir, &["--domain", "raspberrypi.local"]).stop().success());
    std::fs::write(dir.data().join("domain"), "example.org\n").unwrap();
    let server = Server::start(&dir, &[]);
    assert!(server.greeting[0].ends_with("serves example.org"), "{:?}", server.greeting);
    assert!(server.stop().success());
    assert!(!dir.data().join("db.of-raspberrypi.local").exists(), "there was nothing in it");
    std::fs::remove_dir_all(dir.data().join("db")).unwrap();
    assert!(Server::start(&dir, &["--domain", "example.net"]).stop().success());
}

#[test]
fn what_no_host_can_be_called_is_refused_and_kept_where_it_is() {
    let dir = Dir::with("");
    for (name, why) in
        [("my_pi.lan", "Take my-pi.lan"), ("-pi.lan", "hyphen"), ("192.168.1.5", "address"), ("my pi", "space")]
    {
        let error = fails(&dir, &["serve", "--domain", name], "");
        assert!(error.contains(why), "{name}: {error}");
    }
    dir.settings("domain = \"my_pi.lan\"");
    assert!(fails(&dir, &["serve"], "").contains("Take my-pi.lan"));
    // A folder of an older version.
    std::fs::write(dir.data().join("domain"), "my_pi.lan\n").unwrap();
    let server = Server::start(&dir, &[]);
    assert!(server.greeting[0].ends_with("serves my_pi.lan"), "{:?}", server.greeting);
    let said = ok(&dir, &["check"], "");
    assert!(said.contains("note   domain: my_pi.lan goes on as it is"), "{said}");
    assert!(server.stop().success());
}

/// What a handful of descriptors means, nobody would see otherwise but who looks for it.
#[test]
fn few_descriptors_are_told_at_the_start_with_the_fix() {
    let dir = Dir::with("domain = \"example.org\"");
    let data = dir.data();
    let serve = |limit: u32| {
        let mut serve = command(&dir, &[]);
        let binary = serve.get_program().to_owned();
        serve = std::process::Command::new("sh");
        serve.args(["-c", &format!("ulimit -n {limit}; exec \"$0\" \"$@\"")]).arg(binary).current_dir(&dir.0);
        serve.args(["serve", "--data", data.to_str().unwrap()]).env_remove("STATE_DIRECTORY").env("RUST_LOG", "warn");
        Server::of(serve)
    };
    let server = serve(100);
    let line = server.logs("connections at the same time");
    assert!(line.contains("only 20 ") && line.contains("LimitNOFILE=") && line.contains("ulimit -n"), "{line}");
    assert!(server.log.lock().unwrap().try_recv().is_err(), "one line");
    drop(server);
    let server = serve(1024);
    server.signal(Signal::TERM);
    assert!(server.log.lock().unwrap().recv().is_err(), "nothing to tell");
}

/// Whoever trusts the authority of a house would trust it for all below its domain.
#[test]
fn a_domain_below_which_others_have_names_is_none() {
    let dir = Dir::with("");
    for name in ["com", "local", "co.uk", "duckdns.org"] {
        let error = fails(&dir, &["serve", "--domain", name], "");
        assert!(error.contains("others have names below it") && error.contains("such as"), "{error}");
    }
    // What was there before goes on, and is told.
    std::fs::write(dir.data().join("domain"), "lan\n").unwrap();
    assert!(Server::start(&dir, &[]).stop().success());
    let said = run(&dir, &["check", "--data", dir.data().to_str().unwrap()], "");
    let told = format!("{}{}", said.out, said.err);
    assert!(told.contains("lan goes on as it is, but others have names below it"), "{told}");
}

/// Whatever the network says, that is told within seconds, and the start does not wait for it.
#[test]
fn what_phones_see_of_the_domain_is_told() {
    let dir = Dir::with("");
    let server = Server::start(&dir, &["--domain", "nobody.invalid"]);
    let begun = std::time::Instant::now();
    let line = server.logs("nobody.invalid");
    assert!(line.starts_with("info: ") && line.contains("name service"), "{line}");
    let said = ok(&dir, &["check"], "");
    let note = said.lines().find(|line| line.starts_with("note   domain: ")).unwrap();
    assert!(
        note.contains("nobody.invalid") && note.contains("as the server") || note.contains("no address yet"),
        "{note}"
    );
    assert!(begun.elapsed() < std::time::Duration::from_secs(10));
    assert!(server.stop().success());
}

#[test]
fn a_port_in_use_is_named_with_its_setting() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let dir = Dir::with("");
    std::fs::write(
        dir.data().join("inglenook.toml"),
        format!("[listen]\ns2s = []\ns2s_tls = []\nhttps = []\nc2s = [\"{address}\"]\nc2s_tls = []\n"),
    )
    .unwrap();
    let error = fails(&dir, &["serve"], "");
    assert!(error.contains(&address.to_string()) && error.contains("setting c2s in [listen]"), "{error}");
    let report = run(&dir, &["check", "--data", "data"], "");
    assert_eq!(report.code, 1);
    assert!(report.out.contains("WRONG  port: cannot listen on"), "{}", report.out);
}

/// Whoever has installed the server and starts it by hand, too, meets nobody but themselves.
#[cfg(target_os = "linux")]
#[test]
fn a_port_that_another_of_our_servers_has_is_told_so() {
    let settings = {
        // An address that nobody else takes.
        let free = TcpListener::bind("127.98.7.6:0").unwrap().local_addr().unwrap();
        format!("[listen]\ns2s = []\ns2s_tls = []\nhttps = []\nc2s = [\"{free}\"]\nc2s_tls = []\n")
    };
    let (one, other) = (Dir::with(""), Dir::with(""));
    for dir in [&one, &other] {
        std::fs::write(dir.data().join("inglenook.toml"), &settings).unwrap();
    }
    let server = Server::start(&one, &["--domain", "example.org"]);
    let ours =
        format!("The Inglenook server of {} (process {}) listens there", one.data().display(), server.child.id());
    let error = fails(&other, &["serve", "--domain", "example.org"], "");
    assert!(error.contains(&ours) && !error.contains("nother program"), "{error}");
    let said = run(&other, &["check", "--data", "data"], "");
    assert!(said.out.contains(&ours), "{}", said.out);
    assert!(server.stop().success());
}

/// Nothing at all could be a fault of the command.
#[test]
fn an_empty_list_says_so_and_not_to_what_reads_it() {
    let dir = Dir::begun("");
    for words in [["user", "list"], ["room", "list"]] {
        let said = run(&dir, &[&words[..], &["--data", "data"]].concat(), "");
        assert_eq!((said.code, said.out.as_str(), said.err.as_str()), (0, "", "none\n"), "{words:?}");
    }
    ok(&dir, &["user", "add", "juliet"], "");
    assert_eq!(run(&dir, &["user", "list", "--data", "data"], "").err, "");
}

#[test]
fn accounts_without_a_server() {
    let dir = Dir::begun("");
    accounts(&dir);
}

#[test]
fn accounts_with_a_server() {
    let dir = Dir::with("");
    let server = Server::start(&dir, &["--domain", "example.org"]);
    accounts(&dir);
    assert!(server.stop().success());
    assert_eq!(ok(&dir, &["user", "list"], ""), "romeo@example.org\n");
}

fn accounts(dir: &Dir) {
    let made = ok(dir, &["user", "add", "Juliet"], "");
    let made: Vec<&str> = made.lines().collect();
    assert_eq!(made[..2], ["added juliet@example.org", "address      juliet@example.org"]);
    assert!(made[2].strip_prefix("password").unwrap().trim().len() >= 18, "{made:?}");
    let told = ok(dir, &["user", "add", "romeo@example.org", "--password-stdin"], "calliope\n");
    let (told, note) = told.split_at(told.find("note").unwrap());
    assert_eq!(told, "added romeo@example.org\naddress      romeo@example.org\n");
    assert!(note.contains("nobody administers") && note.contains("`inglenook user admin romeo`"), "{note}");
    ok(dir, &["user", "admin", "romeo"], "");
    let told = ok(dir, &["user", "add", "nurse", "--password-stdin"], "angelica\n");
    assert!(!told.contains("note"), "{told}");
    ok(dir, &["user", "remove", "nurse"], "");
    assert_eq!(ok(dir, &["user", "list"], ""), "juliet@example.org\nromeo@example.org\n");
    assert!(fails(dir, &["user", "add", "romeo"], "").contains("there already"));
    assert!(fails(dir, &["user", "add", "tybalt@example.net"], "").contains("not an address of example.org"));
    assert!(fails(dir, &["user", "add", "a b@example.org"], "").contains("not an address"));
    assert!(fails(dir, &["user", "add", "paris", "--password-stdin"], "").contains("no password on standard input"));
    assert!(ok(dir, &["user", "passwd", "juliet"], "").contains("password "));
    assert!(fails(dir, &["user", "passwd", "nurse"], "").contains("there is no nurse@example.org"));
    assert_eq!(ok(dir, &["user", "remove", "juliet"], ""), "removed juliet@example.org\n");
    assert!(fails(dir, &["user", "remove", "juliet"], "").contains("there is no juliet@example.org"));
    assert_eq!(ok(dir, &["user", "list"], ""), "romeo@example.org\n");
}

#[test]
fn the_control_socket_works_in_a_deep_folder() {
    let mut dir = Dir::new();
    let top = dir.0.clone();
    dir.0.push("a-folder-with-a-long-name/and-another-one-in-it/and-one-more-so-that-no-socket-address-holds-it-all");
    dir.settings("");
    let server = Server::start(&dir, &["--domain", "example.org"]);
    assert_eq!(
        ok(&dir, &["user", "add", "romeo", "--password-stdin"], "calliope\n").lines().next(),
        Some("added romeo@example.org")
    );
    assert!(fails(&dir, &["serve"], "").contains("runs on"));
    assert!(server.stop().success());
    dir.0 = top;
}

/// An account in a folder that no server uses has a password that never works.
#[test]
fn only_serve_makes_a_data_folder() {
    let dir = Dir::new();
    let (file, toml) = (dir.0.join("chat.backup"), dir.0.join("settings.toml"));
    let (file, toml) = (file.to_str().unwrap(), toml.to_str().unwrap());
    std::fs::write(toml, "domain = \"example.org\"\n").unwrap();
    let commands: [&[&str]; 15] = [
        &["user", "add", "juliet@example.org"],
        &["user", "add", "juliet@example.org", "--config", toml],
        &["user", "passwd", "juliet"],
        &["user", "list"],
        &["user", "remove", "juliet"],
        &["room", "list"],
        &["room", "owner", "garden", "juliet"],
        &["room", "remove", "garden"],
        &["cert", "show"],
        &["cert", "renew"],
        &["cert", "install", toml, toml],
        &["check"],
        &["status"],
        &["backup", file],
        &["reset"],
    ];
    for words in commands {
        let error = fails(&dir, words, "");
        assert!(error.contains("is not there") && error.contains("inglenook serve --data"), "{words:?}: {error}");
        // What the service manager says is as good as what is typed.
        let mut command = command(&dir, words);
        let said = command.env("STATE_DIRECTORY", dir.data()).output().unwrap();
        assert_eq!(said.status.code(), Some(1), "{words:?}");
        assert!(String::from_utf8(said.stderr).unwrap().contains("is not there"), "{words:?}");
        let left: Vec<_> = std::fs::read_dir(&dir.0).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["settings.toml"], "{words:?}");
    }
    // A folder that holds something else stays as it is.
    std::fs::create_dir(dir.data()).unwrap();
    for words in commands {
        assert!(fails(&dir, words, "").contains("holds no server's data"), "{words:?}");
        assert_eq!(std::fs::read_dir(dir.data()).unwrap().count(), 0, "{words:?}");
    }
}

#[test]
fn a_server_that_cannot_run_makes_no_data_folder() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let dir = Dir::new();
    let toml = dir.0.join("settings.toml");
    let settings = format!(
        "domain = \"example.org\"\n[listen]\ns2s = []\ns2s_tls = []\nhttps = []\nc2s = [\"{}\"]\nc2s_tls = []\n",
        taken.local_addr().unwrap()
    );
    std::fs::write(&toml, settings).unwrap();
    let error = fails(&dir, &["serve", "--config", toml.to_str().unwrap()], "");
    assert!(error.contains("setting c2s in [listen]"), "{error}");
    assert!(!dir.data().exists());
}

/// The folder of the server that runs where the command is typed is taken, and named.
#[test]
fn a_folder_that_was_found_is_named() {
    let mut dir = Dir::new();
    let here = dir.0.clone();
    dir.settings("");
    std::fs::rename(dir.data(), here.join("inglenook-data")).unwrap();
    let server = Server::of(command(&dir, &["serve", "--domain", "example.org"]));
    assert!(server.greeting.last().unwrap().ends_with("inglenook user add NAME@example.org"), "{:?}", server.greeting);
    let file = here.join("chat.backup");
    for words in [&["user", "add", "juliet"][..], &["cert", "renew"], &["backup", file.to_str().unwrap()]] {
        let said = run(&dir, words, "");
        assert_eq!(said.code, 0, "{words:?}: {}", said.err);
        assert_eq!(said.err, "inglenook: the data folder is inglenook-data, of example.org\n", "{words:?}");
    }
    // What changes nothing only tells what it was asked for.
    let said = run(&dir, &["user", "list"], "");
    assert_eq!((said.code, said.out.as_str(), said.err.as_str()), (0, "juliet@example.org\n", ""));
    assert!(server.stop().success());
    dir.0 = here;
}

#[test]
fn name_and_version() {
    let dir = Dir::new();
    for word in ["--version", "-V"] {
        let said = run(&dir, &[word], "");
        assert_eq!((said.code, said.err.as_str()), (0, ""));
        assert_eq!(said.out, format!("inglenook {}\n", env!("CARGO_PKG_VERSION")));
    }
    assert_eq!(std::fs::read_dir(&dir.0).unwrap().count(), 0);
}

#[test]
fn a_wrong_word_is_told_what_was_meant() {
    let dir = Dir::new();
    for (words, meant) in [
        (&["user", "del", "juliet"][..], "`inglenook user remove`"),
        (&["user", "create", "juliet"], "`inglenook user add`"),
        (&["user", "ls"], "`inglenook user list`"),
        (&["adduser", "juliet"], "`inglenook user add`"),
        (&["start"], "`inglenook serve`"),
        (&["bakcup", "x"], "`inglenook backup`"),
    ] {
        let said = run(&dir, words, "");
        assert_eq!(said.code, 2, "{words:?}");
        assert!(said.err.contains(&format!("Did you mean {meant}?")), "{words:?}: {}", said.err);
    }
    assert!(!run(&dir, &["sing"], "").err.contains("Did you mean"));
}

#[test]
fn a_password_that_is_too_short_is_refused() {
    let dir = Dir::begun("");
    ok(&dir, &["user", "add", "juliet"], "");
    for running in [false, true] {
        let server = running.then(|| Server::start(&dir, &[]));
        for password in ["x", "1234567", "\u{00e4}\u{00e4}\u{00e4}\u{00e4}"] {
            for words in
                [["user", "add", "romeo", "--password-stdin"], ["user", "passwd", "juliet", "--password-stdin"]]
            {
                let error = fails(&dir, &words, &format!("{password}\n"));
                assert!(error.contains("a password has at least 8 characters"), "{error}");
            }
        }
        assert_eq!(ok(&dir, &["user", "list"], ""), "juliet@example.org\n");
        ok(&dir, &["user", "passwd", "juliet", "--password-stdin"], "12345678\n");
        drop(server);
    }
}

/// Where nothing is stored yet, a question and a mistake store nothing.
#[test]
fn what_changes_nothing_makes_no_database() {
    let dir = Dir::begun("");
    for words in [&["user", "list"][..], &["room", "list"]] {
        assert_eq!(ok(&dir, words, ""), "");
    }
    for (words, why) in [
        (&["user", "remove", "juliet"][..], "there is no juliet@example.org"),
        (&["user", "passwd", "juliet"], "there is no juliet@example.org"),
        (&["room", "remove", "garden"], "there is no room garden@conference.example.org"),
        (&["room", "owner", "garden", "juliet"], "there is no room garden@conference.example.org"),
        (&["backup", "kept"], "there is nothing to back up"),
        (&["user", "add", "juliet@example.net"], "not an address of example.org"),
    ] {
        assert!(fails(&dir, words, "").contains(why), "{words:?}");
    }
    let left: Vec<_> = std::fs::read_dir(dir.data()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.len() == 2 && !dir.0.join("kept").exists(), "{left:?}");
}

/// What is to be typed into an app that does not find the server by itself.
#[test]
fn a_new_account_is_told_where_the_server_is() {
    let dir = Dir::begun("");
    let settings = |listen: &str| {
        std::fs::write(
            dir.data().join("inglenook.toml"),
            format!("[listen]\ns2s = []\ns2s_tls = []\nhttps = []\n{listen}\n"),
        )
        .unwrap()
    };
    settings("c2s = [\"127.0.0.7:15222\"]\nc2s_tls = []");
    let said = ok(&dir, &["user", "add", "juliet"], "");
    assert!(said.contains("server       127.0.0.7, port 15222: "), "{said}");
    settings("c2s = []\nc2s_tls = [\"127.0.0.7:15223\"]");
    let said = ok(&dir, &["user", "add", "romeo"], "");
    assert!(said.contains("server       127.0.0.7, port 15223 (TLS from the first byte): "), "{said}");
}

#[test]
fn an_account_outlives_a_killed_server() {
    let dir = Dir::with("");
    let mut server = Server::start(&dir, &["--domain", "example.org"]);
    ok(&dir, &["user", "add", "juliet"], "");
    server.child.kill().unwrap();
    server.child.wait().unwrap();
    assert_eq!(ok(&dir, &["user", "list"], ""), "juliet@example.org\n");
    let server = Server::start(&dir, &[]);
    assert_eq!(ok(&dir, &["user", "list"], ""), "juliet@example.org\n");
    assert!(server.stop().success());
}

#[test]
fn a_stop_says_goodbye_to_every_stream() {
    let dir = Dir::with("plain = true");
    let server = Server::start(&dir, &["--domain", "example.org"]);
    ok(&dir, &["user", "add", "juliet", "--password-stdin"], "capulet house\n");
    let mut plain = connect(&server, "c2s");
    greet(&mut plain);
    let mut session = login(&server, &dir, "juliet", "capulet house");
    // One that has said nothing yet, and one in the middle of its handshake.
    let mut silent = connect(&server, "c2s_tls");
    silent.write_all(&[22, 3, 1]).unwrap();
    server.signal(Signal::TERM);
    until(&mut plain, "<system-shutdown");
    let end = until(&mut session, "</stream:stream>");
    assert!(end.contains("<system-shutdown"), "{end}");
    // TLS ends in order: a missing close_notify would be an error here.
    assert_eq!(session.read(&mut [0; 16]).unwrap(), 0);
    drop((plain, session));
    assert_eq!(silent.read(&mut [0; 16]).unwrap_or(0), 0);
    assert!(server.stop().success());
    assert!(!dir.data().join("control").exists());
}

#[test]
fn the_variable_for_the_log_goes_before_the_setting() {
    let lines = |variable: &str, setting: &str| -> Vec<String> {
        let dir = Dir::with(&format!("log = \"{setting}\""));
        let mut command = command(&dir, &["serve", "--data", "data", "--domain", "example.org"]);
        command.env("RUST_LOG", variable);
        let mut server = Server::of(command);
        drop(connect(&server, "c2s"));
        server.signal(Signal::TERM);
        assert!(server.child.wait().unwrap().success());
        let log = server.log.lock().unwrap();
        std::iter::from_fn(|| log.recv().ok()).collect()
    };
    assert_eq!(lines("warn", "trace"), Vec::<String>::new());
    assert!(lines("info", "error").contains(&"info: stopped".to_owned()));
}

#[test]
fn settings_and_certificate_are_reloaded() {
    let dir = Dir::with("");
    let server = Server::start(&dir, &["--domain", "example.org"]);
    let own_ca = dir.ca();
    let shown = |ca: &Path| {
        let mut stream = tls(connect(&server, "c2s_tls"), ca);
        stream.write_all(HEADER.as_bytes())?;
        Ok::<_, std::io::Error>(until(&mut stream, "</stream:features>"))
    };
    assert!(!shown(&own_ca).unwrap().contains("PLAIN"));
    // Another authority's certificate for the same domain.
    let other = Dir::begun("");
    ok(&other, &["cert", "renew"], "");
    let files = other.data().join("cert");
    let (chain, key, other_ca) = (files.join("server.crt"), files.join("server.key"), files.join("ca.crt"));
    let said = ok(&dir, &["cert", "install", chain.to_str().unwrap(), key.to_str().unwrap()], "");
    assert!(said.contains("the running server shows it from now on"), "{said}");
    let line = server.logs("reloaded the installed certificate");
    assert!(said.contains(line.rsplit_once(' ').unwrap().1), "{said}: {line}");
    shown(&other_ca).unwrap();
    shown(&own_ca).unwrap_err();
    // Another one of our own changes nothing, and is not said to.
    let (said, show) = (ok(&dir, &["cert", "renew"], ""), ok(&dir, &["cert", "show"], ""));
    assert!(said.contains("still shown the installed one") && !said.contains("from now on"), "{said}");
    shown(&other_ca).unwrap();
    for told in [&said, &show] {
        let back =
            format!("`rm {} && kill -HUP {}`", dir.data().join("cert/installed.pem").display(), server.child.id());
        assert!(told.contains(&back), "{told}");
    }
    // And back, with other settings, by signal.
    std::fs::remove_file(dir.data().join("cert/installed.pem")).unwrap();
    dir.settings("plain = true");
    server.signal(Signal::HUP);
    server.logs("reloaded the own certificate");
    assert!(shown(&own_ca).unwrap().contains("<mechanism>PLAIN</mechanism>"));
    // What is wrong changes nothing.
    dir.settings("plain = maybe");
    server.signal(Signal::HUP);
    assert!(server.logs("nothing was reloaded").contains("inglenook.toml:1"));
    assert!(shown(&own_ca).unwrap().contains("<mechanism>PLAIN</mechanism>"));
    assert!(server.stop().success());
}

/// What is shown is another one: that is told here and in the log. Another authority is asked for twice.
#[test]
fn a_renewal_is_logged_and_an_authority_is_asked_for() {
    let dir = Dir::with("");
    let server = Server::start(&dir, &["--domain", "example.org"]);
    let said = ok(&dir, &["cert", "renew"], "");
    let (_, fingerprint) = said.lines().find_map(|line| line.split_once("SHA-256 ")).unwrap();
    assert!(server.logs("reloaded the own certificate").contains(fingerprint), "{said}");
    let ca = std::fs::read(dir.ca()).unwrap();
    for answer in ["", "yes\n", "example.net\n"] {
        let error = fails(&dir, &["cert", "renew", "--authority"], answer);
        assert!(error.contains("Type example.org to go on") && error.contains("Nothing was changed"), "{error}");
        assert!(error.contains("on every device"), "{error}");
    }
    assert_eq!(std::fs::read(dir.ca()).unwrap(), ca);
    let said = ok(&dir, &["cert", "renew", "--authority"], "example.org\n");
    let (_, fingerprint) = said.lines().find_map(|line| line.split_once("SHA-256 ")).unwrap();
    assert!(server.logs("reloaded the own certificate").contains(fingerprint), "{said}");
    assert_ne!(std::fs::read(dir.ca()).unwrap(), ca);
    tls(connect(&server, "c2s_tls"), &dir.ca()).flush().unwrap();
    assert!(server.stop().success());
}

#[test]
fn what_is_sent_behind_starttls_is_never_read() {
    let dir = Dir::with("plain = true");
    let server = Server::start(&dir, &["--domain", "example.org"]);
    let mut socket = connect(&server, "c2s");
    let injected = "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/><stream:stream to='evil.example'><auth/>";
    socket.write_all(format!("{HEADER}{injected}").as_bytes()).unwrap();
    until(&mut socket, "<proceed");
    let mut stream = tls(socket, &dir.ca());
    let features = greet(&mut stream);
    assert!(
        features.contains("<mechanisms") && !features.contains("error") && !features.contains("<starttls"),
        "{features}"
    );
}

#[test]
fn a_stanza_before_tls_ends_the_stream() {
    let dir = Dir::with("");
    let server = Server::start(&dir, &["--domain", "example.org"]);
    let mut socket = connect(&server, "c2s");
    socket.write_all(format!("{HEADER}<presence/>").as_bytes()).unwrap();
    let text = until(&mut socket, "</stream:stream>");
    assert!(text.contains("<not-authorized"), "{text}");
    assert_eq!(socket.read(&mut [0; 16]).unwrap(), 0);
}

#[test]
fn connections_of_one_address_are_limited() {
    let dir = Dir::with("connections_per_address = 2");
    let server = Server::start(&dir, &["--domain", "example.org"]);
    let mut greeted = Vec::new();
    for _ in 0..2 {
        let mut socket = connect(&server, "c2s");
        greet(&mut socket);
        greeted.push(socket);
    }
    let refused = |server: &Server| connect(server, "c2s").read(&mut [0; 16]).unwrap_or(0) == 0;
    assert!(refused(&server));
    // Another address is another's business.
    #[cfg(target_os = "linux")]
    greet(&mut connect_from(&server, "c2s", "127.0.0.2"));
    // Once one has ended there is room again.
    let mut first = greeted.remove(0);
    first.write_all(b"</stream:stream>").unwrap();
    until(&mut first, "</stream:stream>");
    assert_eq!(first.read(&mut [0; 16]).unwrap(), 0);
    drop(first);
    while refused_now(&server) {}
}

/// Whether a connection is closed before it gets an answer.
fn refused_now(server: &Server) -> bool {
    let mut socket = connect(server, "c2s");
    let greeted = socket.write_all(HEADER.as_bytes()).and_then(|()| socket.read(&mut [0; 16]));
    greeted.unwrap_or(0) == 0
}

#[test]
fn check_says_what_is_fine_and_what_is_wrong() {
    let dir = Dir::with("");
    let check = |code: i32, lines: &[&str]| {
        let said = run(&dir, &["check", "--data", "data"], "");
        assert_eq!(said.code, code, "{}{}", said.out, said.err);
        for line in lines {
            assert!(said.out.lines().any(|l| l.starts_with(line)), "{line:?} is not in\n{}", said.out);
        }
        let wrong = said.out.lines().filter(|line| line.starts_with("WRONG  ")).count();
        assert_eq!(wrong == 0, code == 0, "{}", said.out);
        match wrong {
            0 => assert_eq!(said.err, ""),
            1 => assert!(said.err.contains("one thing is wrong"), "{}", said.err),
            n => assert!(said.err.contains(&format!("{n} things are wrong")), "{}", said.err),
        }
    };
    std::fs::set_permissions(dir.data(), PermissionsExt::from_mode(0o755)).unwrap();
    check(1, &["WRONG  data folder: others can get at data (mode 755). Fix: chmod 700 data"]);
    std::fs::set_permissions(dir.data(), PermissionsExt::from_mode(0o700)).unwrap();
    check(0, &["ok     certificate: none yet", "ok     database: none yet"]);
    let server = Server::start(&dir, &["--domain", "example.org"]);
    ok(&dir, &["user", "add", "juliet"], "");
    let certificate = ok(&dir, &["status"], "");
    let certificate = certificate.lines().find_map(|line| line.strip_prefix("certificate  ")).unwrap();
    check(0, &["ok     server: it runs", &format!("ok     certificate: {certificate}")]);
    // Found or not: it is told once.
    let said = ok(&dir, &["check"], "");
    assert_eq!(said.lines().filter(|line| line[7..].starts_with("domain: ")).count(), 1, "{said}");
    assert!(said.contains("domain: ") && said.contains("example.org"), "{said}");
    assert!(server.stop().success());
    check(
        0,
        &[
            "ok     clock: set",
            "ok     data folder: data, for this user alone",
            "ok     settings: understood",
            "ok     port: 127.0.0.1:0 (c2s) is free",
            "ok     database: all of it can be read",
        ],
    );
    let key = dir.data().join("cert/server.key");
    std::fs::set_permissions(&key, PermissionsExt::from_mode(0o644)).unwrap();
    let db = dir.data().join("db/sled/db");
    std::fs::write(&db, vec![7; std::fs::metadata(&db).unwrap().len() as usize]).unwrap();
    check(
        1,
        &[
            "WRONG  data folder: others can get at data/cert/server.key (mode 644). Fix: chmod 600 data/cert/server.key",
            "WRONG  database: the database in data/db is damaged",
        ],
    );
    dir.settings("domain = \"example.net\"");
    check(1, &["WRONG  domain: "]);
    dir.settings("plain = maybe");
    check(1, &["WRONG  settings: data/inglenook.toml:1: "]);
}

/// Paths, words and rooms' names are what others chose.
#[test]
fn nothing_that_is_printed_steers_the_terminal() {
    let dir = Dir::begun("plain = true");
    ok(&dir, &["user", "add", "juliet"], "");
    let evil = "\u{1b}[2J\u{9b}\u{202e}\nerror";
    let (odd, new) = (dir.0.join(format!("a{evil}")), format!("b{evil}"));
    std::fs::rename(dir.data(), &odd).unwrap();
    let odd = odd.to_str().unwrap();
    let runs = [
        (&["user", evil][..], ""),
        (&["status", "--data", &new], ""),
        (&["check", "--data", odd], ""),
        (&["cert", "show", "--data", odd], ""),
        (&["reset", "--data", odd], "no\n"),
        (&["backup", &new, "--data", odd], ""),
        (&["reset", "--data", odd], "example.org\n"),
    ];
    for (words, input) in runs {
        let said = run(&dir, words, input);
        let all = said.out + &said.err;
        assert!(!all.contains(['\u{1b}', '\u{9b}', '\u{202e}']) && !all.contains("\nerror"), "{words:?}: {all:?}");
        assert!(all.contains("\\u{1b}[2J"), "{words:?}: {all:?}");
    }
}

/// What is printed to be typed is typed as it is.
#[test]
fn what_is_to_be_typed_is_quoted_for_the_shell() {
    let dir = Dir::begun("");
    let odd = dir.0.join("it's $(touch x)");
    std::fs::rename(dir.data(), &odd).unwrap();
    let odd = odd.to_str().unwrap();
    let quoted = format!("'{}'", odd.replace('\'', "'\\''"));
    assert!(run(&dir, &["cert", "renew", "--data", odd], "").code == 0);
    let salvaged = run(&dir, &["salvage", odd], "");
    let (aside, to) = (quoted.replace("x)'", "x).damaged'"), quoted.replace("x)'", "x).salvaged'"));
    let next = format!("mv {quoted} {aside} && mv {to} {quoted} && inglenook check --data {quoted}");
    assert!(salvaged.out.contains(&next), "{}{}", salvaged.out, salvaged.err);
    let said = run(&dir, &["reset", "--data", odd], "example.org\n");
    assert!(said.out.contains(&format!("inglenook serve --data {quoted}")), "{}{}", said.out, said.err);
    // It does what it says.
    let remove = said.out.lines().find_map(|line| line.split_once(": `")?.1.split_once("` removes")).unwrap().0;
    assert!(remove.starts_with("rm -r '"), "{remove}");
    let left = || std::fs::read_dir(&dir.0).unwrap().filter(|e| format!("{e:?}").contains("before-reset")).count();
    assert_eq!(left(), 1);
    assert!(std::process::Command::new("sh").args(["-c", remove]).current_dir(&dir.0).status().unwrap().success());
    assert_eq!((left(), dir.0.join("x").exists()), (0, false));
    let error = run(&dir, &["status", "--data", odd], "").err;
    assert!(error.contains(&format!("`inglenook serve --data {quoted}`")), "{error}");
}

/// Two people, or one and the server's own renewal: the authority that is there in the end is whole.
#[test]
fn certificates_are_made_by_one_at_a_time() {
    let dir = Dir::begun("");
    for _ in 0..4 {
        let data = dir.data();
        let start = |more: &[&str]| {
            let words = [&["cert", "renew", "--data", data.to_str().unwrap()], more].concat();
            let mut command = command(&dir, &words);
            let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
            // Another authority is asked for, if there is one.
            let _ = child.stdin.take().unwrap().write_all(b"example.org\n");
            child
        };
        let all: Vec<_> = (0..8).map(|n| start(if n % 3 == 2 { &[] } else { &["--authority"] })).collect();
        for child in all {
            let said = child.wait_with_output().unwrap();
            assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
        }
        let checked = run(&dir, &["check", "--data", data.to_str().unwrap()], "");
        let wrong = checked.out.lines().find(|line| line.starts_with("WRONG") && line.contains("certificate"));
        assert_eq!(wrong, None);
        for left in ["building", "new"] {
            assert!(!data.join("cert").join(left).exists(), "{left}");
        }
    }
    let server = Server::start(&dir, &[]);
    assert!(server.stop().success());
}

/// What was kept of a domain is never removed: it comes back when the domain does.
#[test]
fn what_is_kept_of_a_domain_stays_until_the_domain_is_back() {
    let dir = Dir::with("plain = true");
    let left = || {
        let entries = std::fs::read_dir(dir.data()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = entries.filter(|name| name.starts_with("db.of-")).collect();
        names.sort();
        names
    };
    // Somebody came and went: where the archive ends stays.
    let live = |domain: &str| {
        assert!(Server::start(&dir, &["--domain", domain]).stop().success());
        ok(&dir, &["user", "add", "juliet"], "");
        ok(&dir, &["user", "remove", "juliet"], "");
    };
    live("a.lan");
    live("b.lan");
    assert_eq!(left(), ["db.of-a.lan"]);
    let mark = dir.data().join("db.of-a.lan/mark-of-this-test");
    std::fs::write(&mark, "").unwrap();
    live("a.lan");
    assert_eq!(left(), ["db.of-b.lan"]);
    assert!(dir.data().join("db/mark-of-this-test").exists());
    // There is one of that name already.
    copy_all(&dir.data().join("db.of-b.lan"), &dir.data().join("db.of-a.lan"));
    live("c.lan");
    let names = left();
    assert_eq!(names.len(), 3, "{names:?}");
    assert!(
        names[0] == "db.of-a.lan" && names[1].starts_with("db.of-a.lan.") && names[2] == "db.of-b.lan",
        "{names:?}"
    );
    assert!(dir.data().join(&names[1]).join("mark-of-this-test").exists());
    // What cannot be used again is not removed, either.
    for entry in all_files(&dir.data().join("db.of-b.lan")) {
        std::fs::write(entry, [7; 9000]).unwrap();
    }
    assert!(Server::start(&dir, &["--domain", "b.lan"]).stop().success());
    assert!(left().contains(&"db.of-b.lan".to_owned()) && left().contains(&"db.of-c.lan".to_owned()), "{:?}", left());
}

fn all_files(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { all_files(&path) } else { vec![path] }).collect()
}

fn copy_all(from: &Path, to: &Path) {
    for file in all_files(from) {
        let to = to.join(file.strip_prefix(from).unwrap());
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::copy(file, to).unwrap();
    }
}
