//! `seatrial cleanup`: removes what dead runs left.

use crate::cli::Cx;
use crate::cluster::{Cluster, scratch};
use crate::error::{Context, Result};
use crate::exit::Exit;

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
    if found.is_empty() {
        cx.ui.line("nothing is left of dead runs");
    }
    for run in scratch::living(&cluster).await.context("look for runs that live")? {
        cx.ui.line(format!("run {run} counts as alive until its Lease runs out: left alone"));
    }
    Ok(Exit::Ok)
}
