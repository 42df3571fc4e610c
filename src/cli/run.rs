//! `seatrial run`: the main job, from snapshot to signed evidence.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::cli::publishing::PublishArgs;
use crate::cli::selection::Selection;
use crate::cli::trial::{Conduct, Trial, header};
use crate::cli::{Cx, reports};
use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::journal::{self, Header, Journal};
use crate::plan;
use crate::{limits, progress};

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
    #[command(flatten)]
    publish: PublishArgs,
    /// Another report, e.g. junit=junit.xml; kinds: ctrf, junit, json, markdown. Repeatable.
    #[arg(long = "report", value_name = "KIND=FILE", value_parser = reports::parse)]
    reports: Vec<reports::Wanted>,
    /// Do not ask before running on a cluster that is not simulated, nor before publishing the name with which somebody logs in to sign.
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
    let (workflow, recipe) = args.selection.read(&cx).await?;
    args.publish.check_key(args.yes, &cx.ui)?;
    if let Some(out) = args.out.as_ref().filter(|out| !args.resume && out.join(journal::FILE).exists()) {
        return Err(Error::usage(format!("{} holds another run already", out.display()))
            .hint("give another --out, or --resume to go on with that run"));
    }
    let earlier = match (&args.out, args.resume) {
        (Some(out), true) => Some(Journal::resume(out)?),
        _ => None,
    };
    reports::distinct(args.reports.iter().map(|wanted| (format!("--report {wanted}"), wanted.path())))?;
    reports::ready(&args.reports)?;
    let (cluster, look) = cx.global.look(&cx.ui).await?;
    let recipe = match recipe {
        Some(recipe) => recipe,
        None => cx.global.catalog()?.fitting(&look)?,
    };
    let inputs = args.selection.inputs(workflow, recipe, args.publish.publishing(None, args.yes)?)?;
    let plan = plan::make(&inputs, Some(look.gpus()))?;
    if let Some(budget) = args.selection.budget() {
        plan.check_budget(budget)?;
    }
    let mut header = header(&inputs, &look)?;
    if let Some(journal) = &earlier {
        same_run(journal, &header)?;
        header = journal.header().clone();
    }
    let trial = Trial {
        title: format!("run {}", plan.workflow),
        out: args.out.clone().unwrap_or_else(|| Path::new("out").join(&header.run)),
        inputs,
        plan,
        header,
        earlier,
        conduct: Conduct {
            namespace: args.selection.namespace.clone(),
            lease: Duration::from_secs(args.lease_seconds.max(1)),
            limit: None,
            fail_fast: args.fail_fast,
            yes: args.yes,
            skip_preflight: args.skip_preflight,
            no_cleanup: false,
        },
    };
    let out = trial.out.clone();
    let report = trial.go(&cx, &cluster, &look, &args.reports).await?;
    let exit = report.exit();
    progress::end(&cx.ui, &report, exit, &out.join("report.md"));
    Ok(exit)
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
