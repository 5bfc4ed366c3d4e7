//! What programs that look after the server are told (`/metrics`): numbers, and of no account or domain a name. As Prometheus reads it
//! (text format 0.0.4), or OpenMetrics 1.0.

use crate::service::counters::{KINDS, TIMES};
use crate::service::disk::wear::Wear;
use crate::service::host;
use crate::service::hub::Hub;
use std::fmt::{Display, Write};

/// Where the numbers are from.
pub struct Measured<'a> {
    /// What goes through the server.
    pub hub: &'a Hub,
    /// What was written.
    pub wear: &'a Wear,
    /// What the card may be written in its life, in bytes.
    pub card_bytes: u64,
    /// Connections that were made to the server.
    pub connections: usize,
    /// When the certificate ends, in seconds since 1970.
    pub certificate_ends: Option<u64>,
    /// When the last backup was made, in seconds since 1970.
    pub backed_up: Option<u64>,
}

/// The page. `open`: as OpenMetrics wants it. Waits for storage.
pub fn page(measured: &Measured<'_>, open: bool) -> String {
    let mut page = Page { out: String::with_capacity(8 * 1024), open, name: "" };
    let hub = measured.hub;
    page.gauge("inglenook_build_info", "The version that runs.");
    page.sample("", &format!("version=\"{}\"", env!("CARGO_PKG_VERSION")), 1);
    people(&mut page, measured);
    stanzas(&mut page, measured);
    servers(&mut page, measured);
    disk(&mut page, measured);
    page.one(
        "inglenook_storage_ok",
        "Whether all that has to be stored can be.",
        u8::from(hub.takes_nothing().is_none()),
    );
    page.one(
        "inglenook_clock_ok",
        "Whether there is nothing to tell of the clock.",
        u8::from(hub.clock_told().is_none()),
    );
    if let Some(until) = measured.certificate_ends {
        page.one("inglenook_certificate_expires_timestamp_seconds", "When the certificate ends.", until);
    }
    if let Some(made) = measured.backed_up {
        let age = host::clock().saturating_sub(made);
        page.one("inglenook_backup_age_seconds", "How long ago the last backup was made.", age);
    }
    process(&mut page, hub.mono());
    page.end()
}

fn people(page: &mut Page, measured: &Measured<'_>) {
    let (connected, waiting, accounts) = measured.hub.people();
    page.one("inglenook_connections", "Connections of all kinds that were made to the server.", measured.connections);
    page.gauge("inglenook_sessions", "Sessions of apps.");
    page.sample("", "state=\"connected\"", connected);
    page.sample("", "state=\"waiting\"", waiting);
    page.one("inglenook_accounts", "Accounts.", accounts);
    let [failed, succeeded] = measured.hub.counters().logins();
    page.counter("inglenook_logins", "Logins since the start.");
    page.sample("_total", "result=\"ok\"", succeeded);
    page.sample("_total", "result=\"failed\"", failed);
}

fn stanzas(page: &mut Page, measured: &Measured<'_>) {
    let (received, sent) = measured.hub.counters().stanzas();
    page.counter("inglenook_stanzas", "Stanzas of apps, components and other servers since the start.");
    for (way, counts) in [("in", received), ("out", sent)] {
        for (kind, count) in KINDS.iter().zip(counts) {
            page.sample("_total", &format!("kind=\"{kind}\",way=\"{way}\""), count);
        }
    }
}

fn servers(page: &mut Page, measured: &Measured<'_>) {
    let (mut states, mut waiting) = ([0; 4], 0);
    for peer in measured.hub.peers() {
        let state = match (peer.proof.is_some(), peer.dialling, peer.refusal.is_some()) {
            (true, ..) => 0,
            (_, true, _) => 1,
            (_, _, true) => 2,
            _ => 3,
        };
        states[state] += 1;
        waiting += peer.waiting;
    }
    page.gauge("inglenook_servers", "Other servers, as far as they are remembered.");
    for (state, count) in ["connected", "dialling", "unreached", "idle"].iter().zip(states) {
        page.sample("", &format!("state=\"{state}\""), count);
    }
    page.one("inglenook_servers_waiting_stanzas", "Stanzas that wait for other servers.", waiting);
}

fn disk(page: &mut Page, measured: &Measured<'_>) {
    let archive = measured.hub.on_storage(|engine| engine.log_files().iter().map(|(_, bytes)| bytes).sum::<u64>());
    if let Ok(bytes) = archive {
        page.one("inglenook_archive_bytes", "What all archives take.", bytes);
    }
    if let Some(files) = measured.hub.files() {
        let usage = files.usage();
        page.one("inglenook_uploads", "Files that were uploaded.", usage.files);
        page.one("inglenook_uploads_bytes", "What they take.", usage.bytes);
        page.one("inglenook_uploads_limit_bytes", "What they may take.", usage.total_bytes);
        page.one("inglenook_uploads_coming", "Files that are coming in.", usage.uploads);
        page.counter("inglenook_uploads_written_bytes", "Bytes of files written to storage since the start.");
        page.sample("_total", "", measured.wear.files());
    }
    let (book, run) = measured.wear.look();
    page.counter("inglenook_written_bytes", "Bytes written to storage since the start.");
    page.sample("_total", "", run.bytes);
    page.counter("inglenook_kept_bytes", "Bytes that were to be kept, of those.");
    page.sample("_total", "", run.payload);
    page.counter("inglenook_syncs", "How often storage was told to make them durable since the start.");
    page.sample("_total", "", run.syncs);
    let used = book.ever.bytes as f64 / measured.card_bytes.max(1) as f64;
    page.one(
        "inglenook_card_used_ratio",
        "The part of its life that the memory card has behind it, from 0 to 1.",
        used,
    );
    let times = measured.wear.commits();
    page.family("inglenook_commit_seconds", "histogram", "How long it took to make something durable.");
    let mut up_to = 0;
    for (most, count) in TIMES.iter().zip(times.counts) {
        up_to += count;
        page.sample("_bucket", &format!("le=\"{most:?}\""), up_to);
    }
    page.sample("_bucket", "le=\"+Inf\"", times.all);
    page.sample("_sum", "", times.seconds);
    page.sample("_count", "", times.all);
}

/// What Prometheus' own libraries tell of a process, under their names.
fn process(page: &mut Page, mono: u64) {
    let usage = host::process_usage();
    page.counter("process_cpu_seconds", "Processor time.");
    page.sample("_total", "", usage.cpu_seconds);
    page.one("process_resident_memory_bytes", "Memory, pages of the program included.", usage.resident_bytes);
    page.one("process_open_fds", "Open descriptors.", usage.descriptors);
    page.one("process_max_fds", "Descriptors that may be open.", host::descriptors());
    let begun = host::clock().saturating_sub(mono / 1000);
    page.one("process_start_time_seconds", "When it was started, as the box believes.", begun);
}

struct Page {
    out: String,
    open: bool,
    /// What the samples are of.
    name: &'static str,
}

impl Page {
    fn family(&mut self, name: &'static str, kind: &str, help: &str) {
        self.name = name;
        // Of counters the older format names the samples, the newer one what they are of.
        let end = if kind == "counter" && !self.open { "_total" } else { "" };
        let _ = write!(self.out, "# HELP {name}{end} {help}\n# TYPE {name}{end} {kind}\n");
    }

    fn gauge(&mut self, name: &'static str, help: &str) {
        self.family(name, "gauge", help);
    }

    fn counter(&mut self, name: &'static str, help: &str) {
        self.family(name, "counter", help);
    }

    fn sample(&mut self, end: &str, labels: &str, value: impl Display) {
        let (before, behind) = if labels.is_empty() { ("", "") } else { ("{", "}") };
        let _ = writeln!(self.out, "{}{end}{before}{labels}{behind} {value}", self.name);
    }

    /// A gauge with one sample.
    fn one(&mut self, name: &'static str, help: &str, value: impl Display) {
        self.gauge(name, help);
        self.sample("", "", value);
    }

    fn end(mut self) -> String {
        if self.open {
            self.out.push_str("# EOF\n");
        }
        self.out
    }
}
