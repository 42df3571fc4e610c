//! JobSet: sets of jobs that start, fail and end together.

use serde_json::{Value, json};

use crate::error::Result;
use crate::sim::addons::{Addon, Process, Starting};
use crate::yaml;

/// See the module.
pub static ADDON: Addon = Addon {
    name: "jobset",
    what: "JobSet, which runs sets of jobs as one",
    needs: &[],
    programs: &["jobset"],
    exposed: None,
    start: |cx| Box::pin(start(cx)),
};

async fn start(cx: &Starting<'_>) -> Result<()> {
    let (webhook, health, metrics) = (cx.port("webhook")?, cx.port("health")?, cx.port("metrics")?);
    let certificates = cx.certificates("jobset-ca", &[])?;
    cx.define(cx.manifests("jobset", "crds")?).await?;
    let configuration = json!({
        "apiVersion": "config.jobset.x-k8s.io/v1alpha1", "kind": "Configuration",
        "health": {"healthProbeBindAddress": format!("127.0.0.1:{health}")},
        "metrics": {"bindAddress": format!("127.0.0.1:{metrics}"), "certDir": certificates.dir},
        "webhook": {"host": "127.0.0.1", "port": webhook, "certDir": certificates.dir},
        "leaderElection": {"leaderElect": false},
        "internalCertManagement": {"enable": false},
    });
    let configuration = cx.file("config.yaml", &yaml::to_string(&configuration)?)?;
    cx.run(&Process { name: "jobset", program: "jobset", args: vec![format!("--config={configuration}")], env: Vec::new() })?;
    cx.answers(&format!("http://127.0.0.1:{health}/readyz")).await?;
    let mut webhooks = Starting::webhooks(cx.manifests("jobset", "webhooks")?, "jobset-", webhook, &certificates.authority, |_| true);
    for hook in webhooks.iter_mut().filter_map(|object| object["webhooks"].as_array_mut()).flatten() {
        // Only its own pods are its business, as in what its makers install.
        if hook["name"].as_str().is_some_and(|name| name.ends_with("pod.kb.io")) {
            hook["objectSelector"] = json!({"matchExpressions": [{"key": "jobset.sigs.k8s.io/jobset-name", "operator": "Exists"}]});
        }
    }
    cx.apply(&webhooks).await?;
    cx.until("a JobSet is completed by its webhook", || async {
        let created = cx.cluster.dry_run_create(&probe()).await?;
        Ok(created["spec"]["successPolicy"]["operator"] == "All")
    })
    .await
}

/// A JobSet that says nothing of when it succeeds, which the webhook fills in; only ever a dry run.
fn probe() -> Value {
    let pod = json!({"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "example.invalid/c:1"}]}});
    json!({
        "apiVersion": "jobset.x-k8s.io/v1alpha2", "kind": "JobSet", "metadata": {"name": "jobset-probe", "namespace": "default"},
        "spec": {"replicatedJobs": [{"name": "w", "replicas": 1, "template": {"spec": {"template": pod}}}]},
    })
}
