//! Beginnings of connections that lead nowhere.

use warren_amqp::{Table, Value};

use super::Wrong;
use crate::client::{Ended, Hello, short, shout};

pub(super) fn all() -> Vec<Wrong> {
    [handshakes(), protocols()].into_iter().flatten().collect()
}

fn handshakes() -> Vec<Wrong> {
    fn hello(name: &'static str, change: impl Fn(&mut Hello) + 'static) -> Wrong {
        Wrong {
            name,
            request: Box::new(move |at| {
                let mut hello = Hello::guest();
                change(&mut hello);
                hello.say(at).err()
            }),
        }
    }
    fn wrong_password(hello: &mut Hello) {
        hello.start.response = warren_amqp::handshake::plain("guest", "wrong");
    }
    fn understands_refusals() -> Table {
        let can = [(short("authentication_failure_close"), Value::Bool(true))];
        Table::new().with("capabilities", Value::Table(can.into_iter().collect()))
    }
    vec![
        hello("wrong password, with capability", |hello| {
            wrong_password(hello);
            hello.start.client_properties = understands_refusals();
        }),
        hello("wrong password, without", wrong_password),
        hello("unknown vhost", |hello| {
            hello.vhost = "no-such";
            hello.start.client_properties = understands_refusals();
        }),
        hello("unknown mechanism", |hello| {
            hello.start.mechanism = short("NONSENSE")
        }),
        hello("frame_max 100", |hello| hello.tune.frame_max = 100),
        hello("frame_max above the server's", |hello| {
            hello.tune.frame_max = 10_000_000;
        }),
        hello("channel_max above the server's", |hello| {
            hello.tune.channel_max = 60_000;
        }),
    ]
}

/// A server that does not speak what is asked for says what it speaks and hangs up.
fn protocols() -> Vec<Wrong> {
    fn header(name: &'static str, octets: &'static [u8]) -> Wrong {
        Wrong {
            name,
            request: Box::new(move |at| {
                // A method on channel 0 is longer than a protocol header.
                let (heard, open) = shout(at, octets, |heard| heard.len() > 8);
                if open {
                    assert!(heard.starts_with(&[1, 0, 0, 0, 0]), "{name}: {heard:?}");
                    return None;
                }
                assert_eq!(&heard[..], b"AMQP\x00\x00\x09\x01", "{name}");
                Some(Ended::Silently)
            }),
        }
    }
    vec![
        header("protocol header 0-8", b"AMQP\x01\x01\x08\x00"),
        header("protocol header HTTP", b"GET / HTTP/1.1\r\n\r\n"),
        header("protocol header 1-0", b"AMQP\x00\x01\x00\x00"),
    ]
}
