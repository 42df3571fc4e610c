//! The commands of docs/from-aicr.md, one after the other, on a real control plane.

use std::path::Path;
use std::process::Command;

use crate::support::binaries;
use crate::support::cluster::lease;

/// A command of the page and the lines that stand below it.
struct Told<'a> {
    command: &'a str,
    output: Vec<&'a str>,
}

fn told(page: &str) -> Vec<Told<'_>> {
    let mut all = Vec::new();
    let mut inside = false;
    for line in page.lines() {
        match line.strip_prefix("$ ") {
            _ if line.starts_with("```") => inside = line == "```console",
            Some(command) if inside => all.push(Told { command, output: Vec::new() }),
            None if inside => all.last_mut().expect("a command comes first").output.push(line),
            _ => {}
        }
    }
    all
}

#[tokio::test]
async fn every_command_of_the_page_does_what_the_page_says() {
    let cluster = lease().await;
    let page = include_str!("../../docs/from-aicr.md");
    let commands = told(page);
    assert!(commands.len() > 20, "the page has its commands in ```console blocks");
    let folder = tempfile::tempdir().expect("a directory");
    let program = Path::new(env!("CARGO_BIN_EXE_seatrial")).parent().expect("a folder").to_owned();
    let kubectl = Path::new(&binaries()["SEATRIAL_BIN_KUBECTL"]).parent().expect("a folder").to_owned();
    let path = std::env::join_paths([program, kubectl, "/usr/bin".into(), "/bin".into()]).expect("a PATH");
    for Told { command, output } in commands {
        let shell = Command::new("bash")
            .args(["-c", command])
            .env_clear()
            .envs([("PATH", path.as_os_str()), ("HOME", folder.path().as_os_str()), ("KUBECONFIG", cluster.kubeconfig().as_os_str())])
            .current_dir(folder.path())
            .output()
            .expect("bash runs");
        let stdout = String::from_utf8_lossy(&shell.stdout);
        let all = format!("$ {command}\n{stdout}{}", String::from_utf8_lossy(&shell.stderr));
        assert!(shell.status.success(), "{all}");
        let last: Vec<&str> = stdout.lines().rev().take(output.len()).collect();
        assert_eq!(last.into_iter().rev().collect::<Vec<_>>(), output, "{all}");
    }
}
