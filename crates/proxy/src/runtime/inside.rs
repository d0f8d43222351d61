//! What the process has open and who does its work: `show fd`, `show threads`, `show resolvers`. In HAProxy's shape, with
//! our own facts; of what only its inside has there is nothing here.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;

use super::commands::{Answer, Request};

/// Descriptors that are listed at most.
const LISTED_MAX: usize = 100_000;

/// The one resolver there is: the system's.
const RESOLVERS: &str = "default";

/// `show fd [<number>]`.
pub(super) fn descriptors(request: &Request<'_>) -> Answer {
    let wanted = match request.argument(0) {
        "" => None,
        number => match number.parse::<u32>() {
            Ok(number) => Some(number),
            Err(_) => return Answer::nothing(),
        },
    };
    let mut open: Vec<(u32, String)> = entries("/proc/self/fd")
        .filter_map(|name| {
            let number = name.parse().ok()?;
            let target = fs::read_link(format!("/proc/self/fd/{number}")).ok()?;
            Some((number, target.display().to_string()))
        })
        .filter(|(number, _)| wanted.is_none_or(|wanted| wanted == *number))
        .take(LISTED_MAX)
        .collect();
    open.sort_unstable();
    let sockets = sockets();
    let mut text = String::new();
    for (number, target) in open {
        let inode = target
            .strip_prefix("socket:[")
            .and_then(|rest| rest.strip_suffix(']'));
        let what = match inode {
            Some(inode) => sockets
                .get(inode)
                .cloned()
                .unwrap_or_else(|| "fam=unknown".to_owned()),
            None => format!("file={target}"),
        };
        let _ = writeln!(text, " {number:6} : {what}");
    }
    Answer::Text(text)
}

fn entries(directory: &str) -> impl Iterator<Item = String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok())
}

/// What every socket of this network namespace is, by its number.
fn sockets() -> HashMap<String, String> {
    let mut sockets = HashMap::new();
    for (file, family) in [
        ("tcp", "ipv4"),
        ("tcp6", "ipv6"),
        ("udp", "ipv4"),
        ("udp6", "ipv6"),
    ] {
        let text = fs::read_to_string(Path::new("/proc/self/net").join(file)).unwrap_or_default();
        for line in text.lines().skip(1) {
            if let Some((inode, what)) = internet(line, family) {
                sockets.insert(inode, what);
            }
        }
    }
    for line in fs::read_to_string("/proc/self/net/unix")
        .unwrap_or_default()
        .lines()
        .skip(1)
    {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        if let Some(inode) = words.get(6) {
            let path = words.get(7).map_or(String::new(), |path| format!(" path={path}"));
            sockets.insert((*inode).to_owned(), format!("fam=unix{path}"));
        }
    }
    sockets
}

/// A line of `/proc/net/tcp`: `sl local:port remote:port state ... inode`, in hexadecimal.
fn internet(line: &str, family: &str) -> Option<(String, String)> {
    const LISTENING: &str = "0A";
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    let port = |place: usize| u16::from_str_radix(words.get(place)?.rsplit_once(':')?.1, 16).ok();
    let (local, remote) = (port(1)?, port(2)?);
    let what = if words.get(3) == Some(&LISTENING) {
        format!("l.st=RDY fam={family} lport={local}")
    } else {
        format!("fam={family} lport={local} rport={remote}")
    };
    Some(((*words.get(9)?).to_owned(), what))
}

/// `show threads`: the workers.
pub(super) fn threads(request: &Request<'_>) -> Answer {
    let tasks: HashMap<String, String> = entries("/proc/self/task")
        .filter_map(|task| {
            let name = fs::read_to_string(format!("/proc/self/task/{task}/comm")).ok()?;
            Some((name.trim_end().to_owned(), task))
        })
        .collect();
    let loads = request.context.workers.loads();
    let mut text = String::new();
    for (worker, sessions) in loads.iter().enumerate() {
        let task = tasks.get(&format!("worker-{worker}")).map_or("0", String::as_str);
        // Nanoseconds on a processor come first (proc(5), schedstat).
        let spent = fs::read_to_string(format!("/proc/self/task/{task}/schedstat")).unwrap_or_default();
        let spent = spent
            .split(' ')
            .next()
            .unwrap_or_default()
            .parse::<u64>()
            .unwrap_or(0);
        let number = worker + 1;
        let _ = writeln!(
            text,
            "  Thread {number:<2}: id={task} act={} glob=0 wq={sessions} rq=0 tl=0 tlsz=0 rqsz=0\n      \
             1/{number:<2}   stuck=0 prof=0 harmless=0 wantrdv=0\n             cpu_ns: poll={spent} now={spent} diff=0",
            u8::from(*sessions > 0),
        );
    }
    Answer::Text(text)
}

/// `show resolvers [<id>]`.
pub(super) fn resolvers(request: &Request<'_>) -> Answer {
    if !["", RESOLVERS].contains(&request.argument(0)) {
        return Answer::line("Can't find that resolvers section");
    }
    let live = &request.context.live;
    let (asked, failed) = (
        live.resolutions.load(Relaxed),
        live.failed_resolutions.load(Relaxed),
    );
    let mut text = format!("Resolvers section {RESOLVERS}\n nameserver system:\n");
    for (name, count) in [
        ("sent", asked),
        ("snd_error", 0),
        ("valid", asked.saturating_sub(failed)),
        ("update", 0),
        ("cname", 0),
        ("cname_error", 0),
        ("any_err", failed),
        ("nx", 0),
        ("timeout", 0),
        ("refused", 0),
        ("other", 0),
        ("invalid", 0),
        ("too_big", 0),
        ("truncated", 0),
        ("outdated", 0),
    ] {
        let _ = writeln!(text, "  {:<13}{count}", format!("{name}:"));
    }
    Answer::Text(text)
}
