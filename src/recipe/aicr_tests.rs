//! Recipes of NVIDIA AICR are read as they are, or refused by the name and place of what cannot be honoured.

use crate::constraints::Severity;
use crate::error::Kind;
use crate::recipe::load::{from_text, parse};
use crate::recipe::{Document, LoadedRecipe};

const RESULT: &str = r#"kind: RecipeResult
apiVersion: aicr.nvidia.com/v1alpha1
metadata:
  version: v0.11.1
  appliedOverlays: [base, eks, h100-eks-training]
  excludedOverlays: [h100-eks-ubuntu-training]
criteria: {service: eks, accelerator: h100, intent: training, os: ubuntu, platform: any, nodes: 0}
constraints:
- {name: K8s.server.version, value: ">= 1.34", severity: error, remediation: upgrade}
- {name: OS.release.VERSION_ID, value: 24.04, severity: warning}
componentRefs:
- name: cert-manager
  namespace: cert-manager
  type: Helm
  source: https://charts.jetstack.io
  version: v1.17.2
- name: gpu-operator
  namespace: gpu-operator
  type: helm
  version: v25.10.1
  overrides: {driver: {enabled: false}}
  dependencyRefs: [cert-manager]
  expectedResources:
  - {kind: Deployment, name: gpu-operator, namespace: gpu-operator}
  healthCheckAsserts: |
    apiVersion: chainsaw.kyverno.io/v1alpha1
    kind: Test
    metadata: {name: gpu-operator}
    spec:
      steps:
      - try:
        - assert:
            resource: {apiVersion: apps/v1, kind: Deployment, metadata: {name: gpu-operator, namespace: gpu-operator}, status: {(availableReplicas > `0`): true}}
deploymentOrder: [cert-manager, gpu-operator]
validation:
  deployment:
    checks: [operator-health, expected-resources]
    constraints:
    - {name: Deployment.gpu-operator.version, value: ">= v25.10.0"}
  performance:
    checks: [nccl-all-reduce-bw]
    constraints:
    - {name: nccl-all-reduce-bw, value: ">= 300"}
  conformance:
    checks: [platform-health, dra-support]
"#;

fn read(text: &str) -> crate::error::Result<LoadedRecipe> {
    from_text(text, "r.yaml", None)
}

#[test]
fn a_resolved_recipe_is_read_unchanged_in_every_api_version() {
    for version in super::API_VERSIONS {
        let loaded = read(&RESULT.replace("aicr.nvidia.com/v1alpha1", version)).expect(version);
        let spec = &loaded.recipe.spec;
        assert_eq!(loaded.recipe.metadata.name, "h100-eks-ubuntu-training");
        assert_eq!(loaded.recipe.metadata.overlays, ["base", "eks", "h100-eks-training"]);
        assert_eq!(spec.vendor, "nvidia");
        assert_eq!(spec.constraints[0].severity, Severity::Required);
        assert_eq!((spec.constraints[1].value.as_str(), spec.constraints[1].severity), ("24.04", Severity::Advisory));
        assert_eq!(spec.checks.deployment, ["operator-health", "expected-resources"]);
        assert_eq!(spec.checks.performance, ["nccl-all-reduce-bw"]);
        assert_eq!(spec.expect.len(), 1);
        assert_eq!(
            (spec.constraints[2].name.as_str(), spec.constraints[2].value.as_str()),
            ("Deployment.gpu-operator.version", ">= v25.10.0")
        );
        assert_eq!(spec.thresholds[0].bound(), Ok((">=", 300.0)));
        assert_eq!(spec.components[1].values["driver"]["enabled"], false);
        assert_eq!(loaded.health[0].name, "gpu-operator");
        assert!(spec.health[0].digest.is_some() && spec.health[0].test.is_some());
        assert_eq!(crate::recipe::load::order(&loaded.recipe).expect("an order"), ["cert-manager", "gpu-operator"]);
    }
}

#[test]
fn json_is_read_like_yaml() {
    let value: serde_json::Value = crate::yaml::from_str(RESULT, "r.yaml").expect("parses");
    let mut value = value;
    // A number in JSON is not text; AICR writes text there.
    value["constraints"][1]["value"] = "24.04".into();
    let json = read(&value.to_string()).expect("reads").recipe;
    assert_eq!(json.digest().expect("a digest"), read(RESULT).expect("reads").recipe.digest().expect("a digest"));
}

#[test]
fn what_cannot_be_honoured_is_refused_by_name_and_place() {
    for (from, to, says, hint) in [
        ("constraints:\n- {name: K8s", "constraint:\n- {name: K8s", "r.yaml:8:1: unknown field", "did you mean `constraints`?"),
        ("RecipeResult", "RecipeResutl", "r.yaml:1:7: kind is `RecipeResutl`", "did you mean `RecipeResult`?"),
        (
            "RecipeResult",
            "Pod",
            "r.yaml:1:7: kind is `Pod`",
            "kinds that are read: Recipe, RecipeOverlay, RecipeCriteria, RecipeResult, RecipeMetadata",
        ),
        ("aicr.nvidia.com/v1alpha1", "aicr.run/v99", "r.yaml:2:13: apiVersion is `aicr.run/v99`", ""),
        ("dra-support]", "dra-suport]", "there is no check `dra-suport`", "did you mean `dra-support`?"),
        (
            "{name: Deployment.gpu-operator.version",
            "{name: gpu-operator.image",
            "r.yaml:39:14: seatrial cannot honour the constraint `gpu-operator.image`",
            "",
        ),
        ("value: \">= v25.10.0\"", "value: \">>= v25.10.0\"", "Deployment.gpu-operator.version", ""),
        ("value: \">= 300\"", "value: about 300", "`about 300` is not an operator and a number", ""),
        (
            "  conformance:\n",
            "  conformance:\n    timeout: 5m\n",
            "r.yaml:45:14: seatrial cannot honour `validation.conformance.timeout`",
            "",
        ),
        (
            "  conformance:\n",
            "  conformance:\n    nodeSelection: {maxNodes: 2}\n",
            "cannot honour `validation.conformance.nodeSelection`",
            "",
        ),
        (
            "  conformance:\n    checks: [platform",
            "  readiness:\n    checks: [platform",
            "the readiness phase has constraints, and no checks",
            "",
        ),
        ("{kind: Deployment, name", "{kind: Deploymnet, name", "does not know which API `Deploymnet`", "did you mean `Deployment`?"),
        (
            "deploymentOrder: [cert-manager",
            "deploymentOrder: [cert-manger",
            "deploymentOrder names `cert-manger`",
            "did you mean `cert-manager`?",
        ),
        (
            "dependencyRefs: [cert-manager",
            "dependencyRefs: [cert-manger",
            "gpu-operator depends on `cert-manger`",
            "did you mean `cert-manager`?",
        ),
        ("severity: warning", "severity: warnign", "r.yaml:10:", "did you mean `warning`?"),
        (
            "    apiVersion: chainsaw.kyverno.io/v1alpha1",
            "    apiVersion: chainsaw.kyverno.io/v2",
            "gpu-operator/healthCheckAsserts:2: chainsaw.kyverno.io/v2",
            "",
        ),
        ("value: \">= 1.34\"", "value: ''", "K8s.server.version", ""),
    ] {
        let text = RESULT.replacen(from, to, 1);
        assert_ne!(text, RESULT, "{from}");
        let error = read(&text).expect_err(to);
        assert_eq!(error.kind(), Kind::Usage, "{to}");
        assert!(error.chain().contains(says), "{to}: {}", error.chain());
        assert!(hint.is_empty() || error.hints().iter().any(|said| said.contains(hint)), "{to}: {:?}", error.hints());
    }
}

#[test]
fn a_head_alone_an_empty_file_and_two_documents_are_refused() {
    let head = "kind: RecipeResult\napiVersion: aicr.run/v1beta1\n";
    for (text, says) in [
        ("kind: RecipeResult\n", "r.yaml says no apiVersion"),
        ("apiVersion: aicr.run/v1beta1\n", "r.yaml says no kind"),
        (head, "no constraint, no check and no health test"),
        ("", "r.yaml is empty"),
        ("# nothing\n", "r.yaml is empty"),
        (&format!("{head}---\n{head}"), "r.yaml:4:1: a second document"),
        ("kind: Snapshot\napiVersion: aicr.run/v1beta1\n", "kind is `Snapshot`"),
        ("hello", "r.yaml:1:1"),
    ] {
        let error = read(text).expect_err(text);
        assert_eq!(error.kind(), Kind::Usage, "{text}");
        assert!(error.chain().contains(says), "{text}: {}", error.chain());
    }
}

#[test]
fn a_component_that_is_switched_off_is_not_looked_for() {
    let loaded = read(
        &RESULT
            .replace("{driver: {enabled: false}}", "{enabled: false}")
            .replace("    - {name: Deployment.gpu-operator.version, value: \">= v25.10.0\"}", "      []"),
    )
    .expect("reads");
    assert!(loaded.recipe.spec.expect.is_empty() && loaded.health.is_empty());
    assert!(loaded.notes[0].contains("gpu-operator is switched off"), "{:?}", loaded.notes);
}

const OVERLAY: &str = "kind: RecipeMetadata
apiVersion: aicr.run/v1beta1
metadata: {name: h100-eks-training}
spec:
  base: eks
  criteria: {service: eks, accelerator: h100, intent: training}
  mixins: []
  constraints: [{name: OS.release.ID, value: ubuntu}]
  componentRefs: []
  validation: {conformance: {checks: [gang-scheduling]}}
";

#[test]
fn an_overlay_is_read_and_its_mixins_are_refused() {
    let Document::Overlay(overlay) = parse(OVERLAY, "o.yaml").expect("reads") else { panic!("an overlay") };
    assert_eq!(overlay.spec.base.as_deref(), Some("eks"));
    assert_eq!(overlay.spec.checks.conformance, ["gang-scheduling"]);
    let error = parse(&OVERLAY.replace("mixins: []", "mixins: [os-ubuntu]"), "o.yaml").expect_err("is refused");
    assert!(error.chain().contains("o.yaml:7:11: seatrial cannot honour `spec.mixins`"), "{}", error.chain());
}

#[test]
fn criteria_are_read_in_both_shapes() {
    for version in ["seatrial.dev/v1alpha1", "aicr.run/v1alpha2"] {
        let text = format!("kind: RecipeCriteria\napiVersion: {version}\nmetadata: {{name: mine}}\nspec: {{service: EKS, os: any}}\n");
        let Document::Criteria(criteria) = parse(&text, "c.yaml").expect("reads") else { panic!("criteria") };
        assert_eq!(criteria.name(), "eks");
    }
}

#[test]
fn a_recipe_of_constraints_alone_is_read() {
    let text = "kind: RecipeResult\napiVersion: aicr.run/v1beta1\nconstraints: [{name: K8s.server.version, value: '>= 1.30'}]\n";
    let loaded = read(text).expect("reads");
    assert_eq!((loaded.recipe.metadata.name.as_str(), loaded.recipe.spec.constraints.len()), ("base", 1));
    assert!(loaded.health.is_empty() && loaded.recipe.spec.checks.all().next().is_none());
}
