//! Stage 3: whether one of the signatures was made by the expected key.

use crate::error::{Error, Kind, Result};
use crate::evidence::PublicKey;
use crate::evidence::signer::{SignedBy, Times};
use crate::evidence::sigstore::{Claim, Envelope};
use crate::evidence::statement::Statement;
use crate::verify::case::{Candidate, Case, Finding, Signed};

pub(super) fn run(case: &mut Case) -> Result<Finding> {
    if case.integrity_only() {
        return Ok(Finding::NotRun("only integrity was asked for; nobody vouches for this".to_owned()));
    }
    let keys: Vec<PublicKey> = case.request.expected.keys().into_iter().cloned().collect();
    if case.candidates.is_empty() {
        return Err(Error::new(Kind::Unsigned, "there is no signature")
            .hint("sign and publish it: seatrial evidence publish DIR --key KEY --push REPOSITORY"));
    }
    let mut wrong: Option<Error> = None;
    for candidate in &case.candidates {
        match judge(candidate, &keys) {
            Ok(Judged::Signed(by, statement)) => case.signed.push(Signed { by, times: Times::default(), statement }),
            Ok(Judged::Other(name)) => case.others.push(name),
            // A wrong signature says more than an unreadable one.
            Err(error) if wrong.as_ref().is_none_or(|seen| seen.kind() == Kind::Schema) => wrong = Some(error),
            Err(_) => {}
        }
    }
    // A signature of the right key about something else may be attached here too; one alone is the next stages' to refuse.
    if let Some(artifact) = &case.artifact
        && case.signed.iter().any(|signed| signed.statement.is_about(artifact))
    {
        case.signed.retain(|signed| signed.statement.is_about(artifact));
    }
    if !case.signed.is_empty() {
        let by: Vec<String> = case.signed.iter().map(|signed| signed.by.to_string()).collect();
        return Ok(Finding::Ok(format!("DSSE signature of an in-toto statement verifies with {}", by.join(", "))));
    }
    match wrong {
        Some(error) if error.kind() == Kind::Signature || case.others.is_empty() => Err(error),
        // Whose it is decides the next stage; it cannot be verified without their key.
        _ => Ok(Finding::NotRun(format!("signed with {}, which is not at hand", case.others.join(", ")))),
    }
}

enum Judged {
    Signed(SignedBy, Statement),
    Other(String),
}

fn judge(candidate: &Candidate, keys: &[PublicKey]) -> Result<Judged> {
    let envelope = Envelope::parse(&candidate.bytes).map_err(|error| error.context(candidate.name.clone()))?;
    if let Some(key) = keys.iter().find(|key| *envelope.claim() == Claim::Key(key.id())) {
        let payload = envelope
            .verify(key)
            .map_err(|error| error.hint("the signature, or what it signs, was changed after it was made; do not trust this evidence"))?;
        return Ok(Judged::Signed(SignedBy::Key(key.id()), Statement::parse(payload)?));
    }
    if keys.iter().any(|key| envelope.verify(key).is_ok()) {
        return Err(Error::new(Kind::Signature, format!("{} names another key than the one that made it", candidate.name)));
    }
    Ok(Judged::Other(match envelope.claim() {
        Claim::Key(id) => format!("key {id}"),
        Claim::OtherKey(name) => format!("key `{}`", name.escape_debug()),
        Claim::Certificate => "a certificate".to_owned(),
    }))
}
