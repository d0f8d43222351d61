//! Properties as values, for who makes a message rather than passing it on.

use bytes::{BufMut, Bytes, BytesMut};

use super::Property;
use crate::basic;
use crate::table::Table;
use crate::text::ShortString;
use crate::wire::Writer;

/// Whether a message survives the server's end in a durable queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryMode {
    /// It does not.
    Transient,
    /// It does.
    Persistent,
}

impl DeliveryMode {
    /// The number on the wire.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Transient => 1,
            Self::Persistent => 2,
        }
    }
}

/// All properties of class basic; see [`Property`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Properties {
    /// MIME type of the body.
    pub content_type: Option<ShortString>,
    /// MIME encoding of the body.
    pub content_encoding: Option<ShortString>,
    /// A table for applications.
    pub headers: Option<Table>,
    /// 1 transient, 2 persistent.
    pub delivery_mode: Option<u8>,
    /// For priority queues.
    pub priority: Option<u8>,
    /// For requests and replies.
    pub correlation_id: Option<ShortString>,
    /// Where replies go.
    pub reply_to: Option<ShortString>,
    /// How long it may wait, in milliseconds, as text.
    pub expiration: Option<ShortString>,
    /// For applications.
    pub message_id: Option<ShortString>,
    /// For applications, seconds since 1970.
    pub timestamp: Option<u64>,
    /// For applications; the wire's `type`.
    pub message_type: Option<ShortString>,
    /// Who published it.
    pub user_id: Option<ShortString>,
    /// For applications.
    pub app_id: Option<ShortString>,
    /// Deprecated.
    pub cluster_id: Option<ShortString>,
}

impl Properties {
    /// Nothing but a delivery mode.
    #[must_use]
    pub fn of(mode: DeliveryMode) -> Self {
        Self {
            delivery_mode: Some(mode.code()),
            ..Self::default()
        }
    }

    /// The payload of a header frame for a body of this size.
    #[must_use]
    pub fn header(&self, body_size: u64) -> Bytes {
        let mut out = BytesMut::with_capacity(64);
        out.put_slice(&[0, basic::CLASS.to_be_bytes()[1], 0, 0]);
        out.put_u64(body_size);
        out.put_u16(self.flags());
        self.write(&mut Writer::new(&mut out));
        out.freeze()
    }

    fn flags(&self) -> u16 {
        let flag = |property: Property, is_there: bool| if is_there { property.flag() } else { 0 };
        flag(Property::ContentType, self.content_type.is_some())
            | flag(Property::ContentEncoding, self.content_encoding.is_some())
            | flag(Property::Headers, self.headers.is_some())
            | flag(Property::DeliveryMode, self.delivery_mode.is_some())
            | flag(Property::Priority, self.priority.is_some())
            | flag(Property::CorrelationId, self.correlation_id.is_some())
            | flag(Property::ReplyTo, self.reply_to.is_some())
            | flag(Property::Expiration, self.expiration.is_some())
            | flag(Property::MessageId, self.message_id.is_some())
            | flag(Property::Timestamp, self.timestamp.is_some())
            | flag(Property::Type, self.message_type.is_some())
            | flag(Property::UserId, self.user_id.is_some())
            | flag(Property::AppId, self.app_id.is_some())
            | flag(Property::ClusterId, self.cluster_id.is_some())
    }

    fn write(&self, out: &mut Writer<'_>) {
        let short = |text: &Option<ShortString>, out: &mut Writer<'_>| {
            if let Some(text) = text {
                out.short_string(text);
            }
        };
        let one = |number: Option<u8>, out: &mut Writer<'_>| {
            if let Some(number) = number {
                out.u8(number);
            }
        };
        short(&self.content_type, out);
        short(&self.content_encoding, out);
        if let Some(headers) = &self.headers {
            headers.write(out);
        }
        one(self.delivery_mode, out);
        one(self.priority, out);
        short(&self.correlation_id, out);
        short(&self.reply_to, out);
        short(&self.expiration, out);
        short(&self.message_id, out);
        if let Some(timestamp) = self.timestamp {
            out.u64(timestamp);
        }
        short(&self.message_type, out);
        short(&self.user_id, out);
        short(&self.app_id, out);
        short(&self.cluster_id, out);
    }
}
