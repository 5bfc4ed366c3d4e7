//! Maps for what is looked up for every stanza, by a hash instead of by comparing along a tree.
//!
//! Where something is in such a map depends on a key that differs from run to run, and a simulation has to be the same in each: so
//! nobody can go through one but in the order of its keys ([`Unordered::iter`]), or for something that no order changes.

use std::borrow::Borrow;
use std::collections::hash_map::RandomState;
use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::hash::{BuildHasher, BuildHasherDefault, Hash, Hasher};

/// By names that strangers may choose: the hash is keyed (SipHash), so that nobody can choose names that fall together.
pub(crate) type ByName<V> = Unordered<Box<str>, V, RandomState>;
/// By numbers that are given out here, one after the other.
pub(crate) type ByNumber<K, V> = Unordered<K, V, BuildHasherDefault<Number>>;

/// A map without an order. The values are boxed: when it grows, pointers move, and room for more of them is kept free.
#[derive(Clone)]
pub struct Unordered<K, V, S>(HashMap<K, Box<V>, S>);

impl<K, V, S: Default> Default for Unordered<K, V, S> {
    fn default() -> Self {
        Unordered(HashMap::default())
    }
}

impl<K: Eq + Hash + Ord, V, S: BuildHasher> Unordered<K, V, S> {
    /// What is there under a key.
    pub fn get<Q: Hash + Eq + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.0.get(key).map(Box::as_ref)
    }

    /// The same, to be changed.
    pub fn get_mut<Q: Hash + Eq + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        self.0.get_mut(key).map(Box::as_mut)
    }

    /// Whether there is something under a key.
    pub fn contains_key<Q: Hash + Eq + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.0.contains_key(key)
    }

    /// Puts a value there, and gives what was there before.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        self.0.insert(key, Box::new(value)).map(|value| *value)
    }

    /// Takes out what is under a key. Room that mostly stands empty is given back.
    pub fn remove<Q: Hash + Eq + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let value = self.0.remove(key).map(|value| *value);
        if self.0.len() * 8 < self.0.capacity() {
            self.0.shrink_to(self.0.len() * 2);
        }
        value
    }

    /// What is there under a key, or the default, which is put there.
    pub fn or_default(&mut self, key: K) -> &mut V
    where
        V: Default,
    {
        self.0.entry(key).or_default()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All, in the order of their keys: those are sorted first.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.matching(|_| true)
    }

    /// Those of which something is true, in the order of their keys. Only they are sorted: many may be asked for few.
    pub fn matching(&self, mut is: impl FnMut(&V) -> bool) -> impl Iterator<Item = (&K, &V)> {
        let mut found: Vec<_> = self.0.iter().filter(|(_, value)| is(value)).collect();
        found.sort_unstable_by_key(|(key, _)| *key);
        found.into_iter().map(|(key, value)| (key, value.as_ref()))
    }

    /// The sum of something over all.
    pub fn sum(&self, of: impl FnMut(&V) -> usize) -> usize {
        self.0.values().map(Box::as_ref).map(of).sum()
    }

    /// The different values that something has among them.
    pub fn values_of<T: Ord>(&self, of: impl FnMut(&V) -> T) -> BTreeSet<T> {
        self.0.values().map(Box::as_ref).map(of).collect()
    }

    /// Does something with each, whose order changes nothing.
    pub fn for_each(&mut self, of: impl FnMut(&mut V)) {
        self.0.values_mut().map(Box::as_mut).for_each(of);
    }

    /// Whether something is true of one of them.
    pub fn any(&self, of: impl FnMut(&V) -> bool) -> bool {
        self.0.values().map(Box::as_ref).any(of)
    }
}

impl<K: Eq + Hash + Ord + fmt::Debug, V: fmt::Debug, S: BuildHasher> fmt::Debug for Unordered<K, V, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl<K: Eq + Hash + Borrow<Q>, V, S: BuildHasher, Q: Eq + Hash + ?Sized> std::ops::Index<&Q> for Unordered<K, V, S> {
    type Output = V;

    fn index(&self, key: &Q) -> &V {
        &self.0[key]
    }
}

/// The hash of a number that nobody outside chooses: a multiplication spreads it over the upper bits, and the lower ones stay apart.
#[derive(Default, Debug)]
pub struct Number(u64);

impl Hasher for Number {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }

    fn write_u64(&mut self, n: u64) {
        // 2^64 divided by the golden ratio, which is odd.
        self.0 = (self.0 ^ n).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn it_is_gone_through_in_the_order_of_its_keys() {
        let mut map = ByNumber::<u64, u64>::default();
        for n in 0..1000_u64 {
            let key = n.wrapping_mul(7919) % 1000;
            assert_eq!(map.insert(key, n), None);
        }
        assert!(map.iter().map(|(key, _)| *key).eq(0..1000));
        assert!(map.matching(|n| *n < 3).map(|(key, _)| *key).eq([0, 838, 919]));
        assert_eq!((map.sum(|n| *n as usize), map.any(|n| *n == 999)), (499_500, true));
    }

    #[test]
    fn many_that_left_leave_no_room_behind() {
        let mut map = ByName::<u64>::default();
        for n in 0..1000 {
            *map.or_default(n.to_string().into()) += n;
        }
        for n in 10..1000 {
            assert_eq!(map.remove(n.to_string().as_str()), Some(n));
        }
        assert!(map.0.capacity() <= 112, "{}", map.0.capacity());
        assert_eq!((map.len(), map["7"]), (10, 7));
    }

    /// One after the other they fall into different places: in 1024 of them, as good as all.
    #[test]
    fn numbers_spread() {
        let build = BuildHasherDefault::<Number>::default();
        for step in [1_u64, 2, 3, 64, 1 << 20] {
            let lower = |n: u64| build.hash_one(n * step) & 1023;
            let upper = |n: u64| build.hash_one(n * step) >> 57;
            let places: BTreeSet<u64> = (0..1024).map(lower).collect();
            let tags: BTreeSet<u64> = (0..1024).map(upper).collect();
            assert!(tags.len() == 128, "{step}: {}", tags.len());
            assert!(step > 3 || places.len() >= 512, "{step}: {}", places.len());
        }
    }
}
