//! The tutorials' files, unchanged, on the addresses that they name, and their steps as typed.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use warren_lab::{
    Broker, Daemon, End, Flavour, Host, Network, Proxy, ProxyFlavour, Session, eventually, warren_binary,
};

use super::{PATIENCE, for_both};

for_both!(
    the_address_moves_with_a_dead_proxy_and_clients_find_a_server_again,
    the_tutorial_of_one_host_works_as_typed,
    the_backup_of_the_shared_disk_takes_over_and_is_blue,
);

const VIP: &str = "192.168.125.245";
/// The check of the proxy runs every five seconds; then three adverts are missed.
const MOVED: Duration = Duration::from_secs(20);

/// `/etc/hosts` as the compose file makes it.
pub(crate) fn names(host: &Host) {
    let file = host.write(
        "hosts",
        "127.0.0.1 localhost\n192.168.125.26 rabbitmq1\n192.168.125.190 rabbitmq2\n192.168.125.176 rabbitmq3\n",
    );
    host.sh(&format!("mount --bind {} /etc/hosts", file.display()));
}

fn the_address_moves_with_a_dead_proxy_and_clients_find_a_server_again(flavour: ProxyFlavour) {
    let network = Network::new();
    let servers = [("rabbitmq1", 26), ("rabbitmq2", 190), ("rabbitmq3", 176)]
        .map(|(name, last)| network.host_with(name, &[&format!("192.168.125.{last}/24")]));
    let _brokers = servers.each_ref().map(Broker::start);
    let client = network.host_with("client", &["192.168.125.99/24"]);
    let [master, backup] = [("master", 222), ("backup", 168)]
        .map(|(name, last)| network.host_with(name, &[&format!("192.168.125.{last}/24")]));
    let configuration = include_str!("../../fixtures/seed-001-haproxy.cfg");
    let start = |host: &Host| Proxy::start_without_waiting(flavour, host, configuration);
    [&master, &backup].into_iter().for_each(names);
    let (mut proxy, _other_proxy) = (start(&master), start(&backup));
    let _vrrp = Daemon::start(
        Flavour::Warren,
        &master,
        include_str!("../../fixtures/seed-001-master.conf"),
    );
    let _other_vrrp = Daemon::start(
        Flavour::Warren,
        &backup,
        include_str!("../../fixtures/seed-001-backup.conf"),
    );

    let vip: IpAddr = VIP.parse().unwrap();
    let entry = SocketAddr::new(vip, 5670);
    let open = || Session::open(&client, entry, Duration::from_secs(3));
    let served_by = |holder: &Host, what: &str| {
        eventually(MOVED, what, || {
            if !holder.has(vip) {
                return Err("the address is elsewhere".to_owned());
            }
            let mut session = open().map_err(|error| error.to_string())?;
            session.exchange(10_000).map_err(|error| error.to_string())?;
            Ok(session)
        })
    };
    let session = served_by(&master, "the master serves");
    assert!(session.server().starts_with("rabbitmq"));
    let page = client.sh(&format!("curl -s -u admin:admin123 'http://{VIP}:8100/;csv'"));
    assert_eq!(
        page.matches(",UP,").count(),
        5,
        "three servers and two backends: {page}"
    );
    let refused = client.sh(&format!(
        "curl -s -o /dev/null -w '%{{http_code}}' http://{VIP}:8100/"
    ));
    assert_eq!(refused, "401");

    proxy.process.kill();
    assert_ne!(session.end(PATIENCE), End::StillOpen);
    let session = served_by(&backup, "the backup serves");
    let proxy = start(&master);
    let mut session_of_the_master = served_by(&master, "the master serves again");
    // The client of the backup has a connection to an address that its host no longer has.
    drop(session);
    session_of_the_master.exchange(1000).unwrap();

    master.crash();
    served_by(&backup, "the backup serves when the master's host has died");
    drop(proxy);
}

/// One host with the proxy and its client, and servers at the addresses of the tutorial's containers.
struct Tutorial {
    brokers: Vec<Broker>,
    servers: Vec<Host>,
    host: Host,
    _network: Network,
}

impl Tutorial {
    fn new(flavour: ProxyFlavour, servers: &[(&str, u8)]) -> Self {
        let network = Network::new();
        let host = network.host_with("proxy", &["172.17.0.1/16"]);
        let servers: Vec<Host> = servers
            .iter()
            .map(|(name, last)| network.host_with(name, &[&format!("172.17.0.{last}/16")]))
            .collect();
        // The files name /tmp and /var/log, of which this host gets its own; so what is needed from there is moved first.
        host.sh("mkdir /run/tutorial");
        if flavour == ProxyFlavour::Warren {
            host.sh(&format!("cp {} /run/tutorial/haproxy", warren_binary().display()));
        }
        host.sh("mount -t tmpfs tmpfs /var/log && mount -t tmpfs tmpfs /tmp");
        Self {
            brokers: servers.iter().map(Broker::start).collect(),
            servers,
            host,
            _network: network,
        }
    }

    /// A command line as the reader types it, in the directory where the files are.
    #[track_caller]
    fn type_in(&self, line: &str) -> String {
        self.host
            .sh(&format!("cd /run/tutorial && PATH=/run/tutorial:$PATH && {line}"))
    }

    fn save(&self, name: &str, text: &str) {
        self.type_in(&format!("cat > {name} << 'EOF'\n{text}\nEOF"));
    }

    /// The words of one row of the statistics page's CSV.
    fn status(&self, page: &str, server: &str) -> String {
        let text = self.type_in(&format!("curl -s 'http://localhost:{page};csv'"));
        let row = text
            .lines()
            .find(|line| line.starts_with(&format!("rabbitmq_cluster,{server},")));
        row.and_then(|row| row.split(',').nth(17))
            .unwrap_or_else(|| panic!("{text}"))
            .to_owned()
    }

    #[track_caller]
    fn eventually_status(&self, page: &str, server: &str, wanted: &str) {
        // Checks come every five seconds, and three of them decide.
        eventually(Duration::from_secs(25), &format!("{server} is {wanted}"), || {
            let status = self.status(page, server);
            if status == wanted { Ok(()) } else { Err(status) }
        });
    }

    fn session(&self, port: u16) -> std::io::Result<Session> {
        Session::open(&self.host, ([127, 0, 0, 1], port).into(), PATIENCE)
    }

    fn log(&self) -> String {
        // It is there once something was logged.
        self.type_in("cat /var/log/haproxy/haproxy.log 2> /dev/null || true")
    }
}

fn the_tutorial_of_one_host_works_as_typed(flavour: ProxyFlavour) {
    let mut place = Tutorial::new(flavour, &[("rabbit", 3), ("rabbit_1", 4), ("rabbit_2", 5)]);
    place.save(
        "HAProxy-rabbitmq.cfg",
        include_str!("../../fixtures/seed-004-haproxy.cfg"),
    );
    place.save(
        "rsyslog.conf",
        "module(load=\"imudp\")\ninput(type=\"imudp\" port=\"514\")\nlocal0.* /var/log/haproxy/haproxy.log",
    );
    place.type_in("mkdir /var/log/haproxy && chmod a+w /var/log/haproxy");
    let _rsyslog = place.host.spawn(
        "rsyslogd",
        &[
            "-n",
            "-f",
            "/run/tutorial/rsyslog.conf",
            "-i",
            "/run/rsyslogd.pid",
        ],
    );
    eventually(PATIENCE, "the system log listens", || {
        let sockets = place.type_in("ss -Hlun 'sport = :514'");
        if sockets.is_empty() {
            Err("no socket")
        } else {
            Ok(())
        }
    });

    // It goes into the background by itself.
    place.type_in("haproxy -f HAProxy-rabbitmq.cfg");
    let page = place.type_in("curl -s http://localhost:8100/stats");
    assert!(
        page.contains("rabbitmq_cluster") && page.contains("private_monitoring"),
        "{page}"
    );
    let running = place.type_in("pgrep -a haproxy");
    assert!(running.contains("haproxy -f HAProxy-rabbitmq.cfg"), "{running}");
    place.type_in("killall -0 haproxy");

    let servers: Vec<String> = (0..6)
        .map(|_| place.session(5670).unwrap().server().to_owned())
        .collect();
    assert_eq!(servers[..3], servers[3..]);
    let mut session = place.session(5670).unwrap();
    let number = place
        .brokers
        .iter()
        .position(|broker| broker.name() == session.server())
        .unwrap();
    let name = session.server().to_owned();
    place.brokers[number].tell("reset-after 3000");
    assert!(session.exchange(5000).is_err());
    let line = eventually(PATIENCE, "the system log has the tutorial's line", || {
        let log = place.log();
        let line = log.lines().find(|line| line.contains(" SD ")).map(str::to_owned);
        line.ok_or(log)
    });
    let message = line
        .split_once("haproxy[")
        .and_then(|(_, rest)| rest.split_once("]: "))
        .expect("a tag");
    assert!(message.0.parse::<u32>().is_ok(), "{line}");
    let words: Vec<&str> = message.1.split(' ').collect();
    assert!(words[0].starts_with("127.0.0.1:"), "{line}");
    assert_eq!(
        words[2..4],
        ["rabbitmq_cluster", &format!("rabbitmq_cluster/{name}")],
        "{line}"
    );
    assert_eq!(words[6..], ["SD", "1/1/0/0/0", "0/0"], "{line}");

    // The server is stopped, the page shows it, the client goes to another.
    place.brokers[number].process.kill();
    place.eventually_status("8100/stats", &name, "DOWN");
    let mut session = place.session(5670).unwrap();
    assert_ne!(session.server(), name);
    session.exchange(1000).unwrap();
    place.brokers[number] = Broker::start(&place.servers[number]);
    place.eventually_status("8100/stats", &name, "UP");

    // Killed, it leaves its socket, which must not keep it from starting again.
    place.type_in("kill -9 $(pgrep haproxy)");
    assert_ne!(session.end(PATIENCE), End::StillOpen);
    place.type_in("test -S /tmp/haproxy.socket && haproxy -f HAProxy-rabbitmq.cfg");
    place.session(5670).unwrap().exchange(1000).unwrap();
    let information = place.type_in("echo 'show info' | socat stdio /tmp/haproxy.socket");
    assert!(information.contains("Name: HAProxy"), "{information}");
}

fn the_backup_of_the_shared_disk_takes_over_and_is_blue(flavour: ProxyFlavour) {
    let mut place = Tutorial::new(flavour, &[("rabbit", 3), ("rabbit_backup", 6)]);
    place.save(
        "HAProxy-rabbitmq-warren.cfg",
        include_str!("../../fixtures/seed-004-haproxy-backup.cfg"),
    );
    place.type_in("haproxy -f HAProxy-rabbitmq-warren.cfg");
    let server = |place: &Tutorial| place.session(5680).unwrap().server().to_owned();
    assert_eq!(server(&place), "rabbit");
    let page = place.type_in("curl -s http://localhost:8101/stats");
    assert!(page.contains("backup_up"), "{page}");
    place.brokers[0].process.kill();
    place.eventually_status("8101/stats", "rabbit", "DOWN");
    assert_eq!(server(&place), "rabbit_backup");
    place.brokers[0] = Broker::start(&place.servers[0]);
    place.eventually_status("8101/stats", "rabbit", "UP");
    assert_eq!(server(&place), "rabbit");
}
