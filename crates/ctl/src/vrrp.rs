//! The failover daemon: what is asked of it for each verb.

mod events;
mod status;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde::Serialize;
use warren_api::Timestamp;
use warren_api::vrrp::{Reply, Request, Status, explain};
use warren_kit::clock::wall_clock;
use warren_kit::control::{Address, Client};
use warren_kit::suggest::did_you_mean;

use crate::clock::Clock;
use crate::paint::{self, Paint, clean};
use crate::{Error, View, write_json};

/// Name of the control socket in the runtime directory.
pub const SOCKET: &str = "vrrp.sock";

/// Handing a role over waits for the other host; everything else is answered at once.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(120);

/// A new binary answers within a fraction of a second.
const UPGRADE_TIMEOUT: Duration = Duration::from_secs(10);
const UPGRADE_POLL: Duration = Duration::from_millis(20);

/// The daemon of one runtime directory.
#[derive(Debug, Clone)]
pub struct Daemon {
    pub runtime_dir: PathBuf,
}

impl Daemon {
    fn connect(&self) -> Result<Client, Error> {
        Ok(Client::connect(&Address {
            path: self.runtime_dir.join(SOCKET),
            name: "failover daemon".into(),
            start:
                "systemctl start warren-vrrp, or warren vrrp; if it runs elsewhere, name its --runtime-dir"
                    .into(),
        })?)
    }

    fn ask(&self, request: &Request) -> Result<Reply, Error> {
        refusal(self.connect()?.timeout(DRAIN_TIMEOUT).call(request)?)
    }

    fn fetch(&self) -> Result<Status, Error> {
        match refusal(self.connect()?.call(&Request::Status {})?)? {
            Reply::Status(status) => Ok(*status),
            _ => Err(Error::Unexpected),
        }
    }
}

fn refusal(reply: Reply) -> Result<Reply, Error> {
    match reply {
        Reply::Refused(refused) => Err(Error::Refused {
            code: refused.code,
            message: refused.message,
        }),
        reply => Ok(reply),
    }
}

/// Shows everything, or one router with its checks.
pub fn status(daemon: &Daemon, router: Option<&str>, view: &mut View<'_>) -> Result<(), Error> {
    let status = narrowed(daemon.fetch()?, router)?;
    if view.json {
        return write_json(view.out, &status);
    }
    let text = status::text(&status, &Clock::local(status.time), Paint(view.colour));
    view.out.write_all(text.as_bytes())?;
    Ok(())
}

/// Explains the state of every router, or of one.
pub fn why(daemon: &Daemon, router: Option<&str>, view: &mut View<'_>) -> Result<(), Error> {
    #[derive(Serialize)]
    struct Why {
        router: String,
        state: warren_api::vrrp::State,
        sentences: Vec<String>,
    }
    let status = narrowed(daemon.fetch()?, router)?;
    let clock = Clock::local(status.time);
    let answers: Vec<Why> = status
        .routers
        .iter()
        .map(|router| Why {
            router: router.name.clone(),
            state: router.state,
            sentences: explain(router, &status.checks, &|time| clock.words(time)),
        })
        .collect();
    if view.json {
        return write_json(view.out, &answers);
    }
    for why in answers {
        for (index, sentence) in why.sentences.iter().enumerate() {
            // The first sentence is the answer, the others its reasons.
            let indent = if index == 0 { "" } else { "  " };
            writeln!(view.out, "{indent}{}", clean(sentence).replace('\n', "\n    | "))?;
        }
    }
    Ok(())
}

/// What events are asked for.
#[derive(Debug, Clone, Default)]
pub struct EventsOptions {
    pub router: Option<String>,
    pub follow: bool,
    pub after: Option<u64>,
}

/// Prints the history, and with `follow` what happens from now on until the daemon goes.
pub fn events(daemon: &Daemon, options: &EventsOptions, view: &mut View<'_>) -> Result<(), Error> {
    let request = Request::Events {
        follow: options.follow,
        after: options.after,
        router: options.router.clone(),
    };
    let client = daemon.connect()?;
    let answers = if options.follow {
        client.follow(&request)?
    } else {
        client.stream(&request)?
    };
    let clock = Clock::local(now());
    for answer in answers {
        let Reply::Event(event) = refusal(answer?)? else {
            return Err(Error::Unexpected);
        };
        if view.json {
            serde_json::to_writer(&mut *view.out, &event).map_err(std::io::Error::from)?;
            writeln!(view.out)?;
        } else {
            writeln!(view.out, "{}", events::line(&event, &clock, Paint(view.colour)))?;
        }
        // A reader in a pipe wants each event when it happens.
        view.out.flush()?;
    }
    Ok(())
}

/// Gives a router's role away.
pub fn drain(daemon: &Daemon, router: &str, view: &mut View<'_>) -> Result<(), Error> {
    change(
        daemon,
        &Request::Drain {
            router: router.into(),
        },
        view,
    )
}

/// Lets a router take part again.
pub fn resume(daemon: &Daemon, router: &str, view: &mut View<'_>) -> Result<(), Error> {
    change(
        daemon,
        &Request::Resume {
            router: router.into(),
        },
        view,
    )
}

/// Makes the daemon read its configuration.
pub fn reload(daemon: &Daemon, view: &mut View<'_>) -> Result<(), Error> {
    change(daemon, &Request::Reload {}, view)
}

/// Makes the daemon go on with the binary that is installed now, and waits until it does.
pub fn upgrade(daemon: &Daemon, view: &mut View<'_>) -> Result<(), Error> {
    let before = daemon.fetch()?.processes.worker;
    change(daemon, &Request::Upgrade {}, view)?;
    let deadline = Instant::now() + UPGRADE_TIMEOUT;
    loop {
        let status = daemon.fetch();
        match &status {
            // The guard of a new binary has restarted nobody; the old one has, when it goes on.
            Ok(status) if status.processes.worker != before && status.processes.restarts > 0 => {
                return Err(Error::OldBinary);
            }
            Ok(status) if status.processes.worker != before => {
                writeln!(view.out, "version {} runs", clean(&status.version))?;
                return Ok(());
            }
            // The old one still, or none for the moment.
            _ if Instant::now() < deadline => std::thread::sleep(UPGRADE_POLL),
            Ok(_) => return Err(Error::NotUpgraded(UPGRADE_TIMEOUT)),
            Err(_) => return status.map(drop),
        }
    }
}

fn change(daemon: &Daemon, request: &Request, view: &mut View<'_>) -> Result<(), Error> {
    let Reply::Done { message, warnings } = daemon.ask(request)? else {
        return Err(Error::Unexpected);
    };
    let paint = Paint(view.colour);
    for warning in warnings {
        writeln!(
            view.out,
            "{} {}",
            paint.waiting("warning:"),
            paint::warning(&warning)
        )?;
    }
    writeln!(view.out, "{}", clean(&message))?;
    Ok(())
}

/// The status with only the router of that name and what concerns it.
fn narrowed(mut status: Status, router: Option<&str>) -> Result<Status, Error> {
    let Some(name) = router else {
        return Ok(status);
    };
    if !status.routers.iter().any(|router| router.name == name) {
        let names = status.routers.iter().map(|router| router.name.as_str());
        let help = match did_you_mean(name, names.clone()) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None if status.routers.is_empty() => "the daemon runs none".into(),
            None => format!("there are: {}", names.collect::<Vec<_>>().join(", ")),
        };
        return Err(Error::NoSuchRouter {
            name: name.into(),
            help,
        });
    }
    status.routers.retain(|router| router.name == name);
    status
        .checks
        .retain(|check| check.routers.iter().any(|it| it == name));
    status
        .groups
        .retain(|group| group.routers.iter().any(|it| it == name));
    Ok(status)
}

fn now() -> Timestamp {
    wall_clock().into()
}

#[cfg(test)]
mod tests;
