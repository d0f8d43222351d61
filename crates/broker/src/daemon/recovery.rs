//! A start that takes long says how far it is, to the service manager and in the log.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use warren_cluster::RecoveryProgress;
use warren_kit::systemd::ServiceManager;

/// How often.
const EVERY: Duration = Duration::from_secs(1);
/// How much longer the service manager is asked to wait each time.
const PATIENCE: Duration = Duration::from_secs(60);

/// Opens a log, and says how far that is as long as it lasts.
pub(super) fn watched<T>(
    progress: &RecoveryProgress,
    manager: &ServiceManager,
    open: impl FnOnce() -> T,
) -> T {
    // A service manager that does not listen is no reason not to start.
    let _ = manager.status("recovering");
    let say = || {
        let status = words(progress.octets());
        let _ = manager.takes(&status, PATIENCE);
        tracing::info!(status, "data directory is being opened");
    };
    while_it_lasts(EVERY, say, open)
}

fn while_it_lasts<T>(every: Duration, say: impl Fn() + Send, work: impl FnOnce() -> T) -> T {
    let (lasts, over) = mpsc::sync_channel::<()>(1);
    std::thread::scope(|scope| {
        scope.spawn(move || {
            while over.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
                say();
            }
        });
        let done = work();
        drop(lasts);
        done
    })
}

fn words((read, all): (u64, u64)) -> String {
    match read * 100 / all.max(1) {
        _ if all == 0 => "recovering".to_owned(),
        100 => "recovering: the log has been read, queues come next".to_owned(),
        percent => format!("recovering: {percent} % of {}", size(all)),
    }
}

/// With one digit behind the point, from kilobytes on.
fn size(octets: u64) -> String {
    let units = [(1_000_000_000, "GB"), (1_000_000, "MB"), (1_000, "kB")];
    let unit = units.into_iter().find(|(unit, _)| octets >= *unit);
    unit.map_or_else(
        || format!("{octets} octets"),
        |(unit, name)| format!("{:.1} {name}", octets as f64 / unit as f64),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_says_how_much_of_the_log_it_has_read() {
        assert_eq!(words((0, 0)), "recovering");
        assert_eq!(words((519_000_000, 1_200_000_000)), "recovering: 43 % of 1.2 GB");
        assert_eq!(words((0, 999)), "recovering: 0 % of 999 octets");
        assert_eq!(
            words((5, 5)),
            "recovering: the log has been read, queues come next"
        );
    }

    #[test]
    fn it_is_said_again_and_again_until_it_is_over() {
        let (said, heard) = mpsc::sync_channel(1);
        let say = move || said.try_send(()).unwrap_or_default();
        let count = while_it_lasts(Duration::from_millis(1), say, || {
            (0..3)
                .map(|_| heard.recv_timeout(Duration::from_secs(20)).unwrap())
                .count()
        });
        assert_eq!(count, 3);
        while heard.try_recv().is_ok() {}
        assert!(heard.recv().is_err(), "nobody says anything any more");
    }
}
