//! `warren broker status`, `why`, `drain` and `resume`: the broker in the manner of the other roles, for people.

use std::path::PathBuf;
use std::time::Duration;

use warren_api::broker::{Health, Reply, Request, SOCKET, Status, explain, octets};
use warren_kit::control::{Address, Client};
use warren_kit::duration::HumanDuration;

use crate::paint::{Paint, clean};
use crate::{Error, View, write_json};

/// Draining waits until listeners are closed.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The broker of one runtime directory.
#[derive(Debug, Clone)]
pub struct Broker {
    pub runtime_dir: PathBuf,
}

impl Broker {
    /// Where the broker of a runtime directory is asked.
    pub(super) fn address(runtime_dir: &std::path::Path) -> Address {
        Address {
            path: runtime_dir.join(SOCKET),
            name: "broker".into(),
            start:
                "systemctl start warren-broker, or warren broker; if it runs elsewhere, name its --runtime-dir"
                    .into(),
        }
    }

    fn ask(&self, request: &Request) -> Result<Reply, Error> {
        let client = Client::connect(&Self::address(&self.runtime_dir))?;
        match client.timeout(TIMEOUT).call(request)? {
            Reply::Refused(refused) => Err(Error::Refused {
                code: refused.code,
                message: refused.message,
            }),
            reply => Ok(reply),
        }
    }

    fn health(&self) -> Result<Health, Error> {
        match self.ask(&Request::Health {})? {
            Reply::Health(health) => Ok(*health),
            _ => Err(Error::Unexpected),
        }
    }
}

/// Shows the node and what it is doing.
pub fn status(broker: &Broker, view: &mut View<'_>) -> Result<(), Error> {
    let Reply::Status(status) = broker.ask(&Request::Status {})? else {
        return Err(Error::Unexpected);
    };
    if view.json {
        return write_json(view.out, &status);
    }
    let text = page(&status, Paint(view.colour));
    view.out.write_all(text.as_bytes())?;
    Ok(())
}

/// Explains what is not as it should be, and what to do.
pub fn why(broker: &Broker, view: &mut View<'_>) -> Result<(), Error> {
    let health = broker.health()?;
    let sentences = explain(&health);
    if view.json {
        return write_json(view.out, &sentences);
    }
    for sentence in sentences {
        writeln!(view.out, "{}", clean(&sentence))?;
    }
    Ok(())
}

/// Closes the listeners and asks all clients to go.
pub fn drain(broker: &Broker, view: &mut View<'_>) -> Result<(), Error> {
    match broker.ask(&Request::Drain {})? {
        Reply::Done { count, .. } => {
            let said = format!(
                "listeners are closed, {count} clients were told to go; `warren broker resume` opens them again"
            );
            writeln!(view.out, "{said}")?;
            Ok(())
        }
        _ => Err(Error::Unexpected),
    }
}

/// Opens the listeners again.
pub fn resume(broker: &Broker, view: &mut View<'_>) -> Result<(), Error> {
    match broker.ask(&Request::Revive {})? {
        Reply::Done { .. } => {
            writeln!(view.out, "clients are served again")?;
            Ok(())
        }
        _ => Err(Error::Unexpected),
    }
}

fn page(status: &Status, paint: Paint) -> String {
    let state = match (status.ready, status.maintenance) {
        (_, true) => paint.waiting("in maintenance"),
        (true, false) => paint.good("serves"),
        (false, false) => paint.waiting("starting"),
    };
    let up = HumanDuration::from(Duration::from_secs(status.time.since(status.started).as_secs()));
    let mut text = format!(
        "{}  {state}  up {up}  warren {}  like RabbitMQ {}  process {}\n",
        paint.strong(&clean(&status.node)),
        clean(&status.version),
        clean(&status.rabbitmq_version),
        status.pid
    );
    text += &format!(
        "  cluster {}  data {}\n",
        clean(&status.cluster_name),
        clean(status.data_directory.as_deref().unwrap_or("in memory only"))
    );
    for alarm in &status.alarms {
        let since = HumanDuration::from(Duration::from_secs(status.time.since(alarm.since).as_secs()));
        let said = format!(
            "{} alarm for {since}: publishers are blocked",
            clean(&alarm.resource)
        );
        text += &format!("  {}\n", paint.bad(&said));
    }
    let unanswered = Duration::from(status.disk.unanswered_us);
    if !unanswered.is_zero() {
        let unanswered = HumanDuration::from(Duration::from_secs(unanswered.as_secs()));
        let said = format!("the disk has not answered for {unanswered}: confirms and changes wait");
        text += &format!("  {}\n", paint.bad(&said));
    }
    text += &format!(
        "  memory {} of {}  disk {} free, {} needed  files {} of {}\n",
        octets(status.memory.used),
        octets(status.memory.limit),
        octets(status.disk.free),
        octets(status.disk.limit),
        status.files.open,
        status.files.limit
    );
    text += &format!(
        "  connections {}  channels {}  consumers {}  vhosts {}  queues {}\n  messages {} ready, {} unacknowledged\n",
        status.connections,
        status.channels,
        status.consumers,
        status.vhosts,
        status.queues,
        status.messages_ready,
        status.messages_unacknowledged
    );
    for listener in &status.listeners {
        text += &format!(
            "  listens on {}:{} for {}\n",
            clean(&listener.interface),
            listener.port,
            clean(&listener.protocol)
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use warren_api::broker::{Alarm, Disk};

    use super::*;

    #[test]
    fn a_page_has_what_is_short_before_what_is_not() {
        let status = Status {
            node: "rabbit@a".into(),
            cluster_name: "shop".into(),
            ready: true,
            alarms: vec![Alarm {
                resource: "memory".into(),
                ..Alarm::default()
            }],
            disk: Disk {
                unanswered_us: Duration::from_millis(12_345).into(),
                ..Disk::default()
            },
            messages_ready: 7,
            ..Status::default()
        };
        let text = page(&status, Paint(false));
        assert!(text.starts_with("rabbit@a  serves  up "), "{text}");
        let (alarm, memory) = (text.find("memory alarm for"), text.find("  memory 0 B of"));
        assert!(alarm.is_some() && alarm < memory, "{text}");
        assert!(
            text.contains("the disk has not answered for 12s: confirms"),
            "{text}"
        );
        assert!(text.contains("messages 7 ready"), "{text}");
    }
}
