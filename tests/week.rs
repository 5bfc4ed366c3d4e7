//! A week in an office, in memory: nothing grows that is not stored. And an idle hour: nothing is written when nothing happens.
//!
//! Twelve people with sixteen devices come in the morning and go in the evening. In between lines are cut or die unnoticed, clients
//! come back in time, too late or never, take each other's resource, write to those who are away, read the archive, change presence
//! and rosters; strangers guess passwords. The clock begins in 1970, and is set on the first day. The first day has a restart and a
//! power cut; from then on one server runs, so that what it leaks adds up.
//!
//! `INGLENOOK_DAYS=60 cargo test --test week` lets it run for longer.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod house;

use base64::Engine as _;
use house::{DOMAIN, Dice, House};
use inglenook::core::StreamId;
use std::net::{IpAddr, Ipv4Addr};

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

const SECOND: u64 = 1_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// What the heap may have grown by between the mornings of day 2 and of the last day, in bytes: nodes of trees that are more or less
/// full, queues with more or less room, of sixteen sessions. A session costs about as much, so one that is left behind each day is
/// seen.
const MARGIN_BYTES: i64 = 4 * 1024;
/// What it may be larger by than that of a server that was just started on the same disk: twelve accounts with the addresses that
/// they were entered from, and the last tables that have room.
const FRESH_BYTES: i64 = 8 * 1024;
/// A stream that has ended is remembered for a week, by design, and no more than a number of them; one costs about this much.
const ENDED_BYTES: i64 = 136;

const PEOPLE: usize = 12;
/// Sixteen devices: the first four people have two.
const DEVICES: usize = 16;

/// A client.
#[derive(Default, Clone)]
struct Device {
    sid: Option<StreamId>,
    /// The id of its stream.
    id: Option<String>,
    /// Stanzas of the stream that it has handled.
    handled: u32,
    /// Stream management is on.
    managed: bool,
}

struct Office {
    house: House,
    dice: Dice,
    devices: Vec<Device>,
    /// Since the week began.
    time: u64,
    letters: u64,
    resumed: usize,
    refused: usize,
    offline: usize,
    pages: usize,
}

fn name(person: usize) -> String {
    format!("person{person:02}")
}

fn owner(device: usize) -> usize {
    device % PEOPLE
}

/// Whether a device has stream management.
fn manages(device: usize) -> bool {
    device % 5 != 4
}

fn attribute(xml: &str, name: &str) -> Option<String> {
    let start = xml.find(&format!(" {name}='"))? + name.len() + 3;
    Some(xml[start..start + xml[start..].find('\'')?].to_owned())
}

impl Office {
    fn new() -> Office {
        let house = House::with(|s| {
            s.resume_s = 600;
            s.archive_days = 3;
            s.archive_bytes = 200_000;
        });
        let mut office = Office {
            house,
            dice: Dice::new(1),
            devices: vec![Device::default(); DEVICES],
            time: 0,
            letters: 0,
            resumed: 0,
            refused: 0,
            offline: 0,
            pages: 0,
        };
        for person in 0..PEOPLE {
            office.house.account(&format!("{}@{DOMAIN}", name(person)));
        }
        office
    }

    fn pass(&mut self, ms: u64) {
        let end = self.time + ms;
        while self.time < end {
            // Who is there answers in time.
            let some = self.devices.iter().any(|device| device.sid.is_some());
            let step = if some { (30 * SECOND).min(end - self.time) } else { end - self.time };
            self.time += step;
            self.house.pass(step);
            for d in 0..DEVICES {
                self.read(d);
            }
        }
    }

    /// Until this time of the day.
    fn until(&mut self, hour: u64, minute: u64) {
        let now = self.time % DAY;
        let then = hour * HOUR + minute * MINUTE;
        assert!(then >= now, "it is later than {hour}:{minute}");
        self.pass(then - now);
    }

    /// A client reads all, and answers what it is asked.
    fn read(&mut self, d: usize) {
        let Some(sid) = self.devices[d].sid else { return };
        loop {
            let got = self.house.receive_all(sid);
            if got.is_empty() {
                break;
            }
            for xml in got {
                if ["<message", "<presence", "<iq"].iter().any(|kind| xml.starts_with(kind)) {
                    self.devices[d].handled += 1;
                }
                if xml.contains("<delay ") && !xml.contains("urn:xmpp:mam:2") {
                    self.offline += 1;
                }
                if xml.contains("urn:xmpp:ping") && xml.contains("type='get'") {
                    let id = attribute(&xml, "id").unwrap();
                    self.house.send(sid, &format!("<iq type='result' to='{DOMAIN}' id='{id}'/>"));
                } else if xml.starts_with("<r ") {
                    let h = self.devices[d].handled;
                    self.house.send(sid, &format!("<a xmlns='urn:xmpp:sm:3' h='{h}'/>"));
                } else if xml.contains("<fin ") {
                    self.pages += 1;
                }
            }
        }
        if self.house.is_closed(sid) {
            self.devices[d].sid = None;
        }
    }

    fn send(&mut self, d: usize, xml: &str) {
        let Some(sid) = self.devices[d].sid else { return };
        self.house.send(sid, xml);
        if self.devices[d].managed {
            self.house.send(sid, "<r xmlns='urn:xmpp:sm:3'/>");
        }
        for d in 0..DEVICES {
            self.read(d);
        }
    }

    /// A new session; with the resource of one that the server may still have.
    fn log_in(&mut self, d: usize) {
        let sid = self.house.login(&format!("{}@{DOMAIN}/device{d:02}", name(owner(d))));
        self.devices[d] = Device { sid: Some(sid), managed: manages(d), ..Device::default() };
        if manages(d) {
            self.house.send(sid, "<enable xmlns='urn:xmpp:sm:3' resume='true'/>");
            let answers = self.house.receive_all(sid);
            let enabled = answers.iter().find(|xml| xml.starts_with("<enabled")).unwrap();
            self.devices[d].id = attribute(enabled, "id");
        }
        self.send(d, "<iq type='get' id='roster'><query xmlns='jabber:iq:roster'/></iq>");
        self.send(d, "<iq type='set' id='carbons'><enable xmlns='urn:xmpp:carbons:2'/></iq>");
        self.send(d, "<presence><status>at work</status></presence>");
    }

    /// Back with the id of the stream, or anew if that is too old.
    fn come_back(&mut self, d: usize) {
        let Some(id) = self.devices[d].id.clone().filter(|_| self.devices[d].sid.is_none()) else {
            return self.log_in(d);
        };
        let sid = self.house.authenticate(&format!("{}@{DOMAIN}", name(owner(d))));
        let h = self.devices[d].handled;
        self.house.send(sid, &format!("<resume xmlns='urn:xmpp:sm:3' previd='{id}' h='{h}'/>"));
        let answer = self.house.receive(sid).unwrap();
        if answer.starts_with("<resumed") {
            self.resumed += 1;
            self.devices[d].sid = Some(sid);
            self.read(d);
        } else {
            self.refused += 1;
            self.house.cut(sid);
            self.log_in(d);
        }
    }

    /// The line is cut, or dies and the server does not know.
    fn lose(&mut self, d: usize, noticed: bool) {
        if let Some(sid) = self.devices[d].sid.take()
            && noticed
        {
            self.house.cut(sid);
        }
    }

    fn log_out(&mut self, d: usize) {
        self.send(d, "<presence type='unavailable'/>");
        if let Some(sid) = self.devices[d].sid.take() {
            self.house.send(sid, "</stream:stream>");
            self.house.receive_all(sid);
            self.house.cut(sid);
        }
        self.devices[d] = Device::default();
    }

    fn write(&mut self, d: usize) {
        let to = self.dice.roll(PEOPLE);
        self.letters += 1;
        let n = self.letters;
        let to = if n.is_multiple_of(4) {
            format!("{}@{DOMAIN}/device{to:02}", name(to))
        } else {
            format!("{}@{DOMAIN}", name(to))
        };
        self.send(
            d,
            &format!("<message to='{to}' type='chat' id='letter{n:06}'><body>This is letter {n:06}.</body></message>"),
        );
    }

    fn guess(&mut self, n: usize) {
        let address = IpAddr::V4(Ipv4Addr::from(0x0a00_0000 + (self.time / MINUTE) as u32 * 64 + n as u32));
        let sid = self.house.open_from(address);
        let user = if n.is_multiple_of(2) { name(n % PEOPLE) } else { format!("guess{n}-{}", self.time / MINUTE) };
        let plain = base64::engine::general_purpose::STANDARD.encode(format!("\0{user}\0wrong"));
        self.house.send(
            sid,
            &format!("<stream:stream to='{DOMAIN}' version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>"),
        );
        self.house
            .send(sid, &format!("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{plain}</auth>"));
        // The answer may have to wait.
        self.pass(5 * SECOND);
        assert!(self.house.receive_all(sid).iter().any(|xml| xml.starts_with("<failure")));
        self.house.cut(sid);
    }

    /// Everybody is there, alike, and has everything.
    fn morning(&mut self) {
        self.until(8, 0);
        for d in 0..DEVICES {
            self.log_in(d);
        }
        self.until(8, 30);
    }

    fn hour(&mut self, hour: u64) {
        self.until(hour, 0);
        for _ in 0..40 {
            let d = self.dice.roll(DEVICES);
            match self.dice.roll(10) {
                0 => self.send(d, "<presence><show>away</show></presence>"),
                1 => {
                    self.send(d, "<iq type='set' id='page'><query xmlns='urn:xmpp:mam:2'><set xmlns='http://jabber.org/protocol/rsm'><max>10</max><before/></set></query></iq>");
                }
                _ => self.write(d),
            }
            self.pass(SECOND);
        }
        for n in 0..4 {
            self.guess(n);
        }
        // Five devices in turn: cut and back, dead and back, too late, replaced, gone in order. The sixth stays away for today.
        let first = self.dice.roll(DEVICES);
        let d: Vec<usize> = (0..6).map(|n| (first + n) % DEVICES).collect();
        let cut = self.dice.roll(2) == 0;
        for (n, d) in d.iter().enumerate().take(3) {
            self.lose(*d, n != 1 || cut);
        }
        if hour == 15 {
            self.lose(d[5], cut);
        }
        for _ in 0..4 {
            let writer = d[3 + self.dice.roll(2)];
            self.write(writer);
        }
        self.pass(MINUTE / 2);
        self.come_back(d[0]);
        self.come_back(d[1]);
        self.log_in(d[3]);
        self.log_out(d[4]);
        self.pass(15 * MINUTE);
        self.come_back(d[2]);
        self.log_in(d[4]);
        self.pass(10 * SECOND);
    }

    fn contact(&mut self, change: &str) {
        for d in 0..DEVICES {
            let jid = format!("{}@{DOMAIN}", name((owner(d) + 1) % PEOPLE));
            self.send(
                d,
                &format!("<iq type='set' id='contact'><query xmlns='jabber:iq:roster'><item jid='{jid}' {change}/></query></iq>"),
            );
        }
    }

    /// From 8:30 on until midnight.
    fn day(&mut self, n: u64) {
        self.contact("name='Neighbour'");
        for d in 0..DEVICES {
            let jid = format!("{}@{DOMAIN}", name((owner(d) + 1) % PEOPLE));
            self.send(d, &format!("<presence to='{jid}' type='subscribe'/>"));
            let jid = format!("{}@{DOMAIN}", name((owner(d) + PEOPLE - 1) % PEOPLE));
            self.send(d, &format!("<presence to='{jid}' type='subscribed'/>"));
        }
        for hour in 9..16 {
            self.hour(hour);
            if n == 1 && hour == 10 {
                // NTP has found the time.
                self.house.now.wall = 1_767_225_600_000 + 11 * HOUR;
            }
            if n == 1 && hour == 12 {
                self.house.restart();
                self.rebooted();
            }
            if n == 1 && hour == 14 {
                self.house.power_cut();
                self.rebooted();
            }
        }
        self.until(18, 0);
        for d in 0..DEVICES {
            if self.devices[d].sid.is_none() {
                self.log_in(d);
            }
        }
        self.contact("subscription='remove'");
        // Half of them close their client, the others their lid. The last one writes to all.
        for d in 1..DEVICES {
            if d % 2 == 0 { self.log_out(d) } else { self.lose(d, d % 4 == 1) }
        }
        self.until(19, 0);
        for _ in 0..20 {
            self.write(0);
        }
        self.until(20, 0);
        self.log_out(0);
        self.pass(4 * HOUR);
    }

    fn rebooted(&mut self) {
        for d in 0..DEVICES {
            self.devices[d].sid = None;
            self.come_back(d);
        }
    }

    fn ended(&self) -> i64 {
        format!("{:?}", self.house.state()).matches("Ended {").count() as i64
    }

    /// The server's heap, in bytes, without what is stored and without what the test keeps of connections that are over.
    fn heap(&mut self) -> i64 {
        self.house.sweep();
        let all = dhat::HeapStats::get().curr_bytes;
        let disk = self.house.disk().clone();
        let with_copy = dhat::HeapStats::get().curr_bytes;
        drop(disk);
        all as i64 - (with_copy - all) as i64
    }
}

fn a_week() {
    let days = std::env::var("INGLENOOK_DAYS").map_or(7, |days| days.parse().unwrap());
    let mut office = Office::new();
    office.house.now.wall = HOUR;
    let mut second = None;
    for day in 1..=days {
        office.morning();
        let (heap, ended) = (office.heap(), office.ended());
        eprintln!("day {day}: {heap} bytes, {ended} ended streams");
        if day == 2 {
            second = Some((heap, ended));
        }
        if let (true, Some((before, ended_before))) = (day > 2, second) {
            let grown = heap - before - (ended - ended_before).max(0) * ENDED_BYTES;
            assert!(grown <= MARGIN_BYTES, "{grown} bytes of heap more on day {day} than on day 2");
        }
        office.day(day);
    }
    let Office { letters, resumed, refused, offline, pages, .. } = office;
    eprintln!("{letters} letters, {resumed} resumed, {refused} not, {offline} late, {pages} pages");
    assert!(letters > 500 && resumed > 50 && refused > 20 && offline > 100 && pages > 20, "it was a week");
    assert!(!office.house.is_logged("This is letter 000001."), "the archive was trimmed");
    assert!(office.house.is_logged(&format!("This is letter {letters:06}.")));

    // Somebody fetches what came last, and nobody comes any more. The last visit is when the server looks what it may forget.
    for last in [0, 8] {
        office.pass(last * DAY);
        for d in 0..DEVICES {
            office.log_in(d);
        }
        office.pass(MINUTE);
        for d in 0..DEVICES {
            office.log_out(d);
        }
    }
    office.pass(HOUR);
    let state = format!("{:?}", office.house.state());
    for map in [
        " sessions: {}",
        "by_number: {}",
        "carries: {}",
        "resuming: {}",
        "asked: []",
        "on_their_way: {}",
        "told: {}",
        "settled: []",
        "work: []",
        "requests: {}",
        "promises: []",
        "inquiries: {}",
        "under_way: {}",
        "ops: []",
    ] {
        assert!(state.contains(map), "not empty: {map}");
    }
    assert!(
        state.contains("timers: {(") && state.matches("Extension(").count() == 1,
        "the look at the archive is left"
    );
    let (used, ended) = (office.heap(), office.ended());
    assert!(ended <= DEVICES as i64, "{ended} streams are remembered for longer than their time");
    office.house.restart();
    let fresh = office.heap();
    eprintln!("at the end: {used} bytes, {ended} ended streams; a fresh server: {fresh}");
    let more = used - fresh - ended * ENDED_BYTES;
    assert!(more <= FRESH_BYTES, "{more} bytes more than in a fresh server");
}

fn an_idle_hour() {
    for timed_out in [false, true] {
        let mut office = Office::new();
        for d in 0..DEVICES {
            office.log_in(d);
        }
        for d in 0..DEVICES {
            office.write(d);
        }
        office.pass(MINUTE);
        // Some are lost with a letter on its way, and their letters are kept; some never come.
        for d in [0, 4, 7, 9] {
            office.lose(d, d != 7);
        }
        for d in [1, 2, 3, 5, 6] {
            office.write(d);
            office.write(d);
        }
        // What is dead is noticed, and what arrived is noted.
        office.pass(2 * MINUTE);
        if timed_out {
            office.pass(12 * MINUTE);
        }
        let hibernating =
            |office: &Office| office.house.state().sessions().sum(|s| usize::from(s.waits_until.is_some()));
        assert_eq!(hibernating(&office) == 0, timed_out);
        let before = office.house.commits;
        if !timed_out {
            // Whose time is over gives back what it has not acknowledged: that is all.
            office.pass(15 * MINUTE);
            eprintln!("the end of hibernation: {} commits", office.house.commits - before);
            assert!(office.house.commits - before <= 3, "{} commits", office.house.commits - before);
        }
        let before = office.house.commits;
        office.pass(HOUR);
        assert_eq!(office.house.commits, before, "an idle hour");
        // The first look at the archive after a start does not know how much there is, and is over; those that follow only drop
        // what is too old, and nothing is.
        office.pass(DAY);
        assert_eq!(office.house.commits, before, "an idle day");
        office.pass(4 * DAY);
        let dropped = office.house.commits - before;
        // One a day at most, from when the letters are old: storage is asked to drop what it can, and it drops whole segments alone.
        assert!((1..=3).contains(&dropped), "{dropped} commits to drop what is older than three days");
    }
}

/// One after the other: the counter of the heap is one for the whole program.
#[test]
fn nothing_grows_and_nothing_is_written() {
    let _profiler = dhat::Profiler::builder().testing().trim_backtraces(Some(4)).build();
    a_week();
    an_idle_hour();
}
