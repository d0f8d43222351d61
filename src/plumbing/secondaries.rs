//! Keeps the kernel from deleting addresses that we did not ask it to delete.
//!
//! Of several IPv4 addresses of one network on an interface the first is the primary one, and with it the kernel
//! deletes the others, unless `promote_secondaries` is set. systemd sets it on every interface; elsewhere it is off.

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;

use nix::errno::Errno;
use nix::net::if_::if_indextoname;

use super::{Holding, Refusal};

/// Sets it on the interfaces of addresses that can be, or have, secondaries.
pub(super) fn promote(holding: &Holding) -> Vec<Refusal> {
    let addresses = holding.addresses.iter().map(|held| &held.address);
    let networked = addresses.filter(|address| address.address.is_ipv4() && address.prefix < 32);
    let interfaces: BTreeSet<u32> = networked.map(|address| address.ifindex).collect();
    let refusal = |ifindex| {
        let error = promote_on(ifindex).err()?;
        let errno = error.raw_os_error().map_or(Errno::EIO, Errno::from_raw);
        Some(Refusal {
            what: format!("promote_secondaries on interface {ifindex}"),
            errno,
        })
    };
    interfaces.into_iter().filter_map(refusal).collect()
}

fn promote_on(ifindex: u32) -> io::Result<()> {
    let name = if_indextoname(ifindex)?;
    let setting =
        |interface: &str| PathBuf::from(format!("/proc/sys/net/ipv4/conf/{interface}/promote_secondaries"));
    let own = setting(&name.to_string_lossy());
    for path in [&setting("all"), &own] {
        if std::fs::read_to_string(path)?.trim() != "0" {
            return Ok(());
        }
    }
    std::fs::write(own, "1")
}
