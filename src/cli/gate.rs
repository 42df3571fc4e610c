//! `seatrial gate`: whether a change to evidence and recipes is accepted.

use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;
use jiff::Timestamp;
use serde_json::json;

use crate::checks;
use crate::cli::Cx;
use crate::cli::github_gate::Gated;
use crate::cli::registry::RegistryArgs;
use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::gate::report::What;
use crate::gate::{self, Approval, ApprovalSource, Approvals, Change, GateReport, Request, markdown, text};
use crate::policy::form;
use crate::pull::Cache;
use crate::ui::{Tone, Ui};
use crate::{files, limits, trust};

/// Where recipe data lies in a repository, unless --data says otherwise.
const DATA: &str = "recipes";

/// Decide whether a change to evidence and recipes is accepted: the same here, in any CI system, and in a git hook.
///
/// Compares two trees. Every pointer that the head adds is verified to the end with the policy of the base; pointers are only ever
/// added, unless an owner whom that policy names approves. Recipes that the change affects need evidence about what they ask afterwards. Nothing of the head is run or checked out.
/// Exit codes: 0 accept; refuse: that of the gravest reason, as `evidence verify` has it (10, 11, 12, 13, 20, 21, 22, 1, 3); needs-evidence: 13 missing, 12 outdated;
/// undecided, which is never an acceptance: 3, 4, 5, 6; 2 there is nothing to compare.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  seatrial gate --base main\n  seatrial gate --base origin/main --head HEAD -t markdown\n  seatrial gate --base-dir before --head-dir after --report json=gate.json"
)]
pub struct Args {
    #[command(flatten)]
    change: ChangeArgs,
    /// Judge the pull request or merge group that a GitHub workflow runs for, count its reviews as approvals, and report as check run, comment, summary and outputs.
    #[arg(long)]
    github: bool,
    /// The directory of pointers, from the root of the repository.
    #[arg(long, value_name = "PATH", default_value = "evidence")]
    evidence_path: String,
    /// The policy, from the root of the repository; it is read from the base.
    #[arg(long, value_name = "PATH", default_value = "evidence/policy.yaml")]
    policy_path: String,
    /// An owner who approved the change, as whoever runs this says: it counts, and the report calls it claimed. Repeatable.
    #[arg(long = "approved-by", value_name = "@OWNER")]
    approved_by: Vec<String>,
    /// How long verifying may take, all pointers together, e.g. 90s or 10m.
    #[arg(long, value_name = "DURATION", default_value = "10m")]
    timeout: String,
    /// The trusted root of a private Sigstore, beside the public-good instance's. Repeatable.
    #[arg(long = "trusted-root", value_name = "FILE", env = "SEATRIAL_TRUSTED_ROOT")]
    trusted_roots: Vec<PathBuf>,
    /// Fetch every file from the registry, and keep none on disk.
    #[arg(long, env = "SEATRIAL_NO_CACHE")]
    no_cache: bool,
    #[command(flatten)]
    registry: RegistryArgs,
    /// Write the report to standard output in this format.
    #[arg(short = 't', long, value_enum)]
    format: Option<Format>,
    /// Write the report to a file, as json or markdown. Repeatable.
    #[arg(long = "report", value_name = "KIND=FILE", value_parser = wanted)]
    reports: Vec<(Format, PathBuf)>,
}

/// What is compared.
#[derive(Debug, clap::Args)]
struct ChangeArgs {
    /// What is merged into: a branch, a tag or a commit.
    #[arg(long, value_name = "REF", required_unless_present_any = ["base_dir", "github"])]
    base: Option<String>,
    /// What is to be merged.
    #[arg(long, value_name = "REF", default_value = "HEAD")]
    head: String,
    /// The repository.
    #[arg(long, value_name = "DIR", default_value = ".")]
    repository: PathBuf,
    /// What is merged into, as a directory.
    #[arg(long, value_name = "DIR", requires = "head_dir", conflicts_with_all = ["base", "head", "repository"])]
    base_dir: Option<PathBuf>,
    /// What is to be merged, as a directory.
    #[arg(long, value_name = "DIR", requires = "base_dir")]
    head_dir: Option<PathBuf>,
}

/// The form of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    Text,
    /// For programs.
    Json,
    /// For pull requests.
    Markdown,
}

pub(crate) async fn exec(args: Args, cx: Cx) -> Result<Exit> {
    let gated = if args.github { Some(Gated::of_environment()?) } else { None };
    let mut request = request(&args, gated.as_ref(), &cx)?;
    let mut report = gate::judge(&request).await?;
    if let Some(gated) = &gated
        && wants_approval(&report)
    {
        let owners = report.policy.as_ref().map(|policy| policy.owners.clone()).unwrap_or_default();
        let Approvals { given, unknown } = gated.approvals(&owners).await;
        request.approvals.given.extend(given);
        request.approvals.unknown = unknown;
        report = gate::judge(&request).await?;
    }
    request.cache.remarks().iter().for_each(|remark| cx.ui.warn(remark));
    show(&report, &args, &cx.ui)?;
    if let Some(gated) = &gated {
        // For people first, as with other commands.
        let of = |wanted: Format| args.reports.iter().find(|(format, _)| *format == wanted).map(|(_, path)| path.as_path());
        gated.tell(&report, of(Format::Markdown).or_else(|| of(Format::Json)), &cx).await?;
    }
    Ok(report.exit())
}

/// Only what edits or removes evidence, or adds other files, needs somebody's approval: for the rest, reviews are not asked for.
fn wants_approval(report: &GateReport) -> bool {
    !report.files.is_empty() || report.pointers.iter().any(|row| row.change != What::Added)
}

fn request(args: &Args, gated: Option<&Gated>, cx: &Cx) -> Result<Request> {
    let data = match &cx.global.data {
        None => DATA.to_owned(),
        Some(data) => {
            let text = data.to_str().map(|text| text.trim_end_matches('/').to_owned());
            text.ok_or_else(|| Error::usage(format!("--data {} is not UTF-8 text", data.display())))?
        }
    };
    let limit = form::age(&args.timeout).map_err(|error| error.context("read --timeout"))?;
    let given =
        args.approved_by.iter().map(|by| Approval { by: by.clone(), teams: Vec::new(), commit: None, source: ApprovalSource::Claimed });
    Ok(Request {
        change: args.change.change(gated)?,
        evidence: args.evidence_path.clone(),
        policy: args.policy_path.clone(),
        data,
        approvals: Approvals { given: given.collect(), unknown: None },
        checks: checks::ALL.iter().map(|check| (check.id.to_owned(), check.version)).collect(),
        registry: args.registry.options(),
        cache: if args.no_cache { Cache::default() } else { Cache::of_user() },
        root: trust::Root::with_files(&args.trusted_roots)?,
        limit: Duration::try_from(limit).unwrap_or(limits::GATE).min(limits::GATE_LONGEST),
        now: Timestamp::now(),
    })
}

impl ChangeArgs {
    fn change(&self, gated: Option<&Gated>) -> Result<Change> {
        if let (Some(gated), None, None) = (gated, &self.base, &self.base_dir) {
            let (base, head) = gated.change()?;
            return Ok(Change::Commits { repository: self.repository.clone(), base, head });
        }
        match (&self.base_dir, &self.head_dir, &self.base) {
            (Some(base), Some(head), _) => Ok(Change::Directories { base: base.clone(), head: head.clone() }),
            (_, _, Some(base)) => Ok(Change::Commits { repository: self.repository.clone(), base: base.clone(), head: self.head.clone() }),
            _ => Err(Error::usage("nothing to compare is named").hint("--base main compares the current commit with a branch")),
        }
    }
}

/// Reads `KIND=FILE`.
fn wanted(text: &str) -> std::result::Result<(Format, PathBuf), String> {
    let (kind, path) = text.split_once('=').filter(|(_, path)| !path.is_empty()).ok_or("expected KIND=FILE")?;
    match kind {
        "json" => Ok((Format::Json, path.into())),
        "markdown" => Ok((Format::Markdown, path.into())),
        other => Err(format!("unknown kind `{other}`; kinds: json, markdown")),
    }
}

fn show(report: &GateReport, args: &Args, ui: &Ui) -> Result<()> {
    for (format, path) in &args.reports {
        files::write(path, rendered(report, *format)?.as_bytes())?;
    }
    if let Some(format) = args.format {
        ui.artefact(&rendered(report, format)?);
    }
    ui.event(
        "gate",
        json!({"decision": report.decision, "reason": report.reason, "exit": report.exit, "summary": report.summary, "counts": report.counts}),
    );
    if args.format != Some(Format::Text) {
        text::lines(report).into_iter().for_each(|(weight, line)| ui.line(ui.paint(&line, tone(weight))));
    }
    Ok(())
}

fn rendered(report: &GateReport, format: Format) -> Result<String> {
    Ok(match format {
        Format::Text => text::lines(report).into_iter().map(|(_, line)| line + "\n").collect(),
        Format::Markdown => markdown::write(report, limits::GITHUB_TEXT_BYTES)?,
        Format::Json => serde_json::to_string_pretty(report).map_err(|error| Error::internal("write the report").because(error))? + "\n",
    })
}

fn tone(weight: text::Weight) -> Tone {
    match weight {
        text::Weight::Good => Tone::Good,
        text::Weight::Bad => Tone::Bad,
        text::Weight::Doubtful => Tone::Doubtful,
        text::Weight::Plain => Tone::Faint,
    }
}
