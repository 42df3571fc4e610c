//! Whether a snapshot is of the cluster that is being looked at.

use std::collections::BTreeSet;

use crate::error::{Error, Result};
use crate::snapshot::{Hardware, Snapshot};
use crate::ui::printable;

/// Makes sure that a snapshot is of the cluster that was just looked at: by the cluster's id, or, where a snapshot of another tool
/// has none, by its nodes.
///
/// # Errors
/// A usage error if it is of another cluster, or if that cannot be told.
pub fn same_cluster(given: &Snapshot, now: &Snapshot) -> Result<()> {
    let hint = "take a snapshot of this cluster, or judge the constraints alone with --no-cluster";
    if (given.cluster.hardware, now.cluster.hardware) == (Hardware::Real, Hardware::Simulated) {
        return Err(Error::usage("the snapshot shows real hardware, and this cluster is simulated").hint(hint));
    }
    if let (Some(given), Some(now)) = (given.cluster.id.value(), now.cluster.id.value()) {
        if given == now {
            return Ok(());
        }
        return Err(Error::usage(format!("the snapshot is of cluster {}, and this is cluster {now}", printable(given))).hint(hint));
    }
    let names =
        |snapshot: &Snapshot| -> BTreeSet<String> { snapshot.nodes.value().into_iter().flatten().map(|node| node.name.clone()).collect() };
    let (mut then, now) = (names(given), names(now));
    if let Some(imported) = &given.imported {
        then.extend(imported.metadata.get("source-node").cloned());
        then.extend(imported.held("label").iter().flat_map(|held| &held.nodes).map(|name| (*name).to_owned()));
    }
    if then.is_empty() {
        return Err(Error::usage("the snapshot does not say of which cluster it is: it has no cluster id and names no node").hint(hint));
    }
    match then.iter().find(|name| !now.contains(*name)) {
        None => Ok(()),
        Some(name) => {
            Err(Error::usage(format!("the snapshot is of another cluster: it has node {}, and this one does not", printable(name)))
                .hint(hint))
        }
    }
}
