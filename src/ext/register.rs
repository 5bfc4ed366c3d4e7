//! XEP-0077: In-Band Registration: another password, the end of an account, new accounts of those who are invited (XEP-0445), and, where
//! the owner of the box allows it, of strangers.

use crate::core::share::{Ledger, Shared, Shares, limits};
use crate::core::{
    About, Event, Extension, Flow, Handled, Job, NAME_BYTES, NameFault, Place, State, StreamId, TakeRefusal,
    TokenDigest, admin, network,
};
use crate::wire::scram::{CHOSEN_PASSWORD_BYTES, Credentials, PASSWORD_CHARS, long_enough};
use crate::wire::xml::escaped;
use crate::wire::{Condition, ErrorType, Jid, Node, Ns, Stanza, StanzaError, Type};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Strangers make no accounts beyond so many.
const ACCOUNTS: usize = 10_000;
/// Attempts of one address in that time: each tells whether a name is taken.
const ADDRESS_ATTEMPTS: u32 = 20;
/// Accounts that all addresses together can make in that time.
const SERVER_ACCOUNTS: u32 = 100;
/// The time that limits are for, in milliseconds.
const PERIOD_MS: u64 = 60 * 60_000;
/// Addresses remembered; of the network with most of them, the one that came first is forgotten first.
const ADDRESSES: usize = 1024;
/// Bits of an IPv6 address that one customer may have: half of what is left is all that its networks get together.
const SITE_BITS: u32 = 48;

pub(super) const SHARED: Shared = Shared {
    what: "accounts that strangers make in an hour, and the addresses remembered for that",
    whole: limits![SERVER_ACCOUNTS, ADDRESSES, ADDRESS_ATTEMPTS],
    share: "an address: as many accounts as the setting `registrations_an_hour` says, and that number of attempts, or twice that if it is more; an IPv6 network of 48 bits: the rule",
    checked: "ext/register.rs",
    told: "`resource-constraint`: try again in an hour",
};

pub(super) struct Register {
    jobs: BTreeMap<Job, Registration>,
    addresses: BTreeMap<IpAddr, Made>,
    /// By the site that they belong to.
    remembered: Ledger<IpAddr>,
    server: Made,
    /// The accounts of each site since `server` began.
    sites: Shares,
}

impl Default for Register {
    fn default() -> Register {
        Register {
            jobs: BTreeMap::new(),
            addresses: BTreeMap::new(),
            remembered: Ledger::default(),
            server: Made::default(),
            sites: Shares::of_alike(),
        }
    }
}

/// What waits for keys.
struct Registration {
    jid: Jid,
    iq: Stanza,
    /// The stream and the address of who wants an account; else it is a change of password.
    stranger: Option<(StreamId, IpAddr)>,
    /// The invitation that they take.
    invitation: Option<TokenDigest>,
}

/// What an address did since.
#[derive(Clone, Copy, Default)]
struct Made {
    since: u64,
    attempts: u32,
    accounts: u32,
}

impl Made {
    fn at(self, now: u64) -> Made {
        if now.saturating_sub(self.since) < PERIOD_MS { self } else { Made { since: now, ..Made::default() } }
    }
}

/// The network that an address belongs to, as its holder gets it.
fn site(address: IpAddr) -> String {
    match address {
        IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() & !(u128::MAX >> SITE_BITS)).into()).to_string(),
        v4 => v4.to_string(),
    }
}

/// The text of a field; `None` if it is not there or empty (§3.1).
fn field(query: Node<'_>, name: &str) -> Option<String> {
    let text = query.child(Ns::REGISTER, name)?.text().into_owned();
    (!text.is_empty()).then_some(text)
}

fn refusal(condition: Condition, text: &'static str) -> StanzaError {
    StanzaError::new(condition).text(text)
}

/// XEP-0445 §4
fn refused(refusal: TakeRefusal) -> StanzaError {
    let (condition, text) = match refusal {
        TakeRefusal::Unknown => (Condition::ItemNotFound, "The provided token is invalid or expired".into()),
        TakeRefusal::Name(fault) => {
            let condition = match fault {
                NameFault::Taken | NameFault::Reserved | NameFault::LookAlike => Condition::Conflict,
                NameFault::Mixed
                | NameFault::Unseen
                | NameFault::Missing
                | NameFault::TooLong
                | NameFault::NotAllowed => Condition::NotAcceptable,
            };
            (condition, fault.words().into())
        }
        TakeRefusal::Password(why) => (Condition::NotAcceptable, why.into()),
        TakeRefusal::Later(ms) => {
            (Condition::ResourceConstraint, format!("that was too often; try again in {} seconds", ms.div_ceil(1000)))
        }
        TakeRefusal::NotStored(why) => (Condition::ResourceConstraint, why),
    };
    StanzaError::new(condition).text(text)
}

fn checked(password: String) -> Result<String, StanzaError> {
    if password.len() > CHOSEN_PASSWORD_BYTES {
        return Err(refusal(Condition::NotAcceptable, "the password is too long"));
    }
    let short = |text: String| StanzaError::new(Condition::NotAcceptable).text(text);
    long_enough(&password).map_err(short).map(|()| password)
}

impl Register {
    /// Counts an attempt of a stranger, or refuses it.
    fn attempt(&mut self, now: u64, peer: IpAddr, most: u32) -> Result<(), StanzaError> {
        let peer = network(peer);
        let site = site(peer);
        if !self.addresses.contains_key(&peer) {
            if let Some(first) = self.remembered.surplus().filter(|_| self.addresses.len() >= ADDRESSES) {
                self.remembered.take(&first);
                self.addresses.remove(&first);
            }
            self.remembered.put(peer, &site, 1);
        }
        let made = self.addresses.entry(peer).or_insert(Made { since: now, ..Made::default() });
        *made = made.at(now);
        self.server = self.server.at(now);
        if self.server.accounts == 0 {
            self.sites = Shares::of_alike();
        }
        if made.attempts >= ADDRESS_ATTEMPTS.max(most.saturating_mul(2))
            || made.accounts >= most
            || self.server.accounts >= SERVER_ACCOUNTS
            || peer.is_ipv6() && !self.sites.may(&site, 1, SERVER_ACCOUNTS as usize)
        {
            let since = if self.server.accounts >= SERVER_ACCOUNTS { self.server.since } else { made.since };
            let minutes = (since + PERIOD_MS).saturating_sub(now).div_ceil(60_000);
            let text = format!("too many registrations; try again in {minutes} minutes");
            return Err(StanzaError::new(Condition::ResourceConstraint).text(text));
        }
        made.attempts += 1;
        Ok(())
    }

    /// Counts an account that is being made.
    fn count(&mut self, peer: IpAddr) {
        let peer = network(peer);
        if let Some(made) = self.addresses.get_mut(&peer) {
            made.accounts += 1;
        }
        self.sites.add(&site(peer), 1);
        self.server.accounts += 1;
    }

    /// An account of who is invited. The limits are those of the invitation: strangers do not use up what is theirs.
    fn invited(&mut self, st: &mut State, stream: StreamId, peer: IpAddr, query: Node<'_>, iq: &Stanza) -> Handled {
        let Some((digest, kept)) = st.preauthenticated(stream) else { return Err(refused(TakeRefusal::Unknown)) };
        let kept = kept.map(str::to_owned);
        let name = field(query, "username").unwrap_or_default();
        let password = field(query, "password")
            .ok_or_else(|| refusal(Condition::NotAcceptable, "a username and a password are needed"))?;
        let password = checked(password)?;
        st.count_take(&digest).map_err(refused)?;
        let jid = st.taker(&digest, &name).map_err(|refusal| match (refusal, kept) {
            (TakeRefusal::Name(NameFault::Reserved), Some(kept)) => {
                StanzaError::new(Condition::Conflict).text(format!("this invitation is for the username {kept}"))
            }
            (refusal, _) => refused(refusal),
        })?;
        self.one_after_the_other(stream)?;
        if self.jobs.values().any(|w| w.jid == jid) {
            return Err(refused(TakeRefusal::Name(NameFault::Taken)));
        }
        st.write()?;
        let job = st.hash(&password);
        let invitation = Some(digest);
        self.jobs
            .insert(job, Registration { jid, iq: without_password(iq), stranger: Some((stream, peer)), invitation });
        Ok(Flow::Done)
    }

    fn one_after_the_other(&self, stream: StreamId) -> Result<(), StanzaError> {
        match self.jobs.values().any(|w| w.stranger.is_some_and(|(other, _)| other == stream)) {
            true => Err(refusal(Condition::ResourceConstraint, "one registration after the other")),
            false => Ok(()),
        }
    }

    fn new_account(&mut self, st: &mut State, stream: StreamId, peer: IpAddr, query: Node<'_>, iq: &Stanza) -> Handled {
        let incomplete = || refusal(Condition::NotAcceptable, "a username and a password are needed");
        let name = field(query, "username").ok_or_else(incomplete)?;
        let password = checked(field(query, "password").ok_or_else(incomplete)?)?;
        if name.len() > NAME_BYTES {
            return Err(refusal(Condition::NotAcceptable, "the username is too long"));
        }
        let jid = Jid::new(Some(&name), st.domain().domain(), None)
            .map_err(|_| refusal(Condition::NotAcceptable, "this cannot be a username"))?;
        self.attempt(st.now().mono, peer, st.settings().registrations_an_hour)?;
        self.one_after_the_other(stream)?;
        if st.accounts().len() >= ACCOUNTS {
            let text = "this server makes no more accounts for strangers; ask who runs it";
            return Err(refusal(Condition::ResourceConstraint, text));
        }
        let fault = |fault| refused(TakeRefusal::Name(fault));
        st.may_choose(&jid).map_err(fault)?;
        if st.is_kept(&jid).is_err() {
            return Err(fault(NameFault::Reserved));
        }
        if self.jobs.values().any(|w| w.jid == jid) {
            return Err(fault(NameFault::Taken));
        }
        st.write()?;
        self.count(peer);
        let job = st.hash(&password);
        self.jobs.insert(
            job,
            Registration { jid, iq: without_password(iq), stranger: Some((stream, peer)), invitation: None },
        );
        Ok(Flow::Done)
    }

    fn new_password(&mut self, st: &mut State, own: Jid, query: Node<'_>, iq: &Stanza) -> Handled {
        let incomplete = || refusal(Condition::BadRequest, "a username and a password are needed");
        let name = field(query, "username").ok_or_else(incomplete)?;
        let password = checked(field(query, "password").ok_or_else(incomplete)?)?;
        if Jid::new(Some(&name), st.domain().domain(), None).as_ref() != Ok(&own) {
            return Err(refusal(Condition::NotAllowed, "this is not your username"));
        }
        if self.jobs.values().any(|w| w.jid == own) {
            return Err(refusal(Condition::ResourceConstraint, "the password is being changed already"));
        }
        st.write()?;
        let job = st.hash(&password);
        self.jobs.insert(job, Registration { jid: own, iq: without_password(iq), stranger: None, invitation: None });
        Ok(Flow::Done)
    }
}

/// What is needed of a request to answer it.
fn without_password(iq: &Stanza) -> Stanza {
    let mut iq = iq.clone();
    iq.clear();
    iq
}

/// §3.2
fn remove(st: &mut State, own: &Jid, query: Node<'_>, iq: &Stanza) -> Handled {
    if query.children().count() != 1 {
        return Err(refusal(Condition::BadRequest, "remove stands alone"));
    }
    admin::remove(st, own, Some(iq)).map_err(failed)?;
    st.log_stored(format!("{own} has removed the account"));
    Ok(Flow::Done)
}

/// The reasons of [`admin`]: the account went away or came meanwhile, or storage fails.
fn failed(text: String) -> StanzaError {
    StanzaError::new(Condition::ResourceConstraint).text(text)
}

impl Extension for Register {
    fn about(&self) -> &'static About {
        &About {
            spec: "XEP-0077",
            name: "In-Band Registration",
            version: "2.4",
            missing: "data forms, redirection, numeric error codes",
            server: &["jabber:iq:register"],
            account: &[],
            iq: &[Ns::REGISTER],
        }
    }

    fn also(&self) -> &'static [About] {
        const {
            &[
                About::new("XEP-0379", "Pre-Authenticated Roster Subscription", "0.3.3", ""),
                About::new("XEP-0445", "Pre-Authenticated In-Band Registration", "0.2.0", ""),
            ]
        }
    }

    fn iq(&mut self, st: &mut State, at: &Place, iq: &Stanza) -> Handled {
        if matches!(at, Place::Account(_)) {
            return Ok(Flow::Pass);
        }
        let Some(query) = iq.child(Ns::REGISTER, "query") else { return Err(Condition::BadRequest.into()) };
        let Some(own) = iq.from.as_ref().map(Jid::bare).filter(|from| st.account(from).is_some()) else {
            return Err(Condition::RegistrationRequired.into());
        };
        match iq.ty {
            Type::Get => {
                let name = escaped(own.local().unwrap_or_default());
                st.reply(
                    iq,
                    format!(
                        "<query xmlns='jabber:iq:register'><registered/><instructions>To change the password, send the \
                         username and the new password.</instructions><username>{name}</username><password/></query>"
                    ),
                )
            }
            _ if query.child(Ns::REGISTER, "remove").is_some() => remove(st, &own, query, iq),
            _ => self.new_password(st, own, query, iq),
        }
    }

    fn register(&mut self, st: &mut State, stream: StreamId, peer: IpAddr, iq: &Stanza) -> Handled {
        if let Some(preauth) = iq.child(Ns::PARS, "preauth") {
            let token = preauth.attr("token").filter(|_| iq.ty == Type::Set).ok_or(Condition::BadRequest)?;
            st.preauth(stream, peer, &token).map_err(refused)?;
            st.registered(stream, Stanza::result_of(iq, ""));
            return Ok(Flow::Done);
        }
        let invited = st.preauthenticated(stream).is_some();
        if !st.settings().registration && !invited {
            return Ok(Flow::Pass);
        }
        let Some(query) = iq.child(Ns::REGISTER, "query") else { return Err(Condition::BadRequest.into()) };
        match iq.ty {
            Type::Get => {
                let kept = st.preauthenticated(stream).and_then(|(_, kept)| kept);
                let username = kept.map_or("<username/>".into(), |n| format!("<username>{}</username>", escaped(n)));
                let fields = format!(
                    "<query xmlns='jabber:iq:register'><instructions>Choose a username, and a password of at least \
                     {PASSWORD_CHARS} characters.</instructions>{username}<password/></query>"
                );
                st.registered(stream, Stanza::result_of(iq, fields));
                Ok(Flow::Done)
            }
            Type::Set if query.child(Ns::REGISTER, "remove").is_some() => {
                Err(StanzaError::new(Condition::UnexpectedRequest).ty(ErrorType::Wait))
            }
            Type::Set if invited => self.invited(st, stream, peer, query, iq),
            Type::Set => self.new_account(st, stream, peer, query, iq),
            _ => Ok(Flow::Done),
        }
    }

    fn hashed(&mut self, st: &mut State, job: Job, credentials: Option<Credentials>) {
        let Some(Registration { jid, iq, stranger, invitation }) = self.jobs.remove(&job) else { return };
        let unusable = || refusal(Condition::NotAcceptable, "the password has characters that cannot be used");
        let done = credentials.ok_or_else(unusable).and_then(|credentials| {
            match (stranger, &invitation) {
                (_, Some(digest)) => {
                    return st.take(digest, jid.local().unwrap_or_default(), credentials).map(drop).map_err(refused);
                }
                // Somebody else may have come meanwhile.
                (Some(_), None) => match st.may_choose(&jid) {
                    Ok(()) => admin::add_stranger(st, &jid, credentials),
                    Err(fault) => return Err(refused(TakeRefusal::Name(fault))),
                },
                (None, None) => admin::set_credentials(st, &jid, credentials, iq.from.as_ref()),
            }
            .map_err(failed)
        });
        match (done, stranger) {
            (Ok(()), Some((stream, peer))) => {
                let how = if invitation.is_some() { ", by invitation" } else { "" };
                st.log_stored(format!("{jid} was registered from {peer}{how}"));
                st.confirm_registered(stream, &iq);
            }
            (Ok(()), None) => {
                st.log_stored(format!("{jid} has changed the password"));
                // It always is dealt with.
                let _ = st.confirm(&iq, "");
            }
            (Err(error), Some((stream, _))) => {
                if let Some(reply) = Stanza::error_of(&iq, &error) {
                    st.registered(stream, reply);
                }
            }
            (Err(error), None) => st.refuse(&iq, &error),
        }
    }

    fn event(&mut self, _st: &mut State, event: &Event) {
        if let Event::Removed(local) = event {
            self.jobs.retain(|_, w| w.jid.local() != Some(local));
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const ACCOUNTS_AN_HOUR: u32 = 3;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_makes_few_accounts() {
        let mut register = Register::default();
        for _ in 0..ACCOUNTS_AN_HOUR {
            register.attempt(0, ip("192.0.2.1"), ACCOUNTS_AN_HOUR).unwrap();
            register.count(ip("192.0.2.1"));
        }
        let refused = register.attempt(PERIOD_MS - 1, ip("192.0.2.1"), ACCOUNTS_AN_HOUR).unwrap_err();
        assert_eq!(refused.condition, Condition::ResourceConstraint);
        register.attempt(0, ip("192.0.2.2"), ACCOUNTS_AN_HOUR).unwrap();
        register.attempt(PERIOD_MS, ip("192.0.2.1"), ACCOUNTS_AN_HOUR).unwrap();
    }

    #[test]
    fn a_network_is_one_address() {
        let mut register = Register::default();
        for n in 0..ADDRESS_ATTEMPTS {
            register.attempt(0, ip(&format!("2001:db8::{n:x}")), ACCOUNTS_AN_HOUR).unwrap();
        }
        assert!(register.attempt(0, ip("2001:db8::ffff"), ACCOUNTS_AN_HOUR).is_err());
        assert!(register.attempt(0, ip("2001:db8:0:1::1"), ACCOUNTS_AN_HOUR).is_ok());
    }

    #[test]
    fn all_together_make_few_accounts() {
        let mut register = Register::default();
        for n in 0..SERVER_ACCOUNTS {
            let address = IpAddr::V4(n.into());
            register.attempt(0, address, ACCOUNTS_AN_HOUR).unwrap();
            register.count(address);
        }
        assert!(register.attempt(0, ip("192.0.2.1"), ACCOUNTS_AN_HOUR).is_err());
    }

    /// Who has a network of their own is not everybody.
    #[test]
    fn one_site_does_not_use_up_the_hour() {
        let mut register = Register::default();
        let mut made = 0;
        for n in 0..2000 {
            let address = ip(&format!("2001:db8:7:{n:x}::1"));
            if register.attempt(0, address, ACCOUNTS_AN_HOUR).is_ok() {
                register.count(address);
                made += 1;
            }
        }
        assert_eq!(made, SERVER_ACCOUNTS / 2);
        for n in 0..10 {
            let address = ip(&format!("2001:db8:8:{n:x}::1"));
            register.attempt(0, address, ACCOUNTS_AN_HOUR).unwrap();
            register.count(address);
        }
        register.attempt(0, ip("192.0.2.1"), ACCOUNTS_AN_HOUR).unwrap();
        assert!(register.attempt(PERIOD_MS, ip("2001:db8:7::1"), ACCOUNTS_AN_HOUR).is_ok(), "an hour later");
        assert!(register.addresses.len() <= ADDRESSES && register.remembered.len() == register.addresses.len());
        assert!(register.addresses.contains_key(&ip("192.0.2.1")));
    }

    #[test]
    fn the_table_does_not_grow() {
        let mut register = Register::default();
        for n in 0..ADDRESSES as u32 + 10 {
            register.attempt(u64::from(n), IpAddr::V4(n.into()), ACCOUNTS_AN_HOUR).unwrap();
        }
        assert_eq!(register.addresses.len(), ADDRESSES);
    }
}
