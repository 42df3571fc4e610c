//! Reads chainsaw Test files: the part of the language that looks at objects; every other part is refused by name.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::SignedDuration;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;
use serde_saphyr::Spanned;

use crate::error::{Error, Result};
use crate::health::judge::in_words;
use crate::health::tree::without;
use crate::health::{Operation, Selector, Test, Tree, syntax};
use crate::{limits, yaml};

/// A part of chainsaw's language that seatrial does not run; its place is kept for the message.
type Elsewhere = Option<Spanned<IgnoredAny>>;

/// Names and values of fields that are refused.
macro_rules! refused {
    ($from:expr; $($field:ident $name:literal),* $(,)?) => { [$(($name, &$from.$field)),*] };
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Document {
    api_version: Spanned<String>,
    kind: Spanned<String>,
    metadata: Metadata,
    spec: Spec,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Metadata {
    name: Spanned<String>,
    #[serde(default, rename = "labels")]
    _labels: BTreeMap<String, String>,
    #[serde(default, rename = "annotations")]
    _annotations: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Spec {
    #[serde(default)]
    description: String,
    #[serde(default)]
    timeouts: Timeouts,
    namespace: Option<String>,
    steps: Vec<Step>,
    // These order tests or concern what a test creates; here nothing is created.
    #[serde(default, rename = "concurrent")]
    _concurrent: Option<bool>,
    #[serde(default, rename = "failFast")]
    _fail_fast: Option<bool>,
    #[serde(default, rename = "skipDelete")]
    _skip_delete: Option<bool>,
    bindings: Elsewhere,
    catch: Elsewhere,
    cluster: Elsewhere,
    clusters: Elsewhere,
    compiler: Elsewhere,
    delay_before_cleanup: Elsewhere,
    deletion_propagation_policy: Elsewhere,
    force_termination_grace_period: Elsewhere,
    namespace_template: Elsewhere,
    namespace_template_compiler: Elsewhere,
    scenarios: Elsewhere,
    skip: Elsewhere,
    template: Elsewhere,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Timeouts {
    assert: Option<Wait>,
    error: Option<Wait>,
    // Of operations that are refused; read so that a wrong one is named.
    #[serde(rename = "apply")]
    _apply: Option<Wait>,
    #[serde(rename = "cleanup")]
    _cleanup: Option<Wait>,
    #[serde(rename = "delete")]
    _delete: Option<Wait>,
    #[serde(rename = "exec")]
    _exec: Option<Wait>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Step {
    #[serde(default, rename = "name")]
    _name: String,
    #[serde(default, rename = "description")]
    _description: String,
    #[serde(default)]
    timeouts: Timeouts,
    #[serde(default)]
    r#try: Vec<Spanned<Action>>,
    #[serde(default, rename = "skipDelete")]
    _skip_delete: Option<bool>,
    bindings: Elsewhere,
    catch: Elsewhere,
    cleanup: Elsewhere,
    cluster: Elsewhere,
    clusters: Elsewhere,
    compiler: Elsewhere,
    deletion_propagation_policy: Elsewhere,
    finally: Elsewhere,
    template: Elsewhere,
    r#use: Elsewhere,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Action {
    #[serde(default, rename = "description")]
    _description: String,
    assert: Option<Look>,
    error: Option<Look>,
    apply: Elsewhere,
    command: Elsewhere,
    compiler: Elsewhere,
    continue_on_error: Elsewhere,
    create: Elsewhere,
    delete: Elsewhere,
    describe: Elsewhere,
    events: Elsewhere,
    get: Elsewhere,
    outputs: Elsewhere,
    patch: Elsewhere,
    pod_logs: Elsewhere,
    proxy: Elsewhere,
    script: Elsewhere,
    sleep: Elsewhere,
    update: Elsewhere,
    wait: Elsewhere,
}

/// `assert` or `error`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Look {
    resource: Option<Spanned<Value>>,
    file: Option<Spanned<String>>,
    timeout: Option<Wait>,
    bindings: Elsewhere,
    cluster: Elsewhere,
    clusters: Elsewhere,
    template: Elsewhere,
}

/// A duration as Go writes it.
#[derive(Clone, Copy)]
struct Wait(Duration);

impl<'de> Deserialize<'de> for Wait {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let wrong = |cause: &str| serde::de::Error::custom(format!("`{text}` is not a duration such as 90s or 5m: {cause}"));
        // The library reads ISO 8601 and words too; Go does not.
        if !text.chars().all(|letter| letter.is_ascii_digit() || "hmsuµn.".contains(letter)) {
            return Err(wrong("it has other letters"));
        }
        let span: SignedDuration = text.parse().map_err(|error: jiff::Error| wrong(&error.to_string()))?;
        let duration = Duration::try_from(span).map_err(|_| wrong("it is negative"))?;
        if duration.is_zero() || duration > limits::HEALTH_OPERATION_MAX {
            return Err(wrong(&format!("it must be more than 0 and at most {} s", limits::HEALTH_OPERATION_MAX.as_secs())));
        }
        Ok(Self(duration))
    }
}

/// Reads the tests of a file. `name` is the file as the user knows it; `read` gives the text of a file that an operation refers to,
/// by its path relative to this one.
///
/// # Errors
/// [`crate::error::Kind::Usage`] with file and line: not YAML, an unknown field, a part of chainsaw that seatrial does not run, an expression
/// that could only fail, no test at all, a test without any `assert`.
pub fn load(name: &str, text: &str, read: &dyn Fn(&str) -> Result<String>) -> Result<Vec<Test>> {
    let documents: Vec<Document> = yaml::all_from_str(text, name)?;
    if documents.is_empty() {
        return Err(Error::usage(format!("{name} holds no chainsaw test")));
    }
    let tests: Vec<Test> = documents.into_iter().map(|document| test(name, document, read)).collect::<Result<_>>()?;
    let mut names: Vec<&str> = tests.iter().map(|test| test.name.as_str()).collect();
    names.sort_unstable();
    if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(Error::usage(format!("{name} holds two tests of the name {}", twice[0])));
    }
    Ok(tests)
}

fn test(file: &str, document: Document, read: &dyn Fn(&str) -> Result<String>) -> Result<Test> {
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
        &refused!(spec; bindings "bindings", catch "catch", cluster "cluster", clusters "clusters", compiler "compiler",
        delay_before_cleanup "delayBeforeCleanup", deletion_propagation_policy "deletionPropagationPolicy",
        force_termination_grace_period "forceTerminationGracePeriod", namespace_template "namespaceTemplate",
        namespace_template_compiler "namespaceTemplateCompiler", scenarios "scenarios", skip "skip", template "template"),
    )?;
    let mut operations = Vec::new();
    for (index, step) in spec.steps.iter().enumerate() {
        refuse(
            file,
            &format!("spec.steps[{index}]"),
            &refused!(step; bindings "bindings", catch "catch", cleanup "cleanup", cluster "cluster",
            clusters "clusters", compiler "compiler", deletion_propagation_policy "deletionPropagationPolicy", finally "finally",
            template "template", r#use "use"),
        )?;
        for action in &step.r#try {
            let timeouts = [step.timeouts, spec.timeouts];
            operations.extend(looks(file, action, timeouts, spec.namespace.as_deref(), read)?);
        }
    }
    if operations.iter().all(|operation: &Operation| operation.negative) {
        let error =
            wrong(file, metadata.name.referenced.line(), &format!("test {name} has no `assert`, so it would pass on an empty cluster"));
        return Err(error.hint("add an `assert` on something that must be there"));
    }
    Ok(Test { name, description: spec.description, operations })
}

/// The operations of one entry of `try`: one for each resource.
fn looks(
    file: &str,
    action: &Spanned<Action>,
    timeouts: [Timeouts; 2],
    namespace: Option<&str>,
    read: &dyn Fn(&str) -> Result<String>,
) -> Result<Vec<Operation>> {
    let line = action.referenced.line();
    let action = &action.value;
    refuse(
        file,
        "try",
        &refused!(action; apply "apply", command "command", compiler "compiler", continue_on_error "continueOnError",
        create "create", delete "delete", describe "describe", events "events", get "get", outputs "outputs", patch "patch",
        pod_logs "podLogs", proxy "proxy", script "script", sleep "sleep", update "update", wait "wait"),
    )?;
    let (negative, look) = match (&action.assert, &action.error) {
        (Some(look), None) => (false, look),
        (None, Some(look)) => (true, look),
        _ => return Err(wrong(file, line, "an operation is one of `assert` and `error`")),
    };
    let word = if negative { "error" } else { "assert" };
    refuse(file, word, &refused!(look; bindings "bindings", cluster "cluster", clusters "clusters", template "template"))?;
    let resources: Vec<(String, Value)> = match (&look.resource, &look.file) {
        (Some(resource), None) => vec![(format!("{file}:{}", resource.referenced.line()), resource.value.clone())],
        (None, Some(path)) => referenced(file, path, read)?,
        _ => return Err(wrong(file, line, &format!("`{word}` wants one of `resource` and `file`"))),
    };
    let of = |timeouts: Timeouts| if negative { timeouts.error } else { timeouts.assert };
    let limit = look.timeout.or(of(timeouts[0])).or(of(timeouts[1])).map_or(limits::HEALTH_OPERATION, |wait| wait.0);
    resources.into_iter().map(|(place, resource)| operation(place, negative, resource, limit, namespace)).collect()
}

/// The resources of a file that an operation refers to.
fn referenced(file: &str, path: &Spanned<String>, read: &dyn Fn(&str) -> Result<String>) -> Result<Vec<(String, Value)>> {
    let text = path.value.as_str();
    if text.contains(['*', '?', '[', '(', ':']) {
        return Err(wrong(
            file,
            path.referenced.line(),
            &format!("file `{text}`: patterns, expressions and addresses are not supported, name one file"),
        ));
    }
    let content = read(text).map_err(|error| error.context(format!("{file}:{}: file {text}", path.referenced.line())))?;
    let documents: Vec<Spanned<Value>> = yaml::all_from_str(&content, text)?;
    if documents.is_empty() {
        return Err(wrong(file, path.referenced.line(), &format!("file `{text}` holds no resource")));
    }
    Ok(documents.into_iter().map(|document| (format!("{text}:{}", document.referenced.line()), document.value)).collect())
}

fn operation(place: String, negative: bool, resource: Value, limit: Duration, namespace: Option<&str>) -> Result<Operation> {
    let at = |cause: String| Error::usage(format!("{place}: {cause}"));
    let Value::Object(mut fields) = resource else {
        return Err(at("a resource is a map".to_owned()));
    };
    let api_version = identity(fields.remove("apiVersion"), "apiVersion").and_then(required("apiVersion")).map_err(at)?;
    let kind = identity(fields.remove("kind"), "kind").and_then(required("kind")).map_err(at)?;
    if kind == "List" {
        return Err(at("`kind: List` is not supported: write the resources one by one".to_owned()));
    }
    let metadata = fields.get("metadata").cloned().unwrap_or_default();
    let name = identity(metadata.get("name").cloned(), "metadata.name").map_err(at)?;
    let own = identity(metadata.get("namespace").cloned(), "metadata.namespace").map_err(at)?;
    let labels = if name.is_some() { BTreeMap::new() } else { labels(metadata.get("labels")).map_err(at)? };
    let selected_by: &[&str] = if name.is_some() { &["name", "namespace"] } else { &["namespace", "labels"] };
    without(&mut fields, "metadata", selected_by);
    let unwanted = in_words(&fields);
    let tree = Tree::compile(&Value::Object(fields)).map_err(at)?;
    let selector = Selector { api_version, kind, namespace: own.or_else(|| namespace.map(str::to_owned)), name, labels };
    Ok(Operation { negative, selector, tree, unwanted, limit, place })
}

/// A field that says which object is meant; chainsaw would compute it, here it must be plain.
fn identity(value: Option<Value>, field: &str) -> Result<Option<String>, String> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if text.is_empty() => Ok(None),
        Some(Value::String(text)) => match syntax::read(&text)? {
            syntax::Notation { each: None, bind: None, body: syntax::Body::Plain(text) } => Ok(Some(text)),
            _ => Err(format!("{field}: `{text}` is an expression; seatrial does not compute which object is meant")),
        },
        Some(other) => Err(format!("{field} must be text, and is {other}")),
    }
}

fn required(field: &'static str) -> impl Fn(Option<String>) -> Result<String, String> {
    move |value| value.ok_or_else(|| format!("a resource needs `{field}`; assertions on nothing but bindings are not supported"))
}

/// The labels that select objects where there is no name.
fn labels(value: Option<&Value>) -> Result<BTreeMap<String, String>, String> {
    let Some(Value::Object(labels)) = value else { return Ok(BTreeMap::new()) };
    let pair = |(key, value): (&String, &Value)| {
        identity(Some(Value::String(key.clone())), "metadata.labels")?;
        let text = value.as_str().ok_or_else(|| format!("metadata.labels.{key} must be text, because it selects the objects"))?;
        identity(Some(Value::String(text.to_owned())), "metadata.labels")?;
        Ok((key.clone(), text.to_owned()))
    };
    labels.iter().map(pair).collect()
}

/// Refuses the first part that seatrial does not run.
fn refuse(file: &str, within: &str, parts: &[(&str, &Elsewhere)]) -> Result<()> {
    match parts.iter().find_map(|(name, part)| part.as_ref().map(|part| (name, part))) {
        None => Ok(()),
        Some((name, part)) => {
            let message = format!("`{name}` in {within}: seatrial does not run this part of chainsaw's language");
            Err(wrong(file, part.referenced.line(), &message)
                .hint("seatrial runs `assert` and `error` on resources; run other tests with chainsaw"))
        }
    }
}

fn wrong(file: &str, line: u64, message: &str) -> Error {
    Error::usage(format!("{file}:{line}: {message}"))
}

#[cfg(test)]
#[path = "file_tests.rs"]
mod tests;
