//! Every exporter tells of every GPU of its node, and what it tells moves.

mod judge;
#[cfg(test)]
mod judge_tests;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use backon::Retryable;
use futures::StreamExt;
use serde_json::{Value, json};

use crate::checks::exposition::Exposition;
use crate::checks::{Check, Cx, Fidelity, Phase, no_more, probe};
use crate::cluster::{Access, Answer, ObjectRef, Place, Query};
use crate::error::{Error, Result};
use crate::limits;
use crate::results::{ErrorReason, Outcome};
use crate::snapshot::{Node, Pool, nodes};
use crate::vendor::{Vendor, is_one_of};

use judge::{Asked, Looks, NodeLook};

pub(super) static CHECK: Check = Check {
    id: "accelerator-metrics",
    version: 1,
    title: "Every exporter tells of every GPU of its node, and what it tells moves",
    requirement: Some("accelerator_metrics"),
    phase: Phase::Conformance,
    gpus: 0,
    access: &[
        Access::read("", "nodes"),
        Access::read("", "pods"),
        Access::read("apps", "daemonsets"),
        Access::read("resource.k8s.io", "resourceslices"),
        Access::forward(Place::Cluster),
    ],
    reads: no_more,
    timeout: Duration::from_secs(150),
    fidelity: Fidelity::Api,
    behavioural: false,
    docs: "\
# What it checks
On every GPU node a pod of the vendor's metrics exporter is ready (NVIDIA: DCGM exporter, AMD: Device Metrics Exporter) and answers on its port, which is
asked through the API server. Its answer is read as Prometheus text. It has a series for each GPU that the node has, the same GPUs as in the DRA driver's
ResourceSlices where those name them; utilisation, memory, temperature and power of each, within what a GPU can have; no GPU or node name of another node;
no time stamp older than two minutes. Then it is asked again, for up to 45 seconds: something of every GPU has changed, the energy that it has used where the
exporter has that. No load is made: a value that moves is shown, a value that follows load is not.

# Why it matters
CNCF AI conformance requires metrics of utilisation and memory per accelerator. One exporter behind a Service says nothing of the other nodes, and an exporter
that goes on telling what it once read looks healthy on every dashboard.

# How to fix it
Not ready or no answer: `kubectl logs` of the exporter's pod on that node. A GPU is missing: compare with the driver's own list on the node. Values that do not
move: restart the exporter; look at the host engine that it asks.",
    run: |cx| Box::pin(run(cx)),
};

async fn run(cx: &Cx<'_>) -> Result<Outcome> {
    let everything = Query::all();
    let pools = probe::dra_pools(&cx.cluster).await?;
    let (objects, daemon_sets) =
        tokio::try_join!(cx.cluster.list("v1", "Node", &everything), cx.cluster.list("apps/v1", "DaemonSet", &everything))?;
    let all = nodes::read(&objects, Some(&pools));
    let own: Vec<&Node> = all.iter().filter(|node| node.gpus.any() && node.gpus.vendor.as_ref() == Some(&cx.vendor.name)).collect();
    if own.is_empty() {
        return Ok(Outcome::error(ErrorReason::NoSubject, format!("no node advertises a GPU of {}", cx.vendor.name))
            .fix("check that the GPU operator or DRA driver is installed and that the recipe names the right vendor"));
    }
    let exporters = exporters(&daemon_sets, cx.vendor);
    if exporters.is_empty() {
        let operator = &cx.vendor.operator;
        let message =
            format!("there is no DaemonSet {} in namespace {}", operator.exporters.join(" or "), operator.namespaces.join(" or "));
        let names = own.iter().map(|node| node.name.clone()).collect();
        return Ok(Outcome::fail(message).fix("install the vendor's metrics exporter").seen("nodes", names, own.len()).asserted(0, 1));
    }
    let pods = pods_by_node(cx, &exporters).await?;
    let asked = own.iter().map(|node| ask(cx, node, &pools, pods.get(&node.name)));
    // Collected, as a stream of a borrowing closure is not known to be Send.
    let asked: Vec<_> = asked.collect();
    let looks: Vec<NodeLook> = futures::stream::iter(asked).buffered(limits::EXPORTERS_PARALLEL).collect().await;
    let names: BTreeSet<String> = all.iter().map(|node| node.name.clone()).collect();
    let outcome = judge::judge(&looks, &names, &cx.vendor.exporter, cx.cluster.now());
    let command = format!("kubectl port-forward POD {0} & curl http://localhost:{0}{1}", cx.vendor.exporter.port, cx.vendor.exporter.path);
    Ok(outcome.artifact("series of each GPU at the first look", Some(&command), table(&looks, cx.vendor)))
}

/// DaemonSets of the vendor's exporter: by name in a namespace of the operator, or anywhere by a name that is no pattern.
fn exporters<'a>(daemon_sets: &'a [Value], vendor: &Vendor) -> Vec<&'a Value> {
    let operator = &vendor.operator;
    let ours = |object: &&Value| {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        let at_home = operator.namespaces.iter().any(|known| object["metadata"]["namespace"] == known.as_str());
        operator.exporters.iter().any(|known| known == name) || at_home && is_one_of(name, &operator.exporters)
    };
    daemon_sets.iter().filter(ours).collect()
}

/// The exporter's pod on each node; of several, as while one takes the place of another, one that is ready.
async fn pods_by_node(cx: &Cx<'_>, exporters: &[&Value]) -> Result<BTreeMap<String, Value>> {
    let mut found: BTreeMap<String, Value> = BTreeMap::new();
    for exporter in exporters {
        let pods = super::operator::pods_of(cx, exporter).await?;
        for pod in pods.into_iter().filter(|pod| pod["metadata"]["deletionTimestamp"].is_null()) {
            let Some(node) = pod["spec"]["nodeName"].as_str().map(str::to_owned) else { continue };
            let better = found.get(&node).is_none_or(|other| super::operator::pod_problem(other).is_some());
            if better {
                found.insert(node, pod);
            }
        }
    }
    Ok(found)
}

/// Looks at one node's exporter until something of each GPU has moved, or for as long as that may take.
async fn ask(cx: &Cx<'_>, node: &Node, pools: &[Pool], pod: Option<&Value>) -> NodeLook {
    let gpus = &node.gpus;
    let counted = gpus.label_count.or(gpus.dra_devices).or(gpus.capacity.map(|count| count / gpus.replicas.unwrap_or(1).max(1)));
    let asked = match pod {
        None => Asked::Wrong(
            "no pod of the metrics exporter is there".to_owned(),
            "look at the node selector and tolerations of the exporter's DaemonSet",
        ),
        Some(pod) => match super::operator::pod_problem(pod) {
            Some(problem) => Asked::Wrong(problem, "kubectl describe that pod; look at its log"),
            None => look(cx, &ObjectRef::of(pod)).await,
        },
    };
    NodeLook { name: node.name.clone(), gpus: counted, ids: ids(node, pools, cx.vendor), asked }
}

async fn look(cx: &Cx<'_>, pod: &ObjectRef) -> Asked {
    let exporter = &cx.vendor.exporter;
    let scrape = || async { cx.cluster.forward_get(pod, exporter.port, &exporter.path).await };
    let begun = Instant::now();
    let first = match scrape().await {
        Ok(answer) if answer.status.is_success() => Exposition::of(&answer),
        Ok(answer) => return refused(pod, &answer, cx.vendor),
        Err(error) => return unknown(&error),
    };
    cx.waiting(&format!("the values of {pod} to move"));
    // Time passes before the first repetition as well.
    let backoff = backon::ExponentialBuilder::default()
        .with_min_delay(limits::METRICS_LOOK_MIN)
        .with_max_delay(limits::METRICS_LOOK_MAX)
        .with_total_delay(Some(limits::METRICS_WINDOW))
        .without_max_times();
    let mut looked = false;
    let again = || {
        let later = std::mem::replace(&mut looked, true);
        let first = &first;
        async move {
            if !later {
                return Err(Later::Still(judge::still(first, first, exporter)));
            }
            match scrape().await {
                Ok(answer) if answer.status.is_success() => {
                    let still = judge::still(first, &Exposition::of(&answer), exporter);
                    if still.is_empty() { Ok(()) } else { Err(Later::Still(still)) }
                }
                Ok(answer) => Err(Later::Ended(Box::new(refused(pod, &answer, cx.vendor)))),
                Err(error) => Err(Later::Ended(Box::new(unknown(&error)))),
            }
        }
    };
    let still = match again.retry(backoff).when(|later| matches!(later, Later::Still(_))).await {
        Ok(()) => BTreeSet::new(),
        Err(Later::Still(still)) => still,
        Err(Later::Ended(asked)) => return *asked,
    };
    Asked::Said(Looks { first, still, seconds: begun.elapsed().as_secs_f64() })
}

/// Why a later look did not end the looking.
enum Later {
    Still(BTreeSet<String>),
    Ended(Box<Asked>),
}

fn refused(pod: &ObjectRef, answer: &Answer, vendor: &Vendor) -> Asked {
    let (path, port) = (&vendor.exporter.path, vendor.exporter.port);
    Asked::Wrong(
        format!("{pod} answers {} for {path} on port {port}", answer.status.as_u16()),
        "look at the log of the exporter's pod on that node",
    )
}

fn unknown(error: &Error) -> Asked {
    Asked::Unknown(ErrorReason::from(error), error.chain())
}

/// Ids of the node's GPUs, where its DRA driver publishes one for each.
fn ids(node: &Node, pools: &[Pool], vendor: &Vendor) -> BTreeSet<String> {
    let local = pools.iter().filter(|pool| pool.driver == vendor.driver && pool.node.as_ref() == Some(&node.name) && pool.complete());
    let id = |attributes: &BTreeMap<String, String>| {
        attributes.iter().find(|(key, _)| *key == "uuid" || key.ends_with("/uuid")).map(|(_, id)| id.clone())
    };
    let found: Option<BTreeSet<String>> = local.flat_map(|pool| &pool.devices).map(|device| id(&device.attributes)).collect();
    found.unwrap_or_default()
}

/// What was read of each GPU, for whoever wants to see it.
fn table(looks: &[NodeLook], vendor: &Vendor) -> Value {
    let mut left = limits::DIAGNOSTICS_BYTES;
    let mut rows = Vec::new();
    for node in looks {
        let Asked::Said(said) = &node.asked else { continue };
        for (id, series) in judge::by_gpu(&said.first, &vendor.exporter) {
            let values: BTreeMap<&str, f64> = series.iter().map(|series| (series.name.as_str(), series.value)).collect();
            let row = json!({"node": node.name, "gpu": id, "values": values});
            left = left.saturating_sub(row.to_string().len());
            if left == 0 {
                return json!(rows);
            }
            rows.push(row);
        }
    }
    json!(rows)
}
