//! One speaks and many hear: presence to contacts, messages to a room.

use super::login::{Manner, PATIENCE, Session, ask, log_in, log_out};
use super::net::Net;
use super::report::{Lines, Report, Times};
use super::split::{MARK_BYTES, Mark, attribute, has};
use super::system::Process;
use super::{Result, Target};
use argh::FromArgs;
use std::time::{Duration, Instant};

/// A user changes presence, and all contacts see it.
#[derive(FromArgs)]
#[argh(subcommand, name = "presence")]
pub struct Presence {
    /// how many contacts are online (100)
    #[argh(option, default = "100")]
    contacts: usize,
    /// changes on their way at a time (4)
    #[argh(option, default = "4")]
    window: u32,
    /// seconds that are measured (5)
    #[argh(option, default = "5.0")]
    seconds: f64,
}

impl Presence {
    pub fn run(&self, net: &mut Net, target: &Target) -> Result<Report> {
        let users: Vec<usize> = (target.first..=target.first + self.contacts).collect();
        let sessions = log_in(net, target, &users, Manner::default())?;
        let (speaker, hearers) = sessions.split_first().ok_or("nobody is there")?;
        for some in hearers.chunks(20) {
            subscribe(net, target, speaker, some)?;
        }
        let text = format!("<presence><status>{}</status></presence>", "~".repeat(MARK_BYTES));
        let crowd = Crowd::new(target, speaker, hearers, text, self.window)?;
        let report = crowd.measure(net, target, Report::new("presence"), self.seconds)?;
        log_out(net, &sessions)?;
        Ok(report)
    }
}

/// RFC 6121 §3.1: these ask to see the speaker's presence, unless they do already.
fn subscribe(net: &mut Net, target: &Target, speaker: &Session, hearers: &[Session]) -> Result<()> {
    let jid = target.jid(speaker.user);
    let mut left = Vec::new();
    for hearer in hearers {
        let roster = ask(net, hearer.id, "get", "", "<query xmlns='jabber:iq:roster'/>")?;
        let roster = String::from_utf8_lossy(&roster);
        let sees = |item: &str| {
            item.contains(&jid) && ["to", "both"].iter().any(|s| attribute(item.as_bytes(), "subscription") == Some(s))
        };
        if !roster.split_inclusive("/>").filter_map(|part| part.rfind("<item").map(|at| &part[at..])).any(sees) {
            left.push((hearer.id, hearer.user));
        }
    }
    if left.is_empty() {
        return Ok(());
    }
    for (id, _) in &left {
        net.send(*id, format!("<presence type='subscribe' to='{jid}'/>").as_bytes());
        ask(net, *id, "get", &target.domain, "<ping xmlns='urn:xmpp:ping'/>")?;
    }
    // A request of an earlier run may have come when the speaker logged in: all are answered, seen or not.
    for (_, user) in &left {
        net.send(speaker.id, format!("<presence type='subscribed' to='{}'/>", target.jid(*user)).as_bytes());
    }
    net.until(PATIENCE, "the subscriptions", &mut |net, id, stanza| {
        if stanza.starts_with(b"<presence") {
            match attribute(stanza, "type") {
                Some("subscribe") if id == speaker.id => {
                    let who = attribute(stanza, "from").unwrap_or_default();
                    net.send(id, format!("<presence type='subscribed' to='{who}'/>").as_bytes());
                }
                Some("subscribed") => left.retain(|(hearer, _)| *hearer != id),
                _ => {}
            }
        }
        Ok(left.is_empty())
    })
}

/// One writes to a room, and everybody in it hears it.
#[derive(FromArgs)]
#[argh(subcommand, name = "room")]
pub struct Room {
    /// how many are in it (300)
    #[argh(option, default = "300")]
    occupants: usize,
    /// messages on their way at a time (4)
    #[argh(option, default = "4")]
    window: u32,
    /// length of a body in bytes (200)
    #[argh(option, default = "200")]
    bytes: usize,
    /// seconds that are measured (5)
    #[argh(option, default = "5.0")]
    seconds: f64,
}

impl Room {
    pub fn run(&self, net: &mut Net, target: &Target) -> Result<Report> {
        let mut report = Report::new("room");
        let manner = Manner { crowd: true, ..Manner::default() };
        let users: Vec<usize> = (target.first..target.first + self.occupants).collect();
        let mut sessions = log_in(net, target, &users[..1], manner)?;
        let speaker = sessions[0].clone();
        let service = if target.relay { Some("room".to_owned()) } else { service(net, target, &speaker)? };
        let Some(service) = service else {
            println!("room: there is no room service");
            report.add("missing", "", 1.0);
            log_out(net, &sessions)?;
            return Ok(report);
        };
        let room = format!("load-{:08x}@{service}", target.run);
        if !target.relay {
            join(net, &room, &sessions)?;
            // Some servers' rooms are for members by themselves.
            let form = "<query xmlns='http://jabber.org/protocol/muc#owner'><x xmlns='jabber:x:data' type='submit'>\
                        <field var='FORM_TYPE'><value>http://jabber.org/protocol/muc#roomconfig</value></field>\
                        <field var='muc#roomconfig_membersonly'><value>0</value></field></x></query>";
            ask(net, speaker.id, "set", &room, form)?;
        }
        for some in users[1..].chunks(10) {
            let new = log_in(net, target, some, manner)?;
            if !target.relay {
                join(net, &room, &new)?;
            }
            sessions.extend(new);
        }
        let more = "x".repeat(self.bytes.saturating_sub(MARK_BYTES));
        let body = format!("<body>{}{more}</body>", "~".repeat(MARK_BYTES));
        let text = format!("<message to='{room}' type='groupchat' id='m'>{body}</message>");
        let crowd = Crowd::new(target, &speaker, &sessions, text, self.window)?;
        let report = crowd.measure(net, target, report, self.seconds)?;
        log_out(net, &sessions)?;
        Ok(report)
    }
}

/// XEP-0045 §6.1: the service among the domain's items that has rooms.
fn service(net: &mut Net, target: &Target, session: &Session) -> Result<Option<String>> {
    let query = |what: &str| format!("<query xmlns='http://jabber.org/protocol/disco#{what}'/>");
    let items = ask(net, session.id, "get", &target.domain, &query("items"))?;
    let items = String::from_utf8_lossy(&items).into_owned();
    for item in items.split("<item ").skip(1) {
        let item = format!("<item {item}");
        let Some(jid) = attribute(item.as_bytes(), "jid") else { continue };
        let info = ask(net, session.id, "get", jid, &query("info"))?;
        if has(&info, "'http://jabber.org/protocol/muc'") || has(&info, "\"http://jabber.org/protocol/muc\"") {
            return Ok(Some(jid.to_owned()));
        }
    }
    Ok(None)
}

fn join(net: &mut Net, room: &str, sessions: &[Session]) -> Result<()> {
    for session in sessions {
        let nick = session.user;
        let x = "<x xmlns='http://jabber.org/protocol/muc'><history maxstanzas='0'/></x>";
        net.send(session.id, format!("<presence to='{room}/{nick}'>{x}</presence>").as_bytes());
    }
    let mut left: Vec<usize> = sessions.iter().map(|session| session.id).collect();
    net.until(PATIENCE, "the room", &mut |_, id, stanza| {
        if stanza.starts_with(b"<presence") && attribute(stanza, "from").is_some_and(|from| from.starts_with(room)) {
            if attribute(stanza, "type") == Some("error") {
                return Err(String::from_utf8_lossy(stanza).into());
            }
            if has(stanza, "'110'") || has(stanza, "\"110\"") {
                left.retain(|one| *one != id);
            }
        }
        Ok(left.is_empty())
    })
}

struct Crowd {
    run: u32,
    began: Instant,
    speaker: usize,
    text: Vec<u8>,
    mark: usize,
    window: u64,
    sent: u32,
    hearers: u64,
    /// By connection.
    of: Vec<Option<u32>>,
    lines: Lines,
    times: Times,
    measuring: bool,
    ending: bool,
}

impl Crowd {
    fn new(target: &Target, speaker: &Session, hearers: &[Session], text: String, window: u32) -> Result<Crowd> {
        let mut of = vec![None; hearers.iter().map(|session| session.id + 1).max().ok_or("nobody hears")?];
        for (n, hearer) in hearers.iter().enumerate() {
            of[hearer.id] = Some(n as u32);
        }
        let text = text.into_bytes();
        Ok(Crowd {
            run: target.run,
            began: Instant::now(),
            speaker: speaker.id,
            mark: Mark::place(&text).expect("it is there"),
            text,
            window: window.max(1).into(),
            sent: 0,
            hearers: hearers.len() as u64,
            of,
            lines: Lines::new(hearers.len()),
            times: Times::new(),
            measuring: false,
            ending: false,
        })
    }

    fn measure(mut self, net: &mut Net, target: &Target, mut report: Report, seconds: f64) -> Result<Report> {
        self.fill(net);
        self.go_on(net, 1.0)?;
        let before = (Instant::now(), self.lines.arrived, target.cpu(), Process::this().cpu());
        self.measuring = true;
        self.go_on(net, seconds)?;
        let seconds = before.0.elapsed().as_secs_f64();
        let after = (self.lines.arrived, target.cpu(), Process::this().cpu());
        self.measuring = false;
        self.ending = true;
        let expected = |crowd: &Crowd| u64::from(crowd.sent) * crowd.hearers;
        let patience = Duration::from_secs(10);
        let mut last = Instant::now();
        while self.lines.arrived < expected(&self) && last.elapsed() < patience {
            net.turn(last + patience, &mut |net, id, stanza| {
                last = Instant::now();
                self.take(net, id, stanza)
            })?;
        }
        let arrived = (after.0 - before.1) as f64;
        report.add("hearers", "", self.hearers as f64);
        report.add("window", "", self.window as f64);
        report.add("rate", " deliveries/s", arrived / seconds);
        report.add("cpu_per_1000", " s", (after.1 - before.2) / arrived * 1000.0);
        self.times.report(&mut report);
        self.lines.report(&mut report, expected(&self));
        report.add("server_cpu", "", (after.1 - before.2) / seconds);
        report.add("own_cpu", "", (after.2 - before.3) / seconds);
        Ok(report)
    }

    fn go_on(&mut self, net: &mut Net, seconds: f64) -> Result<()> {
        let end = Instant::now() + Duration::from_secs_f64(seconds);
        while Instant::now() < end {
            net.turn(end, &mut |net, id, stanza| self.take(net, id, stanza))?;
        }
        Ok(())
    }

    fn fill(&mut self, net: &mut Net) {
        while u64::from(self.sent) - self.lines.arrived / self.hearers < self.window {
            let sent = self.began.elapsed().as_nanos() as u64;
            let mark = Mark { run: self.run, line: 0, number: self.sent, sent };
            mark.write(&mut self.text[self.mark..][..MARK_BYTES]);
            net.send(self.speaker, &self.text);
            self.sent += 1;
        }
    }

    fn take(&mut self, net: &mut Net, id: usize, stanza: &[u8]) -> Result<()> {
        let Some(Some(line)) = self.of.get(id).copied() else { return Ok(()) };
        let Some(mark) = Mark::read(stanza, self.run) else { return Ok(()) };
        if attribute(stanza, "type") == Some("error") {
            return Err(format!("refused: {}", String::from_utf8_lossy(stanza)).into());
        }
        if self.lines.arrive(line, mark.number) {
            if self.measuring {
                self.times.add((self.began.elapsed().as_nanos() as u64).saturating_sub(mark.sent));
            }
            if !self.ending {
                self.fill(net);
            }
        }
        Ok(())
    }
}
