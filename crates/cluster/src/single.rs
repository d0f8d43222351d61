//! A node that is alone: all queues are its own, whatever it wants is agreed, and what has to outlive it is in its log.

mod log;
mod metadata;
mod nowhere;
mod returns;
mod spill;
mod stored;

use std::path::Path;
use std::sync::Arc;

use thiserror::Error;
use warren_model::queue::Run;
use warren_model::{Position, QueueId};
use warren_store::{
    AppendError, Disk, Durability, Log, OpenError, Options, ReadError, RealDisk, RecoveryProgress, StreamId,
    StreamState,
};

use crate::member::{Member, Recovered, RecoveredQueue};
use crate::{MetadataView, NotWritten, Session};
use log::{SingleLog, Waiting};
use metadata::{Journal, SingleMetadata};
use nowhere::Nowhere;
use returns::{Left, Returns};
use spill::Spill;

/// Why a node does not start.
#[derive(Debug, Error)]
pub enum StorageError {
    /// The log does not open.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A part of the metadata cannot be read.
    #[error(
        "{0}; it is metadata, without which nothing can be served: put back a copy of the whole data directory"
    )]
    Read(#[from] ReadError),
    /// What was read is no metadata of this version.
    #[error(
        "the metadata at position {position} cannot be understood: {why}; use the version of the program that wrote it, or a newer one"
    )]
    Metadata {
        /// Where in stream 0.
        position: u64,
        /// What is wrong.
        why: String,
    },
    /// Something cannot be written.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// The same, said of messages.
    #[error(transparent)]
    NotWritten(#[from] NotWritten),
}

impl Member {
    /// A node with all that is in its data directory.
    ///
    /// # Errors
    /// The directory is in use, damaged, or of another version.
    pub fn alone(directory: &Path) -> Result<Self, StorageError> {
        Self::alone_telling(directory, Durability::Disk, &Arc::default())
    }

    /// The same; what is kept is safe when `durability` says so. Until this returns, `recovery` says how far it is.
    ///
    /// # Errors
    /// The directory is in use, damaged, or of another version.
    pub fn alone_telling(
        directory: &Path,
        durability: Durability,
        recovery: &Arc<RecoveryProgress>,
    ) -> Result<Self, StorageError> {
        let options = Options {
            durability,
            recovery: Arc::clone(recovery),
            ..Options::default()
        };
        Self::alone_on(Arc::new(RealDisk), directory, options)
    }

    /// The same on any disk.
    ///
    /// # Errors
    /// The directory is in use, damaged, or of another version.
    pub fn alone_on(disk: Arc<dyn Disk>, directory: &Path, options: Options) -> Result<Self, StorageError> {
        let spill = Spill::new(directory, &disk, &options)?;
        let segment_octets = options.segment_octets;
        let (waiting, session) = (Arc::<Waiting>::default(), Session::default());
        let (told, ended) = (Arc::clone(&waiting), session.clone());
        let (log, recovered) = Log::open(directory, disk, options, move |progress| {
            told.hear(progress, &ended);
        })?;
        let log = Arc::new(log);
        let of = |stream| recovered.streams.iter().find(move |it| it.stream == stream);
        let next = |stream| of(stream).map_or(1, |it| it.next);
        let queues = || {
            let own = [StreamId::METADATA, returns::STREAM];
            recovered
                .streams
                .iter()
                .filter(move |it| !own.contains(&it.stream))
        };
        let last_queue = queues().map(|it| it.stream.0).max().unwrap_or_default();
        let journal = Journal::new(Arc::clone(&log), next(StreamId::METADATA), last_queue);
        let returns = Returns::default();
        let mut left = returns.read(&log, next(returns::STREAM))?;
        let queues = queues().map(|it| found(it, &mut left)).collect();
        let view = Arc::<MetadataView>::default();
        Ok(Self {
            metadata: Box::new(SingleMetadata::new(Arc::clone(&view), Some(journal))),
            view,
            log: Arc::new(SingleLog {
                log,
                waiting,
                segment_octets,
                returns,
                had_returns: !left.is_empty(),
                spill,
            }),
            session,
            recovered: Recovered {
                incarnation: recovered.incarnation,
                queues,
            },
        })
    }

    /// A node in memory only: what it knows and has is gone when it ends. No other has had this `incarnation`.
    #[must_use]
    pub fn in_memory(incarnation: u64) -> Self {
        let view = Arc::<MetadataView>::default();
        Self {
            metadata: Box::new(SingleMetadata::new(Arc::clone(&view), None)),
            view,
            log: Arc::new(Nowhere),
            session: Session::default(),
            recovered: Recovered {
                incarnation,
                queues: Vec::new(),
            },
        }
    }
}

fn found(state: &StreamState, left: &mut Left) -> RecoveredQueue {
    let (id, next) = (QueueId(state.stream.0), Position(state.next));
    let first = state.first.filter(|_| state.messages > 0).map(Position);
    RecoveredQueue {
        id,
        run: first.map(|first| Run {
            first,
            last: Position(state.next - 1),
            count: state.messages,
            octets: state.octets,
        }),
        next,
        past: left.of(id, first.unwrap_or(next), next),
    }
}
