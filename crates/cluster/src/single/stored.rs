//! Messages as the log has them.
//!
//! ```text
//!   a message's head:   when it came, 8 octets | exchange, short string | routing key, short string | content header
//! ```
//!
//! Time to live is with the place of a message, since it differs from queue to queue: milliseconds from when it came.

use std::sync::Arc;

use bytes::Bytes;
use warren_amqp::content::{self, Header};
use warren_amqp::hot::Publish;
use warren_model::{Entry, Message, MessageId, Millis, Position, QueueId};
use warren_store::{Batch, Place, Stored, StreamId};

use crate::Placed;
use crate::clock::{at_time_of_day, now, time_of_day};

/// No time to live.
pub(super) const FOR_EVER: u32 = 0;

/// Puts messages into a batch, each once, with all the places it has.
pub(super) fn place(batch: &mut Batch, placed: &mut [Placed]) {
    if placed.is_empty() {
        return;
    }
    let (time, now) = (time_of_day(), now());
    // Those of several queues lie apart.
    placed.sort_by_key(|one| (one.number, Arc::as_ptr(&one.message)));
    let mut places: Vec<Place> = Vec::new();
    let mut rest = placed.iter().peekable();
    while let Some(one) = rest.next() {
        let lifetime = one.expires.map_or(FOR_EVER, |end| lifetime(now, end));
        places.push(Place {
            stream: StreamId(one.queue.0),
            position: one.position.0,
            tag: lifetime,
        });
        if rest
            .peek()
            .is_some_and(|next| Arc::ptr_eq(&next.message, &one.message))
        {
            continue;
        }
        push_message(batch, &one.message, time, &places);
        places.clear();
    }
}

/// Puts a message into a batch, with all the places it has.
pub(super) fn push_message(batch: &mut Batch, message: &Message, time: Millis, places: &[Place]) {
    let content = &message.content;
    let mut pieces = content.pieces_of_body();
    let (first, second) = (pieces.next(), pieces.next());
    let several: Vec<Bytes>;
    let body = match second {
        // Mostly: there is no list to be made.
        None => first.as_slice(),
        Some(second) => {
            several = first.into_iter().chain([second]).chain(pieces).collect();
            &several
        }
    };
    batch.message(warren_store::Message {
        id: warren_store::MessageId {
            incarnation: message.id.incarnation,
            sequence: message.id.sequence,
        },
        places,
        head: &[
            &time.0.to_be_bytes(),
            // Both short strings as they lie on the wire: there is none that does not fit.
            content.address(),
            content.header().payload(),
        ],
        body,
    });
}

/// Time to live as a place has room for it, one more than milliseconds; what lives longer than 49 days lives for ever.
pub(super) fn lifetime(now: Millis, ends: Millis) -> u32 {
    u32::try_from(ends.0.saturating_sub(now.0).saturating_add(1)).unwrap_or(FOR_EVER)
}

/// A message of a queue as it was written; nothing if it is none, which only another program can have written.
pub(super) fn entry(stored: Stored) -> Option<Entry> {
    let (time, rest) = stored.head.split_first_chunk::<8>()?;
    let came = at_time_of_day(Millis(u64::from_be_bytes(*time)));
    let (exchange, rest) = short(rest)?;
    let (routing_key, rest) = short(rest)?;
    let header = Header::read(rest).ok()?;
    let publish = Publish {
        exchange,
        routing_key,
        mandatory: false,
        immediate: false,
    };
    let content = content::Message::new(&publish, header, &[stored.body]);
    let id = MessageId {
        incarnation: stored.id.incarnation,
        sequence: stored.id.sequence,
    };
    let message = Message::new(id, content).ok()?;
    let expires = (stored.tag != FOR_EVER).then(|| came.after(u64::from(stored.tag) - 1));
    Some(Entry {
        position: Position(stored.position),
        message: Arc::new(message),
        expires,
        returns: 0,
        redelivered: false,
    })
}

fn short(octets: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = octets.split_first()?;
    rest.split_at_checked(usize::from(*length))
}

/// Positions of each queue as few ranges.
pub(super) fn settle(batch: &mut Batch, settled: &mut Vec<(QueueId, Position)>) {
    settled.sort_unstable();
    let positions = settled.drain(..);
    batch.settle_each(positions.map(|(queue, position)| (StreamId(queue.0), position.0)));
}
