//! Signing by logging in: by a code on another device and by a browser, at the issuer of a private Sigstore.

use std::process::Command;

use seatrial::evidence::sigstore::Envelope;
use seatrial::trust::Root;
use serde_json::Value;

use crate::sample::{Sample, Signed};
use crate::sigstore_stack::{GITHUB, PEOPLE, Stack, exits};
use crate::watched::Watched;

/// Nobody listens there: whoever is asked something is asked in vain.
const NOBODY: &str = "http://127.0.0.1:9";

/// A bundle that nobody has signed.
struct Place(Signed);

impl Place {
    fn new() -> Self {
        Self(Signed::unsigned(&Sample::good().bundle()))
    }

    /// Signs it, keyless.
    fn sign(&self, stack: &Stack, flags: &[&str]) -> Command {
        let mut command = stack.seatrial(&["evidence", "sign", "bundle", "--signing-config", &stack.signing_config()]);
        command.args(["--trusted-root", &stack.trusted_root()]).args(flags).current_dir(self.0.root());
        command
    }

    /// Where nothing is on the `PATH` but what starts the program.
    fn sign_without_a_browser(&self, stack: &Stack) -> Command {
        let mut command = self.sign(stack, &[]);
        let folder = self.0.root().join("path");
        std::fs::create_dir(&folder).expect("is made");
        let name = command.get_program().to_owned();
        let path = std::env::var_os("PATH").unwrap_or_default();
        let program = std::env::split_paths(&path).map(|folder| folder.join(&name)).find(|program| program.exists());
        std::os::unix::fs::symlink(program.expect("is on the PATH"), folder.join(&name)).expect("is linked");
        command.env("PATH", folder);
        command
    }

    /// On a terminal, with a browser that opens the page that it is given, and answers there.
    fn browse(&self, stack: &Stack, answer: &str) -> Watched {
        let browser = stack.browser(self.0.root(), answer);
        let mut watched = Watched::on_terminal(self.sign(stack, &[]).env("BROWSER", browser));
        watched.until("[y/N]");
        watched.types("y\n");
        watched
    }

    /// Who has signed it, if anybody.
    fn signer(&self, stack: &Stack) -> Option<String> {
        let bytes = std::fs::read(self.0.bundle().join("signature.sigstore.json")).ok()?;
        let root = Root::with_files(&[stack.trusted_root().into()]).expect("reads");
        Some(Envelope::parse(&bytes).expect("reads").prove_by_certificate(&root).expect("is proven").by.to_string())
    }
}

/// The code that is shown to people.
fn code(said: &str) -> String {
    said.split("type in  ").nth(1).and_then(|rest| rest.split_whitespace().next()).expect("a code").to_owned()
}

/// Types a code in on another device.
fn type_in(stack: &Stack, code: &str, answer: &str) {
    stack.get(&format!("{PEOPLE}/device?user_code={code}&answer={answer}"));
}

#[test]
fn a_person_signs_by_a_code_on_another_device_and_the_issuers_pace_is_kept() {
    let Some(stack) = Stack::shared() else { return };
    let place = Place::new();
    // Also when quiet: without the code nobody could go on.
    let watched = Watched::piped(&mut place.sign(stack, &["--oidc-device-flow", "--yes", "-q"]));
    let said = watched.until("min, on any device");
    assert!(said.contains(&format!("{PEOPLE}/device")), "{said}");
    type_in(stack, &code(&said), "approve-slowly");
    watched.exits(0);
    assert_eq!(place.signer(stack), Some(format!("dev@example.com ({PEOPLE})")));
}

#[test]
fn a_code_that_is_refused_or_over_signs_nothing_and_says_so() {
    let Some(stack) = Stack::shared() else { return };
    let place = Place::new();
    for (answer, exit, why) in [("deny", 4, "refused"), ("expire", 5, "nobody has logged in")] {
        let watched = Watched::piped(&mut place.sign(stack, &["--oidc-device-flow", "--yes", "--ui", "json"]));
        let said = watched.until("\"userCode\"");
        let event: Value =
            said.lines().find(|line| line.contains("userCode")).and_then(|line| serde_json::from_str(line).ok()).expect("JSON");
        type_in(stack, event["userCode"].as_str().expect("text"), answer);
        let said = watched.exits(exit);
        assert!(said.contains(why), "{said}");
    }
    let said = exits(place.sign(stack, &["--oidc-device-flow", "--yes", "--oidc-client-id", "another"]), 4);
    assert!(said.contains("invalid_client"), "{said}");
    assert_eq!(place.signer(stack), None);
}

#[test]
fn an_interrupt_ends_the_wait_for_somebody() {
    let Some(stack) = Stack::shared() else { return };
    let place = Place::new();
    let watched = Watched::piped(&mut place.sign(stack, &["--oidc-device-flow", "--yes"]));
    watched.until("somebody to type");
    watched.interrupt();
    watched.exits(130);
    let asked = Watched::on_terminal(&mut place.sign(stack, &[]));
    asked.until("[y/N]");
    asked.interrupt();
    asked.exits(130);
    assert_eq!(place.signer(stack), None);
}

#[test]
fn a_person_signs_by_browser_on_a_terminal_after_agreeing() {
    let Some(stack) = Stack::shared() else { return };
    let place = Place::new();
    let said = place.browse(stack, "").exits(0);
    assert!(said.contains("publishes the e-mail address") && said.contains("signing as dev@example.com"), "{said}");
    assert_eq!(place.signer(stack), Some(format!("dev@example.com ({PEOPLE})")));
}

#[test]
fn what_the_browser_brings_counts_as_the_answer_to_this_login_only() {
    let Some(stack) = Stack::shared() else { return };
    let place = Place::new();
    let cases = [("denied", "access_denied: not today"), ("other-state", "state is not ours"), ("other-nonce", "nonce is not ours")];
    for (answer, why) in cases {
        let said = place.browse(stack, answer).exits(4);
        assert!(said.contains(why), "{answer}: {said}");
    }
    // The program goes on without a browser, of which this machine may have one: whoever opens the page by hand gets there too.
    let mut watched = Watched::on_terminal(&mut place.sign_without_a_browser(stack));
    watched.until("[y/N]");
    watched.types("y\n");
    let said = watched.until("no browser could be started");
    let page = said.split("open     ").nth(1).and_then(|rest| rest.split_whitespace().next()).expect("a page").to_owned();
    assert_eq!(place.signer(stack), None);
    stack.get(&page);
    watched.exits(0);
}

#[test]
fn nothing_is_asked_of_the_issuer_before_somebody_has_agreed() {
    let Some(stack) = Stack::shared() else { return };
    let place = Place::new();
    for (answer, exit) in [("n\n", 2), ("\n", 2), ("y\n", 6)] {
        let mut watched = Watched::on_terminal(&mut place.sign(stack, &["--oidc-issuer", NOBODY]));
        watched.until(&format!("log in at {NOBODY}"));
        watched.until("[y/N]");
        watched.types(answer);
        watched.exits(exit);
    }
    let said = exits(place.sign(stack, &["--oidc-device-flow", "--oidc-issuer", NOBODY]), 2);
    assert!(said.contains("no terminal") && said.contains("--yes"), "{said}");
    let said = exits(place.sign(stack, &["--yes"]), 2);
    assert!(said.contains("--oidc-device-flow --yes"), "{said}");
}

#[test]
fn a_token_goes_before_a_login_and_one_that_is_refused_is_not_followed_by_one() {
    let Some(stack) = Stack::shared() else { return };
    let place = Place::new();
    let login = ["--oidc-device-flow", "--yes", "--oidc-issuer", NOBODY];
    let mut refused = place.sign(stack, &login);
    refused.env("GITHUB_ACTIONS", "true").env("ACTIONS_ID_TOKEN_REQUEST_URL", format!("{GITHUB}/token?x="));
    refused.env("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "another");
    let said = exits(refused, 4);
    assert!(said.contains("id-token: write"), "{said}");
    let other = stack.token(PEOPLE, "aud=another", place.0.root());
    exits(place.sign(stack, &[&login[..], &["--identity-token-file", &other]].concat()), 4);
    let token = stack.token(PEOPLE, "email=dev@example.com", place.0.root());
    let mut given = place.sign(stack, &login);
    given.env("SIGSTORE_ID_TOKEN", std::fs::read_to_string(token).expect("is there"));
    exits(given, 0);
    assert_eq!(place.signer(stack), Some(format!("dev@example.com ({PEOPLE})")));
}

#[test]
fn an_issuer_that_says_it_is_another_or_is_reached_in_the_clear_is_not_used() {
    let Some(stack) = Stack::shared() else { return };
    let place = Place::new();
    for (issuer, exit, why) in [
        ("http://localhost:13020", 6, "it says that it is http://127.0.0.1:13020"),
        ("http://127.0.0.1:13020/elsewhere", 6, "404"),
        ("http://accounts.example.com", 2, "neither https nor on this machine"),
    ] {
        let said = exits(place.sign(stack, &["--oidc-device-flow", "--yes", "--oidc-issuer", issuer]), exit);
        assert!(said.contains(why), "{issuer}: {said}");
    }
    assert_eq!(place.signer(stack), None);
}
