//! A gang of GPU pods is placed as a whole or not at all.

mod kueue;
mod pod_groups;
mod room;
mod technology;
mod timeline;
mod trial;

use std::time::Duration;

use crate::checks::gang_scheduling::room::Room;
use crate::checks::gang_scheduling::technology::Technology;
use crate::checks::gang_scheduling::trial::{Measured, STATEMENTS, Tried};
use crate::checks::several::worst;
use crate::checks::{Check, Cx, Fidelity, Phase, probe};
use crate::cluster::{Access, Query};
use crate::error::Result;
use crate::limits;
use crate::recipe::Recipe;
use crate::results::{ErrorReason, Outcome, Verdict};
use crate::snapshot::nodes;

pub(super) static CHECK: Check = Check {
    id: "gang-scheduling",
    version: 1,
    title: "A gang of GPU pods is placed as a whole or not at all",
    requirement: Some("gang_scheduling"),
    phase: Phase::Conformance,
    gpus: 2,
    access: &[
        Access::read("", "nodes"),
        Access::read("", "pods"),
        Access::read("apps", "deployments"),
        Access::read("", "events"),
        Access::scratch("", "pods"),
    ],
    reads: |recipe, _| meant(recipe, "").iter().flat_map(Technology::accesses).collect(),
    timeout: Duration::from_secs(900),
    fidelity: Fidelity::Api,
    behavioural: true,
    docs: "\
# What it checks
Each gang scheduler of the recipe's `gangSchedulers` (KAI, Kueue, Volcano, or one that the recipe describes), or each of the known ones that the cluster has:
its API is served, its Deployment is available where it has one, its queue is usable. Then, on the one node where that holds the fewest GPUs, with pods that
ask for GPUs of the device plugin: a gang that fits is placed and runs. A pod of the default scheduler takes GPUs past the queue, so that all pods of a gang
but one would fit: none of them holds a GPU for 10 s of an unbroken watch, while a gang of one pod fewer beside it is placed, so that the refusal is for the
gang and not for the queue or the quota. When room is made, all are placed. Of two gangs that do not fit together one is placed and the other holds nothing,
and it is placed when the first has ended.
A Kueue queue that is made for the run has a topology down to the node, because by quota alone Kueue does not know whether pods find room.

# Why it matters
Pods of a training job that are placed in part hold GPUs and do nothing; two such jobs block each other for ever. CNCF AI conformance requires a gang
scheduler. That two pods are placed shows none: the default scheduler does that too.

# How to fix it
No gang scheduler: install one. Some pods hold GPUs: the gang plugin or the minimum of members is missing from the scheduler's configuration, or pods are not
given to it. Nothing is placed: the queue's quota, or the scheduler does not run. The control is not placed: a queue that lets nothing past its head.",
    run: |cx| Box::pin(run(cx)),
};

/// Kinds that it makes outside namespaces for a recipe, in the order in which they are made.
pub(super) fn outside(recipe: &Recipe) -> Vec<(String, String)> {
    meant(recipe, "").iter().flat_map(Technology::outside).collect()
}

/// The gang schedulers that a recipe names; all known ones where it names none.
fn meant(recipe: &Recipe, run: &str) -> Vec<Technology> {
    let named = &recipe.spec.gang_schedulers;
    if named.is_empty() { Technology::known(run) } else { named.iter().map(|scheduler| Technology::of(scheduler, run)).collect() }
}

async fn run(cx: &Cx<'_>) -> Result<Outcome> {
    let run = cx.scratch.map(crate::cluster::Scratch::run).unwrap_or_default();
    let mut tried: Vec<Technology> = Vec::new();
    for technology in meant(cx.recipe, run) {
        // One that the recipe names and that is not there is a finding; of the known ones, those that are there are meant.
        if !cx.recipe.spec.gang_schedulers.is_empty() || technology.served(cx).await? {
            tried.push(technology);
        }
    }
    if tried.is_empty() {
        let names = crate::recipe::gang::KNOWN.join(", ");
        return Ok(Outcome::fail(format!("the cluster has no gang scheduler: the API server serves nothing of {names}"))
            .fix("install one, or describe another in the recipe's spec.gangSchedulers"));
    }
    let names: Vec<String> = tried.iter().map(|technology| technology.name().to_owned()).collect();
    let mut says = Vec::new();
    for technology in &tried {
        let structure = technology.structure(cx).await?;
        if let Some((message, fix)) = structure.problem {
            let outcome = Outcome::fail(format!("{}: {message}", technology.name())).fix(fix);
            return Ok(outcome.asserted(says.len(), tried.len()).seen("gang schedulers", names.clone(), names.len()));
        }
        says.push(format!("{}: {}", technology.name(), structure.says));
    }
    let Some(scratch) = cx.scratch else {
        return Ok(Outcome::pass(says.join("; ")).asserted(says.len(), says.len()).seen("gang schedulers", names.clone(), names.len()));
    };
    let mut results = Vec::new();
    for technology in &tried {
        // Looked for each time: others come and go.
        let tried = match choose(cx).await? {
            Ok(room) => trial::run(cx, scratch, technology, &room).await,
            Err(outcome) => Tried { outcome: *outcome, measured: Measured::default() },
        };
        results.push((technology.name().to_owned(), tried));
    }
    Ok(sum_up(results).seen("gang schedulers", names.clone(), names.len()))
}

async fn choose(cx: &Cx<'_>) -> Result<std::result::Result<Room, Box<Outcome>>> {
    let everything = Query::all();
    let (objects, pods) = tokio::try_join!(cx.cluster.list("v1", "Node", &everything), cx.cluster.list("v1", "Pod", &everything))?;
    let nodes = nodes::read(&objects, None);
    let free = probe::free_gpus(&nodes, &pods, cx.vendor);
    Ok(room::choose(&nodes, &free, cx.vendor, cx.pods, cx.most_gpus))
}

/// One of the figures of a trial.
type Figure = fn(&Measured) -> Duration;

/// One outcome of those of all gang schedulers: never better than the worst. Pure.
fn sum_up(results: Vec<(String, Tried)>) -> Outcome {
    let total = results.len() * STATEMENTS;
    let figures: Vec<(String, Measured)> = results
        .iter()
        .filter(|(_, tried)| tried.outcome.verdict == Verdict::Pass)
        .map(|(name, tried)| (name.clone(), tried.measured))
        .collect();
    let outcomes = results.into_iter().map(|(name, tried)| (name, tried.outcome)).collect();
    let Some(worst) = worst(outcomes) else { return Outcome::error(ErrorReason::NoSubject, "no gang scheduler was tried") };
    let passed = worst.assertions.passed;
    let mut outcome = worst.asserted(passed, total);
    if figures.is_empty() {
        return outcome;
    }
    let metrics: [(&str, Figure, Option<Duration>); 4] = [
        ("gang_placed_seconds", |measured| measured.placed, Some(limits::GANG_PLACED)),
        ("gang_spread_seconds", |measured| measured.spread, None),
        ("gang_refused_seconds", |measured| measured.refused, Some(limits::GANG_DWELL)),
        ("gang_placed_after_seconds", |measured| measured.after, Some(limits::GANG_PLACED)),
    ];
    for (metric, of, threshold) in metrics {
        let seconds = |measured: &Measured| (of(measured).as_secs_f64() * 1000.0).round() / 1000.0;
        let most = figures.iter().map(|(_, measured)| seconds(measured)).fold(0.0, f64::max);
        outcome = outcome.measured(metric, most, "s").sampled(figures.iter().map(|(name, measured)| (name.clone(), seconds(measured))));
        if let Some(threshold) = threshold {
            outcome = outcome.held_against(threshold.as_secs_f64());
        }
    }
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tried(outcome: Outcome, held: usize) -> Tried {
        Tried {
            outcome: outcome.asserted(held, STATEMENTS),
            measured: Measured { placed: Duration::from_millis(1500), ..Measured::default() },
        }
    }

    #[test]
    fn several_schedulers_are_never_better_than_the_worst_of_them() {
        let named = |outcomes: Vec<(&str, Tried)>| sum_up(outcomes.into_iter().map(|(name, tried)| (name.to_owned(), tried)).collect());
        let good = || tried(Outcome::pass("fine"), STATEMENTS);
        let both = named(vec![("kueue", good()), ("volcano", good())]);
        assert_eq!((both.verdict, both.assertions.passed, both.assertions.total), (Verdict::Pass, 12, 12));
        assert!(both.measurements.iter().any(|one| one.metric == "gang_placed_seconds" && one.samples.len() == 2));
        let one_fails = named(vec![
            ("kueue", good()),
            ("volcano", tried(Outcome::fail("partial"), 1)),
            ("kai", tried(Outcome::error(ErrorReason::Busy, "x"), 0)),
        ]);
        assert_eq!((one_fails.verdict, one_fails.message.as_str()), (Verdict::Fail, "partial"));
        let one_busy = named(vec![("kueue", tried(Outcome::error(ErrorReason::Busy, "x"), 0)), ("volcano", good())]);
        assert_eq!(one_busy.verdict, Verdict::Error(ErrorReason::Busy));
    }

    #[test]
    fn the_waits_of_a_trial_fit_into_its_timeout() {
        // Two trials in which everything takes as long as it may and yet succeeds are beyond any cluster; one is not.
        let placed = limits::GANG_PLACED * 5 + limits::POD_RUNNING * 2 + limits::QUEUE_READY;
        let waits = placed + limits::GANG_DWELL * 4 + limits::CLEANUP * 6;
        assert!(waits < CHECK.timeout, "To fix: raise the timeout of gang-scheduling above {waits:?}");
    }
}
