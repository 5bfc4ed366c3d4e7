//! A lock for what is held for microseconds, thousands of times a second, by threads that may be more than there are processors. Whoever
//! comes takes it if it is free, as with [`std::sync::Mutex`]: nothing waits for a thread to wake up. But a thread that has missed it for
//! [`PATIENCE`] is the next to have it: it could miss it each time it is woken, for as long as others are busy.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

/// How long others may come first.
const PATIENCE: Duration = Duration::from_micros(500);
/// How often a thread looks before it lets others have its processor.
const LOOKS: u32 = 64;

/// The lock.
#[derive(Debug, Default)]
pub(super) struct Patient<T> {
    value: Mutex<T>,
    /// Somebody has missed it for too long: it is for them.
    missed: AtomicBool,
    /// Held by that one; others who have missed it for too long wait here.
    next: Mutex<()>,
}

impl<T> Patient<T> {
    pub(super) fn new(value: T) -> Patient<T> {
        Patient { value: Mutex::new(value), missed: AtomicBool::new(false), next: Mutex::new(()) }
    }

    /// Waits until it is free. A panic elsewhere does not take the value with it.
    pub(super) fn lock(&self) -> MutexGuard<'_, T> {
        if let Some(value) = self.try_lock() {
            return value;
        }
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            for _ in 0..LOOKS {
                std::hint::spin_loop();
                if let Some(value) = self.try_lock() {
                    return value;
                }
            }
            // Whoever has it may wait for this very processor.
            std::thread::yield_now();
        }
        let _next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        self.missed.store(true, Ordering::Relaxed);
        let value = self.value.lock().unwrap_or_else(PoisonError::into_inner);
        self.missed.store(false, Ordering::Relaxed);
        value
    }

    fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        if self.missed.load(Ordering::Relaxed) {
            return None;
        }
        match self.value.try_lock() {
            Ok(value) => Some(value),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn one_at_a_time() {
        let lock = Arc::new(Patient::new(0));
        let threads: Vec<_> = (0..8)
            .map(|_| {
                let lock = lock.clone();
                std::thread::spawn(move || (0..10_000).for_each(|_| *lock.lock() += 1))
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(*lock.lock(), 80_000);
    }

    /// Nobody takes it before one who has missed it, though it is free.
    #[test]
    fn who_has_missed_it_is_next() {
        let lock = Patient::new(());
        lock.missed.store(true, Ordering::Relaxed);
        assert!(lock.try_lock().is_none());
        // It is the next itself, after a while.
        drop(lock.lock());
        assert!(lock.try_lock().is_some());
    }
}
