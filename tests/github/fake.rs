//! A stand-in for GitHub's API, with Prism in front, which checks every request and answer against GitHub's description. One per test process.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use seatrial::github::Api;
use serde_json::{Value, json};

use crate::registry_server::program;
use crate::root;
use crate::sigstore_stack::Stack;

/// What a token of a gate may do.
pub(crate) const GATE: &str = "contents=read,checks=write,pull_requests=write,members=read";

/// The stand-in, and Prism.
pub(crate) struct GitHub {
    stack: Option<&'static Stack>,
    fake: String,
    prism: String,
    _children: [Child; 2],
}

impl GitHub {
    /// The one of this process; none, with a line that says why, where it cannot be had.
    #[track_caller]
    pub(crate) fn shared() -> Option<&'static Self> {
        static SHARED: OnceLock<Option<GitHub>> = OnceLock::new();
        SHARED.get_or_init(|| Self::start(None, free(), free())).as_ref()
    }

    /// One in the network namespace of a private Sigstore.
    pub(crate) fn within(stack: &'static Stack) -> Option<Self> {
        Self::start(Some(stack), "127.0.0.1:4020".to_owned(), "127.0.0.1:4021".to_owned())
    }

    /// A program where this is.
    fn command(stack: Option<&Stack>, program: impl AsRef<std::ffi::OsStr>) -> Command {
        stack.map_or_else(|| Command::new(&program), |stack| stack.command(&program))
    }

    fn start(stack: Option<&'static Stack>, behind: String, before: String) -> Option<Self> {
        let (fake, prism) = (program("github-fake")?, program("prism")?);
        let description = root().join("testenv/github/api.json");
        let mut command = Self::command(stack, fake);
        command.arg("-listen").arg(&behind).args(["-public", &format!("http://{before}"), "-description"]).arg(&description);
        // It ends when its standard input does, which only this process holds.
        let stand_in = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("the stand-in starts");
        let (host, port) = before.split_once(':').expect("host and port");
        // A process in between ends Prism when this one is gone, whatever ends it.
        let script = r#""$@" & child=$!; cat >/dev/null; kill $child"#;
        let mut command = Self::command(stack, "sh");
        command.args(["-c", script, "sh"]).arg(prism).args(["proxy", "-h", host, "-p", port, "--errors"]).arg(&description);
        command.arg(format!("http://{behind}")).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut checker = command.spawn().expect("Prism starts");
        let mut said = BufReader::new(checker.stdout.take().expect("is piped"));
        let deadline = Instant::now() + Duration::from_secs(60);
        let mut line = String::new();
        while !line.contains("is listening") {
            line.clear();
            assert!(said.read_line(&mut line).expect("is read") > 0, "Prism ended");
            assert!(Instant::now() < deadline, "Prism is not ready");
        }
        // Nobody reads the rest; it must not stand still when the pipe is full.
        std::thread::spawn(move || std::io::copy(&mut said, &mut std::io::sink()));
        Some(Self { stack, fake: format!("http://{behind}"), prism: format!("http://{before}"), _children: [stand_in, checker] })
    }

    /// Where it is, with everything checked.
    pub(crate) fn address(&self) -> &str {
        &self.prism
    }

    /// The API, with a token that may do this.
    pub(crate) fn api(&self, permissions: &str) -> Api {
        let _within = runtime().enter();
        Api::new(&self.prism, permissions.to_owned()).expect("a client")
    }

    /// The same without Prism, for answers that GitHub's description does not have.
    pub(crate) fn api_unchecked(&self, permissions: &str) -> Api {
        let _within = runtime().enter();
        Api::new(&self.fake, permissions.to_owned()).expect("a client")
    }

    /// Adds to what is kept.
    pub(crate) fn seed(&self, what: &Value) {
        self.post("/_seed", what);
    }

    /// The next requests that begin so are answered with this.
    pub(crate) fn fault(&self, begins: &str, status: u16, times: u32, headers: &Value) {
        self.post("/_fault", &json!({"match": begins, "status": status, "times": times, "headers": headers}));
    }

    /// Everything that is kept.
    pub(crate) fn state(&self) -> Value {
        serde_json::from_str(&self.curl(&["-X", "GET"], "/_state")).expect("JSON")
    }

    fn post(&self, path: &str, body: &Value) {
        self.curl(&["-X", "POST", "-d", &body.to_string()], path);
    }

    fn curl(&self, args: &[&str], path: &str) -> String {
        let output = Self::command(self.stack, "curl")
            .args(["-sS", "--fail", "--max-time", "20"])
            .args(args)
            .arg(format!("{}{path}", self.fake))
            .output();
        let output = output.expect("curl runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("UTF-8")
    }
}

/// The runtime of all requests: a client belongs to the one that it was made in.
pub(crate) fn runtime() -> &'static tokio::runtime::Runtime {
    static RUNTIME: OnceLock<tokio::runtime::Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| tokio::runtime::Runtime::new().expect("a runtime"))
}

fn free() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("has an address").to_string()
}
