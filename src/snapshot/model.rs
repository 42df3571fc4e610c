//! The snapshot document: deterministic, so that an unchanged cluster has the same digest.
//!
//! It holds no time stamps, heartbeats or resource versions, and none of seatrial's own objects. Lists are sorted by name.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::facts::Facts;
pub use crate::facts::Reading;
use crate::recipe::API_VERSION;
use crate::snapshot::hardware::Hardware;
use crate::snapshot::imported::Imported;
use crate::snapshot::redact::Redaction;
use crate::vendor;

/// A snapshot of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Snapshot {
    /// `seatrial.dev/v1alpha1`.
    pub api_version: String,
    /// `Snapshot`.
    pub kind: String,
    /// The cluster as a whole.
    pub cluster: ClusterFacts,
    /// Every node, by name.
    pub nodes: Reading<Vec<Node>>,
    /// DRA pools, by driver and name.
    pub pools: Reading<Vec<Pool>>,
    /// DeviceClasses, by name.
    pub device_classes: Reading<Vec<DeviceClass>>,
    /// Workloads with their images, by kind, namespace and name.
    pub workloads: Reading<Vec<Workload>>,
    /// CustomResourceDefinitions, by name.
    pub crds: Reading<Vec<Crd>>,
    /// Served API groups with their versions, preferred first.
    pub apis: Reading<BTreeMap<String, Vec<String>>>,
    /// Every image that a pod names, as it is written there, with the image ids that run of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub images: Option<Reading<BTreeMap<String, Vec<String>>>>,
    /// GPU operators' policies, by kind and name. Not there if it was not asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policies: Option<Reading<Vec<Policy>>>,
    /// The machine that the snapshot was taken on, with `--host`; no cluster was asked then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<Host>,
    /// Another tool's snapshot that this one was read from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub imported: Option<Imported>,
    /// What was taken out of it, if something was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redaction: Option<Redaction>,
}

/// One machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Host {
    /// Its host name.
    pub name: String,
    /// What was seen on it.
    pub facts: Facts,
}

/// A policy of a GPU operator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Policy {
    /// `ClusterPolicy`.
    pub kind: String,
    /// Name.
    pub name: String,
    /// Its `spec` by path, `driver.rdma.enabled`; a list is JSON text.
    pub spec: BTreeMap<String, String>,
}

impl Snapshot {
    /// Nodes that say they have GPUs, by name; none if nodes could not be read.
    pub fn gpu_nodes(&self) -> impl Iterator<Item = &Node> {
        self.nodes.value().into_iter().flatten().filter(|node| node.gpus.any())
    }

    /// True if there are GPU nodes and kwok plays all of them, so that no container runs.
    #[must_use]
    pub fn without_containers(&self) -> bool {
        let mut nodes = self.gpu_nodes().peekable();
        nodes.peek().is_some() && nodes.all(|node| !node.runs_containers())
    }

    /// A snapshot of which nothing is known yet but why: no cluster was asked.
    #[must_use]
    pub fn without_cluster(why: &str) -> Self {
        fn none<T>(why: &str) -> Reading<T> {
            Reading::Unavailable(why.to_owned())
        }
        Self {
            api_version: API_VERSION.to_owned(),
            kind: "Snapshot".to_owned(),
            cluster: ClusterFacts { id: none(why), version: none(why), platform: None, go_version: None, hardware: Hardware::Unknown },
            nodes: none(why),
            pools: none(why),
            device_classes: none(why),
            workloads: none(why),
            crds: none(why),
            apis: none(why),
            images: None,
            policies: None,
            host: None,
            imported: None,
            redaction: None,
        }
    }

    /// Writes down what the hardware of each node and of the cluster is, as it follows from the rest. To be called after facts were added.
    pub fn settle_hardware(&mut self) {
        if let Reading::Value(nodes) = &mut self.nodes {
            for node in nodes {
                node.hardware = node.derived_hardware();
            }
        }
        self.cluster.hardware = self.derived_hardware();
    }

    /// What the hardware is, as it follows from the GPU nodes, or from all nodes where none has GPUs; or from the machine itself.
    #[must_use]
    pub fn derived_hardware(&self) -> Hardware {
        if let Some(host) = &self.host {
            return if host.facts.shows_devices() { Hardware::Real } else { Hardware::Unknown };
        }
        let of = Node::derived_hardware;
        if self.gpu_nodes().next().is_some() {
            Hardware::of_cluster(self.gpu_nodes().map(of))
        } else {
            Hardware::of_cluster(self.nodes.value().into_iter().flatten().map(of))
        }
    }

    /// GPUs that can be had: by device plugin and by DRA.
    #[must_use]
    pub fn gpus(&self) -> GpuTotals {
        let mut totals = GpuTotals::default();
        for node in self.gpu_nodes() {
            match (node.gpus.allocatable, node.gpus.dra_devices) {
                (Some(_), _) => totals.device_plugin += node.gpus.usable(),
                (None, Some(devices)) => totals.dra += devices,
                (None, None) => {}
            }
        }
        totals
    }
}

/// GPUs of a cluster by the way in which they are had.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GpuTotals {
    /// By an extended resource.
    pub device_plugin: u64,
    /// By ResourceClaims.
    pub dra: u64,
}

/// Facts of the cluster as a whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClusterFacts {
    /// UID of the kube-system namespace: the usual stand-in for a cluster id.
    pub id: Reading<String>,
    /// `gitVersion` of the API server, e.g. `v1.35.4`.
    pub version: Reading<String>,
    /// `platform` of the API server, e.g. `linux/amd64`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
    /// `goVersion` of the API server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub go_version: Option<String>,
    /// What the nodes are, taken together.
    pub hardware: Hardware,
}

/// One node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// Simulated, real or unknown; follows from `marks`, and from `facts` where there are no marks.
    pub hardware: Hardware,
    /// What was seen that tells simulated from real hardware, e.g. `annotation kwok.x-k8s.io/node`.
    pub marks: Vec<String>,
    /// Every label.
    pub labels: BTreeMap<String, String>,
    /// Taints: key, value and effect.
    pub taints: Vec<Taint>,
    /// True if cordoned.
    pub unschedulable: bool,
    /// `status.capacity`, as quantities.
    pub capacity: BTreeMap<String, String>,
    /// `status.allocatable`, as quantities.
    pub allocatable: BTreeMap<String, String>,
    /// Condition type → status (`True`, `False`, `Unknown`).
    pub conditions: BTreeMap<String, String>,
    /// kubelet, kernel, OS image and container runtime versions.
    pub versions: BTreeMap<String, String>,
    /// What GPUs it advertises, and how.
    pub gpus: GpuAdvert,
    /// `spec.providerID`, where the node has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider_id: Option<String>,
    /// What was seen on the node itself. Not there if it was not asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub facts: Option<Reading<Facts>>,
}

impl Node {
    /// True if it says that it has GPUs, or if GPUs were seen on it.
    #[must_use]
    pub fn has_gpus(&self) -> bool {
        let labelled = || {
            let vendors = vendor::all().unwrap_or(&[]);
            vendors.iter().any(|vendor| self.labels.get(&vendor.labels.present).is_some_and(|value| value == "true"))
        };
        let seen = || {
            let facts = self.facts.as_ref().and_then(Reading::value);
            facts.is_some_and(|facts| facts.gpus().next().is_some() || facts.pci.value().is_some_and(|gpus| !gpus.is_empty()))
        };
        self.gpus.any() || labelled() || seen()
    }

    /// True unless kwok plays its kubelet: pods are then said to run, and no container does.
    #[must_use]
    pub fn runs_containers(&self) -> bool {
        !self.marks.iter().any(|mark| mark.contains("kwok"))
    }

    /// What the hardware is: simulated by any mark, real if a probe saw its devices, else unknown.
    #[must_use]
    pub fn derived_hardware(&self) -> Hardware {
        let marked = Hardware::of_marks(&self.marks);
        let seen = self.facts.as_ref().and_then(Reading::value).is_some_and(Facts::shows_devices);
        if marked == Hardware::Unknown && seen { Hardware::Real } else { marked }
    }
}

/// A taint.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Taint {
    /// Key.
    pub key: String,
    /// Value; empty where there is none.
    pub value: String,
    /// `NoSchedule`, `PreferNoSchedule` or `NoExecute`.
    pub effect: String,
}

/// What one node says of its GPUs. An advertiser that is not there is `None`, which is not zero.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GpuAdvert {
    /// Vendor profile that recognised them, e.g. `nvidia`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vendor: Option<String>,
    /// Product by label, e.g. `NVIDIA-H100-80GB-HBM3`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub product: Option<String>,
    /// Count by label.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label_count: Option<u64>,
    /// Count by `status.capacity` of the device plugin's resource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capacity: Option<u64>,
    /// Count by `status.allocatable` of the device plugin's resource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allocatable: Option<u64>,
    /// Devices in the node's ResourceSlices of the GPU driver.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dra_devices: Option<u64>,
    /// Replicas per GPU when time-slicing or MPS multiplies them; 1 without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<u64>,
}

impl GpuAdvert {
    /// GPUs that can be had on the node: by device plugin, else by DRA; 0 if neither advertises.
    #[must_use]
    pub fn usable(&self) -> u64 {
        self.allocatable.map(|count| count / self.replicas.unwrap_or(1).max(1)).or(self.dra_devices).unwrap_or(0)
    }

    /// True if anything says that there are GPUs.
    #[must_use]
    pub fn any(&self) -> bool {
        self.label_count.is_some() || self.capacity.is_some() || self.allocatable.is_some() || self.dra_devices.is_some()
    }
}

/// A DRA pool: the slices of one driver and pool name, of the highest generation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Pool {
    /// The driver.
    pub driver: String,
    /// The pool's name; for node-local devices usually the node's.
    pub name: String,
    /// The node, for node-local pools.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// The highest generation seen.
    pub generation: i64,
    /// Slices of that generation that exist.
    pub slices: usize,
    /// Slices that the pool says it has.
    pub slices_declared: i64,
    /// Slices of older generations still about.
    pub stale_slices: usize,
    /// The devices, by name.
    pub devices: Vec<Device>,
}

impl Pool {
    /// True if all slices that the pool declares are there; the scheduler allocates from no other.
    #[must_use]
    pub fn complete(&self) -> bool {
        i64::try_from(self.slices).is_ok_and(|slices| slices == self.slices_declared)
    }
}

/// A device of a pool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Device {
    /// Its name in the pool.
    pub name: String,
    /// Attributes, as text.
    pub attributes: BTreeMap<String, String>,
    /// Capacities, as quantities.
    pub capacity: BTreeMap<String, String>,
    /// Device taints.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub taints: Vec<Taint>,
}

/// A DeviceClass.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DeviceClass {
    /// Its name.
    pub name: String,
    /// Its CEL selectors.
    pub selectors: Vec<String>,
}

/// A workload with its images.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Workload {
    /// `Deployment`, `DaemonSet` or `StatefulSet`.
    pub kind: String,
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Its labels `app.kubernetes.io/version` and `helm.sh/chart`, where set.
    pub versions: BTreeMap<String, String>,
    /// Container images as written in the pod template, with the `imageID`s that run of each.
    pub images: BTreeMap<String, Vec<String>>,
}

/// A CustomResourceDefinition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Crd {
    /// Its name, `<plural>.<group>`.
    pub name: String,
    /// Served versions, sorted.
    pub versions: Vec<String>,
    /// True if the API server has established it.
    pub established: bool,
}
