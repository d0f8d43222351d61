//! Definitions: all that a broker is to have, but messages, as RabbitMQ 3.10 writes it into a file of JSON and reads it again.
//!
//! ```text
//!   { "users": [..], "vhosts": [..], "permissions": [..], "topic_permissions": [..], "parameters": [..],
//!     "global_parameters": [..], "policies": [..], "queues": [..], "exchanges": [..], "bindings": [..] }
//! ```
//!
//! Reading makes [`Command`]s, which add and never take away. Nothing is changed by a file that cannot be
//! read as a whole; what a broker then refuses of it, such as another queue of the same name, is said with its name.

mod export;
mod import;
mod table;
#[cfg(test)]
mod tests;

use crate::meta::{Command, PasswordHash};
use crate::name::Name;

pub use export::{Export, Look, export, export_vhost, parameters_in};
pub use table::{from_json, to_json};

/// What is to be carried out, in this order, each with what it is about: `queue 'orders' in vhost '/'`.
#[derive(Debug, Default)]
pub struct Definitions {
    /// Commands, each with its object.
    pub commands: Vec<(String, Command)>,
}

/// Definitions that cannot be read. What they say is not shown but for names: there are secrets among it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidDefinitions {
    /// Not JSON.
    #[error("the definitions are not JSON: {0}")]
    NotJson(String),
    /// JSON, but not an object.
    #[error("the definitions are not an object with lists such as \"queues\" in it")]
    NotAnObject,
    /// One of the lists is none.
    #[error("\"{0}\" is not a list of objects")]
    NotAList(&'static str),
    /// Something about an object.
    #[error("{object}: {why}")]
    Object {
        /// Which: `queue 'orders' in vhost '/'`, or `queues[3]` if it has no name.
        object: String,
        /// What is wrong with it.
        why: String,
    },
}

/// Reads definitions. Into a vhost `into`, if it is given, go those of a file that has been written for one vhost alone.
/// Passwords that are said as such are made into what is kept by `hash`.
///
/// # Errors
/// They are no definitions, or an object in them cannot be; it is named.
pub fn read(
    text: &str,
    into: Option<&Name>,
    hash: &mut dyn FnMut(&str) -> PasswordHash,
) -> Result<Definitions, InvalidDefinitions> {
    import::read(text, into, hash)
}
