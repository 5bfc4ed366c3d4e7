//! Messages that wait for somebody, and messages of long ago.

use super::idle::rest;
use super::login::{Logins, Manner, PATIENCE, Session, log_in, log_out};
use super::net::Net;
use super::report::{Lines, Report};
use super::split::{MARK_BYTES, Mark, attribute, has, text};
use super::system::{Process, folder};
use super::{Result, Target};
use argh::FromArgs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Messages between two questions whether the server has taken them.
const BATCH: u32 = 50;

/// Messages to somebody who is offline, who then comes online and gets them.
#[derive(FromArgs)]
#[argh(subcommand, name = "offline")]
pub struct Offline {
    /// how many messages (1000)
    #[argh(option, default = "1000")]
    messages: u32,
    /// length of a body in bytes (200)
    #[argh(option, default = "200")]
    bytes: usize,
}

impl Offline {
    pub fn run(&self, net: &mut Net, target: &Target) -> Result<Report> {
        let (writer, reader) = (target.first, target.first + 1);
        // What waits from before is of no interest.
        let old = log_in(net, target, &[reader], Manner::default())?;
        rest(net, 1.0)?;
        log_out(net, &old)?;
        let writers = log_in(net, target, &[writer], Manner::default())?;
        let before = (Instant::now(), target.cpu());
        let refused = write(net, target, &writers[0], reader, self.messages, self.bytes)?;
        let stored = (before.0.elapsed().as_secs_f64(), target.cpu() - before.1);

        let mut lines = Lines::new(1);
        let mut logins = Logins::new(target);
        let before = (Instant::now(), target.cpu());
        let id = logins.begin(net, reader, Manner::default())?;
        let patience = Duration::from_secs(10);
        let mut last = Instant::now();
        while lines.arrived < self.messages.into() && last.elapsed() < patience {
            net.turn(last + patience, &mut |net, from, stanza| {
                logins.take(net, from, stanza)?;
                if from == id
                    && let Some(mark) = Mark::read(stanza, target.run)
                {
                    last = Instant::now();
                    lines.arrive(0, mark.number);
                }
                Ok(())
            })?;
        }
        let fetched = ((last - before.0).as_secs_f64(), target.cpu() - before.1);
        // The answer that lets the server forget them.
        rest(net, 0.2)?;
        let count = f64::from(self.messages);
        let mut report = Report::new("offline");
        report.add("messages", "", count);
        report.add("store_rate", " msg/s", count / stored.0);
        report.add("store_cpu_per_1000", " s", stored.1 / count * 1000.0);
        report.add("fetch_seconds", " s", fetched.0);
        report.add("fetch_rate", " msg/s", lines.arrived as f64 / fetched.0);
        report.add("fetch_cpu_per_1000", " s", fetched.1 / count * 1000.0);
        lines.report(&mut report, self.messages.into());
        report.add("refused", "", refused as f64);
        let reader = Session { id, user: reader };
        log_out(net, &[writers[0].clone(), reader])?;
        Ok(report)
    }
}

/// Writes messages, and waits until the server has taken them all; how many it refused.
fn write(net: &mut Net, target: &Target, writer: &Session, to: usize, count: u32, bytes: usize) -> Result<u64> {
    let more = "x".repeat(bytes.saturating_sub(MARK_BYTES));
    let body = format!("<body>{}{more}</body>", "~".repeat(MARK_BYTES));
    let mut text = format!("<message to='{}' type='chat' id='m'>{body}</message>", target.jid(to)).into_bytes();
    let place = Mark::place(&text).expect("it is there");
    let mut refused = 0;
    let mut sent = 0;
    while sent < count {
        let end = count.min(sent + BATCH);
        while sent < end {
            Mark { run: target.run, line: 0, number: sent, sent: 0 }.write(&mut text[place..][..MARK_BYTES]);
            net.send(writer.id, &text);
            sent += 1;
        }
        let ping = format!("<iq type='get' id='taken' to='{}'><ping xmlns='urn:xmpp:ping'/></iq>", target.domain);
        net.send(writer.id, ping.as_bytes());
        net.until(PATIENCE, "the messages to be taken", &mut |_, id, stanza| {
            if id == writer.id && stanza.starts_with(b"<message") && Mark::read(stanza, target.run).is_some() {
                refused += 1;
            }
            Ok(id == writer.id && attribute(stanza, "id") == Some("taken"))
        })?;
    }
    Ok(refused)
}

/// An archive is filled, and read page by page.
#[derive(FromArgs)]
#[argh(subcommand, name = "archive")]
pub struct Archive {
    /// how many messages (5000)
    #[argh(option, default = "5000")]
    messages: u32,
    /// messages of a page (50)
    #[argh(option, default = "50")]
    page: u32,
    /// clients that read at the same time, each all of it (4)
    #[argh(option, default = "4")]
    readers: usize,
    /// seconds of reading, over and over; once at least (2)
    #[argh(option, default = "2.0")]
    seconds: f64,
    /// length of a body in bytes (200)
    #[argh(option, default = "200")]
    bytes: usize,
    /// the server's folder, to see how much it grows
    #[argh(option)]
    data: Option<PathBuf>,
}

impl Archive {
    pub fn run(&self, net: &mut Net, target: &Target) -> Result<Report> {
        let manner = Manner { keep: Some("always"), ..Manner::default() };
        let two = log_in(net, target, &[target.first, target.first + 1], manner)?;
        rest(net, 1.0)?;
        let size = |data: &Option<PathBuf>| data.as_ref().map(|data| folder(data)).transpose();
        let before = (size(&self.data)?, target.process.map(Process::written), Instant::now(), target.cpu());
        let refused = write(net, target, &two[0], two[1].user, self.messages, self.bytes)?;
        let filled = (before.2.elapsed().as_secs_f64(), target.cpu() - before.3);
        // Until the server has given it to the disk.
        rest(net, 4.0)?;
        let after = (size(&self.data)?, target.process.map(Process::written));
        log_out(net, &two)?;

        let sessions = log_in(net, target, &vec![target.first + 1; self.readers.max(1)], Manner::default())?;
        let mut of = vec![None; sessions.iter().map(|session| session.id + 1).max().unwrap_or(0)];
        for (n, session) in sessions.iter().enumerate() {
            of[session.id] = Some(n);
        }
        let mut lines = Lines::new(sessions.len());
        let mut results: u64 = 0;
        let mut pages: u64 = 0;
        let mut left = sessions.len();
        let mut again = vec![false; sessions.len()];
        let began = (Instant::now(), target.cpu(), Process::this().cpu());
        for session in &sessions {
            net.send(session.id, self.query(None).as_bytes());
        }
        net.until(PATIENCE, "the archive", &mut |net, id, stanza| {
            let Some(Some(reader)) = of.get(id).copied() else { return Ok(false) };
            if stanza.starts_with(b"<message") && has(stanza, "<result ") {
                results += 1;
                if let Some(mark) = Mark::read(stanza, target.run)
                    && !again[reader]
                {
                    lines.arrive(reader as u32, mark.number);
                }
            } else if stanza.starts_with(b"<iq") && attribute(stanza, "id") == Some("page") {
                pages += 1;
                if attribute(stanza, "type") != Some("result") {
                    return Err(format!("the archive: {}", String::from_utf8_lossy(stanza)).into());
                }
                match text(stanza, "last") {
                    Some(last) if !has(stanza, "complete='true'") && !has(stanza, "complete=\"true\"") => {
                        net.send(id, self.query(Some(last)).as_bytes());
                    }
                    _ if began.0.elapsed().as_secs_f64() < self.seconds => {
                        again[reader] = true;
                        net.send(id, self.query(None).as_bytes());
                    }
                    _ => left -= 1,
                }
            }
            Ok(left == 0)
        })?;
        let seconds = began.0.elapsed().as_secs_f64();
        let (cpu, own) = (target.cpu() - began.1, Process::this().cpu() - began.2);
        let count = f64::from(self.messages);
        let mut report = Report::new("archive");
        report.add("messages", "", count);
        report.add("page", "", self.page.into());
        report.add("fill_rate", " msg/s", count / filled.0);
        report.add("fill_cpu_per_1000", " s", filled.1 / count * 1000.0);
        let grown = |before: Option<u64>, after: Option<u64>| Some((after? as f64 - before? as f64) / count);
        report.add("disk_each", " B", grown(before.0, after.0).unwrap_or(f64::NAN));
        report.add("written_each", " B", grown(before.1, after.1).unwrap_or(f64::NAN));
        report.add("rate", " msg/s", results as f64 / seconds);
        report.add("pages", "", pages as f64);
        report.add("cpu_per_1000", " s", cpu / results as f64 * 1000.0);
        lines.report(&mut report, u64::from(self.messages) * sessions.len() as u64);
        report.add("refused", "", refused as f64);
        report.add("server_cpu", "", cpu / seconds);
        report.add("own_cpu", "", own / seconds);
        log_out(net, &sessions)?;
        Ok(report)
    }

    /// XEP-0313 §4.1, XEP-0059 §2.1.
    fn query(&self, after: Option<&str>) -> String {
        let after = after.map(|after| format!("<after>{after}</after>")).unwrap_or_default();
        let set = format!("<set xmlns='http://jabber.org/protocol/rsm'><max>{}</max>{after}</set>", self.page);
        format!("<iq type='set' id='page'><query xmlns='urn:xmpp:mam:2' queryid='q'>{set}</query></iq>")
    }
}
