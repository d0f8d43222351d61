//! A scraper that others wrote for HAProxy, as Debian has it: what it makes of our page and socket is what it makes of
//! HAProxy's.

use std::collections::BTreeMap;

use warren_lab::{Host, Proxy, ProxyFlavour, eventually};

use super::{CHECK, PATIENCE, Place, eventually_status};

const SCRAPER: &str = "prometheus-haproxy-exporter";
/// Ends of names whose values, or labels, are of the moment.
const VOLATILE: [&str; 7] = [
    "_rate",
    "_seconds",
    "_max_sessions",
    "_check_failures_total",
    "_downtime_seconds_total",
    "_scrapes_total",
    "_version_info",
];

/// Samples by name and labels; without what is of the moment, as the scraper's own visits to the page are.
type Samples = BTreeMap<String, String>;

/// What the scraper on `host` says once it has read from there.
fn scraped(host: &Host, uri: &str) -> Samples {
    let scraper = host.spawn(SCRAPER, &[format!("--haproxy.scrape-uri={uri}")]);
    let text = eventually(PATIENCE, "the scraper is scraped", || {
        let answer = host.try_sh("curl -s http://127.0.0.1:9101/metrics");
        let text = String::from_utf8_lossy(&answer.stdout).into_owned();
        let is_up = text.lines().any(|line| line == "haproxy_up 1");
        if is_up {
            Ok(text)
        } else {
            Err((text, scraper.log()))
        }
    });
    let samples = text.lines().filter(|line| line.starts_with("haproxy_"));
    samples
        .map(|line| {
            let (series, value) = line.rsplit_once(' ').expect("a value");
            let name = series.split('{').next().unwrap_or_default();
            if VOLATILE.iter().any(|end| name.ends_with(end)) {
                (name.to_owned(), String::new())
            } else if series.contains("=\"stats\"") {
                (series.to_owned(), String::new())
            } else {
                (series.to_owned(), value.to_owned())
            }
        })
        .collect()
}

/// By HTTP and by the socket, with one server of three that is down, after four sessions.
fn both_ways(flavour: ProxyFlavour) -> [Samples; 2] {
    let mut place = Place::new();
    let page = "\nlisten stats\n    mode http\n    bind *:8100\n    stats enable\n    stats uri /\n    stats auth admin:admin123\n";
    let text = place.configuration("", "", CHECK) + page;
    let proxy = Proxy::start(flavour, &place.proxy, &text);
    place.servers[2].broker.process.kill();
    eventually_status(&proxy, "rabbitmq1", "UP");
    eventually_status(&proxy, "rabbitmq3", "DOWN");
    for _ in 0..4 {
        place.session().exchange(100).unwrap();
    }
    let socket = Proxy::socket(&place.proxy);
    [
        scraped(&place.client, "http://admin:admin123@10.77.0.1:8100/;csv"),
        scraped(&place.proxy, &format!("unix:{}", socket.display())),
    ]
}

#[test]
fn a_scraper_for_haproxy_reads_the_same_from_us() {
    let network = warren_lab::Network::new();
    let found = network.host("a").try_sh(&format!("command -v {SCRAPER}"));
    if !found.status.success() {
        eprintln!("there is no {SCRAPER} to try; scripts/test installs it");
        return;
    }
    drop(network);
    let [theirs, ours] = [ProxyFlavour::Haproxy, ProxyFlavour::Warren].map(both_ways);
    for (theirs, ours) in theirs.iter().zip(&ours) {
        for (server, up) in [("rabbitmq1", "1"), ("rabbitmq2", "1"), ("rabbitmq3", "0")] {
            let series = format!("haproxy_server_up{{backend=\"rabbitmq\",server=\"{server}\"}}");
            assert_eq!(ours.get(&series).map(String::as_str), Some(up), "{ours:#?}");
        }
        let differs = |one: &Samples, other: &Samples| -> Samples {
            let pairs = one
                .iter()
                .filter(|(series, value)| other.get(*series) != Some(*value));
            pairs
                .map(|(series, value)| (series.clone(), value.clone()))
                .collect()
        };
        let differences = [differs(ours, theirs), differs(theirs, ours)];
        assert!(differences.iter().all(Samples::is_empty), "{differences:#?}");
        assert!(ours.len() > 100, "{}", ours.len());
    }
}
