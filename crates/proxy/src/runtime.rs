//! The runtime socket (`stats socket`): HAProxy's commands with HAProxy's answers, so that scripts, exporters and hatop
//! work as they do there.
//!
//! A client sends a line of commands separated by semicolons and reads the answers, each followed by an empty line;
//! then the conversation is over, unless it has said `prompt`. Answers are letter by letter those of HAProxy 2.6, as
//! far as programs may look at them; a test asks both the same questions.

mod add;
mod change;
mod commands;
mod conversation;
mod errors;
mod inside;
mod server;
mod set;
mod show;
mod socket;
mod table;
mod words;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use warren_kit::control::Closing;
use warren_kit::setbacks::Setbacks;

pub(crate) use add::make as make_server;
pub(crate) use change::tell;
pub(crate) use socket::address;
pub use socket::{BindError, Listener};

use crate::check::Servers;
use crate::live::Live;
use crate::plan::SocketLevel;
use crate::stats::Process;
use crate::worker::Workers;

/// Clients of one socket at once. HAProxy's `stats maxconn` is 10.
const CLIENTS_MAX: usize = 32;

/// What commands are about.
#[derive(Clone, Debug)]
pub struct Context {
    /// What is the case.
    pub live: Arc<Live>,
    /// The process.
    pub process: Arc<Process>,
    /// Whose sessions are listed and ended.
    pub workers: Workers,
    /// Whose health the operator changes.
    pub servers: Servers,
}

/// Serves a socket until dropped. Whoever comes may do what `level` says; silence ends a conversation after `timeout`.
/// Once it is asked to close, only those are served who had connected before.
pub async fn serve(
    context: Context,
    listener: Listener,
    level: SocketLevel,
    timeout: Duration,
    mut closing: mpsc::Receiver<Closing>,
) {
    let mut setbacks = Setbacks::new("a client of a stats socket");
    let places = Arc::new(Semaphore::new(CLIENTS_MAX));
    let mut clients = JoinSet::new();
    let receive = |clients: &mut JoinSet<()>, stream| {
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            return;
        };
        let context = context.clone();
        clients.spawn(async move {
            // A client that breaks off is no news.
            let _ = conversation::converse(&context, stream, level, timeout).await;
            drop(place);
        });
    };
    loop {
        tokio::select! {
            Some(_) = clients.join_next() => {}
            Some(closed) = closing.recv() => {
                while let Ok(stream) = listener.waiting() {
                    receive(&mut clients, stream);
                }
                drop(listener);
                let _ = closed.send(());
                while clients.join_next().await.is_some() {}
                return;
            }
            accepted = listener.accept() => match accepted {
                Ok(stream) => receive(&mut clients, stream),
                Err(error) => setbacks.rest(&error).await,
            }
        }
    }
}

/// The answers to one line of commands: for the control socket, which has its own ways of asking.
pub async fn run(context: &Context, level: SocketLevel, line: &str) -> String {
    conversation::answer_line(context, level, line).await
}

/// A time as HAProxy writes them: a number and `us`, `ms`, `s`, `m`, `h` or `d`; `unit` if there is only the number.
fn duration(word: &str, unit: Duration) -> Option<Duration> {
    let end = word
        .find(|character: char| !character.is_ascii_digit())
        .unwrap_or(word.len());
    let (digits, suffix) = word.split_at(end);
    let unit = match suffix {
        "" => unit,
        "us" => Duration::from_micros(1),
        "ms" => Duration::from_millis(1),
        "s" => Duration::from_secs(1),
        "m" => Duration::from_secs(60),
        "h" => Duration::from_secs(3600),
        "d" => Duration::from_secs(86_400),
        _ => return None,
    };
    unit.checked_mul(digits.parse().ok()?)
}

#[cfg(test)]
mod differential;
#[cfg(test)]
mod hatop;
#[cfg(test)]
pub(crate) mod tests;
