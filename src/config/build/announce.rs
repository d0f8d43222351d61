//! Gratuitous ARP and unsolicited neighbour advertisements: when, how often, in which form.

use std::ops::RangeInclusive;
use std::time::Duration;

use toml::Spanned;
use warren_kit::config::Report;
use warren_kit::duration::HumanDuration;

use crate::config::Announce;
use crate::config::plan::AnnouncePlan;

const ROUNDS_MAX: usize = 16;
const ROUND_OFFSETS: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(3600);
const REFRESHES: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(1_000_000);
const GAPS: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(1);
const REFRESH: Duration = Duration::from_secs(60);

/// A router's own keys go before those of the section, key by key.
pub(super) fn announce(
    report: &mut Report,
    own: Option<&Announce>,
    common: Option<&Announce>,
) -> AnnouncePlan {
    let nothing = Announce::default();
    let (own, common) = (own.unwrap_or(&nothing), common.unwrap_or(&nothing));

    let rounds = match own.rounds.as_ref().or(common.rounds.as_ref()) {
        Some(file) => rounds(report, file),
        None => [0, 100, 1000].map(Duration::from_millis).to_vec(),
    };
    let repeat = report.number(
        "repeat",
        own.repeat.as_ref().or(common.repeat.as_ref()),
        0..=100,
        1,
    );
    let lower_priority_rounds = match own
        .lower_priority_rounds
        .as_ref()
        .or(common.lower_priority_rounds.as_ref())
    {
        Some(file) => self::rounds(report, file),
        None => rounds.clone(),
    };
    let lower_priority_repeat = own
        .lower_priority_repeat
        .as_ref()
        .or(common.lower_priority_repeat.as_ref());
    let (arp_request, arp_reply) = match own.forms.as_ref().or(common.forms.as_ref()) {
        Some(file) => forms(report, file),
        None => (true, true),
    };
    AnnouncePlan {
        rounds,
        repeat,
        refresh: refresh(report, own.refresh.as_ref().or(common.refresh.as_ref())),
        refresh_repeat: report.number(
            "refresh_repeat",
            own.refresh_repeat.as_ref().or(common.refresh_repeat.as_ref()),
            1..=100,
            1,
        ),
        lower_priority_rounds,
        lower_priority_repeat: report.number("lower_priority_repeat", lower_priority_repeat, 0..=100, repeat),
        gap: report.duration(
            "gap",
            own.gap.as_ref().or(common.gap.as_ref()),
            GAPS,
            Duration::ZERO,
        ),
        arp_request,
        arp_reply,
    }
}

fn rounds(report: &mut Report, file: &[Spanned<HumanDuration>]) -> Vec<Duration> {
    if let Some(beyond) = file.get(ROUNDS_MAX) {
        report.at_most(beyond.span(), "rounds", file.len(), ROUNDS_MAX);
    }
    let mut rounds: Vec<Duration> = file
        .iter()
        .map(|offset| report.duration("round", Some(offset), ROUND_OFFSETS, Duration::ZERO))
        .collect();
    rounds.sort_unstable();
    rounds.dedup();
    rounds
}

fn refresh(report: &mut Report, file: Option<&Spanned<HumanDuration>>) -> Option<Duration> {
    match file {
        Some(never) if never.get_ref().get().is_zero() => None,
        file => Some(report.duration("refresh", file, REFRESHES, REFRESH)),
    }
}

fn forms(report: &mut Report, file: &[Spanned<String>]) -> (bool, bool) {
    const FORMS: [(&str, bool); 2] = [("request", true), ("reply", false)];
    let mut found = (false, false);
    for word in file {
        match report.choice("ARP form", word.span(), word.get_ref(), &FORMS) {
            Some(true) => found.0 = true,
            Some(false) => found.1 = true,
            None => {}
        }
    }
    // An empty list would be the way to announce nothing: repeat = 0 says that better, but both are clear.
    found
}
