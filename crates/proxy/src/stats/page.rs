//! The page of statistics over HTTP, in a frontend (`stats enable`).
//!
//! The server makes all of it: the table is complete without scripts. A script keeps it up to date from a stream of
//! events ([`History`] looks once for all who watch). Nothing comes from elsewhere, which the content security policy
//! makes sure of, and forms that change something are only taken from the page itself or from programs.

mod action;
mod connections;
mod html;
mod options;
mod view;
mod words;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use base64::Engine as _;
use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use subtle::ConstantTimeEq;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Semaphore, mpsc};

use super::{
    Field, History, Info, Row, Selection, Statistics, csv, history, json, prometheus, schema, typed,
};
use crate::live::Frontend;
use crate::plan::StatsPage;
use crate::runtime::Context;
use crate::worker::{Service, Visit};
use action::Told;
use html::Page;
use options::{Options, Wanted};
use words::Language;

const STYLE: &str = include_str!("page/page.css");
const SCRIPT: &str = include_str!("page/page.js");

/// Octets of a form. HAProxy's is the size of its buffer.
const FORM_MAX: usize = 16 * 1024;
/// Browsers that watch at once; more are told to come back later.
const WATCHERS_MAX: usize = 64;
/// For a whole request's head and form.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// Everything from here, nothing from elsewhere, no frames around us.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src data:; \
                      form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// What pages are made from.
#[derive(Debug)]
pub struct Site {
    context: Context,
    history: History,
    watchers: Arc<Semaphore>,
}

impl Site {
    /// For this process.
    #[must_use]
    pub fn new(context: Context) -> Arc<Self> {
        Arc::new(Self {
            context,
            history: History::default(),
            watchers: Arc::new(Semaphore::new(WATCHERS_MAX)),
        })
    }

    /// Keeps the last minutes, and those who watch up to date. To be run for as long as the process, once.
    pub async fn keep(&self) {
        self.history.keep(&self.context.live, &self.context.process).await;
    }

    /// What a Prometheus server asks for.
    #[must_use]
    pub fn exposition(&self) -> String {
        prometheus::metrics(&self.context, Instant::now())
    }

    /// Serves what came in by a frontend, until either side closes.
    pub async fn serve_visit(self: Arc<Self>, visit: Visit) {
        let Visit {
            stream,
            service,
            frontend,
        } = visit;
        if stream.set_nonblocking(true).is_err() {
            return;
        }
        if let Ok(stream) = tokio::net::UnixStream::from_std(stream) {
            self.serve(stream, service, frontend).await;
        }
    }

    async fn serve(
        self: Arc<Self>,
        stream: impl AsyncRead + AsyncWrite + Unpin,
        service: Service,
        frontend: Arc<Frontend>,
    ) {
        let answer = service_fn(move |request| {
            let (site, frontend) = (Arc::clone(&self), Arc::clone(&frontend));
            async move {
                let page = frontend.plan().stats.clone();
                Ok::<_, Infallible>(match (service, page) {
                    (Service::Prometheus, _) => site.metrics(),
                    (Service::Stats { admin: true }, Some(page)) => site.answer(&page, request).await,
                    (Service::Stats { admin: false }, Some(page)) => {
                        let without_buttons = Arc::new(StatsPage {
                            admin: false,
                            ..page.as_ref().clone()
                        });
                        site.answer(&without_buttons, request).await
                    }
                    (Service::Stats { .. }, None) => {
                        plain(StatusCode::NOT_FOUND, "there are no statistics here any more\n")
                    }
                })
            }
        });
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(REQUEST_TIMEOUT)
            .serve_connection(TokioIo::new(stream), answer);
        // A client that breaks off is no news.
        let _ = connection.await;
    }

    fn metrics(&self) -> Response<Answer> {
        let text = prometheus::metrics(&self.context, Instant::now());
        response(StatusCode::OK, prometheus::EXPOSITION, text)
    }

    async fn answer(&self, page: &Arc<StatsPage>, request: Request<Incoming>) -> Response<Answer> {
        let (head, body) = request.into_parts();
        let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
        let Some(options) = Options::of(target, &page.uri) else {
            return plain(StatusCode::NOT_FOUND, "the statistics are elsewhere\n");
        };
        if !may_enter(page, &head.headers) {
            return unauthorised(page);
        }
        match head.method {
            Method::GET | Method::HEAD => self.show(page, &options, &head.headers).await,
            Method::POST => self.change(page, &options, &head.headers, body).await,
            _ => {
                let mut response = plain(
                    StatusCode::METHOD_NOT_ALLOWED,
                    "only GET, HEAD and POST are possible here\n",
                );
                set(&mut response, header::ALLOW, "GET, HEAD, POST");
                response
            }
        }
    }

    async fn show(&self, page: &Arc<StatsPage>, options: &Options, headers: &HeaderMap) -> Response<Answer> {
        let accepted = headers
            .get(header::ACCEPT_LANGUAGE)
            .and_then(|value| value.to_str().ok());
        let language = options
            .language
            .unwrap_or_else(|| Language::accepted(accepted.unwrap_or_default()));
        let now = Instant::now();
        let statistics = Statistics::take(&self.context.live, now);
        let selection = selection(page, options, &statistics);
        let refresh = |mut response: Response<Answer>| {
            if let Some(refresh) = page.refresh.filter(|_| !options.no_refresh) {
                set(
                    &mut response,
                    header::REFRESH,
                    &refresh.as_secs().max(1).to_string(),
                );
            }
            response
        };
        match &options.wanted {
            Wanted::Page => {
                let info = Info::take(&self.context.live, &self.context.process, now);
                let page = Page {
                    configured: page,
                    options,
                    language,
                    selection: &selection,
                    statistics: &statistics,
                    info: &info,
                };
                let mut response = response(StatusCode::OK, "text/html; charset=utf-8", page.html());
                set(&mut response, header::CONTENT_SECURITY_POLICY, POLICY);
                set(&mut response, header::VARY, "accept-language");
                response
            }
            Wanted::Csv => refresh(response(
                StatusCode::OK,
                "text/plain",
                csv(&statistics, &selection),
            )),
            Wanted::Typed => refresh(response(
                StatusCode::OK,
                "text/plain",
                typed(&statistics, &selection, false),
            )),
            Wanted::Json => refresh(response(
                StatusCode::OK,
                "application/json",
                json(&statistics, &selection),
            )),
            Wanted::JsonSchema => response(StatusCode::OK, "application/json", schema()),
            Wanted::Info => {
                let info = Info::take(&self.context.live, &self.context.process, now);
                response(StatusCode::OK, "application/json", info.json())
            }
            Wanted::Style => response(StatusCode::OK, "text/css; charset=utf-8", STYLE.to_owned()),
            Wanted::Script => response(
                StatusCode::OK,
                "text/javascript; charset=utf-8",
                SCRIPT.to_owned(),
            ),
            Wanted::Sessions => {
                let sessions = self.context.workers.sessions().await;
                let list = connections::sessions(sessions, |session| page.shows(&session.frontend));
                response(StatusCode::OK, "application/json", list.to_string())
            }
            Wanted::Detail(key) => {
                let words = language.words();
                let seen = selection.rows(&statistics).any(|row| key_of(row) == *key);
                let detail = connections::detail(&self.context, &statistics, key, words, selection.discreet);
                match detail.filter(|_| seen) {
                    Some(detail) => response(StatusCode::OK, "application/json", detail.to_string()),
                    None => plain(StatusCode::NOT_FOUND, "there is no such row\n"),
                }
            }
            Wanted::Live => self.watch(page, options, language),
        }
    }

    /// A stream of events: first the last minutes, then every look.
    fn watch(&self, page: &Arc<StatsPage>, options: &Options, language: Language) -> Response<Answer> {
        let Ok(place) = Arc::clone(&self.watchers).try_acquire_owned() else {
            return plain(
                StatusCode::SERVICE_UNAVAILABLE,
                "too many browsers watch already\n",
            );
        };
        let (sender, events) = mpsc::channel::<Bytes>(2);
        let mut looks = self.history.follow();
        let (page, options) = (Arc::clone(page), options.clone());
        let first = looks.borrow().clone().map(|look| {
            let selection = selection(&page, &options, &look.statistics);
            let lines = selection.rows(&look.statistics).map(|row| {
                let series = self.history.of(row).unwrap_or_default();
                (key_of(row), series.points.into())
            });
            let lines: BTreeMap<String, Vec<history::Point>> = lines.collect();
            event(
                "history",
                &serde_json::json!({"points": history::POINTS_MAX, "rows": lines}),
            )
        });
        tokio::spawn(async move {
            let _place = place;
            if let Some(first) = first
                && sender.send(first).await.is_err()
            {
                return;
            }
            loop {
                tokio::select! {
                    changed = looks.changed() => if changed.is_err() { return },
                    () = sender.closed() => return,
                }
                let Some(look) = looks.borrow_and_update().clone() else {
                    continue;
                };
                let text = look_event(&look, &selection(&page, &options, &look.statistics), language);
                if sender.send(text).await.is_err() {
                    return;
                }
            }
        });
        let mut response = Response::new(Answer::Events(events));
        set(&mut response, header::CONTENT_TYPE, "text/event-stream");
        set(&mut response, header::CACHE_CONTROL, "no-store");
        response
    }

    async fn change(
        &self,
        page: &StatsPage,
        options: &Options,
        headers: &HeaderMap,
        body: Incoming,
    ) -> Response<Answer> {
        let form = tokio::time::timeout(REQUEST_TIMEOUT, form(body)).await;
        let told = match form {
            _ if !page.admin || from_elsewhere(headers) => Told::Denied.code(),
            Ok(Some(form)) => {
                let form = String::from_utf8_lossy(&form);
                action::perform(&self.context, page, &form).await.code()
            }
            Ok(None) => "EXCD",
            Err(_) => return plain(StatusCode::REQUEST_TIMEOUT, "the form did not come in time\n"),
        };
        let location = options.link(&page.uri, |options| options.told = Some(told.to_owned()));
        let mut response = plain(StatusCode::SEE_OTHER, "");
        set(&mut response, header::LOCATION, &location);
        response
    }
}

/// All of a form; nothing of one that is too long or breaks off.
async fn form(mut body: Incoming) -> Option<Vec<u8>> {
    let mut form = Vec::new();
    while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        let data = frame.ok()?.into_data().unwrap_or_default();
        if form.len() + data.len() > FORM_MAX {
            return None;
        }
        form.extend_from_slice(&data);
    }
    Some(form)
}

/// What a page shows: HAProxy hides addresses unless it is told `show-legends`; whoever may change everything sees them.
fn selection(page: &StatsPage, options: &Options, statistics: &Statistics) -> Selection {
    let mut scope = page.scope.clone();
    if let Some(part) = &options.scope {
        let all = statistics
            .rows
            .iter()
            .map(|row| row.text(Field::Pxname).to_owned());
        scope = all
            .filter(|name| page.shows(name) && name.contains(part.as_str()))
            .collect();
        scope.dedup();
        // Nothing matches: an empty scope would be everything.
        scope.push(String::new());
    }
    Selection {
        up: options.up,
        discreet: !page.show_legends && !page.admin,
        scope,
        ..Selection::default()
    }
}

fn look_event(look: &history::Moment, selection: &Selection, language: Language) -> Bytes {
    let words = language.words();
    let tiles: Vec<_> = html::tiles(&look.info, language);
    let pairs = look.statistics.rows.iter().zip(&look.points);
    let points: BTreeMap<String, &history::Point> = pairs
        .filter(|(row, _)| selection.takes(row))
        .map(|(row, point)| (key_of(row), point))
        .collect();
    event(
        "look",
        &serde_json::json!({
            "tiles": tiles,
            "rows": view::views(&look.statistics, selection, words),
            "points": points,
        }),
    )
}

/// `proxy/name`, which the script finds a row by.
fn key_of(row: &Row) -> String {
    format!("{}/{}", row.text(Field::Pxname), row.text(Field::Svname))
}

fn event(name: &str, data: &serde_json::Value) -> Bytes {
    // JSON has no line breaks of its own.
    format!("event: {name}\ndata: {data}\n\n").into()
}

/// What a client is told.
#[derive(Debug)]
enum Answer {
    /// All of it, until it has been sent.
    Whole(Option<Bytes>),
    /// Events as they come.
    Events(mpsc::Receiver<Bytes>),
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let next = match &mut *self {
            Self::Whole(text) => Poll::Ready(text.take()),
            Self::Events(events) => events.poll_recv(context),
        };
        next.map(|octets| octets.map(|octets| Ok(Frame::data(octets))))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(text) => SizeHint::with_exact(text.as_ref().map_or(0, |text| text.len() as u64)),
            Self::Events(_) => SizeHint::default(),
        }
    }
}

/// `stats auth`: basic authentication. Every pair is compared whole, whatever the first ones said.
fn may_enter(page: &StatsPage, headers: &HeaderMap) -> bool {
    if page.users.is_empty() {
        return true;
    }
    let given = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| {
            let (scheme, pair) = value.split_once(' ')?;
            scheme.eq_ignore_ascii_case("basic").then_some(pair.trim())
        })
        .and_then(|pair| base64::engine::general_purpose::STANDARD.decode(pair).ok());
    let Some(given) = given else { return false };
    let matches = page.users.iter().map(|(user, password)| {
        let wanted = format!("{user}:{password}");
        wanted.as_bytes().ct_eq(&given).unwrap_u8()
    });
    matches.fold(0, |some, this| some | this) == 1
}

fn unauthorised(page: &StatsPage) -> Response<Answer> {
    let mut response = response(
        StatusCode::UNAUTHORIZED,
        "text/html",
        "<html><body><h1>401 Unauthorized</h1>\nA user and a password are needed here.\n</body></html>\n"
            .to_owned(),
    );
    let realm: String = page
        .realm
        .chars()
        .filter(|character| !['"', '\\'].contains(character))
        .collect();
    set(
        &mut response,
        header::WWW_AUTHENTICATE,
        &format!("Basic realm=\"{realm}\""),
    );
    response
}

/// A form that a browser sends says where it comes from. Programs say nothing, and could say anything.
fn from_elsewhere(headers: &HeaderMap) -> bool {
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let site = text(HeaderName::from_static("sec-fetch-site"));
    if site.is_some_and(|site| !["same-origin", "none"].contains(&site)) {
        return true;
    }
    let Some(origin) = text(header::ORIGIN) else {
        return false;
    };
    let host = origin.split_once("://").map(|(_, host)| host);
    host.is_none() || host != text(header::HOST)
}

fn plain(status: StatusCode, text: &str) -> Response<Answer> {
    response(status, "text/plain; charset=utf-8", text.to_owned())
}

fn response(status: StatusCode, content_type: &str, text: String) -> Response<Answer> {
    let mut response = Response::new(Answer::Whole(Some(text.into())));
    *response.status_mut() = status;
    set(&mut response, header::CONTENT_TYPE, content_type);
    set(&mut response, header::CACHE_CONTROL, "no-cache");
    set(&mut response, header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(&mut response, header::REFERRER_POLICY, "same-origin");
    response
}

fn set(response: &mut Response<Answer>, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

#[cfg(test)]
mod tests;
