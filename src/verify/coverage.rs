//! Stage 8: whether what the recipe declares was looked at, on hardware that counts.

use crate::constraints;
use crate::error::Result;
use crate::policy::Coverage;
use crate::reason::{Reason, Said};
use crate::results::Verdict;
use crate::snapshot::Hardware;
use crate::verify::case::{Case, Finding};

pub(super) fn run(case: &mut Case) -> Result<Finding> {
    let recipe = case.recipe()?;
    let tests = &case.report()?.tests;
    let checks = &recipe.spec.checks;
    let constraints = constraints::ids(&recipe.spec.constraints);
    let checks = checks.deployment.iter().chain(&checks.conformance).chain(&checks.performance);
    let declared: Vec<&String> = constraints.iter().chain(checks).collect();
    let mut missing = Vec::new();
    let mut out_of_scope = Vec::new();
    for id in &declared {
        match tests.iter().find(|test| test.id == **id).map(|test| test.outcome.verdict) {
            None => missing.push(format!("{id} is not in the results")),
            Some(verdict @ (Verdict::Error(_) | Verdict::NotRun(_))) => missing.push(format!("{id} is {}", with_reason(verdict))),
            Some(verdict @ Verdict::Skip(reason)) if reason.narrows_scope() => {
                out_of_scope.push(format!("{id} ({})", with_reason(verdict)))
            }
            Some(Verdict::Pass | Verdict::Fail | Verdict::Skip(_)) => {}
        }
    }
    for test in tests.iter().filter(|test| !declared.contains(&&test.id)) {
        if let verdict @ (Verdict::Error(_) | Verdict::NotRun(_)) = test.outcome.verdict {
            missing.push(format!("{} is {}", test.id, with_reason(verdict)));
        }
    }
    // A file has one test or more; their names are in the files, which are not part of the bundle.
    let (files, ran) = (recipe.spec.health.len(), tests.iter().filter(|test| test.id.starts_with("health/")).count());
    if ran < files {
        missing.push(format!("{files} health files gave {ran} tests"));
    }
    let hardware = case.evidence()?.hardware;
    let mut reasons = Vec::new();
    if !missing.is_empty() {
        reasons.push(Said::new(Reason::ChecksMissing, format!("not covered: {}", missing.join(", "))));
    }
    if declared.is_empty() {
        reasons.push(Said::new(Reason::NothingDeclared, "the recipe declares no checks, so nothing can be covered"));
    }
    if let Some(policy) = case.policy() {
        let narrow = match policy.coverage {
            Coverage::Declared => false,
            Coverage::InScopeIfSimulated => hardware == Hardware::Simulated,
            Coverage::InScope => true,
        };
        if !narrow && !out_of_scope.is_empty() {
            let message = format!("the policy wants every declared check; out of scope: {}", out_of_scope.join(", "));
            reasons.push(Said::new(Reason::ChecksOutOfScope, message));
        }
        // The label is the signer's here; the next stage derives it again and refuses another one.
        if !policy.hardware.contains(&hardware) {
            let reason = if hardware == Hardware::Simulated { Reason::HardwareSimulated } else { Reason::HardwareUnknown };
            reasons.push(Said::new(reason, format!("the hardware is {}, which {} does not accept", hardware.word(), policy.name)));
        }
    }
    let finding = if !reasons.is_empty() {
        Finding::Verdict(reasons)
    } else if out_of_scope.is_empty() {
        Finding::Ok(format!("all {} declared checks ran", declared.len()))
    } else {
        let said = format!(
            "{} of {} declared checks ran; out of scope: {}",
            declared.len() - out_of_scope.len(),
            declared.len(),
            out_of_scope.join(", ")
        );
        Finding::Warning(said)
    };
    case.out_of_scope = out_of_scope;
    Ok(finding)
}

fn with_reason(verdict: Verdict) -> String {
    verdict.reason().map_or_else(|| verdict.word().to_owned(), |reason| format!("{}: {reason}", verdict.word()))
}
