//! The new process.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use super::message::{Address, HttpState, SessionRecord, StageRecord, ToNew, ToOld};
use super::state::State;
use super::wire::Wire;
use super::{HandoverError, PATIENCE, VERSION};
use crate::live::{Backend, Live, Server};
use crate::plan::{BindAddress, Mode, Plan};
use crate::session::http::Exchange;
use crate::worker::context::Entrance;
use crate::worker::{Listener, Unpacked, Workers};

/// What the old process told this one first.
#[derive(Debug)]
pub struct Inherited {
    /// Listening sockets, by what they are bound to. Those that nobody needs are closed with it; the old process does
    /// not listen any more then.
    pub sockets: Vec<(BindAddress, OwnedFd)>,
    state: State,
    wire: Wire,
}

/// What became of the sessions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Adopted {
    /// Sessions that go on here.
    pub sessions: usize,
    /// Sessions that the old process keeps, because the configuration has no place for them.
    pub refused: usize,
    /// Number of the old process, and all sessions that it keeps.
    pub pid: u32,
    /// See `pid`.
    pub left: u32,
}

/// Asks the process at the other end of `socket`, which calls [`super::give`], for what it has. Blocks. To be called
/// before anything is bound. The old process serves on until [`Inherited::adopt`].
///
/// # Errors
/// The old process serves on.
pub fn take(socket: OwnedFd) -> Result<Inherited, HandoverError> {
    let wire = Wire::new(socket, PATIENCE)?;
    wire.send(&ToOld::Hello(VERSION), &[])?;
    let (ToNew::Known(state, addresses), sockets) = wire.receive()? else {
        return Err(HandoverError::Unexpected);
    };
    if addresses.len() != sockets.len() {
        return Err(HandoverError::Unexpected);
    }
    Ok(Inherited {
        sockets: addresses
            .into_iter()
            .map(BindAddress::from)
            .zip(sockets)
            .collect(),
        state: *state,
        wire,
    })
}

impl Inherited {
    /// How long ago the first of all these processes started.
    #[must_use]
    pub const fn age(&self) -> Duration {
        self.state.age
    }

    /// What is the case, for this plan: servers are as healthy as they were, the operator's word holds, clients keep
    /// their servers. Instead of [`Live::new`].
    #[must_use]
    pub fn live(&self, plan: Arc<Plan>) -> Live {
        self.state.live(plan)
    }

    /// Takes the sessions. To be called when everything else is ready to serve; blocks until the last session is here,
    /// so on a thread of its own. `accept` is called as soon as the old process has stopped accepting and whoever has a
    /// server is here: `listeners` are to be given to the workers then.
    ///
    /// # Errors
    /// The old process serves on with what was not acknowledged; what has arrived lives here. The caller had better end
    /// if `accept` was not called, and had better not if it was.
    pub fn adopt(
        &self,
        live: &Live,
        workers: &Workers,
        listeners: &[Listener],
        accept: impl FnOnce(),
    ) -> Result<Adopted, HandoverError> {
        let wire = &self.wire;
        let places = Places::new(live, listeners);
        wire.send(&ToOld::Prepared, &[])?;
        match wire.receive()?.0 {
            ToNew::Quiet(sessions) => live.continue_from(sessions),
            ToNew::Known(..) | ToNew::Sessions(_) | ToNew::Accept | ToNew::Done(..) => {
                return Err(HandoverError::Unexpected);
            }
        }
        let mut accept = Some(accept);
        let adopted = receive(wire, live, workers, &places, &mut accept);
        // Whatever went wrong, some sessions may be here by now, and somebody has to serve.
        if let Some(accept) = accept {
            accept();
        }
        adopted
    }

    /// Tells the old process that this one serves, operators included: it retires. To be called after
    /// [`Inherited::adopt`].
    ///
    /// # Errors
    /// It is not there any more, or does not listen.
    pub fn confirm(self) -> Result<(), HandoverError> {
        Ok(self.wire.send(&ToOld::Ready, &[])?)
    }
}

/// Sessions until there are no more.
fn receive(
    wire: &Wire,
    live: &Live,
    workers: &Workers,
    places: &Places,
    accept: &mut Option<impl FnOnce()>,
) -> Result<Adopted, HandoverError> {
    let mut adopted = Adopted::default();
    loop {
        match wire.receive()? {
            (ToNew::Sessions(records), sockets) => {
                let count = records.len();
                let (unpacked, refused) = places.unpack(records, sockets)?;
                wire.send(&ToOld::Taken(refused.clone()), &[])?;
                // Only from here on they are ours to touch.
                workers.adopt(live, unpacked);
                adopted.sessions += count - refused.len();
                adopted.refused += refused.len();
            }
            (ToNew::Accept, _) => {
                if let Some(accept) = accept.take() {
                    accept();
                }
            }
            (ToNew::Done(state, pid, left), _) => {
                (adopted.pid, adopted.left) = (pid, left);
                state.count(live);
                return Ok(adopted);
            }
            (ToNew::Known(..) | ToNew::Quiet(_), _) => return Err(HandoverError::Unexpected),
        }
    }
}

/// By name.
type Servers = HashMap<String, Arc<Server>>;

/// Where a session goes: where its client came in, whose it is, its server, and the request that is under way.
struct Place {
    entrance: Arc<Entrance>,
    backend: Option<Arc<Backend>>,
    server: Option<Arc<Server>>,
    exchange: Option<Box<Exchange>>,
}

/// Where sessions can go.
struct Places {
    entrances: HashMap<(String, Address), Arc<Entrance>>,
    backends: HashMap<String, (Arc<Backend>, Servers)>,
}

impl Places {
    fn new(live: &Live, listeners: &[Listener]) -> Self {
        let servers = |backend: &Backend| {
            let servers = backend.servers();
            let named = servers
                .iter()
                .map(|server| (server.name.to_string(), Arc::clone(server)));
            named.collect()
        };
        Self {
            entrances: listeners
                .iter()
                .map(|listener| {
                    let address = Address::from(&listener.bind.address);
                    let key = (listener.frontend.name.to_string(), address);
                    (key, Arc::new(Entrance::of(listener)))
                })
                .collect(),
            backends: live
                .snapshot()
                .backends
                .iter()
                .map(|backend| (backend.name.to_string(), (Arc::clone(backend), servers(backend))))
                .collect(),
        }
    }

    /// Gives each its sockets and its objects here, and says which have no place.
    fn unpack(
        &self,
        records: Vec<SessionRecord>,
        sockets: Vec<OwnedFd>,
    ) -> Result<(Vec<Unpacked>, Vec<u32>), HandoverError> {
        let (mut unpacked, mut refused) = (Vec::new(), Vec::new());
        let mut sockets = sockets.into_iter();
        for (place, record) in (0..).zip(records) {
            let client = sockets.next().ok_or(HandoverError::Unexpected)?;
            let socket = match &record.server {
                Some(_) => Some(sockets.next().ok_or(HandoverError::Unexpected)?),
                None => None,
            };
            match self.find(&record) {
                Some(place) => unpacked.push(Unpacked {
                    record,
                    client,
                    entrance: place.entrance,
                    backend: place.backend,
                    server: socket.zip(place.server),
                    exchange: place.exchange,
                }),
                None => refused.push(place),
            }
        }
        Ok((unpacked, refused))
    }

    fn find(&self, record: &SessionRecord) -> Option<Place> {
        let key = (record.frontend.clone(), record.bind.clone());
        let entrance = Arc::clone(self.entrances.get(&key)?);
        let is_http = entrance.frontend.plan().mode == Mode::Http;
        let (fits, exchange) = match &record.stage {
            StageRecord::Relay(_) => (record.server.is_some(), None),
            StageRecord::Joining { .. } => (!is_http, None),
            StageRecord::Http(http) => {
                let tunnel = matches!(http.state, HttpState::Tunnel(_));
                (
                    is_http && (record.server.is_some() || !tunnel),
                    http.exchange.as_ref(),
                )
            }
        };
        if !fits {
            return None;
        }
        let exchange = match exchange {
            Some(record) => Some(Exchange::revive(record)?),
            None => None,
        };
        let (backend, servers) = match &record.backend {
            Some(name) => {
                let (backend, servers) = self.backends.get(name)?;
                (Some(Arc::clone(backend)), Some(servers))
            }
            None => (None, None),
        };
        let server = match &record.server {
            Some(server) => Some(Arc::clone(servers?.get(&server.name)?)),
            None => None,
        };
        Some(Place {
            entrance,
            backend,
            server,
            exchange,
        })
    }
}
