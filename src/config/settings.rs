//! Which settings there are: the flags of the commands; and how a value becomes a flag.

use std::collections::BTreeSet;
use std::ffi::OsString;

use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command};

use super::{Config, Entry, Given, Injected};
use crate::error::{Error, Result};
use crate::ui::printable;

/// What a file that was only found may not say, and why: it may come with a repository that somebody else wrote.
fn reserved(setting: &Setting) -> Option<&'static str> {
    match (setting.name.as_str(), setting.variable.as_deref()) {
        ("yes", _) => Some("a person confirms"),
        ("kubeconfig", _) => Some("a kubeconfig can name programs to run"),
        (_, Some("SEATRIAL_PUBLIC_KEY")) => Some("whom to trust is not said by what is to be verified"),
        _ => None,
    }
}

/// A flag that a file can give.
#[derive(Clone, Debug)]
pub struct Setting {
    /// The flag's id.
    pub id: String,
    /// Its name, without dashes.
    pub name: String,
    /// Its variable.
    pub variable: Option<String>,
    /// Its default values.
    pub defaults: Vec<String>,
    /// How clap shows it in messages.
    shown: String,
    global: bool,
    action: ArgAction,
    values: Vec<String>,
}

impl Setting {
    fn new(arg: &Arg) -> Option<Self> {
        let shows_defaults = arg.get_action().takes_values();
        is_setting(arg).then(|| Self {
            id: arg.get_id().to_string(),
            name: arg.get_long().unwrap_or_default().to_owned(),
            variable: arg.get_env().map(|name| name.to_string_lossy().into_owned()),
            defaults: arg
                .get_default_values()
                .iter()
                .filter(|_| shows_defaults)
                .map(|value| value.to_string_lossy().into_owned())
                .collect(),
            shown: arg.to_string(),
            global: arg.is_global_set(),
            action: arg.get_action().clone(),
            values: arg.get_possible_values().iter().map(|value| value.get_name().to_owned()).collect(),
        })
    }

    /// True if one name means the same in two commands: what it takes is the same, and so is its variable, where both have one.
    fn means_the_same_as(&self, other: &Self) -> bool {
        let variables = match (&self.variable, &other.variable) {
            (Some(one), Some(two)) => one == two,
            _ => true,
        };
        let takes = |setting: &Self| (setting.values.clone(), setting.defaults.clone(), format!("{:?}", setting.action));
        variables && takes(self) == takes(other)
    }
}

/// The settings of every command that has some of its own, by the names on the way to it; the first are those of every command.
#[must_use]
pub fn settings_of(root: &Command) -> Vec<(Vec<String>, Vec<Setting>)> {
    let mut all = vec![(Vec::new(), of(root))];
    own_of(root, &[], &mut all);
    all
}

fn own_of(command: &Command, path: &[String], all: &mut Vec<(Vec<String>, Vec<Setting>)>) {
    for inner in subcommands(command) {
        let path = [path, &[inner.get_name().to_owned()]].concat();
        let own: Vec<Setting> = of(inner).into_iter().filter(|setting| !setting.global).collect();
        if !own.is_empty() {
            all.push((path.clone(), own));
        }
        own_of(inner, &path, all);
    }
}

/// True if a flag can be given by a file: it has a long name, and is not about the file, help or one call only.
fn is_setting(arg: &Arg) -> bool {
    let about = ["help", "version", "config"].contains(&arg.get_id().as_str());
    arg.get_long().is_some() && !about && !arg.is_hide_set()
}

/// The settings of a command, globals included, sorted by name. The command must be built.
#[must_use]
pub(super) fn of(command: &Command) -> Vec<Setting> {
    let mut settings: Vec<Setting> = command.get_arguments().filter_map(Setting::new).collect();
    settings.sort_by(|a, b| a.name.cmp(&b.name));
    settings
}

/// Settings of a command and all below it, with the way to each.
fn below(command: &Command, path: &str) -> Vec<(String, Setting)> {
    let here = of(command).into_iter().map(|setting| (path.to_owned(), setting));
    let deeper = subcommands(command).flat_map(|inner| below(inner, format!("{path} {}", inner.get_name()).trim()));
    here.chain(deeper).collect()
}

/// The commands below one; clap's own `help` is none of ours.
pub(super) fn subcommands(command: &Command) -> impl Iterator<Item = &Command> {
    command.get_subcommands().filter(|inner| inner.get_name() != "help")
}

/// The command that was chosen, the names on the way to it, and what was given to it.
pub(super) fn chosen<'a>(root: &'a Command, matches: &'a ArgMatches) -> (Vec<String>, &'a Command, &'a ArgMatches) {
    let (mut path, mut command, mut inner) = (Vec::new(), root, matches);
    while let Some((name, below)) = inner.subcommand() {
        let Some(found) = command.find_subcommand(name) else { break };
        path.push(name.to_owned());
        (command, inner) = (found, below);
    }
    (path, command, inner)
}

/// True if a flag was given on the command line or by its variable.
pub(super) fn is_explicit(matches: &ArgMatches, id: &str) -> bool {
    // An id that the command does not know cannot be asked for.
    matches.try_contains_id(id).is_ok() && matches!(matches.value_source(id), Some(ValueSource::CommandLine | ValueSource::EnvVariable))
}

/// True if a flag that was given excludes this one.
pub(super) fn stands_against_one_given(command: &Command, matches: &ArgMatches, id: &str) -> bool {
    let Some(arg) = command.get_arguments().find(|arg| arg.get_id() == id) else { return false };
    let against = |one: &Arg, other: &Arg| command.get_arg_conflicts_with(one).iter().any(|found| found.get_id() == other.get_id());
    command
        .get_arguments()
        .filter(|other| is_explicit(matches, other.get_id().as_str()))
        .any(|other| against(arg, other) || against(other, arg))
}

/// Checks all names of a file.
pub(super) fn check(config: &Config, root: &Command) -> Result<()> {
    check_section(config, &config.entries, root, "")
}

fn check_section(config: &Config, entries: &[Entry], command: &Command, path: &str) -> Result<()> {
    let known = below(command, path);
    let names: BTreeSet<&str> = known.iter().map(|(_, setting)| setting.name.as_str()).collect();
    let sections: BTreeSet<&str> = subcommands(command).map(Command::get_name).collect();
    let here = if path.is_empty() { "no command".to_owned() } else { format!("`seatrial {path}`") };
    for entry in entries {
        let key = printable(&entry.key);
        if let Some(inside) = entry.section() {
            let Some(inner) = subcommands(command).find(|inner| inner.get_name() == entry.key) else {
                let error = config.wrong(entry, &format!("there is no command `{}`", format!("{path} {key}").trim()));
                let all = sections.iter().copied().collect::<Vec<_>>().join(", ");
                return Err(error.did_you_mean(&entry.key, sections, format!("sections here: {all}")));
            };
            check_section(config, inside, inner, format!("{path} {}", entry.key).trim())?;
            continue;
        }
        let meant: Vec<&(String, Setting)> = known.iter().filter(|(_, setting)| setting.name == entry.key).collect();
        // A section whose lines are all comments says nothing, as the whole file may.
        if meant.is_empty() && entry.given == Given::Nothing && sections.contains(entry.key.as_str()) {
            continue;
        }
        let Some((_, first)) = meant.first() else {
            let secret = ["passphrase", "password", "token", "secret"].iter().any(|word| entry.key.contains(word));
            let error = match path {
                "" => config.wrong(entry, &format!("no command has a flag --{key}")),
                _ => config.wrong(entry, &format!("{here} has no flag --{key}")),
            };
            return Err(if secret {
                error.hint("secrets are not kept in files: the passphrase of a key comes from SEATRIAL_KEY_PASSPHRASE")
            } else {
                error.did_you_mean(
                    &entry.key,
                    names.into_iter().chain(sections.into_iter().filter(|section| *section != entry.key)),
                    "names here are those of flags, without dashes: see --help",
                )
            });
        };
        if meant.iter().any(|(_, one)| meant.iter().any(|(_, other)| !one.means_the_same_as(other))) {
            let places: BTreeSet<String> = meant.iter().map(|(path, _)| path.replace(' ', ": ")).collect();
            let places = places.into_iter().collect::<Vec<_>>().join(" or ");
            return Err(config
                .wrong(entry, &format!("`{key}` does not mean the same in each command"))
                .hint(format!("write it in the section of the command that it is for: {places}")));
        }
        meant.iter().try_for_each(|(_, setting)| only_from_a_named_file(config, entry, setting))?;
        inject(config, entry, first)?;
    }
    Ok(())
}

fn only_from_a_named_file(config: &Config, entry: &Entry, setting: &Setting) -> Result<()> {
    match reserved(setting).filter(|_| config.found) {
        None => Ok(()),
        Some(why) => Err(config
            .wrong(entry, &format!("`{}` is not taken from a file that was found by itself: {why}", entry.key))
            .hint(format!("give --{}, or name this file with --config {}", setting.name, config.path.display()))),
    }
}

/// The flag that an entry makes.
pub(super) fn inject(config: &Config, entry: &Entry, setting: &Setting) -> Result<Injected> {
    let flag = format!("--{}", setting.name);
    let takes_one_of = |words: &str| Err(config.wrong(entry, &format!("`{}` wants {words}", entry.key)));
    let arguments: Vec<String> = match (&setting.action, &entry.given) {
        (_, Given::Nothing) => return takes_one_of("a value"),
        (_, Given::Section(_)) => return Err(Error::internal("a section is no flag")),
        (ArgAction::SetTrue, Given::One(value)) if value == "true" => vec![flag],
        (ArgAction::SetTrue, Given::One(value)) if value == "false" => Vec::new(),
        (ArgAction::SetTrue, _) => return takes_one_of("true or false"),
        (ArgAction::Count, Given::One(value)) => match value.parse::<u8>() {
            Ok(times) => vec![flag; usize::from(times)],
            Err(_) => return takes_one_of("a number"),
        },
        (ArgAction::Append, Given::Several(values)) => values.iter().map(|value| format!("{flag}={value}")).collect(),
        (_, Given::Several(_)) => return takes_one_of("one value, not a list"),
        (_, Given::One(value)) => vec![format!("{flag}={value}")],
    };
    Ok(Injected {
        id: setting.id.clone(),
        shown: setting.shown.clone(),
        place: config.place(entry),
        arguments: arguments.into_iter().map(OsString::from).collect(),
    })
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn commands() -> Command {
        let mut command = unbuilt();
        command.build();
        command
    }

    fn unbuilt() -> Command {
        let text = |name: &'static str| Arg::new(name).long(name);
        Command::new("seatrial")
            .arg(text("context").global(true).env("SEATRIAL_CONTEXT"))
            .subcommand(
                Command::new("run")
                    .arg(text("recipe").env("SEATRIAL_RECIPE"))
                    .arg(text("key").env("SEATRIAL_KEY"))
                    .arg(text("push").requires("key"))
                    .arg(text("max-gpus").value_parser(clap::value_parser!(u32)))
                    .arg(text("report").action(ArgAction::Append))
                    .arg(text("yes").action(ArgAction::SetTrue).env("SEATRIAL_YES"))
                    .arg(text("secret").hide(true)),
            )
            .subcommand(Command::new("plan").arg(text("recipe").env("SEATRIAL_RECIPE")))
            .subcommand(Command::new("get").arg(text("recipe")))
            .subcommand(
                Command::new("evidence").subcommand(
                    Command::new("verify")
                        .arg(text("key").env("SEATRIAL_PUBLIC_KEY").required_unless_present("integrity-only"))
                        .arg(text("integrity-only").action(ArgAction::SetTrue).conflicts_with("key")),
                ),
            )
    }

    fn read(text: &str, found: bool) -> Result<Config> {
        let folder = tempfile::tempdir().expect("a directory");
        let path = folder.path().join("seatrial.yaml");
        std::fs::write(&path, text).expect("is written");
        Config::read((path, found), &commands()).map(|config| Config { path: PathBuf::from("seatrial.yaml"), ..config })
    }

    /// Parses as the program does; the arguments that came of it, or the error.
    fn parse(text: &str, args: &[&str]) -> std::result::Result<ArgMatches, String> {
        let config = read(text, false).map_err(|error| error.chain())?;
        let args: Vec<OsString> = args.iter().map(OsString::from).collect();
        let lenient = unbuilt().ignore_errors(true).try_get_matches_from(&args).expect("is lenient");
        let flags = config.flags(&commands(), &lenient).map_err(|error| error.chain())?;
        let parsed = unbuilt().try_get_matches_from(crate::config::with(&args, &flags));
        parsed.map_err(|error| crate::config::explain(&error, &flags).map_or_else(|| error.to_string(), |error| error.chain()))
    }

    fn value(matches: &ArgMatches, id: &str) -> Option<String> {
        let mut inner = matches;
        while let Some((_, below)) = inner.subcommand() {
            inner = below;
        }
        inner.get_raw(id).and_then(|mut values| values.next()).map(|value| value.to_string_lossy().into_owned())
    }

    #[test]
    fn a_flag_goes_before_the_file_and_a_section_before_what_is_common() {
        let file = "recipe: common.yaml\ncontext: lab\nrun:\n  recipe: run.yaml\n";
        assert_eq!(value(&parse(file, &["seatrial", "run"]).expect("parses"), "recipe").as_deref(), Some("run.yaml"));
        assert_eq!(value(&parse(file, &["seatrial", "plan"]).expect("parses"), "recipe").as_deref(), Some("common.yaml"));
        assert_eq!(value(&parse(file, &["seatrial", "get"]).expect("parses"), "recipe").as_deref(), Some("common.yaml"));
        let given = parse(file, &["seatrial", "run", "--recipe", "mine.yaml", "--context=own"]).expect("parses");
        assert_eq!((value(&given, "recipe").as_deref(), value(&given, "context").as_deref()), (Some("mine.yaml"), Some("own")));
        assert_eq!(value(&parse(file, &["seatrial", "run"]).expect("parses"), "context").as_deref(), Some("lab"));
    }

    #[test]
    fn rules_between_flags_hold_for_the_file_and_a_given_flag_pushes_out_what_stands_against_it() {
        let file = "run:\n  push: ghcr.io/x/y\n";
        let error = parse(file, &["seatrial", "run"]).expect_err("there is no key");
        assert!(error.contains("--key"), "{error}");
        parse("run:\n  push: ghcr.io/x/y\n  key: k\n", &["seatrial", "run"]).expect("both are there");
        parse("run: {key: k}\n", &["seatrial", "run", "--push", "ghcr.io/x/y"]).expect("the key is in the file");
        let verify = "evidence: {verify: {key: pub}}\n";
        assert_eq!(value(&parse(verify, &["seatrial", "evidence", "verify"]).expect("parses"), "key").as_deref(), Some("pub"));
        let only = parse(verify, &["seatrial", "evidence", "verify", "--integrity-only"]).expect("the flag wins");
        assert_eq!(value(&only, "key"), None);
    }

    #[test]
    fn a_section_without_lines_says_nothing() {
        parse("run:\n  # max-gpus: 8\n", &["seatrial", "run"]).expect("nothing is said");
        let error = parse("config: x\n", &["seatrial", "run"]).expect_err("is no setting");
        assert!(!error.contains("did you mean `config`"), "{error}");
    }

    #[test]
    fn a_value_that_the_command_refuses_is_an_error_with_file_and_line() {
        let error = parse("context: lab\nrun:\n  max-gpus: many\n", &["seatrial", "run"]).expect_err("is no number");
        assert!(error.starts_with("seatrial.yaml:3: invalid value 'many' for '--max-gpus"), "{error}");
        parse("run:\n  max-gpus: many\n", &["seatrial", "run", "--max-gpus", "3"]).expect("is not asked for");
        let matches = parse("run: {report: [a=b, c=d], yes: true, max-gpus: 8}\n", &["seatrial", "run"]).expect("parses");
        let (_, run) = matches.subcommand().expect("run");
        assert_eq!((run.get_many::<String>("report").map(Iterator::count), run.get_flag("yes")), (Some(2), true));
    }

    #[test]
    fn unknown_names_and_wrong_forms_are_refused_with_place_and_the_nearest_name() {
        for (text, says, hint) in [
            ("recpie: x\n", "seatrial.yaml:1:1: no command has a flag --recpie", "did you mean `recipe`?"),
            ("run:\n  max_gpus: 3\n", "seatrial.yaml:2:3: `seatrial run` has no flag --max_gpus", "did you mean `max-gpus`?"),
            ("rnu: {recipe: x}\n", "seatrial.yaml:1:1: there is no command `rnu`", "did you mean `run`?"),
            ("run:\n  secret: x\n", "has no flag --secret", "SEATRIAL_KEY_PASSPHRASE"),
            ("run:\n  config: x\n", "has no flag --config", "names here"),
            ("key: x\n", "does not mean the same in each command", "evidence: verify or run"),
            ("run: {report: {a: b}}\n", "there is no command `run report`", "sections here"),
            ("recipe: [a, b]\n", "`recipe` wants one value, not a list", ""),
            ("recipe:\n", "`recipe` wants a value", ""),
            ("run: {yes: perhaps}\n", "`yes` wants true or false", ""),
        ] {
            let error = read(text, false).expect_err(text);
            let place = error.chain();
            let place = place.rsplit('/').next().unwrap_or_default();
            assert!(place.contains(says), "{text}: {place}");
            assert!(hint.is_empty() || error.hints().iter().any(|found| found.contains(hint)), "{text}: {:?}", error.hints());
        }
    }

    #[test]
    fn a_file_that_was_only_found_cannot_confirm_or_name_whom_to_trust() {
        for text in ["run: {yes: true}\n", "evidence: {verify: {key: theirs.pub}}\n"] {
            let error = read(text, true).expect_err(text);
            assert!(error.chain().contains("found by itself") && error.hints()[0].contains("--config"), "{}", error.chain());
            read(text, false).expect("was named");
        }
        assert!(read("# nothing\n", true).expect("is read").entries.is_empty());
    }
}
