//! `server-state-file`: how servers were when somebody last saved the answer to `show servers state`.
//!
//! Reloads and upgrades keep what is known without any file; this is for what a stop would forget: the operator's
//! word, weights, and who was down. A line that does not fit the configuration is passed over: everything goes by name,
//! and what has another weight or is `disabled` now was changed on purpose.

use std::fs::File;
use std::io::{self, Read as _};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use warren_balance::Weight;
use warren_balance::health::{Operation, Saved};

use crate::check::Servers;
use crate::live::{Server, Target};
use crate::plan::HostAddress;

/// Octets of a file that are read.
const FILE_MAX: u64 = 16 * 1024 * 1024;
/// The one form there is.
const VERSION: &str = "1";

/// A file that says nothing about servers. None of these is a reason not to start.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// Not there, or not readable.
    #[error("server state file {0} cannot be read ({1}): servers start as if nothing were known")]
    Unreadable(PathBuf, io::Error),
    /// Not what `show servers state` says.
    #[error("server state file {0} does not begin with version {VERSION}: save `show servers state` there")]
    Version(PathBuf),
}

/// Lets the servers of backends that ask for it be as the file says. To be called before anything is checked; says how
/// many were found.
///
/// # Errors
/// The file cannot be used; then nothing has changed.
pub fn load(servers: &Servers) -> Result<usize, StateError> {
    let snapshot = servers.live.snapshot();
    let wanted = snapshot
        .backends
        .iter()
        .any(|backend| backend.plan().server_state);
    let Some(path) = snapshot.plan.global.server_state_file.as_ref().filter(|_| wanted) else {
        return Ok(0);
    };
    let mut text = String::new();
    File::open(path)
        .and_then(|file| file.take(FILE_MAX).read_to_string(&mut text))
        .map_err(|error| StateError::Unreadable(path.clone(), error))?;
    apply(servers, &text).ok_or_else(|| StateError::Version(path.clone()))
}

/// `None`: it is of another version.
fn apply(servers: &Servers, text: &str) -> Option<usize> {
    let mut lines = text.lines();
    if lines.next().map(str::trim) != Some(VERSION) {
        return None;
    }
    let snapshot = servers.live.snapshot();
    let mut found = 0;
    for line in lines.filter(|line| !line.starts_with('#')) {
        let columns: Vec<&str> = line.split_ascii_whitespace().collect();
        let (Some(backend), Some(name)) = (columns.get(1), columns.get(3)) else {
            continue;
        };
        let backend = snapshot.backend_named(backend);
        let backend = backend.filter(|backend| backend.plan().server_state);
        if let Some(server) = backend.and_then(|backend| backend.server_named(name)) {
            found += usize::from(restore(&server, &columns).is_some());
        }
    }
    let now = servers.now();
    for backend in &snapshot.backends {
        backend.refresh(now);
    }
    Some(found)
}

/// `None`: the line is cut off, or no number is where one should be.
fn restore(server: &Server, columns: &[&str]) -> Option<()> {
    const MAINT: u8 = 1;
    const CONFIGURED: u8 = 4;
    const DRAIN: u8 = 8;
    let number = |place: usize| columns.get(place)?.parse::<u32>().ok();
    let (operation, admin) = (number(5)?, u8::try_from(number(6)?).ok()?);
    let (weight, initial, health) = (number(7)?, number(8)?, number(12)?);
    let plan = server.plan();
    let unchanged = u32::from(plan.weight.get()) == initial;
    let weight = Weight::try_from(weight).ok().filter(|_| unchanged);
    let maint = admin & MAINT != 0;
    let saved = Saved {
        operation: match operation {
            // In maintenance it did nothing, which says nothing about it.
            0 if !maint => Operation::Stopped,
            3 => Operation::Stopping,
            _ => Operation::Running,
        },
        maint: maint && admin & CONFIGURED == 0 && !plan.disabled,
        drain: admin & DRAIN != 0 && !plan.disabled,
        weight: weight.unwrap_or(plan.weight),
        health: if maint {
            server.operational.lock().health.score()
        } else {
            u16::try_from(health).ok()?
        },
    };
    if !plan.disabled {
        server.operational.lock().health.restore(&saved);
    }
    place(server, columns);
    Some(())
}

/// A name that nobody could resolve yet stands for what it stood for.
fn place(server: &Server, columns: &[&str]) {
    let HostAddress::Name(name, port) = &server.plan().address else {
        return;
    };
    let address: Option<IpAddr> = columns.get(4).and_then(|address| address.parse().ok());
    if let (Some(address), None, Some(true)) = (
        address,
        server.target.load_full(),
        columns.get(17).map(|host| *host == name.as_str()),
    ) {
        let target = Target::Tcp(SocketAddr::new(address, *port));
        server.target.store(Some(Arc::new(target)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Cause;
    use crate::check::fixture::{self, World};
    use crate::plan::{CheckKind, Plan};
    use warren_balance::Admin;
    use warren_balance::health::Input;

    fn plan() -> Plan {
        let address = ([127, 0, 0, 1], 9).into();
        let mut plan = fixture::checked(&CheckKind::Tcp, &[address; 5]);
        fixture::change(&mut plan, |server| server.weight = Weight::try_from(10).unwrap());
        Arc::make_mut(&mut plan.backends[0]).server_state = true;
        plan
    }

    fn statuses(world: &World) -> Vec<(String, u32)> {
        let servers = world.backend().servers();
        servers
            .iter()
            .map(|server| (server.status(), server.operational.lock().health.weight()))
            .collect()
    }

    #[test]
    fn what_show_servers_state_said_is_so_again() {
        let before = World::idle(plan());
        for (id, input) in [
            (1, Input::Admin(Admin::Maint)),
            (2, Input::Admin(Admin::Drain)),
            (3, Input::Check(false)),
            (4, Input::Percent(50)),
            (4, Input::Check(true)),
            (5, Input::Check(true)),
            (5, Input::Check(false)),
        ] {
            let server = before.server(id);
            before
                .servers
                .change(&before.backend(), &server, &input, Cause::Silent);
        }
        let snapshot = before.servers.live.snapshot();
        let saved = crate::stats::state_table(&snapshot.backends, before.servers.now());
        let after = World::idle(plan());
        assert_eq!(apply(&after.servers, &saved), Some(5));
        assert_eq!(statuses(&after), statuses(&before));
        assert_eq!(after.backend().usable(), 2);
    }

    #[test]
    fn what_was_changed_on_purpose_is_not_changed_back() {
        let before = World::idle(plan());
        for id in 1..=2 {
            let server = before.server(id);
            let input = Input::Percent(50);
            before
                .servers
                .change(&before.backend(), &server, &input, Cause::Silent);
        }
        let snapshot = before.servers.live.snapshot();
        let saved = crate::stats::state_table(&snapshot.backends, before.servers.now());
        let mut changed = plan();
        fixture::change(&mut changed, |server| match &*server.name {
            "server1" => server.weight = Weight::try_from(20).unwrap(),
            "server2" => server.disabled = true,
            _ => {}
        });
        let after = World::idle(changed);
        apply(&after.servers, &saved);
        assert_eq!(
            statuses(&after)[..2],
            [("UP 1/3".to_owned(), 20), ("MAINT".to_owned(), 10)]
        );
    }

    #[test]
    fn a_file_that_says_nothing_changes_nothing() {
        let world = World::idle(plan());
        let before = statuses(&world);
        assert_eq!(apply(&world.servers, "2\n"), None);
        assert_eq!(apply(&world.servers, ""), None);
        let junk = "1\n# header\n\n1 back\n2 back 1 server1\n2 back 1 server1 x 9 9 9 x\n2 back 1 nobody - 0 0 1 1\n";
        assert_eq!(apply(&world.servers, junk), Some(0));
        assert_eq!(statuses(&world), before);
        let mut missing = plan();
        missing.global.server_state_file = Some("/nonexistent/state".into());
        let world = World::idle(missing);
        assert!(matches!(load(&world.servers), Err(StateError::Unreadable(..))));
    }
}
