//! Tries again what failed in a way that may pass: growing pauses with jitter, and never before the other side asks us back.

use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};

use crate::error::{Error, Result};
use crate::limits;

/// An error, and whether trying again may help.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) error: Error,
    transient: bool,
    /// When the other side asks us to come back.
    after: Option<Duration>,
}

impl Failure {
    /// Trouble that may pass.
    pub(crate) fn transient(error: Error) -> Self {
        Self { error, transient: true, after: None }
    }

    /// The same, with the time before which nobody need ask again.
    pub(crate) fn after(self, after: Option<Duration>) -> Self {
        Self { after, ..self }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self { error, transient: false, after: None }
    }
}

/// Tries something until it succeeds, fails for good, or so many tries are used up, the first included.
pub(crate) async fn retry<T, Tried: Future<Output = Result<T, Failure>>>(tries: usize, attempt: impl FnMut() -> Tried) -> Result<T> {
    let pauses = ExponentialBuilder::new()
        .with_min_delay(limits::BACKOFF_MIN)
        .with_max_delay(limits::BACKOFF_MAX)
        .with_max_times(tries.saturating_sub(1))
        .with_jitter();
    attempt
        .retry(pauses)
        .when(|failure| failure.transient)
        .adjust(|failure, pause| pause.map(|pause| failure.after.unwrap_or(pause).max(pause)))
        .notify(|failure, pause| tracing::debug!(?pause, "try again: {}", failure.error.chain()))
        .await
        .map_err(|failure| failure.error)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::error::Kind;

    async fn tried(tries: usize, fails: usize, failure: impl Fn() -> Failure) -> (usize, bool) {
        let seen = Cell::new(0);
        let attempt = || {
            seen.set(seen.get() + 1);
            let ended = if seen.get() <= fails { Err(failure()) } else { Ok(()) };
            async move { ended }
        };
        let ended = retry(tries, attempt).await;
        (seen.get(), ended.is_ok())
    }

    #[tokio::test]
    async fn only_what_may_pass_is_tried_again_and_not_for_ever_nor_too_early() {
        let passing = || Failure::transient(Error::new(Kind::Unavailable, "503"));
        assert_eq!(tried(4, 2, passing).await, (3, true));
        assert_eq!(tried(4, 9, passing).await, (4, false));
        assert_eq!(tried(4, 9, || Error::usage("404").into()).await, (1, false));
        let began = std::time::Instant::now();
        assert_eq!(tried(4, 1, || passing().after(Some(Duration::from_millis(900)))).await, (2, true));
        assert!(began.elapsed() >= Duration::from_millis(900), "{:?}", began.elapsed());
    }
}
