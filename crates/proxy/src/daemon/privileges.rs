//! From root to the `user` and `group` of the configuration.
//!
//! One capability stays, with the calling thread and the successors that it starts: binding ports below 1024, since a
//! reload may bring new ones. Threads that exist already lose every capability with their user.

use std::io;
use std::os::unix::fs::chown;
use std::path::Path;

use nix::unistd::{Gid, Uid, setgid, setgroups, setuid};
use rustix::thread::{
    CapabilitySet, CapabilitySets, configure_capability_in_ambient_set, set_capabilities,
    set_keep_capabilities,
};
use warren_kit::accounts::{self, AccountError};

/// The process cannot become who it should.
#[derive(Debug, thiserror::Error)]
pub enum PrivilegeError {
    /// No such user or group.
    #[error(transparent)]
    Account(#[from] AccountError),
    /// The system refused.
    #[error("cannot run as {who}: {source}")]
    Refused {
        /// User or group.
        who: String,
        /// What the system says.
        source: io::Error,
    },
}

/// Becomes `user` and `group` if started by root; anybody else stays who they are. The pid file goes along, so that a
/// successor can write its own number there.
///
/// # Errors
/// There is no such user, or the system refuses.
pub(super) fn drop_to(
    user: Option<&str>,
    group: Option<&str>,
    pid_file: Option<&Path>,
) -> Result<(), PrivilegeError> {
    if !Uid::effective().is_root() || (user.is_none() && group.is_none()) {
        return Ok(());
    }
    let refused = |who: &str| {
        let who = who.to_owned();
        move |source: io::Error| PrivilegeError::Refused { who, source }
    };
    let named = group.or(user).unwrap_or_default();
    let identity = user.map(|user| accounts::identity(user, group)).transpose()?;
    let gid = match (&identity, group) {
        (Some(identity), _) => identity.gid,
        (None, Some(group)) => accounts::group_id(group)?,
        (None, None) => return Ok(()),
    };
    let gid = Gid::from_raw(gid);
    setgroups(&[gid]).map_err(|error| refused(named)(error.into()))?;
    setgid(gid).map_err(|error| refused(named)(error.into()))?;
    let Some(identity) = identity else {
        return Ok(());
    };
    let who = user.unwrap_or_default();
    if let Some(file) = pid_file
        && let Err(error) = chown(file, Some(identity.uid), None)
    {
        tracing::warn!(file = %file.display(), %error, "a successor will not be able to write the pid file");
    }
    set_keep_capabilities(true).map_err(|error| refused(who)(error.into()))?;
    setuid(Uid::from_raw(identity.uid)).map_err(|error| refused(who)(error.into()))?;
    let kept = CapabilitySet::NET_BIND_SERVICE;
    let sets = CapabilitySets {
        effective: kept,
        permitted: kept,
        inheritable: kept,
    };
    if set_capabilities(None, sets).is_ok() {
        // Without it a successor would have to do with the ports there are; where that cannot be had, it does.
        let _ = configure_capability_in_ambient_set(kept, true);
    } else {
        // A container may have taken it from root already; then low ports stay out of reach, as they were.
        let none = CapabilitySets {
            effective: CapabilitySet::empty(),
            permitted: CapabilitySet::empty(),
            inheritable: CapabilitySet::empty(),
        };
        set_capabilities(None, none).map_err(|error| refused(who)(error.into()))?;
    }
    set_keep_capabilities(false).map_err(|error| refused(who)(error.into()))?;
    Ok(())
}
