//! What changed between two snapshots, by path. Lists are compared by what identifies their entries, not by position.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::Value;

use crate::error::{Error, Result};
use crate::limits;
use crate::snapshot::Snapshot;
use crate::snapshot::groups::some_of;

/// What differs between two snapshots.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Drift {
    /// True if both say that they are of one cluster, or of one machine; none where one of them does not say.
    pub same_subject: Option<bool>,
    /// Every change, by path.
    pub changes: Vec<Change>,
    /// Readings that neither has: nothing can be said of them.
    pub unknown: Vec<Unknown>,
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Change {
    /// Where, e.g. `nodes[gpu-1].versions.kernelVersion`.
    pub path: String,
    /// What it was; none if it was not there.
    pub before: Option<Value>,
    /// What it is; none if it is gone.
    pub after: Option<Value>,
}

/// A reading that neither snapshot has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Unknown {
    /// Where.
    pub path: String,
    /// Why the second has none.
    pub reason: String,
}

impl Drift {
    /// True if nothing was compared that would tell of drift: neither nodes, nor a machine, nor measurements.
    #[must_use]
    pub fn nothing_compared(&self, a: &Snapshot, b: &Snapshot) -> bool {
        let has = |snapshot: &Snapshot| (snapshot.nodes.value().is_some(), snapshot.host.is_some(), snapshot.imported.is_some());
        let ((a1, a2, a3), (b1, b2, b3)) = (has(a), has(b));
        !(a1 && b1 || a2 && b2 || a3 && b3)
    }

    /// For people: changes that are the same for several nodes are one line.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let mut same: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
        for change in &self.changes {
            let (pattern, entry) = pattern(&change.path);
            let words = match (&change.before, &change.after) {
                (None, Some(after)) => format!("+ {}", brief(after)),
                (Some(before), None) => format!("- {}", brief(before)),
                (before, after) => {
                    format!("{} → {}", before.as_ref().map(brief).unwrap_or_default(), after.as_ref().map(brief).unwrap_or_default())
                }
            };
            same.entry((pattern, words)).or_default().push(entry);
        }
        let line = |((pattern, words), entries): (&(String, String), &Vec<String>)| match entries.as_slice() {
            [one] if one.is_empty() => format!("{pattern}   {words}"),
            [one] => format!("{}   {words}", pattern.replacen("[]", &format!("[{one}]"), 1)),
            many => format!("{}   {words}   ({} of them: {})", pattern, many.len(), some_of(many)),
        };
        same.iter().map(line).collect()
    }
}

/// The path without the first entry that it names, and that entry.
fn pattern(path: &str) -> (String, String) {
    match (path.find('['), path.find(']')) {
        (Some(start), Some(end)) if start < end => (format!("{}[]{}", &path[..start], &path[end + 1..]), path[start + 1..end].to_owned()),
        _ => (path.to_owned(), String::new()),
    }
}

fn brief(value: &Value) -> String {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let short: String = text.chars().take(limits::QUOTED_CHARS).collect();
    if short.len() < text.len() { format!("{short}…") } else { short }
}

/// Compares two snapshots.
///
/// # Errors
/// [`crate::error::Kind::Internal`] if a snapshot has no JSON form.
pub fn diff(a: &Snapshot, b: &Snapshot) -> Result<Drift> {
    let json = |snapshot: &Snapshot| serde_json::to_value(snapshot).map_err(|error| Error::internal("compare snapshots").because(error));
    let mut drift = Drift { same_subject: same_subject(a, b), ..Drift::default() };
    compare("", Some(json(a)?), Some(json(b)?), &mut drift);
    drift.changes.sort_by(|a, b| a.path.cmp(&b.path));
    drift.unknown.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(drift)
}

fn same_subject(a: &Snapshot, b: &Snapshot) -> Option<bool> {
    match (&a.host, &b.host) {
        (Some(a), Some(b)) => Some(a.name == b.name),
        (None, None) => Some(a.cluster.id.value()? == b.cluster.id.value()?),
        _ => Some(false),
    }
}

fn compare(path: &str, before: Option<Value>, after: Option<Value>, drift: &mut Drift) {
    match (before, after) {
        (Some(before), Some(after)) if before == after => note_unknown(path, &after, drift),
        (Some(Value::Object(mut before)), Some(Value::Object(mut after))) => {
            // A reading is compared by its value; a reason against a value is a change of the reading.
            if let (Some(before), Some(after)) = (sole(&before, "value"), sole(&after, "value")) {
                return compare(path, Some(before.clone()), Some(after.clone()), drift);
            }
            if let (Some(_), Some(why)) = (sole(&before, "unavailable"), sole(&after, "unavailable")) {
                return drift.unknown.push(Unknown { path: path.to_owned(), reason: brief(why) });
            }
            let is_reading =
                |fields: &serde_json::Map<String, Value>| sole(fields, "value").or_else(|| sole(fields, "unavailable")).is_some();
            if is_reading(&before) && is_reading(&after) {
                let (before, after) = (Some(Value::Object(before)), Some(Value::Object(after)));
                return drift.changes.push(Change { path: path.to_owned(), before, after });
            }
            let keys: BTreeSet<String> = before.keys().chain(after.keys()).cloned().collect();
            for key in keys {
                compare(&below(path, &key), before.remove(&key), after.remove(&key), drift);
            }
        }
        (Some(Value::Array(before)), Some(Value::Array(after))) => compare_lists(path, before, after, drift),
        (before, after) => drift.changes.push(Change { path: path.to_owned(), before, after }),
    }
}

fn below(path: &str, key: &str) -> String {
    match (path.is_empty(), key.contains(['.', '/'])) {
        (true, _) => key.to_owned(),
        (false, true) => format!("{path}.\"{key}\""),
        (false, false) => format!("{path}.{key}"),
    }
}

/// The only field of an object, if it has this name.
fn sole<'a>(fields: &'a serde_json::Map<String, Value>, name: &str) -> Option<&'a Value> {
    fields.get(name).filter(|_| fields.len() == 1)
}

/// Readings of the whole that neither has. Deeper ones, such as a fan that a GPU does not have, are no gap.
fn note_unknown(path: &str, value: &Value, drift: &mut Drift) {
    let Some(fields) = value.as_object().filter(|_| path.matches('.').count() < 2) else { return };
    match sole(fields, "unavailable") {
        Some(why) => drift.unknown.push(Unknown { path: path.to_owned(), reason: brief(why) }),
        None => fields.iter().for_each(|(key, value)| note_unknown(&below(path, key), value, drift)),
    }
}

/// Entries that say who they are are compared one by one; others are there or not there.
fn compare_lists(path: &str, before: Vec<Value>, after: Vec<Value>, drift: &mut Drift) {
    let named = |list: &[Value]| list.iter().map(identity).collect::<Option<Vec<String>>>();
    let unique = |names: &[String]| names.iter().collect::<BTreeSet<_>>().len() == names.len();
    match (named(&before), named(&after)) {
        (Some(a), Some(b)) if unique(&a) && unique(&b) => {
            let mut before: BTreeMap<String, Value> = a.into_iter().zip(before).collect();
            let mut after: BTreeMap<String, Value> = b.into_iter().zip(after).collect();
            let names: BTreeSet<String> = before.keys().chain(after.keys()).cloned().collect();
            for name in names {
                compare(&format!("{path}[{name}]"), before.remove(&name), after.remove(&name), drift);
            }
        }
        _ => {
            let mut counts: BTreeMap<String, (i64, Value)> = BTreeMap::new();
            for (list, step) in [(before, -1), (after, 1)] {
                for value in list {
                    counts.entry(value.to_string()).or_insert((0, value)).0 += step;
                }
            }
            for (count, value) in counts.into_values() {
                for _ in 0..count.abs() {
                    let (before, after) = if count < 0 { (Some(value.clone()), None) } else { (None, Some(value.clone())) };
                    drift.changes.push(Change { path: path.to_owned(), before, after });
                }
            }
        }
    }
}

/// What identifies an entry of a list.
fn identity(entry: &Value) -> Option<String> {
    let text = |key: &str| entry[key].as_str();
    let reading = |key: &str| entry[key]["value"].as_str();
    if let (Some(kind), Some(namespace), Some(name)) = (text("kind"), text("namespace"), text("name")) {
        return Some(format!("{kind} {namespace}/{name}"));
    }
    if let (Some(driver), Some(name), true) = (text("driver"), text("name"), entry["generation"].is_number()) {
        return Some(format!("{driver}/{name}"));
    }
    let number = |key: &str| entry[key].as_u64().map(|number| number.to_string());
    let ways = [text("name"), text("address"), text("tool"), reading("pci"), reading("uuid")];
    ways.into_iter().flatten().next().map(str::to_owned).or_else(|| number("number")).or_else(|| number("index"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn drift(a: Value, b: Value) -> Drift {
        let mut drift = Drift::default();
        compare("", Some(a), Some(b), &mut drift);
        drift
    }

    #[test]
    fn entries_are_compared_by_name_and_taints_as_a_set() {
        let node = |name: &str, kernel: &str, value: &str| {
            json!({"name": name, "versions": {"kernelVersion": kernel},
            "taints": [{"key": "a", "value": value, "effect": "NoSchedule"}]})
        };
        let before = json!({"nodes": {"value": [node("a", "1", "x"), node("b", "1", "x")]}});
        let after = json!({"nodes": {"value": [node("b", "2", "x"), node("c", "1", "x")]}});
        let found = drift(before, after);
        let paths: Vec<&str> = found.changes.iter().map(|change| change.path.as_str()).collect();
        assert_eq!(paths, ["nodes[a]", "nodes[b].versions.kernelVersion", "nodes[c]"]);
        let one = drift(json!({"n": [node("a", "1", "x")]}), json!({"n": [node("a", "1", "y")]}));
        assert_eq!(one.changes.len(), 2, "one taint went, one came");
    }

    #[test]
    fn what_neither_has_is_unknown_and_what_only_one_has_is_a_change() {
        let found = drift(json!({"nodes": {"unavailable": "denied"}}), json!({"nodes": {"unavailable": "denied"}}));
        assert_eq!((found.changes.len(), found.unknown.len()), (0, 1));
        let found = drift(json!({"nodes": {"unavailable": "denied"}}), json!({"nodes": {"value": []}}));
        assert_eq!((found.changes.len(), found.unknown.len()), (1, 0), "{found:?}");
    }

    #[test]
    fn the_same_change_on_many_nodes_is_one_line() {
        let nodes = |kernel: &str| json!({"nodes": (0..6).map(|n| json!({"name": format!("n{n}"), "kernel": kernel})).collect::<Vec<_>>()});
        assert_eq!(drift(nodes("1"), nodes("2")).lines(), ["nodes[].kernel   1 → 2   (6 of them: n0, n1, n2, n3 and 2 more)"]);
    }
}
