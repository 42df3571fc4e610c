//! A git repository that a test makes, commit by commit, also with what git's porcelain would not commit.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// What a commit does to a path.
#[derive(Clone, Debug)]
pub(crate) enum Node {
    File(Vec<u8>),
    Executable(Vec<u8>),
    Link(&'static str),
    Submodule,
    Gone,
}

impl Node {
    pub(crate) fn text(text: impl Into<String>) -> Self {
        Self::File(text.into().into_bytes())
    }
}

/// A path with what a commit does to it.
pub(crate) type Touch = (Vec<u8>, Node);

/// A file with this text.
pub(crate) fn file(path: &str, text: impl Into<String>) -> Touch {
    (path.as_bytes().to_vec(), Node::text(text))
}

/// A bare repository.
pub(crate) struct Repository {
    folder: tempfile::TempDir,
}

impl Repository {
    pub(crate) fn new() -> Self {
        let repository = Self { folder: tempfile::tempdir().expect("a directory") };
        repository.git(&["init", "--quiet", "--bare", "--initial-branch=main", "."], b"");
        repository
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Runs git, which must not fail.
    pub(crate) fn git(&self, arguments: &[&str], input: &[u8]) -> String {
        let mut command = Command::new("git");
        command.args(arguments).current_dir(self.path()).env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
        for (name, value) in [("NAME", "T"), ("EMAIL", "t@example.com"), ("DATE", "2026-11-01T00:00:00Z")] {
            command.env(format!("GIT_AUTHOR_{name}"), value).env(format!("GIT_COMMITTER_{name}"), value);
        }
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("git starts");
        let mut stdin = child.stdin.take().expect("its input");
        let input = input.to_vec();
        let writer = std::thread::spawn(move || stdin.write_all(&input));
        let output = child.wait_with_output().expect("git runs");
        writer.join().expect("joins").expect("is written");
        assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Commits to a branch, upon another commit if one is named.
    pub(crate) fn commit(&self, branch: &str, from: Option<&str>, touches: &[Touch]) -> String {
        let mut stream = format!("commit refs/heads/{branch}\ncommitter T <t@example.com> 1795000000 +0000\ndata 0\n").into_bytes();
        if let Some(from) = from {
            // By its id: a branch may grow upon itself.
            stream.extend(format!("from {}\n", self.git(&["rev-parse", from], b"")).into_bytes());
        }
        for (path, node) in touches {
            let path = quoted(path);
            match node {
                Node::Gone => stream.extend(format!("D {path}\n").into_bytes()),
                Node::Submodule => stream.extend(format!("M 160000 {} {path}\n", "1".repeat(40)).into_bytes()),
                Node::File(bytes) => content(&mut stream, "100644", &path, bytes),
                Node::Executable(bytes) => content(&mut stream, "100755", &path, bytes),
                Node::Link(target) => content(&mut stream, "120000", &path, target.as_bytes()),
            }
        }
        self.git(&["fast-import", "--quiet", "--force"], &stream);
        self.git(&["rev-parse", branch], b"")
    }

    /// Writes a blob.
    pub(crate) fn blob(&self, bytes: &[u8]) -> String {
        self.git(&["hash-object", "-w", "--stdin"], bytes)
    }

    /// Writes a tree of raw entries: mode, kind, id and name.
    pub(crate) fn tree(&self, entries: &[(&str, &str, &str, &[u8])]) -> String {
        let mut input = Vec::new();
        for (mode, kind, id, name) in entries {
            input.extend(format!("{mode} {kind} {id}\t").into_bytes());
            input.extend(*name);
            input.push(0);
        }
        self.git(&["mktree", "-z", "--missing"], &input)
    }

    /// Commits a tree to a branch.
    pub(crate) fn commit_tree(&self, branch: &str, parent: &str, tree: &str) -> String {
        let commit = self.git(&["commit-tree", tree, "-p", parent, "-m", "x"], b"");
        self.git(&["update-ref", &format!("refs/heads/{branch}"), &commit], b"");
        commit
    }
}

fn content(stream: &mut Vec<u8>, mode: &str, path: &str, bytes: &[u8]) {
    stream.extend(format!("M {mode} inline {path}\ndata {}\n", bytes.len()).into_bytes());
    stream.extend(bytes);
    stream.push(b'\n');
}

/// A path as fast-import reads any bytes.
fn quoted(path: &[u8]) -> String {
    let escaped: String = path
        .iter()
        .map(|byte| match byte {
            b'"' => "\\\"".to_owned(),
            b'\\' => "\\\\".to_owned(),
            b' '..=b'~' => char::from(*byte).to_string(),
            other => format!("\\{other:03o}"),
        })
        .collect();
    format!("\"{escaped}\"")
}
