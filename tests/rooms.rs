//! A room under a random life (XEP-0045): people come, go, talk, change their nicknames, are kicked, banned and let in again; lines
//! are cut and streams resumed; storage is slow, the power fails between any two steps. Every seed is one life, the same each time.
//!
//! What must hold, whatever happens:
//! - what is said comes to all occupants in the same order, once, without a gap from the history that they got when they came;
//! - whoever was banned never sees what was said before the ban was lifted, neither at once nor in the history nor in the archive (but
//!   for what their stream was sent before the ban and holds for them until it is resumed);
//! - a ban that was confirmed holds, also after a power cut;
//! - all occupants see the same occupants;
//! - what is said to one occupant comes to that one alone;
//! - the archive is what was delivered: the same messages, in the same order, by the same ids. Only what was not yet stored when the
//!   power failed is missing, and that was not acknowledged.
//!
//! `INGLENOOK_SEEDS=100000 cargo test --test rooms` runs more; `INGLENOOK_SEED=17` runs one, and prints it.
#![allow(clippy::unwrap_used, clippy::print_stderr, clippy::needless_range_loop)]

mod house;

use house::{DOMAIN, Dice, House};
use inglenook::core::StreamId;
use inglenook::wire::{Kind, Ns, Scope, Stanza, Type};
use std::collections::{BTreeMap, BTreeSet};

const ROOM: &str = "coven@conference.house.test";
/// The devices: whose they are. The first person owns the room.
const DEVICES: [usize; 5] = [0, 1, 1, 2, 3];
const PEOPLE: [&str; 4] = ["ann", "bob", "cleo", "dora"];
const OWNER: usize = 0;
const STEPS: usize = 150;

#[derive(Default)]
struct Device {
    sid: Option<StreamId>,
    /// Stream management: the id of its stream, and how many stanzas of it were handled.
    id: Option<String>,
    handled: u32,
    managed: bool,
    /// Whether it is an occupant, as far as it knows.
    joined: bool,
    /// It has asked to come in and has no answer.
    asks: bool,
    nick: String,
    /// The occupants that it sees.
    view: BTreeSet<String>,
    /// What it read since it came in: places in [`Life::said`], ascending without a gap.
    read: Vec<usize>,
    /// Private messages it read.
    private: BTreeSet<u32>,
    /// Its person was banned while its stream waited for it: what was sent to it before, up to that place, is on its way.
    late: Option<usize>,
}

struct Life {
    seed: u64,
    dice: Dice,
    house: House,
    devices: Vec<Device>,
    next: u32,
    /// What was said, in the order of the room: number, and the id that the room gave it.
    said: Vec<(u32, Option<String>)>,
    /// How much of it is on stable storage for sure.
    stored: usize,
    /// Who is banned; and for each where in `said` what they may see begins.
    banned: [bool; PEOPLE.len()],
    begins: [usize; PEOPLE.len()],
    /// Requests of the owner that are not answered: id, person, ban or not.
    asked: BTreeMap<String, (usize, bool)>,
    /// Numbers of private messages, and which device's nickname they were for.
    whispered: BTreeMap<u32, usize>,
    log: Vec<String>,
    aloud: bool,
}

fn jid(person: usize) -> String {
    format!("{}@{DOMAIN}", PEOPLE[person])
}

fn attribute<'a>(xml: &'a str, name: &str) -> Option<&'a str> {
    let head = xml.split('>').next()?;
    let (_, rest) = head.split_once(&format!(" {name}='"))?;
    rest.split('\'').next()
}

fn stanza(xml: &str) -> Option<Stanza> {
    Stanza::parse(xml, Scope::client()).ok().flatten()
}

/// The number in a body.
fn number(stanza: &Stanza) -> Option<u32> {
    stanza.child(Ns::CLIENT, "body")?.text().parse().ok()
}

/// The id that the room gave a message.
fn stanza_id(stanza: &Stanza) -> Option<String> {
    let by_room = |c: &inglenook::wire::Node<'_>| c.is(Ns::SID, "stanza-id") && c.attr("by").as_deref() == Some(ROOM);
    stanza.children().find(by_room)?.attr("id").map(|id| id.into_owned())
}

impl Life {
    fn new(seed: u64) -> Life {
        let mut house = House::with(|s| s.resume_s = 300);
        for person in 0..PEOPLE.len() {
            house.account(&jid(person));
        }
        let mut life = Life {
            seed,
            dice: Dice::new(seed),
            house,
            devices: DEVICES.iter().map(|_| Device::default()).collect(),
            next: 0,
            said: Vec::new(),
            stored: 0,
            banned: [false; PEOPLE.len()],
            begins: [0; PEOPLE.len()],
            asked: BTreeMap::new(),
            whispered: BTreeMap::new(),
            log: Vec::new(),
            aloud: std::env::var_os("INGLENOOK_SEED").is_some(),
        };
        for (d, device) in life.devices.iter_mut().enumerate() {
            device.nick = format!("d{d}");
        }
        life
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
        self.found();
        for _ in 0..STEPS {
            self.step();
            self.read_all();
            self.all_see_the_same();
        }
        self.end();
    }

    /// The owner makes the room; some are members-only, and then everybody is a member.
    fn found(&mut self) {
        self.connect(0);
        self.join(0);
        let closed = self.dice.roll(2);
        let field = |var: &str, value: &str| format!("<field var='{var}'><value>{value}</value></field>");
        let form = field("FORM_TYPE", "http://jabber.org/protocol/muc#roomconfig")
            + &field("muc#roomconfig_persistentroom", "1")
            + &field("muc#roomconfig_membersonly", &closed.to_string());
        let form = format!("<x xmlns='jabber:x:data' type='submit'>{form}</x>");
        self.send(
            0,
            &format!("<iq type='set' id='config' to='{ROOM}'><query xmlns='http://jabber.org/protocol/muc#owner'>{form}</query></iq>"),
        );
        for person in 1..PEOPLE.len() {
            let item = format!("<item jid='{}' affiliation='member'/>", jid(person));
            self.send(0, &admin(&format!("m{person}"), &item));
        }
        self.read_all();
        self.check(self.devices[0].joined, || "the owner is not in the room".into());
    }

    fn step(&mut self) {
        let d = self.dice.roll(self.devices.len());
        let sid = self.devices[d].sid;
        match self.dice.roll(100) {
            0..14 if sid.is_none() => self.connect(d),
            14..30 if sid.is_some() && !self.devices[d].joined => self.join(d),
            30..34 if self.devices[d].joined => self.leave(d),
            34..39 => self.cut(d),
            39..64 => self.talk(d),
            64..68 => self.whisper(d),
            68..71 => self.rename(d),
            71..74 => self.kick(),
            74..80 => self.ban(),
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
            90 => self.reboot(true),
            91 => self.reboot(false),
            92 => self.pass(200_000, 300_000),
            _ => self.pass(1, 9_000),
        }
    }

    fn pass(&mut self, least: u64, range: usize) {
        let ms = least + self.dice.roll(range) as u64;
        self.say(format!("{ms} ms pass"));
        // In short steps: whoever is there answers in time.
        for _ in 0..ms.div_ceil(30_000) {
            self.house.pass(ms.min(30_000));
            self.read_all();
        }
    }

    fn send(&mut self, d: usize, xml: &str) {
        let Some(sid) = self.devices[d].sid else { return };
        self.say(format!("{d} sends {xml}"));
        self.house.send(sid, xml);
    }

    fn connect(&mut self, d: usize) {
        let sid = self.house.authenticate(&jid(DEVICES[d]));
        self.devices[d].sid = Some(sid);
        self.say(format!("{d} connects as {}", sid.0));
        if let Some(id) = self.devices[d].id.take() {
            let h = self.devices[d].handled;
            self.house.send(sid, &format!("<resume xmlns='urn:xmpp:sm:3' previd='{id}' h='{h}'/>"));
            let answer = loop {
                match self.house.receive(sid) {
                    Some(answer) => break answer,
                    None => assert!(self.house.store_one(), "no answer, and nothing that it waits for"),
                }
            };
            self.say(format!("{d} is told {answer}"));
            if answer.starts_with("<resumed") {
                self.devices[d].id = Some(id);
                return;
            }
        }
        self.house.send(
            sid,
            &format!(
                "<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>r{d}</resource></bind></iq>"
            ),
        );
        let device = &mut self.devices[d];
        (device.managed, device.joined, device.asks, device.handled) = (d % 2 == 1, false, false, 0);
        device.late = None;
        if device.managed {
            self.house.send(sid, "<enable xmlns='urn:xmpp:sm:3' resume='true'/>");
        }
        let answers = self.house.receive_all(sid);
        let enabled = answers.iter().find(|xml| xml.starts_with("<enabled"));
        self.devices[d].id = enabled.and_then(|xml| attribute(xml, "id")).map(str::to_owned);
        self.check(self.devices[d].managed == self.devices[d].id.is_some(), || format!("{d} is told {answers:?}"));
    }

    fn join(&mut self, d: usize) {
        if self.devices[d].asks {
            return;
        }
        let device = &mut self.devices[d];
        device.asks = true;
        device.view.clear();
        device.read.clear();
        let history = match self.dice.roll(3) {
            0 => "<history maxstanzas='5'/>",
            1 => "<history maxstanzas='0'/>",
            _ => "",
        };
        let to = format!("{ROOM}/{}", self.devices[d].nick);
        self.send(
            d,
            &format!("<presence to='{to}'><x xmlns='http://jabber.org/protocol/muc'>{history}</x></presence>"),
        );
    }

    fn leave(&mut self, d: usize) {
        let to = format!("{ROOM}/{}", self.devices[d].nick);
        self.send(d, &format!("<presence type='unavailable' to='{to}'/>"));
    }

    fn cut(&mut self, d: usize) {
        let Some(sid) = self.devices[d].sid.take() else { return };
        self.say(format!("{d} is cut off"));
        // What was on the line is lost.
        self.house.receive_all(sid);
        self.house.cut(sid);
        if !self.devices[d].managed {
            self.lost(d);
        }
    }

    fn lost(&mut self, d: usize) {
        let device = &mut self.devices[d];
        (device.joined, device.asks, device.late) = (false, false, None);
    }

    fn talk(&mut self, d: usize) {
        if self.devices[d].joined && self.devices[d].sid.is_some() {
            self.next += 1;
            let xml = format!("<message type='groupchat' to='{ROOM}' id='g{0}'><body>{0}</body></message>", self.next);
            self.send(d, &xml);
            // Nobody may have read it yet.
            self.said.push((self.next, None));
        }
    }

    fn whisper(&mut self, d: usize) {
        let to = self.dice.roll(self.devices.len());
        if d == to || !self.devices[d].joined || self.devices[d].sid.is_none() {
            return;
        }
        self.next += 1;
        self.whispered.insert(self.next, to);
        let nick = &self.devices[to].nick;
        let x = "<x xmlns='http://jabber.org/protocol/muc#user'/>";
        self.send(d, &format!("<message type='chat' to='{ROOM}/{nick}'><body>{}</body>{x}</message>", self.next));
    }

    fn rename(&mut self, d: usize) {
        if self.devices[d].joined && self.devices[d].sid.is_some() {
            let nick = format!("d{d}-{}", self.dice.roll(3));
            self.send(d, &format!("<presence to='{ROOM}/{nick}'/>"));
        }
    }

    fn kick(&mut self) {
        let d = 1 + self.dice.roll(self.devices.len() - 1);
        if self.devices[0].joined {
            let item = format!("<item nick='{}' role='none'/>", self.devices[d].nick);
            self.send(0, &admin(&format!("k{}", self.log.len()), &item));
        }
    }

    fn ban(&mut self) {
        let person = 1 + self.dice.roll(PEOPLE.len() - 1);
        let Some(_) = self.devices[0].sid else { return };
        if self.asked.values().any(|(other, _)| *other == person) {
            return;
        }
        let ban = !self.banned[person];
        let id = format!("b{}", self.log.len());
        self.asked.insert(id.clone(), (person, ban));
        let affiliation = if ban { "outcast" } else { "member" };
        // Nothing that is said later is before it.
        self.read_all();
        self.send(0, &admin(&id, &format!("<item jid='{}' affiliation='{affiliation}'/>", jid(person))));
        if ban {
            self.banned[person] = true;
            self.on_its_way(person);
        }
        self.begins[person] = self.said.len();
    }

    /// Somebody is banned: what their streams hold for them, they get when these are resumed.
    fn on_its_way(&mut self, person: usize) {
        for (d, device) in self.devices.iter_mut().enumerate() {
            if DEVICES[d] == person && device.sid.is_none() && device.joined {
                device.late = Some(self.said.len());
            }
        }
    }

    fn reboot(&mut self, cut: bool) {
        self.read_all();
        self.say(if cut { "the power fails" } else { "a restart" }.into());
        if cut {
            let lost = self.house.hold || self.house.uncommitted() > 0;
            self.house.power_cut();
            if !lost {
                self.stored = self.said.len();
            }
        } else {
            self.house.restart();
            self.stored = self.said.len();
        }
        for d in 0..self.devices.len() {
            self.devices[d].sid = None;
            self.devices[d].id = None;
            self.lost(d);
        }
        self.known_again();
        self.let_in_again();
    }

    /// What was asked for and not answered has happened or not: it is asked for again.
    fn let_in_again(&mut self) {
        let asked: Vec<usize> = std::mem::take(&mut self.asked).into_values().map(|(person, _)| person).collect();
        if self.devices[0].sid.is_none() {
            self.connect(0);
        }
        for person in asked {
            self.say(format!("{} is let in again, whatever it was", PEOPLE[person]));
            let sid = self.devices[0].sid.unwrap();
            for affiliation in ["outcast", "member"] {
                let item = format!("<item jid='{}' affiliation='{affiliation}'/>", jid(person));
                self.house.send(sid, &admin("again", &item));
            }
            self.on_its_way(person);
            self.banned[person] = false;
            self.begins[person] = self.said.len();
        }
        self.read_all();
    }

    /// What was not stored is gone, from the end on.
    fn known_again(&mut self) {
        let ids = self.archive(OWNER);
        let kept = ids.len();
        self.check(kept >= self.stored, || format!("{kept} in the archive, {} were stored", self.stored));
        self.same_as_said(&ids);
        self.said.truncate(kept);
        self.stored = kept;
        for begins in &mut self.begins {
            *begins = kept.min(*begins);
        }
    }

    fn same_as_said(&self, ids: &[(u32, String)]) {
        self.check(ids.len() <= self.said.len(), || format!("more in the archive than was said: {ids:?}"));
        for ((n, id), (said, as_id)) in ids.iter().zip(&self.said) {
            self.check(n == said, || format!("{n} in the archive where {said} was said"));
            let known = as_id.as_ref().is_none_or(|known| known == id);
            self.check(known, || format!("{n} is {id} in the archive and was {as_id:?}"));
        }
    }

    /// What the archive of the room shows somebody: numbers and ids.
    fn archive(&mut self, person: usize) -> Vec<(u32, String)> {
        let sid = self.house.login(&format!("{}/archive", jid(person)));
        let mut found = Vec::new();
        let mut after = String::new();
        loop {
            self.house.send(
                sid,
                &format!(
                    "<iq type='set' id='q' to='{ROOM}'><query xmlns='urn:xmpp:mam:2'>\
                     <set xmlns='http://jabber.org/protocol/rsm'><max>20</max>{after}</set></query></iq>"
                ),
            );
            let page = self.house.receive_all(sid);
            for xml in page.iter().filter(|xml| xml.starts_with("<message")) {
                let message = stanza(xml).unwrap();
                let Some(result) = message.child(Ns::MAM, "result") else { continue };
                let forwarded = result.child(Ns::FORWARD, "forwarded").unwrap();
                let inner = forwarded.child(Ns::CLIENT, "message").unwrap();
                if let Some(body) = inner.child(Ns::CLIENT, "body") {
                    found.push((body.text().parse().unwrap(), result.attr("id").unwrap().into_owned()));
                }
            }
            let end = page.iter().find(|xml| xml.contains("<fin "));
            let Some(end) = end else {
                self.check(page.iter().any(|xml| xml.contains("type='error'")), || format!("no answer, but {page:?}"));
                break;
            };
            if end.contains("complete='true'") {
                break;
            }
            let (_, last) = end.split_once("<last>").unwrap();
            after = format!("<after>{}</after>", last.split('<').next().unwrap());
        }
        self.house.cut(sid);
        found
    }

    fn read_all(&mut self) {
        loop {
            let mut quiet = true;
            for d in 0..self.devices.len() {
                let Some(sid) = self.devices[d].sid else { continue };
                for xml in self.house.receive_all(sid) {
                    quiet = false;
                    self.read(d, &xml);
                }
                if self.house.is_closed(sid) {
                    self.say(format!("{d} was hung up on"));
                    self.devices[d].sid = None;
                    self.devices[d].id = None;
                    self.lost(d);
                }
            }
            if quiet {
                break;
            }
        }
        if !self.house.hold && self.house.uncommitted() == 0 {
            self.stored = self.said.len();
        }
    }

    fn read(&mut self, d: usize, xml: &str) {
        self.say(format!("{d} reads {xml}"));
        if xml.starts_with("<r ") {
            let (sid, h) = (self.devices[d].sid.unwrap(), self.devices[d].handled);
            return self.house.send(sid, &format!("<a xmlns='urn:xmpp:sm:3' h='{h}'/>"));
        }
        let Some(stanza) = stanza(xml) else { return };
        self.devices[d].handled += 1;
        let from_room = stanza.from.as_ref().is_some_and(|from| from.bare_str() == ROOM);
        match (stanza.kind, stanza.ty) {
            (Kind::Iq, Type::Get) => {
                let (sid, id) = (self.devices[d].sid.unwrap(), stanza.id().unwrap().into_owned());
                let to = stanza.from.map(|from| format!(" to='{from}'")).unwrap_or_default();
                self.house.send(sid, &format!("<iq type='result' id='{id}'{to}/>"));
            }
            (Kind::Iq, Type::Result) => {
                if let Some((person, ban)) = self.asked.remove(&*stanza.id().unwrap_or_default()) {
                    self.banned[person] = ban;
                }
            }
            (Kind::Iq, Type::Error) => {
                let refused = self.asked.contains_key(&*stanza.id().unwrap_or_default());
                self.check(!refused, || format!("the owner is refused: {xml}"));
            }
            (Kind::Presence, Type::Error) if from_room => {
                let own = self.devices[d].asks;
                if own {
                    let person = DEVICES[d];
                    let known = self.banned[person] || self.asked.values().any(|(other, _)| *other == person);
                    self.check(known, || format!("{d} cannot come in: {xml}"));
                    self.lost(d);
                }
            }
            (Kind::Presence, _) if from_room => self.sees(d, &stanza),
            (Kind::Message, Type::Groupchat) if from_room => self.hears(d, &stanza),
            (Kind::Message, Type::Chat) if from_room => {
                let n = number(&stanza).unwrap();
                self.check(self.whispered[&n] == d, || format!("{n} was for {} and came to {d}", self.whispered[&n]));
                let once = self.devices[d].private.insert(n);
                self.check(once, || format!("{n} came twice to {d}"));
            }
            _ => {}
        }
    }

    fn sees(&mut self, d: usize, presence: &Stanza) {
        let nick = presence.from.as_ref().and_then(|from| from.resource()).unwrap_or_default().to_owned();
        let x = presence.child(Ns::MUC_USER, "x").expect("presence of a room says what it is");
        let has =
            |code: &str| x.children().any(|c| c.is(Ns::MUC_USER, "status") && c.attr("code").as_deref() == Some(code));
        let (own, renamed) = (has("110"), has("303"));
        if presence.ty == Type::Unavailable {
            self.devices[d].view.remove(&nick);
            if own && renamed {
                let item = x.child(Ns::MUC_USER, "item").unwrap();
                self.devices[d].nick = item.attr("nick").unwrap().into_owned();
            } else if own {
                self.lost(d);
            }
            return;
        }
        self.devices[d].view.insert(nick.clone());
        if own && self.devices[d].asks {
            let device = &mut self.devices[d];
            (device.joined, device.asks) = (true, false);
            let person = DEVICES[d];
            let asked = self.asked.values().any(|(other, _)| *other == person);
            self.check(!self.banned[person] || asked, || format!("{d} is banned and came in"));
        }
    }

    fn hears(&mut self, d: usize, message: &Stanza) {
        let Some(n) = number(message) else { return };
        self.check(self.devices[d].joined, || format!("{d} hears {n} and is not there"));
        let id = stanza_id(message);
        let Some(place) = self.said.iter().position(|(said, _)| *said == n) else {
            return self.check(false, || format!("{d} hears {n}, which was never said or is lost"));
        };
        self.check(id.is_some(), || format!("{n} comes to {d} without an id"));
        let known = self.said[place].1.get_or_insert_with(|| id.clone().unwrap_or_default()).clone();
        self.check(Some(&known) == id.as_ref(), || format!("{n} is {known} and has another id at {d}: {id:?}"));
        let begins = self.begins[DEVICES[d]];
        let on_its_way = self.devices[d].late.is_some_and(|late| place < late);
        self.check(place >= begins || on_its_way, || {
            format!("{d} hears {n}, which was said before the ban was lifted")
        });
        let before = self.devices[d].read.last().copied();
        self.check(before.is_none_or(|before| place == before + 1), || {
            format!("{d} hears {n} (the {place}.) behind the {before:?}.")
        });
        self.devices[d].read.push(place);
    }

    fn all_see_the_same(&mut self) {
        if self.house.hold {
            return;
        }
        let here: Vec<usize> =
            (0..self.devices.len()).filter(|d| self.devices[*d].sid.is_some() && self.devices[*d].joined).collect();
        for d in &here {
            let (device, first) = (&self.devices[*d], &self.devices[here[0]]);
            self.check(device.view.contains(&device.nick), || format!("{d} does not see itself: {:?}", device.view));
            self.check(device.view == first.view, || {
                format!("{} sees {:?}, {d} sees {:?}", here[0], first.view, device.view)
            });
        }
    }

    /// Storage goes on, everybody comes; then the power fails once more.
    fn end(mut self) {
        self.say("the end".into());
        self.house.release();
        self.read_all();
        // The answer may have been lost with the line.
        self.let_in_again();
        for _ in 0..2 {
            for d in 0..self.devices.len() {
                if self.devices[d].sid.is_none() {
                    self.connect(d);
                }
                self.read_all();
                if !self.devices[d].joined {
                    self.join(d);
                }
                self.read_all();
            }
        }
        self.all_see_the_same();
        for d in 0..self.devices.len() {
            let known = self.devices[d].joined != self.banned[DEVICES[d]];
            self.check(known, || format!("{d} is in: {}, banned: {}", self.devices[d].joined, self.banned[DEVICES[d]]));
        }
        self.talk(0);
        self.read_all();
        for d in 0..self.devices.len() {
            if self.devices[d].joined {
                let last = self.devices[d].read.last().copied();
                self.check(last == Some(self.said.len() - 1), || format!("{d} did not hear the last word: {last:?}"));
            }
        }
        self.house.power_cut();
        let ids = self.archive(OWNER);
        self.check(ids.len() == self.said.len(), || format!("{} of {} are archived", ids.len(), self.said.len()));
        self.same_as_said(&ids);
        for person in 1..PEOPLE.len() {
            let (seen, banned, begins) = (self.archive(person), self.banned[person], self.begins[person]);
            self.check(!banned || seen.is_empty(), || format!("{} is banned and reads {seen:?}", PEOPLE[person]));
            self.check(banned || seen == ids[begins..], || {
                format!("{} reads {seen:?}, and may see from the {begins}. on", PEOPLE[person])
            });
        }
    }
}

/// A request of the owner or of a moderator (XEP-0045 §8, §9).
fn admin(id: &str, item: &str) -> String {
    format!(
        "<iq type='set' id='{id}' to='{ROOM}'><query xmlns='http://jabber.org/protocol/muc#admin'>{item}</query></iq>"
    )
}

#[test]
fn random_lives() {
    let number = |name: &str| std::env::var(name).ok().map(|v| v.parse::<u64>().unwrap());
    if let Some(seed) = number("INGLENOOK_SEED") {
        return Life::new(seed).live();
    }
    let seeds = number("INGLENOOK_SEEDS").unwrap_or(500);
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
    std::thread::scope(|scope| {
        for thread in 0..threads {
            scope.spawn(move || (thread..seeds).step_by(threads as usize).for_each(|seed| Life::new(seed).live()));
        }
    });
}
