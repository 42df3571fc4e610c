//! Stage 4: whether the signer is the one that was asked for.

use crate::error::{Error, Kind, Result};
use crate::evidence::signer::SignedBy;
use crate::verify::Expected;
use crate::verify::case::{Case, Finding};

pub(super) fn run(case: &mut Case) -> Result<Finding> {
    let Expected::Key(key) = &case.request.expected else {
        return Ok(Finding::NotRun("no signer was asked for".to_owned()));
    };
    match case.signed.iter().find(|signed| signed.by == SignedBy::Key(key.id())) {
        Some(signed) => Ok(Finding::Ok(format!("the expected {}", signed.by))),
        None => {
            let seen = case.others.join(", ");
            Err(Error::new(Kind::Policy, format!("signed with {seen}, expected key {}", key.id()))
                .hint("pass the public key of the signer that you trust; if you trust none of these, do not use the evidence"))
        }
    }
}
