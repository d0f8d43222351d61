//! Log events as datagrams: to the journal with every field, to syslog as keepalived's users know it.
//!
//! The socket is not connected, so a restarted journal or syslog is found again, and never waits. What it does not
//! take is counted, and the count goes out with the next event that it takes.

use std::fmt::{self, Write as _};
use std::io;
use std::os::unix::net::UnixDatagram;
use std::sync::atomic::{AtomicU64, Ordering};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Subscriber;
use tracing::{Event, Level, Metadata};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

pub(super) const JOURNAL: &str = "/run/systemd/journal/socket";
const SYSLOG: &str = "/dev/log";

/// A longer text is cut: a datagram has to fit the socket's buffer.
const TEXT_BYTES_MAX: usize = 8 << 10;

/// How one kind of log wants its datagrams.
pub(super) trait Encode: Send + Sync + 'static {
    fn path(&self) -> &str;
    fn encode(&self, severity: u8, text: &str, fields: &Fields, metadata: Option<&Metadata<'_>>) -> Vec<u8>;
}

/// RFC 5424's number for a level.
fn severity(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        Level::DEBUG | Level::TRACE => 7,
    }
}

/// The layer.
pub(super) struct Datagrams<E> {
    socket: UnixDatagram,
    encode: E,
    dropped: AtomicU64,
}

impl<E: Encode> Datagrams<E> {
    pub(super) fn new(encode: E) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        Ok(Self {
            socket,
            encode,
            dropped: AtomicU64::new(0),
        })
    }

    fn send(&self, datagram: &[u8]) {
        if self.socket.send_to(datagram, self.encode.path()).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            super::count_dropped();
            return;
        }
        let dropped = self.dropped.swap(0, Ordering::Relaxed);
        if dropped > 0 {
            let text = format!("{dropped} log lines before this one were dropped: the log did not take them");
            let sent = self
                .encode
                .encode(severity(Level::WARN), &text, &Fields::default(), None);
            if self.socket.send_to(&sent, self.encode.path()).is_err() {
                self.dropped.fetch_add(dropped, Ordering::Relaxed);
            }
        }
    }
}

impl<S, E> Layer<S> for Datagrams<E>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    E: Encode,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut extensions = span.extensions_mut();
        // The other datagram layer may have been here.
        if extensions.get_mut::<Fields>().is_none() {
            let mut fields = Fields::default();
            attributes.record(&mut fields);
            extensions.insert(fields);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        if let Some(fields) = span.extensions_mut().get_mut::<Fields>() {
            values.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        for span in context
            .event_scope(event)
            .into_iter()
            .flat_map(|scope| scope.from_root())
        {
            if let Some(of_span) = span.extensions().get::<Fields>() {
                fields.pairs.extend(of_span.pairs.iter().cloned());
            }
        }
        event.record(&mut fields);
        let severity = severity(*event.metadata().level());
        self.send(
            &self
                .encode
                .encode(severity, &fields.text(), &fields, Some(event.metadata())),
        );
    }
}

/// What an event and the spans around it say, as text.
#[derive(Clone, Default)]
pub(super) struct Fields {
    message: String,
    pairs: Vec<(&'static str, String)>,
}

impl Fields {
    fn set(&mut self, name: &'static str, value: String) {
        if name == "message" {
            self.message = value;
            return;
        }
        match self.pairs.iter_mut().find(|(known, _)| *known == name) {
            Some((_, known)) => *known = value,
            None => self.pairs.push((name, value)),
        }
    }

    /// `became active router=VI_1 from=BACKUP`, on one line.
    fn text(&self) -> String {
        let mut text = one_line(&self.message);
        for (name, value) in &self.pairs {
            let plain = !value.is_empty()
                && !value.contains(|c: char| c.is_whitespace() || c.is_control() || c == '"');
            // A String takes everything.
            let _ = if plain {
                write!(text, " {name}={value}")
            } else {
                write!(text, " {name}={value:?}")
            };
        }
        text.truncate(text.floor_char_boundary(TEXT_BYTES_MAX));
        text
    }
}

/// Control characters could begin a forged line, or speak to the terminal of who reads it.
fn one_line(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.set(field.name(), value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.set(field.name(), format!("{value:?}"));
    }
}

/// The journal's own protocol: `NAME=value` lines.
pub(super) struct Journal {
    identifier: String,
    path: String,
}

impl Journal {
    pub(super) fn new(identifier: &str) -> Self {
        Self {
            identifier: one_line(identifier),
            path: JOURNAL.into(),
        }
    }

    #[cfg(test)]
    pub(super) fn at(identifier: &str, path: &std::path::Path) -> Self {
        Self {
            path: path.to_str().unwrap().into(),
            ..Self::new(identifier)
        }
    }
}

impl Encode for Journal {
    fn path(&self) -> &str {
        &self.path
    }

    fn encode(&self, severity: u8, text: &str, fields: &Fields, metadata: Option<&Metadata<'_>>) -> Vec<u8> {
        let mut datagram = Vec::with_capacity(256 + text.len() * 2);
        let mut put = |name: &str, value: &str| {
            datagram.extend_from_slice(name.as_bytes());
            if value.contains('\n') {
                datagram.push(b'\n');
                datagram.extend_from_slice(&(value.len() as u64).to_le_bytes());
            } else {
                datagram.push(b'=');
            }
            datagram.extend_from_slice(value.as_bytes());
            datagram.push(b'\n');
        };
        put("MESSAGE", text);
        put("PRIORITY", &severity.to_string());
        put("SYSLOG_IDENTIFIER", &self.identifier);
        put("SYSLOG_FACILITY", "3");
        if let Some(metadata) = metadata {
            put("CODE_MODULE", metadata.target());
            if let (Some(file), Some(line)) = (metadata.file(), metadata.line()) {
                put("CODE_FILE", file);
                put("CODE_LINE", &line.to_string());
            }
        }
        for (name, value) in &fields.pairs {
            put(
                &journal_name(name),
                &value[..value.floor_char_boundary(TEXT_BYTES_MAX)],
            );
        }
        datagram
    }
}

/// Our names have a prefix of their own: a field `priority` is not the journal's.
fn journal_name(name: &str) -> String {
    const LENGTH_MAX: usize = 64;
    let letters = name.chars().map(|c| {
        if c.is_ascii_alphanumeric() {
            c.to_ascii_uppercase()
        } else {
            '_'
        }
    });
    "WARREN_".chars().chain(letters).take(LENGTH_MAX).collect()
}

/// RFC 3164 as the C library writes it, without the time: the receiver knows it, and better than we know its zone.
pub(super) struct Syslog {
    identifier: String,
    path: String,
}

impl Syslog {
    pub(super) fn new(identifier: &str) -> Self {
        Self {
            identifier: one_line(identifier),
            path: SYSLOG.into(),
        }
    }

    #[cfg(test)]
    pub(super) fn at(identifier: &str, path: &std::path::Path) -> Self {
        Self {
            path: path.to_str().unwrap().into(),
            ..Self::new(identifier)
        }
    }
}

impl Encode for Syslog {
    fn path(&self) -> &str {
        &self.path
    }

    fn encode(&self, severity: u8, text: &str, _: &Fields, _: Option<&Metadata<'_>>) -> Vec<u8> {
        const DAEMON: u8 = 3;
        format!(
            "<{}>{}[{}]: {text}",
            DAEMON * 8 + severity,
            self.identifier,
            std::process::id()
        )
        .into_bytes()
    }
}
