//! Node profiles: what a node of one hardware type says of itself.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use crate::error::{Error, Result, nearest};
use crate::sim::{embedded, embedded_names};
use crate::yaml;

/// What a node of one hardware type says of itself.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Profile {
    /// `seatrial.dev/v1alpha1`.
    pub api_version: String,
    /// `SimProfile`.
    pub kind: String,
    /// Its name, that of the file.
    pub name: String,
    /// One line for people.
    pub summary: String,
    /// Labels of the node, in either mode.
    pub labels: BTreeMap<String, String>,
    /// Taints of the node.
    pub taints: Vec<BTreeMap<String, String>>,
    /// Capacity and allocatable without the GPUs, as quantities.
    pub capacity: BTreeMap<String, String>,
    /// `status.nodeInfo`.
    pub node_info: BTreeMap<String, String>,
    /// The GPUs.
    pub gpus: Gpus,
}

/// The GPUs of a node.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Gpus {
    /// How many.
    pub count: usize,
    /// The label that says how many, where the vendor has one.
    #[serde(default)]
    pub count_label: Option<String>,
    /// Labels that only a node of one mode has.
    #[serde(default)]
    pub mode_labels: BTreeMap<Mode, BTreeMap<String, String>>,
    /// The device plugin's resource.
    pub resource: String,
    /// The DRA driver.
    pub driver: String,
    /// The DRA driver's DeviceClass.
    pub device_class: DeviceClass,
    /// What a device's UUID starts with.
    pub uuid_prefix: String,
    /// DRA attributes that all devices share, as the API writes them.
    pub attributes: BTreeMap<String, Value>,
    /// DRA capacities that all devices share, as the API writes them.
    pub capacity: BTreeMap<String, Value>,
    /// NUMA node of each device.
    pub numa: Vec<u32>,
    /// PCIe root complex of each device.
    pub pcie_roots: Vec<String>,
}

/// A DeviceClass with one CEL selector.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DeviceClass {
    /// Its name.
    pub name: String,
    /// The CEL expression that selects its devices.
    pub expression: String,
}

/// How a node advertises its GPUs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// An extended resource in capacity and allocatable.
    DevicePlugin,
    /// ResourceSlices.
    Dra,
}

impl Profile {
    /// Reads an embedded profile.
    ///
    /// # Errors
    /// [`crate::error::Kind::Usage`] if there is none of that name, with the nearest one.
    pub fn named(name: &str) -> Result<Self> {
        let Some(text) = embedded(&format!("profiles/{name}.yaml")) else {
            let known = Self::names();
            let mut error = Error::usage(format!("there is no node profile `{name}`"));
            if let Some(near) = nearest(name, known.iter().copied()) {
                error = error.hint(format!("did you mean `{near}`?"));
            }
            return Err(error.hint(format!("there are: {}", known.join(", "))));
        };
        let profile: Self = yaml::from_str(text, &format!("sim/profiles/{name}.yaml"))?;
        let gpus = &profile.gpus;
        if gpus.numa.len() != gpus.count || gpus.pcie_roots.len() != gpus.count {
            return Err(Error::internal(format!("profile {name} has {} GPUs and another number of places for them", gpus.count)));
        }
        Ok(profile)
    }

    /// Names of all profiles.
    #[must_use]
    pub fn names() -> Vec<&'static str> {
        embedded_names("profiles")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    #[test]
    fn every_profile_loads_and_is_called_what_its_file_is_called() {
        assert_eq!(Profile::names(), ["gb200-4", "h100-sxm-8", "mi300x-8"]);
        for name in Profile::names() {
            let profile = Profile::named(name).expect("loads");
            assert_eq!((profile.name.as_str(), profile.kind.as_str()), (name, "SimProfile"));
        }
    }

    #[test]
    fn an_unknown_profile_is_refused_with_the_nearest_name() {
        let error = Profile::named("h100-smx-8").expect_err("there is none");
        assert_eq!(error.kind(), Kind::Usage);
        assert_eq!(error.hints()[0], "did you mean `h100-sxm-8`?");
    }
}
