//! `seatrial init`: a repository's first settings, its policy, and the two workflows.

use std::path::{Path, PathBuf};

use crate::cli::Cx;
use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::github::remote::{self, Remote};
use crate::policy::Policy;
use crate::{files, limits};

/// What is written, by its path in the repository. docs/github-action.md shows the very same.
const FILES: &[(&str, &str)] = &[
    ("seatrial.yaml", include_str!("../../examples/consumer/seatrial.yaml")),
    ("evidence/policy.yaml", include_str!("../../examples/consumer/policy.yaml")),
    (".github/workflows/seatrial-validate.yaml", include_str!("../../examples/consumer/validate.yaml")),
    (".github/workflows/seatrial-gate.yaml", include_str!("../../examples/consumer/gate.yaml")),
];

/// Write seatrial.yaml, a policy that knows this repository, and the workflows that validate and judge.
///
/// What is there already and says the same is left alone; what says something else is not overwritten without --force, and nothing is written then.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The repository's directory.
    #[arg(long, value_name = "DIR", default_value = ".")]
    dir: PathBuf,
    /// OWNER/NAME on GitHub; by the git remote `origin` otherwise.
    #[arg(long, value_name = "OWNER/NAME")]
    repository: Option<String>,
    /// Its number, by which the policy knows it: `gh api repos/OWNER/NAME --jq .id`.
    #[arg(long, value_name = "NUMBER")]
    repository_id: u64,
    /// The branch whose workflows may sign.
    #[arg(long, value_name = "NAME", default_value = "main")]
    branch: String,
    /// Overwrite what is there and says something else.
    #[arg(long)]
    force: bool,
}

pub(crate) async fn exec(args: Args, cx: Cx) -> Result<Exit> {
    let remote = match &args.repository {
        Some(name) => Remote::parse(&format!("https://github.com/{name}"))
            .ok_or_else(|| Error::usage(format!("`{}` is not OWNER/NAME", crate::ui::printable(name))))?,
        None => remote::origin(&args.dir)?,
    };
    if args.repository_id == 0 {
        return Err(Error::usage("no repository has the number 0").hint(format!("gh api repos/{}/{} --jq .id", remote.owner, remote.name)));
    }
    remote::check_name(&args.branch).map_err(|error| error.context("read --branch"))?;
    let fill = |text: &str| {
        // Names are of a few plain characters, so that they stay what they are in YAML. Registries know lower case only.
        let text = text.replace("ghcr.io/OWNER", &format!("ghcr.io/{}", remote.owner.to_lowercase()));
        let text = text.replace("NUMBER", &args.repository_id.to_string()).replace("SERVER", &remote.server);
        text.replace("OWNER", &remote.owner).replace("NAME", &remote.name).replace("BRANCH", &args.branch)
    };
    let mut written: Vec<(PathBuf, String)> = Vec::new();
    let mut different = Vec::new();
    for (name, text) in FILES {
        let (path, text) = (args.dir.join(name), fill(text));
        match existing(&path)? {
            Some(there) if there == text => cx.ui.line(format!("  same     {}", path.display())),
            Some(_) if !args.force => different.push(path.display().to_string()),
            _ => written.push((path, text)),
        }
    }
    if !different.is_empty() {
        return Err(Error::usage(format!("{} is there already and says something else", different.join(", ")))
            .hint("nothing was written; --force overwrites"));
    }
    for (path, text) in &written {
        files::write(path, text.as_bytes())?;
        cx.ui.line(format!("  written  {}", path.display()));
    }
    // What was written is what the gate will read.
    Policy::read(&args.dir.join("evidence/policy.yaml"))?;
    cx.ui.line("  next     read evidence/policy.yaml, commit these files, and make the check of seatrial-gate.yaml required");
    Ok(Exit::Ok)
}

fn existing(path: &Path) -> Result<Option<String>> {
    if path.exists() { files::read_text(path, limits::DOCUMENT_BYTES).map(Some) } else { Ok(None) }
}
