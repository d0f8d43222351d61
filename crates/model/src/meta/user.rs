//! Users, and what they may do.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::name::Name;
use crate::pattern::Pattern;
use crate::refusal::Refusal;

/// What a password is compared with: never the password. Neither is it shown.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PasswordHash {
    /// As definitions name it: `rabbit_password_hashing_sha256`, …
    pub algorithm: String,
    /// Salt and hash as definitions have them, base64.
    pub hash: String,
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PasswordHash({})", self.algorithm)
    }
}

/// Somebody who may log in.
#[derive(Clone, Debug, Default)]
pub struct User {
    /// What his password is compared with.
    pub password: Option<PasswordHash>,
    /// `administrator`, `monitoring`, `impersonator`, …
    pub tags: Vec<Name>,
    /// What he may do, by vhost.
    pub permissions: BTreeMap<Name, Permissions>,
}

/// Which names a user may do what with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Permissions {
    /// Declare and delete.
    pub configure: Pattern,
    /// Publish, and bind to.
    pub write: Pattern,
    /// Consume, and bind from.
    pub read: Pattern,
}

/// What somebody wants to do with a thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// Declare or delete it.
    Configure,
    /// Put messages into it.
    Write,
    /// Take messages out of it.
    Read,
}

impl Permissions {
    /// The default exchange is called `amq.default` here.
    #[must_use]
    pub fn allow(&self, access: Access, name: &str) -> bool {
        let name = if name.is_empty() { "amq.default" } else { name };
        match access {
            Access::Configure => self.configure.matches(name),
            Access::Write => self.write.matches(name),
            Access::Read => self.read.matches(name),
        }
    }
}

impl User {
    /// May he do this? `kind` is `queue` or `exchange`, `user` his name.
    ///
    /// # Errors
    /// He may not.
    pub fn check(
        &self,
        access: Access,
        kind: &str,
        name: &str,
        vhost: &str,
        user: &str,
    ) -> Result<(), Refusal> {
        match self
            .permissions
            .get(vhost)
            .is_some_and(|permissions| permissions.allow(access, name))
        {
            true => Ok(()),
            false => Err(Refusal::access(kind, name, vhost, user)),
        }
    }

    /// Has he this tag?
    #[must_use]
    pub fn has_tag(&self, tag: &str) -> bool {
        self.tags.iter().any(|other| other == tag)
    }
}
