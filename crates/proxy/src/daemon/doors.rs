//! The stats sockets: each with a task that serves it, known by its line of the configuration, so that a reload that
//! keeps the line keeps the socket and whoever is connected to it.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use warren_kit::control::Closing;

use super::listeners::Sockets;
use crate::plan::{BindAddress, Global, StatsSocket};
use crate::runtime::{self, BindError, Context, Listener};

/// Stats sockets that listen, by their lines; not served yet.
pub(super) type Bound = Vec<(StatsSocket, Listener)>;

/// Those that are served.
#[derive(Debug)]
pub(super) struct Doors {
    context: Context,
    timeout: Duration,
    open: HashMap<StatsSocket, Open>,
}

/// One that is served.
#[derive(Debug)]
struct Open {
    task: JoinHandle<()>,
    /// For a successor.
    socket: Option<OwnedFd>,
    closing: mpsc::Sender<Closing>,
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
        for (_, open) in self.open.drain() {
            open.task.abort();
        }
    }

    /// For asking each of them to serve nobody else. A successor's sockets are of the same addresses.
    pub(super) fn closings(&self) -> impl Iterator<Item = &mpsc::Sender<Closing>> {
        self.open.values().map(|open| &open.closing)
    }

    /// What commands are about.
    pub(super) const fn context(&self) -> &Context {
        &self.context
    }

    fn serve(&mut self, socket: StatsSocket, listener: Listener) {
        let shared = listener.share().ok();
        let (closing, closed) = mpsc::channel(1);
        let served = runtime::serve(self.context.clone(), listener, socket.level, self.timeout, closed);
        let open = Open {
            task: tokio::spawn(served),
            socket: shared,
            closing,
        };
        self.open.insert(socket, open);
    }

    /// The sockets, by their addresses.
    pub(super) fn shared(&self) -> impl Iterator<Item = (BindAddress, &OwnedFd)> {
        let sockets = self.open.iter();
        sockets.filter_map(|(socket, open)| Some((runtime::address(socket), open.socket.as_ref()?)))
    }

    /// Opens what this configuration adds, or takes it from `former` if it may not; nothing has changed if one of them
    /// cannot be.
    pub(super) fn additions(&self, global: &Global, former: &Sockets) -> Result<Bound, BindError> {
        let new = global
            .sockets
            .iter()
            .filter(|socket| !self.open.contains_key(*socket));
        new.map(|socket| {
            let inherited = || {
                let listener = former.get(&runtime::address(socket))?;
                Listener::inherited(listener.try_clone().ok()?, &socket.address).ok()
            };
            let listener = Listener::bind(socket).or_else(|error| inherited().ok_or(error))?;
            Ok((socket.clone(), listener))
        })
        .collect()
    }

    /// Serves the additions, and closes what the configuration has no more.
    pub(super) fn change(&mut self, global: &Global, additions: Bound) {
        self.timeout = global.socket_timeout;
        self.open.retain(|socket, open| {
            let stays = global.sockets.contains(socket);
            if !stays {
                open.task.abort();
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
