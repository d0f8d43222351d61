use std::io::Write;
use std::os::unix::net::UnixDatagram;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tracing::{debug, error, info, info_span, warn};

use super::*;

#[derive(Clone, Default)]
struct Memory(Arc<Mutex<Vec<u8>>>);

impl Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn options(console: Option<Console>, filter: &str) -> Options {
    Options {
        identifier: "warren".into(),
        console,
        journal: false,
        syslog: false,
        filter: filter.parse().unwrap(),
    }
}

fn logged(options: &Options, colour: bool, log: impl FnOnce()) -> String {
    let memory = Memory::default();
    let (subscriber, _, guard) = build(options, colour, memory.clone(), Duration::from_secs(10)).unwrap();
    tracing::subscriber::with_default(subscriber, log);
    drop(guard);
    let bytes = memory.0.lock().unwrap().clone();
    String::from_utf8(bytes).unwrap()
}

#[test]
fn text_lines_have_time_level_message_and_fields() {
    let text = logged(&options(Some(Console::Text), ""), false, || {
        let _span = info_span!("router", name = "VI_1").entered();
        info!(vrid = 51, "became active");
        debug!("decided");
    });
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(
        text.ends_with("Z  INFO router{name=\"VI_1\"}: became active vrid=51\n"),
        "{text}"
    );
    assert!(!text.contains('\x1b'));
    let coloured = logged(&options(Some(Console::Text), ""), true, || info!("x"));
    assert!(coloured.contains('\x1b'));
}

#[test]
fn json_lines_carry_typed_fields() {
    let text = logged(&options(Some(Console::Json), ""), false, || {
        warn!(vrid = 51, peer = "10.0.0.2", "lost")
    });
    let line: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        (&line["level"], &line["message"]),
        (&"WARN".into(), &"lost".into())
    );
    assert_eq!((&line["vrid"], &line["peer"]), (&51.into(), &"10.0.0.2".into()));
}

#[test]
fn the_filter_chooses_levels_by_target() {
    let log = || {
        debug!(target: "a::b", "one");
        debug!(target: "c", "two");
        info!(target: "c", "three");
        error!(target: "d", "four");
    };
    let messages = |filter| {
        let text = logged(&options(Some(Console::Json), filter), false, log);
        let message = |line| serde_json::from_str::<serde_json::Value>(line).unwrap()["message"].clone();
        text.lines()
            .map(|line| message(line).as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(messages(""), ["three", "four"]);
    assert_eq!(messages("debug"), ["one", "two", "three", "four"]);
    assert_eq!(messages("a=debug, d=off"), ["one", "three"]);
    assert_eq!(messages("warn"), ["four"]);
}

#[test]
fn a_mistyped_filter_is_refused() {
    let refused = |filter: &str| filter.parse::<Filter>().unwrap_err().to_string();
    assert_eq!(
        refused("debgu"),
        "\"debgu\" in the log filter is neither a level nor TARGET=LEVEL: did you mean \"debug\"?"
    );
    assert!(refused("info,a=loud").ends_with("the levels are off, error, warn, info, debug, trace"));
    assert!(refused("a=").contains("\"a=\""));
}

/// What a client may have chosen as its name, with a line and a colour of its own.
const FORGED: &str = "ann\r\n2026-01-01T00:00:00Z  INFO \x1b[31mforged\x07\0\u{85}\u{9b}2J";

fn log_forged() {
    let _span = info_span!("connection", user = %FORGED).entered();
    let exception = io::Error::other(FORGED);
    warn!(reason = %FORGED, error = %exception, text = FORGED, quoted = ?FORGED, "closed {FORGED}");
}

#[test]
fn a_record_is_one_line_whatever_is_in_it() {
    let controls = |text: &str| text.chars().filter(|c| c.is_control()).collect::<String>();
    let text = logged(&options(Some(Console::Text), ""), false, log_forged);
    assert_eq!(controls(&text), "\n", "{text:?}");
    assert!(
        text.contains(r"reason=ann\r\n2026-01-01T00:00:00Z  INFO \u{1b}[31mforged\u{7}\u{0}"),
        "{text}"
    );
    let coloured = logged(&options(Some(Console::Text), ""), true, log_forged);
    assert_eq!(controls(&coloured).replace('\x1b', ""), "\n", "{coloured:?}");
    assert!(!coloured.contains("\x1b[31mforged"), "{coloured:?}");
    let json = logged(&options(Some(Console::Json), ""), false, log_forged);
    assert_eq!(json.lines().count(), 1, "{json:?}");
    let line: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        (&line["reason"], &line["span"]["user"]),
        (&FORGED.into(), &FORGED.into())
    );
}

#[test]
fn to_the_journal_and_to_syslog_a_record_is_one_whatever_is_in_it() {
    let (_directory, path, server) = server();
    let journal = Registry::default().with(Datagrams::new(Journal::at("warren", &path)).unwrap());
    tracing::subscriber::with_default(journal, log_forged);
    let datagram = receive(&server);
    let text = String::from_utf8_lossy(&datagram).into_owned();
    let message = text.split('\n').next().unwrap();
    assert!(
        message.starts_with("MESSAGE=closed ann  2026") && message.contains("quoted="),
        "{text}"
    );
    assert!(!message.chars().any(char::is_control), "{text:?}");
    // A field goes as it is, with its length before it: nothing in it begins another one.
    let field = [
        &b"WARREN_REASON\n"[..],
        &(FORGED.len() as u64).to_le_bytes(),
        FORGED.as_bytes(),
        b"\n",
    ]
    .concat();
    assert!(
        datagram.windows(field.len()).any(|part| part == field),
        "{text:?}"
    );
    let syslog = Registry::default().with(Datagrams::new(Syslog::at("warren", &path)).unwrap());
    tracing::subscriber::with_default(syslog, log_forged);
    let line = String::from_utf8(receive(&server)).unwrap();
    assert!(!line.chars().any(char::is_control), "{line:?}");
}

fn server() -> (tempfile::TempDir, std::path::PathBuf, UnixDatagram) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    let server = UnixDatagram::bind(&path).unwrap();
    server.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    (directory, path, server)
}

fn receive(server: &UnixDatagram) -> Vec<u8> {
    let mut buffer = vec![0; 1 << 16];
    let length = server.recv(&mut buffer).unwrap();
    buffer.truncate(length);
    buffer
}

#[test]
fn syslog_gets_one_line_with_facility_daemon_and_the_process() {
    let (_directory, path, server) = server();
    let subscriber = Registry::default().with(Datagrams::new(Syslog::at("warren", &path)).unwrap());
    tracing::subscriber::with_default(subscriber, || {
        let span = info_span!("router", name = "VI_1", vrid = tracing::field::Empty).entered();
        span.record("vrid", 51);
        error!(output = "two\nlines", count = 3, "forged\n<0>line");
    });
    let expected = format!(
        "<27>warren[{}]: forged <0>line name=VI_1 vrid=51 output=\"two\\nlines\" count=3",
        std::process::id()
    );
    assert_eq!(String::from_utf8(receive(&server)).unwrap(), expected);
}

#[test]
fn the_journal_gets_every_field_under_a_name_of_its_own() {
    let (_directory, path, server) = server();
    let subscriber = Registry::default().with(Datagrams::new(Journal::at("warren", &path)).unwrap());
    tracing::subscriber::with_default(subscriber, || {
        warn!(priority = 100, output = "a\nb", "lost a peer")
    });
    let datagram = receive(&server);
    let text = String::from_utf8_lossy(&datagram);
    assert!(
        text.starts_with(
            "MESSAGE=lost a peer priority=100 output=\"a\\nb\"\nPRIORITY=4\nSYSLOG_IDENTIFIER=warren\n"
        ),
        "{text}"
    );
    assert!(
        text.contains("\nWARREN_PRIORITY=100\n") && text.contains("\nCODE_LINE="),
        "{text}"
    );
    let binary = [&b"WARREN_OUTPUT\n"[..], &3u64.to_le_bytes(), b"a\nb\n"].concat();
    assert!(datagram.ends_with(&binary), "{text}");
}

#[test]
fn a_log_that_is_full_or_gone_costs_lines_and_no_time() {
    let (directory, path, server) = server();
    let layer = Datagrams::new(Syslog::at("warren", &path)).unwrap();
    tracing::subscriber::with_default(Registry::default().with(layer), || {
        let other = UnixDatagram::unbound().unwrap();
        other.set_nonblocking(true).unwrap();
        while other.send_to(b"nobody reads this", &path).is_ok() {}
        let before = dropped_lines();
        info!("x");
        drop(server);
        std::fs::remove_file(&path).unwrap();
        info!("y");
        assert!(dropped_lines() >= before + 2);
        let server = UnixDatagram::bind(&path).unwrap();
        server.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        info!("z");
        assert!(receive(&server).ends_with(b": z"));
        let count = String::from_utf8(receive(&server)).unwrap();
        assert!(
            count.starts_with("<28>") && count.contains(": 2 log lines before this one were dropped"),
            "{count}"
        );
    });
    drop(directory);
}

#[test]
fn a_long_text_is_cut() {
    let (_directory, path, server) = server();
    let subscriber = Registry::default().with(Datagrams::new(Syslog::at("w", &path)).unwrap());
    tracing::subscriber::with_default(subscriber, || info!("{}", "ü".repeat(100_000)));
    assert!(receive(&server).len() < 9000);
}

#[test]
fn what_is_logged_can_change_while_the_program_runs() {
    let memory = Memory::default();
    let options = options(Some(Console::Text), "warn");
    let (subscriber, change, guard) =
        build(&options, false, memory.clone(), Duration::from_secs(10)).unwrap();
    tracing::subscriber::with_default(subscriber, || {
        let line = || debug!("decided");
        line();
        change("debug".parse::<Filter>().unwrap().0);
        line();
        change("off".parse::<Filter>().unwrap().0);
        error!("failed");
    });
    drop(guard);
    let text = String::from_utf8(memory.0.lock().unwrap().clone()).unwrap();
    assert_eq!(
        (text.lines().count(), text.contains("decided")),
        (1, true),
        "{text}"
    );
}
