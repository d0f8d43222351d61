//! The sockets that clients connect to.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use socket2::{Domain, SockRef, Socket, Type};
use tokio::net::TcpListener;

/// Clients that may wait until they are accepted.
const BACKLOG: i32 = 4096;

/// An address that cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {source}; {}", advice(source))]
pub struct ListenError {
    /// Which.
    pub address: SocketAddr,
    /// Why.
    pub source: io::Error,
}

fn advice(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::AddrNotAvailable => {
            "no interface has that address, see `ip address`: wait until one has, or give another address with --listen"
        }
        io::ErrorKind::PermissionDenied => {
            "ports below 1024 need CAP_NET_BIND_SERVICE: give another port with --listen"
        }
        _ => "end what listens there, or give another address with --listen",
    }
}

/// Listens. `[::]` is every address of both families, or of IPv4 alone where there is no other.
///
/// `leaving` are listeners that will be closed in favour of this one: an address that one of them has, or that is part of one of theirs,
/// is no obstacle, and somebody listens there at any time.
pub(super) fn listen(address: SocketAddr, leaving: &[&OwnedFd]) -> Result<TcpListener, ListenError> {
    let failed = |source| ListenError { address, source };
    let bound = match bind(address, false) {
        Err(error) if is(&error, &[Errno::ADDRINUSE]) && !leaving.is_empty() => bind_beside(leaving, address),
        Err(error) if address.ip().is_unspecified() && is(&error, WITHOUT_IPV6) => {
            bind((Ipv4Addr::UNSPECIFIED, address.port()).into(), false)
        }
        bound => bound,
    };
    let socket = bound.map_err(failed)?;
    TcpListener::from_std(socket.into()).map_err(failed)
}

/// Sockets of one user may have the same address as long as all of them say so, which they do no longer than for this.
fn bind_beside(leaving: &[&OwnedFd], address: SocketAddr) -> io::Result<Socket> {
    let share = |on| {
        let mut leaving = leaving.iter();
        leaving.try_for_each(|socket| SockRef::from(socket).set_reuse_port(on))
    };
    share(true)?;
    let bound = bind(address, true);
    share(false)?;
    let socket = bound?;
    socket.set_reuse_port(false)?;
    Ok(socket)
}

fn bind(address: SocketAddr, beside: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(beside)?;
    if address.is_ipv6() {
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

const WITHOUT_IPV6: &[Errno] = &[Errno::AFNOSUPPORT, Errno::ADDRNOTAVAIL];

fn is(error: &io::Error, errors: &[Errno]) -> bool {
    Errno::from_io_error(error).is_some_and(|error| errors.contains(&error))
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    #[tokio::test]
    async fn both_families_come_in_by_the_unspecified_address() {
        let listener = listen("[::]:0".parse().unwrap(), &[]).unwrap();
        let port = listener.local_addr().unwrap().port();
        let client = std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        let (_, peer) = listener.accept().await.unwrap();
        assert_eq!(peer.port(), client.local_addr().unwrap().port());
    }

    #[tokio::test]
    async fn an_address_in_use_is_named() {
        let first = listen("127.0.0.1:0".parse().unwrap(), &[]).unwrap();
        let address = first.local_addr().unwrap();
        let error = listen(address, &[]).unwrap_err().to_string();
        assert!(
            error.starts_with(&format!("cannot listen on {address}: ")),
            "{error}"
        );
        assert!(error.contains("end what listens there"), "{error}");
    }

    #[tokio::test]
    async fn an_address_that_the_host_does_not_have_is_told_from_one_in_use() {
        let error = listen("192.0.2.1:5672".parse().unwrap(), &[]).unwrap_err();
        assert!(
            error.to_string().contains("no interface has that address"),
            "{error}"
        );
    }

    #[tokio::test]
    async fn the_same_a_narrower_and_a_wider_address_take_over_from_one_that_leaves() {
        let mut listener = listen("0.0.0.0:0".parse().unwrap(), &[]).unwrap();
        let port = listener.local_addr().unwrap().port();
        for (address, client) in [
            ("127.0.0.1", "127.0.0.1"),
            ("127.0.0.1", "127.0.0.1"),
            ("0.0.0.0", "127.0.0.2"),
            ("[::]", "127.0.0.1"),
            ("[::1]", "[::1]"),
            ("[::]", "127.0.0.1"),
        ] {
            let address: SocketAddr = format!("{address}:{port}").parse().unwrap();
            assert!(listen(address, &[]).is_err(), "{address} beside one that stays");
            let handle = listener.as_fd().try_clone_to_owned().unwrap();
            let next = listen(address, &[&handle]).unwrap();
            assert!(!SockRef::from(&next).reuse_port().unwrap());
            drop((handle, std::mem::replace(&mut listener, next)));
            let client = std::net::TcpStream::connect(format!("{client}:{port}")).unwrap();
            let (_, peer) = listener.accept().await.unwrap();
            assert_eq!(peer.port(), client.local_addr().unwrap().port());
        }
    }
}
