//! What must hold for any input. Each check is a fuzz target (`cargo +nightly fuzz run NAME`), and runs over its corpus
//! (`corpus/NAME/`) in the package's own tests. A new one is a function, a line in [`TARGETS`], a file in `fuzz_targets/`
//! with its `[[bin]]` in `Cargo.toml`, and a corpus of at least one file.

pub mod bosh;
pub mod dns;
pub mod form;
pub mod frames;
pub mod http;
pub mod mdns;
pub mod notification;
pub mod servers;
pub mod stream;

use inglenook::wire::framer::Limits;
use inglenook::wire::{Condition, Frame, Framer, Kind, Node, Raw, Scope, Stanza, StanzaError, StreamCondition, Type};

/// A check.
pub type Check = fn(&[u8]);

/// All of them, with their names.
pub const TARGETS: &[(&str, Check)] = &[
    ("bosh", bosh::bosh),
    ("dns", dns::dns),
    ("form", form::form),
    ("framer", framer),
    ("frames", frames::frames),
    ("http", http::http),
    ("mdns", mdns::mdns),
    ("notification", notification::notification),
    ("servers", servers::servers),
    ("stanza", stanza),
    ("stream", stream::stream),
];

const LIMITS: Limits = Limits { element_bytes: 2048, depth: 16, elements: 64, attributes: 16 };

/// The stream header that [`stanza`]'s input stands behind.
const HEADER: &str = "<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' \
    xmlns:o='urn:o&apos;' to='example.com' version='1.0'>";

/// A piece of a stream, owned.
#[derive(PartialEq, Debug)]
enum Piece {
    Open(String),
    Element(String),
    Close,
}

/// All pieces of a stream in chunks of these sizes, until it ends or is refused.
fn pieces(stream: &[u8], mut size: impl FnMut() -> usize) -> (Vec<Piece>, Option<StreamCondition>) {
    let mut framer = Framer::new(LIMITS);
    let mut out = Vec::new();
    let mut rest = stream;
    while !rest.is_empty() {
        let (mut chunk, behind) = rest.split_at(size().clamp(1, rest.len()));
        rest = behind;
        loop {
            match framer.next(&mut chunk) {
                Ok(Some(Frame::Open(text))) => out.push(Piece::Open(text.into())),
                Ok(Some(Frame::Element(text))) => out.push(Piece::Element(text.into())),
                Ok(Some(Frame::Close)) => out.push(Piece::Close),
                Ok(None) => break,
                Err(e) => return (out, Some(e.condition)),
            }
            assert!(framer.held_bytes() <= LIMITS.element_bytes);
        }
        assert!(chunk.is_empty(), "all is taken");
    }
    (out, None)
}

/// The pieces of a stream do not depend on its chunking.
pub fn framer(stream: &[u8]) {
    let whole = pieces(stream, || usize::MAX);
    assert_eq!(pieces(stream, || 1), whole);
    let mut seed = stream.iter().fold(1u64, |hash, b| hash.wrapping_mul(31).wrapping_add(u64::from(*b))) | 1;
    let random = pieces(stream, || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed % 16) as usize
    });
    assert_eq!(random, whole);
    for piece in &whole.0 {
        if let Piece::Open(text) = piece {
            // Whatever it says; without a panic.
            let _ = Raw::header(text);
        }
    }
}

/// What is accepted as a stanza can be read, and means the same when it is written and parsed again.
pub fn stanza(body: &[u8]) {
    let stream = [HEADER.as_bytes(), body].concat();
    let (pieces, _) = pieces(&stream, || usize::MAX);
    let mut scope = Scope::default();
    for piece in &pieces {
        match piece {
            Piece::Open(text) => scope = Raw::header(text).expect("it is well-formed").1,
            Piece::Element(text) => {
                let Ok(raw) = Raw::parse(text, &scope) else { continue };
                read(raw.root());
                if let Ok(Some(stanza)) = Stanza::from_raw(raw, &scope) {
                    round_trip(&stanza);
                    derived(&stanza);
                }
            }
            Piece::Close => {}
        }
    }
}

/// Reads all that an element offers. A copy parses anywhere, as the same.
fn read(node: Node) {
    assert!(node.xml().starts_with('<') && node.xml().ends_with('>') && node.xml().contains(node.inner_xml()));
    assert_eq!(node.attrs().filter(|(name, _)| *name == "xml:lang").map(|(_, value)| value).next(), node.lang());
    let copy = node.copy();
    let again = Raw::parse(&copy, &Scope::of("urn:elsewhere")).expect("a copy stands for itself");
    assert_eq!(
        (again.root().name(), again.root().ns(), again.root().ns_uri()),
        (node.name(), node.ns(), node.ns_uri())
    );
    assert_eq!(again.root().text(), node.text());
    assert_eq!(again.root().copy(), copy);
    node.children().for_each(read);
}

/// The head, and the children as they stand for themselves.
#[derive(PartialEq, Debug)]
struct Meaning {
    head: (Kind, Type, Option<String>, Option<String>, Option<String>, Option<String>),
    children: Vec<String>,
}

fn meaning(stanza: &Stanza) -> Meaning {
    let text = |s: Option<std::borrow::Cow<str>>| s.map(|s| s.into_owned());
    let jid = |jid: &Option<inglenook::wire::Jid>| jid.as_ref().map(|jid| jid.to_string());
    Meaning {
        head: (stanza.kind, stanza.ty, jid(&stanza.to), jid(&stanza.from), text(stanza.id()), text(stanza.lang())),
        children: stanza.children().map(|child| child.copy()).collect(),
    }
}

fn written(stanza: &Stanza) -> String {
    let mut out = String::new();
    stanza.write(None, &mut out);
    out
}

fn parse(xml: &str) -> Stanza {
    Stanza::parse(xml, Scope::client()).expect("what is written is well-formed").expect("and a stanza")
}

fn round_trip(stanza: &Stanza) {
    let text = written(stanza);
    let again = parse(&text);
    assert_eq!(meaning(&again), meaning(stanza), "{text}");
    assert_eq!(written(&again), text);
    assert_eq!(meaning(&parse(&stanza.to_xml())), meaning(stanza), "{text}");
    assert!(stanza.bytes() >= text.len(), "{text}");
}

/// What is made from a stanza is well-formed and says what it should.
fn derived(stanza: &Stanza) {
    let mut outer = Stanza::new(Kind::Message, Type::Normal);
    outer.wrap("<forwarded xmlns='urn:xmpp:forward:0'>", stanza, "</forwarded>");
    let read = parse(&written(&outer));
    let inner = read.children().next().and_then(|f| f.children().next()).expect("it is in there").copy();
    assert_eq!(meaning(&parse(&inner)), meaning(stanza));

    if let Some(error) = Stanza::error_of(stanza, &StanzaError::new(Condition::BadRequest)) {
        round_trip(&error);
        assert_eq!((&error.to, &error.from, error.id()), (&stanza.from, &stanza.to, stanza.id()));
    }
    if stanza.kind == Kind::Iq {
        round_trip(&Stanza::result_of(stanza, "<x xmlns='u'/>"));
    }

    // Cutting every second child leaves the others as they are.
    let mut cut = stanza.clone();
    let places: Vec<*const u8> = stanza.children().step_by(2).map(|child| child.xml().as_ptr()).collect();
    assert_eq!(cut.cut(|child| places.contains(&child.xml().as_ptr())), !places.is_empty());
    let kept: Vec<String> = stanza.children().skip(1).step_by(2).map(|child| child.copy()).collect();
    assert_eq!(meaning(&cut).children, kept);
    round_trip(&cut);
    cut.push("<x xmlns='u'/>");
    round_trip(&cut);
}
