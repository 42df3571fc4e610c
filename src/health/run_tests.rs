//! Tests of running health tests on objects in memory.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::Duration;

use super::*;
use crate::health::{Beside, load};
use crate::results::NotRunReason;

/// States of a cluster, one after the other; a watch ends after the last one.
struct Memory {
    states: Mutex<VecDeque<Vec<Value>>>,
    namespaced: Vec<&'static str>,
    cluster: Vec<&'static str>,
    trouble: Option<Kind>,
}

impl Memory {
    fn of(states: impl IntoIterator<Item = Vec<Value>>) -> Self {
        let states = Mutex::new(states.into_iter().collect());
        Self { states, namespaced: vec!["Pod", "Deployment", "DaemonSet"], cluster: vec!["Node"], trouble: None }
    }
}

impl Objects for Memory {
    async fn scope(&self, _: &str, kind: &str) -> Result<Option<Scope>> {
        let namespaced = self.namespaced.contains(&kind).then_some(Scope::Namespaced);
        Ok(namespaced.or_else(|| self.cluster.contains(&kind).then_some(Scope::Cluster)))
    }

    async fn observe(&self, selector: &Selector, _: Duration, look: &mut (dyn FnMut(&[&Value]) -> bool + Send)) -> Result<bool> {
        if let Some(kind) = self.trouble {
            return Err(Error::new(kind, "watch"));
        }
        loop {
            let objects = self.states.lock().expect("not poisoned").front().cloned().unwrap_or_default();
            let text = |object: &Value, place: &str| object.pointer(place).and_then(Value::as_str).map(str::to_owned);
            let selected = |object: &&Value| {
                text(object, "/kind").as_ref() == Some(&selector.kind)
                    && text(object, "/metadata/namespace") == selector.namespace
                    && selector.name.as_ref().is_none_or(|name| text(object, "/metadata/name").as_ref() == Some(name))
                    && selector.labels.iter().all(|(key, value)| object["metadata"]["labels"][key] == json!(value))
            };
            if selector.kind == "Event" {
                let events: Vec<&Value> = objects.iter().filter(|object| object["kind"] == "Event").collect();
                return Ok(look(&events));
            }
            if look(&objects.iter().filter(selected).collect::<Vec<_>>()) {
                return Ok(true);
            }
            let mut states = self.states.lock().expect("not poisoned");
            if states.len() <= 1 {
                return Ok(false);
            }
            states.pop_front();
        }
    }

    async fn log(&self, pod: &Value, container: &str, _: u64) -> Result<String> {
        Ok(format!("first\n{} of {container}\nlast\n", pod["metadata"]["name"]))
    }
}

const TEST: &str = "
apiVersion: chainsaw.kyverno.io/v1alpha1
kind: Test
metadata: {name: x}
spec:
  namespace: a
  steps:
  - try:
    - assert:
        resource:
          apiVersion: apps/v1
          kind: DaemonSet
          metadata: {name: d}
          status: {(numberReady == desiredNumberScheduled && numberReady > `0`): true}
    - error: {resource: {apiVersion: v1, kind: Pod, metadata: {labels: {app: d}}, status: {phase: Failed}}}
";

fn daemon_set(ready: i64, desired: i64) -> Value {
    json!({"kind": "DaemonSet", "metadata": {"name": "d", "namespace": "a"}, "status": {"numberReady": ready, "desiredNumberScheduled": desired}})
}

fn pod(name: &str, phase: &str) -> Value {
    json!({"kind": "Pod", "metadata": {"name": name, "namespace": "a", "labels": {"app": "d"}}, "status": {"phase": phase}})
}

fn load_alone(text: &str) -> Vec<Test> {
    let beside = Beside { read: &|_| Err(Error::usage("no file")), values: &serde_json::Map::new() };
    load("x.yaml", text, &beside).expect("the test is read")
}

fn outcome_of(text: &str, memory: &Memory) -> Outcome {
    let tests = load_alone(text);
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(run(&tests[0], memory, &|_| {}))
}

fn outcome(states: impl IntoIterator<Item = Vec<Value>>) -> Outcome {
    outcome_of(TEST, &Memory::of(states))
}

#[test]
fn a_healthy_cluster_passes_and_says_how_much_was_seen() {
    let outcome = outcome([vec![daemon_set(2, 2), pod("p", "Running"), pod("q", "Running")]]);
    assert_eq!((outcome.verdict, outcome.message.as_str()), (Verdict::Pass, "4 statements about 3 objects hold"));
    assert_eq!((outcome.assertions.passed, outcome.assertions.total), (4, 4));
    assert_eq!(outcome.subjects.seen, ["daemonset a/d", "pod a/p", "pod a/q"]);
}

#[test]
fn each_wrong_cluster_fails_with_its_cause() {
    for (objects, cause) in [
        (vec![], "daemonset a/d: not found; "),
        (
            vec![daemon_set(0, 0)],
            "daemonset a/d: status.(numberReady == desiredNumberScheduled && numberReady > `0`): expected true, got false",
        ),
        (vec![daemon_set(1, 2)], "(numberReady is 1, desiredNumberScheduled is 2"),
        (
            vec![daemon_set(2, 2), pod("p", "Running"), pod("q", "Failed")],
            "pod a/q is as it must not be: {\"status\":{\"phase\":\"Failed\"}}",
        ),
    ] {
        let outcome = outcome([objects]);
        assert_eq!(outcome.verdict, Verdict::Fail, "{cause}");
        assert!(format!("{}; ", outcome.message).contains(cause), "{}", outcome.message);
        assert!(outcome.fix.as_ref().is_some_and(|fix| fix.contains("kubectl get ")), "{:?}", outcome.fix);
        assert!(!outcome.artifacts.is_empty());
        assert!(outcome.assertions.passed < outcome.assertions.total);
    }
}

#[test]
fn it_waits_until_the_cluster_has_settled() {
    let states = [vec![], vec![daemon_set(0, 2)], vec![daemon_set(2, 2), pod("p", "Failed")], vec![daemon_set(2, 2)]];
    assert_eq!(outcome(states).verdict, Verdict::Pass);
}

#[test]
fn what_is_waited_for_is_said_once_each_time_that_it_changes() {
    let tests = load_alone(TEST);
    let heard = Mutex::new(Vec::new());
    let memory = Memory::of([vec![], vec![], vec![daemon_set(1, 2)], vec![daemon_set(2, 2)]]);
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(run(&tests[0], &memory, &|text| heard.lock().expect("not poisoned").push(text.to_owned())));
    let heard = heard.into_inner().expect("not poisoned");
    assert_eq!(heard.len(), 2, "{heard:?}");
    assert_eq!(heard[0], "daemonset a/d: not found");
}

#[test]
fn a_later_operation_completes_the_picture_of_a_failure() {
    let outcome = outcome([vec![pod("p", "Failed")]]);
    assert_eq!(outcome.message, "daemonset a/d: not found; 1 more of the test's operations do not hold");
    assert_eq!(outcome.artifacts.len(), 2);
}

#[test]
fn trouble_with_reading_is_an_error_and_never_a_verdict() {
    for (trouble, verdict) in [
        (Kind::Denied, Verdict::Error(ErrorReason::Denied)),
        (Kind::Timeout, Verdict::Error(ErrorReason::Timeout)),
        (Kind::Unavailable, Verdict::Error(ErrorReason::Unavailable)),
        (Kind::Interrupted, Verdict::NotRun(NotRunReason::Interrupted)),
    ] {
        let memory = Memory { trouble: Some(trouble), ..Memory::of([vec![daemon_set(2, 2)]]) };
        assert_eq!(outcome_of(TEST, &memory).verdict, verdict);
    }
}

#[test]
fn a_kind_that_is_not_served_fails_an_assert_and_leaves_an_error_open() {
    let without = |kind: &str| {
        let mut memory = Memory::of([vec![daemon_set(2, 2)]]);
        memory.namespaced.retain(|served| *served != kind);
        outcome_of(TEST, &memory)
    };
    let missing = without("DaemonSet");
    assert_eq!(missing.verdict, Verdict::Fail);
    assert!(
        missing.message.contains("no such kind DaemonSet of apps/v1: is its CustomResourceDefinition installed?"),
        "{}",
        missing.message
    );
    assert_eq!(without("Pod").verdict, Verdict::Error(ErrorReason::NoSubject));
}

#[test]
fn a_namespaced_kind_without_a_namespace_is_an_error() {
    let outcome = outcome_of(&TEST.replace("  namespace: a\n", ""), &Memory::of([vec![daemon_set(2, 2)]]));
    assert_eq!(outcome.verdict, Verdict::Error(ErrorReason::Harness));
    assert!(outcome.message.contains("the test names none"), "{}", outcome.message);
}

#[test]
fn a_cluster_scoped_kind_is_not_looked_for_in_the_namespace_of_the_test() {
    let text = TEST.replace("kind: DaemonSet", "kind: Node").replace("name: d", "name: n");
    let node = json!({"kind": "Node", "metadata": {"name": "n"}, "status": {"numberReady": 1, "desiredNumberScheduled": 1}});
    assert_eq!(outcome_of(&text, &Memory::of([vec![node]])).verdict, Verdict::Pass);
}

#[test]
fn an_error_that_saw_nothing_counts_for_nothing() {
    let outcome = outcome([vec![daemon_set(2, 2)]]);
    assert_eq!((outcome.verdict, outcome.assertions.total), (Verdict::Pass, 2));
}

#[test]
fn what_explains_a_failure_is_kept_and_changes_no_verdict() {
    let diagnostics = "
    catch:
    - describe: {apiVersion: apps/v1, kind: DaemonSet, name: d}
    - podLogs: {selector: app=d, tail: 2}
    - get: {apiVersion: example.com/v1, kind: Gone, name: x}
    finally:
    - events: {}
    - get: {apiVersion: v1, kind: Pod, selector: app=d}
";
    let text = format!("{}{}", TEST.trim_end(), diagnostics);
    let mut ready = pod("p", "Running");
    ready["spec"] = json!({"containers": [{"name": "c"}]});
    ready["metadata"]["managedFields"] = json!([{"manager": "x"}]);
    let event = json!({"kind": "Event", "metadata": {"namespace": "a"}, "involvedObject": {"kind": "DaemonSet", "name": "d"}, "reason": "FailedCreate"});
    let named = |outcome: &Outcome| -> Vec<String> { outcome.artifacts.iter().map(|artifact| artifact.name.clone()).collect() };

    let healthy = outcome_of(&text, &Memory::of([vec![daemon_set(1, 1), ready.clone(), event.clone()]]));
    assert_eq!(healthy.verdict, Verdict::Pass, "{}", healthy.message);
    assert_eq!(named(&healthy), ["events of event in namespace a by x.yaml:21", "objects of pod in namespace a with app=d by x.yaml:22"]);
    assert_eq!(healthy.artifacts[1].data[0]["metadata"].get("managedFields"), None);

    let broken = outcome_of(&text, &Memory::of([vec![daemon_set(0, 1), ready, event]]));
    assert_eq!(broken.verdict, Verdict::Fail);
    let of = |start: &str| broken.artifacts.iter().find(|artifact| artifact.name.starts_with(start)).unwrap_or_else(|| panic!("{start}"));
    let described = of("description of daemonset a/d");
    assert_eq!(described.data[0]["events"][0]["reason"], "FailedCreate");
    assert_eq!(described.command.as_deref(), Some("kubectl describe daemonset d -n a"));
    assert_eq!(of("logs of pod").data[0]["lines"], json!(["\"p\" of c", "last"]));
    assert!(of("objects of gone a/x").data["error"].as_str().is_some_and(|error| error.contains("no such kind")));
}
