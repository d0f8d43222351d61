//! What the proxy itself says to a client: errors, redirections and other answers of rules, word for word as HAProxy
//! does, since people and programs know them.

use std::io::Write;

use warren_balance::http::Version;

/// Status, what follows it in the status line, and what the page says.
const PAGES: &[(u16, &str, &str)] = &[
    (200, "OK", "Service ready."),
    (400, "Bad request", "Your browser sent an invalid request."),
    (
        401,
        "Unauthorized",
        "You need a valid user and password to access this content.",
    ),
    (403, "Forbidden", "Request forbidden by administrative rules."),
    (404, "Not Found", "The resource could not be found."),
    (
        405,
        "Method Not Allowed",
        "A request was made of a resource using a request method not supported by that resource",
    ),
    (
        407,
        "Unauthorized",
        "You need a valid user and password to access this content.",
    ),
    (
        408,
        "Request Time-out",
        "Your browser didn't send a complete request in time.",
    ),
    (
        410,
        "Gone",
        "The resource is no longer available and will not be available again.",
    ),
    (
        413,
        "Payload Too Large",
        "The request entity exceeds the maximum allowed.",
    ),
    (
        414,
        "URI Too Long",
        "The request's URI is longer than the maximum allowed.",
    ),
    (
        421,
        "Misdirected Request",
        "Request sent to a non-authoritative server.",
    ),
    (
        422,
        "Unprocessable Content",
        "The server cannot process the contained instructions.",
    ),
    (425, "Too Early", "Your browser sent early data."),
    (
        429,
        "Too Many Requests",
        "You have sent too many requests in a given amount of time.",
    ),
    (
        431,
        "Request Header Fields Too Large",
        "The request's header fields exceed the maximum allowed.",
    ),
    (500, "Internal Server Error", "An internal server error occurred."),
    (
        501,
        "Not Implemented",
        "The server does not support the functionality required to fulfill the request.",
    ),
    (
        502,
        "Bad Gateway",
        "The server returned an invalid or incomplete response.",
    ),
    (
        503,
        "Service Unavailable",
        "No server is available to handle this request.",
    ),
    (504, "Gateway Time-out", "The server didn't respond in time."),
    (
        505,
        "HTTP Version Not Supported",
        "HTTP/1.0 and HTTP/1.1 are the versions spoken here.",
    ),
];

/// The words of statuses without a page of their own.
const REASONS: &[(u16, &str)] = &[
    (201, "Created"),
    (202, "Accepted"),
    (204, "No Content"),
    (206, "Partial Content"),
    (301, "Moved Permanently"),
    (302, "Found"),
    (303, "See Other"),
    (304, "Not Modified"),
    (307, "Temporary Redirect"),
    (308, "Permanent Redirect"),
    (402, "Payment Required"),
    (406, "Not Acceptable"),
    (409, "Conflict"),
    (411, "Length Required"),
    (412, "Precondition Failed"),
    (415, "Unsupported Media Type"),
    (416, "Range Not Satisfiable"),
    (418, "I'm a teapot"),
    (423, "Locked"),
    (451, "Unavailable For Legal Reasons"),
    (507, "Insufficient Storage"),
];

/// What an answer says, besides how its connection goes on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answer<'a> {
    pub(crate) status: u16,
    /// Without `Content-Length` and `Connection`.
    pub(crate) fields: &'a [(&'a str, &'a str)],
    pub(crate) body: &'a [u8],
}

/// How the client's connection goes on after an answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ending {
    /// The client knows no better than this.
    pub(crate) version: Version,
    /// It goes on.
    pub(crate) persistent: bool,
    /// The request was HEAD: no body.
    pub(crate) head: bool,
}

impl Answer<'_> {
    /// Appends it to `out`.
    pub(crate) fn write(&self, ending: Ending, out: &mut Vec<u8>) {
        // Writing to a Vec cannot fail.
        let _ = write!(out, "HTTP/1.1 {:03} {}\r\n", self.status, reason(self.status));
        // RFC 9110 8.6: these have no content, and no length of it.
        let empty = matches!(self.status, 100..=199 | 204 | 304);
        if !empty {
            let _ = write!(out, "Content-length: {}\r\n", self.body.len());
        }
        for (name, value) in self.fields {
            let _ = write!(out, "{name}: {value}\r\n");
        }
        out.extend_from_slice(match (ending.persistent, ending.version) {
            (true, Version::Http11) => b"".as_slice(),
            (true, Version::Http10) => b"Connection: keep-alive\r\n",
            (false, _) => b"Connection: close\r\n",
        });
        out.extend_from_slice(b"\r\n");
        if !ending.head && !empty {
            out.extend_from_slice(self.body);
        }
    }
}

/// Appends HAProxy's own page for an error.
pub(crate) fn error(status: u16, fields: &[(&str, &str)], ending: Ending, out: &mut Vec<u8>) {
    let body = body(status);
    let mut all = vec![("Cache-Control", "no-cache"), ("Content-Type", "text/html")];
    all.extend_from_slice(fields);
    let answer = Answer {
        status,
        fields: &all,
        body: body.as_bytes(),
    };
    answer.write(ending, out);
}

/// Appends a whole response from a file. It goes out as it is but for what it says about its connection. Says whether
/// that may go on: not if the response has no length, or says otherwise.
pub(crate) fn custom(content: &[u8], ending: Ending, out: &mut Vec<u8>) -> bool {
    let mut head = warren_balance::http::Response::default();
    let limits = warren_balance::http::Limits {
        head: content.len().max(1),
        fields: 101,
    };
    let Ok(Some(end)) = head.read(content, limits) else {
        out.extend_from_slice(content);
        return false;
    };
    let length = head.length_for(false, false);
    let sized = length != warren_balance::http::Length::UntilClose;
    let persistent = ending.persistent && sized && head.persistent();
    let persistence = if persistent {
        warren_balance::http::Persistence::KeepAlive
    } else {
        warren_balance::http::Persistence::Close
    };
    let mut octets = content.get(..end).unwrap_or_default().to_vec();
    head.set_persistence(&mut octets, persistence, ending.version);
    head.write(&octets, out);
    if !ending.head {
        out.extend_from_slice(content.get(end..).unwrap_or_default());
    }
    persistent
}

/// The page of a status.
fn body(status: u16) -> String {
    match PAGES.iter().find(|(known, ..)| *known == status) {
        Some((status, reason, text)) => {
            format!("<html><body><h1>{status} {reason}</h1>\n{text}\n</body></html>\n")
        }
        None => format!(
            "<html><body><h1>{status} {}</h1>\n</body></html>\n",
            reason(status)
        ),
    }
}

/// What follows the status in a status line.
pub(crate) fn reason(status: u16) -> &'static str {
    let page = PAGES.iter().find(|(known, ..)| *known == status);
    page.map(|(_, reason, _)| *reason)
        .or_else(|| {
            let other = REASONS.iter().find(|(known, _)| *known == status);
            other.map(|(_, reason)| *reason)
        })
        .unwrap_or(match status {
            200..=299 => "OK",
            300..=399 => "Redirection",
            _ => "Error",
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEEP: Ending = Ending {
        version: Version::Http11,
        persistent: true,
        head: false,
    };

    fn page(status: u16, ending: Ending) -> String {
        let mut out = Vec::new();
        error(status, &[], ending, &mut out);
        String::from_utf8(out).unwrap()
    }

    fn own(content: &str) -> (String, bool) {
        let mut out = Vec::new();
        let persistent = custom(content.as_bytes(), KEEP, &mut out);
        (String::from_utf8(out).unwrap(), persistent)
    }

    #[test]
    fn the_pages_are_haproxys() {
        let text = page(503, KEEP);
        assert_eq!(
            text,
            "HTTP/1.1 503 Service Unavailable\r\nContent-length: 107\r\nCache-Control: no-cache\r\n\
             Content-Type: text/html\r\n\r\n<html><body><h1>503 Service Unavailable</h1>\n\
             No server is available to handle this request.\n</body></html>\n"
        );
        // As HAProxy 2.6 sends them.
        for (status, length) in [
            (400, 90),
            (401, 112),
            (403, 93),
            (404, 83),
            (408, 110),
            (500, 97),
            (502, 107),
            (504, 92),
        ] {
            assert_eq!(body(status).len(), length, "{status}");
        }
    }

    #[test]
    fn a_page_of_the_configuration_keeps_the_connection_only_if_its_end_is_known() {
        let (text, persistent) = own("HTTP/1.0 503 Sorry\r\nContent-Type: text/plain\r\n\r\nback soon");
        assert!(
            !persistent && text.contains("Connection: close\r\n\r\nback soon"),
            "{text}"
        );
        let (_, persistent) = own("HTTP/1.1 503 Sorry\r\nContent-Length: 4\r\nConnection: close\r\n\r\nsoon");
        assert!(!persistent);
        let sized = "HTTP/1.1 503 Sorry\r\nContent-Length: 4\r\n\r\nsoon";
        assert_eq!(own(sized), (sized.into(), true));
    }

    #[test]
    fn an_answer_to_head_has_no_body() {
        let ending = Ending {
            head: true,
            version: Version::Http10,
            persistent: true,
        };
        let text = page(404, ending);
        assert!(text.ends_with("Connection: keep-alive\r\n\r\n"), "{text}");
    }
}
