//! Public keys.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sigstore_crypto::{KeyAlgorithm, VerificationKey};
use sigstore_types::DerPublicKey;

use crate::digest::Digest;
use crate::error::{Error, Result};

/// A public key that can be used.
#[derive(Clone, Debug)]
pub struct PublicKey(DerPublicKey);

impl PublicKey {
    /// Reads a PEM block `PUBLIC KEY`.
    ///
    /// # Errors
    /// [`Usage`](crate::error::Kind::Usage) if it is anything else.
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
    /// [`Usage`](crate::error::Kind::Usage) if the key is malformed or of a kind that cannot be used.
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

    /// True for ECDSA P-256 keys.
    #[must_use]
    pub fn is_p256(&self) -> bool {
        KeyAlgorithm::from_spki(&self.0).is_ok_and(|algorithm| algorithm == KeyAlgorithm::EcdsaP256)
    }

    /// The SubjectPublicKeyInfo.
    pub(crate) fn der(&self) -> &DerPublicKey {
        &self.0
    }

    /// What a bundle names the key by.
    pub(super) fn hint(&self) -> String {
        let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, self.0.as_bytes());
        STANDARD.encode(hash.as_ref())
    }
}
