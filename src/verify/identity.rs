//! Stage 4: whether the signer is the one that was asked for.

use crate::error::{Error, Kind, Result};
use crate::verify::Signer;
use crate::verify::case::{Case, Finding};

pub(super) fn run(case: &mut Case) -> Result<Finding> {
    let Signer::Key(key) = &case.request.signer else {
        return Ok(Finding::NotRun("no signer was asked for".to_owned()));
    };
    match &case.signed {
        Some(signed) if signed.key == key.id() => Ok(Finding::Ok(format!("the expected key {}", signed.key))),
        _ => {
            let seen = case.others.join(", ");
            Err(Error::new(Kind::Policy, format!("signed with {seen}, expected key {}", key.id()))
                .hint("pass the public key of the signer that you trust; if you trust none of these, do not use the evidence"))
        }
    }
}
