//! A program that is watched while it runs, as a person would: what it says is awaited, answers are typed in, and it can be interrupted.

use std::fs::File;
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

/// How long anything that is awaited may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// What was said so far, and a bell that rings when there is more.
type Heard = Arc<(Mutex<String>, Condvar)>;

/// A program that runs.
pub(crate) struct Watched {
    child: Child,
    heard: Heard,
    keyboard: Option<File>,
    ear: JoinHandle<()>,
}

impl Watched {
    /// Without a terminal: what it writes to standard error is heard.
    #[track_caller]
    pub(crate) fn piped(command: &mut Command) -> Self {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("starts");
        let (heard, ear) = listen(child.stderr.take().expect("a pipe"));
        Self { child, heard, keyboard: None, ear }
    }

    /// On a terminal of its own.
    #[track_caller]
    pub(crate) fn on_terminal(command: &mut Command) -> Self {
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
        grantpt(&ours).and_then(|()| unlockpt(&ours)).expect("a terminal");
        let name = ptsname(&ours, Vec::new()).expect("its name").into_string().expect("text");
        let theirs = File::options().read(true).write(true).open(name).expect("opens");
        let copy = || Stdio::from(theirs.try_clone().expect("a copy"));
        let child = command.stdin(copy()).stdout(copy()).stderr(copy()).spawn().expect("starts");
        // The command holds copies too: with them open, the end of the program is not the end of what is heard.
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let ours = File::from(ours);
        let (heard, ear) = listen(ours.try_clone().expect("a copy"));
        Self { child, heard, keyboard: Some(ours), ear }
    }

    /// Waits until it has said this, and hands out everything so far.
    #[track_caller]
    pub(crate) fn until(&self, text: &str) -> String {
        let heard = self.heard.0.lock().expect("is whole");
        let (heard, _) = self.heard.1.wait_timeout_while(heard, PATIENCE, |heard| !heard.contains(text)).expect("is whole");
        assert!(heard.contains(text), "it does not say `{text}`: {heard}");
        heard.clone()
    }

    /// Types something in.
    pub(crate) fn types(&mut self, text: &str) {
        self.keyboard.as_mut().expect("a terminal").write_all(text.as_bytes()).expect("is typed");
    }

    /// Interrupts it, as Ctrl-C does.
    pub(crate) fn interrupt(&self) {
        kill_process(Pid::from_child(&self.child), Signal::INT).expect("is there");
    }

    /// Waits for its end, and insists on its exit code.
    #[track_caller]
    pub(crate) fn exits(mut self, code: i32) -> String {
        let status = self.child.wait().expect("ends");
        self.ear.join().expect("hears");
        let heard = self.heard.0.lock().expect("is whole").clone();
        assert_eq!(status.code(), Some(code), "{heard}");
        heard
    }
}

fn listen(mut source: impl Read + Send + 'static) -> (Heard, JoinHandle<()>) {
    let heard = Heard::default();
    let told = Arc::clone(&heard);
    let ear = std::thread::spawn(move || {
        let mut piece = [0; 4096];
        // A terminal that nobody holds any more is an error to read from.
        while let Ok(count) = source.read(&mut piece) {
            if count == 0 {
                break;
            }
            told.0.lock().expect("is whole").push_str(&String::from_utf8_lossy(&piece[..count]));
            told.1.notify_all();
        }
    });
    (heard, ear)
}
