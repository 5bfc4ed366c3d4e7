//! The one thread that owns the database. What comes within a window is committed together, and synced once.

use crate::core::{Input, Job};
use crate::service::disk::wear::{Usage, Wear};
use crate::service::lock;
use crate::store::card::Card;
use crate::store::{Batch, Engine, Op, Page, Query, Tree};
use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long to wait before a failed commit is tried again, and before a full disk is looked at again.
const RETRY: Duration = Duration::from_secs(3);
/// The same for the first times: a disk that is busy for a moment is nobody's trouble. Who waits is told after that.
const SOON: Duration = Duration::from_millis(400);
const SOON_TIMES: u32 = 3;
/// A disk that was full is not until there are so many bytes to be stored.
const ROOM_AGAIN_BYTES: u64 = 512 * 1024;

/// What makes room is taken until no more than so many bytes are left above what accepted changes may use: one turn needs less.
const ERASING_BYTES: u64 = 512 * 1024;

/// How long a question waits, at most, for the commit of what it must see; what comes meanwhile is part of that commit.
const READ_PATIENCE: Duration = Duration::from_millis(100);

/// The part of the room on the disk that is worth telling of: one of so many.
const ROOM_PART: u64 = 64;

/// What the box's owner wants to know of an engine.
pub trait Keep: Engine {
    /// What it has been handed, and has handed on, since it was opened.
    fn usage(&self) -> Usage;

    /// Bytes that can still be stored, about.
    fn room_bytes(&self) -> u64 {
        u64::MAX
    }

    /// The same of what is accepted because it makes room.
    fn erasing_bytes(&self) -> u64 {
        u64::MAX
    }

    /// From now on commits may use some of what is kept free on the disk: whoever hands them over looks at [`Keep::room_bytes`] before
    /// it accepts a change.
    fn use_reserve(&mut self) {}

    /// The files of the message log, and how long each is as far as it is on stable storage. They only grow, or are removed whole.
    fn log_files(&mut self) -> Vec<(PathBuf, u64)> {
        Vec::new()
    }
}

impl Keep for Card {
    fn usage(&self) -> Usage {
        let written = self.written();
        Usage { payload: written.accepted, bytes: written.bytes, syncs: written.syncs }
    }

    fn room_bytes(&self) -> u64 {
        Card::room_bytes(self)
    }

    fn erasing_bytes(&self) -> u64 {
        Card::erasing_bytes(self)
    }

    fn use_reserve(&mut self) {
        Card::use_reserve(self);
    }

    fn log_files(&mut self) -> Vec<(PathBuf, u64)> {
        self.snapshot_log()
    }
}

#[cfg(test)]
impl Keep for crate::store::memory::Memory {
    fn usage(&self) -> Usage {
        Usage::default()
    }
}

/// Who hears of every change as soon as it is committed.
pub(crate) type Listener = Box<dyn FnMut(&[Batch]) -> bool + Send>;

/// Something done on the thread, between two commits. It may leave a listener, who stays until it says `false`.
type Work = Box<dyn FnOnce(&mut dyn Keep, &mut Vec<Listener>) + Send>;

enum StorageRequest {
    Commit(u64, Batch),
    Ask(Job, Query),
    With(Work),
    Window(Duration),
    Stop,
}

/// What is on its way to the thread. A channel would wake the thread for each change, only to see that it is not time yet.
#[derive(Default)]
struct Queue {
    waiting: Mutex<WaitingRequests>,
    more: Condvar,
}

#[derive(Default)]
struct WaitingRequests {
    requests: VecDeque<StorageRequest>,
    thread: Thread,
}

/// What the thread does, and so what it must be woken for.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
enum Thread {
    /// It works, and will look again.
    #[default]
    Busy,
    /// It sleeps until the next commit is due: more to commit can wait for that.
    Until,
    /// It sleeps until something comes, or it is time to look at the disk.
    Idle,
    /// It has ended; there is nobody to do anything.
    Ended,
}

impl Queue {
    fn push(&self, request: StorageRequest) {
        let mut waiting = lock(&self.waiting);
        let wake = match waiting.thread {
            Thread::Busy => false,
            Thread::Until => !matches!(request, StorageRequest::Commit(..)),
            Thread::Idle => true,
            Thread::Ended => return,
        };
        waiting.requests.push_back(request);
        if wake {
            waiting.thread = Thread::Busy;
            drop(waiting);
            self.more.notify_one();
        }
    }

    /// Takes all that waits, and sleeps if nothing does. Empty: it is `due`. `commits`: what is due is a commit.
    fn take(&self, due: Option<Instant>, commits: bool) -> VecDeque<StorageRequest> {
        let mut waiting = lock(&self.waiting);
        loop {
            if !waiting.requests.is_empty() {
                return std::mem::take(&mut waiting.requests);
            }
            let left = due.map(|due| due.saturating_duration_since(Instant::now()));
            waiting = match left {
                Some(Duration::ZERO) => return VecDeque::new(),
                Some(left) => {
                    waiting.thread = if commits { Thread::Until } else { Thread::Idle };
                    self.more.wait_timeout(waiting, left).unwrap_or_else(PoisonError::into_inner).0
                }
                None => {
                    waiting.thread = Thread::Idle;
                    self.more.wait(waiting).unwrap_or_else(PoisonError::into_inner)
                }
            };
            waiting.thread = Thread::Busy;
        }
    }
}

/// The way to the thread. Nothing here waits. The thread ends when it is dropped.
pub struct Storage(Arc<Queue>);

impl Storage {
    /// A way to the thread, which [`Requests::start`] starts: the core that hears its answers must be there first.
    pub fn channel() -> (Storage, Requests) {
        let queue = Arc::<Queue>::default();
        (Storage(queue.clone()), Requests(queue))
    }

    /// Makes a batch durable; [`Input::Committed`] tells when.
    pub fn commit(&self, number: u64, batch: Batch) {
        self.send(StorageRequest::Commit(number, batch));
    }

    /// Reads; sees what was handed to [`Storage::commit`] before.
    pub fn ask(&self, job: Job, query: Query) {
        self.send(StorageRequest::Ask(job, query));
    }

    /// Does something with the database, between two commits.
    pub fn with(&self, work: impl FnOnce(&mut dyn Keep, &mut Vec<Listener>) + Send + 'static) {
        self.send(StorageRequest::With(Box::new(work)));
    }

    /// Another time between commits.
    pub fn set_window(&self, window: Duration) {
        self.send(StorageRequest::Window(window));
    }

    /// Commits what is there, then ends the thread.
    pub fn stop(&self) {
        self.send(StorageRequest::Stop);
    }

    fn send(&self, request: StorageRequest) {
        self.0.push(request);
    }
}

impl Drop for Storage {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The other end of [`Storage`].
pub struct Requests(Arc<Queue>);

impl Drop for Requests {
    fn drop(&mut self) {
        let mut waiting = lock(&self.0.waiting);
        waiting.thread = Thread::Ended;
        // Whoever waits for an answer learns that there is none.
        waiting.requests.clear();
    }
}

impl Requests {
    /// Starts the thread. `window`: the shortest time between two commits. `wear` counts what is written. `tell` hears
    /// [`Input::Committed`], [`Input::Answer`] and [`Input::Stalled`]. The engine comes back when the thread ends.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start<E: Keep + 'static>(
        self,
        engine: E,
        window: Duration,
        wear: Arc<Wear>,
        tell: impl Fn(Input) + Send + 'static,
    ) -> io::Result<JoinHandle<E>> {
        let last = Instant::now().checked_sub(window).unwrap_or_else(Instant::now);
        let (batches, listeners) = (Vec::new(), Vec::new());
        let keeper = Keeper {
            engine,
            window,
            wear,
            tell,
            listeners,
            batches,
            newest: 0,
            asked: Vec::new(),
            asked_since: last,
            last,
            retry: None,
            failures: 0,
            stalled: false,
            room: u64::MAX,
            full: false,
            erases: true,
            looked: last,
        };
        std::thread::Builder::new().name("storage".into()).spawn(move || keeper.run(&self))
    }
}

struct Keeper<E, T> {
    engine: E,
    window: Duration,
    wear: Arc<Wear>,
    tell: T,
    listeners: Vec<Listener>,
    /// What is to be committed, in order.
    batches: Vec<Batch>,
    /// The number of the newest of them.
    newest: u64,
    /// Questions about what is not written yet, which wait for the next commit.
    asked: Vec<(Job, Query)>,
    /// When the first of them came.
    asked_since: Instant,
    /// When the last commit ended.
    last: Instant,
    /// When to try again, after a failure.
    retry: Option<Instant>,
    /// How often it was tried in vain.
    failures: u32,
    stalled: bool,
    /// What was last told of [`Keep::room_bytes`].
    room: u64,
    /// There was none, and the core accepts nothing more.
    full: bool,
    /// It still accepts what makes room.
    erases: bool,
    /// When that was last looked at.
    looked: Instant,
}

impl<E: Keep, T: Fn(Input)> Keeper<E, T> {
    fn run(mut self, requests: &Requests) -> E {
        self.engine.use_reserve();
        self.tell_room();
        loop {
            for request in requests.0.take(self.due(), !self.batches.is_empty()) {
                match request {
                    StorageRequest::Commit(number, batch) => {
                        self.batches.push(batch);
                        self.newest = number;
                    }
                    StorageRequest::Ask(job, query) => self.answer(job, query),
                    StorageRequest::With(work) => {
                        // Whoever asks how all is must not hear how it was at the last commit.
                        self.tell_room();
                        work(&mut self.engine, &mut self.listeners);
                    }
                    StorageRequest::Window(window) => self.window = window,
                    StorageRequest::Stop => {
                        self.commit();
                        if !self.batches.is_empty() {
                            log::error!(
                                "the newest changes could not be written before the end; nobody was told they were"
                            );
                        }
                        return self.engine;
                    }
                }
            }
            // Also while there is always something more to be taken.
            if self.due().is_some_and(|due| due <= Instant::now()) {
                if self.batches.is_empty() { self.tell_room() } else { self.commit() }
            }
        }
    }

    /// When the next commit is due. An idle system writes its first change at once.
    fn due(&self) -> Option<Instant> {
        if self.batches.is_empty() {
            // Room comes without a word.
            return self.full.then(|| self.looked + RETRY);
        }
        let window = self.last + self.window;
        let due = if self.asked.is_empty() { window } else { window.min(self.asked_since + READ_PATIENCE) };
        Some(self.retry.unwrap_or(due))
    }

    fn commit(&mut self) {
        if self.batches.is_empty() {
            return;
        }
        let begun = Instant::now();
        match self.engine.commit(&self.batches) {
            Ok(()) => {
                let took = begun.elapsed();
                self.listeners.retain_mut(|heard| heard(&self.batches));
                self.batches.clear();
                self.batches.shrink_to(64);
                self.last = Instant::now();
                self.retry = None;
                self.failures = 0;
                self.tell_room();
                (self.tell)(Input::Committed(self.newest));
                self.wear.committed(self.engine.usage(), took);
                if std::mem::take(&mut self.stalled) {
                    (self.tell)(Input::Stalled(false));
                    log::warn!("the database can be written again");
                }
                for (job, query) in std::mem::take(&mut self.asked) {
                    self.read(job, &query);
                }
            }
            Err(error) => {
                // What is not written cannot be seen, and an answer without it would be wrong.
                self.asked.drain(..).for_each(|(job, _)| (self.tell)(Input::Answer(job, None)));
                self.failures = self.failures.saturating_add(1);
                if self.failures <= SOON_TIMES && !self.stalled {
                    self.retry = Some(Instant::now() + SOON);
                    return;
                }
                self.retry = Some(Instant::now() + RETRY);
                if !std::mem::replace(&mut self.stalled, true) {
                    (self.tell)(Input::Stalled(true));
                    // The error says what to do.
                    log::error!(
                        "nothing can be stored: {error}. Meanwhile changes and messages to people who are offline are refused."
                    );
                }
            }
        }
    }

    /// Tells what can still be stored, if that is less or more than was told by a part.
    fn tell_room(&mut self) {
        let room = self.engine.room_bytes();
        self.looked = Instant::now();
        let full = if self.full { room < ROOM_AGAIN_BYTES } else { room == 0 };
        let erases = self.engine.erasing_bytes() > ERASING_BYTES;
        if std::mem::replace(&mut self.erases, erases) != erases {
            (self.tell)(Input::Erases(erases));
        }
        if std::mem::replace(&mut self.full, full) != full {
            (self.tell)(Input::Full(full));
            match full {
                true => log::error!(
                    "nothing can be stored: the disk is full, up to what the next start needs. Make room on that disk. Meanwhile changes \
                     and messages to people who are offline are refused, but for what makes room."
                ),
                false => log::warn!("the database can be written again"),
            }
        }
        if room.abs_diff(self.room) > self.room / ROOM_PART {
            self.room = room;
            (self.tell)(Input::Room(room));
        }
    }

    /// Answers a question, which must see what was handed over before it. If that is not written yet, the question waits for the next commit
    /// rather than have one for itself: somebody who changes and reads in turns would keep the disk busy with that. But what is read in
    /// pieces, while more is added to it, must not see what came after the question.
    fn answer(&mut self, job: Job, query: Query) {
        if self.batches.iter().any(|batch| touches(batch, &query)) {
            let waits = match &query {
                Query::Get(tree, _) | Query::Scan { tree, .. } => *tree != Tree::Offline,
                _ => false,
            };
            if waits && self.retry.is_none() && !self.stalled {
                if self.asked.is_empty() {
                    self.asked_since = Instant::now();
                }
                return self.asked.push((job, query));
            }
            if !self.stalled {
                self.commit();
            }
            if !self.batches.is_empty() {
                (self.tell)(Input::Answer(job, None));
                return;
            }
        }
        self.read(job, &query);
    }

    fn read(&mut self, job: Job, query: &Query) {
        let rows = self.engine.query(query);
        if let Err(error) = &rows {
            log::error!("the database cannot be read: {error}. Stop the server, then run `inglenook check`.");
        }
        (self.tell)(Input::Answer(job, rows.ok()));
    }
}

/// Whether a batch changes what a query reads.
fn touches(batch: &Batch, query: &Query) -> bool {
    let (tree, from) = match query {
        Query::Get(tree, key) => (tree, key),
        Query::Scan { tree, prefix, .. } => (tree, prefix),
        Query::Archive(Page { owner, .. }) | Query::Entries { owner, .. } => {
            return batch.ops.iter().any(|op| match op {
                Op::Append(entry) => entry.copies.has(owner, None),
                Op::Trim { .. } => true,
                _ => false,
            });
        }
        Query::Since { .. } | Query::Edge => {
            return batch.ops.iter().any(|op| matches!(op, Op::Append(_) | Op::Trim { .. }));
        }
    };
    batch.ops.iter().any(|op| match op {
        Op::Append(_) | Op::Trim { .. } => false,
        Op::Put(t, key, _) | Op::Delete(t, key) => t == tree && key.starts_with(from),
        Op::DeleteAll(t, prefix) => t == tree && (prefix.starts_with(from) || from.starts_with(prefix)),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::store::memory::Memory;
    use crate::store::{Rows, StoreError};
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    use std::sync::mpsc::{self, Receiver};

    /// Counts commits, and has a full disk when told to.
    #[derive(Clone, Default)]
    struct Watched {
        memory: Arc<Mutex<Memory>>,
        commits: Arc<AtomicUsize>,
        full: Arc<AtomicBool>,
    }

    impl Engine for Watched {
        fn commit(&mut self, batches: &[Batch]) -> Result<(), StoreError> {
            if self.full.load(Ordering::SeqCst) {
                return Err(StoreError::Full("the disk is full".into()));
            }
            self.commits.fetch_add(1, Ordering::SeqCst);
            self.memory.lock().unwrap().commit(batches)
        }
        fn query(&mut self, query: &Query) -> Result<Rows, StoreError> {
            self.memory.lock().unwrap().query(query)
        }
    }

    impl Keep for Watched {
        fn usage(&self) -> Usage {
            Usage::default()
        }
    }

    fn started(window: u64) -> (Watched, Storage, Receiver<Input>, JoinHandle<Watched>) {
        let engine = Watched::default();
        let (storage, requests) = Storage::channel();
        let (tell, told) = mpsc::channel();
        let tell = move |input| tell.send(input).unwrap();
        let wear = Arc::new(Wear::default());
        let thread = requests.start(engine.clone(), Duration::from_millis(window), wear, tell).unwrap();
        (engine, storage, told, thread)
    }

    fn put(key: &str) -> Batch {
        let mut batch = Batch::default();
        batch.put(Tree::Vcard, key.as_bytes(), *b"value");
        batch
    }

    /// More to commit does not wake the thread that waits for its time; all else does.
    #[test]
    fn the_thread_sleeps_until_it_is_time() {
        let queue = Arc::new(Queue::default());
        let asleep = || loop {
            let thread = queue.waiting.lock().unwrap().thread;
            if thread != Thread::Busy {
                return thread;
            }
            std::thread::yield_now();
        };
        let taker = std::thread::spawn({
            let queue = queue.clone();
            move || {
                let first = queue.take(None, false).len();
                let hour = Instant::now() + Duration::from_secs(3600);
                (first, queue.take(Some(hour), true).len(), queue.take(Some(Instant::now()), true).len())
            }
        });
        assert!(asleep() == Thread::Idle);
        queue.push(StorageRequest::Commit(1, put("a")));
        assert!(asleep() == Thread::Until);
        queue.push(StorageRequest::Commit(2, put("b")));
        assert!(asleep() == Thread::Until);
        queue.push(StorageRequest::Ask(Job(1), Query::Edge));
        assert_eq!(taker.join().unwrap(), (1, 2, 0));
    }

    #[test]
    fn what_comes_within_a_window_is_one_commit() {
        let (engine, storage, told, thread) = started(3_600_000);
        storage.commit(1, put("a"));
        // The first after idleness does not wait.
        assert!(matches!(told.recv().unwrap(), Input::Committed(1)));
        for n in 2..=50 {
            storage.commit(n, put(&n.to_string()));
        }
        storage.stop();
        assert!(matches!(told.recv().unwrap(), Input::Committed(50)));
        thread.join().unwrap();
        assert_eq!(engine.commits.load(Ordering::SeqCst), 2);
    }

    #[test]
    fn a_question_sees_what_was_committed_before_it() {
        let (engine, storage, told, thread) = started(3_600_000);
        storage.commit(1, put("a"));
        assert!(matches!(told.recv().unwrap(), Input::Committed(1)));
        storage.commit(2, put("b"));
        storage.ask(Job(7), Query::Get(Tree::Vcard, (*b"a").into()));
        assert!(matches!(told.recv().unwrap(), Input::Answer(Job(7), Some(rows)) if rows.len() == 1));
        assert_eq!(engine.commits.load(Ordering::SeqCst), 1, "b does not matter to a");
        storage.ask(Job(8), Query::Get(Tree::Vcard, (*b"b").into()));
        assert!(matches!(told.recv().unwrap(), Input::Committed(2)));
        assert!(matches!(told.recv().unwrap(), Input::Answer(Job(8), Some(rows)) if rows.len() == 1));
        storage.stop();
        thread.join().unwrap();
    }

    /// Who changes and reads in turns has no commit for each.
    #[test]
    fn questions_about_what_is_not_written_wait_together() {
        let (engine, storage, told, thread) = started(3_600_000);
        storage.commit(1, put("first"));
        assert!(matches!(told.recv().unwrap(), Input::Committed(1)));
        let begun = Instant::now();
        for n in 2..=20 {
            storage.commit(n, put("a"));
            storage.ask(Job(n), Query::Get(Tree::Vcard, (*b"a").into()));
            // Not for those who ask for something else.
            storage.ask(Job(100 + n), Query::Get(Tree::Account, (*b"a").into()));
        }
        let inputs: Vec<Input> = (0..39).map(|_| told.recv().unwrap()).collect();
        assert!(inputs[..19].iter().all(|input| matches!(input, Input::Answer(Job(101..), Some(_)))), "{inputs:?}");
        assert!(matches!(inputs[19], Input::Committed(20)), "{inputs:?}");
        let seen = |input: &Input| matches!(input, Input::Answer(Job(..21), Some(rows)) if rows.len() == 1);
        assert!(inputs[20..].iter().all(seen), "{inputs:?}");
        assert_eq!(engine.commits.load(Ordering::SeqCst), 2);
        assert!(begun.elapsed() < Duration::from_secs(30), "it waits for a moment, not for the window");
        // At the end, and when they cannot be answered, nobody is left waiting.
        storage.commit(21, put("a"));
        storage.ask(Job(21), Query::Get(Tree::Vcard, (*b"a").into()));
        storage.stop();
        assert!(matches!(told.recv().unwrap(), Input::Committed(21)));
        assert!(matches!(told.recv().unwrap(), Input::Answer(Job(21), Some(_))));
        thread.join().unwrap();
    }

    /// What is read in pieces sees nothing that came after the question.
    #[test]
    fn a_question_about_messages_does_not_wait() {
        let (_engine, storage, told, thread) = started(3_600_000);
        storage.commit(1, put("first"));
        assert!(matches!(told.recv().unwrap(), Input::Committed(1)));
        let kept = |key: &str| {
            let mut batch = Batch::default();
            batch.put(Tree::Offline, key.as_bytes(), *b"message");
            batch
        };
        storage.commit(2, kept("a1"));
        let (tree, prefix) = (Tree::Offline, (*b"a").into());
        storage.ask(Job(2), Query::Scan { tree, prefix, after: None, rows: 9, bytes: 9999 });
        storage.commit(3, kept("a2"));
        storage.stop();
        assert!(matches!(told.recv().unwrap(), Input::Committed(2)));
        assert!(matches!(told.recv().unwrap(), Input::Answer(Job(2), Some(rows)) if rows.len() == 1));
        thread.join().unwrap();
    }

    #[test]
    fn a_full_disk_keeps_changes_and_tells_nobody_they_are_safe() {
        let (engine, storage, told, thread) = started(0);
        engine.full.store(true, Ordering::SeqCst);
        storage.commit(1, put("a"));
        assert!(matches!(told.recv().unwrap(), Input::Stalled(true)));
        storage.ask(Job(1), Query::Get(Tree::Vcard, (*b"a").into()));
        assert!(matches!(told.recv().unwrap(), Input::Answer(Job(1), None)));
        storage.ask(Job(2), Query::Get(Tree::Account, (*b"a").into()));
        assert!(matches!(told.recv().unwrap(), Input::Answer(Job(2), Some(_))));
        engine.full.store(false, Ordering::SeqCst);
        assert!(matches!(told.recv().unwrap(), Input::Committed(1)));
        assert!(matches!(told.recv().unwrap(), Input::Stalled(false)));
        storage.stop();
        thread.join().unwrap();
        assert_eq!(engine.commits.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn a_listener_hears_of_every_change_once_it_is_committed() {
        let (engine, storage, told, thread) = started(0);
        let (hear, heard) = mpsc::channel();
        let mut left = 2;
        storage.with(move |_, listeners| {
            listeners.push(Box::new(move |batches| {
                hear.send(batches.to_vec()).unwrap();
                left -= 1;
                left > 0
            }));
        });
        engine.full.store(true, Ordering::SeqCst);
        storage.commit(1, put("a"));
        assert!(matches!(told.recv().unwrap(), Input::Stalled(true)));
        assert!(heard.try_recv().is_err(), "nothing is there yet");
        engine.full.store(false, Ordering::SeqCst);
        for n in 2..5 {
            while !matches!(told.recv().unwrap(), Input::Committed(_)) {}
            storage.commit(n, put("b"));
        }
        storage.stop();
        thread.join().unwrap();
        assert_eq!(heard.iter().collect::<Vec<_>>(), [[put("a")], [put("b")]]);
    }

    #[test]
    fn what_a_question_reads() {
        let scan =
            |prefix: &[u8]| Query::Scan { tree: Tree::Vcard, prefix: prefix.into(), after: None, rows: 1, bytes: 1 };
        assert!(touches(&put("ab"), &scan(b"a")) && !touches(&put("ab"), &scan(b"b")));
        let mut wide = Batch::default();
        wide.delete_all(Tree::Vcard, *b"a");
        assert!(touches(&wide, &scan(b"ab")) && touches(&wide, &scan(b"")) && !touches(&wide, &scan(b"b")));
        assert!(!touches(&put("ab"), &Query::Get(Tree::Account, (*b"ab").into())));
    }
}
