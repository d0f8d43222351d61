//! `warren check`, `warren import` and `haproxy -c`: files of any format, judged by the roles they are for.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use warren_broker::config as broker;
use warren_broker::daemon::default_directory;
use warren_kit::config::finding;
use warren_kit::report::{Code, Report};
use warren_proxy::config::{self as proxy, Loaded, Machine, lint};
use warren_proxy::resolve;

use crate::config;
use crate::formats::{self, Format};

/// Says what is wrong with configuration files, with carets, and with the hosts they describe together.
pub fn check(
    files: &[PathBuf],
    host: Option<&str>,
    colour: bool,
    out: &mut dyn Write,
) -> Result<Code, Report> {
    let (mut vrrp, mut code) = (Vec::new(), Code::Success);
    for file in files {
        let format = formats::of(file);
        let roles = match format {
            Format::Toml => formats::roles(file),
            Format::Keepalived => formats::Roles::VRRP,
            Format::Haproxy => formats::Roles::PROXY,
            Format::Rabbitmq => formats::Roles::BROKER,
        };
        if roles.vrrp {
            vrrp.push(file.clone());
        }
        if roles.proxy && check_proxy(file, format, host, colour, out)? != Code::Success {
            code = Code::Config;
        }
        if roles.broker && check_broker(file, format, host, colour, out)? != Code::Success {
            code = Code::Config;
        }
    }
    if !vrrp.is_empty() || files.is_empty() {
        let checked = config::check(&vrrp, host, None, out, colour)?;
        if checked != Code::Success {
            code = checked;
        }
    }
    Ok(code)
}

fn load(file: &Path, format: Format, machine: &Machine) -> Result<Loaded, proxy::ConfigError> {
    match format {
        Format::Toml => proxy::load_toml(file, machine),
        Format::Haproxy | Format::Keepalived | Format::Rabbitmq => {
            proxy::load_haproxy(&[file.to_owned()], machine)
        }
    }
}

fn check_proxy(
    file: &Path,
    format: Format,
    host: Option<&str>,
    colour: bool,
    out: &mut dyn Write,
) -> Result<Code, Report> {
    let own = config::host_name();
    let machine = Machine::here(host.unwrap_or(&own));
    let loaded = match load(file, format, &machine) {
        Ok(loaded) => loaded,
        Err(error) => {
            out.write_all(error.render(colour).as_bytes())?;
            return Ok(Code::Config);
        }
    };
    let warnings = loaded.render_warnings(colour);
    if !warnings.is_empty() {
        writeln!(out, "{warnings}")?;
    }
    let plan = &loaded.plan;
    let plural = |count: usize| if count == 1 { "" } else { "s" };
    let servers: usize = plan.backends.iter().map(|backend| backend.servers.len()).sum();
    writeln!(
        out,
        "{}: right, {} frontend{}, {servers} server{}",
        file.display(),
        plan.frontends.len(),
        plural(plan.frontends.len()),
        plural(servers)
    )?;
    let names = |name: &str| resolve::look_up(name).map_err(|error| error.to_string());
    let mut findings = lint::lint(plan, &names, machine.open_files);
    // The worst last, where the eye is.
    findings.sort_by_key(|finding| finding.severity);
    let failed = finding::print(&findings, colour, out)?;
    Ok(if failed { Code::Config } else { Code::Success })
}

fn load_broker(file: &Path, format: Format, host: &str) -> Result<broker::Loaded, broker::ConfigError> {
    let machine = broker::Machine {
        host: host.to_owned(),
        data: default_directory(),
    };
    match format {
        Format::Toml => broker::load_toml(file, &machine),
        Format::Rabbitmq | Format::Haproxy | Format::Keepalived => {
            broker::load_rabbitmq(&[file.to_owned()], &broker::Environment::default(), &machine)
        }
    }
}

fn check_broker(
    file: &Path,
    format: Format,
    host: Option<&str>,
    colour: bool,
    out: &mut dyn Write,
) -> Result<Code, Report> {
    let own = config::host_name();
    let loaded = match load_broker(file, format, host.unwrap_or(&own)) {
        Ok(loaded) => loaded,
        Err(error) => {
            out.write_all(error.render(colour).as_bytes())?;
            return Ok(Code::Config);
        }
    };
    let warnings = loaded.render_warnings(colour);
    if !warnings.is_empty() {
        writeln!(out, "{warnings}")?;
    }
    let count = loaded.plan.listeners.len();
    let plural = if count == 1 { "" } else { "s" };
    writeln!(
        out,
        "{}: right, {}, {count} listener{plural}",
        file.display(),
        loaded.plan.node
    )?;
    Ok(Code::Success)
}

/// Prints the warren.toml that another program's file means; what is wrong with it goes to standard error.
pub fn import(file: &Path, colour: bool, out: &mut dyn Write) -> Result<Code, Report> {
    let host = config::host_name();
    let translated = match formats::of(file) {
        Format::Keepalived => config::load(file, config::Format::Keepalived, &host)
            .map(|loaded| config::translate(&loaded))
            .map_err(|error| error.render(colour)),
        format @ Format::Rabbitmq => load_broker(file, format, &host)
            .map(|loaded| broker::translate(&loaded))
            .map_err(|error| error.render(colour)),
        format @ (Format::Haproxy | Format::Toml) => load(file, format, &Machine::here(&host))
            .map(|loaded| proxy::translate(&loaded))
            .map_err(|error| error.render(colour)),
    };
    match translated {
        Ok(text) => {
            out.write_all(text.as_bytes())?;
            Ok(Code::Success)
        }
        Err(text) => {
            io::stderr().write_all(text.as_bytes())?;
            Ok(Code::Config)
        }
    }
}

/// What `haproxy -c` ends with if nothing is wrong and there is nothing to do either.
const WILL_NOT_START: u8 = 2;

/// `haproxy -c`: says what is wrong, and ends with haproxy's words and status.
pub fn check_haproxy(files: &[PathBuf], quiet: bool, strict: bool, colour: bool) -> Result<ExitCode, Report> {
    let machine = Machine::here(&config::host_name());
    let mut listens = true;
    let (text, valid) = match proxy::load_haproxy(files, &machine) {
        Ok(loaded) => match resolve::look_up_all(&loaded.plan) {
            Ok(_) => {
                listens = loaded.plan.listens();
                let valid = !strict || loaded.warnings.is_empty();
                (loaded.render_warnings(colour), valid)
            }
            Err(error) => (format!("{error}\n"), false),
        },
        Err(error) => (error.render(colour), false),
    };
    if !quiet || !valid {
        io::stderr().write_all(text.as_bytes())?;
    }
    if !valid {
        return Ok(Code::Runtime.into());
    }
    if !quiet {
        if !text.is_empty() {
            writeln!(io::stdout(), "Warnings were found.")?;
        }
        let verdict = if listens {
            "Configuration file is valid"
        } else {
            "Configuration file has no error but will not start (no listener) => exit(2)."
        };
        writeln!(io::stdout(), "{verdict}")?;
    }
    Ok(if listens {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(WILL_NOT_START)
    })
}
