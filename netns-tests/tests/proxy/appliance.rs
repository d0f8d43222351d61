//! Both roles on one host, from one warren.toml: the address goes where a proxy is of use, and clients are told before it
//! goes on purpose.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use warren_lab::{
    Broker, Daemon, End, Host, Network, Process, ProxyFlavour, Session, eventually, warren_binary,
};

use super::PATIENCE;

const VIP: &str = "10.77.0.100";
const PORT: u16 = 5672;

/// A host with both roles.
struct Member {
    host: Host,
    vrrp: Daemon,
    _proxy: Process,
}

impl Member {
    fn start(network: &Network, name: &str, last: u8, priority: u8, servers: &str) -> Self {
        let host = network.host_with(name, &[&format!("10.77.0.{last}/24")]);
        let toml = format!(
            "[vrrp.router.amqp]
interface = \"eth0\"
vrid = 51
priority = {priority}
addresses = [\"{VIP}/24\"]
checks = [\"proxy\"]

[vrrp.check.proxy]
service = \"proxy\"
interval = \"100ms\"

[proxy.listen.rabbitmq]
bind = \"{VIP}:{PORT}\"
check = {{ kind = \"amqp\", interval = \"100ms\" }}
servers = [{servers}]
"
        );
        let vrrp = Daemon::warren(&host, &toml);
        let runtime = vrrp.runtime_directory().display().to_string();
        let file = host.directory().join("warren.toml").display().to_string();
        let arguments = ["proxy", "--config", &file, "--runtime-dir", &runtime];
        let proxy = host.spawn(warren_binary(), &arguments);
        Self {
            host,
            vrrp,
            _proxy: proxy,
        }
    }

    fn has_the_address(&self) -> bool {
        self.host.has(VIP.parse::<IpAddr>().unwrap())
    }
}

fn entry() -> SocketAddr {
    SocketAddr::new(VIP.parse().unwrap(), PORT)
}

fn eventually_holds(member: &Member, other: &Member) {
    eventually(PATIENCE, "one host has the address", || {
        match (member.has_the_address(), other.has_the_address()) {
            (true, false) => Ok(()),
            state => Err(state),
        }
    });
}

#[test]
fn the_address_leaves_a_host_whose_proxy_has_no_server_left() {
    let network = Network::new();
    let [one, two] = [("one", 11), ("two", 12)]
        .map(|(name, last)| network.host_with(name, &[&format!("10.77.0.{last}/24")]));
    let [broker, other_broker] = [&one, &two].map(Broker::start);
    let client = network.host_with("client", &["10.77.0.99/24"]);
    // Each has a server of its own, so that one of them can be left without.
    let alpha = Member::start(&network, "alpha", 1, 200, "\"10.77.0.11:5672\"");
    let beta = Member::start(&network, "beta", 2, 100, "\"10.77.0.12:5672\"");
    eventually_holds(&alpha, &beta);
    let session = Session::open(&client, entry(), PATIENCE).unwrap();
    assert_eq!(session.server(), "one");

    one.crash();
    eventually_holds(&beta, &alpha);
    let mut session = eventually(PATIENCE, "the other host serves", || {
        Session::open(&client, entry(), Duration::from_secs(1)).map_err(|error| error.to_string())
    });
    assert_eq!(session.server(), "two");
    session.exchange(10_000).unwrap();
    drop((broker, other_broker));
}

#[test]
fn clients_are_told_before_the_address_is_given_away() {
    let network = Network::new();
    let one = network.host_with("one", &["10.77.0.11/24"]);
    let broker = Broker::start(&one);
    let client = network.host_with("client", &["10.77.0.99/24"]);
    let alpha = Member::start(&network, "alpha", 1, 200, "\"10.77.0.11:5672\"");
    let beta = Member::start(&network, "beta", 2, 100, "\"10.77.0.11:5672\"");
    eventually_holds(&alpha, &beta);
    let mut session = Session::open(&client, entry(), PATIENCE).unwrap();
    session.exchange(10_000).unwrap();

    let told = std::thread::scope(|scope| {
        let told = scope.spawn(|| session.end(PATIENCE));
        let drained = alpha.vrrp.ctl(&alpha.host, "drain amqp");
        assert!(drained.status.success(), "{drained:?}");
        told.join().unwrap()
    });
    assert_eq!(told, End::Closed(320));
    eventually_holds(&beta, &alpha);
    let mut session = eventually(PATIENCE, "the other host serves", || {
        Session::open(&client, entry(), Duration::from_secs(1)).map_err(|error| error.to_string())
    });
    session.exchange(10_000).unwrap();
    drop(broker);
}

/// Nothing that is sent from there arrives any more, nor does what is sent there.
#[test]
fn sessions_at_an_address_that_the_host_has_lost_end_at_once() {
    let place = super::Place::with(&["rabbitmq1"]);
    place.proxy.sh(&format!("ip address add {VIP}/16 dev eth0"));
    let _proxy = place.start_with(ProxyFlavour::Warren, "", "", "");
    let entry = SocketAddr::new(VIP.parse().unwrap(), super::PORT);
    let lost = Session::open(&place.client, entry, PATIENCE).unwrap();
    let mut kept = place.session();
    let open = || place.broker("rabbitmq1").seen().open;
    assert_eq!(open(), 2);
    place.proxy.sh(&format!("ip address delete {VIP}/16 dev eth0"));
    eventually(PATIENCE, "the server has been told", || {
        if open() == 1 { Ok(()) } else { Err(open()) }
    });
    kept.exchange(1000).unwrap();
    eventually(PATIENCE, "it is logged as killed", || {
        let lines = place.log.messages(" rabbitmq/rabbitmq1 ");
        if lines.len() == 1 && lines[0].contains(" K- ") {
            Ok(())
        } else {
            Err(lines)
        }
    });
    drop(lost);
}

#[test]
fn sessions_whose_servers_were_spoken_to_from_a_lost_address_end_at_once() {
    let place = super::Place::with(&["rabbitmq1"]);
    // The nearer network has another route, and this address with it.
    place.proxy.sh(&format!("ip address add {VIP}/24 dev eth0"));
    let _proxy = place.start_with(ProxyFlavour::Warren, "", "", "");
    let session = place.session();
    let table = place.proxy.sh("ss -Htn state established '( dport = :5672 )'");
    assert!(table.contains(VIP), "{table}");
    place.proxy.sh(&format!("ip address delete {VIP}/24 dev eth0"));
    assert!(matches!(session.end(PATIENCE), End::Eof | End::Reset));
    place.session().exchange(1000).unwrap();
}
