//! The run's corner of the cluster, opened only when there is something to create.

use std::sync::Arc;

use tokio::sync::{Notify, OnceCell};
use tokio_util::task::TaskTracker;

use crate::cluster::{Cluster, Scratch, scratch};
use crate::error::{Error, Result};

/// The run's corner of the cluster, opened when the first step wants to create something.
pub struct Corner {
    place: scratch::Place,
    /// An earlier process of the run may have left something there.
    used: bool,
    opened: Arc<OnceCell<Scratch>>,
    /// What opens it: a run that is cut off meanwhile waits for that, as what is half made would be left behind.
    openers: TaskTracker,
    opening: Notify,
}

impl Corner {
    /// A corner that is not opened yet.
    #[must_use]
    pub fn new(place: scratch::Place) -> Self {
        Self { place, used: false, opened: Arc::default(), openers: TaskTracker::new(), opening: Notify::new() }
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
        let (cell, cluster, place) = (Arc::clone(&self.opened), cluster.clone(), self.place.clone());
        let opener = self.openers.spawn(async move { cell.get_or_try_init(|| Scratch::open(&cluster, place)).await.map(drop) });
        opener.await.map_err(|error| Error::internal("open the run's corner of the cluster").because(error))??;
        self.opening.notify_waiters();
        self.opened.get().ok_or_else(|| Error::internal("the run's corner of the cluster is not open"))
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
        self.openers.close();
        self.openers.wait().await;
        if self.place.keep {
            return Ok(());
        }
        match Arc::into_inner(self.opened).and_then(OnceCell::into_inner) {
            Some(scratch) => scratch.close().await,
            None if self.used => scratch::remove_run(cluster, &self.place).await,
            None => Ok(()),
        }
    }
}
