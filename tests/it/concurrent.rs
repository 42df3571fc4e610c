//! Two runs at once in one cluster.

use crate::support::cluster::lease;
use crate::support::runs::Workplace;

#[tokio::test(flavor = "multi_thread")]
async fn two_runs_at_once_are_both_right_and_neither_cleans_up_the_other() {
    let cluster = lease().await;
    let Some(place) = Workplace::new(&cluster) else { return };
    let run = |out| place.start(&["run", "conformance", "--recipe", "sim-h100", "--out", out]);
    let (first, second) = (run("first"), run("second"));
    first.exits(0);
    second.exits(0);
    for out in ["first", "second"] {
        place.assert_all_passed(out);
        place.assert_nothing_repeated(out);
    }
    assert_eq!(place.results("first")["snapshot"], place.results("second")["snapshot"], "neither is in the other's snapshot");
    assert_eq!(cluster.left(), "");
}
