//! What is on disk becomes the index again.
//!
//! The checkpoint says what was so at the border of two segments; the segments behind it are read and applied as they were when written.
//! The first frame that is not whole ends the log. It is a *torn tail* if it may have been lost in a power cut or kill, that is if
//! nothing behind it was written after it had been synced; otherwise it is damage, and the log does not open: what is behind it had been
//! confirmed. Sealed segments are not read here; damage in them shows when a message is read.
//!
//! What is lost with the newest segment has nothing behind it; the node file says how much has to be there ([`Promised`]).
//!
//! The log never goes on in a segment that it found: what may be behind its end could be taken for valid one day.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use memchr::memmem;

use crate::checkpoint::{self, Checkpoint, Refused};
use crate::disk::{read_all, replace};
use crate::format::{
    Descriptor, FRAME_HEADER, FRAME_MAGIC, FrameHeader, HeaderError, SEGMENT_HEADER, SegmentHeader, VERSION,
    descriptors, read_block,
};
use crate::identity::{Identity, Promised};
use crate::index::Index;
use crate::shared::{Kind, Shared, Spare};
use crate::{Durability, OpenError, StreamId, slots};

/// What a log found when it was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovered {
    pub node: [u8; 16],
    /// One more than at the start before; 1 in a new data directory.
    pub incarnation: u64,
    pub new: bool,
    /// Streams that ever had a message and were not removed, in the order of their numbers.
    pub streams: Vec<StreamState>,
    /// The end of the log was lost; nothing in it had been reported durable.
    pub torn: Option<Torn>,
    /// Batches read behind the checkpoint, and their octets.
    pub replayed: u64,
    pub replayed_octets: u64,
    pub elapsed: Duration,
}

/// A stream after recovery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamState {
    pub stream: StreamId,
    /// Messages that are not settled, and the octets of their bodies.
    pub messages: u64,
    pub octets: u64,
    /// Position of the first of them.
    pub first: Option<u64>,
    /// Above all positions that were ever used.
    pub next: u64,
}

/// Where the log ended early.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Torn {
    pub path: PathBuf,
    pub offset: u64,
    /// Batches of which at least the beginning was there.
    pub batches: u64,
}

/// Files of the data directory by what they are.
#[derive(Default)]
struct Files {
    segments: BTreeMap<u32, PathBuf>,
    slots: BTreeMap<u32, PathBuf>,
    spares: BTreeMap<u32, PathBuf>,
    checkpoint: bool,
}

/// State of the walk through the segments behind the checkpoint.
struct Walk {
    index: Index,
    /// Sequence of the next frame.
    next: u64,
    segment: u32,
    replayed: u64,
    octets: u64,
    /// Where the log ended, unless the next segment goes on from there.
    end: Option<End>,
}

struct End {
    path: PathBuf,
    offset: u64,
    batches: u64,
}

/// Brings the log of a locked directory back. Returns what was found, and the segment and sequence behind which to go on.
pub(crate) fn recover(shared: &Shared, identity: &Identity) -> Result<(Recovered, u32, u64), OpenError> {
    let start = Instant::now();
    let mut files = list(shared)?;
    if shared.options.durability == Durability::Volatile {
        throw_away(shared, &mut files)?;
    }
    let base = base(shared, identity, &files)?;
    let covered = base.segment;
    verify(shared, &base, &files)?;
    let progress = &*shared.options.recovery;
    if shared.options.durability != Durability::Volatile {
        progress.begin(to_read(shared, covered, &files)?);
    }
    let mut walk = Walk {
        index: base.index,
        next: base.next,
        segment: base.segment,
        replayed: 0,
        octets: 0,
        end: None,
    };
    let mut sealed = Vec::new();
    for (&segment, path) in files.segments.range(covered + 1..) {
        walk.index.begin(segment);
        progress.add(walk.read(shared, segment, path)?);
        let slots = walk.index.seal();
        if !slots.is_empty() {
            sealed.push((segment, slots));
        }
    }
    if shared.options.durability != Durability::Volatile {
        walk.keeps(identity.promised, shared, &files)?;
    }
    let torn = walk.end.take().filter(|end| end.batches > 0).map(|end| Torn {
        path: end.path,
        offset: end.offset,
        batches: end.batches,
    });
    // Who appends goes on behind the positions that are there, and may use those again that were only settled: no file may
    // say of them any more that they are.
    let early = walk.index.early.iter().next().is_some();
    walk.index.early.clear();
    let behind = files.segments.range(covered + 1..).next().is_some();
    keep_spares(shared, &mut files)?;
    if behind || early || !files.checkpoint {
        walk.index.forget_dead();
        // Room for them, if there is none, is in the spares.
        while let Err((path, source)) = save(shared, &walk, &sealed) {
            let Some(spare) = shared.space.lock().spares.pop() else {
                return Err(OpenError::Disk { path, source });
            };
            remove(shared, &spare.path)?;
        }
    }
    for (segment, _) in sealed {
        walk.index.slots_written(segment);
    }
    remove_unused(shared, &walk.index, &files)?;
    let streams = states(shared, &walk.index)?;
    progress.end();
    let recovered = Recovered {
        node: identity.node,
        incarnation: identity.incarnation,
        new: identity.new,
        streams,
        torn,
        replayed: walk.replayed,
        replayed_octets: walk.octets,
        elapsed: start.elapsed(),
    };
    *shared.index.lock() = walk.index;
    Ok((recovered, walk.segment, walk.next))
}

fn disk_error(path: &std::path::Path) -> impl FnOnce(io::Error) -> OpenError {
    let path = path.to_owned();
    move |source| OpenError::Disk { path, source }
}

fn corrupt(path: &std::path::Path, offset: u64, what: impl Into<String>) -> OpenError {
    OpenError::Corrupt {
        path: path.to_owned(),
        offset,
        what: what.into(),
    }
}

fn list(shared: &Shared) -> Result<Files, OpenError> {
    let directory = &shared.directory;
    let mut files = Files::default();
    for name in shared.disk.list(directory).map_err(disk_error(directory))? {
        let path = directory.join(&name);
        let (number, kind) = name.split_once('.').unwrap_or((&name, ""));
        let number = (number.len() == 8)
            .then(|| u32::from_str_radix(number, 16).ok())
            .flatten();
        match (number, kind) {
            (Some(number), "segment") => drop(files.segments.insert(number, path)),
            (Some(number), "slots") => drop(files.slots.insert(number, path)),
            (Some(number), "spare") => drop(files.spares.insert(number, path)),
            _ => files.checkpoint |= name == checkpoint::NAME,
        }
    }
    Ok(files)
}

/// Octets of the segments behind the checkpoint, and of the slots of those before.
fn to_read(shared: &Shared, covered: u32, files: &Files) -> Result<u64, OpenError> {
    let behind = files.segments.range(covered + 1..);
    let mut octets = 0;
    for (_, path) in behind.chain(&files.slots) {
        let file = shared.disk.open(path).map_err(disk_error(path))?;
        octets += file.size().map_err(disk_error(path))?;
    }
    Ok(octets)
}

fn remove(shared: &Shared, path: &std::path::Path) -> Result<(), OpenError> {
    shared.disk.remove(path).map_err(disk_error(path))
}

fn throw_away(shared: &Shared, files: &mut Files) -> Result<(), OpenError> {
    let checkpoint = shared.directory.join(checkpoint::NAME);
    let all = files
        .segments
        .values()
        .chain(files.slots.values())
        .chain(files.spares.values());
    for path in all.chain(files.checkpoint.then_some(&checkpoint)) {
        remove(shared, path)?;
    }
    *files = Files::default();
    Ok(())
}

/// The checkpoint, or an empty one in a new directory.
fn base(shared: &Shared, identity: &Identity, files: &Files) -> Result<Checkpoint, OpenError> {
    let path = shared.directory.join(checkpoint::NAME);
    if !files.checkpoint {
        return match files.segments.first_key_value() {
            Some(_) => Err(OpenError::Missing {
                path,
                needed_by: "this log",
            }),
            None => Ok(Checkpoint {
                node: identity.node,
                segment: 0,
                next: 0,
                index: Index::default(),
            }),
        };
    }
    let octets = shared
        .disk
        .open(&path)
        .and_then(|file| read_all(&*file))
        .map_err(disk_error(&path))?;
    let base = checkpoint::decode(&octets).map_err(|refused| match refused {
        Refused::Damaged => corrupt(&path, 0, "the sum of the checkpoint does not match"),
        Refused::Version(found) => OpenError::Version {
            path: path.clone(),
            found,
            known: VERSION,
        },
    })?;
    if base.node != identity.node {
        return Err(corrupt(&path, 16, "it belongs to another node"));
    }
    Ok(base)
}

/// Everything that the checkpoint refers to is there.
fn verify(shared: &Shared, base: &Checkpoint, files: &Files) -> Result<(), OpenError> {
    let open = |path: &std::path::Path| shared.disk.open(path).map_err(disk_error(path));
    for (&segment, used) in &base.index.segments {
        for (kind, there) in [
            (Kind::Frames, files.segments.contains_key(&segment)),
            (Kind::Slots, files.slots.contains_key(&segment)),
        ] {
            let path = shared.path(kind, segment);
            if !there {
                let needed_by = "the checkpoint";
                return Err(OpenError::Missing { path, needed_by });
            }
            let file = open(&path)?;
            let size = file.size().map_err(disk_error(&path))?;
            let needed = match kind {
                Kind::Frames => {
                    let mut head = [0; SEGMENT_HEADER];
                    // A file shorter than that is told by its size.
                    if size >= SEGMENT_HEADER as u64 {
                        file.read_at(0, &mut head).map_err(disk_error(&path))?;
                        belongs(&path, &head, base.node, segment)?;
                    }
                    used.octets
                }
                Kind::Slots => {
                    let counted = slots::read_count(&*file, base.node, segment).map_err(disk_error(&path))?;
                    let what = "its head is not that of this segment";
                    slots::size(counted.map_err(|error| refused(&path, error, what))? as usize)
                }
            };
            if size < needed {
                return Err(corrupt(
                    &path,
                    size,
                    format!("it ends here, {needed} octets were written"),
                ));
            }
        }
    }
    Ok(())
}

/// A head that is none: of a newer version, or damaged.
fn refused(path: &std::path::Path, error: HeaderError, damage: &str) -> OpenError {
    match error {
        HeaderError::Version(found) => OpenError::Version {
            path: path.to_owned(),
            found,
            known: VERSION,
        },
        HeaderError::Damaged | HeaderError::Unused => corrupt(path, 0, damage),
    }
}

/// The head of a segment that must have one.
fn belongs(
    path: &std::path::Path,
    head: &[u8],
    node: [u8; 16],
    segment: u32,
) -> Result<SegmentHeader, OpenError> {
    let header = SegmentHeader::decode(head)
        .map_err(|error| refused(path, error, "the sum of its head does not match"))?;
    if header.node != node {
        return Err(corrupt(path, 16, "it belongs to another node"));
    }
    if header.segment != segment {
        let what = format!(
            "it is a copy of segment {:08x} under another name",
            header.segment
        );
        return Err(corrupt(path, 32, what));
    }
    Ok(header)
}

impl Walk {
    /// Reads one segment and applies its frames, until one is not whole. Gives the size of its file.
    fn read(&mut self, shared: &Shared, segment: u32, path: &std::path::Path) -> Result<u64, OpenError> {
        let file = shared
            .disk
            .open(path)
            .and_then(|file| read_all(&*file))
            .map_err(disk_error(path))?;
        let end = match SegmentHeader::decode(&file) {
            Err(HeaderError::Unused | HeaderError::Damaged) => 0,
            _ => {
                let header = belongs(path, &file, shared.node, segment)?;
                if header.first > self.next {
                    return Err(self.lost(path, header.first));
                }
                if header.first < self.next {
                    let what = format!("it begins with batch {}, which another segment has", header.first);
                    return Err(corrupt(path, 40, what));
                }
                // Where the one before ended was where the log ended then.
                self.end = None;
                self.frames(&file, segment, path)?
            }
        };
        self.segment = segment;
        let behind = evidence(&file, end, segment, self.next, path)?;
        let batches = behind + self.end.as_ref().map_or(0, |end| end.batches);
        self.end = match self.end.take() {
            Some(before) => Some(End { batches, ..before }),
            None => Some(End {
                path: path.to_owned(),
                offset: end as u64,
                batches,
            }),
        };
        Ok(file.len() as u64)
    }

    /// Applies frames and returns where they end.
    fn frames(&mut self, file: &[u8], segment: u32, path: &std::path::Path) -> Result<usize, OpenError> {
        let mut at = SEGMENT_HEADER;
        loop {
            let found = frame(file, at, segment).map_err(|what| corrupt(path, at as u64, what))?;
            let Some((header, said)) = found.filter(|(header, _)| header.sequence == self.next) else {
                return Ok(at);
            };
            let content = at + FRAME_HEADER + said.len();
            // It has been taken apart once.
            (self.index.apply(said, content as u32))
                .ok_or_else(|| corrupt(path, at as u64, CONTRADICTION))?;
            at += header.octets() as usize;
            self.next += 1;
            self.replayed += 1;
            self.octets += header.octets();
            self.index.written(at as u64);
        }
    }

    /// Whether as much is there as was synced.
    fn keeps(&self, promised: Promised, shared: &Shared, files: &Files) -> Result<(), OpenError> {
        if self.next >= promised.batches {
            return Ok(());
        }
        let path = shared.path(Kind::Frames, promised.segment);
        if !files.segments.contains_key(&promised.segment) {
            let needed_by = "the file \"node\" beside it";
            return Err(OpenError::Missing { path, needed_by });
        }
        let end = self.end.as_ref().filter(|end| end.path == path);
        let what = format!(
            "batch {} is not whole, and all below {} were synced",
            self.next, promised.batches
        );
        Err(corrupt(&path, end.map_or(0, |end| end.offset), what))
    }

    /// A segment goes on behind what was found.
    fn lost(&self, path: &std::path::Path, first: u64) -> OpenError {
        match &self.end {
            Some(end) => corrupt(
                &end.path,
                end.offset,
                format!(
                    "batch {} is not whole, and batches from {first} on were written after it had been synced",
                    self.next
                ),
            ),
            None => corrupt(
                path,
                40,
                format!(
                    "it begins with batch {first}, and the segment with batch {} is missing",
                    self.next
                ),
            ),
        }
    }
}

/// A whole frame: its head and descriptors. `None` if it is not whole; an error if it is and makes no sense.
fn frame(file: &[u8], at: usize, segment: u32) -> Result<Option<(FrameHeader, &[u8])>, &'static str> {
    let Some((header, said, content)) = parts(file, at, segment) else {
        return Ok(None);
    };
    let (mut rest, mut count, mut whole) = (content, 0, true);
    for descriptor in descriptors(said) {
        let descriptor = descriptor
            .ok_or("a batch has something that this program does not know; use the one that wrote it")?;
        if let Descriptor::Message { block, .. } | Descriptor::Moved { block, .. } = descriptor {
            let (message, behind) = rest.split_at_checked(block as usize).ok_or(CONTRADICTION)?;
            whole &= read_block(message).is_some();
            rest = behind;
        }
        count += 1;
    }
    if !rest.is_empty() || count != header.count {
        return Err(CONTRADICTION);
    }
    Ok(whole.then_some((header, said)))
}

const CONTRADICTION: &str = "a batch contradicts itself, although its sums are right";

/// Head, descriptors and content of a frame, if the first two are whole.
fn parts(file: &[u8], at: usize, segment: u32) -> Option<(FrameHeader, &[u8], &[u8])> {
    let header = FrameHeader::decode(file.get(at..)?).filter(|header| header.segment == segment)?;
    let start = at + FRAME_HEADER;
    let content = start.checked_add(header.descriptors as usize)?;
    let said = file.get(start..content)?;
    let blocks = file.get(content..)?.get(..header.content as usize)?;
    (crc32c::crc32c(said) == header.descriptors_crc).then_some((header, said, blocks))
}

/// Looks behind the end of a segment for frames of it. Those that were written with the missing one, or before it was synced, are
/// counted; one that knows the missing frame to be safe proves damage.
fn evidence(
    file: &[u8],
    end: usize,
    segment: u32,
    missing: u64,
    path: &std::path::Path,
) -> Result<u64, OpenError> {
    let mut torn = 0;
    let behind = file.get(end..).unwrap_or_default();
    for at in memmem::find_iter(behind, &FRAME_MAGIC) {
        let header = behind.get(at..).and_then(FrameHeader::decode);
        let Some(header) = header.filter(|header| header.segment == segment && header.sequence >= missing)
        else {
            continue;
        };
        if header.safe > missing {
            let (there, sequence) = (end + at, header.sequence);
            let what = format!(
                "batch {missing} is not whole, and batch {sequence} at octet {there} was written after it had been synced"
            );
            return Err(corrupt(path, end as u64, what));
        }
        torn += 1;
    }
    Ok(torn)
}

/// Spares of the right size stay, others go.
fn keep_spares(shared: &Shared, files: &mut Files) -> Result<(), OpenError> {
    for (number, path) in std::mem::take(&mut files.spares) {
        let file = shared.disk.open(&path).map_err(disk_error(&path))?;
        let octets = file.size().map_err(disk_error(&path))?;
        let mut head = [0; SEGMENT_HEADER];
        let clear = octets == shared.options.segment_octets
            && file.read_at(0, &mut head).is_ok()
            && head == [0; SEGMENT_HEADER];
        let mut space = shared.space.lock();
        if clear && space.spares.len() < shared.options.spares {
            space.numbered = space.numbered.max(number);
            space.spares.push(Spare { path, file, octets });
        } else {
            drop(space);
            remove(shared, &path)?;
        }
    }
    Ok(())
}

type Sealed = (u32, Arc<[crate::index::Slot]>);

/// Makes what was found the new checkpoint.
fn save(shared: &Shared, walk: &Walk, sealed: &[Sealed]) -> Result<(), (PathBuf, io::Error)> {
    if shared.options.durability == Durability::Volatile {
        return Ok(());
    }
    let (disk, directory) = (&*shared.disk, &shared.directory);
    for (segment, slots) in sealed {
        let path = shared.path(Kind::Slots, *segment);
        slots::write(disk, &path, shared.node, *segment, slots, true).map_err(|error| (path, error))?;
    }
    let octets = checkpoint::encode(&walk.index.picture(), shared.node, walk.segment, walk.next);
    let named = disk.sync_directory(directory);
    (named.and_then(|()| replace(disk, directory, checkpoint::NAME, &[&octets])))
        .map_err(|error| (directory.join(checkpoint::NAME), error))
}

/// Removes segments and slots that the new checkpoint does not refer to.
fn remove_unused(shared: &Shared, index: &Index, files: &Files) -> Result<(), OpenError> {
    for (segment, path) in files.segments.iter().chain(&files.slots) {
        if !index.segments.contains_key(segment) {
            remove(shared, path)?;
        }
    }
    Ok(())
}

/// Every stream with the octets of its messages, which only the slots know.
fn states(shared: &Shared, index: &Index) -> Result<Vec<StreamState>, OpenError> {
    let mut octets: BTreeMap<StreamId, u64> = BTreeMap::new();
    let mut spans: Vec<_> = (index.streams.iter())
        .flat_map(|(id, stream)| {
            stream
                .spans
                .iter()
                .map(move |span| (span.segment, span.at, span.count, id))
        })
        .collect();
    spans.sort_unstable();
    for same in spans.chunk_by(|one, other| one.0 == other.0) {
        let Some(&(segment, ..)) = same.first() else {
            continue;
        };
        let path = shared.path(Kind::Slots, segment);
        let file = shared.disk.open(&path).map_err(disk_error(&path))?;
        let count = slots::read_count(&*file, shared.node, segment).map_err(disk_error(&path))?;
        let what = "its head is not that of this segment";
        let count = count.map_err(|error| refused(&path, error, what))?;
        shared.options.recovery.add(slots::size(count as usize));
        let slots = slots::read(&*file, segment, 0, count).map_err(|why| match why {
            Ok(offset) => corrupt(&path, offset, "the sum of a page does not match"),
            Err(error) => disk_error(&path)(error),
        })?;
        for &(_, at, count, id) in same {
            let part = slots
                .get(at as usize..)
                .and_then(|slots| slots.get(..count as usize));
            let part = part.ok_or_else(|| corrupt(&path, 0, "the checkpoint refers to more than it has"))?;
            *octets.entry(id).or_default() += part.iter().map(|slot| u64::from(slot.body)).sum::<u64>();
        }
    }
    let mut states: Vec<_> = (index.streams.iter())
        .map(|(id, stream)| StreamState {
            stream: id,
            messages: stream.live,
            octets: octets.get(&id).copied().unwrap_or(0),
            first: Index::first(stream),
            next: stream.next,
        })
        .collect();
    states.sort_unstable_by_key(|state| state.stream);
    Ok(states)
}
