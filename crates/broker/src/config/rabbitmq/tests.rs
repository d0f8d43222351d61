use crate::alarms::{DiskLimit, MemoryLimit};
use crate::auth::Mechanism;
use crate::password::Hashing;
use crate::tls::CertificateName;
use warren_kit::config::ConfigError;
use warren_kit::diagnostics::SourceFile;

use crate::config::{Environment, Loaded, Machine, load_none, load_rabbitmq_text, load_toml_text, translate};
use crate::plan::{ClientCertificates, LogLevel, TlsVersion};

fn machine() -> Machine {
    Machine {
        host: "alpha.example.org".into(),
        data: "/data".into(),
    }
}

fn loaded(text: &str) -> Result<Loaded, ConfigError> {
    load_rabbitmq_text(SourceFile::new("rabbitmq.conf", text), &machine())
}

fn refused(text: &str) -> String {
    loaded(text).unwrap_err().to_string()
}

const WHOLE: &str = "\
# as in a tutorial
listeners.tcp.default = 5672
listeners.tcp.local = ::1:5673
listeners.ssl.default=5671
ssl_options.cacertfile = /etc/ca.pem
ssl_options.certfile   = /etc/cert.pem
ssl_options.keyfile    = /etc/key.pem
ssl_options.verify     = verify_peer
ssl_options.fail_if_no_peer_cert = true
ssl_options.versions.1 = tlsv1.3
loopback_users.guest = false
default_user = admin
default_pass = 'a # b'   # quoted
default_vhost = /shop
default_user_tags.administrator = true
default_permissions.read = ^public
heartbeat = 30
handshake_timeout = 2500
consumer_timeout = 3600000
auth_mechanisms.1 = EXTERNAL
ssl_cert_login_from = common_name
channel_max = 100
frame_max = 8192
max_message_size = 1000
heartbeat = 20
memory_monitor_interval = 2500
vm_memory_high_watermark.relative = 0.6
disk_free_limit.absolute = 2GB
connection_max = 500
";

#[test]
fn every_key_lands_in_the_plan() {
    let loaded = loaded(WHOLE).unwrap();
    let plan = &loaded.plan;
    let listeners: Vec<String> = plan
        .listeners
        .iter()
        .map(|listener| format!("{} {}", listener.address, listener.tls))
        .collect();
    assert_eq!(
        listeners,
        ["[::]:5672 false", "[::1]:5673 false", "[::]:5671 true"]
    );
    let tls = plan.tls.as_ref().unwrap();
    assert_eq!(tls.clients, ClientCertificates::Required("/etc/ca.pem".into()));
    assert_eq!(tls.key.as_deref(), Some("/etc/key.pem".as_ref()));
    assert_eq!(tls.min_version, TlsVersion::V1_3);
    let settings = &plan.settings;
    assert!(settings.loopback_users.is_empty());
    assert_eq!(
        (settings.heartbeat, settings.channel_max, settings.body_max),
        (20, 100, 1000)
    );
    assert_eq!(settings.handshake_timeout.as_millis(), 2500);
    assert_eq!(settings.consumer_timeout.unwrap().as_secs(), 3600);
    assert_eq!(settings.frame_max.octets(), 8192);
    assert_eq!(settings.memory_limit, MemoryLimit::Millionths(600_000));
    assert_eq!(settings.disk_free_limit, DiskLimit::Octets(2_000_000_000));
    assert_eq!(settings.connection_max, Some(500));
    let first = &settings.first;
    assert_eq!((first.user.as_str(), first.vhost.as_str()), ("admin", "/shop"));
    assert_eq!(first.password.reveal(), "a # b");
    assert_eq!(first.permissions, [".*", ".*", "^public"]);
    assert_eq!(plan.node, "rabbit@alpha");
    let warnings: Vec<String> = loaded.warning_lines().collect();
    let [warning] = warnings.as_slice() else {
        panic!("{warnings:#?}")
    };
    assert!(
        warning.starts_with("rabbitmq.conf:26:1: warning: memory_monitor_interval has no effect"),
        "{warning}"
    );
}

#[test]
fn what_matters_and_is_not_done_is_refused_with_what_to_do_instead() {
    for (wrong, said) in [
        ("auth_backends.1 = ldap\n", "users cannot be asked of \"ldap\""),
        ("auth_backends.1.authn = http\n", "write internal"),
        (
            "password_hashing_module = rabbit_password_hashing_md5\n",
            "cannot be kept by",
        ),
        ("ssl_options.password = geheim\n", "openssl pkey"),
        ("prometheus.ssl.port = 15691\n", "prometheus.tcp.ip = 127.0.0.1"),
        (
            "total_memory_available_override_value = 2GB\n",
            "vm_memory_high_watermark.absolute",
        ),
    ] {
        let text = refused(wrong);
        assert!(text.contains(said), "{text}");
    }
    let taken = loaded(
        "auth_backends.1 = internal\npassword_hashing_module = rabbit_password_hashing_sha512\n\
        cluster_name = shop\nmanagement.load_definitions = /etc/rabbitmq/definitions.json\n",
    )
    .unwrap();
    assert_eq!(taken.warning_lines().count(), 0);
    let plan = taken.plan;
    assert_eq!(plan.settings.hashing, Hashing::Sha512);
    assert_eq!(plan.cluster_name.as_deref(), Some("shop"));
    assert_eq!(plan.definitions, Some("/etc/rabbitmq/definitions.json".into()));
}

#[test]
fn what_clients_may_log_in_with_is_what_is_listed() {
    let settings = |text: &str| loaded(text).unwrap().plan.settings;
    assert_eq!(settings("").mechanisms, None);
    let some = settings(
        "auth_mechanisms.1 = EXTERNAL\nauth_mechanisms.2 = PLAIN\nssl_cert_login_from = common_name\n",
    );
    assert_eq!(some.mechanisms, Some(vec![Mechanism::External, Mechanism::Plain]));
    assert_eq!(some.certificate_name, CertificateName::Common);
    let san = "ssl_cert_login_from = subject_alternative_name\n";
    assert_eq!(settings(san).certificate_name, CertificateName::Dns);
    let email = settings(&format!(
        "{san}ssl_cert_login_san_type = email\nssl_cert_login_san_index = 0\n"
    ));
    assert_eq!(email.certificate_name, CertificateName::Email);
    for (wrong, said) in [
        ("auth_mechanisms.1 = LDAP\n", "rabbitmq.conf:1:21"),
        ("auth_mechanisms.1 =\n", "rabbitmq.conf:1:"),
        ("ssl_cert_login_from = serial\n", "rabbitmq.conf:1:23"),
        (
            "ssl_cert_login_san_type = dns\n",
            "write ssl_cert_login_from = subject_alternative_name above",
        ),
    ] {
        let text = refused(wrong);
        assert!(text.contains(said), "{text}");
    }
    let nobody = SourceFile::new("warren.toml", "[broker]\nauth_mechanisms = []\n");
    let text = load_toml_text(nobody, &machine()).unwrap_err().to_string();
    assert!(
        text.contains("warren.toml:2:19")
            && text.contains("nobody could log in")
            && text.contains("\"PLAIN\""),
        "{text}"
    );
}

#[test]
fn certificates_alone_are_refused_where_no_client_can_show_one() {
    const SSL: &str =
        "listeners.ssl.default = 5671\nssl_options.certfile = c.pem\nssl_options.keyfile = k.pem\n";
    const PEER: &str = "ssl_options.cacertfile = ca.pem\nssl_options.verify = verify_peer\n";
    const ONLY: &str = "auth_mechanisms.1 = EXTERNAL\n";
    for (before, at, why) in [
        ("", "rabbitmq.conf:1:21", "no listener speaks TLS"),
        (SSL, "rabbitmq.conf:4:21", "no client is asked for a certificate"),
    ] {
        let text = refused(&format!("{before}{ONLY}"));
        assert!(text.contains(at) && text.contains(why), "{text}");
        assert!(
            text.contains("nobody could log in") && text.contains("^^^^^^^^"),
            "{text}"
        );
    }
    for fine in [
        format!("{SSL}{PEER}{ONLY}"),
        format!("{ONLY}auth_mechanisms.2 = PLAIN\n"),
        format!("{SSL}{ONLY}auth_mechanisms.2 = AMQPLAIN\n"),
    ] {
        loaded(&fine).unwrap_or_else(|error| panic!("{fine}{error}"));
    }

    let toml = |text: &str| {
        let source = SourceFile::new("warren.toml", format!("[broker]\nauth_mechanisms = {text}\n"));
        load_toml_text(source, &machine())
            .map(drop)
            .map_err(|error| error.to_string())
    };
    const LISTEN: &str = "tls_listen = [\"5671\"]\n";
    for (text, why) in [
        ("[\"EXTERNAL\"]".to_owned(), "no listener speaks TLS"),
        (
            "[\"EXTERNAL\"]\ntls = { certificates = [\"c.pem\"], clients = \"required\", client_ca = \"ca.pem\" }".to_owned(),
            "no listener speaks TLS",
        ),
        (
            format!("[\"EXTERNAL\"]\n{LISTEN}tls = {{ certificates = [\"c.pem\"], client_ca = \"ca.pem\" }}"),
            "no client is asked for a certificate",
        ),
    ] {
        let error = toml(&text).unwrap_err();
        assert!(error.contains("warren.toml:2:20") && error.contains(why), "{error}");
    }
    let asked = "tls = { certificates = [\"c.pem\"], clients = \"optional\", client_ca = \"ca.pem\" }";
    toml(&format!("[\"EXTERNAL\"]\n{LISTEN}{asked}")).unwrap();
    toml("[\"EXTERNAL\", \"PLAIN\"]").unwrap();
    let without = toml(&format!("[\"EXTERNAL\"]\n{LISTEN}")).unwrap_err();
    assert!(
        without.contains("TLS without a certificate") && !without.contains("alone"),
        "{without}"
    );
}

#[test]
fn the_translation_means_the_same() {
    let loaded = loaded(WHOLE).unwrap();
    let text = translate(&loaded);
    let again = load_toml_text(SourceFile::new("warren.toml", text.clone()), &machine()).unwrap();
    assert_eq!(again.plan, loaded.plan, "{text}");
    assert!(text.contains("# rabbitmq.conf:26:1: warning"), "{text}");
}

#[test]
fn an_unknown_key_is_shown_with_its_place_and_what_was_meant() {
    let text = refused("default_user = a\nheartbeet = 10\n");
    assert!(text.contains("error: unknown key `heartbeet`"), "{text}");
    assert!(text.contains("rabbitmq.conf:2:1"), "{text}");
    assert!(text.contains("^^^^^^^^^"), "{text}");
    assert!(text.contains("did you mean \"heartbeat\"?"), "{text}");
}

#[test]
fn a_wrong_value_is_shown_with_its_place() {
    for (text, expected) in [
        ("heartbeat = soon\n", "rabbitmq.conf:1:13"),
        ("listeners.tcp.1 = localhost:5672\n", "is nothing to listen on"),
        ("channel_max = 70000\n", "channel_max 70000 is out of range"),
        (
            "vm_memory_high_watermark.relative = 2.5\n",
            "memory_limit 2.5 is out of range",
        ),
        (
            "vm_memory_high_watermark.relative = much\n",
            "is no part of the memory",
        ),
        ("disk_free_limit.absolute = 5 parsec\n", "is no number of octets"),
        ("default_permissions.read = (\n", "is not a regular expression"),
        ("listeners.ssl.1 = 5671\n", "TLS without a certificate"),
        ("just words\n", "this line has no `=`"),
        ("default_pass = 'abc\n", "this quote is never closed"),
        ("default_user =\n", "this key has no value"),
    ] {
        let said = refused(text);
        assert!(said.contains(expected), "{text}: {said}");
    }
}

#[test]
fn a_password_is_not_shown() {
    for wrong in [
        "default_pass = geheim\ndefault_pass = secret\nheartbeat = x\n",
        "default_pass = 'secret\n",
        "  default_pass secret\r\n",
        "ssl_options.password = secret\n",
    ] {
        let said = refused(wrong);
        assert!(!said.contains("secret"), "{said}");
    }
    let toml = "[broker.first]\npassword = \"secret\"\n[broker]\nheartbeat = \"99999h\"\n";
    let said = load_toml_text(SourceFile::new("warren.toml", toml), &machine())
        .unwrap_err()
        .to_string();
    assert!(
        said.contains("out of range") && !said.contains("secret"),
        "{said}"
    );
}

#[test]
fn the_environment_of_a_container_is_enough() {
    let environment = Environment::from(&|name| {
        let value = match name {
            "RABBITMQ_DEFAULT_USER" => "admin",
            "RABBITMQ_DEFAULT_PASS" => "secret",
            "RABBITMQ_DEFAULT_VHOST" => "shop",
            "RABBITMQ_NODENAME" => "hare@beta",
            "RABBITMQ_NODE_PORT" => "5673",
            _ => return None,
        };
        Some(value.to_owned())
    });
    let plan = load_none(&environment, &machine()).unwrap().plan;
    let first = &plan.settings.first;
    assert_eq!((first.user.as_str(), first.vhost.as_str()), ("admin", "shop"));
    assert_eq!(first.password.reveal(), "secret");
    assert_eq!(plan.node, "hare@beta");
    assert_eq!(plan.listeners[0].address.port(), 5673);
    let more = Environment {
        unknown: vec!["RABBITMQ_VM_MEMORY_HIGH_WATERMARK".into()],
        ..environment.clone()
    };
    let warnings: Vec<String> = load_none(&more, &machine()).unwrap().warning_lines().collect();
    let [warning] = warnings.as_slice() else {
        panic!("{warnings:#?}")
    };
    assert!(
        warning.contains("warning: RABBITMQ_VM_MEMORY_HIGH_WATERMARK has no effect"),
        "{warning}"
    );
    let wrong = Environment {
        node: Some("two words".into()),
        ..environment
    };
    let said = load_none(&wrong, &machine()).unwrap_err().to_string();
    assert!(said.contains("RABBITMQ_NODENAME=two words"), "{said}");
    assert!(!said.contains("secret"), "{said}");
}

#[test]
fn a_node_without_a_host_gets_ours() {
    let environment = Environment {
        node: Some("hare".into()),
        ..Environment::default()
    };
    assert_eq!(
        load_none(&environment, &machine()).unwrap().plan.node,
        "hare@alpha"
    );
}

#[test]
fn metrics_are_served_everywhere_unless_said_otherwise() {
    for (text, expected) in [
        ("", Some("[::]:15692")),
        ("prometheus.tcp.port = 15693\n", Some("[::]:15693")),
        ("prometheus.tcp.ip = 127.0.0.1\n", Some("127.0.0.1:15692")),
        (
            "prometheus.tcp.ip = ::1\nprometheus.tcp.port = 1\n",
            Some("[::1]:1"),
        ),
        (
            "prometheus.tcp.port = 1\nprometheus.tcp.ip = ::1\nprometheus.path = /metrics\n",
            Some("[::1]:1"),
        ),
    ] {
        let metrics = loaded(text).unwrap().plan.metrics;
        assert_eq!(
            metrics,
            expected.map(|address| address.parse().unwrap()),
            "{text}"
        );
    }
    let off = SourceFile::new("warren.toml", "[broker]\nmetrics = \"off\"\n");
    assert_eq!(load_toml_text(off, &machine()).unwrap().plan.metrics, None);
    let wrong = SourceFile::new("warren.toml", "[broker]\nmetrics = \"of\"\n");
    let said = load_toml_text(wrong, &machine()).unwrap_err().to_string();
    assert!(
        said.contains("warren.toml:2:11") && said.contains("or \"off\""),
        "{said}"
    );
    for wrong in [
        "prometheus.tcp.port = x\n",
        "prometheus.tcp.ip = here\n",
        "prometheus.path = /m\n",
    ] {
        assert!(refused(wrong).contains("rabbitmq.conf:1:"), "{wrong}");
    }
}

#[test]
fn the_level_that_says_more_counts() {
    for (text, expected) in [
        ("", LogLevel::Info),
        ("log.console.level = debug\n", LogLevel::Debug),
        ("log.file.level = emergency\n", LogLevel::Error),
        (
            "log.console.level = none\nlog.file.level = warning\n",
            LogLevel::Warning,
        ),
        (
            "log.file.level = notice\nlog.console.level = error\n",
            LogLevel::Info,
        ),
    ] {
        assert_eq!(loaded(text).unwrap().plan.log_level, expected, "{text}");
    }
    assert!(refused("log.console.level = loud\n").contains("is no level"));
}
