//! Devices with stream management under a random life (XEP-0198): lines are cut with stanzas in them, or die unnoticed; clients come
//! back with the id of their stream, on time or too late; storage is slow, the power fails between any two steps.
//!
//! Each device keeps what a good client keeps, also over its own restart: the id of its stream, how many stanzas it has handled, what
//! it sent and was not acknowledged. What must hold, whatever happens:
//! - a letter that was acknowledged arrives;
//! - no device gets a letter twice;
//! - the letters of one device come to the other in order; one that was kept for a session that never came back may be late at
//!   another device, and says so (XEP-0203);
//! - the archive of each account has every letter that was acknowledged or arrived, once, in the order of each sender.
//!
//! `INGLENOOK_SEEDS=100000 cargo test --test resumption` runs more; `INGLENOOK_SEED=17` runs one, and prints it.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod house;

use house::{DOMAIN, Dice, House};
use inglenook::core::StreamId;
use inglenook::wire::{Kind, Ns, Scope, Stanza, Type};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// The devices: whose they are.
const DEVICES: [usize; 4] = [0, 1, 1, 2];
const STEPS: usize = 150;

/// One letter: sending device, receiving account, number. Numbers only grow.
type Letter = (usize, usize, u32);

#[derive(Default)]
struct Device {
    sid: Option<StreamId>,
    /// The id of its stream.
    id: Option<String>,
    /// Stanzas of the stream that it has handled.
    handled: u32,
    /// Stanzas that it sent on the stream.
    sent: u32,
    /// Those of them that are not acknowledged: their number on the stream, and the letter if it is one.
    open: VecDeque<(u32, Option<Letter>)>,
    /// Stream management is on.
    managed: bool,
    /// An `<r/>` of the server that it has not answered.
    asked: bool,
    seen: Vec<Letter>,
}

/// A letter that a server had only in memory when the power failed is sent again: XEP-0198 §4 has no remedy for that, but the id that
/// it comes with.
type Again = BTreeSet<Letter>;

struct Life {
    seed: u64,
    dice: Dice,
    house: House,
    devices: Vec<Device>,
    next: u32,
    acknowledged: BTreeSet<Letter>,
    again: Again,
    /// Connections that died and the server does not know.
    dead: Vec<StreamId>,
    log: Vec<String>,
    aloud: bool,
}

fn name(account: usize) -> String {
    ["ann", "bob", "cleo"][account].to_owned()
}

impl Life {
    fn new(seed: u64) -> Life {
        let mut house = House::with(|s| s.resume_s = 300);
        for account in 0..3 {
            house.account(&format!("{}@{DOMAIN}", name(account)));
        }
        Life {
            seed,
            dice: Dice::new(seed),
            house,
            devices: DEVICES.iter().map(|_| Device::default()).collect(),
            next: 0,
            acknowledged: BTreeSet::new(),
            again: BTreeSet::new(),
            dead: Vec::new(),
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

    fn live(mut self) {
        for _ in 0..STEPS {
            self.step();
        }
        self.end();
    }

    fn step(&mut self) {
        let d = self.dice.roll(self.devices.len());
        match self.dice.roll(100) {
            0..18 if self.devices[d].sid.is_none() => self.connect(d),
            18..26 => self.cut(d),
            26..29 => self.close(d),
            29..55 => self.write(d),
            55..58 => self.ask(d),
            58..62 => self.look(d),
            62..70 => self.answer(d),
            70..80 => {
                let n = 1 + self.dice.roll(6);
                self.read(d, n);
            }
            80..83 => {
                self.say("storage waits".into());
                self.house.hold = true;
            }
            83..87 => {
                self.say("storage goes on".into());
                self.house.release();
            }
            87..90 => {
                self.say("one piece is stored".into());
                self.house.store_one();
            }
            90..92 => self.reboot(true),
            92 => self.reboot(false),
            93 => self.pass(200_000, 300_000),
            _ => self.pass(1, 9_000),
        }
        self.notice();
    }

    fn pass(&mut self, least: u64, range: usize) {
        let ms = least + self.dice.roll(range) as u64;
        self.say(format!("{ms} ms pass"));
        self.house.pass(ms);
    }

    fn reboot(&mut self, cut: bool) {
        if cut {
            self.say("the power fails".into());
            self.house.power_cut();
        } else {
            self.say("a restart".into());
            self.house.restart();
        }
        self.dead.clear();
        for device in &mut self.devices {
            device.sid = None;
            device.asked = false;
        }
    }

    /// Those that the server hung up on.
    fn notice(&mut self) {
        for d in 0..self.devices.len() {
            if self.devices[d].sid.is_some_and(|sid| self.house.is_closed(sid)) {
                self.say(format!("{d} was hung up on"));
                self.read(d, usize::MAX);
                self.devices[d].sid = None;
            }
        }
    }

    fn connect(&mut self, d: usize) {
        let account = name(DEVICES[d]);
        let sid = self.house.authenticate(&format!("{account}@{DOMAIN}"));
        self.say(format!("{d} connects as {}", sid.0));
        self.devices[d].sid = Some(sid);
        self.devices[d].asked = false;
        if let Some(id) = self.devices[d].id.clone() {
            let h = self.devices[d].handled;
            self.say(format!("{d} resumes, has handled {h}"));
            self.house.send(sid, &format!("<resume xmlns='urn:xmpp:sm:3' previd='{id}' h='{h}'/>"));
            // The answer may have to wait for storage, and no longer than that.
            let answer = loop {
                match self.house.receive(sid) {
                    Some(answer) => break answer,
                    None => {
                        // Meanwhile life goes on.
                        let other = self.dice.roll(self.devices.len());
                        if other != d && self.dice.roll(2) == 0 {
                            self.write(other);
                        }
                        assert!(self.house.store_one(), "no answer, and nothing that it waits for");
                    }
                }
            };
            self.say(format!("{d} is told {answer}"));
            let resumed = answer.starts_with("<resumed");
            let h = attribute(&answer, "h").map(|h| h.parse::<u32>().unwrap());
            if let Some(h) = h {
                self.acknowledged_to(d, h, resumed);
            }
            if resumed {
                let open: Vec<_> = self.devices[d].open.iter().copied().collect();
                for (_, letter) in open {
                    self.transmit(d, letter);
                }
                return;
            }
        }
        self.bind(d);
    }

    /// A new session; what is not known to have arrived is sent again.
    fn bind(&mut self, d: usize) {
        let sid = self.devices[d].sid.unwrap();
        self.house.send(
            sid,
            &format!(
                "<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>d{d}</resource></bind></iq>\
                 <enable xmlns='urn:xmpp:sm:3' resume='true'/>"
            ),
        );
        let answers = self.house.receive_all(sid);
        let enabled = answers.iter().find(|xml| xml.starts_with("<enabled")).unwrap();
        let open = std::mem::take(&mut self.devices[d].open);
        let device = &mut self.devices[d];
        device.id = Some(attribute(enabled, "id").unwrap().to_owned());
        (device.handled, device.sent, device.managed) = (0, 0, true);
        self.send(d, "<presence/>".into(), None);
        for letter in open.into_iter().filter_map(|(_, letter)| letter) {
            let stored = self.house.is_logged(&body(letter));
            self.check(!stored, || format!("{letter:?} is stored, and {d} was not told"));
            self.again.insert(letter);
            self.post(d, letter);
        }
    }

    fn acknowledged_to(&mut self, d: usize, h: u32, promised: bool) {
        while let Some((n, letter)) = self.devices[d].open.front().copied().filter(|(n, _)| *n <= h) {
            self.devices[d].open.pop_front();
            if let Some(letter) = letter {
                self.say(format!("{letter:?} is acknowledged as {n} ({promised})"));
                self.acknowledged.insert(letter);
            }
        }
        let sent = self.devices[d].sent;
        self.check(h <= sent, || format!("{d} sent {sent} and is told {h}"));
    }

    fn send(&mut self, d: usize, xml: String, letter: Option<Letter>) {
        let device = &mut self.devices[d];
        device.sent += 1;
        device.open.push_back((device.sent, letter));
        self.transmit_xml(d, &xml);
    }

    fn post(&mut self, d: usize, letter: Letter) {
        self.send(d, xml(letter), Some(letter));
    }

    fn transmit(&mut self, d: usize, letter: Option<Letter>) {
        let xml = letter.map_or("<presence/>".into(), xml);
        self.transmit_xml(d, &xml);
    }

    /// In pieces; now and then the line breaks in the middle.
    fn transmit_xml(&mut self, d: usize, xml: &str) {
        let Some(sid) = self.devices[d].sid else { return };
        self.say(format!("{d} sends {xml}"));
        if self.dice.roll(40) == 0 {
            let (piece, _) = xml.split_at(self.dice.roll(xml.len()));
            self.house.send(sid, piece);
            return self.cut(d);
        }
        let (one, two) = xml.split_at(self.dice.roll(xml.len()));
        self.house.send(sid, one);
        self.house.send(sid, two);
    }

    fn write(&mut self, d: usize) {
        if self.devices[d].sid.is_none() {
            return;
        }
        let from = DEVICES[d];
        let to = (from + 1 + self.dice.roll(2)) % 3;
        self.next += 1;
        self.post(d, (d, to, self.next));
    }

    fn ask(&mut self, d: usize) {
        if let Some(sid) = self.devices[d].sid {
            self.house.send(sid, "<r xmlns='urn:xmpp:sm:3'/>");
        }
    }

    /// Somebody looks at it, or no longer (XEP-0352).
    fn look(&mut self, d: usize) {
        let state = ["active", "inactive", "inactive"][self.dice.roll(3)];
        if let Some(sid) = self.devices[d].sid {
            self.say(format!("{d} is {state}"));
            self.house.send(sid, &format!("<{state} xmlns='urn:xmpp:csi:0'/>"));
        }
    }

    fn answer(&mut self, d: usize) {
        let Some(sid) = self.devices[d].sid else { return };
        if self.dice.roll(2) == 0 {
            self.read(d, usize::MAX);
        }
        let h = self.devices[d].handled;
        self.say(format!("{d} says it has handled {h}"));
        self.house.send(sid, &format!("<a xmlns='urn:xmpp:sm:3' h='{h}'/>"));
    }

    fn cut(&mut self, d: usize) {
        let Some(sid) = self.devices[d].sid.take() else { return };
        // What was on the line is lost.
        self.house.receive_all(sid);
        if self.dice.roll(3) == 0 {
            self.say(format!("{d}'s line dies, and the server does not know"));
            self.dead.push(sid);
        } else {
            self.say(format!("{d} is cut off"));
            self.house.cut(sid);
        }
    }

    /// As XEP-0198 recommends: it says what it has, then ends the stream, and reads what still comes.
    fn close(&mut self, d: usize) {
        let Some(sid) = self.devices[d].sid else { return };
        self.read(d, usize::MAX);
        let h = self.devices[d].handled;
        self.say(format!("{d} has handled {h}, and closes"));
        self.house.release();
        self.read(d, usize::MAX);
        let h = self.devices[d].handled;
        self.house.send(sid, &format!("<a xmlns='urn:xmpp:sm:3' h='{h}'/><r xmlns='urn:xmpp:sm:3'/></stream:stream>"));
        self.read(d, usize::MAX);
        self.devices[d].sid = None;
    }

    /// Reads so many elements.
    fn read(&mut self, d: usize, n: usize) {
        let Some(sid) = self.devices[d].sid else { return };
        for _ in 0..n {
            let Some(xml) = self.house.receive(sid) else { return };
            if xml.starts_with("<a ") {
                let h = attribute(&xml, "h").unwrap().parse().unwrap();
                self.acknowledged_to(d, h, true);
            } else if xml.starts_with("<r ") {
                self.devices[d].asked = true;
                if self.dice.roll(2) == 0 {
                    self.answer_now(d);
                }
            } else if let Ok(Some(stanza)) = Stanza::parse(&xml, Scope::client()) {
                self.devices[d].handled += 1;
                self.take(d, &stanza, &xml);
            }
        }
    }

    fn answer_now(&mut self, d: usize) {
        if let Some(sid) = self.devices[d].sid {
            let h = self.devices[d].handled;
            self.say(format!("{d} answers that it has handled {h}"));
            self.house.send(sid, &format!("<a xmlns='urn:xmpp:sm:3' h='{h}'/>"));
        }
    }

    fn take(&mut self, d: usize, stanza: &Stanza, xml: &str) {
        self.say(format!("{d} reads {}: {xml}", self.devices[d].handled));
        if stanza.kind != Kind::Message || stanza.ty != Type::Chat {
            return;
        }
        let letter = letter(xml);
        let seen = &self.devices[d].seen;
        self.check(letter.1 == DEVICES[d], || format!("{letter:?} came to {d}"));
        if seen.contains(&letter) && self.again.contains(&letter) {
            return;
        }
        self.check(!seen.contains(&letter), || format!("{letter:?} came twice to {d}"));
        let late =
            stanza.child(Ns::DELAY, "delay").is_some() && DEVICES.iter().filter(|a| **a == DEVICES[d]).count() > 1;
        let before = seen.iter().rev().find(|l| l.0 == letter.0);
        let in_order = late || before.is_none_or(|l| l.2 < letter.2);
        // What came late does not count for those that follow.
        let in_order = in_order || seen.iter().filter(|l| l.0 == letter.0).any(|l| l.2 > letter.2) && late;
        self.check(in_order, || format!("{letter:?} came to {d} behind {before:?}"));
        self.devices[d].seen.push(letter);
    }

    /// Everybody comes back, and nothing is missing.
    fn end(mut self) {
        self.say("the end".into());
        self.house.release();
        for _ in 0..3 {
            for d in 0..self.devices.len() {
                if self.devices[d].sid.is_none() {
                    self.connect(d);
                }
                self.notice();
            }
            for _ in 0..20 {
                for d in 0..self.devices.len() {
                    self.ask(d);
                    self.read(d, usize::MAX);
                    self.answer_now(d);
                }
                self.notice();
            }
        }
        // Whoever was cut off by chance comes again.
        for d in 0..self.devices.len() {
            while self.devices[d].sid.is_none() {
                self.connect(d);
            }
        }
        self.pass(2_000_000, 1);
        self.notice();
        let seen: BTreeMap<usize, BTreeSet<Letter>> = (0..3)
            .map(|account| {
                let devices = self.devices.iter().zip(DEVICES).filter(|(_, a)| *a == account);
                (account, devices.flat_map(|(d, _)| d.seen.iter().copied()).collect())
            })
            .collect();
        let lost: Vec<_> = self.acknowledged.iter().filter(|l| !seen[&l.1].contains(l)).collect();
        self.check(lost.is_empty(), || format!("lost: {lost:?}"));
        self.archives(&seen);
        // And then the power fails once more: nothing comes again to somebody new.
        self.house.power_cut();
        for account in 0..3 {
            let sid = self.house.login(&format!("{}@{DOMAIN}/new", name(account)));
            self.house.send(sid, "<presence/>");
            let came = self.house.receive_all(sid).into_iter().filter(|xml| xml.starts_with("<message"));
            let again = came.map(|xml| letter(&xml)).find(|letter| seen[&account].contains(letter));
            self.check(again.is_none(), || format!("came again after everything was confirmed: {again:?}"));
        }
    }

    fn archives(&mut self, seen: &BTreeMap<usize, BTreeSet<Letter>>) {
        for account in 0..3 {
            let sid = self.house.login(&format!("{}@{DOMAIN}/archive", name(account)));
            let mut letters = Vec::new();
            let mut after = String::new();
            loop {
                self.house.send(
                    sid,
                    &format!(
                        "<iq type='set' id='q'><query xmlns='urn:xmpp:mam:2'>\
                         <set xmlns='http://jabber.org/protocol/rsm'><max>7</max>{after}</set></query></iq>"
                    ),
                );
                let page = self.house.receive_all(sid);
                letters.extend(page.iter().filter(|xml| xml.starts_with("<message")).map(|xml| letter(xml)));
                // A ping may follow, if a letter waits that nobody has seen.
                let end = page.iter().find(|xml| xml.contains("<fin ")).unwrap();
                if end.contains("complete='true'") {
                    break;
                }
                let (_, last) = end.split_once("<last>").unwrap();
                after = format!("<after>{}</after>", last.split('<').next().unwrap());
            }
            let once: BTreeSet<Letter> = letters.iter().copied().collect();
            self.check(once.len() == letters.len(), || format!("twice in the archive of {account}: {letters:?}"));
            let mine = |l: &&Letter| l.1 == account || DEVICES[l.0] == account;
            let missing: Vec<_> = self.acknowledged.iter().filter(mine).filter(|l| !once.contains(l)).collect();
            self.check(missing.is_empty(), || format!("not in the archive of {account}: {missing:?}"));
            let missing: Vec<_> = seen[&account].iter().filter(|l| !once.contains(l)).collect();
            self.check(missing.is_empty(), || format!("arrived, and is not in the archive of {account}: {missing:?}"));
            for d in 0..DEVICES.len() {
                let order: Vec<u32> = letters.iter().filter(|l| l.0 == d).map(|l| l.2).collect();
                self.check(order.is_sorted(), || format!("the archive of {account} has {order:?} of {d}"));
            }
        }
    }
}

fn attribute<'a>(xml: &'a str, name: &str) -> Option<&'a str> {
    let head = xml.split('>').next()?;
    let (_, rest) = head.split_once(&format!(" {name}='"))?;
    rest.split('\'').next()
}

fn body((d, to, n): Letter) -> String {
    format!("<body>{d}>{to}:{n}</body>")
}

fn xml(letter: Letter) -> String {
    let (_, to, n) = letter;
    format!("<message type='chat' to='{}@{DOMAIN}' id='m{n}'>{}</message>", name(to), body(letter))
}

fn letter(xml: &str) -> Letter {
    let (_, body) = xml.split_once("<body>").unwrap();
    let (body, _) = body.split_once("</body>").unwrap();
    let (devices, n) = body.split_once(':').unwrap();
    let (from, to) = devices.split_once('>').unwrap();
    (from.parse().unwrap(), to.parse().unwrap(), n.parse().unwrap())
}

#[test]
fn random_lives() {
    let number = |name: &str| std::env::var(name).ok().map(|v| v.parse::<u64>().unwrap());
    if let Some(seed) = number("INGLENOOK_SEED") {
        let mut life = Life::new(seed);
        life.aloud = true;
        return life.live();
    }
    let seeds = number("INGLENOOK_SEEDS").unwrap_or(600);
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
    std::thread::scope(|scope| {
        for thread in 0..threads {
            scope.spawn(move || (thread..seeds).step_by(threads as usize).for_each(|seed| Life::new(seed).live()));
        }
    });
}
