//! The disk as the log sees it. Production is [`RealDisk`]; tests take [`SimulatedDisk`], which loses what was not synced.
//!
//! Calls block. Every path is inside the one data directory of the log. Deliberately absent: anything that appends or truncates;
//! a file has its size from the start, because fdatasync of a file that grows costs about three times as much.

use std::any::Any;
use std::io;
use std::path::Path;
use std::sync::Arc;

mod real;
mod simulated;

pub use real::RealDisk;
pub use simulated::{SimulatedDisk, Weather};

/// A directory tree and its files.
pub trait Disk: Send + Sync + 'static {
    /// A new file of `size` octets that read as zero, with the room for them already taken: writing inside it cannot fail for lack of
    /// space. An existing file of that name is replaced.
    fn create(&self, path: &Path, size: u64) -> io::Result<Arc<dyn DiskFile>>;
    /// An existing file, for reading and writing.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;
    /// Atomic; replaces what has the new name. Durable after [`Disk::sync_directory`].
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    fn remove(&self, path: &Path) -> io::Result<()>;
    fn create_directory(&self, path: &Path) -> io::Result<()>;
    /// Makes creations, renames and removals in the directory durable.
    fn sync_directory(&self, path: &Path) -> io::Result<()>;
    /// Names of the files in a directory.
    fn list(&self, directory: &Path) -> io::Result<Vec<String>>;
    /// Octets that this user can still write to the file system of `path`.
    fn free(&self, path: &Path) -> io::Result<u64>;
    /// Locks a file, creating it, until the guard is dropped or the process ends, and writes the holder's name into it. `Err(Ok(holder))`
    /// is what the one who has it wrote.
    fn lock(
        &self,
        path: &Path,
        holder: &str,
    ) -> Result<Box<dyn Any + Send + Sync>, Result<String, io::Error>>;
    /// Numbers of a file that another one under the same name does not have. A disk on which nobody else works need not know any.
    fn which(&self, _: &Path) -> io::Result<(u64, u64)> {
        Ok((0, 0))
    }
    /// Sixteen random octets.
    fn random(&self) -> io::Result<[u8; 16]>;
}

/// An open file. Reads and writes name their offset, so that threads can share it.
pub trait DiskFile: Send + Sync {
    /// Writes all of it. Not durable before [`DiskFile::sync`] has returned.
    fn write_at(&self, offset: u64, slices: &mut [io::IoSlice<'_>]) -> io::Result<()>;
    /// Reads until the buffer is full; an end of file before that is an error of kind `UnexpectedEof`.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()>;
    /// fdatasync.
    fn sync(&self) -> io::Result<()>;
    fn size(&self) -> io::Result<u64>;
}

/// There is no room: of octets, of files, or of what this user may have.
pub(crate) fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded)
}

/// Octets of a whole file.
pub(crate) fn read_all(file: &dyn DiskFile) -> io::Result<Vec<u8>> {
    let mut octets = vec![0; usize::try_from(file.size()?).map_err(io::Error::other)?];
    file.read_at(0, &mut octets)?;
    Ok(octets)
}

/// Replaces a file as a whole: whoever opens it finds the old octets or the new ones, also after a power cut.
pub(crate) fn replace(disk: &dyn Disk, directory: &Path, name: &str, parts: &[&[u8]]) -> io::Result<()> {
    let (new, path) = (directory.join(format!("{name}.new")), directory.join(name));
    let size = parts.iter().map(|part| part.len() as u64).sum();
    let file = disk.create(&new, size)?;
    file.write_at(
        0,
        &mut parts
            .iter()
            .map(|part| io::IoSlice::new(part))
            .collect::<Vec<_>>(),
    )?;
    file.sync()?;
    disk.rename(&new, &path)?;
    disk.sync_directory(directory)
}
