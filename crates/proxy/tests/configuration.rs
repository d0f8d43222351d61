//! Configuration files as operators write them, whole.

#[path = "../../../tests/fuzz/oracle/haproxy_cfg.rs"]
mod oracle;

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use proptest::prelude::*;

use warren_balance::Algorithm;
use warren_proxy::config::{ConfigError, Loaded, Machine, load_haproxy, load_toml, translate};
use warren_proxy::plan::{LogFormat, Mode, SocketLevel};

fn machine() -> Machine {
    Machine {
        host: "alpha".to_owned(),
        processors: NonZeroUsize::new(4).unwrap(),
        open_files: 20_000,
    }
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/haproxy")
}

/// Loads a file whose pages of errors lie among the fixtures.
fn load(name: &str) -> Result<Loaded, ConfigError> {
    let text = std::fs::read_to_string(fixtures().join(name)).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("haproxy.cfg");
    let errors = fixtures().join("errors");
    std::fs::write(
        &path,
        text.replace("/etc/haproxy/errors", errors.to_str().unwrap()),
    )
    .unwrap();
    load_haproxy(&[path], &machine())
}

fn loaded(name: &str) -> Loaded {
    load(name).unwrap_or_else(|error| panic!("{name}:\n{error}"))
}

#[test]
fn a_cluster_behind_one_address_loads_as_typed() {
    let loaded = loaded("typed/docker-cluster.cfg");
    assert_eq!(loaded.render_warnings(false), "");
    let plan = loaded.plan;
    assert_eq!(plan.global.maxconn.get(), 4096);
    let names: Vec<&str> = plan
        .frontends
        .iter()
        .map(|frontend| frontend.name.as_str())
        .collect();
    assert_eq!(names, ["stats", "rabbitmq"]);
    let stats = plan.frontends[0].stats.as_ref().unwrap();
    assert_eq!(stats.realm, "Haproxy Statistics");
    assert_eq!(stats.users, [("admin".to_owned(), "admin123".to_owned())]);
    let front = &plan.frontends[1];
    assert_eq!((front.mode, front.maxconn.get()), (Mode::Tcp, 2000));
    assert_eq!(front.log.format, LogFormat::Tcp);
    assert_eq!(front.log.targets.len(), 1);
    assert_eq!(front.default_backend.as_deref(), Some("rabbitmq"));
    let back = &plan.backends[1];
    assert_eq!(back.name, "rabbitmq");
    assert_eq!(back.id.0, 2);
    assert_eq!(back.balance.algorithm, Algorithm::RoundRobin);
    assert_eq!(
        (back.retries, back.redispatch, back.fullconn.get()),
        (3, Some(-1), 200)
    );
    assert_eq!(back.servers.len(), 3);
    assert!(
        back.servers
            .iter()
            .all(|server| server.check.is_some() && !server.backup)
    );
    assert_eq!(back.rebalance, None);
}

#[test]
fn the_others_load_as_typed() {
    for name in ["docker-cluster-tls", "mirrored", "warren"] {
        let loaded = loaded(&format!("typed/{name}.cfg"));
        assert_eq!(loaded.render_warnings(false), "", "{name}");
    }
    let plan = loaded("typed/warren.cfg").plan;
    let backup = &plan.backends[0].servers[1];
    assert!(backup.backup);
    assert_eq!(backup.check.as_ref().unwrap().timing.inter.as_millis(), 5000);
    let [socket] = plan.global.sockets.as_slice() else {
        panic!("one socket")
    };
    assert_eq!((socket.level, socket.mode), (SocketLevel::Admin, Some(0o770)));
    assert!(plan.global.daemon);
    let tls = loaded("typed/docker-cluster-tls.cfg").plan;
    assert!(tls.frontends[0].binds[0].tls.is_some());
}

#[test]
fn the_file_of_debian_loads_with_notes_about_what_does_not_matter() {
    let loaded = loaded("typed/debian.cfg");
    let lines: Vec<String> = loaded.warning_lines().collect();
    for word in ["chroot", "ssl-default-bind-ciphers", "nothing to listen on"] {
        assert!(lines.iter().any(|line| line.contains(word)), "{word}: {lines:#?}");
    }
}

#[test]
fn every_mistake_of_a_file_is_named_with_its_place() {
    let error = load("mistakes.cfg").unwrap_err().render(false);
    let lines = error.lines().map(|line| match line.split_once("--> ") {
        Some((before, place)) => format!("{before}--> {}", place.rsplit('/').next().unwrap()),
        None => line.to_owned(),
    });
    insta::assert_snapshot!(lines.collect::<Vec<_>>().join("\n"));
}

/// A case of the corpus: who accepts it, and the whole file.
struct Case {
    name: String,
    haproxy: bool,
    warren: bool,
    text: String,
}

fn corpus() -> Vec<Case> {
    // Without a listener HAProxy finds nothing to do.
    const LISTENER: &str = "listen always\n mode tcp\n bind 127.0.0.1:65000\n timeout client 1s\n timeout connect 1s\n \
                            timeout server 1s\n server a 127.0.0.1:1\n";
    let text = std::fs::read_to_string(fixtures().join("corpus.txt")).unwrap();
    let cases = text.split("\n=== ").skip(1).map(|case| {
        let (head, body) = case.split_once('\n').unwrap();
        let (kind, name) = head.split_once(": ").unwrap();
        let (who, base) = kind.split_once(' ').unwrap();
        assert!(["both", "neither", "haproxy", "warren"].contains(&who), "{head}");
        let base = match base {
            "global" => String::new(),
            mode => format!(
                "defaults\n mode {mode}\n timeout connect 5s\n timeout client 30s\n timeout server 30s\n"
            ),
        };
        Case {
            name: name.to_owned(),
            haproxy: ["both", "haproxy"].contains(&who),
            warren: ["both", "warren"].contains(&who),
            text: format!("{base}{body}\n{LISTENER}"),
        }
    });
    cases.collect()
}

fn load_text(text: &str) -> Result<Loaded, ConfigError> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("haproxy.cfg");
    std::fs::write(&path, text).unwrap();
    load_haproxy(&[path], &machine())
}

#[test]
fn what_is_accepted_and_refused_is_what_the_corpus_says() {
    let mut wrong = String::new();
    for case in corpus() {
        match (case.warren, load_text(&case.text)) {
            (true, Err(error)) => wrong += &format!("\n\n`{}` is refused:\n{error}", case.name),
            (false, Ok(_)) => wrong += &format!("\n\n`{}` is accepted", case.name),
            (true, Ok(_)) | (false, Err(_)) => {}
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn haproxy_says_the_same_of_the_corpus() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("haproxy.cfg");
    let mut wrong = String::new();
    for case in corpus() {
        std::fs::write(&path, &case.text).unwrap();
        let output = std::process::Command::new("haproxy")
            .args(["-c", "-f"])
            .arg(&path)
            .output()
            .expect("haproxy is installed (scripts/setup)");
        if output.status.success() != case.haproxy {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            wrong += &format!("\n\n`{}`: {}\n{said}", case.name, output.status);
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// The plan as text, but for the format it came from.
fn plan(loaded: &Loaded) -> String {
    let text = format!("{:#?}", loaded.plan);
    text.replace("origin: Haproxy", "origin: Toml")
}

#[test]
fn what_an_import_writes_loads_to_the_same_plan() {
    let typed = [
        "docker-cluster",
        "docker-cluster-tls",
        "mirrored",
        "warren",
        "debian",
    ];
    let typed = typed.map(|name| (name.to_owned(), loaded(&format!("typed/{name}.cfg"))));
    let small = corpus().into_iter().filter(|case| case.warren).map(|case| {
        let loaded = load_text(&case.text).unwrap_or_else(|error| panic!("{}:\n{error}", case.name));
        (case.name, loaded)
    });
    for (name, first) in typed.into_iter().chain(small) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("warren.toml");
        let text = translate(&first);
        std::fs::write(&path, &text).unwrap();
        let second = load_toml(&path, &machine()).unwrap_or_else(|error| panic!("{name}:\n{error}\n{text}"));
        let (first, second) = (plan(&first), plan(&second));
        let differing = first
            .lines()
            .zip(second.lines())
            .find(|(one, other)| one != other);
        assert!(first == second, "{name}: {differing:?}\n{text}");
    }
}

#[test]
fn imports_read_like_files_of_an_operator() {
    for name in ["docker-cluster", "mirrored", "warren"] {
        let text = translate(&loaded(&format!("typed/{name}.cfg")));
        insta::assert_snapshot!(format!("import-{name}"), text);
    }
}

static CORPUS: LazyLock<Vec<String>> = LazyLock::new(|| corpus().into_iter().map(|case| case.text).collect());

/// A file in which lines are swapped, doubled, cut and put together with those of another.
fn muddled() -> impl Strategy<Value = String> {
    let edit = (
        0..6u8,
        any::<prop::sample::Index>(),
        any::<prop::sample::Index>(),
        "[ -~]{0,6}",
    );
    (
        any::<prop::sample::Index>(),
        any::<prop::sample::Index>(),
        prop::collection::vec(edit, 0..8),
    )
        .prop_map(|(one, other, edits)| {
            let other: Vec<&str> = CORPUS[other.index(CORPUS.len())].lines().collect();
            let mut lines: Vec<String> = CORPUS[one.index(CORPUS.len())]
                .lines()
                .map(str::to_owned)
                .collect();
            for (kind, at, from, text) in edits {
                if lines.is_empty() {
                    break;
                }
                let at = at.index(lines.len());
                match kind {
                    0 => drop(lines.remove(at)),
                    1 => lines.insert(at, other[from.index(other.len())].to_owned()),
                    2 => {
                        let from = from.index(lines.len());
                        lines.swap(at, from);
                    }
                    3 => lines[at].push_str(&text),
                    4 => {
                        let cut = from.index(lines[at].len() + 1);
                        let cut = lines[at].floor_char_boundary(cut);
                        lines[at].truncate(cut);
                    }
                    _ => {
                        let place = from.index(lines[at].len() + 1);
                        let place = lines[at].floor_char_boundary(place);
                        lines[at].insert_str(place, &text);
                    }
                }
            }
            lines.join("\n")
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn whatever_is_written_is_judged_and_its_import_means_the_same(text in muddled()) {
        oracle::accepted(text.as_bytes());
    }

    #[test]
    fn no_text_panics(text in any::<String>()) {
        oracle::accepted(text.as_bytes());
    }
}

#[test]
fn a_state_file_is_where_its_base_says_and_for_those_that_ask() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("haproxy.cfg");
    let file = |wish: &str| {
        format!(
            "global\n  server-state-base /var/lib/haproxy\n  server-state-file state\ndefaults\n  mode tcp\n  timeout \
             connect 1s\n  timeout client 1s\n  timeout server 1s\nbackend one\n  load-server-state-from-file {wish}\n  \
             server a 127.0.0.1:1\nbackend two\n  server a 127.0.0.1:1\n"
        )
    };
    std::fs::write(&path, file("global")).unwrap();
    let plan = load_haproxy(std::slice::from_ref(&path), &machine())
        .unwrap()
        .plan;
    let state = plan.global.server_state_file.as_deref();
    assert_eq!(state, Some(Path::new("/var/lib/haproxy/state")));
    assert_eq!(
        plan.backends
            .iter()
            .map(|backend| backend.server_state)
            .collect::<Vec<_>>(),
        [true, false]
    );
    std::fs::write(&path, file("local")).unwrap();
    let refused = load_haproxy(&[path], &machine()).unwrap_err().to_string();
    assert!(refused.contains("one file for all backends"), "{refused}");
}
