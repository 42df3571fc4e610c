//! Decides what one look at the objects says about an operation; pure, so that every case is a test in memory.

use serde_json::{Map, Value, json};

use crate::health::tree::quote;
use crate::health::{Findings, Operation, Why};

/// Something that keeps an operation from holding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Problem {
    /// The object and what is wrong with it.
    pub(super) message: String,
    /// True if the cluster was seen to be wrong; false if it could not be told.
    pub(super) seen: bool,
}

/// What one look at the objects came to.
#[derive(Clone, Debug, Default)]
pub(super) struct Look {
    /// Statements that held.
    pub(super) passed: usize,
    /// Statements made.
    pub(super) total: usize,
    /// Objects that were looked at.
    pub(super) subjects: Vec<String>,
    /// What is wrong; empty if the operation holds.
    pub(super) problems: Vec<Problem>,
}

impl Look {
    /// True if the operation holds.
    pub(super) fn holds(&self) -> bool {
        self.problems.is_empty()
    }
}

/// Judges an operation by all objects of its selector.
pub(super) fn judge(operation: &Operation, objects: &[&Value]) -> Look {
    let mut looked: Vec<(String, Findings)> =
        objects.iter().map(|object| (name(operation, object), operation.tree.check(object))).collect();
    // The order that the API server happens to send must not show in a report.
    looked.sort_by(|a, b| a.0.cmp(&b.0));
    let mut look = if operation.negative { none_matches(operation, &looked) } else { one_satisfies(operation, &looked) };
    look.subjects = looked.into_iter().map(|(name, _)| name).collect();
    look
}

/// `assert`: there is an object, and at least one satisfies the tree.
fn one_satisfies(operation: &Operation, looked: &[(String, Findings)]) -> Look {
    let missed = |findings: &Findings| findings.total - findings.passed;
    let Some((name, nearest)) = looked.iter().min_by_key(|(_, findings)| missed(findings)) else {
        let what = if operation.selector.name.is_some() {
            format!("{}: not found", operation.selector)
        } else {
            format!("no {}", operation.selector)
        };
        return Look { total: 1, problems: vec![Problem { message: what, seen: true }], ..Look::default() };
    };
    // That there is an object is a statement too.
    let mut look = Look { passed: nearest.passed + 1, total: nearest.total + 1, ..Look::default() };
    if !nearest.satisfied() {
        let among = if looked.len() > 1 { format!(" (the nearest of {})", looked.len()) } else { String::new() };
        let problem = |violation| Problem { message: format!("{name}{among}: {violation}"), seen: !nearest.has(Why::Unseen) };
        look.problems = nearest.violations.iter().map(problem).collect();
    }
    look
}

/// `error`: no object satisfies the tree. An iteration over nothing holds here, so that it never excuses an object.
fn none_matches(operation: &Operation, looked: &[(String, Findings)]) -> Look {
    let mut look = Look { total: looked.len(), ..Look::default() };
    for (name, findings) in looked {
        let unclear = findings.violations.iter().find(|violation| matches!(violation.why, Why::Incomparable | Why::Unseen));
        if let Some(violation) = unclear {
            look.problems
                .push(Problem { message: format!("{name}: cannot tell whether it is as it must not be: {violation}"), seen: false });
        } else if findings.has(Why::Different) {
            look.passed += 1;
        } else {
            let what = if operation.tree.is_empty() {
                "is there, and must not be".to_owned()
            } else {
                format!("is as it must not be: {}", operation.unwanted)
            };
            look.problems.push(Problem { message: format!("{name} {what}"), seen: true });
        }
    }
    look
}

/// What an object is called in messages: `deployment gpu-operator/gpu-operator`.
fn name(operation: &Operation, object: &Value) -> String {
    let text = |field: &str| object.pointer(field).and_then(Value::as_str);
    let kind = operation.selector.kind.to_lowercase();
    let name = text("/metadata/name").unwrap_or("without a name");
    match text("/metadata/namespace") {
        Some(namespace) => format!("{kind} {namespace}/{name}"),
        None => format!("{kind} {name}"),
    }
}

/// What must not be, in a few words: the tree without what selects the object.
pub(super) fn in_words(tree: &Map<String, Value>) -> String {
    quote(&json!(tree))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use super::*;
    use crate::health::{Selector, Tree};

    fn operation(negative: bool, tree: &Value) -> Operation {
        let selector = Selector {
            api_version: "v1".to_owned(),
            kind: "Pod".to_owned(),
            namespace: Some("a".to_owned()),
            name: None,
            labels: BTreeMap::from([("app".to_owned(), "x".to_owned())]),
        };
        let compiled = Tree::compile(tree).expect("compiles");
        let unwanted = tree.as_object().map(in_words).unwrap_or_default();
        Operation { negative, selector, tree: compiled, unwanted, limit: Duration::from_secs(1), place: "x.yaml:1".to_owned() }
    }

    fn pod(name: &str, phase: &str) -> Value {
        json!({"metadata": {"name": name, "namespace": "a"}, "status": {"phase": phase, "list": []}})
    }

    fn problems(negative: bool, tree: &Value, pods: &[Value]) -> Vec<(String, bool)> {
        let look = judge(&operation(negative, tree), &pods.iter().collect::<Vec<_>>());
        look.problems.into_iter().map(|problem| (problem.message, problem.seen)).collect()
    }

    #[test]
    fn an_assert_wants_one_object_that_satisfies() {
        let running = json!({"status": {"phase": "Running"}});
        assert_eq!(problems(false, &running, &[pod("p", "Pending"), pod("q", "Running")]), []);
        assert_eq!(problems(false, &running, &[]), [("no pod in namespace a with app=x".to_owned(), true)]);
        assert_eq!(
            problems(false, &running, &[pod("q", "Failed"), pod("p", "Pending")]),
            [("pod a/p (the nearest of 2): status.phase: expected \"Running\", got \"Pending\"".to_owned(), true)]
        );
    }

    #[test]
    fn an_error_wants_no_object_that_matches() {
        let failed = json!({"status": {"phase": "Failed"}});
        assert_eq!(problems(true, &failed, &[pod("p", "Running")]), []);
        assert_eq!(
            problems(true, &failed, &[pod("p", "Running"), pod("q", "Failed")]),
            [("pod a/q is as it must not be: {\"status\":{\"phase\":\"Failed\"}}".to_owned(), true)]
        );
        assert_eq!(problems(true, &json!({}), &[pod("p", "Running")]), [("pod a/p is there, and must not be".to_owned(), true)]);
    }

    #[test]
    fn an_error_never_passes_over_what_it_could_not_compare_or_iterate() {
        let incomparable = problems(true, &json!({"status": {"phase": 1, "list": [1]}}), &[pod("p", "Running")]);
        assert!(matches!(&incomparable[..], [(message, false)] if message.contains("cannot tell")), "{incomparable:?}");
        let empty = problems(true, &json!({"status": {"~.list": {"x": 1}}}), &[pod("p", "Running")]);
        assert!(matches!(&empty[..], [(message, true)] if message.contains("is as it must not be")), "{empty:?}");
    }

    #[test]
    fn statements_are_counted_for_the_object_that_decides() {
        let look = judge(&operation(false, &json!({"status": {"phase": "Running", "x": 1}})), &[&pod("p", "Running")]);
        assert_eq!((look.passed, look.total, look.subjects.len()), (2, 3, 1));
        let look = judge(&operation(true, &json!({"status": {"phase": "Failed"}})), &[&pod("p", "Running"), &pod("q", "Failed")]);
        assert_eq!((look.passed, look.total, look.subjects.len()), (1, 2, 2));
    }
}
