//! Records objects for a while: everything that a watch says of them, in order, and where the watch was broken.
//!
//! That something never happens can only be said of a watch without a break. A watch that resumes where it was cut is whole; one that had to
//! list anew may have missed what came and went in between, and says so.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::StreamExt;
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt, watcher as watch};
use serde_json::Value;
use tokio::sync::watch as channel;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use crate::cluster::read::complete;
use crate::cluster::wait::explain_watch;
use crate::cluster::{Cluster, Query};
use crate::error::{Error, Kind, Result};

/// One thing that was seen of one object.
#[derive(Clone, Debug)]
pub struct Sight<T> {
    /// When, since the recording began.
    pub at: Duration,
    /// The object's UID.
    pub uid: String,
    /// True if the object is gone; `what` is then its last state.
    pub gone: bool,
    /// What was seen.
    pub what: T,
}

/// What was seen so far.
#[derive(Clone, Debug)]
pub struct Recording<T> {
    /// In the order in which the API server told it.
    pub sights: Vec<Sight<T>>,
    /// When the watch had to list anew.
    pub breaks: Vec<Duration>,
    /// Why nothing more will be seen.
    pub ended: Option<(Kind, String)>,
    /// True once everything that was there at the beginning has been seen.
    pub listed: bool,
}

impl<T> Default for Recording<T> {
    fn default() -> Self {
        Self { sights: Vec::new(), breaks: Vec::new(), ended: None, listed: false }
    }
}

impl<T: Clone> Recording<T> {
    /// The latest state of each object that is there.
    #[must_use]
    pub fn latest(&self) -> Vec<T> {
        let mut last: BTreeMap<&str, &Sight<T>> = BTreeMap::new();
        for sight in &self.sights {
            last.insert(&sight.uid, sight);
        }
        last.into_values().filter(|sight| !sight.gone).map(|sight| sight.what.clone()).collect()
    }
}

/// A recording that goes on until it is dropped.
pub struct Recorder<T> {
    seen: channel::Receiver<Recording<T>>,
    began: Instant,
    _task: AbortOnDropHandle<()>,
}

impl<T: Clone> Recorder<T> {
    /// What was seen so far.
    #[must_use]
    pub fn so_far(&self) -> Recording<T> {
        self.seen.borrow().clone()
    }

    /// The time since the recording began.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// Waits until `condition` yields something of what was seen, and returns that; `None` after `limit`.
    ///
    /// # Errors
    /// If the watch ended: refused, or the kind is not served any more.
    pub async fn until<R>(&self, limit: Duration, mut condition: impl FnMut(&Recording<T>) -> Option<R>) -> Result<Option<R>> {
        let deadline = Instant::now() + limit;
        let mut seen = self.seen.clone();
        loop {
            {
                let recording = seen.borrow_and_update();
                if let Some((kind, message)) = &recording.ended {
                    return Err(Error::new(*kind, message.clone()));
                }
                if recording.listed
                    && let Some(found) = condition(&recording)
                {
                    return Ok(Some(found));
                }
            }
            match tokio::time::timeout_at(deadline, seen.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return Err(Error::internal("record objects: the recording ended")),
                Err(_) => return Ok(None),
            }
        }
    }
}

impl Cluster {
    /// Begins to record objects; of each, what `of` makes of it is kept.
    ///
    /// # Errors
    /// As [`Cluster::list`].
    pub async fn record<T: Clone + Send + Sync + 'static>(
        &self,
        (api_version, kind): (&'static str, &'static str),
        query: &Query,
        of: impl Fn(&Value) -> T + Send + 'static,
    ) -> Result<Recorder<T>> {
        let api = self.api(api_version, kind, query.namespace.as_deref()).await?;
        let config =
            watcher::Config { label_selector: query.labels.clone(), field_selector: query.fields.clone(), ..watcher::Config::default() };
        let (tell, seen) = channel::channel(Recording::default());
        let began = Instant::now();
        let doing = format!("record {kind} of {api_version}");
        let task = tokio::spawn(async move {
            let mut events = std::pin::pin!(watch(api, config).default_backoff());
            let mut there: BTreeMap<String, T> = BTreeMap::new();
            let mut relisted: Option<BTreeMap<String, T>> = None;
            while let Some(event) = events.next().await {
                let at = began.elapsed();
                match event {
                    Ok(Event::Init) => {
                        relisted = Some(BTreeMap::new());
                        tell.send_modify(|recording| {
                            if recording.listed {
                                recording.breaks.push(at);
                            }
                        });
                    }
                    Ok(Event::InitDone) => {
                        let now = relisted.take().unwrap_or_default();
                        let gone: Vec<(String, T)> = there
                            .iter()
                            .filter(|(uid, _)| !now.contains_key(*uid))
                            .map(|(uid, what)| (uid.clone(), what.clone()))
                            .collect();
                        there = now;
                        tell.send_modify(|recording| {
                            recording.listed = true;
                            recording.sights.extend(gone.into_iter().map(|(uid, what)| Sight { at, uid, gone: true, what }));
                        });
                    }
                    Ok(Event::InitApply(object) | Event::Apply(object)) => {
                        let uid = object.metadata.uid.clone().unwrap_or_default();
                        let Ok(object) = complete(object, api_version, kind) else { continue };
                        let what = of(&object);
                        relisted.as_mut().unwrap_or(&mut there).insert(uid.clone(), what.clone());
                        tell.send_modify(|recording| recording.sights.push(Sight { at, uid, gone: false, what }));
                    }
                    Ok(Event::Delete(object)) => {
                        let uid = object.metadata.uid.clone().unwrap_or_default();
                        if let Some(what) = there.remove(&uid) {
                            tell.send_modify(|recording| recording.sights.push(Sight { at, uid, gone: true, what }));
                        }
                    }
                    Err(error) => {
                        let error = explain_watch(error, &doing);
                        if matches!(error.kind(), Kind::Denied | Kind::NotFound) {
                            tell.send_modify(|recording| recording.ended = Some((error.kind(), error.chain())));
                            return;
                        }
                    }
                }
            }
        });
        Ok(Recorder { seen, began, _task: AbortOnDropHandle::new(task) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_state_is_that_of_objects_that_are_there() {
        let sight = |uid: &str, gone: bool, what: u8| Sight { at: Duration::ZERO, uid: uid.to_owned(), gone, what };
        let recording = Recording {
            sights: vec![sight("a", false, 1), sight("b", false, 2), sight("a", false, 3), sight("b", true, 2)],
            ..Recording::default()
        };
        assert_eq!(recording.latest(), [3]);
    }
}
