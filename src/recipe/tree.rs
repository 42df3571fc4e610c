//! A recipe's content as single values by path, so that parts can be merged, compared and looked up by name.
//!
//! Lists become maps by what names their members: `components.gpu-operator.version`, `constraints.K8s.server.version`,
//! `checks.conformance.dra-support`. Components and their values are taken apart; a constraint, an expected object or a threshold is one
//! value, because its parts only mean something together.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::ui::printable;

/// A path of names.
pub(super) type Path = Vec<String>;

/// Values by path.
pub(super) type Leaves = BTreeMap<Path, Value>;

/// Sections whose members are one value each, under the key that names them.
const LISTS: [&str; 6] = ["constraints", "controllers", "expect", "gangSchedulers", "health", "thresholds"];

/// The values of a recipe's or an overlay's `spec`.
///
/// # Errors
/// A usage error if a list names the same thing twice.
pub(super) fn leaves(spec: &Value) -> Result<Leaves> {
    let mut leaves = Leaves::new();
    let mut put = |path: &[&str], value: &Value| -> Result<()> {
        let path: Path = path.iter().map(|part| (*part).to_owned()).collect();
        match leaves.insert(path.clone(), value.clone()) {
            None => Ok(()),
            Some(_) => Err(Error::usage(format!("{} is stated twice", printable(&shown(&path))))),
        }
    };
    for (section, content) in spec.as_object().into_iter().flatten() {
        match section.as_str() {
            "vendor" => put(&["vendor"], content)?,
            "components" => {
                for component in items(content) {
                    self::component(component, &mut put)?;
                }
            }
            "checks" => {
                for (phase, ids) in content.as_object().into_iter().flatten() {
                    for id in items(ids) {
                        put(&["checks", phase, text(id)], &Value::Bool(true))?;
                    }
                }
            }
            // One value for each intent, and for each part of what a check is told.
            section @ ("intent" | "autoscaling") => {
                for (name, part) in content.as_object().into_iter().flatten() {
                    put(&[section, name], part)?;
                }
            }
            list if LISTS.contains(&list) => {
                for item in items(content) {
                    put(&[list, &key(list, item)], item)?;
                }
            }
            _ => {}
        }
    }
    Ok(leaves)
}

type Put<'a> = dyn FnMut(&[&str], &Value) -> Result<()> + 'a;

fn component(component: &Value, put: &mut Put<'_>) -> Result<()> {
    let name = text(&component["name"]);
    // The name is a value of its own, so that a component of which nothing else is said is there too.
    for (field, value) in component.as_object().into_iter().flatten() {
        match field.as_str() {
            "values" => values(&mut vec!["components", name, "values"], value, put)?,
            "expect" => {
                for object in items(value) {
                    put(&["expect", &key("expect", object)], object)?;
                }
            }
            _ => put(&["components", name, field], value)?,
        }
    }
    Ok(())
}

fn values<'a>(path: &mut Vec<&'a str>, value: &'a Value, put: &mut Put<'_>) -> Result<()> {
    match value {
        Value::Object(map) if !map.is_empty() => {
            for (name, value) in map {
                path.push(name);
                values(path, value, put)?;
                path.pop();
            }
            Ok(())
        }
        _ => put(path, value),
    }
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// What names a member of a list.
pub(super) fn key(list: &str, item: &Value) -> String {
    let with = |name: &str, by: &str| if by.is_empty() { name.to_owned() } else { format!("{name}@{by}") };
    match list {
        "constraints" => with(text(&item["name"]), text(&item["over"])),
        "thresholds" => with(text(&item["id"]), text(&item["fabric"])),
        "controllers" | "gangSchedulers" => text(&item["name"]).to_owned(),
        "health" => text(&item["file"]).to_owned(),
        _ => {
            let names = [text(&item["namespace"]), text(&item["name"])];
            let names: Vec<&str> = names.into_iter().filter(|name| !name.is_empty()).collect();
            format!("{} {} {}", text(&item["apiVersion"]), text(&item["kind"]), names.join("/"))
        }
    }
}

/// The `spec` that these values are the values of, without its criteria; lists are in the order of their keys.
pub(super) fn spec(leaves: &Leaves) -> Value {
    let mut spec = Map::new();
    let list = |spec: &mut Map<String, Value>, name: &str, value: Value| {
        if let Value::Array(list) = spec.entry(name).or_insert_with(|| Value::Array(Vec::new())) {
            list.push(value);
        }
    };
    let mut components: BTreeMap<&str, Value> = BTreeMap::new();
    for (path, value) in leaves {
        let parts: Vec<&str> = path.iter().map(String::as_str).collect();
        match parts.as_slice() {
            ["components", name, rest @ ..] => {
                put_in(components.entry(name).or_insert_with(|| Value::Object(Map::new())), rest, value.clone());
            }
            ["checks", phase, id] => {
                if let Value::Object(phases) = spec.entry("checks").or_insert_with(|| Value::Object(Map::new())) {
                    list(phases, phase, Value::String((*id).to_owned()));
                }
            }
            [name, _] if LISTS.contains(name) => list(&mut spec, name, value.clone()),
            parts => {
                let mut whole = Value::Object(std::mem::take(&mut spec));
                put_in(&mut whole, parts, value.clone());
                spec = into_map(whole);
            }
        }
    }
    if !components.is_empty() {
        spec.insert("components".to_owned(), Value::Array(components.into_values().collect()));
    }
    Value::Object(spec)
}

fn into_map(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

fn put_in(within: &mut Value, path: &[&str], value: Value) {
    match path {
        [] => *within = value,
        [first, rest @ ..] => {
            if !within.is_object() {
                *within = Value::Object(Map::new());
            }
            if let Value::Object(map) = within {
                put_in(map.entry(*first).or_insert(Value::Null), rest, value);
            }
        }
    }
}

/// The values as one tree, each list as a map by key: what a path is looked up in.
pub(super) fn keyed(leaves: &Leaves) -> Value {
    let mut tree = Value::Object(Map::new());
    for (path, value) in leaves {
        let parts: Vec<&str> = path.iter().map(String::as_str).collect();
        put_in(&mut tree, &parts, value.clone());
    }
    tree
}

/// Looks a dotted path up; names with dots in them are found too.
///
/// # Errors
/// A usage error that says how far it got and what is there.
pub(super) fn look_up<'a>(tree: &'a Value, path: &str) -> Result<&'a Value> {
    let mut at = tree;
    let mut rest = path;
    while !rest.is_empty() {
        let names: Vec<&str> = at.as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect();
        let begins = |name: &&&str| rest.strip_prefix(**name).is_some_and(|after| after.is_empty() || after.starts_with('.'));
        let index = |list: &'a Vec<Value>| {
            let head = rest.split('.').next().unwrap_or_default();
            Some((list.get(head.parse::<usize>().ok()?)?, head.len()))
        };
        let found = match (names.iter().filter(begins).max_by_key(|name| name.len()), at) {
            (Some(name), _) => Some((&at[*name], name.len())),
            (None, Value::Array(list)) => index(list),
            (None, _) => None,
        };
        let Some((value, length)) = found else {
            return Err(miss(at, &path[..path.len() - rest.len()], rest, &names));
        };
        at = value;
        rest = rest[length..].trim_start_matches('.');
    }
    Ok(at)
}

fn miss(at: &Value, before: &str, rest: &str, names: &[&str]) -> Error {
    let within = if before.is_empty() { "the recipe".to_owned() } else { format!("`{}`", printable(before.trim_end_matches('.'))) };
    let error = Error::usage(format!("there is no `{}` in {within}", printable(rest)));
    let head = rest.split('.').next().unwrap_or(rest);
    let error = match crate::error::nearest(head, names.iter().copied()) {
        Some(near) => error.hint(format!("did you mean `{near}`?")),
        None => error,
    };
    match at {
        Value::Object(map) if map.is_empty() => error.hint(format!("{within} is empty")),
        Value::Object(_) => error.hint(format!("there is: {}", names.join(", "))),
        Value::Array(list) => error.hint(format!("it is a list of {}, numbered from 0", list.len())),
        value => error.hint(format!("{within} is the value {value}")),
    }
}

/// A path as people write it.
pub(super) fn shown(path: &[String]) -> String {
    path.join(".")
}

/// True if one path is the other or leads to it.
pub(super) fn leads_to(path: &[String], other: &[String]) -> bool {
    other.len() >= path.len() && other[..path.len()] == *path
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn sample() -> Value {
        json!({
            "vendor": "nvidia",
            "components": [{"name": "a", "version": "1", "values": {"x": {"y": 1, "z": [1, 2]}, "e": {}}}],
            "constraints": [{"name": "K8s.server.version", "value": ">= 1.34"}, {"name": "K8s.server.version", "over": "nodes", "value": "1"}],
            "checks": {"conformance": ["b", "a"], "deployment": []},
            "thresholds": [{"id": "nccl", "fabric": "efa", "value": ">= 1"}],
            "intent": {"training": {"pods": 1}},
        })
    }

    #[test]
    fn a_spec_comes_back_from_its_values_with_lists_in_order() {
        let mut wanted = sample();
        wanted["checks"] = json!({"conformance": ["a", "b"]});
        assert_eq!(spec(&leaves(&sample()).expect("values")), wanted);
        assert_eq!(leaves(&wanted).expect("values"), leaves(&sample()).expect("values"));
    }

    #[test]
    fn a_path_is_looked_up_through_names_with_dots_and_a_miss_says_what_is_there() {
        let tree = keyed(&leaves(&sample()).expect("values"));
        assert_eq!(look_up(&tree, "constraints.K8s.server.version.value").expect("is there"), &json!(">= 1.34"));
        assert_eq!(look_up(&tree, "constraints.K8s.server.version@nodes.value").expect("is there"), &json!("1"));
        assert_eq!(look_up(&tree, "components.a.values.x.z.1").expect("is there"), &json!(2));
        let error = look_up(&tree, "components.a.versoin").expect_err("is refused");
        assert!(error.chain().contains("no `versoin` in `components.a`"), "{}", error.chain());
        assert_eq!(error.hints(), ["did you mean `version`?", "there is: name, values, version"]);
    }

    #[test]
    fn what_is_stated_twice_is_refused() {
        let twice = json!({"constraints": [{"name": "a", "value": "1"}, {"name": "a", "value": "2"}]});
        assert!(leaves(&twice).expect_err("is refused").chain().contains("constraints.a is stated twice"));
    }
}
