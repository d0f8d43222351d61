//! A broker on a host: ours or RabbitMQ, to be killed and started again with what it has kept.

use std::process::Command;
use std::time::Duration;

use warren_lab::{Host, Process, eventually};

/// Erlang on a busy machine.
const START: Duration = Duration::from_secs(120);

/// Whose broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flavour {
    RabbitMq,
    Warren,
}

/// A broker that listens on port 5672 of its host's loopback.
pub(super) struct Node<'a> {
    flavour: Flavour,
    host: &'a Host,
    process: Process,
}

impl<'a> Node<'a> {
    pub(super) fn start(flavour: Flavour, host: &'a Host) -> Self {
        Self::start_with(flavour, host, "")
    }

    /// With a rabbitmq.conf, which both read.
    pub(super) fn start_with(flavour: Flavour, host: &'a Host, configuration: &str) -> Self {
        host.write("rabbitmq.conf", configuration);
        let process = match flavour {
            Flavour::RabbitMq => rabbitmq(host),
            Flavour::Warren => warren(host),
        };
        let node = Self {
            flavour,
            host,
            process,
        };
        node.listens();
        node
    }

    /// Nobody is told, nothing is flushed.
    pub(super) fn kill(&mut self) {
        self.process.kill();
    }

    /// The same, and it starts with what is there.
    pub(super) fn kill_and_start(&mut self) {
        self.process.kill();
        self.process = match self.flavour {
            Flavour::RabbitMq => {
                // The shell around it was killed; so that Erlang goes as hard, and epmd forgets it.
                self.host.sh(
                    "pkill -KILL beam.smp || true; while pgrep beam.smp > /dev/null; do sleep 0.05; done",
                );
                rabbitmq(self.host)
            }
            Flavour::Warren => warren(self.host),
        };
        self.listens();
    }

    /// `rabbitmqctl` of the broker's own kind.
    #[track_caller]
    pub(super) fn control(&self, words: &str) -> String {
        match self.flavour {
            Flavour::RabbitMq => self.host.sh(&format!(
                "HOME={} RABBITMQ_NODENAME=rabbit@localhost /usr/lib/rabbitmq/bin/rabbitmqctl {words}",
                self.host.directory().display()
            )),
            Flavour::Warren => {
                let binary = warren_lab::warren_binary();
                self.host.sh(&format!("{} ctl {words}", binary.display()))
            }
        }
    }

    pub(super) fn log(&self) -> String {
        self.process.log()
    }

    fn listens(&self) {
        eventually(START, "the broker listens", || {
            self.host
                .enter(|| std::net::TcpStream::connect("127.0.0.1:5672").map_err(|error| (error, self.log())))
        });
    }
}

fn warren(host: &Host) -> Process {
    let mut command = Command::new(warren_lab::warren_binary());
    command
        .arg("broker")
        .arg("-f")
        .arg(host.directory().join("rabbitmq.conf"))
        .arg("--data")
        .arg(host.directory().join("data"));
    host.spawn_command(command)
}

fn rabbitmq(host: &Host) -> Process {
    let path = |file: &str| host.directory().join(file);
    host.write("enabled_plugins", "[].\n");
    let mut command = Command::new("/usr/lib/rabbitmq/bin/rabbitmq-server");
    command
        .env("HOME", host.directory())
        .env("RABBITMQ_NODENAME", "rabbit@localhost")
        .env("RABBITMQ_MNESIA_BASE", path("mnesia"))
        .env("RABBITMQ_LOG_BASE", path("log"))
        .env("RABBITMQ_LOGS", "-")
        .env("RABBITMQ_ENABLED_PLUGINS_FILE", path("enabled_plugins"))
        .env("RABBITMQ_CONFIG_FILE", path("rabbitmq.conf"))
        .env("RABBITMQ_PID_FILE", path("pid"))
        // One scheduler that does not spin.
        .env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", "+S 1:1 +sbwt none");
    host.spawn_command(command)
}
