//! Changing a head, and writing it.
//!
//! What is new is appended to the octets that the head was read from (or a copy of them), so that a field that was
//! set is found like any other by whoever looks next.

use std::io::Write;

use super::fields::{Facts, Field, Span};
use super::{Request, Response, Version, list};

/// What a head is to say about its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Persistence {
    /// It goes on.
    KeepAlive,
    /// It ends with this message.
    Close,
}

impl Persistence {
    /// The option that has to be said, if any: what goes without saying in this version is not said.
    const fn option(self, version: Version) -> Option<&'static str> {
        match (self, version) {
            (Self::KeepAlive, Version::Http10) => Some("keep-alive"),
            (Self::Close, Version::Http11) => Some("close"),
            (Self::KeepAlive, Version::Http11) | (Self::Close, Version::Http10) => None,
        }
    }
}

macro_rules! edits {
    ($head:ident) => {
        impl $head {
            /// One more field, after all others.
            pub fn add_header(&mut self, octets: &mut Vec<u8>, name: &str, value: &[u8]) {
                add(&mut self.fields, octets, name, value);
            }

            /// No field of this name, whatever its case. Says how many there were.
            pub fn remove_header(&mut self, octets: &[u8], name: &str) -> usize {
                remove(&mut self.fields, octets, name)
            }

            /// This one field of this name.
            pub fn set_header(&mut self, octets: &mut Vec<u8>, name: &str, value: &[u8]) {
                remove(&mut self.fields, octets, name);
                add(&mut self.fields, octets, name, value);
            }

            /// No field whose name is one of those.
            pub fn remove_headers(&mut self, octets: &[u8], mut those: impl FnMut(&str) -> bool) {
                self.fields.retain(|field| !those(field.name.text(octets)));
            }

            /// Every field of this name gets the value that `change` makes of its own, if it makes one.
            pub fn change_header(
                &mut self,
                octets: &mut Vec<u8>,
                name: &str,
                mut change: impl FnMut(&[u8]) -> Option<Vec<u8>>,
            ) {
                for field in &mut self.fields {
                    if !field.name.text(octets).eq_ignore_ascii_case(name) {
                        continue;
                    }
                    if let Some(value) = change(field.value.of_octets(octets)) {
                        field.value = append_value(octets, &value);
                    }
                }
            }
        }
    };
}

edits!(Request);
edits!(Response);

impl Request {
    /// Wants something else done. What HEAD and CONNECT mean for where messages end is the caller's business.
    pub fn set_method(&mut self, octets: &mut Vec<u8>, method: &[u8]) {
        self.method = append(octets, method);
    }

    /// Asks for something else.
    pub fn set_url(&mut self, octets: &mut Vec<u8>, url: &[u8]) {
        self.target = append(octets, url);
    }

    /// As it came, it already says this about its connection.
    #[must_use]
    pub fn says(&self, persistence: Persistence) -> bool {
        says(&self.facts, persistence.option(self.version))
    }

    /// Says this about its connection to whoever reads it next; options other than `close` and `keep-alive` stay.
    pub fn set_persistence(&mut self, octets: &mut Vec<u8>, persistence: Persistence) {
        set_connection(&mut self.fields, octets, persistence.option(self.version));
    }

    /// Appends it to `out`, in the one way to write it.
    pub fn write(&self, octets: &[u8], out: &mut Vec<u8>) {
        for part in [
            self.method.of_octets(octets),
            b" ",
            self.target.of_octets(octets),
            b" ",
            self.version.text().as_bytes(),
            b"\r\n",
        ] {
            out.extend_from_slice(part);
        }
        write_fields(&self.fields, octets, &self.facts, out);
    }
}

impl Response {
    /// Another status, with what it is called. It must not be one that changes whether a body follows.
    pub fn set_status(&mut self, octets: &mut Vec<u8>, status: u16, reason: &str) {
        self.status = status;
        self.reason = append(octets, reason.as_bytes());
    }

    /// As it came, it already says this about its connection, to a client of this version.
    #[must_use]
    pub fn says(&self, persistence: Persistence, client: Version) -> bool {
        says(&self.facts, option_for(persistence, self.version, client))
    }

    /// Says this about its connection to a client of this version; options other than `close` and `keep-alive` stay.
    pub fn set_persistence(&mut self, octets: &mut Vec<u8>, persistence: Persistence, client: Version) {
        let option = option_for(persistence, self.version, client);
        set_connection(&mut self.fields, octets, option);
    }

    /// Appends it to `out`, in the one way to write it.
    pub fn write(&self, octets: &[u8], out: &mut Vec<u8>) {
        // Writing to a Vec cannot fail.
        let _ = write!(out, "{} {:03} ", self.version.text(), self.status);
        out.extend_from_slice(self.reason.of_octets(octets));
        out.extend_from_slice(b"\r\n");
        write_fields(&self.fields, octets, &self.facts, out);
    }
}

/// A client of HTTP/1.0 is told in any case: it might believe the version of the response, or its own.
const fn option_for(persistence: Persistence, version: Version, client: Version) -> Option<&'static str> {
    match (persistence, client, version) {
        (Persistence::KeepAlive, Version::Http11, Version::Http11) => None,
        (Persistence::KeepAlive, _, _) => Some("keep-alive"),
        (Persistence::Close, _, _) => Some("close"),
    }
}

fn says(facts: &Facts, option: Option<&str>) -> bool {
    match option {
        None => !facts.close && !facts.keep_alive,
        Some("close") => facts.close && !facts.keep_alive,
        Some(_) => facts.keep_alive && !facts.close,
    }
}

fn append(octets: &mut Vec<u8>, text: &[u8]) -> Span {
    let start = octets.len();
    octets.extend_from_slice(text);
    Span::new(start, octets.len())
}

fn add(fields: &mut Vec<Field>, octets: &mut Vec<u8>, name: &str, value: &[u8]) {
    let name = append(octets, name.as_bytes());
    let value = append_value(octets, value);
    fields.push(Field { name, value });
}

fn append_value(octets: &mut Vec<u8>, value: &[u8]) -> Span {
    let start = octets.len();
    // A value made from what a client sent must not become another line.
    octets.extend(value.iter().map(|octet| match octet {
        b'\r' | b'\n' | 0 => b' ',
        other => *other,
    }));
    Span::new(start, octets.len())
}

fn remove(fields: &mut Vec<Field>, octets: &[u8], name: &str) -> usize {
    let before = fields.len();
    fields.retain(|field| !field.name.text(octets).eq_ignore_ascii_case(name));
    before - fields.len()
}

/// Takes `close` and `keep-alive` out of every `Connection` and says what is to be said in one of its own.
fn set_connection(fields: &mut Vec<Field>, octets: &mut Vec<u8>, option: Option<&str>) {
    let mut place = 0;
    while let Some(field) = fields.get(place).copied() {
        if !field.name.text(octets).eq_ignore_ascii_case("connection") {
            place += 1;
            continue;
        }
        let about_persistence = |option: &[u8]| {
            option.eq_ignore_ascii_case(b"close") || option.eq_ignore_ascii_case(b"keep-alive")
        };
        let start = octets.len();
        let mut at = field.value.start();
        // Octets grow while the old value is read, so it is read member by member.
        while at < field.value.end() {
            let value = octets.get(at..field.value.end()).unwrap_or_default();
            let length = value
                .iter()
                .position(|octet| *octet == b',')
                .unwrap_or(value.len());
            let member = value.get(..length).unwrap_or_default().trim_ascii();
            if !member.is_empty() && !about_persistence(member) {
                let member = Span::of(member, octets);
                if octets.len() > start {
                    octets.extend_from_slice(b", ");
                }
                octets.extend_from_within(member.start()..member.end());
            }
            at += length + 1;
        }
        if octets.len() == start {
            fields.remove(place);
        } else {
            if let Some(field) = fields.get_mut(place) {
                field.value = Span::new(start, octets.len());
            }
            place += 1;
        }
    }
    if let Some(option) = option {
        add(fields, octets, "Connection", option.as_bytes());
    }
}

fn write_fields(fields: &[Field], octets: &[u8], facts: &Facts, out: &mut Vec<u8>) {
    for field in fields {
        let name = field.name.of_octets(octets);
        out.extend_from_slice(name);
        out.extend_from_slice(b": ");
        match facts.length {
            // `5, 5` becomes `5`.
            Some(_) if name.eq_ignore_ascii_case(b"content-length") => {
                let value = list(field.value.of_octets(octets)).next().unwrap_or_default();
                out.extend_from_slice(value);
            }
            _ => out.extend_from_slice(field.value.of_octets(octets)),
        }
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"\r\n");
}
