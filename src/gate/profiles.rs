//! Vendor profiles before and after a change: what a profile says is part of what every recipe of its vendor is judged by.
//!
//! A recipe's digest does not hold the profile, and neither does evidence. So a change to one counts as a change to each recipe of its
//! vendor: evidence from before it has drifted, whatever its digest says.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::gate::recipes::Data;
use crate::gate::shown;
use crate::reason::{Reason, Said};
use crate::vendor::Vendor;
use crate::verify::{self, Change};
use crate::{data, yaml};

/// The folder of the profiles below the recipe data.
const FOLDER: &str = "vendors/";
/// Where changes to a profile are in a report: `vendors.nvidia.resource`.
pub(super) const INPUT: &str = "vendors.";

/// What a change does to the profile of one vendor.
#[derive(Clone, Debug, Default)]
pub(super) struct Profile {
    /// The files that it touches.
    pub(super) files: BTreeSet<String>,
    /// What they say after, and did not before.
    pub(super) changes: Vec<Change>,
}

/// Compares the profiles of two trees, by vendor. A file that is in neither is the one that ships.
///
/// # Errors
/// What is wrong with a profile once the change is merged.
pub(super) fn changed(before: &Data, after: &Data) -> Result<BTreeMap<String, Profile>, Said> {
    let ours = |path: &&String| path.starts_with(FOLDER) && path.ends_with(".yaml");
    let paths: BTreeSet<&String> = before.keys().chain(after.keys()).filter(ours).collect();
    let mut profiles: BTreeMap<String, Profile> = BTreeMap::new();
    for path in paths.into_iter().filter(|path| before.get(*path) != after.get(*path)) {
        let text = |side: &Data| side.get(path).cloned().or_else(|| data::recipe_file(path).map(|text| text.as_bytes().to_vec()));
        // What could not be read before was nobody's profile.
        let was = text(before).and_then(|bytes| read(&bytes, path).ok());
        let is = match text(after).map(|bytes| read(&bytes, path)) {
            Some(read) => Some(read.map_err(|why| Said::new(Reason::RecipeInvalid, why))?),
            None => None,
        };
        for vendor in [&was, &is].into_iter().flatten().map(|(vendor, _)| vendor).collect::<BTreeSet<_>>() {
            let of = |side: &Option<(String, Value)>| match side {
                Some((name, value)) if name == vendor => value.clone(),
                _ => Value::Null,
            };
            let changes = verify::documents(&of(&was), &of(&is)).into_iter();
            let changes: Vec<Change> = changes.map(|change| Change { input: input(vendor, &change.input), ..change }).collect();
            if !changes.is_empty() {
                let profile = profiles.entry(vendor.clone()).or_default();
                profile.files.insert(path.clone());
                profile.changes.extend(changes);
            }
        }
    }
    Ok(profiles)
}

fn input(vendor: &str, input: &str) -> String {
    if input.is_empty() { format!("{INPUT}{vendor}") } else { format!("{INPUT}{vendor}.{input}") }
}

/// A profile's vendor, and what it says.
fn read(bytes: &[u8], path: &str) -> Result<(String, Value), String> {
    let text = std::str::from_utf8(bytes).map_err(|_| format!("{} is not UTF-8 text", shown(path)))?;
    let wrong = |error: crate::error::Error| shown(&error.chain());
    let vendor: Vendor = yaml::from_str(text, path).map_err(wrong)?;
    Ok((vendor.name, yaml::from_str(text, path).map_err(wrong)?))
}
