//! robust-controller on real control planes, with real operators and their webhooks.

use crate::support::cluster::{lease, lease_with};
use crate::trial::{Site, conformance, nothing_left_of};

/// The shipped recipe with this check alone, and these operators where they are not empty.
fn site(controllers: &str) -> Site {
    Site::of_check("robust-controller", "controllers", controllers)
}

/// A described operator of JobSet's kind, with these objects.
fn described(invalid: &str, valid: &str) -> String {
    format!(
        "[{{name: ours, described: {{apiVersion: jobset.x-k8s.io/v1alpha2, kind: JobSet, invalid: {invalid}, valid: {valid}, \
         reconciled: {{owns: {{apiVersion: batch/v1, kind: Job}}}}, deployments: [jobset-controller-manager]}}}}]"
    )
}

/// A set of one suspended job, with more fields.
fn jobs(more: &str) -> String {
    format!(
        "{{suspend: true, {more} replicatedJobs: [{{name: one, replicas: 1, template: {{spec: {{template: {{spec: {{restartPolicy: Never, \
         containers: [{{name: c, image: x}}]}}}}}}}}}}]}}"
    )
}

// case: robust-controller | healthy | JobSet beside the cluster: its webhook refuses, its controller takes up; the restart is said not to be tried
// case: robust-controller | wrong | JobSet's validating webhook is missing
// case: robust-controller | wrong | JobSet's validating webhook fails open
#[tokio::test]
async fn jobset_passes_and_without_its_webhook_or_with_one_that_fails_open_it_does_not() {
    let cluster = lease_with(&["jobset"]).await;
    let site = site("");
    let healthy = conformance(&site, &cluster, &[], 0);
    healthy.has("robust-controller", "pass", "jobset: webhook vjobset.kb.io refuses an invalid JobSet, a valid one was taken up in");
    healthy.has("robust-controller", "pass", "its restart was not tried: it has no Deployment jobset-controller-manager");
    let result = healthy.result("robust-controller");
    assert_eq!((&result["assertions"]["passed"], &result["assertions"]["total"]), (&2.into(), &2.into()));
    nothing_left_of(&cluster, "jobsets.jobset.x-k8s.io");
    let off = conformance(&site, &cluster, &["--behavioral-tests", "false"], 3);
    off.has("robust-controller", "skip(behavioral-tests-off)", "webhook vjobset.kb.io looks at them and fails closed");
    let patch = |policy: &str| {
        let configurations = cluster.get(&["validatingwebhookconfigurations"]);
        let items = configurations["items"].as_array().expect("a list").clone();
        let own =
            items.iter().find(|one| one["webhooks"].as_array().is_some_and(|all| all.iter().any(|hook| hook["name"] == "vjobset.kb.io")));
        let own = own.expect("JobSet has one");
        let name = own["metadata"]["name"].as_str().expect("has a name").to_owned();
        let index =
            own["webhooks"].as_array().and_then(|all| all.iter().position(|hook| hook["name"] == "vjobset.kb.io")).expect("is there");
        let patch = format!(r#"[{{"op": "replace", "path": "/webhooks/{index}/failurePolicy", "value": "{policy}"}}]"#);
        cluster.kubectl(&["patch", "validatingwebhookconfiguration", &name, "--type", "json", "--patch", &patch]);
        name
    };
    let configuration = patch("Ignore");
    conformance(&site, &cluster, &[], 1).has(
        "robust-controller",
        "fail",
        "webhook vjobset.kb.io lets everything in when it does not answer",
    );
    cluster.kubectl(&["delete", "validatingwebhookconfiguration", &configuration]);
    conformance(&site, &cluster, &[], 1).has("robust-controller", "fail", "no validating webhook looks at jobsets.jobset.x-k8s.io");
    nothing_left_of(&cluster, "jobsets.jobset.x-k8s.io");
}

// case: robust-controller | wrong | the webhook lets an invalid object in
// case: robust-controller | wrong | the controller does not take the valid object up
// case: robust-controller | fault | the schema refuses the invalid object before the webhook sees it, which shows nothing
#[tokio::test]
#[ignore = "matrix"]
async fn what_is_let_in_or_not_taken_up_fails_and_what_the_schema_refuses_shows_nothing() {
    let cluster = lease_with(&["jobset"]).await;
    let verdict = |controllers: &str, code: i32, verdict: &str, words: &str| {
        conformance(&site(controllers), &cluster, &[], code).has("robust-controller", verdict, words);
    };
    verdict(&described(&jobs(""), &jobs("")), 1, "fail", "the invalid jobset default/seatrial-invalid was let in");
    let invalid = jobs("successPolicy: {operator: All, targetReplicatedJobs: [absent]},");
    verdict(&described(&invalid, &jobs("managedBy: example.com/nobody,")), 1, "fail", "was not taken up within 60 s: no Job belongs to it");
    verdict(
        &described(&jobs("successPolicy: {operator: Some},"), &jobs("")),
        3,
        "error(no-subject)",
        "the schema refused the invalid JobSet before any webhook saw it",
    );
    nothing_left_of(&cluster, "jobsets.jobset.x-k8s.io");
}

// case: robust-controller | fault | the user may not create JobSets: the missing verb is named before anything is created
// case: robust-controller | fault | the user may not create JobSets and does not ask before: RBAC's refusal is not the webhook's
// case: robust-controller | wrong | the operator hangs: its webhook does not answer
#[tokio::test]
async fn a_missing_permission_is_an_error_and_a_webhook_that_does_not_answer_is_a_failure() {
    let mut cluster = lease_with(&["jobset"]).await;
    let site = site("[{name: jobset}]");
    let denied = cluster.kubeconfig_without("create", "jobsets.jobset.x-k8s.io");
    let workflow = site.workflow("training", &["snapshot", "conformance"]);
    let refused = site.run(&denied, &workflow, &[], 4);
    assert!(refused.stderr.contains("create jobsets.jobset.x-k8s.io"), "{}", refused.stderr);
    site.run(&denied, &workflow, &["--skip-preflight"], 3).has("robust-controller", "error(denied)", "is forbidden: User");
    cluster.stop("jobset");
    conformance(&site, &cluster, &[], 1).has("robust-controller", "fail", "jobset: its webhook does not answer");
    cluster.start("jobset");
    nothing_left_of(&cluster, "jobsets.jobset.x-k8s.io");
}

/// What looks like the operator's Deployment; kwok plays its pods.
const DEPLOYMENT: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: jobset-controller-manager, namespace: default, labels: {sim: operator}}
spec:
  replicas: 1
  selector: {matchLabels: {sim: operator}}
  template:
    metadata: {labels: {sim: operator}}
    spec: {tolerations: [{operator: Exists}], containers: [{name: manager, image: x}]}
";

// case: robust-controller | healthy | JobSet with a Deployment (its pods simulated): killed, back, takes up another object
// case: robust-controller | wrong | what comes in the place of the killed pods never becomes ready
#[tokio::test]
#[ignore = "matrix"]
async fn killed_pods_have_to_come_back() {
    let cluster = lease_with(&["jobset"]).await;
    cluster.apply(DEPLOYMENT);
    cluster.kubectl(&["rollout", "status", "deployment/jobset-controller-manager", "--namespace", "default", "--timeout=30s"]);
    let site = site("[{name: jobset}]");
    let pod = || cluster.kubectl(&["get", "pods", "--namespace", "default", "-l", "sim=operator", "-o", "name"]);
    let before = pod();
    let back = conformance(&site, &cluster, &[], 0);
    back.has("robust-controller", "pass", "its pods were killed, back after");
    assert_eq!(back.result("robust-controller")["assertions"]["total"], 4);
    assert_ne!(pod(), before, "the pod was replaced");
    // A quota that is used up keeps the ReplicaSet from making another pod.
    cluster.kubectl(&["create", "quota", "none", "--namespace", "default", "--hard=pods=0"]);
    conformance(&site, &cluster, &[], 1).has(
        "robust-controller",
        "fail",
        "1 pods of deployment default/jobset-controller-manager are not ready in their place",
    );
}

// case: robust-controller | healthy | Kueue: its webhook refuses a Workload, its controller says that the queue is missing
#[tokio::test]
#[ignore = "matrix"]
async fn kueue_passes() {
    let cluster = lease_with(&["kueue"]).await;
    conformance(&site(""), &cluster, &[], 0).has("robust-controller", "pass", "kueue: webhook vworkload.kb.io refuses an invalid Workload");
    nothing_left_of(&cluster, "workloads.kueue.x-k8s.io");
}

// case: robust-controller | wrong | a cluster without any operator, whether one is named or not
#[tokio::test]
async fn a_cluster_without_an_operator_fails() {
    let cluster = lease().await;
    conformance(&site(""), &cluster, &[], 1).has("robust-controller", "fail", "the cluster has no AI operator");
    let named = conformance(&site("[{name: jobset}]"), &cluster, &[], 1);
    named.has("robust-controller", "fail", "jobset: the API server serves no JobSet of jobset.x-k8s.io/v1alpha2");
}

// case: robust-controller | healthy | LeaderWorkerSet: too large a set is refused, an empty one gets its StatefulSet
#[tokio::test]
#[ignore = "matrix"]
async fn leader_worker_set_passes() {
    let cluster = lease_with(&["lws"]).await;
    conformance(&site(""), &cluster, &[], 0).has(
        "robust-controller",
        "pass",
        "lws: webhook vleaderworkerset.kb.io refuses an invalid LeaderWorkerSet",
    );
    nothing_left_of(&cluster, "leaderworkersets.leaderworkerset.x-k8s.io,statefulsets");
}

// case: robust-controller | healthy | Kubeflow Trainer over JobSet: both are tried
#[tokio::test]
#[ignore = "matrix"]
async fn trainer_and_jobset_pass() {
    let cluster = lease_with(&["trainer"]).await;
    let both = conformance(&site(""), &cluster, &[], 0);
    both.has("robust-controller", "pass", "trainer: webhook validator.trainjob.trainer.kubeflow.org refuses an invalid TrainJob");
    assert_eq!(both.result("robust-controller")["subjects"]["seen"], serde_json::json!(["jobset", "trainer"]));
    nothing_left_of(&cluster, "trainjobs.trainer.kubeflow.org,trainingruntimes.trainer.kubeflow.org,jobsets.jobset.x-k8s.io");
}
