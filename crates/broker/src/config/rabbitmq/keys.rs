//! Every key that is understood.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use toml::Spanned;

use super::value::{Wrong, duration, listener, number, octets, part, switch, text};
use super::{Broker, Line};
use crate::config::file::Tls;
use crate::plan::METRICS_PORT;

/// Milliseconds, as most of RabbitMQ's times are written.
const MILLISECOND: Duration = Duration::from_millis(1);

/// What a key does.
pub(super) enum Effect {
    /// It is written into the file.
    Set(fn(&Line, &mut Broker) -> Result<(), Wrong>),
    /// Nothing, for this reason.
    None(&'static str),
    /// It matters, and is not done: what to do instead.
    Refused(&'static str),
}

/// A key. A part that begins with `$` stands for any name, and a last part `*` for any number of parts.
pub(super) struct Key {
    pub(super) name: &'static str,
    /// The key of warren.toml, or what it means.
    pub(super) about: &'static str,
    pub(super) effect: Effect,
}

impl Key {
    /// Is it this one?
    pub(super) fn fits(&self, key: &str) -> bool {
        let (mut known, mut parts) = (self.name.split('.'), key.split('.'));
        loop {
            match (known.next(), parts.next()) {
                (None, None) => return true,
                (Some("*"), Some(_)) => return true,
                (Some(known), Some(part)) if known.starts_with('$') || known == part => {}
                _ => return false,
            }
        }
    }
}

const fn set(
    name: &'static str,
    about: &'static str,
    set: fn(&Line, &mut Broker) -> Result<(), Wrong>,
) -> Key {
    Key {
        name,
        about,
        effect: Effect::Set(set),
    }
}

const fn none(name: &'static str, why: &'static str) -> Key {
    Key {
        name,
        about: "",
        effect: Effect::None(why),
    }
}

const fn refused(name: &'static str, instead: &'static str) -> Key {
    Key {
        name,
        about: "",
        effect: Effect::Refused(instead),
    }
}

const MEMORY: &str = "what the process has of its own is compared, several times in a second";
const ERLANG: &str = "there is no Erlang runtime here";
const CLUSTER: &str = "the node is alone";
const LOG: &str = "log lines go to the journal or to standard error, all of one level";
const MANAGEMENT: &str = "there is no management interface over HTTP";
const PROTOCOL: &str = "only AMQP 0-9-1 is spoken";
const KERNEL: &str = "the kernel's values are used";

/// In the order of RabbitMQ's own example.
pub(super) const KEYS: &[Key] = &[
    set(
        "listeners.tcp",
        "`listen = []` if `none`",
        |line, broker| match line.text() {
            "none" => {
                broker.listen = Some(Vec::new());
                Ok(())
            }
            _ => listen(line, &mut broker.listen),
        },
    ),
    set("listeners.tcp.$name", "an entry of `listen`", |line, broker| {
        listen(line, &mut broker.listen)
    }),
    set("listeners.ssl", "nothing if `none`", |line, broker| {
        match line.text() {
            "none" => Ok(()),
            _ => tls_listen(line, broker),
        }
    }),
    set("listeners.ssl.$name", "an entry of `tls_listen`", tls_listen),
    set("ssl_options.certfile", "`tls.certificates`", |line, broker| {
        tls(line, broker).certificates = vec![path(line)];
        Ok(())
    }),
    set("ssl_options.keyfile", "`tls.key`", |line, broker| {
        tls(line, broker).key = Some(path(line));
        Ok(())
    }),
    set("ssl_options.cacertfile", "`tls.client_ca`", |line, broker| {
        tls(line, broker).client_ca = Some(path(line));
        Ok(())
    }),
    set(
        "ssl_options.verify",
        "`tls.clients = \"optional\"` if `verify_peer`",
        |line, broker| {
            let wish = match line.text() {
                "verify_peer" => "optional",
                "verify_none" => "none",
                _ => {
                    return Err((
                        format!("\"{}\" is no way to verify", line.text()),
                        "write verify_peer or verify_none".to_owned(),
                    ));
                }
            };
            let clients = &mut tls(line, broker).clients;
            // `fail_if_no_peer_cert` may have come before it and says more.
            if wish == "none" || clients.is_none() {
                *clients = Some(line.spanned(wish.to_owned()));
            }
            Ok(())
        },
    ),
    set(
        "ssl_options.fail_if_no_peer_cert",
        "`tls.clients = \"required\"` if `true`",
        |line, broker| {
            if switch(line)? {
                tls(line, broker).clients = Some(line.spanned("required".to_owned()));
            }
            Ok(())
        },
    ),
    set(
        "ssl_options.versions.$number",
        "`tls.min_version`: the oldest of them",
        |line, broker| {
            let version = match line.text() {
                "tlsv1.2" => "1.2",
                "tlsv1.3" => "1.3",
                _ => {
                    return Err((
                        format!("TLS of version \"{}\" is not spoken", line.text()),
                        "write tlsv1.2 or tlsv1.3".to_owned(),
                    ));
                }
            };
            let oldest = &mut tls(line, broker).min_version;
            if oldest
                .as_ref()
                .is_none_or(|known| known.get_ref().as_str() > version)
            {
                *oldest = Some(line.spanned(version.to_owned()));
            }
            Ok(())
        },
    ),
    refused(
        "ssl_options.password",
        "keys cannot be encrypted: decrypt it (openssl pkey), and let nobody but the broker's user read it",
    ),
    refused(
        "ssl_options.crl_check",
        "certificates that were revoked are not known: use ones that end soon",
    ),
    refused(
        "ssl_options.cert",
        "name the file of the certificate with ssl_options.certfile",
    ),
    refused(
        "ssl_options.key.$kind",
        "name the file of the key with ssl_options.keyfile",
    ),
    refused(
        "ssl_options.cacerts.$name",
        "name the file of the authorities with ssl_options.cacertfile",
    ),
    refused(
        "ssl_options.psk_identity",
        "TLS is spoken with certificates: name one with ssl_options.certfile",
    ),
    none("ssl_options.dh", "ephemeral keys are on elliptic curves"),
    none("ssl_options.depth", "chains of any length are verified"),
    none("ssl_options.honor_cipher_order", "the server's order counts"),
    none("ssl_options.honor_ecc_order", "the server's order counts"),
    none("ssl_options.client_renegotiation", "there is no renegotiation"),
    none("ssl_options.secure_renegotiate", "there is no renegotiation"),
    none("ssl_options.reuse_sessions", "sessions are resumed by tickets"),
    none("ssl_options.ciphers.$number", "ciphers are those that are safe"),
    none("ssl_options.dhfile", "ephemeral keys are on elliptic curves"),
    none("ssl_options.log_level", LOG),
    none("ssl_options.log_alert", LOG),
    none(
        "ssl_options.bypass_pem_cache",
        "files are read once, and again when they have changed",
    ),
    none("ssl_allow_poodle_attack", "TLS before 1.2 is not spoken"),
    set(
        "ssl_cert_login_from",
        "`certificate_name`: `dns` if `subject_alternative_name`",
        |line, broker| {
            let name = match line.text() {
                "subject_alternative_name" => "dns",
                other => other,
            };
            broker.certificate_name = Some(line.spanned(name.to_owned()));
            Ok(())
        },
    ),
    set(
        "ssl_cert_login_san_type",
        "`certificate_name`, if `ssl_cert_login_from` is `subject_alternative_name`",
        |line, broker| match &mut broker.certificate_name {
            Some(name) if name.get_ref() == "dns" => {
                *name = line.spanned(line.text().to_owned());
                Ok(())
            }
            _ => Err((
                "users are not named after alternative names of their certificates".to_owned(),
                "write ssl_cert_login_from = subject_alternative_name above".to_owned(),
            )),
        },
    ),
    set("ssl_cert_login_san_index", "must be `0`", |line, _| {
        match line.text() {
            "0" => Ok(()),
            other => Err((
                format!("users cannot be named after alternative name {other}: the first of the kind counts"),
                "write 0".to_owned(),
            )),
        }
    }),
    none("ssl_handshake_timeout", "handshake_timeout counts for TLS, too"),
    set(
        "proxy_protocol",
        "`proxies = [\"0.0.0.0/0\", \"::/0\"]` if `true`",
        |line, broker| {
            if switch(line)? {
                let everybody = ["0.0.0.0/0", "::/0"];
                broker.proxies = everybody
                    .iter()
                    .map(|all| line.spanned((*all).to_owned()))
                    .collect();
            }
            Ok(())
        },
    ),
    none(
        "initial_frame_max",
        "the first frames may be as long as later ones",
    ),
    none("num_acceptors.*", "each listener has a task"),
    none("reverse_dns_lookups", "addresses are not resolved"),
    none("tcp_listen_options.*", KERNEL),
    set(
        "loopback_users",
        "`loopback_users = []` if `none`",
        |line, broker| {
            if line.text() == "none" {
                broker.loopback_users = Some(Vec::new());
                return Ok(());
            }
            Err((
                format!("\"{}\" is not none", line.text()),
                "write loopback_users.NAME = true".to_owned(),
            ))
        },
    ),
    set(
        "loopback_users.$user",
        "an entry of `loopback_users`",
        |line, broker| {
            let is_one = switch(line)?;
            let name = line.name();
            let guest = || vec![line.spanned("guest".to_owned())];
            let users = broker.loopback_users.get_or_insert_with(guest);
            users.retain(|user| user.get_ref() != name);
            if is_one {
                users.push(Spanned::new(line.key.span(), name.to_owned()));
            }
            Ok(())
        },
    ),
    set("default_vhost", "`first.vhost`", |line, broker| {
        broker.first.vhost = Some(text(line));
        Ok(())
    }),
    set("default_user", "`first.user`", |line, broker| {
        broker.first.user = Some(text(line));
        Ok(())
    }),
    set("default_pass", "`first.password`", |line, broker| {
        broker.first.password = Some(text(line));
        Ok(())
    }),
    set(
        "default_permissions.configure",
        "`first.configure`",
        |line, broker| {
            broker.first.configure = Some(text(line));
            Ok(())
        },
    ),
    set("default_permissions.write", "`first.write`", |line, broker| {
        broker.first.write = Some(text(line));
        Ok(())
    }),
    set("default_permissions.read", "`first.read`", |line, broker| {
        broker.first.read = Some(text(line));
        Ok(())
    }),
    set(
        "default_user_tags.$tag",
        "an entry of `first.tags`",
        |line, broker| {
            let is_one = switch(line)?;
            let name = line.name();
            let tags = broker.first.tags.get_or_insert_default();
            tags.retain(|tag| tag.get_ref() != name);
            if is_one {
                tags.push(Spanned::new(line.key.span(), name.to_owned()));
            }
            Ok(())
        },
    ),
    set("load_definitions", "`definitions`", |line, broker| {
        broker.definitions = Some(PathBuf::from(line.text()));
        Ok(())
    }),
    set("definitions.local.path", "`definitions`", |line, broker| {
        broker.definitions = Some(PathBuf::from(line.text()));
        Ok(())
    }),
    set(
        "definitions.import_backend",
        "must be `local_filesystem`",
        |line, _| match line.text() {
            "local_filesystem" => Ok(()),
            other => Err((
                format!("definitions cannot be had from \"{other}\""),
                "write local_filesystem".to_owned(),
            )),
        },
    ),
    refused(
        "definitions.https.url",
        "put the file on this host, and name it with load_definitions",
    ),
    refused(
        "definitions.tls.*",
        "put the file on this host, and name it with load_definitions",
    ),
    none(
        "definitions.hashing.algorithm",
        "what is there already is found so in no time",
    ),
    none(
        "definitions.skip_if_unchanged",
        "what is there already is found so in no time",
    ),
    set("heartbeat", "`heartbeat`", |line, broker| {
        broker.heartbeat = Some(duration(line, Duration::from_secs(1))?);
        Ok(())
    }),
    set("frame_max", "`frame_max`", |line, broker| {
        broker.frame_max = Some(number(line)?);
        Ok(())
    }),
    set(
        "connection_max",
        "`connection_max` unless `infinity`",
        |line, broker| {
            if line.text() != "infinity" {
                broker.connection_max = Some(number(line)?);
            }
            Ok(())
        },
    ),
    set("channel_max", "`channel_max`", |line, broker| {
        broker.channel_max = Some(number(line)?);
        Ok(())
    }),
    set("max_message_size", "`max_message_size`", |line, broker| {
        broker.max_message_size = Some(number(line)?);
        Ok(())
    }),
    set("handshake_timeout", "`handshake_timeout`", |line, broker| {
        broker.handshake_timeout = Some(duration(line, MILLISECOND)?);
        Ok(())
    }),
    set("consumer_timeout", "`consumer_timeout`", |line, broker| {
        broker.consumer_timeout = Some(duration(line, MILLISECOND)?);
        Ok(())
    }),
    set(
        "auth_mechanisms.$number",
        "an entry of `auth_mechanisms`",
        |line, broker| {
            let listed = broker.auth_mechanisms.take();
            let mut listed = listed.map_or_else(Vec::new, Spanned::into_inner);
            listed.push(line.spanned(line.text().to_owned()));
            broker.auth_mechanisms = Some(line.spanned(listed));
            Ok(())
        },
    ),
    set("auth_backends.$number", "must be `internal`", internal),
    set("auth_backends.$number.authn", "must be `internal`", internal),
    set("auth_backends.$number.authz", "must be `internal`", internal),
    refused(
        "credential_validator.*",
        "passwords are not judged: judge them before they are given to add_user",
    ),
    set("password_hashing_module", "`password_hashing`", |line, broker| {
        let hashing = match line.text() {
            "rabbit_password_hashing_sha256" => "sha256",
            "rabbit_password_hashing_sha512" => "sha512",
            other => {
                return Err((
                    format!("new passwords cannot be kept by {other}"),
                    "write rabbit_password_hashing_sha256 or rabbit_password_hashing_sha512".to_owned(),
                ));
            }
        };
        broker.password_hashing = Some(line.spanned(hashing.to_owned()));
        Ok(())
    }),
    set(
        "vm_memory_high_watermark.relative",
        "`memory_limit`",
        |line, broker| {
            broker.memory_limit = Some(part(line)?);
            Ok(())
        },
    ),
    set(
        "vm_memory_high_watermark.absolute",
        "`memory_limit`",
        |line, broker| {
            broker.memory_limit = Some(octets(line)?);
            Ok(())
        },
    ),
    none(
        "vm_memory_high_watermark_paging_ratio",
        "messages are on disk long before memory is short",
    ),
    none("vm_memory_calculation_strategy", MEMORY),
    none("memory_monitor_interval", MEMORY),
    refused(
        "total_memory_available_override_value",
        "the machine's memory counts, or the control group's: write vm_memory_high_watermark.absolute",
    ),
    set("disk_free_limit.relative", "`disk_free_limit`", |line, broker| {
        broker.disk_free_limit = Some(part(line)?);
        Ok(())
    }),
    set("disk_free_limit.absolute", "`disk_free_limit`", |line, broker| {
        broker.disk_free_limit = Some(octets(line)?);
        Ok(())
    }),
    none("hipe_compile", ERLANG),
    none("erlang.K", ERLANG),
    none("default_worker_pool_size", ERLANG),
    none("socket_writer.gc_threshold", ERLANG),
    none("background_gc_target_interval", ERLANG),
    none("sysmon_handler.*", ERLANG),
    none(
        "message_store_shutdown_timeout",
        "`stop_timeout` of a warren.toml is the whole of a stop",
    ),
    none("vhost_restart_strategy", "vhosts do not stop one by one"),
    none(
        "classic_queue.default_version",
        "every message is kept in one log",
    ),
    none(
        "quorum_queue.compute_checksums",
        "everything on disk has a checksum",
    ),
    none("raft.*", "every message is kept in one log"),
    none(
        "product.*",
        "clients are told what they take for RabbitMQ 3.10, and who this is",
    ),
    none("motd_file", "there is no greeting"),
    none("net_ticktime", ERLANG),
    none("background_gc_enabled", ERLANG),
    none("distribution.*", ERLANG),
    none("cluster_partition_handling", CLUSTER),
    none("cluster_partition_handling.*", CLUSTER),
    none("cluster_keepalive_interval", CLUSTER),
    none("cluster_formation.*", CLUSTER),
    set("cluster_name", "`cluster_name`", |line, broker| {
        broker.cluster_name = Some(text(line));
        Ok(())
    }),
    none("mirroring_sync_batch_size", CLUSTER),
    none("mirroring_sync_max_throughput", CLUSTER),
    none("queue_master_locator", CLUSTER),
    none("queue_leader_locator", CLUSTER),
    none("mnesia_table_loading_retry_timeout", CLUSTER),
    none("mnesia_table_loading_retry_limit", CLUSTER),
    none("collect_statistics", "counters are always kept"),
    none("collect_statistics_interval", "counters are always up to date"),
    none("delegate_count", ERLANG),
    none("queue_index_embed_msgs_below", "every message is kept in one log"),
    none("channel_operation_timeout", ERLANG),
    none("lazy_queue_explicit_gc_run_operation_threshold", ERLANG),
    set("log.console.level", "`log_level`", log_level),
    set(
        "log.file.level",
        "`log_level`; the one that says more if both are given",
        log_level,
    ),
    none("log.*", LOG),
    set(
        "prometheus.tcp.port",
        "the port of `metrics`",
        |line, broker| match line.text().parse::<u16>() {
            Ok(port) => {
                broker.metrics = Some(line.spanned(match metrics_host(broker) {
                    Some(host) => format!("{host}:{port}"),
                    None => port.to_string(),
                }));
                Ok(())
            }
            Err(_) => Err((
                format!("\"{}\" is no port", line.text()),
                "write a number up to 65535".to_owned(),
            )),
        },
    ),
    set("prometheus.tcp.ip", "the address of `metrics`", |line, broker| {
        let Ok(ip) = line.text().parse::<IpAddr>() else {
            return Err((
                format!("\"{}\" is no address", line.text()),
                "write one such as 127.0.0.1 or ::1".to_owned(),
            ));
        };
        let port = broker.metrics.as_ref().map_or("15692", |metrics| {
            metrics.get_ref().rsplit(':').next().unwrap_or("15692")
        });
        let port = port.parse().unwrap_or(METRICS_PORT);
        broker.metrics = Some(line.spanned(SocketAddr::new(ip, port).to_string()));
        Ok(())
    }),
    set("prometheus.path", "must be `/metrics`", |line, _| {
        match line.text() {
            "/metrics" => Ok(()),
            other => Err((
                format!("metrics cannot be had at \"{other}\""),
                "write /metrics".to_owned(),
            )),
        }
    }),
    none(
        "prometheus.return_per_object_metrics",
        "those of each object are at /metrics/per-object",
    ),
    none("prometheus.tcp.compress", "metrics are sent as they are"),
    none(
        "prometheus.tcp.idle_timeout",
        "connections that ask for nothing are closed",
    ),
    none(
        "prometheus.tcp.inactivity_timeout",
        "connections that ask for nothing are closed",
    ),
    none("prometheus.tcp.request_timeout", "a scrape takes milliseconds"),
    none(
        "prometheus.tcp.shutdown_timeout",
        "a stop does not wait for scrapes",
    ),
    none(
        "prometheus.tcp.max_keepalive",
        "connections may ask as often as they like",
    ),
    refused(
        "prometheus.ssl.*",
        "metrics are served without TLS: keep them on this host with prometheus.tcp.ip = 127.0.0.1, or put something in front",
    ),
    set("management.load_definitions", "`definitions`", |line, broker| {
        broker.definitions = Some(PathBuf::from(line.text()));
        Ok(())
    }),
    none("management.*", MANAGEMENT),
    none("management_agent.*", MANAGEMENT),
    none("mqtt.*", PROTOCOL),
    none("stomp.*", PROTOCOL),
    none("web_mqtt.*", PROTOCOL),
    none("web_stomp.*", PROTOCOL),
    none("stream.*", PROTOCOL),
    none("amqp1_0.*", PROTOCOL),
];

/// Who knows the users.
fn internal(line: &Line, _: &mut Broker) -> Result<(), Wrong> {
    match line.text() {
        "internal" | "rabbit_auth_backend_internal" => Ok(()),
        other => Err((
            format!("users cannot be asked of \"{other}\": the broker keeps them itself"),
            "write internal, and add them with rabbitmqctl add_user or load_definitions".to_owned(),
        )),
    }
}

/// The lines of RabbitMQ's levels, by the fewer that there are here.
fn log_level(line: &Line, broker: &mut Broker) -> Result<(), Wrong> {
    const WORDS: [&str; 5] = ["none", "error", "warning", "info", "debug"];
    let word = match line.text() {
        "critical" | "alert" | "emergency" => "error",
        "notice" => "info",
        word if WORDS.contains(&word) => word,
        other => {
            return Err((
                format!("\"{other}\" is no level"),
                "write debug, info, notice, warning, error, critical, alert, emergency or none".to_owned(),
            ));
        }
    };
    let weight = |word: &str| WORDS.iter().position(|known| *known == word);
    let known = broker.log_level.as_ref().map(|known| known.get_ref().as_str());
    if known.is_none_or(|known| weight(known) < weight(word)) {
        broker.log_level = Some(line.spanned(word.to_owned()));
    }
    Ok(())
}

/// What stands before the port, as it stands there.
fn metrics_host(broker: &Broker) -> Option<&str> {
    let metrics = broker.metrics.as_ref()?.get_ref();
    metrics.rsplit_once(':').map(|(host, _)| host)
}

fn listen(line: &Line, listeners: &mut Option<Vec<Spanned<String>>>) -> Result<(), Wrong> {
    listeners.get_or_insert_default().push(listener(line)?);
    Ok(())
}

fn tls_listen(line: &Line, broker: &mut Broker) -> Result<(), Wrong> {
    broker.tls_listen.push(listener(line)?);
    Ok(())
}

fn tls<'a>(line: &Line, broker: &'a mut Broker) -> &'a mut Tls {
    let tls = broker.tls.get_or_insert_with(|| line.spanned(Tls::default()));
    tls.get_mut()
}

fn path(line: &Line) -> Spanned<PathBuf> {
    line.spanned(PathBuf::from(line.text()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_found_by_its_parts() {
        let find = |key: &str| KEYS.iter().find(|known| known.fits(key)).map(|known| known.name);
        assert_eq!(find("listeners.tcp.default"), Some("listeners.tcp.$name"));
        assert_eq!(find("listeners.tcp"), Some("listeners.tcp"));
        assert_eq!(find("listeners.tcp.a.b"), None);
        assert_eq!(find("log.file.level"), Some("log.file.level"));
        assert_eq!(find("log.file"), Some("log.*"));
        assert_eq!(find("log"), None);
        assert_eq!(find("heartbeats"), None);
    }

    #[test]
    fn no_key_is_listed_twice() {
        let mut names: Vec<&str> = KEYS.iter().map(|key| key.name).collect();
        names.sort_unstable();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
