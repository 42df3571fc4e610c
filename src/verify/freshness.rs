//! Stage 10: how old the evidence is, by a time that can be trusted, and whether the recipe still asks for the same.

use jiff::{SignedDuration, Timestamp};

use crate::error::Result;
use crate::limits;
use crate::reason::{Reason, Said};
use crate::verify::case::{Case, Finding};
use crate::verify::drift;

/// What a bare key leaves open.
pub(super) const NO_PROOF: &str = "nobody vouches for the time of the signature";

pub(super) fn run(case: &mut Case) -> Result<Finding> {
    let evidence = case.evidence()?;
    let proven = case.proven_time();
    let limit = case.policy().and_then(|policy| policy.maximum_age);
    let run = Run { started: evidence.started_at, finished: evidence.finished_at };
    let mut reasons = run.judge(proven, limit, case.request.now);
    let mut changes = Vec::new();
    let mut said = match proven {
        _ if case.signed.is_empty() => format!("unsigned; it says that it was finished at {}", run.finished),
        None => format!("no proof of time: {NO_PROOF}; the signer says that the run ended at {}", run.finished),
        Some(proven) => format!("signed by {proven}; the run ended {} earlier", words(proven.duration_since(run.finished))),
    };
    if let Some(today) = &case.request.recipe {
        let mut drift = drift::between(case.recipe()?, today)?;
        if let Some(checks) = &case.request.checks {
            drift.0.extend(drift::versions(evidence.checks.iter().map(|check| (check.id.as_str(), check.version)), checks));
        }
        if drift.is_material() {
            reasons.push(Said::new(Reason::RecipeDrifted, format!("the recipe has changed: {drift}")));
        }
        said = format!("{said}; recipe {}: {drift}", today.metadata.name);
        changes = drift.0;
    }
    case.drift = changes;
    if !reasons.is_empty() {
        return Ok(Finding::Verdict(reasons));
    }
    Ok(match proven {
        _ if case.signed.is_empty() => Finding::NotRun(said),
        None => Finding::Warning(said),
        Some(_) => Finding::Ok(said),
    })
}

/// When a run was, as the signer says.
struct Run {
    started: Timestamp,
    finished: Timestamp,
}

impl Run {
    /// What is wrong with the times. The signer says when the run ended; that somebody else saw the signature later bounds it from above, so
    /// that nobody can make a run younger than its signature, and an age is counted from the end of the run.
    fn judge(&self, proven: Option<Timestamp>, limit: Option<SignedDuration>, now: Timestamp) -> Vec<Said> {
        let mut reasons = Vec::new();
        if self.started > self.finished {
            let message = format!("the run began at {} and ended before, at {}", self.started, self.finished);
            reasons.push(Said::new(Reason::TimesDisagree, message));
        }
        match (proven, limit) {
            (Some(proven), _) if self.finished.duration_since(proven) > limits::CLOCK_SKEW => {
                let message = format!("the run ended at {}, after its signature was seen at {proven}", self.finished);
                reasons.push(Said::new(Reason::TimesDisagree, message));
            }
            (Some(_), Some(limit)) if now.duration_since(self.finished) > limit => {
                let age = words(now.duration_since(self.finished));
                reasons.push(Said::new(Reason::TooOld, format!("the run ended {age} ago, and the policy allows {}", words(limit))));
            }
            (None, Some(limit)) => {
                let message = format!("the policy allows an age of {}, and {NO_PROOF}", words(limit));
                reasons.push(Said::new(Reason::NoTrustedTime, message));
            }
            _ => {}
        }
        reasons
    }
}

/// A length of time for people.
fn words(long: SignedDuration) -> String {
    match long.abs().as_secs() {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7200 => format!("{} min", seconds / 60),
        seconds @ 7200..172_800 => format!("{} h", seconds / 3600),
        seconds => format!("{} d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_counts_from_the_end_of_the_run_and_needs_somebody_who_vouches_for_the_time() {
        let at = |time: &str| -> Timestamp { time.parse().expect("a time") };
        let run = Run { started: at("2026-11-01T10:00:00Z"), finished: at("2026-11-01T11:00:00Z") };
        let (soon, later) = (at("2026-11-01T11:05:00Z"), at("2026-11-20T00:00:00Z"));
        let week = Some(SignedDuration::from_hours(7 * 24));
        let judged =
            |run: &Run, proven, limit, now| -> Vec<Reason> { run.judge(proven, limit, now).into_iter().map(|said| said.reason).collect() };
        assert_eq!(judged(&run, Some(soon), week, at("2026-11-03T00:00:00Z")), []);
        assert_eq!(judged(&run, Some(soon), week, later), [Reason::TooOld]);
        assert_eq!(judged(&run, Some(soon), None, later), []);
        assert_eq!(judged(&run, Some(later), week, later), [Reason::TooOld], "signed anew, and no younger for it");
        assert_eq!(judged(&run, None, week, soon), [Reason::NoTrustedTime]);
        assert_eq!(judged(&run, None, None, soon), []);
        assert_eq!(judged(&run, Some(at("2026-11-01T10:58:00Z")), None, soon), [], "clocks differ a little");
        assert_eq!(judged(&run, Some(at("2026-11-01T10:00:00Z")), None, soon), [Reason::TimesDisagree]);
        let backwards = Run { started: run.finished, finished: run.started };
        assert_eq!(judged(&backwards, None, None, soon), [Reason::TimesDisagree]);
    }
}
