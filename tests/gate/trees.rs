//! Where the two trees are from: commits, directories, clones that were cut off, repositories that somebody prepared.

use std::path::Path;
use std::process::Output;

use assert_cmd::Command;
use seatrial::error::Kind;
use seatrial::gate::report::RowDecision;
use seatrial::gate::{self, Change, Decision, GateReport};
use seatrial::reason::Reason;

use crate::evidence::{World, added, judge, place, published, recipe, recipe_file, request, run};
use crate::fault_proxy::FaultProxy;
use crate::repository::{Node, Repository, file};

fn clone(world: &World, folder: &Path, arguments: &[&str]) {
    let from = format!("file://{}", world.repository.path().display());
    let to = folder.display().to_string();
    world.repository.git(&[&["clone", "--quiet", "--bare"], arguments, &[&from, &to]].concat(), b"");
}

fn commits(repository: &Path, base: &str, head: &str) -> gate::Request {
    request(Change::Commits { repository: repository.to_owned(), base: base.to_owned(), head: head.to_owned() })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_branch_that_is_behind_removes_nothing_and_is_judged_by_the_policy_of_today() {
    let Some(world) = World::start().await else { return };
    let good = published(&world.server, &run(1), &world.ours).await;
    world.repository.commit("behind", Some("refs/heads/main"), &[added(&good)]);
    let later = published(&world.server, &run(2), &world.ours).await;
    world.repository.commit("main", Some("refs/heads/main"), &[added(&later)]);
    let report = judge(&world.request("main", "behind")).await;
    assert_eq!((report.decision, report.pointers.len()), (Decision::Accept, 1), "{report:#?}");
    assert!(report.merge_base.is_some());

    world.repository.commit("main", Some("refs/heads/main"), &[file("evidence/policy.yaml", world.policy_with("", ""))]);
    let report = judge(&world.request("main", "behind")).await;
    assert_eq!(report.reason, Some(Reason::HardwareSimulated), "the policy that is in force now");

    // Evidence of a recipe that has changed in the base since the branch began.
    let mut changed = recipe();
    changed.spec.checks.conformance.push("dra-support".to_owned());
    world.repository.commit("main", Some("refs/heads/main"), &[file("evidence/policy.yaml", world.policy("")), recipe_file(&changed)]);
    let report = judge(&world.request("main", "behind")).await;
    assert_eq!(report.reason, Some(Reason::RecipeDrifted), "the recipe as it is once it is merged");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn directories_come_to_the_same_as_commits() {
    let Some(world) = World::start().await else { return };
    let good = published(&world.server, &run(1), &world.ours).await;
    world.repository.commit("good", Some("refs/heads/main"), &[added(&good)]);
    world.repository.commit("bad", Some("refs/heads/main"), &[(place(&world.old).into_bytes(), Node::Gone), file("evidence/x", "x")]);
    world.repository.commit("link", Some("refs/heads/main"), &[(place(&good).into_bytes(), Node::Link("/etc/passwd"))]);
    let folder = tempfile::tempdir().expect("a directory");
    for branch in ["main", "good", "bad", "link"] {
        std::fs::create_dir(folder.path().join(branch)).expect("is made");
        let tree = folder.path().join(branch).display().to_string();
        world.repository.git(&["--work-tree", &tree, "checkout", "--quiet", "--force", branch, "--", "."], b"");
    }
    for branch in ["main", "good", "bad", "link"] {
        let of_commits = judge(&world.request("main", branch)).await;
        let of_directories =
            judge(&request(Change::Directories { base: folder.path().join("main"), head: folder.path().join(branch) })).await;
        let rows = |report: &GateReport| {
            let pointers = report.pointers.iter().map(|row| (row.path.clone(), row.decision, row.exit));
            let files = report.files.iter().map(|row| (row.path.clone(), row.decision, 0));
            pointers.chain(files).collect::<Vec<_>>()
        };
        assert_eq!(rows(&of_commits), rows(&of_directories), "{branch}");
        assert_eq!((of_commits.decision, of_commits.exit), (of_directories.decision, of_directories.exit), "{branch}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_not_fetched_is_an_error_that_names_the_command() {
    let Some(world) = World::start().await else { return };
    world.repository.commit("head", Some("refs/heads/main"), &[file("README.md", "y")]);
    world.repository.commit("main", Some("refs/heads/main"), &[file("README.md", "z")]);
    let folder = tempfile::tempdir().expect("a directory");
    let shallow = folder.path().join("shallow");
    clone(&world, &shallow, &["--depth", "1", "--no-single-branch"]);
    let error = gate::judge(&commits(&shallow, "main", "head")).await.expect_err("the history is missing");
    assert_eq!(error.kind(), Kind::Usage);
    assert!(error.hints().iter().any(|hint| hint.contains("git fetch --unshallow")), "{error:?}");
    for name in ["nowhere", "", "--upload-pack=x", "refs/heads/x\n"] {
        let error = gate::judge(&commits(&shallow, "main", name)).await.expect_err("there is no such commit");
        assert_eq!(error.kind(), Kind::Usage, "{name}");
        assert!(!error.hints().is_empty(), "{name}");
    }
    let error = gate::judge(&commits(folder.path(), "main", "head")).await.expect_err("there is no repository");
    assert_eq!(error.kind(), Kind::Usage);

    // Both branches have merged the other's beginning, so there are two beginnings of what the head changes.
    let (one, other) = (world.repository.git(&["rev-parse", "main"], b""), world.repository.git(&["rev-parse", "head"], b""));
    let merge = |branch: &str, first: &str, second: &str, tree: &str| {
        let tree = world.repository.git(&["rev-parse", &format!("{tree}^{{tree}}")], b"");
        let commit = world.repository.git(&["commit-tree", &tree, "-p", first, "-p", second, "-m", branch], b"");
        world.repository.git(&["update-ref", &format!("refs/heads/{branch}"), &commit], b"");
    };
    merge("cross-one", &one, &other, "main");
    merge("cross-two", &other, &one, "head");
    let error = gate::judge(&world.request("cross-one", "cross-two")).await.expect_err("it is not clear");
    assert!(error.chain().contains("2 commits in common"), "{}", error.chain());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tag_does_not_take_the_place_of_the_base_branch_nor_a_branch_that_of_a_commit() {
    let Some(world) = World::start().await else { return };
    let base = world.repository.git(&["rev-parse", "main"], b"");
    let bad = world.repository.commit("bad", Some("refs/heads/main"), &[file("evidence/x", "x")]);
    // Were the tag the base, nothing would be changed.
    world.repository.git(&["update-ref", "refs/tags/main", &bad], b"");
    for name in ["main", "main^{commit}", "main~0"] {
        let error = gate::judge(&commits(world.repository.path(), name, "bad")).await.expect_err("it is not clear which is meant");
        assert_eq!(error.kind(), Kind::Usage, "{name}");
        assert!(error.hints().iter().any(|hint| hint.contains("refs/heads/main")), "{name}: {error:?}");
    }
    assert_eq!(judge(&world.request("refs/heads/main", "bad")).await.reason, Some(Reason::UnexpectedFile));
    // The same commit by two names is no riddle, and what looks like an id is one.
    world.repository.git(&["update-ref", "refs/tags/main", &base], b"");
    assert_eq!(judge(&world.request("main", "bad")).await.reason, Some(Reason::UnexpectedFile));
    world.repository.git(&["update-ref", &format!("refs/heads/{base}"), &bad], b"");
    assert_eq!(judge(&world.request(&base, "bad")).await.reason, Some(Reason::UnexpectedFile));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_repository_says_of_itself_neither_runs_nor_decides() {
    let Some(world) = World::start().await else { return };
    let folder = tempfile::tempdir().expect("a directory");
    let ran = folder.path().join("ran");
    let command = format!("touch {}", ran.display());
    let bad = world.repository.commit("bad", Some("refs/heads/main"), &[file("evidence/x", "x")]);
    let good = world.repository.commit("good", Some("refs/heads/main"), &[file("README.md", "y")]);
    let included = folder.path().join("included");
    std::fs::write(&included, format!("[core]\n\tfsmonitor = {command}\n\tuseReplaceRefs = true\n")).expect("is written");
    for (name, value) in [
        ("core.fsmonitor", command.as_str()),
        ("core.sshCommand", &command),
        ("core.hooksPath", &folder.path().display().to_string()),
        ("core.pager", &command),
        ("diff.external", &command),
        ("filter.x.smudge", &command),
        ("credential.helper", &command),
        ("uploadpack.packObjectsHook", &command),
        ("include.path", &included.display().to_string()),
        ("core.useReplaceRefs", "true"),
    ] {
        world.repository.git(&["config", "--add", name, value], b"");
    }
    world.repository.git(&["update-ref", &format!("refs/replace/{bad}"), &good], b"");
    let info = world.repository.path().join("info");
    std::fs::write(info.join("grafts"), format!("{bad}\n")).expect("is written");
    std::fs::write(info.join("attributes"), "* filter=x\n").expect("is written");
    let report = judge(&world.request("main", "bad")).await;
    assert_eq!(report.reason, Some(Reason::UnexpectedFile), "{report:#?}");
    assert_eq!(report.head.commit, Some(bad));
    assert!(!ran.exists(), "a command of the repository was run");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_that_is_not_what_its_id_says_is_refused_also_from_elsewhere() {
    let Some(world) = World::start().await else { return };
    let good = published(&world.server, &run(1), &world.ours).await;
    let elsewhere = Repository::new();
    let blob = world.repository.blob(good.to_yaml().expect("YAML").as_bytes());
    let other = elsewhere.blob(b"not the pointer");
    world.repository.commit("head", Some("refs/heads/main"), &[added(&good)]);
    let object = |repository: &Repository, id: &str| repository.path().join("objects").join(&id[..2]).join(&id[2..]);
    let pack = world.repository.path().join("objects/pack");
    // All that was packed becomes single objects, so that one of them can be another.
    let packs = world.repository.path().join("packs");
    std::fs::rename(&pack, &packs).expect("is moved");
    std::fs::create_dir(&pack).expect("is made");
    for entry in std::fs::read_dir(&packs).expect("is read").map(|entry| entry.expect("an entry").path()) {
        if entry.extension().is_some_and(|extension| extension == "pack") {
            world.repository.git(&["unpack-objects", "-q"], &std::fs::read(entry).expect("is read"));
        }
    }
    let report = judge(&world.request("main", "head")).await;
    assert_eq!(report.decision, Decision::Accept, "{report:#?}");
    std::fs::remove_file(object(&world.repository, &blob)).expect("is there");
    let place = object(&elsewhere, &blob);
    std::fs::create_dir_all(place.parent().expect("a folder")).expect("is made");
    std::fs::copy(object(&elsewhere, &other), place).expect("is copied");
    let alternates = world.repository.path().join("objects/info/alternates");
    std::fs::write(alternates, format!("{}\n", elsewhere.path().join("objects").display())).expect("is written");
    let report = judge(&world.request("main", "head")).await;
    assert_eq!(report.pointers[0].decision, RowDecision::Refuse, "{report:#?}");
    assert!(report.summary.contains("not what its id says"), "{}", report.summary);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_what_was_added_is_fetched_where_a_thousand_pointers_are() {
    let Some(world) = World::start().await else { return };
    let proxy = FaultProxy::start(&world.server.address);
    let mut thousand: Vec<_> = (0..1000)
        .map(|number| {
            let mut one = world.old.clone();
            one.bundle.digest = seatrial::digest::Digest::of(format!("{number}").as_bytes());
            one.bundle.repository = format!("{}/team/evidence", proxy.address);
            added(&one)
        })
        .collect();
    thousand.push(file("evidence/policy.yaml", world.policy("").replace(&world.server.address, &proxy.address)));
    world.repository.commit("thousand", Some("refs/heads/main"), &thousand);
    let mut good = published(&world.server, &run(1), &world.ours).await;
    good.bundle.repository = format!("{}/team/evidence", proxy.address);
    world.repository.commit("one", Some("refs/heads/thousand"), &[added(&good)]);
    let report = judge(&world.request("thousand", "one")).await;
    assert_eq!((report.decision, report.pointers.len()), (Decision::Accept, 1), "{}", report.summary);
    let seen = proxy.seen();
    let manifests: Vec<&str> = seen.iter().filter(|seen| seen.path.contains("/manifests/sha256:")).map(|seen| seen.path.as_str()).collect();
    assert!(manifests.iter().any(|path| path.contains(good.bundle.digest.hex())), "{manifests:?}");
    assert!(seen.len() < 60, "{} requests for one bundle", seen.len());
}

fn seatrial(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::cargo_bin("seatrial").expect("the program");
    for name in ["GITHUB_ACTIONS", "SEATRIAL_UI", "SEATRIAL_DATA", "SEATRIAL_PLAIN_HTTP"] {
        command.env_remove(name);
    }
    command.env("GITHUB_STEP_SUMMARY", folder.join("summary.md")).current_dir(folder).args(arguments).output().expect("runs")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_ends_as_the_report_says_and_prints_nothing_of_the_change_raw() {
    let Some(world) = World::start().await else { return };
    let good = published(&world.server, &run(1), &world.ours).await;
    world.repository.commit("good", Some("refs/heads/main"), &[added(&good)]);
    let name = "evidence/@everyone ::error::x <script>.yaml";
    world.repository.commit("bad", Some("refs/heads/main"), &[file(name, "x"), file("evidence/\n::error::injected", "x")]);
    world.repository.commit("gone", Some("refs/heads/main"), &[(place(&world.old).into_bytes(), Node::Gone)]);
    let folder = tempfile::tempdir().expect("a directory");
    let repository = world.repository.path().display().to_string();
    let gate = |head: &str, more: &[&str]| {
        let arguments = ["gate", "--repository", &repository, "--base", "main", "--head", head, "--plain-http"];
        seatrial(folder.path(), &[&arguments[..], more].concat())
    };
    let output = gate("good", &["-t", "json", "--report", "markdown=gate.md"]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let report: GateReport = serde_json::from_slice(&output.stdout).expect("a report");
    assert_eq!(report.decision, Decision::Accept);
    let markdown = std::fs::read_to_string(folder.path().join("gate.md")).expect("is written");
    assert!(markdown.starts_with("### Evidence gate: accept\n\n1 pointer verified: sim-h100 (SIMULATED hardware"), "{markdown}");

    for ui in ["human", "github", "json"] {
        let output = gate("bad", &["--ui", ui, "-t", "text"]);
        assert_eq!(output.status.code(), Some(21), "{ui}");
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(!said.lines().any(|line| line.trim_start().starts_with("::error::")), "{said}");
        assert!(said.starts_with("refuse (name-unsafe): "), "{said}");
    }
    assert_eq!(gate("gone", &[]).status.code(), Some(11));
    let output = gate("gone", &["--approved-by", "@alice", "-t", "text"]);
    assert_eq!(output.status.code(), Some(0));
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("@alice (claimed)") && said.contains("only claimed by a flag"), "{said}");
    assert_eq!(gate("nowhere", &[]).status.code(), Some(2));
    assert_eq!(gate("good", &["--evidence-path", "../evidence"]).status.code(), Some(2));
}
