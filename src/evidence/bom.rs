//! The bill of materials, CycloneDX 1.6: the images that ran in the cluster, with full names and digests, and the components that the
//! recipe names.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::digest::{Digest, canonical_json};
use crate::error::Result;
use crate::evidence::Tool;
use crate::recipe::{Component, ComponentType, Recipe};
use crate::snapshot::Snapshot;

/// An image that ran.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Image {
    /// As a pod names it.
    pub(crate) written: String,
    /// The digest under which it ran, if the cluster says one.
    pub(crate) digest: Option<Digest>,
    /// Registry and repository, where the pod or the container runtime says them.
    repository: String,
}

/// The images of a snapshot, each with the workloads that use it.
pub(crate) fn images(snapshot: &Snapshot) -> BTreeMap<Image, BTreeSet<String>> {
    let mut images: BTreeMap<Image, BTreeSet<String>> = BTreeMap::new();
    let mut add = |written: &String, ids: &[String], user: Option<String>| {
        let mut seen: BTreeSet<Image> = ids.iter().filter(|id| repo_digest(id).is_some()).map(|id| image(written, Some(id))).collect();
        if seen.is_empty() {
            seen.insert(image(written, None));
        }
        for image in seen {
            images.entry(image).or_default().extend(user.clone());
        }
    };
    for workload in snapshot.workloads.value().into_iter().flatten() {
        let user = format!("{}/{}/{}", workload.kind, workload.namespace, workload.name);
        workload.images.iter().for_each(|(image, ids)| add(image, ids, Some(user.clone())));
    }
    let pods = snapshot.images.as_ref().and_then(|images| images.value());
    pods.into_iter().flatten().for_each(|(image, ids)| add(image, ids, None));
    images
}

fn image(written: &str, id: Option<&str>) -> Image {
    let id = id.map(|id| id.split_once("://").map_or(id, |(_, id)| id));
    let (repository, _) = split(written);
    let host = repository.split_once('/').map(|(host, _)| host);
    let full = host.is_some_and(|host| host.contains(['.', ':']) || host == "localhost");
    // A short name is completed by the container runtime, and only it knows how.
    let completed = id.map(|id| split(id).0).filter(|long| !full && long.ends_with(&format!("/{repository}")));
    Image {
        written: written.to_owned(),
        digest: id.and_then(repo_digest).or_else(|| repo_digest(written)),
        repository: completed.unwrap_or(repository).to_owned(),
    }
}

/// The digest in `repository@sha256:…`. A bare `sha256:…` is an image id of the container runtime, which names other bytes.
fn repo_digest(id: &str) -> Option<Digest> {
    id.rsplit_once('@').and_then(|(_, digest)| digest.parse().ok())
}

/// Writes the document: no clock, no random serial number, sorted.
pub(crate) fn write(snapshot: Option<&Snapshot>, recipe: &Recipe, tool: &Tool) -> Result<Vec<u8>> {
    let ran = snapshot.map(images).unwrap_or_default();
    let declared: BTreeMap<&str, &Component> = recipe.spec.components.iter().map(|one| (one.name.as_str(), one)).collect();
    let components: Vec<Value> = ran.iter().map(container).chain(declared.into_values().map(application)).collect();
    canonical_json(&json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "tools": {"components": [{"type": "application", "name": tool.name, "version": tool.version}]},
            "component": {"type": "platform", "name": "cluster", "bom-ref": "cluster"},
        },
        "components": components,
    }))
}

fn container((image, users): (&Image, &BTreeSet<String>)) -> Value {
    let (_, tag) = split(&image.written);
    let users: Vec<Value> = users.iter().map(|user| json!({"name": "seatrial:workload", "value": user})).collect();
    let mut component = json!({"type": "container", "name": image.repository, "bom-ref": image.written, "properties": users});
    if let Some(tag) = tag {
        component["version"] = tag.into();
    }
    if let Some(digest) = &image.digest {
        let repository = &image.repository;
        let name = repository.rsplit('/').next().unwrap_or(repository).to_lowercase();
        let tag = tag.map(|tag| format!("&tag={}", encoded(tag))).unwrap_or_default();
        component["bom-ref"] = format!("{}#{digest}", image.written).into();
        component["hashes"] = json!([{"alg": "SHA-256", "content": digest.hex()}]);
        component["purl"] =
            format!("pkg:oci/{}@sha256%3A{}?repository_url={}{tag}", encoded(&name), digest.hex(), encoded(repository)).into();
    }
    component
}

/// A component that the recipe names; whether it ran is what the images say.
fn application(component: &Component) -> Value {
    let mut written = json!({"type": "application", "name": component.name, "bom-ref": format!("component/{}", component.name),
        "properties": [{"name": "seatrial:declared", "value": "recipe"}]});
    let version = component.version.as_deref().or(component.tag.as_deref());
    if let Some(version) = version {
        written["version"] = version.into();
    }
    if let (Some(ComponentType::Helm), Some(version), Some(source)) = (component.component_type, version, &component.source) {
        let chart = component.chart.as_deref().unwrap_or(&component.name);
        let chart = chart.rsplit('/').next().unwrap_or(chart);
        written["purl"] = format!("pkg:helm/{}@{}?repository_url={}", encoded(chart), encoded(version), encoded(source)).into();
    }
    written
}

/// A text as a package URL holds it; a colon and a slash stand for themselves in it.
fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_~:/".contains(&byte);
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

/// Repository and tag of an image reference.
fn split(image: &str) -> (&str, Option<&str>) {
    let name = image.split('@').next().unwrap_or(image);
    match name.rsplit_once(':') {
        // A colon before a slash belongs to a port.
        Some((repository, tag)) if !tag.contains('/') => (repository, Some(tag)),
        _ => (name, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repository_tag_and_digest_are_told_apart() {
        assert_eq!(split("127.0.0.1:5000/a/b"), ("127.0.0.1:5000/a/b", None));
        assert_eq!(split("a/b:1.2@sha256:00"), ("a/b", Some("1.2")));
        let digest = Digest::of(b"");
        assert_eq!(repo_digest(&format!("docker.io/a/b@{digest}")), Some(digest.clone()));
        assert_eq!(repo_digest(digest.as_str()), None);
    }

    #[test]
    fn a_short_name_is_completed_by_what_the_container_runtime_says_and_never_guessed() {
        let digest = Digest::of(b"");
        let named = |written: &str, id: Option<&str>| image(written, id).repository;
        let ran = format!("docker-pullable://docker.io/library/nginx@{digest}");
        assert_eq!(named("nginx:1.29", Some(&ran)), "docker.io/library/nginx");
        assert_eq!(image("nginx:1.29", Some(&ran)).digest, Some(digest.clone()));
        assert_eq!(named("nginx:1.29", None), "nginx");
        assert_eq!(named("quay.io/a/nginx:1", Some(&format!("mirror.example/a/nginx@{digest}"))), "quay.io/a/nginx");
        assert_eq!(named("localhost/a", None), "localhost/a");
    }

    #[test]
    fn a_package_url_holds_no_character_of_its_own_grammar() {
        assert_eq!(encoded("a/b:1+2 @?&#"), "a/b:1%2B2%20%40%3F%26%23");
    }
}
