//! One operator tried: it refuses what is wrong, takes up what is right, and does so again after it was killed.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::checks::robust_controller::hooks::{self, Hook, Refused};
use crate::checks::robust_controller::operator::Operator;
use crate::checks::several::{Step, Stop};
use crate::checks::{Cx, probe};
use crate::cluster::{ObjectRef, Query, Scratch};
use crate::error::{Kind, Result};
use crate::limits;
use crate::recipe::controller::Sign;
use crate::results::{ErrorReason, Outcome, Verdict};

/// Statements of a trial without the restart: refused by its webhook, taken up.
const STATEMENTS: usize = 2;
/// Statements of the restart: back, taken up again.
const RESTART: usize = 2;

/// What came of a trial.
pub(super) struct Tried {
    pub(super) outcome: Outcome,
    /// How long the operator took to take an object up, where it did.
    pub(super) reconciled: Option<Duration>,
    /// How long it took to take an object up after it was killed.
    pub(super) recovered: Option<Duration>,
}

/// Tries an operator, and removes everything that was made.
pub(super) async fn run(cx: &Cx<'_>, scratch: &Scratch, operator: &Operator, hooks: &[Hook]) -> Tried {
    let mut trial = Trial { cx, scratch, operator, hooks, made: Vec::new(), held: 0, total: STATEMENTS, reconciled: None, recovered: None };
    let mut outcome = match trial.all().await {
        Ok(outcome) => outcome,
        Err(Stop::Seen(outcome)) => *outcome,
        Err(Stop::Trouble(error)) => Outcome::from(error.context(format!("try {}", operator.name))),
    };
    let passed = outcome.verdict == Verdict::Pass;
    if !passed {
        outcome = outcome.artifact("events", Some("kubectl get events"), probe::events(&cx.cluster, &scratch.namespace()).await);
    }
    let mut removed = Ok(());
    for object in std::mem::take(&mut trial.made).iter().rev() {
        removed = removed.and(scratch.dispose(object, passed).await.map(drop));
    }
    if let (Err(error), true) = (removed, passed) {
        outcome = Outcome::from(error);
    }
    Tried { outcome: outcome.asserted(trial.held, trial.total), reconciled: trial.reconciled, recovered: trial.recovered }
}

struct Trial<'a> {
    cx: &'a Cx<'a>,
    scratch: &'a Scratch,
    operator: &'a Operator,
    hooks: &'a [Hook],
    made: Vec<ObjectRef>,
    held: usize,
    total: usize,
    reconciled: Option<Duration>,
    recovered: Option<Duration>,
}

impl Trial<'_> {
    async fn all(&mut self) -> Step<Outcome> {
        let name = &self.operator.name;
        let by = self.refuses().await?;
        self.held += 1;
        for object in &self.operator.kind.before {
            self.make(object.clone()).await?;
        }
        let took = self.takes_up("first").await?;
        self.reconciled = Some(took);
        self.held += 1;
        let seen = format!(
            "{name}: webhook {by} refuses an invalid {}, a valid one was taken up in {:.1}s",
            self.operator.kind.kind,
            took.as_secs_f64()
        );
        let Some(deployment) = &self.operator.deployment else {
            return Ok(self.without_restart(&seen));
        };
        self.total += RESTART;
        let back = self.restart(deployment).await?;
        self.held += 1;
        let took = self.takes_up("second").await?;
        self.recovered = Some(back + took);
        self.held += 1;
        Ok(Outcome::pass(format!(
            "{seen}; its pods were killed, back after {:.1}s, and took up another in {:.1}s",
            back.as_secs_f64(),
            took.as_secs_f64()
        )))
    }

    /// An operator that runs outside the cluster: its restart cannot be shown. Where everything is simulated that is said; elsewhere it is a gap.
    fn without_restart(&self, seen: &str) -> Outcome {
        let names = self.operator.kind.deployments.join(" or ");
        if self.cx.simulated {
            return Outcome::pass(format!(
                "{seen}; its restart was not tried: it has no Deployment {names}, so it runs beside the simulated cluster"
            ));
        }
        Outcome::error(
            ErrorReason::NoSubject,
            format!("{seen}; that it survives being killed could not be shown: there is no Deployment {names}"),
        )
        .fix("name its Deployment in the recipe's spec.controllers")
    }

    /// An object that is wrong is refused, and by its own webhook; that one's name.
    async fn refuses(&mut self) -> Step<String> {
        let name = &self.operator.name;
        let kind = &self.operator.kind.kind;
        self.cx.waiting(&format!("an invalid {kind} to be refused"));
        let object = self.object("invalid", &self.operator.kind.invalid);
        let error = match self.scratch.create_tied(object).await {
            Ok(made) => {
                self.made.push(made.clone());
                let names: Vec<&str> = self.hooks.iter().map(|hook| hook.name.as_str()).collect();
                let message = format!("{name}: the invalid {made} was let in, although webhook {} looks at its kind", names.join(", "));
                return Err(Outcome::fail(message).fix("look at the webhook's rules and selectors, and at what answers it").into());
            }
            Err(error) => error,
        };
        let text = error.chain();
        let outcome = match hooks::refused(&error, self.hooks) {
            Refused::ByOwn(hook) => return Ok(hook),
            Refused::ByNobody => Outcome::fail(format!("{name}: its webhook does not answer: {text}"))
                .fix("look at its controller, its Service and its certificate"),
            Refused::ByOther(other) => {
                Outcome::error(ErrorReason::NoSubject, format!("{name}: {other} refused before its own webhook could: {text}"))
                    .fix("let the run's namespace be, or describe an object that only the operator refuses")
            }
            Refused::BySchema => Outcome::error(
                ErrorReason::NoSubject,
                format!(
                    "{name}: the schema refused the invalid {kind} before any webhook saw it, which shows nothing of the webhook: {text}"
                ),
            )
            .fix("describe an object in spec.controllers that the schema of this version allows and the webhook refuses"),
            Refused::ByRoles | Refused::Unclear => return Err(error.into()),
        };
        Err(outcome.into())
    }

    /// An object that is right is taken up; how long that took.
    async fn takes_up(&mut self, which: &str) -> Step<Duration> {
        let clock = Instant::now();
        let object = self.object(which, &self.operator.kind.valid);
        let made = self.make(object).await?;
        let seconds = limits::RECONCILED.as_secs();
        self.cx.waiting(&format!("{made} to be taken up by {}", self.operator.name));
        let namespace = self.scratch.namespace();
        let kind = &self.operator.kind;
        let (seen, sign) = match &kind.reconciled {
            Sign::Condition(condition) => {
                let has = |objects: &[&Value]| {
                    let conditions = objects.first()?["status"]["conditions"].as_array()?;
                    conditions.iter().any(|one| one["type"] == condition.as_str()).then_some(())
                };
                let query = Query::within(&namespace).named(&made.name);
                let sign = format!("its status has no condition {condition}");
                (self.wait((&kind.api_version, &kind.kind), &query, &made, has).await, sign)
            }
            Sign::Owns { api_version, kind } => {
                let uid = made.uid.clone().unwrap_or_default();
                let owned = |objects: &[&Value]| {
                    let owns = |object: &&Value| {
                        object["metadata"]["ownerReferences"].as_array().is_some_and(|all| all.iter().any(|one| one["uid"] == uid.as_str()))
                    };
                    objects.iter().any(owns).then_some(())
                };
                (self.wait((api_version, kind), &Query::within(&namespace), &made, owned).await, format!("no {kind} belongs to it"))
            }
        };
        match seen {
            Ok(()) => Ok(clock.elapsed()),
            Err(error) if error.kind() == Kind::Timeout => {
                Err(Outcome::fail(format!("{}: {made} was not taken up within {seconds} s: {sign}", self.operator.name))
                    .fix("is its controller running, and what does its log say?")
                    .into())
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn wait(
        &self,
        kind: (&str, &str),
        query: &Query,
        made: &ObjectRef,
        condition: impl FnMut(&[&Value]) -> Option<()>,
    ) -> Result<()> {
        self.cx.cluster.wait_until(kind, query, &format!("{made} to be taken up"), limits::RECONCILED, condition).await
    }

    /// Kills the operator's pods and waits until others are ready in their place; how long that took.
    async fn restart(&self, deployment: &Value) -> Step<Duration> {
        let named = ObjectRef::of(deployment);
        let namespace = named.namespace.clone().unwrap_or_default();
        let labels = deployment["spec"]["selector"]["matchLabels"].as_object();
        let selector: Vec<String> =
            labels.into_iter().flatten().map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default())).collect();
        if selector.is_empty() {
            // Without labels the selector would be every pod of the namespace.
            return Err(Outcome::error(ErrorReason::NoSubject, format!("{named} selects its pods otherwise than by labels")).into());
        }
        let query = Query::within(&namespace).labelled(selector.join(","));
        let pods = self.cx.cluster.list("v1", "Pod", &query).await?;
        let old: BTreeSet<String> = pods.iter().filter_map(|pod| pod["metadata"]["uid"].as_str().map(str::to_owned)).collect();
        if old.is_empty() {
            return Err(Outcome::error(ErrorReason::NoSubject, format!("{named} has no pod that could be killed")).into());
        }
        let clock = Instant::now();
        for pod in &pods {
            self.cx.cluster.delete(&ObjectRef::of(pod)).await?;
        }
        self.cx.waiting(&format!("{named} to be back"));
        let wanted = usize::try_from(deployment["spec"]["replicas"].as_u64().unwrap_or(1)).unwrap_or(1);
        let back = |pods: &[&Value]| {
            let known = |pod: &&&Value| pod["metadata"]["uid"].as_str().is_some_and(|uid| old.contains(uid));
            let ready = pods.iter().filter(|pod| !known(pod) && is_ready(pod)).count();
            (!pods.iter().any(|pod| known(&pod)) && ready >= wanted).then_some(())
        };
        let waited = self.cx.cluster.wait_until(("v1", "Pod"), &query, &format!("{named} to be back"), limits::CONTROLLER_BACK, back).await;
        match waited {
            Ok(()) => Ok(clock.elapsed()),
            Err(error) if error.kind() == Kind::Timeout => Err(Outcome::fail(format!(
                "{}: its pods were killed, and {wanted} pods of {named} are not ready in their place after {} s",
                self.operator.name,
                limits::CONTROLLER_BACK.as_secs()
            ))
            .fix(format!("kubectl describe deployment {} -n {namespace}", named.name))
            .into()),
            Err(error) => Err(error.into()),
        }
    }

    /// Makes an object that the operator must take; that it does not answer is its fault.
    async fn make(&mut self, object: Value) -> Step<ObjectRef> {
        match self.scratch.create_tied(object).await {
            Ok(made) => {
                self.made.push(made.clone());
                Ok(made)
            }
            Err(error) if hooks::refused(&error, self.hooks) == Refused::ByNobody => {
                Err(Outcome::fail(format!("{}: its webhook does not answer: {}", self.operator.name, error.chain()))
                    .fix("look at its controller, its Service and its certificate")
                    .into())
            }
            // Another version of the operator may want more than the object says: that is our data's fault.
            Err(error) if !matches!(hooks::refused(&error, self.hooks), Refused::ByRoles | Refused::Unclear) => Err(Outcome::error(
                ErrorReason::NoSubject,
                format!("{}: the object that is meant to be valid is refused: {}", self.operator.name, error.chain()),
            )
            .fix("describe one in spec.controllers that this version of the operator takes")
            .into()),
            Err(error) => Err(error.into()),
        }
    }

    fn object(&self, which: &str, spec: &Value) -> Value {
        let kind = &self.operator.kind;
        json!({"apiVersion": kind.api_version, "kind": kind.kind, "metadata": {"name": format!("seatrial-{which}")}, "spec": spec})
    }
}

fn is_ready(pod: &Value) -> bool {
    pod["status"]["conditions"].as_array().is_some_and(|all| all.iter().any(|one| one["type"] == "Ready" && one["status"] == "True"))
}
