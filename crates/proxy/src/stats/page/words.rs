//! What the page says, in English and Chinese. Column names are HAProxy's in both, since manuals and habits know them.

/// A language of the page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]

pub(super) enum Language {
    #[default]
    English,
    Chinese,
}

impl Language {
    /// By its code: `en`, `zh`, `zh-CN`.
    pub(super) fn of_code(code: &str) -> Option<Self> {
        let code = code.trim().to_ascii_lowercase();
        match code.split(['-', '_']).next() {
            Some("en") => Some(Self::English),
            Some("zh") => Some(Self::Chinese),
            _ => None,
        }
    }

    /// The first that the browser's user reads (`Accept-Language`, by falling weight).
    pub(super) fn accepted(header: &str) -> Self {
        let mut wanted: Vec<(f32, Self)> = header
            .split(',')
            .filter_map(|part| {
                let mut parts = part.split(';');
                let language = Self::of_code(parts.next()?)?;
                let weight = parts.find_map(|part| part.trim().strip_prefix("q=")?.parse().ok());
                Some((weight.unwrap_or(1.0), language))
            })
            .collect();
        wanted.sort_by(|(one, _), (other, _)| other.total_cmp(one));
        wanted.first().map_or(Self::English, |(_, language)| *language)
    }

    pub(super) const fn code(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::Chinese => "zh",
        }
    }

    pub(super) const fn words(self) -> &'static Words {
        match self {
            Self::English => &ENGLISH,
            Self::Chinese => &CHINESE,
        }
    }
}

macro_rules! words {
    ($($name:ident: $english:literal $chinese:literal;)*) => {
        /// All texts of one language.
        #[derive(Debug)]
        pub(super) struct Words {
            $(pub(super) $name: &'static str,)*
        }

        const ENGLISH: Words = Words { $($name: $english,)* };
        const CHINESE: Words = Words { $($name: $chinese,)* };

        impl Words {
            /// Name and text of each, for the script.
            pub(super) fn all(&self) -> Vec<(&'static str, &'static str)> {
                vec![$((stringify!($name), self.$name),)*]
            }
        }
    };
}

#[rustfmt::skip]
words! {
    title: "Statistics" "统计";
    report: "Statistics Report for pid" "统计报告，进程号";
    on: "on" "位于";
    process: "Process" "进程";
    version: "Version" "版本";
    uptime: "Uptime" "运行时间";
    threads: "Threads" "线程";
    connections: "Connections" "连接";
    connection_rate: "New connections" "新建连接";
    session_rate: "New sessions" "新建会话";
    requests_total: "Sessions" "会话总数";
    traffic_out: "To clients" "发往客户端";
    idle: "Idle" "空闲";
    limits: "Limits" "限制";
    files: "files" "文件数";
    of: "of" "/";
    per_second: "/s" "/秒";
    sockets_listening: "listening sockets" "个监听套接字";
    former: "process" "进程";
    stay: "sessions stay there until they end (TLS)" "个会话留在原处直到结束（TLS）";
    stopping: "stopping: waits for its sessions to end" "正在停止：等待会话结束";
    filter: "Filter" "筛选";
    filter_hint: "name, address, status" "名称、地址、状态";
    hide_down: "Hide servers that are down" "隐藏已宕机的服务器";
    live: "live" "实时";
    paused: "paused" "已暂停";
    reconnecting: "reconnecting" "重新连接中";
    pause: "Pause" "暂停";
    resume: "Resume" "继续";
    export: "Export" "导出";
    schema: "schema" "模式";
    theme: "Light or dark" "浅色或深色";
    language: "中文" "English";
    refresh_now: "Refresh now" "立即刷新";
    no_refresh: "Disable refresh" "停止刷新";
    show_all: "Show all servers" "显示全部服务器";
    scope: "Scope" "范围";
    name: "Name" "名称";
    trend: "Last 5 minutes" "最近 5 分钟";
    trend_sessions: "sessions" "会话";
    trend_rate: "rate" "速率";
    trend_bytes: "bytes" "字节";
    frontend: "Frontend" "Frontend";
    backend: "Backend" "Backend";
    mode: "mode" "模式";
    balance: "balance" "算法";
    legend: "Legend" "图例";
    legend_active_up: "active, up" "主用，正常";
    legend_backup_up: "backup, up" "备用，正常";
    legend_active_going_down: "active, up, going down" "主用，正常，检查开始失败";
    legend_backup_going_down: "backup, up, going down" "备用，正常，检查开始失败";
    legend_active_going_up: "active, down, going up" "主用，宕机，正在恢复";
    legend_backup_going_up: "backup, down, going up" "备用，宕机，正在恢复";
    legend_down: "active or backup, down" "主用或备用，宕机";
    legend_no_check: "not checked" "未检查";
    legend_maintain: "in maintenance (MAINT)" "维护中（MAINT）";
    legend_draining: "draining: serves whom it has, takes nobody new" "排空：保留现有连接，不再接受新连接";
    legend_note: "NOLB and DRAIN are up, with load balancing disabled." "NOLB 与 DRAIN 表示正常，但不参与负载均衡。";
    action: "With the servers checked" "对选中的服务器";
    apply: "Apply" "执行";
    action_ready: "Set state to READY" "状态设为 READY";
    action_drain: "Set state to DRAIN" "状态设为 DRAIN";
    action_maint: "Set state to MAINT" "状态设为 MAINT";
    action_dhlth: "Health: disable checks" "健康检查：停用";
    action_ehlth: "Health: enable checks" "健康检查：启用";
    action_hrunn: "Health: force UP" "健康状态：强制 UP";
    action_hnolb: "Health: force NOLB" "健康状态：强制 NOLB";
    action_hdown: "Health: force DOWN" "健康状态：强制 DOWN";
    action_dagent: "Agent: disable checks" "代理检查：停用";
    action_eagent: "Agent: enable checks" "代理检查：启用";
    action_arunn: "Agent: force UP" "代理状态：强制 UP";
    action_adown: "Agent: force DOWN" "代理状态：强制 DOWN";
    action_shutdown: "Kill sessions" "终止会话";
    select_all: "Check all" "全选";
    select: "Check" "选择";
    told_done: "Done." "已执行。";
    told_none: "Nothing has changed." "没有任何变化。";
    told_part: "Done in part: some of the names are no server of this backend." "部分执行：有的名称不是该后端的服务器。";
    told_errp: "Not done: a parameter is missing or not valid." "未执行：参数缺失或无效。";
    told_excd: "Not done: too much at once; try with fewer servers." "未执行：一次提交过多，请减少服务器数量。";
    told_deny: "Not done: this page may only look, or the form came from elsewhere." "未执行：此页面只读，或表单来自其他站点。";
    told_unkn: "The result is not known." "结果未知。";
    dismiss: "Dismiss" "关闭";
    clients: "Connections" "连接列表";
    clients_hint: "Open to see every connection" "展开以查看每个连接";
    clients_none: "There is no connection." "当前没有连接。";
    clients_shown: "shown of" "条，共";
    c_client: "Client" "客户端";
    c_frontend: "Frontend" "前端";
    c_server: "Server" "服务器";
    c_age: "Age" "时长";
    c_idle: "Idle" "空闲";
    c_state: "State" "状态";
    c_in: "In" "流入";
    c_out: "Out" "流出";
    c_in_rate: "In/s" "流入/秒";
    c_out_rate: "Out/s" "流出/秒";
    c_unsent: "Unsent" "未发出";
    c_user: "User" "用户";
    c_vhost: "Vhost" "虚拟主机";
    c_program: "Program" "客户端程序";
    c_heartbeat: "Heartbeat" "心跳";
    c_channels: "Channels" "信道";
    c_blocked: "Blocked" "受阻";
    kill: "End" "终止";
    kill_question: "End this connection?" "终止此连接？";
    detail: "Details" "详情";
    checks: "Checks" "检查记录";
    checks_none: "No check has been made." "尚未进行检查。";
    history: "History" "历史";
    close: "Close" "关闭";
    address: "Address" "地址";
    certificate_end: "Certificate ends" "证书到期";
    checked_how: "Checked" "检查方式";
    weight: "Weight" "权重";
    max_connections: "Most connections" "最大连接数";
    queue: "Waiting" "排队";
    not_checked: "Nobody checks this server; it counts as up." "未对该服务器做检查，视为正常。";
    every: "every" "每";
    rise_fall: "up after {rise} successes, down after {fall} failures" "连续 {rise} 次成功恢复，连续 {fall} 次失败宕机";
    state_up: "Takes connections." "接受连接。";
    state_going_down: "Takes connections; its last checks failed, and some more failures take it down." "接受连接；最近的检查失败，再失败几次即宕机。";
    state_down: "Gets no connections: its checks failed." "不接受连接：检查失败。";
    state_going_up: "Gets no connections yet; its last checks succeeded, and some more bring it up." "尚不接受连接；最近的检查成功，再成功几次即恢复。";
    state_maint: "Taken out of service: no connections, no checks." "已停用：无连接，无检查。";
    state_drain: "Keeps the connections it has and gets no new ones." "保留现有连接，不再接受新连接。";
    state_backup: "A backup: used only when no active server is up." "备用服务器：仅在没有主用服务器可用时使用。";
    state_frontend: "Accepts clients." "接受客户端连接。";
    state_backend_up: "Has a server that takes connections." "有服务器可接受连接。";
    state_backend_down: "No server takes connections: clients are turned away." "没有服务器可用：客户端将被拒绝。";
    since: "since" "持续";
    last_check: "Last check" "最近一次检查";
    now: "Now" "当前";
    most: "Most" "最大";
    peak: "most" "峰值";
    limit: "Limit" "限制";
    no_limit: "none" "无";
    total: "In all" "总计";
    octets: "octets" "字节";
    http_responses: "Responses" "响应";
    requests: "Requests" "请求";
    aborts: "Ended early by clients and by the server" "被客户端、服务器提前中断";
    times: "Queue, connect, response, total time: average of the last 1024, and longest" "排队、连接、响应、总时间：最近 1024 次平均与最大";
    connects: "Connections made, used again" "新建连接、复用连接";
    failed_checks: "Checks that failed while it was up; times it went down" "正常时失败的检查；宕机次数";
    refused: "Refused by a rule: connections, sessions" "被规则拒绝：连接、会话";
    javascript: "This page is complete without scripts; with them it updates itself." "本页无需脚本即可使用；启用脚本后自动更新。";
    nothing_here: "There are no proxies to show." "没有可显示的代理。";
    no_match: "Nothing matches the filter." "没有匹配的条目。";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_language_is_the_one_the_reader_prefers() {
        for (header, language) in [
            ("", Language::English),
            ("zh-CN,zh;q=0.9,en;q=0.8", Language::Chinese),
            ("en-US,en;q=0.9,zh;q=0.8", Language::English),
            ("fr, zh;q=0.3", Language::Chinese),
            ("en;q=0.2, zh_TW;q=0.7", Language::Chinese),
            ("de", Language::English),
        ] {
            assert_eq!(Language::accepted(header), language, "{header}");
        }
    }

    #[test]
    fn every_text_is_there_in_both_languages() {
        for language in [Language::English, Language::Chinese] {
            for (name, text) in language.words().all() {
                assert!(!text.trim().is_empty(), "{name}");
            }
        }
        assert_eq!(
            Language::of_code(Language::Chinese.code()),
            Some(Language::Chinese)
        );
    }
}
