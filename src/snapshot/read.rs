//! Reads a snapshot from text: ours in JSON or YAML, or another tool's. What is not exactly that is refused, with line and column.

use std::fmt;

use serde::de::{DeserializeOwned, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::error::{Context, Error, Result, nearest};
use crate::recipe::API_VERSION;
use crate::snapshot::Snapshot;
use crate::snapshot::foreign::{self, Spelt, Typed};
use crate::ui::printable;
use crate::{limits, yaml};

/// Reads a snapshot from text on a thread of its own, so that signals are heard meanwhile.
///
/// # Errors
/// As [`read_text`], and if the snapshot says other hardware than its nodes show: a label is told from them, never from a file.
pub async fn parse(text: String, name: String) -> Result<Snapshot> {
    blocking(move || {
        let snapshot = read_text(&text, &name)?;
        label_follows(&snapshot, &name)?;
        Ok(snapshot)
    })
    .await
}

fn label_follows(snapshot: &Snapshot, name: &str) -> Result<()> {
    let told = [("the cluster".to_owned(), snapshot.cluster.hardware, snapshot.derived_hardware())];
    let nodes = snapshot.nodes.value().into_iter().flatten();
    let nodes = nodes.map(|node| (format!("node {}", printable(&node.name)), node.hardware, node.derived_hardware()));
    match told.into_iter().chain(nodes).find(|(_, told, derived)| told != derived) {
        None => Ok(()),
        Some((what, told, derived)) => {
            let what = format!("{name}: {what} has {} hardware as the snapshot says, and {} by what it shows", told.word(), derived.word());
            Err(Error::usage(what).hint("somebody changed it: take another"))
        }
    }
}

async fn blocking(work: impl FnOnce() -> Result<Snapshot> + Send + 'static) -> Result<Snapshot> {
    tokio::task::spawn_blocking(work).await.map_err(|error| Error::internal("read a snapshot").because(error))?
}

/// Reads a snapshot. `name` is the file, or other source, as the user knows it.
///
/// # Errors
/// [`crate::error::Kind::Usage`] with `name:line:column`: another kind, an unknown `apiVersion`, two documents, unknown fields, …
pub fn read_text(text: &str, name: &str) -> Result<Snapshot> {
    if text.len() as u64 > limits::SNAPSHOT_BYTES {
        return Err(Error::usage(format!("{name} has {} bytes; the limit for a snapshot is {}", text.len(), limits::SNAPSHOT_BYTES)));
    }
    let json = text.trim_start_matches('\u{feff}').trim_start().starts_with('{');
    // YAML counts its nodes while it reads.
    if json && text.bytes().filter(|byte| *byte == b'"').count() / 2 > limits::SNAPSHOT_NODES {
        return Err(Error::usage(format!("{name} has more than {} texts, which is the limit for a snapshot", limits::SNAPSHOT_NODES)));
    }
    let head = if json { from_json::<Head>(text, name)? } else { yaml_head(text, name)? };
    let ours = vouched(&head, name)?;
    let doing = || format!("read the snapshot {name}");
    match (ours, json) {
        (true, true) => from_json(text, name),
        (true, false) => yaml::from_large_str(text, name),
        (false, true) => foreign::take(from_json::<foreign::Document<Typed>>(text, name)?, name).with_context(doing),
        (false, false) => foreign::take(yaml::from_large_str::<foreign::Document<Spelt>>(text, name)?, name).with_context(doing),
    }
}

/// What a document says that it is.
#[derive(Debug, Default)]
struct Head {
    kind: Option<String>,
    api_version: Option<String>,
}

impl<'de> Deserialize<'de> for Head {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = Head;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a document with kind and apiVersion")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Head, A::Error> {
                let mut head = Head::default();
                while let Some(key) = map.next_key::<std::borrow::Cow<'de, str>>()? {
                    match key.as_ref() {
                        "kind" => head.kind = map.next_value()?,
                        "apiVersion" => head.api_version = map.next_value()?,
                        _ => {
                            map.next_value::<IgnoredAny>()?;
                        }
                    }
                }
                Ok(head)
            }
        }
        deserializer.deserialize_map(Fields)
    }
}

/// Most documents say kind and version at the left edge, which spares reading them twice; what is told here is checked again later.
fn yaml_head(text: &str, name: &str) -> Result<Head> {
    let field = |wanted: &str| {
        let values = text.lines().filter_map(|line| line.strip_prefix(wanted)?.strip_prefix(':'));
        values
            .map(|value| value.split(" #").next().unwrap_or_default().trim().trim_matches(['"', '\'']).to_owned())
            .find(|value| !value.is_empty())
    };
    match (field("kind"), field("apiVersion")) {
        (Some(kind), Some(version)) => Ok(Head { kind: Some(kind), api_version: Some(version) }),
        _ => yaml::from_large_str(text, name),
    }
}

/// True if the document is ours, false if it is another tool's.
fn vouched(head: &Head, name: &str) -> Result<bool> {
    let kind = head.kind.as_deref().ok_or_else(|| Error::usage(format!("{name} has no `kind`: it is no snapshot")).hint(WANTED))?;
    if kind != "Snapshot" {
        let shown: String = kind.chars().take(limits::QUOTED_CHARS).collect();
        return Err(Error::usage(format!("{name} holds a `{}`, not a Snapshot", shown.escape_debug())).hint(WANTED));
    }
    match head.api_version.as_deref() {
        Some(API_VERSION) => Ok(true),
        Some(version) if foreign::API_VERSIONS.contains(&version) => Ok(false),
        Some(version) => {
            let known: Vec<&str> = foreign::API_VERSIONS.iter().copied().chain([API_VERSION]).collect();
            let all = format!("known are {}", known.join(", "));
            let shown: String = version.chars().take(limits::QUOTED_CHARS).collect();
            Err(Error::usage(format!("{name} is a Snapshot of an unknown apiVersion `{}`", shown.escape_debug()))
                .did_you_mean(version, known, all))
        }
        None => Err(Error::usage(format!("{name} has no `apiVersion`")).hint(WANTED)),
    }
}

const WANTED: &str = "take one with `seatrial snapshot -o snapshot.json`";

fn from_json<T: DeserializeOwned>(text: &str, name: &str) -> Result<T> {
    serde_json::from_str(text.trim_start_matches('\u{feff}')).map_err(|error| {
        let place = format!("{name}:{}:{}", error.line(), error.column());
        let said = error.to_string();
        let said = said.rsplit_once(" at line ").map_or(said.as_str(), |(cause, _)| cause);
        let explained = Error::usage(format!("{place}: {said}"));
        // `unknown field `x`, expected one of `a`, `b``
        let mut names = said.split('`').skip(1).step_by(2);
        match (said.starts_with("unknown "), names.next()) {
            (true, Some(wrong)) => match nearest(wrong, names) {
                Some(near) => explained.hint(format!("did you mean `{near}`?")),
                None => explained,
            },
            _ if said.starts_with("trailing characters") => explained.hint("one file holds one snapshot"),
            _ => explained,
        }
    })
}
