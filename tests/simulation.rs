//! The house under a random life: people come and go, talk, subscribe and change their rosters, streams arrive in pieces,
//! storage is slow, the power fails between any two steps. Every seed is one life, the same each time it is run.
//!
//! What must hold, whatever happens:
//! - a change to the roster that was answered is there after the power failed;
//! - the two sides of a subscription agree, always: nobody's half of a change survives alone;
//! - a message to one who is away, stored before an answered change, reaches him, in order, and never again once he confirmed
//!   that he has it;
//! - no session gets a message twice, or two copies of it (XEP-0280);
//! - a message to people who are there, whether or not somebody looks at them (XEP-0352), reaches each of their sessions that takes
//!   messages at once, and a copy each of the other sessions that want copies, on both sides, whatever others of them have not
//!   answered; unless older ones still wait for storage.
//!
//! `INGLENOOK_SEEDS=100000 cargo test --test simulation` runs more; `INGLENOOK_SEED=17` runs one.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod house;
#[path = "simulation/silent.rs"]
mod silent;

use house::{DOMAIN, Dice, House};
use inglenook::core::{SessionId, StreamId};
use inglenook::wire::{Jid, Kind, Ns, Scope, Stanza, Type};
use std::collections::{BTreeMap, BTreeSet};

const PEOPLE: [&str; 3] = ["a", "b", "c"];
const STEPS: usize = 120;

/// One message: sender, receiver, number. Numbers only grow.
type Letter = (usize, usize, u32);

struct Client {
    who: usize,
    sid: StreamId,
    /// It wants copies.
    carbons: bool,
    /// Letters this session received, in order, by whichever address.
    received: Vec<Letter>,
    /// The number up to which those do not count for older ones: it took none to the bare JID until then.
    aside: u32,
    /// Copies of letters that others sent or got.
    copies: Vec<Letter>,
    /// Roster sets not yet answered: id -> (contact, its name, letters sent before on this stream).
    asked: BTreeMap<String, (String, String, Vec<Letter>)>,
    /// Letters that went to storage by this stream, and were not yet followed by an answered change.
    stored: Vec<Letter>,
}

struct Life {
    seed: u64,
    dice: Dice,
    house: House,
    clients: Vec<Client>,
    next: u32,
    /// What the answered changes say each roster has: (owner, contact) -> name.
    promised: BTreeMap<(usize, String), String>,
    /// Changes that were asked for and not answered: they may have happened or not.
    doubtful: BTreeMap<(usize, String), Vec<String>>,
    /// Letters that must arrive.
    due: BTreeSet<Letter>,
    /// Letters that somebody was there to take: what he did not confirm comes late to others.
    taken: BTreeSet<Letter>,
    /// Letters that arrived anywhere at their receiver.
    arrived: BTreeSet<Letter>,
    /// Letters whose receiver confirmed them, durably.
    confirmed: BTreeSet<Letter>,
    log: Vec<String>,
}

fn jid(who: usize) -> String {
    format!("{}@{DOMAIN}", PEOPLE[who])
}

impl Client {
    fn new(who: usize, sid: StreamId) -> Client {
        Client {
            who,
            sid,
            carbons: false,
            received: vec![],
            aside: 0,
            copies: vec![],
            asked: BTreeMap::new(),
            stored: vec![],
        }
    }
}

impl Life {
    fn new(seed: u64) -> Life {
        let mut house = House::new();
        for who in 0..PEOPLE.len() {
            house.account(&jid(who));
        }
        Life {
            seed,
            dice: Dice::new(seed),
            house,
            clients: Vec::new(),
            next: 0,
            promised: BTreeMap::new(),
            doubtful: BTreeMap::new(),
            due: BTreeSet::new(),
            taken: BTreeSet::new(),
            arrived: BTreeSet::new(),
            confirmed: BTreeSet::new(),
            log: Vec::new(),
        }
    }

    fn check(&self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            let tail = &self.log[self.log.len().saturating_sub(40)..];
            panic!("seed {}: {}\nthe last steps:\n  {}", self.seed, what(), tail.join("\n  "));
        }
    }

    fn live(mut self) {
        for _ in 0..STEPS {
            self.step();
            self.read_all(true);
            self.sides_agree();
        }
        self.end();
    }

    fn step(&mut self) {
        let n = self.clients.len();
        match self.dice.roll(100) {
            0..12 if n < 6 => {
                let who = self.dice.roll(PEOPLE.len());
                let resource = self.dice.roll(3);
                self.log.push(format!("{} connects as r{resource}", PEOPLE[who]));
                let sid = self.house.login(&format!("{}/r{resource}", jid(who)));
                let house = &self.house;
                // A session of the same resource was replaced.
                self.clients.retain(|c| !house.is_closed(c.sid));
                self.clients.push(Client::new(who, sid));
                let at = self.clients.len() - 1;
                if self.dice.roll(2) == 0 {
                    self.say(at, "<presence/>");
                }
                if self.dice.roll(2) == 0 {
                    self.clients[at].carbons = true;
                    self.say(at, "<iq type='set' id='c'><enable xmlns='urn:xmpp:carbons:2'/></iq>");
                }
            }
            12..18 if n > 0 => {
                let gone = self.clients.remove(self.dice.roll(n));
                if self.dice.roll(2) == 0 {
                    self.log.push(format!("{} closes", PEOPLE[gone.who]));
                    self.house.send(gone.sid, "</stream:stream>");
                } else {
                    self.log.push(format!("{} is cut off", PEOPLE[gone.who]));
                    self.house.cut(gone.sid);
                }
            }
            18..32 if n > 0 => {
                let at = self.dice.roll(n);
                let xml = match self.dice.roll(7) {
                    4 | 5 => "<inactive xmlns='urn:xmpp:csi:0'/>",
                    6 => "<active xmlns='urn:xmpp:csi:0'/>",
                    0 => "<presence type='unavailable'/>",
                    1 => "<presence><priority>-1</priority></presence>",
                    _ => "<presence/>",
                };
                self.say(at, xml);
            }
            32..50 if n > 0 => {
                let at = self.dice.roll(n);
                let to = self.other(self.clients[at].who);
                let ty = ["subscribe", "subscribed", "unsubscribe", "unsubscribed"][self.dice.roll(4)];
                self.say(at, &format!("<presence type='{ty}' to='{}'/>", jid(to)));
            }
            50..62 if n > 0 => self.change_roster(),
            62..84 if n > 0 => self.write_letter(),
            84..88 => {
                self.house.hold = true;
                self.log.push("storage waits".into());
            }
            88..92 => {
                self.log.push("storage goes on".into());
                self.house.release();
            }
            92..95 => {
                self.log.push("one piece is stored".into());
                self.house.store_one();
            }
            95..97 => {
                self.log.push("the power fails".into());
                self.house.power_cut();
                self.forget_clients();
                self.rosters_kept();
            }
            97 => {
                self.log.push("a restart".into());
                self.house.restart();
                self.forget_clients();
                self.rosters_kept();
            }
            _ => self.house.pass(1 + self.dice.roll(30_000) as u64),
        }
    }

    fn other(&mut self, who: usize) -> usize {
        (who + 1 + self.dice.roll(PEOPLE.len() - 1)) % PEOPLE.len()
    }

    /// A client sends something, in pieces.
    fn say(&mut self, at: usize, xml: &str) {
        let (who, sid) = (self.clients[at].who, self.clients[at].sid);
        self.log.push(format!("{} ({}) says {xml}", PEOPLE[who], sid.0));
        let takes =
            |house: &House| house.state().sessions().get(&SessionId::of(sid)).is_some_and(|session| session.receives());
        let took = takes(&self.house);
        let mut rest = xml;
        while !rest.is_empty() {
            let n = 1 + self.dice.roll(rest.len());
            let (piece, more) = rest.split_at(n);
            self.house.send(sid, piece);
            rest = more;
        }
        if !took && takes(&self.house) {
            self.clients[at].aside = self.next;
        }
    }

    fn change_roster(&mut self) {
        let at = self.dice.roll(self.clients.len());
        self.next += 1;
        let (id, name) = (format!("r{}", self.next), format!("n{}", self.next));
        let who = self.clients[at].who;
        // Contacts of nobody here: their rows are changed by this alone.
        let contact = format!("x{}@elsewhere.test", self.dice.roll(3));
        self.doubtful.entry((who, contact.clone())).or_default().push(name.clone());
        let stored = std::mem::take(&mut self.clients[at].stored);
        self.clients[at].asked.insert(id.clone(), (contact.clone(), name.clone(), stored));
        self.say(
            at,
            &format!(
                "<iq type='set' id='{id}'><query xmlns='jabber:iq:roster'><item jid='{contact}' name='{name}'/></query></iq>"
            ),
        );
    }

    fn write_letter(&mut self) {
        let at = self.dice.roll(self.clients.len());
        let from = self.clients[at].who;
        let to = self.other(from);
        self.next += 1;
        let letter = (from, to, self.next);
        let there: Vec<StreamId> = self.clients.iter().filter(|c| c.who == to).map(|c| c.sid).collect();
        let one = (!there.is_empty() && self.dice.roll(3) == 0).then(|| there[self.dice.roll(there.len())]);
        let takes = |sid: &StreamId| match one {
            Some(one) => *sid == one,
            None => self.house.state().sessions()[&SessionId::of(*sid)].receives(),
        };
        let (takers, others): (Vec<StreamId>, Vec<StreamId>) = there.into_iter().partition(takes);
        // What is older comes first, and may have to be read.
        let at_once = !takers.is_empty() && !self.house.hold;
        if takers.is_empty() {
            self.clients[at].stored.push(letter);
        } else {
            self.taken.insert(letter);
        }
        let sender = self.clients[at].sid;
        let address = one.map_or(jid(to), |one| self.house.jid(one).unwrap().to_string());
        let body = format!("{from}>{to}:{}", self.next);
        let xml = format!("<message type='chat' to='{address}' id='m{}'><body>{body}</body></message>", self.next);
        self.say(at, &xml);
        self.read_all(true);
        for c in &self.clients {
            let mine = c.who == from && c.sid != sender;
            let copied = c.carbons && at_once && (mine || others.contains(&c.sid));
            let came = at_once && takers.contains(&c.sid);
            self.check(!came || c.received.contains(&letter), || format!("{letter:?} did not come to {}", c.sid.0));
            self.check(!copied || c.copies.contains(&letter), || format!("no copy of {letter:?} for {}", c.sid.0));
        }
    }

    /// Every client reads what has come; now and then one is slow to answer.
    fn read_all(&mut self, lazy: bool) {
        loop {
            let mut quiet = true;
            for at in 0..self.clients.len() {
                let sid = self.clients[at].sid;
                for xml in self.house.receive_all(sid) {
                    quiet = false;
                    self.read(at, &xml, lazy);
                }
            }
            if quiet {
                break;
            }
        }
        let house = &self.house;
        self.clients.retain(|c| !house.is_closed(c.sid));
    }

    fn read(&mut self, at: usize, xml: &str, lazy: bool) {
        let scope = Scope::client();
        let Ok(Some(stanza)) = Stanza::parse(xml, scope) else { return };
        match (stanza.kind, stanza.ty) {
            (Kind::Iq, Type::Get) if stanza.child(Ns::PING, "ping").is_some() => {
                if lazy && self.dice.roll(3) == 0 {
                    // It never answers this one, and will be cut off.
                    return;
                }
                let id = stanza.id().unwrap().into_owned();
                let sid = self.clients[at].sid;
                // What is on its way to another session was sent there before.
                let unread: Vec<&str> = self.clients.iter().flat_map(|c| self.house.peek(c.sid)).collect();
                let mut letters = self.clients[at].received.clone();
                letters.retain(|(from, to, n)| {
                    let body = format!("<body>{from}>{to}:{n}</body>");
                    !unread.iter().any(|xml| xml.contains(&body))
                });
                self.house.send(sid, &format!("<iq type='result' id='{id}' to='{DOMAIN}'/>"));
                if self.house.uncommitted() == 0 && !self.house.hold {
                    self.confirmed.extend(letters);
                }
            }
            (Kind::Iq, Type::Result) => {
                let id = stanza.id().unwrap().into_owned();
                if let Some((contact, name, stored)) = self.clients[at].asked.remove(&id) {
                    let who = self.clients[at].who;
                    let key = (who, contact);
                    if let Some(names) = self.doubtful.get_mut(&key)
                        && let Some(n) = names.iter().position(|x| *x == name)
                    {
                        names.drain(..=n);
                    }
                    // Two sessions of one person may read their answers in another order than they were given.
                    let number = |name: &str| name[1..].parse::<u32>().unwrap();
                    if self.promised.get(&key).is_none_or(|known| number(known) < number(&name)) {
                        self.promised.insert(key, name);
                    }
                    self.due.extend(stored);
                }
            }
            (Kind::Message, Type::Chat) => {
                let (_, body) = xml.split_once("<body>").unwrap();
                let (body, _) = body.split_once("</body>").unwrap();
                let (people, n) = body.split_once(':').unwrap();
                let (from, to) = people.split_once('>').unwrap();
                let letter: Letter = (from.parse().unwrap(), to.parse().unwrap(), n.parse().unwrap());
                if stanza.child(Ns::CLIENT, "body").is_none() {
                    self.copy_arrives(at, letter);
                } else {
                    let old = stanza.child(Ns::DELAY, "delay").is_some();
                    self.letter_arrives(at, letter, old);
                }
            }
            _ => {}
        }
    }

    fn letter_arrives(&mut self, at: usize, letter: Letter, old: bool) {
        let client = &self.clients[at];
        self.check(client.who == letter.1, || format!("{letter:?} came to {}", PEOPLE[client.who]));
        self.check(!client.received.contains(&letter), || format!("{letter:?} came twice to one session"));
        self.check(!self.confirmed.contains(&letter), || format!("{letter:?} came again after it was confirmed"));
        let late = old && self.taken.contains(&letter);
        let counts = |l: &&Letter| l.0 == letter.0 && !(old && l.2 <= client.aside);
        let before = client.received.iter().filter(counts).max();
        self.check(late || before.is_none_or(|l| *l < letter), || format!("{letter:?} came behind {before:?}"));
        self.clients[at].received.push(letter);
        self.arrived.insert(letter);
    }

    fn copy_arrives(&mut self, at: usize, letter: Letter) {
        let client = &self.clients[at];
        let mine = client.who == letter.0 || client.who == letter.1;
        self.check(mine && client.carbons, || format!("a copy of {letter:?} came to {}", PEOPLE[client.who]));
        let twice = client.copies.contains(&letter) || client.received.contains(&letter);
        self.check(!twice, || format!("{letter:?} came, and then a copy of it"));
        self.clients[at].copies.push(letter);
    }

    fn forget_clients(&mut self) {
        self.clients.clear();
    }

    /// What was answered is there.
    fn rosters_kept(&mut self) {
        for ((who, contact), name) in &self.promised {
            let roster = &self.house.state().accounts()[PEOPLE[*who]].roster;
            let has = roster.items.get(&Jid::parse(contact).unwrap()).and_then(|i| i.name.as_deref());
            let doubtful = self.doubtful.get(&(*who, contact.clone()));
            let fits = has == Some(name.as_str())
                || doubtful.is_some_and(|names| has.is_some_and(|has| names.iter().any(|n| n == has)));
            self.check(fits, || format!("{} was promised {contact} as {name}, but it is {has:?}", PEOPLE[*who]));
        }
        // What is there now is there for good.
        for ((who, contact), names) in &mut self.doubtful {
            let roster = &self.house.state().accounts()[PEOPLE[*who]].roster;
            if let Some(name) = roster.items.get(&Jid::parse(contact).unwrap()).and_then(|i| i.name.as_deref()) {
                self.promised.insert((*who, contact.clone()), name.to_owned());
            }
            names.clear();
        }
    }

    /// Both halves of each subscription say the same.
    fn sides_agree(&self) {
        let accounts = self.house.state().accounts();
        for one in PEOPLE {
            for other in PEOPLE.iter().filter(|o| **o != one) {
                let mine = accounts[one].roster.state(&accounts[*other].jid);
                let theirs = accounts[*other].roster.state(&accounts[one].jid);
                self.check(mine.to == theirs.from, || format!("{one} to {other}: {mine:?}, but {theirs:?}"));
                self.check(mine.ask == theirs.pending, || format!("{one} asks {other}: {mine:?}, but {theirs:?}"));
            }
        }
    }

    /// Everybody comes, reads everything, and nothing is missing.
    fn end(mut self) {
        self.log.push("the end".into());
        self.house.release();
        self.read_all(false);
        for client in std::mem::take(&mut self.clients) {
            self.house.cut(client.sid);
        }
        for who in 0..PEOPLE.len() {
            let sid = self.house.login(&format!("{}/last", jid(who)));
            self.clients.push(Client::new(who, sid));
            self.say(self.clients.len() - 1, "<presence/>");
            self.read_all(false);
        }
        let lost: Vec<_> = self.due.difference(&self.arrived).collect();
        self.check(lost.is_empty(), || format!("lost: {lost:?}"));
        // And then the power fails once more: all that came is gone from storage.
        self.house.power_cut();
        self.forget_clients();
        for who in 0..PEOPLE.len() {
            let sid = self.house.login(&format!("{}/after", jid(who)));
            self.house.send(sid, "<presence/>");
            let again = self.house.receive_all(sid).into_iter().find(|xml| xml.starts_with("<message"));
            self.check(again.is_none(), || format!("came again after everything was confirmed: {again:?}"));
        }
    }
}

#[test]
fn random_lives() {
    let number = |name: &str| std::env::var(name).ok().map(|v| v.parse::<u64>().unwrap());
    if let Some(seed) = number("INGLENOOK_SEED") {
        return Life::new(seed).live();
    }
    for seed in 0..number("INGLENOOK_SEEDS").unwrap_or(200) {
        Life::new(seed).live();
    }
}

#[test]
fn silent_devices() {
    let number = |name: &str| std::env::var(name).ok().map(|v| v.parse::<u64>().unwrap());
    if let Some(seed) = number("INGLENOOK_SEED") {
        let mut life = silent::Life::new(seed);
        life.aloud = true;
        return life.live();
    }
    let seeds = number("INGLENOOK_SEEDS").unwrap_or(400);
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
    std::thread::scope(|scope| {
        for thread in 0..threads {
            scope.spawn(move || {
                (thread..seeds).step_by(threads as usize).for_each(|seed| silent::Life::new(seed).live())
            });
        }
    });
}
