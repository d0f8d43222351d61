//! TLS on one side of a session, driven by the event loop.
//!
//! Records are read into a buffer of the thread, decrypted there, and copied to whoever asked; nothing of it stays with
//! the connection but the beginning of a record, or what its reader had no room for. What is sent is encrypted into
//! another buffer of the thread; only what the socket does not take stays here.
//!
//! What was encrypted cannot be taken back, yet the caller must not believe that it left: so of octets whose records
//! wait here the last one counts as not taken. The caller offers it again, as with any short write, and it is counted
//! once the records are gone. Whoever has offered everything and was told so has nothing left to flush.

use std::cell::RefCell;
use std::net::IpAddr;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use rustix::io::Errno;
use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{ConnectionState, EncodeError, EncryptError, UnbufferedStatus};
use rustls::{CommonState, Error, HandshakeKind};

use super::{Handshake, Received, Sent};
use crate::live::{Counted, Encryption};
use crate::proxy_header;
use crate::record::TlsFacts;
use crate::tls::{self, Acceptor, Connector};

/// Plain octets in one record.
const RECORD_MAX: usize = 16 << 10;

/// What a record takes besides them, and some more.
const OVERHEAD: usize = 512;

/// Encrypted at once.
const CHUNK: usize = 4 * RECORD_MAX;

/// Read at once.
const READ_MAX: usize = 4 * (RECORD_MAX + OVERHEAD);

/// First octet of what any TLS client sends.
const HANDSHAKE_RECORD: u8 = 22;

/// A fatal alert, for who begins with a record of TLS that cannot be read: rustls has none for that.
const DECODE_ERROR: [u8; 7] = [21, 3, 3, 0, 2, 2, 50];

thread_local! {
    static BUFFERS: RefCell<Buffers> = RefCell::new(Buffers {
        incoming: vec![0; READ_MAX],
        outgoing: vec![0; CHUNK + 4 * OVERHEAD],
    });
}

/// One thread's.
struct Buffers {
    incoming: Vec<u8>,
    outgoing: Vec<u8>,
}

/// A TLS connection. `readable` and `writable` are the endpoint's memory of its socket.
#[derive(Debug)]
pub(crate) struct Tls {
    connection: Connection,
    /// The beginning of a record.
    partial: Vec<u8>,
    /// Decrypted, and not asked for yet: at most what one read brings.
    plain: Vec<u8>,
    /// How much of that was taken.
    taken: usize,
    /// Records that the socket has not taken: at most one chunk's, and the connection's own.
    out: Vec<u8>,
    /// The last octet of the records that wait was not counted as sent.
    owed: bool,
    established: bool,
    /// `close_notify` came.
    closed: bool,
    /// The host that a client asked for.
    name: Option<String>,
    /// The common name in the other side's certificate, if it showed one.
    peer: Option<String>,
    /// Its place in the statistics.
    counted: Option<Counted>,
}

enum Connection {
    Server(Box<UnbufferedServerConnection>),
    Client(Box<UnbufferedClientConnection>),
}

impl Tls {
    /// Waits for a client's hello.
    pub(crate) fn accept(acceptor: &Acceptor) -> Result<Self, Error> {
        Ok(Self::new(Connection::Server(Box::new(acceptor.connection()?))))
    }

    /// Says hello to a server once its socket is connected. `address` is where it is, if it has an address.
    pub(crate) fn connect(connector: &Connector, address: Option<IpAddr>) -> Result<Self, Error> {
        let connection = connector.connection(address)?;
        let mut tls = Self::new(Connection::Client(Box::new(connection)));
        tls.digest(&mut [], &mut [])?;
        Ok(tls)
    }

    const fn new(connection: Connection) -> Self {
        Self {
            connection,
            partial: Vec::new(),
            plain: Vec::new(),
            taken: 0,
            out: Vec::new(),
            owed: false,
            established: false,
            closed: false,
            name: None,
            peer: None,
            counted: None,
        }
    }

    /// It is a connection of this process.
    pub(crate) fn count(mut self, encryption: &Arc<Encryption>) -> Self {
        self.counted = Some(encryption.count());
        self
    }

    /// The handshake did not take up an earlier session.
    pub(crate) fn is_newly_agreed(&self) -> bool {
        !matches!(
            self.connection.state().handshake_kind(),
            None | Some(HandshakeKind::Resumed)
        )
    }

    /// Goes on with the handshake.
    pub(crate) fn handshake(
        &mut self,
        fd: BorrowedFd<'_>,
        readable: &mut bool,
        writable: &mut bool,
    ) -> Handshake {
        loop {
            match self.flush(fd, writable) {
                Err(errno) => return Handshake::Failed(errno.to_string()),
                Ok(_) if self.established => {
                    *readable |= self.closed || !self.plain.is_empty();
                    return Handshake::Done;
                }
                Ok(false) => return Handshake::Wait,
                Ok(true) => {}
            }
            match self.read(fd, &mut []) {
                Read::Some { .. } => {}
                Read::Wait => {
                    *readable = false;
                    return Handshake::Wait;
                }
                Read::End => return Handshake::Left,
                Read::Failed(errno) => return Handshake::Failed(errno.to_string()),
                Read::Bad(reason) => {
                    // An alert, if there is one to be sent.
                    let _gone = self.flush(fd, writable);
                    return Handshake::Failed(reason);
                }
            }
        }
    }

    /// Reads plain octets. `hung_up`: the end is near, so that the socket has to be asked until it says so.
    pub(crate) fn recv(
        &mut self,
        fd: BorrowedFd<'_>,
        readable: &mut bool,
        writable: &mut bool,
        hung_up: bool,
        buffer: &mut [u8],
    ) -> Received {
        if buffer.is_empty() {
            return Received::Wait;
        }
        if !self.plain.is_empty() {
            return Received::Data(self.take_plain(buffer));
        }
        loop {
            if self.closed {
                return Received::End;
            }
            let read = self.read(fd, buffer);
            if !self.out.is_empty() {
                // Answers of the connection itself: to a change of keys, or an alert.
                let _gone = self.flush(fd, writable);
            }
            match read {
                Read::Some { plain, emptied } => {
                    if emptied && !hung_up && !self.closed && self.plain.is_empty() {
                        *readable = false;
                    }
                    if plain > 0 {
                        return Received::Data(plain);
                    }
                    if !*readable {
                        return Received::Wait;
                    }
                }
                Read::Wait => {
                    *readable = false;
                    return Received::Wait;
                }
                // Without a close_notify it may have been cut by somebody in between; nobody insists on it, though.
                Read::End => return Received::End,
                Read::Failed(errno) => return Received::Failed(errno),
                Read::Bad(_) => return Received::Failed(Errno::PROTO),
            }
        }
    }

    /// Takes plain octets.
    pub(crate) fn send(&mut self, fd: BorrowedFd<'_>, writable: &mut bool, octets: &[u8]) -> Sent {
        match self.flush(fd, writable) {
            Ok(true) => {}
            Ok(false) => return Sent::Wait,
            Err(errno) => return Sent::Failed(errno),
        }
        let mut taken = usize::from(std::mem::take(&mut self.owed)).min(octets.len());
        while let Some(chunk) = octets.get(taken..).filter(|rest| !rest.is_empty()) {
            let chunk = chunk.get(..CHUNK).unwrap_or(chunk);
            match self.send_chunk(fd, chunk) {
                Ok(()) => taken += chunk.len(),
                Err(errno) => return Sent::Failed(errno),
            }
            if !self.out.is_empty() {
                self.owed = true;
                *writable = false;
                taken -= 1;
                break;
            }
        }
        if taken == 0 {
            Sent::Wait
        } else {
            Sent::Octets(taken)
        }
    }

    /// Records wait for room in the socket.
    pub(crate) const fn wants_flush(&self) -> bool {
        !self.out.is_empty()
    }

    /// Sends them. True once none waits.
    pub(crate) fn flush(&mut self, fd: BorrowedFd<'_>, writable: &mut bool) -> Result<bool, Errno> {
        let mut sent = 0;
        while let Some(rest) = self.out.get(sent..).filter(|rest| !rest.is_empty()) {
            match super::send(fd, rest) {
                Sent::Octets(count) => sent += count,
                Sent::Wait => {
                    self.out.drain(..sent);
                    *writable = false;
                    return Ok(false);
                }
                Sent::Failed(errno) => return Err(errno),
            }
        }
        // An idle connection keeps no buffer.
        self.out = Vec::new();
        Ok(true)
    }

    /// Says that nothing follows.
    pub(crate) fn close_notify(&mut self, fd: BorrowedFd<'_>) {
        if self.established {
            let mut alert = [0; OVERHEAD];
            let written = self
                .connection
                .write(&mut self.partial, |writer| writer.close_notify(&mut alert));
            if let Some(Ok(written)) = written {
                self.out
                    .extend_from_slice(alert.get(..written).unwrap_or_default());
            }
        }
        let _gone = self.flush(fd, &mut true);
    }

    /// What log lines, rules and the next proxy are told. `None` before the handshake has ended.
    pub(crate) fn facts(&self) -> Option<TlsFacts<'_>> {
        let state = self.connection.state();
        Some(TlsFacts {
            version: tls::version_name(state.protocol_version()?),
            cipher: tls::cipher_name(state.negotiated_cipher_suite()?),
            sni: self.server_name(),
            resumed: state.handshake_kind() == Some(HandshakeKind::Resumed),
            client: self.peer.as_deref(),
        })
    }

    /// The same for a PROXY protocol header.
    pub(crate) fn proxy_facts(&self) -> Option<proxy_header::TlsFacts> {
        let facts = self.facts()?;
        Some(proxy_header::TlsFacts {
            used: true,
            certificate: facts.client.is_some(),
            // A certificate that could not be verified ends the handshake.
            verified: facts.client.is_some(),
            version: Some(facts.version.to_owned()),
            common_name: facts.client.filter(|name| !name.is_empty()).map(str::to_owned),
            cipher: Some(facts.cipher.to_owned()),
        })
    }

    /// The host that the client asked for.
    pub(crate) fn server_name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// The protocol that was agreed on.
    pub(crate) fn alpn(&self) -> Option<&[u8]> {
        self.connection.state().alpn_protocol()
    }

    /// Encrypts and sends; what the socket does not take is kept.
    fn send_chunk(&mut self, fd: BorrowedFd<'_>, chunk: &[u8]) -> Result<(), Errno> {
        BUFFERS.with_borrow_mut(|buffers| {
            let outgoing = &mut buffers.outgoing;
            let written = loop {
                let encrypt = |writer: &mut dyn Writer| writer.encrypt(chunk, outgoing);
                match self.connection.write(&mut self.partial, encrypt) {
                    Some(Ok(written)) => break written,
                    Some(Err(EncryptError::InsufficientSize(needed))) => {
                        outgoing.resize(needed.required_size, 0)
                    }
                    Some(Err(EncryptError::EncryptExhausted)) | None => return Err(Errno::PIPE),
                }
            };
            let records = outgoing.get(..written).unwrap_or_default();
            let mut sent = 0;
            while let Some(rest) = records.get(sent..).filter(|rest| !rest.is_empty()) {
                match super::send(fd, rest) {
                    Sent::Octets(count) => sent += count,
                    Sent::Wait => {
                        self.out.extend_from_slice(rest);
                        break;
                    }
                    Sent::Failed(errno) => return Err(errno),
                }
            }
            Ok(())
        })
    }

    /// Reads what has come once, and decrypts it into `buffer`; what finds no room there is kept.
    fn read(&mut self, fd: BorrowedFd<'_>, buffer: &mut [u8]) -> Read {
        BUFFERS.with_borrow_mut(|buffers| {
            let begin = self.partial.len();
            // A little more than the reader has room for, but a whole record at least.
            let end = (begin + buffer.len() + OVERHEAD)
                .clamp(RECORD_MAX + OVERHEAD, READ_MAX)
                .max(begin + OVERHEAD);
            if buffers.incoming.len() < end {
                buffers.incoming.resize(end, 0);
            }
            let (kept, space) = buffers.incoming[..end].split_at_mut(begin);
            kept.copy_from_slice(&self.partial);
            let count = match super::recv(fd, space) {
                Received::Data(count) => count,
                Received::Wait => return Read::Wait,
                Received::End => return Read::End,
                Received::Failed(errno) => return Read::Failed(errno),
            };
            let emptied = count < end - begin;
            let incoming = buffers.incoming.get_mut(..begin + count).unwrap_or_default();
            if let Some(reason) = self.no_tls(incoming) {
                return Read::Bad(reason);
            }
            match self.digest(incoming, buffer) {
                Ok(Digested { consumed, plain }) => {
                    self.partial.clear();
                    let rest = incoming.get(consumed..).unwrap_or_default();
                    self.partial.extend_from_slice(rest);
                    if rest.is_empty() {
                        self.partial = Vec::new();
                    }
                    Read::Some { plain, emptied }
                }
                Err(error) => {
                    if self.out.is_empty() && self.is_new() {
                        self.out.extend_from_slice(&DECODE_ERROR);
                    }
                    Read::Bad(error.to_string())
                }
            }
        })
    }

    /// A client that does not speak TLS is not answered in TLS.
    fn no_tls(&self, incoming: &[u8]) -> Option<String> {
        let is_first = matches!(self.connection, Connection::Server(_)) && !self.established && self.is_new();
        if !is_first || incoming.first() == Some(&HANDSHAKE_RECORD) {
            return None;
        }
        const METHODS: [&[u8]; 6] = [b"GET ", b"POST ", b"HEAD ", b"PUT ", b"OPTIONS ", b"CONNECT "];
        let what = if METHODS.iter().any(|method| incoming.starts_with(method)) {
            "plain HTTP where TLS is spoken"
        } else if incoming.starts_with(b"AMQP") {
            "plain AMQP where TLS is spoken"
        } else {
            "no TLS where TLS is spoken"
        };
        Some(what.into())
    }

    /// Nothing was understood so far.
    fn is_new(&self) -> bool {
        self.connection.state().protocol_version().is_none()
    }

    /// Lets the connection understand what came. Plain octets go to `buffer`, and what finds no room there is kept.
    fn digest(&mut self, incoming: &mut [u8], buffer: &mut [u8]) -> Result<Digested, Error> {
        let mut sink = Sink {
            buffer,
            filled: 0,
            rest: &mut self.plain,
        };
        let outcome = match &mut self.connection {
            Connection::Server(connection) => digest(&mut **connection, incoming, &mut sink, &mut self.out),
            Connection::Client(connection) => digest(&mut **connection, incoming, &mut sink, &mut self.out),
        };
        let plain = sink.filled;
        if !self.established
            && let Some(name) = tls::asked_for()
        {
            self.name = Some(name);
        }
        let outcome = outcome?;
        self.closed |= outcome.closed;
        if outcome.established && !self.established {
            self.established = true;
            let certificates = self.connection.state().peer_certificates();
            let first = certificates.and_then(<[_]>::first);
            self.peer = first.map(|certificate| tls::common_name(certificate).unwrap_or_default());
        }
        Ok(Digested {
            consumed: outcome.consumed,
            plain,
        })
    }

    fn take_plain(&mut self, buffer: &mut [u8]) -> usize {
        let rest = self.plain.get(self.taken..).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        self.taken += count;
        if self.taken >= self.plain.len() {
            self.plain = Vec::new();
            self.taken = 0;
        }
        count
    }
}

/// What one look at the socket brought.
enum Read {
    /// Something, of which so many plain octets are for the reader. `emptied`: there was no more.
    Some {
        plain: usize,
        emptied: bool,
    },
    Wait,
    End,
    Failed(Errno),
    /// It is no TLS, or TLS that is wrong.
    Bad(String),
}

struct Digested {
    consumed: usize,
    plain: usize,
}

/// Where plain octets go.
struct Sink<'a> {
    buffer: &'a mut [u8],
    filled: usize,
    rest: &'a mut Vec<u8>,
}

impl Sink<'_> {
    fn take(&mut self, octets: &[u8]) {
        let room = self.buffer.get_mut(self.filled..).unwrap_or_default();
        let count = if self.rest.is_empty() {
            room.len().min(octets.len())
        } else {
            0
        };
        if let (Some(room), Some(now)) = (room.get_mut(..count), octets.get(..count)) {
            room.copy_from_slice(now);
        }
        self.filled += count;
        self.rest
            .extend_from_slice(octets.get(count..).unwrap_or_default());
    }
}

/// What a connection made of what came.
struct Outcome {
    consumed: usize,
    established: bool,
    closed: bool,
}

/// Both kinds of connections, which rustls gives no common name.
trait Process {
    type Data;
    fn process<'c, 'i>(&'c mut self, incoming: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data>;
}

impl Process for UnbufferedServerConnection {
    type Data = ServerConnectionData;
    fn process<'c, 'i>(&'c mut self, incoming: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(incoming)
    }
}

impl Process for UnbufferedClientConnection {
    type Data = ClientConnectionData;
    fn process<'c, 'i>(&'c mut self, incoming: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(incoming)
    }
}

fn digest<C: Process>(
    connection: &mut C,
    incoming: &mut [u8],
    sink: &mut Sink<'_>,
    out: &mut Vec<u8>,
) -> Result<Outcome, Error> {
    let mut outcome = Outcome {
        consumed: 0,
        established: false,
        closed: false,
    };
    loop {
        let rest = incoming.get_mut(outcome.consumed..).unwrap_or_default();
        let UnbufferedStatus {
            mut discard, state, ..
        } = connection.process(rest);
        let is_done = match state {
            Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                while let Some(record) = traffic.next_record() {
                    let record = record?;
                    discard += record.discard;
                    sink.take(record.payload);
                }
                false
            }
            Ok(ConnectionState::EncodeTlsData(mut data)) => {
                encode(out, |into| data.encode(into));
                false
            }
            // It is in `out`, and leaves in its turn.
            Ok(ConnectionState::TransmitTlsData(data)) => {
                data.done();
                false
            }
            Ok(ConnectionState::PeerClosed) => {
                outcome.closed = true;
                false
            }
            Ok(ConnectionState::Closed) => {
                outcome.closed = true;
                true
            }
            Ok(ConnectionState::WriteTraffic(_)) => {
                outcome.established = true;
                true
            }
            // Early data is never asked for.
            Ok(_) => true,
            Err(error) => {
                // The alert that says so to the other side.
                let rest = incoming.get_mut(outcome.consumed..).unwrap_or_default();
                if let Ok(ConnectionState::EncodeTlsData(mut data)) = connection.process(rest).state {
                    encode(out, |into| data.encode(into));
                }
                return Err(error);
            }
        };
        outcome.consumed += discard;
        if is_done {
            return Ok(outcome);
        }
    }
}

/// Appends what says how much room it takes.
fn encode(out: &mut Vec<u8>, mut write: impl FnMut(&mut [u8]) -> Result<usize, EncodeError>) {
    let begin = out.len();
    let needed = match write(&mut []) {
        Err(EncodeError::InsufficientSize(needed)) => needed.required_size,
        _ => return,
    };
    out.resize(begin + needed, 0);
    let written = out.get_mut(begin..).map_or(0, |room| write(room).unwrap_or(0));
    out.truncate(begin + written);
}

/// What can be done with a connection that is ready for data.
trait Writer {
    fn encrypt(&mut self, plain: &[u8], outgoing: &mut [u8]) -> Result<usize, EncryptError>;
    fn close_notify(&mut self, outgoing: &mut [u8]) -> Result<usize, EncryptError>;
}

impl<Data> Writer for rustls::unbuffered::WriteTraffic<'_, Data> {
    fn encrypt(&mut self, plain: &[u8], outgoing: &mut [u8]) -> Result<usize, EncryptError> {
        rustls::unbuffered::WriteTraffic::encrypt(self, plain, outgoing)
    }

    fn close_notify(&mut self, outgoing: &mut [u8]) -> Result<usize, EncryptError> {
        self.queue_close_notify(outgoing)
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Server(_) => "Server",
            Self::Client(_) => "Client",
        })
    }
}

impl Connection {
    fn state(&self) -> &CommonState {
        match self {
            Self::Server(connection) => connection,
            Self::Client(connection) => connection,
        }
    }

    /// `None`: nothing can be sent any more.
    fn write<T>(&mut self, partial: &mut [u8], write: impl FnOnce(&mut dyn Writer) -> T) -> Option<T> {
        match self {
            Self::Server(connection) => write_to(&mut **connection, partial, write),
            Self::Client(connection) => write_to(&mut **connection, partial, write),
        }
    }
}

/// rustls looks at what was read whenever it is asked for anything, and counts on finding it.
fn write_to<C: Process, T>(
    connection: &mut C,
    partial: &mut [u8],
    write: impl FnOnce(&mut dyn Writer) -> T,
) -> Option<T> {
    loop {
        match connection.process(partial).state {
            Ok(ConnectionState::WriteTraffic(mut traffic)) => return Some(write(&mut traffic)),
            Ok(ConnectionState::PeerClosed) => {}
            Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests;
