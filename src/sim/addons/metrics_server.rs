//! metrics-server: what pods use, as kwok plays it; autoscalers of pods read it.

use serde_json::{Value, json};

use crate::cluster::{ObjectRef, Query};
use crate::error::Result;
use crate::sim::addons::{Addon, Process, Starting};
use crate::sim::{MANAGER, embedded};
use crate::yaml;

/// See the module.
pub static ADDON: Addon = Addon {
    name: "metrics-server",
    what: "metrics-server, which says what pods use, as their annotations tell it",
    needs: &[],
    programs: &["metrics-server"],
    exposed: None,
    start: |cx| Box::pin(start(cx)),
};

/// Where a node says that its kubelet's metrics of resources are; kwok serves those of all nodes.
const PATH: &str = "metrics.k8s.io/resource-metrics-path";
const SERVICE: &str = "metrics-server";

async fn start(cx: &Starting<'_>) -> Result<()> {
    let port = cx.port("api")?;
    let certificates = cx.certificates("metrics-server-ca", &[])?;
    cx.apply(&yaml::all_from_str::<Value>(embedded("metrics/usage.yaml").unwrap_or_default(), "sim/metrics/usage.yaml")?).await?;
    for node in cx.cluster.list("v1", "Node", &Query::all()).await? {
        let name = ObjectRef::of(&node).name;
        let annotations = json!({PATH: format!("/metrics/nodes/{name}/metrics/resource")});
        let part = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "annotations": annotations}});
        // Another manager than the one that loads nodes: it would take out what it does not know.
        cx.cluster.apply(&part, &format!("{MANAGER}-{SERVICE}"), true).await?;
    }
    let kubeconfig = cx.kubeconfig().display();
    let file = |name: &str| certificates.dir.join(name).display().to_string();
    let args = [
        "--bind-address=127.0.0.1".to_owned(),
        format!("--secure-port={port}"),
        format!("--kubeconfig={kubeconfig}"),
        format!("--authentication-kubeconfig={kubeconfig}"),
        format!("--authorization-kubeconfig={kubeconfig}"),
        format!("--tls-cert-file={}", file("tls.crt")),
        format!("--tls-private-key-file={}", file("tls.key")),
        // kwok's port speaks with a certificate of its own, and is the one that the node's status says.
        "--kubelet-insecure-tls".to_owned(),
        "--kubelet-use-node-status-port".to_owned(),
        "--kubelet-preferred-address-types=InternalIP,Hostname".to_owned(),
        // The shortest that it takes; the second must be less than the first.
        "--metric-resolution=10s".to_owned(),
        "--kubelet-request-timeout=5s".to_owned(),
    ];
    cx.run(&Process { name: SERVICE, program: SERVICE, args: args.to_vec(), env: Vec::new() })?;
    cx.apply(&served(port)).await?;
    cx.until("it says what nodes use", || async {
        // Until its APIService is available, the API server has nobody to ask.
        Ok(!cx.cluster.list("metrics.k8s.io/v1beta1", "NodeMetrics", &Query::all()).await?.is_empty())
    })
    .await
}

/// The API server finds it by a name that stands for this machine.
fn served(port: u16) -> [Value; 2] {
    [
        json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": SERVICE, "namespace": "kube-system"},
            "spec": {"type": "ExternalName", "externalName": "localhost", "ports": [{"port": port}]},
        }),
        json!({
            "apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "metadata": {"name": "v1beta1.metrics.k8s.io"},
            "spec": {
                "group": "metrics.k8s.io", "version": "v1beta1", "insecureSkipTLSVerify": true,
                "groupPriorityMinimum": 100, "versionPriority": 100,
                "service": {"name": SERVICE, "namespace": "kube-system", "port": port},
            },
        }),
    ]
}
