//! Why a request was not carried out.

use serde::{Deserialize, Serialize};

/// Why a request was not carried out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Refused {
    /// For programs, see [`refusal`].
    pub code: String,
    /// A fact that ends with what to do; may have several lines when it quotes a configuration file.
    pub message: String,
}

/// Codes of [`Refused`].
pub mod refusal {
    /// The line was not a request.
    pub const BAD_REQUEST: &str = "bad-request";
    /// The caller's user may not ask for this.
    pub const FORBIDDEN: &str = "forbidden";
    /// There is no router of that name.
    pub const NO_SUCH_ROUTER: &str = "no-such-router";
    /// There is no backend or server of that name.
    pub const NO_SUCH_SERVER: &str = "no-such-server";
    /// There is no user of that name.
    pub const NO_SUCH_USER: &str = "no-such-user";
    /// There is no vhost of that name.
    pub const NO_SUCH_VHOST: &str = "no-such-vhost";
    /// There is no queue, connection or whatever else was named.
    pub const NOT_FOUND: &str = "not-found";
    /// There is one of that name already.
    pub const EXISTS: &str = "exists";
    /// What was named is in use, or not empty.
    pub const IN_USE: &str = "in-use";
    /// It is not his password.
    pub const NOT_AUTHENTICATED: &str = "not-authenticated";
    /// What was said cannot be.
    pub const INVALID: &str = "invalid";
    /// No server is usable.
    pub const NOT_READY: &str = "not-ready";
    /// The configuration is wrong; the old one stays in force.
    pub const BAD_CONFIGURATION: &str = "bad-configuration";
    /// Another reload or upgrade is under way.
    pub const BUSY: &str = "busy";
    /// Something in the daemon failed.
    pub const FAILED: &str = "failed";
}
