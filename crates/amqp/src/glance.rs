//! Methods above class connection as a bystander sees them: what one of them changes, from its ids and, of a few, the
//! beginning of its arguments.
//!
//! ```text
//!   channel.open, close-ok                 which channels there are
//!   basic.deliver, get-ok                  a message has left its queue, with the channel's next delivery tag
//!   basic.ack, nack, reject                tags that are settled
//!   basic.consume, get                     whether such messages have to be settled at all
//!   queue.declare                          whether the queue ends with the connection
//!   tx.select, basic.recover               what came so far may count no longer
//! ```
//!
//! Absent on purpose: everything that does not matter to the question whether a connection can be ended without
//! anybody losing anything.

use crate::handshake::Direction;
use crate::method::MethodId;

/// Two short strings with what is before and after them: nothing of interest lies further behind.
pub const ARGUMENTS_MAX: usize = 2 + 256 + 256 + 1;

/// What a method changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Glance {
    /// The client opens the channel.
    Opens,
    /// The channel is closed, both sides agree.
    Closed,
    /// The client publishes.
    Publishes,
    /// A message goes to the client.
    Delivers,
    /// The client has done with a message, or gives it back.
    Settles {
        /// Its delivery tag; 0 with `multiple` is all there were.
        tag: u64,
        /// All before it, too.
        multiple: bool,
    },
    /// The client wants a queue's messages, or one of them.
    Takes {
        /// It will not settle them.
        no_ack: bool,
    },
    /// The client makes a queue that ends with the connection.
    Exclusive,
    /// From here on the channel is transactional.
    Transacts,
    /// The server is to deliver again what was not settled.
    Recovers,
}

macro_rules! ids {
    ($($name:ident = $class:literal $method:literal;)*) => {
        $(const $name: MethodId = MethodId::new($class, $method);)*
    };
}

ids! {
    CHANNEL_OPEN = 20 10;
    CHANNEL_CLOSE_OK = 20 41;
    QUEUE_DECLARE = 50 10;
    BASIC_CONSUME = 60 20;
    BASIC_PUBLISH = 60 40;
    BASIC_DELIVER = 60 60;
    BASIC_GET = 60 70;
    BASIC_GET_OK = 60 71;
    BASIC_ACK = 60 80;
    BASIC_REJECT = 60 90;
    BASIC_RECOVER_ASYNC = 60 100;
    BASIC_RECOVER = 60 110;
    BASIC_NACK = 60 120;
    TX_SELECT = 90 10;
}

/// How many octets of its arguments [`glance`] needs, of methods where it needs any.
#[must_use]
pub const fn needs(from: Direction, id: MethodId) -> Option<usize> {
    match (from, id) {
        (Direction::FromClient, BASIC_ACK | BASIC_NACK | BASIC_REJECT) => Some(9),
        (Direction::FromClient, QUEUE_DECLARE | BASIC_CONSUME | BASIC_GET) => Some(ARGUMENTS_MAX),
        _ => None,
    }
}

/// What this method changes. Arguments that cannot be read count as what is more careful: the server will refuse them.
#[must_use]
pub fn glance(from: Direction, id: MethodId, arguments: &[u8]) -> Option<Glance> {
    match (from, id) {
        (Direction::FromClient, CHANNEL_OPEN) => Some(Glance::Opens),
        (_, CHANNEL_CLOSE_OK) => Some(Glance::Closed),
        (Direction::FromClient, BASIC_PUBLISH) => Some(Glance::Publishes),
        (Direction::FromServer, BASIC_DELIVER | BASIC_GET_OK) => Some(Glance::Delivers),
        (Direction::FromClient, BASIC_ACK | BASIC_NACK) => settles(arguments, true),
        (Direction::FromClient, BASIC_REJECT) => settles(arguments, false),
        (Direction::FromClient, BASIC_CONSUME) => Some(Glance::Takes {
            no_ack: bits(arguments, 2).is_some_and(|bits| bits & 0b10 != 0),
        }),
        (Direction::FromClient, BASIC_GET) => Some(Glance::Takes {
            no_ack: bits(arguments, 1).is_some_and(|bits| bits & 0b1 != 0),
        }),
        (Direction::FromClient, QUEUE_DECLARE) => match bits(arguments, 1) {
            // Passive: only asked for, not made.
            Some(bits) if bits & 0b1 != 0 || bits & 0b100 == 0 => None,
            Some(_) | None => Some(Glance::Exclusive),
        },
        (Direction::FromClient, TX_SELECT) => Some(Glance::Transacts),
        (Direction::FromClient, BASIC_RECOVER | BASIC_RECOVER_ASYNC) => Some(Glance::Recovers),
        _ => None,
    }
}

fn settles(arguments: &[u8], may_be_multiple: bool) -> Option<Glance> {
    let (tag, rest) = arguments.split_first_chunk()?;
    Some(Glance::Settles {
        tag: u64::from_be_bytes(*tag),
        multiple: may_be_multiple && rest.first()? & 1 != 0,
    })
}

/// The bits after a short number and so many short strings.
fn bits(arguments: &[u8], strings: usize) -> Option<u8> {
    let mut rest = arguments.get(2..)?;
    for _ in 0..strings {
        let (length, after) = rest.split_first()?;
        rest = after.get(usize::from(*length)..)?;
    }
    rest.first().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from_client(id: MethodId, arguments: &[u8]) -> Option<Glance> {
        glance(Direction::FromClient, id, arguments)
    }

    #[test]
    fn acknowledgements_of_one_and_of_many_are_told_apart() {
        let ack = |tag, multiple| Some(Glance::Settles { tag, multiple });
        assert_eq!(from_client(BASIC_ACK, b"\0\0\0\0\0\0\x01\x02\0"), ack(258, false));
        assert_eq!(
            from_client(BASIC_ACK, b"\0\0\0\0\0\0\x01\x02\x01"),
            ack(258, true)
        );
        assert_eq!(from_client(BASIC_NACK, b"\0\0\0\0\0\0\0\x02\x03"), ack(2, true));
        assert_eq!(from_client(BASIC_NACK, b"\0\0\0\0\0\0\0\x02\x02"), ack(2, false));
        // The bit is requeue here.
        assert_eq!(
            from_client(BASIC_REJECT, b"\0\0\0\0\0\0\0\x02\x01"),
            ack(2, false)
        );
    }

    #[test]
    fn an_acknowledgement_by_the_server_is_about_publishing_and_settles_nothing() {
        let confirm = b"\0\0\0\0\0\0\0\x02\0";
        assert_eq!(glance(Direction::FromServer, BASIC_ACK, confirm), None);
        assert_eq!(needs(Direction::FromServer, BASIC_ACK), None);
    }

    #[test]
    fn messages_that_need_no_acknowledgement_are_known_by_their_consumer() {
        let takes = |no_ack| Some(Glance::Takes { no_ack });
        assert_eq!(
            from_client(BASIC_CONSUME, b"\0\0\x02q1\x03tag\x02\0\0\0\0"),
            takes(true)
        );
        assert_eq!(
            from_client(BASIC_CONSUME, b"\0\0\x02q1\x03tag\x0d\0\0\0\0"),
            takes(false)
        );
        assert_eq!(from_client(BASIC_GET, b"\0\0\x02q1\x01"), takes(true));
        assert_eq!(from_client(BASIC_GET, b"\0\0\x02q1\0"), takes(false));
        // Cut in the middle: the careful answer.
        assert_eq!(from_client(BASIC_CONSUME, b"\0\0\x02q1\x03t"), takes(false));
    }

    #[test]
    fn a_queue_is_exclusive_if_it_is_made_and_made_so() {
        let declare = |bits: u8| from_client(QUEUE_DECLARE, &[0, 0, 1, b'q', bits, 0, 0, 0, 0]);
        assert_eq!(declare(0b0_0010), None);
        assert_eq!(declare(0b0_0110), Some(Glance::Exclusive));
        assert_eq!(declare(0b0_0101), None);
        assert_eq!(from_client(QUEUE_DECLARE, b""), Some(Glance::Exclusive));
    }

    #[test]
    fn what_is_needed_of_the_arguments_is_enough_for_the_longest_names() {
        let names = [&b"\0\0\xff"[..], &[b'n'; 255], b"\xff", &[b'n'; 255], b"\x02"].concat();
        let whole = [&names[..], &[0; 2000]].concat();
        let needed = needs(Direction::FromClient, BASIC_CONSUME).unwrap();
        assert_eq!(
            from_client(BASIC_CONSUME, &whole[..needed]),
            Some(Glance::Takes { no_ack: true })
        );
    }
}
