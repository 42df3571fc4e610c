//! The comment: what it says first, that it fits, and that nothing in it is more than text.

use seatrial::gate::GateReport;
use seatrial::gate::markdown::write;
use seatrial::gate::report::Decision;
use seatrial::github::publish::title;
use serde_json::{Value, json};

const COMMIT: &str = "0123456789012345678901234567890123456789";

/// A report of a gate; `decision` and `reason` as in its JSON.
pub(crate) fn report(decision: &str, reason: Option<&str>, pointers: &[Value]) -> GateReport {
    let exit = if decision == "accept" { 0 } else { 11 };
    let refused = pointers.iter().filter(|row| row["decision"] != "accept").count();
    let value = json!({
        "apiVersion": "seatrial.dev/v1alpha1", "kind": "GateReport", "decision": decision, "reason": reason, "exit": exit,
        "summary": format!("{decision}: {refused} of {} pointers are not accepted", pointers.len()),
        "advice": if refused == 0 { json!([]) } else { json!(["run it again and publish the new evidence"]) },
        "decidedAt": "2026-11-22T12:00:00Z", "base": {"name": "main", "commit": COMMIT}, "head": {"name": "pull", "commit": COMMIT},
        "policy": {"path": "evidence/policy.yaml", "digest": format!("sha256:{}", "0".repeat(64)), "owners": ["@o/t"]},
        "counts": {"accepted": pointers.len() - refused, "refused": refused, "undecided": 0, "needsEvidence": 0},
        "pointers": pointers, "files": [], "recipes": [], "policyChanges": [], "approvals": [], "notShown": [],
    });
    serde_json::from_value(value).expect("a report")
}

/// A row of it; with a reason it is refused.
pub(crate) fn row(path: &str, reason: Option<&str>, message: &str) -> Value {
    let reasons: Vec<Value> =
        reason.iter().map(|reason| json!({"reason": reason, "message": message, "advice": ["seatrial run"]})).collect();
    json!({
        "path": path, "line": 4, "change": "added", "decision": if reason.is_some() { "refuse" } else { "accept" },
        "exit": if reason.is_some() { 11 } else { 0 }, "reasons": reasons, "verified": reason.is_none(),
        "facts": {
            "recipe": "h100", "signers": ["https://github.com/o/r/.github/workflows/v.yaml@refs/heads/main"],
            "sourceRepositories": ["https://github.com/o/r"], "oci": "ghcr.io/o/e@sha256:0000", "hardware": "real", "scope": "full", "age": "3 days",
            "coverage": {"selected": 12, "passed": 11, "failed": 0, "outOfScope": ["a (needs-gpu)"]},
        },
    })
}

#[test]
fn each_decision_reads_as_its_golden_file() {
    for (name, report) in crate::forms::forms() {
        let text = write(&report, 65_000).expect("is written");
        expect_test::expect_file![crate::root().join(format!("tests/fixtures/gate/{name}.md"))].assert_eq(&text);
        let reason = report.reason.map(|reason| format!(" ({})", reason.id())).unwrap_or_default();
        assert_eq!(text.lines().next(), Some(format!("### Evidence gate: {name}{reason}").as_str()));
    }
}

#[test]
fn the_first_line_says_decision_and_reason() {
    let accepted = report("accept", None, &[row("evidence/h100/a.yaml", None, "")]);
    let text = write(&accepted, 65_000).expect("is written");
    assert!(text.starts_with("### Evidence gate: accept\n"), "{text}");
    assert_eq!((title(&accepted).as_str(), accepted.decision), ("accept", Decision::Accept));
    let refused = report("refuse", Some("too-old"), &[row("evidence/h100/a.yaml", Some("too-old"), "it is 91 days old")]);
    let text = write(&refused, 65_000).expect("is written");
    assert!(text.starts_with("### Evidence gate: refuse (too-old)\n"), "{text}");
    assert_eq!(title(&refused), "refuse: too-old");
    for wanted in ["it is 91 days old", "claims ", "11 of 12 passed, 1 left out", "3 days", "o/r", "ghcr.io/o/e@"] {
        let plain = text.replace(['\\', '\u{200b}'], "");
        assert!(plain.contains(wanted), "{wanted}: {text}");
    }
}

#[test]
fn it_fits_however_many_rows_there_are_and_says_how_many_are_left_out() {
    let rows: Vec<Value> = (0..10_000)
        .map(|number| row(&format!("evidence/h100/{number}.yaml"), (number == 9_999).then_some("too-old"), &"long ".repeat(80)))
        .collect();
    let text = write(&report("refuse", Some("too-old"), &rows), 65_000).expect("is written");
    assert!(text.len() <= 65_000 && text.contains("more rows are in the JSON report"), "{}", text.len());
    assert!(text.contains("9999"), "what is refused comes first");
}

#[test]
fn nothing_from_a_pull_request_is_more_than_text() {
    for hostile in [
        "<script>alert(1)</script>",
        "<!-- seatrial: evidence gate -->",
        "@octocat @org/team",
        "[x](https://evil.example) ![i](https://evil.example/i.png)",
        "https://evil.example www.evil.example",
        "| a | b |",
        "</details><details open>",
        "`a` ~~b~~ **c** # d",
        "#1 GH-1 o/r#1",
        "::error::x",
        "\u{202e}evil\u{200b}",
        "$x$",
    ] {
        let mut refused = row(hostile, Some("pointer-invalid"), hostile);
        refused["facts"]["signers"] = json!([hostile]);
        refused["facts"]["sourceRepositories"] = json!([hostile]);
        refused["facts"]["oci"] = json!(hostile);
        refused["facts"]["scope"] = json!(hostile);
        refused["reasons"][0]["advice"] = json!([hostile]);
        let mut report = report("refuse", Some("pointer-invalid"), &[refused]);
        report.base.name = hostile.to_owned();
        report.summary = hostile.to_owned();
        let text = write(&report, 65_000).expect("is written");
        for raw in ["<script", "<!--", "@octocat", "@org", "https://evil", "www.evil", "</details><", "**c**", "#1", "\u{202e}", "$x$"] {
            assert!(!text.contains(raw), "{hostile} leaves {raw}: {text}");
        }
        assert!(!text.replace("\\]", "").contains("]("), "{hostile} becomes a link: {text}");
        // Tables keep their columns.
        let table: Vec<usize> =
            text.lines().filter(|line| line.starts_with("| ")).map(|line| line.replace("\\|", "").matches('|').count()).collect();
        assert!(table.windows(2).all(|pair| pair[0] == pair[1]), "{text}");
    }
}
