//! Texts that many entries of rosters have: each is in memory once. In a house all have the same names for everybody, and one group.

use super::list::Item;
use std::collections::BTreeSet;
use std::sync::Arc;

/// So many texts are kept before it is looked which nobody has any more.
const FEW: usize = 256;

/// All of them.
#[derive(Debug, Default)]
pub(in crate::core) struct Words {
    names: BTreeSet<Arc<str>>,
    groups: BTreeSet<Arc<Vec<Box<str>>>>,
    /// How many there were when it was looked last which somebody has.
    kept: usize,
}

impl Words {
    /// An item has the same texts as others from now on, where they are equal.
    pub(in crate::core) fn share(&mut self, item: &mut Item) {
        item.name = item.name.take().map(|name| shared(&mut self.names, name));
        item.groups = shared(&mut self.groups, std::mem::take(&mut item.groups));
        if self.names.len() + self.groups.len() > FEW + 2 * self.kept {
            self.names.retain(|name| Arc::strong_count(name) > 1);
            self.groups.retain(|groups| Arc::strong_count(groups) > 1);
            self.kept = self.names.len() + self.groups.len();
        }
    }
}

fn shared<T: ?Sized + Ord>(all: &mut BTreeSet<Arc<T>>, one: Arc<T>) -> Arc<T> {
    match all.get(&one) {
        Some(same) => same.clone(),
        None => {
            all.insert(one.clone());
            one
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_equal_is_one() {
        let mut words = Words::default();
        let item =
            |name: &str| Item { name: Some(name.into()), groups: Arc::new(vec!["House".into()]), ..Item::default() };
        let (mut one, mut other) = (item("Juliet"), item("Juliet"));
        words.share(&mut one);
        words.share(&mut other);
        assert!(one.name.zip(other.name).is_some_and(|(one, other)| Arc::ptr_eq(&one, &other)));
        assert!(Arc::ptr_eq(&one.groups, &other.groups));
    }

    #[test]
    fn what_nobody_has_any_more_is_forgotten() {
        let mut words = Words::default();
        let mut kept = Vec::new();
        for n in 0..100 * FEW {
            let mut item = Item { name: Some(n.to_string().into()), ..Item::default() };
            words.share(&mut item);
            kept.extend(Some(item).filter(|_| n % 100 == 0));
        }
        assert!(words.names.len() <= FEW + 2 * kept.len(), "{}", words.names.len());
        for item in &kept {
            assert!(item.name.as_ref().is_some_and(|name| Arc::strong_count(name) == 2));
        }
    }
}
