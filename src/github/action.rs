//! The inputs of our Action as a command line. Inputs are named like flags; which flags a command has is asked of the command line itself.

use std::collections::BTreeMap;
use std::ffi::OsString;

use serde_json::Value;

use crate::error::{Error, Kind, Result};

/// Inputs that are for the Action and for no command.
const OWN: &[&str] = &["command", "path", "version", "sha256", "token", "working-directory"];

/// The commands of the Action: the command line that each begins with, and the input whose lines are its arguments.
const COMMANDS: &[(&str, &[&str], Option<&str>)] = &[
    ("run", &["run"], Some("workflow")),
    ("validate", &["validate"], None),
    ("gate", &["gate", "--github"], None),
    ("verify", &["evidence", "verify"], Some("evidence")),
    ("sign", &["github", "sign"], None),
    ("offer", &["github", "offer"], Some("evidence")),
];

/// Inputs that have a value although nobody gave one, and are left out where a command has no such flag.
const USUAL: &[(&str, &str)] = &[("yes", "true")];

/// The command line for inputs, as JSON: `{"command": "run", "recipe": "…"}`.
///
/// # Errors
/// [`Kind::Schema`] if it is no JSON object of texts; a usage error for an unknown command, and for an input that the command does not have.
pub fn command_line(inputs: &str, program: &clap::Command) -> Result<Vec<OsString>> {
    let read: BTreeMap<String, Value> = serde_json::from_str(inputs)
        .map_err(|error| Error::new(Kind::Schema, "read the inputs of the Action: SEATRIAL_INPUTS is no JSON object").because(error))?;
    let mut given = BTreeMap::new();
    for (name, value) in read {
        let text = match value {
            Value::String(text) => text,
            Value::Bool(flag) => flag.to_string(),
            Value::Number(number) => number.to_string(),
            Value::Null => String::new(),
            _ => return Err(Error::new(Kind::Schema, format!("the input `{name}` is no text"))),
        };
        if !text.trim().is_empty() {
            given.insert(name, text);
        }
    }
    let names = COMMANDS.iter().map(|(name, ..)| *name);
    let all = names.clone().collect::<Vec<_>>().join(", ");
    let Some(wanted) = given.get("command") else { return Err(Error::usage("the input `command` is missing").hint(all)) };
    let Some((_, begins, arguments)) = COMMANDS.iter().find(|(name, ..)| name == wanted) else {
        let error = Error::usage(format!("the input `command` is `{}`, which is none", crate::ui::printable(wanted)));
        return Err(error.did_you_mean(wanted, names, all));
    };
    let command = below(program, begins);
    let mut line: Vec<OsString> = std::iter::once("seatrial").chain(begins.iter().copied()).map(OsString::from).collect();
    let mut last = Vec::new();
    for (name, value) in &given {
        if Some(name.as_str()) == *arguments {
            last.extend(values(value).map(OsString::from));
        } else if !OWN.contains(&name.as_str()) {
            let flag = command.get_arguments().find(|flag| flag.get_long() == Some(name));
            match flag.or_else(|| program.get_arguments().find(|flag| flag.get_long() == Some(name))) {
                Some(flag) => add(&mut line, flag, name, value)?,
                None if USUAL.contains(&(name.as_str(), value.as_str())) => {}
                None => return Err(not_an_input(name, wanted, command)),
            }
        }
    }
    if !last.is_empty() {
        line.push("--".into());
        line.append(&mut last);
    }
    Ok(line)
}

/// The subcommand, by its path; flags among the words are no part of it.
fn below<'a>(program: &'a clap::Command, path: &[&str]) -> &'a clap::Command {
    let names = path.iter().filter(|word| !word.starts_with('-'));
    names.fold(program, |command, name| command.find_subcommand(name).unwrap_or(command))
}

/// The lines of a repeatable input.
fn values(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty())
}

fn add(line: &mut Vec<OsString>, flag: &clap::Arg, name: &str, value: &str) -> Result<()> {
    let bare = flag.get_num_args().is_some_and(|number| number.min_values() == 0);
    match flag.get_action() {
        // A flag that may have a value: `true` is the flag alone.
        clap::ArgAction::Set if bare && matches!(value.trim(), "true" | "false") => {
            if value.trim() == "true" {
                line.push(format!("--{name}").into());
            }
        }
        clap::ArgAction::SetTrue => match value.trim() {
            "true" => line.push(format!("--{name}").into()),
            "false" => {}
            other => {
                let other = crate::ui::printable(other);
                return Err(Error::usage(format!("the input `{name}` is `{other}`")).hint("it is either true or false"));
            }
        },
        clap::ArgAction::Append => line.extend(values(value).map(|value| format!("--{name}={value}").into())),
        _ => line.push(format!("--{name}={}", value.trim()).into()),
    }
    Ok(())
}

fn not_an_input(name: &str, wanted: &str, command: &clap::Command) -> Error {
    let known: Vec<&str> = command.get_arguments().filter_map(clap::Arg::get_long).collect();
    let error = Error::usage(format!("the input `{}` is no flag of `{wanted}`", crate::ui::printable(name)));
    error.did_you_mean(name, known.iter().copied(), format!("its inputs: {}", known.join(", ")))
}
