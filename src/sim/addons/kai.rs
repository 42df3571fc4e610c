//! KAI: a scheduler for GPU clusters that places gangs or nothing, and its controllers.

use serde_json::{Value, json};

use crate::error::Result;
use crate::sim::addons::{Addon, Process, Starting};

/// See the module.
pub static ADDON: Addon = Addon {
    name: "kai",
    what: "KAI, a scheduler for gangs and queues",
    needs: &[],
    programs: &["kai-scheduler", "kai-binder", "kai-podgrouper", "kai-podgroupcontroller", "kai-queuecontroller"],
    exposed: Some("its scheduler's server for plug-ins takes no address"),
    start: |cx| Box::pin(start(cx)),
};

/// Its priority classes, as its makers install them.
const PRIORITIES: [(&str, i32); 4] = [("train", 50), ("build-preemptible", 75), ("build", 100), ("inference", 125)];

async fn start(cx: &Starting<'_>) -> Result<()> {
    cx.define(cx.manifests("kai-scheduler", "crds")?).await?;
    cx.namespace("kai-scheduler").await?;
    let class = |(name, value): (&str, i32)| json!({"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": name}, "value": value, "globalDefault": false});
    cx.apply(&PRIORITIES.map(class)).await?;
    let local = |flag: &str, purpose: &str| -> Result<String> { Ok(format!("--{flag}=127.0.0.1:{}", cx.port(purpose)?)) };
    let health = cx.port("podgroupcontroller-health")?;
    let run = |name: &str, args: Vec<String>| cx.run(&Process { name, program: name, args, env: Vec::new() });
    run(
        "kai-scheduler",
        vec![
            "--schedule-period=1s".to_owned(),
            "--namespace=kai-scheduler".to_owned(),
            local("listen-address", "scheduler")?,
            format!("--plugin-server-port={}", cx.port("scheduler-plugins")?),
        ],
    )?;
    run(
        "kai-binder",
        vec![
            local("metrics-bind-address", "binder-metrics")?,
            local("health-probe-bind-address", "binder-health")?,
            "--fake-gpu-nodes".to_owned(),
        ],
    )?;
    run(
        "kai-podgrouper",
        vec![local("metrics-bind-address", "podgrouper-metrics")?, local("health-probe-bind-address", "podgrouper-health")?],
    )?;
    run(
        "kai-podgroupcontroller",
        vec![
            local("metrics-bind-address", "podgroupcontroller-metrics")?,
            format!("--health-probe-bind-address=127.0.0.1:{health}"),
            "--enable-podgroup-webhook=false".to_owned(),
        ],
    )?;
    run("kai-queuecontroller", vec![local("metrics-listen-address", "queuecontroller-metrics")?, "--enable-webhook=false".to_owned()])?;
    // The binder answers no such question.
    cx.answers(&format!("http://127.0.0.1:{health}/readyz")).await?;
    // What its makers install has a queue of this name.
    cx.apply(&[queue()]).await
}

/// A queue without limits.
fn queue() -> Value {
    let all = json!({"quota": -1, "limit": -1, "overQuotaWeight": 1});
    json!({
        "apiVersion": "scheduling.run.ai/v2", "kind": "Queue", "metadata": {"name": "default"},
        "spec": {"resources": {"gpu": all, "cpu": all, "memory": all}},
    })
}
