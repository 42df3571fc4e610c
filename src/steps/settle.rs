//! Waits until the cluster has settled: terminal signals hold, and go on holding for a while.

use std::time::Duration;

use serde_json::Value;

use crate::checks::settled;
use crate::cluster::{Cluster, ObjectRef, Query};
use crate::error::{Error, Kind, Result};
use crate::limits;
use crate::ui::Ui;

/// `apiVersion`, `kind`, and what is wrong with an object, if anything.
type Signal = (&'static str, &'static str, fn(&Value) -> Option<String>);

/// Kinds whose state says whether the cluster has settled, each with what is wrong with one object of it.
const SIGNALS: &[Signal] = &[
    ("v1", "Node", settled::node_problem),
    ("apps/v1", "Deployment", settled::workload_problem),
    ("apps/v1", "DaemonSet", settled::workload_problem),
    ("apps/v1", "StatefulSet", settled::workload_problem),
];

/// Waits until nothing is wrong with any node or workload, and has not been for [`limits::SETTLE_DWELL`]; returns what was looked at.
///
/// # Errors
/// [`Kind::Timeout`] after `limit`, naming what has not settled.
pub(super) async fn settle(cluster: &Cluster, ui: &Ui, limit: Duration) -> Result<Vec<String>> {
    let clock = tokio::time::Instant::now();
    loop {
        let left = limit.saturating_sub(clock.elapsed());
        let quiet = futures::future::try_join_all(SIGNALS.iter().map(|signal| wait_for_quiet(cluster, ui, signal, left)));
        let seen = quiet.await.map_err(|unsettled| unsettled.after(limit))?;
        // All are quiet now; the first that stirs within the dwell starts the waiting again.
        let stirs = SIGNALS.iter().map(|signal| Box::pin(stir(cluster, signal)));
        match tokio::time::timeout(limits::SETTLE_DWELL, futures::future::select_all(stirs)).await {
            Err(_) => return Ok(seen.concat()),
            Ok((Ok(()), _, _)) => {}
            Ok((Err(error), _, _)) if error.kind() == Kind::Timeout => return Ok(seen.concat()),
            Ok((Err(error), _, _)) => return Err(error),
        }
    }
}

/// Why the waiting ended without quiet.
enum Unsettled {
    /// The last problem that was seen.
    Still(String),
    /// It could not be told.
    Trouble(Error),
}

impl Unsettled {
    fn after(self, limit: Duration) -> Error {
        match self {
            Self::Still(problem) => Error::new(Kind::Timeout, format!("not settled after {} s: {problem}", limit.as_secs())),
            Self::Trouble(error) => error,
        }
    }
}

async fn wait_for_quiet(
    cluster: &Cluster,
    ui: &Ui,
    (api_version, kind, problem): &Signal,
    limit: Duration,
) -> std::result::Result<Vec<String>, Unsettled> {
    let mut last = None;
    let (everything, waiting_for) = (Query::all(), format!("every {kind} to settle"));
    let quiet = cluster.wait_until((api_version, kind), &everything, &waiting_for, limit, |objects| {
        last = objects.iter().find_map(|object| problem(object).map(|problem| format!("{}: {problem}", ObjectRef::of(object))));
        match &last {
            Some(problem) => {
                ui.waiting(problem);
                None
            }
            None => Some(objects.iter().map(|object| ObjectRef::of(object).to_string()).collect()),
        }
    });
    quiet.await.map_err(|error| match (error.kind(), last) {
        (Kind::Timeout, Some(problem)) => Unsettled::Still(problem),
        _ => Unsettled::Trouble(error),
    })
}

/// Returns when an object of the kind has a problem.
async fn stir(cluster: &Cluster, (api_version, kind, problem): &Signal) -> Result<()> {
    let limit = limits::SETTLE_DWELL * 2;
    let stirred = |objects: &[&Value]| objects.iter().any(|object| problem(object).is_some()).then_some(());
    cluster.wait_until((api_version, kind), &Query::all(), "the cluster to stay settled", limit, stirred).await
}
