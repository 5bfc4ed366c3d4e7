//! A team of five for a day, in memory (the clock runs from one event to the next): each has a phone and something on the desk, five
//! kinds of clients, two of each. They talk in a room and to each other; phones change networks, desks sleep, browsers are loaded
//! again, the server is restarted at noon and loses its power in the afternoon.
//!
//! Each device keeps what such a client keeps, does when it comes back what such a client does, and shows what such a client would
//! show. In the end every device shows everything that was said in the room, in the one order of the room, and everything that its
//! account sent or got, each sender's in order; nothing is missing and nothing is there twice.
//!
//! `INGLENOOK_SEEDS=100 cargo test --test team` runs more days; `INGLENOOK_SEED=17` runs one, and prints it.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod house;

use house::{DOMAIN, Dice, House};
use inglenook::core::StreamId;
use inglenook::wire::{Kind, Node, Ns, Scope, Stanza, Type};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

const ROOM: &str = "team@conference.house.test";
const PEOPLE: [&str; 5] = ["ann", "bob", "cleo", "dora", "eve"];
const MINUTE: u64 = 60_000;
const HOUR: u64 = 60 * MINUTE;
/// When the power fails.
const FAILURE: u64 = 7 * HOUR + 17 * MINUTE;

/// A kind of client, by what it does on the wire.
#[derive(Clone, Copy)]
struct Client {
    name: &'static str,
    /// It says when nobody looks at it (XEP-0352).
    indicates: bool,
    /// It keeps its stream over a lost connection (XEP-0198 §5).
    resumes: bool,
    /// It takes the room's history, too, when it comes in, and knows it by the ids of the archive.
    history: bool,
    /// It is carried around.
    phone: bool,
}

const fn client(name: &'static str, indicates: bool, resumes: bool, history: bool, phone: bool) -> Client {
    Client { name, indicates, resumes, history, phone }
}

const CONVERSATIONS: Client = client("Conversations", true, true, false, true);
const MONAL: Client = client("Monal", true, true, false, true);
const GAJIM: Client = client("Gajim", false, true, false, false);
const DINO: Client = client("Dino", true, true, true, false);
const CONVERSE: Client = client("Converse.js", false, false, true, false);

/// The devices: whose, and what.
const DEVICES: [(usize, Client); 10] = [
    (0, CONVERSATIONS),
    (0, GAJIM),
    (1, CONVERSATIONS),
    (1, DINO),
    (2, MONAL),
    (2, GAJIM),
    (3, MONAL),
    (3, CONVERSE),
    (4, DINO),
    (4, CONVERSE),
];

/// A line: its number, and who it is for; `None`: the room. Numbers only grow.
type Line = (u32, Option<usize>);

/// One conversation list, as it is shown.
#[derive(Default)]
struct Shown {
    lines: Vec<u32>,
    /// The ids by which the archive knows lines that are shown.
    ids: BTreeSet<String>,
    /// The id of the newest one.
    last: Option<String>,
}

impl Shown {
    /// A line with its id in the archive, if that is known. What is known by its id is not shown again.
    /// `again`: it was sent again, because the server forgot it; it stands where it came last.
    fn show(&mut self, n: u32, id: Option<&str>, own: bool, again: bool) -> Result<(), String> {
        if let Some(id) = id {
            self.last = Some(id.to_owned());
            if !self.ids.insert(id.to_owned()) {
                return Ok(());
            }
        }
        if again {
            self.lines.retain(|line| *line != n);
        }
        if self.lines.contains(&n) {
            // What it sent itself it knows by its own id.
            return if own { Ok(()) } else { Err(format!("{n} is shown twice")) };
        }
        self.lines.push(n);
        Ok(())
    }
}

#[derive(Default)]
struct Device {
    sid: Option<StreamId>,
    id: Option<String>,
    handled: u32,
    sent: u32,
    /// What was sent and is not acknowledged: its number on the stream, and the line if it is one.
    open: VecDeque<(u32, Option<Line>)>,
    joined: bool,
    awake: bool,
    room: Shown,
    account: Shown,
    /// Lines that it sent itself.
    own: BTreeSet<u32>,
}

struct Day {
    seed: u64,
    dice: Dice,
    house: House,
    devices: Vec<Device>,
    next: u32,
    /// Everything that was sent: who, and to whom.
    lines: BTreeMap<u32, (usize, Option<usize>)>,
    /// What was sent again in a new session: the server had it only in memory when the power failed.
    again: BTreeSet<u32>,
    time: u64,
    log: Vec<String>,
    aloud: bool,
    counts: [usize; 4],
}

fn jid(person: usize) -> String {
    format!("{}@{DOMAIN}", PEOPLE[person])
}

fn attribute<'a>(xml: &'a str, name: &str) -> Option<&'a str> {
    let head = xml.split('>').next()?;
    let (_, rest) = head.split_once(&format!(" {name}='"))?;
    rest.split('\'').next()
}

fn number(message: Node<'_>) -> Option<u32> {
    message.child(Ns::CLIENT, "body")?.text().parse().ok()
}

fn id_by<'a>(mut children: impl Iterator<Item = Node<'a>>, by: &str) -> Option<String> {
    let id = children.find(|c| c.is(Ns::SID, "stanza-id") && c.attr("by").as_deref() == Some(by))?;
    Some(id.attr("id")?.into_owned())
}

impl Day {
    fn new(seed: u64) -> Day {
        let mut house = House::new();
        for person in 0..PEOPLE.len() {
            house.account(&jid(person));
        }
        Day {
            seed,
            dice: Dice::new(seed),
            house,
            devices: DEVICES.iter().map(|_| Device::default()).collect(),
            next: 0,
            lines: BTreeMap::new(),
            again: BTreeSet::new(),
            time: 0,
            log: Vec::new(),
            aloud: std::env::var_os("INGLENOOK_SEED").is_some(),
            counts: [0; 4],
        }
    }

    fn note(&mut self, line: String) {
        let line = format!("{:02}:{:02} {line}", 8 + self.time / HOUR, self.time / MINUTE % 60);
        if self.aloud {
            eprintln!("{line}");
        }
        self.log.push(line);
    }

    fn check(&self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            let tail = &self.log[self.log.len().saturating_sub(60)..];
            panic!("seed {}: {}\nthe last steps:\n  {}", self.seed, what(), tail.join("\n  "));
        }
    }

    /// From eight to eight.
    fn live(mut self) -> [usize; 4] {
        self.found();
        let noon = 4 * HOUR;
        let (mut restarted, mut failed) = (false, false);
        while self.time < 24 * HOUR {
            if self.time >= noon && !restarted {
                restarted = true;
                self.reboot(false);
            }
            if self.time >= FAILURE && !failed {
                failed = true;
                // What is sent in the last moment is not stored.
                self.house.hold = true;
                for _ in 0..10 {
                    self.event();
                }
                self.reboot(true);
            }
            self.event();
            let busy = (HOUR..10 * HOUR).contains(&self.time);
            let ms = self.dice.roll(if busy { 60_000 } else { 600_000 }) as u64;
            self.pass(ms);
        }
        self.end();
        self.counts
    }

    /// The room of the team, as an app makes a private group.
    fn found(&mut self) {
        self.come(0);
        let field = |var: &str, value: &str| format!("<field var='{var}'><value>{value}</value></field>");
        let form = field("FORM_TYPE", "http://jabber.org/protocol/muc#roomconfig")
            + &field("muc#roomconfig_persistentroom", "1")
            + &field("muc#roomconfig_membersonly", "1")
            + &field("muc#roomconfig_whois", "anyone");
        let form = format!("<x xmlns='jabber:x:data' type='submit'>{form}</x>");
        let owner = "http://jabber.org/protocol/muc#owner";
        self.send(
            0,
            format!("<iq type='set' id='config' to='{ROOM}'><query xmlns='{owner}'>{form}</query></iq>"),
            None,
        );
        for person in 1..PEOPLE.len() {
            let item = format!("<item jid='{}' affiliation='member'/>", jid(person));
            let query = format!("<query xmlns='http://jabber.org/protocol/muc#admin'>{item}</query>");
            self.send(0, format!("<iq type='set' id='m{person}' to='{ROOM}'>{query}</iq>"), None);
        }
        for d in 1..DEVICES.len() {
            self.come(d);
        }
    }

    fn nick(&self, d: usize) -> &'static str {
        PEOPLE[DEVICES[d].0]
    }

    fn pass(&mut self, ms: u64) {
        let end = self.time + ms;
        while self.time < end {
            let step = (20_000).min(end - self.time);
            self.time += step;
            self.house.pass(step);
            self.read_all();
        }
    }

    fn event(&mut self) {
        let d = self.dice.roll(DEVICES.len());
        let (_, client) = DEVICES[d];
        let here = self.devices[d].sid.is_some();
        match self.dice.roll(100) {
            0..50 if here => self.talk(d),
            0..50 => self.come(d),
            // The phone is in another network; the desk sleeps; the page is loaded again.
            50..68 if here => {
                self.lose(d);
                if client.phone || self.dice.roll(2) == 0 {
                    let ms = self.dice.roll(20_000) as u64;
                    self.pass(ms);
                    self.come(d);
                }
            }
            68..76 if here && client.indicates => {
                let awake = !self.devices[d].awake;
                self.devices[d].awake = awake;
                let state = if awake { "active" } else { "inactive" };
                self.note(format!("{d} is {state}"));
                let sid = self.devices[d].sid.unwrap();
                self.house.send(sid, &format!("<{state} xmlns='urn:xmpp:csi:0'/>"));
            }
            76..82 if here => {
                let show = ["away", "chat", "dnd"][self.dice.roll(3)];
                self.send(d, format!("<presence><show>{show}</show></presence>"), None);
            }
            82..85 if here => self.close(d),
            _ if !here => self.come(d),
            _ => {}
        }
        self.read_all();
    }

    fn talk(&mut self, d: usize) {
        let (from, client) = DEVICES[d];
        if self.house.hold && !client.resumes {
            // Nobody would tell it that this is lost.
            return;
        }
        self.next += 1;
        let n = self.next;
        let to = (self.dice.roll(5) < 2).then(|| (from + 1 + self.dice.roll(PEOPLE.len() - 1)) % PEOPLE.len());
        self.lines.insert(n, (d, to));
        self.devices[d].own.insert(n);
        if to.is_some() {
            // It is shown as soon as it is written.
            self.devices[d].account.lines.push(n);
        }
        self.counts[usize::from(to.is_some())] += 1;
        self.post(d, (n, to));
    }

    fn post(&mut self, d: usize, line: Line) {
        self.send(d, xml(line), Some(line));
        if DEVICES[d].1.resumes {
            self.transmit(d, "<r xmlns='urn:xmpp:sm:3'/>");
        }
    }

    fn send(&mut self, d: usize, xml: String, line: Option<Line>) {
        let device = &mut self.devices[d];
        device.sent += 1;
        if DEVICES[d].1.resumes {
            device.open.push_back((device.sent, line));
        }
        self.transmit(d, &xml);
    }

    fn transmit(&mut self, d: usize, xml: &str) {
        let Some(sid) = self.devices[d].sid else { return };
        self.note(format!("{d} ({}) sends {xml}", DEVICES[d].1.name));
        self.house.send(sid, xml);
        self.read(d);
    }

    /// The line is lost with what was on it.
    fn lose(&mut self, d: usize) {
        let Some(sid) = self.devices[d].sid.take() else { return };
        self.note(format!("{d} is cut off"));
        self.house.receive_all(sid);
        if self.dice.roll(3) > 0 || !DEVICES[d].1.resumes {
            self.house.cut(sid);
        }
    }

    fn close(&mut self, d: usize) {
        let Some(sid) = self.devices[d].sid else { return };
        self.note(format!("{d} closes"));
        self.read(d);
        if DEVICES[d].1.resumes {
            let h = self.devices[d].handled;
            self.house.send(sid, &format!("<a xmlns='urn:xmpp:sm:3' h='{h}'/><r xmlns='urn:xmpp:sm:3'/>"));
            self.read(d);
        }
        if self.devices[d].open.is_empty() {
            self.devices[d].id = None;
        }
        self.house.send(sid, "</stream:stream>");
        self.read(d);
        self.house.cut(sid);
        self.devices[d].sid = None;
    }

    fn reboot(&mut self, cut: bool) {
        self.read_all();
        self.note(if cut { "the power fails" } else { "a restart" }.into());
        if cut {
            self.house.power_cut()
        } else {
            self.house.restart()
        }
        for device in &mut self.devices {
            device.sid = None;
        }
    }

    /// A device comes, with its old stream if it can.
    fn come(&mut self, d: usize) {
        let (person, client) = DEVICES[d];
        if self.devices[d].sid.is_some() {
            return;
        }
        let sid = self.house.authenticate(&jid(person));
        self.note(format!("{d} ({}) connects as {}", client.name, sid.0));
        self.devices[d].sid = Some(sid);
        self.devices[d].awake = true;
        if let Some(id) = self.devices[d].id.take() {
            let h = self.devices[d].handled;
            self.house.send(sid, &format!("<resume xmlns='urn:xmpp:sm:3' previd='{id}' h='{h}'/>"));
            let answer = self.answer(sid);
            self.note(format!("{d} is told {answer}"));
            if let Some(h) = attribute(&answer, "h").map(|h| h.parse().unwrap()) {
                self.acknowledged(d, h);
            }
            if answer.starts_with("<resumed") {
                self.counts[2] += 1;
                self.devices[d].id = Some(id);
                let open: Vec<_> = self.devices[d].open.iter().filter_map(|(_, line)| *line).collect();
                // What is not a line is not worth sending again, but counts.
                self.devices[d].sent -= self.devices[d].open.len() as u32;
                self.devices[d].open.clear();
                for line in open {
                    self.post(d, line);
                }
                return self.read(d);
            }
        }
        self.counts[3] += 1;
        self.begin(d, sid);
    }

    fn answer(&mut self, sid: StreamId) -> String {
        loop {
            match self.house.receive(sid) {
                Some(answer) => return answer,
                None => assert!(self.house.store_one(), "no answer, and nothing that it waits for"),
            }
        }
    }

    /// A new session: first what was missed, then what is sent again, then the present.
    fn begin(&mut self, d: usize, sid: StreamId) {
        let (person, client) = DEVICES[d];
        let bind = format!(
            "<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>{}{d}</resource></bind></iq>",
            client.name
        );
        self.house.send(sid, &bind);
        self.house.receive_all(sid);
        let open = std::mem::take(&mut self.devices[d].open);
        (self.devices[d].handled, self.devices[d].sent, self.devices[d].joined) = (0, 0, false);
        if client.resumes {
            self.house.send(sid, "<enable xmlns='urn:xmpp:sm:3' resume='true'/>");
            let enabled = self.answer(sid);
            self.devices[d].id = Some(attribute(&enabled, "id").unwrap().to_owned());
        }
        self.send(d, "<iq type='set' id='c'><enable xmlns='urn:xmpp:carbons:2'/></iq>".into(), None);
        self.catch_up(d, &jid(person));
        self.send(d, "<presence/>".into(), None);
        let again: BTreeSet<u32> = open.iter().filter_map(|(_, line)| Some(line.as_ref()?.0)).collect();
        self.catch_up(d, ROOM);
        let history = if client.history { "" } else { "<history maxstanzas='0'/>" };
        let to = format!("{ROOM}/{}", self.nick(d));
        let x = format!("<x xmlns='http://jabber.org/protocol/muc'>{history}</x>");
        self.send(d, format!("<presence to='{to}'>{x}</presence>"), None);
        // What it finds in the archive was stored, and is not sent again.
        for line in open.into_iter().filter_map(|(_, line)| line).filter(|(n, _)| again.contains(n)) {
            let stored = self.house.is_logged(&format!("<body>{}</body>", line.0));
            self.check(!stored, || format!("{line:?} is stored, and {d} was not told"));
            self.again.insert(line.0);
            self.post(d, line);
        }
    }

    /// Everything behind the newest line that it has (XEP-0313).
    fn catch_up(&mut self, d: usize, archive: &str) {
        let room = archive == ROOM;
        loop {
            let shown = if room { &self.devices[d].room } else { &self.devices[d].account };
            let after = shown.last.as_ref().map(|id| format!("<after>{id}</after>")).unwrap_or_default();
            let set = format!("<set xmlns='http://jabber.org/protocol/rsm'><max>50</max>{after}</set>");
            self.devices[d].sent += 1;
            let sid = self.devices[d].sid.unwrap();
            if DEVICES[d].1.resumes {
                let sent = self.devices[d].sent;
                self.devices[d].open.push_back((sent, None));
            }
            let iq = format!("<iq type='set' id='q' to='{archive}'><query xmlns='urn:xmpp:mam:2'>{set}</query></iq>");
            self.note(format!("{d} reads on: {iq}"));
            self.house.send(sid, &iq);
            let mut fin = None;
            loop {
                let got = self.house.receive_all(sid);
                if got.is_empty() {
                    if fin.is_some() {
                        break;
                    }
                    assert!(self.house.store_one(), "no answer, and nothing that it waits for");
                }
                for xml in got {
                    if xml.contains("<fin ") {
                        fin = Some(xml.contains("complete='true'"));
                    }
                    if xml.contains("type='error'") && xml.contains("id='q'") {
                        // The one that makes the room. Or the newest line was not stored when the power failed: all is read
                        // again, and what is known is known by its id.
                        let unknown = self.time >= FAILURE && !after.is_empty();
                        self.check(self.lines.is_empty() && d == 0 || unknown, || format!("{d}: {xml}"));
                        fin = Some(!unknown);
                        let shown = if room { &mut self.devices[d].room } else { &mut self.devices[d].account };
                        shown.last = None;
                    }
                    self.take(d, &xml);
                }
            }
            if fin == Some(true) {
                return;
            }
        }
    }

    fn read_all(&mut self) {
        for d in 0..DEVICES.len() {
            self.read(d);
        }
    }

    fn read(&mut self, d: usize) {
        while let Some(sid) = self.devices[d].sid {
            let got = self.house.receive_all(sid);
            if got.is_empty() {
                if self.house.is_closed(sid) {
                    self.note(format!("{d} was hung up on"));
                    self.devices[d].sid = None;
                }
                return;
            }
            for xml in got {
                self.take(d, &xml);
            }
        }
    }

    fn acknowledged(&mut self, d: usize, h: u32) {
        let device = &mut self.devices[d];
        while device.open.front().is_some_and(|(n, _)| *n <= h) {
            device.open.pop_front();
        }
        let sent = self.devices[d].sent;
        self.check(h <= sent, || format!("{d} sent {sent} and is told {h}"));
    }

    fn take(&mut self, d: usize, xml: &str) {
        self.note(format!("{d} reads {xml}"));
        if xml.starts_with("<r ") {
            let h = self.devices[d].handled;
            let sid = self.devices[d].sid.unwrap();
            return self.house.send(sid, &format!("<a xmlns='urn:xmpp:sm:3' h='{h}'/>"));
        }
        if xml.starts_with("<a ") {
            let h = attribute(xml, "h").unwrap().parse().unwrap();
            return self.acknowledged(d, h);
        }
        let Some(stanza) = Stanza::parse(xml, Scope::client()).ok().flatten() else { return };
        self.devices[d].handled += 1;
        match stanza.kind {
            Kind::Iq if stanza.ty == Type::Get => {
                let to = stanza.from.as_ref().map(|from| format!(" to='{from}'")).unwrap_or_default();
                let id = stanza.id().unwrap().into_owned();
                self.send(d, format!("<iq type='result' id='{id}'{to}/>"), None);
            }
            Kind::Presence if stanza.ty == Type::Error => self.check(false, || format!("{d} is refused: {xml}")),
            Kind::Message => self.message(d, &stanza),
            _ => {}
        }
    }

    fn message(&mut self, d: usize, message: &Stanza) {
        let own = jid(DEVICES[d].0);
        let from = message.from.as_ref().map(|from| from.bare_str().to_owned()).unwrap_or_default();
        if let Some(result) = message.child(Ns::MAM, "result") {
            let inner = result.child(Ns::FORWARD, "forwarded").and_then(|f| f.child(Ns::CLIENT, "message")).unwrap();
            let Some(n) = number(inner) else { return };
            return self.show(d, from == ROOM, n, result.attr("id").as_deref());
        }
        for copy in ["sent", "received"] {
            if let Some(inner) = message
                .child(Ns::CARBONS, copy)
                .and_then(|c| c.child(Ns::FORWARD, "forwarded"))
                .and_then(|f| f.child(Ns::CLIENT, "message"))
            {
                let Some(n) = number(inner) else { return };
                return self.show(d, false, n, id_by(inner.children(), &own).as_deref());
            }
        }
        let body = message.child(Ns::CLIENT, "body").and_then(|body| body.text().parse().ok());
        let Some(n) = body else { return };
        self.check(message.ty != Type::Error, || format!("{n} comes back to {d}"));
        if message.ty == Type::Groupchat {
            let id = id_by(message.children(), ROOM);
            self.check(id.is_some(), || format!("{n} came to {d} without an id of the room"));
            self.show(d, true, n, id.as_deref());
        } else {
            let id = id_by(message.children(), &own);
            self.check(id.is_some(), || format!("{n} came to {d} without an id"));
            self.show(d, false, n, id.as_deref());
        }
    }

    fn show(&mut self, d: usize, room: bool, n: u32, id: Option<&str>) {
        let device = &mut self.devices[d];
        let own = device.own.contains(&n);
        let shown = if room { &mut device.room } else { &mut device.account };
        // In a letter of its own nothing else comes between.
        let again = self.again.contains(&n) && (room || !own);
        let done = shown.show(n, id, own, again);
        self.check(done.is_ok(), || format!("at {d}: {}", done.unwrap_err()));
    }

    /// Everybody comes once more and reads; then all must be there.
    fn end(&mut self) {
        self.note("the end".into());
        for _ in 0..3 {
            for d in 0..DEVICES.len() {
                self.come(d);
            }
            self.pass(MINUTE);
        }
        for d in 0..DEVICES.len() {
            self.lose(d);
            self.devices[d].id = None;
            self.come(d);
            self.check(self.devices[d].open.iter().all(|(_, line)| line.is_none()), || {
                format!("{d} is left with something")
            });
        }
        let said = |room: bool, of: usize| -> BTreeSet<u32> {
            let mine = |d: &usize, to: &Option<usize>| to.map_or(room, |to| !room && (to == of || DEVICES[*d].0 == of));
            self.lines.iter().filter(|(_, (d, to))| mine(d, to)).map(|(n, _)| *n).collect()
        };
        let order = &self.devices[0].room.lines;
        for (d, device) in self.devices.iter().enumerate() {
            for (what, shown, all) in
                [("room", &device.room, said(true, 0)), ("account", &device.account, said(false, DEVICES[d].0))]
            {
                let lines: BTreeSet<u32> = shown.lines.iter().copied().collect();
                let missing: Vec<_> = all.difference(&lines).collect();
                self.check(missing.is_empty(), || format!("{d} does not show of the {what}: {missing:?}"));
                let more: Vec<_> = lines.difference(&all).collect();
                self.check(more.is_empty(), || format!("{d} shows in the {what} and should not: {more:?}"));
                self.check(lines.len() == shown.lines.len(), || format!("{d} shows something twice in the {what}"));
            }
            self.check(device.room.lines == *order, || format!("{d} shows the room in another order than 0"));
            for sender in 0..DEVICES.len() {
                let of: Vec<u32> = device.account.lines.iter().copied().filter(|n| self.lines[n].0 == sender).collect();
                self.check(of.is_sorted(), || format!("{d} shows what {sender} wrote in this order: {of:?}"));
            }
        }
    }
}

fn xml((n, to): Line) -> String {
    match to {
        Some(to) => format!("<message type='chat' to='{}' id='m{n}'><body>{n}</body></message>", jid(to)),
        None => format!("<message type='groupchat' to='{ROOM}' id='m{n}'><body>{n}</body></message>"),
    }
}

#[test]
fn a_day_without_a_lost_doubled_or_misordered_message() {
    let number = |name: &str| std::env::var(name).ok().map(|v| v.parse::<u64>().unwrap());
    if let Some(seed) = number("INGLENOOK_SEED") {
        Day::new(seed).live();
        return;
    }
    let seeds = number("INGLENOOK_SEEDS").unwrap_or(4);
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
    std::thread::scope(|scope| {
        for thread in 0..threads {
            scope.spawn(move || {
                for seed in (thread..seeds).step_by(threads as usize) {
                    let [room, letters, resumed, new] = Day::new(seed).live();
                    eprintln!(
                        "day {seed}: {room} lines in the room, {letters} letters, {resumed} streams resumed, {new} new"
                    );
                    assert!(room > 200 && letters > 150 && resumed > 50 && new > 50, "it was a day");
                }
            });
        }
    });
}
