//! The health files of components: each passes where everything that it asks for is as it should be, not on an empty cluster, and each of
//! its objects that is missing or defective turns it red by its name. By objects in memory.

#[path = "support/objects.rs"]
mod objects;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use objects::outcome;
use seatrial::error::Error;
use seatrial::health::{self, Beside, Selector, Test};
use seatrial::results::Verdict;
use serde_json::{Map, Value, json};

/// The components whose recipes and operators are spoken of most; a new folder is added here.
const COMPONENTS: &[&str] = &[
    "amd-gpu-operator",
    "cert-manager",
    "dynamo",
    "gpu-operator",
    "jobset",
    "kai-scheduler",
    "karpenter",
    "kgateway",
    "kserve",
    "kube-prometheus-stack",
    "kueue",
    "lws",
    "metrics-server",
    "network-operator",
    "nfd",
    "nvidia-dra-driver-gpu",
    "nvsentinel",
    "prometheus-adapter",
    "skyhook",
    "trainer",
    "volcano",
];

fn load(component: &str, values: &Value) -> Test {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("recipes/health").join(component);
    let mut files: Vec<_> = fs::read_dir(&folder).expect(component).map(|entry| entry.expect("an entry").path()).collect();
    assert_eq!(files.len(), 1, "{component} has one file");
    let file = files.remove(0);
    let text = fs::read_to_string(&file).expect("is read");
    let read = |path: &str| Err(Error::usage(format!("{path} is not looked for here")));
    let beside = Beside { read: &read, values: values.as_object().expect("a map") };
    let mut tests = health::load(component, &text, &beside).unwrap_or_else(|error| panic!("{}", error.chain()));
    assert_eq!(tests.len(), 1, "{component} has one test");
    let test = tests.remove(0);
    assert_eq!(Some(test.name.as_str()), file.file_stem().and_then(|stem| stem.to_str()), "a test is called like its file");
    test
}

fn corpus() -> impl Iterator<Item = Test> {
    COMPONENTS.iter().map(|component| load(component, &json!({})))
}

fn condition(kind: &str, status: &str) -> Value {
    json!({"type": kind, "status": status})
}

/// An object of a selector, as a healthy cluster has it.
fn healthy(selector: &Selector) -> Value {
    let mut object = match selector.kind.as_str() {
        "Deployment" => json!({"status": {"observedGeneration": 3, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2,
            "conditions": [condition("Progressing", "True"), condition("Available", "True")]}}),
        "DaemonSet" => {
            json!({"status": {"observedGeneration": 3, "desiredNumberScheduled": 8, "updatedNumberScheduled": 8, "numberReady": 8}})
        }
        "StatefulSet" => json!({"status": {"observedGeneration": 3, "replicas": 2, "updatedReplicas": 2, "readyReplicas": 2}}),
        "CustomResourceDefinition" => {
            json!({"status": {"conditions": [condition("NamesAccepted", "True"), condition("Established", "True")]}})
        }
        "APIService" => json!({"status": {"conditions": [condition("Available", "True")]}}),
        "ValidatingWebhookConfiguration" => {
            json!({"webhooks": [{"clientConfig": {"caBundle": "QQ=="}}, {"clientConfig": {"caBundle": "QQ=="}}]})
        }
        "ClusterPolicy" | "NicClusterPolicy" => json!({"status": {"state": "ready"}}),
        "GatewayClass" => json!({"status": {"conditions": [condition("Accepted", "True")]}}),
        "Queue" => json!({"status": {"state": "Open"}}),
        "DeviceClass" => json!({"spec": {"selectors": [{"cel": {"expression": "true"}}]}}),
        "ResourceSlice" => json!({"spec": {"driver": "gpu.nvidia.com", "devices": [{"name": "gpu-0"}]}}),
        other => panic!("say in this test what a healthy {other} is"),
    };
    let name =
        selector.name.clone().unwrap_or_else(|| format!("chosen-by-{}", selector.labels.values().cloned().collect::<Vec<_>>().join("-")));
    let metadata = json!({"name": name, "generation": 3, "labels": selector.labels, "namespace": selector.namespace});
    object["metadata"] = metadata;
    object["kind"] = json!(selector.kind);
    object
}

/// What can be wrong with an object of a kind: the place, what stands there, and what is said of it.
fn defects(kind: &str) -> Vec<(&'static str, Value, &'static str)> {
    match kind {
        "Deployment" => vec![
            ("/status/conditions/1/status", json!("False"), "expected \"True\", got \"False\""),
            ("/status/conditions", json!([]), "expected 1 elements, got 0"),
            ("/status/availableReplicas", json!(1), "availableReplicas is 1, replicas is 2"),
            ("/status/updatedReplicas", json!(1), "updatedReplicas is 1, replicas is 2"),
            ("/metadata/generation", json!(4), "metadata.generation is 4, status.observedGeneration is 3"),
            ("/status", json!(null), "status.observedGeneration is null"),
        ],
        "DaemonSet" => vec![
            ("/status/numberReady", json!(7), "numberReady is 7, desiredNumberScheduled is 8"),
            ("/status/numberReady", json!(0), "numberReady is 0"),
            (
                "/status",
                json!({"observedGeneration": 3, "desiredNumberScheduled": 0, "updatedNumberScheduled": 0, "numberReady": 0}),
                "numberReady is 0",
            ),
            ("/status/updatedNumberScheduled", json!(5), "updatedNumberScheduled is 5"),
            ("/metadata/generation", json!(4), "metadata.generation is 4"),
        ],
        "StatefulSet" => vec![
            ("/status/readyReplicas", json!(1), "readyReplicas is 1, replicas is 2"),
            ("/status/readyReplicas", json!(null), "readyReplicas is null"),
            ("/status/updatedReplicas", json!(0), "updatedReplicas is 0"),
            ("/metadata/generation", json!(4), "metadata.generation is 4"),
        ],
        "CustomResourceDefinition" => vec![
            ("/status/conditions/1/status", json!("False"), "expected \"True\", got \"False\""),
            ("/status/conditions/0/status", json!("False"), "expected \"True\", got \"False\""),
        ],
        "APIService" | "GatewayClass" => vec![("/status/conditions/0/status", json!("False"), "expected \"True\", got \"False\"")],
        "ValidatingWebhookConfiguration" => vec![
            ("/webhooks/1/clientConfig", json!({}), "is null"),
            ("/webhooks/0/clientConfig/caBundle", json!(""), "expected true, got false"),
            ("/webhooks", json!([]), "expected true, got false"),
        ],
        "ClusterPolicy" | "NicClusterPolicy" => vec![("/status/state", json!("notReady"), "expected \"ready\", got \"notReady\"")],
        "Queue" => vec![("/status/state", json!("Closed"), "expected \"Open\", got \"Closed\"")],
        "DeviceClass" => vec![("/spec/selectors", json!([]), "expected true, got false")],
        "ResourceSlice" => vec![
            ("/spec/driver", json!("other"), "expected \"gpu.nvidia.com\", got \"other\""),
            ("/spec/devices", json!([]), "expected true, got false"),
        ],
        other => panic!("say in this test what can be wrong with a {other}"),
    }
}

/// Everything that a test asserts, as a healthy cluster has it.
fn cluster(test: &Test) -> Vec<Value> {
    test.operations.iter().filter(|operation| !operation.negative).map(|operation| healthy(&operation.selector)).collect()
}

#[test]
fn every_folder_of_a_component_is_in_the_corpus() {
    let folders = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("recipes/health")).expect("the folder is there");
    let mut names: Vec<String> = folders.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    names.retain(|name| name != "sim");
    names.sort();
    assert_eq!(names, COMPONENTS);
    let tests: BTreeMap<String, Test> = corpus().map(|test| (test.name.clone(), test)).collect();
    assert_eq!(tests.len(), COMPONENTS.len(), "two tests have one name, so a recipe could not have both");
}

#[test]
fn each_passes_on_a_healthy_cluster() {
    for test in corpus() {
        let outcome = outcome(&test, cluster(&test));
        assert_eq!(outcome.verdict, Verdict::Pass, "{}: {}", test.name, outcome.message);
        assert!(outcome.assertions.total > 4, "{} looked at next to nothing", test.name);
    }
}

#[test]
fn none_passes_on_an_empty_cluster() {
    for test in corpus() {
        assert_eq!(outcome(&test, Vec::new()).verdict, Verdict::Fail, "{}", test.name);
    }
}

#[test]
fn each_object_that_is_missing_or_defective_turns_it_red_by_its_name() {
    let mut planted = 0;
    for test in corpus() {
        let healthy = cluster(&test);
        for (index, object) in healthy.iter().enumerate() {
            let name = object["metadata"]["name"].as_str().expect("a name");
            let mut without = healthy.clone();
            without.remove(index);
            let missing = outcome(&test, without);
            assert_eq!(missing.verdict, Verdict::Fail, "{} without {name}: {}", test.name, missing.message);
            for (place, value, said) in defects(object["kind"].as_str().expect("a kind")) {
                let mut broken = healthy.clone();
                *broken[index].pointer_mut(place).expect(place) = value.clone();
                let outcome = outcome(&test, broken);
                let at = format!("{}: {name}{place} = {value}", test.name);
                assert_eq!(outcome.verdict, Verdict::Fail, "{at}: {}", outcome.message);
                assert!(outcome.message.contains(name) && outcome.message.contains(said), "{at}: {}", outcome.message);
                planted += 1;
            }
        }
    }
    assert!(planted > 250, "{planted}");
}

#[test]
fn a_container_that_does_not_come_up_turns_it_red() {
    for test in corpus() {
        let Some(pods) = test.operations.iter().find(|operation| operation.negative && operation.selector.kind == "Pod") else { continue };
        for reason in ["CrashLoopBackOff", "ImagePullBackOff"] {
            let pod = json!({"kind": "Pod", "metadata": {"name": "stuck", "namespace": pods.selector.namespace},
                "status": {"phase": "Pending", "containerStatuses": [{"state": {"running": {}}}, {"state": {"waiting": {"reason": reason}}}]}});
            let outcome = outcome(&test, cluster(&test).into_iter().chain([pod]).collect());
            assert_eq!(outcome.verdict, Verdict::Fail, "{}: {}", test.name, outcome.message);
            assert!(outcome.message.contains("stuck") && outcome.message.contains(reason), "{}: {}", test.name, outcome.message);
        }
    }
}

#[test]
fn what_must_not_be_of_custom_resources_turns_it_red() {
    let pool =
        |status: &str| json!({"kind": "NodePool", "metadata": {"name": "gpus"}, "status": {"conditions": [condition("Ready", status)]}});
    let skyhook = |status: &str| json!({"kind": "Skyhook", "metadata": {"name": "tuning"}, "status": {"status": status}});
    for (component, good, bad) in [
        ("karpenter", pool("True"), pool("False")),
        ("karpenter", pool("True"), pool("Unknown")),
        ("skyhook", skyhook("complete"), skyhook("erroring")),
    ] {
        let test = load(component, &json!({}));
        let with = |object: Value| outcome(&test, cluster(&test).into_iter().chain([object]).collect());
        assert_eq!(with(good).verdict, Verdict::Pass);
        assert_eq!(with(bad).verdict, Verdict::Fail);
    }
}

#[test]
fn values_say_where_a_component_is_installed() {
    let test = load("amd-gpu-operator", &json!({"namespace": "amd", "deviceConfig": "mi300x"}));
    let named: Vec<String> = test.operations.iter().map(|operation| operation.selector.to_string()).collect();
    assert!(named.contains(&"daemonset amd/mi300x-metrics-exporter".to_owned()), "{named:?}");
    let elsewhere = load("amd-gpu-operator", &Value::Object(Map::new()));
    assert_eq!(outcome(&test, cluster(&elsewhere)).verdict, Verdict::Fail);
}
