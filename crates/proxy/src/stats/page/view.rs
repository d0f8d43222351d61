//! The table as people read it: HAProxy's columns, numbers made short, and what they mean in words.

use super::words::Words;
use crate::stats::{Field, Kind, Look, Row, Statistics};

/// A group of columns.
pub(super) struct Group {
    pub(super) title: &'static str,
    pub(super) columns: &'static [Column],
}

/// One column.
pub(super) struct Column {
    pub(super) title: &'static str,
    /// What it means, in both languages.
    pub(super) help: [&'static str; 2],
    /// 1 is always shown, 2 not on a phone, 3 only where there is room.
    pub(super) rank: u8,
}

impl Column {
    /// How much room it has where all tables are laid out alike.
    pub(super) fn width(&self) -> &'static str {
        match self.title {
            "Status" | "LastChk" => "text",
            "In" | "Out" | "Total" => "broad",
            "Limit" | "LbTot" | "Dwntme" | "Thrtle" | "Last" => "middle",
            _ => "narrow",
        }
    }
}

const fn column(title: &'static str, rank: u8, english: &'static str, chinese: &'static str) -> Column {
    Column {
        title,
        help: [english, chinese],
        rank,
    }
}

#[rustfmt::skip]
pub(super) const GROUPS: &[Group] = &[
    Group { title: "Queue", columns: &[
        column("Cur", 2, "Connections that wait for a server now.", "当前排队的连接。"),
        column("Max", 3, "Most connections that waited at once.", "同时排队的最大连接数。"),
        column("Limit", 3, "Connections that may wait.", "允许排队的连接数。"),
    ]},
    Group { title: "Session rate", columns: &[
        column("Cur", 1, "New sessions in the last second.", "最近一秒的新会话。"),
        column("Max", 3, "Most new sessions in a second.", "每秒新会话的最大值。"),
        column("Limit", 3, "New sessions allowed per second.", "每秒允许的新会话数。"),
    ]},
    Group { title: "Sessions", columns: &[
        column("Cur", 1, "Sessions now.", "当前会话。"),
        column("Max", 2, "Most sessions at once.", "同时会话的最大值。"),
        column("Limit", 2, "Sessions allowed at once.", "允许的同时会话数。"),
        column("Total", 2, "Sessions in all.", "会话总数。"),
        column("LbTot", 3, "Times it was chosen by balancing.", "被负载均衡选中的次数。"),
        column("Last", 2, "Time since the last session began.", "距最近一次会话开始的时间。"),
    ]},
    Group { title: "Bytes", columns: &[
        column("In", 2, "From clients.", "来自客户端。"),
        column("Out", 2, "To clients.", "发往客户端。"),
    ]},
    Group { title: "Denied", columns: &[
        column("Req", 3, "Requests refused by a rule.", "被规则拒绝的请求。"),
        column("Resp", 3, "Responses refused by a rule.", "被规则拒绝的响应。"),
    ]},
    Group { title: "Errors", columns: &[
        column("Req", 3, "Requests that were wrong or never came.", "错误或未到达的请求。"),
        column("Conn", 2, "Servers that could not be reached.", "无法连接服务器的次数。"),
        column("Resp", 3, "Responses that were wrong or never came.", "错误或未到达的响应。"),
    ]},
    Group { title: "Warnings", columns: &[
        column("Retr", 3, "Connecting was tried again.", "重试连接的次数。"),
        column("Redis", 3, "Sent to another server instead.", "改派到其他服务器的次数。"),
    ]},
    Group { title: "Server", columns: &[
        column("Status", 1, "Since when it is what.", "状态及持续时间。"),
        column("LastChk", 2, "Result of the last check, and how long it took.", "最近一次检查的结果及耗时。"),
        column("Wght", 2, "Weight in effect.", "当前权重。"),
        column("Act", 3, "Active server, or how many of them are in use.", "主用服务器，或可用的主用数量。"),
        column("Bck", 3, "Backup server, or how many of them are well.", "备用服务器，或可用的备用数量。"),
        column("Chk", 3, "Checks that failed while it was up.", "正常期间失败的检查次数。"),
        column("Dwn", 3, "Times it went down.", "宕机次数。"),
        column("Dwntme", 2, "Time it was down in all.", "累计宕机时间。"),
        column("Thrtle", 3, "Percent of its weight on slow start.", "慢启动期间的权重百分比。"),
    ]},
];

/// One cell.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub(super) struct Cell {
    /// What stands there.
    #[serde(rename = "t")]
    pub(super) text: String,
    /// What it means; may be empty.
    #[serde(rename = "h", skip_serializing_if = "String::is_empty")]
    pub(super) tip: String,
}

impl Cell {
    /// Paler than the rest, so that the rest is seen.
    pub(super) fn is_nothing(&self) -> bool {
        ["0", "-", "?", "0s", "0\u{202f}B"].contains(&self.text.as_str())
    }
}

/// One row, ready to be shown.
#[derive(Clone, Debug, serde::Serialize)]
pub(super) struct View {
    /// `proxy/name`, which the script finds it by.
    pub(super) key: String,
    /// What stands in front.
    pub(super) name: String,
    /// What the name stands for: address, number.
    pub(super) tip: String,
    /// Class of the row.
    pub(super) look: &'static str,
    /// The columns.
    pub(super) cells: Vec<Cell>,
}

/// A row as it is shown. `discreet`: without addresses.
pub(super) fn view(row: &Row, words: &Words, discreet: bool) -> View {
    let name = match row.kind {
        Kind::Frontend => words.frontend.to_owned(),
        Kind::Backend => words.backend.to_owned(),
        Kind::Server | Kind::Socket => row.text(Field::Svname).to_owned(),
    };
    View {
        key: super::key_of(row),
        tip: about(row, words, discreet),
        name,
        look: class(row.look),
        cells: cells(row, words),
    }
}

fn about(row: &Row, words: &Words, discreet: bool) -> String {
    let mut lines = Vec::new();
    match row.kind {
        Kind::Server | Kind::Socket => {
            if !discreet {
                lines.push(format!("{}: {}", words.address, row.text(Field::Addr)));
            }
            lines.push(format!("id: {}", row.id));
            if row.number(Field::Bck) == 1 {
                lines.push(words.state_backup.to_owned());
            }
        }
        Kind::Backend if !discreet => lines.push(format!("{}: {}", words.balance, row.text(Field::Algo))),
        Kind::Backend | Kind::Frontend => {}
    }
    if let Some(end) = row.certificates_end {
        lines.push(format!("{}: {}", words.certificate_end, day(end)));
    }
    lines.join("\n")
}

/// `2027-01-31`, where the host is.
pub(super) fn day(moment: std::time::SystemTime) -> String {
    let moment = jiff::Timestamp::try_from(moment).unwrap_or_default();
    moment.to_zoned(jiff::tz::TimeZone::system()).date().to_string()
}

/// HAProxy's names of the colours.
pub(super) const fn class(look: Look) -> &'static str {
    match look {
        Look::Frontend => "frontend",
        Look::Socket => "socket",
        Look::Backend => "backend",
        Look::ActiveUp => "active_up",
        Look::ActiveGoingDown => "active_going_down",
        Look::ActiveGoingUp => "active_going_up",
        Look::ActiveDown => "active_down",
        Look::ActiveDraining => "active_draining",
        Look::ActiveNoCheck => "active_no_check",
        Look::BackupUp => "backup_up",
        Look::BackupGoingDown => "backup_going_down",
        Look::BackupGoingUp => "backup_going_up",
        Look::BackupDown => "backup_down",
        Look::BackupDraining => "backup_draining",
        Look::BackupNoCheck => "backup_no_check",
        Look::Maintain => "maintain",
    }
}

/// In the order of [`GROUPS`].
fn cells(row: &Row, words: &Words) -> Vec<Cell> {
    let serves = matches!(row.kind, Kind::Server | Kind::Backend);
    let number = |field| plain(whole(row, field));
    let server = |field| if serves { number(field) } else { Cell::default() };
    let limit = |field| match row.number(field) {
        0 => plain("-".to_owned()),
        _ => number(field),
    };
    vec![
        server(Field::Qcur),
        server(Field::Qmax),
        if row.kind == Kind::Server {
            limit(Field::Qlimit)
        } else {
            Cell::default()
        },
        with_tip(number(Field::Rate), rates(row, words)),
        number(Field::RateMax),
        if row.kind == Kind::Frontend {
            limit(Field::RateLim)
        } else {
            Cell::default()
        },
        with_tip(number(Field::Scur), sessions(row, words)),
        number(Field::Smax),
        limit(Field::Slim),
        with_tip(number(Field::Stot), totals(row, words)),
        server(Field::Lbtot),
        if serves { plain(last(row)) } else { Cell::default() },
        bytes(row.number(Field::Bin), words),
        bytes(row.number(Field::Bout), words),
        number(Field::Dreq),
        number(Field::Dresp),
        number(Field::Ereq),
        number(Field::Econ),
        with_tip(number(Field::Eresp), aborts(row, words)),
        server(Field::Wretr),
        server(Field::Wredis),
        with_tip(plain(status(row)), meaning(row, words)),
        with_tip(plain(last_check(row)), check_detail(row, words)),
        server(Field::Weight),
        plain(mark(row, Field::Act)),
        plain(mark(row, Field::Bck)),
        with_tip(server(Field::Chkfail), failures(row, words)),
        server(Field::Chkdown),
        plain(match row.value(Field::Downtime) {
            crate::stats::Value::U32(seconds) => human_time(u64::from(*seconds)),
            _ => String::new(),
        }),
        plain(match row.value(Field::Throttle) {
            crate::stats::Value::U32(percent) => format!("{percent} %"),
            _ if row.kind == Kind::Server => "-".to_owned(),
            _ => String::new(),
        }),
    ]
}

const fn plain(text: String) -> Cell {
    Cell {
        text,
        tip: String::new(),
    }
}

fn with_tip(cell: Cell, tip: String) -> Cell {
    Cell { tip, ..cell }
}

/// A number with its thousands apart; nothing where there is none.
fn whole(row: &Row, field: Field) -> String {
    match row.value(field) {
        crate::stats::Value::Empty => String::new(),
        _ => grouped(row.number(field)),
    }
}

/// `1 234 567`, with narrow spaces that do not break.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3 * 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

/// `1.3 MB`, and the exact number on hover.
fn bytes(count: u64, words: &Words) -> Cell {
    Cell {
        text: short_bytes(count),
        tip: format!("{} {}", grouped(count), words.octets),
    }
}

/// With three digits and a decimal unit.
pub(super) fn short_bytes(count: u64) -> String {
    const UNITS: [&str; 6] = ["kB", "MB", "GB", "TB", "PB", "EB"];
    if count < 1000 {
        return format!("{count}\u{202f}B");
    }
    let mut value = count as f64 / 1000.0;
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    let digits = match value {
        ..9.995 => 2,
        ..99.95 => 1,
        _ => 0,
    };
    format!(
        "{value:.digits$}\u{202f}{}",
        UNITS.get(unit).copied().unwrap_or_default()
    )
}

/// `5s`, `2m5s`, `3h4m`, `2d3h`: as HAProxy, two units at most.
pub(super) fn human_time(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    let pair = |great: u64, unit: &str, small: u64, part: &str| match small {
        0 => format!("{great}{unit}"),
        small => format!("{great}{unit}{small}{part}"),
    };
    if days > 0 {
        pair(days, "d", hours, "h")
    } else if hours > 0 {
        pair(hours, "h", minutes, "m")
    } else if minutes > 0 {
        pair(minutes, "m", seconds % 60, "s")
    } else {
        format!("{seconds}s")
    }
}

fn last(row: &Row) -> String {
    match row.value(Field::Lastsess) {
        crate::stats::Value::S32(-1) | crate::stats::Value::Empty => "?".to_owned(),
        _ => human_time(row.number(Field::Lastsess)),
    }
}

fn status(row: &Row) -> String {
    match row.kind {
        Kind::Frontend | Kind::Socket => row.text(Field::Status).to_owned(),
        Kind::Server | Kind::Backend => {
            format!(
                "{} {}",
                human_time(row.number(Field::Lastchg)),
                row.text(Field::Status)
            )
        }
    }
}

fn last_check(row: &Row) -> String {
    let result = row.text(Field::CheckStatus);
    if result.is_empty() {
        return String::new();
    }
    let code = match row.value(Field::CheckCode) {
        crate::stats::Value::U32(code) => format!("/{code}"),
        _ => String::new(),
    };
    match row.value(Field::CheckDuration) {
        crate::stats::Value::U64(millis) => format!("{result}{code} in {millis}ms"),
        _ => format!("{result}{code}"),
    }
}

fn mark(row: &Row, field: Field) -> String {
    match (row.kind, row.number(field)) {
        (Kind::Server, 0) => "-".to_owned(),
        (Kind::Server, _) => "Y".to_owned(),
        (Kind::Backend, number) => grouped(number),
        (Kind::Frontend | Kind::Socket, _) => String::new(),
    }
}

/// What its state means.
fn meaning(row: &Row, words: &Words) -> String {
    let sentence = match row.look {
        Look::Frontend | Look::Socket => words.state_frontend,
        Look::Backend if row.text(Field::Status) == "UP" => words.state_backend_up,
        Look::Backend => words.state_backend_down,
        Look::ActiveUp | Look::BackupUp => words.state_up,
        Look::ActiveNoCheck | Look::BackupNoCheck => words.not_checked,
        Look::ActiveGoingDown | Look::BackupGoingDown => words.state_going_down,
        Look::ActiveGoingUp | Look::BackupGoingUp => words.state_going_up,
        Look::ActiveDown | Look::BackupDown => words.state_down,
        Look::ActiveDraining | Look::BackupDraining => words.state_drain,
        Look::Maintain => words.state_maint,
    };
    if row.look == Look::Frontend && row.text(Field::Status) != "OPEN" {
        return String::new();
    }
    sentence.to_owned()
}

fn check_detail(row: &Row, words: &Words) -> String {
    let mut lines = Vec::new();
    for field in [Field::CheckDesc, Field::LastChk] {
        if !row.text(field).is_empty() {
            lines.push(row.text(field).to_owned());
        }
    }
    if !row.text(Field::AgentStatus).is_empty() {
        lines.push(format!(
            "agent: {} {}",
            row.text(Field::AgentStatus),
            row.text(Field::LastAgt)
        ));
    }
    if *row.value(Field::CheckRise) != crate::stats::Value::Empty {
        lines.push(
            words
                .rise_fall
                .replace("{rise}", &row.number(Field::CheckRise).to_string())
                .replace("{fall}", &row.number(Field::CheckFall).to_string()),
        );
    }
    lines.join("\n")
}

fn rates(row: &Row, words: &Words) -> String {
    let line = |label: &str, now: Field, most: Field| {
        format!(
            "{label}: {}{}, {} {}",
            row.number(now),
            words.per_second,
            words.most,
            row.number(most)
        )
    };
    let mut lines = vec![line(words.session_rate, Field::Rate, Field::RateMax)];
    if row.kind == Kind::Frontend {
        lines.push(line(words.connection_rate, Field::ConnRate, Field::ConnRateMax));
        lines.push(line(words.requests, Field::ReqRate, Field::ReqRateMax));
    }
    lines.join("\n")
}

fn sessions(row: &Row, words: &Words) -> String {
    let limit = match row.number(Field::Slim) {
        0 => words.no_limit.to_owned(),
        limit => grouped(limit),
    };
    format!(
        "{}: {}\n{}: {}\n{}: {limit}",
        words.now,
        whole(row, Field::Scur),
        words.most,
        whole(row, Field::Smax),
        words.limit
    )
}

fn totals(row: &Row, words: &Words) -> String {
    let mut lines = vec![format!("{}: {}", words.total, whole(row, Field::Stot))];
    if row.kind == Kind::Frontend {
        lines.push(format!("{}: {}", words.connections, whole(row, Field::ConnTot)));
        lines.push(format!(
            "{}: {}, {}",
            words.refused,
            row.number(Field::Dcon),
            row.number(Field::Dses)
        ));
    } else {
        lines.push(format!(
            "{}: {}, {}",
            words.connects,
            whole(row, Field::Connect),
            whole(row, Field::Reuse)
        ));
    }
    if *row.value(Field::Hrsp2xx) != crate::stats::Value::Empty {
        lines.push(format!("{}: {}", words.requests, whole(row, Field::ReqTot)));
        let classes = [
            ("1xx", Field::Hrsp1xx),
            ("2xx", Field::Hrsp2xx),
            ("3xx", Field::Hrsp3xx),
            ("4xx", Field::Hrsp4xx),
            ("5xx", Field::Hrsp5xx),
            ("?", Field::HrspOther),
        ];
        let parts = classes.map(|(class, field)| format!("{class} {}", whole(row, field)));
        lines.push(format!("{}: {}", words.http_responses, parts.join(", ")));
    }
    if row.kind != Kind::Frontend && row.kind != Kind::Socket {
        let times = [
            (Field::Qtime, Field::QtimeMax),
            (Field::Ctime, Field::CtimeMax),
            (Field::Rtime, Field::RtimeMax),
            (Field::Ttime, Field::TtimeMax),
        ];
        let parts = times.map(|(average, most)| format!("{} ({}) ms", row.number(average), row.number(most)));
        lines.push(format!("{}: {}", words.times, parts.join(", ")));
    }
    lines.join("\n")
}

fn aborts(row: &Row, words: &Words) -> String {
    match row.kind {
        Kind::Server | Kind::Backend => {
            format!(
                "{}: {}, {}",
                words.aborts,
                row.number(Field::CliAbrt),
                row.number(Field::SrvAbrt)
            )
        }
        Kind::Frontend | Kind::Socket => String::new(),
    }
}

fn failures(row: &Row, words: &Words) -> String {
    match row.kind {
        Kind::Server if *row.value(Field::Chkfail) != crate::stats::Value::Empty => {
            format!(
                "{}: {}, {}",
                words.failed_checks,
                row.number(Field::Chkfail),
                row.number(Field::Chkdown)
            )
        }
        _ => String::new(),
    }
}

/// One proxy's rows.
pub(super) struct Proxy<'a> {
    pub(super) name: &'a str,
    pub(super) mode: &'a str,
    pub(super) id: u32,
    pub(super) rows: Vec<&'a Row>,
}

/// Rows of one proxy belong together.
pub(super) fn proxies<'a>(rows: impl Iterator<Item = &'a Row>) -> Vec<Proxy<'a>> {
    let mut proxies: Vec<Proxy<'a>> = Vec::new();
    for row in rows {
        match proxies.last_mut().filter(|proxy| proxy.id == row.proxy.0) {
            Some(proxy) => proxy.rows.push(row),
            None => proxies.push(Proxy {
                name: row.text(Field::Pxname),
                mode: row.text(Field::Mode),
                id: row.proxy.0,
                rows: vec![row],
            }),
        }
    }
    proxies
}

/// Everything of a look that changes, for the script.
pub(super) fn views(
    statistics: &Statistics,
    selection: &crate::stats::Selection,
    words: &Words,
) -> Vec<View> {
    selection
        .rows(statistics)
        .map(|row| view(row, words, selection.discreet))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_never_wrong_by_more_than_they_show() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(1_234_567), "1\u{202f}234\u{202f}567");
        for (count, text) in [
            (999, "999 B"),
            (1000, "1.00 kB"),
            (9_994, "9.99 kB"),
            (99_949, "99.9 kB"),
            (999_499, "999 kB"),
            (999_500, "1.00 MB"),
            (123_456_789_000, "123 GB"),
        ] {
            assert_eq!(short_bytes(count).replace('\u{202f}', " "), text);
        }
        assert_eq!(
            [0, 65, 3600, 90_061].map(human_time),
            ["0s", "1m5s", "1h", "1d1h"]
        );
    }

    #[test]
    fn who_looks_at_a_frontend_sees_until_when_its_certificates_last() {
        let (live, files) = (crate::stats::fixture::live(), crate::tls::Files::new());
        let words = super::super::words::Language::English.words();
        let tip = || {
            let statistics = Statistics::take(&live, std::time::Instant::now());
            view(&statistics.rows[0], words, true).tip
        };
        assert_eq!(tip(), "");
        let acceptor = std::sync::Arc::new(files.acceptor(|_| {}));
        let frontend = &live.snapshot().frontends[0];
        frontend
            .acceptors
            .store(std::sync::Arc::new(vec![None, Some(acceptor)]));
        assert!(tip().starts_with("Certificate ends: 20"), "{}", tip());
        assert!(frontend.certificates(Some(0)).is_empty());
    }

    #[test]
    fn who_points_at_a_number_is_told_what_it_is_made_of() {
        let live = crate::stats::fixture::live();
        crate::stats::fixture::checked(&live, "webs", "w1", "L7STS", "Service Unavailable");
        let snapshot = live.snapshot();
        let backend = snapshot.backend_named("webs").unwrap();
        let servers = backend.servers();
        for cells in [backend.tally.of(0), servers[0].tally.of(0)] {
            cells.client_aborts.add(3);
            cells.server_aborts.add(2);
            cells.responses_2xx.add(7);
            cells.responses_5xx.add(1);
            cells.connects.add(4);
            cells.reuses.add(5);
        }
        let second = std::time::Duration::from_secs(1);
        backend.timings.response.record(second);
        snapshot
            .frontend_named("web")
            .unwrap()
            .tally
            .of(0)
            .denied_connections
            .add(6);
        let statistics = Statistics::take(&live, std::time::Instant::now());
        let words = super::super::words::Language::English.words();
        let tips = |proxy, name| -> String {
            let view = view(statistics.row(proxy, name).unwrap(), words, false);
            let tips = view.cells.iter().map(|cell| cell.tip.as_str());
            tips.collect::<Vec<_>>().join("\n")
        };
        let (frontend, backend, server) = (
            tips("web", "FRONTEND"),
            tips("webs", "BACKEND"),
            tips("webs", "w1"),
        );
        for (tips, told) in [
            (
                &frontend,
                format!("{}: 0/s, {} 0", words.connection_rate, words.most),
            ),
            (&frontend, format!("{}: 6, 0", words.refused)),
            (&backend, format!("{}: 3, 2", words.aborts)),
            (
                &backend,
                format!("{}: 0 (0) ms, 0 (0) ms, 1000 (1000) ms, 0 (0) ms", words.times),
            ),
            (&server, format!("{}: 4, 5", words.connects)),
            (&server, "2xx 7, 3xx 0, 4xx 0, 5xx 1".to_owned()),
            (&server, "Layer7 wrong status\nService Unavailable".to_owned()),
            (&server, format!("{}: ", words.failed_checks)),
        ] {
            assert!(tips.contains(&told), "{told}: {tips}");
        }
    }

    #[test]
    fn there_is_a_cell_for_every_column() {
        let live = crate::stats::fixture::live();
        let statistics = Statistics::take(&live, std::time::Instant::now());
        let columns: usize = GROUPS.iter().map(|group| group.columns.len()).sum();
        let words = super::super::words::Language::English.words();
        for row in &statistics.rows {
            assert_eq!(view(row, words, false).cells.len(), columns);
        }
    }
}
