//! Starts real OCI registries on free ports of 127.0.0.1 and ends them.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A registry that runs until this is dropped.
pub(crate) struct RegistryServer {
    child: Child,
    /// Host and port.
    pub(crate) address: String,
    folder: tempfile::TempDir,
}

/// Which registry, and how it behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flavour {
    /// In memory, with the referrers API.
    Native,
    /// The same, without the referrers API.
    NoReferrers,
    /// Without the referrers API, but with the header that promises it.
    Lying,
    /// With the referrers API, for `user:password` only.
    Private(&'static str),
    /// Docker's own registry (distribution): files on disk, no referrers API.
    Docker,
}

impl Flavour {
    /// Every registry that lets everyone in.
    pub(crate) const OPEN: &'static [Self] = &[Self::Native, Self::NoReferrers, Self::Lying, Self::Docker];
}

impl RegistryServer {
    /// Starts a registry; none if this machine does not have it (and it is not required).
    pub(crate) fn start(flavour: Flavour) -> Option<Self> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let log = folder.path().join("log");
        let to_log = || Stdio::from(File::options().create(true).append(true).open(&log).expect("a log file"));
        let mut command = if flavour == Flavour::Docker {
            let config = folder.path().join("config.yml");
            let storage = folder.path().join("storage");
            let text = format!(
                "version: 0.1\nstorage: {{filesystem: {{rootdirectory: {}}}, delete: {{enabled: true}}}}\nhttp: {{addr: '127.0.0.1:0', secret: test}}\n",
                storage.display()
            );
            std::fs::write(&config, text).expect("a configuration");
            let mut command = Command::new(program("docker-registry")?);
            command.arg("serve").arg(config).env("OTEL_TRACES_EXPORTER", "none");
            command
        } else {
            let mut command = Command::new(program("oci-registry")?);
            command.arg("-address-file").arg(folder.path().join("address"));
            match flavour {
                Flavour::NoReferrers => command.arg("-no-referrers"),
                Flavour::Lying => command.arg("-lie"),
                Flavour::Private(login) => command.args(["-auth", login]),
                Flavour::Native | Flavour::Docker => &mut command,
            };
            command
        };
        let child = command.stdin(Stdio::null()).stdout(to_log()).stderr(to_log()).spawn().expect("the registry starts");
        let mut server = Self { child, address: String::new(), folder };
        server.address = server.await_address(&log);
        Some(server)
    }

    /// Has Docker's registry delete what has no tag, which it can only while it does not run; it has another address then.
    pub(crate) fn collect_garbage(&mut self) {
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("it ends");
        let program = program("docker-registry").expect("it ran");
        let config = self.folder.path().join("config.yml");
        let collected = Command::new(&program).args(["garbage-collect", "--delete-untagged"]).arg(&config).output().expect("it runs");
        assert!(collected.status.success(), "{}", String::from_utf8_lossy(&collected.stderr));
        let log = self.folder.path().join("log-again");
        let to_log = || Stdio::from(File::options().create(true).append(true).open(&log).expect("a log file"));
        let mut command = Command::new(&program);
        command.arg("serve").arg(config).env("OTEL_TRACES_EXPORTER", "none").stdin(Stdio::null()).stdout(to_log()).stderr(to_log());
        self.child = command.spawn().expect("the registry starts");
        self.address = self.await_address(&log);
    }

    /// Waits until the registry has said where it listens.
    fn await_address(&mut self, log: &Path) -> String {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let text = std::fs::read_to_string(log).unwrap_or_default();
            let said = ["registry on ", "listening on "]
                .iter()
                .find_map(|words| text.split_once(words))
                .map(|(_, rest)| rest.chars().take_while(|letter| letter.is_ascii_digit() || ".:".contains(*letter)).collect::<String>());
            // The line may be half written: the address counts once something follows it.
            if let Some(address) = said.filter(|address| text.contains(&format!("{address}\"")) || text.contains(&format!("{address}\n"))) {
                return address;
            }
            if let Some(status) = self.child.try_wait().expect("the registry's state") {
                panic!("the registry ended ({status}): {text}");
            }
            assert!(Instant::now() < deadline, "the registry does not say where it listens: {text}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for RegistryServer {
    fn drop(&mut self) {
        // It may have ended by itself; there is nobody to tell.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The path of a program of the test environment. Without it the test is left out, or fails if everything is required.
#[expect(clippy::print_stderr, reason = "a test that is left out says so")]
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("testenv/get.sh");
    let found = Command::new(script).args(["--no-build", name]).output().expect("testenv/get.sh runs");
    let text = String::from_utf8_lossy(&found.stdout);
    let path = text.trim().strip_prefix(&format!("{name}="));
    assert!(
        path.is_some() || std::env::var("SEATRIAL_TEST_REQUIRE").as_deref() != Ok("all"),
        "{name} is missing and SEATRIAL_TEST_REQUIRE=all. To fix: testenv/get.sh {name}"
    );
    if path.is_none() {
        eprintln!("left out: {name} is not on this machine. To have it: testenv/get.sh {name}");
    }
    path.map(PathBuf::from)
}
