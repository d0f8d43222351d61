//! Two machines with a shared address and a client: what almost every scenario starts from.

use std::net::IpAddr;
use std::time::Duration;

use warren_lab::{
    Daemon, Echo, Flavour, Host, Network, Probe, Sniffer, eventually, frame::Advert, holds_for, now,
};

/// The shared address of a plain pair.
pub(crate) const VIP: &str = "10.77.9.1";
/// Long enough for a loaded machine; nothing that works takes as long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// One virtual router, to be written down in keepalived's format, which both daemons read.
#[derive(Debug, Clone)]
pub(crate) struct Router {
    pub(crate) name: &'static str,
    pub(crate) vrid: u8,
    pub(crate) version: u8,
    pub(crate) priority: u8,
    pub(crate) interval: Duration,
    pub(crate) addresses: Vec<String>,
    /// More lines of the instance.
    pub(crate) lines: String,
    /// Blocks in front of the instance.
    pub(crate) blocks: String,
}

impl Router {
    /// VRRPv3 at 100 ms.
    pub(crate) fn new(priority: u8) -> Self {
        Self {
            name: "VI_1",
            vrid: 51,
            version: 3,
            priority,
            interval: Duration::from_millis(100),
            addresses: vec![format!("{VIP}/32")],
            lines: String::new(),
            blocks: String::new(),
        }
    }

    pub(crate) fn v2(self) -> Self {
        Self {
            version: 2,
            interval: Duration::from_secs(1),
            ..self
        }
    }

    pub(crate) fn line(mut self, line: &str) -> Self {
        self.lines += &format!("    {line}\n");
        self
    }

    pub(crate) fn block(mut self, block: &str) -> Self {
        self.blocks += &format!("{block}\n");
        self
    }

    pub(crate) fn addresses(self, addresses: &[&str]) -> Self {
        Self {
            addresses: addresses.iter().map(|&address| address.to_owned()).collect(),
            ..self
        }
    }

    /// The instance alone, for files with several.
    pub(crate) fn instance(&self) -> String {
        let Self {
            name,
            vrid,
            version,
            priority,
            lines,
            ..
        } = self;
        let (interval, addresses) = (self.interval.as_secs_f64(), self.addresses.join("\n        "));
        format!(
            "vrrp_instance {name} {{\n    state BACKUP\n    interface eth0\n    version {version}\n    \
             virtual_router_id {vrid}\n    priority {priority}\n    advert_int {interval}\n{lines}    \
             virtual_ipaddress {{\n        {addresses}\n    }}\n}}\n"
        )
    }

    /// The whole file.
    pub(crate) fn file(&self) -> String {
        format!("{}{}", self.blocks, self.instance())
    }

    /// How long a backup with this priority waits for a silent active.
    pub(crate) fn down_interval(&self) -> Duration {
        3 * self.interval + self.skew()
    }

    pub(crate) fn skew(&self) -> Duration {
        let base = if self.version == 2 {
            Duration::from_secs(1)
        } else {
            self.interval
        };
        base * (256 - u32::from(self.priority)) / 256
    }
}

/// A machine with an echo service and, most of the time, a daemon.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) daemon: Option<Daemon>,
    pub(crate) flavour: Flavour,
    pub(crate) file: String,
    pub(crate) router: Router,
    _echo: Echo,
    pub(crate) host: Host,
}

impl Node {
    pub(crate) fn boot(network: &Network, name: &str, flavour: Flavour, router: Router) -> Self {
        let host = network.host(name);
        Self {
            daemon: None,
            flavour,
            file: router.file(),
            router,
            _echo: Echo::start(&host),
            host,
        }
    }

    #[track_caller]
    pub(crate) fn start(&mut self) {
        self.daemon = Some(Daemon::start(self.flavour, &self.host, &self.file));
    }

    /// A graceful end: SIGTERM and the exit awaited.
    #[track_caller]
    pub(crate) fn stop(&mut self) {
        self.daemon
            .take()
            .expect("a running daemon")
            .process
            .terminate(PATIENCE);
    }

    #[track_caller]
    pub(crate) fn daemon(&self) -> &Daemon {
        self.daemon.as_ref().expect("a running daemon")
    }

    pub(crate) fn name(&self) -> &str {
        self.host.name()
    }
}

/// Two nodes `a` and `b`, a `client`, and a sniffer that sees all three.
#[derive(Debug)]
pub(crate) struct Pair {
    pub(crate) a: Node,
    pub(crate) b: Node,
    pub(crate) client: Host,
    pub(crate) sniffer: Sniffer,
    pub(crate) network: Network,
}

impl Pair {
    /// Machines without daemons.
    pub(crate) fn boot(flavours: (Flavour, Flavour), a: Router, b: Router) -> Self {
        let network = Network::new();
        let a = Node::boot(&network, "a", flavours.0, a);
        let b = Node::boot(&network, "b", flavours.1, b);
        let client = network.host("client");
        let sniffer = Sniffer::start(&network);
        Self {
            a,
            b,
            client,
            sniffer,
            network,
        }
    }

    /// Both daemons started and `a`, which must have the higher priority, active.
    #[track_caller]
    pub(crate) fn start(flavours: (Flavour, Flavour), a: Router, b: Router) -> Self {
        let mut pair = Self::boot(flavours, a, b);
        pair.a.start();
        pair.b.start();
        pair.eventually_served_by("a");
        pair
    }

    /// A plain pair: 200 against 150.
    #[track_caller]
    pub(crate) fn plain(flavours: (Flavour, Flavour)) -> Self {
        Self::start(flavours, Router::new(200), Router::new(150))
    }

    /// The first address both share, not counting link-local ones.
    pub(crate) fn vip(&self) -> IpAddr {
        let addresses = self.a.router.addresses.iter();
        let mut addresses = addresses.map(|address| ip(address.split(['/', ' ']).next().unwrap()));
        addresses
            .find(|address| !matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local()))
            .unwrap()
    }

    /// Which machines have the address in their kernel.
    pub(crate) fn holders(&self) -> Vec<&str> {
        let has = |node: &&Node| node.host.has(self.vip());
        [&self.a, &self.b]
            .into_iter()
            .filter(has)
            .map(Node::name)
            .collect()
    }

    /// The only holder is `name`, and a TCP client reaches it there.
    #[track_caller]
    pub(crate) fn eventually_served_by(&self, name: &str) {
        eventually(
            PATIENCE,
            &format!("{name} alone holds and serves {}", self.vip()),
            || {
                let holders = self.holders();
                if holders != [name] {
                    return Err(format!("held by {holders:?}"));
                }
                self.eventually_answer(name)
            },
        );
    }

    /// A TCP client reaches `name`, whoever else thinks that it holds the address.
    pub(crate) fn eventually_answer(&self, name: &str) -> Result<(), String> {
        match Probe::connect(&self.client, self.vip()) {
            Ok(answer) if answer == name => Ok(()),
            other => Err(format!("held by {:?}, a client got {other:?}", self.holders())),
        }
    }

    /// For `period`, `name` stays the only holder and nobody else advertises.
    #[track_caller]
    pub(crate) fn stays_with(&self, name: &str, period: Duration) {
        let start = now();
        holds_for(period, &format!("{name} alone holds {}", self.vip()), || {
            let holders = self.holders();
            if holders == [name] {
                Ok(())
            } else {
                Err(holders.join(","))
            }
        });
        let other = if name == "a" { "b" } else { "a" };
        let foreign = self.adverts(other, start);
        assert!(foreign.is_empty(), "{other} advertised: {foreign:?}");
    }

    /// Adverts of the first virtual router.
    pub(crate) fn adverts(&self, name: &str, since: Duration) -> Vec<(Duration, Advert)> {
        self.sniffer.adverts(name, self.a.router.vrid, since)
    }

    /// The longest time between two adverts of `name` since `since`, silence up to now included.
    pub(crate) fn longest_silence(&self, name: &str, since: Duration) -> Duration {
        let times = self.adverts(name, since).into_iter().map(|(at, _)| at);
        let moments: Vec<Duration> = std::iter::once(since).chain(times).chain([now()]).collect();
        moments
            .windows(2)
            .map(|pair| pair[1].saturating_sub(pair[0]))
            .max()
            .unwrap()
    }

    /// From the last advert of `a` to the first of `b` after `since`.
    #[track_caller]
    pub(crate) fn silence(&self, since: Duration) -> Duration {
        // The sniffer may be a moment behind the kernel.
        let (first, _) = eventually(PATIENCE, "b's first advert", || {
            self.adverts("b", since).first().cloned().ok_or("none seen")
        });
        let before = self.adverts("a", Duration::ZERO);
        let (last, _) = before
            .iter()
            .rev()
            .find(|(at, _)| *at <= first)
            .expect("a advertised");
        first - *last
    }
}
