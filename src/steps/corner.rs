//! The run's corner of the cluster, opened only when there is something to create.

use tokio::sync::{Notify, OnceCell};

use crate::cluster::{Cluster, Scratch, scratch};
use crate::error::Result;

/// The run's corner of the cluster, opened when the first step wants to create something.
pub struct Corner {
    place: scratch::Place,
    /// An earlier process of the run may have left something there.
    used: bool,
    opened: OnceCell<Scratch>,
    opening: Notify,
}

impl Corner {
    /// A corner that is not opened yet.
    #[must_use]
    pub fn new(place: scratch::Place) -> Self {
        Self { place, used: false, opened: OnceCell::new(), opening: Notify::new() }
    }

    /// The same for a run that goes on: what its earlier process left is removed at the end, even if nothing more is created.
    #[must_use]
    pub fn used(self, used: bool) -> Self {
        Self { used, ..self }
    }

    /// The corner, opened now if it was not.
    ///
    /// # Errors
    /// As [`Scratch::open`].
    pub async fn open(&self, cluster: &Cluster) -> Result<&Scratch> {
        let scratch = self.opened.get_or_try_init(|| Scratch::open(cluster, self.place.clone())).await?;
        self.opening.notify_waiters();
        Ok(scratch)
    }

    /// Where it is.
    #[must_use]
    pub fn place(&self) -> &scratch::Place {
        &self.place
    }

    /// Resolves when someone else took the run for dead.
    pub async fn lost(&self) {
        loop {
            let opening = self.opening.notified();
            if let Some(scratch) = self.opened.get() {
                return scratch.lost().await;
            }
            opening.await;
        }
    }

    /// Removes what was created, by this process or an earlier one of the run.
    ///
    /// # Errors
    /// As [`Scratch::close`].
    pub async fn close(self, cluster: &Cluster) -> Result<()> {
        if self.place.keep {
            return Ok(());
        }
        match self.opened.into_inner() {
            Some(scratch) => scratch.close().await,
            None if self.used => scratch::remove_run(cluster, &self.place).await,
            None => Ok(()),
        }
    }
}
