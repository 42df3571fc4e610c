//! What a step or check may do, and the question to the API server whether we may.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use futures::StreamExt;
use kube::core::{ApiResource, GroupVersionKind};
use kube::discovery;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;

use crate::cluster::Cluster;
use crate::error::{Kind, Result};

/// Where an access is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    /// In the whole cluster: reads, and the few cluster-scoped objects.
    Cluster,
    /// In the run's own namespace.
    Scratch,
    /// In the namespace of the GPU lock.
    Lock,
}

/// Some verbs on one resource in one place.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
pub struct Access {
    /// API group; empty for the core group.
    pub group: Cow<'static, str>,
    /// Plural resource name.
    pub resource: Cow<'static, str>,
    /// Verbs, as RBAC spells them.
    pub verbs: &'static [&'static str],
    /// Where.
    pub place: Place,
}

impl Access {
    /// Reading a resource in the whole cluster: get, list and watch.
    #[must_use]
    pub const fn read(group: &'static str, resource: &'static str) -> Self {
        Self::new(group, resource, &["get", "list", "watch"], Place::Cluster)
    }

    /// Some verbs on a resource.
    #[must_use]
    pub const fn new(group: &'static str, resource: &'static str, verbs: &'static [&'static str], place: Place) -> Self {
        Self { group: Cow::Borrowed(group), resource: Cow::Borrowed(resource), verbs, place }
    }

    /// The resource as people write it: `<plural>`, with `.<group>` outside the core group.
    #[must_use]
    pub fn name(&self) -> String {
        full_name(&self.group, &self.resource)
    }

    /// Some verbs in the whole cluster on a kind that a recipe, a health test or a workflow names.
    ///
    /// Only a cluster knows how it calls the resource of a kind ([`Cluster::as_served`]); this is the name that API authors make of it by
    /// convention: lower case, plural.
    #[must_use]
    pub fn of_kind(api_version: &str, kind: &str, verbs: &'static [&'static str]) -> Self {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
        Self { group: Cow::Owned(resource.group), resource: Cow::Owned(resource.plural), verbs, place: Place::Cluster }
    }

    /// Reading a kind in the whole cluster, as [`Access::of_kind`] names it.
    #[must_use]
    pub fn read_kind(api_version: &str, kind: &str) -> Self {
        Self::of_kind(api_version, kind, &["get", "list", "watch"])
    }

    /// Talking to ports of pods. An API server authorizes it as `create`, one before 1.35 by the method of the request, which is `get`.
    #[must_use]
    pub const fn forward(place: Place) -> Self {
        Self::new("", "pods/portforward", &["create", "get"], place)
    }

    /// Making a resource in the run's own namespace, watching it and removing it.
    #[must_use]
    pub const fn scratch(group: &'static str, resource: &'static str) -> Self {
        Self::new(group, resource, &["create", "delete", "get", "list", "watch"], Place::Scratch)
    }
}

fn full_name(group: &str, resource: &str) -> String {
    if group.is_empty() { resource.to_owned() } else { format!("{resource}.{group}") }
}

/// One permission that is missing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Missing {
    /// The verb.
    pub verb: String,
    /// The resource, `<plural>.<group>`.
    pub resource: String,
    /// The namespace, or none for the whole cluster.
    pub namespace: Option<String>,
}

impl std::fmt::Display for Missing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let place = self.namespace.as_ref().map_or_else(|| "cluster-wide".to_owned(), |namespace| format!("in namespace {namespace}"));
        write!(f, "{} {} {place}", self.verb, self.resource)
    }
}

impl Cluster {
    /// The same accesses with resources called as this cluster calls them, sorted. A kind that it does not serve keeps its conventional name.
    ///
    /// # Errors
    /// If the API server cannot be asked.
    pub async fn as_served(&self, mut accesses: Vec<Access>) -> Result<Vec<Access>> {
        // Names that are written in our code are those of Kubernetes itself; only those made of a kind can be wrong.
        let made = |access: &Access| matches!(access.resource, Cow::Owned(_));
        let groups: BTreeSet<String> = accesses.iter().filter(|access| made(access)).map(|access| access.group.to_string()).collect();
        let mut names = BTreeMap::new();
        for group in &groups {
            let doing = format!("look up the resources of API group {group}");
            match self.retried(&doing, || self.bounded(&doing, discovery::group(&self.client, group))).await {
                Ok(found) => names.extend(found.versions().flat_map(|version| found.versioned_resources(version)).map(|(resource, _)| {
                    let conventional = Access::read_kind(&resource.api_version, &resource.kind).resource.into_owned();
                    ((group.clone(), conventional), resource.plural)
                })),
                Err(error) if error.kind() == Kind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        for access in accesses.iter_mut().filter(|access| made(access)) {
            if let Some(plural) = names.get(&(access.group.to_string(), access.resource.to_string())) {
                access.resource = Cow::Owned(plural.clone());
            }
        }
        accesses.sort();
        accesses.dedup();
        Ok(accesses)
    }

    /// Asks the API server about every verb of every access, side by side, and returns what is missing, sorted.
    ///
    /// # Errors
    /// If the API server cannot be asked; a "no" is not an error but an entry of the answer.
    pub async fn missing(&self, accesses: &[Access], scratch: &str, lock: &str) -> Result<Vec<Missing>> {
        let mut questions = Vec::new();
        for access in accesses {
            let namespace = match access.place {
                Place::Cluster => None,
                Place::Scratch => Some(scratch.to_owned()),
                Place::Lock => Some(lock.to_owned()),
            };
            for verb in access.verbs {
                questions.push((access.group.as_ref(), access.resource.as_ref(), *verb, namespace.clone()));
            }
        }
        questions.sort();
        questions.dedup();
        let mut answers = futures::stream::iter(questions).map(|question| self.ask(question)).buffer_unordered(16);
        let mut missing = Vec::new();
        while let Some(answer) = answers.next().await {
            missing.extend(answer?);
        }
        missing.sort();
        Ok(missing)
    }

    async fn ask(&self, (group, resource, verb, namespace): (&str, &str, &str, Option<String>)) -> Result<Option<Missing>> {
        // `pods/log` is how roles spell it; a question has the two apart.
        let (plural, subresource) = resource.split_once('/').unwrap_or((resource, ""));
        let review = json!({
            "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "metadata": {},
            "spec": {"resourceAttributes": {"group": group, "resource": plural, "subresource": subresource, "verb": verb, "namespace": namespace}},
        });
        let answer = self.create(&review).await?;
        if answer.pointer("/status/allowed").and_then(serde_json::Value::as_bool) == Some(true) {
            return Ok(None);
        }
        Ok(Some(Missing { verb: verb.to_owned(), resource: full_name(group, resource), namespace }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_resource_of_a_kind_is_named_by_convention() {
        let named = |kind: &str| Access::read_kind("example.com/v1", kind).resource.into_owned();
        assert_eq!(["ClusterPolicy", "DeviceClass", "Gateway", "Pod"].map(named), ["clusterpolicies", "deviceclasses", "gateways", "pods"]);
        assert_eq!(Access::read_kind("apps/v1", "Deployment"), Access::read("apps", "deployments"));
        assert_eq!(Access::read_kind("v1", "Node"), Access::read("", "nodes"));
    }
}
