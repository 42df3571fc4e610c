//! The redaction policy: which open-ended things of a run may stand in its evidence, key by key. What is not listed is taken out.

use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::error::{Context, Error, Result};
use crate::recipe::API_VERSION;
use crate::{files, limits, yaml};

/// The shipped policy that holds where no other is named.
const MINIMAL: &str = include_str!("minimal.yaml");

/// A redaction policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Policy {
    /// `seatrial.dev/v1alpha1`.
    pub api_version: String,
    /// `RedactionPolicy`.
    pub kind: PolicyKind,
    /// Its name, which the evidence tells.
    pub metadata: Metadata,
    /// What it lets through.
    pub spec: Spec,
}

/// What it is called.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Metadata {
    /// Its name.
    pub name: String,
}

/// The kind of the document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PolicyKind {
    /// A redaction policy.
    RedactionPolicy,
}

/// What a policy lets through.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Spec {
    /// The policy that this one adds to.
    #[serde(default)]
    pub extends: Base,
    /// What is kept, by key. `*` at the beginning or the end of a key stands for anything.
    #[serde(default)]
    pub keep: Keep,
}

/// A policy that another one adds to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Base {
    /// Nothing open-ended is kept but what is listed.
    Nothing,
    /// What `minimal` keeps, and what is listed.
    #[default]
    Minimal,
    /// Everything is kept but tokens and keys that can be told by their form.
    Full,
}

/// Open-ended things that are kept, by key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Keep {
    /// Labels of nodes, e.g. `nvidia.com/gpu.*`.
    pub labels: Vec<String>,
    /// Taints of nodes and devices, by key.
    pub taints: Vec<String>,
    /// Resources of nodes, and capacities of devices.
    pub resources: Vec<String>,
    /// Conditions of nodes, by type.
    pub conditions: Vec<String>,
    /// Fields of `/etc/os-release`.
    pub os_release: Vec<String>,
    /// Parameters of the kernel's command line, by name.
    pub parameters: Vec<String>,
    /// Kernel settings, by path.
    pub sysctl: Vec<String>,
    /// Kernel modules.
    pub modules: Vec<String>,
    /// systemd units.
    pub units: Vec<String>,
    /// Fields of GPU operators' policies, e.g. `driver.version`.
    pub policies: Vec<String>,
    /// Attributes of DRA devices.
    pub device_attributes: Vec<String>,
    /// Names of namespaces, workloads, device classes, pools and policies; others become pseudonyms. Names in the recipe are always kept.
    pub names: Vec<String>,
    /// API groups, e.g. `*.k8s.io`; CustomResourceDefinitions go by theirs.
    pub api_groups: Vec<String>,
    /// Readings of another tool's snapshot, by address, e.g. `K8s.server.version`.
    pub readings: Vec<String>,
    /// Messages, hints and retries of tests and steps, by id.
    pub messages: Vec<String>,
    /// What a check saw, `artifacts/<id>.jsonl`, by id.
    pub artifacts: Vec<String>,
}

impl Policy {
    /// The policy that holds where no other is named: only what is known to be harmless.
    ///
    /// # Errors
    /// A defect of the shipped document, which a test excludes.
    pub fn minimal() -> Result<Self> {
        Self::parse(MINIMAL, "minimal.yaml")
    }

    /// Everything, as it was seen; only tokens and keys that can be told by their form are taken out.
    #[must_use]
    pub fn full() -> Self {
        Self {
            api_version: API_VERSION.to_owned(),
            kind: PolicyKind::RedactionPolicy,
            metadata: Metadata { name: "full".to_owned() },
            spec: Spec { extends: Base::Full, keep: Keep::default() },
        }
    }

    /// The policy of a name, `minimal` or `full`, or in a file.
    ///
    /// # Errors
    /// A usage error with file, line and column if the file is no such policy.
    pub fn read(name: &str) -> Result<Self> {
        match name {
            "minimal" => Self::minimal(),
            "full" => Ok(Self::full()),
            file => {
                let doing = || format!("read the redaction policy {file}");
                let text = files::read_text(Path::new(file), limits::DOCUMENT_BYTES)
                    .map_err(|error| error.hint("the shipped policies are `minimal` and `full`; anything else names a file"))
                    .with_context(doing)?;
                let policy = Self::parse(&text, file).with_context(doing)?;
                if ["minimal", "full"].contains(&policy.metadata.name.as_str()) {
                    return Err(Error::usage(format!("{file} calls itself `{}`, which is a shipped policy", policy.metadata.name))
                        .hint("give it another metadata.name: the evidence tells it"));
                }
                Ok(policy)
            }
        }
    }

    fn parse(text: &str, name: &str) -> Result<Self> {
        let policy: Self = yaml::from_str(text, name)?;
        if policy.api_version != API_VERSION {
            return Err(Error::usage(format!("{name}: unknown apiVersion `{}`", policy.api_version.escape_debug()))
                .hint(format!("this version reads {API_VERSION}")));
        }
        Ok(policy)
    }

    /// SHA-256 of its canonical JSON.
    ///
    /// # Errors
    /// Never in practice; the model always has a JSON form.
    pub fn digest(&self) -> Result<Digest> {
        Digest::of_json(self)
    }

    /// True if everything is kept.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.spec.extends == Base::Full
    }

    /// What it keeps, with what its base keeps.
    ///
    /// # Errors
    /// As [`Policy::minimal`].
    pub(super) fn keep(&self) -> Result<Keep> {
        let mut keep = self.spec.keep.clone();
        if self.spec.extends == Base::Minimal {
            keep.add(Self::minimal()?.spec.keep);
        }
        Ok(keep)
    }
}

impl Keep {
    fn add(&mut self, other: Self) {
        let Self {
            labels,
            taints,
            resources,
            conditions,
            os_release,
            parameters,
            sysctl,
            modules,
            units,
            policies,
            device_attributes,
            names,
            api_groups,
            readings,
            messages,
            artifacts,
        } = other;
        self.labels.extend(labels);
        self.taints.extend(taints);
        self.resources.extend(resources);
        self.conditions.extend(conditions);
        self.os_release.extend(os_release);
        self.parameters.extend(parameters);
        self.sysctl.extend(sysctl);
        self.modules.extend(modules);
        self.units.extend(units);
        self.policies.extend(policies);
        self.device_attributes.extend(device_attributes);
        self.names.extend(names);
        self.api_groups.extend(api_groups);
        self.readings.extend(readings);
        self.messages.extend(messages);
        self.artifacts.extend(artifacts);
    }
}

/// True if one of the patterns stands for the key.
pub(super) fn listed(patterns: &[String], key: &str) -> bool {
    let one = |pattern: &String| match (pattern.strip_prefix('*'), pattern.strip_suffix('*')) {
        _ if pattern == "*" => true,
        (Some(end), _) => key.ends_with(end),
        (None, Some(start)) => key.starts_with(start),
        (None, None) => pattern == key,
    };
    patterns.iter().any(one)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_anything_at_one_end() {
        let patterns = ["nvidia.com/gpu.*", "*.k8s.io", "cpu"].map(str::to_owned);
        for key in ["nvidia.com/gpu.count", "resource.k8s.io", "cpu"] {
            assert!(listed(&patterns, key), "{key}");
        }
        for key in ["nvidia.com/gp", "k8s.io", "cpus", ""] {
            assert!(!listed(&patterns, key), "{key}");
        }
        assert!(listed(&["*".to_owned()], "anything"));
    }

    #[test]
    fn the_shipped_policies_are_read_by_name_and_a_file_may_not_take_their_names() {
        assert_eq!(Policy::read("minimal").expect("reads").metadata.name, "minimal");
        assert!(Policy::read("full").expect("reads").is_full());
        let folder = tempfile::tempdir().expect("a directory");
        let file = folder.path().join("policy.yaml");
        let read = |text: &str| {
            std::fs::write(&file, text).expect("is written");
            Policy::read(&file.display().to_string())
        };
        let ours = "apiVersion: seatrial.dev/v1alpha1\nkind: RedactionPolicy\nmetadata: {name: ours}\nspec:\n  keep: {labels: [team]}\n";
        let policy = read(ours).expect("reads");
        let keep = policy.keep().expect("has a base");
        assert!(listed(&keep.labels, "team") && listed(&keep.labels, "kubernetes.io/arch"), "it adds to minimal");
        let alone = read(&ours.replace("spec:", "spec:\n  extends: nothing")).expect("reads").keep().expect("keeps");
        assert_eq!(alone.labels, ["team"]);
        for (from, to, says) in [("ours", "full", "a shipped policy"), ("labels", "lables", "labels"), ("v1alpha1", "v9", "apiVersion")] {
            let error = read(&ours.replace(from, to)).expect_err(to);
            assert!(error.chain().contains(says) || error.hints().iter().any(|hint| hint.contains(says)), "{}", error.chain());
        }
    }
}
