//! Plans for tests: everything has a value, what a test is about it sets itself.

use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::Arc;
use std::time::Duration;

use warren_balance::{Algorithm, ServerId, Weight};

use super::*;

/// `number`, which is not zero.
pub(crate) fn number(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).unwrap()
}

/// One worker, one frontend `front` with one address, and its backend `back` with these servers.
pub(crate) fn plan(servers: &[SocketAddr]) -> Plan {
    let servers = servers
        .iter()
        .zip(1..)
        .map(|(address, id)| Arc::new(server(id, *address)));
    Plan {
        tables: Vec::new(),
        global: global(),
        frontends: vec![Arc::new(frontend())],
        backends: vec![Arc::new(backend(servers.collect()))],
    }
}

/// One worker, nothing limited.
pub(crate) fn global() -> Global {
    Global {
        origin: Origin::Haproxy,
        maxconn: number(10_000),
        maxconnrate: None,
        maxsslrate: None,
        threads: NonZeroUsize::MIN,
        sockets: Vec::new(),
        socket_timeout: Duration::from_secs(10),
        daemon: false,
        pid_file: None,
        server_state_file: None,
        user: None,
        group: None,
        node: None,
        description: None,
        logs: Vec::new(),
        log_tag: "haproxy".into(),
        log_hostname: None,
        hard_stop_after: None,
        spread_checks: 0,
        metrics: None,
        buffer: NonZeroUsize::new(16_384).unwrap(),
        drain_rate: number(100),
    }
}

/// `front`, of mode tcp, on a port of the kernel's choice, to the first backend.
pub(crate) fn frontend() -> Frontend {
    Frontend {
        name: "front".into(),
        id: ProxyId(1),
        mode: Mode::Tcp,
        disabled: false,
        binds: vec![bind()],
        maxconn: number(10_000),
        rate_limit: None,
        source_limits: None,
        switches: Vec::new(),
        default_backend: Some(BackendName::new("back")),
        tcp_rules: Vec::new(),
        request_rules: Vec::new(),
        response_rules: Vec::new(),
        after_rules: Vec::new(),
        forwardfor: None,
        originalto: None,
        stats: None,
        stats_admin: Vec::new(),
        request_captures: Vec::new(),
        response_captures: Vec::new(),
        cookie_capture: None,
        unique_id: None,
        unique_id_header: None,
        tarpit: None,
        monitor_uri: None,
        monitor_fail: Vec::new(),
        http_close: false,
        error_pages: Vec::new(),
        timeouts: FrontendTimeouts::default(),
        keepalive: Keepalive::default(),
        log: Logging {
            targets: vec![Arc::new(LogTarget {
                transport: Transport::Stdout,
                facility: Facility(16),
                level: Level::Debug,
                level_at_most: Level::Emerg,
                length: 1024,
            })],
            format: LogFormat::Tcp,
            ..Logging::default()
        },
        inspect_delay: None,
        description: None,
        socket_stats: false,
    }
}

/// 127.0.0.1, on a port of the kernel's choice.
pub(crate) fn bind() -> Bind {
    Bind {
        address: BindAddress::Tcp(([127, 0, 0, 1], 0).into()),
        name: None,
        tls: None,
        accept_proxy: false,
        proxy_from: Vec::new(),
        backlog: None,
        maxconn: None,
        v6only: false,
        interface: None,
        user_timeout: None,
        unix: (None, None, None),
    }
}

/// `back`, of mode tcp, round robin.
pub(crate) fn backend(servers: Vec<Arc<Server>>) -> Backend {
    Backend {
        name: "back".into(),
        id: ProxyId(2),
        mode: Mode::Tcp,
        disabled: false,
        balance: Balance {
            algorithm: Algorithm::RoundRobin,
            on: HashOn::Source,
            name: "roundrobin",
        },
        servers,
        all_backups: false,
        retries: 3,
        redispatch: None,
        retry_on: RetryOn::default(),
        fullconn: number(1000),
        timeouts: BackendTimeouts::default(),
        request_rules: Vec::new(),
        response_rules: Vec::new(),
        after_rules: Vec::new(),
        server_rules: Vec::new(),
        persist_rules: Vec::new(),
        use_down: false,
        forwardfor: None,
        originalto: None,
        server_close: false,
        http_close: false,
        cookie: None,
        error_pages: Vec::new(),
        stick: None,
        rebalance: None,
        keepalive: Keepalive::default(),
        log: Logging::default(),
        log_checks: false,
        server_state: false,
        description: None,
    }
}

/// Number `id`, named after it, not checked.
pub(crate) fn server(id: u32, address: SocketAddr) -> Server {
    Server {
        name: format!("server{id}"),
        id: ServerId(id),
        address: HostAddress::Ip(address),
        backup: false,
        cookie: None,
        weight: Weight::DEFAULT,
        maxconn: None,
        minconn: None,
        maxqueue: None,
        disabled: false,
        check: None,
        agent: None,
        slowstart: Duration::ZERO,
        track: None,
        shutdown_sessions: false,
        shutdown_backup_sessions: false,
        observe: None,
        on_error: ErrorAction::default(),
        error_limit: number(10),
        tls: None,
        send_proxy: None,
        user_timeout: None,
        source: None,
        may_be_unresolved: true,
    }
}
