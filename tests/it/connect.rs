//! The way to the API server: through a proxy, and with a kubeconfig that is wrong.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::support::Bin;
use crate::support::cluster::{LeasedCluster, lease};

/// A real CONNECT proxy on this machine: whatever host is asked for, its port is looked for here. Its thread ends with the tests.
struct Proxy {
    address: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let seen = asked.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let seen = seen.clone();
                std::thread::spawn(move || serve(client, &seen));
            }
        });
        Self { address, asked }
    }

    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.lock().expect("is not poisoned"))
    }
}

/// Serves one tunnel; whatever goes wrong ends it.
fn serve(client: TcpStream, seen: &Mutex<Vec<String>>) -> Option<()> {
    let mut lines = BufReader::new(client.try_clone().ok()?);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if lines.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let authorization = head.lines().find_map(|line| line.strip_prefix("Proxy-Authorization: ")).unwrap_or_default();
    let host = head.strip_prefix("CONNECT ")?.split(' ').next()?;
    seen.lock().ok()?.push(format!("{host} {authorization}").trim().to_owned());
    let server = TcpStream::connect(("127.0.0.1", host.rsplit_once(':')?.1.parse::<u16>().ok()?)).ok()?;
    (&client).write_all(b"HTTP/1.1 200 OK\r\n\r\n").ok()?;
    let (from_server, to_client) = (server.try_clone().ok()?, client.try_clone().ok()?);
    std::thread::spawn(move || copy(from_server, to_client));
    copy(client, server);
    Some(())
}

fn copy(mut from: TcpStream, mut to: TcpStream) {
    let mut buffer = [0; 16 << 10];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        if to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    to.shutdown(Shutdown::Both).unwrap_or(());
}

/// A copy of the kubeconfig, changed.
fn kubeconfig(cluster: &LeasedCluster, bin: &Bin, change: impl Fn(&mut Value)) -> PathBuf {
    let own = cluster.kubectl(&["config", "view", "--raw", "--flatten", "--minify", "-o", "json"]);
    let mut config: Value = serde_json::from_str(&own).expect("is JSON");
    change(&mut config);
    let path = bin.folder().join("config");
    std::fs::write(&path, config.to_string()).expect("is written");
    path
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_server_is_reached_through_the_proxy_that_the_environment_or_the_kubeconfig_names() {
    let cluster = lease().await;
    let proxy = Proxy::start();
    // A name that nobody but the proxy knows.
    let far = |config: &mut Value| {
        let server = config["clusters"][0]["cluster"]["server"].as_str().expect("a server").to_owned();
        let port = server.rsplit_once(':').expect("a port").1.to_owned();
        let host = server.trim_start_matches("https://").rsplit_once(':').expect("a port").0.to_owned();
        config["clusters"][0]["cluster"]["server"] = json!(format!("https://cluster.invalid:{port}"));
        config["clusters"][0]["cluster"]["tls-server-name"] = json!(host);
    };
    let look = |change: &dyn Fn(&mut Value)| {
        let bin = Bin::seatrial();
        let config = kubeconfig(&cluster, &bin, change);
        bin.args(["snapshot", "-o", "s.json", "--kubeconfig"]).args([config])
    };
    let through = format!("http://me:it@{}", proxy.address);
    look(&far).env("HTTPS_PROXY", &through).exits(0);
    let asked = proxy.asked();
    assert!(
        asked.iter().all(|host| host.starts_with("cluster.invalid:") && host.ends_with("Basic bWU6aXQ=")) && !asked.is_empty(),
        "{asked:?}"
    );
    look(&|config: &mut Value| {
        far(config);
        config["clusters"][0]["cluster"]["proxy-url"] = json!(format!("http://{}", proxy.address));
    })
    .env("NO_PROXY", "*")
    .exits(0);
    assert!(!proxy.asked().is_empty());

    // NO_PROXY is about the server, not about the proxy; and this machine's own servers are never asked for by way of a proxy.
    let ran = look(&far).env("HTTPS_PROXY", &through).env("NO_PROXY", ".invalid").exits(6);
    assert!(ran.stderr.contains("cannot be resolved"), "{}", ran.stderr);
    look(&far).env("HTTPS_PROXY", &through).env("NO_PROXY", "127.0.0.1").exits(0);
    assert!(!proxy.asked().is_empty());
    look(&|_: &mut Value| {}).env("HTTPS_PROXY", &through).exits(0);
    assert_eq!(proxy.asked(), Vec::<String>::new());

    let closed = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    let ran = look(&far).env("HTTPS_PROXY", format!("http://me:hidden@{closed}")).exits(6);
    assert!(ran.stderr.contains(&format!("through proxy {closed}")) && !ran.stderr.contains("hidden"), "{}", ran.stderr);
    assert!(ran.stderr.contains("NO_PROXY"), "{}", ran.stderr);
    let ran = look(&far).env("HTTPS_PROXY", "socks5://me:hidden@x").exits(2);
    assert!(ran.stderr.contains("HTTPS_PROXY is no address of an HTTP proxy") && !ran.stderr.contains("hidden"), "{}", ran.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kubeconfig_that_is_wrong_is_told_what_is_wrong_with_it() {
    let cluster = lease().await;
    let port = |config: &Value| {
        config["clusters"][0]["cluster"]["server"].as_str().and_then(|server| server.rsplit_once(':')).expect("a port").1.to_owned()
    };
    type Change<'a> = &'a dyn Fn(&mut Value);
    let cases: [(Change<'_>, i32, &[&str]); 8] = [
        (&|config| config["users"][0]["name"] = json!("other"), 2, &["is for user", "users there: other"]),
        (&|config| config["clusters"][0]["name"] = json!("other"), 2, &["is for cluster", "clusters there: other"]),
        (&|config| config["contexts"] = json!([]), 2, &["no context"]),
        (
            &|config| config["users"][0]["user"] = json!({"client-certificate": "/nonexistent/c.pem", "client-key": "/nonexistent/k.pem"}),
            2,
            &["c.pem", "made on another machine"],
        ),
        (
            &|config| {
                let exec = json!({"apiVersion": "client.authentication.k8s.io/v1", "command": "no-such-login", "interactiveMode": "Never"});
                config["users"][0]["user"] = json!({"exec": exec});
            },
            4,
            &["takes credentials from `no-such-login`, which cannot be started", "install no-such-login"],
        ),
        (
            &|config| {
                let exec = json!({
                    "apiVersion": "client.authentication.k8s.io/v1", "command": "sh", "interactiveMode": "Never",
                    "args": ["-c", "echo hidden; echo 'session is over' >&2; exit 3"],
                });
                config["users"][0]["user"] = json!({"exec": exec});
            },
            4,
            &["`sh`, which should give credentials, ended with", "session is over", "log in again"],
        ),
        (&|config| config["users"][0]["user"] = json!({}), 4, &["gives no credentials"]),
        (
            &|config| {
                let here = format!("https://localhost:{}", port(config));
                config["clusters"][0]["cluster"] = json!({"server": here});
            },
            6,
            &["not from the authority in the kubeconfig"],
        ),
    ];
    for (change, code, words) in cases {
        let bin = Bin::seatrial();
        let config = kubeconfig(&cluster, &bin, change);
        let ran = bin.args(["preflight", "conformance", "--recipe", "sim-h100", "--kubeconfig"]).args([config]).ends();
        assert_eq!(ran.code, code, "{words:?}: {}", ran.stderr);
        assert!(!ran.stderr.contains("hidden"), "{}", ran.stderr);
        for word in words {
            assert!(ran.stderr.contains(word), "`{word}` is not in: {}", ran.stderr);
        }
    }
}
