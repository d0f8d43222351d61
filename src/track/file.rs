//! A check by a number in a file: 0 is success; weighted uses multiply it.
//!
//! The directory is watched, so that a file replaced by renaming is seen at once; besides, the file is read again every
//! interval, which covers symbolic links, network file systems and directories that come later.
//!
//! A missing file counts as 0, as keepalived has it: removing the file ends the maintenance it announced. What is no
//! number changes nothing: the number before it stays (0 at first), and the detail says so. That includes the moment in which
//! `echo 1 > file` has emptied the file and not yet written it.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::inotify::{CreateFlags, WatchFlags, add_watch, init};
use tokio::net::unix::pipe;
use tokio::time::{sleep, timeout};

use super::{Attempt, Recorder};

/// A number has no more digits than this, with room for comments nobody should write.
const FILE_BYTES_MAX: u64 = 64;
/// A busy directory makes us read the file at most this often.
const PAUSE: Duration = Duration::from_millis(10);

pub(crate) async fn check(path: PathBuf, interval: Duration, mut recorder: Recorder) {
    let mut watch = None;
    let mut known = 0;
    loop {
        // Watching comes before reading, so that no change falls between the two.
        if watch.is_none() {
            watch = Watch::new(&path).ok();
        }
        let (attempt, value) = read(&path, known);
        known = value;
        recorder.record(attempt).await;
        match &watch {
            // Ended means that the directory itself is gone.
            Some(watching) => {
                if let Ok(false) = timeout(interval, watching.changed()).await {
                    watch = None;
                }
                sleep(PAUSE).await;
            }
            None => sleep(interval).await,
        }
    }
}

fn read(path: &Path, known: i32) -> (Attempt, i32) {
    let (value, detail) = match contents(path) {
        Ok(text) => match text.trim().parse::<i32>() {
            Ok(value) => (value, format!("{value}")),
            Err(_) => (known, format!("{:?} is not a number; {known} stays", text.trim())),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            (0, "no such file, which counts as 0".to_owned())
        }
        Err(error) => (known, format!("{error}; {known} stays")),
    };
    (
        Attempt {
            number: Some(value),
            ..Attempt::new(value == 0, detail)
        },
        value,
    )
}

fn contents(path: &Path) -> io::Result<String> {
    // A pipe put there must not stop the control thread: opening is non-blocking, reading stops at what is there.
    let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::CLOEXEC;
    let file = std::fs::File::from(rustix::fs::open(path, flags, rustix::fs::Mode::empty())?);
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Tells that something in a file's directory has changed.
struct Watch(pipe::Receiver);

impl Watch {
    fn new(path: &Path) -> io::Result<Self> {
        let directory = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let inotify = init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
        let events = WatchFlags::CLOSE_WRITE
            | WatchFlags::CREATE
            | WatchFlags::DELETE
            | WatchFlags::MOVED_FROM
            | WatchFlags::MOVED_TO
            | WatchFlags::DELETE_SELF
            | WatchFlags::MOVE_SELF;
        add_watch(&inotify, directory, events)?;
        // Read like a pipe; which file it was does not matter, reading ours again costs less than asking.
        Ok(Self(pipe::Receiver::from_owned_fd_unchecked(inotify)?))
    }

    /// Waits for a change; `false` if there will be no more.
    async fn changed(&self) -> bool {
        let mut events = [0; 4096];
        loop {
            if self.0.readable().await.is_err() {
                return false;
            }
            match self.0.try_read(&mut events) {
                Ok(0) => return false,
                Ok(count) => return !gone(&events[..count]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return false,
            }
        }
    }
}

/// Whether the watched directory itself is what went: the kernel says so by an event without a name, IN_IGNORED,
/// or by one of the two we asked for.
fn gone(events: &[u8]) -> bool {
    const HEADER: usize = 16;
    let gone = WatchFlags::DELETE_SELF.bits() | WatchFlags::MOVE_SELF.bits() | 0x8000;
    let mut rest = events;
    while let Some((header, after)) = rest.split_at_checked(HEADER) {
        let word = |at: usize| {
            header
                .get(at..at + 4)
                .and_then(|bytes| bytes.try_into().ok())
                .map(u32::from_ne_bytes)
        };
        if word(4).is_some_and(|mask| mask & gone != 0) {
            return true;
        }
        let name = word(12)
            .and_then(|length| usize::try_from(length).ok())
            .unwrap_or(usize::MAX);
        let Some(next) = after.get(name..) else {
            return false;
        };
        rest = next;
    }
    false
}
