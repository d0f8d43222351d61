//! The options of rabbitmq-server, for units, scripts and containers that call the broker by that name.
//!
//! It has hardly any, and takes the rest from its environment ([`warren_broker::config::Environment`]).

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use warren_broker::config::{Environment, Format};

use super::broker::BrokerOptions;

/// Where RabbitMQ's packages keep what outlives the process.
pub const HOME: &str = "/var/lib/rabbitmq";
/// Where they keep the configuration: a file, and a directory of such that are read after it.
const CONFIG: [&str; 2] = ["/etc/rabbitmq/rabbitmq.conf", "/etc/rabbitmq/conf.d"];

/// What it prints when it does not understand.
pub const USAGE: &str = "\
Usage: rabbitmq-server [-detached]
  -detached   go to the background, and come back once the broker serves
The configuration is in /etc/rabbitmq/rabbitmq.conf and /etc/rabbitmq/conf.d/*.conf, or where RABBITMQ_CONFIG_FILE says; data
in /var/lib/rabbitmq. `warren broker --help` lists what can be said on a command line.
";

/// What is asked for.
#[derive(Debug, PartialEq, Eq)]
pub struct Errand {
    /// How to run.
    pub options: BrokerOptions,
    /// `-detached`
    pub background: bool,
    /// This is the process that stays in the background.
    pub daemonised: bool,
}

/// Takes the arguments apart; the first is the program's name.
///
/// # Errors
/// The argument that is not understood.
pub fn parse(arguments: &[OsString], environment: &Environment) -> Result<Errand, String> {
    let (mut background, mut daemonised) = (false, false);
    for argument in arguments.iter().skip(1) {
        match argument.to_str() {
            Some("-detached" | "--detached") => background = true,
            Some("--daemonised") => daemonised = true,
            _ => return Err(argument.to_string_lossy().into_owned()),
        }
    }
    let files = files(environment.file.as_deref(), &|path| path.exists());
    Ok(Errand {
        options: BrokerOptions {
            format: (!files.is_empty()).then_some(Format::Rabbitmq),
            files,
            as_rabbitmq: true,
            pid_file: environment.pid_file.clone(),
            ..BrokerOptions::default()
        },
        background: background && !daemonised,
        daemonised,
    })
}

/// RabbitMQ lets `.conf` be left out.
fn files(named: Option<&Path>, exists: &dyn Fn(&Path) -> bool) -> Vec<PathBuf> {
    if let Some(named) = named {
        let mut whole = named.as_os_str().to_owned();
        whole.push(".conf");
        let whole = PathBuf::from(whole);
        return vec![if exists(&whole) { whole } else { named.to_owned() }];
    }
    let usual = CONFIG.iter().map(PathBuf::from);
    usual.filter(|path| exists(path)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Errand, String> {
        let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        parse(&words, &Environment::default())
    }

    #[test]
    fn the_line_of_the_tutorials_goes_to_the_background() {
        assert!(parsed("rabbitmq-server -detached").unwrap().background);
        assert!(!parsed("rabbitmq-server").unwrap().background);
        let second = parsed("rabbitmq-server -detached --daemonised").unwrap();
        assert!(second.daemonised && !second.background);
        assert_eq!(parsed("rabbitmq-server -x"), Err("-x".to_owned()));
    }

    #[test]
    fn the_configuration_is_where_the_environment_says_or_where_packages_put_it() {
        let all = |_: &Path| true;
        let none = |_: &Path| false;
        assert_eq!(files(None, &all), CONFIG.map(PathBuf::from));
        assert!(files(None, &none).is_empty());
        assert_eq!(
            files(Some("/a/rabbit".as_ref()), &all),
            [PathBuf::from("/a/rabbit.conf")]
        );
        assert_eq!(
            files(Some("/a/x.conf".as_ref()), &none),
            [PathBuf::from("/a/x.conf")]
        );
    }
}
