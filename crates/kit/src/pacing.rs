//! Ends TCP's pacing on connections that stay on this host.
//!
//! A machine whose congestion control paces (BBR) arms a timer for every few segments, on the loopback as well, where there is no
//! link to be gentle with: a large flow through a proxy to a server beside it then spends half of its processor time in timers.
//! Connections that leave the host keep what the machine's owner has chosen.

use std::net::IpAddr;
use std::os::fd::AsFd;
use std::sync::LazyLock;

use rustix::net::sockopt;

/// Built into every kernel, allowed to everybody, and never held back by anything but losses, of which there are none.
const UNPACED: &str = "reno";

/// Whether new connections of this machine are paced. Who changes that restarts us.
static PACES: LazyLock<bool> = LazyLock::new(|| {
    std::fs::read_to_string("/proc/sys/net/ipv4/tcp_congestion_control").is_ok_and(|name| paces(name.trim()))
});

/// Ends pacing if `peer`, to which a socket is or will be connected, is on this host, too. A kernel that refuses paces on.
///
/// Before it is connected is best: a connection that BBR has begun keeps its timers, though at a rate that hardly needs them.
/// Which of its own addresses the host uses is known afterwards only.
pub fn end_within_host(socket: impl AsFd, peer: IpAddr) {
    if *PACES && is_within_host(&socket, peer) {
        let _refused = sockopt::set_tcp_congestion(socket, UNPACED);
    }
}

fn paces(algorithm: &str) -> bool {
    algorithm.starts_with("bbr")
}

/// One end has the address of the other, or that of the loopback.
fn is_within_host(socket: impl AsFd, peer: IpAddr) -> bool {
    let peer = peer.to_canonical();
    peer.is_loopback()
        || rustix::net::getsockname(socket)
            .ok()
            .and_then(|local| std::net::SocketAddr::try_from(local).ok())
            .is_some_and(|local| local.ip().to_canonical() == peer)
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn only_algorithms_of_the_bbr_family_pace() {
        let all = ["bbr", "bbr2", "bbr3", "cubic", "reno", "dctcp", "vegas"];
        assert_eq!(all.map(paces), [true, true, true, false, false, false, false]);
    }

    #[test]
    fn a_connection_within_the_host_is_not_paced_and_one_that_leaves_it_is_as_it_was() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let here = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let before = sockopt::tcp_congestion(&here).unwrap();
        assert!(!is_within_host(&here, "192.0.2.1".parse().unwrap()));
        end_within_host(&here, "192.0.2.1".parse().unwrap());
        assert_eq!(sockopt::tcp_congestion(&here).unwrap(), before);
        let peer = here.peer_addr().unwrap().ip();
        assert!(is_within_host(&here, peer));
        end_within_host(&here, peer);
        let after = sockopt::tcp_congestion(&here).unwrap();
        assert!(!paces(&after), "{after}");
        assert!(paces(&before) || after == before, "{before} became {after}");
    }

    #[test]
    fn an_address_of_the_host_that_speaks_to_itself_stays_within_it_and_so_does_one_mapped_into_ipv6() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        assert!(is_within_host(&stream, "::ffff:127.0.0.1".parse().unwrap()));
        assert!(is_within_host(&stream, "::1".parse().unwrap()));
    }
}
