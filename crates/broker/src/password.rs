//! Passwords as they are kept, so that definitions travel to RabbitMQ and back.
//!
//! ```text
//!   rabbit_password_hashing_*   base64( salt, 4 octets | hash of salt and password )
//!   argon2id                    base64( salt, 16 octets | Argon2id, 19 MiB, two passes )
//! ```

use argon2::{Algorithm, Argon2, Block, Params, Version};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use md5::Md5;
use parking_lot::Mutex;
use sha2::{Digest, Sha256, Sha512};
use subtle::ConstantTimeEq as _;
use warren_model::meta::PasswordHash;

/// Octets of salt before RabbitMQ's hashes.
const SALT: usize = 4;
/// Octets of salt before a slow hash.
const LONG_SALT: usize = 16;
/// Octets of a slow hash.
const SLOW: usize = 32;
/// Slow hashes at once: each takes a core and 19 MiB.
pub(crate) const SLOW_MAX: usize = 2;
const MD5: &str = PasswordHash::MD5;
const SHA256: &str = PasswordHash::SHA256;
const SHA512: &str = PasswordHash::SHA512;
const ARGON2ID: &str = PasswordHash::ARGON2ID;

/// What slow hashes are made in, used again: each would be on another thread, and the memory of each of those would stay.
static MEMORY: Mutex<Vec<Vec<Block>>> = Mutex::new(Vec::new());

/// How new passwords are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Hashing {
    /// RabbitMQ's default.
    #[default]
    Sha256,
    /// RabbitMQ's other.
    Sha512,
    /// Takes tens of milliseconds, for who steals hashes, too. Definitions cannot carry it to RabbitMQ.
    Argon2id,
}

/// What a new password is kept as.
#[must_use]
pub(crate) fn hash_with(hashing: Hashing, password: &[u8], salt: [u8; SALT]) -> PasswordHash {
    let salted = [&salt[..], password].concat();
    let sha256 = || (SHA256, [&salt[..], &Sha256::digest(&salted)].concat());
    let (algorithm, octets) = match hashing {
        Hashing::Sha256 => sha256(),
        Hashing::Sha512 => (SHA512, [&salt[..], &Sha512::digest(&salted)].concat()),
        Hashing::Argon2id => {
            let long: [u8; LONG_SALT] = rand::random();
            // Without memory for it there is still a hash.
            slow(&long, password).map_or_else(sha256, |hash| (ARGON2ID, [&long[..], &hash].concat()))
        }
    };
    PasswordHash {
        algorithm: algorithm.to_owned(),
        hash: STANDARD.encode(octets),
    }
}

/// Does it take so long that others would wait for it?
#[must_use]
pub(crate) fn is_slow(kept: &PasswordHash) -> bool {
    kept.algorithm == ARGON2ID
}

/// Can it be any password at all? What it was made of may have been cut off, or was never a hash.
#[must_use]
pub(crate) fn is_whole(kept: &PasswordHash) -> bool {
    let octets = match kept.algorithm.as_str() {
        SHA256 => SALT + 32,
        SHA512 => SALT + 64,
        MD5 => SALT + 16,
        ARGON2ID => LONG_SALT + SLOW,
        _ => return false,
    };
    STANDARD
        .decode(&kept.hash)
        .is_ok_and(|found| found.len() == octets)
}

/// Is it this password? An empty one never is.
#[must_use]
pub(crate) fn verify(kept: &PasswordHash, password: &[u8]) -> bool {
    let Ok(octets) = STANDARD.decode(&kept.hash) else {
        return false;
    };
    if password.is_empty() {
        return false;
    }
    if is_slow(kept) {
        let Some((salt, hash)) = octets.split_first_chunk::<LONG_SALT>() else {
            return false;
        };
        return slow(salt, password).is_some_and(|other| other.as_slice().ct_eq(hash).into());
    }
    let Some((salt, hash)) = octets.split_first_chunk::<SALT>() else {
        return false;
    };
    let salted = [&salt[..], password].concat();
    match kept.algorithm.as_str() {
        SHA256 => Sha256::digest(salted).as_slice().ct_eq(hash).into(),
        SHA512 => Sha512::digest(salted).as_slice().ct_eq(hash).into(),
        MD5 => Md5::digest(salted).as_slice().ct_eq(hash).into(),
        _ => false,
    }
}

fn slow(salt: &[u8; LONG_SALT], password: &[u8]) -> Option<[u8; SLOW]> {
    let mut hash = [0; SLOW];
    let params = Params::default();
    let memory = MEMORY.lock().pop();
    let mut memory = memory.unwrap_or_else(|| vec![Block::default(); params.block_count()]);
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let done = argon2.hash_password_into_with_memory(password, salt, &mut hash, &mut memory);
    let mut kept = MEMORY.lock();
    if kept.len() < SLOW_MAX {
        kept.push(memory);
    }
    done.ok()?;
    Some(hash)
}

#[cfg(test)]
mod tests {
    use super::{Hashing, MD5, PasswordHash, SHA256, SHA512, hash_with, verify};

    fn kept(algorithm: &str, hash: &str) -> PasswordHash {
        PasswordHash {
            algorithm: algorithm.to_owned(),
            hash: hash.to_owned(),
        }
    }

    #[test]
    fn hashes_of_rabbitmq_are_verified() {
        for (hash, password) in [
            ("27cx5+wEi8R8uwTeTr3hk5azuV3yYxxAtwPPhCyrbdsxVhqq", "foobarbaz"),
            ("kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR", "test12"),
            ("KJH3L56H6+W1+XzHqKlCHYFuxVyGpWxrJ91SrTaXLpTp9aTW", "123"),
        ] {
            assert!(verify(&kept(SHA256, hash), password.as_bytes()), "{password}");
            assert!(!verify(&kept(SHA256, hash), b"another"));
            assert!(!verify(&kept(SHA512, hash), password.as_bytes()));
        }
    }

    #[test]
    fn hashes_of_the_oldest_definitions_are_verified() {
        let md5 = kept(MD5, "c2FsdF+QGvKX6cwMP3DZldzzhp4=");
        assert!(verify(&md5, b"guest"));
        assert!(!verify(&md5, b"other"));
    }

    #[test]
    fn a_new_password_is_verified_however_it_is_kept() {
        for hashing in [Hashing::Sha256, Hashing::Sha512, Hashing::Argon2id] {
            let kept = hash_with(hashing, b"guest", [1, 2, 3, 4]);
            assert!(verify(&kept, b"guest"), "{hashing:?}");
            assert!(!verify(&kept, b"guess"), "{hashing:?}");
        }
    }

    #[test]
    fn an_empty_password_or_hash_lets_nobody_in() {
        assert!(!verify(&kept(SHA256, ""), b""));
        assert!(!verify(&hash_with(Hashing::Sha256, b"", [1, 2, 3, 4]), b""));
    }
}
