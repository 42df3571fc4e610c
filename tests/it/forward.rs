//! HTTP to a port of a pod, through the API server's port-forward.

use seatrial::cluster::{Cluster, ObjectRef, Target};
use seatrial::error::Kind;

use crate::support::cluster::{LeasedCluster, lease};
use crate::support::pod_server::PodServer;

/// A simulated pod that runs, with nothing behind its ports yet.
fn pod(cluster: &LeasedCluster, name: &str) -> ObjectRef {
    cluster.apply(&format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: default}}\nspec:\n  nodeName: sim-node-1\n  \
         tolerations: [{{operator: Exists}}]\n  containers: [{{name: c, image: registry.k8s.io/pause:3.10}}]\n"
    ));
    cluster.kubectl(&["wait", "pod", name, "-n", "default", "--for=condition=Ready", "--timeout=30s"]);
    ObjectRef::new("v1", "Pod", Some("default"), name)
}

async fn connected(cluster: &LeasedCluster) -> Cluster {
    Cluster::connect(&Target { kubeconfig: Some(cluster.kubeconfig()), context: None }).await.expect("connects")
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_go_to_a_port_of_a_pod_one_after_another_and_any_status_is_an_answer() {
    let cluster = lease().await;
    let web = pod(&cluster, "web");
    let server = PodServer::start(|seen| match seen.path.as_str() {
        "/large" => (200, vec![b'x'; 3 << 20]),
        "/none" => (404, b"not here".to_vec()),
        "/endless" => (200, vec![b'x'; 17 << 20]),
        _ => (200, format!("{} {} for {}: {}", seen.method, seen.path, seen.host, seen.body).into_bytes()),
    });
    server.behind(&cluster, "default", "web", 8080);
    let connected = connected(&cluster).await;
    let first = connected.forward_get(&web, 8080, "/first?a=b").await.expect("answers");
    assert_eq!((first.status.as_u16(), first.text()), (200, "GET /first?a=b for localhost: ".to_owned()));
    let mut way = connected.forward(&web, 8080);
    let large = way.get("/large").await.expect("answers");
    assert!(large.body.len() == 3 << 20 && large.body.iter().all(|byte| *byte == b'x'));
    assert_eq!(way.get("/none").await.expect("answers").text(), "not here");
    let post = http::Request::post("/kept").header("host", "example.test").body(b"said".to_vec()).expect("is well-formed");
    assert_eq!(way.send(post).await.expect("answers").text(), "POST /kept for example.test: said");
    let long = way.get("/endless").await.expect_err("is too long");
    assert!(long.kind() == Kind::Integrity && long.chain().contains("longer than 16 MiB"), "{}", long.chain());
    // What was left of it is not the next answer.
    assert_eq!(way.get("/none").await.expect("answers").text(), "not here");
    assert_eq!(server.seen().len(), 6, "each request was sent once: {:?}", server.seen());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_nobody_listens_on_a_pod_that_is_gone_and_a_user_who_may_not_are_named() {
    let cluster = lease().await;
    let web = pod(&cluster, "web");
    let connected = connected(&cluster).await;
    let closed = connected.forward(&web, 8081).get("/").await.expect_err("nobody listens");
    assert_eq!(closed.kind(), Kind::Unavailable, "{}", closed.chain());
    assert!(closed.chain().contains("GET / from port 8081 of pod default/web: "), "{}", closed.chain());
    assert!(closed.chain().contains("no forward found for port 8081"), "the node's own words: {}", closed.chain());
    assert!(closed.hints().iter().any(|hint| hint.contains("kubectl describe pod web")), "{:?}", closed.hints());
    let gone = ObjectRef::new("v1", "Pod", Some("default"), "gone");
    let gone = connected.forward_get(&gone, 8080, "/").await.expect_err("is not there");
    assert_eq!(gone.kind(), Kind::NotFound, "{}", gone.chain());

    cluster.apply("apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: nobody, namespace: default}\n");
    let token = cluster.kubectl(&["create", "token", "nobody", "--namespace", "default"]);
    let own = cluster.kubectl(&["config", "view", "--raw", "--flatten", "--minify", "-o", "json"]);
    let mut config: serde_json::Value = serde_json::from_str(&own).expect("is JSON");
    config["users"][0]["user"] = serde_json::json!({"token": token.trim()});
    let folder = tempfile::tempdir().expect("a temporary directory");
    let file = folder.path().join("kubeconfig");
    std::fs::write(&file, config.to_string()).expect("is written");
    let nobody = Cluster::connect(&Target { kubeconfig: Some(file), context: None }).await.expect("connects");
    let denied = nobody.forward_get(&web, 8081, "/").await.expect_err("may not");
    assert!(denied.kind() == Kind::Denied && denied.chain().contains("pods/portforward"), "{}", denied.chain());
}
