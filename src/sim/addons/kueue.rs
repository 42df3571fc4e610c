//! Kueue: quota and admission for jobs.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::error::Result;
use crate::sim::addons::starting::client_config;
use crate::sim::addons::{Addon, Process, Starting};
use crate::yaml;

/// See the module.
pub static ADDON: Addon = Addon {
    name: "kueue",
    what: "Kueue, which admits jobs within quotas",
    needs: &[],
    programs: &["kueue"],
    exposed: None,
    start: |cx| Box::pin(start(cx)),
};

const NAMESPACE: &str = "kueue-system";

/// Kinds with two versions, between which Kueue's own webhook converts.
const CONVERTED: [&str; 5] = ["clusterqueues", "cohorts", "localqueues", "multikueueclusters", "workloads"];

/// Kinds of jobs that Kueue admits: its name for them, the add-on that defines them, the suffix of their webhooks.
const JOBS: [(&str, Option<&str>, &str); 3] = [
    ("batch/job", None, "job.kb.io"),
    ("jobset.x-k8s.io/jobset", Some("jobset"), "jobset.kb.io"),
    ("trainer.kubeflow.org/trainjob", Some("trainer"), "trainjob.kb.io"),
];

/// Webhooks of Kueue's own kinds.
const OWN: [&str; 5] = ["clusterqueue.kb.io", "cohort.kb.io", "resourceflavor.kb.io", "workload.kb.io", "localqueue.kb.io"];

async fn start(cx: &Starting<'_>) -> Result<()> {
    let (webhook, health, metrics) = (cx.port("webhook")?, cx.port("health")?, cx.port("metrics")?);
    let certificates = cx.certificates("kueue-ca", &["kueue-webhook-service.kueue-system.svc"])?;
    let mut definitions = cx.manifests("kueue", "crds")?;
    for definition in &mut definitions {
        if CONVERTED.iter().any(|plural| definition["spec"]["names"]["plural"] == *plural) {
            let client = client_config(webhook, "/convert", &certificates.authority);
            definition["spec"]["conversion"] =
                json!({"strategy": "Webhook", "webhook": {"clientConfig": client, "conversionReviewVersions": ["v1"]}});
        }
    }
    cx.define(definitions).await?;
    cx.namespace(NAMESPACE).await?;
    let secret = |text: &str| STANDARD.encode(text);
    cx.apply(&[json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "kueue-webhook-server-cert", "namespace": NAMESPACE},
        "data": {
            "ca.crt": secret(&certificates.authority), "ca.key": secret(&certificates.authority_key),
            "tls.crt": secret(&certificates.certificate), "tls.key": secret(&certificates.key),
        },
    })])
    .await?;
    let jobs: Vec<_> = JOBS.iter().filter(|(_, addon, _)| addon.is_none_or(|addon| cx.with(addon))).collect();
    let configuration = json!({
        "apiVersion": "config.kueue.x-k8s.io/v1beta2", "kind": "Configuration", "namespace": NAMESPACE,
        "health": {"healthProbeBindAddress": format!("127.0.0.1:{health}")},
        "metrics": {"bindAddress": format!("127.0.0.1:{metrics}")},
        "webhook": {"host": "127.0.0.1", "port": webhook, "certDir": certificates.dir},
        "leaderElection": {"leaderElect": false},
        // Told to manage its certificates, it finds ours in the Secret and keeps them; told not to, it wants a file below /etc.
        "internalCertManagement": {"enable": true},
        "clientConnection": {"qps": 300, "burst": 500},
        "integrations": {"frameworks": jobs.iter().map(|(framework, ..)| framework).collect::<Vec<_>>()},
    });
    let configuration = cx.file("config.yaml", &yaml::to_string(&configuration)?)?;
    // Its server of pending workloads has no address of its own to be told, and its certificate no folder.
    let args = vec![format!("--config={configuration}"), "--feature-gates=VisibilityOnDemand=false".to_owned()];
    cx.run(&Process { name: "kueue", program: "kueue", args, env: vec![("POD_NAMESPACE", NAMESPACE.to_owned())] })?;
    cx.answers(&format!("http://127.0.0.1:{health}/readyz")).await?;
    let served = |name: &str| {
        let bare = name.get(1..).unwrap_or_default();
        OWN.contains(&bare) || jobs.iter().any(|(.., suffix)| bare == *suffix)
    };
    cx.apply(&Starting::webhooks(cx.manifests("kueue", "webhooks")?, "kueue-", webhook, &certificates.authority, served)).await?;
    cx.until("a job of a queue is suspended", || async {
        let created = cx.cluster.dry_run_create(&probe()).await?;
        Ok(created["spec"]["suspend"] == true)
    })
    .await
}

/// A job that Kueue suspends when it is asked; only ever a dry run.
fn probe() -> Value {
    json!({
        "apiVersion": "batch/v1", "kind": "Job",
        "metadata": {"name": "kueue-probe", "namespace": "default", "labels": {"kueue.x-k8s.io/queue-name": "probe"}},
        "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "example.invalid/c:1"}]}}},
    })
}
