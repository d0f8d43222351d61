//! Where log lines go: a console as text or JSON, the journal under systemd, syslog where that is the custom.
//!
//! Logging never blocks. Console lines wait in a bounded buffer for a thread that writes them; journal and syslog get
//! datagrams from a socket that does not wait. What finds no room is dropped and counted, and the count is logged.
//!
//! `WARREN_LOG` chooses the levels: `debug`, or `info,warren::track=trace`. No layer redacts anything: secrets are
//! kept out of fields by those who have them.

mod datagram;
mod queue;
mod text;
mod time;

use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::str::FromStr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tracing::Level;
use tracing::level_filters::LevelFilter;
use tracing::subscriber::Subscriber;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{Layer, Registry, fmt, reload};

use crate::suggest::did_you_mean;
use crate::terminal::wants_colour;
use datagram::{Datagrams, Journal, Syslog};
use queue::{Queue, QueueWriter};

/// The environment variable with the filter.
pub const FILTER_VARIABLE: &str = "WARREN_LOG";

/// How long the end of the program waits for the console to take the last lines.
const FLUSH_TIMEOUT: Duration = Duration::from_millis(50);

static DROPPED: AtomicU64 = AtomicU64::new(0);

/// Log lines that found no room since the start, for a metric.
pub fn dropped_lines() -> u64 {
    DROPPED.load(Ordering::Relaxed)
}

fn count_dropped() {
    DROPPED.fetch_add(1, Ordering::Relaxed);
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Console {
    Text,
    Json,
}

#[derive(Clone, Debug)]
pub struct Options {
    /// The program's name in journal and syslog.
    pub identifier: String,
    /// Lines on standard error.
    pub console: Option<Console>,
    pub journal: bool,
    pub syslog: bool,
    pub filter: Filter,
}

#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    #[error("\"{directive}\" in the log filter is neither a level nor TARGET=LEVEL: {help}")]
    Filter { directive: String, help: String },
    #[error("the log could not be opened: {0}")]
    Io(#[from] io::Error),
    #[error("logging was set up twice")]
    Twice,
}

impl Options {
    /// The journal if the service manager connected us to it, else text on standard error; levels from `WARREN_LOG`.
    pub fn from_environment(identifier: impl Into<String>) -> Result<Self, LoggingError> {
        let journal = is_connected_to_journal();
        let filter = match std::env::var(FILTER_VARIABLE) {
            Ok(filter) => filter.parse()?,
            Err(_) => Filter::default(),
        };
        let console = (!journal).then_some(Console::Text);
        Ok(Self {
            identifier: identifier.into(),
            console,
            journal,
            syslog: false,
            filter,
        })
    }
}

/// `JOURNAL_STREAM` names the device and inode that standard error must be: the variable may be inherited by
/// programs whose standard error is something else.
fn is_connected_to_journal() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else {
        return false;
    };
    let Ok(stderr) = nix::sys::stat::fstat(io::stderr().as_fd()) else {
        return false;
    };
    stream == format!("{}:{}", stderr.st_dev, stderr.st_ino) && Path::new(datagram::JOURNAL).exists()
}

/// Which levels of which targets are logged; `info` of all unless said otherwise.
#[derive(Clone, Debug)]
pub struct Filter(Targets);

impl Default for Filter {
    fn default() -> Self {
        Self(Targets::new().with_default(Level::INFO))
    }
}

impl FromStr for Filter {
    type Err = LoggingError;

    fn from_str(text: &str) -> Result<Self, LoggingError> {
        const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
        let Self(mut targets) = Self::default();
        for directive in text
            .split(',')
            .map(str::trim)
            .filter(|directive| !directive.is_empty())
        {
            let (target, level) = match directive.split_once('=') {
                Some((target, level)) => (Some(target.trim()), level.trim()),
                None => (None, directive),
            };
            let parsed = LEVELS
                .contains(&level.to_lowercase().as_str())
                .then(|| level.parse::<LevelFilter>());
            let Some(Ok(level)) = parsed else {
                let help = match did_you_mean(level, LEVELS) {
                    Some(meant) => format!("did you mean \"{meant}\"?"),
                    None => format!("the levels are {}", LEVELS.join(", ")),
                };
                return Err(LoggingError::Filter {
                    directive: directive.into(),
                    help,
                });
            };
            targets = match target {
                Some(target) => targets.with_target(target, level),
                None => targets.with_default(level),
            };
        }
        Ok(Self(targets))
    }
}

/// Keeps the console's lines flowing; dropped at the end, it waits a moment for the last of them.
#[derive(Debug)]
#[must_use = "the last lines are lost without it"]
pub struct LogGuard {
    _console: Option<QueueWriter>,
}

/// Puts another filter in the place of the one there is.
type Change = Box<dyn Fn(Targets) + Send + Sync>;

static CHANGE: OnceLock<Change> = OnceLock::new();

/// Logs by this filter from now on. Nothing happens before [`init`].
pub fn change(filter: Filter) {
    if let Some(change) = CHANGE.get() {
        change(filter.0);
    }
}

/// Sets the whole program's logging up.
pub fn init(options: &Options) -> Result<LogGuard, LoggingError> {
    let (subscriber, change, guard) =
        build(options, wants_colour(&io::stderr()), io::stderr(), FLUSH_TIMEOUT)?;
    tracing::subscriber::set_global_default(subscriber).map_err(|_| LoggingError::Twice)?;
    // There is one subscriber, so there is one way to change it.
    let _ = CHANGE.set(change);
    Ok(guard)
}

fn build(
    options: &Options,
    colour: bool,
    output: impl io::Write + Send + 'static,
    flush_timeout: Duration,
) -> Result<(impl Subscriber + Send + Sync, Change, LogGuard), LoggingError> {
    let console = options.console.map(|kind| (kind, Queue::new()));
    let console_layer = console
        .as_ref()
        .map(|(kind, queue)| console_layer(*kind, colour, queue.clone()));
    let console_writer = console
        .map(|(_, queue)| QueueWriter::start(queue, output, flush_timeout))
        .transpose()?;
    let journal = options
        .journal
        .then(|| Datagrams::new(Journal::new(&options.identifier)))
        .transpose()?;
    let syslog = options
        .syslog
        .then(|| Datagrams::new(Syslog::new(&options.identifier)))
        .transpose()?;
    let (filter, handle) = reload::Layer::new(options.filter.0.clone());
    let subscriber = Registry::default()
        .with(console_layer)
        .with(journal)
        .with(syslog)
        .with(filter);
    // It fails where the subscriber is gone, and with it whoever would log.
    let change = move |filter| drop(handle.reload(filter));
    Ok((
        subscriber,
        Box::new(change),
        LogGuard {
            _console: console_writer,
        },
    ))
}

fn console_layer(kind: Console, colour: bool, queue: Queue) -> Box<dyn Layer<Registry> + Send + Sync> {
    match kind {
        Console::Text => Box::new(
            fmt::layer()
                .with_timer(time::Utc)
                .with_ansi(colour)
                .with_target(false)
                .fmt_fields(text::fields())
                .with_writer(queue),
        ),
        Console::Json => Box::new(
            fmt::layer()
                .with_timer(time::Utc)
                .json()
                .flatten_event(true)
                .with_writer(queue),
        ),
    }
}

#[cfg(test)]
mod tests;
