//! Stage 10: how old the evidence is, by a time that can be trusted.

use crate::error::Result;
use crate::verify::case::{Case, Finding};

/// What a bare key leaves open.
pub(super) const NO_PROOF: &str = "the signature is by a bare key";

pub(super) fn run(case: &mut Case) -> Result<Finding> {
    let finished = case.evidence()?.finished_at;
    if case.signed.is_empty() {
        return Ok(Finding::NotRun(format!("unsigned; it says that it was finished at {finished}")));
    }
    Ok(Finding::Warning(format!("no proof of time: {NO_PROOF}; the signer says that the run ended at {finished}")))
}
