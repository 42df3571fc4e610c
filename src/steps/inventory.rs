//! inventory: does everything exist that the recipe expects, at which version and image? The complete list, in seconds.

use std::time::Duration;

use futures::StreamExt;
use serde_json::json;

use crate::checks::expected::{self, Found};
use crate::cluster::{Access, ObjectRef};
use crate::error::{Error, Result};
use crate::recipe::ExpectedObject;
use crate::results::{Artifact, Outcome, SkipReason, Verdict};
use crate::steps::{Fact, Inputs, Step, StepCx, no_gpus, no_tests};
use crate::workflow::StepSpec;

pub(super) static STEP: Step = Step {
    id: "inventory",
    title: "look for every object that the recipe expects",
    why: "before set-up and tests: what is missing is said in seconds, all of it at once",
    needs: &[Fact::Snapshot],
    provides: Some(Fact::Inventory),
    cluster: true,
    access,
    gpus: no_gpus,
    tests: no_tests,
    timeout: |_| Duration::from_secs(120),
    run: |cx| Box::pin(run(cx)),
};

fn access(inputs: &Inputs, _: &StepSpec) -> Vec<Access> {
    inputs.recipe.recipe.spec.expect.iter().map(|object| Access::read_kind(&object.api_version, &object.kind)).collect()
}

/// What is known of one expected object.
enum State {
    Looked(Found),
    /// This workflow's own set-up makes it.
    Planned,
}

async fn run(cx: &StepCx<'_>) -> Result<Outcome> {
    let expected = &cx.inputs.recipe.recipe.spec.expect;
    cx.ui.waiting(&format!("{} expected objects", expected.len()));
    let planned: Vec<ObjectRef> = cx.inputs.workflow.manifests.iter().map(ObjectRef::of).collect();
    let look = |object: ExpectedObject| {
        let planned = &planned;
        async move {
            let found = look(cx, &object, planned).await;
            (object, found)
        }
    };
    // Cloned, so that the futures own what they look for and may run side by side.
    let found: Vec<(ExpectedObject, State)> = futures::stream::iter(expected.clone()).map(look).buffered(16).collect().await;
    Ok(judge(found))
}

async fn look(cx: &StepCx<'_>, expected: &ExpectedObject, planned: &[ObjectRef]) -> State {
    let is_planned = planned.iter().any(|object| {
        object.kind == expected.kind
            && object.name == expected.name
            && object.api_version == expected.api_version
            && object.namespace == expected.namespace
    });
    match expected::look(cx.cluster, expected).await {
        Found::Missing(_) if is_planned => State::Planned,
        found => State::Looked(found),
    }
}

fn judge(found: Vec<(ExpectedObject, State)>) -> Outcome {
    let total = found.len();
    let mut lines = Vec::new();
    let mut seen = Vec::new();
    let mut wrong = Vec::new();
    let mut unknown: Option<Error> = None;
    let (mut held, mut planned) = (0, 0);
    for (expected, found) in found {
        let name = expected::name_of(&expected);
        let line = match found {
            State::Looked(Found::Here { version, images, .. }) => {
                held += 1;
                json!({"object": name, "state": "here", "version": version, "images": images})
            }
            State::Planned => {
                planned += 1;
                json!({"object": name, "state": "set-up installs it"})
            }
            State::Looked(Found::Missing(reason)) => {
                wrong.push(format!("{name} {reason}"));
                json!({"object": name, "state": "missing", "reason": reason})
            }
            State::Looked(Found::Wrong(reason)) => {
                wrong.push(format!("{name} {reason}"));
                json!({"object": name, "state": "wrong", "reason": reason})
            }
            State::Looked(Found::Unknown(error)) => {
                let line = json!({"object": name, "state": "unknown", "reason": error.chain()});
                unknown.get_or_insert(error);
                lines.push(line);
                continue;
            }
        };
        seen.push(name);
        lines.push(line);
    }
    let outcome = if !wrong.is_empty() {
        Outcome::fail(format!("{} of {total} expected objects missing or wrong: {}", wrong.len(), wrong.join("; ")))
            .fix("install or upgrade what the list names")
    } else if let Some(error) = unknown {
        Outcome::from(error)
    } else if total == 0 {
        Outcome::skip(SkipReason::NotDeclared, "the recipe expects no object")
    } else {
        let note = if planned > 0 { format!(" ({planned} by set-up)") } else { String::new() };
        Outcome::pass(format!("{total} of {total} expected objects{note}"))
    };
    let asserted = if outcome.verdict == Verdict::Pass { total } else { held + planned };
    let mut outcome = outcome.seen("objects", seen, total).asserted(asserted, total);
    outcome.artifacts.push(Artifact { name: "expected objects".to_owned(), command: None, data: json!(lines) });
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;
    use crate::results::ErrorReason;

    fn one(state: State) -> (ExpectedObject, State) {
        let name = |text: &str| text.to_owned();
        let expected = ExpectedObject {
            api_version: name("apps/v1"),
            kind: name("Deployment"),
            namespace: Some(name("n")),
            name: name("d"),
            version: None,
            images: Vec::new(),
        };
        (expected, state)
    }

    #[test]
    fn a_missing_object_lists_all_misses() {
        let missing = || one(State::Looked(Found::Missing("does not exist".to_owned())));
        let outcome = judge(vec![missing(), missing()]);
        assert_eq!(outcome.verdict, Verdict::Fail);
        assert_eq!(outcome.message.matches("deployment n/d does not exist").count(), 2);
    }

    #[test]
    fn what_set_up_installs_is_not_missing_and_a_denied_read_is_an_error() {
        assert_eq!(judge(vec![one(State::Planned)]).verdict, Verdict::Pass);
        let denied = State::Looked(Found::Unknown(Error::new(Kind::Denied, "get deployment n/d")));
        assert_eq!(judge(vec![one(denied)]).verdict, Verdict::Error(ErrorReason::Denied));
        assert_eq!(judge(vec![]).verdict, Verdict::Skip(SkipReason::NotDeclared), "nothing looked for is no pass");
    }
}
