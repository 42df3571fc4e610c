//! gang-scheduling on real control planes, with real schedulers and queues.

use crate::support::cluster::{lease, lease_with, may_isolate};
use crate::trial::{Site, conformance, nothing_left, nothing_left_of};

/// A kind of pod group that nobody looks at.
const GROUPS: &str = "
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: podgroups.gangs.example.com}
spec:
  group: gangs.example.com
  scope: Namespaced
  names: {kind: PodGroup, plural: podgroups, singular: podgroup}
  versions:
  - name: v1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, properties: {spec: {type: object, x-kubernetes-preserve-unknown-fields: true}}}}
";

/// The default scheduler, said to know those groups.
const PLAIN: &str = "[{name: plain, podGroup: {apiVersion: gangs.example.com/v1, kind: PodGroup, scheduler: default-scheduler, label: gangs.example.com/group}}]";

/// The shipped recipe with this check alone, and these gang schedulers where they are not empty.
fn site(schedulers: &str) -> Site {
    Site::of_check("gang-scheduling", "gangSchedulers", schedulers)
}

// case: gang-scheduling | wrong | the default scheduler is said to be a gang scheduler: it places two of three pods
#[tokio::test]
async fn the_default_scheduler_places_a_part_of_a_gang_and_fails() {
    let cluster = lease().await;
    cluster.apply(GROUPS);
    cluster.kubectl(&["wait", "crd/podgroups.gangs.example.com", "--for=condition=Established", "--timeout=20s"]);
    let trial = conformance(&site(PLAIN), &cluster, &[], 1);
    trial.has(
        "gang-scheduling",
        "fail",
        "plain gang waits of 3 pods that must start together: 2 hold GPUs on sim-node-1, where only 2 fit",
    );
    nothing_left_of(&cluster, "podgroups.gangs.example.com");
}

// case: gang-scheduling | wrong | a plain cluster: nothing of a gang scheduler is served
#[tokio::test]
async fn a_cluster_without_a_gang_scheduler_fails_whether_one_is_named_or_not() {
    let cluster = lease().await;
    let trial_of = |schedulers: &str, words: &str| {
        conformance(&site(schedulers), &cluster, &[], 1).has("gang-scheduling", "fail", words);
    };
    trial_of("", "the cluster has no gang scheduler: the API server serves nothing of kai, kueue, volcano");
    trial_of("[{name: volcano}]", "volcano: the API server serves no PodGroup of scheduling.volcano.sh/v1beta1");
}

// case: gang-scheduling | healthy | Kueue with a queue down to the node
#[tokio::test]
async fn kueue_passes_and_leaves_no_queue_behind() {
    let cluster = lease_with(&["kueue"]).await;
    let trial = conformance(&site(""), &cluster, &[], 0);
    trial.has("gang-scheduling", "pass", "kueue: 3 pods of 2 GPUs on sim-node-1 placed in");
    let result = trial.result("gang-scheduling");
    assert_eq!((&result["assertions"]["passed"], &result["assertions"]["total"]), (&6.into(), &6.into()));
    assert_eq!(result["subjects"]["seen"], serde_json::json!(["kueue"]));
    let refused = result["measurements"].as_array().expect("a list").iter().find(|one| one["metric"] == "gang_refused_seconds");
    assert!(refused.expect("is measured")["value"].as_f64().is_some_and(|seconds| seconds >= 10.0), "{result:#}");
    nothing_left_of(&cluster, "topologies,resourceflavors,clusterqueues,localqueues,workloads");
    // Without its workloads it says what is there, and is no pass.
    let off = self::conformance(&site(""), &cluster, &["--behavioral-tests", "false"], 3);
    off.has("gang-scheduling", "skip(behavioral-tests-off)", "kueue.x-k8s.io/v1beta2 is served");
}

/// A queue of somebody else's: Kueue by quota alone.
const BY_QUOTA: &str = "
apiVersion: v1
kind: List
items:
- {apiVersion: kueue.x-k8s.io/v1beta2, kind: ResourceFlavor, metadata: {name: plain}}
- apiVersion: kueue.x-k8s.io/v1beta2
  kind: ClusterQueue
  metadata: {name: theirs}
  spec:
    namespaceSelector: {}
    resourceGroups:
    - coveredResources: [cpu, memory, nvidia.com/gpu]
      flavors: [{name: plain, resources: [{name: cpu, nominalQuota: 100}, {name: memory, nominalQuota: 1Ti}, {name: nvidia.com/gpu, nominalQuota: GPUS}]}]
";

// case: gang-scheduling | wrong | a Kueue queue that admits by quota alone: the default scheduler places two of three pods
// case: gang-scheduling | wrong | a Kueue queue whose quota admits nothing: a gang that fits is not placed
#[tokio::test]
async fn a_kueue_queue_that_looks_at_quota_alone_places_a_part_and_one_without_quota_places_nothing() {
    let cluster = lease_with(&["kueue"]).await;
    let queue = |gpus: &str| cluster.apply(&BY_QUOTA.replace("GPUS", gpus));
    let active = || cluster.kubectl(&["wait", "clusterqueue/theirs", "--for=condition=Active", "--timeout=20s"]);
    queue("100");
    active();
    let site = site("[{name: kueue, queue: theirs}]");
    conformance(&site, &cluster, &[], 1).has("gang-scheduling", "fail", "2 hold GPUs on sim-node-1, where only 2 fit");
    queue("0");
    active();
    let nothing = conformance(&site, &cluster, &[], 1);
    nothing.has("gang-scheduling", "fail", "kueue gang fits is not placed with room for all of them: 0 of 3 pods hold GPUs");
    nothing.has("gang-scheduling", "fail", "insufficient quota for nvidia.com/gpu");
    nothing_left_of(&cluster, "localqueues,workloads");
}

// case: gang-scheduling | fault | every GPU of the device plugin is held: there is nothing to place a gang on
// case: gang-scheduling | fault | the user may not make ClusterQueues: the missing verb is named before anything is created
#[tokio::test]
async fn a_busy_cluster_and_a_missing_verb_are_errors() {
    let cluster = lease_with(&["kueue"]).await;
    let site = site("");
    let denied = cluster.kubeconfig_without("create", "clusterqueues.kueue.x-k8s.io");
    let workflow = site.workflow("training", &["snapshot", "conformance"]);
    let refused = site.run(&denied, &workflow, &[], 4);
    assert!(refused.stderr.contains("create clusterqueues.kueue.x-k8s.io"), "{}", refused.stderr);
    nothing_left(&cluster);
    let hog = |name: &str, node: &str| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: default}}\nspec: {{nodeName: {node}, tolerations: [{{operator: Exists}}], \
             containers: [{{name: c, image: x, resources: {{limits: {{nvidia.com/gpu: 7}}}}}}]}}"
        )
    };
    cluster.apply(&hog("hog-1", "sim-node-1"));
    cluster.apply(&hog("hog-2", "sim-node-2"));
    conformance(&site, &cluster, &[], 3).has("gang-scheduling", "error(busy)", "no node has two free nvidia.com/gpu");
}

// case: gang-scheduling | wrong | Kueue's controller hangs: its webhooks do not answer
#[tokio::test]
#[ignore = "matrix"]
async fn a_kueue_that_hangs_fails_and_what_was_made_until_then_is_gone() {
    let mut cluster = lease_with(&["kueue"]).await;
    cluster.stop("kueue");
    // Asked before, the same is said of a Job.
    conformance(&site(""), &cluster, &["--skip-preflight"], 1).has(
        "gang-scheduling",
        "fail",
        "kueue does not answer, so nothing can be given to it",
    );
    cluster.start("kueue");
    nothing_left_of(&cluster, "topologies,resourceflavors,clusterqueues,localqueues");
}

// case: gang-scheduling | healthy | Volcano as its makers configure it
#[tokio::test]
#[ignore = "matrix"]
async fn volcano_passes_and_leaves_no_group_behind() {
    let cluster = lease_with(&["volcano"]).await;
    let trial = conformance(&site(""), &cluster, &[], 0);
    trial.has("gang-scheduling", "pass", "volcano: 3 pods of 2 GPUs on sim-node-1 placed in");
    nothing_left_of(&cluster, "podgroups.scheduling.volcano.sh");
}

// case: gang-scheduling | wrong | Volcano without its gang plugin: it places two of three pods
#[tokio::test]
#[ignore = "matrix"]
async fn volcano_without_its_gang_plugin_places_a_part_and_fails() {
    let mut cluster = lease_with(&["volcano"]).await;
    cluster.spoil();
    let policy = cluster.dir().join("addons/volcano/scheduler.yaml");
    let text = std::fs::read_to_string(&policy).expect("the add-on wrote it");
    let without = text.replace("  - name: gang\n    enablePreemptable: false\n", "");
    assert_ne!(text, without);
    std::fs::write(&policy, without).expect("is written");
    conformance(&site(""), &cluster, &[], 1).has("gang-scheduling", "fail", "2 hold GPUs on sim-node-1, where only 2 fit");
    nothing_left_of(&cluster, "podgroups.scheduling.volcano.sh");
}

/// Volcano, told that one pod is enough to start.
const LOOSE: &str = "[{name: loose, podGroup: {apiVersion: scheduling.volcano.sh/v1beta1, kind: PodGroup, scheduler: volcano, size: unused, \
                     spec: {queue: default, minMember: 1}, annotation: scheduling.k8s.io/group-name}}]";

// case: gang-scheduling | wrong | groups that say that one pod is enough: Volcano places two of three pods
// case: gang-scheduling | wrong | Volcano's scheduler hangs: a gang that fits is not placed
// case: gang-scheduling | wrong | the queue that the recipe names does not exist
#[tokio::test]
#[ignore = "matrix"]
async fn a_gang_whose_minimum_is_one_pod_fails_and_so_does_a_scheduler_that_hangs() {
    let mut cluster = lease_with(&["volcano"]).await;
    conformance(&site(LOOSE), &cluster, &[], 1).has(
        "gang-scheduling",
        "fail",
        "loose gang waits of 3 pods that must start together: 2 hold GPUs",
    );
    let absent = conformance(&site("[{name: volcano, queue: theirs}]"), &cluster, &[], 1);
    absent.has("gang-scheduling", "fail", "volcano: there is no Queue theirs");
    cluster.stop("volcano-scheduler");
    let hangs = conformance(&site(""), &cluster, &[], 1);
    hangs.has("gang-scheduling", "fail", "volcano gang fits is not placed with room for all of them: 0 of 3 pods hold GPUs after 30 s");
    cluster.start("volcano-scheduler");
    nothing_left_of(&cluster, "podgroups.scheduling.volcano.sh");
}

// case: gang-scheduling | healthy | Kueue and Volcano side by side: each that the recipe names is tried
#[tokio::test]
#[ignore = "matrix"]
async fn two_gang_schedulers_are_both_tried() {
    let cluster = lease_with(&["kueue", "volcano"]).await;
    let both = conformance(&site("[{name: kueue}, {name: volcano}]"), &cluster, &[], 0);
    both.has("gang-scheduling", "pass", "kueue: 3 pods").has("gang-scheduling", "pass", "volcano: 3 pods");
    assert_eq!(both.result("gang-scheduling")["subjects"]["seen"], serde_json::json!(["kueue", "volcano"]));
    assert_eq!(both.result("gang-scheduling")["assertions"]["total"], 12);
}

// case: gang-scheduling | healthy | KAI with two queues made for the run
#[tokio::test]
#[ignore = "matrix"]
async fn kai_passes_and_leaves_no_queue_behind() {
    if !may_isolate() {
        return;
    }
    let cluster = lease_with(&["kai"]).await;
    conformance(&site(""), &cluster, &[], 0).has("gang-scheduling", "pass", "kai: 3 pods of 2 GPUs on sim-node-1 placed in");
    nothing_left_of(&cluster, "podgroups.scheduling.run.ai,queues.scheduling.run.ai");
}
