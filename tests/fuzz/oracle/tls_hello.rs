//! What must hold for whatever a TLS client may say first. Shared by the fuzz target and by the test that replays its
//! corpus.

use warren_proxy::tls::hello::{HELLO_MAX, parse};

/// Whether it begins with a whole ClientHello.
///
/// Panics if it is judged otherwise when it comes in pieces.
pub(crate) fn accepted(octets: &[u8]) -> bool {
    let whole = parse(octets);
    if whole == Ok(None) {
        assert!(octets.len() < HELLO_MAX, "more is waited for than is looked at");
    }
    // Nothing that was judged is judged otherwise when more comes.
    let step = (octets.len() / 64).max(1);
    for length in (0..octets.len()).step_by(step) {
        match parse(&octets[..length]) {
            Ok(None) => {}
            judged => {
                assert_eq!(judged, whole, "of {length} octets");
                break;
            }
        }
    }
    let Ok(Some(hello)) = whole else { return false };
    assert!(
        hello
            .server_name
            .is_none_or(|name| !name.is_empty() && name.is_ascii())
    );
    true
}
