//! Runs the steps of a plan in order, remembers what has ended, and cleans up; knows nothing of any single step.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use futures::FutureExt;
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use crate::cluster::Cluster;
use crate::digest::Digest;
use crate::error::{Error, Kind, Result};
use crate::journal::{Journal, Record};
use crate::progress;
use crate::results::{Counts, ErrorReason, NotRunReason, Outcome, SkipReason, StepResult, TestResult, Verdict};
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
    /// The most that all steps together may take, where the user says so.
    pub limit: Option<Duration>,
    /// Stop after the first step that fails.
    pub fail_fast: bool,
}

/// Why the steps after some point do not run.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stopped {
    Interrupted,
    /// This step failed, and the user wants to stop at the first failure.
    FailFast(&'static str),
    /// The user's time is up.
    Late(Duration),
    /// The run's Lease is lost: someone took us for dead and may be cleaning up.
    Lost,
}

impl Stopped {
    fn outcome(self) -> Outcome {
        match self {
            Self::Interrupted => Outcome::not_run(NotRunReason::Interrupted, "interrupted"),
            Self::FailFast(step) => Outcome::not_run(NotRunReason::FailFast, format!("--fail-fast, and {step} failed")),
            Self::Late(limit) => Outcome::error(ErrorReason::Timeout, format!("--timeout: the {} s are up", limit.as_secs())),
            Self::Lost => {
                Outcome::error(ErrorReason::Harness, "this run's Lease was taken away: another run or `seatrial cleanup` took it for dead")
            }
        }
    }
}

/// What the engine knows while it goes from step to step.
struct Going {
    state: State,
    /// Facts that hold.
    facts: BTreeSet<Fact>,
    /// Digests of the records of finished steps, by step.
    records: BTreeMap<String, Digest>,
    stopped: Option<Stopped>,
    begun: Instant,
}

impl Engine<'_> {
    /// Runs every step that has not finished with the same inputs, then removes what was created.
    ///
    /// # Errors
    /// [`Kind::Io`] if the journal cannot be written; verdicts and troubles of steps are in the state, not here.
    pub async fn run(&mut self, corner: Corner, facts: &mut RunFacts) -> Result<State> {
        let specs = self.inputs.workflow.workflow.spec.steps.clone();
        let mut going =
            Going { state: State::default(), facts: BTreeSet::new(), records: BTreeMap::new(), stopped: None, begun: Instant::now() };
        let mut corner = Some(corner);
        let walked = self.walk(&specs, &mut corner, facts, &mut going).await;
        // Also when the journal could not be written: nothing stays in the cluster.
        if let Some(corner) = corner.take() {
            self.close(corner, &mut going.state).await;
        }
        walked.map(|()| going.state)
    }

    async fn walk(&mut self, specs: &[StepSpec], corner: &mut Option<Corner>, facts: &mut RunFacts, going: &mut Going) -> Result<()> {
        for (index, spec) in specs.iter().enumerate() {
            let step = steps::find(&spec.id)?;
            if !step.cluster
                && let Some(corner) = corner.take()
            {
                self.close(corner, &mut going.state).await;
            }
            self.step(index + 1, step, spec, corner.as_ref(), facts, going).await?;
        }
        Ok(())
    }

    /// Recalls a step that finished with the same inputs, or runs it and remembers what came of it.
    async fn step(
        &mut self,
        number: usize,
        step: &'static Step,
        spec: &StepSpec,
        corner: Option<&Corner>,
        facts: &mut RunFacts,
        going: &mut Going,
    ) -> Result<()> {
        let inputs = self.inputs_of(step, spec, &going.records)?;
        if going.stopped.is_none()
            && let Some((record, at, digest)) = self.journal.recall(&spec.id, &inputs)?
        {
            let took = Duration::from_millis(record.result.duration_ms);
            progress::step(self.ui, number, &spec.id, &record.result.outcome, took, true);
            facts.finished_at = at;
            self.outputs(&record);
            going.keep(step, record, Some(digest));
            return Ok(());
        }
        self.journal.started(&spec.id, &inputs)?;
        progress::step_started(self.ui, &spec.id);
        let clock = Instant::now();
        let (outcome, produced) = match self.blocked(step, going) {
            Some(blocked) => (blocked, Produced::default()),
            None => match self.run_step(step, spec, going, corner, facts).await {
                (Ok(outcome), produced) => (outcome, produced),
                (Err(stopped), produced) => {
                    going.stopped = Some(stopped);
                    (stopped.outcome(), produced)
                }
            },
        };
        let took = clock.elapsed();
        if self.fail_fast && outcome.verdict == Verdict::Fail && going.stopped.is_none() {
            going.stopped = Some(Stopped::FailFast(step.id));
        }
        let record = record_of(step, self.complete(step, outcome, produced)?, took);
        progress::step(self.ui, number, &spec.id, &record.result.outcome, took, false);
        let mut digest = None;
        if is_final(record.result.outcome.verdict) {
            let (at, written) = self.journal.finished(&spec.id, &inputs, &record)?;
            facts.finished_at = at;
            digest = Some(written);
        } else {
            // Not finished: a resumed run comes back to it. The evidence is still about all that happened until now.
            facts.finished_at = if step.needs.contains(&Fact::Results) { facts.finished_at } else { Timestamp::now() };
        }
        self.outputs(&record);
        going.keep(step, record, digest);
        Ok(())
    }

    /// Sets what the step gives to those after it in a workflow of GitHub's; the run's verdict does not hang on it.
    fn outputs(&self, record: &Record) {
        let outputs: Vec<(&str, &str)> = record.produced.outputs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        if let Err(error) = self.ui.outputs(&outputs) {
            self.ui.warn(error.chain());
        }
    }

    /// What a step's result depends on: tool, workflow, recipe, settings, cluster; the snapshot for those that need it, everything for those that need results.
    fn inputs_of(&self, step: &Step, spec: &StepSpec, records: &BTreeMap<String, Digest>) -> Result<Digest> {
        let header = self.journal.header();
        let settings = self.inputs.settings()?;
        let before: Vec<&Digest> = if step.needs.contains(&Fact::Results) {
            records.values().collect()
        } else if step.needs.contains(&Fact::Snapshot) {
            records.get("snapshot").into_iter().collect()
        } else {
            Vec::new()
        };
        Digest::of_json(&(&header.tool, &header.workflow, &header.recipe, &header.cluster, settings, before, spec))
    }

    async fn run_step(
        &self,
        step: &'static Step,
        spec: &StepSpec,
        going: &Going,
        corner: Option<&Corner>,
        facts: &RunFacts,
    ) -> (Result<Outcome, Stopped>, Produced) {
        let sink = Sink::default();
        let state = &going.state;
        let cx = StepCx { spec, inputs: self.inputs, state, cluster: self.cluster, corner, sink: &sink, ui: self.ui, run: facts };
        let limit = (step.timeout)(self.inputs);
        let work = tokio::time::timeout(limit, AssertUnwindSafe((step.run)(&cx)).catch_unwind());
        let lost = async {
            match corner {
                Some(corner) => corner.lost().await,
                None => std::future::pending().await,
            }
        };
        let late = async {
            match self.limit {
                // What needs results only packages them.
                Some(limit) if !step.needs.contains(&Fact::Results) => {
                    tokio::time::sleep(limit.saturating_sub(going.begun.elapsed())).await;
                    limit
                }
                _ => std::future::pending().await,
            }
        };
        let outcome = tokio::select! {
            biased;
            () = self.cancel.cancelled() => Err(Stopped::Interrupted),
            () = lost => Err(Stopped::Lost),
            limit = late => Err(Stopped::Late(limit)),
            ended = work => Ok(match ended {
                Ok(Ok(Ok(outcome))) => outcome,
                Ok(Ok(Err(error))) => Outcome::from(error),
                Ok(Err(_panic)) => Outcome::error(ErrorReason::Harness, format!("step {} panicked: this is a defect of seatrial", step.id)),
                Err(_) => Outcome::from(Error::new(Kind::Timeout, format!("step {} took more than {} s", step.id, limit.as_secs()))),
            }),
        };
        self.ui.clear_live();
        (outcome, sink.take())
    }

    /// The outcome of a step that cannot run, if so.
    fn blocked(&self, step: &Step, going: &mut Going) -> Option<Outcome> {
        if self.cancel.is_cancelled() {
            going.stopped = Some(Stopped::Interrupted);
        }
        match going.stopped {
            // Evidence records failures, so what needs results still runs.
            Some(Stopped::FailFast(_) | Stopped::Late(_)) if step.needs.contains(&Fact::Results) => {}
            Some(stopped) => return Some(stopped.outcome()),
            None => {}
        }
        let missing = step.needs.iter().find(|fact| **fact != Fact::Results && !going.facts.contains(fact))?;
        let provider = steps::ALL.iter().find(|other| other.provides == Some(*missing)).map_or("no step", |other| other.id);
        Some(Outcome::not_run(NotRunReason::BlockedBy, format!("needs {}, and {provider} did not pass", missing.words())))
    }

    /// Every selected test has a result: those that did not end are `not-run`, with the step's own trouble as the cause.
    fn complete(&self, step: &Step, outcome: Outcome, mut produced: Produced) -> Result<(Outcome, Produced)> {
        let reason = match outcome.verdict {
            Verdict::NotRun(reason) => reason,
            _ => NotRunReason::BlockedBy,
        };
        let selected = (step.tests)(self.inputs)?;
        // In the order in which they were selected: which one ended first is chance, and reports are the same for the same results.
        produced.tests.sort_by_key(|ended| selected.iter().position(|test| test.id == ended.id));
        for test in selected {
            if produced.tests.iter().any(|ended| ended.id == test.id) {
                continue;
            }
            let untold = Outcome::not_run(reason, outcome.message.clone());
            produced.tests.push(TestResult::of(test.id, test.version, step.id, test.phase, untold));
        }
        Ok((outcome, produced))
    }

    /// Removes what was created; trouble with that is a result of its own, so that it reaches report and evidence.
    async fn close(&self, corner: Corner, state: &mut State) {
        let clock = Instant::now();
        self.ui.waiting("what this run created to be gone");
        let closed = corner.close(self.cluster).await;
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

impl Going {
    fn keep(&mut self, step: &Step, record: Record, digest: Option<Digest>) {
        let verdict = record.result.outcome.verdict;
        // Nothing that is declared is missing. What set-up installed is there even if the cluster around it has not settled.
        let installed = step.provides == Some(Fact::Installed) && verdict == Verdict::Error(ErrorReason::Timeout);
        if let Some(fact) = step.provides
            && (verdict == Verdict::Pass || verdict == Verdict::Skip(SkipReason::NotDeclared) || installed)
        {
            self.facts.insert(fact);
        }
        if let Some(digest) = digest {
            self.records.insert(step.id.to_owned(), digest);
        }
        self.state.steps.push(record.result);
        self.state.tests.extend(record.produced.tests);
        self.state.artifacts.extend(record.produced.artifacts);
        if let Some(snapshot) = record.produced.snapshot {
            self.state.snapshot = Some(snapshot);
        }
    }
}

/// True for a verdict that stands; what could not be told or did not run is tried again by a resumed run.
fn is_final(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::Pass | Verdict::Fail | Verdict::Skip(_))
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn record_of(step: &Step, (mut outcome, mut produced): (Outcome, Produced), took: Duration) -> Record {
    let artifacts = std::mem::take(&mut outcome.artifacts);
    if !artifacts.is_empty() {
        produced.artifacts.insert(step.id.to_owned(), artifacts);
    }
    let counts = Counts::of(produced.tests.iter().map(|test| test.outcome.verdict));
    let result = StepResult { id: step.id.to_owned(), outcome, duration_ms: millis(took), counts };
    Record { result, produced }
}
