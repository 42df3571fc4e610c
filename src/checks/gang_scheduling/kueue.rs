//! Kueue: a gang is a Job that a queue lets in as a whole.
//!
//! By its quota alone Kueue lets a Job in without knowing whether its pods find room. With a topology down to the node it counts free GPUs, those
//! that pods outside its queues hold among them, and refuses what does not fit. So the queue that is made for a run has such a topology, and a
//! quota that never decides.

use serde_json::{Value, json};

use crate::checks::Cx;
use crate::checks::gang_scheduling::room::{HOSTNAME, Room};
use crate::checks::gang_scheduling::technology::{Gang, Structure, condition, message_of};
use crate::cluster::{Access, ObjectRef, Place, Query, Scratch};
use crate::error::{Error, Kind, Result};
use crate::limits;
use crate::results::Outcome;

const GROUP: &str = "kueue.x-k8s.io";
const JOB_QUEUE: &str = "kueue.x-k8s.io/queue-name";
const ANY_TOPOLOGY: &str = "kueue.x-k8s.io/podset-unconstrained-topology";
/// The LocalQueue of a run.
const QUEUE: &str = "seatrial-gang";
/// More of everything than a trial can ask for, so that the quota never decides.
const PLENTY: &str = "1000000";
/// Verbs on objects that a trial makes and removes.
const MAKES: &[&str] = &["create", "delete", "get", "list", "watch"];
/// Kinds of a queue of our own outside namespaces, in the order in which they are made.
const OUTSIDE: [(&str, &str); 3] = [("Topology", "topologies"), ("ResourceFlavor", "resourceflavors"), ("ClusterQueue", "clusterqueues")];

/// Names of Kueue's Deployment.
pub(super) const DEPLOYMENTS: &[&str] = &["kueue-controller-manager"];

/// How Kueue is used.
#[derive(Clone, Debug)]
pub(super) struct Kueue {
    /// The ClusterQueue that the recipe names.
    pub(super) queue: Option<String>,
}

impl Kueue {
    /// The served `apiVersion`, the newest that is known first.
    async fn version(cx: &Cx<'_>) -> Result<Option<String>> {
        let groups = cx.cluster.api_groups().await?;
        let served = groups.get(GROUP).map(Vec::as_slice).unwrap_or_default();
        let known = ["v1beta2", "v1beta1"].into_iter().find(|version| served.iter().any(|one| one == version));
        Ok(known.map(|version| format!("{GROUP}/{version}")))
    }

    pub(super) async fn served(cx: &Cx<'_>) -> Result<bool> {
        Ok(Self::version(cx).await?.is_some())
    }

    /// What has to be there: its API with topologies, and the queue that the recipe names, active.
    pub(super) async fn structure(&self, cx: &Cx<'_>) -> Result<Structure> {
        let Some(version) = Self::version(cx).await? else {
            return Ok(Structure::wrong(
                format!("the API server serves no {GROUP}"),
                "install Kueue, or take it out of spec.gangSchedulers".to_owned(),
            ));
        };
        let Some(name) = &self.queue else {
            return match cx.cluster.is_namespaced(&version, "Topology").await {
                Ok(_) => Ok(Structure::right(format!("{version} is served"))),
                Err(error) if error.kind() == Kind::NotFound => Ok(Structure::wrong(
                    format!("{version} has no Topology, and by quota alone Kueue lets a gang in that finds no room"),
                    "use a version of Kueue with topology-aware scheduling".to_owned(),
                )),
                Err(error) => Err(error),
            };
        };
        let Some(queue) = cx.cluster.get(&version, "ClusterQueue", None, name).await? else {
            return Ok(Structure::wrong(
                format!("there is no ClusterQueue {name}"),
                "name one that exists in spec.gangSchedulers".to_owned(),
            ));
        };
        Ok(match condition(&queue["status"]["conditions"], "Active") {
            Some(active) if active["status"] == "True" => Structure::right(format!("{version} is served, ClusterQueue {name} is active")),
            other => Structure::wrong(
                format!(
                    "ClusterQueue {name} is not active: {}",
                    other.and_then(message_of).unwrap_or_else(|| "Kueue says nothing of it".to_owned())
                ),
                format!("kubectl get clusterqueue {name} -o yaml"),
            ),
        })
    }

    /// Makes the queue and waits until it is usable; an outcome if it does not become so.
    pub(super) async fn prepare(&self, cx: &Cx<'_>, scratch: &Scratch, room: &Room, made: &mut Vec<ObjectRef>) -> Result<Option<Outcome>> {
        let version =
            Self::version(cx).await?.ok_or_else(|| Error::new(Kind::NotFound, format!("the API server serves no {GROUP} any more")))?;
        let name = self.queue.clone().unwrap_or_else(|| format!("seatrial-{}", scratch.run()));
        if self.queue.is_none() {
            for (kind, spec) in own_queue(&name, room, &cx.vendor.resource) {
                let object = json!({"apiVersion": version, "kind": kind, "metadata": {"name": name}, "spec": spec});
                made.push(scratch.create_outside(object).await?);
            }
        }
        let local = json!({"apiVersion": version, "kind": "LocalQueue", "metadata": {"name": QUEUE}, "spec": {"clusterQueue": name}});
        let local = scratch.create_tied(local).await?;
        made.push(local.clone());
        cx.waiting(&format!("Kueue to make {local} active"));
        let mut says = "it says nothing of it".to_owned();
        let query = Query::within(local.namespace.as_deref().unwrap_or_default()).named(QUEUE);
        let active = cx
            .cluster
            .wait_until((&version, "LocalQueue"), &query, &format!("{local} to become active"), limits::QUEUE_READY, |queues| {
                let active = condition(&queues.first()?["status"]["conditions"], "Active")?;
                says = message_of(active).unwrap_or_default();
                (active["status"] == "True").then_some(())
            })
            .await;
        match active {
            Ok(()) => Ok(None),
            Err(error) if error.kind() == Kind::Timeout => Ok(Some(
                Outcome::fail(format!(
                    "Kueue has not made {local} of ClusterQueue {name} active within {} s: {says}",
                    limits::QUEUE_READY.as_secs()
                ))
                .fix("look at Kueue's controller: does it run, and what does its log say?"),
            )),
            Err(error) => Err(error),
        }
    }

    /// A gang: a suspended Job that Kueue starts as a whole.
    pub(super) fn gang(&self, gang: &Gang<'_>) -> Vec<Value> {
        let mut template = gang.pod("default-scheduler");
        if self.queue.is_none() {
            template["metadata"]["annotations"][ANY_TOPOLOGY] = json!("true");
        }
        vec![json!({
            "apiVersion": "batch/v1", "kind": "Job",
            "metadata": {"name": gang.object_name(), "labels": {JOB_QUEUE: QUEUE}},
            "spec": {"suspend": true, "parallelism": gang.pods, "completions": gang.pods, "backoffLimit": 0, "template": template},
        })]
    }

    /// What is said of a gang that waits.
    pub(super) async fn reason(cx: &Cx<'_>, namespace: &str, name: &str) -> Result<Option<String>> {
        let Some(version) = Self::version(cx).await? else { return Ok(None) };
        let workloads = cx.cluster.list(&version, "Workload", &Query::within(namespace)).await?;
        let of_job = |workload: &&Value| {
            workload["metadata"]["ownerReferences"].as_array().is_some_and(|owners| owners.iter().any(|owner| owner["name"] == name))
        };
        Ok(match workloads.iter().find(of_job) {
            None => Some("Kueue has made no Workload of its Job".to_owned()),
            Some(workload) => condition(&workload["status"]["conditions"], "QuotaReserved").and_then(message_of),
        })
    }

    /// What is read and made.
    pub(super) fn accesses(&self) -> Vec<Access> {
        let mut accesses = vec![
            Access::scratch("batch", "jobs"),
            Access::scratch(GROUP, "localqueues"),
            Access::new(GROUP, "workloads", &["get", "list", "watch"], Place::Scratch),
        ];
        match &self.queue {
            None => accesses.extend(OUTSIDE.iter().map(|(_, plural)| Access::new(GROUP, plural, MAKES, Place::Cluster))),
            Some(_) => accesses.push(Access::read(GROUP, "clusterqueues")),
        }
        accesses
    }

    /// Kinds that are made outside namespaces.
    pub(super) fn outside(&self) -> Vec<(String, String)> {
        if self.queue.is_some() {
            return Vec::new();
        }
        // Cleanup that finds nothing under a version that is not served goes on.
        ["v1beta2", "v1beta1"]
            .iter()
            .flat_map(|version| OUTSIDE.iter().map(move |(kind, _)| (format!("{GROUP}/{version}"), (*kind).to_owned())))
            .collect()
    }
}

/// A queue whose quota never decides, and that counts free GPUs of one node.
fn own_queue(name: &str, room: &Room, resource: &str) -> [(&'static str, Value); 3] {
    let covered = ["cpu", "memory", resource];
    let resources: Vec<Value> = covered.iter().map(|covered| json!({"name": covered, "nominalQuota": PLENTY})).collect();
    [
        ("Topology", json!({"levels": [{"nodeLabel": HOSTNAME}]})),
        ("ResourceFlavor", json!({"nodeLabels": {HOSTNAME: room.hostname}, "topologyName": name})),
        (
            "ClusterQueue",
            json!({
                "namespaceSelector": {}, "queueingStrategy": "BestEffortFIFO",
                "resourceGroups": [{"coveredResources": covered, "flavors": [{"name": name, "resources": resources}]}],
            }),
        ),
    ]
}
