//! Users, and what they may do.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::UserLimits;
use crate::name::Name;
use crate::pattern::Pattern;
use crate::refusal::{Refusal, permitted_name};

/// What a password is compared with: never the password. Neither is it shown.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PasswordHash {
    /// As definitions name it: `rabbit_password_hashing_sha256`, …
    pub algorithm: String,
    /// Salt and hash as definitions have them, base64.
    pub hash: String,
}

impl PasswordHash {
    /// RabbitMQ's before 3.6, and of definitions that name none.
    pub const MD5: &str = "rabbit_password_hashing_md5";
    /// RabbitMQ's.
    pub const SHA256: &str = "rabbit_password_hashing_sha256";
    /// RabbitMQ's, too.
    pub const SHA512: &str = "rabbit_password_hashing_sha512";
    /// Ours, which no RabbitMQ understands.
    pub const ARGON2ID: &str = "argon2id";

    /// Can definitions carry it to a RabbitMQ?
    #[must_use]
    pub fn travels(&self) -> bool {
        self.algorithm != Self::ARGON2ID
    }
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
    /// Which keys he may use, by vhost and exchange of type topic. What is not here is not restricted.
    pub topic_permissions: BTreeMap<(Name, Name), TopicPermissions>,
    /// How much he may have.
    pub limits: UserLimits,
}

/// Which routing keys a user may use with an exchange. Both are patterns in which `{username}` and `{vhost}` stand for what
/// they say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicPermissions {
    /// To publish with.
    pub write: Pattern,
    /// To bind with.
    pub read: Pattern,
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
        let name = permitted_name(name);
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

    /// May he use this routing key with an exchange of type topic? `user` is his name, `access` is to publish or to bind.
    ///
    /// # Errors
    /// He may not.
    pub fn check_topic(
        &self,
        access: Access,
        exchange: &str,
        key: &str,
        vhost: &str,
        user: &str,
    ) -> Result<(), Refusal> {
        let said = self
            .topic_permissions
            .iter()
            .find(|((other, name), _)| other == vhost && name == exchange);
        let Some((_, permissions)) = said else {
            return Ok(());
        };
        let pattern = match access {
            Access::Write => &permissions.write,
            Access::Read | Access::Configure => &permissions.read,
        };
        match matches_for(pattern, key, vhost, user) {
            true => Ok(()),
            false => Err(Refusal::topic_access(key, exchange, vhost, user)),
        }
    }

    /// Has he this tag?
    #[must_use]
    pub fn has_tag(&self, tag: &str) -> bool {
        self.tags.iter().any(|other| other == tag)
    }
}

/// The names in place of variables are no patterns themselves.
fn matches_for(pattern: &Pattern, key: &str, vhost: &str, user: &str) -> bool {
    let text = pattern.as_str();
    if !text.contains(['{', '}']) {
        return pattern.matches(key);
    }
    let text = text
        .replace("{username}", &fancy_regex::escape(user))
        .replace("{vhost}", &fancy_regex::escape(vhost));
    Pattern::new(&text).is_ok_and(|pattern| pattern.matches(key))
}
