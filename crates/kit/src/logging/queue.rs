//! A bounded buffer of log lines, and the thread that writes them.
//!
//! A terminal that was stopped with Ctrl-S or a full pipe stops that thread and nobody else.
//!
//! A line that comes alone is written at once. After a write the thread rests for [`REST`], so that a storm of lines,
//! thousands of clients that connect, wakes it and writes some hundred times a second and not for each of them.

use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

use crate::threads::TooFewThreads;

/// Some thousand lines.
const BYTES_MAX: usize = 256 << 10;

/// Between two writes, unless so much has come that there may soon be no room.
const REST: Duration = Duration::from_millis(10);
const BYTES_ENOUGH: usize = BYTES_MAX / 4;

/// Locked memory counts every byte of a stack, and writing takes little.
const STACK_BYTES: usize = 64 << 10;

#[derive(Clone, Debug, Default)]
pub(super) struct Queue(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    lines: Mutex<Lines>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Lines {
    bytes: Vec<u8>,
    dropped: u64,
    /// From how many bytes on the thread wants to be woken, if it sleeps.
    wakes_at: Option<usize>,
    closing: bool,
    done: bool,
}

impl Queue {
    pub(super) fn new() -> Self {
        Self::default()
    }

    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.0.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, line: &[u8]) {
        let mut lines = self.lines();
        if lines.bytes.len() + line.len() > BYTES_MAX {
            lines.dropped += 1;
            super::count_dropped();
            return;
        }
        lines.bytes.extend_from_slice(line);
        let is_enough = lines.wakes_at.is_some_and(|enough| lines.bytes.len() >= enough);
        if is_enough {
            lines.wakes_at = None;
            drop(lines);
            self.0.changed.notify_all();
        }
    }

    /// Everything there is, and how many lines were dropped after it; `None` at the end.
    fn take(&self) -> Option<(Vec<u8>, u64)> {
        let mut lines = self.lines();
        lines.wakes_at = Some(1);
        let mut lines = self
            .0
            .changed
            .wait_while(lines, |lines| lines.bytes.is_empty() && !lines.closing)
            .unwrap_or_else(PoisonError::into_inner);
        lines.wakes_at = None;
        if lines.bytes.is_empty() {
            return None;
        }
        Some((
            std::mem::take(&mut lines.bytes),
            std::mem::take(&mut lines.dropped),
        ))
    }

    fn rest(&self) {
        let mut lines = self.lines();
        lines.wakes_at = Some(BYTES_ENOUGH);
        let is_little = |lines: &mut Lines| lines.bytes.len() < BYTES_ENOUGH && !lines.closing;
        drop(self.0.changed.wait_timeout_while(lines, REST, is_little));
    }

    fn write_out(&self, mut output: impl Write) {
        while let Some((bytes, dropped)) = self.take() {
            // With standard error gone there is nobody left to tell.
            let _ = output.write_all(&bytes);
            if dropped > 0 {
                let _ = writeln!(
                    output,
                    "{dropped} log lines were dropped here: the console did not take them"
                );
            }
            let _ = output.flush();
            self.rest();
        }
        self.lines().done = true;
        self.0.changed.notify_all();
    }
}

/// One event: the formatter writes each line with a single call.
impl Write for &Queue {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Queue {
    type Writer = &'a Self;

    fn make_writer(&'a self) -> &'a Self {
        self
    }
}

/// The running thread.
#[derive(Debug)]
pub(super) struct QueueWriter {
    queue: Queue,
    flush_timeout: Duration,
}

impl QueueWriter {
    /// `flush_timeout`: how long its end waits for the last lines.
    pub(super) fn start(
        queue: Queue,
        output: impl Write + Send + 'static,
        flush_timeout: Duration,
    ) -> io::Result<Self> {
        let writing = queue.clone();
        let thread = thread::Builder::new().name("log".into()).stack_size(STACK_BYTES);
        let started = thread.spawn(move || writing.write_out(output));
        started.map_err(|source| io::Error::new(source.kind(), TooFewThreads::new(1, 0, source)))?;
        Ok(Self { queue, flush_timeout })
    }
}

impl Drop for QueueWriter {
    fn drop(&mut self) {
        let mut lines = self.queue.lines();
        lines.closing = true;
        let changed = &self.queue.0.changed;
        changed.notify_all();
        // Out of time or not, this is all that can be done for them.
        drop(changed.wait_timeout_while(lines, self.flush_timeout, |lines| !lines.done));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

    /// An output that takes nothing until it is told to.
    struct Stopped {
        go: Receiver<()>,
        written: SyncSender<Vec<u8>>,
    }

    impl Write for Stopped {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.go.recv();
            let _ = self.written.send(bytes.to_vec());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_stopped_console_costs_lines_and_no_time() {
        let (go, stopped) = sync_channel(10);
        let (written, received) = sync_channel(10);
        let queue = Queue::new();
        let writer = QueueWriter::start(
            queue.clone(),
            Stopped { go: stopped, written },
            Duration::from_millis(1),
        )
        .unwrap();
        let line = [b'x'; 1024];
        // More than the buffer and what the writer may have taken out of it already.
        for _ in 0..3 * BYTES_MAX / line.len() {
            queue.push(&line);
        }
        assert!(queue.lines().bytes.len() <= BYTES_MAX);
        drop(writer);
        drop(go);
        let bytes = received.iter().flatten().collect::<Vec<u8>>();
        let text = String::from_utf8_lossy(&bytes);
        assert!(text.contains("log lines were dropped here: the console did not take them"));
    }

    #[test]
    fn a_storm_of_lines_is_written_many_at_a_time() {
        let (go, stopped) = sync_channel(1000);
        let (written, received) = sync_channel(1000);
        (0..1000).for_each(|_| go.send(()).unwrap());
        let queue = Queue::new();
        let writer = QueueWriter::start(
            queue.clone(),
            Stopped { go: stopped, written },
            Duration::from_secs(10),
        )
        .unwrap();
        queue.push(b"the first comes at once\n");
        assert_eq!(received.recv().unwrap(), b"the first comes at once\n");
        (0..500).for_each(|_| queue.push(b"and then many\n"));
        drop(writer);
        let writes: Vec<Vec<u8>> = received.try_iter().collect();
        assert_eq!(
            writes.concat().len(),
            500 * b"and then many\n".len(),
            "none is lost"
        );
        assert!(writes.len() < 100, "{} writes", writes.len());
    }

    #[test]
    fn the_end_waits_for_the_last_lines() {
        let (written, received) = sync_channel(10);
        let (go, stopped) = sync_channel(10);
        go.send(()).unwrap();
        let queue = Queue::new();
        let writer = QueueWriter::start(
            queue.clone(),
            Stopped { go: stopped, written },
            Duration::from_secs(10),
        )
        .unwrap();
        queue.push(b"last words\n");
        drop(writer);
        assert_eq!(received.try_recv().unwrap(), b"last words\n");
    }
}
