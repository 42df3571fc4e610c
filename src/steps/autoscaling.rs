//! Proves that a pool of nodes works: a pending pod gets a node of the right type, and the node goes when the pod has gone.

use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::checks::probe;
use crate::cluster::{ObjectRef, Query};
use crate::error::{Error, Kind, Result};
use crate::limits;
use crate::sim::addons::karpenter::{KARPENTER, Pool, is_ready};
use crate::steps::StepCx;

/// What was seen of a pool.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Proof {
    /// The pool.
    pub(super) pool: String,
    /// The node that was made, with its UID.
    pub(super) node: ObjectRef,
    /// Its type.
    instance_type: String,
    /// Milliseconds until the pod ran on it.
    made_ms: u64,
    /// Milliseconds from the pod's end until it was gone.
    gone_ms: u64,
}

/// Waits until the pools say that they can make nodes.
///
/// # Errors
/// [`Kind::Timeout`] naming what is waited for.
pub(super) async fn ready(cx: &StepCx<'_>, pools: &[Pool]) -> Result<()> {
    let all = |seen: &[&Value]| {
        let one = |pool: &Pool| seen.iter().any(|object| object["metadata"]["name"] == pool.name && is_ready(object));
        pools.iter().all(one).then_some(())
    };
    cx.cluster.wait_until((KARPENTER, "NodePool"), &Query::all(), "the NodePools to be ready", limits::SETUP_NODE, all).await
}

/// Makes a pod that asks for a device of the pool's, waits for a node of its own, ends the pod, and waits for that very node's end.
///
/// # Errors
/// [`Kind::Inconclusive`] if another node or one of the wrong type took the pod; [`Kind::Timeout`] if no node comes or it does not go.
pub(super) async fn prove(cx: &StepCx<'_>, pool: &Pool, device: &str) -> Result<Proof> {
    let before = cx.cluster.list("v1", "Node", &Query::all()).await?;
    let scratch = cx.scratch().await?;
    cx.ui.waiting(&format!("pool {} to make a node", pool.name));
    let began = Instant::now();
    let pod = scratch.create(pod(cx, pool, device)?).await?;
    let seen = on_a_node(cx, &pod, pool, &before).await;
    let made_ms = millis(began);
    // Whatever was seen: it would hold the node.
    let removed = scratch.remove(&pod).await;
    let node = seen?;
    removed?;
    let began = Instant::now();
    cx.ui.waiting(&format!("pool {} to remove its node", pool.name));
    let named = ObjectRef::of(&node);
    gone(cx, &named).await?;
    let instance_type = type_of(&node).to_owned();
    Ok(Proof { pool: pool.name.clone(), node: named, instance_type, made_ms, gone_ms: millis(began) })
}

fn pod(cx: &StepCx<'_>, pool: &Pool, device: &str) -> Result<Value> {
    let resources = json!({"limits": {device: "1"}});
    let mut spec = probe::pod_spec(cx.inputs.vendor()?, &cx.inputs.pods, &cx.inputs.pods.image(probe::IDLE_IMAGE), &[], &resources);
    spec["nodeSelector"]["karpenter.sh/nodepool"] = json!(pool.name);
    let name = format!("seatrial-pool-{}", pool.name);
    Ok(json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}))
}

/// The node that the pod runs on; it is new and of one of the pool's types.
async fn on_a_node(cx: &StepCx<'_>, pod: &ObjectRef, pool: &Pool, before: &[Value]) -> Result<Value> {
    let query = pod.namespace.as_deref().map(Query::within).unwrap_or_default().named(&pod.name);
    let what = format!("pool {}: {pod} to run on a node made for it", pool.name);
    let running = |seen: &[&Value]| {
        let pod = seen.first().filter(|pod| pod["status"]["phase"] == "Running")?;
        pod["spec"]["nodeName"].as_str().map(str::to_owned)
    };
    let name = cx.cluster.wait_until(("v1", "Pod"), &query, &what, limits::SETUP_NODE, running).await?;
    let node = cx.cluster.get("v1", "Node", None, &name).await?;
    let node = node.ok_or_else(|| Error::new(Kind::Inconclusive, format!("node {name}, on which {pod} ran, is gone")))?;
    judge(&node, pool, before).map_err(|why| Error::new(Kind::Inconclusive, format!("pool {}: {why}", pool.name)))?;
    Ok(node)
}

/// What is wrong with the node that a pod of the pool ran on.
fn judge(node: &Value, pool: &Pool, before: &[Value]) -> Result<(), String> {
    let name = node["metadata"]["name"].as_str().unwrap_or_default();
    if before.iter().any(|other| other["metadata"]["uid"] == node["metadata"]["uid"]) {
        return Err(format!("the pod ran on node {name}, which was there before: nothing was made"));
    }
    let found = type_of(node);
    if !pool.instance_types.iter().any(|wanted| wanted == found) {
        return Err(format!("node {name} is of type `{found}`, and the pool has {}", pool.instance_types.join(", ")));
    }
    Ok(())
}

fn type_of(node: &Value) -> &str {
    node["metadata"]["labels"]["node.kubernetes.io/instance-type"].as_str().unwrap_or_default()
}

async fn gone(cx: &StepCx<'_>, node: &ObjectRef) -> Result<()> {
    let uid = node.uid.clone().unwrap_or_default();
    let absent = |seen: &[&Value]| seen.iter().all(|seen| seen["metadata"]["uid"] != uid.as_str()).then_some(());
    let what = format!("{node} to go after its pod has gone");
    cx.cluster.wait_until(("v1", "Node"), &Query::all().named(&node.name), &what, limits::SETUP_NODE, absent).await
}

/// The most that proving pools takes.
pub(super) fn timeout(pools: &[Pool]) -> Duration {
    // Once for them to be ready, and for each a node that comes and one that goes.
    limits::SETUP_NODE * u32::try_from(1 + 2 * pools.len()).unwrap_or(u32::MAX)
}

/// Types of the pools that a running Karpenter does not know.
pub(super) fn unknown_types<'a>(pools: &'a [Pool], known: &[String]) -> Vec<&'a str> {
    let wanted = pools.iter().flat_map(|pool| &pool.instance_types);
    wanted.filter(|name| !known.contains(name)).map(String::as_str).collect()
}

fn millis(began: Instant) -> u64 {
    u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(uid: &str, instance_type: &str) -> Value {
        json!({"metadata": {"name": "n", "uid": uid, "labels": {"node.kubernetes.io/instance-type": instance_type}}})
    }

    #[test]
    fn a_node_that_was_there_and_one_of_another_type_prove_nothing() {
        let pool: Pool =
            serde_json::from_value(json!({"name": "p", "instanceTypes": ["big"], "limits": {"x.com/gpu": "8"}})).expect("is a pool");
        let before = [node("1", "big")];
        assert_eq!(judge(&node("2", "big"), &pool, &before), Ok(()));
        assert!(judge(&node("1", "big"), &pool, &before).expect_err("was there").contains("was there before"));
        assert!(judge(&node("2", "small"), &pool, &before).expect_err("is another").contains("is of type `small`"));
    }
}
