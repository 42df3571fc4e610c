//! Waits for a condition by watching: resumes after cut connections and 410, ends at a deadline, never sleeps blindly.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::StreamExt;
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt, watcher as watch};
use serde_json::Value;
use tokio::time::Instant;

use crate::cluster::read::complete;
use crate::cluster::{Cluster, Query, trouble};
use crate::error::{Error, Kind, Result};

impl Cluster {
    /// Watches objects until `condition` yields something, and returns that.
    ///
    /// The condition sees all objects of the query, after the first full list and after each change.
    ///
    /// # Errors
    /// [`Kind::Timeout`] after `limit`, with what was being waited for; [`Kind::Denied`] if the watch is refused;
    /// [`Kind::NotFound`] if the kind is not served.
    pub async fn wait_until<T>(
        &self,
        (api_version, kind): (&str, &str),
        query: &Query,
        waiting_for: &str,
        limit: Duration,
        mut condition: impl FnMut(&[&Value]) -> Option<T>,
    ) -> Result<T> {
        let api = self.api(api_version, kind, query.namespace.as_deref()).await?;
        let config =
            watcher::Config { label_selector: query.labels.clone(), field_selector: query.fields.clone(), ..watcher::Config::default() };
        let mut events = std::pin::pin!(watch(api, config).default_backoff());
        let deadline = Instant::now() + limit;
        let mut objects: BTreeMap<String, Value> = BTreeMap::new();
        let mut listed = false;
        let mut last_trouble = None;
        loop {
            let event = match tokio::time::timeout_at(deadline, events.next()).await {
                Ok(Some(event)) => event,
                Ok(None) => return Err(Error::internal(format!("wait for {waiting_for}: the watch ended"))),
                Err(_) => return Err(out_of_time(waiting_for, limit, last_trouble)),
            };
            match event {
                // Listed anew, as after 410: until that is complete, a condition would see too little.
                Ok(Event::Init) => {
                    objects.clear();
                    listed = false;
                }
                Ok(Event::InitDone) => listed = true,
                Ok(Event::InitApply(object) | Event::Apply(object)) => {
                    let key = object.metadata.uid.clone().unwrap_or_default();
                    objects.insert(key, complete(object, api_version, kind)?);
                }
                Ok(Event::Delete(object)) => {
                    objects.remove(&object.metadata.uid.unwrap_or_default());
                }
                Err(error) => {
                    let error = explain_watch(error, &format!("watch {kind} of {api_version}"));
                    if matches!(error.kind(), Kind::Denied | Kind::NotFound) {
                        return Err(error);
                    }
                    last_trouble = Some(error);
                    continue;
                }
            }
            last_trouble = None;
            if listed {
                let seen: Vec<&Value> = objects.values().collect();
                if let Some(found) = condition(&seen) {
                    return Ok(found);
                }
            }
        }
    }
}

fn out_of_time(waiting_for: &str, limit: Duration, last_trouble: Option<Error>) -> Error {
    let message = format!("{waiting_for}: not seen within {} s", limit.as_secs());
    match last_trouble {
        // The watch itself was in trouble: that is not being able to tell, with a better reason.
        Some(trouble) => Error::new(trouble.kind(), message).because(trouble),
        None => Error::new(Kind::Timeout, message),
    }
}

pub(super) fn explain_watch(error: watcher::Error, doing: &str) -> Error {
    match error {
        watcher::Error::InitialListFailed(error) | watcher::Error::WatchStartFailed(error) | watcher::Error::WatchFailed(error) => {
            trouble::explain(error, doing)
        }
        watcher::Error::WatchError(status) => trouble::explain(kube::Error::Api(status), doing),
        other => Error::new(Kind::Unavailable, format!("{doing}: {other}")),
    }
}
