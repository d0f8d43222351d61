//! A server like RabbitMQ on a host: the process, and the orders it takes. See [`crate::amqp::server`].

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use crate::daemon::lab_binary;
use crate::host::Host;
use crate::process::Process;

/// A running server, at port 5672 of every address of its host.
#[derive(Debug)]
pub struct Broker {
    /// To be killed, stopped (SIGSTOP) and continued.
    pub process: Process,
    name: String,
    control: PathBuf,
}

/// What a [`Broker`] has seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeenByBroker {
    /// Connections accepted, checks included.
    pub accepted: u64,
    /// Connections that logged in.
    pub logged_in: u64,
    /// Connections open now.
    pub open: u64,
    /// Octets of frames received.
    pub octets: u64,
}

impl Broker {
    /// RabbitMQ's port.
    pub const PORT: u16 = 5672;

    /// Starts it; its name is the host's, and what [`crate::Session::server`] answers.
    #[track_caller]
    pub fn start(host: &Host) -> Self {
        let control = host.directory().join("broker.sock");
        // One that was killed leaves its socket.
        let _ = std::fs::remove_file(&control);
        let process = host.spawn(
            lab_binary(),
            &[
                "broker",
                host.name(),
                &format!("0.0.0.0:{}", Self::PORT),
                control.to_str().expect("a plain path"),
            ],
        );
        let broker = Self {
            process,
            name: host.name().to_owned(),
            control,
        };
        crate::eventually(Duration::from_secs(10), "the server takes orders", || {
            broker.try_tell("seen")
        });
        broker
    }

    /// The name it greets with.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Gives an order; the list is at [`crate::amqp::server::serve`].
    #[track_caller]
    pub fn tell(&self, order: &str) -> String {
        let answer = self
            .try_tell(order)
            .unwrap_or_else(|error| panic!("{}: {order}: {error}", self.name));
        assert!(!answer.starts_with("unknown"), "{answer}");
        answer
    }

    fn try_tell(&self, order: &str) -> std::io::Result<String> {
        let mut stream = UnixStream::connect(&self.control)?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.write_all(format!("{order}\n").as_bytes())?;
        stream.shutdown(Shutdown::Write)?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    /// What it has seen so far.
    #[track_caller]
    pub fn seen(&self) -> SeenByBroker {
        let answer = self.tell("seen");
        let numbers: Vec<u64> = answer
            .split(' ')
            .filter_map(|number| number.parse().ok())
            .collect();
        let [accepted, logged_in, open, octets] = numbers[..] else {
            panic!("{answer}");
        };
        SeenByBroker {
            accepted,
            logged_in,
            open,
            octets,
        }
    }
}
