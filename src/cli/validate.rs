//! `seatrial validate`: does a cluster, or a snapshot of one, meet a recipe?

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::ValueEnum;

use crate::cli::node_facts::Asked;
use crate::cli::pods::PodArgs;
use crate::cli::publishing::PublishArgs;
use crate::cli::trial::{Conduct, Trial, header};
use crate::cli::{Cx, parse, reports, snapshot as cli_snapshot, without_cluster};
use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::plan;
use crate::recipe::LoadedRecipe;
use crate::results::Report;
use crate::snapshot::{self, Snapshot};
use crate::source::{self, Artefact, Source};
use crate::steps::{Inputs, Picked, collect};
use crate::workflow::Loaded;
use crate::{cncf, files, limits, progress};

/// Validate a cluster against a recipe: readiness constraints, then deployment, conformance and performance checks.
///
/// Readiness constraints are judged first, by a snapshot taken now or given with --snapshot; if one does not hold, nothing is created. Checks that create workloads
/// run only with --behavioral-tests; without it the scope is `structural`. The report (CTRF) goes to stdout or --output, also after a failure, a timeout or an
/// interrupt. Exit codes: 0 everything in scope was seen to hold, 1 something was seen to be wrong, 2 invalid input, 3 could not tell, 4 permissions are missing, 130 interrupted.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  seatrial validate -r h100-eks-training -s snapshot.yaml --no-cluster\n  seatrial validate -r recipe.yaml --phase conformance --behavioral-tests\n  seatrial validate -r cm://gpu-operator/recipe -o report.json --report junit=junit.xml"
)]
pub struct Args {
    /// The recipe: the name of a shipped one, a file, `-`, https://… or cm://NAMESPACE/NAME; without it, the shipped one that the cluster fits.
    #[arg(short, long, env = "SEATRIAL_RECIPE", value_name = "NAME|SOURCE")]
    recipe: Option<String>,
    /// Judge constraints by this snapshot instead of taking one: a file, `-`, https://… or cm://NAMESPACE/NAME.
    #[arg(short, long, env = "SEATRIAL_SNAPSHOT", value_name = "SOURCE", value_parser = source::argument)]
    snapshot: Option<Source>,
    /// Only this phase. Repeatable; otherwise all that the recipe declares. Readiness constraints are judged in any case.
    #[arg(long = "phase", value_enum, value_name = "PHASE", value_delimiter = ',')]
    phases: Vec<PhaseArg>,
    /// Only this check. Repeatable; the others are in the report as skipped by request.
    #[arg(long = "check", value_name = "ID", value_delimiter = ',')]
    checks: Vec<String>,
    /// All but this check. Repeatable; it is in the report as skipped by request.
    #[arg(long = "skip-check", value_name = "ID", value_delimiter = ',')]
    skip_checks: Vec<String>,
    /// Also run checks that create workloads.
    #[arg(long, env = "SEATRIAL_BEHAVIORAL_TESTS", conflicts_with = "no_cluster")]
    behavioral_tests: bool,
    /// Make no API call at all: judge the constraints by --snapshot and say what is therefore not shown.
    #[arg(long, requires = "snapshot", conflicts_with = "push")]
    no_cluster: bool,
    /// Stop after the first phase that fails.
    #[arg(long)]
    fail_fast: bool,
    /// End with 0 whatever the verdict; the report still says what it was. The same as --fail-on-error=false.
    #[arg(long)]
    report_only: bool,
    /// `false` is the same as --report-only.
    #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set, hide = true)]
    fail_on_error: bool,
    /// The namespace for what we create; otherwise one of our own is made and removed.
    #[arg(short, long, env = "SEATRIAL_NAMESPACE", value_name = "NAME", value_parser = parse::namespace)]
    namespace: Option<String>,
    #[command(flatten)]
    asked: Asked,
    #[command(flatten)]
    pods: PodArgs,
    /// The most GPUs that may be held at once; what wants more is skipped, by request.
    #[arg(long, value_name = "N", env = "SEATRIAL_MAX_GPUS")]
    max_gpus: Option<u32>,
    /// The most that it may take as a whole, e.g. 30m; what has not ended by then could not be told.
    #[arg(long, value_name = "TIME", env = "SEATRIAL_TIMEOUT", value_parser = duration)]
    timeout: Option<Duration>,
    /// Refuse a plan whose worst case is longer than this many minutes.
    #[arg(long, value_name = "MINUTES", env = "SEATRIAL_BUDGET")]
    budget: Option<u64>,
    /// How many seconds to wait for the cluster to settle before deployment is judged.
    #[arg(long, value_name = "SECONDS", default_value_t = 60, env = "SEATRIAL_SETTLE")]
    settle: u64,
    /// Leave what a check that did not pass created, for a look at it; `seatrial cleanup` removes it.
    #[arg(long)]
    no_cleanup: bool,
    /// Where the report goes: a file, `-`, or cm://NAMESPACE/NAME.
    #[arg(short, long, value_name = "TARGET", value_parser = source::target)]
    output: Option<Source>,
    /// The form of the report.
    #[arg(short = 't', long, value_enum, value_name = "FORMAT")]
    format: Option<Format>,
    /// Another report, e.g. junit=junit.xml; kinds: ctrf, junit, json, markdown. Repeatable.
    #[arg(long = "report", value_name = "KIND=FILE", value_parser = reports::parse)]
    reports: Vec<reports::Wanted>,
    /// The run directory, with everything that was seen; none is kept otherwise.
    #[arg(long, value_name = "DIR", env = "SEATRIAL_OUT")]
    out: Option<PathBuf>,
    /// Write the evidence bundle into this directory.
    #[arg(long, value_name = "DIR", conflicts_with = "no_cluster")]
    emit_attestation: Option<PathBuf>,
    /// Write a page per CNCF AI conformance requirement that a check of this run answers, and an index, into this directory.
    #[arg(long, value_name = "DIR")]
    evidence_dir: Option<PathBuf>,
    /// Only pages about this CNCF feature, e.g. dra-support. Repeatable.
    #[arg(short, long = "feature", value_name = "FEATURE", requires = "evidence_dir", value_delimiter = ',')]
    features: Vec<String>,
    /// Refused in this version: the submission needs product data that --evidence-dir does not.
    #[arg(long, hide = true)]
    cncf_submission: bool,
    #[command(flatten)]
    publish: PublishArgs,
    /// Do not ask before running on a cluster that is not simulated, nor before publishing the name with which somebody logs in to sign.
    #[arg(short, long, env = "SEATRIAL_YES")]
    yes: bool,
    /// Do not ask the API server and the registry beforehand what we may do.
    #[arg(long)]
    skip_preflight: bool,
    /// How many seconds the run's Lease lives without being renewed.
    #[arg(long, value_name = "SECONDS", default_value_t = limits::LEASE.as_secs(), hide = true)]
    lease_seconds: u64,
}

/// A group of checks, or all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
enum PhaseArg {
    /// The recipe's constraints, by the snapshot.
    Readiness,
    /// What is installed.
    Deployment,
    /// What the cluster can do.
    Conformance,
    /// How fast it is.
    Performance,
    /// All that the recipe declares.
    All,
}

/// The form of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// CTRF, one document about everything.
    Ctrf,
    /// The results document.
    Json,
    /// JUnit XML.
    Junit,
    /// Markdown.
    Markdown,
}

/// Reads `90s`, `5m`, `1h30m`.
fn duration(text: &str) -> std::result::Result<Duration, String> {
    let parsed: jiff::SignedDuration = text.parse().map_err(|_| "a time is written as 90s, 5m or 1h30m".to_owned())?;
    match Duration::try_from(parsed) {
        Ok(duration) if !duration.is_zero() => Ok(duration),
        _ => Err("the time must be more than nothing".to_owned()),
    }
}

pub(crate) async fn exec(args: Args, cx: Cx) -> Result<Exit> {
    args.publish.check_key(args.yes, &cx.ui)?;
    args.check_offline()?;
    args.check_pages()?;
    if let Some(folder) = &args.emit_attestation {
        collect::empty_or_absent(folder)?;
    }
    let recipe_input = args.recipe.as_deref().filter(|recipe| *recipe == "-").map(|_| Source::Stdio);
    source::one_standard_input(&[("--recipe", recipe_input.as_ref()), ("--snapshot", args.snapshot.as_ref())])?;
    args.check_targets(&cx).await?;
    let named = match &args.recipe {
        Some(recipe) => Some(cx.read_recipe(recipe).await?),
        None => None,
    };
    let given = match &args.snapshot {
        Some(source) => Some(cli_snapshot::read(source, &cx).await?),
        None => None,
    };
    let report = if args.no_cluster {
        let recipe = match named {
            Some(recipe) => recipe,
            None => {
                let given = given.as_ref().ok_or_else(|| Error::internal("--no-cluster without --snapshot"))?;
                cx.global.catalog()?.fitting(given)?
            }
        };
        let report = without_cluster::run(args.inputs(recipe, given)?, &cx)?;
        reports::write_wanted(&report, &args.reports)?;
        report
    } else {
        args.on_cluster(named, given, &cx).await?
    };
    args.tell(&report, &cx).await
}

impl Args {
    /// Without a cluster nothing may be read from one.
    fn check_offline(&self) -> Result<()> {
        let in_cluster = |source: &str| self.no_cluster && source.starts_with("cm://");
        let sources = [self.recipe.clone(), self.snapshot.as_ref().map(ToString::to_string), self.output.as_ref().map(ToString::to_string)];
        match sources.into_iter().flatten().find(|source| in_cluster(source)) {
            Some(source) => Err(Error::usage(format!("--no-cluster makes no API call, and {source} needs one")).hint("give a file")),
            None => Ok(()),
        }
    }

    /// What is to be written can be, as far as that can be told now, and nothing is written over something else of this command.
    async fn check_targets(&self, cx: &Cx) -> Result<()> {
        let output = match &self.output {
            Some(Source::File(path)) => Some(("--output".to_owned(), path.as_path())),
            _ => None,
        };
        let reports = self.reports.iter().map(|wanted| (format!("--report {wanted}"), wanted.path()));
        reports::distinct(output.into_iter().chain(reports))?;
        for folder in [&self.emit_attestation, &self.evidence_dir].into_iter().flatten() {
            files::can_write_into(folder)?;
        }
        reports::ready(&self.reports)?;
        match &self.output {
            Some(output) => output.ready(self.artefact(""), &cx.global.target()).await,
            None => Ok(()),
        }
    }

    /// The report, as a document.
    fn artefact<'a>(&self, text: &'a str) -> Artefact<'a> {
        let format = match self.format.unwrap_or(Format::Ctrf) {
            Format::Ctrf | Format::Json => "json",
            Format::Junit => "xml",
            Format::Markdown => "md",
        };
        Artefact { text, stem: "report", format }
    }

    /// Pages that hold back a requirement would say less than they seem to.
    fn check_pages(&self) -> Result<()> {
        if self.asked.wanted() && self.snapshot.is_some() {
            return Err(Error::usage("--node-facts asks the nodes now, and --snapshot says what was there earlier: give one of them"));
        }
        if self.cncf_submission {
            return Err(Error::usage("this version cannot write a CNCF submission")
                .hint("--evidence-dir DIR writes the pages about each requirement, from the same results"));
        }
        if self.evidence_dir.is_some() && !(self.skip_checks.is_empty() && self.checks.is_empty()) {
            return Err(Error::usage(
                "--evidence-dir cannot be combined with --check or --skip-check: pages would not show what was left out",
            )
            .hint("--feature chooses among the pages"));
        }
        cncf::find(&self.features).map(|_| ())
    }

    async fn on_cluster(&self, named: Option<LoadedRecipe>, given: Option<Snapshot>, cx: &Cx) -> Result<Report> {
        let (cluster, look) = cx.global.look(&cx.ui).await?;
        if let Some(given) = &given {
            snapshot::same_cluster(given, &look)?;
        }
        let recipe = match named {
            Some(recipe) => recipe,
            None => cx.global.catalog()?.fitting(&look)?,
        };
        let inputs = self.inputs(recipe, given)?;
        let plan = plan::make(&inputs, Some(look.gpus()))?;
        if let Some(budget) = self.budget {
            plan.check_budget(Duration::from_secs(budget.saturating_mul(60)))?;
        }
        let temporary = tempfile::tempdir().map_err(|error| Error::internal("make a directory for the run").because(error))?;
        let header = header(&inputs, &look)?;
        let trial = Trial {
            title: format!("validate {}", inputs.recipe.recipe.metadata.name),
            out: self.out.clone().unwrap_or_else(|| temporary.path().to_owned()),
            inputs,
            plan,
            header,
            earlier: None,
            conduct: Conduct {
                namespace: self.namespace.clone(),
                lease: Duration::from_secs(self.lease_seconds.max(1)),
                limit: self.timeout,
                fail_fast: self.fail_fast,
                yes: self.yes,
                skip_preflight: self.skip_preflight,
                no_cleanup: self.no_cleanup,
            },
        };
        trial.go(cx, &cluster, &look, &self.reports).await
    }

    fn inputs(&self, recipe: LoadedRecipe, given: Option<Snapshot>) -> Result<Inputs> {
        if self.evidence_dir.is_some() {
            cncf::answered(recipe.recipe.spec.checks.all().map(String::as_str), &cncf::find(&self.features)?)?;
        }
        let picked = Picked::new(&self.checks, &self.skip_checks, &recipe)?;
        let workflow = Loaded::of_steps("validate", &self.steps(&recipe)?);
        Ok(Inputs {
            behavioral: self.behavioral_tests,
            max_gpus: self.max_gpus,
            picked,
            pods: self.pods.options()?,
            node_facts: self.asked.options(self.pods.options()?)?,
            given,
            settle: Duration::from_secs(self.settle),
            publishing: self.publish.publishing(self.emit_attestation.clone(), self.yes)?,
            ..Inputs::new(workflow, recipe)
        })
    }

    /// The steps in which the wanted phases are judged. A phase that was asked for and is empty is refused: it would show nothing.
    fn steps(&self, recipe: &LoadedRecipe) -> Result<Vec<&'static str>> {
        let spec = &recipe.recipe.spec;
        let declares = |phase: PhaseArg| match phase {
            PhaseArg::Readiness => !spec.constraints.is_empty(),
            PhaseArg::Deployment => !(spec.expect.is_empty() && recipe.health.is_empty() && spec.checks.deployment.is_empty()),
            PhaseArg::Conformance => !spec.checks.conformance.is_empty(),
            PhaseArg::Performance => !spec.checks.performance.is_empty(),
            PhaseArg::All => true,
        };
        let every = [PhaseArg::Readiness, PhaseArg::Deployment, PhaseArg::Conformance, PhaseArg::Performance];
        let declared: Vec<PhaseArg> = every.into_iter().filter(|phase| declares(*phase)).collect();
        let words = |phases: &[PhaseArg]| phases.iter().map(|phase| format!("{phase:?}").to_lowercase()).collect::<Vec<_>>().join(", ");
        let name = &recipe.recipe.metadata.name;
        if let Some(empty) = self.phases.iter().find(|phase| !declares(**phase)) {
            return Err(Error::usage(format!("--phase {}: recipe {name} declares nothing in this phase", words(&[*empty])))
                .hint(format!("it declares: {}", words(&declared))));
        }
        let wanted = |phase| {
            let all = self.phases.is_empty() || self.phases.contains(&PhaseArg::All);
            if all { declared.contains(&phase) } else { self.phases.contains(&phase) }
        };
        let (deployment, performance) = (wanted(PhaseArg::Deployment), wanted(PhaseArg::Performance));
        let steps = [
            ("snapshot", true),
            // What performance checks use must be there.
            ("inventory", deployment || performance),
            ("setup", deployment),
            ("health", deployment),
            ("conformance", wanted(PhaseArg::Conformance)),
            ("intent", performance),
            ("collect", self.emit_attestation.is_some() || self.publish.push.is_some()),
        ];
        Ok(steps.into_iter().filter(|(_, wanted)| *wanted).map(|(id, _)| id).collect())
    }

    /// Writes the report where it is wanted and says how it ended: also where it could not be written.
    async fn tell(&self, report: &Report, cx: &Cx) -> Result<Exit> {
        let exit = report.exit();
        // On a terminal the summary says it; the document is for programs, unless asked for.
        let shown = self.output.is_some() || self.format.is_some() || !std::io::stdout().is_terminal();
        let written = self.write(report, shown, cx).await;
        let place = match (&written, &self.output, &self.out) {
            (Err(_), ..) => "not written".to_owned(),
            (Ok(()), Some(output), _) => output.to_string(),
            (Ok(()), None, Some(out)) => out.join("report.md").display().to_string(),
            (Ok(()), None, None) if shown => "on stdout".to_owned(),
            (Ok(()), None, None) => "not kept: --output FILE keeps it".to_owned(),
        };
        progress::end(&cx.ui, report, exit, Path::new(&place));
        let exit = match exit {
            Exit::Failed | Exit::Inconclusive if self.report_only || !self.fail_on_error => Exit::Ok,
            exit => exit,
        };
        match written {
            Err(error) if exit == Exit::Ok => Err(error),
            Err(error) => {
                cx.ui.error(&error);
                Ok(exit)
            }
            Ok(()) => Ok(exit),
        }
    }

    async fn write(&self, report: &Report, shown: bool, cx: &Cx) -> Result<()> {
        if let Some(folder) = &self.evidence_dir {
            for (name, page) in cncf::pages(report, &cncf::find(&self.features)?)? {
                files::write(&folder.join(name), page.as_bytes())?;
            }
        }
        if !shown {
            return Ok(());
        }
        let text = match self.format.unwrap_or(Format::Ctrf) {
            Format::Ctrf => reports::whole(report)?,
            Format::Json => reports::text(reports::Kind::Json, report)?,
            Format::Junit => reports::text(reports::Kind::Junit, report)?,
            Format::Markdown => reports::text(reports::Kind::Markdown, report)?,
        };
        let target = self.output.as_ref().unwrap_or(&Source::Stdio);
        target.write(self.artefact(&text), &cx.global.target(), &cx.ui).await
    }
}
