//! A disk that does not answer for a while: who needs it waits, and nobody else does.

use std::process::Command;

use warren_amqp::client::Event;
use warren_amqp::content::Properties;
use warren_amqp::{Method, ShortString, channel, confirm, queue};

use super::disk::Disk;
use super::{Broker, Client};

/// More than there are threads for what has to wait.
const WAITING: usize = 700;

#[test]
fn those_who_wait_for_a_disk_keep_nobody_else_waiting_however_many_they_are() {
    let directory = tempfile::tempdir().unwrap();
    let disk = Disk::new(directory.path());
    let mut command = Command::new(env!("CARGO_BIN_EXE_warren"));
    command.args(["broker", "--listen", "127.0.0.1:0", "--data"]);
    command.arg(directory.path().join("data"));
    disk.put_under(&mut command);
    let broker = Broker::run(&mut command);
    let open = || {
        let mut client = Client::connect(broker.address, "guest", "guest", "/").unwrap();
        client.open_channel();
        client
    };
    let mut declarers: Vec<_> = (0..WAITING).map(|_| open()).collect();
    let mut publisher = open();
    let own = queue::Declare {
        queue: ShortString::from_static("own"),
        exclusive: true,
        ..queue::Declare::default()
    };
    publisher.call(own);
    publisher.call(confirm::Select::default());

    disk.waits();
    for (number, declarer) in declarers.iter_mut().enumerate() {
        let durable = queue::Declare {
            queue: number.to_string().as_str().try_into().unwrap(),
            durable: true,
            ..queue::Declare::default()
        };
        declarer.connection.outbox().method(1, durable).unwrap();
        declarer.flush();
    }
    // All of them have come as far as they can: the metadata knows their queues.
    let declared = |client: &mut Client| {
        let last = queue::Declare {
            queue: (WAITING - 1).to_string().as_str().try_into().unwrap(),
            passive: true,
            ..queue::Declare::default()
        };
        client.connection.outbox().method(1, last).unwrap();
        let answer = client.next().unwrap();
        let found = matches!(
            answer,
            Some(Event::Method {
                method: Method::Queue(queue::Method::DeclareOk(_)),
                ..
            })
        );
        if !found {
            client.connection.outbox().method(1, channel::CloseOk {}).unwrap();
            client.open_channel();
        }
        found
    };
    let mut other = open();
    while !declared(&mut other) {}
    for persistent in [false, true] {
        let properties = match persistent {
            true => Properties::of(warren_amqp::content::DeliveryMode::Persistent),
            false => Properties::default(),
        };
        publisher.publish_with("own", &properties);
        let confirmed = publisher.next().unwrap();
        assert!(is_ack(&confirmed), "{confirmed:?}");
    }
    // Nor is anybody kept from coming in and being served.
    let mut newcomer = open();
    newcomer.call(queue::Declare::default());
    for declarer in &mut declarers {
        declarer.stream.set_nonblocking(true).unwrap();
        let heard = declarer.stream.peek(&mut [0; 1]);
        assert!(heard.is_err(), "an answer before its queue is on disk");
        declarer.stream.set_nonblocking(false).unwrap();
    }

    disk.works();
    for declarer in &mut declarers {
        let declared = declarer.next().unwrap();
        let is_answer = matches!(
            declared,
            Some(Event::Method {
                method: Method::Queue(queue::Method::DeclareOk(_)),
                ..
            })
        );
        assert!(is_answer, "{declared:?}");
    }
}

fn is_ack(event: &Option<Event>) -> bool {
    let Some(Event::Method { method, .. }) = event else {
        return false;
    };
    matches!(method, Method::Basic(warren_amqp::basic::Method::Ack(_)))
}
