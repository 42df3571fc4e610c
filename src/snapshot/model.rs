//! The snapshot document: deterministic, so that an unchanged cluster has the same digest.
//!
//! It holds no time stamps, heartbeats or resource versions, and none of seatrial's own objects. Lists are sorted by name.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::snapshot::hardware::Hardware;

/// A reading, or the reason why it could not be had. Absent and zero are different things.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Reading<T> {
    /// What was read.
    Value(T),
    /// Why it could not be read.
    Unavailable(String),
}

impl<T> Reading<T> {
    /// The value, if it was read.
    pub fn value(&self) -> Option<&T> {
        match self {
            Self::Value(value) => Some(value),
            Self::Unavailable(_) => None,
        }
    }

    /// Why it could not be read, if so.
    pub fn unavailable(&self) -> Option<&str> {
        match self {
            Self::Value(_) => None,
            Self::Unavailable(reason) => Some(reason),
        }
    }
}

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
}

impl Snapshot {
    /// Nodes that say they have GPUs, by name; none if nodes could not be read.
    pub fn gpu_nodes(&self) -> impl Iterator<Item = &Node> {
        self.nodes.value().into_iter().flatten().filter(|node| node.gpus.any())
    }

    /// What the hardware is, as it follows from the marks on the GPU nodes, or on all nodes where none has GPUs.
    #[must_use]
    pub fn derived_hardware(&self) -> Hardware {
        let of = |node: &Node| Hardware::of_marks(&node.marks);
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
    /// What the nodes are, taken together.
    pub hardware: Hardware,
}

/// One node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// Simulated, real or unknown; follows from `marks`.
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
