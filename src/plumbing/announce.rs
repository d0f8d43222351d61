//! When a router's announcements are due: rounds after the take-over, after a rival was heard, and now and then.
//!
//! Pure: time comes in, frame numbers go out. A round is every frame of the router, `repeat` times over.

use std::time::{Duration, Instant};

use crate::config::plan::AnnouncePlan;

/// A series is started on request at most this often per router, so that a rival shouting at line rate cannot make
/// us do the same.
const REQUEST_INTERVAL: Duration = Duration::from_secs(1);

/// Why announcements are wanted besides the take-over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// An advertisement of lower priority was heard: that host may have told others that it holds the addresses.
    LowerPriority,
    /// Another hardware address answers for one of ours.
    DualActive,
    /// A deleted address was put back.
    Repaired,
    /// The operator asked.
    Requested,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    TakeOver,
    LowerPriority,
    Refresh,
}

impl Kind {
    fn rounds(self, plan: &AnnouncePlan) -> &[Duration] {
        match self {
            Self::TakeOver => &plan.rounds,
            Self::LowerPriority => &plan.lower_priority_rounds,
            Self::Refresh => &[Duration::ZERO],
        }
    }

    fn repeat(self, plan: &AnnouncePlan) -> usize {
        let repeat = match self {
            Self::TakeOver => plan.repeat,
            Self::LowerPriority => plan.lower_priority_repeat,
            Self::Refresh => plan.refresh_repeat,
        };
        repeat as usize
    }
}

#[derive(Debug, Clone, Copy)]
struct Series {
    kind: Kind,
    start: Instant,
    round: usize,
    /// Frames of this round that are out.
    sent: usize,
}

impl Series {
    fn new(kind: Kind, start: Instant) -> Self {
        Self {
            kind,
            start,
            round: 0,
            sent: 0,
        }
    }

    fn due(&self, plan: &AnnouncePlan) -> Option<Instant> {
        self.kind
            .rounds(plan)
            .get(self.round)
            .map(|offset| self.start + *offset)
    }
}

/// The announcements of one router.
#[derive(Debug, Default)]
pub(super) struct Announcer {
    running: Option<Series>,
    /// Asked for too soon after the last one.
    postponed: Option<Series>,
    last_start: Option<Instant>,
    /// Nothing before this: the gap between frames of an interface.
    not_before: Option<Instant>,
}

impl Announcer {
    /// The addresses have just been claimed.
    pub(super) fn claimed(&mut self, now: Instant) {
        *self = Self {
            running: Some(Series::new(Kind::TakeOver, now)),
            last_start: Some(now),
            ..Self::default()
        };
    }

    pub(super) fn released(&mut self) {
        *self = Self::default();
    }

    pub(super) fn request(&mut self, cause: Cause, now: Instant) {
        let kind = match cause {
            Cause::LowerPriority => Kind::LowerPriority,
            Cause::DualActive | Cause::Repaired | Cause::Requested => Kind::TakeOver,
        };
        let start = self
            .last_start
            .map_or(now, |last| now.max(last + REQUEST_INTERVAL));
        self.postponed = Some(Series::new(kind, start));
        self.advance(now);
    }

    /// When [`next`](Self::next) will have a frame.
    pub(super) fn due(&self, plan: &AnnouncePlan) -> Option<Instant> {
        let running = self.running.and_then(|series| series.due(plan));
        let postponed = self.postponed.map(|series| series.start);
        let refresh = match (self.running, self.last_start, plan.refresh) {
            (None, Some(last), Some(interval)) => Some(last + interval),
            _ => None,
        };
        let due = [running, postponed, refresh].into_iter().flatten().min()?;
        Some(self.not_before.map_or(due, |earliest| due.max(earliest)))
    }

    /// The number, below `frames`, of the frame to send now.
    pub(super) fn next(&mut self, plan: &AnnouncePlan, frames: usize, now: Instant) -> Option<usize> {
        if self.due(plan)? > now {
            return None;
        }
        self.advance(now);
        if self.running.is_none() {
            self.start(Series::new(Kind::Refresh, now));
        }
        let series = self.running.as_mut()?;
        let total = series.kind.repeat(plan) * frames;
        let frame = (series.sent < total).then(|| series.sent % frames);
        series.sent += 1;
        if series.sent >= total {
            series.sent = 0;
            series.round += 1;
            if series.due(plan).is_none() {
                self.running = None;
            }
        }
        frame
    }

    /// Keeps the gap of the interface.
    pub(super) fn hold_until(&mut self, earliest: Instant) {
        self.not_before = Some(earliest);
    }

    fn advance(&mut self, now: Instant) {
        if let Some(series) = self.postponed.filter(|series| series.start <= now) {
            self.postponed = None;
            self.start(series);
        }
    }

    fn start(&mut self, series: Series) {
        self.running = Some(series);
        self.last_start = Some(series.start);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> AnnouncePlan {
        AnnouncePlan {
            rounds: vec![Duration::ZERO, Duration::from_millis(100), Duration::from_secs(1)],
            repeat: 2,
            refresh: Some(Duration::from_secs(60)),
            refresh_repeat: 1,
            lower_priority_rounds: vec![Duration::ZERO],
            lower_priority_repeat: 1,
            gap: Duration::ZERO,
            arp_request: true,
            arp_reply: true,
        }
    }

    /// Runs to `end` and lists when (ms) how many frames went out.
    fn run(
        announcer: &mut Announcer,
        plan: &AnnouncePlan,
        start: Instant,
        end_ms: u64,
    ) -> Vec<(u128, usize)> {
        let mut sent = Vec::new();
        while let Some(due) = announcer
            .due(plan)
            .filter(|due| *due <= start + Duration::from_millis(end_ms))
        {
            let mut frames = Vec::new();
            while let Some(frame) = announcer.next(plan, 3, due) {
                frames.push(frame);
            }
            assert!(
                frames.iter().enumerate().all(|(i, frame)| i % 3 == *frame),
                "{frames:?}"
            );
            sent.push(((due - start).as_millis(), frames.len()));
        }
        sent
    }

    #[test]
    fn a_take_over_is_announced_in_rounds_and_refreshed_afterwards() {
        let (mut announcer, plan, start) = (Announcer::default(), plan(), Instant::now());
        assert_eq!(announcer.due(&plan), None);
        announcer.claimed(start);
        assert_eq!(
            run(&mut announcer, &plan, start, 120_000),
            [(0, 6), (100, 6), (1000, 6), (60_000, 3), (120_000, 3)]
        );
        announcer.released();
        assert_eq!(announcer.due(&plan), None);
    }

    #[test]
    fn a_series_is_started_on_request_at_most_once_a_second_and_none_is_lost() {
        let (mut announcer, plan, start) = (Announcer::default(), plan(), Instant::now());
        announcer.claimed(start);
        let mut sent = run(&mut announcer, &plan, start, 50);
        for _ in 0..1000 {
            announcer.request(Cause::LowerPriority, start + Duration::from_millis(50));
        }
        sent.extend(run(&mut announcer, &plan, start, 3000));
        // The postponed series replaces the third round, due at the same moment.
        assert_eq!(sent, [(0, 6), (100, 6), (1000, 3)]);
        let later = start + Duration::from_millis(3500);
        announcer.request(Cause::LowerPriority, later);
        assert_eq!(announcer.due(&plan), Some(later));
    }

    #[test]
    fn nothing_is_sent_within_the_gap() {
        let (mut announcer, plan, start) = (Announcer::default(), plan(), Instant::now());
        announcer.claimed(start);
        assert_eq!(announcer.next(&plan, 3, start), Some(0));
        announcer.hold_until(start + Duration::from_millis(7));
        assert_eq!(announcer.next(&plan, 3, start), None);
        assert_eq!(announcer.due(&plan), Some(start + Duration::from_millis(7)));
        assert_eq!(
            announcer.next(&plan, 3, start + Duration::from_millis(7)),
            Some(1)
        );
    }

    #[test]
    fn no_frames_or_no_repeats_end_the_series_instead_of_spinning() {
        for (frames, repeat) in [(0, 2), (3, 0)] {
            let (mut announcer, start) = (Announcer::default(), Instant::now());
            let plan = AnnouncePlan {
                repeat,
                refresh: None,
                ..plan()
            };
            announcer.claimed(start);
            for _ in 0..3 {
                assert_eq!(
                    announcer.next(&plan, frames, start + Duration::from_secs(2)),
                    None
                );
            }
            assert_eq!(announcer.due(&plan), None);
        }
    }
}
