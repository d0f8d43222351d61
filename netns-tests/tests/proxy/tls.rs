//! TLS on either side of the proxy, with OpenSSL at the other ends.

use std::path::PathBuf;
use std::time::Duration;

use warren_lab::{Load, Proxy, ProxyFlavour, eventually};

use super::{CHECK, PATIENCE, Place, for_both};

for_both!(
    clients_are_shown_the_certificate_for_the_host_they_ask_for,
    clients_have_to_show_a_certificate_where_one_is_required,
    servers_are_spoken_to_in_tls_and_told_who_the_client_is,
    a_server_that_cannot_be_verified_gets_nobody,
    tls_that_passes_by_goes_where_the_name_it_asks_for_says,
);

/// Where TLS is ended.
const TLS: u16 = 5671;

/// A place whose proxy host has an authority and some certificates: `ca.pem`, and `NAME.pem` for each name in `pems`.
struct Secure {
    place: Place,
    directory: PathBuf,
}

impl Secure {
    fn new(names: &[&str]) -> Self {
        let place = Place::with(&["rabbitmq1"]);
        let directory = place.proxy.directory().to_owned();
        let secure = Self { place, directory };
        secure.sh(
            "mkdir -p pems && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes \
                   -keyout ca.key -out ca.pem -days 30 -subj /CN=authority 2>/dev/null",
        );
        for name in names {
            secure.issue(name, &format!("pems/{name}.pem"));
        }
        secure
    }

    /// In the directory of the proxy's host.
    fn sh(&self, line: &str) -> String {
        self.place
            .proxy
            .sh(&format!("cd {} && {line}", self.directory.display()))
    }

    /// A certificate with its key, moved into place.
    fn issue(&self, name: &str, file: &str) {
        self.sh(&format!(
            "openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout new.key -out new.csr \
             -subj /CN={name} 2>/dev/null && printf 'subjectAltName=DNS:{name}' > new.ext && \
             openssl x509 -req -in new.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 -extfile new.ext \
             -out new.crt 2>/dev/null && cat new.crt new.key > new.pem && chmod 600 new.pem && mv new.pem {file}"
        ));
    }

    fn path(&self, name: &str) -> String {
        self.directory.join(name).display().to_string()
    }

    /// With this instead of the one plain door, and this after the server's address.
    fn start(&self, flavour: ProxyFlavour, bind: &str, server: &str) -> Proxy {
        let text = self
            .place
            .configuration("timeout client 5s", "", &format!("{CHECK} {server}"))
            .replace("    bind *:5670\n", &format!("    bind *:5670\n{bind}"));
        Proxy::start(flavour, &self.place.proxy, &text)
    }

    /// What OpenSSL's client is shown and told when it asks for this host and says AMQP's first words: until it is greeted
    /// or refused.
    fn ask(&self, arguments: &str) -> String {
        let file = self.place.client.write("answer", "");
        let answer = file.display();
        self.place.client.sh(&format!(
            "(printf 'AMQP\\0\\0\\011\\001'; for _ in $(seq 200); do \
                grep -aqE 'AMQPLAIN|alert|errno' {answer} && break; sleep 0.05; done) \
             | timeout 20 openssl s_client -connect 10.77.0.1:{TLS} {arguments} > {answer} 2>&1; tr -d '\\0' < {answer}"
        ))
    }
}

fn clients_are_shown_the_certificate_for_the_host_they_ask_for(flavour: ProxyFlavour) {
    let secure = Secure::new(&["a.example", "b.example"]);
    let bind = format!("    bind *:{TLS} ssl crt {}\n", secure.path("pems"));
    let _proxy = secure.start(flavour, &bind, "");
    let ca = secure.path("ca.pem");
    for (asked, shown) in [
        ("a.example", "a.example"),
        ("b.example", "b.example"),
        ("c.example", "a.example"),
    ] {
        for version in ["-tls1_2", "-tls1_3"] {
            let answer = secure.ask(&format!("-servername {asked} {version} -CAfile {ca}"));
            assert!(answer.contains(&format!("subject=CN = {shown}")), "{answer}");
            assert!(answer.contains("Verify return code: 0 (ok)"), "{answer}");
            assert!(answer.contains("AMQPLAIN"), "the server speaks: {answer}");
        }
    }
    // Who asks plainly is answered not at all, and the log says that it never came in.
    let answer = secure.place.client.sh(&format!(
        "printf 'GET / HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n' | timeout 5 nc 10.77.0.1 {TLS} | wc -c"
    ));
    assert_eq!(answer.trim(), "0");
    eventually(PATIENCE, "a line about the client that spoke no TLS", || {
        let lines = secure.place.log.messages("rabbitmq/2: SSL handshake failure");
        if lines.is_empty() {
            Err(secure.place.log.lines())
        } else {
            Ok(())
        }
    });
    let lines = secure.place.log.messages(" rabbitmq~ ");
    assert_eq!(lines.len(), 6, "sessions over TLS are marked: {lines:?}");
}

fn clients_have_to_show_a_certificate_where_one_is_required(flavour: ProxyFlavour) {
    let secure = Secure::new(&["a.example", "alice"]);
    let bind = format!(
        "    bind *:{TLS} ssl crt {} verify required ca-file {}\n",
        secure.path("pems/a.example.pem"),
        secure.path("ca.pem")
    );
    let _proxy = secure.start(flavour, &bind, "");
    let alice = secure.path("pems/alice.pem");
    let answer = secure.ask(&format!("-cert {alice} -key {alice}"));
    assert!(answer.contains("AMQPLAIN"), "{answer}");
    secure.sh(
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout eve.key \
               -out eve.crt -days 30 -subj /CN=eve 2>/dev/null",
    );
    let (certificate, key) = (secure.path("eve.crt"), secure.path("eve.key"));
    for arguments in [String::new(), format!("-cert {certificate} -key {key}")] {
        let answer = secure.ask(&arguments);
        assert!(!answer.contains("AMQPLAIN"), "{arguments}: {answer}");
    }
}

/// The proxy in front of itself: plain, then TLS, then the server.
fn in_front_of_itself(secure: &Secure, flavour: ProxyFlavour, server: &str) -> Proxy {
    let pem = secure.path("pems/a.example.pem");
    let text = secure.place.configuration("timeout client 5s", "", CHECK);
    let text = format!(
        "{}\nlisten outer\n    bind *:5669\n    option tcplog\n    server inner 10.77.0.1:{TLS} ssl {server}\n",
        text.replace(
            "    bind *:5670\n",
            &format!("    bind *:5670\n    bind *:{TLS} ssl crt {pem} accept-proxy\n")
        )
    );
    Proxy::start(flavour, &secure.place.proxy, &text)
}

fn servers_are_spoken_to_in_tls_and_told_who_the_client_is(flavour: ProxyFlavour) {
    let secure = Secure::new(&["a.example"]);
    let ca = secure.path("ca.pem");
    let server = format!("verify required ca-file {ca} sni str(a.example) send-proxy-v2");
    let _proxy = in_front_of_itself(&secure, flavour, &server);
    let entry = (secure.place.entry().ip(), 5669).into();
    let load = Load::start(&secure.place.client, entry, 8, 50);
    eventually(PATIENCE, "traffic", || {
        let seen = secure.place.broker("rabbitmq1").seen();
        if seen.logged_in >= 8 {
            Ok(())
        } else {
            Err(seen.logged_in)
        }
    });
    std::thread::sleep(Duration::from_secs(1));
    let report = load.stop();
    assert!(report.is_clean() && report.exchanged > 100, "{report:?}");
    // The inner one logs the client's address, not the outer one's.
    eventually(PATIENCE, "lines of the inner sessions", || {
        let lines = secure.place.log.messages(" rabbitmq~ rabbitmq/rabbitmq1 ");
        let theirs = lines.iter().filter(|line| line.starts_with("10.77.0.2:")).count();
        if theirs == lines.len() && theirs >= 8 {
            Ok(())
        } else {
            Err(lines)
        }
    });
}

fn a_server_that_cannot_be_verified_gets_nobody(flavour: ProxyFlavour) {
    let secure = Secure::new(&["a.example"]);
    secure.sh(
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout other.key \
               -out other.pem -days 30 -subj /CN=other 2>/dev/null",
    );
    let (ca, other) = (secure.path("ca.pem"), secure.path("other.pem"));
    for server in [
        format!("verify required ca-file {other} send-proxy-v2"),
        format!("verify required ca-file {ca} sni str(b.example) verifyhost a.example send-proxy-v2"),
        format!("verify required ca-file {ca} verifyhost b.example send-proxy-v2"),
    ] {
        let proxy = in_front_of_itself(&secure, flavour, &server);
        let answer = secure
            .place
            .client
            .sh("printf 'AMQP\\0\\0\\011\\001' | timeout 10 nc 10.77.0.1 5669 | wc -c");
        assert_eq!(answer.trim(), "0", "{server}");
        assert!(
            proxy.statistics().number("outer", "inner", "econ") > 0,
            "{server}"
        );
        assert_eq!(secure.place.broker("rabbitmq1").seen().logged_in, 0);
    }
}

fn tls_that_passes_by_goes_where_the_name_it_asks_for_says(flavour: ProxyFlavour) {
    let secure = Secure::new(&["a.example", "b.example"]);
    let listener = |port: u16, name: &str| {
        let pem = secure.path(&format!("pems/{name}.pem"));
        format!("    bind *:{port} ssl crt {pem}\n")
    };
    let text = secure.place.configuration("timeout client 5s", "", CHECK);
    let text = format!(
        "{}\nfrontend outer\n    bind *:{TLS}\n    tcp-request inspect-delay 5s\n    \
         tcp-request content accept if {{ req.ssl_hello_type 1 }}\n    use_backend a if {{ req.ssl_sni -i a.example }}\n    \
         use_backend b if {{ req_ssl_sni -m end .b.example }}\n    default_backend rest\n\
         backend a\n    server a 10.77.0.1:5681\nbackend b\n    server b 10.77.0.1:5682\n\
         backend rest\n    server b 10.77.0.1:5682\n",
        text.replace(
            "    bind *:5670\n",
            &[
                "    bind *:5670\n",
                &listener(5681, "a.example"),
                &listener(5682, "b.example")
            ]
            .concat()
        )
    );
    let _proxy = Proxy::start(flavour, &secure.place.proxy, &text);
    for (asked, shown, backend) in [
        ("-servername a.example", "a.example", "a/a"),
        ("-servername A.Example", "a.example", "a/a"),
        ("-servername x.b.example", "b.example", "b/b"),
        ("-servername b.example", "b.example", "rest/b"),
        ("-noservername", "b.example", "rest/b"),
    ] {
        let before = secure.place.log.messages(&format!(" outer {backend} ")).len();
        let answer = secure.ask(asked);
        assert!(
            answer.contains(&format!("subject=CN = {shown}")),
            "{asked}: {answer}"
        );
        assert!(answer.contains("AMQPLAIN"), "{asked}: {answer}");
        eventually(PATIENCE, "a line of the backend", || {
            let lines = secure.place.log.messages(&format!(" outer {backend} "));
            if lines.len() > before {
                Ok(())
            } else {
                Err(secure.place.log.lines())
            }
        });
    }
}

/// Not for HAProxy, which has to be told.
#[test]
fn certificates_that_were_renewed_are_shown_and_sessions_go_on() {
    let secure = Secure::new(&["a.example"]);
    let pem = secure.path("pems/a.example.pem");
    let bind = format!("    bind *:{TLS} ssl crt {pem}\n");
    let _proxy = secure.start(ProxyFlavour::Warren, &bind, "");
    let load = Load::start(&secure.place.client, secure.place.entry(), 4, 20);
    let old = secure.sh(&format!("openssl x509 -noout -serial -in {pem}"));
    let shown = || {
        let answer = secure.ask("-servername a.example");
        let file = secure.place.client.write("shown", &answer);
        secure.sh(&format!("openssl x509 -noout -serial -in {}", file.display()))
    };
    assert_eq!(shown(), old);
    // A bad one first: the old one stays.
    secure.sh(&format!("echo garbage > new.pem && mv new.pem {pem}"));
    std::thread::sleep(Duration::from_secs(4));
    assert_eq!(shown(), old);
    secure.issue("a.example", "pems/a.example.pem");
    let new = secure.sh(&format!("openssl x509 -noout -serial -in {pem}"));
    assert_ne!(new, old);
    eventually(PATIENCE, "the new certificate", || {
        let shown = shown();
        if shown == new { Ok(()) } else { Err(shown) }
    });
    let report = load.stop();
    assert!(report.is_clean() && report.exchanged > 50, "{report:?}");
}
