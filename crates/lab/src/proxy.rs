//! The proxies under test, started the same way and asked the same questions: HAProxy and ours, called by its name.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, UdpSocket};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::clock::now;
use crate::daemon::warren_binary;
use crate::host::Host;
use crate::process::Process;

/// Which proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ProxyFlavour {
    /// The distribution's HAProxy.
    Haproxy,
    /// Ours.
    Warren,
}

/// A running proxy with a haproxy.cfg.
#[derive(Debug)]
pub struct Proxy {
    /// Its main process.
    pub process: Process,
    flavour: ProxyFlavour,
    file: PathBuf,
    socket: PathBuf,
}

impl Proxy {
    /// The program to call, by the name `haproxy` in both cases.
    pub fn program(flavour: ProxyFlavour, host: &Host) -> PathBuf {
        match flavour {
            ProxyFlavour::Haproxy => PathBuf::from("haproxy"),
            ProxyFlavour::Warren => {
                let link = host.directory().join("haproxy");
                // There already when a proxy is started again.
                let _ = symlink(warren_binary(), &link);
                link
            }
        }
    }

    /// Starts it in the foreground and waits until it answers at its statistics socket, which the configuration has to
    /// name [`Proxy::socket`].
    #[track_caller]
    pub fn start(flavour: ProxyFlavour, host: &Host, configuration: &str) -> Self {
        let proxy = Self::start_without_waiting(flavour, host, configuration);
        let state = || proxy.try_ask("show info");
        crate::eventually(
            Duration::from_secs(10),
            "the proxy answers at its socket",
            || match state() {
                Ok(answer) if answer.contains("Pid:") => Ok(()),
                other => Err((other, proxy.process.log())),
            },
        );
        proxy
    }

    /// As [`Proxy::start`], for a configuration without that socket.
    #[track_caller]
    pub fn start_without_waiting(flavour: ProxyFlavour, host: &Host, configuration: &str) -> Self {
        let file = host.write("haproxy.cfg", configuration);
        let mut command = Command::new(Self::program(flavour, host));
        command.args(["-db", "-f"]).arg(&file);
        Self {
            process: host.spawn_command(command),
            flavour,
            file,
            socket: Self::socket(host),
        }
    }

    /// Where the statistics socket of a host's proxy is.
    pub fn socket(host: &Host) -> PathBuf {
        host.directory().join("stats.sock")
    }

    /// Which proxy it is.
    pub fn flavour(&self) -> ProxyFlavour {
        self.flavour
    }

    /// Its configuration file.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Gives it another configuration without ending it: ours with SIGHUP; HAProxy with a new process that listens at the
    /// same addresses and tells the old one to finish.
    #[track_caller]
    pub fn reload(&mut self, host: &Host, configuration: &str) {
        std::fs::write(&self.file, configuration).expect("the configuration can be replaced");
        match self.flavour {
            ProxyFlavour::Warren => self.process.signal(Signal::SIGHUP),
            ProxyFlavour::Haproxy => {
                let old = self.ask("show info");
                let old = old
                    .lines()
                    .find_map(|line| line.strip_prefix("Pid: "))
                    .expect("a process id");
                let mut command = Command::new("haproxy");
                command.args(["-db", "-f"]).arg(&self.file).args(["-sf", old]);
                let new = host.spawn_command(command);
                // The old one ends by itself when its connections have.
                std::mem::forget(std::mem::replace(&mut self.process, new));
            }
        }
    }

    /// One command to the statistics socket.
    #[track_caller]
    pub fn ask(&self, command: &str) -> String {
        self.try_ask(command).unwrap_or_else(|error| {
            panic!("{:?}: {command}: {error}\n{}", self.flavour, self.process.log());
        })
    }

    /// As [`Proxy::ask`], for when nobody may be there.
    pub fn try_ask(&self, command: &str) -> std::io::Result<String> {
        let mut stream = UnixStream::connect(&self.socket)?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.write_all(format!("{command}\n").as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    /// `show stat`, by proxy and server name.
    #[track_caller]
    pub fn statistics(&self) -> Statistics {
        Statistics::parse(&self.ask("show stat"))
    }

    /// One field of `show stat`.
    #[track_caller]
    pub fn field(&self, proxy: &str, server: &str, field: &str) -> String {
        self.statistics().field(proxy, server, field)
    }

    /// The first word of a server's status: `UP`, `DOWN`, `DRAIN`, `MAINT`, `no`.
    #[track_caller]
    pub fn status(&self, proxy: &str, server: &str) -> String {
        let status = self.field(proxy, server, "status");
        status.split(' ').next().unwrap_or_default().to_owned()
    }
}

/// The rows of HAProxy's CSV.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statistics {
    /// The names of the columns, in order.
    pub columns: Vec<String>,
    /// The rows by proxy and server name (`FRONTEND`, `BACKEND`), in order.
    pub rows: Vec<BTreeMap<String, String>>,
}

impl Statistics {
    /// Reads the text of `show stat` or `;csv`.
    #[track_caller]
    pub fn parse(text: &str) -> Self {
        let mut lines = text.lines().filter(|line| !line.is_empty());
        let head = lines
            .next()
            .and_then(|line| line.strip_prefix("# "))
            .unwrap_or_else(|| panic!("no CSV: {text}"));
        let columns: Vec<String> = head.trim_end_matches(',').split(',').map(str::to_owned).collect();
        let rows = lines
            .map(|line| columns.iter().cloned().zip(split(line)).collect())
            .collect();
        Self { columns, rows }
    }

    /// One field; panics if there is no such row.
    #[track_caller]
    pub fn field(&self, proxy: &str, server: &str, field: &str) -> String {
        let row = self
            .rows
            .iter()
            .find(|row| row["pxname"] == proxy && row["svname"] == server);
        let row = row.unwrap_or_else(|| panic!("no row {proxy}/{server} in {:?}", self.rows));
        row.get(field)
            .unwrap_or_else(|| panic!("no column {field}"))
            .clone()
    }

    /// One field as a number; an empty one is 0.
    #[track_caller]
    pub fn number(&self, proxy: &str, server: &str, field: &str) -> u64 {
        let text = self.field(proxy, server, field);
        if text.is_empty() {
            0
        } else {
            text.parse().unwrap_or_else(|_| panic!("{field} is {text}"))
        }
    }
}

/// Fields between commas; quoted ones may have commas in them.
fn split(line: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut quoted = false;
    for character in line.chars() {
        match character {
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(String::new()),
            other => fields.last_mut().expect("one field at least").push(other),
        }
    }
    fields
}

/// A system log on a host: takes what is sent to a UDP port and remembers when it came.
#[derive(Debug)]
pub struct SyslogSink {
    lines: Arc<Mutex<Vec<(Duration, String)>>>,
    stop: Arc<AtomicBool>,
    hearing: Option<JoinHandle<()>>,
}

impl SyslogSink {
    /// Listens at port 514 of the host's loopback.
    #[track_caller]
    pub fn start(host: &Host) -> Self {
        let address: SocketAddr = "127.0.0.1:514".parse().expect("an address");
        let socket = host
            .enter(|| UdpSocket::bind(address))
            .expect("the system log's port");
        socket
            .set_read_timeout(Some(Duration::from_millis(20)))
            .expect("a timeout");
        let (lines, stop) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (heard, ended) = (Arc::clone(&lines), Arc::clone(&stop));
        let hearing = std::thread::spawn(move || {
            let mut line = vec![0; 65536];
            while !ended.load(Ordering::Relaxed) {
                match socket.recv(&mut line) {
                    Ok(length) => {
                        let text = String::from_utf8_lossy(&line[..length]).trim_end().to_owned();
                        heard.lock().expect("no panic").push((now(), text));
                    }
                    Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                    Err(_) => return,
                }
            }
        });
        Self {
            lines,
            stop,
            hearing: Some(hearing),
        }
    }

    /// Everything heard, with the priority, date and tag of the system log in front.
    pub fn lines(&self) -> Vec<String> {
        self.timed().into_iter().map(|(_, line)| line).collect()
    }

    /// The same, with the moment each line came.
    pub fn timed(&self) -> Vec<(Duration, String)> {
        self.lines.lock().expect("no panic").clone()
    }

    /// The messages that contain `text`, without what the system log's protocol puts in front.
    pub fn messages(&self, text: &str) -> Vec<String> {
        let messages = self
            .lines()
            .into_iter()
            .filter_map(|line| Some(line.split_once("]: ")?.1.to_owned()));
        messages.filter(|message| message.contains(text)).collect()
    }
}

impl Drop for SyslogSink {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(hearing) = self.hearing.take() {
            let _ = hearing.join();
        }
    }
}
