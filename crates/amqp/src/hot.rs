//! The methods that come with every message, read and written in place: no allocation, no copy, no look at their text.
//!
//! Each is the borrowed form of one in [`crate::basic`]. RabbitMQ does not ask whether exchange and routing key are
//! UTF-8, and neither do these.

use bytes::{BufMut, Bytes, BytesMut};

use crate::basic;
use crate::method::{MethodError, MethodId};
use crate::wire::{Malformed, Octets};

/// A method as a connection sees it while messages flow.
#[derive(Clone, Debug, PartialEq)]
pub enum Hot<'a> {
    /// `basic.publish`
    Publish(Publish<'a>),
    /// `basic.deliver`
    Deliver(Deliver<'a>),
    /// `basic.ack`
    Ack(basic::Ack),
    /// `basic.nack`
    Nack(basic::Nack),
    /// `basic.reject`
    Reject(basic::Reject),
    /// Any other, to be read by [`crate::Method::decode`].
    Other(MethodId),
}

impl<'a> Hot<'a> {
    /// Reads the payload of a method frame.
    pub fn read(payload: &'a [u8]) -> Result<Self, MethodError> {
        let id = MethodId::of(payload).unwrap_or(MethodId::NONE);
        match id {
            basic::Publish::ID => Publish::read(payload).map(Self::Publish),
            basic::Deliver::ID => Deliver::read(payload).map(Self::Deliver),
            basic::Ack::ID => arguments(payload, id, |octets| {
                let (delivery_tag, bits) = (octets.u64()?, octets.u8()?);
                Ok(Self::Ack(basic::Ack {
                    delivery_tag,
                    multiple: bits & 1 != 0,
                }))
            }),
            basic::Nack::ID => arguments(payload, id, |octets| {
                let (delivery_tag, bits) = (octets.u64()?, octets.u8()?);
                Ok(Self::Nack(basic::Nack {
                    delivery_tag,
                    multiple: bits & 1 != 0,
                    requeue: bits & 2 != 0,
                }))
            }),
            basic::Reject::ID => arguments(payload, id, |octets| {
                let (delivery_tag, bits) = (octets.u64()?, octets.u8()?);
                Ok(Self::Reject(basic::Reject {
                    delivery_tag,
                    requeue: bits & 1 != 0,
                }))
            }),
            _ => Ok(Self::Other(id)),
        }
    }
}

/// A method after which a content follows.
pub trait Carrier {
    /// Appends the payload of its frame. Strings beyond 255 octets are cut: no peer can have sent such.
    fn write(&self, out: &mut BytesMut);
}

/// `basic.publish`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Publish<'a> {
    /// To which exchange; empty is the default one.
    pub exchange: &'a [u8],
    /// For whom.
    pub routing_key: &'a [u8],
    /// To be returned if no queue wants it.
    pub mandatory: bool,
    /// To be returned if no consumer wants it now; RabbitMQ refuses that.
    pub immediate: bool,
}

impl<'a> Publish<'a> {
    /// Reads the payload of its frame.
    pub fn read(payload: &'a [u8]) -> Result<Self, MethodError> {
        arguments(payload, basic::Publish::ID, |octets| {
            octets.u16()?;
            let (exchange, routing_key, bits) = (octets.short()?, octets.short()?, octets.u8()?);
            Ok(Self {
                exchange,
                routing_key,
                mandatory: bits & 1 != 0,
                immediate: bits & 2 != 0,
            })
        })
    }
}

impl Carrier for Publish<'_> {
    fn write(&self, out: &mut BytesMut) {
        out.put_slice(&[0, 60, 0, 40, 0, 0]);
        short(self.exchange, out);
        short(self.routing_key, out);
        out.put_u8(u8::from(self.mandatory) | u8::from(self.immediate) << 1);
    }
}

/// `basic.return`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Return<'a> {
    /// Why, as a number.
    pub reply_code: u16,
    /// Why, in words.
    pub reply_text: &'a [u8],
    /// As published.
    pub exchange: &'a [u8],
    /// As published.
    pub routing_key: &'a [u8],
}

impl<'a> Return<'a> {
    /// Reads the payload of its frame.
    pub fn read(payload: &'a [u8]) -> Result<Self, MethodError> {
        arguments(payload, basic::Return::ID, |octets| {
            Ok(Self {
                reply_code: octets.u16()?,
                reply_text: octets.short()?,
                exchange: octets.short()?,
                routing_key: octets.short()?,
            })
        })
    }
}

impl Carrier for Return<'_> {
    fn write(&self, out: &mut BytesMut) {
        out.put_slice(&[0, 60, 0, 50]);
        out.put_u16(self.reply_code);
        short(self.reply_text, out);
        short(self.exchange, out);
        short(self.routing_key, out);
    }
}

/// `basic.deliver`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Deliver<'a> {
    /// For which consumer.
    pub consumer_tag: &'a [u8],
    /// How the client names it when it settles it.
    pub delivery_tag: u64,
    /// It was delivered before.
    pub redelivered: bool,
    /// As published.
    pub exchange: &'a [u8],
    /// As published.
    pub routing_key: &'a [u8],
}

impl<'a> Deliver<'a> {
    /// Reads the payload of its frame.
    pub fn read(payload: &'a [u8]) -> Result<Self, MethodError> {
        arguments(payload, basic::Deliver::ID, |octets| {
            Ok(Self {
                consumer_tag: octets.short()?,
                delivery_tag: octets.u64()?,
                redelivered: octets.u8()? & 1 != 0,
                exchange: octets.short()?,
                routing_key: octets.short()?,
            })
        })
    }
}

impl Carrier for Deliver<'_> {
    fn write(&self, out: &mut BytesMut) {
        out.put_slice(&[0, 60, 0, 60]);
        short(self.consumer_tag, out);
        out.put_u64(self.delivery_tag);
        out.put_u8(self.redelivered.into());
        short(self.exchange, out);
        short(self.routing_key, out);
    }
}

/// `basic.deliver` of a message that was published, with [`crate::content::Message::address`] as it came: both methods have
/// exchange and routing key in the same form, so that neither has to be read for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Forward<'a> {
    /// For which consumer.
    pub consumer_tag: &'a [u8],
    /// How the client names it when it settles it.
    pub delivery_tag: u64,
    /// It was delivered before.
    pub redelivered: bool,
    /// Exchange and routing key.
    pub address: &'a [u8],
}

impl Carrier for Forward<'_> {
    fn write(&self, out: &mut BytesMut) {
        out.put_slice(&[0, 60, 0, 60]);
        short(self.consumer_tag, out);
        out.put_u64(self.delivery_tag);
        out.put_u8(self.redelivered.into());
        out.put_slice(self.address);
    }
}

/// `basic.get-ok`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GetOk<'a> {
    /// How the client names it when it settles it.
    pub delivery_tag: u64,
    /// It was delivered before.
    pub redelivered: bool,
    /// As published.
    pub exchange: &'a [u8],
    /// As published.
    pub routing_key: &'a [u8],
    /// So many more are ready.
    pub message_count: u32,
}

impl<'a> GetOk<'a> {
    /// Reads the payload of its frame.
    pub fn read(payload: &'a [u8]) -> Result<Self, MethodError> {
        arguments(payload, basic::GetOk::ID, |octets| {
            Ok(Self {
                delivery_tag: octets.u64()?,
                redelivered: octets.u8()? & 1 != 0,
                exchange: octets.short()?,
                routing_key: octets.short()?,
                message_count: octets.u32()?,
            })
        })
    }
}

impl Carrier for GetOk<'_> {
    fn write(&self, out: &mut BytesMut) {
        out.put_slice(&[0, 60, 0, 71]);
        out.put_u64(self.delivery_tag);
        out.put_u8(self.redelivered.into());
        short(self.exchange, out);
        short(self.routing_key, out);
        out.put_u32(self.message_count);
    }
}

/// Reads a method after which a content follows, to know that it can be read.
pub(crate) fn check_carrier(id: MethodId, payload: &[u8]) -> Result<(), MethodError> {
    match id {
        basic::Publish::ID => Publish::read(payload).map(|_| ()),
        basic::Deliver::ID => Deliver::read(payload).map(|_| ()),
        basic::Return::ID => Return::read(payload).map(|_| ()),
        basic::GetOk::ID => GetOk::read(payload).map(|_| ()),
        _ => Err(MethodError::Unknown(id)),
    }
}

/// Reads the arguments of the method with this id, all of them and nothing more.
fn arguments<'a, T>(
    payload: &'a [u8],
    id: MethodId,
    read: impl FnOnce(&mut Octets<'a>) -> Result<T, Malformed>,
) -> Result<T, MethodError> {
    let mut octets = Octets(payload.get(4..).unwrap_or_default());
    let arguments = octets;
    if MethodId::of(payload) == Some(id)
        && let Ok(method) = read(&mut octets)
        && octets.end().is_ok()
    {
        return Ok(method);
    }
    Err(MethodError::Malformed {
        id,
        arguments: Bytes::copy_from_slice(arguments.0),
    })
}

fn short(text: &[u8], out: &mut BytesMut) {
    let length = u8::try_from(text.len()).unwrap_or(u8::MAX);
    out.put_u8(length);
    out.put_slice(text.get(..length.into()).unwrap_or(text));
}

#[cfg(test)]
mod tests;
