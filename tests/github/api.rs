//! Requests to GitHub's API, each of them and each answer checked against GitHub's description.

use std::time::Instant;

use seatrial::error::Kind;
use seatrial::gate::ApprovalSource;
use seatrial::github::event::PullRequest;
use seatrial::github::offer::Offer;
use seatrial::github::publish::{CHECK, MARKER, tell};
use seatrial::github::reviews::approvals;
use seatrial::github::{Api, Event, Subject};
use serde_json::{Value, json};

use crate::comment::{report, row};
use crate::fake::{GATE, GitHub, runtime};

const BASE: &str = "1111111111111111111111111111111111111111";

/// A pull request of its own for a test; its head is a commit that no other test has.
fn pull(number: u64) -> (Event, String) {
    let head = format!("{number:040x}");
    let subject = Subject::PullRequest(PullRequest { number, base: BASE.to_owned(), head: head.clone() });
    (Event { repository: "example-org/evidence".to_owned(), subject }, head)
}

fn checks(github: &GitHub, head: &str) -> Vec<Value> {
    github.state()["checks"].as_array().into_iter().flatten().filter(|check| check["head_sha"] == head).cloned().collect()
}

fn comments(github: &GitHub, number: u64) -> Vec<Value> {
    let number = number.to_string();
    let of = |comment: &&Value| comment["pull"].as_str() == Some(number.as_str());
    github.state()["comments"].as_array().into_iter().flatten().filter(of).cloned().collect()
}

fn wait<T>(future: impl Future<Output = T>) -> T {
    runtime().block_on(future)
}

#[test]
fn a_report_becomes_one_check_run_with_annotations_and_one_comment_that_is_updated() {
    let Some(github) = GitHub::shared() else { return };
    let (event, head) = pull(101);
    let api = github.api(GATE);
    let rows: Vec<Value> =
        (0..120).map(|number| row(&format!("evidence/h100/{number}.yaml"), Some("too-old"), "it is 91 days old")).collect();
    let told = wait(tell(&api, &event, &report("refuse", Some("too-old"), &rows))).expect("is told");
    assert_eq!(
        (told.done.as_slice(), told.left_out.is_empty()),
        (["check run".to_owned(), "comment".to_owned()].as_slice(), true),
        "{told}"
    );
    let made = checks(github, &head);
    assert_eq!(made.len(), 1);
    assert_eq!(
        (&made[0]["name"], &made[0]["conclusion"], &made[0]["title"]),
        (&json!(CHECK), &json!("failure"), &json!("refuse: too-old"))
    );
    let annotations = made[0]["annotations"].as_array().expect("annotations");
    assert_eq!(annotations.len(), 120, "50 go with each request, and none is lost");
    assert_eq!((&annotations[0]["path"], &annotations[0]["start_line"]), (&json!("evidence/h100/0.yaml"), &json!(4)));

    let written = comments(github, 101);
    assert_eq!(written.len(), 1);
    assert!(written[0]["body"].as_str().expect("text").starts_with(&format!("{MARKER}\n### Evidence gate: refuse (too-old)\n")));
    wait(tell(&api, &event, &report("accept", None, &[row("evidence/h100/0.yaml", None, "")]))).expect("is told");
    let updated = comments(github, 101);
    assert_eq!((updated.len(), &updated[0]["id"]), (1, &written[0]["id"]));
    assert!(updated[0]["body"].as_str().expect("text").contains("Evidence gate: accept"));
    assert_eq!(checks(github, &head).last().expect("a check")["conclusion"], "success");
    // What GitHub lets pass as a required check is never the conclusion of something that is not accepted.
    for (decision, conclusion) in [("needs-evidence", "action_required"), ("undecided", "failure")] {
        wait(tell(&api, &event, &report(decision, None, &[]))).expect("is told");
        assert_eq!(checks(github, &head).last().expect("a check")["conclusion"], conclusion, "{decision}");
    }
}

#[test]
fn our_comment_is_found_on_any_page_and_somebody_elses_with_our_mark_is_let_be() {
    let Some(github) = GitHub::shared() else { return };
    let (event, _) = pull(102);
    let api = github.api(GATE);
    let mut all = Vec::new();
    let mut add = |id: usize, user: &str, body: &str| all.push(json!({"id": 2000 + id, "pull": "102", "user": user, "body": body}));
    add(0, "mallory", &format!("{MARKER}\n### Evidence gate: accept"));
    (1..250).for_each(|id| add(id, "ann", "a comment"));
    add(250, "github-actions[bot]", &format!("{MARKER}\nold"));
    add(251, "github-actions[bot]", &format!("{MARKER}\nolder"));
    github.seed(&json!({"comments": all}));
    wait(tell(&api, &event, &report("accept", None, &[row("evidence/h100/a.yaml", None, "")]))).expect("is told");
    let now = comments(github, 102);
    let body =
        |id: u64| now.iter().find(|comment| comment["id"] == id).map(|comment| comment["body"].as_str().unwrap_or_default().to_owned());
    assert!(body(2000).expect("is there").ends_with("accept"), "it is mallory's");
    assert!(body(2250).expect("is there").contains("Evidence gate: accept"));
    assert_eq!(body(2251), None, "there is one of ours");
    assert_eq!(now.len(), 251);
}

#[test]
fn where_nothing_concerns_it_nobody_is_told_unless_something_was_said_before() {
    let Some(github) = GitHub::shared() else { return };
    let (event, head) = pull(108);
    let api = github.api(GATE);
    let told = wait(tell(&api, &event, &report("accept", None, &[]))).expect("is told");
    assert_eq!((told.done.as_slice(), checks(github, &head).len()), (["check run".to_owned()].as_slice(), 1), "{told}");
    assert!(comments(github, 108).is_empty());
    wait(tell(&api, &event, &report("refuse", Some("too-old"), &[row("evidence/h100/a.yaml", Some("too-old"), "old")]))).expect("is told");
    wait(tell(&api, &event, &report("accept", None, &[]))).expect("is told");
    let written = comments(github, 108);
    assert!(written.len() == 1 && written[0]["body"].as_str().expect("text").contains("Evidence gate: accept"), "{written:?}");
}

#[test]
fn a_token_that_may_only_read_degrades_to_the_summary_and_says_so() {
    let Some(github) = GitHub::shared() else { return };
    let (event, head) = pull(103);
    let told = wait(tell(
        &github.api("contents=read"),
        &event,
        &report("refuse", Some("too-old"), &[row("evidence/h100/a.yaml", Some("too-old"), "old")]),
    ));
    let told = told.expect("the decision stands");
    assert!(told.done.is_empty() && told.left_out.len() == 2 && told.annotations.len() == 1, "{told:?}");
    assert!(told.to_string().contains("the step summary only") && told.to_string().contains("403"), "{told}");
    assert!(checks(github, &head).is_empty() && comments(github, 103).is_empty());
    // Half of it is told where half is allowed.
    let told = wait(tell(&github.api("checks=write"), &event, &report("accept", None, &[row("evidence/h100/a.yaml", None, "")])))
        .expect("is told");
    assert_eq!((told.done.as_slice(), told.left_out.len()), (["check run".to_owned()].as_slice(), 1));
}

#[test]
fn approvals_are_reviews_of_people_and_teams_and_what_cannot_be_read_is_unknown() {
    let Some(github) = GitHub::shared() else { return };
    let (event, head) = pull(104);
    let mut reviews: Vec<Value> = (0..130).map(|_| json!({"user": "ann", "state": "COMMENTED", "commit_id": head, "body": ""})).collect();
    reviews.push(json!({"user": "ann", "state": "APPROVED", "commit_id": head, "body": "LGTM"}));
    reviews.push(json!({"user": "bob", "state": "APPROVED", "commit_id": BASE, "body": ""}));
    reviews.push(json!({"user": "eve", "state": "CHANGES_REQUESTED", "commit_id": head, "body": "approved!"}));
    github.seed(&json!({"reviews": {"104": reviews}, "teams": {"example-org/platform": ["bob"]}}));
    let owners = ["@ann".to_owned(), "@example-org/platform".to_owned()];
    let found = wait(approvals(&github.api(GATE), &event, &owners));
    assert_eq!(found.unknown, None);
    let given: Vec<_> = found.given.iter().map(|one| (one.by.as_str(), one.teams.as_slice(), one.commit.as_deref(), one.source)).collect();
    let team = ["@example-org/platform".to_owned()];
    assert_eq!(
        given,
        [
            ("@ann", [].as_slice(), Some(head.as_str()), ApprovalSource::Review),
            ("@bob", team.as_slice(), Some(BASE), ApprovalSource::Review)
        ]
    );
    // In the queue another commit is merged, which stands for the newest of the pull request and for no older one.
    github.seed(&json!({"heads": {"104": head}}));
    let merged = "4444444444444444444444444444444444444444";
    let subject = Subject::MergeGroup { number: Some(104), base: BASE.to_owned(), head: merged.to_owned() };
    let queued = wait(approvals(&github.api(GATE), &Event { subject, ..event.clone() }, &[]));
    let commits: Vec<_> = queued.given.iter().map(|one| (one.by.as_str(), one.commit.as_deref())).collect();
    assert_eq!((commits.as_slice(), queued.unknown), ([("@ann", Some(merged)), ("@bob", Some(BASE))].as_slice(), None));
    // The built-in token cannot read teams: that is neither a yes nor a no.
    let found = wait(approvals(&github.api("pull_requests=read"), &event, &owners));
    assert!(found.given.len() == 2 && found.unknown.as_deref().is_some_and(|why| why.contains("members: read")), "{found:?}");
    let found = wait(approvals(&github.api("contents=read"), &event, &owners));
    assert!(found.given.is_empty() && found.unknown.as_deref().is_some_and(|why| why.contains("reviews")), "{found:?}");
}

#[test]
fn faults_are_repeated_for_a_while_and_rate_limits_are_waited_for_if_they_are_short() {
    let Some(github) = GitHub::shared() else { return };
    let (event, head) = pull(105);
    let api = github.api_unchecked(GATE);
    let path = "/repos/example-org/evidence";
    github.fault(&format!("POST {path}/check-runs"), 502, 2, &json!({}));
    github.fault(&format!("GET {path}/issues/105"), 503, 1, &json!({}));
    let began = Instant::now();
    github.fault(&format!("PATCH {path}/issues"), 500, 0, &json!({}));
    github.fault(&format!("GET {path}/issues/105"), 429, 1, &json!({"Retry-After": "1"}));
    let told = wait(tell(&api, &event, &report("accept", None, &[row("evidence/h100/a.yaml", None, "")]))).expect("is told");
    assert!(told.left_out.is_empty() && began.elapsed().as_secs() >= 1, "{told}");
    assert_eq!((checks(github, &head).len(), comments(github, 105).len()), (1, 1));

    // Nobody holds a runner for an hour.
    let later = jiff::Timestamp::now().as_second() + 3600;
    github.fault(&format!("GET {path}/pulls/105"), 403, 9, &json!({"x-ratelimit-remaining": "0", "x-ratelimit-reset": later.to_string()}));
    let began = Instant::now();
    let found = wait(approvals(&api, &event, &[]));
    assert!(
        began.elapsed().as_secs() < 5 && found.unknown.as_deref().is_some_and(|why| why.contains("more requests are allowed in")),
        "{found:?}"
    );

    // Nobody is there at all.
    let _within = runtime().enter();
    let gone = Api::new("http://127.0.0.1:9", "t".to_owned()).expect("a client");
    let told = wait(tell(&gone, &event, &report("accept", None, &[row("evidence/h100/a.yaml", None, "")]))).expect("the decision stands");
    assert!(told.done.is_empty() && told.left_out.iter().all(|why| why.contains("does not answer")), "{told}");
}

#[test]
fn a_comment_that_github_took_without_saying_so_is_not_written_twice() {
    let Some(github) = GitHub::shared() else { return };
    let (event, _) = pull(106);
    let api = github.api_unchecked(GATE);
    github.fault("POST /repos/example-org/evidence/issues/106", 502, 1, &json!({}));
    let told = wait(tell(&api, &event, &report("accept", None, &[row("evidence/h100/a.yaml", None, "")]))).expect("is told");
    assert_eq!((told.left_out.len(), comments(github, 106).len()), (0, 1), "{told}");
}

/// What is offered: one pointer.
fn offer(branch: &str, base: &str, pull_request: bool) -> Offer {
    Offer {
        repository: "example-org/evidence".to_owned(),
        branch: branch.to_owned(),
        base: base.to_owned(),
        files: vec![("evidence/h100/sha256-0.yaml".to_owned(), "kind: EvidencePointer\n".to_owned())],
        title: "evidence: h100".to_owned(),
        pull_request,
        server: "https://github.example".to_owned(),
    }
}

#[test]
fn pointers_are_offered_as_a_commit_or_a_pull_request_with_no_more_rights_than_that_takes() {
    let Some(github) = GitHub::shared() else { return };
    let start = "2222222222222222222222222222222222222222";
    github.seed(&json!({"refs": {"heads/offers": start}, "commits": {start: {"tree": BASE, "message": "m", "parents": []}}}));
    let writer = github.api("contents=write");
    let made = wait(offer("offers", "offers", false).make(&writer)).expect("is committed");
    assert_eq!((made.url.as_str(), &made.without), ("https://github.example/example-org/evidence/tree/offers", &None));
    let state = github.state();
    assert_eq!(state["refs"]["heads/offers"], made.commit.as_str());
    let commit = &state["commits"][&made.commit];
    assert_eq!((&commit["parents"], &commit["author"]), (&json!([start]), &Value::Null), "GitHub signs what names no author");
    let tree = &state["trees"][commit["tree"].as_str().expect("a tree")];
    assert_eq!((&tree["base_tree"], &tree["tree"][0]["path"]), (&json!(BASE), &json!("evidence/h100/sha256-0.yaml")));

    let both = github.api("contents=write,pull_requests=write");
    let made = wait(offer("evidence/1", "offers", true).make(&both)).expect("is offered");
    assert!(made.url.contains("/pull/") && github.state()["refs"]["heads/evidence/1"] == made.commit.as_str(), "{made:?}");
    // Again: another commit on the branch, and the pull request that is open.
    let again = wait(offer("evidence/1", "offers", true).make(&both)).expect("is offered");
    assert_eq!((&again.url, github.state()["pulls"].as_array().expect("pulls").len()), (&made.url, 1));

    // Where workflows may open no pull requests, the branch is there and people are told where to go on.
    let made = wait(offer("evidence/2", "offers", true).make(&writer)).expect("the commit is there");
    assert!(made.without.is_some() && made.url.contains("/compare/offers...evidence/2"), "{made:?}");
    let denied = wait(offer("evidence/3", "offers", false).make(&github.api("contents=read"))).expect_err("is refused");
    assert_eq!(denied.kind(), Kind::Denied);
    assert_eq!(github.state()["refs"]["heads/evidence/3"], Value::Null);
    let missing = wait(offer("evidence/4", "nowhere", false).make(&writer)).expect_err("is refused");
    assert_eq!(missing.kind(), Kind::NotFound);
}

#[test]
fn a_page_that_comes_instead_of_an_answer_is_tried_again_and_cut_short() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = format!("http://{}", listener.local_addr().expect("has one"));
    let asked = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counter = asked.clone();
    // Ends with the process; every connection gets the same page.
    std::thread::spawn(move || {
        use std::io::{Read, Write};
        for connection in listener.incoming() {
            let Ok(mut connection) = connection else { return };
            counter.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let mut request = [0; 4096];
            let page = format!("<html>\n::error::injected\n{}</html>", "x".repeat(100_000));
            let head = format!(
                "HTTP/1.1 502 Bad Gateway\r\nConnection: close\r\nContent-Type: text/html\r\nContent-Length: {}\r\n\r\n",
                page.len()
            );
            drop(connection.read(&mut request));
            drop(connection.write_all(head.as_bytes()).and_then(|()| connection.write_all(page.as_bytes())));
        }
    });
    let _within = runtime().enter();
    let (event, _) = pull(107);
    let api = Api::new(&address, "t".to_owned()).expect("a client");
    let found = wait(approvals(&api, &event, &[]));
    let why = found.unknown.expect("nothing is known of approvals");
    assert!(why.contains("502") && why.len() < 1000 && !why.contains('\n'), "{why}");
    assert_eq!(asked.load(std::sync::atomic::Ordering::Relaxed), 4, "it was tried again");
}
