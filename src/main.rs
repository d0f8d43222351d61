//! `warren`, and what it is when called by another name: takes the command line apart and hands over.
#![forbid(unsafe_code)]

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use warren::cli::keepalived::{Errand, Keepalived};
use warren::cli::{
    BrokerVerb, Cli, Colour, Command, ConfigWhat, DocsWhat, ProxyVerb, RunVerb, haproxy, rabbitmq,
};
use warren::{checking, daemonise, docs, links, roles, run as supervisor};
use warren_broker::config::Environment;
use warren_ctl::View;
use warren_ctl::broker::{self, Tool, overview};
use warren_ctl::proxy::{self, Proxy};
use warren_ctl::run::Supervisor;
use warren_ctl::vrrp::{self as daemon, Daemon, EventsOptions};
use warren_kit::report::{Code, Report};
use warren_kit::runtime_dir;

/// keepalived's status for a configuration that cannot be run (`-t`).
const CONFIG_TEST_FAILED: u8 = 3;

fn main() -> ExitCode {
    supervisor::belong_to_supervisor();
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let called = arguments.first().map(PathBuf::from).unwrap_or_default();
    match called.file_name().and_then(OsStr::to_str) {
        Some("keepalived") => as_keepalived(&arguments),
        Some("haproxy") => as_haproxy(&arguments),
        Some("rabbitmq-server") => as_rabbitmq_server(&arguments),
        Some(name) => match Tool::of_program(name) {
            Some(tool) => as_rabbitmq_tool(tool, &arguments),
            None => as_warren(&arguments),
        },
        None => as_warren(&arguments),
    }
}

fn as_warren(arguments: &[OsString]) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => return not_understood(&error, Code::Usage.into()),
    };
    let colour = cli.color;
    run(cli).unwrap_or_else(|report| report.print("warren", colour.on_stderr()))
}

/// Help and version are asked for and go to standard output; anything else is a mistake.
fn not_understood(error: &clap::Error, code: ExitCode) -> ExitCode {
    // With a closed stream there is nobody left to tell.
    let _ = error.print();
    if error.use_stderr() {
        code
    } else {
        ExitCode::SUCCESS
    }
}

fn run(cli: Cli) -> Result<ExitCode, Report> {
    let mut out = io::stdout().lock();
    match cli.command {
        Command::Vrrp(arguments) => {
            drop(out);
            return roles::vrrp(&arguments.options());
        }
        Command::Proxy(arguments) => match arguments.verb.clone() {
            None => {
                drop(out);
                return roles::proxy(&arguments.options());
            }
            Some(verb) => return ask_proxy(&verb, &arguments.daemon(), cli.color, &mut out),
        },
        Command::Broker(arguments) => match arguments.verb {
            None => {
                drop(out);
                return roles::broker(&arguments.options());
            }
            Some(verb) => return ask_about_broker(verb, &arguments.daemon(), cli.color, &mut out),
        },
        Command::Run(arguments) => match arguments.verb.clone() {
            None => {
                drop(out);
                return supervisor::run(&arguments.options());
            }
            Some(verb) => return ask_supervisor(&verb, &arguments.daemon(), cli.color, &mut out),
        },
        Command::Ctl { words } => {
            drop(out);
            return Ok(ask_broker(Tool::Warren, &words));
        }
        Command::Check { files, host } => {
            let colour = cli.color.on_stdout();
            return Ok(checking::check(&files, host.as_deref(), colour, &mut out)?.into());
        }
        Command::Import { file } => {
            return Ok(checking::import(&file, cli.color.on_stderr(), &mut out)?.into());
        }
        Command::Links { directory, force } => {
            links::make(&std::env::current_exe()?, &directory, force, &mut out)?;
        }
        Command::Config {
            what: ConfigWhat::Default,
        } => out.write_all(docs::reference::default_file().as_bytes())?,
        Command::Docs { what } => match what {
            DocsWhat::Man { directory } => docs::man(&directory)?,
            DocsWhat::Completions { directory } => docs::completions(&directory)?,
            DocsWhat::Config { directory } => docs::config(&directory)?,
            DocsWhat::Metrics { directory } => docs::metrics(&directory)?,
        },
        conversation => return converse(conversation, cli.color, &mut out),
    }
    Ok(ExitCode::SUCCESS)
}

/// The verbs that a running daemon answers.
fn converse(command: Command, colour: Colour, out: &mut dyn Write) -> Result<ExitCode, Report> {
    let mut view = View {
        out,
        colour: colour.on_stdout(),
        json: false,
    };
    let at = |place: warren::cli::Daemon| {
        runtime_dir::for_client(place.runtime_dir.as_deref(), daemon::SOCKET)
            .map(|runtime_dir| Daemon { runtime_dir })
    };
    let answer = match command {
        Command::Status {
            router,
            json,
            daemon: place,
        } => {
            view.json = json;
            daemon::status(&at(place)?, router.as_deref(), &mut view)
        }
        Command::Why {
            router,
            json,
            daemon: place,
        } => {
            view.json = json;
            daemon::why(&at(place)?, router.as_deref(), &mut view)
        }
        Command::Events {
            router,
            follow,
            after,
            json,
            daemon: place,
        } => {
            view.json = json;
            let options = EventsOptions {
                router,
                follow,
                after,
            };
            daemon::events(&at(place)?, &options, &mut view)
        }
        Command::Drain {
            router,
            daemon: place,
        } => daemon::drain(&at(place)?, &router, &mut view),
        Command::Resume {
            router,
            daemon: place,
        } => daemon::resume(&at(place)?, &router, &mut view),
        Command::Reload { daemon: place } => daemon::reload(&at(place)?, &mut view),
        Command::Upgrade { daemon: place } => daemon::upgrade(&at(place)?, &mut view),
        other => return Err(Report::usage(format!("{other:?} is not for a running daemon"))),
    };
    finished(answer)
}

fn finished(answer: Result<(), warren_ctl::Error>) -> Result<ExitCode, Report> {
    match answer {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(error) if error.is_closed_pipe() => Ok(ExitCode::SUCCESS),
        Err(error) if error.is_permission() => Err(Report::new(Code::Permission, error)),
        Err(error) => Err(error.into()),
    }
}

/// The verbs that a running supervisor answers.
fn ask_supervisor(
    verb: &RunVerb,
    place: &warren::cli::Daemon,
    colour: Colour,
    out: &mut dyn Write,
) -> Result<ExitCode, Report> {
    let runtime_dir = runtime_dir::for_client(place.runtime_dir.as_deref(), warren_api::run::SOCKET)?;
    let at = Supervisor { runtime_dir };
    let view = &mut View {
        out,
        colour: colour.on_stdout(),
        json: matches!(verb, RunVerb::Status { json: true }),
    };
    finished(match verb {
        RunVerb::Status { .. } => warren_ctl::run::status(&at, view),
        RunVerb::Reload => warren_ctl::run::reload(&at),
    })
}

/// The verbs that a running proxy answers.
fn ask_proxy(
    verb: &ProxyVerb,
    place: &warren::cli::Daemon,
    colour: Colour,
    out: &mut dyn Write,
) -> Result<ExitCode, Report> {
    let runtime_dir = runtime_dir::for_client(place.runtime_dir.as_deref(), warren_api::proxy::SOCKET)?;
    let at = Proxy { runtime_dir };
    let view = &mut View {
        out,
        colour: colour.on_stdout(),
        json: matches!(
            verb,
            ProxyVerb::Status { json: true }
                | ProxyVerb::Why { json: true }
                | ProxyVerb::Sessions { json: true }
        ),
    };
    finished(match verb {
        ProxyVerb::Status { .. } => proxy::status(&at, view),
        ProxyVerb::Why { .. } => proxy::why(&at, view),
        ProxyVerb::Sessions { .. } => proxy::sessions(&at, view),
        ProxyVerb::Ready { backend } => proxy::ready(&at, backend.as_deref(), view),
        ProxyVerb::Drain { server } => proxy::drain(&at, server, false, view),
        ProxyVerb::Resume { server } => proxy::drain(&at, server, true, view),
        ProxyVerb::Rebalance { backend } => proxy::rebalance(&at, backend.as_deref(), view),
        ProxyVerb::Ctl { command } => proxy::ctl(&at, command, view),
        ProxyVerb::Reload => proxy::reload(&at, view),
        ProxyVerb::Upgrade => proxy::upgrade(&at, view),
    })
}

/// The verbs that a running broker answers in the manner of the other roles.
fn ask_about_broker(
    verb: BrokerVerb,
    place: &warren::cli::Daemon,
    colour: Colour,
    out: &mut dyn Write,
) -> Result<ExitCode, Report> {
    let runtime_dir = runtime_dir::for_client(place.runtime_dir.as_deref(), warren_api::broker::SOCKET)?;
    let at = overview::Broker { runtime_dir };
    let view = &mut View {
        out,
        colour: colour.on_stdout(),
        json: matches!(
            verb,
            BrokerVerb::Status { json: true } | BrokerVerb::Why { json: true }
        ),
    };
    finished(match verb {
        BrokerVerb::Status { .. } => overview::status(&at, view),
        BrokerVerb::Why { .. } => overview::why(&at, view),
        BrokerVerb::Drain => overview::drain(&at, view),
        BrokerVerb::Resume => overview::resume(&at, view),
    })
}

/// `rabbitmqctl` and its kin.
fn as_rabbitmq_tool(tool: Tool, arguments: &[OsString]) -> ExitCode {
    let words = arguments.iter().skip(1);
    let words: Vec<String> = words.map(|word| word.to_string_lossy().into_owned()).collect();
    ask_broker(tool, &words)
}

fn ask_broker(tool: Tool, words: &[String]) -> ExitCode {
    broker::run(
        tool,
        words,
        &mut broker::Surroundings {
            out: &mut io::stdout().lock(),
            err: &mut io::stderr(),
            colour: Colour::Auto.on_stdout(),
            runtime_dir: None,
        },
    )
    .into()
}

fn as_haproxy(arguments: &[OsString]) -> ExitCode {
    let errand = match haproxy::parse(arguments) {
        Ok(errand) => errand,
        Err(error) => {
            // With a closed stream there is nobody left to tell.
            let _ = write!(io::stderr(), "haproxy: {error}\n{}", haproxy::USAGE);
            return Code::Runtime.into();
        }
    };
    run_haproxy(errand, arguments).unwrap_or_else(|report| {
        report.print("haproxy", Colour::Auto.on_stderr());
        // haproxy's own status, for scripts that look.
        Code::Runtime.into()
    })
}

fn run_haproxy(errand: haproxy::Errand, arguments: &[OsString]) -> Result<ExitCode, Report> {
    match errand {
        haproxy::Errand::Version => {
            writeln!(
                io::stdout(),
                "warren {} in place of HAProxy",
                env!("CARGO_PKG_VERSION")
            )?;
            Ok(ExitCode::SUCCESS)
        }
        haproxy::Errand::Check {
            files,
            quiet,
            strict,
            directory,
        } => {
            if let Some(directory) = directory {
                std::env::set_current_dir(directory)?;
            }
            checking::check_haproxy(&files, quiet, strict, Colour::Auto.on_stderr())
        }
        haproxy::Errand::Run { options, background } => {
            let options = options.absolute()?;
            let wanted = || roles::wants_background(&options);
            if !options.daemonised && background.map_or_else(wanted, Ok)? {
                let (program, rest) = arguments
                    .split_first()
                    .ok_or("called without a name")
                    .map_err(Report::usage)?;
                return daemonise::start(program, rest, false);
            }
            if options.daemonised {
                daemonise::leave_terminal();
            }
            roles::proxy(&options)
        }
    }
}

fn as_rabbitmq_server(arguments: &[OsString]) -> ExitCode {
    let errand = match rabbitmq::parse(arguments, &Environment::ours()) {
        Ok(errand) => errand,
        Err(unknown) => {
            // With a closed stream there is nobody left to tell.
            let _ = write!(
                io::stderr(),
                "rabbitmq-server: {unknown} is not understood\n{}",
                rabbitmq::USAGE
            );
            return Code::Usage.into();
        }
    };
    run_rabbitmq_server(&errand, arguments)
        .unwrap_or_else(|report| report.print("rabbitmq-server", Colour::Auto.on_stderr()))
}

fn run_rabbitmq_server(errand: &rabbitmq::Errand, arguments: &[OsString]) -> Result<ExitCode, Report> {
    if errand.background {
        let (program, rest) = arguments
            .split_first()
            .ok_or("called without a name")
            .map_err(Report::usage)?;
        return daemonise::start(program, rest, false);
    }
    let options = errand.options.clone().absolute()?;
    if errand.daemonised {
        daemonise::leave_terminal();
    }
    roles::broker(&options)
}

fn as_keepalived(arguments: &[OsString]) -> ExitCode {
    let parsed = match Keepalived::try_parse_from(arguments) {
        Ok(parsed) => parsed,
        // keepalived's own status, for scripts that look.
        Err(error) => return not_understood(&error, Code::Runtime.into()),
    };
    keepalived(parsed, arguments)
        .unwrap_or_else(|report| report.print("keepalived", Colour::Auto.on_stderr()))
}

fn keepalived(parsed: Keepalived, arguments: &[OsString]) -> Result<ExitCode, Report> {
    let background = !parsed.dont_fork && !parsed.daemonised;
    let daemonised = parsed.daemonised;
    let without_effect = parsed.without_effect();
    match parsed.errand()? {
        Errand::Version => writeln!(
            io::stderr(),
            "warren {} in place of keepalived",
            env!("CARGO_PKG_VERSION")
        )?,
        Errand::Signal(number) => writeln!(io::stdout(), "{number}")?,
        Errand::Test { options, messages } => return test(&options.config, messages.as_deref()),
        Errand::Run(options) if background => {
            let (program, rest) = arguments
                .split_first()
                .ok_or("called without a name")
                .map_err(Report::usage)?;
            return daemonise::start(program, rest, options.log.console);
        }
        Errand::Run(mut options) => {
            if daemonised {
                *options = options.absolute()?;
                daemonise::leave_terminal();
            }
            if !without_effect.is_empty() {
                let names = without_effect.join(", ");
                writeln!(io::stderr(), "keepalived: warning: without effect here: {names}")?;
            }
            return roles::vrrp(&options);
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// `keepalived -t`
fn test(config: &Path, messages: Option<&Path>) -> Result<ExitCode, Report> {
    let config = [config.into()];
    // As the host it is, whatever name: what this machine lacks now may be there when the daemon runs.
    let host = warren::config::host_name();
    let host = Some(host.as_str());
    let checked = match messages {
        Some(file) => checking::check(&config, host, false, &mut File::create(file)?)?,
        None => checking::check(&config, host, Colour::Auto.on_stderr(), &mut io::stderr())?,
    };
    Ok(match checked {
        Code::Success => ExitCode::SUCCESS,
        _ => CONFIG_TEST_FAILED.into(),
    })
}
