use super::*;
use crate::core::UploadPurpose;
use crate::service::disk::data::open_to_others;
use crate::service::disk::data::tests::Temp;
use crate::service::host;
use crate::wire::dice::Dice;

const BASE: &str = "https://house.test:5443";
const NOW: u64 = host::EARLIEST + 100 * 86_400;
const HOUR_MS: u64 = 3_600_000;
/// A file of the tests, with its header.
const FILE: u64 = 1000;
const SIZE: u64 = 1000 + HEADER_BYTES;

/// FileRoom for eight files, four of an account.
const LIMITS: FileLimits =
    FileLimits { file_bytes: 5000, account_bytes: 4 * SIZE, total_bytes: 8 * SIZE, seconds: 30 * 86_400 };

fn open_at(temp: &Temp, limits: FileLimits) -> Arc<Files> {
    Files::open(&temp.0.join("uploads"), BASE, limits).expect("opened")
}

fn wanted(owner: &str, size: u64) -> WantedSlot {
    WantedSlot {
        owner: Jid::parse(&format!("{owner}@house.test")).expect("an address"),
        name: "tr\u{e8}s cool.jpg".into(),
        size,
        content_type: Some("image/jpeg".into()),
        purpose: UploadPurpose::Message,
    }
}

/// Id and token of a slot.
fn parts(slot: &Slot) -> (String, String) {
    let path = slot.put.strip_prefix("https://house.test:5443/upload/").expect("the base");
    let (id, name) = path.split_once('/').expect("id and name");
    assert_eq!((name, &slot.get), ("tr%C3%A8s%20cool.jpg", &slot.put));
    (id.into(), slot.authorization.strip_prefix("Bearer ").expect("a token").into())
}

fn request<'a>(id: &'a str, token: &'a str, length: u64) -> PutRequest<'a> {
    PutRequest { id, name: "tr\u{e8}s cool.jpg", token, length, content_type: Some("image/jpeg") }
}

/// Begins an upload at this time.
fn begin_at(files: &Arc<Files>, wanted: &WantedSlot, mono: u64, now: u64) -> (String, Upload) {
    let (id, token) = parts(&files.slot(wanted, mono).expect("a slot"));
    let upload = files.begin(&request(&id, &token, wanted.size), mono, now).expect("taken");
    (id, upload)
}

fn content(size: u64) -> Vec<u8> {
    (0..size).map(|n| (n % 251) as u8).collect()
}

fn put_at(files: &Arc<Files>, wanted: &WantedSlot, mono: u64, now: u64) -> String {
    let (id, mut upload) = begin_at(files, wanted, mono, now);
    content(wanted.size).chunks(333).for_each(|chunk| upload.write(chunk).expect("written"));
    upload.finish().expect("kept");
    id
}

fn put(files: &Arc<Files>, owner: &str) -> String {
    put_at(files, &wanted(owner, FILE), 0, NOW)
}

fn found(files: &Files, id: &str, now: u64) -> Option<StoredFile> {
    files.find(id, "tr\u{e8}s cool.jpg", now)
}

fn is_there(files: &Files, id: &str) -> bool {
    found(files, id, NOW).is_some()
}

fn names(files: &Files) -> Vec<String> {
    let entries = std::fs::read_dir(&files.dir).expect("listed");
    entries.map(|entry| entry.expect("read").file_name().into_string().expect("text")).collect()
}

fn later(refused: std::result::Result<Slot, SlotRefusal>) -> u64 {
    match refused {
        Err(SlotRefusal::Later(ms, _)) => ms,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_file_comes_back_as_it_was_also_after_a_restart() {
    let temp = Temp::new();
    let files = open_at(&temp, LIMITS);
    let (large, empty) = (put_at(&files, &wanted("juliet", 5000), 0, NOW), put_at(&files, &wanted("romeo", 0), 0, NOW));
    for files in [files, open_at(&temp, LIMITS)] {
        for (id, size) in [(&large, 5000), (&empty, 0)] {
            let mut stored = found(&files, id, NOW).expect("there");
            let mut read = Vec::new();
            stored.file.read_to_end(&mut read).expect("read");
            assert_eq!((read, stored.size, stored.offset), (content(size), size, HEADER_BYTES));
            let hash = ring::digest::digest(&SHA256, &content(size));
            assert_eq!(stored.etag, format!("\"{}\"", URL_SAFE_NO_PAD.encode(hash)));
            assert_eq!(stored.content_type.as_deref(), Some("image/jpeg"));
            assert_eq!((stored.created, stored.until), (NOW, Some(NOW + 30 * 86_400)));
        }
        let usage = FilesUsage { files: 2, bytes: 5000 + 2 * HEADER_BYTES, total_bytes: 8 * SIZE, uploads: 0 };
        assert_eq!(files.usage(), usage);
        assert!(files.find(&large, "other.jpg", NOW).is_none(), "by its name alone");
        for wrong in ["..", "../domain", "", &large.to_uppercase(), &format!("{large}.part")] {
            assert!(found(&files, wrong, NOW).is_none(), "{wrong}");
        }
    }
}

#[test]
fn files_are_for_their_user_alone() {
    let temp = Temp::new();
    let files = open_at(&temp, LIMITS);
    let id = put(&files, "juliet");
    assert_eq!((open_to_others(&files.dir), open_to_others(&files.dir.join(id))), (None, None));
}

/// A large file is synced in pieces, and is still one.
#[test]
fn what_is_larger_than_a_piece_is_whole() {
    let temp = Temp::new();
    let most = 3 * SYNC_BYTES;
    let files =
        open_at(&temp, FileLimits { file_bytes: most, account_bytes: 2 * most, total_bytes: 2 * most, seconds: 0 });
    let size = 2 * SYNC_BYTES + 17;
    let id = put_at(&files, &wanted("juliet", size), 0, NOW);
    let mut stored = found(&files, &id, NOW).expect("there");
    let mut read = Vec::new();
    stored.file.read_to_end(&mut read).expect("read");
    assert!(read == content(size) && stored.until.is_none());
}

#[test]
fn what_is_asked_for_must_be_what_the_slot_is_for() {
    let temp = Temp::new();
    let files = open_at(&temp, LIMITS);
    let (id, token) = parts(&files.slot(&wanted("juliet", FILE), 0).expect("a slot"));
    let (other, _) = parts(&files.slot(&wanted("romeo", FILE), 0).expect("a slot"));
    let fine = request(&id, &token, FILE);
    for (wrong, why) in [
        (PutRequest { id: "..", ..fine }, PutRefusal::Unknown),
        (PutRequest { id: &"a".repeat(26), ..fine }, PutRefusal::Unknown),
        (PutRequest { name: "other.jpg", ..fine }, PutRefusal::Unknown),
        (PutRequest { token: "", ..fine }, PutRefusal::Token),
        (PutRequest { token: &id, ..fine }, PutRefusal::Token),
        (PutRequest { id: &other, ..fine }, PutRefusal::Token),
        (PutRequest { length: FILE - 1, ..fine }, PutRefusal::Length(FILE)),
        (PutRequest { length: FILE + 1, ..fine }, PutRefusal::Length(FILE)),
        (PutRequest { content_type: Some("text/html"), ..fine }, PutRefusal::ContentType),
    ] {
        assert_eq!(files.begin(&wrong, 0, NOW).expect_err("refused"), why, "{wrong:?}");
    }
    assert!(names(&files).is_empty());
    // XEP-0363 §7: a client need not say it again.
    files.begin(&PutRequest { content_type: None, ..fine }, 0, NOW).expect("taken");
}

#[test]
fn a_content_type_that_only_the_upload_has_is_kept() {
    let temp = Temp::new();
    let files = open_at(&temp, LIMITS);
    let (id, token) = parts(&files.slot(&WantedSlot { content_type: None, ..wanted("juliet", 0) }, 0).expect("a slot"));
    files.begin(&request(&id, &token, 0), 0, NOW).expect("taken").finish().expect("kept");
    assert_eq!(found(&files, &id, NOW).expect("there").content_type.as_deref(), Some("image/jpeg"));
}

#[test]
fn a_slot_is_good_once_and_for_five_minutes() {
    let temp = Temp::new();
    let files = open_at(&temp, LIMITS);
    let (id, token) = parts(&files.slot(&wanted("juliet", FILE), 1000).expect("a slot"));
    let fine = request(&id, &token, FILE);
    let mut upload = files.begin(&fine, 1000 + 299_999, NOW).expect("in time");
    // While the first goes on, however long that takes, and after it.
    assert_eq!(files.begin(&fine, 1000 + HOUR_MS, NOW).expect_err("refused"), PutRefusal::Used);
    upload.write(&content(FILE)).expect("written");
    upload.finish().expect("kept");
    assert_eq!(files.begin(&fine, 2000, NOW).expect_err("refused"), PutRefusal::Used);
    assert!(is_there(&files, &id));
    let (id, token) = parts(&files.slot(&wanted("juliet", FILE), 1000).expect("a slot"));
    assert_eq!(files.begin(&request(&id, &token, FILE), 301_000, NOW).expect_err("too late"), PutRefusal::Unknown);
    // Also when nothing came of it.
    let (id, token) = parts(&files.slot(&wanted("juliet", FILE), 0).expect("a slot"));
    drop(files.begin(&request(&id, &token, FILE), 0, NOW).expect("taken"));
    assert_eq!(files.begin(&request(&id, &token, FILE), 0, NOW).expect_err("refused"), PutRefusal::Unknown);
}

#[test]
fn a_file_of_another_length_leaves_nothing() {
    let temp = Temp::new();
    let files = open_at(&temp, LIMITS);
    for write in [0, FILE - 1, FILE + 1] {
        let (id, mut upload) = begin_at(&files, &wanted("juliet", FILE), 0, NOW);
        assert_eq!(names(&files), [format!("{id}.part")]);
        assert_eq!(files.usage().uploads, 1);
        match write {
            0..FILE => {
                upload.write(&content(write)).expect("so far it fits");
                assert_eq!(upload.finish().expect_err("too short").kind(), ErrorKind::InvalidInput);
            }
            _ => assert_eq!(upload.write(&content(write)).expect_err("too long").kind(), ErrorKind::InvalidInput),
        }
        assert!(found(&files, &id, NOW).is_none());
    }
    assert!(names(&files).is_empty());
    assert_eq!(files.usage(), FilesUsage { total_bytes: LIMITS.total_bytes, ..FilesUsage::default() });
}

#[test]
fn a_file_that_is_too_large_is_told_how_large_it_may_be() {
    let temp = Temp::new();
    let files = open_at(&temp, LIMITS);
    assert_eq!(files.slot(&wanted("juliet", 5001), 0), Err(SlotRefusal::TooLarge(5000)));
    assert_eq!(files.slot(&wanted("juliet", u64::MAX), 0), Err(SlotRefusal::TooLarge(5000)));
    files.set_limits(FileLimits { account_bytes: SIZE, ..LIMITS });
    assert_eq!(files.slot(&wanted("juliet", FILE + 1), 0), Err(SlotRefusal::TooLarge(FILE)));
}

/// Slots are promises: an account has no more of them than it may have files, and than it leaves to the others.
#[test]
fn slots_share_the_room() {
    let temp = Temp::new();
    let files = open_at(&temp, FileLimits { account_bytes: 4 * SIZE, total_bytes: 16 * SIZE, ..LIMITS });
    for owner in ["juliet", "romeo", "nurse"] {
        for _ in 0..4 {
            files.slot(&wanted(owner, FILE), 1000).expect("a slot");
        }
        assert_eq!(later(files.slot(&wanted(owner, FILE), 61_000)), 240_000, "when its first slot is over");
    }
    for _ in 0..2 {
        files.slot(&wanted("paris", FILE), 1000).expect("a slot: something is always left");
    }
    assert_eq!(later(files.slot(&wanted("paris", FILE), 1000)), 300_000);
    files.slot(&wanted("tybalt", FILE), 1000).expect("a slot");
    // What is coming in counts as well.
    files.remove_of(&wanted("juliet", 0).owner);
    let _uploads: Vec<_> = (0..2).map(|_| begin_at(&files, &wanted("juliet", FILE), 1000, NOW).1).collect();
    assert_eq!(later(files.slot(&wanted("juliet", FILE), 1000)), 300_000);
    files.slot(&wanted("paris", FILE), 301_000).expect("they were not used");
    // However little is to be uploaded.
    let files = open_at(&temp, FileLimits { account_bytes: 1 << 40, total_bytes: 1 << 40, ..LIMITS });
    for n in 0..32 {
        files.slot(&wanted("juliet", 0), n).expect("a slot");
    }
    assert_eq!(later(files.slot(&wanted("juliet", 0), 1000)), 299_000);
    for n in 0..31 {
        for _ in 0..32 {
            files.slot(&wanted(&format!("other{n}"), 0), 1000).expect("a slot");
        }
    }
    assert_eq!(later(files.slot(&wanted("nurse", 0), 1000)), 299_000, "1024 in all");
}

#[test]
fn an_account_uploads_four_files_at_the_same_time() {
    let temp = Temp::new();
    let files = open_at(&temp, FileLimits { account_bytes: 100 * SIZE, total_bytes: 100 * SIZE, ..LIMITS });
    let mut uploads: Vec<_> = (0..4).map(|_| begin_at(&files, &wanted("juliet", FILE), 0, NOW).1).collect();
    let (id, token) = parts(&files.slot(&wanted("juliet", FILE), 0).expect("a slot"));
    assert_eq!(files.begin(&request(&id, &token, FILE), 0, NOW).expect_err("busy"), PutRefusal::Busy);
    put(&files, "romeo");
    uploads.pop();
    files.begin(&request(&id, &token, FILE), 0, NOW).expect("the slot is still there");
}

/// A card is not worn out by who uploads and uploads.
#[test]
fn an_account_uploads_no_more_within_a_day_than_it_may_have() {
    let temp = Temp::new();
    let files = open_at(&temp, LIMITS);
    let at = |mono| put_at(&files, &wanted("juliet", FILE), mono, NOW);
    for hour in 1..=4 {
        at(hour * HOUR_MS);
    }
    assert_eq!(later(files.slot(&wanted("juliet", FILE), 5 * HOUR_MS)), 20 * HOUR_MS);
    // Also what came to nothing was written.
    for _ in 0..4 {
        let (_, mut upload) = begin_at(&files, &wanted("romeo", FILE), HOUR_MS, NOW);
        upload.write(&content(FILE)).expect("written");
    }
    files.expire(24 * HOUR_MS, NOW);
    files.set_limits(FileLimits { file_bytes: 3 * SIZE, ..LIMITS });
    assert_eq!(later(files.slot(&wanted("romeo", 3 * SIZE), 24 * HOUR_MS)), HOUR_MS);
    at(25 * HOUR_MS);
}

/// Each day four files of Juliet's fit; what she uploads then takes the place of her oldest, and of nobody else's.
#[test]
fn who_is_full_loses_the_own_oldest_files() {
    let temp = Temp::new();
    let files = open_at(&temp, LIMITS);
    let other = put(&files, "romeo");
    let first: Vec<String> = (0..4).map(|_| put(&files, "juliet")).collect();
    // The clock may say what it wants: what came later is younger.
    let (mono, now) = (25 * HOUR_MS, NOW - 86_400);
    let second: Vec<String> = (0..2).map(|_| put_at(&files, &wanted("juliet", FILE), mono, now)).collect();
    let there = |ids: &[String]| ids.iter().map(|id| found(&files, id, now).is_some()).collect::<Vec<_>>();
    assert_eq!((there(&first), there(&second)), (vec![false, false, true, true], vec![true, true]));
    assert!(is_there(&files, &other));
    assert_eq!(names(&files).len(), 5);
}

#[test]
fn what_came_later_is_younger_also_after_a_restart() {
    let temp = Temp::new();
    let ids = [(); 3].map(|()| put(&open_at(&temp, LIMITS), "juliet"));
    let files = open_at(&temp, LIMITS);
    for left in (0..3).rev() {
        files.set_limits(FileLimits { account_bytes: left * SIZE, ..LIMITS });
        files.expire(0, NOW);
        let there: Vec<bool> = ids.iter().map(|id| is_there(&files, id)).collect();
        assert_eq!(there, [left > 2, left > 1, left > 0]);
    }
}

#[test]
fn when_all_is_full_the_oldest_goes_but_what_is_over_goes_first() {
    let temp = Temp::new();
    let files = open_at(&temp, LIMITS);
    let oldest = put(&files, "romeo");
    let brief = WantedSlot { purpose: UploadPurpose::Ephemeral((NOW + 10) * 1000), ..wanted("nurse", FILE) };
    let second = put(&files, "romeo");
    let over = put_at(&files, &brief, 0, NOW);
    for owner in ["juliet", "juliet", "juliet", "mercutio", "mercutio"] {
        put(&files, owner);
    }
    assert_eq!(files.usage().bytes, LIMITS.total_bytes);
    let mut reading = found(&files, &oldest, NOW).expect("there");
    put_at(&files, &wanted("mercutio", FILE), 0, NOW + 20);
    assert!(found(&files, &over, NOW).is_none() && is_there(&files, &oldest) && is_there(&files, &second));
    // What is being read stays, and the next one goes.
    put_at(&files, &wanted("mercutio", FILE), 0, NOW + 20);
    assert!(is_there(&files, &oldest) && !is_there(&files, &second));
    let mut read = Vec::new();
    reading.file.read_to_end(&mut read).expect("read");
    assert_eq!(read, content(FILE));
    drop(reading);
    put_at(&files, &wanted("tybalt", FILE), 0, NOW + 20);
    assert!(!is_there(&files, &oldest));
}

#[test]
fn nothing_is_taken_while_all_that_is_there_is_read() {
    let temp = Temp::new();
    let files = open_at(&temp, FileLimits { account_bytes: SIZE, total_bytes: SIZE, ..LIMITS });
    let id = put(&files, "juliet");
    let reading = found(&files, &id, NOW).expect("there");
    let (next, token) = parts(&files.slot(&wanted("romeo", FILE), 0).expect("a slot"));
    assert_eq!(files.begin(&request(&next, &token, FILE), 0, NOW).expect_err("full"), PutRefusal::Full);
    assert_eq!(files.usage().uploads, 0);
    drop(reading);
    put(&files, "romeo");
    assert!(!is_there(&files, &id));
}

#[test]
fn nobody_gets_a_file_whose_time_is_over() {
    let temp = Temp::new();
    let files = open_at(&temp, LIMITS);
    let brief = WantedSlot { purpose: UploadPurpose::Ephemeral((NOW + 10) * 1000 + 999), ..wanted("nurse", FILE) };
    let (brief, kept) = (put_at(&files, &brief, 0, NOW), put(&files, "juliet"));
    let month = NOW + 30 * 86_400;
    for files in [files, open_at(&temp, LIMITS)] {
        assert_eq!(found(&files, &brief, NOW + 9).expect("there").until, Some(NOW + 10));
        assert!(found(&files, &brief, NOW + 10).is_none());
        assert!(found(&files, &kept, month - 1).is_some() && found(&files, &kept, month).is_none());
        // Another setting counts for what is there, too.
        files.set_limits(FileLimits { seconds: 0, ..LIMITS });
        assert!(found(&files, &kept, u64::MAX).is_some() && found(&files, &brief, NOW + 10).is_none());
    }
}

#[test]
fn what_is_over_is_removed_if_the_clock_can_be_believed() {
    let temp = Temp::new();
    let files = open_at(&temp, LIMITS);
    let id = put(&files, "juliet");
    let month = NOW + 30 * 86_400;
    files.expire(0, month);
    assert_eq!(files.usage().files, 1, "nobody knows this clock yet");
    files.expire(HOUR_MS, NOW + 3600);
    files.expire(2 * HOUR_MS, month + 7200);
    assert_eq!(files.usage().files, 1, "the clock has jumped, twice");
    let reading = found(&files, &id, NOW).expect("there");
    files.expire(3 * HOUR_MS, month + 10_800);
    assert_eq!(files.usage().files, 1, "it is being read");
    drop(reading);
    files.expire(4 * HOUR_MS, month + 14_400);
    assert_eq!((files.usage().files, names(&files).len()), (0, 0));
}

/// Boards begin in 1970.
#[test]
fn what_came_before_the_clock_was_set_is_as_old_as_that() {
    let temp = Temp::new();
    let files = open_at(&temp, LIMITS);
    let id = put_at(&files, &wanted("juliet", FILE), 0, 12);
    assert!(is_there(&files, &id));
    files.expire(0, NOW);
    files.expire(HOUR_MS, NOW + 3600);
    assert_eq!(found(&files, &id, NOW).expect("there").until, Some(NOW + 3600 + 30 * 86_400));
}

#[test]
fn other_limits_hold_for_what_is_there() {
    let temp = Temp::new();
    let files = open_at(&temp, LIMITS);
    let ids: Vec<String> = ["juliet", "romeo", "juliet", "juliet"].iter().map(|owner| put(&files, owner)).collect();
    files.set_limits(FileLimits { account_bytes: 2 * SIZE, ..LIMITS });
    files.expire(0, NOW);
    assert_eq!(ids.iter().map(|id| is_there(&files, id)).collect::<Vec<_>>(), [false, true, true, true]);
    files.set_limits(FileLimits { account_bytes: 2 * SIZE, total_bytes: 2 * SIZE, ..LIMITS });
    files.expire(0, NOW);
    assert_eq!(ids.iter().map(|id| is_there(&files, id)).collect::<Vec<_>>(), [false, false, true, true]);
    assert_eq!((files.usage().bytes, names(&files).len()), (2 * SIZE, 2));
}

#[test]
fn an_account_that_is_gone_leaves_nothing() {
    let temp = Temp::new();
    let files = open_at(&temp, LIMITS);
    let (gone, kept) = (put(&files, "juliet"), put(&files, "romeo"));
    let (_, mut upload) = begin_at(&files, &wanted("juliet", FILE), 0, NOW);
    let (id, token) = parts(&files.slot(&wanted("juliet", FILE), 0).expect("a slot"));
    files.remove_of(&wanted("juliet", 0).owner);
    assert!(!is_there(&files, &gone) && is_there(&files, &kept));
    assert_eq!(files.begin(&request(&id, &token, FILE), 0, NOW).expect_err("gone"), PutRefusal::Unknown);
    upload.write(&content(FILE)).expect("written");
    assert_eq!(upload.finish().expect_err("gone").kind(), ErrorKind::NotFound);
    assert_eq!(names(&files), [kept.as_str()]);
    assert_eq!(files.usage(), FilesUsage { files: 1, bytes: SIZE, total_bytes: LIMITS.total_bytes, uploads: 0 });
    // Whoever was removed while no server ran.
    let files = open_at(&temp, LIMITS);
    files.keep_of(|jid| jid.as_str() == "romeo@house.test");
    assert!(is_there(&files, &kept));
    files.keep_of(|_| false);
    assert!(names(&files).is_empty());
}

#[test]
fn a_full_disk_is_told_and_nothing_is_left() {
    let temp = Temp::new();
    let files = open_at(&temp, LIMITS);
    let inner = Mutex::new(FilesInner { room: FileRoom::new(LIMITS), base: BASE.into(), looked: None });
    let files = Arc::new(Files {
        dir: files.dir.clone(),
        inner,
        free_bytes: u64::MAX,
        allocating: Mutex::default(),
        wear: OnceLock::new(),
    });
    let (id, token) = parts(&files.slot(&wanted("juliet", FILE), 0).expect("a slot"));
    assert_eq!(files.begin(&request(&id, &token, FILE), 0, NOW).expect_err("full"), PutRefusal::Full);
    assert!(names(&files).is_empty());
    assert_eq!(files.usage().uploads, 0);
}

/// Where the room is gone although the disk has just told of some.
#[test]
fn a_file_that_gets_no_room_leaves_nothing() {
    let temp = Temp::new();
    let most = 1 << 60;
    let limits = FileLimits { file_bytes: most, account_bytes: 2 * most, total_bytes: 2 * most, seconds: 0 };
    let files = open_at(&temp, limits);
    let (id, token) = parts(&files.slot(&wanted("juliet", FILE), 0).expect("a slot"));
    let mut upload = files.begin(&request(&id, &token, FILE), 0, NOW).expect("taken");
    upload.header.size = most;
    let refusal = files.refusal(&upload.allocate().expect_err("there is no such disk"));
    drop(upload);
    assert_eq!((refusal, files.usage().uploads), (PutRefusal::Full, 0));
    assert!(names(&files).is_empty());
}

#[test]
fn a_disk_that_fails_is_told_and_nothing_is_left() {
    let temp = Temp::new();
    let files = open_at(&temp, LIMITS);
    let (id, token) = parts(&files.slot(&wanted("juliet", FILE), 0).expect("a slot"));
    std::fs::remove_dir(&files.dir).expect("removed");
    assert_eq!(files.begin(&request(&id, &token, FILE), 0, NOW).expect_err("gone"), PutRefusal::Fails);
    make_dir(&files.dir).expect("made");
    let (id, mut upload) = begin_at(&files, &wanted("juliet", FILE), 0, NOW);
    upload.write(&content(FILE)).expect("written");
    std::fs::remove_file(files.dir.join(format!("{id}.part"))).expect("removed");
    upload.finish().expect_err("it cannot get its name");
    assert!(names(&files).is_empty() && found(&files, &id, NOW).is_none());
    assert_eq!(files.usage().uploads, 0);
}

#[test]
fn what_is_damaged_is_put_aside_and_what_is_strange_left_alone() {
    let temp = Temp::new();
    let files = open_at(&temp, LIMITS);
    let ids: Vec<String> = (0..4).map(|_| put(&files, "juliet")).collect();
    let path = |id: &str| files.dir.join(id);
    let cut = OpenOptions::new().write(true).open(path(&ids[0])).expect("opened");
    cut.set_len(SIZE - 1).expect("cut");
    let changed = OpenOptions::new().write(true).open(path(&ids[1])).expect("opened");
    changed.write_all_at(b"!", 20).expect("changed");
    std::fs::write(path(&ids[2]), b"short").expect("written");
    std::fs::write(path("notes.txt"), b"mine").expect("written");
    std::fs::write(path(&format!("{}.part", ids[3])), b"half").expect("written");
    assert!(!is_there(&files, &ids[1]), "also while the server runs");
    let files = open_at(&temp, LIMITS);
    assert_eq!(files.usage().files, 1);
    assert!(is_there(&files, &ids[3]));
    let mut should_be = vec!["notes.txt".to_owned(), ids[3].clone()];
    should_be.extend(ids[..3].iter().map(|id| format!("{id}.damaged")));
    should_be.sort();
    for files in [files, open_at(&temp, LIMITS)] {
        let mut is = names(&files);
        is.sort();
        assert_eq!(is, should_be);
    }
}

#[test]
fn the_base_of_urls_can_be_set() {
    let temp = Temp::new();
    let files = open_at(&temp, LIMITS);
    files.set_base("https://pi.local".into());
    assert!(files.slot(&wanted("juliet", FILE), 0).expect("a slot").get.starts_with("https://pi.local/upload/"));
}

/// The folder as it is now, with what was not synced there or not, opened by a server that starts: how many files it has, each whole.
fn after_power_cut(files: &Files, is_synced: bool, id: &str) -> usize {
    let temp = Temp::new();
    let copy = temp.0.join("uploads");
    make_dir(&copy).expect("made");
    for name in names(files) {
        let mut bytes = std::fs::read(files.dir.join(&name)).expect("read");
        if !is_synced {
            // FileRoom that was kept, and never written to.
            bytes.fill(0);
        }
        std::fs::write(copy.join(name), bytes).expect("written");
    }
    let files = Files::open(&copy, BASE, LIMITS).expect("opened");
    let there = names(&files);
    assert!(there.iter().all(|name| name == id), "{there:?}");
    if let Some(mut stored) = found(&files, id, NOW) {
        let mut read = Vec::new();
        stored.file.read_to_end(&mut read).expect("read");
        assert_eq!(read, content(FILE));
    }
    assert_eq!(files.usage().files, there.len());
    there.len()
}

#[test]
fn a_power_cut_at_any_step_leaves_all_of_a_file_or_nothing() {
    let temp = Temp::new();
    let files = open_at(&temp, LIMITS);
    let (id, mut upload) = begin_at(&files, &wanted("juliet", FILE), 0, NOW);
    let nothing = |when: &str| {
        for is_synced in [false, true] {
            assert_eq!(after_power_cut(&files, is_synced, &id), 0, "{when}");
        }
    };
    nothing("begun");
    for chunk in content(FILE).chunks(100) {
        upload.write(chunk).expect("written");
        nothing("written");
    }
    upload.seal().expect("sealed");
    nothing("sealed");
    upload.sync().expect("synced");
    nothing("synced");
    upload.give_name().expect("named");
    // The name may be there or not: nobody was told of it.
    assert_eq!(after_power_cut(&files, true, &id), 1);
    sync_dir(&files.dir).expect("synced");
    assert!(found(&files, &id, NOW).is_none(), "it is shown when it is sure");
    upload.keep().expect("kept");
    drop(upload);
    assert_eq!(after_power_cut(&files, true, &id), 1);
    assert!(is_there(&files, &id));
}

/// What of the folder is on the disk for sure.
#[derive(Default)]
struct SimulatedDisk {
    /// Names, each with the upload whose content it leads to, as of the last sync of the folder.
    names: std::collections::BTreeMap<String, String>,
    /// What happened to names since, in order: the name before, if there was one, and the one after, unless it was removed.
    changes: Vec<(Option<String>, Option<String>)>,
    /// The content of uploads that were synced.
    synced: std::collections::BTreeMap<String, Vec<u8>>,
    seen: std::collections::BTreeSet<String>,
}

fn id_of(name: &str) -> String {
    name.trim_end_matches(".part").to_owned()
}

impl SimulatedDisk {
    /// Sees what has become of the names.
    fn look(&mut self, files: &Files) {
        let now: std::collections::BTreeSet<String> = names(files).into_iter().collect();
        for gone in self.seen.difference(&now) {
            let after = Some(id_of(gone)).filter(|after| after != gone && now.contains(after));
            self.changes.push((Some(gone.clone()), after));
        }
        for new in now.difference(&self.seen).filter(|new| !self.seen.contains(&format!("{new}.part"))) {
            self.changes.push((None, Some(new.clone())));
        }
        self.seen = now;
    }

    fn happens(
        names: &mut std::collections::BTreeMap<String, String>,
        (before, after): &(Option<String>, Option<String>),
    ) {
        let content = before.as_ref().and_then(|before| names.remove(before));
        if let Some(after) = after {
            names.insert(after.clone(), content.unwrap_or_else(|| id_of(after)));
        }
    }

    fn folder_synced(&mut self) {
        for change in std::mem::take(&mut self.changes) {
            SimulatedDisk::happens(&mut self.names, &change);
        }
    }

    /// The folder as a power cut leaves it: some of the changes of names, in their order, and of what was not synced any parts.
    fn cut(&self, files: &Files, dice: &mut Dice, to: &Path) {
        const BLOCK: usize = 512;
        let mut left = self.names.clone();
        let happened = dice.below(self.changes.len() as u64 + 1) as usize;
        self.changes[..happened].iter().for_each(|change| SimulatedDisk::happens(&mut left, change));
        for (name, id) in left {
            let now = ["", ".part"].iter().find_map(|end| std::fs::read(files.dir.join(format!("{id}{end}"))).ok());
            let bytes = match (self.synced.get(&id), now) {
                (Some(synced), _) => synced.clone(),
                (None, Some(mut bytes)) => {
                    for block in bytes.chunks_mut(BLOCK) {
                        if dice.below(2) == 0 {
                            block.fill(0);
                        }
                    }
                    bytes
                }
                // It was removed, and was never synced.
                (None, None) => Vec::new(),
            };
            std::fs::write(to.join(name), bytes).expect("written");
        }
    }
}

/// How far an upload is.
struct Going {
    id: String,
    owner: &'static str,
    upload: Upload,
    size: u64,
    step: u32,
}

/// Wherever the power is cut: what was acknowledged is there and whole, and of all else there is all or nothing.
#[test]
fn a_thousand_power_cuts() {
    const OWNERS: [&str; 3] = ["juliet", "romeo", "nurse"];
    let (mut acknowledged, mut unknown) = (0, 0);
    for seed in 1..=1000u64 {
        let mut dice = Dice(seed * 2 + 1);
        let temp = Temp::new();
        let files = open_at(&temp, FileLimits { account_bytes: 100 * SIZE, total_bytes: 300 * SIZE, ..LIMITS });
        let mut disk = SimulatedDisk::default();
        let mut going: Vec<Going> = Vec::new();
        let mut kept: Vec<(String, &str, u64)> = Vec::new();
        let mut sizes = std::collections::BTreeMap::new();
        for _ in 0..dice.below(60) {
            match dice.below(8) {
                0 | 1 if going.len() < 4 => {
                    let (owner, size) = (OWNERS[dice.below(3) as usize], dice.below(3000));
                    let (id, upload) = begin_at(&files, &wanted(owner, size), 0, NOW);
                    sizes.insert(id.clone(), size);
                    going.push(Going { id, owner, upload, size, step: 0 });
                }
                2 if dice.below(8) == 0 => {
                    let owner = OWNERS[dice.below(3) as usize];
                    files.remove_of(&wanted(owner, 0).owner);
                    kept.retain(|(_, of, _)| *of != owner);
                }
                3 if dice.below(4) == 0 && !going.is_empty() => {
                    // The client hangs up.
                    going.swap_remove(dice.below(going.len() as u64) as usize);
                }
                _ if !going.is_empty() => {
                    let at = dice.below(going.len() as u64) as usize;
                    let Going { id, upload, size, step, .. } = &mut going[at];
                    let rest = content(*size)[upload.written as usize..].to_vec();
                    let done = match *step {
                        0 if !rest.is_empty() => {
                            upload.write(&rest[..rest.len().min(1 + dice.below(1500) as usize)]).expect("written");
                            continue;
                        }
                        0 => upload.seal(),
                        1 => upload.sync().map(|()| {
                            let path = ["", ".part"].map(|end| files.dir.join(format!("{id}{end}")));
                            let bytes = path.iter().find_map(|path| std::fs::read(path).ok()).unwrap_or_default();
                            disk.synced.insert(id.clone(), bytes);
                        }),
                        2 => upload.give_name(),
                        3 => sync_dir(&files.dir).map(|()| {
                            disk.look(&files);
                            disk.folder_synced();
                        }),
                        _ => {
                            let Going { id, owner, mut upload, size, .. } = going.swap_remove(at);
                            if upload.keep().is_ok() {
                                kept.push((id, owner, size));
                            }
                            disk.look(&files);
                            continue;
                        }
                    };
                    *step += 1;
                    if done.is_err() {
                        // The account was removed, and its file with it.
                        going.swap_remove(at);
                    }
                }
                _ => {}
            }
            disk.look(&files);
        }
        let after = Temp::new();
        let copy = after.0.join("uploads");
        make_dir(&copy).expect("made");
        disk.cut(&files, &mut dice, &copy);
        let limits = FileLimits { account_bytes: 100 * SIZE, total_bytes: 300 * SIZE, ..LIMITS };
        let again = Files::open(&copy, BASE, limits).expect("opened");
        let there = names(&again);
        for name in &there {
            let size = *sizes.get(name).unwrap_or_else(|| panic!("seed {seed}: {name} is left"));
            let mut stored = found(&again, name, NOW).unwrap_or_else(|| panic!("seed {seed}: {name} cannot be had"));
            let mut read = Vec::new();
            stored.file.read_to_end(&mut read).expect("read");
            assert!(read == content(size), "seed {seed}: {name}");
        }
        for (id, ..) in &kept {
            assert!(there.contains(id), "seed {seed}: {id} was acknowledged");
        }
        acknowledged += kept.len();
        unknown += there.len() - kept.len();
    }
    assert!(acknowledged > 1000 && unknown > 50, "{acknowledged} {unknown}");
}
