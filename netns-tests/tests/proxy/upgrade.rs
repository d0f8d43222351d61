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
struct Installed {
    place: Place,
    binary: PathBuf,
    first: Process,
}

impl Installed {
    fn start(server: &str) -> Self {
        Self::start_with(server, |text| text)
    }

    /// With a configuration that is changed before it is used.
    fn start_with(server: &str, change: impl FnOnce(String) -> String) -> Self {
        let place = Place::new();
        let binary = place.proxy.directory().join("installed");
        std::fs::copy(warren_binary(), &binary).unwrap();
        let file = place
            .proxy
            .write("haproxy.cfg", &change(place.configuration("", "", server)));
        let mut command = Command::new(&binary);
        command.args(["proxy", "-f"]).arg(&file);
        let first = place.proxy.spawn_command(command);
        eventually(PATIENCE, "the proxy serves", || {
            place.try_session().map_err(|error| (error, first.log()))
        });
        Self { place, binary, first }
    }

    fn upgrade(&self) -> std::process::Output {
        self.place
            .proxy
            .try_sh(&format!("{} proxy upgrade", warren_binary().display()))
    }

    /// The process that answers.
    fn answering(&self) -> String {
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
