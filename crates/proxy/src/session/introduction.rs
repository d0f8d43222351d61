//! What a server is told before anything else: who the client is (PROXY protocol), and that TLS is spoken.
//!
//! The header is the first thing on a new connection, so the kernel always has room for it: one that it does not take
//! at once is a connection that failed.

use std::net::SocketAddr;

use super::Common;
use super::endpoint::tls::Tls;
use super::endpoint::{Handshake, Sent, Transport};
use crate::live::{Server, Target};
use crate::plan::{self, SendProxy};
use crate::proxy_header::{self, Facts};
use crate::worker::context::Context;

/// The connection cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Broken;

/// The server's connection stands: says what has to be said. True if a handshake follows.
pub(crate) fn begin(common: &mut Common, server: &Server, context: &Context) -> Result<bool, Broken> {
    let plan = server.plan();
    if let Some(send) = &plan.send_proxy {
        let header = header(common, send);
        let endpoint = common.server.as_mut().ok_or(Broken)?;
        if endpoint.send(&header) != Sent::Octets(header.len()) {
            return Err(Broken);
        }
    }
    if plan.tls.is_none() {
        return Ok(false);
    }
    let address = match common.target.as_deref() {
        Some(Target::Tcp(address)) => Some(address.ip()),
        Some(Target::Unix(_)) | None => None,
    };
    let Some(connector) = server.connector.load_full() else {
        tracing::error!(server = %server.name, "TLS to a server was not set up");
        return Err(Broken);
    };
    let tls = Tls::connect(&connector, address).map_err(|error| {
        tracing::debug!(server = %server.name, %error, "TLS to a server cannot begin");
        Broken
    })?;
    let endpoint = common.server.as_mut().ok_or(Broken)?;
    context.live.tally.of(context.worker).handshakes.count();
    endpoint.speak(Transport::Tls(Box::new(tls.count(&context.live.encryption))));
    Ok(true)
}

/// Goes on with the handshake. True once it is done.
pub(crate) fn go_on(common: &mut Common, server: &Server, context: &Context) -> Result<bool, Broken> {
    let endpoint = common.server.as_mut().ok_or(Broken)?;
    match endpoint.handshake() {
        Handshake::Done => {
            if endpoint.tls().is_some_and(Tls::is_newly_agreed) {
                context.live.encryption.server_keys.count(context.time());
            }
            Ok(true)
        }
        Handshake::Wait => Ok(false),
        Handshake::Left => Err(Broken),
        Handshake::Failed(reason) => {
            tracing::debug!(server = %server.name, reason, "TLS handshake with a server failed");
            Err(Broken)
        }
    }
}

fn header(common: &Common, send: &SendProxy) -> Vec<u8> {
    let addresses: Option<(SocketAddr, SocketAddr)> = common.client_address.zip(common.local_address());
    let tls = common.client.tls();
    let facts = match send.version {
        plan::ProxyVersion::V1 => Facts::default(),
        plan::ProxyVersion::V2 => Facts {
            tls: send
                .tls
                .then(|| tls.and_then(Tls::proxy_facts).unwrap_or_default()),
            authority: tls
                .filter(|_| send.tls)
                .and_then(Tls::server_name)
                .map(str::to_owned),
            alpn: tls.filter(|_| send.tls).and_then(Tls::alpn).map(<[u8]>::to_vec),
            unique_id: send.unique_id.then(|| common.id.to_string().into_bytes()),
            ..Facts::default()
        },
    };
    let mut header = Vec::with_capacity(128);
    proxy_header::encode(send.version, addresses, &facts, &mut header);
    header
}
