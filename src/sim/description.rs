//! Cluster descriptions: which nodes of which profile, and what is deliberately wrong with them.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use crate::error::{Error, Result, nearest};
use crate::sim::profile::{DeviceClass, Mode, Profile};
use crate::sim::{embedded, embedded_names};
use crate::{files, limits, yaml};

/// A simulated cluster, described.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Description {
    /// `seatrial.dev/v1alpha1`.
    pub api_version: String,
    /// `SimCluster`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Platform workloads: names of files in `sim/platform`.
    #[serde(default)]
    pub platform: Vec<String>,
    /// The nodes.
    pub nodes: Vec<NodeSpec>,
    /// DeviceClasses beside, or instead of, those of the profiles in use.
    #[serde(default)]
    pub device_classes: Vec<DeviceClass>,
}

/// A node, or `count` of them.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NodeSpec {
    /// Its name; with `count`, names are this with `-1`, `-2` … behind.
    pub name: String,
    /// How many such nodes; one without a number without it.
    #[serde(default)]
    pub count: Option<u32>,
    /// The profile.
    pub profile: String,
    /// How it advertises its GPUs.
    pub mode: Mode,
    /// `topology.kubernetes.io/zone`.
    #[serde(default)]
    pub zone: Option<String>,
    /// Labels to add or change; null takes a profile's label away.
    #[serde(default)]
    pub labels: BTreeMap<String, Option<String>>,
    /// Annotations, e.g. `sim.seatrial.dev/ready: "false"`.
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
    /// Taints instead of the profile's.
    #[serde(default)]
    pub taints: Option<Vec<BTreeMap<String, String>>>,
    /// GPUs in capacity; the profile's count in `device-plugin` mode, else no such resource.
    #[serde(default)]
    pub capacity: Option<u64>,
    /// GPUs in allocatable; as capacity.
    #[serde(default)]
    pub allocatable: Option<u64>,
    /// Devices in the ResourceSlice; the profile's count in `dra` mode, else no slice.
    #[serde(default)]
    pub devices: Option<usize>,
    /// Slices that the pool says it has; there is always one. 2 makes the pool incomplete.
    #[serde(default)]
    pub slice_count: Option<u32>,
}

impl Description {
    /// Reads a description: the file of that path if there is one, else the embedded one of that name.
    ///
    /// # Errors
    /// [`crate::error::Kind::Usage`] if it is neither, or is not valid.
    pub fn read(wanted: &str) -> Result<Self> {
        let path = Path::new(wanted);
        if path.is_file() {
            return Self::parse(&files::read_text(path, limits::DOCUMENT_BYTES)?, wanted);
        }
        if let Some(text) = embedded(&format!("clusters/{wanted}.yaml")) {
            return Self::parse(text, &format!("sim/clusters/{wanted}.yaml"));
        }
        let known = embedded_names("clusters");
        let mut error = Error::usage(format!("there is no file and no cluster description `{wanted}`"));
        if let Some(near) = nearest(wanted, known.iter().copied()) {
            error = error.hint(format!("did you mean `{near}`?"));
        }
        Err(error.hint(format!("descriptions that come with seatrial: {}", known.join(", "))))
    }

    /// Parses a description and looks up all that it names.
    ///
    /// # Errors
    /// [`crate::error::Kind::Usage`] with file, line and column; or naming the profile, platform or node that is wrong.
    pub fn parse(text: &str, file: &str) -> Result<Self> {
        let description: Self = yaml::from_str(text, file)?;
        if (description.api_version.as_str(), description.kind.as_str()) != ("seatrial.dev/v1alpha1", "SimCluster") {
            let found = format!("{} {}", description.api_version, description.kind);
            return Err(Error::usage(format!("{file} is a `{found}`, not a `seatrial.dev/v1alpha1 SimCluster`")));
        }
        description.platform_objects()?;
        let mut names = std::collections::BTreeSet::new();
        for node in &description.nodes {
            let profile = Profile::named(&node.profile).map_err(|error| error.context(format!("{file}: node {}", node.name)))?;
            if node.devices.is_some_and(|devices| devices > profile.gpus.count) {
                let most = profile.gpus.count;
                return Err(Error::usage(format!(
                    "{file}: node {} has more devices than the {most} of profile {}",
                    node.name, profile.name
                )));
            }
            for name in node.names() {
                if !names.insert(name.clone()) {
                    return Err(Error::usage(format!("{file}: there are two nodes called {name}")));
                }
            }
        }
        if names.is_empty() {
            return Err(Error::usage(format!("{file} describes no nodes")));
        }
        Ok(description)
    }

    /// The objects of the platform workloads, in the order of the files.
    ///
    /// # Errors
    /// [`crate::error::Kind::Usage`] if there is no platform of that name.
    pub fn platform_objects(&self) -> Result<Vec<Value>> {
        let mut objects = Vec::new();
        for name in &self.platform {
            let known = embedded_names("platform");
            let Some(text) = embedded(&format!("platform/{name}.yaml")) else {
                let error = Error::usage(format!("there is no platform `{name}`"));
                return Err(error.hint(format!("there are: {}", known.join(", "))));
            };
            objects.extend(yaml::all_from_str::<Value>(text, &format!("sim/platform/{name}.yaml"))?);
        }
        Ok(objects)
    }

    /// How many nodes it describes.
    #[must_use]
    pub fn node_count(&self) -> usize {
        self.nodes.iter().map(|node| node.count.unwrap_or(1) as usize).sum()
    }
}

impl NodeSpec {
    /// The names of its nodes.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        match self.count {
            None => vec![self.name.clone()],
            Some(count) => (1..=count).map(|number| format!("{}-{number}", self.name)).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    #[test]
    fn every_description_that_comes_with_the_program_is_valid() {
        for name in embedded_names("clusters") {
            let description = Description::read(name).expect("is valid");
            assert_eq!(description.name, name);
        }
    }

    #[test]
    fn what_a_description_gets_wrong_is_named() {
        let with = |node: &str| {
            Description::parse(&format!("{{apiVersion: seatrial.dev/v1alpha1, kind: SimCluster, name: x, nodes: [{node}]}}"), "x.yaml")
        };
        for (node, cause) in [
            ("{name: a, profile: h200, mode: dra}", "no node profile `h200`"),
            ("{name: a, profile: gb200-4, mode: dra, devices: 5}", "more devices than the 4"),
            ("{name: a, profile: gb200-4, mode: dra}, {name: a, profile: gb200-4, mode: dra}", "two nodes called a"),
            ("{name: a, profile: gb200-4, mode: dar}", "x.yaml:1:"),
            ("", "no nodes"),
        ] {
            let error = with(node).expect_err(cause);
            assert_eq!(error.kind(), Kind::Usage);
            assert!(error.chain().contains(cause), "{}", error.chain());
        }
        assert_eq!(with("{name: a, count: 3, profile: gb200-4, mode: dra}").expect("is valid").node_count(), 3);
    }

    #[test]
    fn an_unknown_description_is_refused_with_the_nearest_name() {
        let error = Description::read("dmeo").expect_err("there is none");
        assert_eq!((error.kind(), error.hints()[0].as_str()), (Kind::Usage, "did you mean `demo`?"));
    }
}
