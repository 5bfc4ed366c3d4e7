//! Devices of one account that are silent in every way, beside healthy ones: they answer no ping, or late, acknowledge nothing, or
//! late, die on a line that the server believes in, come back with the id of their stream, look away, change their priority, enable
//! stream management or copies late, read the archive before their presence or instead of it. Others write to them, to the bare and
//! the full JIDs mixed, in messages so large that a few fill a page.
//!
//! What must hold, whatever happens:
//! - at each session the letters of one sender are in order, in whatever form they come: to the bare or the full JID, from storage, as
//!   a copy. Only what was sent to another device may come late, and says so (XEP-0203); and what a
//!   session saw of newer letters while it took none of the old ones (no presence, or a negative priority) does not count for those;
//! - no session gets a letter twice, nor one that it has read in the archive;
//! - a letter reaches every healthy device that takes it in the same turn, whatever the others do;
//! - nothing is lost that was not refused: but for what was written to a client that counts nothing and owed no answer, on a dead line;
//! - what was confirmed by somebody comes to nobody who comes later.

use super::house::{DOMAIN, Dice, House};
use inglenook::core::{SessionId, StreamId};
use inglenook::wire::{Jid, Kind, Ns, Scope, Stanza, Type};
use std::collections::BTreeSet;

const STEPS: usize = 150;
const DEVICES: usize = 4;
const SENDERS: usize = 2;
const OWNER: &str = "juliet";

/// The sender, and the number: numbers only grow.
type Letter = (usize, u32);

/// How a client is with what it owes.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Answers {
    AtOnce,
    Late,
    Never,
}

#[derive(Debug)]
struct Device {
    name: usize,
    sid: StreamId,
    pings: Answers,
    acks: Answers,
    /// Questions that it has not answered.
    open: Vec<String>,
    /// The line is dead, and the server does not know.
    dead: bool,
    /// The connection is gone, and the session may wait.
    gone: bool,
    /// Stanzas that it has handled, with stream management.
    handled: Option<u32>,
    id: Option<String>,
    /// What it had got, and not said so, before its stream counted: that may come again.
    uncounted: Vec<(Letter, bool)>,
    /// That comes again, and late.
    again: BTreeSet<Letter>,
    carbons: bool,
    /// All letters that came, in order; whether they were copies.
    seen: Vec<(Letter, bool)>,
    /// The number up to which letters do not count for older ones: it took none to the bare JID until then.
    aside: u32,
    read: BTreeSet<Letter>,
}

impl Device {
    fn new(name: usize, sid: StreamId, pings: Answers, acks: Answers) -> Device {
        Device {
            name,
            sid,
            pings,
            acks,
            open: Vec::new(),
            dead: false,
            gone: false,
            handled: None,
            id: None,
            uncounted: Vec::new(),
            again: BTreeSet::new(),
            carbons: false,
            seen: Vec::new(),
            aside: 0,
            read: BTreeSet::new(),
        }
    }

    fn is_healthy(&self) -> bool {
        self.pings == Answers::AtOnce && self.acks == Answers::AtOnce && !self.dead && !self.gone
    }
}

pub struct Life {
    seed: u64,
    dice: Dice,
    house: House,
    devices: Vec<Device>,
    senders: Vec<StreamId>,
    next: u32,
    /// Letters that must arrive.
    due: BTreeSet<Letter>,
    /// Letters that somebody has.
    arrived: BTreeSet<Letter>,
    /// Letters that were sent to one device.
    shared: BTreeSet<Letter>,
    log: Vec<String>,
    pub aloud: bool,
}

impl Life {
    pub fn new(seed: u64) -> Life {
        let mut house = House::with(|s| (s.resume_s, s.offline_bytes) = (300, 64 << 20));
        house.account(&format!("{OWNER}@{DOMAIN}"));
        let senders = (0..SENDERS).map(|n| house.login(&format!("sender{n}@{DOMAIN}/x"))).collect();
        Life {
            seed,
            dice: Dice::new(seed),
            house,
            devices: Vec::new(),
            senders,
            next: 0,
            due: BTreeSet::new(),
            arrived: BTreeSet::new(),
            shared: BTreeSet::new(),
            log: Vec::new(),
            aloud: false,
        }
    }

    fn say(&mut self, line: String) {
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

    pub fn live(mut self) {
        for _ in 0..STEPS {
            self.step();
            self.read_all();
        }
        self.end();
    }

    fn step(&mut self) {
        let n = self.devices.len();
        let at = if n > 0 { self.dice.roll(n) } else { 0 };
        match self.dice.roll(100) {
            0..12 => self.connect(),
            12..46 => self.write(),
            46..56 if n > 0 => self.change(at),
            56..62 if n > 0 => self.lose(at),
            62..68 if n > 0 => self.resume(at),
            68..74 if n > 0 => self.read_archive(at),
            74..82 if n > 0 => self.answer_late(at),
            82..86 => {
                self.say("storage waits".into());
                self.house.hold = true;
            }
            86..93 => {
                self.say("storage goes on".into());
                self.house.release();
            }
            93..95 => self.pass(61_000, 120_000),
            _ => self.pass(1, 9_000),
        }
    }

    fn pass(&mut self, least: u64, range: usize) {
        let ms = least + self.dice.roll(range) as u64;
        self.say(format!("{ms} ms pass"));
        self.house.pass(ms);
    }

    fn send(&mut self, at: usize, xml: &str) {
        let Device { name, sid, dead, gone, .. } = self.devices[at];
        if !dead && !gone {
            self.say(format!("r{name} ({}) says {xml}", sid.0));
            let took = self.takes(&self.devices[at]);
            self.house.send(sid, xml);
            if !took && self.takes(&self.devices[at]) {
                self.devices[at].aside = self.next;
            }
        }
    }

    fn connect(&mut self) {
        let name = self.dice.roll(DEVICES);
        // A session of this resource is replaced, dead or not.
        let sid = self.house.login(&format!("{OWNER}@{DOMAIN}/r{name}"));
        self.devices.retain(|d| d.name != name);
        let how = [Answers::AtOnce, Answers::AtOnce, Answers::Late, Answers::Never];
        // Half of them are healthy.
        let (pings, acks) = match self.dice.roll(2) {
            0 => (Answers::AtOnce, Answers::AtOnce),
            _ => (how[self.dice.roll(4)], how[self.dice.roll(4)]),
        };
        self.say(format!("r{name} connects as {}, pings {pings:?}, acks {acks:?}", sid.0));
        self.devices.push(Device::new(name, sid, pings, acks));
        let at = self.devices.len() - 1;
        if self.dice.roll(2) == 0 {
            self.enable(at);
        }
        if self.dice.roll(3) == 0 {
            self.read_archive(at);
        }
        if self.dice.roll(2) == 0 {
            self.want_copies(at);
        }
        if self.dice.roll(5) > 0 {
            self.send(at, "<presence/>");
        }
    }

    fn enable(&mut self, at: usize) {
        if self.devices[at].id.is_none() {
            self.send(at, "<enable xmlns='urn:xmpp:sm:3' resume='true'/>");
        }
    }

    fn want_copies(&mut self, at: usize) {
        if !self.devices[at].dead && !self.devices[at].gone {
            self.devices[at].carbons = true;
            self.send(at, "<iq type='set' id='c'><enable xmlns='urn:xmpp:carbons:2'/></iq>");
        }
    }

    fn change(&mut self, at: usize) {
        match self.dice.roll(8) {
            0 => self.send(at, "<presence type='unavailable'/>"),
            1 => self.send(at, "<presence><priority>-1</priority></presence>"),
            2 | 3 => self.send(at, "<presence/>"),
            4 => self.send(at, "<inactive xmlns='urn:xmpp:csi:0'/>"),
            5 => self.send(at, "<active xmlns='urn:xmpp:csi:0'/>"),
            6 => self.enable(at),
            _ => self.want_copies(at),
        }
    }

    fn lose(&mut self, at: usize) {
        let (name, sid) = (self.devices[at].name, self.devices[at].sid);
        if self.devices[at].gone {
            return;
        }
        match self.dice.roll(3) {
            0 => {
                self.say(format!("the line of r{name} dies, and the server does not know"));
                self.devices[at].dead = true;
            }
            1 => {
                self.say(format!("r{name} is cut off"));
                self.house.receive_all(sid);
                self.house.cut(sid);
                self.devices[at].gone = true;
            }
            _ if !self.devices[at].dead => {
                self.send(at, "</stream:stream>");
                self.devices.remove(at);
            }
            _ => {}
        }
        if self.devices.get(at).is_some_and(|d| d.gone && d.id.is_none()) {
            self.devices.remove(at);
        }
    }

    fn resume(&mut self, at: usize) {
        let device = &self.devices[at];
        let (Some(id), Some(h)) = (device.id.clone(), device.handled) else { return };
        if !device.dead && !device.gone {
            return;
        }
        let (name, before) = (device.name, device.sid);
        self.house.receive_all(before);
        let sid = self.house.authenticate(&format!("{OWNER}@{DOMAIN}"));
        self.say(format!("r{name} comes back as {}, has handled {h}", sid.0));
        self.house.send(sid, &format!("<resume xmlns='urn:xmpp:sm:3' previd='{id}' h='{h}'/>"));
        self.house.release();
        let Some(answer) = self.house.receive(sid) else { return self.check(false, || "no answer".into()) };
        self.say(format!("is told {answer}"));
        if answer.starts_with("<resumed") {
            let device = &mut self.devices[at];
            (device.sid, device.dead, device.gone) = (sid, false, false);
            let again = std::mem::take(&mut device.uncounted);
            device.seen.retain(|letter| !again.contains(letter));
            device.again.extend(again.into_iter().map(|(letter, _)| letter));
        } else {
            self.house.cut(sid);
            self.devices.remove(at);
        }
    }

    fn read_archive(&mut self, at: usize) {
        let with = self.dice.roll(SENDERS + 1);
        let with = if with < SENDERS {
            format!(
                "<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'><value>urn:xmpp:mam:2</value></field>\
                 <field var='with'><value>sender{with}@{DOMAIN}</value></field></x>"
            )
        } else {
            String::new()
        };
        let before = ["<before/>", ""][self.dice.roll(2)];
        let max = 1 + self.dice.roll(9);
        let rsm = format!("<set xmlns='http://jabber.org/protocol/rsm'><max>{max}</max>{before}</set>");
        self.send(at, &format!("<iq type='set' id='q'><query xmlns='urn:xmpp:mam:2'>{with}{rsm}</query></iq>"));
    }

    /// A client that is late answers all it owes.
    fn answer_late(&mut self, at: usize) {
        if self.devices[at].pings == Answers::Late {
            self.answer(at);
        }
        if self.devices[at].acks == Answers::Late {
            self.acknowledge(at);
        }
    }

    fn answer(&mut self, at: usize) {
        if !self.devices[at].dead && !self.devices[at].gone {
            self.devices[at].uncounted.clear();
        }
        for id in std::mem::take(&mut self.devices[at].open) {
            self.send(at, &format!("<iq type='result' id='{id}' to='{DOMAIN}'/>"));
        }
    }

    fn acknowledge(&mut self, at: usize) {
        if let Some(h) = self.devices[at].handled {
            self.send(at, &format!("<a xmlns='urn:xmpp:sm:3' h='{h}'/>"));
        }
    }

    fn write(&mut self) {
        let from = self.dice.roll(SENDERS);
        if self.house.is_closed(self.senders[from]) {
            // It was silent for too long.
            self.senders[from] = self.house.login(&format!("sender{from}@{DOMAIN}/x"));
        }
        self.next += 1;
        let letter = (from, self.next);
        let n = self.devices.len();
        let one = (n > 0 && self.dice.roll(2) == 0).then(|| self.devices[self.dice.roll(n)].name);
        let to = one.map_or(format!("{OWNER}@{DOMAIN}"), |name| format!("{OWNER}@{DOMAIN}/r{name}"));
        // Who is not there is as the bare JID (RFC 6121 §8.5.3.2.1).
        let one = one.filter(|one| self.session(*one).is_some());
        let takes = |d: &Device| match one {
            Some(one) => d.name == one,
            None => self.takes(d),
        };
        let takers: Vec<StreamId> = self.devices.iter().filter(|d| takes(d)).map(|d| d.sid).collect();
        // On a dead line nobody can know better, unless the client owes something.
        let lost = |d: &Device| d.dead && d.handled.is_none() && takes(d) && !self.owes(d);
        if !self.devices.iter().any(lost) {
            self.due.insert(letter);
        }
        if one.is_some() {
            self.shared.insert(letter);
        }
        // A few of them fill a page.
        let size = if self.dice.roll(4) == 0 { 9_000 } else { 10 };
        let body = format!("{from}:{};{}", self.next, "x".repeat(size));
        self.say(format!("sender {from} writes {} to {to}", self.next));
        let xml = format!("<message type='chat' to='{to}' id='m{}'><body>{body}</body></message>", self.next);
        let waits = self.house.hold;
        self.house.send(self.senders[from], &xml);
        self.read_all();
        for device in self.devices.iter().filter(|d| d.is_healthy() && !waits) {
            let came = |copy: bool| device.seen.contains(&(letter, copy));
            let taken = takers.contains(&device.sid);
            self.check(!taken || came(false), || format!("{letter:?} did not come at once to r{}", device.name));
            let copied = device.carbons && !taken;
            self.check(!copied || came(true), || format!("no copy of {letter:?} at once for r{}", device.name));
        }
    }

    fn takes(&self, device: &Device) -> bool {
        self.session(device.name).is_some_and(|sid| self.house.state().sessions()[&sid].receives())
    }

    /// The session of a device, connected or not.
    fn session(&self, name: usize) -> Option<SessionId> {
        self.house.state().session_at(&Jid::parse(&format!("{OWNER}@{DOMAIN}/r{name}")).unwrap())
    }

    /// Whether a client was asked whether it has what it was handed, and has not answered.
    fn owes(&self, device: &Device) -> bool {
        self.session(device.name).is_some_and(|sid| !self.house.state().is_sure(sid))
    }

    fn read_all(&mut self) {
        loop {
            let mut quiet = true;
            for at in 0..self.devices.len() {
                if self.devices[at].dead || self.devices[at].gone {
                    continue;
                }
                for xml in self.house.receive_all(self.devices[at].sid) {
                    quiet = false;
                    self.read(at, &xml);
                }
            }
            if quiet {
                break;
            }
        }
        for at in (0..self.devices.len()).rev() {
            if self.house.is_closed(self.devices[at].sid) && !self.devices[at].gone {
                self.say(format!("r{} was hung up on", self.devices[at].name));
                self.devices[at].gone = true;
                if self.devices[at].id.is_none() {
                    self.devices.remove(at);
                }
            }
        }
        for n in 0..SENDERS {
            for xml in self.house.receive_all(self.senders[n]) {
                if xml.contains("type='error'") {
                    self.say(format!("sender {n} is told {xml}"));
                    let (_, id) = xml.split_once(" id='m").unwrap();
                    let id = id.split('\'').next().unwrap().parse().unwrap();
                    self.due.remove(&(n, id));
                }
            }
        }
    }

    fn read(&mut self, at: usize, xml: &str) {
        if xml.starts_with("<enabled") {
            let (_, id) = xml.split_once(" id='").unwrap();
            let device = &mut self.devices[at];
            (device.id, device.handled) = (Some(id.split('\'').next().unwrap().to_owned()), Some(0));
            if !device.open.is_empty() {
                device.uncounted = device.seen.clone();
            }
            return;
        }
        if xml.starts_with("<r ") {
            if self.devices[at].acks == Answers::AtOnce {
                self.acknowledge(at);
            }
            return;
        }
        let Ok(Some(stanza)) = Stanza::parse(xml, Scope::client()) else { return };
        if let Some(handled) = &mut self.devices[at].handled {
            *handled += 1;
        }
        match stanza.kind {
            Kind::Iq if stanza.ty == Type::Get && stanza.child(Ns::PING, "ping").is_some() => {
                self.devices[at].open.push(stanza.id().unwrap().into_owned());
                if self.devices[at].pings == Answers::AtOnce {
                    self.answer(at);
                }
            }
            Kind::Message => self.take(at, &stanza, xml),
            _ => {}
        }
    }

    fn take(&mut self, at: usize, stanza: &Stanza, xml: &str) {
        let (_, body) = xml.split_once("<body>").unwrap();
        let (head, _) = body.split_once(';').unwrap();
        let (from, n) = head.split_once(':').unwrap();
        let letter: Letter = (from.parse().unwrap(), n.parse().unwrap());
        let name = self.devices[at].name;
        let what = if stanza.child(Ns::MAM, "result").is_some() { "in the archive" } else { "" };
        let copy = stanza.child(Ns::CARBONS, "received").is_some();
        let old = stanza.child(Ns::DELAY, "delay").is_some();
        let late = old && (self.shared.contains(&letter) || self.devices[at].again.contains(&letter));
        self.say(format!("r{name} reads {letter:?} {what}{}", if copy { "copy" } else { "" }));
        if !what.is_empty() {
            self.devices[at].read.insert(letter);
            self.arrived.insert(letter);
            return;
        }
        let Device { seen, read, aside, .. } = &self.devices[at];
        self.check(!seen.contains(&(letter, copy)), || format!("{letter:?} came twice to r{name} ({copy})"));
        self.check(copy || !read.contains(&letter), || format!("r{name} had read {letter:?} in the archive"));
        // What somebody missed and had seen a copy of is not new.
        let known = late || (!copy && seen.contains(&(letter, true)));
        let before = seen.iter().map(|(l, _)| l).filter(|l| l.0 == letter.0 && !(old && l.1 <= *aside)).max();
        let ordered = known || before.is_none_or(|l| *l < letter);
        self.check(ordered, || format!("{letter:?} came to r{name} behind {before:?}"));
        if !copy {
            self.arrived.insert(letter);
        }
        self.devices[at].seen.push((letter, copy));
    }

    /// Everybody goes, somebody new comes, and nothing is missing; and then somebody else, and nothing comes again.
    fn end(mut self) {
        self.say("the end".into());
        self.house.release();
        self.read_all();
        for device in std::mem::take(&mut self.devices) {
            self.house.receive_all(device.sid);
            if !device.gone {
                self.house.cut(device.sid);
            }
        }
        self.pass(400_000, 1);
        for name in [90, 91] {
            self.house.release();
            let sid = self.house.login(&format!("{OWNER}@{DOMAIN}/r{name}"));
            let before = self.arrived.clone();
            self.devices = vec![Device::new(name, sid, Answers::AtOnce, Answers::AtOnce)];
            self.send(0, "<presence/>");
            self.read_all();
            self.check(!self.devices.is_empty(), || "a healthy device was hung up on".into());
            let seen: Vec<Letter> = self.devices[0].seen.iter().map(|(letter, _)| *letter).collect();
            for from in 0..SENDERS {
                let order: Vec<u32> = seen.iter().filter(|l| l.0 == from).map(|l| l.1).collect();
                self.check(order.is_sorted(), || format!("from storage came {order:?}"));
            }
            let lost: Vec<_> = self.due.difference(&self.arrived).collect();
            self.check(lost.is_empty(), || format!("lost: {lost:?}"));
            self.check(name == 90 || seen.is_empty(), || format!("came again: {seen:?}, {}", before.len()));
            self.house.cut(sid);
        }
    }
}
