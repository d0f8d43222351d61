//! A laboratory of machines made of Linux namespaces: real daemons, real frames, real failures.
//!
//! A [`Network`] is a bridge in a namespace of its own (the *switch*); a [`Host`] is a network, process and mount
//! namespace with one cable (`eth0`) to it. Hosts run the real keepalived, haproxy and warren; [`Probe`] is the client
//! that notices an outage, [`Broker`] and [`Session`] are the two ends of a proxied connection, [`Sniffer`] sees every frame a host sends, [`Injector`] is the attacker.
//!
//! The lab is a measuring instrument for tests, the benchmark and the demonstration: where it cannot do what it was
//! asked, it panics with the command and what it printed. It needs root, or `unshare -Ur --map-auto` around it, and
//! `ip`, `nft` and `mount` on the machine. Nothing is named outside the namespaces and nothing stays: the first
//! process of a host ends when its standard input does, which happens even if the lab is killed.
//!
//! Deliberately absent: delay and jitter (netem is not in every kernel), and any knowledge of how warren works inside.

pub mod amqp;
mod broker;
mod clock;
mod daemon;
mod echo;
mod eventually;
pub mod frame;
mod host;
mod injector;
mod namespace;
mod network;
mod origin;
mod probe;
mod process;
mod proxy;
mod sniffer;

pub use amqp::client::{End, Load, LoadReport, Session, read_all};
pub use broker::{Broker, SeenByBroker};
pub use clock::now;
pub use daemon::{Daemon, Flavour, Haproxy, lab_binary, warren_binary};
pub use echo::Echo;
pub use eventually::{eventually, holds_for};
pub use host::Host;
pub use injector::{Injection, Injector};
pub use network::Network;
pub use origin::Origin;
pub use probe::{Gap, Probe, ProbeReport};
pub use process::{Process, Usage};
pub use proxy::{Proxy, ProxyFlavour, Statistics, SyslogSink};
pub use sniffer::{Seen, Sniffer};
