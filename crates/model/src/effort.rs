//! How much something costs, for tests: a machine that others use as well makes it no more.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// The processor's time that this thread takes for something.
pub(crate) fn effort(work: impl FnOnce()) -> Duration {
    let before = used();
    work();
    used().saturating_sub(before)
}

fn used() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap()
}

/// Something of so much takes about four times as long as of a quarter: not sixteen times, as it does where each looks at all others.
pub(crate) fn assert_grows_with(many: u32, effort_of: impl Fn(u32) -> Duration) {
    let least = |many| std::iter::repeat_with(|| effort_of(many)).take(5).min().unwrap();
    let (few, many) = (least(many / 4), least(many));
    assert!(many < 10 * few, "a quarter {few:?}, all {many:?}");
}
