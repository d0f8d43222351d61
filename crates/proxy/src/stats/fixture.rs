//! A small configuration, as one would write it, for tests of whatever shows numbers.

use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::Arc;
use std::time::Duration;

use warren_balance::{Algorithm, ServerId, Weight};

use crate::live::{CheckResult, Live, Server};
use crate::plan::{
    self, Backend, BackendIndex, Balance, Bind, BindAddress, Check, CheckKind, Frontend, Global, HostAddress,
    Mode, Origin, Plan, ProxyId, StatsPage,
};

pub(crate) fn number(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).unwrap()
}

/// `listen rabbit` with r1 (weight 10, maxconn 20), r2, r3 (backup), r4 (not checked); `frontend web` with the page;
/// `backend webs` with w1 and w2 (disabled).
pub(crate) fn plan() -> Plan {
    let rabbit = Backend {
        servers: vec![
            server("r1", 1, 18001, |server| {
                server.weight = Weight::try_from(10).unwrap();
                server.maxconn = Some(number(20));
            }),
            server("r2", 2, 18002, |_| {}),
            server("r3", 3, 18003, |server| server.backup = true),
            server("r4", 4, 18001, |server| server.check = None),
        ],
        ..backend("rabbit", 2, Mode::Tcp)
    };
    let webs = Backend {
        servers: vec![
            server("w1", 1, 18004, |_| {}),
            server("w2", 2, 18005, |server| server.disabled = true),
        ],
        fullconn: number(100),
        ..backend("webs", 4, Mode::Http)
    };
    Plan {
        global: global(),
        frontends: vec![
            Arc::new(Frontend {
                default_backend: Some(BackendIndex(0)),
                maxconn: number(500),
                ..frontend("rabbit", 2, Mode::Tcp)
            }),
            Arc::new(Frontend {
                default_backend: Some(BackendIndex(1)),
                stats: Some(Arc::new(page())),
                rate_limit: Some(number(100)),
                ..frontend("web", 3, Mode::Http)
            }),
        ],
        backends: vec![Arc::new(rabbit), Arc::new(webs)],
    }
}

pub(crate) fn live() -> Arc<Live> {
    Arc::new(Live::new(Arc::new(plan())))
}

pub(crate) fn server_of(live: &Live, backend: &str, name: &str) -> Arc<Server> {
    let snapshot = live.snapshot();
    snapshot
        .backend_named(backend)
        .unwrap()
        .server_named(name)
        .unwrap()
}

/// What a check left behind.
pub(crate) fn checked(live: &Live, backend: &str, name: &str, status: &'static str, detail: &str) {
    let server = server_of(live, backend, name);
    let now = live.time(std::time::Instant::now());
    let passed = status.contains("OK");
    let mut operational = server.operational.lock();
    let rounds = if passed { 2 } else { 3 };
    for _ in 0..rounds {
        operational
            .health
            .handle(now, &warren_balance::health::Input::Check(passed));
    }
    operational.last_check = Some(CheckResult {
        status,
        code: None,
        duration: Duration::from_millis(1),
        detail: detail.to_owned(),
        passed,
        at: now,
    });
    if !passed {
        operational.times_down += 1;
        operational.checks_failed += 1;
    }
    drop(operational);
    live.snapshot().backend_named(backend).unwrap().refresh(now);
}

pub(crate) fn page() -> StatsPage {
    StatsPage {
        uri: "/stats".to_owned(),
        realm: "HAProxy Statistics".to_owned(),
        users: vec![("admin".to_owned(), "secret".to_owned())],
        admin: true,
        refresh: Some(Duration::from_secs(5)),
        hide_version: false,
        show_node: None,
        show_description: None,
        show_legends: true,
        scope: Vec::new(),
    }
}

pub(crate) fn global() -> Global {
    Global {
        origin: Origin::Haproxy,
        maxconn: number(1000),
        maxconnrate: None,
        threads: NonZeroUsize::MIN,
        sockets: Vec::new(),
        socket_timeout: Duration::from_secs(10),
        daemon: false,
        pid_file: None,
        server_state_file: None,
        user: None,
        group: None,
        node: Some("node1".to_owned()),
        description: Some("desc one".to_owned()),
        logs: Vec::new(),
        log_tag: "haproxy".to_owned(),
        log_hostname: None,
        hard_stop_after: None,
        spread_checks: 0,
        metrics: None,
        buffer: NonZeroUsize::new(16384).unwrap(),
        drain_rate: number(100),
    }
}

fn frontend(name: &str, id: u32, mode: Mode) -> Frontend {
    Frontend {
        name: name.to_owned(),
        id: ProxyId(id),
        mode,
        disabled: false,
        binds: vec![Bind {
            address: BindAddress::Tcp(([127, 0, 0, 1], 0).into()),
            name: None,
            tls: None,
            accept_proxy: false,
            proxy_from: Vec::new(),
            backlog: None,
            maxconn: None,
            v6only: false,
            interface: None,
            unix: (None, None, None),
        }],
        maxconn: number(1000),
        rate_limit: None,
        source_limits: None,
        switches: Vec::new(),
        default_backend: None,
        tcp_rules: Vec::new(),
        request_rules: Vec::new(),
        response_rules: Vec::new(),
        forwardfor: None,
        stats: None,
        monitor_uri: None,
        http_close: false,
        error_pages: Vec::new(),
        timeouts: plan::FrontendTimeouts::default(),
        keepalive: plan::Keepalive::default(),
        log: plan::Logging::default(),
        inspect_delay: None,
        description: None,
        socket_stats: false,
    }
}

fn backend(name: &str, id: u32, mode: Mode) -> Backend {
    Backend {
        name: name.to_owned(),
        id: ProxyId(id),
        mode,
        disabled: false,
        balance: Balance {
            algorithm: Algorithm::RoundRobin,
            on: plan::HashOn::default(),
            name: "roundrobin",
        },
        servers: Vec::new(),
        all_backups: false,
        retries: 3,
        redispatch: None,
        retry_on: plan::RetryOn::default(),
        fullconn: number(50),
        timeouts: plan::BackendTimeouts::default(),
        request_rules: Vec::new(),
        response_rules: Vec::new(),
        forwardfor: None,
        server_close: false,
        http_close: false,
        error_pages: Vec::new(),
        stick: Some(plan::Stick {
            size: 100,
            expire: Some(Duration::from_secs(600)),
        }),
        rebalance: None,
        keepalive: plan::Keepalive::default(),
        log: plan::Logging::default(),
        log_checks: false,
        server_state: false,
        description: None,
    }
}

fn server(name: &str, id: u32, port: u16, change: impl FnOnce(&mut plan::Server)) -> Arc<plan::Server> {
    let mut server = plan::Server {
        name: name.to_owned(),
        id: ServerId(id),
        address: HostAddress::Ip(([127, 0, 0, 1], port).into()),
        backup: false,
        weight: Weight::DEFAULT,
        maxconn: None,
        minconn: None,
        maxqueue: None,
        disabled: false,
        check: Some(Check {
            kind: CheckKind::Tcp,
            timing: warren_balance::health::Check::default(),
            connect_timeout: Duration::from_secs(2),
            timeout: Duration::from_secs(2),
            port: None,
            address: None,
            tls: None,
            send_proxy: false,
        }),
        agent: None,
        slowstart: Duration::ZERO,
        track: None,
        shutdown_sessions: false,
        shutdown_backup_sessions: false,
        observe: None,
        on_error: plan::ErrorAction::default(),
        error_limit: number(10),
        tls: None,
        send_proxy: None,
        source: None,
        may_be_unresolved: false,
    };
    change(&mut server);
    Arc::new(server)
}
