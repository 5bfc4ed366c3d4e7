//! The real binary as something starts it that is no person: what the service manager hears, what the log says and what it does
//! not say, and root in the server's folder.
#![allow(clippy::unwrap_used, clippy::print_stderr)]
#![cfg(target_os = "linux")]

mod common;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use common::binary::{Dir, LONG, Server, command, connect, greet, log_in, login, ok, ping, run, tls, until};
use common::files::all_below;
use common::scram::{Scram, data, response};
use rustix::process::{Signal, geteuid};
use std::io::Write;
use std::net::TcpStream;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// What the service manager hears next.
fn heard(manager: &UnixDatagram) -> String {
    let mut buffer = [0; 512];
    let n = manager.recv(&mut buffer).unwrap();
    String::from_utf8(buffer[..n].to_vec()).unwrap()
}

fn serve(dir: &Dir) -> Command {
    command(dir, &["serve", "--data", dir.data().to_str().unwrap(), "--domain", "example.org"])
}

/// A service manager, and a server that runs under it with these variables.
fn managed(dir: &Dir, variables: &[(&str, &str)]) -> (UnixDatagram, Server) {
    let path = dir.0.join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(LONG)).unwrap();
    let mut command = serve(dir);
    command.env("NOTIFY_SOCKET", &path).envs(variables.iter().copied());
    let server = Server::of(command);
    assert!(heard(&manager).starts_with("READY=1"));
    (manager, server)
}

/// Tells the manager of all that happens. `name` is what the server is told of the socket.
fn notifies(dir: &Dir, manager: &UnixDatagram, name: &str) {
    manager.set_read_timeout(Some(LONG)).unwrap();
    // A port that is known before, so that it can be tried before the server says anything.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap();
    drop(free);
    std::fs::create_dir_all(dir.data()).unwrap();
    let settings = |more: &str| {
        format!("{more}\n[listen]\ns2s = []\ns2s_tls = []\nhttps = []\nc2s = []\nc2s_tls = [\"{port}\"]\n")
    };
    std::fs::write(dir.data().join("inglenook.toml"), settings("")).unwrap();
    let mut command = serve(dir);
    command.env("NOTIFY_SOCKET", name).env("WATCHDOG_USEC", "400000").env_remove("WATCHDOG_PID");
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();

    // The first word is that it can be used, and it can.
    assert_eq!(heard(manager), "READY=1\nSTATUS=serves example.org");
    greet(&mut tls(TcpStream::connect(port).unwrap(), &dir.ca()));
    for _ in 0..3 {
        assert_eq!(heard(manager), "WATCHDOG=1");
    }
    let pid = rustix::process::Pid::from_child(&child);
    let next = |signal: Option<Signal>| {
        if let Some(signal) = signal {
            rustix::process::kill_process(pid, signal).unwrap();
        }
        loop {
            let word = heard(manager);
            if word != "WATCHDOG=1" {
                return word;
            }
        }
    };
    let since = |word: &str| -> u64 { word.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap().parse().unwrap() };
    let first = since(&next(Some(Signal::HUP)));
    assert_eq!(next(None), "READY=1\nSTATUS=serves example.org");
    std::fs::write(dir.data().join("inglenook.toml"), settings("plain = maybe")).unwrap();
    assert!(since(&next(Some(Signal::HUP))) > first);
    let failed = next(None);
    assert!(failed.starts_with("READY=1\nSTATUS=serves example.org; the settings were not reloaded"), "{failed}");
    assert_eq!(next(Some(Signal::TERM)), "STOPPING=1\nSTATUS=stopping");
    assert!(child.wait().unwrap().success());
    manager.set_nonblocking(true).unwrap();
    assert!(manager.recv(&mut [0; 8]).is_err(), "nothing behind the end");
}

#[test]
fn the_service_manager_hears_how_it_is() {
    let dir = Dir::new();
    let path = dir.0.join("notify");
    notifies(&dir, &UnixDatagram::bind(&path).unwrap(), path.to_str().unwrap());
}

#[test]
fn an_abstract_socket_hears_the_same() {
    let dir = Dir::new();
    let name = format!("inglenook-running-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    notifies(&dir, &UnixDatagram::bind_addr(&address).unwrap(), &format!("@{name}"));
}

#[test]
fn a_server_that_cannot_start_says_nothing_good() {
    let dir = Dir::with("plain = maybe");
    let path = dir.0.join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    assert_eq!(serve(&dir).env("NOTIFY_SOCKET", &path).stderr(Stdio::null()).status().unwrap().code(), Some(1));
    manager.set_nonblocking(true).unwrap();
    assert!(manager.recv(&mut [0; 8]).is_err());
}

#[test]
fn another_process_s_watchdog_is_left_alone() {
    let dir = Dir::with("");
    let (manager, server) = managed(&dir, &[("WATCHDOG_USEC", "20000"), ("WATCHDOG_PID", "1")]);
    // Time enough for many.
    let mut stream = tls(connect(&server, "c2s_tls"), &dir.ca());
    greet(&mut stream);
    assert!(server.stop().success());
    assert!(heard(&manager).starts_with("STOPPING=1"));
}

#[test]
fn the_journal_gets_a_level_with_each_line() {
    let dir = Dir::with("");
    let path = dir.0.join("stderr");
    let log = |named: &dyn Fn(&std::fs::Metadata) -> String| {
        let file = std::fs::File::create(&path).unwrap();
        let mut command = serve(&dir);
        command.env("JOURNAL_STREAM", named(&file.metadata().unwrap()));
        let mut child = command.stdout(Stdio::null()).stderr(file).spawn().unwrap();
        let begun = Instant::now();
        // Whoever asks it to reload is answered once it runs.
        while !run(&dir, &["status", "--data", "data"], "").out.contains("runs for") {
            assert!(begun.elapsed() < LONG, "it does not start");
        }
        ok(&dir, &["user", "add", "juliet"], "");
        ok(&dir, &["user", "remove", "juliet"], "");
        rustix::process::kill_process(rustix::process::Pid::from_child(&child), Signal::TERM).unwrap();
        assert!(child.wait().unwrap().success());
        std::fs::read_to_string(&path).unwrap().lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let journal = log(&|meta| format!("{}:{}", meta.dev(), meta.ino()));
    assert!(journal.contains(&"<6>added juliet@example.org, as the owner wants".to_owned()), "{journal:?}");
    assert!(journal.contains(&"<6>removed juliet@example.org, as the owner wants".to_owned()), "{journal:?}");
    assert!(journal.iter().all(|line| line.starts_with("<6>")), "{journal:?}");
    // Somebody has put something else behind the journal.
    let other = log(&|meta| format!("{}:{}", meta.dev(), meta.ino() + 1));
    assert!(other.contains(&"info: stopped".to_owned()), "{other:?}");
}

/// Everything in the log up to its end.
fn all_lines(server: Server) -> Vec<String> {
    server.signal(Signal::TERM);
    let log = server.log.lock().unwrap();
    std::iter::from_fn(|| log.recv_timeout(LONG).ok()).collect()
}

#[test]
fn nothing_secret_is_in_the_log_at_any_level() {
    const PASSWORD: &str = "wherefore-art-thou";
    let dir = Dir::with("plain = true\nregistration = true\nlog = \"trace\"");
    let mut command = serve(&dir);
    command.env("RUST_LOG", "trace");
    let server = Server::of(command);
    let mut secrets: Vec<String> = vec![PASSWORD.into(), "my-other-password".into(), "parting is such".into()];
    for name in ["juliet", "romeo"] {
        ok(&dir, &["user", "add", name, "--password-stdin"], &format!("{PASSWORD}\n"));
    }
    // By PLAIN, right and wrong.
    let mut juliet = login(&server, &dir, "juliet", PASSWORD);
    secrets.push(STANDARD.encode(format!("\0juliet\0{PASSWORD}")));
    let mut wrong = tls(connect(&server, "c2s_tls"), &dir.ca());
    greet(&mut wrong);
    wrong.write_all(common::binary::plain("romeo", "my-other-password").as_bytes()).unwrap();
    until(&mut wrong, "</failure>");
    secrets.push(STANDARD.encode("\0romeo\0my-other-password"));
    // By SCRAM.
    let mut romeo = tls(connect(&server, "c2s_tls"), &dir.ca());
    greet(&mut romeo);
    let scram = Scram::new("SCRAM-SHA-256", "n,,", vec![], "romeo", PASSWORD);
    romeo.write_all(scram.first().as_bytes()).unwrap();
    let challenge = until(&mut romeo, "</challenge>");
    let (unproven, proof, _) = scram.last(&challenge);
    romeo.write_all(response(&format!("{unproven},p={}", STANDARD.encode(&proof))).as_bytes()).unwrap();
    until(&mut romeo, "<success");
    secrets.extend([STANDARD.encode(&proof), data(&challenge, "challenge")]);
    secrets.push(STANDARD.encode(format!("{unproven},p={}", STANDARD.encode(&proof))));
    // A message that is delivered, one that waits, one that breaks the stream, and what others store.
    for to in ["juliet", "nobody", "romeo"] {
        let message = format!("<message type='chat' to='{to}@example.org'><body>parting is such</body></message>");
        juliet.write_all(message.as_bytes()).unwrap();
    }
    let private =
        "<iq type='set' id='p'><query xmlns='jabber:iq:private'><k xmlns='u:k'>parting is such</k></query></iq>";
    juliet.write_all(private.as_bytes()).unwrap();
    ping(&mut juliet);
    let another = "<iq type='set' id='r'><query xmlns='jabber:iq:register'><username>juliet</username>\
                   <password>my-other-password</password></query></iq>";
    juliet.write_all(another.as_bytes()).unwrap();
    until(&mut juliet, "id='r'");
    let stranger = "<iq type='set' id='s'><query xmlns='jabber:iq:register'><username>nurse</username>\
                    <password>my-other-password</password></query></iq>";
    let mut nurse = tls(connect(&server, "c2s_tls"), &dir.ca());
    greet(&mut nurse);
    nurse.write_all(stranger.as_bytes()).unwrap();
    until(&mut nurse, "id='s'");
    juliet.write_all(b"<message><body>parting is such</oops></message>").unwrap();
    until(&mut juliet, "</stream:stream>");
    let key = std::fs::read_to_string(dir.data().join("cert/server.key")).unwrap();
    secrets.push(key.lines().nth(1).unwrap().to_owned());
    let lines = all_lines(server);
    // It is a log, at that level, and says what the owner should see.
    for wanted in [
        "info: added romeo@example.org, as the owner wants",
        "info: juliet@example.org logged in from 127.0.0.1",
        "info: romeo@example.org failed to log in from 127.0.0.1",
        "info: romeo@example.org logged in from 127.0.0.1",
        "info: juliet@example.org has changed the password",
        "info: nurse@example.org was registered from 127.0.0.1",
        "info: stopped",
    ] {
        assert!(lines.iter().any(|line| line == wanted), "{wanted} is not in\n{}", lines.join("\n"));
    }
    assert!(lines.iter().any(|line| line.starts_with("debug: ")), "{}", lines.join("\n"));
    for secret in secrets {
        let told: Vec<&String> = lines.iter().filter(|line| line.contains(&secret)).collect();
        assert!(told.is_empty(), "{secret}: {told:?}");
    }
    // Bytes are printed as lists by some.
    let listed = format!("{:?}", PASSWORD.as_bytes());
    assert!(!lines.iter().any(|line| line.contains(listed.trim_matches(['[', ']']))));
}

#[test]
fn nobody_writes_lines_of_their_own_into_the_log() {
    let dir = Dir::with("plain = true");
    let mut command = serve(&dir);
    command.env("RUST_LOG", "trace");
    let server = Server::of(command);
    ok(&dir, &["user", "add", "juliet", "--password-stdin"], "capulet house\n");
    for name in
        ["juliet\ninfo: forged", "juliet\r\ninfo: forged", "juliet failed to log in from 192.0.2.1", "\u{1b}[2Jjuliet"]
    {
        let mut stream = tls(connect(&server, "c2s_tls"), &dir.ca());
        greet(&mut stream);
        stream.write_all(common::binary::plain(name, "capulet house").as_bytes()).unwrap();
        until(&mut stream, "</failure>");
    }
    // A resource may have more in it than a name.
    let mut stream = tls(connect(&server, "c2s_tls"), &dir.ca());
    log_in(&mut stream, "juliet", "capulet house");
    ping(&mut stream);
    drop(stream);
    let lines = all_lines(server);
    assert!(lines.iter().all(|line| !line.contains("forged") && !line.contains("192.0.2.1")), "{}", lines.join("\n"));
    assert!(!lines.iter().any(|line| line.contains(char::is_control)));
    let levels = ["error: ", "warn: ", "info: ", "debug: ", "trace: "];
    assert!(lines.iter().all(|line| levels.iter().any(|level| line.starts_with(level))), "{}", lines.join("\n"));
}

#[test]
fn the_manual_names_every_command() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("cross/inglenook.1");
    // It is not in the package of the source.
    let Ok(manual) = std::fs::read_to_string(path) else { return };
    let help = run(&Dir::new(), &["--help"], "").out;
    let commands = help.split_once("Commands:\n").unwrap().1;
    let names: Vec<&str> = commands.lines().filter_map(|line| line.strip_prefix("  ")?.split(' ').next()).collect();
    let names: Vec<&str> = names.into_iter().filter(|name| !name.is_empty()).collect();
    assert!(names.contains(&"serve") && names.len() >= 8, "{names:?}");
    for name in names {
        let told = |line: &str| line.starts_with(".B") && line.contains(&format!("inglenook {name}"));
        assert!(manual.lines().any(told), "{name} is missing");
    }
}

// ---- root ----

/// Somebody who is not root.
const USER: u32 = 61_234;

fn belongs(dir: &Path) {
    for path in all_below(dir) {
        let meta = path.symlink_metadata().unwrap();
        assert_eq!((meta.uid(), meta.gid()), (USER, USER), "{}", path.display());
    }
}

/// Starts the server as its own user, as a service manager does.
fn serve_as_user(dir: &Dir) -> Server {
    let binary = dir.0.join("inglenook");
    std::fs::copy(env!("CARGO_BIN_EXE_inglenook"), &binary).unwrap();
    let mut command = Command::new("setpriv");
    let user = format!("--reuid={USER}");
    command.args([&user, &format!("--regid={USER}"), "--clear-groups", "--inh-caps=-all"]);
    command.arg(&binary).args(["serve", "--data", "data"]).current_dir(&dir.0).env_remove("RUST_LOG");
    Server::of(command)
}

#[test]
fn root_leaves_nothing_of_its_own_in_the_server_s_folder() {
    if !geteuid().is_root() {
        return eprintln!("left out: only root can become somebody else");
    }
    let dir = Dir::begun("domain = \"example.org\"\nplain = true");
    std::fs::set_permissions(&dir.0, PermissionsExt::from_mode(0o755)).unwrap();
    for path in [dir.data(), dir.data().join("inglenook.toml"), dir.data().join("domain")] {
        chown(path, Some(USER), Some(USER)).unwrap();
    }
    // Before the server ran to the end once.
    ok(&dir, &["user", "add", "juliet", "--password-stdin"], "capulet house\n");
    ok(&dir, &["cert", "renew"], "");
    assert!(dir.data().join("db").exists() && dir.ca().exists());
    belongs(&dir.data());
    // While it runs: root is let in.
    let server = serve_as_user(&dir);
    ok(&dir, &["user", "add", "romeo", "--password-stdin"], "capulet house\n");
    assert!(ok(&dir, &["status"], "").contains("runs for"));
    ok(&dir, &["backup", dir.0.join("one").to_str().unwrap()], "");
    assert!(server.stop().success());
    // And after it, with a key and a backup that are root's alone, in folders that are.
    let private = dir.0.join("private");
    std::fs::create_dir(&private).unwrap();
    std::fs::set_permissions(&private, PermissionsExt::from_mode(0o700)).unwrap();
    for name in ["server.crt", "server.key"] {
        std::fs::copy(dir.data().join("cert").join(name), private.join(name)).unwrap();
    }
    let (chain, key, kept) = (private.join("server.crt"), private.join("server.key"), private.join("kept"));
    let [chain, key, kept] = [&chain, &key, &kept].map(|path| path.to_str().unwrap());
    ok(&dir, &["cert", "install", chain, key], "");
    ok(&dir, &["user", "passwd", "romeo"], "");
    assert!(ok(&dir, &["status"], "").contains("accounts     2"));
    ok(&dir, &["check"], "");
    ok(&dir, &["backup", kept], "");
    assert_eq!(std::fs::metadata(kept).unwrap().uid(), 0);
    belongs(&dir.data());
    ok(&dir, &["restore", kept], "");
    belongs(&dir.data());
    // The server gets at all of it.
    let server = serve_as_user(&dir);
    login(&server, &dir, "juliet", "capulet house");
    assert!(server.stop().success());
    // Root may also start it by hand, and the server is not root then.
    let server = Server::start(&dir, &[]);
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.child.id())).unwrap();
    assert!(status.contains(&format!("\nUid:\t{USER}\t{USER}\t{USER}\t{USER}\n")), "{status}");
    assert!(server.stop().success());
    belongs(&dir.data());
}

#[test]
fn root_gets_into_a_folder_that_its_owner_cannot_reach() {
    if !geteuid().is_root() {
        return eprintln!("left out: only root can become somebody else");
    }
    // As with DynamicUser= of systemd: DIR/data -> private/data, and only root can enter DIR/private.
    let dir = Dir::new();
    let real = dir.0.join("private/data");
    std::fs::create_dir_all(&real).unwrap();
    for path in [dir.0.join("private"), real.clone()] {
        std::fs::set_permissions(path, PermissionsExt::from_mode(0o700)).unwrap();
    }
    std::fs::write(
        real.join("inglenook.toml"),
        "[listen]\ns2s = []\ns2s_tls = []\nhttps = []\nc2s = [\"127.0.0.1:0\"]\nc2s_tls = []\n",
    )
    .unwrap();
    std::fs::write(real.join("domain"), "example.org\n").unwrap();
    for path in [real.clone(), real.join("inglenook.toml"), real.join("domain")] {
        chown(path, Some(USER), Some(USER)).unwrap();
    }
    std::os::unix::fs::symlink("private/data", dir.data()).unwrap();
    ok(&dir, &["user", "add", "juliet@example.org"], "");
    assert_eq!(ok(&dir, &["user", "list"], ""), "juliet@example.org\n");
    ok(&dir, &["check"], "");
    let kept = dir.0.join("kept");
    ok(&dir, &["backup", kept.to_str().unwrap()], "");
    belongs(&real);
    ok(&dir, &["restore", kept.to_str().unwrap()], "");
    belongs(&real);
    // A damaged database is looked at by another process.
    let database = real.join("db/sled/db");
    std::fs::write(&database, vec![7; std::fs::metadata(&database).unwrap().len() as usize]).unwrap();
    let said = run(&dir, &["user", "list", "--data", "data"], "");
    assert!(said.code == 1 && said.err.contains("is damaged"), "{}", said.err);
    belongs(&real);
}

#[test]
fn root_follows_no_link_that_the_server_has_laid() {
    if !geteuid().is_root() {
        return eprintln!("left out: only root can become somebody else");
    }
    let dir = Dir::begun("domain = \"example.org\"");
    let precious = dir.0.join("precious");
    std::fs::write(&precious, "root's").unwrap();
    std::os::unix::fs::symlink(&precious, dir.data().join("lock")).unwrap();
    chown(dir.data(), Some(USER), Some(USER)).unwrap();
    let said = run(&dir, &["user", "add", "juliet", "--data", "data"], "");
    assert!(said.code == 1 && said.err.contains("lock cannot be written"), "{}{}", said.out, said.err);
    assert_eq!(std::fs::read_to_string(precious).unwrap(), "root's");
}

#[test]
fn the_watchdog_writes_nothing() {
    let dir = Dir::with("");
    let (manager, server) = managed(&dir, &[("WATCHDOG_USEC", "100000")]);
    let written = || -> String {
        let io = std::fs::read_to_string(format!("/proc/{}/io", server.child.id())).unwrap();
        io.lines().find(|line| line.starts_with("write_bytes: ")).unwrap().to_owned()
    };
    let mut before = written();
    loop {
        // What the start was worth is on its way.
        std::thread::sleep(Duration::from_secs(1));
        let now = written();
        if std::mem::replace(&mut before, now.clone()) == now {
            break;
        }
    }
    while manager.recv_from(&mut [0; 64]).is_ok() {
        manager.set_nonblocking(true).unwrap();
    }
    manager.set_nonblocking(false).unwrap();
    for _ in 0..20 {
        assert_eq!(heard(&manager), "WATCHDOG=1");
    }
    assert_eq!(written(), before);
}

/// What was acknowledged is known after a kill, whatever it was (XEP-0198 §5): some clients subtract.
#[test]
fn after_a_kill_no_less_is_known_than_was_acknowledged() {
    let dir = Dir::begun("plain = true\ndomain = \"example.org\"\nscram_iterations = 4096");
    let mut server = Server::of(serve(&dir));
    for name in ["juliet", "romeo"] {
        ok(&dir, &["user", "add", name, "--password-stdin"], "a long password");
    }
    let number = |text: &str| -> u32 {
        let (_, rest) = text.rsplit_once(" h='").unwrap_or_else(|| panic!("no count: {text}"));
        rest.split_once('\'').unwrap().0.parse().unwrap()
    };
    let message = "<message type='chat' to='romeo@example.org'><body>hello</body></message>";
    let state =
        "<message type='chat' to='romeo@example.org'><active xmlns='http://jabber.org/protocol/chatstates'/></message>";
    let (ping, presence) =
        ("<iq type='get' id='p'><ping xmlns='urn:xmpp:ping'/></iq>", "<presence><status>here</status></presence>");
    let request = "<r xmlns='urn:xmpp:sm:3'/>";
    for (n, said) in [
        vec![ping],
        vec![presence, ping],
        vec![message],
        vec![message, ping],
        vec![message, state, presence],
        vec![ping, message, ping, ping, message],
        vec![state; 20],
    ]
    .iter()
    .enumerate()
    {
        let mut stream = login(&server, &dir, "juliet", "a long password");
        stream.write_all(b"<enable xmlns='urn:xmpp:sm:3' resume='true'/>").unwrap();
        let mut enabled = until(&mut stream, "<enabled ");
        while !enabled.split_once("<enabled ").unwrap().1.contains("/>") {
            enabled += &until(&mut stream, "/>");
        }
        let (_, rest) = enabled.rsplit_once(" id='").unwrap_or_else(|| panic!("{enabled}"));
        let id = rest.split_once('\'').unwrap().0.to_owned();
        let mut told = 0;
        for stanza in said {
            stream.write_all(stanza.as_bytes()).unwrap();
            stream.write_all(request.as_bytes()).unwrap();
            let got = until(&mut stream, "<a ");
            let rest = got.split_once("<a ").unwrap().1.to_owned();
            let rest = if rest.contains("/>") { rest } else { rest + &until(&mut stream, "/>") };
            told = number(&format!(" {rest}"));
        }
        assert_eq!(told as usize, said.len(), "round {n}");
        server.kill();
        server = Server::of(serve(&dir));
        let mut stream = tls(connect(&server, "c2s_tls"), &dir.ca());
        greet(&mut stream);
        stream.write_all(common::binary::plain("juliet", "a long password").as_bytes()).unwrap();
        until(&mut stream, "<success");
        greet(&mut stream);
        stream.write_all(format!("<resume xmlns='urn:xmpp:sm:3' previd='{id}' h='0'/>").as_bytes()).unwrap();
        let failed = until(&mut stream, "</failed>");
        assert!(number(&failed) >= told, "round {n}: {told} were acknowledged: {failed}");
    }
    assert!(server.stop().success());
}

/// A server that hangs is told as that, in a bounded time; what is on the disk is looked at all the same.
#[test]
fn a_check_does_not_hang_with_its_server() {
    let dir = Dir::begun("");
    let server = Server::start(&dir, &[]);
    server.signal(Signal::STOP);
    let begun = Instant::now();
    let said = run(&dir, &["check", "--data", dir.data().to_str().unwrap()], "");
    server.signal(Signal::CONT);
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
    assert!(said.code == 1 && said.out.contains("WRONG  server: the server does not answer"), "{}", said.out);
    assert!(said.out.contains("the server does not answer") && said.out.contains("ok     disk:"), "{}", said.out);
}

/// Of checks that are made at once none spoils what another tries.
#[test]
fn checks_at_once_find_nothing_wrong() {
    let dir = Dir::begun("");
    let text = std::fs::read_to_string(dir.data().join("inglenook.toml")).unwrap();
    let text = text.replace("https = []", "https = [\"127.0.0.1:0\"]");
    std::fs::write(dir.data().join("inglenook.toml"), text).unwrap();
    let _server = Server::start(&dir, &[]);
    let all: Vec<_> = std::thread::scope(|scope| {
        let check = || run(&dir, &["check", "--json", "--data", dir.data().to_str().unwrap()], "");
        let all: Vec<_> = (0..3).map(|_| scope.spawn(check)).collect();
        all.into_iter().map(|one| one.join().unwrap()).collect()
    });
    assert!(all.iter().all(|said| said.code == 0), "{:?}", all.iter().map(|said| &said.out).collect::<Vec<_>>());
    assert!(all.iter().any(|said| said.out.contains("with the same hash")), "{}", all[0].out);
}
