//! Large frames, read from the socket to where they stay.
//!
//! ```text
//!   input          ▒▒▒▒▒▒▒▒  the frame begins: it says how long it is
//!                      │ copied
//!   memory of its own  ▒▒▒▒▒▒▒▒░░░░░░░░░░░░░░░░░░░░░░ ░░  read until here: its end, and what comes before the next large one, so
//!                                                         that the next read knows how long that is and goes to where it stays
//! ```
//!
//! Else each octet would be copied once more, or twice. Memory that nobody needs any more is used again by whoever reads the next
//! one, up to [`SPARE_MAX`]: an allocator gives pieces of this size back to the kernel and takes the page faults again.

use std::io;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, ReadBuf};
use warren_amqp::frame::{HEADER_LENGTH, Splitter};

/// A frame of so many octets is large.
const LARGE: usize = 32 * 1024;
/// Octets that are read behind one: mostly a method and a header are there, and the beginning of a body.
const BEYOND: usize = 512;
/// Memory comes in multiples of this, and a little more for what is around a payload.
const STEP: usize = 16 * 1024;
const AROUND: usize = 2 * BEYOND;
/// Sizes of which memory is kept: up to those of the largest frames that are usual.
const SIZES: usize = 8;
/// Octets that are kept for the next frames.
const SPARE_MAX: usize = 16 << 20;

/// A large frame that is being read.
#[derive(Debug)]
pub(super) struct Large {
    memory: Memory,
    filled: usize,
    /// Where the frame ends.
    end: usize,
}

impl Large {
    /// The frame with which the input begins, if it is large and has not come as a whole; the input is empty then. Its head has
    /// been judged.
    pub(super) fn begin(input: &mut BytesMut) -> Option<Self> {
        let missing = Splitter::missing(input);
        let (filled, end) = (input.len(), input.len().saturating_add(missing));
        if filled < HEADER_LENGTH || missing == 0 || end < LARGE {
            return None;
        }
        let mut memory = Memory::of(end + BEYOND);
        memory.octets.get_mut(..filled)?.copy_from_slice(input);
        input.clear();
        Some(Self { memory, filled, end })
    }

    /// Says how many octets came.
    pub(super) fn read(
        &mut self,
        stream: Pin<&mut impl AsyncRead>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let room = self.memory.octets.get_mut(self.filled..self.end + BEYOND);
        let mut buffer = ReadBuf::new(room.unwrap_or_default());
        ready!(stream.poll_read(cx, &mut buffer))?;
        let count = buffer.filled().len();
        self.filled += count;
        Poll::Ready(Ok(count))
    }

    pub(super) const fn is_whole(&self) -> bool {
        self.filled >= self.end
    }

    /// The frame. What was read beyond it goes to the input.
    pub(super) fn finish(self, input: &mut BytesMut) -> Bytes {
        let beyond = self.memory.octets.get(self.end..self.filled);
        input.extend_from_slice(beyond.unwrap_or_default());
        Bytes::from_owner(self.memory).slice(..self.end)
    }
}

/// Memory that is kept for others when it is dropped.
#[derive(Debug)]
struct Memory {
    octets: Vec<u8>,
}

/// What is kept, by size.
static SPARE: Mutex<Spare> = Mutex::new(Spare {
    octets: 0,
    by_size: [const { Vec::new() }; SIZES + 1],
});

struct Spare {
    octets: usize,
    by_size: [Vec<Vec<u8>>; SIZES + 1],
}

impl Memory {
    fn of(size: usize) -> Self {
        let steps = size.saturating_sub(AROUND).div_ceil(STEP);
        let kept = Spare::with(|spare| spare.take(steps));
        Self {
            octets: kept.unwrap_or_else(|| vec![0; steps * STEP + AROUND]),
        }
    }
}

impl AsRef<[u8]> for Memory {
    fn as_ref(&self) -> &[u8] {
        &self.octets
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        let octets = std::mem::take(&mut self.octets);
        // What is not kept is freed without the lock.
        drop(Spare::with(|spare| spare.keep(octets)));
    }
}

impl Spare {
    fn with<T>(work: impl FnOnce(&mut Self) -> T) -> T {
        work(&mut SPARE.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn take(&mut self, steps: usize) -> Option<Vec<u8>> {
        let octets = self.by_size.get_mut(steps)?.pop()?;
        self.octets -= octets.len();
        Some(octets)
    }

    /// Keeps it, if need be instead of some of other sizes, for which there may be no use any more. Gives what is not kept.
    fn keep(&mut self, octets: Vec<u8>) -> Vec<Vec<u8>> {
        let steps = octets.len().saturating_sub(AROUND) / STEP;
        if steps > SIZES {
            return vec![octets];
        }
        let mut gone = Vec::new();
        while self.octets + octets.len() > SPARE_MAX {
            let other = (0..=SIZES)
                .filter(|size| *size != steps)
                .find_map(|size| self.take(size));
            match other {
                Some(other) => gone.push(other),
                None => {
                    gone.push(octets);
                    return gone;
                }
            }
        }
        self.octets += octets.len();
        if let Some(kept) = self.by_size.get_mut(steps) {
            kept.push(octets);
        }
        gone
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    fn begun(size: u32, sent: &[u8]) -> BytesMut {
        let mut input = BytesMut::from(&[3, 0, 1][..]);
        input.extend_from_slice(&size.to_be_bytes());
        input.extend_from_slice(sent);
        input
    }

    #[test]
    fn only_a_frame_that_is_long_and_has_not_come_is_read_elsewhere() {
        for mut input in [
            BytesMut::new(),
            BytesMut::from(&[3, 0, 1, 0, 2, 0][..]),
            begun(100, b""),
            begun(30_000, &[7; 100]),
            begun(40_000, &[0xCE; 40_001]),
        ] {
            let before = input.clone();
            assert!(Large::begin(&mut input).is_none());
            assert_eq!(input, before);
        }
        for came in [&b"some"[..], &[7; 39_000]] {
            assert!(Large::begin(&mut begun(40_000, came)).is_some());
        }
    }

    #[test]
    fn a_frame_is_whole_with_its_last_octet_and_what_follows_stays_input() {
        let mut input = begun(50_000, &[1; 10]);
        let mut large = Large::begin(&mut input).unwrap();
        assert!(input.is_empty());
        let mut sent = vec![2; 49_990];
        sent.push(0xCE);
        sent.extend_from_slice(&[3; BEYOND]);
        sent.extend_from_slice(b"more");
        let mut stream = &sent[..];
        let mut cx = Context::from_waker(Waker::noop());
        assert!(!large.is_whole());
        while !large.is_whole() {
            assert!(large.read(Pin::new(&mut stream), &mut cx).is_ready());
        }
        let frame = large.finish(&mut input);
        assert_eq!(frame.len(), 50_008);
        assert_eq!(frame.last(), Some(&0xCE));
        assert_eq!(frame.get(7..17), Some(&[1; 10][..]));
        // What may come before the next one, and no more.
        assert_eq!(&input[..], [3; BEYOND]);
        assert_eq!(stream, b"more");
    }

    #[test]
    fn what_is_kept_has_a_bound_and_makes_room_for_other_sizes() {
        let mut spare = Spare {
            octets: 0,
            by_size: [const { Vec::new() }; SIZES + 1],
        };
        let memory = |steps: usize| vec![0; steps * STEP + AROUND];
        let mut gone = 0;
        for _ in 0..2 * SPARE_MAX / STEP / 4 {
            gone += spare.keep(memory(4)).len();
            assert!(spare.octets <= SPARE_MAX);
        }
        assert!(gone > 0);
        assert!(spare.take(8).is_none());
        assert!(!spare.keep(memory(8)).is_empty(), "another had to go");
        assert!(spare.octets <= SPARE_MAX);
        assert_eq!(spare.take(8).map(|octets| octets.len()), Some(8 * STEP + AROUND));
        assert_eq!(spare.keep(memory(SIZES + 1)).len(), 1, "such are seldom");
        let kept: usize = spare.by_size.iter().flatten().map(Vec::len).sum();
        assert_eq!(kept, spare.octets);
    }
}
