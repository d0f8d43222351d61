//! `lab`: the laboratory as a program. `lab bench vrrp` measures warren and keepalived side by side.

mod bench;

use std::path::PathBuf;
use std::process::ExitCode;

const USAGE: &str = "usage: lab bench vrrp [--quick] [--only keepalived|warren] [--part failover|start|hostile|scale]... [--json FILE]

Measures the VRRP daemons in namespaces of this machine; needs root (or `unshare -Ur`), keepalived,
iproute2 and nftables, and a warren binary next to this one (or WARREN_BIN).";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
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
