//! The gate over a repository with 1,000 pointers, of which a change adds 1 or 10, beside what one would do by hand for the same answer.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use seatrial::evidence::Pointer;

use crate::measure::measured;
use crate::world::{World, added, published, recipe, recipe_file, run as sample};
use crate::{Bounds, MIB, median, seatrial, time};

const POINTERS: usize = 1_000;
const ROUNDS: usize = 7;
/// How many are added, and the most of the time by hand: `git diff`, the added files, `evidence verify` of them. The gate also reads the
/// recipes of both sides and all pointers, which takes as long as to verify a few.
const ADDED: [(usize, f64); 2] = [(1, 5.0), (10, 2.0)];
/// The program itself, the two trees, and what is fetched.
const MEMORY: f64 = 64.0;
const LONGEST: Duration = Duration::from_secs(120);

pub(crate) fn run(bounds: &mut Bounds) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    bounds.progress(&format!("a repository with {POINTERS} pointers"));
    let Some(world) = runtime.block_on(World::start()) else {
        bounds.seen("left out: there is no registry on this machine");
        return;
    };
    let pointer = |number: usize| {
        let mut one = world.old.clone();
        one.bundle.digest = seatrial::digest::Digest::of(format!("{number}").as_bytes());
        added(&one)
    };
    let many: Vec<_> = (0..POINTERS).map(pointer).collect();
    world.repository.commit("many", Some("refs/heads/main"), &many);
    for (count, bound) in ADDED {
        let new: Vec<Pointer> =
            (0..count).map(|number| runtime.block_on(published(&world.server, &sample(count * 100 + number), &world.ours))).collect();
        let head = format!("adds-{count}");
        world.repository.commit(&head, Some("refs/heads/many"), &new.iter().map(added).collect::<Vec<_>>());
        one(bounds, &world, (count, bound), &head);
    }
}

#[expect(clippy::cast_precision_loss, reason = "bytes and small numbers")]
fn one(bounds: &mut Bounds, world: &World, (count, bound): (usize, f64), head: &str) {
    let by_hand = ByHand::prepare(world);
    let gate = || {
        let mut command = seatrial();
        command.args(["gate", "--base", "many", "--head", head, "--plain-http", "--no-cache", "--repository"]).arg(world.repository.path());
        command.env("DOCKER_CONFIG", "/nonexistent");
        command
    };
    let (mut ours, mut theirs, mut peak) = (Vec::new(), Vec::new(), 0);
    for _ in 0..ROUNDS {
        let run = measured(&mut gate(), LONGEST);
        assert!(run.output.status.success(), "{}", String::from_utf8_lossy(&run.output.stderr));
        peak = peak.max(run.peak);
        // Looking at its memory takes time of its own.
        ours.push(time(&mut gate()));
        theirs.push(time(&mut by_hand.command(world.repository.path(), head)));
    }
    by_hand.holds(count);
    let (ours, theirs) = (median(ours).as_secs_f64(), median(theirs).as_secs_f64());
    bounds.seen(&format!("{count} of {POINTERS} pointers added: gate {:.0} ms, by hand {:.0} ms", ours * 1000.0, theirs * 1000.0));
    bounds.check(&format!("gate over {POINTERS} pointers, {count} added, beside git and evidence verify"), ours / theirs, bound, "×");
    bounds.check("its memory", peak as f64 / MIB as f64, MEMORY, "MiB");
}

/// The same answer without the gate: which pointers are new, their files, and whether they verify.
struct ByHand {
    folder: tempfile::TempDir,
}

impl ByHand {
    fn prepare(world: &World) -> Self {
        let folder = tempfile::tempdir().expect("a directory");
        std::fs::write(folder.path().join("policy.yaml"), world.policy("")).expect("is written");
        let (_, node) = recipe_file(&recipe());
        let crate::repository::Node::File(text) = node else { panic!("a recipe is a file") };
        std::fs::write(folder.path().join("recipe.yaml"), text).expect("is written");
        Self { folder }
    }

    fn command(&self, repository: &Path, head: &str) -> Command {
        const SCRIPT: &str = r#"set -e
rm -rf evidence
git -C "$1" diff --name-only --no-renames --diff-filter=A many "$2" -- evidence > added
while read -r path; do
  mkdir -p "${path%/*}"
  git -C "$1" show "$2:$path" > "$path"
done < added
exec "$3" evidence verify evidence --policy policy.yaml --recipe ./recipe.yaml --plain-http --no-cache"#;
        let mut command = Command::new("sh");
        command.args(["-c", SCRIPT, "sh"]).arg(repository).arg(head).arg(seatrial().get_program());
        command.current_dir(self.folder.path()).env("DOCKER_CONFIG", "/nonexistent").env("GIT_CONFIG_GLOBAL", "/dev/null");
        command
    }

    /// It looked at as many as were added.
    fn holds(&self, count: usize) {
        let text = std::fs::read_to_string(self.folder.path().join("added")).expect("was written");
        assert_eq!(text.lines().count(), count, "{text}");
    }
}
