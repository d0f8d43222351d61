//! Commands that change the process or a frontend.

use std::num::IntErrorKind;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::commands::{Answer, DENIED, Request};
use super::show::session_number;
use crate::live::Frontend;
use crate::plan::SocketLevel;
use crate::record::Cause;
use crate::worker::{Command, End, Ending, Scope};

/// As C's `atoi`: digits up to the first other character, 0 if there are none.
pub(super) fn leading_number(word: &str) -> u32 {
    let digits = word
        .find(|character: char| !character.is_ascii_digit())
        .map_or(word, |end| &word[..end]);
    match digits.parse() {
        Ok(number) => number,
        Err(error) if *error.kind() == IntErrorKind::PosOverflow => u32::MAX,
        Err(_) => 0,
    }
}

fn frontend(request: &Request<'_>) -> Result<Arc<Frontend>, Answer> {
    match request.argument(0) {
        "" => Err(Answer::line("A frontend name is expected.")),
        name => match request.context.live.snapshot().frontend_named(name) {
            Some(frontend) => Ok(Arc::clone(frontend)),
            None => Err(Answer::line("No such frontend.")),
        },
    }
}

pub(super) fn maxconn_frontend(request: &Request<'_>) -> Answer {
    let frontend = match frontend(request) {
        Ok(frontend) => frontend,
        Err(answer) => return answer,
    };
    match request.argument(1) {
        "" => Answer::line("Integer value expected."),
        number => {
            // 0 and what is no number bring the configured limit back.
            frontend.maxconn.store(leading_number(number), Relaxed);
            Answer::nothing()
        }
    }
}

pub(super) fn maxconn_global(request: &Request<'_>) -> Answer {
    let live = &request.context.live;
    let most = live.snapshot().plan.global.maxconn.get();
    match request.argument(0) {
        "" => Answer::line("Expects an integer value."),
        number => match leading_number(number) {
            number if number > most => Answer::line("Value out of range."),
            number => {
                live.maxconn.store(number, Relaxed);
                Answer::nothing()
            }
        },
    }
}

const RATE_LIMITS: &str = "'set rate-limit' only supports :
   - 'connections global' to set the per-process maximum connection rate
   - 'sessions global' to set the per-process maximum session rate
   - 'ssl-sessions global' to set the per-process maximum SSL session rate
   - 'http-compression global' to set the per-process maximum compression speed in kB/s
";

pub(super) fn rate_limit(request: &Request<'_>) -> Answer {
    let limits = &request.context.live.rate_limits;
    let limit = match (request.argument(0), request.argument(1)) {
        ("connections", "global") => Some(&limits.connections),
        ("sessions", "global") => Some(&limits.sessions),
        ("ssl-sessions", "global") => Some(&limits.handshakes),
        // There is no compression to be limited.
        ("http-compression", "global") => None,
        _ => return Answer::Text(RATE_LIMITS.to_owned()),
    };
    match (request.argument(2), limit) {
        ("", _) => Answer::line("Expects an integer value."),
        (number, Some(limit)) => {
            limit.store(leading_number(number), Relaxed);
            Answer::nothing()
        }
        (_, None) => Answer::nothing(),
    }
}

pub(super) fn timeout(request: &Request<'_>) -> Answer {
    if request.argument(0) != "cli" {
        return Answer::line("'set timeout' only supports 'cli'.");
    }
    let word = request.argument(1);
    if word.is_empty() {
        return Answer::line("Expects an integer value.");
    }
    // Seconds unless it says otherwise.
    let duration = super::duration(word, Duration::from_secs(1));
    match duration {
        Some(duration) if !duration.is_zero() => Answer::Timeout(duration),
        _ => Answer::line("Invalid timeout value."),
    }
}

pub(super) fn pause_frontend(request: &Request<'_>, pause: bool) -> Answer {
    let frontend = match frontend(request) {
        Ok(frontend) => frontend,
        Err(answer) => return answer,
    };
    if frontend.stopped.load(Relaxed) {
        return Answer::line("Frontend was previously shut down, cannot enable.");
    }
    match (frontend.paused.swap(pause, Relaxed), pause) {
        (true, true) => Answer::line("All sockets are already disabled."),
        (false, false) => Answer::line("All sockets are already enabled."),
        _ => Answer::nothing(),
    }
}

pub(super) fn stop_frontend(request: &Request<'_>) -> Answer {
    match frontend(request) {
        Ok(frontend) if frontend.stopped.swap(true, Relaxed) => {
            Answer::line("Frontend was already shut down.")
        }
        Ok(_) => Answer::nothing(),
        Err(answer) => answer,
    }
}

pub(super) fn end_session(request: &Request<'_>) -> Answer {
    match session_number(request.argument(0)) {
        Some(id) => Answer::EndSession(id),
        None => Answer::line("Session pointer expected (use 'show sess')."),
    }
}

pub(super) fn end_sessions(context: &super::Context, scope: Scope) {
    context.workers.broadcast(&Command::End(End {
        scope,
        how: Ending::Now(Cause::Killed),
    }));
}

pub(super) fn clear_counters(request: &Request<'_>) -> Answer {
    let all = request.argument(0) == "all";
    if all && request.level < SocketLevel::Admin {
        return Answer::Text(DENIED.to_owned());
    }
    request.context.live.clear(all);
    Answer::nothing()
}
