//! The stanza: its head is data, its body is bytes.
//!
//! The start tag is written from fields; what is inside is routed, stored, fanned out and forwarded as the bytes that came
//! in, shared by reference, never serialized again.

use super::error::{StanzaError, StreamError};
use super::jid::Jid;
use super::ns::Ns;
use super::xml::{Node, Raw, Scope, Slice};
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
    /// The other attributes of the head, whole, as they came in: `xml:lang`, an unknown `type`, attributes with prefixes; and
    /// declarations of prefixes, among them those of the stream header that the body uses, so that it stands for itself.
    extra: Vec<Slice>,
    /// The children, as they came in, and what the server added.
    body: Vec<Slice>,
}

impl Stanza {
    /// Parses one framed element in the scope of its stream. A top-level element that is no stanza of the stream's default
    /// namespace: see [`Stanza::from_raw`].
    pub fn parse(xml: &str, scope: &Scope) -> Result<Option<Stanza>, StreamError> {
        Stanza::from_raw(Raw::parse(xml, scope)?, scope)
    }

    /// The stanza that an element is; `None` if it is something else (the stream's business).
    pub fn from_raw(raw: Arc<Raw>, scope: &Scope) -> Result<Option<Stanza>, StreamError> {
        let _ = (raw, scope);
        todo!()
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
    pub fn with_id(self, id: &str) -> Stanza {
        let _ = id;
        todo!()
    }

    /// The same with one more child, well-formed XML with its namespace.
    pub fn with(mut self, xml: impl Into<String>) -> Stanza {
        self.push(xml);
        self
    }

    /// The result of an IQ (RFC 6120 §8.2.3), with an optional payload (empty: none).
    pub fn result_of(iq: &Stanza, payload: impl Into<String>) -> Stanza {
        let _ = (iq, payload.into());
        todo!()
    }

    /// The error that answers a stanza: addresses swapped, same `id`. `None` where RFC 6120 §8.3.1 forbids one: for an error,
    /// and for a result.
    pub fn error_of(stanza: &Stanza, error: &StanzaError) -> Option<Stanza> {
        let _ = (stanza, error);
        todo!()
    }

    /// The `id`, unescaped.
    pub fn id(&self) -> Option<Cow<'_, str>> {
        todo!()
    }

    /// `xml:lang` of the head.
    pub fn lang(&self) -> Option<Cow<'_, str>> {
        todo!()
    }

    /// Its child elements.
    pub fn children(&self) -> impl Iterator<Item = Node<'_>> {
        std::iter::empty()
    }

    /// The first child of that name.
    pub fn child(&self, ns: Ns, name: &str) -> Option<Node<'_>> {
        self.children().find(|c| c.is(ns, name))
    }

    /// Adds a child, well-formed XML with its namespace, at the end: rendered once, then shared.
    pub fn push(&mut self, xml: impl Into<String>) {
        let _ = xml.into();
        todo!()
    }

    /// Removes the children that `which` picks; says whether there was one. The rest is shared, not copied.
    pub fn cut(&mut self, which: impl Fn(Node<'_>) -> bool) -> bool {
        let _ = which;
        todo!()
    }

    /// Removes all children.
    pub fn clear(&mut self) {
        self.body.clear();
    }

    /// Adds as one child `before`, then `other` whole in `jabber:client`, then `after`: carbons, archive results, forwards.
    /// `other`'s body is shared. The child is not seen by [`Stanza::children`]: nobody reads back what was wrapped.
    pub fn wrap(&mut self, before: &str, other: &Stanza, after: &str) {
        let _ = (before, other, after);
        todo!()
    }

    /// Appends it as XML; the only serializer. `default_ns`: what to declare as default namespace in its start tag, where it
    /// does not stand in a stream that declares it. A stanza is self-contained: whatever scope it came from, what is written
    /// means the same in a stream with no other declarations than the default namespace.
    pub fn write(&self, default_ns: Option<&str>, out: &mut String) {
        let _ = (default_ns, out);
        todo!()
    }

    /// It as XML in `jabber:client`, to store.
    pub fn to_xml(&self) -> String {
        let mut out = String::new();
        self.write(Some("jabber:client"), &mut out);
        out
    }

    /// How many bytes its text has, about: what limits and quotas count.
    pub fn bytes(&self) -> usize {
        todo!()
    }
}
