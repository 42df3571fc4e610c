//! What `run` and `validate` have in common: from a plan that is fit to run to the report.

use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use crate::cli::{Cx, reports};
use crate::cluster::{Cluster, scratch};
use crate::digest::canonical_json;
use crate::engine::Engine;
use crate::error::{Context, Error, Kind, Result};
use crate::evidence::secrets;
use crate::journal::{Header, Journal};
use crate::plan::Plan;
use crate::results::{Report, markdown};
use crate::sim::home::Home;
use crate::sim::{addons, mark};
use crate::snapshot::{Hardware, Snapshot};
use crate::steps::{Corner, Inputs, RunFacts, collect};
use crate::ui::Ui;
use crate::{files, preflight, progress};

/// A run that is about to start.
pub struct Trial {
    /// What was asked for, as the head of the output names it: `run conformance`.
    pub title: String,
    /// What it is about.
    pub inputs: Inputs,
    /// The plan.
    pub plan: Plan,
    /// Its identity.
    pub header: Header,
    /// The journal of the process that began it, where it goes on.
    pub earlier: Option<Journal>,
    /// The run directory.
    pub out: PathBuf,
    /// How it goes about it.
    pub conduct: Conduct,
}

/// How a run goes about it; none of this changes a verdict.
pub struct Conduct {
    /// A namespace that an administrator made.
    pub namespace: Option<String>,
    /// How long the Lease lives without being renewed.
    pub lease: Duration,
    /// The most that all steps together may take.
    pub limit: Option<Duration>,
    /// Stop after the first step that fails.
    pub fail_fast: bool,
    /// Do not ask before running on a cluster that is not simulated.
    pub yes: bool,
    /// Do not ask the API server and the registry beforehand.
    pub skip_preflight: bool,
    /// Leave what was created where it is.
    pub no_cleanup: bool,
}

impl Trial {
    /// Asks what has to be asked, runs the steps, and writes the documents of the run directory.
    ///
    /// # Errors
    /// If the run cannot start, or its directory cannot be written; verdicts and troubles of steps are in the report.
    pub async fn go(self, cx: &Cx, cluster: &Cluster, look: &Snapshot, wanted: &[reports::Wanted]) -> Result<Report> {
        let Self { title, inputs, plan, header, earlier, out, conduct } = self;
        // Better now than after an hour of tests.
        if plan.steps.iter().any(|step| step.id == "collect") {
            secrets::refuse(&inputs.recipe.recipe)?;
        }
        progress::head(&cx.ui, &title, &header.run, cluster.context(), look);
        let place = scratch::Place {
            run: header.run.clone(),
            namespace: conduct.namespace.clone(),
            lease: conduct.lease,
            creates: created_outside(&inputs),
            keep: conduct.no_cleanup,
        };
        if !conduct.skip_preflight {
            preflight::ask(cluster, look, &inputs, &place, &cx.ui).await?.require(&cx.ui)?;
        }
        let home = started_beside(&inputs, cluster).await?;
        confirm(&conduct, &inputs, &cx.ui, cluster, look, &plan)?;
        // Only now: a run that was refused leaves no directory behind.
        let resumed = earlier.is_some();
        let journal = earlier.map_or_else(|| Journal::create(&out, header.clone()), Ok)?;
        if inputs.creates() {
            sweep(cluster, &header.run, &cx.ui).await?;
        }
        write_json(&out.join("plan.json"), &plan)?;
        let mut facts = RunFacts {
            id: header.run.clone(),
            out: out.clone(),
            hardware: look.cluster.hardware,
            without_containers: look.without_containers(),
            started_at: header.started_at,
            finished_at: header.started_at,
            plan: canonical_json(&plan)?,
        };
        let cancel = CancellationToken::new();
        let signals = tokio::spawn(cancel_on_signal(cancel.clone(), cx.ui.clone()));
        let Conduct { limit, fail_fast, .. } = conduct;
        let mut engine = Engine { inputs: &inputs, cluster, journal, ui: &cx.ui, cancel, limit, fail_fast };
        let corner = Corner::new(place).used(resumed && inputs.creates());
        let state = engine.run(corner, &mut facts).await;
        if let Some(home) = home.filter(|_| !conduct.no_cleanup) {
            addons::remove_of_run(&home.addons(), &header.run).await.context("remove the controllers that set-up started")?;
        }
        let state = state?;
        signals.abort();
        let report = collect::report(&inputs, &state, &facts)?;
        if let Some(snapshot) = &state.snapshot {
            write_json(&out.join("snapshot.json"), snapshot)?;
        }
        reports::write_all(&out, &report, wanted)?;
        cx.ui.step_summary(&markdown::write(&report)?)?;
        engine.journal.ended(report.exit().code())?;
        Ok(report)
    }
}

/// The simulated cluster beside which set-up is going to start controllers, if it is told to: better refused now than half-way.
async fn started_beside(inputs: &Inputs, cluster: &Cluster) -> Result<Option<Home>> {
    let Some(karpenter) = inputs.workflow.workflow.karpenter() else { return Ok(None) };
    let home = mark::home_of(cluster).await?;
    let place = home.addons();
    if !addons::running(&place.dir)?.iter().any(|there| there.name == "karpenter") {
        let hint = "in the workflow: listenOnAllInterfaces: true, below karpenter";
        addons::Chosen::new(&["karpenter".to_owned()], karpenter.listen_on_all_interfaces, hint)?;
    }
    Ok(Some(home))
}

/// The identity of a run that starts now.
///
/// # Errors
/// If there are no random bytes, or a document has no JSON form.
pub fn header(inputs: &Inputs, look: &Snapshot) -> Result<Header> {
    let started_at = Timestamp::now();
    Ok(Header {
        run: run_id(started_at)?,
        tool: env!("CARGO_PKG_VERSION").to_owned(),
        workflow: inputs.workflow.digest()?,
        recipe: inputs.recipe.recipe.digest()?,
        cluster: look.cluster.id.value().cloned().unwrap_or_else(|| "unknown".to_owned()),
        started_at,
    })
}

/// A run's id: its time and three random bytes.
///
/// # Errors
/// If there are no random bytes.
pub fn run_id(started_at: Timestamp) -> Result<String> {
    let mut random = [0_u8; 3];
    // The system's: an id is no secret, and the generator for secrets takes 40 ms to gather entropy.
    let drawn = rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty());
    drawn.ok().filter(|drawn| *drawn == random.len()).ok_or_else(|| Error::internal("draw random bytes for the run's id"))?;
    let random: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(format!("{}-{random}", started_at.strftime("%Y%m%d-%H%M%S")))
}

/// Kinds that set-up creates, in its order, and then those of checks, which cleanup must find without our memory of them.
fn created_outside(inputs: &Inputs) -> Vec<(String, String)> {
    let text = |object: &serde_json::Value, field: &str| object[field].as_str().unwrap_or_default().to_owned();
    let mut kinds: Vec<(String, String)> = Vec::new();
    for object in &inputs.workflow.manifests {
        let kind = (text(object, "apiVersion"), text(object, "kind"));
        if !kinds.contains(&kind) {
            kinds.push(kind);
        }
    }
    if inputs.behavioral {
        let recipe = &inputs.recipe.recipe;
        kinds.extend(crate::checks::outside(recipe, &recipe.spec.checks.conformance));
    }
    kinds
}

/// Outside a simulated cluster a run is only started by someone who knows where and how much.
fn confirm(conduct: &Conduct, inputs: &Inputs, ui: &Ui, cluster: &Cluster, look: &Snapshot, plan: &Plan) -> Result<()> {
    if conduct.yes || look.cluster.hardware == Hardware::Simulated || !inputs.creates() {
        return Ok(());
    }
    let what = format!("run {} on context {}, holding up to {} GPUs", plan.workflow, cluster.context(), plan.gpus);
    if ui.ask(&format!("{what}?"))? {
        return Ok(());
    }
    Err(Error::usage(format!("not confirmed: {what}")).hint("give --yes to run without being asked"))
}

/// Removes what dead runs left.
pub(crate) async fn sweep(cluster: &Cluster, run: &str, ui: &Ui) -> Result<()> {
    let found = match scratch::remains(cluster, Some(run)).await {
        Ok(found) => found,
        Err(error) if error.kind() == Kind::Denied => {
            ui.warn(format!("what earlier runs left was not looked for: {}", error.chain()));
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    for remains in found {
        ui.line(format!("   removing what run {} left: {} objects", remains.run, remains.objects.len()));
        match scratch::remove_remains(cluster, &remains).await {
            // It may lie in a namespace that is not ours: its owner's next run, or `seatrial cleanup`, removes it.
            Err(error) if error.kind() == Kind::Denied => ui.warn(format!("not all of it could be removed: {}", error.chain())),
            other => other?,
        }
    }
    Ok(())
}

fn write_json<T: serde::Serialize>(path: &Path, value: &T) -> Result<()> {
    let mut text = serde_json::to_string_pretty(value).map_err(|error| Error::internal("write JSON").because(error))?;
    text.push('\n');
    files::write(path, text.as_bytes())
}

/// The first of the [`signals`] stops the run in order: clean up, report, exit 130.
async fn cancel_on_signal(cancel: CancellationToken, ui: Ui) {
    signals().await;
    ui.clear_live();
    ui.warn("interrupted: removing what this run created, then writing the report");
    cancel.cancel();
}

/// Takes SIGINT and SIGTERM from now on, and SIGHUP, which a terminal that is closed sends; what it gives resolves at the first of
/// them, or never where they cannot be caught.
pub(crate) fn signals() -> impl Future<Output = ()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut kinds = vec![SignalKind::interrupt(), SignalKind::terminate()];
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    if !ignores_hangup(&status) {
        kinds.push(SignalKind::hangup());
    }
    let caught: std::io::Result<Vec<_>> = kinds.into_iter().map(signal).collect();
    async move {
        let Ok(mut caught) = caught else { return std::future::pending().await };
        let waits = caught.iter_mut().map(|one| Box::pin(one.recv()));
        futures::future::select_all(waits).await;
    }
}

/// True if this process was started to outlive its terminal, as by `nohup`.
fn ignores_hangup(status: &str) -> bool {
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_is_to_outlive_its_terminal_is_told_by_what_it_ignores() {
        assert!(ignores_hangup("Name:\tseatrial\nSigIgn:\t0000000000000001\nSigCgt:\t0\n"));
        assert!(!ignores_hangup("SigIgn:\t0000000000001000\n") && !ignores_hangup(""));
    }
}
