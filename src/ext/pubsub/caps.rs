//! What clients want to be told of: their features `NODE+notify` (XEP-0060 §9.2), which the hash in their presence stands for
//! (XEP-0115). Of people at other servers, and behind components, those count that show their presence to an account here, which shows
//! them its own.
//!
//! A hash that is not known is asked for: one question for each hash at a time. An answer that has the hash holds for all sessions
//! with it; any other answer for the session that gave it alone.

use crate::core::share::{Ledger, Shared, Shares, limits};
use crate::core::{Job, SessionId, State};
use crate::wire::xml::escaped;
use crate::wire::{Jid, Node, Ns, Stanza, Type};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use ring::digest;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Hashes that are remembered.
const KNOWN: usize = 256;
/// Questions to one session that wait for its answer: one that changes its hash again and again is not asked for each.
const QUESTIONS: usize = 8;
/// The same to all sessions.
const QUESTIONS_OF_ALL: usize = 2048;
/// The names of nodes that a client is interested in, in bytes; what is more does not count.
const INTERESTS_BYTES: usize = 8 * 1024;
/// The node, the hash and its algorithm together, in bytes.
const KEY_BYTES: usize = 512;
/// Clients elsewhere, and to whom here they show their presence, that are remembered.
const ELSEWHERE: usize = 4096;
/// How long a session is waited for before another with the same hash is asked, in milliseconds.
const ANSWER_MS: u64 = 10_000;

/// For the table in `src/lib.rs`.
pub(in crate::ext) const SHARED: [Shared; 2] = [
    Shared {
        what: "hashes of what clients want to be told of",
        whole: limits![KNOWN, QUESTIONS, QUESTIONS_OF_ALL],
        share: "an account, or a site elsewhere, whose client told what one stands for: who has most loses first; a session is asked the second number of questions at a time, and all the third: the rule",
        checked: "ext/pubsub/caps.rs",
        told: "its least used one is forgotten, and asked for again",
    },
    Shared {
        what: "clients elsewhere that want to be told of what is published here",
        whole: limits![ELSEWHERE],
        share: "a site elsewhere: who has most loses first",
        checked: "ext/pubsub/caps.rs",
        told: "is told of nothing until its next presence",
    },
];

/// The client of a session, or one elsewhere by its full JID.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum CapsClient {
    Here(SessionId),
    Elsewhere(Jid),
}

/// The names of the nodes that a client wants to be told of (XEP-0163 §4.3.1).
pub(super) type Interests = Arc<BTreeSet<Box<str>>>;

/// What a presence says of its client.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct CapsKey {
    /// The algorithm; empty: there is none, and it cannot be verified.
    hash: Box<str>,
    ver: Box<str>,
    node: Box<str>,
}

/// One whose presence says something of its client.
#[derive(Debug)]
struct KnownClient {
    key: CapsKey,
    /// `None`: nothing that is known.
    interests: Option<Interests>,
    /// Of a client elsewhere: the accounts that it shows its presence to, by localpart.
    accounts: BTreeSet<Box<str>>,
}

impl KnownClient {
    fn wants(&self, name: &str) -> bool {
        self.interests.as_ref().is_some_and(|interests| interests.contains(name))
    }
}

#[derive(Debug)]
struct CapsQuestion {
    /// Who was asked last.
    asked: CapsClient,
    /// Who could be asked next; each client is among those of one question.
    waiting: BTreeSet<CapsClient>,
}

/// All that is known of sessions.
#[derive(Debug, Default)]
pub(super) struct ClientCaps {
    sessions: BTreeMap<CapsClient, KnownClient>,
    /// Those elsewhere, with each account that they show their presence to, by domain.
    elsewhere: Ledger<(Jid, Box<str>)>,
    known: BTreeMap<CapsKey, Interests>,
    /// Whose client told each.
    told: Ledger<CapsKey>,
    questions: BTreeMap<CapsKey, CapsQuestion>,
    asked: AllAsked,
}

/// One who was asked, and has not answered.
#[derive(Debug)]
struct AskedCaps {
    key: CapsKey,
    client: CapsClient,
    question: Job,
    /// The time for it.
    timer: Job,
    who: Arc<str>,
}

/// All of them, by the jobs of the question.
#[derive(Debug, Default)]
struct AllAsked {
    jobs: BTreeMap<Job, AskedCaps>,
    timers: BTreeMap<Job, Job>,
    clients: BTreeMap<CapsClient, Vec<Job>>,
    shares: Shares,
}

impl AllAsked {
    /// Whether a client may be asked one more: of those that it has not answered in time it may have as many again.
    fn may(&self, client: &CapsClient) -> bool {
        let questions = self.clients.get(client).map_or(&[][..], |questions| questions);
        let is_waited_for = |job: &&Job| self.jobs.get(job).is_some_and(|asked| self.timers.contains_key(&asked.timer));
        questions.len() + questions.iter().filter(is_waited_for).count() < 2 * QUESTIONS
    }

    /// One more, which is counted in the shares.
    fn put(&mut self, asked: AskedCaps) {
        self.timers.insert(asked.timer, asked.question);
        self.clients.entry(asked.client.clone()).or_default().push(asked.question);
        self.jobs.insert(asked.question, asked);
    }

    /// The time for a question is over; it may still be answered.
    fn is_late(&mut self, timer: Job) -> Option<(CapsKey, CapsClient)> {
        let asked = self.jobs.get(&self.timers.remove(&timer)?)?;
        Some((asked.key.clone(), asked.client.clone()))
    }

    /// A question is over.
    fn take(&mut self, question: Job) -> Option<AskedCaps> {
        let asked = self.jobs.remove(&question)?;
        self.timers.remove(&asked.timer);
        self.shares.take(&asked.who, 1);
        if let Some(questions) = self.clients.get_mut(&asked.client) {
            questions.retain(|one| *one != question);
            if questions.is_empty() {
                self.clients.remove(&asked.client);
            }
        }
        Some(asked)
    }

    /// All that a client was asked.
    fn take_of(&mut self, client: &CapsClient) -> Vec<AskedCaps> {
        let questions = self.clients.get(client).cloned().unwrap_or_default();
        questions.into_iter().filter_map(|question| self.take(question)).collect()
    }
}

/// In whose share it is what a client says of itself.
fn whose(st: &State, client: &CapsClient) -> Box<str> {
    match client {
        CapsClient::Here(sid) => st.session(*sid).map_or("", |session| session.jid.bare_str()).into(),
        CapsClient::Elsewhere(jid) => st.whose(jid).into(),
    }
}

/// A client, and the nodes that it has become interested in.
pub(super) type NewInterests = Vec<(CapsClient, BTreeSet<Box<str>>)>;

impl ClientCaps {
    /// Whether a session wants to be told of a node.
    pub(super) fn interested(&self, sid: SessionId, name: &str) -> bool {
        self.sessions.get(&CapsClient::Here(sid)).is_some_and(|session| session.wants(name))
    }

    /// The clients of somebody elsewhere, by bare JID, that want to be told of a node.
    pub(super) fn interested_elsewhere<'a>(&'a self, bare: &Jid, name: &'a str) -> impl Iterator<Item = &'a Jid> {
        let (from, bare) = (CapsClient::Elsewhere(bare.clone()), bare.clone());
        self.sessions
            .range(from..)
            .map_while(move |(client, session)| match client {
                CapsClient::Elsewhere(jid) if jid.bare_str() == bare.as_str() => Some((jid, session)),
                _ => None,
            })
            .filter(move |(_, session)| session.wants(name))
            .map(|(jid, _)| jid)
    }

    /// The accounts that a client elsewhere shows its presence to.
    pub(super) fn accounts(&self, jid: &Jid) -> Vec<Box<str>> {
        let session = self.sessions.get(&CapsClient::Elsewhere(jid.clone()));
        session.map(|session| session.accounts.iter().cloned().collect()).unwrap_or_default()
    }

    /// Whether a client is still there.
    pub(super) fn is_known(&self, client: &CapsClient) -> bool {
        self.sessions.contains_key(client)
    }

    /// What a client is interested in.
    pub(super) fn interests(&self, client: &CapsClient) -> Interests {
        self.sessions.get(client).and_then(|session| session.interests.clone()).unwrap_or_default()
    }

    /// A session has broadcast a presence.
    pub(super) fn broadcast(&mut self, st: &mut State, sid: SessionId) -> NewInterests {
        let Some(presence) = st.session(sid).and_then(|s| s.presence.as_ref()) else { return NewInterests::new() };
        let key = presence.child(Ns::CAPS, "c").and_then(key);
        self.says(st, CapsClient::Here(sid), key)
    }

    /// A client elsewhere shows its presence to an account here, which shows it its own. Gives what it has become interested in, and
    /// whether it is new to this account.
    pub(super) fn shown(&mut self, st: &mut State, local: &str, presence: &Stanza) -> (NewInterests, bool) {
        let Some(from) = presence.from.clone() else { return (NewInterests::new(), false) };
        let client = CapsClient::Elsewhere(from.clone());
        let Some(key) = presence.child(Ns::CAPS, "c").and_then(key) else {
            self.gone(st, &client);
            return (NewInterests::new(), false);
        };
        let news = self.says(st, client.clone(), Some(key));
        let Some(session) = self.sessions.get_mut(&client) else { return (news, false) };
        let new = session.accounts.insert(local.into());
        if new {
            let site = st.whose(&from).to_owned();
            self.elsewhere.put((from, local.into()), &site, 1);
            if self.elsewhere.len() > ELSEWHERE
                && let Some((surplus, _)) = self.elsewhere.surplus()
            {
                self.gone(st, &CapsClient::Elsewhere(surplus));
            }
        }
        (news, new)
    }

    /// What a client's presence says of it.
    fn says(&mut self, st: &mut State, client: CapsClient, key: Option<CapsKey>) -> NewInterests {
        let Some(key) = key else {
            self.gone(st, &client);
            return NewInterests::new();
        };
        match self.sessions.get_mut(&client) {
            Some(session) if session.key == key => return NewInterests::new(),
            Some(session) => {
                let before = std::mem::replace(&mut session.key, key.clone());
                if let Some(question) = self.questions.get_mut(&before) {
                    question.waiting.remove(&client);
                }
            }
            None => {
                let session = KnownClient { key: key.clone(), interests: None, accounts: BTreeSet::new() };
                self.sessions.insert(client.clone(), session);
            }
        }
        if let Some(interests) = self.known.get(&key).cloned() {
            self.told.touch(&key);
            return self.settle(&client, interests);
        }
        let who = whose(st, &client);
        if let Some(question) = self.questions.get_mut(&key) {
            question.waiting.insert(client);
        } else if self.asked.may(&client) && self.asked.shares.may(&who, 1, QUESTIONS_OF_ALL) {
            self.questions.insert(key.clone(), CapsQuestion { asked: client.clone(), waiting: BTreeSet::new() });
            self.ask(st, client, key);
        }
        NewInterests::new()
    }

    fn ask(&mut self, st: &mut State, client: CapsClient, key: CapsKey) {
        let query = match (&*key.hash, &*key.ver) {
            ("", "") => "<query xmlns='http://jabber.org/protocol/disco#info'/>".to_owned(),
            (_, ver) => {
                let node = format!("{}#{ver}", key.node);
                format!("<query xmlns='http://jabber.org/protocol/disco#info' node='{}'/>", escaped(&node))
            }
        };
        let question = match &client {
            CapsClient::Here(sid) => st.request(*sid, query),
            // Who is elsewhere is asked in the name of the server: it is the same hash for all accounts.
            CapsClient::Elsewhere(jid) => st.inquire(st.domain().clone(), jid.clone(), Type::Get, query),
        };
        let timer = st.after(ANSWER_MS);
        let who = self.asked.shares.add(&whose(st, &client), 1);
        self.asked.put(AskedCaps { key, client, question, timer, who });
    }

    /// The client's answer.
    pub(super) fn replied(&mut self, st: &mut State, job: Job, reply: &Stanza) -> NewInterests {
        let Some(AskedCaps { key, client, timer, .. }) = self.asked.take(job) else { return NewInterests::new() };
        st.forget(timer);
        let query = reply.child(Ns::DISCO_INFO, "query").filter(|_| reply.ty == Type::Result);
        let interests = query.map(interests).unwrap_or_default();
        let verified = query.and_then(|query| verification(query, &key.hash)).is_some_and(|ver| *ver == *key.ver);
        if !verified {
            let mut news = NewInterests::new();
            if self.sessions.get(&client).is_some_and(|session| session.key == key) {
                news = self.settle(&client, interests);
            }
            self.next(st, key, &client);
            return news;
        }
        self.questions.remove(&key);
        self.remember(st, &client, &key, &interests);
        let same = |(_, session): &(&CapsClient, &KnownClient)| session.key == key;
        let clients: Vec<CapsClient> = self.sessions.iter().filter(same).map(|(client, _)| client.clone()).collect();
        clients.into_iter().flat_map(|client| self.settle(&client, interests.clone())).collect()
    }

    fn remember(&mut self, st: &State, client: &CapsClient, key: &CapsKey, interests: &Interests) {
        self.told.put(key.clone(), &whose(st, client), 1);
        self.known.insert(key.clone(), interests.clone());
        if self.known.len() > KNOWN
            && let Some(surplus) = self.told.surplus()
        {
            self.told.take(&surplus);
            self.known.remove(&surplus);
        }
    }

    /// A session was waited for long enough.
    pub(super) fn timer(&mut self, st: &mut State, job: Job) {
        if let Some((key, client)) = self.asked.is_late(job) {
            self.next(st, key, &client);
        }
    }

    /// Asks somebody else, if it was this session's turn.
    fn next(&mut self, st: &mut State, key: CapsKey, after: &CapsClient) {
        let Some(question) = self.questions.get_mut(&key).filter(|question| question.asked == *after) else { return };
        while let Some(client) = question.waiting.pop_first() {
            if self.sessions.get(&client).is_some_and(|session| session.key == key) {
                question.asked = client.clone();
                return self.ask(st, client, key);
            }
        }
        self.questions.remove(&key);
    }

    /// A client is not available any more.
    pub(super) fn gone(&mut self, st: &mut State, client: &CapsClient) {
        let Some(KnownClient { key, accounts, .. }) = self.sessions.remove(client) else { return };
        if let CapsClient::Elsewhere(jid) = client {
            accounts.into_iter().for_each(|local| self.elsewhere.take(&(jid.clone(), local)));
        }
        for AskedCaps { key, question, timer, .. } in self.asked.take_of(client) {
            st.forget(question);
            st.forget(timer);
            self.next(st, key, client);
        }
        if let Some(question) = self.questions.get_mut(&key) {
            question.waiting.remove(client);
        }
    }

    /// A client elsewhere does not show its presence to an account any more.
    pub(super) fn hidden(&mut self, st: &mut State, local: &str, from: &Jid) {
        let client = CapsClient::Elsewhere(from.clone());
        let Some(session) = self.sessions.get_mut(&client) else { return };
        if session.accounts.remove(local) {
            self.elsewhere.take(&(from.clone(), local.into()));
        }
        if session.accounts.is_empty() {
            self.gone(st, &client);
        }
    }

    /// What a client is interested in from now on; says what of it is new.
    fn settle(&mut self, client: &CapsClient, interests: Interests) -> NewInterests {
        let Some(session) = self.sessions.get_mut(client) else { return NewInterests::new() };
        let before = session.interests.replace(interests.clone()).unwrap_or_default();
        let new: BTreeSet<_> = interests.difference(&before).cloned().collect();
        if new.is_empty() { NewInterests::new() } else { vec![(client.clone(), new)] }
    }
}

/// XEP-0115 §4
fn key(c: Node<'_>) -> Option<CapsKey> {
    let text = |name: &str| c.attr(name).map(|value| value.into_owned().into_boxed_str()).unwrap_or_default();
    let key = CapsKey { hash: text("hash"), ver: text("ver"), node: text("node") };
    (key.hash.len() + key.ver.len() + key.node.len() <= KEY_BYTES).then_some(key)
}

/// The nodes in an answer.
fn interests(query: Node<'_>) -> Interests {
    let mut bytes = 0;
    let features = query.children().filter(|c| c.is(Ns::DISCO_INFO, "feature")).filter_map(|c| c.attr("var"));
    let mut interests = BTreeSet::new();
    for feature in features {
        let Some(name) = feature.strip_suffix("+notify") else { continue };
        bytes += name.len();
        if bytes > INTERESTS_BYTES {
            break;
        }
        interests.insert(name.into());
    }
    Arc::new(interests)
}

/// The verification string of an answer (XEP-0115 §5.1); `None` for an algorithm that is not known, and for what is not
/// well-formed (§5.4) or could be read in two ways.
fn verification(query: Node<'_>, hash: &str) -> Option<String> {
    let algorithm = match hash {
        "sha-1" => &digest::SHA1_FOR_LEGACY_USE_ONLY,
        "sha-256" => &digest::SHA256,
        "sha-512" => &digest::SHA512,
        _ => return None,
    };
    let attr = |node: Node<'_>, name: &str| node.attr(name).map(|value| value.into_owned()).unwrap_or_default();
    let mut identities = Vec::new();
    let mut features = Vec::new();
    let mut forms: BTreeMap<String, BTreeMap<String, Vec<String>>> = BTreeMap::new();
    for child in query.children() {
        match (child.ns(), child.name()) {
            (Ns::DISCO_INFO, "identity") => {
                let lang = child.lang().map(|lang| lang.into_owned()).unwrap_or_default();
                identities.push([attr(child, "category"), attr(child, "type"), lang, attr(child, "name")]);
            }
            (Ns::DISCO_INFO, "feature") => features.push(attr(child, "var")),
            (Ns::DATA_FORM, "x") => {
                let Some((ty, fields)) = form(child)? else { continue };
                if forms.insert(ty, fields).is_some() {
                    return None;
                }
            }
            _ => {}
        }
    }
    identities.sort();
    features.sort();
    let count = (identities.len(), features.len());
    identities.dedup();
    features.dedup();
    if count != (identities.len(), features.len()) {
        return None;
    }
    // What stands between two `<`; a `<` in it would make it something else.
    let mut parts: Vec<String> = identities.iter().map(|identity| identity.join("/")).collect();
    parts.append(&mut features);
    for (ty, fields) in forms {
        parts.push(ty);
        for (var, values) in fields {
            parts.push(var);
            parts.extend(values);
        }
    }
    if parts.iter().any(|part| part.contains('<')) {
        return None;
    }
    let text: String = parts.iter().flat_map(|part| [part, "<"]).collect();
    Some(BASE64.encode(digest::digest(algorithm, text.as_bytes())))
}

/// The type of a form and its fields with their values, sorted; `Some(None)`: it does not count.
#[allow(clippy::type_complexity)]
fn form(x: Node<'_>) -> Option<Option<(String, BTreeMap<String, Vec<String>>)>> {
    let mut ty = None;
    let mut fields = BTreeMap::new();
    for field in x.children().filter(|c| c.is(Ns::DATA_FORM, "field")) {
        let var = field.attr("var").map(|var| var.into_owned()).unwrap_or_default();
        let values = field.children().filter(|c| c.is(Ns::DATA_FORM, "value")).map(|v| v.text().into_owned());
        let mut values: Vec<String> = values.collect();
        values.sort();
        if var != "FORM_TYPE" {
            fields.insert(var, values);
            continue;
        }
        values.dedup();
        match values.pop() {
            // §5.4 3.5: two values of it are a forgery.
            Some(_) if !values.is_empty() => return None,
            Some(value) if field.attr("type").as_deref() == Some("hidden") => ty = Some(value),
            _ => return Some(None),
        }
    }
    Some(ty.map(|ty| (ty, fields)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::wire::Scope;
    use crate::wire::xml::Raw;

    fn ver(inner: &str) -> Option<String> {
        let xml = format!("<query xmlns='http://jabber.org/protocol/disco#info'>{inner}</query>");
        verification(Raw::parse(&xml, Scope::client()).unwrap().root(), "sha-1")
    }

    const FEATURES: &str = "<feature var='http://jabber.org/protocol/caps'/>\
        <feature var='http://jabber.org/protocol/disco#info'/><feature var='http://jabber.org/protocol/disco#items'/>\
        <feature var='http://jabber.org/protocol/muc'/>";

    #[test]
    fn the_examples_of_the_specification() {
        let simple = format!("{FEATURES}<identity category='client' name='Exodus 0.9.1' type='pc'/>");
        assert_eq!(ver(&simple).as_deref(), Some("QgayPKawpkPSDYmwT/WM94uAlu0="));
        let complex = format!(
            "<identity xml:lang='en' category='client' name='Psi 0.11' type='pc'/>\
             <identity xml:lang='el' category='client' name='Ψ 0.11' type='pc'/>{FEATURES}\
             <x xmlns='jabber:x:data' type='result'>\
             <field var='FORM_TYPE' type='hidden'><value>urn:xmpp:dataforms:softwareinfo</value></field>\
             <field var='ip_version' type='text-multi'><value>ipv6</value><value>ipv4</value></field>\
             <field var='os'><value>Mac</value></field><field var='os_version'><value>10.5.1</value></field>\
             <field var='software'><value>Psi</value></field><field var='software_version'><value>0.11</value></field></x>"
        );
        assert_eq!(ver(&complex).as_deref(), Some("q07IKJEyjvHSyhy//CH0CxmKi8w="));
    }

    #[test]
    fn what_is_not_well_formed_has_no_hash() {
        let form =
            "<x xmlns='jabber:x:data' type='result'><field var='FORM_TYPE' type='hidden'><value>a</value></field></x>";
        assert!(ver(form).is_some());
        for wrong in [
            format!("{FEATURES}{FEATURES}"),
            "<identity category='client' type='pc'/><identity category='client' type='pc'/>".into(),
            format!("{form}{form}"),
            form.replace("<value>a</value>", "<value>a</value><value>b</value>"),
            // Would have the hash of two features.
            "<feature var='a&lt;b'/>".into(),
        ] {
            assert_eq!(ver(&wrong), None, "{wrong}");
        }
        let xml = "<query xmlns='http://jabber.org/protocol/disco#info'/>";
        assert_eq!(verification(Raw::parse(xml, Scope::client()).unwrap().root(), "md5"), None);
    }

    #[test]
    fn interests_are_bounded() {
        let features: String = (0..3000).map(|n| format!("<feature var='urn:n:{n:04}+notify'/>")).collect();
        let xml = format!("<query xmlns='http://jabber.org/protocol/disco#info'>{features}<feature var='x'/></query>");
        let found = interests(Raw::parse(&xml, Scope::client()).unwrap().root());
        let bytes: usize = found.iter().map(|name| name.len()).sum();
        assert!(bytes <= INTERESTS_BYTES && bytes > INTERESTS_BYTES - 20, "{bytes}");
    }
}
