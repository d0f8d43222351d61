//! An event as a line.

use warren_api::vrrp::{Event, cause_in_words, kind};

use crate::clock::Clock;
use crate::paint::{Paint, clean};

/// `2026-11-21 12:03:04.567  VI_1  BACKUP -> ACTIVE  because 10.0.0.2 was silent for 361 ms`
pub(super) fn line(event: &Event, clock: &Clock, paint: Paint) -> String {
    let mut line = paint.faint(&clock.precisely(event.time));
    line += "  ";
    line += &paint.strong(&clean(event.router.as_deref().unwrap_or("daemon")));
    line += "  ";
    if let (Some(from), Some(to)) = (event.from, event.to) {
        line += &format!("{} -> {}", paint.state(from), paint.state(to));
        if let Some(cause) = &event.cause {
            line += &format!("  because {}", clean(&cause_in_words(cause)));
        }
        return line;
    }
    let text = clean(&event.text).replace('\n', " | ");
    line += &match event.kind.as_str() {
        kind::DUAL_ACTIVE => paint.bad(&text),
        kind::LATE | kind::REPAIR | kind::NOTIFY => paint.waiting(&text),
        _ => text,
    };
    line
}
