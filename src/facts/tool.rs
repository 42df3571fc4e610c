//! Runs a tool of the machine: with a deadline, bounded output, no input, and its whole process group ended with it.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;

use crate::facts::collect::Root;
use crate::limits;

/// What a tool said.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) stdout: String,
    pub(super) stderr: String,
    pub(super) success: bool,
}

impl Said {
    /// The first line that says something, for a reason.
    pub(super) fn first_line(&self) -> String {
        let line = self.stderr.lines().chain(self.stdout.lines()).map(str::trim).find(|line| !line.is_empty());
        let line = line.unwrap_or("nothing");
        line.chars().filter(|letter| !letter.is_control()).take(limits::QUOTED_CHARS).collect()
    }
}

/// Where a tool is; `None` where the machine has none of that name.
pub(super) fn find(root: &Root, name: &str) -> Option<PathBuf> {
    let runs = |path: &Path| path.metadata().is_ok_and(|about| about.is_file() && about.permissions().mode() & 0o111 != 0);
    root.tools.iter().map(|folder| folder.join(name)).find(|path| runs(path))
}

/// Runs a tool and takes what it says.
///
/// # Errors
/// Why nothing came of it: it could not be started, said too much, or did not end in time.
pub(super) async fn run(root: &Root, path: &Path, arguments: &[&str]) -> Result<Said, String> {
    let name = path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let mut command = Command::new(path);
    command.args(arguments).env("LC_ALL", "C").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.process_group(0).kill_on_drop(true);
    let mut child = command.spawn().map_err(|error| format!("{name} could not be started: {error}"))?;
    let group = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let talk = async {
        let (stdout, stderr) = tokio::join!(bounded(stdout), bounded(stderr));
        let (stdout, stderr) = (stdout?, stderr?);
        let status = child.wait().await.map_err(|error| error.to_string())?;
        Ok(Said { stdout, stderr, success: status.success() })
    };
    let said = match tokio::time::timeout(root.patience, talk).await {
        Ok(said) => said.map_err(|why: String| format!("{name} {why}")),
        Err(_) => Err(format!("{name} did not end within {}", seconds(root.patience))),
    };
    if let (true, Some(group)) = (said.is_err(), group) {
        // A process that hangs in the kernel cannot be killed; nothing waits for it.
        kill_process_group(group, Signal::KILL).unwrap_or(());
    }
    said
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

async fn bounded(pipe: Option<impl AsyncRead + Unpin>) -> Result<String, String> {
    let Some(pipe) = pipe else { return Ok(String::new()) };
    let mut bytes = Vec::new();
    pipe.take(limits::TOOL_BYTES + 1).read_to_end(&mut bytes).await.map_err(|error| format!("could not be read: {error}"))?;
    if bytes.len() as u64 > limits::TOOL_BYTES {
        return Err(format!("said more than {} bytes", limits::TOOL_BYTES));
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
