//! What DNS said, for as long as it may be believed.

use super::message::{Kind, Looked};
use super::name::DnsName;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Names that are remembered.
const ENTRIES: usize = 512;
/// Bytes that they may take together.
const BYTES: usize = 128 * 1024;
/// What an entry takes besides its name and its records, about, in bytes.
const ENTRY_BYTES: usize = 128;
/// The longest that anything is believed.
const LONGEST: Duration = Duration::from_secs(3600);
/// How long it is believed that there is nothing.
const NOTHING: Duration = Duration::from_secs(60);

#[derive(Default, Debug)]
pub(crate) struct Cache {
    entries: BTreeMap<(DnsName, Kind), (Instant, Looked)>,
    bytes: usize,
}

impl Cache {
    pub(crate) fn get(&self, name: &DnsName, kind: Kind, now: Instant) -> Option<&Looked> {
        let (until, looked) = self.entries.get(&(name.clone(), kind))?;
        (*until > now).then_some(looked)
    }

    /// Remembers. What ends soonest makes room.
    pub(crate) fn put(&mut self, name: DnsName, kind: Kind, looked: Looked, now: Instant) {
        let held = match looked.records.is_empty() {
            true => NOTHING,
            false => Duration::from_secs(looked.ttl_s.into()).min(LONGEST),
        };
        let key = (name, kind);
        self.remove(&key);
        let bytes = size(&key, &looked);
        if held.is_zero() || bytes > BYTES / 4 {
            return;
        }
        while self.entries.len() >= ENTRIES || self.bytes + bytes > BYTES {
            let Some(soonest) = self.entries.iter().min_by_key(|(_, (until, _))| *until).map(|(key, _)| key.clone())
            else {
                return;
            };
            self.remove(&soonest);
        }
        self.bytes += bytes;
        self.entries.insert(key, (now + held, looked));
    }

    /// Forgets everything: another network may say something else.
    pub(crate) fn clear(&mut self) {
        *self = Cache::default();
    }

    fn remove(&mut self, key: &(DnsName, Kind)) {
        if let Some((_, looked)) = self.entries.remove(key) {
            self.bytes -= size(key, &looked);
        }
    }
}

fn size(key: &(DnsName, Kind), looked: &Looked) -> usize {
    ENTRY_BYTES + key.0.as_str().len() + looked.bytes()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::message::Data;
    use super::*;

    fn name(n: usize) -> DnsName {
        DnsName::parse(&format!("n{n}.example")).unwrap()
    }

    fn looked(records: usize, ttl_s: u32) -> Looked {
        let records = vec![Data::Address("192.0.2.1".parse().unwrap()); records];
        Looked { records, exists: true, authentic: false, ttl_s }
    }

    #[test]
    fn it_is_believed_for_its_time() {
        let (mut cache, now) = (Cache::default(), Instant::now());
        let after = |secs| now + Duration::from_secs(secs);
        cache.put(name(1), Kind::A, looked(1, 100), now);
        assert!(
            cache.get(&name(1), Kind::A, after(99)).is_some() && cache.get(&name(1), Kind::A, after(100)).is_none()
        );
        assert!(cache.get(&name(1), Kind::Aaaa, now).is_none());
        // At most an hour; nothing, a minute; what does not hold at all is not kept.
        cache.put(name(2), Kind::A, looked(1, u32::MAX), now);
        assert!(
            cache.get(&name(2), Kind::A, after(3599)).is_some() && cache.get(&name(2), Kind::A, after(3600)).is_none()
        );
        cache.put(name(3), Kind::A, looked(0, 3000), now);
        assert!(cache.get(&name(3), Kind::A, after(59)).is_some() && cache.get(&name(3), Kind::A, after(60)).is_none());
        cache.put(name(2), Kind::A, looked(1, 0), now);
        assert!(cache.get(&name(2), Kind::A, now).is_none());
        cache.clear();
        assert!(cache.get(&name(1), Kind::A, now).is_none() && cache.bytes == 0);
    }

    #[test]
    fn it_has_limits() {
        let (mut cache, now) = (Cache::default(), Instant::now());
        for n in 0..2 * ENTRIES {
            cache.put(name(n), Kind::A, looked(1, 1000 + n as u32), now);
            assert!(cache.entries.len() <= ENTRIES && cache.bytes <= BYTES);
        }
        // Those that end last are there.
        assert!(
            cache.get(&name(2 * ENTRIES - 1), Kind::A, now).is_some() && cache.get(&name(0), Kind::A, now).is_none()
        );
        for n in 0..200 {
            cache.put(name(n), Kind::Srv, looked(64, 3000), now);
            assert!(cache.bytes <= BYTES);
        }
        // What would take the place of most others is not kept.
        let before = cache.entries.len();
        for records in [BYTES, BYTES / 3 / size_of::<Data>()] {
            cache.put(name(1), Kind::Aaaa, looked(records, 3000), now);
            assert!(cache.get(&name(1), Kind::Aaaa, now).is_none() && cache.entries.len() == before);
        }
        let counted: usize = cache.entries.iter().map(|(key, (_, looked))| size(key, looked)).sum();
        assert_eq!(cache.bytes, counted);
    }
}
