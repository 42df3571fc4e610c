//! Whoever judges a change comes to the same: the library, the command, and `evidence verify --policy` on every pointer.

use std::process::Output;

use assert_cmd::Command;
use seatrial::digest::Digest;
use seatrial::gate::report::{RecipeState, RowDecision};
use seatrial::gate::{Approvals, Decision, GateReport, Request};
use seatrial::reason::Reason;
use seatrial::yaml;

use crate::cases::{Case, came_to, corpus, gone};
use crate::evidence::{World, added, judge, place, published, recipe, run, signer};
use crate::repository::{Node, file};
use crate::sample::Sample;

/// The program, with nothing of this machine's settings.
fn seatrial(arguments: &[&str]) -> Output {
    let mut command = Command::cargo_bin("seatrial").expect("the program");
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("DOCKER_CONFIG", "/nonexistent");
    command.current_dir(std::env::temp_dir()).args(arguments).output().expect("runs")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_case_comes_to_its_end_by_library_and_command_and_verification_agrees() {
    let Some(world) = World::start().await else { return };
    let repository = world.repository.path().display().to_string();
    let mut verified = 0;
    for (number, case) in corpus(&world).await.into_iter().enumerate() {
        let [base, head] = case.commit(&world, &format!("base-{number}"), &format!("head-{number}"));
        let report = judge(&world.request(&base, &head)).await;
        assert_eq!(came_to(&report), case.comes_to, "{}: {report:#?}", case.name);
        assert!(report.summary.starts_with(report.decision.word()), "{}", report.summary);
        assert_eq!(report.decision == Decision::Accept, report.exit == 0 && report.reason.is_none(), "{}", case.name);
        assert_eq!(report.advice.is_empty(), report.decision == Decision::Accept, "{}: {report:#?}", case.name);

        let ran = seatrial(&["gate", "--repository", &repository, "--base", &base, "--head", &head, "--plain-http", "-t", "json"]);
        let by_command: GateReport =
            serde_json::from_slice(&ran.stdout).unwrap_or_else(|_| panic!("{}: {}", case.name, String::from_utf8_lossy(&ran.stderr)));
        assert_eq!(came_to(&by_command), case.comes_to, "{} by command: {by_command:#?}", case.name);
        assert_eq!(ran.status.code(), Some(i32::from(report.exit)), "{} by command", case.name);
        let rows = |report: &GateReport| report.pointers.iter().map(|row| (row.path.clone(), row.decision, row.exit)).collect::<Vec<_>>();
        assert_eq!(rows(&report), rows(&by_command), "{} by command", case.name);

        for row in report.pointers.iter().filter(|row| row.reasons.iter().all(|one| Reason::ALL.contains(&one.reason))) {
            verified += 1;
            let said = said(&case, &row.path);
            assert_eq!((row.exit, row.decision == RowDecision::Accept), (said, said == 0), "{}: {}", case.name, row.path);
        }
    }
    assert!(verified >= 12, "{verified} pointers were held against `evidence verify`");
}

/// How `evidence verify` with the base's policy and the head's recipe ends for a pointer of a case.
fn said(case: &Case, path: &str) -> u8 {
    let folder = tempfile::tempdir().expect("a directory");
    let write = |name: &str, bytes: &[u8]| {
        let file = folder.path().join(name);
        std::fs::create_dir_all(file.parent().expect("a folder")).expect("is made");
        std::fs::write(&file, bytes).expect("is written");
        file.display().to_string()
    };
    let Some(Node::File(bytes)) = case.file(path) else { panic!("{path} is no file of the head") };
    let (pointer, policy) = (write(path, bytes), write("policy.yaml", case.policy.as_bytes()));
    let today = match case.file("recipes/sim-h100.yaml") {
        Some(Node::File(text)) => write("r.yaml", text),
        // What ships, by its name.
        Some(_) => "sim-h100".to_owned(),
        None => write("r.yaml", yaml::to_string(&recipe()).expect("YAML").as_bytes()),
    };
    let ran = seatrial(&["evidence", "verify", &pointer, "--policy", &policy, "--recipe", &today, "--plain-http"]);
    ran.status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or_else(|| panic!("{}", String::from_utf8_lossy(&ran.stderr)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_owner_approves_is_accepted_and_recorded_and_evidence_is_judged_all_the_same() {
    let Some(world) = World::start().await else { return };
    let stranger = Sample::good().signed();
    let removal = [gone(&place(&world.old))];
    let report = world.judge_approved("removed", &removal).await;
    assert_eq!(came_to(&report), (Decision::Accept, None, 0), "{report:#?}");
    assert_eq!(report.pointers[0].approved_by, ["@alice"]);
    assert_eq!(report.recipes.iter().map(|row| row.state).collect::<Vec<_>>(), [RecipeState::Missing]);

    let policy = format!("{}{}", world.policy(""), signer("stranger", &stranger));
    let theirs = published(&world.server, &run(2), &stranger).await;
    let report = world.judge_approved("own-signer", &[file("evidence/policy.yaml", policy.clone()), added(&theirs)]).await;
    assert_eq!(came_to(&report), (Decision::Refuse, Some("signer-unknown"), 11), "approved, and judged by the base's policy");
    let report = world.judge_approved("policy", &[file("evidence/policy.yaml", policy)]).await;
    assert_eq!(came_to(&report), (Decision::Accept, None, 0));
    assert!(report.policy_changes.iter().any(|change| change.input.starts_with("signers.stranger")), "{:?}", report.policy_changes);
    assert_eq!(report.files[0].approved_by, ["@alice"]);

    let mut edited = world.old.clone();
    edited.recorded_at = "2027-01-01T00:00:00Z".parse().expect("a time");
    let report = world.judge_approved("edited", &[added(&edited)]).await;
    assert_eq!(came_to(&report), (Decision::Accept, None, 0), "replaced by what holds as well");
    edited.bundle.content_digest = Digest::of(b"other");
    let report = world.judge_approved("edited-wrongly", &[added(&edited)]).await;
    assert_eq!(report.decision, Decision::Refuse, "an approval is for the change, not for evidence that does not hold");

    let unknown = Approvals { given: Vec::new(), unknown: Some("403 Forbidden".to_owned()) };
    let report = judge(&Request { approvals: unknown, ..world.request("main", "removed") }).await;
    assert_eq!(came_to(&report), (Decision::Undecided, Some("approval-unknown"), 3));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_the_policy_names_and_that_lies_elsewhere_is_guarded_like_the_policy() {
    let Some(world) = World::start().await else { return };
    let stranger = Sample::good().signed();
    let key = |signed: &crate::sample::Signed| std::fs::read_to_string(&signed.public).expect("a key");
    let entry = "- {name: lab, recipes: [\"*\"], subject: {keyFile: keys/lab.pub}}\n";
    let usual = world.policy("");
    let (before, _) = usual.split_once("signers:\n").expect("signers");
    let policy = format!("{before}signers:\n{entry}");
    let base = [file("ci/policy.yaml", policy.clone()), file("ci/keys/lab.pub", key(&world.ours))];
    world.repository.commit("elsewhere", Some("refs/heads/main"), &base);
    let judged = async |branch: &str| judge(&Request { policy: "ci/policy.yaml".to_owned(), ..world.request("elsewhere", branch) }).await;
    world.repository.commit("swapped", Some("refs/heads/elsewhere"), &[file("ci/keys/lab.pub", key(&stranger))]);
    let report = judged("swapped").await;
    assert_eq!(came_to(&report), (Decision::Refuse, Some("policy-changed"), 11), "{report:#?}");
    assert_eq!(report.files[0].path, "ci/keys/lab.pub");
    // Nor does it go away behind a directory that holds too much to be looked at.
    let many: Vec<_> = (0..10).map(|number| file(&format!("ci/policy.yaml/{}{number}", "d/".repeat(12)), "x")).collect();
    world.repository.commit("buried", Some("refs/heads/elsewhere"), &many);
    let report = judged("buried").await;
    assert_eq!(report.decision, Decision::Refuse, "{report:#?}");
    world.repository.commit("fine", Some("refs/heads/elsewhere"), &[file("ci/other", "x")]);
    assert_eq!(judged("fine").await.decision, Decision::Accept);
}
