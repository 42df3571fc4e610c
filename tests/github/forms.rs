//! The four forms of a decision, with everything that a report can hold, for the pictures that people get of them.

use seatrial::gate::GateReport;
use serde_json::{Value, json};

use crate::comment::report;

const HOLDS: &str = "that evidence which is there already still holds: it is read, not verified again; `seatrial evidence verify evidence --policy evidence/policy.yaml` does";
const LACKING: &str = "run `seatrial run --recipe gb200-eks-training --out out` on a cluster that it is for";
const RUN: &str = "run `seatrial run --recipe h100-eks-training --out out` on a cluster that it is for";
const RENEW: &str = "publish it with `seatrial evidence publish --push <repository> out/bundle`, then commit evidence/h100-eks-training/sha256-<digest>.yaml, which it writes";

/// A pointer's place, with a digest of one digit.
fn place(recipe: &str, digit: &str) -> String {
    format!("evidence/{recipe}/sha256-{}.yaml", digit.repeat(64))
}

fn digest(digit: &str) -> String {
    format!("sha256:{}", digit.repeat(64))
}

fn workflow() -> String {
    let actions = "https://token.actions.githubusercontent.com";
    format!("https://github.com/seatrial/seatrial/.github/workflows/validate.yaml@refs/tags/v1.4.0 ({actions})")
}

fn facts(digit: &str, hardware: &str, age: &str) -> Value {
    json!({
        "recipe": "h100-eks-training", "signers": [workflow()], "sourceRepositories": ["https://github.com/example-org/clusters"],
        "oci": format!("ghcr.io/example-org/evidence@{}", digest(digit)), "hardware": hardware, "scope": "full", "age": age,
        "coverage": {"selected": 24, "passed": 23, "failed": 0, "outOfScope": ["cluster-autoscaling (needs-node)"]},
    })
}

fn why(reason: &str, message: &str, advice: &[&str]) -> Value {
    json!({"reason": reason, "message": message, "advice": advice})
}

/// A row; with reasons it is refused.
fn of(recipe: &str, digit: &str, reasons: Value, facts: Value) -> Value {
    let (decision, verified) = if reasons == json!([]) { ("accept", true) } else { ("refuse", false) };
    json!({"path": place(recipe, digit), "line": 4, "change": "added", "decision": decision, "exit": 0, "reasons": reasons, "verified": verified, "facts": facts})
}

fn whole(decision: &str, reason: Option<&str>, summary: &str, more: Value) -> GateReport {
    let mut value = serde_json::to_value(report(decision, reason, &[])).expect("JSON");
    value["summary"] = summary.into();
    value["notShown"] = json!([HOLDS, "that a cluster exists: a signature speaks for its signer, who says so"]);
    let more = more.as_object().expect("an object").clone();
    value.as_object_mut().expect("an object").extend(more);
    serde_json::from_value(value).expect("a report")
}

fn change(input: &str, was: &str, is: &str) -> Value {
    json!({"input": input, "was": was, "is": is, "material": true})
}

fn recipe(name: &str, state: &str, blocks: bool, evidence: Value, changes: Value, reasons: Value) -> Value {
    json!({"name": name, "state": state, "blocks": blocks, "was": digest("1"), "is": digest("2"), "affectedBy": ["overlays/h100-eks.yaml"],
        "changes": changes, "evidence": evidence, "reasons": reasons})
}

fn held(digit: &str, added: bool, matches: &str) -> Value {
    json!({"path": place("h100-eks-training", digit), "added": added, "matches": matches})
}

/// All of them, by the word of the decision.
pub(crate) fn forms() -> Vec<(&'static str, GateReport)> {
    vec![("accept", accepted()), ("refuse", refused()), ("needs-evidence", needs_evidence()), ("undecided", undecided())]
}

/// Two pointers verified, one with a change of its recipe.
fn accepted() -> GateReport {
    whole(
        "accept",
        None,
        "accept: 2 pointers verified: h100-eks-training (REAL hardware, full scope), gb200-eks-training (REAL hardware, full scope); 1 recipe with current evidence",
        json!({
            "pointers": [of("h100-eks-training", "a", json!([]), facts("a", "real", "3 hours")), of("gb200-eks-training", "b", json!([]), facts("b", "real", "2 days"))],
            "recipes": [recipe("h100-eks-training", "current", false, json!([held("a", true, "same")]), json!([change("spec.components.gpu-operator.version", "\"v25.3\"", "\"v25.10\"")]), json!([]))],
            "counts": {"accepted": 2, "refused": 0, "undecided": 0, "needsEvidence": 0}, "advice": [],
        }),
    )
}

/// Everything that can be refused, and an approval that does not count.
fn refused() -> GateReport {
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
    whole(
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
    )
}

/// A recipe without evidence, and one whose evidence is outdated.
fn needs_evidence() -> GateReport {
    let outdated = "recipe h100-eks-training is affected, and all of its evidence is about what it asked earlier";
    let missing = "recipe gb200-eks-training is affected and has no evidence";
    whole(
        "needs-evidence",
        Some("evidence-missing"),
        &format!("needs-evidence (evidence-missing): {missing}; and 1 more reason"),
        json!({
            "exit": 13, "advice": [LACKING, RUN, RENEW],
            "recipes": [
                recipe("gb200-eks-training", "missing", true, json!([]), json!([change("spec.components.gpu-operator.version", "\"v25.3\"", "\"v25.10\"")]), json!([why("evidence-missing", missing, &[LACKING])])),
                recipe("h100-eks-training", "drifted", true, json!([held("a", false, "drifted"), held("c", false, "already-drifted")]),
                    json!([change("spec.components.gpu-operator.version", "\"v25.3\"", "\"v25.10\""), change("spec.thresholds.nccl-all-reduce.value", "\">= 300\"", "\">= 320\""), change("vendors.nvidia.exporter.port", "9400", "9401"), change("spec.health.health/nodes.yaml.digest", "\"sha256:1…\"", "\"sha256:2…\"")]),
                    json!([why("evidence-outdated", outdated, &[RUN, RENEW])])),
            ],
            "counts": {"accepted": 0, "refused": 0, "undecided": 0, "needsEvidence": 2},
        }),
    )
}

/// A registry that does not answer.
fn undecided() -> GateReport {
    let away = "pull ghcr.io/example-org/evidence: GitHub's registry answers 503 Service Unavailable";
    let mut unreached = of(
        "h100-eks-training",
        "a",
        json!([why("unavailable", away, &["run it again when the registry can be reached"])]),
        json!({"recipe": "h100-eks-training", "hardware": "real", "signers": [workflow()], "oci": format!("ghcr.io/example-org/evidence@{}", digest("a"))}),
    );
    unreached["decision"] = "undecided".into();
    whole(
        "undecided",
        Some("unavailable"),
        &format!("undecided (unavailable): {away}"),
        json!({"exit": 6, "advice": ["run it again when the registry can be reached"], "pointers": [unreached], "counts": {"accepted": 0, "refused": 0, "undecided": 1, "needsEvidence": 0}}),
    )
}
