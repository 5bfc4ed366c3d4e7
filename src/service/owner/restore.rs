//! The command `restore`: a data folder as a backup has it, instead of the one that is there.
//!
//! All of the backup is checked before anything is made. Then the new folder is built beside the old one, with the marker
//! `BUILDING` in it, and its database is opened and read as `check` does it. When all of it is on stable storage, the two
//! folders change their names in one step of the file system. Whatever ends this, and whenever: at the old folder's name is the
//! old one, whole, or the new one, whole. What an interrupted restore has left beside is cleared up by the next: a folder with the
//! marker was never finished, one without it is the old data.

use crate::core;
use crate::service::config::PEERS_FILE;
use crate::service::config::{self, Config};
use crate::service::disk::{
    container::{self, Head, Look, Sink, Totals},
    data::{self, BACKED_UP, Data},
    files::{check::FileCheck, limits::FOLDER, store::DAMAGED},
    wear,
};
use crate::service::owner::{domain, find, reset, root};
use crate::service::serve::{self, Options};
use crate::service::{Failure, Result, random};
use crate::store::card::Card;
use crate::store::sled_engine::{self, Sled};
use crate::store::{BATCH_OPS, Batch, Bytes, Engine, Op, Tree};
use rustix::fs::{CWD, RenameFlags};
use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{BufReader, ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};

/// The file in a folder that was not yet put into its place.
const BUILDING: &str = "restoring";
/// How the name of a folder goes on that is built beside `DIR`.
const NEW: &str = ".new-";
/// What stands behind that for the moment in which it is the old one, where a file system cannot exchange two names.
const OLD: &str = "-old";
/// How the name of what was there before goes on.
const BEFORE: &str = ".before-restore-";

/// Restores a backup. Returns lines for the person.
///
/// # Errors
/// When it cannot be used here, or cannot be put into its place; then nothing was changed.
pub fn run(options: &Options, file: &Path) -> Result<Vec<String>> {
    observed(options, file, &mut |_| {})
}

/// The same; tells of each step before it is taken, so that a test can look what a kill there would leave.
///
/// # Errors
/// As [`run`].
#[doc(hidden)]
pub fn observed(options: &Options, file: &Path, at: &mut dyn FnMut(&str)) -> Result<Vec<String>> {
    let data = whole(&Data::locate(options.data.as_deref()))?;
    let dir = data.dir();
    at("check");
    let (head, totals) = read(file, &mut Look)?;
    // As the owner: what is looked into is theirs, and what is written where nothing is replaced in the end, too.
    let domain = root::as_owner(&data, || fits(options, &data, &head, file))?;
    let there = is_ours(dir)?;
    // Nobody begins to use the old folder meanwhile.
    let lock = if there { Some(root::as_owner(&data, || serve::hold(&data))?) } else { None };
    clear(dir)?;
    let tag: String = random()?.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    let fresh = Data::locate(Some(&beside(dir, &format!("{NEW}{tag}"))));
    at("build");
    let built = build(options, &fresh, &data, file, &domain, at);
    let swapped = built.and_then(|note| {
        at("swap");
        put_into_place(fresh.dir(), dir, there).map(|()| note)
    });
    let note = match swapped {
        Ok(note) => note,
        Err(e) => {
            // Without the marker it is the old data.
            if fresh.dir().join(BUILDING).exists() {
                let _ = discard(fresh.dir());
            }
            return Err(e);
        }
    };
    at("finish");
    let finished = finish(fresh.dir(), dir, there);
    drop(lock);
    at("end");
    let next = find::start(dir);
    let dir = dir.display();
    let made = wear::date(head.made / 1000);
    let mut lines = vec![
        format!("restored     {dir} from {}, made on {made} by inglenook {}", file.display(), head.program),
        format!("domain       {}, {} rows and {} files", head.domain, totals.changes, totals.files),
    ];
    if let Some(before) = finished? {
        let before = before.display();
        lines.push(format!("before       what was there is in {before}: remove it when all is well"));
    }
    lines.extend(note.map(|note| format!("note         it was so when the backup was made: {note}")));
    lines.push(format!("next         {next}"));
    Ok(lines)
}

/// The folder that is meant, by a whole path whose last part can be renamed.
pub(in crate::service) fn whole(data: &Data) -> Result<Data> {
    let data = renamable(data)?;
    let dir = std::path::absolute(data.dir()).map_err(|e| unusable(data.dir(), &e))?;
    Ok(Data::locate(Some(&dir)))
}

/// The folder that is meant, by a path whose last part can be renamed: no link, and no dots.
///
/// # Errors
/// When the path leads nowhere.
pub fn renamable(data: &Data) -> Result<Data> {
    let dir = data.dir();
    let leads_up = dir.components().any(|part| part == Component::ParentDir);
    let found = match (dir.file_name(), dir.parent()) {
        (Some(_), _) if !leads_up && !dir.is_symlink() => return Ok(data.clone()),
        // It is to be made.
        (Some(name), Some(parent)) if dir.symlink_metadata().is_err() => {
            parent.canonicalize().map(|dir| dir.join(name))
        }
        _ => dir.canonicalize(),
    };
    found.map(|dir| Data::locate(Some(&dir))).map_err(|e| unusable(dir, &e))
}

fn unusable(dir: &Path, e: &std::io::Error) -> Failure {
    Failure(format!("the folder {} cannot be used: {e}.", dir.display()))
}

/// Whether the last part of a path is the folder's own name, which can be changed: no link, and not `..`.
pub(in crate::service) fn is_name(dir: &Path) -> bool {
    dir.file_name().is_some() && !dir.is_symlink()
}

pub(in crate::service) fn beside(dir: &Path, end: &str) -> PathBuf {
    let mut name = OsString::from(dir);
    name.push(end);
    name.into()
}

fn read(file: &Path, sink: &mut dyn Sink) -> Result<(Head, Totals)> {
    let name = file.display().to_string();
    let input = File::open(file).map_err(|e| Failure(format!("{name} cannot be read: {e}.")))?;
    container::read(&name, BufReader::with_capacity(128 * 1024, input), sink)
}

/// Whether the backup may take this folder's place: its domain is the one that was told, is set, or is there.
fn fits(options: &Options, data: &Data, head: &Head, file: &Path) -> Result<String> {
    let config = Config::load(options.config.as_deref(), data.dir())?;
    let told = match &options.domain {
        Some(name) => Some((
            config::domain(name).ok_or_else(|| Failure(format!("\"{name}\" is not a domain name.")))?.to_string(),
            "--domain says",
        )),
        None => None,
    };
    let set = || config.domain.as_ref().map(|domain| (domain.to_string(), "the setting \"domain\" says"));
    let kept = match data.domain() {
        // Whatever is wrong with what is there, it may give way; and where nobody has an account.
        Err(_) => None,
        Ok(_) if told.is_none() && config.domain.is_none() && domain::accounts(options, data) == Ok(0) => None,
        Ok(kept) => kept.map(|domain| (domain.to_string(), "the data that is there belongs to")),
    };
    match told.or_else(set).or(kept) {
        Some((wanted, whose)) if wanted != head.domain => Err(Failure(format!(
            "the backup {} is of {1}, but {whose} {wanted}. Nothing was changed. If it is to take the place of what is there, say so with \
             --domain {1}; else choose another folder for {1} with --data.",
            file.display(),
            head.domain
        ))),
        _ => match config::domain(&head.domain) {
            Some(domain) if domain.as_str() == head.domain => Ok(head.domain.clone()),
            _ => Err(Failure(format!("the backup {} names no domain that can be served.", file.display()))),
        },
    }
}

/// Whether the folder is there; an error if it is somebody else's.
fn is_ours(dir: &Path) -> Result<bool> {
    let failed = |e| Failure(format!("{} cannot be read: {e}. Run as its owner.", dir.display()));
    let entries = match std::fs::read_dir(dir) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(false),
        entries => entries.map_err(failed)?,
    };
    let names: Vec<OsString> =
        entries.map(|e| e.map(|e| e.file_name())).collect::<std::io::Result<_>>().map_err(failed)?;
    let ours = |name: &str| names.iter().any(|n| n == name);
    let harmless = |name: &OsString| {
        ["lock", "inglenook.toml", PEERS_FILE, "lost+found", wear::FILE, BACKED_UP].iter().any(|n| name == n)
    };
    if ours("domain") || ours("db") || ours("cert") || names.iter().all(harmless) {
        return Ok(true);
    }
    Err(Failure(format!(
        "{} holds something else than the data of inglenook. Nothing was changed. Choose another folder with --data.",
        dir.display()
    )))
}

/// The folders that an interrupted restore or reset has left beside a folder.
fn left(dir: &Path) -> Vec<PathBuf> {
    let (Some(parent), Some(name)) = (dir.parent(), dir.file_name().and_then(|name| name.to_str())) else {
        return Vec::new();
    };
    let is_left = |entry: &std::fs::DirEntry| {
        // Eight digits as they are made here, and for a moment more behind them: nobody else's folder is called so.
        let of_ours = |n: &str| {
            let tag = n.strip_prefix(name).and_then(|n| n.strip_prefix(NEW)).map(|n| n.strip_suffix(OLD).unwrap_or(n));
            tag.is_some_and(|tag| tag.len() == 8 && tag.bytes().all(|byte| byte.is_ascii_hexdigit()))
        };
        // A link is not of our making, and leads who knows where.
        entry.file_name().to_str().is_some_and(of_ours) && entry.file_type().is_ok_and(|kind| kind.is_dir())
    };
    let entries = std::fs::read_dir(parent).into_iter().flatten().flatten();
    entries.filter(is_left).map(|entry| entry.path()).collect()
}

/// How the name of what was there before goes on, by what was interrupted after the new folder had got its place: a restored one has
/// the marker yet.
fn interrupted(dir: &Path) -> &'static str {
    if dir.join(BUILDING).symlink_metadata().is_ok() { BEFORE } else { reset::BEFORE }
}

/// Clears up what an interrupted restore or reset has left beside the folder. The caller has the folder's lock, if it is there.
pub(in crate::service) fn clear(dir: &Path) -> Result<()> {
    for path in left(dir) {
        if path.join(BUILDING).exists() {
            discard(&path).map_err(|e| cannot("removed", &path, &e))?;
        } else {
            keep_before(&path, dir, interrupted(dir))?;
        }
    }
    // It has its place, so that it is finished; and must not be taken for one that is not, when it is moved aside itself.
    match std::fs::remove_file(dir.join(BUILDING)) {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(cannot("finished", dir, &e)),
        _ => Ok(()),
    }
}

/// Gives the name that tells what it is to what was there before an interrupted restore or reset, if there is such; says so in the log.
/// The caller has the folder's lock.
pub(in crate::service) fn finish_interrupted(data: &Data) {
    let Ok(data) = whole(data) else { return };
    for path in left(data.dir()) {
        // A restore may be at work on it.
        if path.join(BUILDING).exists() || !Data::locate(Some(&path)).lock().is_ok_and(|lock| lock.is_some()) {
            continue;
        }
        match keep_before(&path, data.dir(), interrupted(data.dir())) {
            Ok(Some(before)) => {
                log::warn!("what was there before is in {}: remove it when all is well", before.display())
            }
            Ok(None) => {}
            Err(e) => log::warn!("what was there before is in {}, and {e}", path.display()),
        }
    }
    let _ = std::fs::remove_file(data.dir().join(BUILDING));
}

/// What is said of a folder without data, if an interrupted reset or restore has left the data beside it.
pub(in crate::service) fn note_left(data: &Data) -> String {
    let found = whole(data).map(|data| left(data.dir())).unwrap_or_default();
    let all: Vec<String> =
        found.iter().filter(|path| !path.join(BUILDING).exists()).map(|path| path.display().to_string()).collect();
    match all.is_empty() {
        true => String::new(),
        false => format!(" What was there before a reset that was interrupted is in {}.", all.join(", ")),
    }
}

/// Removes what was never finished; the marker last, since without it a folder is somebody's data.
fn discard(dir: &Path) -> std::io::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            std::fs::remove_dir_all(path)?;
        } else if !path.ends_with(BUILDING) {
            std::fs::remove_file(path)?;
        }
    }
    std::fs::remove_dir_all(dir)
}

pub(in crate::service) fn cannot(what: &str, path: &Path, e: &std::io::Error) -> Failure {
    let advice = match e.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => " Make room on that disk.",
        ErrorKind::PermissionDenied => " Run as somebody who may write in the folder around it, such as root.",
        ErrorKind::ResourceBusy => " It is a disk of its own: choose a folder on it with --data.",
        _ => "",
    };
    Failure(format!("{} cannot be {what}: {e}.{advice} The data that was there is untouched.", path.display()))
}

struct RestoredFiles<'a> {
    dir: &'a Path,
    file: Option<(PathBuf, File)>,
    /// Looks at the file, if somebody has uploaded it.
    upload: Option<FileCheck>,
    /// Uploaded files that are not what was sent, and were not when the backup was made.
    damaged: usize,
}

impl RestoredFiles<'_> {
    /// A file is over. One that is not what was sent is put aside as the server would.
    fn end(&mut self) -> Result<()> {
        let (Some((path, _)), Some(check)) = (self.file.take(), self.upload.take()) else { return Ok(()) };
        if !check.found_whole() {
            self.damaged += 1;
            std::fs::rename(&path, path.with_extension(DAMAGED)).map_err(|e| cannot("put aside", &path, &e))?;
        }
        Ok(())
    }
}

impl Sink for RestoredFiles<'_> {
    fn file(&mut self, name: &str) -> Result<()> {
        self.end()?;
        self.upload = name.strip_prefix(FOLDER).is_some_and(|rest| rest.starts_with('/')).then(FileCheck::default);
        let path = self.dir.join(name);
        let open = || {
            data::make_dir(path.parent().unwrap_or(self.dir))?;
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)
        };
        let file = open().map_err(|e| cannot("written", &path, &e))?;
        self.file = Some((path, file));
        Ok(())
    }
    fn data(&mut self, bytes: &[u8]) -> Result<()> {
        self.upload.iter_mut().for_each(|check| check.see(bytes));
        match &mut self.file {
            Some((path, file)) => file.write_all(bytes).map_err(|e| cannot("written", path, &e)),
            None => Ok(()),
        }
    }
}

struct RestoredRows<'a> {
    engine: &'a mut Card,
}

impl Sink for RestoredRows<'_> {
    fn changes(&mut self, ops: Vec<Op>) -> Result<()> {
        let mut batches = vec![Batch::default()];
        for op in ops {
            // What deletes widely is done before the rest of its batch.
            let first = matches!(op, Op::DeleteAll(..));
            match batches.last_mut() {
                Some(batch) if batch.ops.len() < BATCH_OPS && !first => batch.ops.push(op),
                _ => batches.push(Batch { ops: vec![op], ..Batch::default() }),
            }
        }
        Ok(self.engine.commit(&batches)?)
    }
}

/// Makes the folder `fresh` as the backup has it. Gives what the person should know of it.
fn build(
    options: &Options,
    fresh: &Data,
    old: &Data,
    file: &Path,
    domain: &str,
    at: &mut dyn FnMut(&str),
) -> Result<Option<String>> {
    let dir = fresh.dir();
    let make = || {
        std::os::unix::fs::DirBuilderExt::mode(&mut std::fs::DirBuilder::new(), 0o700).create(dir)?;
        File::create_new(dir.join(BUILDING))?.sync_all()?;
        File::open(dir)?.sync_all()
    };
    make().map_err(|e| cannot("made", dir, &e))?;
    at("files");
    let mut files = RestoredFiles { dir, file: None, upload: None, damaged: 0 };
    read(file, &mut files)?;
    files.end()?;
    let damaged = (files.damaged > 0).then(|| {
        format!("{} of the uploaded files are not what was sent; they are kept as {FOLDER}/ID.{DAMAGED}", files.damaged)
    });
    if fresh.domain()?.is_none() {
        fresh.keep_domain(&config::domain(domain).ok_or_else(|| Failure::new("the backup names no domain."))?)?;
    }
    at("rows");
    let database = fresh.database();
    let explain = |e| Failure::from(sled_engine::explain(&database, e));
    let mut engine = Card::open(&database, options.probe.and_then(|make| make()))?;
    // The newest part of the log tells of rows, too, which may be gone since: the backup knows.
    let none = Tree::ALL.map(|tree| Op::DeleteAll(tree, Bytes::default()));
    engine.commit(&[Batch { ops: none.into(), ..Batch::default() }])?;
    read(file, &mut RestoredRows { engine: &mut engine })?;
    let stored = core::stored_domain(&mut engine).map_err(explain)?;
    if stored.as_deref().is_some_and(|stored| stored != domain) {
        return Err(Failure(format!(
            "the backup {} is of two domains; take another. Nothing was changed.",
            file.display()
        )));
    }
    at("verify");
    let wrong = engine.verify().err();
    engine.close()?;
    if wrong.is_some() {
        // The log is what it was when it was copied: what is missing there was missing before. The rows must be whole.
        let rows = Sled::open(&database, None)?;
        rows.verify().map_err(explain)?;
        rows.close()?;
    }
    copy_kept(old, dir)?;
    at("sync");
    let owner = std::fs::metadata(old.dir()).ok().map(|meta| (meta.uid(), meta.gid()));
    settle(dir, owner.filter(|_| rustix::process::geteuid().is_root())).map_err(|e| cannot("synced", dir, &e))?;
    Ok(wrong.map(|e| e.to_string()).into_iter().chain(damaged).reduce(|all, one| format!("{all}; {one}")))
}

/// Copies what stays in a folder whatever becomes of its data, if it is not there yet: the settings, and how much was written to this
/// box's card.
pub(in crate::service) fn copy_kept(old: &Data, fresh: &Path) -> Result<()> {
    for name in ["inglenook.toml", PEERS_FILE, wear::FILE] {
        let (from, to) = (old.dir().join(name), fresh.join(name));
        if to.symlink_metadata().is_ok() {
            continue;
        }
        let bytes = match root::read_small(old, Path::new(name))? {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => continue,
            Err(e) => {
                return Err(Failure(format!(
                    "{} cannot be copied: {e}. Fix: make it a plain file of the user that has the folder, or remove it. Nothing was \
                     changed.",
                    from.display()
                )));
            }
        };
        let write = || OpenOptions::new().write(true).create_new(true).mode(0o600).open(&to)?.write_all(&bytes);
        write().map_err(|e| cannot("copied", &from, &e))?;
    }
    Ok(())
}

/// Gives everything in a folder to its owner, and makes it durable.
pub(in crate::service) fn settle(dir: &Path, owner: Option<(u32, u32)>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let (path, kind) = (entry.path(), entry.file_type()?);
        if kind.is_dir() {
            settle(&path, owner)?;
        } else {
            own(&path, owner)?;
            if kind.is_file() {
                File::open(&path)?.sync_all()?;
            }
        }
    }
    own(dir, owner)?;
    File::open(dir)?.sync_all()
}

fn own(path: &Path, owner: Option<(u32, u32)>) -> std::io::Result<()> {
    match owner {
        Some((user, group)) => std::os::unix::fs::lchown(path, Some(user), Some(group)),
        None => Ok(()),
    }
}

fn sync_parent(dir: &Path) -> std::io::Result<()> {
    File::open(dir.parent().unwrap_or(Path::new("/")))?.sync_all()
}

/// Puts the new folder where the old one is, if there is one, and the old one where the new one was.
pub(in crate::service) fn put_into_place(fresh: &Path, dir: &Path, there: bool) -> Result<()> {
    let flags = if there { RenameFlags::EXCHANGE } else { RenameFlags::NOREPLACE };
    // The new folder's name is durable before it counts.
    let swap = sync_parent(fresh).and_then(|()| match rustix::fs::renameat_with(CWD, fresh, CWD, dir, flags) {
        // Not every file system can exchange; then there is a moment without the folder, and nothing lost.
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS | rustix::io::Errno::OPNOTSUPP) => {
            let aside = beside(fresh, OLD);
            if there {
                std::fs::rename(dir, &aside)?;
            }
            std::fs::rename(fresh, dir)?;
            if there { std::fs::rename(&aside, fresh) } else { Ok(()) }
        }
        swapped => Ok(swapped?),
    });
    swap.and_then(|()| sync_parent(dir)).map_err(|e| cannot("replaced", dir, &e))
}

/// The new folder is in its place; `aside` is where the old one is now. Gives its last name.
fn finish(aside: &Path, dir: &Path, there: bool) -> Result<Option<PathBuf>> {
    let finish = || -> Result<Option<PathBuf>> {
        std::fs::remove_file(dir.join(BUILDING)).map_err(|e| cannot("finished", dir, &e))?;
        let before = if there { keep_before(aside, dir, BEFORE)? } else { None };
        sync_parent(dir).map_err(|e| cannot("synced", dir, &e))?;
        Ok(before)
    };
    finish().map_err(|e| {
        Failure(format!("the backup is in its place, the old data beside it in {}; but {e}", aside.display()))
    })
}

/// Gives the old data a name that tells what it is, the folder's with `before` and the time; without data in it, it goes.
pub(in crate::service) fn keep_before(aside: &Path, dir: &Path, before: &str) -> Result<Option<PathBuf>> {
    if !["domain", "db", "cert"].iter().any(|name| aside.join(name).exists()) {
        std::fs::remove_dir_all(aside).map_err(|e| cannot("removed", aside, &e))?;
        return Ok(None);
    }
    let now = crate::wire::stamp::format(crate::service::host::clock().saturating_mul(1000));
    let now: String = now.chars().filter(char::is_ascii_alphanumeric).take(15).collect();
    for n in 0..100 {
        let again = if n == 0 { String::new() } else { format!("-{n}") };
        let name = beside(dir, &format!("{before}{now}{again}"));
        match rustix::fs::renameat_with(CWD, aside, CWD, &name, RenameFlags::NOREPLACE) {
            Ok(()) => return Ok(Some(name)),
            Err(rustix::io::Errno::EXIST) => {}
            Err(_) if !name.exists() => {
                std::fs::rename(aside, &name).map_err(|e| cannot("renamed", aside, &e))?;
                return Ok(Some(name));
            }
            Err(_) => {}
        }
    }
    Ok(Some(aside.to_owned()))
}
