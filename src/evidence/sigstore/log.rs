//! What a log entry must be beyond what the library looks at: each of its fields says what the signed checkpoint says, and the checkpoint's
//! signature bears the log's name, so that nothing in an entry can be changed unseen.

use sigstore_types::bundle::InclusionProof;
use sigstore_types::{Bundle, KindVersion, TransparencyLogEntry};

use crate::trust::Part;

/// Checks the entries of a bundle against the logs of a trusted root. The error is a sentence.
pub(super) fn check(bundle: &Bundle, part: &Part) -> Result<(), String> {
    bundle.verification_material.tlog_entries.iter().try_for_each(|entry| of_entry(entry, part))
}

fn of_entry(entry: &TransparencyLogEntry, part: &Part) -> Result<(), String> {
    let id = entry.log_id.key_id.as_bytes();
    let host = part.log_host(id).ok_or("the entry is of a log that is not trusted")?;
    let proof = entry.inclusion_proof.as_ref().ok_or("the entry has no inclusion proof")?;
    let checkpoint = proof.checkpoint.checkpoint().ok_or("the entry has no checkpoint")?;
    if (proof.tree_size, &proof.root_hash) != (checkpoint.tree_size(), checkpoint.root_hash()) {
        return Err("the inclusion proof is about another tree than the checkpoint".to_owned());
    }
    if entry.kind_version == KindVersion::HashedRekordV002 {
        check_v2(entry, proof)?;
    } else if entry.inclusion_promise.is_none() {
        // Its time comes with a promise; cosign, too, wants it as long as no flag says otherwise.
        return Err("the entry has no promise of its log".to_owned());
    }
    // Other lines are witnesses'. The log's own begins with its id.
    let mut own = checkpoint.signatures().iter().filter(|line| id.starts_with(line.key_id.as_bytes()));
    match (own.next(), own.next()) {
        (Some(line), None) if line.name == host => Ok(()),
        (Some(_), None) => Err(format!("the checkpoint is signed under another name than {host}")),
        (None, _) => Err("the checkpoint is not signed by the entry's log".to_owned()),
        (Some(_), Some(_)) => Err("the checkpoint is signed twice by the log".to_owned()),
    }
}

/// The second version promises no time, and a shard's index is the entry's.
fn check_v2(entry: &TransparencyLogEntry, proof: &InclusionProof) -> Result<(), String> {
    if entry.integrated_time.is_some() {
        return Err("the entry claims a time, which its log does not vouch for".to_owned());
    }
    if entry.log_index != proof.log_index {
        return Err("the inclusion proof is about another entry".to_owned());
    }
    Ok(())
}
