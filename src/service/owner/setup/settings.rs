//! Changes single settings in a file that somebody may have written by hand: all else in it stays as it is.

use crate::service::config::Config;
use crate::service::{Failure, Result};

/// What some editors begin a file with.
const BOM: &str = "\u{feff}";

/// A setting and its value.
pub(super) struct Wanted<'a> {
    /// The table it stands in; empty for the top.
    pub table: &'static str,
    pub name: &'static str,
    pub value: &'a str,
    /// The value that a file gives it.
    pub read: fn(&Config) -> String,
}

/// A file with these settings. `name`: what the file is called, for people.
///
/// # Errors
/// When what is there cannot be read, or not be changed without understanding all of it.
pub(super) fn with(name: &str, text: &str, all: &[Wanted<'_>]) -> Result<String> {
    let mut now = text.to_owned();
    for wanted in all {
        if (wanted.read)(&Config::parse(name, &now)?) == wanted.value {
            continue;
        }
        now = put(&now, wanted);
        let is_read = Config::parse(name, &now).is_ok_and(|config| (wanted.read)(&config) == wanted.value);
        if !is_read {
            let place = match wanted.table {
                "" => String::new(),
                table => format!(", below [{table}]"),
            };
            return Err(Failure(format!(
                "{name}: write `{}` into it yourself{place}, and type this again",
                line(wanted)
            )));
        }
    }
    Ok(now)
}

fn line(wanted: &Wanted<'_>) -> String {
    format!("{} = {}", wanted.name, quoted(wanted.value))
}

/// A string of TOML.
fn quoted(value: &str) -> String {
    format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""))
}

/// Puts another value into the line of a setting; without one, it comes first in its table; without that, both come last.
fn put(text: &str, wanted: &Wanted<'_>) -> String {
    let (mark, text) = text.strip_prefix(BOM).map_or(("", text), |rest| (BOM, rest));
    let end = if text.contains("\r\n") { "\r\n" } else { "\n" };
    let mut lines: Vec<String> = text.split_inclusive('\n').map(str::to_owned).collect();
    if let Some(last) = lines.last_mut().filter(|last| !last.ends_with('\n')) {
        last.push_str(end);
    }
    let header = |line: &str| Some(line.trim().strip_prefix('[')?.split_once(']')?.0.trim().to_owned());
    let start = match wanted.table {
        "" => Some(0),
        table => lines.iter().position(|line| header(line).as_deref() == Some(table)).map(|at| at + 1),
    };
    let fresh = format!("{}{end}", line(wanted));
    let Some(start) = start else {
        let gap = if lines.is_empty() { "" } else { end };
        lines.extend([gap.to_owned(), format!("[{}]{end}", wanted.table), fresh]);
        return mark.to_owned() + &lines.concat();
    };
    let count = lines.iter().skip(start).position(|line| line.trim_start().starts_with('['));
    let of_table = lines.iter_mut().skip(start).take(count.unwrap_or(usize::MAX));
    let mut changed = of_table.filter_map(|line| with_value(line, wanted).map(|now| (line, now)));
    match changed.next() {
        Some((line, now)) => *line = now,
        None => {
            drop(changed);
            lines.insert(start, fresh);
        }
    }
    mark.to_owned() + &lines.concat()
}

/// A line with this value in it, all else as it was; `None` if it is of another setting, or its value is no string in one line.
fn with_value(line: &str, wanted: &Wanted<'_>) -> Option<String> {
    let (key, rest) = line.split_once('=')?;
    if key.trim() != wanted.name {
        return None;
    }
    let before = line.len() - rest.trim_start().len();
    let (head, value) = line.split_at_checked(before)?;
    let quote = value.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    let mut escaped = false;
    let close = value.char_indices().skip(1).find(|(_, c)| {
        let closes = *c == quote && !escaped;
        escaped = *c == '\\' && quote == '"' && !escaped;
        closes
    })?;
    Some(format!("{head}{}{}", quoted(wanted.value), value.get(close.0 + 1..)?))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::core::RoomKind;

    const DOMAIN: Wanted<'_> = Wanted {
        table: "",
        name: "domain",
        value: "example.org",
        read: |config| config.domain.as_ref().map(ToString::to_string).unwrap_or_default(),
    };
    const TOKEN: Wanted<'_> = Wanted {
        table: "",
        name: "metrics_token",
        value: "0123456789\"abc\\def",
        read: |config| config.metrics_token.clone(),
    };
    const KIND: Wanted<'_> = Wanted {
        table: "rooms",
        name: "kind",
        value: "channel",
        read: |config| if config.room_kind == RoomKind::Channel { "channel".into() } else { "group".into() },
    };

    fn changed(text: &str, wanted: &Wanted<'_>) -> String {
        with("x.toml", text, std::slice::from_ref(wanted)).unwrap()
    }

    #[test]
    fn all_else_stays_as_it_is() {
        let ours = "domain = \"example.org\"\n";
        assert_eq!(changed("", &DOMAIN), ours);
        let others = "# mine\nplain = true # really\n\n[listen]\nc2s = [\n  \"127.0.0.1:5222\",\n]\n";
        assert_eq!(changed(others, &DOMAIN), format!("{ours}{others}"));
        let before = others.replace("plain", "domain = \"old.example\"\nplain");
        assert_eq!(changed(&before, &DOMAIN), others.replace("plain", &format!("{ours}plain")));
        let before = "\tdomain\t=  'old.example' # a \"comment\" = kept\r\nplain = true";
        let after = "\tdomain\t=  \"example.org\" # a \"comment\" = kept\r\nplain = true\r\n";
        assert_eq!(changed(before, &DOMAIN), after);
        assert_eq!(changed("plain = true\r\n", &DOMAIN), "domain = \"example.org\"\r\nplain = true\r\n");
        // What is so already, however it is written.
        let quoted = "domain   =   'example.org'   # ours\n";
        assert_eq!(changed(quoted, &DOMAIN), quoted);
    }

    #[test]
    fn values_are_quoted() {
        assert_eq!(changed("", &TOKEN), "metrics_token = \"0123456789\\\"abc\\\\def\"\n");
    }

    #[test]
    fn a_table_is_found_or_made() {
        let ours = "kind = \"channel\"\n";
        assert_eq!(changed("", &KIND), format!("[rooms]\n{ours}"));
        assert_eq!(changed("plain = true\n", &KIND), format!("plain = true\n\n[rooms]\n{ours}"));
        let there = "[ rooms ] # mine\ncreate = \"admins\"\n[uploads]\naccount_bytes = 17000000\n";
        let [header, rest] = ["[ rooms ] # mine\n", "create = \"admins\"\n[uploads]\naccount_bytes = 17000000\n"];
        assert_eq!(changed(there, &KIND), format!("{header}{ours}{rest}"));
        let before = format!("{header}  kind = \"group\"\n{rest}");
        assert_eq!(changed(&before, &KIND), format!("{header}  {ours}{rest}"));
    }

    #[test]
    fn what_is_not_understood_is_left_to_its_owner() {
        // No line of its own, so that a second one would be a second value.
        let odd = "\"domain\" = \"old.example\"\n";
        let told = with("x.toml", odd, &[DOMAIN]).unwrap_err().0;
        assert!(told.contains("write `domain = \"example.org\"` into it yourself"), "{told}");
        let long = "domain = \"\"\"\nold.example\"\"\"\n";
        assert!(with("x.toml", long, &[DOMAIN]).unwrap_err().0.contains("yourself"));
        let wrong = with("x.toml", "plian = true\n", &[DOMAIN]).unwrap_err().0;
        assert!(wrong.contains("x.toml:1") && wrong.contains("\"plain\""), "{wrong}");
    }
}
