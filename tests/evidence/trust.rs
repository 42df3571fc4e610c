//! Updating a trusted root by TUF, from repositories that are honest and from such as are not: what was there stays.

use std::process::Command;

use seatrial::trust::Root;

use crate::sigstore_stack::{Stack, TUF, exits};

/// A repository, and somebody who has its first root.
struct Place<'a> {
    stack: &'a Stack,
    name: &'static str,
    folder: tempfile::TempDir,
}

impl<'a> Place<'a> {
    fn new(stack: &'a Stack, name: &'static str) -> Self {
        let place = Self { stack, name, folder: tempfile::tempdir().expect("a directory") };
        std::fs::write(place.folder.path().join("root.json"), place.acts("new")).expect("is written");
        place
    }

    /// What its owners, or whoever stands in between, do with the repository.
    fn acts(&self, action: &str) -> Vec<u8> {
        self.stack.get(&format!("{TUF}/do/{}/{action}", self.name))
    }

    fn update_from(&self, url: &str) -> Command {
        let mut command = self.stack.seatrial(&["trust", "update", "--mirror", url, "--root", "root.json", "-o", "trusted_root.json"]);
        command.current_dir(self.folder.path()).env("HOME", self.folder.path());
        command
    }

    #[track_caller]
    fn updates(&self, code: i32) -> String {
        exits(self.update_from(&format!("{TUF}/{}", self.name)), code)
    }

    fn kept(&self) -> Option<Vec<u8>> {
        std::fs::read(self.folder.path().join("trusted_root.json")).ok()
    }
}

#[test]
fn a_root_is_updated_from_an_honest_repository_also_after_its_keys_have_changed() {
    let Some(stack) = Stack::shared() else { return };
    let place = Place::new(stack, "honest");
    let real = std::fs::read(stack.trusted_root()).expect("is there");
    for action in ["new", "next", "rotate", "next"] {
        if action != "new" {
            place.acts(action);
        }
        std::fs::remove_file(place.folder.path().join("trusted_root.json")).unwrap_or(());
        place.updates(0);
        assert_eq!(place.kept().as_deref(), Some(real.as_slice()), "{action}");
    }
    let root = Root::with_files(&[place.folder.path().join("trusted_root.json")]).expect("reads").show().expect("is shown");
    assert_eq!(root[0].logs[0].address, "https://rekor.local");
    // Who has never been there before comes to the same, from the first root on.
    std::fs::remove_dir_all(place.folder.path().join(".local")).expect("is removed");
    place.updates(0);
}

#[test]
fn what_a_repository_must_not_give_is_refused_for_its_reason_and_what_was_there_stays() {
    let Some(stack) = Stack::shared() else { return };
    let cases = [
        ("back", 21, "older than what was seen"),
        ("expire", 12, "timestamp metadata expired"),
        ("forge", 20, "threshold not met for role timestamp"),
        ("usurp", 20, "threshold not met for role root"),
        ("endless", 6, "exceeds max"),
        ("swap", 21, "something else than what is signed"),
        ("nonsense", 22, "is not a Sigstore trusted root"),
    ];
    for (action, exit, why) in cases {
        let place = Place::new(stack, action);
        place.acts("next");
        place.updates(0);
        let kept = place.kept();
        assert!(kept.is_some());
        place.acts(action);
        // What is remembered of the target would do otherwise.
        std::fs::remove_dir_all(remembered(&place).join("targets")).unwrap_or(());
        let said = place.updates(exit);
        assert!(said.contains(why) && said.contains("verification goes on with the root that is there"), "{action}: {said}");
        assert_eq!(place.kept(), kept, "{action}");
    }
}

/// Where a place keeps what it has seen of its repository.
fn remembered(place: &Place) -> std::path::PathBuf {
    let folder = place.folder.path().join(".local/share/seatrial/trust");
    std::fs::read_dir(folder).expect("is there").next().expect("one").expect("an entry").path()
}

#[test]
fn who_reaches_no_repository_or_has_another_ones_root_keeps_what_is_there() {
    let Some(stack) = Stack::shared() else { return };
    let place = Place::new(stack, "reached");
    place.updates(0);
    let kept = place.kept();
    let said = exits(place.update_from("http://127.0.0.1:9"), 6);
    assert!(said.contains("does not give its trusted root"), "{said}");
    let other = Place::new(stack, "another");
    std::fs::copy(other.folder.path().join("root.json"), place.folder.path().join("root.json")).expect("is copied");
    std::fs::remove_dir_all(place.folder.path().join(".local")).expect("is removed");
    place.updates(20);
    std::fs::write(place.folder.path().join("root.json"), "{}").expect("is written");
    place.updates(22);
    assert_eq!(place.kept(), kept);
}
