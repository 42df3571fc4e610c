//! The pointer: the small committed file that locates one signed bundle. Everything in it is a claim until it is verified.

use std::path::PathBuf;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::error::{Error, Kind, Result};
use crate::recipe::API_VERSION;
use crate::results::RecipeRef;
use crate::snapshot::Hardware;
use crate::yaml;

/// The longest recipe name; it becomes a folder, and Kubernetes names have the same limit.
const NAME_LENGTH: usize = 63;

/// Locates one signed bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Pointer {
    /// `seatrial.dev/v1alpha1`.
    pub api_version: String,
    /// `EvidencePointer`.
    pub kind: PointerKind,
    /// The recipe.
    pub recipe: RecipeRef,
    /// Where the bundle is.
    pub bundle: BundleRef,
    /// Its signatures; none while it waits to be signed.
    pub signatures: Vec<SignatureRef>,
    /// What the hardware is said to be.
    pub hardware: Hardware,
    /// When the pointer was written.
    pub recorded_at: Timestamp,
}

/// The kind of the document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PointerKind {
    /// A pointer.
    EvidencePointer,
}

/// Where a bundle is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BundleRef {
    /// Registry and repository, without a scheme.
    pub repository: String,
    /// Digest of the OCI manifest.
    pub digest: Digest,
    /// Digest of `manifest.json`.
    pub content_digest: Digest,
}

/// One signature, by its manifest, so that a lost index entry loses nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SignatureRef {
    /// Digest of the signature's OCI manifest.
    pub digest: Digest,
    /// Id of the key: SHA-256 of its SubjectPublicKeyInfo.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Digest>,
    /// Who vouched for the identity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// Who signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<String>,
    /// The repository whose pipeline signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_repository: Option<String>,
    /// Where the signature is logged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<LogRef>,
}

/// An entry of a transparency log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LogRef {
    /// The log's id.
    pub id: String,
    /// The entry's index.
    pub index: u64,
}

impl Pointer {
    /// Reads a pointer. `name` is the file as the user knows it.
    ///
    /// # Errors
    /// [`Kind::Schema`] if it is not a pointer, with line and column.
    pub fn parse(text: &str, name: &str) -> Result<Self> {
        let wrong = |what: String| Error::new(Kind::Schema, format!("{name} is not an evidence pointer: {what}"));
        let pointer: Self = yaml::from_str(text, name).map_err(|error| {
            let hints = error.hints().to_vec();
            hints.into_iter().fold(wrong(error.chain()), Error::hint)
        })?;
        if pointer.api_version != API_VERSION {
            return Err(wrong(format!("unknown apiVersion `{}`", pointer.api_version.escape_debug())));
        }
        check_name(&pointer.recipe.name)?;
        Ok(pointer)
    }

    /// True while nobody has signed it.
    #[must_use]
    pub fn is_pending(&self) -> bool {
        self.signatures.is_empty()
    }

    /// Writes it.
    ///
    /// # Errors
    /// Never in practice; the model always has a YAML form.
    pub fn to_yaml(&self) -> Result<String> {
        yaml::to_string(self)
    }

    /// Where it belongs, below the evidence directory: `<recipe>/sha256-<OCI manifest digest>.yaml`.
    ///
    /// # Errors
    /// [`Kind::Schema`] if the recipe's name cannot be a folder.
    pub fn path(&self) -> Result<PathBuf> {
        check_name(&self.recipe.name)?;
        Ok(PathBuf::from(&self.recipe.name).join(format!("sha256-{}.yaml", self.bundle.digest.hex())))
    }
}

/// Accepts a recipe name that can be a folder: lower-case letters, digits and hyphens, not at the ends.
///
/// # Errors
/// [`Kind::Schema`] otherwise.
pub fn check_name(name: &str) -> Result<()> {
    let plain = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    if plain && !name.is_empty() && name.len() <= NAME_LENGTH && !name.starts_with('-') && !name.ends_with('-') {
        return Ok(());
    }
    let shown: String = name.chars().take(NAME_LENGTH).collect();
    Err(Error::new(Kind::Schema, format!("`{}` cannot be a recipe's name", shown.escape_debug()))
        .hint("a recipe's name has lower-case letters, digits and hyphens, at most 63"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pointer() -> Pointer {
        let digest = Digest::of(b"x");
        let signature = SignatureRef {
            digest: digest.clone(),
            key: Some(digest.clone()),
            issuer: None,
            identity: None,
            source_repository: None,
            log: None,
        };
        Pointer {
            api_version: API_VERSION.to_owned(),
            kind: PointerKind::EvidencePointer,
            recipe: RecipeRef { name: "sim-h100".to_owned(), digest: digest.clone() },
            bundle: BundleRef { repository: "127.0.0.1:5000/team/evidence".to_owned(), digest: digest.clone(), content_digest: digest },
            signatures: vec![signature],
            hardware: Hardware::Simulated,
            recorded_at: "2026-11-22T10:15:30Z".parse().expect("a time"),
        }
    }

    #[test]
    fn a_pointer_reads_back_and_knows_its_path() {
        let yaml = pointer().to_yaml().expect("has a form");
        assert_eq!(Pointer::parse(&yaml, "p.yaml").expect("reads"), pointer());
        let path = pointer().path().expect("a safe name");
        assert_eq!(path, PathBuf::from(format!("sim-h100/sha256-{}.yaml", Digest::of(b"x").hex())));
    }

    #[test]
    fn a_pointer_with_a_surprise_is_a_schema_error_that_names_the_place() {
        let yaml = pointer().to_yaml().expect("has a form");
        let error = Pointer::parse(&yaml.replace("hardware:", "hardwear:"), "p.yaml").expect_err("is refused");
        assert_eq!(error.kind(), Kind::Schema);
        assert!(error.chain().contains("p.yaml:"), "{}", error.chain());
        for (from, to) in
            [("sim-h100", "../up"), ("EvidencePointer", "Evidence"), ("v1alpha1", "v9"), ("sha256:", "sha512:"), ("simulated", "splendid")]
        {
            assert_eq!(Pointer::parse(&yaml.replace(from, to), "p.yaml").expect_err(to).kind(), Kind::Schema, "{to}");
        }
        let pending = Pointer { signatures: Vec::new(), ..pointer() };
        assert!(Pointer::parse(&pending.to_yaml().expect("has a form"), "p.yaml").expect("reads").is_pending());
    }
}
