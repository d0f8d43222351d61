use proptest::prelude::*;

use super::*;
use crate::frame::FrameMax;
use crate::method::Method;
use crate::text::ShortString;

fn written(method: &impl Carrier) -> BytesMut {
    let mut out = BytesMut::new();
    method.write(&mut out);
    out
}

/// What the other way of writing it writes, without its frame.
fn payload(method: impl Into<Method>) -> Bytes {
    let mut out = BytesMut::new();
    method.into().encode(1, FrameMax::DEFAULT, &mut out).unwrap();
    let end = out.len() - 1;
    out.freeze().slice(7..end)
}

fn short(octets: &[u8]) -> ShortString {
    ShortString::try_from(Bytes::copy_from_slice(octets)).unwrap()
}

#[test]
fn methods_are_told_apart_by_their_ids() {
    let ack = basic::Ack {
        delivery_tag: 258,
        multiple: true,
    };
    assert_eq!(Hot::read(&payload(ack.clone())), Ok(Hot::Ack(ack)));
    for requeue in [false, true] {
        let nack = basic::Nack {
            delivery_tag: 1,
            multiple: !requeue,
            requeue,
        };
        assert_eq!(Hot::read(&payload(nack.clone())), Ok(Hot::Nack(nack)));
        let reject = basic::Reject {
            delivery_tag: u64::MAX,
            requeue,
        };
        assert_eq!(Hot::read(&payload(reject.clone())), Ok(Hot::Reject(reject)));
    }
    assert_eq!(
        Hot::read(&payload(crate::tx::Commit {})),
        Ok(Hot::Other(crate::tx::Commit::ID))
    );
    assert_eq!(Hot::read(b"ab"), Ok(Hot::Other(MethodId::NONE)));
}

#[test]
fn what_is_cut_or_too_long_is_malformed_in_both_ways_of_reading() {
    let whole = payload(basic::Nack {
        delivery_tag: 1,
        ..basic::Nack::default()
    });
    for payload in [whole.slice(..12), [&whole[..], b"x"].concat().into()] {
        let error = Hot::read(&payload).unwrap_err();
        assert_eq!(Err(error), Method::decode(&payload));
    }
}

#[test]
fn a_string_that_is_too_long_is_cut() {
    let long = [b'x'; 300];
    let octets = written(&Publish {
        exchange: &long,
        ..Publish::default()
    });
    assert_eq!(Publish::read(&octets).unwrap().exchange, [b'x'; 255]);
}

proptest! {
    #[test]
    fn both_ways_of_reading_and_writing_agree(
        one in prop::collection::vec(any::<u8>(), 0..256),
        two in prop::collection::vec(any::<u8>(), 0..256),
        three in prop::collection::vec(any::<u8>(), 0..256),
        delivery_tag: u64,
        reply_code: u16,
        message_count: u32,
        flags: [bool; 2],
    ) {
        let publish = Publish { exchange: &one, routing_key: &two, mandatory: flags[0], immediate: flags[1] };
        let octets = payload(basic::Publish {
            ticket: 0, exchange: short(&one), routing_key: short(&two), mandatory: flags[0], immediate: flags[1],
        });
        prop_assert_eq!(&written(&publish)[..], &octets[..]);
        prop_assert_eq!(Hot::read(&octets), Ok(Hot::Publish(publish)));

        let deliver = Deliver {
            consumer_tag: &three, delivery_tag, redelivered: flags[0], exchange: &one, routing_key: &two,
        };
        let octets = payload(basic::Deliver {
            consumer_tag: short(&three), delivery_tag, redelivered: flags[0], exchange: short(&one), routing_key: short(&two),
        });
        prop_assert_eq!(&written(&deliver)[..], &octets[..]);
        prop_assert_eq!(Hot::read(&octets), Ok(Hot::Deliver(deliver)));

        let get_ok = GetOk { delivery_tag, redelivered: flags[1], exchange: &one, routing_key: &two, message_count };
        let octets = payload(basic::GetOk {
            delivery_tag, redelivered: flags[1], exchange: short(&one), routing_key: short(&two), message_count,
        });
        prop_assert_eq!(&written(&get_ok)[..], &octets[..]);
        prop_assert_eq!(GetOk::read(&octets), Ok(get_ok));

        let returned = Return { reply_code, reply_text: &three, exchange: &one, routing_key: &two };
        let octets = payload(basic::Return {
            reply_code, reply_text: short(&three), exchange: short(&one), routing_key: short(&two),
        });
        prop_assert_eq!(&written(&returned)[..], &octets[..]);
        prop_assert_eq!(Return::read(&octets), Ok(returned));
        for payload in [&octets[..], &octets[..octets.len() - 1], &[]] {
            prop_assert_eq!(check_carrier(basic::Return::ID, payload).is_ok(), payload.len() == octets.len());
        }
    }
}
