//! Servers to be looked after, and somebody who writes down what follows (tests).

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::task::JoinHandle;

use super::{Outlet, Servers, run};
use crate::live::{Backend, Live, Server, Waiter};
use crate::plan::{self, Check, CheckKind, Level, Plan, testing};
use crate::worker::End;

/// What followed.
#[derive(Default)]
pub(crate) struct Record {
    pub(crate) lines: Mutex<Vec<(Level, String)>>,
    pub(crate) ends: Mutex<Vec<End>>,
    pub(crate) granted: Mutex<Vec<(Waiter, Arc<str>)>>,
}

impl Outlet for Record {
    fn end(&self, end: End) {
        self.ends.lock().push(end);
    }

    fn serve_queue(&self, backend: &Arc<Backend>) {
        for server in backend.servers().iter() {
            while let Some(waiter) = backend.grant(server) {
                self.granted.lock().push((waiter, Arc::clone(&server.name)));
            }
        }
    }

    fn log(&self, _: &plan::Backend, level: Level, text: &str) {
        self.lines.lock().push((level, text.to_owned()));
    }

    fn reloaded(&self, _: &Plan) {}
}

/// A proxy without workers.
pub(crate) struct World {
    pub(crate) servers: Servers,
    pub(crate) record: Arc<Record>,
    checks: Option<JoinHandle<()>>,
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some(checks) = &self.checks {
            checks.abort();
        }
    }
}

impl World {
    /// Nobody checks.
    pub(crate) fn idle(plan: Plan) -> Self {
        let record = Arc::<Record>::default();
        let live = Arc::new(Live::new(Arc::new(plan)));
        Self {
            servers: Servers::new(live, Arc::<Record>::clone(&record)),
            record,
            checks: None,
        }
    }

    /// Checks run.
    pub(crate) fn checking(plan: Plan) -> Self {
        let mut world = Self::idle(plan);
        let servers = world.servers.clone();
        world.checks = Some(tokio::spawn(async move {
            run(servers).await;
        }));
        world
    }

    pub(crate) fn backend(&self) -> Arc<Backend> {
        Arc::clone(self.servers.live.snapshot().backends.first().unwrap())
    }

    /// Server number `id`.
    pub(crate) fn server(&self, id: u32) -> Arc<Server> {
        self.backend().server_named(&format!("server{id}")).unwrap()
    }

    /// The lines so far, without their levels; they are forgotten.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.record.lines.lock().drain(..).map(|(_, text)| text).collect()
    }

    pub(crate) fn reload(&self, plan: Plan) {
        self.servers
            .live
            .replace(Arc::new(plan), &crate::tls::Keyring::default());
        self.servers.reloaded();
    }
}

/// Servers at these addresses, checked in this way every 20 ms.
pub(crate) fn checked(kind: &CheckKind, addresses: &[SocketAddr]) -> Plan {
    let mut plan = testing::plan(addresses);
    change(&mut plan, |server| server.check = Some(check(kind.clone())));
    plan
}

/// Changes all servers of a plan.
pub(crate) fn change(plan: &mut Plan, change: impl Fn(&mut plan::Server)) {
    for backend in &mut plan.backends {
        for server in &mut Arc::make_mut(backend).servers {
            change(Arc::make_mut(server));
        }
    }
}

/// Every 20 ms.
pub(crate) fn check(kind: CheckKind) -> Check {
    Check {
        kind,
        timing: warren_balance::health::Check {
            inter: Duration::from_millis(20),
            ..warren_balance::health::Check::default()
        },
        connect_timeout: Duration::from_millis(300),
        timeout: Duration::from_millis(300),
        port: None,
        address: None,
        tls: None,
        send_proxy: false,
    }
}

/// Waits until it is so.
pub(crate) async fn eventually(what: &str, mut so: impl FnMut() -> bool) {
    for _ in 0..1000 {
        if so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("not in five seconds: {what}");
}
