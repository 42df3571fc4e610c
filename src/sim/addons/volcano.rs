//! Volcano: a scheduler that places gangs or nothing, its controllers and its webhooks.

use serde_json::{Value, json};

use crate::error::Result;
use crate::sim::addons::{Addon, Process, Starting};

/// See the module.
pub static ADDON: Addon = Addon {
    name: "volcano",
    what: "Volcano, a scheduler for gangs",
    needs: &[],
    programs: &["volcano-scheduler", "volcano-controller-manager", "volcano-webhook-manager"],
    exposed: None,
    start: |cx| Box::pin(start(cx)),
};

/// What the scheduler does in a cycle, and by which plugins: as in Volcano's own installation, but without overcommitment, which lets
/// pods of a gang be made that have no chance yet.
const POLICY: &str = "\
actions: \"enqueue, allocate, backfill\"
tiers:
- plugins:
  - name: priority
  - name: gang
    enablePreemptable: false
  - name: conformance
- plugins:
  - name: drf
    enablePreemptable: false
  - name: predicates
  - name: proportion
  - name: nodeorder
  - name: binpack
";

/// Which webhooks are served, as the program wants it.
const ADMISSION: &str = "/jobs/mutate,/jobs/validate,/podgroups/validate,/queues/mutate,/queues/validate";
/// The same webhooks by name.
const WEBHOOKS: [&str; 5] =
    ["mutatejob.volcano.sh", "validatejob.volcano.sh", "validatepodgroup.volcano.sh", "mutatequeue.volcano.sh", "validatequeue.volcano.sh"];

const QUEUE: &str = "scheduling.volcano.sh/v1beta1";

async fn start(cx: &Starting<'_>) -> Result<()> {
    let (webhook, scheduler, controller) = (cx.port("webhook")?, cx.port("scheduler")?, cx.port("controller-manager")?);
    let certificates = cx.certificates("volcano-ca", &[])?;
    cx.define([cx.manifests("volcano-scheduler", "crds")?, cx.manifests("volcano-scheduler", "jobflow")?].concat()).await?;
    cx.namespace("volcano-system").await?;
    // It does not start before they are there.
    let mut installed = cx.manifests("volcano-scheduler", "install")?;
    installed.retain(|object| object["kind"].as_str().is_some_and(|kind| kind.ends_with("WebhookConfiguration")));
    cx.apply(&Starting::webhooks(installed, "", webhook, &certificates.authority, |name| WEBHOOKS.contains(&name))).await?;
    let kubeconfig = format!("--kubeconfig={}", cx.kubeconfig().display());
    let certificate = |flag: &str, file: &str| format!("--{flag}={}", certificates.dir.join(file).display());
    let run = |name: &str, args: &[String]| {
        let args = [&[kubeconfig.clone(), "--logtostderr".to_owned()], args].concat();
        cx.run(&Process { name, program: name, args, env: Vec::new() })
    };
    run(
        "volcano-webhook-manager",
        &[
            "--listen-address=127.0.0.1".to_owned(),
            format!("--port={webhook}"),
            format!("--webhook-url=https://127.0.0.1:{webhook}"),
            format!("--enabled-admission={ADMISSION}"),
            certificate("tls-cert-file", "tls.crt"),
            certificate("tls-private-key-file", "tls.key"),
            certificate("ca-cert-file", "ca.crt"),
        ],
    )?;
    cx.until("a queue is completed by its webhook", || async {
        let created = cx.cluster.dry_run_create(&probe()).await?;
        Ok(created["spec"]["reclaimable"] == true)
    })
    .await?;
    let alone = "--leader-elect=false".to_owned();
    run("volcano-controller-manager", &[alone.clone(), format!("--listen-address=127.0.0.1:{controller}")])?;
    let policy = cx.file("scheduler.yaml", POLICY)?;
    let period = "--schedule-period=1s".to_owned();
    let address = format!("--listen-address=127.0.0.1:{scheduler}");
    run("volcano-scheduler", &[alone, address, period, format!("--scheduler-conf={policy}")])?;
    cx.until("its default queue is open", || async {
        let queue = cx.cluster.get(QUEUE, "Queue", None, "default").await?;
        Ok(queue.is_some_and(|queue| queue["status"]["state"] == "Open"))
    })
    .await
}

/// A queue that leaves out what the webhook fills in; only ever a dry run.
fn probe() -> Value {
    json!({"apiVersion": QUEUE, "kind": "Queue", "metadata": {"name": "volcano-probe"}, "spec": {"weight": 1}})
}
