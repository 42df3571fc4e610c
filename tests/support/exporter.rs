//! Stand-ins for DCGM exporters behind the exporter pods of a simulated cluster. They say what release 4.4 says, of GPUs that are not there.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use super::cluster::LeasedCluster;
use super::eventually;
use super::pod_server::PodServer;

type Edit = Box<dyn Fn(String) -> String + Send + Sync>;

/// One for each GPU node of a demo cluster.
pub(crate) struct Exporters {
    edits: Arc<Mutex<BTreeMap<String, Edit>>>,
    _servers: Vec<PodServer>,
}

impl Exporters {
    /// Puts one behind each exporter pod.
    #[track_caller]
    pub(crate) fn behind(cluster: &LeasedCluster) -> Self {
        let edits: Arc<Mutex<BTreeMap<String, Edit>>> = Arc::default();
        let selector = ["pods", "-n", "gpu-operator", "-l", "app=nvidia-dcgm-exporter"];
        let pods = eventually("exporter pods to be placed", std::time::Duration::from_secs(30), || {
            let pods = cluster.get(&selector)["items"].as_array().cloned().expect("a list");
            (pods.len() == 4 && pods.iter().all(|pod| pod["spec"]["nodeName"].is_string())).then_some(pods)
        });
        let mut servers = Vec::new();
        for pod in pods {
            let node = pod["spec"]["nodeName"].as_str().expect("is placed").to_owned();
            let (gpus, kept, begun) = (gpus(cluster, &node), edits.clone(), Instant::now());
            let answer = move |_: &super::pod_server::Seen| {
                let text = says(&node, &gpus, begun.elapsed().as_millis());
                let edits = kept.lock().unwrap_or_else(PoisonError::into_inner);
                let text = match edits.get(&node) {
                    Some(edit) => edit(text),
                    None => text,
                };
                (if text == "500" { 500 } else { 200 }, text.into_bytes())
            };
            let server = PodServer::start(answer);
            server.behind(cluster, "gpu-operator", pod["metadata"]["name"].as_str().expect("has a name"), 9400);
            servers.push(server);
        }
        Self { edits, _servers: servers }
    }

    /// Changes what the exporter of one node says from now on; nothing is changed on any other.
    pub(crate) fn only(&self, node: &str, edit: impl Fn(String) -> String + Send + Sync + 'static) {
        let mut edits = self.edits.lock().unwrap_or_else(PoisonError::into_inner);
        edits.clear();
        edits.insert(node.to_owned(), Box::new(edit));
    }
}

/// Ids of a node's GPUs: of its ResourceSlices, else made up.
fn gpus(cluster: &LeasedCluster, node: &str) -> Vec<String> {
    let slices = cluster.get(&["resourceslices"]);
    let own = slices["items"].as_array().expect("a list").iter().filter(|slice| slice["spec"]["nodeName"] == node);
    let devices = own.flat_map(|slice| slice["spec"]["devices"].as_array().cloned().unwrap_or_default());
    let ids: Vec<String> = devices.filter_map(|device| Some(device["attributes"]["uuid"]["string"].as_str()?.to_owned())).collect();
    if ids.is_empty() { (0..8).map(|gpu| format!("GPU-{node}-{gpu}")).collect() } else { ids }
}

fn says(node: &str, gpus: &[String], milliseconds: u128) -> String {
    let mut text = String::new();
    let mut metric = |name: &str, help: &str, kind: &str, value: &dyn Fn(usize) -> String| {
        text += &format!("# HELP {name} {help}\n# TYPE {name} {kind}\n");
        for (gpu, id) in gpus.iter().enumerate() {
            text += &format!(
                "{name}{{gpu=\"{gpu}\",UUID=\"{id}\",pci_bus_id=\"00000000:{gpu}B:00.0\",device=\"nvidia{gpu}\",modelName=\"NVIDIA H100 80GB HBM3\",\
                 Hostname=\"{node}\",DCGM_FI_DRIVER_VERSION=\"570.148.08\",container=\"\",namespace=\"\",pod=\"\"}} {}\n",
                value(gpu)
            );
        }
    };
    metric("DCGM_FI_DEV_SM_CLOCK", "SM clock frequency (in MHz).", "gauge", &|_| "345".to_owned());
    metric("DCGM_FI_DEV_GPU_TEMP", "GPU temperature (in C).", "gauge", &|gpu| (28 + gpu).to_string());
    metric("DCGM_FI_DEV_POWER_USAGE", "Power draw (in W).", "gauge", &|gpu| format!("{}.{:03}000", 69 + gpu, milliseconds % 1000));
    metric("DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", "Total energy consumption since boot (in mJ).", "counter", &|gpu| {
        (15_152_422_938 + gpu as u128 * 1000 + milliseconds * 70).to_string()
    });
    metric("DCGM_FI_DEV_GPU_UTIL", "GPU utilization (in %).", "gauge", &|_| "0".to_owned());
    metric("DCGM_FI_DEV_FB_FREE", "Framebuffer memory free (in MiB).", "gauge", &|_| "81074".to_owned());
    metric("DCGM_FI_DEV_FB_USED", "Framebuffer memory used (in MiB).", "gauge", &|_| "4".to_owned());
    text
}
