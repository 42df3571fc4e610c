//! Karpenter with its provider for kwok: makes simulated nodes for pods that find no place, and removes them again.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::cluster::Query;
use crate::error::{Error, Result};
use crate::sim::addons::{Addon, Place, Process, Starting};
use crate::sim::{SIMULATED, embedded};
use crate::{files, limits, yaml};

/// See the module.
pub static ADDON: Addon = Addon {
    name: "karpenter",
    what: "Karpenter, which makes simulated nodes for pods that find no place",
    needs: &[],
    programs: &["karpenter-kwok"],
    exposed: Some("Karpenter's metrics and health ports cannot be bound to 127.0.0.1"),
    start: |cx| Box::pin(start(cx)),
};

/// A kind of machine that the simulated cloud can make.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct InstanceType {
    /// Its name, e.g. `p5.48xlarge`.
    pub name: String,
    /// What an hour costs, in cents; of those that fit, the cheapest is made.
    pub cents_per_hour: u32,
    /// What a node of it has: `cpu`, `memory`, `nvidia.com/gpu`, … as Kubernetes writes quantities.
    pub resources: BTreeMap<String, String>,
}

/// A pool of nodes that Karpenter may make.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Pool {
    /// Name of the NodePool.
    pub name: String,
    /// The types that it may use.
    pub instance_types: Vec<String>,
    /// The most of each resource that all of its nodes together may have.
    pub limits: BTreeMap<String, String>,
}

/// Group and version of what Karpenter itself defines.
pub const KARPENTER: &str = "karpenter.sh/v1";
/// Group and version of what its provider for kwok defines.
pub const PROVIDER: &str = "karpenter.kwok.sh/v1alpha1";
/// Name of the node class of the pools that come with the program.
const NODE_CLASS: &str = "seatrial-sim";
/// Zones of the simulated nodes.
const ZONES: [&str; 2] = ["sim-a", "sim-b"];
/// The file in its folder with the types that it can make, as the provider reads them.
const TYPES_FILE: &str = "instance-types.json";
/// How long a node stays empty before it goes.
const CONSOLIDATE_AFTER: &str = "5s";

/// The instance types that come with the program.
///
/// # Errors
/// Never in practice: a test reads them.
pub fn instance_types() -> Result<Vec<InstanceType>> {
    yaml::from_str(embedded("karpenter/instance-types.yaml").unwrap_or_default(), "sim/karpenter/instance-types.yaml")
}

/// The pools that come with the program.
///
/// # Errors
/// Never in practice: a test reads them.
pub fn pools() -> Result<Vec<Pool>> {
    yaml::from_str(embedded("karpenter/pools.yaml").unwrap_or_default(), "sim/karpenter/pools.yaml")
}

/// A node class for pools; the provider has no settings.
#[must_use]
pub fn node_class(name: &str) -> Value {
    json!({"apiVersion": PROVIDER, "kind": "KWOKNodeClass", "metadata": {"name": name}})
}

impl Pool {
    /// The extended resource that it has a limit for: what its pods ask for.
    #[must_use]
    pub fn device(&self) -> Option<&str> {
        self.limits.keys().map(String::as_str).find(|resource| resource.contains('/'))
    }

    /// The NodePool.
    #[must_use]
    pub fn object(&self, node_class: &str) -> Value {
        let within = |key: &str, values: &[&str]| json!({"key": key, "operator": "In", "values": values});
        let types: Vec<&str> = self.instance_types.iter().map(String::as_str).collect();
        json!({
            "apiVersion": KARPENTER, "kind": "NodePool", "metadata": {"name": self.name},
            "spec": {
                "template": {
                    "metadata": {"labels": {SIMULATED: "true"}},
                    "spec": {
                        "requirements": [
                            within("node.kubernetes.io/instance-type", &types),
                            within("karpenter.sh/capacity-type", &["on-demand"]),
                        ],
                        "nodeClassRef": {"group": "karpenter.kwok.sh", "kind": "KWOKNodeClass", "name": node_class},
                        "expireAfter": "Never",
                    },
                },
                "limits": self.limits,
                "disruption": {"consolidationPolicy": "WhenEmptyOrUnderutilized", "consolidateAfter": CONSOLIDATE_AFTER},
            },
        })
    }
}

/// Instance types as the provider reads them.
fn provider_form(types: &[InstanceType]) -> Value {
    let one = |instance: &InstanceType| {
        let offering = |zone: &&str| {
            let requirement = |key: &str, value: &str| json!({"key": key, "operator": "In", "values": [value]});
            json!({
                "Price": f64::from(instance.cents_per_hour) / 100.0, "Available": true,
                "Requirements": [requirement("karpenter.sh/capacity-type", "on-demand"), requirement("topology.kubernetes.io/zone", zone)],
            })
        };
        json!({
            "name": instance.name, "architecture": "amd64", "operatingSystems": ["linux"], "resources": instance.resources,
            "offerings": ZONES.iter().map(offering).collect::<Vec<_>>(),
        })
    };
    types.iter().map(one).collect()
}

/// Names of the types that a Karpenter which runs in this place can make.
///
/// # Errors
/// [`crate::error::Kind::Usage`] if its file cannot be read.
pub fn known_types(place: &Place) -> Result<Vec<String>> {
    let path = place.dir.join(ADDON.name).join(TYPES_FILE);
    let text = files::read_text(&path, limits::DOCUMENT_BYTES)?;
    let types: Vec<Value> = serde_json::from_str(&text).map_err(|error| Error::usage(format!("read {}", path.display())).because(error))?;
    Ok(types.iter().filter_map(|instance| Some(instance["name"].as_str()?.to_owned())).collect())
}

async fn start(cx: &Starting<'_>) -> Result<()> {
    let (health, metrics) = (cx.port("health")?, cx.port("metrics")?);
    let definitions = [cx.manifests("karpenter-kwok", "crds")?, cx.manifests("karpenter-kwok", "provider")?].concat();
    cx.define(definitions).await?;
    let types = cx.settings().instance_types.clone().map_or_else(instance_types, Ok)?;
    let types = serde_json::to_string_pretty(&provider_form(&types)).map_err(|error| Error::internal("write types").because(error))?;
    let types = cx.file(TYPES_FILE, &types)?;
    let env = [
        ("SYSTEM_NAMESPACE", "kube-system"),
        ("KUBERNETES_MIN_VERSION", "1.19.0-0"),
        ("DISABLE_LEADER_ELECTION", "true"),
        // Pods that come together are seen together; ours are few.
        ("BATCH_IDLE_DURATION", "1s"),
        ("BATCH_MAX_DURATION", "3s"),
        ("INSTANCE_TYPES_FILE_PATH", &types),
        ("METRICS_PORT", &metrics.to_string()),
        ("HEALTH_PROBE_PORT", &health.to_string()),
    ]
    .map(|(name, value)| (name, value.to_owned()));
    cx.run(&Process { name: "karpenter", program: "karpenter-kwok", args: Vec::new(), env: env.to_vec() })?;
    cx.answers(&format!("http://127.0.0.1:{health}/readyz")).await?;
    let pools = cx.settings().pools.clone().map_or_else(pools, Ok)?;
    if pools.is_empty() {
        return Ok(());
    }
    cx.apply(&[node_class(NODE_CLASS)]).await?;
    cx.apply(&pools.iter().map(|pool| pool.object(NODE_CLASS)).collect::<Vec<_>>()).await?;
    // That it says so is its own doing: the objects alone say nothing.
    cx.until("its NodePools are ready", || async {
        let seen = cx.cluster.list(KARPENTER, "NodePool", &Query::all()).await?;
        Ok(pools.iter().all(|pool| seen.iter().any(|object| object["metadata"]["name"] == pool.name && is_ready(object))))
    })
    .await
}

/// True if a NodePool says that it can make nodes.
#[must_use]
pub fn is_ready(pool: &Value) -> bool {
    let conditions = pool["status"]["conditions"].as_array();
    conditions.is_some_and(|all| all.iter().any(|condition| condition["type"] == "Ready" && condition["status"] == "True"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pools_use_types_that_there_are_and_each_gpu_type_has_a_limit() {
        let types = instance_types().expect("are valid");
        let pools = pools().expect("are valid");
        for pool in &pools {
            for name in &pool.instance_types {
                let found = types.iter().find(|instance| instance.name == *name).expect("there is such a type");
                let gpu = found.resources.keys().find(|resource| resource.ends_with("/gpu"));
                assert!(gpu.is_none_or(|gpu| pool.limits.contains_key(gpu)), "pool {} has no limit for GPUs", pool.name);
            }
        }
        let with_gpus = types.iter().filter(|instance| instance.resources.keys().any(|resource| resource.ends_with("/gpu")));
        assert!(with_gpus.count() >= 2 && types.len() >= 3);
    }
}
