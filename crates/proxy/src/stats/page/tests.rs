use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;
use crate::plan::ProxyId;
use crate::runtime::tests::{context, of};
use crate::stats::{Kind, fixture};

/// A site at `/stats` of the frontend `web`, and where clients of that come in.
async fn served(page: StatsPage) -> (Arc<Site>, SocketAddr) {
    let mut plan = fixture::plan();
    Arc::make_mut(&mut plan.frontends[1]).stats = Some(Arc::new(page));
    let context = of(plan);
    fixture::checked(&context.live, "rabbit", "r1", "L4OK", "");
    fixture::checked(&context.live, "rabbit", "r2", "L4CON", "Connection refused <b>");
    let frontend = Arc::clone(context.live.snapshot().frontend_named("web").unwrap());
    let site = Site::new(context);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let served = Arc::clone(&site);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(Arc::clone(&served).serve(
                stream,
                Service::Stats { admin: true },
                Arc::clone(&frontend),
            ));
        }
    });
    (site, address)
}

/// `admin:secret`.
const AUTH: &str = "authorization: Basic YWRtaW46c2VjcmV0\r\n";

async fn exchange(address: SocketAddr, request: String) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut answer));
    read.await.expect("answered in time").unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

async fn get(address: SocketAddr, target: &str, more: &str) -> String {
    let head = format!("GET {target} HTTP/1.1\r\nhost: proxy:8080\r\nconnection: close\r\n{more}\r\n");
    exchange(address, head).await
}

async fn post(address: SocketAddr, form: &str, more: &str) -> String {
    let head = format!(
        "POST /stats HTTP/1.1\r\nhost: proxy:8080\r\nconnection: close\r\n{AUTH}{more}content-length: {}\r\n\r\n{form}",
        form.len()
    );
    exchange(address, head).await
}

fn location(answer: &str) -> &str {
    let line = answer.lines().find_map(|line| line.strip_prefix("location: "));
    line.unwrap_or(answer)
}

fn status(site: &Site, name: &str) -> String {
    let statistics = Statistics::take(&site.context.live, Instant::now());
    statistics
        .row("rabbit", name)
        .unwrap()
        .text(Field::Status)
        .to_owned()
}

#[tokio::test]
async fn without_the_right_password_there_is_nothing_to_see() {
    let (_, address) = served(fixture::page()).await;
    // nobody, admin:wrong, admin:secre, secret
    for header in [
        "",
        "authorization: Basic YWRtaW46d3Jvbmc=\r\n",
        "authorization: Basic YWRtaW46c2VjcmU=\r\n",
        "authorization: Basic c2VjcmV0\r\n",
        "authorization: Bearer YWRtaW46c2VjcmV0\r\n",
    ] {
        for target in ["/stats", "/stats;csv", "/stats;page.js", "/stats;live"] {
            let answer = get(address, target, header).await;
            assert!(answer.starts_with("HTTP/1.1 401"), "{header}{answer}");
            assert!(
                answer.contains("www-authenticate: Basic realm=\"HAProxy Statistics\"\r\n"),
                "{answer}"
            );
            assert!(!answer.contains("rabbit"), "{answer}");
        }
    }
    assert!(get(address, "/stats", AUTH).await.starts_with("HTTP/1.1 200"));
    assert!(get(address, "/elsewhere", AUTH).await.starts_with("HTTP/1.1 404"));
}

#[tokio::test]
async fn the_page_is_complete_without_scripts_and_takes_nothing_from_elsewhere() {
    let (_, address) = served(fixture::page()).await;
    let page = get(address, "/stats", AUTH).await;
    for column in [
        "Queue",
        "Session rate",
        "Sessions",
        "Bytes",
        "Denied",
        "Errors",
        "Warnings",
        "Server",
        "LbTot",
        "Status",
        "LastChk",
        "Wght",
        "Act",
        "Bck",
        "Chk",
        "Dwn",
        "Dwntme",
        "Thrtle",
    ] {
        assert!(page.contains(&format!(">{column}</th>")), "{column}");
    }
    for row in [
        "active_up",
        "active_down",
        "backup_going_down",
        "active_no_check",
        "maintain",
        "frontend",
        "backend",
    ] {
        assert!(page.contains(&format!("<tr class=\"{row}\"")), "{row}");
    }
    assert!(page.contains("L4CON in 1ms") && page.contains("Layer4 connection problem"));
    assert!(page.contains("Connection refused &lt;b&gt;") && !page.contains("refused <b>"));
    assert!(page.contains("<noscript><meta http-equiv=\"refresh\" content=\"5\">"));
    assert!(page.contains("content-security-policy: default-src 'none';"));
    assert!(!page.contains("https://") && !page.contains("http://"), "{page}");
    assert!(page.contains("<input type=\"hidden\" name=\"b\" value=\"#2\">"));
    assert!(!STYLE.contains("url(") && !STYLE.contains("@import") && !SCRIPT.contains("innerHTML"));
    let quiet = get(address, "/stats;norefresh", AUTH).await;
    assert!(!quiet.contains("http-equiv=\"refresh\""));
}

#[tokio::test]
async fn hidden_things_are_not_there() {
    let page = StatsPage {
        hide_version: true,
        admin: false,
        show_legends: false,
        scope: vec!["webs".to_owned()],
        ..fixture::page()
    };
    let (_, address) = served(page).await;
    let shown = get(address, "/stats", AUTH).await;
    assert!(
        !shown.contains("2.6.12") && !shown.contains("<form method=\"post\""),
        "{shown}"
    );
    assert!(!shown.contains("127.0.0.1:18004") && shown.contains("data-key=\"webs/w1\""));
    for target in [
        "/stats",
        "/stats;csv",
        "/stats;json",
        "/stats;typed",
        "/stats?scope=rab",
    ] {
        let answer = get(address, target, AUTH).await;
        assert!(
            !answer.contains("rabbit/r1") && !answer.contains("rabbit,r1") && !answer.contains("\"r1\""),
            "{answer}"
        );
    }
    assert!(
        get(address, "/stats;detail=rabbit/r1", AUTH)
            .await
            .starts_with("HTTP/1.1 404")
    );
    assert!(
        get(address, "/stats;detail=webs%2Fw1", AUTH)
            .await
            .starts_with("HTTP/1.1 200")
    );
}

#[tokio::test]
async fn the_other_forms_are_those_of_the_runtime_socket() {
    let (site, address) = served(fixture::page()).await;
    let csv = get(address, "/stats;csv", AUTH).await;
    assert!(
        csv.contains("refresh: 5\r\n") && csv.contains("content-type: text/plain\r\n"),
        "{csv}"
    );
    let socket = crate::runtime::run(&site.context, crate::plan::SocketLevel::Admin, "show stat").await;
    let rows = |text: &str| {
        text.lines()
            .filter(|line| line.starts_with("rabbit,"))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(rows(&csv), rows(&socket));
    assert!(
        get(address, "/stats;up;csv;norefresh", AUTH)
            .await
            .contains("rabbit,BACKEND")
    );
    assert!(!get(address, "/stats;up;csv", AUTH).await.contains("rabbit,r2"));
    assert!(
        get(address, "/stats;json", AUTH)
            .await
            .contains("\"objType\":\"Frontend\"")
    );
    assert!(
        get(address, "/stats;json-schema", AUTH)
            .await
            .contains("json-schema.org")
    );
    let only = get(address, "/stats;csv?scope=web", AUTH).await;
    assert!(only.contains("webs,w1") && !only.contains("rabbit,"), "{only}");
    let none = get(address, "/stats;csv?scope=nosuch", AUTH).await;
    assert!(!none.contains("webs,") && !none.contains("rabbit,"), "{none}");
}

#[tokio::test]
async fn forms_do_what_haproxys_do_and_lead_back() {
    let (site, address) = served(fixture::page()).await;
    for (form, told, server, shown) in [
        ("s=r4&b=rabbit&action=maint", "DONE", "r4", "MAINT"),
        ("s=r4&b=%232&action=ready", "DONE", "r4", "no check"),
        ("s=r4&s=nosuch&b=rabbit&action=drain", "PART", "r4", "DRAIN"),
        ("s=r4&s=r1&b=rabbit&action=ready", "DONE", "r4", "no check"),
        ("s=r4&b=rabbit&action=hdown", "DONE", "r4", "DOWN"),
        ("s=r4&b=rabbit&action=hrunn", "DONE", "r4", "no check"),
        ("s=r4&b=rabbit&action=nonsense", "ERRP", "r4", "no check"),
        ("s=r4&b=nosuch&action=maint", "ERRP", "r4", "no check"),
        ("b=rabbit&action=maint", "NONE", "r4", "no check"),
        ("s=r1&b=rabbit&action=shutdown", "DONE", "r1", "UP"),
        ("", "ERRP", "r4", "no check"),
    ] {
        let answer = post(address, form, "").await;
        assert!(answer.starts_with("HTTP/1.1 303"), "{form}: {answer}");
        assert_eq!(location(&answer), format!("/stats;st={told}"), "{form}");
        assert_eq!(status(&site, server), shown, "{form}");
    }
    let told = get(address, "/stats;st=PART", AUTH).await;
    assert!(told.contains("Done in part"), "{told}");
    let big = post(address, &"s=r1&".repeat(10_000), "").await;
    assert_eq!(location(&big), "/stats;st=EXCD");
}

#[tokio::test]
async fn a_form_from_another_site_or_to_a_page_that_only_looks_is_refused() {
    let form = "s=r4&b=rabbit&action=maint";
    let (site, address) = served(fixture::page()).await;
    for header in [
        "origin: http://evil.example\r\n",
        "origin: null\r\n",
        "sec-fetch-site: cross-site\r\n",
    ] {
        assert_eq!(
            location(&post(address, form, header).await),
            "/stats;st=DENY",
            "{header}"
        );
        assert_eq!(status(&site, "r4"), "no check");
    }
    let ours = "origin: http://proxy:8080\r\nsec-fetch-site: same-origin\r\n";
    assert_eq!(location(&post(address, form, ours).await), "/stats;st=DONE");
    let page = StatsPage {
        admin: false,
        ..fixture::page()
    };
    let (site, address) = served(page).await;
    assert_eq!(location(&post(address, form, "").await), "/stats;st=DENY");
    assert_eq!(status(&site, "r4"), "no check");
}

#[tokio::test]
async fn a_page_that_shows_some_proxies_changes_no_others() {
    let page = StatsPage {
        scope: vec!["webs".to_owned()],
        ..fixture::page()
    };
    let (site, address) = served(page).await;
    for name in ["rabbit", "%232"] {
        let answer = post(address, &format!("s=r4&b={name}&action=maint"), "").await;
        assert_eq!(location(&answer), "/stats;st=ERRP");
    }
    assert_eq!(status(&site, "r4"), "no check");
    let answer = post(address, "s=w1&b=webs&action=maint", "").await;
    assert_eq!(location(&answer), "/stats;st=DONE");
    let answer = post(address, "action=end-session&session=1", "").await;
    assert_eq!(location(&answer), "/stats;st=NONE");
}

#[tokio::test]
async fn the_reader_gets_their_language() {
    let (_, address) = served(fixture::page()).await;
    let chinese = get(
        address,
        "/stats",
        &format!("{AUTH}accept-language: zh-CN,zh;q=0.9\r\n"),
    )
    .await;
    assert!(chinese.contains("<html lang=\"zh\">") && chinese.contains("运行时间"));
    assert!(chinese.contains("href=\"/stats;lang=en\""));
    let asked = get(address, "/stats;lang=zh", AUTH).await;
    assert!(asked.contains("<html lang=\"zh\">"));
    assert!(get(address, "/stats", AUTH).await.contains("<html lang=\"en\">"));
}

#[tokio::test]
async fn whoever_watches_hears_of_every_change() {
    let (site, address) = served(fixture::page()).await;
    site.history
        .look(&site.context.live, &site.context.process, Instant::now());
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!("GET /stats;live HTTP/1.1\r\nhost: proxy\r\n{AUTH}\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut seen = String::new();
    read_until(&mut stream, &mut seen, "event: history").await;
    assert!(seen.contains("content-type: text/event-stream"), "{seen}");
    let snapshot = site.context.live.snapshot();
    snapshot
        .frontend_named("rabbit")
        .unwrap()
        .tally
        .of(0)
        .sessions
        .add(1234);
    site.history
        .look(&site.context.live, &site.context.process, Instant::now());
    read_until(&mut stream, &mut seen, "1\u{202f}234").await;
    assert!(seen.contains("event: look"), "{seen}");
}

async fn read_until(stream: &mut TcpStream, seen: &mut String, wanted: &str) {
    let mut part = [0; 4096];
    while !seen.contains(wanted) {
        let read = tokio::time::timeout(Duration::from_secs(10), stream.read(&mut part));
        let count = read.await.expect("heard in time").unwrap();
        assert_ne!(count, 0, "{seen}");
        seen.push_str(&String::from_utf8_lossy(&part[..count]));
    }
}

#[tokio::test]
async fn those_who_watch_are_limited_and_places_become_free() {
    let (site, address) = served(fixture::page()).await;
    let head = format!("GET /stats;live HTTP/1.1\r\nhost: proxy\r\n{AUTH}\r\n");
    let mut held = Vec::new();
    for _ in 0..WATCHERS_MAX {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        read_until(&mut stream, &mut String::new(), "text/event-stream").await;
        held.push(stream);
    }
    assert!(
        get(address, "/stats;live", AUTH)
            .await
            .starts_with("HTTP/1.1 503")
    );
    drop(held);
    let deadline = Instant::now() + Duration::from_secs(10);
    while site.watchers.available_permits() < WATCHERS_MAX {
        assert!(Instant::now() < deadline, "{}", site.watchers.available_permits());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_visit_is_served_like_any_client() {
    let context = context();
    let site = Site::new(context.clone());
    let frontend = Arc::clone(context.live.snapshot().frontend_named("web").unwrap());
    for (service, target, wanted) in [
        (Service::Stats { admin: true }, "/stats;csv", "# pxname,svname,"),
        (Service::Prometheus, "/metrics", "haproxy_process_nbthread 1\n"),
    ] {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        let visit = Visit {
            stream: theirs,
            service,
            frontend: Arc::clone(&frontend),
        };
        tokio::spawn(Arc::clone(&site).serve_visit(visit));
        ours.set_nonblocking(true).unwrap();
        let mut ours = tokio::net::UnixStream::from_std(ours).unwrap();
        let head = format!("GET {target} HTTP/1.1\r\nhost: proxy\r\nconnection: close\r\n{AUTH}\r\n");
        ours.write_all(head.as_bytes()).await.unwrap();
        let mut answer = String::new();
        ours.read_to_string(&mut answer).await.unwrap();
        assert!(answer.contains(wanted), "{answer}");
    }
}

#[tokio::test]
async fn details_say_how_a_server_is_checked_and_nothing_secret() {
    let (site, address) = served(fixture::page()).await;
    let detail = get(address, "/stats;detail=rabbit%2Fr2", AUTH).await;
    let body = detail.split("\r\n\r\n").nth(1).unwrap();
    let json: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!(json["checks"][0]["status"], "L4CON");
    assert_eq!(
        json["facts"][0],
        serde_json::json!(["Address", "127.0.0.1:18002"])
    );
    assert!(
        get(address, "/stats;sessions", AUTH)
            .await
            .ends_with("{\"sessions\":[],\"total\":0}")
    );
    let frontend = &site.context.live.snapshot().frontends[0];
    let acceptor = Arc::new(crate::tls::Files::new().acceptor(|_| {}));
    frontend.acceptors.store(Arc::new(vec![Some(acceptor)]));
    let detail = get(address, "/stats;detail=rabbit%2FFRONTEND", AUTH).await;
    assert!(
        detail.contains("\"facts\":[[\"Certificate ends\",\"20"),
        "{detail}"
    );
    let statistics = Statistics::take(&site.context.live, Instant::now());
    let server = statistics
        .rows
        .iter()
        .find(|row| row.kind == Kind::Server && row.proxy == ProxyId(2));
    assert!(server.is_some());
}
