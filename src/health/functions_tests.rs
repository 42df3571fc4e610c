//! Tests of the functions: each answers as chainsaw does (compared with chainsaw itself in the matrix tests), or says why not.

use std::collections::BTreeSet;

use serde_json::json;

use super::*;
use crate::health::expression::{Bindings, Expression};

/// Expressions and what chainsaw v0.2.14 makes of them.
pub(in crate::health) const ANSWERS: &str = include_str!("../../tests/fixtures/health/functions.json");

fn value(text: &str) -> Result<Value, String> {
    let on = json!({"list": ["a", "b"], "map": {"k": "v", "l": 2}, "num": 7, "labels": {"app": "x", "tier": "y"}});
    Expression::compile(text, &BTreeSet::new())?.evaluate(&on, &Bindings::new())
}

#[test]
fn every_function_answers_as_chainsaw_does() {
    let answers: Vec<(String, Value)> = serde_json::from_str(ANSWERS).expect("pairs of expression and answer");
    let other = |(expression, answer): &&(String, Value)| value(expression).as_ref() != Ok(answer);
    let others: Vec<String> =
        answers.iter().filter(other).map(|(text, answer)| format!("{text}: {:?}, not {answer}", value(text))).collect();
    assert!(others.is_empty(), "{others:#?}");
    let called = |name: &str| answers.iter().any(|(expression, _)| expression.contains(&format!("{name}(")));
    let untested: Vec<&str> = entries().map(|entry| entry.name).filter(|name| !called(name) && !name.starts_with("time_now")).collect();
    assert!(untested.is_empty(), "{untested:?} have no answer in tests/fixtures/health/functions.json");
}

#[test]
fn integers_of_objects_are_numbers_and_chainsaw_does_not_take_them_for_such() {
    // Chainsaw answers the other way round, or not at all: it compares by type, and literals are not of the type of an object's integers.
    for (expression, answer) in [
        ("num == `7`", json!(true)),
        ("num != `7`", json!(false)),
        ("map == `{\"k\": \"v\", \"l\": 2}`", json!(true)),
        ("contains(`[1, 7]`, num)", json!(true)),
        ("abs(num)", json!(7)),
        ("add(num, `1`)", json!(8)),
        ("sum([num, num])", json!(14)),
        ("max([num, `3`])", json!(7)),
        ("type(num)", json!("number")),
        ("regex_match('^7$', num)", json!(true)),
    ] {
        assert_eq!(value(expression), Ok(answer), "{expression}");
    }
}

#[test]
fn what_has_no_answer_is_an_error_that_says_why() {
    for (expression, cause) in [
        ("add(`1`, '1s')", "a number and a duration do not go together"),
        ("add('64Gi', '1Gi')", "seatrial does not compute with quantities"),
        ("add('1h', '30m')", "seatrial does not compute with quantities"),
        ("add('1', '2')", "seatrial does not compute with quantities"),
        ("divide(`1`, `0`)", "division by zero"),
        ("modulo('1h', '0s')", "division by zero"),
        ("modulo(`1.5`, `2`)", "argument 1 must be a whole number"),
        ("sum(`[]`)", "the list is empty"),
        ("round(`1.5`, `-1`)", "argument 2 must not be negative"),
        ("to_boolean('yes')", "neither true nor false"),
        ("base64_decode('*')", "not base64"),
        ("base64_decode('/w==')", "not text"),
        ("parse_json('{')", "not JSON"),
        ("regex_match('(', 'x')", "unclosed group"),
        ("regex_match('(?:a{1000}){1000}', 'x')", "size limit"),
        ("semver_compare('1.2', '>1.0.0')", "`1.2` is not a version"),
        ("semver_compare('1.2.0', '>1.x')", "not a comparison with a whole version"),
        ("semver_compare('1.2.0', '~1.2.0')", "is not an operator"),
        ("semver_compare('1.2.0', '')", "not a range"),
        ("time_diff('yesterday', '2026-01-01T00:00:00Z')", "`yesterday` is not a time"),
        ("time_add('2026-01-01T00:00:00+01:00', '1h')", "is not in UTC"),
        ("time_since('Mon', 'x', '')", "the layout `Mon` is not read"),
        ("time_add('2026-01-01T00:00:00Z', '1 day')", "is not a duration"),
        ("at(list, `2`)", "there is no element 2"),
        ("lookup(map, `1`)", "a map is looked up by text"),
        ("from_items(`[[\"a\"]]`)", "is not a pair"),
        ("pad_left('x', `5`, 'ab')", "must be one letter"),
        ("split('a')", "takes 2 arguments, and has 1"),
        ("to_upper(`1`)", "argument 1 must be string, and is number"),
    ] {
        let error = value(expression).expect_err(expression);
        assert!(error.contains(cause), "{expression}: {error}");
    }
}

#[test]
fn results_are_bounded() {
    let megabyte = 1 << 20;
    for expression in [
        format!("pad_left('x', `{}`)", megabyte + 1),
        format!("replace_all(pad_left('', `{megabyte}`), ' ', 'xx')"),
        format!("regex_replace_all('.', pad_left('', `{megabyte}`), '$0$0')"),
        format!("join(pad_left('', `{megabyte}`), `[\"a\", \"b\", \"c\"]`)"),
        format!("concat(pad_left('', `{megabyte}`), 'x')"),
        format!("base64_encode(pad_left('', `{megabyte}`))"),
    ] {
        let error = value(&expression).expect_err(&expression);
        assert!(error.contains("the result would have more than"), "{expression}: {error}");
    }
}

#[test]
fn no_call_makes_a_function_panic() {
    let odd = [
        "`null`",
        "`true`",
        "`-1`",
        "`1e308`",
        "`0.5`",
        "''",
        "'x'",
        "'-1h'",
        "`[]`",
        "`[null]`",
        "`{}`",
        "'2026-01-01T00:00:00Z'",
        "list",
        "map",
    ];
    for entry in entries() {
        for first in odd {
            for second in odd {
                let args = [first, second, "'x'", "`1`"].iter().take(entry.arguments.len()).copied().collect::<Vec<_>>().join(", ");
                let _ = value(&format!("{}({args})", entry.name));
            }
        }
    }
}

#[test]
fn now_is_later_than_before() {
    assert_eq!(value("time_after(time_now(), '2020-01-01T00:00:00Z')"), Ok(json!(true)));
    assert_eq!(value("ends_with(time_now_utc(), 'Z')"), Ok(json!(true)));
    assert_eq!(value("ends_with(time_since('', '2020-01-01T00:00:00Z', ''), 's')"), Ok(json!(true)));
}

#[test]
fn what_is_refused_is_said_by_name() {
    for (name, reason) in REFUSED {
        let error = value(&format!("{name}(@)")).expect_err(name);
        assert!(error.contains(reason), "{error}");
        assert!(RUNTIME.get_function(name).is_none(), "{name} is refused and runs");
    }
}
