//! `validate --no-cluster`: the report of a run that asks no cluster.

use jiff::Timestamp;

use crate::cli::Cx;
use crate::cli::trial::run_id;
use crate::error::{Error, Result};
use crate::progress;
use crate::results::{Report, Scope};
use crate::snapshot::Hardware;
use crate::steps::{Inputs, RunFacts, collect, offline};

/// Judges the constraints of a recipe by the given snapshot.
///
/// # Errors
/// A usage error if a constraint cannot be understood.
pub fn run(mut inputs: Inputs, cx: &Cx) -> Result<Report> {
    // Taken, not copied: it may be the largest thing in memory.
    let snapshot = inputs.given.take().ok_or_else(|| Error::internal("judge without a cluster and without a snapshot"))?;
    let started_at = Timestamp::now();
    let mut facts = RunFacts {
        id: run_id(started_at)?,
        out: std::path::PathBuf::new(),
        hardware: Hardware::Unknown,
        without_containers: false,
        started_at,
        finished_at: started_at,
        plan: Vec::new(),
    };
    progress::head(&cx.ui, &format!("validate {}", inputs.recipe.recipe.metadata.name), &facts.id, "none (--no-cluster)", &snapshot);
    let state = offline::run(&inputs, snapshot)?;
    for (number, step) in state.steps.iter().enumerate() {
        for test in state.tests.iter().filter(|test| test.step == step.id && step.id == "snapshot") {
            progress::test(&cx.ui, test, false);
        }
        progress::step(&cx.ui, number + 1, &step.id, &step.outcome, std::time::Duration::ZERO, false);
    }
    facts.finished_at = Timestamp::now();
    // Also where a recipe declares nothing but constraints: nobody looked at the cluster.
    Ok(Report { scope: Scope::ConstraintsOnly, ..collect::report(&inputs, &state, &facts)? })
}
