//! inventory: does everything exist that the recipe expects, at which version and image? The complete list, in seconds.

use std::time::Duration;

use futures::StreamExt;
use serde_json::{Value, json};

use crate::cluster::{Access, ObjectRef};
use crate::error::{Error, Kind, Result};
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

/// What was found of one expected object.
enum Found {
    Here {
        version: Option<String>,
        images: Vec<String>,
    },
    /// This workflow's own set-up makes it.
    Planned,
    Missing(String),
    Wrong(String),
    Unknown(Error),
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
    let found: Vec<(ExpectedObject, Found)> = futures::stream::iter(expected.clone()).map(look).buffered(16).collect().await;
    Ok(judge(found))
}

async fn look(cx: &StepCx<'_>, expected: &ExpectedObject, planned: &[ObjectRef]) -> Found {
    let found = cx.cluster.get(&expected.api_version, &expected.kind, expected.namespace.as_deref(), &expected.name).await;
    let is_planned = planned.iter().any(|object| {
        object.kind == expected.kind
            && object.name == expected.name
            && object.api_version == expected.api_version
            && object.namespace == expected.namespace
    });
    match found {
        Ok(Some(object)) => compare(expected, &object),
        Ok(None) if is_planned => Found::Planned,
        Err(error) if error.kind() == Kind::NotFound && is_planned => Found::Planned,
        Ok(None) => Found::Missing("does not exist".to_owned()),
        Err(error) if error.kind() == Kind::NotFound => Found::Missing(format!("cannot exist: {}", error.chain())),
        Err(error) => Found::Unknown(error),
    }
}

/// Compares version and images of an object that exists with what the recipe wants.
fn compare(expected: &ExpectedObject, object: &Value) -> Found {
    let version = object["metadata"]["labels"]["app.kubernetes.io/version"].as_str().map(str::to_owned);
    let template = &object["spec"]["template"]["spec"];
    let containers = ["initContainers", "containers"].into_iter().filter_map(|field| template[field].as_array()).flatten();
    let images: Vec<String> = containers.filter_map(|container| container["image"].as_str()).map(str::to_owned).collect();
    if let Some(range) = &expected.version {
        // The recipe was checked when it was read: the range is valid.
        let matches = semver::VersionReq::parse(range)
            .ok()
            .zip(version.as_deref().and_then(semver_of))
            .map(|(range, version)| range.matches(&version));
        match (matches, &version) {
            (Some(true), _) => {}
            (Some(false), Some(version)) => return Found::Wrong(format!("version {version} is not {range}")),
            (_, Some(version)) => return Found::Wrong(format!("version `{version}` cannot be compared with {range}")),
            (_, None) => return Found::Wrong(format!("has no label app.kubernetes.io/version, {range} is wanted")),
        }
    }
    if let Some(image) = expected.images.iter().find(|image| !images.contains(image)) {
        return Found::Wrong(format!(
            "does not run image {image} but {}",
            if images.is_empty() { "none".to_owned() } else { images.join(", ") }
        ));
    }
    Found::Here { version, images }
}

/// Reads a version as people write it: `v25.10.0`, `0.18`.
fn semver_of(text: &str) -> Option<semver::Version> {
    let text = text.trim_start_matches('v');
    let (numbers, rest) = text.find(['-', '+']).map_or((text, ""), |at| text.split_at(at));
    let padded = match numbers.split('.').count() {
        1 => format!("{numbers}.0.0{rest}"),
        2 => format!("{numbers}.0{rest}"),
        _ => text.to_owned(),
    };
    semver::Version::parse(&padded).ok()
}

fn judge(found: Vec<(ExpectedObject, Found)>) -> Outcome {
    let total = found.len();
    let mut lines = Vec::new();
    let mut seen = Vec::new();
    let mut wrong = Vec::new();
    let mut unknown: Option<Error> = None;
    let (mut held, mut planned) = (0, 0);
    for (expected, found) in found {
        let name = ObjectRef::new(&expected.api_version, &expected.kind, expected.namespace.as_deref(), &expected.name).to_string();
        let line = match found {
            Found::Here { version, images } => {
                held += 1;
                json!({"object": name, "state": "here", "version": version, "images": images})
            }
            Found::Planned => {
                planned += 1;
                json!({"object": name, "state": "set-up installs it"})
            }
            Found::Missing(reason) => {
                wrong.push(format!("{name} {reason}"));
                json!({"object": name, "state": "missing", "reason": reason})
            }
            Found::Wrong(reason) => {
                wrong.push(format!("{name} {reason}"));
                json!({"object": name, "state": "wrong", "reason": reason})
            }
            Found::Unknown(error) => {
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
    use crate::results::ErrorReason;

    fn expected(version: Option<&str>, images: &[&str]) -> ExpectedObject {
        ExpectedObject {
            api_version: "apps/v1".to_owned(),
            kind: "Deployment".to_owned(),
            namespace: Some("n".to_owned()),
            name: "d".to_owned(),
            version: version.map(str::to_owned),
            images: images.iter().map(|image| (*image).to_owned()).collect(),
        }
    }

    fn object() -> Value {
        json!({"metadata": {"labels": {"app.kubernetes.io/version": "v25.10.0"}}, "spec": {"template": {"spec": {"containers": [{"image": "x:1"}]}}}})
    }

    #[test]
    fn version_and_image_are_compared_and_a_missing_object_lists_all_misses() {
        assert!(matches!(compare(&expected(Some(">=25.3, <26"), &["x:1"]), &object()), Found::Here { .. }));
        assert!(matches!(compare(&expected(Some("<25"), &[]), &object()), Found::Wrong(reason) if reason == "version v25.10.0 is not <25"));
        assert!(matches!(compare(&expected(None, &["x:2"]), &object()), Found::Wrong(_)));
        let missing = || (expected(None, &[]), Found::Missing("does not exist".to_owned()));
        let outcome = judge(vec![missing(), missing()]);
        assert_eq!(outcome.verdict, Verdict::Fail);
        assert_eq!(outcome.message.matches("deployment n/d does not exist").count(), 2);
    }

    #[test]
    fn what_set_up_installs_is_not_missing_and_a_denied_read_is_an_error() {
        assert_eq!(judge(vec![(expected(None, &[]), Found::Planned)]).verdict, Verdict::Pass);
        let denied = Found::Unknown(Error::new(Kind::Denied, "get deployment n/d"));
        assert_eq!(judge(vec![(expected(None, &[]), denied)]).verdict, Verdict::Error(ErrorReason::Denied));
        assert_eq!(judge(vec![]).verdict, Verdict::Skip(SkipReason::NotDeclared), "nothing looked for is no pass");
    }

    #[test]
    fn versions_are_read_as_people_write_them() {
        assert_eq!(semver_of("v25.10.0").map(|version| version.to_string()).as_deref(), Some("25.10.0"));
        assert_eq!(semver_of("0.18").map(|version| version.to_string()).as_deref(), Some("0.18.0"));
        assert_eq!(semver_of("latest"), None);
    }
}
