//! setup: applies what the workflow declares, remembers it for removal, proves what can be proved of it, and waits until the cluster
//! has settled.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use crate::cluster::scratch::{OWNER, ROLE, SETUP};
use crate::cluster::{Access, ObjectRef};
use crate::error::{Error, Kind, Result};
use crate::limits;
use crate::results::{Artifact, Outcome};
use crate::sim::addons::karpenter::KARPENTER;
use crate::sim::addons::{self, karpenter};
use crate::sim::mark;
use crate::steps::autoscaling;
use crate::steps::settle::settle;
use crate::steps::{Fact, Step, StepCx, no_gpus, no_tests};
use crate::workflow::Karpenter;

pub(super) static STEP: Step = Step {
    id: "setup",
    title: "apply what the workflow declares, wait until the cluster has settled",
    why: "before health and conformance, which look at what it installs",
    needs: &[Fact::Snapshot],
    provides: Some(Fact::Installed),
    cluster: true,
    access: |inputs, _| {
        let mut accesses = vec![
            Access::read("", "nodes"),
            Access::read("apps", "deployments"),
            Access::read("apps", "daemonsets"),
            Access::read("apps", "statefulsets"),
        ];
        let applied = &["create", "delete", "get", "list", "patch", "watch"];
        accesses.extend(
            inputs.workflow.manifests.iter().map(ObjectRef::of).map(|object| Access::of_kind(&object.api_version, &object.kind, applied)),
        );
        if inputs.workflow.workflow.karpenter().is_some() {
            accesses.extend([Access::read("", "configmaps"), Access::read_kind(KARPENTER, "NodePool"), Access::scratch("", "pods")]);
        }
        accesses
    },
    gpus: no_gpus,
    tests: no_tests,
    timeout: |inputs| {
        let pools = inputs.workflow.workflow.karpenter().map(|karpenter| karpenter.node_pools.as_slice()).unwrap_or_default();
        let proved = if pools.is_empty() { Duration::ZERO } else { limits::SIM_UP + autoscaling::timeout(pools) };
        inputs.settle + Duration::from_secs(120) + proved
    },
    run: |cx| Box::pin(run(cx)),
};

async fn run(cx: &StepCx<'_>) -> Result<Outcome> {
    let manifests = &cx.inputs.workflow.manifests;
    let karpenter = cx.inputs.workflow.workflow.karpenter();
    if let Some(karpenter) = karpenter {
        start(cx, karpenter).await?;
    }
    let mut applied = Vec::new();
    for manifest in manifests {
        applied.push(apply(cx, manifest).await?);
    }
    let mut installed = if applied.is_empty() { "nothing to install".to_owned() } else { format!("{} objects applied", applied.len()) };
    let proofs = prove(cx, karpenter).await?;
    if !proofs.is_empty() {
        let pools: Vec<&str> = proofs.iter().map(|proof| proof.pool.as_str()).collect();
        installed.push_str(&format!(", pools that made and removed a node: {}", pools.join(", ")));
    }
    cx.ui.waiting("the cluster to settle");
    let settled = settle(cx.cluster, cx.ui, cx.inputs.settle).await;
    let artifact = Artifact { name: "objects of set-up".to_owned(), command: None, data: serde_json::json!(applied) };
    let mut outcome = match settled {
        Ok(seen) => {
            let count = seen.len();
            Outcome::pass(format!("{installed}, settled for {} s", limits::SETTLE_DWELL.as_secs()))
                .seen("objects", seen, count)
                .asserted(count, count)
        }
        // Not a verdict on the cluster: health and conformance say what is wrong with it.
        Err(error) => Outcome::from(error.context(installed)),
    };
    outcome.artifacts.push(artifact);
    if !proofs.is_empty() {
        outcome.artifacts.push(Artifact { name: "nodes that pools made".to_owned(), command: None, data: json!(proofs) });
    }
    Ok(outcome)
}

/// Starts Karpenter beside the simulated cluster, if it does not run there.
async fn start(cx: &StepCx<'_>, karpenter: &Karpenter) -> Result<()> {
    let place = mark::home_of(cx.cluster).await?.addons();
    let settings = addons::Settings {
        instance_types: Some(karpenter.instance_types.clone()).filter(|types| !types.is_empty()),
        // Their removal at the end is the run's, like that of all that set-up applies.
        pools: Some(Vec::new()),
        run: Some(cx.scratch().await?.run().to_owned()),
    };
    let deadline = Instant::now() + limits::SIM_UP;
    let started = addons::ensure(&place, "karpenter", settings, karpenter.listen_on_all_interfaces, deadline, cx.ui).await?;
    if started {
        cx.ui.line("   Karpenter was not there: started beside the simulated cluster, and removed at the end");
        return Ok(());
    }
    let known = karpenter::known_types(&place)?;
    match autoscaling::unknown_types(&karpenter.node_pools, &known).first() {
        None => Ok(()),
        Some(unknown) => Err(Error::new(Kind::Conflict, format!("Karpenter runs in this cluster already and cannot make `{unknown}`"))
            .hint(format!("use the types that it knows: {}; or start the cluster without it", known.join(", ")))),
    }
}

/// Sees each pool with devices make a node and remove it; nothing where nothing may be created.
async fn prove(cx: &StepCx<'_>, karpenter: Option<&Karpenter>) -> Result<Vec<autoscaling::Proof>> {
    let Some(karpenter) = karpenter.filter(|_| cx.inputs.behavioral) else { return Ok(Vec::new()) };
    autoscaling::ready(cx, &karpenter.node_pools).await?;
    let mut proofs = Vec::new();
    for pool in &karpenter.node_pools {
        if let Some(device) = pool.device() {
            proofs.push(autoscaling::prove(cx, pool, device).await?);
        }
    }
    Ok(proofs)
}

/// Applies one object. One that was there before is left as it is and refused: we would not know how to put it back.
async fn apply(cx: &StepCx<'_>, manifest: &serde_json::Value) -> Result<ObjectRef> {
    let scratch = cx.scratch().await?;
    let named = ObjectRef::of(manifest);
    cx.ui.waiting(&format!("{named} to be applied"));
    // A kind whose definition this very set-up installs may take a moment to be served.
    let found = cx.cluster.get(&named.api_version, &named.kind, named.namespace.as_deref(), &named.name).await;
    let there = match found {
        Ok(there) => there,
        Err(error) if error.kind() == Kind::NotFound => {
            cx.cluster.wait_served(&named.api_version, &named.kind).await?;
            None
        }
        Err(error) => return Err(error),
    };
    let ours = |object: &serde_json::Value| object["metadata"]["labels"][crate::cluster::scratch::RUN] == scratch.run();
    if there.as_ref().is_some_and(|object| !ours(object)) {
        return Err(Error::new(Kind::Conflict, format!("set-up wants to apply {named}, which exists already"))
            .hint("remove it, or take it out of the workflow's manifests: set-up never changes what it did not make"));
    }
    let namespaced = cx.cluster.is_namespaced(&named.api_version, &named.kind).await?;
    let mut owned = scratch.own(manifest.clone(), namespaced);
    owned["metadata"]["labels"][ROLE] = json!(SETUP);
    let object = cx.cluster.apply(&owned, OWNER, false).await?;
    Ok(ObjectRef::of(&object))
}
