//! What a recipe says of autoscaling: pools of nodes that must grow and shrink, and the metric that pods follow.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::limits;
use crate::ui::printable;

/// What must scale. `NodePool`s of Karpenter for GPUs are found without.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Autoscaling {
    /// Pools of GPU nodes that an autoscaler must grow and shrink; more is said here of Karpenter's by their names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pools: Vec<ScaledPool>,
    /// The metric that a HorizontalPodAutoscaler is tried with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric: Option<ScalingMetric>,
}

/// A metric of pods, and what makes it rise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ScalingMetric {
    /// Which of the metrics APIs serves it.
    pub source: MetricSource,
    /// Its name.
    pub name: String,
    /// Labels of an external metric.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub selector: BTreeMap<String, String>,
    /// What a pod should have of it on average; of a resource, in per cent of what the pod requests. Under load it must be more than this, and
    /// without less than half of this.
    pub target: u32,
    /// GPUs that each of the two pods has.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub gpus_per_pod: u32,
    /// What makes it rise. Needed where containers run and the metric is no resource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load: Option<Load>,
    /// How long a change of the load may take to change the number of pods, in seconds; at most and by default 180.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window_seconds: Option<u32>,
    /// How long the number of pods must stay while the load stays, in seconds; at most and by default 45.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold_seconds: Option<u32>,
}

/// One of the metrics APIs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum MetricSource {
    /// `metrics.k8s.io`: CPU or memory of pods.
    Resource,
    /// `custom.metrics.k8s.io`: a metric of each pod.
    Pods,
    /// `external.metrics.k8s.io`: a metric that is of no object.
    External,
}

/// A container that puts load on a pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Load {
    /// The image.
    pub image: String,
    /// The command, which runs until it is stopped.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
}

fn one() -> u32 {
    1
}

fn is_one(number: &u32) -> bool {
    *number == 1
}

/// A pool of nodes of one kind that an autoscaler grows and shrinks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ScaledPool {
    /// Its name; that of a Karpenter `NodePool` where there is one.
    pub name: String,
    /// Labels that all of its nodes have, and no others; not needed for a Karpenter `NodePool`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub node_selector: BTreeMap<String, String>,
    /// GPUs that a node of it must offer. Without, a pod asks for one GPU and the node may have more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpus_per_node: Option<u32>,
    /// Labels that a new node must have, e.g. `node.kubernetes.io/instance-type`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Tolerations for the taints of its nodes, as in a pod; those of a Karpenter `NodePool` are tolerated without.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tolerations: Vec<Value>,
    /// How long it may take from a pending pod until it runs on a new node, in seconds; at most and by default 600.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub up_seconds: Option<u32>,
    /// How long an empty node may stay, in seconds; at most and by default 900.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub down_seconds: Option<u32>,
}

impl Autoscaling {
    /// What is wrong with it, if anything.
    ///
    /// # Errors
    /// The first problem, with the pool's name.
    pub(super) fn check(&self) -> Result<(), String> {
        if let Some(metric) = &self.metric {
            metric.check()?;
        }
        let mut names = BTreeSet::new();
        for pool in &self.pools {
            let name = printable(&pool.name);
            if pool.name.is_empty() {
                return Err("spec.autoscaling.pools: a pool has no name".to_owned());
            }
            if !names.insert(&pool.name) {
                return Err(format!("spec.autoscaling.pools: {name} is stated twice"));
            }
            if pool.gpus_per_node == Some(0) {
                return Err(format!("spec.autoscaling.pools: {name} has gpusPerNode 0, so nothing could run on its nodes"));
            }
            for (what, seconds, most) in [
                ("upSeconds", pool.up_seconds, limits::NODE_ADDED.as_secs()),
                ("downSeconds", pool.down_seconds, limits::NODE_REMOVED.as_secs()),
            ] {
                if seconds.is_some_and(|seconds| seconds == 0 || u64::from(seconds) > most) {
                    return Err(format!("spec.autoscaling.pools: {what} of {name} must be 1 to {most}"));
                }
            }
        }
        Ok(())
    }
}

impl ScalingMetric {
    fn check(&self) -> Result<(), String> {
        let wrong = |what: String| Err(format!("spec.autoscaling.metric: {what}"));
        if self.name.is_empty() || self.target == 0 {
            return wrong("it needs a name and a target above 0".to_owned());
        }
        if self.source == MetricSource::Resource && self.name != "cpu" && self.name != "memory" {
            return wrong(format!("{} is no resource that pods are measured by: cpu or memory", printable(&self.name)));
        }
        for (what, seconds, most) in [
            ("windowSeconds", self.window_seconds, limits::SCALING_WINDOW.as_secs()),
            ("holdSeconds", self.hold_seconds, limits::SCALING_HOLD.as_secs()),
        ] {
            if seconds.is_some_and(|seconds| seconds == 0 || u64::from(seconds) > most) {
                return wrong(format!("{what} must be 1 to {most}"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_that_is_stated_twice_or_can_show_nothing_is_refused() {
        let pool = |change: fn(&mut ScaledPool)| {
            let mut pool = ScaledPool { name: "a".to_owned(), ..ScaledPool::default() };
            change(&mut pool);
            pool
        };
        assert_eq!(Autoscaling { pools: vec![pool(|_| ())], metric: None }.check(), Ok(()));
        for (pools, says) in [
            (vec![pool(|_| ()), pool(|_| ())], "a is stated twice"),
            (vec![pool(|pool| pool.name.clear())], "a pool has no name"),
            (vec![pool(|pool| pool.gpus_per_node = Some(0))], "gpusPerNode 0"),
            (vec![pool(|pool| pool.up_seconds = Some(601))], "upSeconds of a must be 1 to 600"),
            (vec![pool(|pool| pool.down_seconds = Some(0))], "downSeconds of a must be 1 to 900"),
        ] {
            let error = Autoscaling { pools, metric: None }.check().expect_err("is refused");
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn a_metric_that_nothing_can_follow_is_refused() {
        let metric = |more: &str| {
            let text = format!("{{source: pods, name: load, target: 50, {more}}}");
            crate::yaml::from_str::<ScalingMetric>(&text, "metric").expect("is a metric").check()
        };
        assert_eq!(metric("holdSeconds: 10"), Ok(()));
        assert!(metric("holdSeconds: 46").expect_err("too long").contains("holdSeconds must be 1 to 45"));
        assert!(metric("windowSeconds: 0").expect_err("too short").contains("windowSeconds must be 1 to 180"));
        let text = "{source: resource, name: gpu, target: 50}";
        let error = crate::yaml::from_str::<ScalingMetric>(text, "metric").expect("is a metric").check().expect_err("no resource");
        assert!(error.contains("gpu is no resource"), "{error}");
    }
}
