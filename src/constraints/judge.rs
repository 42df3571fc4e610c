//! Judges a constraint against a snapshot: expected, actual, where it was read, what to do.

use std::collections::BTreeMap;

use crate::constraints::{Constraint, Over, Rule, Severity};
use crate::error::{Context, Error, Result};
use crate::results::{Compared, Outcome, SkipReason, TestResult};
use crate::snapshot::{Address, At, Snapshot};

/// The version of the verdict logic.
pub const VERSION: u32 = 2;
/// How many different values a message names; the rest is counted.
const NAMED: usize = 3;

/// The ids of the tests that some constraints give: `constraint/<name>`, or `constraint/<name>@<over>` where that is said; a recipe
/// has each only once.
#[must_use]
pub fn ids(constraints: &[Constraint]) -> Vec<String> {
    let id = |constraint: &Constraint| match constraint.over {
        None => format!("constraint/{}", constraint.name),
        Some(over) => format!("constraint/{}@{}", constraint.name, over.word()),
    };
    constraints.iter().map(id).collect()
}

/// Makes sure that a constraint can be understood, and that there can be such a reading.
///
/// # Errors
/// A usage error that names the constraint.
pub fn check(constraint: &Constraint) -> Result<()> {
    Rule::parse(constraint)?;
    let address = Address::parse(&constraint.name).context("a constraint")?;
    let (own, over) = (address.over(), constraint.over.unwrap_or_else(|| address.over()));
    if over > own {
        let known = [Over::Cluster, Over::Nodes, Over::Gpus].into_iter().filter(|known| *known <= own).map(Over::word);
        return Err(Error::usage(format!("constraint {address}: there is no such reading of {}", over.word()))
            .hint(format!("over can be: {}", known.collect::<Vec<_>>().join(", "))));
    }
    Ok(())
}

/// Judges every constraint, in the order of the list.
///
/// # Errors
/// A usage error if one cannot be understood; recipes are checked when they are read.
pub fn judge_all(constraints: &[Constraint], snapshot: &Snapshot, step: &str) -> Result<Vec<TestResult>> {
    let judged = constraints.iter().zip(ids(constraints)).map(|(constraint, id)| {
        let outcome = judge(constraint, snapshot)?.guarded();
        Ok(TestResult::of(id, VERSION, step, "readiness", outcome))
    });
    judged.collect()
}

/// Judges one constraint. A reading that is missing does not meet it.
///
/// # Errors
/// A usage error if it cannot be understood.
pub fn judge(constraint: &Constraint, snapshot: &Snapshot) -> Result<Outcome> {
    let rule = Rule::parse(constraint)?;
    let address = Address::parse(&constraint.name)?;
    let over = constraint.over.unwrap_or_else(|| address.over());
    let readings = snapshot.readings(&address, constraint.over);
    Ok(weigh(constraint, &rule, over, &readings))
}

/// What the readings come to.
fn weigh(constraint: &Constraint, rule: &Rule, over: Over, readings: &[At]) -> Outcome {
    let expected = expected(constraint);
    let kind = over.word();
    let mut held = Vec::new();
    let mut others: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    let mut unknown = 0;
    for at in readings {
        let told = match at.reading.value() {
            Some(value) => rule.holds(value).map(|holds| (holds, format!("`{value}`"))),
            None => Err(at.reading.unavailable().unwrap_or("not read").to_owned()),
        };
        match told {
            Ok((true, value)) => held.push((value, at.subject.as_str())),
            Ok((false, value)) => others.entry(value).or_default().push(&at.subject),
            Err(why) => {
                unknown += usize::from(!at.absent());
                others.entry(why).or_default().push(&at.subject);
            }
        }
    }
    let enough = rule.enough(held.len(), unknown, readings.len());
    let sources: BTreeMap<&str, ()> = readings.iter().map(|at| (at.source.as_str(), ())).collect();
    let source = sources.into_keys().collect::<Vec<_>>().join(", ");
    let mut values: BTreeMap<String, Vec<&str>> = if rule.for_all() || !enough { others } else { BTreeMap::new() };
    if values.is_empty() {
        for (value, subject) in &held {
            values.entry(value.clone()).or_default().push(subject);
        }
    }
    let actual = if readings.is_empty() { format!("there are no {kind} to read it from") } else { words(&values, over) };
    let of = if over == Over::Cluster { String::new() } else { format!(" ({} of {} {kind})", held.len(), readings.len()) };
    let mut outcome = if enough {
        Outcome::pass(format!("{expected}: {actual}{of}"))
    } else {
        Outcome::fail(format!("expected {expected}, found {actual}{of}"))
    };
    let names = readings.iter().map(|at| at.subject.clone()).collect();
    let (passed, total) = if rule.for_all() { (held.len(), readings.len()) } else { (usize::from(enough), 1) };
    outcome = outcome.seen(kind, names, readings.len()).asserted(passed, total);
    outcome.compared = Some(Compared { expected, actual, source });
    if !enough {
        outcome.fix = constraint.remediation.clone();
        if constraint.severity == Severity::Advisory {
            outcome.verdict = crate::results::Verdict::Skip(SkipReason::Advisory);
        }
    }
    outcome
}

fn expected(constraint: &Constraint) -> String {
    let unit = constraint.unit.as_ref().map_or(String::new(), |unit| format!(" {unit}"));
    format!("{}{unit}", constraint.value)
}

/// Values with who has them: `` `535.1` on node-7; `570.2` on node-1, node-2 and 60 more ``.
fn words(values: &BTreeMap<String, Vec<&str>>, over: Over) -> String {
    let one = |(value, subjects): (&String, &Vec<&str>)| {
        if over == Over::Cluster {
            return value.clone();
        }
        let named = subjects.iter().take(NAMED).copied().collect::<Vec<_>>().join(", ");
        let more = subjects.len().saturating_sub(NAMED);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        format!("{value} on {named}{more}")
    };
    let mut told: Vec<String> = values.iter().take(NAMED).map(one).collect();
    if values.len() > NAMED {
        let more = values.len() - NAMED;
        told.push(format!("{more} other value{}", if more == 1 { "" } else { "s" }));
    }
    if told.is_empty() { "none".to_owned() } else { told.join("; ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::constraints::Quantifier;
    use crate::results::Verdict;
    use crate::snapshot::Reading;

    fn constraint(value: &str) -> Constraint {
        Constraint {
            name: "GPU.smi.driver".to_owned(),
            value: value.to_owned(),
            value_type: None,
            unit: None,
            over: None,
            quantifier: Quantifier::All,
            severity: Severity::Required,
            remediation: Some("upgrade the driver".to_owned()),
            source: None,
        }
    }

    fn at(node: &str, reading: Reading<&str>) -> At {
        let reading = match reading {
            Reading::Value(value) => Reading::Value(value.to_owned()),
            Reading::Unavailable(why) => Reading::Unavailable(why),
        };
        At { subject: format!("node {node}"), reading, source: "nvidia-smi".to_owned() }
    }

    fn judged(constraint: &Constraint, readings: &[At]) -> Outcome {
        weigh(constraint, &Rule::parse(constraint).expect("a rule"), Over::Nodes, readings).guarded()
    }

    #[test]
    fn one_node_that_differs_fails_it_and_is_named() {
        let readings = [at("a", Reading::Value("570.1")), at("b", Reading::Value("535.2")), at("c", Reading::Value("570.1"))];
        let outcome = judged(&constraint(">= 550"), &readings);
        assert_eq!(outcome.verdict, Verdict::Fail);
        assert_eq!(outcome.message, "expected >= 550, found `535.2` on node b (2 of 3 nodes)");
        assert_eq!(outcome.fix.as_deref(), Some("upgrade the driver"));
        assert_eq!(outcome.compared.expect("is said").source, "nvidia-smi");
        assert_eq!(judged(&constraint(">= 530"), &readings).verdict, Verdict::Pass);
    }

    #[test]
    fn a_reading_that_is_missing_or_makes_no_sense_fails_with_its_reason() {
        for (reading, says) in [
            (Reading::Unavailable("no node facts in this snapshot".to_owned()), "no node facts in this snapshot on node a"),
            (Reading::Value("banana"), "`banana` is not a version on node a"),
        ] {
            let outcome = judged(&constraint(">= 550"), &[at("a", reading)]);
            assert_eq!(outcome.verdict, Verdict::Fail);
            assert!(outcome.message.contains(says), "{}", outcome.message);
        }
        let outcome = judged(&constraint(">= 550"), &[]);
        assert_eq!(outcome.verdict, Verdict::Fail);
        assert!(outcome.message.contains("there are no nodes to read it from"), "{}", outcome.message);
    }

    #[test]
    fn quantifiers_count_what_holds_and_what_is_missing_does_not() {
        let readings = [at("a", Reading::Value("570.1")), at("b", Reading::Unavailable("gone".to_owned()))];
        let with = |quantifier| Constraint { quantifier, ..constraint(">= 550") };
        assert_eq!(judged(&with(Quantifier::Any), &readings).verdict, Verdict::Pass);
        assert_eq!(judged(&with(Quantifier::Count(">= 2".to_owned())), &readings).verdict, Verdict::Fail);
        assert_eq!(judged(&with(Quantifier::All), &readings).verdict, Verdict::Fail);
        // Nothing was seen of b, so that none is below 550 there was not seen either.
        let none_below = Constraint { quantifier: Quantifier::Count("== 0".to_owned()), ..constraint("< 550") };
        let outcome = judged(&none_below, &readings);
        assert_eq!(outcome.verdict, Verdict::Fail);
        assert!(outcome.message.contains("gone on node b"), "{}", outcome.message);
        assert_eq!(judged(&none_below, &readings[..1]).verdict, Verdict::Pass);
        // That a label is not there was seen.
        let absent = [at("a", Reading::Unavailable("it has no label x".to_owned()))];
        assert_eq!(judged(&none_below, &absent).verdict, Verdict::Pass);
        let none = judged(&Constraint { quantifier: Quantifier::Any, ..constraint(">= 580") }, &readings);
        assert_eq!(none.message, "expected >= 580, found `570.1` on node a; gone on node b (0 of 2 nodes)");
    }

    #[test]
    fn what_is_advised_does_not_fail_and_does_not_pass() {
        let advice = Constraint { severity: Severity::Advisory, ..constraint(">= 550") };
        let outcome = judged(&advice, &[at("a", Reading::Value("535"))]);
        assert_eq!(outcome.verdict, Verdict::Skip(SkipReason::Advisory));
        assert_eq!(outcome.fix.as_deref(), Some("upgrade the driver"));
        assert_eq!(judged(&advice, &[at("a", Reading::Value("570"))]).verdict, Verdict::Pass);
    }

    #[test]
    fn what_has_no_such_breadth_is_refused_when_it_is_read() {
        let over = |name: &str, over| check(&Constraint { name: name.to_owned(), over: Some(over), ..constraint("x") });
        let error = over("K8s.server.version", Over::Gpus).expect_err("the server is one");
        assert!(error.chain().contains("no such reading of gpus") && error.hints() == ["over can be: cluster"], "{}", error.chain());
        over("GPU.smi.driver", Over::Gpus).expect_err("a node's");
        over("GPU.smi.driver", Over::Cluster).expect("agreed on by all");
        over("GPU.vbios", Over::Nodes).expect("by node");
    }

    #[test]
    fn ids_tell_the_same_address_over_different_things_apart() {
        let over = Constraint { over: Some(Over::Gpus), ..constraint("x") };
        assert_eq!(ids(&[constraint("x"), over]), ["constraint/GPU.smi.driver", "constraint/GPU.smi.driver@gpus"]);
    }
}
