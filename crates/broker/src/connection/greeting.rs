//! What clients hear first: mostly the same for all of thousands who come at once, and put into octets once.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use bytes::{Bytes, BytesMut};
use warren_amqp::frame::TooLarge;
use warren_amqp::{FrameMax, Method, Table, Value, connection};

use super::short;

/// `connection.start` as it was said last.
#[derive(Debug, Default)]
pub(crate) struct Greeting(ArcSwapOption<Said>);

#[derive(Debug)]
struct Said {
    cluster_name: String,
    mechanisms: String,
    frame: Bytes,
}

impl Greeting {
    /// The frame that says this.
    ///
    /// # Errors
    /// The name is longer than any frame.
    pub(super) fn frame(&self, cluster_name: String, mechanisms: String) -> Result<Bytes, TooLarge> {
        if let Some(said) = &*self.0.load()
            && said.cluster_name == cluster_name
            && said.mechanisms == mechanisms
        {
            return Ok(said.frame.clone());
        }
        let start = connection::Start {
            version_major: 0,
            version_minor: 9,
            server_properties: server_properties(&cluster_name),
            mechanisms: Bytes::copy_from_slice(mechanisms.as_bytes()),
            locales: Bytes::from_static(b"en_US"),
        };
        let mut octets = BytesMut::new();
        Method::from(connection::Method::Start(start)).encode(0, FrameMax::DEFAULT, &mut octets)?;
        let frame = octets.freeze();
        self.0.store(Some(Arc::new(Said {
            cluster_name,
            mechanisms,
            frame: frame.clone(),
        })));
        Ok(frame)
    }
}

/// What clients look at before they use an extension.
fn server_properties(cluster_name: &str) -> Table {
    const CAPABILITIES: [&str; 9] = [
        "publisher_confirms",
        "exchange_exchange_bindings",
        "basic.nack",
        "consumer_cancel_notify",
        "connection.blocked",
        "consumer_priorities",
        "authentication_failure_close",
        "per_consumer_qos",
        "direct_reply_to",
    ];
    let capabilities = CAPABILITIES
        .iter()
        .map(|name| (short(name), Value::Bool(true)))
        .collect();
    Table::new()
        .with("capabilities", Value::Table(capabilities))
        .with("cluster_name", Value::text(cluster_name))
        .with("copyright", Value::text("Copyright (c) the authors of Warren"))
        .with("information", Value::text("Licensed under Apache-2.0 or MIT"))
        .with("platform", Value::text("Rust"))
        .with("product", Value::text("RabbitMQ"))
        .with("version", Value::text("3.10.8"))
}

#[cfg(test)]
mod tests {
    use warren_amqp::frame::{Item, Splitter};

    use super::*;

    fn said(frame: &[u8]) -> (Option<String>, Bytes) {
        let mut octets = BytesMut::from(frame);
        let mut splitter = Splitter::of_server();
        let Ok(Some(Item::Frame(frame))) = splitter.next(&mut octets) else {
            panic!("a whole frame");
        };
        let Ok(Method::Connection(connection::Method::Start(start))) = Method::decode(&frame.payload) else {
            panic!("connection.start");
        };
        (start.server_properties.text("cluster_name"), start.mechanisms)
    }

    #[test]
    fn who_comes_after_a_change_hears_what_is_true_then() {
        let greeting = Greeting::default();
        for (name, mechanisms) in [
            ("one", "PLAIN"),
            ("one", "PLAIN"),
            ("two", "PLAIN"),
            ("two", "PLAIN EXTERNAL"),
            ("one", "PLAIN"),
        ] {
            let frame = greeting.frame(name.to_owned(), mechanisms.to_owned()).unwrap();
            assert_eq!(said(&frame), (Some(name.to_owned()), mechanisms.into()));
        }
    }

    #[test]
    fn what_is_the_same_is_put_into_octets_once() {
        let greeting = Greeting::default();
        let frame = || greeting.frame("one".to_owned(), "PLAIN".to_owned()).unwrap();
        assert_eq!(frame().as_ptr(), frame().as_ptr());
    }
}
