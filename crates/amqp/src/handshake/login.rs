//! What is said when somebody logs in.
//!
//! ```text
//!   PLAIN      authorisation identity (mostly empty), 0, user, 0, password
//!   AMQPLAIN   a field table without its length, with LOGIN and PASSWORD
//! ```

use bytes::Bytes;

use crate::table::Table;
use crate::text::Secret;

/// The response of PLAIN.
#[must_use]
pub fn plain(user: &str, password: &str) -> Secret {
    Bytes::from([b"\0", user.as_bytes(), b"\0", password.as_bytes()].concat()).into()
}

/// Who logs in with this response of PLAIN.
#[must_use]
pub fn plain_user(response: &Secret) -> Option<String> {
    let mut parts = response.reveal().split(|octet| *octet == 0);
    let (_, user, _) = (parts.next()?, parts.next()?, parts.next()?);
    // A password has no zero in it, so there is no fourth part.
    parts
        .next()
        .is_none()
        .then(|| String::from_utf8_lossy(user).into_owned())
}

/// Who logs in with this response of AMQPLAIN.
#[must_use]
pub fn amqplain_user(response: &Secret) -> Option<String> {
    Table::decode_entries(response.reveal().clone())
        .ok()?
        .text("LOGIN")
}
