//! The corpus of the gate under act: the reusable workflow comes to what the library and the command come to, on every case.

use std::collections::BTreeMap;
use std::path::PathBuf;

use seatrial::gate::Decision;
use serde_json::json;

use crate::act::{Consumer, caller};
use crate::cases::corpus;
use crate::evidence::World;
use crate::fake::{GATE, GitHub, runtime};

/// Settings by which git takes a bare repository for `owner/name` on GitHub.
fn served(consumer: &Consumer, name: &str, repository: &std::path::Path) -> PathBuf {
    let (owner, name) = name.split_once('/').expect("owner and name");
    let server = consumer.beside("server");
    std::os::unix::fs::symlink(repository, consumer.beside(&format!("server/{owner}")).join(format!("{name}.git"))).expect("is linked");
    let settings = server.join("gitconfig");
    std::fs::write(&settings, format!("[url \"file://{}/\"]\n  insteadOf = https://github.com/\n", server.display())).expect("is written");
    settings
}

#[test]
#[ignore = "matrix"]
fn every_case_of_the_corpus_comes_to_the_same_under_act() {
    const NAME: &str = "example-org/corpus";
    let Some(github) = GitHub::shared() else { return };
    let Some(world) = runtime().block_on(World::start()) else { return };
    let workflow = caller("pull_request_target", "gate", "");
    let Some(consumer) = Consumer::new(NAME, &[(".github/workflows/gate.yaml", workflow.as_str())]) else { return };
    world.repository.git(&["config", "uploadpack.allowAnySHA1InWant", "true"], b"");
    let settings = served(&consumer, NAME, world.repository.path());
    let cases = runtime().block_on(corpus(&world));
    assert!(cases.len() >= 33, "{}", cases.len());
    let mut wrong = Vec::new();
    for (number, case) in (500_u64..).zip(cases) {
        let [base, head] = case.commit(&world, &format!("base-{number}"), &format!("head-{number}"));
        let payload = json!({"number": number, "pull_request": {"number": number, "base": {"sha": base, "ref": "main"}, "head": {"sha": head, "ref": "x"}}});
        let variables = BTreeMap::from([
            ("GITHUB_API_URL", github.address().to_owned()),
            ("GITHUB_TOKEN", GATE.to_owned()),
            ("GIT_CONFIG_GLOBAL", settings.display().to_string()),
            ("DOCKER_CONFIG", "/nonexistent".to_owned()),
        ]);
        let ran = consumer.act(None, "pull_request_target", &payload, &variables);
        let set = ran.outputs();
        let read = |name: &str| set.get(name).cloned().unwrap_or_default();
        let (decision, reason, exit) = case.comes_to;
        let expected = [decision.word().to_owned(), reason.unwrap_or("ok").to_owned(), exit.to_string()];
        let came = [read("decision"), read("reason"), read("exit-code")];
        // Each has its say before the test ends.
        if came != expected || ran.ok != (decision == Decision::Accept) {
            wrong.push(format!("{}: {came:?} instead of {expected:?}: {}", case.name, ran.log));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}
