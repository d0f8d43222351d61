//! Listeners: each client that comes gets a task.

use std::sync::Arc;

use tokio::net::TcpListener;

use crate::arrival::Arrival;
use crate::connection;
use crate::node::Node;

/// Takes clients from a listener, for ever.
pub async fn serve(node: Arc<Node>, listener: TcpListener) {
    node.timers.start(&node);
    node.alarms.start(&node);
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(%peer, %error, "delays of small packets stay");
                }
                match stream.local_addr() {
                    Ok(local) => {
                        let arrival = Arrival::direct(peer, local);
                        tokio::spawn(connection::run(stream, arrival, Arc::clone(&node)));
                    }
                    Err(error) => tracing::debug!(%peer, %error, "client was gone at once"),
                }
            }
            Err(error) => {
                // Mostly no file descriptor is left: others will end.
                tracing::warn!(%error, "client was not accepted");
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
        }
    }
}
