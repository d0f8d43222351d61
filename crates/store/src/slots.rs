//! Slot files: the places of the live messages of a sealed segment, so that memory need not have them.
//!
//! ```text
//! file = magic 8 │ version u32 │ segment u32 │ node 16 │ count u32 │ crc u32 of the head │ page, page, …
//! page = 170 slots of position u64 │ offset u32 │ length u32 │ body u32 │ tag u32, then crc u32 and 12 octets of zeros
//! ```
//!
//! A page is 4096 octets, summed together with its number, so that one can be read without the others.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};

use crate::disk::{Disk, DiskFile};
use crate::format::{HeaderError, VERSION, u32_at, u64_at};
use crate::index::Slot;

const MAGIC: [u8; 8] = *b"WarrnSlt";
const HEADER: usize = 40;
const PAGE: usize = 4096;
const SLOT: usize = 24;
const IN_PAGE: usize = 170;

pub(crate) fn path(directory: &Path, segment: u32) -> PathBuf {
    directory.join(format!("{segment:08x}.slots"))
}

/// Size of a slot file.
pub(crate) fn size(count: usize) -> u64 {
    (HEADER + count.div_ceil(IN_PAGE) * PAGE) as u64
}

/// Writes a slot file, and syncs it if that is `synced`, but not its name.
pub(crate) fn write(
    disk: &dyn Disk,
    path: &Path,
    node: [u8; 16],
    segment: u32,
    slots: &[Slot],
    synced: bool,
) -> io::Result<()> {
    let mut octets = Vec::with_capacity(size(slots.len()) as usize);
    octets.extend_from_slice(&MAGIC);
    octets.extend_from_slice(&VERSION.to_le_bytes());
    octets.extend_from_slice(&segment.to_le_bytes());
    octets.extend_from_slice(&node);
    octets.extend_from_slice(&(slots.len() as u32).to_le_bytes());
    octets.extend_from_slice(&crc32c::crc32c(&octets).to_le_bytes());
    for (number, page) in slots.chunks(IN_PAGE).enumerate() {
        let start = octets.len();
        for slot in page {
            octets.extend_from_slice(&slot.position.to_le_bytes());
            for part in [slot.offset, slot.length, slot.body, slot.tag] {
                octets.extend_from_slice(&part.to_le_bytes());
            }
        }
        octets.resize(start + IN_PAGE * SLOT, 0);
        let crc = page_crc(segment, number, &octets[start..]);
        octets.extend_from_slice(&crc.to_le_bytes());
        octets.resize(start + PAGE, 0);
    }
    let file = disk.create(path, octets.len() as u64)?;
    file.write_at(0, &mut [IoSlice::new(&octets)])?;
    if synced { file.sync() } else { Ok(()) }
}

fn page_crc(segment: u32, number: usize, slots: &[u8]) -> u32 {
    let seed = crc32c::crc32c(&(u64::from(segment) << 32 | number as u64).to_le_bytes());
    crc32c::crc32c_append(seed, slots)
}

/// The head of a slot file: how many slots it has, if it belongs there.
pub(crate) fn count(head: &[u8; HEADER], node: [u8; 16], segment: u32) -> Result<u32, HeaderError> {
    let number = |at| u32_at(head, at).ok_or(HeaderError::Damaged);
    if head[..8] != MAGIC || number(36)? != crc32c::crc32c(&head[..36]) {
        return Err(HeaderError::Damaged);
    }
    match number(8)? {
        version if version > VERSION => Err(HeaderError::Version(version)),
        _ if number(12)? == segment && head[16..32] == node => number(32),
        _ => Err(HeaderError::Damaged),
    }
}

/// Reads the head.
pub(crate) fn read_count(
    file: &dyn DiskFile,
    node: [u8; 16],
    segment: u32,
) -> io::Result<Result<u32, HeaderError>> {
    let mut head = [0; HEADER];
    file.read_at(0, &mut head)?;
    Ok(count(&head, node, segment))
}

/// Reads `count` slots from the slot `at` on. `Err(Ok(offset))` is where a page is damaged.
pub(crate) fn read(
    file: &dyn DiskFile,
    segment: u32,
    at: u32,
    count: u32,
) -> Result<Vec<Slot>, Result<u64, io::Error>> {
    let (at, count) = (at as usize, count as usize);
    let first = at / IN_PAGE;
    let pages = (at + count).div_ceil(IN_PAGE) - first;
    let start = (HEADER + first * PAGE) as u64;
    let mut octets = vec![0; pages * PAGE];
    file.read_at(start, &mut octets).map_err(Err)?;
    let mut slots = Vec::with_capacity(pages * IN_PAGE);
    for (number, page) in octets.chunks_exact(PAGE).enumerate() {
        let (content, end) = page.split_at(IN_PAGE * SLOT);
        if u32_at(end, 0) != Some(page_crc(segment, first + number, content)) {
            return Err(Ok(start + (number * PAGE) as u64));
        }
        slots.extend(content.chunks_exact(SLOT).filter_map(slot));
    }
    slots.drain(..at - first * IN_PAGE);
    slots.truncate(count);
    Ok(slots)
}

fn slot(octets: &[u8]) -> Option<Slot> {
    Some(Slot {
        position: u64_at(octets, 0)?,
        offset: u32_at(octets, 8)?,
        length: u32_at(octets, 12)?,
        body: u32_at(octets, 16)?,
        tag: u32_at(octets, 20)?,
    })
}
