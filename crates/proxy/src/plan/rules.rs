//! Conditions and what follows from them: `acl`, `use_backend`, `tcp-request`, `http-request`, `http-response`.

use std::net::IpAddr;

use super::BackendIndex;

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
    NbSrv(BackendIndex),
    /// `fe_conn`.
    FrontendConnections,
    /// `be_conn(backend)`.
    BackendConnections(BackendIndex),
    /// `src_conn_cur`, `sc0_conn_cur`, from [`super::SourceLimits`].
    SourceConnections,
    /// `src_conn_rate`.
    SourceRate,
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
    /// Least and most, both inclusive.
    Range(i64, i64),
}

/// `use_backend`.
#[derive(Clone, Debug)]
pub struct Switch {
    /// To which.
    pub backend: BackendIndex,
    /// When.
    pub condition: Condition,
}

/// A `tcp-request` rule.
#[derive(Clone, Debug)]
pub struct TcpRule {
    /// `connection` (before anything was read) or `content`.
    pub content: bool,
    /// What to do.
    pub action: TcpAction,
    /// When.
    pub condition: Condition,
}

/// What a `tcp-request` rule does. The first that holds ends the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]

pub enum TcpAction {
    Accept,
    Reject,
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
    },
    /// `return status N content-type T string S`.
    Return {
        /// Status.
        status: u16,
        /// Type of the content.
        content_type: String,
        /// The content.
        content: String,
    },
    /// Changes the head.
    Edit(Edit),
    /// `use-service prometheus-exporter`.
    PrometheusExporter,
}

/// Where a redirection leads.
#[derive(Clone, Debug, PartialEq, Eq)]

pub enum Redirect {
    Location(String),
    Prefix(String),
    Scheme(String),
}

/// A change of the head. Values are log-format templates.
#[derive(Clone, Debug, PartialEq, Eq)]

pub enum Edit {
    AddHeader { name: String, value: String },
    SetHeader { name: String, value: String },
    DelHeader { name: String },
    ReplacePath { regex: String, with: String },
    SetPath { value: String },
    SetQuery { value: String },
}

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
