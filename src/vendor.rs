//! Vendor profiles: the names that a vendor's components use. Checks never spell a vendor themselves.

use std::sync::LazyLock;

use serde::Deserialize;

use crate::error::{Error, Result};
use crate::yaml;

/// The names that one vendor's components use.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Vendor {
    /// `nvidia`, `amd`.
    pub name: String,
    /// The device plugin's extended resource.
    pub resource: String,
    /// The DRA driver.
    pub driver: String,
    /// The DRA DeviceClass for whole GPUs.
    pub device_class: String,
    /// Values of the device attribute `type` that are whole GPUs.
    pub device_types: Vec<String>,
    /// Node labels.
    pub labels: VendorLabels,
    /// Prefix of the extended resources of partitions.
    pub partition_prefix: String,
    /// Node labels that change by themselves and are not part of a snapshot.
    pub volatile_labels: Vec<String>,
    /// The GPU operator.
    pub operator: Operator,
    /// What its metrics exporter says.
    pub exporter: Exporter,
    /// Device nodes in containers.
    pub devices: Devices,
    /// The tool that lists GPUs.
    pub tool: Tool,
}

/// A vendor's own tool.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Tool {
    /// What it is called.
    pub name: String,
    /// An image in which it runs.
    pub image: String,
    /// What is asked of it, each a command of a shell.
    pub commands: Vec<String>,
}

/// Device nodes of a vendor's GPUs, as shells match paths.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Devices {
    /// One for each GPU.
    pub whole: String,
    /// One or more for each part of a GPU that is cut up.
    #[serde(default)]
    pub parts: Option<String>,
}

/// What a vendor's metrics exporter says, and where.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Exporter {
    /// The port of its pods.
    pub port: u16,
    /// The path.
    pub path: String,
    /// Labels that tell GPUs apart, the best one first.
    pub gpu_labels: Vec<String>,
    /// Labels that may name the node.
    pub node_labels: Vec<String>,
    /// Metrics by what they measure.
    pub metrics: Vec<ExporterMetric>,
}

/// A metric of an exporter.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExporterMetric {
    /// What is measured. Of each quantity every GPU must have one metric, unless it is optional.
    pub quantity: String,
    /// Its names, by release of the exporter.
    pub names: Vec<String>,
    /// The unit, as UCUM has it.
    pub unit: String,
    /// The least that a GPU can have.
    pub min: i64,
    /// The most; beyond are the values by which a driver says that it does not know.
    pub max: i64,
    /// It need not be there.
    #[serde(default)]
    pub optional: bool,
    /// It grows for as long as the GPU has power, so one that stands still is not measured.
    #[serde(default)]
    pub grows: bool,
}

/// What a vendor's GPU operator is made of. A name may begin or end with `*`, which stands for anything.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Operator {
    /// Namespaces in which it may be installed, the usual one first.
    pub namespaces: Vec<String>,
    /// Names of its own Deployment.
    pub deployments: Vec<String>,
    /// The object that tells it what to install.
    pub policy: OperatorPolicy,
    /// Names of the DaemonSet of the metrics exporter.
    pub exporters: Vec<String>,
}

/// The object that tells an operator what to install.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OperatorPolicy {
    /// `apiVersion`.
    pub api_version: String,
    /// `kind`.
    pub kind: String,
    /// What its `status.state` says when everything is installed; none where the operator keeps no such word.
    #[serde(default)]
    pub ready: Option<String>,
}

/// True if a name is one of these patterns.
#[must_use]
pub fn is_one_of(name: &str, patterns: &[String]) -> bool {
    patterns.iter().any(|pattern| match (pattern.strip_prefix('*'), pattern.strip_suffix('*')) {
        (Some(end), _) => name.ends_with(end),
        (None, Some(start)) => name.starts_with(start),
        (None, None) => name == pattern,
    })
}

/// Node labels of one vendor.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct VendorLabels {
    /// Says that the node has GPUs.
    pub present: String,
    /// How many.
    pub count: String,
    /// Which product.
    pub product: String,
    /// How many pods share one.
    pub replicas: String,
}

static VENDORS: LazyLock<Result<Vec<Vendor>>> = LazyLock::new(|| {
    let files =
        [("nvidia.yaml", include_str!("../recipes/vendors/nvidia.yaml")), ("amd.yaml", include_str!("../recipes/vendors/amd.yaml"))];
    files.iter().map(|(name, text)| yaml::from_str(text, name)).collect()
});

/// All vendor profiles.
///
/// # Errors
/// Only if a shipped profile is invalid, which a test excludes.
pub fn all() -> Result<&'static [Vendor]> {
    VENDORS.as_deref().map_err(|error| Error::internal(format!("read the vendor profiles: {}", error.chain())))
}

/// The profile of this name.
///
/// # Errors
/// A usage error that names the nearest known vendor.
pub fn named(name: &str) -> Result<&'static Vendor> {
    let known = all()?;
    known.iter().find(|vendor| vendor.name == name).ok_or_else(|| {
        let names: Vec<&str> = known.iter().map(|vendor| vendor.name.as_str()).collect();
        let all = format!("known: {}", names.join(", "));
        Error::usage(format!("there is no vendor profile `{name}`")).did_you_mean(name, names, all)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_profiles_are_valid_and_an_unknown_one_is_named_with_the_nearest() {
        assert_eq!(all().expect("valid").len(), 2);
        assert!(is_one_of("gpu-operator", &["gpu-operator".to_owned()]) && !is_one_of("gpu-operator-x", &["gpu-operator".to_owned()]));
        assert!(is_one_of("amd-gpu-operator-x", &["amd-gpu-operator*".to_owned()]) && is_one_of("a-exporter", &["*-exporter".to_owned()]));
        assert_eq!(named("nvidai").expect_err("unknown").hints(), ["did you mean `nvidia`?"]);
    }
}
