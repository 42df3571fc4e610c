//! Sigstore bundles v0.3 of an in-toto statement: reading them, and what they prove.

mod key;
mod log;
mod proof;
mod seal;
mod shape;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sigstore_crypto::VerificationKey;
use sigstore_types::bundle::{SignatureContent, VerificationMaterialContent};
use sigstore_types::{Bundle, DsseEnvelope, MediaType};

use crate::digest::Digest;
use crate::error::{Error, Kind, Result};

pub use key::PublicKey;
pub use proof::Proven;
pub use seal::{Proofs, seal, to_sign};

/// The payload type of an in-toto statement.
const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";

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
    bundle: Bundle,
}

impl Envelope {
    /// Reads a bundle.
    ///
    /// # Errors
    /// [`Kind::Schema`] if it is not a Sigstore bundle v0.3 that holds an in-toto statement.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let wrong = |what: &str| Error::new(Kind::Schema, format!("it is not a Sigstore bundle v0.3 of an in-toto statement: {what}"));
        let text = std::str::from_utf8(bytes).map_err(|_| wrong("it is not text"))?;
        let value = shape::read(text).map_err(|what| wrong(&what))?;
        if value["mediaType"] != MediaType::Bundle0_3.as_str() {
            return Err(wrong("it has another media type"));
        }
        let bundle = Bundle::from_json(text).map_err(|error| wrong("it has another form").because(error))?;
        let SignatureContent::DsseEnvelope(dsse) = bundle.content.clone() else {
            return Err(wrong("it signs a digest, not a statement"));
        };
        if dsse.payload_type != PAYLOAD_TYPE {
            return Err(wrong("it has another payload type"));
        }
        let material = &bundle.verification_material;
        let entries: Vec<_> = material.tlog_entries.iter().map(|entry| (&entry.log_id, entry.log_index)).collect();
        let stamps = &material.timestamp_verification_data.rfc3161_timestamps;
        let twice = (1..entries.len()).any(|at| entries[..at].contains(&entries[at]))
            || (1..stamps.len()).any(|at| stamps[..at].contains(&stamps[at]));
        // They must not be counted twice by anybody.
        if twice {
            return Err(wrong("it holds a log entry or a timestamp twice"));
        }
        let claim = match &bundle.verification_material.content {
            VerificationMaterialContent::PublicKey(key) => claim_of(&key.hint),
            _ => Claim::Certificate,
        };
        Ok(Self { claim, dsse, bundle })
    }

    /// Who it says that it is from.
    #[must_use]
    pub fn claim(&self) -> &Claim {
        &self.claim
    }

    /// What it says that was signed. Nothing of it is proven.
    #[must_use]
    pub fn stated(&self) -> &[u8] {
        self.dsse.payload.as_bytes()
    }

    /// Verifies the signature alone, without what logs and clocks say of it, and hands out what was signed.
    ///
    /// # Errors
    /// [`Kind::Signature`] if the key did not make this signature.
    pub fn verify(&self, key: &PublicKey) -> Result<&[u8]> {
        VerificationKey::from_spki(key.der())
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
