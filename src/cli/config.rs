//! `seatrial config`: every setting with its value and where it came from.

use clap::Subcommand;
use serde::Serialize;

use crate::cli::{Cx, Format, parse};
use crate::config::{Config, Given, Setting, settings_of};
use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::sign;
use crate::source::Source;
use crate::ui::printable;

/// Arguments of `config`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Show(Show),
}

/// Print every setting of every command, its value, and where it came from: flag, variable, seatrial.yaml or default.
///
/// Secrets are not settings, and are not printed: only whether they are there.
#[derive(Debug, clap::Args)]
struct Show {
    /// Only this command, e.g. run or evidence verify.
    #[arg(value_name = "COMMAND")]
    only: Vec<String>,
    /// The form of the list.
    #[arg(short = 't', long, value_enum, default_value = "text")]
    format: Format,
}

#[derive(Debug, Serialize)]
struct Shown {
    file: Option<String>,
    settings: Vec<Row>,
    secrets: Vec<Secret>,
}

#[derive(Debug, Serialize)]
struct Row {
    command: String,
    name: String,
    value: Option<String>,
    origin: Origin,
    #[serde(skip_serializing_if = "Option::is_none")]
    place: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    variable: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Origin {
    Flag,
    Variable,
    File,
    Default,
    NotSet,
}

#[derive(Debug, Serialize)]
struct Secret {
    variable: &'static str,
    set: bool,
}

pub(crate) async fn exec(args: Args, cx: Cx) -> Result<Exit> {
    let Command::Show(show) = args.command;
    let config = cx.settings.config.as_ref();
    let mut root = parse::commands();
    root.build();
    let mut settings = Vec::new();
    let all = settings_of(&root);
    let common = all.first().map(|(_, common)| common.clone()).unwrap_or_default();
    for (path, known) in &all {
        if show.only.is_empty() || path.starts_with(&show.only) {
            settings.extend(known.iter().map(|setting| row(setting, path, config, &cx)));
            // What is common to all commands, where this one has a word of its own.
            let own = |setting: &&Setting| {
                !path.is_empty() && config.is_some_and(|file| file.of(path, &setting.name) != file.of(&[], &setting.name))
            };
            settings.extend(common.iter().filter(own).map(|setting| row(setting, path, config, &cx)));
        }
    }
    if settings.is_empty() {
        let wrong = show.only.join(" ");
        let names: Vec<String> = all.iter().map(|(path, _)| path.join(" ")).filter(|path| !path.is_empty()).collect();
        let error = Error::usage(format!("there is no command `{}`", printable(&wrong)));
        return Err(error.did_you_mean(&wrong, names.iter().map(String::as_str), format!("commands: {}", names.join(", "))));
    }
    let secret = |variable: &&'static str| Secret { variable, set: std::env::var_os(variable).is_some() };
    let secrets = sign::PASSPHRASE_VARIABLES.iter().chain(sign::TOKEN_VARIABLES).map(secret).collect();
    let shown = Shown { file: config.map(|config| config.path.display().to_string()), settings, secrets };
    match show.format {
        Format::Text => cx.ui.artefact(&text(&shown)),
        Format::Json => {
            let json = serde_json::to_string_pretty(&shown).map_err(|error| Error::internal("write the settings").because(error))?;
            cx.ui.artefact(&json);
        }
    }
    Ok(Exit::Ok)
}

fn row(setting: &Setting, path: &[String], config: Option<&Config>, cx: &Cx) -> Row {
    let given = cx.settings.given.get(&setting.id).filter(|_| path.is_empty());
    let variable = setting
        .variable
        .as_ref()
        .and_then(std::env::var_os)
        .filter(|value| !value.is_empty())
        .map(|value| value.to_string_lossy().into_owned());
    let entry = config.and_then(|config| config.of(path, &setting.name));
    let (value, origin, place) = if let Some(value) = given {
        (Some(value.clone()), Origin::Flag, None)
    } else if let Some(value) = variable {
        (Some(value), Origin::Variable, None)
    } else if let (Some(entry), Some(config)) = (entry, config) {
        let value = match &entry.given {
            Given::One(value) => Some(value.clone()),
            Given::Several(values) => Some(values.join(" ")),
            Given::Nothing | Given::Section(_) => None,
        };
        (value, Origin::File, Some(config.place(entry)))
    } else if setting.defaults.is_empty() {
        (None, Origin::NotSet, None)
    } else {
        (Some(setting.defaults.join(" ")), Origin::Default, None)
    };
    Row {
        command: path.join(" "),
        name: setting.name.clone(),
        value: value.as_deref().map(without_secrets),
        origin,
        place,
        variable: setting.variable.clone(),
    }
}

/// A value for people: an address without what may be secret in it.
fn without_secrets(value: &str) -> String {
    match value.parse::<Source>() {
        Ok(source @ Source::Web(_)) => source.to_string(),
        _ if value.contains("://") && value.contains('@') => "(an address with credentials)".to_owned(),
        _ => printable(value),
    }
}

fn text(shown: &Shown) -> String {
    let mut text = match &shown.file {
        Some(file) => format!("file: {file}\n"),
        None => "file: none; a seatrial.yaml is looked for from the working directory upwards\n".to_owned(),
    };
    let name = shown.settings.iter().map(|row| row.name.len()).max().unwrap_or(0);
    let value = shown.settings.iter().filter_map(|row| row.value.as_ref()).map(|value| value.chars().count()).max().unwrap_or(0).min(40);
    let mut command = None;
    for row in &shown.settings {
        if command != Some(&row.command) {
            let title = if row.command.is_empty() { "every command" } else { &row.command };
            text.push_str(&format!("\n{title}\n"));
            command = Some(&row.command);
        }
        let origin = match (row.origin, &row.place, &row.variable) {
            (Origin::Flag, ..) => "flag".to_owned(),
            (Origin::Variable, _, Some(variable)) => variable.clone(),
            (Origin::File, Some(place), _) => place.clone(),
            (Origin::Default, ..) => "default".to_owned(),
            (_, _, Some(variable)) => format!("not set ({variable})"),
            _ => "not set".to_owned(),
        };
        let line = format!("  {:<name$}  {:<value$}  {origin}", row.name, row.value.as_deref().unwrap_or("-"));
        text.push_str(&format!("{line}\n"));
    }
    text.push_str("\nsecrets, never in a file\n");
    for secret in &shown.secrets {
        text.push_str(&format!("  {}  {}\n", secret.variable, if secret.set { "set, not shown" } else { "not set" }));
    }
    text
}
