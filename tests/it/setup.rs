//! Set-up applies what a workflow declares, and takes away all of it and nothing else.

use crate::support::cluster::lease;
use crate::trial::{Site, nothing_left};

const MANIFESTS: &str = "
apiVersion: v1
kind: Namespace
metadata: {name: app}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings, namespace: app}
data: {color: blue}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: app}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: c, image: example.invalid/c:1}]}
";

const WITH_MANIFESTS: &[&str] = &["snapshot", "inventory", "{id: setup, manifests: [manifests.yaml]}", "health", "conformance", "collect"];

/// A site whose set-up applies [`MANIFESTS`], and whose recipe expects what it installs, ready.
fn site() -> Site {
    let site = Site::new();
    site.write("manifests.yaml", MANIFESTS);
    site.write(
        "web.yaml",
        "apiVersion: chainsaw.kyverno.io/v1alpha1\nkind: Test\nmetadata: {name: web}\nspec:\n  timeouts: {assert: 1s, error: 1s}\n  steps:\n  \
         - try:\n    - assert: {resource: {apiVersion: apps/v1, kind: Deployment, metadata: {name: web, namespace: app}, status: {readyReplicas: 2}}}\n",
    );
    site.edit("[quick.yaml]", "[web.yaml]");
    site.edit("  expect:\n", "  expect:\n  - {apiVersion: apps/v1, kind: Deployment, namespace: app, name: web}\n");
    site
}

#[tokio::test]
async fn what_set_up_installs_is_listed_as_such_waited_for_and_removed_at_the_end() {
    let cluster = lease().await;
    let site = site();
    let trial = site.run(&cluster.kubeconfig(), &site.workflow("training", WITH_MANIFESTS), &[], 0);
    trial.has("inventory", "pass", "12 of 12 expected objects (1 by set-up)");
    trial.has("setup", "pass", "3 objects applied, settled for 2 s");
    trial.has("health/web", "pass", "").only(&[]);
    nothing_left(&cluster);
    let namespaces = cluster.kubectl(&["get", "namespaces", "-o", "name"]);
    assert!(!namespaces.contains("namespace/app"), "{namespaces}");
}

#[tokio::test]
async fn an_object_that_was_there_is_refused_by_name_and_left_as_it_was_and_what_was_applied_before_is_removed() {
    let cluster = lease().await;
    let site = site();
    let (others, _) = MANIFESTS.split_once("---\napiVersion: apps/v1").expect("has a Deployment");
    let changed = others.replace("blue", "red");
    cluster.apply(&changed);
    let own = MANIFESTS.split_once("metadata: {name: app}\n---").expect("has a Namespace").1;
    let (settings, web) = own.split_once("---").expect("has two objects");
    site.write("manifests.yaml", &format!("{web}---{settings}"));
    let before = cluster.get(&["configmap", "settings", "-n", "app"]);
    let trial = site.run(&cluster.kubeconfig(), &site.workflow("training", WITH_MANIFESTS), &[], 3);
    trial.has("setup", "error(harness)", "set-up wants to apply configmap app/settings, which exists already");
    trial.has("health/web", "not-run(blocked-by)", "needs what set-up installs, and setup did not pass");
    assert_eq!(cluster.get(&["configmap", "settings", "-n", "app"]), before);
    assert_eq!(cluster.kubectl(&["get", "deployments", "-n", "app", "-o", "name"]), "");
    nothing_left(&cluster);
}
