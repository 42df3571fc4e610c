//! A private Sigstore, one per test process, with a registry beside it, in a network namespace of its own: nothing leaves the machine.
//!
//! It ends with the process, whatever ends that: the stack's standard input is a pipe that only this process holds.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use crate::registry_server::program;

/// The registry of the namespace, with the referrers API.
pub(crate) const REGISTRY: &str = "127.0.0.1:5000";
/// Who vouches for people.
pub(crate) const PEOPLE: &str = "http://127.0.0.1:13020";
/// Who vouches for workflows.
pub(crate) const GITHUB: &str = "http://127.0.0.1:13021";
/// TUF repositories of the trusted root.
pub(crate) const TUF: &str = "http://127.0.0.1:13022";

/// The stack: everything that is needed to sign and to verify.
pub(crate) struct Stack {
    child: Child,
    dir: PathBuf,
    stack: PathBuf,
}

/// First process of the namespaces: what it leaves running ends with it.
const FIRST: &str = r#"ip link set lo up && { "$3" -port 5000 -address-file "$2/registry" & "$1" "$2"; }; kill -9 -1; rm -rf "$2""#;

impl Stack {
    /// The stack of this process; none, with a line that says why, where it cannot be had.
    #[track_caller]
    pub(crate) fn shared() -> Option<&'static Self> {
        static STACK: OnceLock<Option<Stack>> = OnceLock::new();
        STACK.get_or_init(Self::start).as_ref()
    }

    /// One of its own, for a test of how it ends.
    pub(crate) fn start() -> Option<Self> {
        let servers = [
            ("FULCIO", program("fulcio")?),
            ("REKOR_SERVER", program("rekor-server")?),
            ("TIMESTAMP_SERVER", program("timestamp-server")?),
        ];
        let (stack, registry) = (program("sigstore-stack")?, program("oci-registry")?);
        let dir = tempfile::Builder::new().prefix("seatrial-sigstore-").tempdir().expect("a directory").keep();
        let mut command = Command::new("unshare");
        command.args(user_namespace(&["--user", "--map-root-user"])).args([
            "--net",
            "--pid",
            "--fork",
            "--kill-child",
            "sh",
            "-c",
            FIRST,
            "sh",
        ]);
        command.arg(&stack).arg(&dir).arg(registry);
        for (name, path) in servers {
            command.env(format!("SEATRIAL_BIN_{name}"), path);
        }
        let log = std::fs::File::create(dir.join("stack.log")).expect("a log file");
        // Its own group: Ctrl-C is for the tests. Its own output: nobody waits for the end of theirs on its behalf.
        let child = command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(log).spawn().expect("unshare starts");
        let mut made = Self { child, dir, stack };
        let deadline = Instant::now() + Duration::from_secs(90);
        while !(made.dir.join("ready").exists() && made.dir.join("registry").exists()) {
            let log = || std::fs::read_to_string(made.dir.join("stack.log")).unwrap_or_default();
            assert!(Instant::now() < deadline, "the private Sigstore is not ready: {}", log());
            assert!(made.child.try_wait().expect("its state").is_none(), "the private Sigstore ended: {}", log());
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(made)
    }

    /// A program that runs in the namespace, with an environment of its own.
    pub(crate) fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.args(user_namespace(&["--user", "--preserve-credentials"])).args(["--net", "--target", &self.child.id().to_string(), "--"]);
        command.arg(program).env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("HOME", &self.dir);
        command
    }

    /// `seatrial` in the namespace.
    pub(crate) fn seatrial(&self, args: &[&str]) -> Command {
        let mut command = self.command(env!("CARGO_BIN_EXE_seatrial"));
        command.args(args);
        command
    }

    /// `cosign` in the namespace, with the trusted root; none where it is not on this machine.
    pub(crate) fn cosign(&self, args: &[&str]) -> Option<Command> {
        self.cosign_with(&self.trusted_root(), args)
    }

    /// The same with another trusted root.
    pub(crate) fn cosign_with(&self, trusted_root: &str, args: &[&str]) -> Option<Command> {
        let mut command = self.command(program("cosign")?);
        let (verb, rest) = args.split_first().expect("a command of cosign's");
        command.args([verb, "--trusted-root", trusted_root]).args(rest);
        Some(command)
    }

    /// A server in the namespace, which ends with what this hands out, or with this process.
    pub(crate) fn server(&self, program: &Path, args: &[&str]) -> Server {
        let mut command = self.command("sh");
        // Its standard input is a pipe that only this process holds.
        command.args(["-c", r#""$@" </dev/null & server=$!; cat; kill -9 $server"#, "sh"]).arg(program).args(args);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("sh starts");
        Server { pipe: child.stdin.take(), child }
    }

    /// What is left when its pipe has closed, as it does with this process: the directory, after at most so long.
    pub(crate) fn leaves(mut self, limit: Duration) -> Option<PathBuf> {
        drop(self.child.stdin.take());
        let deadline = Instant::now() + limit;
        while self.child.try_wait().expect("its state").is_none() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
        }
        self.dir.exists().then_some(self.dir)
    }

    /// The trusted root's file.
    pub(crate) fn trusted_root(&self) -> String {
        self.dir.join("trusted_root.json").display().to_string()
    }

    /// The signing config's file.
    pub(crate) fn signing_config(&self) -> String {
        self.dir.join("signing_config.json").display().to_string()
    }

    /// Writes a fresh identity token of an issuer to a file; `claims` as `name=value&…`.
    pub(crate) fn token(&self, issuer: &str, claims: &str, folder: &Path) -> String {
        let path = folder.join("token");
        std::fs::write(&path, self.get(&format!("{issuer}/mint?{claims}"))).expect("is written");
        path.display().to_string()
    }

    /// What is at an address in the namespace.
    #[track_caller]
    pub(crate) fn get(&self, url: &str) -> Vec<u8> {
        self.got(url).unwrap_or_else(|said| panic!("{said}"))
    }

    /// The same, or what was said instead.
    pub(crate) fn got(&self, url: &str) -> Result<Vec<u8>, String> {
        let output = self.command(&self.stack).args(["get", url]).output().expect("runs");
        if output.status.success() { Ok(output.stdout) } else { Err(said(&output)) }
    }

    /// A browser for the namespace: it opens the page that it is given, and says there what it is told to.
    pub(crate) fn browser(&self, folder: &Path, answer: &str) -> PathBuf {
        let path = folder.join("browser");
        let text = format!("#!/bin/sh\nexec '{}' get \"$1&answer={answer}\"\n", self.stack.display());
        std::fs::write(&path, text).expect("is written");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("is made a program");
        path
    }
}

/// A server that runs.
pub(crate) struct Server {
    pipe: Option<std::process::ChildStdin>,
    child: Child,
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.pipe.take());
        // It is killed then; there is nothing to be done if that cannot be seen.
        self.child.wait().map(drop).unwrap_or(());
    }
}

/// Waits until something is there.
#[track_caller]
pub(crate) fn awaited<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what} is not there");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Flags that only those need who are not root.
fn user_namespace(flags: &'static [&'static str]) -> &'static [&'static str] {
    if rustix::process::geteuid().is_root() { &[] } else { flags }
}

/// Runs a command and insists on its exit code.
#[track_caller]
pub(crate) fn exits(mut command: Command, code: i32) -> String {
    let output = command.stdin(Stdio::null()).output().expect("runs");
    assert_eq!(output.status.code(), Some(code), "{command:?}\n{}", said(&output));
    said(&output)
}

/// All that a program wrote.
pub(crate) fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
