//! Tests of assertion trees.

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn findings(tree: &Value, object: &Value) -> Findings {
    Tree::compile(tree).expect("the tree compiles").check(object)
}

/// The violations of a tree on an object, as text.
fn violations(tree: &Value, object: &Value) -> Vec<String> {
    findings(tree, object).violations.iter().map(ToString::to_string).collect()
}

#[test]
fn maps_are_compared_by_the_keys_of_the_tree_and_lists_by_length_and_index() {
    let object = json!({"a": 1, "b": {"c": "x", "d": true}, "l": [1, {"k": 2, "m": 3}], "n": null});
    for tree in [
        json!({"a": 1}),
        json!({"a": 1.0}),
        json!({"b": {"c": "x"}}),
        json!({"b": {}}),
        json!({"l": [1, {"k": 2}]}),
        json!({"n": null}),
        json!({"(absent)": null}),
    ] {
        assert_eq!(violations(&tree, &object), Vec::<String>::new(), "{tree}");
    }
    for (tree, expected) in [
        (json!({"a": 2}), "a: expected 2, got 1"),
        (json!({"a": "1"}), "a: expected the text \"1\", which cannot be compared with the number 1"),
        (json!({"z": 1}), "z: expected 1, but there is no such field"),
        (json!({"absent": null}), "absent: expected null, but there is no such field"),
        (json!({"b": {"c": "y"}}), "b.c: expected \"y\", got \"x\""),
        (json!({"n": {}}), "n: expected a value, got null"),
        (json!({"n": {"x": 1}}), "n.x: expected 1, but there is no such field"),
        (json!({"l": [1]}), "l: expected 1 elements, got 2"),
        (json!({"l": []}), "l: expected 0 elements, got 2"),
        (json!({"l": [1, {"k": 3}]}), "l[1].k: expected 3, got 2"),
        (json!({"a": [1]}), "a: expected a list, got 1"),
        (json!({"a": {"b": 1}}), "a.b: expected a map with this field, got 1"),
    ] {
        assert_eq!(violations(&tree, &object), [expected], "{tree}");
    }
}

#[test]
fn keys_and_values_may_be_expressions() {
    let object = json!({"status": {"ready": 3, "desired": 4, "conditions": [{"type": "Available", "status": "True"}]}});
    for tree in [
        json!({"status": {"(ready < desired)": true}}),
        json!({"status": {"(conditions[?type == 'Available'])": [{"status": "True"}]}}),
        json!({"status": {"ready": "(to_number('3'))"}}),
        json!({"(status.conditions[*].type)": ["Available"]}),
        json!({"status": {"desired->wanted": {"(@ == `4`)": true, "($wanted)": 4}}}),
    ] {
        assert_eq!(violations(&tree, &object), Vec::<String>::new(), "{tree}");
    }
    assert_eq!(
        violations(&json!({"status": {"(ready == desired)": true}}), &object),
        ["status.(ready == desired): expected true, got false (ready is 3, desired is 4)"]
    );
    assert_eq!(
        violations(&json!({"(length(absent))": 1}), &object),
        ["(length(absent)): argument 1 must be array|object|string, and is null"]
    );
}

#[test]
fn an_escaped_key_or_value_is_plain_text() {
    let object = json!({"(a)": "(b)", "c": "x -> y"});
    assert!(findings(&json!({r"\(a)\": r"\(b)\", "c": r"\x -> y\"}), &object).satisfied());
}

#[test]
fn an_iteration_looks_at_every_element_and_at_least_one() {
    let object = json!({"conditions": [{"s": "True"}, {"s": "False"}], "labels": {"a": 1, "b": 1}, "none": [], "text": "x"});
    assert!(findings(&json!({"~.labels": 1}), &object).satisfied());
    assert!(findings(&json!({"~name.(labels)": {"(contains(['a', 'b'], $name))": true}}), &object).satisfied());
    assert!(findings(&json!({"~i.conditions": {"($i < `2`)": true}}), &object).satisfied());
    assert_eq!(violations(&json!({"~.conditions": {"s": "True"}}), &object), ["~.conditions[1].s: expected \"True\", got \"False\""]);
    assert_eq!(findings(&json!({"~.none": {"s": "True"}}), &object).violations[0].why, Why::Empty);
    assert_eq!(findings(&json!({"~.text": {"s": "True"}}), &object).violations[0].why, Why::Incomparable);
}

#[test]
fn a_binding_is_known_below_its_key_and_nowhere_else() {
    let object = json!({"a": [1, 2], "b": 2});
    assert!(findings(&json!({"(length(a))->n": {"($n)": 2}}), &object).satisfied());
    let error = Tree::compile(&json!({"(length(a))->n": 2, "b": "($n)"})).expect_err("is refused");
    assert!(error.starts_with("b: `$n` is not bound here"), "{error}");
}

#[test]
fn what_cannot_work_is_refused_with_its_place() {
    for (tree, cause) in [
        (
            json!({"status": {"(lenght(@))": 1}}),
            "status.(lenght(@)): `lenght()` is not a function that seatrial runs; did you mean `length`?",
        ),
        (json!({"a": [{"b": "(nope(@))"}]}), "a[0].b: `nope()` is not a function"),
        (json!({"a": "~.(b)"}), "a: `~.` and `->` belong into keys"),
        (json!({"a": "b->c"}), "a: `~.` and `->` belong into keys"),
        (json!({"(cel;object.a)": 1}), "(cel;object.a): seatrial runs JMESPath expressions only"),
        (json!({"(a &&)": true}), "(a &&): `a &&` is not a JMESPath expression"),
    ] {
        let error = Tree::compile(&tree).expect_err("is refused");
        assert!(error.starts_with(cause), "{error}");
    }
}

#[test]
fn large_integers_are_compared_exactly() {
    let object = json!({"n": 9_007_199_254_740_993_i64, "u": u64::MAX});
    assert!(findings(&json!({"n": 9_007_199_254_740_993_i64, "u": u64::MAX}), &object).satisfied());
    assert!(!findings(&json!({"n": 9_007_199_254_740_992_i64}), &object).satisfied());
    assert!(!findings(&json!({"u": u64::MAX - 1}), &object).satisfied());
}

#[test]
fn every_comparison_is_counted() {
    let object = json!({"a": 1, "b": [1, 2], "c": {"d": 1}});
    let findings = findings(&json!({"a": 1, "b": [1, 3], "c": {"d": 1, "e": 1}}), &object);
    assert_eq!((findings.passed, findings.total), (3, 5));
}

#[test]
fn work_is_bounded_and_running_out_of_it_is_no_match() {
    let object = json!({"l": vec![0; 200]});
    let tree = json!({"l->l": {"~.($l)": {"~.($l)": {"~.($l)": 0}}}});
    let findings = findings(&tree, &object);
    assert!(!findings.satisfied());
    assert!(findings.has(Why::Unseen));
    assert_eq!(findings.total, limits::ASSERTION_STEPS + 1);
}

/// JSON without parentheses or other notation.
fn plain_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (-1.0e9..1.0e9_f64).prop_map(Value::from),
        "[a-zA-Z0-9 ._/:-]{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map("[a-zA-Z0-9._/-]{1,6}", inner, 0..6).prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// All places with a leaf.
fn leaves(value: &Value, place: &str, found: &mut Vec<String>) {
    match value {
        Value::Array(items) if !items.is_empty() => {
            items.iter().enumerate().for_each(|(index, item)| leaves(item, &format!("{place}/{index}"), found));
        }
        Value::Object(fields) if !fields.is_empty() => {
            fields.iter().for_each(|(key, item)| leaves(item, &format!("{place}/{}", key.replace('~', "~0").replace('/', "~1")), found));
        }
        _ => found.push(place.to_owned()),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_object_satisfies_itself(object in plain_json().prop_filter("null satisfies nothing", |object| !object.is_null())) {
        let findings = findings(&object, &object);
        prop_assert!(findings.satisfied(), "{:?}", findings.violations);
    }

    #[test]
    fn an_object_with_one_leaf_changed_does_not(object in plain_json(), choice in any::<prop::sample::Index>()) {
        let mut places = Vec::new();
        leaves(&object, "", &mut places);
        let mut changed = object.clone();
        let leaf = changed.pointer_mut(places[choice.index(places.len())].as_str()).expect("the place is there");
        *leaf = match leaf.take() {
            Value::Null => json!("was null"),
            Value::Bool(was) => json!(!was),
            Value::Number(was) => match (was.as_u64(), was.as_i64()) {
                (Some(was), _) => json!(was ^ 1),
                (None, Some(was)) => json!(was ^ 1),
                (None, None) => json!(was.as_f64().map(|was| was + 0.5)),
            },
            Value::String(was) => json!(format!("{was}x")),
            Value::Array(_) => json!(["was empty"]),
            // An empty map asserts no more than that there is something.
            Value::Object(_) => Value::Null,
        };
        prop_assert!(!findings(&object, &changed).satisfied(), "{changed}");
    }

    #[test]
    fn no_tree_and_no_object_make_it_panic(tree in plain_json(), object in plain_json(), key in "[~(\\\\].{0,20}[)\\\\]?(->x)?") {
        if let Ok(tree) = Tree::compile(&json!({key: tree})) {
            let _ = tree.check(&object);
        }
    }
}
