//! Turns a client error into our kinds: refused, not there, taken, out of reach, too slow.

use crate::error::{Error, Kind};

/// Names the kind of a client error; `doing` is what was being done, to which object.
pub(super) fn explain(error: kube::Error, doing: &str) -> Error {
    let kind = kind_of(&error);
    let message = match &error {
        kube::Error::Api(status) => format!("{doing}: the API server answers {} {}: {}", status.code, status.reason, status.message),
        other => format!("{doing}: {}", root_cause(other)),
    };
    let explained = Error::new(kind, message);
    match kind {
        Kind::Denied if is_unauthorized(&error) => {
            explained.hint("the credentials of this kubeconfig context are not accepted: renew them")
        }
        Kind::Denied if is_anonymous(&error) => {
            explained.hint("the kubeconfig context gives no credentials that the API server knows: does its `user` have any?")
        }
        Kind::Denied => explained.hint("`seatrial rbac` prints the roles that a run needs"),
        Kind::Unavailable => {
            let hint = way_hint(&explained.chain());
            explained.hint(hint)
        }
        _ => explained,
    }
}

/// The error for a request that did not end in time.
pub(super) fn too_slow(doing: &str, limit: std::time::Duration) -> Error {
    Error::new(Kind::Timeout, format!("{doing}: no answer within {} s", limit.as_secs_f32()))
}

/// True if trying again may help. One request that got no answer in its time is long enough for a person who waits.
pub(super) fn is_transient(error: &Error) -> bool {
    error.kind() == Kind::Unavailable
}

/// What to look at when a server cannot be talked to, by the cause that the layers below name.
fn way_hint(cause: &str) -> &'static str {
    let has = |words: &str| cause.contains(words);
    if has("certificate expired") {
        "the API server's certificate has expired, or this machine's clock is wrong"
    } else if has("not valid for name") || has("NotValidForName") {
        "the API server's certificate is for another name: use the name that is in it, or `tls-server-name` in the kubeconfig"
    } else if has("invalid peer certificate") {
        "the API server's certificate is not from the authority in the kubeconfig: was the cluster made anew since?"
    } else if has("corrupt message") || has("InvalidContentType") {
        "what answers there does not speak TLS: is the port in the kubeconfig right, and https its scheme?"
    } else if has("lookup address") || has("dns error") || has("resolve") {
        "the host name in the kubeconfig cannot be resolved: is a VPN or a proxy (HTTPS_PROXY) needed?"
    } else if has("through proxy") {
        "check that the proxy can be reached and lets us through; NO_PROXY names servers that are reached without it"
    } else {
        "check that the API server of this kubeconfig context can be reached"
    }
}

fn is_anonymous(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.message.contains("\"system:anonymous\""))
}

fn is_unauthorized(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 401) || matches!(error, kube::Error::Auth(_))
}

fn kind_of(error: &kube::Error) -> Kind {
    match error {
        kube::Error::Api(status) => kind_of_code(status.code),
        kube::Error::Auth(_) => Kind::Denied,
        kube::Error::Discovery(_) => Kind::NotFound,
        kube::Error::SerdeError(_) | kube::Error::FromUtf8(_) | kube::Error::BuildRequest(_) => Kind::Internal,
        _ => Kind::Unavailable,
    }
}

/// The kind for an HTTP status of the API server.
pub(super) fn kind_of_code(code: u16) -> Kind {
    match code {
        401 | 403 => Kind::Denied,
        404 => Kind::NotFound,
        409 => Kind::Conflict,
        400 | 405 | 406 | 415 | 422 => Kind::Schema,
        _ => Kind::Unavailable,
    }
}

/// The innermost cause says what happened; the layers above repeat "service error", "client error".
pub(super) fn root_cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hint_is_about_what_is_wrong() {
        for (cause, says) in [
            ("connect to https://x: invalid peer certificate: UnknownIssuer", "made anew"),
            ("connect to https://x: invalid peer certificate: certificate expired: verification time 1", "expired"),
            ("connect to https://x: received corrupt message of type InvalidContentType", "does not speak TLS"),
            ("connect to https://x: failed to lookup address information: Name or service not known", "resolved"),
            ("connect to https://x through proxy p:1 (context c): unsuccessful tunnel", "lets us through"),
            ("connect to https://x: Connection refused (os error 111)", "can be reached"),
        ] {
            assert!(way_hint(cause).contains(says), "{cause}: {}", way_hint(cause));
        }
    }
}
