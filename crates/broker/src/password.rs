//! Passwords as RabbitMQ keeps them, so that definitions travel both ways.
//!
//! ```text
//!   base64( salt, 4 octets | hash of salt and password )
//! ```

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256, Sha512};
use subtle::ConstantTimeEq as _;
use warren_model::meta::PasswordHash;

/// Octets of salt before the hash.
const SALT: usize = 4;
const SHA256: &str = "rabbit_password_hashing_sha256";
const SHA512: &str = "rabbit_password_hashing_sha512";

/// What a new password is kept as.
#[must_use]
pub(crate) fn hash(password: &[u8], salt: [u8; SALT]) -> PasswordHash {
    let octets = [&salt[..], &Sha256::digest([&salt[..], password].concat())].concat();
    PasswordHash {
        algorithm: SHA256.to_owned(),
        hash: STANDARD.encode(octets),
    }
}

/// Is it this password?
#[must_use]
pub(crate) fn verify(kept: &PasswordHash, password: &[u8]) -> bool {
    let Ok(octets) = STANDARD.decode(&kept.hash) else {
        return false;
    };
    let Some((salt, hash)) = octets.split_first_chunk::<SALT>() else {
        return false;
    };
    let salted = [&salt[..], password].concat();
    match kept.algorithm.as_str() {
        SHA256 => Sha256::digest(salted).as_slice().ct_eq(hash).into(),
        SHA512 => Sha512::digest(salted).as_slice().ct_eq(hash).into(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::{PasswordHash, SHA256, SHA512, hash, verify};

    #[test]
    fn hashes_of_rabbitmq_are_verified() {
        for (kept, password) in [
            ("27cx5+wEi8R8uwTeTr3hk5azuV3yYxxAtwPPhCyrbdsxVhqq", "foobarbaz"),
            ("kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR", "test12"),
            ("KJH3L56H6+W1+XzHqKlCHYFuxVyGpWxrJ91SrTaXLpTp9aTW", "123"),
        ] {
            let kept = PasswordHash {
                algorithm: SHA256.to_owned(),
                hash: kept.to_owned(),
            };
            assert!(verify(&kept, password.as_bytes()), "{password}");
            assert!(!verify(&kept, b"another"));
            assert!(!verify(
                &PasswordHash {
                    algorithm: SHA512.to_owned(),
                    ..kept
                },
                password.as_bytes()
            ));
        }
    }

    #[test]
    fn a_new_password_is_verified_and_an_empty_hash_never_is() {
        assert!(verify(&hash(b"guest", [1, 2, 3, 4]), b"guest"));
        let empty = PasswordHash {
            algorithm: SHA256.to_owned(),
            hash: String::new(),
        };
        assert!(!verify(&empty, b""));
    }
}
