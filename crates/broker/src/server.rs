//! Listeners: each client that comes gets a task, which first finds out how he came.

mod arrivals;
mod introduction;

use std::net::SocketAddr;
use std::sync::{Arc, Weak};

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use tokio::io::DuplexStream;
use tokio::net::{TcpListener, TcpStream};
use warren_kit::setbacks::Setbacks;

use crate::arrival::Arrival;
use crate::config::Network;
use crate::node::Node;
use crate::registry::Churn;
use crate::{connection, tls};
use arrivals::Arrivals;

/// What a listener asks of those who come. It may change while it listens.
#[derive(Debug, Default)]
pub(crate) struct Door {
    /// Whom to believe what they say of clients.
    pub(crate) proxies: ArcSwap<Vec<Network>>,
    /// How TLS is spoken, where it is.
    pub(crate) tls: Option<ArcSwap<ServerConfig>>,
}

/// Takes clients from a listener, for ever.
pub async fn serve(node: Arc<Node>, listener: TcpListener) {
    serve_door(node, listener, Arc::default()).await;
}

/// A node that may not serve any more sends everybody away, those to come included: others may serve the same by then.
pub(crate) async fn end_with_session(node: Weak<Node>) {
    let Some(mut ended) = node.upgrade().map(|node| node.session.ended()) else {
        return;
    };
    // It does not end any more if there is nobody who could end it.
    if ended.wait_for(Option::is_some).await.is_ok()
        && let Some(node) = node.upgrade()
    {
        node.registry.stop();
    }
}

/// Clients who are let in before those who are inside have their turn. Of thousands who come at once, all would be served before them
/// otherwise.
const CROWD: u32 = 8;

/// The same with rules.
pub(crate) async fn serve_door(node: Arc<Node>, listener: TcpListener, door: Arc<Door>) {
    node.timers.start(&node);
    node.alarms.start(&node);
    let mut arrivals = match Arrivals::of(listener) {
        Ok(arrivals) => arrivals,
        Err(error) => return tracing::error!(%error, "nobody can be accepted: restart the broker"),
    };
    let (mut crowd, mut setbacks) = (0, Setbacks::new("a client"));
    loop {
        match arrivals.next().await {
            Ok((stream, arrival)) => {
                crowd += 1;
                if crowd == CROWD {
                    crowd = 0;
                    tokio::task::yield_now().await;
                }
                let node = Arc::clone(&node);
                let proxies = door.proxies.load();
                let is_proxy = proxies.iter().any(|network| network.contains(arrival.peer.ip()));
                if !is_proxy && door.tls.is_none() {
                    tokio::spawn(connection::run(stream, arrival, node));
                } else {
                    tokio::spawn(admit(stream, arrival, is_proxy, Arc::clone(&door), node));
                }
            }
            Err(error) => {
                // Mostly no file descriptor is left for clients: others will end.
                Churn::one(&node.registry.churn.not_accepted);
                setbacks.rest(&error).await;
            }
        }
    }
}

/// Hears what a proxy says of the client, and speaks TLS with him, before AMQP begins.
async fn admit(
    mut stream: TcpStream,
    mut arrival: Arrival,
    is_proxy: bool,
    door: Arc<Door>,
    node: Arc<Node>,
) {
    let (peer, patience) = (arrival.peer, node.settings().handshake_timeout);
    let unsaid = || node.registry.speaks_of_unopened();
    if is_proxy {
        match tokio::time::timeout(patience, introduction::hear(&mut stream, &mut arrival)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                let Some(unsaid) = unsaid() else { return };
                return tracing::warn!(%peer, %error, unsaid, "proxy was not understood");
            }
            Err(_) => {
                let Some(unsaid) = unsaid() else { return };
                return tracing::info!(%peer, unsaid, "handshake took too long");
            }
        }
    }
    let Some(config) = &door.tls else {
        return connection::run(stream, arrival, node).await;
    };
    let name = node.settings().certificate_name;
    let shaken = tls::shake(stream, config.load_full(), move |client| tls::facts(client, name));
    match tokio::time::timeout(patience, shaken).await {
        Ok(Ok((stream, facts))) => {
            arrival.tls = Some(facts);
            Box::pin(connection::run(stream, arrival, node)).await;
        }
        Ok(Err(error)) => {
            let Some(unsaid) = unsaid() else { return };
            let error = tls::explain(&error);
            tracing::info!(peer = %arrival.peer, error, unsaid, "TLS was not agreed");
        }
        Err(_) => {
            let Some(unsaid) = unsaid() else { return };
            tracing::info!(peer = %arrival.peer, unsaid, "handshake took too long");
        }
    }
}

/// Serves one client in this process until he goes. No listener and none of the node's clocks are needed.
pub async fn serve_stream(node: Arc<Node>, stream: DuplexStream, peer: SocketAddr, local: SocketAddr) {
    connection::run(stream, Arrival::direct(peer, local), node).await;
}

#[cfg(test)]
mod tests;
