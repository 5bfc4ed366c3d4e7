//! Uploaded files survive the plug, go with their account, and wait for no room that is not there.
//!
//! For the first, a writer runs on a disk that notes what was synced (`storage/shim.c`), and the power is cut behind each of the notes.
//! Whatever the writer was told is there by then is there, whole; of all else nothing is left.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr, missing_docs)]

mod common;
#[path = "storage/cut.rs"]
// What the other tests need of it.
#[allow(dead_code)]
mod cut;

use common::binary::{Dir, LONG, Server, login, ok, until};
use cut::Disk;
use inglenook::core::{UploadPurpose, WantedSlot};
use inglenook::service::disk::files::{FileLimits, Files, PutRefusal, PutRequest, Upload};
use inglenook::wire::Jid;
use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

const DIR: &str = "INGLENOOK_UPLOADS_DIR";
const NOW: u64 = 1_800_000_000;
const NAME: &str = "cool.jpg";
const JULIET: &str = "juliet@example.org";
/// Sizes of the files: none, less than a page, pages, and more than what is synced at once.
const SIZES: [u64; 5] = [0, 1, 5000, 65_536, 9_000_000];
const LIMITS: FileLimits = FileLimits { file_bytes: 1 << 24, account_bytes: 1 << 26, total_bytes: 1 << 26, seconds: 0 };

fn content(size: u64) -> Vec<u8> {
    (0..size).map(|n| (n % 251) as u8 ^ size as u8).collect()
}

/// A file begins to come in.
fn begin(files: &Arc<Files>, owner: &str, size: u64) -> (String, Result<Upload, PutRefusal>) {
    let owner = Jid::parse(owner).unwrap();
    let purpose = UploadPurpose::Message;
    let slot = files.slot(&WantedSlot { owner, name: NAME.into(), size, content_type: None, purpose }, 0).unwrap();
    let id = slot.put.rsplit('/').nth(1).unwrap();
    let token = slot.authorization.strip_prefix("Bearer ").unwrap();
    let put = PutRequest { id, name: NAME, token, length: size, content_type: None };
    (id.to_owned(), files.begin(&put, 0, NOW))
}

/// Uploads a file.
fn upload(files: &Arc<Files>, owner: &str, size: u64) -> String {
    let (id, upload) = begin(files, owner, size);
    let mut upload = upload.unwrap();
    content(size).chunks(16 * 1024).for_each(|chunk| upload.write(chunk).unwrap());
    upload.finish().unwrap();
    id
}

/// Uploads all of a file but its last byte.
fn break_off(files: &Arc<Files>, size: u64) {
    let mut upload = begin(files, JULIET, size).1.unwrap();
    let content = content(size);
    content[1..].chunks(16 * 1024).for_each(|chunk| upload.write(chunk).unwrap());
}

/// The other end: does nothing in a usual test run. Says of each file that is there how many bytes of notes there were by then.
#[test]
fn child() {
    let Ok(dir) = std::env::var(DIR) else { return };
    let notes = std::env::var("CUT_LOG").unwrap();
    let files = Files::open(&Path::new(&dir).join("uploads"), "https://house.test", LIMITS).unwrap();
    for size in SIZES {
        if size > 0 {
            break_off(&files, size);
        }
        let id = upload(&files, JULIET, size);
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

/// A file that has begun to come in has its room, whatever fills the disk meanwhile; one that has no room is told so at once.
#[test]
fn a_disk_that_fills_up_takes_no_room_from_a_file_that_comes_in() {
    let Some(disk) = common::disk::Disk::new("96m") else {
        return eprintln!("not run: this user cannot have a file system of its own");
    };
    let files = Files::open(&disk.dir.data().join("uploads"), "https://house.test", LIMITS).unwrap();
    let size = 9_000_000;
    let (id, begun) = begin(&files, JULIET, size);
    let mut begun = begun.unwrap();
    disk.fill();
    assert_eq!(begin(&files, JULIET, 1).1.unwrap_err(), PutRefusal::Full);
    content(size).chunks(16 * 1024).for_each(|chunk| begun.write(chunk).unwrap());
    begun.finish().unwrap();
    assert!(is_whole(&files, &Told { notes: 0, size, id }));
    assert_eq!((files.usage().files, files.usage().uploads), (1, 0));
    disk.make_room();
    upload(&files, JULIET, size);
}

/// Waits until a folder has so many files.
fn wait_for(dir: &Path, count: usize) {
    let begun = Instant::now();
    while fs::read_dir(dir).unwrap().count() != count {
        assert!(begun.elapsed() < LONG, "not {count} files in {}", dir.display());
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn the_server_gives_slots_tells_of_files_and_removes_those_of_an_account() {
    let dir =
        Dir::begun("plain = true\n[uploads]\ntotal_bytes = 50000000\naccount_bytes = 1048576\nfile_bytes = 1000000");
    let place = dir.data().join("uploads");
    let (romeo, nobody) = ("romeo@example.org", "nobody@example.org");
    for (owner, size) in [(JULIET, 5000), (JULIET, 5000), (romeo, 600_000), (romeo, 600_000), (nobody, 5000)] {
        upload(&Files::open(&place, "https://house.test", LIMITS).unwrap(), owner, size);
    }
    for name in ["juliet@example.org", "romeo@example.org"] {
        ok(&dir, &["user", "add", name, "--password-stdin"], "a long secret\n");
    }
    let server = Server::start(&dir, &[]);
    // Whoever is gone has no files, also if nobody was there to remove them; and nobody has too much for what is set now.
    wait_for(&place, 3);
    let status = ok(&dir, &["status"], "");
    assert!(status.contains("\nfiles        3 uploaded, 622.3 KB of at most 50.0 MB\n"), "{status}");
    let mut juliet = login(&server, &dir, "juliet", "a long secret");
    let request = "<iq type='get' id='1' to='upload.example.org'><request xmlns='urn:xmpp:http:upload:0' \
                   filename='tr\u{e8}s cool.jpg' size='1000000' content-type='image/jpeg'/></iq>";
    juliet.write_all(request.as_bytes()).unwrap();
    let slot = until(&mut juliet, "</slot></iq>");
    let url = slot.split("<put url='").nth(1).unwrap().split('\'').next().unwrap();
    // By the domain or by the box's address, whichever is known here.
    let [host, path] = url.strip_prefix("https://").unwrap().splitn(2, "/upload/").collect::<Vec<_>>()[..] else {
        panic!("{slot}")
    };
    assert!(host.contains(':') && path.ends_with("/tr%C3%A8s%20cool.jpg"), "{slot}");
    assert!(slot.contains(&format!("<get url='{url}'/>")), "{slot}");
    assert!(slot.contains("<header name='Authorization'>Bearer "), "{slot}");
    juliet.write_all(request.replace("'1000000'", "'1000001'").as_bytes()).unwrap();
    assert!(until(&mut juliet, "</iq>").contains("<max-file-size>1000000</max-file-size>"));
    ok(&dir, &["user", "remove", "juliet@example.org"], "");
    wait_for(&place, 1);
    let status = ok(&dir, &["status"], "");
    assert!(status.contains("\nfiles        1 uploaded"), "{status}");
    server.stop();
    let status = ok(&dir, &["status"], "");
    assert!(status.contains("\nfiles        604.1 KB"), "{status}");
}

#[test]
fn where_nothing_can_be_uploaded_there_is_no_service() {
    let dir = Dir::begun("plain = true\n[uploads]\nenabled = false");
    let server = Server::start(&dir, &[]);
    ok(&dir, &["user", "add", JULIET, "--password-stdin"], "a long secret\n");
    let mut juliet = login(&server, &dir, "juliet", "a long secret");
    let items = "<iq type='get' id='1' to='example.org'><query xmlns='http://jabber.org/protocol/disco#items'/></iq>";
    juliet.write_all(items.as_bytes()).unwrap();
    assert!(!until(&mut juliet, "</iq>").contains("upload"));
    assert!(!dir.data().join("uploads").exists() && !ok(&dir, &["status"], "").contains("\nfiles "));
}
