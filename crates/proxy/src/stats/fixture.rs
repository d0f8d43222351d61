//! A small configuration, as one would write it, for tests of whatever shows numbers.

use std::sync::Arc;
use std::time::Duration;

use warren_balance::Weight;

use crate::live::{CheckResult, Live, Server};
use crate::plan::testing::{self, number};
use crate::plan::{
    self, Backend, BackendName, Check, CheckKind, Frontend, Global, Mode, Plan, ProxyId, StatsPage,
};

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
        tables: Vec::new(),
        global: global(),
        frontends: vec![
            Arc::new(Frontend {
                default_backend: Some(BackendName::new("rabbit")),
                maxconn: number(500),
                ..frontend("rabbit", 2, Mode::Tcp)
            }),
            Arc::new(Frontend {
                default_backend: Some(BackendName::new("webs")),
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
        maxconn: number(1000),
        node: Some("node1".to_owned()),
        description: Some("desc one".to_owned()),
        ..testing::global()
    }
}

fn frontend(name: &str, id: u32, mode: Mode) -> Frontend {
    Frontend {
        name: name.to_owned(),
        id: ProxyId(id),
        mode,
        maxconn: number(1000),
        default_backend: None,
        log: plan::Logging::default(),
        ..testing::frontend()
    }
}

fn backend(name: &str, id: u32, mode: Mode) -> Backend {
    Backend {
        name: name.to_owned(),
        id: ProxyId(id),
        mode,
        fullconn: number(50),
        stick: Some(plan::Stick {
            size: 100,
            expire: Some(Duration::from_secs(600)),
        }),
        ..testing::backend(Vec::new())
    }
}

fn server(name: &str, id: u32, port: u16, change: impl FnOnce(&mut plan::Server)) -> Arc<plan::Server> {
    let mut server = plan::Server {
        name: name.to_owned(),
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
        may_be_unresolved: false,
        ..testing::server(id, ([127, 0, 0, 1], port).into())
    };
    change(&mut server);
    Arc::new(server)
}
