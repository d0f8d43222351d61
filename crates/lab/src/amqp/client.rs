//! Clients that check: one [`Session`] by hand, or a [`Load`] of many that never stop.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use super::{
    BODY, CLOSE, CLOSE_OK, Frame, HEADER, OPEN, OPEN_OK, START, START_OK, TUNE, TUNE_OK, long, short, table,
};
use crate::host::Host;
use crate::namespace::NetNamespace;

/// An open AMQP connection.
#[derive(Debug)]
pub struct Session {
    stream: TcpStream,
    server: String,
    sent: u64,
}

/// How a connection ended, as its client sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// `connection.close` with this reply code.
    Closed(u16),
    /// The end of the stream.
    Eof,
    /// A reset.
    Reset,
    /// Not at all.
    StillOpen,
}

impl Session {
    /// Connects from `host` and logs in; every step may take `patience`.
    pub fn open(host: &Host, at: SocketAddr, patience: Duration) -> io::Result<Self> {
        host.enter(|| Self::open_here(at, patience))
    }

    fn open_here(at: SocketAddr, patience: Duration) -> io::Result<Self> {
        Self::log_in(TcpStream::connect_timeout(&at, patience)?, patience)
    }

    /// Logs in on a connection that is there already.
    pub fn log_in(stream: TcpStream, patience: Duration) -> io::Result<Self> {
        Self::log_in_as("guest", "guest", stream, patience)
    }

    /// The same as somebody else.
    pub fn log_in_as(user: &str, password: &str, stream: TcpStream, patience: Duration) -> io::Result<Self> {
        stream.set_read_timeout(Some(patience))?;
        stream.set_write_timeout(Some(patience))?;
        stream.set_nodelay(true)?;
        (&stream).write_all(&HEADER)?;
        let start = expect(&stream, START)?;
        let client = table(&[("product", "lab"), ("version", "1"), ("connection_name", "lab")]);
        let response = long(format!("\0{user}\0{password}").as_bytes());
        let start_ok = [client, short("PLAIN"), response, short("en_US")].concat();
        Frame::method(START_OK, &start_ok).write(&stream)?;
        let tune = expect(&stream, TUNE)?;
        Frame::method(TUNE_OK, &tune).write(&stream)?;
        Frame::method(OPEN, &[short("/"), short(""), vec![0]].concat()).write(&stream)?;
        expect(&stream, OPEN_OK)?;
        Ok(Self {
            server: cluster_name(&start).unwrap_or_default(),
            stream,
            sent: 0,
        })
    }

    /// The name of the server it ended up at.
    pub fn server(&self) -> &str {
        &self.server
    }

    /// Its own address.
    pub fn address(&self) -> SocketAddr {
        self.stream.local_addr().expect("an open socket")
    }

    /// The socket.
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Sends one frame with `length` octets that no other frame has, and waits for exactly them.
    pub fn exchange(&mut self, length: usize) -> io::Result<()> {
        let payload = self.payload(length);
        let frame = Frame {
            kind: BODY,
            channel: 1,
            payload,
        };
        // A frame longer than the buffers comes back before it is all sent.
        let (octets, mut back) = (frame.encode(), None);
        std::thread::scope(|scope| {
            let sending =
                (octets.len() > 32 * 1024).then(|| scope.spawn(|| (&self.stream).write_all(&octets)));
            if sending.is_none() {
                (&self.stream).write_all(&octets)?;
            }
            back = Some(self.read_body()?);
            sending.map_or(Ok(()), |sending| sending.join().expect("writing does not panic"))
        })?;
        match back {
            Some(back) if back.payload == frame.payload => Ok(()),
            Some(back) => Err(io::Error::new(
                ErrorKind::InvalidData,
                format!("sent {length} octets, got {} others", back.payload.len()),
            )),
            None => Err(ErrorKind::UnexpectedEof.into()),
        }
    }

    fn payload(&mut self, length: usize) -> Vec<u8> {
        self.sent += 1;
        let mut state = self.sent.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ u64::from(self.address().port());
        (0..length)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (state >> 56) as u8
            })
            .collect()
    }

    fn read_body(&self) -> io::Result<Frame> {
        let mut buffered = io::BufReader::new(&self.stream);
        loop {
            let frame = Frame::read(&mut buffered)?;
            match frame.as_method().map(|(method, _)| method) {
                None if frame.kind == BODY => return Ok(frame),
                Some(CLOSE) => return Err(io::Error::new(ErrorKind::ConnectionAborted, "connection.close")),
                _ => {}
            }
        }
    }

    /// Says goodbye and waits for the answer.
    pub fn close(self) -> io::Result<()> {
        let arguments = [&200u16.to_be_bytes()[..], &short("Goodbye"), &[0; 4]];
        Frame::method(CLOSE, &arguments.concat()).write(&self.stream)?;
        expect(&self.stream, CLOSE_OK).map(drop)
    }

    /// Waits for the other side to end it.
    pub fn end(&self, patience: Duration) -> End {
        self.stream
            .set_read_timeout(Some(patience))
            .expect("an open socket");
        loop {
            match Frame::read(&self.stream) {
                Ok(frame) => {
                    if let Some((CLOSE, arguments)) = frame.as_method() {
                        // As a client library does; the other side may be gone.
                        let _ = Frame::method(CLOSE_OK, &[]).write(&self.stream);
                        let code = arguments
                            .first_chunk()
                            .map_or(0, |code| u16::from_be_bytes(*code));
                        return End::Closed(code);
                    }
                }
                Err(error) => {
                    return match error.kind() {
                        ErrorKind::UnexpectedEof => End::Eof,
                        ErrorKind::WouldBlock | ErrorKind::TimedOut => End::StillOpen,
                        _ => End::Reset,
                    };
                }
            }
        }
    }
}

fn expect(stream: &TcpStream, wanted: (u16, u16)) -> io::Result<Vec<u8>> {
    let frame = Frame::read(stream)?;
    match frame.as_method() {
        Some((method, arguments)) if method == wanted => Ok(arguments.to_vec()),
        Some((CLOSE, _)) => Err(io::Error::new(ErrorKind::ConnectionAborted, "connection.close")),
        other => Err(io::Error::other(format!("{other:?} instead of {wanted:?}"))),
    }
}

/// The name of the server in its greeting.
fn cluster_name(start: &[u8]) -> Option<String> {
    let key = b"\x0ccluster_nameS";
    let at = start.windows(key.len()).position(|window| window == key)? + key.len();
    let (length, rest) = start.get(at..)?.split_first_chunk::<4>()?;
    let name = rest.get(..u32::from_be_bytes(*length) as usize)?;
    Some(String::from_utf8_lossy(name).into_owned())
}

/// Clients that exchange frames of all sizes without pause, and every so often close and connect again.
#[derive(Debug)]
pub struct Load {
    stop: Arc<AtomicBool>,
    report: Arc<Mutex<LoadReport>>,
    clients: Vec<JoinHandle<()>>,
}

/// What the clients of a [`Load`] experienced.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LoadReport {
    /// Connections opened and logged in.
    pub opened: u64,
    /// Frames that came back as they were sent.
    pub exchanged: u64,
    /// Octets that did.
    pub octets: u64,
    /// Connections that could not be opened, by reason.
    pub refused: BTreeMap<String, u64>,
    /// Connections that ended without the client's doing, by reason.
    pub cut: BTreeMap<String, u64>,
    /// Connections opened, by server.
    pub servers: BTreeMap<String, u64>,
}

impl LoadReport {
    /// Whether nothing was refused or cut.
    pub fn is_clean(&self) -> bool {
        self.refused.is_empty() && self.cut.is_empty()
    }
}

impl Load {
    /// Starts so many clients on `host`; each reconnects after `exchanges` frames.
    pub fn start(host: &Host, at: SocketAddr, clients: usize, exchanges: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let report = Arc::new(Mutex::new(LoadReport::default()));
        let clients = (0..clients)
            .map(|number| {
                let (stop, report, net) = (Arc::clone(&stop), Arc::clone(&report), host.net());
                std::thread::spawn(move || go_on(&net, at, number, exchanges, &stop, &report))
            })
            .collect();
        Self {
            stop,
            report,
            clients,
        }
    }

    /// What has happened so far.
    pub fn so_far(&self) -> LoadReport {
        self.report.lock().expect("no client panics").clone()
    }

    /// Ends the clients in order and reports.
    pub fn stop(self) -> LoadReport {
        self.stop.store(true, Ordering::Relaxed);
        for client in self.clients {
            client.join().expect("no client panics");
        }
        self.report.lock().expect("no client panics").clone()
    }
}

fn go_on(
    net: &NetNamespace,
    at: SocketAddr,
    number: usize,
    exchanges: usize,
    stop: &AtomicBool,
    report: &Mutex<LoadReport>,
) {
    let patience = Duration::from_secs(10);
    let note = |change: &dyn Fn(&mut LoadReport)| change(&mut report.lock().expect("no client panics"));
    let count = |of: &mut BTreeMap<String, u64>, what: String| *of.entry(what).or_default() += 1;
    net.enter_for_good();
    let mut random = number as u64 + 1;
    while !stop.load(Ordering::Relaxed) {
        let mut session = match Session::open_here(at, patience) {
            Ok(session) => session,
            Err(error) => {
                note(&|report| count(&mut report.refused, error.to_string()));
                std::thread::sleep(Duration::from_millis(50));
                continue;
            }
        };
        note(&|report| {
            report.opened += 1;
            count(&mut report.servers, session.server.clone());
        });
        let mut left = exchanges;
        let ended = loop {
            if left == 0 || stop.load(Ordering::Relaxed) {
                break session.close();
            }
            left -= 1;
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            // Mostly small, now and then larger than any buffer on the way.
            let length = match random >> 59 {
                0 => 100_000,
                1..=3 => 20_000,
                _ => 1 + (random >> 33) as usize % 1500,
            };
            if let Err(error) = session.exchange(length) {
                break Err(error);
            }
            note(&|report| {
                report.exchanged += 1;
                report.octets += length as u64;
            });
        };
        if let Err(error) = ended {
            note(&|report| count(&mut report.cut, error.to_string()));
        }
    }
}

/// Reads until the end of the stream or until nothing comes for `patience`.
pub fn read_all(mut stream: &TcpStream, patience: Duration) -> (Vec<u8>, End) {
    let (mut octets, mut buffer) = (Vec::new(), [0; 4096]);
    stream.set_read_timeout(Some(patience)).expect("an open socket");
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return (octets, End::Eof),
            Ok(count) => octets.extend(&buffer[..count]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                return (octets, End::StillOpen);
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return (octets, End::Reset),
        }
    }
}
