//! What is known of a session or request when its line is logged: the source of every field of HAProxy's formats.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

/// One session (tcp, amqp) or one request (http).
#[derive(Clone, Debug)]
pub struct Record<'a> {
    /// `%ci:%cp`. A client of a unix socket is `None`.
    pub client: Option<SocketAddr>,
    /// `%fi:%fp`.
    pub local: Option<SocketAddr>,
    /// `%bi:%bp`: our end towards the server.
    pub source: Option<SocketAddr>,
    /// `%si:%sp`.
    pub server_address: Option<SocketAddr>,
    /// `%t`: when the connection was accepted; of a request, when its first octet came (`%tr`).
    pub accepted: SystemTime,
    /// `%ft`'s name.
    pub frontend: &'a str,
    /// TLS was ended here: `%ft` has a `~`.
    pub tls: Option<TlsFacts<'a>>,
    /// `%b`; the frontend's name if none was chosen.
    pub backend: &'a str,
    /// `%s`: `<NOSRV>`, `<STATS>`, `<PROMEX>` or the server's name.
    pub server: &'a str,
    /// How long what took.
    pub times: Times,
    /// Octets from the server to the client (`%B`).
    pub bytes_out: u64,
    /// Octets from the client (`%U`).
    pub bytes_in: u64,
    /// Why it ended.
    pub termination: Termination,
    /// `%ac/%fc/%bc/%sc`.
    pub connections: [u32; 4],
    /// `%rc`.
    pub retries: u32,
    /// `%rc` has a `+`: another server was taken.
    pub redispatched: bool,
    /// `%sq/%bq`.
    pub queues: [u32; 2],
    /// Of mode http.
    pub http: Option<HttpFacts<'a>>,
    /// Of mode amqp.
    pub amqp: Option<&'a AmqpFacts>,
    /// Number of the session.
    pub session: u64,
    /// It never came in.
    pub refused: Option<Refused<'a>>,
}

/// A client that never came in: logged in a line of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused<'a> {
    /// The bind line's name.
    pub bind: Option<&'a str>,
    /// Its place in the frontend, from 1.
    pub place: usize,
    /// Why.
    pub why: Refusal,
}

/// Why a client never came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It left before it said anything where a PROXY protocol header has to be.
    HeaderAbsent,
    /// It took too long for that.
    HeaderTimeout,
    /// It left in the middle of one.
    HeaderTruncated,
    /// It said something else.
    NoHeader,
    /// A header that is wrong.
    HeaderInvalid,
    /// A header for something that is not known.
    HeaderProtocol,
    /// It left during the TLS handshake.
    TlsClosed,
    /// It took too long for that.
    TlsTimeout,
    /// It cannot be agreed with.
    TlsFailure,
}

impl Refusal {
    /// In HAProxy's words.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::HeaderAbsent => "Connection closed while waiting for PROXY protocol header",
            Self::HeaderTimeout => "Timeout while waiting for PROXY protocol header",
            Self::HeaderTruncated => "Truncated PROXY protocol header received",
            Self::NoHeader => "Received something which does not look like a PROXY protocol header",
            Self::HeaderInvalid => "Received an invalid PROXY protocol header",
            Self::HeaderProtocol => "Received an unhandled protocol in the PROXY protocol header",
            Self::TlsClosed => "Connection closed during SSL handshake",
            Self::TlsTimeout => "Timeout during SSL handshake",
            Self::TlsFailure => "SSL handshake failure",
        }
    }

    /// Nothing was said, or nothing that says who it was: `option dontlognull` is about such.
    #[must_use]
    pub const fn is_null(self) -> bool {
        matches!(
            self,
            Self::HeaderAbsent | Self::HeaderTimeout | Self::TlsClosed | Self::TlsTimeout
        )
    }
}

impl Record<'_> {
    /// Takes the session itself out of the counts of its backend and server: HAProxy has let go of those when it writes the
    /// line, of the frontend not yet.
    pub(crate) fn leave(&mut self, backend: bool, server: bool) {
        let [_, _, in_backend, at_server] = &mut self.connections;
        *in_backend = in_backend.saturating_sub(backend.into());
        *at_server = at_server.saturating_sub(server.into());
    }
}

/// Milliseconds in the line are cut off, not rounded. `None` is not reached (`-1`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// `%Th`: PROXY header and TLS handshake.
    pub handshake: Option<Duration>,
    /// `%Ti`: idle before the request.
    pub idle: Option<Duration>,
    /// `%TR`: receiving the request's head.
    pub request: Option<Duration>,
    /// `%Tw`: waiting in queues.
    pub queue: Option<Duration>,
    /// `%Tc`: connecting.
    pub connect: Option<Duration>,
    /// `%Tr`: waiting for the response's head.
    pub response: Option<Duration>,
    /// `%Tt` of a session, `%Ta` of a request.
    pub total: Duration,
}

/// The two letters of a tcplog line and the two further ones of an httplog line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Termination {
    /// What ended it first.
    pub cause: Cause,
    /// Where it was.
    pub phase: Phase,
}

/// First letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Cause {
    /// `-`
    Normal,
    /// `C`
    ClientAborted,
    /// `S`
    ServerAborted,
    /// `P`
    Proxy,
    /// `L`
    Local,
    /// `R`
    Resource,
    /// `I`
    Internal,
    /// `D`
    Down,
    /// `U`
    Up,
    /// `K`
    Killed,
    /// `c`
    ClientTimeout,
    /// `s`
    ServerTimeout,
}

/// Second letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Phase {
    /// `-`
    Normal,
    /// `R`
    Request,
    /// `Q`
    Queue,
    /// `C`
    Connect,
    /// `H`
    Headers,
    /// `D`
    Data,
    /// `L`
    Last,
    /// `T`
    Tarpit,
}

impl Cause {
    /// The letter.
    #[must_use]
    pub const fn letter(self) -> char {
        match self {
            Self::Normal => '-',
            Self::ClientAborted => 'C',
            Self::ServerAborted => 'S',
            Self::Proxy => 'P',
            Self::Local => 'L',
            Self::Resource => 'R',
            Self::Internal => 'I',
            Self::Down => 'D',
            Self::Up => 'U',
            Self::Killed => 'K',
            Self::ClientTimeout => 'c',
            Self::ServerTimeout => 's',
        }
    }
}

impl Phase {
    /// The letter.
    #[must_use]
    pub const fn letter(self) -> char {
        match self {
            Self::Normal => '-',
            Self::Request => 'R',
            Self::Queue => 'Q',
            Self::Connect => 'C',
            Self::Headers => 'H',
            Self::Data => 'D',
            Self::Last => 'L',
            Self::Tarpit => 'T',
        }
    }
}

impl Termination {
    /// `--`.
    pub const NORMAL: Self = Self::new(Cause::Normal, Phase::Normal);

    /// Both letters.
    #[must_use]
    pub const fn new(cause: Cause, phase: Phase) -> Self {
        Self { cause, phase }
    }

    /// What the letters mean: who ended it and why, and what was going on. `None`: all was well.
    #[must_use]
    pub const fn words(self) -> Option<[&'static str; 2]> {
        let cause = match (self.cause, self.phase) {
            (Cause::Normal, _) => return None,
            (Cause::ServerTimeout, Phase::Queue) => "no server was free in time",
            (Cause::ServerTimeout, Phase::Connect) => "the server did not answer in time",
            (Cause::ServerAborted, Phase::Connect) => "no server could be reached",
            (Cause::ClientAborted, _) => "the client broke off",
            (Cause::ServerAborted, _) => "the server broke off",
            (Cause::Proxy, _) => "the proxy refused",
            (Cause::Local, _) => "the proxy answered by itself",
            (Cause::Resource, _) => "the proxy had no room",
            (Cause::Internal, _) => "the proxy failed",
            (Cause::Down, _) => "the server went down",
            (Cause::Up, _) => "another server came back",
            (Cause::Killed, _) => "it was ended from here",
            (Cause::ClientTimeout, _) => "the client was silent for too long",
            (Cause::ServerTimeout, _) => "the server was silent for too long",
        };
        let phase = match self.phase {
            Phase::Normal => "",
            Phase::Request => " before the request was whole",
            Phase::Queue => " while the client waited for a server",
            Phase::Connect => " while the server was connected to",
            Phase::Headers => " before the response began",
            Phase::Data => " while octets passed",
            Phase::Last => " while the last octets passed",
            Phase::Tarpit => " in the tarpit",
        };
        Some([cause, phase])
    }
}

/// What is known of a TLS connection.
#[derive(Clone, Copy, Debug)]
pub struct TlsFacts<'a> {
    /// `%sslv`: `TLSv1.3`.
    pub version: &'a str,
    /// `%sslc`.
    pub cipher: &'a str,
    /// The name that the client asked for.
    pub sni: Option<&'a str>,
    /// An earlier session was taken up.
    pub resumed: bool,
    /// The common name of the client's certificate; empty if it has none. `None`: the client showed no certificate.
    pub client: Option<&'a str>,
}

/// What is known of a request.
#[derive(Clone, Copy, Debug)]
pub struct HttpFacts<'a> {
    /// `%HM`; empty if the head was not understood: the line then has `<BADREQ>`.
    pub method: &'a str,
    /// `%HU`.
    pub uri: &'a str,
    /// `%HV`.
    pub version: &'a str,
    /// `%ST`; `None` is `-1`.
    pub status: Option<u16>,
    /// Host, for `%[req.hdr(host)]` and the like.
    pub headers: &'a [(String, String)],
    /// `%ID`.
    pub unique_id: Option<&'a [u8]>,
    /// `%hr` and `%hs`: what was to be kept of request and response, in the order of the file.
    pub captures: [&'a [Option<Vec<u8>>]; 2],
    /// `%CC` and `%CS`.
    pub cookies: [Option<&'a [u8]>; 2],
    /// What `%tsc` says after `%ts`, of the client's cookie and of the server's.
    pub cookie_state: [u8; 2],
    /// `set-var`: names and values.
    pub variables: &'a [(String, Vec<u8>)],
}

impl Default for HttpFacts<'_> {
    fn default() -> Self {
        Self {
            method: "",
            uri: "",
            version: "",
            status: None,
            headers: &[],
            unique_id: None,
            captures: [&[]; 2],
            cookies: [None; 2],
            cookie_state: [b'-'; 2],
            variables: &[],
        }
    }
}

/// What is known of an AMQP connection.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct AmqpFacts {
    /// Who logged in.
    pub user: Option<String>,
    /// On which virtual host.
    pub vhost: Option<String>,
    /// The client's program.
    pub product: Option<String>,
    /// Its version.
    pub version: Option<String>,
    /// What its user calls this connection.
    pub connection_name: Option<String>,
    /// The broker's product and version.
    pub broker: Option<String>,
    /// Seconds agreed; 0 is none. `None` before it was agreed.
    pub heartbeat: Option<u16>,
    /// Octets of a frame agreed.
    pub frame_max: Option<u32>,
    /// Open channels.
    pub channels: u16,
    /// Messages that the client has and has not settled; rather too many than too few.
    pub unsettled: u64,
    /// Messages that the client published.
    pub published: u64,
    /// Messages that were delivered to it.
    pub delivered: u64,
    /// The broker takes no messages, and why.
    pub blocked: Option<String>,
    /// Who closed it (`client`, `broker`, `proxy`), with which code and text.
    pub close: Option<(String, u16, String)>,
}
