//! One gang scheduler tried on one node: what fits is placed, what does not holds nothing, and two that do not fit together do not block each other.

use std::time::Duration;

use serde_json::json;

use crate::checks::Cx;
use crate::checks::gang_scheduling::room::Room;
use crate::checks::gang_scheduling::technology::{Gang, Technology, pod};
use crate::checks::gang_scheduling::timeline::{self, Contest, GANG, PodSight, Refusal, Timeline};
use crate::checks::probe;
use crate::checks::several::{Step, Stop};
use crate::cluster::scratch::RUN;
use crate::cluster::{ObjectRef, Query, Recorder, Scratch};
use crate::error::{Error, Kind, Result};
use crate::limits;
use crate::results::{ErrorReason, Outcome, Verdict};
use crate::snapshot::nodes;

/// Statements of a trial: placed, refused, fewer placed, placed after room was made, one of two placed, the other after it.
pub(super) const STATEMENTS: usize = 6;
/// Windows in which a refusal may be observed; each break of the watch costs one.
const WINDOWS: usize = 3;
/// The scheduler that every cluster has, by which the filler goes past the queue.
const PLAIN: &str = "default-scheduler";

/// What a trial has measured.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Measured {
    /// From submission until all pods of a gang that fits were placed.
    pub(super) placed: Duration,
    /// From the first of them to the last.
    pub(super) spread: Duration,
    /// How long a gang that does not fit was watched and held nothing.
    pub(super) refused: Duration,
    /// From the end of the filler until all pods were placed.
    pub(super) after: Duration,
}

/// What came of a trial.
pub(super) struct Tried {
    pub(super) outcome: Outcome,
    pub(super) measured: Measured,
}

/// Tries a gang scheduler, and removes everything that was made.
pub(super) async fn run(cx: &Cx<'_>, scratch: &Scratch, technology: &Technology, room: &Room) -> Tried {
    let pods = Query::within(&scratch.namespace()).labelled(format!("{RUN}={},{GANG}", scratch.run()));
    let recorder = match cx.cluster.record(("v1", "Pod"), &pods, PodSight::of).await {
        Ok(recorder) => recorder,
        Err(error) => return Tried { outcome: Outcome::from(error), measured: Measured::default() },
    };
    let mut trial =
        Trial { cx, scratch, technology, room, recorder, queues: Vec::new(), gangs: Vec::new(), held: 0, measured: Measured::default() };
    let mut outcome = match trial.all().await {
        Ok(outcome) => outcome,
        Err(Stop::Seen(outcome)) => *outcome,
        Err(Stop::Trouble(error)) => trouble(technology.name(), error),
    };
    let passed = outcome.verdict == Verdict::Pass;
    if !passed {
        outcome = outcome.artifact("events", Some("kubectl get events"), probe::events(&cx.cluster, &scratch.namespace()).await);
    }
    outcome = outcome.artifact("pods of gangs as they changed", None, timeline::artifact(&trial.recorder.so_far()));
    if let Err(error) = trial.remove_all(passed).await
        && passed
    {
        outcome = Outcome::from(error);
    }
    Tried { outcome: outcome.asserted(trial.held, STATEMENTS), measured: trial.measured }
}

/// A webhook of the scheduler that does not answer is the cluster's fault; anything else is that we cannot tell.
fn trouble(name: &str, error: Error) -> Outcome {
    let cause = error.chain();
    if error.kind() == Kind::Unavailable && (cause.contains("failed calling webhook") || cause.contains("conversion webhook")) {
        return Outcome::fail(format!("{name} does not answer, so nothing can be given to it: {cause}"))
            .fix("look at its controller and its webhooks");
    }
    Outcome::from(error.context(format!("try {name}")))
}

struct Trial<'a> {
    cx: &'a Cx<'a>,
    scratch: &'a Scratch,
    technology: &'a Technology,
    room: &'a Room,
    recorder: Recorder<PodSight>,
    /// What was made before the gangs.
    queues: Vec<ObjectRef>,
    /// What was made of each gang.
    gangs: Vec<(&'static str, ObjectRef)>,
    /// Statements that held so far.
    held: usize,
    measured: Measured,
}

impl Trial<'_> {
    async fn all(&mut self) -> Step<Outcome> {
        if let Some(problem) = self.technology.prepare(self.cx, self.scratch, self.room, &mut self.queues).await? {
            return Err(problem.into());
        }
        self.fits().await?;
        self.does_not_fit().await?;
        self.two_do_not_fit().await?;
        let Room { pods, each, node, .. } = self.room;
        let seconds = |time: Duration| format!("{:.1}s", time.as_secs_f64());
        Ok(Outcome::pass(format!(
            "{}: {pods} pods of {each} GPUs on {node} placed in {}; with room for {} of them none held a GPU for {} while a gang of {} was placed; \
             all placed {} after room was made; of two gangs one was placed, and the other after it",
            self.technology.name(),
            seconds(self.measured.placed),
            pods - 1,
            seconds(self.measured.refused),
            pods - 1,
            seconds(self.measured.after),
        )))
    }

    /// A gang that fits is placed as a whole and runs.
    async fn fits(&mut self) -> Step<()> {
        let begun = self.recorder.elapsed();
        self.submit(&[("fits", self.room.pods)]).await?;
        self.placed("fits", self.room.pods, self.room.gang(), "with room for all of them").await?;
        let size = self.room.pods as usize;
        let running =
            |seen: &Timeline| (timeline::pods(seen, "fits").iter().filter(|pod| pod.phase == "Running").count() == size).then_some(());
        if self.recorder.until(limits::POD_RUNNING, running).await?.is_none() {
            return Err(self
                .image_trouble("fits")
                .unwrap_or_else(|| {
                    Outcome::error(
                        ErrorReason::Timeout,
                        format!("the placed pods of {} do not run after {} s", self.name("fits"), limits::POD_RUNNING.as_secs()),
                    )
                })
                .into());
        }
        if let Some((first, last)) = timeline::placed_at(&self.recorder.so_far(), "fits") {
            self.measured.placed = last.saturating_sub(begun);
            self.measured.spread = last.saturating_sub(first);
        }
        self.held += 1;
        self.end("fits").await
    }

    /// With room for all pods but one, none is placed; a gang of all but one is; and with room for all, all are.
    async fn does_not_fit(&mut self) -> Step<()> {
        let (pods, fewer) = (self.room.pods, self.room.pods - 1);
        self.fill().await?;
        self.submit(&[("waits", pods)]).await?;
        for window in 1..=WINDOWS {
            match self.window(fewer).await? {
                Refusal::Seen => break,
                Refusal::Held(_) => return Err(self.partial("waits").await?.into()),
                Refusal::Broken if window < WINDOWS => self.end("control").await?,
                Refusal::Broken | Refusal::Blind => {
                    let message =
                        format!("the watch of pods was cut in each of {WINDOWS} windows, so it cannot be said that none was placed");
                    return Err(Outcome::error(ErrorReason::Unavailable, message).into());
                }
            }
        }
        self.held += 2;
        let begun = self.recorder.elapsed();
        self.end("filler").await?;
        // After the filler: a queue that looks again only when something of its own ends does so now.
        self.end("control").await?;
        self.placed("waits", pods, self.room.gang(), "after room was made").await?;
        if let Some((_, last)) = timeline::placed_at(&self.recorder.so_far(), "waits") {
            self.measured.after = last.saturating_sub(begun);
        }
        self.held += 1;
        self.end("waits").await
    }

    /// One observed window, ended by a gang of one pod fewer, which is placed: the queue, the scheduler, the room and the watch are alive.
    async fn window(&mut self, fewer: u32) -> Step<Refusal> {
        let from = self.recorder.elapsed();
        self.cx.waiting(&format!("{} to be refused for {} s", self.name("waits"), limits::GANG_DWELL.as_secs()));
        let held = |seen: &Timeline| (timeline::holding(seen, "waits") > 0).then_some(());
        if self.recorder.until(limits::GANG_DWELL, held).await?.is_some() {
            return Ok(Refusal::Held(String::new()));
        }
        let watched = self.recorder.elapsed().saturating_sub(from);
        let reason = self.technology.reason(self.cx, &self.scratch.namespace(), "waits").await?;
        self.submit(&[("control", fewer)]).await?;
        let size = fewer as usize;
        let control = |seen: &Timeline| (timeline::holding(seen, "control") == size).then_some(());
        if self.recorder.until(limits::GANG_PLACED, control).await?.is_none() {
            if timeline::holding(&self.recorder.so_far(), "waits") > 0 {
                return Ok(Refusal::Held(String::new()));
            }
            let said = self.technology.reason(self.cx, &self.scratch.namespace(), "control").await?.or(reason);
            let message = format!(
                "nothing of {} was placed, but a gang of {fewer} beside it was not either within {} s, so the refusal is not shown to be for the gang{}",
                self.name("waits"),
                limits::GANG_PLACED.as_secs(),
                said.map(|said| format!(": {said}")).unwrap_or_default()
            );
            return Err(self
                .unless_busy(self.room.filler() + u64::from(fewer) * self.room.each, Outcome::error(ErrorReason::Timeout, message))
                .await?
                .into());
        }
        self.measured.refused = watched;
        Ok(timeline::refused(&self.recorder.so_far(), "waits", "control", from))
    }

    /// Two gangs of which one fits, their pods made in turn: one is placed, the other holds nothing, and is placed after it.
    async fn two_do_not_fit(&mut self) -> Step<()> {
        let size = self.room.pods as usize;
        self.submit(&[("left", self.room.pods), ("right", self.room.pods)]).await?;
        self.cx.waiting("one of two gangs to be placed");
        let won = |seen: &Timeline| match timeline::contest(seen, ["left", "right"], size) {
            Contest::Won(winner, _) | Contest::Greedy(winner, ..) => Some(winner),
            _ => None,
        };
        if self.recorder.until(limits::GANG_PLACED, won).await?.is_none() {
            let seen = self.recorder.so_far();
            let seconds = limits::GANG_PLACED.as_secs();
            let outcome = match timeline::contest(&seen, ["left", "right"], size) {
                Contest::Deadlock(left, right) => Outcome::fail(format!(
                    "{}: of two gangs of {size} pods of which one fits, {left} pods of one and {right} of the other hold GPUs, and neither is whole after {seconds} s: they block each other",
                    self.technology.name()
                ))
                .fix("pods of a gang must be placed together or not at all: look at the gang scheduler's configuration"),
                _ => Outcome::fail(format!("{}: of two gangs of which one fits, none is placed within {seconds} s", self.technology.name())),
            };
            return Err(self.unless_busy(self.room.gang(), outcome).await?.into());
        }
        // Whoever is second must stay so.
        let both = |seen: &Timeline| matches!(timeline::contest(seen, ["left", "right"], size), Contest::Greedy(..)).then_some(());
        self.recorder.until(limits::GANG_DWELL / 2, both).await?;
        let (winner, loser) = match timeline::contest(&self.recorder.so_far(), ["left", "right"], size) {
            Contest::Won(winner, loser) => (winner, loser),
            Contest::Greedy(_, loser, held) => {
                let message = format!(
                    "{}: beside a gang that was placed, {held} of {size} pods of {} hold GPUs",
                    self.technology.name(),
                    self.name(&loser)
                );
                return Err(self.unless_busy(self.room.gang(), Outcome::fail(message)).await?.into());
            }
            other => {
                return Err(Outcome::fail(format!("{}: a gang that was placed did not stay so ({other:?})", self.technology.name())).into());
            }
        };
        self.held += 1;
        self.end(if winner == "left" { "left" } else { "right" }).await?;
        self.placed(&loser, self.room.pods, self.room.gang(), "after the other had ended").await?;
        self.held += 1;
        Ok(())
    }

    /// Takes GPUs past the queue.
    async fn fill(&mut self) -> Step<()> {
        let mut filler = pod(self.cx, self.room, "filler", self.room.filler(), PLAIN);
        filler["apiVersion"] = json!("v1");
        filler["kind"] = json!("Pod");
        filler["metadata"]["name"] = json!("gang-filler");
        let made = self.scratch.create(filler).await?;
        self.gangs.push(("filler", made.clone()));
        let runs = |seen: &Timeline| timeline::pods(seen, "filler").iter().any(|pod| pod.phase == "Running").then_some(());
        if self.recorder.until(limits::POD_RUNNING, runs).await?.is_some() {
            return Ok(());
        }
        let seen = timeline::pods(&self.recorder.so_far(), "filler");
        let refusal = seen.iter().find_map(|pod| pod.refusal.clone()).unwrap_or_else(|| "nothing is said of it".to_owned());
        let outcome = self.image_trouble("filler").unwrap_or_else(|| {
            let message = format!(
                "{made}, which takes {} GPUs away by {PLAIN}, does not run after {} s: {refusal}",
                self.room.filler(),
                limits::POD_RUNNING.as_secs()
            );
            Outcome::error(ErrorReason::Timeout, message)
        });
        Err(self.unless_busy(self.room.filler(), outcome).await?.into())
    }

    /// Makes gangs, their objects in turn.
    async fn submit(&mut self, gangs: &[(&'static str, u32)]) -> Step<()> {
        let objects = gangs.iter().map(|(name, pods)| {
            let gang = Gang { cx: self.cx, room: self.room, name, pods: *pods };
            self.technology.gang(&gang).into_iter().map(|object| (*name, object)).collect::<Vec<_>>()
        });
        let mut lists: Vec<_> = objects.map(Vec::into_iter).collect();
        loop {
            let next: Vec<_> = lists.iter_mut().filter_map(Iterator::next).collect();
            if next.is_empty() {
                return Ok(());
            }
            for (name, object) in next {
                let known = matches!(object["kind"].as_str(), Some("Pod" | "Job"));
                let made = if known { self.scratch.create(object).await } else { self.scratch.create_tied(object).await };
                self.gangs.push((name, made?));
            }
        }
    }

    /// Waits until all pods of a gang are placed.
    async fn placed(&self, gang: &str, pods: u32, gpus: u64, when: &str) -> Step<()> {
        self.cx.waiting(&format!("{} to be placed", self.name(gang)));
        let size = pods as usize;
        let all = |seen: &Timeline| (timeline::holding(seen, gang) == size).then_some(());
        if self.recorder.until(limits::GANG_PLACED, all).await?.is_some() {
            return Ok(());
        }
        let held = timeline::holding(&self.recorder.so_far(), gang);
        let said = match self.technology.reason(self.cx, &self.scratch.namespace(), gang).await? {
            Some(said) => said,
            None => timeline::pods(&self.recorder.so_far(), gang)
                .iter()
                .find_map(|pod| pod.refusal.clone())
                .unwrap_or_else(|| "nothing is said of it".to_owned()),
        };
        let message = format!(
            "{} is not placed {when}: {held} of {size} pods hold GPUs after {} s: {said}",
            self.name(gang),
            limits::GANG_PLACED.as_secs()
        );
        let outcome = Outcome::fail(message)
            .fix(format!("look at {}: is its scheduler running, and may the queue use {gpus} GPUs?", self.technology.name()));
        Err(self.unless_busy(gpus, outcome).await?.into())
    }

    /// The verdict on a gang some pods of which were placed where not all fit.
    async fn partial(&self, gang: &'static str) -> Result<Outcome> {
        // The others of the same cycle: whether all came or some is what the verdict is about.
        let size = self.room.pods as usize;
        let whole = |seen: &Timeline| (timeline::holding(seen, gang) == size).then_some(());
        self.recorder.until(limits::SETTLE_DWELL, whole).await?;
        let held = timeline::holding(&self.recorder.so_far(), gang);
        let message = format!(
            "{} of {size} pods that must start together: {held} hold GPUs on {}, where only {} fit; a gang that does not fit must hold none",
            self.name(gang),
            self.room.node,
            size - 1
        );
        let outcome =
            Outcome::fail(message).fix("pods of a gang must be placed together or not at all: look at the gang scheduler's configuration");
        // All of them fit if somebody else's pods ended in the meantime.
        if held == size && self.free_beside_ours().await? > self.room.free {
            return Ok(Outcome::error(
                ErrorReason::Busy,
                format!("GPUs of node {} became free during the trial, so the gang fitted after all", self.room.node),
            ));
        }
        Ok(outcome)
    }

    /// That others took GPUs which the trial needs, if they did; the outcome otherwise.
    async fn unless_busy(&self, needed: u64, outcome: Outcome) -> Result<Outcome> {
        let free = self.free_beside_ours().await?;
        Ok(if free < needed {
            Outcome::error(
                ErrorReason::Busy,
                format!("others took GPUs of node {} during the trial: {needed} are needed, {free} are left", self.room.node),
            )
            .fix("run again when nobody else uses the node")
        } else {
            outcome
        })
    }

    /// GPUs of the node that nobody but this run holds.
    async fn free_beside_ours(&self) -> Result<u64> {
        let everything = Query::all();
        let (objects, mut pods) =
            tokio::try_join!(self.cx.cluster.list("v1", "Node", &everything), self.cx.cluster.list("v1", "Pod", &everything))?;
        pods.retain(|pod| pod["metadata"]["labels"][GANG].is_null() || pod["metadata"]["labels"][RUN] != self.scratch.run());
        let free = probe::free_gpus(&nodes::read(&objects, None), &pods, self.cx.vendor);
        Ok(free.get(&self.room.node).copied().unwrap_or(0))
    }

    fn image_trouble(&self, gang: &str) -> Option<Outcome> {
        let pods = timeline::pods(&self.recorder.so_far(), gang);
        pods.iter().find_map(|pod| Some(Outcome::error(ErrorReason::Image, format!("pod {}: {}", pod.name, pod.image.as_ref()?))))
    }

    /// A gang's name for people.
    fn name(&self, gang: &str) -> String {
        format!("{} gang {gang}", self.technology.name())
    }

    /// Removes a gang and waits until its pods are gone.
    async fn end(&mut self, gang: &'static str) -> Step<()> {
        let (ended, left) = std::mem::take(&mut self.gangs).into_iter().partition(|(name, _)| *name == gang);
        self.gangs = left;
        let ended: Vec<(&str, ObjectRef)> = ended;
        for (_, object) in ended.iter().rev() {
            self.scratch.remove(object).await?;
        }
        let gone = |seen: &Timeline| timeline::pods(seen, gang).is_empty().then_some(());
        match self.recorder.until(limits::CLEANUP, gone).await? {
            Some(()) => Ok(()),
            None => Err(Error::new(
                Kind::Timeout,
                format!("pods of {} are still there {} s after it was deleted", self.name(gang), limits::CLEANUP.as_secs()),
            )
            .into()),
        }
    }

    /// Removes everything that was made, gangs before queues; what keeps one thing does not keep the others.
    async fn remove_all(&mut self, passed: bool) -> Result<()> {
        let gangs = std::mem::take(&mut self.gangs).into_iter().map(|(_, object)| object);
        let mut first = Ok(());
        for object in gangs.rev() {
            first = first.and(self.scratch.dispose(&object, passed).await.map(drop));
        }
        for object in std::mem::take(&mut self.queues).iter().rev() {
            first = first.and(self.scratch.dispose(object, passed).await.map(drop));
        }
        first
    }
}
