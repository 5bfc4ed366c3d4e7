//! The archives that an entry of the log is in.

use super::leb128::{Cut, put_bytes};

/// The archives that an entry is in: of each, whose it is (a localpart of ours, or a room's key), and the bare JID of the other side, to
/// find a conversation by.
///
/// They are one piece of memory, as they stand in the log ([`super::log`]): every archived message has two, and they are let go by
/// another thread than the one that made them.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Copies {
    count: usize,
    names: Vec<u8>,
}

impl Copies {
    /// None yet, and room for so many bytes of names.
    pub fn with_room(bytes: usize) -> Copies {
        Copies { count: 0, names: Vec::with_capacity(bytes) }
    }

    /// Adds an archive.
    pub fn push(&mut self, owner: &str, with: &str) {
        put_bytes(&mut self.names, owner.as_bytes());
        put_bytes(&mut self.names, with.as_bytes());
        self.count += 1;
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether it is in nobody's archive.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Each with its other side.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        pairs(self.count as u64, &self.names)
    }

    /// Whether this archive is among them, with this other side if one is asked for.
    pub fn has(&self, owner: &str, with: Option<&str>) -> bool {
        self.iter().any(|pair| is_of(pair, owner, with))
    }

    /// How they stand in the log.
    pub(super) fn names(&self) -> &[u8] {
        &self.names
    }

    /// Bytes of all names.
    pub fn bytes(&self) -> usize {
        self.iter().map(|(owner, with)| owner.len() + with.len()).sum()
    }
}

impl std::fmt::Debug for Copies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list()
            .entries(self.iter().map(|(o, w)| (String::from_utf8_lossy(o), String::from_utf8_lossy(w))))
            .finish()
    }
}

impl<O: AsRef<str>, W: AsRef<str>> FromIterator<(O, W)> for Copies {
    fn from_iter<I: IntoIterator<Item = (O, W)>>(pairs: I) -> Copies {
        let mut copies = Copies::default();
        pairs.into_iter().for_each(|(owner, with)| copies.push(owner.as_ref(), with.as_ref()));
        copies
    }
}

/// The pairs of names that stand there.
pub(super) fn pairs(count: u64, names: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let mut rest = Cut(names);
    (0..count).map_while(move |_| Some((rest.bytes()?, rest.bytes()?)))
}

/// Whether a pair is of this archive, with this other side if one is asked for.
pub(super) fn is_of((o, w): (&[u8], &[u8]), owner: &str, with: Option<&str>) -> bool {
    o == owner.as_bytes() && with.is_none_or(|with| w == with.as_bytes())
}
