//! A node of our own at a port that was free.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use warren_broker::{Member, Node, Settings, serve};

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
        Self::of(|| Node::new("rabbit@test".to_owned(), settings))
    }

    /// One that finds again what it had.
    pub(crate) fn on(directory: &Path) -> Self {
        Self::of(|| {
            let member = Member::alone(directory).unwrap();
            let opened = Node::open("rabbit@test".to_owned(), Settings::default(), member);
            opened.unwrap().0
        })
    }

    /// Ends it in order: a client that is still there has had what it has. One that is only dropped may as well have been
    /// killed.
    pub(crate) fn stop(self) {
        self.node.stop();
    }

    /// Any node.
    pub(crate) fn of(node: impl FnOnce() -> Arc<Node>) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let at = listener.local_addr().unwrap();
        let node = node();
        runtime.spawn(serve(Arc::clone(&node), listener));
        Self {
            at,
            node,
            _runtime: runtime,
        }
    }
}
