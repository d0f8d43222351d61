//! Reading the configuration again: all of it is applied, or nothing. Connections that are open go on as they are.

use super::certificates::Watch;
use super::serve::{Daemon, Listening};
use super::{DaemonError, log_at, read};
use crate::plan::Plan;
use crate::tls;

impl Daemon {
    /// Reads the configuration again and puts it in place. Says what is different.
    pub(super) fn reload(&mut self) {
        let _ = self.manager.reloading();
        match self.try_reload() {
            Ok(differences) => {
                for difference in &differences {
                    tracing::info!(difference, "configuration changed");
                }
                tracing::info!(differences = differences.len(), "configuration was read again");
            }
            Err(error) => {
                tracing::error!(%error, "configuration was not read again, the earlier one stays in force");
            }
        }
        let _ = self.manager.ready(&self.in_a_line());
    }

    fn try_reload(&mut self) -> Result<Vec<String>, DaemonError> {
        let plan = read(&self.options)?;
        let watch = Watch::new(&plan);
        // Certificates are read again also where the plan is the same.
        let tls = plan
            .tls
            .as_ref()
            .map(|tls| tls::load(tls, self.tls.as_deref()))
            .transpose()?;
        let mut added = Vec::new();
        for listener in &plan.listeners {
            if !self.listening.iter().any(|known| known.listener == *listener) {
                added.push(Listening::open(listener, &plan, tls.as_ref())?);
            }
        }
        // From here on nothing fails.
        if !self.options.log_is_chosen {
            log_at(plan.log_level);
        }
        let differences = differences(&self.plan, &plan);
        self.node.change_settings(plan.settings.clone());
        self.keep(&plan.listeners);
        for known in &self.listening {
            known.change(&plan, tls.as_ref());
        }
        for listening in added {
            self.add(listening);
        }
        *self.about.certificates.write() = plan.tls.as_ref().map(tls::shown).unwrap_or_default();
        self.tls = tls;
        self.watch = watch;
        self.plan = plan;
        Ok(differences)
    }
}

/// What is different, a line for each; what a running node cannot change says so.
fn differences(before: &Plan, after: &Plan) -> Vec<String> {
    const LATER: &str = ", from the next start on";
    let mut lines = Vec::new();
    let mut compare = |what: &str, before: String, after: String, note: &str| {
        if before != after {
            lines.push(format!("{what}: {before} -> {after}{note}"));
        }
    };
    let (old, new) = (&before.settings, &after.settings);
    compare(
        "frame_max",
        old.frame_max.octets().to_string(),
        new.frame_max.octets().to_string(),
        "",
    );
    compare(
        "channel_max",
        old.channel_max.to_string(),
        new.channel_max.to_string(),
        "",
    );
    compare(
        "heartbeat",
        format!("{}s", old.heartbeat),
        format!("{}s", new.heartbeat),
        "",
    );
    let patience = [old, new].map(|settings| format!("{:?}", settings.handshake_timeout));
    let [was, is] = patience;
    compare("handshake_timeout", was, is, "");
    compare(
        "max_message_size",
        old.body_max.to_string(),
        new.body_max.to_string(),
        "",
    );
    let limits = [old, new].map(|settings| {
        (
            settings.memory_limit,
            settings.disk_free_limit,
            settings.consumer_timeout,
        )
    });
    let [(memory, disk, timeout), (memory_now, disk_now, timeout_now)] = limits;
    compare(
        "connection_max",
        format!("{:?}", old.connection_max),
        format!("{:?}", new.connection_max),
        "",
    );
    compare(
        "memory_limit",
        format!("{memory:?}"),
        format!("{memory_now:?}"),
        "",
    );
    compare(
        "disk_free_limit",
        format!("{disk:?}"),
        format!("{disk_now:?}"),
        "",
    );
    compare(
        "consumer_timeout",
        format!("{timeout:?}"),
        format!("{timeout_now:?}"),
        "",
    );
    compare(
        "loopback_users",
        old.loopback_users.join(" "),
        new.loopback_users.join(" "),
        "",
    );
    compare(
        "password_hashing",
        format!("{:?}", old.hashing),
        format!("{:?}", new.hashing),
        "",
    );
    let listeners = |plan: &Plan, tls| {
        let some = plan.listeners.iter().filter(|listener| listener.tls == tls);
        some.map(|listener| listener.address.to_string())
            .collect::<Vec<_>>()
            .join(" ")
    };
    compare("listen", listeners(before, false), listeners(after, false), "");
    compare("tls_listen", listeners(before, true), listeners(after, true), "");
    compare("tls", format!("{:?}", before.tls), format!("{:?}", after.tls), "");
    compare(
        "proxies",
        format!("{:?}", before.proxies),
        format!("{:?}", after.proxies),
        "",
    );
    compare(
        "stop_timeout",
        format!("{:?}", before.stop_within),
        format!("{:?}", after.stop_within),
        "",
    );
    let levels = [before, after].map(|plan| format!("{:?}", plan.log_level).to_lowercase());
    let [was, is] = levels;
    compare("log_level", was, is, "");
    let metrics = [before, after].map(|plan| {
        let address = plan.metrics.map(|address| address.to_string());
        address.unwrap_or_else(|| "off".to_owned())
    });
    let [was, is] = metrics;
    compare("metrics", was, is, LATER);
    let definitions = [before, after].map(|plan| format!("{:?}", plan.definitions));
    let [was, is] = definitions;
    compare("definitions", was, is, LATER);
    compare("node_name", before.node.clone(), after.node.clone(), LATER);
    compare(
        "data",
        before.data.display().to_string(),
        after.data.display().to_string(),
        LATER,
    );
    lines
}
