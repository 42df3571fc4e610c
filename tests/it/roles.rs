//! The roles that `seatrial rbac` prints are enough for the run that they are printed for.

use std::path::PathBuf;

use crate::support::Bin;
use crate::support::cluster::{LeasedCluster, lease};

/// The administrator's kubeconfig, acting as someone who has no rights of their own.
fn kubeconfig_of(cluster: &LeasedCluster, user: &str) -> PathBuf {
    let text = std::fs::read_to_string(cluster.kubeconfig()).expect("a kubeconfig");
    let path = cluster.dir().join(format!("{user}.kubeconfig"));
    std::fs::write(&path, text.replace("\n  user:\n", &format!("\n  user:\n    as: {user}\n"))).expect("is written");
    path
}

fn run_as(kubeconfig: &std::path::Path, more: &[&str], code: i32) -> String {
    let settings = ["run", "conformance", "--recipe", "sim-h100", "--yes", "--out", "out", "--kubeconfig"];
    Bin::seatrial().args(settings).args([kubeconfig]).args(more).exits(code).stderr
}

#[tokio::test]
async fn the_printed_roles_are_enough_for_the_run_and_without_them_preflight_names_what_is_missing() {
    let cluster = lease().await;
    cluster.apply("apiVersion: v1\nkind: Namespace\nmetadata: {name: trials}");
    for (user, more) in [("in-trials", &["--namespace", "trials"][..]), ("anywhere", &[])] {
        let kubeconfig = kubeconfig_of(&cluster, user);
        let missing = run_as(&kubeconfig, more, 4);
        assert!(missing.contains("permissions are missing") && missing.contains("create pods in namespace"), "{missing}");
        let roles = Bin::seatrial().args(["rbac", "conformance", "--recipe", "sim-h100", "--user", user]).args(more).exits(0);
        cluster.apply(&roles.stdout);
        let said = run_as(&kubeconfig, more, 0);
        assert!(said.contains("14 of 14 tests passed"), "{said}");
    }
    assert_eq!(
        cluster.kubectl(&["get", "namespaces,leases,pods", "-A", "-l", "app.kubernetes.io/managed-by=seatrial", "-o", "name"]).trim(),
        ""
    );
}
