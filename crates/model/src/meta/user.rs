//! Users, and what they may do.

use std::collections::{BTreeMap, VecDeque};
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

    /// May he use this routing key with an exchange of type topic? `user` is his name, `access` is to publish or to bind, `named` what
    /// is remembered of him in this vhost.
    ///
    /// # Errors
    /// He may not.
    pub fn check_topic(
        &self,
        access: Access,
        exchange: &str,
        key: &str,
        (vhost, user): (&str, &str),
        named: &mut NamedPatterns,
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
        match named.matches(pattern, key, vhost, user) {
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

/// Patterns that are remembered of a user in a vhost: two for each of some exchanges.
const NAMED_MAX: usize = 16;

/// Patterns of topic permissions, with the names of one user and one vhost in place of variables. To make one takes much longer than to
/// look at a key, which is done with messages.
#[derive(Debug, Default)]
pub struct NamedPatterns {
    /// By what was written; the newest last. What is no pattern with the names in it matches nothing.
    known: VecDeque<(String, Option<Pattern>)>,
}

impl NamedPatterns {
    fn matches(&mut self, pattern: &Pattern, key: &str, vhost: &str, user: &str) -> bool {
        let text = pattern.as_str();
        if !text.contains(['{', '}']) {
            return pattern.matches(key);
        }
        let allows = |named: &Option<Pattern>| named.as_ref().is_some_and(|named| named.matches(key));
        if let Some((_, named)) = self.known.iter().find(|(known, _)| known == text) {
            return allows(named);
        }
        // The names are no patterns themselves.
        let with_names = text
            .replace("{username}", &fancy_regex::escape(user))
            .replace("{vhost}", &fancy_regex::escape(vhost));
        let named = Pattern::new(&with_names).ok();
        let allowed = allows(&named);
        if self.known.len() >= NAMED_MAX {
            self.known.pop_front();
        }
        self.known.push_back((text.to_owned(), named));
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_with_names_are_made_once_and_not_too_many_are_remembered() {
        let mut named = NamedPatterns::default();
        let mut matches = |pattern: &str, key: &str| {
            let pattern = Pattern::new(pattern).unwrap();
            (named.matches(&pattern, key, "/", "a.n"), named.known.len())
        };
        assert_eq!(matches("^x", "x"), (true, 0));
        assert_eq!(matches(r"^{username}\.", "a.n.x"), (true, 1));
        assert_eq!(matches(r"^{username}\.", "abn.x"), (false, 1));
        assert_eq!(matches("^{vhost}$", "/"), (true, 2));
        // What is written in braces and means nothing is part of the pattern.
        assert_eq!(matches("^[0-9]{3}$", "123"), (true, 3));
        for number in 0..2 * NAMED_MAX {
            assert!(matches(&format!("^{{username}}{number}$"), &format!("a.n{number}")).0);
        }
        assert_eq!(matches(r"^{username}\.", "a.n.x"), (true, NAMED_MAX));
    }
}
