//! Runs the steps of a plan in order, remembers what has ended, and cleans up; knows nothing of any single step.

use std::collections::BTreeSet;
use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use futures::FutureExt;
use jiff::Timestamp;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::cluster::Cluster;
use crate::digest::Digest;
use crate::error::{Error, Kind, Result};
use crate::journal::{Journal, Record};
use crate::progress;
use crate::results::{Counts, ErrorReason, NotRunReason, Outcome, StepResult, TestResult, Verdict};
use crate::steps::{self, Corner, Fact, Inputs, Produced, RunFacts, Sink, State, Step, StepCx};
use crate::ui::Ui;
use crate::workflow::StepSpec;

/// What the engine works with.
pub struct Engine<'a> {
    /// What the run is about.
    pub inputs: &'a Inputs,
    /// The cluster.
    pub cluster: &'a Cluster,
    /// The run's memory.
    pub journal: Journal,
    /// Where progress is shown.
    pub ui: &'a Ui,
    /// Set when the run is to stop.
    pub cancel: CancellationToken,
    /// Stop after the first step that fails.
    pub fail_fast: bool,
}

/// Why the steps after some point do not run.
enum Stopped {
    Interrupted,
    FailFast(String),
    /// The run's Lease is lost: someone took us for dead and may be cleaning up.
    Lost,
}

impl Engine<'_> {
    /// Runs every step that has not finished with the same inputs, then removes what was created.
    ///
    /// # Errors
    /// [`Kind::Io`] if the journal cannot be written; verdicts and troubles of steps are in the state, not here.
    pub async fn run(&mut self, corner: Corner, facts: &mut RunFacts) -> Result<State> {
        let specs = self.inputs.workflow.workflow.spec.steps.clone();
        let mut state = State::default();
        let mut corner = Some(corner);
        let mut holds: BTreeSet<Fact> = BTreeSet::new();
        let mut stopped: Option<Stopped> = None;
        let mut chain = self.first_link()?;
        for (index, spec) in specs.iter().enumerate() {
            let step = steps::find(&spec.id)?;
            if !step.cluster
                && let Some(corner) = corner.take()
            {
                self.close(corner, &mut state).await;
            }
            let inputs = Digest::of_json(&(&chain, spec))?;
            if stopped.is_none()
                && let Some((record, at, digest)) = self.journal.recall(&spec.id, &inputs)?
            {
                progress::step(
                    self.ui,
                    index + 1,
                    &spec.id,
                    &record.result.outcome,
                    Duration::from_millis(record.result.duration_ms),
                    true,
                );
                (facts.finished_at, chain) = (at, digest);
                note_fact(step, record.result.outcome.verdict, &mut holds);
                keep(&mut state, record);
                continue;
            }
            self.journal.started(&spec.id, &inputs)?;
            let clock = Instant::now();
            progress::step_started(self.ui, &spec.id);
            let (outcome, produced) = match (self.blocked(step, &holds, stopped.as_ref()), corner.as_ref()) {
                (Some(blocked), _) => (blocked, Produced::default()),
                (None, open) => {
                    let spare;
                    let corner = match open {
                        Some(corner) => corner,
                        None => {
                            // A step that does not talk to the cluster opens no corner.
                            spare = Corner::new(crate::cluster::scratch::Place {
                                run: facts.id.clone(),
                                namespace: None,
                                lease: crate::limits::LEASE,
                                creates: vec![],
                            });
                            &spare
                        }
                    };
                    self.run_step(step, spec, &state, corner, facts).await
                }
            };
            let took = clock.elapsed();
            let (outcome, produced) = self.complete(step, outcome, produced)?;
            stopped = stopped.or_else(|| self.stops(step, &outcome));
            let record = record_of(step, outcome, produced, took);
            progress::step(self.ui, index + 1, &spec.id, &record.result.outcome, took, false);
            if matches!(record.result.outcome.verdict, Verdict::NotRun(_)) {
                // Not finished: a resumed run comes back to it.
                keep(&mut state, record);
                continue;
            }
            if !was_interrupted(&record) {
                (facts.finished_at, chain) = self.journal.finished(&spec.id, &inputs, &record)?;
            }
            note_fact(step, record.result.outcome.verdict, &mut holds);
            keep(&mut state, record);
        }
        if let Some(corner) = corner.take() {
            self.close(corner, &mut state).await;
        }
        Ok(state)
    }

    /// What all steps depend on: the tool, the workflow, the recipe, the settings, the cluster.
    fn first_link(&self) -> Result<Digest> {
        let header = self.journal.header();
        let settings = json!({"behavioral": self.inputs.behavioral, "maxGpus": self.inputs.max_gpus});
        Digest::of_json(&(&header.tool, &header.workflow, &header.recipe, &header.cluster, settings))
    }

    async fn run_step(
        &self,
        step: &'static Step,
        spec: &StepSpec,
        state: &State,
        corner: &Corner,
        facts: &RunFacts,
    ) -> (Outcome, Produced) {
        let sink = Sink::default();
        let cx = StepCx { spec, inputs: self.inputs, state, cluster: self.cluster, corner, sink: &sink, ui: self.ui, run: facts };
        let limit = (step.timeout)(self.inputs);
        let work = tokio::time::timeout(limit, AssertUnwindSafe((step.run)(&cx)).catch_unwind());
        let outcome = tokio::select! {
            biased;
            () = self.cancel.cancelled() => Outcome::not_run(NotRunReason::Interrupted, "interrupted"),
            () = corner.lost() => Outcome::error(ErrorReason::Harness, "this run's Lease was taken away: another run or `seatrial cleanup` took it for dead"),
            ended = work => match ended {
                Ok(Ok(Ok(outcome))) => outcome,
                Ok(Ok(Err(error))) => Outcome::from(error),
                Ok(Err(_panic)) => Outcome::error(ErrorReason::Harness, format!("step {} panicked: this is a defect of seatrial", step.id)),
                Err(_) => Outcome::from(Error::new(Kind::Timeout, format!("step {} took more than {} s", step.id, limit.as_secs()))),
            },
        };
        self.ui.clear_live();
        (outcome, sink.take())
    }

    /// The outcome of a step that cannot run, if so.
    fn blocked(&self, step: &Step, holds: &BTreeSet<Fact>, stopped: Option<&Stopped>) -> Option<Outcome> {
        if self.cancel.is_cancelled() {
            return Some(Outcome::not_run(NotRunReason::Interrupted, "interrupted"));
        }
        match stopped {
            Some(Stopped::Interrupted) => return Some(Outcome::not_run(NotRunReason::Interrupted, "interrupted")),
            Some(Stopped::Lost) => return Some(Outcome::not_run(NotRunReason::BlockedBy, "this run's Lease was taken away")),
            // Evidence records failures, so what needs results still runs.
            Some(Stopped::FailFast(after)) if !step.needs.contains(&Fact::Results) => {
                return Some(Outcome::not_run(NotRunReason::FailFast, format!("--fail-fast, and {after} failed")));
            }
            _ => {}
        }
        let missing = step.needs.iter().find(|fact| **fact != Fact::Results && !holds.contains(fact))?;
        let provider = steps::ALL.iter().find(|other| other.provides == Some(*missing)).map_or("no step", |other| other.id);
        Some(Outcome::not_run(NotRunReason::BlockedBy, format!("needs {}, and {provider} did not pass", missing.words())))
    }

    /// Every selected test has a result: those that did not end are `not-run`, with the step's own trouble as the cause.
    fn complete(&self, step: &Step, outcome: Outcome, mut produced: Produced) -> Result<(Outcome, Produced)> {
        let reason = match outcome.verdict {
            Verdict::NotRun(reason) => reason,
            _ => NotRunReason::BlockedBy,
        };
        for test in (step.tests)(self.inputs)? {
            if produced.tests.iter().any(|ended| ended.id == test.id) {
                continue;
            }
            produced.tests.push(TestResult {
                id: test.id,
                version: test.version,
                step: step.id.to_owned(),
                phase: test.phase.to_owned(),
                outcome: Outcome::not_run(reason, outcome.message.clone()),
                started_ms: u64::try_from(Timestamp::now().as_millisecond()).unwrap_or(0),
                duration_ms: 0,
                retries: Vec::new(),
            });
        }
        Ok((outcome, produced))
    }

    fn stops(&self, step: &Step, outcome: &Outcome) -> Option<Stopped> {
        match outcome.verdict {
            Verdict::NotRun(NotRunReason::Interrupted) => Some(Stopped::Interrupted),
            Verdict::Error(ErrorReason::Harness) if outcome.message.starts_with("this run's Lease") => Some(Stopped::Lost),
            Verdict::Fail if self.fail_fast => Some(Stopped::FailFast(step.id.to_owned())),
            _ => None,
        }
    }

    /// Removes what was created; trouble with that is a result of its own, so that it reaches report and evidence.
    async fn close(&self, corner: Corner, state: &mut State) {
        let clock = Instant::now();
        self.ui.waiting("what this run created to be gone");
        let closed = corner.close().await;
        self.ui.clear_live();
        if let Err(error) = closed {
            let hint = "`seatrial cleanup` removes what is left once the run's Lease has expired";
            let outcome = Outcome::from(error.context("remove what this run created")).fix(hint);
            progress::step(self.ui, 0, "cleanup", &outcome, clock.elapsed(), false);
            let duration_ms = millis(clock.elapsed());
            state.steps.push(StepResult { id: "cleanup".to_owned(), outcome, duration_ms, counts: Counts::default() });
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn record_of(step: &Step, mut outcome: Outcome, mut produced: Produced, took: Duration) -> Record {
    let artifacts = std::mem::take(&mut outcome.artifacts);
    if !artifacts.is_empty() {
        produced.artifacts.insert(step.id.to_owned(), artifacts);
    }
    let counts = Counts::of(produced.tests.iter().map(|test| test.outcome.verdict));
    let result = StepResult { id: step.id.to_owned(), outcome, duration_ms: millis(took), counts };
    Record { result, produced }
}

fn was_interrupted(record: &Record) -> bool {
    record.produced.tests.iter().any(|test| test.outcome.verdict == Verdict::NotRun(NotRunReason::Interrupted))
}

fn note_fact(step: &Step, verdict: Verdict, holds: &mut BTreeSet<Fact>) {
    // What set-up installed is there even if the cluster around it has not settled.
    let installed = step.provides == Some(Fact::Installed) && verdict == Verdict::Error(ErrorReason::Timeout);
    if let Some(fact) = step.provides
        && (verdict == Verdict::Pass || installed)
    {
        holds.insert(fact);
    }
}

fn keep(state: &mut State, record: Record) {
    state.steps.push(record.result);
    state.tests.extend(record.produced.tests);
    state.artifacts.extend(record.produced.artifacts);
    if let Some(snapshot) = record.produced.snapshot {
        state.snapshot = Some(snapshot);
    }
}
