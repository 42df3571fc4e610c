//! `seatrial evidence verify`: one reference, or many pointers, against a policy.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::ValueEnum;
use serde_json::json;

use crate::checks;
use crate::cli::registry::RegistryArgs;
use crate::cli::{Cx, evidence_aicr};
use crate::error::{Context, Error, Result};
use crate::evidence::PublicKey;
use crate::exit::Exit;
use crate::policy::{Policy, form};
use crate::pull::Cache;
use crate::reason::Reason;
use crate::ui::{Tone, Ui, printable};
use crate::verify::{self, Expected, Request, Status, VerifyReport, VerifyReportList, Word, many, markdown};
use crate::{files, limits, trust};

/// The policy of a repository, where `seatrial` looks for one to name it. It is never used without being named.
const USUAL_POLICY: &str = "evidence/policy.yaml";

/// Verify evidence and its signatures, stage by stage.
///
/// Nothing of the evidence is trusted before a signature that the policy, the key or the identity accepts was verified; what lies
/// on this machine is verified without any network. Given a directory of pointers, or several references, all are verified side by side, and the highest exit
/// code counts.
/// Exit codes: 0 verified, 1 the evidence records failures, 3 it is inconclusive, 10 unsigned, 11 the policy does not accept it, 12 too old
/// or the recipe has moved on, 13 declared checks are missing, 20 wrong signature, 21 changed, 22 not what it claims to be.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  seatrial evidence verify evidence/ --policy evidence/policy.yaml\n  seatrial evidence verify out/bundle --key seatrial.pub --explain\n  seatrial evidence verify oci://ghcr.io/example/evidence@sha256:… --certificate-identity alice@example.com --certificate-oidc-issuer https://accounts.google.com"
)]
pub(super) struct Verify {
    /// Pointer files, directories of pointers, oci://host/repository@sha256:…, a bundle's directory, or an OCI layout as directory or tar file.
    #[arg(value_name = "POINTER|oci://REF|DIR|TAR", required = true)]
    inputs: Vec<String>,
    #[command(flatten)]
    signers: Signers,
    /// The trusted root of a private Sigstore, beside the public-good instance's. Repeatable.
    #[arg(long = "trusted-root", value_name = "FILE", env = "SEATRIAL_TRUSTED_ROOT")]
    trusted_roots: Vec<PathBuf>,
    /// The recipe of today, by name or file: the evidence must still be about what it asks for.
    #[arg(short, long, value_name = "NAME|FILE")]
    recipe: Option<String>,
    /// Say what each stage covers, and what is not proven.
    #[arg(long)]
    explain: bool,
    /// Fetch every file from the registry, and keep none on disk.
    #[arg(long, env = "SEATRIAL_NO_CACHE")]
    no_cache: bool,
    #[command(flatten)]
    registry: RegistryArgs,
    /// Write the report to standard output in this format.
    #[arg(short = 't', long, value_enum)]
    format: Option<Format>,
    /// Write the report to this file (as JSON, unless --format says otherwise).
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Who must have signed.
#[derive(Debug, clap::Args)]
struct Signers {
    /// The policy: who may sign for what, how old and how complete it must be.
    #[arg(long, env = "SEATRIAL_POLICY", value_name = "FILE", conflicts_with_all = ["key", "identity", "identity_regexp", "integrity_only"])]
    policy: Option<PathBuf>,
    /// The public key of the expected signer, in PEM form.
    #[arg(long, env = "SEATRIAL_PUBLIC_KEY", value_name = "PUB", conflicts_with_all = ["identity", "identity_regexp"])]
    key: Option<PathBuf>,
    /// The subject of the expected signer's certificate: an e-mail address, a workflow, a SPIFFE id.
    #[arg(long = "certificate-identity", value_name = "NAME", conflicts_with = "identity_regexp")]
    identity: Option<String>,
    /// The same as a regular expression, which must match the whole subject.
    #[arg(long = "certificate-identity-regexp", value_name = "REGEX")]
    identity_regexp: Option<String>,
    /// Who vouches for the subject.
    #[arg(long = "certificate-oidc-issuer", value_name = "URL", conflicts_with = "issuer_regexp")]
    issuer: Option<String>,
    /// The same as a regular expression, which must match the whole issuer.
    #[arg(long = "certificate-oidc-issuer-regexp", value_name = "REGEX")]
    issuer_regexp: Option<String>,
    /// Look at integrity only, for whom no signer is known: nothing comes out as verified.
    #[arg(long, conflicts_with_all = ["key", "identity", "identity_regexp"])]
    integrity_only: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    Text,
    /// For programs.
    Json,
    /// For pull requests.
    Markdown,
}

/// What came of it: one report, or many.
enum Outcome {
    One(Box<VerifyReport>),
    Many(VerifyReportList),
}

impl Signers {
    fn expected(&self) -> Result<Expected> {
        if let Some(path) = &self.policy {
            return Ok(Expected::Policy(Arc::new(Policy::read(path)?)));
        }
        if let Some(path) = &self.key {
            let text = files::read_text(path, limits::DOCUMENT_BYTES).context("read the public key")?;
            return Ok(Expected::key(PublicKey::from_pem(&text).with_context(|| format!("read the public key {}", path.display()))?));
        }
        if self.integrity_only {
            return Ok(Expected::IntegrityOnly);
        }
        let named = [&self.identity, &self.identity_regexp, &self.issuer, &self.issuer_regexp];
        if named.iter().all(|flag| flag.is_none()) {
            let error = Error::usage("it is not said who must have signed");
            return Err(if Path::new(USUAL_POLICY).exists() {
                error.hint(format!("{USUAL_POLICY} is there; it is used if you name it: --policy {USUAL_POLICY}"))
            } else {
                error.hint("pass --policy, --key, or --certificate-identity with --certificate-oidc-issuer")
            });
        }
        let identity = form::of_flags("certificate-identity", self.identity.as_deref(), self.identity_regexp.as_deref())?;
        let issuer = form::of_flags("certificate-oidc-issuer", self.issuer.as_deref(), self.issuer_regexp.as_deref())?;
        Ok(Expected::Policy(Arc::new(Policy::of_identity(identity, issuer))))
    }
}

pub(super) async fn exec(args: Verify, cx: &Cx) -> Result<Exit> {
    let root = trust::Root::with_files(&args.trusted_roots)?;
    if let [input] = args.inputs.as_slice()
        && let Some(exit) = evidence_aicr::verify(Path::new(input), &root, &cx.ui)?
    {
        return Ok(exit);
    }
    let expected = args.signers.expected()?;
    let recipe = match &args.recipe {
        Some(recipe) => Some(Arc::new(cx.read_recipe(recipe).await?.recipe)),
        None => None,
    };
    let checks: Arc<BTreeMap<String, u32>> = Arc::new(checks::ALL.iter().map(|check| (check.id.to_owned(), check.version)).collect());
    let registry = args.registry.options_shown(&cx.ui, "the registry to give the evidence");
    let cache = if args.no_cache { Cache::default() } else { Cache::of_user() };
    let request = |input: String| Request {
        root: root.clone(),
        cache: cache.clone(),
        recipe: recipe.clone(),
        checks: recipe.as_ref().map(|_| checks.clone()),
        explain: args.explain,
        ..Request::new(input, expected.clone(), registry.clone())
    };
    let mut inputs = Vec::new();
    let mut is_list = args.inputs.len() > 1;
    for input in &args.inputs {
        match many::pointers_below(Path::new(input))? {
            Some(pointers) => {
                is_list = true;
                inputs.extend(pointers.iter().map(|path| path.display().to_string()));
            }
            None => inputs.push(input.clone()),
        }
    }
    let outcome = match <[String; 1]>::try_from(inputs) {
        Ok([input]) if !is_list => Outcome::One(Box::new(verify::verify(request(input)).await.report)),
        Ok(inputs) => Outcome::Many(many::verify_all(inputs.into_iter().map(request).collect()).await),
        Err(inputs) => Outcome::Many(many::verify_all(inputs.into_iter().map(request).collect()).await),
    };
    cx.ui.clear_live();
    cache.remarks().iter().for_each(|remark| cx.ui.warn(remark));
    outcome.show(&args, &cx.ui)
}

impl Outcome {
    fn show(&self, args: &Verify, ui: &Ui) -> Result<Exit> {
        let plain = |text: &str, _: Tone| text.to_owned();
        let rendered = match (args.format, self) {
            (Some(Format::Text), _) => self.lines(args.explain, plain).join("\n") + "\n",
            (Some(Format::Markdown), Self::One(report)) => markdown::write(report)?,
            (Some(Format::Markdown), Self::Many(list)) => markdown::write_list(list)?,
            (_, Self::One(report)) => to_json(report)?,
            (_, Self::Many(list)) => to_json(list)?,
        };
        match &args.output {
            Some(path) => files::write(path, rendered.as_bytes())?,
            None if args.format.is_some() => ui.artefact(&rendered),
            None => {}
        }
        if let Self::One(report) = self {
            for stage in &report.stages {
                ui.event("stage", json!({"name": stage.name, "status": stage.status, "found": stage.found, "reasons": stage.reasons}));
            }
        }
        self.outputs(args, ui)?;
        for report in self.reports() {
            let verdict = json!({"input": report.input, "verdict": report.verdict, "reason": report.reason, "exit": report.exit,
                "summary": report.summary});
            ui.event("verification", verdict);
        }
        // The text is for people; where it was asked for as the artefact, once is enough.
        if args.output.is_some() || args.format != Some(Format::Text) {
            self.lines(args.explain, |text, tone| ui.paint(text, tone)).iter().for_each(|line| ui.line(line));
        }
        Ok(match self {
            Self::One(report) => Exit::ALL.iter().copied().find(|exit| exit.code() == report.exit).unwrap_or(Exit::Inconclusive),
            Self::Many(list) => list.exit(),
        })
    }

    /// Sets the outputs of a step of GitHub's: those of the report that decides.
    fn outputs(&self, args: &Verify, ui: &Ui) -> Result<()> {
        let Some(report) = self.reports().iter().max_by_key(|report| report.exit) else { return Ok(()) };
        let exit = Exit::ALL.iter().copied().find(|exit| exit.code() == report.exit).unwrap_or(Exit::Inconclusive);
        let verified = report.verified.as_ref();
        let scope = verified.map(|facts| format!("{}, {} hardware", facts.evidence.scope.word(), facts.evidence.hardware.word()));
        let digest = verified.map(|facts| facts.digest.to_string());
        let file = args.output.as_ref().map(|path| path.display().to_string());
        let reason = report.reason.map_or(exit.name(), Reason::id);
        ui.outputs(&[("verdict", exit.name()), ("reason", reason), ("scope", &scope.unwrap_or_default())])?;
        ui.outputs(&[("digest", &digest.unwrap_or_default()), ("report", &file.unwrap_or_default())])
    }

    fn reports(&self) -> &[VerifyReport] {
        match self {
            Self::One(report) => std::slice::from_ref(report),
            Self::Many(list) => &list.reports,
        }
    }

    fn lines(&self, explain: bool, paint: impl Fn(&str, Tone) -> String) -> Vec<String> {
        match self {
            Self::One(report) => one(report, explain, paint),
            Self::Many(list) => table(list, paint),
        }
    }
}

fn to_json<T: serde::Serialize>(report: &T) -> Result<String> {
    Ok(serde_json::to_string_pretty(report).map_err(|error| Error::internal("write the report").because(error))? + "\n")
}

/// A report for people: one aligned line per stage, then what it comes to.
fn one(report: &VerifyReport, explain: bool, paint: impl Fn(&str, Tone) -> String) -> Vec<String> {
    let mut lines = vec![format!("{} {}", paint("seatrial evidence verify", Tone::Strong), printable(&report.input)), String::new()];
    for stage in &report.stages {
        let tone = match stage.status {
            Status::Ok => Tone::Good,
            Status::Warning => Tone::Doubtful,
            Status::Failed => Tone::Bad,
            Status::NotRun => Tone::Faint,
        };
        lines.push(format!("  {:<10}{} {}", stage.name, paint(&format!("{:<8}", stage.status.word()), tone), stage.found));
        lines.extend(stage.covers.iter().map(|covers| format!("  {:<19}{}", "", paint(&format!("covers: {covers}"), Tone::Faint))));
    }
    for signature in report.signatures.iter().filter(|signature| !signature.counts) {
        let why: Vec<&str> = signature.reasons.iter().map(|said| said.reason.id()).collect();
        lines.push(format!("  {} {}: {}", paint("does not count:", Tone::Doubtful), printable(&signature.by.to_string()), why.join(", ")));
    }
    lines.push(String::new());
    let tone = if report.verdict == Word::Verified { Tone::Good } else { Tone::Bad };
    let (word, rest) = report.summary.split_once(':').unwrap_or((&report.summary, ""));
    lines.push(format!("  {}:{rest}     exit {}", paint(word, tone), report.exit));
    lines.extend(report.hints.iter().map(|hint| format!("  {} {hint}", paint("hint:", Tone::Strong))));
    if explain {
        lines.push(String::new());
        lines.push(format!("  {}", paint("not proven:", Tone::Strong)));
        lines.extend(report.not_proven.iter().map(|open| format!("  - {open}")));
    }
    lines
}

/// Many reports for people: a line for each, then what they come to.
fn table(list: &VerifyReportList, paint: impl Fn(&str, Tone) -> String) -> Vec<String> {
    let width = |text: fn(&VerifyReport) -> usize| list.reports.iter().map(text).max().unwrap_or_default();
    let (recipes, reasons) = (width(|report| report.recipe().unwrap_or_default().len()), width(|report| id(report).len()));
    let mut lines: Vec<String> = list
        .reports
        .iter()
        .map(|report| {
            let tone = if report.verdict == Word::Verified { Tone::Good } else { Tone::Bad };
            let word = paint(&format!("{:<10}", report.verdict.word()), tone);
            let recipe = printable(report.recipe().unwrap_or_default());
            format!("  {word} {:>3}  {:<reasons$}  {recipe:<recipes$}  {}", report.exit, id(report), printable(&report.input))
        })
        .collect();
    lines.push(String::new());
    lines.push(format!("  {} of {} verified     exit {}", list.verified, list.reports.len(), list.exit));
    lines
}

fn id(report: &VerifyReport) -> &'static str {
    report.reason.map_or("", Reason::id)
}
