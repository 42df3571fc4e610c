//! `seatrial github`: what our Action and workflows do beside running commands.

use std::path::{Path, PathBuf};

use clap::{CommandFactory, Subcommand};
use serde_json::json;

use crate::cli::registry::RegistryArgs;
use crate::cli::signing::SigningArgs;
use crate::cli::{Cli, Cx};
use crate::error::{Error, Result};
use crate::evidence::Pointer;
use crate::exit::Exit;
use crate::github::offer::{Offer, Offered};
use crate::github::{Api, Event, Subject, action};
use crate::sign::Signer;
use crate::verify::many;
use crate::{files, limits, publish};

/// What the GitHub Action and the reusable workflows do beside running commands.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Action(Action),
    Offer(OfferArgs),
    Sign(Box<Sign>),
}

/// Run the command that the inputs of the Action name.
///
/// They are in SEATRIAL_INPUTS, as a JSON object; each is named like the flag that it becomes.
#[derive(Debug, clap::Args)]
struct Action {
    /// Print the command line, one word a line, and run nothing.
    #[arg(long)]
    print: bool,
}

/// Commit pointers to a branch through GitHub's API, which signs the commit, and open a pull request if that is wanted.
///
/// Repository and base are those of the workflow run; the token is GITHUB_TOKEN, with `contents: write`, and for a pull request `pull-requests: write`.
#[derive(Debug, clap::Args)]
struct OfferArgs {
    /// The pointer files, by their paths in the repository.
    #[arg(value_name = "POINTER", required = true)]
    pointers: Vec<PathBuf>,
    /// The branch that takes the commit; the one that was built otherwise, or for a pull request one that is named after the evidence.
    #[arg(long, value_name = "NAME")]
    branch: Option<String>,
    /// The branch that a new one starts from, and that the pull request is merged into; the one that was built otherwise.
    #[arg(long, value_name = "NAME")]
    base: Option<String>,
    /// Open a pull request.
    #[arg(long)]
    pull_request: bool,
}

/// Sign all pending pointers, and commit them to the branch that was built.
///
/// For contributors whose cluster cannot reach Sigstore: they commit pending pointers to a branch of their own fork, and its workflow signs them.
#[derive(Debug, clap::Args)]
struct Sign {
    /// The directory of the pointers.
    #[arg(long, value_name = "DIR", default_value = "evidence", env = "SEATRIAL_POINTER_DIR")]
    pointer_dir: PathBuf,
    /// The branch that takes the commit; the one that was built otherwise.
    #[arg(long, value_name = "NAME")]
    branch: Option<String>,
    #[command(flatten)]
    signing: SigningArgs,
    #[command(flatten)]
    registry: RegistryArgs,
}

pub(crate) async fn exec(args: Args, cx: Cx) -> Result<Exit> {
    match args.command {
        Command::Action(args) => act(&args, &cx),
        Command::Offer(args) => offer(&args, &cx).await,
        Command::Sign(args) => sign(*args, &cx).await,
    }
}

fn act(args: &Action, cx: &Cx) -> Result<Exit> {
    let inputs = std::env::var("SEATRIAL_INPUTS")
        .map_err(|error| Error::usage("there are no inputs of the Action in SEATRIAL_INPUTS").because(error))?;
    let mut program = Cli::command();
    program.build();
    let line = action::command_line(&inputs, &program)?;
    let words: Vec<String> = line.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    if args.print {
        cx.ui.artefact(&words.join("\n"));
        return Ok(Exit::Ok);
    }
    cx.ui.line(format!("  {}", words.join(" ")));
    // The command is a run of its own: settings, runtime and outputs are as if it had been typed.
    let (told, hear) = std::sync::mpsc::channel();
    let thread = std::thread::spawn(move || told.send(crate::cli::run(line)));
    let exit = hear.recv().map_err(|error| Error::internal("run the command of the Action").because(error))?;
    thread.join().map_err(|_| Error::internal("run the command of the Action"))?.unwrap_or(());
    Ok(exit)
}

/// The branch of a reference such as `refs/heads/main`.
fn branch_of(event: &Event) -> Result<String> {
    let Subject::Other { reference } = &event.subject else {
        return Err(Error::usage("a pull request's workflow commits to no branch by itself").hint("name one with --branch"));
    };
    reference.strip_prefix("refs/heads/").map(str::to_owned).ok_or_else(|| {
        Error::usage(format!("`{}`, which was built, is no branch", crate::ui::printable(reference))).hint("name one with --branch")
    })
}

async fn offer(args: &OfferArgs, cx: &Cx) -> Result<Exit> {
    let event = Event::of_environment()?;
    let base = args.base.clone().map_or_else(|| branch_of(&event), Ok)?;
    let files = args.pointers.iter().map(|path| read(path)).collect::<Result<Vec<_>>>()?;
    let first = files.first().map(|(path, _)| path.clone()).unwrap_or_default();
    let named_after =
        || Path::new(&first).file_stem().map(|stem| format!("evidence/{}", stem.to_string_lossy().chars().take(24).collect::<String>()));
    let branch = match (&args.branch, args.pull_request) {
        (Some(branch), _) => branch.clone(),
        (None, true) => named_after().unwrap_or_else(|| "evidence/new".to_owned()),
        (None, false) => base.clone(),
    };
    let offer = Offer {
        repository: event.repository.clone(),
        branch,
        base,
        title: title(&files)?,
        files,
        pull_request: args.pull_request,
        server: server(),
    };
    tell(&offer.make(&Api::of_environment()?).await?, cx)
}

async fn sign(args: Sign, cx: &Cx) -> Result<Exit> {
    let all = many::pointers_below(&args.pointer_dir)?
        .ok_or_else(|| Error::usage(format!("{} is no directory of pointers", args.pointer_dir.display())))?;
    let mut pending = Vec::new();
    for path in all {
        let text = files::read_text(&path, limits::DOCUMENT_BYTES)?;
        if Pointer::parse(&text, &path.display().to_string())?.is_pending() {
            pending.push(path);
        }
    }
    if pending.is_empty() {
        cx.ui.line(format!("  no pointer below {} is pending", args.pointer_dir.display()));
        return Ok(Exit::Ok);
    }
    let event = Event::of_environment()?;
    let branch = args.branch.clone().map_or_else(|| branch_of(&event), Ok)?;
    let signer = Signer::new(&args.signing.options(false))?;
    // What was signed is committed even if the next cannot be: it would be signed twice otherwise.
    let mut trouble = None;
    let mut signed = Vec::new();
    for path in &pending {
        cx.ui.waiting(&format!("{} to be signed", path.display()));
        match publish::sign_pointer(path, &signer, &args.registry.options()).await {
            Ok(published) => signed.push(published.pointer),
            Err(error) => {
                trouble = Some(error.context(format!("sign {}", path.display())));
                break;
            }
        }
    }
    if !signed.is_empty() {
        let files = signed.iter().map(|path| read(path)).collect::<Result<Vec<_>>>()?;
        let title = format!("evidence: sign {} pending pointers", files.len());
        let base = branch.clone();
        let offer = Offer { repository: event.repository.clone(), branch, base, title, files, pull_request: false, server: server() };
        let lines: Vec<String> = signed.iter().map(|path| path.display().to_string()).collect();
        cx.ui.outputs(&[("pointer", &lines.join("\n"))])?;
        tell(&offer.make(&Api::of_environment()?).await?, cx)?;
    }
    trouble.map_or(Ok(Exit::Ok), Err)
}

fn tell(offered: &Offered, cx: &Cx) -> Result<Exit> {
    cx.ui.clear_live();
    cx.ui.line(format!("  commit   {}", offered.commit));
    cx.ui.line(format!("  see      {}", offered.url));
    if let Some(why) = &offered.without {
        cx.ui.warn(format!("no pull request was opened: {why}"));
    }
    cx.ui.event("offered", json!({"commit": offered.commit, "url": offered.url}));
    cx.ui.outputs(&[("verdict", Exit::Ok.name()), ("reason", Exit::Ok.name()), ("url", &offered.url)])?;
    cx.ui.artefact(&offered.url);
    Ok(Exit::Ok)
}

/// A pointer file, by its path in the repository: relative, and not out of it.
fn read(path: &Path) -> Result<(String, String)> {
    let plain = |part: std::path::Component<'_>| matches!(part, std::path::Component::Normal(_) | std::path::Component::CurDir);
    let name: Option<String> = path.components().all(plain).then(|| path.components().collect::<PathBuf>().to_string_lossy().into_owned());
    let name = name.ok_or_else(|| Error::usage(format!("{} is not below the working directory", path.display())))?;
    let text = files::read_text(path, limits::DOCUMENT_BYTES)?;
    // Only pointers: this is no way to commit something else.
    Pointer::parse(&text, &name)?;
    Ok((name, text))
}

fn title(files: &[(String, String)]) -> Result<String> {
    let (path, text) = files.first().ok_or_else(|| Error::usage("there are no pointers to offer"))?;
    let recipe = Pointer::parse(text, path)?.recipe.name;
    let more = if files.len() > 1 { format!(" and {} more", files.len() - 1) } else { String::new() };
    Ok(format!("evidence: {recipe}{more}"))
}

fn server() -> String {
    std::env::var("GITHUB_SERVER_URL").ok().filter(|url| !url.is_empty()).unwrap_or_else(|| "https://github.com".to_owned())
}
