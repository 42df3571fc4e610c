//! Gang schedulers that are told of a gang by an object that says how many pods start together: Volcano, KAI, and any that a recipe describes.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::checks::Cx;
use crate::checks::gang_scheduling::technology::{Gang, Structure, condition, message_of};
use crate::cluster::{Access, ObjectRef, Place, Scratch};
use crate::error::{Kind, Result};
use crate::recipe::{GangScheduler, PodGroupKind};

/// Verbs on objects that a trial makes and removes.
const MAKES: &[&str] = &["create", "delete", "get", "list", "watch"];

/// How a scheduler is told which pods belong together.
#[derive(Clone, Debug)]
pub(super) struct PodGroups {
    /// Its name, as reports have it.
    name: String,
    group: PodGroupKind,
    /// Names of the scheduler's Deployment.
    pub(super) deployments: &'static [&'static str],
    /// The kind of its queues, where it has some: `apiVersion`, `kind`.
    queues: Option<(&'static str, &'static str)>,
    /// The queue that must be there; where there is none and queues are wanted, some are made.
    queue: Option<String>,
}

impl PodGroups {
    /// Volcano: its queue `default` is always there.
    pub(super) fn volcano(queue: Option<&str>) -> Self {
        let queue = queue.unwrap_or("default").to_owned();
        let group = PodGroupKind {
            api_version: "scheduling.volcano.sh/v1beta1".to_owned(),
            kind: "PodGroup".to_owned(),
            scheduler: "volcano".to_owned(),
            size: "minMember".to_owned(),
            spec: Map::from_iter([("queue".to_owned(), json!(queue))]),
            label: None,
            annotation: Some("scheduling.k8s.io/group-name".to_owned()),
            labels: BTreeMap::new(),
        };
        Self {
            name: "volcano".to_owned(),
            group,
            deployments: &["volcano-scheduler"],
            queues: Some(("scheduling.volcano.sh/v1beta1", "Queue")),
            queue: Some(queue),
        }
    }

    /// KAI: only leaf queues schedule, so two are made where none is named.
    pub(super) fn kai(queue: Option<&str>, run: &str) -> Self {
        let used = queue.map_or_else(|| format!("seatrial-{run}-gang"), str::to_owned);
        let group = PodGroupKind {
            api_version: "scheduling.run.ai/v2alpha2".to_owned(),
            kind: "PodGroup".to_owned(),
            scheduler: "kai-scheduler".to_owned(),
            size: "minMember".to_owned(),
            spec: Map::from_iter([("queue".to_owned(), json!(used))]),
            label: None,
            annotation: Some("pod-group-name".to_owned()),
            labels: BTreeMap::from([("kai.scheduler/queue".to_owned(), used)]),
        };
        Self {
            name: "kai".to_owned(),
            group,
            deployments: &["kai-scheduler-default", "kai-scheduler"],
            queues: Some(("scheduling.run.ai/v2", "Queue")),
            queue: queue.map(str::to_owned),
        }
    }

    /// One that a recipe describes.
    pub(super) fn described(scheduler: &GangScheduler, group: &PodGroupKind) -> Self {
        Self { name: scheduler.name.clone(), group: group.clone(), deployments: &[], queues: None, queue: None }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// True if the API server serves its kind of group.
    pub(super) async fn served(&self, cx: &Cx<'_>) -> Result<bool> {
        match cx.cluster.is_namespaced(&self.group.api_version, &self.group.kind).await {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == Kind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// What has to be there: the kind of group is served, and the queue that will be used exists.
    pub(super) async fn structure(&self, cx: &Cx<'_>) -> Result<Structure> {
        if !self.served(cx).await? {
            let message = format!("the API server serves no {} of {}", self.group.kind, self.group.api_version);
            return Ok(Structure::wrong(message, format!("install {}, or take it out of spec.gangSchedulers", self.name)));
        }
        if let (Some((api_version, kind)), Some(name)) = (self.queues, &self.queue) {
            let Some(queue) = cx.cluster.get(api_version, kind, None, name).await? else {
                return Ok(Structure::wrong(format!("there is no {kind} {name} of {api_version}"), "name a queue that exists".to_owned()));
            };
            if let Some(state) = queue["status"]["state"].as_str().filter(|state| *state != "Open") {
                return Ok(Structure::wrong(format!("queue {name} is {state}"), "open it, or name another queue".to_owned()));
            }
        }
        Ok(Structure::right(format!("{} of {} is served", self.group.kind, self.group.api_version)))
    }

    /// Makes the queues that are used, where the recipe names none.
    pub(super) async fn prepare(&self, scratch: &Scratch, made: &mut Vec<ObjectRef>) -> Result<()> {
        let (Some((api_version, kind)), None) = (self.queues, &self.queue) else { return Ok(()) };
        let all = json!({"quota": -1, "limit": -1, "overQuotaWeight": 1});
        let parent = format!("seatrial-{}", scratch.run());
        for (name, above) in [(parent.clone(), None), (format!("{parent}-gang"), Some(&parent))] {
            let mut spec = json!({"resources": {"gpu": all, "cpu": all, "memory": all}});
            if let Some(above) = above {
                spec["parentQueue"] = json!(above);
            }
            let queue = json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": name}, "spec": spec});
            made.push(scratch.create_outside(queue).await?);
        }
        Ok(())
    }

    /// The objects of a gang: its group, then its pods.
    pub(super) fn gang(&self, gang: &Gang<'_>) -> Vec<Value> {
        let group = &self.group;
        let name = gang.object_name();
        let mut spec = group.spec.clone();
        spec.insert(group.size.clone(), json!(gang.pods));
        let mut objects = vec![json!({"apiVersion": group.api_version, "kind": group.kind, "metadata": {"name": name}, "spec": spec})];
        for index in 0..gang.pods {
            let mut pod = gang.pod(&group.scheduler);
            pod["apiVersion"] = json!("v1");
            pod["kind"] = json!("Pod");
            pod["metadata"]["name"] = json!(format!("{name}-{index}"));
            for (key, value) in &group.labels {
                pod["metadata"]["labels"][key] = json!(value);
            }
            if let Some(label) = &group.label {
                pod["metadata"]["labels"][label] = json!(name);
            }
            if let Some(annotation) = &group.annotation {
                pod["metadata"]["annotations"][annotation] = json!(name);
            }
            objects.push(pod);
        }
        objects
    }

    /// What is said of a gang that waits.
    pub(super) async fn reason(&self, cx: &Cx<'_>, namespace: &str, name: &str) -> Result<Option<String>> {
        let group = cx.cluster.get(&self.group.api_version, &self.group.kind, Some(namespace), name).await?;
        Ok(group.and_then(|group| {
            let stated = condition(&group["status"]["conditions"], "Unschedulable").or_else(|| {
                let conditions = group["status"]["schedulingConditions"].as_array()?;
                conditions.last()
            });
            stated.and_then(message_of)
        }))
    }

    /// What is read and made.
    pub(super) fn accesses(&self) -> Vec<Access> {
        let mut accesses = vec![Access { place: Place::Scratch, ..Access::of_kind(&self.group.api_version, &self.group.kind, MAKES) }];
        if let Some((api_version, kind)) = self.queues {
            let verbs: &'static [&'static str] = if self.queue.is_some() { &["get", "list", "watch"] } else { MAKES };
            accesses.push(Access::of_kind(api_version, kind, verbs));
        }
        accesses
    }

    /// Kinds that are made outside namespaces.
    pub(super) fn outside(&self) -> Vec<(String, String)> {
        let own = self.queues.filter(|_| self.queue.is_none());
        own.into_iter().map(|(api_version, kind)| (api_version.to_owned(), kind.to_owned())).collect()
    }
}
