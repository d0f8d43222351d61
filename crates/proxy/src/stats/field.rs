//! The columns of the statistics: HAProxy's names in HAProxy's order, which is an interface. Programs find columns by
//! name, old scripts by position.
//!
//! Up to `agg_check_status` the order is that of HAProxy 2.6; what follows is that of 3.x. Columns of single
//! protocols' inner workings, which come after these, are not there.

/// What a value is, as `show stat typed` says it: origin, nature, scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tags(&'static str);

macro_rules! fields {
    ($($variant:ident $name:literal $tags:literal $help:literal;)*) => {
        /// A column.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(usize)]
        pub enum Field {
            $(#[doc = $help] $variant,)*
        }

        impl Field {
            /// All of them, in order.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// Its name in the header line.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// What it says, in a sentence.
            #[must_use]
            pub const fn help(self) -> &'static str {
                match self { $(Self::$variant => $help,)* }
            }

            /// What kind of value it is.
            #[must_use]
            pub const fn tags(self) -> Tags {
                match self { $(Self::$variant => Tags($tags),)* }
            }
        }
    };
}

#[rustfmt::skip]
fields! {
    Pxname "pxname" "KNS" "Name of the proxy.";
    Svname "svname" "KNS" "Name of the server or socket, FRONTEND or BACKEND.";
    Qcur "qcur" "MGP" "Connections that wait now.";
    Qmax "qmax" "MMP" "Most connections that waited at once.";
    Scur "scur" "MGP" "Sessions now.";
    Smax "smax" "MMP" "Most sessions at once.";
    Slim "slim" "CLP" "Sessions allowed at once.";
    Stot "stot" "MCP" "Sessions.";
    Bin "bin" "MCP" "Octets from clients.";
    Bout "bout" "MCP" "Octets to clients.";
    Dreq "dreq" "MCP" "Requests denied by a rule.";
    Dresp "dresp" "MCP" "Responses denied by a rule.";
    Ereq "ereq" "MCP" "Requests that were wrong or never came.";
    Econ "econ" "MCP" "Servers that could not be reached.";
    Eresp "eresp" "MCP" "Responses that were wrong or never came.";
    Wretr "wretr" "MCP" "Connecting tried again.";
    Wredis "wredis" "MCP" "Connections sent to another server.";
    Status "status" "SGP" "What it is.";
    Weight "weight" "MaP" "Weight in effect; of a backend, of its servers in use.";
    Act "act" "SGP" "Active servers in use; of a server, 1 if it is an active one.";
    Bck "bck" "SGP" "Backup servers well; of a server, 1 if it is a backup.";
    Chkfail "chkfail" "MCP" "Checks that failed while the server was up.";
    Chkdown "chkdown" "MCP" "Times it went down.";
    Lastchg "lastchg" "MAP" "Seconds since its state changed.";
    Downtime "downtime" "MCP" "Seconds it was down in all.";
    Qlimit "qlimit" "CGS" "Connections that may wait for this server.";
    Pid "pid" "KGP" "Number of the process, always 1.";
    Iid "iid" "KGS" "Number of the proxy.";
    Sid "sid" "KGS" "Number of the server or socket.";
    Throttle "throttle" "MGP" "Percent of its weight that a server has on slow start.";
    Lbtot "lbtot" "MCP" "Times chosen by balancing.";
    Tracked "tracked" "CNS" "Server whose state it follows.";
    Type "type" "CGS" "0 frontend, 1 backend, 2 server, 3 socket.";
    Rate "rate" "MRP" "New sessions in the last second.";
    RateLim "rate_lim" "CLP" "New sessions allowed per second.";
    RateMax "rate_max" "MMP" "Most new sessions in a second.";
    CheckStatus "check_status" "MOP" "Result of the last check.";
    CheckCode "check_code" "MOP" "Status code that the last check found.";
    CheckDuration "check_duration" "MDP" "Milliseconds that the last check took.";
    Hrsp1xx "hrsp_1xx" "MCP" "Responses with status 1xx.";
    Hrsp2xx "hrsp_2xx" "MCP" "Responses with status 2xx.";
    Hrsp3xx "hrsp_3xx" "MCP" "Responses with status 3xx.";
    Hrsp4xx "hrsp_4xx" "MCP" "Responses with status 4xx.";
    Hrsp5xx "hrsp_5xx" "MCP" "Responses with status 5xx.";
    HrspOther "hrsp_other" "MCP" "Responses with any other status.";
    Hanafail "hanafail" "MCP" "Failures seen in traffic; always empty.";
    ReqRate "req_rate" "MRP" "Requests in the last second.";
    ReqRateMax "req_rate_max" "MMP" "Most requests in a second.";
    ReqTot "req_tot" "MCP" "Requests.";
    CliAbrt "cli_abrt" "MCP" "Transfers that the client ended early.";
    SrvAbrt "srv_abrt" "MCP" "Transfers that the server ended early.";
    CompIn "comp_in" "MCP" "Octets given to compression; there is none here.";
    CompOut "comp_out" "MCP" "Octets that compression made.";
    CompByp "comp_byp" "MCP" "Octets that were not compressed for want of means.";
    CompRsp "comp_rsp" "MCP" "Responses compressed.";
    Lastsess "lastsess" "MAP" "Seconds since the last session began, -1 if there was none.";
    LastChk "last_chk" "MOP" "What the last check said.";
    LastAgt "last_agt" "MOP" "What the agent said last.";
    Qtime "qtime" "MaP" "Milliseconds in the queue, average of the last 1024 sessions.";
    Ctime "ctime" "MaP" "Milliseconds to connect, average of the last 1024 sessions.";
    Rtime "rtime" "MaP" "Milliseconds to the response, average of the last 1024 sessions.";
    Ttime "ttime" "MaP" "Milliseconds in all, average of the last 1024 sessions.";
    AgentStatus "agent_status" "MOP" "Result of the last question to the agent.";
    AgentCode "agent_code" "MOP" "Status code of the agent; it has none.";
    AgentDuration "agent_duration" "MDP" "Milliseconds that the agent took.";
    CheckDesc "check_desc" "MOP" "The result of the last check in words.";
    AgentDesc "agent_desc" "MOP" "The agent's result in words.";
    CheckRise "check_rise" "CGS" "Successes in a row that bring the server up.";
    CheckFall "check_fall" "CGS" "Failures in a row that take it down.";
    CheckHealth "check_health" "CGS" "Health from 0 to rise + fall - 1; from rise on it is up.";
    AgentRise "agent_rise" "CGS" "The same of the agent.";
    AgentFall "agent_fall" "CGS" "The same of the agent.";
    AgentHealth "agent_health" "CGS" "The same of the agent.";
    Addr "addr" "CGS" "Address and port.";
    Cookie "cookie" "CNS" "Cookie of the server, or name of the backend's.";
    Mode "mode" "CGS" "What the proxy speaks.";
    Algo "algo" "CGS" "How the backend balances.";
    ConnRate "conn_rate" "MRP" "New connections in the last second.";
    ConnRateMax "conn_rate_max" "MMP" "Most new connections in a second.";
    ConnTot "conn_tot" "MCP" "Connections.";
    Intercepted "intercepted" "MCP" "Requests answered by the proxy itself.";
    Dcon "dcon" "MCP" "Connections refused by a rule.";
    Dses "dses" "MCP" "Sessions refused by a rule.";
    Wrew "wrew" "MCP" "Heads that could not be changed.";
    Connect "connect" "MCP" "Connections made to servers.";
    Reuse "reuse" "MCP" "Connections to servers used again.";
    CacheLookups "cache_lookups" "MCP" "Lookups in the cache; there is none here.";
    CacheHits "cache_hits" "MCP" "Answers from the cache.";
    SrvIcur "srv_icur" "MGP" "Idle connections kept to the server.";
    SrcIlim "src_ilim" "CLP" "Idle connections kept at most.";
    QtimeMax "qtime_max" "MMP" "Longest time in the queue, milliseconds.";
    CtimeMax "ctime_max" "MMP" "Longest time to connect, milliseconds.";
    RtimeMax "rtime_max" "MMP" "Longest time to a response, milliseconds.";
    TtimeMax "ttime_max" "MMP" "Longest session, milliseconds.";
    Eint "eint" "MCP" "Errors of the proxy itself.";
    IdleConnCur "idle_conn_cur" "MGP" "Idle connections that may not be shared.";
    SafeConnCur "safe_conn_cur" "MGP" "Idle connections that may be shared.";
    UsedConnCur "used_conn_cur" "MGP" "Connections in use.";
    NeedConnEst "need_conn_est" "MGP" "Connections needed, estimated.";
    Uweight "uweight" "MaP" "Weight without slow start.";
    AggServerStatus "agg_server_status" "MGP" "Servers by state, in Prometheus only.";
    AggServerCheckStatus "agg_server_check_status" "MGP" "Servers by state, in Prometheus only.";
    AggCheckStatus "agg_check_status" "MGP" "Servers by check result, in Prometheus only.";
    Srid "srid" "KGS" "Generation of the server under this number.";
    SessOther "sess_other" "MCP" "Sessions that spoke no HTTP.";
    H1sess "h1sess" "MCP" "Sessions of HTTP/1.";
    H2sess "h2sess" "MCP" "Sessions of HTTP/2.";
    H3sess "h3sess" "MCP" "Sessions of HTTP/3.";
    ReqOther "req_other" "MCP" "Requests of no HTTP.";
    H1req "h1req" "MCP" "Requests of HTTP/1.";
    H2req "h2req" "MCP" "Requests of HTTP/2.";
    H3req "h3req" "MCP" "Requests of HTTP/3.";
    Proto "proto" "CGS" "Transport of the socket.";
    PrivIdleCur "priv_idle_cur" "MGP" "Idle connections of one session only.";
    Reqbin "reqbin" "MCP" "Octets of requests received.";
    Reqbout "reqbout" "MCP" "Octets of requests sent.";
    Resbin "resbin" "MCP" "Octets of responses received.";
    Resbout "resbout" "MCP" "Octets of responses sent.";
    CacheHintHits "cache_hint_hits" "MCP" "Answers that a cache hint gave.";
}

impl Field {
    /// A column by its name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|field| field.name() == name)
    }

    /// Its position, from 0.
    #[must_use]
    pub const fn position(self) -> usize {
        self as usize
    }
}

impl Tags {
    /// Three letters for origin, nature and scope.
    #[must_use]
    pub const fn new(letters: &'static str) -> Self {
        Self(letters)
    }

    /// As `show stat typed` writes them.
    #[must_use]
    pub const fn letters(self) -> &'static str {
        self.0
    }

    /// Origin, nature and scope as JSON writes them.
    #[must_use]
    pub fn words(self) -> [&'static str; 3] {
        let mut letters = self.0.chars();
        let origin = match letters.next() {
            Some('M') => "Metric",
            Some('S') => "Status",
            Some('K') => "Key",
            Some('C') => "Config",
            Some('P') => "Product",
            _ => "Unknown",
        };
        let nature = match letters.next() {
            Some('A') => "Age",
            Some('C') => "Counter",
            Some('D') => "Duration",
            Some('G') => "Gauge",
            Some('L') => "Limit",
            Some('M') => "Max",
            Some('m') => "Min",
            Some('N') => "Name",
            Some('O') => "Output",
            Some('R') => "Rate",
            Some('T') => "Time",
            Some('a') => "Avg",
            _ => "Unknown",
        };
        let scope = match letters.next() {
            Some('C') => "Cluster",
            Some('P') => "Process",
            Some('S') => "Service",
            Some('s') => "System",
            _ => "Unknown",
        };
        [origin, nature, scope]
    }
}
