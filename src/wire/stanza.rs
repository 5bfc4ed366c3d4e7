//! The stanza: its head is data, its body is bytes.
//!
//! The start tag is written from fields; what is inside is routed, stored, fanned out and forwarded as the bytes that came
//! in, shared by reference, never serialized again.
//!
//! An attribute value is never put into other quotes than it came with: one that came in `"..."` may hold a `'`, and
//! written inside `'...'` it would end there and forge the rest of the head.

use super::error::{StanzaError, StreamCondition, StreamError};
use super::jid::Jid;
use super::ns::Ns;
use super::xml::{Attr, Attrs, Node, Raw, Scope, Slice, escape, unescape, write_declaration};
use std::borrow::Cow;
use std::sync::{Arc, LazyLock};

/// The three kinds (RFC 6120 §8.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum Kind {
    Message,
    Presence,
    Iq,
}

impl Kind {
    /// The element's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Message => "message",
            Kind::Presence => "presence",
            Kind::Iq => "iq",
        }
    }
}

/// The `type` attribute of all three kinds (RFC 6120 §8.1.4, RFC 6121 §4.7.1 and §5.2.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum Type {
    /// No attribute: available presence, a normal message; not allowed for an IQ.
    None,
    Normal,
    Chat,
    Groupchat,
    Headline,
    Error,
    Get,
    Set,
    Result,
    Unavailable,
    Subscribe,
    Subscribed,
    Unsubscribe,
    Unsubscribed,
    Probe,
    /// One that the kind does not have; it travels as it came in.
    Unknown,
}

impl Type {
    /// The value of the attribute; empty for [`Type::None`] and [`Type::Unknown`].
    pub fn as_str(self) -> &'static str {
        match self {
            Type::None | Type::Unknown => "",
            Type::Normal => "normal",
            Type::Chat => "chat",
            Type::Groupchat => "groupchat",
            Type::Headline => "headline",
            Type::Error => "error",
            Type::Get => "get",
            Type::Set => "set",
            Type::Result => "result",
            Type::Unavailable => "unavailable",
            Type::Subscribe => "subscribe",
            Type::Subscribed => "subscribed",
            Type::Unsubscribe => "unsubscribe",
            Type::Unsubscribed => "unsubscribed",
            Type::Probe => "probe",
        }
    }

    /// Reads the attribute of a kind.
    fn of(kind: Kind, text: &str) -> Type {
        let types: &[Type] = match kind {
            Kind::Message => &[Type::Chat, Type::Groupchat, Type::Normal, Type::Headline, Type::Error],
            Kind::Iq => &[Type::Get, Type::Result, Type::Set, Type::Error],
            Kind::Presence => &[
                Type::Unavailable,
                Type::Subscribe,
                Type::Subscribed,
                Type::Unsubscribe,
                Type::Unsubscribed,
                Type::Probe,
                Type::Error,
            ],
        };
        types.iter().copied().find(|ty| ty.as_str() == text).unwrap_or(Type::Unknown)
    }
}

/// A stanza. A clone shares its text, and what is known of it, until one of the two is changed.
#[derive(Clone, Debug)]
pub struct Stanza {
    /// Message, presence or IQ.
    pub kind: Kind,
    /// The `type` attribute.
    pub ty: Type,
    /// The `to` attribute, if it is there and well-formed.
    pub to: Option<Jid>,
    /// The `from` attribute, if it is there and well-formed.
    pub from: Option<Jid>,
    /// Whether `to` was there and is not a JID (the answer is `jid-malformed`).
    pub bad_to: bool,
    /// Whether `from` was there and is not a JID.
    pub bad_from: bool,
    /// What this server calls it, of a message that may be stored; 0: nothing. It is not written.
    pub mark: u64,
    rest: Arc<Rest>,
}

/// What of a stanza is bytes.
#[derive(Clone, Debug, Default)]
struct Rest {
    /// The value of `id` with its quotes, as it came in.
    id: Option<Slice>,
    /// The other attributes of the head, one each, as they came in: `xml:lang`, an unknown `type`, attributes with prefixes;
    /// and declarations of prefixes, among them those of the stream header that the stanza uses, so that it stands for itself.
    extra: Vec<Slice>,
    /// The children, as they came in, and what the server added.
    body: Vec<Part>,
    /// The namespaces of the children, a bit for each ([`Ns::bit`]). A child that was cut may have left its bit.
    namespaces: u64,
}

/// A piece of a body.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Part {
    slice: Slice,
    role: Role,
}

/// What a piece of a body is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Role {
    /// Children of the stanza.
    Children,
    /// A child that this server added for the receiver alone ([`Stanza::note`]).
    Note,
    /// A piece of a child that was wrapped.
    Wrapped,
}

impl Stanza {
    /// Parses one framed element in the scope of its stream. A top-level element that is no stanza of the stream's default
    /// namespace: see [`Stanza::from_raw`].
    pub fn parse(xml: &str, scope: &Scope) -> Result<Option<Stanza>, StreamError> {
        Stanza::from_raw(Raw::parse(xml, scope)?, scope)
    }

    /// The stanza that an element is; `None` if it is something else (the stream's business): another name, or another
    /// namespace than the stream's default one, which must be `jabber:client`, `jabber:server` or `jabber:component:accept`. `scope` is what `raw` was
    /// parsed in. Error: `bad-namespace-prefix` for a stanza with a prefix (RFC 6120 §4.8.5).
    pub fn from_raw(raw: Arc<Raw>, scope: &Scope) -> Result<Option<Stanza>, StreamError> {
        let root = raw.root();
        let kind = match root.name() {
            "message" => Kind::Message,
            "presence" => Kind::Presence,
            "iq" => Kind::Iq,
            _ => return Ok(None),
        };
        if !root.prefix().is_empty() && root.ns_uri() == scope.default_ns() {
            return Err(StreamCondition::BadNamespacePrefix.into());
        }
        // What is in the default namespace of another kind of stream is shown as `jabber:client`.
        if root.ns() != Ns::CLIENT || !root.prefix().is_empty() {
            return Ok(None);
        }
        let mut stanza = Stanza::new(kind, Type::None);
        let mut rest = Rest::default();
        for attr in root.raw_attrs() {
            let (start, end, value_len) = attr.place();
            match attr.name {
                "to" => (stanza.to, stanza.bad_to) = address(&attr.value()),
                "from" => (stanza.from, stanza.bad_from) = address(&attr.value()),
                "id" => rest.id = Some(Slice::of(&raw, end - value_len, end)),
                "xmlns" if attr.value() == scope.default_ns() => {}
                "xmlns" => return Ok(None),
                "type" => {
                    stanza.ty = Type::of(kind, &attr.value());
                    if stanza.ty == Type::Unknown {
                        rest.extra.push(Slice::of(&raw, start, end));
                    }
                }
                _ => rest.extra.push(Slice::of(&raw, start, end)),
            }
        }
        for (prefix, uri) in raw.outer_prefixes() {
            let mut declaration = String::new();
            write_declaration(prefix, uri, &mut declaration);
            rest.extra.push(Slice::whole(Raw::rendered(declaration)));
        }
        let (start, end) = root.inner_place();
        if start < end {
            rest.body = vec![Part { slice: Slice::of(&raw, start as usize, end as usize), role: Role::Children }];
            rest.namespaces = root.children().fold(0, |all, child| all | child.ns().bit());
        }
        stanza.rest = Arc::new(rest);
        Ok(Some(stanza))
    }

    /// A new one with an empty body.
    pub fn new(kind: Kind, ty: Type) -> Stanza {
        static EMPTY: LazyLock<Arc<Rest>> = LazyLock::new(Arc::default);
        let rest = EMPTY.clone();
        Stanza { kind, ty, to: None, from: None, bad_to: false, bad_from: false, mark: 0, rest }
    }

    fn rest_mut(&mut self) -> &mut Rest {
        Arc::make_mut(&mut self.rest)
    }

    /// The same with `to`.
    pub fn to(mut self, to: Jid) -> Stanza {
        self.to = Some(to);
        self
    }

    /// The same with `from`.
    pub fn from(mut self, from: Jid) -> Stanza {
        self.from = Some(from);
        self
    }

    /// The same with `id`, unescaped text.
    pub fn with_id(mut self, id: &str) -> Stanza {
        let mut quoted = String::with_capacity(id.len() + 2);
        quoted.push('\'');
        escape(id, &mut quoted);
        quoted.push('\'');
        self.rest_mut().id = Some(Slice::whole(Raw::rendered(quoted)));
        self
    }

    /// The same with one more child, well-formed XML with its namespace.
    pub fn with(mut self, xml: impl Into<String>) -> Stanza {
        self.push(xml);
        self
    }

    /// The result of an IQ (RFC 6120 §8.2.3), with an optional payload (empty: none).
    pub fn result_of(iq: &Stanza, payload: impl Into<String>) -> Stanza {
        let mut result = iq.answer(Type::Result);
        let payload = payload.into();
        if !payload.is_empty() {
            result.push(payload);
        }
        result
    }

    /// The error that answers a stanza: addresses swapped, same `id`. `None` where RFC 6120 §8.3.1 forbids one: for an error,
    /// and for a result.
    pub fn error_of(stanza: &Stanza, error: &StanzaError) -> Option<Stanza> {
        if stanza.ty == Type::Error || stanza.kind == Kind::Iq && stanza.ty == Type::Result {
            return None;
        }
        let mut answer = stanza.answer(Type::Error);
        let mut xml = String::new();
        error.write(&mut xml);
        answer.push(xml);
        Some(answer)
    }

    /// One of the same kind back to its sender, with the same `id`.
    fn answer(&self, ty: Type) -> Stanza {
        let rest = Arc::new(Rest { id: self.rest.id.clone(), ..Rest::default() });
        Stanza { to: self.from.clone(), from: self.to.clone(), rest, ..Stanza::new(self.kind, ty) }
    }

    /// The `id`, unescaped.
    pub fn id(&self) -> Option<Cow<'_, str>> {
        let quoted = self.rest.id.as_ref()?.as_str();
        Some(unescape(quoted.get(1..quoted.len().saturating_sub(1))?, true))
    }

    /// `xml:lang` of the head.
    pub fn lang(&self) -> Option<Cow<'_, str>> {
        let mut attrs = self.rest.extra.iter().flat_map(|slice| Attrs::of(slice.as_str()));
        attrs.find(|attr| attr.name == "xml:lang").map(Attr::value)
    }

    /// What [`Stanza::default_lang`] takes, for a language tag: made once, then shared.
    pub fn lang_attribute(lang: &str) -> Slice {
        let mut attribute = String::from("xml:lang='");
        escape(lang, &mut attribute);
        attribute.push('\'');
        Slice::whole(Raw::rendered(attribute))
    }

    /// Gives it a language, if it names none (RFC 6120 §8.1.5).
    pub fn default_lang(&mut self, attribute: &Slice) {
        if self.lang().is_none() {
            self.rest_mut().extra.push(attribute.clone());
        }
    }

    /// Its child elements.
    pub fn children(&self) -> impl Iterator<Item = Node<'_>> {
        self.rest.body.iter().filter(|part| part.role != Role::Wrapped).flat_map(|part| part.slice.nodes())
    }

    /// The child elements of what was wrapped ([`Stanza::wrap`]), whatever was around it.
    pub fn wrapped(&self) -> impl Iterator<Item = Node<'_>> {
        self.rest.body.iter().filter(|part| part.role == Role::Wrapped).flat_map(|part| part.slice.nodes())
    }

    /// Whether a child of that namespace may be there. If not, none is: a look at one number.
    pub fn may_have(&self, ns: Ns) -> bool {
        self.rest.namespaces & ns.bit() != 0
    }

    /// The first child of that name.
    pub fn child(&self, ns: Ns, name: &str) -> Option<Node<'_>> {
        if self.may_have(ns) { self.children().find(|c| c.is(ns, name)) } else { None }
    }

    /// Adds a child, well-formed XML with its namespace, at the end: rendered once, then shared. Without a namespace of its
    /// own it is in that of the stanza. Text that is not one well-formed element is a mistake of the caller; it is left out,
    /// as it would break the stream of everybody who gets it.
    pub fn push(&mut self, xml: impl Into<String>) {
        let xml = xml.into();
        match Raw::parse(&xml, Scope::client()) {
            Ok(raw) => self.add(raw, Role::Children),
            Err(e) => {
                debug_assert!(false, "{e}: {xml}");
                log::error!("a child that is not well-formed was left out: {e}");
            }
        }
    }

    /// Adds an empty element that tells the receiver something of the message, and is no part of it ([`Stanza::same`],
    /// [`Stanza::write_bare`]): attributes are name and value, unescaped.
    pub fn note(&mut self, ns: Ns, name: &str, attributes: &[(&str, &str)]) {
        self.add(Raw::empty(ns, name, attributes), Role::Note);
    }

    /// Whether such an element was added.
    pub fn has_note(&self, ns: Ns, name: &str) -> bool {
        let mut notes = self.rest.body.iter().filter(|part| part.role == Role::Note);
        self.may_have(ns) && notes.any(|part| part.slice.nodes().any(|node| node.is(ns, name)))
    }

    fn add(&mut self, raw: Arc<Raw>, role: Role) {
        let namespaces = self.rest.namespaces | raw.root().ns().bit();
        let part = Part { slice: Slice::whole(raw), role };
        if let Some(rest) = Arc::get_mut(&mut self.rest) {
            rest.body.push(part);
            rest.namespaces = namespaces;
        } else {
            // Shared: a copy that has room for it.
            let mut body = Vec::with_capacity(self.rest.body.len() + 1);
            body.extend_from_slice(&self.rest.body);
            body.push(part);
            let Rest { id, extra, .. } = &*self.rest;
            self.rest = Arc::new(Rest { id: id.clone(), extra: extra.clone(), body, namespaces });
        }
    }

    /// Removes the children that `which` picks; says whether there was one. The rest is shared, not copied.
    pub fn cut(&mut self, which: impl Fn(Node<'_>) -> bool) -> bool {
        if !self.children().any(&which) {
            return false;
        }
        self.cut_parts(which, true)
    }

    /// The same, but for notes: what this server did not say itself.
    pub fn cut_foreign(&mut self, which: impl Fn(Node<'_>) -> bool) -> bool {
        let mut said = self.rest.body.iter().filter(|part| part.role == Role::Children);
        if !said.any(|part| part.slice.nodes().any(&which)) {
            return false;
        }
        self.cut_parts(which, false)
    }

    fn cut_parts(&mut self, which: impl Fn(Node<'_>) -> bool, notes: bool) -> bool {
        let rest = self.rest_mut();
        let mut body = Vec::with_capacity(rest.body.len() + 1);
        for Part { slice, role } in std::mem::take(&mut rest.body) {
            let mut left = slice.clone();
            if role == Role::Children || role == Role::Note && notes {
                for node in slice.nodes().filter(|node| which(*node)) {
                    let (start, end) = node.place();
                    let (before, behind) = left.split(start, end);
                    if !before.as_str().is_empty() {
                        body.push(Part { slice: before, role });
                    }
                    left = behind;
                }
            }
            if !left.as_str().is_empty() {
                body.push(Part { slice: left, role });
            }
        }
        rest.body = body;
        true
    }

    /// Removes all children.
    pub fn clear(&mut self) {
        let rest = self.rest_mut();
        (rest.body, rest.namespaces) = (Vec::new(), 0);
    }

    /// Adds as one child `before`, then `other` whole in `jabber:client`, then `after`: carbons, archive results, forwards.
    /// `other`'s body is shared. The child is not seen by [`Stanza::children`]: nobody reads back what was wrapped.
    pub fn wrap(&mut self, before: &str, other: &Stanza, after: &str) {
        let body = &mut self.rest_mut().body;
        let piece = |slice| Part { slice, role: Role::Wrapped };
        let mut xml = String::with_capacity(before.len() + 256);
        xml.push_str(before);
        other.write_head(Some("jabber:client"), &mut xml);
        if !other.rest.body.is_empty() {
            body.push(piece(Slice::whole(Raw::rendered(std::mem::take(&mut xml)))));
            body.extend(other.rest.body.iter().map(|part| piece(part.slice.clone())));
        }
        other.write_end(&mut xml);
        xml.push_str(after);
        body.push(piece(Slice::whole(Raw::rendered(xml))));
    }

    /// Whether two say the same, but for notes: they are written the same.
    pub fn same(&self, other: &Stanza) -> bool {
        let head = |s: &Stanza| (s.kind, s.ty, s.mark);
        fn said(stanza: &Stanza) -> impl Iterator<Item = &Part> {
            stanza.rest.body.iter().filter(|part| part.role != Role::Note)
        }
        head(self) == head(other)
            && self.to == other.to
            && self.from == other.from
            && (Arc::ptr_eq(&self.rest, &other.rest)
                || self.rest.id == other.rest.id && self.rest.extra == other.rest.extra && said(self).eq(said(other)))
    }

    /// Appends it as XML; the only serializer. `default_ns`: what to declare as default namespace in its start tag, where it
    /// does not stand in a stream that declares it: `jabber:client` or `jabber:server`. A stanza is self-contained: whatever scope it came from, what is written
    /// means the same in a stream with no other declarations than the default namespace.
    pub fn write(&self, default_ns: Option<&str>, out: &mut String) {
        out.reserve(self.bytes());
        self.write_head(default_ns, out);
        for part in &self.rest.body {
            out.push_str(part.slice.as_str());
        }
        self.write_end(out);
    }

    /// Appends it as XML in `jabber:client`, without notes: what an archive keeps.
    pub fn write_bare(&self, out: &mut String) {
        out.reserve(self.bytes());
        self.write_head(Some("jabber:client"), out);
        for part in self.rest.body.iter().filter(|part| part.role != Role::Note) {
            out.push_str(part.slice.as_str());
        }
        self.write_end(out);
    }

    /// The start tag; what makes it an empty element is left to [`Stanza::write_end`].
    fn write_head(&self, default_ns: Option<&str>, out: &mut String) {
        out.push('<');
        out.push_str(self.kind.as_str());
        let mut attribute = |name: &str, value: &str, rest: Option<&str>| {
            out.push_str(name);
            // The namespaces of streams, types, and bare JIDs have nothing that must be escaped; resources may.
            out.push_str(value);
            if let Some(resource) = rest {
                out.push('/');
                escape(resource, out);
            }
            out.push('\'');
        };
        if let Some(ns) = default_ns {
            attribute(" xmlns='", ns, None);
        }
        if let Some(to) = &self.to {
            attribute(" to='", to.bare_str(), to.resource());
        }
        if let Some(from) = &self.from {
            attribute(" from='", from.bare_str(), from.resource());
        }
        if !self.ty.as_str().is_empty() {
            attribute(" type='", self.ty.as_str(), None);
        }
        if let Some(id) = &self.rest.id {
            out.push_str(" id=");
            out.push_str(id.as_str());
        }
        for slice in &self.rest.extra {
            // An unknown type that came in, and a known one that was set since.
            let stale = self.ty != Type::Unknown && Attrs::of(slice.as_str()).any(|attr| attr.name == "type");
            if !stale {
                out.push(' ');
                out.push_str(slice.as_str());
            }
        }
        if !self.rest.body.is_empty() {
            out.push('>');
        }
    }

    fn write_end(&self, out: &mut String) {
        if self.rest.body.is_empty() {
            out.push_str("/>");
        } else {
            out.push_str("</");
            out.push_str(self.kind.as_str());
            out.push('>');
        }
    }

    /// It as XML in `jabber:client`, to store.
    pub fn to_xml(&self) -> String {
        let mut out = String::new();
        self.write(Some("jabber:client"), &mut out);
        out
    }

    /// How many bytes its text has, about: what limits and quotas count.
    pub fn bytes(&self) -> usize {
        /// Tags, names of attributes, quotes and a default namespace.
        const AROUND_BYTES: usize = 96;
        let jid = |jid: &Option<Jid>| jid.as_ref().map_or(0, Jid::xml_bytes);
        let Rest { id, extra, body, .. } = &*self.rest;
        let slices = id.iter().chain(extra).chain(body.iter().map(|part| &part.slice));
        AROUND_BYTES + jid(&self.to) + jid(&self.from) + slices.map(|slice| slice.as_str().len()).sum::<usize>()
    }
}

/// Reads an address: what it is, and whether it is none.
fn address(text: &str) -> (Option<Jid>, bool) {
    let jid = Jid::parse(text).ok();
    let bad = jid.is_none();
    (jid, bad)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::wire::error::Condition;

    fn scope() -> Scope {
        let mut scope = Scope::of("jabber:client");
        scope.declared.push(("stream".into(), Ns::STREAM.uri().into()));
        scope.declared.push(("o".into(), "urn:o'&".into()));
        scope
    }

    fn stanza(xml: &str) -> Stanza {
        Stanza::parse(xml, &scope()).unwrap().unwrap_or_else(|| panic!("{xml} is no stanza"))
    }

    fn written(stanza: &Stanza) -> String {
        let mut out = String::new();
        stanza.write(None, &mut out);
        out
    }

    fn jid(text: &str) -> Jid {
        Jid::parse(text).unwrap()
    }

    #[test]
    fn size() {
        assert!(size_of::<Stanza>() <= 72, "{}", size_of::<Stanza>());
    }

    #[test]
    fn the_head() {
        let m = stanza(
            "<message to='Juliet@Example.COM/x' from='romeo@example.net' id='a&amp;1' type='chat' xml:lang='de'><body>hi</body></message>",
        );
        assert_eq!((m.kind, m.ty), (Kind::Message, Type::Chat));
        assert_eq!((m.to.clone(), m.from.clone()), (Some(jid("juliet@example.com/x")), Some(jid("romeo@example.net"))));
        assert_eq!((m.id().as_deref(), m.lang().as_deref()), (Some("a&1"), Some("de")));
        assert!(!m.bad_to && !m.bad_from);
        assert_eq!(
            written(&m),
            "<message to='juliet@example.com/x' from='romeo@example.net' type='chat' id='a&amp;1' xml:lang='de'><body>hi</body></message>"
        );
        assert_eq!(
            m.to_xml(),
            "<message xmlns='jabber:client' to='juliet@example.com/x' from='romeo@example.net' type='chat' id='a&amp;1' xml:lang='de'><body>hi</body></message>"
        );
        for empty in ["<presence/>", "<presence></presence>", "<presence xmlns='jabber:client'  ></presence >"] {
            let p = stanza(empty);
            assert_eq!((p.kind, p.ty, p.id(), p.lang()), (Kind::Presence, Type::None, None, None));
            assert_eq!(written(&p), "<presence/>");
        }
    }

    /// It is written as it is.
    #[test]
    fn nothing_in_a_bare_jid_must_be_escaped() {
        for c in (0..0x1_0000).filter_map(char::from_u32) {
            for text in [format!("{c}@b"), format!("{c}.b")] {
                let Ok(jid) = Jid::parse(&text) else { continue };
                let mut out = String::new();
                escape(jid.bare_str(), &mut out);
                assert_eq!(out, jid.bare_str());
            }
        }
    }

    #[test]
    fn languages_by_default() {
        let german = Stanza::lang_attribute("de");
        let mut m = stanza("<message/>");
        m.default_lang(&german);
        m.default_lang(&Stanza::lang_attribute("fr"));
        assert_eq!(written(&m), "<message xml:lang='de'/>");
        let mut m = stanza("<message xml:lang=''/>");
        m.default_lang(&german);
        assert_eq!(written(&m), "<message xml:lang=''/>", "it says that it has none");
    }

    #[test]
    fn addresses_that_are_none() {
        for bad in ["", "@", "a@", "a b@c", "&lt;", "a@b/&#9;"] {
            let m = stanza(&format!("<message to='{bad}' from='x'/>"));
            assert!(m.bad_to && m.to.is_none() && !m.bad_from);
            assert_eq!(written(&m), "<message from='x'/>");
            let m = stanza(&format!("<message from='{bad}'/>"));
            assert!(m.bad_from && m.from.is_none() && !m.bad_to);
        }
    }

    #[test]
    fn types() {
        use Type::*;
        let known = [
            (Kind::Message, vec![Normal, Chat, Groupchat, Headline, Error]),
            (Kind::Presence, vec![Error, Unavailable, Subscribe, Subscribed, Unsubscribe, Unsubscribed, Probe]),
            (Kind::Iq, vec![Error, Get, Set, Result]),
        ];
        let all = [
            Normal,
            Chat,
            Groupchat,
            Headline,
            Error,
            Get,
            Set,
            Result,
            Unavailable,
            Subscribe,
            Subscribed,
            Unsubscribe,
            Unsubscribed,
            Probe,
        ];
        for (kind, own) in known {
            for ty in all {
                let xml = format!("<{} type='{}'/>", kind.as_str(), ty.as_str());
                let s = stanza(&xml);
                assert_eq!(s.ty, if own.contains(&ty) { ty } else { Unknown }, "{xml}");
                assert_eq!(written(&s), xml);
            }
        }
        for odd in ["", "Chat", " chat", "none", "unknown"] {
            assert_eq!(stanza(&format!("<message type='{odd}'/>")).ty, Unknown);
        }
        assert_eq!(written(&stanza("<message type = \"ch&#97;t\"/>")), "<message type='chat'/>");
        let mut odd = stanza("<message type = \"it's\" id='1'/>");
        assert_eq!(written(&odd), "<message id='1' type = \"it's\"/>");
        odd.ty = Error;
        assert_eq!(written(&odd), "<message type='error' id='1'/>", "not twice");
    }

    #[test]
    fn what_is_no_stanza() {
        let none = |xml: &str, scope: &Scope| assert!(Stanza::parse(xml, scope).unwrap().is_none(), "{xml}");
        let (client, server) = (scope(), Scope::of("jabber:server"));
        for xml in [
            "<foo/>",
            "<message xmlns='jabber:server'/>",
            "<message xmlns=''/>",
            "<iq xmlns='u'/>",
            "<o:message/>",
            "<stream:error/>",
            "<Message/>",
        ] {
            none(xml, &client);
        }
        none("<message xmlns='jabber:client'/>", &server);
        none("<p:message xmlns:p='jabber:client'/>", &server);
        none("<message/>", &Scope::default());
        none("<message xmlns='jabber:client'/>", &Scope::default());
        none("<message/>", &Scope::of("urn:x"));
        assert!(Stanza::parse("<message xmlns='jabber:server'><body/></message>", &server).unwrap().is_some());
        for (scope, ns) in [(&client, "jabber:client"), (&server, "jabber:server")] {
            let xml = format!("<p:message xmlns:p='{ns}'/>");
            assert_eq!(Stanza::parse(&xml, scope).unwrap_err().condition, StreamCondition::BadNamespacePrefix);
        }
        assert_eq!(Stanza::parse("<message", &client).unwrap_err().condition, StreamCondition::NotWellFormed);
    }

    #[test]
    fn from_servers_and_components_to_clients() {
        for ns in ["jabber:server", "jabber:component:accept"] {
            for declared in [format!(" xmlns='{ns}'"), String::new()] {
                let xml = format!("<message{declared} to='a'><body>x</body><error/></message>");
                let m = Stanza::parse(&xml, &Scope::of(ns)).unwrap().unwrap();
                assert_eq!(m.child(Ns::CLIENT, "body").unwrap().text(), "x");
                assert_eq!(m.to_xml(), "<message xmlns='jabber:client' to='a'><body>x</body><error/></message>");
            }
        }
    }

    /// A value is written with the quotes that it came with, or escaped.
    #[test]
    fn quotes_forge_nothing() {
        let m = stanza("<message id=\"' from='evil\" xml:lang=\"' x='\" to=\"a/' from='evil\"/>");
        assert_eq!(written(&m), "<message to='a/&apos; from=&apos;evil' id=\"' from='evil\" xml:lang=\"' x='\"/>");
        let again = stanza(&written(&m));
        assert_eq!(
            (again.from.as_ref(), again.id().as_deref(), again.to.clone()),
            (None, Some("' from='evil"), Some(jid("a/' from='evil")))
        );
        assert_eq!(
            written(&Stanza::result_of(&m, "")),
            "<message from='a/&apos; from=&apos;evil' type='result' id=\"' from='evil\"/>"
        );
        let made = Stanza::new(Kind::Iq, Type::Get).with_id("'\"<&>");
        assert_eq!(written(&made), "<iq type='get' id='&apos;&quot;&lt;&amp;&gt;'/>");
        assert_eq!(made.id().as_deref(), Some("'\"<&>"));
    }

    #[test]
    fn prefixes_of_the_stream_come_along() {
        let m = stanza("<message><o:x/><b><o:y/></b></message>");
        assert_eq!(written(&m), "<message xmlns:o='urn:o&apos;&amp;'><o:x/><b><o:y/></b></message>");
        assert_eq!(written(&stanza("<message o:a=\"1\"/>")), "<message o:a=\"1\" xmlns:o='urn:o&apos;&amp;'/>");
        let own = "<message xmlns:o='v' o:a='1'><o:x/></message>";
        assert_eq!(written(&stanza(own)), own);
        assert_eq!(written(&stanza("<message><o:x xmlns:o='v'/></message>")), "<message><o:x xmlns:o='v'/></message>");
        let again = Stanza::parse(&written(&m), Scope::client()).unwrap().unwrap();
        assert_eq!(again.children().next().unwrap().ns_uri(), "urn:o'&");
    }

    #[test]
    fn answers() {
        let iq = stanza(
            "<iq to='example.com' from='a@example.com/r' id='x' type='get' xml:lang='de'><query xmlns='u'/></iq>",
        );
        let result = Stanza::result_of(&iq, "<query xmlns='u'>1</query>");
        assert_eq!(
            written(&result),
            "<iq to='a@example.com/r' from='example.com' type='result' id='x'><query xmlns='u'>1</query></iq>"
        );
        assert_eq!(written(&Stanza::result_of(&stanza("<iq type='set' id='x'/>"), "")), "<iq type='result' id='x'/>");
        let error = Stanza::error_of(&iq, &Condition::ServiceUnavailable.into()).unwrap();
        assert_eq!(
            written(&error),
            "<iq to='a@example.com/r' from='example.com' type='error' id='x'><error type='cancel'>\
             <service-unavailable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>"
        );
        let e = error.child(Ns::CLIENT, "error").unwrap();
        assert!(e.child(Ns::STANZAS, "service-unavailable").is_some());
        for silent in
            ["<iq type='error'/>", "<iq type='result'/>", "<message type='error'/>", "<presence type='error'/>"]
        {
            assert!(Stanza::error_of(&stanza(silent), &Condition::BadRequest.into()).is_none(), "{silent}");
        }
        // A message that calls itself a result is none.
        assert!(Stanza::error_of(&stanza("<message type='result'/>"), &Condition::BadRequest.into()).is_some());
    }

    const MIXED: &str = "<message> 0 <a/>1<b xmlns='u'><a/></b><a>2</a><body>3</body>4</message>";

    fn names(s: &Stanza) -> Vec<&str> {
        s.children().map(|c| c.name()).collect()
    }

    #[test]
    fn children_of_several_slices() {
        let mut m = stanza(MIXED);
        assert_eq!(names(&m), ["a", "b", "a", "body"]);
        m.push("<delay xmlns='urn:xmpp:delay' stamp='x'><a/></delay>");
        m.push("<body>more</body>");
        assert_eq!(names(&m), ["a", "b", "a", "body", "delay", "body"]);
        assert_eq!(m.child(Ns::DELAY, "delay").unwrap().attr("stamp").as_deref(), Some("x"));
        assert!(m.child(Ns::CLIENT, "delay").is_none());
        assert_eq!(names(&stanza(&written(&m))), names(&m));
        let shared = m.clone();
        m.clear();
        assert_eq!((names(&m).len(), written(&m).as_str(), names(&shared).len()), (0, "<message/>", 6));
    }

    #[test]
    fn cutting() {
        let mut m = stanza(MIXED);
        assert!(!m.cut(|c| c.name() == "x"));
        assert_eq!(m.rest.body.len(), 1);
        assert!(m.cut(|c| c.is(Ns::CLIENT, "a")));
        assert_eq!(written(&m), "<message> 0 1<b xmlns='u'><a/></b><body>3</body>4</message>");
        assert_eq!(names(&m), ["b", "body"]);
        m.push("<a xmlns='v'/>");
        assert!(m.cut(|c| c.ns_uri() == "v"), "what was pushed can be cut");
        assert!(m.cut(|c| c.name() == "b"));
        assert_eq!(written(&m), "<message> 0 1<body>3</body>4</message>");
        assert!(m.cut(|_| true));
        assert_eq!(written(&m), "<message> 0 14</message>");
        assert!(!m.cut(|_| true));
        let mut all = stanza("<message><a/><b/><c/></message>");
        let untouched = all.clone();
        assert!(all.cut(|_| true));
        assert_eq!((written(&all).as_str(), names(&untouched).len()), ("<message/>", 3));
    }

    #[test]
    fn wrapping() {
        let inner = stanza("<message to=\"a/'\" xml:lang='de' id=\"'\"><body>hi</body><o:x/></message>");
        let (before, after) =
            ("<received xmlns='urn:xmpp:carbons:2'><forwarded xmlns='urn:xmpp:forward:0'>", "</forwarded></received>");
        let mut outer = Stanza::new(Kind::Message, Type::Chat).with("<x xmlns='u'/>");
        outer.wrap(before, &inner, after);
        outer.push("<y xmlns='u'/>");
        assert_eq!(names(&outer), ["x", "y"], "nobody reads back what was wrapped");
        assert_eq!(
            written(&outer),
            format!(
                "<message type='chat'><x xmlns='u'/>{before}<message xmlns='jabber:client' to='a/&apos;' id=\"'\" xml:lang='de' \
                 xmlns:o='urn:o&apos;&amp;'><body>hi</body><o:x/></message>{after}<y xmlns='u'/></message>"
            )
        );
        assert!(!outer.cut(|c| c.name() == "received" || c.name() == "body"));
        assert!(outer.cut(|c| c.name() == "x"));
        let read = Stanza::parse(&written(&outer), Scope::client()).unwrap().unwrap();
        let message = read
            .child(Ns::CARBONS, "received")
            .unwrap()
            .child(Ns::FORWARD, "forwarded")
            .unwrap()
            .child(Ns::CLIENT, "message")
            .unwrap();
        assert_eq!(message.child(Ns::CLIENT, "body").unwrap().text(), "hi");
        // Without a body, and one in another.
        let mut empty = Stanza::new(Kind::Message, Type::None);
        empty.wrap("<w xmlns='u'>", &Stanza::new(Kind::Message, Type::Normal), "</w>");
        assert_eq!(
            written(&empty),
            "<message><w xmlns='u'><message xmlns='jabber:client' type='normal'/></w></message>"
        );
        let mut twice = Stanza::new(Kind::Message, Type::None);
        twice.wrap("<v xmlns='u'>", &empty, "</v>");
        assert!(written(&twice).contains("<v xmlns='u'><message xmlns='jabber:client'><w xmlns='u'>"));
        assert_eq!(twice.children().count(), 0);
    }

    #[test]
    fn notes_are_no_part_of_what_is_said() {
        let message = stanza("<message to='a' id='1'><body>hi</body></message>");
        let mut noted = message.clone();
        noted.note(Ns::SID, "stanza-id", &[("by", "a'<\"@b"), ("id", "x&")]);
        assert_eq!(
            written(&noted),
            "<message to='a' id='1'><body>hi</body><stanza-id xmlns='urn:xmpp:sid:0' by='a&apos;&lt;&quot;@b' id='x&amp;'/></message>"
        );
        let read = noted.child(Ns::SID, "stanza-id").unwrap();
        assert_eq!((read.attr("by").as_deref(), read.attr("id").as_deref()), (Some("a'<\"@b"), Some("x&")));
        assert!(noted.has_note(Ns::SID, "stanza-id") && !noted.has_note(Ns::CLIENT, "body"));
        assert!(!noted.clone().with("<stanza-id xmlns='urn:xmpp:sid:0'/>").has_note(Ns::SID, "x"));
        let mut bare = String::new();
        noted.write_bare(&mut bare);
        assert_eq!(bare, message.to_xml());
        assert!(message.same(&noted) && noted.same(&message));
        for other in
            ["<message to='b' id='1'><body>hi</body></message>", "<message to='a' id='2'><body>hi</body></message>"]
        {
            assert!(!stanza(other).same(&noted));
        }
        assert!(!noted.same(&noted.clone().with("<body/>")));
        let mut alone = Stanza::new(Kind::Message, Type::None);
        alone.note(Ns::DELAY, "delay", &[]);
        let mut bare = String::new();
        alone.write_bare(&mut bare);
        assert_eq!((bare.as_str(), names(&alone)), ("<message xmlns='jabber:client'></message>", vec!["delay"]));
    }

    #[test]
    fn what_is_forged_is_cut_and_notes_stay() {
        let mut m = stanza("<message><stanza-id xmlns='urn:xmpp:sid:0' by='a'/><body/></message>");
        m.note(Ns::SID, "stanza-id", &[("by", "a")]);
        let mut all = m.clone();
        assert!(m.cut_foreign(|c| c.ns() == Ns::SID));
        assert!(!m.cut_foreign(|c| c.ns() == Ns::SID));
        assert_eq!(names(&m), ["body", "stanza-id"]);
        assert!(all.cut(|c| c.ns() == Ns::SID));
        assert_eq!(names(&all), ["body"]);
    }

    #[test]
    #[should_panic(expected = "not-well-formed")]
    fn pushing_what_is_not_well_formed_is_a_mistake() {
        Stanza::new(Kind::Message, Type::None).push("<a>");
    }

    #[test]
    fn bytes_bound_the_text() {
        for xml in [
            MIXED,
            "<message to='a@b/c' from='d@e/f' id='1' type='chat' xml:lang='de'><body>x</body></message>",
            "<presence/>",
            "<message to='m/&gt;&gt;&gt;&gt;&gt;&gt;&gt;&gt;&gt;&gt;&gt;&gt;&gt;&gt;&gt;&gt;&gt;&gt;&gt;&gt;&gt;&gt;&gt;&gt;&gt;&gt;&gt;&gt;&gt;&gt;'/>",
            "<message to='m/&amp;&lt;&gt;&quot;&apos;&amp;&lt;&gt;&quot;&apos;&amp;&lt;&gt;&quot;&apos;&amp;&lt;&gt;&quot;&apos;'/>",
        ] {
            let s = stanza(xml);
            assert!(s.bytes() >= s.to_xml().len() && s.bytes() <= s.to_xml().len() + 98, "{xml}");
        }
    }
}
