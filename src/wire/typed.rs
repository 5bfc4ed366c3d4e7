//! Words on a terminal: what a person reads, and what a person may type again.

/// Whether a character ends a line, changes how the terminal shows what follows, or turns the direction of the text.
pub fn steers(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2060}' | '\u{feff}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Text for one line of a terminal. What others chose, such as a path or a room's name, can stand in it: a character that [`steers`] is
/// shown as what it is.
pub fn visible(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if steers(c) {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

/// A word as it is to be typed in a command, so that the shell takes it for one word and nothing else: in quotes if it needs them.
pub fn shell(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_./:,@%+=".contains(c);
    match !word.is_empty() && word.chars().all(plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', "'\\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_one_word_for_the_shell() {
        for plain in ["/srv/chat-1_a.b", "juliet@example.org", "büro"] {
            assert_eq!(shell(plain), plain);
        }
        for (word, quoted) in [
            ("my data", "'my data'"),
            ("$(touch x)", "'$(touch x)'"),
            ("`x`;&|*?~#", "'`x`;&|*?~#'"),
            ("it's", "'it'\\''s'"),
            ("", "''"),
            ("a\\b\"", "'a\\b\"'"),
        ] {
            assert_eq!(shell(word), quoted);
        }
    }

    #[test]
    fn nothing_that_others_chose_steers_the_terminal() {
        assert_eq!(visible("\u{1b}[2Ja\nb\t\u{9b}1m\u{7f}"), "\\u{1b}[2Ja\\nb\\t\\u{9b}1m\\u{7f}");
        assert_eq!(visible("a\u{202e}b\u{2028}c\u{2066}"), "a\\u{202e}b\\u{2028}c\\u{2066}");
        assert_eq!(visible("Büro, \"日本\""), "Büro, \"日本\"");
    }
}
