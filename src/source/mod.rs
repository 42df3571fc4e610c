//! Where documents come from and go to: a file, `-`, `https://…`, `cm://namespace/name`.

mod config_map;
mod web;
#[cfg(test)]
mod web_tests;

use std::fmt;
use std::io::Read;
use std::path::PathBuf;
use std::str::FromStr;

use reqwest::Url;

use crate::cluster::{Cluster, Target};
use crate::error::{Context, Error, Result};
use crate::files;
use crate::ui::{Ui, printable};

/// Where a document is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A file.
    File(PathBuf),
    /// Standard input; standard output where something is written.
    Stdio,
    /// A web address, https only.
    Web(Url),
    /// A ConfigMap of the cluster.
    ConfigMap {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
}

/// A document that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    /// What it says.
    pub text: String,
    /// How messages call it: a path, an address without secrets, `standard input`.
    pub name: String,
    /// The folder that its relative paths start from; only files have one.
    pub folder: Option<PathBuf>,
}

/// A document to be written.
#[derive(Clone, Copy, Debug)]
pub struct Artefact<'a> {
    /// What it says.
    pub text: &'a str,
    /// What it is, as the key of a ConfigMap begins: `snapshot`, `recipe`.
    pub stem: &'a str,
    /// Its data format, `yaml` or `json`.
    pub format: &'a str,
}

/// The forms, for messages.
const FORMS: &str = "a document is a file, `-`, https://… or cm://NAMESPACE/NAME";

impl FromStr for Source {
    type Err = Error;

    fn from_str(given: &str) -> Result<Self> {
        let shown = printable(given);
        if given.is_empty() {
            return Err(Error::usage("the name of a document is empty").hint(FORMS));
        }
        if given == "-" {
            return Ok(Self::Stdio);
        }
        let Some((scheme, rest)) = given.split_once("://") else { return Ok(Self::File(PathBuf::from(given))) };
        match scheme.to_ascii_lowercase().as_str() {
            "https" => web::parse(given).map(Self::Web),
            "cm" => config_map::parse(rest).map(|(namespace, name)| Self::ConfigMap { namespace, name }),
            "http" => {
                let safe = web::parse(&format!("https://{rest}")).map(|url| web::shown(&url)).unwrap_or_else(|_| "https://…".to_owned());
                Err(Error::usage("plain http is not read: anybody on the way could change the document")
                    .hint(format!("use {safe}, or fetch it yourself and give the file")))
            }
            "file" => Err(Error::usage(format!("`{shown}` is not read as an address")).hint(format!("give the path: {}", printable(rest)))),
            other => Err(Error::usage(format!("`{}://` is no kind of document", printable(other))).did_you_mean(other, ["https"], FORMS)),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Stdio => f.write_str("-"),
            Self::Web(url) => f.write_str(&web::shown(url)),
            Self::ConfigMap { namespace, name } => write!(f, "cm://{namespace}/{name}"),
        }
    }
}

/// Reads a source from the command line: an error with its hints on one line, as clap shows it.
///
/// # Errors
/// What [`Source::from_str`] says, with its hints.
pub fn argument(given: &str) -> std::result::Result<Source, String> {
    given.parse().map_err(|error: Error| format!("{} ({})", error.chain(), error.hints().join("; ")))
}

/// Reads a place to write to from the command line, as [`argument`] does.
///
/// # Errors
/// What [`Source::from_str`] says, and for a web address.
pub fn target(given: &str) -> std::result::Result<Source, String> {
    match argument(given)? {
        web @ Source::Web(_) => Err(format!("{} ({})", web.not_written().chain(), web.not_written().hints().join("; "))),
        target => Ok(target),
    }
}

/// Makes sure that standard input is read for one document only; each is given with the name of its flag.
///
/// # Errors
/// A usage error that names two.
pub fn one_standard_input(sources: &[(&str, Option<&Source>)]) -> Result<()> {
    let mut named = sources.iter().filter(|(_, source)| *source == Some(&Source::Stdio)).map(|(flag, _)| flag);
    match (named.next(), named.next()) {
        (Some(first), Some(second)) => {
            Err(Error::usage(format!("{first} and {second} are both to be read from standard input")).hint("give a file for one of them"))
        }
        _ => Ok(()),
    }
}

impl Source {
    /// Reads a document of at most `limit` bytes. `target` says which cluster a ConfigMap is in; nothing else connects to it.
    ///
    /// # Errors
    /// A usage error if it does not exist, is too large or is not text; [`Kind::Denied`](crate::error::Kind::Denied),
    /// `Unavailable` and `Timeout` where a server says so or says nothing.
    pub async fn read(&self, limit: u64, target: &Target) -> Result<Text> {
        match self {
            Self::File(path) => {
                let from = path.clone();
                let read = tokio::task::spawn_blocking(move || files::read_or_drain(&from, limit));
                let bytes = read.await.map_err(|error| Error::internal(format!("read {}", path.display())).because(error))??;
                Ok(Text { folder: path.parent().map(PathBuf::from), ..text(bytes, path.display().to_string())? })
            }
            Self::Stdio => {
                let read = tokio::task::spawn_blocking(move || read_all(std::io::stdin().lock(), limit));
                let bytes = read.await.map_err(|error| Error::internal("read standard input").because(error))??;
                text(bytes, "standard input".to_owned())
            }
            Self::Web(url) => text(web::fetch(url, limit, &web::Options::default()).await?, web::shown(url)),
            Self::ConfigMap { namespace, name } => {
                let doing = || format!("read {self}");
                let cluster = Cluster::connect(target).await.with_context(doing)?;
                let document = config_map::read(&cluster, namespace, name, limit).await.with_context(doing)?;
                Ok(Text { text: document, name: self.to_string(), folder: None })
            }
        }
    }

    /// Makes sure, as far as that can be told beforehand, that a document can be written: better now than after an hour of tests.
    ///
    /// # Errors
    /// As [`Source::write`].
    pub async fn ready(&self, artefact: Artefact<'_>, target: &Target) -> Result<()> {
        match self {
            Self::File(path) => files::can_write(path),
            Self::Stdio => Ok(()),
            Self::Web(_) => Err(self.not_written()),
            Self::ConfigMap { namespace, name } => {
                let doing = || format!("write {self}");
                let cluster = Cluster::connect(target).await.with_context(doing)?;
                config_map::ready(&cluster, namespace, name, &artefact).await.with_context(doing)
            }
        }
    }

    fn not_written(&self) -> Error {
        Error::usage(format!("{self} cannot be written to")).hint("write to a file, `-` or cm://NAMESPACE/NAME, and upload it from there")
    }

    /// Writes a document: a file whole or not at all, `-` to standard output, a ConfigMap created or changed.
    ///
    /// # Errors
    /// A usage error for an address that cannot be written to and for a document that a ConfigMap cannot hold; as the file system or
    /// the API server says otherwise.
    pub async fn write(&self, artefact: Artefact<'_>, target: &Target, ui: &Ui) -> Result<()> {
        match self {
            Self::File(path) => files::write(path, artefact.text.as_bytes()),
            Self::Stdio => {
                ui.artefact(artefact.text);
                Ok(())
            }
            Self::Web(_) => Err(self.not_written()),
            Self::ConfigMap { namespace, name } => {
                let doing = || format!("write {self}");
                // Before the cluster is asked for anything: it would refuse, and say less.
                config_map::fits(&artefact).with_context(doing)?;
                let cluster = Cluster::connect(target).await.with_context(doing)?;
                config_map::write(&cluster, namespace, name, &artefact).await.with_context(doing)
            }
        }
    }
}

fn read_all(from: impl Read, limit: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(limit + 1).read_to_end(&mut bytes).context("read standard input")?;
    if bytes.len() as u64 > limit {
        return Err(Error::usage(format!("standard input has more than {limit} bytes, which is the limit for such a document")));
    }
    if bytes.is_empty() {
        return Err(Error::usage("standard input is empty").hint("what should have written the document failed, or wrote nothing"));
    }
    Ok(bytes)
}

fn text(bytes: Vec<u8>, name: String) -> Result<Text> {
    let text = String::from_utf8(bytes).map_err(|_| Error::usage(format!("{name} is not UTF-8 text")))?;
    Ok(Text { text, name, folder: None })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;
    use crate::limits;
    use crate::ui::Mode;

    fn ui() -> Ui {
        Ui::new(Some(Mode::Human), true)
    }

    #[test]
    fn each_form_is_told_from_the_others_and_shown_without_secrets() {
        for (given, shown) in [
            ("recipe.yaml", "recipe.yaml"),
            ("./cm/x.yaml", "./cm/x.yaml"),
            ("-", "-"),
            ("cm://gpu-operator/aicr-snapshot", "cm://gpu-operator/aicr-snapshot"),
            ("https://example.com/r.yaml", "https://example.com/r.yaml"),
            ("HTTPS://me:secret@example.com/r.yaml?token=secret#x", "https://example.com/r.yaml"),
        ] {
            assert_eq!(given.parse::<Source>().expect(given).to_string(), shown);
        }
    }

    #[test]
    fn what_is_no_source_is_a_usage_error_that_says_what_to_give() {
        for (given, says) in [
            ("", "cm://NAMESPACE/NAME"),
            ("http://example.com/r.yaml", "https://example.com/r.yaml"),
            ("htps://example.com/r.yaml", "did you mean `https`?"),
            ("file:///tmp/x", "give the path: /tmp/x"),
            ("oci://x/y", "cm://NAMESPACE/NAME"),
            ("cm://only-one", "cm://NAMESPACE/NAME"),
            ("cm://a/b/c", "cm://NAMESPACE/NAME"),
            ("cm://A/b", "cm://NAMESPACE/NAME"),
            ("cm://a/../b", "cm://NAMESPACE/NAME"),
            ("https://", "https://"),
        ] {
            let error = given.parse::<Source>().expect_err(given);
            assert_eq!(error.kind(), Kind::Usage);
            assert!(error.hints().iter().any(|hint| hint.contains(says)), "{given}: {:?}", error.hints());
            assert!(argument(given).expect_err(given).contains(says));
        }
    }

    #[tokio::test]
    async fn files_are_read_with_their_folder_and_written_whole() {
        let folder = tempfile::tempdir().expect("a directory");
        let path = folder.path().join("r.yaml");
        let source = Source::File(path.clone());
        let missing = source.read(10, &Target::default()).await.expect_err("is not there");
        assert_eq!(missing.kind(), Kind::Usage);
        let artefact = Artefact { text: "a: 1\n", stem: "recipe", format: "yaml" };
        source.write(artefact, &Target::default(), &ui()).await.expect("is written");
        let read = source.read(5, &Target::default()).await.expect("is there");
        assert_eq!((read.text.as_str(), read.folder.as_deref()), ("a: 1\n", Some(folder.path())));
        assert!(source.read(4, &Target::default()).await.expect_err("too large").chain().contains("more than 4 bytes"));
    }

    #[tokio::test]
    async fn nothing_is_written_to_the_web_and_nothing_too_large_to_a_config_map() {
        let web: Source = "https://example.com/s.yaml".parse().expect("an address");
        let artefact = Artefact { text: "x", stem: "snapshot", format: "yaml" };
        assert_eq!(web.write(artefact, &Target::default(), &ui()).await.expect_err("refused").kind(), Kind::Usage);
        assert_eq!(web.ready(artefact, &Target::default()).await.expect_err("refused").kind(), Kind::Usage);
        assert!(target("https://example.com/s.yaml").expect_err("refused beforehand").contains("cannot be written to"));
        assert_eq!(target("-"), Ok(Source::Stdio));
        let large = "x".repeat(limits::CONFIG_MAP_BYTES);
        let map: Source = "cm://a/b".parse().expect("a name");
        let error = map.write(Artefact { text: &large, ..artefact }, &Target::default(), &ui()).await.expect_err("too large");
        assert_eq!(error.kind(), Kind::Usage);
        assert!(error.chain().contains("1048576 bytes") && error.hints()[0].contains("file"), "{}", error.chain());
    }

    #[test]
    fn standard_input_is_one_document() {
        let (input, file) = (Source::Stdio, Source::File("x".into()));
        let error = one_standard_input(&[("--recipe", Some(&input)), ("--criteria", None), ("--snapshot", Some(&input))]);
        assert!(error.expect_err("two").chain().starts_with("--recipe and --snapshot"));
        one_standard_input(&[("--recipe", Some(&input)), ("--snapshot", Some(&file))]).expect("one");
    }

    #[test]
    fn standard_input_is_bounded_and_an_empty_one_is_an_error() {
        assert_eq!(read_all(&b"1234"[..], 4).expect("fits"), b"1234");
        assert!(read_all(&b"12345"[..], 4).expect_err("too large").chain().contains("more than 4 bytes"));
        assert!(read_all(&b""[..], 4).expect_err("empty").chain().contains("is empty"));
        assert_eq!(read_all(std::io::repeat(b'x'), 4).expect_err("endless").kind(), Kind::Usage);
    }
}
