//! Documents over https, from a real server with a certificate of its own that also misbehaves.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures::StreamExt;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use reqwest::Url;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::net::TcpListener;

use super::web::{Options, fetch};
use crate::error::{Error, Kind};

type Body = UnsyncBoxBody<Bytes, Infallible>;

/// A server on 127.0.0.1; ends with the runtime of its test.
struct Server {
    port: u16,
    authority: reqwest::Certificate,
    asked: Arc<AtomicUsize>,
}

impl Server {
    async fn start() -> Self {
        let names = ["localhost", "127.0.0.1", "127.0.0.2"].map(str::to_owned);
        let made = rcgen::generate_simple_self_signed(names).expect("a certificate");
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
        let config = rustls::ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .expect("a configuration");
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let asked = Arc::new(AtomicUsize::new(0));
        let counter = asked.clone();
        tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else { return };
                let (acceptor, counter) = (acceptor.clone(), counter.clone());
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let service = service_fn(move |request: Request<Incoming>| {
                        let number = counter.fetch_add(1, Ordering::SeqCst);
                        async move { Ok::<_, Infallible>(answer(&request, number, port).await) }
                    });
                    let served = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                    drop(served);
                });
            }
        });
        let authority = reqwest::Certificate::from_der(made.cert.der()).expect("a certificate");
        Self { port, authority, asked }
    }

    fn url(&self, path: &str) -> Url {
        Url::parse(&format!("https://127.0.0.1:{}{path}", self.port)).expect("an address")
    }

    fn options(&self) -> Options {
        Options { total: Duration::from_secs(20), silence: Duration::from_millis(300), authority: Some(self.authority.clone()) }
    }

    async fn fails(&self, path: &str) -> Error {
        fetch(&self.url(path), 100, &self.options()).await.expect_err(path)
    }

    fn asked(&self) -> usize {
        self.asked.swap(0, Ordering::SeqCst)
    }
}

fn full(text: impl Into<Bytes>) -> Body {
    Full::new(text.into()).boxed_unsync()
}

async fn answer(request: &Request<Incoming>, number: usize, port: u16) -> Response<Body> {
    let respond = |status: u16, body: Body| Response::builder().status(status).body(body).expect("an answer");
    let lead = |to: String| Response::builder().status(302).header("location", to).body(full("")).expect("an answer");
    match request.uri().path() {
        "/document" => respond(200, full("a: 1\n")),
        "/empty" => respond(200, full("")),
        "/missing" => respond(404, full("<html>no</html>")),
        "/login" => respond(401, full("")),
        "/trouble" => respond(500, full("")),
        "/moody" => respond(if number == 0 { 503 } else { 200 }, full("at last")),
        "/huge" => respond(200, full(vec![b'x'; 4000])),
        "/endless" => {
            let pieces = futures::stream::repeat_with(|| Ok(Frame::data(Bytes::from_static(&[b'x'; 64]))));
            respond(200, StreamBody::new(pieces).boxed_unsync())
        }
        "/silent" => std::future::pending().await,
        "/dripping" => {
            let pieces = futures::stream::unfold((), |()| async {
                let mut tick = tokio::time::interval(Duration::from_millis(100));
                tick.tick().await;
                tick.tick().await;
                Some((Ok(Frame::data(Bytes::from_static(b"x"))), ()))
            });
            respond(200, StreamBody::new(pieces.boxed()).boxed_unsync())
        }
        "/loop" => lead("/loop".to_owned()),
        "/once" => lead("/document".to_owned()),
        "/downgrade" => lead(format!("http://127.0.0.1:{port}/document")),
        "/to-loopback" => lead(format!("https://127.0.0.2:{port}/document")),
        "/to-localhost" => lead(format!("https://localhost:{port}/document")),
        "/to-metadata" => lead("https://169.254.169.254/latest/meta-data/".to_owned()),
        other => respond(418, full(other.to_owned())),
    }
}

#[tokio::test]
async fn a_document_is_read_from_the_host_that_was_named_also_behind_a_redirect() {
    let server = Server::start().await;
    for path in ["/document", "/once"] {
        assert_eq!(fetch(&server.url(path), 100, &server.options()).await.expect(path), b"a: 1\n");
    }
    // A name that was given, and is this machine by its very name.
    let named = Url::parse(&format!("https://localhost:{}/document", server.port)).expect("an address");
    assert_eq!(fetch(&named, 100, &server.options()).await.expect("is read"), b"a: 1\n");
}

#[tokio::test]
async fn a_certificate_that_nobody_trusts_is_refused_and_the_hint_says_how_to_trust_it() {
    let server = Server::start().await;
    let error = fetch(&server.url("/document"), 100, &Options { authority: None, ..server.options() }).await.expect_err("refused");
    assert_eq!(error.kind(), Kind::Unavailable);
    assert!(error.chain().contains("certificate is not trusted") && error.hints()[0].contains("SSL_CERT_FILE"), "{}", error.chain());
    assert_eq!(server.asked(), 0);
}

#[tokio::test]
async fn redirects_to_plain_http_to_private_addresses_and_in_circles_are_refused_before_they_are_followed() {
    let server = Server::start().await;
    for (path, says) in [
        ("/downgrade", "which is not https"),
        ("/to-loopback", "not on the public internet"),
        ("/to-localhost", "not on the public internet"),
        ("/to-metadata", "not on the public internet"),
    ] {
        let error = server.fails(path).await;
        assert_eq!(error.kind(), Kind::Usage, "{}", error.chain());
        assert!(error.chain().contains(says) && error.hints()[0].contains("curl"), "{path}: {}", error.chain());
        assert_eq!(server.asked(), 1, "{path} was followed");
    }
    let error = server.fails("/loop").await;
    assert!(error.chain().contains("more than 5 times"), "{}", error.chain());
    assert_eq!(server.asked(), 6);
}

#[tokio::test]
async fn what_is_too_large_is_refused_whether_it_says_so_or_never_ends() {
    let server = Server::start().await;
    for path in ["/huge", "/endless"] {
        let error = server.fails(path).await;
        assert_eq!(error.kind(), Kind::Usage);
        assert!(error.chain().contains("more than 100 bytes"), "{}", error.chain());
    }
    assert!(server.fails("/empty").await.chain().contains("is empty"));
}

#[tokio::test]
async fn a_server_that_says_nothing_or_drips_ends_in_time() {
    let server = Server::start().await;
    let began = Instant::now();
    assert_eq!(server.fails("/silent").await.kind(), Kind::Timeout);
    let options = Options { total: Duration::from_secs(1), ..server.options() };
    let error = fetch(&server.url("/dripping"), 1000, &options).await.expect_err("too slow");
    assert_eq!(error.kind(), Kind::Timeout);
    assert!(error.chain().contains("not read within 1 s"), "{}", error.chain());
    assert!(began.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn statuses_are_told_apart_and_only_transient_ones_are_tried_again() {
    let server = Server::start().await;
    for (path, kind, asked) in
        [("/missing", Kind::NotFound, 1), ("/login", Kind::Denied, 1), ("/trouble", Kind::Unavailable, 3), ("/teapot", Kind::Usage, 1)]
    {
        let error = server.fails(path).await;
        assert_eq!((error.kind(), server.asked()), (kind, asked), "{}", error.chain());
        assert!(
            error.chain().contains(&format!("https://127.0.0.1:{}{path}", server.port)) && !error.hints().is_empty(),
            "{}",
            error.chain()
        );
    }
    assert_eq!(fetch(&server.url("/moody"), 100, &server.options()).await.expect("the second time"), b"at last");
}

#[tokio::test]
async fn a_server_that_is_not_there_and_secrets_in_the_address_are_told_without_the_secrets() {
    let url = Url::parse("https://me:hidden@127.0.0.1:1/r.yaml?token=hidden").expect("an address");
    let error = fetch(&url, 100, &Options::default()).await.expect_err("nobody listens");
    assert_eq!(error.kind(), Kind::Unavailable);
    assert!(!error.chain().contains("hidden") && error.chain().contains("https://127.0.0.1:1/r.yaml"), "{}", error.chain());
}
