//! XML as RFC 6120 §11 has it: parsed and checked once, kept as the bytes that came in with an index of the elements.
//!
//! The tokenizer knows the grammar of tags, names and characters. What it leaves is done here: end tags that match,
//! duplicate attributes, namespaces, references, and the refusal of all that RFC 6120 §11.1 restricts. Reading an index
//! that was built needs no checks again, so attributes and text are read by a plain scan of the bytes.

use super::error::{StreamCondition, StreamError};
use super::ns::Ns;
use memchr::{memchr, memchr3, memrchr};
use std::borrow::Cow;
use std::sync::{Arc, LazyLock};
use xmlparser::{ElementEnd, StrSpan, Stream, Token, Tokenizer, XmlCharExt};

/// The longest name of an element, in bytes, with its prefix: the index has a byte for it.
const NAME_BYTES: usize = 255;

/// The longest namespace name in a stream header, in bytes: it is repeated in every stanza that uses it.
const HEADER_NAMESPACE_BYTES: usize = 255;

/// How many prefixes may be declared at one place in a stanza: each prefixed name is looked up among them.
const PREFIXES_IN_SCOPE: usize = 64;

/// How many bytes of XML there are for an element in usual stanzas: a guess for the size of the index.
const BYTES_PER_ELEMENT: usize = 64;

/// No element: where the index says which one an open element is in.
const NONE: u32 = u32::MAX;

/// What came in, with an index of its elements; shared by reference. Also the text that the server itself rendered.
#[derive(Debug)]
pub struct Raw {
    xml: Box<str>,
    els: Box<[El]>,
    /// The default namespace that the outermost element stands in. `jabber:server` and `jabber:component:accept` are shown as
    /// `jabber:client`.
    default: Ns,
    /// The declarations outside that are used inside: the prefixes, and a default namespace that is [`Ns::OTHER`].
    outer: Declarations,
}

/// One element in the index, in document order; 20 bytes.
#[derive(Clone, Copy, Debug)]
struct El {
    /// Where its `<` is.
    start: u32,
    /// Behind the `>` of its start tag.
    inner: u32,
    /// Behind its end tag. While it is being parsed: the index of the element around it.
    end: u32,
    /// The index of the first element behind it that is not inside it. While it is being parsed: the default namespace
    /// around it.
    next: u32,
    ns: Ns,
    /// Where the local name begins, counted from `start`; and its length.
    name_at: u8,
    name_len: u8,
}

/// Pairs of prefix and namespace name.
type Declarations = Box<[(Box<str>, Box<str>)]>;

/// The namespace declarations of the stream header, in whose scope every stanza stands.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    /// (prefix, name); the empty prefix is the default namespace.
    pub declared: Vec<(Box<str>, Box<str>)>,
}

/// A run of bytes of a [`Raw`]. Cloning shares them. Two are equal if their bytes are.
#[derive(Clone, Debug)]
pub struct Slice {
    raw: Arc<Raw>,
    start: u32,
    end: u32,
}

impl PartialEq for Slice {
    fn eq(&self, other: &Slice) -> bool {
        self.as_str() == other.as_str()
    }
}
impl Eq for Slice {}

/// An element of a [`Raw`], to read.
#[derive(Clone, Copy, Debug)]
pub struct Node<'a> {
    raw: &'a Raw,
    at: u32,
}

/// The text behind the XML declaration, if one stands before it, and behind white space.
fn behind_declaration(text: &str) -> Result<&str, StreamError> {
    let text = text.trim_start_matches(is_space);
    let Some(rest) = text.strip_prefix("<?xml").filter(|rest| rest.starts_with(is_space)) else { return Ok(text) };
    let (declaration, behind) = rest.split_once("?>").ok_or_else(not_well_formed)?;
    // The tokenizer wants one space there; XML any white space.
    let declaration = format!("<?xml {}?>", declaration.trim_start_matches(is_space));
    match Tokenizer::from(declaration.as_str()).next() {
        Some(Ok(Token::Declaration { encoding, .. })) => match encoding {
            Some(encoding) if !encoding.as_str().eq_ignore_ascii_case("utf-8") => {
                Err(StreamCondition::UnsupportedEncoding.into())
            }
            _ => Ok(behind.trim_start_matches(is_space)),
        },
        _ => Err(not_well_formed()),
    }
}

impl Scope {
    /// With nothing but a default namespace.
    pub fn of(default: &str) -> Scope {
        Scope { declared: vec![("".into(), default.into())] }
    }

    /// With nothing but `jabber:client` as default namespace: where stored stanzas and those made here stand.
    pub fn client() -> &'static Scope {
        static CLIENT: LazyLock<Scope> = LazyLock::new(|| Scope::of("jabber:client"));
        &CLIENT
    }

    /// The name that a prefix stands for; empty: the default namespace.
    pub fn get(&self, prefix: &str) -> Option<&str> {
        self.declared.iter().rev().find(|(p, _)| **p == *prefix).map(|(_, uri)| &**uri)
    }

    /// The default namespace; empty if there is none.
    pub fn default_ns(&self) -> &str {
        self.get("").unwrap_or("")
    }
}

impl Raw {
    /// Parses one whole element in `scope`, checking all that RFC 6120 §11.1 and Namespaces in XML ask.
    /// Errors: `not-well-formed`, `restricted-xml`, and `policy-violation` for a name of more than 255 bytes or more than 64
    /// prefixes at one place.
    ///
    /// Where the default namespace of `scope` is `jabber:server` or `jabber:component:accept`, what inherits it is shown as
    /// `jabber:client`: it is what the same element means in a client's stream.
    pub fn parse(xml: &str, scope: &Scope) -> Result<Arc<Raw>, StreamError> {
        let mut parser = Parser::new(xml, scope)?;
        parser.run()?;
        let mut outer: Vec<(Box<str>, Box<str>)> = parser.used.iter().map(|at| scope.declared[*at].clone()).collect();
        if parser.outer_default == Ns::OTHER && !scope.default_ns().is_empty() {
            outer.push(("".into(), scope.default_ns().into()));
        }
        let default = parser.outer_default;
        Ok(Arc::new(Raw { els: parser.els.into(), xml: xml.into(), default, outer: outer.into() }))
    }

    /// Parses a stream header with the XML declaration that may stand before it: the start tag as an empty element, and the
    /// scope that it makes. Errors: as [`Raw::parse`], and `unsupported-encoding` (RFC 6120 §4.9.3.22).
    pub fn header(text: &str) -> Result<(Arc<Raw>, Scope), StreamError> {
        let tag = behind_declaration(text)?.strip_suffix('>').ok_or_else(not_well_formed)?;
        let raw = Raw::parse(&format!("{tag}/>"), &Scope::default())?;
        let mut scope = Scope::default();
        for attr in raw.root().raw_attrs() {
            let prefix = match attr.name {
                "xmlns" => "",
                name => match name.strip_prefix("xmlns:") {
                    Some(prefix) => prefix,
                    None => continue,
                },
            };
            let uri = attr.value();
            if uri.len() > HEADER_NAMESPACE_BYTES {
                return Err(StreamError::new(StreamCondition::PolicyViolation).text("a namespace name is too long"));
            }
            scope.declared.push((prefix.into(), uri.into()));
        }
        Ok((raw, scope))
    }

    /// Parses an element that is a document of its own, with the XML declaration that may stand before it: nothing is declared around it.
    /// Errors: as [`Raw::header`].
    pub fn document(text: &str) -> Result<Arc<Raw>, StreamError> {
        Raw::parse(behind_declaration(text)?.trim_end_matches(is_space), &Scope::default())
    }

    /// Text that the server made: without an index, so without a root. To be written only.
    pub(super) fn rendered(xml: String) -> Arc<Raw> {
        Arc::new(Raw { xml: xml.into(), els: Box::new([]), default: Ns::OTHER, outer: Box::new([]) })
    }

    /// An empty element that the server made, with its index. Attributes are name and value, unescaped.
    pub(super) fn empty(ns: Ns, name: &str, attributes: &[(&str, &str)]) -> Arc<Raw> {
        // Exact, if nothing must be escaped: then it is not copied once more.
        let values: usize = attributes.iter().map(|(name, value)| name.len() + value.len() + " =''".len()).sum();
        let mut xml = String::with_capacity("< xmlns=''/>".len() + name.len() + ns.uri().len() + values);
        xml.push('<');
        xml.push_str(name);
        for (name, value) in [("xmlns", ns.uri())].iter().chain(attributes) {
            xml.push(' ');
            xml.push_str(name);
            xml.push_str("='");
            escape(value, &mut xml);
            xml.push('\'');
        }
        xml.push_str("/>");
        let end = xml.len() as u32;
        // Names of the server's own are short.
        let el = El { start: 0, inner: end, end, next: 1, ns, name_at: 1, name_len: name.len() as u8 };
        Arc::new(Raw { xml: xml.into(), els: Box::new([el]), default: Ns::CLIENT, outer: Box::new([]) })
    }

    /// The outermost element.
    pub fn root(&self) -> Node<'_> {
        Node { raw: self, at: 0 }
    }

    /// What is declared outside and used inside, without a default namespace.
    pub(super) fn outer_prefixes(&self) -> impl Iterator<Item = (&str, &str)> {
        self.outer.iter().filter(|(prefix, _)| !prefix.is_empty()).map(|(prefix, uri)| (&**prefix, &**uri))
    }

    fn text(&self, start: u32, end: u32) -> &str {
        &self.xml[start as usize..end as usize]
    }

    /// The elements from `at` on whose start is before `end`, without those inside them.
    fn siblings(&self, at: u32, end: u32) -> impl Iterator<Item = Node<'_>> {
        let mut at = at;
        std::iter::from_fn(move || {
            let el = self.els.get(at as usize).filter(|el| el.start < end)?;
            let node = Node { raw: self, at };
            at = el.next;
            Some(node)
        })
    }
}

impl Slice {
    pub(super) fn whole(raw: Arc<Raw>) -> Slice {
        Slice { start: 0, end: raw.xml.len() as u32, raw }
    }

    /// A part of its raw, by byte offsets.
    pub(super) fn of(raw: &Arc<Raw>, start: usize, end: usize) -> Slice {
        Slice { raw: raw.clone(), start: start as u32, end: end as u32 }
    }

    /// The bytes.
    pub fn as_str(&self) -> &str {
        self.raw.text(self.start, self.end)
    }

    /// The elements in it, without those inside them.
    pub(super) fn nodes(&self) -> impl Iterator<Item = Node<'_>> {
        let first = self.raw.els.partition_point(|el| el.start < self.start);
        self.raw.siblings(first as u32, self.end)
    }

    /// It in two, without the element between them; each may be empty. The element is one of [`Slice::nodes`].
    pub(super) fn split(self, node_start: u32, node_end: u32) -> (Slice, Slice) {
        let before = Slice { raw: self.raw.clone(), start: self.start, end: node_start };
        (before, Slice { start: node_end, ..self })
    }
}

impl<'a> Node<'a> {
    fn el(self) -> &'a El {
        &self.raw.els[self.at as usize]
    }

    /// Its place, in bytes of its raw.
    pub(super) fn place(self) -> (u32, u32) {
        (self.el().start, self.el().end)
    }

    /// The place of what is between its tags, in bytes of its raw.
    pub(super) fn inner_place(self) -> (u32, u32) {
        let el = self.el();
        // Its own end tag is the last there is inside; that of an empty element is not there.
        let end = memrchr(b'<', self.raw.text(el.inner, el.end).as_bytes()).map_or(el.inner, |at| el.inner + at as u32);
        (el.inner, end)
    }

    /// The namespace; [`Ns::OTHER`] for one that the server does not know.
    pub fn ns(self) -> Ns {
        self.el().ns
    }

    /// The text of its namespace name, also of one that is [`Ns::OTHER`].
    pub fn ns_uri(self) -> Cow<'a, str> {
        match self.ns() {
            Ns::OTHER => self.declared(self.prefix()).unwrap_or_default(),
            ns => Cow::Borrowed(ns.uri()),
        }
    }

    /// Its local name.
    pub fn name(self) -> &'a str {
        let el = self.el();
        let start = el.start + u32::from(el.name_at);
        self.raw.text(start, start + u32::from(el.name_len))
    }

    /// Its prefix; mostly empty.
    pub fn prefix(self) -> &'a str {
        let el = self.el();
        match el.name_at {
            0 | 1 => "",
            name_at => self.raw.text(el.start + 1, el.start + u32::from(name_at) - 1),
        }
    }

    /// Whether it is that element.
    pub fn is(self, ns: Ns, name: &str) -> bool {
        self.ns() == ns && self.name() == name
    }

    /// The value of an attribute without namespace, entities resolved and white space normalized.
    pub fn attr(self, name: &str) -> Option<Cow<'a, str>> {
        self.raw_attrs().find(|attr| attr.name == name).map(Attr::value)
    }

    /// The value of `xml:lang`.
    pub fn lang(self) -> Option<Cow<'a, str>> {
        self.attr("xml:lang")
    }

    /// Its attributes: the names with their prefixes, and the values. Namespace declarations are among them.
    pub fn attrs(self) -> impl Iterator<Item = (&'a str, Cow<'a, str>)> {
        self.raw_attrs().map(|attr| (attr.name, attr.value()))
    }

    /// Its attributes as they came in.
    pub(super) fn raw_attrs(self) -> Attrs<'a> {
        let el = self.el();
        let at = el.start as usize + usize::from(el.name_at) + usize::from(el.name_len);
        Attrs { text: &self.raw.xml[..el.inner as usize], at }
    }

    /// Its child elements.
    pub fn children(self) -> impl Iterator<Item = Node<'a>> {
        self.raw.siblings(self.at + 1, self.el().end)
    }

    /// The first child of that name.
    pub fn child(self, ns: Ns, name: &str) -> Option<Node<'a>> {
        self.children().find(|c| c.is(ns, name))
    }

    /// Its own text, entities and CDATA resolved; without that of its children.
    pub fn text(self) -> Cow<'a, str> {
        let (mut at, end) = self.inner_place();
        let mut text = Cow::Borrowed("");
        for child in self.children() {
            let (start, behind) = child.place();
            read_text(self.raw.text(at, start), &mut text);
            at = behind;
        }
        read_text(self.raw.text(at, end), &mut text);
        text
    }

    /// It whole, as it came in. Not self-contained if it uses a namespace declared outside it: see [`Node::copy`].
    pub fn xml(self) -> &'a str {
        let (start, end) = self.place();
        self.raw.text(start, end)
    }

    /// What is between its tags, as it came in.
    pub fn inner_xml(self) -> &'a str {
        let (start, end) = self.inner_place();
        self.raw.text(start, end)
    }

    /// It whole, self-contained: the default namespace and the prefixes that it uses and that are declared outside it are
    /// declared in its start tag. What is stored or moved to another place is this.
    pub fn copy(self) -> String {
        self.copy_within(&self.around())
    }

    /// Its child elements, each with its [copy](Node::copy). What is declared in this element is in each copy that needs it, so together
    /// they can be a thousand times as long as what came in: whoever puts them together stops when that is too long.
    pub fn copies(self) -> impl Iterator<Item = (Node<'a>, String)> {
        let mut around = self.around();
        around.push(self);
        self.children().map(move |child| (child, child.copy_within(&around)))
    }

    /// Its copy, where these elements are around it, the outermost first.
    fn copy_within(self, around: &[Node<'a>]) -> String {
        let el = self.el();
        let split = el.start + u32::from(el.name_at) + u32::from(el.name_len);
        let mut out = String::with_capacity((el.end - el.start) as usize + 48);
        out.push_str(self.raw.text(el.start, split));
        let mut seen: Vec<&str> = self.raw_attrs().filter_map(|attr| attr.declares()).collect();
        if !seen.contains(&"") {
            out.push(' ');
            write_declaration("", &self.default_ns(around), &mut out);
        }
        // The innermost declaration of each prefix that is used and is not its own.
        let mut declare = |prefix: &'a str, write: &dyn Fn(&mut String)| {
            if !prefix.is_empty() && !seen.contains(&prefix) {
                seen.push(prefix);
                if self.uses(prefix) {
                    out.push(' ');
                    write(&mut out);
                }
            }
        };
        for attr in around.iter().rev().flat_map(|node| node.raw_attrs()) {
            if let Some(prefix) = attr.declares() {
                // With the quotes that it came with.
                declare(prefix, &|out| out.push_str(attr.whole));
            }
        }
        for (prefix, uri) in &self.raw.outer {
            declare(prefix, &|out| write_declaration(prefix, uri, out));
        }
        out.push_str(self.raw.text(split, el.end));
        out
    }

    /// The default namespace in the innermost of the elements `around`.
    fn default_ns(self, around: &[Node<'a>]) -> Cow<'a, str> {
        for node in around.iter().rev() {
            if let Some(attr) = node.raw_attrs().find(|attr| attr.declares() == Some("")) {
                // The index knows what the root's own is shown as.
                return if node.at == 0 && node.prefix().is_empty() { node.ns_uri() } else { attr.value() };
            }
        }
        match self.raw.default {
            Ns::OTHER => self.raw.outer.iter().find(|(p, _)| p.is_empty()).map_or("", |(_, uri)| uri).into(),
            ns => ns.uri().into(),
        }
    }

    /// Whether a prefix occurs in it.
    fn uses(self, prefix: &str) -> bool {
        let named = |name: &str| name.strip_prefix(prefix).is_some_and(|rest| rest.starts_with(':'));
        (self.at..self.el().next).map(|at| Node { raw: self.raw, at }).any(|node| {
            node.prefix() == prefix || node.raw_attrs().any(|attr| attr.declares().is_none() && named(attr.name))
        })
    }

    /// The elements around it, the outermost first.
    fn around(self) -> Vec<Node<'a>> {
        let mut around = Vec::new();
        let mut at = 0;
        while at < self.at {
            let el = &self.raw.els[at as usize];
            if el.next > self.at {
                around.push(Node { raw: self.raw, at });
                at += 1;
            } else {
                at = el.next;
            }
        }
        around
    }

    /// What a prefix stands for in it.
    fn declared(self, prefix: &str) -> Option<Cow<'a, str>> {
        if prefix == "xml" {
            return Some(Cow::Borrowed(Ns::XML.uri()));
        }
        let mut places = self.around();
        places.push(self);
        let mut declarations = places.iter().rev().flat_map(|node| node.raw_attrs());
        if let Some(attr) = declarations.find(|attr| attr.declares() == Some(prefix)) {
            return Some(attr.value());
        }
        let outer = self.raw.outer.iter().find(|(p, _)| **p == *prefix);
        outer.map(|(_, uri)| Cow::Borrowed(&**uri))
    }
}

/// Appends a namespace declaration, without a space before it.
pub(super) fn write_declaration(prefix: &str, uri: &str, out: &mut String) {
    out.push_str("xmlns");
    if !prefix.is_empty() {
        out.push(':');
        out.push_str(prefix);
    }
    out.push_str("='");
    escape(uri, out);
    out.push('\'');
}

/// An attribute as it came in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attr<'a> {
    /// With its prefix.
    pub(super) name: &'a str,
    /// Name, equals sign and value with its quotes.
    pub(super) whole: &'a str,
    /// Where `whole` ends in the text that was scanned.
    pub(super) end: usize,
    /// The value between the quotes.
    value: &'a str,
}

impl<'a> Attr<'a> {
    /// Entities resolved and white space normalized.
    pub(super) fn value(self) -> Cow<'a, str> {
        unescape(self.value, true)
    }

    /// The place of `whole`, and how long the value with its quotes is.
    pub(super) fn place(self) -> (usize, usize, usize) {
        (self.end - self.whole.len(), self.end, self.value.len() + 2)
    }

    /// The prefix that it declares, empty for the default namespace; `None` if it is no declaration.
    fn declares(self) -> Option<&'a str> {
        match self.name {
            "xmlns" => Some(""),
            name => name.strip_prefix("xmlns:"),
        }
    }
}

/// Scans the attributes of a start tag that has been checked, from behind the element's name.
#[derive(Clone, Debug)]
pub(super) struct Attrs<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Attrs<'a> {
    /// Of attributes alone, without a tag around them.
    pub(super) fn of(text: &'a str) -> Attrs<'a> {
        Attrs { text, at: 0 }
    }
}

impl<'a> Iterator for Attrs<'a> {
    type Item = Attr<'a>;

    fn next(&mut self) -> Option<Attr<'a>> {
        let bytes = self.text.as_bytes();
        let skip = |mut at: usize| {
            while bytes.get(at).is_some_and(|b| is_space(*b as char)) {
                at += 1;
            }
            at
        };
        let start = skip(self.at);
        // A name has no equals sign, and behind the last value there is none.
        let equals = start + bytes[start..].iter().position(|b| *b == b'=')?;
        let mut end = equals;
        while end > start && is_space(bytes[end - 1] as char) {
            end -= 1;
        }
        let name = &self.text[start..end];
        let quote = skip(equals + 1);
        let value = quote + 1;
        let len = memchr(*bytes.get(quote)?, &bytes[value..])?;
        self.at = value + len + 1;
        Some(Attr { name, whole: &self.text[start..self.at], end: self.at, value: &self.text[value..value + len] })
    }
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

/// What is known while the index is built.
struct Parser<'a> {
    xml: &'a str,
    scope: &'a Scope,
    /// Whether there is a `&` anywhere.
    references: bool,
    els: Vec<El>,
    /// The innermost element that is open.
    open: u32,
    /// The default namespace outside.
    outer_default: Ns,
    /// The default namespace in force; and whether the start tag at hand declares it.
    default: Ns,
    own_default: bool,
    /// The prefixes in force, the innermost last.
    prefixes: Vec<Binding<'a>>,
    /// The local names of the attributes of the start tag at hand, without declarations: a bit for each, by [`name_bit`].
    names: u64,
    /// Whether those have to be looked at again when all declarations are known: two may have the same name, or there are
    /// prefixes. Mostly it is not so, and they need not be kept.
    again: bool,
    /// The prefixes of `scope` that occurred, by their place in it.
    used: Vec<usize>,
    /// The identity that the next new namespace gets.
    next_id: u32,
}

/// A prefix, with the element that declares it.
struct Binding<'a> {
    owner: u32,
    prefix: &'a str,
    uri: Cow<'a, str>,
    ns: Ns,
    /// The same number for the same namespace name: comparing long names once is enough.
    id: u32,
}

/// The identity of no namespace, and of that of `xml:`; then follow those of the scope.
const NO_ID: u32 = 0;
const XML_ID: u32 = 1;
const SCOPE_ID: u32 = 2;

impl<'a> Parser<'a> {
    fn new(xml: &'a str, scope: &'a Scope) -> Result<Parser<'a>, StreamError> {
        if u32::try_from(xml.len()).is_err() {
            return Err(StreamError::new(StreamCondition::PolicyViolation).text("the element is too long"));
        }
        let outer_default = match Ns::of(scope.default_ns()) {
            Ns::SERVER | Ns::COMPONENT => Ns::CLIENT,
            ns => ns,
        };
        Ok(Parser {
            xml,
            scope,
            references: memchr(b'&', xml.as_bytes()).is_some(),
            els: Vec::with_capacity(1 + xml.len() / BYTES_PER_ELEMENT),
            open: NONE,
            outer_default,
            default: outer_default,
            own_default: false,
            prefixes: Vec::new(),
            names: 0,
            again: false,
            next_id: SCOPE_ID + scope.declared.len() as u32,
            used: Vec::new(),
        })
    }

    fn run(&mut self) -> Result<(), StreamError> {
        let xml = self.xml;
        let mut tokens = Tokenizer::from_fragment(xml, 0..xml.len());
        let mut behind = 0;
        while let Some(token) = tokens.next() {
            behind = match token {
                Ok(Token::ElementStart { prefix, local, span }) => {
                    self.start(span.start(), prefix.as_str(), local)?;
                    span.end()
                }
                Ok(Token::Attribute { prefix, local, value, span }) => {
                    // A name like `:a`, which the tokenizer takes for one without prefix.
                    if prefix.is_empty() && local.start() != span.start() {
                        return Err(not_well_formed());
                    }
                    self.attribute(prefix.as_str(), local.as_str(), value.as_str())?;
                    span.end()
                }
                Ok(Token::ElementEnd { end, span }) => {
                    match end {
                        ElementEnd::Open => self.tag_end(span.end())?,
                        ElementEnd::Empty => {
                            self.tag_end(span.end())?;
                            self.close(span.end());
                        }
                        ElementEnd::Close(_, local) => self.end_tag(span, local.end())?,
                    }
                    let text = span.end() + plain_text(&xml[span.end()..]);
                    if text > span.end() {
                        self.inside()?;
                        tokens = Tokenizer::from_fragment(xml, text..xml.len());
                    }
                    text
                }
                Ok(Token::Text { text }) => {
                    self.inside()?;
                    self.check(text.as_str())?;
                    text.end()
                }
                Ok(Token::Cdata { span, .. }) => {
                    self.inside()?;
                    span.end()
                }
                Ok(_) => return Err(StreamCondition::RestrictedXml.into()),
                Err(_) => return Err(self.refused(behind)),
            };
        }
        if self.open != NONE || self.els.is_empty() {
            return Err(not_well_formed());
        }
        Ok(())
    }

    /// The error for what the tokenizer refuses: a DTD, a declaration and the like are restricted, whatever is wrong in them.
    fn refused(&self, at: usize) -> StreamError {
        let rest = &self.xml[at..];
        match rest.starts_with("<?") || rest.starts_with("<!") && !rest.starts_with("<![") {
            true => StreamCondition::RestrictedXml.into(),
            false => not_well_formed(),
        }
    }

    /// Checks that every `&` begins a reference that XML defines. One to another entity is restricted (RFC 6120 §11.1).
    fn check(&self, text: &str) -> Result<(), StreamError> {
        let mut rest = if self.references { text } else { "" };
        while let Some(at) = memchr(b'&', rest.as_bytes()) {
            let (_, len) = reference(&rest[at + 1..])?;
            rest = &rest[at + 1 + len..];
        }
        Ok(())
    }

    /// Checks that an element is open.
    fn inside(&self) -> Result<(), StreamError> {
        if self.open == NONE { Err(not_well_formed()) } else { Ok(()) }
    }

    /// An end tag, whose name ends at `name_end`.
    fn end_tag(&mut self, tag: StrSpan, name_end: usize) -> Result<(), StreamError> {
        let Some(el) = self.els.get(self.open as usize) else { return Err(not_well_formed()) };
        let name = el.start as usize + 1..el.start as usize + usize::from(el.name_at) + usize::from(el.name_len);
        if self.xml[name] != self.xml[tag.start() + 2..name_end] {
            return Err(StreamError::new(StreamCondition::NotWellFormed).text("an end tag does not match"));
        }
        self.close(tag.end());
        Ok(())
    }

    /// Puts an element into the index.
    fn start(&mut self, start: usize, prefix: &str, local: StrSpan) -> Result<(), StreamError> {
        // A second root; a name like `:a`, which the tokenizer takes for one without prefix; the prefix that nothing may have.
        let colon = prefix.is_empty() && local.start() != start + 1;
        if self.open == NONE && !self.els.is_empty() || colon || prefix == "xmlns" {
            return Err(not_well_formed());
        }
        if local.end() - start > NAME_BYTES + 1 {
            return Err(StreamError::new(StreamCondition::PolicyViolation).text("a name is too long"));
        }
        let (name_at, name_len) = ((local.start() - start) as u8, (local.end() - local.start()) as u8);
        let at = self.els.len() as u32;
        let around = u32::from(self.default.0);
        self.els.push(El {
            start: start as u32,
            inner: 0,
            end: self.open,
            next: around,
            ns: Ns::OTHER,
            name_at,
            name_len,
        });
        self.open = at;
        self.own_default = false;
        self.names = 0;
        self.again = false;
        Ok(())
    }

    fn attribute(&mut self, prefix: &'a str, local: &'a str, value: &'a str) -> Result<(), StreamError> {
        self.check(value)?;
        if prefix == "xmlns" {
            return self.declare(local, unescape(value, true));
        }
        if prefix.is_empty() && local == "xmlns" {
            if self.own_default {
                return Err(duplicate());
            }
            let uri = unescape(value, true);
            self.own_default = true;
            self.default = match Ns::of(&uri) {
                Ns::XML | Ns::XMLNS => return Err(not_well_formed()),
                // The root repeats what the stream says.
                _ if self.open == 0 && uri == self.scope.default_ns() => self.outer_default,
                ns => ns,
            };
            return Ok(());
        }
        let bit = name_bit(local);
        self.again |= self.names & bit != 0 || !prefix.is_empty() && prefix != "xml";
        self.names |= bit;
        Ok(())
    }

    /// Declares a prefix, by the rules of Namespaces in XML 1.0 §3 and §5.
    fn declare(&mut self, prefix: &'a str, uri: Cow<'a, str>) -> Result<(), StreamError> {
        let ns = Ns::of(&uri);
        if uri.is_empty() || prefix == "xmlns" || ns == Ns::XMLNS || (prefix == "xml") != (ns == Ns::XML) {
            return Err(not_well_formed());
        }
        if self.prefixes.iter().rev().take_while(|b| b.owner == self.open).any(|b| b.prefix == prefix) {
            return Err(duplicate());
        }
        if self.prefixes.len() >= PREFIXES_IN_SCOPE {
            return Err(StreamError::new(StreamCondition::PolicyViolation).text("too many prefixes"));
        }
        let known = self.prefixes.iter().find(|b| b.uri == uri).map(|b| b.id);
        let id = known.or_else(|| self.scope_id(&uri)).unwrap_or(self.next_id);
        self.next_id += u32::from(id == self.next_id);
        self.prefixes.push(Binding { owner: self.open, prefix, uri, ns, id });
        Ok(())
    }

    /// The end of a start tag: all that it declares is known, so names can be resolved.
    fn tag_end(&mut self, end: usize) -> Result<(), StreamError> {
        let el = &mut self.els[self.open as usize];
        el.inner = end as u32;
        let ns = match el.name_at {
            0 | 1 => self.default,
            name_at => {
                let prefix = el.start as usize + 1..el.start as usize + usize::from(name_at) - 1;
                self.resolve(&self.xml[prefix])?.1
            }
        };
        self.els[self.open as usize].ns = ns;
        if self.again { self.unique() } else { Ok(()) }
    }

    /// Resolves the prefixes of the attributes of the innermost element, and checks that none is there twice.
    fn unique(&mut self) -> Result<(), StreamError> {
        let el = &self.els[self.open as usize];
        let at = el.start as usize + usize::from(el.name_at) + usize::from(el.name_len);
        let mut attrs = Vec::new();
        for attr in (Attrs { text: &self.xml[..el.inner as usize], at }) {
            if attr.declares().is_none() {
                attrs.push(match attr.name.split_once(':') {
                    Some((prefix, local)) => (local, self.resolve(prefix)?.0),
                    None => (attr.name, NO_ID),
                });
            }
        }
        attrs.sort_unstable();
        if attrs.windows(2).any(|pair| pair[0] == pair[1]) { Err(duplicate()) } else { Ok(()) }
    }

    /// What a prefix stands for: the identity of the namespace, and the namespace.
    fn resolve(&mut self, prefix: &str) -> Result<(u32, Ns), StreamError> {
        if prefix == "xml" {
            return Ok((XML_ID, Ns::XML));
        }
        if let Some(binding) = self.prefixes.iter().rev().find(|b| b.prefix == prefix) {
            return Ok((binding.id, binding.ns));
        }
        let Some(at) = self.scope.declared.iter().rposition(|(p, _)| **p == *prefix) else {
            // RFC 6120 §11.3 and §4.9.3.13: against [XML-NAMES]. A bad prefix is one that is declared and must not be there.
            return Err(StreamError::new(StreamCondition::NotWellFormed).text("a prefix is not declared"));
        };
        if !self.used.contains(&at) {
            self.used.push(at);
        }
        let uri = &self.scope.declared[at].1;
        Ok((self.scope_id(uri).unwrap_or(NO_ID), Ns::of(uri)))
    }

    /// The identity of a namespace that the scope has a prefix for.
    fn scope_id(&self, uri: &str) -> Option<u32> {
        self.scope.declared.iter().position(|(_, known)| **known == *uri).map(|at| SCOPE_ID + at as u32)
    }

    /// The end of the innermost element.
    fn close(&mut self, end: usize) {
        let (at, next) = (self.open, self.els.len() as u32);
        let el = &mut self.els[at as usize];
        self.open = el.end;
        self.default = Ns(el.next as u16);
        el.end = end as u32;
        el.next = next;
        while self.prefixes.pop_if(|binding| binding.owner == at).is_some() {}
    }
}

fn not_well_formed() -> StreamError {
    StreamCondition::NotWellFormed.into()
}

fn duplicate() -> StreamError {
    StreamError::new(StreamCondition::NotWellFormed).text("an attribute is there twice")
}

/// How long the text is that `xml` begins with, if there is nothing in it to check: no `&`, `]`, control characters, or what
/// U+FFFE and U+FFFF begin with; otherwise 0. It is most of what comes in, and the tokenizer takes five times as long for it.
fn plain_text(xml: &str) -> usize {
    let Some(len) = memchr(b'<', xml.as_bytes()) else { return 0 };
    let text = &xml.as_bytes()[..len];
    if memchr3(b'&', b']', 0xef, text).is_some() || has_control(text) { 0 } else { len }
}

/// Whether there is a control character that XML does not have.
fn has_control(text: &[u8]) -> bool {
    const SPACES: u64 = u64::from_ne_bytes([b' '; 8]);
    const HIGH_BITS: u64 = u64::from_ne_bytes([0x80; 8]);
    let (eights, rest) = text.as_chunks::<8>();
    // Eight at a time: most have nothing below a space. It finds all of those that do.
    let below = |eight: &&[u8; 8]| {
        let eight = u64::from_ne_bytes(**eight);
        eight.wrapping_sub(SPACES) & !eight & HIGH_BITS != 0
    };
    eights.iter().filter(below).flatten().chain(rest).any(|b| *b < b' ' && !matches!(b, b'\t' | b'\n' | b'\r'))
}

/// One of 64 bits for a name: two that have different ones are different.
fn name_bit(name: &str) -> u64 {
    let bytes = name.as_bytes();
    let byte = |at: usize| bytes.get(at).copied().unwrap_or(0);
    let hash = byte(0).wrapping_mul(5) ^ byte(1).wrapping_mul(3) ^ byte(bytes.len() / 2) ^ bytes.len() as u8;
    1 << (hash & 63)
}

/// Reads a reference from behind its `&`: the character, and how many bytes were read.
fn reference(text: &str) -> Result<(char, usize), StreamCondition> {
    const WRONG: StreamCondition = StreamCondition::NotWellFormed;
    let end = text.find(';').ok_or(WRONG)?;
    let c = match &text[..end] {
        "amp" => '&',
        "lt" => '<',
        "gt" => '>',
        "apos" => '\'',
        "quot" => '"',
        name => match name.strip_prefix('#') {
            Some(number) => numbered(number).ok_or(WRONG)?,
            None => {
                let entity = Stream::from(name).consume_name().is_ok_and(|entity| entity.end() == end);
                return Err(if entity { StreamCondition::RestrictedXml } else { WRONG });
            }
        },
    };
    Ok((c, end + 1))
}

/// The character of that number, decimal or with an `x` hexadecimal.
fn numbered(number: &str) -> Option<char> {
    let (digits, radix) = match number.strip_prefix('x') {
        Some(hex) => (hex, 16),
        None => (number, 10),
    };
    // A sign is no digit.
    if !digits.starts_with(|c: char| c.is_digit(radix)) {
        return None;
    }
    char::from_u32(u32::from_str_radix(digits, radix).ok()?).filter(|c| c.is_xml_char())
}

/// For each byte, where it does not stand for itself.
const CHANGES: [u8; 256] = {
    let mut changes = [0; 256];
    changes[b'&' as usize] = IN_TEXT | IN_VALUE;
    changes[b'\r' as usize] = IN_TEXT | IN_VALUE;
    changes[b'\n' as usize] = IN_VALUE;
    changes[b'\t' as usize] = IN_VALUE;
    changes
};
const IN_TEXT: u8 = 1;
const IN_VALUE: u8 = 2;

/// Resolves references and normalizes line ends (XML §2.11), and in attributes white space (XML §3.3.3).
pub(super) fn unescape(text: &str, attribute: bool) -> Cow<'_, str> {
    let kind = if attribute { IN_VALUE } else { IN_TEXT };
    let special = |text: &str| text.bytes().position(|b| CHANGES[b as usize] & kind != 0);
    let Some(mut at) = special(text) else { return Cow::Borrowed(text) };
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    loop {
        out.push_str(&rest[..at]);
        let mut read = at + 1;
        out.push(match rest.as_bytes()[at] {
            b'&' => match reference(&rest[read..]) {
                Ok((c, len)) => {
                    read += len;
                    c
                }
                // Not in text that was checked.
                Err(_) => '&',
            },
            b'\r' => {
                read += usize::from(rest[read..].starts_with('\n'));
                if attribute { ' ' } else { '\n' }
            }
            _ => ' ',
        });
        rest = &rest[read..];
        match special(rest) {
            Some(next) => at = next,
            None => break,
        }
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// Appends what text and CDATA sections say.
fn read_text<'a>(mut raw: &'a str, out: &mut Cow<'a, str>) {
    let mut add = |piece: Cow<'a, str>| {
        if out.is_empty() {
            *out = piece;
        } else if !piece.is_empty() {
            out.to_mut().push_str(&piece);
        }
    };
    while let Some((text, rest)) = raw.split_once("<![CDATA[") {
        let (data, rest) = rest.split_once("]]>").unwrap_or((rest, ""));
        add(unescape(text, false));
        add(match data.contains('\r') {
            true => Cow::Owned(data.replace("\r\n", "\n").replace('\r', "\n")),
            false => Cow::Borrowed(data),
        });
        raw = rest;
    }
    add(unescape(raw, false));
}

/// Appends `text` escaped for element content and for attribute values in either quotes. Characters that XML does not have
/// become U+FFFD.
pub fn escape(text: &str, out: &mut String) {
    let mut rest = text;
    while let Some(at) = rest.bytes().position(special) {
        out.push_str(&rest[..at]);
        let Some(c) = rest[at..].chars().next() else { break };
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\'' => out.push_str("&apos;"),
            '"' => out.push_str("&quot;"),
            // They would be read as spaces in attributes, and a return as a line feed.
            '\t' => out.push_str("&#9;"),
            '\n' => out.push_str("&#10;"),
            '\r' => out.push_str("&#13;"),
            c => out.push(if c.is_xml_char() { c } else { '\u{fffd}' }),
        }
        rest = &rest[at + c.len_utf8()..];
    }
    out.push_str(rest);
}

/// Whether a byte may have to be escaped: also the first one of U+FFFE and U+FFFF.
fn special(b: u8) -> bool {
    matches!(b, 0..b' ' | b'&' | b'<' | b'>' | b'\'' | b'"' | 0xef)
}

/// How long `text` is when it is escaped, in bytes.
pub fn escaped_bytes(text: &str) -> usize {
    if !text.bytes().any(special) {
        return text.len();
    }
    let of = |b| match b {
        b'\'' | b'"' => 6,
        b'&' | b'\n' | b'\r' => 5,
        b'<' | b'>' | b'\t' => 4,
        // In its place stands U+FFFD.
        0..b' ' => 3,
        _ => 1,
    };
    text.bytes().map(of).sum()
}

/// `text` escaped for element content and for attribute values in either quotes.
pub fn escaped(text: &str) -> Cow<'_, str> {
    if !text.bytes().any(special) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    escape(text, &mut out);
    Cow::Owned(out)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use StreamCondition::*;

    fn scope() -> Scope {
        let mut scope = Scope::of("jabber:client");
        scope.declared.push(("stream".into(), Ns::STREAM.uri().into()));
        scope.declared.push(("o".into(), "urn:o".into()));
        scope.declared.push(("o2".into(), "urn:o".into()));
        scope
    }

    fn raw(xml: &str) -> Arc<Raw> {
        Raw::parse(xml, &scope()).unwrap_or_else(|e| panic!("{xml}: {e}"))
    }

    fn refused(condition: StreamCondition, texts: &[&str]) {
        for xml in texts {
            match Raw::parse(xml, &scope()) {
                Err(e) => assert_eq!(e.condition, condition, "{xml}"),
                Ok(_) => panic!("{xml:?} is accepted"),
            }
        }
    }

    #[test]
    fn an_element_of_the_index_has_20_bytes() {
        assert_eq!(size_of::<El>(), 20);
        assert!(size_of::<Slice>() <= 16 && size_of::<Node>() <= 16);
    }

    #[test]
    fn tags_must_match() {
        refused(
            NotWellFormed,
            &[
                "",
                " ",
                "x",
                "<",
                "<a",
                "<a ",
                "<a>",
                "<a/",
                "<a></b>",
                "<a><b></a></b>",
                "<a></a></a>",
                "<a/><b/>",
                "<a/>x",
                "x<a/>",
                "<a/> ",
                "</a>",
                "<a></A>",
                "<o:a></a>",
                "<a></o:a>",
                "<o:a></o2:a>",
                "< a/>",
                "<a / >",
                "<a></ a>",
                "<a></a b='c'>",
                "<a/ >",
                "<>",
                "</>",
                "<a></>",
                "<a><![CDATA[x]]></b>",
                "<a>]]></a>",
                "<a>x y]]>z<b/></a>",
                "<a/>x<b/>",
                "<a/> <b/>",
                "<a></a>x</a>",
                "<![CDATA[x]]>",
                "<a/><![CDATA[]]>",
                "<a><![CDATA[x]]</a>",
                "<a><![CDATAx]]></a>",
                "<a><![cdata[x]]></a>",
                "<a><</a>",
                "<a><b</a>",
                "<a ></a ></a >",
            ],
        );
        raw("<a></a\n >");
        raw("<a\t\r\n/>");
        raw("<a>]]&gt; ]] > <![CDATA[ <b> && ]] ]> ]]]]><![CDATA[>]]></a>");
    }

    #[test]
    fn names() {
        refused(
            NotWellFormed,
            &[
                "<1a/>",
                "<-a/>",
                "<.a/>",
                "<a\u{d7}/>",
                "<\u{300}a/>",
                "<a;b/>",
                "<a 1b='c'/>",
                "<a b,c='d'/>",
                "<a!/>",
                "<a\u{2028}/>",
                "<:a/>",
                "<a:/>",
                "<:/>",
                "<:a></:a>",
                "<o:1a/>",
                "<o:a:b/>",
                "<a :b='c'/>",
                "<a o:='c'/>",
                "<a o:b:c='d'/>",
                "<a xmlns:='d'/>",
                "<a :xmlns='d'/>",
            ],
        );
        let node = raw("<o:\u{e9}l\u{300}-.7 \u{3b1}='1'/>");
        assert_eq!((node.root().prefix(), node.root().name()), ("o", "\u{e9}l\u{300}-.7"));
        assert_eq!(node.root().attr("\u{3b1}").as_deref(), Some("1"));
        let long = |n: usize| "n".repeat(n);
        raw(&format!("<{}/>", long(255)));
        refused(PolicyViolation, &[&format!("<{}/>", long(256)), &format!("<{0}:a xmlns:{0}='u'/>", long(254))]);
        let edge = raw(&format!("<{0}:a xmlns:{0}='u'/>", long(253)));
        assert_eq!((edge.root().name(), edge.root().prefix().len(), &*edge.root().ns_uri()), ("a", 253, "u"));
    }

    #[test]
    fn attributes() {
        refused(
            NotWellFormed,
            &[
                "<a b/>",
                "<a b=c/>",
                "<a b='c/>",
                "<a b='c\"/>",
                "<a b='c'd='e'/>",
                "<a b='c' b='d'/>",
                "<a b='c' c='1' b=\"c\"/>",
                "<a b='<'/>",
                "<a o:b='1' o:b='2'/>",
                "<a o:b='1' o2:b='2'/>",
                "<a xmlns:p='urn:o' p:b='' o:b=''/>",
                "<a xmlns:p='urn:&#x6f;' p:b='' o:b=''/>",
                "<a xmlns:p='u' xmlns:q='&#117;' p:b='' q:b=''/>",
                "<a xmlns='u' xmlns='u'/>",
                "<a xmlns:p='u' xmlns:p='u'/>",
                "<a xml:lang='a' xml:lang='b'/>",
                "<a b = 'c' b ='d'/>",
                "<a =''/>",
                "<a ''/>",
                "<a b==''/>",
            ],
        );
        // More than there are bits for names.
        let many = |last: usize| (0..100).chain([last]).map(|n| format!(" b{n}='='")).collect::<String>();
        raw(&format!("<a{}/>", many(100)));
        for n in 0..100 {
            refused(
                NotWellFormed,
                &[&format!("<a{}/>", many(n)), &format!("<a xmlns:b{n}='u' b{n}:c=''{}/>", many(n))],
            );
        }
        let node = raw("<a b='1' o:b='2' c = \"it's\" d=\n'&quot;>' xmlns:p='v' p:b='3'/>");
        let root = node.root();
        assert_eq!(root.attr("b").as_deref(), Some("1"));
        assert_eq!(root.attr("o:b").as_deref(), Some("2"));
        assert_eq!(root.attr("c").as_deref(), Some("it's"));
        assert_eq!(root.attr("d").as_deref(), Some("\">"));
        assert_eq!(root.attr("e"), None);
        assert_eq!(root.attrs().map(|(name, _)| name).collect::<Vec<_>>(), ["b", "o:b", "c", "d", "xmlns:p", "p:b"]);
        assert_eq!(raw("<a b='c'>d='e'</a>").root().attr("d"), None, "text is no attribute");
    }

    #[test]
    fn white_space_in_attributes_and_text() {
        let node = raw("<a b='1\t2\n3\r\n4\r5&#9;6&#10;7&#13;8 '>1\t2\n3\r\n4\r5&#13;<![CDATA[\r\n&#13;\r]]></a>");
        assert_eq!(node.root().attr("b").as_deref(), Some("1 2 3 4 5\t6\n7\r8 "));
        assert_eq!(node.root().text(), "1\t2\n3\n4\n5\r\n&#13;\n");
    }

    #[test]
    fn references() {
        // References in text, in values and in declarations.
        let refuse = |condition, references: &[&str]| {
            let texts = references
                .iter()
                .flat_map(|bad| [format!("<a>{bad}</a>"), format!("<a b='{bad}'/>"), format!("<a xmlns:p='{bad}'/>")]);
            for text in texts {
                refused(condition, &[&text]);
            }
        };
        refuse(RestrictedXml, &["&x;", "&nbsp;", "&AMP;", "&amp1;", "&\u{e9};", "&_-.:;", "&amp;&lt;&foo;"]);
        refuse(
            NotWellFormed,
            &[
                "&",
                "&;",
                "&#;",
                "&#x;",
                "&amp",
                "&amp ;",
                "& amp;",
                "&x y;",
                "&1;",
                "&#0;",
                "&#x0;",
                "&#8;",
                "&#x1F;",
                "&#xD800;",
                "&#xDFFF;",
                "&#xFFFE;",
                "&#xFFFF;",
                "&#x110000;",
                "&#99999999999999999999;",
                "&#-1;",
                "&#+65;",
                "&#x+41;",
                "&#X41;",
                "&#65",
                "&#6 5;",
                "&#xG;",
                "&lt",
                "&#\u{661};",
            ],
        );
        let good = "&lt;&gt;&amp;&apos;&quot;&#65;&#x41;&#x0041;&#000065;&#x1F600;&#xe000;&amp;lt;";
        let node = raw(&format!("<a b='{good}'>{good}</a>"));
        assert_eq!(node.root().text(), "<>&'\"AAAA\u{1f600}\u{e000}&lt;");
        assert_eq!(node.root().attr("b").as_deref(), Some("<>&'\"AAAA\u{1f600}\u{e000}&lt;"));
    }

    #[test]
    fn characters() {
        for c in ('\0'..'\u{20}').chain(['\u{fffe}', '\u{ffff}']).filter(|c| !"\t\r\n".contains(*c)) {
            refused(
                NotWellFormed,
                &[
                    &format!("<a>{c}</a>"),
                    &format!("<a b='{c}'/>"),
                    &format!("<a><![CDATA[{c}]]></a>"),
                    &format!("<a{c}/>"),
                    &format!("<a>x{c}"),
                    &format!("<a>xyz{c}</a>"),
                    &format!("<a><b/>\u{e9}<c/>z{c}<d/></a>"),
                ],
            );
        }
        raw("<a b='\u{7f}\u{85}\u{fffd}\u{1fffe}\u{10ffff}'>\u{7f}\u{85}\u{d7ff}\u{e000}\u{feff}</a>");
    }

    #[test]
    fn restricted() {
        refused(
            RestrictedXml,
            &[
                "<!-- x --><a/>",
                "<a><!-- x --></a>",
                "<a><!----></a>",
                "<a/><!---->",
                "<a><?x y?></a>",
                "<?x?><a/>",
                "<a/><?x?>",
                "<?xml version='1.0'?><a/>",
                "<a><?xml version='1.0'?></a>",
                "<!DOCTYPE a><a/>",
                "<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>",
                "<a><!DOCTYPE a></a>",
                "<a><!ENTITY b 'c'></a>",
                "<a><!-- -- --></a>",
                "<a><!-- </a>",
                "<a><?xml?></a>",
                "<a><? x?></a>",
                "<a><!x></a>",
                "<a><!ELEMENT a ANY></a>",
                "<a><!-</a>",
            ],
        );
    }

    #[test]
    fn namespaces() {
        refused(
            NotWellFormed,
            &[
                "<p:a/>",
                "<a p:b=''/>",
                "<a><p:b xmlns:p='u'/><p:c/></a>",
                "<a><b xmlns:p='u'/><c p:d=''/></a>",
                "<a><XML:b/></a>",
            ],
        );
        refused(
            NotWellFormed,
            &[
                "<a xmlns:p=''/>",
                "<xmlns:a/>",
                "<a xmlns:xmlns='u'/>",
                "<a xmlns:xml='u'/>",
                "<a xmlns:p='http://www.w3.org/XML/1998/namespace'/>",
                "<a xmlns='http://www.w3.org/XML/1998/namespace'/>",
                "<a xmlns='http://www.w3.org/2000/xmlns/'/>",
                "<a xmlns:p='http://www.w3.org/2000/xmlns/'/>",
                "<a xmlns:xmlns='http://www.w3.org/2000/xmlns/'/>",
                "<a xmlns:p='http://www.w3.org/2000/xmlns&#47;'/>",
            ],
        );
        raw("<a xmlns:xml='http://www.w3.org/XML/1998/namespace'><xml:b/></a>");
        let node = raw(
            "<message><a xmlns='jabber:x:data'><b/><p:c xmlns:p='urn:xmpp:p&#105;ng' xmlns='urn:other'><d/><e xmlns=''/></p:c><f/></a><g/><o:h/></message>",
        );
        let seen: Vec<_> = (0..node.els.len() as u32)
            .map(|at| Node { raw: &node, at })
            .map(|n| (n.name(), n.ns(), n.ns_uri().into_owned()))
            .collect();
        let expected = [
            ("message", Ns::CLIENT, "jabber:client"),
            ("a", Ns::DATA_FORM, "jabber:x:data"),
            ("b", Ns::DATA_FORM, "jabber:x:data"),
            ("c", Ns::PING, "urn:xmpp:ping"),
            ("d", Ns::OTHER, "urn:other"),
            ("e", Ns::OTHER, ""),
            ("f", Ns::DATA_FORM, "jabber:x:data"),
            ("g", Ns::CLIENT, "jabber:client"),
            ("h", Ns::OTHER, "urn:o"),
        ];
        assert_eq!(seen.iter().map(|(name, ns, uri)| (*name, *ns, &**uri)).collect::<Vec<_>>(), expected);
        // A declaration holds for the start tag that it stands in, also before it.
        assert!(raw("<p:a p:b='' xmlns:p='u'/>").root().is(Ns::OTHER, "a"));
        // Prefixes bound to one name are one namespace on elements, and inner ones hide outer ones.
        raw("<a xmlns:o='u' o:b='' o2:b=''/>");
    }

    #[test]
    fn what_servers_say_reads_as_what_clients_say() {
        let server = Scope::of("jabber:server");
        let parse = |xml: &str| Raw::parse(xml, &server).unwrap();
        let inherited = parse("<message><body/><x xmlns='u'><body xmlns='jabber:server'/></x></message>");
        assert!(inherited.root().is(Ns::CLIENT, "message") && inherited.root().child(Ns::CLIENT, "body").is_some());
        let x = inherited.root().child(Ns::OTHER, "x").unwrap();
        assert!(x.child(Ns::SERVER, "body").is_some(), "what is said explicitly stays");
        let repeated = parse("<message xmlns='jabber:server'><body/></message>");
        let body = repeated.root().child(Ns::CLIENT, "body").unwrap();
        assert_eq!(body.copy(), "<body xmlns='jabber:client'/>");
        assert_eq!(body.ns_uri(), "jabber:client");
        assert_eq!(parse("<message xmlns='jabber:client'/>").root().ns(), Ns::CLIENT);
    }

    #[test]
    fn a_namespace_nobody_knows_as_default() {
        let other = Raw::parse("<a><b/><p:c xmlns:p='v'/></a>", &Scope::of("urn:other&'")).unwrap();
        assert_eq!(other.root().ns_uri(), "urn:other&'");
        let copy = other.root().children().next().unwrap().copy();
        assert_eq!(copy, "<b xmlns='urn:other&amp;&apos;'/>");
        let none = Raw::parse("<a><b/></a>", &Scope::default()).unwrap();
        assert_eq!((none.root().ns(), &*none.root().ns_uri()), (Ns::OTHER, ""));
        assert_eq!(none.root().children().next().unwrap().copy(), "<b xmlns=''/>");
    }

    #[test]
    fn reading() {
        let node = raw("<a> x <b>1<c/>2</b>&amp;<b/><![CDATA[<]]>\u{e9}</a>");
        let root = node.root();
        assert_eq!(root.text(), " x &<\u{e9}");
        assert_eq!(root.children().map(|c| c.xml()).collect::<Vec<_>>(), ["<b>1<c/>2</b>", "<b/>"]);
        let b = root.child(Ns::CLIENT, "b").unwrap();
        assert_eq!((b.inner_xml(), &*b.text(), b.children().count()), ("1<c/>2", "12", 1));
        assert!(root.child(Ns::CLIENT, "c").is_none() && root.child(Ns::PING, "b").is_none());
        for (xml, inner) in [
            ("<a/>", ""),
            ("<a></a >", ""),
            ("<a ><![CDATA[</]]></a\n>", "<![CDATA[</]]>"),
            ("<a><b></b></a>", "<b></b>"),
        ] {
            assert_eq!(raw(xml).root().inner_xml(), inner);
        }
        let lang = raw("<a xml:lang='de'><b/></a>");
        assert_eq!((lang.root().lang().as_deref(), lang.root().children().next().unwrap().lang()), (Some("de"), None));
        assert!(matches!(raw("<a>text</a>").root().text(), Cow::Borrowed("text")), "plain text is not copied");
    }

    #[test]
    fn a_copy_stands_for_itself() {
        for (xml, copy) in [
            ("<a><b/></a>", "<b xmlns='jabber:client'/>"),
            ("<a xmlns='u'><b c='d'>e</b></a>", "<b xmlns='u' c='d'>e</b>"),
            ("<a xmlns=\"u'\"><b/></a>", "<b xmlns='u&apos;'/>"),
            ("<a xmlns=''><b/></a>", "<b xmlns=''/>"),
            ("<a xmlns='u'><b xmlns='v'/></a>", "<b xmlns='v'/>"),
            ("<a xmlns='u'><b xmlns=''/></a>", "<b xmlns=''/>"),
            ("<a xmlns:p='u' xmlns:q='v'><b><p:c/></b></a>", "<b xmlns='jabber:client' xmlns:p='u'><p:c/></b>"),
            ("<a xmlns:p='u'><b p:c=''/></a>", "<b xmlns='jabber:client' xmlns:p='u' p:c=''/>"),
            ("<a xmlns:p='u'><p:b/></a>", "<p:b xmlns='jabber:client' xmlns:p='u'/>"),
            ("<a xmlns:p='u'><b xmlns:p='v' p:c=''/></a>", "<b xmlns='jabber:client' xmlns:p='v' p:c=''/>"),
            (
                "<a xmlns:p='u'><b><p:c xmlns:p='v'/></b></a>",
                "<b xmlns='jabber:client' xmlns:p='u'><p:c xmlns:p='v'/></b>",
            ),
            ("<a xmlns:pp='u' xmlns:p='v'><b pp:c=''/></a>", "<b xmlns='jabber:client' xmlns:pp='u' pp:c=''/>"),
            ("<a><b><o:c/></b></a>", "<b xmlns='jabber:client' xmlns:o='urn:o'><o:c/></b>"),
            ("<a><b xml:lang='x'/></a>", "<b xmlns='jabber:client' xml:lang='x'/>"),
        ] {
            let node = raw(xml);
            let made = node.root().children().next().unwrap().copy();
            assert_eq!(made, copy, "of {xml}");
            let again = Raw::parse(&made, &Scope::of("urn:elsewhere")).unwrap();
            assert_eq!(again.root().copy(), made, "a copy of a copy is the same");
        }
        // The innermost of three.
        let node = raw("<a xmlns:p='1'><b xmlns:p='2' xmlns='m'><c xmlns:p='3'><p:d/></c></b></a>");
        let d = node.root().children().next().unwrap().children().next().unwrap().children().next().unwrap();
        assert_eq!(d.copy(), "<p:d xmlns='m' xmlns:p='3'/>");
        assert_eq!(raw("<a/>").root().copy(), "<a xmlns='jabber:client'/>");
    }

    #[test]
    fn many_prefixes_are_refused() {
        let tag = |n: usize| (0..n).map(|i| format!(" xmlns:p{i}='u{i}'")).collect::<String>();
        raw(&format!("<a{}/>", tag(64)));
        raw(&format!("<a><b{}/><b{}/></a>", tag(64), tag(64)));
        refused(PolicyViolation, &[&format!("<a{}/>", tag(65)), &format!("<a{}><b xmlns:x='u'/></a>", tag(64))]);
    }

    #[test]
    fn headers() {
        let open = "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' to=\"it's\" xml:lang='en' version='1.0'>";
        for before in
            ["", "<?xml version='1.0'?>", "<?xml\nversion=\"1.0\" encoding='utf-8' standalone='yes' ?>\r\n", " \n"]
        {
            let (raw, scope) = Raw::header(&format!("{before}{open}")).unwrap();
            assert!(raw.root().is(Ns::STREAM, "stream"));
            assert_eq!(raw.root().attr("to").as_deref(), Some("it's"));
            assert_eq!(raw.root().lang().as_deref(), Some("en"));
            assert_eq!(
                (scope.default_ns(), scope.get("stream"), scope.get("x")),
                ("jabber:client", Some(Ns::STREAM.uri()), None)
            );
        }
        for (text, condition) in [
            ("<?xml version='1.0' encoding='iso-8859-1'?><a>", UnsupportedEncoding),
            ("<?xml encoding='utf-8'?><a>", NotWellFormed),
            ("<?xml version='2.0'?><a>", NotWellFormed),
            ("<?xml version='1.0'?><?xml version='1.0'?><a>", RestrictedXml),
            ("<?xml version='1.0'?>", NotWellFormed),
            ("<?xml version='1.0'", NotWellFormed),
            ("<?xml-stylesheet x?><a>", RestrictedXml),
            ("<a/>", NotWellFormed),
            ("<a b='c' b='d'>", NotWellFormed),
            ("<a><b>", NotWellFormed),
            ("<p:a>", NotWellFormed),
            ("", NotWellFormed),
        ] {
            assert_eq!(Raw::header(text).unwrap_err().condition, condition, "{text}");
        }
        let long = format!("<a xmlns:p='{}'>", "u".repeat(256));
        assert_eq!(Raw::header(&long).unwrap_err().condition, PolicyViolation);
    }

    #[test]
    fn escaping() {
        assert_eq!(
            escaped("a<b>&'\"\t\n\r\u{0}\u{ffff}\u{e9}"),
            "a&lt;b&gt;&amp;&apos;&quot;&#9;&#10;&#13;\u{fffd}\u{fffd}\u{e9}"
        );
        assert!(matches!(escaped("plain text"), Cow::Borrowed(_)));
        let text = "]]> <![CDATA[ & \u{1f600} \r\n\t 'x' \"y\"";
        let node = raw(&format!("<a b='{0}' c=\"{0}\">{0}</a>", escaped(text)));
        assert_eq!(node.root().text(), text);
        assert_eq!(node.root().attr("b").as_deref(), Some(text));
        assert_eq!(node.root().attr("c").as_deref(), Some(text));
    }

    #[test]
    fn deep_is_not_recursive() {
        let (open, close) = ("<a>".repeat(200_000), "</a>".repeat(200_000));
        let node = raw(&format!("{open}{close}"));
        assert_eq!(node.root().text(), "");
        assert_eq!(node.els.len(), 200_000);
    }

    #[test]
    fn control_characters_are_found_wherever_they_are() {
        for len in 0..40 {
            assert!(!has_control(&vec![b'x'; len]) && !has_control(&vec![0xff; len]));
            for at in 0..len {
                for b in 0..=255 {
                    let mut text = vec![if b % 2 == 0 { b'\n' } else { b'~' }; len];
                    text[at] = b;
                    assert_eq!(has_control(&text), b < 0x20 && !b"\t\n\r".contains(&b), "{b} {at} {len}");
                }
            }
        }
    }
}
