//! What must hold for whatever arrives where a PROXY protocol header is expected. Shared by the fuzz target and by the
//! test that replays its corpus.

use warren_proxy::plan::ProxyVersion;
use warren_proxy::proxy_header::{Decoded, V2_LENGTH_MAX, decode, encode};

/// Whether it begins with a header.
///
/// Panics if a part of it is judged otherwise than the whole, or if saying again what was understood means something
/// else.
pub(crate) fn accepted(octets: &[u8]) -> bool {
    let header = match decode(octets) {
        Ok(Decoded::Header(header)) => header,
        Ok(Decoded::Incomplete) => {
            assert!(octets.len() < V2_LENGTH_MAX, "more is waited for than can come");
            return false;
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return false;
        }
    };
    assert!(header.length <= octets.len() && header.length <= V2_LENGTH_MAX);
    for length in 0..header.length {
        assert_eq!(
            decode(&octets[..length]),
            Ok(Decoded::Incomplete),
            "of {length} octets"
        );
    }
    assert_eq!(
        decode(&octets[..header.length]),
        Ok(Decoded::Header(header.clone()))
    );
    let mut again = Vec::new();
    let addresses = header.source.zip(header.destination);
    encode(ProxyVersion::V2, addresses, &header.facts, &mut again);
    let Ok(Decoded::Header(same)) = decode(&again) else {
        panic!("what we send is understood");
    };
    let plain = |address: Option<std::net::SocketAddr>| {
        address.map(|address| (address.ip().to_canonical(), address.port()))
    };
    assert_eq!(plain(same.source), plain(header.source));
    assert_eq!(plain(same.destination), plain(header.destination));
    assert_eq!(same.length, again.len());
    true
}
