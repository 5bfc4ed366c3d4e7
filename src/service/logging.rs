//! The log: lines on stderr, for whoever collects them.
//!
//! A line has its level before it, as the journal wants that (`<6>`, `sd-daemon(3)`) or as a person does (`info:`), and no time:
//! who collects it knows that. What a peer chose can stand in a line, such as an address, but cannot end it or change how the
//! terminal shows it. Libraries say only what is wrong: further down they print keys and rows of the database.

use crate::wire::typed::steers;
use log::{Level, LevelFilter, Record};
use rustix::fs::fstat;
use std::fmt::{self, Write as _};
use std::io::Write as _;

/// Begins to log. The level is the settings', unless there is `RUST_LOG`.
pub fn to_stderr() {
    let mut builder = env_logger::Builder::new();
    let chosen = std::env::var_os("RUST_LOG").is_some();
    if chosen {
        builder.parse_default_env();
    } else {
        builder.filter_level(LevelFilter::Warn).filter_module("inglenook", LevelFilter::Trace);
    }
    let journal = is_journal();
    builder.format(move |out, record| match is_for_people(record.target(), record.level()) {
        true => writeln!(out, "{}", LogLine { record, journal }),
        false => Ok(()),
    });
    builder.init();
    if !chosen {
        log::set_max_level(LevelFilter::Info);
    }
}

/// Whether stderr is the journal: `JOURNAL_STREAM` names its device and inode (`systemd.exec(5)`).
fn is_journal() -> bool {
    let Ok(named) = std::env::var("JOURNAL_STREAM") else { return false };
    fstat(std::io::stderr()).is_ok_and(|stat| named == format!("{}:{}", stat.st_dev, stat.st_ino))
}

fn is_for_people(target: &str, level: Level) -> bool {
    level <= Level::Warn || target.split("::").next() == Some("inglenook")
}

/// A record as it is written.
struct LogLine<'a> {
    record: &'a Record<'a>,
    journal: bool,
}

impl fmt::Display for LogLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (number, name) = match self.record.level() {
            Level::Error => (3, "error"),
            Level::Warn => (4, "warn"),
            Level::Info => (6, "info"),
            Level::Debug => (7, "debug"),
            Level::Trace => (7, "trace"),
        };
        match self.journal {
            true => write!(f, "<{number}>")?,
            false => write!(f, "{name}: ")?,
        }
        write!(Escaped(f), "{}", self.record.args())
    }
}

/// Passes text on, but for characters that end a line, move the cursor or turn the text around.
struct Escaped<'a, 'b>(&'a mut fmt::Formatter<'b>);

impl fmt::Write for Escaped<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = text;
        while let Some((at, c)) = rest.char_indices().find(|(_, c)| steers(*c)) {
            write!(self.0, "{}{}", &rest[..at], c.escape_default())?;
            rest = &rest[at + c.len_utf8()..];
        }
        self.0.write_str(rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(level: Level, text: &str, journal: bool) -> String {
        let args = format_args!("{text}");
        let record = Record::builder().level(level).args(args).build();
        LogLine { record: &record, journal }.to_string()
    }

    #[test]
    fn a_line_says_its_level() {
        assert_eq!(line(Level::Error, "a", true), "<3>a");
        assert_eq!(line(Level::Warn, "a", true), "<4>a");
        assert_eq!(line(Level::Info, "a", true), "<6>a");
        assert_eq!(line(Level::Trace, "a", true), "<7>a");
        assert_eq!(line(Level::Info, "a", false), "info: a");
        assert_eq!(line(Level::Error, "a", false), "error: a");
    }

    #[test]
    fn what_a_peer_chose_is_one_line() {
        let text = "j\r\n<3>juliet\0\u{1b}[2J\u{85}\u{202e}x\u{7f}é\u{2029}\u{2069}";
        let wanted = "<6>j\\r\\n<3>juliet\\u{0}\\u{1b}[2J\\u{85}\\u{202e}x\\u{7f}é\\u{2029}\\u{2069}";
        assert_eq!(line(Level::Info, text, true), wanted);
    }

    #[test]
    fn libraries_say_only_what_is_wrong() {
        assert!(
            is_for_people("inglenook::service::net::pump", Level::Trace) && is_for_people("inglenook", Level::Trace)
        );
        assert!(is_for_people("sled::pagecache", Level::Warn));
        assert!(!is_for_people("sled::tree", Level::Info) && !is_for_people("inglenook_like", Level::Debug));
    }
}
