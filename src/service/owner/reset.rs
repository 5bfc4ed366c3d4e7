//! The command `reset`: begins anew, with the settings that are there. Nothing is deleted: all else is moved aside, in one step of the
//! file system, as `restore` does it.

use crate::service::disk::data::Data;
use crate::service::owner::{
    find,
    restore::{beside, cannot, clear, copy_kept, keep_before, put_into_place, settle, whole},
    root,
};
use crate::service::serve::{self, Options};
use crate::service::{Failure, Result, random};
use crate::wire::typed::{shell, visible};
use std::fs::{DirBuilder, File};
use std::io::{BufRead, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::Path;

/// How the name of what was there before goes on.
pub(in crate::service) const BEFORE: &str = ".before-reset-";
/// How the name of a folder goes on that is made beside `DIR`.
const NEW: &str = ".new-";
/// The longest answer that is read, in bytes: longer than any domain.
const ANSWER_BYTES: u64 = 4096;

/// Asks, and begins anew. Returns lines for the person.
///
/// # Errors
/// When the answer is another, a server runs there, or the folder cannot be moved: then nothing was changed.
pub fn run(options: &Options, ask: &mut dyn Write, answer: &mut dyn BufRead) -> Result<Vec<String>> {
    let data = whole(&Data::locate(options.data.as_deref()))?;
    find::must_be_data(&data)?;
    let dir = data.dir();
    let _lock = root::as_owner(&data, || serve::hold(&data))?;
    let name = match data.domain() {
        Ok(Some(domain)) => domain.to_string(),
        // Whatever is wrong with it: the person can say which folder it is.
        _ => dir.file_name().unwrap_or_default().display().to_string(),
    };
    let what = format!(
        "This begins anew in {}: all accounts, messages and certificates of {name} are moved aside.",
        dir.display()
    );
    confirm(&what, &name, ask, answer)?;
    clear(dir)?;
    let tag: String = random()?.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    let fresh = beside(dir, &format!("{NEW}{tag}"));
    let made = make(&fresh, &data).and_then(|()| put_into_place(&fresh, dir, true));
    if let Err(e) = made {
        let _ = std::fs::remove_dir_all(&fresh);
        return Err(e);
    }
    let before = keep_before(&fresh, dir, BEFORE)?.unwrap_or(fresh);
    Ok(vec![
        format!("reset        {} holds nothing but the settings that were there", dir.display()),
        format!(
            "before       all else is in {0}: `rm -r {1}` removes it for good",
            before.display(),
            shell(&before.display().to_string())
        ),
        format!("next         {}", find::start(dir)),
    ])
}

/// Nothing of that kind is done by a mistake: asks for a name that only who means it types.
///
/// # Errors
/// When the answer is another, or cannot be read.
pub fn confirm(what: &str, name: &str, ask: &mut dyn Write, answer: &mut dyn BufRead) -> Result<()> {
    let question = format!("{what} Type {name} to go on: ");
    let _ = ask.write_all(visible(&question).as_bytes()).and_then(|()| ask.flush());
    let mut line = String::new();
    let read = std::io::Read::take(answer, ANSWER_BYTES).read_line(&mut line);
    read.map_err(|e| Failure(format!("the answer cannot be read from standard input: {e}. Nothing was changed.")))?;
    match line.trim() == name {
        true => Ok(()),
        false => Err(Failure(format!("the answer is not {name}. Nothing was changed."))),
    }
}

/// Makes the folder that is to be there.
fn make(fresh: &Path, old: &Data) -> Result<()> {
    DirBuilder::new().mode(0o700).create(fresh).map_err(|e| cannot("made", fresh, &e))?;
    copy_kept(old, fresh)?;
    let owner = std::fs::metadata(old.dir()).ok().map(|meta| (meta.uid(), meta.gid()));
    let owner = owner.filter(|_| rustix::process::geteuid().is_root());
    let parent = || File::open(fresh.parent().unwrap_or(Path::new("/")))?.sync_all();
    settle(fresh, owner).and_then(|()| parent()).map_err(|e| cannot("synced", fresh, &e))
}
