//! A client whose stream comes in messages (RFC 7395): plays are written as streams of TCP, and become messages here; what the server
//! answers becomes again what it is on TCP.

use inglenook::wire::framer::{END, Frame, Framer};
use inglenook::wire::{Ns, Raw};

const FRAMING: &str = "xmlns='urn:ietf:params:xml:ns:xmpp-framing'";
const STREAM: &str = "xmlns:stream='http://etherx.jabber.org/streams'";

/// The messages that say this, each with its end. What is no stream is one message as it is.
pub fn of(says: &mut Framer, text: &str) -> String {
    let mut out = String::new();
    let mut rest = text.as_bytes();
    loop {
        let (message, is_wrong) = match says.next(&mut rest) {
            Ok(Some(Frame::Open(open))) => (opened(open), false),
            Ok(Some(Frame::Element(xml))) => (declared(xml), false),
            Ok(Some(Frame::Close)) => (format!("<close {FRAMING}/>"), false),
            Err(_) => (declared(text.trim()), true),
            Ok(None) => break,
        };
        out.push_str(&message);
        out.push(char::from(END));
        if is_wrong {
            return out;
        }
    }
    // The beginning of a message, and nobody ends it.
    if says.held_bytes() > 0 {
        out.push_str(&declared(text.trim()));
    }
    out
}

/// The header as an element.
fn opened(header: &str) -> String {
    let Ok((raw, _)) = Raw::header(header) else { return header.to_owned() };
    let mut out = format!("<open {FRAMING}");
    for name in ["to", "from", "version", "xml:lang"] {
        let value = if name == "xml:lang" { raw.root().lang() } else { raw.root().attr(name) };
        if let Some(value) = value {
            out.push_str(&format!(" {name}='{}'", inglenook::wire::xml::escaped(&value)));
        }
    }
    out + "/>"
}

/// An element with what the header declared for it.
fn declared(xml: &str) -> String {
    let end = xml.find(|c: char| c.is_whitespace() || c == '/' || c == '>').unwrap_or(xml.len());
    let (start, rest) = xml.split_at(end);
    let tag = rest.split_once('>').map_or(rest, |(tag, _)| tag);
    match start {
        "<stream:error" => format!("{start} {STREAM}{rest}"),
        _ if tag.contains(" xmlns=") => xml.to_owned(),
        _ => format!("{start} xmlns='jabber:client'{rest}"),
    }
}

/// What was written, as it is in a stream of TCP. Each message has its end, and is a document of its own.
pub fn read(out: &str) -> Vec<String> {
    let Some(all) = out.strip_suffix(char::from(END)) else {
        assert!(out.is_empty(), "a message without an end: {out}");
        return Vec::new();
    };
    all.split(char::from(END)).map(piece).collect()
}

fn piece(message: &str) -> String {
    let raw = Raw::document(message).unwrap_or_else(|e| panic!("{e}: {message}"));
    match (raw.root().ns(), raw.root().name()) {
        (Ns::FRAMING, "open") => {
            let header = message.replacen(&format!("<open {FRAMING}"), "<stream:stream", 1);
            let header = header.strip_suffix("/>").expect("<open/> is empty");
            format!("{header} xmlns='jabber:client' {STREAM}>")
        }
        (Ns::FRAMING, "close") => "</stream:stream>".to_owned(),
        _ => message.to_owned(),
    }
}
