//! Kubeflow Trainer: training jobs by runtimes, run as JobSets.

use serde_json::{Value, json};

use crate::error::{Context, Kind, Result};
use crate::sim::addons::{Addon, Process, Starting};
use crate::yaml;

/// See the module.
pub static ADDON: Addon = Addon {
    name: "trainer",
    what: "Kubeflow Trainer, which makes JobSets of training jobs",
    needs: &["jobset"],
    programs: &["trainer"],
    exposed: None,
    start: |cx| Box::pin(start(cx)),
};

async fn start(cx: &Starting<'_>) -> Result<()> {
    let (webhook, health, metrics) = (cx.port("webhook")?, cx.port("health")?, cx.port("metrics")?);
    let certificates = cx.certificates("trainer-ca", &[])?;
    let mut definitions = cx.manifests("trainer", "crds")?;
    definitions.retain(|object| object["kind"] == "CustomResourceDefinition");
    cx.define(definitions).await?;
    // It asks once what is served, and ends if its own kinds are not among that yet.
    for kind in ["TrainJob", "TrainingRuntime", "ClusterTrainingRuntime"] {
        cx.cluster.wait_served("trainer.kubeflow.org/v1alpha1", kind).await?;
    }
    // It is not told a folder for certificates, and looks where its library does: in one of this name among temporary files, which are its own here.
    let expected = cx.dir().join("k8s-webhook-server");
    std::fs::create_dir_all(&expected).with_context(|| format!("make {}", expected.display()))?;
    let link = expected.join("serving-certs");
    if !link.exists() {
        std::os::unix::fs::symlink(&certificates.dir, &link).with_context(|| format!("make {}", link.display()))?;
    }
    let configuration = json!({
        "apiVersion": "config.trainer.kubeflow.org/v1alpha1", "kind": "Configuration",
        "health": {"healthProbeBindAddress": format!("127.0.0.1:{health}")},
        "metrics": {"bindAddress": format!("127.0.0.1:{metrics}"), "secureServing": false},
        "webhook": {"host": "127.0.0.1", "port": webhook},
        "leaderElection": {"leaderElect": false},
        "certManagement": {"enable": false},
    });
    let configuration = cx.file("config.yaml", &yaml::to_string(&configuration)?)?;
    cx.run(&Process { name: "trainer", program: "trainer", args: vec![format!("--config={configuration}")], env: Vec::new() })?;
    cx.answers(&format!("http://127.0.0.1:{health}/readyz")).await?;
    cx.apply(&Starting::webhooks(cx.manifests("trainer", "webhooks")?, "trainer-", webhook, &certificates.authority, |_| true)).await?;
    cx.until("a training job of a runtime that there is not is refused", || async {
        match cx.cluster.dry_run_create(&probe()).await {
            Ok(_) => Ok(false),
            Err(error) if error.kind() != Kind::Unavailable && error.chain().contains("denied the request") => Ok(true),
            Err(error) => Err(error),
        }
    })
    .await
}

/// A training job that is refused; only ever a dry run.
fn probe() -> Value {
    json!({
        "apiVersion": "trainer.kubeflow.org/v1alpha1", "kind": "TrainJob", "metadata": {"name": "trainer-probe", "namespace": "default"},
        "spec": {"suspend": true, "runtimeRef": {"apiGroup": "trainer.kubeflow.org", "kind": "TrainingRuntime", "name": "absent"}},
    })
}
