//! Stream headers: the peer's is checked, ours is written (RFC 6120 §4.7, §4.8).

use crate::wire::xml::escape;
use crate::wire::{Jid, Node, Ns, Raw, Scope, StreamCondition, StreamError};
use std::sync::{Arc, LazyLock};

/// The longest language tag that is remembered, in bytes (RFC 5646 §4.4.1).
const LANG_BYTES: usize = 35;

/// What nearly every client declares. Streams that declare just this own no scope.
static USUAL: LazyLock<Scope> = LazyLock::new(|| Scope {
    declared: vec![
        ("".into(), Ns::CLIENT.uri().into()),
        ("stream".into(), Ns::STREAM.uri().into()), //
    ],
});

/// The namespace declarations of a peer's header.
#[derive(Debug, Default)]
pub(super) struct Declared(Option<Box<Scope>>);

impl Declared {
    /// Them as the scope of what the peer sends.
    pub(super) fn scope(&self) -> &Scope {
        self.0.as_deref().unwrap_or(&USUAL)
    }

    /// Whether they are those that cost nothing.
    #[cfg(test)]
    pub(super) fn is_usual(&self) -> bool {
        self.0.is_none()
    }
}

/// What a peer's header says, checked.
#[derive(Debug)]
pub(super) struct Header {
    pub(super) declared: Declared,
    /// The language of what it will send (RFC 6120 §4.7.4).
    pub(super) lang: Option<Box<str>>,
    /// Who it says it is, as a bare JID.
    pub(super) from: Option<Jid>,
}

/// A start tag as that of a stream, of a kind that has this content namespace.
fn opened(open: &str, content: Ns) -> Result<(Arc<Raw>, Scope), StreamError> {
    use StreamCondition::*;
    let (raw, scope) = Raw::header(open)?;
    let root = raw.root();
    if root.ns() != Ns::STREAM {
        return Err(InvalidNamespace.into());
    }
    if root.name() != "stream" {
        return Err(StreamError::new(BadFormat).text("a stream is opened with <stream:stream>"));
    }
    // Both styles of RFC 6120 §4.8.3: the content namespace is the default one, or the stream namespace is.
    match root.prefix() {
        "stream" if scope.default_ns() == content.uri() => {}
        "stream" => return Err(InvalidNamespace.into()),
        "" => {}
        _ => return Err(BadNamespacePrefix.into()),
    }
    Ok((raw, scope))
}

/// Reads the header of a component's stream (XEP-0114 §3), which is older than versions: the component's name, the declarations,
/// and the language of what it will send.
pub(super) fn read_component(open: &str) -> Result<(Jid, Scope, Option<Box<str>>), StreamError> {
    let (raw, scope) = opened(open, Ns::COMPONENT)?;
    if scope.default_ns() != Ns::COMPONENT.uri() {
        return Err(StreamCondition::InvalidNamespace.into());
    }
    match raw.root().attr("to") {
        None => Err(StreamError::new(StreamCondition::ImproperAddressing).text("the header needs a 'to'")),
        Some(to) => {
            let lang = raw.root().lang().filter(|lang| is_lang(lang)).map(|lang| lang.into());
            Ok((Jid::parse(&to).map_err(|_| StreamCondition::HostUnknown)?, scope, lang))
        }
    }
}

/// What the header of a server's stream says, checked.
#[derive(Debug)]
pub(super) struct ServerHeader {
    pub(super) scope: Scope,
    /// The language of what it will send.
    pub(super) lang: Option<Box<str>>,
    /// The domain that it speaks for; unproved.
    pub(super) from: Option<Jid>,
    /// The domain that it speaks to.
    pub(super) to: Option<Jid>,
    /// What the receiving server calls the stream.
    pub(super) id: Option<Box<str>>,
    /// Whether it declares the namespace of dialback, which says that it speaks it (XEP-0220 §2.4.1).
    pub(super) dialback: bool,
}

/// Reads the header of a stream between servers (RFC 6120 §4.7), of either side.
pub(super) fn read_server(open: &str) -> Result<ServerHeader, StreamError> {
    use StreamCondition::*;
    let (raw, scope) = opened(open, Ns::SERVER)?;
    if scope.default_ns() != Ns::SERVER.uri() {
        return Err(InvalidNamespace.into());
    }
    let root = raw.root();
    if root.attr("version").is_none_or(|version| major(&version).is_none_or(|major| major < 1)) {
        return Err(StreamError::new(UnsupportedVersion).text("this is version 1.0"));
    }
    let domain = |name: &str, wrong: StreamCondition| match root.attr(name) {
        None => Ok(None),
        Some(text) => match Jid::parse(&text) {
            Ok(jid) if jid.local().is_none() && jid.is_bare() => Ok(Some(jid)),
            _ => Err(StreamError::new(wrong)),
        },
    };
    Ok(ServerHeader {
        from: domain("from", InvalidFrom)?,
        to: domain("to", HostUnknown)?,
        id: root.attr("id").map(|id| id.into()),
        lang: root.lang().filter(|lang| is_lang(lang)).map(|lang| lang.into()),
        dialback: scope.declared.iter().any(|(_, uri)| **uri == *Ns::DIALBACK.uri()),
        scope,
    })
}

/// Appends our header to a server; `id` is there when it answers one of theirs.
pub(super) fn write_server(from: Option<&Jid>, to: Option<&Jid>, id: Option<&str>, out: &mut String) {
    out.push_str("<?xml version='1.0'?><stream:stream");
    let mut attribute = |name: &str, value: &str| {
        out.push_str(name);
        escape(value, out);
        out.push('\'');
    };
    from.iter().for_each(|from| attribute(" from='", from.as_str()));
    to.iter().for_each(|to| attribute(" to='", to.as_str()));
    id.iter().for_each(|id| attribute(" id='", id));
    out.push_str(
        " version='1.0' xml:lang='en' xmlns='jabber:server' xmlns:db='jabber:server:dialback' \
         xmlns:stream='http://etherx.jabber.org/streams'>",
    );
}

/// Reads the initial header of a client's stream to `domain`: `open` is its start tag with what stood before.
pub(super) fn read(open: &str, domain: &Jid) -> Result<Header, StreamError> {
    let (raw, scope) = opened(open, Ns::CLIENT)?;
    let usual =
        scope.declared.len() == USUAL.declared.len() && USUAL.declared.iter().all(|one| scope.declared.contains(one));
    checked(raw.root(), Declared((!usual).then(|| Box::new(scope))), domain)
}

/// The same of the element that opens a stream where nothing surrounds what comes behind it (RFC 7395 §3.3.1).
pub(super) fn read_open(root: Node<'_>, domain: &Jid) -> Result<Header, StreamError> {
    checked(root, Declared::default(), domain)
}

/// What both say in their attributes.
fn checked(root: Node<'_>, declared: Declared, domain: &Jid) -> Result<Header, StreamError> {
    use StreamCondition::*;
    if root.attr("version").is_none_or(|version| major(&version).is_none_or(|major| major < 1)) {
        return Err(StreamError::new(UnsupportedVersion).text("this is version 1.0"));
    }
    match root.attr("to") {
        None => return Err(StreamError::new(ImproperAddressing).text("the header needs a 'to'")),
        Some(to) if Jid::parse(&to).is_ok_and(|to| to == *domain) => {}
        Some(_) => return Err(HostUnknown.into()),
    }
    let from = root.attr("from").and_then(|from| Jid::parse(&from).ok()).map(|from| from.bare());
    if from.as_ref().is_some_and(|from| from.domain() != domain.domain()) {
        // XEP-0388 §2.1
        return Err(InvalidFrom.into());
    }
    Ok(Header { declared, lang: root.lang().filter(|lang| is_lang(lang)).map(|lang| lang.into()), from })
}

/// The major version, a number (RFC 6120 §4.7.5).
fn major(version: &str) -> Option<u32> {
    let (major, minor) = version.split_once('.')?;
    let number = |text: &str| text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten();
    let _: u32 = number(minor)?;
    number(major)
}

/// Whether it looks like a language tag (RFC 5646 §2.1).
fn is_lang(lang: &str) -> bool {
    (1..=LANG_BYTES).contains(&lang.len()) && lang.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

/// Appends our header (RFC 6120 §4.7). `peer`: the header that it answers, if that one was good.
pub(super) fn write(domain: &Jid, id: &str, peer: Option<&Header>, out: &mut String) {
    out.push_str("<?xml version='1.0'?><stream:stream");
    write_attributes(domain, id, peer, out);
    out.push_str(" xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>");
}

/// Appends it as an element (RFC 7395 §3.4).
pub(super) fn write_open(domain: &Jid, id: &str, peer: Option<&Header>, out: &mut String) {
    out.push_str("<open xmlns='urn:ietf:params:xml:ns:xmpp-framing'");
    write_attributes(domain, id, peer, out);
    out.push_str("/>");
}

fn write_attributes(domain: &Jid, id: &str, peer: Option<&Header>, out: &mut String) {
    out.push_str(" from='");
    escape(domain.as_str(), out);
    if let Some(from) = peer.and_then(|peer| peer.from.as_ref()) {
        out.push_str("' to='");
        escape(from.as_str(), out);
    }
    out.push_str("' id='");
    out.push_str(id);
    out.push_str("' version='1.0' xml:lang='");
    out.push_str(peer.and_then(|peer| peer.lang.as_deref()).unwrap_or("en"));
    out.push('\'');
}

/// Appends our header to a component (XEP-0114 §3).
pub(super) fn write_component(name: &Jid, id: &str, out: &mut String) {
    out.push_str("<?xml version='1.0'?><stream:stream from='");
    escape(name.as_str(), out);
    out.push_str("' id='");
    out.push_str(id);
    out.push_str("' xmlns='jabber:component:accept' xmlns:stream='http://etherx.jabber.org/streams'>");
}

/// Appends the end of our side of a stream: the error, if there is one, and the end tag (RFC 6120 §4.4, §4.9.1.1).
pub(super) fn write_end(error: Option<&StreamError>, out: &mut String) {
    if let Some(error) = error {
        error.write(out);
    }
    out.push_str("</stream:stream>");
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn read(open: &str) -> Result<Header, StreamCondition> {
        super::read(open, &Jid::parse("example.org").unwrap()).map_err(|e| e.condition)
    }

    const NS: &str = "xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'";

    #[test]
    fn usual_headers() {
        let header = read(&format!(
            "<?xml version='1.0'?><stream:stream to='example.org' from='Ann@example.org/x' xml:lang='de' version='1.0' {NS}>"
        ))
        .unwrap();
        assert_eq!(header.lang.as_deref(), Some("de"));
        assert_eq!(header.from.unwrap().as_str(), "ann@example.org");
        assert!(header.declared.is_usual());
        assert_eq!(header.declared.scope().declared.len(), 2);

        let mut out = String::new();
        let header = read(&format!("<stream:stream to=\"EXAMPLE.org\" from='a&apos;b' version='1.7' {NS}>")).unwrap();
        write(&Jid::parse("example.org").unwrap(), "abc", Some(&header), &mut out);
        assert_eq!(
            out,
            format!(
                "<?xml version='1.0'?><stream:stream from='example.org' id='abc' version='1.0' xml:lang='en' {NS}>"
            )
        );
    }

    #[test]
    fn other_declarations_are_kept() {
        let header = read(&format!("<stream:stream to='example.org' version='1.0' {NS} xmlns:x='urn:x'>")).unwrap();
        assert_eq!(header.declared.scope().declared.len(), 3);
        assert!(header.declared.scope().declared.contains(&("x".into(), "urn:x".into())));
    }

    #[test]
    fn both_styles() {
        assert!(read("<stream to='example.org' version='1.0' xmlns='http://etherx.jabber.org/streams'>").is_ok());
        assert!(
            read(
                "\n<?xml version=\"1.0\" encoding='utf-8'?>\n<stream:stream\n to='example.org' version='1.0' \
                  xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' >"
            )
            .is_ok()
        );
    }

    #[test]
    fn languages_that_are_none_are_ignored() {
        for lang in ["", "de'/>", "&lt;", &"x".repeat(36), "a b"] {
            let lang = crate::wire::xml::escaped(lang).into_owned();
            let header =
                read(&format!("<stream:stream to='example.org' version='1.0' xml:lang=\"{lang}\" {NS}>")).unwrap();
            assert_eq!(header.lang, None, "{lang}");
        }
    }

    #[test]
    fn refusals() {
        use StreamCondition::*;
        let s = "http://etherx.jabber.org/streams";
        for (open, condition) in [
            (format!("<stream:stream version='1.0' {NS}>"), ImproperAddressing),
            (format!("<stream:stream to='' version='1.0' {NS}>"), HostUnknown),
            (format!("<stream:stream to='example.com' version='1.0' {NS}>"), HostUnknown),
            (format!("<stream:stream to='ann@example.org' version='1.0' {NS}>"), HostUnknown),
            (format!("<stream:stream to='@' version='1.0' {NS}>"), HostUnknown),
            (format!("<stream:stream to='example.org' {NS}>"), UnsupportedVersion),
            (format!("<stream:stream to='example.org' version='0.9' {NS}>"), UnsupportedVersion),
            (format!("<stream:stream to='example.org' version='1' {NS}>"), UnsupportedVersion),
            (format!("<stream:stream to='example.org' version='+1.0' {NS}>"), UnsupportedVersion),
            (format!("<stream:stream to='example.org' version='.0' {NS}>"), UnsupportedVersion),
            (format!("<stream:stream to='example.org' version='99999999999.0' {NS}>"), UnsupportedVersion),
            (
                "<stream:stream to='example.org' version='1.0' xmlns='jabber:client' xmlns:stream='x'>".into(),
                InvalidNamespace,
            ),
            (
                format!("<stream:stream to='example.org' version='1.0' xmlns='jabber:server' xmlns:stream='{s}'>"),
                InvalidNamespace,
            ),
            (format!("<stream:stream to='example.org' version='1.0' xmlns:stream='{s}'>"), InvalidNamespace),
            ("<stream to='example.org' version='1.0' xmlns='jabber:client'>".into(), InvalidNamespace),
            (
                format!("<s:stream to='example.org' version='1.0' xmlns='jabber:client' xmlns:s='{s}'>"),
                BadNamespacePrefix,
            ),
            ("<stream:stream to='example.org' version='1.0' xmlns='jabber:client'>".into(), NotWellFormed),
            (format!("<stream:features to='example.org' version='1.0' {NS}>"), BadFormat),
            (format!("<stream:stream to='example.org' version='1.0' {NS}/>"), NotWellFormed),
            (format!("<stream:stream to='example.org' to='example.org' version='1.0' {NS}>"), NotWellFormed),
            (
                format!(
                    "<?xml version='1.0' encoding='ISO-8859-1'?><stream:stream to='example.org' version='1.0' {NS}>"
                ),
                UnsupportedEncoding,
            ),
            (
                format!("<?xml version='1.0' encoding='UTF-16'?><stream:stream to='example.org' version='1.0' {NS}>"),
                UnsupportedEncoding,
            ),
            (format!("<?php ?><stream:stream to='example.org' version='1.0' {NS}>"), RestrictedXml),
        ] {
            assert_eq!(read(&open).err(), Some(condition), "{open}");
        }
    }
}
