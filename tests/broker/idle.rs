//! What a broker does when nobody wants anything of it: next to nothing, however many are connected.

use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::time::{Duration, Instant};

use super::{Broker, Client, Login, PATIENCE, TcpStream};

const CONNECTIONS: usize = 1000;
/// How long it is looked at.
const LONG: Duration = Duration::from_secs(10);
/// In that time memory is looked at each second and the disk every five, for which two threads wake up or three, and two threads of the log
/// wake up each second.
const WOKEN_MAX: u64 = 80;

/// How often all threads have gone to sleep so far.
fn wake_ups(broker: &Broker) -> u64 {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", broker.process.id())).unwrap();
    let count = |task: std::fs::DirEntry| -> Option<u64> {
        let status = std::fs::read_to_string(task.path().join("status")).ok()?;
        let mut lines = status.lines();
        let count = lines.find_map(|line| line.strip_prefix("voluntary_ctxt_switches:\t"))?;
        count.parse().ok()
    };
    tasks.filter_map(|task| count(task.ok()?)).sum()
}

fn wake_ups_while_nothing_happens(broker: &Broker) -> u64 {
    let before = wake_ups(broker);
    std::thread::sleep(LONG);
    wake_ups(broker) - before
}

fn command(directory: &std::path::Path) -> Command {
    let file = directory.join("warren.toml");
    // Far from what there is, on whichever machine.
    std::fs::write(
        &file,
        "[broker]\nmemory_limit = 64000000000\ndisk_free_limit = 0\n",
    )
    .unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_warren"));
    command
        .args(["broker", "--listen", "127.0.0.1:0", "--config"])
        .arg(file);
    command.arg("--data").arg(directory.join("data"));
    command
}

#[test]
fn an_idle_broker_sleeps_whether_anybody_is_connected_or_not() {
    let directory = tempfile::tempdir().unwrap();
    let broker = Broker::run(&mut command(directory.path()));
    let woken = wake_ups_while_nothing_happens(&broker);
    println!("nobody is connected: woken {woken} times");
    assert!(woken <= WOKEN_MAX, "woken {woken} times");
    let mut login = Login::plain("guest", "guest", "/", "test").unwrap();
    login.wanted.heartbeat = 0;
    let connect = |_| Client::log_in(TcpStream::connect(broker.address).unwrap(), login.clone()).unwrap();
    let silent: Vec<Client> = (0..CONNECTIONS).map(connect).collect();
    let woken = wake_ups_while_nothing_happens(&broker);
    println!("{} are connected: woken {woken} times", silent.len());
    assert!(woken <= WOKEN_MAX, "woken {woken} times");
}

#[test]
fn a_service_manager_hears_that_the_broker_is_alive_as_often_as_it_wants_and_else_nothing() {
    const WITHIN: Duration = Duration::from_millis(400);
    for wanted in [true, false] {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("notify");
        let manager = UnixDatagram::bind(&socket).unwrap();
        manager
            .set_read_timeout(Some(if wanted { PATIENCE } else { 4 * WITHIN }))
            .unwrap();
        let mut command = command(directory.path());
        command.env("NOTIFY_SOCKET", &socket).env_remove("WATCHDOG_PID");
        match wanted {
            true => command.env("WATCHDOG_USEC", WITHIN.as_micros().to_string()),
            false => command.env_remove("WATCHDOG_USEC"),
        };
        let _broker = Broker::run(&mut command);
        let since = Instant::now();
        let mut message = [0; 4096];
        let mut alive = 0;
        while alive < 5
            && let Ok(length) = manager.recv(&mut message)
        {
            alive += u32::from(message[..length] == *b"WATCHDOG=1\n");
        }
        assert_eq!(alive, if wanted { 5 } else { 0 });
        // The first is at once.
        assert!(
            !wanted || since.elapsed() >= 3 * WITHIN / 2,
            "more often than it wants"
        );
    }
}
