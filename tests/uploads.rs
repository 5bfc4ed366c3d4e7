//! An uploaded file survives the plug: a writer runs on a disk that notes what was synced (`storage/shim.c`), and the power is cut
//! behind each of the notes. Whatever the writer was told is there by then is there, whole; of all else nothing is left.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "storage/cut.rs"]
// What the other tests need of it.
#[allow(dead_code)]
mod cut;

use cut::Disk;
use inglenook::core::{UploadPurpose, WantedSlot};
use inglenook::service::disk::files::{FileLimits, Files, PutRequest};
use inglenook::wire::Jid;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

const DIR: &str = "INGLENOOK_UPLOADS_DIR";
const NOW: u64 = 1_800_000_000;
const NAME: &str = "cool.jpg";
/// Sizes of the files: none, less than a page, pages, and more than what is synced at once.
const SIZES: [u64; 5] = [0, 1, 5000, 65_536, 9_000_000];
const LIMITS: FileLimits = FileLimits { file_bytes: 1 << 24, account_bytes: 1 << 26, total_bytes: 1 << 26, seconds: 0 };

fn content(size: u64) -> Vec<u8> {
    (0..size).map(|n| (n % 251) as u8 ^ size as u8).collect()
}

/// Uploads a file, or all of it but its last byte.
fn upload(files: &Arc<Files>, size: u64, whole: bool) -> String {
    let owner = Jid::parse("juliet@house.test").unwrap();
    let purpose = UploadPurpose::Message;
    let slot = files.slot(&WantedSlot { owner, name: NAME.into(), size, content_type: None, purpose }, 0).unwrap();
    let id = slot.put.rsplit('/').nth(1).unwrap();
    let token = slot.authorization.strip_prefix("Bearer ").unwrap();
    let put = PutRequest { id, name: NAME, token, length: size, content_type: None };
    let mut upload = files.begin(&put, 0, NOW).unwrap();
    let content = content(size);
    for chunk in content[..content.len() - usize::from(!whole)].chunks(16 * 1024) {
        upload.write(chunk).unwrap();
    }
    if whole {
        upload.finish().unwrap()
    } else {
        drop(upload)
    }
    id.to_owned()
}

/// The other end: does nothing in a usual test run. Says of each file that is there how many bytes of notes there were by then.
#[test]
fn child() {
    let Ok(dir) = std::env::var(DIR) else { return };
    let notes = std::env::var("CUT_LOG").unwrap();
    let files = Files::open(&Path::new(&dir).join("uploads"), "https://house.test", LIMITS).unwrap();
    for size in SIZES {
        if size > 0 {
            upload(&files, size, false);
        }
        let id = upload(&files, size, true);
        println!("\n= {} {size} {id}", fs::metadata(&notes).unwrap().len());
    }
    std::process::exit(0);
}

/// What the writer was told: behind how many bytes of notes, and of which file.
struct Told {
    notes: usize,
    size: u64,
    id: String,
}

/// Has the writer write, and gives the notes.
fn write(at: &Path) -> (Vec<u8>, Vec<Told>) {
    let (live, graves, notes) = (at.join("live"), at.join("graves"), at.join("notes"));
    [&live, &graves].into_iter().for_each(|dir| fs::create_dir_all(dir).unwrap());
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "child", "--nocapture", "--test-threads=1"]).stdout(Stdio::piped());
    command.env("LD_PRELOAD", cut::shim()).env("CUT_ROOT", &live).env("CUT_GRAVES", graves).env("CUT_LOG", &notes);
    let done = command.env(DIR, &live).output().unwrap();
    assert!(done.status.success(), "{done:?}");
    let text = String::from_utf8(done.stdout).unwrap();
    let told = text.lines().filter_map(|line| {
        let mut words = line.strip_prefix("= ")?.split(' ');
        let mut next = || words.next().unwrap();
        Some(Told { notes: next().parse().unwrap(), size: next().parse().unwrap(), id: next().into() })
    });
    (fs::read(notes).unwrap(), told.collect())
}

fn is_whole(files: &Files, Told { id, size, .. }: &Told) -> bool {
    let Some(mut stored) = files.find(id, NAME, NOW) else { return false };
    let mut read = Vec::new();
    stored.file.read_to_end(&mut read).unwrap();
    assert!(read == content(*size), "{id} is there, and is not what was uploaded");
    true
}

#[test]
fn a_power_cut_behind_any_sync_leaves_what_was_told_and_nothing_half() {
    let at: PathBuf = Path::new(env!("CARGO_TARGET_TMPDIR")).join("uploads-cut");
    let _ = fs::remove_dir_all(&at);
    let (notes, told) = write(&at);
    assert_eq!(told.len(), SIZES.len());
    let (mut end, mut cuts) = (0, 0);
    while end < notes.len() {
        end += 4 + u32::from_le_bytes(notes[end..end + 4].try_into().unwrap()) as usize;
        let mut disk = Disk::default();
        disk.replay(&notes[..end]);
        let dir = at.join("cut");
        disk.build(&dir);
        let files = Files::open(&dir.join("uploads"), "https://house.test", LIMITS).unwrap();
        let there = told.iter().filter(|told| is_whole(&files, told)).count();
        let should_be = told.iter().filter(|told| told.notes <= end).count();
        // The last one may be there before its writer is told.
        assert!(there == should_be || there == should_be + 1, "{there} of {should_be} files at {end}");
        let names = fs::read_dir(dir.join("uploads")).unwrap().count();
        assert_eq!((files.usage().files, names), (there, there), "something else is left at {end}");
        cuts += 1;
    }
    // Of each file at least that it was made, its sync and that of the folder.
    assert!(cuts > 3 * SIZES.len(), "{cuts}");
    fs::remove_dir_all(&at).unwrap();
}
