//! What must hold of whatever is said on the runtime socket: it is answered, each command with an empty line at the
//! end, and nothing that a client says brings the process down.

use std::sync::{Arc, OnceLock};

use warren_proxy::check::Servers;
use warren_proxy::config::{Format, load};
use warren_proxy::live::Live;
use warren_proxy::plan::{self, SocketLevel};
use warren_proxy::record::Record;
use warren_proxy::runtime::{Context, run};
use warren_proxy::stats::Process;
use warren_proxy::worker::{Log, Settings, Workers};

const FILE: &str = "
defaults
    timeout connect 1s
    timeout client 1s
    timeout server 1s
listen a
    bind 127.0.0.1:1
    stick-table type ip size 100 expire 10m
    stick on src
    server s1 127.0.0.1:2 check weight 10 maxconn 5
    server s2 127.0.0.1:3 backup
frontend b
    mode http
    bind 127.0.0.1:4
    default_backend c
backend c
    mode http
    server s3 127.0.0.1:5
";

struct NoLog;

impl Log for NoLog {
    fn record(&mut self, _: &plan::Frontend, _: &Record<'_>) {}
    fn flush(&mut self) {}
    fn change(&mut self, _: &plan::Global) {}
}

/// Whether all of it was understood. Panics if what must hold does not.
pub(crate) fn accepted(octets: &[u8]) -> bool {
    static STAGE: OnceLock<(Context, tokio::runtime::Runtime)> = OnceLock::new();
    let (context, runtime) = STAGE.get_or_init(stage);
    let line = String::from_utf8_lossy(octets);
    let answer = runtime.block_on(run(context, SocketLevel::Admin, &line));
    assert!(
        answer.is_empty() || answer.ends_with('\n'),
        "{line:?}: {answer:?}"
    );
    !answer.contains("Unknown command")
}

fn stage() -> (Context, tokio::runtime::Runtime) {
    let path = std::env::temp_dir().join(format!("warren-fuzz-{}.cfg", std::process::id()));
    std::fs::write(&path, FILE).expect("a file can be written");
    let loaded = load(&path, Format::Haproxy, "host").expect("the file is right");
    let _ = std::fs::remove_file(&path);
    let live = Arc::new(Live::new(Arc::new(loaded.plan)));
    let (visits, _) = tokio::sync::mpsc::channel(1);
    let settings = Settings {
        visits,
        log: Box::new(|_| Box::new(NoLog)),
    };
    let workers = Workers::start(&live, &settings).expect("workers start");
    let context = Context {
        servers: Servers::of_process(Arc::clone(&live), workers.clone(), Default::default()),
        process: Arc::new(Process::this("0", "")),
        live,
        workers,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    (context, runtime.expect("a runtime starts"))
}
