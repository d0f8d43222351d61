//! Clients that have a message for too long.

use std::time::Duration;

use warren_amqp::basic;
use warren_amqp::content::Properties;
use warren_broker::Settings;

use super::broker::Broker;
use super::client::{Client, Ended, short};
use super::words::body;

#[test]
fn a_message_goes_to_others_if_its_client_has_it_for_too_long() {
    let broker = Broker::with(Settings {
        consumer_timeout: Some(Duration::from_millis(300)),
        ..Settings::default()
    });
    let (mut slow, mut other) = (Client::open(broker.at), Client::open(broker.at));
    slow.declare(warren_amqp::queue::Declare {
        queue: short("overdue"),
        ..warren_amqp::queue::Declare::default()
    });
    slow.open_channel(2);
    slow.put("overdue", &Properties::default(), "late");
    slow.consume(basic::Consume {
        queue: short("overdue"),
        ..basic::Consume::default()
    });
    assert_eq!(body(&slow.delivered()), "late");
    let Err(Ended::Closed {
        channel,
        code,
        text,
        method,
    }) = slow.next()
    else {
        panic!("it may have it for ever");
    };
    assert_eq!((channel, code, method.class, method.method), (1, 406, 0, 0));
    assert_eq!(
        text,
        "PRECONDITION_FAILED - delivery acknowledgement on channel 1 timed out. Timeout value used: 300 ms. \
         This timeout value can be configured, see consumers doc guide to learn more"
    );
    let again = other.wait_for("overdue");
    assert_eq!(body(&again), "late");
    assert!(again.get_ok().unwrap().redelivered);
    assert_eq!(slow.end(2), None, "its other channels go on");
}
