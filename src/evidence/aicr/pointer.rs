//! Pointers of NVIDIA AICR, schema 1.0: one attestation, its bundle and its signer, all of it claims.

use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::error::{Error, Kind, Result};
use crate::yaml;

/// Predicate types that AICR has used, under its name of today and under its first one.
pub const PREDICATE_TYPES: &[&str] = &[
    "https://aicr.run/recipe-evidence/v1",
    "https://aicr.run/recipe-evidence/v2",
    "https://aicr.run/recipe-evidence/v3",
    "https://aicr.nvidia.com/recipe-evidence/v1",
];

/// A pointer of AICR.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AicrPointer {
    /// `1.0` or `1.0.x`.
    pub schema_version: String,
    /// Name of the recipe.
    pub recipe: String,
    /// `name=value`, of a recipe with a profile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// Exactly one.
    pub attestations: Vec<Attestation>,
}

/// What a pointer says of one bundle.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Attestation {
    /// Where the bundle is.
    pub bundle: Bundle,
    /// Who signed it; none of a pending pointer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signer: Option<Signer>,
    /// When, by the producer's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attested_at: Option<Timestamp>,
}

/// Where a bundle is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Bundle {
    /// The OCI reference; empty until it is pushed.
    #[serde(default)]
    pub oci: String,
    /// Digest of the OCI manifest, `sha256:<hex>`.
    #[serde(default)]
    pub digest: String,
    /// One of [`PREDICATE_TYPES`].
    pub predicate_type: String,
}

/// Who signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Signer {
    /// The certificate's subject.
    pub identity: String,
    /// The OIDC issuer.
    pub issuer: String,
    /// The entry of the transparency log; 0 says none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rekor_log_index: Option<i64>,
}

/// Reads a pointer of AICR. None if the text is not one at all.
///
/// # Errors
/// [`Kind::Schema`] if it is one and breaks its own rules.
pub fn pointer(text: &str, name: &str) -> Result<Option<AicrPointer>> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Head {
        schema_version: Option<String>,
        attestations: Option<serde_json::Value>,
    }
    let head: Option<Head> = yaml::from_str(text, name).ok();
    if !head.is_some_and(|head| head.schema_version.is_some() && head.attestations.is_some()) {
        return Ok(None);
    }
    let wrong = |what: String| Error::new(Kind::Schema, format!("{name} is not a pointer of AICR that it would accept: {what}"));
    let pointer: AicrPointer = yaml::from_str(text, name).map_err(|error| wrong(error.chain()))?;
    pointer.check().map_err(wrong)?;
    Ok(Some(pointer))
}

impl AicrPointer {
    /// What it says of its bundle.
    #[must_use]
    pub fn attestation(&self) -> Attestation {
        // There is exactly one: a pointer with another number of them is never made.
        self.attestations.first().cloned().unwrap_or_default()
    }

    /// Where AICR keeps it: `<recipe>/<source>/sha256-<digest>.yaml`, or `<recipe>.yaml` as long as it is pending.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        let attestation = self.attestation();
        match &attestation.signer {
            Some(signer) => PathBuf::from(&self.recipe)
                .join(source_slug(&signer.issuer, &signer.identity))
                .join(format!("{}.yaml", attestation.bundle.digest.replace(':', "-"))),
            None => PathBuf::from(format!("{}.yaml", self.recipe)),
        }
    }

    fn check(&self) -> std::result::Result<(), String> {
        let plain = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
        if !is_version_one(&self.schema_version) {
            return Err(format!("schemaVersion `{}` is not 1.0", self.schema_version.escape_debug()));
        }
        if !plain(&self.recipe) || self.recipe.starts_with('.') {
            return Err(format!("`{}` is no name of a recipe", self.recipe.escape_debug()));
        }
        let [attestation] = self.attestations.as_slice() else {
            return Err(format!("it has {} attestations, and must have one", self.attestations.len()));
        };
        if let Some(profile) = &self.profile {
            let suffix = profile.split_once('=').map(|(name, value)| format!("-{name}-{value}").to_lowercase());
            if !suffix.is_some_and(|suffix| self.recipe.ends_with(&suffix)) {
                return Err(format!("the recipe's name does not end in its profile `{}`", profile.escape_debug()));
            }
        }
        let Bundle { oci, digest, predicate_type } = &attestation.bundle;
        if !PREDICATE_TYPES.contains(&predicate_type.as_str()) {
            return Err(format!("`{}` is no predicate type of AICR", predicate_type.escape_debug()));
        }
        if !oci.is_empty() && digest.parse::<Digest>().is_err() {
            return Err("it names a place without a digest".to_owned());
        }
        match &attestation.signer {
            Some(signer) if signer.identity.is_empty() || signer.issuer.is_empty() => {
                Err("its signer has no identity or no issuer".to_owned())
            }
            Some(_) if oci.is_empty() => Err("it names a signer and no place".to_owned()),
            _ => Ok(()),
        }
    }
}

/// True for `1.0` and `1.0.x`.
pub(super) fn is_version_one(version: &str) -> bool {
    version == "1.0"
        || version.strip_prefix("1.0.").is_some_and(|patch| !patch.is_empty() && patch.bytes().all(|byte| byte.is_ascii_digit()))
}

/// How AICR names a signer in paths and lists: 32 hexadecimal digits.
#[must_use]
pub fn source_slug(issuer: &str, identity: &str) -> String {
    Digest::of(format!("{issuer}\n{identity}").as_bytes()).hex().chars().take(32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const POINTER: &str = "schemaVersion: 1.0.0
recipe: h100-eks-ubuntu-training
attestations:
- bundle:
    oci: ghcr.io/example/evidence:h100
    digest: sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a
    predicateType: https://aicr.run/recipe-evidence/v3
  signer:
    identity: someone@example.com
    issuer: https://github.com/login/oauth
    rekorLogIndex: 7
  attestedAt: 2026-09-20T10:00:00Z
";

    #[test]
    fn a_pointer_of_aicr_is_read_with_its_place_in_the_tree() {
        let pointer = pointer(POINTER, "p.yaml").expect("reads").expect("is one");
        assert_eq!(pointer.attestation().signer.expect("is named").rekor_log_index, Some(7));
        let slug = source_slug("https://github.com/login/oauth", "someone@example.com");
        assert_eq!(slug.len(), 32);
        let name = "sha256-44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a.yaml";
        assert_eq!(pointer.path(), PathBuf::from("h100-eks-ubuntu-training").join(slug).join(name));
    }

    #[test]
    fn what_is_no_pointer_of_aicr_is_none_and_one_that_breaks_its_rules_is_a_schema_error() {
        assert_eq!(pointer("kind: EvidencePointer\n", "p.yaml").expect("is looked at"), None);
        assert_eq!(pointer(": : :", "p.yaml").expect("is looked at"), None);
        let second = "- bundle: {predicateType: https://aicr.run/recipe-evidence/v1}\n";
        let breaks = [
            POINTER.replace("1.0.0", "2.0.0"),
            POINTER.replace("recipe: h100", "recipe: ../h100"),
            POINTER.replace("recipe-evidence/v3", "recipe-evidence/v9"),
            POINTER.replace("sha256:4413", "sha512:4413"),
            POINTER.replace("    issuer: https://github.com/login/oauth\n", ""),
            POINTER.replace("attestations:", "surprise: 1\nattestations:"),
            POINTER.replace("attestations:", "profile: gpustack=a\nattestations:"),
            format!("{POINTER}{second}"),
        ];
        for text in breaks {
            assert_eq!(pointer(&text, "p.yaml").expect_err(&text).kind(), Kind::Schema, "{text}");
        }
    }
}
