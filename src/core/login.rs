//! What a client asks for with its proof (XEP-0388): a token, its old session, or a new one with features (XEP-0386). It is done in
//! one go: nothing else is written to the stream before the answer, and a session that is bound has what was asked for from its first
//! stanza on.
//!
//! In order: the proof of a token is checked, as late as passwords are when somebody is guessing. A token that is new, or was, is
//! stored. Then the old session is asked for; then extensions have read what they need; then the stream is bound.

use super::account::Account;
use super::effect::Effect;
use super::hook::Inline;
use super::ids::{Job, SessionId, StreamId, name_of};
use super::impossible::impossible;
use super::logins::Login;
use super::promise::Promise;
use super::server::Core;
use super::session::client_mark;
use super::state::State;
use super::throttle::{self, Outcome};
use super::work::{Timer, Work};
use crate::store::{Query, Rows};
use crate::wire::login::{Begin, Begins, Begun, Client, Refused, TAG_BYTES, Upgrade, enable, is_true};
use crate::wire::scram::{Credentials, Hash};
use crate::wire::{Jid, Manage, Ns, StreamCondition, StreamError};
use ring::hmac;
use std::net::IpAddr;

impl Core {
    /// XEP-0388 §2.6: all that was asked for with the proof.
    pub(super) fn begin(&mut self, stream: StreamId, begin: Box<Begin>, peer: IpAddr) {
        let proves = begin.proof.is_some().then(|| begin.account.clone());
        let login = Login::new(begin);
        self.state.logins.put(stream, login);
        match proves {
            Some(account) => self.login(stream, account, peer),
            None => self.prove(stream),
        }
    }

    /// Somebody wants to log in, and may have to wait until they may try.
    pub(super) fn login(&mut self, stream: StreamId, jid: Jid, peer: IpAddr) {
        let st = &mut self.state;
        let network = throttle::network_mark(&st.secret, peer);
        let known = st.account(&jid).is_some_and(|account| account.knows(network));
        st.throttle.ask(st.now.mono, stream, jid, &st.secret, peer, known);
        self.admit();
    }

    /// Lets those try whose turn it is.
    pub(super) fn admit(&mut self) {
        let now = self.state.now.mono;
        while let Some((stream, jid)) = self.state.throttle.next(now) {
            let st = &mut self.state;
            if st.logins.get(stream).is_some() {
                self.prove(stream);
            } else {
                let credentials = st.credentials(&jid);
                st.effects.push(Effect::Credentials(stream, credentials));
            }
        }
        if let Some(at) = self.state.throttle.wake(now) {
            self.state.set_timer(at, Timer::Logins);
        }
    }

    /// Checks what is to be checked, and makes a token if it is time for one.
    pub(super) fn prove(&mut self, stream: StreamId) {
        let st = &mut self.state;
        let Some(mut login) = st.logins.take(stream) else { return };
        match st.prove(&mut login) {
            Err(refused) => st.effects.push(Effect::Begun(stream, Err(refused))),
            Ok(stored) => {
                st.logins.put(stream, login);
                match stored {
                    true => st.promise(Promise::Login(stream)),
                    false => self.go_on(stream),
                }
            }
        }
    }

    /// Asks for the old session, reads what has to be read, or binds.
    pub(super) fn go_on(&mut self, stream: StreamId) {
        let st = &mut self.state;
        let stalled = st.takes_nothing();
        let Some(login) = st.logins.get_mut(stream) else { return };
        if stalled {
            // Nobody knows when it will be stored.
            login.token = None;
        }
        if !std::mem::replace(&mut login.asked, true) {
            match login.begin.request.resume() {
                Some(Ok((id, h))) => {
                    let account = login.begin.account.clone();
                    return st.resume(stream, &account, &id, h);
                }
                Some(Err(condition)) => login.failed = Some(Manage::Failed { condition, handled: None }),
                None => {}
            }
        }
        let (account, binds) = (login.begin.account.clone(), login.begin.request.bind().is_some());
        if !binds {
            return st.begun(stream, account, Begins::Unbound, "");
        }
        if login.rows.is_empty() {
            self.read(stream, &account);
        }
        self.bind_inline(stream);
    }

    /// Asks what extensions want to know.
    fn read(&mut self, stream: StreamId, account: &Jid) {
        let local = account.local().unwrap_or_default();
        for n in 0..self.extensions.len() {
            let queries: Vec<Query> = self.hook(n, |x, st| x.before_bind(st, local));
            let st = &mut self.state;
            let jobs: Vec<Job> = queries.into_iter().map(|query| st.ask_for_login(query)).collect();
            st.logins.asks(stream, n, jobs.into_iter());
        }
    }

    /// Something was read for a login.
    pub(super) fn read_for_login(&mut self, job: Job, rows: Option<Rows>) {
        let Some(stream) = self.state.logins.read(job, rows) else { return };
        self.bind_inline(stream);
    }

    /// XEP-0386 §3.2, when all is read.
    fn bind_inline(&mut self, stream: StreamId) {
        let st = &mut self.state;
        let Some(login) = st.logins.get(stream).filter(|login| login.reading == 0) else { return };
        let (account, request) = (login.begin.account.clone(), login.begin.request.clone());
        let Some(bind) = request.bind() else { return impossible("a login that binds nothing is to be bound") };
        let client = request.client();
        let mark = client.map(|client| client_mark(&st.secret, client));
        let tag = bind.child(Ns::BIND2, "tag").map(|tag| tag.text().trim().to_owned());
        let tag = tag.filter(|tag| !tag.is_empty() && tag.len() <= TAG_BYTES && account.with_resource(tag).is_ok());
        let name = st.resource_name(&account, client, tag.as_deref());
        let resource = tag.map_or(name.clone(), |tag| format!("{tag}/{name}"));
        // It has only one at a time.
        let own = |sid: &SessionId| mark.is_some() && st.here.session(*sid).is_some_and(|s| s.client == mark);
        let earlier: Vec<SessionId> =
            st.sessions_of(account.local().unwrap_or_default()).into_iter().filter(own).collect();
        for old in earlier {
            let replaced = StreamError::new(StreamCondition::Conflict).text("the client has a new session");
            st.close(old, Some(replaced));
        }
        let Ok((sid, full)) = self.bind(stream, &account, Some(resource)) else {
            // It can ask again in the other way, and is told why not.
            return self.state.begun(stream, account, Begins::Unbound, "");
        };
        let mut bound = String::new();
        let st = &mut self.state;
        if let Some(session) = st.here.session_mut(sid) {
            session.client = mark;
        }
        let enabled = bind.child(Ns::SM, "enable").map(enable).and_then(|(resume, max)| st.enable(stream, resume, max));
        if let Some(enabled) = &enabled {
            enabled.write(&mut bound);
        }
        let (rows, archived) = match st.logins.get_mut(stream) {
            Some(login) => (std::mem::take(&mut login.rows), login.archived),
            None => return impossible("a login is over while its stream is bound"),
        };
        for (n, rows) in rows.iter().enumerate() {
            let inline = Inline { bind, rows, archived };
            self.hook(n, |x, st| x.bind_inline(st, sid, &inline, &mut bound));
        }
        let bound = format!("<bound xmlns='urn:xmpp:bind:0'>{bound}</bound>");
        let inactive = self.state.here.session(sid).is_some_and(|session| session.quiet.is_some());
        self.state.begun(stream, full, Begins::Bound { managed: enabled.is_some(), inactive }, &bound);
    }
}

impl State {
    /// What a password must prove. Who is not here has some, too, as one of those has that are.
    fn credentials(&self, jid: &Jid) -> Credentials {
        if let Some(account) = self.account(jid) {
            return account.credentials.clone();
        }
        let iterations = |a: &Account| (a.credentials.sha1.iterations, a.credentials.sha256.iterations);
        let there = self.here.accounts().values_of(iterations);
        let set = there.is_empty().then_some((self.settings.iterations, self.settings.iterations));
        Credentials::fake_among(&self.secret, jid.as_str(), there.into_iter().chain(set))
    }

    /// How a login ended. The account remembers where its password was right.
    pub(super) fn login_ended(&mut self, stream: StreamId, jid: &Jid, peer: IpAddr, success: bool) {
        let outcome = if success { Outcome::Success } else { Outcome::Failure };
        self.throttle.ended(self.now.mono, stream, outcome);
        let network = throttle::network_mark(&self.secret, peer);
        let local = self.local(jid).map(Box::<str>::from).unwrap_or_default();
        let Some(account) = self.here.account_mut(&local).filter(|_| success) else { return };
        if account.learn(network) {
            // It is only kept in mind until the account's row is written for another reason.
            let _ = self.write_account(&local);
        }
    }

    /// The stream of a login is gone.
    pub(super) fn forget_login(&mut self, stream: StreamId) {
        self.logins.forget(stream);
    }

    /// Whether something has to be stored before it goes on.
    fn prove(&mut self, login: &mut Login) -> Result<bool, Refused> {
        let (account, request) = (login.begin.account.clone(), login.begin.request.clone());
        let (local, client) = (login.local().to_owned(), request.client());
        let mut stored = false;
        let mut token = login.begin.token;
        if let Some(proof) = &login.begin.proof {
            let (Some(client), Some(fast)) = (client, request.fast()) else { return Err(Refused::NotAuthorized) };
            let count = match fast.attr("count").map(|count| count.trim().parse()) {
                Some(Err(_)) => return Err(Refused::NotAuthorized),
                Some(Ok(count)) => Some(count),
                None => None,
            };
            if self.account(&account).is_none() {
                return Err(Refused::NotAuthorized);
            }
            let used = self.use_token(&local, client, proof, count, is_true(fast, "invalidate"))?;
            stored = used.changed;
            login.proof = Some(used.answer);
            if used.rotate {
                token = token.or(Some(proof.mechanism));
            }
        } else if self.account(&account).is_none() {
            // It was removed just now.
            return Err(Refused::Trouble);
        }
        if let (Some(client), Some(mechanism)) = (client, token) {
            login.token = self.issue_token(&local, client, mechanism);
            stored |= login.token.is_some();
        }
        if let Some(upgrade) = login.begin.upgrade.take() {
            stored |= self.upgrade(&local, upgrade);
        }
        Ok(stored)
    }

    /// The answer to a request to carry on a session, on a stream that may be logging in.
    pub(super) fn answer_resume(&mut self, stream: StreamId, answer: Manage) {
        match (self.logins.get_mut(stream), answer) {
            (None, answer) => self.effects.push(Effect::Manage(stream, answer)),
            (Some(_), Manage::Resumed { jid, id, h }) => {
                let mut resumed = String::new();
                Manage::Resumed { jid: jid.clone(), id, h }.write(&mut resumed);
                self.begun(stream, jid, Begins::Resumed, &resumed);
            }
            (Some(login), failed) => {
                login.failed = Some(failed);
                self.work.push_back(Work::Login(stream));
            }
        }
    }

    /// Tells what came of a login.
    fn begun(&mut self, stream: StreamId, jid: Jid, begins: Begins, element: &str) {
        let Some(login) = self.logins.take(stream) else { return };
        let mut elements = String::new();
        if let Some(failed) = &login.failed {
            failed.write(&mut elements);
        }
        elements.push_str(element);
        elements.extend(login.token);
        self.effects.push(Effect::Begun(stream, Ok(Begun { jid, begins, proof: login.proof, elements })));
    }

    /// What the server calls a session (XEP-0386 §3.2.1): always the same for the same client and tag, and nobody can tell the
    /// client's id from it.
    fn resource_name(&mut self, account: &Jid, client: Option<Client>, tag: Option<&str>) -> String {
        let Some(client) = client else { return self.token() };
        let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, &self.secret));
        context.update(b"resource\0");
        context.update(&client.0.to_be_bytes());
        context.update(account.as_str().as_bytes());
        context.update(b"\0");
        context.update(tag.unwrap_or_default().as_bytes());
        name_of(context.sign().as_ref())
    }

    /// Gives an account stronger keys for the password that was just proven (XEP-0480), unless it has another by now.
    fn upgrade(&mut self, local: &str, upgrade: Upgrade) -> bool {
        let stalled = self.takes_nothing();
        let Some(account) = self.here.account_mut(local) else { return false };
        if stalled || account.credentials.sha256.stored != upgrade.of {
            return false;
        }
        for (hash, keys) in upgrade.keys {
            match hash {
                Hash::Sha1 => account.credentials.sha1 = keys,
                Hash::Sha256 => account.credentials.sha256 = keys,
            }
        }
        self.write_account(local).is_ok()
    }
}
