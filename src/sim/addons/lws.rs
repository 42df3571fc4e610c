//! LeaderWorkerSet: groups of pods with a leader, as served models want them.

use serde_json::{Value, json};

use crate::error::Result;
use crate::sim::addons::{Addon, Process, Starting};
use crate::yaml;

/// See the module.
pub static ADDON: Addon = Addon {
    name: "lws",
    what: "LeaderWorkerSet, which runs groups of pods with a leader",
    needs: &[],
    programs: &["lws"],
    exposed: None,
    start: |cx| Box::pin(start(cx)),
};

async fn start(cx: &Starting<'_>) -> Result<()> {
    let (webhook, health, metrics) = (cx.port("webhook")?, cx.port("health")?, cx.port("metrics")?);
    let certificates = cx.certificates("lws-ca", &[])?;
    cx.define(cx.manifests("lws", "crds")?).await?;
    let configuration = json!({
        "apiVersion": "config.lws.x-k8s.io/v1alpha1", "kind": "Configuration",
        "health": {"healthProbeBindAddress": format!("127.0.0.1:{health}")},
        "metrics": {"bindAddress": format!("127.0.0.1:{metrics}")},
        "webhook": {"host": "127.0.0.1", "port": webhook, "certDir": certificates.dir},
        "leaderElection": {"leaderElect": false},
        "internalCertManagement": {"enable": false},
    });
    let configuration = cx.file("config.yaml", &yaml::to_string(&configuration)?)?;
    cx.run(&Process { name: "lws", program: "lws", args: vec![format!("--config={configuration}")], env: Vec::new() })?;
    cx.answers(&format!("http://127.0.0.1:{health}/readyz")).await?;
    let mut webhooks = Starting::webhooks(cx.manifests("lws", "webhooks")?, "lws-", webhook, &certificates.authority, |_| true);
    for hook in webhooks.iter_mut().filter_map(|object| object["webhooks"].as_array_mut()).flatten() {
        // Only its own pods are its business, as in what its makers install.
        if hook["name"].as_str().is_some_and(|name| name.ends_with("pod.kb.io")) {
            hook["objectSelector"] = json!({"matchExpressions": [{"key": "leaderworkerset.sigs.k8s.io/name", "operator": "Exists"}]});
        }
    }
    cx.apply(&webhooks).await?;
    cx.until("a LeaderWorkerSet is completed by its webhook", || async {
        let created = cx.cluster.dry_run_create(&probe()).await?;
        Ok(created["spec"]["rolloutStrategy"]["type"] == "RollingUpdate")
    })
    .await
}

/// A set that says nothing of how it is updated, which the webhook fills in; only ever a dry run.
fn probe() -> Value {
    let pod = json!({"spec": {"containers": [{"name": "c", "image": "example.invalid/c:1"}]}});
    json!({
        "apiVersion": "leaderworkerset.x-k8s.io/v1", "kind": "LeaderWorkerSet", "metadata": {"name": "lws-probe", "namespace": "default"},
        "spec": {"replicas": 0, "leaderWorkerTemplate": {"size": 1, "workerTemplate": pod}},
    })
}
