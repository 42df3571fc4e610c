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
        Kind::Denied => explained.hint("`seatrial rbac` prints the roles that a run needs"),
        Kind::Unavailable => explained.hint("check that the API server of this kubeconfig context can be reached"),
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
