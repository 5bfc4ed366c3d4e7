//! The logins under way that are done in one go (XEP-0388).

use super::ids::{Job, StreamId};
use super::impossible::impossible;
use crate::store::Rows;
use crate::wire::Manage;
use crate::wire::login::Begin;
use std::collections::BTreeMap;

/// A login under way.
#[derive(Debug)]
pub(super) struct Login {
    pub(super) begin: Box<Begin>,
    /// The answer to the proof of a token.
    pub(super) proof: Option<Box<[u8]>>,
    /// `<token/>`, which is being stored.
    pub(super) token: Option<String>,
    /// The session to be carried on was asked for.
    pub(super) asked: bool,
    /// Why it cannot be.
    pub(super) failed: Option<Manage>,
    /// What extensions have read, and how much they wait for.
    pub(super) rows: Vec<Vec<Option<Rows>>>,
    pub(super) reading: usize,
    /// What was archived for the account since they asked: the first number and the last.
    pub(super) archived: Option<(u64, u64)>,
}

impl Login {
    /// As its client asks for it.
    pub(super) fn new(begin: Box<Begin>) -> Login {
        Login {
            begin,
            proof: None,
            token: None,
            asked: false,
            failed: None,
            rows: Vec::new(),
            reading: 0,
            archived: None,
        }
    }

    pub(super) fn local(&self) -> &str {
        self.begin.account.local().unwrap_or_default()
    }
}

/// All of them, by their streams.
#[derive(Debug, Default)]
pub(super) struct Logins {
    under_way: BTreeMap<StreamId, Login>,
    /// Which login a question belongs to, which extension, and which of its questions it is.
    jobs: BTreeMap<Job, (StreamId, usize, usize)>,
}

impl Logins {
    pub(super) fn put(&mut self, stream: StreamId, login: Login) {
        self.under_way.insert(stream, login);
    }

    /// Takes one out, which goes on or is over. Answers to its questions still come to it if it is put back.
    pub(super) fn take(&mut self, stream: StreamId) -> Option<Login> {
        self.under_way.remove(&stream)
    }

    /// The stream of one is gone: nobody waits for the answers.
    pub(super) fn forget(&mut self, stream: StreamId) {
        if self.under_way.remove(&stream).is_some() {
            self.jobs.retain(|_, (asked, ..)| *asked != stream);
        }
    }

    pub(super) fn get(&self, stream: StreamId) -> Option<&Login> {
        self.under_way.get(&stream)
    }

    pub(super) fn get_mut(&mut self, stream: StreamId) -> Option<&mut Login> {
        self.under_way.get_mut(&stream)
    }

    /// An extension, which is in this place of the list, reads something for a login: what it asks.
    pub(super) fn asks(&mut self, stream: StreamId, extension: usize, jobs: impl ExactSizeIterator<Item = Job>) {
        let Some(login) = self.under_way.get_mut(&stream) else {
            return impossible("something is read for a login that is over");
        };
        login.rows.push((0..jobs.len()).map(|_| None).collect());
        login.reading += jobs.len();
        self.jobs.extend(jobs.enumerate().map(|(question, job)| (job, (stream, extension, question))));
    }

    /// Something was read, or could not be. The stream whose login that was for.
    pub(super) fn read(&mut self, job: Job, rows: Option<Rows>) -> Option<StreamId> {
        let (stream, extension, question) = self.jobs.remove(&job)?;
        let login = self.under_way.get_mut(&stream)?;
        login.reading -= 1;
        login.rows[extension][question] = rows;
        Some(stream)
    }

    /// Something was archived for an account: the logins that have read of its archive did not see it.
    pub(super) fn note_archived(&mut self, local: &str, number: u64) {
        for login in self.under_way.values_mut().filter(|login| login.local() == local) {
            let (first, _) = *login.archived.get_or_insert((number, number));
            login.archived = Some((first, number));
        }
    }
}
