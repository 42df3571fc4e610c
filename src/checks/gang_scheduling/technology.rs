//! One gang scheduler as a trial uses it, whichever it is.

use serde_json::{Value, json};

use crate::checks::Cx;
use crate::checks::gang_scheduling::kueue::{self, Kueue};
use crate::checks::gang_scheduling::pod_groups::PodGroups;
use crate::checks::gang_scheduling::room::{HOSTNAME, Room};
use crate::checks::gang_scheduling::timeline::GANG;
use crate::checks::probe::{self, IDLE_IMAGE};
use crate::cluster::scratch::{MANAGED_BY, OWNER, RUN};
use crate::cluster::{Access, ObjectRef, Query, Scratch};
use crate::error::Result;
use crate::recipe::{GangScheduler, gang};
use crate::results::Outcome;

/// A gang that is to be made.
pub(super) struct Gang<'a> {
    pub(super) cx: &'a Cx<'a>,
    pub(super) room: &'a Room,
    /// Its name within the trial.
    pub(super) name: &'a str,
    /// Its pods.
    pub(super) pods: u32,
}

impl Gang<'_> {
    /// The name of its object.
    pub(super) fn object_name(&self) -> String {
        object_name(self.name)
    }

    /// One of its pods, without name and kind.
    pub(super) fn pod(&self, scheduler: &str) -> Value {
        pod(self.cx, self.room, self.name, self.room.each, scheduler)
    }
}

/// The name of a gang's object.
pub(super) fn object_name(gang: &str) -> String {
    format!("gang-{gang}")
}

/// A pod with GPUs of the trial's node, without name and kind.
pub(super) fn pod(cx: &Cx<'_>, room: &Room, gang: &str, gpus: u64, scheduler: &str) -> Value {
    let mut spec =
        probe::pod_spec(cx.vendor, cx.pods, IDLE_IMAGE, &[], &json!({"limits": {cx.vendor.resource.as_str(): gpus.to_string()}}));
    spec["nodeSelector"][HOSTNAME] = json!(room.hostname);
    spec["schedulerName"] = json!(scheduler);
    // Pods that a controller makes have the labels of their template alone.
    let run = cx.scratch.map(Scratch::run).unwrap_or_default();
    json!({"metadata": {"labels": {GANG: gang, RUN: run, MANAGED_BY: OWNER}}, "spec": spec})
}

/// What is there before anything is created.
pub(super) struct Structure {
    /// What is wrong, and what to do.
    pub(super) problem: Option<(String, String)>,
    /// What was seen.
    pub(super) says: String,
}

impl Structure {
    pub(super) fn wrong(message: String, fix: String) -> Self {
        Self { problem: Some((message, fix)), says: String::new() }
    }

    pub(super) fn right(says: String) -> Self {
        Self { problem: None, says }
    }
}

/// A gang scheduler.
pub(super) enum Technology {
    /// It is told of gangs by objects of its own.
    PodGroups(Box<PodGroups>),
    /// Kueue lets Jobs in.
    Kueue(Kueue),
}

impl Technology {
    /// The one that a recipe means.
    pub(super) fn of(scheduler: &GangScheduler, run: &str) -> Self {
        let queue = scheduler.queue.as_deref();
        match (&scheduler.pod_group, scheduler.name.as_str()) {
            (Some(group), _) => Self::PodGroups(Box::new(PodGroups::described(scheduler, group))),
            (None, "kueue") => Self::Kueue(Kueue { queue: scheduler.queue.clone() }),
            (None, "kai") => Self::PodGroups(Box::new(PodGroups::kai(queue, run))),
            (None, _) => Self::PodGroups(Box::new(PodGroups::volcano(queue))),
        }
    }

    /// All that are known by name.
    pub(super) fn known(run: &str) -> Vec<Self> {
        let named = |name: &str| GangScheduler { name: name.to_owned(), queue: None, pod_group: None };
        gang::KNOWN.iter().map(|name| Self::of(&named(name), run)).collect()
    }

    pub(super) fn name(&self) -> &str {
        match self {
            Self::PodGroups(groups) => groups.name(),
            Self::Kueue(_) => "kueue",
        }
    }

    /// True if the API server serves what it is spoken to by.
    pub(super) async fn served(&self, cx: &Cx<'_>) -> Result<bool> {
        match self {
            Self::PodGroups(groups) => groups.served(cx).await,
            Self::Kueue(_) => Kueue::served(cx).await,
        }
    }

    /// Looks at what has to be there, its Deployment among it where it runs as one.
    pub(super) async fn structure(&self, cx: &Cx<'_>) -> Result<Structure> {
        let (structure, deployments) = match self {
            Self::PodGroups(groups) => (groups.structure(cx).await?, groups.deployments),
            Self::Kueue(kueue) => (kueue.structure(cx).await?, kueue::DEPLOYMENTS),
        };
        if structure.problem.is_some() || deployments.is_empty() {
            return Ok(structure);
        }
        let all = cx.cluster.list("apps/v1", "Deployment", &Query::all()).await?;
        Ok(with_deployment(structure, &all, deployments))
    }

    /// Makes what gangs need; an outcome if the cluster does not let that become usable.
    pub(super) async fn prepare(&self, cx: &Cx<'_>, scratch: &Scratch, room: &Room, made: &mut Vec<ObjectRef>) -> Result<Option<Outcome>> {
        match self {
            Self::PodGroups(groups) => groups.prepare(scratch, made).await.map(|()| None),
            Self::Kueue(kueue) => kueue.prepare(cx, scratch, room, made).await,
        }
    }

    /// The objects of a gang, in the order in which they are made.
    pub(super) fn gang(&self, gang: &Gang<'_>) -> Vec<Value> {
        match self {
            Self::PodGroups(groups) => groups.gang(gang),
            Self::Kueue(kueue) => kueue.gang(gang),
        }
    }

    /// What it says of a gang that waits.
    pub(super) async fn reason(&self, cx: &Cx<'_>, namespace: &str, gang: &str) -> Result<Option<String>> {
        match self {
            Self::PodGroups(groups) => groups.reason(cx, namespace, &object_name(gang)).await,
            Self::Kueue(_) => Kueue::reason(cx, namespace, &object_name(gang)).await,
        }
    }

    /// What is read and made.
    pub(super) fn accesses(&self) -> Vec<Access> {
        match self {
            Self::PodGroups(groups) => groups.accesses(),
            Self::Kueue(kueue) => kueue.accesses(),
        }
    }

    /// Kinds that are made outside namespaces, in the order in which they are made.
    pub(super) fn outside(&self) -> Vec<(String, String)> {
        match self {
            Self::PodGroups(groups) => groups.outside(),
            Self::Kueue(kueue) => kueue.outside(),
        }
    }
}

/// Adds what is to be said of a Deployment of one of these names. A scheduler that runs otherwise has none: what it does tells.
fn with_deployment(structure: Structure, all: &[Value], names: &[&str]) -> Structure {
    let found = all.iter().find(|object| object["metadata"]["name"].as_str().is_some_and(|name| names.contains(&name)));
    let Some(deployment) = found else {
        return Structure { says: format!("{}, no Deployment {}", structure.says, names.join(" or ")), ..structure };
    };
    let named = ObjectRef::of(deployment);
    let wanted = deployment["spec"]["replicas"].as_i64().unwrap_or(1);
    let available = deployment["status"]["availableReplicas"].as_i64().unwrap_or(0);
    if wanted == 0 || available == 0 {
        let message = format!("{named} has {available} of {wanted} replicas available, so nothing schedules gangs");
        return Structure::wrong(message, format!("kubectl describe deployment {} -n {}", named.name, named.namespace.unwrap_or_default()));
    }
    Structure::right(format!("{}, {named} is available", structure.says))
}

/// The condition of a type among an object's conditions.
pub(super) fn condition<'a>(conditions: &'a Value, kind: &str) -> Option<&'a Value> {
    conditions.as_array()?.iter().find(|condition| condition["type"] == kind)
}

/// What a condition says.
pub(super) fn message_of(condition: &Value) -> Option<String> {
    condition["message"].as_str().filter(|message| !message.is_empty()).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deployment_that_has_no_pods_is_a_problem_and_one_that_is_not_there_is_told() {
        let deployment = |wanted: i64, available: i64| {
            vec![json!({
                "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "volcano-scheduler", "namespace": "v"},
                "spec": {"replicas": wanted}, "status": {"availableReplicas": available},
            })]
        };
        let judged = |all: &[Value]| with_deployment(Structure::right("served".to_owned()), all, &["volcano-scheduler"]);
        assert_eq!(judged(&deployment(1, 1)).says, "served, deployment v/volcano-scheduler is available");
        assert!(judged(&deployment(1, 0)).problem.is_some_and(|(message, _)| message.contains("0 of 1 replicas")));
        assert!(judged(&deployment(0, 0)).problem.is_some());
        let absent = judged(&[]);
        assert_eq!((absent.problem.is_none(), absent.says.as_str()), (true, "served, no Deployment volcano-scheduler"));
    }
}
