//! The GPU operator has the version that the recipe wants.

use std::time::Duration;

use serde_json::{Value, json};

use crate::checks::expected::images_of;
use crate::checks::{Check, Cx, Fidelity, Phase, no_more, operator};
use crate::cluster::{Access, ObjectRef};
use crate::constraints::{Constraint, Rule};
use crate::error::Result;
use crate::recipe::Recipe;
use crate::results::{Outcome, SkipReason};

/// The constraint that says which version is wanted.
const CONSTRAINT: &str = "Deployment.gpu-operator.version";
/// Components of recipes that are GPU operators.
const COMPONENTS: [&str; 2] = ["gpu-operator", "amd-gpu-operator"];

pub(super) static CHECK: Check = Check {
    id: "gpu-operator-version",
    version: 1,
    title: "The GPU operator has the version that the recipe wants",
    requirement: None,
    phase: Phase::Deployment,
    gpus: 0,
    access: &[Access::read("apps", "deployments")],
    reads: no_more,
    timeout: Duration::from_secs(60),
    fidelity: Fidelity::Api,
    behavioural: false,
    docs: "\
# What it checks
The version of the operator's Deployment (its label `app.kubernetes.io/version`, else the tag of its image, else the annotation of that name) against the
recipe's constraint `Deployment.gpu-operator.version`; where there is none, against the version of the recipe's component `gpu-operator`, which it must be.

# Why it matters
The operator brings the driver, the toolkit and the plugins; another version is another cluster than the one that the recipe speaks of.

# How to fix it
Upgrade the operator to what the message names, or change the recipe if the other version is the right one.",
    run: |cx| Box::pin(run(cx)),
};

async fn run(cx: &Cx<'_>) -> Result<Outcome> {
    let Some(wanted) = wanted(cx.recipe) else {
        return Ok(Outcome::skip(
            SkipReason::NotDeclared,
            format!("the recipe says no version: neither constraint {CONSTRAINT} nor a component"),
        ));
    };
    match operator::deployment(cx).await? {
        Ok(deployment) => judge(&deployment, &wanted),
        Err(absent) => Ok(Outcome::fail(absent).fix("install the GPU operator")),
    }
}

/// What the recipe wants, and where it says so.
fn wanted(recipe: &Recipe) -> Option<Constraint> {
    if let Some(constraint) = recipe.spec.constraints.iter().find(|constraint| constraint.name == CONSTRAINT) {
        return Some(constraint.clone());
    }
    let version = recipe.spec.components.iter().find(|component| COMPONENTS.contains(&component.name.as_str()))?.version.clone()?;
    // The shape that a recipe would have it in; everything else has its default.
    serde_json::from_value(json!({"name": CONSTRAINT, "value": format!("== {version}"), "source": "the recipe's component"})).ok()
}

/// Judges the version; pure.
fn judge(deployment: &Value, wanted: &Constraint) -> Result<Outcome> {
    let name = ObjectRef::of(deployment).to_string();
    let Some((version, place)) = version_of(deployment) else {
        let message = format!("{name} does not say its version: no label app.kubernetes.io/version, no tag, no annotation");
        return Ok(Outcome::fail(message).fix("install the operator from its chart, which sets the label").seen("objects", vec![name], 1));
    };
    let outcome = match Rule::parse(wanted)?.holds(&version) {
        Ok(true) => Outcome::pass(format!("{name} has version {version} ({place}), wanted {}", wanted.value)),
        Ok(false) => Outcome::fail(format!("{name} has version {version} ({place}), wanted {}", wanted.value))
            .fix("upgrade the operator, or change the recipe"),
        Err(why) => Outcome::fail(format!("{name} has version {version} ({place}), which cannot be compared: {why}"))
            .fix("give the operator a version"),
    };
    let held = usize::from(outcome.verdict == crate::results::Verdict::Pass);
    Ok(outcome.seen("objects", vec![name], 1).asserted(held, 1))
}

/// A Deployment's version and where it says so.
fn version_of(deployment: &Value) -> Option<(String, &'static str)> {
    let metadata = &deployment["metadata"];
    let key = "app.kubernetes.io/version";
    let said = |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    let tag = || {
        let image = images_of(deployment).into_iter().next()?;
        let (_, tag) = image.split('@').next()?.rsplit_once(':')?;
        (!tag.contains('/')).then(|| tag.to_owned())
    };
    said(&metadata["labels"][key])
        .map(|version| (version, "label"))
        .or_else(|| tag().map(|version| (version, "image tag")))
        .or_else(|| said(&metadata["annotations"][key]).map(|version| (version, "annotation")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::Verdict;

    fn deployment(labels: Value, image: &str) -> Value {
        json!({"kind": "Deployment", "metadata": {"name": "gpu-operator", "namespace": "gpu-operator", "labels": labels},
            "spec": {"template": {"spec": {"containers": [{"image": image}]}}}})
    }

    fn constraint(value: &str) -> Constraint {
        serde_json::from_value(json!({"name": CONSTRAINT, "value": value})).expect("is one")
    }

    #[test]
    fn the_label_goes_before_the_tag_and_a_digest_is_no_version() {
        let label = json!({"app.kubernetes.io/version": "v25.10.1"});
        assert_eq!(version_of(&deployment(label, "a/b:v1")).expect("says it").0, "v25.10.1");
        assert_eq!(
            version_of(&deployment(json!({}), "host:5000/a/b:v25.3.4@sha256:00")).expect("says it"),
            ("v25.3.4".to_owned(), "image tag")
        );
        assert_eq!(version_of(&deployment(json!({}), "host:5000/a/b")), None);
    }

    #[test]
    fn the_wanted_version_passes_another_fails_and_one_that_is_not_said_fails() {
        let found = |image: &str, value: &str| judge(&deployment(json!({}), image), &constraint(value)).expect("is judged").guarded();
        assert_eq!(found("a/b:v25.10.1", ">= 25.10").verdict, Verdict::Pass);
        assert_eq!(found("a/b:v25.10.1", "== v25.10.1").verdict, Verdict::Pass);
        let old = found("a/b:v24.6.0", ">= 25.10");
        assert_eq!(old.verdict, Verdict::Fail);
        assert!(old.message.contains("has version v24.6.0 (image tag), wanted >= 25.10"), "{}", old.message);
        assert_eq!(found("a/b", ">= 25.10").verdict, Verdict::Fail);
    }
}
