//! Parses the command line, with what `seatrial.yaml` says in it.

use std::collections::BTreeMap;
use std::ffi::OsString;

use clap::builder::Resettable;
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command, CommandFactory, FromArgMatches};

use crate::cli::Cli;
use crate::config::{self, Config};
use crate::error::Error;

/// Where settings came from.
#[derive(Debug, Default)]
pub struct Settings {
    /// The file, if there is one.
    pub config: Option<Config>,
    /// What was given on the command line, by id of the flag.
    pub given: BTreeMap<String, String>,
}

/// Why no command runs.
pub(super) enum Ended {
    /// Help, version, or arguments that are wrong.
    Parser(clap::Error),
    /// A file of settings that is wrong.
    Settings(Error),
}

/// Commands that are about the program alone: shells call them while they start, wherever that is.
const WITHOUT_SETTINGS: [&str; 2] = ["completions", "man"];

/// Parses the arguments. Without a file of settings that is one pass; help and version never look for one.
pub(super) fn parse(args: Vec<OsString>) -> Result<(Cli, Settings), Ended> {
    let first = commands().try_get_matches_from(&args);
    let about_the_program = match &first {
        Ok(matches) => matches.subcommand_name().is_some_and(|name| WITHOUT_SETTINGS.contains(&name)),
        Err(error) => !error.use_stderr(),
    };
    let variable = std::env::var_os(config::VARIABLE);
    let here = std::env::current_dir().ok();
    let located = if about_the_program { None } else { config::locate(&args, variable, here.as_deref()) };
    let Some(located) = located else {
        let matches = first.map_err(Ended::Parser)?;
        let given = given(&matches);
        return Ok((typed(&matches)?, Settings { config: None, given }));
    };
    let mut built = commands();
    built.build();
    let file = Config::read(located, &built).map_err(Ended::Settings)?;
    // A flag that is missing may stand in the file: what was given is wanted all the same.
    let lenient = first.or_else(|_| commands().ignore_errors(true).try_get_matches_from(&args)).map_err(Ended::Parser)?;
    let flags = file.flags(&built, &lenient).map_err(Ended::Settings)?;
    let matches = commands().try_get_matches_from(config::with(&args, &flags));
    let matches = matches.map_err(|error| config::explain(&error, &flags).map_or(Ended::Parser(error), Ended::Settings))?;
    Ok((typed(&matches)?, Settings { config: Some(file), given: given(&lenient) }))
}

/// The commands. A variable that is set to nothing is not set: CI systems set those of inputs that nobody gave.
pub(super) fn commands() -> Command {
    fn without_empty_variables(command: Command) -> Command {
        let is_empty = |arg: &Arg| arg.get_env().and_then(std::env::var_os).is_some_and(|value| value.is_empty());
        let command = command.mut_args(|arg| if is_empty(&arg) { arg.env(Resettable::Reset) } else { arg });
        command.mut_subcommands(without_empty_variables)
    }
    without_empty_variables(Cli::command())
}

/// Reads the name of a namespace.
pub(super) fn namespace(text: &str) -> std::result::Result<String, String> {
    if is_label(text) { Ok(text.to_owned()) } else { Err("the name of a namespace is lower-case letters, digits and hyphens".to_owned()) }
}

/// True for a name as Kubernetes wants it of most objects.
pub(super) fn is_label(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !name.is_empty() && name.len() <= 63 && name.bytes().all(allowed) && !name.starts_with('-') && !name.ends_with('-')
}

fn typed(matches: &ArgMatches) -> Result<Cli, Ended> {
    Cli::from_arg_matches(matches).map_err(|error| Ended::Parser(error.format(&mut Cli::command())))
}

/// What was given on the command line to the command that was chosen.
fn given(matches: &ArgMatches) -> BTreeMap<String, String> {
    let mut inner = matches;
    while let Some((_, below)) = inner.subcommand() {
        inner = below;
    }
    let text = |id: &str| {
        let values = inner.get_raw(id).into_iter().flatten().map(|value| value.to_string_lossy().into_owned());
        values.collect::<Vec<_>>().join(" ")
    };
    let ids = inner.ids().map(clap::Id::as_str);
    ids.filter(|id| inner.value_source(id) == Some(ValueSource::CommandLine)).map(|id| (id.to_owned(), text(id))).collect()
}
