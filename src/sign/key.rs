//! Local ECDSA P-256 keys: reading them in every form in which people have them, and making them.

use std::path::{Path, PathBuf};

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use pkcs8::EncryptedPrivateKeyInfo;
use pkcs8::pkcs5::{pbes2, scrypt};

use crate::error::{Context, Error, Result};
use crate::evidence::PublicKey;
use crate::sign::cosign;
use crate::{files, limits};

/// The environment variables that may hold the passphrase of a key, in the order in which they are looked at.
pub const PASSPHRASE_VARIABLES: &[&str] = &["SEATRIAL_KEY_PASSPHRASE", "COSIGN_PASSWORD"];

/// The passphrase from the environment, if one is there.
#[must_use]
pub fn passphrase_from_env() -> Option<String> {
    PASSPHRASE_VARIABLES.iter().find_map(|name| std::env::var(name).ok())
}

/// A private key.
pub struct LocalKey {
    pair: EcdsaKeyPair,
    public: PublicKey,
}

impl std::fmt::Debug for LocalKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LocalKey").field("key", &self.public.id()).finish_non_exhaustive()
    }
}

impl LocalKey {
    /// Reads a key file: PKCS#8 in PEM form, plain or encrypted with a passphrase from the environment.
    ///
    /// # Errors
    /// [`crate::error::Kind::Usage`] if the file is missing, not such a key, or the passphrase is missing or wrong.
    pub fn from_file(path: &Path) -> Result<Self> {
        let text = files::read_text(path, limits::DOCUMENT_BYTES).context("read the signing key")?;
        Self::from_pem(&text, passphrase_from_env().as_deref()).with_context(|| format!("read the signing key {}", path.display()))
    }

    /// Reads a key in PEM form.
    ///
    /// # Errors
    /// As [`LocalKey::from_file`].
    pub fn from_pem(text: &str, passphrase: Option<&str>) -> Result<Self> {
        let hint = "`seatrial evidence keygen --out DIR` makes a key pair";
        let blocks = pem::parse_many(text.trim()).map_err(|error| Error::usage("it is not a key in PEM form").because(error).hint(hint))?;
        // OpenSSL writes the curve's name in front of a key.
        let block = blocks.iter().find(|block| block.tag() != "EC PARAMETERS");
        let block = block.ok_or_else(|| Error::usage("it is not a key in PEM form").hint(hint))?;
        match block.tag() {
            "PRIVATE KEY" => Self::from_der(block.contents()),
            "ENCRYPTED PRIVATE KEY" => Self::from_der(&decrypt(block.contents(), passphrase)?),
            "EC PRIVATE KEY" if block.headers().iter().any(|(name, _)| name == "DEK-Info") => {
                Err(Error::usage("it is a key in the SEC1 form under OpenSSL's old encryption, which is weak")
                    .hint("convert it: openssl pkcs8 -topk8 -in KEY -out seatrial.key"))
            }
            // Read the same way: the form is recognised by its content.
            "EC PRIVATE KEY" => Self::from_der(block.contents()),
            "PUBLIC KEY" => Err(Error::usage("it is a public key; signing needs the private one")),
            tag if tag.ends_with("SIGSTORE PRIVATE KEY") || tag.ends_with("COSIGN PRIVATE KEY") => {
                Self::from_der(&cosign::decrypt(block.contents(), wanted(passphrase)?)?)
            }
            tag => Err(Error::usage(format!("it is a PEM block `{}`, not a private key", tag.escape_debug()))),
        }
    }

    fn from_der(der: &[u8]) -> Result<Self> {
        let pair = EcdsaKeyPair::from_private_key_der(&ECDSA_P256_SHA256_ASN1_SIGNING, der).map_err(|error| {
            Error::usage("it is not an ECDSA P-256 key").because(error).hint(
                "`seatrial evidence keygen --out DIR` makes one; so does openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256",
            )
        })?;
        let spki = pair.public_key().as_der().map_err(|error| Error::internal("take the public key of a key").because(error))?;
        Ok(Self { public: PublicKey::from_der(spki.as_ref())?, pair })
    }

    /// The public key that verifies what this signs.
    #[must_use]
    pub fn public_key(&self) -> &PublicKey {
        &self.public
    }

    /// Signs bytes with SHA-256: an ECDSA signature in ASN.1 DER form.
    ///
    /// # Errors
    /// [`crate::error::Kind::Internal`] if the signature cannot be made.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>> {
        let signature = self.pair.sign(&SystemRandom::new(), message);
        Ok(signature.map_err(|error| Error::internal("sign the statement").because(error))?.as_ref().to_vec())
    }
}

fn passphrase_hint() -> String {
    format!("put the passphrase into the environment variable {}", PASSPHRASE_VARIABLES[0])
}

fn wanted(passphrase: Option<&str>) -> Result<&str> {
    passphrase.ok_or_else(|| Error::usage("the key is encrypted and there is no passphrase").hint(passphrase_hint()))
}

fn decrypt(der: &[u8], passphrase: Option<&str>) -> Result<Vec<u8>> {
    let passphrase = wanted(passphrase)?;
    let encrypted = EncryptedPrivateKeyInfo::try_from(der)
        .map_err(|error| Error::usage("the encrypted key is malformed").because(error.to_string()))?;
    let plain = encrypted.decrypt(passphrase).map_err(|error| {
        Error::usage("the key cannot be decrypted: the passphrase is wrong, or the encryption is not one that is supported (PBES2)")
            .because(error.to_string())
            .hint(passphrase_hint())
    })?;
    Ok(plain.as_bytes().to_vec())
}

/// A key pair that was written.
#[derive(Clone, Debug)]
pub struct KeyFiles {
    /// The private key, readable by its owner only.
    pub private: PathBuf,
    /// The public key.
    pub public: PathBuf,
    /// The key itself, to name its id.
    pub key: PublicKey,
}

/// Makes a key pair `seatrial.key` and `seatrial.pub`; with a passphrase the private key is encrypted. Nothing is overwritten.
///
/// # Errors
/// [`crate::error::Kind::Usage`] if a file is there already; [`crate::error::Kind::Io`] if they cannot be written.
pub fn keygen(folder: &Path, passphrase: Option<&str>) -> Result<KeyFiles> {
    let (private, public) = (folder.join("seatrial.key"), folder.join("seatrial.pub"));
    for path in [&private, &public] {
        if path.exists() {
            return Err(Error::usage(format!("{} exists already", path.display())).hint("name another directory with --out"));
        }
    }
    let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &SystemRandom::new())
        .map_err(|error| Error::internal("make a key").because(error))?;
    let signer = LocalKey::from_der(document.as_ref())?;
    let block = match passphrase {
        Some(passphrase) => pem::Pem::new("ENCRYPTED PRIVATE KEY", encrypt(document.as_ref(), passphrase)?),
        None => pem::Pem::new("PRIVATE KEY", document.as_ref().to_vec()),
    };
    let text = pem::encode_config(&block, pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF));
    write_private(&private, text.as_bytes())?;
    files::write(&public, signer.public.to_pem().as_bytes())?;
    Ok(KeyFiles { private, public, key: signer.public })
}

/// Writes a file that only its owner can read, from its first moment on, and never over another one.
fn write_private(path: &Path, bytes: &[u8]) -> Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let writing = || format!("write {}", path.display());
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).with_context(writing)?;
    }
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).with_context(writing)?;
    file.write_all(bytes).with_context(writing)
}

fn encrypt(pkcs8: &[u8], passphrase: &str) -> Result<Vec<u8>> {
    let failed = |_| Error::internal("encrypt the key");
    let (mut salt, mut iv) = ([0; 16], [0; 16]);
    aws_lc_rs::rand::fill(&mut salt).and_then(|()| aws_lc_rs::rand::fill(&mut iv)).map_err(failed)?;
    let failed = |error: pkcs8::Error| Error::internal("encrypt the key").because(error.to_string());
    // As much memory as openssl accepts without being told to (16 MiB), and more rounds instead.
    let cost = scrypt::Params::new(14, 8, 5, scrypt::Params::RECOMMENDED_LEN)
        .map_err(|error| Error::internal("encrypt the key").because(error.to_string()))?;
    let parameters = pbes2::Parameters::scrypt_aes256cbc(cost, &salt, &iv).map_err(|error| failed(error.into()))?;
    let plain = pkcs8::PrivateKeyInfo::try_from(pkcs8).map_err(failed)?;
    Ok(plain.encrypt_with_params(parameters, passphrase).map_err(failed)?.as_bytes().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;
    use crate::evidence::sigstore::{self, Envelope};

    #[test]
    fn a_generated_pair_signs_and_verifies_and_only_its_owner_can_read_it() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().expect("a directory");
        let files = keygen(folder.path(), None).expect("is made");
        let mode = std::fs::metadata(&files.private).expect("is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let signer = LocalKey::from_file(&files.private).expect("reads");
        let public = PublicKey::from_pem(&std::fs::read_to_string(&files.public).expect("is there")).expect("reads");
        assert_eq!(signer.public_key().id(), public.id());
        let signature = signer.sign(&sigstore::to_sign(b"{}")).expect("signs");
        let bundle = sigstore::seal(b"{}", &public, signature, sigstore::Proofs::default()).expect("is sealed");
        assert_eq!(Envelope::parse(&bundle).expect("reads").verify(&public).expect("verifies"), b"{}");
        assert_eq!(keygen(folder.path(), None).expect_err("nothing is overwritten").kind(), Kind::Usage);
    }

    #[test]
    fn an_encrypted_key_wants_the_right_passphrase() {
        let folder = tempfile::tempdir().expect("a directory");
        let files = keygen(folder.path(), Some("open sesame")).expect("is made");
        let text = std::fs::read_to_string(&files.private).expect("is there");
        assert!(text.starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----\n"));
        assert_eq!(LocalKey::from_pem(&text, Some("open sesame")).expect("reads").public_key().id(), files.key.id());
        for passphrase in [None, Some("wrong")] {
            let error = LocalKey::from_pem(&text, passphrase).expect_err("is refused");
            assert_eq!(error.kind(), Kind::Usage);
            assert!(error.hints()[0].contains("SEATRIAL_KEY_PASSPHRASE"), "{:?}", error.hints());
        }
    }

    #[test]
    fn another_kind_of_key_is_a_usage_error_with_a_hint() {
        let block = |tag: &str| pem::encode(&pem::Pem::new(tag, vec![0; 32]));
        let tags =
            ["EC PRIVATE KEY", "PUBLIC KEY", "ENCRYPTED SIGSTORE PRIVATE KEY", "CERTIFICATE", "PRIVATE KEY", "ENCRYPTED PRIVATE KEY"];
        for tag in tags {
            assert_eq!(LocalKey::from_pem(&block(tag), Some("x")).expect_err(tag).kind(), Kind::Usage, "{tag}");
        }
        assert_eq!(LocalKey::from_pem("", None).expect_err("empty").kind(), Kind::Usage);
        assert_eq!(LocalKey::from_file(Path::new("/nonexistent")).expect_err("missing").kind(), Kind::Usage);
    }
}
