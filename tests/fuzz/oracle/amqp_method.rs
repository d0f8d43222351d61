//! What must hold for the payload of any method frame. Shared by the fuzz target and by the test that replays its
//! corpus.

use bytes::{Bytes, BytesMut};
use warren_amqp::frame::FrameMax;
use warren_amqp::hot::Hot;
use warren_amqp::{Method, MethodId, SHORT_MAX};

/// Whether it is a method.
pub(crate) fn accepted(payload: &[u8]) -> bool {
    let payload = Bytes::copy_from_slice(payload);
    let hot = Hot::read(&payload);
    let method = match Method::decode(&payload) {
        Ok(method) => method,
        Err(error) => {
            assert!(error.exception().text.len() <= SHORT_MAX);
            assert!(
                matches!(hot, Ok(Hot::Other(_)) | Err(_)),
                "the fast way takes what the other does not"
            );
            return false;
        }
    };
    assert!(hot.is_ok(), "the fast way does not take what the other does");
    assert_eq!(MethodId::of(&payload), Some(method.id()));
    // Said again it means the same, and is no longer than it was.
    let again = said(&method);
    assert_eq!(again.len(), payload.len());
    let same = Method::decode(&again).expect("what we send is understood");
    assert_eq!(said(&same), again);
    true
}

fn said(method: &Method) -> Bytes {
    let mut out = BytesMut::new();
    method
        .encode(1, FrameMax::UNLIMITED, &mut out)
        .expect("what was taken can be sent");
    let end = out.len() - 1;
    out.freeze().slice(7..end)
}
