//! Pipes: where octets wait that the kernel moves from one socket to another without showing them to us.
//!
//! A direction has a pipe only while octets are in it; between its turns it gives it back. A pipe is drained before more
//! is read into it, so that each call moves as much as it can. Flows that stay large get one of a few large pipes, which
//! serve all of them, one after the other: whoever receives is woken once for as much as the pipe holds.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use rustix::io::Errno;
use rustix::pipe::{PipeFlags, SpliceFlags};

use crate::live::PipeCount;

/// Pipes of one worker at once; beyond, octets are copied.
pub(crate) const PIPES_MAX: usize = 512;
/// Pipes of one worker that were enlarged: the kernel counts their pages against the user's limit.
const LARGE_MAX: usize = 16;
/// Octets of an enlarged pipe.
const LARGE: usize = 1024 * 1024;
/// Most that one call is asked to move.
const MOVE_MAX: usize = 1024 * 1024;

/// A pipe.
#[derive(Debug)]
pub(crate) struct Pipe {
    out: OwnedFd,
    into: OwnedFd,
    /// Octets inside.
    pub(crate) holds: usize,
    large: bool,
}

/// What moving did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moved {
    Octets(usize),
    /// Nothing to take, or no room.
    Wait,
    End,
    Failed(Errno),
}

/// A worker's pipes.
#[derive(Debug, Default)]
pub(crate) struct Pipes {
    #[allow(
        clippy::vec_box,
        reason = "a direction holds it in one word, and nothing is allocated to do so"
    )]
    spare: Vec<Box<Pipe>>,
    #[allow(clippy::vec_box, reason = "as above")]
    spare_large: Vec<Box<Pipe>>,
    open: usize,
    large: usize,
    /// What the statistics know of them.
    count: Arc<PipeCount>,
}

impl Pipes {
    /// Pipes that are counted.
    pub(crate) fn counted(count: Arc<PipeCount>) -> Self {
        Self {
            count,
            ..Self::default()
        }
    }

    /// A pipe, unless all are in use or the kernel has none.
    pub(crate) fn take(&mut self) -> Option<Box<Pipe>> {
        let pipe = match self.spare.pop() {
            Some(pipe) => pipe,
            None => self.open().or_else(|| self.spare_large.pop())?,
        };
        self.tell();
        Some(pipe)
    }

    /// A pipe for a flow that stays large: a large one, if there may be more of them or one is spare.
    pub(crate) fn take_large(&mut self) -> Option<Box<Pipe>> {
        if let Some(pipe) = self.spare_large.pop() {
            self.tell();
            return Some(pipe);
        }
        let mut pipe = self.take()?;
        if !pipe.large && self.large < LARGE_MAX {
            pipe.large = true;
            self.large += 1;
            // The user's limit may forbid it; then it stays as it is.
            let _refused = rustix::pipe::fcntl_setpipe_size(&pipe.out, LARGE);
        }
        Some(pipe)
    }

    fn open(&mut self) -> Option<Box<Pipe>> {
        if self.open >= PIPES_MAX {
            return None;
        }
        let (out, into) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).ok()?;
        self.open += 1;
        Some(Box::new(Pipe {
            out,
            into,
            holds: 0,
            large: false,
        }))
    }

    /// So many octets were moved into one.
    pub(crate) fn count_moved(&self, octets: usize) {
        self.count.spliced.fetch_add(octets as u64, Relaxed);
    }

    /// A pipe is not needed any more. One that holds octets is closed with them.
    pub(crate) fn give_back(&mut self, pipe: Box<Pipe>) {
        if pipe.holds == 0 && pipe.large {
            self.spare_large.push(pipe);
        } else if pipe.holds == 0 {
            self.spare.push(pipe);
        } else {
            self.open -= 1;
            self.large -= usize::from(pipe.large);
        }
        self.tell();
    }

    fn tell(&self) {
        let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let spare = self.spare.len() + self.spare_large.len();
        self.count.spare.store(number(spare), Relaxed);
        self.count
            .used
            .store(number(self.open.saturating_sub(spare)), Relaxed);
    }

    /// Pipes that exist, and how many of them are in use, as the statistics show it.
    #[cfg(test)]
    pub(crate) fn count(&self) -> (usize, usize) {
        let (used, spare) = (self.count.used.load(Relaxed), self.count.spare.load(Relaxed));
        assert_eq!((used + spare) as usize, self.open);
        (self.open, used as usize)
    }
}

impl Pipe {
    /// From a socket. To be called when the pipe is empty: otherwise nothing to take and no room look the same.
    pub(crate) fn fill(&mut self, from: impl AsFd) -> Moved {
        self.fill_at_most(from, MOVE_MAX)
    }

    /// From a socket that goes on with something else after so many octets.
    pub(crate) fn fill_at_most(&mut self, from: impl AsFd, most: usize) -> Moved {
        let moved = splice(from, &self.into, most.min(MOVE_MAX));
        if let Moved::Octets(count) = moved {
            self.holds += count;
        }
        moved
    }

    /// Into a socket.
    pub(crate) fn drain(&mut self, into: impl AsFd) -> Moved {
        let moved = splice(&self.out, into, MOVE_MAX);
        if let Moved::Octets(count) = moved {
            self.holds = self.holds.saturating_sub(count);
        }
        moved
    }

    /// Takes out what is inside, for whoever wants to see it.
    pub(crate) fn take_out(&mut self) -> Result<Vec<u8>, Errno> {
        let mut octets = Vec::with_capacity(self.holds);
        while self.holds > 0 {
            let count = rustix::io::read(&self.out, rustix::buffer::spare_capacity(&mut octets))?;
            if count == 0 {
                break;
            }
            self.holds = self.holds.saturating_sub(count);
        }
        Ok(octets)
    }
}

fn splice(from: impl AsFd, into: impl AsFd, most: usize) -> Moved {
    let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
    loop {
        return match rustix::pipe::splice(&from, None, &into, None, most, flags) {
            Ok(0) => Moved::End,
            Ok(count) => Moved::Octets(count),
            Err(Errno::INTR) => continue,
            Err(Errno::AGAIN) => Moved::Wait,
            Err(errno) => Moved::Failed(errno),
        };
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn octets_come_out_as_they_went_in_and_an_empty_pipe_is_used_again() {
        let mut pipes = Pipes::default();
        let mut pipe = pipes.take().unwrap();
        let [(mut one, from), (into, mut two)] = [(); 2].map(|()| UnixStream::pair().unwrap());
        from.set_nonblocking(true).unwrap();
        assert_eq!(pipe.fill(&from), Moved::Wait);
        one.write_all(b"some octets").unwrap();
        assert_eq!(pipe.fill(&from), Moved::Octets(11));
        assert_eq!((pipe.drain(&into), pipe.holds), (Moved::Octets(11), 0));
        let mut octets = [0; 11];
        two.read_exact(&mut octets).unwrap();
        assert_eq!(&octets, b"some octets");
        pipes.give_back(pipe);
        assert_eq!(pipes.count(), (1, 0));
        let mut pipe = pipes.take().unwrap();
        one.write_all(b"kept").unwrap();
        drop(one);
        assert_eq!(pipe.fill(&from), Moved::Octets(4));
        assert_eq!(pipe.fill(&from), Moved::End);
        assert_eq!((pipe.take_out().unwrap(), pipe.holds), (b"kept".to_vec(), 0));
        pipes.give_back(pipe);
        assert_eq!(pipes.count(), (1, 0));
    }

    #[test]
    fn large_flows_share_the_large_pipes_and_others_leave_these_alone() {
        let mut pipes = Pipes::default();
        let large = pipes.take_large().unwrap();
        let small = pipes.take().unwrap();
        assert!(large.large && !small.large);
        pipes.give_back(large);
        pipes.give_back(small);
        assert!(!pipes.take().unwrap().large);
        assert!(pipes.take_large().unwrap().large);
        // There are only so many; who comes later gets another.
        let more: Vec<_> = (0..=LARGE_MAX).map(|_| pipes.take_large().unwrap()).collect();
        assert_eq!(more.iter().filter(|pipe| pipe.large).count(), LARGE_MAX - 1);
        assert_eq!(pipes.large, LARGE_MAX);
        for mut pipe in more {
            pipe.holds = 1;
            pipes.give_back(pipe);
        }
        assert_eq!(pipes.large, 1);
    }

    #[test]
    fn a_pipe_that_holds_octets_is_never_used_again_and_there_is_a_limit() {
        let mut pipes = Pipes::default();
        let all: Vec<_> = (0..PIPES_MAX).map_while(|_| pipes.take()).collect();
        assert!(all.len() < PIPES_MAX || pipes.take().is_none());
        let count = all.len();
        for (number, mut pipe) in all.into_iter().enumerate() {
            pipe.holds = number % 2;
            pipes.give_back(pipe);
        }
        assert_eq!(pipes.count(), (count.div_ceil(2), 0));
    }
}
