//! What the writer writes. Batch `n` is the same in every run, so the whole state after `n` batches is known. Some batches are
//! for the trees alone, some for the message log alone, most for both.

use inglenook::store::{Batch, Bytes, Engine, Entry, Page, Query, Rows, StoreError, Tree, key};

/// The trees each batch touches.
pub(crate) const TREES: [Tree; 4] = [Tree::Roster, Tree::Block, Tree::Private, Tree::Offline];

/// Rows of even batches go with the batch so much later.
const EVEN_LIFE: u64 = 40;
/// Rows of odd batches.
const ODD_LIFE: u64 = 300;

/// A number that looks random.
pub(crate) fn mix(a: u64, b: u64) -> u64 {
    let mut z = a.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(b).wrapping_add(0x1234_5678_9abc_def1);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn row_key(n: u64) -> Bytes {
    key::numbered(&format!("user{}", n % 8), n)
}

/// 100 to 1,000 bytes, now and then 20 to 100 KB.
fn row_value(n: u64, tree: usize) -> Vec<u8> {
    let dice = mix(n, tree as u64);
    let len = if tree == 3 && dice.is_multiple_of(17) { 20_000 + dice % 80_000 } else { 100 + dice % 901 };
    let mut value = Vec::with_capacity(len as usize + 8);
    let mut word = n;
    while value.len() < len as usize {
        value.extend_from_slice(&word.to_le_bytes());
        word = mix(word, dice);
    }
    value
}

/// Whether the batch changes trees. Both lives are multiples of 5, so that what has rows also has the deletions of others.
fn has_rows(n: u64) -> bool {
    n % 5 != 1
}

/// Whether the batch appends.
fn has_entry(n: u64) -> bool {
    !n.is_multiple_of(3) || !has_rows(n)
}

fn entry(n: u64) -> Entry {
    let (a, b) = (n % 8, (n / 8) % 7);
    let copy = |owner, with| (format!("user{owner}"), format!("user{with}@house.test"));
    let archives = if n.is_multiple_of(11) { 0 } else { 2 };
    let copies = [copy(a, b), copy(b, a)].into_iter().take(archives).collect();
    Entry { id: n, copies, value: row_value(n, 9).into() }
}

/// The batch of this number.
pub(crate) fn batch(n: u64) -> Batch {
    let mut batch = Batch { low: n.saturating_sub(7), ..Batch::default() };
    if has_entry(n) {
        batch.append(entry(n));
    }
    if !has_rows(n) {
        return batch;
    }
    for (i, tree) in TREES.into_iter().enumerate() {
        batch.put(tree, row_key(n), row_value(n, i));
        let life = if n.is_multiple_of(2) { EVEN_LIFE } else { ODD_LIFE };
        if n > life {
            batch.delete(tree, row_key(n - life));
        }
    }
    batch
}

/// How the complaint begins that entries are missing, and nothing else is wrong.
pub(crate) const LACKS: &str = "the log lacks";

/// Reads the whole log, page by page, with `query` for what follows a number.
fn pages(engine: &mut dyn Engine, query: impl Fn(u64) -> Query) -> Result<Rows, StoreError> {
    let mut found = Rows::new();
    loop {
        let after = found.last().map_or(0, |(id, _)| u64::from_be_bytes((**id).try_into().unwrap()));
        let page = engine.query(&query(after))?;
        if page.is_empty() {
            return Ok(found);
        }
        found.extend(page);
    }
}

/// Holds the log against what `last` batches have appended.
fn verify_log(engine: &mut dyn Engine, found: &Rows, last: u64) -> Result<Result<(), String>, StoreError> {
    let expected: Vec<u64> = (1..=last).filter(|n| has_entry(*n)).collect();
    let mut rest = expected.iter();
    for (id, value) in found {
        if !rest.any(|n| n.to_be_bytes() == **id) {
            return Ok(Err(format!("the log has {id:?} twice, too late or without a reason")));
        }
        if *value != entry(u64::from_be_bytes((**id).try_into().unwrap())).value {
            return Ok(Err(format!("the entry {id:?} differs")));
        }
    }
    for user in [0, 3] {
        let owner: Box<str> = format!("user{user}").into();
        let page = |after| {
            let (rows, bytes, to, with) = (50, 64 * 1024, u64::MAX, None);
            Query::Archive(Page { owner: owner.clone(), with, from: after + 1, to, backwards: false, rows, bytes })
        };
        let archive = pages(engine, page)?;
        let is_in = |id: &[u8]| entry(u64::from_be_bytes(id.try_into().unwrap())).copies.has(&owner, None);
        if !archive.iter().eq(found.iter().filter(|(id, _)| is_in(id))) {
            return Ok(Err(format!("the archive of {owner} is not what the log has")));
        }
    }
    if found.len() != expected.len() {
        return Ok(Err(format!("{LACKS} {} of {} entries", expected.len() - found.len(), expected.len())));
    }
    let edge = engine.query(&Query::Edge)?;
    let newest = expected.last().copied().unwrap_or(0);
    if edge != [(newest.saturating_sub(7).to_be_bytes().into(), newest.to_be_bytes().into())] {
        return Ok(Err(format!("the log ends with {edge:?}")));
    }
    Ok(Ok(()))
}

/// Reads everything; which batch was the last, or what is wrong with the state.
pub(crate) fn verify(engine: &mut dyn Engine) -> Result<Result<u64, String>, StoreError> {
    let log = pages(engine, |after| Query::Since { after, rows: 100, bytes: 100_000 })?;
    let mut last = log.last().map_or(0, |(id, _)| u64::from_be_bytes((**id).try_into().unwrap()));
    for (i, tree) in TREES.into_iter().enumerate() {
        let (mut after, mut found) = (None, Vec::new());
        loop {
            let query = Query::Scan { tree, prefix: Bytes::default(), after, rows: 64, bytes: 256 * 1024 };
            let page = engine.query(&query)?;
            let Some((key, _)) = page.last() else { break };
            after = Some(key.clone());
            found.extend(page);
        }
        if i == 0 {
            last = found.iter().filter_map(|(k, _)| key::number(k)).max().unwrap_or(0).max(last);
        }
        let lives = |n: &u64| n + if n.is_multiple_of(2) { EVEN_LIFE } else { ODD_LIFE } > last;
        let mut expected: Vec<_> = (last.saturating_sub(ODD_LIFE).max(1)..=last)
            .filter(lives)
            .filter(|n| has_rows(*n))
            .map(|n| (row_key(n), n))
            .collect();
        expected.sort();
        if !found.iter().map(|(k, _)| k).eq(expected.iter().map(|(k, _)| k)) {
            let (found, expected) = (found.len(), expected.len());
            return Ok(Err(format!("{tree:?} does not hold the rows of {last} batches: {found}, not {expected}")));
        }
        if let Some((_, (_, n))) = found.iter().zip(&expected).find(|((_, v), (_, n))| **v != row_value(*n, i)) {
            return Ok(Err(format!("the row of batch {n} in {tree:?} differs")));
        }
    }
    Ok(verify_log(engine, &log, last)?.map(|()| last))
}
