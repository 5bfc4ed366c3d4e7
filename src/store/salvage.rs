//! What is readable of a damaged database, put into a new one.
//!
//! Rows come from sled's file as [`super::scan`] reads it, large values from their files, messages from the log, which is made for
//! that. A daily copy would not do as well: it would wear the card, and lose a day; so only what the damage hit is lost, and the
//! counts of the engine tell whether that is all.

use super::large::{self, Note, Reference};
use super::log::Log;
use super::mark::{Mark, newer};
use super::scan::{self, Range, Readable};
use super::sled_engine::Sled;
use super::trees::{COUNT, Count, ENGINE, INLINE, LARGE_PREFIX, NAMES, REFERENCE, SCHEMA, SCHEMA_KEY, at};
use super::{BATCH_OPS, Batch, Bytes, StoreError, Tree, card::Card, disk};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

/// Bytes of a batch, about.
const FILL_BYTES: usize = 1024 * 1024;
/// Lines about what is lost; more are only counted.
const LINES: usize = 40;
/// Letters of a key that are shown.
const SHOWN: usize = 40;

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Salvaged {
    /// Rows that are in the new database.
    pub rows: u64,
    /// Bytes of the message log that are there.
    pub log_bytes: u64,
    /// What is lost, in words for a person; empty: nothing.
    pub lost: Vec<String>,
}

/// Makes a new database in `to` of all that is readable of the one in `from`, which is not changed.
///
/// # Errors
/// When the new one cannot be written, or the old one is of a newer version.
pub(crate) fn salvage(from: &Path, to: &Path) -> Result<Salvaged, StoreError> {
    let log = from.join("log");
    if log.is_dir() {
        Log::refuse_newer(&log)?;
    }
    let mark = match Mark::read(&from.join("mark")) {
        Err(e @ StoreError::Newer(_)) => return Err(e),
        mark => mark.unwrap_or_default(),
    };
    let mut done = Salvaged::default();
    let mut trees = match scan::read(&from.join("sled"), &NAMES) {
        Ok(trees) => trees,
        Err(e) => {
            done.lost.push(format!(
                "all accounts, contacts and rooms: {} cannot be read ({e})",
                from.join("sled/db").display()
            ));
            BTreeMap::new()
        }
    };
    let engine = trees.remove(NAMES[ENGINE]).unwrap_or_default();
    let found = engine.rows.get(SCHEMA_KEY).and_then(|row| super::record::Reader::new(row).ok()?.u32().ok());
    if let Some(found) = found.filter(|found| *found > SCHEMA) {
        return Err(newer(found, SCHEMA));
    }
    let counted = engine.rows.get(COUNT).and_then(|row| Count::from_bytes(row).ok());
    let notes = engine.rows.iter().filter(|(key, _)| key.starts_with(LARGE_PREFIX));
    let notes: Vec<Note> = notes.filter_map(|(_, note)| Note::from_bytes(note)).collect();
    judge(&trees, counted, mark.commit, &mut done.lost);
    let applied = counted.map_or(0, |count| count.applied).max(mark.log);
    let mut sled = Sled::open(to, None)?;
    put(&mut sled, &trees, &notes, &from.join("large"), applied, &mut done)?;
    sled.close()?;
    copy_log(&log, &to.join("log"), &mut done)?;
    let card = Card::open(to, None)?;
    card.verify_rows()?;
    card.close()?;
    if done.lost.len() > LINES {
        let more = done.lost.len() - LINES;
        done.lost.truncate(LINES);
        done.lost.push(format!("and {more} more"));
    }
    Ok(done)
}

/// Tells what is missing: the counts tell whether anything is.
fn judge(trees: &BTreeMap<String, Readable>, counted: Option<Count>, marked: u64, lost: &mut Vec<String>) {
    let mut there = Count::default();
    for tree in Tree::ALL {
        for (key, value) in trees.get(NAMES[at(tree)]).into_iter().flat_map(|found| &found.rows) {
            there.add(at(tree), key, value);
        }
    }
    let is_whole =
        counted.is_some_and(|count| (count.rows, count.sum) == (there.rows, there.sum) && count.commit >= marked);
    if is_whole || trees.is_empty() {
        return;
    }
    let before = lost.len();
    for tree in Tree::ALL {
        let Some(Readable { gone, old, .. }) = trees.get(NAMES[at(tree)]) else { continue };
        lost.extend(gone.iter().map(|range| format!("{}{}", kind(tree), span(range))));
        lost.extend(old.iter().map(|range| format!("the newest changes of {}{}", kind(tree), span(range))));
    }
    match counted {
        Some(count) if count.commit < marked => lost.push(format!("the newest {} changes", marked - count.commit)),
        Some(count) if count.rows > there.rows => {
            lost.push(format!("in all {} of {} entries", count.rows - there.rows, count.rows));
        }
        Some(count) if lost.len() == before => lost.push(format!("a few changes of the {} entries", count.rows)),
        Some(_) => {}
        None => lost.push("perhaps more: the count of what was there is lost, too".into()),
    }
}

/// Writes the rows, and the large values that are whole.
fn put(
    sled: &mut Sled,
    trees: &BTreeMap<String, Readable>,
    notes: &[Note],
    large: &Path,
    applied: u64,
    done: &mut Salvaged,
) -> Result<(), StoreError> {
    let (mut batch, mut bytes) = (Batch::default(), 0);
    let mut add = |tree: Tree, key: &[u8], value: Bytes, rows: &mut u64| {
        bytes += value.len();
        batch.put(tree, key, value);
        *rows += 1;
        if batch.ops.len() < BATCH_OPS && bytes < FILL_BYTES {
            return Ok(());
        }
        bytes = 0;
        sled.commit_logged(&[std::mem::take(&mut batch)], &[applied])
    };
    let none = Readable::default();
    for tree in Tree::ALL {
        let found = trees.get(NAMES[at(tree)]).unwrap_or(&none);
        for (key, value) in &found.rows {
            let value = match value.split_first() {
                Some((&INLINE, value)) => Ok(value.into()),
                Some((&REFERENCE, reference)) => {
                    Reference::from_bytes(reference).and_then(|r| large::read_from(large, &r))
                }
                _ => Err(StoreError::Damaged("its tag is not known".into())),
            };
            match value {
                Ok(value) => add(tree, key, value, &mut done.rows)?,
                Err(_) => done.lost.push(words(tree, key)),
            }
        }
        // The row is lost, its large value is not.
        for note in notes.iter().filter(|note| note.tree == tree && !found.rows.contains_key(&*note.key)) {
            if within(&found.gone, &note.key)
                && let Ok(value) = large::read_from(large, &note.reference)
            {
                add(tree, &note.key, value, &mut done.rows)?;
            }
        }
    }
    sled.commit_logged(&[batch], &[applied])
}

fn within(ranges: &[Range], key: &[u8]) -> bool {
    ranges.iter().any(|(from, to)| **from <= *key && (to.is_empty() || *key < **to))
}

/// Copies the message log, segment by segment, and tells what of it is not readable.
fn copy_log(from: &Path, to: &Path, done: &mut Salvaged) -> Result<(), StoreError> {
    disk::make_dir(to).map_err(|e| disk::refused("make", to, &e))?;
    let entries = match disk::entries(from) {
        Ok(entries) => entries,
        Err(e) => {
            done.lost.push(format!("all messages: {} cannot be read ({e})", from.display()));
            Vec::new()
        }
    };
    for entry in entries {
        let path = entry.path();
        // Root may be asked to, and follows no link that a broken server has laid.
        if path.extension().is_none_or(|end| end != "seg") || path.is_symlink() {
            continue;
        }
        let bytes = match read_parts(&path) {
            Ok(bytes) => bytes,
            Err(e) => {
                done.lost.push(format!("messages in {}: it cannot be read ({e})", path.display()));
                continue;
            }
        };
        let copy = to.join(entry.file_name());
        let write =
            || File::create_new(&copy).and_then(|mut file| file.write_all(&bytes).and_then(|()| file.sync_all()));
        write().map_err(|e| disk::refused("write", &copy, &e))?;
        done.log_bytes += bytes.len() as u64;
    }
    let missing = Log::survey(to)?;
    done.lost.extend(missing);
    Ok(())
}

/// Reads a file; a part that the card does not give is zeros.
fn read_parts(path: &Path) -> io::Result<Vec<u8>> {
    use std::os::unix::fs::FileExt;
    let file = File::open(path)?;
    let mut bytes = vec![0; usize::try_from(file.metadata()?.len()).unwrap_or(0)];
    if file.read_exact_at(&mut bytes, 0).is_err() {
        for (at, part) in (0..).step_by(4096).zip(bytes.chunks_mut(4096)) {
            if let Err(e) = file.read_exact_at(part, at)
                && e.raw_os_error() != Some(rustix::io::Errno::IO.raw_os_error())
            {
                return Err(e);
            }
        }
    }
    Ok(bytes)
}

/// What a tree has, for people.
fn kind(tree: Tree) -> &'static str {
    match tree {
        Tree::Meta => "notes of the server for itself",
        Tree::Account => "accounts",
        Tree::Roster => "contacts",
        Tree::Block => "blocked addresses",
        Tree::Private => "private storage",
        Tree::Vcard => "profiles",
        Tree::Offline => "messages for people who were offline",
        Tree::Archive => "preferences for archives",
        Tree::Room => "rooms",
        Tree::Node => "nodes of publish-subscribe",
        Tree::Item => "published items (bookmarks, pictures, keys)",
        Tree::Push => "registrations for notifications",
        Tree::Token => "tokens to log in with",
        Tree::Notifier => "tokens for notifications",
        Tree::Invitation => "invitations",
        Tree::Admin => "administrators by invitation",
        Tree::House => "notes on how accounts came into the house",
    }
}

/// What a row is, for people.
pub(super) fn words(tree: Tree, key: &[u8]) -> String {
    match tree {
        Tree::Meta => kind(tree).into(),
        _ => format!("one of the {} of {}", kind(tree), owner(key)),
    }
}

/// Whose a key is: what stands before its first NUL.
fn owner(key: &[u8]) -> String {
    let end = key.iter().position(|b| *b == 0).unwrap_or(key.len());
    String::from_utf8_lossy(&key[..end]).chars().filter(|c| !c.is_control()).take(SHOWN).collect()
}

/// From where to where.
fn span((from, to): &Range) -> String {
    match (from.is_empty(), to.is_empty()) {
        (true, true) => ": all of them".into(),
        (true, false) => format!(" before \"{}\" in the alphabet", owner(to)),
        (false, true) => format!(" from \"{}\" on in the alphabet", owner(from)),
        (false, false) => format!(" from \"{}\" to \"{}\"", owner(from), owner(to)),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::store::{Engine, Query, Rows, key, scratch};
    use std::collections::BTreeSet;
    use std::fs;

    type Table = BTreeMap<(usize, Vec<u8>), Vec<u8>>;

    fn mix(state: &mut u64) -> u64 {
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        *state >> 33
    }

    /// A database with a history: what it has, and all values that a row ever had.
    fn victim(dir: &Path, closed: bool) -> (Table, BTreeSet<Vec<u8>>) {
        let (mut sled, mut now, mut ever, mut state) =
            (Sled::open(dir, None).unwrap(), Table::new(), BTreeSet::new(), 7);
        for round in 0..400_u64 {
            let mut batch = Batch::default();
            for _ in 0..1 + mix(&mut state) % 6 {
                let tree = Tree::ALL[(mix(&mut state) % Tree::ALL.len() as u64) as usize];
                let name = key::named(&format!("user{:03}", mix(&mut state) % 60), "friend@example.org");
                if mix(&mut state).is_multiple_of(5) {
                    now.remove(&(at(tree), name.to_vec()));
                    batch.delete(tree, name);
                    continue;
                }
                let len = if round % 50 == 7 { 6000 } else { 40 + mix(&mut state) % 300 } as usize;
                let value = format!("{round} {tree:?} {}", "x".repeat(len)).into_bytes();
                ever.insert(value.clone());
                now.insert((at(tree), name.to_vec()), value.clone());
                batch.put(tree, name, value);
            }
            sled.commit(&[batch]).unwrap();
        }
        if closed {
            sled.close().unwrap()
        } else {
            drop(sled)
        }
        (now, ever)
    }

    fn table(dir: &Path) -> Table {
        let mut sled = Sled::open(dir, None).unwrap();
        let mut table = Table::new();
        for tree in Tree::ALL {
            let query =
                Query::Scan { tree, prefix: Bytes::default(), after: None, rows: usize::MAX, bytes: usize::MAX };
            let rows: Rows = sled.query(&query).unwrap();
            table.extend(rows.into_iter().map(|(key, value)| ((at(tree), key.to_vec()), value.to_vec())));
        }
        sled.close().unwrap();
        table
    }

    /// All rows are there, and something newer was acknowledged: the card has lost whole segments.
    #[test]
    fn what_is_behind_its_mark_has_lost_the_newest_changes() {
        let (tree, key, value) = (at(Tree::Account), b"juliet".to_vec(), b"\0x".to_vec());
        let mut count = Count { commit: 5, ..Count::default() };
        count.add(tree, &key, &value);
        let readable = Readable { rows: BTreeMap::from([(key, value)]), ..Readable::default() };
        let trees = BTreeMap::from([(NAMES[tree].to_owned(), readable)]);
        for (marked, told) in [(4, vec![]), (5, vec![]), (7, vec!["the newest 2 changes"])] {
            let mut lost = Vec::new();
            judge(&trees, Some(count), marked, &mut lost);
            assert_eq!(lost, told, "{marked}");
        }
    }

    #[test]
    fn all_of_a_whole_database_is_salvaged() {
        for closed in [true, false] {
            let dir = scratch(&format!("salvage-whole-{closed}"));
            let (now, _) = victim(&dir.join("old"), closed);
            let done = salvage(&dir.join("old"), &dir.join("new")).unwrap();
            assert_eq!((done.lost, done.rows), (vec![], now.len() as u64));
            assert!(table(&dir.join("new")) == now);
        }
    }

    /// One bit costs what it hit, and that is told.
    #[test]
    fn a_flipped_bit_costs_little() {
        let dir = scratch("salvage-bits");
        let (now, ever) = victim(&dir.join("old"), true);
        let db = dir.join("old/sled/db");
        let bytes = fs::read(&db).unwrap();
        let used: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at] != 0).collect();
        let (mut state, mut told, mut most) = (3, 0, 0);
        for round in 0..60 {
            let mut bad = bytes.clone();
            bad[used[(mix(&mut state) % used.len() as u64) as usize]] ^= 1 << (round % 8);
            fs::write(&db, &bad).unwrap();
            let _ = fs::remove_dir_all(dir.join("new"));
            let done = salvage(&dir.join("old"), &dir.join("new")).unwrap();
            let found = table(&dir.join("new"));
            assert!(found.values().all(|value| ever.contains(value)), "a value that never was");
            let wrong = now.iter().filter(|(key, value)| found.get(*key) != Some(value)).count();
            let wrong = wrong + found.keys().filter(|key| !now.contains_key(*key)).count();
            assert_eq!(wrong > 0, !done.lost.is_empty(), "{wrong} rows: {:?}", done.lost);
            (told, most) = (told + usize::from(wrong > 0), most.max(wrong));
        }
        assert!(told > 0 && most <= now.len() / 4, "{told} times, at most {most} of {}", now.len());
    }

    /// Whatever stands in the file, it ends, and says that something is lost.
    #[test]
    fn any_damage_leaves_the_rest() {
        let dir = scratch("salvage-any");
        let (now, ever) = victim(&dir.join("old"), false);
        let db = dir.join("old/sled/db");
        let bytes = fs::read(&db).unwrap();
        let end = bytes.iter().rposition(|b| *b != 0).unwrap();
        let mut state = 11;
        let noise: Vec<u8> = (0..bytes.len()).map(|_| mix(&mut state) as u8).collect();
        let cut = |at: usize| bytes[..at].to_vec();
        let filled = |from: usize, to: usize| [&bytes[..from], &vec![0; to - from], &bytes[to..]].concat();
        for (what, bad, some) in [
            ("empty", Vec::new(), false),
            ("noise", noise, false),
            ("cut", cut(end / 2), true),
            ("the first part", filled(0, end / 3), true),
            ("the middle", filled(end / 3, end / 2), true),
            ("the end", filled(end / 2, end), true),
        ] {
            fs::write(&db, &bad).unwrap();
            let _ = fs::remove_dir_all(dir.join("new"));
            let done = salvage(&dir.join("old"), &dir.join("new")).unwrap();
            let found = table(&dir.join("new"));
            // What is written again later may be lost in its first place.
            assert!(!done.lost.is_empty() || found == now, "{what}");
            assert!(found.values().all(|value| ever.contains(value)), "{what}");
            assert!(!some || found.len() > now.len() / 10, "{what}: {} of {}", found.len(), now.len());
        }
        fs::remove_file(&db).unwrap();
        let _ = fs::remove_dir_all(dir.join("new"));
        assert!(salvage(&dir.join("old"), &dir.join("new")).unwrap().lost[0].contains("sled/db cannot be read"));
    }
}
