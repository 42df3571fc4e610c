//! Autoscaling of pods by the real autoscaler of the control plane; the metric comes from a stand-in, right and wrong.

use crate::faults::proxied;
use crate::support::adapter::{self, Adapter, Says};
use crate::support::cluster::{LeasedCluster, lease, lease_with};
use crate::support::fault_proxy::{Fault, Rule};
use crate::trial::{Site, Trial, nothing_left};

const ID: &str = "pod-autoscaling";

/// The shipped recipe with this check alone, on a metric of pods.
fn site() -> Site {
    held(12)
}

/// The same, with so many seconds in which the number of pods must stay.
fn held(seconds: u32) -> Site {
    let site = Site::new();
    site.edit("    - dra-support\n    - gpu-capacity\n    - platform-health\n", "    - pod-autoscaling\n");
    let metric = format!("{{source: pods, name: load, target: 50, windowSeconds: 45, holdSeconds: {seconds}}}");
    site.edit("  checks:\n", &format!("  autoscaling: {{metric: {metric}}}\n  checks:\n"));
    site
}

#[track_caller]
fn trial(site: &Site, cluster: &LeasedCluster, code: i32) -> Trial {
    let trial = site.run(&cluster.kubeconfig(), &site.workflow("training", &["snapshot", "conformance"]), &[], code);
    nothing_left(cluster);
    trial
}

// case: pod-autoscaling | healthy | a metric of pods rises and falls with their load: one GPU pod becomes two and one again
#[tokio::test]
async fn pods_follow_a_metric_up_and_down() {
    let cluster = lease().await;
    let _adapter = Adapter::start(&cluster, Says::Truth);
    let site = site();
    let workflow = site.workflow("training", &["snapshot", "conformance"]);
    let trial = site.run(&site.with_printed_roles(&cluster, &workflow), &workflow, &[], 0);
    trial.has(ID, "pass", "1 to 2 GPU pods in").has(ID, "pass", "on metric load, steady in between");
    nothing_left(&cluster);
}

// case: pod-autoscaling | healthy | metrics-server says what the pods use: they follow their CPU
#[tokio::test]
#[ignore = "matrix"]
async fn pods_follow_their_cpu_as_metrics_server_says_it() {
    let cluster = lease_with(&["metrics-server"]).await;
    let site = site();
    site.edit(
        "source: pods, name: load, target: 50, windowSeconds: 45, holdSeconds: 12",
        "source: resource, name: cpu, target: 50, windowSeconds: 90, holdSeconds: 6",
    );
    trial(&site, &cluster, 0).has(ID, "pass", "on resource metric cpu, steady in between");
}

// case: pod-autoscaling | wrong | no adapter serves custom.metrics.k8s.io: told before anything is created
// case: pod-autoscaling | wrong | the adapter's APIService leads nowhere: told with the API server's words
#[tokio::test]
async fn an_api_that_nobody_serves_and_one_that_leads_nowhere_are_told_apart() {
    let cluster = lease().await;
    trial(&site(), &cluster, 1).has(ID, "fail", "custom.metrics.k8s.io is not served: there is no APIService for it");
    cluster.apply(&adapter::service(1));
    cluster.kubectl(&["wait", "apiservice/v1beta2.custom.metrics.k8s.io", "--for=condition=Available=False", "--timeout=30s"]);
    trial(&site(), &cluster, 1).has(ID, "fail", "custom.metrics.k8s.io is not available: apiservice v1beta2.custom.metrics.k8s.io");
}

// case: pod-autoscaling | wrong | the adapter knows no value of the metric: what the autoscaler says of it is told
#[tokio::test]
#[ignore = "matrix"]
async fn a_metric_that_is_never_served_is_told_with_the_autoscalers_words() {
    let cluster = lease().await;
    let _adapter = Adapter::start(&cluster, Says::Nothing);
    trial(&site(), &cluster, 1).has(ID, "fail", "metric load cannot be read: FailedGetPodsMetric");
}

// case: pod-autoscaling | wrong | the metric stays low under load
#[tokio::test]
#[ignore = "matrix"]
async fn a_metric_that_does_not_rise_is_told_with_its_value() {
    let cluster = lease().await;
    let _adapter = Adapter::start(&cluster, Says::Always(3));
    trial(&site(), &cluster, 1).has(ID, "fail", "although the pods are under load: load is 3 on average, the target is 50");
}

// case: pod-autoscaling | wrong | the metric never falls: the second pod is never given back
#[tokio::test]
#[ignore = "matrix"]
async fn a_metric_that_does_not_fall_is_told() {
    let cluster = lease().await;
    let _adapter = Adapter::start(&cluster, Says::Highest);
    trial(&site(), &cluster, 1).has(ID, "fail", "although the load was taken away: load is 200 on average");
}

// case: pod-autoscaling | wrong | the metric jumps to zero and back while the load stays: the number of pods flaps
#[tokio::test]
#[ignore = "matrix"]
async fn a_metric_that_jumps_makes_pods_flap() {
    let cluster = lease().await;
    let _adapter = Adapter::start(&cluster, Says::FlappingTruth);
    trial(&held(30), &cluster, 1).has(ID, "fail", "it flaps: 1 pods instead of 2 although the load stayed");
}

// case: pod-autoscaling | wrong | something in the cluster forbids autoscalers to scale down
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "matrix"]
async fn scaling_down_that_is_forbidden_is_told() {
    let cluster = lease().await;
    let _adapter = Adapter::start(&cluster, Says::Truth);
    let changing = tokio::spawn(adapter::forbid_scaling_down(cluster.kubeconfig()));
    trial(&site(), &cluster, 1).has(ID, "fail", "may not scale down: something in the cluster has set selectPolicy Disabled on it");
    changing.await.expect("it changed one");
}

// case: pod-autoscaling | wrong | the controllers of the control plane have stopped: no controller looks at the autoscaler
#[tokio::test]
#[ignore = "matrix"]
async fn an_autoscaler_that_nobody_looks_at_is_told() {
    let mut cluster = lease().await;
    let _adapter = Adapter::start(&cluster, Says::Truth);
    cluster.stop("kube-controller-manager");
    let site = site();
    let trial = site.run(&cluster.kubeconfig(), &site.workflow("training", &["snapshot", "conformance"]), &[], 1);
    trial.has(ID, "fail", "no controller has looked at horizontalpodautoscaler default/pod-autoscaling for 45 s");
}

// case: pod-autoscaling | fault | the API server answers 503 to the question for metrics APIs: error(unavailable), and nothing is created
#[tokio::test]
async fn metrics_apis_that_cannot_be_listed_are_an_error() {
    let cluster = lease().await;
    let (proxy, _folder, kubeconfig) = proxied(&cluster);
    proxy.inject(Rule::new(Fault::Status(503)).on("GET", "/apis/apiregistration.k8s.io/v1/apiservices"));
    let site = site();
    let trial = site.run(&kubeconfig, &site.workflow("training", &["snapshot", "conformance"]), &[], 3);
    trial.has(ID, "error(unavailable)", "list APIService of apiregistration.k8s.io/v1: the API server answers 503");
    nothing_left(&cluster);
}
