//! Reads workloads with their images, and the image ids that really run.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::cluster::scratch::{MANAGED_BY, OWNER};
use crate::snapshot::collect::{array, name_of};
use crate::snapshot::model::Workload;

/// Reads Deployments, DaemonSets and StatefulSets; one that cannot be read makes the whole reading unavailable.
///
/// # Errors
/// The reason why a list could not be had.
pub fn read(pods: Result<Vec<Value>, String>, lists: [Result<Vec<Value>, String>; 3]) -> Result<Vec<Workload>, String> {
    let pods = pods?;
    let mut workloads = Vec::new();
    for list in lists {
        workloads.extend(list?.iter().filter(|object| !is_ours(object)).map(|object| workload(object, &pods)));
    }
    workloads.sort_by(|a, b| (&a.kind, &a.namespace, &a.name).cmp(&(&b.kind, &b.namespace, &b.name)));
    Ok(workloads)
}

fn is_ours(object: &Value) -> bool {
    object["metadata"]["labels"][MANAGED_BY] == OWNER
}

fn workload(object: &Value, pods: &[Value]) -> Workload {
    let namespace = object["metadata"]["namespace"].as_str().unwrap_or_default().to_owned();
    let labels = &object["metadata"]["labels"];
    let versions = ["app.kubernetes.io/version", "helm.sh/chart"];
    let versions = versions.iter().filter_map(|key| labels[key].as_str().map(|value| ((*key).to_owned(), value.to_owned()))).collect();
    let selector = object["spec"]["selector"]["matchLabels"].as_object();
    let selected: Vec<&Value> = pods
        .iter()
        .filter(|pod| pod["metadata"]["namespace"] == namespace.as_str())
        .filter(|pod| {
            selector.is_some_and(|wanted| !wanted.is_empty() && wanted.iter().all(|(key, value)| pod["metadata"]["labels"][key] == *value))
        })
        .collect();
    let template = &object["spec"]["template"]["spec"];
    let containers = array(&template["initContainers"]).chain(array(&template["containers"]));
    let mut images: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for container in containers {
        let image = container["image"].as_str().unwrap_or_default().to_owned();
        let running = selected
            .iter()
            .flat_map(|pod| array(&pod["status"]["containerStatuses"]).chain(array(&pod["status"]["initContainerStatuses"])));
        let ids = running.filter(|status| status["name"] == container["name"]).filter_map(|status| status["imageID"].as_str());
        images.entry(image).or_default().extend(ids.filter(|id| !id.is_empty()).map(str::to_owned));
    }
    Workload {
        kind: object["kind"].as_str().unwrap_or_default().to_owned(),
        namespace,
        name: name_of(object),
        versions,
        images: images.into_iter().map(|(image, ids)| (image, ids.into_iter().collect())).collect(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn image_ids_come_from_the_pods_that_the_selector_selects() {
        let deployment = json!({"kind": "Deployment", "metadata": {"name": "a", "namespace": "n"}, "spec": {
            "selector": {"matchLabels": {"app": "a"}},
            "template": {"spec": {"containers": [{"name": "c", "image": "x:1"}]}}}});
        let pod = |app: &str, id: &str| json!({"metadata": {"namespace": "n", "labels": {"app": app}}, "status": {"containerStatuses": [{"name": "c", "imageID": id}]}});
        let read =
            read(Ok(vec![pod("a", "x@sha256:1"), pod("b", "x@sha256:2")]), [Ok(vec![deployment]), Ok(vec![]), Ok(vec![])]).expect("read");
        assert_eq!(read[0].images["x:1"], ["x@sha256:1"]);
    }

    #[test]
    fn our_own_workloads_are_not_in_the_snapshot() {
        let ours = json!({"kind": "Deployment", "metadata": {"name": "a", "namespace": "n", "labels": {MANAGED_BY: OWNER}}});
        assert!(read(Ok(vec![]), [Ok(vec![ours]), Ok(vec![]), Ok(vec![])]).expect("read").is_empty());
    }
}
