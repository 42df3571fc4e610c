//! What a run writes, and for whom: the right stream, the right form, nothing injected, sums that are right.

use serde_json::{Value, json};

use crate::support::cluster::lease;
use crate::support::eventually;
use crate::support::runs::Workplace;
use crate::support::{Bin, Ran};

#[track_caller]
fn assert_plain(text: &str) {
    assert!(text.chars().all(|letter| letter == '\n' || !letter.is_control()), "control characters in {text:?}");
}

/// Every document of a run says the same sums, and every CTRF document fits its schema.
#[track_caller]
fn assert_documents_agree(place: &Workplace, out: &str) {
    let results = place.results(out);
    let count = |name: &str| results["counts"][name].as_u64().expect("a number");
    let parts = ["pass", "fail", "skip", "error", "not-run"].map(count);
    assert_eq!(count("selected"), parts.iter().sum::<u64>());
    assert_eq!(results["tests"].as_array().map(|tests| tests.len() as u64), Some(count("selected")));
    let schema: Value = serde_json::from_str(include_str!("../../schemas/ctrf.json")).expect("a schema");
    let schema = jsonschema::validator_for(&schema).expect("a schema");
    let mut tests = 0;
    for step in results["steps"].as_array().expect("steps") {
        let path = place.path(out).join(format!("ctrf/{}.json", step["id"].as_str().expect("an id")));
        let document: Value = serde_json::from_str(&std::fs::read_to_string(&path).expect("one per step")).expect("is JSON");
        assert!(
            schema.is_valid(&document),
            "{}: {:?}",
            path.display(),
            schema.iter_errors(&document).map(|error| error.to_string()).collect::<Vec<_>>()
        );
        tests += document["results"]["tests"].as_array().expect("a list").len() as u64;
    }
    assert!(tests >= count("selected"), "{tests} tests in CTRF, {} selected", count("selected"));
    assert!(place.path(out).join("junit.xml").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_run_is_told_to_programs_to_github_and_to_people_and_the_cluster_cannot_inject() {
    let cluster = lease().await;
    let Some(place) = Workplace::new(&cluster) else { return };
    let evil = "x\u{1b}[31m\n::set-output name=a::b\n::error::pwned";
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "evil", "namespace": "gpu-operator"},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "evil"}}, "template": {
            "metadata": {"labels": {"app": "evil"}},
            "spec": {"containers": [{"name": "c", "image": "example.invalid/x:1"}], "nodeSelector": {"no": "such-node"}},
        }},
    });
    cluster.apply(&deployment.to_string());
    eventually("the Deployment to be unavailable", std::time::Duration::from_secs(30), || {
        let status = cluster.get(&["deployment", "evil", "-n", "gpu-operator"]);
        (status["status"]["unavailableReplicas"] == 1).then_some(())
    });
    let status = json!({"status": {"conditions": [{"type": "Available", "status": "False", "reason": "Evil", "message": evil}]}});
    cluster.kubectl(&[
        "patch",
        "deployment",
        "evil",
        "-n",
        "gpu-operator",
        "--subresource=status",
        "--type=merge",
        "-p",
        &status.to_string(),
    ]);

    let run = |ui: &'static str, out: &'static str| {
        let bin = place.bin(&["run", "conformance", "--recipe", "sim-h100", "--settle", "1", "--max-gpus", "0", "--ui", ui, "--out", out]);
        bin.env("GITHUB_STEP_SUMMARY", place.path("summary.md")).exits(1)
    };
    let ran: Ran = run("json", "json");
    assert_eq!(ran.stdout, "");
    for line in ran.stderr.lines() {
        let event: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(event["event"].is_string(), "{line}");
    }
    assert!(!place.path("summary.md").exists());
    assert_documents_agree(&place, "json");

    let ran = run("github", "github");
    assert_eq!(ran.stdout, "");
    assert_plain(&ran.stderr);
    assert!(ran.stderr.lines().any(|line| line.starts_with("::error title=platform-health::")), "{}", ran.stderr);
    let commands = ran.stderr.lines().filter(|line| line.trim_start().starts_with("::"));
    for command in commands {
        assert!(command.starts_with("::error title=") || command.starts_with("::warning::"), "{command}");
    }
    assert!(std::fs::read_to_string(place.path("summary.md")).expect("is written").contains("platform-health"));

    let ran = run("human", "human");
    assert_eq!(ran.stdout, "");
    assert_plain(&ran.stderr);
    assert_plain(&std::fs::read_to_string(place.path("human/report.md")).expect("is written"));
    let results = place.results("human");
    let skipped =
        |id: &str| results["tests"].as_array().expect("tests").iter().any(|test| test["id"] == id && test["reason"] == "by-request");
    assert!(skipped("dra-support") && skipped("intent/training"), "{results:#}");
    assert_eq!(results["scope"], "structural");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_name_with_escapes_and_workflow_commands_reaches_people_as_plain_text_only() {
    let cluster = lease().await;
    let Some(place) = Workplace::new(&cluster) else { return };
    let evil = "x\u{1b}[31m\n::set-output name=a::b";
    let patch = json!({"spec": {"template": {"spec": {"containers": [{"name": "gpu-operator", "image": evil}]}}}});
    cluster.kubectl(&["patch", "deployment", "gpu-operator", "-n", "gpu-operator", "-p", &patch.to_string()]);
    let workflow = place.workflow(&["snapshot", "inventory", "collect"]);
    for ui in ["human", "github"] {
        let ran = place.bin(&["run", &workflow, "--recipe", "sim-h100", "--ui", ui, "--out", ui]).exits(1);
        let report = std::fs::read_to_string(place.path(ui).join("report.md")).expect("is written");
        for text in [&ran.stderr, &report] {
            assert!(text.contains("set-output") || text.contains("set\\-output"), "it is shown what runs there: {text}");
            assert_plain(text);
            assert!(!text.lines().any(|line| line.trim_start().starts_with("::set")), "{text}");
        }
    }
}

#[test]
fn plans_are_the_only_thing_on_stdout_and_a_budget_is_kept() {
    let ran = Bin::seatrial().args(["plan", "conformance", "--recipe", "sim-h100", "-t", "json"]).exits(0);
    let plan: Value = serde_json::from_str(&ran.stdout).expect("is JSON");
    assert_eq!((plan["kind"].as_str(), ran.stderr.as_str()), (Some("Plan"), ""));
    let ran = Bin::seatrial().args(["plan", "conformance", "--recipe", "sim-h100", "--budget", "1"]).exits(2);
    assert!(ran.stdout.is_empty() && ran.stderr.contains("the budget 1 min"), "{}", ran.stderr);
}

/// Makes a user of these roles, and its kubeconfig.
fn user(cluster: &crate::support::cluster::LeasedCluster, place: &Workplace, name: &str, roles: &str) -> std::path::PathBuf {
    cluster.apply(&format!("apiVersion: v1\nkind: ServiceAccount\nmetadata: {{name: {name}, namespace: default}}\n---\n{roles}"));
    let token = cluster.kubectl(&["create", "token", name, "--namespace", "default"]);
    let text = std::fs::read_to_string(cluster.kubeconfig()).expect("is there");
    let mut config: Value = seatrial::yaml::from_str(&text, "kubeconfig").expect("is YAML");
    config["users"][0]["user"] = json!({"token": token.trim()});
    let file = place.path(&format!("{name}.kubeconfig"));
    std::fs::write(&file, config.to_string()).expect("is written");
    file
}

/// The roles with one verb on one resource taken out.
fn less(roles: &str, verb: &str, resource: &str) -> String {
    let plural = resource.split('.').next().expect("a name");
    let mut documents = Vec::new();
    for mut document in seatrial::yaml::all_from_str::<Value>(roles, "roles").expect("YAML") {
        for rule in document.get_mut("rules").and_then(Value::as_array_mut).into_iter().flatten() {
            if rule["resources"].as_array().is_some_and(|all| all.contains(&json!(plural))) {
                rule["verbs"].as_array_mut().expect("verbs").retain(|have| have != verb);
            }
        }
        documents.push(document);
    }
    json!({"apiVersion": "v1", "kind": "List", "items": documents}).to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn in_an_existing_namespace_a_service_account_needs_the_printed_roles_and_not_one_verb_less() {
    let cluster = lease().await;
    let Some(place) = Workplace::new(&cluster) else { return };
    // Restricted, and with a quota that has just enough room.
    let namespace = json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": {"name": "trials", "labels": {"pod-security.kubernetes.io/enforce": "restricted"}},
    });
    let hard = json!({"requests.nvidia.com/gpu": "16", "pods": "4"});
    let quota =
        json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "q", "namespace": "trials"}, "spec": {"hard": hard}});
    cluster.apply(&namespace.to_string());
    cluster.apply(&quota.to_string());
    let rbac = ["rbac", "conformance", "--recipe", "sim-h100", "--namespace", "trials", "--service-account", "default:guest"];
    let roles = Bin::seatrial().args(rbac).exits(0).stdout;
    for document in seatrial::yaml::all_from_str::<Value>(&roles, "roles").expect("YAML") {
        let writes = document["kind"] == "ClusterRole"
            && ["create", "delete", "update", "patch"].iter().any(|verb| document.to_string().contains(verb));
        assert!(!writes, "{document:#}");
    }
    let guest = user(&cluster, &place, "guest", &roles);
    eventually("the roles to be seen", std::time::Duration::from_secs(20), || {
        cluster.try_kubectl(&guest, &["auth", "can-i", "create", "jobs", "-n", "trials", "--quiet"], "").0.then_some(())
    });
    let run = |out: &str| {
        let bin = Bin::within(&place.path("")).args(["run", "conformance", "--recipe", "sim-h100", "--namespace", "trials", "--out", out]);
        bin.args([std::path::Path::new("--kubeconfig"), &guest])
    };
    run("guest").exits(0);
    place.assert_all_passed("guest");
    for (verb, resource) in [("create", "pods"), ("delete", "leases.coordination.k8s.io"), ("watch", "resourceclaims.resource.k8s.io")] {
        cluster.apply(&less(&roles, verb, resource));
        eventually("the smaller role to be seen", std::time::Duration::from_secs(20), || {
            let ran = run("less").ends();
            assert!(ran.code == 4, "exit {}: {}", ran.code, ran.stderr);
            ran.stderr.contains(&format!("{verb} {resource}")).then_some(())
        });
        assert!(!place.path("less").exists());
    }
    assert_eq!(cluster.left(), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_printed_roles_are_what_a_run_needs_and_not_one_verb_less() {
    let cluster = lease().await;
    let Some(place) = Workplace::new(&cluster) else { return };
    let rbac = |name: &str, more: &[&str]| {
        let full = format!("system:serviceaccount:default:{name}");
        Bin::seatrial().args(["rbac", "conformance", "--recipe", "sim-h100", "--user", &full]).args(more).exits(0).stdout
    };
    let run = |kubeconfig: &std::path::Path, out: &str, more: &[&str]| {
        let bin = Bin::within(&place.path("")).args(["run", "conformance", "--recipe", "sim-h100", "--out", out, "--kubeconfig"]);
        bin.args([kubeconfig]).args(more)
    };
    let roles = rbac("owner", &[]);
    let owner = user(&cluster, &place, "owner", &roles);
    eventually("the roles to be seen", std::time::Duration::from_secs(20), || {
        cluster.try_kubectl(&owner, &["auth", "can-i", "create", "jobs", "-n", "default", "--quiet"], "").0.then_some(())
    });
    run(&owner, "owned", &[]).exits(0);
    place.assert_all_passed("owned");

    for (verb, resource) in [("watch", "nodes"), ("create", "jobs.batch"), ("list", "clusterpolicies.nvidia.com")] {
        cluster.apply(&less(&roles, verb, resource));
        let named = format!("{verb} {resource}");
        eventually("the smaller role to be seen", std::time::Duration::from_secs(20), || {
            let ran = run(&owner, "less", &[]).ends();
            assert!(ran.code == 4, "exit {}: {}", ran.code, ran.stderr);
            ran.stderr.contains(&named).then_some(())
        });
        assert!(!place.path("less").exists());
    }

    let roles = rbac("reader", &["--behavioral-tests", "false"]);
    let reader = user(&cluster, &place, "reader", &roles.replace("name: seatrial", "name: seatrial-reader"));
    eventually("the roles to be seen", std::time::Duration::from_secs(20), || {
        cluster.try_kubectl(&reader, &["auth", "can-i", "list", "pods", "-A", "--quiet"], "").0.then_some(())
    });
    run(&reader, "read", &["--behavioral-tests", "false"]).exits(0);
    let results = place.results("read");
    let test = results["tests"].as_array().and_then(|tests| tests.iter().find(|test| test["id"] == "dra-support")).expect("a test");
    assert_eq!((test["reason"].as_str(), results["scope"].as_str()), (Some("behavioral-tests-off"), Some("structural")), "{results:#}");
    assert_documents_agree(&place, "read");
    assert_eq!(cluster.left(), "");
}
