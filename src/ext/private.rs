//! XEP-0049: Private XML Storage. An account's own elements, each under its namespace and name.

use crate::core::{About, Event, Extension, Flow, Handled, Job, Place, State, scan};
use crate::store::{Engine, Query, Rows, StoreError, Tree, key};
use crate::wire::xml::escaped;
use crate::wire::{Condition, Node, Ns, Stanza, StanzaError, Type};
use std::collections::BTreeMap;

/// The longest element, in bytes.
const ELEMENT_BYTES: usize = 128 * 1024;
/// The longest namespace and name of an element together, in bytes.
const NAME_BYTES: usize = 512;
/// All that is stored for an account, in bytes of names and elements.
const ACCOUNT_BYTES: usize = 1024 * 1024;
/// Elements that are stored for an account.
const ELEMENTS: usize = 256;
/// Elements in one request.
const REQUEST_ELEMENTS: usize = 16;

#[derive(Default)]
pub(super) struct Private {
    /// For each account the size of what is stored under each name, name included, in bytes.
    sizes: BTreeMap<Box<str>, BTreeMap<Box<str>, usize>>,
    /// Requests that wait for what storage says, and what is answered when there is nothing.
    waiting: BTreeMap<Job, (Stanza, String)>,
}

fn bad(text: impl Into<std::borrow::Cow<'static, str>>) -> StanzaError {
    StanzaError::new(Condition::NotAcceptable).text(text)
}

/// The elements in a request, under the names they are stored with.
fn wanted<'a>(query: Node<'a>) -> Result<BTreeMap<String, Node<'a>>, StanzaError> {
    let mut wanted = BTreeMap::new();
    let mut first = None;
    for element in query.children() {
        let ns = element.ns_uri();
        // XEP-0049 §2.3: "with a proper namespace".
        if ns.is_empty() || element.ns() == Ns::PRIVATE {
            return Err(bad("what is stored has a namespace of its own"));
        }
        if *first.get_or_insert_with(|| ns.clone()) != ns {
            return Err(bad("one namespace in a request"));
        }
        // Neither a namespace nor a name holds a NUL.
        let name = format!("{ns}\0{}", element.name());
        if name.len() > NAME_BYTES {
            return Err(bad(format!("a namespace and a name have at most {NAME_BYTES} bytes")));
        }
        if wanted.insert(name, element).is_some() {
            return Err(bad("the same element stands there twice"));
        }
        if wanted.len() > REQUEST_ELEMENTS {
            return Err(bad(format!("at most {REQUEST_ELEMENTS} elements in a request")));
        }
    }
    if wanted.is_empty() { Err(bad("there is no element in the query")) } else { Ok(wanted) }
}

impl Private {
    fn get(&mut self, st: &mut State, iq: &Stanza, local: &str, wanted: BTreeMap<String, Node<'_>>) -> Handled {
        let mut wanted = wanted.into_iter();
        let (Some((name, element)), None) = (wanted.next(), wanted.next()) else {
            return Err(bad("one element can be asked for"));
        };
        let nothing = format!("<{} xmlns='{}'/>", element.name(), escaped(&element.ns_uri()));
        let job = st.ask(Query::Get(Tree::Private, key::named(local, &name)));
        self.waiting.insert(job, (iq.clone(), nothing));
        Ok(Flow::Done)
    }

    fn set(&mut self, st: &mut State, iq: &Stanza, local: &str, wanted: BTreeMap<String, Node<'_>>) -> Handled {
        let mut sizes = self.sizes.get(local).cloned().unwrap_or_default();
        let mut rows = Vec::new();
        for (name, element) in wanted {
            let xml = element.copy();
            if xml.len() > ELEMENT_BYTES {
                return Err(bad(format!("an element has at most {ELEMENT_BYTES} bytes")));
            }
            sizes.insert(name.as_str().into(), name.len() + xml.len());
            rows.push((key::named(local, &name), xml));
        }
        if sizes.len() > ELEMENTS || sizes.values().sum::<usize>() > ACCOUNT_BYTES {
            let text = format!("an account stores at most {ELEMENTS} elements and {ACCOUNT_BYTES} bytes");
            return Err(StanzaError::new(Condition::ResourceConstraint).text(text));
        }
        let sum = |sizes: &BTreeMap<Box<str>, usize>| sizes.values().sum::<usize>();
        let less = self.sizes.get(local).is_some_and(|before| sum(&sizes) < sum(before));
        let batch = if less { st.erase()? } else { st.write()? };
        for (key, xml) in rows {
            batch.put(Tree::Private, key, xml.into_bytes());
        }
        self.sizes.insert(local.into(), sizes);
        st.confirm(iq, "")
    }
}

impl Extension for Private {
    fn about(&self) -> &'static About {
        &About {
            spec: "XEP-0049",
            name: "Private XML Storage",
            version: "1.2",
            missing: "",
            server: &["jabber:iq:private"],
            account: &["jabber:iq:private"],
            iq: &[Ns::PRIVATE],
        }
    }

    fn load(&mut self, _st: &mut State, engine: &mut dyn Engine) -> Result<(), StoreError> {
        scan(engine, Tree::Private, &[], |key, value| {
            let name = key::split(key).and_then(|(local, name)| Some((local, std::str::from_utf8(name).ok()?)));
            let Some((local, name)) = name else {
                return Err(StoreError::Damaged(
                    "the name of a private element in the database is not readable".into(),
                ));
            };
            self.sizes.entry(local.into()).or_default().insert(name.into(), name.len() + value.len());
            Ok(())
        })
    }

    fn iq(&mut self, st: &mut State, at: &Place, iq: &Stanza) -> Handled {
        let Place::Own(local) = at else { return Err(Condition::Forbidden.into()) };
        let Some(query) = iq.child(Ns::PRIVATE, "query") else { return Err(Condition::BadRequest.into()) };
        let wanted = wanted(query)?;
        if iq.ty == Type::Get { self.get(st, iq, local, wanted) } else { self.set(st, iq, local, wanted) }
    }

    fn answer(&mut self, st: &mut State, job: Job, rows: Option<Rows>) {
        let Some((iq, nothing)) = self.waiting.remove(&job) else { return };
        let xml =
            rows.map(|rows| rows.into_iter().next().map_or(Ok(nothing), |(_, xml)| String::from_utf8(xml.into())));
        match xml {
            Some(Ok(xml)) => {
                let _ = st.reply(&iq, format!("<query xmlns='jabber:iq:private'>{xml}</query>"));
            }
            Some(Err(_)) | None => st.refuse(&iq, &Condition::InternalServerError.into()),
        }
    }

    fn event(&mut self, _st: &mut State, event: &Event) {
        if let Event::Removed(local) = event {
            self.sizes.remove(local);
        }
    }
}
