//! Finds the processes of a simulated control plane, and ends them.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::process::{Pid, Signal, kill_process, kill_process_group, test_kill_process};
use tokio::time::Instant;

use crate::error::{Error, Kind, Result};
use crate::limits;

/// The processes that run programs of the folder `plane`/bin: name → process id.
///
/// kwokctl records process ids, and a process id may since be another program's: the command line decides. Where `/proc`
/// shows all processes, one that was started and not yet recorded is found as well.
pub(super) fn running(plane: &Path) -> BTreeMap<String, u32> {
    let bin = plane.join("bin");
    let mut found: BTreeMap<String, u32> = recorded(plane).into_iter().filter(|(_, pid)| runs(*pid, &bin)).collect();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        if let Some(program) = programs_of(pid).into_iter().find(|program| program.starts_with(&bin)) {
            let name = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
            found.entry(name).or_insert(pid);
        } else if is_becoming(pid, plane) {
            found.entry(format!("process {pid}")).or_insert(pid);
        }
    }
    found
}

/// Components that kwokctl started and that have ended. One without a command line is just being started.
pub(super) fn ended(plane: &Path) -> Vec<String> {
    let bin = plane.join("bin");
    recorded(plane).into_iter().filter(|(_, pid)| !runs(*pid, &bin)).map(|(name, _)| name).collect()
}

/// Components that no longer work, of a cluster that was ready: one without a command line is just ending, for a killed
/// process lets go of its memory first and of its threads and files some time later.
pub(super) fn lost(plane: &Path) -> Vec<String> {
    let bin = plane.join("bin");
    let works = |pid| programs_of(pid).iter().any(|program| program.starts_with(&bin));
    recorded(plane).into_iter().filter(|(_, pid)| !works(*pid)).map(|(name, _)| name).collect()
}

/// Kills the processes of the folder and waits until they are gone. There is nothing to save: the directory goes too.
pub(super) async fn end(plane: &Path) -> Result<()> {
    end_where(plane, |_| true).await
}

/// Kills some processes of the folder, by name, and waits until they are gone.
pub(super) async fn end_named(plane: &Path, names: &[String]) -> Result<()> {
    end_where(plane, |name| names.iter().any(|wanted| wanted == name)).await
}

async fn end_where(plane: &Path, wanted: impl Fn(&str) -> bool) -> Result<()> {
    let deadline = Instant::now() + limits::SIM_END;
    loop {
        let left: BTreeMap<String, u32> = running(plane).into_iter().filter(|(name, _)| wanted(name)).collect();
        if left.is_empty() {
            return Ok(());
        }
        for pid in left.values() {
            signal(*pid, Signal::KILL);
        }
        while left.values().any(|pid| alive(*pid)) {
            if Instant::now() > deadline {
                let names: Vec<String> = left.iter().map(|(name, pid)| format!("{name} (process {pid})")).collect();
                return Err(Error::new(
                    Kind::Timeout,
                    format!("end the processes of {}: {} does not end", plane.display(), names.join(", ")),
                ));
            }
            tokio::time::sleep(limits::SIM_LOOK).await;
        }
    }
}

/// Kills a process and its group, if its command line has all of `words`, and waits until it is gone.
pub(super) async fn end_group(pid: u32, words: &[&str]) {
    if called_with(pid, words) {
        // It may have ended in between.
        process(pid).map_or(Ok(()), |pid| kill_process_group(pid, Signal::KILL)).unwrap_or(());
        wait_until_gone(pid).await;
    }
}

/// Asks a process to end, if its command line has all of `words`, and waits until it is gone or the time is up.
pub(super) async fn terminate(pid: u32, words: &[&str]) {
    if called_with(pid, words) {
        signal(pid, Signal::TERM);
        wait_until_gone(pid).await;
    }
}

async fn wait_until_gone(pid: u32) {
    let deadline = Instant::now() + limits::SIM_END;
    while alive(pid) && Instant::now() < deadline {
        tokio::time::sleep(limits::SIM_LOOK).await;
    }
}

fn called_with(pid: u32, words: &[&str]) -> bool {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let arguments: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
    words.iter().all(|word| arguments.contains(&word.as_bytes()))
}

fn recorded(plane: &Path) -> Vec<(String, u32)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(plane.join("pids")).into_iter().flatten().flatten() {
        let path = entry.path();
        let pid = fs::read_to_string(&path).ok().and_then(|text| text.trim().parse().ok());
        if let (Some(name), Some(pid)) = (path.file_stem().and_then(|name| name.to_str()), pid) {
            found.push((name.to_owned(), pid));
        }
    }
    found
}

/// True if a recorded process lives and is not another program's by now; one without a command line is just being started.
fn runs(pid: u32, bin: &Path) -> bool {
    let programs = programs_of(pid);
    alive(pid) && (programs.is_empty() || programs.iter().any(|program| program.starts_with(bin)))
}

/// True for what is about to become a component: kwokctl's child, in the directory that components work in, before it has
/// a command line of its own.
fn is_becoming(pid: u32, plane: &Path) -> bool {
    let before = |program: PathBuf| program.file_name().is_some_and(|name| name == "kwokctl");
    fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|place| place == plane) && program_of(pid).is_none_or(before) && alive(pid)
}

/// True until a process has let go of everything, its ports too. One that nobody collected is gone in this sense, but not
/// while threads of it are still ending: their memory, and so the command line, goes before their files do.
fn alive(pid: u32) -> bool {
    if !Path::new("/proc/self").exists() {
        return process(pid).is_some_and(|pid| test_kill_process(pid).is_ok());
    }
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The state stands behind the name, which is in parentheses and may hold any character.
    let state = stat.rsplit(')').next().and_then(|rest| rest.trim_start().chars().next());
    match state {
        None => false,
        Some('Z' | 'X') => fs::read_dir(format!("/proc/{pid}/task")).is_ok_and(|threads| threads.count() > 1),
        Some(_) => true,
    }
}

/// The program as it was called; nothing for one that has ended and is not collected yet.
fn program_of(pid: u32) -> Option<PathBuf> {
    programs_of(pid).into_iter().next()
}

/// The program as it was called and its first argument, which is the program where the first is a script's interpreter.
fn programs_of(pid: u32) -> Vec<PathBuf> {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let words = line.split(|byte| *byte == 0).take(2).take_while(|word| !word.is_empty());
    words.map(|word| PathBuf::from(std::ffi::OsStr::from_bytes(word))).collect()
}

fn signal(pid: u32, how: Signal) {
    if let Some(pid) = process(pid) {
        // It may have ended by itself; the caller looks whether it is gone.
        kill_process(pid, how).unwrap_or(());
    }
}

fn process(pid: u32) -> Option<Pid> {
    i32::try_from(pid).ok().and_then(Pid::from_raw)
}
