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
use std::sync::Arc;

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

/// A stanza.
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
    /// The value of `id` with its quotes, as it came in.
    id: Option<Slice>,
    /// The other attributes of the head, one each, as they came in: `xml:lang`, an unknown `type`, attributes with prefixes;
    /// and declarations of prefixes, among them those of the stream header that the stanza uses, so that it stands for itself.
    extra: Vec<Slice>,
    /// The children, as they came in, and what the server added.
    body: Vec<Part>,
}

/// A piece of a body.
#[derive(Clone, Debug)]
struct Part {
    slice: Slice,
    /// Whether its elements are children of the stanza; not so for pieces of a child that was wrapped.
    children: bool,
}

impl Stanza {
    /// Parses one framed element in the scope of its stream. A top-level element that is no stanza of the stream's default
    /// namespace: see [`Stanza::from_raw`].
    pub fn parse(xml: &str, scope: &Scope) -> Result<Option<Stanza>, StreamError> {
        Stanza::from_raw(Raw::parse(xml, scope)?, scope)
    }

    /// The stanza that an element is; `None` if it is something else (the stream's business): another name, or another
    /// namespace than the stream's default one, which must be `jabber:client` or `jabber:server`. `scope` is what `raw` was
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
        // What is in `jabber:server` is shown as `jabber:client` where it is the stream's default.
        if root.ns() != Ns::CLIENT || !root.prefix().is_empty() {
            return Ok(None);
        }
        let mut stanza = Stanza::new(kind, Type::None);
        for attr in root.raw_attrs() {
            let (start, end, value_len) = attr.place();
            match attr.name {
                "to" => (stanza.to, stanza.bad_to) = address(&attr.value()),
                "from" => (stanza.from, stanza.bad_from) = address(&attr.value()),
                "id" => stanza.id = Some(Slice::of(&raw, end - value_len, end)),
                "xmlns" if attr.value() == scope.default_ns() => {}
                "xmlns" => return Ok(None),
                "type" => {
                    stanza.ty = Type::of(kind, &attr.value());
                    if stanza.ty == Type::Unknown {
                        stanza.extra.push(Slice::of(&raw, start, end));
                    }
                }
                _ => stanza.extra.push(Slice::of(&raw, start, end)),
            }
        }
        for (prefix, uri) in raw.outer_prefixes() {
            let mut declaration = String::new();
            write_declaration(prefix, uri, &mut declaration);
            stanza.extra.push(Slice::whole(Raw::rendered(declaration)));
        }
        let (start, end) = root.inner_place();
        if start < end {
            stanza.body.push(Part { slice: Slice::of(&raw, start as usize, end as usize), children: true });
        }
        Ok(Some(stanza))
    }

    /// A new one with an empty body.
    pub fn new(kind: Kind, ty: Type) -> Stanza {
        Stanza { kind, ty, to: None, from: None, bad_to: false, bad_from: false, id: None, extra: vec![], body: vec![] }
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
        self.id = Some(Slice::whole(Raw::rendered(quoted)));
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
        Stanza { to: self.from.clone(), from: self.to.clone(), id: self.id.clone(), ..Stanza::new(self.kind, ty) }
    }

    /// The `id`, unescaped.
    pub fn id(&self) -> Option<Cow<'_, str>> {
        let quoted = self.id.as_ref()?.as_str();
        Some(unescape(quoted.get(1..quoted.len().saturating_sub(1))?, true))
    }

    /// `xml:lang` of the head.
    pub fn lang(&self) -> Option<Cow<'_, str>> {
        let mut attrs = self.extra.iter().flat_map(|slice| Attrs::of(slice.as_str()));
        attrs.find(|attr| attr.name == "xml:lang").map(Attr::value)
    }

    /// Its child elements.
    pub fn children(&self) -> impl Iterator<Item = Node<'_>> {
        self.body.iter().filter(|part| part.children).flat_map(|part| part.slice.nodes())
    }

    /// The first child of that name.
    pub fn child(&self, ns: Ns, name: &str) -> Option<Node<'_>> {
        self.children().find(|c| c.is(ns, name))
    }

    /// Adds a child, well-formed XML with its namespace, at the end: rendered once, then shared. Without a namespace of its
    /// own it is in that of the stanza. Text that is not one well-formed element is a mistake of the caller; it is left out,
    /// as it would break the stream of everybody who gets it.
    pub fn push(&mut self, xml: impl Into<String>) {
        let xml = xml.into();
        match Raw::parse(&xml, Scope::client()) {
            Ok(raw) => self.body.push(Part { slice: Slice::whole(raw), children: true }),
            Err(e) => {
                debug_assert!(false, "{e}: {xml}");
                log::error!("a child that is not well-formed was left out: {e}");
            }
        }
    }

    /// Removes the children that `which` picks; says whether there was one. The rest is shared, not copied.
    pub fn cut(&mut self, which: impl Fn(Node<'_>) -> bool) -> bool {
        if !self.children().any(&which) {
            return false;
        }
        let mut body = Vec::with_capacity(self.body.len() + 1);
        for Part { slice, children } in std::mem::take(&mut self.body) {
            let mut rest = slice.clone();
            if children {
                for node in slice.nodes().filter(|node| which(*node)) {
                    let (start, end) = node.place();
                    let (before, behind) = rest.split(start, end);
                    if !before.as_str().is_empty() {
                        body.push(Part { slice: before, children });
                    }
                    rest = behind;
                }
            }
            if !rest.as_str().is_empty() {
                body.push(Part { slice: rest, children });
            }
        }
        self.body = body;
        true
    }

    /// Removes all children.
    pub fn clear(&mut self) {
        self.body.clear();
    }

    /// Adds as one child `before`, then `other` whole in `jabber:client`, then `after`: carbons, archive results, forwards.
    /// `other`'s body is shared. The child is not seen by [`Stanza::children`]: nobody reads back what was wrapped.
    pub fn wrap(&mut self, before: &str, other: &Stanza, after: &str) {
        let add =
            |body: &mut Vec<Part>, xml| body.push(Part { slice: Slice::whole(Raw::rendered(xml)), children: false });
        let mut xml = String::with_capacity(before.len() + 256);
        xml.push_str(before);
        other.write_head(Some("jabber:client"), &mut xml);
        if !other.body.is_empty() {
            add(&mut self.body, std::mem::take(&mut xml));
            self.body.extend(other.body.iter().map(|part| Part { slice: part.slice.clone(), children: false }));
        }
        other.write_end(&mut xml);
        xml.push_str(after);
        add(&mut self.body, xml);
    }

    /// Appends it as XML; the only serializer. `default_ns`: what to declare as default namespace in its start tag, where it
    /// does not stand in a stream that declares it. A stanza is self-contained: whatever scope it came from, what is written
    /// means the same in a stream with no other declarations than the default namespace.
    pub fn write(&self, default_ns: Option<&str>, out: &mut String) {
        out.reserve(self.bytes());
        self.write_head(default_ns, out);
        for part in &self.body {
            out.push_str(part.slice.as_str());
        }
        self.write_end(out);
    }

    /// The start tag; what makes it an empty element is left to [`Stanza::write_end`].
    fn write_head(&self, default_ns: Option<&str>, out: &mut String) {
        out.push('<');
        out.push_str(self.kind.as_str());
        let mut attribute = |name: &str, value: &str| {
            out.push_str(name);
            escape(value, out);
            out.push('\'');
        };
        if let Some(ns) = default_ns {
            attribute(" xmlns='", ns);
        }
        if let Some(to) = &self.to {
            attribute(" to='", to.as_str());
        }
        if let Some(from) = &self.from {
            attribute(" from='", from.as_str());
        }
        if !self.ty.as_str().is_empty() {
            attribute(" type='", self.ty.as_str());
        }
        if let Some(id) = &self.id {
            out.push_str(" id=");
            out.push_str(id.as_str());
        }
        for slice in &self.extra {
            // An unknown type that came in, and a known one that was set since.
            let stale = self.ty != Type::Unknown && Attrs::of(slice.as_str()).any(|attr| attr.name == "type");
            if !stale {
                out.push(' ');
                out.push_str(slice.as_str());
            }
        }
        if !self.body.is_empty() {
            out.push('>');
        }
    }

    fn write_end(&self, out: &mut String) {
        if self.body.is_empty() {
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
        let jid = |jid: &Option<Jid>| jid.as_ref().map_or(0, |jid| jid.as_str().len());
        let slices = self.id.iter().chain(&self.extra).chain(self.body.iter().map(|part| &part.slice));
        AROUND_BYTES + jid(&self.to) + jid(&self.from) + slices.map(|slice| slice.as_str().len()).sum::<usize>()
    }
}

/// Reads an address: what it is, and whether it is none.
fn address(text: &str) -> (Option<Jid>, bool) {
    let jid = Jid::parse(text).ok();
    let bad = jid.is_none();
    (jid, bad)
}
