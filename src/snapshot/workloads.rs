//! Reads workloads with their images, and the image ids that really run. Of pods only that is kept, and pods that are alike once.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::Value;

use crate::cluster::scratch::{MANAGED_BY, OWNER};
use crate::snapshot::collect::{array, name_of};
use crate::snapshot::model::Workload;

/// What is read of a pod.
#[derive(Deserialize)]
pub(super) struct Pod {
    metadata: PodMetadata,
    #[serde(default)]
    spec: PodSpec,
    #[serde(default)]
    status: PodStatus,
}

#[derive(Deserialize)]
struct PodMetadata {
    #[serde(default)]
    namespace: String,
    #[serde(default)]
    labels: BTreeMap<String, String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PodSpec {
    #[serde(default)]
    containers: Vec<Container>,
    #[serde(default)]
    init_containers: Vec<Container>,
    #[serde(default)]
    ephemeral_containers: Vec<Container>,
}

#[derive(Deserialize)]
struct Container {
    name: String,
    #[serde(default)]
    image: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PodStatus {
    #[serde(default)]
    container_statuses: Vec<ContainerStatus>,
    #[serde(default)]
    init_container_statuses: Vec<ContainerStatus>,
    #[serde(default)]
    ephemeral_container_statuses: Vec<ContainerStatus>,
}

#[derive(Deserialize)]
struct ContainerStatus {
    name: String,
    #[serde(default, rename = "imageID")]
    image_id: String,
}

/// What is kept of pods: namespace → labels → containers with image and image id.
#[derive(Default)]
pub(super) struct Pods(BTreeMap<String, BTreeMap<BTreeMap<String, String>, BTreeSet<Running>>>);

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Running {
    container: String,
    image: String,
    image_id: String,
}

impl Pods {
    /// Adds a pod; one of ours is left out.
    pub(super) fn add(&mut self, pod: Pod) {
        if pod.metadata.labels.get(MANAGED_BY).is_some_and(|owner| owner == OWNER) {
            return;
        }
        let PodStatus { container_statuses, init_container_statuses, ephemeral_container_statuses } = pod.status;
        let statuses = container_statuses.into_iter().chain(init_container_statuses).chain(ephemeral_container_statuses);
        let mut ids: BTreeMap<String, String> = statuses.map(|status| (status.name, status.image_id)).collect();
        let PodSpec { containers, init_containers, ephemeral_containers } = pod.spec;
        let containers = containers.into_iter().chain(init_containers).chain(ephemeral_containers);
        let own = self.0.entry(pod.metadata.namespace).or_default().entry(pod.metadata.labels).or_default();
        own.extend(containers.map(|one| {
            let image_id = ids.remove(&one.name).unwrap_or_default();
            Running { container: one.name, image: one.image, image_id }
        }));
    }

    /// Every image that a pod names, with the ids that run of it.
    pub(super) fn images(&self) -> BTreeMap<String, Vec<String>> {
        let mut images: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for running in self.0.values().flat_map(BTreeMap::values).flatten().filter(|running| !running.image.is_empty()) {
            let ids = images.entry(&running.image).or_default();
            if !running.image_id.is_empty() {
                ids.insert(&running.image_id);
            }
        }
        let owned = |(image, ids): (&str, BTreeSet<&str>)| (image.to_owned(), ids.into_iter().map(str::to_owned).collect());
        images.into_iter().map(owned).collect()
    }
}

/// Reads Deployments, DaemonSets and StatefulSets; one that cannot be read makes the whole reading unavailable.
///
/// # Errors
/// The reason why a list could not be had.
pub(super) fn read(pods: Result<&Pods, String>, lists: [Result<Vec<Value>, String>; 3]) -> Result<Vec<Workload>, String> {
    let pods = pods?;
    let mut workloads = Vec::new();
    for list in lists {
        workloads.extend(list?.iter().filter(|object| !is_ours(object)).map(|object| workload(object, pods)));
    }
    workloads.sort_by(|a, b| (&a.kind, &a.namespace, &a.name).cmp(&(&b.kind, &b.namespace, &b.name)));
    Ok(workloads)
}

fn is_ours(object: &Value) -> bool {
    object["metadata"]["labels"][MANAGED_BY] == OWNER
}

fn workload(object: &Value, pods: &Pods) -> Workload {
    let namespace = object["metadata"]["namespace"].as_str().unwrap_or_default().to_owned();
    let labels = &object["metadata"]["labels"];
    let versions = ["app.kubernetes.io/version", "helm.sh/chart"];
    let versions = versions.iter().filter_map(|key| labels[key].as_str().map(|value| ((*key).to_owned(), value.to_owned()))).collect();
    let selector = object["spec"]["selector"]["matchLabels"].as_object();
    let selects = |labels: &BTreeMap<String, String>| {
        let has = |(key, value): (&String, &Value)| labels.get(key).map(String::as_str) == value.as_str();
        selector.is_some_and(|wanted| !wanted.is_empty() && wanted.iter().all(has))
    };
    let own = pods.0.get(&namespace).into_iter().flatten().filter(|(labels, _)| selects(labels));
    let selected: Vec<&Running> = own.flat_map(|(_, running)| running).collect();
    let template = &object["spec"]["template"]["spec"];
    let containers = array(&template["initContainers"]).chain(array(&template["containers"]));
    let mut images: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for container in containers {
        let image = container["image"].as_str().unwrap_or_default().to_owned();
        let running = selected.iter().filter(|running| container["name"] == running.container.as_str() && !running.image_id.is_empty());
        images.entry(image).or_default().extend(running.map(|running| running.image_id.clone()));
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

    fn pods(objects: Vec<Value>) -> Pods {
        let mut pods = Pods::default();
        objects.into_iter().for_each(|object| pods.add(serde_json::from_value(object).expect("is a pod")));
        pods
    }

    fn pod(app: &str, image: &str, id: &str) -> Value {
        json!({"metadata": {"namespace": "n", "labels": {"app": app}}, "spec": {"containers": [{"name": "c", "image": image}]},
            "status": {"containerStatuses": [{"name": "c", "imageID": id}]}})
    }

    #[test]
    fn image_ids_come_from_the_pods_that_the_selector_selects() {
        let deployment = json!({"kind": "Deployment", "metadata": {"name": "a", "namespace": "n"}, "spec": {
            "selector": {"matchLabels": {"app": "a"}},
            "template": {"spec": {"containers": [{"name": "c", "image": "x:1"}]}}}});
        let pods = pods(vec![pod("a", "x:1", "x@sha256:1"), pod("b", "x:1", "x@sha256:2")]);
        let read = read(Ok(&pods), [Ok(vec![deployment]), Ok(vec![]), Ok(vec![])]).expect("read");
        assert_eq!(read[0].images["x:1"], ["x@sha256:1"]);
        assert_eq!(pods.images()["x:1"], ["x@sha256:1", "x@sha256:2"]);
    }

    #[test]
    fn images_of_one_base_name_are_all_there_and_those_of_our_own_pods_are_not() {
        let mut ours = pod("a", "ours:1", "");
        ours["metadata"]["labels"][MANAGED_BY] = json!(OWNER);
        let pods = pods(vec![pod("a", "one.example/pause:3.9", ""), pod("b", "two.example/pause:3.10", ""), ours]);
        assert_eq!(pods.images().keys().collect::<Vec<_>>(), ["one.example/pause:3.9", "two.example/pause:3.10"]);
    }

    #[test]
    fn our_own_workloads_are_not_in_the_snapshot() {
        let ours = json!({"kind": "Deployment", "metadata": {"name": "a", "namespace": "n", "labels": {MANAGED_BY: OWNER}}});
        assert!(read(Ok(&Pods::default()), [Ok(vec![ours]), Ok(vec![]), Ok(vec![])]).expect("read").is_empty());
    }
}
