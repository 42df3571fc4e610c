//! Stage 3: whether one of the signatures was made by the expected key.

use crate::error::{Error, Kind, Result};
use crate::evidence::PublicKey;
use crate::evidence::signer::{SignedBy, Times};
use crate::evidence::sigstore::{Claim, Envelope};
use crate::evidence::statement::Statement;
use crate::ui::printable;
use crate::verify::Expected;
use crate::verify::case::{Candidate, Case, Finding, Signed};

pub(super) fn run(case: &mut Case) -> Result<Finding> {
    let Expected::Key(key) = case.request.expected.clone() else {
        return Ok(Finding::NotRun("only integrity was asked for; nobody vouches for this".to_owned()));
    };
    if case.candidates.is_empty() {
        return Err(unsigned(case));
    }
    let mut wrong: Option<Error> = None;
    for candidate in &case.candidates {
        match judge(candidate, &key) {
            Ok(Judged::Signed(statement)) => {
                case.signed.push(Signed { by: SignedBy::Key(key.id()), times: Times::default(), statement });
            }
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
        return Ok(Finding::Ok(format!("DSSE signature of an in-toto statement verifies with key {}", key.id())));
    }
    match wrong {
        Some(error) if error.kind() == Kind::Signature || case.others.is_empty() => Err(error),
        // Whose it is decides the next stage; it cannot be verified without their key.
        _ => Ok(Finding::NotRun(format!("signed with {}, which is not at hand", case.others.join(", ")))),
    }
}

/// The error of a bundle that nobody has signed, with what its owner does next.
fn unsigned(case: &Case) -> Error {
    let error = Error::new(Kind::Unsigned, "there is no signature");
    match &case.pointer {
        Some(pointer) if pointer.is_pending() => error.hint(format!(
            "the pointer is pending; sign what it names: seatrial evidence sign {} --key KEY",
            printable(&case.request.input)
        )),
        _ => error.hint("sign and publish it: seatrial evidence publish DIR --key KEY --push REPOSITORY"),
    }
}

enum Judged {
    Signed(Statement),
    Other(String),
}

fn judge(candidate: &Candidate, key: &PublicKey) -> Result<Judged> {
    let envelope = Envelope::parse(&candidate.bytes).map_err(|error| error.context(candidate.name.clone()))?;
    match (envelope.verify(key), envelope.claim()) {
        (Ok(payload), Claim::Key(id)) if *id == key.id() => Ok(Judged::Signed(Statement::parse(payload)?)),
        (Ok(_), _) => Err(Error::new(Kind::Signature, format!("{} names another key than the one that made it", candidate.name))),
        (Err(error), Claim::Key(id)) if *id == key.id() => {
            Err(error.hint("the signature, or what it signs, was changed after it was made; do not trust this evidence"))
        }
        (Err(_), Claim::Key(id)) => Ok(Judged::Other(format!("key {id}"))),
        (Err(_), Claim::OtherKey(name)) => Ok(Judged::Other(format!("key `{}`", name.escape_debug()))),
        (Err(_), Claim::Certificate) => Ok(Judged::Other("a certificate".to_owned())),
    }
}
