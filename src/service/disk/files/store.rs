//! The folder of uploaded files. All that is said of a file stands in its header; what of that must be known at once, [`FileRoom`] has in memory.

use super::header::{FileHeader, HEADER_BYTES, HeaderFault};
use super::limits::FileLimits;
use super::name::{FileId, SlotToken, url};
use super::room::{FileRoom, FilesUsage, KeptFile, PutRefusal, PutRequest, until};
use crate::core::{Slot, SlotRefusal, WantedSlot};
use crate::service::disk::{data::make_dir, wear::Wear};
use crate::service::{Failure, Result, lock, random};
use crate::wire::Jid;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{Context, SHA256};
use rustix::fs::{Advice, FallocateFlags, OFlags};
use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::num::NonZeroU64;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};

/// What a file is called besides its id while it comes in, and when it cannot be read.
const PART: &str = "part";
pub(crate) const DAMAGED: &str = "damaged";
/// What a file leaves free on the disk, in bytes: messages are stored as long as there is some of it.
const FREE_BYTES: u64 = 32 * 1024 * 1024;
/// A file that comes in is synced after so many bytes: else all of it would stand before the next message at the end.
const SYNC_BYTES: u64 = 4 * 1024 * 1024;
/// The clock is believed if it went as the one that never jumps since it was last asked, but for so many seconds.
const STEADY: u64 = 300;

/// All uploaded files. [`Files::begin`], [`Files::find`], [`Files::expire`], and what removes files touch the disk, and block.
#[derive(Debug)]
pub struct Files {
    dir: PathBuf,
    inner: Mutex<FilesInner>,
    /// See [`FREE_BYTES`].
    free_bytes: u64,
    /// Held while a file is made, with room for all of it.
    allocating: Mutex<()>,
    /// Counts what is written.
    wear: OnceLock<Arc<Wear>>,
}

#[derive(Debug)]
struct FilesInner {
    room: FileRoom,
    base: String,
    /// What the clocks showed at the last [`Files::expire`]: `mono` and `now`.
    looked: Option<(u64, u64)>,
}

/// A file that is being read. It stays at least as long as this.
#[derive(Debug)]
pub struct StoredFile {
    /// Opened; the content begins at `offset`, and that is where it stands.
    pub file: File,
    /// Where the content begins, in bytes.
    pub offset: u64,
    /// How long it is, in bytes.
    pub size: u64,
    /// What its sender has said it is; see [`super::served_as`].
    pub content_type: Option<Box<str>>,
    /// What it is called.
    pub name: Box<str>,
    /// A strong validator, in its quotes (RFC 9110 §8.8.3): from the SHA-256 of the content.
    pub etag: String,
    /// When it came, in seconds since 1970, as the box believed.
    pub created: u64,
    /// When it is gone, in seconds since 1970; `None`: when there is no room.
    pub until: Option<u64>,
    _reading: Arc<()>,
}

/// A file that is coming in. Dropped before [`Upload::finish`], it leaves nothing; that touches the disk, too.
#[derive(Debug)]
pub struct Upload {
    files: Arc<Files>,
    id: FileId,
    file: File,
    header: FileHeader,
    /// When it began, on the clock that never jumps.
    begun: u64,
    hash: ContentHash,
    written: u64,
    synced: u64,
    /// What of it is on the disk, and by which name.
    place: UploadPlace,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum UploadPlace {
    Part,
    Named,
    /// It is there for everybody, and no longer ours.
    Kept,
}

struct ContentHash(Context);

impl std::fmt::Debug for ContentHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ContentHash")
    }
}

impl Files {
    /// Opens the folder, or makes it; `base` is what its URLs begin with, such as `https://house.test:5443`. What a power cut left
    /// half is removed, and what cannot be read is put aside, with a word in the log.
    ///
    /// # Errors
    /// When the folder cannot be made or read.
    pub fn open(dir: &Path, base: &str, limits: FileLimits) -> Result<Arc<Files>> {
        let failed = |what: &str, e: io::Error| Failure(format!("{} cannot be {what}: {e}.", dir.display()));
        if !dir.is_dir() {
            let make = || make_dir(dir).and_then(|()| sync_dir(dir.parent().unwrap_or(dir)));
            make().map_err(|e| failed("made", e))?;
        }
        let mut room = FileRoom::new(limits);
        for entry in std::fs::read_dir(dir).map_err(|e| failed("read", e))? {
            look_at(&entry.map_err(|e| failed("read", e))?.path(), &mut room);
        }
        let inner = Mutex::new(FilesInner { room, base: base.to_owned(), looked: None });
        Ok(Arc::new(Files {
            dir: dir.to_owned(),
            inner,
            free_bytes: FREE_BYTES,
            allocating: Mutex::default(),
            wear: OnceLock::new(),
        }))
    }

    /// What is written from now on is counted there; once.
    pub fn count_in(&self, wear: Arc<Wear>) {
        let _ = self.wear.set(wear);
    }

    /// What URLs of slots begin with from now on: scheme, host and port.
    pub fn set_base(&self, base: String) {
        lock(&self.inner).base = base;
    }

    /// Other limits from now on; what is too much by them goes with the next [`Files::expire`].
    pub fn set_limits(&self, limits: FileLimits) {
        lock(&self.inner).room.set_limits(limits);
    }

    /// What there is.
    pub fn usage(&self) -> FilesUsage {
        lock(&self.inner).room.usage()
    }

    /// Promises room for a file, for five minutes and one upload. `mono`: milliseconds on the clock that never jumps.
    ///
    /// # Errors
    /// Why there is none.
    pub fn slot(&self, wanted: &WantedSlot, mono: u64) -> std::result::Result<Slot, SlotRefusal> {
        let random = || {
            let half = |bytes: &[u8]| bytes.iter().fold(0, |n: u128, b| n << 8 | u128::from(*b));
            random().map(|bytes| (half(&bytes[..16]), half(&bytes[16..])))
        };
        let (id, token) = random().map_err(|_| SlotRefusal::Unavailable("the server has no random numbers"))?;
        let (id, token) = (FileId::new(id), SlotToken::new(token));
        let mut inner = lock(&self.inner);
        inner.room.slot(wanted, (id, token.clone()), mono)?;
        let url = url(&inner.base, id, &wanted.name);
        Ok(Slot { put: url.clone(), get: url, authorization: token.authorization() })
    }

    /// The file of a slot begins to come in. `mono`: as in [`Files::slot`]; `now`: seconds since 1970.
    ///
    /// # Errors
    /// Why it is not taken. After [`PutRefusal::Full`] and [`PutRefusal::Fails`] the slot is gone, too.
    pub fn begin(
        self: &Arc<Self>,
        put: &PutRequest<'_>,
        mono: u64,
        now: u64,
    ) -> std::result::Result<Upload, PutRefusal> {
        let mut gone = Vec::new();
        let begun = lock(&self.inner).room.begin(put, mono, now, &mut gone);
        self.remove(&gone);
        let (id, wanted) = begun?;
        // One after the other: what one takes, the next one does not see as free.
        let _alone = lock(&self.allocating);
        let file = self.part(id, wanted.size).map_err(|e| {
            lock(&self.inner).room.ended(id, 0, mono);
            self.refusal(&e)
        })?;
        let header = FileHeader {
            number: 0,
            owner: wanted.owner.as_str().into(),
            name: wanted.name,
            content_type: wanted.content_type.or_else(|| put.content_type.and_then(told)),
            size: wanted.size,
            created: now,
            until: until(wanted.purpose),
            hash: [0; 32],
        };
        let mut upload = Upload {
            files: self.clone(),
            id,
            file,
            header,
            begun: mono,
            hash: ContentHash(Context::new(&SHA256)),
            written: 0,
            synced: 0,
            place: UploadPlace::Part,
        };
        upload.allocate().map_err(|e| self.refusal(&e))?;
        Ok(upload)
    }

    /// A file that has nothing in it yet, if so many bytes of content fit.
    fn part(&self, id: FileId, size: u64) -> io::Result<File> {
        let free = rustix::fs::statvfs(&self.dir).map(|stat| stat.f_bavail.saturating_mul(stat.f_frsize));
        if free.is_ok_and(|free| free < (size + HEADER_BYTES).saturating_add(self.free_bytes)) {
            return Err(ErrorKind::StorageFull.into());
        }
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(self.path(id, PART))
    }

    /// What is told of an upload that cannot begin.
    fn refusal(&self, e: &io::Error) -> PutRefusal {
        if matches!(e.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge) {
            return PutRefusal::Full;
        }
        log::error!("an uploaded file cannot be written in {}: {e}", self.dir.display());
        PutRefusal::Fails
    }

    /// A file that is there, by what stands in its path, percent-decoded. `now`: seconds since 1970.
    pub fn find(&self, id: &str, name: &str, now: u64) -> Option<StoredFile> {
        let id = FileId::parse(id)?;
        let (reading, until) = lock(&self.inner).room.find(id, now)?;
        let path = self.path(id, "");
        let read = open(&path).and_then(|mut file| Ok((read_header(&mut file)?, file)));
        let (header, file) = match read {
            Ok((Ok(header), file)) => (header, file),
            Ok((Err(_), _)) => {
                log::error!("{} is damaged", path.display());
                return None;
            }
            Err(e) => {
                log::error!("{} cannot be read: {e}", path.display());
                return None;
            }
        };
        let FileHeader { name: is, content_type, size, created, hash, .. } = header;
        let etag = format!("\"{}\"", URL_SAFE_NO_PAD.encode(hash));
        let offset = HEADER_BYTES;
        let stored = StoredFile { file, offset, size, content_type, name: is, etag, created, until, _reading: reading };
        (*stored.name == *name).then_some(stored)
    }

    /// Removes all that an account has uploaded, or is uploading.
    pub fn remove_of(&self, account: &Jid) {
        let gone = lock(&self.inner).room.remove_of(account.bare_str());
        self.remove(&gone);
    }

    /// Removes what is of none of these accounts: it was removed when this was not told of it.
    pub fn keep_of(&self, is_there: impl Fn(&Jid) -> bool) {
        let mut gone = Vec::new();
        {
            let room = &mut lock(&self.inner).room;
            for owner in room.owners().iter().filter(|owner| !Jid::parse(owner).is_ok_and(|jid| is_there(&jid))) {
                gone.extend(room.remove_of(owner));
            }
        }
        self.remove(&gone);
    }

    /// Removes what is to go by now: to be called once an hour, and when limits have changed. A clock that has jumped since the last
    /// call is not believed: it may be the one before that was right. `mono` and `now`: as in [`Files::begin`].
    pub fn expire(&self, mono: u64, now: u64) {
        let gone = {
            let inner = &mut *lock(&self.inner);
            let before = inner.looked.replace((mono, now));
            let believed = before.is_some_and(|(mono_before, now_before)| {
                let passed = mono.saturating_sub(mono_before) / 1000;
                now.abs_diff(now_before.saturating_add(passed)) <= STEADY
            });
            inner.room.expire(mono, now, believed)
        };
        self.remove(&gone);
    }

    /// These are in no table any more.
    fn remove(&self, gone: &[FileId]) {
        for id in gone {
            let path = self.path(*id, "");
            if let Err(e) = std::fs::remove_file(&path) {
                log::warn!("{} cannot be removed: {e}", path.display());
            }
        }
    }

    fn path(&self, id: FileId, end: &str) -> PathBuf {
        self.dir.join(id.to_string()).with_extension(end)
    }
}

impl Upload {
    /// Takes the room that all of it needs, as far as the file system can: others cannot fill that up meanwhile.
    fn allocate(&mut self) -> io::Result<()> {
        match rustix::fs::fallocate(&self.file, FallocateFlags::empty(), 0, self.header.size + HEADER_BYTES) {
            Ok(()) | Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => {}
            Err(e) => return Err(e.into()),
        }
        self.file.seek(SeekFrom::Start(HEADER_BYTES)).map(drop)
    }

    /// The next bytes of it. Blocks.
    ///
    /// # Errors
    /// `InvalidInput` for more than the slot is for; else those of the disk, `StorageFull` among them.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if bytes.len() as u64 > self.header.size - self.written {
            return Err(io::Error::new(ErrorKind::InvalidInput, "more bytes than the slot is for"));
        }
        self.file.write_all(bytes)?;
        self.hash.0.update(bytes);
        self.written += bytes.len() as u64;
        if let Some(wear) = self.files.wear.get() {
            wear.file_written(bytes.len() as u64);
        }
        if self.written - self.synced >= SYNC_BYTES {
            self.file.sync_data()?;
            self.forget_pages();
            self.synced = self.written;
        }
        Ok(())
    }

    /// All of it has come: when this returns, it is there, and survives a power cut. Blocks.
    ///
    /// # Errors
    /// `InvalidInput` for fewer bytes than the slot is for, `NotFound` if the account was removed meanwhile; else those of the disk. Then
    /// nothing is left of it.
    pub fn finish(mut self) -> io::Result<()> {
        self.seal()?;
        self.sync()?;
        self.give_name()?;
        sync_dir(&self.files.dir)?;
        self.keep()
    }

    fn seal(&mut self) -> io::Result<()> {
        if self.written != self.header.size {
            return Err(io::Error::new(ErrorKind::InvalidInput, "fewer bytes than the slot is for"));
        }
        self.header.number = lock(&self.files.inner).room.number();
        let hash = self.hash.0.clone().finish();
        self.header.hash = hash.as_ref().try_into().map_err(|_| ErrorKind::InvalidData)?;
        self.file.write_all_at(&self.header.write(), 0)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.file.sync_all()?;
        self.forget_pages();
        Ok(())
    }

    fn give_name(&mut self) -> io::Result<()> {
        std::fs::rename(self.files.path(self.id, PART), self.files.path(self.id, ""))?;
        self.place = UploadPlace::Named;
        Ok(())
    }

    fn keep(&mut self) -> io::Result<()> {
        let FileHeader { number, created, .. } = self.header;
        if !lock(&self.files.inner).room.finished(self.id, number, created, self.begun) {
            return Err(io::Error::new(ErrorKind::NotFound, "the account is gone"));
        }
        self.place = UploadPlace::Kept;
        Ok(())
    }

    /// What was synced need not stay in memory: it is read later, if at all.
    fn forget_pages(&self) {
        let length = NonZeroU64::new(HEADER_BYTES + self.written);
        let _ = rustix::fs::fadvise(&self.file, 0, length, Advice::DontNeed);
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        let end = match self.place {
            UploadPlace::Part => PART,
            UploadPlace::Named => "",
            UploadPlace::Kept => return,
        };
        let path = self.files.path(self.id, end);
        if let Err(e) = std::fs::remove_file(&path) {
            log::warn!("{} cannot be removed: {e}", path.display());
        }
        lock(&self.files.inner).room.ended(self.id, self.written, self.begun);
    }
}

/// The value of a field `Content-Type`, if it can be kept.
fn told(content_type: &str) -> Option<Box<str>> {
    let fine = content_type.len() <= crate::core::CONTENT_TYPE_BYTES && !content_type.contains(char::is_control);
    fine.then(|| content_type.into())
}

fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

fn open(path: &Path) -> io::Result<File> {
    // Nor is a pipe waited for that somebody has put there.
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(ErrorKind::InvalidInput.into()),
    }
}

/// What a file says of itself; it stands where the content begins then. A file that is too short has no header.
fn read_header(file: &mut File) -> io::Result<std::result::Result<FileHeader, HeaderFault>> {
    let mut bytes = [0; HEADER_BYTES as usize];
    match file.read_exact(&mut bytes) {
        Ok(()) => {}
        Err(e) if e.kind() == ErrorKind::UnexpectedEof => return Ok(Err(HeaderFault::Damaged)),
        Err(e) => return Err(e),
    }
    Ok(match FileHeader::read(&bytes) {
        Ok(header) if header.size.checked_add(HEADER_BYTES) == Some(file.metadata()?.len()) => Ok(header),
        Ok(_) => Err(HeaderFault::Damaged),
        Err(fault) => Err(fault),
    })
}

/// What was found in the folder at the start.
fn look_at(path: &Path, room: &mut FileRoom) {
    let shown = path.display();
    let id = path.file_stem().and_then(OsStr::to_str).and_then(FileId::parse);
    let (id, end) = match (id, path.extension().map(OsStr::to_str)) {
        (Some(id), None) => (id, None),
        (Some(id), Some(Some(end @ (PART | DAMAGED)))) => (id, Some(end)),
        _ => return log::warn!("{shown} is no uploaded file, and is left alone"),
    };
    match end {
        Some(PART) => match std::fs::remove_file(path) {
            Ok(()) => return log::info!("removed {shown}: its upload was interrupted"),
            Err(e) => return log::warn!("{shown} cannot be removed: {e}"),
        },
        // It was told of when it was put aside.
        Some(_) => return,
        None => {}
    }
    match open(path).and_then(|mut file| read_header(&mut file)) {
        Ok(Ok(FileHeader { number, owner, size, created, until, .. })) => {
            let bytes = size + HEADER_BYTES;
            room.put(number, KeptFile { id, owner: owner.into(), bytes, created, until, reading: Arc::default() });
        }
        Ok(Err(HeaderFault::Newer)) => log::warn!("{shown} was written by a newer version, and is left alone"),
        Ok(Err(HeaderFault::Damaged)) => {
            let aside = path.with_extension(DAMAGED);
            match std::fs::rename(path, &aside) {
                Ok(()) => log::warn!("{shown} is damaged: it is {} now, remove it or restore it", aside.display()),
                Err(e) => log::warn!("{shown} is damaged, and cannot be put aside: {e}"),
            }
        }
        Err(e) => log::warn!("{shown} cannot be read: {e}"),
    }
}

#[cfg(test)]
mod tests;
