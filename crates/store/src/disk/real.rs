//! The disk of the machine.

use std::any::Any;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, IoSlice, Read, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{FallocateFlags, FlockOperation, fallocate, flock, statvfs};
use rustix::io::{Errno, pwritev};
use rustix::rand::{GetRandomFlags, getrandom};

use super::{Disk, DiskFile};

/// As many slices as one call may carry (IOV_MAX on Linux).
const SLICES_MAX: usize = 1024;

/// The machine's file systems. Files can be read by their owner only, as they hold messages.
#[derive(Debug, Default, Clone, Copy)]
pub struct RealDisk;

impl Disk for RealDisk {
    fn create(&self, path: &Path, size: u64) -> io::Result<Arc<dyn DiskFile>> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(path)?;
        if size > 0 {
            let allocated = match fallocate(&file, FallocateFlags::empty(), 0, size) {
                // A file system without preallocation: then lack of space shows when writing, and is fatal there.
                Err(Errno::OPNOTSUPP | Errno::NOSYS) => file.set_len(size),
                other => other.map_err(io::Error::from),
            };
            if let Err(error) = allocated {
                // Whatever part of it was taken is given back.
                fs::remove_file(path)?;
                return Err(error);
            }
        }
        Ok(Arc::new(file))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        Ok(Arc::new(file))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn create_directory(&self, path: &Path) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(path)
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                names.extend(entry.file_name().into_string());
            }
        }
        Ok(names)
    }

    fn free(&self, path: &Path) -> io::Result<u64> {
        let space = statvfs(path)?;
        Ok(space.f_bavail * space.f_frsize)
    }

    fn lock(
        &self,
        path: &Path,
        holder: &str,
    ) -> Result<Box<dyn Any + Send + Sync>, Result<String, io::Error>> {
        let mut options = OpenOptions::new();
        let mut file = (options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600))
        .open(path)
        .map_err(Err)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                let mut holder = String::new();
                file.read_to_string(&mut holder).map_err(Err)?;
                return Err(Ok(holder.trim().to_owned()));
            }
            Err(error) => return Err(Err(error.into())),
        }
        // In this order: a full disk would keep the room that is given back first.
        let written = file.write_all(holder.as_bytes());
        written
            .and_then(|()| file.set_len(holder.len() as u64))
            .map_err(Err)?;
        Ok(Box::new(file))
    }

    fn which(&self, path: &Path) -> io::Result<(u64, u64)> {
        let file = fs::metadata(path)?;
        Ok((file.dev(), file.ino()))
    }

    fn random(&self) -> io::Result<[u8; 16]> {
        let mut octets = [0; 16];
        // Up to 256 octets come whole or not at all.
        getrandom(&mut octets, GetRandomFlags::empty())?;
        Ok(octets)
    }
}

impl DiskFile for File {
    fn write_at(&self, mut offset: u64, mut slices: &mut [IoSlice<'_>]) -> io::Result<()> {
        // Nothing to write must not look like a disk that takes nothing.
        IoSlice::advance_slices(&mut slices, 0);
        while !slices.is_empty() {
            let some = &slices[..slices.len().min(SLICES_MAX)];
            match pwritev(self, some, offset) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    offset += written as u64;
                    IoSlice::advance_slices(&mut slices, written);
                }
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.read_exact_at(buffer, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }
}
