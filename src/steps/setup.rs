//! setup: applies what the workflow declares, remembers it for removal, and waits until the cluster has settled.

use std::time::Duration;

use serde_json::json;

use crate::cluster::scratch::{OWNER, ROLE, SETUP};
use crate::cluster::{Access, ObjectRef};
use crate::error::{Error, Kind, Result};
use crate::limits;
use crate::results::{Artifact, Outcome};
use crate::steps::settle::settle;
use crate::steps::{Fact, Step, StepCx, no_gpus, no_tests};

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
        accesses
    },
    gpus: no_gpus,
    tests: no_tests,
    timeout: |inputs| inputs.settle + Duration::from_secs(120),
    run: |cx| Box::pin(run(cx)),
};

async fn run(cx: &StepCx<'_>) -> Result<Outcome> {
    let manifests = &cx.inputs.workflow.manifests;
    let mut applied = Vec::new();
    for manifest in manifests {
        applied.push(apply(cx, manifest).await?);
    }
    let installed = if applied.is_empty() { "nothing to install".to_owned() } else { format!("{} objects applied", applied.len()) };
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
    Ok(outcome)
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
