//! Documents in ConfigMaps: `data: {snapshot.yaml: …, format: yaml}`.

use serde_json::{Value, json};

use crate::cluster::scratch::{MANAGED_BY, OWNER};
use crate::cluster::{Cluster, ObjectRef};
use crate::error::{Error, Kind, Result};
use crate::limits;
use crate::source::Artefact;
use crate::ui::printable;

/// Keys beside the document.
const ABOUT: [&str; 2] = ["format", "timestamp"];

/// Reads `NAMESPACE/NAME`.
pub(super) fn parse(rest: &str) -> Result<(String, String)> {
    let wrong =
        |why: &str| Err(Error::usage(format!("`cm://{}` names no ConfigMap: {why}", printable(rest))).hint("write cm://NAMESPACE/NAME"));
    let Some((namespace, name)) = rest.split_once('/') else { return wrong("there is no / between namespace and name") };
    let letters = |text: &str, more: &str| {
        text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || more.as_bytes().contains(&byte))
            && text.bytes().next().is_some_and(|byte| byte != b'-' && byte != b'.')
    };
    if namespace.len() > 63 || !letters(namespace, "-") {
        return wrong("a namespace is lower-case letters, digits and hyphens");
    }
    if name.len() > 253 || !letters(name, "-.") {
        return wrong("a name is lower-case letters, digits, hyphens and dots");
    }
    Ok((namespace.to_owned(), name.to_owned()))
}

/// Reads the one document of a ConfigMap.
pub(super) async fn read(cluster: &Cluster, namespace: &str, name: &str, limit: u64) -> Result<String> {
    let found = cluster.get("v1", "ConfigMap", Some(namespace), name).await?;
    let Some(object) = found else {
        return Err(Error::new(Kind::NotFound, format!("there is no configmap {namespace}/{name}"))
            .hint(format!("`seatrial snapshot -o cm://{namespace}/{name}` makes one of a snapshot"))
            .hint(format!("kubectl create configmap {name} -n {namespace} --from-file=recipe.yaml makes one of a file")));
    };
    let document = document(&object)?;
    if document.len() as u64 > limit {
        return Err(Error::usage(format!("it has more than {limit} bytes, which is the limit for such a document")));
    }
    Ok(document.to_owned())
}

/// The document of a ConfigMap: its only key that looks like one.
fn document(object: &Value) -> Result<&str> {
    let named = ObjectRef::of(object);
    let all: Vec<(&str, &str)> =
        object["data"].as_object().into_iter().flatten().filter_map(|(key, value)| Some((key.as_str(), value.as_str()?))).collect();
    let is_document = |key: &str| [".yaml", ".yml", ".json"].iter().any(|ending| key.ends_with(ending));
    let mut fits: Vec<_> = all.iter().filter(|(key, _)| is_document(key)).collect();
    if fits.is_empty() {
        fits = all.iter().filter(|(key, _)| !ABOUT.contains(key)).collect();
    }
    let keys = |list: &[&(&str, &str)]| list.iter().map(|(key, _)| printable(key)).collect::<Vec<_>>().join(", ");
    match fits.as_slice() {
        [(key, text)] if text.trim().is_empty() => Err(Error::usage(format!("key {key} of {named} is empty"))),
        [(_, text)] => Ok(text),
        [] => Err(Error::usage(format!("{named} holds no document"))
            .hint("a document is a key such as snapshot.yaml or recipe.yaml below `data`; `binaryData` is not read")),
        [first, ..] => Err(Error::usage(format!("{named} holds several documents: {}", keys(&fits))).hint(format!(
            "choose one: kubectl get configmap {} -n {} -o jsonpath='{{.data.{}}}', and pipe it into `-`",
            named.name,
            named.namespace.as_deref().unwrap_or_default(),
            printable(first.0).replace('.', "\\.")
        ))),
    }
}

/// Refuses what a ConfigMap cannot hold.
pub(super) fn fits(artefact: &Artefact<'_>) -> Result<()> {
    let size: usize = data(artefact).iter().map(|(key, value)| key.len() + value.len()).sum();
    if size > limits::CONFIG_MAP_BYTES {
        let limit = limits::CONFIG_MAP_BYTES;
        return Err(Error::usage(format!("it needs {size} bytes, and a ConfigMap holds at most {limit} bytes (1 MiB)"))
            .hint("write it to a file or to `-`"));
    }
    Ok(())
}

/// Makes sure that the ConfigMap could be created or changed now; nothing is written.
pub(super) async fn ready(cluster: &Cluster, namespace: &str, name: &str, artefact: &Artefact<'_>) -> Result<()> {
    explained(cluster.dry_run_apply(&map(namespace, name, artefact), OWNER).await, namespace, name)
}

/// Creates the ConfigMap, or changes ours.
pub(super) async fn write(cluster: &Cluster, namespace: &str, name: &str, artefact: &Artefact<'_>) -> Result<()> {
    explained(cluster.apply(&map(namespace, name, artefact), OWNER, false).await.map(|_| ()), namespace, name)
}

fn map(namespace: &str, name: &str, artefact: &Artefact<'_>) -> Value {
    let data: serde_json::Map<String, Value> = data(artefact).into_iter().map(|(key, value)| (key, json!(value))).collect();
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": namespace, "labels": {MANAGED_BY: OWNER}},
        "data": data,
    })
}

fn explained(applied: Result<()>, namespace: &str, name: &str) -> Result<()> {
    match applied {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == Kind::NotFound => Err(error.hint(format!("kubectl create namespace {namespace}"))),
        Err(error) if error.kind() == Kind::Conflict => {
            let taken = Error::usage(format!("someone else wrote configmap {namespace}/{name}")).because(error);
            Err(taken.hint(format!("give another name, or remove it with kubectl delete configmap {name} -n {namespace}")))
        }
        Err(error) if error.kind() == Kind::Denied => {
            Err(error.hint(format!("writing there needs create and patch on configmaps in namespace {namespace}")))
        }
        Err(error) => Err(error),
    }
}

fn data<'a>(artefact: &Artefact<'a>) -> [(String, &'a str); 2] {
    [(format!("{}.{}", artefact.stem, artefact.format), artefact.text), ("format".to_owned(), artefact.format)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(data: Value) -> Value {
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m", "namespace": "n"}, "data": data})
    }

    #[test]
    fn the_one_key_that_fits_is_taken() {
        for data in [
            json!({"snapshot.yaml": "it", "format": "yaml", "timestamp": "2026-01-01T00:00:00Z"}),
            json!({"recipe.yaml": "it"}),
            json!({"recipe.json": "it", "note": "x"}),
            json!({"recipe": "it", "format": "yaml"}),
        ] {
            assert_eq!(document(&map(data.clone())).expect("a document"), "it", "{data}");
        }
    }

    #[test]
    fn none_several_and_an_empty_one_are_errors_that_name_them() {
        let error = |data: Value| document(&map(data)).expect_err("no document");
        let several = error(json!({"recipe.yaml": "a", "snapshot.yaml": "b"}));
        assert!(several.chain().contains("recipe.yaml, snapshot.yaml"), "{}", several.chain());
        assert!(several.hints()[0].contains("{.data.recipe\\.yaml}"), "{:?}", several.hints());
        assert!(error(json!({"format": "yaml"})).chain().contains("configmap n/m holds no document"));
        assert!(error(Value::Null).chain().contains("holds no document"));
        assert!(error(json!({"recipe.yaml": " \n"})).chain().contains("is empty"));
        assert!(error(json!({"a": "1", "b": "2"})).chain().contains("a, b"));
    }
}
