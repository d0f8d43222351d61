//! Changes to a header that leave all of its other octets as they came.

use bytes::{BufMut, Bytes, BytesMut};

use super::{Header, Property};
use crate::table::{TableView, Value};
use crate::text::ShortString;
use crate::wire::Writer;

/// Octets before the flags: class, weight, body size.
const BEFORE_FLAGS: usize = 12;

/// A header with a few changes: headers that are set or taken out, properties that are taken out or replaced. Whatever
/// is not named keeps its octets and its place.
///
/// ```
/// use warren_amqp::content::{Header, HeaderEdit, Property, Properties};
/// use warren_amqp::{ShortString, Table, Value};
///
/// let properties = Properties {
///     headers: Some(Table::new().with("BCC", Value::Array(vec![])).with("app", Value::I32(7))),
///     expiration: Some(ShortString::from_static("60000")),
///     ..Properties::default()
/// };
/// let before = properties.header(5);
/// let after = HeaderEdit::of(Header::read(&before).unwrap())
///     .without(Property::Expiration)
///     .without_header("BCC")
///     .with_header("x-delivery-count", Value::I64(1))
///     .finish();
/// let after = Header::read(&after).unwrap();
/// assert_eq!(after.expiration(), None);
/// assert_eq!(after.headers().unwrap().get("x-delivery-count").unwrap().integer(), Some(1));
/// assert_eq!(after.body_size(), 5);
/// ```
#[derive(Clone, Debug)]
pub struct HeaderEdit<'a> {
    header: Header<'a>,
    /// Names, with a value if they are to have one.
    headers: Vec<(ShortString, Option<Value>)>,
    /// Properties, with the octets that they are to have, none if they are taken out.
    properties: Vec<(Property, Bytes)>,
}

impl<'a> HeaderEdit<'a> {
    /// Of a header, no change so far.
    #[must_use]
    pub const fn of(header: Header<'a>) -> Self {
        Self {
            header,
            headers: Vec::new(),
            properties: Vec::new(),
        }
    }

    /// Takes a property out.
    #[must_use]
    pub fn without(mut self, property: Property) -> Self {
        self.properties.push((property, Bytes::new()));
        self
    }

    /// Gives a property of type short string this value. For a property that is none it does nothing.
    #[must_use]
    pub fn with_short(mut self, property: Property, text: &ShortString) -> Self {
        if property.is_short() {
            let mut octets = BytesMut::new();
            Writer::new(&mut octets).short_string(text);
            self.properties.push((property, octets.freeze()));
        }
        self
    }

    /// Takes every header of this name out.
    #[must_use]
    pub fn without_header(self, name: &'static str) -> Self {
        self.change(name, None)
    }

    /// Gives a header this value: where the first of its name is, or behind all others. There is only one then.
    #[must_use]
    pub fn with_header(self, name: &'static str, value: Value) -> Self {
        self.change(name, Some(value))
    }

    fn change(mut self, name: &'static str, value: Option<Value>) -> Self {
        let name = ShortString::from_static(name);
        self.headers.retain(|(other, _)| *other != name);
        self.headers.push((name, value));
        self
    }

    /// The payload of the header frame.
    #[must_use]
    pub fn finish(self) -> Bytes {
        let payload = self.header.payload();
        let mut out = BytesMut::with_capacity(payload.len() + 64);
        out.put_slice(payload.get(..BEFORE_FLAGS).unwrap_or_default());
        out.put_u16(0);
        let mut flags = self.header.flags() & 0b11;
        for property in Property::ALL {
            let before = out.len();
            self.write(*property, &mut out);
            if out.len() > before {
                flags |= property.flag();
            }
        }
        if let Some(place) = out.get_mut(BEFORE_FLAGS..BEFORE_FLAGS + 2) {
            place.copy_from_slice(&flags.to_be_bytes());
        }
        out.freeze()
    }

    fn write(&self, property: Property, out: &mut BytesMut) {
        let changed = self.properties.iter().rfind(|(other, _)| *other == property);
        if let Some((_, octets)) = changed {
            out.put_slice(octets);
        } else if property == Property::Headers && !self.headers.is_empty() {
            self.write_headers(out);
        } else {
            let octets = self.header.payload().get(self.header.span(property));
            out.put_slice(octets.unwrap_or_default());
        }
    }

    fn write_headers(&self, out: &mut BytesMut) {
        let before = self.header.headers();
        let mut entries = BytesMut::new();
        let mut written = vec![false; self.headers.len()];
        for (name, octets) in before.map(TableView::raw).into_iter().flatten() {
            let position = self
                .headers
                .iter()
                .position(|(other, _)| other.as_bytes() == name);
            let change = position.and_then(|at| Some((self.headers.get(at)?, written.get_mut(at)?)));
            match change {
                None => entries.put_slice(octets),
                Some(((name, Some(value)), written @ false)) => {
                    write_entry(name, value, &mut entries);
                    *written = true;
                }
                Some(_) => {}
            }
        }
        for ((name, value), written) in self.headers.iter().zip(written) {
            if let (Some(value), false) = (value, written) {
                write_entry(name, value, &mut entries);
            }
        }
        // A table that was there stays, even with nothing in it; none comes into being for nothing.
        if before.is_some() || !entries.is_empty() {
            Writer::new(out).long_string(&entries);
        }
    }
}

fn write_entry(name: &ShortString, value: &Value, out: &mut BytesMut) {
    let mut writer = Writer::new(out);
    writer.short_string(name);
    value.write(&mut writer);
}

#[cfg(test)]
mod tests;
