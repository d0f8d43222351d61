//! The client's end of a control socket: blocking, standard library only.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::marker::PhantomData;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::socket;
use crate::accounts::{group_name, user_name};

/// For a connection, and for each answer unless set otherwise.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A daemon that sends a longer line is none of ours.
const REPLY_BYTES_MAX: u64 = 64 << 20;

/// Where a daemon is, and the words to speak of it.
#[derive(Clone, Debug)]
pub struct Address {
    pub path: PathBuf,
    /// What should run there.
    pub name: String,
    /// The command that starts it.
    pub start: String,
}

#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("no {name} is running here: {path}: {source}; start it with: {start}",
        name = .address.name, path = .address.path.display(), start = .address.start)]
    NotRunning {
        address: Box<Address>,
        source: io::Error,
    },
    #[error("{path}: {source}; it belongs to user {owner} and group {group}: be one of them, or root", path = .path.display())]
    Denied {
        path: PathBuf,
        owner: String,
        group: String,
        source: io::Error,
    },
    #[error("{name} did not answer within {timeout:?}: it may be stopped or overloaded")]
    TimedOut { name: String, timeout: Duration },
    #[error("{name} closed the connection without an answer: see its log")]
    NoAnswer { name: String },
    #[error("{name} closed the connection in the middle of an answer: see its log")]
    CutOff { name: String },
    #[error(
        "{name} sent something else than an answer ({source}): {beginning}; client and daemon may be of different versions"
    )]
    NotUnderstood {
        name: String,
        beginning: String,
        source: serde_json::Error,
    },
    #[error("{name} sent a line of more than {REPLY_BYTES_MAX} bytes")]
    TooLong { name: String },
    #[error("{path}: {source}", path = .path.display())]
    Io { path: PathBuf, source: io::Error },
}

/// A connection, good for one request.
#[derive(Debug)]
pub struct Client {
    stream: UnixStream,
    address: Address,
    timeout: Duration,
}

impl Client {
    pub fn connect(address: &Address) -> Result<Self, ClientError> {
        let path = &address.path;
        let stream = socket::connect(path, TIMEOUT).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => ClientError::NotRunning {
                address: Box::new(address.clone()),
                source,
            },
            io::ErrorKind::PermissionDenied => {
                // Its directory may be what does not let us pass.
                let nearest = path
                    .ancestors()
                    .find_map(|it| std::fs::metadata(it).ok())
                    .ok_or(());
                let (owner, group) = match nearest {
                    Ok(file) => (user_name(file.uid()), group_name(file.gid())),
                    Err(()) => ("unknown".into(), "unknown".into()),
                };
                ClientError::Denied {
                    path: path.clone(),
                    owner,
                    group,
                    source,
                }
            }
            _ => ClientError::Io {
                path: path.clone(),
                source,
            },
        })?;
        Ok(Self {
            stream,
            address: address.clone(),
            timeout: Duration::from_secs(10),
        })
    }

    /// How long a single answer may take; ten seconds unless set.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Asks, and takes the one answer there is.
    pub fn call<Q: Serialize, R: DeserializeOwned>(self, request: &Q) -> Result<R, ClientError> {
        let name = self.address.name.clone();
        let mut answers = self.stream(request)?;
        answers.next().unwrap_or(Err(ClientError::NoAnswer { name }))
    }

    /// Asks, and takes answers as they come until the daemon has no more. Between two of them any time may pass.
    pub fn follow<Q: Serialize, R: DeserializeOwned>(self, request: &Q) -> Result<Answers<R>, ClientError> {
        let path = self.address.path.clone();
        let answers = self.stream(request)?;
        answers
            .read
            .get_ref()
            .set_read_timeout(None)
            .map_err(|source| ClientError::Io { path, source })?;
        Ok(answers)
    }

    /// Asks, and takes all answers, each of them in time.
    pub fn stream<Q: Serialize, R: DeserializeOwned>(
        mut self,
        request: &Q,
    ) -> Result<Answers<R>, ClientError> {
        let failed = |source| ClientError::Io {
            path: self.address.path.clone(),
            source,
        };
        let mut line = serde_json::to_vec(request).map_err(|error| failed(error.into()))?;
        line.push(b'\n');
        let timeout = Some(self.timeout.max(Duration::from_millis(1)));
        self.stream.set_read_timeout(timeout).map_err(failed)?;
        self.stream.set_write_timeout(timeout).map_err(failed)?;
        match self.stream.write_all(&line) {
            Ok(()) => {}
            // A daemon that refuses the connection closes before it reads, but has said why.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
            Err(error) if is_timeout(&error) => {
                return Err(ClientError::TimedOut {
                    name: self.address.name,
                    timeout: self.timeout,
                });
            }
            Err(error) => return Err(failed(error)),
        }
        let Self {
            stream,
            address,
            timeout,
        } = self;
        Ok(Answers {
            read: BufReader::new(stream),
            address,
            timeout,
            ended: false,
            answer: PhantomData,
        })
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

/// The answers to one request, in order. Ends after the first error.
#[derive(Debug)]
pub struct Answers<R> {
    read: BufReader<UnixStream>,
    address: Address,
    timeout: Duration,
    ended: bool,
    answer: PhantomData<fn() -> R>,
}

impl<R: DeserializeOwned> Iterator for Answers<R> {
    type Item = Result<R, ClientError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let answer = self.read_answer().transpose();
        self.ended = !matches!(answer, Some(Ok(_)));
        answer
    }
}

impl<R: DeserializeOwned> Answers<R> {
    fn read_answer(&mut self) -> Result<Option<R>, ClientError> {
        let name = || self.address.name.clone();
        let mut line = Vec::new();
        let read = self
            .read
            .by_ref()
            .take(REPLY_BYTES_MAX)
            .read_until(b'\n', &mut line);
        match read {
            Ok(0) => return Ok(None),
            Ok(_) if line.ends_with(b"\n") => {}
            Ok(length) if length as u64 == REPLY_BYTES_MAX => {
                return Err(ClientError::TooLong { name: name() });
            }
            Ok(_) => return Err(ClientError::CutOff { name: name() }),
            // Refused with our request unread.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset && line.is_empty() => {
                return Ok(None);
            }
            Err(error) if is_timeout(&error) => {
                return Err(ClientError::TimedOut {
                    name: name(),
                    timeout: self.timeout,
                });
            }
            Err(source) => {
                return Err(ClientError::Io {
                    path: self.address.path.clone(),
                    source,
                });
            }
        }
        serde_json::from_slice(&line).map(Some).map_err(|source| {
            let beginning: String = String::from_utf8_lossy(&line)
                .trim_end()
                .chars()
                .take(80)
                .collect();
            ClientError::NotUnderstood {
                name: name(),
                beginning,
                source,
            }
        })
    }
}
