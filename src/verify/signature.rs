//! Stage 3: which of the signatures verify: by the expected keys, or by certificates that a trusted root proves.

use crate::error::{Error, Kind, Result};
use crate::evidence::PublicKey;
use crate::evidence::sigstore::{Claim, Envelope};
use crate::evidence::statement::Statement;
use crate::ui::printable;
use crate::verify::Request;
use crate::verify::case::{Candidate, Case, Finding, Signed};

pub(super) fn run(case: &mut Case) -> Result<Finding> {
    if case.integrity_only() {
        return Ok(Finding::NotRun("only integrity was asked for; nobody vouches for this".to_owned()));
    }
    let keys: Vec<PublicKey> = case.request.expected.keys().into_iter().cloned().collect();
    if case.candidates.is_empty() {
        return Err(unsigned(case));
    }
    let mut wrong: Option<Error> = None;
    let mut foreign = Vec::new();
    for candidate in &case.candidates {
        match judge(candidate, &keys, &case.request) {
            Ok(Judged::Signed(signed)) => case.signed.push(*signed),
            Ok(Judged::Other(name)) => foreign.push(name),
            Err(error) => {
                case.others.push(format!("{} ({error})", candidate.name));
                // A wrong signature says more than an unreadable one.
                if wrong.as_ref().is_none_or(|seen| seen.kind() == Kind::Schema) {
                    wrong = Some(error);
                }
            }
        }
    }
    case.others.extend(foreign.iter().cloned());
    // A signature of somebody expected about something else may be attached here too; one alone is the next stages' to refuse.
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
        Some(error) if error.kind() == Kind::Signature || foreign.is_empty() => Err(error),
        // Whose it is decides the next stage; it cannot be verified without their key.
        _ => Ok(Finding::NotRun(format!("signed with {}, which is not at hand", foreign.join(", ")))),
    }
}

/// Who can sign.
const WHO: &str = "without a key in CI or after a login, else with --identity-token-file FILE or --key KEY";

/// The error of a bundle that nobody has signed, with what its owner does next.
fn unsigned(case: &Case) -> Error {
    let error = Error::new(Kind::Unsigned, "there is no signature");
    match &case.pointer {
        Some(pointer) if pointer.is_pending() => error
            .hint(format!("the pointer is pending; sign what it names: seatrial evidence sign {} ({WHO})", printable(&case.request.input))),
        _ => error.hint(format!("sign and publish it: seatrial evidence publish DIR --push REPOSITORY ({WHO})")),
    }
}

enum Judged {
    Signed(Box<Signed>),
    Other(String),
}

fn judge(candidate: &Candidate, keys: &[PublicKey], request: &Request) -> Result<Judged> {
    let envelope = Envelope::parse(&candidate.bytes).map_err(|error| error.context(candidate.name.clone()))?;
    let changed = "the signature, or what it signs, was changed after it was made; do not trust this evidence";
    let proven = match envelope.claim() {
        Claim::Certificate if !request.expected.accepts_certificates() => {
            return Ok(Judged::Other("a certificate, and only keys are expected".to_owned()));
        }
        Claim::Certificate => envelope.prove_by_certificate(&request.root).map_err(|error| error.context(candidate.name.clone()))?,
        Claim::Key(id) => match keys.iter().find(|key| key.id() == *id) {
            Some(key) => envelope.prove_by_key(key, &request.root).map_err(|error| error.hint(changed))?,
            None if keys.iter().any(|key| envelope.verify(key).is_ok()) => return Err(misnamed(candidate)),
            None => return Ok(Judged::Other(format!("key {id}"))),
        },
        Claim::OtherKey(_) if keys.iter().any(|key| envelope.verify(key).is_ok()) => return Err(misnamed(candidate)),
        Claim::OtherKey(name) => return Ok(Judged::Other(format!("key `{}`", name.escape_debug()))),
    };
    Ok(Judged::Signed(Box::new(Signed { by: proven.by, times: proven.times, statement: Statement::parse(proven.payload)? })))
}

fn misnamed(candidate: &Candidate) -> Error {
    Error::new(Kind::Signature, format!("{} names another key than the one that made it", candidate.name))
}
