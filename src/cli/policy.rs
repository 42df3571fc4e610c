//! `seatrial policy`: what is wrong with a policy, and what it says of a pointer.

use std::path::PathBuf;

use clap::Subcommand;
use jiff::Timestamp;

use crate::cli::{Cx, Format};
use crate::error::{Context, Error, Result};
use crate::evidence::Pointer;
use crate::evidence::aicr::{self, Allowlist};
use crate::exit::Exit;
use crate::policy::explain::PolicyExplanation;
use crate::policy::import::from_aicr;
use crate::policy::{Policy, form};
use crate::ui::{Tone, Ui, printable};
use crate::verify::many;
use crate::{files, limits};

/// Look at policies on evidence: who may sign for what.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Say what is wrong with a policy.
    Lint(Lint),
    /// Say what a policy makes of a pointer, entry by entry.
    Explain(Explain),
    /// Make a policy out of an allowlist of NVIDIA AICR.
    Import(Import),
}

/// Make a policy out of an allowlist of NVIDIA AICR, as far as it says the same.
///
/// The list names most signers by a hash; the pointers tell who is meant, and for which recipes. Pipelines are left out: their name alone
/// binds no repository. The policy goes to stdout, whom it leaves out to stderr. Exit codes: 0 it says all, 1 someone is left out.
#[derive(Debug, clap::Args)]
struct Import {
    /// AICR's allowlist.yaml.
    #[arg(value_name = "ALLOWLIST")]
    allowlist: PathBuf,
    /// The directory of AICR's pointers.
    #[arg(long, value_name = "DIR")]
    pointers: Option<PathBuf>,
}

/// Say what is wrong with a policy.
///
/// Refuses what would let strangers in, what could never accept anything, and names that stand twice; warns of entries that have expired.
/// Exit codes: 0 nothing, 1 warnings, 2 it must not be used.
#[derive(Debug, clap::Args)]
struct Lint {
    /// The policy.
    #[arg(value_name = "FILE", default_value = "evidence/policy.yaml")]
    policy: PathBuf,
    /// The form of the findings.
    #[arg(short = 't', long, value_enum, default_value = "text")]
    format: Format,
}

/// Say what a policy makes of a pointer, entry by entry.
///
/// Goes by what the pointer claims; nothing is fetched and nothing is verified.
/// Exit codes: 0 nothing that it claims speaks against it, 11 something does.
#[derive(Debug, clap::Args)]
struct Explain {
    /// The pointer.
    #[arg(value_name = "POINTER")]
    pointer: PathBuf,
    /// The policy.
    #[arg(long, env = "SEATRIAL_POLICY", value_name = "FILE", default_value = "evidence/policy.yaml")]
    policy: PathBuf,
    /// The form of the explanation.
    #[arg(short = 't', long, value_enum, default_value = "text")]
    format: Format,
}

pub(crate) fn exec(args: Args, cx: &Cx) -> Result<Exit> {
    match args.command {
        Command::Lint(args) => lint(&args, &cx.ui),
        Command::Explain(args) => explain(&args, &cx.ui),
        Command::Import(args) => import(&args, &cx.ui),
    }
}

fn import(args: &Import, ui: &Ui) -> Result<Exit> {
    let name = args.allowlist.display().to_string();
    let list = Allowlist::parse(&files::read_text(&args.allowlist, limits::DOCUMENT_BYTES).context("read the allowlist")?, &name)?;
    let mut pointers = Vec::new();
    for file in args.pointers.as_deref().map(many::pointers_below).transpose()?.flatten().unwrap_or_default() {
        let text = files::read_text(&file, limits::DOCUMENT_BYTES).context("read a pointer")?;
        pointers.extend(aicr::pointer(&text, &file.display().to_string())?);
    }
    let imported = from_aicr(&list, &pointers)?;
    match &imported.policy {
        Some(policy) => ui.artefact(policy),
        None => {
            return Err(Error::usage(format!("nobody on {name} can be named"))
                .hint("--pointers names the directory of AICR's pointers, which say who is meant"));
        }
    }
    for one in &imported.left_out {
        ui.warn(format!("left out: {}", printable(one)));
    }
    Ok(if imported.left_out.is_empty() { Exit::Ok } else { Exit::Failed })
}

fn lint(args: &Lint, ui: &Ui) -> Result<Exit> {
    let (policy, findings) = form::read_with_findings(&args.policy)?;
    match args.format {
        Format::Json => ui.artefact(&to_json(&findings)?),
        Format::Text => {
            for finding in &findings {
                let (word, tone) = if finding.error { ("error:", Tone::Bad) } else { ("warning:", Tone::Doubtful) };
                ui.artefact(&format!("{} {}", ui.paint(word, tone), printable(&format!("{}: {}", policy.name, finding.message))));
            }
        }
    }
    let errors = findings.iter().filter(|finding| finding.error).count();
    ui.line(format!("{} signers, {errors} errors, {} warnings", policy.entries.len(), findings.len() - errors));
    Ok(match (errors, findings.len()) {
        (0, 0) => Exit::Ok,
        (0, _) => Exit::Failed,
        _ => Exit::Usage,
    })
}

fn explain(args: &Explain, ui: &Ui) -> Result<Exit> {
    let policy = Policy::read(&args.policy)?;
    let text = files::read_text(&args.pointer, limits::DOCUMENT_BYTES)?;
    let pointer = Pointer::parse(&text, &args.pointer.display().to_string())?;
    let explanation = policy.explain(&pointer, Timestamp::now());
    match args.format {
        Format::Json => ui.artefact(&to_json(&explanation)?),
        Format::Text => ui.artefact(&printable(&lines(&explanation).join("\n"))),
    }
    Ok(if explanation.could_be_accepted { Exit::Ok } else { Exit::Policy })
}

fn lines(explanation: &PolicyExplanation) -> Vec<String> {
    let mut lines =
        vec![format!("{}: {} organisations must have signed; recipe {}", explanation.policy, explanation.required, explanation.recipe)];
    for signature in &explanation.signatures {
        let who = signature.claimed.as_ref().map_or_else(|| "nobody in particular".to_owned(), ToString::to_string);
        lines.push(format!("signature claimed by {who}"));
        for entry in &signature.entries {
            let wants = if entry.also_wants.is_empty() { String::new() } else { format!(" (also wants {})", entry.also_wants.join(", ")) };
            if entry.reasons.is_empty() {
                lines.push(format!("  {} of {}: could count{wants}", entry.entry, entry.organisation));
            }
            for said in &entry.reasons {
                lines.push(format!("  {} of {}: {} — {}", entry.entry, entry.organisation, said.reason, said.message));
            }
        }
    }
    lines.extend(explanation.reasons.iter().map(|said| format!("{}: {}", said.reason, said.message)));
    let end = if explanation.could_be_accepted { "could be accepted; verification tells" } else { "would not be accepted" };
    lines.push(format!("by what the pointer claims, it {end}"));
    lines
}

fn to_json<T: serde::Serialize>(document: &T) -> Result<String> {
    Ok(serde_json::to_string_pretty(document).map_err(|error| Error::internal("write JSON").because(error))? + "\n")
}
