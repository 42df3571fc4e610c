//! Every object that the recipe expects exists, at its version and image, and workloads among them are complete.

use std::time::Duration;

use futures::StreamExt;
use serde_json::json;

use crate::checks::expected::{self, Found};
use crate::checks::settled::running_problem;
use crate::checks::{Check, Cx, Fidelity, Phase};
use crate::cluster::Access;
use crate::error::{Error, Result};
use crate::recipe::ExpectedObject;
use crate::results::{Outcome, SkipReason, Verdict};

pub(super) static CHECK: Check = Check {
    id: "expected-resources",
    version: 1,
    title: "Every object that the recipe expects is there and complete",
    requirement: None,
    phase: Phase::Deployment,
    gpus: 0,
    access: &[],
    reads: |recipe, _| recipe.spec.expect.iter().map(|object| Access::read_kind(&object.api_version, &object.kind)).collect(),
    timeout: Duration::from_secs(60),
    fidelity: Fidelity::Api,
    behavioural: false,
    docs: "\
# What it checks
Every object of the recipe's `expect` exists, with the version and the images that the recipe wants. A Deployment, DaemonSet or StatefulSet among them has
all replicas that it wants, up to date and ready, and wants at least one. All that is missing or wrong is listed, not the first. An object that is absent is
absent at once: nothing is waited for.

# Why it matters
A component that was rolled back, or that is scaled to zero, is there and does nothing.

# How to fix it
Install or upgrade what the list names; for a workload that is not complete, `kubectl describe` shows its conditions and events.",
    run: |cx| Box::pin(run(cx)),
};

async fn run(cx: &Cx<'_>) -> Result<Outcome> {
    let wanted = cx.recipe.spec.expect.clone();
    cx.waiting(&format!("{} expected objects", wanted.len()));
    let look = |expected: ExpectedObject| async move { (expected::name_of(&expected), expected::look(&cx.cluster, &expected).await) };
    Ok(judge(futures::stream::iter(wanted).map(look).buffered(16).collect().await))
}

/// Judges what was found, by name; pure.
fn judge(found: Vec<(String, Found)>) -> Outcome {
    let total = found.len();
    if total == 0 {
        return Outcome::skip(SkipReason::NotDeclared, "the recipe expects no object");
    }
    let mut wrong = Vec::new();
    let mut seen = Vec::new();
    let mut unknown: Option<Error> = None;
    let mut lines = Vec::new();
    for (name, found) in found {
        let problem = match found {
            Found::Unknown(error) => {
                lines.push(json!({"object": name, "unknown": error.chain()}));
                unknown.get_or_insert(error);
                continue;
            }
            Found::Missing(reason) | Found::Wrong(reason) => Some(reason),
            Found::Here { object, .. } => match object["kind"].as_str() {
                Some("Deployment" | "DaemonSet" | "StatefulSet") => running_problem(&object),
                _ => None,
            },
        };
        lines.push(json!({"object": name, "problem": problem}));
        wrong.extend(problem.map(|problem| format!("{name}: {problem}")));
        seen.push(name);
    }
    let outcome = if !wrong.is_empty() {
        Outcome::fail(format!("{} of {total} expected objects missing or not complete: {}", wrong.len(), wrong.join("; ")))
            .fix("install or upgrade what the list names; kubectl describe shows why a workload is not complete")
    } else if let Some(error) = unknown {
        Outcome::from(error)
    } else {
        Outcome::pass(format!("{total} of {total} expected objects"))
    };
    let held = if outcome.verdict == Verdict::Pass { total } else { seen.len() - wrong.len() };
    outcome.seen("objects", seen, total).asserted(held, total).artifact("expected objects", None, json!(lines))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::error::Kind;
    use crate::results::ErrorReason;

    fn here(object: Value) -> (String, Found) {
        ("it".to_owned(), Found::Here { object: Box::new(object), version: None, images: Vec::new() })
    }

    fn daemon_set(ready: i64, wanted: i64) -> Value {
        json!({"kind": "DaemonSet", "metadata": {"generation": 1},
            "status": {"observedGeneration": 1, "desiredNumberScheduled": wanted, "updatedNumberScheduled": wanted, "numberReady": ready}})
    }

    #[test]
    fn what_is_there_and_complete_passes_and_everything_else_is_listed() {
        assert_eq!(judge(vec![here(daemon_set(2, 2)), here(json!({"kind": "Namespace"}))]).guarded().verdict, Verdict::Pass);
        let missing = ("deployment n/d".to_owned(), Found::Missing("does not exist".to_owned()));
        let outcome = judge(vec![here(daemon_set(1, 2)), missing, here(daemon_set(0, 0))]);
        assert_eq!(outcome.verdict, Verdict::Fail);
        for part in ["1 of 2 replicas ready", "deployment n/d: does not exist", "wants no replica"] {
            assert!(outcome.message.contains(part), "{}", outcome.message);
        }
    }

    #[test]
    fn nothing_expected_is_no_pass_and_an_object_that_cannot_be_read_is_an_error() {
        assert_eq!(judge(Vec::new()).verdict, Verdict::Skip(SkipReason::NotDeclared));
        let denied = ("deployment n/d".to_owned(), Found::Unknown(Error::new(Kind::Denied, "get deployment n/d")));
        assert_eq!(judge(vec![here(daemon_set(2, 2)), denied]).verdict, Verdict::Error(ErrorReason::Denied));
    }
}
