//! `seatrial evidence diff`: what differs between two bundles.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::cli::Format;
use crate::cli::evidence_show::{number, word};
use crate::cli::registry::RegistryArgs;
use crate::error::{Error, Result};
use crate::evidence::model::CheckRecord;
use crate::evidence::{Evidence, RECIPE, SNAPSHOT};
use crate::exit::Exit;
use crate::snapshot::Snapshot;
use crate::snapshot::diff::{self, Drift};
use crate::ui::{Ui, printable};
use crate::verify::{self, Opened};

/// Say what differs between two bundles: verdicts, numbers, recipe, snapshot. Nothing of them is verified.
///
/// Pseudonyms of two runs are never the same, so that nodes of redacted snapshots are compared only as far as they can be told apart.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The earlier bundle: a directory, a pointer file, oci://host/repository@sha256:…, or an OCI layout as directory or tar file.
    #[arg(value_name = "BEFORE")]
    before: String,
    /// The later bundle.
    #[arg(value_name = "AFTER")]
    after: String,
    #[command(flatten)]
    registry: RegistryArgs,
    /// Exit with 1 if a verdict changed.
    #[arg(long)]
    fail_on_change: bool,
    /// The form of the answer.
    #[arg(short = 't', long, value_enum, default_value = "text")]
    format: Format,
}

/// What differs between two bundles.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Differences {
    /// Facts of the run as a whole.
    facts: Vec<Differing>,
    /// Checks whose verdict is another, or that only one has.
    verdicts: Vec<Differing>,
    /// Numbers that are others.
    numbers: Vec<Differing>,
    /// The snapshots, by path.
    snapshot: Drift,
    /// Lines of the recipe that only one has, `- ` and `+ `.
    recipe: Vec<String>,
}

/// Something that is another in the second bundle.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Differing {
    name: String,
    before: Option<String>,
    after: Option<String>,
}

pub(crate) async fn exec(args: Args, ui: &Ui) -> Result<Exit> {
    let registry = args.registry.options();
    let (before, after) = (verify::open(&args.before, &registry).await?, verify::open(&args.after, &registry).await?);
    let found = differences(&before, &after)?;
    let text = match args.format {
        Format::Json => serde_json::to_string_pretty(&found).map_err(|error| Error::internal("write the differences").because(error))?,
        Format::Text => lines(&found).join("\n"),
    };
    ui.artefact(&text);
    Ok(if args.fail_on_change && !found.verdicts.is_empty() { Exit::Failed } else { Exit::Ok })
}

fn differences(before: &Opened, after: &Opened) -> Result<Differences> {
    let (a, b) = (before.contents.evidence()?, after.contents.evidence()?);
    let verdicts = |evidence: &Evidence| by_check(evidence, |check| vec![(check.id.clone(), word(check.verdict))]);
    let numbers = |evidence: &Evidence| {
        by_check(evidence, |check| check.measurements.iter().map(|one| (format!("{} {}", check.id, one.metric), number(one))).collect())
    };
    let snapshot = match (snapshot(before)?, snapshot(after)?) {
        (Some(a), Some(b)) => diff::diff(&a, &b)?,
        _ => Drift::default(),
    };
    Ok(Differences {
        facts: compare(&facts(&a), &facts(&b)),
        verdicts: compare(&verdicts(&a), &verdicts(&b)),
        numbers: compare(&numbers(&a), &numbers(&b)),
        snapshot,
        recipe: changed_lines(&text(before, RECIPE), &text(after, RECIPE)),
    })
}

fn by_check(evidence: &Evidence, of: impl Fn(&CheckRecord) -> Vec<(String, String)>) -> BTreeMap<String, String> {
    evidence.checks.iter().flat_map(of).collect()
}

fn facts(evidence: &Evidence) -> BTreeMap<String, String> {
    let unsaid = |text: &Option<String>| text.clone().unwrap_or_else(|| "not said".to_owned());
    let facts = [
        ("result", evidence.exit().name().to_owned()),
        ("recipe", format!("{} {}", evidence.recipe.name, evidence.recipe.digest)),
        ("workflow", format!("{} {}", evidence.workflow.name, evidence.workflow.digest)),
        ("scope", evidence.scope.word().to_owned()),
        ("hardware", evidence.hardware.word().to_owned()),
        ("cluster", unsaid(&evidence.cluster.id)),
        ("kubernetes", unsaid(&evidence.cluster.version)),
        ("tool", format!("{} {}", evidence.tool.name, evidence.tool.version)),
        ("redaction", evidence.redaction.policy.clone()),
    ];
    facts.into_iter().map(|(name, text)| (name.to_owned(), text)).collect()
}

fn compare(a: &BTreeMap<String, String>, b: &BTreeMap<String, String>) -> Vec<Differing> {
    let names: std::collections::BTreeSet<&String> = a.keys().chain(b.keys()).collect();
    let of = |name: &String| Differing { name: name.clone(), before: a.get(name).cloned(), after: b.get(name).cloned() };
    names.into_iter().map(of).filter(|one| one.before != one.after).collect()
}

fn snapshot(opened: &Opened) -> Result<Option<Snapshot>> {
    let Some(bytes) = opened.contents.documents().get(SNAPSHOT) else { return Ok(None) };
    serde_json::from_slice(bytes)
        .map(Some)
        .map_err(|error| Error::new(crate::error::Kind::Schema, format!("read {SNAPSHOT}")).because(error))
}

fn text(opened: &Opened, path: &str) -> String {
    opened.contents.documents().get(path).map(|bytes| String::from_utf8_lossy(bytes).into_owned()).unwrap_or_default()
}

/// Lines that only one of two texts has; recipes are written in one order, so that moving is no change.
fn changed_lines(before: &str, after: &str) -> Vec<String> {
    let only = |of: &str, than: &str, mark: char| -> Vec<String> {
        let mut left: BTreeMap<String, usize> = BTreeMap::new();
        than.lines().for_each(|line| *left.entry(line.to_owned()).or_default() += 1);
        let new = |line: &&str| left.get_mut(*line).filter(|count| **count > 0).map(|count| *count -= 1).is_none();
        of.lines().filter(new).map(|line| format!("{mark} {line}")).collect()
    };
    [only(before, after, '-'), only(after, before, '+')].concat()
}

fn lines(found: &Differences) -> Vec<String> {
    let mut lines = Vec::new();
    let mut section = |title: &str, body: Vec<String>| {
        if !body.is_empty() {
            lines.push(title.to_owned());
            lines.extend(body.iter().map(|line| format!("  {}", printable(line))));
        }
    };
    let none = "none".to_owned();
    let line =
        |one: &Differing| format!("{}: {} → {}", one.name, one.before.as_ref().unwrap_or(&none), one.after.as_ref().unwrap_or(&none));
    section("run", found.facts.iter().map(line).collect());
    section("verdicts", found.verdicts.iter().map(line).collect());
    section("numbers", found.numbers.iter().map(line).collect());
    section("recipe", found.recipe.clone());
    section("snapshot", found.snapshot.lines());
    if lines.is_empty() {
        lines.push("no difference".to_owned());
    }
    lines
}
