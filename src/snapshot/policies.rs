//! Reads the policies of GPU operators, flat: `driver.rdma.enabled` → `true`.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::cluster::{Cluster, Query};
use crate::error::{Kind, Result};
use crate::snapshot::collect::name_of;
use crate::snapshot::model::Policy;

/// The kind of NVIDIA's operator; another operator's kind of the same name, in another group, is not meant.
const KIND: &str = "ClusterPolicy";

/// Reads policies, by name; none where the operator's kind is not served.
pub(super) async fn read(cluster: &Cluster, api_version: Option<&str>) -> Result<Vec<Policy>> {
    let Some(api_version) = api_version else { return Ok(Vec::new()) };
    match cluster.list(api_version, KIND, &Query::all()).await {
        Ok(objects) => {
            let mut policies: Vec<Policy> = objects.iter().map(policy).collect();
            policies.sort_by(|a, b| a.name.cmp(&b.name));
            Ok(policies)
        }
        Err(error) if error.kind() == Kind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

fn policy(object: &Value) -> Policy {
    let mut spec = BTreeMap::new();
    flatten("", &object["spec"], &mut spec);
    Policy { kind: KIND.to_owned(), name: name_of(object), spec }
}

/// Values of variables are left out: people keep credentials there.
fn flatten(path: &str, value: &Value, into: &mut BTreeMap<String, String>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields.iter().filter(|(key, _)| *key != "env") {
                flatten(&if path.is_empty() { key.clone() } else { format!("{path}.{key}") }, value, into);
            }
        }
        Value::Null => {}
        Value::String(text) => {
            into.insert(path.to_owned(), text.clone());
        }
        other => {
            into.insert(path.to_owned(), other.to_string());
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_policy_is_flat_and_holds_no_variables() {
        let read = policy(
            &json!({"metadata": {"name": "p"}, "spec": {"driver": {"rdma": {"enabled": true}, "version": "580", "env": [{"name": "A", "value": "s"}]}, "x": [1, 2]}}),
        );
        let expected = [("driver.rdma.enabled", "true"), ("driver.version", "580"), ("x", "[1,2]")];
        assert_eq!(read.spec.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect::<Vec<_>>(), expected);
    }
}
