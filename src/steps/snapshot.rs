//! snapshot: what is there, read whole before anything is changed.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::cluster::Access;
use crate::constraints;
use crate::digest::Digest;
use crate::error::Result;
use crate::results::{ErrorReason, Outcome, Verdict};
use crate::snapshot::{self, Reading, Snapshot};
use crate::steps::tests::{finish, sum_up};
use crate::steps::{Fact, Inputs, Selected, Step, StepCx, no_gpus};
use crate::workflow::StepSpec;
use crate::{limits, node_facts};

pub(super) static STEP: Step = Step {
    id: "snapshot",
    title: "read the whole cluster, and judge the recipe's constraints by what was read",
    why: "first, so that it shows the cluster as it was found; where constraints do not hold, nothing is created",
    needs: &[],
    provides: Some(Fact::Snapshot),
    cluster: true,
    access,
    gpus: no_gpus,
    tests: |inputs| {
        let constraints = &inputs.recipe.recipe.spec.constraints;
        let one = |id| Selected { id, version: constraints::VERSION, phase: "readiness" };
        Ok(constraints::ids(constraints).into_iter().map(one).collect())
    },
    timeout,
    run: |cx| Box::pin(run(cx)),
};

/// Rounds of pods that are waited for at most: 320 GPU nodes, at 16 at a time.
const ROUNDS: u32 = 20;

fn access(inputs: &Inputs, _: &StepSpec) -> Vec<Access> {
    let mut accesses = snapshot::collect::READS.to_vec();
    if let Some(options) = &inputs.node_facts {
        accesses.extend(node_facts::access(options.mode));
    }
    accesses
}

fn timeout(inputs: &Inputs) -> Duration {
    let asking = inputs.node_facts.as_ref().map(|options| limits::GPU_LOCK + options.timeout * ROUNDS);
    Duration::from_secs(180) + asking.unwrap_or_default()
}

async fn run(cx: &StepCx<'_>) -> Result<Outcome> {
    cx.ui.waiting("the API server's lists of nodes, slices, workloads and definitions");
    let snapshot = match &cx.inputs.given {
        Some(given) => given.clone(),
        None => take(cx).await?,
    };
    let mut outcome = judge(&snapshot);
    outcome.message = format!("{} · sha256:{}…", outcome.message, Digest::of_json(&snapshot)?.short());
    let judged = constraints::judge_all(&cx.inputs.recipe.recipe.spec.constraints, &snapshot, &cx.spec.id)?;
    cx.sink.snapshot(snapshot);
    if judged.is_empty() || outcome.verdict != Verdict::Pass {
        return Ok(outcome);
    }
    let readiness = sum_up(&judged, "the recipe has no constraints");
    for result in judged {
        finish(cx, result);
    }
    let message = format!("{} · constraints: {}", outcome.message, readiness.message);
    // What a recipe only advises stops nothing.
    let blocks = !matches!(readiness.verdict, Verdict::Pass | Verdict::Skip(_));
    Ok(Outcome { message, ..if blocks { readiness } else { outcome } })
}

/// A snapshot of now, with the facts of nodes where they were asked for.
async fn take(cx: &StepCx<'_>) -> Result<Snapshot> {
    let mut snapshot = snapshot::collect(cx.cluster).await?;
    if let Some(options) = &cx.inputs.node_facts {
        let gathered = node_facts::gather(cx.cluster, cx.scratch().await?, &snapshot, options, cx.ui).await?;
        for (node, reason) in gathered.iter().filter_map(|(node, reading)| Some((node, reading.unavailable()?))) {
            cx.ui.warn(format!("node {node} has no facts: {reason}"));
        }
        node_facts::put(&mut snapshot, gathered);
    }
    Ok(snapshot)
}

/// A snapshot is a reading, not a verdict on the cluster; but without nodes there is nothing to go on with.
fn judge(snapshot: &Snapshot) -> Outcome {
    let nodes = match (&snapshot.nodes.value(), snapshot.nodes.unavailable()) {
        (Some(nodes), _) if !nodes.is_empty() => *nodes,
        (_, Some(reason)) => return Outcome::error(ErrorReason::Denied, format!("nodes could not be read: {reason}")),
        _ => return Outcome::error(ErrorReason::NoSubject, "the cluster has no nodes"),
    };
    let gaps = [
        ("ResourceSlices", snapshot.pools.unavailable()),
        ("DeviceClasses", snapshot.device_classes.unavailable()),
        ("workloads", snapshot.workloads.unavailable()),
        ("CustomResourceDefinitions", snapshot.crds.unavailable()),
        ("images", snapshot.images.as_ref().and_then(Reading::unavailable)),
        ("ClusterPolicies", snapshot.policies.as_ref().and_then(Reading::unavailable)),
    ];
    let missing: Vec<&str> = gaps.iter().filter(|(_, reason)| reason.is_some()).map(|(name, _)| *name).collect();
    let gap = if missing.is_empty() { String::new() } else { format!(" (unavailable: {})", missing.join(", ")) };
    let names = nodes.iter().map(|node| node.name.clone()).collect();
    Outcome::pass(format!("{} nodes, {}{gap}", nodes.len(), gpu_words(snapshot))).seen("nodes", names, nodes.len()).asserted(1, 1)
}

/// GPUs in words: `32 × NVIDIA-H100-80GB-HBM3 (16 device plugin, 16 DRA)`.
fn gpu_words(snapshot: &Snapshot) -> String {
    let totals = snapshot.gpus();
    let total = totals.device_plugin + totals.dra;
    if total == 0 {
        return "no GPUs".to_owned();
    }
    let mut products: BTreeMap<&str, u64> = BTreeMap::new();
    for node in snapshot.gpu_nodes() {
        *products.entry(node.gpus.product.as_deref().unwrap_or("GPU")).or_default() += node.gpus.usable();
    }
    let products: Vec<String> = products.iter().map(|(product, count)| format!("{count} × {product}")).collect();
    let dra = if snapshot.pools.value().is_some() { totals.dra.to_string() } else { "unknown".to_owned() };
    format!("{} ({} device plugin, {dra} DRA)", products.join(", "), totals.device_plugin)
}
