//! The servers behind the proxy: three addresses of the loopback, the same ports on each, one loop.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use super::bulk::discard;
use super::{LARGE, SMALL};
use crate::bench::cores;

/// The servers' addresses.
pub(crate) const ADDRESSES: [Ipv4Addr; 3] = [
    Ipv4Addr::new(127, 1, 0, 1),
    Ipv4Addr::new(127, 1, 0, 2),
    Ipv4Addr::new(127, 1, 0, 3),
];
const BUFFER: usize = 256 * 1024;
/// Listeners have the first tokens.
const FIRST_CONNECTION: u64 = 1000;

/// What a server does; its port says which.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Service {
    /// Sends back what comes.
    Echo,
    /// Sends for ever.
    Source,
    /// Takes everything.
    Sink,
    /// Answers every request with a body of 64 octets.
    HttpSmall,
    /// Answers every request with a body of 256 kB.
    HttpLarge,
}

impl Service {
    pub(crate) const ALL: [Self; 5] = [
        Self::Echo,
        Self::Source,
        Self::Sink,
        Self::HttpSmall,
        Self::HttpLarge,
    ];

    pub(crate) fn port(self) -> u16 {
        9001 + self as u16
    }

    fn interest(self) -> EpollFlags {
        match self {
            Self::Source => EpollFlags::EPOLLOUT,
            _ => EpollFlags::EPOLLIN,
        }
    }
}

/// The running servers, until dropped.
#[derive(Debug)]
pub(crate) struct Servers {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl Servers {
    pub(crate) fn start(core: usize) -> io::Result<Self> {
        let mut listeners = Vec::new();
        for service in Service::ALL {
            for address in ADDRESSES {
                listeners.push((service, listen(SocketAddrV4::new(address, service.port()))?));
            }
        }
        let stop = Arc::new(AtomicBool::new(false));
        let thread = std::thread::spawn({
            let stop = Arc::clone(&stop);
            move || {
                cores::stay_on(core);
                run(&listeners, &stop)
            }
        });
        Ok(Self {
            stop,
            thread: Some(thread),
        })
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(Ok(Err(error))) = self.thread.take().map(JoinHandle::join) {
            eprintln!("the servers have failed: {error}");
        }
    }
}

fn listen(address: SocketAddrV4) -> io::Result<TcpListener> {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(4096)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

struct Connection {
    stream: TcpStream,
    service: Service,
    /// Octets of responses that the socket has not taken yet, and (echo) those octets.
    owed: usize,
    rest: Vec<u8>,
    /// How much of the end of a request's head has been seen.
    matched: usize,
    waits_to_write: bool,
}

fn run(listeners: &[(Service, TcpListener)], stop: &AtomicBool) -> io::Result<()> {
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    for (token, (_, listener)) in listeners.iter().enumerate() {
        epoll.add(
            listener.as_fd(),
            EpollEvent::new(EpollFlags::EPOLLIN, token as u64),
        )?;
    }
    let mut connections: Vec<Option<Connection>> = Vec::new();
    let mut free = Vec::new();
    let mut events = [EpollEvent::empty(); 256];
    let mut buffer = vec![b'b'; BUFFER];
    let responses = [response(SMALL), response(LARGE)];
    while !stop.load(Ordering::Relaxed) {
        let ready = epoll.wait(&mut events, EpollTimeout::from(50u8)).unwrap_or(0);
        for event in events.iter().take(ready) {
            if event.data() < FIRST_CONNECTION {
                let Some((service, listener)) = listeners.get(event.data() as usize) else {
                    continue;
                };
                while let Ok((stream, _)) = listener.accept() {
                    stream.set_nonblocking(true)?;
                    stream.set_nodelay(true)?;
                    let slot = free.pop().unwrap_or_else(|| {
                        connections.push(None);
                        connections.len() - 1
                    });
                    let interest = EpollEvent::new(service.interest(), FIRST_CONNECTION + slot as u64);
                    epoll.add(stream.as_fd(), interest)?;
                    connections[slot] = Some(Connection {
                        stream,
                        service: *service,
                        owed: 0,
                        rest: Vec::new(),
                        matched: 0,
                        waits_to_write: false,
                    });
                }
                continue;
            }
            let slot = (event.data() - FIRST_CONNECTION) as usize;
            let Some(Some(connection)) = connections.get_mut(slot) else {
                continue;
            };
            match connection.serve(&mut buffer, &responses) {
                Ok(()) => connection.wait(&epoll, event.data())?,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    connection.wait(&epoll, event.data())?;
                }
                Err(_) => {
                    connections[slot] = None;
                    free.push(slot);
                }
            }
        }
    }
    Ok(())
}

fn response(body: usize) -> Vec<u8> {
    let mut text =
        format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {body}\r\n\r\n").into_bytes();
    text.resize(text.len() + body, b'h');
    text
}

impl Connection {
    /// While something is owed it waits to write, and does not read.
    fn wait(&mut self, epoll: &Epoll, token: u64) -> io::Result<()> {
        let waits_to_write = self.owed > 0;
        if waits_to_write != self.waits_to_write {
            self.waits_to_write = waits_to_write;
            let interest = if waits_to_write {
                EpollFlags::EPOLLOUT
            } else {
                self.service.interest()
            };
            epoll.modify(self.stream.as_fd(), &mut EpollEvent::new(interest, token))?;
        }
        Ok(())
    }

    fn serve(&mut self, buffer: &mut [u8], responses: &[Vec<u8>; 2]) -> io::Result<()> {
        match self.service {
            Service::Source => (&self.stream).write(buffer).map(drop),
            Service::Sink => discard(&self.stream, buffer).map(drop),
            Service::Echo => self.echo(buffer),
            Service::HttpSmall => self.answer(buffer, &responses[0]),
            Service::HttpLarge => self.answer(buffer, &responses[1]),
        }
    }

    fn echo(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        let mut stream = &self.stream;
        if self.owed == 0 {
            let octets = stream.read(buffer)?;
            if octets == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let written = match stream.write(&buffer[..octets]) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
                other => other?,
            };
            self.rest.extend_from_slice(&buffer[written..octets]);
        } else {
            let written = stream.write(&self.rest)?;
            self.rest.drain(..written);
        }
        self.owed = self.rest.len();
        Ok(())
    }

    fn answer(&mut self, buffer: &mut [u8], response: &[u8]) -> io::Result<()> {
        if self.owed == 0 {
            let octets = (&self.stream).read(buffer)?;
            if octets == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.owed = self.requests(&buffer[..octets]) * response.len();
        }
        while self.owed > 0 {
            let from = (response.len() - self.owed % response.len()) % response.len();
            self.owed -= (&self.stream).write(&response[from..])?;
        }
        Ok(())
    }

    /// How many heads end in these octets.
    fn requests(&mut self, octets: &[u8]) -> usize {
        let mut ends = 0;
        for &octet in octets {
            self.matched = match (self.matched, octet) {
                (0 | 2, b'\r') => self.matched + 1,
                (1 | 3, b'\n') => self.matched + 1,
                (_, b'\r') => 1,
                _ => 0,
            };
            if self.matched == 4 {
                (self.matched, ends) = (0, ends + 1);
            }
        }
        ends
    }
}
