//! What a publisher may say in the properties of a message.

use warren_amqp::content::Header;
use warren_model::Refusal;

use crate::client::{Client, precondition};

/// `user_id` is who he is, unless he may speak for others.
///
/// # Errors
/// He says that he is somebody else.
pub(crate) fn check_user_id(client: &Client, said: &[u8]) -> Result<(), Refusal> {
    let may = || {
        client.node.read(|meta| {
            meta.user(&client.user)
                .is_some_and(|user| user.has_tag("impersonator"))
        })
    };
    if said == client.user.as_bytes() || may() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(said);
    Err(precondition(format_args!(
        "user_id property set to '{said}' but authenticated user was '{}'",
        client.user
    )))
}

/// There are two delivery modes.
///
/// # Errors
/// He names another one.
pub(crate) fn check_delivery_mode(header: Header<'_>) -> Result<(), Refusal> {
    match header.delivery_mode() {
        None | Some(1 | 2) => Ok(()),
        Some(other) => Err(precondition(format_args!(
            "invalid message: {{delivery_mode_unknown,{other}}}"
        ))),
    }
}
