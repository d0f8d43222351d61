//! The head of a request.

use std::mem::MaybeUninit;

use super::fields::{Facts, Field, Side, Span, refused, take};
use super::{FIELDS_MAX, Fields, Length, Limits, Refused, Version};

/// The head of a request: where its parts are within octets that are kept elsewhere. Every call that takes `octets`
/// means those it was read from, or a copy.
#[derive(Clone, Debug, Default)]
pub struct Request {
    pub(super) method: Span,
    pub(super) target: Span,
    pub(super) version: Version,
    pub(super) fields: Vec<Field>,
    pub(super) facts: Facts,
    start: usize,
    end: usize,
}

/// What a request asks for, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target<'a> {
    /// Of an absolute URI or of CONNECT.
    pub authority: Option<&'a str>,
    /// Without the query; `*` for itself, empty for CONNECT.
    pub path: &'a str,
    /// What follows the question mark, if there is one.
    pub query: Option<&'a str>,
}

impl Request {
    /// Reads the head that `octets` begin with, perhaps after empty lines. Says how many octets it takes, or nothing
    /// if its end has not come yet.
    ///
    /// # Errors
    /// It is none, or beyond the limits.
    pub fn read(&mut self, octets: &[u8], limits: Limits) -> Result<Option<usize>, Refused> {
        let mut headers = [const { MaybeUninit::uninit() }; FIELDS_MAX];
        let headers = headers.get_mut(..limits.fields).unwrap_or_default();
        let mut parsed = httparse::Request::new(&mut []);
        let status = parsed.parse_with_uninit_headers(octets, headers);
        let end = match status {
            Ok(httparse::Status::Complete(end)) if end <= limits.head => end,
            Ok(httparse::Status::Partial) if octets.len() < limits.head => return Ok(None),
            Ok(_) if request_line_is_too_long(octets, limits) => {
                return Err(Refused::TargetTooLong(limits.head));
            }
            Ok(_) => return Err(Refused::HeadTooLong(limits.head)),
            Err(error) => return Err(first_line(error, octets, limits)),
        };
        let (Some(method), Some(target)) = (parsed.method, parsed.path) else {
            return Err(Refused::RequestLine);
        };
        let head = octets.get(..end).unwrap_or_default();
        self.version = Version::minor(parsed.version);
        self.method = Span::of(method.as_bytes(), head);
        self.target = Span::of(target.as_bytes(), head);
        (self.start, self.end) = (self.method.start(), end);
        self.facts = take(
            &mut self.fields,
            head,
            parsed.headers,
            self.version,
            Side::Request,
        )?;
        self.check_target(head)?;
        Ok(Some(end))
    }

    /// RFC 9112 3.2: a path, an absolute URI, an authority (CONNECT), or `*` (OPTIONS). An authority in the target has
    /// to be the one in `Host`.
    fn check_target(&self, octets: &[u8]) -> Result<(), Refused> {
        let text = self.target.of_octets(octets);
        if !text
            .iter()
            .all(|octet| octet.is_ascii_graphic() && *octet != b'#')
        {
            return Err(Refused::Target);
        }
        let target = self.target(octets);
        let known = match text.first() {
            Some(b'/') => !self.is_connect(octets),
            Some(b'*') => text.len() == 1,
            _ => target.authority.is_some_and(|authority| !authority.is_empty()),
        };
        if !known {
            return Err(Refused::Target);
        }
        let Some(authority) = target.authority else {
            return Ok(());
        };
        let Some(host) = self.host(octets) else {
            return Ok(());
        };
        let port = if self.is_connect(octets) {
            None
        } else {
            scheme_port(text)
        };
        if same_host(authority.as_bytes(), host, port) {
            Ok(())
        } else {
            Err(Refused::Hosts)
        }
    }

    /// The method, as sent.
    #[must_use]
    pub fn method<'a>(&self, octets: &'a [u8]) -> &'a str {
        self.method.text(octets)
    }

    /// The method is HEAD.
    #[must_use]
    pub fn is_head(&self, octets: &[u8]) -> bool {
        self.method.of_octets(octets) == b"HEAD"
    }

    /// The method is CONNECT.
    #[must_use]
    pub fn is_connect(&self, octets: &[u8]) -> bool {
        self.method.of_octets(octets) == b"CONNECT"
    }

    /// Doing it twice is doing it once (RFC 9110 9.2.2), so a proxy may send it again.
    #[must_use]
    pub fn is_idempotent(&self, octets: &[u8]) -> bool {
        matches!(
            self.method.of_octets(octets),
            b"GET" | b"HEAD" | b"OPTIONS" | b"PUT" | b"DELETE" | b"TRACE"
        )
    }

    /// What is asked for, as sent.
    #[must_use]
    pub fn url<'a>(&self, octets: &'a [u8]) -> &'a str {
        self.target.text(octets)
    }

    /// What is asked for, taken apart.
    #[must_use]
    pub fn target<'a>(&self, octets: &'a [u8]) -> Target<'a> {
        let url = self.url(octets);
        if self.is_connect(octets) {
            return Target {
                authority: (!url.contains('/')).then_some(url),
                path: "",
                query: None,
            };
        }
        let scheme = || url.split_once("://");
        let (authority, rest) = match (!url.starts_with('/')).then(scheme).flatten() {
            Some((scheme, rest)) if !scheme.contains(['/', '?']) => {
                let (authority, _) = rest.split_once(['/', '?']).unwrap_or((rest, ""));
                (Some(authority), rest.strip_prefix(authority).unwrap_or_default())
            }
            _ => (None, url),
        };
        let (path, query) = match rest.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (rest, None),
        };
        let path = if path.is_empty() { "/" } else { path };
        Target {
            authority,
            path,
            query,
        }
    }

    /// What is spoken.
    #[must_use]
    pub const fn version(&self) -> Version {
        self.version
    }

    /// All fields.
    #[must_use]
    pub fn fields<'a>(&'a self, octets: &'a [u8]) -> Fields<'a> {
        Fields {
            octets,
            places: &self.fields,
        }
    }

    /// `Host`, if there is one.
    #[must_use]
    pub fn host<'a>(&'a self, octets: &'a [u8]) -> Option<&'a [u8]> {
        self.fields(octets).get("host")
    }

    /// The octets of the head without empty lines before it: what goes on if nothing was changed.
    #[must_use]
    pub fn original<'a>(&self, octets: &'a [u8]) -> &'a [u8] {
        octets.get(self.start..self.end).unwrap_or_default()
    }

    /// It has to be [written](Self::write) anew: it was understood, but somebody else might understand it in another way
    /// (bare LF at the end of lines, a repeated length or host).
    #[must_use]
    pub const fn irregular(&self) -> bool {
        self.facts.irregular
    }

    /// The client keeps the connection for another request. `Proxy-Connection` says nothing (RFC 9112 C.2.2).
    #[must_use]
    pub const fn persistent(&self) -> bool {
        self.facts.persistent(self.version)
    }

    /// The client would like to speak something else (WebSocket) if the server agrees with 101.
    #[must_use]
    pub const fn upgrade(&self) -> bool {
        self.facts.upgrade
    }

    /// The client waits for 100 before it sends the body. Whether it comes from the server or not, it is the server
    /// who says it. In HTTP/1.0 it means nothing (RFC 9110 10.1.1).
    #[must_use]
    pub fn expects_continue(&self) -> bool {
        self.facts.expects && self.version == Version::Http11
    }

    /// Where the body ends. Without a length there is none, and what follows the head of a CONNECT is not a body but
    /// what the tunnel will carry.
    #[must_use]
    pub const fn length(&self) -> Length {
        self.facts.body(Length::None)
    }
}

fn request_line_is_too_long(octets: &[u8], limits: Limits) -> bool {
    let line = octets.trim_ascii_start();
    line.len() + 2 >= limits.head && !line.iter().take(limits.head).any(|octet| *octet == b'\n')
}

/// HTTP/2, whether its preface or in words, is another version rather than nonsense; so is HTTP/1.2.
fn first_line(error: httparse::Error, octets: &[u8], limits: Limits) -> Refused {
    let refused = refused(error, Side::Request, limits);
    let line = octets.trim_ascii_start();
    let line = line.split(|octet| *octet == b'\n').next().unwrap_or_default();
    let mut words = line.trim_ascii_end().split(|octet| *octet == b' ').skip(2);
    let versioned = match (words.next(), words.next()) {
        (Some([b'H', b'T', b'T', b'P', b'/', major, b'.', minor]), None) => {
            major.is_ascii_digit() && minor.is_ascii_digit()
        }
        _ => false,
    };
    if refused == Refused::Version && !versioned {
        Refused::RequestLine
    } else {
        refused
    }
}

fn scheme_port(url: &[u8]) -> Option<&'static [u8]> {
    if url
        .get(..7)
        .is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"http://"))
    {
        Some(b":80")
    } else if url
        .get(..8)
        .is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"https://"))
    {
        Some(b":443")
    } else {
        None
    }
}

/// Whether both name the same, one of them perhaps with the port that goes without saying.
fn same_host(authority: &[u8], host: &[u8], port: Option<&[u8]>) -> bool {
    let bare = |name: &[u8]| match port {
        Some(port) => name.strip_suffix(port).map(<[u8]>::len).unwrap_or(name.len()),
        None => name.len(),
    };
    let (authority, host) = (authority.get(..bare(authority)), host.get(..bare(host)));
    match (authority, host) {
        (Some(authority), Some(host)) => {
            // CONNECT: a `Host` without the port names the same host.
            authority.eq_ignore_ascii_case(host)
                || (port.is_none()
                    && authority
                        .get(..host.len())
                        .is_some_and(|name| name.eq_ignore_ascii_case(host))
                    && authority.get(host.len()) == Some(&b':'))
        }
        _ => false,
    }
}
