//! Questions that wait for their answers, and what waits for its time.

use super::ids::{Job, SessionId};
use super::work::Timer;
use crate::wire::Jid;
use std::collections::BTreeMap;

/// Requests to one client that wait for its answer.
const REQUESTS: usize = 64;

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Questions {
    /// The last number that was given.
    last: u64,
    /// The extension that each belongs to.
    jobs: BTreeMap<Job, usize>,
    /// What waits for its time, in its order.
    timers: BTreeMap<(u64, u64), Timer>,
    /// When the time of a job comes that waits for that.
    timed: BTreeMap<Job, u64>,
    /// When the world was last asked to wake us, until it does.
    wakes: Option<u64>,
    /// Which job a request to a client belongs to.
    requests: BTreeMap<(SessionId, String), Job>,
    /// Which job a question of an extension belongs to, by the id of its request, and whom it asks.
    inquiries: BTreeMap<String, (Jid, Job)>,
}

impl Questions {
    /// A job that belongs to nobody here.
    pub(super) fn job(&mut self) -> Job {
        self.last += 1;
        Job(self.last)
    }

    /// A job of an extension.
    pub(super) fn job_of(&mut self, extension: usize) -> Job {
        let job = self.job();
        self.jobs.insert(job, extension);
        job
    }

    /// A job is done, or nobody waits for it; whose it was.
    pub(super) fn take(&mut self, job: Job) -> Option<usize> {
        self.jobs.remove(&job)
    }

    // --- times ---

    /// Something waits until `at`.
    pub(super) fn set_timer(&mut self, at: u64, timer: Timer) {
        let Job(number) = self.job();
        self.timers.insert((at, number), timer);
    }

    /// A job of an extension that waits until `at`.
    pub(super) fn after(&mut self, extension: usize, at: u64) -> Job {
        let job = self.job_of(extension);
        self.timers.insert((at, job.0), Timer::Extension(extension, job));
        self.timed.insert(job, at);
        job
    }

    /// What has waited for its time.
    pub(super) fn due(&mut self, now: u64) -> Option<Timer> {
        let timer = self.timers.first_entry().filter(|timer| timer.key().0 <= now)?.remove();
        if let Timer::Extension(_, job) = &timer {
            self.jobs.remove(job);
            self.timed.remove(job);
        }
        Some(timer)
    }

    /// When the world is to wake us, if it was not asked for that yet.
    pub(super) fn wakes(&mut self) -> Option<u64> {
        let ((at, _), _) = self.timers.first_key_value()?;
        (self.wakes.replace(*at) != Some(*at)).then_some(*at)
    }

    /// It does.
    pub(super) fn woken(&mut self) {
        self.wakes = None;
    }

    /// Nobody waits for this job any more.
    pub(super) fn forget(&mut self, job: Job) {
        self.jobs.remove(&job);
        if let Some(at) = self.timed.remove(&job) {
            self.timers.remove(&(at, job.0));
        }
        self.inquiries.retain(|_, (_, asked)| *asked != job);
    }

    // --- requests to clients ---

    /// A session is asked something under this id. A client that does not answer is owed no more than so many answers: of the oldest
    /// nothing is known any more.
    pub(super) fn request(&mut self, sid: SessionId, id: String, job: Job) {
        let own = || self.requests.range((sid, String::new())..).take_while(|((asked, _), _)| *asked == sid);
        if own().count() >= REQUESTS
            && let Some((key, oldest)) = own().min_by_key(|(_, job)| **job).map(|(key, job)| (key.clone(), *job))
        {
            self.requests.remove(&key);
            self.jobs.remove(&oldest);
        }
        self.requests.insert((sid, id), job);
    }

    /// A session has answered a request with this id, if it was asked one.
    pub(super) fn replied(&mut self, sid: SessionId, id: String) -> Option<Job> {
        self.requests.remove(&(sid, id))
    }

    /// A session answers nothing any more.
    pub(super) fn left(&mut self, sid: SessionId) {
        let asked = self.requests.range((sid, String::new())..).take_while(|((asked, _), _)| *asked == sid);
        for (key, job) in asked.map(|(key, job)| (key.clone(), *job)).collect::<Vec<_>>() {
            self.requests.remove(&key);
            self.jobs.remove(&job);
        }
    }

    // --- questions in somebody's name ---

    /// Somebody is asked something under this id.
    pub(super) fn inquire(&mut self, id: String, to: Jid, job: Job) {
        self.inquiries.insert(id, (to, job));
    }

    /// Whether nobody is asked anything.
    pub(super) fn asks_nobody(&self) -> bool {
        self.inquiries.is_empty()
    }

    /// An answer with this id has come from somebody: the question that it answers.
    pub(super) fn answered(&mut self, id: &str, from: Option<&Jid>) -> Option<Job> {
        let (_, job) = self.inquiries.get(id).filter(|(asked, _)| from == Some(asked))?;
        let job = *job;
        self.inquiries.remove(id);
        Some(job)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::ids::StreamId;
    use super::*;

    impl Questions {
        /// What waits for its time.
        pub(in crate::core) fn timers(&self) -> usize {
            self.timers.len()
        }

        /// The next of it, and when that is.
        pub(in crate::core) fn next_timer(&mut self) -> Option<u64> {
            let ((at, _), _) = self.timers.first_key_value()?;
            let at = *at;
            self.due(at);
            Some(at)
        }
    }

    fn is_empty(q: &Questions) -> bool {
        q.jobs.is_empty() && q.timers.is_empty() && q.timed.is_empty() && q.requests.is_empty() && q.asks_nobody()
    }

    #[test]
    fn what_waits_for_its_time_comes_in_its_order_and_leaves_nothing() {
        let mut q = Questions::default();
        let (late, soon) = (q.after(1, 20), q.after(2, 10));
        q.set_timer(10, Timer::Note);
        assert!(q.due(9).is_none());
        assert!(matches!(q.due(10), Some(Timer::Extension(2, job)) if job == soon));
        assert!(matches!(q.due(10), Some(Timer::Note)));
        assert!(q.due(10).is_none());
        assert!(matches!(q.due(30), Some(Timer::Extension(1, job)) if job == late));
        assert!(is_empty(&q));
    }

    /// What is waited for no more leaves nothing behind.
    #[test]
    fn a_time_that_is_waited_for_no_more_is_forgotten() {
        let mut q = Questions::default();
        let jobs: Vec<_> = (0..100).map(|n| q.after(0, n % 7)).collect();
        assert_eq!((q.timers.len(), q.timed.len()), (100, 100));
        jobs.into_iter().for_each(|job| q.forget(job));
        assert!(is_empty(&q));
    }

    #[test]
    fn the_world_is_asked_once_to_wake_us() {
        let mut q = Questions::default();
        assert_eq!(q.wakes(), None);
        q.set_timer(10, Timer::Note);
        assert_eq!((q.wakes(), q.wakes()), (Some(10), None));
        q.set_timer(20, Timer::Note);
        assert_eq!(q.wakes(), None, "later than the next");
        q.set_timer(5, Timer::Note);
        assert_eq!((q.wakes(), q.wakes()), (Some(5), None), "sooner");
        q.woken();
        assert_eq!(q.wakes(), Some(5), "it woke us too soon");
    }

    /// A client that answers nothing is owed only so many answers.
    #[test]
    fn requests_to_a_silent_client_are_bounded() {
        let mut q = Questions::default();
        let (sid, other) = (SessionId::of(StreamId(1)), SessionId::of(StreamId(2)));
        let asked = q.job_of(0);
        q.request(other, "0".into(), asked);
        let mut last = None;
        for n in 0..1000 {
            let job = q.job_of(0);
            q.request(sid, n.to_string(), job);
            last = Some((n, job));
        }
        assert_eq!((q.requests.len(), q.jobs.len()), (1 + REQUESTS, 1 + REQUESTS));
        let (n, job) = last.unwrap();
        assert_eq!(q.replied(sid, "0".into()), None, "the oldest is forgotten");
        assert_eq!(q.replied(sid, n.to_string()), Some(job));
        assert_eq!(q.take(job), Some(0));
        q.left(sid);
        assert_eq!(q.replied(other, "0".into()), Some(asked), "the other one may still answer");
        assert_eq!(q.take(asked), Some(0));
        assert!(is_empty(&q));
    }

    #[test]
    fn only_who_was_asked_answers() {
        let jid = |text| Jid::parse(text).unwrap();
        let mut q = Questions::default();
        let job = q.job_of(3);
        q.inquire("id".into(), jid("juliet@house.test"), job);
        assert_eq!(q.answered("id", Some(&jid("romeo@house.test"))), None);
        assert_eq!(q.answered("id", None), None);
        assert_eq!(q.answered("other", Some(&jid("juliet@house.test"))), None);
        assert_eq!(q.answered("id", Some(&jid("juliet@house.test"))), Some(job));
        assert_eq!(q.answered("id", Some(&jid("juliet@house.test"))), None, "once");
        assert!(q.asks_nobody() && q.take(job) == Some(3));
    }
}
