use proptest::prelude::*;

use super::class::sample::Seed;
use super::*;
use crate::hot;
use crate::text::ShortString;

/// The payload of a method's frame.
fn payload(method: &Method) -> Bytes {
    let mut out = BytesMut::new();
    method.encode(7, FrameMax::UNLIMITED, &mut out).unwrap();
    assert_eq!(out[..3], [1, 0, 7]);
    let end = out.len() - 1;
    out.freeze().slice(HEADER_LENGTH..end)
}

#[test]
fn all_methods_are_there_with_the_numbers_that_rabbitmq_has() {
    let numbers: Vec<(u16, Vec<u16>)> = Method::IDS
        .iter()
        .map(|class| (class[0].class, class.iter().map(|id| id.method).collect()))
        .collect();
    let expected = [
        (10, vec![10, 11, 20, 21, 30, 31, 40, 41, 50, 51, 60, 61, 70, 71]),
        (20, vec![10, 11, 20, 21, 40, 41]),
        (30, vec![10, 11]),
        (40, vec![10, 11, 20, 21, 30, 31, 40, 51]),
        (50, vec![10, 11, 20, 21, 30, 31, 40, 41, 50, 51]),
        (
            60,
            vec![
                10, 11, 20, 21, 30, 31, 40, 50, 60, 70, 71, 72, 80, 90, 100, 110, 111, 120,
            ],
        ),
        (85, vec![10, 11]),
        (90, vec![10, 11, 20, 21, 30, 31]),
    ];
    assert_eq!(numbers, expected);
}

#[test]
fn four_methods_have_contents() {
    let with: Vec<u16> = Method::IDS
        .iter()
        .flat_map(|class| class.iter())
        .filter(|id| id.has_content())
        .map(|id| {
            assert_eq!(id.class, basic::CLASS);
            id.method
        })
        .collect();
    assert_eq!(with, [40, 50, 60, 71]);
}

#[test]
fn bits_share_an_octet_in_the_order_of_the_arguments() {
    let declare = queue::Declare {
        queue: ShortString::from_static("q"),
        durable: true,
        no_wait: true,
        ..queue::Declare::default()
    };
    assert_eq!(
        payload(&declare.into()),
        &b"\0\x32\0\x0a\0\0\x01q\x12\0\0\0\0"[..]
    );
    let request = access::Request {
        realm: ShortString::from_static("/data"),
        active: true,
        read: true,
        ..access::Request::default()
    };
    assert_eq!(payload(&request.into()), &b"\0\x1e\0\x0a\x05/data\x14"[..]);
}

#[test]
fn bits_that_mean_nothing_are_ignored() {
    let octets = Bytes::from_static(b"\0\x3c\0\x46\0\0\x01q\xff");
    let get = basic::Get {
        queue: ShortString::from_static("q"),
        no_ack: true,
        ..basic::Get::default()
    };
    assert_eq!(Method::decode(&octets), Ok(get.into()));
}

#[test]
fn names_that_are_not_text_are_refused_except_where_messages_flow() {
    let declare = queue::Declare {
        queue: ShortString::try_from(Bytes::from_static(b"\xff\xfe")).unwrap(),
        ..queue::Declare::default()
    };
    let error = Method::decode(&payload(&declare.into())).unwrap_err();
    let exception = error.exception();
    assert_eq!(
        (exception.text.as_str(), exception.method),
        ("FRAME_ERROR - Malformed UTF-8 in shortstr", MethodId::NONE)
    );
    let publish = Method::from(basic::Publish {
        routing_key: ShortString::try_from(Bytes::from_static(b"\xff\xfe")).unwrap(),
        ..basic::Publish::default()
    });
    assert_eq!(Method::decode(&payload(&publish)), Ok(publish));
}

proptest! {
    #[test]
    fn every_method_comes_out_as_it_went_in(seed in prop::collection::vec(any::<u8>(), 0..2000)) {
        for method in Method::samples(&mut Seed(seed)) {
            let octets = payload(&method);
            prop_assert_eq!(MethodId::of(&octets), Some(method.id()));
            prop_assert!(hot::Hot::read(&octets).is_ok());
            // Neither less nor more than the arguments.
            if octets.len() > 4 {
                prop_assert!(Method::decode(&octets.slice(..octets.len() - 1)).is_err());
            }
            let longer = [&octets[..], b"\0"].concat().into();
            prop_assert!(Method::decode(&longer).is_err());
            prop_assert_eq!(Method::decode(&octets), Ok(method));
        }
    }

    #[test]
    fn no_arguments_make_any_method_panic(
        ids in prop::sample::select(Method::IDS),
        which: prop::sample::Index,
        arguments in prop::collection::vec(prop_oneof![Just(0_u8), Just(1), Just(2), Just(b'S'), Just(b'F'), any::<u8>()], 0..60),
    ) {
        let id = ids[which.index(ids.len())];
        let octets = [&id.class.to_be_bytes()[..], &id.method.to_be_bytes(), &arguments].concat().into();
        match Method::decode(&octets) {
            // What was understood means the same when it is said again.
            Ok(method) => prop_assert_eq!(Method::decode(&payload(&method)), Ok(method)),
            Err(error) => prop_assert!(error.exception().text.len() <= 255),
        }
        let _ = hot::Hot::read(&octets);
    }
}
