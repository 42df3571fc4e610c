//! The steps without a cluster: constraints are judged against a snapshot, everything else is out of scope and says so.

use crate::constraints;
use crate::error::Result;
use crate::results::{Counts, ErrorReason, Outcome, SkipReason, StepResult, TestResult};
use crate::snapshot::Snapshot;
use crate::steps::tests::sum_up;
use crate::steps::{self, Inputs, State};

/// Runs the workflow's steps without a single request to a cluster.
///
/// # Errors
/// A usage error if a constraint cannot be understood.
pub fn run(inputs: &Inputs, snapshot: Snapshot) -> Result<State> {
    let mut state = State::default();
    for spec in &inputs.workflow.workflow.spec.steps {
        let step = steps::find(&spec.id)?;
        let tests = if step.id == "snapshot" {
            constraints::judge_all(&inputs.recipe.recipe.spec.constraints, &snapshot, step.id)?
        } else {
            let untried = |test: steps::Selected| {
                let outcome = inputs.picked.left_out(&test.id).unwrap_or_else(|| out_of_scope("no cluster was asked"));
                TestResult::of(test.id, test.version, step.id, test.phase, outcome)
            };
            (step.tests)(inputs)?.into_iter().map(untried).collect()
        };
        let outcome = match step.id {
            "snapshot" if tests.is_empty() => {
                Outcome::error(ErrorReason::NoSubject, "the recipe has no constraints, and nothing else can be judged without a cluster")
            }
            _ if tests.is_empty() => out_of_scope("no cluster was asked"),
            _ => sum_up(&tests, "nothing was selected"),
        };
        let counts = Counts::of(tests.iter().map(|test| test.outcome.verdict));
        state.steps.push(StepResult { id: step.id.to_owned(), outcome, duration_ms: 0, counts });
        state.tests.extend(tests);
    }
    state.snapshot = Some(snapshot);
    Ok(state)
}

fn out_of_scope(why: &str) -> Outcome {
    Outcome::skip(SkipReason::NoCluster, why)
}
