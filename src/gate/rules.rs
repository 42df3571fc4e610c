//! The policy that judges, which is the base's, and what the change would make of it.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use serde_json::Value;

use crate::digest::Digest;
use crate::error::{Error, Kind, Result};
use crate::gate::report::{PolicyChange, PolicyUsed};
use crate::gate::shown;
use crate::gate::trees::Tree;
use crate::policy::{Policy, form};
use crate::reason::{Reason, Said};
use crate::{limits, verify, yaml};

/// Changes of a policy that a report lists.
const LISTED: usize = 100;

/// A policy in a tree.
pub(super) struct Rules {
    pub(super) policy: Policy,
    text: String,
    /// Paths of the key files that it names, from the root of the tree.
    pub(super) keys: Vec<String>,
}

impl Rules {
    /// Reads the policy of a tree; `None` if there is none.
    ///
    /// # Errors
    /// As [`Policy::read`].
    pub(super) fn read(tree: &Tree, path: &str) -> Result<Option<Self>> {
        let Some(bytes) = tree.file(path, limits::DOCUMENT_BYTES)? else { return Ok(None) };
        let text = text(bytes, path)?;
        let keys = form::key_files(&form::parse(&text, path)?).into_iter().filter_map(|key| beside(path, key)).collect();
        let key = |key: &Path| -> Result<String> {
            let missing = || Error::new(Kind::Schema, format!("{path}: there is no key file {}", shown(&key.display().to_string())));
            let place = beside(path, key).ok_or_else(missing)?;
            self::text(tree.file(&place, limits::DOCUMENT_BYTES)?.ok_or_else(missing)?, &place)
        };
        let policy = Policy::from_text(&text, path, &key)?;
        Ok(Some(Self { policy, text, keys }))
    }

    /// How the report names it.
    pub(super) fn used(&self) -> PolicyUsed {
        PolicyUsed { path: self.policy.name.clone(), digest: Digest::of(self.text.as_bytes()), owners: self.policy.owners.clone() }
    }
}

fn text(bytes: Vec<u8>, path: &str) -> Result<String> {
    String::from_utf8(bytes).map_err(|_| Error::new(Kind::Schema, format!("{path} is not UTF-8 text")))
}

/// The path of a key file from the root of the tree; `None` if it leads out of it.
fn beside(policy: &str, key: &Path) -> Option<String> {
    let plain = key.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    let folder = Path::new(policy).parent().unwrap_or(Path::new(""));
    let place: PathBuf = folder.join(key).components().filter(|part| matches!(part, Component::Normal(_))).collect();
    if plain { place.to_str().map(str::to_owned) } else { None }
}

/// What the change makes of the policy.
pub(super) struct Amended {
    /// Paths of the policy and of all key files, before and after.
    pub(super) paths: BTreeSet<String>,
    /// What it says after and did not before.
    pub(super) changes: Vec<PolicyChange>,
    /// Why it could not be used any more.
    pub(super) unusable: Option<Said>,
}

/// Compares the policy of the base with that of the head.
pub(super) fn amended(base: Option<&Rules>, head: &Tree, path: &str) -> Amended {
    let mut paths = BTreeSet::from([path.to_owned()]);
    paths.extend(base.iter().flat_map(|rules| rules.keys.iter().cloned()));
    let one = |input: &str, was: Option<&str>, is: Option<&str>| PolicyChange {
        input: input.to_owned(),
        was: was.map(str::to_owned),
        is: is.map(str::to_owned),
    };
    match Rules::read(head, path) {
        Err(error) => {
            let unusable = Said::new(Reason::PolicyInvalid, shown(&error.chain()));
            Amended { paths, changes: Vec::new(), unusable: Some(unusable) }
        }
        Ok(None) => {
            let changes = base.map(|_| one(path, Some("there"), None)).into_iter().collect();
            let unusable = base.map(|_| Said::new(Reason::PolicyInvalid, format!("{path} would be gone, and nothing could be judged")));
            Amended { paths, changes, unusable }
        }
        Ok(Some(after)) => {
            paths.extend(after.keys.iter().cloned());
            let changes = match base {
                Some(before) => differences(before, &after),
                None => vec![one(path, None, Some("there"))],
            };
            Amended { paths, changes, unusable: None }
        }
    }
}

fn differences(before: &Rules, after: &Rules) -> Vec<PolicyChange> {
    let value = |rules: &Rules| yaml::from_str::<Value>(&rules.text, &rules.policy.name).unwrap_or_default();
    let text = |value: Option<String>| value.as_deref().map(shown);
    let changes = verify::documents(&value(before), &value(after)).into_iter();
    let mut listed: Vec<PolicyChange> =
        changes.map(|change| PolicyChange { input: shown(&change.input), was: text(change.was), is: text(change.is) }).collect();
    if listed.len() > LISTED {
        let more = format!("and {} more", listed.len() - LISTED);
        listed.truncate(LISTED);
        listed.push(PolicyChange { input: more, was: None, is: None });
    }
    listed
}
