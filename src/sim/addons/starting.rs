//! What an add-on can do while it is started: find its manifests, take ports, run programs, install, and wait until it works.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use backon::Retryable;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures::{StreamExt, TryStreamExt, stream};
use serde_json::{Value, json};
use tokio::process::Command;
use tokio::time::Instant;

use crate::cluster::{Cluster, ObjectRef, Query};
use crate::error::{Context, Error, Kind, Result};
use crate::sim::addons::certificates::Certificates;
use crate::sim::addons::{Addon, Chosen, Place, Running, Settings, log_path, make_dir, record_path};
use crate::sim::{MANAGER, log, ports, processes};
use crate::ui::Ui;
use crate::{files, limits, yaml};

/// An add-on that is being started.
pub(crate) struct Starting<'a> {
    addon: &'static Addon,
    place: &'a Place,
    /// The cluster that it is installed into.
    pub(crate) cluster: &'a Cluster,
    chosen: &'a Chosen,
    deadline: Instant,
    ui: &'a Ui,
    record: Mutex<Running>,
}

/// A program to run.
#[derive(Debug, Default)]
pub(crate) struct Process<'a> {
    /// What the process is called in `sim status` and in file names; unlike that of any other add-on.
    pub(crate) name: &'a str,
    /// The program, one of [`Addon::programs`].
    pub(crate) program: &'a str,
    /// Its arguments.
    pub(crate) args: Vec<String>,
    /// Its environment beside `KUBECONFIG`, `PATH`, `HOME` and `TMPDIR`.
    pub(crate) env: Vec<(&'a str, String)>,
}

impl<'a> Starting<'a> {
    pub(super) fn new(
        addon: &'static Addon,
        place: &'a Place,
        cluster: &'a Cluster,
        chosen: &'a Chosen,
        deadline: Instant,
        ui: &'a Ui,
    ) -> Result<Self> {
        make_dir(&place.dir.join(addon.name))?;
        let run = chosen.settings.run.clone();
        let record = Mutex::new(Running { name: addon.name.to_owned(), run, ..Running::default() });
        let starting = Self { addon, place, cluster, chosen, deadline, ui, record };
        starting.write_record()?;
        Ok(starting)
    }

    /// The add-on's own folder.
    pub(crate) fn dir(&self) -> PathBuf {
        self.place.dir.join(self.addon.name)
    }

    /// The kubeconfig that its processes use.
    pub(crate) fn kubeconfig(&self) -> &Path {
        &self.place.kubeconfig
    }

    /// True if that add-on is started too.
    pub(crate) fn with(&self, name: &str) -> bool {
        self.chosen.names().contains(&name)
    }

    /// What it is told instead of its defaults.
    pub(crate) fn settings(&self) -> &Settings {
        &self.chosen.settings
    }

    /// A port on 127.0.0.1 that nobody listens on, recorded under what it is for.
    pub(crate) fn port(&self, purpose: &str) -> Result<u16> {
        let taken: Vec<u16> = self.record().ports.values().copied().collect();
        // One more than are taken: at least one of them is new.
        let free = ports::free(taken.len() + 1)?;
        let port = free.into_iter().find(|port| !taken.contains(port)).ok_or_else(|| Error::internal("choose a free port"))?;
        self.record().ports.insert(purpose.to_owned(), port);
        self.write_record()?;
        Ok(port)
    }

    /// Certificates for its webhooks; see [`Certificates::make`].
    pub(crate) fn certificates(&self, authority: &str, names: &[&str]) -> Result<Certificates> {
        Certificates::make(&self.dir().join("certificates"), authority, names)
    }

    /// Writes a file into the add-on's folder and returns its path.
    pub(crate) fn file(&self, name: &str, content: &str) -> Result<String> {
        let path = self.dir().join(name);
        files::write(&path, content.as_bytes())?;
        Ok(path.to_string_lossy().into_owned())
    }

    /// What a program's makers install beside it: the objects of the files in `PROGRAM.d/GROUP`, which lies where the program does.
    pub(crate) fn manifests(&self, program: &str, group: &str) -> Result<Vec<Value>> {
        let path = self.program(program)?;
        let folder = path.with_file_name(format!("{program}.d")).join(group);
        let entries = fs::read_dir(&folder).map_err(|error| {
            let message = format!("read {}, which holds what add-on {} installs", folder.display(), self.addon.name);
            Error::usage(message).because(error).hint(format!("testenv/get.sh {program} builds the program with that folder beside it"))
        })?;
        let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
        paths.sort();
        let mut objects = Vec::new();
        for path in paths {
            let text = files::read_text(&path, limits::SIM_MANIFEST_BYTES)?;
            objects
                .extend(yaml::all_from_large_str::<Value>(&text, &path.to_string_lossy())?.into_iter().filter(|object| !object.is_null()));
        }
        Ok(objects)
    }

    fn program(&self, name: &str) -> Result<PathBuf> {
        let found = self.chosen.programs.get(name).ok_or_else(|| Error::internal(format!("add-on {} has no {name}", self.addon.name)))?;
        fs::canonicalize(found).with_context(|| format!("find {}", found.display()))
    }

    /// Makes the namespace, if it is not there.
    pub(crate) async fn namespace(&self, name: &str) -> Result<()> {
        self.apply(&[json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})]).await
    }

    /// Applies objects in their order; kinds that were only just defined are waited for.
    pub(crate) async fn apply(&self, objects: &[Value]) -> Result<()> {
        for object in objects {
            let named = ObjectRef::of(object);
            self.ui.waiting(&format!("{} installs {named}", self.addon.name));
            self.cluster.wait_served(&named.api_version, &named.kind).await?;
            self.install(object).await?;
        }
        Ok(())
    }

    /// Applies one object, and notes it if it is new and a run wants it removed again.
    async fn install(&self, object: &Value) -> Result<()> {
        let named = ObjectRef::of(object);
        let noted = self.chosen.settings.run.is_some();
        let new = noted && self.cluster.get(&named.api_version, &named.kind, named.namespace.as_deref(), &named.name).await?.is_none();
        let applied = self.cluster.apply(object, MANAGER, true).await?;
        if new {
            self.record().installed.push(ObjectRef::of(&applied));
            self.write_record()?;
        }
        Ok(())
    }

    /// Applies CustomResourceDefinitions and waits until they are established. Descriptions are left out: they are most of the
    /// bytes, and nothing here shows them.
    pub(crate) async fn define(&self, definitions: Vec<Value>) -> Result<()> {
        self.ui.waiting(&format!("{} defines {} kinds", self.addon.name, definitions.len()));
        let names: Vec<String> = definitions.iter().map(|object| ObjectRef::of(object).name).collect();
        let writes = stream::iter(definitions).map(|mut definition| async move {
            without_descriptions(&mut definition["spec"]);
            self.install(&definition).await
        });
        writes.buffer_unordered(limits::SIM_WRITES).try_collect::<()>().await?;
        let established = |seen: &[&Value]| {
            let served = |name: &String| seen.iter().any(|object| object["metadata"]["name"] == **name && is_established(object));
            names.iter().all(served).then_some(())
        };
        let what = format!("{} kinds of add-on {} are served", names.len(), self.addon.name);
        let kind = ("apiextensions.k8s.io/v1", "CustomResourceDefinition");
        self.cluster.wait_until(kind, &Query::all(), &what, self.left(), established).await
    }

    /// Webhook configurations that lead to a port of 127.0.0.1 instead of a Service, their names with `prefix`. Only the webhooks
    /// that `keep` wants, by name, stay: one without a server refuses what it is asked about.
    pub(crate) fn webhooks(
        configurations: Vec<Value>,
        prefix: &str,
        port: u16,
        authority: &str,
        keep: impl Fn(&str) -> bool,
    ) -> Vec<Value> {
        let mut kept = Vec::new();
        for mut object in configurations {
            let name = format!("{prefix}{}", object["metadata"]["name"].as_str().unwrap_or_default());
            object["metadata"] = json!({"name": name});
            let Some(hooks) = object["webhooks"].as_array_mut() else { continue };
            hooks.retain(|hook| hook["name"].as_str().is_some_and(&keep));
            for hook in hooks.iter_mut() {
                let path = hook["clientConfig"]["service"]["path"].as_str().unwrap_or_default().to_owned();
                hook["clientConfig"] = client_config(port, &path, authority);
            }
            if !hooks.is_empty() {
                kept.push(object);
            }
        }
        kept
    }

    /// Starts a program, which outlives this command.
    pub(crate) fn run(&self, process: &Process<'_>) -> Result<()> {
        let dir = &self.place.dir;
        for folder in ["bin", "logs", "pids"] {
            make_dir(&dir.join(folder))?;
        }
        // It is called by a path in the folder, by which it is found again, whoever recorded it or did not.
        let (program, called) = (self.program(process.program)?, dir.join("bin").join(process.name));
        fs::remove_file(&called).or_else(absent_is_fine).with_context(|| format!("remove {}", called.display()))?;
        symlink(&program, &called).with_context(|| format!("make {}", called.display()))?;
        let log = log_path(dir, process.name);
        let out = File::create(&log).with_context(|| format!("write {}", log.display()))?;
        let err = out.try_clone().with_context(|| format!("write {}", log.display()))?;
        let mut command = Command::new(&called);
        // Controllers take settings from many variables; the user's own are not meant for them.
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("KUBECONFIG", self.kubeconfig()).env("HOME", self.dir()).env("TMPDIR", self.dir());
        command.envs(process.env.iter().map(|(name, value)| (name, value))).args(&process.args).current_dir(self.dir());
        // Ctrl-C in the terminal is for us.
        command.stdin(Stdio::null()).stdout(out).stderr(err).process_group(0);
        self.ui.waiting(&format!("{} starts", process.name));
        let child = command.spawn().map_err(|error| Error::usage(format!("start {}", program.display())).because(error))?;
        let pid = child.id().unwrap_or_default();
        files::write(&dir.join("pids").join(format!("{}.pid", process.name)), pid.to_string().as_bytes())?;
        let mut record = self.record();
        record.processes.insert(process.name.to_owned(), pid);
        record.logs.insert(process.name.to_owned(), log);
        drop(record);
        self.write_record()
    }

    /// Waits until a URL is answered with success.
    pub(crate) async fn answers(&self, url: &str) -> Result<()> {
        let client = reqwest::Client::builder().no_proxy().timeout(limits::CONNECT).build();
        let client = client.map_err(|error| Error::internal("make an HTTP client").because(error))?;
        self.until(&format!("{url} is answered"), || async {
            let answer = client.get(url).send().await;
            let answer = answer.map_err(|error| Error::new(Kind::Unavailable, format!("ask {url}")).because(error))?;
            Ok(answer.status().is_success())
        })
        .await
    }

    /// Looks again and again until `look` says true, and ends early with the log of a process that has ended.
    pub(crate) async fn until<F: Future<Output = Result<bool>>>(&self, what: &str, look: impl Fn() -> F) -> Result<()> {
        self.ui.waiting(&format!("{}: {what}", self.addon.name));
        let backoff = backon::ConstantBuilder::default().with_delay(limits::SIM_LOOK).without_max_times();
        let once = || async {
            if let Some(process) = self.ended() {
                return Err(Look::Over(self.ended_error(&process)));
            }
            match look().await {
                Ok(true) => Ok(()),
                Ok(false) => Err(Look::NotYet(None)),
                Err(error) => Err(Look::NotYet(Some(error))),
            }
        };
        let looked = once.retry(backoff).when(|look| matches!(look, Look::NotYet(_)) && Instant::now() < self.deadline).await;
        looked.map_err(|look| match look {
            Look::Over(error) => error,
            Look::NotYet(cause) => self.late(what, cause),
        })
    }

    /// The time that is left.
    pub(crate) fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    fn ended(&self) -> Option<String> {
        let ended = processes::ended(&self.place.dir);
        let record = self.record();
        record.processes.keys().find(|name| ended.contains(name)).cloned()
    }

    fn ended_error(&self, process: &str) -> Error {
        let path = log_path(&self.place.dir, process);
        Error::new(Kind::Unavailable, format!("{process} ended while starting; its last lines")).because(log::tail(&path))
    }

    fn late(&self, what: &str, cause: Option<Error>) -> Error {
        let logs: Vec<String> = self.record().logs.values().map(|log| log::tail(log)).collect();
        let said = cause.map(|error| format!(" ({})", error.chain())).unwrap_or_default();
        let message = format!("{what}: not seen in time{said}; the last lines of its log");
        Error::new(Kind::Timeout, message).because(logs.concat()).hint("give a longer --wait")
    }

    /// True if a start failed because another program took a port first.
    pub(super) fn lost_a_port(&self, error: &Error) -> bool {
        error.chain().contains("address already in use")
    }

    /// Ends the processes of this add-on only.
    pub(super) async fn end(&self) -> Result<()> {
        let names: Vec<String> = self.record().processes.keys().cloned().collect();
        processes::end_named(&self.place.dir, &names).await
    }

    fn record(&self) -> MutexGuard<'_, Running> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_record(&self) -> Result<()> {
        let text = serde_json::to_vec_pretty(&*self.record());
        let text = text.map_err(|error| Error::internal("write the record of an add-on").because(error))?;
        files::write(&record_path(&self.place.dir, self.addon.name), &text)
    }
}

/// Why a look was not the last one, or was.
enum Look {
    Over(Error),
    NotYet(Option<Error>),
}

/// How the API server reaches a webhook on 127.0.0.1.
pub(crate) fn client_config(port: u16, path: &str, authority: &str) -> Value {
    json!({"url": format!("https://127.0.0.1:{port}{path}"), "caBundle": STANDARD.encode(authority)})
}

fn is_established(definition: &Value) -> bool {
    let conditions = definition["status"]["conditions"].as_array();
    conditions.is_some_and(|all| all.iter().any(|condition| condition["type"] == "Established" && condition["status"] == "True"))
}

fn absent_is_fine(error: std::io::Error) -> std::io::Result<()> {
    if error.kind() == std::io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

/// Removes `description` where it is text: where it is an object, it is a property of that name.
fn without_descriptions(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            fields.retain(|name, value| name != "description" || !value.is_string());
            fields.values_mut().for_each(without_descriptions);
        }
        Value::Array(items) => items.iter_mut().for_each(without_descriptions),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptions_go_and_properties_of_that_name_stay() {
        let mut schema = json!({"description": "x", "properties": {"description": {"type": "string", "description": "y"}}});
        without_descriptions(&mut schema);
        assert_eq!(schema, json!({"properties": {"description": {"type": "string"}}}));
    }

    #[test]
    fn webhooks_lead_to_a_port_and_those_nobody_serves_are_left_out() {
        let hook = |name: &str| json!({"name": name, "clientConfig": {"service": {"name": "s", "namespace": "n", "path": "/mutate"}}});
        let given = vec![
            json!({"kind": "MutatingWebhookConfiguration", "metadata": {"name": "m", "namespace": "x"}, "webhooks": [hook("a"), hook("b")]}),
            json!({"kind": "ValidatingWebhookConfiguration", "metadata": {"name": "v"}, "webhooks": [hook("b")]}),
        ];
        let kept = Starting::webhooks(given, "p-", 4711, "PEM", |name| name == "a");
        assert_eq!(kept.len(), 1);
        assert_eq!(kept[0]["metadata"], json!({"name": "p-m"}));
        let expected = json!([{"name": "a", "clientConfig": {"url": "https://127.0.0.1:4711/mutate", "caBundle": "UEVN"}}]);
        assert_eq!(kept[0]["webhooks"], expected);
    }
}
