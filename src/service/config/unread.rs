//! What is told of a line of the settings that is no TOML: what is wrong with it as people see it, and the line as it should be.

/// What word processors and phones make of a quotation mark.
const CURLY: [char; 10] =
    ['\u{201c}', '\u{201d}', '\u{201e}', '\u{201f}', '\u{2018}', '\u{2019}', '\u{201a}', '\u{ab}', '\u{bb}', '\u{b4}'];

/// What a setting takes: its default as TOML, and in words.
pub(crate) struct Known {
    /// As in `inglenook config`.
    pub default: &'static str,
    /// What would be right.
    pub expects: &'static str,
}

/// The number of the line at an offset, from 1, and its text.
pub(crate) fn line(text: &str, offset: usize) -> (usize, &str) {
    let before = text.as_bytes().iter().take(offset).filter(|byte| **byte == b'\n').count();
    (before + 1, text.lines().nth(before).unwrap_or_default().trim())
}

/// What is told of the line at an offset, instead of the parser's `message`; `known` are the settings, by their names. The value of
/// anything else may be a secret, and is not told.
pub(crate) fn told(
    text: &str,
    span: std::ops::Range<usize>,
    message: &str,
    known: impl Fn(&str) -> Option<Known>,
) -> String {
    if message.contains("duplicate key") {
        let key = text.get(span).unwrap_or_default();
        return format!("{key} is there twice: keep one of the two");
    }
    let (_, line) = line(text, span.start);
    let Some((key, value)) = line.split_once('=') else { return message.to_owned() };
    let (key, value) = (key.trim(), value.trim());
    match known(key) {
        Some(Known { default, expects }) => match quoted(default, value) {
            Some(right) => format!("\"{line}\" cannot be read: put it in straight quotes: {key} = {right}"),
            None => format!("\"{line}\" cannot be read: {key} must be {expects}"),
        },
        None if line.contains(CURLY) || !value.starts_with(['"', '\'']) => {
            format!("{message}: put the text of this line in straight quotes (\")")
        }
        None => message.to_owned(),
    }
}

/// A value with quotes as they should be, if the setting takes text.
fn quoted(default: &str, value: &str) -> Option<String> {
    let marks = |c: char| CURLY.contains(&c) || "\"'`".contains(c) || c.is_whitespace();
    let bare = |text: &str| text.trim_matches(marks).to_owned();
    match default.as_bytes().first()? {
        b'"' => Some(format!("\"{}\"", bare(value.split(" #").next()?))),
        b'[' => {
            let value = value.split(" #").next()?.trim().trim_start_matches('[').trim_end_matches(']');
            let all = value.split(',').map(bare).filter(|one| !one.is_empty());
            Some(format!("[{}]", all.map(|one| format!("\"{one}\"")).collect::<Vec<_>>().join(", ")))
        }
        _ => None,
    }
}
