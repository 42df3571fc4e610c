//! Stage 6: whether the statement is about this bundle: as an OCI artifact, and as files.

use crate::digest::Digest;
use crate::error::{Error, Kind, Result};
use crate::evidence::MANIFEST;
use crate::evidence::bundle::file;
use crate::evidence::statement::{OCI_SUBJECT, Statement};
use crate::verify::case::{Case, Finding};

pub(super) fn run(case: &mut Case) -> Result<Finding> {
    let artifact = case.artifact()?;
    let content = Digest::of(file(case.files()?, MANIFEST)?);
    if case.contents()?.artifact()?.digest != *artifact {
        return Err(Error::new(Kind::Integrity, "the OCI manifest is not the one that these files give"));
    }
    if let Some(pointer) = &case.pointer
        && pointer.bundle.content_digest != content
    {
        let said = pointer.bundle.content_digest.short();
        return Err(Error::new(Kind::Integrity, format!("the pointer says content {said}, the bundle has {}", content.short())));
    }
    if case.signed.is_empty() {
        return Ok(Finding::NotRun("no signed statement".to_owned()));
    }
    for signed in &case.signed {
        check(&signed.statement, artifact, &content)?;
    }
    Ok(Finding::Ok(format!(
        "the statement is about this bundle, as an OCI artifact ({}) and as files ({})",
        artifact.short(),
        content.short()
    )))
}

fn check(statement: &Statement, artifact: &Digest, content: &Digest) -> Result<()> {
    let subjects: Vec<(&str, Option<&String>)> =
        statement.subject.iter().map(|subject| (subject.name.as_str(), subject.digest.get("sha256"))).collect();
    let expected = [(OCI_SUBJECT, artifact), (MANIFEST, content)];
    let agree = subjects.len() == expected.len()
        && expected
            .iter()
            .all(|(name, digest)| subjects.iter().any(|(seen, hex)| seen == name && hex.is_some_and(|hex| hex == digest.hex())));
    if !agree {
        return Err(Error::new(Kind::Integrity, format!("the signed statement is not about {artifact}"))
            .hint("the signature belongs to another bundle"));
    }
    Ok(())
}
