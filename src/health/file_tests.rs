//! Tests of reading chainsaw Test files.

use std::cell::RefCell;

use super::*;
use crate::error::Kind;

/// Reads a file that refers to no other.
fn read(text: &str) -> Result<Vec<Test>> {
    load("x.yaml", text, &|path| Err(Error::usage(format!("there is no file {path}"))))
}

/// A test with these operations, written in flow style, at line 6.
fn with(operations: &str) -> String {
    format!("apiVersion: chainsaw.kyverno.io/v1alpha1\nkind: Test\nmetadata: {{name: x}}\nspec:\n  steps:\n  - try: [{operations}]\n")
}

const NODE: &str = "{apiVersion: v1, kind: Node, metadata: {name: a}, status: {ready: true}}";

#[test]
fn a_test_is_read_with_its_selectors_and_timeouts() {
    let text = "
apiVersion: chainsaw.kyverno.io/v1alpha1
kind: Test
metadata: {name: gpu-operator, labels: {a: b}}
spec:
  description: The operator runs.
  namespace: gpu-operator
  timeouts: {assert: 5m, error: 10s, apply: 1m30s}
  concurrent: true
  steps:
  - name: deployment
    timeouts: {assert: 90s}
    try:
    - assert:
        timeout: 500ms
        resource:
          apiVersion: apps/v1
          kind: Deployment
          metadata: {name: gpu-operator, labels: {app: x}}
          status: {availableReplicas: 1}
    - assert: {resource: {apiVersion: v1, kind: Pod, metadata: {namespace: other, labels: {app: x}}}}
  - try:
    - error: {resource: {apiVersion: v1, kind: Pod, status: {phase: Failed}}}
";
    let tests = read(text).expect("is read");
    let [test] = &tests[..] else { panic!("one test, not {}", tests.len()) };
    assert_eq!((test.id().as_str(), test.description.as_str()), ("health/gpu-operator", "The operator runs."));
    let shown: Vec<(String, Duration, bool)> =
        test.operations.iter().map(|operation| (operation.selector.to_string(), operation.limit, operation.negative)).collect();
    assert_eq!(
        shown,
        [
            ("deployment gpu-operator/gpu-operator".to_owned(), Duration::from_millis(500), false),
            ("pod in namespace other with app=x".to_owned(), Duration::from_secs(90), false),
            ("pod in namespace gpu-operator".to_owned(), Duration::from_secs(10), true),
        ]
    );
    assert!(test.operations[0].place.starts_with("x.yaml:17"), "{}", test.operations[0].place);
    assert_eq!(test.operations[0].unwanted, r#"{"metadata":{"labels":{"app":"x"}},"status":{"availableReplicas":1}}"#);
    assert!(test.operations[1].tree.is_empty());
    assert_eq!(test.worst_case(), Duration::from_millis(100_500));
    assert_eq!(test.reads().len(), 2);
}

#[test]
fn an_operation_may_refer_to_a_file_of_several_resources() {
    let asked = RefCell::new(Vec::new());
    let tests = load("health/x.yaml", &with("{assert: {file: ../shared/nodes.yaml}}"), &|path| {
        asked.borrow_mut().push(path.to_owned());
        Ok(format!("{NODE}\n---\n{}\n", NODE.replace("name: a", "name: b")))
    });
    let tests = tests.expect("is read");
    assert_eq!(asked.into_inner(), ["../shared/nodes.yaml"]);
    let names: Vec<String> = tests[0].operations.iter().map(|operation| operation.selector.to_string()).collect();
    assert_eq!(names, ["node a", "node b"]);
    assert_eq!(tests[0].operations[1].place, "../shared/nodes.yaml:3");
}

#[test]
fn a_file_may_hold_several_tests_of_different_names() {
    let one = with(&format!("{{assert: {{resource: {NODE}}}}}"));
    let two = one.replace("name: x}", "name: y}");
    assert_eq!(read(&format!("{one}---\n{two}")).expect("is read").len(), 2);
    let error = read(&format!("{one}---\n{one}")).expect_err("is refused");
    assert!(error.to_string().contains("two tests of the name x"), "{error}");
}

#[test]
fn every_other_part_of_the_language_is_refused_by_name_and_line() {
    for part in ["script", "apply", "wait", "podLogs", "command", "create", "delete", "sleep", "patch", "update", "get", "continueOnError"]
    {
        let error = read(&with(&format!("{{assert: {{resource: {NODE}}}}},\n    {{{part}: {{x: 1}}}}"))).expect_err(part);
        assert_eq!(error.kind(), Kind::Usage);
        assert!(error.to_string().starts_with(&format!("x.yaml:7: `{part}` in try: ")), "{error}");
    }
    let base = with(&format!("{{assert: {{resource: {NODE}}}}}"));
    for part in ["bindings", "catch", "scenarios", "skip", "cluster", "compiler", "template"] {
        let error = read(&base.replace("spec:", &format!("spec:\n  {part}: {{}}"))).expect_err(part);
        assert!(error.to_string().starts_with(&format!("x.yaml:5: `{part}` in spec: ")), "{error}");
    }
    for part in ["finally", "use", "cleanup", "bindings"] {
        let error = read(&base.replace("- try:", &format!("- {part}: []\n    try:"))).expect_err(part);
        assert!(error.to_string().starts_with(&format!("x.yaml:6: `{part}` in spec.steps[0]: ")), "{error}");
    }
}

#[test]
fn what_is_wrong_is_refused_with_file_line_and_cause() {
    let operation = |resource: &str| with(&format!("{{assert: {{resource: {resource}}}}}"));
    for (text, place, cause) in [
        (with(&format!("{{asert: {{resource: {NODE}}}}}")), "x.yaml:6", "unknown field `asert`"),
        (operation("{kind: Node}"), "x.yaml:6", "needs `apiVersion`"),
        (operation("{apiVersion: v1, kind: Node, metadata: {name: (x)}}"), "x.yaml:6", "metadata.name: `(x)` is an expression"),
        (operation("{apiVersion: v1, kind: Pod, metadata: {labels: {a: 1}}}"), "x.yaml:6", "metadata.labels.a must be text"),
        (operation("{apiVersion: v1, kind: Node, (lenght(@)): 1}"), "x.yaml:6", "did you mean `length`?"),
        (operation("{apiVersion: v1, kind: List}"), "x.yaml:6", "`kind: List` is not supported"),
        (operation("[]"), "x.yaml:6", "a resource is a map"),
        (operation(NODE).replace("kind: Test", "kind: Tset"), "x.yaml:2", "is not a chainsaw.kyverno.io/v1alpha1 Test"),
        (operation(NODE).replace("name: x", "name: X/y"), "x.yaml:3", "metadata.name must be"),
        (with(""), "x.yaml:3", "has no `assert`"),
        (with(&format!("{{error: {{resource: {NODE}}}}}")), "x.yaml:3", "has no `assert`"),
        (with("{assert: {}}"), "x.yaml:6", "wants one of `resource` and `file`"),
        (with("{description: nothing}"), "x.yaml:6", "one of `assert` and `error`"),
        (with("{assert: {file: '*.yaml'}}"), "x.yaml:6", "name one file"),
        (with("{assert: {file: gone.yaml}}"), "x.yaml:6", "there is no file gone.yaml"),
        (operation(NODE).replace("spec:", "spec:\n  timeouts: {assert: PT5S}"), "x.yaml:5", "is not a duration such as 90s"),
        (operation(NODE).replace("spec:", "spec:\n  timeouts: {assert: 0s}"), "x.yaml:5", "more than 0"),
        (operation(NODE).replace("spec:", "spec:\n  timeouts: {assert: -5s}"), "x.yaml:5", "is not a duration"),
        (operation(NODE).replace("spec:", "spec:\n  timeouts: {assert: 9999h}"), "x.yaml:5", "at most 3600 s"),
        (String::new(), "x.yaml", "holds no chainsaw test"),
    ] {
        let error = read(&text).expect_err(cause);
        assert_eq!(error.kind(), Kind::Usage, "{cause}");
        let message = error.chain();
        assert!(message.starts_with(place) && message.contains(cause), "{cause}: {message}");
    }
    let misspelt = read(&with(&format!("{{asert: {{resource: {NODE}}}}}"))).expect_err("is refused");
    assert_eq!(misspelt.hints(), ["did you mean `assert`?"], "{}", misspelt.chain());
}

#[test]
fn bombs_end_in_an_error() {
    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..9 {
        bomb.push_str(&format!("a{level}: &a{level} [{}]\n", vec![format!("*a{}", level - 1); 10].join(", ")));
    }
    let deep = |levels| with(&format!("{{assert: {{resource: {}1{}}}}}", "{a: ".repeat(levels), "}".repeat(levels)));
    for text in [bomb, deep(5000), deep(limits::YAML_DEPTH), deep(limits::YAML_DEPTH - 12)] {
        assert_eq!(read(&text).expect_err("is refused").kind(), Kind::Usage);
    }
}

#[test]
fn integers_of_any_size_stay_what_they_are() {
    let tests =
        read(&with("{assert: {resource: {apiVersion: v1, kind: Node, n: 9007199254740993, m: 18446744073709551615}}}")).expect("is read");
    assert_eq!(tests[0].operations[0].unwanted, r#"{"m":18446744073709551615,"n":9007199254740993}"#);
}
