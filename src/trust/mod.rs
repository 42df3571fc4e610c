//! Whom Sigstore's certificates, logs and timestamps are believed to come from.
