//! `seatrial snapshot`: what is there, as a document; shown, compared, redacted, and in another tool's form.

use std::path::PathBuf;

use clap::ValueEnum;
use serde_json::json;

use crate::cli::{Cx, Format as Form, node_facts};
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::facts::{self, Root, View};
use crate::snapshot::{self, Snapshot, diff, export, groups, redact, show};
use crate::source::{self, Artefact, Source};
use crate::{files, limits, yaml};

/// Take a snapshot of the whole cluster, read-only: nodes, GPUs, DRA pools, workloads with images, definitions, versions.
///
/// The same cluster gives the same document; its digest goes to stderr. What could not be read is in it as `unavailable`, with the reason.
/// With --node-facts, a short pod on each GPU node looks at the node itself; nothing else is ever created.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Args {
    #[command(flatten)]
    take: Take,
    #[command(subcommand)]
    command: Option<Sub>,
}

#[derive(Debug, clap::Subcommand)]
enum Sub {
    Show(Show),
    Diff(Diff),
}

#[derive(Debug, clap::Args)]
struct Take {
    /// Look at this machine itself, not at a cluster: kernel, settings, units, GPUs, network.
    #[arg(long, conflicts_with = "node_facts")]
    host: bool,
    #[command(flatten)]
    node_facts: node_facts::Flags,
    #[command(flatten)]
    write: Write,
}

/// How a snapshot is written.
#[derive(Debug, clap::Args)]
struct Write {
    /// Where it goes: a file, `-`, or cm://NAMESPACE/NAME.
    #[arg(short, long, value_name = "TARGET", value_parser = source::target)]
    output: Option<Source>,
    /// The data format; otherwise YAML for a file that ends in .yaml or .yml and for a ConfigMap, else JSON.
    #[arg(short = 't', long, value_enum)]
    format: Option<Format>,
    /// Take out names of nodes and hosts, addresses, accounts, device ids and secrets; what was taken out is listed in the document.
    #[arg(long)]
    redact: bool,
    /// A file with a secret, for pseudonyms that are the same in every snapshot; they are numbers otherwise.
    #[arg(long, value_name = "FILE", requires = "redact")]
    redact_key: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// JSON.
    Json,
    /// YAML.
    Yaml,
    /// The Snapshot document of NVIDIA AICR, as JSON, for its tools.
    Aicr,
}

/// Show a snapshot to a person: what was seen, how nodes differ, what could not be read.
#[derive(Debug, clap::Args)]
struct Show {
    /// The snapshot, of seatrial or of NVIDIA AICR; a file, `-`, https://… or cm://NAMESPACE/NAME.
    #[arg(value_name = "SOURCE", value_parser = source::argument)]
    file: Source,
    /// `text` for a person, `json` for groups and gaps as data.
    #[arg(short = 't', long, value_enum, default_value = "text")]
    format: Form,
}

/// Say what changed between two snapshots, by path.
#[derive(Debug, clap::Args)]
struct Diff {
    /// The earlier snapshot; a file, `-`, https://… or cm://NAMESPACE/NAME.
    #[arg(value_name = "BEFORE", value_parser = source::argument)]
    before: Source,
    /// The later snapshot.
    #[arg(value_name = "AFTER", value_parser = source::argument)]
    after: Source,
    /// Exit with 1 if something changed, and with 3 if there was nothing to compare.
    #[arg(long)]
    fail_on_drift: bool,
    /// The form of the answer.
    #[arg(short = 't', long, value_enum, default_value = "text")]
    format: Form,
}

pub(crate) async fn exec(args: Args, cx: Cx) -> Result<Exit> {
    match args.command {
        None => take(args.take, cx).await,
        Some(Sub::Show(show)) => show_file(show, &cx).await,
        Some(Sub::Diff(diff)) => compare(diff, &cx).await,
    }
}

async fn take(args: Take, cx: Cx) -> Result<Exit> {
    if let Some(output) = &args.write.output {
        output.ready(args.write.artefact(""), &cx.global.target()).await?;
    }
    let (snapshot, exit) = if args.host {
        (of_host(&cx).await, Exit::Ok)
    } else {
        let (cluster, mut snapshot) = cx.global.look(&cx.ui).await?;
        let exit = args.node_facts.add(&cx, &cluster, &mut snapshot).await?;
        (snapshot, exit)
    };
    // Before anything is written: an earlier snapshot is not replaced by one that is worth nothing.
    snapshot::collect::check(&snapshot)?;
    let snapshot = args.write.redacted(snapshot, &cx)?;
    let text = args.write.text(&snapshot, &cx)?;
    args.write.output.as_ref().unwrap_or(&Source::Stdio).write(args.write.artefact(&text), &cx.global.target(), &cx.ui).await?;
    for gap in show::gaps(&snapshot).iter().filter(|_| snapshot.host.is_none()) {
        cx.ui.warn(format!("not read: {gap}"));
    }
    let (odd, usual): (Vec<_>, Vec<_>) = groups::groups(&snapshot).into_iter().partition(|group| !group.odd.is_empty());
    for line in groups::lines(&usual) {
        cx.ui.line(line);
    }
    for group in &odd {
        cx.ui.warn(odd_one(group));
    }
    cx.ui.line(format!("snapshot {}   {} hardware", Digest::of_json(&snapshot)?, snapshot.cluster.hardware.word()));
    Ok(exit)
}

/// This machine.
async fn of_host(cx: &Cx) -> Snapshot {
    let root = Root::here(View::Host);
    cx.ui.waiting("this machine's files and tools");
    let facts = facts::collect(&root).await;
    cx.ui.clear_live();
    let mut snapshot = Snapshot::without_cluster("this snapshot was taken on a machine itself (--host): no cluster was asked");
    snapshot.host = Some(snapshot::Host { name: facts::host_name(&root), facts });
    snapshot.settle_hardware();
    snapshot
}

/// A line on a group of nodes that are not as the others of their kind.
fn odd_one(group: &groups::Group) -> String {
    let word = |value: &Option<String>| value.clone().unwrap_or_else(|| "not known".to_owned());
    let way = |one: &groups::Difference| format!("{} {} (usual: {}, {} nodes)", one.what, word(&one.here), word(&one.usual), one.nodes);
    let ways: Vec<String> = group.odd.iter().map(way).collect();
    format!("odd: {}: {}", groups::some_of(&group.nodes), ways.join("; "))
}

impl Write {
    fn format(&self) -> Format {
        let yaml = match &self.output {
            Some(Source::File(path)) => path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml"),
            Some(Source::ConfigMap { .. }) => true,
            _ => false,
        };
        self.format.unwrap_or(if yaml { Format::Yaml } else { Format::Json })
    }

    fn artefact<'a>(&self, text: &'a str) -> Artefact<'a> {
        Artefact { text, stem: "snapshot", format: if self.format() == Format::Yaml { "yaml" } else { "json" } }
    }

    fn redacted(&self, snapshot: Snapshot, cx: &Cx) -> Result<Snapshot> {
        if !self.redact {
            return Ok(snapshot);
        }
        let pseudonyms = match &self.redact_key {
            None => redact::Pseudonyms::Numbered,
            Some(path) => {
                let secret = files::read(path, limits::DOCUMENT_BYTES)?;
                if secret.len() < limits::REDACT_KEY_BYTES {
                    return Err(Error::usage(format!("{} has less than {} bytes", path.display(), limits::REDACT_KEY_BYTES))
                        .hint("make one with `head -c 32 /dev/urandom > redact.key`, and keep it secret"));
                }
                redact::Pseudonyms::Keyed(secret)
            }
        };
        let redacted = redact::redact(&snapshot, &pseudonyms)?;
        for one in redacted.redaction.iter().flat_map(|redaction| &redaction.removed) {
            cx.ui.line(format!("redacted {} × {} in {}", one.count, one.what, one.place));
        }
        Ok(redacted)
    }

    fn text(&self, snapshot: &Snapshot, cx: &Cx) -> Result<String> {
        let failed = |error: serde_json::Error| Error::internal("write the snapshot").because(error);
        match self.format() {
            Format::Json => serde_json::to_string_pretty(snapshot).map_err(failed),
            Format::Yaml => yaml::to_string(snapshot),
            Format::Aicr => {
                let (document, left_out) = export::document(snapshot);
                for what in left_out {
                    cx.ui.warn(format!("left out, as that format has no place for it: {what}"));
                }
                serde_json::to_string_pretty(&document).map_err(failed)
            }
        }
    }
}

/// A snapshot from anywhere.
///
/// # Errors
/// As [`Source::read`] and [`snapshot::parse`].
pub(crate) async fn read(source: &Source, cx: &Cx) -> Result<Snapshot> {
    let text = source.read(limits::SNAPSHOT_BYTES, &cx.global.target()).await?;
    snapshot::parse(text.text, text.name).await
}

async fn show_file(args: Show, cx: &Cx) -> Result<Exit> {
    let snapshot = read(&args.file, cx).await?;
    match args.format {
        Form::Text => cx.ui.artefact(&show::lines(&snapshot).join("\n")),
        Form::Json => {
            let data = json!({"digest": Digest::of_json(&snapshot)?, "groups": groups::groups(&snapshot), "gaps": show::gaps(&snapshot)});
            cx.ui.artefact(&serde_json::to_string_pretty(&data).map_err(|error| Error::internal("show the snapshot").because(error))?);
        }
    }
    Ok(Exit::Ok)
}

async fn compare(args: Diff, cx: &Cx) -> Result<Exit> {
    source::one_standard_input(&[("BEFORE", Some(&args.before)), ("AFTER", Some(&args.after))])?;
    let (before, after) = (read(&args.before, cx).await?, read(&args.after, cx).await?);
    let drift = diff::diff(&before, &after)?;
    let nothing = drift.nothing_compared(&before, &after);
    match args.format {
        Form::Json => {
            cx.ui.artefact(&serde_json::to_string_pretty(&drift).map_err(|error| Error::internal("write the changes").because(error))?);
        }
        Form::Text => {
            let lines = drift.lines();
            cx.ui.artefact(&if lines.is_empty() { "no change".to_owned() } else { lines.join("\n") });
        }
    }
    if drift.same_subject == Some(false) {
        cx.ui.warn("the two snapshots are not of the same cluster or machine");
    }
    for one in &drift.unknown {
        cx.ui.warn(format!("not compared, as neither has it: {}: {}", one.path, one.reason));
    }
    Ok(match (args.fail_on_drift, drift.changes.is_empty()) {
        (true, _) if nothing => Exit::Inconclusive,
        (true, false) => Exit::Failed,
        _ => Exit::Ok,
    })
}
