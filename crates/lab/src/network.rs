//! The switch: a bridge in a namespace without processes, one port per host, and faults between ports.
//!
//! Faults are nftables rules of the bridge family, so they can be one-way and the hosts notice nothing but silence.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use crate::host::Host;
use crate::namespace::NetNamespace;

/// Creating namespaces contends on one lock of the kernel, and timers suffer when dozens of daemons share two cores.
const NETWORKS_AT_ONCE: usize = 4;

/// A switch and the addresses of what is plugged into it: host N gets 10.77.0.N/16 and fd77::N/64.
#[derive(Debug)]
pub struct Network {
    switch: Arc<Switch>,
    hosts: AtomicU32,
}

impl Network {
    /// A switch without hosts. Waits while as many others exist as the machine can bear.
    pub fn new() -> Self {
        Self {
            switch: Arc::new(Switch::create()),
            hosts: AtomicU32::new(0),
        }
    }

    /// Boots the next host, with the next addresses.
    pub fn host(&self, name: &str) -> Host {
        let number = self.hosts.load(Ordering::Relaxed) + 1;
        self.host_with(
            name,
            &[&format!("10.77.0.{number}/16"), &format!("fd77::{number:x}/64")],
        )
    }

    /// Boots a host with addresses (with prefix lengths) of your choice.
    pub fn host_with(&self, name: &str, addresses: &[&str]) -> Host {
        let number = self.hosts.fetch_add(1, Ordering::Relaxed) + 1;
        let addresses: Vec<String> = addresses.iter().map(|&address| address.to_owned()).collect();
        let port = format!("port{number}");
        self.switch
            .names
            .lock()
            .expect("no thread panicked")
            .push((port.clone(), name.to_owned()));
        Host::boot(name, port, Arc::clone(&self.switch), &addresses)
    }

    /// Gives this machine itself a cable to the switch: an interface with an address, which ends with the network.
    pub fn plug_in_this_machine(&self, interface: &str, address: &str) {
        let this = std::process::id();
        self.switch.namespace.enter(|| {
            ip_batch(&format!(
                "link add machine type veth peer name {interface} netns {this}\nlink set machine master br0 up\n"
            ));
        });
        ip_batch(&format!(
            "address add {address} dev {interface}\nlink set {interface} up\n"
        ));
    }

    /// Drops every frame from one host to another; the other direction keeps working.
    pub fn block(&self, from: &Host, to: &Host) {
        self.nft(&format!(
            "add rule bridge lab forward iifname {} oifname {} drop",
            from.port(),
            to.port()
        ));
    }

    /// Drops `percent` of the frames from one host to another, at random.
    pub fn lose(&self, percent: u8, from: &Host, to: &Host) {
        let (from, to) = (from.port(), to.port());
        self.nft(&format!(
            "add rule bridge lab forward iifname {from} oifname {to} numgen random mod 100 < {percent} drop"
        ));
    }

    /// Separates two hosts from each other in both directions; both still reach everyone else.
    pub fn partition(&self, one: &Host, other: &Host) {
        self.block(one, other);
        self.block(other, one);
    }

    /// Separates a host from everyone without its noticing.
    pub fn isolate(&self, host: &Host) {
        let port = host.port();
        self.nft(&format!("add rule bridge lab forward iifname {port} drop"));
        self.nft(&format!("add rule bridge lab forward oifname {port} drop"));
    }

    /// Ends every fault between ports.
    pub fn heal(&self) {
        self.nft("flush chain bridge lab forward");
    }

    pub(crate) fn switch(&self) -> &Arc<Switch> {
        &self.switch
    }

    fn nft(&self, rule: &str) {
        self.switch
            .namespace
            .enter(|| pipe_into("nft", &["-f", "-"], rule));
    }
}

impl Default for Network {
    fn default() -> Self {
        Self::new()
    }
}

/// The bridge and its namespace.
#[derive(Debug)]
pub(crate) struct Switch {
    pub(crate) namespace: NetNamespace,
    /// Which host is on which port.
    names: Mutex<Vec<(String, String)>>,
    _permit: Permit,
}

impl Switch {
    fn create() -> Self {
        let permit = Permit::acquire();
        let namespace = NetNamespace::create();
        namespace.enter(|| {
            // Snooping would hold back multicast until somebody reports membership; a plain switch floods it.
            ip_batch("link add br0 type bridge mcast_snooping 0 forward_delay 0\nlink set br0 up\nlink set lo up\n");
            pipe_into(
                "nft",
                &["-f", "-"],
                "table bridge lab { chain forward { type filter hook forward priority 0; }; }",
            );
        });
        Self {
            namespace,
            names: Mutex::default(),
            _permit: permit,
        }
    }

    pub(crate) fn plug(&self, port: &str, init: u32) {
        self.namespace.enter(|| {
            ip_batch(&format!(
                "link add {port} type veth peer name eth0 netns {init}\n\
                 link set {port} master br0 up\n"
            ));
        });
    }

    /// The other end may have taken the cable with it already.
    pub(crate) fn unplug(&self, port: &str) {
        self.namespace.enter(|| {
            let _ = Command::new("ip")
                .args(["link", "delete", port])
                .stderr(Stdio::null())
                .status();
        });
    }

    pub(crate) fn set_port(&self, port: &str, up: bool) {
        self.namespace
            .enter(|| ip_batch(&format!("link set {port} {}\n", if up { "up" } else { "down" })));
    }

    /// The host on each port, by interface index.
    pub(crate) fn port_indices(&self) -> Vec<(usize, String)> {
        let names = self.names.lock().expect("no thread panicked").clone();
        self.namespace.enter(|| {
            let index = |port: &str| nix::net::if_::if_nametoindex(port).ok();
            names
                .into_iter()
                .filter_map(|(port, host)| Some((index(&port)? as usize, host)))
                .collect()
        })
    }
}

/// Runs `ip` commands, one per line, in the namespace of the calling thread.
pub(crate) fn ip_batch(script: &str) {
    pipe_into("ip", &["-batch", "-"], script);
}

fn pipe_into(program: &str, arguments: &[&str], input: &str) {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{program}: {error} (install iproute2 and nftables)"));
    child
        .stdin
        .take()
        .expect("a pipe")
        .write_all(input.as_bytes())
        .expect("the tool reads its input");
    let output = child.wait_with_output().expect("the tool ends");
    assert!(
        output.status.success(),
        "{program}: {}\n{input}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// One of the few networks that may exist at a time in this process.
#[derive(Debug)]
struct Permit;

static IN_USE: Mutex<usize> = Mutex::new(0);
static FREED: Condvar = Condvar::new();

impl Permit {
    fn acquire() -> Self {
        let in_use = IN_USE.lock().expect("no thread panicked while counting");
        let mut in_use = FREED
            .wait_while(in_use, |in_use| *in_use >= NETWORKS_AT_ONCE)
            .expect("no thread panicked while counting");
        *in_use += 1;
        Self
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        *IN_USE.lock().expect("no thread panicked while counting") -= 1;
        FREED.notify_one();
    }
}
