//! health: are the platform's components in the state that the recipe's health tests describe?

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use crate::checks::Phase;
use crate::cluster::{Access, Cluster, ObjectRef, Place, Query};
use crate::error::{Kind, Result};
use crate::health::{self, Objects, Scope, Selector, Test};
use crate::results::{Begun, Outcome, TestResult};
use crate::steps::tests::{finish, run_checks, sum_up};
use crate::steps::{Fact, Inputs, Selected, Step, StepCx, no_gpus, selected};
use crate::workflow::StepSpec;

pub(super) static STEP: Step = Step {
    id: "health",
    title: "run the recipe's health tests and deployment checks",
    why: "after set-up, which may just have installed what they look at",
    needs: &[Fact::Snapshot, Fact::Installed],
    provides: None,
    cluster: true,
    access,
    gpus: no_gpus,
    tests: |inputs| {
        let mut tests: Vec<Selected> = inputs
            .recipe
            .health
            .iter()
            .map(|test| Selected { id: test.id(), version: health::VERSION, phase: Phase::Deployment.word() })
            .collect();
        tests.extend(selected(&inputs.recipe.recipe.spec.checks.deployment, Phase::Deployment)?);
        Ok(tests)
    },
    timeout,
    run: |cx| Box::pin(run(cx)),
};

fn access(inputs: &Inputs, _: &StepSpec) -> Vec<Access> {
    let reads = inputs.recipe.health.iter().flat_map(Test::reads);
    let mut accesses: Vec<Access> = reads.map(|(api_version, kind)| Access::read_kind(&api_version, &kind)).collect();
    if inputs.recipe.health.iter().any(Test::reads_logs) {
        accesses.push(Access::new("", "pods/log", &["get"], Place::Cluster));
    }
    for id in &inputs.recipe.recipe.spec.checks.deployment {
        if let Ok(crate::checks::Known::Built(check)) = crate::checks::find(id) {
            accesses.extend(check.accesses(&inputs.recipe.recipe));
        }
    }
    accesses
}

fn timeout(inputs: &Inputs) -> Duration {
    // Tests run side by side, so the longest decides; a read takes its own time beside the waiting.
    let longest = inputs.recipe.health.iter().map(Test::worst_case).max().unwrap_or_default();
    longest * 2 + Duration::from_secs(120)
}

async fn run(cx: &StepCx<'_>) -> Result<Outcome> {
    use futures::StreamExt;
    // Cloned, so that the futures own their test and may run side by side.
    let mut running = futures::stream::iter(cx.inputs.recipe.health.clone()).map(|test| run_test(cx, test)).buffer_unordered(8);
    let mut ended = Vec::new();
    while let Some(result) = running.next().await {
        ended.push(result);
    }
    // Shown and kept in the order of their names: which one ended first is chance.
    ended.sort_by(|a: &TestResult, b| a.id.cmp(&b.id));
    for result in ended {
        finish(cx, result);
    }
    run_checks(cx, &cx.inputs.recipe.recipe.spec.checks.deployment, Phase::Deployment).await?;
    Ok(sum_up(&cx.sink.ended(), "the recipe names no health test"))
}

async fn run_test(cx: &StepCx<'_>, test: Test) -> TestResult {
    let begun = Begun::now();
    if let Some(left_out) = cx.inputs.picked.left_out(&test.id()) {
        return TestResult::of(test.id(), health::VERSION, &cx.spec.id, Phase::Deployment.word(), left_out);
    }
    let objects = Live(cx.cluster.for_check());
    let outcome = health::run(&test, &objects, &|what| cx.ui.waiting(what)).await;
    TestResult::of(test.id(), health::VERSION, &cx.spec.id, Phase::Deployment.word(), outcome.guarded())
        .since(begun, objects.0.take_retries())
}

/// The objects of the API server.
struct Live(Cluster);

impl Objects for Live {
    async fn scope(&self, api_version: &str, kind: &str) -> Result<Option<Scope>> {
        match self.0.is_namespaced(api_version, kind).await {
            Ok(namespaced) => Ok(Some(if namespaced { Scope::Namespaced } else { Scope::Cluster })),
            Err(error) if error.kind() == Kind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn observe(&self, selector: &Selector, limit: Duration, look: &mut (dyn FnMut(&[&Value]) -> bool + Send)) -> Result<bool> {
        let mut query = Query { namespace: selector.namespace.clone(), ..Query::default() };
        if let Some(name) = &selector.name {
            query = query.named(name);
        }
        query = with_labels(query, &selector.labels);
        let waiting_for = selector.to_string();
        let content = self
            .0
            .wait_until((&selector.api_version, &selector.kind), &query, &waiting_for, limit, |objects| look(objects).then_some(()))
            .await;
        match content {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == Kind::Timeout => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn log(&self, pod: &Value, container: &str, bytes: u64) -> Result<String> {
        self.0.logs(&ObjectRef::as_seen(pod), container, bytes).await
    }
}

fn with_labels(query: Query, labels: &BTreeMap<String, String>) -> Query {
    if labels.is_empty() {
        return query;
    }
    let selector: Vec<String> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    query.labelled(selector.join(","))
}
