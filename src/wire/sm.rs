//! The elements of stream management (XEP-0198) that a server writes.

use super::error::Condition;
use super::jid::Jid;
use super::xml::escape;
use std::fmt::Write;

/// What a server that we have dialled answers to what we want of stream management.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ManageAnswer {
    /// It counts from here on; the stream can be carried on by this id.
    Enabled(Option<String>),
    /// It carries on what was asked for, and has handled so many of our stanzas.
    Resumed(u32),
    /// It does not; and has handled so many of what was asked for, if it knows.
    Failed(Option<u32>),
}

/// An element of stream management (XEP-0198).
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Manage {
    /// `<enable/>`, for a stream that can be resumed: of a server that has dialled another one.
    Enable,
    /// `<resume/>`: of one that has, too.
    Resume {
        /// The id of what is to be carried on.
        id: String,
        /// Stanzas of the peer that were handled.
        h: u32,
    },
    /// `<enabled/>`
    Enabled {
        /// The id to resume the stream by, if it can be.
        id: Option<String>,
        /// How long that can be done after the connection was lost, in seconds.
        max_s: u32,
        /// Where the client should connect to resume it (XEP-0198 §5), as `host:port`.
        location: Option<String>,
    },
    /// `<resumed/>`: the stream carries on this session. Its stanzas follow.
    Resumed {
        /// Its full JID; between servers, the domain of the peer.
        jid: Jid,
        /// The id of the session that goes on, from the `<enabled/>` of its first stream.
        id: String,
        /// Stanzas of the client that were handled.
        h: u32,
    },
    /// `<failed/>`
    Failed {
        /// Why it cannot be done (XEP-0198 §3, §5).
        condition: Condition,
        /// Stanzas of the client that were handled, if that is known.
        handled: Option<u32>,
    },
    /// `<a/>`
    Ack(u32),
    /// `<r/>`
    Request,
}

impl Manage {
    /// Appends it as XML.
    pub fn write(&self, out: &mut String) {
        let attribute = |name: &str, value: &str, out: &mut String| {
            let _ = write!(out, " {name}='");
            escape(value, out);
            out.push('\'');
        };
        // Writing to a string cannot fail.
        let _ = match self {
            Manage::Enable => out.write_str("<enable xmlns='urn:xmpp:sm:3' resume='true'/>"),
            Manage::Resume { id, h } => {
                let _ = write!(out, "<resume xmlns='urn:xmpp:sm:3' h='{h}'");
                attribute("previd", id, out);
                out.write_str("/>")
            }
            Manage::Enabled { id, max_s, location } => {
                out.push_str("<enabled xmlns='urn:xmpp:sm:3'");
                if let Some(id) = id {
                    attribute("id", id, out);
                    let _ = write!(out, " resume='true' max='{max_s}'");
                }
                if let Some(location) = location {
                    attribute("location", location, out);
                }
                out.write_str("/>")
            }
            Manage::Resumed { id, h, .. } => {
                let _ = write!(out, "<resumed xmlns='urn:xmpp:sm:3' h='{h}'");
                attribute("previd", id, out);
                out.write_str("/>")
            }
            Manage::Failed { condition, handled } => {
                out.push_str("<failed xmlns='urn:xmpp:sm:3'");
                if let Some(h) = handled {
                    let _ = write!(out, " h='{h}'");
                }
                write!(out, "><{} xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></failed>", condition.as_str())
            }
            Manage::Ack(h) => write!(out, "<a xmlns='urn:xmpp:sm:3' h='{h}'/>"),
            Manage::Request => out.write_str("<r xmlns='urn:xmpp:sm:3'/>"),
        };
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn elements() {
        let jid = Jid::parse("a@b/c").unwrap();
        for (element, xml) in [
            (Manage::Enabled { id: None, max_s: 5, location: None }, "<enabled xmlns='urn:xmpp:sm:3'/>"),
            (
                Manage::Enabled { id: Some("x'<".into()), max_s: 5, location: Some("[::1]:5222".into()) },
                "<enabled xmlns='urn:xmpp:sm:3' id='x&apos;&lt;' resume='true' max='5' location='[::1]:5222'/>",
            ),
            (
                Manage::Resumed { jid, id: "x".into(), h: u32::MAX },
                "<resumed xmlns='urn:xmpp:sm:3' h='4294967295' previd='x'/>",
            ),
            (
                Manage::Failed { condition: Condition::ItemNotFound, handled: Some(0) },
                "<failed xmlns='urn:xmpp:sm:3' h='0'><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></failed>",
            ),
            (
                Manage::Failed { condition: Condition::UnexpectedRequest, handled: None },
                "<failed xmlns='urn:xmpp:sm:3'><unexpected-request xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></failed>",
            ),
            (Manage::Enable, "<enable xmlns='urn:xmpp:sm:3' resume='true'/>"),
            (Manage::Resume { id: "x".into(), h: 7 }, "<resume xmlns='urn:xmpp:sm:3' h='7' previd='x'/>"),
            (Manage::Ack(7), "<a xmlns='urn:xmpp:sm:3' h='7'/>"),
            (Manage::Request, "<r xmlns='urn:xmpp:sm:3'/>"),
        ] {
            let mut out = String::new();
            element.write(&mut out);
            assert_eq!(out, xml);
        }
    }
}
