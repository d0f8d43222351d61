//! The stats sockets: each with a task that serves it, known by its line of the configuration, so that a reload that
//! keeps the line keeps the socket and whoever is connected to it.

use std::collections::HashMap;
use std::time::Duration;

use tokio::task::JoinHandle;

use crate::plan::{Global, StatsSocket};
use crate::runtime::{self, BindError, Context, Listener};

/// Stats sockets that listen, by their lines; not served yet.
pub(super) type Bound = Vec<(StatsSocket, Listener)>;

/// Those that are served.
#[derive(Debug)]
pub(super) struct Doors {
    context: Context,
    timeout: Duration,
    open: HashMap<StatsSocket, JoinHandle<()>>,
}

impl Doors {
    pub(super) fn new(context: Context, timeout: Duration) -> Self {
        Self {
            context,
            timeout,
            open: HashMap::new(),
        }
    }

    /// Serves nobody any more. The files stay: they are a successor's.
    pub(super) fn close(&mut self) {
        for (_, task) in self.open.drain() {
            task.abort();
        }
    }

    /// What commands are about.
    pub(super) const fn context(&self) -> &Context {
        &self.context
    }

    fn serve(&mut self, socket: StatsSocket, listener: Listener) {
        let served = runtime::serve(self.context.clone(), listener, socket.level, self.timeout);
        self.open.insert(socket, tokio::spawn(served));
    }

    /// Opens what this configuration adds; nothing has changed if one of them cannot be.
    pub(super) fn additions(&self, global: &Global) -> Result<Bound, BindError> {
        let new = global
            .sockets
            .iter()
            .filter(|socket| !self.open.contains_key(*socket));
        new.map(|socket| Ok((socket.clone(), Listener::bind(socket)?)))
            .collect()
    }

    /// Serves the additions, and closes what the configuration has no more.
    pub(super) fn change(&mut self, global: &Global, additions: Bound) {
        self.timeout = global.socket_timeout;
        self.open.retain(|socket, task| {
            let stays = global.sockets.contains(socket);
            if !stays {
                task.abort();
            }
            stays
        });
        for (socket, listener) in additions {
            self.serve(socket, listener);
        }
    }
}

impl Drop for Doors {
    fn drop(&mut self) {
        self.close();
    }
}
