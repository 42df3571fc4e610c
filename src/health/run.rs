//! Runs a health test: lets each operation look until it holds or its time is over, and adds up what was seen.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::error::{Error, Kind, Result};
use crate::health::judge::{Look, Problem, judge};
use crate::health::{Objects, Operation, Scope, Selector, Test, diagnose};
use crate::results::{ErrorReason, Outcome, Verdict};

/// What is known after some operations.
#[derive(Default)]
struct Sum {
    passed: usize,
    total: usize,
    subjects: BTreeSet<String>,
    /// Outcomes of operations that did not hold.
    wrong: Vec<Outcome>,
}

impl Sum {
    fn failed(&self) -> bool {
        self.wrong.iter().any(|outcome| outcome.verdict == Verdict::Fail)
    }
}

/// Runs a test. `waiting` hears what is being waited for, each time that it changes.
///
/// Once an operation has failed, the later ones look only once: the verdict stands, and they only complete the picture.
pub async fn run<O: Objects>(test: &Test, objects: &O, waiting: &(dyn Fn(&str) + Sync)) -> Outcome {
    let mut sum = Sum::default();
    let mut failed = Vec::new();
    for operation in &test.operations {
        let before = sum.wrong.len();
        match observe(operation, objects, sum.failed(), waiting).await {
            Ok(look) => add(&mut sum, operation, look),
            Err(error) if error.kind() == Kind::Interrupted => return error.into(),
            Err(error) => {
                sum.total += 1;
                sum.wrong.push(error.context(format!("{} ({})", operation.selector, operation.place)).into());
            }
        }
        if sum.wrong.len() > before {
            failed.push(operation.step);
        }
    }
    let mut outcome = conclude(sum);
    // While the objects still are as they were judged.
    outcome.artifacts.extend(diagnose::run(&test.diagnostics, &failed, objects).await);
    outcome
}

/// Looks until the operation holds, or its time is over, or once.
async fn observe<O: Objects>(operation: &Operation, objects: &O, once: bool, waiting: &(dyn Fn(&str) + Sync)) -> Result<Look> {
    let Selector { api_version, kind, .. } = &operation.selector;
    let Some(scope) = objects.scope(api_version, kind).await? else {
        let message = format!("no such kind {kind} of {api_version}");
        if operation.negative {
            return Err(Error::new(Kind::NotFound, message).hint("an `error` on a kind that is not served shows nothing"));
        }
        let message = format!("{}: {message}: is its CustomResourceDefinition installed?", operation.selector);
        return Ok(Look { total: 1, problems: vec![Problem { message, short: None, seen: true }], ..Look::default() });
    };
    let mut selector = operation.selector.clone();
    match scope {
        Scope::Cluster => selector.namespace = None,
        Scope::Namespaced if selector.namespace.is_none() => {
            let error = Error::usage(format!("{kind} objects live in namespaces, and the test names none"));
            return Err(
                error.hint("set metadata.namespace or spec.namespace: chainsaw would look in a namespace that it makes for the test")
            );
        }
        Scope::Namespaced => {}
    }
    let mut last: Option<Look> = None;
    let mut told = String::new();
    objects
        .observe(&selector, operation.limit, &mut |objects| {
            let look = judge(operation, objects);
            let done = look.holds() || once;
            if let (false, Some(problem)) = (done, look.problems.first())
                && problem.message != told
            {
                told.clone_from(&problem.message);
                waiting(&told);
            }
            last = Some(look);
            done
        })
        .await?;
    last.ok_or_else(|| Error::new(Kind::Timeout, format!("nothing was read within {} s", operation.limit.as_secs_f32())))
}

fn add(sum: &mut Sum, operation: &Operation, look: Look) {
    sum.passed += look.passed;
    sum.total += look.total;
    let told = look.told();
    sum.subjects.extend(look.subjects);
    let Some((message, seen)) = told else { return };
    let outcome = if seen { Outcome::fail(message) } else { Outcome::error(ErrorReason::Harness, message) };
    let command = kubectl(&operation.selector);
    let messages = look.problems.iter().map(|problem| json!({"message": problem.message}));
    let mismatches: Vec<Value> = if look.mismatches.is_empty() { messages.collect() } else { look.mismatches };
    let name = format!("{} by {}", operation.selector, operation.place);
    sum.wrong.push(outcome.fix(format!("look at it: {command}")).artifact(&name, Some(&command), Value::Array(mismatches)));
}

/// The verdict: what was seen to be wrong comes first, then what could not be told.
fn conclude(sum: Sum) -> Outcome {
    let Sum { passed, total, subjects, mut wrong } = sum;
    let artifacts = wrong.iter_mut().flat_map(|outcome| std::mem::take(&mut outcome.artifacts)).collect();
    let count = wrong.len();
    let worst = wrong.iter().position(|outcome| outcome.verdict == Verdict::Fail).unwrap_or(0);
    let mut outcome = if wrong.is_empty() {
        let objects = if subjects.len() == 1 { "1 object" } else { &format!("{} objects", subjects.len()) };
        Outcome::pass(format!("{total} statements about {objects} hold"))
    } else {
        wrong.swap_remove(worst)
    };
    if count > 1 {
        outcome.message = format!("{}; {} more of the test's operations do not hold", outcome.message, count - 1);
    }
    outcome.artifacts = artifacts;
    let seen: Vec<String> = subjects.into_iter().collect();
    let exist = seen.len();
    outcome.seen("objects", seen, exist).asserted(passed, total).guarded()
}

/// The command that shows what the selector selects.
fn kubectl(selector: &Selector) -> String {
    let mut command = format!("kubectl get {}", selector.kind.to_lowercase());
    if let Some(name) = &selector.name {
        command.push_str(&format!(" {name}"));
    }
    if let Some(namespace) = &selector.namespace {
        command.push_str(&format!(" -n {namespace}"));
    }
    let labels: Vec<String> = selector.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    if !labels.is_empty() {
        command.push_str(&format!(" -l {}", labels.join(",")));
    }
    command + " -o yaml"
}

#[cfg(test)]
#[path = "run_tests.rs"]
mod tests;
