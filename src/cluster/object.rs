//! Names one object: apiVersion, kind, namespace, name, UID.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One object of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ObjectRef {
    /// `apiVersion`.
    pub api_version: String,
    /// `kind`.
    pub kind: String,
    /// Namespace; none for cluster-scoped objects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Name.
    pub name: String,
    /// UID, once it exists; a delete is of this very object or of nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// If set, a delete is of the object as it was at this `resourceVersion`, or of nothing.
    #[serde(skip)]
    pub unchanged_since: Option<String>,
}

impl ObjectRef {
    /// Names an object as it is now: a delete is of that, or of nothing.
    #[must_use]
    pub fn as_seen(object: &Value) -> Self {
        let version = object["metadata"]["resourceVersion"].as_str().map(str::to_owned);
        Self { unchanged_since: version, ..Self::of(object) }
    }

    /// Names an object by its JSON.
    #[must_use]
    pub fn of(object: &Value) -> Self {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
        Self {
            api_version: text("/apiVersion").unwrap_or_default(),
            kind: text("/kind").unwrap_or_default(),
            namespace: text("/metadata/namespace"),
            name: text("/metadata/name").unwrap_or_default(),
            uid: text("/metadata/uid"),
            unchanged_since: None,
        }
    }

    /// Names an object.
    #[must_use]
    pub fn new(api_version: &str, kind: &str, namespace: Option<&str>, name: &str) -> Self {
        Self {
            api_version: api_version.to_owned(),
            kind: kind.to_owned(),
            namespace: namespace.map(str::to_owned),
            name: name.to_owned(),
            uid: None,
            unchanged_since: None,
        }
    }

    /// The kubectl command that shows the object.
    #[must_use]
    pub fn kubectl_get(&self) -> String {
        let place = self.namespace.as_ref().map(|namespace| format!(" -n {namespace}")).unwrap_or_default();
        format!("kubectl get {} {}{place} -o yaml", self.kind.to_lowercase(), self.name)
    }
}

impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.kind.to_lowercase();
        match &self.namespace {
            Some(namespace) => write!(f, "{kind} {namespace}/{}", self.name),
            None => write!(f, "{kind} {}", self.name),
        }
    }
}
