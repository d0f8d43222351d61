//! Log lines in the journal of a real systemd-journald.

use std::collections::BTreeMap;
use std::path::Path;

use warren_lab::{Process, Session, eventually, warren_binary};

use super::{PATIENCE, Place};

const JOURNALD: &str = "/usr/lib/systemd/systemd-journald";
/// What an entry says, by field.
type Entry = BTreeMap<String, String>;

fn start_journald(place: &Place) -> Process {
    place.proxy.sh("mkdir -p /run/systemd/journal /run/log/journal");
    let journald = place.proxy.spawn::<&str>(JOURNALD, &[]);
    let ask = "printf 'MESSAGE=here\\nSYSLOG_IDENTIFIER=probe\\n' | socat -u - UNIX-SENDTO:/run/systemd/journal/socket";
    eventually(PATIENCE, "the journal is open", || {
        let asked = place.proxy.try_sh(ask);
        asked.status.success().then_some(()).ok_or(asked)
    });
    journald
}

/// The entries of the proxy, oldest first.
fn entries(place: &Place) -> Vec<Entry> {
    let text = place
        .proxy
        .sh("journalctl --directory /run/log/journal --output json --all SYSLOG_IDENTIFIER=edge");
    let read = |line| serde_json::from_str::<BTreeMap<String, serde_json::Value>>(line).unwrap();
    let word = |value: &serde_json::Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    text.lines()
        .map(|line| {
            read(line)
                .iter()
                .map(|(name, value)| (name.clone(), word(value)))
                .collect()
        })
        .collect()
}

/// The entry of a user's session.
#[track_caller]
fn entry_of(place: &Place, user: &str) -> Entry {
    eventually(PATIENCE, "the session is in the journal", || {
        let entries = entries(place);
        let mut of_user = entries
            .iter()
            .filter(|entry| entry.get("WARREN_USER").is_some_and(|name| name == user));
        match (of_user.next(), of_user.next()) {
            (Some(entry), None) => Ok(entry.clone()),
            _ => Err(entries),
        }
    })
}

#[track_caller]
fn session(place: &Place, user: &str) -> Session {
    let stream = place
        .client
        .enter(|| std::net::TcpStream::connect_timeout(&place.entry(), PATIENCE));
    Session::log_in_as(user, "secret", stream.unwrap(), PATIENCE).unwrap()
}

#[test]
fn sessions_are_in_the_journal_with_a_field_for_each_thing_one_looks_for() {
    if !Path::new(JOURNALD).exists() {
        crate::skip::skip("systemd-journald is not installed");
        return;
    }
    let place = Place::with(&["rabbitmq1"]);
    // Without that it ends at once, and says why to nobody.
    let cgroups = place.proxy.try_sh("mount -t cgroup2 cgroup2 /sys/fs/cgroup");
    if !cgroups.status.success() {
        crate::skip::skip("cgroup2 cannot be mounted");
        return;
    }
    let mut journald = start_journald(&place);
    let proxy = place.start_amqp("log = [\"journal local3 info\"]\nlog_tag = \"edge\"", "", "");
    let mut lasting = session(&place, "lasting");
    let client = session(&place, "alice");
    let address = client.address().to_string();
    client.close().unwrap();

    let entry = entry_of(&place, "alice");
    let field = |name: &str| entry.get(name).map(String::as_str);
    let message = field("MESSAGE").unwrap();
    assert!(message.starts_with(&format!("{address} [")), "{message}");
    assert!(
        message.contains("] rabbitmq rabbitmq/rabbitmq1 ") && message.contains(" -- "),
        "{message}"
    );
    let pid = proxy.id().to_string();
    let inside = place.proxy.sh("pgrep -x warren");
    assert!(
        [Some(pid.as_str()), Some(inside.trim())].contains(&field("_PID")),
        "{entry:?}"
    );
    for (name, value) in [
        ("PRIORITY", "6"),
        ("SYSLOG_FACILITY", "19"),
        ("SYSLOG_IDENTIFIER", "edge"),
        ("WARREN_FRONTEND", "rabbitmq"),
        ("WARREN_BACKEND", "rabbitmq"),
        ("WARREN_SERVER", "rabbitmq1"),
        ("WARREN_VHOST", "/"),
        ("WARREN_CONNECTION_NAME", "lab"),
        ("WARREN_CLIENT", address.as_str()),
        ("WARREN_TERMINATION", "--"),
    ] {
        assert_eq!(field(name), Some(value), "{name}: {entry:?}");
    }

    // A name is whatever a client says, and must not become another field.
    let user = "eve\nPRIORITY=0\nWARREN_SERVER=another";
    session(&place, user).close().unwrap();
    let entry = entry_of(&place, user);
    let field = |name: &str| entry.get(name).map(String::as_str);
    assert_eq!(field("PRIORITY"), Some("6"), "{entry:?}");
    assert_eq!(field("WARREN_SERVER"), Some("rabbitmq1"), "{entry:?}");
    assert!(!field("MESSAGE").unwrap().contains('\n'), "{entry:?}");

    // Without a journal nobody waits; what is lost is counted.
    let dropped = || {
        let info = place
            .proxy
            .sh(&format!("{} proxy ctl show info", warren_binary().display()));
        let line = info.lines().find_map(|line| line.strip_prefix("DroppedLogs: "));
        line.unwrap_or_else(|| panic!("{info}")).parse::<u64>().unwrap()
    };
    assert_eq!(dropped(), 0);
    journald.kill();
    session(&place, "unheard").close().unwrap();
    eventually(PATIENCE, "the line is counted as lost", || match dropped() {
        1 => Ok(()),
        count => Err(count),
    });
    lasting.exchange(1000).unwrap();
    let _journald = start_journald(&place);
    session(&place, "bob").close().unwrap();
    assert_eq!(
        entry_of(&place, "bob").get("WARREN_SERVER").map(String::as_str),
        Some("rabbitmq1")
    );
    assert_eq!(dropped(), 1);
}
