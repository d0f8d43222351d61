//! `lab`: the laboratory as a program. `lab bench vrrp` measures warren and keepalived side by side; `lab up` is the
//! demonstration that `scripts/up` starts.

mod bench;
mod up;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use bench::comparison::Options;

const USAGE: &str = "usage: lab bench vrrp [--quick] [--only keepalived|warren] [--part failover|start|hostile|scale]... [--json FILE]
       lab bench proxy [--quick] [--row NAME]... [--only haproxy|tuned|newer|warren]... [--json FILE]
                       [--warren BINARY] [--haproxy BINARY] [--pairs N] [--seconds S] [--congestion NAME]
       lab bench broker [--quick] [--row NAME]... [--only rabbitmq|lavinmq|floor|warren]... [--json FILE]
                        [--warren BINARY] [--lavinmq BINARY] [--data DIRECTORY] [--cores N] [--samples N] [--seconds S]
                        [--congestion NAME]

Measures the daemons in namespaces of this machine; needs root (or `unshare -Ur`), keepalived, haproxy or rabbitmq-server,
iproute2 and nftables, and a warren binary next to this one (or WARREN_BIN, or --warren).";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["up", directory, words @ ..] => return end(up::run(Path::new(directory), words)),
        ["serve", name] => return end(up::service::serve(name).map(|()| ExitCode::SUCCESS)),
        ["broker", name, address, control] => {
            let served = address
                .parse()
                .map_err(std::io::Error::other)
                .and_then(|address| warren_lab::amqp::server::serve(name, address, Path::new(control)));
            return end(served.map(|()| ExitCode::SUCCESS));
        }
        ["floor", address] => {
            let served = address
                .parse()
                .map_err(std::io::Error::other)
                .and_then(bench::broker::floor::serve);
            return end(served.map(|()| ExitCode::SUCCESS));
        }
        ["keep", directory, options @ ..] => {
            let (host_address, until) = ("--host-address", "--until-stdin-ends");
            let (host_address, until) = (options.contains(&host_address), options.contains(&until));
            let kept = up::keeper::keep(Path::new(directory), host_address, until);
            return end(kept.map(|()| ExitCode::SUCCESS));
        }
        _ => {}
    }
    let (mut rest, kind) = (arguments.iter().map(String::as_str).skip(2), words.get(..2));
    let done = match kind {
        Some(["bench", "vrrp"]) => vrrp(&mut rest).map(|options| {
            bench::run(&options);
            ExitCode::SUCCESS
        }),
        Some(["bench", "proxy"]) => {
            compared(&mut rest, &PROXY).map(|options| judged(bench::proxy::run(&options)))
        }
        Some(["bench", "broker"]) => {
            compared(&mut rest, &BROKER).map(|options| judged(bench::broker::run(&options)))
        }
        _ => Err("`bench vrrp`, `bench proxy` and `bench broker` exist".to_owned()),
    };
    done.unwrap_or_else(|reason| {
        eprintln!("{reason}\n\n{USAGE}");
        ExitCode::from(64)
    })
}

/// Does everything that must hold?
fn judged(holds: Result<bool, String>) -> ExitCode {
    match holds {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            println!("\nnot everything that must hold does");
            ExitCode::FAILURE
        }
        Err(reason) => {
            eprintln!("{reason}");
            ExitCode::FAILURE
        }
    }
}

fn end(result: Result<ExitCode, impl std::fmt::Display>) -> ExitCode {
    result.unwrap_or_else(|reason| {
        eprintln!("{reason}");
        ExitCode::FAILURE
    })
}

fn vrrp<'a>(arguments: &mut impl Iterator<Item = &'a str>) -> Result<bench::Options, String> {
    let mut options = bench::Options::default();
    while let Some(option) = arguments.next() {
        match option {
            "--quick" => options.quick = true,
            "--json" => options.json = Some(path(option, arguments)?),
            "--part" => options.parts.push(value(option, arguments)?.to_owned()),
            "--only" => options.only = Some(value(option, arguments)?.to_owned()),
            other => return Err(format!("unknown option {other}")),
        }
    }
    Ok(options)
}

/// Options of one of the two that are not called the same for both, or are for one only.
const PROXY: [&str; 2] = ["--haproxy", "--pairs"];
const BROKER: [&str; 4] = ["--lavinmq", "--samples", "--data", "--cores"];

/// What proxy and broker are measured with.
fn compared<'a>(arguments: &mut impl Iterator<Item = &'a str>, own: &[&str]) -> Result<Options, String> {
    let mut options = Options::default();
    while let Some(option) = arguments.next() {
        match option {
            "--quick" => options.quick = true,
            "--json" => options.json = Some(path(option, arguments)?),
            "--warren" => options.warren = Some(path(option, arguments)?),
            "--row" => options.rows.push(value(option, arguments)?.to_owned()),
            "--only" => options.only.push(value(option, arguments)?.to_owned()),
            "--congestion" => options.congestion = Some(value(option, arguments)?.to_owned()),
            "--seconds" => options.seconds = Some(number(option, arguments)?),
            other if !own.contains(&other) => return Err(format!("unknown option {other}")),
            "--data" => options.data = Some(path(option, arguments)?),
            "--cores" => options.cores = Some(number(option, arguments)?),
            "--pairs" | "--samples" => options.samples = Some(number(option, arguments)?),
            _ => options.other = Some(path(option, arguments)?),
        }
    }
    Ok(options)
}

fn path<'a>(option: &str, arguments: &mut impl Iterator<Item = &'a str>) -> Result<PathBuf, String> {
    value(option, arguments).map(PathBuf::from)
}

fn value<'a>(option: &str, arguments: &mut impl Iterator<Item = &'a str>) -> Result<&'a str, String> {
    arguments.next().ok_or_else(|| format!("{option} needs a value"))
}

fn number<'a, N: std::str::FromStr>(
    option: &str,
    arguments: &mut impl Iterator<Item = &'a str>,
) -> Result<N, String> {
    let text = value(option, arguments)?;
    text.parse()
        .map_err(|_| format!("{option} needs a number, not {text}"))
}
