//! Signing by a command of the user's: for keys that never leave a KMS, an HSM or a token.

use std::process::Stdio;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::digest::Digest;
use crate::error::{Context, Error, Kind, Result};
use crate::evidence::PublicKey;
use crate::limits;

/// The variable in which a command finds the SHA-256 of what it signs, in hexadecimal digits: many services sign a digest.
pub const DIGEST_VARIABLE: &str = "SEATRIAL_SIGN_SHA256";

/// A command that signs, and the key that it signs with.
#[derive(Debug)]
pub(super) struct CommandSigner {
    pub(super) command: String,
    pub(super) public: PublicKey,
}

impl CommandSigner {
    /// Runs the command by `sh -c`: what is to be signed is on its standard input, and the signature is expected on its standard output.
    pub(super) async fn sign(&self, message: &[u8]) -> Result<Vec<u8>> {
        let limit = limits::SIGNER_COMMAND;
        match tokio::time::timeout(limit, self.run(message)).await {
            Ok(output) => self.pick(&output?),
            Err(_) => Err(Error::new(Kind::Timeout, format!("the signer command has not ended within {} s", limit.as_secs()))),
        }
    }

    async fn run(&self, message: &[u8]) -> Result<Vec<u8>> {
        let doing = "run the signer command";
        let mut child = tokio::process::Command::new("sh")
            .args(["-c", &self.command])
            .env(DIGEST_VARIABLE, Digest::of(message).hex())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context(doing)?;
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(mut stdin), Some(stdout), Some(stderr)) = (stdin, stdout, stderr) else {
            return Err(Error::internal("the signer command has no pipes"));
        };
        let (mut output, mut said) = (Vec::new(), Vec::new());
        let write = async {
            // A command that signs the digest leaves this unread.
            stdin.write_all(message).await.unwrap_or(());
            drop(stdin);
            Ok(0)
        };
        let (mut stdout, mut stderr) = (stdout.take(limits::SIGNER_OUTPUT_BYTES), stderr.take(limits::SIGNATURE_BYTES));
        tokio::try_join!(write, stdout.read_to_end(&mut output), stderr.read_to_end(&mut said)).context(doing)?;
        let status = child.wait().await.context(doing)?;
        if !status.success() {
            let said = String::from_utf8_lossy(&said);
            let last = said.trim().lines().last().unwrap_or("it said nothing");
            return Err(Error::new(Kind::Denied, format!("the signer command failed ({status}): {}", last.escape_debug())));
        }
        Ok(output)
    }

    /// The signature in what the command wrote: its bytes as they are, or in base64.
    fn pick(&self, output: &[u8]) -> Result<Vec<u8>> {
        let text: Vec<u8> = output.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
        STANDARD.decode(text).into_iter().chain([output.to_vec()]).next().filter(|signature| !signature.is_empty()).ok_or_else(|| {
            Error::new(Kind::Signature, "the signer command wrote no signature")
                .hint("it must write the signature to standard output: as it is (ASN.1 DER for ECDSA), or in base64")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sign::keygen;

    #[tokio::test]
    async fn a_command_gets_what_it_signs_and_says_why_it_failed() {
        let folder = tempfile::tempdir().expect("a directory");
        let public = keygen(folder.path(), None).expect("a key pair").key;
        let run = async |command: &str| CommandSigner { command: command.to_owned(), public: public.clone() }.sign(b"hello").await;
        assert_eq!(run("cat").await.expect("raw bytes that are no base64 stay"), b"hello");
        assert_eq!(run("base64").await.expect("base64 is decoded"), b"hello");
        let digest = run("printf %s \"$SEATRIAL_SIGN_SHA256\" | base64").await.expect("the digest");
        assert_eq!(String::from_utf8(digest).expect("text"), Digest::of(b"hello").hex());
        let error = run("echo no card in the reader >&2; exit 3").await.expect_err("it failed");
        assert_eq!(error.kind(), Kind::Denied);
        assert!(error.to_string().contains("no card in the reader"), "{error}");
        assert_eq!(run("true").await.expect_err("nothing was written").kind(), Kind::Signature);
    }
}
