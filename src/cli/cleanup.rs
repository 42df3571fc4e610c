//! `seatrial cleanup`: removes what dead runs left.

use crate::cli::Cx;
use crate::cluster::{Cluster, scratch};
use crate::error::{Context, Kind, Result};
use crate::exit::Exit;
use crate::sim::home::Home;
use crate::sim::{addons, mark};

/// Remove what runs with an expired Lease left in the cluster; living runs are left alone.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only show what would be removed.
    #[arg(long)]
    dry_run: bool,
}

pub(crate) async fn exec(args: Args, cx: Cx) -> Result<Exit> {
    let cluster = Cluster::connect(&cx.global.target()).await?;
    let found = scratch::remains(&cluster, None).await.context("look for what dead runs left")?;
    for remains in &found {
        let verb = if args.dry_run { "would remove" } else { "removing" };
        for object in &remains.objects {
            cx.ui.line(format!("{verb} {object} of run {}", remains.run));
        }
        if !args.dry_run {
            scratch::remove_remains(&cluster, remains).await.with_context(|| format!("remove what run {} left", remains.run))?;
        }
    }
    let controllers = controllers(&cluster).await?;
    for (home, run) in &controllers {
        let verb = if args.dry_run { "would end" } else { "ending" };
        cx.ui.line(format!("{verb} controllers that run {run} started beside simulated cluster {}", home.name()));
        if !args.dry_run {
            addons::remove_of_run(&home.addons(), run).await.with_context(|| format!("end what run {run} started"))?;
        }
    }
    if found.is_empty() && controllers.is_empty() {
        cx.ui.line("nothing is left of dead runs");
    }
    for run in scratch::living(&cluster).await.context("look for runs that live")? {
        cx.ui.line(format!("run {run} counts as alive until its Lease runs out: left alone"));
    }
    Ok(Exit::Ok)
}

/// Controllers that were started for runs that no longer live, where the cluster is a simulated one of this machine. While any run
/// lives they stay: it may be using them.
async fn controllers(cluster: &Cluster) -> Result<Vec<(Home, String)>> {
    let home = match mark::home_of(cluster).await {
        Ok(home) => home,
        Err(error) if matches!(error.kind(), Kind::Usage | Kind::Denied) => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    if !scratch::living(cluster).await.context("look for runs that live")?.is_empty() {
        return Ok(Vec::new());
    }
    Ok(addons::runs(&home.addons())?.into_iter().map(|run| (home.clone(), run)).collect())
}
