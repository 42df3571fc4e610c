//! What was fetched before: not fetched again, never believed, and no verdict. And how much memory evidence of any size takes.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use seatrial::evidence::{Files, MANIFEST};
use seatrial::publish::{Published, Target, publish};
use seatrial::registry::Options;

use crate::fault_proxy::FaultProxy;
use crate::measure::measured;
use crate::registry_server::{Flavour, RegistryServer};
use crate::sample::{Sample, Signed};

/// A published bundle, reached through a proxy that sees every request.
struct Remote {
    server: RegistryServer,
    proxy: FaultProxy,
    signed: Signed,
    published: Published,
}

impl Remote {
    async fn of(signed: Signed) -> Option<Self> {
        let server = RegistryServer::start(Flavour::Native)?;
        let proxy = FaultProxy::start(&server.address);
        let registry = Options { plain_http: true, docker_config: Some("/nonexistent".into()), ..Options::default() };
        let reference = format!("{}/team/evidence", proxy.address).parse().expect("a name");
        let target = Target::new(reference, registry, signed.root().join("evidence"));
        let published = publish(&signed.bundle(), &signed.signer, &target).await.expect("is published");
        proxy.seen();
        Some(Self { server, proxy, signed, published })
    }

    /// A verification of its own, with a home of its own, that must end so.
    fn verify(&self, home: &Path, args: &[&str], code: i32) -> String {
        let output = self.command(home, args).output().expect("the program starts");
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.code(), Some(code), "{said}");
        said
    }

    fn command(&self, home: &Path, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_seatrial"));
        command.env_clear().env("HOME", home).env("DOCKER_CONFIG", "/nonexistent").current_dir(self.signed.root());
        command.args(["evidence", "verify", "--plain-http", "--key"]).arg(&self.signed.public).args(args);
        command
    }

    fn pointer(&self) -> String {
        self.published.pointer.display().to_string()
    }

    /// How many blobs and manifests were asked for, and how often the list of signatures.
    fn asked(&self) -> [usize; 3] {
        let seen = self.proxy.seen();
        ["/blobs/", "/manifests/", "/referrers/"].map(|part| seen.iter().filter(|seen| seen.path.contains(part)).count())
    }
}

fn entries(home: &Path) -> Vec<PathBuf> {
    let folder = std::fs::read_dir(home.join(".cache/seatrial/blobs"));
    let mut all: Vec<PathBuf> = folder.into_iter().flatten().map(|entry| entry.expect("an entry").path()).collect();
    all.sort();
    all
}

fn home() -> tempfile::TempDir {
    tempfile::tempdir().expect("a directory")
}

/// Blobs of a signature: asked for anew each time.
const SIGNATURE: usize = 1;

#[tokio::test]
async fn a_bundle_is_fetched_once_and_its_signatures_each_time() {
    let Some(remote) = Remote::of(Sample::good().signed()).await else { return };
    let (home, files) = (home(), Sample::good().bundle().files().len());
    let pointer = remote.pointer();
    remote.verify(home.path(), &[&pointer], 0);
    let first = remote.asked();
    assert_eq!(first, [files + SIGNATURE, 2, 1]);
    assert_eq!(entries(home.path()).len(), files);
    remote.verify(home.path(), &[&pointer], 0);
    assert_eq!(remote.asked(), [SIGNATURE, 2, 1], "the second time no file of the bundle is fetched, and all else is");
    remote.verify(home.path(), &["--no-cache", &pointer], 0);
    assert_eq!(remote.asked(), first, "--no-cache fetches everything");

    // Within one run many pointers to one bundle fetch it once, on disk or not.
    let many: Vec<String> = (0..6).map(|number| format!("evidence/{number}.yaml")).collect();
    for path in &many {
        std::fs::copy(&pointer, remote.signed.root().join(path)).expect("is copied");
    }
    remote.verify(home.path(), &["--no-cache", "evidence"], 0);
    assert_eq!(remote.asked(), [files + 7 * SIGNATURE, 1 + 7, 7]);
}

#[tokio::test]
async fn a_verdict_is_not_kept_and_a_bundle_that_is_gone_is_gone() {
    let Some(mut remote) = Remote::of(Sample::good().signed()).await else { return };
    let home = home();
    let pointer = remote.pointer();
    remote.verify(home.path(), &[&pointer], 0);
    let other = crate::sample::Signed::unsigned(&Sample::good().bundle());
    remote.signed.public = other.public.clone();
    remote.verify(home.path(), &[&pointer], 11);
    // Another registry, at the same address for all that the pointer says, without the bundle.
    let empty = RegistryServer::start(Flavour::Native).expect("there was one before");
    let text = std::fs::read_to_string(&pointer).expect("is there").replace(&remote.proxy.address, &empty.address);
    let elsewhere = remote.signed.root().join("elsewhere.yaml");
    std::fs::write(&elsewhere, text).expect("is written");
    let said = remote.verify(home.path(), &[&elsewhere.display().to_string()], 2);
    assert!(said.contains("fetch manifest"), "{said}");
    drop(remote.server);
}

#[tokio::test]
async fn a_poisoned_entry_is_noticed_and_fetched_again() {
    let Some(remote) = Remote::of(Sample::good().signed()).await else { return };
    let home = home();
    let pointer = remote.pointer();
    remote.verify(home.path(), &[&pointer], 0);
    remote.asked();
    let all = entries(home.path());
    for (number, poison) in all.iter().enumerate() {
        let right = std::fs::read(poison).expect("is there");
        let mut wrong = right.clone();
        match number % 3 {
            0 => wrong[0] ^= 1,
            1 => wrong.push(b' '),
            _ => wrong.clear(),
        }
        std::fs::write(poison, wrong).expect("is written");
        let said = remote.verify(home.path(), &[&pointer], 0);
        assert!(said.contains("was not what its name says"), "{said}");
        assert_eq!(remote.asked()[0], 1 + SIGNATURE, "{}", poison.display());
        assert_eq!(std::fs::read(poison).expect("is there again"), right);
    }
    // Somebody else's bundle under the name of ours would have to have its digest: links and folders are no way in either.
    std::fs::remove_file(&all[0]).expect("is there");
    std::os::unix::fs::symlink("/etc/hostname", &all[0]).expect("is made");
    std::fs::remove_file(&all[1]).expect("is there");
    std::fs::create_dir(&all[1]).expect("is made");
    remote.verify(home.path(), &[&pointer], 0);
}

#[tokio::test]
async fn a_cache_that_cannot_be_written_stops_nobody() {
    let Some(remote) = Remote::of(Sample::good().signed()).await else { return };
    let pointer = remote.pointer();
    let file = tempfile::NamedTempFile::new().expect("a file");
    for no_home in [file.path(), Path::new("/proc/self"), Path::new("/nonexistent")] {
        let said = remote.verify(no_home, &[&pointer], 0);
        assert!(!said.contains("error"), "{said}");
    }
    assert!(!Path::new("/nonexistent").exists(), "no home is made for anybody");
}

#[tokio::test]
async fn processes_side_by_side_share_a_cache() {
    let Some(remote) = Remote::of(Sample::good().signed()).await else { return };
    let home = home();
    let pointer = remote.pointer();
    let runs: Vec<_> = (0..6).map(|_| remote.command(home.path(), &["--quiet", &pointer]).spawn().expect("the program starts")).collect();
    for mut run in runs {
        assert!(run.wait().expect("it ends").success());
    }
    let all = entries(home.path());
    assert_eq!(all.len(), Sample::good().bundle().files().len(), "nothing half written is left: {all:?}");
    remote.asked();
    remote.verify(home.path(), &[&pointer], 0);
    assert_eq!(remote.asked()[0], SIGNATURE);
}

/// Bytes of the artifact that is verified; a program that held it would be over the bound.
const LARGE: usize = 96 << 20;
/// The most memory that verification may take, of a debug build.
const MEMORY: u64 = 72 << 20;

#[tokio::test]
async fn memory_does_not_grow_with_artifacts_wherever_they_are() {
    let mut files: Files = Sample::good().bundle().files().clone();
    files.remove(MANIFEST);
    files.insert("artifacts/large.jsonl".to_owned(), vec![b'x'; LARGE]);
    let signed = Signed::forged(files);
    let bundle = signed.bundle().display().to_string();
    let Some(remote) = Remote::of(signed).await else { return };
    let home = home();
    let pointer = remote.pointer();
    let packed = remote.signed.root().join("evidence.tar").display().to_string();
    let mut pack = Command::new(env!("CARGO_BIN_EXE_seatrial"));
    assert!(pack.env_clear().args(["evidence", "pack", &bundle, "--quiet", "-o", &packed]).output().expect("it starts").status.success());
    let reference = format!("oci://{}@{}", remote.published.repository, remote.published.digest);
    // From the registry to the cache, from the cache, from the registry and nowhere else, from disk.
    for args in [vec![&*pointer], vec![&*reference], vec!["--no-cache", &*reference], vec![&*bundle], vec![&*packed]] {
        let ran = measured(&mut remote.command(home.path(), &args), Duration::from_secs(60));
        let said = String::from_utf8_lossy(&ran.output.stderr);
        assert!(ran.output.status.success(), "{args:?}: {said}");
        assert!(said.contains("97 MiB"), "the artifact is counted: {said}");
        assert!(ran.peak < MEMORY, "{args:?} took {} MiB", ran.peak >> 20);
    }
}

#[tokio::test]
async fn on_a_terminal_who_waits_sees_how_far_it_has_come_and_in_a_log_nothing_of_what_is_soon_done() {
    let mut files: Files = Sample::good().bundle().files().clone();
    files.remove(MANIFEST);
    files.insert("artifacts/large.jsonl".to_owned(), vec![b'x'; LARGE]);
    let Some(remote) = Remote::of(Signed::forged(files)).await else { return };
    let pointer = remote.pointer();
    let program = env!("CARGO_BIN_EXE_seatrial");
    let unpack = |to: &str| format!("exec {program} evidence unpack {pointer} --plain-http -o {to}");
    let run = |command: &mut Command| {
        command.env_clear().env("PATH", "/usr/bin:/bin").env("TERM", "xterm").env("DOCKER_CONFIG", "/nonexistent");
        let output = command.current_dir(remote.signed.root()).output().expect("it starts");
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{said}");
        said
    };
    // Part of every Debian: a terminal for a program that has none.
    let said = run(Command::new("script").args(["-qec", &unpack("a"), "/dev/null"]));
    assert!(said.contains("MiB of 97 MiB"), "{said}");
    let began = std::time::Instant::now();
    let said = run(Command::new("sh").args(["-c", &unpack("b")]));
    // On a machine that is so slow, a line now and then is right.
    assert!(!said.contains("MiB of") || began.elapsed() > Duration::from_secs(10), "{said}");
}
