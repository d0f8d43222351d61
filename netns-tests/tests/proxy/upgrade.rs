//! Another binary takes over while clients are at work: nothing is refused, nothing cut, no octet lost; and if it is no
//! good, nothing has happened.

mod web;

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use warren_lab::{Load, Process, ProxyFlavour, Session, eventually, warren_binary};

use super::{CHECK, PATIENCE, Place, eventually_status};

const UPGRADES: usize = 10;

/// A proxy whose binary can be replaced.
pub(super) struct Installed {
    pub(super) place: Place,
    binary: PathBuf,
    pub(super) first: Process,
}

impl Installed {
    fn start(server: &str) -> Self {
        Self::start_with(server, |text| text)
    }

    /// With a configuration that is changed before it is used.
    pub(super) fn start_with(server: &str, change: impl FnOnce(String) -> String) -> Self {
        let place = Place::new();
        let binary = place.proxy.directory().join("installed");
        std::fs::copy(warren_binary(), &binary).unwrap();
        let mut text = change(place.configuration("", "", server));
        if text.contains("crt PEM") {
            let pem = place.proxy.directory().join("pem");
            place.proxy.sh(&format!(
                "openssl req -x509 -newkey rsa:2048 -nodes -keyout {0}.key -out {0}.crt -days 2 -subj /CN=a.test \
                 2>/dev/null && cat {0}.crt {0}.key > {0}",
                pem.display()
            ));
            text = text.replace("crt PEM", &format!("crt {}", pem.display()));
        }
        let file = place.proxy.write("haproxy.cfg", &text);
        let mut command = Command::new(&binary);
        command.args(["proxy", "-f"]).arg(&file);
        let first = place.proxy.spawn_command(command);
        eventually(PATIENCE, "the proxy serves", || {
            place.try_session().map_err(|error| (error, first.log()))
        });
        Self { place, binary, first }
    }

    pub(super) fn upgrade(&self) -> std::process::Output {
        self.place
            .proxy
            .try_sh(&format!("{} proxy upgrade", warren_binary().display()))
    }

    /// The process that answers.
    pub(super) fn answering(&self) -> String {
        let socket = warren_lab::Proxy::socket(&self.place.proxy);
        let ask = format!(
            "echo 'show info' | socat - {} | sed -n 's/^Pid: //p'",
            socket.display()
        );
        self.place.proxy.sh(&ask).trim().to_owned()
    }
}

#[test]
fn upgrades_in_a_loop_under_load_harm_no_client() {
    let mut installed = Installed::start(CHECK);
    let place = &installed.place;
    let load = Load::start(&place.client, place.entry(), 24, 30);
    let mut lasting: Vec<Session> = (0..50).map(|_| place.session()).collect();
    for number in 0..UPGRADES {
        let before = installed.answering();
        let said = installed.upgrade();
        let text = String::from_utf8_lossy(&said.stdout).into_owned();
        assert!(
            said.status.success() && text.contains("were handed over"),
            "{said:?}"
        );
        assert_ne!(installed.answering(), before);
        for session in &mut lasting {
            session
                .exchange(3000)
                .unwrap_or_else(|error| panic!("after upgrade {number}: {error}"));
        }
    }
    let report = load.stop();
    assert!(report.is_clean(), "{report:?}");
    assert!(report.opened > 100 && report.exchanged > 1000, "{report:?}");
    let ended = installed.first.wait(PATIENCE);
    assert!(
        ended.success(),
        "the first process has nothing left to do: {ended}"
    );
    println!("{report:?}");
}

#[test]
fn a_binary_that_is_no_good_leaves_the_old_process_serving() {
    let installed = Installed::start(CHECK);
    let mut session = installed.place.session();
    let before = installed.answering();
    let bad = installed.place.proxy.write("bad", "#!/bin/sh\nexit 3\n");
    std::fs::set_permissions(&bad, std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::rename(&bad, &installed.binary).unwrap();
    let said = installed.upgrade();
    let text = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(
        !said.status.success() && text.contains("the old process goes on"),
        "{said:?}"
    );
    session.exchange(10_000).unwrap();
    installed.place.session().exchange(1000).unwrap();
    assert_eq!(installed.answering(), before);

    let good = installed.place.proxy.directory().join("good");
    std::fs::copy(warren_binary(), &good).unwrap();
    std::fs::rename(&good, &installed.binary).unwrap();
    assert!(installed.upgrade().status.success());
    session.exchange(10_000).unwrap();
    assert_ne!(installed.answering(), before);
}

#[test]
fn a_new_process_takes_over_from_the_one_it_is_told_to_finish() {
    let place = Place::new();
    let proxy = place.start(ProxyFlavour::Warren);
    let mut session = place.session();
    let mut command = Command::new(warren_lab::Proxy::program(ProxyFlavour::Warren, &place.proxy));
    command.arg("-f").arg(proxy.file()).arg("-db");
    let pid = proxy.ask("show info");
    let pid = pid.lines().find_map(|line| line.strip_prefix("Pid: ")).unwrap();
    command.args(["-sf", pid]);
    let mut old = proxy.process;
    let _new = place.proxy.spawn_command(command);
    assert!(old.wait(PATIENCE).success());
    session.exchange(10_000).unwrap();
    place.session().exchange(1000).unwrap();
}

#[test]
fn a_server_that_is_down_stays_so_and_the_operators_word_holds() {
    let place = Place::new();
    // Once down, it takes long to be believed.
    let check = CHECK.replace("rise 2", "rise 200");
    let mut proxy = place.start_with(ProxyFlavour::Warren, "", "", &check);
    place.broker("rabbitmq2").tell("refuse");
    eventually_status(&proxy, "rabbitmq2", "DOWN");
    proxy.ask("set server rabbitmq/rabbitmq3 state maint");
    place.broker("rabbitmq2").tell("listen");
    let sessions = place.servers_of(2).len();

    let info = proxy.ask("show info");
    let pid = info.lines().find_map(|line| line.strip_prefix("Pid: ")).unwrap();
    let mut command = Command::new(warren_lab::Proxy::program(ProxyFlavour::Warren, &place.proxy));
    command.arg("-f").arg(proxy.file()).args(["-db", "-sf", pid]);
    let new = place.proxy.spawn_command(command);
    let mut old = std::mem::replace(&mut proxy.process, new);
    assert!(old.wait(PATIENCE).success());

    assert_eq!(proxy.status("rabbitmq", "rabbitmq2"), "DOWN");
    assert_eq!(proxy.status("rabbitmq", "rabbitmq3"), "MAINT");
    let counted: usize = proxy.field("rabbitmq", "FRONTEND", "stot").parse().unwrap();
    assert_eq!(counted, sessions, "counters go on");
    assert_eq!(place.servers_of(3), ["rabbitmq1"; 3]);
}

#[test]
fn the_successor_is_found_by_everything_its_predecessor_was_found_by() {
    let mut installed = Installed::start_with(CHECK, |text| {
        text.replace("maxconn 4096", "maxconn 4096\n    pidfile /run/haproxy.pid")
    });
    let host = &installed.place.proxy;
    let seen = |what: &str| host.sh(what).trim().to_owned();
    let info = |key: &str| {
        let socket = warren_lab::Proxy::socket(host);
        let ask = format!(
            "echo 'show info' | socat - {} | sed -n 's/^{key}: //p'",
            socket.display()
        );
        host.sh(&ask).trim().to_owned()
    };
    let mut session = installed.place.session();
    std::thread::sleep(std::time::Duration::from_millis(1200));
    for _ in 0..3 {
        let (before, uptime) = (installed.answering(), info("Uptime_sec").parse::<u32>().unwrap());
        // The file is another one by now; that of the process that runs has no name any more.
        let fresh = host.directory().join("fresh");
        std::fs::copy(warren_binary(), &fresh).unwrap();
        std::fs::rename(&fresh, &installed.binary).unwrap();
        let said = installed.upgrade();
        assert!(said.status.success(), "{said:?}");
        let pid = installed.answering();
        assert_ne!(pid, before);
        assert_eq!(seen("cat /run/haproxy.pid"), pid);
        assert_eq!(seen(&format!("cat /proc/{pid}/comm")), "haproxy");
        let binary = installed.binary.display().to_string();
        assert_eq!(seen(&format!("readlink /proc/{pid}/exe")), binary);
        assert_eq!(seen("killall -0 haproxy && echo found"), "found");
        let status = seen(&format!("{} proxy status", warren_binary().display()));
        assert!(status.contains(&format!("process {pid} ")), "{status}");
        assert_eq!(info("Stopping"), "0");
        let now: u32 = info("Uptime_sec").parse().unwrap();
        assert!((uptime..uptime + 10).contains(&now), "{uptime} and then {now}");
        session.exchange(3000).unwrap();
    }
    assert!(installed.first.wait(PATIENCE).success());
}

/// Neither may it make a control socket in /run/warren nor a stats socket where root has made one.
#[test]
fn a_proxy_that_is_not_root_any_more_is_upgraded_again_and_again() {
    let installed = Installed::start_with(CHECK, |text| {
        text.replace("maxconn 4096", "maxconn 4096\n    user nobody")
    });
    let host = &installed.place.proxy;
    host.sh(&format!("chmod 755 {}", host.directory().display()));
    let mut session = installed.place.session();
    for _ in 0..3 {
        let before = installed.answering();
        assert_eq!(host.sh(&format!("stat -c %U /proc/{before}")).trim(), "nobody");
        let said = installed.upgrade();
        assert!(said.status.success(), "{said:?}");
        assert_ne!(installed.answering(), before);
        session.exchange(3000).unwrap();
    }
}

/// At every socket of operators, whether it was made again or is the same one.
#[test]
fn who_asks_after_an_upgrade_asks_the_successor() {
    for user in ["root", "nobody"] {
        let installed = Installed::start_with(CHECK, |text| {
            text.replace(
                "maxconn 4096",
                &format!(
                    "maxconn 4096\n    user {user}\n    stats socket ipv4@127.0.0.1:9999 level operator"
                ),
            )
        });
        let host = &installed.place.proxy;
        host.sh(&format!("chmod 755 {}", host.directory().display()));
        let (binary, directory) = (warren_binary(), host.directory());
        // Each of them many times, at once when it is done; one line for every answer.
        let ask = format!(
            "for i in $(seq 10); do \
             echo 'show info' | socat -t 10 - {0}/stats.sock | sed -n 's/^Pid: //p'; \
             echo 'show info' | socat -t 10 - tcp:127.0.0.1:9999 | sed -n 's/^Pid: //p'; \
             {1} proxy status | sed -n 's/.*process \\([0-9]*\\) .*/\\1/p'; done",
            directory.display(),
            binary.display()
        );
        for _ in 0..5 {
            let before = installed.answering();
            let said = host.sh(&format!("{} proxy upgrade && {{ {ask}; }}", binary.display()));
            let answers: Vec<&str> = said.lines().skip(1).collect();
            let now = installed.answering();
            assert_ne!(now, before);
            assert_eq!(
                answers,
                vec![now.as_str(); 30],
                "{user}: before it was {before}\n{said}"
            );
        }
    }
}

#[test]
fn upgrades_that_are_asked_for_at_once_are_one_after_the_other_or_refused() {
    let mut installed = Installed::start(CHECK);
    let load = Load::start(&installed.place.client, installed.place.entry(), 8, 30);
    let mut session = installed.place.session();
    let mut done = 0;
    for _ in 0..3 {
        let said: Vec<_> = std::thread::scope(|scope| {
            let asked: Vec<_> = (0..3).map(|_| scope.spawn(|| installed.upgrade())).collect();
            asked.into_iter().map(|asked| asked.join().unwrap()).collect()
        });
        for said in &said {
            let refusal = String::from_utf8_lossy(&said.stderr).into_owned();
            assert!(
                said.status.success() || refusal.contains("another upgrade or the end is under way"),
                "{said:?}"
            );
        }
        let upgraded = said.iter().filter(|said| said.status.success()).count();
        assert!(upgraded >= 1, "{said:?}");
        done += upgraded;
        session.exchange(3000).unwrap();
    }
    let report = load.stop();
    assert!(report.is_clean(), "{report:?}");
    assert!(installed.first.wait(PATIENCE).success());
    println!("{done} of 9");
    // One is left, and it is the one that answers.
    let pid = installed.answering();
    eventually(PATIENCE, "one process is left", || {
        let all = installed.place.proxy.sh("pgrep -x haproxy || true");
        let all: Vec<&str> = all.split_whitespace().collect();
        if all == [pid.as_str()] {
            Ok(())
        } else {
            Err(format!("{all:?}, {pid}"))
        }
    });
}

#[test]
fn what_speaks_tls_is_cut_when_the_time_that_the_old_process_has_is_over() {
    let mut installed = Installed::start_with(CHECK, |text| {
        let text = text.replace("maxconn 4096", "maxconn 4096\n    hard-stop-after 3s");
        format!("{text}\nlisten secure\n    bind *:5671 ssl crt PEM\n    server rabbitmq1 10.77.0.3:5672\n")
    });
    let place = &installed.place;
    let mut plain = place.session();
    let _talking = talks_tls(place);
    let secure = || place.proxy.sh("ss -Htn state established '( sport = :5671 )'");
    eventually(PATIENCE, "it is served", || {
        if secure().is_empty() { Err(()) } else { Ok(()) }
    });
    let said = installed.upgrade();
    let text = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(
        said.status.success() && text.contains(" stay until they end"),
        "{said:?}"
    );
    assert!(!secure().is_empty(), "it has three seconds");
    assert!(installed.first.wait(PATIENCE).success());
    assert_eq!(secure(), "");
    plain.exchange(1000).unwrap();
}

/// Somebody who is greeted over TLS and stays.
fn talks_tls(place: &Place) -> Process {
    let line = "(printf 'AMQP\\0\\0\\011\\001'; sleep 600) | openssl s_client -quiet -connect 10.77.0.1:5671 2>/dev/null";
    place.client.spawn("/bin/sh", &["-c", line])
}

#[test]
fn what_speaks_tls_stays_until_it_ends_is_said_to_and_keeps_nobody_else() {
    let mut installed = Installed::start_with(CHECK, |text| {
        format!(
            "{text}\nlisten secure\n    bind *:5671 ssl crt PEM\n    server rabbitmq1 10.77.0.3:5672\n\
             listen page\n    mode http\n    bind *:8100\n    stats enable\n    stats uri /\n"
        )
    });
    let place = &installed.place;
    let mut talking = talks_tls(place);
    // A page that somebody looks at.
    let mut looking = place
        .client
        .spawn("/usr/bin/curl", &["-sN", "http://10.77.0.1:8100/;live"]);
    let status = || {
        let binary = warren_binary();
        place.proxy.sh(&format!("{} proxy status", binary.display()))
    };
    eventually(PATIENCE, "both are served", || {
        let csv = place.client.sh("curl -s 'http://10.77.0.1:8100/;csv'");
        let now = |name: &str| {
            let line = csv.lines().find(|line| line.starts_with(name));
            line.and_then(|line| line.split(',').nth(4)).map(str::to_owned)
        };
        let both = [now("secure,FRONTEND"), now("page,FRONTEND")];
        // The one that asks is a client as well.
        if both == [Some("1".to_owned()), Some("2".to_owned())] {
            Ok(())
        } else {
            Err(csv)
        }
    });
    let before = installed.answering();
    let said = installed.upgrade();
    let text = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(
        said.status.success() && text.contains(" stay until they end"),
        "{said:?}"
    );
    let stay = format!("stay in process {before} until they end");
    assert!(status().contains(&stay), "{}", status());
    let page = place.client.sh("curl -s http://10.77.0.1:8100/");
    assert!(
        page.contains(&format!("process {before}: ")) && page.contains("(TLS)"),
        "{page}"
    );
    assert!(talking.is_running() && installed.first.is_running());
    // Whoever looked at the page comes back to the process that serves; so only TLS keeps the old one.
    eventually(PATIENCE, "the page's connection has ended", || {
        if looking.is_running() { Err(()) } else { Ok(()) }
    });
    drop(talking);
    assert!(installed.first.wait(PATIENCE).success());
    assert!(!status().contains("until they end"), "{}", status());
}
