//! A byte of a signature changed, a file too many, a file too few: each is caught, with the right kind. Every field: `fields.rs`.

use seatrial::error::Kind;
use seatrial::evidence::sigstore::{Claim, Envelope};
use seatrial::evidence::{SIGNATURE, directory};

use crate::sample::{Sample, ended};

#[tokio::test]
async fn one_changed_byte_in_the_signature_is_a_wrong_signature_or_no_signature_at_all() {
    let signed = Sample::good().signed();
    let path = signed.bundle().join(SIGNATURE);
    let good = std::fs::read(&path).expect("is there");
    for place in (0..good.len()).step_by(61) {
        let mut bad = good.clone();
        bad[place] ^= 1;
        std::fs::write(&path, bad).expect("is written");
        let verification = signed.verify().await;
        let (stage, code) = ended(&verification);
        assert!(stage == "signature" && matches!(code, 20 | 22), "{stage} {code} at {place}");
        assert!(verification.report.verified.is_none());
    }
}

#[test]
fn no_byte_of_a_signature_can_change_without_being_noticed() {
    let signed = Sample::good().signed();
    let good = std::fs::read(signed.bundle().join(SIGNATURE)).expect("is there");
    let key = signed.key();
    let accepted = |bytes: &[u8]| {
        let envelope = Envelope::parse(bytes).map_err(|error| error.kind())?;
        envelope.verify(&key).map_err(|error| error.kind())?;
        Ok::<bool, Kind>(*envelope.claim() == Claim::Key(key.id()))
    };
    assert_eq!(accepted(&good), Ok(true));
    for place in 0..good.len() {
        let mut bad = good.clone();
        bad[place] ^= 1;
        assert_ne!(accepted(&bad), Ok(true), "byte {place}: {}", String::from_utf8_lossy(&good[place.saturating_sub(20)..=place]));
    }
}

#[tokio::test]
async fn a_missing_an_extra_and_a_linked_file_are_integrity_errors() {
    for name in Sample::good().bundle().files().keys() {
        let signed = Sample::good().signed();
        let path = signed.bundle().join(name);
        let outside = signed.root().join("outside");
        std::fs::rename(&path, &outside).expect("is moved");
        assert_eq!(signed.verify().await.exit.code(), 21, "without {}", path.display());
        std::os::unix::fs::symlink(&outside, &path).expect("is linked");
        assert_eq!(ended(&signed.verify().await), ("fetch".to_owned(), 21), "{} as a link", path.display());
    }
    for extra in ["extra.json", "ctrf/extra.json", ".hidden", "signature.sigstore.json.bak", "deep/er/file"] {
        let signed = Sample::good().signed();
        let path = signed.bundle().join(extra);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("is made");
        std::fs::write(&path, "{}").expect("is written");
        assert_eq!(ended(&signed.verify().await), ("manifest".to_owned(), 21), "with {extra}");
    }
}

#[tokio::test]
async fn the_signature_of_another_bundle_is_no_good() {
    let signed = Sample::good().signed();
    let mut other = Sample::good();
    other.report.run = "another".to_owned();
    let other = other.bundle();
    let signature = signed.sign(&other.statement().expect("a statement"));
    directory::write_signature(&signed.bundle(), &signature).expect("is written");
    assert_eq!(ended(&signed.verify().await), ("manifest".to_owned(), 21));
}

#[tokio::test]
async fn a_signed_payload_that_is_no_statement_of_ours_is_a_schema_error() {
    let signed = Sample::good().signed();
    let good = String::from_utf8(Sample::good().bundle().statement().expect("a statement")).expect("text");
    let other_type = good.replace("test-result/v0.1", "test-result/v9");
    let other_statement = good.replace("in-toto.io/Statement/v1", "in-toto.io/Statement/v9");
    let surprise = good.replace("\"passedTests\"", "\"surprise\":1,\"passedTests\"");
    for payload in ["", "{}", "[]", &other_type, &other_statement, &surprise] {
        let signature = signed.sign(payload.as_bytes());
        directory::write_signature(&signed.bundle(), &signature).expect("is written");
        assert_eq!(ended(&signed.verify().await), ("signature".to_owned(), 22), "{payload}");
    }
}
