//! Is the broker well, as its protocol and its management tell.
//!
//! - The greeting: it answers the protocol header with `connection.start`.
//! - The login: it lets us in, opens the virtual host, and both say goodbye.
//! - The management: no alarm on this node. A node that is drained refuses connections, also to its management. That a
//!   node is critical for a quorum is said and does not count against it: it is then the last to be taken out of service.
//!
//! Whatever happens, the broker hears a proper end and has no reason to log a warning.

use base64::Engine as _;
use bytes::BytesMut;
use warren_amqp::frame::Splitter;
use warren_amqp::handshake::{Client, Failure, Progress, Settings};
use warren_amqp::{FrameMax, Table};

use super::finding::Finding;
use super::http::{self, Answer, Question};
use super::link::Link;
use super::probe::Probe;
use super::script::in_time;

/// What the broker shows in its list of connections.
const PRODUCT: &str = "warren health check";

/// As far as the greeting.
pub(super) async fn greeting(probe: &Probe) -> Result<Finding, Finding> {
    converse(probe, Settings::greeting()).await
}

/// As far as an open virtual host.
pub(super) async fn login(
    probe: &Probe,
    user: &str,
    password: &str,
    vhost: &str,
) -> Result<Finding, Finding> {
    let settings = Settings::open(user, password, vhost, PRODUCT)
        .map_err(|error| Finding::failed("L7RSP", error.to_string()))?;
    converse(probe, settings).await
}

async fn converse(probe: &Probe, settings: Settings) -> Result<Finding, Finding> {
    let mut link = probe.connect(None, None).await?;
    let result = in_time(probe.deadline(), handshake(&mut link, settings)).await;
    probe.close(link);
    result?
}

async fn handshake(link: &mut Link, settings: Settings) -> Result<Finding, Finding> {
    let mut out = BytesMut::new();
    let mut client = Client::start(settings, &mut out);
    let mut splitter = Splitter::of_server();
    splitter.set_frame_max(FrameMax::MIN);
    let (mut octets, mut buffer) = (Vec::new(), BytesMut::new());
    loop {
        link.send(&out).await?;
        out.clear();
        octets.clear();
        if link.receive(&mut octets).await? == 0 {
            return Err(Finding::failed(
                "L7RSP",
                "the server closed the connection without a word",
            ));
        }
        buffer.extend_from_slice(&octets);
        loop {
            let item = match splitter.next(&mut buffer) {
                Ok(Some(item)) => item,
                Ok(None) => break,
                Err(error) => return Err(Finding::failed("L7RSP", error.to_string())),
            };
            match client.handle(&item, &mut out) {
                Ok(Progress::Going) => {}
                Ok(Progress::Done(server)) => return Ok(Finding::passed("L7OK", broker(&server))),
                Err(failure) => {
                    // The answer to a close is owed in any case; that it may not arrive changes nothing.
                    let _ = link.send(&out).await;
                    return Err(refusal(&failure));
                }
            }
        }
    }
}

/// `RabbitMQ 3.10.8`.
fn broker(server: &Table) -> String {
    let text = |key| server.text(key).unwrap_or_default();
    format!("{} {}", text("product"), text("version"))
        .trim()
        .to_owned()
}

fn refusal(failure: &Failure) -> Finding {
    match failure {
        Failure::Closed { code, text, .. } => Finding::answered(false, *code, text.clone()),
        Failure::Refused(_)
        | Failure::NoPlain(_)
        | Failure::Unexpected { .. }
        | Failure::NoMethod { .. }
        | Failure::Method(_)
        | Failure::TooLarge(_)
        | Failure::FrameMax(_) => Finding::failed("L7RSP", failure.to_string()),
    }
}

/// What the management of this node says.
pub(super) async fn management(
    probe: &Probe,
    port: u16,
    user: &str,
    password: &str,
) -> Result<Finding, Finding> {
    let credentials = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
    let headers = [
        ("host".to_owned(), "localhost".to_owned()),
        ("authorization".to_owned(), format!("Basic {credentials}")),
    ];
    let get = async |uri: &str| {
        let question = Question {
            method: "GET",
            uri,
            version: "HTTP/1.1",
            headers: &headers,
            body: None,
        };
        let mut link = probe.connect(Some(port), None).await?;
        let answer = in_time(probe.deadline(), http::ask(&mut link, &question, true)).await;
        probe.close(link);
        answer?
    };
    let alarms = get("/api/health/checks/local-alarms").await?;
    if alarms.status != 200 {
        return Ok(Finding::answered(false, alarms.status, complaint(&alarms)));
    }
    let critical = get("/api/health/checks/node-is-quorum-critical").await?.status == 503;
    let detail = if critical { "critical for a quorum" } else { "" };
    Ok(Finding::answered(true, 200, detail))
}

/// `{"status":"failed","reason":"…"}`, or the reason of the status line.
fn complaint(answer: &Answer) -> String {
    let why: serde_json::Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let reason = why.get("reason").and_then(|reason| reason.as_str());
    reason.unwrap_or(&answer.reason).to_owned()
}
