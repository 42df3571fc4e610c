//! Takes out of a snapshot what names a place or a person: nodes, hosts, addresses, accounts, devices, secrets. What constraints read stays.
//!
//! A name is replaced by the same pseudonym everywhere, so that the snapshot still holds together. Without a key pseudonyms are numbers in
//! the order of names: the same input gives the same output, and nothing can be computed back. With a key they are the same in every
//! snapshot, for who wants to compare them, and can be guessed only by who has the key.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use aws_lc_rs::hmac;
use regex::{Captures, Regex};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::snapshot::Snapshot;

/// How pseudonyms are made.
#[derive(Clone, Debug, Default)]
pub enum Pseudonyms {
    /// `node-0001`, in the order of names.
    #[default]
    Numbered,
    /// `node-3fa9c1d2e0b4`, by a secret key: the same in every snapshot.
    Keyed(Vec<u8>),
}

/// What was taken out of a document.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Redaction {
    /// True if pseudonyms were made by a key, and are the same in other documents.
    pub keyed: bool,
    /// What was replaced or removed, where, and how often.
    pub removed: Vec<Removed>,
}

/// One sort of thing that was replaced or removed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Removed {
    /// `node name`, `IP address`, `secret`, …
    pub what: String,
    /// Where, e.g. `nodes[].labels.kubernetes.io/hostname`.
    pub place: String,
    /// How often.
    pub count: usize,
}

/// What stands where a secret was.
const GONE: &str = "[removed]";

/// Redacts a snapshot. Its readings of versions, counts, settings, labels and images stay; the redaction is written into it.
///
/// # Errors
/// [`crate::error::Kind::Internal`] if the snapshot does not survive it, which a test excludes.
pub fn redact(snapshot: &Snapshot, pseudonyms: &Pseudonyms) -> Result<Snapshot> {
    let mut redactor = Redactor::of(Some(snapshot), pseudonyms);
    let mut redacted = redactor.snapshot(snapshot)?;
    redacted.redaction = Some(Redaction { keyed: matches!(pseudonyms, Pseudonyms::Keyed(_)), removed: redactor.take_removed() });
    Ok(redacted)
}

/// Names of nodes and hosts, with their first parts: `ip-10-0-0-1.ec2.internal`, `ip-10-0-0-1`.
fn names(snapshot: &Snapshot) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for node in snapshot.nodes.value().into_iter().flatten() {
        names.insert(node.name.clone());
        names.extend(node.labels.get("kubernetes.io/hostname").cloned());
    }
    names.extend(snapshot.host.iter().map(|host| host.name.clone()));
    if let Some(imported) = &snapshot.imported {
        names.extend(imported.nodes().into_iter().map(str::to_owned));
        names.extend(imported.metadata.get("source-node").cloned());
    }
    names.extend(snapshot.pools.value().into_iter().flatten().filter_map(|pool| pool.node.clone()));
    names.retain(|name| !name.is_empty());
    names
}

/// A pattern, what it finds, and the word of its pseudonym; none is removed whole.
struct Rule {
    pattern: Regex,
    what: &'static str,
    word: Option<&'static str>,
}

static RULES: LazyLock<Vec<Rule>> = LazyLock::new(|| {
    let rules: [(&str, &'static str, Option<&'static str>); 8] = [
        (r"[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,}", "email address", Some("email")),
        (
            r"\b(?:eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*|AKIA[0-9A-Z]{16}|gh[pousr]_[A-Za-z0-9]{20,}|glpat-[A-Za-z0-9_-]{16,}|xox[abprs]-[A-Za-z0-9-]{10,}|nvapi-[A-Za-z0-9_-]{16,}|hf_[A-Za-z0-9]{20,})",
            "secret",
            None,
        ),
        (r"(?P<keep>arn:aws[a-z-]*:[a-z0-9-]*:[a-z0-9-]*:)\d{12}\b", "account", Some("account")),
        (r"\b\d{12}(?P<rest>\.dkr\.ecr\.)", "account", Some("account")),
        (r"^\d{12}$", "account", Some("account")),
        (r"(?i)\b(?:[0-9a-f]{2}:){5}[0-9a-f]{2}\b", "hardware address", Some("mac")),
        (r"(?i)\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b", "identifier", Some("id")),
        (r"\bi-[0-9a-f]{8,17}\b", "instance", Some("instance")),
    ];
    let compiled = rules.into_iter().filter_map(|(pattern, what, word)| Some(Rule { pattern: Regex::new(pattern).ok()?, what, word }));
    compiled.collect()
});

/// IPv4 addresses, with the letters around them: versions that look alike have more parts, or a leading `v`.
static IPV4: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"(?P<before>^|[^0-9A-Za-z.])(?P<ip>(?:\d{1,3}[.]){3}\d{1,3})(?P<after>$|[^0-9A-Za-z.])").ok());
/// What may be an IPv6 address.
static IPV6: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"(?i)[0-9a-f:]{0,39}:[0-9a-f:]{1,39}(?:%[a-z0-9]+)?").ok());

/// Fields whose texts are versions, and look like addresses.
const VERSIONS: &[&str] =
    &["versions", "version", "vbios", "firmware", "driver", "compute", "sysctl", "modules", "capacity", "allocatable", "runtimes", "pci"];
/// Places of another tool's snapshot that hold versions.
const VERSION_PLACES: &[&str] = &["K8s.image", "GPU.smi", "OS.sysctl"];
/// Fields in which a text that is a node's name is that name, however plain it is.
const NAMED: &[&str] = &["name", "node", "kubernetes.io/hostname", "source-node", "node-list"];
/// Words in a name that tell of a secret.
const SECRET: &[&str] = &["token", "secret", "password", "passwd", "passphrase", "credential", "api-key", "apikey", "private-key"];

/// Replaces names, addresses, accounts, devices and secrets by the same pseudonyms in as many documents as it is handed.
pub struct Redactor {
    key: Option<hmac::Key>,
    /// What is taken out.
    reach: Reach,
    /// The place that is told for everything, where keys on the way to it may say anything.
    told: Option<String>,
    names: BTreeSet<String>,
    given: BTreeMap<(&'static str, String), String>,
    counts: BTreeMap<&'static str, usize>,
    removed: BTreeMap<(&'static str, String), usize>,
}

/// What a [`Redactor`] takes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Everything that it knows.
    All,
    /// Everything but what stands in the names of images.
    AllButImages,
    /// Tokens and keys that can be told by their form, and nothing else.
    Tokens,
}

impl Redactor {
    /// A redactor that knows the nodes of a snapshot by name.
    #[must_use]
    pub fn of(snapshot: Option<&Snapshot>, pseudonyms: &Pseudonyms) -> Self {
        Self::new(pseudonyms, snapshot.map(names).unwrap_or_default())
    }

    /// The same with another reach.
    #[must_use]
    pub fn reaching(self, reach: Reach) -> Self {
        Self { reach, ..self }
    }

    /// Takes the names of a place or a person out of a snapshot, whose lists are sorted by their new names.
    ///
    /// # Errors
    /// [`crate::error::Kind::Internal`] if the snapshot does not survive it, which a test excludes.
    pub fn snapshot(&mut self, snapshot: &Snapshot) -> Result<Snapshot> {
        let failed = |error: serde_json::Error| Error::internal("redact a snapshot").because(error);
        let redacted = self.value("", "", serde_json::to_value(snapshot).map_err(failed)?);
        let mut redacted: Snapshot = serde_json::from_value(redacted).map_err(failed)?;
        if let super::Reading::Value(nodes) = &mut redacted.nodes {
            nodes.sort_by(|a, b| a.name.cmp(&b.name));
        }
        if let super::Reading::Value(pools) = &mut redacted.pools {
            pools.sort_by(|a, b| (&a.driver, &a.name).cmp(&(&b.driver, &b.name)));
        }
        Ok(redacted)
    }

    /// Redacts a document of any form, of which only this place is told.
    pub fn anything(&mut self, place: &str, value: Value) -> Value {
        self.told = Some(place.to_owned());
        let redacted = self.value(place, "", value);
        self.told = None;
        redacted
    }

    /// What was taken out since the last time this was asked, sorted.
    pub fn take_removed(&mut self) -> Vec<Removed> {
        let removed = std::mem::take(&mut self.removed).into_iter();
        removed.map(|((what, place), count)| Removed { what: what.to_owned(), place, count }).collect()
    }

    fn new(pseudonyms: &Pseudonyms, names: BTreeSet<String>) -> Self {
        let key = match pseudonyms {
            Pseudonyms::Numbered => None,
            Pseudonyms::Keyed(secret) => Some(hmac::Key::new(hmac::HMAC_SHA256, secret)),
        };
        let mut redactor =
            Self { key, reach: Reach::All, told: None, names, given: BTreeMap::new(), counts: BTreeMap::new(), removed: BTreeMap::new() };
        // In the order of names, so that numbers do not tell where a name was first met.
        for name in redactor.names.clone() {
            let full = redactor.pseudonym("node", &name);
            if let Some(short) = first_part(&name) {
                redactor.given.entry(("node", short.to_owned())).or_insert(full);
                redactor.names.insert(short.to_owned());
            }
        }
        redactor
    }

    /// What stands for a name, everywhere the same: `<word>-<12 hexadecimal digits>`, or a number without a key.
    pub fn pseudonym(&mut self, word: &'static str, original: &str) -> String {
        if let Some(given) = self.given.get(&(word, original.to_owned())) {
            return given.clone();
        }
        let made = match &self.key {
            Some(key) => {
                let tag = hmac::sign(key, format!("{word}\0{original}").as_bytes());
                let hex: String = tag.as_ref().iter().take(6).map(|byte| format!("{byte:02x}")).collect();
                format!("{word}-{hex}")
            }
            None => {
                let count = self.counts.entry(word).or_default();
                *count += 1;
                format!("{word}-{count:04}")
            }
        };
        self.given.insert((word, original.to_owned()), made.clone());
        made
    }

    /// Notes that something was taken out, or replaced.
    pub fn count(&mut self, what: &'static str, place: &str) {
        let place = self.told.as_deref().unwrap_or(place).to_owned();
        *self.removed.entry((what, place)).or_default() += 1;
    }

    /// Redacts every text in a document. `key` is the field that it stands in.
    pub fn value(&mut self, place: &str, key: &str, value: Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.text(place, key, text)),
            Value::Array(list) => {
                let place = format!("{place}[]");
                list.into_iter().map(|one| self.value(&place, key, one)).collect()
            }
            Value::Object(fields) => self.fields(place, key, fields),
            other => other,
        }
    }

    fn fields(&mut self, place: &str, key: &str, fields: Map<String, Value>) -> Value {
        // A reading is at the place of its value. Packed lists of labels are one place, as their keys are as many as nodes.
        let transparent = |name: &str| matches!(name, "value" | "unavailable") || place.contains("NodeTopology");
        // Keys of open-ended maps are texts too. Fields of our own documents look like none of what is replaced.
        let keyed = key == "images" || key == "data" || self.reach != Reach::All;
        let one = |(name, value): (String, Value)| {
            // Before it becomes part of a place.
            let name = if keyed { self.text(place, "", name) } else { name };
            let below =
                if transparent(&name) { place.to_owned() } else { format!("{place}{}{name}", if place.is_empty() { "" } else { "." }) };
            let known = if name == "value" { key } else { name.as_str() };
            let value = self.value(&below, known, value);
            (name, value)
        };
        Value::Object(fields.into_iter().map(one).collect())
    }

    /// Redacts a text that stands in the field `key` at this place.
    pub fn text(&mut self, place: &str, key: &str, text: String) -> String {
        let in_images = || place.split(['.', '[']).any(|part| part == "images");
        match self.reach {
            Reach::Tokens => return self.patterns(place, text),
            Reach::AllButImages if in_images() => return text,
            Reach::AllButImages | Reach::All => {}
        }
        let fixed = ["apiVersion", "kind", "apis", "crds", "deviceClasses"].iter().any(|whole| place.starts_with(whole));
        if text.is_empty() || fixed || place == "cluster.id" {
            return text;
        }
        if matches!(key, "providerId" | "provider-id") {
            self.count("provider id", place);
            return text.split_once("://").map_or_else(|| GONE.to_owned(), |(scheme, _)| format!("{scheme}://{GONE}"));
        }
        if key == "uuid" {
            self.count("device id", place);
            return self.pseudonym("GPU", &text);
        }
        if key == "cmdline" {
            return self.parameter(place, &text);
        }
        if is_secret(key) && !matches!(text.as_str(), "true" | "false") {
            self.count("secret", place);
            return GONE.to_owned();
        }
        if self.names.contains(&text) && (NAMED.contains(&key) || is_telling(&text)) {
            self.count("node name", place);
            return self.pseudonym("node", &text);
        }
        let text = self.patterns(place, text);
        let parts = || place.split(['.', '[']);
        let text = if parts().any(|part| part == "images") {
            // A tag may look like an address; a registry may be one.
            match text.split_once('/') {
                Some((registry, rest)) => format!("{}/{rest}", self.addresses(place, registry.to_owned())),
                None => text,
            }
        } else if key != "unavailable"
            && (parts().any(|part| VERSIONS.contains(&part)) || VERSION_PLACES.iter().any(|one| place.contains(one)))
        {
            text
        } else {
            self.addresses(place, text)
        };
        self.node_names(place, key, text)
    }

    /// A parameter of the kernel: an address or a host of it is named as such, and so is a secret.
    fn parameter(&mut self, place: &str, text: &str) -> String {
        let Some((name, value)) = text.split_once('=') else { return text.to_owned() };
        if is_secret(name) {
            self.count("secret", place);
            return format!("{name}={GONE}");
        }
        if matches!(name, "ip" | "nfsroot" | "hostname" | "nameserver" | "ds" | "rd.iscsi.initiator" | "systemd.hostname" | "talos.config")
        {
            self.count("network name", place);
            return format!("{name}={GONE}");
        }
        let value = self.patterns(place, value.to_owned());
        let value = self.addresses(place, value);
        format!("{name}={}", self.node_names(place, "", value))
    }

    fn patterns(&mut self, place: &str, mut text: String) -> String {
        for rule in RULES.iter() {
            let within_reach = self.reach != Reach::Tokens || rule.word.is_none();
            if !within_reach || !rule.pattern.is_match(&text) {
                continue;
            }
            let replaced = rule.pattern.replace_all(&text, |found: &Captures<'_>| {
                self.count(rule.what, place);
                let part = |name: &str| found.name(name).map_or("", |part| part.as_str());
                let whole = found.get(0).map_or("", |part| part.as_str());
                let bare = whole.trim_start_matches(part("keep")).trim_end_matches(part("rest"));
                let instead = rule.word.map_or_else(|| GONE.to_owned(), |word| self.pseudonym(word, bare));
                format!("{}{instead}{}", part("keep"), part("rest"))
            });
            text = replaced.into_owned();
        }
        text
    }

    fn addresses(&mut self, place: &str, text: String) -> String {
        let mut text = text;
        if let Some(pattern) = IPV4.as_ref().filter(|_| text.matches('.').count() >= 3) {
            text = pattern
                .replace_all(&text, |found: &Captures<'_>| {
                    let part = |name: &str| found.name(name).map_or("", |part| part.as_str());
                    match part("ip").parse::<std::net::Ipv4Addr>() {
                        Ok(ip) if !ip.is_loopback() && !ip.is_unspecified() && !ip.is_broadcast() => {
                            self.count("IP address", place);
                            format!("{}{}{}", part("before"), self.pseudonym("ip", part("ip")), part("after"))
                        }
                        _ => found.get(0).map_or("", |whole| whole.as_str()).to_owned(),
                    }
                })
                .into_owned();
        }
        if let Some(pattern) = IPV6.as_ref().filter(|_| text.matches(':').count() >= 2) {
            text = pattern
                .replace_all(&text, |found: &Captures<'_>| {
                    let whole = found.get(0).map_or("", |whole| whole.as_str());
                    let bare = whole.split('%').next().unwrap_or_default();
                    match bare.parse::<std::net::Ipv6Addr>() {
                        Ok(ip) if !ip.is_loopback() && !ip.is_unspecified() => {
                            self.count("IP address", place);
                            self.pseudonym("ip", bare)
                        }
                        _ => whole.to_owned(),
                    }
                })
                .into_owned();
        }
        text
    }

    /// Names of nodes inside a text, word by word: lists of nodes, keys that end in a name, references.
    fn node_names(&mut self, place: &str, key: &str, text: String) -> String {
        let list_at = match text.rfind('|') {
            Some(bar) if place.contains("NodeTopology") => bar,
            _ if key == "node-list" => 0,
            _ => text.len(),
        };
        let mut out = String::with_capacity(text.len());
        let mut at = 0;
        for word in text.split_inclusive(|letter: char| !(letter.is_ascii_alphanumeric() || "._-".contains(letter))) {
            let bare = word.trim_end_matches(|letter: char| !(letter.is_ascii_alphanumeric() || "._-".contains(letter)));
            let rest = &word[bare.len()..];
            match self.name_in(bare, at >= list_at) {
                Some(start) => {
                    self.count("node name", place);
                    out.push_str(&bare[..start]);
                    out.push_str(&self.pseudonym("node", &bare[start..]));
                }
                None => out.push_str(bare),
            }
            out.push_str(rest);
            at += word.len();
        }
        out
    }

    /// Where in a word a node's name begins, which goes on to its end: `hostname.gpu-1`.
    fn name_in(&self, word: &str, anything: bool) -> Option<usize> {
        let known = |start: &usize| {
            let name = &word[*start..];
            self.names.contains(name) && (anything || is_telling(name))
        };
        let starts = std::iter::once(0).chain(word.match_indices('.').map(|(dot, _)| dot + 1));
        starts.filter(|start| *start < word.len()).find(known)
    }
}

/// A plain word such as `gpu` or `linux` may be a node's name and many other things.
fn is_telling(name: &str) -> bool {
    name.len() >= 4 && name.bytes().any(|byte| byte.is_ascii_digit())
}

fn is_secret(name: &str) -> bool {
    let name = name.to_lowercase().replace('_', "-");
    SECRET.iter().any(|word| name.contains(word))
}

/// The part of a host's name before its domain, if it is long enough to be one.
fn first_part(name: &str) -> Option<&str> {
    name.split_once('.').map(|(first, _)| first).filter(|first| first.len() >= 4 && !first.bytes().all(|byte| byte.is_ascii_digit()))
}
