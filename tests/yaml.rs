//! YAML means what Go makes of it, and no document makes a reader panic, hang or take more memory than stated.

#[path = "yaml/differences.rs"]
mod differences;
#[path = "yaml/fuzz.rs"]
mod fuzz;
#[path = "yaml/hostile.rs"]
mod hostile;
#[path = "yaml/meaning.rs"]
mod meaning;
#[path = "support/measure.rs"]
mod measure;
#[path = "yaml/mutate.rs"]
mod mutate;

/// Waits until something holds, looking every few milliseconds.
#[track_caller]
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while !holds() {
        assert!(std::time::Instant::now() < deadline, "{what}: not seen within a minute");
        std::thread::yield_now();
    }
}

/// Says that a test is left out because of what this machine is; with `SEATRIAL_TEST_REQUIRE=all` that is a failure.
#[track_caller]
#[expect(clippy::print_stderr, reason = "a test that is left out says so")]
fn left_out(why: &str) {
    assert_ne!(std::env::var("SEATRIAL_TEST_REQUIRE").as_deref(), Ok("all"), "left out, and everything is required: {why}");
    eprintln!("left out: {why}");
}
