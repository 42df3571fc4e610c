//! Putting a statement, its signature by a key, and what logs and clocks said of it into a bundle.

use sigstore_bundle::{BundleV03, VerificationMaterialV03};
use sigstore_types::bundle::SignatureContent;
use sigstore_types::{DsseEnvelope, DsseSignature, KeyId, PayloadBytes, SignatureBytes, TimestampToken, TransparencyLogEntry, pae};

use super::{PAYLOAD_TYPE, PublicKey};
use crate::error::{Error, Result};

/// What others have said of a signature.
#[derive(Debug, Default)]
pub struct Proofs {
    /// Entries of transparency logs.
    pub logged: Vec<TransparencyLogEntry>,
    /// Timestamps (RFC 3161).
    pub timestamps: Vec<TimestampToken>,
}

/// The bytes that a signature of a statement is made over: the pre-authentication encoding of DSSE.
#[must_use]
pub fn to_sign(statement: &[u8]) -> Vec<u8> {
    pae(PAYLOAD_TYPE, statement)
}

/// Puts a statement and its signature by a key into a bundle. `signature` is over [`to_sign`].
///
/// # Errors
/// [`Kind::Internal`](crate::error::Kind::Internal) if the bundle has no JSON form.
pub fn seal(statement: &[u8], key: &PublicKey, signature: Vec<u8>, proofs: Proofs) -> Result<Vec<u8>> {
    let signature = DsseSignature::new(SignatureBytes::new(signature), KeyId::default());
    let dsse = DsseEnvelope::new(PAYLOAD_TYPE, PayloadBytes::from_bytes(statement), signature);
    let material = VerificationMaterialV03::PublicKey { hint: key.hint() };
    let mut bundle = BundleV03::new(material, SignatureContent::DsseEnvelope(dsse));
    for entry in proofs.logged {
        bundle = bundle.with_tlog_entry(entry);
    }
    for timestamp in proofs.timestamps {
        bundle = bundle.with_rfc3161_timestamp(timestamp);
    }
    let json = bundle.into_bundle().to_json().map_err(|error| Error::internal("write a Sigstore bundle").because(error))?;
    Ok(json.into_bytes())
}
