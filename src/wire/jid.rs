//! Addresses (RFC 7622): parsed and prepared once, compared as bytes.
//!
//! The localpart is prepared by Nodeprep and the domainpart by Nameprep: unlike a case-mapping PRECIS profile they are what
//! deployed clients and servers agree on. The resourcepart follows the rules of OpaqueString (RFC 8265 §4.2), written here
//! over the tables: Resourceprep and the PRECIS crates refuse every code point that their old Unicode tables do not know,
//! so a resource or a room nickname with an emoji would be no address.

use super::punycode;
use super::xml::escaped_bytes;
use memchr::memchr;
use std::borrow::Cow;
use std::fmt;
use std::net::Ipv6Addr;
use std::sync::Arc;
use stringprep::tables;
use unicode_normalization::UnicodeNormalization;

/// The longest localpart, domainpart or resourcepart, in bytes after preparation (RFC 7622 §3).
pub(crate) const PART_BYTES: usize = 1023;

/// The longest text that [`Jid::parse`] looks at, in bytes. Preparation can shorten a part, so it is more than three parts.
const TEXT_BYTES: usize = 4 * (PART_BYTES + 1);

/// The longest label of a domain name, in bytes (RFC 1035 §2.3.4).
const LABEL_BYTES: usize = 63;

/// How often a preparation is applied to reach a text that it leaves as it is; what does not settle is refused.
const ROUNDS: usize = 4;

/// A JID, prepared: two that are equal compare equal as bytes. Cloning shares the text.
#[derive(Clone)]
pub struct Jid {
    text: Arc<str>,
    /// Where the domainpart begins.
    domain: u16,
    /// Where the bare JID ends: the place of the `/`, or the whole length.
    bare: u16,
    /// Where it ends itself: a bare JID shares the text of a full one.
    end: u16,
    /// How many bytes longer the resourcepart is when it is escaped: all that is counted in bytes of XML asks for it.
    escapes: u16,
}

/// Why a text is not a JID; the stanza error is `jid-malformed`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct JidError(pub &'static str);

impl Jid {
    /// Parses and prepares `local@domain/resource`.
    pub fn parse(text: &str) -> Result<Jid, JidError> {
        if text.len() > TEXT_BYTES {
            return Err(JidError("the address is too long"));
        }
        let (bare, resource) = match memchr(b'/', text.as_bytes()) {
            Some(slash) => (&text[..slash], Some(&text[slash + 1..])),
            None => (text, None),
        };
        let (local, domain) = match memchr(b'@', bare.as_bytes()) {
            Some(at) => (Some(&bare[..at]), &bare[at + 1..]),
            None => (None, bare),
        };
        Jid::build(local, domain, resource, text)
    }

    /// Prepares the parts and joins them.
    pub fn new(local: Option<&str>, domain: &str, resource: Option<&str>) -> Result<Jid, JidError> {
        Jid::build(local, domain, resource, "")
    }

    /// `whole` is the address as it was written: mostly nothing has to be changed, and it is copied in one piece.
    fn build(local: Option<&str>, domain: &str, resource: Option<&str>, whole: &str) -> Result<Jid, JidError> {
        let local = local.map(prepare_local).transpose()?;
        let domain = prepare_domain(domain)?;
        let resource = resource.map(prepare_resource).transpose()?;
        let unchanged = |part: &Option<Cow<str>>| !matches!(part, Some(Cow::Owned(_)));
        let unchanged = matches!(domain, Cow::Borrowed(_)) && unchanged(&local) && unchanged(&resource);
        let (local, at) = local.as_deref().map_or(("", ""), |local| (local, "@"));
        let (slash, resource) = resource.as_deref().map_or(("", ""), |resource| ("/", resource));
        let start = local.len() + at.len();
        let bare = start + domain.len();
        // Of another length: the dot at the end of the domain is gone, or there is no whole.
        let text = match unchanged && whole.len() == bare + slash.len() + resource.len() {
            true => whole.into(),
            false => [local, at, &domain, slash, resource].concat().into(),
        };
        // They fit: each part has at most 1,023 bytes, and each of them becomes six at most.
        let end = bare + slash.len() + resource.len();
        let escapes = escaped_bytes(resource) - resource.len();
        Ok(Jid { text, domain: start as u16, bare: bare as u16, end: end as u16, escapes: escapes as u16 })
    }

    /// The prepared localpart.
    pub fn local(&self) -> Option<&str> {
        (self.domain > 0).then(|| &self.text[..self.domain as usize - 1])
    }

    /// The prepared domainpart.
    pub fn domain(&self) -> &str {
        &self.text[self.domain as usize..self.bare as usize]
    }

    /// The prepared resourcepart.
    pub fn resource(&self) -> Option<&str> {
        self.as_str().get(self.bare as usize + 1..)
    }

    /// The bare JID as text, without copying.
    pub fn bare_str(&self) -> &str {
        &self.text[..self.bare as usize]
    }

    /// The bare JID; shares the text.
    pub fn bare(&self) -> Jid {
        Jid { end: self.bare, ..self.clone() }
    }

    /// Whether there is no resourcepart.
    pub fn is_bare(&self) -> bool {
        self.bare == self.end
    }

    /// Whether its domain is that of another address, or below it.
    pub fn is_below(&self, above: &Jid) -> bool {
        match self.domain().strip_suffix(above.domain()) {
            Some(before) => before.is_empty() || before.ends_with('.'),
            None => false,
        }
    }

    /// The same bare JID with this resource.
    pub fn with_resource(&self, resource: &str) -> Result<Jid, JidError> {
        Jid::new(self.local(), self.domain(), Some(resource))
    }

    /// How long it is in XML, in bytes. Only a resourcepart can hold something that is escaped.
    pub fn xml_bytes(&self) -> usize {
        let escapes = if self.is_bare() { 0 } else { self.escapes as usize };
        self.end as usize + escapes
    }

    /// The whole address.
    pub fn as_str(&self) -> &str {
        &self.text[..self.end as usize]
    }
}

impl PartialEq for Jid {
    fn eq(&self, other: &Jid) -> bool {
        self.as_str() == other.as_str()
    }
}
impl Eq for Jid {}
impl PartialOrd for Jid {
    fn partial_cmp(&self, other: &Jid) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Jid {
    fn cmp(&self, other: &Jid) -> std::cmp::Ordering {
        self.as_str().cmp(other.as_str())
    }
}
// It compares and hashes as its text.
impl std::borrow::Borrow<str> for Jid {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}
impl std::hash::Hash for Jid {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.as_str().hash(state)
    }
}
impl fmt::Display for Jid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
impl fmt::Debug for Jid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
impl fmt::Display for JidError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}
impl std::error::Error for JidError {}

/// For each byte, the parts that it may be in with nothing to prepare.
const PLAIN: [u8; 256] = {
    let mut plain = [0; 256];
    let mut b = 0;
    while b < 128 {
        let c = b as u8;
        if matches!(c, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' | b'_') {
            plain[b] |= IN_DOMAIN;
        }
        if matches!(c, b'!'..=b'~')
            && !matches!(c, b'A'..=b'Z' | b'"' | b'&' | b'\'' | b'/' | b':' | b'<' | b'>' | b'@')
        {
            plain[b] |= IN_LOCAL;
        }
        if matches!(c, b' '..=b'~') {
            plain[b] |= IN_RESOURCE;
        }
        b += 1;
    }
    plain
};
const IN_LOCAL: u8 = 1;
const IN_DOMAIN: u8 = 2;
const IN_RESOURCE: u8 = 4;

/// Whether a part has bytes of that kind only.
fn is_plain(text: &str, kind: u8) -> bool {
    // No early end: there mostly is none, and whole runs are looked at at once.
    text.bytes().fold(kind, |all, b| all & PLAIN[b as usize]) != 0
}

/// Whether a name is one as it is, without A-labels.
fn is_plain_domain(name: &str) -> bool {
    let mut label = 0;
    for (at, b) in name.bytes().enumerate() {
        if b == b'.' {
            if at == label || at - label > LABEL_BYTES {
                return false;
            }
            label = at + 1;
        }
    }
    let last = name.len() - label;
    is_plain(name, IN_DOMAIN) && last > 0 && last <= LABEL_BYTES && !has_a_label(name)
}

fn prepare_local(text: &str) -> Result<Cow<'_, str>, JidError> {
    if is_plain(text, IN_LOCAL) {
        return sized(Cow::Borrowed(text), "localpart");
    }
    let prepared = settle(text, |text| {
        stringprep::nodeprep(text).map(Cow::into_owned).map_err(|_| JidError("the localpart has a forbidden character"))
    })?;
    sized(Cow::Owned(prepared), "localpart")
}

fn prepare_domain(text: &str) -> Result<Cow<'_, str>, JidError> {
    const BAD: JidError = JidError("the domainpart is not a domain name or address");
    if let Some(address) = text.strip_prefix('[') {
        let address: Ipv6Addr = address.strip_suffix(']').and_then(|a| a.parse().ok()).ok_or(BAD)?;
        // One spelling (RFC 5952), so that equal addresses are equal bytes.
        return Ok(Cow::Owned(format!("[{address}]")));
    }
    if is_plain_domain(text) {
        return sized(Cow::Borrowed(text), "domainpart");
    }
    let plain = |b: u8| PLAIN[b as usize] & IN_DOMAIN != 0;
    let mut domain = if text.bytes().all(plain) && !has_a_label(text) {
        Cow::Borrowed(text)
    } else {
        Cow::Owned(settle(text, |text| {
            // IDNA's other full stop; Nameprep maps the full-width and half-width ones itself.
            let dots = text.replace('\u{3002}', ".");
            let name = stringprep::nameprep(&dots).map_err(|_| BAD)?.replace('\u{3002}', ".");
            decode_labels(&name).ok_or(BAD)
        })?)
    };
    if domain.ends_with('.') {
        domain = match domain {
            Cow::Borrowed(d) => Cow::Borrowed(&d[..d.len() - 1]),
            Cow::Owned(mut d) => {
                d.pop();
                Cow::Owned(d)
            }
        };
    }
    if domain.bytes().any(|b| b.is_ascii() && !plain(b))
        || domain.split('.').any(|l| l.is_empty() || l.len() > LABEL_BYTES)
    {
        return Err(BAD);
    }
    sized(domain, "domainpart")
}

fn has_a_label(name: &str) -> bool {
    name.contains("--") && name.split('.').any(|label| label.starts_with("xn--"))
}

/// Converts A-labels to U-labels, as RFC 7622 §3.2.1 has it. `None` if one is no A-label, or stands for a label that
/// preparation would change: it must not become another name.
fn decode_labels(name: &str) -> Option<String> {
    if !has_a_label(name) {
        return Some(name.into());
    }
    let mut labels = Vec::new();
    for label in name.split('.') {
        labels.push(match label.strip_prefix("xn--") {
            Some(code) => {
                let decoded = punycode::decode(code)?;
                if decoded.is_ascii() || stringprep::nameprep(&decoded).ok()? != decoded {
                    return None;
                }
                decoded
            }
            None => label.into(),
        });
    }
    Some(labels.join("."))
}

fn prepare_resource(text: &str) -> Result<Cow<'_, str>, JidError> {
    if is_plain(text, IN_RESOURCE) {
        return sized(Cow::Borrowed(text), "resourcepart");
    }
    // The zero width space was a space when the table was made; today it is one of the invisible ones.
    let space = |c| tables::non_ascii_space_character(c) && c != '\u{200B}';
    let prepared: String = text.chars().map(|c| if space(c) { ' ' } else { c }).nfc().collect();
    if prepared.chars().any(forbidden_in_resource) {
        return Err(JidError("the resourcepart has a forbidden character"));
    }
    sized(Cow::Owned(prepared), "resourcepart")
}

fn forbidden_in_resource(c: char) -> bool {
    // Joiners are letters' business, and emoji are made with them.
    let joiner = matches!(c, '\u{200C}' | '\u{200D}');
    // Controls of the text's direction that are younger than the tables.
    let direction = matches!(c, '\u{061C}' | '\u{2066}'..='\u{2069}');
    c.is_control()
        || direction
        || c == '\u{200B}'
        || tables::non_ascii_control_character(c) && !joiner
        || tables::private_use(c)
        || tables::non_character_code_point(c)
        || tables::change_display_properties_or_deprecated(c)
        || tables::tagging_character(c)
}

/// Applies a preparation until it changes nothing more: the tables it is made of come from different versions of Unicode,
/// so that its result can be text that it would prepare further.
fn settle(text: &str, prepare: impl Fn(&str) -> Result<String, JidError>) -> Result<String, JidError> {
    let mut last = prepare(text)?;
    for _ in 1..ROUNDS {
        let next = prepare(&last)?;
        if next == last {
            return Ok(last);
        }
        last = next;
    }
    Err(JidError("the address cannot be prepared"))
}

fn sized<'a>(part: Cow<'a, str>, name: &'static str) -> Result<Cow<'a, str>, JidError> {
    match (part.len(), name) {
        (1..=PART_BYTES, _) => Ok(part),
        (0, "localpart") => Err(JidError("the localpart is empty")),
        (0, "domainpart") => Err(JidError("the domainpart is empty")),
        (0, _) => Err(JidError("the resourcepart is empty")),
        (_, "localpart") => Err(JidError("the localpart is too long")),
        (_, "domainpart") => Err(JidError("the domainpart is too long")),
        (_, _) => Err(JidError("the resourcepart is too long")),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn same(from: &str, to: &str) {
        assert_eq!(Jid::parse(from).unwrap().as_str(), to, "{from:?}");
        assert_eq!(Jid::parse(to).unwrap().as_str(), to, "{to:?} again");
    }

    fn bad(text: &str) {
        assert!(Jid::parse(text).is_err(), "{text:?} is accepted as {:?}", Jid::parse(text));
    }

    #[test]
    fn parts() {
        let jid = Jid::parse("juliet@example.com/balcony/@x").unwrap();
        assert_eq!((jid.local(), jid.domain(), jid.resource()), (Some("juliet"), "example.com", Some("balcony/@x")));
        assert_eq!(jid.bare_str(), "juliet@example.com");
        assert!(!jid.is_bare() && jid.bare().is_bare());
        assert_eq!(jid.bare(), Jid::parse("Juliet@EXAMPLE.com").unwrap());
        assert_eq!(jid.bare().with_resource("x").unwrap().as_str(), "juliet@example.com/x");
        let domain = Jid::parse("example.com").unwrap();
        assert_eq!((domain.local(), domain.domain(), domain.resource()), (None, "example.com", None));
        // The first slash ends the bare JID, before any `@` is looked for.
        let at = Jid::parse("example.com/a@b").unwrap();
        assert_eq!((at.local(), at.resource()), (None, Some("a@b")));
        assert_eq!(Arc::strong_count(&domain.bare().text), 2, "a bare JID shares its text");
    }

    #[test]
    fn examples_of_rfc_7622() {
        for good in [
            "juliet@example.com",
            "juliet@example.com/foo",
            "juliet@example.com/foo bar",
            "juliet@example.com/foo@bar",
            "foo\\20bar@example.com",
            "fussball@example.com",
            "π@example.com",
            "king@example.com/♚",
            "example.com",
            "example.com/foobar",
            "a.example.com/b@example.net",
        ] {
            same(good, good);
        }
        same("Σ@example.com/foo", "σ@example.com/foo");
        same("ς@example.com/foo", "σ@example.com/foo");
        same("fußball@example.com", "fussball@example.com");
        for wrong in [
            "\"juliet\"@example.com",
            "foo bar@example.com",
            "@example.com",
            "@example.com/",
            "henry\u{2163}@/",
            "juliet@",
            "/foobar",
            "juliet@example.com/",
            "",
        ] {
            bad(wrong);
        }
    }

    #[test]
    fn localparts() {
        same("JULIET@example.com", "juliet@example.com");
        same("a!#$%()*+,-.;=?[\\]^_`{|}~z@x", "a!#$%()*+,-.;=?[\\]^_`{|}~z@x");
        for c in "\"&':<> \t\u{7f}\u{0}\u{a0}\u{fffe}\u{e000}\u{202e}".chars() {
            bad(&format!("a{c}b@example.com"));
        }
        // What becomes a separator by compatibility stays out.
        bad("a\u{ff20}b@example.com");
        bad("a\u{ff0f}b@example.com");
        // All of it is mapped to nothing.
        bad("\u{ad}@example.com");
        bad("a\u{5d0}@example.com");
        same("e\u{301}@example.com", "\u{e9}@example.com");
        same("İ@example.com", "i\u{307}@example.com");
    }

    #[test]
    fn domainparts() {
        same("EXAMPLE.com.", "example.com");
        same("example.com\u{3002}", "example.com");
        same("a\u{3002}b\u{ff0e}c\u{ff61}d", "a.b.c.d");
        same("bücher.example", "bücher.example");
        same("xn--bcher-kva.example", "bücher.example");
        same("XN--BCHER-KVA.example", "bücher.example");
        same("xn--ihqwcrb4cv8a8dqg056pqjye", "他们为什么不说中文");
        same("192.0.2.7", "192.0.2.7");
        same("[2001:DB8:0::1]", "[2001:db8::1]");
        same("my_host.local", "my_host.local");
        let label = "a".repeat(63);
        same(&format!("{label}.x"), &format!("{label}.x"));
        bad(&format!("{label}a.x"));
        same(&format!("x.{label}"), &format!("x.{label}"));
        bad(&format!("x.{label}a"));
        for wrong in [
            ".",
            "..",
            "a..b",
            ".a",
            "a..",
            "a b",
            "a\tb",
            "a\u{0}b",
            "a\u{e000}b",
            "[::1",
            "::1",
            "[a]",
            "[::1]x",
            "[]",
            "a!b",
            "a:5222",
            "a%b",
            "a'b",
            "a\u{ff0f}b",
            "a\u{ff20}b",
            "xn--",
            "xn--a",
            "xn--99999999",
            "xn--strae-oqa",
            // It would be another name for what is a name without it.
            "xn--abc-",
            "xn--abc-.example",
            "xn--\u{e9}",
        ] {
            bad(wrong);
        }
    }

    #[test]
    fn resourceparts() {
        same("x/Balcony", "x/Balcony");
        same("x/\u{1f469}\u{200d}\u{1f680} \u{2764}\u{fe0f}", "x/\u{1f469}\u{200d}\u{1f680} \u{2764}\u{fe0f}");
        same("x/\u{1fae8}", "x/\u{1fae8}");
        same("x/a\u{a0}b\u{3000}c\u{2003}d", "x/a b c d");
        same("x/e\u{301}", "x/\u{e9}");
        same("x/\u{fb01}\u{2163}", "x/\u{fb01}\u{2163}");
        same("x/ lead & '<\"> /@ ", "x/ lead & '<\"> /@ ");
        for c in "\u{0}\n\r\t\u{1f}\u{7f}\u{85}\u{2028}\u{fdd0}\u{ffff}\u{e000}\u{10fffd}\u{e0041}\u{e0001}\u{200e}\u{202e}\u{2066}\u{200b}\u{feff}".chars() {
            bad(&format!("x/a{c}b"));
        }
    }

    #[test]
    fn lengths() {
        let (local, resource) = ("a".repeat(1023), "r".repeat(1023));
        let domain = vec!["d".repeat(63); 15].join(".") + "." + &"d".repeat(63);
        assert_eq!(domain.len(), 1023);
        let text = format!("{local}@{domain}/{resource}");
        same(&text, &text);
        same(&format!("{local}@{domain}./{resource}"), &text);
        bad(&format!("{local}a@x"));
        bad(&format!("{domain}.d"));
        bad(&format!("x/{resource}r"));
        bad(&format!("x/{}", "\u{e9}".repeat(512)));
        same(&format!("x/{}", "e\u{301}".repeat(511)), &format!("x/{}", "\u{e9}".repeat(511)));
        bad(&"a".repeat(1 << 20));
    }

    /// Whatever is accepted is a text that preparation leaves alone, and fit for XML.
    #[test]
    fn prepared_stays_prepared() {
        let alphabet: Vec<char> = "aZ09.-_@/ '\"&<>:[]\u{df}\u{1e9e}ΣσςİIıſKÅ\u{301}\u{307}\u{327}\u{345}\u{ad}\u{200b}\u{200c}\u{200d}\
            \u{fe0f}\u{a0}\u{3000}\u{3002}\u{ff0e}\u{ff61}\u{ff20}\u{ff0f}\u{ff21}\u{fb01}\u{2163}\u{1d400}\u{1f130}\u{1f19a}\u{340}\u{341}\u{3a9}\u{1f80}\
            \u{5d0}\u{627}\u{661}\u{1100}\u{1161}\u{11a8}\u{ac00}\u{1f600}\u{e000}\u{fffe}\u{10ffff}\u{0}\u{7f}\u{85}\u{13a0}\u{ab70}\u{10d0}\u{1c90}"
            .chars()
            .collect();
        let mut seed = 0x9e37_79b9_7f4a_7c15u64;
        let mut next = || {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed
        };
        let mut accepted = 0;
        for round in 0..60_000 {
            let mut part = |anything: bool| -> String {
                (0..1 + next() % 5)
                    .map(|_| match next() % 8 {
                        0 if anything => char::from_u32((next() % 0x11_0000) as u32).unwrap_or('x'),
                        1..=3 => (b'a' + (next() % 26) as u8) as char,
                        _ => alphabet[(next() % alphabet.len() as u64) as usize],
                    })
                    .collect()
            };
            let text = match round % 4 {
                0 => format!("{}@x/r", part(true)),
                1 => part(true),
                2 => format!("x/{}", part(true)),
                _ => format!("{}@{}/{}", part(false), part(false), part(false)),
            };
            let Ok(jid) = Jid::parse(&text) else { continue };
            accepted += 1;
            assert_eq!(Jid::parse(jid.as_str()).unwrap().as_str(), jid.as_str(), "{text:?}");
            assert_eq!(Jid::new(jid.local(), jid.domain(), jid.resource()).unwrap(), jid);
            assert!(jid.as_str().chars().all(|c| c >= ' ' && !matches!(c, '\u{fffe}' | '\u{ffff}')));
        }
        assert!(accepted > 5_000, "only {accepted} were accepted");
    }

    /// Every character of the planes that have letters, in each part.
    #[test]
    fn every_character_settles() {
        for c in (0..=0x2_ffff).filter_map(char::from_u32) {
            for text in [format!("{c}@x"), format!("a{c}.x"), format!("x/{c}")] {
                if let Ok(jid) = Jid::parse(&text) {
                    assert_eq!(Jid::parse(jid.as_str()).as_ref(), Ok(&jid), "{text:?}");
                }
            }
        }
    }
}
