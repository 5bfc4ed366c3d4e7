//! Sessions that do nothing, and sessions that come and go.

use super::login::{AT_ONCE, Logins, Manner, PATIENCE, log_in, log_out};
use super::net::Net;
use super::report::{Report, Times};
use super::system::Process;
use super::{Result, Target};
use argh::FromArgs;
use std::time::{Duration, Instant};

/// Sessions that are online and do nothing: what each takes of the server's memory.
#[derive(FromArgs)]
#[argh(subcommand, name = "idle")]
pub struct Idle {
    /// how many sessions (1000)
    #[argh(option, default = "1000")]
    sessions: usize,
    /// sessions of one account (1)
    #[argh(option, default = "1")]
    each: usize,
    /// seconds of idleness (5)
    #[argh(option, default = "5.0")]
    seconds: f64,
    /// with stream management
    #[argh(switch)]
    managed: bool,
}

impl Idle {
    pub fn run(&self, net: &mut Net, target: &Target) -> Result<Report> {
        let before = target.memory();
        let manner = Manner { managed: self.managed, ..Manner::default() };
        let users: Vec<usize> = (0..self.sessions).map(|n| target.first + n / self.each.max(1)).collect();
        let sessions = log_in(net, target, &users, manner)?;
        rest(net, 2.0)?;
        let cpu = target.cpu();
        rest(net, self.seconds)?;
        let cpu = target.cpu() - cpu;
        let after = target.memory();
        let each = |after: u64, before: u64| (after as f64 - before as f64) / self.sessions as f64 / 1000.0;
        let mut report = Report::new("idle");
        report.add("sessions", "", self.sessions as f64);
        report.add("rss_each_kb", " KB", each(after.rss, before.rss));
        report.add("pss_each_kb", " KB", each(after.pss, before.pss));
        report.add("rss_before_mb", " MB", before.rss as f64 / 1e6);
        report.add("rss_after_mb", " MB", after.rss as f64 / 1e6);
        report.add("server_cpu", "", cpu / self.seconds);
        log_out(net, &sessions)?;
        Ok(report)
    }
}

/// Only reads.
pub fn rest(net: &mut Net, seconds: f64) -> Result<()> {
    let end = Instant::now() + Duration::from_secs_f64(seconds);
    while Instant::now() < end {
        net.turn(end, &mut |_, _, _| Ok(()))?;
    }
    Ok(())
}

/// Logins one after the other, some at a time: a whole TLS handshake, SCRAM, resource binding, roster, presence, and goodbye.
#[derive(FromArgs)]
#[argh(subcommand, name = "login")]
pub struct LoginRate {
    /// how many accounts take turns (100)
    #[argh(option, default = "100")]
    accounts: usize,
    /// logins under way at the same time (8)
    #[argh(option, default = "AT_ONCE")]
    at_once: usize,
    /// seconds that are measured (5)
    #[argh(option, default = "5.0")]
    seconds: f64,
}

impl LoginRate {
    pub fn run(&self, net: &mut Net, target: &Target) -> Result<Report> {
        let mut logins = Logins::new(target);
        let manner = Manner::default();
        let mut times = Times::new();
        // Every account once: from then on this client knows the keys, and the server's caches are warm.
        let mut next = 0;
        let mut done = 0;
        while logins.under_way() < self.at_once.max(1) {
            logins.begin(net, target.first + next % self.accounts.max(1), manner)?;
            next += 1;
        }
        let mut measured: Option<(Instant, f64, f64, usize)> = None;
        let mut result = None;
        net.until(PATIENCE, "the logins", &mut |net, id, stanza| {
            if logins.take(net, id, stanza)?.is_some() {
                done += 1;
                if measured.is_some() {
                    times.add(logins.took.as_nanos() as u64);
                }
                net.quit(id);
                if measured.is_none() && done >= self.accounts {
                    measured = Some((Instant::now(), target.cpu(), Process::this().cpu(), done));
                }
                if result.is_none()
                    && let Some((began, cpu, own, first)) = measured
                    && began.elapsed().as_secs_f64() >= self.seconds
                {
                    let seconds = began.elapsed().as_secs_f64();
                    result = Some((seconds, target.cpu() - cpu, Process::this().cpu() - own, (done - first) as f64));
                }
                if result.is_none() {
                    logins.begin(net, target.first + next % self.accounts.max(1), manner)?;
                    next += 1;
                }
            } else if stanza == b"</stream:stream>" {
                net.drop(id);
            }
            Ok(result.is_some() && logins.under_way() == 0)
        })?;
        let (seconds, cpu, own, count) = result.ok_or("no login was measured")?;
        let mut report = Report::new("login");
        report.add("rate", " logins/s", count / seconds);
        report.add("cpu_ms_each", " ms", cpu / count * 1000.0);
        times.report(&mut report);
        report.add("server_cpu", "", cpu / seconds);
        report.add("own_cpu", "", own / seconds);
        Ok(report)
    }
}
