//! Decides what one look at the objects says about an operation; pure, so that every case is a test in memory.

use serde_json::{Map, Value, json};

use crate::health::tree::quote;
use crate::health::{Findings, Operation, Violation, Why};
use crate::limits;

/// Something that keeps an operation from holding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Problem {
    /// The object and what is wrong with it.
    pub(super) message: String,
    /// The same without the object, for a message that has named it.
    pub(super) short: Option<String>,
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
    /// Every mismatch of every object that was compared: object, path, expected, actual.
    pub(super) mismatches: Vec<Value>,
}

impl Look {
    /// True if the operation holds.
    pub(super) fn holds(&self) -> bool {
        self.problems.is_empty()
    }

    /// What is wrong in one line: what was seen first, the object named once.
    pub(super) fn told(&self) -> Option<(String, bool)> {
        let (seen, unclear): (Vec<_>, Vec<_>) = self.problems.iter().partition(|problem| problem.seen);
        let ordered: Vec<&Problem> = seen.into_iter().chain(unclear).collect();
        let (first, others) = ordered.split_first()?;
        let mut message = first.message.clone();
        for problem in others.iter().take(limits::MISMATCHES_TOLD - 1) {
            message.push_str("; ");
            message.push_str(problem.short.as_ref().filter(|_| first.short.is_some()).unwrap_or(&problem.message));
        }
        if ordered.len() > limits::MISMATCHES_TOLD {
            message.push_str(&format!("; and {} more", ordered.len() - limits::MISMATCHES_TOLD));
        }
        Some((message, first.seen))
    }
}

/// Judges an operation by all objects of its selector.
pub(super) fn judge(operation: &Operation, objects: &[&Value]) -> Look {
    let mut looked: Vec<(String, Findings)> =
        objects.iter().map(|object| (name(operation, object), operation.tree.check(object))).collect();
    // The order that the API server happens to send must not show in a report.
    looked.sort_by(|a, b| a.0.cmp(&b.0));
    let mut look = if operation.negative { none_matches(operation, &looked) } else { one_satisfies(operation, &looked) };
    if !look.holds() && !operation.negative {
        let each = looked.iter().flat_map(|(name, findings)| findings.violations.iter().map(move |violation| mismatch(name, violation)));
        look.mismatches = each.take(limits::VIOLATIONS).collect();
    }
    look.subjects = looked.into_iter().map(|(name, _)| name).collect();
    look
}

fn mismatch(object: &str, violation: &Violation) -> Value {
    let mut entry = json!({"object": object, "path": violation.path, "message": violation.message});
    if let (Some(expected), Some(actual)) = (&violation.expected, &violation.actual) {
        entry["expected"] = expected.clone();
        entry["actual"] = actual.clone();
    }
    entry
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
        return Look { total: 1, problems: vec![Problem { message: what, short: None, seen: true }], ..Look::default() };
    };
    // That there is an object is a statement too.
    let mut look = Look { passed: nearest.passed + 1, total: nearest.total + 1, ..Look::default() };
    if !nearest.satisfied() {
        let among = if looked.len() > 1 { format!(" (the nearest of {})", looked.len()) } else { String::new() };
        let problem = |violation: &Violation| Problem {
            message: format!("{name}{among}: {violation}"),
            short: Some(violation.to_string()),
            seen: !nearest.has(Why::Unseen),
        };
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
            let message = format!("{name}: cannot tell whether it is as it must not be: {violation}");
            look.problems.push(Problem { message, short: None, seen: false });
        } else if findings.has(Why::Different) {
            look.passed += 1;
        } else {
            let what = if operation.tree.is_empty() {
                "is there, and must not be".to_owned()
            } else {
                format!("is as it must not be: {}", operation.unwanted)
            };
            look.problems.push(Problem { message: format!("{name} {what}"), short: None, seen: true });
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
        Operation { negative, selector, tree: compiled, unwanted, limit: Duration::from_secs(1), place: "x.yaml:1".to_owned(), step: 0 }
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
    fn every_mismatch_of_every_object_is_told_with_path_expected_and_actual() {
        let tree = json!({"status": {"phase": "Running", "list": [1], "more": true}});
        let look = judge(&operation(false, &tree), &[&pod("p", "Pending"), &pod("q", "Running")]);
        let (told, seen) = look.told().expect("it does not hold");
        assert!(seen);
        assert_eq!(
            told,
            "pod a/q (the nearest of 2): status.list: expected 1 elements, got 0; status.more: expected true, but there is no such field"
        );
        assert_eq!(look.mismatches.len(), 5);
        let phase = json!({"object": "pod a/p", "path": "status.phase", "expected": "Running", "actual": "Pending",
            "message": "expected \"Running\", got \"Pending\""});
        assert!(look.mismatches.contains(&phase), "{:?}", look.mismatches);
    }

    #[test]
    fn statements_are_counted_for_the_object_that_decides() {
        let look = judge(&operation(false, &json!({"status": {"phase": "Running", "x": 1}})), &[&pod("p", "Running")]);
        assert_eq!((look.passed, look.total, look.subjects.len()), (2, 3, 1));
        let look = judge(&operation(true, &json!({"status": {"phase": "Failed"}})), &[&pod("p", "Running"), &pod("q", "Failed")]);
        assert_eq!((look.passed, look.total, look.subjects.len()), (1, 2, 2));
    }
}
