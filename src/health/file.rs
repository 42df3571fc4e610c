//! Reads chainsaw Test files: the part of the language that looks at objects; every other part is refused by name.

use std::path::{Component, Path};

use serde_json::{Map, Value};
use serde_saphyr::Spanned;

use crate::error::{Error, Result};
use crate::health::bindings::Names;
use crate::health::diagnose;
use crate::health::identity::{self, without};
use crate::health::judge::in_words;
use crate::health::schema::{Action, Document, Timeouts};
use crate::health::{Operation, Selector, Test, Tree, refuse};
use crate::{limits, yaml};

/// Names and values of fields that are refused.
macro_rules! refused {
    ($from:expr; $($field:ident $name:literal),* $(,)?) => { [$(($name, &$from.$field)),*] };
}

/// What a file of tests needs beside its text.
pub struct Beside<'a> {
    /// The text of a file that an operation refers to, by its path relative to the file of tests; the path has no `..`.
    pub read: &'a dyn Fn(&str) -> Result<String>,
    /// What `$values` is.
    pub values: &'a Map<String, Value>,
}

/// Reads the tests of a file. `name` is the file as the user knows it.
///
/// # Errors
/// [`crate::error::Kind::Usage`] with file and line: not YAML, an unknown field, a part of chainsaw that seatrial does not run, an expression
/// that could only fail, no test at all, a test without any `assert`.
pub fn load(name: &str, text: &str, beside: &Beside<'_>) -> Result<Vec<Test>> {
    let documents: Vec<Document> = yaml::all_from_str(text, name)?;
    if documents.is_empty() {
        return Err(Error::usage(format!("{name} holds no chainsaw test")));
    }
    let tests: Vec<Test> = documents.into_iter().map(|document| test(name, document, beside)).collect::<Result<_>>()?;
    let mut names: Vec<&str> = tests.iter().map(|test| test.name.as_str()).collect();
    names.sort_unstable();
    if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(Error::usage(format!("{name} holds two tests of the name {}", twice[0])));
    }
    Ok(tests)
}

fn test(file: &str, document: Document, beside: &Beside<'_>) -> Result<Test> {
    let Document { api_version, kind, metadata, spec } = document;
    if api_version.value != "chainsaw.kyverno.io/v1alpha1" || kind.value != "Test" {
        let message = format!("{} {} is not a chainsaw.kyverno.io/v1alpha1 Test", api_version.value, kind.value);
        return Err(wrong(file, kind.referenced.line(), &message));
    }
    let name = metadata.name.value.clone();
    let is_name =
        !name.is_empty() && name.len() <= 253 && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.".contains(c));
    if !is_name {
        return Err(wrong(file, metadata.name.referenced.line(), "metadata.name must be of lower-case letters, digits, `-` and `.`"));
    }
    refuse(
        file,
        "spec",
        &refused!(spec; cluster "cluster", clusters "clusters", compiler "compiler",
        delay_before_cleanup "delayBeforeCleanup", deletion_propagation_policy "deletionPropagationPolicy",
        force_termination_grace_period "forceTerminationGracePeriod", namespace_template "namespaceTemplate",
        namespace_template_compiler "namespaceTemplateCompiler", scenarios "scenarios", skip "skip"),
    )?;
    templated(file, "spec", spec.template.as_ref())?;
    let namespace = spec.namespace.as_deref();
    let names = Names::new(file, beside.values, namespace)?.with(file, &spec.bindings)?;
    let mut operations = Vec::new();
    let mut diagnostics = diagnose::read(file, "catch", &spec.catch, None, &names, namespace)?;
    for (index, step) in spec.steps.iter().enumerate() {
        let within = format!("spec.steps[{index}]");
        refuse(
            file,
            &within,
            &refused!(step; cluster "cluster", clusters "clusters", compiler "compiler",
            deletion_propagation_policy "deletionPropagationPolicy", r#use "use"),
        )?;
        templated(file, &within, step.template.as_ref())?;
        let names = names.with(file, &step.bindings)?;
        for action in &step.r#try {
            let around = Around { timeouts: [step.timeouts, spec.timeouts], namespace, names: &names, step: index };
            operations.extend(looks(file, action, &around, beside)?);
        }
        for (within, collectors) in [("catch", &step.catch), ("finally", &step.finally), ("cleanup", &step.cleanup)] {
            diagnostics.extend(diagnose::read(file, within, collectors, Some(index), &names, namespace)?);
        }
    }
    if operations.iter().all(|operation: &Operation| operation.negative) {
        let error =
            wrong(file, metadata.name.referenced.line(), &format!("test {name} has no `assert`, so it would pass on an empty cluster"));
        return Err(error.hint("add an `assert` on something that must be there"));
    }
    for (what, count, limit) in
        [("operations", operations.len(), limits::HEALTH_OPERATIONS), ("diagnostics", diagnostics.len(), limits::HEALTH_DIAGNOSTICS)]
    {
        if count > limit {
            return Err(wrong(file, metadata.name.referenced.line(), &format!("test {name} has {count} {what}; the limit is {limit}")));
        }
    }
    Ok(Test { name, description: spec.description, operations, diagnostics })
}

/// What an operation inherits from its step and its test.
struct Around<'a> {
    timeouts: [Timeouts; 2],
    namespace: Option<&'a str>,
    names: &'a Names,
    step: usize,
}

/// The operations of one entry of `try`: one for each resource.
fn looks(file: &str, action: &Spanned<Action>, around: &Around<'_>, beside: &Beside<'_>) -> Result<Vec<Operation>> {
    let line = action.referenced.line();
    let action = &action.value;
    refuse(
        file,
        "try",
        &refused!(action; apply "apply", command "command", compiler "compiler",
        create "create", delete "delete", describe "describe", events "events", get "get", outputs "outputs", patch "patch",
        pod_logs "podLogs", proxy "proxy", script "script", sleep "sleep", update "update", wait "wait"),
    )?;
    let (negative, look) = match (&action.assert, &action.error) {
        (Some(look), None) => (false, look),
        (None, Some(look)) => (true, look),
        _ => return Err(wrong(file, line, "an operation is one of `assert` and `error`")),
    };
    let word = if negative { "error" } else { "assert" };
    refuse(file, word, &refused!(look; cluster "cluster", clusters "clusters"))?;
    templated(file, word, look.template.as_ref())?;
    let resources: Vec<(String, Value)> = match (&look.resource, &look.file) {
        (Some(resource), None) => vec![(format!("{file}:{}", resource.referenced.line()), resource.value.clone())],
        (None, Some(path)) => referenced(file, path, around.names, beside)?,
        _ => return Err(wrong(file, line, &format!("`{word}` wants one of `resource` and `file`"))),
    };
    let of = |timeouts: Timeouts| if negative { timeouts.error } else { timeouts.assert };
    let [step, test] = around.timeouts;
    let limit = look.timeout.or(of(step)).or(of(test)).map_or(limits::HEALTH_OPERATION, |wait| wait.0);
    let names = around.names.with(file, &look.bindings)?;
    let around = Around { names: &names, ..*around };
    let made = resources.into_iter().map(|(place, resource)| {
        let (selector, tree, unwanted) = compile(resource, &around).map_err(|cause| Error::usage(format!("{place}: {cause}")))?;
        Ok(Operation { negative, selector, tree, unwanted, limit, place, step: around.step })
    });
    made.collect()
}

/// The resources of a file that an operation refers to.
fn referenced(file: &str, path: &Spanned<String>, names: &Names, beside: &Beside<'_>) -> Result<Vec<(String, Value)>> {
    let line = path.referenced.line();
    let text = names.text("file", &path.value).map_err(|cause| wrong(file, line, &cause))?.unwrap_or_default();
    let refused = |what: &str| Err(wrong(file, line, &format!("file `{text}`: {what}")));
    if text.contains(['*', '?', '[', ':']) {
        return refused("patterns and addresses are not supported, name one file");
    }
    // A health test may come from anybody: it names what came with it, and nothing else of this machine.
    if text.is_empty() || !Path::new(&text).components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir)) {
        return refused("it must lie beside the test or below, and be named without `..`");
    }
    let content = (beside.read)(&text).map_err(|error| error.context(format!("{file}:{line}: file {text}")))?;
    let documents: Vec<Spanned<Value>> = yaml::all_from_str(&content, &text)?;
    if documents.is_empty() {
        return refused("it holds no resource");
    }
    Ok(documents.into_iter().map(|document| (format!("{text}:{}", document.referenced.line()), document.value)).collect())
}

/// Which objects a resource is about, what they must look like, and that in words. The error is a fragment.
fn compile(resource: Value, around: &Around<'_>) -> Result<(Selector, Tree, String), String> {
    let Value::Object(mut fields) = resource else {
        return Err("a resource is a map".to_owned());
    };
    let names = around.names;
    let wanted = |field: &'static str, value: Option<Value>| {
        let text = identity::text(value.as_ref(), field, names)?;
        text.ok_or_else(|| format!("a resource needs `{field}`; assertions on nothing but bindings are not supported"))
    };
    let api_version = wanted("apiVersion", fields.remove("apiVersion"))?;
    let kind = wanted("kind", fields.remove("kind"))?;
    if kind == "List" {
        return Err("`kind: List` is not supported: write the resources one by one".to_owned());
    }
    let metadata = fields.get("metadata").cloned().unwrap_or_default();
    let name = identity::text(metadata.get("name"), "metadata.name", names)?;
    let own = identity::text(metadata.get("namespace"), "metadata.namespace", names)?;
    let labels = if name.is_some() { Default::default() } else { identity::labels(metadata.get("labels"), names)? };
    let selected_by: &[&str] = if name.is_some() { &["name", "namespace"] } else { &["namespace", "labels"] };
    without(&mut fields, "metadata", selected_by);
    let unwanted = in_words(&fields);
    let tree = Tree::compile_with(&Value::Object(fields), names.0.clone())?;
    let namespace = own.or_else(|| around.namespace.map(str::to_owned));
    Ok((Selector { api_version, kind, namespace, name, labels }, tree, unwanted))
}

/// Chainsaw computes names and labels unless it is told not to; here they are always computed.
fn templated(file: &str, within: &str, template: Option<&Spanned<bool>>) -> Result<()> {
    match template {
        Some(template) if !template.value => {
            let message = format!("`template: false` in {within}: expressions in names and labels are always computed");
            Err(wrong(file, template.referenced.line(), &message).hint("write `\\(text)\\` where the text itself is meant"))
        }
        _ => Ok(()),
    }
}

fn wrong(file: &str, line: u64, message: &str) -> Error {
    Error::usage(format!("{file}:{line}: {message}"))
}

#[cfg(test)]
#[path = "file_tests.rs"]
mod tests;
