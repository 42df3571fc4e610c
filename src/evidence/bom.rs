//! The bill of materials, CycloneDX 1.6: the images that ran in the cluster, with their digests where the cluster says them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::digest::{Digest, canonical_json};
use crate::error::Result;
use crate::evidence::Tool;
use crate::snapshot::Snapshot;

/// An image as a workload names it, and the digest under which it ran, if the cluster says one.
pub(crate) type Image = (String, Option<Digest>);

/// The images of a snapshot, each with the workloads that use it.
pub(crate) fn images(snapshot: &Snapshot) -> BTreeMap<Image, BTreeSet<String>> {
    let mut images: BTreeMap<Image, BTreeSet<String>> = BTreeMap::new();
    for workload in snapshot.workloads.value().into_iter().flatten() {
        let user = format!("{}/{}/{}", workload.kind, workload.namespace, workload.name);
        for (image, ids) in &workload.images {
            let mut digests: BTreeSet<Option<Digest>> = ids.iter().map(|id| repo_digest(id)).filter(Option::is_some).collect();
            if digests.is_empty() {
                digests.insert(repo_digest(image));
            }
            for digest in digests {
                images.entry((image.clone(), digest)).or_default().insert(user.clone());
            }
        }
    }
    images
}

/// The digest in `repository@sha256:…`. A bare `sha256:…` is an image id of the container runtime, which names other bytes.
fn repo_digest(id: &str) -> Option<Digest> {
    id.rsplit_once('@').and_then(|(_, digest)| digest.parse().ok())
}

/// Writes the document: no clock, no random serial number, sorted.
pub(crate) fn write(snapshot: Option<&Snapshot>, tool: &Tool) -> Result<Vec<u8>> {
    let components: Vec<Value> = snapshot.map(images).unwrap_or_default().iter().map(component).collect();
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

fn component(((image, digest), users): (&Image, &BTreeSet<String>)) -> Value {
    let (repository, tag) = split(image);
    let users: Vec<Value> = users.iter().map(|user| json!({"name": "seatrial:workload", "value": user})).collect();
    let mut component = json!({"type": "container", "name": repository, "bom-ref": image, "properties": users});
    if let Some(tag) = tag {
        component["version"] = tag.into();
    }
    if let Some(digest) = digest {
        let name = repository.rsplit('/').next().unwrap_or(repository).to_lowercase();
        component["bom-ref"] = format!("{image}#{digest}").into();
        component["hashes"] = json!([{"alg": "SHA-256", "content": digest.hex()}]);
        component["purl"] = format!("pkg:oci/{name}@sha256%3A{}?repository_url={repository}", digest.hex()).into();
    }
    component
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
}
