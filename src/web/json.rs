//! JSON (RFC 8259), of little programs that have something to tell: whole texts that are in memory, with limits. Stricter than some readers:
//! nothing behind the value, no comments, no lone surrogates.

use crate::wire::typed::steers;
use std::borrow::Cow;

/// Lists and objects inside of each other.
pub const DEPTH: usize = 32;
/// Values in one text: with [`VALUE_BYTES`] each they are the memory that it takes besides its strings.
pub const VALUES: usize = 2048;
/// What a value and the name in front of it take at most, in bytes.
pub const VALUE_BYTES: usize = 64;

/// A value. What has no escapes in it is where it was.
#[derive(Clone, PartialEq, Debug)]
pub enum Json<'a> {
    /// `null`, `true` or `false`.
    Word(&'a str),
    /// A number, as it was written.
    Number(&'a str),
    /// A string.
    Text(Cow<'a, str>),
    /// A list.
    List(Vec<Json<'a>>),
    /// An object: names and values, as they came.
    Object(Vec<(Cow<'a, str>, Json<'a>)>),
}

/// A text is no JSON, or more of it than is read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BadJson {
    /// Where that was seen, in bytes.
    pub at: usize,
    /// What was seen.
    pub why: &'static str,
}

impl<'a> Json<'a> {
    /// Reads a whole text.
    ///
    /// # Errors
    /// When it is none.
    pub fn read(text: &'a str) -> Result<Json<'a>, BadJson> {
        let mut reader = Reader { text, at: 0, values: 0 };
        reader.skip_space();
        let value = reader.value(0)?;
        reader.skip_space();
        if reader.at < text.len() { Err(reader.bad("something follows the value")) } else { Ok(value) }
    }

    /// A member of an object; of several with one name the last, as most readers do (§4).
    pub fn get(&self, name: &str) -> Option<&Json<'a>> {
        let Json::Object(members) = self else { return None };
        members.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value)
    }

    /// A string.
    pub fn text(&self) -> Option<&str> {
        if let Json::Text(text) = self { Some(text) } else { None }
    }

    /// A string that is a member of an object.
    pub fn text_of(&self, name: &str) -> Option<&str> {
        self.get(name)?.text()
    }

    /// What is in a list; nothing in all else.
    pub fn items(&self) -> &[Json<'a>] {
        if let Json::List(items) = self { items } else { &[] }
    }
}

/// A string as it stands in a text (§7).
pub fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            // What would steer a terminal, too: it is often read at one. None of it is beyond the first plane.
            c if steers(c) => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    values: usize,
}

impl<'a> Reader<'a> {
    fn bad(&self, why: &'static str) -> BadJson {
        BadJson { at: self.at, why }
    }

    fn next(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// Takes a byte, if it is next.
    fn takes(&mut self, byte: u8) -> bool {
        let is_next = self.next() == Some(byte);
        self.at += usize::from(is_next);
        is_next
    }

    /// Takes bytes as long as they are so. Says how many.
    fn take_while(&mut self, is_so: impl Fn(u8) -> bool) -> usize {
        let rest = &self.text.as_bytes()[self.at..];
        let n = rest.iter().position(|b| !is_so(*b)).unwrap_or(rest.len());
        self.at += n;
        n
    }

    fn skip_space(&mut self) {
        self.take_while(|b| matches!(b, b' ' | b'\t' | b'\n' | b'\r'));
    }

    fn value(&mut self, depth: usize) -> Result<Json<'a>, BadJson> {
        self.values += 1;
        match self.next() {
            _ if self.values > VALUES => Err(self.bad("there are too many values")),
            Some(b'"') => Ok(Json::Text(self.string()?)),
            Some(b'{' | b'[') if depth >= DEPTH => Err(self.bad("it is nested too deeply")),
            Some(b'{') => self.object(depth + 1),
            Some(b'[') => self.list(depth + 1),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => self.word(),
        }
    }

    /// What stands between a value and the next one: whether there is a next one, before this end.
    fn more(&mut self, end: u8) -> Result<bool, BadJson> {
        self.skip_space();
        if self.takes(end) {
            return Ok(false);
        }
        if !self.takes(b',') {
            return Err(self.bad("a comma or an end is missing"));
        }
        self.skip_space();
        Ok(true)
    }

    /// Takes the beginning of a list or an object, and its end if it is empty. Says whether something is in it.
    fn has_some(&mut self, end: u8) -> bool {
        self.at += 1;
        self.skip_space();
        !self.takes(end)
    }

    fn list(&mut self, depth: usize) -> Result<Json<'a>, BadJson> {
        let mut items = Vec::new();
        let mut more = self.has_some(b']');
        while more {
            items.push(self.value(depth)?);
            more = self.more(b']')?;
        }
        Ok(Json::List(items))
    }

    fn object(&mut self, depth: usize) -> Result<Json<'a>, BadJson> {
        let mut members = Vec::new();
        let mut more = self.has_some(b'}');
        while more {
            if self.next() != Some(b'"') {
                return Err(self.bad("the name of a member is missing"));
            }
            let name = self.string()?;
            self.skip_space();
            if !self.takes(b':') {
                return Err(self.bad("the colon behind a name is missing"));
            }
            self.skip_space();
            members.push((name, self.value(depth)?));
            more = self.more(b'}')?;
        }
        Ok(Json::Object(members))
    }

    fn word(&mut self) -> Result<Json<'a>, BadJson> {
        let rest = &self.text[self.at..];
        let word = ["null", "true", "false"].into_iter().find(|word| rest.starts_with(word));
        let word = word.ok_or(self.bad("a value is missing"))?;
        self.at += word.len();
        Ok(Json::Word(&rest[..word.len()]))
    }

    /// §6
    fn number(&mut self) -> Result<Json<'a>, BadJson> {
        let begins = self.at;
        let is_digit = |b: u8| b.is_ascii_digit();
        self.takes(b'-');
        let has_zero = self.next() == Some(b'0');
        let whole = self.take_while(is_digit);
        let fraction = if self.takes(b'.') { self.take_while(is_digit) } else { 1 };
        let exponent = if self.takes(b'e') || self.takes(b'E') {
            let _ = self.takes(b'+') || self.takes(b'-');
            self.take_while(is_digit)
        } else {
            1
        };
        match whole == 0 || has_zero && whole > 1 || fraction == 0 || exponent == 0 {
            true => Err(self.bad("that is no number")),
            false => Ok(Json::Number(&self.text[begins..self.at])),
        }
    }

    /// §7
    fn string(&mut self) -> Result<Cow<'a, str>, BadJson> {
        self.at += 1;
        let begins = self.at;
        let is_plain = |b: u8| !matches!(b, b'"' | b'\\' | 0..b' ');
        let plain = self.take_while(is_plain);
        let mut out = match self.takes(b'"') {
            true => return Ok(Cow::Borrowed(&self.text[begins..begins + plain])),
            false => self.text[begins..self.at].to_owned(),
        };
        while !self.takes(b'"') {
            if !self.takes(b'\\') {
                return Err(self.bad("a string does not end, or has a control character"));
            }
            out.push(self.escape()?);
            let begins = self.at;
            self.take_while(is_plain);
            out.push_str(&self.text[begins..self.at]);
        }
        Ok(Cow::Owned(out))
    }

    /// What stands behind a backslash.
    fn escape(&mut self) -> Result<char, BadJson> {
        const BAD: &str = "that is no escape";
        let byte = self.next().ok_or(self.bad(BAD))?;
        self.at += 1;
        Ok(match byte {
            b'"' | b'\\' | b'/' => char::from(byte),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let first = self.unit()?;
                let units = match first {
                    // A character beyond U+FFFF is two of them.
                    0xd800..0xdc00 if self.takes(b'\\') && self.takes(b'u') => vec![first, self.unit()?],
                    _ => vec![first],
                };
                let mut chars = char::decode_utf16(units);
                match (chars.next(), chars.next()) {
                    (Some(Ok(c)), None) => c,
                    _ => return Err(self.bad("half a character is escaped")),
                }
            }
            _ => return Err(self.bad(BAD)),
        })
    }

    fn unit(&mut self) -> Result<u16, BadJson> {
        let digits = self.text.as_bytes().get(self.at..self.at + 4);
        let value = digits.and_then(|digits| {
            digits.iter().try_fold(0, |value, b| Some(value << 4 | u16::try_from(char::from(*b).to_digit(16)?).ok()?))
        });
        let value = value.ok_or(self.bad("four hexadecimal digits are missing"))?;
        self.at += 4;
        Ok(value)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn text(json: &str) -> String {
        Json::read(json).unwrap().text().unwrap().to_owned()
    }

    #[test]
    fn what_steers_a_terminal_is_written_as_what_it_is() {
        let text = "a\u{202e}b\u{2028}\u{1b}[31m\u{7f}\u{feff}\"\\ü";
        let written = quoted(text);
        assert_eq!(written, "\"a\\u202eb\\u2028\\u001b[31m\\u007f\\ufeff\\\"\\\\ü\"");
        assert_eq!(crate::wire::typed::visible(&written), written);
    }

    #[test]
    fn values_are_read() {
        let read = Json::read(" {\"a\" : [1, -0.5e+3 ,\ttrue,null,{}, [ ]],\r\n\"b\":\"x\", \"b\":\"y\"} ").unwrap();
        assert_eq!((read.text_of("b"), read.text_of("a"), read.text_of("c")), (Some("y"), None, None));
        let items = [
            Json::Number("1"),
            Json::Number("-0.5e+3"),
            Json::Word("true"),
            Json::Word("null"),
            Json::Object(vec![]),
            Json::List(vec![]),
        ];
        assert_eq!(read.get("a").unwrap().items(), items);
        assert_eq!(Json::read("0").unwrap(), Json::Number("0"));
        assert!(Json::read("7").unwrap().items().is_empty() && Json::read("[]").unwrap().get("").is_none());
    }

    #[test]
    fn strings_are_what_they_say() {
        assert_eq!(text(r#""""#), "");
        assert_eq!(text(r#""a\"\\\/\b\f\n\r\tü\u00fcz""#), "a\"\\/\u{8}\u{c}\n\r\tüüz");
        assert_eq!(text(r#""\uD83D\uDE00\u0000x""#), "😀\0x");
        assert!(matches!(Json::read(r#""plain ü""#), Ok(Json::Text(Cow::Borrowed("plain ü")))));
    }

    #[test]
    fn what_is_no_json_is_refused() {
        for bad in [
            "",
            " ",
            "{",
            "[",
            "\"",
            "\"a",
            "[1",
            "[1,",
            "[1,]",
            "[,]",
            "[1 2]",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":1,}",
            "{a:1}",
            "{1:1}",
            "{\"a\" 1}",
            "tru",
            "nul",
            "TRUE",
            "truex",
            "01",
            "-",
            "-01",
            "1.",
            ".5",
            "1e",
            "1e+",
            "+1",
            "0x1",
            "1 1",
            "// x\n1",
            "'a'",
            "\"\n\"",
            "\"\0\"",
            "\"\\x\"",
            "\"\\",
            "\"\\u12\"",
            "\"\\u12g4\"",
            "\"\\u+123\"",
            "\"\\ud800\"",
            "\"\\ud800x\"",
            "\"\\ud800\\n\"",
            "\"\\ud800\\u0041\"",
            "\"\\udc00\"",
            "\"\\ud800\\ud800\"",
            "\u{feff}1",
            "NaN",
            "\"\\u00fü\"",
        ] {
            assert!(Json::read(bad).is_err(), "{bad:?}");
        }
        assert_eq!(Json::read("[1, x]"), Err(BadJson { at: 4, why: "a value is missing" }));
    }

    #[test]
    fn a_text_is_no_deeper_and_no_longer_than_may_be() {
        let nested = |n: usize| Json::read(&format!("{}{}", "[".repeat(n), "]".repeat(n))).map(|_| ());
        assert_eq!((nested(DEPTH), nested(DEPTH + 1).is_err(), nested(1_000_000).is_err()), (Ok(()), true, true));
        let objects = format!("{}1{}", "{\"a\":".repeat(DEPTH + 1), "}".repeat(DEPTH + 1));
        assert!(Json::read(&objects).is_err());
        let long = |n: usize| Json::read(&format!("[0{}]", ",0".repeat(n - 1))).map(|_| ());
        assert_eq!((long(VALUES - 1), long(VALUES).is_err()), (Ok(()), true));
        assert!(size_of::<(Cow<'_, str>, Json<'_>)>() <= VALUE_BYTES);
    }

    #[test]
    fn what_is_quoted_is_read() {
        let all: String = (0..0x300).filter_map(char::from_u32).chain(['😀', '"', '\\']).collect();
        assert_eq!(text(&quoted(&all)), all);
        assert_eq!(quoted("a \"b\" \\ \n ü"), "\"a \\\"b\\\" \\\\ \\u000a ü\"");
    }
}
