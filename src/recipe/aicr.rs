//! Reads the recipes of NVIDIA AICR: resolved ones (`RecipeResult`) and overlays (`RecipeMetadata`).
//!
//! What cannot be honoured is refused by name and place. What asks nothing of a cluster (how it was resolved) is passed over.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value};
use serde_saphyr::Spanned;

use crate::constraints::{Constraint, Quantifier, Severity};
use crate::error::{Error, Result};
use crate::recipe::overlay::{Overlay, OverlayKind, OverlayMetadata, OverlaySpec};
use crate::recipe::{
    API_VERSION, Component, ComponentType, Criteria, ExpectedObject, HealthFile, Metadata, Phases, Recipe, RecipeKind, Spec, Threshold,
};
use crate::snapshot::address;
use crate::ui::printable;
use crate::yaml;

/// API versions of the documents that are read.
pub(super) const API_VERSIONS: [&str; 5] =
    ["aicr.nvidia.com/v1alpha1", "aicr.run/v1alpha1", "aicr.run/v1alpha2", "aicr.run/v1beta1", "aicr.run/v1"];

/// Kinds that are read.
pub(super) const KINDS: [&str; 4] = ["RecipeResult", "RecipeMetadata", "RecipeCriteria", "Recipe"];

/// A part that is only accepted where it says nothing.
type Refused = Option<Spanned<Value>>;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RecipeResult {
    #[serde(rename = "kind")]
    _kind: String,
    #[serde(rename = "apiVersion")]
    _api_version: String,
    #[serde(default)]
    metadata: ResultMetadata,
    criteria: Option<Criteria>,
    configuration: Refused,
    constraints: Option<Vec<Limit>>,
    component_refs: Option<Vec<ComponentRef>>,
    deployment_order: Option<Vec<String>>,
    validation: Option<Validation>,
}

/// How it was resolved.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ResultMetadata {
    #[serde(rename = "version")]
    _version: Option<String>,
    applied_overlays: Option<Vec<String>>,
    #[serde(rename = "excludedOverlays")]
    _excluded_overlays: Option<IgnoredAny>,
    #[serde(rename = "constraintWarnings")]
    _constraint_warnings: Option<IgnoredAny>,
    #[serde(rename = "gpuDriverState")]
    _gpu_driver_state: Option<IgnoredAny>,
    #[serde(rename = "selectedProfile")]
    _selected_profile: Option<IgnoredAny>,
    #[serde(rename = "mariaDBOperatorState")]
    _mariadb_operator_state: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RecipeMetadata {
    #[serde(rename = "kind")]
    _kind: String,
    #[serde(rename = "apiVersion")]
    _api_version: String,
    metadata: OverlayMetadata,
    spec: MetadataSpec,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct MetadataSpec {
    base: Option<String>,
    criteria: Option<Criteria>,
    mixins: Refused,
    profile: Refused,
    constraints: Option<Vec<Limit>>,
    component_refs: Option<Vec<ComponentRef>>,
    validation: Option<Validation>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Limit {
    name: Spanned<String>,
    value: String,
    severity: Option<Level>,
    remediation: Option<String>,
    unit: Option<String>,
}

#[derive(Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Level {
    Error,
    Warning,
    Info,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ComponentRef {
    name: String,
    namespace: Option<String>,
    chart: Option<String>,
    #[serde(rename = "type")]
    component_type: Option<ComponentType>,
    source: Option<String>,
    version: Option<String>,
    tag: Option<String>,
    values_file: Option<String>,
    overrides: Option<Map<String, Value>>,
    patches: Option<Vec<String>>,
    dependency_refs: Option<Vec<String>>,
    manifest_files: Option<Vec<String>>,
    pre_manifest_files: Option<Vec<String>>,
    path: Option<String>,
    // What is removed after a validation of theirs; nothing is installed here.
    #[serde(rename = "cleanup")]
    _cleanup: Option<bool>,
    expected_resources: Option<Vec<Resource>>,
    health_check_asserts: Option<String>,
    // Says that a test of theirs is not to be added; none is added here.
    #[serde(rename = "healthCheckSkip")]
    _health_check_skip: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Resource {
    kind: Spanned<String>,
    name: String,
    namespace: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Validation {
    readiness: Option<Phase>,
    deployment: Option<Phase>,
    conformance: Option<Phase>,
    performance: Option<Phase>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Phase {
    constraints: Option<Vec<Limit>>,
    checks: Option<Vec<Spanned<String>>>,
    timeout: Refused,
    node_selection: Refused,
    infrastructure: Refused,
}

/// What both kinds hold, in our terms.
#[derive(Default)]
struct Content {
    components: Vec<Component>,
    constraints: Vec<Constraint>,
    expect: Vec<ExpectedObject>,
    health: Vec<HealthFile>,
    checks: Phases,
    thresholds: Vec<Threshold>,
    notes: Vec<String>,
}

/// Reads a resolved recipe, with notes on what was understood in which way.
///
/// # Errors
/// A usage error with file, line and column: an unknown field, or one that cannot be honoured.
pub(super) fn resolved(text: &str, name: &str) -> Result<(Recipe, Vec<String>)> {
    let read: RecipeResult = yaml::from_str(text, name)?;
    refuse(name, "configuration", read.configuration.as_ref())?;
    let criteria = read.criteria.unwrap_or_default();
    let content = content(name, read.constraints, read.component_refs, read.validation.unwrap_or_default())?;
    for listed in read.deployment_order.iter().flatten() {
        let names = content.components.iter().map(|component| component.name.as_str());
        if !names.clone().any(|name| name == listed) {
            let error = Error::usage(format!("{name}: deploymentOrder names `{}`, which is no component", printable(listed)));
            return Err(error.did_you_mean(listed, names, "take it out, or add it to componentRefs"));
        }
    }
    let Content { components, constraints, expect, health, checks, thresholds, notes } = content;
    let vendor = vendor(&criteria).to_owned();
    let metadata = Metadata { name: criteria.name(), overlays: read.metadata.applied_overlays.unwrap_or_default() };
    let spec = Spec {
        criteria,
        vendor,
        components,
        constraints,
        expect,
        health,
        checks,
        thresholds,
        gang_schedulers: Vec::new(),
        controllers: Vec::new(),
        autoscaling: None,
        intent: BTreeMap::new(),
    };
    Ok((Recipe { api_version: API_VERSION.to_owned(), kind: RecipeKind::Recipe, metadata, spec }, notes))
}

/// Reads an overlay.
///
/// # Errors
/// As [`resolved`].
pub(super) fn overlay(text: &str, name: &str) -> Result<Overlay> {
    let RecipeMetadata { metadata, spec, .. } = yaml::from_str(text, name)?;
    refuse(name, "spec.mixins", spec.mixins.as_ref())?;
    refuse(name, "spec.profile", spec.profile.as_ref())?;
    let criteria = spec.criteria.unwrap_or_default();
    let content = content(name, spec.constraints, spec.component_refs, spec.validation.unwrap_or_default())?;
    let Content { components, constraints, expect, health, checks, thresholds, .. } = content;
    let vendor = criteria.accelerator.is_some().then(|| vendor(&criteria).to_owned());
    let base = spec.base.filter(|base| !base.is_empty());
    let spec =
        OverlaySpec { base, criteria, vendor, components, constraints, expect, health, checks, thresholds, ..OverlaySpec::default() };
    Ok(Overlay { api_version: API_VERSION.to_owned(), kind: OverlayKind::RecipeOverlay, metadata, spec })
}

/// AMD's accelerators are called MI; their recipes know no other vendor but NVIDIA.
fn vendor(criteria: &Criteria) -> &'static str {
    if criteria.accelerator.as_deref().is_some_and(|accelerator| accelerator.starts_with("mi")) { "amd" } else { "nvidia" }
}

/// Refuses a part that says something.
fn refuse(name: &str, field: &str, part: Option<&Spanned<Value>>) -> Result<()> {
    let empty = |value: &Value| match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    };
    match part.filter(|part| !empty(&part.value)) {
        None => Ok(()),
        Some(part) => {
            let (line, column) = (part.referenced.line(), part.referenced.column());
            Err(Error::usage(format!("{name}:{line}:{column}: seatrial cannot honour `{field}`"))
                .hint("take it out if the recipe means the same without it; docs/recipes.md says what is read"))
        }
    }
}

fn content(name: &str, constraints: Option<Vec<Limit>>, components: Option<Vec<ComponentRef>>, validation: Validation) -> Result<Content> {
    let mut content = Content::default();
    content.constraints.extend(constraints.into_iter().flatten().map(constraint));
    for component in components.into_iter().flatten() {
        content.component(name, component)?;
    }
    let phases = [
        ("readiness", validation.readiness),
        ("deployment", validation.deployment),
        ("conformance", validation.conformance),
        ("performance", validation.performance),
    ];
    for (word, phase) in phases.into_iter().filter_map(|(word, phase)| Some((word, phase?))) {
        content.phase(name, word, phase)?;
    }
    Ok(content)
}

fn constraint(limit: Limit) -> Constraint {
    let severity = match limit.severity {
        None | Some(Level::Error) => Severity::Required,
        Some(Level::Warning | Level::Info) => Severity::Advisory,
    };
    Constraint {
        name: limit.name.value,
        value: limit.value,
        value_type: None,
        unit: limit.unit,
        over: None,
        quantifier: Quantifier::All,
        severity,
        remediation: limit.remediation,
        source: None,
    }
}

impl Content {
    fn component(&mut self, name: &str, read: ComponentRef) -> Result<()> {
        let values = read.overrides.unwrap_or_default();
        let off = ["enabled", "install"].iter().any(|gate| values.get(*gate) == Some(&Value::Bool(false)));
        if off {
            self.notes.push(format!("component {} is switched off, so its objects and health tests are not looked for", read.name));
        } else {
            for resource in read.expected_resources.into_iter().flatten() {
                self.expect.push(expected(name, resource)?);
            }
            if let Some(test) = read.health_check_asserts.filter(|text| !text.trim().is_empty()) {
                let file = HealthFile::from(format!("{}/healthCheckAsserts", read.name).as_str());
                self.health.push(HealthFile { test: Some(test), ..file });
            }
        }
        self.components.push(Component {
            name: read.name,
            namespace: said(read.namespace),
            component_type: read.component_type,
            chart: said(read.chart),
            source: said(read.source),
            version: said(read.version),
            tag: said(read.tag),
            path: said(read.path),
            values_file: said(read.values_file),
            values,
            patches: read.patches.unwrap_or_default(),
            pre_manifest_files: read.pre_manifest_files.unwrap_or_default(),
            manifest_files: read.manifest_files.unwrap_or_default(),
            dependency_refs: read.dependency_refs.unwrap_or_default(),
            origin: None,
            expect: Vec::new(),
        });
        Ok(())
    }

    fn phase(&mut self, name: &str, word: &str, phase: Phase) -> Result<()> {
        for (field, part) in
            [("timeout", &phase.timeout), ("nodeSelection", &phase.node_selection), ("infrastructure", &phase.infrastructure)]
        {
            refuse(name, &format!("validation.{word}.{field}"), part.as_ref())?;
        }
        let checks = phase.checks.unwrap_or_default();
        let ids = match word {
            "deployment" => &mut self.checks.deployment,
            "conformance" => &mut self.checks.conformance,
            "performance" => &mut self.checks.performance,
            _ => {
                if let Some(check) = checks.first() {
                    let (line, column) = (check.referenced.line(), check.referenced.column());
                    return Err(Error::usage(format!("{name}:{line}:{column}: the readiness phase has constraints, and no checks"))
                        .hint("move the check to deployment, conformance or performance"));
                }
                &mut Vec::new()
            }
        };
        ids.extend(checks.into_iter().map(|check| check.value));
        for limit in phase.constraints.into_iter().flatten() {
            self.limit(name, word, limit)?;
        }
        Ok(())
    }

    /// A constraint of a phase: a reading of the snapshot, a version of what is installed, or what a measurement must reach.
    fn limit(&mut self, name: &str, word: &str, limit: Limit) -> Result<()> {
        let about = limit.name.value.clone();
        let (line, column) = (limit.name.referenced.line(), limit.name.referenced.column());
        let component = about.strip_suffix(".version").filter(|name| !name.is_empty() && !name.contains('.'));
        match word {
            _ if address::KINDS.iter().any(|kind| about.starts_with(&format!("{kind}."))) => self.constraints.push(constraint(limit)),
            "readiness" => self.constraints.push(constraint(limit)),
            "deployment" if component.is_some() => {
                self.constraints.push(Constraint { name: format!("Deployment.{about}"), ..constraint(limit) });
            }
            "performance" => {
                let Limit { value, unit, .. } = limit;
                let unit = unit.or_else(|| about.starts_with("nccl-").then(|| "GB/s".to_owned()));
                self.thresholds.push(Threshold { id: about, value, unit, per: None, fabric: None, source: None });
            }
            _ => {
                let what =
                    format!("{name}:{line}:{column}: seatrial cannot honour the constraint `{}` in validation.{word}", printable(&about));
                return Err(Error::usage(what).hint(format!("readings begin with {}", address::KINDS.join(", "))));
            }
        }
        Ok(())
    }
}

fn said(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}

/// API versions of the kinds that expected resources name without one.
const API_VERSION_OF: [(&str, &str); 20] = [
    ("APIService", "apiregistration.k8s.io/v1"),
    ("ClusterPolicy", "nvidia.com/v1"),
    ("ClusterRole", "rbac.authorization.k8s.io/v1"),
    ("ClusterRoleBinding", "rbac.authorization.k8s.io/v1"),
    ("ConfigMap", "v1"),
    ("CronJob", "batch/v1"),
    ("CustomResourceDefinition", "apiextensions.k8s.io/v1"),
    ("DaemonSet", "apps/v1"),
    ("Deployment", "apps/v1"),
    ("DeviceClass", "resource.k8s.io/v1"),
    ("Job", "batch/v1"),
    ("MutatingWebhookConfiguration", "admissionregistration.k8s.io/v1"),
    ("Namespace", "v1"),
    ("Role", "rbac.authorization.k8s.io/v1"),
    ("RoleBinding", "rbac.authorization.k8s.io/v1"),
    ("Secret", "v1"),
    ("Service", "v1"),
    ("ServiceAccount", "v1"),
    ("StatefulSet", "apps/v1"),
    ("ValidatingWebhookConfiguration", "admissionregistration.k8s.io/v1"),
];

fn expected(name: &str, resource: Resource) -> Result<ExpectedObject> {
    let kind = resource.kind.value;
    let Some((_, api_version)) = API_VERSION_OF.iter().find(|(known, _)| *known == kind) else {
        let (line, column) = (resource.kind.referenced.line(), resource.kind.referenced.column());
        let known: Vec<&str> = API_VERSION_OF.iter().map(|(kind, _)| *kind).collect();
        let error = Error::usage(format!(
            "{name}:{line}:{column}: seatrial does not know which API `{}` of expectedResources is of",
            printable(&kind)
        ));
        return Err(error.did_you_mean(&kind, known.iter().copied(), format!("known: {}", known.join(", "))));
    };
    Ok(ExpectedObject {
        api_version: (*api_version).to_owned(),
        kind,
        namespace: said(resource.namespace),
        name: resource.name,
        version: None,
        images: Vec::new(),
    })
}

#[cfg(test)]
#[path = "aicr_tests.rs"]
mod tests;
