//! Facts of nodes, from one short pod on each GPU node.
//!
//! By default a pod is unprivileged and holds one GPU: it sees what a container sees that has a GPU. On request it looks at the
//! host's own files instead, which are mounted read-only. What a pod saw comes back through its log, in checked pieces ([`chunks`]).
//! A node that cannot be asked, or does not answer, has a reading that says why.

pub mod chunks;
mod pod;
mod room;
mod visit;

use std::collections::BTreeMap;
use std::time::Duration;

use futures::StreamExt;
use serde_json::Value;

use crate::checks::probe;
use crate::cluster::scratch::{Place as Corner, lock_gpus};
use crate::cluster::{Access, Cluster, Place, Query, Scratch};
use crate::error::{Context, Error, Kind, Result};
use crate::facts::{Facts, Reading};
use crate::limits;
use crate::node_facts::room::Free;
use crate::node_facts::visit::Visit;
use crate::pods::PodOptions;
use crate::snapshot::{Node, Snapshot};
use crate::ui::Ui;

/// Where the host's files are in a pod that looks at them.
pub const HOST: &str = "/host";

/// What of the host such a pod is given, read-only. What it reads below `/proc` is the kernel's, and the same in every container.
pub const HOST_PATHS: &[&str] = &["/sys", "/etc/os-release"];

/// What is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// What an unprivileged container sees that has a GPU.
    Container,
    /// The host's own files.
    Host,
}

/// How nodes are asked.
#[derive(Clone, Debug)]
pub struct Options {
    /// What is looked at.
    pub mode: Mode,
    /// An image with `seatrial` on its `PATH`.
    pub image: String,
    /// Nodes at a time.
    pub parallel: usize,
    /// What the user says about our pods; the node selector says which nodes are asked, too.
    pub pods: PodOptions,
    /// How long one pod may take, from its creation to its end.
    pub timeout: Duration,
}

impl Options {
    /// The usual ones.
    pub fn new(image: impl Into<String>) -> Self {
        Self {
            mode: Mode::Container,
            image: image.into(),
            parallel: limits::NODE_FACTS_PARALLEL,
            pods: PodOptions::default(),
            timeout: limits::NODE_FACTS,
        }
    }
}

/// What asking nodes needs, beside the run's corner.
#[must_use]
pub fn access(mode: Mode) -> Vec<Access> {
    let mut accesses = vec![Access::scratch("", "pods"), Access::new("", "pods/log", &["get"], Place::Scratch)];
    if mode == Mode::Container {
        accesses.extend([
            Access::read("", "pods"),
            Access::read("resource.k8s.io", "resourceclaims"),
            Access::scratch("resource.k8s.io", "resourceclaims"),
        ]);
    }
    accesses
}

/// Asks every GPU node of a snapshot. Each of them is in the answer.
///
/// # Errors
/// Only for what concerns all nodes: they could not be read, what holds GPUs could not be read, this run lost its Lease.
pub async fn gather(
    cluster: &Cluster,
    scratch: &Scratch,
    snapshot: &Snapshot,
    options: &Options,
    ui: &Ui,
) -> Result<BTreeMap<String, Reading<Facts>>> {
    let gathered = tokio::select! {
        biased;
        () = scratch.lost() => {
            Err(Error::new(Kind::Conflict, "this run's Lease was taken away: another run or `seatrial cleanup` took it for dead"))
        }
        gathered = gather_all(cluster, scratch, snapshot, options, ui) => gathered,
    };
    ui.clear_live();
    gathered
}

async fn gather_all(
    cluster: &Cluster,
    scratch: &Scratch,
    snapshot: &Snapshot,
    options: &Options,
    ui: &Ui,
) -> Result<BTreeMap<String, Reading<Facts>>> {
    if let Some(reason) = snapshot.nodes.unavailable() {
        return Err(Error::new(Kind::Inconclusive, format!("ask nodes for their facts: nodes could not be read: {reason}")));
    }
    let nodes: Vec<&Node> = snapshot.gpu_nodes().collect();
    // Whoever holds GPUs takes turns with other runs.
    let lock = match options.mode {
        Mode::Host => None,
        Mode::Container => Some(lock(cluster, scratch.place(), ui).await?),
    };
    let answers = ask(cluster, scratch, snapshot, &nodes, options, ui).await;
    if let Some(lock) = lock {
        lock.release(cluster).await?;
    }
    answers
}

async fn ask(
    cluster: &Cluster,
    scratch: &Scratch,
    snapshot: &Snapshot,
    nodes: &[&Node],
    options: &Options,
    ui: &Ui,
) -> Result<BTreeMap<String, Reading<Facts>>> {
    let (free, dra) = free(cluster, snapshot, options.mode).await.context("see which GPUs are free")?;
    let total = nodes.len();
    let asked = nodes.iter().enumerate().map(|(at, node)| {
        let (free, dra) = (&free, dra.as_str());
        async move {
            let reading = match room::judge(node, options, free) {
                Err(reason) => Reading::Unavailable(reason),
                Ok(ask) => {
                    ui.waiting(&format!("the facts of node {} ({} of {total})", node.name, at + 1));
                    visit(Visit { cluster, scratch, options, ui, dra, node: &node.name, ask, name: name(scratch.run(), at) }).await
                }
            };
            (node.name.clone(), reading)
        }
    });
    Ok(futures::stream::iter(asked).buffer_unordered(options.parallel.max(1)).collect().await)
}

async fn visit(visit: Visit<'_>) -> Reading<Facts> {
    match visit.facts().await {
        Ok(facts) => Reading::Value(facts),
        Err(error) => Reading::Unavailable(error.chain()),
    }
}

/// A name of its own for each run, as two may share a namespace.
fn name(run: &str, at: usize) -> String {
    format!("node-facts-{run}-{at}")
}

async fn lock(cluster: &Cluster, place: &Corner, ui: &Ui) -> Result<crate::cluster::lease::HeldLease> {
    lock_gpus(cluster, place, limits::GPU_LOCK, |holder| ui.waiting(&format!("run {holder} to give GPUs back"))).await
}

/// GPUs that nobody holds, and the served version of DRA.
async fn free(cluster: &Cluster, snapshot: &Snapshot, mode: Mode) -> Result<(Free, String)> {
    if mode == Mode::Host {
        return Ok((Free::default(), String::new()));
    }
    let pods = cluster.list("v1", "Pod", &Query::all()).await?;
    let dra = probe::dra_api_version(cluster).await?;
    let claims: Vec<Value> = match &dra {
        Some(version) => cluster.list(version, "ResourceClaim", &Query::all()).await?,
        None => Vec::new(),
    };
    let nodes = snapshot.nodes.value().map(Vec::as_slice).unwrap_or_default();
    let pools = snapshot.pools.value().map(Vec::as_slice).unwrap_or_default();
    Ok((Free::of(nodes, pools, &pods, &claims), dra.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_asks_for_no_more_than_pods_their_logs_and_claims() {
        let names = |mode| access(mode).iter().map(|one| format!("{} {:?}", one.name(), one.place)).collect::<Vec<_>>();
        assert_eq!(names(Mode::Host), ["pods Scratch", "pods/log Scratch"]);
        assert!(names(Mode::Container).contains(&"resourceclaims.resource.k8s.io Scratch".to_owned()));
        assert!(name("20261122-075957-d72923", 4999).len() < 63, "a host name");
    }
}
