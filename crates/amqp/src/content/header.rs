//! Content headers, read where they lie.

use std::ops::Range;

use bytes::Bytes;
use thiserror::Error;

use super::Properties;
use crate::basic;
use crate::table::{InvalidTable, Table, TableView};
use crate::text::ShortString;
use crate::wire::{Malformed, Octets};

/// Octets before the properties: class, weight, body size, flags.
pub(super) const FIXED: usize = 14;

macro_rules! properties {
    ($($(#[$doc:meta])* $variant:ident = $bit:literal $shape:ident;)*) => {
        /// A property of class basic, in the order of the wire.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Property {
            $($(#[$doc])* $variant,)*
        }

        impl Property {
            /// All of them, in the order of the wire.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// Its bit among the flags.
            #[must_use]
            pub const fn flag(self) -> u16 {
                match self { $(Self::$variant => 1 << $bit,)* }
            }

            /// Whether it is a short string.
            pub(super) const fn is_short(self) -> bool {
                matches!(self.shape(), Shape::Short)
            }

            const fn shape(self) -> Shape {
                match self { $(Self::$variant => Shape::$shape,)* }
            }
        }
    };
}

properties! {
    /// MIME type of the body.
    ContentType = 15 Short;
    /// MIME encoding of the body.
    ContentEncoding = 14 Short;
    /// A table for applications, and for exchanges of type headers.
    Headers = 13 Table;
    /// 1 transient, 2 persistent.
    DeliveryMode = 12 One;
    /// For priority queues.
    Priority = 11 One;
    /// For requests and replies.
    CorrelationId = 10 Short;
    /// Where replies go.
    ReplyTo = 9 Short;
    /// How long it may wait, in milliseconds, as text.
    Expiration = 8 Short;
    /// For applications.
    MessageId = 7 Short;
    /// For applications, seconds since 1970.
    Timestamp = 6 Eight;
    /// For applications; the wire's `type`.
    Type = 5 Short;
    /// Who published it; checked.
    UserId = 4 Short;
    /// For applications.
    AppId = 3 Short;
    /// Deprecated.
    ClusterId = 2 Short;
}

/// How a property lies on the wire.
#[derive(Clone, Copy)]
enum Shape {
    Short,
    Table,
    One,
    Eight,
}

impl Shape {
    fn skip(self, octets: &mut Octets<'_>) -> Result<(), Malformed> {
        match self {
            Self::Short => octets.short().map(|_| ()),
            Self::Table => octets.long().map(|_| ()),
            Self::One => octets.u8().map(|_| ()),
            Self::Eight => octets.u64().map(|_| ()),
        }
    }
}

/// Why a content header is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum InvalidHeader {
    /// It ends in the middle of what it has to have.
    #[error("the content header ends too early: the peer has to send all properties that it announces")]
    Cut,
    /// There is more in it than its flags say.
    #[error(
        "the content header goes on behind its last property: the peer has to set the flags of all it sends"
    )]
    Surplus,
    /// It is not of class basic, which alone has contents.
    #[error("the content header is for class {0}: contents are of class 60")]
    Class(u16),
    /// The weight is not 0.
    #[error("the content header has the weight {0}: it has to be 0")]
    Weight(u16),
    /// The table of headers cannot be read.
    #[error(transparent)]
    Table(#[from] InvalidTable),
}

impl From<Malformed> for InvalidHeader {
    fn from(_: Malformed) -> Self {
        Self::Cut
    }
}

/// The payload of a header frame that has been checked as a whole. A property is found by going over those before it,
/// of which there are few.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header<'a> {
    payload: &'a [u8],
}

impl<'a> Header<'a> {
    /// Checks a header. As RabbitMQ does, it ignores the two flags that no property has.
    pub fn read(payload: &'a [u8]) -> Result<Self, InvalidHeader> {
        let mut octets = Octets(payload);
        match octets.u16()? {
            basic::CLASS => {}
            class => return Err(InvalidHeader::Class(class)),
        }
        match octets.u16()? {
            0 => {}
            weight => return Err(InvalidHeader::Weight(weight)),
        }
        octets.u64()?;
        let mut flags = octets.u16()?;
        for property in Property::ALL {
            if flags & property.flag() == 0 {
                continue;
            }
            match property.shape() {
                Shape::Table => TableView::new(octets.long()?).check()?,
                shape @ (Shape::Short | Shape::One | Shape::Eight) => shape.skip(&mut octets)?,
            }
            flags &= !property.flag();
            if flags <= 0b11 {
                break;
            }
        }
        octets.end().map_err(|_| InvalidHeader::Surplus)?;
        Ok(Self { payload })
    }

    /// One that was checked before.
    pub(super) const fn checked(payload: &'a [u8]) -> Self {
        Self { payload }
    }

    /// All of it, as it is sent.
    #[must_use]
    pub const fn payload(self) -> &'a [u8] {
        self.payload
    }

    /// Octets of the body.
    #[must_use]
    pub fn body_size(self) -> u64 {
        let mut octets = Octets(self.payload.get(4..).unwrap_or_default());
        octets.u64().unwrap_or_default()
    }

    /// Which properties there are; see [`Property::flag`].
    #[must_use]
    pub fn flags(self) -> u16 {
        let mut octets = Octets(self.payload.get(FIXED - 2..).unwrap_or_default());
        octets.u16().unwrap_or_default()
    }

    /// Whether it has this property.
    #[must_use]
    pub fn has(self, property: Property) -> bool {
        self.flags() & property.flag() != 0
    }

    /// The table of headers.
    #[must_use]
    pub fn headers(self) -> Option<TableView<'a>> {
        let octets = self.find(Property::Headers)?;
        octets.get(4..).map(TableView::new)
    }

    /// Whether it is to survive the server's end.
    #[must_use]
    pub fn is_persistent(self) -> bool {
        self.delivery_mode() == Some(2)
    }

    /// 1 transient, 2 persistent; peers send other numbers, too.
    #[must_use]
    pub fn delivery_mode(self) -> Option<u8> {
        self.find(Property::DeliveryMode)?.first().copied()
    }

    /// For priority queues.
    #[must_use]
    pub fn priority(self) -> Option<u8> {
        self.find(Property::Priority)?.first().copied()
    }

    /// Seconds since 1970.
    #[must_use]
    pub fn timestamp(self) -> Option<u64> {
        Octets(self.find(Property::Timestamp)?).u64().ok()
    }

    /// How long it may wait, in milliseconds, as text.
    #[must_use]
    pub fn expiration(self) -> Option<&'a [u8]> {
        self.short(Property::Expiration)
    }

    /// Where replies go.
    #[must_use]
    pub fn reply_to(self) -> Option<&'a [u8]> {
        self.short(Property::ReplyTo)
    }

    /// For requests and replies.
    #[must_use]
    pub fn correlation_id(self) -> Option<&'a [u8]> {
        self.short(Property::CorrelationId)
    }

    /// For applications.
    #[must_use]
    pub fn message_id(self) -> Option<&'a [u8]> {
        self.short(Property::MessageId)
    }

    /// Who published it.
    #[must_use]
    pub fn user_id(self) -> Option<&'a [u8]> {
        self.short(Property::UserId)
    }

    /// A property that is a short string, and nothing for one that is not.
    #[must_use]
    pub fn short(self, property: Property) -> Option<&'a [u8]> {
        match property.shape() {
            Shape::Short => self.find(property)?.get(1..),
            Shape::Table | Shape::One | Shape::Eight => None,
        }
    }

    /// All properties as values. Texts are copies.
    #[must_use]
    pub fn properties(self) -> Properties {
        let short = |property| {
            let octets = self.short(property)?;
            ShortString::try_from(Bytes::copy_from_slice(octets)).ok()
        };
        let headers = || Table::decode_entries(Bytes::copy_from_slice(self.headers()?.entries())).ok();
        Properties {
            content_type: short(Property::ContentType),
            content_encoding: short(Property::ContentEncoding),
            headers: headers(),
            delivery_mode: self.delivery_mode(),
            priority: self.priority(),
            correlation_id: short(Property::CorrelationId),
            reply_to: short(Property::ReplyTo),
            expiration: short(Property::Expiration),
            message_id: short(Property::MessageId),
            timestamp: self.timestamp(),
            message_type: short(Property::Type),
            user_id: short(Property::UserId),
            app_id: short(Property::AppId),
            cluster_id: short(Property::ClusterId),
        }
    }

    /// Where a property lies in the payload, its length included; an empty place where it would be if it is not there.
    pub(super) fn span(self, wanted: Property) -> Range<usize> {
        let flags = self.flags();
        let end = |octets: Octets<'_>| self.payload.len() - octets.0.len();
        let mut octets = Octets(self.payload.get(FIXED..).unwrap_or_default());
        for property in Property::ALL.iter().filter(|property| **property < wanted) {
            if flags & property.flag() != 0 && property.shape().skip(&mut octets).is_err() {
                break;
            }
        }
        let start = end(octets);
        if flags & wanted.flag() != 0 && wanted.shape().skip(&mut octets).is_ok() {
            return start..end(octets);
        }
        start..start
    }

    /// The octets of a property, its length included.
    fn find(self, wanted: Property) -> Option<&'a [u8]> {
        // Nearly always the answer is that there is none.
        if !self.has(wanted) {
            return None;
        }
        self.payload.get(self.span(wanted))
    }
}
