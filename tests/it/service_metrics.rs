//! ai-service-metrics with a real Prometheus; the workload and Prometheus' pod are simulated ones with real servers behind them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::support::cluster::{LeasedCluster, lease};
use crate::support::pod_server::PodServer;
use crate::support::prometheus::{Odd, Prometheus};
use crate::trial::{Site, Trial};

const CHECK: &str = "ai-service-metrics";

fn run(cluster: &LeasedCluster, code: i32) -> Trial {
    let site = Site::new();
    site.edit("    - dra-support\n    - gpu-capacity\n    - platform-health\n", &format!("    - {CHECK}\n"));
    site.run(&cluster.kubeconfig(), &site.workflow("training", &["snapshot", "conformance"]), &[], code)
}

/// What stands behind the workload: counts requests for `/`, and says `more` than it has counted.
fn workload(cluster: &LeasedCluster, more: u64) -> PodServer {
    let count = Arc::new(AtomicU64::new(0));
    let server = PodServer::start(move |seen| {
        if seen.path == "/metrics" {
            let count = count.load(Ordering::Relaxed);
            let text =
                if count == 0 { String::new() } else { format!("http_requests_total{{code=\"200\",method=\"get\"}} {}\n", count + more) };
            return (
                200,
                format!("# HELP http_requests_total Count of all HTTP requests\n# TYPE http_requests_total counter\n{text}").into_bytes(),
            );
        }
        count.fetch_add(1, Ordering::Relaxed);
        (200, b"Hello from example application.".to_vec())
    });
    server.behind(cluster, "default", "service-metrics", 8080);
    server
}

/// A run beside a Prometheus; the requests that the workload has seen.
async fn with(odd: Odd, more: u64, code: i32, check: impl FnOnce(&Trial)) {
    let cluster = lease().await;
    let server = workload(&cluster, more);
    let Some(_prometheus) = Prometheus::behind(&cluster, &server.address.to_string(), odd) else { return };
    let trial = run(&cluster, code);
    check(&trial);
    assert_eq!(server.seen().iter().filter(|seen| seen.path == "/").count(), 17, "each request is made once");
    assert_eq!(cluster.left(), "");
}

// case: ai-service-metrics | healthy | Prometheus finds the workload by its annotations and counts its 17 requests exactly, by the label of the run
#[tokio::test(flavor = "multi_thread")]
async fn requests_to_a_workload_arrive_in_prometheus_as_many_as_were_made() {
    with(Odd::No, 0, 0, |trial| {
        trial.has(CHECK, "pass", "pod monitoring/prometheus-0 has counted exactly 17 requests to pod default/service-metrics");
    })
    .await;
}

// case: ai-service-metrics | wrong | the count in Prometheus is one more than the requests that were made: fail, with both numbers
#[tokio::test(flavor = "multi_thread")]
async fn a_count_that_is_one_off_is_red() {
    with(Odd::No, 1, 1, |trial| {
        trial.has(CHECK, "fail", "counts 18 requests to pod default/service-metrics, 17 were made");
    })
    .await;
}

// case: ai-service-metrics | wrong | Prometheus keeps no annotated pod as a target: fail, it has not found the pod
#[tokio::test(flavor = "multi_thread")]
#[ignore = "matrix"]
async fn a_prometheus_that_does_not_find_the_workload_is_red() {
    with(Odd::Blind, 0, 1, |trial| {
        trial.has(CHECK, "fail", "has not found pod default/service-metrics in 240 s");
    })
    .await;
}

// case: ai-service-metrics | wrong | Prometheus drops labels of pods: fail, it scrapes the pod and has no counter with the label of the run
#[tokio::test(flavor = "multi_thread")]
#[ignore = "matrix"]
async fn a_prometheus_that_drops_labels_is_red() {
    with(Odd::Labels, 0, 1, |trial| {
        trial.has(CHECK, "fail", "scrapes pod default/service-metrics, and has no counter of it with the label seatrial_dev_run");
    })
    .await;
}

// case: ai-service-metrics | wrong | there is no Prometheus: fail
// case: ai-service-metrics | fault | nobody answers behind Prometheus' ready pod: error(unavailable)
#[tokio::test(flavor = "multi_thread")]
async fn without_prometheus_it_is_red_and_one_that_cannot_be_reached_is_an_error() {
    let cluster = lease().await;
    run(&cluster, 1).has(CHECK, "fail", "no Prometheus is ready: there is no pod labelled app.kubernetes.io/name=prometheus");
    cluster.apply(
        "apiVersion: v1\nkind: Pod\nmetadata: {name: prometheus-0, namespace: default, labels: {app.kubernetes.io/name: prometheus}}\n\
         spec: {nodeName: sim-node-1, tolerations: [{operator: Exists}], containers: [{name: c, image: 'quay.io/prometheus/prometheus:v2.53.3'}]}\n",
    );
    cluster.kubectl(&["wait", "pod", "prometheus-0", "-n", "default", "--for=condition=Ready", "--timeout=30s"]);
    run(&cluster, 3).has(CHECK, "error(unavailable)", "from port 9090 of pod default/prometheus-0");
}
