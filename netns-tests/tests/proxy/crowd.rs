//! Changes of configuration and binary while thousands of sessions stand and hundreds of them are in the middle of
//! something: none is cut, none refused, no octet lost, and memory stays where it is.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use warren_lab::{Load, Session, warren_binary};

use super::limits::{as_many_as_may_be, crowd, with_room};
use super::upgrade::Installed;
use super::{CHECK, PATIENCE};

/// Sessions that are never silent.
const TALKING: usize = 300;
const RELOADS: usize = 4;
const UPGRADES: usize = 3;
/// Octets of memory for each session in a process that has taken them all over, what the handing over needed at its height
/// included.
const EACH: u64 = 1500;

#[test]
fn reloads_and_upgrades_among_eight_thousand_sessions_harm_none() {
    let sessions = as_many_as_may_be();
    let mut installed = Installed::start_with(CHECK, |text| with_room(&text));
    let place = &installed.place;
    let empty = memory(&installed, "VmRSS");
    let mut standing = crowd(place, sessions);
    let mut talking = standing.split_off(sessions - TALKING);
    let over = AtomicBool::new(false);
    let coming = Load::start(&place.client, place.entry(), 4, 2);

    let exchanged: Vec<u64> = std::thread::scope(|scope| {
        let talking: Vec<_> = talking
            .iter_mut()
            .enumerate()
            .map(|(number, session)| {
                scope.spawn({
                    let over = &over;
                    move || talk(session, number, over)
                })
            })
            .collect();
        for number in 0..RELOADS {
            reload(&installed, number);
        }
        for number in 0..UPGRADES {
            let before = installed.answering();
            let start = Instant::now();
            let said = installed.upgrade();
            let text = String::from_utf8_lossy(&said.stdout).into_owned();
            assert!(said.status.success(), "{said:?}");
            println!("upgrade {number}, {:?}: {}", start.elapsed(), text.trim());
            assert!(text.contains(", 0 stay"), "{text}");
            assert_ne!(installed.answering(), before);
            // Those who come and go are some more.
            let current = current(&installed);
            assert!((sessions..sessions + 20).contains(&current), "{current}");
            let most = memory(&installed, "VmHWM");
            let each = most.saturating_sub(empty) / sessions as u64;
            println!("{empty} octets when empty, {most} at most: {each} for each session");
            assert!(each < EACH, "{each} octets for each session");
        }
        // The process that answers now reloads as well as the first one did.
        reload(&installed, 0);
        over.store(true, Ordering::Relaxed);
        talking
            .into_iter()
            .map(|talking| talking.join().unwrap())
            .collect()
    });

    let report = coming.stop();
    assert!(report.is_clean() && report.opened > 20, "{report:?}");
    assert!(exchanged.iter().all(|count| *count > 10), "{exchanged:?}");
    for session in standing.iter_mut().chain(&mut talking) {
        session.exchange(500).unwrap();
    }
    assert!(installed.first.wait(PATIENCE).success());
    println!(
        "{} frames of {TALKING} sessions, {report:?}",
        exchanged.iter().sum::<u64>()
    );
}

/// Sends and compares until it is over. Says how many frames came back.
fn talk(session: &mut Session, number: usize, over: &AtomicBool) -> u64 {
    let mut done = 0;
    while !over.load(Ordering::Relaxed) {
        // Most fit into one packet; some are longer than every buffer on the way.
        let length = match (number + done) % 50 {
            0 => 120_000,
            1..=5 => 20_000,
            odd => 100 * odd,
        };
        session
            .exchange(length)
            .unwrap_or_else(|error| panic!("session {number}, frame {done}: {error}"));
        done += 1;
    }
    done as u64
}

/// Another configuration, as the unit's `systemctl reload` asks for it.
fn reload(installed: &Installed, number: usize) {
    let place = &installed.place;
    let texts = [
        place.configuration(
            "timeout queue 7s",
            "balance leastconn",
            "check inter 300ms rise 2 fall 3",
        ),
        place.configuration("", "", &format!("{CHECK} weight 7 maxconn 9000")),
        place.configuration("", "", CHECK).replace(
            "server rabbitmq3",
            "server another 10.77.0.5:5672 check\n    server rabbitmq3",
        ),
        place.configuration("", "", CHECK),
    ];
    place
        .proxy
        .write("haproxy.cfg", &with_room(&texts[number % texts.len()]));
    let start = Instant::now();
    place
        .proxy
        .sh(&format!("{} proxy reload", warren_binary().display()));
    println!("reload {number}: {:?}", start.elapsed());
}

/// Sessions of the process that answers.
fn current(installed: &Installed) -> usize {
    let ask = format!(
        "echo 'show info' | socat -t 10 - {} | sed -n 's/^CurrConns: //p'",
        warren_lab::Proxy::socket(&installed.place.proxy).display()
    );
    let said = installed.place.proxy.sh(&ask);
    said.trim().parse().unwrap()
}

/// Octets of the process that answers.
fn memory(installed: &Installed, which: &str) -> u64 {
    let line = format!(
        "sed -n 's/^{which}:\\s*\\([0-9]*\\) kB/\\1/p' /proc/{}/status",
        installed.answering()
    );
    installed.place.proxy.sh(&line).trim().parse::<u64>().unwrap() * 1024
}
