//! Diagnostics of `catch`, `finally` and `cleanup`: what is kept to explain a verdict, and never changes it.

use std::time::Duration;

use serde_json::{Value, json};
use serde_saphyr::Spanned;

use crate::error::{Error, Result};
use crate::health::bindings::Names;
use crate::health::schema::{Collector, Target};
use crate::health::{Objects, Scope, Selector, identity, refuse};
use crate::limits;
use crate::results::Artifact;

/// Something to look at when a test has ended.
#[derive(Clone, Debug)]
pub struct Diagnostic {
    /// The step that it belongs to; none for the whole test.
    pub(super) step: Option<usize>,
    /// True for `finally` and `cleanup`; false for `catch`, which is for failures.
    pub(super) always: bool,
    /// Whose description, events or logs.
    pub(super) selector: Selector,
    /// What of them.
    pub(super) what: What,
    /// File and line.
    pub(super) place: String,
}

/// What is kept of objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// The objects.
    Objects,
    /// The objects and the events about them.
    Described,
    /// Events about an object, or all of a namespace.
    Events,
    /// The last lines of a container's log, or of all containers.
    Logs { container: Option<String>, tail: usize },
}

impl Diagnostic {
    /// `apiVersion`, `kind` and whether logs are read too.
    pub(super) fn reads(&self) -> impl Iterator<Item = (String, String)> {
        let own = (self.selector.api_version.clone(), self.selector.kind.clone());
        let events = (self.what == What::Described).then(|| ("v1".to_owned(), "Event".to_owned()));
        std::iter::once(own).chain(events)
    }
}

/// Reads the diagnostics of one list of a file.
pub(super) fn read(
    file: &str,
    within: &str,
    collectors: &[Spanned<Collector>],
    step: Option<usize>,
    names: &Names,
    namespace: Option<&str>,
) -> Result<Vec<Diagnostic>> {
    let one = |spanned: &Spanned<Collector>| {
        let place = format!("{file}:{}", spanned.referenced.line());
        let collector = &spanned.value;
        let parts = [
            ("command", &collector.command),
            ("compiler", &collector.compiler),
            ("delete", &collector.delete),
            ("script", &collector.script),
            ("sleep", &collector.sleep),
            ("wait", &collector.wait),
        ];
        refuse(file, within, &parts)?;
        let given = [&collector.get, &collector.describe, &collector.events, &collector.pod_logs];
        let [target] = given.into_iter().flatten().collect::<Vec<_>>()[..] else {
            return Err(Error::usage(format!("{place}: a diagnostic is one of `describe`, `events`, `get` and `podLogs`")));
        };
        refuse(file, within, &[("cluster", &target.cluster), ("clusters", &target.clusters)])?;
        let what = match collector {
            Collector { get: Some(_), .. } => What::Objects,
            Collector { describe: Some(_), .. } if target.show_events == Some(false) => What::Objects,
            Collector { describe: Some(_), .. } => What::Described,
            Collector { events: Some(_), .. } => What::Events,
            _ => What::Logs {
                container: target
                    .container
                    .as_deref()
                    .map_or(Ok(None), |text| names.text("container", text))
                    .map_err(|cause| Error::usage(format!("{place}: {cause}")))?,
                tail: target.tail.filter(|lines| *lines > 0).unwrap_or(limits::HEALTH_LOG_LINES),
            },
        };
        let selector = selector(target, &what, names, namespace).map_err(|cause| Error::usage(format!("{place}: {cause}")))?;
        Ok(Diagnostic { step, always: within != "catch", selector, what, place })
    };
    collectors.iter().map(one).collect()
}

fn selector(target: &Target, what: &What, names: &Names, namespace: Option<&str>) -> Result<Selector, String> {
    let text = |field: &str, value: &Option<String>| value.as_deref().map_or(Ok(None), |text| names.text(field, text));
    let (api_version, kind) = match what {
        What::Events => (None, Some("Event".to_owned())),
        What::Logs { .. } => (None, Some("Pod".to_owned())),
        _ => (text("apiVersion", &target.api_version)?, text("kind", &target.kind)?),
    };
    let api_version = api_version.unwrap_or_else(|| "v1".to_owned());
    let kind = kind.ok_or("it needs `apiVersion` and `kind`")?;
    let name = text("name", &target.name)?;
    let labels = text("selector", &target.selector)?;
    if name.is_some() && labels.is_some() {
        return Err("it has both `name` and `selector`".to_owned());
    }
    if matches!(what, What::Logs { .. }) && name.is_none() && labels.is_none() {
        return Err("logs want a `name` or a `selector`".to_owned());
    }
    let own = text("namespace", &target.namespace)?;
    // As kubectl has it, `*` is everywhere.
    let namespace = if own.as_deref() == Some("*") { None } else { own.or_else(|| namespace.map(str::to_owned)) };
    let labels = labels.as_deref().map_or(Ok(Default::default()), identity::equal_labels)?;
    Ok(Selector { api_version, kind, namespace, name, labels })
}

/// Looks at everything that applies: `failed` are the steps with an operation that did not hold.
///
/// A diagnostic that cannot be made says so in its artifact; the verdict stands.
pub(super) async fn run<O: Objects>(diagnostics: &[Diagnostic], failed: &[usize], objects: &O) -> Vec<Artifact> {
    let applies = |diagnostic: &&Diagnostic| diagnostic.always || diagnostic.step.map_or(!failed.is_empty(), |step| failed.contains(&step));
    let mut kept = Vec::new();
    for diagnostic in diagnostics.iter().filter(applies) {
        let data = match look(diagnostic, objects).await {
            Ok(data) => data,
            Err(error) => json!({"error": error.chain()}),
        };
        let (selector, word) = (&diagnostic.selector, diagnostic.what.word());
        let name = format!("{word} of {selector} by {}", diagnostic.place);
        kept.push(Artifact { name, command: Some(diagnostic.kubectl()), data });
    }
    kept
}

async fn look<O: Objects>(diagnostic: &Diagnostic, objects: &O) -> Result<Value> {
    let selector = &diagnostic.selector;
    if diagnostic.what == What::Events {
        return Ok(json!(events(objects, selector.namespace.clone(), selector.name.as_deref(), None).await?));
    }
    let mut selector = selector.clone();
    match objects.scope(&selector.api_version, &selector.kind).await? {
        Some(Scope::Cluster) => selector.namespace = None,
        Some(Scope::Namespaced) => {}
        None => return Ok(json!({"error": format!("no such kind {} of {}", selector.kind, selector.api_version)})),
    }
    let found = list(objects, &selector).await?;
    match &diagnostic.what {
        What::Objects | What::Events => Ok(Value::Array(found)),
        What::Described => {
            let mut described = Vec::new();
            for object in found {
                let name = object.pointer("/metadata/name").and_then(Value::as_str);
                let namespace = object.pointer("/metadata/namespace").and_then(Value::as_str).map(str::to_owned);
                let about = events(objects, namespace, name, Some(&selector.kind)).await?;
                described.push(json!({"object": object, "events": about}));
            }
            Ok(Value::Array(described))
        }
        What::Logs { container, tail } => {
            let mut logs = Vec::new();
            for pod in &found {
                for container in containers(pod, container.as_deref()) {
                    let log = objects.log(pod, &container, limits::HEALTH_LOG_BYTES).await;
                    let name = pod.pointer("/metadata/name");
                    logs.push(match log {
                        Ok(text) => json!({"pod": name, "container": container, "lines": last_lines(&text, *tail)}),
                        Err(error) => json!({"pod": name, "container": container, "error": error.chain()}),
                    });
                }
            }
            Ok(Value::Array(logs))
        }
    }
}

/// The objects of a selector as they are, the first of them.
async fn list<O: Objects>(objects: &O, selector: &Selector) -> Result<Vec<Value>> {
    let mut found: Vec<Value> = Vec::new();
    let limit: Duration = limits::HEALTH_DIAGNOSTIC;
    objects
        .observe(selector, limit, &mut |objects| {
            found = objects.iter().take(limits::HEALTH_DIAGNOSTIC_OBJECTS).map(|object| (*object).clone()).collect();
            true
        })
        .await?;
    // Who owns which field is a large part of an object and says nothing about its state.
    for object in &mut found {
        if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.remove("managedFields");
        }
    }
    Ok(found)
}

async fn events<O: Objects>(objects: &O, namespace: Option<String>, name: Option<&str>, kind: Option<&str>) -> Result<Vec<Value>> {
    // Events of a cluster-scoped object are in the namespace `default`.
    let namespace = if kind.is_some() { namespace.or_else(|| Some("default".to_owned())) } else { namespace };
    let selector = Selector { api_version: "v1".to_owned(), kind: "Event".to_owned(), namespace, name: None, labels: Default::default() };
    let mut found: Vec<Value> = Vec::new();
    let about = |event: &Value| {
        let of = |field: &str| event.pointer(field).and_then(Value::as_str);
        let named = name.is_none_or(|name| of("/involvedObject/name") == Some(name) || of("/metadata/name") == Some(name));
        named && kind.is_none_or(|kind| of("/involvedObject/kind") == Some(kind))
    };
    objects
        .observe(&selector, limits::HEALTH_DIAGNOSTIC, &mut |objects| {
            let short = |event: &&Value| {
                let event = *event;
                json!({"object": event.pointer("/involvedObject/name"), "type": event["type"], "reason": event["reason"],
                    "message": event["message"], "count": event["count"], "last": event["lastTimestamp"]})
            };
            found = objects.iter().filter(|event| about(event)).map(short).take(limits::HEALTH_DIAGNOSTIC_OBJECTS).collect();
            true
        })
        .await?;
    Ok(found)
}

fn containers(pod: &Value, only: Option<&str>) -> Vec<String> {
    let of = |place: &str| pod.pointer(place).and_then(Value::as_array).cloned().unwrap_or_default();
    let all = of("/spec/initContainers").into_iter().chain(of("/spec/containers"));
    let names = all.filter_map(|container| container["name"].as_str().map(str::to_owned));
    names.filter(|name| only.is_none_or(|only| only == name)).collect()
}

fn last_lines(text: &str, count: usize) -> Vec<&str> {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].to_vec()
}

impl What {
    fn word(&self) -> &'static str {
        match self {
            Self::Objects => "objects",
            Self::Described => "description",
            Self::Events => "events",
            Self::Logs { .. } => "logs",
        }
    }
}

impl Diagnostic {
    fn kubectl(&self) -> String {
        let place = self.selector.namespace.as_ref().map(|namespace| format!(" -n {namespace}")).unwrap_or_default();
        let labels: Vec<String> = self.selector.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let labels = if labels.is_empty() { String::new() } else { format!(" -l {}", labels.join(",")) };
        let name = self.selector.name.as_ref().map(|name| format!(" {name}")).unwrap_or_default();
        let kind = self.selector.kind.to_lowercase();
        match &self.what {
            What::Objects => format!("kubectl get {kind}{name}{place}{labels} -o yaml"),
            What::Described => format!("kubectl describe {kind}{name}{place}{labels}"),
            What::Events => format!("kubectl get events{place}"),
            What::Logs { container, tail } => {
                let container = container.as_ref().map_or(" --all-containers".to_owned(), |name| format!(" -c {name}"));
                format!("kubectl logs{name}{place}{labels}{container} --tail={tail}")
            }
        }
    }
}
