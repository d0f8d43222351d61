//! Checks without a program: a TCP connection, an HTTP answer with a status of 200 to 399, or another role's own word.
//!
//! HTTP is the least that servers understand: one GET of HTTP/1.0, no TLS, no redirects followed. Only the status line is
//! read. Names are resolved for every attempt, within its deadline; an address in numbers costs no lookup.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use warren_api::proxy::{Reply, Request};

use super::schedule::Schedule;
use super::{Attempt, Recorder};
use crate::neighbour;

/// No status line is longer.
const STATUS_LINE_MAX: usize = 1024;

#[derive(Debug, Clone)]
pub(crate) enum Probe {
    /// `host:port` that must accept a connection.
    Tcp { target: String },
    /// `host` is what the Host header says, `target` where to connect to.
    Http {
        host: String,
        target: String,
        path: String,
    },
    /// A role of this host that is asked whether it would serve.
    Service {
        socket: PathBuf,
        backend: Option<String>,
    },
}

pub(crate) async fn check(probe: Probe, limit: Duration, mut schedule: Schedule, mut recorder: Recorder) {
    loop {
        schedule.slot().await;
        recorder.record(attempt(&probe, limit).await).await;
    }
}

async fn attempt(probe: &Probe, limit: Duration) -> Attempt {
    let begin = Instant::now();
    let mut attempt = match timeout(limit, run(probe)).await {
        Ok(Ok((success, detail))) => Attempt::new(success, detail),
        Ok(Err(error)) => Attempt::new(false, error.to_string()),
        Err(_) => Attempt::new(false, format!("no answer within {limit:?}")),
    };
    attempt.latency = begin.elapsed();
    attempt
}

async fn run(probe: &Probe) -> io::Result<(bool, String)> {
    match probe {
        Probe::Tcp { target } => connect(target).await.map(|_| (true, "connected".to_owned())),
        Probe::Http { host, target, path } => {
            let mut stream = connect(target).await?;
            let request = format!(
                "GET {path} HTTP/1.0\r\nHost: {host}\r\nUser-Agent: warren\r\nConnection: close\r\n\r\n"
            );
            stream.write_all(request.as_bytes()).await?;
            let line = status_line(&mut stream).await?;
            Ok(match status(&line) {
                Some(status) => ((200..400).contains(&status), format!("status {status}")),
                None => (false, format!("not HTTP: {:?}", String::from_utf8_lossy(&line))),
            })
        }
        Probe::Service { socket, backend } => ask(socket, backend.clone()).await,
    }
}

/// A role that runs but is of no use to anybody fails its check, as does one that does not run.
async fn ask(socket: &Path, backend: Option<String>) -> io::Result<(bool, String)> {
    Ok(match neighbour::ask(socket, &Request::Ready { backend }).await? {
        Reply::Done { message, .. } => (true, message),
        Reply::Refused(refused) => (false, refused.message),
        _ => (false, "the proxy answered something else".to_owned()),
    })
}

async fn connect(target: &str) -> io::Result<TcpStream> {
    TcpStream::connect(target)
        .await
        .map_err(|error| io::Error::new(error.kind(), format!("connect {target}: {error}")))
}

async fn status_line(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    let mut buffer = [0; 256];
    while line.len() < STATUS_LINE_MAX {
        let count = stream.read(&mut buffer).await?;
        line.extend_from_slice(&buffer[..count]);
        if let Some(end) = line.iter().position(|&byte| byte == b'\n') {
            line.truncate(end);
            break;
        }
        if count == 0 {
            break;
        }
    }
    Ok(line)
}

/// The number in `HTTP/1.1 200 OK`.
fn status(line: &[u8]) -> Option<u16> {
    let mut words = std::str::from_utf8(line).ok()?.split_ascii_whitespace();
    words.next()?.strip_prefix("HTTP/")?;
    let status = words.next()?;
    status.parse().ok().filter(|_| status.len() == 3)
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    /// Longer than a machine does nothing.
    const LIMIT: Duration = Duration::from_secs(20);

    /// Answers one connection with `answer` and tells what was asked.
    async fn server(answer: &'static [u8]) -> (String, tokio::task::JoinHandle<Vec<u8>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = listener.local_addr().unwrap().to_string();
        let served = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 1024];
            let count = stream.read(&mut request).await.unwrap();
            request.truncate(count);
            stream.write_all(answer).await.unwrap();
            request
        });
        (target, served)
    }

    fn http(target: String) -> Probe {
        Probe::Http {
            host: "localhost".into(),
            target,
            path: "/ready?x=1".into(),
        }
    }

    #[tokio::test]
    async fn statuses_from_200_to_399_are_success() {
        for (answer, success, detail) in [
            (&b"HTTP/1.1 200 OK\r\n\r\n"[..], true, "status 200"),
            (b"HTTP/1.0 302 Found\r\n", true, "status 302"),
            (b"HTTP/1.1 503 Service Unavailable\r\n", false, "status 503"),
            (b"HTTP/1.1 199 x\r\n", false, "status 199"),
            (b"SSH-2.0-x\r\n", false, "not HTTP: \"SSH-2.0-x\\r\""),
            (b"", false, "not HTTP: \"\""),
        ] {
            let (target, served) = server(answer).await;
            let attempt = attempt(&http(target), LIMIT).await;
            assert_eq!((attempt.success, attempt.detail.as_str()), (success, detail));
            let request = String::from_utf8(served.await.unwrap()).unwrap();
            assert!(
                request.starts_with("GET /ready?x=1 HTTP/1.0\r\nHost: localhost\r\n"),
                "{request}"
            );
            assert!(request.ends_with("\r\n\r\n"), "{request}");
        }
    }

    #[tokio::test]
    async fn a_role_that_serves_nobody_fails_its_check() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("proxy.sock");
        let probe = Probe::Service {
            socket: socket.clone(),
            backend: Some("rabbit".into()),
        };
        assert!(!attempt(&probe, LIMIT).await.success, "nobody is there");
        let listener = tokio::net::UnixListener::bind(&socket).unwrap();
        let answers = [
            (r#"{"reply":"done","message":"well"}"#, true),
            (
                r#"{"reply":"refused","code":"not-ready","message":"no server"}"#,
                false,
            ),
        ];
        let server = tokio::spawn(async move {
            for (answer, _) in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = vec![0; 256];
                let count = stream.read(&mut request).await.unwrap();
                assert_eq!(
                    &request[..count],
                    b"{\"request\":\"ready\",\"backend\":\"rabbit\"}\n"
                );
                stream.write_all(format!("{answer}\n").as_bytes()).await.unwrap();
            }
        });
        for (_, success) in answers {
            assert_eq!(attempt(&probe, LIMIT).await.success, success);
        }
        server.await.unwrap();
    }

    #[tokio::test]
    async fn a_connection_is_all_that_tcp_asks_for() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = listener.local_addr().unwrap().to_string();
        assert!(
            attempt(
                &Probe::Tcp {
                    target: target.clone()
                },
                LIMIT
            )
            .await
            .success
        );
        drop(listener);
        let refused = attempt(
            &Probe::Tcp {
                target: target.clone(),
            },
            LIMIT,
        )
        .await;
        assert!(
            !refused.success && refused.detail.starts_with(&format!("connect {target}: ")),
            "{refused:?}"
        );
    }

    #[tokio::test]
    async fn silence_fails_at_the_deadline() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let short = Duration::from_millis(300);
        let attempt = attempt(&http(listener.local_addr().unwrap().to_string()), short).await;
        assert!(!attempt.success);
        assert!(
            attempt.latency >= short && attempt.latency < 10 * short,
            "{attempt:?}"
        );
        assert_eq!(attempt.detail, "no answer within 300ms");
    }
}
