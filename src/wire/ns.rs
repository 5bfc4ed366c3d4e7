//! Every namespace that the server itself reads, one line each. All others are [`Ns::OTHER`] and travel as bytes.

/// A namespace name, interned: two bytes instead of a string in every element of the index.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Ns(u16);

macro_rules! namespaces {
    ($($name:ident = $uri:literal;)*) => {
        #[allow(non_camel_case_types, clippy::upper_case_acronyms)]
        #[repr(u16)]
        enum Index { OTHER, $($name,)* }
        const URIS: &[&str] = &["", $($uri,)*];
        impl Ns {
            /// A namespace that nobody here reads.
            pub const OTHER: Ns = Ns(Index::OTHER as u16);
            $(#[doc = concat!("`", $uri, "`")] pub const $name: Ns = Ns(Index::$name as u16);)*
        }
    };
}

namespaces! {
    // RFC 6120
    CLIENT = "jabber:client";
    SERVER = "jabber:server";
    STREAM = "http://etherx.jabber.org/streams";
    STREAMS = "urn:ietf:params:xml:ns:xmpp-streams";
    STANZAS = "urn:ietf:params:xml:ns:xmpp-stanzas";
    TLS = "urn:ietf:params:xml:ns:xmpp-tls";
    SASL = "urn:ietf:params:xml:ns:xmpp-sasl";
    BIND = "urn:ietf:params:xml:ns:xmpp-bind";
    SESSION = "urn:ietf:params:xml:ns:xmpp-session";
    XML = "http://www.w3.org/XML/1998/namespace";
    XMLNS = "http://www.w3.org/2000/xmlns/";
    // RFC 6121
    ROSTER = "jabber:iq:roster";
    ROSTER_VER = "urn:xmpp:features:rosterver";
    PRE_APPROVAL = "urn:xmpp:features:pre-approval";
    // Extensions
    DATA_FORM = "jabber:x:data";
    LAST = "jabber:iq:last";
    DISCO_INFO = "http://jabber.org/protocol/disco#info";
    DISCO_ITEMS = "http://jabber.org/protocol/disco#items";
    PRIVATE = "jabber:iq:private";
    VCARD = "vcard-temp";
    VCARD_UPDATE = "vcard-temp:x:update";
    REGISTER = "jabber:iq:register";
    REGISTER_FEATURE = "http://jabber.org/features/iq-register";
    CHAT_STATES = "http://jabber.org/protocol/chatstates";
    VERSION = "jabber:iq:version";
    CAPS = "http://jabber.org/protocol/caps";
    RECEIPTS = "urn:xmpp:receipts";
    BLOCKING = "urn:xmpp:blocking";
    BLOCKING_ERRORS = "urn:xmpp:blocking:errors";
    PING = "urn:xmpp:ping";
    TIME = "urn:xmpp:time";
    DELAY = "urn:xmpp:delay";
    CARBONS = "urn:xmpp:carbons:2";
    FORWARD = "urn:xmpp:forward:0";
    HINTS = "urn:xmpp:hints";
    MUC = "http://jabber.org/protocol/muc";
    MUC_USER = "http://jabber.org/protocol/muc#user";
    CONFERENCE = "jabber:x:conference";
    SID = "urn:xmpp:sid:0";
    CHAT_MARKERS = "urn:xmpp:chat-markers:0";
    SASL_CB = "urn:xmpp:sasl-cb:0";
    SSDP = "urn:xmpp:ssdp:0";
    STREAM_LIMITS = "urn:xmpp:stream-limits:0";
    SM = "urn:xmpp:sm:3";
}

impl Ns {
    /// The namespace of that name, or [`Ns::OTHER`].
    pub fn of(uri: &str) -> Ns {
        match URIS.iter().skip(1).position(|known| *known == uri) {
            Some(at) => Ns(at as u16 + 1),
            None => Ns::OTHER,
        }
    }

    /// Its name; empty for [`Ns::OTHER`].
    pub fn uri(self) -> &'static str {
        URIS[self.0 as usize]
    }
}
