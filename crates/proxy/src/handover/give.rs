//! The old process.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use super::message::{Address, SessionRecord, ToNew, ToOld};
use super::state::State;
use super::wire::Wire;
use super::{BATCH, HandoverError, PATIENCE, START, VERSION};
use crate::live::Live;
use crate::plan::BindAddress;
use crate::worker::{Command, Listener, Packed, Packing, Workers};

/// Sessions that are just being connected are waited for so long.
const SETTLING: Duration = Duration::from_millis(200);
/// Between two looks at them.
const LOOK: Duration = Duration::from_millis(5);

/// What was handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Given {
    /// Sessions that the new process has.
    pub sessions: usize,
    /// Sessions that stay here until they end.
    pub left: usize,
    /// From the moment this process stopped accepting until the last session was taken.
    pub took: Duration,
}

/// Hands everything over to the process at the other end of `socket`, which has called [`super::take`]. Blocks: to be
/// called on a thread of its own. `doors` are the sockets of operators, by their paths. Afterwards this process accepts nobody and has only sessions that cannot travel.
///
/// # Errors
/// This process accepts again and has all sessions that were not acknowledged, as if nothing had been.
pub fn give(
    workers: &Workers,
    live: &Live,
    listeners: &[Listener],
    doors: &[(BindAddress, OwnedFd)],
    socket: OwnedFd,
) -> Result<Given, HandoverError> {
    let wire = Wire::new(socket, PATIENCE)?;
    match wire.receive()?.0 {
        ToOld::Hello(VERSION) => {}
        ToOld::Hello(version) => return Err(HandoverError::Version(version)),
        ToOld::Prepared | ToOld::Taken(_) | ToOld::Ready => return Err(HandoverError::Unexpected),
    }
    let clients = listeners
        .iter()
        .map(|listener| (&listener.bind.address, listener.socket.as_fd()));
    let doors = doors.iter().map(|(address, socket)| (address, socket.as_fd()));
    let (addresses, sockets): (Vec<Address>, Vec<BorrowedFd<'_>>) = clients
        .chain(doors)
        .map(|(address, socket)| (Address::from(address), socket))
        .unzip();
    wire.send(&ToNew::Known(Box::new(State::of(live)), addresses), &sockets)?;
    wire.wait_for(Some(START))?;
    let ToOld::Prepared = wire.receive()?.0 else {
        return Err(HandoverError::Unexpected);
    };
    wire.wait_for(Some(PATIENCE))?;

    let begun = Instant::now();
    workers.broadcast(&Command::Listen(Arc::default()));
    let given = Giving { workers, wire: &wire }.all(live, begun);
    if given.is_err() {
        workers.broadcast(&Command::Listen(Arc::new(listeners.to_vec())));
    }
    given
}

struct Giving<'a> {
    workers: &'a Workers,
    wire: &'a Wire,
}

impl Giving<'_> {
    fn all(&self, live: &Live, begun: Instant) -> Result<Given, HandoverError> {
        // All workers have heard that nobody is accepted any more once they have answered to what was said after it.
        let mut sessions = 0;
        for worker in 0..self.workers.count() {
            self.settle(worker, self.pack(worker, Packing::Connected, 0)?, &[]);
        }
        self.wire.send(&ToNew::Quiet(live.sessions_begun()), &[])?;
        // Those that have a server first: if others came before them, a server would have more than its `maxconn`.
        for worker in 0..self.workers.count() {
            sessions += self.worker(worker, Packing::Connected)?;
        }
        self.wire.send(&ToNew::Accept, &[])?;
        for worker in 0..self.workers.count() {
            sessions += self.worker(worker, Packing::All)?;
        }
        let took = begun.elapsed();
        while live.connections.now() > 0 && begun.elapsed() < took + SETTLING {
            std::thread::sleep(LOOK);
            for worker in 0..self.workers.count() {
                sessions += self.worker(worker, Packing::All)?;
            }
        }
        let left = live.connections.now();
        let done = ToNew::Done(Box::new(State::of(live)), std::process::id(), left);
        self.wire.send(&done, &[])?;
        let ToOld::Ready = self.wire.receive()?.0 else {
            return Err(HandoverError::Unexpected);
        };
        Ok(Given {
            sessions,
            left: left as usize,
            took,
        })
    }

    /// All these sessions of a worker that can travel. Says how many were taken.
    fn worker(&self, worker: usize, which: Packing) -> Result<usize, HandoverError> {
        let mut taken = 0;
        loop {
            let packed = self.pack(worker, which, BATCH)?;
            let count = packed.len();
            if count == 0 {
                return Ok(taken);
            }
            let refused = match self.batch(&packed) {
                Ok(refused) => refused,
                Err(error) => {
                    self.give_up(worker, packed);
                    return Err(error);
                }
            };
            taken += count - refused.len();
            self.settle(worker, packed, &refused);
            if count < BATCH {
                return Ok(taken);
            }
        }
    }

    fn pack(&self, worker: usize, which: Packing, most: usize) -> Result<Vec<Packed>, HandoverError> {
        let (sender, packed) = sync_channel(1);
        self.workers.pack(worker, which, most, sender);
        // A worker that answers later has its answer dropped, and with it the sessions; so it gets all the time.
        packed.recv().map_err(|_| HandoverError::Worker)
    }

    /// Says which places were refused.
    fn batch(&self, packed: &[Packed]) -> Result<Vec<u32>, HandoverError> {
        let records: Vec<SessionRecord> = packed.iter().map(|packed| packed.record.clone()).collect();
        let sockets: Vec<BorrowedFd<'_>> = packed.iter().flat_map(Packed::sockets).collect();
        self.wire.send(&ToNew::Sessions(records), &sockets)?;
        match self.wire.receive()?.0 {
            ToOld::Taken(refused) => Ok(refused),
            ToOld::Hello(_) | ToOld::Prepared | ToOld::Ready => Err(HandoverError::Unexpected),
        }
    }

    fn settle(&self, worker: usize, packed: Vec<Packed>, refused: &[u32]) {
        let (mut given, mut kept) = (Vec::new(), Vec::new());
        for (place, packed) in (0..).zip(packed) {
            match refused.contains(&place) {
                true => kept.push(packed),
                false => given.push(packed),
            }
        }
        self.workers.settle(worker, given, kept);
    }

    /// A session must never be in both processes: one that has not said by now that it took them is not to do so later,
    /// and if it has just said it, it has them.
    fn give_up(&self, worker: usize, packed: Vec<Packed>) {
        self.wire.hang_up();
        match self.wire.receive() {
            Ok((ToOld::Taken(refused), _)) => self.settle(worker, packed, &refused),
            Ok(_) | Err(_) => self.workers.settle(worker, Vec::new(), packed),
        }
    }
}
