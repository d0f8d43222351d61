//! What can go wrong with a log, told apart by what has to be done about it: at start ([`OpenError`]), when appending
//! ([`AppendError`]), when reading ([`ReadError`]), and the one that ends the process ([`Fatal`]).

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use rustix::io::Errno;
use thiserror::Error;

/// A log that cannot be opened. Nothing was changed on disk, except that an interrupted start may have left empty files.
#[derive(Debug, Error)]
pub enum OpenError {
    #[error(
        "{path} is in use by {holder}: end that process first, or give this one a data directory of its own"
    )]
    Locked { path: PathBuf, holder: String },
    #[error("{path}: {source}; {}", advice(source))]
    Disk { path: PathBuf, source: io::Error },
    #[error(
        "{path} is damaged at octet {offset}: {what}; put back a copy of the whole data directory, or move this one away to start empty"
    )]
    Corrupt {
        path: PathBuf,
        offset: u64,
        what: String,
    },
    #[error(
        "{path} is missing, although {needed_by} refers to it; put back a copy of the whole data directory"
    )]
    Missing { path: PathBuf, needed_by: &'static str },
    #[error(
        "{path} has format version {found}, this program reads up to {known}; use the program that wrote it, or a newer one"
    )]
    Version { path: PathBuf, found: u32, known: u32 },
}

/// What has to be done about an error of the system at a start.
fn advice(source: &io::Error) -> &'static str {
    use io::ErrorKind::{
        FileTooLarge, PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull, WouldBlock,
    };
    match (source.kind(), source.raw_os_error().map(Errno::from_raw_os_error)) {
        (StorageFull | QuotaExceeded, _) => "make room there: see df, df -i, and the user's quota",
        (ReadOnlyFilesystem, _) => "find out in dmesg why it cannot be written to, and mount it again",
        (PermissionDenied, _) => {
            "the data directory and all that is in it must belong to this user: chown -R it"
        }
        (FileTooLarge, _) => "raise LimitFSIZE, or ulimit -f",
        (WouldBlock, _) => "no more threads can be started: raise TasksMax, or ulimit -u",
        (_, Some(Errno::MFILE | Errno::NFILE)) => "raise LimitNOFILE, or ulimit -n",
        _ => {
            "see dmesg: the data directory must be on a disk that works, and hold nothing but what the broker put there"
        }
    }
}

/// A batch that was not taken. The log goes on.
#[derive(Debug, Error)]
pub enum AppendError {
    /// The disk is full. What only settles, removes or is marked as essential is still taken.
    #[error("the disk has no room for messages; free some, or consume messages")]
    Full,
    /// So much waits for the disk already ([`crate::Options::backlog_octets`]); only from `try_append`.
    #[error("the disk is behind by {waiting} octets; try again when some of them are written")]
    Busy { waiting: usize },
    #[error(
        "{octets} octets in one batch are more than the {limit} that fit into a segment; send smaller messages"
    )]
    TooLarge { octets: u64, limit: u64 },
    #[error(transparent)]
    Fatal(#[from] Fatal),
}

/// The log cannot go on, and what was appended but not reported durable may or may not be on disk. The process has to end and start
/// again: after a failed fdatasync the kernel may have dropped what it could not write, so that trying again would succeed and lie.
#[derive(Debug, Clone, Error)]
#[error("{what} {path}: {source}; the process has to end, and recovers what is on disk when it starts again")]
pub struct Fatal {
    pub what: &'static str,
    pub path: PathBuf,
    pub source: Arc<io::Error>,
}

/// A message that cannot be read. Others can.
#[derive(Debug, Error)]
pub enum ReadError {
    #[error("{path}: {source}")]
    Disk { path: PathBuf, source: io::Error },
    #[error(
        "{path} is damaged at octet {offset}: {what}; position {position} of stream {stream} cannot be read"
    )]
    Corrupt {
        path: PathBuf,
        offset: u64,
        stream: u64,
        position: u64,
        what: String,
    },
}
