//! The OCI form of a bundle: one layer per file, no time stamps; and the manifest that attaches a signature to it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use crate::digest::{Digest, canonical_json};
use crate::error::{Error, Kind, Result};
use crate::evidence::bundle::{Files, check_path};
use crate::evidence::manifest::{Sums, sums};
use crate::evidence::statement::PREDICATE_TYPE;
use crate::limits;

/// The artifact type of a bundle.
pub const ARTIFACT_TYPE: &str = "application/vnd.seatrial.evidence.v1";
/// The artifact type of a signature.
pub const SIGNATURE_TYPE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
/// What all artifact types of Sigstore bundles begin with.
const SIGNATURE_TYPES: &str = "application/vnd.dev.sigstore.bundle";
/// The media type of an image manifest.
pub const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
/// The media type of the empty config.
const EMPTY_TYPE: &str = "application/vnd.oci.empty.v1+json";
/// The empty config.
pub const EMPTY: &[u8] = b"{}";
/// The annotation that names a layer's file.
const TITLE: &str = "org.opencontainers.image.title";

/// A manifest with its digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// The bytes, as they are pushed.
    pub bytes: Vec<u8>,
    /// Their digest.
    pub digest: Digest,
}

/// A file of a published bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// Path in the bundle.
    pub path: String,
    /// The blob.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
}

impl Layer {
    /// True for large artifacts, of which nothing but manifests speak.
    #[must_use]
    pub fn may_stay_on_disk(&self) -> bool {
        may_stay_on_disk(&self.path, self.size)
    }
}

/// True for a file that need not be in memory to be signed, pushed or packed.
pub(crate) fn may_stay_on_disk(path: &str, size: u64) -> bool {
    path.starts_with("artifacts/") && size > limits::HELD_BYTES
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Image {
    schema_version: u32,
    media_type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    artifact_type: Option<String>,
    config: Descriptor,
    layers: Vec<Descriptor>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    subject: Option<Descriptor>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    annotations: BTreeMap<String, String>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    media_type: String,
    digest: Digest,
    size: u64,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    annotations: BTreeMap<String, String>,
}

impl Descriptor {
    fn of(media_type: &str, bytes: &[u8]) -> Self {
        Self { media_type: media_type.to_owned(), digest: Digest::of(bytes), size: bytes.len() as u64, annotations: BTreeMap::new() }
    }
}

/// The media type of a file of a bundle, by its name.
#[must_use]
pub fn media_type(path: &str) -> &'static str {
    match path {
        _ if path.ends_with(".cdx.json") => "application/vnd.cyclonedx+json",
        _ if path.ends_with(".jsonl") => "application/jsonl",
        _ if path.ends_with(".json") => "application/json",
        _ if path.ends_with(".yaml") => "application/yaml",
        _ => "application/octet-stream",
    }
}

/// The manifest of a bundle.
///
/// # Errors
/// Never in practice; the model always has a JSON form.
pub fn artifact(files: &Files) -> Result<Document> {
    artifact_of(&sums(files))
}

/// The manifest of a bundle of which only sizes and digests are known.
///
/// # Errors
/// Never in practice; the model always has a JSON form.
pub fn artifact_of(files: &Sums) -> Result<Document> {
    let layers = files.iter().map(|(path, (size, digest))| {
        let annotations = BTreeMap::from([(TITLE.to_owned(), path.clone())]);
        Descriptor { media_type: media_type(path).to_owned(), digest: digest.clone(), size: *size, annotations }
    });
    document(&Image {
        schema_version: 2,
        media_type: Some(MANIFEST_TYPE.to_owned()),
        artifact_type: Some(ARTIFACT_TYPE.to_owned()),
        config: Descriptor::of(EMPTY_TYPE, EMPTY),
        layers: layers.collect(),
        subject: None,
        annotations: BTreeMap::new(),
    })
}

/// The manifest that attaches a signature to a bundle's manifest.
///
/// # Errors
/// Never in practice; the model always has a JSON form.
pub fn signature(subject: &Document, signature: &[u8], created: Timestamp) -> Result<Document> {
    let annotations = [
        ("dev.sigstore.bundle.content", "dsse-envelope".to_owned()),
        ("dev.sigstore.bundle.predicateType", PREDICATE_TYPE.to_owned()),
        ("org.opencontainers.image.created", created.to_string()),
    ];
    document(&Image {
        schema_version: 2,
        media_type: Some(MANIFEST_TYPE.to_owned()),
        artifact_type: Some(SIGNATURE_TYPE.to_owned()),
        config: Descriptor::of(EMPTY_TYPE, EMPTY),
        layers: vec![Descriptor::of(SIGNATURE_TYPE, signature)],
        subject: Some(Descriptor::of(MANIFEST_TYPE, &subject.bytes)),
        annotations: annotations.into_iter().map(|(key, value)| (key.to_owned(), value)).collect(),
    })
}

fn document(image: &Image) -> Result<Document> {
    let bytes = canonical_json(image)?;
    Ok(Document { digest: Digest::of(&bytes), bytes })
}

fn parse(bytes: &[u8]) -> Result<Image> {
    let image: Image = serde_json::from_slice(bytes).map_err(|error| Error::new(Kind::Schema, "read an OCI manifest").because(error))?;
    if image.schema_version != 2 || image.media_type.as_deref().is_some_and(|media_type| media_type != MANIFEST_TYPE) {
        return Err(Error::new(Kind::Schema, "it is not an OCI image manifest"));
    }
    Ok(image)
}

/// True if a manifest says that it is that of a bundle.
#[must_use]
pub fn is_bundle(bytes: &[u8]) -> bool {
    parse(bytes).is_ok_and(|image| image.artifact_type.as_deref() == Some(ARTIFACT_TYPE))
}

/// The layers of a bundle's manifest, within the limits of a bundle.
///
/// # Errors
/// [`Kind::Schema`] if the manifest is not that of a bundle; [`Kind::Integrity`] if it is over the limits.
pub fn layers(bytes: &[u8]) -> Result<Vec<Layer>> {
    let image = parse(bytes)?;
    if image.artifact_type.as_deref() != Some(ARTIFACT_TYPE) {
        let seen = image.artifact_type.unwrap_or_default();
        return Err(Error::new(Kind::Schema, format!("the artifact is not evidence: its type is `{}`", seen.escape_debug())));
    }
    let total = image.layers.iter().try_fold(0_u64, |sum, layer| sum.checked_add(layer.size));
    let large = image.layers.iter().any(|layer| layer.size > limits::BUNDLE_FILE_BYTES);
    if large || image.layers.len() > limits::BUNDLE_FILES || total.is_none_or(|total| total > limits::BUNDLE_BYTES) {
        return Err(Error::new(Kind::Integrity, "the bundle is larger than a bundle may be"));
    }
    let mut layers = BTreeMap::new();
    for layer in image.layers {
        let path = layer.annotations.get(TITLE).cloned().unwrap_or_default();
        check_path(&path)?;
        let size = layer.size;
        if layers.insert(path.clone(), Layer { path: path.clone(), digest: layer.digest, size }).is_some() {
            return Err(Error::new(Kind::Schema, format!("two layers have the title {path}")));
        }
    }
    Ok(layers.into_values().collect())
}

/// The blob of a signature, if a manifest attaches one to the subject; other referrers are of no interest.
///
/// # Errors
/// [`Kind::Schema`] if the manifest cannot be read or the signature is too large.
pub fn signature_layer(bytes: &[u8], subject: &Digest) -> Result<Option<Layer>> {
    let image = parse(bytes)?;
    let [layer] = image.layers.as_slice() else { return Ok(None) };
    // Some tools leave the artifact type to the layer.
    let typed = image.artifact_type.as_deref().is_some_and(|name| name.starts_with(SIGNATURE_TYPES));
    if !typed && !layer.media_type.starts_with(SIGNATURE_TYPES) {
        return Ok(None);
    }
    if image.subject.is_none_or(|seen| seen.digest != *subject) {
        return Ok(None);
    }
    if layer.size > limits::SIGNATURE_BYTES {
        return Err(Error::new(Kind::Schema, format!("the signature has {} bytes; the limit is {}", layer.size, limits::SIGNATURE_BYTES)));
    }
    Ok(Some(Layer { path: String::new(), digest: layer.digest.clone(), size: layer.size }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layers_of_an_artifact_are_its_files() {
        let files: Files = [("a/b.jsonl", "x"), ("recipe.yaml", "{}")].map(|(path, text)| (path.to_owned(), text.into())).into();
        let artifact = artifact(&files).expect("has a form");
        let paths: Vec<String> = layers(&artifact.bytes).expect("reads").into_iter().map(|layer| layer.path).collect();
        assert_eq!(paths, ["a/b.jsonl", "recipe.yaml"]);
        let signature = signature(&artifact, b"{}", Timestamp::UNIX_EPOCH).expect("has a form");
        assert!(signature_layer(&signature.bytes, &artifact.digest).expect("reads").is_some());
        assert_eq!(signature_layer(&signature.bytes, &Digest::of(b"")).expect("reads"), None, "it is about another subject");
        assert_eq!(signature_layer(&artifact.bytes, &artifact.digest).expect("reads"), None, "it is no signature");
        assert_eq!(layers(&signature.bytes).expect_err("is no evidence").kind(), Kind::Schema);
    }

    #[test]
    fn a_layer_that_is_too_large_or_leads_outside_is_refused() {
        let files: Files = [("a".to_owned(), b"x".to_vec())].into();
        let text = String::from_utf8(artifact(&files).expect("has a form").bytes).expect("text");
        let large = text.replace("\"size\":1}", &format!("\"size\":{}}}", u64::MAX));
        assert_ne!(large, text);
        assert_eq!(layers(large.as_bytes()).expect_err("is refused").kind(), Kind::Integrity);
        let outside = text.replace("\"a\"", "\"../a\"");
        assert_eq!(layers(outside.as_bytes()).expect_err("is refused").kind(), Kind::Schema);
    }
}
