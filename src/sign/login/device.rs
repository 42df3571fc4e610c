//! Logging in on any device (RFC 8628): a code is shown here and typed in there.

use oauth2::{DeviceCodeErrorResponseType, StandardDeviceAuthorizationResponse};
use serde_json::json;
use sigstore_oidc::IdentityToken;

use super::issuer::{Failure, Issuer, secure};
use crate::error::{Error, Kind, Result};
use crate::limits;
use crate::ui::{Ui, printable};

/// Shows the code, and waits until somebody has typed it in.
pub(super) async fn token(issuer: &Issuer, ui: &Ui) -> Result<IdentityToken> {
    let client = issuer.client().set_device_authorization_url(issuer.device_address()?).set_token_uri(issuer.token_address());
    let http = issuer.http();
    let asked = client.exchange_device_code().add_scopes(Issuer::scopes()).request_async(&http).await;
    let code: StandardDeviceAuthorizationResponse = asked.map_err(|failure| issuer.failed(failure))?;
    show(issuer, &code, ui)?;
    let waiting = client.exchange_device_access_token(&code).request_async(&http, tokio::time::sleep, None);
    let answer = tokio::time::timeout(limits::LOGIN, waiting).await.map_err(|_| nobody(issuer))?;
    let answer = answer.map_err(|failure| match &failure {
        Failure::ServerResponse(said) => match said.error() {
            DeviceCodeErrorResponseType::AccessDenied => {
                Error::new(Kind::Denied, format!("the login was refused at {}", issuer.name())).hint("run the command again to log in anew")
            }
            DeviceCodeErrorResponseType::ExpiredToken => nobody(issuer),
            _ => issuer.failed(failure),
        },
        _ => issuer.failed(failure),
    })?;
    issuer.identity(&answer, None)
}

fn nobody(issuer: &Issuer) -> Error {
    Error::new(Kind::Timeout, format!("nobody has logged in at {} before the code was over", issuer.name()))
        .hint("run the command again: it shows a new code, and finishes what is left to do")
}

fn show(issuer: &Issuer, code: &StandardDeviceAuthorizationResponse, ui: &Ui) -> Result<()> {
    let (page, user_code) = (code.verification_uri().to_string(), printable(code.user_code().secret()));
    secure(&page)
        .map_err(|error| Error::new(Kind::Denied, format!("the issuer {} sends people to a strange page", issuer.name())).because(error))?;
    let minutes = code.expires_in().min(limits::LOGIN).as_secs().div_ceil(60);
    ui.notice(format!("  open     {page}\n  type in  {user_code}   (within {minutes} min, on any device)"));
    ui.event("login", json!({"issuer": issuer.name(), "url": page, "userCode": user_code, "minutes": minutes}));
    ui.waiting(&format!("somebody to type {user_code} in at {page}"));
    Ok(())
}
