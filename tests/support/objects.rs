//! Objects of one moment, in memory, for health tests.

use std::time::Duration;

use seatrial::error::Result;
use seatrial::health::{self, Objects, Scope, Selector, Test};
use seatrial::results::Outcome;
use serde_json::{Value, json};

/// Objects of one moment.
struct Memory(Vec<Value>);

const CLUSTER: &[&str] = &[
    "APIService",
    "ClusterPolicy",
    "CustomResourceDefinition",
    "DeviceClass",
    "GatewayClass",
    "Namespace",
    "NicClusterPolicy",
    "Node",
    "NodePool",
    "Queue",
    "ResourceSlice",
    "Skyhook",
    "ValidatingWebhookConfiguration",
];
const NAMESPACED: &[&str] = &["DaemonSet", "Deployment", "Event", "Pod", "StatefulSet"];

impl Objects for Memory {
    async fn scope(&self, _: &str, kind: &str) -> Result<Option<Scope>> {
        let namespaced = NAMESPACED.contains(&kind).then_some(Scope::Namespaced);
        Ok(namespaced.or_else(|| CLUSTER.contains(&kind).then_some(Scope::Cluster)))
    }

    async fn observe(&self, selector: &Selector, _: Duration, look: &mut (dyn FnMut(&[&Value]) -> bool + Send)) -> Result<bool> {
        let is = |object: &Value, place: &str, wanted: Option<&String>| {
            object.pointer(place).and_then(Value::as_str) == wanted.map(String::as_str)
        };
        let selected = |object: &&Value| {
            is(object, "/kind", Some(&selector.kind))
                && (selector.namespace.is_none() || is(object, "/metadata/namespace", selector.namespace.as_ref()))
                && (selector.name.is_none() || is(object, "/metadata/name", selector.name.as_ref()))
                && selector.labels.iter().all(|(key, value)| object["metadata"]["labels"][key] == json!(value))
        };
        Ok(look(&self.0.iter().filter(selected).collect::<Vec<_>>()))
    }
}

/// What comes of a test on these objects.
pub(crate) fn outcome(test: &Test, objects: Vec<Value>) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(health::run(test, &Memory(objects), &|_| {}))
}
