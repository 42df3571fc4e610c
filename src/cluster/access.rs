//! What a step or check may do, and the question to the API server whether we may.

use futures::StreamExt;
use kube::core::{ApiResource, GroupVersionKind};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;

use crate::cluster::Cluster;
use crate::error::Result;

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
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
pub struct Access {
    /// API group; empty for the core group.
    pub group: &'static str,
    /// Plural resource name.
    pub resource: &'static str,
    /// Verbs, as RBAC spells them.
    pub verbs: &'static [&'static str],
    /// Where.
    pub place: Place,
}

impl Access {
    /// Reading a resource in the whole cluster: get, list and watch.
    #[must_use]
    pub const fn read(group: &'static str, resource: &'static str) -> Self {
        Self { group, resource, verbs: &["get", "list", "watch"], place: Place::Cluster }
    }

    /// Making a resource in the run's own namespace, watching it and removing it.
    #[must_use]
    pub const fn scratch(group: &'static str, resource: &'static str) -> Self {
        Self { group, resource, verbs: &["create", "delete", "get", "list", "watch"], place: Place::Scratch }
    }
}

/// Kinds of Kubernetes itself that recipes and health tests name: apiVersion, kind, group, resource.
const WELL_KNOWN: &[(&str, &str, &str, &str)] = &[
    ("apiextensions.k8s.io/v1", "CustomResourceDefinition", "apiextensions.k8s.io", "customresourcedefinitions"),
    ("apps/v1", "DaemonSet", "apps", "daemonsets"),
    ("apps/v1", "Deployment", "apps", "deployments"),
    ("apps/v1", "StatefulSet", "apps", "statefulsets"),
    ("resource.k8s.io/v1", "DeviceClass", "resource.k8s.io", "deviceclasses"),
    ("v1", "Namespace", "", "namespaces"),
    ("v1", "Node", "", "nodes"),
    ("v1", "Pod", "", "pods"),
    ("v1", "Service", "", "services"),
];

impl Access {
    /// Reading objects of a kind; none for kinds that only discovery knows, which preflight cannot ask about beforehand.
    #[must_use]
    pub fn read_of_kind(api_version: &str, kind: &str) -> Option<Self> {
        let known = WELL_KNOWN.iter().find(|known| (known.0, known.1) == (api_version, kind))?;
        Some(Self::read(known.2, known.3))
    }
}

/// The resource of a kind by the convention that all but a few kinds follow: group, plural.
#[must_use]
pub fn conventional_resource(api_version: &str, kind: &str) -> (String, String) {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
    (resource.group, resource.plural)
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
                questions.push((access.group, access.resource, *verb, namespace.clone()));
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
        let review = json!({
            "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "metadata": {},
            "spec": {"resourceAttributes": {"group": group, "resource": resource, "verb": verb, "namespace": namespace}},
        });
        let answer = self.create(&review).await?;
        if answer.pointer("/status/allowed").and_then(serde_json::Value::as_bool) == Some(true) {
            return Ok(None);
        }
        let resource = if group.is_empty() { resource.to_owned() } else { format!("{resource}.{group}") };
        Ok(Some(Missing { verb: verb.to_owned(), resource, namespace }))
    }
}
