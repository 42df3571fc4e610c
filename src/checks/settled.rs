//! Whether a node or a workload is in the state that its controller wants.

use serde_json::Value;

/// What is wrong with a node, if anything: conditions other than Ready are pressures and faults, which must not be True.
pub(crate) fn node_problem(node: &Value) -> Option<String> {
    let conditions = node["status"]["conditions"].as_array();
    let status_of = |condition: &Value| {
        (condition["type"].as_str().unwrap_or_default().to_owned(), condition["status"].as_str().unwrap_or_default().to_owned())
    };
    let all: Vec<(String, String)> = conditions.into_iter().flatten().map(status_of).collect();
    match all.iter().find(|(kind, _)| kind == "Ready") {
        None => return Some("has no condition Ready".to_owned()),
        Some((_, status)) if status != "True" => return Some(format!("Ready is {status}")),
        Some(_) => {}
    }
    let under = ["MemoryPressure", "DiskPressure", "PIDPressure", "NetworkUnavailable"];
    all.iter().find(|(kind, status)| under.contains(&kind.as_str()) && status == "True").map(|(kind, _)| format!("{kind} is True"))
}

/// What is wrong with a Deployment, DaemonSet or StatefulSet, if anything.
pub(crate) fn workload_problem(workload: &Value) -> Option<String> {
    let status = |field: &str| workload["status"][field].as_i64().unwrap_or(0);
    let generation = workload["metadata"]["generation"].as_i64().unwrap_or(0);
    if status("observedGeneration") < generation {
        return Some("its controller has not seen its current generation".to_owned());
    }
    let (wanted, updated, ready) = match workload["kind"].as_str() {
        Some("DaemonSet") => (status("desiredNumberScheduled"), status("updatedNumberScheduled"), status("numberReady")),
        _ => (workload["spec"]["replicas"].as_i64().unwrap_or(1), status("updatedReplicas"), status("readyReplicas")),
    };
    if ready < wanted {
        return Some(format!("{ready} of {wanted} replicas ready"));
    }
    (updated < wanted).then(|| format!("{updated} of {wanted} replicas up to date"))
}
