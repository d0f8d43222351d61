//! Real-time scheduling and locked memory, as far as the host allows.

use std::time::Duration;

use nix::sys::resource::{Resource, setrlimit};
use rustix::mm::MlockAllFlags;
use thread_priority::{
    RealtimeThreadSchedulePolicy, ThreadPriority, ThreadPriorityValue, ThreadSchedulePolicy,
    set_thread_priority_and_policy, thread_native_id,
};

/// Puts the calling thread under SCHED_RR at this priority; says why if that is refused.
pub(crate) fn become_realtime(priority: Option<u8>) -> Result<(), String> {
    // An ordinary thread's timers may come up to 50 µs late on purpose; real-time threads have no slack anyway.
    let _ = nix::sys::prctl::set_timerslack(1);
    let Some(priority) = priority else {
        return Err("switched off in the configuration".into());
    };
    let value = ThreadPriorityValue::try_from(priority)?;
    let policy = ThreadSchedulePolicy::Realtime(RealtimeThreadSchedulePolicy::RoundRobin);
    set_thread_priority_and_policy(thread_native_id(), ThreadPriority::Crossplatform(value), policy).map_err(
        |error| {
            let reason = match error {
                thread_priority::Error::OS(number) => std::io::Error::from_raw_os_error(number).to_string(),
                other => format!("{other:?}"),
            };
            format!("{reason}: needs CAP_SYS_NICE or a real-time limit (LimitRTPRIO={priority})")
        },
    )
}

/// Limits how long a real-time thread of this process may run without resting.
pub(crate) fn limit_runaway(limit: Duration) {
    let micros = u64::try_from(limit.as_micros()).unwrap_or(u64::MAX);
    // Refused only where the hard limit is lower already, which serves as well.
    let _ = setrlimit(Resource::RLIMIT_RTTIME, micros, micros);
}

/// Keeps the pages this process has touched in memory. Untouched ones are locked once they are: locking whole
/// thread stacks and the whole binary would cost many times the memory that is used.
pub(crate) fn lock_memory() -> Result<(), String> {
    let flags = MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT;
    rustix::mm::mlockall(flags)
        .map_err(|error| format!("{error}: needs CAP_IPC_LOCK or a higher limit (LimitMEMLOCK=infinity)"))
}
