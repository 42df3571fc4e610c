//! Whether hardware is simulated, real or unknown: told from the cluster, never from a flag.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What hardware a node, or a cluster, has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Hardware {
    /// Marks of a simulator were seen.
    Simulated,
    /// A probe ran on it and saw devices with UUID and PCI address.
    Real,
    /// Neither; a policy treats it as not real.
    Unknown,
}

impl Hardware {
    /// The word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Simulated => "simulated",
            Self::Real => "real",
            Self::Unknown => "unknown",
        }
    }

    /// What a node is that carries these marks. No mark makes hardware real: that takes a probe on the node.
    #[must_use]
    pub fn of_marks(marks: &[String]) -> Self {
        if marks.is_empty() { Self::Unknown } else { Self::Simulated }
    }

    /// What a cluster is whose GPU nodes are these: simulated as soon as one is, real only if all are, else unknown.
    pub fn of_cluster(nodes: impl IntoIterator<Item = Self>) -> Self {
        let mut all = Self::Real;
        let mut any = false;
        for node in nodes {
            any = true;
            match node {
                Self::Simulated => return Self::Simulated,
                Self::Unknown => all = Self::Unknown,
                Self::Real => {}
            }
        }
        if any { all } else { Self::Unknown }
    }
}
