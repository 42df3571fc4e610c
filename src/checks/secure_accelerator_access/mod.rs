//! A container sees the GPUs that it was given, and no others.

mod judge;
mod trial;

use std::time::Duration;

use crate::checks::{Check, Cx, Fidelity, Phase, no_more, probe};
use crate::cluster::{Access, Place, Query};
use crate::error::Result;
use crate::results::{ErrorReason, Outcome};
use crate::snapshot::{Node, Pool, nodes};

use trial::{Mode, Trial};

pub(super) static CHECK: Check = Check {
    id: "secure-accelerator-access",
    version: 1,
    title: "A container sees the GPUs that it was given, and no others",
    requirement: Some("secure_accelerator_access"),
    phase: Phase::Conformance,
    gpus: 2,
    access: &[
        Access::read("", "nodes"),
        Access::read("", "pods"),
        Access::read("", "events"),
        Access::read("resource.k8s.io", "resourceslices"),
        Access::read("resource.k8s.io", "resourceclaims"),
        Access::scratch("", "pods"),
        Access::new("", "pods/log", &["get"], Place::Scratch),
        Access::scratch("resource.k8s.io", "resourceclaims"),
    ],
    reads: no_more,
    timeout: Duration::from_secs(900),
    fidelity: Fidelity::Node,
    behavioural: true,
    docs: "\
# What it checks
On one node for each way in which GPUs are had there (extended resource, ResourceClaim), by what containers see in /dev while they all run: two containers that
were each given one GPU see exactly one, and not the same one (parts of it, where GPUs are cut up; not compared where the node says that GPUs are shared). A
container beside one of them, a pod without GPUs, and one that sets NVIDIA_VISIBLE_DEVICES=all (and AMD's) see none. A pod that mounts the host's /dev is
refused, or cannot open a device there. With DRA also: each claim holds one device, and a claim with admin access is refused in a namespace without the label.
Of several nodes, the one with most free GPUs is looked at; no node with a GPU to be had is an error. The image is busybox: --image-mirror puts another
one with a shell in its place.

# Why it matters
CNCF AI conformance requires that access to accelerators goes through the resource framework alone. A runtime that hands GPUs to whoever sets a variable
gives every pod every tenant's memory.

# How to fix it
Sees without being given: the container toolkit's `accept-nvidia-visible-devices-envvar-when-unprivileged` and a runtime that adds devices by default. Sees too
many or the same: the device plugin or DRA driver on that node.",
    run: |cx| Box::pin(run(cx)),
};

async fn run(cx: &Cx<'_>) -> Result<Outcome> {
    let pools = probe::dra_pools(&cx.cluster).await?;
    let everything = Query::all();
    let objects = cx.cluster.list("v1", "Node", &everything).await?;
    let all = nodes::read(&objects, Some(&pools));
    let own: Vec<Node> = all.into_iter().filter(|node| node.gpus.any() && node.gpus.vendor.as_ref() == Some(&cx.vendor.name)).collect();
    let usable: Vec<Node> = own.iter().filter(|node| can_run(node, cx)).cloned().collect();
    let names: Vec<String> = usable.iter().map(|node| node.name.clone()).collect();
    let offered: u64 = usable.iter().map(|node| node.gpus.usable()).sum();
    if offered == 0 {
        let message =
            format!("of {} nodes with GPUs of {}, none is ready, schedulable, runs containers and offers a GPU", own.len(), cx.vendor.name);
        return Ok(Outcome::error(ErrorReason::NoSubject, message).fix("look at the device plugin and the DRA driver; uncordon a node"));
    }
    let Some(scratch) = cx.scratch else {
        let message = format!("{offered} GPUs are offered on {} nodes", usable.len());
        let exist = usable.len();
        return Ok(Outcome::pass(message).seen("nodes", names, exist).asserted(exist, exist));
    };
    let dra = probe::dra_api_version(&cx.cluster).await?;
    let pods = cx.cluster.list("v1", "Pod", &everything).await?;
    let claims = match &dra {
        Some(version) => cx.cluster.list(version, "ResourceClaim", &everything).await?,
        None => Vec::new(),
    };
    let by_resource = probe::free_gpus(&usable, &pods, cx.vendor);
    let by_claim = |node: &Node| {
        let local: Vec<Pool> = pools.iter().filter(|pool| pool.node.as_ref() == Some(&node.name)).cloned().collect();
        probe::free_devices(&local, &claims, cx.vendor).len() as u64
    };
    let most = |free: &dyn Fn(&Node) -> u64| {
        let counted = usable.iter().map(|node| (free(node), node));
        counted.max_by_key(|(free, _)| *free).filter(|(free, _)| *free > 0)
    };
    let mut places = Vec::new();
    if let Some((free, node)) = most(&|node| by_resource.get(&node.name).copied().unwrap_or(0)) {
        places.push((Mode::Resource, node, free));
    }
    if let (Some(version), Some((free, node))) = (dra, most(&by_claim)) {
        places.push((Mode::Claim(version), node, free));
    }
    if places.is_empty() {
        return Ok(Outcome::error(ErrorReason::Busy, format!("all {offered} GPUs are held")).fix("run again when a GPU is free"));
    }
    let mut seen = Vec::new();
    for (mode, node, free) in places {
        // One GPU left of several is not enough to compare tenants, and no reason to pass without.
        if free < 2 && node.gpus.usable() >= 2 {
            let message = format!("node {}: 1 of {} GPUs is free, two are needed to compare tenants", node.name, node.gpus.usable());
            return Ok(Outcome::error(ErrorReason::Busy, message).fix("run again when two GPUs are free"));
        }
        match (Trial { cx, scratch, node, mode, tenants: free.min(2) }).run().await? {
            Ok(trial) => seen.push(trial),
            Err(stopped) => return Ok(stopped.artifact("events", None, probe::events(&cx.cluster, &scratch.namespace()).await)),
        }
    }
    let table = seen.iter().flat_map(|trial| {
        trial.tenants.iter().chain(&trial.others).map(|(name, paths)| (format!("{name} ({})", trial.place), paths.clone()))
    });
    let table: std::collections::BTreeMap<_, _> = table.collect();
    let outcome = judge::judge(&seen, &cx.vendor.devices);
    Ok(outcome.artifact("devices that each container saw", Some("kubectl exec POD -c CONTAINER -- ls -l /dev"), serde_json::json!(table)))
}

/// True if our pods can be placed on the node and containers run there.
fn can_run(node: &Node, cx: &Cx<'_>) -> bool {
    let ready = node.conditions.get("Ready").is_some_and(|status| status == "True");
    let selected = cx.pods.node_selector.iter().all(|(key, value)| node.labels.get(key) == Some(value));
    ready && selected && !node.unschedulable && node.runs_containers()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits;

    #[test]
    fn the_waits_of_both_trials_fit_into_the_timeout() {
        // Four pods, their words, and the removal of pods and claims, for each way of having GPUs.
        let one = limits::ERRAND_RUNNING * 4 + limits::ERRAND_WORDS * 2 + limits::CLEANUP;
        assert!(one * 2 < CHECK.timeout, "To fix: raise the timeout above {:?}", one * 2);
    }
}
