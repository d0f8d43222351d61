//! The thread against the real kernel, in a namespace with the two ends of one cable: `v0` ours, `v1` the others'.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read};
use std::net::IpAddr;
use std::os::fd::AsRawFd;

use nix::net::if_::if_nametoindex;
use socket2::{Domain, Protocol, Socket, Type};

use super::*;
use crate::config::plan::AnnouncePlan;
use crate::frames::{ArpForm, Mac, gratuitous_arp};
use crate::namespace::{eventually, in_namespace, ip};
use crate::netlink::{Address, Batch, leftovers};

const MAC: Mac = [0x02, 0, 0, 0, 0, 1];
const SECOND: Duration = Duration::from_secs(1);

struct Stage {
    ifindex: u32,
    plumbing: Plumbing,
    reports: mpsc::Receiver<Report>,
    thread: JoinHandle<()>,
    sniffer: Socket,
    netlink: Netlink,
}

impl Stage {
    fn set() -> Self {
        ip("link add v0 address 02:00:00:00:00:01 type veth peer name v1");
        for interface in ["lo", "v0", "v1"] {
            ip(&format!("link set {interface} up"));
        }
        eventually(SECOND, || {
            let state = std::fs::read_to_string("/sys/class/net/v0/operstate");
            let state = state.unwrap_or_else(|_| ip("-o link show v0"));
            if state.contains("up") || state.contains("state UP") {
                Ok(())
            } else {
                Err(state)
            }
        });
        Self::resume()
    }

    fn resume() -> Self {
        Self::resume_with(Options::default())
    }

    fn resume_with(options: Options) -> Self {
        let (plumbing, reports, thread) = Plumbing::start(options).unwrap();
        let sniffer = Socket::new(
            Domain::PACKET,
            Type::RAW,
            Some(Protocol::from(i32::from(0x0806_u16.to_be()))),
        )
        .unwrap();
        let links = nix::ifaddrs::getifaddrs().unwrap();
        let v1 = links
            .filter(|link| link.interface_name == "v1")
            .find_map(|link| link.address)
            .unwrap();
        nix::sys::socket::bind(sniffer.as_raw_fd(), v1.as_link_addr().unwrap()).unwrap();
        sniffer.set_recv_buffer_size(32 << 20).unwrap();
        sniffer.set_read_timeout(Some(SECOND)).unwrap();
        let ifindex = if_nametoindex("v0").unwrap();
        Self {
            ifindex,
            plumbing,
            reports,
            thread,
            sniffer,
            netlink: Netlink::open().unwrap(),
        }
    }

    fn holding(&self, addresses: &[&str]) -> Holding {
        Holding {
            addresses: addresses.iter().map(|text| held(self.ifindex, text)).collect(),
            routes: Vec::new(),
            rules: Vec::new(),
            announce: AnnouncePlan {
                rounds: vec![Duration::ZERO],
                repeat: 1,
                refresh: None,
                refresh_repeat: 1,
                lower_priority_rounds: vec![Duration::ZERO],
                lower_priority_repeat: 1,
                gap: Duration::ZERO,
                arp_request: true,
                arp_reply: false,
            },
            lease: Some(SECOND),
        }
    }

    fn report(&mut self) -> Report {
        let mut report = None;
        eventually(10 * SECOND, || {
            report = self.reports.try_recv().ok();
            report.as_ref().map(|_| ()).ok_or_else(|| "no report".to_owned())
        });
        report.unwrap()
    }

    fn released(&mut self, router: usize) {
        self.plumbing.release(router);
        match self.report() {
            Report::Released {
                router: released,
                refusals,
                ..
            } if released == router && refusals.is_empty() => {}
            other => panic!("{other:?}"),
        }
    }

    fn claim(&mut self, router: usize) {
        self.plumbing.claim(router);
        match self.report() {
            Report::Claimed {
                router: claimed,
                refusals,
                ..
            } if claimed == router && refusals.is_empty() => {}
            other => panic!("{other:?}"),
        }
    }

    fn held(&mut self) -> BTreeSet<IpAddr> {
        leftovers(&mut self.netlink)
            .unwrap()
            .into_iter()
            .map(|address| address.address)
            .collect()
    }

    /// The next frame on the cable.
    fn frame(&self) -> Vec<u8> {
        let mut buffer = [0; 2000];
        let length = (&self.sniffer)
            .read(&mut buffer)
            .expect("an announcement within a second");
        buffer[..length].to_vec()
    }

    /// No frame is waiting.
    fn silent(&self) -> bool {
        self.sniffer.set_nonblocking(true).unwrap();
        let nothing = (&self.sniffer).read(&mut [0; 2000]).is_err();
        self.sniffer.set_nonblocking(false).unwrap();
        nothing
    }

    fn strike(self) {
        self.plumbing.stop();
        self.thread.join().unwrap();
    }
}

fn held(ifindex: u32, text: &str) -> Held {
    let (address, prefix) = text.split_once('/').unwrap();
    let address = Address {
        ifindex,
        ..Address::bare(0, address.parse().unwrap(), prefix.parse().unwrap())
    };
    Held {
        address,
        mac: MAC,
        forwarding: false,
    }
}

fn set(addresses: &[&str]) -> BTreeSet<IpAddr> {
    addresses.iter().map(|text| text.parse().unwrap()).collect()
}

#[test]
fn a_claim_adds_and_announces_and_a_release_removes() {
    in_namespace(|| {
        let mut stage = Stage::set();
        stage
            .plumbing
            .install(7, stage.holding(&["10.9.0.1/24", "fd99::1/64"]));
        stage.claim(7);
        assert_eq!(stage.held(), set(&["10.9.0.1", "fd99::1"]));
        assert_eq!(
            stage.frame(),
            gratuitous_arp(MAC, "10.9.0.1".parse().unwrap(), ArpForm::Request)
        );
        assert_eq!(stage.plumbing.figures().addresses_held.load(Relaxed), 2);
        stage.released(7);
        assert_eq!(stage.held(), set(&[]));
        assert!(stage.silent());
        stage.strike();
    });
}

#[test]
fn claimed_addresses_outlive_their_lease_and_expire_when_the_thread_is_gone() {
    in_namespace(|| {
        let mut stage = Stage::set();
        stage
            .plumbing
            .install(7, stage.holding(&["10.9.0.1/32", "fd99::1/128"]));
        stage.claim(7);
        let start = Instant::now();
        while start.elapsed() < Duration::from_millis(2500) {
            assert_eq!(stage.held().len(), 2, "after {:?}", start.elapsed());
            std::thread::sleep(Duration::from_millis(20));
        }
        let figures = stage.plumbing.figures();
        assert!(
            (14..=18).contains(&figures.addresses_renewed.load(Relaxed)),
            "{figures:?}"
        );
        stage.plumbing.stop();
        stage.thread.join().unwrap();
        println!("{:?}", stage.plumbing.shared.figures);
        let (start, mut netlink) = (Instant::now(), Netlink::open().unwrap());
        eventually(Duration::from_millis(2500), || {
            let left = leftovers(&mut netlink).unwrap();
            if left.is_empty() {
                Ok(())
            } else {
                Err(format!("{left:?}"))
            }
        });
        println!("expired {:?} after the end of the thread", start.elapsed());
    });
}

#[test]
fn an_address_that_was_there_before_us_is_neither_renewed_nor_deleted() {
    in_namespace(|| {
        let mut stage = Stage::set();
        ip("address add 10.9.0.1/24 dev v0");
        stage
            .plumbing
            .install(7, stage.holding(&["10.9.0.1/24", "10.9.0.2/24"]));
        stage.plumbing.claim(7);
        let Report::Claimed {
            refusals,
            announced: Some(_),
            ..
        } = stage.report()
        else {
            panic!()
        };
        assert_eq!(
            refusals,
            [Refusal {
                what: "adding 10.9.0.1/24".to_owned(),
                errno: Errno::EEXIST
            }]
        );
        eventually(SECOND, || {
            match stage.plumbing.figures().addresses_renewed.load(Relaxed) {
                0 => Err("nothing renewed".to_owned()),
                _ => Ok(()),
            }
        });
        assert!(ip("address show dev v0").contains("10.9.0.1/24 scope global v0\n       valid_lft forever"));
        stage.released(7);
        let after = ip("address show dev v0");
        assert!(
            after.contains("10.9.0.1/24") && !after.contains("10.9.0.2"),
            "{after}"
        );
        stage.strike();
    });
}

#[test]
fn leftovers_are_adopted_by_a_claim_and_swept_otherwise() {
    in_namespace(|| {
        let mut stage = Stage::set();
        let mut earlier = Batch::new();
        for text in ["10.9.0.1/32", "10.9.0.2/32"] {
            held(stage.ifindex, text).address.add(None, &mut earlier);
        }
        assert_eq!(stage.netlink.run(&mut earlier).unwrap(), []);
        stage.strike();
        let mut stage = Stage::resume();
        stage.plumbing.install(7, stage.holding(&["10.9.0.1/32"]));
        stage.claim(7);
        stage.plumbing.sweep();
        assert_eq!(
            stage.report(),
            Report::Swept {
                addresses: 1,
                routes_and_rules: 0
            }
        );
        assert_eq!(stage.held(), set(&["10.9.0.1"]));
        let adopted = ip("address show dev v0");
        assert!(
            adopted.contains("valid_lft 1sec"),
            "it has a lease now: {adopted}"
        );
        stage.strike();
    });
}

#[test]
fn a_new_holding_changes_only_what_differs() {
    in_namespace(|| {
        let mut stage = Stage::set();
        let forever = |holding| Holding {
            lease: None,
            ..holding
        };
        let first = stage.holding(&["10.9.0.1/32", "10.9.0.2/32", "fd99::1/128"]);
        stage.plumbing.install(7, forever(first));
        stage.claim(7);
        let mut monitor = monitor();
        let second = stage.holding(&["10.9.0.1/32", "10.9.0.3/32", "fd99::1/64"]);
        stage.plumbing.install(7, forever(second));
        let lines = BufReader::new(monitor.stdout.take().unwrap())
            .lines()
            .map(Result::unwrap);
        let mut changes = Vec::new();
        for line in lines {
            let words: Vec<_> = line
                .split_whitespace()
                .filter(|word| *word != "Deleted")
                .collect();
            let verb = if line.starts_with("Deleted") { '-' } else { '+' };
            changes.push(format!("{verb}{}", words[3]));
            if changes.last().is_some_and(|last| last == "-10.9.0.2/32") {
                break;
            }
        }
        monitor.kill().unwrap();
        monitor.wait().unwrap();
        // The kernel tells of IPv6 changes from a worker, at any later time.
        changes.retain(|change| !change.contains("fd99"));
        assert_eq!(changes, ["+10.9.0.3/32", "-10.9.0.2/32"]);
        assert_eq!(stage.held(), set(&["10.9.0.1", "10.9.0.3", "fd99::1"]));
        stage.released(7);
        assert_eq!(stage.held(), set(&[]));
        stage.strike();
    });
}

/// `ip monitor address`, listening.
fn monitor() -> std::process::Child {
    let mut command = std::process::Command::new("ip");
    let child = command
        .args(["-o", "monitor", "address"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let pid = child.id();
    eventually(SECOND, || {
        let sockets = std::fs::read_to_string("/proc/thread-self/net/netlink").unwrap();
        // Column 3 is the port, which for the first socket of a process is its id; column 4 the groups.
        let listening = sockets
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>());
        let mut listening =
            listening.filter(|fields| fields[2] == pid.to_string() && fields[3] != "00000000");
        listening.next().map(|_| ()).ok_or(sockets)
    });
    child
}

#[test]
fn a_repair_puts_back_what_was_deleted_but_not_after_a_release() {
    in_namespace(|| {
        let mut stage = Stage::set();
        let mut holding = stage.holding(&["10.9.0.1/32"]);
        holding.lease = None;
        stage.plumbing.install(7, holding);
        stage.claim(7);
        ip("address del 10.9.0.1/32 dev v0");
        stage.plumbing.repair(7);
        assert!(
            matches!(stage.report(), Report::Repaired { router: 7, refusals, .. } if refusals.is_empty())
        );
        assert_eq!(stage.held(), set(&["10.9.0.1"]));
        stage.released(7);
        stage.plumbing.repair(7);
        stage.plumbing.sweep();
        assert!(matches!(stage.report(), Report::Swept { .. }));
        assert_eq!(stage.held(), set(&[]));
        stage.strike();
    });
}

#[test]
fn a_claim_for_a_router_not_yet_installed_is_carried_out_with_its_installation() {
    in_namespace(|| {
        let mut stage = Stage::set();
        stage.plumbing.claim(7);
        stage.plumbing.claim(ROUTERS);
        stage.plumbing.install(7, stage.holding(&["10.9.0.1/32"]));
        assert!(matches!(stage.report(), Report::Claimed { router: 7, .. }));
        stage.plumbing.remove(7);
        assert!(matches!(stage.report(), Report::Released { router: 7, .. }));
        assert_eq!(stage.held(), set(&[]));
        stage.strike();
    });
}

#[test]
fn roles_asked_for_while_the_queue_is_full_are_taken_up_afterwards() {
    in_namespace(|| {
        let mut stage = Stage::set();
        stage.plumbing.install(1, stage.holding(&["10.9.0.1/32"]));
        stage.plumbing.install(2, stage.holding(&["10.9.0.2/32"]));
        stage.claim(2);
        // Some thousand announcements of a router that is not held keep the thread busy for long enough.
        let mut overflowed = false;
        for _ in 0..200 * COMMANDS {
            stage.plumbing.announce(1, Cause::Requested);
            if stage.plumbing.shared.missed.load(Relaxed) {
                stage.plumbing.claim(1);
                stage.plumbing.release(2);
                overflowed = true;
                break;
            }
        }
        assert!(overflowed, "the queue never filled");
        eventually(SECOND, || {
            let held = stage.held();
            if held == set(&["10.9.0.1"]) {
                Ok(())
            } else {
                Err(format!("{held:?}"))
            }
        });
        stage.strike();
    });
}

/// When the kernel ends a lease of one second, by the phase of the second in which it was given.
#[test]
#[ignore = "a measurement, not a rule"]
fn measured_expiry_by_phase() {
    in_namespace(|| {
        ip("link set lo up");
        let mut netlink = Netlink::open().unwrap();
        for i in 0..20 {
            let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
            let wait = (i * 50_000_000 + 1_000_000_000 - now.tv_nsec) % 1_000_000_000;
            std::thread::sleep(Duration::from_nanos(wait as u64));
            let mut batch = Batch::new();
            held(1, "10.9.0.1/32").address.renew(Some(SECOND), &mut batch);
            held(1, "fd99::1/128").address.renew(Some(SECOND), &mut batch);
            let start = Instant::now();
            netlink.run(&mut batch).unwrap();
            let (mut v4, mut v6) = (None, None);
            while v4.is_none() || v6.is_none() {
                std::thread::sleep(Duration::from_millis(1));
                let left = leftovers(&mut netlink).unwrap();
                if !left.iter().any(|a| a.address.is_ipv4()) {
                    v4.get_or_insert_with(|| start.elapsed());
                }
                if !left.iter().any(|a| a.address.is_ipv6()) {
                    v6.get_or_insert_with(|| start.elapsed());
                }
            }
            println!(
                "phase {:.2}: IPv4 {:?} IPv6 {:?}",
                i as f64 / 20.0,
                v4.unwrap(),
                v6.unwrap()
            );
        }
    });
}

/// Mass claim of 255 routers of 20 addresses each, and single claims, in a release build.
#[test]
#[ignore = "a measurement, not a rule"]
fn measured_claims() {
    in_namespace(|| {
        let mut stage = Stage::set();
        for router in 0..255 {
            let addresses: Vec<_> = (1..=20).map(|i| format!("10.9.{router}.{i}/32")).collect();
            let texts: Vec<_> = addresses.iter().map(String::as_str).collect();
            stage.plumbing.install(router, stage.holding(&texts));
        }
        // Other reports, such as of a longer lease, come in between.
        let claimed = |stage: &mut Stage| loop {
            if let Report::Claimed {
                router,
                elapsed,
                announced,
                ..
            } = stage.report()
            {
                return (router, elapsed, announced.unwrap());
            }
        };
        for _ in 0..5 {
            stage.plumbing.claim(3);
            println!("one router of 20: {:?}", claimed(&mut stage));
            stage.released(3);
            std::thread::sleep(Duration::from_millis(20));
        }
        for round in 0..2 {
            let (cpu, start) = (process_cpu(), Instant::now());
            (0..255).for_each(|router| stage.plumbing.claim(router));
            let sent = start.elapsed();
            let announced: Vec<_> = (0..255).map(|_| claimed(&mut stage).2).collect();
            let frames = stage.plumbing.figures().frames_sent.load(Relaxed);
            println!(
                "round {round}: 255 routers of 20: commands {sent:?}, announced 1st {:?} 64th {:?} 128th {:?} last {:?}, cpu {:?}, frames {frames}",
                announced[0],
                announced[63],
                announced[127],
                announced[254],
                process_cpu() - cpu
            );
            let (cpu, start) = (process_cpu(), Instant::now());
            std::thread::sleep(Duration::from_secs(8));
            println!(
                "renewing: {:.2} % of a core of the process, figures {:?}",
                (process_cpu() - cpu).as_secs_f64() / start.elapsed().as_secs_f64() * 100.0,
                stage.plumbing.figures()
            );
            while stage.reports.try_recv().is_ok() {}
            let start = Instant::now();
            (0..255).for_each(|router| stage.plumbing.release(router));
            while !matches!(stage.report(), Report::Released { router: 254, .. }) {}
            println!("released in {:?}", start.elapsed());
        }
        stage.strike();
    });
}

fn process_cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

#[test]
fn a_lease_that_ran_out_while_we_were_stopped_is_given_up_and_not_brought_back() {
    in_namespace(|| {
        let stage = Stage::set();
        let holding = stage.holding(&["10.9.0.1/32", "fd99::1/128"]);
        stage.strike();
        // The thread's work without the thread, so that the clock can be what it likes.
        let (reports, mut reported) = mpsc::channel(10);
        let wanted = (0..ROUTERS).map(|_| AtomicBool::new(true)).collect();
        let shared = Arc::new(Shared {
            wanted,
            announced: (0..ROUTERS).map(|_| AtomicU64::new(0)).collect(),
            missed: AtomicBool::new(false),
            figures: Figures::default(),
        });
        let mut plumber =
            thread::Plumber::new(Netlink::open().unwrap(), None, shared.clone(), reports).unwrap();
        plumber.execute(Command::Install {
            router: 7,
            holding: Box::new(holding),
        });
        plumber.execute(Command::Claim {
            router: 7,
            asked: Instant::now(),
        });
        assert!(matches!(reported.try_recv(), Ok(Report::Claimed { .. })));
        let mut netlink = Netlink::open().unwrap();
        plumber.renew(Instant::now() + Duration::from_millis(900));
        assert!(reported.try_recv().is_err());
        assert_eq!(leftovers(&mut netlink).unwrap().len(), 2, "not too late yet");
        plumber.renew(Instant::now() + Duration::from_millis(1900));
        assert!(matches!(
            reported.try_recv(),
            Ok(Report::Expired { router: 7, .. })
        ));
        assert_eq!(leftovers(&mut netlink).unwrap(), []);
        assert!(!shared.wanted[7].load(Relaxed));
        plumber.execute(Command::Repair {
            router: 7,
            asked: Instant::now(),
        });
        assert_eq!(leftovers(&mut netlink).unwrap(), [], "nor by a repair");
        plumber.execute(Command::Claim {
            router: 7,
            asked: Instant::now(),
        });
        assert_eq!(leftovers(&mut netlink).unwrap().len(), 2, "only by a new claim");
    });
}

#[test]
fn releasing_one_router_leaves_the_other_s_address_of_the_same_network() {
    in_namespace(|| {
        let mut stage = Stage::set();
        for (router, address) in [(1, "10.9.0.1/24"), (2, "10.9.0.2/24")] {
            let holding = Holding {
                lease: None,
                ..stage.holding(&[address])
            };
            stage.plumbing.install(router, holding);
            stage.claim(router);
        }
        stage.released(1);
        assert_eq!(stage.held(), set(&["10.9.0.2"]));
        stage.strike();
    });
}

#[test]
fn announcements_are_counted_by_router_until_it_is_removed_and_the_thread_shows_life_when_idle() {
    in_namespace(|| {
        let mut stage = Stage::set();
        stage
            .plumbing
            .install(7, stage.holding(&["10.9.0.1/32", "10.9.0.2/32"]));
        stage.plumbing.claim(7);
        assert!(matches!(stage.report(), Report::Claimed { router: 7, .. }));
        assert_eq!(stage.plumbing.announced(7), 2, "one frame for each address");
        assert_eq!(stage.plumbing.announced(8), 0);
        let alive = || stage.plumbing.figures().alive.load(Relaxed);
        let before = alive();
        eventually(SECOND, || {
            if alive() > before {
                Ok(())
            } else {
                Err("no sign of life".to_owned())
            }
        });
        stage.plumbing.remove(7);
        eventually(SECOND, || match stage.plumbing.announced(7) {
            0 => Ok(()),
            count => Err(count.to_string()),
        });
        stage.strike();
    });
}

/// What was there before us is not written down, so that it is never taken for ours.
#[test]
fn without_tags_the_ledger_tells_the_next_process_what_is_ours() {
    in_namespace(|| {
        let directory = tempfile::tempdir().unwrap();
        let ledger = || Options {
            ledger: Some(Ledger::at(directory.path())),
            ..Options::default()
        };
        Stage::set().strike();
        ip("address add 10.9.0.3/32 dev v0");
        let stage = Stage::resume_with(ledger());
        let index = stage.ifindex;
        let own = |last: u8| (index, IpAddr::from([10, 9, 0, last]), 32);
        let written = || Ledger::at(directory.path()).read();
        for (router, addresses) in [(1, &["10.9.0.1/32", "10.9.0.3/32"][..]), (2, &["10.9.0.2/32"])] {
            stage.plumbing.install(router, stage.holding(addresses));
            stage.plumbing.claim(router);
        }
        eventually(SECOND, || match written() {
            written if written == BTreeSet::from([own(1), own(2)]) => Ok(()),
            written => Err(format!("{written:?}")),
        });
        stage.plumbing.release(2);
        eventually(SECOND, || match written() {
            written if written == BTreeSet::from([own(1)]) => Ok(()),
            written => Err(format!("{written:?}")),
        });
        // The end of the process leaves it; as an old kernel has it, it carries no tag.
        stage.strike();
        ip("address del 10.9.0.1/32 dev v0");
        ip("address add 10.9.0.1/32 dev v0");
        let mut next = Stage::resume_with(ledger());
        assert_eq!(next.held(), BTreeSet::new(), "no tags");
        next.plumbing.sweep();
        assert!(matches!(next.report(), Report::Swept { addresses: 1, .. }));
        let left = ip("-o address show dev v0");
        assert!(
            !left.contains("10.9.0.1/32") && left.contains("10.9.0.3/32"),
            "{left}"
        );
        next.strike();
        assert_eq!(written(), BTreeSet::new());
    });
}

#[test]
fn an_address_of_two_routers_goes_with_the_last_of_them() {
    in_namespace(|| {
        let mut stage = Stage::set();
        for router in [1, 2] {
            stage.plumbing.install(router, stage.holding(&["10.9.0.1/24"]));
            stage.plumbing.claim(router);
            assert!(matches!(stage.report(), Report::Claimed { .. }));
        }
        stage.released(1);
        assert_eq!(stage.held(), set(&["10.9.0.1"]));
        stage.released(2);
        assert_eq!(stage.held(), set(&[]));
        stage.strike();
    });
}
