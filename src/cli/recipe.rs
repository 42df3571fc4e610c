//! `seatrial recipe`: make a recipe from overlays, look into it, tell where its values come from, check files.

use std::path::PathBuf;

use clap::{Subcommand, ValueEnum};
use serde_json::{Value, json};

use crate::cli::{Cx, Format};
use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::recipe::criteria::DIMENSIONS;
use crate::recipe::resolve::{Resolved, Told};
use crate::recipe::{Criteria, Document, LoadedRecipe, infer, lint, load};
use crate::source::{self, Artefact, Source};
use crate::ui::{Tone, printable};
use crate::{limits, yaml};

/// Make a recipe from criteria, look into it, tell where its values come from, check recipe files.
///
/// Without a subcommand: `resolve`.
#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:\n  seatrial recipe --service eks --accelerator h100 --intent training --os ubuntu --platform kubeflow -o recipe.yaml\n  seatrial recipe explain constraints -r h100-eks-training\n  seatrial recipe get components.gpu-operator.version --gpu h100\n  seatrial recipe lint recipes/"
)]
pub struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    resolve: Resolve,
}

#[derive(Debug, Subcommand)]
enum Command {
    Resolve(Resolve),
    Explain(Explain),
    Get(Get),
    List(List),
    Lint(Lint),
}

/// Make the recipe for some criteria, from every overlay that fits.
///
/// The recipe goes to stdout or --output; its digest and the overlays that were applied go to stderr. A stated dimension that no overlay is for is an error.
#[derive(Debug, clap::Args)]
struct Resolve {
    #[command(flatten)]
    query: Query,
    /// Where the recipe goes: a file, `-`, or cm://NAMESPACE/NAME.
    #[arg(short, long, value_name = "TARGET", value_parser = source::target)]
    output: Option<Source>,
    /// The data format.
    #[arg(short = 't', long, value_enum, default_value = "yaml")]
    format: Data,
}

/// Tell for every value which overlay set it, and what it overrode.
#[derive(Debug, clap::Args)]
struct Explain {
    /// Only what is at or below this path, e.g. constraints or components.gpu-operator.
    #[arg(value_name = "PATH")]
    path: Option<String>,
    #[command(flatten)]
    query: Query,
    /// The form of the answer.
    #[arg(short = 't', long, value_enum, default_value = "text")]
    format: Format,
}

/// Print one value of a recipe, by its path, e.g. components.gpu-operator.version; a miss says what is there.
#[derive(Debug, clap::Args)]
struct Get {
    /// The path: names with dots between them.
    #[arg(value_name = "PATH", required_unless_present = "selector")]
    path: Option<String>,
    /// The path, as another way to give it.
    #[arg(long, value_name = "PATH", hide = true, conflicts_with = "path")]
    selector: Option<String>,
    #[command(flatten)]
    query: Query,
    /// The data format of what is not plain text.
    #[arg(short = 't', long, value_enum, default_value = "yaml")]
    format: Data,
}

/// List overlays with their criteria and checks, complete recipes, and what can be combined.
#[derive(Debug, clap::Args)]
struct List {
    /// The form of the list.
    #[arg(short = 't', long, value_enum, default_value = "text")]
    format: Format,
}

/// Check recipe files: what cannot be used is an error, what is only doubtful a warning.
///
/// Exit codes: 0 no errors, 1 warnings with --deny-warnings, 2 errors.
#[derive(Debug, clap::Args)]
struct Lint {
    /// Files, or directories of recipes with a folder `overlays`.
    #[arg(value_name = "FILE|DIR", required = true)]
    paths: Vec<PathBuf>,
    /// Take warnings for failures.
    #[arg(long)]
    deny_warnings: bool,
    /// The form of the findings.
    #[arg(short = 't', long, value_enum, default_value = "text")]
    format: Format,
}

/// What a recipe is wanted for. A flag goes over the file, the file over the snapshot.
#[derive(Debug, clap::Args)]
struct Query {
    /// Where Kubernetes comes from: eks, gke, aks, openshift, kind, sim; self-managed is any.
    #[arg(long, value_name = "WORD")]
    service: Option<String>,
    /// The GPU: h100, gb200, mi300x.
    #[arg(long, visible_alias = "gpu", value_name = "WORD")]
    accelerator: Option<String>,
    /// What the cluster is for: training or inference. Never inferred.
    #[arg(long, value_name = "WORD")]
    intent: Option<String>,
    /// The operating system of the GPU nodes: ubuntu, rhel, cos, amazonlinux.
    #[arg(long, value_name = "WORD")]
    os: Option<String>,
    /// What workloads run on: kubeflow, dynamo, kserve.
    #[arg(long, value_name = "WORD")]
    platform: Option<String>,
    /// GPU nodes; 0 is any.
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    nodes: Option<u32>,
    /// A document with the criteria: a file, `-`, https://… or cm://NAMESPACE/NAME.
    #[arg(long, value_name = "SOURCE", value_parser = source::argument)]
    criteria: Option<Source>,
    /// Take service, accelerator and operating system from this snapshot.
    #[arg(short, long, value_name = "SOURCE", value_parser = source::argument)]
    snapshot: Option<Source>,
    /// A recipe instead of criteria: by name, or a file, `-`, https://… or cm://NAMESPACE/NAME.
    #[arg(short, long, value_name = "NAME|SOURCE", conflicts_with_all = ["service", "accelerator", "intent", "os", "platform", "nodes", "criteria", "snapshot"])]
    recipe: Option<String>,
}

/// A data format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Data {
    /// YAML.
    Yaml,
    /// JSON.
    Json,
}

impl Data {
    fn write<T: serde::Serialize>(self, value: &T) -> Result<String> {
        match self {
            Self::Yaml => yaml::to_string(value),
            Self::Json => serde_json::to_string_pretty(value).map_err(|error| Error::internal("write JSON").because(error)),
        }
    }

    fn word(self) -> &'static str {
        if self == Self::Yaml { "yaml" } else { "json" }
    }
}

pub(crate) async fn exec(args: Args, cx: Cx) -> Result<Exit> {
    match args.command {
        None => args.resolve.exec(&cx).await,
        Some(Command::Resolve(resolve)) => resolve.exec(&cx).await,
        Some(Command::Explain(explain)) => explain.exec(&cx).await,
        Some(Command::Get(get)) => get.exec(&cx).await,
        Some(Command::List(list)) => list.exec(&cx),
        Some(Command::Lint(lint)) => lint.exec(&cx),
    }
}

impl Resolve {
    async fn exec(&self, cx: &Cx) -> Result<Exit> {
        let recipe = self.query.recipe(cx).await?.recipe;
        let text = self.format.write(&recipe)?;
        let target = self.output.clone().unwrap_or(Source::Stdio);
        target.write(Artefact { text: &text, stem: "recipe", format: self.format.word() }, &cx.global.target(), &cx.ui).await?;
        let overlays = &recipe.metadata.overlays;
        let from = if overlays.is_empty() { String::new() } else { format!("   from {}", overlays.join(", ")) };
        cx.ui.line(format!("recipe {} {}{}", recipe.metadata.name, recipe.digest()?, printable(&from)));
        let spec = &recipe.spec;
        cx.ui.event(
            "recipe",
            json!({"name": recipe.metadata.name, "digest": recipe.digest()?, "overlays": overlays, "checks": spec.checks.all().count()}),
        );
        Ok(Exit::Ok)
    }
}

impl Explain {
    async fn exec(&self, cx: &Cx) -> Result<Exit> {
        let resolved = self.query.resolved(cx).await?;
        let told = resolved.explain(self.path.as_deref())?;
        match self.format {
            Format::Json => {
                let applied: Vec<Value> = resolved
                    .applied
                    .iter()
                    .map(|one| json!({"name": one.name, "criteria": one.criteria, "specificity": one.specificity}))
                    .collect();
                cx.ui.artefact(&Data::Json.write(&json!({"recipe": resolved.recipe.metadata.name, "overlays": applied, "values": told}))?);
            }
            Format::Text => {
                let mut lines = vec![format!("{}, from these overlays, the least specific first:", resolved.recipe.metadata.name)];
                lines.extend(resolved.applied.iter().map(|one| {
                    format!("  {:<20} {}", one.name, if one.mixin { "a base of others".to_owned() } else { one.criteria.in_words() })
                }));
                lines.push(String::new());
                lines.extend(told.iter().map(story));
                cx.ui.artefact(&printable(&lines.join("\n")));
            }
        }
        Ok(Exit::Ok)
    }
}

/// One value with its story, for people.
fn story(told: &Told) -> String {
    let short = |value: Option<&Value>| value.map_or_else(|| "taken out".to_owned(), in_short);
    let mut text = match &told.value {
        Some(value) => format!("{} = {}\n    set by {}", told.path, in_short(value), told.by),
        None => format!("{}\n    taken out by {}", told.path, told.by),
    };
    for before in told.overrode.iter().rev() {
        text.push_str(&format!("\n    over {}: {}", before.by, short(before.value.as_ref())));
    }
    text
}

/// A value on one line: of a constraint or threshold what it asks, of others their JSON.
fn in_short(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Object(map) => {
            let asked = map.get("value").and_then(Value::as_str);
            let unit = map.get("unit").and_then(Value::as_str).map_or(String::new(), |unit| format!(" {unit}"));
            let source = map.get("source").and_then(Value::as_str).map_or(String::new(), |source| format!("   ({source})"));
            asked.map_or_else(|| value.to_string(), |asked| format!("{asked}{unit}{source}"))
        }
        other => other.to_string(),
    }
}

impl Get {
    async fn exec(&self, cx: &Cx) -> Result<Exit> {
        let path = self.path.as_deref().or(self.selector.as_deref()).unwrap_or_default();
        let value = self.query.recipe(cx).await?.recipe.get(path)?;
        match &value {
            Value::String(text) if self.format == Data::Yaml => cx.ui.artefact(&printable(text)),
            value => cx.ui.artefact(&self.format.write(value)?),
        }
        Ok(Exit::Ok)
    }
}

impl List {
    fn exec(&self, cx: &Cx) -> Result<Exit> {
        let catalog = cx.global.catalog()?;
        let combinations = catalog.combinations();
        match self.format {
            Format::Json => {
                let overlay = |part: &crate::recipe::overlay::Part| {
                    json!({"name": part.name, "about": part.about, "criteria": part.criteria, "base": part.base, "mixin": part.mixin,
                        "checks": catalog.checks_of(part), "file": part.place})
                };
                let names: Vec<String> = combinations.iter().map(Criteria::name).collect();
                let list = json!({"recipes": catalog.recipes().collect::<Vec<_>>(), "combinations": names,
                    "overlays": catalog.parts().iter().map(overlay).collect::<Vec<_>>()});
                cx.ui.artefact(&Data::Json.write(&list)?);
            }
            Format::Text => {
                let mut lines = vec![format!("{:<20} {:<52} checks  about", "overlay", "for")];
                for part in catalog.parts() {
                    let criteria = if part.mixin { "(a base of others)".to_owned() } else { part.criteria.in_words() };
                    let about = part.about.as_deref().unwrap_or_default();
                    lines.push(format!("{:<20} {criteria:<52} {:<7} {about}", part.name, catalog.checks_of(part)).trim_end().to_owned());
                }
                lines.push(format!("\ncomplete recipes: {}", catalog.recipes().collect::<Vec<_>>().join(", ")));
                lines.push("\nvalues, of which any is one everywhere:".to_owned());
                for dimension in DIMENSIONS {
                    let values: std::collections::BTreeSet<&str> = combinations.iter().filter_map(|one| one.get(dimension)).collect();
                    lines.push(format!("  {dimension:<12} {}", values.into_iter().collect::<Vec<_>>().join(", ")));
                }
                lines.push(format!("\n{} combinations of them resolve; `seatrial recipe list -t json` names each", combinations.len()));
                cx.ui.artefact(&printable(&lines.join("\n")));
            }
        }
        Ok(Exit::Ok)
    }
}

impl Lint {
    fn exec(&self, cx: &Cx) -> Result<Exit> {
        let found = lint::lint(&self.paths, cx.global.catalog()?.as_ref())?;
        let (errors, warnings): (Vec<&lint::Finding>, Vec<&lint::Finding>) = found.findings.iter().partition(|finding| finding.error);
        match self.format {
            Format::Json => cx.ui.artefact(&Data::Json.write(&found)?),
            Format::Text => {
                for finding in &found.findings {
                    let (word, tone) = if finding.error { ("error:", Tone::Bad) } else { ("warning:", Tone::Doubtful) };
                    // Errors name their file and place themselves.
                    let place = if finding.message.contains(&finding.file) { String::new() } else { format!("{}: ", finding.file) };
                    let hints: String = finding.hints.iter().map(|hint| format!("\n  hint: {hint}")).collect();
                    cx.ui.artefact(&format!("{} {}", cx.ui.paint(word, tone), printable(&format!("{place}{}{hints}", finding.message))));
                }
                let count = |number: usize, what: &str| format!("{number} {what}{}", if number == 1 { "" } else { "s" });
                cx.ui.line(format!(
                    "{}, {}, {}",
                    count(found.files.len(), "file"),
                    count(errors.len(), "error"),
                    count(warnings.len(), "warning")
                ));
            }
        }
        Ok(match (errors.is_empty(), warnings.is_empty()) {
            (false, _) => Exit::Usage,
            (true, false) if self.deny_warnings => Exit::Failed,
            _ => Exit::Ok,
        })
    }
}

impl Query {
    /// The recipe that is asked for, with the digests of its health tests.
    async fn recipe(&self, cx: &Cx) -> Result<LoadedRecipe> {
        match &self.recipe {
            Some(recipe) => cx.read_recipe(recipe).await,
            None => {
                let catalog = cx.global.catalog()?;
                catalog.load(&catalog.resolve(&self.criteria(cx).await?)?)
            }
        }
    }

    /// The story of the recipe that is asked for.
    async fn resolved(&self, cx: &Cx) -> Result<Resolved> {
        let catalog = cx.global.catalog()?;
        let Some(recipe) = &self.recipe else {
            return catalog.resolve(&self.criteria(cx).await?);
        };
        if let Some(query) = catalog.criteria_of(recipe)? {
            return catalog.resolve(&query);
        }
        let text = cx.global.read_text(recipe).await?;
        match text.map(|text| load::parse(&text.text, &text.name)).transpose()? {
            Some(Document::Criteria(query)) => catalog.resolve(&query),
            Some(Document::Overlay(overlay)) => catalog.resolve_with(*overlay, recipe),
            _ => Err(Error::usage(format!("{} is a complete recipe: no overlay set its values", printable(recipe)))
                .hint("`seatrial recipe get PATH` shows one; explain tells of recipes that are made from overlays")),
        }
    }

    /// The criteria: flags over the file, the file over the snapshot.
    async fn criteria(&self, cx: &Cx) -> Result<Criteria> {
        let catalog = cx.global.catalog()?;
        source::one_standard_input(&[("--criteria", self.criteria.as_ref()), ("--snapshot", self.snapshot.as_ref())])?;
        let words = catalog.words();
        let mut criteria = Criteria::default();
        if let Some(source) = &self.snapshot {
            let text = source.read(limits::SNAPSHOT_BYTES, &cx.global.target()).await?;
            let snapshot = crate::snapshot::parse(text.text, text.name).await?;
            let inferred = infer::infer(&snapshot, &words);
            for line in &inferred.because {
                cx.ui.line(printable(line));
            }
            // What no overlay is for is left open: nobody asked for it.
            criteria = catalog.covered_part(&inferred.criteria, |left_open| cx.ui.warn(left_open));
        }
        if let Some(source) = &self.criteria {
            let text = source.read(limits::DOCUMENT_BYTES, &cx.global.target()).await?;
            match load::parse(&text.text, &text.name)? {
                Document::Criteria(read) => {
                    for (dimension, value) in read.stated().into_iter().filter(|(dimension, _)| *dimension != "nodes") {
                        words.set(&mut criteria, dimension, &value).map_err(|error| error.context(text.name.clone()))?;
                    }
                    criteria.nodes = read.nodes.or(criteria.nodes);
                }
                _ => return Err(Error::usage(format!("{} holds no criteria", text.name)).hint("their kind is RecipeCriteria")),
            }
        }
        let flags = [
            ("service", &self.service),
            ("accelerator", &self.accelerator),
            ("intent", &self.intent),
            ("os", &self.os),
            ("platform", &self.platform),
        ];
        for (dimension, value) in flags {
            if let Some(value) = value {
                words.set(&mut criteria, dimension, value)?;
            }
        }
        if let Some(nodes) = self.nodes {
            criteria.nodes = Some(nodes).filter(|nodes| *nodes > 0);
        }
        let asked =
            flags.iter().any(|(_, value)| value.is_some()) || self.nodes.is_some() || self.criteria.is_some() || self.snapshot.is_some();
        if !asked {
            return Err(Error::usage("what is the recipe for?")
                .hint("state it: --service, --accelerator, --intent, --os, --platform, --nodes; or --criteria, --snapshot, --recipe")
                .hint("`seatrial recipe list` shows what there is"));
        }
        Ok(criteria)
    }
}
