//! Applies a cluster description to a running cluster, and waits until its nodes and platform workloads are ready.

use std::collections::BTreeSet;
use std::time::Duration;

use backon::Retryable;
use futures::{StreamExt, TryStreamExt, stream};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::cluster::{Cluster, ObjectRef, Query};
use crate::error::{Error, Kind, Result};
use crate::sim::description::Description;
use crate::sim::objects::{self, NodeObjects};
use crate::sim::{MANAGER, SIMULATED, embedded};
use crate::ui::Ui;
use crate::{limits, yaml};

/// How many pods that do not run are named.
const SHOWN: usize = 8;

/// Applies a description, and waits at most `wait` until its nodes and platform workloads are ready.
///
/// What is already there and described is changed to what is described; other objects are left alone.
///
/// # Errors
/// [`Kind::Usage`] if the cluster has no kwok; [`Kind::Timeout`] naming what is not ready; errors of the API server.
pub async fn load(cluster: &Cluster, description: &Description, wait: Duration, ui: &Ui) -> Result<()> {
    let deadline = Instant::now() + wait;
    let platform = description.platform_objects()?;
    let nodes = objects::nodes(description)?;
    ui.waiting(&format!("{} nodes and {} platform objects are written", nodes.len(), platform.len()));
    for stage in yaml::all_from_str::<Value>(embedded("stages.yaml").unwrap_or_default(), "sim/stages.yaml")? {
        apply(cluster, &stage).await.map_err(without_kwok)?;
    }
    for class in objects::device_classes(description)? {
        apply(cluster, &class).await?;
    }
    let writes = stream::iter(&nodes).map(|made| write_node(cluster, made)).buffer_unordered(limits::SIM_WRITES);
    writes.try_collect::<()>().await?;
    remove_other_slices(cluster, &nodes).await?;
    // kwok forgets a pod that comes to a node before its cache shows the node's lease, where it is told to keep leases.
    wait_for_nodes(cluster, &nodes, deadline, ui).await?;
    for object in &platform {
        apply_platform(cluster, object, deadline).await?;
    }
    match wait_for_workloads(cluster, &platform, deadline, ui).await {
        Err(error) if error.kind() == Kind::Timeout => Err(error.hint(not_started(cluster).await)),
        waited => waited,
    }
}

/// Which pods do not run, for people.
async fn not_started(cluster: &Cluster) -> String {
    let pods = match cluster.list("v1", "Pod", &Query { fields: Some("status.phase=Pending".to_owned()), ..Query::all() }).await {
        Ok(pods) => pods,
        Err(error) => return format!("which pods do not run could not be seen: {}", error.chain()),
    };
    let shown = pods.iter().take(SHOWN).map(|pod| match pod["spec"]["nodeName"].as_str() {
        Some(node) => format!("{} on {node}", ObjectRef::of(pod)),
        None => format!("{} on no node", ObjectRef::of(pod)),
    });
    format!("{} pods are Pending: {}", pods.len(), shown.collect::<Vec<_>>().join(", "))
}

/// True if all nodes of the cluster are simulated, and there is one.
///
/// # Errors
/// Errors of the API server.
pub async fn is_simulated(cluster: &Cluster) -> Result<bool> {
    let nodes = cluster.list("v1", "Node", &Query::all()).await?;
    let simulated = |node: &Value| node["metadata"]["labels"][SIMULATED] == "true";
    Ok(!nodes.is_empty() && nodes.iter().all(simulated))
}

fn without_kwok(error: Error) -> Error {
    if error.kind() != Kind::NotFound {
        return error;
    }
    Error::usage("this cluster has no kwok, which plays simulated nodes: it does not serve Stage of kwok.x-k8s.io/v1alpha1")
        .hint("start one that has it with `seatrial sim up`, or install kwok into this one with its Stage CRD enabled")
}

async fn apply(cluster: &Cluster, object: &Value) -> Result<Value> {
    let mut bare = object.clone();
    let status = bare.as_object_mut().and_then(|fields| fields.remove("status"));
    let applied = cluster.apply(&bare, MANAGER, true).await?;
    if let Some(status) = status {
        let metadata = json!({"name": object["metadata"]["name"], "namespace": object["metadata"]["namespace"]});
        let part = json!({"apiVersion": object["apiVersion"], "kind": object["kind"], "metadata": metadata, "status": status});
        cluster.apply_status(&part, MANAGER).await?;
    }
    Ok(applied)
}

async fn write_node(cluster: &Cluster, made: &NodeObjects) -> Result<()> {
    let node = apply(cluster, &made.node).await?;
    if let Some(slice) = &made.slice {
        let mut slice = slice.clone();
        let (name, uid) = (&node["metadata"]["name"], &node["metadata"]["uid"]);
        slice["metadata"]["ownerReferences"] = json!([{"apiVersion": "v1", "kind": "Node", "name": name, "uid": uid}]);
        apply(cluster, &slice).await?;
    }
    Ok(())
}

/// Removes slices that an earlier description gave these nodes and this one does not.
async fn remove_other_slices(cluster: &Cluster, nodes: &[NodeObjects]) -> Result<()> {
    let names: BTreeSet<&str> = nodes.iter().filter_map(|made| made.node["metadata"]["name"].as_str()).collect();
    let kept: BTreeSet<&str> = nodes.iter().filter_map(|made| made.slice.as_ref()?["metadata"]["name"].as_str()).collect();
    let ours = Query::all().labelled(format!("{SIMULATED}=true"));
    for slice in cluster.list("resource.k8s.io/v1", "ResourceSlice", &ours).await? {
        let of_these = slice["spec"]["nodeName"].as_str().is_some_and(|node| names.contains(node));
        if of_these && !slice["metadata"]["name"].as_str().is_some_and(|name| kept.contains(name)) {
            cluster.delete(&ObjectRef::of(&slice)).await?;
        }
    }
    Ok(())
}

/// Applies a platform object; one of a custom kind has to wait until the API server serves its kind.
async fn apply_platform(cluster: &Cluster, object: &Value, deadline: Instant) -> Result<()> {
    let left = deadline.saturating_duration_since(Instant::now());
    let backoff = backon::ConstantBuilder::default().with_delay(limits::BACKOFF_MIN).without_max_times();
    let try_it = || apply(cluster, object);
    let applied = try_it.retry(backoff).when(|error: &Error| error.kind() == Kind::NotFound && Instant::now() < deadline).await;
    applied.map_err(|error| error.context(format!("apply {} (tried for {} s)", ObjectRef::of(object), left.as_secs())))?;
    Ok(())
}

async fn wait_for_nodes(cluster: &Cluster, nodes: &[NodeObjects], deadline: Instant, ui: &Ui) -> Result<()> {
    let wanted: BTreeSet<&str> = nodes
        .iter()
        .filter(|made| made.node["metadata"]["annotations"]["sim.seatrial.dev/ready"] != "false")
        .filter_map(name_of_made)
        .collect();
    let what = format!("{} simulated nodes are Ready", wanted.len());
    ui.waiting(&what);
    let limit = deadline.saturating_duration_since(Instant::now());
    let ready = |seen: &[&Value]| {
        let ready: BTreeSet<&str> = seen.iter().filter(|node| condition(node, "Ready")).filter_map(|node| name_of(node)).collect();
        wanted.is_subset(&ready).then_some(())
    };
    cluster.wait_until(("v1", "Node"), &Query::all(), &what, limit, ready).await
}

async fn wait_for_workloads(cluster: &Cluster, platform: &[Value], deadline: Instant, ui: &Ui) -> Result<()> {
    for object in platform {
        let named = ObjectRef::of(object);
        let done: fn(&Value) -> bool = match named.kind.as_str() {
            "Deployment" => |seen| is_current(seen) && condition(seen, "Available"),
            "DaemonSet" => |seen| is_current(seen) && seen["status"]["numberReady"] == seen["status"]["desiredNumberScheduled"],
            _ => continue,
        };
        let what = format!("{named} is ready");
        ui.waiting(&what);
        let query = named.namespace.as_deref().map(Query::within).unwrap_or_default().named(&named.name);
        let limit = deadline.saturating_duration_since(Instant::now());
        let ready = |seen: &[&Value]| seen.iter().any(|object| done(object)).then_some(());
        cluster.wait_until((&named.api_version, &named.kind), &query, &what, limit, ready).await?;
    }
    Ok(())
}

/// True if the controller has seen the object as it is now.
fn is_current(object: &Value) -> bool {
    object["status"]["observedGeneration"] == object["metadata"]["generation"]
}

fn condition(object: &Value, wanted: &str) -> bool {
    let conditions = object["status"]["conditions"].as_array();
    conditions.is_some_and(|all| all.iter().any(|condition| condition["type"] == wanted && condition["status"] == "True"))
}

fn name_of(object: &Value) -> Option<&str> {
    object["metadata"]["name"].as_str()
}

fn name_of_made(made: &NodeObjects) -> Option<&str> {
    name_of(&made.node)
}
