//! Going into the background as a process of its own session, as units with `Type=forking` and init scripts expect.
//!
//! Nothing forks: the program starts itself again with standard streams that lead nowhere, and the first process
//! waits until the second says that it is ready, by the same datagram that it would send to systemd. So the exit
//! status of `keepalived` is the truth: 0 means that the daemon runs, anything else comes with its message.

use std::ffi::{OsStr, OsString};
use std::io::{self, Read};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use warren_kit::report::{Code, Report};

/// A daemon that is not ready by then is not going to be.
const READY_WITHIN: Duration = Duration::from_secs(60);

/// Tells the second process that it is the second.
const STAY: &str = "--daemonised";

/// How often the first process looks whether the second still lives.
const LOOK: Duration = Duration::from_millis(20);

/// More than any message at start.
const MESSAGE_BYTES_MAX: u64 = 64 << 10;

#[derive(Debug, thiserror::Error)]
pub enum DaemoniseError {
    #[error("the background process could not be started: {0}")]
    Start(#[source] io::Error),
    #[error("no socket to await the background process on at {path}: {source}; make the directory writable or set TMPDIR", path = path.display())]
    Socket { path: PathBuf, source: io::Error },
    #[error("the background process was not ready within {} s and was stopped; run with --dont-fork to see why", READY_WITHIN.as_secs())]
    Late,
    #[error("the background process was killed ({0}) before it was ready; run with --dont-fork to see why")]
    Killed(ExitStatus),
}

/// In the process that stays: a session of its own, so that no terminal can end it, and no directory held in use.
pub fn leave_terminal() {
    // Refused only for the leader of a process group, which was started by somebody who meant it to be one.
    let _ = nix::unistd::setsid();
    let _ = std::env::set_current_dir("/");
}

/// In the process that goes: starts `program arguments` once more, as the one that stays, and waits for it.
pub fn start(program: &OsStr, arguments: &[OsString], console: bool) -> Result<ExitCode, Report> {
    // By the name it was called, so that `pidof keepalived` finds it.
    let mut command = Command::new(program);
    command.args(arguments).arg(STAY);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    // With -l the operator wants the messages on this terminal, also later.
    command.stderr(if console { Stdio::inherit() } else { Stdio::piped() });
    let ready = ReadySocket::new(&std::env::temp_dir())?;
    command.env("NOTIFY_SOCKET", &ready.path);
    let mut child = command.spawn().map_err(DaemoniseError::Start)?;
    let messages = child.stderr.take().map(relay);
    match ready.wait(&mut child)? {
        None => Ok(ExitCode::SUCCESS),
        Some(status) => {
            if let Some(messages) = messages {
                // It ends with the child, which has ended.
                let _ = messages.join();
            }
            exit_code(status)
        }
    }
}

fn exit_code(status: ExitStatus) -> Result<ExitCode, Report> {
    match status.code() {
        // Ended well before it was ready: whatever it did, no daemon runs.
        Some(0) => Ok(Code::Runtime.into()),
        Some(code) => Ok(u8::try_from(code).unwrap_or(Code::Runtime as u8).into()),
        None => Err(DaemoniseError::Killed(status).into()),
    }
}

/// Copies what the child says to our standard error until it ends or we do.
fn relay(from: std::process::ChildStderr) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        let _ = io::copy(&mut from.take(MESSAGE_BYTES_MAX), &mut io::stderr());
    })
}

/// A socket on which `READY=1` is awaited; gone from the file system when dropped.
struct ReadySocket {
    socket: UnixDatagram,
    path: PathBuf,
    directory: PathBuf,
}

impl ReadySocket {
    fn new(parent: &Path) -> Result<Self, DaemoniseError> {
        // Process numbers are those of a namespace, and others may share this place.
        let moment = warren_kit::clock::boottime_nanos();
        let directory = parent.join(format!("warren-start-{}-{moment}", std::process::id()));
        let path = directory.join("ready");
        let failed = |source| DaemoniseError::Socket {
            path: path.clone(),
            source,
        };
        // A directory of our own, that nobody else can write to: one that is there already is refused.
        std::os::unix::fs::DirBuilderExt::mode(&mut std::fs::DirBuilder::new(), 0o700)
            .create(&directory)
            .map_err(failed)?;
        let socket = UnixDatagram::bind(&path).map_err(failed)?;
        socket.set_read_timeout(Some(LOOK)).map_err(failed)?;
        Ok(Self {
            socket,
            path,
            directory,
        })
    }

    /// `None` = it is ready, else how it ended.
    fn wait(&self, child: &mut Child) -> Result<Option<ExitStatus>, DaemoniseError> {
        let deadline = Instant::now() + READY_WITHIN;
        let mut datagram = [0; 4096];
        while Instant::now() < deadline {
            if let Ok(length) = self.socket.recv(&mut datagram)
                && datagram[..length]
                    .split(|byte| *byte == b'\n')
                    .any(|line| line == b"READY=1")
            {
                return Ok(None);
            }
            if let Some(status) = child.try_wait().map_err(DaemoniseError::Start)? {
                return Ok(Some(status));
            }
        }
        let _ = child.kill();
        let _ = child.wait();
        Err(DaemoniseError::Late)
    }
}

impl Drop for ReadySocket {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
        let _ = std::fs::remove_dir(&self.directory);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn child(script: &str, ready: &ReadySocket) -> Child {
        Command::new("/bin/sh")
            .args(["-c", script])
            .env("READY", &ready.path)
            .stdin(Stdio::null())
            .spawn()
            .unwrap()
    }

    #[test]
    fn the_wait_ends_when_the_child_is_ready() {
        let directory = tempfile::tempdir().unwrap();
        let ready = ReadySocket::new(directory.path()).unwrap();
        let mut child = child("sleep 10", &ready);
        let other = UnixDatagram::unbound().unwrap();
        other.send_to(b"STATUS=almost", &ready.path).unwrap();
        other.send_to(b"STATUS=well\nREADY=1\n", &ready.path).unwrap();
        assert_eq!(ready.wait(&mut child).unwrap(), None);
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn the_wait_ends_with_the_childs_status_when_it_fails() {
        let directory = tempfile::tempdir().unwrap();
        let ready = ReadySocket::new(directory.path()).unwrap();
        let status = ready.wait(&mut child("exit 78", &ready)).unwrap();
        assert_eq!(status.and_then(|status| status.code()), Some(78));
        drop(ready);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn the_first_process_ends_well_once_the_second_says_that_it_is_ready() {
        let ready = "[ \"$0\" = --daemonised ] || exit 9; printf 'READY=1' | nc -q 0 -w 1 -uU \"$NOTIFY_SOCKET\"; sleep 1";
        if Command::new("nc")
            .arg("-h")
            .stderr(Stdio::null())
            .status()
            .is_err()
        {
            crate::skip::skip("nc is not installed");
            return;
        }
        let arguments = ["-c".into(), ready.into()];
        let code = start("/bin/sh".as_ref(), &arguments, false).unwrap();
        assert_eq!(format!("{code:?}"), format!("{:?}", ExitCode::SUCCESS));
        let failing = ["-c".into(), "exit 78".into()];
        let code = start("/bin/sh".as_ref(), &failing, false).unwrap();
        assert_eq!(format!("{code:?}"), format!("{:?}", ExitCode::from(78)));
    }
}
