//! One thread's way to the logs: lines are gathered for each outlet and sent when the loop has turned.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use warren_kit::clock;

use super::date::Dates;
use super::format::{self, Format};
use super::sink::Sink;
use super::{json, render, severity};
use crate::plan::{self, Level, LogFormat, LogTarget, Logging, Transport};
use crate::record::Record;

/// Lines that wait in one outlet before it is emptied without being told.
const LINES_MAX: usize = 256;

/// Octets that wait.
const OCTETS_MAX: usize = 128 << 10;

/// Different outlets; more are only seen after many reloads, and then all are opened anew.
const OUTLETS_MAX: usize = 64;

/// Lines of the whole process that found no room.
#[derive(Clone, Debug, Default)]
pub struct Dropped(Arc<AtomicU64>);

impl Dropped {
    /// So far.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn add(&self, lines: u64) {
        if lines > 0 {
            self.0.fetch_add(lines, Ordering::Relaxed);
        }
    }
}

/// Writes lines of sessions and events. One per thread.
#[derive(Debug)]
pub struct Writer {
    tag: String,
    hostname: Option<String>,
    tcp: Format,
    http: Format,
    outlets: Vec<Outlet>,
    dates: Dates,
    line: Vec<u8>,
    dropped: Dropped,
}

#[derive(Debug)]
struct Outlet {
    transport: Transport,
    /// `None` until it can be opened: its lines are dropped meanwhile, and counted.
    sink: Option<Sink>,
    octets: Vec<u8>,
    ends: Vec<usize>,
}

impl Writer {
    /// Opens nothing yet.
    #[must_use]
    pub fn new(global: &plan::Global, dropped: Dropped) -> Self {
        let built_in = |text| match Format::compile(text) {
            Ok(format) => format,
            Err(error) => unreachable!("{error}"),
        };
        Self {
            tag: global.log_tag.clone(),
            hostname: global.log_hostname.clone(),
            tcp: built_in(format::TCP),
            http: built_in(format::HTTP),
            outlets: Vec::new(),
            dates: Dates::default(),
            line: Vec::with_capacity(1024),
            dropped,
        }
    }

    /// After a reload: another tag or name of the host.
    pub fn change(&mut self, global: &plan::Global) {
        self.tag.clone_from(&global.log_tag);
        self.hostname.clone_from(&global.log_hostname);
    }

    /// Logs a session or request as its proxy wants it.
    ///
    /// When it is to be called is [`Logging`]'s to say: with [`LogFormat::Plain`] as soon as a connection was accepted,
    /// with `logasap` as soon as the server's connection stands or the response's head is there, otherwise at the end.
    pub fn session(&mut self, logging: &Logging, record: &Record<'_>) {
        let Some(level) = severity(logging, record) else {
            return;
        };
        let mut line = std::mem::take(&mut self.line);
        line.clear();
        let early = logging.logasap;
        match &logging.format {
            LogFormat::Json => json::write(record, &mut line),
            _ if record.refused.is_some() => refused(record, &mut self.dates, &mut line),
            LogFormat::Plain => plain(record, &mut line),
            LogFormat::Tcp => self.tcp.render(record, record, early, &mut self.dates, &mut line),
            LogFormat::Http => self
                .http
                .render(record, record, early, &mut self.dates, &mut line),
            LogFormat::Custom(format) => format.render(record, record, early, &mut self.dates, &mut line),
        }
        for target in &logging.targets {
            let fields = |out: &mut Vec<u8>| journal_fields(record, out);
            self.put(target, level, logging.tag.as_deref(), &line, fields);
        }
        self.line = line;
    }

    /// Logs what happened: a server's change of state, a start, a warning.
    pub fn event(&mut self, logging: &Logging, level: Level, text: &str) {
        let mut line = std::mem::take(&mut self.line);
        line.clear();
        line.extend(
            text.bytes()
                .map(|octet| if octet.is_ascii_control() { b' ' } else { octet }),
        );
        for target in &logging.targets {
            self.put(target, level, logging.tag.as_deref(), &line, |_| {});
        }
        self.line = line;
    }

    /// Sends what waits. To be called when the loop has turned, and at the end.
    pub fn flush(&mut self) {
        for outlet in &mut self.outlets {
            outlet.flush(&self.dropped);
        }
    }

    fn put(
        &mut self,
        target: &Arc<LogTarget>,
        level: Level,
        tag: Option<&str>,
        line: &[u8],
        fields: impl FnOnce(&mut Vec<u8>),
    ) {
        let level = level.max(target.level_at_most);
        if level > target.level {
            return;
        }
        let outlet = self.outlet(&target.transport);
        let begin = self.outlets[outlet].octets.len();
        let out = &mut self.outlets[outlet].octets;
        let tag = tag.unwrap_or(&self.tag);
        match target.transport {
            Transport::Stdout | Transport::Stderr => {
                out.extend_from_slice(cut(line, target.length.saturating_sub(1)));
                out.push(b'\n');
            }
            Transport::Journal => {
                journal_field("MESSAGE", cut(line, target.length), out);
                journal_number("PRIORITY", level as u64, out);
                journal_number("SYSLOG_FACILITY", u64::from(target.facility.0), out);
                journal_field("SYSLOG_IDENTIFIER", tag.as_bytes(), out);
                fields(out);
            }
            Transport::Udp(_) | Transport::Unix(_) => {
                // `len` counts everything, header and line's end included.
                let priority = u64::from(target.facility.0) * 8 + level as u64;
                out.push(b'<');
                render::decimal(priority, out);
                out.push(b'>');
                self.dates.syslog(clock::wall_clock(), out);
                out.push(b' ');
                if let Some(hostname) = &self.hostname {
                    out.extend_from_slice(hostname.as_bytes());
                    out.push(b' ');
                }
                out.extend_from_slice(tag.as_bytes());
                out.push(b'[');
                render::decimal(u64::from(render::pid()), out);
                out.extend_from_slice(b"]: ");
                out.extend_from_slice(line);
                out.truncate(begin + target.length.saturating_sub(1));
                out.push(b'\n');
            }
        }
        self.outlets[outlet].end(&self.dropped);
    }

    fn outlet(&mut self, transport: &Transport) -> usize {
        if let Some(place) = self
            .outlets
            .iter()
            .position(|outlet| outlet.transport == *transport)
        {
            return place;
        }
        if self.outlets.len() >= OUTLETS_MAX {
            self.flush();
            self.outlets.clear();
        }
        self.outlets.push(Outlet {
            transport: transport.clone(),
            sink: None,
            octets: Vec::new(),
            ends: Vec::new(),
        });
        self.outlets.len() - 1
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.flush();
    }
}

impl Outlet {
    fn end(&mut self, dropped: &Dropped) {
        self.ends.push(self.octets.len());
        if self.ends.len() >= LINES_MAX || self.octets.len() >= OCTETS_MAX {
            self.flush(dropped);
        }
    }

    fn flush(&mut self, dropped: &Dropped) {
        if self.ends.is_empty() {
            return;
        }
        if self.sink.is_none() {
            self.sink = Sink::open(&self.transport).ok();
        }
        dropped.add(match &mut self.sink {
            Some(sink) => sink.send(&self.octets, &self.ends),
            None => self.ends.len() as u64,
        });
        self.octets.clear();
        self.ends.clear();
    }
}

/// `Connect from 127.0.0.1:34600 to 127.0.0.1:7001 (plain/TCP)`
fn plain(record: &Record<'_>, out: &mut Vec<u8>) {
    let mode = match (&record.http, record.amqp) {
        (Some(_), _) => "HTTP",
        (None, Some(_)) => "AMQP",
        (None, None) => "TCP",
    };
    out.extend_from_slice(b"Connect from ");
    for (place, address) in [record.client, record.local].into_iter().enumerate() {
        if place == 1 {
            out.extend_from_slice(b" to ");
        }
        match address {
            Some(address) => {
                render::ip(address.ip(), out);
                out.push(b':');
                render::decimal(u64::from(address.port()), out);
            }
            None => out.extend_from_slice(b"unix:0"),
        }
    }
    for part in [" (", record.frontend, "/", mode, ")"] {
        out.extend_from_slice(part.as_bytes());
    }
}

/// `127.0.0.1:52958 [21/Nov/2026:15:37:46.320] tls/1: SSL handshake failure`
fn refused(record: &Record<'_>, dates: &mut Dates, out: &mut Vec<u8>) {
    let Some(refused) = &record.refused else { return };
    match record.client {
        Some(client) => {
            render::ip(client.ip(), out);
            out.push(b':');
            render::decimal(u64::from(client.port()), out);
        }
        None => out.extend_from_slice(b"unix:0"),
    }
    out.extend_from_slice(b" [");
    dates.milliseconds(record.accepted, out);
    for part in ["] ", record.frontend, "/"] {
        out.extend_from_slice(part.as_bytes());
    }
    match refused.bind {
        Some(name) => out.extend_from_slice(name.as_bytes()),
        None => render::decimal(refused.place as u64, out),
    }
    for part in [": ", refused.why.text()] {
        out.extend_from_slice(part.as_bytes());
    }
}

/// The journal's own protocol: `NAME=value` lines; where the value has several, its length goes before it.
fn journal_field(name: &str, value: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(name.as_bytes());
    if value.contains(&b'\n') {
        out.push(b'\n');
        out.extend_from_slice(&(value.len() as u64).to_le_bytes());
    } else {
        out.push(b'=');
    }
    out.extend_from_slice(value);
    out.push(b'\n');
}

fn journal_number(name: &str, value: u64, out: &mut Vec<u8>) {
    // A vector takes everything.
    let _ = writeln!(out, "{name}={value}");
}

/// What one looks for with `journalctl FIELD=value`.
fn journal_fields(record: &Record<'_>, out: &mut Vec<u8>) {
    let mut text = |name: &str, value: Option<&str>| {
        if let Some(value) = value {
            journal_field(name, value.as_bytes(), out);
        }
    };
    text("WARREN_FRONTEND", Some(record.frontend));
    text("WARREN_BACKEND", Some(record.backend));
    text("WARREN_SERVER", Some(record.server));
    if let Some(amqp) = record.amqp {
        text("WARREN_USER", amqp.user.as_deref());
        text("WARREN_VHOST", amqp.vhost.as_deref());
        text("WARREN_CONNECTION_NAME", amqp.connection_name.as_deref());
    }
    if let Some(client) = record.client {
        // A vector takes everything.
        let _ = writeln!(out, "WARREN_CLIENT={client}");
    }
    journal_number("WARREN_SESSION", record.session, out);
    let (cause, phase) = (record.termination.cause, record.termination.phase);
    let _ = writeln!(out, "WARREN_TERMINATION={}{}", cause.letter(), phase.letter());
    if let Some([cause, phase]) = record.termination.words() {
        let _ = writeln!(out, "WARREN_REASON={cause}{phase}");
    }
    if let Some(status) = record.http.and_then(|http| http.status) {
        journal_number("WARREN_STATUS", u64::from(status), out);
    }
}

fn cut(line: &[u8], length: usize) -> &[u8] {
    line.get(..length).unwrap_or(line)
}
