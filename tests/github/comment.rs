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

/// A pointer's place, with a digest of one digit.
fn place(recipe: &str, digit: &str) -> String {
    format!("evidence/{recipe}/sha256-{}.yaml", digit.repeat(64))
}

/// The four forms of a decision, with everything that a report can hold.
fn forms() -> Vec<(&'static str, GateReport)> {
    let actions = "https://token.actions.githubusercontent.com";
    let workflow = format!("https://github.com/seatrial/seatrial/.github/workflows/validate.yaml@refs/tags/v1.4.0 ({actions})");
    let facts = |digit: &str, hardware: &str, age: &str| {
        json!({
            "recipe": "h100-eks-training", "signers": [workflow], "sourceRepositories": ["https://github.com/example-org/clusters"],
            "oci": format!("ghcr.io/example-org/evidence@sha256:{}", digit.repeat(64)), "hardware": hardware, "scope": "full", "age": age,
            "coverage": {"selected": 24, "passed": 23, "failed": 0, "outOfScope": ["cluster-autoscaling (needs-node)"]},
        })
    };
    let why = |reason: &str, message: &str, advice: &[&str]| json!({"reason": reason, "message": message, "advice": advice});
    let of = |recipe: &str, digit: &str, reasons: Value, facts: Value| {
        let (decision, verified) = if reasons == json!([]) { ("accept", true) } else { ("refuse", false) };
        json!({"path": place(recipe, digit), "line": 4, "change": "added", "decision": decision, "exit": 0, "reasons": reasons, "verified": verified, "facts": facts})
    };
    let holds = "that evidence which is there already still holds: it is read, not verified again; `seatrial evidence verify evidence --policy evidence/policy.yaml` does";
    let whole = |decision: &str, reason: Option<&str>, summary: &str, more: Value| -> GateReport {
        let mut value = serde_json::to_value(report(decision, reason, &[])).expect("JSON");
        value["summary"] = summary.into();
        value["notShown"] = json!([holds, "that a cluster exists: a signature speaks for its signer, who says so"]);
        let more = more.as_object().expect("an object").clone();
        value.as_object_mut().expect("an object").extend(more);
        serde_json::from_value(value).expect("a report")
    };
    let lacking = "run `seatrial run --recipe gb200-eks-training --out out` on a cluster that it is for";
    let renew = "publish it with `seatrial evidence publish --push <repository> out/bundle`, then commit evidence/h100-eks-training/sha256-<digest>.yaml, which it writes";
    let run = "run `seatrial run --recipe h100-eks-training --out out` on a cluster that it is for";
    let change = |input: &str, was: &str, is: &str| json!({"input": input, "was": was, "is": is, "material": true});
    let digest = |digit: &str| format!("sha256:{}", digit.repeat(64));
    let recipe = |name: &str, state: &str, blocks: bool, evidence: Value, changes: Value, reasons: Value| {
        json!({"name": name, "state": state, "blocks": blocks, "was": digest("1"), "is": digest("2"), "affectedBy": ["overlays/h100-eks.yaml"],
            "changes": changes, "evidence": evidence, "reasons": reasons})
    };
    let held =
        |digit: &str, added: bool, matches: &str| json!({"path": place("h100-eks-training", digit), "added": added, "matches": matches});
    let accept = whole(
        "accept",
        None,
        "accept: 2 pointers verified: h100-eks-training (REAL hardware, full scope), gb200-eks-training (REAL hardware, full scope); 1 recipe with current evidence",
        json!({
            "pointers": [of("h100-eks-training", "a", json!([]), facts("a", "real", "3 hours")), of("gb200-eks-training", "b", json!([]), facts("b", "real", "2 days"))],
            "recipes": [recipe("h100-eks-training", "current", false, json!([held("a", true, "same")]), json!([change("spec.components.gpu-operator.version", "\"v25.3\"", "\"v25.10\"")]), json!([]))],
            "counts": {"accepted": 2, "refused": 0, "undecided": 0, "needsEvidence": 0}, "advice": [],
        }),
    );
    let old = "the run ended 91 days ago, and the policy takes 90 days";
    let mut removed = of(
        "h100-eks-training",
        "c",
        json!([why(
            "pointer-removed",
            &format!("{} was removed", place("h100-eks-training", "c")),
            &["restore the file, or ask one of the policy's `owners` to approve the change"]
        )]),
        json!({}),
    );
    removed["change"] = "removed".into();
    let refuse = whole(
        "refuse",
        Some("too-old"),
        &format!("refuse (too-old): {old}; and 3 more reasons"),
        json!({
            "exit": 12,
            "advice": ["run the recipe again and publish the new evidence: `seatrial run --recipe h100-eks-training --push <repository>`", "restore the file, or ask one of the policy's `owners` to approve the change", "take the file out of the change: only pointers and the policy belong there"],
            "pointers": [
                of("gb200-eks-training", "b", json!([]), facts("b", "real", "2 days")),
                of("h100-eks-training", "a", json!([why("too-old", old, &["run the recipe again and publish the new evidence: `seatrial run --recipe h100-eks-training --push <repository>`"])]), facts("a", "simulated", "91 days")),
                removed,
            ],
            "files": [{"path": "evidence/notes.txt", "change": "added", "decision": "refuse", "reasons": [why("unexpected-file", "evidence/notes.txt is neither a pointer nor the policy", &["take the file out of the change: only pointers and the policy belong there"])]},
                {"path": "evidence/policy.yaml", "change": "edited", "decision": "refuse", "reasons": [why("policy-changed", "evidence/policy.yaml was edited", &["ask one of the policy's `owners` to approve the change"])]}],
            "policyChanges": [{"input": "maximumAge", "was": "\"90d\"", "is": "\"900d\""}, {"input": "signers.intern.subject.email.address", "is": "\"intern@example.org\""}],
            "approvals": [{"by": "@mallory", "owners": [], "source": "review", "whyNot": "the base's policy does not name them in `owners`"}],
            "counts": {"accepted": 1, "refused": 4, "undecided": 0, "needsEvidence": 0},
        }),
    );
    let outdated = "recipe h100-eks-training is affected, and all of its evidence is about what it asked earlier";
    let missing = "recipe gb200-eks-training is affected and has no evidence";
    let needs = whole(
        "needs-evidence",
        Some("evidence-missing"),
        &format!("needs-evidence (evidence-missing): {missing}; and 1 more reason"),
        json!({
            "exit": 13, "advice": [lacking, run, renew],
            "recipes": [
                recipe("gb200-eks-training", "missing", true, json!([]), json!([change("spec.components.gpu-operator.version", "\"v25.3\"", "\"v25.10\"")]), json!([why("evidence-missing", missing, &[lacking])])),
                recipe("h100-eks-training", "drifted", true, json!([held("a", false, "drifted"), held("c", false, "already-drifted")]),
                    json!([change("spec.components.gpu-operator.version", "\"v25.3\"", "\"v25.10\""), change("spec.thresholds.nccl-all-reduce.value", "\">= 300\"", "\">= 320\""), change("vendors.nvidia.exporter.port", "9400", "9401"), change("spec.health.health/nodes.yaml.digest", "\"sha256:1…\"", "\"sha256:2…\"")]),
                    json!([why("evidence-outdated", outdated, &[run, renew])])),
            ],
            "counts": {"accepted": 0, "refused": 0, "undecided": 0, "needsEvidence": 2},
        }),
    );
    let away = "pull ghcr.io/example-org/evidence: GitHub's registry answers 503 Service Unavailable";
    let mut unreached = of(
        "h100-eks-training",
        "a",
        json!([why("unavailable", away, &["run it again when the registry can be reached"])]),
        json!({"recipe": "h100-eks-training", "hardware": "real", "signers": [workflow], "oci": format!("ghcr.io/example-org/evidence@{}", digest("a"))}),
    );
    unreached["decision"] = "undecided".into();
    let undecided = whole(
        "undecided",
        Some("unavailable"),
        &format!("undecided (unavailable): {away}"),
        json!({"exit": 6, "advice": ["run it again when the registry can be reached"], "pointers": [unreached], "counts": {"accepted": 0, "refused": 0, "undecided": 1, "needsEvidence": 0}}),
    );
    vec![("accept", accept), ("refuse", refuse), ("needs-evidence", needs), ("undecided", undecided)]
}

#[test]
fn each_decision_reads_as_its_golden_file() {
    for (name, report) in forms() {
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
