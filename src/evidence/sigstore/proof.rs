//! What a bundle proves by a trusted root: whose certificate or key it is, and when the signature was there.

use jiff::Timestamp;
use serde_json::Value;
use sigstore_types::{Bundle, Sha256Hash, TransparencyLogEntry};
use sigstore_verify::{Policy, PublicKeyVerificationPolicy, VerificationPolicy, VerificationResult};

use super::{Claim, Envelope, PublicKey, log};
use crate::error::{Error, Kind, Result};
use crate::evidence::pointer::LogRef;
use crate::evidence::signer::{Certificate, Claims, SignedBy, Times};
use crate::trust;

/// What a signature proves.
#[derive(Clone, Debug)]
pub struct Proven<'a> {
    /// The statement that was signed.
    pub payload: &'a [u8],
    /// Who signed it.
    pub by: SignedBy,
    /// When it was proven to be there.
    pub times: Times,
}

impl Envelope {
    /// Verifies a signature by this key, and every timestamp and log entry that comes with it. One that comes alone has no times.
    ///
    /// # Errors
    /// [`Kind::Signature`] if the key did not make it, or what comes with it is not proven by any trusted root.
    pub fn prove_by_key(&self, key: &PublicKey, root: &trust::Root) -> Result<Proven<'_>> {
        let payload = self.verify(key)?;
        if self.claim != Claim::Key(key.id()) {
            return Err(Error::new(Kind::Signature, "the signature names another key than the one that made it"));
        }
        let by = SignedBy::Key(key.id());
        let material = &self.bundle.verification_material;
        let stamps = material.timestamp_verification_data.rfc3161_timestamps.len();
        if stamps == 0 && material.tlog_entries.is_empty() {
            return Ok(Proven { payload, by, times: Times::default() });
        }
        let mut policy = PublicKeyVerificationPolicy::new(key.der().clone());
        if material.tlog_entries.is_empty() {
            policy = policy.skip_tlog_unsafe();
        }
        let result = self.by_one_of(root, &policy)?;
        // Times of logs come first.
        let times = result.verified_timestamps();
        let stamps = times.get(times.len().saturating_sub(stamps)..).unwrap_or_default();
        Ok(Proven { payload, by, times: times_of(stamps, result.integrated_time(), &self.bundle)? })
    }

    /// Verifies a signature by whoever holds its certificate: chain, promise of the certificate's log, entry in a signatures' log with its
    /// proof and checkpoint, and times that lie within the certificate's.
    ///
    /// # Errors
    /// [`Kind::Signature`] if no trusted root proves all of it.
    pub fn prove_by_certificate(&self, root: &trust::Root) -> Result<Proven<'_>> {
        let wrong = |what: &str| Error::new(Kind::Signature, what.to_owned());
        if self.claim != Claim::Certificate {
            return Err(wrong("the signature comes without a certificate"));
        }
        let result = self.by_one_of(root, &VerificationPolicy::any_identity())?;
        if !(result.certificate_verified() && result.sct_verified() && result.tlog_verified()) || result.verified_timestamps().is_empty() {
            return Err(wrong("not all of the certificate, its log's promise, the signatures' log and a time were verified"));
        }
        let identity = result.identity().ok_or_else(|| wrong("the certificate names nobody"))?.as_str().to_owned();
        let issuer = result.issuer().ok_or_else(|| wrong("the certificate does not say who vouches for it"))?.to_owned();
        let claims = result.certificate().map(|certificate| claims_of(&certificate.ci_claims)).unwrap_or_default();
        // Timestamps come first, then times of logs.
        let stamps = self.bundle.verification_material.timestamp_verification_data.rfc3161_timestamps.len();
        let times = result.verified_timestamps();
        let stamps = times.get(..stamps).unwrap_or_default();
        let times = times_of(stamps, result.integrated_time(), &self.bundle)?;
        let by = SignedBy::Certificate(Box::new(Certificate { identity, issuer, claims }));
        Ok(Proven { payload: self.dsse.payload.as_bytes(), by, times })
    }

    /// Verifies by the first trusted root that proves everything.
    fn by_one_of(&self, root: &trust::Root, policy: &impl Policy) -> Result<VerificationResult> {
        // What the statement is about is judged by those who know the bundle; here it only has to be about something.
        let about = subject(self.dsse.payload.as_bytes())?;
        let mut reasons = Vec::new();
        for part in root.parts()? {
            match part.verifier.verify(about, &self.bundle, policy) {
                Ok(result) => match log::check(&self.bundle, part) {
                    Ok(()) => return Ok(result),
                    Err(what) => reasons.push(format!("{}: {what}", part.name)),
                },
                Err(error) => reasons.push(format!("{}: {error}", part.name)),
            }
        }
        Err(Error::new(Kind::Signature, "no trusted root proves it")
            .because(reasons.join("; "))
            .hint("the signature was changed after it was made, or it is from a private Sigstore: then give its --trusted-root"))
    }
}

/// The first subject's SHA-256.
fn subject(payload: &[u8]) -> Result<Sha256Hash> {
    let wrong = || Error::new(Kind::Schema, "what was signed is not a statement about anything with a SHA-256");
    let statement: Value = serde_json::from_slice(payload).map_err(|error| wrong().because(error))?;
    let digest = statement["subject"][0]["digest"]["sha256"].as_str().ok_or_else(wrong)?;
    Sha256Hash::from_hex(digest).map_err(|error| wrong().because(error))
}

fn times_of(stamps: &[Timestamp], logged: Option<Timestamp>, bundle: &Bundle) -> Result<Times> {
    let entry = bundle.verification_material.tlog_entries.first().map(log_ref).transpose()?;
    Ok(Times { timestamps: stamps.to_vec(), logged, log: entry })
}

fn log_ref(entry: &TransparencyLogEntry) -> Result<LogRef> {
    let id = serde_json::to_value(&entry.log_id.key_id).map_err(|error| Error::internal("write the log's id").because(error))?;
    Ok(LogRef { id: id.as_str().unwrap_or_default().to_owned(), index: entry.log_index.get() })
}

fn claims_of(claims: &sigstore_crypto::FulcioCiClaims) -> Claims {
    Claims {
        build_signer_uri: claims.build_signer_uri.clone(),
        runner_environment: claims.runner_environment.clone(),
        source_repository: claims.source_repository_uri.clone(),
        source_digest: claims.source_repository_digest.clone(),
        source_ref: claims.source_repository_ref.clone(),
        source_repository_id: claims.source_repository_identifier.clone(),
        source_owner: claims.source_repository_owner_uri.clone(),
        source_owner_id: claims.source_repository_owner_identifier.clone(),
        build_config_uri: claims.build_config_uri.clone(),
        trigger: claims.build_trigger.clone(),
        run: claims.run_invocation_uri.clone(),
    }
}
