//! Which files and slots there are, how much everybody has of the room for them, and who may have more.
//!
//! A slot is a promise of room, not room: what must go for a file goes when that file comes. An account that is full loses its own oldest
//! files, and if all accounts together are, the oldest of all go; those whose time is over before any other, and none that is being read. So
//! that nobody wears the card out by that, or takes from others more than a share, an account uploads no more within a day than its files
//! may take.

use super::header::HEADER_BYTES;
use super::limits::FileLimits;
use super::name::{FileId, SlotToken};
use super::types::are_same;
use crate::core::share::{Shared, limits};
use crate::core::{SlotRefusal, UploadPurpose, WantedSlot};
use crate::service::host;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// Slots that wait for their file, in all.
const SLOTS: usize = 1024;
/// Those of an account.
const ACCOUNT_SLOTS: usize = 32;
/// Files that an account uploads at the same time.
const ACCOUNT_UPLOADS: usize = 4;
/// Files in all: each takes some memory, and time at the start.
const FILES: usize = 32_768;
/// Those of an account.
const ACCOUNT_FILES: usize = FILES / 4;
/// How long a slot waits, in milliseconds (XEP-0363 §8).
const SLOT_MS: u64 = 5 * 60_000;
/// The time that an account may upload so much in, in milliseconds.
const DAY_MS: u64 = 86_400_000;
/// When to try again where nobody can tell, in milliseconds.
const AGAIN_MS: u64 = 60_000;

/// For the table of what is shared.
pub(crate) const SHARED: Shared = Shared {
    what: "uploaded files, and slots that wait for one; their bytes: the setting `total_bytes` of `[uploads]`",
    whole: limits![FILES, ACCOUNT_FILES, SLOTS, ACCOUNT_SLOTS, ACCOUNT_UPLOADS],
    share: "an account: those numbers, and the setting `account_bytes` for what is kept and for what is uploaded within a day",
    checked: "service/disk/files/room.rs",
    told: "its oldest files go; `resource-constraint`, with the time to try again",
};

/// A request that puts a file (XEP-0363 §7).
#[derive(Clone, Copy, Debug)]
pub struct PutRequest<'a> {
    /// Both as in the path `/upload/ID/NAME`, the name percent-decoded.
    pub id: &'a str,
    /// See there.
    pub name: &'a str,
    /// What follows `Bearer ` in the field `Authorization`; empty: there is none.
    pub token: &'a str,
    /// The value of `Content-Length`.
    pub length: u64,
    /// The value of `Content-Type`.
    pub content_type: Option<&'a str>,
}

/// Why a file is not taken: in words for a person.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PutRefusal {
    /// There is no such slot, or its time is over.
    Unknown,
    /// The token is another one.
    Token,
    /// The slot is for a file of so many bytes.
    Length(u64),
    /// The slot is for a file of another content type.
    ContentType,
    /// A file came for the slot, or is coming.
    Used,
    /// The account uploads as many files as it may at the same time; later it can be taken.
    Busy,
    /// There is no room.
    Full,
    /// The disk fails; the log says why.
    Fails,
}

impl fmt::Display for PutRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PutRefusal::Unknown => "there is no such slot, or its time is over: ask for another",
            PutRefusal::Token => "the Authorization field must be the one that came with the slot",
            PutRefusal::Length(size) => return write!(f, "the slot is for a file of {size} bytes"),
            PutRefusal::ContentType => "the slot is for a file of another content type",
            PutRefusal::Used => "the slot is used: ask for another",
            PutRefusal::Busy => "too many of your files come at the same time: try again when one is there",
            PutRefusal::Full => "the server has no room for the file",
            PutRefusal::Fails => "the server cannot write the file: its log says why",
        })
    }
}

/// What there is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct FilesUsage {
    /// Files.
    pub files: usize,
    /// What they take, in bytes, with their headers.
    pub bytes: u64,
    /// What they may take, in bytes.
    pub total_bytes: u64,
    /// Files that are coming in.
    pub uploads: usize,
}

/// A file that is there.
#[derive(Debug)]
pub(crate) struct KeptFile {
    pub id: FileId,
    /// A bare JID.
    pub owner: Arc<str>,
    /// With its header.
    pub bytes: u64,
    /// When it came, in seconds since 1970; see [`FileRoom::date`].
    pub created: u64,
    /// What its owner has said of the time when it must be gone, in seconds since 1970.
    pub until: Option<u64>,
    /// Shared with all who read it.
    pub reading: Arc<()>,
}

impl KeptFile {
    /// When it is gone, in seconds since 1970; `None`: when there is no room.
    fn ends(&self, limits: &FileLimits) -> Option<u64> {
        let age =
            (limits.seconds > 0 && self.created >= host::EARLIEST).then(|| self.created.saturating_add(limits.seconds));
        age.into_iter().chain(self.until).min()
    }

    fn is_over(&self, limits: &FileLimits, now: u64) -> bool {
        self.ends(limits).is_some_and(|ends| ends <= now)
    }

    fn is_read(&self) -> bool {
        Arc::strong_count(&self.reading) > 1
    }
}

/// A place that somebody has asked for.
#[derive(Debug)]
struct OpenSlot {
    wanted: WantedSlot,
    token: SlotToken,
    /// Until when it waits, on the clock that never jumps.
    ends: u64,
    /// Its file is coming in.
    taken: bool,
}

impl OpenSlot {
    fn bytes(&self) -> u64 {
        self.wanted.size + HEADER_BYTES
    }
}

/// What one account has, or all have together.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Holding {
    files: usize,
    file_bytes: u64,
    /// Slots that wait.
    slots: usize,
    slot_bytes: u64,
    /// Files that are coming in.
    uploads: usize,
    upload_bytes: u64,
    /// What has come in since.
    day: u64,
    day_bytes: u64,
}

impl Holding {
    /// What has come in within a day.
    fn today(&self, mono: u64) -> u64 {
        if mono.saturating_sub(self.day) < DAY_MS { self.day_bytes } else { 0 }
    }

    /// So much has come in.
    fn count(&mut self, bytes: u64, mono: u64) {
        if self.today(mono) == 0 {
            (self.day, self.day_bytes) = (mono, 0);
        }
        self.day_bytes += bytes;
    }

    /// What it is remembered for.
    fn is_empty(&self, mono: u64) -> bool {
        (self.files, self.slots, self.uploads) == (0, 0, 0) && self.today(mono) == 0
    }

    /// Whether all that is there and coming in fits.
    fn fits(&self, files: usize, bytes: u64) -> bool {
        self.files + self.uploads <= files && self.file_bytes + self.upload_bytes <= bytes
    }
}

/// All of it.
#[derive(Debug)]
pub(crate) struct FileRoom {
    limits: FileLimits,
    /// By their numbers: the oldest first.
    files: BTreeMap<u64, KeptFile>,
    numbers: BTreeMap<FileId, u64>,
    slots: BTreeMap<FileId, OpenSlot>,
    /// The greatest number there was.
    last: u64,
    all: Holding,
    owners: BTreeMap<Arc<str>, Holding>,
}

impl FileRoom {
    pub(crate) fn new(limits: FileLimits) -> FileRoom {
        FileRoom {
            limits,
            files: BTreeMap::new(),
            numbers: BTreeMap::new(),
            slots: BTreeMap::new(),
            last: 0,
            all: Holding::default(),
            owners: BTreeMap::new(),
        }
    }

    /// Other limits from now on. What is too much by them goes with [`FileRoom::expire`].
    pub(crate) fn set_limits(&mut self, limits: FileLimits) {
        self.limits = limits;
    }

    pub(crate) fn usage(&self) -> FilesUsage {
        let Holding { files, file_bytes: bytes, uploads, .. } = self.all;
        FilesUsage { files, bytes, total_bytes: self.limits.total_bytes, uploads }
    }

    /// What somebody has, and what all have.
    fn holdings(&mut self, owner: &str) -> [&mut Holding; 2] {
        [self.owners.entry(owner.into()).or_default(), &mut self.all]
    }

    // --- files ---

    /// A number for a file: greater than all that there were.
    pub(crate) fn number(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// A file is there, under its number; or under a new one, if a copy of another file brought it along.
    pub(crate) fn put(&mut self, number: u64, mut file: KeptFile) {
        self.last = self.last.max(number);
        let number = if self.files.contains_key(&number) { self.number() } else { number };
        for held in self.holdings(&file.owner) {
            held.files += 1;
            held.file_bytes += file.bytes;
        }
        if let Some((owner, _)) = self.owners.get_key_value(&file.owner) {
            file.owner = owner.clone();
        }
        self.numbers.insert(file.id, number);
        self.files.insert(number, file);
    }

    fn take(&mut self, number: u64) -> Option<FileId> {
        let file = self.files.remove(&number)?;
        self.numbers.remove(&file.id);
        for held in self.holdings(&file.owner) {
            held.files -= 1;
            held.file_bytes -= file.bytes;
        }
        Some(file.id)
    }

    /// A file whose time is not over: what whoever reads it holds meanwhile, and when that is, in seconds since 1970.
    pub(crate) fn find(&self, id: FileId, now: u64) -> Option<(Arc<()>, Option<u64>)> {
        let file = self.files.get(self.numbers.get(&id)?)?;
        (!file.is_over(&self.limits, now)).then(|| (file.reading.clone(), file.ends(&self.limits)))
    }

    /// Those that `go` and are not being read are taken out until `fits`: first whose time is over, then the oldest.
    fn clear(
        &mut self,
        now: u64,
        gone: &mut Vec<FileId>,
        go: impl Fn(&KeptFile) -> bool,
        fits: impl Fn(&FileRoom) -> bool,
    ) {
        if fits(self) {
            return;
        }
        let idle = self.files.iter().filter(|(_, file)| go(file) && !file.is_read());
        let mut order: Vec<_> = idle.map(|(number, file)| (!file.is_over(&self.limits, now), *number)).collect();
        order.sort_unstable();
        for (_, number) in order {
            gone.extend(self.take(number));
            if fits(self) {
                return;
            }
        }
    }

    /// What is too much of an account goes, then what is too much in all.
    fn clear_for(&mut self, owner: &str, now: u64, gone: &mut Vec<FileId>) {
        let FileLimits { account_bytes, total_bytes, .. } = self.limits;
        let own = |room: &FileRoom| room.owners.get(owner).is_none_or(|own| own.fits(ACCOUNT_FILES, account_bytes));
        self.clear(now, gone, |file| &*file.owner == owner, own);
        self.clear(now, gone, |_| true, |room| room.all.fits(FILES, total_bytes));
    }

    /// What came before the clock was set has come when it was. `now`: seconds since 1970.
    fn date(&mut self, now: u64) {
        if now >= host::EARLIEST {
            for file in self.files.values_mut().filter(|file| file.created < host::EARLIEST) {
                file.created = now;
            }
        }
    }

    /// What is to go: what is too much, and whose time is over, if the clock can be believed. `now`: seconds since 1970.
    pub(crate) fn expire(&mut self, mono: u64, now: u64, believed: bool) -> Vec<FileId> {
        let mut gone = Vec::new();
        self.drop_ended(mono);
        if believed {
            self.date(now);
            let over = |file: &KeptFile, limits: &FileLimits| file.is_over(limits, now) && !file.is_read();
            let over: Vec<u64> =
                self.files.iter().filter(|(_, file)| over(file, &self.limits)).map(|(number, _)| *number).collect();
            gone.extend(over.into_iter().filter_map(|number| self.take(number)));
        }
        for owner in self.owners.keys().cloned().collect::<Vec<_>>() {
            self.clear_for(&owner, now, &mut gone);
        }
        self.owners.retain(|_, own| !own.is_empty(mono));
        gone
    }

    /// Whoever has files or slots.
    pub(crate) fn owners(&self) -> Vec<Arc<str>> {
        self.owners.keys().cloned().collect()
    }

    /// All that somebody has, also what is coming in or being read.
    pub(crate) fn remove_of(&mut self, owner: &str) -> Vec<FileId> {
        let slots = self.slots.iter().filter(|(_, slot)| slot.wanted.owner.as_str() == owner);
        for id in slots.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.close(id);
        }
        let files = self.files.iter().filter(|(_, file)| &*file.owner == owner).map(|(number, _)| *number);
        let gone = files.collect::<Vec<_>>().into_iter().filter_map(|number| self.take(number)).collect();
        self.owners.remove(owner);
        gone
    }

    // --- slots ---

    /// Takes a slot out.
    fn close(&mut self, id: FileId) -> Option<OpenSlot> {
        let slot = self.slots.remove(&id)?;
        let bytes = slot.bytes();
        for held in self.holdings(slot.wanted.owner.as_str()) {
            let (count, sum) = match slot.taken {
                true => (&mut held.uploads, &mut held.upload_bytes),
                false => (&mut held.slots, &mut held.slot_bytes),
            };
            *count -= 1;
            *sum -= bytes;
        }
        Some(slot)
    }

    /// Slots that have waited in vain.
    fn drop_ended(&mut self, mono: u64) {
        let ended = self.slots.iter().filter(|(_, slot)| !slot.taken && slot.ends <= mono);
        for id in ended.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.close(id);
        }
    }

    /// In how many milliseconds one of these slots waits no longer.
    fn next_end(&self, mono: u64, which: impl Fn(&OpenSlot) -> bool) -> u64 {
        let waiting = self.slots.values().filter(|slot| !slot.taken && which(slot));
        waiting.map(|slot| slot.ends - mono).min().unwrap_or(AGAIN_MS)
    }

    /// A slot for somebody, under these unpredictable names.
    pub(crate) fn slot(
        &mut self,
        wanted: &WantedSlot,
        (id, token): (FileId, SlotToken),
        mono: u64,
    ) -> Result<(), SlotRefusal> {
        self.drop_ended(mono);
        let FileLimits { account_bytes, total_bytes, .. } = self.limits;
        let owner = wanted.owner.as_str();
        if wanted.size > self.limits.largest() {
            return Err(SlotRefusal::TooLarge(self.limits.largest()));
        }
        let slot = OpenSlot { wanted: wanted.clone(), token, ends: mono + SLOT_MS, taken: false };
        let (bytes, own, all) = (slot.bytes(), self.owners.get(owner).copied().unwrap_or_default(), self.all);
        let own_end = || self.next_end(mono, |slot| slot.wanted.owner.as_str() == owner);
        if own.slots >= ACCOUNT_SLOTS {
            return Err(SlotRefusal::Later(own_end(), "upload first what you have slots for already"));
        }
        if own.today(mono) + own.slot_bytes + own.upload_bytes + bytes > account_bytes {
            let end = if own.today(mono) + bytes > account_bytes { own.day + DAY_MS - mono } else { own_end() };
            return Err(SlotRefusal::Later(end, "that is more than you may upload within a day"));
        }
        let (own_promised, promised) = (own.slot_bytes + own.upload_bytes, all.slot_bytes + all.upload_bytes);
        // Who is not alone leaves as much to the others.
        let leaves = if promised > own_promised { own_promised + bytes } else { 0 };
        if all.slots >= SLOTS || promised + bytes + leaves > total_bytes {
            let end = self.next_end(mono, |_| true);
            return Err(SlotRefusal::Later(end, "too much is about to be uploaded by others"));
        }
        for held in self.holdings(owner) {
            held.slots += 1;
            held.slot_bytes += bytes;
        }
        self.slots.insert(id, slot);
        Ok(())
    }

    /// The file of a slot begins to come in; `gone` is what had to go for that, also with an error.
    pub(crate) fn begin(
        &mut self,
        put: &PutRequest<'_>,
        mono: u64,
        now: u64,
        gone: &mut Vec<FileId>,
    ) -> Result<(FileId, WantedSlot), PutRefusal> {
        self.drop_ended(mono);
        let id = FileId::parse(put.id).ok_or(PutRefusal::Unknown)?;
        if self.numbers.contains_key(&id) {
            return Err(PutRefusal::Used);
        }
        let slot = self.slots.get_mut(&id).filter(|slot| *slot.wanted.name == *put.name).ok_or(PutRefusal::Unknown)?;
        let wanted = &slot.wanted;
        if !slot.token.is(put.token) {
            return Err(PutRefusal::Token);
        }
        if slot.taken {
            return Err(PutRefusal::Used);
        }
        if put.length != wanted.size {
            return Err(PutRefusal::Length(wanted.size));
        }
        let types = wanted.content_type.as_deref().zip(put.content_type);
        if types.is_some_and(|(wanted, is)| !are_same(wanted, is)) {
            return Err(PutRefusal::ContentType);
        }
        let (owner, bytes) = (wanted.owner.clone(), slot.bytes());
        if self.owners.get(owner.as_str()).is_some_and(|own| own.uploads >= ACCOUNT_UPLOADS) {
            return Err(PutRefusal::Busy);
        }
        slot.taken = true;
        let wanted = slot.wanted.clone();
        for held in self.holdings(owner.as_str()) {
            held.slots -= 1;
            held.slot_bytes -= bytes;
            held.uploads += 1;
            held.upload_bytes += bytes;
        }
        self.clear_for(owner.as_str(), now, gone);
        let FileLimits { account_bytes, total_bytes, .. } = self.limits;
        let own = self.owners.get(owner.as_str()).is_none_or(|own| own.fits(ACCOUNT_FILES, account_bytes));
        if !own || !self.all.fits(FILES, total_bytes) {
            // What is there is being read, all of it, or all that is the owner's.
            self.close(id);
            return Err(PutRefusal::Full);
        }
        Ok((id, wanted))
    }

    /// An upload is over, and so many bytes of it were written. What it was for; `None`: its account was removed meanwhile.
    pub(crate) fn ended(&mut self, id: FileId, bytes: u64, mono: u64) -> Option<WantedSlot> {
        let OpenSlot { wanted, .. } = self.close(id)?;
        if bytes > 0 {
            self.holdings(wanted.owner.as_str()).into_iter().for_each(|held| held.count(bytes, mono));
        }
        Some(wanted)
    }

    /// It is there, under this number. Says `false` if it should not be: its account was removed meanwhile.
    pub(crate) fn finished(&mut self, id: FileId, number: u64, created: u64, mono: u64) -> bool {
        let Some(bytes) = self.slots.get(&id).map(OpenSlot::bytes) else { return false };
        let Some(wanted) = self.ended(id, bytes, mono) else { return false };
        let file = KeptFile {
            id,
            owner: wanted.owner.as_str().into(),
            bytes,
            created,
            until: until(wanted.purpose),
            reading: Arc::default(),
        };
        self.put(number, file);
        true
    }
}

/// When it must be gone, in whole seconds since 1970, rounded down: it is had before that time, not in that second.
pub(crate) fn until(purpose: UploadPurpose) -> Option<u64> {
    match purpose {
        UploadPurpose::Message => None,
        UploadPurpose::Ephemeral(ms) => Some(ms / 1000),
    }
}
