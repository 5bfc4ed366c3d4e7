//! Runs the plays in `tests/exchange`: each tells one behaviour of the server, as its clients see it. How to write one is told
//! in `tests/exchange/README.md`.
//!
//! Each is played three times: on the house in memory, there once more in messages (RFC 7395), and on the program itself, over
//! STARTTLS, but for those that need a hand on the server's clock, storage or settings. With an address in `INGLENOOK_PLAY_AT` the last stage is the server there, of whatever
//! make, to see what that does; `INGLENOOK_PLAY_ADD` is then the shell command that makes an account, with `{user}`, `{domain}`
//! and `{password}` in it; the password is on its standard input, too. Accounts remove themselves.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod house;

use house::remote::Remote;
use house::{DOMAIN, House, Stage};
use inglenook::core::{
    Command, Creators, Given, Inviters, PushContent, RoomKind, StreamId, WantedInvitation, token_digest,
};
use inglenook::stream::framing::Framing;
use inglenook::wire::Jid;
use libtest_mimic::{Arguments, Failed, Trial};
use minidom::{Element, Node};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

fn main() {
    let arguments = Arguments::from_args();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/exchange");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|f| f.unwrap().path()).collect();
    files.retain(|f| f.extension().is_some_and(|e| e == "scs"));
    files.sort();
    let server = Arc::new(Mutex::new(None));
    let mut trials = Vec::new();
    for file in files {
        let name = file.file_stem().unwrap().to_string_lossy().into_owned();
        let text: Arc<str> = std::fs::read_to_string(&file).unwrap().into();
        let (play, server) = (text.clone(), server.clone());
        let in_memory = move || Play::new(&play, None)?.run().map_err(Failed::from);
        trials.push(Trial::test(name.clone(), in_memory).with_kind("memory"));
        let play = text.clone();
        let in_messages = move || Play::in_messages(&play)?.run().map_err(Failed::from);
        trials.push(Trial::test(name.clone(), in_messages).with_kind("messages"));
        let needs_a_hand = text.lines().any(needs_a_hand);
        let on_program = move || {
            // One after the other: the plays all have the same people.
            let mut server = server.lock().unwrap_or_else(PoisonError::into_inner);
            let Server { address, add, .. } = server.get_or_insert_with(Server::start);
            Play::new(&text, Some(Box::new(Remote::new(address, add))))?.run().map_err(Failed::from)
        };
        trials.push(Trial::test(name, on_program).with_kind("program").with_ignored_flag(needs_a_hand));
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    drop(server.lock().unwrap_or_else(PoisonError::into_inner).take());
    conclusion.exit();
}

/// The server for the second stage.
struct Server {
    address: String,
    add: String,
    child: Option<(Child, PathBuf)>,
}

impl Server {
    fn start() -> Server {
        if let Ok(address) = std::env::var("INGLENOOK_PLAY_AT") {
            let add = std::env::var("INGLENOOK_PLAY_ADD").expect("INGLENOOK_PLAY_ADD says how to make an account");
            return Server { address, add, child: None };
        }
        let folder = std::env::temp_dir().join(format!("inglenook-plays-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let settings = format!(
            "domain = '{DOMAIN}'\ncommit_window_ms = 0\n[listen]\ns2s = []\ns2s_tls = []\nhttps = []\nc2s = ['127.0.0.1:0']\nc2s_tls = []\n\
             [house]\ncontacts = false\nroom = false\n"
        );
        std::fs::write(folder.join("inglenook.toml"), settings).unwrap();
        let program = env!("CARGO_BIN_EXE_inglenook");
        let mut command = std::process::Command::new(program);
        command.env("RUST_LOG", "warn").args(["serve", "--data"]).arg(&folder).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut address = None;
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        for line in lines.by_ref().take_while(|line| !line.starts_with("next")) {
            let words: Vec<&str> = line.split_whitespace().collect();
            if let ["listening", at, "c2s", ..] = words[..] {
                address = Some(at.to_owned());
            }
        }
        let add = format!("'{program}' user add {{user}}@{{domain}} --password-stdin --data '{}'", folder.display());
        Server { address: address.expect("it listens"), add, child: Some((child, folder)) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some((child, folder)) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
            let _ = std::fs::remove_dir_all(folder);
        }
    }
}

/// Whether a line is about the server itself, and not about what clients can do; or about stream management, which would count
/// what the other stage sends to know when all is done; or about inactive clients, which that would wake.
fn needs_a_hand(line: &str) -> bool {
    line.contains("urn:xmpp:sm:3")
        || line.contains("urn:xmpp:csi:0")
        || line.starts_with("The server ")
        || line.starts_with("The power ")
        || line.starts_with("The storage ")
        || line.starts_with("The disk ")
        || line.starts_with("The setting ")
        || line.starts_with("The clock ")
        || line.starts_with("The token ")
        || line.ends_with(" pass.")
        || line.ends_with(" opens a connection.")
}

/// `The server office.test connects to house.test, called Office.`: its domain, ours, and its name in the play.
fn server(line: &str) -> Option<(&str, &str, &str)> {
    let (theirs, rest) = line.strip_prefix("The server ")?.split_once(" connects to ")?;
    let (ours, called) = rest.strip_suffix('.')?.split_once(", called ")?;
    Some((theirs, ours, called))
}

/// One line of a play, with the XML below it.
struct Act {
    line: usize,
    text: String,
    xml: String,
}

struct Play {
    acts: Vec<Act>,
    stage: Box<dyn Stage>,
    actors: BTreeMap<String, StreamId>,
    bound: BTreeMap<String, String>,
}

type Outcome<T = ()> = Result<T, String>;

impl Play {
    fn new(text: &str, stage: Option<Box<dyn Stage>>) -> Outcome<Play> {
        let mut acts: Vec<Act> = Vec::new();
        for (n, line) in text.lines().enumerate() {
            let words = line.trim();
            if words.is_empty() || (words.starts_with('#') && !line.starts_with(' ')) {
                continue;
            }
            if line.starts_with([' ', '\t']) {
                let act = acts.last_mut().ok_or("XML before the first line of the play")?;
                act.xml.push_str(line.trim_end());
                act.xml.push('\n');
            } else {
                acts.push(Act { line: n + 1, text: words.to_owned(), xml: String::new() });
            }
        }
        if acts.is_empty() {
            return Err("an empty play".into());
        }
        let stage = match stage {
            Some(stage) => stage,
            None => Box::new(Play::settings(&acts)?),
        };
        Ok(Play { acts, stage, actors: BTreeMap::new(), bound: BTreeMap::new() })
    }

    /// In memory, where each element is a message of its own (RFC 7395).
    fn in_messages(text: &str) -> Outcome<Play> {
        let mut play = Play::new(text, None)?;
        play.done(|house| house.framing = Framing::WebSocket)?;
        Ok(play)
    }

    fn run(mut self) -> Outcome {
        for act in std::mem::take(&mut self.acts) {
            self.act(&act).map_err(|e| format!("line {}: {}\n{e}", act.line, act.text))?;
        }
        // Whatever arrived and was not expected is a failure, too.
        for (name, sid) in &self.actors {
            if let Some(xml) = self.stage.peek(*sid).first() {
                return Err(format!("at the end {name} has also received:\n{xml}"));
            }
        }
        Ok(())
    }

    /// The settings stand before everything else.
    fn settings(acts: &[Act]) -> Outcome<House> {
        let settings: Vec<(String, String)> = acts
            .iter()
            .filter_map(|a| a.text.strip_prefix("The setting ")?.strip_suffix('.')?.split_once(" is "))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let mut wrong = None;
        let servers = acts.iter().filter_map(|act| server(&act.text)).map(|(theirs, _, _)| Jid::parse(theirs).unwrap());
        let house = House::with(|s| {
            s.federation.allow = servers.collect();
            for (name, value) in &settings {
                match name.as_str() {
                    "registration" => s.registration = value == "true",
                    "invites" => {
                        s.inviters = match value.as_str() {
                            "all" => Inviters::Everybody,
                            "admins" => Inviters::Admins,
                            _ => Inviters::Nobody,
                        }
                    }
                    "push.content" => {
                        s.push_content = match value.as_str() {
                            "full" => PushContent::Full,
                            "sender" => PushContent::Sender,
                            _ => PushContent::None,
                        }
                    }
                    "show_os" => s.show_os = value == "true",
                    "resume_s" => s.resume_s = value.parse().unwrap(),
                    "resume_at" => s.resume_at = Some(value.clone()),
                    "archive_days" => s.archive_days = value.parse().unwrap(),
                    "archive_bytes" => s.archive_bytes = value.parse().unwrap(),
                    "offline_bytes" => s.offline_bytes = value.parse().unwrap(),
                    "create_rooms" => {
                        s.create_rooms = match value.as_str() {
                            "admins" => Creators::Admins,
                            "anybody" => Creators::Anybody,
                            _ => Creators::Local,
                        }
                    }
                    // `off`: none can be uploaded.
                    "upload_bytes" => s.upload_bytes = value.parse().ok(),
                    "registrations_an_hour" => s.registrations_an_hour = value.parse().unwrap(),
                    "room_kind" => {
                        s.room_kind = if value == "channel" { RoomKind::Channel } else { RoomKind::Group };
                    }
                    "admins" => s.admins = value.split(", ").map(|jid| Jid::parse(jid).unwrap()).collect(),
                    "house.name" => s.household.name = value.clone(),
                    "house.contacts" => s.household.contacts = Given::InNewHouses,
                    "house.room" => {
                        (s.household.room, s.household.room_local) = (Given::InNewHouses, value.as_str().into())
                    }
                    "contacts" => {
                        s.contacts = value
                            .split(", ")
                            .filter_map(|c| c.split_once('='))
                            .map(|(k, v)| (k.into(), v.into()))
                            .collect()
                    }
                    _ => wrong = Some(name.clone()),
                }
            }
        });
        wrong.map_or(Ok(house), |name| Err(format!("no setting {name}")))
    }

    fn sid(&self, name: &str) -> Outcome<StreamId> {
        self.actors.get(name).copied().ok_or_else(|| format!("{name} is not connected"))
    }

    fn act(&mut self, act: &Act) -> Outcome {
        let text = act.text.as_str();
        match text {
            "The server restarts." => {
                self.actors.clear();
                return self.done(House::restart);
            }
            "The power fails." => {
                self.actors.clear();
                return self.done(House::power_cut);
            }
            "The storage is full." => return self.done(|h| h.set_full(true)),
            "The disk is full." => return self.done(|h| h.set_disk_full(true)),
            "The disk has room again." => return self.done(|h| h.set_disk_full(false)),
            "The storage works again." => return self.done(|h| h.set_full(false)),
            "The storage waits." => return self.done(|h| h.hold = true),
            "The storage goes on." => return self.done(House::release),
            _ => {}
        }
        if text.starts_with("The setting ") {
            return Ok(());
        }
        if let Some((theirs, ours, called)) = server(text) {
            let mut sid = None;
            self.done(|house| sid = Some(house.server(theirs, ours)))?;
            self.actors.insert(called.to_owned(), sid.ok_or("not here")?);
            return Ok(());
        }
        if let Some(jid) = text.strip_prefix("The account ").and_then(|t| t.strip_suffix(" exists.")) {
            self.stage.account(jid);
            return Ok(());
        }
        if let Some(time) = text.strip_suffix(" pass.") {
            let ms = span(time)?;
            return self.done(|house| house.pass(ms));
        }
        if let Some(time) = text.strip_prefix("The clock is set to ").and_then(|t| t.strip_suffix('.')) {
            let wall = inglenook::wire::stamp::parse(time).ok_or("what time?")?;
            return self.done(|house| house.now.wall = wall);
        }
        if let Some(time) = text.strip_prefix("The clock jumps by ").and_then(|t| t.strip_suffix('.')) {
            let (back, time) = time.strip_prefix('-').map_or((false, time), |time| (true, time));
            let ms = span(time)?;
            return self.done(|house| {
                let wall = house.now.wall;
                house.now.wall = if back { wall.saturating_sub(ms) } else { wall + ms };
            });
        }
        if let Some(wanted) = text.strip_prefix("The token ").and_then(|t| t.strip_suffix('.')) {
            let wanted = Box::new(invitation(wanted)?);
            return self.done(|house| {
                house.command(Command::Invite(wanted));
                assert!(matches!(house.told.pop(), Some(Ok(_))), "nobody is invited");
            });
        }
        let (name, rest) = text.split_once(' ').ok_or("what?")?;
        match rest {
            "sends:" => {
                let sid = self.sid(name)?;
                let xml = self.fill(&act.xml)?;
                self.stage.send(sid, &xml);
            }
            "receives:" => {
                let sid = self.sid(name)?;
                for expected in self.elements(&act.xml)? {
                    let got = self
                        .next(sid)?
                        .ok_or_else(|| format!("expected:\n{}\nbut received nothing", show(&expected)))?;
                    let mut bound = self.bound.clone();
                    if let Err(why) = same(&expected, &got, &mut bound) {
                        return Err(format!("{why}\nexpected:\n{}\nreceived:\n{}", show(&expected), show(&got)));
                    }
                    self.bound = bound;
                }
            }
            "receives in any order:" => {
                let sid = self.sid(name)?;
                let mut expected = self.elements(&act.xml)?;
                while !expected.is_empty() {
                    let got = self.next(sid)?.ok_or_else(|| format!("not received:\n{}", show(&expected[0])))?;
                    let mut fit = None;
                    for (n, e) in expected.iter().enumerate() {
                        let mut bound = self.bound.clone();
                        if same(e, &got, &mut bound).is_ok() {
                            fit = Some((n, bound));
                            break;
                        }
                    }
                    let Some((n, bound)) = fit else { return Err(format!("not expected:\n{}", show(&got))) };
                    expected.remove(n);
                    self.bound = bound;
                }
            }
            "receives nothing." => {
                let sid = self.sid(name)?;
                if let Some(xml) = self.stage.receive(sid) {
                    return Err(format!("received:\n{xml}"));
                }
            }
            "receives something." => {
                let sid = self.sid(name)?;
                self.stage.receive(sid).ok_or("received nothing")?;
            }
            "ignores what arrived." => {
                let sid = self.sid(name)?;
                self.stage.receive_all(sid);
            }
            "is available." => {
                let sid = self.sid(name)?;
                self.quiet(sid, "<presence/>");
            }
            "has asked for the roster." => {
                let sid = self.sid(name)?;
                self.quiet(sid, "<iq type='get' id='r0'><query xmlns='jabber:iq:roster'/></iq>");
            }
            "disconnects." => {
                let sid = self.sid(name)?;
                self.stage.cut(sid);
                self.actors.remove(name);
            }
            "closes the stream." => {
                let sid = self.sid(name)?;
                self.stage.send(sid, "</stream:stream>");
                self.actors.remove(name);
            }
            "is disconnected." => {
                let sid = self.sid(name)?;
                let rest = self.stage.receive_all(sid);
                if rest.iter().any(|xml| xml != "</stream:stream>") {
                    return Err(format!("has also received:\n{}", rest.join("\n")));
                }
                if !self.stage.is_closed(sid) {
                    return Err("still connected".into());
                }
                self.actors.remove(name);
            }
            "is still connected." => {
                if self.stage.is_closed(self.sid(name)?) {
                    return Err("disconnected".into());
                }
            }
            "opens a connection." => {
                let sid = self.stage.open();
                self.actors.insert(name.to_owned(), sid);
            }
            "authenticates." => {
                let local = name.to_lowercase();
                let sid = self.stage.authenticate(&format!("{local}@{DOMAIN}")).ok_or("not here")?;
                self.actors.insert(name.to_owned(), sid);
            }
            "connects." => {
                let local = name.to_lowercase();
                self.connect(name, &format!("{local}@{DOMAIN}/{local}"));
            }
            _ if rest.starts_with("authenticates as ") => {
                let jid = rest.strip_prefix("authenticates as ").and_then(|r| r.strip_suffix('.')).ok_or("what?")?;
                let (jid, called) = jid.split_once(", called ").unwrap_or((jid, name));
                let sid = self.stage.authenticate(jid).ok_or("not here")?;
                self.actors.insert(called.to_owned(), sid);
            }
            _ => {
                let jid = rest.strip_prefix("connects as ").and_then(|r| r.strip_suffix('.')).ok_or("what?")?;
                match jid.split_once(", called ") {
                    Some((jid, called)) => self.connect(called, jid),
                    None => self.connect(name, jid),
                }
            }
        }
        Ok(())
    }

    fn done(&mut self, act: impl FnOnce(&mut House)) -> Outcome {
        act(self.stage.house().ok_or("that can be done to the house in memory alone")?);
        Ok(())
    }

    fn connect(&mut self, name: &str, jid: &str) {
        let sid = self.stage.login(jid);
        let full = self.stage.jid(sid).unwrap();
        self.bound.insert(format!("{name}.bare"), full.bare_str().to_owned());
        self.bound.insert(name.to_owned(), full.to_string());
        self.actors.insert(name.to_owned(), sid);
    }

    /// Sends something and swallows all that arrives for everybody because of it.
    fn quiet(&mut self, sid: StreamId, xml: &str) {
        let before: BTreeMap<StreamId, usize> = self.actors.values().map(|s| (*s, self.stage.peek(*s).len())).collect();
        self.stage.send(sid, xml);
        for (sid, count) in before {
            let mut all = self.stage.receive_all(sid);
            all.truncate(count);
            assert!(all.is_empty(), "something arrived before and was not looked at: {all:?}");
        }
    }

    /// `{Romeo}` and what was bound, in the text of the play.
    fn fill(&self, xml: &str) -> Outcome<String> {
        let mut out = String::new();
        let mut rest = xml;
        while let Some((before, after)) = rest.split_once('{') {
            let (name, after) = after.split_once('}').ok_or("a { without }")?;
            out.push_str(before);
            match self.bound.get(name) {
                Some(value) => out.push_str(&inglenook::wire::xml::escaped(value)),
                None if name == "maybe" || name == "any" || name.starts_with("any:") => {
                    out.push_str(&format!("{{{name}}}"));
                }
                None => return Err(format!("nobody knows {{{name}}}")),
            }
            rest = after;
        }
        out.push_str(rest);
        Ok(out)
    }

    fn elements(&self, xml: &str) -> Outcome<Vec<Element>> {
        let all = parse(&format!("<all>{}</all>", self.fill(xml)?))?;
        Ok(all.children().cloned().collect())
    }

    fn next(&mut self, sid: StreamId) -> Outcome<Option<Element>> {
        self.stage.receive(sid).map(|xml| parse_piece(&xml)).transpose()
    }
}

/// `abc invites juliet, for 2 people, as a contact of romeo@house.test, into garden@conference.house.test, for 3 days`, all but the first
/// two words left out or not.
fn invitation(text: &str) -> Outcome<WantedInvitation> {
    let mut parts = text.split(", ");
    let (token, name) = parts.next().and_then(|first| first.split_once(" invites")).ok_or("whom?")?;
    let mut wanted = WantedInvitation::new(token_digest(token));
    let jid = |text: &str| Jid::parse(text).map_err(|e| e.0.to_owned());
    if !name.is_empty() {
        wanted.name = Some(jid(&format!("{}@{DOMAIN}", name.trim()))?);
    }
    for part in parts {
        let number = || part.split(' ').nth(1).and_then(|n| n.parse().ok()).ok_or("how many?");
        match part {
            "as an administrator" => wanted.admin = true,
            _ if part.ends_with(" people") => wanted.uses = number()?,
            _ if part.ends_with(" days") => wanted.days = number()?,
            _ => match part.rsplit_once(' ').ok_or("how?")? {
                ("as a contact of", contact) => wanted.contacts.push(jid(contact)?),
                ("into", room) => wanted.room = Some(jid(room)?),
                _ => return Err(format!("how is {part} meant?")),
            },
        }
    }
    Ok(wanted)
}

/// `90 seconds`, in milliseconds.
fn span(time: &str) -> Outcome<u64> {
    let (n, unit) = time.split_once(' ').ok_or("how long?")?;
    let ms = match unit.trim_end_matches('s') {
        "second" => 1000,
        "minute" => 60_000,
        "hour" => 3_600_000,
        "day" => 86_400_000,
        _ => return Err(format!("no unit {unit}")),
    };
    let n: u64 = n.parse().map_err(|e| format!("{n}: {e}"))?;
    Ok(n * ms)
}

/// A received piece; a stream header is shown as an empty element.
fn parse_piece(xml: &str) -> Outcome<Element> {
    if let Some(at) = xml.find("<stream:stream") {
        return parse(&format!("{}</stream:stream>", &xml[at..]));
    }
    parse(if xml == "</stream:stream>" { "<end/>" } else { xml })
}

fn parse(xml: &str) -> Outcome<Element> {
    let prefixes = BTreeMap::from([
        (None, "jabber:client".to_owned()),
        (Some("stream".to_owned()), "http://etherx.jabber.org/streams".to_owned()),
    ]);
    Element::from_reader_with_prefixes(xml.as_bytes(), prefixes).map_err(|e| format!("{e}: {xml}"))
}

fn show(element: &Element) -> String {
    let mut out = Vec::new();
    element.write_to(&mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn wild(element: &Element, name: &str) -> bool {
    element.ns() == "*" && element.name() == name
}

/// Whether a received element is what was expected.
fn same(expected: &Element, got: &Element, bound: &mut BTreeMap<String, String>) -> Outcome {
    if wild(expected, "any") {
        return Ok(());
    }
    if (expected.name(), expected.ns()) != (got.name(), got.ns()) {
        return Err(format!("a <{} xmlns='{}'> instead of a <{}>", got.name(), got.ns(), expected.name()));
    }
    let here = expected.name();
    let attrs = |e: &Element| -> BTreeMap<(String, String), String> {
        e.attrs().iter().map(|((ns, name), value)| ((ns.to_string(), name.to_string()), value.clone())).collect()
    };
    let (want, have) = (attrs(expected), attrs(got));
    for (name, value) in &want {
        match have.get(name) {
            None if value == "{maybe}" => {}
            None => return Err(format!("<{here}> has no {}", name.1)),
            Some(_) if value == "{maybe}" => {}
            Some(it) => text_matches(value, it, bound).map_err(|e| format!("<{here} {}>: {e}", name.1))?,
        }
    }
    if let Some(name) = have.keys().find(|name| !want.contains_key(*name)) {
        return Err(format!("<{here}> has also {}='{}'", name.1, have[name]));
    }
    let text = |e: &Element| -> String {
        e.nodes()
            .filter_map(|n| if let Node::Text(t) = n { Some(t.as_str()) } else { None })
            .collect::<String>()
            .trim()
            .to_owned()
    };
    text_matches(&text(expected), &text(got), bound).map_err(|e| format!("the text in <{here}>: {e}"))?;
    let mut have = got.children();
    for want in expected.children() {
        if wild(want, "rest") {
            return Ok(());
        }
        let it = have.next().ok_or_else(|| format!("in <{here}> there is no <{}>", want.name()))?;
        same(want, it, bound)?;
    }
    match have.next() {
        Some(more) => Err(format!("in <{here}> there is also a <{}>", more.name())),
        None => Ok(()),
    }
}

fn text_matches(want: &str, have: &str, bound: &mut BTreeMap<String, String>) -> Outcome {
    if want == "{any}" {
        return Ok(());
    }
    if let Some(name) = want.strip_prefix("{any:").and_then(|w| w.strip_suffix('}')) {
        let known = bound.entry(name.to_owned()).or_insert_with(|| have.to_owned());
        return if known == have { Ok(()) } else { Err(format!("'{have}', but it was '{known}' before")) };
    }
    if want == have { Ok(()) } else { Err(format!("'{have}' instead of '{want}'")) }
}
