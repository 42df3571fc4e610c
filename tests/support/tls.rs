//! TLS in front of a plain server of this machine, with a certificate of its own.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

/// A relay that runs until it is dropped.
pub(crate) struct TlsRelay {
    /// The port on 127.0.0.1, which is localhost too.
    pub(crate) port: u16,
    /// The certificate, PEM.
    pub(crate) certificate: String,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl TlsRelay {
    /// Starts a relay to a server given as host and port.
    pub(crate) fn start(upstream: &str) -> Self {
        let made = rcgen::generate_simple_self_signed(["localhost", "127.0.0.1"].map(str::to_owned)).expect("a certificate");
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .expect("a configuration");
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let upstream = upstream.to_owned();
        let (stop, stopped) = oneshot::channel();
        let (ready, port) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.expect("a free port");
                ready.send(listener.local_addr().expect("an address").port()).expect("the test waits");
                tokio::select! {
                    () = serve(listener, acceptor, upstream) => {}
                    _ = stopped => {}
                }
            });
            runtime.shutdown_background();
        });
        Self { port: port.recv().expect("the relay starts"), certificate: made.cert.pem(), stop: Some(stop), thread: Some(thread) }
    }
}

async fn serve(listener: TcpListener, acceptor: TlsAcceptor, upstream: String) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let (acceptor, upstream) = (acceptor.clone(), upstream.clone());
        tokio::spawn(async move {
            // A client that does not trust the certificate goes away here.
            let Ok(mut stream) = acceptor.accept(stream).await else { return };
            let Ok(mut server) = TcpStream::connect(upstream).await else { return };
            let _ = tokio::io::copy_bidirectional(&mut stream, &mut server).await;
        });
    }
}

impl Drop for TlsRelay {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic in the relay has been printed; a second one here would hide the test's own.
            let _ = thread.join();
        }
    }
}
