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
    if updated < wanted {
        return Some(format!("{updated} of {wanted} replicas up to date"));
    }
    // While new replicas do not become ready, old ones stay: enough are ready, and yet the roll-out has not come to its end.
    let all = status("replicas");
    let stuck = workload["kind"] == "Deployment" && all > updated;
    stuck.then(|| format!("its roll-out has not ended: {} of {all} replicas are of the old revision", all - updated))
}

/// What is wrong with a workload of which something must run, if anything.
pub(crate) fn running_problem(workload: &Value) -> Option<String> {
    workload_problem(workload).or_else(|| idle_problem(workload))
}

/// What is wrong with a workload that wants no replica: it is complete, and does nothing.
fn idle_problem(workload: &Value) -> Option<String> {
    let wanted = match workload["kind"].as_str() {
        Some("DaemonSet") => workload["status"]["desiredNumberScheduled"].as_i64().unwrap_or(0),
        _ => workload["spec"]["replicas"].as_i64().unwrap_or(1),
    };
    (wanted == 0).then(|| "wants no replica, so nothing of it runs".to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn deployment(replicas: i64, updated: i64, ready: i64) -> Value {
        json!({"kind": "Deployment", "metadata": {"generation": 2}, "spec": {"replicas": 1},
            "status": {"observedGeneration": 2, "replicas": replicas, "updatedReplicas": updated, "readyReplicas": ready}})
    }

    #[test]
    fn a_roll_out_whose_new_replica_does_not_come_up_is_a_problem_although_the_old_one_is_ready() {
        assert_eq!(workload_problem(&deployment(1, 1, 1)), None);
        let problem = workload_problem(&deployment(2, 1, 1)).expect("is one");
        assert!(problem.contains("1 of 2 replicas are of the old revision"), "{problem}");
    }
}
