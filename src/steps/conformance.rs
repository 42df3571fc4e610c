//! conformance: what the cluster can do, check by check.

use std::time::Duration;

use crate::checks::{self, Known, Phase};
use crate::cluster::Access;
use crate::error::Result;
use crate::limits;
use crate::recipe::Allocation;
use crate::results::Outcome;
use crate::steps::tests::{run_checks, sum_up};
use crate::steps::{Fact, GpuUse, Inputs, Step, StepCx, selected};
use crate::workflow::StepSpec;

pub(super) static STEP: Step = Step {
    id: "conformance",
    title: "run the recipe's conformance checks",
    why: "after health: on a platform that is half there their verdicts would be about something else",
    needs: &[Fact::Snapshot],
    provides: None,
    cluster: true,
    access,
    gpus,
    tests: |inputs| selected(&inputs.recipe.recipe.spec.checks.conformance, Phase::Conformance),
    timeout,
    run: |cx| Box::pin(run(cx)),
};

fn built(inputs: &Inputs) -> impl Iterator<Item = &'static checks::Check> {
    let ids = inputs.recipe.recipe.spec.checks.conformance.iter().filter(|id| inputs.picked.left_out(id).is_none());
    ids.filter_map(|id| match checks::find(id) {
        Ok(Known::Built(check)) => Some(check),
        _ => None,
    })
}

fn access(inputs: &Inputs, _: &StepSpec) -> Vec<Access> {
    let only_reads = |access: &Access| access.verbs.iter().all(|verb| ["get", "list", "watch"].contains(verb));
    let reads = |access: &Access| access.place == crate::cluster::Place::Cluster && only_reads(access);
    let wanted = |access: &Access| inputs.behavioral || reads(access);
    built(inputs).flat_map(|check| check.accesses(&inputs.recipe.recipe)).filter(|access| wanted(access)).collect()
}

fn gpus(inputs: &Inputs, _: &StepSpec) -> Vec<GpuUse> {
    let most = built(inputs).map(|check| check.gpus).max().unwrap_or(0);
    if most == 0 || !inputs.behavioral {
        return Vec::new();
    }
    vec![GpuUse { allocation: Allocation::Dra, count: most, kept: false }]
}

/// Read-only checks run side by side, the others one after the other; each of these may wait for another run's GPUs first.
fn timeout(inputs: &Inputs) -> Duration {
    let parallel = built(inputs).filter(|check| !check.behavioural).map(|check| check.timeout).max().unwrap_or_default();
    let serial: Duration =
        built(inputs).filter(|check| check.behavioural).map(|check| check.timeout + limits::GPU_LOCK + limits::CLEANUP).sum();
    parallel + serial + Duration::from_secs(30)
}

async fn run(cx: &StepCx<'_>) -> Result<Outcome> {
    run_checks(cx, &cx.inputs.recipe.recipe.spec.checks.conformance, Phase::Conformance).await?;
    Ok(sum_up(&cx.sink.ended(), "the recipe names no conformance check"))
}
