//! Users and groups by name or number.
//!
//! Names are resolved through the C library, which may ask a directory server: do it at start or reload, never on a
//! thread that must not wait.

use nix::errno::Errno;
use nix::unistd::{Gid, Group, Uid, User};

/// Who a program runs as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    pub uid: u32,
    pub gid: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccountError {
    #[error("there is no user \"{0}\" on this host: create it or name another")]
    NoUser(String),
    #[error("there is no group \"{0}\" on this host: create it or name another")]
    NoGroup(String),
    #[error("the user number {0} has no entry in the password database: give its group too")]
    NoPrimaryGroup(u32),
    #[error("looking up \"{name}\": {source}")]
    Lookup { name: String, source: Errno },
}

/// The identity of `user`, with its own group unless `group` names another.
pub fn identity(user: &str, group: Option<&str>) -> Result<Identity, AccountError> {
    let failed = |source| AccountError::Lookup {
        name: user.into(),
        source,
    };
    let number = user.parse::<u32>().ok();
    let account = match number {
        Some(uid) => User::from_uid(Uid::from_raw(uid)),
        None => User::from_name(user),
    }
    .map_err(failed)?;
    let uid = match (&account, number) {
        (Some(account), _) => account.uid.as_raw(),
        (None, Some(uid)) => uid,
        (None, None) => return Err(AccountError::NoUser(user.into())),
    };
    let gid = match (group, account) {
        (Some(group), _) => group_id(group)?,
        (None, Some(account)) => account.gid.as_raw(),
        (None, None) => return Err(AccountError::NoPrimaryGroup(uid)),
    };
    Ok(Identity { uid, gid })
}

pub fn group_id(group: &str) -> Result<u32, AccountError> {
    if let Ok(gid) = group.parse() {
        return Ok(gid);
    }
    let found = Group::from_name(group);
    let found = found.map_err(|source| AccountError::Lookup {
        name: group.into(),
        source,
    })?;
    found
        .map(|group| group.gid.as_raw())
        .ok_or_else(|| AccountError::NoGroup(group.into()))
}

/// The name of a user, or its number where it has none.
pub fn user_name(uid: u32) -> String {
    let found = User::from_uid(Uid::from_raw(uid)).ok().flatten();
    found.map_or_else(|| uid.to_string(), |user| user.name)
}

/// The name of a group, or its number where it has none.
pub fn group_name(gid: u32) -> String {
    let found = Group::from_gid(Gid::from_raw(gid)).ok().flatten();
    found.map_or_else(|| gid.to_string(), |group| group.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_is_found_by_name_and_by_number() {
        let root = Identity { uid: 0, gid: 0 };
        assert_eq!(identity("root", None), Ok(root));
        assert_eq!(identity("0", None), Ok(root));
        assert_eq!(identity("root", Some("4321")), Ok(Identity { uid: 0, gid: 4321 }));
        assert_eq!((user_name(0), group_name(0)), ("root".into(), "root".into()));
    }

    #[test]
    fn who_does_not_exist_is_named() {
        let no_user = identity("no-such-user", None).unwrap_err();
        assert_eq!(
            no_user.to_string(),
            "there is no user \"no-such-user\" on this host: create it or name another"
        );
        assert_eq!(
            identity("root", Some("no-such")),
            Err(AccountError::NoGroup("no-such".into()))
        );
        assert_eq!(
            identity("4294000001", None),
            Err(AccountError::NoPrimaryGroup(4_294_000_001))
        );
        assert_eq!(
            identity("4294000001", Some("0")),
            Ok(Identity {
                uid: 4_294_000_001,
                gid: 0
            })
        );
        assert_eq!(user_name(4_294_000_001), "4294000001");
    }
}
