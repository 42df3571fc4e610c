//! Finds the vendor's GPU operator: its Deployment, its pods, its policy, its exporter.

use serde_json::Value;

use crate::checks::Cx;
use crate::cluster::{Access, ObjectRef, Query};
use crate::error::{Kind, Result};
use crate::vendor::{Vendor, is_one_of};

/// What is read of workloads to find an operator.
pub(super) const WORKLOADS: &[Access] = &[Access::read("apps", "deployments"), Access::read("apps", "daemonsets")];

/// The operator's Deployment, or where it was looked for.
pub(super) async fn deployment(cx: &Cx<'_>) -> Result<std::result::Result<Value, String>> {
    let deployments = cx.cluster.list("apps/v1", "Deployment", &Query::all()).await?;
    Ok(find(&deployments, cx.vendor).cloned().ok_or_else(|| absent(cx.vendor)))
}

/// The operator's Deployment among all: in its usual namespace before the others.
pub(super) fn find<'a>(deployments: &'a [Value], vendor: &Vendor) -> Option<&'a Value> {
    let operator = &vendor.operator;
    operator.namespaces.iter().find_map(|namespace| {
        deployments.iter().find(|object| {
            object["metadata"]["namespace"] == namespace.as_str()
                && object["metadata"]["name"].as_str().is_some_and(|name| is_one_of(name, &operator.deployments))
        })
    })
}

/// That there is no operator, in words.
pub(super) fn absent(vendor: &Vendor) -> String {
    let operator = &vendor.operator;
    format!(
        "there is no Deployment {} in namespace {}: the GPU operator is not installed",
        operator.deployments.join(" or "),
        operator.namespaces.join(" or ")
    )
}

/// Pods that a Deployment selects.
pub(super) async fn pods_of(cx: &Cx<'_>, deployment: &Value) -> Result<Vec<Value>> {
    let labels = deployment["spec"]["selector"]["matchLabels"].as_object();
    let selector: Vec<String> =
        labels.into_iter().flatten().map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default())).collect();
    let namespace = deployment["metadata"]["namespace"].as_str().unwrap_or_default();
    cx.cluster.list("v1", "Pod", &Query::within(namespace).labelled(selector.join(","))).await
}

/// The operator's policies; none where their kind is not served.
pub(super) async fn policies(cx: &Cx<'_>) -> Result<Vec<Value>> {
    let policy = &cx.vendor.operator.policy;
    match cx.cluster.list(&policy.api_version, &policy.kind, &Query::all()).await {
        Err(error) if error.kind() == Kind::NotFound => Ok(Vec::new()),
        listed => listed,
    }
}

/// What is wrong with a pod of the operator, if anything.
pub(super) fn pod_problem(pod: &Value) -> Option<String> {
    let statuses = pod["status"]["containerStatuses"].as_array();
    let waiting = statuses.into_iter().flatten().find_map(|status| {
        let waiting = status["state"]["waiting"]["reason"].as_str()?;
        let restarts = status["restartCount"].as_i64().unwrap_or(0);
        Some(format!("container {} is in {waiting} ({restarts} restarts)", status["name"].as_str().unwrap_or_default()))
    });
    let ready =
        pod["status"]["conditions"].as_array().is_some_and(|all| all.iter().any(|one| one["type"] == "Ready" && one["status"] == "True"));
    let phase = pod["status"]["phase"].as_str().unwrap_or("in no phase");
    let problem = waiting.or_else(|| (!ready).then(|| format!("is {phase} and not ready")));
    problem.map(|problem| format!("{}: {problem}", ObjectRef::of(pod)))
}
