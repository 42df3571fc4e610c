//! `seatrial sim`: a simulated GPU cluster on this machine.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::{Subcommand, ValueEnum};

use crate::cli::Cx;
use crate::cluster::{Cluster, Target};
use crate::error::{Error, Kind, Result};
use crate::exit::Exit;
use crate::limits;
use crate::sim::addons::{self, Chosen};
use crate::sim::description::Description;
use crate::sim::home::Home;
use crate::sim::{load, plane, status};

/// Arguments of `sim`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start a control plane with simulated GPU nodes; prints the path of its kubeconfig.
    Up(Up),
    /// Stop a simulated cluster and remove its directory.
    Down(Which),
    /// Show nodes, GPUs and processes of a simulated cluster.
    Status(Show),
    /// Add or change simulated nodes of a running cluster.
    Load(Load),
    /// List the controllers that can run beside a simulated cluster.
    Addons,
}

/// Which simulated cluster.
#[derive(Debug, clap::Args)]
struct Which {
    /// Its name; several can run side by side.
    #[arg(long, default_value = "sim", value_name = "NAME")]
    name: String,
    /// The directory that holds everything of it; $XDG_STATE_HOME/seatrial/sim/NAME otherwise.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

impl Which {
    fn home(&self) -> Result<Home> {
        Home::new(&self.name, self.dir.as_deref())
    }
}

#[derive(Debug, clap::Args)]
struct Up {
    #[command(flatten)]
    which: Which,
    /// The cluster description: a file, or the name of one that comes with seatrial.
    #[arg(long, default_value = "demo", value_name = "FILE|NAME")]
    cluster: String,
    /// Controllers to run beside it, as processes of this machine; `sim addons` lists them.
    #[arg(long = "with", value_delimiter = ',', value_name = "ADDON,…")]
    with: Vec<String>,
    /// Start also add-ons that cannot but listen on all interfaces of this machine.
    #[arg(long)]
    listen_on_all_interfaces: bool,
    /// The most seconds it may take until nodes, workloads and add-ons are ready.
    #[arg(long, default_value_t = limits::SIM_UP.as_secs(), value_name = "SECONDS")]
    wait: u64,
}

#[derive(Debug, clap::Args)]
struct Show {
    #[command(flatten)]
    which: Which,
    /// The format of what is printed.
    #[arg(short = 't', long, value_enum, default_value = "text")]
    format: Format,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    Text,
    Json,
}

#[derive(Debug, clap::Args)]
struct Load {
    /// The cluster description: a file, or the name of one that comes with seatrial.
    #[arg(value_name = "FILE|NAME")]
    cluster: String,
    #[command(flatten)]
    which: Which,
    /// The most seconds it may take until nodes and workloads are ready.
    #[arg(long, default_value_t = limits::SIM_UP.as_secs(), value_name = "SECONDS")]
    wait: u64,
    /// Load also into a cluster whose nodes are not simulated.
    #[arg(long)]
    yes: bool,
}

pub(crate) async fn exec(args: Args, cx: Cx) -> Result<Exit> {
    match args.command {
        Command::Up(args) => up(&args, &cx).await,
        Command::Down(args) => down(&args, &cx).await,
        Command::Status(args) => show(&args, &cx).await,
        Command::Load(args) => load_into(&args, &cx).await,
        Command::Addons => {
            cx.ui.artefact(&list_of_addons());
            Ok(Exit::Ok)
        }
    }
}

async fn up(args: &Up, cx: &Cx) -> Result<Exit> {
    let began = Instant::now();
    let home = args.which.home()?;
    let description = Description::read(&args.cluster)?;
    let with = Chosen::new(&args.with, args.listen_on_all_interfaces, "give --listen-on-all-interfaces")?;
    plane::up(&home, &description, &with, Duration::from_secs(args.wait), &cx.ui).await?;
    cx.ui.clear_live();
    let mut parts = vec![format!("{} nodes", description.node_count())];
    parts.extend(with.names().into_iter().map(str::to_owned));
    let parts = parts.join(", ");
    cx.ui.line(format!("simulated cluster {}: {parts}, ready in {:.1}s", home.name(), began.elapsed().as_secs_f64()));
    cx.ui.artefact(&home.kubeconfig().to_string_lossy());
    Ok(Exit::Ok)
}

async fn down(args: &Which, cx: &Cx) -> Result<Exit> {
    let home = args.home()?;
    let said = if plane::down(&home).await? { "stopped, and removed" } else { "there is none in" };
    cx.ui.line(format!("simulated cluster {}: {said} {}", home.name(), home.dir().display()));
    Ok(Exit::Ok)
}

async fn show(args: &Show, cx: &Cx) -> Result<Exit> {
    let status = status::status(&args.which.home()?).await?;
    match args.format {
        Format::Json => {
            let text = serde_json::to_string_pretty(&status).map_err(|error| Error::internal("write the status").because(error))?;
            cx.ui.artefact(&text);
        }
        Format::Text => cx.ui.artefact(&text(&status)),
    }
    Ok(Exit::Ok)
}

fn text(status: &status::Status) -> String {
    let processes: Vec<String> = status.processes.iter().map(|(name, pid)| format!("{name} ({pid})")).collect();
    let mut text = format!("{}: {} nodes, {} GPUs, simulated\n", status.name, status.nodes.len(), status.gpus);
    for node in &status.nodes {
        let ready = if node.ready { "Ready" } else { "NotReady" };
        let plugin = node.capacity.map(|count| format!("{count} by device plugin"));
        let dra = node.devices.map(|count| format!("{count} by DRA"));
        let gpus: Vec<String> = plugin.into_iter().chain(dra).collect();
        text.push_str(&format!(
            "  {:<24} {ready:<8} {}\n",
            node.name,
            if gpus.is_empty() { "no GPUs".to_owned() } else { gpus.join(", ") }
        ));
    }
    for addon in &status.addons {
        for (process, pid) in &addon.processes {
            let log = addon.logs.get(process).map(|log| log.display().to_string()).unwrap_or_default();
            text.push_str(&format!("  {:<24} {process} ({pid}), log {log}\n", format!("with {}", addon.name)));
        }
    }
    text.push_str(&format!("  processes   {}\n  kubeconfig  {}\n", processes.join(", "), status.kubeconfig.display()));
    text
}

fn list_of_addons() -> String {
    let mut text = String::new();
    for addon in addons::ALL {
        let needs = if addon.needs.is_empty() { String::new() } else { format!("; brings {}", addon.needs.join(", ")) };
        text.push_str(&format!("{:<16} {}{needs}\n", addon.name, addon.what));
        if let Some(what) = addon.exposed {
            text.push_str(&format!("{:<16} listens on all interfaces: {what}\n", ""));
        }
    }
    text
}

async fn load_into(args: &Load, cx: &Cx) -> Result<Exit> {
    let description = Description::read(&args.cluster)?;
    let given = cx.global.kubeconfig.is_some() || cx.global.context.is_some();
    let target = if given {
        Target { kubeconfig: cx.global.kubeconfig.clone(), context: cx.global.context.clone() }
    } else {
        let home = args.which.home()?;
        if home.record()?.is_none() {
            let message = format!("there is no simulated cluster in {}", home.dir().display());
            return Err(Error::new(Kind::NotFound, message).hint("start one with `seatrial sim up`, or give --kubeconfig"));
        }
        Target { kubeconfig: Some(home.kubeconfig()), context: None }
    };
    let cluster = Cluster::connect(&target).await?;
    if given && !args.yes && !load::is_simulated(&cluster).await? {
        let nodes = description.node_count();
        let message =
            format!("the cluster of context {} is not simulated: loading would add {nodes} nodes that do not exist", cluster.context());
        return Err(Error::usage(message).hint("give --yes if that is meant"));
    }
    load::load(&cluster, &description, Duration::from_secs(args.wait), &cx.ui).await?;
    cx.ui.clear_live();
    cx.ui.line(format!("loaded {}: {} nodes into context {}", description.name, description.node_count(), cluster.context()));
    Ok(Exit::Ok)
}
