//! Every flag of the `warren` command, in one place: help texts, man pages and completions come from here.
//!
//! What a flag means is in the words of the operator; what it does is elsewhere (`main.rs` dispatches). The name
//! `keepalived` takes that program's own options instead: [`keepalived`].

mod broker;
pub mod haproxy;
pub mod keepalived;
mod proxy;
pub mod rabbitmq;
mod run;
mod vrrp;

use std::io::{self, IsTerminal};
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use warren_kit::terminal::wants_colour;

pub use broker::{BrokerArguments, BrokerOptions, BrokerVerb};
pub use proxy::{APART, Former, ProxyArguments, ProxyOptions, ProxyVerb};
pub use run::{RunArguments, RunOptions, RunVerb};
pub use vrrp::{Log, Mode, VrrpArguments, VrrpOptions};

/// One highly available message broker: virtual addresses that move to a living host when theirs dies.
#[derive(Debug, Parser)]
#[command(
    name = "warren",
    version,
    arg_required_else_help = true,
    disable_help_subcommand = true
)]
#[command(
    after_help = "Exit status: 0 done, 1 not done, 64 wrong command line, 77 not allowed, 78 wrong configuration."
)]
pub struct Cli {
    /// Colour the output: on a terminal, always or never.
    #[arg(long, global = true, value_enum, default_value_t, value_name = "WHEN")]
    pub color: Colour,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the failover daemon in the foreground.
    Vrrp(VrrpArguments),
    /// Run the proxy in the foreground, or ask a running one.
    Proxy(ProxyArguments),
    /// Run the message broker in the foreground. Without a configuration file it serves on port 5672.
    Broker(BrokerArguments),
    /// Run every role that the configuration file has, each in a process of its own: for containers, and to try things out.
    Run(RunArguments),
    /// Ask a running broker or change what it has, in rabbitmqctl's words; `warren ctl help` lists them.
    #[command(disable_help_flag = true)]
    Ctl {
        /// The verb, its arguments and options.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "WORDS")]
        words: Vec<String>,
    },
    /// Say what is wrong with configuration files; with the files of several hosts, with them together.
    Check {
        /// warren.toml, keepalived.conf, haproxy.cfg or rabbitmq.conf, one for each host.
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        /// Check warren.toml as this host sees it [default: this host's name].
        #[arg(long, value_name = "NAME")]
        host: Option<String>,
    },
    /// Print the warren.toml that a keepalived.conf, haproxy.cfg or rabbitmq.conf means.
    Import {
        /// The keepalived.conf, haproxy.cfg or rabbitmq.conf.
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Show who is active, since when and why, priorities, peers, checks and addresses.
    Status {
        /// Only this router.
        #[arg(value_name = "ROUTER")]
        router: Option<String>,
        /// Print the daemon's answer as JSON.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        daemon: Daemon,
    },
    /// Explain in sentences why a router is in its state.
    Why {
        /// Only this router.
        #[arg(value_name = "ROUTER")]
        router: Option<String>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        daemon: Daemon,
    },
    /// Show what happened.
    Events {
        /// Only this router.
        #[arg(value_name = "ROUTER")]
        router: Option<String>,
        /// Go on with what happens from now, until interrupted.
        #[arg(short, long)]
        follow: bool,
        /// Only events after the one of this number.
        #[arg(long, value_name = "NUMBER")]
        after: Option<u64>,
        /// Print one JSON object per line.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        daemon: Daemon,
    },
    /// Maintenance: give a router's role to another host and take no part until resumed.
    Drain {
        /// The virtual router, as `warren status` names it.
        #[arg(value_name = "ROUTER")]
        router: String,
        #[command(flatten)]
        daemon: Daemon,
    },
    /// End the maintenance that `drain` began.
    Resume {
        /// The virtual router, as `warren status` names it.
        #[arg(value_name = "ROUTER")]
        router: String,
        #[command(flatten)]
        daemon: Daemon,
    },
    /// Read the configuration again; all of it is applied, or nothing.
    Reload {
        #[command(flatten)]
        daemon: Daemon,
    },
    /// Go on with the binary that is installed now; roles and addresses stay.
    Upgrade {
        #[command(flatten)]
        daemon: Daemon,
    },
    /// Make links by which this program answers to the names of those it replaces.
    Links {
        /// Where to make them, e.g. /usr/local/sbin.
        #[arg(value_name = "DIR")]
        directory: PathBuf,
        /// Replace a link that leads to another copy of this program. Anything else is never replaced.
        #[arg(long)]
        force: bool,
    },
    /// Print a configuration file with every key, its meaning and its default.
    Config {
        #[command(subcommand)]
        what: ConfigWhat,
    },
    /// Write the man pages, the shell completions, or the reference of configuration or metrics.
    Docs {
        #[command(subcommand)]
        what: DocsWhat,
    },
}

/// Which daemon to speak to.
#[derive(Debug, Clone, Args)]
pub struct Daemon {
    /// The daemon's runtime directory [default: $RUNTIME_DIRECTORY, or /run/warren].
    #[arg(long, value_name = "DIR")]
    pub runtime_dir: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Subcommand)]
pub enum ConfigWhat {
    /// The failover daemon's keys, all of them comments.
    Default,
}

#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum DocsWhat {
    /// One page for each command.
    Man {
        #[arg(value_name = "DIR")]
        directory: PathBuf,
    },
    /// For bash, zsh and fish.
    Completions {
        #[arg(value_name = "DIR")]
        directory: PathBuf,
    },
    /// `config.md`, and a page for each format that is understood besides.
    Config {
        #[arg(value_name = "DIR")]
        directory: PathBuf,
    },
    /// `metrics.md`.
    Metrics {
        #[arg(value_name = "DIR")]
        directory: PathBuf,
    },
}

/// When to colour.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Colour {
    #[default]
    Auto,
    Always,
    Never,
}

impl Colour {
    /// Whether to colour what goes to standard output.
    #[must_use]
    pub fn on_stdout(self) -> bool {
        self.on(&io::stdout())
    }

    /// Whether to colour what goes to standard error.
    #[must_use]
    pub fn on_stderr(self) -> bool {
        self.on(&io::stderr())
    }

    fn on(self, stream: &impl IsTerminal) -> bool {
        match self {
            Self::Auto => wants_colour(stream),
            Self::Always => true,
            Self::Never => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
        keepalived::Keepalived::command().debug_assert();
    }

    #[test]
    fn colour_may_be_chosen_after_the_verb() {
        let cli = Cli::try_parse_from(["warren", "status", "--color", "never"]).unwrap();
        assert_eq!(cli.color, Colour::Never);
        let file = tempfile::tempfile().unwrap();
        assert!(!cli.color.on(&file));
        assert!(Colour::Always.on(&file));
        assert!(!Colour::Auto.on(&file));
    }

    #[test]
    fn check_wants_a_file_and_drain_a_router() {
        for line in [
            &["warren", "check"][..],
            &["warren", "drain"],
            &["warren", "import"],
        ] {
            assert!(Cli::try_parse_from(line).is_err(), "{line:?}");
        }
    }
}
