//! The plan: which steps, why in this order, what each needs, reads, creates and may take. Pure: same inputs, same plan.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::cluster::Place;
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::recipe::{API_VERSION, Allocation};
use crate::snapshot::model::GpuTotals;
use crate::steps::{self, Fact, GpuUse, Inputs, Step};
use crate::workflow::StepSpec;

/// The plan document, `plan.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Plan {
    /// `seatrial.dev/v1alpha1`.
    pub api_version: String,
    /// `Plan`.
    pub kind: String,
    /// The workflow's name.
    pub workflow: String,
    /// Digest of the workflow and what it applies.
    pub workflow_digest: Digest,
    /// The recipe's name.
    pub recipe: String,
    /// Digest of the recipe.
    pub recipe_digest: Digest,
    /// The steps, in the order in which they run.
    pub steps: Vec<PlannedStep>,
    /// The most GPUs held at once.
    pub gpus: u32,
    /// The most that the run may take.
    pub worst_case_seconds: u64,
}

/// One planned step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PlannedStep {
    /// The step's id.
    pub id: String,
    /// What it does.
    pub title: String,
    /// Why it stands where it stands.
    pub why: String,
    /// Facts that it needs.
    pub needs: Vec<String>,
    /// Resources that it reads, `<plural>[.<group>]`.
    pub reads: Vec<String>,
    /// Resources that it creates.
    pub creates: Vec<String>,
    /// GPUs that it holds.
    pub gpus: u32,
    /// Ids of the tests that it runs.
    pub tests: Vec<String>,
    /// The most that it may take.
    pub worst_case_seconds: u64,
}

/// Makes the plan. `capacity` is known after a look at the cluster; without it GPU needs are only listed.
///
/// # Errors
/// A usage error if the order cannot work, with the reason and the order that does; or if a step cannot be planned.
pub fn make(inputs: &Inputs, capacity: Option<GpuTotals>) -> Result<Plan> {
    let specs = &inputs.workflow.workflow.spec.steps;
    let order: Vec<(&'static Step, &StepSpec)> = specs.iter().map(|spec| Ok((steps::find(&spec.id)?, spec))).collect::<Result<_>>()?;
    check_facts(&order)?;
    check_gpus(inputs, &order, capacity)?;
    let steps: Vec<PlannedStep> = order.iter().map(|(step, spec)| planned(inputs, step, spec)).collect::<Result<_>>()?;
    Ok(Plan {
        api_version: API_VERSION.to_owned(),
        kind: "Plan".to_owned(),
        workflow: inputs.workflow.workflow.metadata.name.clone(),
        workflow_digest: inputs.workflow.digest()?,
        recipe: inputs.recipe.recipe.metadata.name.clone(),
        recipe_digest: inputs.recipe.recipe.digest()?,
        gpus: steps.iter().map(|step| step.gpus).max().unwrap_or(0),
        worst_case_seconds: steps.iter().map(|step| step.worst_case_seconds).sum(),
        steps,
    })
}

fn planned(inputs: &Inputs, step: &Step, spec: &StepSpec) -> Result<PlannedStep> {
    let mut reads = BTreeSet::new();
    let mut creates = BTreeSet::new();
    for access in (step.access)(inputs, spec) {
        if access.place == Place::Cluster && !access.verbs.contains(&"create") {
            reads.insert(access.name())
        } else {
            creates.insert(access.name())
        };
    }
    if step.id == "setup" {
        creates.extend(inputs.workflow.manifests.iter().map(|object| crate::cluster::ObjectRef::of(object).to_string()));
    }
    Ok(PlannedStep {
        id: step.id.to_owned(),
        title: step.title.to_owned(),
        why: step.why.to_owned(),
        needs: step.needs.iter().map(|fact| fact.words().to_owned()).collect(),
        reads: reads.into_iter().collect(),
        creates: creates.into_iter().collect(),
        gpus: (step.gpus)(inputs, spec).iter().map(|gpus| gpus.count).max().unwrap_or(0),
        tests: (step.tests)(inputs)?.into_iter().map(|test| test.id).collect(),
        worst_case_seconds: (step.timeout)(inputs).as_secs(),
    })
}

/// Every fact that a step needs is provided by a step before it; one that needs all results is last.
fn check_facts(order: &[(&'static Step, &StepSpec)]) -> Result<()> {
    for (index, (step, _)) in order.iter().enumerate() {
        if step.needs.contains(&Fact::Results) && index + 1 < order.len() {
            return Err(Error::usage(format!(
                "`{}` needs the results of all other steps, and `{}` comes after it",
                step.id,
                order[index + 1].0.id
            ))
            .hint(format!("put {} last", step.id)));
        }
        for fact in step.needs.iter().filter(|fact| **fact != Fact::Results) {
            if order[..index].iter().any(|(earlier, _)| earlier.provides == Some(*fact)) {
                continue;
            }
            let provider = steps::ALL.iter().find(|other| other.provides == Some(*fact));
            let provider = provider.map_or("no step", |other| other.id);
            return Err(Error::usage(format!(
                "`{}` needs {}, which `{provider}` provides and no step before it does",
                step.id,
                fact.words()
            ))
            .hint(format!("put {provider} before {}", step.id)));
        }
    }
    Ok(())
}

/// GPUs that one step keeps are missing for those after it.
fn check_gpus(inputs: &Inputs, order: &[(&'static Step, &StepSpec)], capacity: Option<GpuTotals>) -> Result<()> {
    let Some(capacity) = capacity else { return Ok(()) };
    let mut held: Vec<(&str, GpuUse)> = Vec::new();
    for (step, spec) in order {
        for wanted in (step.gpus)(inputs, spec) {
            let total = match wanted.allocation {
                Allocation::DevicePlugin => capacity.device_plugin,
                Allocation::Dra => capacity.dra,
            };
            let mut keepers = held.iter().filter(|(_, gpus)| gpus.allocation == wanted.allocation);
            let taken: u64 = keepers.clone().map(|(_, gpus)| u64::from(gpus.count)).sum();
            if taken + u64::from(wanted.count) > total
                && let Some((keeper, _)) = keepers.next_back()
            {
                return Err(Error::usage(format!(
                    "`{keeper}` holds {taken} of {total} GPUs from there on, `{}` needs {} free",
                    step.id, wanted.count
                ))
                .hint(format!("put {} first, or take `keep` from {keeper}", step.id)));
            }
            if wanted.kept {
                held.push((step.id, wanted));
            }
        }
    }
    Ok(())
}

impl Plan {
    /// Refuses a plan whose worst case does not fit into a budget.
    ///
    /// # Errors
    /// A usage error with both times.
    pub fn check_budget(&self, budget: Duration) -> Result<()> {
        if self.worst_case_seconds > budget.as_secs() {
            return Err(Error::usage(format!(
                "the worst case of this plan is {} min, the budget {} min",
                minutes(self.worst_case_seconds),
                minutes(budget.as_secs())
            ))
            .hint("raise --budget, or leave out checks"));
        }
        Ok(())
    }

    /// The plan for people.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = format!(
            "plan {}   recipe {} ({})   worst case {} min   holds up to {} GPUs\n",
            self.workflow,
            self.recipe,
            self.recipe_digest.short(),
            minutes(self.worst_case_seconds),
            self.gpus
        );
        for (index, step) in self.steps.iter().enumerate() {
            let head = format!("\n {} {:<12} {}", index + 1, step.id, step.title);
            text.push_str(&head);
            text.push('\n');
            let mut line = |name: &str, value: String| {
                if !value.is_empty() {
                    // Writing to a String cannot fail.
                    writeln!(text, "     {name:<8} {value}").unwrap_or(());
                }
            };
            line("why", step.why.clone());
            line("needs", step.needs.join(", "));
            line("reads", step.reads.join(", "));
            line("creates", step.creates.join(", "));
            line("GPUs", if step.gpus > 0 { format!("up to {} held", step.gpus) } else { String::new() });
            line("tests", step.tests.join(", "));
            line("at most", format!("{} min", minutes(step.worst_case_seconds)));
        }
        text
    }
}

/// Seconds as minutes with one digit.
fn minutes(seconds: u64) -> String {
    let tenths = (seconds * 10).div_ceil(60);
    if tenths.is_multiple_of(10) { format!("{}", tenths / 10) } else { format!("{}.{}", tenths / 10, tenths % 10) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::load;
    use crate::workflow::Loaded;

    fn inputs(workflow: &str) -> Inputs {
        Inputs::new(Loaded::read(workflow).expect("a workflow"), load::read("sim-h100").expect("a recipe"))
    }

    fn reordered(ids: &[&str], keep: bool) -> Inputs {
        let mut inputs = inputs("conformance");
        let steps = &mut inputs.workflow.workflow.spec.steps;
        *steps = ids
            .iter()
            .map(|id| StepSpec { id: (*id).to_owned(), manifests: vec![], karpenter: None, keep: keep && *id == "intent" })
            .collect();
        inputs
    }

    #[test]
    fn the_same_inputs_give_the_same_plan_and_every_step_says_why() {
        for workflow in ["training", "inference", "conformance"] {
            let plan = make(&inputs(workflow), None).expect("a plan");
            assert_eq!(plan, make(&inputs(workflow), None).expect("a plan"));
            assert!(plan.steps.iter().all(|step| !step.why.is_empty() && step.worst_case_seconds > 0));
        }
    }

    #[test]
    fn an_order_that_cannot_work_is_refused_with_the_one_that_does() {
        let error = make(&reordered(&["conformance", "snapshot"], false), None).expect_err("no snapshot yet");
        assert_eq!(error.hints(), ["put snapshot before conformance"]);
        let error = make(&reordered(&["snapshot", "collect", "health"], false), None).expect_err("collect is not last");
        assert_eq!(error.hints(), ["put collect last"]);
    }

    #[test]
    fn gpus_that_a_step_keeps_are_missing_for_those_after_it() {
        let mut inputs = reordered(&["snapshot", "inventory", "intent", "conformance"], true);
        inputs.workflow.workflow.spec.intent = Some(crate::recipe::Intent::Inference);
        let tight = GpuTotals { device_plugin: 0, dra: 2 };
        let error = make(&inputs, Some(tight)).expect_err("too tight");
        assert_eq!(error.chain(), "`intent` holds 2 of 2 GPUs from there on, `conformance` needs 1 free");
        assert!(make(&inputs, Some(GpuTotals { device_plugin: 0, dra: 3 })).is_ok());
    }

    #[test]
    fn a_worst_case_beyond_the_budget_is_refused() {
        let plan = make(&inputs("conformance"), None).expect("a plan");
        assert!(plan.check_budget(Duration::from_secs(60)).is_err());
        assert!(plan.check_budget(Duration::from_secs(plan.worst_case_seconds)).is_ok());
    }

    #[test]
    fn minutes_are_rounded_up() {
        assert_eq!((minutes(60).as_str(), minutes(61).as_str(), minutes(90).as_str()), ("1", "1.1", "1.5"));
    }
}
