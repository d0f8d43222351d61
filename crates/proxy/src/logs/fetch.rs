//! What `%[...]` asks for: samples, and who answers them.

use crate::record::Record;

/// A sample, as in `%[req.hdr(host),lower]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fetch {
    /// `src`
    Src,
    /// `src_port`
    SrcPort,
    /// `dst`
    Dst,
    /// `dst_port`
    DstPort,
    /// `method`
    Method,
    /// `path`: without the query string.
    Path,
    /// `pathq`: with it.
    PathAndQuery,
    /// `url`: as sent.
    Url,
    /// `query`: without the question mark.
    Query,
    /// `req.ver`: `1.1`.
    Version,
    /// `status`
    Status,
    /// `req.hdr(name)`: the last value.
    RequestHeader(String),
    /// `res.hdr(name)`
    ResponseHeader(String),
    /// `req.hdr(name,2)`: the second value; from -1 at the end.
    RequestHeaderAt(String, i64),
    /// `req.fhdr(name)`: the last field whole, commas and all.
    RequestField(String),
    /// `res.fhdr(name)`
    ResponseField(String),
    /// `base`: host and path.
    Base,
    /// `var(txn.name)`
    Variable(String),
    /// `capture.req.hdr(0)`
    RequestCapture(usize),
    /// `capture.res.hdr(0)`
    ResponseCapture(usize),
    /// `unique-id`
    UniqueId,
    /// `req.cook(name)`
    Cookie(String),
    /// `url_param(name)`
    UrlParam(String),
    /// `ssl_fc`: 1 or 0.
    SslFc,
    /// `ssl_fc_sni`
    SslFcSni,
    /// `ssl_fc_protocol`
    SslFcProtocol,
    /// `ssl_fc_cipher`
    SslFcCipher,
    /// `ssl_c_used`: 1 or 0.
    SslClientUsed,
    /// `fc_err`: whoever has a line of his own has come in without an error, so 0.
    FrontendError,
    /// `ssl_fc_err`, `ssl_c_err`, `ssl_c_ca_err`: the same of TLS, if it is ended here.
    SslError,
    /// `ssl_fc_is_resumed`: 1 or 0.
    SslResumed,
    /// `ssl_c_s_dn(cn)`
    SslClientName,
    /// `fe_name`
    FrontendName,
    /// `be_name`
    BackendName,
    /// `srv_name`
    ServerName,
    /// `bytes_in`
    BytesIn,
    /// `bytes_out`
    BytesOut,
    /// `hostname`
    Hostname,
    /// `pid`
    Pid,
    /// `str(text)`
    Text(String),
    /// `amqp.user`
    AmqpUser,
    /// `amqp.vhost`
    AmqpVhost,
    /// `amqp.product`
    AmqpProduct,
    /// `amqp.version`
    AmqpVersion,
    /// `amqp.connection_name`
    AmqpConnectionName,
    /// `amqp.broker`
    AmqpBroker,
    /// `amqp.close_code`
    AmqpCloseCode,
    /// `amqp.close_text`
    AmqpCloseText,
}

/// Every name, for messages.
pub(super) const NAMES: [&str; 60] = [
    "amqp.broker",
    "amqp.close_code",
    "amqp.close_text",
    "amqp.connection_name",
    "amqp.product",
    "amqp.user",
    "amqp.version",
    "amqp.vhost",
    "base",
    "be_name",
    "bool",
    "bytes_in",
    "bytes_out",
    "capture.req.hdr",
    "capture.res.hdr",
    "cook",
    "dst",
    "dst_port",
    "fc_err",
    "fe_name",
    "hdr",
    "hostname",
    "int",
    "method",
    "path",
    "pathq",
    "pid",
    "query",
    "req.cook",
    "req.fhdr",
    "req.hdr",
    "req.method",
    "req.ver",
    "req_ver",
    "res.fhdr",
    "res.hdr",
    "shdr",
    "src",
    "src_port",
    "srv_name",
    "ssl_c_ca_err",
    "ssl_c_err",
    "ssl_c_s_dn",
    "ssl_c_used",
    "ssl_fc",
    "ssl_fc_cipher",
    "ssl_fc_err",
    "ssl_fc_is_resumed",
    "ssl_fc_protocol",
    "ssl_fc_sni",
    "status",
    "str",
    "unique-id",
    "url",
    "url_param",
    "urlp",
    "var",
    "bytes.in",
    "bytes.out",
    "res.status",
];

impl Fetch {
    /// From its name and what stands in its parentheses. `None`: there is none of that name, or its argument is wrong.
    pub(super) fn named(name: &str, argument: Option<&str>) -> Option<Self> {
        let plain = match name {
            "src" => Self::Src,
            "src_port" => Self::SrcPort,
            "dst" => Self::Dst,
            "dst_port" => Self::DstPort,
            "method" | "req.method" => Self::Method,
            "base" => Self::Base,
            "unique-id" => Self::UniqueId,
            "path" => Self::Path,
            "pathq" => Self::PathAndQuery,
            "url" => Self::Url,
            "query" => Self::Query,
            "req.ver" | "req_ver" => Self::Version,
            "status" | "res.status" => Self::Status,
            "ssl_fc" => Self::SslFc,
            "ssl_fc_sni" => Self::SslFcSni,
            "ssl_fc_protocol" => Self::SslFcProtocol,
            "ssl_fc_cipher" => Self::SslFcCipher,
            "ssl_c_used" => Self::SslClientUsed,
            "fc_err" => Self::FrontendError,
            "ssl_fc_err" | "ssl_c_err" | "ssl_c_ca_err" => Self::SslError,
            "ssl_fc_is_resumed" => Self::SslResumed,
            "fe_name" => Self::FrontendName,
            "be_name" => Self::BackendName,
            "srv_name" => Self::ServerName,
            "bytes_in" | "bytes.in" => Self::BytesIn,
            "bytes_out" | "bytes.out" => Self::BytesOut,
            "hostname" => Self::Hostname,
            "pid" => Self::Pid,
            "amqp.user" => Self::AmqpUser,
            "amqp.vhost" => Self::AmqpVhost,
            "amqp.product" => Self::AmqpProduct,
            "amqp.version" => Self::AmqpVersion,
            "amqp.connection_name" => Self::AmqpConnectionName,
            "amqp.broker" => Self::AmqpBroker,
            "amqp.close_code" => Self::AmqpCloseCode,
            "amqp.close_text" => Self::AmqpCloseText,
            _ => return Self::with_argument(name, argument?),
        };
        argument.is_none_or(str::is_empty).then_some(plain)
    }

    /// Its values are numbers.
    pub(super) const fn is_number(&self) -> bool {
        matches!(
            self,
            Self::SrcPort
                | Self::DstPort
                | Self::Status
                | Self::BytesIn
                | Self::BytesOut
                | Self::Pid
                | Self::FrontendError
                | Self::SslError
        )
    }

    fn with_argument(name: &str, argument: &str) -> Option<Self> {
        if argument.is_empty() {
            return None;
        }
        Some(match name {
            "req.hdr" | "hdr" => match argument.split_once(',') {
                Some((name, place)) => Self::RequestHeaderAt(name.into(), place.trim().parse().ok()?),
                None => Self::RequestHeader(argument.into()),
            },
            "req.fhdr" => Self::RequestField(only(argument)?),
            "res.hdr" | "shdr" => Self::ResponseHeader(only(argument)?),
            "res.fhdr" => Self::ResponseField(only(argument)?),
            "var" => Self::Variable(variable(argument)?),
            "capture.req.hdr" => Self::RequestCapture(argument.parse().ok()?),
            "capture.res.hdr" => Self::ResponseCapture(argument.parse().ok()?),
            "bool" => Self::Text(
                match argument {
                    "1" | "true" | "on" | "yes" => "1",
                    "0" | "false" | "off" | "no" => "0",
                    _ => return None,
                }
                .into(),
            ),
            "int" => Self::Text(argument.parse::<i64>().ok()?.to_string()),
            "req.cook" | "cook" => Self::Cookie(argument.into()),
            "url_param" | "urlp" => Self::UrlParam(argument.into()),
            "ssl_c_s_dn" if argument.eq_ignore_ascii_case("cn") => Self::SslClientName,
            "str" => Self::Text(argument.into()),
            _ => return None,
        })
    }
}

/// The last value is all that is asked for where a place cannot be given.
fn only(argument: &str) -> Option<String> {
    let (name, place) = argument.split_once(',').unwrap_or((argument, "-1"));
    (place.trim() == "-1").then(|| name.to_owned())
}

/// A variable's name, if connections, requests and responses have such: `sess.a`, `txn.a`, `req.a`, `res.a`.
pub(crate) fn variable(name: &str) -> Option<String> {
    let (scope, own) = name.split_once('.')?;
    let known = ["sess", "txn", "req", "res"].contains(&scope);
    let good = |c: char| c.is_ascii_alphanumeric() || "_.".contains(c);
    (known && !own.is_empty() && own.chars().all(good)).then(|| name.to_owned())
}

/// Answers samples. Whoever knows more of a request than its [`Record`] answers for it; [`Record`] answers what it can.
pub trait Samples {
    /// Appends the sample's value and says whether there is one.
    fn fetch(&self, fetch: &Fetch, out: &mut Vec<u8>) -> bool;
}

impl Samples for Record<'_> {
    fn fetch(&self, fetch: &Fetch, out: &mut Vec<u8>) -> bool {
        let mut text = |value: Option<&str>| match value {
            Some(value) => {
                out.extend_from_slice(value.as_bytes());
                true
            }
            None => false,
        };
        match fetch {
            Fetch::FrontendName => text(Some(self.frontend)),
            Fetch::BackendName => text(Some(self.backend)),
            Fetch::ServerName => text(Some(self.server)),
            Fetch::Text(value) => text(Some(value)),
            Fetch::SslFcSni => text(self.tls.and_then(|tls| tls.sni)),
            Fetch::SslFcProtocol => text(self.tls.map(|tls| tls.version)),
            Fetch::SslFcCipher => text(self.tls.map(|tls| tls.cipher)),
            Fetch::SslFc => text(Some(if self.tls.is_some() { "1" } else { "0" })),
            Fetch::SslClientUsed => {
                let used = self.tls.is_some_and(|tls| tls.client.is_some());
                text(Some(if used { "1" } else { "0" }))
            }
            Fetch::FrontendError => number(0, out),
            Fetch::SslError => self.tls.is_some() && number(0, out),
            Fetch::SslResumed => number(self.tls.is_some_and(|tls| tls.resumed).into(), out),
            Fetch::SslClientName => text(self.tls.and_then(|tls| tls.client)),
            Fetch::Src | Fetch::SrcPort | Fetch::Dst | Fetch::DstPort => self.address(fetch, out),
            Fetch::BytesIn => number(self.bytes_in, out),
            Fetch::BytesOut => number(self.bytes_out, out),
            Fetch::Hostname => text(Some(super::render::hostname())),
            Fetch::Pid => number(u64::from(std::process::id()), out),
            _ => self.http(fetch, out) || self.amqp(fetch, out),
        }
    }
}

fn number(value: u64, out: &mut Vec<u8>) -> bool {
    super::render::decimal(value, out);
    true
}

impl Record<'_> {
    fn address(&self, fetch: &Fetch, out: &mut Vec<u8>) -> bool {
        let (address, port) = match fetch {
            Fetch::Src => (self.client, false),
            Fetch::SrcPort => (self.client, true),
            Fetch::Dst => (self.local, false),
            _ => (self.local, true),
        };
        let Some(address) = address else { return false };
        if port {
            number(u64::from(address.port()), out)
        } else {
            super::render::ip(address.ip(), out);
            true
        }
    }

    fn http(&self, fetch: &Fetch, out: &mut Vec<u8>) -> bool {
        if let Some(http) = &self.http {
            let kept = match fetch {
                Fetch::UniqueId => Some(http.unique_id),
                Fetch::RequestCapture(place) => Some(http.captures[0].get(*place).and_then(Option::as_deref)),
                Fetch::ResponseCapture(place) => {
                    Some(http.captures[1].get(*place).and_then(Option::as_deref))
                }
                Fetch::Variable(name) => {
                    let mut variables = http.variables.iter();
                    let found = variables.find(|(known, _)| known == name);
                    Some(found.map(|(_, value)| value.as_slice()))
                }
                _ => None,
            };
            if let Some(kept) = kept {
                out.extend_from_slice(kept.unwrap_or_default());
                return kept.is_some();
            }
        }
        let Some(http) = self.http.filter(|http| !http.method.is_empty()) else {
            return false;
        };
        let (path, query) = http
            .uri
            .split_once('?')
            .map_or((http.uri, None), |(path, query)| (path, Some(query)));
        let named = |name: &str| {
            let mut values = http.headers.iter().rev();
            values
                .find(|(header, _)| header.eq_ignore_ascii_case(name))
                .map(|(_, value)| value.as_str())
        };
        let value = match fetch {
            Fetch::Method => Some(http.method),
            Fetch::Path => Some(without_host(path)),
            Fetch::PathAndQuery => Some(without_host(http.uri)),
            Fetch::Url => Some(http.uri),
            Fetch::Query => Some(query.unwrap_or("")),
            Fetch::Version => http.version.strip_prefix("HTTP/"),
            Fetch::Status => return http.status.is_some_and(|status| number(u64::from(status), out)),
            Fetch::RequestHeader(name) | Fetch::RequestField(name) => named(name),
            Fetch::Base => {
                out.extend_from_slice(named("host").unwrap_or("").as_bytes());
                Some(without_host(path))
            }
            Fetch::Cookie(name) => named("cookie").and_then(|cookies| pair(cookies, ';', name)),
            Fetch::UrlParam(name) => query.and_then(|query| pair(query, '&', name)),
            _ => None,
        };
        out.extend_from_slice(value.unwrap_or("").as_bytes());
        value.is_some()
    }

    fn amqp(&self, fetch: &Fetch, out: &mut Vec<u8>) -> bool {
        let Some(amqp) = self.amqp else { return false };
        let close = amqp.close.as_ref();
        let value = match fetch {
            Fetch::AmqpUser => amqp.user.as_deref(),
            Fetch::AmqpVhost => amqp.vhost.as_deref(),
            Fetch::AmqpProduct => amqp.product.as_deref(),
            Fetch::AmqpVersion => amqp.version.as_deref(),
            Fetch::AmqpConnectionName => amqp.connection_name.as_deref(),
            Fetch::AmqpBroker => amqp.broker.as_deref(),
            Fetch::AmqpCloseText => close.map(|(_, _, text)| text.as_str()),
            Fetch::AmqpCloseCode => return close.is_some_and(|(_, code, _)| number(u64::from(*code), out)),
            _ => None,
        };
        out.extend_from_slice(value.unwrap_or("").as_bytes());
        value.is_some()
    }
}

/// `/path` of `http://host/path`.
pub(super) fn without_host(uri: &str) -> &str {
    match uri.split_once("://") {
        Some((scheme, rest)) if !scheme.contains('/') => match rest.find('/') {
            Some(slash) => rest.get(slash..).unwrap_or("/"),
            None => "/",
        },
        _ => uri,
    }
}

/// The value of `name=value` in a list.
fn pair<'a>(list: &'a str, separator: char, name: &str) -> Option<&'a str> {
    list.split(separator)
        .filter_map(|item| item.trim_start().split_once('='))
        .find(|(key, _)| *key == name)
        .map(|(_, value)| value)
}
