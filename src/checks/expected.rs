//! Looks for an object that a recipe expects, and compares its version and images with what the recipe wants.

use serde_json::Value;

use crate::cluster::{Cluster, ObjectRef};
use crate::error::{Error, Kind};
use crate::recipe::ExpectedObject;

/// What was found of one expected object.
#[derive(Debug)]
pub enum Found {
    /// It is there, as it should be.
    Here {
        /// The object.
        object: Box<Value>,
        /// The label `app.kubernetes.io/version`.
        version: Option<String>,
        /// Images of its pod template.
        images: Vec<String>,
    },
    /// It is not there, and why.
    Missing(String),
    /// It is there, and not as it should be.
    Wrong(String),
    /// It could not be looked for.
    Unknown(Error),
}

/// An expected object's name for people.
#[must_use]
pub fn name_of(expected: &ExpectedObject) -> String {
    ObjectRef::new(&expected.api_version, &expected.kind, expected.namespace.as_deref(), &expected.name).to_string()
}

/// Looks for an object.
pub async fn look(cluster: &Cluster, expected: &ExpectedObject) -> Found {
    match cluster.get(&expected.api_version, &expected.kind, expected.namespace.as_deref(), &expected.name).await {
        Ok(Some(object)) => compare(expected, object),
        Ok(None) => Found::Missing("does not exist".to_owned()),
        Err(error) if error.kind() == Kind::NotFound => Found::Missing(format!("cannot exist: {}", error.chain())),
        Err(error) => Found::Unknown(error),
    }
}

/// Compares version and images of an object that exists with what the recipe wants.
fn compare(expected: &ExpectedObject, object: Value) -> Found {
    let version = object["metadata"]["labels"]["app.kubernetes.io/version"].as_str().map(str::to_owned);
    let images = images_of(&object);
    if let Some(range) = &expected.version {
        // The recipe was checked when it was read: the range is valid.
        let matches = semver::VersionReq::parse(range)
            .ok()
            .zip(version.as_deref().and_then(semver_of))
            .map(|(range, version)| range.matches(&version));
        match (matches, &version) {
            (Some(true), _) => {}
            (Some(false), Some(version)) => return Found::Wrong(format!("version {version} is not {range}")),
            (_, Some(version)) => return Found::Wrong(format!("version `{version}` cannot be compared with {range}")),
            (_, None) => return Found::Wrong(format!("has no label app.kubernetes.io/version, {range} is wanted")),
        }
    }
    if let Some(image) = expected.images.iter().find(|image| !images.contains(image)) {
        return Found::Wrong(format!(
            "does not run image {image} but {}",
            if images.is_empty() { "none".to_owned() } else { images.join(", ") }
        ));
    }
    Found::Here { object: Box::new(object), version, images }
}

/// Images of an object's pod template.
#[must_use]
pub fn images_of(object: &Value) -> Vec<String> {
    let template = &object["spec"]["template"]["spec"];
    let containers = ["initContainers", "containers"].into_iter().filter_map(|field| template[field].as_array()).flatten();
    containers.filter_map(|container| container["image"].as_str()).map(str::to_owned).collect()
}

/// Reads a version as people write it: `v25.10.0`, `0.18`.
fn semver_of(text: &str) -> Option<semver::Version> {
    let text = text.trim_start_matches('v');
    let (numbers, rest) = text.find(['-', '+']).map_or((text, ""), |at| text.split_at(at));
    let padded = match numbers.split('.').count() {
        1 => format!("{numbers}.0.0{rest}"),
        2 => format!("{numbers}.0{rest}"),
        _ => text.to_owned(),
    };
    semver::Version::parse(&padded).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn expected(version: Option<&str>, images: &[&str]) -> ExpectedObject {
        ExpectedObject {
            api_version: "apps/v1".to_owned(),
            kind: "Deployment".to_owned(),
            namespace: Some("n".to_owned()),
            name: "d".to_owned(),
            version: version.map(str::to_owned),
            images: images.iter().map(|image| (*image).to_owned()).collect(),
        }
    }

    #[test]
    fn version_and_image_are_compared() {
        let object = || {
            json!({"metadata": {"labels": {"app.kubernetes.io/version": "v25.10.0"}},
                "spec": {"template": {"spec": {"containers": [{"image": "x:1"}]}}}})
        };
        assert!(matches!(compare(&expected(Some(">=25.3, <26"), &["x:1"]), object()), Found::Here { .. }));
        assert!(matches!(compare(&expected(Some("<25"), &[]), object()), Found::Wrong(reason) if reason == "version v25.10.0 is not <25"));
        assert!(matches!(compare(&expected(None, &["x:2"]), object()), Found::Wrong(_)));
    }

    #[test]
    fn versions_are_read_as_people_write_them() {
        assert_eq!(semver_of("v25.10.0").map(|version| version.to_string()).as_deref(), Some("25.10.0"));
        assert_eq!(semver_of("0.18").map(|version| version.to_string()).as_deref(), Some("0.18.0"));
        assert_eq!(semver_of("latest"), None);
    }
}
