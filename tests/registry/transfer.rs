//! Large blobs on their way: all at once where that gets through, in pieces where it does not, counted as they go.

use std::fs::File;
use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use seatrial::digest::Digest;
use seatrial::error::Kind;
use seatrial::registry::{Meter, Moved, Options};

use crate::fault_proxy::{Fault, FaultProxy, Rule};
use crate::registry_server::{Flavour, RegistryServer};
use crate::{on_each, open, open_with};

/// More than two pieces.
const LARGE: usize = 9_000_001;

fn large() -> (Digest, Arc<File>) {
    let bytes: Vec<u8> = (0..LARGE).map(|number| (number % 251) as u8).collect();
    let mut file = tempfile::tempfile().expect("a file");
    file.write_all(&bytes).expect("is written");
    (Digest::of(&bytes), Arc::new(file))
}

fn methods(proxy: &FaultProxy) -> Vec<String> {
    proxy.seen().into_iter().map(|seen| seen.method).collect()
}

/// Options of somebody who watches, and all that is seen.
fn watched() -> (Options, Arc<Mutex<Vec<Moved>>>) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let told = seen.clone();
    let meter = Meter::new(move |moved| told.lock().expect("nobody panicked").push(moved));
    (Options { meter, ..Options::default() }, seen)
}

#[tokio::test]
async fn a_large_blob_goes_at_once_to_every_registry() {
    on_each(Flavour::OPEN, |server, flavour| async move {
        let proxy = FaultProxy::start(&server.address);
        let (digest, file) = large();
        open(&proxy.address).push_file(&digest, &file, LARGE as u64).await.expect("is pushed");
        assert_eq!(methods(&proxy), ["HEAD", "POST", "PUT"], "{flavour:?}");
        open(&server.address).check_blob(&digest, LARGE as u64).await.expect("is there, whole");
    })
    .await;
}

#[tokio::test]
async fn a_large_blob_that_does_not_get_through_at_once_goes_in_pieces() {
    for fault in [Fault::Status(413), Fault::Cut] {
        on_each(&[Flavour::Native, Flavour::Docker], |server, flavour| {
            let fault = fault.clone();
            async move {
                let proxy = FaultProxy::start(&server.address);
                proxy.inject(Rule::new(fault.clone()).on("PUT", "/uploads/").times(1));
                let (digest, file) = large();
                open(&proxy.address).push_file(&digest, &file, LARGE as u64).await.expect("is pushed");
                assert_eq!(methods(&proxy), ["HEAD", "POST", "PUT", "POST", "PATCH", "PATCH", "PUT"], "{flavour:?} {fault:?}");
                open(&server.address).check_blob(&digest, LARGE as u64).await.expect("is there, whole");
            }
        })
        .await;
    }
}

#[tokio::test]
async fn what_goes_is_counted_and_what_has_to_go_again_is_not_counted_twice() {
    let Some(server) = RegistryServer::start(Flavour::Native) else { return };
    let proxy = FaultProxy::start(&server.address);
    proxy.inject(Rule::new(Fault::Cut).on("PUT", "/uploads/").times(1));
    proxy.inject(Rule::new(Fault::CutAfterHeaders).on("GET", "/blobs/").times(1));
    let (digest, file) = large();
    let size = LARGE as u64;
    let (options, seen) = watched();
    let registry = open_with(&proxy.address, options);
    registry.meter().expect(2 * size);
    registry.push_file(&digest, &file, size).await.expect("is pushed");
    let last = |seen: &Mutex<Vec<Moved>>| *seen.lock().expect("nobody panicked").last().expect("something was seen");
    assert_eq!(last(&seen), Moved { done: size, total: 2 * size });
    registry.get_blob(&digest, size).await.expect("is fetched");
    assert_eq!(last(&seen), Moved { done: 2 * size, total: 2 * size });
    let steps = seen.lock().expect("nobody panicked").len();
    assert!(steps > 20, "it was told {steps} times");

    // What is there already counts as gone.
    let (options, seen) = watched();
    open_with(&server.address, options).push_file(&digest, &file, size).await.expect("is there");
    assert_eq!(last(&seen).done, size);
}

#[tokio::test]
async fn a_file_that_has_become_shorter_is_named_as_the_trouble() {
    let Some(server) = RegistryServer::start(Flavour::Native) else { return };
    let (digest, file) = large();
    file.set_len(1000).expect("is ours");
    let error = open(&server.address).push_file(&digest, &file, LARGE as u64).await.expect_err("is not whole");
    assert_eq!(error.kind(), Kind::Io, "{}", error.chain());
    assert!(error.hints()[0].contains("leave the bundle alone"), "{:?}", error.hints());
}

#[tokio::test]
async fn a_registry_that_takes_nothing_any_more_is_a_timeout() {
    let Some(server) = RegistryServer::start(Flavour::Native) else { return };
    let proxy = FaultProxy::start(&server.address);
    proxy.inject(Rule::new(Fault::Silence).on("PUT", "/uploads/"));
    let options = Options { read_timeout: Duration::from_millis(500), ..Options::default() };
    let (digest, file) = large();
    let error = open_with(&proxy.address, options).push_file(&digest, &file, LARGE as u64).await.expect_err("is silent");
    assert_eq!(error.kind(), Kind::Timeout, "{}", error.chain());
}
