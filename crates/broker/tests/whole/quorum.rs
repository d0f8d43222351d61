//! What quorum queues do not have or do, and classic ones neither.

use std::net::SocketAddr;

use warren_amqp::content::Properties;
use warren_amqp::{Method, Value, basic, queue};

use super::client::{Client, Ended, short};
use super::words::{body, headers, table};

fn quorum<const N: usize>(name: &str, arguments: [(&str, Value); N]) -> queue::Declare {
    let mut all = table(arguments);
    all.push(short("x-queue-type"), Value::text("quorum"));
    queue::Declare {
        queue: short(name),
        durable: true,
        arguments: all,
        ..queue::Declare::default()
    }
}

fn delete(name: &str) -> queue::Delete {
    queue::Delete {
        queue: short(name),
        ..queue::Delete::default()
    }
}

/// How the server answers a method that it does not like: code and text.
#[track_caller]
fn refusal(client: &mut Client, method: impl Into<Method>) -> (u16, String) {
    client.send(1, method);
    match client.next() {
        Err(Ended::Closed { code, text, .. }) => (code, text),
        other => panic!("{other:?}"),
    }
}

fn each_type_has_its_arguments(at: SocketAddr) {
    let mut client = Client::open(at);
    for (kind, argument) in [
        ("quorum", "x-max-priority"),
        ("quorum", "x-queue-mode"),
        ("quorum", "x-queue-master-locator"),
        ("quorum", "x-max-age"),
        ("classic", "x-quorum-initial-group-size"),
        ("classic", "x-max-age"),
        ("classic", "x-dead-letter-strategy"),
        ("classic", "x-queue-leader-locator"),
        ("classic", "x-max-in-memory-length"),
        ("classic", "x-stream-max-segment-size-bytes"),
        ("classic", "x-initial-cluster-size"),
    ] {
        let declare = queue::Declare {
            queue: short("qq.arguments"),
            durable: true,
            arguments: table([(argument, Value::I32(1)), ("x-queue-type", Value::text(kind))]),
            ..queue::Declare::default()
        };
        let expected = format!(
            "PRECONDITION_FAILED - invalid arg '{argument}' for queue 'qq.arguments' in vhost '/' of queue type \
             rabbit_{kind}_queue"
        );
        assert_eq!(refusal(&mut client, declare), (406, expected));
        client.open_channel(1);
    }
}

fn arguments_of_quorum_queues_are_checked(at: SocketAddr) {
    let mut client = Client::open(at);
    for (argument, value, why) in [
        ("x-quorum-initial-group-size", Value::I32(0), "{value_zero,0}"),
        (
            "x-dead-letter-strategy",
            Value::text("none"),
            "invalid_dlx_strategy",
        ),
        (
            "x-queue-leader-locator",
            Value::text("none"),
            "invalid_queue_locator_arg",
        ),
    ] {
        let expected = format!(
            "PRECONDITION_FAILED - invalid arg '{argument}' for queue 'qq.checked' in vhost '/': {why}"
        );
        let refused = refusal(&mut client, quorum("qq.checked", [(argument, value)]));
        assert_eq!(refused, (406, expected));
        client.open_channel(1);
    }
    let mut temporary = quorum("qq.checked", []);
    temporary.auto_delete = true;
    let expected = "PRECONDITION_FAILED - invalid property 'auto-delete' for queue 'qq.checked' in vhost '/'";
    assert_eq!(refusal(&mut client, temporary), (406, expected.to_owned()));
    client.open_channel(1);
    client.declare(quorum(
        "qq.checked",
        [
            ("x-delivery-limit", Value::I32(-1)),
            ("x-quorum-initial-group-size", Value::I32(3)),
            ("x-dead-letter-strategy", Value::text("at-least-once")),
        ],
    ));
    client.call(1, delete("qq.checked"), queue::DeleteOk::ID);
}

fn quorum_queues_do_not_go_on_conditions(at: SocketAddr) {
    for (flag, if_unused, if_empty) in [("if-unused", true, false), ("if-empty", false, true)] {
        let mut client = Client::open(at);
        let name = format!("qq.{flag}");
        client.declare(quorum(&name, []));
        let conditional = queue::Delete {
            if_unused,
            if_empty,
            ..delete(&name)
        };
        let expected = format!(
            "NOT_IMPLEMENTED - cannot delete queue '{name}' in vhost '/'. queue.delete operations with {flag} flag set are \
             not supported by quorum queues"
        );
        assert_eq!(refusal(&mut client, conditional), (540, expected));
        Client::open(at).call(1, delete(&name), queue::DeleteOk::ID);
    }
}

fn a_quorum_queue_has_a_name(at: SocketAddr) {
    let mut client = Client::open(at);
    let expected = "PRECONDITION_FAILED - Cannot declare a server-named queue for type rabbit_quorum_queue";
    assert_eq!(refusal(&mut client, quorum("", [])), (406, expected.to_owned()));
}

fn a_limit_for_a_channel_is_none_for_quorum_queues(at: SocketAddr) {
    let mut client = Client::open(at);
    client.declare(quorum("qq.limit", []));
    let limit = basic::Qos {
        prefetch_count: 5,
        global: true,
        ..basic::Qos::default()
    };
    client.call(1, limit, basic::QosOk::ID);
    let consume = basic::Consume {
        queue: short("qq.limit"),
        ..basic::Consume::default()
    };
    let expected = "NOT_IMPLEMENTED - queue 'qq.limit' in vhost '/' does not support global qos";
    assert_eq!(refusal(&mut client, consume), (540, expected.to_owned()));
    Client::open(at).call(1, delete("qq.limit"), queue::DeleteOk::ID);
}

fn nobody_fetches_from_a_quorum_queue_with_one_active_consumer(at: SocketAddr) {
    let mut client = Client::open(at);
    client.declare(quorum(
        "qq.single",
        [("x-single-active-consumer", Value::Bool(true))],
    ));
    let get = basic::Get {
        queue: short("qq.single"),
        ..basic::Get::default()
    };
    let expected = "RESOURCE_LOCKED - cannot obtain access to locked queue 'qq.single' in vhost '/'. basic.get operations are \
                    not supported by quorum queues with single active consumer";
    assert_eq!(refusal(&mut client, get), (405, expected.to_owned()));
    Client::open(at).call(1, delete("qq.single"), queue::DeleteOk::ID);
}

fn a_message_that_came_back_says_how_often(at: SocketAddr) {
    let mut client = Client::open(at);
    client.declare(quorum("qq.count", []));
    client.put("qq.count", &Properties::default(), "counted");
    client.wait_for_unacked("qq.count", false);
    // Its client is gone without having settled it.
    drop(client);
    let mut client = Client::open(at);
    for count in 1..4 {
        let message = client.wait_for_unacked("qq.count", false);
        let got = message.get_ok().unwrap();
        assert_eq!((body(&message).as_str(), got.redelivered), ("counted", true));
        assert_eq!(
            headers(&message).get("x-delivery-count"),
            Some(&Value::I64(count))
        );
        client.reject(got.delivery_tag, true);
    }
    client.call(1, delete("qq.count"), queue::DeleteOk::ID);
}

pub(crate) mod scenarios {
    super::super::words::scenarios![
        each_type_has_its_arguments,
        arguments_of_quorum_queues_are_checked,
        quorum_queues_do_not_go_on_conditions,
        a_quorum_queue_has_a_name,
        a_limit_for_a_channel_is_none_for_quorum_queues,
        nobody_fetches_from_a_quorum_queue_with_one_active_consumer,
        a_message_that_came_back_says_how_often,
    ];
}
