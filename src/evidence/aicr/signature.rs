//! The signature beside a bundle of AICR: a Sigstore bundle around a statement with the predicate of the directory, word for word.
//!
//! It proves who vouches for what AICR says, and when. It makes none of it evidence of ours: no policy of ours speaks of AICR's predicate.

use serde_json::Value;

use crate::error::Kind;
use crate::evidence::aicr::{AicrBundle, Status, Told};
use crate::evidence::signer::Times;
use crate::evidence::sigstore::{Claim, Envelope};
use crate::{limits, trust};

/// What is told of the stages that a signature decides.
pub(super) struct Judged {
    pub(super) signature: Told,
    pub(super) identity: Option<Told>,
    pub(super) freshness: Option<Told>,
}

/// Verifies the signature of a bundle by trusted roots.
pub(super) fn judge(bundle: &AicrBundle, root: &trust::Root) -> Judged {
    let alone = |status, found: String| Judged { signature: (status, found), identity: None, freshness: None };
    let Some(bytes) = bundle.signature() else {
        return alone(Status::NotRun, "unsigned: there is no attestation.intoto.jsonl".to_owned());
    };
    let envelope = match Envelope::parse(bytes) {
        Ok(envelope) => envelope,
        Err(error) => return alone(Status::Failed, error.chain()),
    };
    if *envelope.claim() != Claim::Certificate {
        return alone(Status::NotRun, "by a key, which is not at hand; AICR signs without keys".to_owned());
    }
    let proven = match envelope.prove_by_certificate(root) {
        Ok(proven) => proven,
        Err(error) if error.kind() == Kind::Signature => {
            return alone(Status::Failed, format!("{}; a private Sigstore wants its --trusted-root", error.chain()));
        }
        Err(error) => return alone(Status::Failed, error.chain()),
    };
    let statement: Value = serde_json::from_slice(proven.payload).unwrap_or_default();
    if statement["predicateType"] != bundle.predicate().predicate_type.as_str() || statement["predicate"] != *bundle.stated() {
        return alone(Status::Failed, "it is good, and of another predicate than the one in statement.intoto.json".to_owned());
    }
    let found = "a certificate's signature, with its log entry, of this very predicate".to_owned();
    let who =
        format!("{}; whether that is whom you believe is for you to say: policies of seatrial do not speak of AICR's predicate", proven.by);
    Judged { signature: (Status::Ok, found), identity: Some((Status::NotRun, who)), freshness: Some(freshness(bundle, &proven.times)) }
}

/// The producer's clock against those who saw the signature.
fn freshness(bundle: &AicrBundle, times: &Times) -> Told {
    let claimed = bundle.predicate().attested_at;
    match times.proven() {
        Some(proven) if claimed.duration_since(proven) > limits::CLOCK_SKEW => {
            (Status::Failed, format!("attestedAt {claimed} is later than the signature, which was seen at {proven}"))
        }
        Some(proven) => (Status::Ok, format!("the signature was seen at {proven}; attestedAt {claimed} is the producer's own clock")),
        None => (Status::NotRun, format!("attestedAt {claimed} is the producer's own clock")),
    }
}
