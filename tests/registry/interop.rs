//! oras, a tool of others, finds and restores what we push.

use std::path::Path;
use std::process::Command;

use crate::registry_server::{Flavour, program};
use crate::{attach, on_each, open, push_artifact};

/// Runs oras with its state in a folder of its own and gives what it prints.
fn oras(program: &Path, folder: &Path, arguments: &[&str]) -> String {
    let run = Command::new(program)
        .args(arguments)
        .current_dir(folder)
        .env("HOME", folder)
        .env("DOCKER_CONFIG", folder)
        .output()
        .expect("oras runs");
    assert!(run.status.success(), "oras {arguments:?}: {}", String::from_utf8_lossy(&run.stderr));
    String::from_utf8_lossy(&run.stdout).into_owned()
}

#[tokio::test]
async fn oras_restores_every_file_byte_for_byte_and_finds_the_referrer() {
    let Some(oras_program) = &program("oras") else { return };
    on_each(Flavour::OPEN, |server, flavour| async move {
        let registry = open(&server.address);
        let binary: Vec<u8> = (0..=255).collect();
        let files: [(&str, &[u8]); 4] =
            [("manifest.json", b"{\"files\":[]}"), ("ctrf/snapshot.json", b"{}\n"), ("artifacts/empty.jsonl", b""), ("a/b/ü.bin", &binary)];
        let artifact = push_artifact(&registry, &files, Some("v1")).await;
        let attached = attach(&registry, &artifact, "signature").await.expect("is attached");
        let folder = tempfile::tempdir().expect("a folder");
        let reference = format!("{}/team/evidence@{artifact}", server.address);
        oras(oras_program, folder.path(), &["pull", "--plain-http", "--output", "out", &reference]);
        for (name, bytes) in files {
            assert_eq!(std::fs::read(folder.path().join("out").join(name)).expect(name), bytes, "{name}");
        }
        let found = oras(oras_program, folder.path(), &["discover", "--plain-http", "--format", "json", &reference]);
        assert!(found.contains(attached.as_str()), "{flavour:?}: {found}");
        assert!(found.contains("application/vnd.dev.sigstore.bundle.v0.3+json"), "{flavour:?}: {found}");
    })
    .await;
}

#[tokio::test]
async fn a_referrer_that_oras_attached_is_found_beside_ours() {
    let Some(oras_program) = &program("oras") else { return };
    on_each(&[Flavour::Native, Flavour::NoReferrers, Flavour::Docker], |server, flavour| async move {
        let registry = open(&server.address);
        let artifact = push_artifact(&registry, &[("a", b"a")], Some("v1")).await;
        let reference = format!("{}/team/evidence@{artifact}", server.address);
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("note"), "note").expect("a file");
        oras(oras_program, folder.path(), &["attach", "--plain-http", "--artifact-type", "text/note", &reference, "note"]);
        let ours = attach(&registry, &artifact, "signature").await.expect("is attached");
        let found = registry.referrers(&artifact).await.expect("a list");
        assert!(found.len() == 2 && found.contains(&ours), "{flavour:?}: {found:?}");
    })
    .await;
}
