//! Addresses of readings, `<type>.<subtype>.<key>`: which there are, and what there is one reading of each.

use std::fmt;
use std::str::FromStr;

use crate::constraints::Over;
use crate::error::{Error, Result};

/// The address of a reading, `<type>.<subtype>.<key>`. Keys may contain dots and slashes; so may the names of units.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address {
    /// `K8s`, `GPU`, `OS`, `SystemD`, `NodeTopology`, `NetworkTopology` or `Deployment`.
    pub kind: String,
    /// `server`, `release`; the unit for `SystemD`, the component for `Deployment`, `gpu` for what there is of each GPU.
    pub subtype: String,
    /// The rest.
    pub key: String,
    /// Which entry of a list it is of, `K8s.slinky-slurm[kind=Controller].name`; only other tools' snapshots have lists.
    pub selector: Option<Selector>,
    text: String,
}

/// Names one entry of a list, or all that have a value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Selector {
    /// By its place, from 0.
    Index(usize),
    /// By what it says of itself.
    Where(String, String),
}

/// Keys of a subtype: these only, or any.
#[derive(Clone, Copy)]
enum Keys {
    These(&'static [&'static str]),
    Any,
}

/// A subtype that has addresses.
struct Subtype {
    kind: &'static str,
    name: &'static str,
    keys: Keys,
    over: Over,
}

const fn row(kind: &'static str, name: &'static str, keys: Keys, over: Over) -> Subtype {
    Subtype { kind, name, keys, over }
}

use Keys::{Any, These};
use Over::{Cluster, Gpus, Nodes};

/// Types of readings.
pub const KINDS: &[&str] = &["K8s", "GPU", "OS", "SystemD", "NodeTopology", "NetworkTopology", "Deployment"];

/// What there is of each GPU: `GPU.<key>`.
pub const GPU_KEYS: &[&str] = &[
    "addressing",
    "architecture",
    "driver",
    "ecc",
    "ecc-pending",
    "fabric-state",
    "firmware",
    "links-active",
    "links-inactive",
    "memory",
    "mig-mode",
    "mig-mode-pending",
    "model",
    "pcie",
    "pcie-width",
    "persistence",
    "power-cap",
    "power-cap-max",
    "uuid",
    "vbios",
];

/// What the vendor's tool says of a node: its driver, and its first GPU.
pub const SMI_KEYS: &[&str] = &[
    "driver",
    "cuda-version",
    "gpu-count",
    "gpu.model",
    "gpu.product-architecture",
    "gpu.display-mode",
    "gpu.display-active",
    "gpu.persistence-mode",
    "gpu.addressing-mode",
    "gpu.vbios-version",
    "gpu.gsp-firmware-version",
];

/// What the API server says of a node.
pub(super) const NODE_KEYS: &[&str] = &[
    "source-node",
    "provider",
    "provider-id",
    "container-runtime-id",
    "container-runtime-name",
    "container-runtime-version",
    "kubelet-version",
    "kernel-version",
    "operating-system",
    "os-image",
];

const SLURM_KEYS: &[&str] = &[
    "api-available",
    "api-version",
    "collection-state",
    "controller-count",
    "detected",
    "nodeset-count",
    "loginset-count",
    "restapi-count",
    "accounting-count",
];

const OPERATOR_KEYS: &[&str] = &["collection-state", "api-available", "api-version"];

static SUBTYPES: &[Subtype] = &[
    row("K8s", "server", These(&["version", "platform", "goVersion"]), Cluster),
    row("K8s", "node", These(NODE_KEYS), Nodes),
    row("K8s", "image", Any, Cluster),
    row("K8s", "policy", Any, Cluster),
    // Read from other tools' snapshots only.
    row("K8s", "aks-gpu-pools", These(&["gpu-pool-count", "gpu-pools", "gpu-driver"]), Cluster),
    row("K8s", "gke-gpu-pools", These(&["gpu-pool-count", "gpu-pools", "gpu-driver-installation"]), Cluster),
    row("K8s", "oke-addons", These(&["addon-count", "nvidia-gpu-plugin"]), Cluster),
    row("K8s", "oke-legacy-plugin", These(&["nvidia-gpu-device-plugin", "daemonset"]), Cluster),
    row("K8s", "slinky-slurm", These(SLURM_KEYS), Cluster),
    row("K8s", "mariadb-operator", These(OPERATOR_KEYS), Cluster),
    row("K8s", "percona-server-mongodb", These(OPERATOR_KEYS), Cluster),
    row("K8s", "default-storage-class", These(&["collection-state", "default-count", "default-classes"]), Cluster),
    row("GPU", "smi", These(SMI_KEYS), Nodes),
    row("GPU", "hardware", These(&["gpu-present", "gpu-count", "driver-loaded", "detection-source", "model"]), Nodes),
    row("GPU", "gpu", These(GPU_KEYS), Gpus),
    row("OS", "release", Any, Nodes),
    row("OS", "sysctl", Any, Nodes),
    row("OS", "kmod", Any, Nodes),
    row("OS", "grub", Any, Nodes),
    row("OS", "extensions", Any, Nodes),
    row("NodeTopology", "summary", These(&["node-count", "taint-count", "label-count"]), Cluster),
    row("NodeTopology", "label", Any, Nodes),
    row("NodeTopology", "taint", Any, Nodes),
    row("NodeTopology", "gpu-nodes", These(&["label"]), Nodes),
    row("NetworkTopology", "identity", These(&["pf-count", "rail-count"]), Cluster),
    row("NetworkTopology", "capabilities", These(&["sriov", "rdma", "ib"]), Cluster),
    row("NetworkTopology", "kernel-modules", Any, Cluster),
];

/// Lists of other tools' snapshots: type, subtype, keys of an entry.
static ITEMS: &[(&str, &str, &[&str])] = &[
    (
        "K8s",
        "slinky-slurm",
        &[
            "cluster-name",
            "external",
            "accounting-ref-present",
            "partition-enabled",
            "id",
            "kind",
            "namespace",
            "name",
            "api-version",
            "controller-id",
        ],
    ),
    (
        "NetworkTopology",
        "pfs",
        &[
            "pciAddress",
            "deviceID",
            "psid",
            "partNumber",
            "rdmaDevice",
            "networkInterface",
            "model",
            "connectedGPU",
            "gpuProximity",
            "rail",
            "numaNode",
            "traffic",
        ],
    ),
];

impl Address {
    /// Reads an address and checks that a snapshot can have such a reading.
    ///
    /// # Errors
    /// [`crate::error::Kind::Usage`] with the nearest known name.
    pub fn parse(text: &str) -> Result<Self> {
        let wrong = |why: String| Error::usage(format!("`{}` is no address of a reading: {why}", text.escape_debug()));
        let (kind, rest) = text
            .split_once('.')
            .ok_or_else(|| wrong("it has no dot".to_owned()).hint("the form is <type>.<subtype>.<key>, e.g. K8s.server.version"))?;
        if !KINDS.contains(&kind) {
            let all = format!("types are {}", KINDS.join(", "));
            return Err(wrong(format!("there is no type `{}`", kind.escape_debug())).did_you_mean(kind, KINDS.iter().copied(), all));
        }
        if text.chars().any(char::is_control) || text.chars().any(char::is_whitespace) {
            return Err(wrong("it has a space or a control character".to_owned()));
        }
        let (subtype, key) = match kind {
            // Names of units have dots, their properties have none.
            "SystemD" => rest.rsplit_once('.').ok_or_else(|| {
                wrong("a unit and its property are needed".to_owned()).hint("e.g. SystemD.containerd.service.ActiveState")
            })?,
            "GPU" if !rest.contains('.') => ("gpu", rest),
            "Deployment" => rest
                .rsplit_once('.')
                .ok_or_else(|| wrong("a component and `version` are needed".to_owned()).hint("e.g. Deployment.gpu-operator.version"))?,
            // A value in brackets may have dots.
            _ => match rest.find("].") {
                Some(end) if rest.find('[').is_some_and(|start| !rest[..start].contains('.')) => (&rest[..=end], &rest[end + 2..]),
                _ => rest.split_once('.').unwrap_or((rest, "")),
            },
        };
        let (subtype, selector) = match subtype.strip_suffix(']').and_then(|inner| inner.split_once('[')) {
            Some((subtype, inner)) => {
                (subtype, Some(selector(inner).ok_or_else(|| wrong(format!("`[{inner}]` names no entry")).hint("[0], or [name=x]"))?))
            }
            None => (subtype, None),
        };
        let address = Self { kind: kind.to_owned(), subtype: subtype.to_owned(), key: key.to_owned(), selector, text: text.to_owned() };
        address.check(&wrong)?;
        Ok(address)
    }

    /// What there is one reading of each.
    #[must_use]
    pub fn over(&self) -> Over {
        match (self.kind.as_str(), self.subtype.as_str()) {
            ("SystemD", _) | ("Deployment", "gpu-driver") => Nodes,
            (kind, subtype) => known(kind, subtype).map_or(Cluster, |row| row.over),
        }
    }

    /// The address as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    fn check(&self, wrong: &impl Fn(String) -> Error) -> Result<()> {
        match self.kind.as_str() {
            "SystemD" => self.check_unit(wrong),
            "Deployment" if self.key == "version" && !self.subtype.is_empty() => Ok(()),
            "Deployment" => Err(wrong(format!("a component has no `{}`", self.key)).hint("only <component>.version can be read")),
            _ => self.check_listed(wrong),
        }
    }

    fn check_unit(&self, wrong: &impl Fn(String) -> Error) -> Result<()> {
        let known = [".service", ".socket", ".mount", ".target", ".timer", ".slice", ".path"];
        let has_suffix = |suffix: &&str| self.subtype.len() > suffix.len() && self.subtype.ends_with(*suffix);
        if !known.iter().any(has_suffix) {
            return Err(wrong(format!("`{}` is not the name of a unit", self.subtype))
                .hint(format!("did you mean `SystemD.{}.service.{}`?", self.subtype, self.key)));
        }
        if self.key.is_empty() || !self.key.chars().all(|letter| letter.is_ascii_alphanumeric()) {
            return Err(wrong(format!("`{}` is not the name of a property", self.key)).hint("e.g. ActiveState"));
        }
        Ok(())
    }

    fn check_item(&self, wrong: &impl Fn(String) -> Error) -> Result<()> {
        let Some((_, _, keys)) = ITEMS.iter().find(|(kind, subtype, _)| *kind == self.kind && *subtype == self.subtype) else {
            let lists: Vec<String> = ITEMS.iter().map(|(kind, subtype, _)| format!("{kind}.{subtype}")).collect();
            return Err(wrong(format!("{}.{} has no entries", self.kind, self.subtype)).hint(format!("lists are {}", lists.join(", "))));
        };
        let named = match &self.selector {
            Some(Selector::Where(key, _)) => vec![key.as_str(), &self.key],
            _ => vec![self.key.as_str()],
        };
        match named.into_iter().find(|key| !keys.contains(key)) {
            Some(key) => {
                let all = format!("keys are {}", keys.join(", "));
                Err(wrong(format!("an entry of {}.{} has no `{key}`", self.kind, self.subtype)).did_you_mean(
                    key,
                    keys.iter().copied(),
                    all,
                ))
            }
            None => Ok(()),
        }
    }

    fn check_listed(&self, wrong: &impl Fn(String) -> Error) -> Result<()> {
        if self.selector.is_some() {
            return self.check_item(wrong);
        }
        let Some(row) = known(&self.kind, &self.subtype) else {
            let names: Vec<&str> = SUBTYPES.iter().filter(|row| row.kind == self.kind).map(|row| row.name).collect();
            let all = format!("subtypes of {} are {}", self.kind, names.join(", "));
            let error = wrong(format!("{} has no subtype `{}`", self.kind, self.subtype));
            return Err(error.did_you_mean(&self.subtype, names, all));
        };
        match row.keys {
            Any if self.key.is_empty() => Err(wrong("the key is missing".to_owned()).hint(format!("{}.{}.<key>", row.kind, row.name))),
            Any if row.name == "sysctl" && !self.key.starts_with("/proc/sys/") => {
                let path = format!("/proc/sys/{}", self.key.trim_start_matches('/').replace('.', "/"));
                Err(wrong("settings are named by their path".to_owned()).hint(format!("did you mean `OS.sysctl.{path}`?")))
            }
            These(keys) if !keys.contains(&self.key.as_str()) => {
                let what = if row.name == "gpu" { "a GPU".to_owned() } else { format!("{}.{}", row.kind, row.name) };
                let all = format!("keys are {}", keys.join(", "));
                Err(wrong(format!("{what} has no `{}`", self.key)).did_you_mean(&self.key, keys.iter().copied(), all))
            }
            Any | These(_) => Ok(()),
        }
    }
}

fn selector(inner: &str) -> Option<Selector> {
    match inner.split_once('=') {
        Some((key, value)) if !key.is_empty() => Some(Selector::Where(key.to_owned(), value.to_owned())),
        Some(_) => None,
        None => inner.parse().ok().map(Selector::Index),
    }
}

fn known(kind: &str, subtype: &str) -> Option<&'static Subtype> {
    SUBTYPES.iter().find(|row| row.kind == kind && row.name == subtype)
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Address {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(text: &str) -> (String, String, Over) {
        let address = Address::parse(text).unwrap_or_else(|error| panic!("{text}: {}", error.chain()));
        assert_eq!(address.to_string(), text);
        (address.subtype.clone(), address.key.clone(), address.over())
    }

    #[test]
    fn keys_and_units_may_have_dots_and_slashes() {
        let expected = [
            ("K8s.server.version", "server", "version", Cluster),
            ("K8s.policy.driver.rdma.enabled", "policy", "driver.rdma.enabled", Cluster),
            ("OS.sysctl./proc/sys/net/ipv4/conf/eth0.100/mtu", "sysctl", "/proc/sys/net/ipv4/conf/eth0.100/mtu", Nodes),
            ("SystemD.containerd.service.ActiveState", "containerd.service", "ActiveState", Nodes),
            ("GPU.smi.gpu.model", "smi", "gpu.model", Nodes),
            ("GPU.vbios", "gpu", "vbios", Gpus),
            ("NodeTopology.label.nvidia.com/gpu.present", "label", "nvidia.com/gpu.present", Nodes),
            ("Deployment.gpu-operator.version", "gpu-operator", "version", Cluster),
            ("Deployment.gpu-driver.version", "gpu-driver", "version", Nodes),
            ("K8s.slinky-slurm[name=a.b].kind", "slinky-slurm", "kind", Cluster),
            ("NetworkTopology.pfs[0].rail", "pfs", "rail", Cluster),
        ];
        for (text, subtype, key, over) in expected {
            assert_eq!(parts(text), (subtype.to_owned(), key.to_owned(), over), "{text}");
        }
    }

    #[test]
    fn an_address_that_cannot_exist_is_refused_with_the_nearest_that_can() {
        let expected = [
            ("K8S.server.version", "did you mean `K8s`?"),
            ("K8s.serverr.version", "did you mean `server`?"),
            ("K8s.server.versionn", "did you mean `version`?"),
            ("K8s.server", "keys are version, platform, goVersion"),
            ("OS.release", "OS.release.<key>"),
            ("OS.sysctl.net.core.somaxconn", "did you mean `OS.sysctl./proc/sys/net/core/somaxconn`?"),
            ("GPU.vbois", "did you mean `vbios`?"),
            ("GPU.smi.gpu-cuont", "did you mean `gpu-count`?"),
            ("SystemD.kubelet.ActiveState", "did you mean `SystemD.kubelet.service.ActiveState`?"),
            ("Deployment.gpu-operator.replicas", "only <component>.version can be read"),
            ("K8s.slinky-slurm[0].knid", "did you mean `kind`?"),
            ("K8s.server[0].version", "lists are K8s.slinky-slurm, NetworkTopology.pfs"),
            ("NetworkTopology.pfs[x].rail", "[0], or [name=x]"),
            ("banana", "the form is <type>.<subtype>.<key>, e.g. K8s.server.version"),
        ];
        for (text, hint) in expected {
            let error = Address::parse(text).expect_err(text);
            assert_eq!(error.kind(), crate::error::Kind::Usage);
            assert_eq!(error.hints(), [hint], "{text}");
        }
    }
}
