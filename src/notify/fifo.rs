//! A named pipe that gets a line for every change: `INSTANCE "VI_1" MASTER 100`.
//!
//! It is opened for reading and writing, so that the kernel keeps 64 KiB of lines while no reader is there and a reader
//! that goes away breaks nothing. Writing never blocks; what fits neither the pipe nor our backlog is counted as lost.
//! The pipe is made (mode 0600, for the user of its programs) where it is missing; a pipe that somebody removes or replaces
//! is opened again at the next line.
//!
//! A reader program gets the pipe's path as its last argument and is started again when it ends.

use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use nix::sys::stat::Mode;
use nix::unistd::{Gid, Uid, chown, mkfifo};
use tokio::net::unix::pipe;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout_at};

use super::NotifyCounters;
use crate::config::plan::{NotifyPlan, UserPlan};
use crate::program::{Program, ProgramPolicy};

/// Lines that wait while the pipe is full.
const BACKLOG_LINES_MAX: usize = 1024;
/// Between the ends and starts of a reader that does not stay.
const RESTART_MIN: Duration = Duration::from_secs(1);
const RESTART_MAX: Duration = Duration::from_secs(60);

/// What a pipe is opened with; equal ones survive a reload.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Setup {
    path: PathBuf,
    reader: Option<Vec<String>>,
    user: Option<UserPlan>,
    policy: ProgramPolicy,
}

impl Setup {
    pub(crate) fn new(path: &Path, notify: &NotifyPlan, policy: &ProgramPolicy) -> Self {
        Self {
            path: path.to_owned(),
            reader: notify.fifo_reader.clone(),
            user: notify.user.clone(),
            policy: policy.clone(),
        }
    }

    /// Makes the pipe where it is missing.
    fn create(&self) -> io::Result<()> {
        if let Ok(metadata) = std::fs::symlink_metadata(&self.path) {
            return match metadata.file_type().is_fifo() {
                true => Ok(()),
                false => Err(io::Error::other("not a pipe: remove it, or name another path")),
            };
        }
        mkfifo(&self.path, Mode::S_IRUSR | Mode::S_IWUSR)?;
        if let Some(user) = self.user.as_ref().or(self.policy.default_user.as_ref()) {
            let owner = warren_kit::accounts::identity(&user.user, user.group.as_deref());
            let owner = owner.map_err(io::Error::other)?;
            chown(
                &self.path,
                Some(Uid::from_raw(owner.uid)),
                Some(Gid::from_raw(owner.gid)),
            )?;
        }
        Ok(())
    }
}

/// A pipe with its writer and reader.
pub(crate) struct Fifo {
    setup: Setup,
    lines: mpsc::Sender<String>,
    counters: Arc<NotifyCounters>,
    /// Gone when there will be no more lines.
    open: Option<watch::Sender<()>>,
    writer: JoinHandle<()>,
    reader: Option<JoinHandle<()>>,
}

impl Fifo {
    pub(crate) fn start(setup: Setup, counters: Arc<NotifyCounters>) -> Self {
        let (lines, backlog) = mpsc::channel(BACKLOG_LINES_MAX);
        // Made now, so that a reader finds it.
        let mut writer = Writer {
            setup: setup.clone(),
            pipe: None,
            counters: Arc::clone(&counters),
        };
        writer.reopen();
        let (open, closing) = watch::channel(());
        let reader = setup.reader.as_ref().map(|words| {
            let mut words = words.clone();
            words.push(setup.path.to_string_lossy().into_owned());
            let program = Program::prepare(&words, setup.user.as_ref(), &setup.policy);
            let program = program.map_err(|error| error.to_string());
            tokio::spawn(read(words.join(" "), program, closing))
        });
        let writer = tokio::spawn(writer.run(backlog));
        Self {
            setup,
            lines,
            counters,
            open: Some(open),
            writer,
            reader,
        }
    }

    pub(crate) fn setup(&self) -> &Setup {
        &self.setup
    }

    pub(crate) fn write(&self, line: String) {
        if self.lines.try_send(line).is_err() {
            let lost = self.counters.lines_lost.fetch_add(1, Relaxed) + 1;
            // 1, 2, 4, 8, ...: often enough to be noticed.
            if lost.is_power_of_two() {
                let path = self.setup.path.display();
                tracing::warn!(%path, count = lost, "nobody reads the pipe, notifications were lost");
            }
        }
    }

    /// Writes what is left, shows the reader the end of the pipe, and waits for both.
    pub(crate) async fn finish(mut self, deadline: Instant) {
        self.open = None;
        // A writer without a sender writes what it has and ends.
        self.lines = mpsc::channel(1).0;
        if timeout_at(deadline, &mut self.writer).await.is_err() {
            tracing::warn!(path = %self.setup.path.display(), "nobody read the last notifications from the pipe");
        }
        if let Some(reader) = &mut self.reader {
            let _ = timeout_at(deadline, reader).await;
        }
    }
}

impl Drop for Fifo {
    fn drop(&mut self) {
        self.writer.abort();
        if let Some(reader) = &self.reader {
            reader.abort();
        }
    }
}

struct Writer {
    setup: Setup,
    pipe: Option<(pipe::Sender, u64)>,
    counters: Arc<NotifyCounters>,
}

impl Writer {
    async fn run(mut self, mut backlog: mpsc::Receiver<String>) {
        while let Some(line) = backlog.recv().await {
            if self.pipe.as_ref().map(|(_, inode)| *inode) != inode(&self.setup.path) {
                self.reopen();
            }
            let written = match &self.pipe {
                Some((pipe, _)) => write(pipe, line.as_bytes()).await,
                None => false,
            };
            if !written {
                self.counters.lines_lost.fetch_add(1, Relaxed);
            }
        }
    }

    fn reopen(&mut self) {
        let path = &self.setup.path;
        let opened = self.setup.create().and_then(|()| {
            let pipe = pipe::OpenOptions::new().read_write(true).open_sender(path)?;
            let inode = inode(path).ok_or(io::ErrorKind::NotFound)?;
            Ok((pipe, inode))
        });
        self.pipe = opened
            .inspect_err(|error| {
                tracing::warn!(path = %path.display(), %error, "the pipe for notifications cannot be opened");
            })
            .ok();
    }
}

fn inode(path: &Path) -> Option<u64> {
    std::fs::symlink_metadata(path)
        .ok()
        .map(|metadata| metadata.ino())
}

/// A line is shorter than what a pipe takes at once or not at all.
async fn write(pipe: &pipe::Sender, line: &[u8]) -> bool {
    loop {
        match pipe.try_write(line) {
            Ok(_) => return true,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if pipe.writable().await.is_err() {
                    return false;
                }
            }
            Err(_) => return false,
        }
    }
}

/// Keeps the reader running until there will be no more lines.
async fn read(command: String, program: Result<Program, String>, mut closing: watch::Receiver<()>) {
    let program = match program {
        Ok(program) => program,
        Err(reason) => {
            tracing::warn!(program = command, reason, "reader of the pipe cannot run");
            return;
        }
    };
    let mut pause = RESTART_MIN;
    loop {
        let begin = Instant::now();
        let result = program.run(&[], Duration::MAX).await;
        if closing.has_changed().is_err() {
            return;
        }
        let reason = match result {
            Ok((outcome, _)) => format!("{} {}", outcome.exit, outcome.text().trim_end()),
            Err(error) => error.to_string(),
        };
        if begin.elapsed() > RESTART_MAX {
            pause = RESTART_MIN;
        }
        tracing::warn!(
            program = command,
            reason,
            ?pause,
            "reader of the pipe ended, it is started again"
        );
        tokio::select! {
            () = sleep(pause) => {}
            _ = closing.changed() => return,
        }
        pause = (pause * 2).min(RESTART_MAX);
    }
}
