//! The bill of materials, held against the schema of CycloneDX itself.

use serde_json::{Value, json};

use seatrial::digest::Digest;
use seatrial::yaml;

use crate::sample::Sample;

/// The official schema. Its references to the schemas of licenses and signatures, which we do not write, allow nothing.
fn schema() -> jsonschema::Validator {
    let mut schema: Value = serde_json::from_str(include_str!("../fixtures/cyclonedx/bom-1.6.schema.json")).expect("JSON");
    forbid_foreign_references(&mut schema);
    jsonschema::validator_for(&schema).expect("a JSON Schema")
}

fn forbid_foreign_references(value: &mut Value) {
    if value.get("$ref").and_then(Value::as_str).is_some_and(|to| !to.starts_with('#')) {
        *value = json!(false);
    }
    match value {
        Value::Array(list) => list.iter_mut().for_each(forbid_foreign_references),
        Value::Object(fields) => fields.values_mut().for_each(forbid_foreign_references),
        _ => {}
    }
}

/// A run with images of every sort and components in the recipe.
fn sample() -> Sample {
    let mut sample = Sample::good();
    let components = [
        "{name: gpu-operator, type: Helm, chart: gpu-operator, source: 'https://helm.ngc.nvidia.com/nvidia', version: v25.3.4}",
        "{name: network, type: Kustomize, source: 'https://github.com/example/network', tag: v1}",
        "{name: bare}",
    ];
    sample.recipe.spec.components = components.map(|text| yaml::from_str(text, "component").expect("a component")).into();
    sample.report.recipe.digest = sample.recipe.digest().expect("a digest");
    let digest = Digest::of(b"nginx");
    sample.snapshot.images = serde_json::from_value(json!({"value": {
        "nginx:1.29": [format!("docker.io/library/nginx@{digest}")], "registry.example.com:5000/a/B:x+y": [], format!("quay.io/a/b@{digest}"): [digest.as_str()],
        "registry.example.com/driver:1.2": [format!("registry.example.com/driver@{}", Digest::of(b"image"))]}}))
    .expect("images");
    sample.report.snapshot = Some(Digest::of_json(&sample.snapshot).expect("a digest"));
    sample
}

#[test]
fn the_bill_of_materials_is_valid_by_the_official_schema() {
    for sample in [Sample::good(), sample(), sample().minimal()] {
        let bom: Value = serde_json::from_slice(&sample.bundle().files()["bom.cdx.json"]).expect("JSON");
        let errors: Vec<String> = schema().iter_errors(&bom).map(|error| format!("{}: {error}", error.instance_path())).collect();
        assert!(errors.is_empty(), "{errors:#?}");
    }
    assert!(!schema().is_valid(&json!({"bomFormat": "CycloneDX", "specVersion": "1.6", "surprise": 1})), "the schema is at work");
}

#[test]
fn images_have_full_names_and_digests_and_components_of_the_recipe_are_declared() {
    let bom: Value = serde_json::from_slice(&sample().bundle().files()["bom.cdx.json"]).expect("JSON");
    let components = bom["components"].as_array().expect("a list");
    let named = |name: &str| components.iter().find(|one| one["name"] == name).unwrap_or_else(|| panic!("{name}: {components:#?}"));
    let digest = Digest::of(b"nginx");
    let nginx = named("docker.io/library/nginx");
    let purl = format!("pkg:oci/nginx@sha256%3A{}?repository_url=docker.io/library/nginx&tag=1.29", digest.hex());
    assert_eq!((&nginx["purl"], &nginx["version"], &nginx["hashes"][0]["content"]), (&json!(purl), &json!("1.29"), &json!(digest.hex())));
    assert_eq!(named("quay.io/a/b")["hashes"][0]["content"], digest.hex(), "the digest may be in the name alone");
    assert_eq!(named("registry.example.com:5000/a/B").get("purl"), None, "without a digest nothing is named for good");
    assert_eq!(named("registry.example.com/driver")["properties"][0]["value"], "DaemonSet/gpu/driver");
    assert_eq!(components.iter().filter(|one| one["name"] == "registry.example.com/driver").count(), 1, "once, however often it is seen");
    let operator = named("gpu-operator");
    assert_eq!(operator["purl"], "pkg:helm/gpu-operator@v25.3.4?repository_url=https://helm.ngc.nvidia.com/nvidia");
    assert_eq!(operator["properties"][0], json!({"name": "seatrial:declared", "value": "recipe"}));
    assert_eq!(named("network")["version"], "v1");
    assert_eq!(named("bare")["type"], "application");
    let references: std::collections::BTreeSet<&str> = components.iter().filter_map(|one| one["bom-ref"].as_str()).collect();
    assert_eq!(references.len(), components.len(), "each can be referred to");
}
