//! What a login asks for beside the proof of a password (XEP-0388), and what comes of it: between the stream that reads it and the
//! core that does it.

use super::scram::{Hash, Keys};
use super::{Condition, Jid, Node, Ns, Raw};
use std::fmt;
use std::sync::Arc;

/// The longest id of a stream to be resumed, in bytes (XEP-0198 §5 lets ours have 4,000).
pub const RESUME_ID_BYTES: usize = 256;
/// The longest tag of a client that becomes part of its resource, in bytes (XEP-0386 §3.2.1).
pub const TAG_BYTES: usize = 128;

/// The mechanisms that prove a token (draft-schmaus-kitten-sasl-ht-09), by what they bind to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ht {
    /// `HT-SHA-256-EXPR`, to `tls-exporter`.
    Exporter,
    /// `HT-SHA-256-ENDP`, to `tls-server-end-point`.
    EndPoint,
    /// `HT-SHA-256-NONE`
    None,
}

impl Ht {
    /// All, the strongest first.
    pub const ALL: [Ht; 3] = [Ht::Exporter, Ht::EndPoint, Ht::None];

    /// The name of the mechanism.
    pub fn as_str(self) -> &'static str {
        match self {
            Ht::Exporter => "HT-SHA-256-EXPR",
            Ht::EndPoint => "HT-SHA-256-ENDP",
            Ht::None => "HT-SHA-256-NONE",
        }
    }
}

/// An installation of a client, by the id that it gave itself.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Client(pub u128);

impl Client {
    /// Of a UUID as XEP-0388 §8 writes it; of any version. `None`: it is none.
    pub fn parse(text: &str) -> Option<Client> {
        let groups = || text.split('-').map(str::len);
        let hexadecimal = |b: u8| b == b'-' || b.is_ascii_hexdigit();
        (groups().eq([8, 4, 4, 4, 12]) && text.bytes().all(hexadecimal))
            .then(|| u128::from_str_radix(&text.replace('-', ""), 16).ok().map(Client))?
    }
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// It is nobody else's business which one it is.
impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Client")
    }
}

/// `<authenticate/>`: of what may stand in it once, the first counts.
#[derive(Clone)]
pub struct Request(Arc<Raw>);

impl Request {
    /// Of an `<authenticate/>` (XEP-0388 §2.3).
    pub fn new(authenticate: Arc<Raw>) -> Request {
        Request(authenticate)
    }

    fn child(&self, ns: Ns, name: &str) -> Option<Node<'_>> {
        self.0.root().child(ns, name)
    }

    /// Who asks (XEP-0388 §2.3). An id that is no UUID is as good as none.
    pub fn client(&self) -> Option<Client> {
        Client::parse(self.child(Ns::SASL2, "user-agent")?.attr("id")?.trim())
    }

    /// `<bind/>` (XEP-0386 §3.2).
    pub fn bind(&self) -> Option<Node<'_>> {
        self.child(Ns::BIND2, "bind")
    }

    /// The session to be carried on and the stanzas of it that were handled (XEP-0198 §9.2); or what is wrong with that.
    pub fn resume(&self) -> Option<Result<(String, u32), Condition>> {
        self.child(Ns::SM, "resume").map(resume)
    }

    /// `<fast/>` (XEP-0484 §3.4).
    pub fn fast(&self) -> Option<Node<'_>> {
        self.child(Ns::FAST, "fast")
    }

    /// The mechanism that a token is wanted for (XEP-0484 §3.2).
    pub fn wants_token(&self) -> Option<Ht> {
        let name = self.child(Ns::FAST, "request-token")?.attr("mechanism")?;
        Ht::ALL.into_iter().find(|ht| ht.as_str() == name)
    }

    /// The upgrades that the client is ready for (XEP-0480 §2.2).
    pub fn upgrades(&self) -> impl Iterator<Item = String> {
        let upgrades = self.0.root().children().filter(|child| child.is(Ns::UPGRADE, "upgrade"));
        upgrades.map(|upgrade| upgrade.text().trim().to_owned())
    }
}

/// Which id and which count `<resume/>` has (XEP-0198 §5).
///
/// # Errors
/// The condition that it is refused with.
pub fn resume(element: Node<'_>) -> Result<(String, u32), Condition> {
    match (element.attr("previd"), element.attr("h").and_then(|h| h.trim().parse().ok())) {
        (Some(id), Some(h)) if id.len() <= RESUME_ID_BYTES => Ok((id.into_owned(), h)),
        (Some(_), Some(_)) => Err(Condition::ItemNotFound),
        _ => Err(Condition::BadRequest),
    }
}

/// Whether `<enable/>` asks for a stream that can be resumed, and within how many seconds at most (XEP-0198 §3).
pub fn enable(element: Node<'_>) -> (bool, Option<u32>) {
    (is_true(element, "resume"), element.attr("max").and_then(|max| max.trim().parse().ok()))
}

/// Whether an attribute says yes.
pub fn is_true(element: Node<'_>, attribute: &str) -> bool {
    element.attr(attribute).is_some_and(|yes| matches!(yes.trim(), "1" | "true"))
}

/// The proof of a token.
pub struct Proof {
    /// How it was made.
    pub mechanism: Ht,
    /// `HMAC(token, "Initiator" || binding)`
    pub hash: Box<[u8]>,
    /// The data of the channel.
    pub binding: Box<[u8]>,
}

/// What is to be done before `<success/>`.
pub struct Begin {
    /// Who logs in: who has proven it, unless there is a proof of a token.
    pub account: Jid,
    /// The `<authenticate/>` with all that it asks for.
    pub request: Request,
    /// What is to be checked first.
    pub proof: Option<Proof>,
    /// The mechanism that a token is wanted for, if it is offered.
    pub token: Option<Ht>,
    /// Keys for the account in place of weaker ones.
    pub upgrade: Option<Upgrade>,
}

/// Keys that a client has made of the password (XEP-0480 §3).
pub struct Upgrade {
    /// The `StoredKey` for SHA-256 that the account had when the password was proven.
    pub of: Box<[u8]>,
    /// What the upgrades have made of the password, by hash (XEP-0480).
    pub keys: Vec<(Hash, Keys)>,
}

/// No secrets in logs.
impl fmt::Debug for Begin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Begin({}{})", self.account, if self.proof.is_some() { ", with a token" } else { "" })
    }
}

/// What an authenticated stream is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Begins {
    /// It has no resource yet.
    Unbound,
    /// It has a new session.
    Bound {
        /// With stream management.
        managed: bool,
        /// Nobody looks at its client (XEP-0352).
        inactive: bool,
    },
    /// It carries on a session.
    Resumed,
}

/// What was done of what a client asked for with its proof.
pub struct Begun {
    /// The bare JID of the account, or the full one of the session.
    pub jid: Jid,
    /// What the stream is now.
    pub begins: Begins,
    /// The answer to the proof of a token: `HMAC(token, "Responder" || binding)`.
    pub proof: Option<Box<[u8]>>,
    /// What `<success/>` tells, as XML.
    pub elements: String,
}

/// No secrets in logs.
impl fmt::Debug for Begun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Begun({}, {:?})", self.jid, self.begins)
    }
}

/// Why there was nothing done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refused {
    /// The token is wrong, or was taken back.
    NotAuthorized,
    /// The token was right once.
    Expired,
    /// Trouble on our side.
    Trouble,
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::wire::Scope;

    fn request(inner: &str) -> Request {
        let xml = format!("<authenticate xmlns='urn:xmpp:sasl:2' mechanism='X'>{inner}</authenticate>");
        Request::new(Raw::parse(&xml, Scope::client()).unwrap())
    }

    #[test]
    fn clients() {
        let id = Client::parse("d4565fa7-4d72-4749-b3d3-740edbf87770").unwrap();
        assert_eq!(id.to_string(), "d4565fa74d724749b3d3740edbf87770");
        assert_eq!(Client::parse("D4565FA7-4D72-4749-B3D3-740EDBF87770"), Some(id));
        for wrong in ["", "x", "d4565fa7-4d72-4749-b3d3-740edbf8777", "d4565fa7-4d72-4749-b3d3-740edbf8777g"] {
            assert_eq!(Client::parse(wrong), None, "{wrong}");
        }
        for wrong in [
            "d4565fa74d724749b3d3740edbf87770",
            "d4565fa7-4d72-4749-b3d3-740edbf87770-",
            "+4565fa7-4d72-4749-b3d3-740edbf87770",
        ] {
            assert_eq!(Client::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn requests() {
        let empty = request("");
        assert!(empty.client().is_none() && empty.bind().is_none() && empty.resume().is_none());
        assert!(empty.fast().is_none() && empty.wants_token().is_none() && empty.upgrades().next().is_none());
        let full = request(
            "<user-agent id='d4565fa7-4d72-4749-b3d3-740edbf87770'><software>x</software></user-agent>\
             <resume xmlns='urn:xmpp:sm:3' previd='a' h='7'/><bind xmlns='urn:xmpp:bind:0'/><fast xmlns='urn:xmpp:fast:0'/>\
             <request-token xmlns='urn:xmpp:fast:0' mechanism='HT-SHA-256-ENDP'/>\
             <upgrade xmlns='urn:xmpp:sasl:upgrade:0'>A</upgrade><upgrade xmlns='urn:xmpp:sasl:upgrade:0'> B </upgrade>",
        );
        assert!(full.client().is_some() && full.bind().is_some() && full.fast().is_some());
        assert_eq!(full.resume(), Some(Ok(("a".into(), 7))));
        assert_eq!(full.wants_token(), Some(Ht::EndPoint));
        assert_eq!(full.upgrades().collect::<Vec<_>>(), ["A", "B"]);
        // In another namespace they are something else.
        let other = request("<bind/><resume previd='a' h='7'/><fast/><upgrade>A</upgrade>");
        assert!(other.bind().is_none() && other.resume().is_none() && other.fast().is_none());
        for (resume, condition) in [("h='1'", Condition::BadRequest), ("previd='a' h='-1'", Condition::BadRequest)] {
            let request = request(&format!("<resume xmlns='urn:xmpp:sm:3' {resume}/>"));
            assert_eq!(request.resume(), Some(Err(condition)));
        }
        let long = request(&format!("<resume xmlns='urn:xmpp:sm:3' h='1' previd='{}'/>", "x".repeat(257)));
        assert_eq!(long.resume(), Some(Err(Condition::ItemNotFound)));
    }

    #[test]
    fn debug_shows_no_secret() {
        let account = Jid::parse("romeo@house.test").unwrap();
        let proof = Proof { mechanism: Ht::None, hash: [1; 32].into(), binding: Box::default() };
        let request = request("<user-agent id='d4565fa7-4d72-4749-b3d3-740edbf87770'/>");
        let client = format!("{:?}", request.client());
        let begin = Begin { account: account.clone(), request, proof: Some(proof), token: None, upgrade: None };
        assert_eq!(format!("{begin:?} {client}"), "Begin(romeo@house.test, with a token) Some(Client)");
        let begun = Begun { jid: account, begins: Begins::Unbound, proof: None, elements: "secret".into() };
        assert_eq!(format!("{begun:?}"), "Begun(romeo@house.test, Unbound)");
    }
}
