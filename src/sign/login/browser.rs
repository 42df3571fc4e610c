//! Logging in by a browser on this machine: OAuth's authorization code with PKCE, whose answer comes to a port of this process.

use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};

use http::{Response, StatusCode, Uri, header};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use oauth2::url::form_urlencoded;
use oauth2::{AuthorizationCode, CsrfToken, PkceCodeChallenge, RedirectUrl};
use serde_json::json;
use sigstore_oidc::IdentityToken;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::issuer::Issuer;
use crate::error::{Context, Error, Kind, Result};
use crate::limits;
use crate::ui::{Ui, printable};

/// Where the issuer sends the browser back to; the host is spelt as Sigstore's issuers know it.
const PATH: &str = "/auth/callback";

/// Opens the issuer's page in a browser, and waits until the issuer has sent the browser back here.
pub(super) async fn token(issuer: &Issuer, ui: &Ui) -> Result<IdentityToken> {
    let doing = "listen on 127.0.0.1 for the browser's answer";
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context(doing)?;
    let port = listener.local_addr().context(doing)?.port();
    let back = RedirectUrl::new(format!("http://localhost:{port}{PATH}")).map_err(|error| Error::internal(doing).because(error))?;
    let client = issuer.client().set_auth_uri(issuer.browser_address()?).set_token_uri(issuer.token_address()).set_redirect_uri(back);
    let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
    let nonce = CsrfToken::new_random();
    let login = client.authorize_url(CsrfToken::new_random).add_scopes(Issuer::scopes()).set_pkce_challenge(challenge);
    let (page, state) = login.add_extra_param("nonce", nonce.secret().as_str()).url();
    ui.notice(format!("  open     {page}"));
    ui.event("login", json!({"issuer": issuer.name(), "url": page.as_str()}));
    ui.waiting(&format!("you to log in at {} in the browser", issuer.name()));
    let code = tokio::select! {
        code = tokio::time::timeout(limits::LOGIN, answer(listener, state.secret().as_str().into())) => code.map_err(|_| nobody(issuer))??,
        never = open(page.to_string(), ui) => match never {},
    };
    let http = issuer.http();
    let answer = client.exchange_code(AuthorizationCode::new(code)).set_pkce_verifier(verifier).request_async(&http).await;
    issuer.identity(&answer.map_err(|failure| issuer.failed(failure))?, Some(nonce.secret()))
}

fn nobody(issuer: &Issuer) -> Error {
    Error::new(Kind::Timeout, format!("nobody has logged in at {} within {} s", issuer.name(), limits::LOGIN.as_secs()))
        .hint("run the command again, and finish the login in the browser; --oidc-device-flow logs in on another machine")
}

/// Starts a browser: `BROWSER`, else the desktop's. It stays with the person whether that worked.
async fn open(page: String, ui: &Ui) -> Infallible {
    let mut options = webbrowser::BrowserOptions::new();
    options.with_suppress_output(true);
    // A browser for the terminal ends when the person has left it.
    let opened = tokio::task::spawn_blocking(move || webbrowser::open_browser_with_options(webbrowser::Browser::Default, &page, &options));
    if !opened.await.is_ok_and(|opened| opened.is_ok()) {
        ui.warn("no browser could be started: open the page yourself on this machine; --oidc-device-flow logs in on another one");
    }
    std::future::pending().await
}

/// Serves the port until a browser brings the answer: a code.
async fn answer(listener: TcpListener, state: Arc<str>) -> Result<String> {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if connections.len() < limits::LOGIN_CONNECTIONS => {
                let (stream, _) = accepted.context("take the browser's answer")?;
                connections.spawn(serve(stream, Arc::clone(&state)));
            }
            Some(served) = connections.join_next() => if let Ok(Some(answer)) = served { return answer },
        }
    }
}

/// Answers one request; hands out what it brought, if it came back from the issuer.
async fn serve(stream: TcpStream, state: Arc<str>) -> Option<Result<String>> {
    let brought = Mutex::new(None);
    let service = service_fn(async |request: http::Request<hyper::body::Incoming>| {
        let (status, text) = match judge(request.uri(), &state) {
            None => (StatusCode::NOT_FOUND, "There is nothing here."),
            Some(answer) => {
                let page = match &answer {
                    Ok(_) => (StatusCode::OK, "Go back to the terminal: seatrial has the issuer's answer. This page can be closed."),
                    Err(_) => (StatusCode::BAD_REQUEST, "The login did not succeed. The terminal says why."),
                };
                *brought.lock().unwrap_or_else(PoisonError::into_inner) = Some(answer);
                page
            }
        };
        let mut response = Response::new(format!("<!doctype html><title>seatrial</title><p>{text}</p>\n"));
        *response.status_mut() = status;
        response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("text/html; charset=utf-8"));
        Ok::<_, Infallible>(response)
    });
    let served =
        http1::Builder::new().keep_alive(false).max_buf_size(limits::LOGIN_REQUEST_BYTES).serve_connection(TokioIo::new(stream), service);
    // A browser that hangs up has brought its answer, or comes again.
    served.await.unwrap_or(());
    brought.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// What a request says: a code, or why there is none; nothing if it is not the issuer's answer at all.
fn judge(uri: &Uri, state: &str) -> Option<Result<String>> {
    if uri.path() != PATH {
        return None;
    }
    let said: Vec<(String, String)> = form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()).into_owned().collect();
    let value = |name: &str| said.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    let denied = |what: String| Some(Err(Error::new(Kind::Denied, what)));
    // Before anything else of it is believed.
    if value("state") != Some(state) {
        return denied("the browser brought the answer to another login (its state is not ours)".to_owned());
    }
    if let Some(error) = value("error") {
        let why = value("error_description").map(|why| format!(": {}", printable(why))).unwrap_or_default();
        return denied(format!("the login was refused by the issuer ({}{why})", printable(error)));
    }
    match value("code") {
        Some(code) => Some(Ok(code.to_owned())),
        None => denied("the browser came back from the issuer without a code".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_counts_with_our_state_only_and_its_words_cannot_steer_a_terminal() {
        let judge = |uri: &str| judge(&uri.parse().expect("an address"), "ours").map(|answer| answer.map_err(|error| error.to_string()));
        assert_eq!(judge("/favicon.ico"), None);
        assert_eq!(judge("/auth/callback?code=a%20b&state=ours"), Some(Ok("a b".to_owned())));
        for (uri, why) in [
            ("/auth/callback", "another login"),
            ("/auth/callback?code=a", "another login"),
            ("/auth/callback?code=a&state=", "another login"),
            ("/auth/callback?code=a&state=ours%20", "another login"),
            ("/auth/callback?error=access_denied&state=theirs", "another login"),
            ("/auth/callback?state=ours", "without a code"),
            ("/auth/callback?state=ours&code=a&error=access_denied&error_description=no%1b%5b31m", "access_denied: no\u{fffd}[31m"),
        ] {
            let error = judge(uri).expect("an answer").expect_err(uri);
            assert!(error.contains(why), "{uri}: {error}");
        }
    }

    #[tokio::test]
    async fn what_is_no_answer_is_not_taken_for_one_and_an_idle_connection_holds_nobody_up() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let waiting = tokio::spawn(answer(listener, "ours".into()));
        let idle = TcpStream::connect(address).await.expect("connects");
        let get = async |path: &str| {
            let answer = sigstore_sign::reqwest::get(format!("http://{address}{path}")).await.expect("an answer");
            answer.status().as_u16()
        };
        assert_eq!(get("/").await, 404);
        let mut endless = TcpStream::connect(address).await.expect("connects");
        let request = format!("GET /auth/callback?code=c&state=ours HTTP/1.1\r\nx: {}", "x".repeat(2 * limits::LOGIN_REQUEST_BYTES));
        // It is cut off, perhaps before it has been read.
        tokio::io::AsyncWriteExt::write_all(&mut endless, request.as_bytes()).await.unwrap_or(());
        assert!(!waiting.is_finished());
        assert_eq!(get("/auth/callback?code=c&state=ours").await, 200);
        assert_eq!(waiting.await.expect("ends").expect("a code"), "c");
        drop(idle);
    }
}
