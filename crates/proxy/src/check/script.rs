//! `option tcp-check`: what is sent and what has to come, step by step.

use tokio::time::{Instant, timeout_at};

use super::finding::Finding;
use super::link::ANSWER_MAX;
use super::probe::Probe;
use crate::plan::Step;

/// Runs the steps, which begin with a connection whether they say so or not.
pub(super) async fn check(probe: &Probe) -> Finding {
    let mut place = 0;
    match run(probe, &mut place).await {
        Ok(finding) => finding,
        Err(failed) => Finding {
            detail: format!("{}{}", failed.detail, at_step(probe.steps(), place)),
            ..failed
        },
    }
}

async fn run(probe: &Probe, place: &mut usize) -> Result<Finding, Finding> {
    let steps = probe.steps();
    let mut link = match steps.first() {
        Some(Step::Connect { .. }) => None,
        _ => Some(probe.connect(None, None).await?),
    };
    let mut deadline = probe.deadline();
    let mut last = "L4OK";
    let mut octets = Vec::new();
    for step in steps {
        *place += 1;
        match step {
            Step::Connect { port, tls } => {
                if let Some(link) = link.take() {
                    link.close().await;
                }
                octets.clear();
                link = Some(probe.connect(*port, Some(*tls)).await?);
                deadline = probe.deadline();
                last = if *tls { "L6OK" } else { "L4OK" };
            }
            Step::Send(data) => {
                if let Some(link) = &mut link {
                    in_time(deadline, link.send(data)).await??;
                    last = "L7OK";
                }
                // What came before is no answer to this.
                octets.clear();
            }
            Step::Expect {
                octets: wanted,
                negated,
            } => {
                let found = |octets: &[u8]| memchr::memmem::find(octets, wanted).is_some();
                expect(&mut link, &mut octets, *negated, deadline, found).await?;
                last = "L7OK";
            }
            Step::ExpectMysql { login } => {
                let missing = || Finding::failed("SOCKERR", "");
                let link = link.as_mut().ok_or_else(missing)?;
                let packets = if *login { 2 } else { 1 };
                while !mysql(&octets, packets)? {
                    let count = in_time(deadline, link.receive(&mut octets)).await??;
                    if count == 0 || octets.len() >= ANSWER_MAX {
                        return Err(Finding::failed("L7RSP", "MySQL server said too little"));
                    }
                }
                last = "L7OK";
            }
            Step::ExpectRegex { regex, negated } => {
                expect(&mut link, &mut octets, *negated, deadline, |octets| {
                    regex.is_match(octets)
                })
                .await?;
                last = "L7OK";
            }
        }
    }
    if let Some(link) = link {
        probe.close(link);
    }
    Ok(Finding::passed(last, "(tcp-check)"))
}

/// Whether the server has said so many packets. One that says what is wrong ends it.
///
/// ```text
///   length, 3 octets, the lowest first | number | content: 0xff, code of 2 octets, text; or anything else
/// ```
fn mysql(octets: &[u8], packets: usize) -> Result<bool, Finding> {
    let mut rest = octets;
    for _ in 0..packets {
        let [low, middle, high, _number, after @ ..] = rest else {
            return Ok(false);
        };
        let length = u32::from_le_bytes([*low, *middle, *high, 0]) as usize;
        let Some((content, next)) = after.split_at_checked(length) else {
            return Ok(false);
        };
        match content {
            [0xff, _, _, text @ ..] => {
                let text = String::from_utf8_lossy(text).into_owned();
                return Err(Finding::failed("L7STS", text));
            }
            [] | [0xff, ..] => return Err(Finding::failed("L7RSP", "no packet of MySQL")),
            _ => rest = next,
        }
    }
    Ok(true)
}

/// As long as the connection lasts, what is wanted may still come, and so may what is not wanted.
async fn expect(
    link: &mut Option<super::link::Link>,
    octets: &mut Vec<u8>,
    negated: bool,
    deadline: Instant,
    found: impl Fn(&[u8]) -> bool,
) -> Result<(), Finding> {
    let Some(link) = link else {
        return Err(Finding::failed("SOCKERR", ""));
    };
    let mut ended = false;
    loop {
        match (found(octets), negated) {
            (true, false) => return Ok(()),
            (true, true) => {
                return Err(Finding::failed("L7RSP", "TCPCHK matched unwanted content"));
            }
            (false, true) if ended => return Ok(()),
            (false, false) if ended && octets.is_empty() => {
                return Err(Finding::failed("L7RSP", "TCPCHK got an empty response"));
            }
            (false, false) if ended => {
                return Err(Finding::failed("L7RSP", "TCPCHK did not match content"));
            }
            (false, _) => {}
        }
        let count = in_time(deadline, link.receive(octets)).await??;
        ended = count == 0 || octets.len() >= ANSWER_MAX;
    }
}

/// Whatever takes longer is a timeout of the answer.
pub(super) async fn in_time<T>(deadline: Instant, future: impl Future<Output = T>) -> Result<T, Finding> {
    timeout_at(deadline, future)
        .await
        .map_err(|_| Finding::failed("L7TOUT", ""))
}

fn at_step(steps: &[Step], place: usize) -> String {
    let Some(step) = place.checked_sub(1).and_then(|index| steps.get(index)) else {
        return String::new();
    };
    let what = match step {
        Step::Connect { port: Some(port), .. } => format!("connect port {port}"),
        Step::Connect { .. } => "connect".to_owned(),
        Step::Send(_) => "send".to_owned(),
        Step::Expect { octets, .. } => format!("expect string '{}'", octets.escape_ascii()),
        Step::ExpectMysql { .. } => "expect mysql".to_owned(),
        Step::ExpectRegex { .. } => "expect regex".to_owned(),
    };
    format!(" at step {place} of tcp-check ({what})")
}
