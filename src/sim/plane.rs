//! Starts a control plane by kwokctl's binary runtime, watches it while it starts, and stops it.
//!
//! kwokctl waits four minutes for an API server that is already dead, so its components are watched here.

use std::fs::{self, File};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::Instant;

use crate::cluster::{Cluster, Target};
use crate::error::{Context, Error, Kind, Result};
use crate::sim::addons::{self, Chosen};
use crate::sim::binaries::{self, Binaries};
use crate::sim::description::Description;
use crate::sim::home::{Home, Record};
use crate::sim::{load, log, mark, ports, processes};
use crate::ui::Ui;
use crate::{files, limits, yaml};

/// The Kubernetes release that kwokctl downloads where no programs are found; the one that the tests run with.
const KUBERNETES: &str = "v1.35.4";

/// An address of the range for documentation (RFC 5737): the API server wants one to advertise, and without a default
/// route finds none. Nothing is sent to it: with no endpoint reconciler, it is never written down.
const ADVERTISED: &str = "192.0.2.1";

/// Starts a control plane in `home`, loads the description, starts add-ons, and waits until all of it is ready.
///
/// On any error, and on SIGINT or SIGTERM, everything is torn down again.
///
/// # Errors
/// [`Kind::Usage`] if kwokctl is missing or the directory is taken; [`Kind::Unavailable`] with the end of the log of the
/// component that ended; [`Kind::Timeout`] after `wait`; [`Kind::Interrupted`].
pub async fn up(home: &Home, description: &Description, with: &Chosen, wait: Duration, ui: &Ui) -> Result<()> {
    let binaries = binaries::find()?;
    let mut record = home.claim()?;
    let started = tokio::select! {
        ended = start_and_load(home, &mut record, &binaries, (description, with), wait, ui) => ended,
        stopped = interrupted() => Err(stopped),
    };
    match started {
        Ok(()) => Ok(()),
        Err(error) => {
            tear_down(home, &record).await.map_err(|left| left.context(format!("tear down after: {}", error.chain())))?;
            Err(error.context(format!("start simulated cluster {}", home.name())))
        }
    }
}

/// Stops the cluster in `home` and removes its directory. False if there was none.
///
/// # Errors
/// [`Kind::Timeout`] if a process does not end; [`Kind::Io`] if the directory cannot be removed.
pub async fn down(home: &Home) -> Result<bool> {
    let Some(record) = home.record()? else { return Ok(false) };
    if !record.ready {
        // It is still starting, and tears down by itself when told to stop; if it was cut off, there is no such process.
        processes::terminate(record.up_pid, &["sim", "up"]).await;
        if home.record()?.is_none() {
            return Ok(true);
        }
    }
    tear_down(home, &record).await.with_context(|| format!("stop simulated cluster {}", record.name))?;
    Ok(true)
}

async fn tear_down(home: &Home, record: &Record) -> Result<()> {
    if let Some(pid) = record.kwokctl_pid {
        let config = config_path(home);
        processes::end_group(pid, &["create", "cluster", &config.to_string_lossy()]).await;
    }
    addons::end(&home.addons().dir).await?;
    processes::end(&home.plane(&record.name)).await?;
    home.remove()
}

async fn start_and_load(
    home: &Home,
    record: &mut Record,
    binaries: &Binaries,
    (description, with): (&Description, &Chosen),
    wait: Duration,
    ui: &Ui,
) -> Result<()> {
    if !binaries.absent.is_empty() {
        ui.line(format!("   kwokctl downloads what is not found here: {}", binaries.absent.join(", ")));
    }
    let deadline = Instant::now() + wait;
    let mut tries = 1;
    loop {
        ui.waiting(&format!("control plane of {} starts in {}", home.name(), home.dir().display()));
        match tokio::time::timeout_at(deadline, start(home, record, binaries)).await.unwrap_or_else(|_| Err(late(home, wait))) {
            Ok(()) => break,
            // Ports are chosen free, and another program may still be quicker.
            Err(error) if tries < limits::SIM_TRIES && error.chain().contains("address already in use") => {
                tries += 1;
                processes::end(&home.plane(home.name())).await?;
                fs::remove_dir_all(home.kwok()).with_context(|| format!("remove {}", home.kwok().display()))?;
            }
            Err(error) => return Err(error),
        }
    }
    let cluster = Cluster::connect(&Target { kubeconfig: Some(home.kubeconfig()), context: None }).await?;
    let left = deadline.saturating_duration_since(Instant::now());
    load::load(&cluster, description, left, ui).await.map_err(|error| match error.kind() {
        Kind::Timeout => error.hint("give a longer --wait"),
        _ => error,
    })?;
    mark::write(&cluster, home).await?;
    addons::start(&home.addons(), &cluster, with, deadline, ui).await?;
    record.ready = true;
    home.write(record)
}

async fn start(home: &Home, record: &mut Record, binaries: &Binaries) -> Result<()> {
    files::write(&config_path(home), yaml::to_string(&config(home, binaries)?)?.as_bytes())?;
    let mut child = spawn(home, binaries)?;
    record.kwokctl_pid = child.id();
    home.write(record)?;
    let plane = home.plane(home.name());
    let ended = loop {
        if let Some(ended) = child.try_wait().context("wait for kwokctl")? {
            break ended;
        }
        if let Some(component) = processes::ended(&plane).first() {
            return Err(component_ended(&plane, component));
        }
        tokio::time::sleep(limits::SIM_LOOK).await;
    };
    if let Some(component) = processes::ended(&plane).first() {
        return Err(component_ended(&plane, component));
    }
    if !ended.success() {
        let said = log::tail(&kwokctl_log(home));
        return Err(Error::new(Kind::Unavailable, format!("kwokctl ended with {ended}")).because(said));
    }
    Ok(())
}

fn spawn(home: &Home, binaries: &Binaries) -> Result<Child> {
    let log = kwokctl_log(home);
    let out = File::create(&log).with_context(|| format!("write {}", log.display()))?;
    let err = out.try_clone().with_context(|| format!("write {}", log.display()))?;
    let mut command = Command::new(&binaries.kwokctl);
    // Settings of the user's own kwok are not ours.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("KWOK_") {
            command.env_remove(name);
        }
    }
    command
        .args(["create", "cluster", "--name", home.name(), "--wait", "60s", "--config"])
        .arg(config_path(home))
        .arg("--kubeconfig")
        .arg(home.kubeconfig())
        .env("KWOK_WORKDIR", home.kwok())
        .stdin(Stdio::null())
        .stdout(out)
        .stderr(err)
        // Ctrl-C in the terminal is for us; we stop kwokctl.
        .process_group(0);
    command.spawn().map_err(|error| Error::usage(format!("start {}", binaries.kwokctl.display())).because(error))
}

fn config_path(home: &Home) -> std::path::PathBuf {
    home.dir().join("kwokctl.yaml")
}

fn kwokctl_log(home: &Home) -> std::path::PathBuf {
    home.dir().join("kwokctl.log")
}

/// kwokctl's configuration: everything on 127.0.0.1, which is not its default.
fn config(home: &Home, binaries: &Binaries) -> Result<Value> {
    let mut options = Map::new();
    let option_ports =
        ["etcdPort", "etcdPeerPort", "kubeApiserverPort", "kubeControllerManagerPort", "kubeSchedulerPort", "kwokControllerPort"];
    for (option, port) in option_ports.iter().zip(ports::free(option_ports.len())?) {
        options.insert((*option).to_owned(), json!(port));
    }
    for (option, path) in &binaries.options {
        options.insert((*option).to_owned(), json!(path));
    }
    if let Some(cache) = cache_dir() {
        options.insert("cacheDir".to_owned(), json!(cache));
    }
    let fixed = json!({
        "runtime": "binary", "bindAddress": "127.0.0.1", "kubeVersion": KUBERNETES, "kubeAuthorization": true, "kubeAdmission": true,
        "disableQPSLimits": true, "enableCRDs": ["Stage", "PortForward", "Metric", "ClusterResourceUsage", "ResourceUsage"],
    });
    options.extend(fixed.as_object().cloned().unwrap_or_default());
    let extra = |name: &str, arguments: &[(&str, &str)]| {
        let list = arguments.iter().map(|(key, value)| json!({"key": key, "value": value}));
        json!({"name": name, "extraArgs": list.collect::<Vec<_>>()})
    };
    let pki = home.plane(home.name()).join("pki");
    let (certificate, key) = (pki.join("admin.crt"), pki.join("admin.key"));
    // A real node that joins knows the API server by its certificate, and is found by its address. All simulated ones are kwok itself, at
    // a name: localhost.
    let kubelets = [
        ("kubelet-client-certificate", &*certificate.to_string_lossy()),
        ("kubelet-client-key", &*key.to_string_lossy()),
        ("kubelet-preferred-address-types", "InternalIP,Hostname"),
    ];
    let api_server = [&[("endpoint-reconciler-type", "none"), ("advertise-address", ADVERTISED)][..], &kubelets].concat();
    Ok(json!({
        "apiVersion": "config.kwok.x-k8s.io/v1alpha1", "kind": "KwokctlConfiguration", "options": options,
        "componentsPatches": [
            // Nothing here outlives the machine's next crash.
            extra("etcd", &[("unsafe-no-fsync", "true")]),
            extra("kube-apiserver", &api_server),
            // There is one of each: an election only delays the start.
            // Autoscalers of pods look every 15 s by default, which here would only be waited for.
            extra("kube-controller-manager", &[("leader-elect", "false"), ("horizontal-pod-autoscaler-sync-period", "5s")]),
            extra("kube-scheduler", &[("leader-elect", "false")]),
            // Nodes that someone really has, joined to this control plane, are not kwok's to play.
            // Without leases: with them, kwok 0.8 drops pods of a node whose lease its cache does not show yet, for good.
            extra(
                "kwok-controller",
                &[
                    ("manage-all-nodes", "false"),
                    ("manage-nodes-with-annotation-selector", "kwok.x-k8s.io/node=fake"),
                    ("node-lease-duration-seconds", "0"),
                ],
            ),
        ],
    }))
}

/// Where kwokctl keeps what it downloads, beyond the life of one cluster.
fn cache_dir() -> Option<std::path::PathBuf> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(std::path::PathBuf::from);
    let cache = variable("XDG_CACHE_HOME").or_else(|| variable("HOME").map(|home| home.join(".cache")))?;
    Some(cache.join("seatrial/kwok"))
}

fn component_ended(plane: &Path, component: &str) -> Error {
    let log = plane.join("logs").join(format!("{component}.log"));
    Error::new(Kind::Unavailable, format!("{component} ended while starting; its last lines")).because(log::tail(&log))
}

fn late(home: &Home, wait: Duration) -> Error {
    let message = format!("not ready within {} s; kwokctl's last lines", wait.as_secs());
    Error::new(Kind::Timeout, message).because(log::tail(&kwokctl_log(home))).hint("give a longer --wait")
}

async fn interrupted() -> Error {
    let (Ok(mut int), Ok(mut term)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate())) else {
        // Without handlers the signals end the process as ever.
        return std::future::pending().await;
    };
    let name = tokio::select! { _ = int.recv() => "SIGINT", _ = term.recv() => "SIGTERM" };
    Error::new(Kind::Interrupted, format!("interrupted by {name}"))
}
