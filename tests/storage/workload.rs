//! What the writer writes. Batch `n` is the same in every run, so the whole state after `n` batches is known.

use inglenook::store::{Batch, Bytes, Engine, Query, StoreError, Tree, key};

/// The trees each batch touches.
pub const TREES: [Tree; 4] = [Tree::Roster, Tree::Block, Tree::Private, Tree::Offline];

/// Rows of even batches go with the batch so much later.
const EVEN_LIFE: u64 = 40;
/// Rows of odd batches.
const ODD_LIFE: u64 = 300;

/// A number that looks random.
pub fn mix(a: u64, b: u64) -> u64 {
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

/// The batch of this number.
pub fn batch(n: u64) -> Batch {
    let mut batch = Batch::default();
    for (i, tree) in TREES.into_iter().enumerate() {
        batch.put(tree, row_key(n), row_value(n, i));
        let life = if n.is_multiple_of(2) { EVEN_LIFE } else { ODD_LIFE };
        if n > life {
            batch.delete(tree, row_key(n - life));
        }
    }
    batch
}

/// Reads everything; which batch was the last, or what is wrong with the state.
pub fn verify(engine: &mut dyn Engine) -> Result<Result<u64, String>, StoreError> {
    let mut last = 0;
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
            last = found.iter().filter_map(|(k, _)| key::number(k)).max().unwrap_or(0);
        }
        let lives = |n: &u64| n + if n.is_multiple_of(2) { EVEN_LIFE } else { ODD_LIFE } > last;
        let mut expected: Vec<_> =
            (last.saturating_sub(ODD_LIFE).max(1)..=last).filter(lives).map(|n| (row_key(n), n)).collect();
        expected.sort();
        if !found.iter().map(|(k, _)| k).eq(expected.iter().map(|(k, _)| k)) {
            let (found, expected) = (found.len(), expected.len());
            return Ok(Err(format!("{tree:?} does not hold the rows of {last} batches: {found}, not {expected}")));
        }
        if let Some((_, (_, n))) = found.iter().zip(&expected).find(|((_, v), (_, n))| **v != row_value(*n, i)) {
            return Ok(Err(format!("the row of batch {n} in {tree:?} differs")));
        }
    }
    Ok(Ok(last))
}
