//! A slow look at what nobody reads: whether sealed segments are still what was written.
//!
//! Recovery does not read them, and a message shows its damage when somebody wants it, which may be too late to put back a copy. So they are
//! read through, one after another, as slowly as [`crate::Options::scrub_octets`] says, and what does not match its sum is reported. Nothing
//! is changed.

use std::sync::Arc;

use crate::disk::DiskFile;
use crate::format::{Descriptor, FRAME_HEADER, FrameHeader, SEGMENT_HEADER, descriptors, read_block};
use crate::shared::{Kind, Shared};
use crate::statistics::add;

/// Octets read before there is a pause.
const SLICE: u64 = 256 << 10;

pub(crate) struct Scrub {
    shared: Arc<Shared>,
    /// The segment that has been looked at last.
    last: u32,
    now: Option<Reading>,
}

/// A segment that is being read. As long as its file is open it is not used for anything else.
struct Reading {
    segment: u32,
    file: Arc<dyn DiskFile>,
    at: u64,
    end: u64,
}

impl Scrub {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            last: 0,
            now: None,
        }
    }

    /// Reads some. Says how many octets, or that it has come to the end and will begin anew; what is damaged is told by path and octet.
    pub(crate) fn step(&mut self, mut damaged: impl FnMut(String)) -> Option<u64> {
        let mut read = 0;
        while read < SLICE {
            let mut reading = match self.now.take().or_else(|| self.next()) {
                Some(reading) => reading,
                None if read > 0 => break,
                None => {
                    self.last = 0;
                    return None;
                }
            };
            self.last = reading.segment;
            match reading.frame() {
                Some(octets) => {
                    read += octets;
                    reading.at += octets;
                    self.now = (reading.at < reading.end).then_some(reading);
                }
                // Where the next frame begins is not known any more.
                None => {
                    add(&self.shared.counters.damaged, 1);
                    let path = self.shared.path(Kind::Frames, reading.segment);
                    damaged(format!("{} is damaged at octet {}", path.display(), reading.at));
                    read += reading.end - reading.at;
                }
            }
        }
        add(&self.shared.counters.scrubbed_octets, read);
        Some(read)
    }

    fn next(&self) -> Option<Reading> {
        let index = self.shared.index.lock();
        let sealed = index
            .sealed()
            .filter(|(id, used)| *id > self.last && used.live > 0);
        let (segment, used) = sealed.min_by_key(|(id, _)| *id)?;
        Some(Reading {
            segment,
            file: self.shared.file(Kind::Frames, segment).ok()?,
            at: SEGMENT_HEADER as u64,
            end: used.octets,
        })
    }
}

impl Reading {
    /// The size of the next frame, if all of it is what it should be.
    fn frame(&self) -> Option<u64> {
        let header = FrameHeader::decode(&self.octets(self.at, FRAME_HEADER)?)?;
        let said = self.octets(self.at + FRAME_HEADER as u64, header.descriptors as usize)?;
        if header.segment != self.segment || crc32c::crc32c(&said) != header.descriptors_crc {
            return None;
        }
        let mut at = self.at + (FRAME_HEADER + said.len()) as u64;
        for descriptor in descriptors(&said) {
            if let Descriptor::Message { block, .. } | Descriptor::Moved { block, .. } = descriptor? {
                read_block(&self.octets(at, block as usize)?)?;
                at += u64::from(block);
            }
        }
        (at == self.at + header.octets()).then(|| header.octets())
    }

    fn octets(&self, at: u64, count: usize) -> Option<Vec<u8>> {
        let inside = at.checked_add(count as u64)? <= self.end;
        let mut octets = inside.then(|| vec![0; count])?;
        self.file.read_at(at, &mut octets).ok()?;
        Some(octets)
    }
}
