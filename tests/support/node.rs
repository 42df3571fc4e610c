//! A real node for tests: kubelet, containerd and runc in namespaces of their own, beside a leased control plane.
//!
//! It ends with the test, whatever ends that: another process runs it until a pipe that only this process holds is closed.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use tempfile::TempDir;

use super::cluster::{self, LeasedCluster};
use super::{eventually, find, left_out};

/// The image on every real node that holds the program under test, a shell, `cat` and `sleep`.
pub(crate) const IMAGE: &str = "seatrial.test/seatrial:1";

/// The same with a program in its place that runs the tool `stand-in`; the real one is `/usr/bin/real`.
pub(crate) const STAND_IN: &str = "seatrial.test/stand-in:1";

const PARTS: [&str; 10] =
    ["kubelet", "kubectl", "pause", "gpu-device-plugin", "tcp-relay", "containerd", "ctr", "cni-bridge", "cni-host-local", "runc"];

/// A node that is not started yet: what it and its containers find is laid out first.
pub(crate) struct NodePlan<'a> {
    cluster: &'a LeasedCluster,
    name: String,
    dir: TempDir,
}

/// A node that is Ready, for as long as this lives.
pub(crate) struct RealNode<'a> {
    _cluster: &'a LeasedCluster,
    name: String,
    dir: PathBuf,
    pipe: Option<ChildStdin>,
    keeper: Child,
}

impl<'a> NodePlan<'a> {
    /// A node to be; none, with a line that says why, if this machine cannot have one.
    #[track_caller]
    pub(crate) fn new(cluster: &'a LeasedCluster, name: &str) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            left_out("a real node needs root");
            return None;
        }
        let namespaces = ["--mount", "--net", "--pid", "--uts", "--ipc", "--cgroup", "--fork", "true"];
        let tools = [("ip", "-V"), ("setpriv", "--version"), ("openssl", "version"), ("strip", "--version")];
        if !tools.iter().all(|(tool, argument)| runs(tool, &[argument])) || !runs("unshare", &namespaces) {
            left_out("a real node needs unshare, ip, setpriv, openssl and strip, and namespaces that this process may make");
            return None;
        }
        if !Path::new("/sys/fs/cgroup/memory/cgroup.procs").exists() {
            left_out("a real node is built for cgroup v1, which this machine does not have");
            return None;
        }
        let missing: Vec<&str> = PARTS.into_iter().filter(|part| !parts().iter().any(|(name, _)| *name == super::variable(part))).collect();
        if !missing.is_empty() {
            left_out(&format!("a real node needs {}: `make test` as root builds them", missing.join(", ")));
            return None;
        }
        let dir = tempfile::Builder::new().prefix("seatrial-node-").tempdir().expect("a temporary directory");
        // Containers that run as nobody read what is below.
        fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).expect("is ours");
        for folder in ["images", "gpu/bin", "host"] {
            fs::create_dir_all(dir.path().join(folder)).expect("is made");
        }
        for image in images() {
            symlink(image, dir.path().join("images").join(image.file_name().expect("has a name"))).expect("is linked");
        }
        Some(Self { cluster, name: name.to_owned(), dir })
    }

    /// Puts a tool where containers find it that have a GPU.
    #[must_use]
    pub(crate) fn tool(self, name: &str, script: &str) -> Self {
        write_tool(self.dir.path(), name, script);
        self
    }

    /// Lays a file over one of the node's own.
    #[must_use]
    pub(crate) fn file(self, path: &str, text: &str) -> Self {
        let file = self.dir.path().join(format!("host{path}"));
        fs::create_dir_all(file.parent().expect("is below host")).expect("is made");
        fs::write(file, text).expect("is written");
        self
    }

    /// Device nodes that come with each GPU: lines of its number, or `*` for every container, and a path.
    #[must_use]
    pub(crate) fn device_nodes(self, lines: &str) -> Self {
        fs::write(self.dir.path().join("device-nodes"), lines).expect("is written");
        self
    }

    /// Adds fields to kubelet's configuration.
    #[must_use]
    pub(crate) fn kubelet(self, yaml: &str) -> Self {
        fs::write(self.dir.path().join("kubelet.yaml"), yaml).expect("is written");
        self
    }

    /// Makes what lies below a path of the plan the node's own: a file, or a whole directory.
    #[must_use]
    pub(crate) fn laid_over(self, path: &str) -> Self {
        let list = self.dir.path().join("host.paths");
        let before = fs::read_to_string(&list).unwrap_or_default();
        fs::write(list, format!("{before}{path}\n")).expect("is written");
        self
    }

    /// Starts it with so many simulated GPUs and waits until it is Ready and advertises them.
    #[track_caller]
    pub(crate) fn start(self, gpus: u32) -> RealNode<'a> {
        let labels = format!("nvidia.com/gpu.present=true,nvidia.com/gpu.count={gpus},nvidia.com/gpu.product=NVIDIA-H100-80GB-HBM3");
        if gpus == 0 { self.start_with("", "") } else { self.start_with(&labels, &format!("nvidia.com/gpu={gpus}")) }
    }

    /// The same with labels and a resource of one's own, `amd.com/gpu=8`.
    #[track_caller]
    pub(crate) fn start_with(self, labels: &str, gpus: &str) -> RealNode<'a> {
        fs::write(self.dir.path().join("labels"), labels).expect("is written");
        let mut command = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/testenv/node/node.sh"));
        // From here on the node removes it.
        let dir = self.dir.keep();
        command.arg(&dir).arg(&self.name).arg(self.cluster.dir()).arg(gpus).current_dir("/");
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).envs(parts().iter().cloned());
        // Its own group: Ctrl-C is for the tests. Its own output: nobody waits for the end of theirs on its behalf.
        use std::os::unix::process::CommandExt;
        let mut keeper = command
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("testenv/node/node.sh starts");
        let pipe = keeper.stdin.take();
        let node = RealNode { _cluster: self.cluster, name: self.name, dir, pipe, keeper };
        let failed = node.dir.join("failed");
        eventually(&format!("node {} to be Ready", node.name), Duration::from_secs(120), || {
            assert!(!failed.exists(), "node {}: {}\n{}", node.name, read(&failed), node.logs());
            node.dir.join("ready").exists().then_some(())
        });
        node
    }
}

impl RealNode<'_> {
    /// Its name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Puts a file where containers find it that have a GPU, in `/opt/gpu`.
    pub(crate) fn data(&self, name: &str, text: &str) {
        fs::write(self.dir.join("gpu").join(name), text).expect("is written");
    }

    /// Its directory, gone when it has ended.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Exchanges a tool that containers find that have a GPU.
    pub(crate) fn tool(&self, name: &str, script: &str) {
        write_tool(&self.dir, name, script);
    }

    /// Takes a tool away.
    pub(crate) fn without_tool(&self, name: &str) {
        fs::remove_file(self.dir.join("gpu/bin").join(name)).expect("is there");
    }

    /// Process id of the script that runs it.
    pub(crate) fn keeper(&self) -> u32 {
        self.keeper.id()
    }

    /// What its programs have said last.
    pub(crate) fn logs(&self) -> String {
        let mut all = String::new();
        for name in ["node", "init", "images", "containerd", "kubelet"] {
            let text = read(&self.dir.join(format!("log/{name}.log")));
            let lines: Vec<&str> = text.lines().collect();
            all += &format!("== {name}\n{}\n", lines[lines.len().saturating_sub(20)..].join("\n"));
        }
        all
    }
}

impl Drop for RealNode<'_> {
    fn drop(&mut self) {
        drop(self.pipe.take());
        // It ends by itself; what it came to is in nobody's interest any more.
        let _ = self.keeper.wait();
    }
}

/// True if a program is here and ends well.
fn runs(program: &str, arguments: &[&str]) -> bool {
    Command::new(program).args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

fn write_tool(dir: &Path, name: &str, script: &str) {
    let file = dir.join("gpu/bin").join(name);
    // Renamed into place: a container may be running the old one.
    let partial = dir.join(format!("{name}.partial"));
    fs::write(&partial, format!("#!/bin/sh\n{script}")).expect("is written");
    fs::set_permissions(&partial, Permissions::from_mode(0o755)).expect("is ours");
    fs::rename(partial, file).expect("is renamed");
}

fn read(path: &Path) -> String {
    fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

/// The parts of a node that are here, as variables; found once per process.
fn parts() -> &'static [(String, String)] {
    static FOUND: OnceLock<Vec<(String, String)>> = OnceLock::new();
    FOUND.get_or_init(|| find(&PARTS).into_iter().collect())
}

/// The images of every node, made once per process; they go with its control planes.
fn images() -> &'static [PathBuf] {
    static MADE: OnceLock<Vec<PathBuf>> = OnceLock::new();
    MADE.get_or_init(|| {
        let folder = cluster::root().join("images");
        fs::create_dir_all(&folder).expect("is made");
        let program = folder.join("seatrial");
        // What a debugger wants is most of its size.
        let stripped = Command::new("strip").arg("-o").arg(&program).arg(env!("CARGO_BIN_EXE_seatrial")).status().expect("strip runs");
        assert!(stripped.success(), "strip: {stripped}");
        let pause = parts().iter().find(|(name, _)| name == "SEATRIAL_BIN_PAUSE").expect("is among the parts");
        let made = |name: &str, tag: &str, entrypoint: &str, files: &[String]| {
            let path = folder.join(format!("{name}.tar"));
            let script = concat!(env!("CARGO_MANIFEST_DIR"), "/testenv/node/image.sh");
            let output = Command::new(script).arg(&path).args([tag, entrypoint]).args(files).output().expect("image.sh starts");
            assert!(output.status.success(), "image {tag}: {}", String::from_utf8_lossy(&output.stderr));
            path
        };
        let tools = ["sh", "cat", "sleep"].map(|tool| format!("/bin/{tool}:/bin/{tool}"));
        let stand_in = folder.join("stand-in");
        fs::write(&stand_in, "#!/bin/sh\nexec /opt/gpu/bin/stand-in \"$@\"\n").expect("is written");
        let renamed = [format!("{}:/usr/bin/real", program.display()), format!("{}:/usr/bin/seatrial", stand_in.display())];
        let program = format!("{}:/usr/bin/seatrial", program.display());
        vec![
            made("stand-in", STAND_IN, "/usr/bin/seatrial", &[&renamed[..], &tools].concat()),
            made("pause", "registry.k8s.io/pause:3.10", "/pause", &[format!("{}:/pause", pause.1)]),
            made("seatrial", IMAGE, "/usr/bin/seatrial", &[&[program][..], &tools].concat()),
        ]
    })
}
