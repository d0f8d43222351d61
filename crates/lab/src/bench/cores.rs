//! Which loop runs on which core: the proxy alone on one, the rest beside it.

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

/// Cores by number. With fewer than four some of them are the same, but the proxy's are its own if there are two.
#[derive(Debug, Clone)]
pub(crate) struct Cores {
    /// One for each of its workers.
    pub(crate) proxy: Vec<usize>,
    pub(crate) servers: usize,
    /// One loop for each; most rows use the first only.
    pub(crate) clients: Vec<usize>,
    /// Where what is not measured runs.
    pub(crate) rest: usize,
}

impl Cores {
    /// Chosen among those that this process may use, for a proxy of so many workers: of fewer, if nobody else would have a
    /// core.
    pub(crate) fn choose(workers: usize) -> Self {
        let all = allowed();
        let (left, proxy) = all.split_at(all.len().saturating_sub(workers).max(1).min(all.len() - 1));
        let (servers, clients, rest) = match if left.is_empty() { proxy } else { left } {
            [.., rest, clients, servers] => (*servers, vec![*clients, *rest], *rest),
            [rest, servers] => (*servers, vec![*rest], *rest),
            [only] => (*only, vec![*only], *only),
            [] => unreachable!("this process runs on some core"),
        };
        Self {
            proxy: proxy.to_vec(),
            servers,
            clients,
            rest,
        }
    }
}

/// The cores that this process may use.
pub(crate) fn allowed() -> Vec<usize> {
    let allowed = sched_getaffinity(Pid::from_raw(0)).expect("the cores of this process");
    (0..CpuSet::count())
        .filter(|&core| allowed.is_set(core).unwrap_or(false))
        .collect()
}

/// Keeps the calling thread, and what it starts, on one core.
pub(crate) fn stay_on(core: usize) {
    stay_among(&[core]);
}

/// Keeps the calling thread, and what it starts, on these cores.
pub(crate) fn stay_among(cores: &[usize]) {
    let mut set = CpuSet::new();
    for &core in cores {
        set.set(core).expect("a core of this machine");
    }
    sched_setaffinity(Pid::from_raw(0), &set).expect("a core this process may use");
}
