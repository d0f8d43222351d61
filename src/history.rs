//! What happened since the daemon started: a bounded ring for those who ask later, a stream for those who follow.

use std::collections::{BTreeMap, VecDeque};

use tokio::sync::broadcast;
use warren_api::vrrp::{Cause, Event, State, kind};

use crate::words::timestamp;

/// Events kept. A healthy hour has none.
const EVENTS_MAX: usize = 2000;
/// Events a follower may be behind before it loses the oldest; the gap shows in the sequence numbers.
const FOLLOWERS_BEHIND_MAX: usize = 512;

#[derive(Debug)]
pub(crate) struct History {
    ring: VecDeque<Event>,
    sequence: u64,
    followers: broadcast::Sender<Event>,
}

impl Default for History {
    fn default() -> Self {
        Self {
            ring: VecDeque::new(),
            sequence: 0,
            followers: broadcast::Sender::new(FOLLOWERS_BEHIND_MAX),
        }
    }
}

impl History {
    /// Records, logs and sends out an event.
    pub(crate) fn record(&mut self, event: Event) {
        self.sequence += 1;
        let event = Event {
            sequence: self.sequence,
            time: timestamp(),
            ..event
        };
        log(&event);
        if self.ring.len() == EVENTS_MAX {
            self.ring.pop_front();
        }
        self.ring.push_back(event.clone());
        // Nobody following is the ordinary case.
        let _ = self.followers.send(event);
    }

    /// Events after `after`, and everything if that number is from an earlier run.
    pub(crate) fn since(&self, after: Option<u64>, router: Option<&str>) -> Vec<Event> {
        let after = after.filter(|after| *after <= self.sequence).unwrap_or(0);
        self.ring
            .iter()
            .filter(|event| event.sequence > after && concerns(event, router))
            .cloned()
            .collect()
    }

    pub(crate) fn follow(&self) -> broadcast::Receiver<Event> {
        self.followers.subscribe()
    }
}

/// Whether somebody who asked about `router` wants to see it.
pub(crate) fn concerns(event: &Event, router: Option<&str>) -> bool {
    router.is_none_or(|router| event.router.as_deref().is_none_or(|of| of == router))
}

/// An event without its number and time, which the history gives.
pub(crate) fn event(kind: &str, router: Option<&str>, text: impl Into<String>) -> Event {
    Event {
        kind: kind.to_owned(),
        router: router.map(str::to_owned),
        text: text.into(),
        ..Event::default()
    }
}

/// The same with named values.
pub(crate) fn with<const N: usize>(event: Event, fields: [(&str, String); N]) -> Event {
    let fields = BTreeMap::from(fields.map(|(name, value)| (name.to_owned(), value)));
    Event { fields, ..event }
}

pub(crate) fn transition(router: &str, from: State, to: State, cause: Cause, text: String) -> Event {
    Event {
        from: Some(from),
        to: Some(to),
        cause: Some(cause),
        ..event(kind::TRANSITION, Some(router), text)
    }
}

fn log(event: &Event) {
    // What there is nothing to say about is left out of the line.
    let router = event.router.as_deref();
    let fields = event
        .fields
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect::<Vec<_>>()
        .join(" ");
    let fields = (!fields.is_empty()).then_some(fields);
    let fields = fields.as_deref();
    match event.kind.as_str() {
        kind::DUAL_ACTIVE | kind::REPAIR => {
            tracing::error!(router, kind = event.kind, fields, "{}", event.text);
        }
        kind::REJECTED | kind::FOREIGN | kind::LATE | kind::NOTIFY => {
            tracing::warn!(router, kind = event.kind, fields, "{}", event.text);
        }
        _ => tracing::info!(router, kind = event.kind, fields, "{}", event.text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_numbered_and_the_oldest_make_room() {
        let mut history = History::default();
        for _ in 0..EVENTS_MAX + 5 {
            history.record(event(kind::DAEMON, None, "something happened"));
        }
        let all = history.since(None, None);
        assert_eq!(all.len(), EVENTS_MAX);
        assert_eq!(all[0].sequence, 6);
        assert_eq!(history.since(Some(EVENTS_MAX as u64 + 3), None).len(), 2);
        assert_eq!(
            history.since(Some(1 << 40), None).len(),
            EVENTS_MAX,
            "a number from an earlier run"
        );
    }

    #[test]
    fn one_routers_reader_sees_its_events_and_the_daemons() {
        let mut history = History::default();
        history.record(event(kind::DAEMON, None, "started"));
        history.record(event(kind::DRAIN, Some("a"), "drained"));
        history.record(event(kind::DRAIN, Some("b"), "drained"));
        assert_eq!(history.since(None, Some("a")).len(), 2);
    }
}
