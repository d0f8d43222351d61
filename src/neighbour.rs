//! The proxy of this host, as the failover daemon speaks to it: over its control socket, within a time, and without it
//! everything goes on.

use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;
use warren_api::proxy::{Reply, Request};

/// No answer to what is asked here is longer.
const ANSWER_MAX: u64 = 64 << 10;
/// How long clients have to hear that their connection moves, before the role is given away all the same.
const RELEASE_WITHIN: Duration = Duration::from_secs(2);
/// For the proxy itself to answer, beyond what it was given for its clients.
const PATIENCE: Duration = Duration::from_millis(500);

/// One request and its answer.
pub(crate) async fn ask(socket: &Path, request: &Request) -> io::Result<Reply> {
    let mut stream = UnixStream::connect(socket)
        .await
        .map_err(|error| io::Error::new(error.kind(), format!("the proxy does not answer: {error}")))?;
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    stream.write_all(&line).await?;
    let mut answer = Vec::new();
    stream.take(ANSWER_MAX).read_to_end(&mut answer).await?;
    Ok(serde_json::from_slice(&answer)?)
}

/// Has clients of these addresses told that their connections move, before the addresses do. Waits until that is done,
/// for as long as is decent; a host without a proxy is not waited for.
pub(crate) async fn release(socket: &Path, addresses: Vec<IpAddr>) {
    if addresses.is_empty() || !socket.exists() {
        return;
    }
    let request = Request::Release {
        addresses,
        within_us: RELEASE_WITHIN.into(),
    };
    match timeout(RELEASE_WITHIN + PATIENCE, ask(socket, &request)).await {
        Ok(Ok(Reply::Done { message, .. })) => tracing::info!(message, "proxy released its sessions"),
        Ok(Ok(other)) => tracing::warn!(?other, "proxy did not release its sessions"),
        Ok(Err(error)) => tracing::warn!(%error, "proxy did not release its sessions"),
        Err(_) => tracing::warn!("proxy did not release its sessions in time"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_proxy_is_told_which_addresses_leave() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("proxy.sock");
        // Nobody there: no delay.
        release(&socket, vec!["192.0.2.1".parse().unwrap()]).await;
        let listener = tokio::net::UnixListener::bind(&socket).unwrap();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 256];
            let count = stream.read(&mut request).await.unwrap();
            stream.write_all(b"{\"reply\":\"done\"}\n").await.unwrap();
            String::from_utf8(request[..count].to_vec()).unwrap()
        });
        release(&socket, vec!["192.0.2.1".parse().unwrap()]).await;
        let request = server.await.unwrap();
        assert!(
            request.starts_with(r#"{"request":"release","addresses":["192.0.2.1"]"#),
            "{request}"
        );
    }
}
