//! Tests of reading chainsaw Test files.

use std::cell::RefCell;
use std::time::Duration;

use serde_json::json;

use super::*;
use crate::error::Kind;

/// Reads a file that refers to no other.
fn read(text: &str) -> Result<Vec<Test>> {
    read_with(text, &Map::new())
}

/// The same with these values.
fn read_with(text: &str, values: &Map<String, Value>) -> Result<Vec<Test>> {
    load("x.yaml", text, &Beside { read: &|path| Err(Error::usage(format!("there is no file {path}"))), values })
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
    let read = |path: &str| {
        asked.borrow_mut().push(path.to_owned());
        Ok(format!("{NODE}\n---\n{}\n", NODE.replace("name: a", "name: b")))
    };
    let tests = load("health/x.yaml", &with("{assert: {file: shared/nodes.yaml}}"), &Beside { read: &read, values: &Map::new() });
    let tests = tests.expect("is read");
    assert_eq!(asked.into_inner(), ["shared/nodes.yaml"]);
    let names: Vec<String> = tests[0].operations.iter().map(|operation| operation.selector.to_string()).collect();
    assert_eq!(names, ["node a", "node b"]);
    assert_eq!(tests[0].operations[1].place, "shared/nodes.yaml:3");
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
    for part in ["script", "apply", "wait", "podLogs", "command", "create", "delete", "sleep", "patch", "update", "get", "outputs"] {
        let error = read(&with(&format!("{{assert: {{resource: {NODE}}}}},\n    {{{part}: {{x: 1}}}}"))).expect_err(part);
        assert_eq!(error.kind(), Kind::Usage);
        assert!(error.to_string().starts_with(&format!("x.yaml:7: `{part}` in try: ")), "{error}");
    }
    let base = with(&format!("{{assert: {{resource: {NODE}}}}}"));
    for part in ["scenarios", "skip", "cluster", "compiler", "namespaceTemplate"] {
        let error = read(&base.replace("spec:", &format!("spec:\n  {part}: {{}}"))).expect_err(part);
        assert!(error.to_string().starts_with(&format!("x.yaml:5: `{part}` in spec: ")), "{error}");
    }
    for part in ["use", "cluster", "deletionPropagationPolicy"] {
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
        (operation("{apiVersion: v1, kind: Node, metadata: {name: ($x)}}"), "x.yaml:6", "metadata.name: `$x` is not bound here"),
        (operation("{apiVersion: v1, kind: Node, metadata: {name: (`1`)}}"), "x.yaml:6", "metadata.name must be text, and `(`1`)` is 1"),
        (operation("{apiVersion: v1, kind: Pod, metadata: {labels: {(a): b}}}"), "x.yaml:6", "a label is chosen by its name"),
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
        (with("{assert: {file: ../gone.yaml}}"), "x.yaml:6", "it must lie beside the test or below"),
        (with("{assert: {file: /etc/passwd}}"), "x.yaml:6", "it must lie beside the test or below"),
        (with("{assert: {file: \"(concat('..', '/x.yaml'))\"}}"), "x.yaml:6", "it must lie beside the test or below"),
        (operation(NODE).replace("spec:", "spec:\n  template: false"), "x.yaml:5", "are always computed"),
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

/// A test with these bindings, and an operation that uses them.
fn bound(bindings: &str, resource: &str) -> String {
    with(&format!("{{assert: {{resource: {resource}}}}}")).replacen(
        "spec:",
        &format!("spec:\n  namespace: place\n  bindings: [{bindings}]"),
        1,
    )
}

#[test]
fn names_and_trees_may_use_bindings_values_and_the_namespace() {
    let bindings =
        "{name: app, value: \"(concat($values.name, '-x'))\"}, {name: all, value: [\"(concat($namespace, concat('/', $app)))\"]}";
    let resource = "{apiVersion: v1, kind: Pod, metadata: {labels: {app: ($app)}}, spec: {\"(image == $all[0])\": true}}";
    let values = json!({"name": "web"});
    let tests = read_with(&bound(bindings, resource), values.as_object().expect("a map")).expect("is read");
    let operation = &tests[0].operations[0];
    assert_eq!(operation.selector.to_string(), "pod in namespace place with app=web-x");
    assert!(operation.tree.check(&json!({"spec": {"image": "place/web-x"}})).satisfied());
    assert!(!operation.tree.check(&json!({"spec": {"image": "place/web-y"}})).satisfied());
}

#[test]
fn a_nearer_binding_wins_and_is_not_known_elsewhere() {
    let node = |name: &str| {
        format!(
            "{{assert: {{bindings: [{{name: n, value: {name}}}], resource: {{apiVersion: v1, kind: Node, metadata: {{name: ($n)}}}}}}}}"
        )
    };
    let text = with(&format!("{},\n    {{assert: {{resource: {{apiVersion: v1, kind: Node, metadata: {{name: ($n)}}}}}}}}", node("near")))
        .replace("spec:", "spec:\n  bindings: [{name: n, value: far}]");
    let names = |text: &str| -> Vec<String> {
        read(text).expect("is read")[0].operations.iter().map(|operation| operation.selector.to_string()).collect()
    };
    assert_eq!(names(&text), ["node near", "node far"]);
    let error = read(&text.replace("  bindings: [{name: n, value: far}]", "")).expect_err("is refused");
    assert!(error.chain().contains("`$n` is not bound here"), "{}", error.chain());
}

#[test]
fn bindings_that_cannot_be_computed_are_refused_with_their_line() {
    for (bindings, cause) in [
        ("{name: a, value: ($b)}", "x.yaml:6: binding `a`: `$b` is not bound here"),
        ("{name: a, value: '(length($namespace, $namespace))'}", "takes 1 arguments"),
        ("{name: a, value: (length(`1`))}", "argument 1 must be"),
        ("{name: a-b, value: 1}", "a name is of letters, digits and `_`"),
        ("{name: ($x), value: 1}", "a name is of letters, digits and `_`"),
        ("{name: a, value: 1, compiler: cel}", "`compiler` is not supported"),
        ("{name: a, value: \"(pad_left('x', `70000`))\"}", "bytes together; the limit is 65536"),
        ("{name: a, value: \"(env('HOME'))\"}", "seatrial does not run `env()`"),
    ] {
        let error = read(&bound(bindings, NODE)).expect_err(cause);
        assert!(error.chain().contains(cause), "{cause}: {}", error.chain());
    }
    // Each doubles the one before; the limit ends it early.
    let doubled: Vec<String> = (1..60)
        .map(|n| format!("{{name: b{n}, value: '(concat($b{0}, $b{0}))'}}", n - 1))
        .chain(["{name: z, value: 1}".to_owned()])
        .collect();
    let error = read(&bound(&format!("{{name: b0, value: x}}, {}", doubled.join(", ")), NODE)).expect_err("a bomb");
    assert!(error.chain().contains("the limit is"), "{}", error.chain());
}

#[test]
fn files_are_bounded() {
    let many = vec![format!("{{assert: {{resource: {NODE}}}}}"); limits::HEALTH_OPERATIONS + 1].join(", ");
    assert!(read(&with(&many)).expect_err("too many").chain().contains("has 501 operations; the limit is 500"));
    let diagnostics = vec!["{get: {apiVersion: v1, kind: Node}}"; limits::HEALTH_DIAGNOSTICS + 1].join(", ");
    let text = bound("", NODE).replace("spec:\n", &format!("spec:\n  catch: [{diagnostics}]\n"));
    assert!(read(&text).expect_err("too many").chain().contains("has 21 diagnostics; the limit is 20"));
    let values = json!({"x": "y".repeat(limits::HEALTH_BINDING_BYTES)});
    let error = read_with(&bound("", NODE), values.as_object().expect("a map")).expect_err("too large");
    assert!(error.chain().contains("x.yaml: $values: the bindings here have"), "{}", error.chain());
}

#[test]
fn diagnostics_are_read_with_what_they_need() {
    let catch = "[{describe: {apiVersion: apps/v1, kind: Deployment, name: ($namespace)}}, {podLogs: {selector: 'app=x,b=y', tail: 3}}]";
    let step = "finally: [{events: {namespace: '*'}}, {get: {apiVersion: v1, kind: Node}}]\n    try:";
    let text = bound("", NODE).replace("spec:\n", &format!("spec:\n  catch: {catch}\n")).replace("try:", step);
    let tests = read(&text).expect("is read");
    let shown: Vec<String> = tests[0]
        .diagnostics
        .iter()
        .map(|diagnostic| format!("{} {:?} {}", diagnostic.selector, diagnostic.step, diagnostic.always))
        .collect();
    assert_eq!(
        shown,
        [
            "deployment place/place None false",
            "pod in namespace place with app=x,b=y None false",
            "event Some(0) true",
            "node in namespace place Some(0) true"
        ]
    );
    assert!(tests[0].reads_logs());
    assert!(tests[0].reads().contains(&("v1".to_owned(), "Event".to_owned())));
    for (wrong, cause) in [
        ("{script: {content: rm}}", "`script` in catch"),
        ("{command: {entrypoint: kubectl}}", "`command` in catch"),
        ("{delete: {}}", "`delete` in catch"),
        ("{wait: {}}", "`wait` in catch"),
        ("{podLogs: {}}", "logs want a `name` or a `selector`"),
        ("{get: {name: x}}", "it needs `apiVersion` and `kind`"),
        ("{get: {apiVersion: v1, kind: Pod, name: x, selector: a=b}}", "both `name` and `selector`"),
        ("{get: {apiVersion: v1, kind: Pod, selector: a in (b)}}", "only `key=value` is supported"),
        ("{}", "a diagnostic is one of"),
    ] {
        let error = read(&text.replace(catch, &format!("[{wrong}]"))).expect_err(cause);
        assert!(error.chain().starts_with("x.yaml:5") && error.chain().contains(cause), "{cause}: {}", error.chain());
    }
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
