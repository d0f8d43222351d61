//! Clients that say anything in any order, right and wrong: what must hold is in `tests/fuzz/oracle/broker_connection.rs`.

#[path = "../../../tests/fuzz/oracle/broker_connection.rs"]
mod oracle;

use bytes::{Buf, Bytes};
use proptest::prelude::*;
use warren_amqp::client::Login;
use warren_amqp::content::Properties;
use warren_amqp::handshake::{Tuning, plain};
use warren_amqp::hot::Publish;
use warren_amqp::outbox::Outbox;
use warren_amqp::{
    FrameMax, Method, Secret, ShortString, basic, channel, confirm, connection, exchange, queue, tx,
};

/// Something that a client says.
#[derive(Clone, Debug)]
enum Said {
    Method(u16, Method),
    Message {
        channel: u16,
        key: &'static str,
        mandatory: bool,
        size: usize,
    },
    /// A frame of this kind.
    Frame(u8, u16, Vec<u8>),
    Anything(Vec<u8>),
}

fn octets(said: &[Said]) -> Vec<u8> {
    let mut outbox = Outbox::new(FrameMax::MIN);
    for one in said {
        match one {
            Said::Method(channel, method) => outbox.method(*channel, method.clone()).unwrap(),
            Said::Message {
                channel,
                key,
                mandatory,
                size,
            } => {
                let publish = Publish {
                    routing_key: key.as_bytes(),
                    mandatory: *mandatory,
                    ..Publish::default()
                };
                let body = vec![7; *size].into();
                outbox
                    .publish(*channel, &publish, &Properties::default(), &body)
                    .unwrap();
            }
            Said::Frame(kind, channel, payload) => {
                let length = u32::try_from(payload.len()).unwrap();
                outbox.octets(&[*kind]);
                outbox.octets(&channel.to_be_bytes());
                outbox.octets(&length.to_be_bytes());
                outbox.octets(payload);
                outbox.octets(&[0xce]);
            }
            Said::Anything(octets) => outbox.octets(octets),
        }
    }
    let count = outbox.remaining();
    outbox.copy_to_bytes(count).to_vec()
}

fn name() -> impl Strategy<Value = ShortString> {
    prop_oneof![Just("a"), Just("b"), Just("c"), Just("")].prop_map(ShortString::from_static)
}

fn queues() -> impl Strategy<Value = Method> {
    prop_oneof![
        4 => (name(), any::<[bool; 5]>()).prop_map(|(queue, [durable, exclusive, auto_delete, passive, no_wait])| {
            queue::Declare { queue, durable, exclusive, auto_delete, passive, no_wait, ..queue::Declare::default() }.into()
        }),
        1 => (name(), any::<[bool; 2]>()).prop_map(|(queue, [if_unused, if_empty])| {
            queue::Delete { queue, if_unused, if_empty, ..queue::Delete::default() }.into()
        }),
        1 => name().prop_map(|queue| queue::Purge { queue, ..queue::Purge::default() }.into()),
        1 => name().prop_map(|queue| queue::Bind {
            queue,
            exchange: ShortString::from_static("amq.fanout"),
            ..queue::Bind::default()
        }.into()),
        1 => name().prop_map(|exchange| exchange::Declare {
            exchange,
            exchange_type: ShortString::from_static("topic"),
            ..exchange::Declare::default()
        }.into()),
    ]
}

fn messages() -> impl Strategy<Value = Method> {
    prop_oneof![
        3 => (name(), name(), any::<[bool; 3]>()).prop_map(|(queue, consumer_tag, [no_ack, exclusive, no_wait])| {
            basic::Consume { queue, consumer_tag, no_ack, exclusive, no_wait, ..basic::Consume::default() }.into()
        }),
        3 => (name(), any::<bool>()).prop_map(|(queue, no_ack)| {
            basic::Get { queue, no_ack, ..basic::Get::default() }.into()
        }),
        3 => (0..6_u64, any::<bool>()).prop_map(|(delivery_tag, multiple)| basic::Ack { delivery_tag, multiple }.into()),
        2 => (0..6_u64, any::<[bool; 2]>()).prop_map(|(delivery_tag, [multiple, requeue])| {
            basic::Nack { delivery_tag, multiple, requeue }.into()
        }),
        1 => (0..6_u64, any::<bool>()).prop_map(|(delivery_tag, requeue)| basic::Reject { delivery_tag, requeue }.into()),
        1 => name().prop_map(|consumer_tag| basic::Cancel { consumer_tag, ..basic::Cancel::default() }.into()),
        1 => (0..4_u16, any::<bool>()).prop_map(|(prefetch_count, global)| {
            basic::Qos { prefetch_count, global, ..basic::Qos::default() }.into()
        }),
        1 => any::<bool>().prop_map(|requeue| basic::Recover { requeue }.into()),
    ]
}

fn modes() -> impl Strategy<Value = Method> {
    prop_oneof![
        Just(confirm::Select::default().into()),
        Just(tx::Select {}.into()),
        Just(tx::Commit {}.into()),
        Just(tx::Rollback {}.into()),
        Just(channel::Flow { active: true }.into()),
        Just(channel::Close::default().into()),
        Just(channel::CloseOk {}.into()),
        Just(connection::CloseOk {}.into()),
        Just(connection::Close::default().into()),
    ]
}

fn login(mechanism: &'static str, response: Secret, vhost: &str) -> [Method; 3] {
    let login = Login {
        mechanism: ShortString::from_static(mechanism),
        response,
        wanted: Tuning {
            channel_max: 3,
            frame_max: 4096,
            heartbeat: 0,
        },
        ..Login::plain("guest", "guest", vhost, "test").unwrap()
    };
    login.methods()
}

fn start_ok(mechanism: &'static str, response: Secret) -> Method {
    let [start_ok, ..] = login(mechanism, response, "/");
    start_ok
}

fn open(vhost: &str) -> Method {
    let [.., open] = login("PLAIN", plain("guest", "guest"), vhost);
    open
}

/// What is said of the connection itself, on channel 0.
fn about_the_connection() -> impl Strategy<Value = Method> {
    prop_oneof![
        3 => Just(start_ok("PLAIN", plain("guest", "guest"))),
        1 => Just(start_ok("PLAIN", plain("guest", "wrong"))),
        1 => (prop_oneof![Just("PLAIN"), Just("AMQPLAIN"), Just("EXTERNAL"), Just("none")], prop::collection::vec(any::<u8>(), 0..30))
            .prop_map(|(mechanism, response)| start_ok(mechanism, Bytes::from(response).into())),
        1 => prop::collection::vec(any::<u8>(), 0..30)
            .prop_map(|response| connection::SecureOk { response: Bytes::from(response).into() }.into()),
        3 => (prop_oneof![Just(0), Just(3), Just(u16::MAX)], prop_oneof![Just(0), Just(100), Just(4096), Just(u32::MAX)], 0..3_u16)
            .prop_map(|(channel_max, frame_max, heartbeat)| connection::TuneOk { channel_max, frame_max, heartbeat }.into()),
        3 => prop_oneof![9 => Just("/"), 1 => Just("nowhere")].prop_map(open),
        1 => Just(connection::Close::default().into()),
        1 => Just(connection::CloseOk {}.into()),
    ]
}

fn said() -> impl Strategy<Value = Said> {
    let channel = || prop_oneof![30 => 1..3_u16, 1 => 0..5_u16];
    prop_oneof![
        1 => about_the_connection().prop_map(|method| Said::Method(0, method)),
        4 => channel().prop_map(|channel| Said::Method(channel, channel::Open::default().into())),
        8 => (channel(), queues()).prop_map(|(channel, method)| Said::Method(channel, method)),
        12 => (channel(), messages()).prop_map(|(channel, method)| Said::Method(channel, method)),
        2 => (channel(), modes()).prop_map(|(channel, method)| Said::Method(channel, method)),
        16 => (channel(), prop_oneof![Just("a"), Just("b"), Just("c")], any::<bool>(), prop_oneof![0..10_usize, 4000..9000_usize])
            .prop_map(|(channel, key, mandatory, size)| Said::Message { channel, key, mandatory, size }),
        1 => (0..10_u8, channel(), prop::collection::vec(any::<u8>(), 0..40))
            .prop_map(|(kind, channel, payload)| Said::Frame(kind, channel, payload)),
        1 => prop::collection::vec(any::<u8>(), 0..20).prop_map(Said::Anything),
    ]
}

/// Most conversations begin well.
fn conversation() -> impl Strategy<Value = Vec<Said>> {
    let beginning = [
        Said::Method(1, channel::Open::default().into()),
        Said::Method(2, channel::Open::default().into()),
        Said::Method(
            1,
            queue::Declare {
                queue: ShortString::from_static("a"),
                ..queue::Declare::default()
            }
            .into(),
        ),
        Said::Method(
            1,
            queue::Declare {
                queue: ShortString::from_static("b"),
                ..queue::Declare::default()
            }
            .into(),
        ),
    ];
    (0..=beginning.len(), prop::collection::vec(said(), 0..60))
        .prop_map(move |(count, rest)| beginning.iter().take(count).cloned().chain(rest).collect())
}

/// Most strangers begin well, go on as long as that, and then say anything.
fn beginning() -> impl Strategy<Value = Vec<Said>> {
    let header = prop_oneof![
        8 => Just(b"AMQP\0\0\x09\x01".to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..9),
    ];
    let right = login("PLAIN", plain("guest", "guest"), "/");
    let anything = prop::collection::vec(about_the_connection(), 0..4);
    (header, 0..=right.len(), anything, conversation()).prop_map(move |(header, count, anything, rest)| {
        let methods = right.iter().take(count).cloned().chain(anything);
        let methods = methods.map(|method| Said::Method(0, method));
        std::iter::once(Said::Anything(header))
            .chain(methods)
            .chain(rest)
            .collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn whatever_a_client_says_nothing_of_it_is_left(said in conversation()) {
        oracle::accepted(&octets(&said));
    }

    #[test]
    fn whatever_a_stranger_says_nothing_of_it_is_left(said in beginning()) {
        oracle::accepted(&octets(&said));
    }

    #[test]
    fn a_client_may_go_in_the_middle_of_a_word(said in conversation(), keep in 0.0..1.0_f64) {
        let mut octets = octets(&said);
        octets.truncate((octets.len() as f64 * keep) as usize);
        oracle::accepted(&octets);
    }
}

#[test]
fn what_fuzzing_found_is_accepted() {
    let corpus = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../tests/fuzz/corpus/broker_connection"
    );
    let files = std::fs::read_dir(corpus).unwrap();
    let mut count = 0;
    for file in files {
        oracle::accepted(&std::fs::read(file.unwrap().path()).unwrap());
        count += 1;
    }
    assert!(count > 0, "the corpus is there");
}
