//! `seatrial run`: the main job, from snapshot to signed evidence.

use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use crate::cli::selection::Selection;
use crate::cli::{Cx, reports};
use crate::cluster::{Cluster, scratch};
use crate::digest::canonical_json;
use crate::engine::Engine;
use crate::error::{Error, Kind, Result};
use crate::exit::Exit;
use crate::journal::{self, Header, Journal};
use crate::plan::{self, Plan};
use crate::recipe::load;
use crate::results::markdown;
use crate::sign::Signer;
use crate::snapshot::{Hardware, Snapshot};
use crate::steps::{Corner, Inputs, Publishing, RunFacts, collect};
use crate::ui::Ui;
use crate::{files, limits, preflight, progress};

/// Run a workflow against a cluster: snapshot, inventory, setup, health, conformance, intent, collect.
///
/// Everything goes to the run directory; the bundle in it is signed with --key and pushed with --push. Exit codes: 0 everything in scope was seen to hold,
/// 1 something was seen to be wrong, 3 could not tell, 4 permissions are missing, 130 interrupted.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    selection: Selection,
    /// The run directory; out/RUN-ID otherwise. One that holds another run is refused.
    #[arg(long, value_name = "DIR", env = "SEATRIAL_OUT")]
    out: Option<PathBuf>,
    /// Go on with the run in --out; steps that finished are not repeated.
    #[arg(long, requires = "out")]
    resume: bool,
    /// The private key that signs the evidence: ECDSA P-256, PKCS#8 PEM; SEATRIAL_KEY_PASSPHRASE opens an encrypted one.
    #[arg(long, value_name = "FILE", env = "SEATRIAL_KEY")]
    key: Option<PathBuf>,
    /// The repository that takes the evidence, e.g. ghcr.io/example/evidence.
    #[arg(long, value_name = "REPOSITORY", env = "SEATRIAL_PUSH", requires = "key")]
    push: Option<String>,
    /// Talk plain HTTP to a registry on this machine.
    #[arg(long, env = "SEATRIAL_PLAIN_HTTP")]
    plain_http: bool,
    /// The folder under which the pointer file is written.
    #[arg(long, value_name = "DIR", default_value = "evidence", env = "SEATRIAL_POINTER_DIR")]
    pointer_dir: PathBuf,
    /// Another report, e.g. junit=junit.xml; kinds: ctrf, junit, json, markdown. Repeatable.
    #[arg(long = "report", value_name = "KIND=FILE", value_parser = reports::parse)]
    reports: Vec<reports::Wanted>,
    /// Do not ask before running on a cluster that is not simulated.
    #[arg(short, long, env = "SEATRIAL_YES")]
    yes: bool,
    /// Stop after the first step that fails; evidence is still collected.
    #[arg(long)]
    fail_fast: bool,
    /// Do not ask the API server and the registry beforehand what we may do.
    #[arg(long)]
    skip_preflight: bool,
    /// How many seconds the run's Lease lives without being renewed.
    #[arg(long, value_name = "SECONDS", default_value_t = limits::LEASE.as_secs(), hide = true)]
    lease_seconds: u64,
}

pub(crate) async fn exec(args: Args, cx: Cx) -> Result<Exit> {
    let (workflow, recipe) = args.selection.read()?;
    if let Some(key) = &args.key {
        // Better now than after an hour of tests.
        Signer::from_file(key)?;
    }
    if let Some(out) = args.out.as_ref().filter(|out| !args.resume && out.join(journal::FILE).exists()) {
        return Err(Error::usage(format!("{} holds another run already", out.display()))
            .hint("give another --out, or --resume to go on with that run"));
    }
    let earlier = match (&args.out, args.resume) {
        (Some(out), true) => Some(Journal::resume(out)?),
        _ => None,
    };
    let (cluster, look) = cx.global.look(&cx.ui).await?;
    let recipe = match recipe {
        Some(recipe) => recipe,
        None => load::fitting(&look)?,
    };
    let inputs = args.selection.inputs(workflow, recipe, args.publishing());
    let plan = plan::make(&inputs, Some(look.gpus()))?;
    if let Some(budget) = args.selection.budget() {
        plan.check_budget(budget)?;
    }
    let mut header = header(&inputs, &look)?;
    if let Some(journal) = &earlier {
        same_run(journal, &header)?;
        header = journal.header().clone();
    }
    run(&args, &cx, &cluster, &look, Prepared { inputs, plan, header, earlier }).await
}

struct Prepared {
    inputs: Inputs,
    plan: Plan,
    header: Header,
    earlier: Option<Journal>,
}

async fn run(args: &Args, cx: &Cx, cluster: &Cluster, look: &Snapshot, prepared: Prepared) -> Result<Exit> {
    let Prepared { inputs, plan, header, earlier } = prepared;
    let out = args.out.clone().unwrap_or_else(|| Path::new("out").join(&header.run));
    progress::head(&cx.ui, &format!("run {}", plan.workflow), &header.run, cluster.context(), look);
    let place = scratch::Place {
        run: header.run.clone(),
        namespace: args.selection.namespace.clone(),
        lease: Duration::from_secs(args.lease_seconds.max(1)),
        creates: created_outside(&inputs),
    };
    if !args.skip_preflight {
        preflight::ask(cluster, look, &inputs, &place, &cx.ui).await?.require(&cx.ui)?;
    }
    confirm(args, &cx.ui, cluster, look, &plan)?;
    // Only now: a run that was refused leaves no directory behind.
    let resumed = earlier.is_some();
    let journal = earlier.map_or_else(|| Journal::create(&out, header.clone()), Ok)?;
    if inputs.behavioral {
        sweep(cluster, &header.run, &cx.ui).await?;
    }
    write_json(&out.join("plan.json"), &plan)?;
    let mut facts = RunFacts {
        id: header.run.clone(),
        out: out.clone(),
        started_at: header.started_at,
        finished_at: header.started_at,
        plan: canonical_json(&plan)?,
    };
    let cancel = CancellationToken::new();
    let signals = tokio::spawn(cancel_on_signal(cancel.clone(), cx.ui.clone()));
    let mut engine = Engine { inputs: &inputs, cluster, journal, ui: &cx.ui, cancel, fail_fast: args.fail_fast };
    let state = engine.run(Corner::new(place).used(resumed && inputs.behavioral), &mut facts).await?;
    signals.abort();
    let report = collect::report(&inputs, &state, &facts)?;
    let exit = report.exit();
    if let Some(snapshot) = &state.snapshot {
        write_json(&out.join("snapshot.json"), snapshot)?;
    }
    reports::write_all(&out, &report, &args.reports)?;
    cx.ui.step_summary(&markdown::write(&report)?)?;
    engine.journal.ended(exit.code())?;
    progress::end(&cx.ui, &report, exit, &out.join("report.md"));
    Ok(exit)
}

impl Args {
    fn publishing(&self) -> Publishing {
        Publishing { key: self.key.clone(), push: self.push.clone(), plain_http: self.plain_http, pointers: self.pointer_dir.clone() }
    }
}

/// Kinds that set-up creates, in its order, which cleanup must find without our memory of them.
fn created_outside(inputs: &Inputs) -> Vec<(String, String)> {
    let text = |object: &serde_json::Value, field: &str| object[field].as_str().unwrap_or_default().to_owned();
    let mut kinds: Vec<(String, String)> = Vec::new();
    for object in &inputs.workflow.manifests {
        let kind = (text(object, "apiVersion"), text(object, "kind"));
        if !kinds.contains(&kind) {
            kinds.push(kind);
        }
    }
    kinds
}

fn header(inputs: &Inputs, look: &Snapshot) -> Result<Header> {
    let id = look.cluster.id.value().cloned();
    let started_at = Timestamp::now();
    let mut random = [0_u8; 3];
    aws_lc_rs::rand::fill(&mut random).map_err(|_| Error::internal("draw random bytes for the run's id"))?;
    let random: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(Header {
        run: format!("{}-{random}", started_at.strftime("%Y%m%d-%H%M%S")),
        tool: env!("CARGO_PKG_VERSION").to_owned(),
        workflow: inputs.workflow.digest()?,
        recipe: inputs.recipe.recipe.digest()?,
        cluster: id.unwrap_or_else(|| "unknown".to_owned()),
        started_at,
    })
}

/// A run goes on only if it is still about the same things.
fn same_run(journal: &Journal, now: &Header) -> Result<()> {
    let then = journal.header();
    let differs = [
        ("version of seatrial", then.tool == now.tool),
        ("workflow", then.workflow == now.workflow),
        ("recipe", then.recipe == now.recipe),
        ("cluster", then.cluster == now.cluster),
    ];
    match differs.iter().find(|(_, same)| !same) {
        None => Ok(()),
        Some((what, _)) => Err(Error::usage(format!("resume run {}: it was begun with another {what}", then.run))
            .hint("start a new run with another --out, or give the flags of that run")),
    }
}

/// Outside a simulated cluster a run is only started by someone who knows where and how much.
fn confirm(args: &Args, ui: &Ui, cluster: &Cluster, look: &Snapshot, plan: &Plan) -> Result<()> {
    if args.yes || look.cluster.hardware == Hardware::Simulated || !args.selection.behavioral_tests {
        return Ok(());
    }
    let what = format!("run {} on context {}, holding up to {} GPUs", plan.workflow, cluster.context(), plan.gpus);
    if ui.ask(&format!("{what}?"))? {
        return Ok(());
    }
    Err(Error::usage(format!("not confirmed: {what}")).hint("give --yes to run without being asked"))
}

/// Removes what dead runs left.
async fn sweep(cluster: &Cluster, run: &str, ui: &Ui) -> Result<()> {
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

/// The first SIGINT or SIGTERM stops the run in order: clean up, report, exit 130.
async fn cancel_on_signal(cancel: CancellationToken, ui: Ui) {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate())) else { return };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    ui.clear_live();
    ui.warn("interrupted: removing what this run created, then writing the report");
    cancel.cancel();
}
