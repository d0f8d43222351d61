//! Gratuitous ARP: keepalived sends a series at the take-over and one more after a delay, as requests only.

use std::time::Duration;

use toml::Spanned;
use warren_kit::duration::HumanDuration;

use crate::config::Announce;

/// The settings as written, of the whole file or of one instance.
#[derive(Debug, Default, Clone)]
pub(super) struct Garp {
    pub(super) master_delay: Option<Spanned<HumanDuration>>,
    pub(super) master_repeat: Option<Spanned<i64>>,
    pub(super) refresh: Option<Spanned<HumanDuration>>,
    pub(super) refresh_repeat: Option<Spanned<i64>>,
    pub(super) lower_prio_delay: Option<Spanned<HumanDuration>>,
    pub(super) lower_prio_repeat: Option<Spanned<i64>>,
    /// The pause between two frames; the longer one of ARP and ND.
    pub(super) interval: Option<Spanned<HumanDuration>>,
    /// One frame and no second series.
    pub(super) minimal: bool,
}

const DELAY: HumanDuration = HumanDuration::from_secs(5);
const REPEAT: i64 = 5;

impl Garp {
    pub(super) fn pause(&mut self, pause: Option<Spanned<HumanDuration>>) {
        let longer = |known: &Spanned<HumanDuration>| pause.as_ref().is_some_and(|pause| pause > known);
        if self.interval.as_ref().is_none_or(longer) {
            self.interval = pause;
        }
    }

    /// Everything said, keepalived's defaults where the file is silent.
    pub(super) fn complete(self) -> Announce {
        let (delay, repeat) = if self.minimal {
            (HumanDuration::default(), 1)
        } else {
            (DELAY, REPEAT)
        };
        let master_delay = self.master_delay.unwrap_or_else(|| unwritten(delay));
        let master_repeat = self.master_repeat.unwrap_or_else(|| unwritten(repeat));
        let defaults = Announce {
            refresh: Some(unwritten(HumanDuration::default())),
            refresh_repeat: Some(unwritten(1)),
            forms: Some(vec![unwritten("request".to_owned())]),
            ..Announce::default()
        };
        Announce {
            lower_priority_rounds: Some(rounds(self.lower_prio_delay.as_ref().unwrap_or(&master_delay))),
            lower_priority_repeat: Some(self.lower_prio_repeat.unwrap_or_else(|| master_repeat.clone())),
            rounds: Some(rounds(&master_delay)),
            repeat: Some(master_repeat),
            refresh: self.refresh.or(defaults.refresh),
            refresh_repeat: self.refresh_repeat.or(defaults.refresh_repeat),
            gap: self.interval,
            forms: defaults.forms,
        }
    }

    /// Only what an instance says itself; `None` if that is nothing.
    pub(super) fn overrides(self) -> Option<Announce> {
        let announce = Announce {
            rounds: self.master_delay.as_ref().map(rounds),
            repeat: self.master_repeat,
            refresh: self.refresh,
            refresh_repeat: self.refresh_repeat,
            lower_priority_rounds: self.lower_prio_delay.as_ref().map(rounds),
            lower_priority_repeat: self.lower_prio_repeat,
            gap: self.interval,
            forms: None,
        };
        (announce != Announce::default()).then_some(announce)
    }
}

/// At once, and again after the delay unless that is 0.
fn rounds(delay: &Spanned<HumanDuration>) -> Vec<Spanned<HumanDuration>> {
    let at_once = Spanned::new(delay.span(), HumanDuration::new(Duration::ZERO));
    let again = (!delay.get_ref().get().is_zero()).then(|| delay.clone());
    std::iter::once(at_once).chain(again).collect()
}

/// A default has no place in the file.
pub(super) fn unwritten<T>(value: T) -> Spanned<T> {
    Spanned::new(0..0, value)
}
