//! Pages about the requirements of CNCF AI conformance, made from results and from nothing else.

use std::collections::BTreeMap;

use serde_json::json;

use crate::error::{Error, Result};
use crate::results::{Report, TestResult, Verdict, markdown};

const PAGE: &str = include_str!("page.md.j2");
const INDEX: &str = include_str!("index.md.j2");

/// A requirement of CNCF AI conformance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Requirement {
    /// Its id, e.g. `dra_support`.
    pub id: &'static str,
    /// What users of the incumbent call it with `--feature`; also the page's name.
    pub feature: &'static str,
    /// Other names of it.
    pub aliases: &'static [&'static str],
    /// What it asks for.
    pub title: &'static str,
    /// The checks that answer it.
    pub checks: &'static [&'static str],
}

/// The requirements, in the order of the CNCF's list.
pub static REQUIREMENTS: &[Requirement] = &[
    Requirement {
        id: "dra_support",
        feature: "dra-support",
        aliases: &["dra"],
        title: "Dynamic resource allocation",
        checks: &["dra-support"],
    },
    Requirement {
        id: "secure_accelerator_access",
        feature: "secure-access",
        aliases: &["secure", "secure-accelerator-access"],
        title: "Isolated access to accelerators",
        checks: &["secure-accelerator-access"],
    },
    Requirement {
        id: "accelerator_metrics",
        feature: "accelerator-metrics",
        aliases: &["metrics"],
        title: "Accelerator metrics",
        checks: &["accelerator-metrics"],
    },
    Requirement {
        id: "ai_service_metrics",
        feature: "ai-service-metrics",
        aliases: &[],
        title: "Metrics of AI services",
        checks: &["ai-service-metrics"],
    },
    Requirement {
        id: "ai_inference",
        feature: "inference-gateway",
        aliases: &["gateway"],
        title: "Gateway for inference",
        checks: &["inference-gateway"],
    },
    Requirement {
        id: "gang_scheduling",
        feature: "gang-scheduling",
        aliases: &["gang"],
        title: "Gang scheduling",
        checks: &["gang-scheduling"],
    },
    Requirement {
        id: "cluster_autoscaling",
        feature: "cluster-autoscaling",
        aliases: &[],
        title: "Autoscaling of the cluster",
        checks: &["cluster-autoscaling"],
    },
    Requirement {
        id: "pod_autoscaling",
        feature: "pod-autoscaling",
        aliases: &["hpa"],
        title: "Autoscaling of pods",
        checks: &["pod-autoscaling"],
    },
    Requirement {
        id: "robust_controller",
        feature: "robust-operator",
        aliases: &["operator", "robust-controller"],
        title: "A robust controller",
        checks: &["robust-controller"],
    },
];

/// Finds requirements by feature, alias or id; all without a name.
///
/// # Errors
/// A usage error with the nearest name.
pub fn find(features: &[String]) -> Result<Vec<&'static Requirement>> {
    if features.is_empty() {
        return Ok(REQUIREMENTS.iter().collect());
    }
    let named = |name: &String| {
        let is = |one: &&Requirement| one.feature == name || one.id == name || one.aliases.contains(&name.as_str());
        REQUIREMENTS.iter().find(is).ok_or_else(|| {
            let known: Vec<&str> = REQUIREMENTS.iter().map(|one| one.feature).collect();
            let error = Error::usage(format!("--feature {}: there is no such feature", crate::ui::printable(name)));
            error.did_you_mean(name, known.iter().copied(), format!("features: {}", known.join(", ")))
        })
    };
    features.iter().map(named).collect()
}

/// Makes sure that some of these checks answer some of the requirements.
///
/// # Errors
/// A usage error if there would be nothing to write about.
pub fn answered<'a>(mut checks: impl Iterator<Item = &'a str>, requirements: &[&Requirement]) -> Result<()> {
    if checks.any(|id| requirements.iter().any(|requirement| requirement.checks.contains(&id))) {
        return Ok(());
    }
    Err(Error::usage("there is nothing to write pages about: no check answers these CNCF requirements")
        .hint("`seatrial list checks` says which do; name them in the recipe"))
}

/// The pages by file name, `index.md` among them. What no check has shown is said to be so, and is never a PASS.
///
/// # Errors
/// A usage error if no test of the report answers any of the requirements.
pub fn pages(report: &Report, requirements: &[&Requirement]) -> Result<BTreeMap<String, String>> {
    let mut pages = BTreeMap::new();
    let mut rows = Vec::new();
    for requirement in requirements {
        let of = |test: &&TestResult| requirement.checks.contains(&test.id.as_str());
        let tests: Vec<&TestResult> = report.tests.iter().filter(of).collect();
        let result = result(&tests);
        let file = format!("{}.md", requirement.feature);
        rows.push(json!({
            "id": requirement.id, "title": requirement.title, "result": result, "file": (!tests.is_empty()).then_some(&file),
        }));
        if tests.is_empty() {
            continue;
        }
        let tests: Vec<_> = tests
            .iter()
            .map(|test| {
                json!({
                    "id": test.id, "version": test.version, "verdict": test.outcome.verdict.word(), "reason": test.outcome.verdict.reason(),
                    "message": test.outcome.message, "fix": test.outcome.fix, "seen": test.outcome.subjects.seen.len(),
                    "exist": test.outcome.subjects.exist, "kind": test.outcome.subjects.kind, "assertions": test.outcome.assertions,
                    "numbers": test.outcome.measurements, "milliseconds": test.duration_ms,
                })
            })
            .collect();
        let content = json!({"title": requirement.title, "id": requirement.id, "result": result, "tests": tests, "report": head(report)});
        pages.insert(file, markdown::render(PAGE, content)?);
    }
    answered(report.tests.iter().map(|test| test.id.as_str()), requirements)?;
    pages.insert("index.md".to_owned(), markdown::render(INDEX, json!({"rows": rows, "report": head(report)}))?);
    Ok(pages)
}

/// The facts that stand on top of each page.
fn head(report: &Report) -> serde_json::Value {
    json!({
        "run": report.run, "recipe": report.recipe, "snapshot": report.snapshot, "scope": report.scope_words(),
        "finished": report.finished_at, "hardware": report.hardware.word(), "tool": env!("CARGO_PKG_VERSION"),
    })
}

/// What a requirement's tests come to; only tests that all passed are a PASS.
fn result(tests: &[&TestResult]) -> &'static str {
    let any = |wanted: fn(&Verdict) -> bool| tests.iter().any(|test| wanted(&test.outcome.verdict));
    if tests.is_empty() {
        "NOT TESTED"
    } else if any(|verdict| *verdict == Verdict::Fail) {
        "FAIL"
    } else if any(|verdict| matches!(verdict, Verdict::Error(_) | Verdict::NotRun(_))) {
        "COULD NOT TELL"
    } else if any(|verdict| matches!(verdict, Verdict::Skip(_))) {
        "NOT SHOWN"
    } else {
        "PASS"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::{ErrorReason, Outcome, SkipReason, samples};

    fn with(outcomes: &[Outcome]) -> Report {
        let mut report = samples::mixed();
        report.tests = outcomes
            .iter()
            .map(|outcome| TestResult::of("dra-support".to_owned(), 1, "conformance", "conformance", outcome.clone()))
            .collect();
        report
    }

    #[test]
    fn only_what_was_shown_is_a_pass() {
        let pass = || Outcome::pass("allocated").seen("claims", vec!["c".to_owned()], 1).asserted(1, 1);
        for (outcome, word) in [
            (pass(), "PASS"),
            (Outcome::fail("7 of 8"), "FAIL"),
            (Outcome::error(ErrorReason::Denied, "403"), "COULD NOT TELL"),
            (Outcome::skip(SkipReason::BehavioralTestsOff, "off"), "NOT SHOWN"),
        ] {
            let pages = pages(&with(&[outcome]), &find(&[]).expect("all")).expect("pages");
            assert_eq!(pages.keys().map(String::as_str).collect::<Vec<_>>(), ["dra-support.md", "index.md"]);
            assert!(pages["dra-support.md"].contains(&format!("Result: {word}")), "{}", pages["dra-support.md"]);
            assert!(pages["index.md"].contains("NOT TESTED") && pages["index.md"].contains(word), "{}", pages["index.md"]);
        }
    }

    #[test]
    fn nothing_to_write_about_is_an_error_and_not_an_empty_directory() {
        assert!(pages(&with(&[]), &find(&[]).expect("all")).is_err());
        let gang = find(&["gang".to_owned()]).expect("an alias");
        assert_eq!(gang[0].id, "gang_scheduling");
        assert!(find(&["gnag-scheduling".to_owned()]).expect_err("misspelt").hints()[0].contains("gang-scheduling"));
    }

    #[test]
    fn text_from_a_cluster_does_not_become_markup() {
        let hostile = Outcome::fail("![x](http://evil) <script> | @org");
        let pages = pages(&with(&[hostile]), &find(&[]).expect("all")).expect("pages");
        assert!(!pages["dra-support.md"].contains("<script>") && !pages["dra-support.md"].contains("![x]("));
    }
}
