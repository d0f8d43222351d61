//! A format and a record to a line's octets, appended to a buffer without a copy in between.

use std::net::{IpAddr, SocketAddr};
use std::sync::OnceLock;
use std::time::Duration;

use super::convert::Converter;
use super::date::{self, Dates};
use super::fetch::{Samples, without_host};
use super::format::{Flags, Format, Part, Purpose, Variable};
use crate::record::{HttpFacts, Record};

/// What a request that was not understood is called.
const BAD_REQUEST: &str = "<BADREQ>";

/// Octets that are not always written as they are, as bits of [`CLASSES`]: control characters;
const CONTROL: u8 = 1;
/// those that end a request line or its escapes, `"` and `#`;
const URL: u8 = 2;
/// those that could be taken for the end of a captured header;
const HEADER: u8 = 4;
/// those that `+E` escapes.
const ESCAPED: u8 = 8;

/// What each octet is.
const CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut octet = 0;
    while octet < classes.len() {
        classes[octet] = match octet as u8 {
            b'"' => URL | HEADER | ESCAPED,
            b'#' => URL | HEADER,
            b'{' | b'|' | b'}' => HEADER,
            b'\\' | b']' => ESCAPED,
            control if control.is_ascii_control() => CONTROL,
            _ => 0,
        };
        octet += 1;
    }
    classes
};

impl Format {
    /// Appends what the template says for this request. `samples` answers `%[...]`: usually whoever holds the
    /// request's head, or the record itself.
    pub fn expand(&self, record: &Record<'_>, samples: &dyn Samples, dates: &mut Dates, out: &mut Vec<u8>) {
        self.render(record, samples, false, dates, out);
    }

    /// `early`: `option logasap`; what is not known to its end gets a `+`.
    pub(super) fn render(
        &self,
        record: &Record<'_>,
        samples: &dyn Samples,
        early: bool,
        dates: &mut Dates,
        out: &mut Vec<u8>,
    ) {
        let mut line = Line {
            record,
            early,
            purpose: self.purpose,
            begin: out.len(),
            dates,
            out,
        };
        for part in &self.parts {
            match part {
                Part::Text(text) => line.out.extend_from_slice(text.as_bytes()),
                Part::Space => line.space(),
                Part::Variable(variable, flags) => line.variable(*variable, *flags),
                Part::Sample(fetch, converters, flags) => {
                    line.sample(|out| samples.fetch(fetch, out), converters, *flags);
                }
            }
        }
    }
}

struct Line<'a, 'r> {
    record: &'a Record<'r>,
    early: bool,
    purpose: Purpose,
    begin: usize,
    dates: &'a mut Dates,
    out: &'a mut Vec<u8>,
}

impl Line<'_, '_> {
    /// Spaces around what turned out to be nothing are one.
    fn space(&mut self) {
        if self.out.len() > self.begin && self.out.last() != Some(&b' ') {
            self.out.push(b' ');
        }
    }

    fn variable(&mut self, variable: Variable, flags: Flags) {
        let record = self.record;
        match variable {
            Variable::ClientIp => match record.client {
                Some(client) => self.ip(Some(client), flags),
                None => self.text(Some("unix"), flags),
            },
            Variable::ClientPort => match record.client {
                Some(client) => self.port(Some(client), flags),
                None => decimal(0, self.out),
            },
            Variable::LocalIp => self.ip(record.local, flags),
            Variable::LocalPort => self.port(record.local, flags),
            Variable::SourceIp => self.ip(record.source, flags),
            Variable::SourcePort => self.port(record.source, flags),
            Variable::ServerIp => self.ip(record.server_address, flags),
            Variable::ServerPort => self.port(record.server_address, flags),
            Variable::Frontend => self.text(Some(record.frontend), flags),
            Variable::FrontendTransport => {
                let suffix = if record.tls.is_some() { "~" } else { "" };
                self.texts(&[record.frontend, suffix], flags, 0);
            }
            Variable::Backend => self.text(Some(record.backend), flags),
            Variable::Server => self.text(Some(record.server), flags),
            Variable::Hostname => self.text(Some(hostname()), flags),
            Variable::TlsVersion => self.text(record.tls.map(|tls| tls.version), flags),
            Variable::Cipher => self.text(record.tls.map(|tls| tls.cipher), flags),
            Variable::UniqueId => self.captured(record.http.and_then(|http| http.unique_id), flags),
            Variable::RequestCookie => self.captured(record.http.and_then(|http| http.cookies[0]), flags),
            Variable::ResponseCookie => self.captured(record.http.and_then(|http| http.cookies[1]), flags),
            Variable::RequestHeaders => self.captures(0, false, flags),
            Variable::RequestHeadersClf => self.captures(0, true, flags),
            Variable::ResponseHeaders => self.captures(1, false, flags),
            Variable::ResponseHeadersClf => self.captures(1, true, flags),
            Variable::Accepted
            | Variable::AcceptedGmt
            | Variable::AcceptedLocal
            | Variable::Requested
            | Variable::RequestedGmt
            | Variable::RequestedLocal
            | Variable::Timestamp
            | Variable::Milliseconds => self.moment(variable, flags),
            Variable::ActiveTime
            | Variable::ConnectTime
            | Variable::DataTime
            | Variable::HandshakeTime
            | Variable::IdleTime
            | Variable::HeadTime
            | Variable::RequestTime
            | Variable::ResponseTime
            | Variable::TotalTime
            | Variable::UserTime
            | Variable::QueueTime => self.time(variable),
            Variable::Method
            | Variable::PathWithHost
            | Variable::Path
            | Variable::Query
            | Variable::Uri
            | Variable::Version
            | Variable::Request => self.request(variable, flags),
            Variable::Termination | Variable::TerminationCookie => self.termination(variable),
            _ => self.count(variable, flags),
        }
    }

    /// A value that was kept while the request went by.
    fn captured(&mut self, value: Option<&[u8]>, flags: Flags) {
        match value.filter(|value| !value.is_empty()) {
            Some(value) => {
                self.quote(flags);
                value.iter().for_each(|octet| self.octet(*octet, flags, HEADER));
                self.quote(flags);
            }
            None => self.text(None, flags),
        }
    }

    /// `{one|two}`, or each one by itself for the common log format. Nothing if nothing was to be kept.
    fn captures(&mut self, side: usize, apart: bool, flags: Flags) {
        let kept = self.record.http.map_or(&[][..], |http| http.captures[side]);
        if kept.is_empty() {
            return;
        }
        if apart {
            for (place, value) in kept.iter().enumerate() {
                if place > 0 {
                    self.out.push(b' ');
                }
                match value {
                    Some(value) => {
                        self.quote(flags);
                        value.iter().for_each(|octet| self.octet(*octet, flags, HEADER));
                        self.quote(flags);
                    }
                    None => self.out.push(b'-'),
                }
            }
            return;
        }
        self.quote(flags);
        for (place, value) in kept.iter().enumerate() {
            self.out.push(if place == 0 { b'{' } else { b'|' });
            let value = value.as_deref().unwrap_or_default();
            value.iter().for_each(|octet| self.octet(*octet, flags, HEADER));
        }
        self.out.push(b'}');
        self.quote(flags);
    }

    fn count(&mut self, variable: Variable, flags: Flags) {
        let record = self.record;
        let [process, frontend, backend, server] = record.connections;
        let value = match variable {
            Variable::BytesOut => {
                self.plus();
                record.bytes_out
            }
            Variable::BytesIn => record.bytes_in,
            Variable::Status => return self.status(),
            Variable::Pid => return self.number_or_hexadecimal(u64::from(pid()), 4, flags),
            Variable::Counter => return self.number_or_hexadecimal(record.session, 4, flags),
            Variable::ProcessConnections => u64::from(process),
            Variable::FrontendConnections => u64::from(frontend),
            Variable::BackendConnections => u64::from(backend),
            Variable::ServerConnections => u64::from(server),
            Variable::ServerQueue => u64::from(record.queues[0]),
            Variable::BackendQueue => u64::from(record.queues[1]),
            _ => {
                debug_assert!(variable == Variable::Retries, "{variable:?}");
                if record.redispatched {
                    self.out.push(b'+');
                }
                u64::from(record.retries)
            }
        };
        decimal(value, self.out);
    }

    fn plus(&mut self) {
        if self.early {
            self.out.push(b'+');
        }
    }

    fn status(&mut self) {
        match self.record.http.and_then(|http| http.status) {
            Some(status) => decimal(u64::from(status), self.out),
            // HAProxy writes 0 for sessions that have no status, -1 for requests that got none.
            None if self.record.http.is_none() => self.out.push(b'0'),
            None => self.out.extend_from_slice(b"-1"),
        }
    }

    fn moment(&mut self, variable: Variable, flags: Flags) {
        let (record, times) = (self.record, self.record.times);
        let before = times.handshake.unwrap_or_default() + times.idle.unwrap_or_default();
        // A request's record counts from its first octet, its connection is older.
        let accepted = match record.http {
            Some(_) => record.accepted.checked_sub(before).unwrap_or(record.accepted),
            None => record.accepted,
        };
        match variable {
            Variable::Accepted => self.dates.milliseconds(accepted, self.out),
            Variable::AcceptedGmt => self.dates.gmt(accepted, self.out),
            Variable::AcceptedLocal => self.dates.with_offset(accepted, self.out),
            Variable::Requested => self.dates.milliseconds(record.accepted, self.out),
            Variable::RequestedGmt => self.dates.gmt(record.accepted, self.out),
            Variable::RequestedLocal => self.dates.with_offset(record.accepted, self.out),
            Variable::Timestamp => {
                let (seconds, _) = date::since_epoch(accepted);
                self.number_or_hexadecimal(seconds.unsigned_abs(), 4, flags);
            }
            _ => {
                let (_, milliseconds) = date::since_epoch(accepted);
                if flags.hexadecimal {
                    hexadecimal(u64::from(milliseconds), 2, self.out);
                } else {
                    date::three_digits(milliseconds, self.out);
                }
            }
        }
    }

    fn time(&mut self, variable: Variable) {
        let times = self.record.times;
        let handshake = times.handshake.unwrap_or_default();
        let before = handshake + times.idle.unwrap_or_default();
        let is_request = self.record.http.is_some();
        let head = times.request.map(|request| before + request);
        let value = match variable {
            Variable::HandshakeTime => Some(handshake),
            Variable::IdleTime => Some(times.idle.unwrap_or_default()),
            Variable::RequestTime => times.request,
            Variable::HeadTime => head,
            Variable::QueueTime => times.queue,
            Variable::ConnectTime => times.connect,
            Variable::ResponseTime => times.response,
            Variable::ActiveTime => {
                self.plus();
                Some(times.total)
            }
            Variable::TotalTime => {
                self.plus();
                Some(if is_request {
                    before + times.total
                } else {
                    times.total
                })
            }
            Variable::UserTime => {
                self.plus();
                Some(if is_request {
                    handshake + times.total
                } else {
                    times.total
                })
            }
            _ => {
                let reached = if is_request { times.response } else { times.connect };
                let until = [times.request, times.queue, times.connect, times.response];
                let until: Duration = until.into_iter().flatten().sum();
                reached.map(|_| times.total.saturating_sub(until))
            }
        };
        match value {
            Some(value) => decimal(u64::try_from(value.as_millis()).unwrap_or(u64::MAX), self.out),
            None => self.out.extend_from_slice(b"-1"),
        }
    }

    fn termination(&mut self, variable: Variable) {
        let letters = [
            self.record.termination.cause.letter(),
            self.record.termination.phase.letter(),
        ];
        self.out
            .extend(letters.map(|letter| u8::try_from(letter).unwrap_or(b'-')));
        if variable == Variable::TerminationCookie {
            let cookie = self.record.http.map_or([b'-'; 2], |http| http.cookie_state);
            self.out.extend_from_slice(&cookie);
        }
    }

    fn request(&mut self, variable: Variable, flags: Flags) {
        let understood = |http: &HttpFacts<'_>| !http.method.is_empty();
        let Some(http) = self.record.http.filter(understood) else {
            return self.text(Some(BAD_REQUEST), flags);
        };
        let (path, query) = http
            .uri
            .find('?')
            .map_or((http.uri, ""), |at| http.uri.split_at(at));
        match variable {
            Variable::Method => self.texts(&[http.method], flags, URL),
            Variable::PathWithHost => self.texts(&[path], flags, URL),
            Variable::Path => self.texts(&[without_host(path)], flags, URL),
            Variable::Query => self.texts(&[query], flags, URL),
            Variable::Uri => self.texts(&[http.uri], flags, URL),
            Variable::Version => self.texts(&[http.version], flags, URL),
            _ => self.texts(&[http.method, " ", http.uri, " ", http.version], flags, URL),
        }
    }

    fn ip(&mut self, address: Option<SocketAddr>, flags: Flags) {
        let Some(address) = address else {
            return self.text(None, flags);
        };
        if flags.hexadecimal {
            match address.ip() {
                IpAddr::V4(ip) => hexadecimal(u64::from(u32::from(ip)), 8, self.out),
                IpAddr::V6(ip) => ip
                    .octets()
                    .into_iter()
                    .for_each(|octet| hexadecimal(u64::from(octet), 2, self.out)),
            }
            return;
        }
        self.quote(flags);
        ip(address.ip(), self.out);
        self.quote(flags);
    }

    fn port(&mut self, address: Option<SocketAddr>, flags: Flags) {
        match address {
            Some(address) => self.number_or_hexadecimal(u64::from(address.port()), 4, flags),
            None => self.text(None, flags),
        }
    }

    fn number_or_hexadecimal(&mut self, value: u64, digits: usize, flags: Flags) {
        if flags.hexadecimal {
            hexadecimal(value, digits, self.out);
        } else {
            decimal(value, self.out);
        }
    }

    fn quote(&mut self, flags: Flags) {
        if flags.quoted {
            self.out.push(b'"');
        }
    }

    fn text(&mut self, text: Option<&str>, flags: Flags) {
        match text {
            Some(text) if !text.is_empty() => self.texts(&[text], flags, 0),
            _ => self.nothing(flags),
        }
    }

    /// What is not known is `-`, or an empty pair of quotes; in a template it is nothing.
    fn nothing(&mut self, flags: Flags) {
        if self.purpose == Purpose::Line {
            self.out
                .extend_from_slice(if flags.quoted { b"\"\"" } else { b"-" });
        }
    }

    /// Some texts as one.
    fn texts(&mut self, texts: &[&str], flags: Flags, encode: u8) {
        self.quote(flags);
        for text in texts {
            if text.bytes().any(|octet| self.is_special(octet, flags, encode)) {
                text.bytes().for_each(|octet| self.octet(octet, flags, encode));
            } else {
                self.out.extend_from_slice(text.as_bytes());
            }
        }
        self.quote(flags);
    }

    fn sample(&mut self, fetch: impl FnOnce(&mut Vec<u8>) -> bool, converters: &[Converter], flags: Flags) {
        let begin = self.out.len();
        self.quote(flags);
        let value = self.out.len();
        if !fetch(self.out) || self.out.len() == value {
            self.out.truncate(begin);
            return self.nothing(flags);
        }
        let mut applied = converters.iter();
        if !applied.all(|converter| converter.apply(self.out, value)) || self.out.len() == value {
            self.out.truncate(begin);
            return self.nothing(flags);
        }
        let octets = self.out.get(value..).unwrap_or_default();
        let begin_special = octets.iter().position(|octet| is_special(*octet, flags, 0));
        if let Some(at) = begin_special {
            // Rare: what a client sent has characters that could be taken for the line's own.
            let rest = self.out.split_off(value + at);
            rest.into_iter().for_each(|octet| self.octet(octet, flags, 0));
        }
        self.quote(flags);
    }

    fn is_special(&self, octet: u8, flags: Flags, encode: u8) -> bool {
        is_special(
            octet,
            flags,
            if self.purpose == Purpose::Line { encode } else { 0 },
        )
    }

    /// A control character in a line would be taken for its end, or speak to the terminal of who reads it; one in a
    /// header could end it.
    fn octet(&mut self, octet: u8, flags: Flags, encode: u8) {
        match self.purpose {
            Purpose::Template if octet.is_ascii_control() => {}
            Purpose::Line if is(octet, CONTROL | encode) => {
                self.out.push(b'#');
                hexadecimal(u64::from(octet), 2, self.out);
            }
            _ => {
                if flags.escaped && is(octet, ESCAPED) {
                    self.out.push(b'\\');
                }
                self.out.push(octet);
            }
        }
    }
}

/// Whether an octet is in one of these classes.
fn is(octet: u8, classes: u8) -> bool {
    CLASSES[usize::from(octet)] & classes != 0
}

fn is_special(octet: u8, flags: Flags, encode: u8) -> bool {
    is(octet, CONTROL | encode | if flags.escaped { ESCAPED } else { 0 })
}

/// The name of this host.
pub(super) fn hostname() -> &'static str {
    static NAME: OnceLock<String> = OnceLock::new();
    NAME.get_or_init(|| {
        let name = nix::unistd::gethostname()
            .ok()
            .and_then(|name| name.into_string().ok());
        name.unwrap_or_default()
    })
}

/// The number of this process.
pub(super) fn pid() -> u32 {
    static PID: OnceLock<u32> = OnceLock::new();
    *PID.get_or_init(std::process::id)
}

pub(super) fn decimal(mut value: u64, out: &mut Vec<u8>) {
    // Most are.
    if value < 10 {
        return out.push(b'0' + value as u8);
    }
    let mut digits = [0u8; 20];
    let mut begin = digits.len();
    loop {
        begin -= 1;
        digits[begin] = b'0' + u8::try_from(value % 10).unwrap_or(0);
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[begin..]);
}

/// At least so many digits.
fn hexadecimal(value: u64, digits: usize, out: &mut Vec<u8>) {
    let significant = (64 - value.leading_zeros() as usize).div_ceil(4);
    for place in (0..significant.max(digits)).rev() {
        let nibble = (value >> (4 * place)) & 0xf;
        out.push(b"0123456789ABCDEF"[nibble as usize]);
    }
}

pub(super) fn ip(address: IpAddr, out: &mut Vec<u8>) {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            for (place, octet) in address.octets().into_iter().enumerate() {
                if place > 0 {
                    out.push(b'.');
                }
                decimal(u64::from(octet), out);
            }
        }
        IpAddr::V6(address) => {
            use std::io::Write as _;
            // A vector takes everything.
            let _ = write!(out, "{address}");
        }
    }
}
