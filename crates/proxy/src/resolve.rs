//! Where servers are that are known by name: looked up at the start, and again and again in the background.
//!
//! ```text
//!   name ── getaddrinfo (/etc/hosts, DNS), on a thread of its own ──▶ addresses ──▶ live::Server::target
//!    ▲  again after [`PAUSE`], sooner while it has no address, at once after a reload
//! ```
//!
//! A server keeps its address as long as the answer has it, and as long as there is no answer. One that never had an
//! address is in maintenance (`MAINT (resolution)`) until it has. Sessions stay where they are.

#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore};
use tokio::task::{AbortHandle, JoinSet};
use warren_balance::health::{Input, spread};

use crate::check::{Cause, Servers, entropy};
use crate::live::{Backend, Server, Target};
use crate::plan::{HostAddress, Level, Plan};

/// Between two lookups of a name, more or less by a half.
pub const PAUSE: Duration = Duration::from_secs(15);
/// The same while a name has no address.
pub const PAUSE_UNRESOLVED: Duration = Duration::from_secs(1);
/// Lookups that are under way at once, each on a thread that waits.
pub const LOOKUPS_MAX: usize = 8;

/// A server whose name has no address, though the configuration says that it must.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "server {backend}/{server}: could not resolve address '{name}' ({reason}): correct the name, add it to /etc/hosts, \
     or allow it to be unknown at the start with 'init-addr none'"
)]
pub struct Unresolved {
    /// Its backend.
    pub backend: String,
    /// Its name.
    pub server: String,
    /// The name of its host.
    pub name: String,
    /// What the resolver said.
    pub reason: String,
}

/// All of them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct AllUnresolved(pub Vec<Unresolved>);

impl fmt::Display for AllUnresolved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<_> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

/// How names are looked up: [`look_up`], or what a test makes of it.
type Lookup = Arc<dyn Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync>;

/// What the names of a configuration stand for.
#[derive(Clone, Debug, Default)]
pub struct Addresses(HashMap<String, Vec<IpAddr>>);

/// Asks the system: /etc/hosts, DNS, whatever /etc/nsswitch.conf says. Blocks, for as long as the system's resolver does.
///
/// # Errors
/// What the resolver says; an answer without addresses is one, too.
pub fn look_up(name: &str) -> io::Result<Vec<IpAddr>> {
    let found: Vec<IpAddr> = (name, 0).to_socket_addrs()?.map(|address| address.ip()).collect();
    if found.is_empty() {
        return Err(io::ErrorKind::NotFound.into());
    }
    Ok(found)
}

/// Looks up every name of a configuration, [`LOOKUPS_MAX`] at a time. Blocks: for the start, and for a thread of its
/// own before a reload.
///
/// # Errors
/// All servers that must have an address (no `init-addr none` or `last` in haproxy.cfg) and have none.
pub fn look_up_all(plan: &Plan) -> Result<Addresses, AllUnresolved> {
    look_up_all_by(plan, &look_up)
}

fn look_up_all_by(
    plan: &Plan,
    look_up: &(dyn Fn(&str) -> io::Result<Vec<IpAddr>> + Sync),
) -> Result<Addresses, AllUnresolved> {
    let servers = plan
        .backends
        .iter()
        .flat_map(|backend| backend.servers.iter().map(move |server| (backend, server)));
    let named: Vec<_> = servers
        .filter_map(|(backend, server)| match &server.address {
            HostAddress::Name(name, _) => Some((backend, server, name)),
            HostAddress::Ip(_) | HostAddress::Unix(_) => None,
        })
        .collect();
    let names: HashSet<&String> = named.iter().map(|(.., name)| *name).collect();
    let left = Mutex::new(names.into_iter());
    let answers = Mutex::new(HashMap::new());
    std::thread::scope(|scope| {
        for _ in 0..named.len().min(LOOKUPS_MAX) {
            scope.spawn(|| {
                loop {
                    let Some(name) = left.lock().next() else { return };
                    let answer = look_up(name);
                    answers.lock().insert(name, answer);
                }
            });
        }
    });
    let mut answers = answers.into_inner();
    let unresolved: Vec<_> = named
        .iter()
        .filter(|(_, server, _)| !server.may_be_unresolved)
        .filter_map(|(backend, server, name)| {
            let reason = answers.get(name)?.as_ref().err()?;
            Some(Unresolved {
                backend: backend.name.clone(),
                server: server.name.clone(),
                name: (*name).clone(),
                reason: reason.to_string(),
            })
        })
        .collect();
    if !unresolved.is_empty() {
        return Err(AllUnresolved(unresolved));
    }
    let found = answers
        .drain()
        .filter_map(|(name, answer)| Some((name.clone(), answer.ok()?)));
    Ok(Addresses(found.collect()))
}

impl Addresses {
    /// At the start: lets servers have them that have none yet, or another. Who stays without is in maintenance from
    /// the beginning, which is no event like one that goes into it.
    pub fn apply(&self, servers: &Servers) {
        for (backend, server, name) in named(servers) {
            match self.0.get(&name) {
                Some(addresses) => {
                    take(servers, &backend, &server, Some(addresses));
                }
                None if server.target.load().is_none() => {
                    let (backend, server_name) = (&backend.name, &server.name);
                    tracing::warn!(
                        "{backend}/{server_name}: could not resolve address '{name}', disabling server"
                    );
                    for count in [&servers.live.resolutions, &servers.live.failed_resolutions] {
                        count.fetch_add(1, Relaxed);
                    }
                    let input = Input::Resolved(false);
                    server.operational.lock().health.handle(servers.now(), &input);
                }
                None => {}
            }
        }
    }
}

/// Looks names up for as long as it is polled.
pub async fn run(servers: Servers) {
    run_by(servers, Arc::new(look_up), [PAUSE, PAUSE_UNRESOLVED]).await;
}

async fn run_by(servers: Servers, look_up: Lookup, pauses: [Duration; 2]) {
    let (threads, mut reloads) = (Arc::new(Semaphore::new(LOOKUPS_MAX)), servers.reloads());
    let mut tasks = JoinSet::new();
    let mut known: HashMap<String, (AbortHandle, Arc<Notify>)> = HashMap::new();
    loop {
        let names: HashSet<String> = named(&servers).into_iter().map(|(.., name)| name).collect();
        known.retain(|name, (task, wake)| {
            wake.notify_one();
            let stays = names.contains(name);
            if !stays {
                task.abort();
            }
            stays
        });
        while tasks.try_join_next().is_some() {}
        for name in names {
            known.entry(name).or_insert_with_key(|name| {
                let wake = Arc::new(Notify::new());
                let watch = Watch {
                    name: name.clone(),
                    servers: servers.clone(),
                    threads: Arc::clone(&threads),
                    look_up: Arc::clone(&look_up),
                    wake: Arc::clone(&wake),
                    pauses,
                };
                (tasks.spawn(watch.run()), wake)
            });
        }
        if reloads.changed().await.is_err() {
            return;
        }
    }
}

/// Who watches one name.
struct Watch {
    name: String,
    servers: Servers,
    threads: Arc<Semaphore>,
    look_up: Lookup,
    wake: Arc<Notify>,
    pauses: [Duration; 2],
}

impl Watch {
    async fn run(self) {
        loop {
            let answer = self.ask().await;
            let mut resolved = true;
            for (backend, server, name) in named(&self.servers) {
                if name == self.name {
                    resolved &= take(&self.servers, &backend, &server, answer.as_deref());
                }
            }
            let [pause, unresolved] = self.pauses;
            let pause = if resolved { pause } else { unresolved };
            tokio::select! {
                () = tokio::time::sleep(spread(pause, 50, entropy())) => {}
                () = self.wake.notified() => {}
            }
        }
    }

    /// The thread keeps its place until the resolver has answered, even if nobody waits for it any more.
    async fn ask(&self) -> Option<Vec<IpAddr>> {
        let thread = Arc::clone(&self.threads).acquire_owned().await.ok()?;
        let (look_up, name) = (Arc::clone(&self.look_up), self.name.clone());
        let answer = tokio::task::spawn_blocking(move || {
            let answer = look_up(&name);
            drop(thread);
            answer
        });
        let live = &self.servers.live;
        live.resolutions.fetch_add(1, Relaxed);
        match answer.await.ok()? {
            Ok(addresses) => Some(addresses),
            Err(error) => {
                tracing::debug!(name = self.name, %error, "could not be resolved");
                live.failed_resolutions.fetch_add(1, Relaxed);
                None
            }
        }
    }
}

type Named = (Arc<Backend>, Arc<Server>, String);

fn named(servers: &Servers) -> Vec<Named> {
    let mut named = Vec::new();
    for backend in &servers.live.snapshot().backends {
        for server in backend.servers().iter() {
            if let HostAddress::Name(name, _) = &server.plan().address {
                named.push((Arc::clone(backend), Arc::clone(server), name.clone()));
            }
        }
    }
    named
}

/// Gives a server one of these addresses, unless it has one of them; no answer changes nothing, except that who never
/// had an address is out of service. True if it has one now.
fn take(servers: &Servers, backend: &Arc<Backend>, server: &Arc<Server>, answer: Option<&[IpAddr]>) -> bool {
    let HostAddress::Name(_, port) = server.plan().address else {
        return true;
    };
    let before = server.target.load_full();
    let old = match before.as_deref() {
        Some(Target::Tcp(address)) => Some(*address),
        Some(Target::Unix(_)) | None => None,
    };
    let unresolved = || server.operational.lock().health.reasons().unresolved;
    let Some(addresses) = answer.filter(|addresses| !addresses.is_empty()) else {
        if old.is_none() && !unresolved() {
            servers.change(backend, server, &Input::Resolved(false), Cause::Silent);
        }
        return old.is_some();
    };
    let stays = old.filter(|old| old.port() == port && addresses.contains(&old.ip()));
    let Some(address) = addresses.first().filter(|_| stays.is_none()) else {
        return true;
    };
    let new = Target::Tcp(SocketAddr::new(*address, port));
    server.target.store(Some(Arc::new(new)));
    if let Some(old) = old.filter(|old| old.ip() != *address) {
        let text = format!(
            "{}/{} changed its IP from {} to {address} by DNS.",
            backend.name,
            server.name,
            old.ip()
        );
        servers.log(backend, Level::Notice, &text);
    }
    // Also where only the address is another: the balancer has to know, and who waits.
    servers.change(backend, server, &Input::Resolved(true), Cause::Silent);
    server.wake.notify_one();
    true
}
