//! `lab`: the laboratory as a program. `lab bench vrrp` measures warren and keepalived side by side; `lab up` is the
//! demonstration that `scripts/up` starts.

mod bench;
mod up;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

const USAGE: &str = "usage: lab bench vrrp [--quick] [--only keepalived|warren] [--part failover|start|hostile|scale]... [--json FILE]

Measures the VRRP daemons in namespaces of this machine; needs root (or `unshare -Ur`), keepalived,
iproute2 and nftables, and a warren binary next to this one (or WARREN_BIN).";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["up", directory, words @ ..] => return end(up::run(Path::new(directory), words)),
        ["serve", name] => return end(up::service::serve(name).map(|()| ExitCode::SUCCESS)),
        ["keep", directory, options @ ..] => {
            let (host_address, until) = ("--host-address", "--until-stdin-ends");
            let (host_address, until) = (options.contains(&host_address), options.contains(&until));
            let kept = up::keeper::keep(Path::new(directory), host_address, until);
            return end(kept.map(|()| ExitCode::SUCCESS));
        }
        _ => {}
    }
    match parse(&arguments) {
        Ok(options) => {
            bench::run(&options);
            ExitCode::SUCCESS
        }
        Err(reason) => {
            eprintln!("{reason}\n\n{USAGE}");
            ExitCode::from(64)
        }
    }
}

fn end(result: Result<ExitCode, impl std::fmt::Display>) -> ExitCode {
    result.unwrap_or_else(|reason| {
        eprintln!("{reason}");
        ExitCode::FAILURE
    })
}

fn parse(arguments: &[String]) -> Result<bench::Options, String> {
    let mut arguments = arguments.iter().map(String::as_str);
    if (arguments.next(), arguments.next()) != (Some("bench"), Some("vrrp")) {
        return Err("only `bench vrrp` exists".to_owned());
    }
    let mut options = bench::Options::default();
    while let Some(option) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| format!("{option} needs a value"));
        match option {
            "--quick" => options.quick = true,
            "--json" => options.json = Some(PathBuf::from(value()?)),
            "--part" => options.parts.push(value()?.to_owned()),
            "--only" => options.only = Some(value()?.to_owned()),
            other => return Err(format!("unknown option {other}")),
        }
    }
    Ok(options)
}
