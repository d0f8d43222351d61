//! Network namespaces for the unit tests of this package: one thread is one host. They need root.

use std::process::Command;
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, unshare};

/// Runs `body` on a thread in an empty network namespace.
pub(crate) fn in_namespace<T: Send + 'static>(body: impl FnOnce() -> T + Send + 'static) -> T {
    let thread = std::thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace needs root");
        body()
    });
    match thread.join() {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// `ip ARGUMENTS` in the namespace of this thread.
pub(crate) fn ip(arguments: &str) -> String {
    let output = Command::new("ip")
        .args(arguments.split_whitespace())
        .output()
        .expect("iproute2 is installed");
    assert!(
        output.status.success(),
        "ip {arguments}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Waits until `condition` holds; panics with its last complaint.
pub(crate) fn eventually(limit: Duration, mut condition: impl FnMut() -> Result<(), String>) {
    let deadline = Instant::now() + limit;
    loop {
        match condition() {
            Ok(()) => return,
            Err(complaint) => assert!(Instant::now() < deadline, "not within {limit:?}: {complaint}"),
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}
