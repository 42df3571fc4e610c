//! Takes the snapshot: reads everything side by side; what cannot be read is said, not left out.

use serde_json::Value;

use crate::cluster::{Cluster, Query};
use crate::error::{Error, Kind, Result};
use crate::recipe::API_VERSION;
use crate::snapshot::model::{ClusterFacts, Crd, DeviceClass, Node, Reading, Snapshot};
use crate::snapshot::workloads::Pods;
use crate::snapshot::{Hardware, nodes, policies, pools, workloads};

/// What a snapshot reads.
pub const READS: &[crate::cluster::Access] = &[
    crate::cluster::Access::read("", "nodes"),
    crate::cluster::Access::read("", "pods"),
    crate::cluster::Access::read("", "namespaces"),
    crate::cluster::Access::read("apps", "daemonsets"),
    crate::cluster::Access::read("apps", "deployments"),
    crate::cluster::Access::read("apps", "statefulsets"),
    crate::cluster::Access::read("apiextensions.k8s.io", "customresourcedefinitions"),
    crate::cluster::Access::read("resource.k8s.io", "deviceclasses"),
    crate::cluster::Access::read("resource.k8s.io", "resourceslices"),
    crate::cluster::Access::read("nvidia.com", "clusterpolicies"),
];

/// API versions of DRA, the generally available one first.
pub const DRA_VERSIONS: &[&str] = &["v1", "v1beta2", "v1beta1"];

/// Takes a snapshot of the whole cluster.
///
/// # Errors
/// Only if the API server cannot be asked at all; a single reading that cannot be had is `unavailable` in the snapshot.
pub async fn collect(cluster: &Cluster) -> Result<Snapshot> {
    let version = cluster.server_version().await?;
    let apis = cluster.api_groups().await;
    let dra = apis.as_ref().ok().and_then(dra_version).map(|version| format!("resource.k8s.io/{version}"));
    let policy = apis.as_ref().ok().and_then(|apis| apis.get("nvidia.com")?.first()).map(|version| format!("nvidia.com/{version}"));
    let list = |api_version: &'static str, kind: &'static str| async move { cluster.list(api_version, kind, &Query::all()).await };
    let slices = async {
        let Some(dra) = &dra else { return Ok(None) };
        let add = |slices: &mut Vec<pools::Slice>, object: Value| slices.push(pools::Slice::of(&object));
        cluster.fold(dra, "ResourceSlice", Vec::new, add).await.map(Some)
    };
    let classes = async {
        let Some(dra) = &dra else { return Ok(None) };
        cluster.list(dra, "DeviceClass", &Query::all()).await.map(Some)
    };
    let add = |nodes: &mut Vec<Node>, object: Value| nodes.push(nodes::one(&object));
    let (nodes, slices, classes, pods, crds, system, policies) = tokio::join!(
        cluster.fold("v1", "Node", Vec::new, add),
        slices,
        classes,
        cluster.fold("v1", "Pod", Pods::default, Pods::add),
        list("apiextensions.k8s.io/v1", "CustomResourceDefinition"),
        cluster.get("v1", "Namespace", None, "kube-system"),
        policies::read(cluster, policy.as_deref()),
    );
    let (deployments, daemon_sets, stateful_sets) =
        tokio::join!(list("apps/v1", "Deployment"), list("apps/v1", "DaemonSet"), list("apps/v1", "StatefulSet"));
    let no_dra = "the API server serves no resource.k8s.io";
    let pools = reading(slices).and_then(|slices| slices.map(pools::pools).ok_or_else(|| no_dra.to_owned()));
    let nodes = reading(nodes).map(|mut nodes| {
        nodes::settle(&mut nodes, pools.as_ref().ok().map(Vec::as_slice));
        nodes
    });
    let pods = reading(pods);
    let images = pods.as_ref().map(Pods::images).map_err(Clone::clone);
    let lists = [reading(deployments), reading(daemon_sets), reading(stateful_sets)];
    let mut snapshot = Snapshot {
        api_version: API_VERSION.to_owned(),
        kind: "Snapshot".to_owned(),
        cluster: ClusterFacts {
            id: reading(system)
                .and_then(|found| uid_of(found.as_ref()).ok_or_else(|| "there is no namespace kube-system".to_owned()))
                .into(),
            version: Reading::Value(version.git_version),
            platform: Some(version.platform),
            go_version: Some(version.go_version),
            hardware: Hardware::Unknown,
        },
        nodes: nodes.into(),
        pools: pools.into(),
        device_classes: reading(classes)
            .and_then(|classes| classes.map(|list| device_classes(&list)).ok_or_else(|| no_dra.to_owned()))
            .into(),
        workloads: workloads::read(pods.as_ref().map_err(Clone::clone), lists).into(),
        crds: reading(crds).map(|list| custom_resources(&list)).into(),
        apis: reading(apis).into(),
        images: Some(images.into()),
        policies: Some(reading(policies).into()),
        host: None,
        imported: None,
        redaction: None,
    };
    snapshot.cluster.hardware = snapshot.derived_hardware();
    Ok(snapshot)
}

/// The served DRA version that we read: GA first.
pub fn dra_version(apis: &std::collections::BTreeMap<String, Vec<String>>) -> Option<&'static str> {
    let served = apis.get("resource.k8s.io")?;
    DRA_VERSIONS.iter().copied().find(|version| served.iter().any(|known| known == version))
}

/// What makes a snapshot worthless as a whole: credentials that ran out, a server that went away, nodes that may not be read.
///
/// A single list that this user may not read is a gap of the document, not such trouble.
///
/// # Errors
/// [`Kind::Denied`], [`Kind::Timeout`] or [`Kind::Unavailable`], with the reading and its reason.
pub fn check(snapshot: &Snapshot) -> Result<()> {
    let nodes = snapshot.nodes.unavailable();
    let others = [
        snapshot.cluster.id.unavailable(),
        snapshot.pools.unavailable(),
        snapshot.device_classes.unavailable(),
        snapshot.workloads.unavailable(),
        snapshot.crds.unavailable(),
        snapshot.apis.unavailable(),
        snapshot.images.as_ref().and_then(Reading::unavailable),
        snapshot.policies.as_ref().and_then(Reading::unavailable),
    ];
    for (reason, needed) in nodes.into_iter().map(|why| (why, true)).chain(others.into_iter().flatten().map(|why| (why, false))) {
        let kind = match reason.split_once(':').map_or("", |(word, _)| word) {
            UNAUTHORIZED => Kind::Denied,
            "timeout" => Kind::Timeout,
            "unavailable" => Kind::Unavailable,
            "denied" if needed => Kind::Denied,
            _ => continue,
        };
        let error = Error::new(kind, format!("take the snapshot: {reason}"));
        return Err(match kind {
            Kind::Denied if needed => {
                error.hint("`seatrial rbac` prints the roles that a run needs; a snapshot needs to list nodes at least")
            }
            Kind::Denied => error.hint("the credentials of this kubeconfig context are no longer accepted: renew them"),
            _ => error.hint("try again: the API server went away while it was read"),
        });
    }
    Ok(())
}

/// The word for credentials that are not accepted, which is not the same as not being allowed one thing.
const UNAUTHORIZED: &str = "unauthorized";

/// Why a reading could not be had, in one line.
fn reading<T>(result: Result<T>) -> Result<T, String> {
    result.map_err(|error| {
        let word = match error.kind() {
            Kind::Denied if error.chain().contains("API server answers 401") => UNAUTHORIZED,
            Kind::Denied => "denied",
            Kind::Timeout => "timeout",
            Kind::NotFound => "not served",
            _ => "unavailable",
        };
        format!("{word}: {}", error.chain())
    })
}

fn uid_of(object: Option<&Value>) -> Option<String> {
    object?.pointer("/metadata/uid")?.as_str().map(str::to_owned)
}

fn device_classes(objects: &[Value]) -> Vec<DeviceClass> {
    let mut classes: Vec<DeviceClass> = objects
        .iter()
        .map(|class| DeviceClass {
            name: name_of(class),
            selectors: array(&class["spec"]["selectors"]).filter_map(|one| one["cel"]["expression"].as_str()).map(str::to_owned).collect(),
        })
        .collect();
    classes.sort_by(|a, b| a.name.cmp(&b.name));
    classes
}

fn custom_resources(objects: &[Value]) -> Vec<Crd> {
    let mut crds: Vec<Crd> = objects
        .iter()
        .map(|crd| {
            let served = array(&crd["spec"]["versions"]).filter(|version| version["served"] == true);
            let mut versions: Vec<String> = served.filter_map(|version| version["name"].as_str()).map(str::to_owned).collect();
            versions.sort();
            let established = array(&crd["status"]["conditions"]).any(|one| one["type"] == "Established" && one["status"] == "True");
            Crd { name: name_of(crd), versions, established }
        })
        .collect();
    crds.sort_by(|a, b| a.name.cmp(&b.name));
    crds
}

/// The name of an object.
pub(super) fn name_of(object: &Value) -> String {
    object["metadata"]["name"].as_str().unwrap_or_default().to_owned()
}

/// The elements of a list, or none where there is no list.
pub(super) fn array(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}
