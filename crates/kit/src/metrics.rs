//! Serves metrics to a Prometheus server: `GET /metrics`, one request per connection, and nothing else.
//!
//! No TLS and no authentication: the listener belongs on loopback, or behind something that has both.

use std::convert::Infallible;
use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{ALLOW, CONTENT_TYPE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::form::decoded;
use crate::setbacks::Setbacks;

/// What prometheus-client writes.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// A scrape server opens one. More are refused by being closed.
const CONNECTIONS_MAX: usize = 8;

/// hyper's smallest.
const BUFFER_BYTES_MAX: usize = 8192;

/// For the request's head, for making the metrics, and for the whole exchange.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    pub request: Duration,
    /// Shorter than a scrape server's patience (10 s is usual), so that it hears why there is nothing.
    pub text: Duration,
    pub exchange: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            request: Duration::from_secs(5),
            text: Duration::from_secs(3),
            exchange: Duration::from_secs(10),
        }
    }
}

/// Serves OpenMetrics until dropped. `text` makes the current metrics; it is called once for each scrape, and dropped
/// unfinished when it is late or nobody waits for it any more.
pub async fn serve<F, T>(listener: TcpListener, timeouts: Timeouts, text: F) -> io::Result<()>
where
    F: Fn() -> T + Send + Sync + 'static,
    T: Future<Output = String> + Send + 'static,
{
    serve_as(OPEN_METRICS, listener, timeouts, text).await
}

/// The same with another type of content: what a server is told decides how it reads.
pub async fn serve_as<F, T>(
    content_type: &'static str,
    listener: TcpListener,
    timeouts: Timeouts,
    text: F,
) -> io::Result<()>
where
    F: Fn() -> T + Send + Sync + 'static,
    T: Future<Output = String> + Send + 'static,
{
    let page = move |asked: &Asked<'_>| (asked.path == "/metrics").then(&text);
    serve_pages(content_type, listener, timeouts, page).await
}

/// What a server asks for.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    pub path: &'a str,
    pub query: Option<&'a str>,
}

impl Asked<'_> {
    /// The values of a parameter, which may come more than once.
    pub fn values(&self, name: &str) -> Vec<String> {
        let pairs = self.query.unwrap_or_default().split('&');
        pairs
            .filter_map(|pair| pair.split_once('='))
            .filter(|(said, _)| *said == name)
            .map(|(_, value)| decoded(value))
            .collect()
    }
}

/// Several pages: `page` gives what makes one, or nothing where there is none.
pub async fn serve_pages<F, T>(
    content_type: &'static str,
    listener: TcpListener,
    timeouts: Timeouts,
    page: F,
) -> io::Result<()>
where
    F: Fn(&Asked<'_>) -> Option<T> + Send + Sync + 'static,
    T: Future<Output = String> + Send + 'static,
{
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let text = Arc::new(page);
    let mut setbacks = Setbacks::new("a metrics connection");
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) if connections.len() < CONNECTIONS_MAX => {
                    connections.spawn(converse(content_type, stream, timeouts, text.clone()));
                }
                Ok(_) => {}
                Err(error) => setbacks.rest(&error).await,
            }
        }
    }
}

async fn converse<F, T>(content_type: &'static str, stream: TcpStream, timeouts: Timeouts, text: Arc<F>)
where
    F: Fn(&Asked<'_>) -> Option<T>,
    T: Future<Output = String>,
{
    let answer = service_fn(|request: Request<Incoming>| {
        let text = text.clone();
        async move { Ok::<_, Infallible>(answer(content_type, &request, timeouts.text, &*text).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(timeouts.request)
        .keep_alive(false)
        .max_buf_size(BUFFER_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), answer);
    // A client that breaks off or sends nonsense is no news.
    let _ = timeout(timeouts.exchange, connection).await;
}

async fn answer<T>(
    content_type: &'static str,
    request: &Request<Incoming>,
    patience: Duration,
    page: impl Fn(&Asked<'_>) -> Option<T>,
) -> Response<String>
where
    T: Future<Output = String>,
{
    let asked = Asked {
        path: request.uri().path(),
        query: request.uri().query(),
    };
    let (status, body) = match (page(&asked), request.method()) {
        (Some(text), &Method::GET | &Method::HEAD) => match timeout(patience, text).await {
            Ok(text) => (StatusCode::OK, text),
            Err(_) => (
                StatusCode::SERVICE_UNAVAILABLE,
                format!("no metrics within {patience:?}: the daemon is busy or hangs; see its log\n"),
            ),
        },
        (Some(_), _) => (
            StatusCode::METHOD_NOT_ALLOWED,
            "only GET is possible here\n".to_owned(),
        ),
        (None, _) => (StatusCode::NOT_FOUND, "there is only /metrics here\n".to_owned()),
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let content_type = if status == StatusCode::OK {
        content_type
    } else {
        "text/plain; charset=utf-8"
    };
    response.headers_mut().insert(
        CONTENT_TYPE,
        hyper::header::HeaderValue::from_static(content_type),
    );
    if status == StatusCode::METHOD_NOT_ALLOWED {
        response
            .headers_mut()
            .insert(ALLOW, hyper::header::HeaderValue::from_static("GET, HEAD"));
    }
    response
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    async fn start(timeouts: Timeouts) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        // As a daemon's, it is not ready at once.
        tokio::spawn(serve(listener, timeouts, || async {
            tokio::task::yield_now().await;
            "adverts_total 3\n# EOF\n".to_owned()
        }));
        address
    }

    /// Serves metrics that are never made.
    async fn start_hung(timeouts: Timeouts) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(serve(listener, timeouts, std::future::pending));
        address
    }

    async fn exchange(address: SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        timeout(Duration::from_secs(10), stream.read_to_string(&mut answer))
            .await
            .expect("closed in time")
            .unwrap();
        answer
    }

    #[tokio::test]
    async fn metrics_are_served_as_open_metrics_text() {
        let address = start(Timeouts::default()).await;
        let answer = exchange(address, "GET /metrics?x=1 HTTP/1.1\r\nhost: a\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(
            answer.contains("content-type: application/openmetrics-text; version=1.0.0"),
            "{answer}"
        );
        assert!(answer.ends_with("\r\n\r\nadverts_total 3\n# EOF\n"), "{answer}");
    }

    #[tokio::test]
    async fn another_type_of_content_is_named() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let text = || async { "up 1\n".to_owned() };
        tokio::spawn(serve_as(
            "text/plain; version=0.0.4",
            listener,
            Timeouts::default(),
            text,
        ));
        let answer = exchange(address, "GET /metrics HTTP/1.1\r\nhost: a\r\n\r\n").await;
        assert!(
            answer.contains("content-type: text/plain; version=0.0.4\r\n"),
            "{answer}"
        );
    }

    #[tokio::test]
    async fn everything_else_is_refused() {
        let address = start(Timeouts::default()).await;
        for (request, status) in [
            ("GET / HTTP/1.1\r\nhost: a\r\n\r\n", "404"),
            ("GET /metrics/x HTTP/1.1\r\nhost: a\r\n\r\n", "404"),
            (
                "POST /metrics HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n",
                "405",
            ),
            ("nonsense\r\n\r\n", "400"),
        ] {
            let answer = exchange(address, request).await;
            assert!(
                answer.starts_with(&format!("HTTP/1.1 {status}")),
                "{request}: {answer}"
            );
        }
        let long = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(2 * BUFFER_BYTES_MAX));
        let mut stream = TcpStream::connect(address).await.unwrap();
        let _ = stream.write_all(long.as_bytes()).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        assert!(!answer.starts_with(b"HTTP/1.1 200"));
    }

    #[tokio::test]
    async fn a_client_that_sends_nothing_is_cut_off() {
        let timeouts = Timeouts {
            request: Duration::from_millis(50),
            exchange: Duration::from_millis(100),
            ..Timeouts::default()
        };
        let address = start(timeouts).await;
        exchange(address, "GET /met").await;
    }

    #[tokio::test]
    async fn metrics_that_are_not_made_in_time_are_answered_with_503() {
        let timeouts = Timeouts {
            text: Duration::from_millis(50),
            ..Timeouts::default()
        };
        let address = start_hung(timeouts).await;
        let answer = exchange(address, "GET /metrics HTTP/1.1\r\nhost: a\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
        assert!(answer.contains("content-type: text/plain"), "{answer}");
        assert!(
            answer.ends_with("no metrics within 50ms: the daemon is busy or hangs; see its log\n"),
            "{answer}"
        );
    }

    #[tokio::test]
    async fn a_hung_maker_holds_its_connection_no_longer_than_an_exchange_may_last() {
        let timeouts = Timeouts {
            exchange: Duration::from_millis(50),
            ..Timeouts::default()
        };
        let address = start_hung(timeouts).await;
        let answer = exchange(address, "GET /metrics HTTP/1.1\r\nhost: a\r\n\r\n").await;
        assert_eq!(answer, "", "closed without an answer");
    }

    #[tokio::test]
    async fn a_hung_maker_keeps_nobody_from_being_refused() {
        let address = start_hung(Timeouts::default()).await;
        let mut waiting = TcpStream::connect(address).await.unwrap();
        waiting
            .write_all(b"GET /metrics HTTP/1.1\r\nhost: a\r\n\r\n")
            .await
            .unwrap();
        let answer = exchange(address, "GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
    }

    #[tokio::test]
    async fn connections_are_limited_and_become_free_again() {
        let address = start(Timeouts::default()).await;
        let mut held = Vec::new();
        for _ in 0..CONNECTIONS_MAX {
            held.push(TcpStream::connect(address).await.unwrap());
        }
        let mut refused = TcpStream::connect(address).await.unwrap();
        let read = timeout(Duration::from_secs(5), refused.read(&mut [0; 16]))
            .await
            .expect("closed at once");
        assert!(matches!(read, Ok(0) | Err(_)));
        drop(held);
        let deadline = tokio::time::Instant::now() + Duration::from_secs(5);
        loop {
            let mut stream = TcpStream::connect(address).await.unwrap();
            let _ = stream
                .write_all(b"GET /metrics HTTP/1.1\r\nhost: a\r\n\r\n")
                .await;
            let mut answer = Vec::new();
            let _ = stream.read_to_end(&mut answer).await;
            if answer.starts_with(b"HTTP/1.1 200") {
                break;
            }
            assert!(
                tokio::time::Instant::now() < deadline,
                "no connection became free"
            );
        }
    }
}
