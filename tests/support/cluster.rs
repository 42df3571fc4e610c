//! Real control planes for tests: at most four per process, lent one test at a time, each time as good as new; with the add-ons
//! that a test wants, which are restored with it.
//!
//! Add-ons that cannot but listen on all interfaces run, with the whole control plane, in a network namespace with nothing but lo.
//! The test's thread joins it for as long as it has the cluster, and so do the programs that it starts.
//!
//! They end with the process, whatever ends it: another process, in a group of its own, starts them and waits for the
//! end of a pipe that only this process holds.

use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::LinkNameSpaceType;
use seatrial::sim::addons::{self, Addon};
use serde_json::{Value, json};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::etcd::{Contents, Store};
use super::{Bin, binaries};

const PLANES: usize = 4;
static PERMITS: Semaphore = Semaphore::const_new(PLANES);
static POOL: Mutex<Vec<Plane>> = Mutex::new(Vec::new());
/// Control planes that run, lent or not.
static RUNNING: AtomicUsize = AtomicUsize::new(0);

struct Plane {
    dir: PathBuf,
    with: Vec<&'static str>,
    isolated: bool,
    store_port: u64,
    pristine: Contents,
}

/// A control plane for one test, with the demo cluster: sim-node-1 and -2 by device plugin, -3 and -4 by DRA.
pub(crate) struct LeasedCluster {
    plane: Option<Plane>,
    dirty: bool,
    stopped: Vec<&'static str>,
    files: tempfile::TempDir,
    // Left before the permit is given back.
    _joined: Option<Joined>,
    _permit: SemaphorePermit<'static>,
}

/// Lends a control plane, for as long as the answer lives; waits for one to be free.
pub(crate) async fn lease() -> LeasedCluster {
    lease_with(&[]).await
}

/// Lends a control plane with add-ons, by name; those that they need come with them.
///
/// Only with `SEATRIAL_TEST_REQUIRE=all` are missing programs built here, which takes minutes. A set with an add-on that listens on
/// all interfaces needs root: see [`may_isolate`].
pub(crate) async fn lease_with(names: &[&str]) -> LeasedCluster {
    lend(names, false).await
}

/// As [`lease_with`], in a network namespace of its own whatever the add-ons: see [`may_isolate`].
pub(crate) async fn lease_isolated(names: &[&str]) -> LeasedCluster {
    lend(names, true).await
}

async fn lend(names: &[&str], isolated: bool) -> LeasedCluster {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let addons = addons::with_needs(&names).expect("there are such add-ons");
    let with: Vec<&'static str> = addons.iter().map(|addon| addon.name).collect();
    let isolated = isolated || addons.iter().any(|addon| addon.exposed.is_some());
    let permit = PERMITS.acquire().await.expect("is never closed");
    let (free, idle) = {
        let mut pool = POOL.lock().unwrap_or_else(PoisonError::into_inner);
        let free = pool.iter().position(|plane| plane.with == with && plane.isolated == isolated).map(|index| pool.remove(index));
        // Memory is for four: one of another kind makes room.
        let full = RUNNING.load(Ordering::Relaxed) >= PLANES;
        let idle = if free.is_none() && full && !pool.is_empty() { Some(pool.remove(0)) } else { None };
        (free, idle)
    };
    if let Some(plane) = idle {
        throw_away(&plane);
    }
    let (plane, joined) = match free {
        Some(plane) => {
            let joined = isolated.then(|| Joined::network_of(&plane.dir));
            Store::new(plane.store_port).restore(&plane.pristine).await;
            (plane, joined)
        }
        None => start(&addons, isolated).await,
    };
    let files = tempfile::tempdir().expect("a temporary directory");
    LeasedCluster { plane: Some(plane), dirty: false, stopped: Vec::new(), files, _joined: joined, _permit: permit }
}

/// True if a network namespace can be made here; says that the test is left out otherwise.
#[track_caller]
pub(crate) fn may_isolate() -> bool {
    let may = rustix::process::geteuid().is_root();
    if !may {
        super::left_out("a network namespace of its own needs root");
    }
    may
}

/// This thread is in a control plane's network namespace until this is dropped.
struct Joined {
    before: OwnedFd,
}

impl Joined {
    fn network_of(dir: &Path) -> Self {
        let open = |path: &str| OwnedFd::from(std::fs::File::open(path).expect("the namespace is there"));
        let pid = std::fs::read_to_string(dir.join("kwok/clusters/sim/pids/kube-apiserver.pid")).expect("is recorded");
        let before = open("/proc/thread-self/ns/net");
        enter(&open(&format!("/proc/{}/ns/net", pid.trim())));
        Self { before }
    }
}

impl Drop for Joined {
    fn drop(&mut self) {
        enter(&self.before);
    }
}

fn enter(namespace: &OwnedFd) {
    rustix::thread::move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).expect("root may do that");
}

impl LeasedCluster {
    /// The administrator's kubeconfig.
    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.dir().join("kubeconfig")
    }

    /// The directory of the control plane, as `sim up --dir` has it.
    pub(crate) fn dir(&self) -> &Path {
        &self.plane.as_ref().expect("is there until dropped").dir
    }

    /// Runs kubectl and returns what it prints.
    #[track_caller]
    pub(crate) fn kubectl(&self, args: &[&str]) -> String {
        let (ok, stdout, stderr) = self.try_kubectl(&self.kubeconfig(), args, "");
        assert!(ok, "kubectl {args:?}: {stderr}");
        stdout
    }

    /// Runs kubectl and returns its JSON.
    #[track_caller]
    pub(crate) fn get(&self, args: &[&str]) -> Value {
        let all: Vec<&str> = ["get", "-o", "json"].into_iter().chain(args.iter().copied()).collect();
        serde_json::from_str(&self.kubectl(&all)).expect("kubectl prints JSON")
    }

    /// Applies manifests.
    #[track_caller]
    pub(crate) fn apply(&self, yaml: &str) {
        let (ok, _, stderr) = self.try_kubectl(&self.kubeconfig(), &["apply", "--server-side", "-f", "-"], yaml);
        assert!(ok, "kubectl apply: {stderr}\n{yaml}");
    }

    /// Loads a cluster description, e.g. one with a planted defect.
    #[track_caller]
    pub(crate) fn load(&self, description: &str) {
        let file = self.files.path().join("cluster.yaml");
        std::fs::write(&file, description).expect("is written");
        let bin = Bin::within(self.files.path()).args(["sim", "load"]).args([&file]);
        bin.args([Path::new("--kubeconfig"), &self.kubeconfig()]).exits(0);
    }

    /// Puts the cluster back to how it was lent, as between two tests.
    pub(crate) async fn put_back(&self) {
        let plane = self.plane.as_ref().expect("is there until dropped");
        Store::new(plane.store_port).restore(&plane.pristine).await;
    }

    /// Says that a test changes what is not in the cluster's store; the control plane is thrown away afterwards.
    pub(crate) fn spoil(&mut self) {
        self.dirty = true;
    }

    /// Stops a component (`kube-scheduler`, `kube-controller-manager`, …) or a process of an add-on (`kueue`, …), as if it hung.
    pub(crate) fn stop(&mut self, component: &'static str) {
        self.stopped.push(component);
        self.signal(component, Signal::STOP);
    }

    /// Lets a component go on.
    pub(crate) fn start(&mut self, component: &str) {
        self.stopped.retain(|stopped| *stopped != component);
        self.signal(component, Signal::CONT);
    }

    /// Kills a component or a process of an add-on for good (`kube-apiserver`, `kueue`, …); the control plane is thrown away afterwards.
    pub(crate) fn kill(&mut self, component: &str) {
        self.dirty = true;
        self.signal(component, Signal::KILL);
    }

    /// A kubeconfig of someone who may do everything but `verb` on `resource` (plural, with group: `resourceslices.resource.k8s.io`).
    #[track_caller]
    pub(crate) fn kubeconfig_without(&self, verb: &str, resource: &str) -> PathBuf {
        static NUMBER: AtomicU32 = AtomicU32::new(1);
        let name = format!("restricted-{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let names = self.kubectl(&["api-resources", "-o", "name"]);
        assert!(names.lines().any(|known| known == resource), "no resource {resource}; there are:\n{names}");
        self.apply(&role(&name, verb, names.lines().filter(|known| *known != resource)));
        let token = self.kubectl(&["create", "token", &name, "--namespace", "default"]);
        let file = self.files.path().join(format!("{name}.kubeconfig"));
        std::fs::write(&file, self.kubeconfig_of(&name, token.trim())).expect("is written");
        // Roles take effect when the API server has seen them.
        let other = if resource == "namespaces" { "nodes" } else { "namespaces" };
        super::eventually("the restricted user's role", Duration::from_secs(10), || {
            let (may, _, _) = self.try_kubectl(&file, &["auth", "can-i", verb, other, "--all-namespaces", "--quiet"], "");
            may.then_some(())
        });
        let (may, _, _) = self.try_kubectl(&file, &["auth", "can-i", verb, resource, "--all-namespaces", "--quiet"], "");
        assert!(!may, "{name} may {verb} {resource}");
        file
    }

    fn kubeconfig_of(&self, user: &str, token: &str) -> String {
        let own = self.kubectl(&["config", "view", "--raw", "--flatten", "--minify", "-o", "json"]);
        let mut config: Value = serde_json::from_str(&own).expect("is JSON");
        config["users"] = json!([{"name": user, "user": {"token": token}}]);
        config["contexts"][0]["context"]["user"] = json!(user);
        config.to_string()
    }

    /// Runs kubectl with a kubeconfig; whether it succeeded, stdout and stderr.
    pub(crate) fn try_kubectl(&self, kubeconfig: &Path, args: &[&str], stdin: &str) -> (bool, String, String) {
        let mut command = assert_cmd::Command::new(&binaries()["SEATRIAL_BIN_KUBECTL"]);
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("HOME", self.files.path());
        command.arg("--kubeconfig").arg(kubeconfig).args(args).write_stdin(stdin).timeout(Duration::from_secs(60));
        let output = command.output().expect("kubectl runs");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.success(), text(&output.stdout), text(&output.stderr))
    }

    fn signal(&self, component: &str, signal: Signal) {
        let places = ["kwok/clusters/sim/pids", "addons/pids"].map(|folder| self.dir().join(folder).join(format!("{component}.pid")));
        let pid = places
            .iter()
            .find_map(|path| std::fs::read_to_string(path).ok())
            .and_then(|text| text.trim().parse().ok())
            .and_then(Pid::from_raw);
        kill_process(pid.expect("the component has a process id"), signal).expect("the component runs");
    }
}

impl Drop for LeasedCluster {
    fn drop(&mut self) {
        if !self.dirty {
            std::mem::take(&mut self.stopped).into_iter().for_each(|component| self.start(component));
        }
        let Some(plane) = self.plane.take() else { return };
        if self.dirty {
            throw_away(&plane);
        } else {
            POOL.lock().unwrap_or_else(PoisonError::into_inner).push(plane);
        }
    }
}

fn throw_away(plane: &Plane) {
    // What this leaves, the keeper removes.
    let down = Command::new(env!("CARGO_BIN_EXE_seatrial")).args(["sim", "down", "--quiet", "--dir"]).arg(&plane.dir).status();
    drop(down);
    RUNNING.fetch_sub(1, Ordering::Relaxed);
}

/// A directory for a simulated cluster of a test's own; what runs in it ends with this process.
pub(crate) fn own_dir() -> PathBuf {
    keeper().root.join(next_name())
}

/// The directory that holds all of this process's control planes.
pub(crate) fn root() -> &'static Path {
    &keeper().root
}

struct Keeper {
    root: PathBuf,
    pipe: Mutex<ChildStdin>,
}

fn keeper() -> &'static Keeper {
    static KEEPER: OnceLock<Keeper> = OnceLock::new();
    KEEPER.get_or_init(|| {
        let root = tempfile::Builder::new().prefix("seatrial-test-").tempdir().expect("a temporary directory").keep();
        let mut command = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/keeper.sh"));
        command.arg(env!("CARGO_BIN_EXE_seatrial")).arg(&root).current_dir("/");
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("HOME", &root).envs(binaries());
        // Its own group: Ctrl-C is for the tests. Its own output: nobody waits for the end of theirs on its behalf.
        use std::os::unix::process::CommandExt;
        command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        #[expect(clippy::zombie_processes, reason = "it outlives this process, on purpose")]
        let mut child = command.spawn().expect("tests/support/keeper.sh starts");
        Keeper { root, pipe: Mutex::new(child.stdin.take().expect("is piped")) }
    })
}

fn next_name() -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(1);
    format!("plane-{}", NUMBER.fetch_add(1, Ordering::Relaxed))
}

async fn start(addons: &[&'static Addon], isolated: bool) -> (Plane, Option<Joined>) {
    let keeper = keeper();
    let name = next_name();
    let file = |ending: &str| keeper.root.join(format!("{name}.{ending}"));
    let with: Vec<&'static str> = addons.iter().map(|addon| addon.name).collect();
    let programs: Vec<&str> = addons.iter().flat_map(|addon| addon.programs).copied().collect();
    let listed = if with.is_empty() { "-".to_owned() } else { with.join(",") };
    let place = if isolated { "isolated" } else { "shared" };
    let line: Vec<String> = [name.clone(), listed, place.to_owned()].into_iter().chain(servers(&programs)).collect();
    RUNNING.fetch_add(1, Ordering::Relaxed);
    writeln!(keeper.pipe.lock().unwrap_or_else(PoisonError::into_inner), "{}", line.join("\t")).expect("the keeper listens");
    let limit = if with.is_empty() { 180 } else { 360 };
    let deadline = Instant::now() + Duration::from_secs(limit);
    while !file("exit").exists() {
        assert!(Instant::now() < deadline, "no control plane within {limit} s: {}", log(&file("log")));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let code = std::fs::read_to_string(file("exit")).expect("is there");
    assert_eq!(code.trim(), "0", "sim up failed: {}", log(&file("log")));
    let dir = keeper.root.join(&name);
    let joined = isolated.then(|| Joined::network_of(&dir));
    let store_port = store_port(&dir);
    let pristine = Store::new(store_port).settled().await;
    (Plane { dir, with, isolated, store_port, pristine }, joined)
}

/// `SEATRIAL_BIN_<NAME>=PATH` of programs that add-ons run.
pub(crate) fn servers(programs: &[&str]) -> Vec<String> {
    if programs.is_empty() {
        return Vec::new();
    }
    let found = super::find(programs);
    let missing: Vec<&str> = programs.iter().copied().filter(|name| !found.contains_key(&super::variable(name))).collect();
    assert!(missing.is_empty(), "no {0} here. To fix: testenv/get.sh {0}, which builds them once", missing.join(" "));
    found.into_iter().map(|(name, path)| format!("{name}={path}")).collect()
}

fn log(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

fn store_port(dir: &Path) -> u64 {
    let text = std::fs::read_to_string(dir.join("kwokctl.yaml")).expect("sim up wrote it");
    let config: Value = seatrial::yaml::from_str(&text, "kwokctl.yaml").expect("is YAML");
    config["options"]["etcdPort"].as_u64().expect("has a port")
}

/// A ServiceAccount that may use `verb` on `allowed` only, and every other verb on everything.
fn role<'a>(name: &str, verb: &str, allowed: impl Iterator<Item = &'a str>) -> String {
    let others: Vec<&str> = ["get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"]
        .into_iter()
        .filter(|other| *other != verb)
        .collect();
    let mut rules =
        vec![json!({"apiGroups": ["*"], "resources": ["*"], "verbs": others}), json!({"nonResourceURLs": ["*"], "verbs": ["get"]})];
    for resource in allowed {
        let (plural, group) = resource.split_once('.').unwrap_or((resource, ""));
        rules.push(json!({"apiGroups": [group], "resources": [plural], "verbs": [verb]}));
    }
    let subresources = ["*/status", "*/scale", "*/log", "*/exec", "*/portforward", "*/proxy", "*/eviction", "*/binding", "*/token"];
    rules.push(json!({"apiGroups": ["*"], "resources": subresources, "verbs": [verb]}));
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": "default"}});
    let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": name}, "rules": rules});
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
        "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": "default"}],
    });
    json!({"apiVersion": "v1", "kind": "List", "items": [account, role, binding]}).to_string()
}
