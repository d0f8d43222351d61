//! Metrics for Prometheus, with the names and labels of HAProxy's own exporter, so that dashboards and alerts that exist
//! go on working; and what only we have, as `warren_proxy_*`.
//!
//! A value that HAProxy's statistics leave empty is `NaN`, as there.

use std::fmt::Write as _;
use std::time::Instant;

use super::{Field, Info, Kind, Row, Statistics, Value};
use crate::runtime::Context;

/// What the text says it is: the old format, as HAProxy's. OpenMetrics would have an end, and other names of counters.
pub const EXPOSITION: &str = "text/plain; version=0.0.4";

/// One metric.
#[derive(Debug)]
pub struct Family {
    /// The whole name.
    pub name: String,
    /// `gauge` or `counter`.
    pub kind: &'static str,
    /// What it says, in a sentence.
    pub help: &'static str,
    /// Labels of what it is about.
    about: &'static [&'static str],
    source: Source,
}

/// Where the samples come from.
#[derive(Clone, Copy, Debug)]
enum Source {
    /// A key of `show info`.
    Info(&'static str),
    /// The version.
    Build,
    /// A column of the rows of one kind.
    Rows(Kind, Shape),
    /// Size or use of stick tables.
    Tables { used: bool },
    /// The certificates that clients are shown.
    Certificates,
    /// Something of ours.
    Own(fn(&Context) -> u64),
}

/// What is made of a row.
#[derive(Clone, Copy, Debug)]
enum Shape {
    /// The column as it is.
    Plain(Field),
    /// Milliseconds, told as seconds.
    Millis(Field),
    /// One sample for each state, 1 for the one that holds.
    State,
    /// One sample for each class of response.
    Responses,
    /// One sample for each result of a check.
    CheckResults,
    /// Of a backend: how many servers are in each state.
    ServerStates,
    /// Of a backend: how many servers have each result.
    ServerResults,
}

const PROCESS: &[(&str, &str)] = &[
    ("nbthread", "Nbthread"),
    ("nbproc", "Nbproc"),
    ("relative_process_id", "Process_num"),
    ("uptime_seconds", "Uptime_sec"),
    ("pool_failures_total", "PoolFailed"),
    ("max_fds", "Ulimit-n"),
    ("max_sockets", "Maxsock"),
    ("max_connections", "Maxconn"),
    ("hard_max_connections", "Hard_maxconn"),
    ("current_connections", "CurrConns"),
    ("connections_total", "CumConns"),
    ("requests_total", "CumReq"),
    ("max_ssl_connections", "MaxSslConns"),
    ("current_ssl_connections", "CurrSslConns"),
    ("ssl_connections_total", "CumSslConns"),
    ("max_pipes", "Maxpipes"),
    ("pipes_used_total", "PipesUsed"),
    ("pipes_free_total", "PipesFree"),
    ("current_connection_rate", "ConnRate"),
    ("limit_connection_rate", "ConnRateLimit"),
    ("max_connection_rate", "MaxConnRate"),
    ("current_session_rate", "SessRate"),
    ("limit_session_rate", "SessRateLimit"),
    ("max_session_rate", "MaxSessRate"),
    ("current_ssl_rate", "SslRate"),
    ("limit_ssl_rate", "SslRateLimit"),
    ("max_ssl_rate", "MaxSslRate"),
    ("current_frontend_ssl_key_rate", "SslFrontendKeyRate"),
    ("max_frontend_ssl_key_rate", "SslFrontendMaxKeyRate"),
    ("frontend_ssl_reuse", "SslFrontendSessionReuse_pct"),
    ("current_backend_ssl_key_rate", "SslBackendKeyRate"),
    ("max_backend_ssl_key_rate", "SslBackendMaxKeyRate"),
    ("ssl_cache_lookups_total", "SslCacheLookups"),
    ("ssl_cache_misses_total", "SslCacheMisses"),
    ("http_comp_bytes_in_total", "CompressBpsIn"),
    ("http_comp_bytes_out_total", "CompressBpsOut"),
    ("limit_http_comp", "CompressBpsRateLim"),
    ("current_tasks", "Tasks"),
    ("current_run_queue", "Run_queue"),
    ("idle_time_percent", "Idle_pct"),
    ("stopping", "Stopping"),
    ("jobs", "Jobs"),
    ("unstoppable_jobs", "Unstoppable Jobs"),
    ("listeners", "Listeners"),
    ("active_peers", "ActivePeers"),
    ("connected_peers", "ConnectedPeers"),
    ("dropped_logs_total", "DroppedLogs"),
    ("busy_polling_enabled", "BusyPolling"),
    ("failed_resolutions", "FailedResolutions"),
    ("bytes_out_total", "TotalBytesOut"),
    ("spliced_bytes_out_total", "TotalSplicdedBytesOut"),
    ("bytes_out_rate", "BytesOutRate"),
    ("recv_logs_total", "CumRecvLogs"),
    ("max_memory_bytes", "Memmax_bytes"),
    ("pool_allocated_bytes", "PoolAlloc_bytes"),
    ("pool_used_bytes", "PoolUsed_bytes"),
    ("start_time_seconds", "Start_time_sec"),
];

/// Name, what it is made of, and which rows have it: frontends, listeners, backends, servers.
#[rustfmt::skip]
const ROWS: &[(&str, Shape, &str)] = &[
    ("current_queue", Shape::Plain(Field::Qcur), "BS"),
    ("max_queue", Shape::Plain(Field::Qmax), "BS"),
    ("current_sessions", Shape::Plain(Field::Scur), "FLBS"),
    ("max_sessions", Shape::Plain(Field::Smax), "FLBS"),
    ("limit_sessions", Shape::Plain(Field::Slim), "FLBS"),
    ("sessions_total", Shape::Plain(Field::Stot), "FLBS"),
    ("bytes_in_total", Shape::Plain(Field::Bin), "FLBS"),
    ("bytes_out_total", Shape::Plain(Field::Bout), "FLBS"),
    ("requests_denied_total", Shape::Plain(Field::Dreq), "FLB"),
    ("responses_denied_total", Shape::Plain(Field::Dresp), "FLBS"),
    ("request_errors_total", Shape::Plain(Field::Ereq), "FL"),
    ("connection_errors_total", Shape::Plain(Field::Econ), "BS"),
    ("response_errors_total", Shape::Plain(Field::Eresp), "BS"),
    ("retry_warnings_total", Shape::Plain(Field::Wretr), "BS"),
    ("redispatch_warnings_total", Shape::Plain(Field::Wredis), "BS"),
    ("status", Shape::State, "FLBS"),
    ("limit_session_rate", Shape::Plain(Field::RateLim), "F"),
    ("weight", Shape::Plain(Field::Weight), "BS"),
    ("check_failures_total", Shape::Plain(Field::Chkfail), "S"),
    ("active_servers", Shape::Plain(Field::Act), "B"),
    ("backup_servers", Shape::Plain(Field::Bck), "B"),
    ("check_up_down_total", Shape::Plain(Field::Chkdown), "BS"),
    ("check_last_change_seconds", Shape::Plain(Field::Lastchg), "BS"),
    ("downtime_seconds_total", Shape::Plain(Field::Downtime), "BS"),
    ("queue_limit", Shape::Plain(Field::Qlimit), "S"),
    ("current_throttle", Shape::Plain(Field::Throttle), "S"),
    ("loadbalanced_total", Shape::Plain(Field::Lbtot), "BS"),
    ("max_session_rate", Shape::Plain(Field::RateMax), "FBS"),
    ("check_status", Shape::CheckResults, "S"),
    ("check_code", Shape::Plain(Field::CheckCode), "S"),
    ("check_duration_seconds", Shape::Millis(Field::CheckDuration), "S"),
    ("http_responses_total", Shape::Responses, "FBS"),
    ("http_requests_rate_max", Shape::Plain(Field::ReqRateMax), "F"),
    ("http_requests_total", Shape::Plain(Field::ReqTot), "FB"),
    ("client_aborts_total", Shape::Plain(Field::CliAbrt), "BS"),
    ("server_aborts_total", Shape::Plain(Field::SrvAbrt), "BS"),
    ("http_comp_bytes_in_total", Shape::Plain(Field::CompIn), "FB"),
    ("http_comp_bytes_out_total", Shape::Plain(Field::CompOut), "FB"),
    ("http_comp_bytes_bypassed_total", Shape::Plain(Field::CompByp), "FB"),
    ("http_comp_responses_total", Shape::Plain(Field::CompRsp), "FB"),
    ("connections_rate_max", Shape::Plain(Field::ConnRateMax), "F"),
    ("connections_total", Shape::Plain(Field::ConnTot), "F"),
    ("intercepted_requests_total", Shape::Plain(Field::Intercepted), "F"),
    ("denied_connections_total", Shape::Plain(Field::Dcon), "FL"),
    ("denied_sessions_total", Shape::Plain(Field::Dses), "FL"),
    ("last_session_seconds", Shape::Plain(Field::Lastsess), "BS"),
    ("queue_time_average_seconds", Shape::Millis(Field::Qtime), "BS"),
    ("connect_time_average_seconds", Shape::Millis(Field::Ctime), "BS"),
    ("response_time_average_seconds", Shape::Millis(Field::Rtime), "BS"),
    ("total_time_average_seconds", Shape::Millis(Field::Ttime), "BS"),
    ("failed_header_rewriting_total", Shape::Plain(Field::Wrew), "FLBS"),
    ("connection_attempts_total", Shape::Plain(Field::Connect), "BS"),
    ("connection_reuses_total", Shape::Plain(Field::Reuse), "BS"),
    ("idle_connections_current", Shape::Plain(Field::SrvIcur), "S"),
    ("idle_connections_limit", Shape::Plain(Field::SrcIlim), "S"),
    ("http_cache_lookups_total", Shape::Plain(Field::CacheLookups), "FB"),
    ("http_cache_hits_total", Shape::Plain(Field::CacheHits), "FB"),
    ("max_queue_time_seconds", Shape::Millis(Field::QtimeMax), "BS"),
    ("max_connect_time_seconds", Shape::Millis(Field::CtimeMax), "BS"),
    ("max_response_time_seconds", Shape::Millis(Field::RtimeMax), "BS"),
    ("max_total_time_seconds", Shape::Millis(Field::TtimeMax), "BS"),
    ("internal_errors_total", Shape::Plain(Field::Eint), "FLBS"),
    ("unsafe_idle_connections_current", Shape::Plain(Field::IdleConnCur), "S"),
    ("safe_idle_connections_current", Shape::Plain(Field::SafeConnCur), "S"),
    ("used_connections_current", Shape::Plain(Field::UsedConnCur), "S"),
    ("need_connections_current", Shape::Plain(Field::NeedConnEst), "S"),
    ("uweight", Shape::Plain(Field::Uweight), "BS"),
    ("agg_server_status", Shape::ServerStates, "B"),
    ("agg_server_check_status", Shape::ServerStates, "B"),
    ("agg_check_status", Shape::ServerResults, "B"),
];

/// Rows of one kind: their letter in [`ROWS`], their word in names, and their labels.
const KINDS: [(char, &str, Kind, &[&str]); 4] = [
    ('F', "frontend", Kind::Frontend, &["proxy"]),
    ('L', "listener", Kind::Socket, &["proxy", "listener"]),
    ('B', "backend", Kind::Backend, &["proxy"]),
    ('S', "server", Kind::Server, &["proxy", "server"]),
];

/// What a row may be.
const fn states(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Frontend | Kind::Backend => &["DOWN", "UP"],
        Kind::Socket => &["WAITING", "OPEN", "FULL"],
        Kind::Server => STATES,
    }
}

const STATES: &[&str] = &["DOWN", "UP", "MAINT", "DRAIN", "NOLB"];
const RESULTS: &[&str] = &[
    "HANA", "SOCKERR", "L4OK", "L4TOUT", "L4CON", "L6OK", "L6TOUT", "L6RSP", "L7TOUT", "L7RSP", "L7OK",
    "L7OKC", "L7STS", "PROCERR", "PROCTOUT", "PROCOK",
];

/// Name, type, what it says, and where it comes from.
type Own = (&'static str, &'static str, &'static str, fn(&Context) -> u64);

/// Counted by us and nobody else.
const OWN: &[Own] = &[
    ("workers", "gauge", "Worker threads.", |context| {
        context.live.workers as u64
    }),
    (
        "log_lines_dropped_total",
        "counter",
        "Log lines of the daemon itself for which there was no room.",
        |_| warren_kit::logging::dropped_lines(),
    ),
    (
        "usable_servers",
        "gauge",
        "Servers that may be chosen now, in all backends.",
        |context| {
            let snapshot = context.live.snapshot();
            snapshot
                .backends
                .iter()
                .map(|backend| backend.usable() as u64)
                .sum()
        },
    ),
    (
        "backends_without_server",
        "gauge",
        "Backends that have servers of which none may be chosen.",
        |context| {
            let snapshot = context.live.snapshot();
            let without = snapshot
                .backends
                .iter()
                .filter(|it| !it.servers().is_empty() && it.usable() == 0);
            without.count() as u64
        },
    ),
    (
        "spliced_bytes_total",
        "counter",
        "Octets that went through a pipe of the kernel.",
        |context| context.live.spliced(),
    ),
];

/// Every metric there is, in the order of the text.
#[must_use]
pub fn families() -> Vec<Family> {
    let mut families = Vec::new();
    for (name, key) in PROCESS {
        if *name == "max_memory_bytes" {
            families.push(Family {
                name: "haproxy_process_build_info".to_owned(),
                kind: "gauge",
                help: "What was built.",
                about: &["version"],
                source: Source::Build,
            });
        }
        families.push(Family {
            name: format!("haproxy_process_{name}"),
            kind: kind_of(name),
            help: Info::help(key),
            about: &[],
            source: Source::Info(key),
        });
    }
    for (letter, word, kind, labels) in KINDS {
        let rows = ROWS.iter().filter(|(.., kinds)| kinds.contains(letter));
        families.extend(rows.map(|(name, shape, _)| Family {
            name: format!("haproxy_{word}_{name}"),
            kind: kind_of(name),
            help: shape.help(),
            about: labels,
            source: Source::Rows(kind, *shape),
        }));
    }
    for (name, help, used) in [
        ("size", "Entries that a stick table may have.", false),
        ("used", "Entries that a stick table has.", true),
    ] {
        families.push(Family {
            name: format!("haproxy_sticktable_{name}"),
            kind: "gauge",
            help,
            about: &["name", "type"],
            source: Source::Tables { used },
        });
    }
    families.push(Family {
        name: "warren_proxy_certificate_expiry_seconds".to_owned(),
        kind: "gauge",
        help: "When a certificate that clients are shown ends, in seconds since 1970.",
        about: &["proxy", "file"],
        source: Source::Certificates,
    });
    families.extend(OWN.iter().map(|(name, kind, help, value)| Family {
        name: format!("warren_proxy_{name}"),
        kind,
        help,
        about: &[],
        source: Source::Own(*value),
    }));
    families
}

/// HAProxy's types follow from its names, but for one.
fn kind_of(name: &str) -> &'static str {
    if name.ends_with("_total") || name == "failed_resolutions" {
        "counter"
    } else {
        "gauge"
    }
}

impl Shape {
    fn help(self) -> &'static str {
        match self {
            Self::Plain(field) | Self::Millis(field) => field.help(),
            Self::State => "1 for the state it is in, 0 for the others.",
            Self::Responses => "Responses by class of status.",
            Self::CheckResults => "1 for the result of the last check, 0 for the others.",
            Self::ServerStates => "Servers in each state.",
            Self::ServerResults => "Servers whose last check had each result.",
        }
    }
}

/// All metrics at `now`.
#[must_use]
pub fn metrics(context: &Context, now: Instant) -> String {
    let statistics = Statistics::take(&context.live, now);
    let info = Info::take(&context.live, &context.process, now);
    let mut text = String::with_capacity(256 * 1024);
    for family in families() {
        let mut samples = String::new();
        family.write(&mut samples, context, &statistics, &info);
        if !samples.is_empty() {
            let Family { name, kind, help, .. } = &family;
            let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{samples}");
        }
    }
    text
}

impl Family {
    /// All its labels.
    #[must_use]
    pub fn labels(&self) -> Vec<&'static str> {
        let further = match self.source {
            Source::Rows(_, Shape::Responses) => Some("code"),
            Source::Rows(
                _,
                Shape::State | Shape::CheckResults | Shape::ServerStates | Shape::ServerResults,
            ) => Some("state"),
            _ => None,
        };
        self.about.iter().copied().chain(further).collect()
    }

    fn write(&self, text: &mut String, context: &Context, statistics: &Statistics, info: &Info) {
        match self.source {
            Source::Info(key) => {
                let _ = writeln!(text, "{} {}", self.name, info.value(key));
            }
            Source::Build => {
                let _ = writeln!(
                    text,
                    "{}{{version=\"{}\"}} 1",
                    self.name,
                    label(&info.value("Version").to_string())
                );
            }
            Source::Own(value) => {
                let _ = writeln!(text, "{} {}", self.name, value(context));
            }
            Source::Certificates => {
                for frontend in &context.live.snapshot().frontends {
                    for certificate in frontend.certificates(None) {
                        let end = certificate.not_after.duration_since(std::time::UNIX_EPOCH);
                        let _ = writeln!(
                            text,
                            "{}{{proxy=\"{}\",file=\"{}\"}} {}",
                            self.name,
                            label(&frontend.name),
                            label(&certificate.path.display().to_string()),
                            end.unwrap_or_default().as_secs(),
                        );
                    }
                }
            }
            Source::Tables { used } => {
                let snapshot = context.live.snapshot();
                for backend in &snapshot.backends {
                    if let Some(table) = &*backend.stick.lock() {
                        let number = if used { table.len() } else { table.size() };
                        let _ = writeln!(
                            text,
                            "{}{{name=\"{}\",type=\"ip\"}} {number}",
                            self.name,
                            label(&backend.name)
                        );
                    }
                }
                for table in &snapshot.tables {
                    let entries = table.entries.lock();
                    let number = if used { entries.len() } else { entries.size() };
                    let _ = writeln!(
                        text,
                        "{}{{name=\"{}\",type=\"{}\"}} {number}",
                        self.name,
                        label(&table.plan.name),
                        table.plan.key.name(),
                    );
                }
            }
            Source::Rows(kind, shape) => {
                for row in statistics.rows.iter().filter(|row| row.kind == kind) {
                    self.write_row(text, statistics, row, shape);
                }
            }
        }
    }

    fn write_row(&self, text: &mut String, statistics: &Statistics, row: &Row, shape: Shape) {
        let names = [row.text(Field::Pxname), row.text(Field::Svname)].map(label);
        let labels: Vec<_> = self
            .about
            .iter()
            .zip(&names)
            .map(|(name, value)| format!("{name}=\"{value}\""))
            .collect();
        let labels = labels.join(",");
        let mut sample = |more: Option<(&str, &str)>, value: &dyn std::fmt::Display| {
            let more = more
                .map(|(name, value)| format!(",{name}=\"{value}\""))
                .unwrap_or_default();
            let _ = writeln!(text, "{}{{{labels}{more}}} {value}", self.name);
        };
        let unchecked = row.text(Field::CheckStatus).is_empty();
        match shape {
            Shape::Plain(field) if http_only(field) && row.text(Field::Mode) != "http" => {}
            Shape::Plain(Field::CheckCode) | Shape::Millis(Field::CheckDuration) if unchecked => {}
            Shape::Plain(field) => match row.value(field) {
                Value::Empty => sample(None, &"NaN"),
                value => sample(None, value),
            },
            Shape::Millis(field) => match row.value(field) {
                Value::Empty => sample(None, &"NaN"),
                _ => sample(None, &(row.number(field) as f64 / 1000.0)),
            },
            Shape::State => {
                let now = state(row);
                for state in states(row.kind) {
                    sample(Some(("state", state)), &u8::from(*state == now));
                }
            }
            Shape::Responses => {
                for (code, field) in RESPONSES {
                    if *row.value(*field) != Value::Empty {
                        sample(Some(("code", code)), row.value(*field));
                    }
                }
            }
            Shape::CheckResults => {
                let now = row.text(Field::CheckStatus).trim_start_matches("* ");
                if now.is_empty() {
                    return;
                }
                for result in RESULTS {
                    sample(Some(("state", result)), &u8::from(*result == now));
                }
            }
            Shape::ServerStates => {
                for wanted in STATES {
                    sample(
                        Some(("state", wanted)),
                        &servers(statistics, row, |server| state(server) == *wanted),
                    );
                }
            }
            Shape::ServerResults => {
                for wanted in RESULTS {
                    let count = servers(statistics, row, |server| {
                        server.text(Field::CheckStatus).trim_start_matches("* ") == *wanted
                    });
                    sample(Some(("state", wanted)), &count);
                }
            }
        }
    }
}

const RESPONSES: &[(&str, Field)] = &[
    ("1xx", Field::Hrsp1xx),
    ("2xx", Field::Hrsp2xx),
    ("3xx", Field::Hrsp3xx),
    ("4xx", Field::Hrsp4xx),
    ("5xx", Field::Hrsp5xx),
    ("other", Field::HrspOther),
];

/// These are left out where a proxy speaks no HTTP.
const fn http_only(field: Field) -> bool {
    matches!(
        field,
        Field::ReqTot
            | Field::ReqRateMax
            | Field::Intercepted
            | Field::CompIn
            | Field::CompOut
            | Field::CompByp
            | Field::CompRsp
            | Field::CacheLookups
            | Field::CacheHits
    )
}

/// In the words of the exporter.
fn state(row: &Row) -> &'static str {
    let status = row.text(Field::Status);
    match row.kind {
        Kind::Frontend if status == "STOP" => "DOWN",
        Kind::Frontend => "UP",
        Kind::Backend if status == "UP" => "UP",
        Kind::Backend => "DOWN",
        Kind::Socket => ["WAITING", "FULL"]
            .into_iter()
            .find(|word| *word == status)
            .unwrap_or("OPEN"),
        Kind::Server => {
            let word = ["MAINT", "DRAIN", "NOLB", "DOWN"]
                .into_iter()
                .find(|word| status.starts_with(word));
            word.unwrap_or("UP")
        }
    }
}

fn servers(statistics: &Statistics, backend: &Row, which: impl Fn(&Row) -> bool) -> usize {
    let servers = statistics
        .rows
        .iter()
        .filter(|row| row.kind == Kind::Server && row.proxy == backend.proxy);
    servers.filter(|row| which(row)).count()
}

fn label(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}
