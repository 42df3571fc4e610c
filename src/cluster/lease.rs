//! Leases: one per run, renewed while it lives, and one that keeps two runs from holding the same GPUs.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::cluster::{Cluster, ObjectRef, Query};
use crate::error::{Error, Kind, Result};

const API_VERSION: &str = "coordination.k8s.io/v1";

/// A Lease that is renewed in the background until it is released or dropped.
#[derive(Debug)]
pub struct HeldLease {
    object: ObjectRef,
    holder: String,
    renewal: JoinHandle<()>,
    lost: watch::Receiver<bool>,
}

impl Drop for HeldLease {
    fn drop(&mut self) {
        // Not released: it expires by itself, and the next run or `seatrial cleanup` removes what is left.
        self.renewal.abort();
    }
}

impl HeldLease {
    /// The Lease itself.
    #[must_use]
    pub fn object(&self) -> &ObjectRef {
        &self.object
    }

    /// Stops renewing and removes the Lease, unless someone else holds it by now.
    ///
    /// # Errors
    /// As [`Cluster::get`] and [`Cluster::delete`].
    pub async fn release(self, cluster: &Cluster) -> Result<()> {
        self.renewal.abort();
        let namespace = self.object.namespace.as_deref();
        while let Some(lease) = cluster.get(API_VERSION, "Lease", namespace, &self.object.name).await? {
            // A Lease that was taken over has the same UID, so only its holder tells.
            let ours = LeaseFacts::of(&lease).holder == self.holder;
            if !ours || cluster.delete(&ObjectRef::as_seen(&lease)).await? {
                break;
            }
        }
        Ok(())
    }

    /// Resolves when the Lease was taken or removed by someone else.
    pub async fn lost(&self) {
        let mut lost = self.lost.clone();
        if lost.wait_for(|lost| *lost).await.is_err() {
            // The renewal task ended without a loss; there is nothing to report.
            std::future::pending::<()>().await;
        }
    }
}

/// What a Lease object says.
#[derive(Clone, Debug)]
pub struct LeaseFacts {
    /// The object.
    pub object: ObjectRef,
    /// Its holder.
    pub holder: String,
    /// When it ends unless renewed; none if it says nothing of the sort.
    pub ends: Option<Timestamp>,
}

impl LeaseFacts {
    /// Reads a Lease's JSON.
    #[must_use]
    pub fn of(lease: &Value) -> Self {
        let text = |pointer: &str| lease.pointer(pointer).and_then(Value::as_str);
        let renewed: Option<Timestamp> = text("/spec/renewTime").and_then(|time| time.parse().ok());
        let seconds = lease.pointer("/spec/leaseDurationSeconds").and_then(Value::as_i64).unwrap_or(0);
        Self {
            object: ObjectRef::of(lease),
            holder: text("/spec/holderIdentity").unwrap_or_default().to_owned(),
            ends: renewed.map(|renewed| renewed + SignedDuration::from_secs(seconds)),
        }
    }

    /// True if its time is over at `now`; a Lease that names no end has none.
    #[must_use]
    pub fn expired(&self, now: Timestamp) -> bool {
        self.ends.is_some_and(|ends| ends < now)
    }
}

/// What a Lease should be.
#[derive(Clone, Debug)]
pub struct LeaseSpec {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Who holds it: the run's id.
    pub holder: String,
    /// How long it lives without renewal.
    pub duration: Duration,
    /// Labels.
    pub labels: Value,
}

impl LeaseSpec {
    fn object(&self, now: Timestamp) -> Value {
        json!({
            "apiVersion": API_VERSION, "kind": "Lease",
            "metadata": {"name": self.name, "namespace": self.namespace, "labels": self.labels},
            "spec": {
                "holderIdentity": self.holder,
                "leaseDurationSeconds": self.duration.as_secs().max(1),
                "acquireTime": micro_time(now), "renewTime": micro_time(now),
            },
        })
    }
}

/// Kubernetes' MicroTime has exactly six digits.
fn micro_time(time: Timestamp) -> String {
    format!("{time:.6}")
}

impl Cluster {
    /// Takes a Lease: makes it, takes over an expired one, or waits until its holder lets go.
    ///
    /// `waiting` is told the holder each time there is someone to wait for.
    ///
    /// # Errors
    /// [`Kind::Timeout`] if the holder does not let go within `limit`; [`Kind::Denied`], [`Kind::Unavailable`].
    pub async fn take_lease(&self, spec: &LeaseSpec, limit: Duration, mut waiting: impl FnMut(&str)) -> Result<HeldLease> {
        let deadline = tokio::time::Instant::now() + limit;
        loop {
            match self.create(&spec.object(self.now())).await {
                Ok(lease) => return Ok(self.keep(spec.clone(), lease)),
                Err(error) if error.kind() == Kind::Conflict => {}
                Err(error) => return Err(error),
            }
            let Some(existing) = self.get(API_VERSION, "Lease", Some(&spec.namespace), &spec.name).await? else { continue };
            let facts = LeaseFacts::of(&existing);
            if facts.holder == spec.holder || facts.expired(self.now()) {
                let mut ours = spec.object(self.now());
                // Replaced only if it is still as we saw it: of two who find it expired, one wins.
                ours["metadata"]["resourceVersion"] = existing["metadata"]["resourceVersion"].clone();
                match self.replace(&ours).await {
                    Ok(lease) => return Ok(self.keep(spec.clone(), lease)),
                    Err(error) if matches!(error.kind(), Kind::Conflict | Kind::NotFound) => continue,
                    Err(error) => return Err(error),
                }
            }
            waiting(&facts.holder);
            self.wait_for_release(&facts, deadline).await?;
        }
    }

    /// Returns when the Lease is gone, changes hands, or has run out.
    async fn wait_for_release(&self, facts: &LeaseFacts, deadline: tokio::time::Instant) -> Result<()> {
        let namespace = facts.object.namespace.clone().unwrap_or_default();
        let query = Query::within(&namespace).named(&facts.object.name);
        let left = deadline.saturating_duration_since(tokio::time::Instant::now());
        if left.is_zero() {
            return Err(Error::new(Kind::Timeout, format!("wait for {}, held by {}", facts.object, facts.holder)));
        }
        let ends = facts.ends.map_or(left, |ends| Duration::try_from(ends.duration_since(self.now())).unwrap_or(Duration::ZERO));
        // A second more: server time is known to a second.
        let until = left.min(ends + Duration::from_secs(1));
        let holder = facts.holder.clone();
        let released = self
            .wait_until((API_VERSION, "Lease"), &query, "the lease to be released", until, |leases| {
                leases.iter().all(|lease| LeaseFacts::of(lease).holder != holder).then_some(())
            })
            .await;
        match released {
            // Not released in its own time: the caller looks again, at a renewed or an expired Lease.
            Err(error) if error.kind() == Kind::Timeout => Ok(()),
            other => other,
        }
    }

    fn keep(&self, spec: LeaseSpec, lease: Value) -> HeldLease {
        let (tell, lost) = watch::channel(false);
        let object = ObjectRef::of(&lease);
        let holder = spec.holder.clone();
        let cluster = self.clone();
        let renewal = tokio::spawn(async move {
            let mut current = lease;
            let mut ticks = tokio::time::interval(spec.duration / 3);
            ticks.tick().await;
            loop {
                ticks.tick().await;
                match cluster.renew(&spec, &current).await {
                    Ok(renewed) => current = renewed,
                    Err(error) if matches!(error.kind(), Kind::Conflict | Kind::NotFound) => {
                        tell.send_replace(true);
                        return;
                    }
                    // A passing trouble: there are two more renewals before the Lease runs out.
                    Err(error) => tracing::warn!(error = error.chain(), "renewing the lease did not work this time"),
                }
            }
        });
        HeldLease { object, holder, renewal, lost }
    }

    async fn renew(&self, spec: &LeaseSpec, current: &Value) -> Result<Value> {
        let mut next = current.clone();
        next["spec"]["renewTime"] = json!(micro_time(self.now()));
        match self.replace(&next).await {
            Err(error) if error.kind() == Kind::Conflict => {
                // Our own earlier write may have gone through although its answer was lost.
                let namespace = Some(spec.namespace.as_str());
                match self.get(API_VERSION, "Lease", namespace, &spec.name).await? {
                    Some(found) if LeaseFacts::of(&found).holder == spec.holder => Ok(found),
                    _ => Err(error),
                }
            }
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_expires_by_its_own_words_and_one_without_words_does_not() {
        let now: Timestamp = "2026-11-22T10:00:31Z".parse().expect("a time");
        let lease = |seconds: i64| json!({"spec": {"holderIdentity": "a", "renewTime": "2026-11-22T10:00:00.000000Z", "leaseDurationSeconds": seconds}});
        assert!(LeaseFacts::of(&lease(30)).expired(now));
        assert!(!LeaseFacts::of(&lease(32)).expired(now));
        assert!(!LeaseFacts::of(&json!({"spec": {}})).expired(now));
    }

    #[test]
    fn a_lease_time_has_six_digits() {
        assert_eq!(micro_time("2026-11-22T10:00:00Z".parse().expect("a time")), "2026-11-22T10:00:00.000000Z");
    }
}
