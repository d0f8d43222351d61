//! Conditions and what follows from them: `acl`, `use_backend`, `tcp-request`, `http-request`, `http-response`.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use super::{BackendName, Counter, Networks, Track};
use crate::logs::{Expression, Format};

/// `if` or `unless`: an alternative of conjunctions. No condition is one empty conjunction, which always holds.
#[derive(Clone, Debug)]
pub struct Condition {
    /// One of them has to hold whole.
    pub any: Vec<Vec<Term>>,
    /// `unless`.
    pub negated: bool,
}

/// A test, or its opposite.
#[derive(Clone, Debug)]
pub struct Term {
    /// `!`.
    pub negated: bool,
    /// What is looked at.
    pub test: Test,
}

/// A sample compared with patterns; one of them is enough.
#[derive(Clone, Debug)]
pub struct Test {
    /// What is looked at.
    pub sample: Sample,
    /// `-i`: without regard to case.
    pub ignore_case: bool,
    /// Compared with these; empty asks whether the sample exists (or is true).
    pub patterns: Vec<Pattern>,
}

/// What can be looked at.
#[derive(Clone, Debug, PartialEq, Eq)]

pub enum Sample {
    /// `always_true`, `TRUE`.
    True,
    /// `always_false`, `FALSE`.
    False,
    /// `src`: the client's address.
    Src,
    /// `dst`.
    Dst,
    /// `dst_port`.
    DstPort,
    /// `src_port`.
    SrcPort,
    /// `req.ssl_sni` (plain TCP that carries TLS), `ssl_fc_sni` (TLS ended here).
    Sni,
    /// `ssl_fc`.
    SslFc,
    /// `ssl_c_used`.
    ClientCertificateUsed,
    Method,
    /// Without the query string.
    Path,
    /// As sent.
    Url,
    Query,
    /// `req.hdr(name)`; each value of a comma-separated list by itself.
    RequestHeader(String),
    /// `hdr_cnt(name)`.
    RequestHeaderCount(String),
    /// `res.hdr(name)`.
    ResponseHeader(String),
    /// `status`.
    Status,
    /// `url_param(name)`.
    UrlParam(String),
    /// `req.cook(name)`.
    Cookie(String),
    /// `http_auth(...)` as plain user:password pairs.
    HttpAuth(Vec<(String, String)>),
    /// `nbsrv(backend)`.
    NbSrv(BackendName),
    /// `fe_conn`.
    FrontendConnections,
    /// `be_conn(backend)`.
    BackendConnections(BackendName),
    /// `sc_http_req_rate(0)`: of who is counted under a number, there or in another table.
    Tracked(u8, Counter, Option<Arc<str>>),
    /// `src_http_req_rate(table)`: of the client's address.
    Source(Counter, Arc<str>),
    /// `srv_is_up(backend/server)`.
    ServerUp(BackendName, String),
    /// `fe_sess_rate`.
    FrontendRate,
    /// `be_sess_rate(backend)`.
    BackendRate(BackendName),
    /// `queue(backend)`: requests that wait for a server.
    Queue(BackendName),
    /// Whatever log-format can say, converters included: `var(txn.x)`, `path,url_dec`.
    Expression(Arc<Format>),
}

/// What a sample is compared with.
#[derive(Clone, Debug)]

pub enum Pattern {
    Exact(String),
    Prefix(String),
    Suffix(String),
    Substring(String),
    /// `path_dir`: a whole part between slashes.
    Directory(String),
    /// `hdr_dom`: a whole part between dots.
    Domain(String),
    Regex(regex::bytes::Regex),
    /// Address and length of prefix.
    Network(IpAddr, u8),
    /// One of many networks.
    Networks(Networks),
    /// One of many texts; without regard to case they are in small letters.
    OneOf(BTreeSet<Vec<u8>>),
    /// Least and most, both inclusive.
    Range(i64, i64),
    /// The same of a text's length (`-m len`).
    Length(i64, i64),
}

/// `use_backend`.
#[derive(Clone, Debug)]
pub struct Switch {
    /// To which.
    pub backend: SwitchTo,
    /// When.
    pub condition: Condition,
}

/// Where `use_backend` leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SwitchTo {
    /// There.
    Backend(BackendName),
    /// To the backend of this name; if there is none of mode http, the next rule is looked at.
    Named(Template),
}

/// A `tcp-request` rule.
#[derive(Clone, Debug)]
pub struct TcpRule {
    /// When it is looked at.
    pub moment: Moment,
    /// What to do.
    pub action: TcpAction,
    /// When.
    pub condition: Condition,
}

/// When a `tcp-request` rule is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Before anything was read: whoever sent a PROXY header is the client.
    Connection,
    /// Once it is known who the client is, and TLS is agreed on.
    Session,
    /// Once the client has said something; in mode http, for every request.
    Content,
}

/// What a `tcp-request` rule does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TcpAction {
    /// No more rules of this moment.
    Accept,
    /// The client does not come in.
    Reject,
    /// From here on the client is counted; the rules go on.
    Track(Track),
}

/// Something of a request or response that the log shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capture {
    /// `capture request header NAME`; `None` is filled by a rule.
    pub header: Option<String>,
    /// The most octets that are kept.
    pub length: usize,
}

/// An `http-request` or `http-response` rule.
#[derive(Clone, Debug)]
pub struct HttpRule {
    /// What to do.
    pub action: HttpAction,
    /// When.
    pub condition: Condition,
}

/// What a rule does.
#[derive(Clone, Debug)]
pub enum HttpAction {
    /// `allow`: no more rules.
    Allow,
    /// `deny [deny_status N]`.
    Deny {
        /// 403 unless given.
        status: u16,
    },
    /// `auth [realm R]`: 401.
    Auth {
        /// Shown by the browser.
        realm: String,
    },
    /// `redirect location|prefix|scheme`.
    Redirect {
        /// Status, 302 unless given.
        code: u16,
        /// What kind, with a log-format template.
        to: Redirect,
        /// What else.
        options: RedirectOptions,
    },
    /// `return`.
    Return(Answer),
    /// `tarpit [deny_status N]`: denied after a while.
    Tarpit {
        /// 500 unless given.
        status: u16,
    },
    /// `silent-drop`: the connection ends without a word.
    Drop,
    /// `set-var(NAME) EXPRESSION`, `set-var-fmt(NAME) TEMPLATE`.
    SetVariable {
        /// With its scope: `txn.x`.
        name: String,
        /// Of what.
        value: Template,
        /// An expression; a variable stays as it is if there is no value.
        expression: bool,
    },
    /// `unset-var(NAME)`.
    UnsetVariable {
        /// With its scope.
        name: String,
    },
    /// `capture EXPRESSION len N|id N`.
    Capture {
        /// Of what.
        value: Template,
        /// Its place among what the frontend keeps of that side.
        place: usize,
        /// The most octets that are kept.
        length: usize,
    },
    /// `track-sc0`: from here on the request is counted.
    Track(Track),
    /// `sc-inc-gpc0(N)`: one more of whatever is meant by it.
    Count {
        /// Under which number the client is counted.
        slot: u8,
    },
    /// Changes the head.
    Edit(Edit),
    /// `use-service prometheus-exporter`.
    PrometheusExporter,
}

/// A response of ours: `status N content-type T string S hdr NAME VALUE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Status.
    pub status: u16,
    /// Type of the content; empty if it is not said.
    pub content_type: String,
    /// The content: a constant for `string` and `file`.
    pub content: Template,
    /// Further headers (`hdr`).
    pub headers: Vec<(String, Template)>,
}

/// `use-server`.
#[derive(Clone, Debug)]
pub struct UseServer {
    /// Its name; in mode http it may depend on the request.
    pub server: Template,
    /// When.
    pub condition: Condition,
}

/// `force-persist`, `ignore-persist`.
#[derive(Clone, Debug)]
pub struct Persist {
    /// The server that a cookie names is used even if it is down; otherwise, the cookie does not count.
    pub forced: bool,
    /// When.
    pub condition: Condition,
}

/// Where a redirection leads.
#[derive(Clone, Debug, PartialEq, Eq)]

pub enum Redirect {
    Location(Template),
    Prefix(Template),
    Scheme(Template),
}

/// What else a redirection does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RedirectOptions {
    /// `drop-query`: without what stands behind the question mark.
    pub drop_query: bool,
    /// `append-slash`, with `drop-query`: a path that has no slash at its end gets one.
    pub append_slash: bool,
    /// `set-cookie NAME[=VALUE]`, `clear-cookie NAME[=]`: a `Set-Cookie` as it is sent.
    pub cookie: Option<String>,
    /// `ignore-empty`: a target without a character is no redirection.
    pub ignore_empty: bool,
}

/// Text with `%[samples]`, compiled.
pub type Template = Arc<Format>;

/// A change of the head.
#[derive(Clone, Debug, PartialEq, Eq)]

pub enum Edit {
    AddHeader {
        name: String,
        value: Template,
    },
    SetHeader {
        name: String,
        value: Template,
    },
    DelHeader {
        name: String,
    },
    /// Headers whose name is like this.
    DelHeaders {
        like: NameLike,
    },
    /// Each whole value.
    ReplaceHeader {
        name: String,
        replace: Replace,
    },
    /// Each member of each value, which is a list.
    ReplaceValue {
        name: String,
        replace: Replace,
    },
    ReplacePath(Replace),
    ReplacePathAndQuery(Replace),
    ReplaceUri(Replace),
    SetPath(Template),
    SetPathAndQuery(Template),
    SetQuery(Template),
    SetUri(Template),
    SetMethod(Template),
    /// Of a response, with what it is called.
    SetStatus {
        status: u16,
        reason: String,
    },
}

/// What matches is replaced as a whole; `\\1` is what the first group found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replace {
    /// What is looked for.
    pub(crate) regex: Expression,
    /// What takes its place.
    pub with: Template,
}

/// `del-header NAME -m METHOD`, without regard to case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NameLike {
    /// `-m beg`
    Prefix(String),
    /// `-m end`
    Suffix(String),
    /// `-m sub`
    Substring(String),
    /// `-m reg`
    Regex(NameRegex),
}

/// An expression about names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameRegex(pub(crate) Expression);

impl Condition {
    /// Holds whatever is the case.
    #[must_use]
    pub fn always() -> Self {
        Self {
            any: vec![Vec::new()],
            negated: false,
        }
    }
}
