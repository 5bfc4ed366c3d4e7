//! The first words of TLS as bytes, for versions and suites that no library speaks any more: a ClientHello (RFC 5246 §7.4.1.2, RFC 6101
//! §5.6.1.2), and what the server answers up to its certificates, which all of these versions show in the open.

use crate::service::tls::take;
/// SSL 3.0 (RFC 6101).
pub const SSL3: u16 = 0x0300;
/// TLS 1.1 (RFC 4346).
pub const TLS11: u16 = 0x0302;
/// TLS 1.2 (RFC 5246).
pub const TLS12: u16 = 0x0303;
/// Bytes of an answer that are looked at.
pub const FLIGHT_BYTES: usize = 64 * 1024;
/// Certificates of a chain that are looked at.
const CHAIN: usize = 10;
/// The suite that stands for secure renegotiation where there are no extensions (RFC 5746 §3.3).
const SCSV: u16 = 0x00ff;
/// The extension for the same (RFC 5746 §3.2).
const RENEGOTIATION_INFO: u16 = 0xff01;

/// Levels of alerts (RFC 5246 §7.2).
const WARNING: u8 = 1;
const FATAL: u8 = 2;

/// A kind of suites that nobody should offer any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WeakKind {
    /// For people.
    pub name: &'static str,
    /// Whether what is said with it can be read by everybody, or by whoever stands between.
    pub open: bool,
    suites: &'static [u16],
}

/// All of them, by the registry of IANA. What is in the first ones is not in the later ones.
pub const WEAK: [WeakKind; 11] = [
    WeakKind { name: "no encryption (NULL)", open: true, suites: &[0x0001, 0x0002, 0x003b, 0xc006, 0xc010, 0xc015] },
    WeakKind {
        name: "no certificate (anonymous)",
        open: true,
        suites: &[
            0x0018, 0x001b, 0x0034, 0x003a, 0x006c, 0x006d, 0x00a6, 0x00a7, 0xc016, 0xc017, 0xc018, 0xc019, 0x0046,
            0x0089, 0x009b, 0x00bf, 0x00c5, 0xc046, 0xc047, 0xc05a, 0xc05b, 0xc084, 0xc085,
        ],
    },
    WeakKind {
        name: "export keys of 40 bits",
        open: true,
        suites: &[0x0003, 0x0006, 0x0008, 0x000b, 0x000e, 0x0011, 0x0014, 0x0017, 0x0019, 0x0062, 0x0064],
    },
    WeakKind { name: "DES", open: true, suites: &[0x0009, 0x000c, 0x000f, 0x0012, 0x0015, 0x001a] },
    WeakKind { name: "RC4", open: false, suites: &[0x0004, 0x0005, 0xc002, 0xc007, 0xc00c, 0xc011] },
    WeakKind { name: "3DES", open: false, suites: &[0x000a, 0x0013, 0x0016, 0xc003, 0xc008, 0xc00d, 0xc012] },
    WeakKind {
        name: "the key exchange of RSA, without forward secrecy",
        open: false,
        suites: &[
            0x009c, 0x009d, 0x002f, 0x0035, 0x003c, 0x003d, 0x0041, 0x0084, 0xc09c, 0xc09d, 0x0007, 0x0096, 0x00ba,
            0x00c0, 0xc03c, 0xc03d, 0xc050, 0xc051, 0xc07a, 0xc07b, 0xc0a0, 0xc0a1,
        ],
    },
    WeakKind {
        name: "DHE",
        open: false,
        suites: &[
            0x009e, 0x009f, 0xccaa, 0x0032, 0x0033, 0x0038, 0x0039, 0x0040, 0x0067, 0x006a, 0x006b, 0xc09e, 0xc09f,
            0x0044, 0x0045, 0x0087, 0x0088, 0x0099, 0x009a, 0x00bd, 0x00be, 0x00c3, 0x00c4, 0xc042, 0xc043, 0xc044,
            0xc045, 0xc052, 0xc053, 0xc056, 0xc057, 0xc07c, 0xc07d, 0xc080, 0xc081, 0xc0a2, 0xc0a3,
        ],
    },
    WeakKind {
        name: "CBC",
        open: false,
        suites: &[
            0xc009, 0xc00a, 0xc013, 0xc014, 0xc023, 0xc024, 0xc027, 0xc028, 0xc048, 0xc049, 0xc04c, 0xc04d, 0xc072,
            0xc073, 0xc076, 0xc077,
        ],
    },
    WeakKind { name: "CCM with a tag of 64 bits (CCM_8)", open: false, suites: &[0xc0ae, 0xc0af] },
    WeakKind {
        name: "ARIA or CAMELLIA, which the registry recommends no more",
        open: false,
        suites: &[0xc05c, 0xc05d, 0xc060, 0xc061, 0xc086, 0xc087, 0xc08a, 0xc08b],
    },
];

/// ECDHE with AEAD.
const STRONG: [u16; 6] = [0xc02b, 0xc02c, 0xc02f, 0xc030, 0xcca8, 0xcca9];

/// A ClientHello.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RawHello<'a> {
    /// The newest version that it offers.
    pub version: u16,
    /// What it offers.
    pub suites: Vec<u16>,
    /// Whether it offers to compress (RFC 3749).
    pub compression: bool,
    /// The name of the server (RFC 6066 §3).
    pub name: Option<&'a str>,
    /// Unpredictable, but nothing depends on it: nothing follows.
    pub random: [u8; 32],
}

impl RawHello<'_> {
    /// Offers every suite of an old version.
    pub fn old(version: u16, name: Option<&str>, random: [u8; 32]) -> RawHello<'_> {
        let suites = WEAK.iter().rev().flat_map(|kind| kind.suites).copied().collect();
        RawHello { version, suites, compression: false, name, random }
    }

    /// Offers TLS 1.2 with suites of these kinds alone.
    pub fn weak<'a>(kinds: &[WeakKind], name: Option<&'a str>, random: [u8; 32]) -> RawHello<'a> {
        let suites = kinds.iter().flat_map(|kind| kind.suites).copied().collect();
        RawHello { version: TLS12, suites, compression: false, name, random }
    }

    /// Offers TLS 1.2 as it should be, and to compress.
    pub fn strong(name: Option<&str>, random: [u8; 32]) -> RawHello<'_> {
        RawHello { version: TLS12, suites: STRONG.to_vec(), compression: true, name, random }
    }

    /// As it goes out, in one record.
    pub fn write(&self) -> Vec<u8> {
        let mut body = self.version.to_be_bytes().to_vec();
        body.extend(self.random);
        body.push(0);
        let mut suites: Vec<u8> = self.suites.iter().flat_map(|suite| suite.to_be_bytes()).collect();
        if self.version == SSL3 {
            suites.extend(SCSV.to_be_bytes());
        }
        body.extend(sized(2, &suites));
        body.extend(sized(1, if self.compression { &[1, 0] } else { &[0] }));
        if self.version > SSL3 {
            body.extend(sized(2, &self.extensions()));
        }
        let message = [&[1][..], &sized(3, &body)].concat();
        // The oldest version that is offered: some old servers look at no more.
        let record = if self.version == SSL3 { [22, 3, 0] } else { [22, 3, 1] };
        [&record[..], &sized(2, &message)].concat()
    }

    fn extensions(&self) -> Vec<u8> {
        let mut all = Vec::new();
        let mut add = |kind: u16, content: &[u8]| {
            all.extend(kind.to_be_bytes());
            all.extend(sized(2, content));
        };
        if let Some(name) = self.name {
            add(0, &sized(2, &[&[0][..], &sized(2, name.as_bytes())].concat()));
        }
        // x25519, P-256, P-384, P-521; points that are not compressed.
        add(10, &sized(2, &[0, 29, 0, 23, 0, 24, 0, 25]));
        add(11, &sized(1, &[0]));
        if self.version >= TLS12 {
            // ECDSA, RSA-PSS and RSA with SHA-256 to SHA-512, and SHA-1.
            let schemes = [4, 3, 5, 3, 6, 3, 8, 4, 8, 5, 8, 6, 4, 1, 5, 1, 6, 1, 8, 7, 2, 1, 2, 3];
            add(13, &sized(2, &schemes));
        }
        // The extended master secret: there are servers that want it (RFC 7627 §5.3).
        add(23, &[]);
        add(RENEGOTIATION_INFO, &[0]);
        all
    }
}

/// Content with its length before it, in so many bytes.
fn sized(size: usize, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    [&length[length.len() - size..], content].concat()
}

/// What a server has chosen.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Chosen {
    /// The version.
    pub version: u16,
    /// The suite.
    pub suite: u16,
    /// Whether it compresses.
    pub compresses: bool,
    /// Whether it knows of secure renegotiation (RFC 5746).
    pub renegotiates_safely: bool,
    /// The certificates that it has shown, its own first.
    pub chain: Vec<Vec<u8>>,
}

impl Chosen {
    /// The kind of its suite, if it is a weak one.
    pub fn weak(&self) -> Option<&'static WeakKind> {
        WEAK.iter().find(|kind| kind.suites.contains(&self.suite))
    }
}

/// What has come of an answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Flight {
    /// More is to come.
    Incomplete(Option<Chosen>),
    /// An alert, or what is no TLS.
    Refused,
    /// All that is looked at.
    Chosen(Chosen),
}

impl Flight {
    /// From all that came in until now.
    pub fn read(mut bytes: &[u8]) -> Flight {
        let mut messages = Vec::new();
        loop {
            match bytes {
                [22, 3, _, high, low, rest @ ..] => {
                    let Some((part, behind)) = rest.split_at_checked(usize::from(*high) << 8 | usize::from(*low))
                    else {
                        break;
                    };
                    messages.extend_from_slice(part);
                    bytes = behind;
                }
                [21, 3, _, 0, 2, FATAL, _, ..] if messages.is_empty() => return Flight::Refused,
                // A warning ends nothing: the name may be unknown, and the ServerHello follows (RFC 5246 §7.2).
                [21, 3, _, 0, 2, WARNING, _, rest @ ..] => bytes = rest,
                [] | [22] | [22, 3] | [22, 3, _] | [22, 3, _, _] | [21, ..] => break,
                // Behind the first words it may be anything.
                _ if messages.is_empty() => return Flight::Refused,
                _ => break,
            }
        }
        Flight::messages(&messages)
    }

    fn messages(mut bytes: &[u8]) -> Flight {
        let mut chosen = None;
        while let [kind, rest @ ..] = bytes {
            let mut rest = rest;
            let Some(body) = take(&mut rest, 3) else { break };
            bytes = rest;
            match (kind, &mut chosen) {
                (2, None) => match server_hello(body) {
                    Some(hello) => chosen = Some(hello),
                    None => return Flight::Refused,
                },
                (_, None) => return Flight::Refused,
                (11, Some(hello)) => {
                    hello.chain = certificates(body);
                    return Flight::Chosen(hello.clone());
                }
                // There are suites without certificates.
                (12 | 14, Some(hello)) => return Flight::Chosen(hello.clone()),
                _ => {}
            }
        }
        Flight::Incomplete(chosen)
    }
}

/// RFC 5246 §7.4.1.3.
fn server_hello(body: &[u8]) -> Option<Chosen> {
    let (version, mut rest) = body.split_at_checked(2)?;
    rest = rest.get(32..)?;
    take(&mut rest, 1)?;
    let (suite, behind) = rest.split_at_checked(2)?;
    let (compression, mut rest) = behind.split_first()?;
    let mut extensions = if rest.is_empty() { &[][..] } else { take(&mut rest, 2)? };
    let mut renegotiates_safely = false;
    while let Some((kind, behind)) = extensions.split_at_checked(2) {
        extensions = behind;
        take(&mut extensions, 2)?;
        renegotiates_safely |= kind == RENEGOTIATION_INFO.to_be_bytes();
    }
    let number = |pair: &[u8]| u16::from(pair[0]) << 8 | u16::from(pair[1]);
    let (version, suite) = (number(version), number(suite));
    Some(Chosen { version, suite, compresses: *compression != 0, renegotiates_safely, chain: Vec::new() })
}

/// RFC 5246 §7.4.2; as many as can be read.
fn certificates(mut body: &[u8]) -> Vec<Vec<u8>> {
    let mut list = take(&mut body, 3).unwrap_or_default();
    std::iter::from_fn(|| take(&mut list, 3)).take(CHAIN).map(<[u8]>::to_vec).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        [&[kind][..], &sized(3, body)].concat()
    }

    fn records(messages: &[u8], size: usize) -> Vec<u8> {
        messages.chunks(size).flat_map(|part| [&[22, 3, 1][..], &sized(2, part)].concat()).collect()
    }

    fn answer(compression: u8, extensions: Option<&[u8]>) -> Vec<u8> {
        let mut body = [&[3, 1][..], &[7; 32], &sized(1, b"session"), &[0, 5, compression]].concat();
        body.extend(extensions.map(|all| sized(2, all)).unwrap_or_default());
        message(2, &body)
    }

    #[test]
    fn every_suite_is_of_one_kind() {
        let mut all: Vec<u16> = WEAK.iter().flat_map(|kind| kind.suites).chain(&STRONG).copied().collect();
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
        for kind in &WEAK {
            let chosen = Chosen { suite: kind.suites[0], ..Chosen::default() };
            assert_eq!(chosen.weak(), Some(kind));
        }
        assert_eq!(Chosen { suite: STRONG[0], ..Chosen::default() }.weak(), None);
    }

    /// A hello is one record with one message, whose lengths are right; SSL 3.0 has no extensions.
    #[test]
    fn a_hello_is_as_it_should_be() {
        for (version, extended) in [(SSL3, false), (TLS11, true), (TLS12, true)] {
            let bytes = RawHello::old(version, Some("a.example"), [9; 32]).write();
            assert_eq!(bytes[..2], [22, 3]);
            let mut rest = &bytes[3..];
            let mut record = take(&mut rest, 2).unwrap();
            assert!(rest.is_empty() && record[0] == 1);
            record = &record[1..];
            let mut body = take(&mut record, 3).unwrap();
            assert!(record.is_empty() && body[..2] == version.to_be_bytes() && body[2..34] == [9; 32]);
            body = &body[34..];
            assert!(take(&mut body, 1).unwrap().is_empty());
            let suites = take(&mut body, 2).unwrap();
            assert_eq!(suites.ends_with(&SCSV.to_be_bytes()), !extended);
            assert_eq!(take(&mut body, 1).unwrap(), [0]);
            assert_eq!(body.is_empty(), !extended);
            assert_eq!(memchr::memmem::find(body, b"a.example").is_some(), extended);
        }
        let bytes = RawHello::strong(None, [0; 32]).write();
        assert!(memchr::memmem::find(&bytes, &[2, 1, 0]).is_some(), "it offers to compress");
        assert_eq!(RawHello::weak(&WEAK[4..5], None, [0; 32]).suites, WEAK[4].suites);
    }

    #[test]
    fn an_answer_is_read_however_it_is_cut() {
        let chain = [sized(3, b"leaf"), sized(3, b"authority")].concat();
        let all = [
            answer(1, Some(&[&[0xff, 1][..], &sized(2, &[0])].concat())),
            message(11, &sized(3, &chain)),
            message(14, &[]),
        ]
        .concat();
        let chosen = Chosen {
            version: 0x301,
            suite: 5,
            compresses: true,
            renegotiates_safely: true,
            chain: vec![b"leaf".to_vec(), b"authority".to_vec()],
        };
        for size in [1, 7, 10_000] {
            let bytes = records(&all, size);
            assert_eq!(Flight::read(&bytes), Flight::Chosen(chosen.clone()), "{size}");
            for cut in 0..bytes.len() {
                // A message with nothing in it is all that may be missing.
                let is = Flight::read(&bytes[..cut]);
                assert!(matches!(is, Flight::Incomplete(_)) || is == Flight::Chosen(chosen.clone()), "{size} {cut}");
            }
        }
        let plain = [answer(0, None), message(14, &[])].concat();
        let Flight::Chosen(plain) = Flight::read(&records(&plain, 99)) else { panic!() };
        assert!(!plain.compresses && !plain.renegotiates_safely && plain.chain.is_empty());
        let half = Flight::read(&records(&answer(0, None), 99));
        assert!(matches!(half, Flight::Incomplete(Some(Chosen { suite: 5, .. }))));
    }

    #[test]
    fn a_warning_is_no_refusal() {
        let warning = b"\x15\x03\x01\x00\x02\x01\x70";
        let hello = records(&[answer(0, None), message(14, &[])].concat(), 9);
        for bytes in [[&warning[..], &hello].concat(), [&hello[..14], warning, &hello[14..]].concat()] {
            assert!(matches!(Flight::read(&bytes), Flight::Chosen(_)), "{bytes:?}");
        }
        for cut in 0..=warning.len() {
            assert_eq!(Flight::read(&warning[..cut]), Flight::Incomplete(None), "{cut}");
        }
        assert_eq!(Flight::read(&[&warning[..], b"\x15\x03\x01\x00\x02\x02\x28"].concat()), Flight::Refused);
    }

    #[test]
    fn what_few_offer_is_weak_too() {
        for (suite, name) in [
            (0xc076, "CBC"),
            (0xc04c, "CBC"),
            (0x00ba, "RSA"),
            (0xc050, "RSA"),
            (0xc0a0, "RSA"),
            (0xc045, "DHE"),
            (0xc0ae, "CCM"),
            (0xc060, "ARIA"),
            (0xc08a, "CAMELLIA"),
        ] {
            let weak = Chosen { suite, ..Chosen::default() }.weak();
            assert!(weak.is_some_and(|kind| kind.name.contains(name) && !kind.open), "{suite:x} {name}");
        }
    }

    #[test]
    fn what_is_no_answer_is_a_refusal() {
        for bytes in [
            &b"\x15\x03\x01\x00\x02\x02\x46"[..],
            b"HTTP/1.1 400",
            b"<stream:error",
            b"\x16\x03\x01\x00\x04\x0e\x00\x00\x00",
        ] {
            assert_eq!(Flight::read(bytes), Flight::Refused, "{bytes:?}");
        }
        let whole = records(&[answer(0, None), message(11, &sized(3, &sized(3, b"leaf")))].concat(), 50);
        for at in 0..whole.len() {
            for byte in [0, 0xff] {
                let mut bytes = whole.clone();
                bytes[at] = byte;
                let _ = Flight::read(&bytes);
            }
        }
    }
}
