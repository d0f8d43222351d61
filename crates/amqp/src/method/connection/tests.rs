use bytes::{Bytes, BytesMut};
use proptest::prelude::*;

use super::*;
use crate::frame::{Frame, Item, Splitter};
use crate::table::Value;

fn frame(octets: &[u8]) -> Frame {
    let mut splitter = Splitter::of_server();
    splitter.set_frame_max(FrameMax::DEFAULT);
    let mut buffer = BytesMut::from(octets);
    let Ok(Some(Item::Frame(frame))) = splitter.next(&mut buffer) else {
        panic!("{octets:?} is a frame");
    };
    assert!(buffer.is_empty());
    frame
}

fn sent(method: &Method) -> BytesMut {
    let mut out = BytesMut::new();
    method.encode(0, FrameMax::DEFAULT, &mut out).unwrap();
    out
}

fn recorded_start() -> Vec<u8> {
    let hex: String = include_str!("../../../recorded/start.hex")
        .split_whitespace()
        .collect();
    (0..hex.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
        .collect()
}

#[test]
fn the_greeting_of_a_rabbitmq_is_understood_and_leaves_as_it_came() {
    let octets = recorded_start();
    let frame = frame(&octets);
    let method = Method::decode(&frame.payload).unwrap();
    assert_eq!(sent(&method), octets);
    let Method::Start(start) = method else {
        panic!("{method:?}");
    };
    assert_eq!((start.version_major, start.version_minor), (8, 0));
    assert_eq!(
        start.server_properties.text("product").as_deref(),
        Some("RabbitMQ")
    );
    assert_eq!(start.server_properties.text("version").as_deref(), Some("3.10.8"));
    assert_eq!(start.server_properties.len(), 7);
    assert_eq!(start.mechanisms, "PLAIN AMQPLAIN");
    assert_eq!(start.locales, "en_US");
}

#[test]
fn methods_have_the_octets_that_the_specification_gives_them() {
    let cases: [(Method, &[u8]); 4] = [
        (
            TuneOk {
                channel_max: 2047,
                frame_max: 131_072,
                heartbeat: 60,
            }
            .into(),
            b"\x01\0\0\0\0\0\x0c\0\x0a\0\x1f\x07\xff\0\x02\0\0\0\x3c\xce",
        ),
        (
            Open {
                virtual_host: ShortString::from_static("/"),
                ..Open::default()
            }
            .into(),
            b"\x01\0\0\0\0\0\x08\0\x0a\0\x28\x01/\0\0\xce",
        ),
        (
            Close::normal("bye").into(),
            b"\x01\0\0\0\0\0\x0e\0\x0a\0\x32\0\xc8\x03bye\0\0\0\0\xce",
        ),
        (CloseOk {}.into(), b"\x01\0\0\0\0\0\x04\0\x0a\0\x33\xce"),
    ];
    for (method, octets) in cases {
        assert_eq!(sent(&method)[..], *octets, "{method:?}");
        assert_eq!(frame(octets).method(), Some(method.id()));
        assert_eq!(Method::decode(&frame(octets).payload), Ok(method));
    }
}

#[test]
fn the_class_has_its_ten_methods_and_rabbitmqs_four() {
    let numbers: Vec<u16> = Method::IDS.iter().map(|id| id.method).collect();
    assert_eq!(numbers, [10, 11, 20, 21, 30, 31, 40, 41, 50, 51, 60, 61, 70, 71]);
    assert!(Method::IDS.iter().all(|id| id.class == CLASS));
}

#[test]
fn a_method_that_does_not_exist_is_reported_with_its_ids() {
    for id in [MethodId::new(10, 12), MethodId::new(77, 10)] {
        let payload = [id.class.to_be_bytes(), id.method.to_be_bytes()].concat();
        let error = Method::decode(&payload.into()).unwrap_err();
        assert_eq!(error, MethodError::Unknown(id));
        let exception = error.exception();
        assert_eq!((exception.code.code(), exception.method), (503, id));
        assert_eq!(exception.text, "COMMAND_INVALID - unimplemented method");
    }
}

#[test]
fn arguments_that_are_cut_or_too_long_are_reported_with_their_octets() {
    let error = Method::decode(&Bytes::from_static(&[0, 10, 0, 31, 0, 0])).unwrap_err();
    let exception = error.exception();
    assert_eq!(exception.code, ReplyCode::FrameError);
    assert_eq!(exception.method, TuneOk::ID);
    // The words that RabbitMQ has for a queue.declare with these arguments.
    assert_eq!(exception.text, "FRAME_ERROR - cannot decode <<0,0>>");
    assert!(include_str!("../../../recorded/reply-texts.txt").contains(&exception.text));

    let error = Method::decode(&Bytes::from_static(&[0, 10, 0, 51, 7])).unwrap_err();
    assert_eq!(error.exception().text, "FRAME_ERROR - cannot decode <<7>>");
}

#[test]
fn the_text_about_long_arguments_still_fits_into_a_close() {
    let payload = [&[0, 10, 0, 51][..], &[200; 5000]].concat();
    let exception = Method::decode(&payload.into()).unwrap_err().exception();
    let close = Close::from(&exception);
    assert_eq!(close.reply_text.as_bytes().len(), 255);
    assert!(close.reply_text.to_text().ends_with("..."));
    assert_eq!((close.reply_code, close.class_id, close.method_id), (501, 10, 51));
}

#[test]
fn a_method_that_is_too_large_for_the_peer_is_not_sent() {
    let method = Method::from(SecureOk {
        response: Bytes::from(vec![0; 5000]).into(),
    });
    let mut out = BytesMut::from(&b"before"[..]);
    assert!(method.encode(0, FrameMax::MIN, &mut out).is_err());
    assert_eq!(out, "before");
}

fn method() -> impl Strategy<Value = Method> {
    let short = || "[ -~]{0,40}".prop_map(|text| ShortString::try_from(text.as_str()).unwrap());
    let long = || prop::collection::vec(any::<u8>(), 0..40).prop_map(Bytes::from);
    let table = || {
        let entry = (short(), long().prop_map(Value::Text));
        prop::collection::vec(entry, 0..4).prop_map(|entries| entries.into_iter().collect::<Table>())
    };
    prop_oneof![
        (any::<u8>(), table(), long(), long()).prop_map(
            |(version_minor, server_properties, mechanisms, locales)| {
                Method::from(Start {
                    version_major: 0,
                    version_minor,
                    server_properties,
                    mechanisms,
                    locales,
                })
            }
        ),
        (table(), short(), long(), short()).prop_map(|(client_properties, mechanism, response, locale)| {
            Method::from(StartOk {
                client_properties,
                mechanism,
                response: response.into(),
                locale,
            })
        }),
        long().prop_map(|challenge| Secure { challenge }.into()),
        long().prop_map(|response| SecureOk {
            response: response.into()
        }
        .into()),
        any::<(u16, u32, u16)>().prop_map(|(channel_max, frame_max, heartbeat)| {
            Tune {
                channel_max,
                frame_max,
                heartbeat,
            }
            .into()
        }),
        (short(), short(), any::<bool>()).prop_map(|(virtual_host, reserved_1, reserved_2)| {
            Open {
                virtual_host,
                reserved_1,
                reserved_2,
            }
            .into()
        }),
        short().prop_map(|reserved_1| OpenOk { reserved_1 }.into()),
        (any::<(u16, u16, u16)>(), short()).prop_map(|((reply_code, class_id, method_id), reply_text)| {
            Close {
                reply_code,
                reply_text,
                class_id,
                method_id,
            }
            .into()
        }),
        short().prop_map(|reason| Blocked { reason }.into()),
        (long(), short()).prop_map(|(new_secret, reason)| UpdateSecret {
            new_secret: new_secret.into(),
            reason
        }
        .into()),
        Just(CloseOk {}.into()),
        Just(Unblocked {}.into()),
        Just(UpdateSecretOk {}.into()),
    ]
}

proptest! {
    #[test]
    fn methods_come_out_as_they_went_in(method in method()) {
        let frame = frame(&sent(&method));
        prop_assert_eq!((frame.channel, frame.method()), (0, Some(method.id())));
        prop_assert_eq!(Method::decode(&frame.payload), Ok(method));
    }

    #[test]
    fn no_arguments_make_a_method_panic(
        id in prop::sample::select(Method::IDS),
        arguments in prop::collection::vec(any::<u8>(), 0..60),
    ) {
        let payload = [&id.class.to_be_bytes()[..], &id.method.to_be_bytes(), &arguments].concat();
        match Method::decode(&payload.into()) {
            Err(MethodError::NotUtf8) | Ok(_) => {}
            Err(error) => prop_assert_eq!(error.exception().method, id),
        }
    }
}
