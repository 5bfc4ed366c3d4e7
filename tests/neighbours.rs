//! Two servers and the lines between them under a random life (XEP-0198 between servers): lines lose their tail, or die unnoticed at one
//! end; both dial at once; storage is slow, the power fails on either side between any two steps. In a third of the lives each has pinned the
//! other; in another third they have, too, and the second one cannot be reached, as behind a router that translates addresses: it comes to
//! the first.
//!
//! What must hold, whatever happens:
//! - a letter that was acknowledged to its sender arrives, or comes back as an error;
//! - no letter is in the archive of its receiver twice;
//! - the letters of one sender to one receiver are there in order, but for those that came back.
//!
//! `INGLENOOK_SEEDS=100000 cargo test --test neighbours` runs more; `INGLENOOK_SEED=17` runs one, and prints it.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod house;

use house::{Dice, House};
use inglenook::core::{Federates, Input, StreamId};
use inglenook::store::{Engine, Query};
use inglenook::wire::{DomainPair, Jid};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

const DOMAINS: [&str; 2] = ["house.test", "garden.test"];
/// The last one has no archive, and is never written to.
const NAMES: [&str; 3] = ["ann", "bob", "eve"];
const STEPS: usize = 160;

/// One letter: the house and the name of its sender, the name of its receiver, its number. Numbers only grow.
type Letter = (usize, usize, usize, u32);

/// A client with stream management.
#[derive(Default)]
struct Client {
    sid: Option<StreamId>,
    sent: u32,
    /// Stanzas that it has read since stream management is on.
    read: Option<u32>,
    open: VecDeque<(u32, Letter)>,
}

/// A connection between two servers: who has dialled, both ends, and what is on its way to each of them.
struct Wire {
    ends: [Option<StreamId>; 2],
    to: [String; 2],
}

struct Life {
    seed: u64,
    /// Nobody reaches the second house.
    hidden: bool,
    dice: Dice,
    houses: [House; 2],
    clients: BTreeMap<(usize, usize), Client>,
    dials: Vec<(usize, DomainPair)>,
    wires: Vec<Wire>,
    next: u32,
    letters: BTreeMap<u32, Letter>,
    acknowledged: BTreeSet<Letter>,
    /// Those that came back; `true`: it is not known whether they arrived.
    returned: BTreeMap<Letter, bool>,
    log: Vec<String>,
    aloud: bool,
}

fn body((house, from, to, number): Letter) -> String {
    format!("[{house}.{from}.{to}.{number}]")
}

fn letters(text: &str) -> Vec<Letter> {
    let bodies = text.split('[').skip(1).filter_map(|rest| rest.split_once(']')).map(|(body, _)| body);
    let letter = |body: &str| {
        let mut parts = body.split('.').map(|part| part.parse::<u32>().ok());
        let mut next = || parts.next().flatten();
        Some((next()? as usize, next()? as usize, next()? as usize, next()?))
    };
    bodies.filter_map(letter).collect()
}

impl Life {
    fn new(seed: u64) -> Life {
        let hidden = seed % 3 == 2;
        let houses = [0, 1].map(|h| {
            House::with(|settings| {
                settings.domain = Jid::parse(DOMAINS[h]).unwrap();
                settings.federation.with = Federates::Everybody;
                if hidden || seed.is_multiple_of(3) {
                    settings.federation.pinned = [(Jid::parse(DOMAINS[1 - h]).unwrap(), [0; 32])].into();
                }
                if hidden && h == 1 {
                    settings.federation.kept = settings.federation.pinned.keys().cloned().collect();
                }
            })
        });
        let mut life = Life {
            seed,
            hidden,
            dice: Dice::new(seed),
            houses,
            clients: BTreeMap::new(),
            dials: Vec::new(),
            wires: Vec::new(),
            next: 0,
            letters: BTreeMap::new(),
            acknowledged: BTreeSet::new(),
            returned: BTreeMap::new(),
            log: Vec::new(),
            aloud: false,
        };
        life.houses.iter_mut().for_each(|house| house.has_neighbours = true);
        (0..2).for_each(|h| life.log_in(h));
        life
    }

    fn say(&mut self, line: String) {
        if self.aloud {
            eprintln!("{line}");
        }
        self.log.push(line);
    }

    fn fail(&self, what: &str) -> ! {
        let tail = &self.log[self.log.len().saturating_sub(80)..];
        panic!("seed {}: {what}\nthe last steps:\n  {}", self.seed, tail.join("\n  "));
    }

    /// All clients of a house come.
    fn log_in(&mut self, h: usize) {
        for (n, name) in NAMES.iter().enumerate() {
            let sid = self.houses[h].login(&format!("{name}@{}/home", DOMAINS[h]));
            if n == 2 {
                let never = "<iq type='set' id='1'><prefs xmlns='urn:xmpp:mam:2' default='never'/></iq>";
                self.houses[h].send(sid, never);
            }
            self.houses[h].send(sid, "<presence/><enable xmlns='urn:xmpp:sm:3'/>");
            self.clients.insert((h, n), Client { sid: Some(sid), ..Client::default() });
        }
        self.after(h);
    }

    /// What a house wants, and what its clients read.
    fn after(&mut self, h: usize) {
        for pair in self.houses[h].take_dials() {
            self.say(format!("{h} wants a stream"));
            self.dials.push((h, pair));
        }
        for w in 0..self.wires.len() {
            let Some(sid) = self.wires[w].ends[h] else { continue };
            let said = self.houses[h].said_to_server(sid);
            if self.aloud && !said.is_empty() {
                eprintln!("{h} says on {w}: {said}");
            }
            self.wires[w].to[1 - h].push_str(&said);
            if self.houses[h].is_over(sid) {
                self.wires[w].ends[h] = None;
            }
        }
        for n in 0..NAMES.len() {
            let client = self.clients.get_mut(&(h, n)).unwrap();
            let Some(sid) = client.sid else { continue };
            for xml in self.houses[h].receive_all(sid) {
                let client = self.clients.get_mut(&(h, n)).unwrap();
                match xml.split([' ', '>', '/']).next().unwrap_or_default() {
                    "<enabled" => client.read = Some(0),
                    "<message" | "<presence" | "<iq" => client.read = client.read.map(|read| read + 1),
                    "<r" => {
                        let answer = format!("<a xmlns='urn:xmpp:sm:3' h='{}'/>", client.read.unwrap());
                        self.houses[h].send(sid, &answer);
                    }
                    _ => {}
                }
                if let Some((_, rest)) = xml.split_once("<a xmlns='urn:xmpp:sm:3' h='") {
                    let handled: u32 = rest.split('\'').next().unwrap().parse().unwrap();
                    let open = &mut self.clients.get_mut(&(h, n)).unwrap().open;
                    let done = open.iter().take_while(|(count, _)| *count <= handled).count();
                    let done: Vec<Letter> = open.drain(..done).map(|(_, letter)| letter).collect();
                    for letter in done {
                        self.acknowledged.insert(letter);
                        self.say(format!("{letter:?} is acknowledged"));
                    }
                } else if xml.contains("type='error'") {
                    let unsure = xml.contains("it may have it or not");
                    let id = xml.split_once(" id='").and_then(|(_, rest)| rest.split('\'').next()?.parse::<u32>().ok());
                    if let Some(letter) = id.and_then(|id| self.letters.get(&id).copied()) {
                        self.say(format!("{letter:?} comes back ({unsure})"));
                        self.returned.insert(letter, unsure);
                    }
                }
            }
        }
    }

    fn step(&mut self) {
        let h = self.dice.roll(2);
        match self.dice.roll(100) {
            0..30 => self.write(h),
            30..60 => {
                let pieces = 1 + self.dice.roll(12);
                (0..pieces).for_each(|_| self.carry());
            }
            60..72 => self.connect(),
            72..77 => self.break_one(),
            77..80 => self.notice(),
            80..83 => {
                self.say(format!("storage of {h} waits"));
                self.houses[h].hold = true;
            }
            83..87 => {
                self.say(format!("storage of {h} goes on"));
                self.houses[h].release();
            }
            87..90 => {
                self.say(format!("{h} stores one piece"));
                self.houses[h].store_one();
            }
            90..92 => self.power_cut(h),
            92 => {
                // Storage that takes so long says so, and the core takes nothing more.
                (0..2).for_each(|h| self.houses[h].release());
                self.pass(200_000, 200_000);
            }
            _ => self.pass(1, 9_000),
        }
        (0..2).for_each(|h| self.after(h));
    }

    fn write(&mut self, h: usize) {
        let (from, to) = (self.dice.roll(3), self.dice.roll(2));
        self.next += 1;
        let letter = (h, from, to, self.next);
        self.letters.insert(self.next, letter);
        let client = self.clients.get_mut(&(h, from)).unwrap();
        client.sent += 1;
        client.open.push_back((client.sent, letter));
        let sid = client.sid.unwrap();
        self.say(format!("{letter:?} is sent"));
        let xml = format!(
            "<message to='{}@{}' type='chat' id='{}'><body>{}</body></message><r xmlns='urn:xmpp:sm:3'/>",
            NAMES[to],
            DOMAINS[1 - h],
            self.next,
            body(letter)
        );
        self.houses[h].send(sid, &xml);
        self.after(h);
    }

    /// Carries some of what is on its way.
    fn carry(&mut self) {
        let ways: Vec<(usize, usize)> = (0..self.wires.len()).flat_map(|w| [(w, 0), (w, 1)]).collect();
        let ways: Vec<_> = ways.into_iter().filter(|(w, h)| !self.wires[*w].to[*h].is_empty()).collect();
        if ways.is_empty() {
            return;
        }
        let (w, h) = ways[self.dice.roll(ways.len())];
        let wire = &mut self.wires[w];
        let bytes = if self.dice.roll(4) == 0 { 1 + self.dice.roll(wire.to[h].len()) } else { wire.to[h].len() };
        let piece: String = wire.to[h].drain(..bytes).collect();
        let end = wire.ends[h];
        self.say(format!("{bytes} bytes come to {h} on {w}"));
        if let Some(sid) = end {
            self.houses[h].hear_server(sid, &piece);
        }
        self.after(h);
    }

    fn connect(&mut self) {
        if self.dials.is_empty() {
            return;
        }
        let (h, pair) = self.dials.remove(0);
        if self.dice.roll(5) == 0 {
            return self.refused(h, &pair);
        }
        self.made(h, &pair);
    }

    fn refused(&mut self, h: usize, pair: &DomainPair) {
        self.say(format!("{h} does not get through"));
        self.houses[h].not_dialled(pair);
    }

    fn made(&mut self, h: usize, pair: &DomainPair) {
        if self.hidden && h == 0 {
            return self.refused(h, pair);
        }
        self.say(format!("{h} gets through as {}", self.wires.len()));
        let mut ends = [None; 2];
        ends[h] = Some(self.houses[h].dialled(pair));
        ends[1 - h] = Some(self.houses[1 - h].accepted());
        self.wires.push(Wire { ends, to: Default::default() });
        (0..2).for_each(|h| self.after(h));
    }

    /// A line loses its tail; one end knows.
    fn break_one(&mut self) {
        if self.wires.is_empty() {
            return;
        }
        let (w, h) = (self.dice.roll(self.wires.len()), self.dice.roll(2));
        self.say(format!("{w} breaks, {h} knows"));
        for to in 0..2 {
            // Some of it comes in any case.
            let keep = self.dice.roll(self.wires[w].to[to].len() + 1);
            let piece: String = self.wires[w].to[to].drain(..keep).collect();
            self.wires[w].to[to].clear();
            if let Some(sid) = self.wires[w].ends[to] {
                self.houses[to].hear_server(sid, &piece);
            }
        }
        self.hang_up(w, h);
    }

    fn hang_up(&mut self, w: usize, h: usize) {
        if let Some(sid) = self.wires[w].ends[h].take() {
            self.houses[h].cut_server(sid);
        }
        self.after(h);
    }

    /// Lines with one end only: the other one learns it.
    fn notice(&mut self) {
        for w in 0..self.wires.len() {
            for h in 0..2 {
                if self.wires[w].ends[1 - h].is_none() && self.wires[w].to[h].is_empty() {
                    self.hang_up(w, h);
                }
            }
        }
    }

    fn power_cut(&mut self, h: usize) {
        self.say(format!("the power of {h} fails"));
        self.houses[h].power_cut();
        for wire in &mut self.wires {
            wire.ends[h] = None;
            // Some of what it said last may still be on its way; what is said to it goes nowhere.
            wire.to[h].clear();
        }
        self.dials.retain(|(from, _)| *from != h);
        self.log_in(h);
        self.houses[h].input(Input::Tick);
        self.after(h);
    }

    fn pass(&mut self, least: u64, range: usize) {
        let ms = least + self.dice.roll(range) as u64;
        self.say(format!("{ms} ms pass"));
        // In between clients answer what they are asked.
        let pieces = (0..ms).step_by(20_000).map(|at| (ms - at).min(20_000));
        for piece in pieces {
            for h in 0..2 {
                self.houses[h].pass(piece);
                self.after(h);
            }
        }
    }

    /// Nothing breaks any more.
    fn end(&mut self) {
        self.say("peace".into());
        (0..2).for_each(|h| self.houses[h].release());
        for _ in 0..200 {
            for _ in 0..200 {
                (0..2).for_each(|h| self.after(h));
                if let Some((h, pair)) = self.dials.pop() {
                    self.made(h, &pair);
                }
                self.notice();
                let ways = (0..self.wires.len()).flat_map(|w| [(w, 0), (w, 1)]);
                let Some((w, h)) = ways.into_iter().find(|(w, h)| !self.wires[*w].to[*h].is_empty()) else {
                    if self.dials.is_empty() {
                        break;
                    }
                    continue;
                };
                let piece = std::mem::take(&mut self.wires[w].to[h]);
                if let Some(sid) = self.wires[w].ends[h] {
                    self.houses[h].hear_server(sid, &piece);
                }
            }
            self.pass(9_999, 1);
        }
        self.check();
    }

    fn check(&mut self) {
        let mut arrived: BTreeSet<Letter> = BTreeSet::new();
        for h in 0..2 {
            let query = Query::Since { after: 0, rows: usize::MAX, bytes: usize::MAX };
            let rows = self.houses[h].disk().query(&query).unwrap();
            let mut last: BTreeMap<(usize, usize, usize), u32> = BTreeMap::new();
            for (_, value) in rows {
                for letter in letters(&String::from_utf8_lossy(&value)).into_iter().filter(|letter| letter.0 != h) {
                    if !arrived.insert(letter) {
                        self.fail(&format!("{letter:?} arrived twice"));
                    }
                    // What is said to come back or not is on its way for longer than anybody waits: it is in no order any more.
                    if self.returned.contains_key(&letter) {
                        continue;
                    }
                    let (house, from, to, number) = letter;
                    if last.insert((house, from, to), number).is_some_and(|before| before > number) {
                        self.fail(&format!("{letter:?} arrived behind later ones"));
                    }
                }
            }
        }
        for letter in &self.acknowledged {
            let (here, back) = (arrived.contains(letter), self.returned.get(letter));
            match (here, back) {
                (false, None) => self.fail(&format!("{letter:?} was acknowledged and is lost")),
                (true, Some(false)) => self.fail(&format!("{letter:?} arrived and came back")),
                _ => {}
            }
        }
    }
}

fn live(seed: u64, aloud: bool) -> (usize, usize) {
    let mut life = Life::new(seed);
    life.aloud = aloud;
    (0..STEPS).for_each(|_| life.step());
    life.end();
    (life.acknowledged.len(), life.returned.len())
}

#[test]
fn what_was_acknowledged_arrives_once_or_comes_back() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    if let Some(seed) = number("INGLENOOK_SEED") {
        live(seed, true);
        return;
    }
    let seeds = number("INGLENOOK_SEEDS").unwrap_or(1000);
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
    let (acknowledged, returned) = std::thread::scope(|scope| {
        let lives = |thread| (thread..seeds).step_by(threads as usize).map(|seed| live(seed, false));
        let sum = |all: (usize, usize), one: (usize, usize)| (all.0 + one.0, all.1 + one.1);
        let parts: Vec<_> = (0..threads).map(|thread| scope.spawn(move || lives(thread).fold((0, 0), sum))).collect();
        parts.into_iter().map(|part| part.join().unwrap()).fold((0, 0), sum)
    });
    assert!(acknowledged > 2 * returned && returned > 0, "{acknowledged} acknowledged, {returned} came back");
}
