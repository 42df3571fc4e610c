//! How many bytes of the blobs on their way have gone: whoever waits may watch.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// Bytes that have gone, and bytes that there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moved {
    /// Bytes that have gone, or were there already.
    pub done: u64,
    /// All bytes that are known of.
    pub total: u64,
}

struct Watched {
    done: AtomicU64,
    total: AtomicU64,
    watcher: Box<dyn Fn(Moved) + Send + Sync>,
}

/// Counts for somebody who watches, or for nobody; copies share it.
#[derive(Clone, Default)]
pub struct Meter(Option<Arc<Watched>>);

impl Meter {
    /// Tells a watcher of every piece that has gone.
    #[must_use]
    pub fn new(watcher: impl Fn(Moved) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(Watched { done: AtomicU64::new(0), total: AtomicU64::new(0), watcher: Box::new(watcher) })))
    }

    /// Says that so many bytes are to go.
    pub fn expect(&self, bytes: u64) {
        if let Some(watched) = &self.0 {
            watched.total.fetch_add(bytes, Ordering::Relaxed);
            watched.tell();
        }
    }

    /// Says that bytes are there that need not go.
    pub fn spare(&self, bytes: u64) {
        self.count().add(bytes);
    }

    /// A count of one blob.
    pub(super) fn count(&self) -> Count {
        Count { watched: self.0.clone(), gone: Arc::default(), moved: Arc::new(Mutex::new(Instant::now())) }
    }
}

impl Watched {
    fn tell(&self) {
        (self.watcher)(Moved { done: self.done.load(Ordering::Relaxed), total: self.total.load(Ordering::Relaxed) });
    }
}

/// The bytes of one blob that have gone, and when the last of them went; copies share it.
#[derive(Clone)]
pub(super) struct Count {
    watched: Option<Arc<Watched>>,
    gone: Arc<AtomicU64>,
    moved: Arc<Mutex<Instant>>,
}

impl Count {
    /// Says that bytes have gone.
    pub(super) fn add(&self, bytes: u64) {
        *self.moved.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        self.gone.fetch_add(bytes, Ordering::Relaxed);
        if let Some(watched) = &self.watched {
            watched.done.fetch_add(bytes, Ordering::Relaxed);
            watched.tell();
        }
    }

    /// Takes back what was counted: it has to go again.
    pub(super) fn restart(&self) {
        let gone = self.gone.swap(0, Ordering::Relaxed);
        if let Some(watched) = self.watched.as_ref().filter(|_| gone > 0) {
            watched.done.fetch_sub(gone, Ordering::Relaxed);
            watched.tell();
        }
    }

    /// When the last bytes went.
    pub(super) fn moved(&self) -> Instant {
        *self.moved.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Meter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Meter")
    }
}

/// It is no setting: options that agree in everything else are the same.
impl PartialEq for Meter {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Meter {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_to_go_again_is_not_counted_twice() {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let told = seen.clone();
        let meter = Meter::new(move |moved| told.lock().expect("nobody panicked").push((moved.done, moved.total)));
        meter.expect(10);
        let (first, second) = (meter.count(), meter.count());
        first.add(4);
        second.add(3);
        first.restart();
        first.add(6);
        meter.spare(1);
        assert_eq!(*seen.lock().expect("nobody panicked"), [(0, 10), (4, 10), (7, 10), (3, 10), (9, 10), (10, 10)]);
    }
}
