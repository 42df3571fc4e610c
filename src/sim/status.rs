//! Says what a simulated cluster consists of: processes, nodes, GPUs.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Serialize;
use serde_json::Value;

use crate::cluster::{Cluster, Query, Target};
use crate::error::{Error, Kind, Result};
use crate::sim::home::Home;
use crate::sim::{addons, processes};

/// What a simulated cluster consists of.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// Its name.
    pub name: String,
    /// Its directory.
    pub dir: PathBuf,
    /// Its kubeconfig.
    pub kubeconfig: PathBuf,
    /// Component → process id.
    pub processes: BTreeMap<String, u32>,
    /// Add-ons, in the order in which they were started.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub addons: Vec<addons::Running>,
    /// The nodes, by name.
    pub nodes: Vec<NodeStatus>,
    /// GPUs of all nodes.
    pub gpus: u64,
}

/// One node.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeStatus {
    /// Its name.
    pub name: String,
    /// True if it is Ready.
    pub ready: bool,
    /// GPUs in its capacity; absent if it has no such resource.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capacity: Option<u64>,
    /// Devices in its ResourceSlices; absent if it has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub devices: Option<u64>,
}

/// Looks at the cluster in `home`.
///
/// # Errors
/// [`Kind::NotFound`] if there is none; [`Kind::Unavailable`] if it is still starting or a component has ended.
pub async fn status(home: &Home) -> Result<Status> {
    let Some(record) = home.record()? else {
        let message = format!("there is no simulated cluster in {}", home.dir().display());
        return Err(Error::new(Kind::NotFound, message).hint("start one with `seatrial sim up`"));
    };
    if !record.ready {
        let message = format!("simulated cluster {} is still starting, or its start was cut off", record.name);
        return Err(Error::new(Kind::Unavailable, message).hint("`seatrial sim down` clears away what is there"));
    }
    let plane = home.plane(&record.name);
    if let Some(component) = processes::lost(&plane).first() {
        let log = plane.join("logs").join(format!("{component}.log"));
        let message = format!("{component} of simulated cluster {} has ended", record.name);
        return Err(Error::new(Kind::Unavailable, message).hint(format!("its log: {}", log.display())));
    }
    let place = home.addons();
    if let Some((process, log)) = addons::lost(&place.dir) {
        let message = format!("{process}, an add-on's process of simulated cluster {}, has ended", record.name);
        return Err(Error::new(Kind::Unavailable, message).hint(format!("its log: {}", log.display())));
    }
    let cluster = Cluster::connect(&Target { kubeconfig: Some(home.kubeconfig()), context: None }).await?;
    let nodes = nodes(&cluster).await?;
    let gpus = nodes.iter().filter_map(|node| node.capacity.or(node.devices)).sum();
    let processes = processes::running(&plane);
    let addons = addons::running(&place.dir)?;
    Ok(Status { name: record.name, dir: home.dir().to_owned(), kubeconfig: home.kubeconfig(), processes, addons, nodes, gpus })
}

async fn nodes(cluster: &Cluster) -> Result<Vec<NodeStatus>> {
    let mut devices: BTreeMap<String, u64> = BTreeMap::new();
    for slice in cluster.list("resource.k8s.io/v1", "ResourceSlice", &Query::all()).await? {
        if let Some(node) = slice["spec"]["nodeName"].as_str() {
            *devices.entry(node.to_owned()).or_default() += slice["spec"]["devices"].as_array().map_or(0, |list| list.len() as u64);
        }
    }
    let mut nodes = Vec::new();
    for node in cluster.list("v1", "Node", &Query::all()).await? {
        let name = node["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let ready = |condition: &Value| condition["type"] == "Ready" && condition["status"] == "True";
        nodes.push(NodeStatus {
            ready: node["status"]["conditions"].as_array().is_some_and(|all| all.iter().any(ready)),
            capacity: gpu_capacity(&node["status"]["capacity"]),
            devices: devices.get(&name).copied(),
            name,
        });
    }
    nodes.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(nodes)
}

/// The extended resource of the profiles: whatever its vendor, its name ends in `/gpu`.
fn gpu_capacity(capacity: &Value) -> Option<u64> {
    let (_, count) = capacity.as_object()?.iter().find(|(name, _)| name.ends_with("/gpu"))?;
    count.as_str()?.parse().ok()
}
