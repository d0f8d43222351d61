//! What clients may do wrong, each by the name that it has in the recording.

mod declared;
mod frames;
mod greetings;
mod messages;

use std::net::SocketAddr;

use warren_amqp::{Method, basic, exchange, queue};

use super::client::{Client, Ended, exchange, queue, short};

/// A wrong request, made on a connection of its own.
pub(crate) struct Wrong {
    pub(crate) name: &'static str,
    /// Gives how the channel or the connection ended, if it did.
    pub(crate) request: Box<dyn Fn(SocketAddr) -> Option<Ended>>,
}

/// All of them.
pub(crate) fn all() -> Vec<Wrong> {
    let groups = [declared::all(), messages::all(), frames::all(), greetings::all()];
    groups.into_iter().flatten().collect()
}

/// On a connection with channel 1 and what the requests are about, `rt.q` and `rt.e`.
fn wrong(name: &'static str, request: impl Fn(&mut Client) + 'static) -> Wrong {
    on_channel(1, name, request)
}

/// The same, one method.
fn sends(name: &'static str, method: impl Into<Method>) -> Wrong {
    let method = method.into();
    wrong(name, move |client| client.send(1, method.clone()))
}

fn on_channel(channel: u16, name: &'static str, request: impl Fn(&mut Client) + 'static) -> Wrong {
    Wrong {
        name,
        request: Box::new(move |at| {
            let mut client = furnished(at);
            request(&mut client);
            client.end(channel)
        }),
    }
}

fn furnished(at: SocketAddr) -> Client {
    let mut client = Client::open(at);
    for name in ["rt.q", "rt.bad"] {
        client.delete(name);
    }
    for name in ["rt.e", "rt.int"] {
        client.delete_exchange(name);
    }
    client.call(1, queue("rt.q"), queue::DeclareOk::ID);
    client.call(1, exchange("rt.e"), exchange::DeclareOk::ID);
    client
}

fn consume(name: &str, tag: &str) -> basic::Consume {
    basic::Consume {
        queue: short(name),
        consumer_tag: short(tag),
        ..basic::Consume::default()
    }
}
