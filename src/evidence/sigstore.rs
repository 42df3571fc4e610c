//! Sigstore bundles v0.3 with a DSSE envelope and a public key: the only user of the sigstore crates.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use sigstore_bundle::{BundleV03, VerificationMaterialV03};
use sigstore_crypto::VerificationKey;
use sigstore_types::bundle::{SignatureContent, VerificationMaterialContent};
use sigstore_types::{Bundle, DerPublicKey, DsseEnvelope, DsseSignature, KeyId, MediaType, PayloadBytes, SignatureBytes, pae};

use crate::digest::Digest;
use crate::error::{Error, Kind, Result};

/// The payload type of an in-toto statement.
const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";
/// The fields of a bundle v0.3; the library ignores others, so that a field could be misspelt unseen.
const FIELDS: &[&str] = &["mediaType", "verificationMaterial", "dsseEnvelope"];
/// The fields of its verification material.
const MATERIAL: &[&str] = &["publicKey", "certificate", "tlogEntries", "timestampVerificationData"];

/// A public key that can be used.
#[derive(Clone, Debug)]
pub struct PublicKey(DerPublicKey);

impl PublicKey {
    /// Reads a PEM block `PUBLIC KEY`.
    ///
    /// # Errors
    /// [`Kind::Usage`] if it is anything else.
    pub fn from_pem(text: &str) -> Result<Self> {
        if text.contains("PRIVATE KEY-----") {
            return Err(Error::usage("this is a private key; a public key is wanted").hint("pass the .pub file that belongs to it"));
        }
        let der = DerPublicKey::from_pem(text.trim()).map_err(|error| {
            Error::usage("it is not a public key in PEM form").because(error).hint("the first line must be -----BEGIN PUBLIC KEY-----")
        })?;
        Self::from_der(der.as_bytes())
    }

    /// Reads a SubjectPublicKeyInfo in DER form.
    ///
    /// # Errors
    /// [`Kind::Usage`] if the key is malformed or of a kind that cannot be used.
    pub fn from_der(der: &[u8]) -> Result<Self> {
        let der = DerPublicKey::from_bytes(der);
        VerificationKey::from_spki(&der).map_err(|error| Error::usage("the public key cannot be used").because(error))?;
        Ok(Self(der))
    }

    /// The key's id: SHA-256 of its SubjectPublicKeyInfo.
    #[must_use]
    pub fn id(&self) -> Digest {
        Digest::of(self.0.as_bytes())
    }

    /// The PEM form.
    #[must_use]
    pub fn to_pem(&self) -> String {
        self.0.to_pem().replace("\r\n", "\n")
    }

    /// What a bundle names the key by.
    fn hint(&self) -> String {
        let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, self.0.as_bytes());
        STANDARD.encode(hash.as_ref())
    }
}

/// Who a signature says that it is from. Nothing of it is proven before the signature is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// A key with this id.
    Key(Digest),
    /// A key that is named in some other way.
    OtherKey(String),
    /// Whoever holds a certificate.
    Certificate,
}

/// A signature that was read and not yet verified.
#[derive(Debug)]
pub struct Envelope {
    claim: Claim,
    dsse: DsseEnvelope,
}

impl Envelope {
    /// Reads a bundle.
    ///
    /// # Errors
    /// [`Kind::Schema`] if it is not a Sigstore bundle v0.3 that holds an in-toto statement.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let wrong = |what: &str| Error::new(Kind::Schema, format!("it is not a Sigstore bundle v0.3 of an in-toto statement: {what}"));
        let text = std::str::from_utf8(bytes).map_err(|_| wrong("it is not text"))?;
        let value: Value = serde_json::from_str(text).map_err(|error| wrong("it is not JSON").because(error))?;
        let known = |value: &Value, fields: &[&str]| {
            value.as_object().is_some_and(|object| object.keys().all(|key| fields.contains(&key.as_str())))
        };
        if !known(&value, FIELDS) || !known(&value["verificationMaterial"], MATERIAL) {
            return Err(wrong("it has fields that such a bundle does not have"));
        }
        if value["mediaType"] != MediaType::Bundle0_3.as_str() {
            return Err(wrong("it has another media type"));
        }
        let bundle = Bundle::from_json(text).map_err(|error| wrong("it has another form").because(error))?;
        let SignatureContent::DsseEnvelope(dsse) = bundle.content else {
            return Err(wrong("it signs a digest, not a statement"));
        };
        if dsse.payload_type != PAYLOAD_TYPE {
            return Err(wrong("it has another payload type"));
        }
        let claim = match bundle.verification_material.content {
            VerificationMaterialContent::PublicKey(key) => claim_of(&key.hint),
            _ => Claim::Certificate,
        };
        Ok(Self { claim, dsse })
    }

    /// Who it says that it is from.
    #[must_use]
    pub fn claim(&self) -> &Claim {
        &self.claim
    }

    /// Verifies the signature and hands out what was signed.
    ///
    /// # Errors
    /// [`Kind::Signature`] if the key did not make this signature.
    pub fn verify(&self, key: &PublicKey) -> Result<&[u8]> {
        VerificationKey::from_spki(&key.0)
            .and_then(|key| key.verify(self.dsse.pae(), &self.dsse.signature.sig))
            .map_err(|error| Error::new(Kind::Signature, format!("key {} did not make this signature", key.id())).because(error))?;
        Ok(self.dsse.payload.as_bytes())
    }
}

fn claim_of(hint: &str) -> Claim {
    let id = STANDARD.decode(hint).ok().filter(|hash| hash.len() == 32).and_then(|hash| {
        let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("sha256:{hex}").parse().ok()
    });
    id.map_or_else(|| Claim::OtherKey(hint.chars().take(100).collect()), Claim::Key)
}

/// Puts a statement and its signature by a key into a bundle. `sign` is handed the bytes to be signed.
///
/// # Errors
/// What `sign` says; [`Kind::Internal`] if the bundle has no JSON form.
pub fn seal(statement: &[u8], key: &PublicKey, sign: impl FnOnce(&[u8]) -> Result<Vec<u8>>) -> Result<Vec<u8>> {
    let signature = sign(&pae(PAYLOAD_TYPE, statement))?;
    let signature = DsseSignature::new(SignatureBytes::new(signature), KeyId::default());
    let dsse = DsseEnvelope::new(PAYLOAD_TYPE, PayloadBytes::from_bytes(statement), signature);
    let material = VerificationMaterialV03::PublicKey { hint: key.hint() };
    let bundle = BundleV03::new(material, SignatureContent::DsseEnvelope(dsse)).into_bundle();
    let json = bundle.to_json().map_err(|error| Error::internal("write a Sigstore bundle").because(error))?;
    Ok(json.into_bytes())
}
