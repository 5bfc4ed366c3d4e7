//! The command `backup`: everything that makes the server what it is, as it is at one moment, in one file.
//!
//! The running server goes on meanwhile. Its storage thread hands out the rows page by page, and every change that is committed
//! from the first page on is written down among them, in the order in which both happened. So a row that was read too early is
//! changed by what follows it, and whoever applies all of it has the database of the moment when the last page was read. At that
//! moment the files of the message log are opened, too; they only grow, so that they can be copied later, each as far as it went.

use crate::service::config::PEERS_FILE;
use crate::service::disk::files::{limits::FOLDER, name::FileId};
use crate::service::disk::{
    container::{self, Head, LAYOUT, Look, Totals, Writer},
    data::Data,
    storage::Keep,
    wear::size,
};
use crate::service::owner::{
    control::{self, Request},
    root,
};
use crate::service::serve::{self, Options, Place, Shared};
use crate::service::{Failure, Result, host};
use crate::store::card::Card;
use crate::store::sled_engine::SCHEMA;
use crate::store::{Bytes, Op, Query, Rows, Tree};
use crate::wire::Jid;
use rustix::fs::{Advice, CWD, OFlags, RenameFlags};
use std::ffi::{OsStr, OsString};
use std::fs::{File, OpenOptions};
use std::io::{BufReader, BufWriter, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Rows of a page.
const PAGE_ROWS: usize = 500;
/// Bytes of a page: what is committed meanwhile waits for one.
const PAGE_BYTES: usize = 256 * 1024;
/// Changes that are committed and not yet written down, in bytes. More ends the backup.
const CHANGES_BYTES: usize = 16 * 1024 * 1024;
/// How long storage may need for a page.
const PATIENCE: Duration = Duration::from_secs(120);

/// Makes the backup, with the server running or not, with what people have uploaded or without. Returns lines for the person.
///
/// # Errors
/// When there is nothing to back up, or no room, or the file is there already.
pub fn run(options: &Options, file: &Path, with_uploads: bool) -> Result<Vec<String>> {
    let place = options.place()?;
    let shown = file.display();
    if !place.data.database().exists() {
        let dir = place.data.dir().display();
        return Err(Failure(format!("there is nothing to back up in {dir}: say where the data is with --data DIR.")));
    }
    refuse_existing(file)?;
    let fresh = beside(file, ".new");
    // Left over by one that was interrupted.
    let _ = std::fs::remove_file(&fresh);
    let made = write(options, &place, &fresh, with_uploads)
        .and_then(|()| read_back(&fresh))
        .and_then(|found| move_into_place(&fresh, file).map(|()| found));
    let (head, totals) = match made {
        Ok(made) => made,
        Err(e) => {
            let _ = std::fs::remove_file(&fresh);
            return Err(e);
        }
    };
    if let Err(e) = root::as_owner(&place.data, || place.data.remember_backup(host::clock())) {
        log::warn!("when the last backup was made is not told by the server: {e}");
    }
    Ok(vec![
        format!("backup       {shown}, {}, of {}", size(totals.bytes), head.domain),
        format!("checked      all of it was read back: {} rows and {} files", totals.changes, totals.files),
        "secret       it holds the keys of the certificates and everybody's messages; only you can read it (mode 600). Keep it so."
            .into(),
        format!("next         inglenook restore {shown}, should it be needed"),
    ])
}

/// `path` with something behind its name.
fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(end);
    name.into()
}

fn refuse_existing(file: &Path) -> Result<()> {
    if file.is_dir() {
        let (dir, within) = (file.display(), file.join("monday.backup"));
        return Err(Failure(format!("{dir} is a folder: name a file in it, such as {}.", within.display())));
    }
    match file.symlink_metadata() {
        Ok(_) => Err(Failure(format!(
            "{} is there already, and is not overwritten. Choose another name, or remove it first.",
            file.display()
        ))),
        Err(_) => Ok(()),
    }
}

fn cannot(what: &str, path: &Path, e: &std::io::Error) -> Failure {
    let advice = match e.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => " Make room there, or choose another disk.",
        ErrorKind::NotFound => " Make the folder first.",
        _ => "",
    };
    Failure(format!("{} cannot be {what}: {e}.{advice} There is no backup.", path.display()))
}

fn write(options: &Options, place: &Place, fresh: &Path, with_uploads: bool) -> Result<()> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(fresh);
    let file = file.map_err(|e| cannot("made", fresh, &e))?;
    let mut out = TellingWriter { out: BufWriter::with_capacity(128 * 1024, file), failed: None };
    let done = match control::receive(&place.data, &Request::Backup(with_uploads), &mut out) {
        Ok(Some(())) => Ok(()),
        Ok(None) => match root::as_owner(&place.data, || stopped(options, place, with_uploads, &mut out)) {
            // A server may have begun since we asked.
            Err(e) if out.out.buffer().is_empty() && control::runs(&place.data) => {
                control::receive(&place.data, &Request::Backup(with_uploads), &mut out).and_then(|done| done.ok_or(e))
            }
            done => done,
        },
        Err(e) => Err(e),
    };
    // That the file could not be written explains everything else.
    if let Some(e) = out.failed.take() {
        return Err(cannot("written", fresh, &e));
    }
    done?;
    let file = out.out.into_inner().map_err(|e| cannot("written", fresh, e.error()))?;
    file.sync_all().map_err(|e| cannot("written", fresh, &e))
}

/// Remembers why the file could not be written.
struct TellingWriter {
    out: BufWriter<File>,
    failed: Option<std::io::Error>,
}

impl Write for TellingWriter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.out.write(bytes).inspect_err(|e| self.failed = Some(e.kind().into()))
    }
    fn flush(&mut self) -> std::io::Result<()> {
        self.out.flush().inspect_err(|e| self.failed = Some(e.kind().into()))
    }
}

/// Reads and checks all of it, from the disk where the system allows that.
fn read_back(fresh: &Path) -> Result<(Head, Totals)> {
    let file = File::open(fresh).map_err(|e| cannot("read back", fresh, &e))?;
    let _ = rustix::fs::fadvise(&file, 0, None, Advice::DontNeed);
    container::read(&fresh.display().to_string(), BufReader::new(file), &mut Look)
}

fn move_into_place(fresh: &Path, file: &Path) -> Result<()> {
    let moved = match rustix::fs::renameat_with(CWD, fresh, CWD, file, RenameFlags::NOREPLACE) {
        // Not every file system can refuse by itself.
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => {
            refuse_existing(file)?;
            std::fs::rename(fresh, file)
        }
        moved => moved.map_err(std::io::Error::from),
    };
    let parent = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    moved.and_then(|()| File::open(parent)?.sync_all()).map_err(|e| cannot("made", file, &e))
}

/// What is asked of the storage thread.
enum BackupStep {
    /// A page of a tree, behind this key.
    Page(Tree, Option<Bytes>),
    /// The files of the log, open: name below the data folder, and length.
    Log,
}

enum BackupPart {
    Rows(Rows),
    Log(Vec<(String, File, u64)>),
}

fn look(engine: &mut dyn Keep, dir: &Path, step: BackupStep) -> Result<BackupPart> {
    match step {
        BackupStep::Page(tree, after) => {
            let query = Query::Scan { tree, prefix: Bytes::default(), after, rows: PAGE_ROWS, bytes: PAGE_BYTES };
            Ok(BackupPart::Rows(engine.query(&query)?))
        }
        BackupStep::Log => {
            let open = |(path, len): (PathBuf, u64)| {
                let name = path.strip_prefix(dir).unwrap_or(&path).display().to_string();
                let file =
                    File::open(&path).map_err(|e| Failure(format!("{} cannot be read: {e}.", path.display())))?;
                Ok((name, file, len))
            };
            engine.log_files().into_iter().map(open).collect::<Result<_>>().map(BackupPart::Log)
        }
    }
}

/// Makes a backup of a folder whose server does not run.
fn stopped(options: &Options, place: &Place, with_uploads: bool, out: &mut dyn Write) -> Result<()> {
    let _lock = serve::hold(&place.data)?;
    let mut engine = Card::open(&place.data.database(), options.probe.and_then(|make| make()))?;
    let dir = place.data.dir().to_owned();
    let done = export(out, (&place.data, with_uploads), &place.domain, &mut |step, _| look(&mut engine, &dir, step));
    engine.close()?;
    done
}

/// What the storage thread has for a backup.
enum Piece {
    Changed(Vec<Op>),
    Found(Result<BackupPart>),
}

/// Makes a backup of the running server, with what people have uploaded or without. Blocks.
///
/// # Errors
/// When something cannot be read, or the taker is gone.
pub fn running(shared: &Shared, with_uploads: bool, out: &mut dyn Write) -> Result<()> {
    let (tell, told) = channel();
    let heard = tell.clone();
    let pending = Arc::new(AtomicUsize::new(0));
    let counter = pending.clone();
    shared.hub.with_storage(move |_, listeners| {
        listeners.push(Box::new(move |batches| {
            let ops = batches.iter().flat_map(|batch| &batch.ops);
            let ops: Vec<Op> = ops.filter(|op| !matches!(op, Op::Append(_) | Op::Trim { .. })).cloned().collect();
            let bytes = ops.iter().map(op_bytes).sum::<usize>();
            let fits = counter.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes) <= CHANGES_BYTES;
            // Whoever does not hear of one change must not hear of the next; nobody listens any more when it is done.
            fits && (ops.is_empty() || heard.send(Piece::Changed(ops)).is_ok())
        }));
    });
    let dir = shared.data().dir().to_owned();
    let mut ask = |step: BackupStep, changes: &mut Vec<Op>| {
        let (tell, dir) = (tell.clone(), dir.clone());
        shared.hub.with_storage(move |engine, _| {
            let _ = tell.send(Piece::Found(look(engine, &dir, step)));
        });
        loop {
            match told.recv_timeout(PATIENCE) {
                Ok(Piece::Changed(ops)) => changes.extend(ops),
                Ok(Piece::Found(found)) => {
                    if pending.swap(0, Ordering::Relaxed) > CHANGES_BYTES {
                        let why = "more is changed than the backup can be written; try again when less happens, or on a faster disk";
                        return Err(Failure::new(why));
                    }
                    return found;
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    return Err(Failure::new("the server's storage does not answer; is it stopping?"));
                }
            }
        }
    };
    export(out, (shared.data(), with_uploads), &shared.domain, &mut ask)
}

fn op_bytes(op: &Op) -> usize {
    64 + match op {
        Op::Put(_, key, value) => key.len() + value.len(),
        Op::Delete(_, key) | Op::DeleteAll(_, key) => key.len(),
        Op::Append(_) | Op::Trim { .. } => 0,
    }
}

/// Writes the backup. `ask` gives what a step finds, and the changes that were committed before it.
fn export(
    out: &mut dyn Write,
    (data, with_uploads): (&Data, bool),
    domain: &Jid,
    ask: &mut dyn FnMut(BackupStep, &mut Vec<Op>) -> Result<BackupPart>,
) -> Result<()> {
    let failed = |e: std::io::Error| Failure(format!("the backup cannot be written: {e}."));
    let made = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64);
    let (program, domain) = (env!("CARGO_PKG_VERSION").to_owned(), domain.to_string());
    let mut writer =
        Writer::new(out, &Head { layout: LAYOUT, schema: SCHEMA, program, domain, made }).map_err(failed)?;
    let mut changes = Vec::new();
    for tree in Tree::ALL {
        let mut after = None;
        loop {
            let BackupPart::Rows(rows) = ask(BackupStep::Page(tree, after), &mut changes)? else { break };
            after = rows.last().map(|(key, _)| key.clone());
            changes.extend(rows.into_iter().map(|(key, value)| Op::Put(tree, key, value)));
            writer.changes(&changes).map_err(failed)?;
            changes.clear();
            if after.is_none() {
                break;
            }
        }
    }
    let log = ask(BackupStep::Log, &mut changes)?;
    writer.changes(&changes).map_err(failed)?;
    if let BackupPart::Log(files) = log {
        for (name, file, len) in files {
            writer.file(&name, file, len).map_err(failed)?;
        }
    }
    for (name, path) in settings_and_keys(data) {
        let open = || -> std::io::Result<(File, u64)> {
            let file = File::open(&path)?;
            let len = file.metadata()?.len();
            Ok((file, len))
        };
        let (file, len) = open().map_err(|e| Failure(format!("{} cannot be read: {e}.", path.display())))?;
        writer.file(&name, file, len).map_err(failed)?;
    }
    for path in if with_uploads { uploads(data) } else { Vec::new() } {
        // One that has gone meanwhile is not missed; those that are there do not change.
        let flags = OFlags::NOFOLLOW.bits().cast_signed();
        let Ok(file) = OpenOptions::new().read(true).custom_flags(flags).open(&path) else { continue };
        let Some(name) = path.file_name().and_then(OsStr::to_str) else { continue };
        let len = file.metadata().map_err(|e| Failure(format!("{} cannot be read: {e}.", path.display())))?.len();
        writer.file(&format!("{FOLDER}/{name}"), file, len).map_err(failed)?;
    }
    writer.finish().map(drop).map_err(failed)
}

/// What people have uploaded, as far as it has come in.
fn uploads(data: &Data) -> Vec<PathBuf> {
    let all = std::fs::read_dir(data.uploads()).into_iter().flatten().flatten().map(|entry| entry.path());
    // What somebody else has put there is left alone, as the server does.
    let is_id =
        |path: &PathBuf| path.file_name().and_then(OsStr::to_str).is_some_and(|name| FileId::parse(name).is_some());
    let mut found: Vec<PathBuf> = all.filter(is_id).collect();
    found.sort();
    found
}

/// The small files that belong to the data: name in the backup, and path.
fn settings_and_keys(data: &Data) -> Vec<(String, PathBuf)> {
    let mut found: Vec<(String, PathBuf)> =
        ["domain", "inglenook.toml", PEERS_FILE].map(|name| (name.to_owned(), data.dir().join(name))).into();
    for entry in std::fs::read_dir(data.certificates()).into_iter().flatten().flatten() {
        // One that is just being written ends so.
        if let Some(name) = entry.file_name().to_str().filter(|name| !name.ends_with(".new")) {
            found.push((format!("cert/{name}"), entry.path()));
        }
    }
    found.retain(|(name, path)| container::is_name(name) && path.is_file());
    found.sort();
    found
}
