//! What a run will need is asked beforehand, on a real API server with policies, quotas and pod security of its own.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::cluster::{LeasedCluster, lease};
use crate::support::runs::Workplace;
use crate::support::{Bin, Ran, eventually};

const WHAT: [&str; 4] = ["conformance", "--recipe", "sim-h100", "--kubeconfig"];

fn preflight(cluster: &LeasedCluster, more: &[&str]) -> Ran {
    Bin::seatrial().args(["preflight"]).args(WHAT).args([cluster.kubeconfig()]).args(["-t", "json"]).args(more).ends()
}

fn line<'a>(findings: &'a Value, subject: &str) -> &'a Value {
    let lines = findings["lines"].as_array().expect("lines");
    lines.iter().find(|line| line["subject"] == subject).unwrap_or_else(|| panic!("no line about {subject} in {findings:#}"))
}

fn findings(ran: &Ran) -> Value {
    serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {}{}", ran.stdout, ran.stderr))
}

/// Nothing is in the cluster that was not there before.
#[track_caller]
fn assert_untouched(cluster: &LeasedCluster) {
    assert_eq!(cluster.left(), "");
    let leases = cluster.get(&["leases", "-A"]).to_string();
    assert!(!leases.contains("seatrial"), "{leases}");
}

/// A policy that refuses pods where a namespace has these labels.
fn no_pods(selector: &Value) -> String {
    let policy = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy", "metadata": {"name": "no-pods"},
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": {"resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}]},
            "validations": [{"expression": "false", "message": "pods are not welcome"}],
        },
    });
    let binding = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding", "metadata": {"name": "no-pods"},
        "spec": {"policyName": "no-pods", "validationActions": ["Deny"], "matchResources": {"namespaceSelector": selector}},
    });
    json!({"apiVersion": "v1", "kind": "List", "items": [policy, binding]}).to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_healthy_cluster_everything_is_there_and_nothing_is_created() {
    let cluster = lease().await;
    cluster.kubectl(&["create", "namespace", "trials"]);
    for more in [&[][..], &["--namespace", "trials"]] {
        let ran = preflight(&cluster, more);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        let found = findings(&ran);
        for subject in ["cluster", "permissions", "admission"] {
            assert_eq!(line(&found, subject)["status"], "ok", "{found:#}");
        }
        for subject in ["images", "registry", "signing"] {
            assert_eq!(line(&found, subject)["status"], "not-tried", "{found:#}");
        }
        let quota = if more.is_empty() { "not-tried" } else { "ok" };
        assert_eq!(line(&found, "quota")["status"], quota, "{found:#}");
        let admission = line(&found, "admission")["found"].as_str().expect("text");
        for kind in ["pod", "job", "lease", "resourceclaim"] {
            assert!(admission.contains(kind), "{kind}: {admission}");
        }
        assert_untouched(&cluster);
    }
    // What a run would refuse at once.
    let ran = preflight(&cluster, &["--budget", "1"]);
    assert!(ran.code == 2 && ran.stderr.contains("the budget 1 min"), "{}", ran.stderr);
    let ran = preflight(&cluster, &["--behavioral-tests", "false"]);
    assert!(ran.code == 0 && ran.stdout.contains("creates nothing"), "{}", ran.stdout);
    let ran = preflight(&cluster, &["--namespace", "nowhere"]);
    assert!(ran.code == 2 && ran.stdout.contains("kubectl create namespace nowhere"), "{}", ran.stdout);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_refuses_our_pods_is_found_before_anything_is_created() {
    let cluster = lease().await;
    let Some(place) = Workplace::new(&cluster) else { return };
    cluster.kubectl(&["create", "namespace", "trials"]);
    let inside = ["--namespace", "trials"];
    cluster.apply(&no_pods(&json!({"matchLabels": {"kubernetes.io/metadata.name": "trials"}})));
    let ran = eventually("the policy to take effect", Duration::from_secs(30), || {
        let ran = preflight(&cluster, &inside);
        (ran.code != 0).then_some(ran)
    });
    assert_eq!(ran.code, 4, "{}", ran.stderr);
    let found = findings(&ran);
    assert_eq!(line(&found, "admission")["status"], "missing");
    let words = line(&found, "admission")["found"].as_str().expect("text");
    assert!(words.contains("namespace trials would not take a pod") && words.contains("pods are not welcome"), "{words}");
    let ran = place.bin(&["run", "conformance", "--recipe", "sim-h100", "--out", "refused", "--namespace", "trials"]).exits(4);
    assert!(ran.stderr.contains("pods are not welcome"), "{}", ran.stderr);
    assert!(!place.path("refused").exists());
    assert_untouched(&cluster);
    // Elsewhere they are welcome.
    assert_eq!(preflight(&cluster, &[]).code, 0);

    // Nowhere: the run's own namespace does not exist yet, but two others agree.
    cluster.apply(&no_pods(&json!({})));
    let ran = eventually("the policy to take effect", Duration::from_secs(30), || {
        let ran = preflight(&cluster, &[]);
        (ran.code == 4).then_some(ran)
    });
    assert!(ran.stdout.contains("the cluster would not take a pod"), "{}", ran.stdout);
    // In one of them only: nobody can tell.
    cluster.apply(&no_pods(&json!({"matchLabels": {"kubernetes.io/metadata.name": "default"}})));
    let ran = eventually("the policy to take effect", Duration::from_secs(30), || {
        let ran = preflight(&cluster, &[]);
        (ran.code == 3).then_some(ran)
    });
    assert!(ran.stdout.contains("unsure") && ran.stdout.contains("--namespace"), "{}", ran.stdout);
    assert_untouched(&cluster);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quota_without_room_is_found_for_one_pod_and_for_all_together() {
    let cluster = lease().await;
    cluster.kubectl(&["create", "namespace", "trials"]);
    let quota = |hard: Value| {
        let name = json!({"name": "tight", "namespace": "trials"});
        cluster.apply(&json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": name, "spec": {"hard": hard}}).to_string());
        eventually("the quota to be counted", Duration::from_secs(30), || {
            let status = cluster.get(&["resourcequota", "tight", "-n", "trials"]);
            (status["status"]["hard"] == hard && !status["status"]["used"].is_null()).then_some(())
        });
    };
    let refused = |says: &str| {
        let ran = eventually("the quota to take effect", Duration::from_secs(30), || {
            let ran = preflight(&cluster, &["--namespace", "trials"]);
            (ran.code == 4).then_some(ran)
        });
        let found = findings(&ran);
        assert_eq!(line(&found, "quota")["status"], "missing", "{found:#}");
        assert!(line(&found, "quota")["found"].as_str().is_some_and(|text| text.contains(says)), "{found:#}");
    };
    quota(json!({"pods": "0"}));
    refused("exceeded quota: tight");
    // Each of the two pods would fit, both do not: by number, and by GPUs.
    quota(json!({"pods": "1"}));
    refused("leaves room for 1 pods, 2 are wanted");
    quota(json!({"requests.nvidia.com/gpu": "8"}));
    refused("for 2 of them together");
    quota(json!({"limits.cpu": "1"}));
    refused("must specify limits.cpu");
    assert_untouched(&cluster);
    quota(json!({"requests.nvidia.com/gpu": "16", "pods": "10"}));
    eventually("the quota to have room", Duration::from_secs(30), || {
        (preflight(&cluster, &["--namespace", "trials"]).code == 0).then_some(())
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn our_pods_pass_the_restricted_standard_and_a_template_that_does_not_is_found() {
    let cluster = lease().await;
    let namespace = json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": {"name": "trials", "labels": {"pod-security.kubernetes.io/enforce": "restricted"}},
    });
    cluster.apply(&namespace.to_string());
    let ran = preflight(&cluster, &["--namespace", "trials"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let bin = Bin::seatrial();
    std::fs::write(bin.folder().join("pod.yaml"), "hostNetwork: true\n").expect("is written");
    let bin = bin.args(["preflight"]).args(WHAT).args([cluster.kubeconfig()]);
    let ran = bin.args(["--namespace", "trials", "--pod-template", "pod.yaml"]).exits(4);
    assert!(ran.stderr.contains("PodSecurity") && ran.stderr.contains("hostNetwork"), "{}", ran.stderr);
    assert_untouched(&cluster);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_is_listed_as_a_whole_and_resources_are_called_as_the_cluster_calls_them() {
    let cluster = lease().await;
    let less = cluster.kubeconfig_without("create", "pods");
    let bin = Bin::seatrial().args(["preflight"]).args(WHAT).args([less]).args(["--push", "127.0.0.1:1/a/b", "--key", "k", "--plain-http"]);
    let ran = bin.exits(4);
    for word in ["create pods in namespace", "ask 127.0.0.1:1/a/b whether we may push", "no file k"] {
        assert!(ran.stderr.contains(word), "`{word}` is not in: {}", ran.stderr);
    }

    // By convention the resource of this kind would be `gpumouses`.
    let crd = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "gpumice.example.com"},
        "spec": {
            "group": "example.com", "scope": "Cluster", "names": {"kind": "GpuMouse", "plural": "gpumice", "singular": "gpumouse"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object"}}}],
        },
    });
    cluster.apply(&crd.to_string());
    cluster.kubectl(&["wait", "--for=condition=Established", "crd/gpumice.example.com", "--timeout=30s"]);
    let recipe = include_str!("../../recipes/sim-h100.yaml")
        .replace("  expect:\n", "  expect:\n  - {apiVersion: example.com/v1, kind: GpuMouse, name: m}\n");
    let folder = tempfile::tempdir().expect("a directory");
    std::fs::write(folder.path().join("r.yaml"), recipe).expect("is written");
    let rbac = |more: &[&str]| Bin::within(folder.path()).args(["rbac", "conformance", "--recipe", "./r.yaml"]).args(more).exits(0).stdout;
    assert!(rbac(&[]).contains("gpumouses"), "by convention");
    let config = cluster.kubeconfig();
    let roles = rbac(&["--kubeconfig", config.to_str().expect("text")]);
    assert!(roles.contains("gpumice") && !roles.contains("gpumouses"), "{roles}");
    let less = cluster.kubeconfig_without("list", "gpumice.example.com");
    let bin = Bin::within(folder.path()).args(["preflight", "conformance", "--recipe", "./r.yaml", "--kubeconfig"]).args([less]);
    let ran = bin.exits(4);
    assert!(ran.stderr.contains("list gpumice.example.com cluster-wide"), "{}", ran.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn alone_it_says_what_is_there_which_recipe_fits_and_what_to_type() {
    let cluster = lease().await;
    let ran = Bin::seatrial().env("KUBECONFIG", cluster.kubeconfig()).exits(0);
    for word in ["kubernetes", "4", "32: ", "simulated", "sim-h100 fits", "seatrial run conformance --recipe sim-h100"] {
        assert!(ran.stdout.contains(word), "`{word}` is not in: {}", ran.stdout);
    }
    // What it names can be typed.
    let typed = ran.stdout.lines().find_map(|line| line.trim().strip_prefix("seatrial preflight ")).expect("a command");
    let args = typed.split_whitespace().take(3);
    Bin::seatrial().args(["preflight"]).args(args).env("KUBECONFIG", cluster.kubeconfig()).exits(0);
    assert_untouched(&cluster);
}
