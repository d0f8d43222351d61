//! A node of our own at a port that was free.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use warren_broker::{Node, Settings, serve};

/// A broker, until it is dropped.
pub(crate) struct Broker {
    pub(crate) at: SocketAddr,
    /// For what operators do.
    pub(crate) node: Arc<Node>,
    _runtime: Runtime,
}

impl Broker {
    pub(crate) fn start() -> Self {
        Self::with(Settings::default())
    }

    pub(crate) fn with(settings: Settings) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let at = listener.local_addr().unwrap();
        let node = Arc::new(Node::new("rabbit@test".to_owned(), settings));
        runtime.spawn(serve(Arc::clone(&node), listener));
        Self {
            at,
            node,
            _runtime: runtime,
        }
    }
}
