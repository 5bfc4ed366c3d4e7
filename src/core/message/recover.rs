//! The end of the log, read again at a start: what was on its way, and what streams had counted.

use super::logged::{Counted, Logged};
use super::streams::Ended;
use crate::core::peers::Leaving;
use crate::core::rows::damaged;
use crate::core::state::State;
use crate::store::{Engine, Query, StoreError};
use crate::wire::{Jid, Scope, Stanza};
use std::collections::BTreeMap;

/// Time for which the streams before a restart are remembered, in milliseconds.
const RECOVERED_MS: u64 = 86_400_000;

/// Entries read at once.
const PAGE_ROWS: usize = 1024;

/// Bytes read at once.
const PAGE_BYTES: usize = 512 * 1024;

/// What the end of the log tells at a start.
#[derive(Debug, Default)]
pub struct Recovered {
    /// Messages that were on their way, in order, and how the streams count them that they were written to.
    pub lost: Vec<(Stanza, Vec<Counted>)>,
    /// Messages that were kept, and handed to a stream: whose, and what they are called.
    pub handed: Vec<(Box<str>, u64)>,
}

impl State {
    /// Reads the end of the log again: what was on its way when the server stopped, and what streams had counted. The messages must
    /// be kept by whoever calls this, and [`State::recovered`] tells of it.
    pub fn recover(&mut self, engine: &mut dyn Engine) -> Result<Recovered, StoreError> {
        let number = |bytes: &[u8]| bytes.try_into().map(u64::from_be_bytes).map_err(|_| damaged("a number"));
        let Some((low, last)) = engine.query(&Query::Edge)?.into_iter().next() else { return Ok(Recovered::default()) };
        let (low, last) = (number(&low)?, number(&last)?);
        self.numbers.seen(last);
        self.numbers.logged = last;
        self.deliveries.begin(low, last);
        let mut lost: BTreeMap<u64, (Stanza, Vec<Counted>)> = BTreeMap::new();
        let mut handed = Vec::new();
        let mut leaving = Leaving::default();
        let mut after = low.saturating_sub(1);
        loop {
            let rows = engine.query(&Query::Since { after, rows: PAGE_ROWS, bytes: PAGE_BYTES })?;
            let Some((newest, _)) = rows.last() else { break };
            after = number(newest)?;
            for (id, value) in &rows {
                let id = number(id)?;
                let Ok(entry) = Logged::read(value) else {
                    log::error!("entry {id} of the log is not readable, and is left out");
                    continue;
                };
                match entry {
                    Logged::Message { sent, received, xml } => {
                        if let Some(Counted { stream, count }) = sent {
                            self.counted(stream, |ended| ended.handled = Some(count));
                        }
                        let message = Stanza::parse(xml, Scope::client()).ok().flatten();
                        if let Some(mut message) = message.filter(|_| !received.is_empty()) {
                            message.mark = id;
                            if message.to.as_ref().is_some_and(|to| self.local(to).is_none()) {
                                leaving.on_their_way(message, &received);
                                continue;
                            }
                            if let Some(to) = message.to.as_ref().map(Jid::bare) {
                                // Under the id that it had when it was on its way.
                                self.note_id(&to, &mut message);
                            }
                            lost.insert(id, (message, received));
                        }
                    }
                    Logged::Settled(ids) => ids.iter().for_each(|id| {
                        lost.remove(id);
                        leaving.arrived(*id);
                    }),
                    Logged::Heard(counts) => {
                        for Counted { stream, count } in counts {
                            self.counted(stream, |ended| ended.handled = Some(count));
                        }
                    }
                    Logged::Peer { stream, ours, theirs, id } => leaving.named(stream, (ours, theirs), id),
                    Logged::Handed { local: "", stream, messages } => leaving.handed(stream, &messages),
                    Logged::Handed { local, stream, messages } => {
                        handed.extend(messages.iter().map(|(_, mark)| (local.into(), *mark)));
                        self.counted(stream, |ended| {
                            ended.local = local.into();
                            ended.sent.extend(messages);
                        });
                    }
                }
            }
        }
        self.recover_leaving(leaving);
        Ok(Recovered { lost: lost.into_values().collect(), handed })
    }

    /// A message that is kept was written to these streams before the server started.
    pub fn was_written(&mut self, local: &str, mark: u64, holders: &[Counted]) {
        for Counted { stream, count } in holders {
            self.counted(*stream, |ended| {
                ended.local = local.into();
                ended.sent.push((*count, mark));
            });
        }
    }

    fn counted(&mut self, stream: u64, change: impl FnOnce(&mut Ended)) {
        if !self.streams.ended.contains_key(&stream) {
            let ended = Ended { handled: None, local: Box::default(), sent: Vec::new(), until: RECOVERED_MS };
            self.streams.remember(self.now.mono, stream, ended);
        }
        if let Some(ended) = self.streams.ended.get_mut(&stream) {
            change(ended);
        }
    }

    /// A number that is in use; greater ones are given from now on.
    pub fn seen_mark(&mut self, mark: u64) {
        self.numbers.seen(mark);
    }
}
