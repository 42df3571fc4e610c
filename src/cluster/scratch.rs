//! A run's own corner of the cluster: its namespace, its labelled objects, its Lease; and the removal of what is left of dead runs.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::cluster::lease::{HeldLease, LeaseFacts, LeaseSpec};
use crate::cluster::{Cluster, ObjectRef, Query};
use crate::error::{Context, Error, Kind, Result};
use crate::limits;

/// Label that says who made an object.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// Value of [`MANAGED_BY`] on our objects.
pub const OWNER: &str = "seatrial";
/// Label that names the run.
pub const RUN: &str = "seatrial.dev/run";
/// Label that says what an object is for: a run's Lease (`run`), the GPU lock (`gpus`), what set-up applied ([`SETUP`]).
pub const ROLE: &str = "seatrial.dev/role";
/// Value of [`ROLE`] on what set-up applied, which stays until the run ends.
pub const SETUP: &str = "setup";
/// Annotation on a run's Lease: the kinds that it creates outside its namespace, as `apiVersion/kind` separated by spaces.
const CREATES: &str = "seatrial.dev/creates";

/// Where a run puts its objects.
#[derive(Clone, Debug)]
pub struct Place {
    /// The run's id.
    pub run: String,
    /// A namespace that an administrator made; one of the run's own otherwise.
    pub namespace: Option<String>,
    /// How long the run's Lease lives without renewal.
    pub lease: Duration,
    /// Kinds that set-up makes, in its order: apiVersion, kind.
    pub creates: Vec<(String, String)>,
    /// What a test that did not pass created stays, for someone who wants to look at it.
    pub keep: bool,
}

impl Place {
    /// The namespace's name.
    #[must_use]
    pub fn namespace(&self) -> String {
        self.namespace.clone().unwrap_or_else(|| format!("seatrial-{}", self.run))
    }

    /// The namespace of the GPU lock: the administrator's, else `default`, which every cluster has.
    #[must_use]
    pub fn lock_namespace(&self) -> String {
        self.namespace.clone().unwrap_or_else(|| "default".to_owned())
    }

    fn labels(&self) -> Value {
        json!({MANAGED_BY: OWNER, RUN: self.run})
    }
}

/// A run's corner, with its Lease held.
pub struct Scratch {
    cluster: Cluster,
    place: Place,
    lease: HeldLease,
}

impl Scratch {
    /// Makes the namespace (or uses the administrator's) and takes the run's Lease.
    ///
    /// What checks of an earlier process of the same run left there is removed first; what its set-up applied stays.
    ///
    /// # Errors
    /// [`Kind::Denied`] and the like; nothing is left when it fails.
    pub async fn open(cluster: &Cluster, place: Place) -> Result<Self> {
        let name = place.namespace();
        let mut made = None;
        if place.namespace.is_none() && !adopt_namespace(cluster, &place).await? {
            let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": place.labels()}});
            made = Some(ObjectRef::of(&cluster.create(&namespace).await?));
        }
        if made.is_none() {
            sweep_namespace(cluster, &name, &format!("{RUN}={},{ROLE}!={SETUP}", place.run)).await?;
        }
        let spec = LeaseSpec {
            namespace: name.clone(),
            name: format!("seatrial-run-{}", place.run),
            holder: place.run.clone(),
            duration: place.lease,
            labels: json!({MANAGED_BY: OWNER, RUN: place.run, ROLE: "run"}),
        };
        let creates = place.creates.iter().map(|(api_version, kind)| format!("{api_version}/{kind}")).collect::<Vec<_>>().join(" ");
        let taken = cluster.take_lease(&spec, limits::CLEANUP, |_| {}).await;
        let lease = match (taken, &made) {
            (Ok(lease), _) => lease,
            (Err(error), Some(namespace)) => {
                // The first error is the one to report.
                cluster.delete(namespace).await.unwrap_or(false);
                return Err(error);
            }
            (Err(error), None) => return Err(error),
        };
        if !creates.is_empty() {
            let note = json!({
                "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
                "metadata": {"name": spec.name, "namespace": name, "annotations": {CREATES: creates}},
            });
            cluster.apply(&note, OWNER, false).await.context("note what set-up will create")?;
        }
        Ok(Self { cluster: cluster.clone(), place, lease })
    }

    /// The namespace's name.
    #[must_use]
    pub fn namespace(&self) -> String {
        self.place.namespace()
    }

    /// Where it is.
    #[must_use]
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// The run's id.
    #[must_use]
    pub fn run(&self) -> &str {
        &self.place.run
    }

    /// Resolves when someone else took the run for dead.
    pub async fn lost(&self) {
        self.lease.lost().await;
    }

    /// Adds our labels to an object, and our namespace where it has none and `namespaced` says that it wants one.
    #[must_use]
    pub fn own(&self, mut object: Value, namespaced: bool) -> Value {
        object["metadata"]["labels"][MANAGED_BY] = json!(OWNER);
        object["metadata"]["labels"][RUN] = json!(self.place.run);
        if namespaced && object["metadata"]["namespace"].is_null() {
            object["metadata"]["namespace"] = json!(self.namespace());
        }
        object
    }

    /// Creates a namespaced object of ours.
    ///
    /// # Errors
    /// As [`Cluster::create`].
    pub async fn create(&self, object: Value) -> Result<ObjectRef> {
        Ok(ObjectRef::of(&self.cluster.create(&self.own(object, true)).await?))
    }

    /// Creates a namespaced object of a kind that the sweep of a namespace does not know: it belongs to the run's Lease, so that it goes with
    /// that even if we are killed.
    ///
    /// # Errors
    /// As [`Cluster::create`].
    pub async fn create_tied(&self, object: Value) -> Result<ObjectRef> {
        let mut object = self.own(object, true);
        let lease = self.lease.object();
        object["metadata"]["ownerReferences"] =
            json!([{"apiVersion": lease.api_version, "kind": lease.kind, "name": lease.name, "uid": lease.uid}]);
        Ok(ObjectRef::of(&self.cluster.create(&object).await?))
    }

    /// Creates an object outside namespaces. Its kind is one of [`Place::creates`], so that cleanup finds it even if we are killed.
    ///
    /// # Errors
    /// As [`Cluster::create`]; an internal error if cleanup would not find it.
    pub async fn create_outside(&self, object: Value) -> Result<ObjectRef> {
        let named = ObjectRef::of(&object);
        let kinds: Vec<&str> = self.place.creates.iter().map(|(_, kind)| kind.as_str()).collect();
        if !kinds.contains(&named.kind.as_str()) {
            return Err(Error::internal(format!("create {named}: cleanup would not find it, it looks for {}", kinds.join(", "))));
        }
        Ok(ObjectRef::of(&self.cluster.create(&self.own(object, false)).await?))
    }

    /// Deletes an object of ours and waits until it is gone.
    ///
    /// # Errors
    /// [`Kind::Timeout`] if something keeps it; as [`Cluster::delete`] otherwise.
    pub async fn remove(&self, object: &ObjectRef) -> Result<()> {
        remove_and_wait(&self.cluster, object).await
    }

    /// As [`Scratch::remove`], unless what a test that did not pass created is to stay; says whether it is gone.
    ///
    /// # Errors
    /// As [`Scratch::remove`].
    pub async fn dispose(&self, object: &ObjectRef, passed: bool) -> Result<bool> {
        if self.place.keep && !passed {
            return Ok(false);
        }
        self.remove(object).await.map(|()| true)
    }

    /// Removes everything of this run, what set-up made last first, and then its Lease.
    ///
    /// # Errors
    /// [`Kind::Timeout`] if something is still there after [`limits::CLEANUP`]; the message names it.
    pub async fn close(self) -> Result<()> {
        remove_objects(&self.cluster, &self.place).await?;
        // Only now: while it is held, nobody else takes the run for dead and sweeps beside us.
        self.lease.release(&self.cluster).await?;
        remove_leases(&self.cluster, &self.place).await
    }
}

/// Removes everything that an earlier process of a run left, its Leases last.
///
/// # Errors
/// As [`Scratch::close`].
pub async fn remove_run(cluster: &Cluster, place: &Place) -> Result<()> {
    remove_objects(cluster, place).await?;
    remove_leases(cluster, place).await
}

/// Removes what set-up applied (the last first) and the run's namespace, or its objects in the administrator's.
async fn remove_objects(cluster: &Cluster, place: &Place) -> Result<()> {
    let ours = format!("{MANAGED_BY}={OWNER},{RUN}={}", place.run);
    for object in outside_objects(cluster, &place.creates, &place.run).await? {
        remove_and_wait(cluster, &object).await?;
    }
    if place.namespace.is_some() {
        sweep_namespace(cluster, &place.namespace(), &ours).await?;
    } else {
        for namespace in cluster.list("v1", "Namespace", &Query::all().labelled(ours.as_str()).named(&place.namespace())).await? {
            remove_and_wait(cluster, &ObjectRef::of(&namespace)).await?;
        }
    }
    Ok(())
}

/// Removes the run's Lease and the GPU lock, where nobody of the run lives to hold them.
async fn remove_leases(cluster: &Cluster, place: &Place) -> Result<()> {
    let ours = format!("{MANAGED_BY}={OWNER},{RUN}={}", place.run);
    let leases = Query::within(&place.lock_namespace()).labelled(ours);
    for lease in cluster.list("coordination.k8s.io/v1", "Lease", &leases).await? {
        // One that another run takes over in this moment is that run's.
        remove_and_wait(cluster, &ObjectRef::as_seen(&lease)).await?;
    }
    Ok(())
}

/// True if the namespace of an earlier process of the same run is there and can be used; one that is ending is waited for.
async fn adopt_namespace(cluster: &Cluster, place: &Place) -> Result<bool> {
    let ours = Query::all().labelled(format!("{RUN}={}", place.run)).named(&place.namespace());
    for namespace in cluster.list("v1", "Namespace", &ours).await? {
        if namespace["metadata"]["deletionTimestamp"].is_null() {
            return Ok(true);
        }
        remove_and_wait(cluster, &ObjectRef::of(&namespace)).await?;
    }
    Ok(false)
}

/// Takes the lock under which GPUs are held, waiting for other runs.
///
/// # Errors
/// As [`Cluster::take_lease`].
pub async fn lock_gpus(cluster: &Cluster, place: &Place, limit: Duration, waiting: impl FnMut(&str)) -> Result<HeldLease> {
    let spec = LeaseSpec {
        namespace: place.lock_namespace(),
        name: "seatrial-gpus".to_owned(),
        holder: place.run.clone(),
        duration: place.lease,
        labels: json!({MANAGED_BY: OWNER, RUN: place.run, ROLE: "gpus"}),
    };
    cluster.take_lease(&spec, limit, waiting).await
}

/// What cleanup found of one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remains {
    /// The run's id.
    pub run: String,
    /// What is there: namespaces, Leases, objects outside namespaces.
    pub objects: Vec<ObjectRef>,
}

/// Finds what runs left whose Lease has expired; runs that live, and `except`, are left alone.
///
/// # Errors
/// [`Kind::Denied`] if namespaces or Leases cannot be listed, and the like.
pub async fn remains(cluster: &Cluster, except: Option<&str>) -> Result<Vec<Remains>> {
    let ours = format!("{MANAGED_BY}={OWNER},{RUN}");
    let leases = cluster.list("coordination.k8s.io/v1", "Lease", &Query::all().labelled(ours.as_str())).await?;
    let namespaces = cluster.list("v1", "Namespace", &Query::all().labelled(ours.as_str())).await?;
    let now = cluster.now();
    let mut found: Vec<Remains> = Vec::new();
    for run in dead_runs(&leases, &namespaces, now) {
        if except == Some(run.as_str()) {
            continue;
        }
        let of_run = |object: &&Value| object["metadata"]["labels"][RUN] == run.as_str();
        let mut objects: Vec<ObjectRef> = Vec::new();
        for lease in leases.iter().filter(of_run) {
            let noted = lease["metadata"]["annotations"][CREATES].as_str().unwrap_or_default();
            let noted: Vec<(String, String)> = noted
                .split_whitespace()
                .filter_map(|entry| entry.rsplit_once('/'))
                .map(|(version, kind)| (version.to_owned(), kind.to_owned()))
                .collect();
            objects.extend(outside_objects(cluster, &noted, &run).await?);
        }
        objects.extend(namespaces.iter().filter(of_run).map(ObjectRef::of));
        // A Lease that another run takes over in this moment is that run's.
        objects.extend(leases.iter().filter(of_run).map(ObjectRef::as_seen));
        found.push(Remains { run, objects });
    }
    Ok(found)
}

/// Runs that live, or were alive until a moment ago: their Leases have not run out.
///
/// # Errors
/// As [`remains`].
pub async fn living(cluster: &Cluster) -> Result<Vec<String>> {
    let ours = format!("{MANAGED_BY}={OWNER},{RUN}");
    let leases = cluster.list("coordination.k8s.io/v1", "Lease", &Query::all().labelled(ours.as_str())).await?;
    let now = cluster.now();
    let alive = leases.iter().filter(|lease| !LeaseFacts::of(lease).expired(now));
    let runs: BTreeSet<String> = alive.filter_map(|lease| Some(lease["metadata"]["labels"][RUN].as_str()?.to_owned())).collect();
    Ok(runs.into_iter().collect())
}

/// Removes what [`remains`] found: objects first, the Lease last, so that a cut-off cleanup can be repeated.
///
/// # Errors
/// As [`Scratch::close`].
pub async fn remove_remains(cluster: &Cluster, remains: &Remains) -> Result<()> {
    for object in &remains.objects {
        if object.kind == "Lease"
            && let Some(namespace) = &object.namespace
        {
            sweep_namespace(cluster, namespace, &format!("{MANAGED_BY}={OWNER},{RUN}={}", remains.run)).await?;
        }
        remove_and_wait(cluster, object).await?;
    }
    Ok(())
}

/// Runs without a living Lease. A namespace without any is a run that is just beginning, until a Lease's time has passed.
fn dead_runs(leases: &[Value], namespaces: &[Value], now: Timestamp) -> Vec<String> {
    let run_of = |object: &Value| object["metadata"]["labels"][RUN].as_str().unwrap_or_default().to_owned();
    let alive = |run: &str| leases.iter().any(|lease| run_of(lease) == run && !LeaseFacts::of(lease).expired(now));
    let young = |namespace: &Value| {
        let made = namespace["metadata"]["creationTimestamp"].as_str().and_then(|time| time.parse::<Timestamp>().ok());
        let grace = SignedDuration::try_from(limits::LEASE).unwrap_or(SignedDuration::MAX);
        made.is_none_or(|made| made + grace > now)
    };
    let mut runs: Vec<String> = leases.iter().map(run_of).collect();
    let without_lease = namespaces.iter().filter(|namespace| !leases.iter().any(|lease| run_of(lease) == run_of(namespace)));
    runs.extend(without_lease.filter(|namespace| !young(namespace)).map(run_of));
    runs.sort();
    runs.dedup();
    runs.retain(|run| !run.is_empty() && !alive(run));
    runs
}

/// Objects of a run of the kinds that its set-up makes, found by label; kinds made last come first.
async fn outside_objects(cluster: &Cluster, kinds: &[(String, String)], run: &str) -> Result<Vec<ObjectRef>> {
    let mut found = Vec::new();
    for (api_version, kind) in kinds.iter().rev() {
        let query = Query::all().labelled(format!("{MANAGED_BY}={OWNER},{RUN}={run}"));
        match cluster.list(api_version, kind, &query).await {
            Ok(objects) => found.extend(objects.iter().map(ObjectRef::of)),
            Err(error) if error.kind() == Kind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

/// Kinds that checks and steps create in a namespace; workloads before what they hold.
pub const NAMESPACED: &[(&str, &str)] = &[
    ("autoscaling/v2", "HorizontalPodAutoscaler"),
    ("batch/v1", "Job"),
    ("apps/v1", "Deployment"),
    ("v1", "Pod"),
    ("resource.k8s.io/v1", "ResourceClaimTemplate"),
    ("resource.k8s.io/v1", "ResourceClaim"),
];

/// Kinds that a check creates where the cluster serves them, with permissions of its own: who may not list them has not made any.
const SOMETIMES: &[(&str, &str)] = &[("monitoring.coreos.com/v1", "PodMonitor")];

/// Removes a run's objects, given by their labels, from a namespace that stays.
async fn sweep_namespace(cluster: &Cluster, namespace: &str, labels: &str) -> Result<()> {
    for (api_version, kind) in NAMESPACED.iter().chain(SOMETIMES) {
        let query = Query::within(namespace).labelled(labels);
        let objects = match cluster.list(api_version, kind, &query).await {
            Ok(objects) => objects,
            // An API server without DRA serves no claims, so there are none to sweep.
            Err(error) if error.kind() == Kind::NotFound => continue,
            Err(error) if error.kind() == Kind::Denied && SOMETIMES.contains(&(*api_version, *kind)) => continue,
            Err(error) => return Err(error),
        };
        for object in &objects {
            remove_and_wait(cluster, &ObjectRef::of(object)).await?;
        }
    }
    Ok(())
}

async fn remove_and_wait(cluster: &Cluster, object: &ObjectRef) -> Result<()> {
    if !cluster.delete(object).await? {
        return Ok(());
    }
    let query = Query { namespace: object.namespace.clone(), ..Query::default() }.named(&object.name);
    let uid = object.uid.clone().unwrap_or_default();
    let gone = cluster
        .wait_until((&object.api_version, &object.kind), &query, &format!("{object} to be gone"), limits::CLEANUP, |seen| {
            seen.iter().all(|seen| seen["metadata"]["uid"] != uid.as_str()).then_some(())
        })
        .await;
    gone.map_err(|error| match error.kind() {
        Kind::Timeout => Error::new(Kind::Timeout, format!("{object} is still there {} s after it was deleted", limits::CLEANUP.as_secs()))
            .hint(format!("look at its finalizers: {}", object.kubectl_get())),
        _ => error,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease(run: &str, renewed: &str) -> Value {
        json!({"metadata": {"labels": {RUN: run}}, "spec": {"holderIdentity": run, "renewTime": renewed, "leaseDurationSeconds": 30}})
    }

    fn namespace(run: &str, made: &str) -> Value {
        json!({"metadata": {"labels": {RUN: run}, "creationTimestamp": made}})
    }

    #[test]
    fn only_runs_whose_every_lease_is_over_are_dead_and_a_beginning_run_is_not() {
        let now: Timestamp = "2026-11-22T10:01:00Z".parse().expect("a time");
        let leases = [
            lease("living", "2026-11-22T10:00:50.000000Z"),
            lease("dead", "2026-11-22T10:00:00.000000Z"),
            lease("mixed", "2026-11-22T10:00:00.000000Z"),
            lease("mixed", "2026-11-22T10:00:50.000000Z"),
        ];
        let namespaces = [
            namespace("living", "2026-11-22T09:00:00Z"),
            namespace("beginning", "2026-11-22T10:00:55Z"),
            namespace("stillborn", "2026-11-22T09:00:00Z"),
        ];
        assert_eq!(dead_runs(&leases, &namespaces, now), ["dead", "stillborn"]);
    }
}
