//! Definitions that RabbitMQ wrote, taken in by us, written by us, and taken in by RabbitMQ.

use warren_amqp::client::Login;

use super::broker::Broker;
use super::client::Client;
use super::rabbitmq::RabbitMq;

/// By `rabbitmqctl export_definitions` of 3.10.8. The password of `ann` is `secret`.
const FILE: &str = include_str!("../../../model/tests/definitions/rabbitmqctl.json");

#[test]
fn what_travels_to_us_and_back_to_rabbitmq_means_the_same_there() {
    let broker = Broker::start();
    let imported = broker.node.import_definitions(FILE, None).unwrap();
    assert_eq!(imported.refused, [""; 0]);
    let written = broker.node.export_definitions(None).unwrap();
    assert_eq!(written.lost, [""; 0]);
    let rabbitmq = RabbitMq::with_definitions(&written.definitions.to_string());
    let places = std::iter::once(broker.at).chain(rabbitmq.iter().map(|rabbitmq| rabbitmq.at));
    for at in places {
        let log_in = |password: &str, vhost: &str| {
            Client::log_in(at, Login::plain("ann", password, vhost, "test").unwrap())
        };
        assert!(log_in("secret", "v1").is_ok(), "{at}");
        assert!(log_in("secret", "/").is_err(), "{at}: permissions travel, too");
        assert!(log_in("guess", "v1").is_err(), "{at}");
        let mut client = Client::open(at);
        client.publish_at("amq.topic", "r.x", b"1");
        client.select_confirms();
        assert_eq!(client.put_confirmed("tq", 1, &["2"]), [true]);
        assert_eq!(client.count("tq"), 2, "{at}: by the binding and by the name");
        client.queue("zz.policy", []);
        client.put_confirmed("zz.policy", 2, &["1", "2", "3", "4", "5", "6", "7"]);
        assert_eq!(
            client.drain("zz.policy"),
            ["3", "4", "5", "6", "7"],
            "{at}: a policy"
        );
    }
}
