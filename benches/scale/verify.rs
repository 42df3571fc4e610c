//! A local bundle that was signed without a key in a private Sigstore, verified by seatrial and by cosign, in turns.

use std::path::Path;
use std::process::Command;

use crate::registry_server::program;
use crate::sample::{Sample, Signed};
use crate::sigstore_stack::{PEOPLE, Stack, exits, said};
use crate::{Bounds, median, seatrial, time};

/// Runs of each, taken in turns; the middle one counts.
const RUNS: usize = 15;
const WHO: &str = "dev@example.com";
const TYPE: &str = "https://in-toto.io/attestation/test-result/v0.1";
/// Of cosign's time; it looks at one file of the bundle and at the signature.
const BOUND: f64 = 0.3;

pub(crate) fn run(bounds: &mut Bounds) {
    let (Some(cosign), Some(stack)) = (program("cosign"), Stack::shared()) else {
        bounds.seen("left out: there is no cosign, or no private Sigstore, on this machine");
        return;
    };
    bounds.progress("a bundle with a keyless signature");
    let signed = Signed::unsigned(&Sample::good().bundle());
    let token = stack.token(PEOPLE, &format!("email={WHO}"), signed.root());
    let (config, root) = (stack.signing_config(), stack.trusted_root());
    let folder = signed.bundle().display().to_string();
    let mut sign = stack.seatrial(&["evidence", "sign", &folder, "--identity-token-file", &token, "--signing-config", &config]);
    sign.args(["--trusted-root", &root]);
    exits(sign, 0);
    let ours = |who: &str| {
        let mut command = seatrial();
        command.args(["evidence", "verify", &folder, "--trusted-root", &root]).args(by(who));
        command
    };
    let theirs = |who: &str| cosign_of(&cosign, &root, &signed.bundle(), who);
    // Both verify it, and neither for anybody else.
    for command in [&ours as &dyn Fn(&str) -> Command, &theirs] {
        exits(command(WHO), 0);
        let refused = command("eve@example.com").output().expect("starts");
        assert!(!refused.status.success(), "{}", said(&refused));
    }
    let (mut our_times, mut their_times) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        our_times.push(time(&mut ours(WHO)));
        their_times.push(time(&mut theirs(WHO)));
    }
    let (ours, theirs) = (median(our_times).as_secs_f64(), median(their_times).as_secs_f64());
    bounds.seen(&format!("evidence verify {:.1} ms, cosign verify-blob-attestation {:.1} ms", ours * 1000.0, theirs * 1000.0));
    bounds.check("a local bundle verified, beside cosign", ours / theirs, BOUND, "×");
}

fn by(who: &str) -> [&str; 4] {
    ["--certificate-identity", who, "--certificate-oidc-issuer", PEOPLE]
}

fn cosign_of(cosign: &Path, root: &str, bundle: &Path, who: &str) -> Command {
    let mut command = Command::new(cosign);
    command.env_clear().env("HOME", bundle.parent().unwrap_or(bundle));
    command.args(["verify-blob-attestation", "--trusted-root", root, "--type", TYPE, "--bundle"]);
    command.arg(bundle.join("signature.sigstore.json")).args(by(who)).arg(bundle.join("manifest.json"));
    command
}
