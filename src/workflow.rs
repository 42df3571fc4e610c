//! Workflow files: which steps, in which order, with which settings.

use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::data;
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::recipe::{Intent, Metadata};
use crate::sim::addons::karpenter::{self, InstanceType, Pool};
use crate::{files, limits, steps, yaml};

/// A workflow document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Workflow {
    /// `seatrial.dev/v1alpha1`.
    pub api_version: ApiVersion,
    /// `Workflow`.
    pub kind: Kind,
    /// Its name.
    pub metadata: Metadata,
    /// The steps.
    pub spec: WorkflowSpec,
}

/// The one supported `apiVersion`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ApiVersion {
    /// The first one.
    #[serde(rename = "seatrial.dev/v1alpha1")]
    V1alpha1,
}

/// The kind of a workflow document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Kind {
    /// A workflow.
    Workflow,
}

/// The content of a workflow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WorkflowSpec {
    /// What the intent step runs; without it, the recipe's performance checks only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub intent: Option<Intent>,
    /// The steps, in the order in which they run.
    pub steps: Vec<StepSpec>,
}

/// One step of a workflow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StepSpec {
    /// A step's id.
    pub id: String,
    /// setup: files with the Kubernetes objects to apply, relative to the workflow file.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub manifests: Vec<String>,
    /// setup: node pools of Karpenter's, in a simulated cluster; Karpenter is started if it does not run there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub karpenter: Option<Karpenter>,
    /// intent: leave the workload running for the steps after it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub keep: bool,
}

/// What Karpenter can make, and in which pools.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Karpenter {
    /// The kinds of machines, instead of those that come with seatrial.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub instance_types: Vec<InstanceType>,
    /// The pools; set-up proves of each with devices that it makes a node for a pending pod and removes it.
    pub node_pools: Vec<Pool>,
    /// Karpenter's ports for metrics and health cannot be bound to 127.0.0.1: true where that is acceptable. Not needed where it runs.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub listen_on_all_interfaces: bool,
}

/// Name of the node class of a workflow's pools.
const NODE_CLASS: &str = "seatrial-setup";

impl Karpenter {
    /// The kinds of machines that its pools may use.
    fn types(&self) -> Result<Vec<InstanceType>> {
        if self.instance_types.is_empty() { karpenter::instance_types() } else { Ok(self.instance_types.clone()) }
    }

    fn check(&self, place: &str) -> Result<()> {
        if self.node_pools.is_empty() {
            return Err(Error::usage(format!("{place}: karpenter has no nodePools: it would make nothing")));
        }
        let types = self.types()?;
        let known: Vec<&str> = types.iter().map(|instance| instance.name.as_str()).collect();
        for pool in &self.node_pools {
            if pool.instance_types.is_empty() || pool.limits.is_empty() {
                return Err(Error::usage(format!("{place}: pool {} needs instanceTypes, and limits for what they have", pool.name)));
            }
            for name in &pool.instance_types {
                let Some(instance) = types.iter().find(|instance| instance.name == *name) else {
                    let error = Error::usage(format!("{place}: pool {} has the unknown instance type `{name}`", pool.name));
                    return Err(error.did_you_mean(name, known.iter().copied(), format!("types: {}", known.join(", "))));
                };
                let unbounded = instance.resources.keys().find(|resource| resource.contains('/') && !pool.limits.contains_key(*resource));
                if let Some(resource) = unbounded {
                    let message = format!("{place}: pool {} has no limit for {resource}, of which {name} has some", pool.name);
                    return Err(Error::usage(message).hint(format!("add it: limits: {{{resource}: \"16\"}}")));
                }
            }
        }
        Ok(())
    }

    /// The objects that set-up applies, in their order.
    fn objects(&self) -> Vec<serde_json::Value> {
        let pools = self.node_pools.iter().map(|pool| pool.object(NODE_CLASS));
        std::iter::once(karpenter::node_class(NODE_CLASS)).chain(pools).collect()
    }
}

/// A workflow that was read and checked, with what it refers to.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The document.
    pub workflow: Workflow,
    /// Kubernetes objects that set-up applies, in order.
    pub manifests: Vec<serde_json::Value>,
}

impl Loaded {
    /// Reads a workflow by the name of a shipped one or by path.
    ///
    /// # Errors
    /// A usage error that names file, line and column, or the nearest known name.
    pub fn read(name_or_path: &str) -> Result<Self> {
        let is_path = name_or_path.contains(['/', '.']);
        let (text, name, folder) = if is_path {
            let path = Path::new(name_or_path);
            (files::read_text(path, limits::DOCUMENT_BYTES)?, name_or_path.to_owned(), path.parent())
        } else {
            let text = data::workflow(name_or_path).ok_or_else(|| unknown_workflow(name_or_path))?;
            (text.to_owned(), format!("workflows/{name_or_path}.yaml"), None)
        };
        let workflow: Workflow = yaml::from_str(&text, &name)?;
        workflow.check(&text, &name)?;
        let mut manifests: Vec<serde_json::Value> = workflow.karpenter().map(Karpenter::objects).unwrap_or_default();
        manifests.extend(workflow.read_manifests(folder, &name)?);
        Ok(Self { workflow, manifests })
    }

    /// A workflow of some steps and no intent, in the order given.
    #[must_use]
    pub fn of_steps(name: &str, ids: &[&str]) -> Self {
        let steps = ids.iter().map(|id| StepSpec { id: (*id).to_owned(), manifests: Vec::new(), karpenter: None, keep: false }).collect();
        let workflow = Workflow {
            api_version: ApiVersion::V1alpha1,
            kind: Kind::Workflow,
            metadata: Metadata { name: name.to_owned(), overlays: Vec::new() },
            spec: WorkflowSpec { intent: None, steps },
        };
        Self { workflow, manifests: Vec::new() }
    }

    /// Digest of the workflow and all that it applies.
    ///
    /// # Errors
    /// Never in practice; the model always has a JSON form.
    pub fn digest(&self) -> Result<Digest> {
        Digest::of_json(&(&self.workflow, &self.manifests))
    }
}

fn unknown_workflow(name: &str) -> Error {
    let known = data::workflow_names();
    let all = format!("shipped: {}; or give a path such as ./{name}.yaml", known.join(", "));
    Error::usage(format!("there is no workflow `{}`", crate::ui::printable(name))).did_you_mean(name, known, all)
}

impl Workflow {
    /// Checks step ids, that there are steps, none twice, and that settings are on the step that has them.
    fn check(&self, text: &str, name: &str) -> Result<()> {
        if self.spec.steps.is_empty() {
            return Err(Error::usage(format!("{name}: spec.steps is empty: a workflow that does nothing proves nothing")));
        }
        for (index, step) in self.spec.steps.iter().enumerate() {
            let place = place_of(text, &step.id, name);
            let known: Vec<&str> = steps::ALL.iter().map(|known| known.id).collect();
            if !known.contains(&step.id.as_str()) {
                let all = format!("steps: {}", known.join(", "));
                let error = Error::usage(format!("{place}: there is no step `{}`", crate::ui::printable(&step.id)));
                return Err(error.did_you_mean(&step.id, known, all));
            }
            if self.spec.steps[..index].iter().any(|earlier| earlier.id == step.id) {
                return Err(Error::usage(format!("{place}: step `{}` is listed twice", step.id)));
            }
            if !step.manifests.is_empty() && step.id != "setup" {
                return Err(Error::usage(format!("{place}: `manifests` belongs to setup, not to {}", step.id)));
            }
            if step.karpenter.is_some() && step.id != "setup" {
                return Err(Error::usage(format!("{place}: `karpenter` belongs to setup, not to {}", step.id)));
            }
            if let Some(karpenter) = &step.karpenter {
                karpenter.check(&place)?;
            }
            if step.keep && step.id != "intent" {
                return Err(Error::usage(format!("{place}: `keep` belongs to intent, not to {}", step.id)));
            }
        }
        Ok(())
    }

    /// What set-up asks of Karpenter, if anything.
    #[must_use]
    pub fn karpenter(&self) -> Option<&Karpenter> {
        self.spec.steps.iter().find_map(|step| step.karpenter.as_ref())
    }

    fn read_manifests(&self, folder: Option<&Path>, name: &str) -> Result<Vec<serde_json::Value>> {
        let mut objects = Vec::new();
        for file in self.spec.steps.iter().flat_map(|step| &step.manifests) {
            let Some(folder) = folder else {
                return Err(Error::usage(format!("{name}: a shipped workflow refers to the file {file}")));
            };
            let path = folder.join(file);
            let shown = path.display().to_string();
            let text = files::read_text(&path, limits::DOCUMENT_BYTES)?;
            for object in yaml::all_from_str::<serde_json::Value>(&text, &shown)? {
                let named =
                    |pointer: &str| object.pointer(pointer).and_then(serde_json::Value::as_str).is_some_and(|text| !text.is_empty());
                if !(named("/apiVersion") && named("/kind") && named("/metadata/name")) {
                    return Err(Error::usage(format!("{shown}: every object needs apiVersion, kind and metadata.name")));
                }
                objects.push(object);
            }
        }
        Ok(objects)
    }
}

/// Where in the text a step id stands, as `name:line:column`.
fn place_of(text: &str, id: &str, name: &str) -> String {
    let found = text.lines().enumerate().find_map(|(line, content)| {
        let rest = content.trim_start().strip_prefix("- ")?;
        (rest.contains("id:") && rest.contains(id)).then(|| (line + 1, content.find(id).unwrap_or(0) + 1))
    });
    found.map_or_else(|| name.to_owned(), |(line, column)| format!("{name}:{line}:{column}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind as ErrorKind;

    fn refused(text: &str) -> Error {
        let folder = tempfile::tempdir().expect("a directory");
        let path = folder.path().join("w.yaml");
        std::fs::write(&path, text).expect("written");
        let error = Loaded::read(path.to_str().expect("text")).expect_err("is refused");
        assert_eq!(error.kind(), ErrorKind::Usage);
        error
    }

    #[test]
    fn the_shipped_workflows_are_valid_and_in_canonical_order() {
        for name in data::workflow_names() {
            let loaded = Loaded::read(name).expect(name);
            let ids: Vec<&str> = loaded.workflow.spec.steps.iter().map(|step| step.id.as_str()).collect();
            assert_eq!(ids, steps::ALL.iter().map(|step| step.id).collect::<Vec<_>>());
        }
    }

    #[test]
    fn an_unknown_step_field_or_kind_names_the_place_and_the_nearest_name() {
        let head = "apiVersion: seatrial.dev/v1alpha1\nkind: Workflow\nmetadata: {name: x}\nspec:\n  intent: training\n  steps:\n";
        let error = refused(&format!("{head}  - id: snaphsot\n"));
        assert!(error.chain().contains("w.yaml:7:9: there is no step `snaphsot`"), "{}", error.chain());
        assert_eq!(error.hints(), ["did you mean `snapshot`?"]);
        let error = refused(&format!("{head}  - id: intent\n    keeep: true\n"));
        assert!(error.chain().contains("w.yaml:8:5: unknown field"), "{}", error.chain());
        assert_eq!(error.hints(), ["did you mean `keep`?"]);
        let error = refused(&head.replace("Workflow", "Wokflow"));
        assert_eq!(error.hints(), ["did you mean `Workflow`?"]);
    }

    #[test]
    fn a_workflow_without_steps_or_with_a_step_twice_is_refused() {
        let head = "apiVersion: seatrial.dev/v1alpha1\nkind: Workflow\nmetadata: {name: x}\nspec:\n  intent: training\n";
        assert!(refused(&format!("{head}  steps: []\n")).chain().contains("steps is empty"));
        assert!(refused(&format!("{head}  steps: [{{id: health}}, {{id: health}}]\n")).chain().contains("listed twice"));
    }

    #[test]
    fn a_pool_of_an_unknown_type_or_without_a_limit_for_its_gpus_is_refused() {
        let pool = |pool: &str| {
            let head = "apiVersion: seatrial.dev/v1alpha1\nkind: Workflow\nmetadata: {name: x}\nspec:\n  intent: training\n  steps:\n";
            refused(&format!("{head}  - id: setup\n    karpenter: {{nodePools: [{pool}]}}\n"))
        };
        let error = pool("{name: a, instanceTypes: [p5.48xlarg], limits: {nvidia.com/gpu: '8'}}");
        assert!(error.chain().contains("w.yaml:7:9: pool a has the unknown instance type"), "{}", error.chain());
        assert_eq!(error.hints(), ["did you mean `p5.48xlarge`?"]);
        let error = pool("{name: a, instanceTypes: [p5.48xlarge], limits: {cpu: '8'}}");
        assert!(error.chain().contains("no limit for nvidia.com/gpu"), "{}", error.chain());
        assert!(pool("").chain().contains("no nodePools"));
    }

    #[test]
    fn an_unknown_workflow_is_named_with_the_nearest() {
        assert_eq!(Loaded::read("conformence").expect_err("unknown").hints(), ["did you mean `conformance`?"]);
    }
}
