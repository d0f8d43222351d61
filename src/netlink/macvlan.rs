//! A virtual router's own interface with its virtual MAC: a private macvlan on the base interface.
//!
//! Two interfaces on one wire need settings, else the base answers ARP for virtual addresses with its own MAC:
//!
//! | on | setting | why |
//! |---|---|---|
//! | base, macvlan | `arp_ignore` = 1 | each answers only for its own addresses |
//! | base, macvlan | `arp_announce` = 2 | the base does not ask in a virtual address's name, which would teach its MAC |
//! | macvlan | `rp_filter` off, or loose where the host filters | frames arrive here whose senders are routed by the base |
//! | macvlan | `accept_local` = 1 | so do those that the base sent |
//! | macvlan | `addr_gen_mode` = 1, `accept_ra` = 0, `autoconf` = 0 | no address made from the virtual MAC, which both hosts share |
//! | IPv4 macvlan | `disable_ipv6` = 1 | it has no business there |
//!
//! Frames that another host sent from this MAC are handed to this interface and not to the base; what comes from other MACs arrives at both.
//! So adverts are read from both, here only those from the virtual MAC.
//!
//! Deliberately absent: `arp_filter` on the base, which makes the base's own address unreachable as soon as a route
//! prefers the macvlan, and does nothing that `arp_ignore` does not.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use nix::errno::Errno;
use rtnetlink::packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use rtnetlink::packet_route::RouteNetlinkMessage::{DelLink, NewAddress, NewLink};
use rtnetlink::packet_route::address::AddressAttribute;
use rtnetlink::packet_route::link::{InfoKind, LinkAttribute, LinkInfo, LinkMessage, MacVlanMode};
use rtnetlink::{LinkMacVlan, LinkUnspec};
use warren_vrrp::Family;

use super::address::Address;
use super::batch::Netlink;
use crate::config::plan::VirtualMacPlan;
use crate::frames::Mac;

/// The first octets of every virtual MAC (RFC 9568 section 7.3), up to the family.
const VRRP_PREFIX: [u8; 4] = [0x00, 0x00, 0x5e, 0x00];

/// Settings of base interfaces as they were before the first macvlan on them, and how many there are.
static BASES: Mutex<BTreeMap<PathBuf, Changed>> = Mutex::new(BTreeMap::new());

struct Changed {
    before: String,
    users: u32,
}

/// The interface, until it is removed. Dropping it restores the base's settings only.
#[derive(Debug)]
pub struct VirtualMac {
    index: u32,
    base_settings: Vec<PathBuf>,
}

impl VirtualMac {
    /// Makes the interface, or adopts one of that name and MAC on that base.
    pub fn create(
        plan: &VirtualMacPlan,
        base_index: u32,
        base_name: &str,
        family: Family,
    ) -> io::Result<Self> {
        let mut netlink = Netlink::open().map_err(io::Error::other)?;
        let links = netlink.dump_links().map_err(io::Error::other)?;
        let existing = links.iter().find(|link| name(link) == Some(&plan.name));
        if existing.is_none_or(|link| !is_ours(link, plan.mac, base_index)) {
            if let Some(link) = existing {
                remove_leftover(&mut netlink, link, plan)?;
            }
            let message =
                LinkMacVlan::new(&plan.name, base_index, MacVlanMode::Private).address(plan.mac.to_vec());
            netlink.request(NewLink(message.build()), NLM_F_CREATE | NLM_F_EXCL)?;
        }
        let index = nix::net::if_::if_nametoindex(plan.name.as_str())?;
        let mut made = Self {
            index,
            base_settings: Vec::new(),
        };
        let result = made.prepare(
            &mut netlink,
            plan,
            base_name,
            base_mac(&links, base_index),
            family,
        );
        match result {
            Ok(()) => Ok(made),
            Err(error) => {
                let _ = made.remove();
                Err(error)
            }
        }
    }

    fn prepare(
        &mut self,
        netlink: &mut Netlink,
        plan: &VirtualMacPlan,
        base: &str,
        base_mac: Mac,
        family: Family,
    ) -> io::Result<()> {
        let own = &plan.name;
        set(setting("ipv4", own, "arp_ignore"), "1")?;
        set(setting("ipv4", own, "arp_announce"), "2")?;
        set(setting("ipv4", own, "accept_local"), "1")?;
        // The stricter of this and the setting for all interfaces counts, and loose passes for stricter than strict.
        let filtering = std::fs::read_to_string(setting("ipv4", "all", "rp_filter"))?;
        set(
            setting("ipv4", own, "rp_filter"),
            if filtering.trim() == "0" { "0" } else { "2" },
        )?;
        match family {
            Family::V4 => unless_missing(set(setting("ipv6", own, "disable_ipv6"), "1"))?,
            Family::V6 => {
                for (key, value) in [
                    ("addr_gen_mode", "1"),
                    ("accept_ra", "0"),
                    ("autoconf", "0"),
                    ("disable_ipv6", "0"),
                ] {
                    set(setting("ipv6", own, key), value)?;
                }
            }
        }
        if family == Family::V4 {
            self.set_on_base(setting("ipv4", base, "arp_ignore"), "1")?;
            self.set_on_base(setting("ipv4", base, "arp_announce"), "2")?;
        }
        netlink.request(NewLink(LinkUnspec::new_with_index(self.index).up().build()), 0)?;
        if family == Family::V6 && !plan.transmit_base {
            self.add_link_local(netlink, base_mac)?;
        }
        Ok(())
    }

    /// Advertisements need a link-local source that differs between the hosts: the one that goes with the base's MAC.
    fn add_link_local(&self, netlink: &mut Netlink, mac: Mac) -> io::Result<()> {
        let address = Address::bare(self.index, IpAddr::V6(link_local(mac)), 64);
        let mut message = address.message(None);
        // Neither ours to sweep nor deprecated: it is the interface's own.
        message.attributes.retain(|attribute| {
            matches!(
                attribute,
                AddressAttribute::Local(_) | AddressAttribute::Address(_) | AddressAttribute::Flags(_)
            )
        });
        match netlink.request(NewAddress(message), NLM_F_CREATE | NLM_F_EXCL) {
            Ok(()) | Err(Errno::EEXIST) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Changes a setting of the base until the last virtual MAC on it is gone.
    fn set_on_base(&mut self, path: PathBuf, value: &str) -> io::Result<()> {
        let mut bases = bases();
        match bases.get_mut(&key(&path)?) {
            Some(changed) => changed.users += 1,
            None => {
                let before = std::fs::read_to_string(&path)?.trim().to_owned();
                set(path.clone(), value)?;
                bases.insert(key(&path)?, Changed { before, users: 1 });
            }
        }
        self.base_settings.push(path);
        Ok(())
    }

    #[must_use]
    pub fn index(&self) -> u32 {
        self.index
    }

    /// Deletes the interface and restores what was changed on its base.
    pub fn remove(self) -> io::Result<()> {
        let mut netlink = Netlink::open().map_err(io::Error::other)?;
        match netlink.request(DelLink(LinkUnspec::new_with_index(self.index).build()), 0) {
            Ok(()) | Err(Errno::ENODEV) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }
}

impl Drop for VirtualMac {
    fn drop(&mut self) {
        for path in std::mem::take(&mut self.base_settings) {
            let Ok(key) = key(&path) else { continue };
            let mut bases = bases();
            let Some(changed) = bases.get_mut(&key) else {
                continue;
            };
            changed.users -= 1;
            if changed.users == 0 {
                // If the base is gone, so is the setting.
                let _ = set(path, &changed.before);
                bases.remove(&key);
            }
        }
    }
}

fn bases() -> MutexGuard<'static, BTreeMap<PathBuf, Changed>> {
    BASES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One setting is one file per network namespace, under the same path.
fn key(path: &Path) -> io::Result<PathBuf> {
    Ok(std::fs::read_link("/proc/thread-self/ns/net")?.join(path.strip_prefix("/").unwrap_or(path)))
}

fn setting(family: &str, interface: &str, name: &str) -> PathBuf {
    PathBuf::from(format!("/proc/sys/net/{family}/conf/{interface}/{name}"))
}

fn set(path: PathBuf, value: &str) -> io::Result<()> {
    let current = std::fs::read_to_string(&path).map_err(|error| explain(&path, &error))?;
    if current.trim() == value {
        return Ok(());
    }
    std::fs::write(&path, value).map_err(|error| explain(&path, &error))
}

fn explain(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

/// A host without IPv6 has none of its settings.
fn unless_missing(result: io::Result<()>) -> io::Result<()> {
    result.or_else(|error| {
        if error.kind() == io::ErrorKind::NotFound {
            Ok(())
        } else {
            Err(error)
        }
    })
}

/// Deletes an interface that stands in the way if it is one of ours, made for another base or router.
fn remove_leftover(netlink: &mut Netlink, link: &LinkMessage, plan: &VirtualMacPlan) -> io::Result<()> {
    if !is_macvlan(link) || !mac(link).starts_with(&VRRP_PREFIX) {
        let text = format!(
            "{} exists and is no virtual MAC interface; choose another name",
            plan.name
        );
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, text));
    }
    netlink.request(DelLink(LinkUnspec::new_with_index(link.header.index).build()), 0)?;
    Ok(())
}

fn is_ours(link: &LinkMessage, wanted: Mac, base: u32) -> bool {
    is_macvlan(link) && mac(link) == wanted && link.attributes.contains(&LinkAttribute::Link(base))
}

fn is_macvlan(link: &LinkMessage) -> bool {
    link.attributes.iter().any(|attribute| match attribute {
        LinkAttribute::LinkInfo(info) => info.contains(&LinkInfo::Kind(InfoKind::MacVlan)),
        _ => false,
    })
}

fn name(link: &LinkMessage) -> Option<&String> {
    link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::IfName(name) => Some(name),
        _ => None,
    })
}

fn mac(link: &LinkMessage) -> &[u8] {
    let found = link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::Address(mac) => Some(mac.as_slice()),
        _ => None,
    });
    found.unwrap_or_default()
}

fn base_mac(links: &[LinkMessage], base: u32) -> Mac {
    let link = links.iter().find(|link| link.header.index == base);
    link.and_then(|link| mac(link).try_into().ok())
        .unwrap_or_default()
}

/// RFC 4291 appendix A.
fn link_local(mac: Mac) -> Ipv6Addr {
    let [a, b, c, d, e, f] = mac;
    let word = |high: u8, low: u8| u16::from_be_bytes([high, low]);
    Ipv6Addr::new(
        0xfe80,
        0,
        0,
        0,
        word(a ^ 2, b),
        word(c, 0xff),
        word(0xfe, d),
        word(e, f),
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::namespace::{eventually, in_namespace, ip};
    use crate::netlink::Batch;
    use crate::plumbing::probe::{link_address, who_has};

    const BASE: Mac = [2, 0, 0, 0, 0, 1];
    const ASKER: Mac = [2, 0, 0, 0, 0, 2];

    fn plan(family: u8, vrid: u8) -> VirtualMacPlan {
        VirtualMacPlan {
            name: format!("vrrp{family}.{vrid}"),
            mac: [0, 0, 0x5e, 0, family, vrid],
            transmit_base: false,
        }
    }

    fn cable() -> u32 {
        ip("link add v0 address 02:00:00:00:00:01 type veth peer name v1 address 02:00:00:00:00:02");
        ip("link set v0 up");
        ip("link set v1 up");
        ip("address add 10.9.0.1/24 dev v0");
        nix::net::if_::if_nametoindex("v0").unwrap()
    }

    fn read(interface: &str, name: &str) -> String {
        std::fs::read_to_string(setting("ipv4", interface, name))
            .unwrap()
            .trim()
            .to_owned()
    }

    #[test]
    fn neighbours_see_the_virtual_mac_for_virtual_addresses_and_the_base_s_for_its_own() {
        in_namespace(|| {
            let v0 = cable();
            let v1 = nix::net::if_::if_nametoindex("v1").unwrap();
            let (v4, v6) = (plan(1, 51), plan(2, 51));
            let made4 = VirtualMac::create(&v4, v0, "v0", Family::V4).unwrap();
            let made6 = VirtualMac::create(&v6, v0, "v0", Family::V6).unwrap();
            let mut batch = Batch::new();
            Address {
                ifindex: made4.index(),
                ..Address::bare(0, [10, 9, 0, 9].into(), 32)
            }
            .add(None, &mut batch);
            Address {
                ifindex: made6.index(),
                ..Address::bare(0, "fd99::9".parse().unwrap(), 128)
            }
            .add(None, &mut batch);
            assert_eq!(Netlink::open().unwrap().run(&mut batch).unwrap(), []);
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            for (address, expected) in [("10.9.0.9", v4.mac), ("10.9.0.1", BASE), ("fd99::9", v6.mac)] {
                let ask = |own, ms| {
                    let asked = who_has(
                        link_address(v1).unwrap(),
                        own,
                        address.parse().unwrap(),
                        Duration::from_millis(ms),
                    );
                    runtime.block_on(asked).unwrap()
                };
                eventually(Duration::from_secs(3), || match ask(ASKER, 100) {
                    Some(mac) if mac == expected => Ok(()),
                    other => Err(format!("{address}: {other:?}")),
                });
                assert_eq!(ask(expected, 50), None, "nobody else answers for {address}");
            }
            let made = ip("-d link show vrrp1.51") + &ip("address show dev vrrp2.51");
            assert!(
                made.contains("macvlan mode private") && made.contains("00:00:5e:00:01:33"),
                "{made}"
            );
            assert!(
                made.contains("inet6 fe80::ff:fe00:1/64") && !made.contains("5eff"),
                "{made}"
            );
            assert!(!ip("address show dev vrrp1.51").contains("inet6"));
        });
    }

    #[test]
    fn the_base_s_settings_are_restored_with_the_last_virtual_mac_on_it() {
        in_namespace(|| {
            let v0 = cable();
            std::fs::write(setting("ipv4", "v0", "arp_announce"), "1").unwrap();
            let first = VirtualMac::create(&plan(1, 1), v0, "v0", Family::V4).unwrap();
            let second = VirtualMac::create(&plan(1, 2), v0, "v0", Family::V4).unwrap();
            first.remove().unwrap();
            assert_eq!(
                (read("v0", "arp_ignore"), read("v0", "arp_announce")),
                ("1".into(), "2".into())
            );
            second.remove().unwrap();
            assert_eq!(
                (read("v0", "arp_ignore"), read("v0", "arp_announce")),
                ("0".into(), "1".into())
            );
            assert!(!ip("link").contains("vrrp"), "{}", ip("link"));
        });
    }

    #[test]
    fn an_interface_of_ours_is_adopted_and_one_of_another_s_is_refused() {
        in_namespace(|| {
            let v0 = cable();
            let first = VirtualMac::create(&plan(1, 7), v0, "v0", Family::V4).unwrap();
            let index = first.index();
            drop(first);
            let again = VirtualMac::create(&plan(1, 7), v0, "v0", Family::V4).unwrap();
            assert_eq!(again.index(), index, "adopted");
            let other = VirtualMacPlan {
                mac: [0, 0, 0x5e, 0, 1, 8],
                ..plan(1, 7)
            };
            let other = VirtualMac::create(&other, v0, "v0", Family::V4).unwrap();
            assert_ne!(other.index(), index, "a leftover with another MAC makes way");
            let taken = VirtualMacPlan {
                name: "v1".to_owned(),
                ..plan(1, 9)
            };
            let error = VirtualMac::create(&taken, v0, "v0", Family::V4).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
            assert!(ip("link").contains("v1@v0"), "and is left alone");
            let error = VirtualMac::create(&plan(1, 3), 99, "nowhere", Family::V4).unwrap_err();
            assert!(!ip("link").contains("vrrp1.3"), "nothing is left after {error}");
        });
    }

    #[test]
    fn strict_reverse_path_filtering_of_the_host_becomes_loose_here() {
        in_namespace(|| {
            let v0 = cable();
            std::fs::write(setting("ipv4", "all", "rp_filter"), "1").unwrap();
            let _made = VirtualMac::create(&plan(1, 1), v0, "v0", Family::V4).unwrap();
            assert_eq!(
                (read("vrrp1.1", "rp_filter"), read("vrrp1.1", "accept_local")),
                ("2".into(), "1".into())
            );
        });
    }
}
