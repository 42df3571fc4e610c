//! A certificate authority of an add-on's own and the certificate of its webhooks, made anew for each start.

use std::path::{Path, PathBuf};

use pkcs8::PrivateKeyInfo;
use rcgen::string::Ia5String;
use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rcgen::{PKCS_RSA_SHA256, RsaKeySize, SanType};

use crate::error::{Error, Result};
use crate::files;
use crate::sim::addons::make_dir;

/// A certificate authority and one certificate for 127.0.0.1 that it signed.
pub(crate) struct Certificates {
    /// The folder with `tls.crt`, `tls.key` (only its owner may read it) and `ca.crt`.
    pub(crate) dir: PathBuf,
    /// The authority's certificate, PEM.
    pub(crate) authority: String,
    /// The authority's key, PEM, in the form that Go's certificate rotation reads: RSA, PKCS #1.
    pub(crate) authority_key: String,
    /// The certificate, PEM.
    pub(crate) certificate: String,
    /// Its key, PEM.
    pub(crate) key: String,
}

impl Certificates {
    /// Makes them in a folder. `authority` is the authority's name; `names` are what else, beside 127.0.0.1, the certificate is for.
    ///
    /// # Errors
    /// [`crate::error::Kind::Io`] if a file cannot be written.
    pub(crate) fn make(dir: &Path, authority: &str, names: &[&str]) -> Result<Self> {
        let made = generate(authority, names).map_err(|error| Error::internal("make certificates").because(error))?;
        make_dir(dir)?;
        files::write(&dir.join("ca.crt"), made.0.as_bytes())?;
        files::write(&dir.join("tls.crt"), made.2.as_bytes())?;
        files::write_secret(&dir.join("tls.key"), made.3.as_bytes())?;
        let authority_key = rsa_form(&made.1)?;
        Ok(Self { dir: dir.to_owned(), authority: made.0, authority_key, certificate: made.2, key: made.3 })
    }
}

/// The authority's certificate and key, the certificate and its key.
fn generate(authority: &str, names: &[&str]) -> Result<(String, KeyPair, String, String), rcgen::Error> {
    let mut params = CertificateParams::new(vec![authority.to_owned()])?;
    params.distinguished_name.push(DnType::CommonName, authority);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    let authority_key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048)?;
    let certificate = params.self_signed(&authority_key)?;
    let issuer = Issuer::from_params(&params, &authority_key);
    let mut leaf = CertificateParams::default();
    leaf.subject_alt_names = vec![SanType::IpAddress(std::net::Ipv4Addr::LOCALHOST.into())];
    for name in names.iter().chain(&["localhost"]) {
        leaf.subject_alt_names.push(SanType::DnsName(Ia5String::try_from(*name)?));
    }
    leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let key = KeyPair::generate()?;
    let signed = leaf.signed_by(&key, &issuer)?;
    Ok((certificate.pem(), authority_key, signed.pem(), key.serialize_pem()))
}

/// The key within PKCS #8, which for RSA is its PKCS #1 form.
fn rsa_form(key: &KeyPair) -> Result<String> {
    let der = key.serialize_der();
    let info = PrivateKeyInfo::try_from(der.as_slice()).map_err(|error| Error::internal(format!("read a key just made: {error}")))?;
    Ok(pem::encode(&pem::Pem::new("RSA PRIVATE KEY", info.private_key)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_for_its_owner_only_and_the_authority_differs_each_time() {
        let folder = tempfile::tempdir().expect("a directory");
        let first = Certificates::make(&folder.path().join("a"), "a-ca", &["a.b.svc"]).expect("are made");
        let second = Certificates::make(&folder.path().join("b"), "a-ca", &[]).expect("are made");
        assert_ne!(first.authority, second.authority);
        assert!(first.authority_key.starts_with("-----BEGIN RSA PRIVATE KEY-----"));
        let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(first.dir.join("tls.key")).expect("is there").permissions());
        assert_eq!(mode & 0o777, 0o600);
        assert!(!folder.path().join("a/ca.key").exists());
    }
}
