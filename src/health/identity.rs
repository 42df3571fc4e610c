//! The fields of a resource that say which objects are meant.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::health::bindings::Names;

/// A field that says which object is meant; it may be an expression over the bindings.
pub(super) fn text(value: Option<&Value>, field: &str, names: &Names) -> Result<Option<String>, String> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => names.text(field, text),
        Some(other) => Err(format!("{field} must be text, and is {other}")),
    }
}

/// The labels that select objects where there is no name.
pub(super) fn labels(value: Option<&Value>, names: &Names) -> Result<BTreeMap<String, String>, String> {
    let Some(Value::Object(labels)) = value else { return Ok(BTreeMap::new()) };
    let pair = |(key, value): (&String, &Value)| {
        if key.starts_with(['(', '~', '\\']) || key.contains("->") {
            return Err(format!("metadata.labels: `{key}` is an expression, and a label is chosen by its name"));
        }
        let text = value.as_str().ok_or_else(|| format!("metadata.labels.{key} must be text, because it selects the objects"))?;
        Ok((key.clone(), names.text(&format!("metadata.labels.{key}"), text)?.unwrap_or_default()))
    };
    labels.iter().map(pair).collect()
}

/// A label selector of equalities, as diagnostics have it.
pub(super) fn equal_labels(selector: &str) -> Result<BTreeMap<String, String>, String> {
    let pair = |part: &str| {
        let (key, value) = part.split_once('=').ok_or_else(|| format!("selector `{selector}`: only `key=value` is supported"))?;
        let (key, value) = (key.trim(), value.trim_start_matches('=').trim());
        if key.is_empty() || key.contains(['!', ' ', '(']) {
            return Err(format!("selector `{selector}`: only `key=value` is supported"));
        }
        Ok((key.to_owned(), value.to_owned()))
    };
    selector.split(',').map(pair).collect()
}

/// Removes keys from a map, and the map's own key where nothing is left.
pub(super) fn without(fields: &mut Map<String, Value>, parent: &str, keys: &[&str]) {
    let Some(below) = fields.get_mut(parent).and_then(Value::as_object_mut) else { return };
    let had = !below.is_empty();
    keys.iter().for_each(|key| {
        below.remove(*key);
    });
    if had && below.is_empty() {
        fields.remove(parent);
    }
}
