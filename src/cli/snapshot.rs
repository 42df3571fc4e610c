//! `seatrial snapshot`: what is there, as a document.

use std::path::PathBuf;

use clap::ValueEnum;

use crate::cli::{Cx, node_facts};
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::{files, yaml};

/// Take a snapshot of the whole cluster, read-only: nodes, GPUs, DRA pools, workloads with images, definitions, versions.
///
/// The same cluster gives the same document; its digest goes to stderr. What could not be read is in it as `unavailable`, with the reason.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Write to this file instead of stdout.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// The data format.
    #[arg(short = 't', long, value_enum, default_value = "json")]
    format: Format,
    #[command(flatten)]
    node_facts: node_facts::Flags,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// JSON.
    Json,
    /// YAML.
    Yaml,
}

pub(crate) async fn exec(args: Args, cx: Cx) -> Result<Exit> {
    let (cluster, mut snapshot) = cx.global.look(&cx.ui).await?;
    let exit = args.node_facts.add(&cx, &cluster, &mut snapshot).await?;
    let text = match args.format {
        Format::Json => serde_json::to_string_pretty(&snapshot).map_err(|error| Error::internal("write the snapshot").because(error))?,
        Format::Yaml => yaml::to_string(&snapshot)?,
    };
    match &args.output {
        Some(path) => files::write(path, text.as_bytes())?,
        None => cx.ui.artefact(&text),
    }
    cx.ui.line(format!("snapshot {}   {} hardware", Digest::of_json(&snapshot)?, snapshot.cluster.hardware.word()));
    Ok(exit)
}
