//! TLS of listeners and towards servers: certificates from files, chosen by the name a client asks for.

/// The certificates and rules of one bind line.
#[derive(Debug)]
pub struct Acceptor {}
