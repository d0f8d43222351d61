//! `lab up`: the demonstration. Two hosts share an address, a proxy on each, three brokers behind them, a client that notices.
//!
//! One process, the [`keeper`], holds the machines and answers requests on a socket in the demonstration's directory; the
//! commands here send one request each. In the foreground the keeper lives as long as the terminal's process does (its
//! standard input is a pipe from there), detached until `--down`. With the keeper, every machine ends.
//!
//! Deliberately absent: anything the product does. What is shown is what the ordinary binary prints.

pub(crate) mod keeper;
pub(crate) mod service;

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitCode, Stdio};
use std::time::Duration;

use nix::sys::signal::{SigSet, Signal};
use nix::unistd::Uid;
use serde_json::Value;
use warren_lab::warren_binary;

pub(crate) const USAGE: &str =
    "usage: scripts/up [--host-address] [--detach]   start it; Ctrl-C ends it, or with --detach:
       scripts/up --down                       end it and leave nothing behind
       scripts/up ask                          which server a client at the shared address gets, through which host
       scripts/up status                       who is active, since when and why
       scripts/up proxy HOST stop|start        the proxy on a or b dies, or is back
       scripts/up server NAME stop|start       the broker on q1, q2 or q3 dies, or is back
       scripts/up ctl NAME VERB...             what rabbitmqctl would say or do on q1, q2 or q3
       scripts/up worker HOST                  kill -9 of the daemon's worker
       scripts/up kill HOST, scripts/up boot HOST   the power fails, and is back
       scripts/up events                       what happens, live
       scripts/up shell [COMMAND...]           a shell (or one command) in the client's network";

/// Runs one command of the demonstration, which lives in `directory`.
pub(crate) fn run(directory: &Path, words: &[&str]) -> Result<ExitCode, String> {
    match words {
        ["--help" | "-h"] => {
            println!("{USAGE}");
            Ok(ExitCode::SUCCESS)
        }
        ["--down"] => print(directory, "down"),
        ["ask" | "status"] | ["worker" | "kill" | "boot", _] | ["proxy" | "server", _, "stop" | "start"] => {
            print(directory, &words.join(" "))
        }
        ["events"] => {
            for follower in follow(directory)? {
                // Followers go on until the terminal ends them.
                let _ = follower.join();
            }
            Ok(ExitCode::SUCCESS)
        }
        ["ctl", server, verb @ ..] => Err(control(directory, server, verb)?),
        ["shell", command @ ..] => Err(shell(directory, command)?),
        options => start(directory, options),
    }
}

fn start(directory: &Path, options: &[&str]) -> Result<ExitCode, String> {
    if let Some(unknown) = options
        .iter()
        .find(|option| !["--detach", "--host-address"].contains(option))
    {
        return Err(format!("unknown: {unknown}\n\n{USAGE}"));
    }
    if UnixStream::connect(keeper::socket(directory)).is_ok() {
        return Err("it is up already; end it with: scripts/up --down".to_owned());
    }
    own(directory)?;
    let detach = options.contains(&"--detach");
    // Blocked before the keeper starts, so that Ctrl-C finds somebody who ends it in order.
    let mut interrupts = SigSet::empty();
    interrupts.extend([Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP]);
    interrupts.thread_block().map_err(|error| error.to_string())?;
    let (mut keeper, lifeline) = start_keeper(directory, detach, options.contains(&"--host-address"))?;
    println!("{}", introduction(directory));
    if detach {
        return Ok(ExitCode::SUCCESS);
    }
    println!("What happens, live; Ctrl-C ends everything.");
    follow(directory)?;
    let log = directory.join("keeper.log");
    let ended = std::thread::spawn(move || {
        let ended_well = keeper.wait().is_ok_and(|status| status.success());
        if !ended_well {
            eprintln!("{}", std::fs::read_to_string(log).unwrap_or_default());
        }
        // By `--down` from elsewhere, as well.
        std::process::exit((!ended_well).into());
    });
    interrupts.wait().map_err(|error| error.to_string())?;
    println!("\nending");
    request(directory, "down")?;
    drop((lifeline, ended.join()));
    Ok(ExitCode::SUCCESS)
}

/// A directory of our own: in a place where others may write, somebody else could have made it first.
fn own(directory: &Path) -> Result<(), String> {
    let show = |error: std::io::Error| format!("{}: {error}", directory.display());
    if !directory.exists() {
        let mut builder = std::fs::DirBuilder::new();
        builder.mode(0o700).create(directory).map_err(show)?;
    }
    let owner = std::fs::symlink_metadata(directory).map_err(show)?;
    if owner.is_dir() && owner.uid() == Uid::effective().as_raw() {
        Ok(())
    } else {
        Err(format!("{} belongs to somebody else", directory.display()))
    }
}

/// The keeper is a session of its own: Ctrl-C is for this process, which then asks the keeper to end in order.
fn start_keeper(
    directory: &Path,
    detach: bool,
    host_address: bool,
) -> Result<(Child, Option<ChildStdin>), String> {
    let log = directory.join("keeper.log");
    let errors = std::fs::File::create(&log).map_err(|error| format!("{}: {error}", log.display()))?;
    let mut command = Command::new(std::env::current_exe().map_err(|error| error.to_string())?);
    command.arg("keep").arg(directory);
    command.args(host_address.then_some("--host-address"));
    command
        .stdin(if detach { Stdio::null() } else { Stdio::piped() })
        .stdout(Stdio::piped())
        .stderr(errors);
    command.args((!detach).then_some("--until-stdin-ends"));
    let mut keeper = command.spawn().map_err(|error| error.to_string())?;
    let lifeline = keeper.stdin.take();
    let mut said = String::new();
    let output = keeper.stdout.take().ok_or("the keeper has no output")?;
    BufReader::new(output)
        .read_line(&mut said)
        .map_err(|error| error.to_string())?;
    if said == keeper::READY {
        return Ok((keeper, lifeline));
    }
    let _ = keeper.wait();
    let why = std::fs::read_to_string(&log).unwrap_or_default();
    Err(format!("it does not come up:\n{why}"))
}

fn introduction(directory: &Path) -> String {
    let (vip, port, user) = (keeper::VIP, keeper::PORT, keeper::USER);
    let url = format!("--url=amqp://{user}:{user}@{vip}");
    format!(
        "Two hosts, a and b, share {vip}. Each runs a proxy: AMQP clients connect to {vip}:{port} as {user}, with the password
{user}, and get the broker on q1. Those on q2 and q3 serve while it is dead; each is a broker by itself. The statistics page is
http://{vip}:8100/ (from this machine with --host-address; else: scripts/up shell curl http://{vip}:8100/).

  scripts/up shell amqp-declare-queue {url} -d -q orders
  scripts/up shell amqp-publish {url} -r orders -p -b one
  scripts/up shell amqp-get {url} -q orders
                               a message of a client at {vip}
  scripts/up ctl q1 list_connections user peer_host
                               who is connected to a broker; ctl q1 help lists what else there is
  scripts/up ask               which server a client at {vip} gets, through which host
  scripts/up status            who is active, since when and why
  scripts/up proxy a stop      the proxy on a dies: see who answers, and what a client noticed
  scripts/up proxy a start     it is back
  scripts/up server q1 stop    a broker dies, and with start it is back with all it has confirmed
  scripts/up server q1 start
  scripts/up worker b          kill -9 of a daemon's worker: its guard starts another
  scripts/up kill a            the power of a fails; boot brings it back
  scripts/up boot a
  scripts/up events            what happens, live
  scripts/up shell             a shell in the client's network
  scripts/up --down            end

Every host runs the same file, a copy of {}\n",
        directory.join("warren.toml").display()
    )
}

/// Sends one request and answers the reply.
pub(crate) fn request(directory: &Path, line: &str) -> Result<String, String> {
    let mut stream = UnixStream::connect(keeper::socket(directory))
        .map_err(|_| "it is not up; start it with: scripts/up".to_owned())?;
    let mut reply = String::new();
    // The longest answer is a watched failure of a few seconds.
    stream
        .set_read_timeout(Some(Duration::from_secs(60)))
        .and_then(|()| stream.write_all(format!("{line}\n").as_bytes()))
        .and_then(|()| stream.read_to_string(&mut reply))
        .map_err(|error| format!("no answer to `{line}`: {error}"))?;
    match reply.split_once('\n') {
        Some((keeper::DONE, text)) => Ok(text.to_owned()),
        Some((_, text)) => Err(text.trim_end().to_owned()),
        None => Err(format!(
            "no answer to `{line}`: {} tells more",
            directory.join("keeper.log").display()
        )),
    }
}

fn print(directory: &Path, line: &str) -> Result<ExitCode, String> {
    print!("{}", request(directory, line)?);
    Ok(ExitCode::SUCCESS)
}

fn places(directory: &Path) -> Result<Value, String> {
    serde_json::from_str(&request(directory, "places")?).map_err(|error| error.to_string())
}

/// Prints the events of both daemons as they come, again and again as hosts die and boot.
fn follow(directory: &Path) -> Result<Vec<std::thread::JoinHandle<()>>, String> {
    let names = keeper::HOSTS.map(|(name, _)| name);
    places(directory)?;
    Ok(names
        .into_iter()
        .map(|name| {
            let directory = directory.to_owned();
            std::thread::spawn(move || {
                while let Ok(places) = places(&directory) {
                    if let Some(runtime) = places["hosts"][name].as_str() {
                        follow_one(name, &PathBuf::from(runtime));
                    }
                    std::thread::sleep(Duration::from_millis(200));
                }
            })
        })
        .collect())
}

fn follow_one(name: &str, runtime: &Path) {
    let follower = Command::new(warren_binary())
        .args(["events", "--follow", "--runtime-dir"])
        .arg(runtime)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    // It ends with the daemon.
    let Ok(mut follower) = follower else { return };
    if let Some(lines) = follower.stdout.take() {
        for line in BufReader::new(lines).lines().map_while(Result::ok) {
            println!("{name} | {line}");
        }
    }
    let _ = follower.wait();
}

/// Becomes `warren ctl` beside a broker; answers why it could not.
fn control(directory: &Path, server: &str, verb: &[&str]) -> Result<String, String> {
    let places = places(directory)?;
    let runtime = places["servers"][server]
        .as_str()
        .ok_or_else(|| format!("there is no server {server}, only q1, q2 and q3"))?;
    let mut control = Command::new(warren_binary());
    control.arg("ctl").args(verb).env("RUNTIME_DIRECTORY", runtime);
    Ok(format!("warren ctl: {}", control.exec()))
}

/// Becomes a shell in the client's network; answers why it could not.
fn shell(directory: &Path, command: &[&str]) -> Result<String, String> {
    let places = places(directory)?;
    let client = places["client"].as_u64().ok_or("the client is gone")?;
    let mut enter = Command::new("nsenter");
    enter.args(["--target", &client.to_string(), "--net", "--mount"]);
    if !Uid::effective().is_root() {
        enter.args(["--user", "--preserve-credentials"]);
    }
    if command.is_empty() {
        let shell = std::env::var_os("SHELL").unwrap_or_else(|| "/bin/sh".into());
        println!("the client's network; try: curl http://{}:8100/", keeper::VIP);
        enter.arg(shell);
    } else {
        enter.args(command);
    }
    Ok(format!("nsenter: {}", enter.exec()))
}
