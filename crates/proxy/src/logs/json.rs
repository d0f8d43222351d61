//! A record as one JSON object, with everything that is known.

use std::net::SocketAddr;
use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::record::{AmqpFacts, HttpFacts, Record, TlsFacts};

#[derive(Serialize)]
struct Line<'a> {
    #[serde(serialize_with = "display")]
    time: jiff::Timestamp,
    session: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<SocketAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    local: Option<SocketAddr>,
    frontend: &'a str,
    backend: &'a str,
    server: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<SocketAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    server_address: Option<SocketAddr>,
    times_ms: Times,
    bytes_in: u64,
    bytes_out: u64,
    termination: Letters,
    /// The letters in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    connections: Connections,
    queues: Queues,
    retries: u32,
    redispatched: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    refused: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tls: Option<Tls<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    http: Option<Http<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    amqp: Option<&'a AmqpFacts>,
}

/// What was not reached is left out.
#[derive(Serialize)]
struct Times {
    #[serde(skip_serializing_if = "Option::is_none")]
    handshake: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    idle: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    queue: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    connect: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response: Option<u64>,
    total: u64,
}

struct Letters(char, char);

#[derive(Serialize)]
struct Connections {
    process: u32,
    frontend: u32,
    backend: u32,
    server: u32,
}

#[derive(Serialize)]
struct Queues {
    server: u32,
    backend: u32,
}

#[derive(Serialize)]
struct Tls<'a> {
    version: &'a str,
    cipher: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    sni: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<&'a str>,
}

#[derive(Serialize)]
struct Http<'a> {
    method: &'a str,
    uri: &'a str,
    version: &'a str,
    status: Option<u16>,
}

/// Appends the object, without a line's end.
pub(super) fn write(record: &Record<'_>, out: &mut Vec<u8>) {
    let [process, frontend, backend, server] = record.connections;
    let times = record.times;
    let line = Line {
        time: jiff::Timestamp::try_from(record.accepted).unwrap_or(jiff::Timestamp::UNIX_EPOCH),
        session: record.session,
        client: record.client,
        local: record.local,
        frontend: record.frontend,
        backend: record.backend,
        server: record.server,
        source: record.source,
        server_address: record.server_address,
        times_ms: Times {
            handshake: times.handshake.map(milliseconds),
            idle: times.idle.map(milliseconds),
            request: times.request.map(milliseconds),
            queue: times.queue.map(milliseconds),
            connect: times.connect.map(milliseconds),
            response: times.response.map(milliseconds),
            total: milliseconds(times.total),
        },
        bytes_in: record.bytes_in,
        bytes_out: record.bytes_out,
        termination: Letters(
            record.termination.cause.letter(),
            record.termination.phase.letter(),
        ),
        reason: record.termination.words().map(|words| words.concat()),
        connections: Connections {
            process,
            frontend,
            backend,
            server,
        },
        queues: Queues {
            server: record.queues[0],
            backend: record.queues[1],
        },
        retries: record.retries,
        redispatched: record.redispatched,
        refused: record.refused.map(|refused| refused.why.text()),
        tls: record.tls.map(Tls::from),
        http: record.http.map(Http::from),
        amqp: record.amqp,
    };
    let before = out.len();
    if serde_json::to_writer(&mut *out, &line).is_err() {
        // Nothing in a line can fail to be written; half of one must not be sent.
        out.truncate(before);
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn display<S: Serializer>(time: &jiff::Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{time:.3}"))
}

impl Serialize for Letters {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{}{}", self.0, self.1))
    }
}

impl<'a> From<TlsFacts<'a>> for Tls<'a> {
    fn from(facts: TlsFacts<'a>) -> Self {
        Self {
            version: facts.version,
            cipher: facts.cipher,
            sni: facts.sni,
            client: facts.client,
        }
    }
}

impl<'a> From<HttpFacts<'a>> for Http<'a> {
    fn from(facts: HttpFacts<'a>) -> Self {
        Self {
            method: facts.method,
            uri: facts.uri,
            version: facts.version,
            status: facts.status,
        }
    }
}
