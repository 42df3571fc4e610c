//! How a large transfer looks: a live line on a terminal, elsewhere a line now and then.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::limits;
use crate::ui::{Ui, printable_size};

/// Shows how far bytes on their way have come.
pub struct Transfer {
    ui: Ui,
    what: String,
    /// The shortest time between two looks.
    pause: Duration,
    shown: Mutex<Instant>,
}

impl Transfer {
    /// Shows nothing yet: small things are done before anybody wants to know.
    #[must_use]
    pub fn new(ui: &Ui, what: impl Into<String>) -> Self {
        let pause = if ui.is_live() { limits::PROGRESS_LIVE } else { limits::PROGRESS_LINE };
        Self { ui: ui.clone(), what: what.into(), pause, shown: Mutex::new(Instant::now()) }
    }

    /// Takes note of how far it has come, and shows it if it is time.
    pub fn moved(&self, done: u64, total: u64) {
        if self.is_due(Instant::now()) {
            self.ui.event("transfer", json!({"for": self.what, "bytes": done, "of": total}));
            self.ui.progress(&self.text(done, total));
        }
    }

    fn is_due(&self, now: Instant) -> bool {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        let due = now.saturating_duration_since(*shown) >= self.pause;
        if due {
            *shown = now;
        }
        due
    }

    fn text(&self, done: u64, total: u64) -> String {
        format!("{}: {} of {}", self.what, printable_size(done.min(total)), printable_size(total))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ui::Mode;

    #[test]
    fn it_is_shown_now_and_then_and_not_at_once() {
        let transfer = Transfer::new(&Ui::new(Some(Mode::Human), true), "ghcr.io/a to take the bundle");
        let began = *transfer.shown.lock().expect("nobody panicked");
        let due = |seconds| transfer.is_due(began + Duration::from_secs(seconds));
        assert_eq!([0, 9, 10, 11, 19, 20, 40].map(due), [false, false, true, false, false, true, true]);
        assert_eq!(transfer.text(12 << 20, 50 << 20), "ghcr.io/a to take the bundle: 12 MiB of 50 MiB");
        assert_eq!(transfer.text(60, 50), "ghcr.io/a to take the bundle: 50 bytes of 50 bytes", "what had to go twice is not counted");
    }
}
