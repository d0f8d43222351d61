//! Reading messages back: places from the index, then as few reads as their neighbourhood allows.

use std::io;
use std::sync::Arc;

use bytes::Bytes;

use crate::disk::DiskFile;
use crate::format::{BLOCK_HEADER, read_block};
use crate::index::{Found, Slot};
use crate::shared::{Kind, Shared};
use crate::statistics::add;
use crate::{MessageId, ReadError, StreamId, slots};

/// Octets read at once, unless one message is larger. What is fetched together shares its memory.
const READ_OCTETS: u64 = 256 << 10;
/// Octets read for nothing rather than by a call of their own.
const GAP_OCTETS: u64 = 16 << 10;

/// A message as it was appended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    pub position: u64,
    pub tag: u32,
    pub id: MessageId,
    pub head: Bytes,
    pub body: Bytes,
}

/// Where a message is, with the file that keeps it readable.
struct Located {
    segment: u32,
    slot: Slot,
    file: Arc<dyn DiskFile>,
}

/// Slots as the index knows them, to be looked up in a file where they are not in memory.
enum Piece {
    One(Located),
    Many {
        segment: u32,
        at: u32,
        count: u32,
        known: Option<Arc<[Slot]>>,
        slots: Option<Arc<dyn DiskFile>>,
        frames: Arc<dyn DiskFile>,
    },
}

impl Shared {
    /// Messages of a stream from a position on, up to `messages` of them and about `octets` of theirs, at least one if there is any. If the
    /// first is damaged, that is the error; a later one ends the list.
    pub(crate) fn fetch(
        &self,
        stream: StreamId,
        from: u64,
        messages: usize,
        octets: u64,
    ) -> Result<Vec<Stored>, ReadError> {
        let mut located = self.locate(stream, from, messages)?;
        let mut sum = 0;
        let within = located.iter().take_while(|one| {
            let before = sum;
            sum += u64::from(one.slot.length);
            before == 0 || sum <= octets
        });
        let count = within.count();
        located.truncate(count);
        let mut stored = Vec::with_capacity(located.len());
        let mut rest = &located[..];
        while !rest.is_empty() {
            let (near, later) = rest.split_at(neighbours(rest));
            match self.read(near, stream, &mut stored) {
                Err(error) if stored.is_empty() => return Err(error),
                Err(_) => break,
                Ok(()) => rest = later,
            }
        }
        add(&self.counters.fetched, stored.len() as u64);
        let octets = stored
            .iter()
            .map(|one| (one.head.len() + one.body.len()) as u64)
            .sum();
        add(&self.counters.fetched_octets, octets);
        Ok(stored)
    }

    fn locate(&self, stream: StreamId, from: u64, messages: usize) -> Result<Vec<Located>, ReadError> {
        let mut located = Vec::new();
        for piece in self.pieces(stream, from, messages)? {
            match piece {
                Piece::One(one) => located.push(one),
                Piece::Many {
                    segment,
                    at,
                    count,
                    known,
                    slots,
                    frames,
                } => {
                    let found = match (known, slots) {
                        (Some(known), _) => known
                            .get(at as usize..(at + count) as usize)
                            .map(<[Slot]>::to_vec),
                        (None, Some(file)) => match self.read_slots(&*file, segment, at, count, stream, from)
                        {
                            Ok(slots) => Some(slots),
                            // What was found before it is worth having.
                            Err(_) if !located.is_empty() => break,
                            Err(error) => return Err(error),
                        },
                        (None, None) => None,
                    };
                    located.extend(found.unwrap_or_default().into_iter().map(|slot| Located {
                        segment,
                        slot,
                        file: frames.clone(),
                    }));
                }
            }
        }
        Ok(located)
    }

    /// Looks in the index, and opens files while it is locked.
    fn pieces(&self, stream: StreamId, from: u64, messages: usize) -> Result<Vec<Piece>, ReadError> {
        let index = self.index.lock();
        let open = |kind, segment| {
            let path = || self.path(kind, segment);
            (self.file(kind, segment)).map_err(|source| ReadError::Disk { path: path(), source })
        };
        let piece = |found| {
            Ok(match found {
                Found::Open(segment, slot) => Piece::One(Located {
                    segment,
                    slot,
                    file: open(Kind::Frames, segment)?,
                }),
                Found::Sealed {
                    segment,
                    at,
                    count,
                    slots,
                } => Piece::Many {
                    segment,
                    at,
                    count,
                    slots: slots.is_none().then(|| open(Kind::Slots, segment)).transpose()?,
                    known: slots,
                    frames: open(Kind::Frames, segment)?,
                },
            })
        };
        index
            .find(stream, from, messages)
            .into_iter()
            .map(piece)
            .collect()
    }

    fn read_slots(
        &self,
        file: &dyn DiskFile,
        segment: u32,
        at: u32,
        count: u32,
        stream: StreamId,
        position: u64,
    ) -> Result<Vec<Slot>, ReadError> {
        let path = self.path(Kind::Slots, segment);
        slots::read(file, segment, at, count).map_err(|why| match why {
            Ok(offset) => ReadError::Corrupt {
                path,
                offset,
                stream: stream.0,
                position,
                what: "the sum of a page does not match".to_owned(),
            },
            Err(source) => ReadError::Disk { path, source },
        })
    }

    /// Slots of a sealed segment, for the keeper.
    pub(crate) fn slots_of(&self, segment: u32, at: u32, count: u32) -> Result<Vec<Slot>, ReadError> {
        let path = self.path(Kind::Slots, segment);
        let file = (self.disk.open(&path)).map_err(|source| ReadError::Disk { path, source })?;
        self.read_slots(&*file, segment, at, count, StreamId(0), 0)
    }

    /// One message, for the keeper, who knows that the segment stays.
    pub(crate) fn read_one(&self, segment: u32, slot: Slot, stream: StreamId) -> Result<Stored, ReadError> {
        let path = self.path(Kind::Frames, segment);
        let file = (self.disk.open(&path)).map_err(|source| ReadError::Disk { path, source })?;
        let mut stored = Vec::with_capacity(1);
        self.read(&[Located { segment, slot, file }], stream, &mut stored)?;
        stored.pop().ok_or_else(|| ReadError::Disk {
            path: self.path(Kind::Frames, segment),
            source: io::ErrorKind::UnexpectedEof.into(),
        })
    }

    /// Reads neighbours with one call.
    fn read(&self, near: &[Located], stream: StreamId, stored: &mut Vec<Stored>) -> Result<(), ReadError> {
        let (Some(first), Some(last)) = (near.first(), near.last()) else {
            return Ok(());
        };
        let start = u64::from(first.slot.offset);
        let mut octets =
            vec![0; (u64::from(last.slot.offset) + u64::from(last.slot.length) - start) as usize];
        let path = || self.path(Kind::Frames, first.segment);
        let read = first.file.read_at(start, &mut octets);
        read.map_err(|source| ReadError::Disk { path: path(), source })?;
        let octets = Bytes::from(octets);
        for one in near {
            let offset = one.slot.offset as usize - start as usize;
            let block = octets.slice(offset..offset + one.slot.length as usize);
            let (id, head, body) = read_block(&block).ok_or_else(|| ReadError::Corrupt {
                path: path(),
                offset: u64::from(one.slot.offset),
                stream: stream.0,
                position: one.slot.position,
                what: "the sum of a message does not match".to_owned(),
            })?;
            stored.push(Stored {
                position: one.slot.position,
                tag: one.slot.tag,
                id,
                head: block.slice(BLOCK_HEADER..BLOCK_HEADER + head),
                body: block.slice(BLOCK_HEADER + head..BLOCK_HEADER + head + body),
            });
        }
        Ok(())
    }
}

/// How many of them, from the first on, are read together.
fn neighbours(located: &[Located]) -> usize {
    let Some(first) = located.first() else {
        return 0;
    };
    let near = located.windows(2).take_while(|pair| {
        let [one, next] = pair else { return false };
        let end = u64::from(one.slot.offset) + u64::from(one.slot.length);
        let offset = u64::from(next.slot.offset);
        let whole = offset + u64::from(next.slot.length) - u64::from(first.slot.offset).min(offset);
        next.segment == first.segment && (end..=end + GAP_OCTETS).contains(&offset) && whole <= READ_OCTETS
    });
    near.count() + 1
}
