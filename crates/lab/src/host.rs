//! A machine: network, process and mount namespace with one cable, `eth0`.
//!
//! Its first process is a `cat` that reads a pipe held by the lab. When it ends, the kernel kills every other process
//! of the host at once, which is what a crash of a machine looks like.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;
use tempfile::TempDir;

use crate::namespace::{HostNamespaces, NetNamespace};
use crate::network::Switch;
use crate::process::{Process, create_log};

/// Own /proc (so that `killall -0 haproxy` sees this host only), own /run (pid files), no duplicate address detection
/// (an address is usable at once), orphans reaped by the kernel because SIGCHLD is ignored.
const INIT: &str = "set -e
mount --make-rprivate /
mount -t proc proc /proc
mount -t tmpfs tmpfs /run
mount -t sysfs sysfs /sys 2>/dev/null || true
for key in all default; do
    echo 0 > /proc/sys/net/ipv6/conf/$key/accept_dad
    echo 0 > /proc/sys/net/ipv6/conf/$key/dad_transmits
done
ip link set lo up
echo ready
exec env --ignore-signal=CHLD cat > /dev/null";

/// One machine of the laboratory.
#[derive(Debug)]
pub struct Host {
    name: String,
    port: String,
    switch: Arc<Switch>,
    namespaces: Mutex<Option<Arc<HostNamespaces>>>,
    init: Mutex<Option<Child>>,
    directory: TempDir,
    spawned: AtomicU32,
}

impl Host {
    pub(crate) fn boot(name: &str, port: String, switch: Arc<Switch>, addresses: &[String]) -> Self {
        let mut command = Command::new("sh");
        command
            .args(["-c", INIT])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let (namespaces, mut init) = HostNamespaces::create(&mut command);
        let mut line = String::new();
        let output = init.stdout.take().expect("the output of init is a pipe");
        BufReader::new(output)
            .read_line(&mut line)
            .expect("init says that it is ready");
        assert_eq!(line, "ready\n", "host {name}: init did not come up");

        switch.plug(&port, init.id());
        let host = Self {
            name: name.to_owned(),
            port,
            switch,
            namespaces: Mutex::new(Some(Arc::new(namespaces))),
            init: Mutex::new(Some(init)),
            directory: tempfile::Builder::new()
                .prefix("lab-")
                .tempdir()
                .expect("a directory for the host"),
            spawned: AtomicU32::new(0),
        };
        let mut script = String::new();
        for address in addresses {
            script += &format!("address add {address} dev eth0\n");
        }
        host.ip_batch(&format!("{script}link set eth0 up\n"));
        crate::eventually(std::time::Duration::from_secs(5), "eth0 is operational", || {
            host.ready()
        });
        host
    }

    /// Its name, which is also what its echo service answers.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The id of its first process, for tools that enter its namespaces; `None` once it has crashed.
    pub fn init(&self) -> Option<u32> {
        let init = self.init.lock().expect("no thread panicked with init");
        init.as_ref().map(Child::id)
    }

    /// A directory for files of this host, the same path inside and outside; removed with the host.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Writes a file into the directory of the host and answers its path.
    pub fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.directory.path().join(name);
        fs::write(&path, content).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        path
    }

    /// Starts a process on the host; what it prints goes to a log file.
    #[track_caller]
    pub fn spawn<A: AsRef<OsStr>>(&self, program: impl AsRef<OsStr>, arguments: &[A]) -> Process {
        let mut command = Command::new(program.as_ref());
        command.args(arguments);
        self.spawn_command(command)
    }

    /// As [`Host::spawn`], for a command with an environment or other settings of its own.
    #[track_caller]
    pub fn spawn_command(&self, mut command: Command) -> Process {
        let program = Path::new(command.get_program())
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let number = self.spawned.fetch_add(1, Ordering::Relaxed);
        let log = self.directory.path().join(format!("{program}-{number}.log"));
        let output = create_log(&log);
        command.stdin(Stdio::null());
        command
            .stderr(output.try_clone().expect("a second handle on the log"))
            .stdout(output);
        let child = self
            .namespaces()
            .spawn(&mut command)
            .unwrap_or_else(|error| panic!("{}: {} does not start: {error}", self.name, program));
        Process::new(child, log, format!("{program} on {}", self.name))
    }

    /// Runs a shell command line to its end and answers what it printed; panics if it fails.
    #[track_caller]
    pub fn sh(&self, line: &str) -> String {
        let output = self.try_sh(line);
        assert!(
            output.status.success(),
            "{}: `{line}`: {}: {}",
            self.name,
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Runs a shell command line to its end, whatever comes out.
    #[track_caller]
    pub fn try_sh(&self, line: &str) -> Output {
        let mut command = Command::new("sh");
        command
            .args(["-c", line])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let child = self.namespaces().spawn(&mut command).expect("a shell starts");
        child.wait_with_output().expect("a shell ends")
    }

    /// Runs `visit` on a thread in the network of the host; sockets it returns stay there.
    pub fn enter<T: Send>(&self, visit: impl FnOnce() -> T + Send) -> T {
        self.namespaces().net.enter(visit)
    }

    /// For threads that stay on the host.
    pub(crate) fn net(&self) -> NetNamespace {
        self.namespaces().net.try_clone()
    }

    /// All addresses of all interfaces, loopback and link-local ones included.
    pub fn addresses(&self) -> BTreeSet<IpAddr> {
        self.enter(|| {
            getifaddrs()
                .expect("addresses can be listed")
                .filter_map(|interface| {
                    let address = interface.address?;
                    let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
                    v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))
                })
                .collect()
        })
    }

    /// Whether the kernel of this host has the address.
    pub fn has(&self, address: IpAddr) -> bool {
        self.addresses().contains(&address)
    }

    /// The hardware address of `eth0`.
    pub fn mac(&self) -> String {
        self.sh("cat /sys/class/net/eth0/address || ip -o link show eth0 | sed 's/.*ether //;s/ .*//'")
            .trim()
            .to_owned()
    }

    /// Takes the interface down or up on the host itself, as an administrator would.
    pub fn set_link(&self, up: bool) {
        self.ip_batch(&format!("link set eth0 {}\n", if up { "up" } else { "down" }));
    }

    /// Pulls the cable or puts it back: the interface stays up but has no carrier.
    pub fn set_carrier(&self, present: bool) {
        self.switch.set_port(&self.port, present);
    }

    /// The machine dies: its cable goes silent, then every process ends at the same instant. No goodbye is sent.
    pub fn crash(&self) {
        self.switch.set_port(&self.port, false);
        self.end();
    }

    pub(crate) fn port(&self) -> &str {
        &self.port
    }

    /// The kernel lets init go only after every process of the host has been waited for, and their parent is the lab:
    /// a [`Process`] that is still held would be waited for in vain. So waiting for init is left to a thread.
    fn end(&self) {
        let Some(mut init) = self.init.lock().expect("no thread panicked with init").take() else {
            return;
        };
        let _ = init.kill();
        std::thread::spawn(move || init.wait());
        *self
            .namespaces
            .lock()
            .expect("no thread panicked with the namespaces") = None;
        self.switch.unplug(&self.port);
    }

    #[track_caller]
    fn namespaces(&self) -> Arc<HostNamespaces> {
        let namespaces = self
            .namespaces
            .lock()
            .expect("no thread panicked with the namespaces");
        namespaces
            .clone()
            .unwrap_or_else(|| panic!("host {} has crashed", self.name))
    }

    fn ip_batch(&self, script: &str) {
        self.enter(|| crate::network::ip_batch(script));
    }

    /// IFF_RUNNING is the operational state; before it, everything sent vanishes.
    fn ready(&self) -> Result<(), String> {
        self.enter(|| {
            let interfaces: Vec<_> = getifaddrs()
                .map_err(|error| error.to_string())?
                .filter(|interface| interface.interface_name == "eth0")
                .collect();
            let running = interfaces
                .iter()
                .any(|interface| interface.flags.contains(InterfaceFlags::IFF_RUNNING));
            let link_local = interfaces
                .iter()
                .filter_map(|interface| interface.address)
                .any(|address| {
                    address
                        .as_sockaddr_in6()
                        .is_some_and(|v6| v6.ip().is_unicast_link_local())
                });
            if running && link_local {
                Ok(())
            } else {
                Err(format!("running {running}, link-local {link_local}"))
            }
        })
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.end();
    }
}
