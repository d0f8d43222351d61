//! Reading the configuration again: all of it is applied, or nothing. Connections that are open go on as they are.

use std::fmt::{Debug, Display};
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use warren_cluster::Durability;
use warren_kit::duration::HumanDuration;

use super::certificates::Watch;
use super::serve::{Daemon, Listening};
use super::{DaemonError, definitions, log_at, read};
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
        let definitions = definitions::read(&self.node, plan.definitions.as_deref())?;
        let leaving = self.listening.iter();
        let leaving = leaving.filter(|known| !plan.listeners.contains(&known.listener));
        let leaving: Vec<&OwnedFd> = leaving.filter_map(Listening::handle).collect();
        let mut added = Vec::new();
        for listener in &plan.listeners {
            if !self.listening.iter().any(|known| known.listener == *listener) {
                added.push(Listening::open(listener, &plan, tls.as_ref(), &leaving)?);
            }
        }
        // From here on nothing fails.
        if !self.options.log_is_chosen {
            log_at(plan.log_level);
        }
        let differences = differences(&self.plan, &plan);
        self.node.change_settings(plan.settings.clone());
        definitions.into_iter().for_each(|file| file.add(&self.node));
        self.node.name_cluster(plan.cluster_name.as_deref());
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

/// What is different, a line for each.
fn differences(before: &Plan, after: &Plan) -> Vec<String> {
    let both = said(before).into_iter().zip(said(after));
    let different = both.filter(|((_, was, _), (_, is, _))| was != is);
    different
        .map(|((key, was, note), (_, is, _))| format!("{key}: {was} -> {is}{note}"))
        .collect()
}

/// Each key of a plan, what it is set to in the words of a warren.toml, and a note if a running node does not take it up. Secrets
/// are left out.
fn said(plan: &Plan) -> Vec<(&'static str, String, &'static str)> {
    const AT_ONCE: &str = "";
    const LATER: &str = ", from the next start on";
    const NEW: &str = ", for a node that is new";
    let settings = &plan.settings;
    let time = |time| HumanDuration::from(time).to_string();
    let listeners = |tls| {
        let some = plan.listeners.iter().filter(|listener| listener.tls == tls);
        list(some.map(|listener| listener.address))
    };
    let path = |path: &Option<PathBuf>| {
        path.as_ref()
            .map_or(String::new(), |path| path.display().to_string())
    };
    let connections = settings.connection_max.map(|most| most.to_string());
    let mechanisms = settings.mechanisms.as_ref();
    let mechanisms = mechanisms.map(|them| list(them.iter().map(|it| it.name())));
    let usual = |said: Option<String>| said.unwrap_or_else(|| "as usual".to_owned());
    vec![
        ("listen", listeners(false), AT_ONCE),
        ("tls_listen", listeners(true), AT_ONCE),
        (
            "tls",
            plan.tls.as_ref().map_or(String::new(), ToString::to_string),
            AT_ONCE,
        ),
        ("proxies", list(&plan.proxies), AT_ONCE),
        ("node_name", plan.node.clone(), LATER),
        ("cluster_name", usual(plan.cluster_name.clone()), AT_ONCE),
        ("data", plan.data.display().to_string(), LATER),
        ("durability", durability(plan.durability), LATER),
        ("definitions", path(&plan.definitions), AT_ONCE),
        ("first.vhost", settings.first.vhost.clone(), NEW),
        ("first.user", settings.first.user.clone(), NEW),
        ("loopback_users", list(&settings.loopback_users), AT_ONCE),
        ("password_hashing", word(settings.hashing), AT_ONCE),
        ("auth_mechanisms", usual(mechanisms), AT_ONCE),
        ("certificate_name", word(settings.certificate_name), AT_ONCE),
        ("heartbeat", format!("{}s", settings.heartbeat), AT_ONCE),
        ("handshake_timeout", time(settings.handshake_timeout), AT_ONCE),
        (
            "consumer_timeout",
            time(settings.consumer_timeout.unwrap_or_default()),
            AT_ONCE,
        ),
        ("frame_max", settings.frame_max.octets().to_string(), AT_ONCE),
        (
            "connection_max",
            connections.unwrap_or_else(|| "any number".to_owned()),
            AT_ONCE,
        ),
        ("channel_max", settings.channel_max.to_string(), AT_ONCE),
        ("max_message_size", settings.body_max.to_string(), AT_ONCE),
        ("memory_limit", settings.memory_limit.to_string(), AT_ONCE),
        ("disk_free_limit", settings.disk_free_limit.to_string(), AT_ONCE),
        (
            "metrics",
            plan.metrics
                .map_or_else(|| "off".to_owned(), |address| address.to_string()),
            LATER,
        ),
        ("log_level", word(plan.log_level), AT_ONCE),
        ("stop_timeout", time(plan.stop_within), AT_ONCE),
    ]
}

fn list<T: Display>(all: impl IntoIterator<Item = T>) -> String {
    let words: Vec<String> = all.into_iter().map(|one| one.to_string()).collect();
    words.join(" ")
}

/// As it is written.
fn durability(durability: Durability) -> String {
    let word = match durability {
        Durability::System => "os",
        Durability::Disk | Durability::Volatile => "disk",
    };
    word.to_owned()
}

/// `Sha256` is `sha256`.
fn word(value: impl Debug) -> String {
    format!("{value:?}").to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::differences;
    use crate::config::{Machine, load_toml_text};
    use crate::plan::Plan;

    fn plan(text: &str) -> Plan {
        let machine = Machine {
            host: "alpha".into(),
            data: "/data".into(),
        };
        let source = warren_kit::diagnostics::SourceFile::new("warren.toml", text);
        load_toml_text(source, &machine).unwrap().plan
    }

    #[test]
    fn what_is_different_is_said_in_the_words_of_the_file() {
        let after = "[broker]\nmemory_limit = 2000000000\nconnection_max = 500\nconsumer_timeout = \"1h\"\n\
            proxies = [\"10.0.0.0/8\"]\nauth_mechanisms = [\"PLAIN\"]\nmetrics = \"off\"\ndurability = \"os\"\npassword_hashing = \"argon2id\"\n\
            [broker.first]\nuser = \"ann\"\npassword = \"geheim\"\n\
            [broker.tls]\ncertificates = [\"/a.pem\"]\nclient_ca = \"/ca.pem\"\nclients = \"optional\"\n";
        assert_eq!(
            differences(&plan("[broker]\n"), &plan(after)),
            [
                "tls:  -> certificates /a.pem, client_ca /ca.pem, clients optional, min_version 1.2",
                "proxies:  -> 10.0.0.0/8",
                "durability: disk -> os, from the next start on",
                "first.user: guest -> ann, for a node that is new",
                "password_hashing: sha256 -> argon2id",
                "auth_mechanisms: as usual -> PLAIN",
                "consumer_timeout: 30m -> 1h",
                "connection_max: any number -> 500",
                "memory_limit: 0.4 -> 2000000000",
                "metrics: [::]:15692 -> off, from the next start on",
            ]
        );
        assert!(differences(&plan(after), &plan(after)).is_empty());
    }
}
