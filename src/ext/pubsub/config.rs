//! How a node behaves: the fields of `pubsub#node_config` that are supported (XEP-0060 §16.4.4), as forms and in a record.

use super::errors::{access_model, unsupported};
use super::node::{MAX_ITEMS, PAYLOAD_BYTES};
use crate::ext::form::Submitted;
use crate::store::record::{Broken, Reader, Writer, stored};
use crate::wire::xml::escaped;
use crate::wire::{Condition, Jid, StanzaError};
use std::borrow::Cow;
use std::collections::BTreeSet;

/// A title, a type or a language, in bytes.
const TEXT_BYTES: usize = 512;
/// A description, in bytes.
const DESCRIPTION_BYTES: usize = 4096;
/// Roster groups, and addresses of contacts, in one field.
const LIST: usize = 64;

stored! {
    /// Who may subscribe and read (§4.5).
    pub(super) enum Access {
        Authorize = 0, "authorize";
        Open = 1, "open";
        Presence = 2, "presence";
        Roster = 3, "roster";
        Whitelist = 4, "whitelist";
    }
    pub(super) enum Publish {
        Publishers = 0, "publishers";
        Subscribers = 1, "subscribers";
        Open = 2, "open";
    }
    /// When the last item is sent (§6.1.7).
    pub(super) enum SendLast {
        Never = 0, "never";
        OnSub = 1, "on_sub";
        OnSubAndPresence = 2, "on_sub_and_presence";
    }
    /// What happens when there is one item more than there may be (§7.1.2.5).
    pub(super) enum Full {
        RetractOldest = 0, "retract-oldest";
        DiscardOldest = 1, "discard-oldest";
        Reject = 2, "reject";
    }
    /// Whether items tell who published them (§12.17).
    pub(super) enum ReplyTo {
        Publisher = 0, "publisher";
        None = 1, "none";
    }
    pub(super) enum Style {
        Normal = 0, "normal";
        Headline = 1, "headline";
    }
}

/// The bits of a record, which are for good.
mod bit {
    pub(super) const PERSIST: u8 = 1 << 0;
    pub(super) const PAYLOADS: u8 = 1 << 1;
    pub(super) const NOTIFICATIONS: u8 = 1 << 2;
    pub(super) const NOTIFY_RETRACT: u8 = 1 << 3;
    pub(super) const NOTIFY_DELETE: u8 = 1 << 4;
    pub(super) const NOTIFY_CONFIG: u8 = 1 << 5;
    pub(super) const NOTIFY_SUB: u8 = 1 << 6;
    pub(super) const SUBSCRIBE: u8 = 1 << 7;
}

/// The configuration of a node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct NodeConfig {
    pub(super) title: Box<str>,
    pub(super) description: Box<str>,
    /// The namespace of payloads; empty: any.
    pub(super) ty: Box<str>,
    pub(super) language: Box<str>,
    pub(super) contact: Box<[Box<str>]>,
    pub(super) groups: Box<[Box<str>]>,
    pub(super) access: Access,
    pub(super) publishers: Publish,
    pub(super) last: SendLast,
    pub(super) full: Full,
    pub(super) reply: ReplyTo,
    pub(super) style: Style,
    pub(super) max_items: u32,
    /// The longest payload, in bytes.
    pub(super) payload_bytes: u32,
    pub(super) persist: bool,
    pub(super) payloads: bool,
    pub(super) notifications: bool,
    pub(super) notify_retract: bool,
    pub(super) notify_delete: bool,
    pub(super) notify_config: bool,
    pub(super) notify_sub: bool,
    pub(super) subscribe: bool,
}

/// Languages that can be chosen. One that is not among them can be set, too.
const LANGUAGES: [&str; 24] = [
    "ar", "cs", "da", "de", "el", "en", "es", "fi", "fr", "he", "hu", "it", "ja", "ko", "nl", "no", "pl", "pt", "ru",
    "sv", "tr", "uk", "vi", "zh",
];
const GROUPS: &str = "pubsub#roster_groups_allowed";

const CONFIG: &str = "http://jabber.org/protocol/pubsub#node_config";

/// The fields, their types and what people read (§16.4.4).
const FIELDS: &[(&str, &str, &str)] = &[
    ("pubsub#title", "text-single", "A friendly name for the node"),
    ("pubsub#description", "text-single", "A description of the node"),
    ("pubsub#type", "text-single", "The namespace of payloads; empty: any"),
    ("pubsub#language", "list-single", "The default language of the node"),
    ("pubsub#contact", "jid-multi", "The JIDs of those to contact with questions"),
    ("pubsub#access_model", "list-single", "Who may subscribe and retrieve items"),
    ("pubsub#roster_groups_allowed", "list-multi", "The roster groups allowed to subscribe and retrieve items"),
    ("pubsub#publish_model", "list-single", "Who may publish"),
    ("pubsub#subscribe", "boolean", "Whether to allow subscriptions"),
    ("pubsub#persist_items", "boolean", "Whether to persist items to storage"),
    ("pubsub#max_items", "text-single", "The maximum number of items to persist, or 'max'"),
    ("pubsub#publish_node_full", "list-single", "What to do when there is one item more"),
    ("pubsub#max_payload_size", "text-single", "The maximum payload size in bytes"),
    ("pubsub#deliver_notifications", "boolean", "Whether to deliver event notifications"),
    ("pubsub#deliver_payloads", "boolean", "Whether to deliver payloads with event notifications"),
    ("pubsub#notification_type", "list-single", "The type of the messages that notify"),
    ("pubsub#send_last_published_item", "list-single", "When to send the last published item"),
    ("pubsub#itemreply", "list-single", "Whether items tell who published them"),
    ("pubsub#notify_retract", "boolean", "Whether to notify subscribers when items are removed"),
    ("pubsub#notify_delete", "boolean", "Whether to notify subscribers when the node is deleted"),
    ("pubsub#notify_config", "boolean", "Whether to notify subscribers when the configuration changes"),
    ("pubsub#notify_sub", "boolean", "Whether to notify owners about new subscribers and unsubscribes"),
    ("pubsub#node_type", "list-single", "Whether the node is a leaf (default)"),
];

fn wrong(text: impl Into<Cow<'static, str>>) -> StanzaError {
    StanzaError::new(Condition::NotAcceptable).text(text)
}

fn text(values: Vec<String>, bytes: usize) -> Result<Box<str>, StanzaError> {
    let mut values = values.into_iter();
    match (values.next().unwrap_or_default(), values.next()) {
        (value, None) if value.len() <= bytes => Ok(value.into()),
        (_, None) => Err(wrong("a text in the configuration is too long")),
        _ => Err(wrong("a field of the configuration has more than one value")),
    }
}

fn boolean(field: &mut bool, values: Vec<String>) -> Result<(), StanzaError> {
    match &*text(values, TEXT_BYTES)? {
        "" => {}
        "1" | "true" => *field = true,
        "0" | "false" => *field = false,
        _ => return Err(wrong("a field of the configuration is neither true nor false")),
    }
    Ok(())
}

fn word<T>(field: &mut T, values: Vec<String>, of: impl Fn(&str) -> Option<T>) -> Result<(), StanzaError> {
    match &*text(values, TEXT_BYTES)? {
        "" => {}
        word => *field = of(word).ok_or_else(|| wrong("a field of the configuration has no such value"))?,
    }
    Ok(())
}

/// A number from 1 on, at most `most`, which is also what more than that means.
fn number(field: &mut u32, values: Vec<String>, most: u32) -> Result<(), StanzaError> {
    match &*text(values, TEXT_BYTES)? {
        "" => {}
        "max" => *field = most,
        digits if digits.bytes().all(|b| b.is_ascii_digit()) && digits.bytes().any(|b| b != b'0') => {
            // Only a number that is too large cannot be read.
            *field = digits.parse().unwrap_or(most).min(most);
        }
        _ => return Err(wrong("a number in the configuration is none")),
    }
    Ok(())
}

fn list(values: Vec<String>) -> Result<Box<[Box<str>]>, StanzaError> {
    if values.len() > LIST || values.iter().any(|value| value.len() > TEXT_BYTES) {
        return Err(wrong("a list in the configuration is too long"));
    }
    Ok(values.into_iter().map(Into::into).collect())
}

impl NodeConfig {
    /// What XEP-0163 §5 recommends for the nodes of an account, or what is usual at a service.
    pub(super) fn new(account: bool) -> NodeConfig {
        NodeConfig {
            title: "".into(),
            description: "".into(),
            ty: "".into(),
            language: "".into(),
            contact: Box::new([]),
            groups: Box::new([]),
            access: if account { Access::Presence } else { Access::Open },
            publishers: Publish::Publishers,
            last: if account { SendLast::OnSubAndPresence } else { SendLast::Never },
            full: Full::RetractOldest,
            reply: ReplyTo::None,
            style: Style::Headline,
            max_items: if account { 1 } else { MAX_ITEMS },
            payload_bytes: PAYLOAD_BYTES as u32,
            persist: true,
            payloads: true,
            notifications: true,
            notify_retract: true,
            notify_delete: true,
            notify_config: false,
            notify_sub: false,
            subscribe: true,
        }
    }

    /// The same for a node of this name: what clients keep there for themselves is nobody else's, also if they do not say so
    /// (XEP-0223, XEP-0402 §3.3, XEP-0490 §3.1).
    pub(super) fn named(account: bool, name: &str) -> NodeConfig {
        let usual = NodeConfig::new(account);
        match name {
            "urn:xmpp:bookmarks:1" | "urn:xmpp:mds:displayed:0" if account => {
                NodeConfig { access: Access::Whitelist, last: SendLast::Never, max_items: MAX_ITEMS, ..usual }
            }
            "storage:bookmarks" | "storage:rosternotes" if account => NodeConfig { access: Access::Whitelist, ..usual },
            _ => usual,
        }
    }

    /// Takes over one field; says whether it is supported.
    fn set(&mut self, var: &str, values: Vec<String>) -> Result<bool, StanzaError> {
        match var {
            "pubsub#title" => self.title = text(values, TEXT_BYTES)?,
            "pubsub#description" => self.description = text(values, DESCRIPTION_BYTES)?,
            "pubsub#type" => self.ty = text(values, TEXT_BYTES)?,
            "pubsub#language" => self.language = text(values, TEXT_BYTES)?,
            "pubsub#contact" => {
                self.contact = list(values)?;
                if self.contact.iter().any(|jid| Jid::parse(jid).is_err()) {
                    return Err(wrong("a contact is not a JID"));
                }
            }
            "pubsub#access_model" => word(&mut self.access, values, Access::of).map_err(|_| access_model())?,
            "pubsub#roster_groups_allowed" => self.groups = list(values)?,
            "pubsub#publish_model" => word(&mut self.publishers, values, Publish::of)?,
            "pubsub#subscribe" => boolean(&mut self.subscribe, values)?,
            "pubsub#persist_items" => boolean(&mut self.persist, values)?,
            "pubsub#max_items" => number(&mut self.max_items, values, MAX_ITEMS)?,
            "pubsub#publish_node_full" => word(&mut self.full, values, Full::of)?,
            "pubsub#max_payload_size" => number(&mut self.payload_bytes, values, PAYLOAD_BYTES as u32)?,
            "pubsub#deliver_notifications" => boolean(&mut self.notifications, values)?,
            "pubsub#deliver_payloads" => boolean(&mut self.payloads, values)?,
            "pubsub#notification_type" => word(&mut self.style, values, Style::of)?,
            "pubsub#send_last_published_item" => word(&mut self.last, values, SendLast::of)?,
            "pubsub#itemreply" => word(&mut self.reply, values, ReplyTo::of)?,
            "pubsub#notify_retract" => boolean(&mut self.notify_retract, values)?,
            "pubsub#notify_delete" => boolean(&mut self.notify_delete, values)?,
            "pubsub#notify_config" => boolean(&mut self.notify_config, values)?,
            "pubsub#notify_sub" => boolean(&mut self.notify_sub, values)?,
            "pubsub#node_type" => match &*text(values, TEXT_BYTES)? {
                "" | "leaf" => {}
                _ => return Err(unsupported!("collections")),
            },
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// The same with what a form says. What is not supported is left out, unless it would change what the node does.
    pub(super) fn configured(&self, fields: Submitted) -> Result<NodeConfig, StanzaError> {
        let mut config = self.clone();
        for (var, values) in fields {
            if config.set(&var, values.clone())? {
                continue;
            }
            let switch = ["pubsub#purge_offline", "pubsub#presence_based_delivery", "pubsub#tempsub"].contains(&&*var);
            if switch && values.iter().any(|value| value == "1" || value == "true") {
                return Err(wrong("something in the configuration is not supported here"));
            }
        }
        Ok(config)
    }

    /// The same with what must hold for a publication (§7.1.5); `None` if something in it is not known here.
    pub(super) fn wanted(&self, fields: Submitted) -> Result<Option<NodeConfig>, StanzaError> {
        let mut config = self.clone();
        for (var, values) in fields {
            if !config.set(&var, values)? {
                return Ok(None);
            }
        }
        Ok(Some(config))
    }

    fn values(&self, var: &str) -> Vec<Cow<'_, str>> {
        let flag = |on: bool| vec![Cow::Borrowed(if on { "1" } else { "0" })];
        let word = |word: &'static str| vec![Cow::Borrowed(word)];
        let number = |number: u32| vec![Cow::Owned(number.to_string())];
        fn text(text: &str) -> Vec<Cow<'_, str>> {
            if text.is_empty() { Vec::new() } else { vec![Cow::Borrowed(text)] }
        }
        fn list(list: &[Box<str>]) -> Vec<Cow<'_, str>> {
            list.iter().map(|value| Cow::Borrowed(&**value)).collect()
        }
        match var {
            "pubsub#title" => text(&self.title),
            "pubsub#description" => text(&self.description),
            "pubsub#type" => text(&self.ty),
            "pubsub#language" => text(&self.language),
            "pubsub#contact" => list(&self.contact),
            "pubsub#access_model" => word(self.access.as_str()),
            "pubsub#roster_groups_allowed" => list(&self.groups),
            "pubsub#publish_model" => word(self.publishers.as_str()),
            "pubsub#subscribe" => flag(self.subscribe),
            "pubsub#persist_items" => flag(self.persist),
            "pubsub#max_items" if self.max_items == MAX_ITEMS => word("max"),
            "pubsub#max_items" => number(self.max_items),
            "pubsub#publish_node_full" => word(self.full.as_str()),
            "pubsub#max_payload_size" => number(self.payload_bytes),
            "pubsub#deliver_notifications" => flag(self.notifications),
            "pubsub#deliver_payloads" => flag(self.payloads),
            "pubsub#notification_type" => word(self.style.as_str()),
            "pubsub#send_last_published_item" => word(self.last.as_str()),
            "pubsub#itemreply" => word(self.reply.as_str()),
            "pubsub#notify_retract" => flag(self.notify_retract),
            "pubsub#notify_delete" => flag(self.notify_delete),
            "pubsub#notify_config" => flag(self.notify_config),
            "pubsub#notify_sub" => flag(self.notify_sub),
            _ => word("leaf"),
        }
    }

    /// The form: to be filled in (`form`, §8.2.2), or what holds (`result`, §8.2.5.3). `groups`: those of the owner's roster.
    pub(super) fn form(&self, ty: &str, groups: &BTreeSet<Box<str>>) -> String {
        let mut out = format!(
            "<x xmlns='jabber:x:data' type='{ty}'><field var='FORM_TYPE' type='hidden'><value>{CONFIG}</value></field>"
        );
        for (var, kind, label) in FIELDS {
            out += &format!("<field var='{var}' type='{kind}'");
            if ty == "form" {
                out += &format!(" label='{}'", escaped(label));
            }
            out += ">";
            let values = self.values(var);
            let mut choices: Vec<&str> = options(var).to_vec();
            if *var == GROUPS {
                choices.extend(groups.iter().map(|group| &**group));
            }
            // What is there can be chosen (XEP-0004 §3.3).
            if kind.starts_with("list-") {
                let others: Vec<&str> = values.iter().map(|v| &**v).filter(|v| !choices.contains(v)).collect();
                choices.extend(others);
            }
            for option in choices.iter().filter(|_| ty == "form") {
                out += &format!("<option><value>{}</value></option>", escaped(option));
            }
            for value in values {
                out += &format!("<value>{}</value>", escaped(&value));
            }
            out += "</field>";
        }
        out + "</x>"
    }

    /// Appends it to a record.
    pub(super) fn write(&self, w: Writer) -> Writer {
        let mut w = w.str(&self.title).str(&self.description).str(&self.ty).str(&self.language);
        for list in [&self.contact, &self.groups] {
            w = w.u32(list.len() as u32);
            for text in list {
                w = w.str(text);
            }
        }
        for number in self.words() {
            w = w.u8(number);
        }
        w.u32(self.max_items).u32(self.payload_bytes).flags(&[
            (bit::PERSIST, self.persist),
            (bit::PAYLOADS, self.payloads),
            (bit::NOTIFICATIONS, self.notifications),
            (bit::NOTIFY_RETRACT, self.notify_retract),
            (bit::NOTIFY_DELETE, self.notify_delete),
            (bit::NOTIFY_CONFIG, self.notify_config),
            (bit::NOTIFY_SUB, self.notify_sub),
            (bit::SUBSCRIBE, self.subscribe),
        ])
    }

    /// The choices, as they stand in a record.
    fn words(&self) -> [u8; 6] {
        [
            self.access.number(),
            self.publishers.number(),
            self.last.number(),
            self.full.number(),
            self.reply.number(),
            self.style.number(),
        ]
    }

    /// Reads it from a record.
    pub(super) fn read(r: &mut Reader<'_>) -> Result<NodeConfig, Broken> {
        let (title, description, ty, language) = (r.str()?.into(), r.str()?.into(), r.str()?.into(), r.str()?.into());
        fn list(r: &mut Reader<'_>) -> Result<Box<[Box<str>]>, Broken> {
            (0..r.u32()?).map(|_| r.str().map(Into::into)).collect()
        }
        let (contact, groups) = (list(r)?, list(r)?);
        let access = Access::of_number(r.u8()?)?;
        let publishers = Publish::of_number(r.u8()?)?;
        let last = SendLast::of_number(r.u8()?)?;
        let full = Full::of_number(r.u8()?)?;
        let reply = ReplyTo::of_number(r.u8()?)?;
        let style = Style::of_number(r.u8()?)?;
        let (max_items, payload_bytes, bits) = (r.u32()?, r.u32()?, r.u8()?);
        let has = |bit: u8| bits & bit != 0;
        Ok(NodeConfig {
            title,
            description,
            ty,
            language,
            contact,
            groups,
            access,
            publishers,
            last,
            full,
            reply,
            style,
            max_items,
            payload_bytes,
            persist: has(bit::PERSIST),
            payloads: has(bit::PAYLOADS),
            notifications: has(bit::NOTIFICATIONS),
            notify_retract: has(bit::NOTIFY_RETRACT),
            notify_delete: has(bit::NOTIFY_DELETE),
            notify_config: has(bit::NOTIFY_CONFIG),
            notify_sub: has(bit::NOTIFY_SUB),
            subscribe: has(bit::SUBSCRIBE),
        })
    }
}

fn options(var: &str) -> &'static [&'static str] {
    match var {
        "pubsub#language" => &LANGUAGES,
        "pubsub#access_model" => Access::WORDS,
        "pubsub#publish_model" => Publish::WORDS,
        "pubsub#publish_node_full" => Full::WORDS,
        "pubsub#notification_type" => Style::WORDS,
        "pubsub#send_last_published_item" => SendLast::WORDS,
        "pubsub#itemreply" => ReplyTo::WORDS,
        "pubsub#node_type" => &["leaf"],
        _ => &[],
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn fields(pairs: &[(&str, &[&str])]) -> Submitted {
        pairs.iter().map(|(var, values)| (var.to_string(), values.iter().map(|v| v.to_string()).collect())).collect()
    }

    /// The numbers and bits at the end of a record, which disks have.
    #[test]
    fn numbers_and_bits_are_those_on_disks() {
        // (field, word, place of the byte, what stands there); a flag is set alone.
        let cases = [
            ("access_model", "authorize", 0, 0),
            ("access_model", "open", 0, 1),
            ("access_model", "presence", 0, 2),
            ("access_model", "roster", 0, 3),
            ("access_model", "whitelist", 0, 4),
            ("publish_model", "publishers", 1, 0),
            ("publish_model", "subscribers", 1, 1),
            ("publish_model", "open", 1, 2),
            ("send_last_published_item", "never", 2, 0),
            ("send_last_published_item", "on_sub", 2, 1),
            ("send_last_published_item", "on_sub_and_presence", 2, 2),
            ("publish_node_full", "retract-oldest", 3, 0),
            ("publish_node_full", "discard-oldest", 3, 1),
            ("publish_node_full", "reject", 3, 2),
            ("itemreply", "publisher", 4, 0),
            ("itemreply", "none", 4, 1),
            ("notification_type", "normal", 5, 0),
            ("notification_type", "headline", 5, 1),
            ("persist_items", "1", 14, 0b0000_0001),
            ("deliver_payloads", "1", 14, 0b0000_0010),
            ("deliver_notifications", "1", 14, 0b0000_0100),
            ("notify_retract", "1", 14, 0b0000_1000),
            ("notify_delete", "1", 14, 0b0001_0000),
            ("notify_config", "1", 14, 0b0010_0000),
            ("notify_sub", "1", 14, 0b0100_0000),
            ("subscribe", "1", 14, 0b1000_0000),
        ];
        let mut none = NodeConfig::new(false);
        for (field, ..) in cases.iter().filter(|(.., place, _)| *place == 14) {
            none.set(&format!("pubsub#{field}"), vec!["0".into()]).unwrap();
        }
        (none.max_items, none.payload_bytes) = (0x0a0b_0c0d, 0x0102_0304);
        for (field, word, place, byte) in cases {
            let mut config = none.clone();
            assert!(config.set(&format!("pubsub#{field}"), vec![word.into()]).unwrap());
            let record = config.write(Writer::new(1)).done();
            let end = &record[record.len() - 15..];
            assert_eq!((end[place], &end[6..14]), (byte, &[13, 12, 11, 10, 4, 3, 2, 1][..]), "{field} {word}");
        }
    }

    #[test]
    fn every_field_of_the_form_is_taken_back_and_every_flag_has_its_bit() {
        for account in [true, false] {
            let config = NodeConfig::new(account);
            for (var, kind, _) in FIELDS {
                let mut other = config.clone();
                let now: Vec<String> = config.values(var).iter().map(|v| v.to_string()).collect();
                assert!(other.set(var, now.clone()).unwrap(), "{var}");
                assert_eq!(other, config, "{var}");
                let changed: Vec<String> = match *kind {
                    "boolean" => vec![if now == ["1"] { "false" } else { "true" }.into()],
                    "list-single" => options(var).iter().rev().take(1).map(|o| o.to_string()).collect(),
                    "jid-multi" => vec!["bard@house.test".into(), "will@house.test".into()],
                    "list-multi" => vec!["Friends & foes".into(), "Servants".into()],
                    _ if var.ends_with("max_items") || var.ends_with("size") => vec!["7".into()],
                    _ => vec!["<A title>".into()],
                };
                other.set(var, changed).unwrap();
                let record = other.write(Writer::new(1)).done();
                assert_eq!(NodeConfig::read(&mut Reader::new(&record).unwrap()).unwrap(), other, "{var}");
                crate::wire::xml::Raw::parse(&other.form("form", &BTreeSet::new()), crate::wire::Scope::client())
                    .unwrap();
            }
        }
    }

    #[test]
    fn numbers_end_at_the_cap_and_max_is_the_cap() {
        let config = |value: &str| NodeConfig::new(true).configured(fields(&[("pubsub#max_items", &[value])]));
        assert_eq!(config("max").unwrap().max_items, MAX_ITEMS);
        assert_eq!(config(&"9".repeat(400)).unwrap().max_items, MAX_ITEMS);
        assert_eq!(config("12").unwrap().max_items, 12);
        for none in ["0", "-1", "000", "many", "1.5"] {
            assert_eq!(config(none).unwrap_err().condition, Condition::NotAcceptable, "{none}");
        }
    }

    #[test]
    fn what_is_not_supported() {
        let config = NodeConfig::new(true);
        let with = |var: &str, value: &str| config.configured(fields(&[(var, &[value])]));
        assert_eq!(with("pubsub#body_xslt", "http://house.test/x").unwrap(), config);
        assert_eq!(with("pubsub#tempsub", "0").unwrap(), config);
        assert!(with("pubsub#tempsub", "1").is_err());
        assert!(with("pubsub#node_type", "collection").is_err());
        assert!(with("pubsub#access_model", "x").unwrap_err().app.unwrap().contains("unsupported-access-model"));
        assert!(with("pubsub#title", &"x".repeat(TEXT_BYTES + 1)).is_err());
        assert_eq!(config.wanted(fields(&[("pubsub#item_expire", &["1"])])).unwrap(), None);
    }
}
