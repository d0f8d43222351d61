use std::time::Instant;

use super::fixture::{checked, live};
use super::*;

/// What HAProxy 2.6 begins its header line with.
const HEADER_2_6: &str = include_str!("tests/header-2.6.txt");
/// The lines of its `show info`.
const INFO_2_6: &str = include_str!("tests/info-2.6.txt");
/// Its `show stat` with the configuration of the fixture, up to the last column of the core.
const STAT_2_6: &str = include_str!("tests/stat-2.6.csv");

#[test]
fn the_header_is_that_of_haproxy_2_6_up_to_its_last_column_and_then_that_of_3() {
    let header = header();
    assert!(header.starts_with(HEADER_2_6.trim_end()), "{header}");
    assert_eq!(Field::AggCheckStatus.position(), 102);
    assert!(header.contains(",agg_check_status,srid,sess_other,"), "{header}");
    assert!(header.ends_with(",cache_hint_hits,-,\n"), "{header}");
}

#[test]
fn a_column_is_empty_where_haproxy_leaves_it_empty_and_only_there() {
    let live = live();
    checked(&live, "rabbit", "r1", "L4OK", "");
    checked(&live, "rabbit", "r2", "L4CON", "Connection refused");
    checked(&live, "rabbit", "r3", "L4OK", "");
    checked(&live, "webs", "w1", "L7OK", "");
    let statistics = Statistics::take(&live, Instant::now());
    let text = csv(&statistics, &Selection::default());
    let ours = text.lines().skip(1);
    let theirs = STAT_2_6
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty());
    let names: Vec<&str> = HEADER_2_6.trim_start_matches("# ").trim().split(',').collect();
    let mut compared = 0;
    for (our, their) in ours.zip(theirs) {
        let row = our.split(',').take(2).collect::<Vec<_>>().join("/");
        for ((name, our), their) in names.iter().zip(our.split(',')).zip(their.split(',')) {
            // The check in the recording had an HTTP answer.
            if *name == "check_code" {
                continue;
            }
            assert_eq!(
                our.is_empty(),
                their.is_empty(),
                "{row}: {name}: {our:?}, {their:?}"
            );
            let known = [
                "pxname",
                "svname",
                "status",
                "weight",
                "act",
                "bck",
                "slim",
                "type",
                "check_status",
                "check_desc",
                "last_chk",
                "check_health",
                "check_rise",
                "check_fall",
                "addr",
                "mode",
                "iid",
                "sid",
                "uweight",
                "rate_lim",
                "chkdown",
            ];
            if known.contains(name) {
                assert_eq!(our, their, "{row}: {name}");
            }
        }
        compared += 1;
    }
    assert_eq!(compared, 10, "{text}");
}

#[test]
fn frontends_and_backends_add_up_to_what_was_counted() {
    let live = live();
    let snapshot = live.snapshot();
    let mut expected = [0_u64; 3];
    for (place, (frontend, backend)) in snapshot.frontends.iter().zip(&snapshot.backends).enumerate() {
        for server in backend.servers().iter() {
            let number = u64::from(server.id().0) + 7 * place as u64;
            for cells in [frontend.tally.of(0), backend.tally.of(0), server.tally.of(0)] {
                cells.sessions.add(number);
                cells.bytes_in.add(100 * number);
                cells.bytes_out.add(1000 * number);
            }
            expected = [
                expected[0] + number,
                expected[1] + 100 * number,
                expected[2] + 1000 * number,
            ];
        }
    }
    let statistics = Statistics::take(&live, Instant::now());
    let columns = [Field::Stot, Field::Bin, Field::Bout];
    for kind in [Kind::Frontend, Kind::Server, Kind::Backend] {
        let sums = columns.map(|field| {
            let rows = statistics.rows.iter().filter(|row| row.kind == kind);
            rows.map(|row| row.number(field)).sum::<u64>()
        });
        assert_eq!(sums, expected, "{kind:?}");
    }
    // The same from the text that scripts read.
    let text = csv(&statistics, &Selection::default());
    let stot = text.lines().filter(|line| line.contains(",FRONTEND,"));
    let stot: u64 = stot
        .map(|line| line.split(',').nth(7).unwrap().parse::<u64>().unwrap())
        .sum();
    assert_eq!(stot, expected[0]);
}

#[test]
fn every_key_of_haproxys_show_info_is_there_in_its_order() {
    let live = live();
    let process = Process::this("1.2.3", "2026/10/17");
    let info = Info::take(&live, &process, Instant::now());
    let key = |line: &str| line.split(':').next().unwrap_or_default().to_owned();
    let ours: Vec<String> = info.text(false).lines().map(key).collect();
    let theirs: Vec<String> = INFO_2_6
        .lines()
        .filter(|line| !line.is_empty())
        .map(key)
        .collect();
    assert_eq!(ours, theirs);
    let typed = info.typed(false);
    assert!(typed.contains("15.Maxconn.1:CLP:u32:1000\n"), "{typed}");
    assert!(typed.contains("71.Tainted.1:SGP:str:0\n"), "{typed}");
    let json: serde_json::Value = serde_json::from_str(&info.json()).unwrap();
    assert_eq!(json[0]["value"]["value"], "HAProxy");
}

#[test]
fn rows_are_chosen_by_proxy_kind_number_and_state() {
    let live = live();
    checked(&live, "rabbit", "r2", "L4CON", "Connection refused");
    let statistics = Statistics::take(&live, Instant::now());
    let names = |selection: Selection| -> Vec<String> {
        let rows = selection.rows(&statistics);
        rows.map(|row| format!("{}/{}", row.text(Field::Pxname), row.text(Field::Svname)))
            .collect()
    };
    let servers = names(Selection {
        proxy: Some(crate::plan::ProxyId(2)),
        kinds: Some(4),
        ..Selection::default()
    });
    assert_eq!(servers, ["rabbit/r1", "rabbit/r2", "rabbit/r3", "rabbit/r4"]);
    let up = names(Selection {
        up: true,
        kinds: Some(4),
        ..Selection::default()
    });
    assert_eq!(up, ["rabbit/r1", "rabbit/r3", "rabbit/r4", "webs/w1"]);
    let text = csv(
        &statistics,
        &Selection {
            no_maint: true,
            ..Selection::default()
        },
    );
    assert!(
        text.contains("rabbit,BACKEND") && text.contains(",UP (3/4),"),
        "{text}"
    );
    assert!(!text.contains("webs,w2"), "{text}");
}

#[test]
fn who_may_not_see_addresses_gets_none() {
    let live = live();
    let statistics = Statistics::take(&live, Instant::now());
    let selection = Selection {
        discreet: true,
        ..Selection::default()
    };
    for text in [
        csv(&statistics, &selection),
        typed(&statistics, &selection, true),
        json(&statistics, &selection),
    ] {
        assert!(
            !text.contains("127.0.0.1") && !text.contains("roundrobin"),
            "{text}"
        );
    }
    assert!(csv(&statistics, &Selection::default()).contains("127.0.0.1:18001"));
}

#[test]
fn text_with_commas_and_quotes_stays_one_column() {
    let live = live();
    checked(&live, "rabbit", "r1", "L7STS", "said \"no\", twice");
    let statistics = Statistics::take(&live, Instant::now());
    let text = csv(&statistics, &Selection::default());
    assert!(text.contains(",\"said \"\"no\"\", twice\","), "{text}");
}

#[test]
fn typed_and_json_agree_with_csv_on_every_value() {
    let live = live();
    checked(&live, "rabbit", "r1", "L4OK", "");
    let statistics = Statistics::take(&live, Instant::now());
    let selection = Selection::default();
    let lines = typed(&statistics, &selection, false);
    let lists: Vec<Vec<serde_json::Value>> = serde_json::from_str(&json(&statistics, &selection)).unwrap();
    let items: Vec<String> = lists
        .iter()
        .flatten()
        .map(|item| {
            let letter = &item["objType"].as_str().unwrap()[..1];
            let value = item["value"]["value"].to_string();
            format!(
                "{letter}.{}.{}.{}.{}.1:{}:{}",
                item["proxyId"],
                item["id"],
                item["field"]["pos"],
                item["field"]["name"].as_str().unwrap(),
                item["value"]["type"].as_str().unwrap(),
                value.trim_matches('"'),
            )
        })
        .collect();
    let without_tags: Vec<String> = lines
        .lines()
        .map(|line| {
            let mut parts: Vec<&str> = line.splitn(4, ':').collect();
            parts.remove(1);
            parts.join(":")
        })
        .collect();
    assert_eq!(items, without_tags);
    assert!(
        lines.contains("S.2.1.36.check_status.1:MOP:str:L4OK\n"),
        "{lines}"
    );
    serde_json::from_str::<serde_json::Value>(&schema()).unwrap();
}

#[test]
fn states_have_haproxys_words_and_colours() {
    let live = live();
    checked(&live, "rabbit", "r2", "L4CON", "Connection refused");
    let statistics = Statistics::take(&live, Instant::now());
    let status = |proxy, name| {
        let row = statistics.row(proxy, name).unwrap();
        (row.text(Field::Status).to_owned(), row.look)
    };
    assert_eq!(status("rabbit", "FRONTEND"), ("OPEN".to_owned(), Look::Frontend));
    assert_eq!(status("rabbit", "r2"), ("DOWN".to_owned(), Look::ActiveDown));
    assert_eq!(
        status("rabbit", "r3"),
        ("UP 1/3".to_owned(), Look::BackupGoingDown)
    );
    assert_eq!(
        status("rabbit", "r4"),
        ("no check".to_owned(), Look::ActiveNoCheck)
    );
    assert_eq!(status("webs", "w2"), ("MAINT".to_owned(), Look::Maintain));
    assert_eq!(status("webs", "BACKEND"), ("UP".to_owned(), Look::Backend));
}

#[test]
fn show_servers_state_has_haproxys_25_columns() {
    let live = live();
    checked(&live, "rabbit", "r1", "L4OK", "");
    let now = live.time(Instant::now());
    let table = state_table(&live.snapshot().backends, now);
    let mut lines = table.lines();
    assert_eq!(lines.next(), Some("1"));
    let header = lines.next().unwrap();
    assert_eq!(header.split_whitespace().count(), 26);
    assert!(header.ends_with("srv_check_port srv_check_addr srv_agent_addr srv_agent_port"));
    assert_eq!(
        lines.next(),
        Some("2 rabbit 1 r1 127.0.0.1 2 0 10 10 0 6 3 4 6 0 0 0 - 18001 - 0 0 - - 0")
    );
    let disabled = table.lines().last().unwrap();
    assert_eq!(
        disabled,
        "4 webs 2 w2 127.0.0.1 0 5 1 1 0 1 0 0 14 0 0 0 - 18005 - 0 0 - - 0"
    );
    let table = connection_table(&live.snapshot().backends, 2);
    assert!(
        table.starts_with("# bkname/svname bkid/svid addr port - purge_delay"),
        "{table}"
    );
    assert!(
        table.contains("\nrabbit/r1 2/1 127.0.0.1 18001 - 5000 0 0 0 0 0 -1 0 0 0\n"),
        "{table}"
    );
}
