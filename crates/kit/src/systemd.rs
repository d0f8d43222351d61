//! Talking to the service manager: ready, reloading, stopping, still alive.
//!
//! Without `NOTIFY_SOCKET` nothing is sent and nothing fails. A service manager that does not listen never delays us.

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use sd_notify::NotifyState;

/// The way to the service manager that started us, if one did.
#[derive(Debug, Default)]
pub struct ServiceManager {
    socket: Option<(UnixDatagram, SocketAddr)>,
    watchdog: Option<Duration>,
}

impl ServiceManager {
    /// From the environment that the service manager gave us.
    pub fn from_environment() -> io::Result<Self> {
        let socket = std::env::var_os("NOTIFY_SOCKET");
        Self::new(socket.as_deref(), sd_notify::watchdog_enabled())
    }

    fn new(name: Option<&OsStr>, watchdog: Option<Duration>) -> io::Result<Self> {
        let Some(name) = name.filter(|name| !name.is_empty()) else {
            return Ok(Self::default());
        };
        let address = match name.as_bytes() {
            [b'@', hidden @ ..] => SocketAddr::from_abstract_name(hidden)?,
            _ => SocketAddr::from_pathname(name)?,
        };
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        Ok(Self {
            socket: Some((socket, address)),
            watchdog,
        })
    }

    pub fn is_present(&self) -> bool {
        self.socket.is_some()
    }

    /// [`ServiceManager::alive`] is expected at least this often; twice as often is wise.
    pub fn watchdog(&self) -> Option<Duration> {
        self.watchdog
    }

    /// Started, or done with reloading.
    pub fn ready(&self, status: &str) -> io::Result<()> {
        self.send(&[NotifyState::Ready, NotifyState::Status(&one_line(status))])
    }

    /// Reloading; [`ServiceManager::ready`] ends it.
    pub fn reloading(&self) -> io::Result<()> {
        self.send(&[NotifyState::Reloading, NotifyState::monotonic_usec_now()?])
    }

    pub fn stopping(&self) -> io::Result<()> {
        self.send(&[NotifyState::Stopping])
    }

    /// One line for `systemctl status`.
    pub fn status(&self, status: &str) -> io::Result<()> {
        self.send(&[NotifyState::Status(&one_line(status))])
    }

    /// A start or a stop that takes long is not given up for so much longer; with one line for `systemctl status`.
    pub fn takes(&self, status: &str, patience: Duration) -> io::Result<()> {
        let patience = u32::try_from(patience.as_micros()).unwrap_or(u32::MAX);
        self.send(&[
            NotifyState::ExtendTimeoutUsec(patience),
            NotifyState::Status(&one_line(status)),
        ])
    }

    /// Feeds the watchdog.
    pub fn alive(&self) -> io::Result<()> {
        self.send(&[NotifyState::Watchdog])
    }

    /// Another process is the main one from now on.
    pub fn main_process(&self, pid: u32) -> io::Result<()> {
        self.send(&[NotifyState::MainPid(pid)])
    }

    fn send(&self, states: &[NotifyState<'_>]) -> io::Result<()> {
        let Some((socket, address)) = &self.socket else {
            return Ok(());
        };
        let message: String = states.iter().map(|state| format!("{state}\n")).collect();
        socket.send_to_addr(message.as_bytes(), address).map(drop)
    }
}

/// A line break would begin another assignment.
fn one_line(text: &str) -> String {
    text.replace(['\n', '\r'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receive(socket: &UnixDatagram) -> String {
        let mut buffer = [0; 4096];
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let length = socket.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }

    #[test]
    fn each_message_says_what_systemd_documents() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let server = UnixDatagram::bind(&path).unwrap();
        let manager = ServiceManager::new(Some(path.as_os_str()), Some(Duration::from_secs(2))).unwrap();
        assert!(manager.is_present());
        assert_eq!(manager.watchdog(), Some(Duration::from_secs(2)));
        manager.ready("2 routers\nREADY=0").unwrap();
        assert_eq!(receive(&server), "READY=1\nSTATUS=2 routers READY=0\n");
        manager.stopping().unwrap();
        assert_eq!(receive(&server), "STOPPING=1\n");
        manager.status("well").unwrap();
        assert_eq!(receive(&server), "STATUS=well\n");
        manager.takes("43 %", Duration::from_secs(30)).unwrap();
        assert_eq!(receive(&server), "EXTEND_TIMEOUT_USEC=30000000\nSTATUS=43 %\n");
        manager.alive().unwrap();
        assert_eq!(receive(&server), "WATCHDOG=1\n");
        manager.main_process(77).unwrap();
        assert_eq!(receive(&server), "MAINPID=77\n");
        manager.reloading().unwrap();
        let message = receive(&server);
        let micros = message.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap();
        assert!(micros.trim_end().parse::<u64>().unwrap() > 0, "{message}");
    }

    #[test]
    fn an_abstract_socket_is_found() {
        let name = format!("warren-kit-test-{}", std::process::id());
        let server = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        let manager = ServiceManager::new(Some(OsStr::new(&format!("@{name}"))), None).unwrap();
        manager.alive().unwrap();
        assert_eq!(receive(&server), "WATCHDOG=1\n");
    }

    #[test]
    fn without_a_service_manager_nothing_fails() {
        let manager = ServiceManager::new(None, Some(Duration::from_secs(1))).unwrap();
        assert!(!manager.is_present());
        assert_eq!(manager.watchdog(), None);
        manager.ready("x").unwrap();
        manager.reloading().unwrap();
    }

    #[test]
    fn a_deaf_service_manager_is_an_error_and_no_delay() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let _deaf = UnixDatagram::bind(&path).unwrap();
        let manager = ServiceManager::new(Some(path.as_os_str()), None).unwrap();
        let full = (0..100_000).find_map(|_| manager.alive().err());
        assert_eq!(full.map(|error| error.kind()), Some(io::ErrorKind::WouldBlock));
    }
}
