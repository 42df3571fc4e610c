//! action/install.sh: which binary it takes, and that it takes no other.
//!
//! There is no release yet and no internet, so `gh` is a stand-in here that accepts or refuses what it is asked to verify.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::root;

const VERSION: &str = "v1.2.3";

/// A folder with a mirror of releases, and programs of its own before those of the machine.
struct Machine {
    folder: tempfile::TempDir,
}

impl Machine {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a directory");
        for name in ["bin", "temp", "mirror/v1.2.3", "workspace"] {
            std::fs::create_dir_all(folder.path().join(name)).expect("is made");
        }
        let machine = Self { folder };
        machine.release("echo seatrial 1.2.3");
        machine
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn script(&self, name: &str, text: &str) {
        let path = self.path(name);
        std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).expect("is written");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("is made a program");
    }

    /// The binary of the release, with the list of digests.
    fn release(&self, text: &str) -> String {
        let name = format!("seatrial-{VERSION}-linux-{}", if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" });
        self.script(&format!("mirror/{VERSION}/{name}"), text);
        let bytes = std::fs::read(self.path(&format!("mirror/{VERSION}/{name}"))).expect("reads");
        let digest = seatrial::digest::Digest::of(&bytes).hex().to_owned();
        std::fs::write(self.path(&format!("mirror/{VERSION}/SHA256SUMS")), format!("{digest}  {name}\n")).expect("is written");
        digest
    }

    /// Runs it: whether it worked, the binary, and all that was said.
    fn install(&self, action: &Path, given: &[(&str, &str)]) -> (bool, String, String) {
        let output = self.path("output");
        std::fs::write(&output, "").expect("is written");
        let mut command = Command::new(action.join("action/install.sh"));
        let path = format!("{}:/usr/bin:/bin", self.path("bin").display());
        command.env_clear().env("PATH", path).env("HOME", self.folder.path()).env("RUNNER_TEMP", self.path("temp"));
        command.env("GITHUB_OUTPUT", &output).env("GITHUB_WORKSPACE", self.path("workspace")).env("SEATRIAL_ACTION", action);
        command.env("SEATRIAL_RELEASES", format!("file://{}", self.path("mirror").display()));
        for name in ["SEATRIAL_GIVEN", "SEATRIAL_VERSION", "SEATRIAL_SHA256"] {
            command.env(name, "");
        }
        command.envs(given.iter().copied());
        let ran = command.output().expect("runs");
        let said = format!("{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
        let outputs = std::fs::read_to_string(output).expect("reads");
        (ran.status.success(), outputs.trim().trim_start_matches("binary=").to_owned(), said)
    }
}

#[test]
fn a_path_is_used_as_it_is() {
    let machine = Machine::new();
    let binary = env!("CARGO_BIN_EXE_seatrial");
    let (worked, found, said) = machine.install(root(), &[("SEATRIAL_GIVEN", binary)]);
    assert!(worked && Path::new(&found) == std::fs::canonicalize(binary).expect("is there"), "{found} {said}");
    let (worked, found, said) = machine.install(root(), &[("SEATRIAL_GIVEN", "/nowhere/seatrial")]);
    assert!(!worked && found.is_empty() && said.contains("::error"), "{said}");
}

#[test]
fn a_digest_that_was_given_takes_the_place_of_the_signature() {
    let machine = Machine::new();
    let digest = machine.release("echo seatrial 1.2.3");
    let (worked, found, said) = machine.install(root(), &[("SEATRIAL_VERSION", VERSION), ("SEATRIAL_SHA256", &digest)]);
    assert!(worked && found.contains("seatrial-v1.2.3"), "{said}");
    let (worked, found, said) = machine.install(root(), &[("SEATRIAL_VERSION", VERSION), ("SEATRIAL_SHA256", &"0".repeat(64))]);
    assert!(!worked && found.is_empty() && said.contains("is not what `sha256` says"), "{said}");
}

#[test]
fn a_release_is_taken_only_if_its_digest_and_its_signature_hold() {
    let machine = Machine::new();
    let version = [("SEATRIAL_VERSION", VERSION), ("GH_TOKEN", "t")];
    machine.script("bin/gh", r#"echo "asked: $* with $GH_TOKEN" >&2"#);
    let (worked, _, said) = machine.install(root(), &version);
    let asked =
        "--repo seatrial/seatrial --signer-workflow seatrial/seatrial/.github/workflows/release.yaml --source-ref refs/tags/v1.2.3 with t";
    assert!(worked && said.contains(asked), "{said}");

    let name = std::fs::read_to_string(machine.path("mirror/v1.2.3/SHA256SUMS")).expect("reads");
    let name = name.trim().rsplit(' ').next().expect("a name").to_owned();
    machine.script(&format!("mirror/{VERSION}/{name}"), "echo evil");
    let (worked, found, said) = machine.install(root(), &version);
    assert!(!worked && found.is_empty() && said.contains("is not what SHA256SUMS says") && !said.contains("evil\n"), "{said}");

    machine.release("echo seatrial 1.2.3");
    machine.script("bin/gh", "exit 1");
    let (worked, found, said) = machine.install(root(), &version);
    assert!(!worked && found.is_empty() && said.contains("not signed by seatrial's release workflow"), "{said}");

    std::fs::remove_file(machine.path("bin/gh")).expect("is removed");
    if !Path::new("/usr/bin/gh").exists() {
        let (worked, found, said) = machine.install(root(), &version);
        assert!(!worked && found.is_empty() && said.contains("needs gh"), "{said}");
    }
    for wrong in ["v9.9.9", "latest", "v1.2.3/../..", "1.2.3"] {
        let (worked, found, said) = machine.install(root(), &[("SEATRIAL_VERSION", wrong)]);
        assert!(!worked && found.is_empty() && said.contains("::error"), "{wrong}: {said}");
    }
}

#[test]
fn the_source_is_built_where_the_action_is_this_checkout_and_the_release_of_the_action_is_taken_elsewhere() {
    let machine = Machine::new();
    // Cargo stands in for itself: that it builds is what every other test shows.
    machine.script(
        "bin/cargo",
        r#"echo "cargo $*" >&2; while [ "$1" != --target-dir ]; do shift; done; mkdir -p "$2/release"; printf '#!/bin/sh\necho built\n' > "$2/release/seatrial"; chmod 755 "$2/release/seatrial""#,
    );
    let workspace = root().display().to_string();
    let (worked, found, said) = machine.install(root(), &[("GITHUB_WORKSPACE", &workspace)]);
    assert!(worked && found.ends_with("seatrial-target/release/seatrial") && said.contains("--locked"), "{said}");
    let (worked, _, said) = machine.install(root(), &[("SEATRIAL_VERSION", "source")]);
    assert!(worked && said.contains("cargo build --release --locked"), "{said}");
    // Elsewhere: the version of the action's own Cargo.toml, of which this mirror has none.
    let (worked, _, said) = machine.install(root(), &[]);
    let own = concat!("v", env!("CARGO_PKG_VERSION"));
    assert!(!worked && said.contains("cannot download") && said.contains(own), "{said}");
}
