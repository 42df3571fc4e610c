//! An operator refuses what is wrong by its webhook, takes up what is right, and survives being killed.

mod hooks;
mod operator;
mod trial;

use std::time::Duration;

use serde_json::json;

use crate::checks::robust_controller::hooks::Hook;
use crate::checks::robust_controller::operator::Operator;
use crate::checks::robust_controller::trial::Tried;
use crate::checks::several::worst;
use crate::checks::{Check, Cx, Fidelity, Phase};
use crate::cluster::{Access, ObjectRef, Place, Query};
use crate::error::Result;
use crate::limits;
use crate::results::{ErrorReason, Outcome};

pub(super) static CHECK: Check = Check {
    id: "robust-controller",
    version: 1,
    title: "An operator refuses what is wrong by its webhook, takes up what is right, and survives being killed",
    requirement: Some("robust_controller"),
    phase: Phase::Conformance,
    gpus: 0,
    access: &[
        Access::read("admissionregistration.k8s.io", "validatingwebhookconfigurations"),
        Access::read("apps", "deployments"),
        Access::read("", "pods"),
        Access::read("", "events"),
        Access::new("", "pods", &["delete"], Place::Cluster),
    ],
    reads: |recipe, _| operator::meant(recipe).into_iter().flat_map(|(_, kind)| operator::accesses(kind)).collect(),
    timeout: Duration::from_secs(900),
    fidelity: Fidelity::Api,
    behavioural: true,
    docs: "\
# What it checks
Each operator of the recipe's `controllers` (Dynamo, JobSet, KServe, KubeRay, Kueue, LeaderWorkerSet, Kubeflow Trainer, or one that the recipe describes), or
each of the known ones that the cluster has: its kind is served, a validating webhook of its own looks at it, and lets nothing in when it does not answer (failurePolicy Fail). Then an object
that the schema allows and that is wrong is refused, and the API server names that webhook as the one that refused: a missing permission, the schema, a policy
engine or a webhook that does not answer are told apart and are not that. A small valid object is taken up: it gets what the operator makes of it. Where the
operator runs as a Deployment its pods are killed; others come in their place and take up another object.
The restart of an operator that runs beside a simulated cluster is not tried, and the message says so; on any other cluster that is an error.

# Why it matters
CNCF AI conformance requires that one complex AI operator runs, with its webhooks and its reconciliation. A definition that is installed without a controller
takes every object and does nothing with it; a webhook that fails open takes every wrong one.

# How to fix it
No webhook, or one that fails open: the operator's ValidatingWebhookConfiguration. It does not answer: its Service, its certificate, its pods. Not taken up: the
controller's log. Not back: the Deployment's events.",
    run: |cx| Box::pin(run(cx)),
};

async fn run(cx: &Cx<'_>) -> Result<Outcome> {
    let named = !cx.recipe.spec.controllers.is_empty();
    let mut operators = Vec::new();
    for (name, kind) in operator::meant(cx.recipe) {
        match Operator::find(cx, &name, kind).await? {
            Some(operator) => operators.push(operator),
            // One that the recipe names and that is not there is a finding; of the known ones, those that are there are meant.
            None if named => {
                return Ok(Outcome::fail(format!("{name}: the API server serves no {} of {}", kind.kind, kind.api_version))
                    .fix("install the operator, or take it out of spec.controllers"));
            }
            None => {}
        }
    }
    if operators.is_empty() {
        let names = crate::recipe::controller::KNOWN.join(", ");
        return Ok(Outcome::fail(format!("the cluster has no AI operator: the API server serves nothing of {names}"))
            .fix("install one, or describe another in the recipe's spec.controllers"));
    }
    let configurations = cx.cluster.list("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration", &Query::all()).await?;
    let names: Vec<String> = operators.iter().map(|operator| operator.name.clone()).collect();
    let mut says = Vec::new();
    let mut own = Vec::new();
    for operator in &operators {
        let hooks = hooks::of(&configurations, &operator.group, &operator.plural);
        match structure(operator, &hooks) {
            Ok(text) => says.push(text),
            Err(outcome) => return Ok(outcome.asserted(says.len(), operators.len()).seen("controllers", names.clone(), names.len())),
        }
        own.push(hooks);
    }
    let Some(scratch) = cx.scratch else {
        return Ok(Outcome::pass(says.join("; ")).asserted(says.len(), says.len()).seen("controllers", names.clone(), names.len()));
    };
    let mut results = Vec::new();
    for (operator, hooks) in operators.iter().zip(&own) {
        results.push((operator.name.clone(), trial::run(cx, scratch, operator, hooks).await));
    }
    let hooks: Vec<_> = own.iter().flatten().map(|hook| json!({"name": hook.name, "configuration": hook.configuration})).collect();
    Ok(sum_up(results).seen("controllers", names.clone(), names.len()).artifact(
        "webhooks that look at the operators' kinds",
        Some("kubectl get validatingwebhookconfigurations -o yaml"),
        json!(hooks),
    ))
}

/// What has to be there before anything is created; in words, or what is wrong. Pure.
fn structure(operator: &Operator, hooks: &[Hook]) -> std::result::Result<String, Box<Outcome>> {
    let Operator { name, plural, group, .. } = operator;
    if hooks.is_empty() {
        let message = format!("{name}: no validating webhook looks at {plural}.{group} when they are created");
        return Err(Box::new(Outcome::fail(message).fix("install the operator's ValidatingWebhookConfiguration")));
    }
    if let Some(hook) = hooks.iter().find(|hook| hook.fails_open) {
        let message = format!("{name}: webhook {} lets everything in when it does not answer (failurePolicy Ignore)", hook.name);
        let fix = format!("set failurePolicy Fail in validatingwebhookconfiguration {}", hook.configuration);
        return Err(Box::new(Outcome::fail(message).fix(fix)));
    }
    if let Some(deployment) = &operator.deployment {
        let wanted = deployment["spec"]["replicas"].as_i64().unwrap_or(1);
        let available = deployment["status"]["availableReplicas"].as_i64().unwrap_or(0);
        if wanted == 0 || available < wanted {
            let named = ObjectRef::of(deployment);
            let message = format!("{name}: {named} has {available} of {wanted} replicas available");
            return Err(Box::new(Outcome::fail(message).fix("kubectl describe that deployment and its pods")));
        }
    }
    let names: Vec<&str> = hooks.iter().map(|hook| hook.name.as_str()).collect();
    Ok(format!("{name}: {plural}.{group} are served, webhook {} looks at them and fails closed", names.join(", ")))
}

/// One outcome of those of all operators: never better than the worst. Pure.
fn sum_up(results: Vec<(String, Tried)>) -> Outcome {
    let of = |time: fn(&Tried) -> Option<Duration>| -> Vec<(String, f64)> {
        let seconds = |time: Duration| (time.as_secs_f64() * 1000.0).round() / 1000.0;
        results.iter().filter_map(|(name, tried)| Some((name.clone(), seconds(time(tried)?)))).collect()
    };
    let metrics = [("reconciled_seconds", of(|tried| tried.reconciled)), ("recovered_seconds", of(|tried| tried.recovered))];
    let outcomes = results.into_iter().map(|(name, tried)| (name, tried.outcome)).collect();
    let Some(mut outcome) = worst(outcomes) else { return Outcome::error(ErrorReason::NoSubject, "no operator was tried") };
    for (metric, samples) in metrics.into_iter().filter(|(_, samples)| !samples.is_empty()) {
        let most = samples.iter().map(|(_, seconds)| *seconds).fold(0.0, f64::max);
        outcome = outcome.measured(metric, most, "s").sampled(samples);
        if metric == "reconciled_seconds" {
            outcome = outcome.held_against(limits::RECONCILED.as_secs_f64());
        }
    }
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::controller::Controller;
    use crate::results::Verdict;

    fn operator(deployment: Option<serde_json::Value>) -> Operator {
        let table: &[Controller] = operator::known().expect("is valid");
        let kind = table[0].described.clone().expect("is described");
        Operator { name: "jobset".to_owned(), kind, group: "jobset.x-k8s.io".to_owned(), plural: "jobsets".to_owned(), deployment }
    }

    fn hook(fails_open: bool) -> Hook {
        Hook { name: "vjobset.kb.io".to_owned(), configuration: "c".to_owned(), fails_open }
    }

    #[test]
    fn no_webhook_one_that_fails_open_and_a_deployment_without_pods_fail_before_anything_is_created() {
        let wrong = |operator: &Operator, hooks: &[Hook]| structure(operator, hooks).expect_err("is wrong").message;
        assert!(wrong(&operator(None), &[]).contains("no validating webhook looks at jobsets.jobset.x-k8s.io"));
        assert!(wrong(&operator(None), &[hook(false), hook(true)]).contains("failurePolicy Ignore"));
        let down = json!({"metadata": {"name": "d"}, "spec": {"replicas": 2}, "status": {"availableReplicas": 1}});
        assert!(wrong(&operator(Some(down)), &[hook(false)]).contains("1 of 2 replicas"));
        assert!(structure(&operator(None), &[hook(false)]).is_ok());
    }

    #[test]
    fn several_operators_are_never_better_than_the_worst_of_them() {
        let tried = |outcome: Outcome, held: usize| Tried {
            outcome: outcome.asserted(held, 2),
            reconciled: Some(Duration::from_secs(1)),
            recovered: None,
        };
        let summed = sum_up(vec![
            ("a".to_owned(), tried(Outcome::pass("fine"), 2)),
            ("b".to_owned(), tried(Outcome::error(ErrorReason::Denied, "no"), 0)),
            ("c".to_owned(), tried(Outcome::fail("let in"), 0)),
        ]);
        assert_eq!((summed.verdict, summed.message.as_str()), (Verdict::Fail, "let in"));
        assert_eq!(sum_up(vec![("a".to_owned(), tried(Outcome::pass("fine"), 2))]).verdict, Verdict::Pass);
        assert_eq!(sum_up(Vec::new()).verdict, Verdict::Error(ErrorReason::NoSubject));
    }

    #[test]
    fn the_waits_of_a_trial_fit_into_its_timeout() {
        let waits = limits::RECONCILED * 2 + limits::CONTROLLER_BACK + limits::CLEANUP * 5;
        assert!(waits < CHECK.timeout, "To fix: raise the timeout of robust-controller above {waits:?}");
    }
}
