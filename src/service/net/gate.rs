//! How many connections there may be: in all, and of one address.

use crate::core::network;
use crate::service::lock;
use std::collections::HashMap;
use std::future::poll_fn;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};

/// Connections above the most that may be, for a moment: somebody was let in, and who has to go for that is not gone yet.
const SPARE: usize = 16;

/// Counts connections.
#[derive(Debug)]
pub struct Gate {
    counts: Mutex<Counts>,
}

#[derive(Debug)]
struct Counts {
    of: HashMap<IpAddr, usize>,
    all: usize,
    most: usize,
    most_of_one: usize,
    /// Who waits for all to be gone.
    waker: Option<Waker>,
}

impl Gate {
    /// For so many, and so many of one address ([`network`]).
    pub fn new((most, most_of_one): (usize, usize)) -> Arc<Gate> {
        Arc::new(Gate { counts: Mutex::new(Counts { of: HashMap::new(), all: 0, most, most_of_one, waker: None }) })
    }

    /// Other limits for those who come later.
    pub fn configure(&self, limits: (usize, usize)) {
        let mut counts = lock(&self.counts);
        (counts.most, counts.most_of_one) = limits;
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        lock(&self.counts).all
    }

    /// Waits until there are none.
    pub async fn empty(&self) {
        poll_fn(|cx| {
            let mut counts = lock(&self.counts);
            counts.waker = Some(cx.waker().clone());
            if counts.all == 0 { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// One more, if it may be; `make_room` ends another if there are too many. It counts until the pass is dropped.
    pub fn enter(self: &Arc<Gate>, ip: IpAddr, make_room: impl FnOnce(IpAddr) -> bool) -> Option<Pass> {
        let whose = network(ip);
        let mut counts = lock(&self.counts);
        let Counts { of, all, most, most_of_one, .. } = &mut *counts;
        let one = of.entry(whose).or_default();
        let is_full = *all >= *most && (*all >= *most + SPARE || !make_room(whose));
        if *one >= *most_of_one || is_full {
            if *one == 0 {
                of.remove(&whose);
            }
            return None;
        }
        *one += 1;
        *all += 1;
        Some(Pass { gate: self.clone(), whose })
    }
}

/// One that counts until this is dropped.
pub struct Pass {
    gate: Arc<Gate>,
    whose: IpAddr,
}

impl Drop for Pass {
    fn drop(&mut self) {
        let mut counts = lock(&self.gate.counts);
        counts.all -= 1;
        if let Some(one) = counts.of.get_mut(&self.whose) {
            *one -= 1;
            if *one == 0 {
                counts.of.remove(&self.whose);
            }
        }
        if counts.all == 0
            && let Some(waker) = counts.waker.take()
        {
            waker.wake();
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_counted_by_address_and_in_all() {
        let gate = Gate::new((3, 2));
        let ip = |s: &str| s.parse::<IpAddr>().unwrap();
        let enter = |address: &str| gate.enter(ip(address), |_| false);
        let first = enter("fd00::1").unwrap();
        let _second = enter("fd00::2").unwrap();
        assert!(enter("fd00::3").is_none(), "the same network");
        let _third = enter("192.0.2.1").unwrap();
        assert!(enter("192.0.2.2").is_none(), "three in all");
        let more: Vec<_> = (2..100).filter_map(|n| gate.enter(ip(&format!("192.0.2.{n}")), |_| true)).collect();
        assert_eq!(more.len(), SPARE, "others are about to go");
        drop(more);
        drop(first);
        assert_eq!(gate.count(), 2);
        assert!(enter("fd00::3").is_some());
        assert_eq!(lock(&gate.counts).of.len(), 2);
    }
}
