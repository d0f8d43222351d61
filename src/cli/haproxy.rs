//! The options of haproxy, for units, scripts and fingers that call the proxy by that name.
//!
//! Its options are words behind one dash (`-db`, `-sf 12 34`), which no parser of GNU style takes apart; so it is done
//! here. Each option either does what it did, is accepted because it cannot matter here, or is refused with the reason.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use super::proxy::{Former, ProxyOptions};

/// What haproxy prints when it does not understand, with what this program makes of its options.
pub const USAGE: &str = "\
Usage: haproxy -f FILE|DIR [-f ...] [-c] [-D] [-db] [-W|-Ws] [-p PIDFILE] [-n MAXCONN] [-C DIR] [-sf|-st PID...] [-- FILE...]
  -f FILE|DIR   configuration file, or directory of *.cfg files; may be given again
  -c            check the configuration and exit
  -D            go to the background (also: `daemon` in the configuration)
  -db           stay in the foreground, whatever the configuration says
  -W, -Ws       stay in the foreground under a supervisor (the configuration is read again on SIGUSR2 and SIGHUP)
  -p FILE       write the process number there
  -n NUMBER     maxconn of the process
  -C DIR        change there before reading files
  -L NAME       name of this host
  -sf PID...    take over from these processes and let them finish their sessions
  -st PID...    take over from these processes and end them
  -q, -V        say less, say more
  -v, -vv       print the version and exit
  -dr           go on when a server's name cannot be resolved
  -dV           do not verify servers' certificates
  -dW           end if there are warnings
  -- FILE...    further configuration files
Accepted, without effect: -d, -dD, -de, -dG, -dL, -dp, -dR, -dM..., -m MEGABYTES, -N NUMBER, -S SOCKET, -x SOCKET
Refused: -dS (see splicing in the guide), -cc, -dK
";

/// What is asked for.
#[derive(Debug, PartialEq, Eq)]
pub enum Errand {
    /// `-v`, `-vv`
    Version,
    /// `-c`
    Check {
        /// The files.
        files: Vec<PathBuf>,
        /// `-q`
        quiet: bool,
        /// `-dW`
        strict: bool,
        /// `-C`
        directory: Option<PathBuf>,
    },
    /// Run it.
    Run {
        /// How.
        options: Box<ProxyOptions>,
        /// `-D`, or `None` if the configuration decides.
        background: Option<bool>,
    },
}

/// Not understood.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum UsageError {
    /// An option of no haproxy we know.
    #[error("{0} is no option of haproxy")]
    Unknown(String),
    /// An option that would change what the operator gets.
    #[error("{0} is not supported: {1}")]
    Refused(String, &'static str),
    /// An option without what belongs behind it.
    #[error("{0} wants {1} behind it")]
    Missing(String, &'static str),
    /// No file.
    #[error("no configuration file is given: use -f FILE")]
    NoFile,
}

/// Takes the arguments apart; the first is the program's name.
///
/// # Errors
/// Something in them is not understood.
pub fn parse(arguments: &[OsString]) -> Result<Errand, UsageError> {
    Parser {
        rest: arguments.get(1..).unwrap_or_default(),
        parsed: Parsed::default(),
    }
    .run()
}

struct Parser<'a> {
    rest: &'a [OsString],
    parsed: Parsed,
}

#[derive(Default)]
struct Parsed {
    files: Vec<PathBuf>,
    version: bool,
    check: bool,
    quiet: bool,
    background: Option<bool>,
    options: ProxyOptions,
}

impl Parser<'_> {
    fn run(mut self) -> Result<Errand, UsageError> {
        while let Some((argument, rest)) = self.rest.split_first() {
            self.rest = rest;
            let text = argument.to_string_lossy();
            if text == "--" {
                self.parsed.files.extend(self.rest.iter().map(PathBuf::from));
                break;
            }
            self.option(&text)?;
        }
        self.parsed.errand()
    }

    fn option(&mut self, option: &str) -> Result<(), UsageError> {
        match option {
            "-f" => {
                let file = self.value(option, "a file")?.into();
                self.parsed.files.push(file);
                // haproxy takes several files behind one -f.
                while let Some(file) = self.next_plain() {
                    self.parsed.files.push(file);
                }
            }
            "-c" => self.parsed.check = true,
            "-D" => self.parsed.background = Some(true),
            "-db" | "-d" | "-W" | "-Ws" => self.parsed.background = self.parsed.background.or(Some(false)),
            "-q" => self.parsed.quiet = true,
            "-V" => self.parsed.quiet = false,
            "-v" | "-vv" => self.parsed.version = true,
            "-p" => self.parsed.options.pid_file = Some(self.value(option, "a file")?.into()),
            "-C" => self.parsed.options.directory = Some(self.value(option, "a directory")?.into()),
            "-L" => self.parsed.options.host = Some(self.text(option, "a name")?),
            "-n" => self.parsed.options.maxconn = Some(self.number(option)?),
            "-sf" => self.former(false),
            "-st" => self.former(true),
            "-dr" => self.parsed.options.allow_unresolved = true,
            "-dV" => self.parsed.options.no_server_verify = true,
            "-dW" => self.parsed.options.strict = true,
            // Said by the process that does not stay to the one that does.
            "--daemonised" => self.parsed.options.daemonised = true,
            "-de" | "-dp" | "-dG" | "-dL" | "-dR" | "-dD" => {}
            "-m" | "-N" => drop(self.number(option)?),
            "-S" | "-x" => drop(self.value(option, "a socket")?),
            "-dS" => {
                return Err(refused(
                    option,
                    "splicing is chosen by what a flow needs; mode amqp does without",
                ));
            }
            "-cc" | "-dK" => return Err(refused(option, "it asks about the build of another program")),
            _ if option.starts_with("-dM") => {}
            _ if option.starts_with('-') => return Err(UsageError::Unknown(option.to_owned())),
            _ => self.parsed.files.push(option.into()),
        }
        Ok(())
    }

    /// `-sf` takes numbers as long as there are any; `-sf` alone is what `-sf $(pidof haproxy)` says when there is none.
    fn former(&mut self, end: bool) {
        while let Some((argument, rest)) = self.rest.split_first() {
            let Some(pid) = argument.to_str().and_then(|text| text.parse().ok()) else {
                break;
            };
            self.parsed.options.former.push(Former { pid, end });
            self.rest = rest;
        }
    }

    fn next_plain(&mut self) -> Option<PathBuf> {
        let (argument, rest) = self.rest.split_first()?;
        let plain = !argument.to_string_lossy().starts_with('-');
        plain.then(|| {
            self.rest = rest;
            argument.into()
        })
    }

    fn value(&mut self, option: &str, what: &'static str) -> Result<&OsStr, UsageError> {
        let missing = || UsageError::Missing(option.to_owned(), what);
        let (argument, rest) = self.rest.split_first().ok_or_else(missing)?;
        self.rest = rest;
        Ok(argument)
    }

    fn text(&mut self, option: &str, what: &'static str) -> Result<String, UsageError> {
        Ok(self.value(option, what)?.to_string_lossy().into_owned())
    }

    fn number(&mut self, option: &str) -> Result<u32, UsageError> {
        let text = self.text(option, "a number")?;
        text.parse()
            .map_err(|_| UsageError::Missing(option.to_owned(), "a number"))
    }
}

fn refused(option: &str, why: &'static str) -> UsageError {
    UsageError::Refused(option.to_owned(), why)
}

impl Parsed {
    fn errand(mut self) -> Result<Errand, UsageError> {
        if self.version {
            return Ok(Errand::Version);
        }
        if self.files.is_empty() {
            return Err(UsageError::NoFile);
        }
        if self.check {
            return Ok(Errand::Check {
                files: self.files,
                quiet: self.quiet,
                strict: self.options.strict,
                directory: self.options.directory,
            });
        }
        self.options.files = self.files;
        self.options.as_haproxy = true;
        self.options.quiet = self.quiet;
        Ok(Errand::Run {
            options: Box::new(self.options),
            background: self.background,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Errand, UsageError> {
        let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        parse(&words)
    }

    fn run(line: &str) -> (ProxyOptions, Option<bool>) {
        match parsed(line) {
            Ok(Errand::Run { options, background }) => (*options, background),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_line_of_the_tutorials_leaves_the_background_to_the_configuration() {
        let (options, background) = run("haproxy -f /etc/haproxy/haproxy.cfg");
        assert_eq!(options.files, [PathBuf::from("/etc/haproxy/haproxy.cfg")]);
        assert_eq!(background, None);
    }

    #[test]
    fn the_lines_of_debians_unit_are_understood() {
        let (options, background) = run(
            "/usr/sbin/haproxy -Ws -f /etc/haproxy/haproxy.cfg -p /run/haproxy.pid -S /run/haproxy-master.sock",
        );
        assert_eq!(background, Some(false));
        assert_eq!(options.pid_file, Some("/run/haproxy.pid".into()));
        let check = parsed("haproxy -Ws -f /etc/haproxy/haproxy.cfg -c -q -S /run/haproxy-master.sock");
        assert!(
            matches!(check, Ok(Errand::Check { quiet: true, .. })),
            "{check:?}"
        );
    }

    #[test]
    fn former_processes_end_with_the_next_option() {
        let (options, background) = run("haproxy -D -sf 12 34 -f a.cfg b.cfg -n 5");
        let pids: Vec<u32> = options.former.iter().map(|former| former.pid).collect();
        assert_eq!((pids, background), (vec![12, 34], Some(true)));
        assert_eq!(options.files.len(), 2);
        assert_eq!(options.maxconn, Some(5));
        let (options, _) = run("haproxy -f a.cfg -st 7");
        assert!(options.former.iter().all(|former| former.end));
        let (options, _) = run("haproxy -f a.cfg -sf");
        assert!(options.former.is_empty());
    }

    #[test]
    fn what_is_not_understood_is_named() {
        assert_eq!(parsed("haproxy -f a -zz"), Err(UsageError::Unknown("-zz".into())));
        assert_eq!(
            parsed("haproxy -f"),
            Err(UsageError::Missing("-f".into(), "a file"))
        );
        assert_eq!(parsed("haproxy -c"), Err(UsageError::NoFile));
        assert!(matches!(
            parsed("haproxy -f a -cc x"),
            Err(UsageError::Refused(..))
        ));
    }
}
