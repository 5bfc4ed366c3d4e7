//! XML as RFC 6120 §11 has it: parsed and checked once, kept as the bytes that came in with an index of the elements.

use super::error::StreamError;
use super::ns::Ns;
use std::borrow::Cow;
use std::sync::Arc;

/// What came in, with an index of its elements; shared by reference. Also the text that the server itself rendered.
#[derive(Debug)]
pub struct Raw {
    xml: Box<str>,
    els: Box<[El]>,
}

/// One element in the index, in document order; 20 bytes.
#[derive(Clone, Copy, Debug)]
struct El {
    /// Where its `<` is.
    start: u32,
    /// Behind the `>` of its start tag.
    inner: u32,
    /// Behind its end tag.
    end: u32,
    /// The index of the first element behind it that is not inside it.
    next: u32,
    ns: Ns,
    /// Where the local name begins, counted from `start`; and its length.
    name_at: u8,
    name_len: u8,
}

/// The namespace declarations of the stream header, in whose scope every stanza stands.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    /// (prefix, name); the empty prefix is the default namespace.
    pub declared: Vec<(Box<str>, Box<str>)>,
}

/// A run of bytes of a [`Raw`]. Cloning shares them.
#[derive(Clone, Debug)]
pub struct Slice {
    raw: Arc<Raw>,
    start: u32,
    end: u32,
}

/// An element of a [`Raw`], to read.
#[derive(Clone, Copy, Debug)]
pub struct Node<'a> {
    raw: &'a Raw,
    at: u32,
}

impl Raw {
    /// Parses one whole element in `scope`, checking all that RFC 6120 §11.1 and Namespaces in XML ask.
    /// Errors: `not-well-formed`, `restricted-xml`, `bad-namespace-prefix`.
    pub fn parse(xml: &str, scope: &Scope) -> Result<Arc<Raw>, StreamError> {
        let _ = (xml, scope, Raw { xml: "".into(), els: Box::new([]) }.els);
        todo!()
    }

    /// The outermost element.
    pub fn root(&self) -> Node<'_> {
        Node { raw: self, at: 0 }
    }
}

impl<'a> Node<'a> {
    /// Its namespace.
    pub fn ns(self) -> Ns {
        todo!()
    }
    /// The text of its namespace name, also of one that is [`Ns::OTHER`].
    pub fn ns_uri(self) -> Cow<'a, str> {
        todo!()
    }
    /// Its local name.
    pub fn name(self) -> &'a str {
        todo!()
    }
    /// Whether it is that element.
    pub fn is(self, ns: Ns, name: &str) -> bool {
        self.ns() == ns && self.name() == name
    }
    /// The value of an attribute without namespace, entities resolved and white space normalized.
    pub fn attr(self, name: &str) -> Option<Cow<'a, str>> {
        let _ = (name, self.raw, self.at);
        todo!()
    }
    /// The value of `xml:lang`.
    pub fn lang(self) -> Option<Cow<'a, str>> {
        todo!()
    }
    /// Its child elements.
    pub fn children(self) -> impl Iterator<Item = Node<'a>> {
        std::iter::empty()
    }
    /// The first child of that name.
    pub fn child(self, ns: Ns, name: &str) -> Option<Node<'a>> {
        self.children().find(|c| c.is(ns, name))
    }
    /// Its own text, entities and CDATA resolved; without that of its children.
    pub fn text(self) -> Cow<'a, str> {
        todo!()
    }
    /// It whole, as it came in. Not self-contained if it uses a namespace declared outside it: see [`Node::copy`].
    pub fn xml(self) -> &'a str {
        todo!()
    }
    /// What is between its tags, as it came in.
    pub fn inner_xml(self) -> &'a str {
        todo!()
    }
    /// It whole, self-contained: the default namespace and the prefixes that it uses and that are declared outside it are
    /// declared in its start tag. What is stored or moved to another place is this.
    pub fn copy(self) -> String {
        todo!()
    }
}

/// Appends `text` escaped for element content and for attribute values in either quotes.
pub fn escape(text: &str, out: &mut String) {
    let _ = (text, out);
    todo!()
}

/// `text` escaped for element content and for attribute values in either quotes.
pub fn escaped(text: &str) -> Cow<'_, str> {
    let _ = text;
    todo!()
}
