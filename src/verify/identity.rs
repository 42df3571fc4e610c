//! Stage 4: whether those signed whom the policy asks for, and why the other signatures do not count.

use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::evidence::MANIFEST;
use crate::evidence::bundle::file;
use crate::policy::{Opinion, Vote};
use crate::reason::Reason;
use crate::verify::case::{Case, Finding, Judged, Signed};

pub(super) fn run(case: &mut Case) -> Result<Finding> {
    let Some(policy) = case.policy() else {
        return Ok(Finding::NotRun("no signer was asked for".to_owned()));
    };
    if case.signed.is_empty() {
        let wanted: Vec<String> = policy.entries.iter().map(|entry| entry.who.to_string()).collect();
        let message = format!("signed with {}; {} wants {}", case.others.join(", "), policy.name, wanted.join(", "));
        return Ok(Finding::refused(Reason::SignerUnknown, message));
    }
    let mut digests = vec![case.artifact()?.clone()];
    digests.extend(file(case.files()?, MANIFEST).ok().map(Digest::of));
    // Each by the recipe that it names itself; what those that count say of the bundle is held against its files later.
    let votes: Vec<Vote> = case.signed.iter().map(vote).collect();
    let judgement = policy.judge(&votes, &digests, case.request.now);
    let voices: Vec<String> = judgement.organisations.iter().map(|(organisation, entries)| voice(organisation, entries)).collect();
    let wanted = policy.required;
    let judged = case.signed.iter().zip(&judgement.opinions);
    case.judged =
        judged.map(|(signed, opinion)| Judged { by: signed.by.clone(), times: signed.times.clone(), opinion: opinion.clone() }).collect();
    let mut opinions = judgement.opinions.iter();
    case.signed.retain(|_| opinions.next().is_some_and(Opinion::counts));
    if !judgement.refusals.is_empty() {
        return Ok(Finding::Refused(judgement.refusals));
    }
    if case.signed.is_empty() {
        return Err(Error::internal("the policy accepted no signature and refused none"));
    }
    let ignored = case.judged.len() - case.signed.len();
    let ignored = if ignored == 0 { String::new() } else { format!("; {ignored} more do not count") };
    Ok(Finding::Ok(format!("{} of {wanted} organisations: {}{ignored}", voices.len(), voices.join(", "))))
}

/// An organisation with the entries that speak for it.
fn voice(organisation: &str, entries: &[String]) -> String {
    if entries.iter().all(|entry| entry == organisation) {
        return organisation.to_owned();
    }
    format!("{organisation} ({})", entries.join(", "))
}

fn vote(signed: &Signed) -> Vote<'_> {
    Vote { by: &signed.by, times: &signed.times, recipe: signed.statement.recipe().unwrap_or_default() }
}
