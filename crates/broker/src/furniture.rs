//! What a node that is new begins with: a vhost, and a user who may do everything in it.

use std::fmt;

use warren_model::meta::{Command, Permissions};
use warren_model::{Name, Pattern};

use crate::password::{Hashing, hash_with};

/// A text that is shown to nobody.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The text itself.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("********")
    }
}

/// The vhost and the user of a node that is new.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Furniture {
    /// Name of the vhost.
    pub vhost: String,
    /// Name of the user.
    pub user: String,
    /// His password.
    pub password: Secret,
    /// His tags.
    pub tags: Vec<String>,
    /// Expressions for what he may configure, write to and read from.
    pub permissions: [String; 3],
}

impl Default for Furniture {
    /// RabbitMQ's.
    fn default() -> Self {
        Self {
            vhost: "/".to_owned(),
            user: "guest".to_owned(),
            password: Secret::from("guest".to_owned()),
            tags: vec!["administrator".to_owned()],
            permissions: [".*", ".*", ".*"].map(str::to_owned),
        }
    }
}

impl Furniture {
    /// What makes it. `None` if a name or an expression in it is none.
    #[must_use]
    pub fn commands(&self, hashing: Hashing, salt: [u8; 4]) -> Option<[Command; 3]> {
        let vhost = Name::try_from(self.vhost.as_str()).ok()?;
        let user = Name::try_from(self.user.as_str()).ok()?;
        let tags = self.tags.iter().map(|tag| Name::try_from(tag.as_str()).ok());
        let [configure, write, read] = &self.permissions;
        let permissions = Permissions {
            configure: Pattern::new(configure).ok()?,
            write: Pattern::new(write).ok()?,
            read: Pattern::new(read).ok()?,
        };
        Some([
            Command::AddVhost {
                name: vhost.clone(),
                description: "Default virtual host".to_owned(),
            },
            Command::PutUser {
                name: user.clone(),
                password: Some(hash_with(hashing, self.password.reveal().as_bytes(), salt)),
                tags: tags.collect::<Option<_>>()?,
            },
            Command::SetPermissions {
                user,
                vhost,
                permissions,
            },
        ])
    }
}

#[cfg(test)]
mod tests {
    use warren_model::meta::PasswordHash;

    use super::*;

    #[test]
    fn a_password_is_not_shown() {
        assert!(!format!("{:?}", Furniture::default()).contains("\"guest\", password: \"guest"));
        assert!(format!("{:?}", Furniture::default()).contains("password: ********"));
    }

    #[test]
    fn what_is_no_name_makes_nothing() {
        let commands = Furniture::default().commands(Hashing::Sha512, [0; 4]);
        let [_, Command::PutUser { password, .. }, _] = commands.unwrap() else {
            panic!("no user")
        };
        assert_eq!(
            password.unwrap().algorithm,
            PasswordHash::SHA512,
            "as it was chosen"
        );
        let long = Furniture {
            user: "u".repeat(256),
            ..Furniture::default()
        };
        assert!(long.commands(Hashing::Sha256, [0; 4]).is_none());
    }
}
