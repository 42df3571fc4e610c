//! One node: its pod, from creation to removal, and what came of it.

use std::time::Duration;

use backon::Retryable;

use crate::cluster::{Cluster, ObjectRef, Query, Scratch};
use crate::error::{Error, Kind, Result};
use crate::facts::Facts;
use crate::limits;
use crate::node_facts::pod::{self, CONTAINER, Stage};
use crate::node_facts::room::Ask;
use crate::node_facts::{Options, chunks};
use crate::ui::Ui;

/// What is needed to look at one node.
pub(super) struct Visit<'a> {
    pub(super) cluster: &'a Cluster,
    pub(super) scratch: &'a Scratch,
    pub(super) options: &'a Options,
    pub(super) ui: &'a Ui,
    /// The served version of DRA; empty if there is none.
    pub(super) dra: &'a str,
    pub(super) node: &'a str,
    pub(super) ask: Ask,
    /// The name of what is created.
    pub(super) name: String,
}

impl Visit<'_> {
    /// The facts of the node.
    ///
    /// # Errors
    /// Whatever kept them from us; the message says what, and its kind is of no further interest.
    pub(super) async fn facts(&self) -> Result<Facts> {
        let claim = match pod::claim(&self.name, self.ask, self.dra) {
            Some(claim) => Some(self.create(&claim).await?),
            None => None,
        };
        let facts = match self.create(&pod::pod(&self.name, self.node, self.ask, self.options)).await {
            Ok(pod) => {
                let facts = self.of(&pod).await;
                self.remove(&pod).await;
                facts
            }
            Err(error) => Err(error),
        };
        if let Some(claim) = claim {
            self.remove(&claim).await;
        }
        facts
    }

    /// Creates an object, and again while a quota has no room for it: our other pods give some back when they end.
    async fn create(&self, object: &serde_json::Value) -> Result<ObjectRef> {
        let backoff = backon::ExponentialBuilder::default()
            .with_min_delay(limits::BACKOFF_MIN)
            .with_max_delay(limits::BACKOFF_MAX)
            .with_total_delay(Some(self.options.timeout))
            .without_max_times()
            .with_jitter();
        let full = |error: &Error| error.kind() == Kind::Denied && error.chain().contains("exceeded quota");
        (|| self.scratch.create(object.clone())).retry(backoff).when(full).await
    }

    /// What cannot be removed now is removed, or named, when the run's corner is closed.
    async fn remove(&self, object: &ObjectRef) {
        if let Err(error) = self.scratch.remove(object).await {
            self.ui.warn(format!("{object} is still there: {}", error.chain()));
        }
    }

    async fn of(&self, pod: &ObjectRef) -> Result<Facts> {
        self.wait(pod).await?;
        let log = self.cluster.logs(pod, CONTAINER, limits::FACTS_LOG_BYTES).await?;
        let wrong = |why: String| Error::new(Kind::Integrity, why);
        let document = chunks::read(&log).map_err(wrong)?;
        serde_json::from_slice(&document)
            .map_err(|error| Error::new(Kind::Schema, "the facts are of a form that this version does not know").because(error))
    }

    /// Waits until the pod has ended well.
    async fn wait(&self, pod: &ObjectRef) -> Result<()> {
        let placing = self.options.timeout.min(limits::POD_RUNNING);
        let placed = self.until(pod, placing, |stage, has_node| has_node || matches!(stage, Stage::Done | Stage::Dead(_))).await;
        let end = match placed {
            Ok(_) => self.until(pod, self.options.timeout, |stage, _| matches!(stage, Stage::Done | Stage::Dead(_))).await,
            Err(error) => Err(error),
        };
        match end {
            Ok(Some(Stage::Dead(why))) => Err(Error::new(Kind::Unavailable, format!("{why}{}", self.last_words(pod).await))),
            Ok(Some(_)) => Ok(()),
            Ok(None) => Err(Error::new(Kind::Unavailable, "someone else removed its pod")),
            Err(error) if error.kind() == Kind::Timeout => Err(self.late(pod).await),
            Err(error) => Err(error),
        }
    }

    /// Waits until the pod's stage is one that is wanted; `None` if the pod is gone.
    async fn until(&self, pod: &ObjectRef, limit: Duration, wanted: impl Fn(&Stage, bool) -> bool) -> Result<Option<Stage>> {
        let query = Query::within(pod.namespace.as_deref().unwrap_or_default()).named(&pod.name);
        let seen = |pods: &[&serde_json::Value]| match pods.first() {
            None => Some(None),
            Some(seen) => Some(pod::stage(seen)).filter(|stage| wanted(stage, !seen["spec"]["nodeName"].is_null())).map(Some),
        };
        self.cluster.wait_until(("v1", "Pod"), &query, &format!("{pod} to end"), limit, seen).await
    }

    /// Why the pod has not ended in its time.
    async fn late(&self, pod: &ObjectRef) -> Error {
        let seconds = self.options.timeout.as_secs();
        let now = match self.cluster.get("v1", "Pod", pod.namespace.as_deref(), &pod.name).await {
            Ok(Some(now)) => pod::stage(&now),
            Ok(None) => return Error::new(Kind::Unavailable, "someone else removed its pod"),
            Err(error) => return error,
        };
        let why = match now {
            Stage::Waiting(Some(why)) => why,
            Stage::Waiting(None) => format!("its pod does not start within {seconds} s, and nothing says why"),
            Stage::Running => match self.cluster.logs(pod, CONTAINER, limits::FACTS_LOG_BYTES).await {
                Ok(log) => format!("its pod runs and has not ended within {seconds} s{}", words(&log)),
                Err(error) => format!("its pod is said to run and has not ended within {seconds} s; {}", error.chain()),
            },
            Stage::Done | Stage::Dead(_) => format!("its pod ended only after {seconds} s"),
        };
        Error::new(Kind::Timeout, why)
    }

    /// The last line of a pod's log, where there is one.
    async fn last_words(&self, pod: &ObjectRef) -> String {
        self.cluster.logs(pod, CONTAINER, limits::FACTS_LOG_BYTES).await.map(|log| words(&log)).unwrap_or_default()
    }
}

/// `; its log ends with: …`, or nothing where there is nothing.
fn words(log: &str) -> String {
    let last = log.lines().map(str::trim).rfind(|line| !line.is_empty());
    last.map(|line| format!("; its log ends with: {}", line.chars().take(limits::QUOTED_CHARS).collect::<String>())).unwrap_or_default()
}
