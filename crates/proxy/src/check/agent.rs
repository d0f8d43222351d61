//! What an agent says: one line of words about health, weight, limit and administrative state.
//!
//! ```text
//!   up 50% maxconn:30 # comment        ready        drain        maint        down text        fail        stopped
//! ```

use tokio::time::Instant;
use warren_balance::Admin;
use warren_balance::health::AgentReport;

use super::finding::Finding;
use super::link::Link;
use super::probe::Probe;
use super::script::in_time;

/// Most octets of an answer.
const LINE_MAX: usize = 1024;

/// Asks an agent. What it said goes with what is shown of it.
pub(super) async fn ask(probe: &Probe, send: Option<&str>) -> (Finding, AgentReport) {
    match answer(probe, send).await {
        Ok(line) => report(&line),
        Err(failed) => (failed, AgentReport::default()),
    }
}

async fn answer(probe: &Probe, send: Option<&str>) -> Result<Vec<u8>, Finding> {
    let mut link = probe.connect(None, Some(false)).await?;
    let deadline = probe.deadline();
    let line = talk(&mut link, send, deadline).await;
    probe.close(link);
    line
}

async fn talk(link: &mut Link, send: Option<&str>, deadline: Instant) -> Result<Vec<u8>, Finding> {
    if let Some(send) = send {
        in_time(deadline, link.send(send.as_bytes())).await??;
    }
    let mut octets = Vec::new();
    while !octets.contains(&b'\n') && octets.len() < LINE_MAX {
        if in_time(deadline, link.receive(&mut octets)).await?? == 0 {
            break;
        }
    }
    if octets.is_empty() {
        let text = "TCPCHK got an empty response at step 2";
        return Err(Finding::failed("L7RSP", text));
    }
    Ok(octets)
}

/// Takes a line apart.
fn report(octets: &[u8]) -> (Finding, AgentReport) {
    let text = String::from_utf8_lossy(octets);
    let Some((line, _)) = text.split_once(['\n', '\r']) else {
        return (
            unchanged("Ignoring incomplete line from agent"),
            AgentReport::default(),
        );
    };
    let (words, comment) = line.split_once('#').unwrap_or((line, ""));
    let mut report = AgentReport::default();
    let (mut health, mut description) = (None, comment.trim().to_owned());
    let mut unknown = None;
    let mut rest = words.trim_start_matches(SEPARATORS);
    while !rest.is_empty() {
        let (word, after) = rest.split_once(SEPARATORS).unwrap_or((rest, ""));
        rest = after.trim_start_matches(SEPARATORS);
        match word.to_ascii_lowercase().as_str() {
            "up" => {
                report.up = Some(true);
                health = Some("up");
            }
            bad @ ("down" | "stopped" | "fail") => {
                report.up = Some(false);
                health = ["down", "stopped", "fail"].into_iter().find(|one| *one == bad);
                if !rest.trim().is_empty() {
                    description = rest.trim().to_owned();
                }
                break;
            }
            "ready" => report.admin = Some(Admin::Ready),
            "drain" => report.admin = Some(Admin::Drain),
            "maint" => report.admin = Some(Admin::Maint),
            other => match (
                number(other.strip_suffix('%')),
                number(other.strip_prefix("maxconn:")),
            ) {
                (Some(percent), _) => report.percent = Some(percent),
                (_, Some(limit)) => report.maxconn = Some(limit),
                (None, None) => unknown = unknown.or(Some(word)),
            },
        }
    }
    let described = if description.is_empty() {
        String::new()
    } else {
        format!(" ({description})")
    };
    let finding = match (health, unknown) {
        (Some(word), _) => Finding::answered(
            report.up == Some(true),
            0,
            format!("via agent : {word}{described}"),
        ),
        (None, Some(word)) => unchanged(&format!("agent reports an error : {word}")),
        (None, None) => unchanged(""),
    };
    (finding, report)
}

const SEPARATORS: [char; 3] = [' ', ',', '\t'];

fn number(text: Option<&str>) -> Option<u32> {
    text?.parse().ok()
}

/// It said nothing about health.
fn unchanged(detail: &str) -> Finding {
    Finding::passed("CHECKED", detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(line: &str) -> (String, AgentReport) {
        let (finding, report) = report(line.as_bytes());
        (format!("{} {}", finding.status, finding.detail), report)
    }

    fn nothing() -> AgentReport {
        AgentReport::default()
    }

    #[test]
    fn words_are_combined_as_the_manual_says() {
        let all = AgentReport {
            up: Some(true),
            percent: Some(50),
            maxconn: Some(30),
            admin: Some(Admin::Ready),
        };
        assert_eq!(
            said("up ready, 50%\tmaxconn:30 # fine\n"),
            ("L7OK via agent : up (fine)".to_owned(), all)
        );
        let percent = AgentReport {
            percent: Some(150),
            ..nothing()
        };
        assert_eq!(said("150%\r\n"), ("CHECKED ".to_owned(), percent));
        for (word, admin) in [
            ("ready", Admin::Ready),
            ("DRAIN", Admin::Drain),
            ("maint", Admin::Maint),
        ] {
            let report = AgentReport {
                admin: Some(admin),
                ..nothing()
            };
            assert_eq!(said(&format!("{word}\n")), ("CHECKED ".to_owned(), report));
        }
    }

    #[test]
    fn bad_health_comes_with_its_description() {
        let down = AgentReport {
            up: Some(false),
            ..nothing()
        };
        for (line, shown) in [
            ("down # broken disk\n", "L7STS via agent : down (broken disk)"),
            ("fail now\n", "L7STS via agent : fail (now)"),
            ("stopped\n", "L7STS via agent : stopped"),
        ] {
            assert_eq!(said(line), (shown.to_owned(), down));
        }
    }

    #[test]
    fn what_is_not_understood_changes_nothing() {
        for (line, shown) in [
            ("failed\n", "CHECKED agent reports an error : failed"),
            ("up", "CHECKED Ignoring incomplete line from agent"),
            ("maxconn:x\n", "CHECKED agent reports an error : maxconn:x"),
            ("99999999999%\n", "CHECKED agent reports an error : 99999999999%"),
        ] {
            assert_eq!(said(line), (shown.to_owned(), nothing()));
        }
    }

    proptest::proptest! {
        #[test]
        fn nothing_that_an_agent_says_can_break_it(octets in proptest::collection::vec(0..=255_u8, 0..60)) {
            report(&octets);
        }
    }
}
