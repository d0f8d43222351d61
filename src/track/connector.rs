//! The kernel's process connector: a netlink socket that tells when a process forks, starts a program or changes its name.
//!
//! It needs CAP_NET_ADMIN and the host's own network and process namespaces. Elsewhere the kernel stays silent or refuses;
//! only [`Notice::Listening`] proves that it speaks. Whoever has no connector scans /proc instead.
//!
//! ```text
//! | nlmsghdr 16 | cn_msg 20: idx val seq ack len flags | proc_event: what 4, cpu 4, time 8, data ... |
//! ```

use std::io;

use rustix::net::netlink::{CONNECTOR, SocketAddrNetlink};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with};
use tokio::net::unix::pipe;

const CN_IDX_PROC: u32 = 1;
const CN_VAL_PROC: u32 = 1;
const PROC_CN_MCAST_LISTEN: u32 = 1;
const PROC_CN_MCAST_IGNORE: u32 = 2;
const NLMSG_DONE: u16 = 3;

const CN_MSG: usize = 16;
const EVENT: usize = CN_MSG + 20;
const DATA: usize = EVENT + 16;

/// What the kernel tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Notice {
    /// The kernel answers us: from here on nothing is missed without [`Notice::Lost`].
    Listening,
    /// This process has another name or program, or is new.
    Changed(i32),
    Forked {
        parent: i32,
        child: i32,
    },
    /// Some notices did not fit the socket's buffer.
    Lost,
}

pub(crate) struct Connector {
    socket: pipe::Receiver,
}

impl Connector {
    /// Asks the kernel for notices. An error where that is not allowed.
    pub(crate) fn open() -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::NETLINK, SocketType::DGRAM, flags, Some(CONNECTOR))?;
        bind(&socket, &SocketAddrNetlink::new(0, CN_IDX_PROC))?;
        rustix::io::write(&socket, &request(PROC_CN_MCAST_LISTEN))?;
        // Each read of a datagram socket is one message, which is all we ask of the pipe.
        Ok(Self {
            socket: pipe::Receiver::from_owned_fd_unchecked(socket)?,
        })
    }

    /// Waits for the next notice that matters to us.
    pub(crate) async fn next(&self) -> io::Result<Notice> {
        let mut datagram = [0; 4096];
        loop {
            self.socket.readable().await?;
            match self.socket.try_read(&mut datagram) {
                Ok(count) => {
                    if let Some(notice) = decode(&datagram[..count])? {
                        return Ok(notice);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.raw_os_error() == Some(nix::libc::ENOBUFS) => return Ok(Notice::Lost),
                Err(error) => return Err(error),
            }
        }
    }
}

impl Drop for Connector {
    fn drop(&mut self) {
        // Kernels before 6.6 count listeners and go on composing notices for one that only closed its socket.
        let _ = rustix::io::write(&self.socket, &request(PROC_CN_MCAST_IGNORE));
    }
}

fn request(operation: u32) -> Vec<u8> {
    let length = EVENT as u32 + 4;
    let mut bytes = Vec::with_capacity(EVENT + 4);
    bytes.extend(length.to_ne_bytes());
    bytes.extend(NLMSG_DONE.to_ne_bytes());
    bytes.extend([0; 2 + 4 + 4]); // flags, sequence, sender
    bytes.extend(CN_IDX_PROC.to_ne_bytes());
    bytes.extend(CN_VAL_PROC.to_ne_bytes());
    bytes.extend([0; 4 + 4]); // sequence, acknowledgement
    bytes.extend(4_u16.to_ne_bytes());
    bytes.extend([0; 2]); // flags
    bytes.extend(operation.to_ne_bytes());
    bytes
}

/// An error if the kernel refuses; `None` for notices about threads and what we do not use.
fn decode(datagram: &[u8]) -> io::Result<Option<Notice>> {
    let word = |at: usize| {
        let bytes = datagram.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
        bytes.map(i32::from_ne_bytes).unwrap_or_default()
    };
    if datagram.len() < DATA + 4 || word(CN_MSG) != CN_IDX_PROC as i32 {
        return Ok(None);
    }
    let leader = |process: i32, group: i32| (process == group).then_some(Notice::Changed(group));
    Ok(match word(EVENT) as u32 {
        0 if word(DATA) == 0 => Some(Notice::Listening),
        0 => return Err(io::Error::from_raw_os_error(word(DATA))),
        // A fork says parent, its group, child, its group: a child that leads no group is a thread.
        1 if word(DATA + 8) == word(DATA + 12) => Some(Notice::Forked {
            parent: word(DATA + 4),
            child: word(DATA + 12),
        }),
        // An exec, or a new name.
        2 | 0x200 => leader(word(DATA), word(DATA + 4)),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notice(what: u32, words: &[i32]) -> Vec<u8> {
        let mut bytes = vec![0; EVENT];
        bytes[CN_MSG..CN_MSG + 4].copy_from_slice(&CN_IDX_PROC.to_ne_bytes());
        bytes.extend(what.to_ne_bytes());
        bytes.extend([0; 12]);
        words.iter().for_each(|word| bytes.extend(word.to_ne_bytes()));
        bytes
    }

    #[test]
    fn processes_are_told_from_threads() {
        let decode = |what, words: &[i32]| decode(&notice(what, words)).unwrap();
        assert_eq!(decode(0, &[0]), Some(Notice::Listening));
        assert_eq!(
            decode(1, &[7, 6, 9, 9]),
            Some(Notice::Forked { parent: 6, child: 9 })
        );
        assert_eq!(decode(1, &[7, 6, 9, 6]), None);
        assert_eq!(decode(2, &[9, 9]), Some(Notice::Changed(9)));
        assert_eq!(decode(0x200, &[10, 9, 0, 0, 0, 0]), None);
        assert_eq!(decode(0x8000_0000, &[9, 9, 0, 0]), None);
        assert!(super::decode(&notice(0, &[1])).is_err(), "refused: EPERM");
    }

    #[test]
    fn no_datagram_is_too_short() {
        let whole = notice(1, &[7, 6, 9, 9]);
        for length in 0..whole.len() {
            let _ = decode(&whole[..length]);
        }
        assert_eq!(decode(&[]).unwrap(), None);
    }
}
