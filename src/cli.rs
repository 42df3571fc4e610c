//! The command line: global flags, the list of subcommands, and how a command ends.

pub mod cleanup;
pub mod completions;
pub mod config;
pub mod evidence;
mod evidence_aicr;
mod evidence_diff;
mod evidence_digest;
mod evidence_list;
mod evidence_show;
mod evidence_verify;
pub mod explain;
pub mod gate;
pub mod github;
mod github_gate;
pub mod init;
pub mod list;
pub mod node_facts;
pub mod look;
pub mod man;
mod parse;
pub mod plan;
pub mod pods;
pub mod policy;
pub mod preflight;
pub mod publishing;
pub mod signing;
pub mod rbac;
pub mod recipe;
mod recipe_data;
pub mod registry;
pub mod reports;
pub mod run;
pub mod selection;
pub mod sim;
pub mod snapshot;
pub mod transport;
pub mod trial;
pub mod trust;
pub mod validate;
pub mod without_cluster;

use std::borrow::Cow;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

use clap::builder::NonEmptyStringValueParser;
use clap::{Parser, Subcommand};

use crate::error::Result;
use crate::exit::Exit;
use crate::ui::{Mode, Ui, printable};

/// Sea trials for GPU Kubernetes clusters: run the canonical validation steps, sign the evidence, verify it.
///
/// Without a command: a read-only look at the current cluster, and what to do next.
#[derive(Debug, Parser)]
#[command(name = "seatrial", version, max_term_width = 110)]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Option<Command>,
}

/// Flags of every command.
#[derive(Clone, Debug, clap::Args)]
pub struct Global {
    /// How progress and summaries are shown: human, json (one event per line on stderr) or github.
    #[arg(long, global = true, value_enum, env = "SEATRIAL_UI")]
    pub ui: Option<Mode>,
    /// Show errors and warnings only.
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Show more of what is being done; repeat for the requests.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// The kubeconfig file; KUBECONFIG and ~/.kube/config otherwise.
    #[arg(long, global = true, env = "SEATRIAL_KUBECONFIG", value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// The kubeconfig context; its current context otherwise.
    #[arg(long, global = true, env = "SEATRIAL_CONTEXT", value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    pub context: Option<String>,
    /// The file of settings; otherwise the nearest seatrial.yaml, from the working directory upwards.
    #[arg(long, global = true, env = crate::config::VARIABLE, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// A directory of recipe data: what lies there at the path of a shipped overlay, recipe or health file replaces it, the rest is added.
    #[arg(long, global = true, env = "SEATRIAL_DATA", value_name = "DIR")]
    pub data: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    Snapshot(Box<snapshot::Args>),
    Plan(Box<plan::Args>),
    Preflight(Box<preflight::Args>),
    Run(Box<run::Args>),
    Validate(Box<validate::Args>),
    Recipe(Box<recipe::Args>),
    /// Work with signed evidence: verify, publish, make keys.
    Evidence(evidence::Args),
    Gate(Box<gate::Args>),
    Policy(policy::Args),
    Trust(trust::Args),
    Github(github::Args),
    Init(init::Args),
    /// Start, stop and load a simulated GPU cluster on this machine.
    Sim(sim::Args),
    List(list::Args),
    Explain(explain::Args),
    Rbac(Box<rbac::Args>),
    Cleanup(cleanup::Args),
    NodeFacts(node_facts::Args),
    /// Show settings: flags, variables, seatrial.yaml, defaults.
    Config(config::Args),
    Completions(completions::Args),
    Man(man::Args),
}

/// The form of what a command prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// What every command is given.
#[derive(Clone)]
pub struct Cx {
    /// Flags of every command.
    pub global: Global,
    /// The writer.
    pub ui: Ui,
    /// Where settings came from.
    pub settings: Arc<parse::Settings>,
}

/// Parses the arguments, runs the command, shows its error, and says how the process ends.
pub fn run(args: impl IntoIterator<Item = OsString>) -> Exit {
    let (cli, settings) = match parse::parse(args.into_iter().collect()) {
        Ok(parsed) => parsed,
        Err(parse::Ended::Parser(error)) => {
            let exit = if error.use_stderr() { Exit::Usage } else { Exit::Ok };
            // Help and version go to stdout, usage errors to stderr; a closed pipe is not worth an error.
            let text = error.render().to_string();
            let printed = match crate::ui::no_command(&text) {
                Cow::Borrowed(_) => error.print(),
                // What was given on the command line is in it, and tries to be a command of the CI system.
                Cow::Owned(calm) => {
                    Ui::new(None, false).line(printable(calm.trim_end()));
                    Ok(())
                }
            };
            return match printed {
                Err(failed) if failed.kind() != std::io::ErrorKind::BrokenPipe => Exit::Usage,
                _ => exit,
            };
        }
        Err(parse::Ended::Settings(error)) => {
            Ui::new(None, false).error(&error);
            return error.kind().exit();
        }
    };
    let ui = Ui::new(cli.global.ui, cli.global.quiet);
    ui.show_log(cli.global.verbose);
    let cx = Cx { global: cli.global.clone(), ui: ui.clone(), settings: Arc::new(settings) };
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            ui.error(&crate::error::Error::internal("start the async runtime").because(error));
            return Exit::Inconclusive;
        }
    };
    let ended = runtime.block_on(exec(cli.command, cx));
    // A parser that is still at work on its thread is not waited for.
    runtime.shutdown_background();
    ui.clear_live();
    let exit = ended.unwrap_or_else(|error| {
        ui.error(&error);
        let exit = error.kind().exit();
        outputs(&ui, &[("verdict", exit.name()), ("reason", exit.name())]);
        exit
    });
    let exit = match ui.lost() {
        None => exit,
        Some(lost) => {
            ui.error(&lost);
            // A verdict stays; that all is well does not.
            if exit == Exit::Ok { lost.kind().exit() } else { exit }
        }
    };
    outputs(&ui, &[("exit-code", &exit.code().to_string())]);
    exit
}

/// Sets outputs of a step of GitHub's. That they cannot be set changes nothing about how a command ends.
fn outputs(ui: &Ui, values: &[(&str, &str)]) {
    if let Err(error) = ui.outputs(values) {
        ui.warn(error.chain());
    }
}

async fn exec(command: Option<Command>, cx: Cx) -> Result<Exit> {
    let Some(command) = command else { return look::exec(cx).await };
    match command {
        Command::Snapshot(args) => snapshot::exec(*args, cx).await,
        Command::Plan(args) => plan::exec(*args, cx).await,
        Command::Preflight(args) => preflight::exec(*args, cx).await,
        Command::Run(args) => run::exec(*args, cx).await,
        Command::Validate(args) => validate::exec(*args, cx).await,
        Command::Recipe(args) => recipe::exec(*args, cx).await,
        // On a worker, beside the connections that bundles come by: each piece of an answer would else wake another thread.
        Command::Evidence(args) => {
            let task = tokio::spawn(evidence::exec(args, cx));
            task.await.unwrap_or_else(|died| std::panic::resume_unwind(died.into_panic()))
        }
        Command::Gate(args) => gate::exec(*args, cx).await,
        Command::Policy(args) => policy::exec(args, &cx),
        Command::Trust(args) => trust::exec(args, cx).await,
        Command::Github(args) => github::exec(args, cx).await,
        Command::Init(args) => init::exec(args, cx).await,
        Command::Sim(args) => sim::exec(args, cx).await,
        Command::List(args) => list::exec(args, cx).await,
        Command::Explain(args) => explain::exec(args, cx).await,
        Command::Rbac(args) => rbac::exec(*args, cx).await,
        Command::Cleanup(args) => cleanup::exec(args, cx).await,
        Command::NodeFacts(args) => node_facts::exec(args, cx).await,
        Command::Config(args) => config::exec(args, cx).await,
        Command::Completions(args) => completions::exec(args, cx).await,
        Command::Man(args) => man::exec(args, cx).await,
    }
}
