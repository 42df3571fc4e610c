//! cosign's own form of an encrypted key: scrypt and NaCl's secretbox around PKCS#8, as JSON.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use crypto_secretbox::aead::{Aead, KeyInit};
use crypto_secretbox::{Key, Nonce, XSalsa20Poly1305};
use serde::Deserialize;

use crate::error::{Error, Result};
use crate::limits;

#[derive(Deserialize)]
struct Sealed {
    kdf: Kdf,
    cipher: Cipher,
    ciphertext: String,
}

#[derive(Deserialize)]
struct Kdf {
    name: String,
    params: Cost,
    salt: String,
}

#[derive(Deserialize)]
struct Cost {
    #[serde(rename = "N")]
    n: u64,
    r: u32,
    p: u32,
}

#[derive(Deserialize)]
struct Cipher {
    name: String,
    nonce: String,
}

/// Decrypts a key to PKCS#8, DER.
pub(super) fn decrypt(text: &[u8], passphrase: &str) -> Result<Vec<u8>> {
    let malformed = || Error::usage("the key in cosign's form is malformed");
    let sealed: Sealed = serde_json::from_slice(text).map_err(|error| malformed().because(error))?;
    if (sealed.kdf.name.as_str(), sealed.cipher.name.as_str()) != ("scrypt", "nacl/secretbox") {
        return Err(Error::usage("the key is encrypted in a way that cosign does not use"));
    }
    let Cost { n, r, p } = sealed.kdf.params;
    let memory = n.saturating_mul(u64::from(r)).saturating_mul(128);
    if !n.is_power_of_two() || memory > limits::KEY_MEMORY || p > 16 {
        return Err(Error::usage("the key wants more memory or time to open than any that cosign has made"));
    }
    let bytes = |text: &str| STANDARD.decode(text).map_err(|error| malformed().because(error));
    let log_n = u8::try_from(n.trailing_zeros()).map_err(|error| malformed().because(error))?;
    let cost = scrypt::Params::new(log_n, r, p, 32).map_err(|error| malformed().because(error.to_string()))?;
    let mut key = [0; 32];
    scrypt::scrypt(passphrase.as_bytes(), &bytes(&sealed.kdf.salt)?, &cost, &mut key)
        .map_err(|error| malformed().because(error.to_string()))?;
    let nonce: [u8; 24] = bytes(&sealed.cipher.nonce)?.try_into().map_err(|_| malformed())?;
    let cipher = XSalsa20Poly1305::new(Key::from_slice(&key));
    cipher.decrypt(Nonce::from_slice(&nonce), bytes(&sealed.ciphertext)?.as_slice()).map_err(|_| {
        Error::usage("the key cannot be decrypted: the passphrase is wrong")
            .hint(format!("put the passphrase into the environment variable {}", super::PASSPHRASE_VARIABLES[0]))
    })
}
