//! A web server that tells what it was asked, so that a test sees what a proxy makes of a request.
//!
//! The body of an answer is the request as it arrived, head and body. Some paths do more: `/status/CODE` answers so,
//! `/chunked` sends its body in chunks, `/until-the-end` sends it without a length, `/drop` closes without an answer,
//! `/slow` takes a second, `/large/OCTETS` sends so many.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::host::Host;

/// A running web server on a host; ends when dropped.
#[derive(Debug)]
pub struct Origin {
    stop: Arc<AtomicBool>,
    requests: Arc<AtomicU64>,
    accepting: Option<JoinHandle<()>>,
}

impl Origin {
    /// Serves at `port` of every address of the host; answers carry the host's name as `X-Server`.
    #[track_caller]
    pub fn start(host: &Host, port: u16) -> Self {
        let any = SocketAddr::from(([0, 0, 0, 0], port));
        let listener = host
            .enter(|| TcpListener::bind(any))
            .expect("the port of the web server");
        listener.set_nonblocking(true).expect("a socket");
        let (stop, requests) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (ended, counted, name) = (Arc::clone(&stop), Arc::clone(&requests), host.name().to_owned());
        let accepting = std::thread::spawn(move || {
            while !ended.load(Ordering::Relaxed) {
                let Ok((stream, _)) = listener.accept() else {
                    std::thread::sleep(Duration::from_millis(1));
                    continue;
                };
                let (name, counted) = (name.clone(), Arc::clone(&counted));
                std::thread::spawn(move || {
                    let _ = stream.set_nonblocking(false);
                    // The other side sees how it ends.
                    while let Ok(true) = answer(&name, &stream, &counted) {}
                });
            }
        });
        Self {
            stop,
            requests,
            accepting: Some(accepting),
        }
    }

    /// How many requests have come.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        drop(self.accepting.take().map(JoinHandle::join));
    }
}

/// Answers one request; whether another may follow.
fn answer(name: &str, mut stream: &TcpStream, counted: &AtomicU64) -> io::Result<bool> {
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    let mut reader = BufReader::with_capacity(1, stream);
    let mut asked = String::new();
    while !asked.ends_with("\r\n\r\n") {
        if reader.read_line(&mut asked)? == 0 {
            return Ok(false);
        }
    }
    counted.fetch_add(1, Ordering::Relaxed);
    let path = asked.split(' ').nth(1).unwrap_or_default().to_owned();
    let head = asked.to_ascii_lowercase();
    let field = |name: &str| {
        head.lines()
            .find_map(|line| line.strip_prefix(name))
            .map(str::trim)
    };
    let length: usize = field("content-length:")
        .and_then(|text| text.parse().ok())
        .unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    asked += &String::from_utf8_lossy(&body);
    if field("transfer-encoding:").is_some() {
        while !asked.ends_with("0\r\n\r\n") {
            reader.read_line(&mut asked)?;
        }
    }
    let words: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    let (mut status, mut body, mut sized) = ("200".to_owned(), asked.clone().into_bytes(), true);
    match words.as_slice() {
        ["status", code] => (*code).clone_into(&mut status),
        ["drop"] => return Ok(false),
        ["slow"] => std::thread::sleep(Duration::from_secs(1)),
        ["large", octets] => body = vec![b'x'; octets.parse().unwrap_or(0)],
        ["until-the-end"] => sized = false,
        ["chunked"] => {
            let mut text =
                format!("HTTP/1.1 200 OK\r\nX-Server: {name}\r\nTransfer-Encoding: chunked\r\n\r\n")
                    .into_bytes();
            for part in body.chunks(16) {
                text.extend(format!("{:x}\r\n", part.len()).as_bytes());
                text.extend(part);
                text.extend(b"\r\n");
            }
            text.extend(b"0\r\n\r\n");
            return stream.write_all(&text).map(|()| true);
        }
        _ => {}
    }
    let length = match (sized, status.as_str()) {
        (false, _) | (_, "204" | "304") => String::new(),
        _ => format!("Content-Length: {}\r\n", body.len()),
    };
    if matches!(status.as_str(), "204" | "304") || head.starts_with("head ") {
        body.clear();
    }
    write!(
        stream,
        "HTTP/1.1 {status} Because\r\nX-Server: {name}\r\n{length}\r\n"
    )?;
    stream.write_all(&body)?;
    Ok(sized)
}
