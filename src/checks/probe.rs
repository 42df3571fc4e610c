//! What checks that create pods share: the pod itself, whether GPUs are free, what the scheduler says.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::cluster::{Cluster, Query};
use crate::error::{Context, Error, Kind, Result};
use crate::limits;
use crate::pods::PodOptions;
use crate::snapshot::collect::dra_version;
use crate::snapshot::{Node, Pool, pools};
use crate::vendor::Vendor;

/// A container that does nothing until it is removed; any node can run it.
pub const IDLE_IMAGE: &str = "registry.k8s.io/pause:3.10";

/// The served `apiVersion` of DRA, GA first; none if the API server has no DRA.
///
/// # Errors
/// If the API groups cannot be listed.
pub async fn dra_api_version(cluster: &Cluster) -> Result<Option<String>> {
    Ok(dra_version(&cluster.api_groups().await?).map(|version| format!("resource.k8s.io/{version}")))
}

/// As [`dra_api_version`], where there is nothing to do without DRA.
///
/// # Errors
/// [`Kind::NotFound`] if the API server has no DRA.
pub async fn dra_required(cluster: &Cluster) -> Result<String> {
    let version = dra_api_version(cluster).await?;
    version.ok_or_else(|| Error::new(Kind::NotFound, "the API server serves no resource.k8s.io"))
}

/// The pools of DRA devices, from the ResourceSlices of the served version; none if the API server has no DRA.
///
/// # Errors
/// If the API groups or the slices cannot be listed.
pub async fn dra_pools(cluster: &Cluster) -> Result<Vec<Pool>> {
    let Some(version) = dra_api_version(cluster).await? else { return Ok(Vec::new()) };
    let slices = cluster.list(&version, "ResourceSlice", &Query::all()).await.context("read what DRA drivers advertise")?;
    Ok(pools::group(&slices))
}

/// A pod spec that asks for nothing but what `resources` says, tolerates GPU taints, fits the restricted pod security standard,
/// and is changed as the user wants our pods to be.
#[must_use]
pub fn pod_spec(vendor: &Vendor, options: &PodOptions, image: &str, command: &[String], resources: &Value) -> Value {
    let mut spec = json!({
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": 1,
        "automountServiceAccountToken": false,
        "tolerations": [{"key": vendor.resource, "operator": "Exists"}],
        "securityContext": {"runAsNonRoot": true, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [{
            "name": "probe", "image": image, "resources": resources,
            "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
        }],
    });
    if !command.is_empty() {
        spec["containers"][0]["command"] = json!(command);
    }
    options.apply(&mut spec);
    spec
}

/// A request for whole GPUs in the form of the served DRA version: v1 and v1beta2 have `exactly`, v1beta1 has the fields bare.
#[must_use]
pub fn gpu_request(version: &str, name: &str, class: &str, count: u32) -> Value {
    let request = json!({"deviceClassName": class, "allocationMode": "ExactCount", "count": count});
    let mut request = if version.ends_with("v1beta1") { request } else { json!({"exactly": request}) };
    request["name"] = json!(name);
    request
}

/// What the scheduler says of a pod that it has looked at and not placed.
#[must_use]
pub fn unschedulable(pod: &Value) -> Option<&str> {
    let conditions = pod["status"]["conditions"].as_array()?;
    let condition = conditions.iter().find(|condition| condition["type"] == "PodScheduled" && condition["status"] == "False")?;
    Some(condition["message"].as_str().unwrap_or("no reason given"))
}

/// Why a container of the pod does not start, where waiting longer will not help.
#[must_use]
pub fn image_trouble(pod: &Value) -> Option<String> {
    let statuses = pod["status"]["containerStatuses"].as_array()?;
    let waiting = statuses.iter().map(|status| &status["state"]["waiting"]).find(|waiting| {
        matches!(waiting["reason"].as_str(), Some("ImagePullBackOff" | "ErrImagePull" | "InvalidImageName" | "ErrImageNeverPull"))
    })?;
    Some(format!("{}: {}", waiting["reason"].as_str().unwrap_or_default(), waiting["message"].as_str().unwrap_or_default()))
}

/// Whole GPUs of complete pools that no claim holds: `pool/device`.
#[must_use]
pub fn free_devices(pools: &[Pool], claims: &[Value], vendor: &Vendor) -> Vec<String> {
    let results = claims.iter().filter_map(|claim| claim["status"]["allocation"]["devices"]["results"].as_array()).flatten();
    let held: Vec<(&str, &str)> = results
        .filter(|result| result["driver"] == vendor.driver.as_str())
        .filter_map(|result| Some((result["pool"].as_str()?, result["device"].as_str()?)))
        .collect();
    pools
        .iter()
        .filter(|pool| pool.driver == vendor.driver && pool.complete())
        .flat_map(|pool| pool.devices.iter().map(move |device| (pool.name.as_str(), device.name.as_str())))
        .filter(|device| !held.contains(device))
        .map(|(pool, device)| format!("{pool}/{device}"))
        .collect()
}

/// Free extended-resource GPUs per schedulable node: allocatable less what pods request.
#[must_use]
pub fn free_gpus(nodes: &[Node], pods: &[Value], vendor: &Vendor) -> BTreeMap<String, u64> {
    let mut free: BTreeMap<String, u64> =
        nodes.iter().filter(|node| !node.unschedulable).filter_map(|node| Some((node.name.clone(), node.gpus.allocatable?))).collect();
    for pod in pods.iter().filter(|pod| !matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"))) {
        let asked: u64 = pod["spec"]["containers"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|one| quantity(&one["resources"]["limits"][&vendor.resource]))
            .sum();
        if let Some(left) = pod["spec"]["nodeName"].as_str().and_then(|node| free.get_mut(node)) {
            *left = left.saturating_sub(asked);
        }
    }
    free
}

fn quantity(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

/// Events of a namespace, newest last, as lines; for diagnostics while the objects still exist.
pub async fn events(cluster: &Cluster, namespace: &str) -> Value {
    match cluster.list("v1", "Event", &Query::within(namespace)).await {
        Ok(events) => {
            let line = |event: &Value| {
                let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
                format!(
                    "{} {} {}/{}: {}",
                    text("/type"),
                    text("/reason"),
                    text("/involvedObject/kind"),
                    text("/involvedObject/name"),
                    text("/message")
                )
            };
            let all = events.len();
            let mut left = limits::DIAGNOSTICS_BYTES;
            let fits = |line: &String| {
                left = left.saturating_sub(line.len());
                left > 0
            };
            let mut lines: Vec<String> = events.iter().map(line).take_while(fits).collect();
            if lines.len() < all {
                lines.push(format!("… and {} more events", all - lines.len()));
            }
            json!(lines)
        }
        // Diagnostics are an extra: what they could not read is said in their place.
        Err(error) => json!(format!("unavailable: {}", error.chain())),
    }
}
