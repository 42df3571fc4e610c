//! Facts of nodes: the flags of `seatrial snapshot` that ask for them, and what runs in the pods.

use std::num::NonZeroUsize;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;
use jiff::Timestamp;

use crate::cli::pods::PodArgs;
use crate::cli::{Cx, parse, trial};
use crate::cluster::scratch::Place;
use crate::cluster::{Cluster, Scratch};
use crate::error::{Context, Error, Kind, Result};
use crate::exit::Exit;
use crate::facts::{Root, View};
use crate::node_facts::{Mode, Options, chunks};
use crate::pods::PodOptions;
use crate::snapshot::Snapshot;
use crate::{facts, limits, node_facts, preflight};

/// Write the facts of this machine to stdout, in the pieces in which a container's log carries them.
///
/// `seatrial snapshot --node-facts` runs this in pods.
#[derive(Debug, clap::Args)]
#[command(hide = true)]
pub struct Args {
    /// The host's own files are below this directory; what a container sees is looked at otherwise.
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    /// How long one tool may take.
    #[arg(long, value_name = "SECONDS", default_value_t = limits::TOOL.as_secs())]
    patience: u64,
}

pub(crate) async fn exec(args: Args, cx: Cx) -> Result<Exit> {
    let mut root = Root::here(View::Container);
    if let Some(path) = args.root {
        // What the kernel says below /proc is the same in every container, so the host's need not be mounted.
        let proc = path.join("proc");
        if !proc.exists() {
            symlink("/proc", &proc).with_context(|| format!("link {} to /proc", proc.display()))?;
        }
        root = Root { path, view: View::Host, ..root };
    }
    root.patience = Duration::from_secs(args.patience.max(1));
    let facts = facts::collect(&root).await;
    let document = serde_json::to_vec(&facts).map_err(|error| Error::internal("write the facts").because(error))?;
    cx.ui.artefact(&chunks::write(&document));
    Ok(Exit::Ok)
}

/// What a pod on a node looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum What {
    /// What an unprivileged container sees that has a GPU.
    Container,
    /// The host's own files, mounted read-only; needs no GPU, and a namespace that allows it.
    Host,
}

/// Whether and how GPU nodes are asked for their facts.
#[derive(Clone, Debug, clap::Args)]
pub struct Asked {
    /// Look at each GPU node with one short pod: as a container sees it that has a GPU, or the host's own files.
    #[arg(long, value_enum, value_name = "WHAT", num_args = 0..=1, require_equals = true, default_missing_value = "container")]
    node_facts: Option<What>,
    /// The image of these pods; it has seatrial on its PATH.
    #[arg(long, value_name = "IMAGE", requires = "node_facts")]
    image: Option<String>,
    /// How many nodes are looked at at a time.
    #[arg(long, value_name = "NODES", requires = "node_facts", default_value_t = NonZeroUsize::new(limits::NODE_FACTS_PARALLEL).unwrap_or(NonZeroUsize::MIN))]
    parallel: NonZeroUsize,
    /// How long one of these pods may take, from its creation to its end.
    #[arg(long, value_name = "SECONDS", requires = "node_facts", default_value_t = limits::NODE_FACTS.as_secs())]
    node_timeout: u64,
}

impl Asked {
    /// The same with some image, where only permissions are asked about, which no image changes.
    pub fn with_any_image(&mut self) {
        self.image.get_or_insert_with(|| "any".to_owned());
    }

    /// True if nodes are to be asked.
    #[must_use]
    pub fn wanted(&self) -> bool {
        self.node_facts.is_some()
    }

    /// The options; nothing where nodes are not asked.
    ///
    /// # Errors
    /// A usage error without an image.
    pub fn options(&self, pods: PodOptions) -> Result<Option<Options>> {
        let Some(what) = self.node_facts else { return Ok(None) };
        let Some(image) = &self.image else {
            return Err(Error::usage("--node-facts wants the --image that its pods run")
                .hint("an image with seatrial on its PATH, in reach of the nodes"));
        };
        let mode = match what {
            What::Container => Mode::Container,
            What::Host => Mode::Host,
        };
        let timeout = Duration::from_secs(self.node_timeout.max(1));
        Ok(Some(Options { mode, image: image.clone(), parallel: self.parallel.get(), pods, timeout }))
    }
}

/// Flags of facts of nodes.
#[derive(Debug, clap::Args)]
pub struct Flags {
    #[command(flatten)]
    asked: Asked,
    /// Create these pods in this namespace, which an administrator made; in one of their own otherwise.
    #[arg(long, value_name = "NAME", requires = "node_facts", value_parser = parse::namespace)]
    namespace: Option<String>,
    /// How many seconds the Lease lives without being renewed.
    #[arg(long, value_name = "SECONDS", default_value_t = limits::LEASE.as_secs(), hide = true)]
    lease_seconds: u64,
    #[command(flatten)]
    pods: PodArgs,
}

impl Flags {
    /// Adds the facts of nodes to a snapshot, if they were asked for.
    ///
    /// Says 3 if no node could be asked, or something that was created could not be removed.
    ///
    /// # Errors
    /// For what concerns all nodes; what concerns one is in its reading.
    pub(crate) async fn add(&self, cx: &Cx, cluster: &Cluster, snapshot: &mut Snapshot) -> Result<Exit> {
        let Some(options) = self.asked.options(self.pods.options()?)? else { return Ok(Exit::Ok) };
        let place = Place {
            run: trial::run_id(Timestamp::now())?,
            namespace: self.namespace.clone(),
            lease: Duration::from_secs(self.lease_seconds.max(1)),
            creates: Vec::new(),
            keep: false,
        };
        permitted(cluster, &place, options.mode).await?;
        trial::sweep(cluster, &place.run, &cx.ui).await?;
        // From before anything is there to be left.
        let signalled = trial::signals();
        let scratch = Scratch::open(cluster, place).await?;
        let gathered = tokio::select! {
            biased;
            () = signalled => Err(Error::new(Kind::Interrupted, "interrupted while nodes were asked for their facts")),
            gathered = node_facts::gather(cluster, &scratch, snapshot, &options, &cx.ui) => gathered,
        };
        cx.ui.clear_live();
        let closed = scratch.close().await;
        let mut exit = Exit::Ok;
        if let Err(error) = closed {
            cx.ui.warn(format!("not all that was created could be removed: {}; `seatrial cleanup` tries again", error.chain()));
            exit = Exit::Inconclusive;
        }
        let gathered = gathered?;
        let asked = gathered.len();
        if !gathered.values().any(|reading| reading.value().is_some()) {
            cx.ui.warn(if asked == 0 { "there is no GPU node to ask for its facts" } else { "no node answered with its facts" });
            exit = Exit::Inconclusive;
        }
        for (node, reason) in gathered.iter().filter_map(|(node, reading)| Some((node, reading.unavailable()?))) {
            cx.ui.warn(format!("node {node}: {reason}"));
        }
        node_facts::put(snapshot, gathered);
        Ok(exit)
    }
}

/// Asks beforehand whether we may do all of it.
async fn permitted(cluster: &Cluster, place: &Place, mode: Mode) -> Result<()> {
    let mut accesses = preflight::base_access(place.namespace.is_none());
    accesses.extend(node_facts::access(mode));
    let missing = cluster.missing(&accesses, &place.namespace(), &place.lock_namespace()).await.context("ask what we may do")?;
    if missing.is_empty() {
        return Ok(());
    }
    let list: Vec<String> = missing.iter().map(ToString::to_string).collect();
    Err(Error::new(Kind::Denied, format!("permissions for --node-facts are missing: {}", list.join("; ")))
        .hint("`seatrial rbac WORKFLOW --node-facts` prints the roles; give them to the user of this kubeconfig context"))
}
