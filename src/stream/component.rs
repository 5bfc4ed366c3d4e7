//! A component's stream (XEP-0114): header, handshake, stanzas. It has no TLS of its own: whoever carries it sees to it that it
//! does not leave the box.

use super::header;
use super::random::Random;
use super::{Mono, PLAIN_BYTES, UNAUTHENTICATED_MS, small_limits, stanza_limits};
use crate::wire::{
    Condition, Frame, Framer, Jid, Ns, Raw, Scope, Secret, Slice, Stanza, StanzaError, StreamCondition, StreamError,
};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The components that may connect, and their secrets.
pub type Secrets = BTreeMap<Jid, Secret>;

/// What the stream tells the world around it.
#[derive(Debug)]
pub enum Event {
    /// The component of this name has proved that it knows this secret, which may have changed meanwhile; answer with [`Component::attached`] or
    /// [`Component::close`].
    Proved(Jid, Secret),
    /// A stanza: `from` is at the component's domain; `to` is there, but may be no address ([`Stanza::bad_to`]).
    Stanza(Stanza),
    /// The stream is over, by their end tag, an error of theirs or of ours: write what is to be written and hang up.
    Closed,
}

/// The stream of one connection.
#[derive(Debug)]
pub struct Component {
    framer: Framer,
    line: ComponentLine,
}

/// All but the framer, which lends out what is looked at.
#[derive(Debug)]
struct ComponentLine {
    secrets: Arc<Secrets>,
    /// The domain that is served.
    domain: Jid,
    random: Random,
    /// When the connection was accepted.
    since: Mono,
    /// Bytes read before the handshake.
    taken: usize,
    scope: Scope,
    /// The language of stanzas that name none.
    lang: Option<Slice>,
    phase: ComponentPhase,
}

#[derive(Debug)]
enum ComponentPhase {
    /// Nothing has come yet.
    Fresh,
    /// The header is here: whose, and the id of our own.
    Open(Jid, String),
    /// [`Event::Proved`] waits for its answer.
    Proved(Jid),
    /// Stanzas come and go.
    Attached(Jid),
    /// Nothing is read or written any more.
    Over,
}

impl Component {
    /// A fresh connection. `random`: unpredictable, for the stream id.
    pub fn new(domain: Jid, secrets: Arc<Secrets>, now: Mono, random: [u8; 32]) -> Component {
        Component {
            framer: Framer::new(small_limits(PLAIN_BYTES)),
            line: ComponentLine {
                secrets,
                domain,
                random: Random::new(random),
                since: now,
                taken: 0,
                scope: Scope::default(),
                lang: None,
                phase: ComponentPhase::Fresh,
            },
        }
    }

    /// Takes bytes from the front of `input`, appends what is to be written to `out`, up to the next event or the end of `input`.
    /// Nothing is taken while [`Event::Proved`] waits for its answer. Call it until it gives `None`.
    pub fn next(&mut self, input: &mut &[u8], out: &mut String) -> Option<Event> {
        let line = &mut self.line;
        loop {
            match line.phase {
                ComponentPhase::Proved(_) => return None,
                ComponentPhase::Over => {
                    *input = &[];
                    return None;
                }
                _ => {}
            }
            let mut rest = *input;
            let frame = self.framer.next(&mut rest);
            let used = input.len() - rest.len();
            *input = &input[used..];
            let event = match line.spend(used).and(frame) {
                Ok(Some(frame)) => line.frame(frame, out),
                Ok(None) => return None,
                Err(error) => Err(error),
            };
            let event = event.unwrap_or_else(|error| Some(line.end(Some(&error), out)));
            if event.is_some() {
                return event;
            }
        }
    }

    /// The answer to [`Event::Proved`]: it may speak.
    pub fn attached(&mut self, out: &mut String) {
        if let ComponentPhase::Proved(name) = &self.line.phase {
            out.push_str("<handshake/>");
            self.line.phase = ComponentPhase::Attached(name.clone());
            self.framer.set_limits(stanza_limits());
        }
    }

    /// Writes a stanza to the component.
    pub fn send(&mut self, stanza: &Stanza, out: &mut String) {
        if matches!(self.line.phase, ComponentPhase::Attached(_)) {
            stanza.write(None, out);
        }
    }

    /// Whether it has proved who it is.
    pub fn is_attached(&self) -> bool {
        matches!(self.line.phase, ComponentPhase::Attached(_))
    }

    /// Bytes of an element whose end has not come.
    pub fn held_bytes(&self) -> usize {
        self.framer.held_bytes()
    }

    /// When [`Component::expired`] is to be called, if nothing comes before. A component that is attached may be silent: it is on
    /// this box, and a connection within a box does not die unnoticed.
    pub fn deadline(&self) -> Mono {
        match self.line.phase {
            ComponentPhase::Attached(_) | ComponentPhase::Over => Mono::MAX,
            _ => self.line.since.saturating_add(UNAUTHENTICATED_MS),
        }
    }

    /// The time is over: the stream error.
    pub fn expired(&mut self, now: Mono, out: &mut String) -> Option<Event> {
        (now >= self.deadline()).then(|| self.line.end(Some(&StreamCondition::ConnectionTimeout.into()), out))
    }

    /// The server ends the stream; appends the error and the end tag, once.
    pub fn close(&mut self, error: Option<&StreamError>, out: &mut String) {
        if !matches!(self.line.phase, ComponentPhase::Over) {
            self.line.end(error, out);
        }
    }
}

impl ComponentLine {
    /// Counts what was read before the handshake.
    fn spend(&mut self, used: usize) -> Result<(), StreamError> {
        if matches!(self.phase, ComponentPhase::Attached(_)) {
            return Ok(());
        }
        self.taken = self.taken.saturating_add(used);
        if self.taken > PLAIN_BYTES { Err(StreamCondition::PolicyViolation.into()) } else { Ok(()) }
    }

    fn frame(&mut self, frame: Frame<'_>, out: &mut String) -> Result<Option<Event>, StreamError> {
        match frame {
            Frame::Open(open) => {
                let (name, scope, lang) = header::read_component(open)?;
                if !self.secrets.contains_key(&name) {
                    return Err(StreamCondition::HostUnknown.into());
                }
                let id = self.random.token();
                header::write_component(&name, &id, out);
                self.scope = scope;
                self.lang = lang.as_deref().map(Stanza::lang_attribute);
                self.phase = ComponentPhase::Open(name, id);
                Ok(None)
            }
            Frame::Element(xml) => self.element(xml, out),
            Frame::Close => Ok(Some(self.end(None, out))),
        }
    }

    fn element(&mut self, xml: &str, out: &mut String) -> Result<Option<Event>, StreamError> {
        let raw = Raw::parse(xml, &self.scope)?;
        let root = raw.root();
        // What is in the stream's default namespace is shown as `jabber:client`.
        match (root.ns(), root.name(), &self.phase) {
            (Ns::STREAM, "error", _) => {
                self.end(None, out);
                Ok(Some(Event::Closed))
            }
            (Ns::CLIENT, "handshake", ComponentPhase::Open(name, id)) => {
                let secret = self.secrets.get(name).filter(|secret| secret.is_proved(id, root.text().trim()));
                let Some(secret) = secret.cloned() else {
                    return Err(StreamError::new(StreamCondition::NotAuthorized).text("the handshake is wrong"));
                };
                let name = name.clone();
                self.phase = ComponentPhase::Proved(name.clone());
                Ok(Some(Event::Proved(name, secret)))
            }
            (_, _, ComponentPhase::Attached(name)) => match read(&raw, xml, &self.scope)? {
                Some(mut stanza) => {
                    if let Err(error) = check_addresses(&stanza, raw.root().attr("from").as_deref(), name)? {
                        let error = refusal(stanza, &error, name, &self.domain);
                        error.iter().for_each(|error| error.write(None, out));
                        return Ok(None);
                    }
                    if let Some(lang) = &self.lang {
                        stanza.default_lang(lang);
                    }
                    Ok(Some(Event::Stanza(stanza)))
                }
                None => Err(StreamCondition::UnsupportedStanzaType.into()),
            },
            _ => Err(StreamError::new(StreamCondition::NotAuthorized).text("the handshake comes first")),
        }
    }

    /// Ends the stream; a header comes first, if none is out yet (RFC 6120 §4.9.1.2).
    fn end(&mut self, error: Option<&StreamError>, out: &mut String) -> Event {
        if matches!(self.phase, ComponentPhase::Fresh) {
            let id = self.random.token();
            header::write_component(&self.domain, &id, out);
        }
        header::write_end(error, out);
        self.phase = ComponentPhase::Over;
        Event::Closed
    }
}

/// A stanza; also one that says itself that it is in `jabber:client`, as some libraries do, where it means the same.
fn read(raw: &Arc<Raw>, xml: &str, scope: &Scope) -> Result<Option<Stanza>, StreamError> {
    match Stanza::from_raw(raw.clone(), scope)? {
        None if raw.root().attr("xmlns").as_deref() == Some(Ns::CLIENT.uri()) => Stanza::parse(xml, Scope::client()),
        stanza => Ok(stanza),
    }
}

/// XEP-0114 §3: a stanza has both addresses, and the sender's is at the component's domain. People of other networks have names that
/// are none here: that costs their stanza, not the stream of all the others. `said`: what the sender's address is written like.
fn check_addresses(stanza: &Stanza, said: Option<&str>, name: &Jid) -> Result<Result<(), StanzaError>, StreamError> {
    let malformed = |text: &'static str| Ok(Err(StanzaError::new(Condition::JidMalformed).text(text)));
    match &stanza.from {
        Some(from) if from.domain() == name.domain() => {}
        None if !stanza.bad_from => return malformed("a stanza needs a 'from'"),
        _ if said.is_some_and(|said| is_at(said, name)) => return malformed("the address in 'from' is not a JID"),
        _ => return Err(StreamCondition::InvalidFrom.into()),
    }
    if stanza.to.is_none() && !stanza.bad_to {
        return malformed("a stanza needs a 'to'");
    }
    Ok(Ok(()))
}

/// Whether something that is no address is meant to be one at this domain.
fn is_at(said: &str, name: &Jid) -> bool {
    let at = |address: &str| {
        let domain = address.rsplit_once('@').map_or(address, |(_, domain)| domain);
        Jid::parse(domain).is_ok_and(|jid| jid.as_str() == name.as_str())
    };
    // The name may have a slash, and so may the resource.
    at(said) || said.match_indices('/').any(|(n, _)| at(&said[..n]))
}

/// The error of a stanza without a usable sender, to the component itself.
fn refusal(mut stanza: Stanza, error: &StanzaError, name: &Jid, domain: &Jid) -> Option<Stanza> {
    stanza.from = Some(name.clone());
    stanza.bad_from = false;
    stanza.to.get_or_insert_with(|| domain.clone());
    Stanza::error_of(&stanza, error)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::stream::{STANZA_BYTES, STANZA_DEPTH};

    const SECRET: &str = "neither-Montague-nor-Capulet";
    const HEADER: &str = "<?xml version='1.0'?><stream:stream xmlns='jabber:component:accept' \
                          xmlns:stream='http://etherx.jabber.org/streams' to='gateway.example.org'>";

    struct Play {
        stream: Component,
        out: String,
        said: Vec<String>,
    }

    fn play() -> Play {
        let name = Jid::parse("gateway.example.org").unwrap();
        let secrets = Arc::new(Secrets::from([(name, Secret::new(SECRET).unwrap())]));
        let stream = Component::new(Jid::parse("example.org").unwrap(), secrets, 0, [5; 32]);
        Play { stream, out: String::new(), said: Vec::new() }
    }

    impl Play {
        /// What comes back.
        fn say(&mut self, bytes: &str) -> String {
            self.out.clear();
            let mut input = bytes.as_bytes();
            while let Some(event) = self.stream.next(&mut input, &mut self.out) {
                match event {
                    Event::Proved(name, _) => {
                        assert_eq!(name.as_str(), "gateway.example.org");
                        self.stream.attached(&mut self.out);
                    }
                    Event::Stanza(stanza) => self.said.push(stanza.to_xml()),
                    Event::Closed => self.said.push("closed".into()),
                }
            }
            assert!(input.is_empty());
            self.out.clone()
        }

        fn handshake(&mut self) -> String {
            let header = self.say(HEADER);
            let id = header.split("id='").nth(1).unwrap().split('\'').next().unwrap();
            let proof = Secret::new(SECRET).unwrap().handshake(id);
            format!("<handshake>{proof}</handshake>")
        }

        fn attach(mut self) -> Play {
            let handshake = self.handshake();
            assert_eq!(self.say(&handshake), "<handshake/>");
            assert!(self.stream.is_attached());
            self
        }

        fn assert_ends(mut self, bytes: &str, condition: &str) {
            let end = self.say(bytes);
            assert!(end.contains(&format!("<stream:error><{condition} ")), "{bytes}: {end}");
            assert!(end.ends_with("</stream:stream>"), "{end}");
            assert_eq!(self.said.last().map(String::as_str), Some("closed"));
            assert_eq!(self.say("<message/>"), "");
        }
    }

    #[test]
    fn a_component_comes_and_speaks() {
        let mut play = play();
        let handshake = play.handshake();
        assert!(play.out.starts_with("<?xml version='1.0'?><stream:stream from='gateway.example.org' id='"));
        assert!(
            play.out.ends_with("' xmlns='jabber:component:accept' xmlns:stream='http://etherx.jabber.org/streams'>")
        );
        assert_eq!(play.say(&handshake), "<handshake/>");
        play.say(
            "<message from='juliet@gateway.example.org/x' to='romeo@example.org'><body>Hark</body></message>\
             <presence from='gateway.example.org' to='romeo@example.org' xmlns='jabber:component:accept'><show>away</show></presence>",
        );
        assert_eq!(
            play.said,
            [
                "<message xmlns='jabber:client' to='romeo@example.org' from='juliet@gateway.example.org/x'><body>Hark</body></message>",
                "<presence xmlns='jabber:client' to='romeo@example.org' from='gateway.example.org'><show>away</show></presence>",
            ]
        );
        let mut out = String::new();
        play.stream.send(&Stanza::parse(&play.said[0], Scope::client()).unwrap().unwrap(), &mut out);
        assert_eq!(out, play.said[0].replace(" xmlns='jabber:client'", ""));
        assert_eq!(play.say("</stream:stream>"), "</stream:stream>");
    }

    #[test]
    fn headers_that_are_refused() {
        let with = |from: &str, to: &str| HEADER.replace(from, to);
        for (header, condition) in [
            (with("gateway.example.org", "other.example.org"), "host-unknown"),
            (with("gateway.example.org", "example.org"), "host-unknown"),
            (with("gateway.example.org", "@"), "host-unknown"),
            (with(" to='gateway.example.org'", ""), "improper-addressing"),
            (with("jabber:component:accept", "jabber:client"), "invalid-namespace"),
            (with("jabber:component:accept", "jabber:component:connect"), "invalid-namespace"),
            (
                with("xmlns='jabber:component:accept'", "").replace(":stream", "").replace("stream:", ""),
                "invalid-namespace",
            ),
            ("<message>".into(), "invalid-namespace"),
            ("GET / HTTP/1.1\r\n\r\n".into(), "not-well-formed"),
            (with("<?xml version='1.0'?>", "<!DOCTYPE x>"), "restricted-xml"),
            ("\0\0".into(), "unsupported-encoding"),
        ] {
            play().assert_ends(&header, condition);
        }
    }

    #[test]
    fn nothing_passes_before_the_handshake() {
        for (bytes, condition) in [
            ("<handshake>aaee83c26aeeafcbabeabfcbcd50df997e0a2a1e</handshake>".to_owned(), "not-authorized"),
            ("<handshake/>".into(), "not-authorized"),
            ("<handshake xmlns='urn:x'/>".into(), "not-authorized"),
            ("<message from='gateway.example.org' to='romeo@example.org'/>".into(), "not-authorized"),
            (format!("<handshake>{}</handshake>", "a".repeat(PLAIN_BYTES)), "policy-violation"),
            (" ".repeat(PLAIN_BYTES), "policy-violation"),
        ] {
            let mut play = play();
            play.say(HEADER);
            play.assert_ends(&bytes, condition);
        }
        // In the other stream's words.
        let mut other = play();
        let handshake = other.handshake();
        let secrets = other.stream.line.secrets.clone();
        let mut play = Play {
            stream: Component::new(Jid::parse("example.org").unwrap(), secrets, 0, [6; 32]),
            out: String::new(),
            said: Vec::new(),
        };
        play.say(HEADER);
        play.assert_ends(&handshake, "not-authorized");
    }

    #[test]
    fn stanzas_that_end_the_stream() {
        let deep = "<a>".repeat(STANZA_DEPTH);
        for (bytes, condition) in [
            ("<message from='example.org' to='romeo@example.org'/>".to_owned(), "invalid-from"),
            ("<message from='juliet@example.org' to='romeo@example.org'/>".into(), "invalid-from"),
            ("<message from='other.gateway.example.org' to='romeo@example.org'/>".into(), "invalid-from"),
            ("<handshake/>".into(), "unsupported-stanza-type"),
            ("<message from='gateway.example.org' to='x'></iq>".into(), "not-well-formed"),
            ("<message from='gateway.example.org' to='x'><!-- --></message>".into(), "restricted-xml"),
            (format!("<message from='gateway.example.org' to='x'>{deep}"), "policy-violation"),
            (format!("<message>{}", "x".repeat(STANZA_BYTES)), "policy-violation"),
            (HEADER.into(), "restricted-xml"),
        ] {
            play().attach().assert_ends(&bytes, condition);
        }
        let mut play = play().attach();
        play.say("<message from='gateway.example.org' to='@'/>");
        assert_eq!(play.said.len(), 1, "that is worth an answer, not the stream");
    }

    #[test]
    fn an_unusable_address_costs_one_stanza() {
        let mut play = play().attach();
        let long = format!("{}@gateway.example.org", "x".repeat(1100));
        for from in [
            "from='user name@gateway.example.org'",
            "from='@gateway.example.org'",
            "from='\u{1F600} &quot;x&quot;@gateway.example.org/a/b'",
            "from='a/b@gateway.example.org/home'",
            "from='a@b@GATEWAY.example.org'",
            "from='x@gateway.example.org/'",
            &format!("from='{long}'"),
            "",
        ] {
            let to = if from.contains("to=") { "" } else { "to='romeo@example.org'" };
            let heard = play.say(&format!("<message {from} {to} id='1'><body>x</body></message>"));
            assert!(heard.starts_with("<message to='gateway.example.org' from="), "{from}: {heard}");
            assert!(heard.contains("type='error' id='1'") && heard.contains("<jid-malformed"), "{from}: {heard}");
        }
        let heard = play.say("<iq from='gateway.example.org' type='get' id='1'><x/></iq>");
        assert!(heard.starts_with("<iq to='gateway.example.org' from='example.org' type='error'"), "{heard}");
        // An error is not answered.
        assert_eq!(play.say("<iq from='@gateway.example.org' to='x' type='error' id='1'/>"), "");
        assert_eq!(play.said, [""; 0]);
        play.say("<message xmlns='jabber:client' from='gateway.example.org' to='x'><body>x</body></message>");
        assert_eq!(play.said.len(), 1, "it means the same");
    }

    #[test]
    fn the_handshake_has_its_time() {
        let mut slow = play();
        slow.say(HEADER);
        assert_eq!(slow.stream.deadline(), UNAUTHENTICATED_MS);
        let mut out = String::new();
        assert!(slow.stream.expired(UNAUTHENTICATED_MS - 1, &mut out).is_none());
        assert!(slow.stream.expired(UNAUTHENTICATED_MS, &mut out).is_some());
        assert!(out.starts_with("<stream:error><connection-timeout "), "{out}");
        assert_eq!(play().attach().stream.deadline(), Mono::MAX);
    }

    #[test]
    fn whatever_the_chunks() {
        let mut whole = play();
        let handshake = whole.handshake();
        let text = format!("{handshake}<iq from='a@gateway.example.org' to='b' id='1' type='get'><x/></iq>");
        whole.say(&text);
        let mut bytes = play();
        bytes.handshake();
        for n in 0..text.len() {
            bytes.say(&text[n..=n]);
        }
        assert_eq!(whole.said, bytes.said);
        assert_eq!(whole.said.len(), 1);
    }
}
