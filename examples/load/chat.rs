//! Pairs of people who write to each other.

use super::login::{Manner, PATIENCE, Session, log_in, log_out};
use super::net::Net;
use super::report::{Lines, Report, Times};
use super::split::{MARK_BYTES, Mark, attribute};
use super::system::Process;
use super::{Result, Target};
use argh::FromArgs;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Pairs of which one writes to the other, with so many messages on their way at a time.
#[derive(FromArgs)]
#[argh(subcommand, name = "chat")]
pub struct Chat {
    /// how many pairs (50)
    #[argh(option, default = "50")]
    pairs: usize,
    /// messages of a pair on their way at a time (1)
    #[argh(option, default = "1")]
    window: u32,
    /// length of a body in bytes (200)
    #[argh(option, default = "200")]
    bytes: usize,
    /// seconds that are measured (5)
    #[argh(option, default = "5.0")]
    seconds: f64,
    /// seconds before that (1)
    #[argh(option, default = "1.0")]
    warm: f64,
    /// stream management: after each window an acknowledgement is asked for, and waited for before the next window
    #[argh(switch)]
    acks: bool,
    /// what the accounts tell the archive to keep, always or never; without it they tell nothing
    #[argh(option, from_str_fn(super::keep))]
    keep: Option<&'static str>,
}

/// The same between two servers, which must know each other: the writers are at the one, the readers at the other.
#[derive(FromArgs)]
#[argh(subcommand, name = "s2s")]
pub struct S2s {
    /// where the readers' server takes TLS connections
    #[argh(option)]
    other_address: SocketAddr,
    /// its domain
    #[argh(option)]
    other_domain: String,
    /// its process
    #[argh(option)]
    other_pid: Option<u32>,
    /// how many pairs (50)
    #[argh(option, default = "50")]
    pairs: usize,
    /// messages of a pair on their way at a time (16)
    #[argh(option, default = "16")]
    window: u32,
    /// length of a body in bytes (200)
    #[argh(option, default = "200")]
    bytes: usize,
    /// seconds that are measured (5)
    #[argh(option, default = "5.0")]
    seconds: f64,
    /// seconds before that (1)
    #[argh(option, default = "1.0")]
    warm: f64,
}

impl S2s {
    pub fn run(&self, net: &mut Net, target: &Target) -> Result<Report> {
        let &S2s { other_address, other_pid, pairs, window, bytes, seconds, warm, .. } = self;
        let chat = Chat { pairs, window, bytes, seconds, warm, acks: false, keep: None };
        let other = Target {
            address: other_address,
            domain: self.other_domain.clone(),
            process: other_pid.map(Process),
            first: target.first,
            relay: false,
            run: target.run,
        };
        chat.between(net, target, Some(&other))
    }
}

struct Pair {
    writer: Session,
    /// The next message, all but its mark.
    text: Vec<u8>,
    mark: usize,
    sent: u32,
    arrived: u32,
    /// What the server's counter of the writer's stanzas was before the first message.
    base: Option<u32>,
    acked: u32,
    /// When the window went out.
    window: u64,
}

struct Talk<'a> {
    options: &'a Chat,
    run: u32,
    began: Instant,
    pairs: Vec<Pair>,
    /// By connection: the pair, and whether it is the one who writes.
    of: Vec<Option<(usize, bool)>>,
    lines: Lines,
    measuring: bool,
    ending: bool,
    times: Times,
    acks: Times,
    refused: u64,
}

impl Chat {
    pub fn run(&self, net: &mut Net, target: &Target) -> Result<Report> {
        self.between(net, target, None)
    }

    /// `other`: where the readers are, if that is another server.
    fn between(&self, net: &mut Net, target: &Target, other: Option<&Target>) -> Result<Report> {
        if self.pairs == 0 || self.window == 0 || self.bytes < MARK_BYTES {
            return Err(format!("there must be a pair, a window, and bodies of at least {MARK_BYTES} bytes").into());
        }
        let manner = Manner { managed: self.acks, keep: self.keep, crowd: false };
        let users = |count: usize| (target.first..target.first + count).collect::<Vec<usize>>();
        let sessions = match other {
            None => log_in(net, target, &users(2 * self.pairs), manner)?,
            Some(other) => {
                let writers = log_in(net, target, &users(self.pairs), manner)?;
                let readers = log_in(net, other, &users(self.pairs), manner)?;
                writers.into_iter().zip(readers).flat_map(|(writer, reader)| [writer, reader]).collect()
            }
        };
        let mut talk = Talk::new(self, target, other.unwrap_or(target), &sessions);
        if self.acks {
            talk.ask_for_base(net)?;
        }
        talk.start(net);
        talk.go_on(net, self.warm)?;
        let other_cpu = || other.map_or(0.0, Target::cpu);
        let other_before = other_cpu();
        let before = (talk.now(), talk.lines.arrived, target.cpu(), Process::this().cpu());
        talk.measuring = true;
        talk.go_on(net, self.seconds)?;
        let after = (talk.now(), talk.lines.arrived, target.cpu(), Process::this().cpu());
        let other_after = other_cpu();
        talk.measuring = false;
        talk.ending = true;
        talk.finish(net)?;

        let sent: u64 = talk.pairs.iter().map(|pair| u64::from(pair.sent)).sum();
        let seconds = (after.0 - before.0) as f64 / 1e9;
        let arrived = (after.1 - before.1) as f64;
        let mut report = Report::new(if other.is_some() { "s2s" } else { "chat" });
        report.add("pairs", "", self.pairs as f64);
        report.add("window", "", self.window.into());
        report.add("rate", " msg/s", arrived / seconds);
        report.add("cpu_per_1000", " s", (after.2 - before.2) / arrived * 1000.0);
        if other.is_some() {
            report.add("other_cpu_per_1000", " s", (other_after - other_before) / arrived * 1000.0);
        }
        talk.times.report(&mut report);
        if self.acks {
            report.add("ack_p50_ms", " ms", talk.acks.ms(0.5));
            report.add("ack_p99_ms", " ms", talk.acks.ms(0.99));
        }
        report.add("sent", "", sent as f64);
        talk.lines.report(&mut report, sent);
        report.add("refused", "", talk.refused as f64);
        report.add("server_cpu", "", (after.2 - before.2) / seconds);
        report.add("own_cpu", "", (after.3 - before.3) / seconds);
        report.add("server_rss_mb", " MB", target.memory().rss as f64 / 1e6);
        log_out(net, &sessions)?;
        Ok(report)
    }
}

impl<'a> Talk<'a> {
    fn new(options: &'a Chat, target: &Target, readers: &Target, sessions: &[Session]) -> Talk<'a> {
        let mut of = vec![None; sessions.iter().map(|session| session.id + 1).max().unwrap_or(0)];
        let mut pairs = Vec::new();
        for (n, two) in sessions.chunks_exact(2).enumerate() {
            of[two[0].id] = Some((n, true));
            of[two[1].id] = Some((n, false));
            let to = readers.jid(two[1].user);
            let room = "~".repeat(MARK_BYTES);
            let more = "x".repeat(options.bytes - MARK_BYTES);
            let text =
                format!("<message to='{to}' type='chat' id='m{n}'><body>{room}{more}</body></message>").into_bytes();
            let mark = Mark::place(&text).expect("it is there");
            let writer = two[0].clone();
            pairs.push(Pair { writer, text, mark, sent: 0, arrived: 0, base: None, acked: 0, window: 0 });
        }
        Talk {
            options,
            run: target.run,
            began: Instant::now(),
            lines: Lines::new(pairs.len()),
            pairs,
            of,
            measuring: false,
            ending: false,
            times: Times::new(),
            acks: Times::new(),
            refused: 0,
        }
    }

    fn now(&self) -> u64 {
        self.began.elapsed().as_nanos() as u64
    }

    /// What the server has counted of each writer so far: the login's stanzas.
    fn ask_for_base(&mut self, net: &mut Net) -> Result<()> {
        for pair in &self.pairs {
            net.send(pair.writer.id, REQUEST);
        }
        let mut left = self.pairs.len();
        net.until(PATIENCE, "the first acknowledgements", &mut |_, id, stanza| {
            if let (Some(Some((n, true))), Some(h)) = (self.of.get(id), ack(stanza)) {
                self.pairs[*n].base = Some(h);
                left -= 1;
            }
            Ok(left == 0)
        })
    }

    fn start(&mut self, net: &mut Net) {
        for n in 0..self.pairs.len() {
            self.send(net, n, self.options.window);
        }
    }

    fn go_on(&mut self, net: &mut Net, seconds: f64) -> Result<()> {
        let end = Instant::now() + Duration::from_secs_f64(seconds);
        while Instant::now() < end {
            net.turn(end, &mut |net, id, stanza| self.take(net, id, stanza))?;
        }
        Ok(())
    }

    /// Waits for what is on its way; what does not come within ten seconds of silence is lost.
    fn finish(&mut self, net: &mut Net) -> Result<()> {
        let mut last = Instant::now();
        let patience = Duration::from_secs(10);
        while self.pairs.iter().any(|pair| pair.arrived < pair.sent) && last.elapsed() < patience {
            net.turn(last + patience, &mut |net, id, stanza| {
                last = Instant::now();
                self.take(net, id, stanza)
            })?;
        }
        Ok(())
    }

    fn send(&mut self, net: &mut Net, n: usize, count: u32) {
        let sent = self.now();
        let pair = &mut self.pairs[n];
        for _ in 0..count {
            let mark = Mark { run: self.run, line: n as u32, number: pair.sent, sent };
            mark.write(&mut pair.text[pair.mark..][..MARK_BYTES]);
            net.send(pair.writer.id, &pair.text);
            pair.sent += 1;
        }
        if self.options.acks {
            pair.window = sent;
            net.send(pair.writer.id, REQUEST);
        }
    }

    fn take(&mut self, net: &mut Net, id: usize, stanza: &[u8]) -> Result<()> {
        let Some(Some((n, writes))) = self.of.get(id).copied() else { return Ok(()) };
        if stanza.starts_with(b"<message") {
            let Some(mark) = Mark::read(stanza, self.run) else { return Ok(()) };
            if writes {
                // Only its own messages come back to a writer, and only as errors.
                self.refused += 1;
                if self.refused == 1 {
                    eprintln!("refused: {}", String::from_utf8_lossy(stanza));
                }
            } else if mark.line as usize == n && self.lines.arrive(mark.line, mark.number) {
                if self.measuring {
                    self.times.add(self.now().saturating_sub(mark.sent));
                }
                self.pairs[n].arrived += 1;
                self.next(net, n);
            }
        } else if writes && let Some(h) = ack(stanza) {
            let pair = &mut self.pairs[n];
            pair.acked = h.wrapping_sub(pair.base.unwrap_or(0));
            if self.options.acks && pair.acked == pair.sent {
                if self.measuring || self.ending {
                    self.acks.add((self.began.elapsed().as_nanos() as u64).saturating_sub(pair.window));
                }
                self.next(net, n);
            }
        } else if stanza.starts_with(b"<stream:error") {
            return Err(String::from_utf8_lossy(stanza).into());
        }
        Ok(())
    }

    /// Goes on when the window allows it.
    fn next(&mut self, net: &mut Net, n: usize) {
        let pair = &self.pairs[n];
        if self.ending {
        } else if !self.options.acks {
            self.send(net, n, 1);
        } else if pair.acked == pair.sent && pair.arrived == pair.sent {
            self.send(net, n, self.options.window);
        }
    }
}

const REQUEST: &[u8] = b"<r xmlns='urn:xmpp:sm:3'/>";

fn ack(stanza: &[u8]) -> Option<u32> {
    if stanza.starts_with(b"<a ") { attribute(stanza, "h")?.parse().ok() } else { None }
}
