//! Parts of a recipe: components, health files, thresholds.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use crate::digest::Digest;
use crate::recipe::ExpectedObject;

/// Something that is installed in the cluster. In an overlay all but the name may be left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Component {
    /// Its name, which is unique in the recipe.
    pub name: String,
    /// The namespace that it is installed in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// How it is installed.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub component_type: Option<ComponentType>,
    /// The Helm chart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chart: Option<String>,
    /// The repository of the chart or the kustomization.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The version of the chart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The tag of the kustomization.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// The path of the kustomization in its repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// A file of values, relative to the data of the recipe.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub values_file: Option<String>,
    /// Values that go over those of the file and of the chart.
    #[serde(default, alias = "overrides", skip_serializing_if = "Map::is_empty")]
    pub values: Map<String, Value>,
    /// Patch files of a kustomization.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub patches: Vec<String>,
    /// Manifests that are applied before it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pre_manifest_files: Vec<String>,
    /// Manifests that are applied after it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub manifest_files: Vec<String>,
    /// Components that must be there before it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dependency_refs: Vec<String>,
    /// Where the version and the values come from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
    /// Objects that it brings; a resolved recipe has them in `spec.expect`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub expect: Vec<ExpectedObject>,
}

/// How a component is installed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ComponentType {
    /// A Helm chart.
    #[serde(alias = "helm")]
    Helm,
    /// A kustomization.
    #[serde(alias = "kustomize")]
    Kustomize,
}

/// A file of health tests. A path alone may be written as text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(with = "HealthForm")]
pub struct HealthFile {
    /// The path, relative to the recipe, else to the recipe data.
    pub file: String,
    /// SHA-256 of the file; filled in when the recipe is read, and compared where it is there already.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// The tests themselves, where there is no such file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test: Option<String>,
    /// What `$values` is in the tests; what a file of values says is filled in when the recipe is read.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub values: Map<String, Value>,
    /// A file of values, relative to the recipe; `values` win over it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub values_from: Option<String>,
    /// SHA-256 of the files that the tests refer to, by the path that they give; filled in when the recipe is read, and compared where it
    /// is there already.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub resources: BTreeMap<String, Digest>,
}

impl From<&str> for HealthFile {
    fn from(file: &str) -> Self {
        let (file, values, resources) = (file.to_owned(), Map::new(), BTreeMap::new());
        Self { file, digest: None, test: None, values, values_from: None, resources }
    }
}

/// A health file as text or as a map.
#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "it is what the schema says; reading goes by `HealthVisitor`, which keeps the cause of an error")]
enum HealthForm {
    Path(String),
    File(HealthMap),
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct HealthMap {
    /// The path, relative to the recipe, else to the recipe data.
    file: String,
    /// SHA-256 of the file.
    digest: Option<Digest>,
    /// The tests themselves, where there is no such file.
    test: Option<String>,
    /// What `$values` is in the tests.
    #[serde(default)]
    values: Map<String, Value>,
    /// A file of values, relative to the recipe; `values` win over it.
    values_from: Option<String>,
    /// SHA-256 of the files that the tests refer to, by the path that they give.
    #[serde(default)]
    resources: BTreeMap<String, Digest>,
}

struct HealthVisitor;

impl<'de> Visitor<'de> for HealthVisitor {
    type Value = HealthFile;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the path of a health file, or a map with `file`")
    }

    fn visit_str<E: serde::de::Error>(self, file: &str) -> Result<HealthFile, E> {
        Ok(HealthFile::from(file))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<HealthFile, A::Error> {
        let HealthMap { file, digest, test, values, values_from, resources } = HealthMap::deserialize(MapAccessDeserializer::new(map))?;
        Ok(HealthFile { file, digest, test, values, values_from, resources })
    }
}

impl<'de> Deserialize<'de> for HealthFile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(HealthVisitor)
    }
}

/// What a measurement must reach.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Threshold {
    /// What is measured: the id of a check, or a metric of one.
    pub id: String,
    /// An operator and a number, e.g. `>= 300`.
    pub value: String,
    /// The unit of the number, e.g. `GB/s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// What the number is for one of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per: Option<Per>,
    /// The network or link that it holds for, e.g. `efa`, `nvlink`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fabric: Option<String>,
    /// Where the number comes from: a document, a measurement.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
}

/// What a threshold is for one of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Per {
    /// One GPU.
    Gpu,
    /// One node.
    Node,
    /// Two nodes that talk to each other.
    Pair,
    /// The whole job or endpoint.
    Job,
}

impl Threshold {
    /// Operator and number.
    ///
    /// # Errors
    /// What is wrong with the value.
    pub fn bound(&self) -> Result<(&str, f64), String> {
        let text = self.value.trim();
        let number = text.trim_start_matches(['<', '>', '=']);
        let operator = &text[..text.len() - number.len()];
        let wrong = || format!("`{}` is not an operator and a number such as `>= 300`", crate::ui::printable(text));
        match (operator, number.trim().parse::<f64>()) {
            (">=" | "<=" | ">" | "<" | "==", Ok(number)) if number.is_finite() => Ok((operator, number)),
            _ => Err(wrong()),
        }
    }
}
