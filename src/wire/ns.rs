//! Every namespace that the server itself reads, one line each. All others are [`Ns::OTHER`] and travel as bytes.

/// A namespace name, interned: two bytes instead of a string in every element of the index.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Ns(pub(super) u16);

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
    FRAMING = "urn:ietf:params:xml:ns:xmpp-framing";
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
    PARS = "urn:xmpp:pars:0";
    REGISTER_FEATURE = "http://jabber.org/features/iq-register";
    IBR_TOKEN = "urn:xmpp:ibr-token:0";
    IQ_AUTH_FEATURE = "http://jabber.org/features/iq-auth";
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
    MUC_ADMIN = "http://jabber.org/protocol/muc#admin";
    MUC_OWNER = "http://jabber.org/protocol/muc#owner";
    CONFERENCE = "jabber:x:conference";
    OCCUPANT_ID = "urn:xmpp:occupant-id:0";
    HATS = "urn:xmpp:hats:0";
    MODERATE = "urn:xmpp:message-moderate:1";
    RETRACT = "urn:xmpp:message-retract:1";
    SEARCH = "urn:xmpp:channel-search:0:search";
    PUBSUB = "http://jabber.org/protocol/pubsub";
    PUBSUB_OWNER = "http://jabber.org/protocol/pubsub#owner";
    PUBSUB_EVENT = "http://jabber.org/protocol/pubsub#event";
    PUBSUB_ERRORS = "http://jabber.org/protocol/pubsub#errors";
    AVATAR_DATA = "urn:xmpp:avatar:data";
    AVATAR_METADATA = "urn:xmpp:avatar:metadata";
    BOOKMARKS = "urn:xmpp:bookmarks:1";
    STORAGE_BOOKMARKS = "storage:bookmarks";
    MDS = "urn:xmpp:mds:displayed:0";
    COMMANDS = "http://jabber.org/protocol/commands";
    COMPONENT = "jabber:component:accept";
    DIALBACK = "jabber:server:dialback";
    DIALBACK_FEATURE = "urn:xmpp:features:dialback";
    BIDI = "urn:xmpp:bidi";
    BIDI_FEATURE = "urn:xmpp:features:bidi";
    CSI = "urn:xmpp:csi:0";
    PUSH = "urn:xmpp:push:0";
    SASL2 = "urn:xmpp:sasl:2";
    BIND2 = "urn:xmpp:bind:0";
    FAST = "urn:xmpp:fast:0";
    UPGRADE = "urn:xmpp:sasl:upgrade:0";
    SCRAM_UPGRADE = "urn:xmpp:scram-upgrade:0";
    SID = "urn:xmpp:sid:0";
    UPLOAD = "urn:xmpp:http:upload:0";
    UPLOAD_PURPOSE = "urn:xmpp:http:upload:purpose:0";
    CHAT_MARKERS = "urn:xmpp:chat-markers:0";
    JINGLE_MESSAGE = "urn:xmpp:jingle-message:0";
    OMEMO_OLD = "eu.siacs.conversations.axolotl";
    OMEMO = "urn:xmpp:omemo:2";
    OPENPGP = "urn:xmpp:openpgp:0";
    ENCRYPTED = "jabber:x:encrypted";
    EME = "urn:xmpp:eme:0";
    SASL_CB = "urn:xmpp:sasl-cb:0";
    SSDP = "urn:xmpp:ssdp:0";
    STREAM_LIMITS = "urn:xmpp:stream-limits:0";
    SM = "urn:xmpp:sm:3";
    MAM = "urn:xmpp:mam:2";
    RSM = "http://jabber.org/protocol/rsm";
    ORDER_BY = "urn:xmpp:order-by:1";
}

impl Ns {
    /// The namespace of that name, or [`Ns::OTHER`].
    pub fn of(uri: &str) -> Ns {
        let len = uri.len();
        if len == 0 || len > LONGEST_BYTES {
            return Ns::OTHER;
        }
        let same_length = &BY_LENGTH[FIRST[len] as usize..FIRST[len + 1] as usize];
        same_length.iter().find(|at| URIS[**at as usize] == uri).map_or(Ns::OTHER, |at| Ns(*at))
    }

    /// A bit for it: two of them are different if their bits are.
    pub(super) fn bit(self) -> u64 {
        1 << (self.0 % 64)
    }

    /// Its name; empty for [`Ns::OTHER`].
    pub fn uri(self) -> &'static str {
        URIS[self.0 as usize]
    }
}

/// The length of the longest name.
const LONGEST_BYTES: usize = {
    let (mut longest, mut i) = (0, 0);
    while i < URIS.len() {
        if URIS[i].len() > longest {
            longest = URIS[i].len();
        }
        i += 1;
    }
    longest
};

/// The places of the names in [`URIS`], the shortest first: looking one up compares a few of the same length only.
const BY_LENGTH: [u16; URIS.len()] = {
    let mut sorted = [0; URIS.len()];
    let (mut len, mut n) = (0, 0);
    while len <= LONGEST_BYTES {
        let mut i = 0;
        while i < URIS.len() {
            if URIS[i].len() == len {
                sorted[n] = i as u16;
                n += 1;
            }
            i += 1;
        }
        len += 1;
    }
    sorted
};

/// Where in [`BY_LENGTH`] the names of each length begin; those of the next length begin where they end.
const FIRST: [u16; LONGEST_BYTES + 2] = {
    let mut first = [0; LONGEST_BYTES + 2];
    let mut len = 0;
    while len <= LONGEST_BYTES {
        first[len + 1] = first[len];
        let mut i = 0;
        while i < URIS.len() {
            if URIS[i].len() == len {
                first[len + 1] += 1;
            }
            i += 1;
        }
        len += 1;
    }
    first
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_found_and_distinct() {
        for (at, uri) in URIS.iter().enumerate() {
            assert_eq!(Ns::of(uri), Ns(at as u16), "{uri} is there twice");
            assert_eq!(Ns(at as u16).uri(), *uri);
            if !uri.is_empty() {
                assert_eq!(Ns::of(&uri.to_uppercase()), Ns::OTHER);
                assert_eq!(Ns::of(&uri[1..]), Ns::OTHER);
            }
        }
        assert_eq!(Ns::of("jabber:client"), Ns::CLIENT);
        assert_eq!(Ns::of(""), Ns::OTHER);
        assert_eq!(Ns::of(&"x".repeat(10_000)), Ns::OTHER);
    }
}
