//! The server as the database has it.

use super::account::Account;
use super::archived::Archived;
use super::clock::Clock;
use super::hook::Extension;
use super::random::Random;
use super::roster::Item;
use super::rows::{damaged, scan};
use super::server::Core;
use super::settings::Settings;
use super::state::State;
use crate::store::{Batch, Engine, Query, StoreError, Tree, key};
use crate::wire::Jid;

/// The row of [`Tree::Meta`] with the secret that answers for unknown users are made of.
const SECRET: &[u8] = b"secret";
/// The row of [`Tree::Meta`] with the domain.
const DOMAIN: &[u8] = b"domain";

/// The domain that a database was made for; `None` for a new one.
pub fn stored_domain(engine: &mut dyn Engine) -> Result<Option<String>, StoreError> {
    let rows = engine.query(&Query::Get(Tree::Meta, DOMAIN.into()))?;
    Ok(rows.first().map(|(_, value)| String::from_utf8_lossy(value).into_owned()))
}

impl Core {
    /// The server as the database has it: reads all accounts, rosters and block lists. `seed`: unpredictable, from the system.
    /// `extensions`: the pipeline, see `ext::all`.
    pub fn open(
        settings: Settings,
        seed: [u8; 32],
        extensions: Vec<Box<dyn Extension>>,
        engine: &mut dyn Engine,
    ) -> Result<Core, StoreError> {
        let secret = match engine.query(&Query::Get(Tree::Meta, SECRET.into()))?.first() {
            Some((_, secret)) => secret[..].try_into().map_err(|_| damaged("the server's secret"))?,
            None => {
                let mut first = Batch::default();
                first.put(Tree::Meta, SECRET, seed);
                first.put(Tree::Meta, DOMAIN, settings.domain.as_str().as_bytes());
                engine.commit(&[first])?;
                seed
            }
        };
        // Not the seed itself: that may just have been stored.
        let mut random = Random::new(seed);
        let mut state = State::new(settings, random.next(), secret);
        state.abouts = extensions.iter().flat_map(|x| std::iter::once(x.about()).chain(x.also())).collect();
        state.keep_lines_at(0);
        let mut core = Core { state, extensions };
        core.load(engine)?;
        for n in 0..core.extensions.len() {
            core.hook(n, |x, st| x.load(st, engine))?;
        }
        Ok(core)
    }

    fn load(&mut self, engine: &mut dyn Engine) -> Result<(), StoreError> {
        let st = &mut self.state;
        let domain = st.settings.domain.clone();
        st.clock = Clock::load(engine)?;
        st.numbers.load(engine)?;
        scan(engine, Tree::Account, &[], |key, value| {
            let local = std::str::from_utf8(key).map_err(|_| damaged("an account's name"))?;
            let jid = Jid::new(Some(local), domain.domain(), None).map_err(|_| damaged("an account's name"))?;
            st.here.add(local, Account::from_record(jid, value)?);
            Ok(())
        })?;
        scan(engine, Tree::Archive, &[], |key, value| {
            let local = std::str::from_utf8(key).map_err(|_| damaged("an archive's name"))?;
            let archived = Archived::from_record(value)?;
            // What is archived from now on lies behind that, also if the clock went back.
            st.seen_mark(archived.begins);
            st.here.set_archived(local, archived);
            Ok(())
        })?;
        scan(engine, Tree::Roster, &[], |key, value| {
            let (local, contact) = key::split(key).ok_or_else(|| damaged("a roster item's key"))?;
            let contact = std::str::from_utf8(contact).map_err(|_| damaged("a contact's address"))?;
            if contact.is_empty() {
                if let Some(account) = st.here.account_mut(local) {
                    account.roster.version = String::from_utf8_lossy(value).into();
                }
                return Ok(());
            }
            let of_ours = contact.strip_suffix(domain.domain()).and_then(|rest| rest.strip_suffix('@'));
            let jid = match of_ours.and_then(|local| st.here.account(local)) {
                Some(account) if account.jid.as_str() == contact => account.jid.clone(),
                _ => Jid::parse(contact).map_err(|_| damaged("a contact's address"))?,
            };
            let mut item = Item::from_record(value)?;
            st.words.share(&mut item);
            if let Some(account) = st.here.account_mut(local) {
                account.roster.insert(jid, item);
            }
            Ok(())
        })?;
        st.here.fit_rosters();
        scan(engine, Tree::Token, &[], |key, value| st.tokens.load(key, value))?;
        scan(engine, Tree::Notifier, &[], |key, value| st.notifiers.load(key, value))?;
        scan(engine, Tree::Invitation, &[], |key, value| st.invitations.load(key, value))?;
        scan(engine, Tree::House, &[], |key, value| st.residents.load(key, value))?;
        scan(engine, Tree::Admin, &[], |key, _| {
            let local = std::str::from_utf8(key).map_err(|_| damaged("an administrator's name"))?;
            st.granted.extend(st.here.account(local).map(|account| account.jid.clone()));
            Ok(())
        })?;
        scan(engine, Tree::Block, &[], |key, _| {
            let (local, jid) = key::split(key).ok_or_else(|| damaged("a block list's key"))?;
            let Some(account) = st.here.account_mut(local) else { return Ok(()) };
            let jid = std::str::from_utf8(jid).ok().and_then(|jid| Jid::parse(jid).ok());
            account.blocked.insert(jid.ok_or_else(|| damaged("a blocked address"))?);
            Ok(())
        })?;
        st.begin_household(engine)
    }
}
