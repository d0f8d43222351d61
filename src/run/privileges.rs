//! What a role may do beyond what every process may: no more than its unit would let it.

use std::io;

use nix::errno::Errno;
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, configure_capability_in_ambient_set,
    remove_capability_from_bounding_set, set_capabilities, set_no_new_privs,
};

use super::role::Name;

/// What a role can make use of. Those that change users are for checks and notify programs that run as others, and for a
/// proxy whose file names a user.
fn useful(role: Name) -> CapabilitySet {
    let another_user = CapabilitySet::SETUID | CapabilitySet::SETGID | CapabilitySet::CHOWN;
    match role {
        Name::Broker => CapabilitySet::empty(),
        Name::Proxy => CapabilitySet::NET_BIND_SERVICE | CapabilitySet::SYS_CHROOT | another_user,
        Name::Vrrp => {
            let network = CapabilitySet::NET_RAW | CapabilitySet::NET_ADMIN;
            network | CapabilitySet::SYS_NICE | CapabilitySet::IPC_LOCK | CapabilitySet::KILL | another_user
        }
    }
}

/// Leaves the calling thread, and whatever it starts, with what is useful to the role, for good.
pub(super) fn limit(role: Name) -> io::Result<()> {
    let kept = useful(role) & capabilities(None)?.permitted;
    // Without this even root's programs get nothing else.
    for capability in CapabilitySet::all().difference(kept).iter() {
        match remove_capability_from_bounding_set(capability) {
            Ok(()) => {}
            // One that this kernel does not have; or we have none to give away.
            Err(error) if [Errno::EINVAL as i32, Errno::EPERM as i32].contains(&error.raw_os_error()) => {}
            Err(error) => return Err(error.into()),
        }
    }
    set_capabilities(
        None,
        CapabilitySets {
            effective: kept,
            permitted: kept,
            inheritable: kept,
        },
    )?;
    for capability in kept.iter() {
        configure_capability_in_ambient_set(capability, true)?;
    }
    Ok(set_no_new_privs(true)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_was_limited_starts_programs_with_that_and_no_more() {
        for role in [Name::Broker, Name::Proxy, Name::Vrrp] {
            let (had, seen) = std::thread::spawn(move || {
                let had = capabilities(None).unwrap().permitted;
                limit(role).unwrap();
                let status = std::process::Command::new("cat")
                    .arg("/proc/self/status")
                    .output();
                (had, String::from_utf8(status.unwrap().stdout).unwrap())
            })
            .join()
            .unwrap();
            let field = |name: &str| {
                let line = seen.lines().find_map(|line| line.strip_prefix(name)).unwrap();
                u64::from_str_radix(line.trim(), 16).unwrap()
            };
            let kept = (useful(role) & had).bits();
            assert_eq!((field("CapPrm:"), field("CapEff:")), (kept, kept), "{role:?}");
            assert_eq!(field("NoNewPrivs:"), 1);
        }
    }
}
