//! The page as HTML: complete without scripts, and with everything a script needs to keep it up to date.

use std::fmt::Write as _;

use super::action::ACTIONS;
use super::options::{Options, Wanted};
use super::view::{GROUPS, Proxy, human_time, proxies, short_bytes, view};
use super::words::Language;
use crate::plan::StatsPage;
use crate::stats::{Info, Kind, Selection, Statistics, Value};

/// What a page is made of.
pub(super) struct Page<'a> {
    pub(super) configured: &'a StatsPage,
    pub(super) options: &'a Options,
    pub(super) language: Language,
    pub(super) selection: &'a Selection,
    pub(super) statistics: &'a Statistics,
    pub(super) info: &'a Info,
}

/// For text between tags and in quoted attributes.
pub(super) fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            _ => safe.push(character),
        }
    }
    safe
}

impl Page<'_> {
    /// All of it.
    pub(super) fn html(&self) -> String {
        let mut text = String::with_capacity(64 * 1024);
        self.head(&mut text);
        self.masthead(&mut text);
        self.told(&mut text);
        self.tiles(&mut text);
        self.toolbar(&mut text);
        text.push_str("<main id=\"proxies\">");
        let rows = proxies(self.selection.rows(self.statistics));
        if rows.is_empty() {
            let _ = write!(
                text,
                "<p class=\"empty\">{}</p>",
                self.language.words().nothing_here
            );
        }
        for proxy in &rows {
            self.proxy(&mut text, proxy);
        }
        text.push_str("</main>");
        self.clients(&mut text);
        self.legend(&mut text);
        text.push_str("</body></html>\n");
        text
    }

    fn head(&self, text: &mut String) {
        let words = self.language.words();
        let page = self.configured;
        let asset = |wanted: Wanted| {
            let link = Options::default().link(&page.uri, |options| options.wanted = wanted);
            escaped(&link)
        };
        let _ = write!(
            text,
            "<!doctype html><html lang=\"{}\"><head><meta charset=\"utf-8\">\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
             <meta name=\"color-scheme\" content=\"light dark\"><title>{} · {}</title>\
             <link rel=\"icon\" href=\"data:,\"><link rel=\"stylesheet\" href=\"{}\">\
             <script src=\"{}\" defer></script>",
            self.language.code(),
            words.title,
            escaped(&self.host()),
            asset(Wanted::Style),
            asset(Wanted::Script),
        );
        if let Some(refresh) = page.refresh.filter(|_| !self.options.no_refresh) {
            // With scripts the page updates itself; a reload would close what is open.
            let _ = write!(
                text,
                "<noscript><meta http-equiv=\"refresh\" content=\"{}\"></noscript>",
                refresh.as_secs().max(1)
            );
        }
        let link = |wanted: Wanted| self.options.link(&page.uri, |options| options.wanted = wanted);
        let names: serde_json::Map<_, _> = words
            .all()
            .into_iter()
            .map(|(name, said)| (name.to_owned(), said.into()))
            .collect();
        let script = serde_json::json!({
            "live": link(Wanted::Live),
            "sessions": link(Wanted::Sessions),
            "detail": format!("{};detail=", page.uri),
            "lang": self.language.code(),
            "action": page.uri,
            "admin": page.admin,
            "running": !self.options.no_refresh,
            "words": names,
        });
        // Nothing in JSON ends a script element but this.
        let script = script.to_string().replace('<', "\\u003c");
        let _ = write!(
            text,
            "<script type=\"application/json\" id=\"setup\">{script}</script></head><body>"
        );
    }

    fn host(&self) -> String {
        let value = |name| match self.info.value(name) {
            Value::Text(text) => text.to_string(),
            _ => String::new(),
        };
        match &self.configured.show_node {
            Some(node) if !node.is_empty() => node.clone(),
            _ => value("node"),
        }
    }

    fn masthead(&self, text: &mut String) {
        let words = self.language.words();
        let page = self.configured;
        let version = if page.hide_version {
            String::new()
        } else {
            format!(
                "<span class=\"version\">{}</span>",
                escaped(&self.info.value("Version").to_string())
            )
        };
        let description = page.show_description.as_deref().unwrap_or_default();
        let other = match self.language {
            Language::English => Language::Chinese,
            Language::Chinese => Language::English,
        };
        let switch = self
            .options
            .link(&page.uri, |options| options.language = Some(other));
        let _ = write!(
            text,
            "<header><div class=\"brand\"><h1>Warren proxy</h1>{version}</div>\
             <p class=\"report\">{} <b>{}</b> {} <b>{}</b> <span class=\"description\">{}</span></p>\
             <nav><span id=\"pulse\" class=\"script\" data-state=\"live\"><i></i><span>{}</span></span>\
             <button type=\"button\" id=\"pause\" class=\"script\">{}</button>\
             <button type=\"button\" id=\"theme\" class=\"script\" title=\"{}\" aria-label=\"{}\"></button>\
             <a href=\"{}\" lang=\"{}\" hreflang=\"{}\">{}</a></nav></header>",
            words.report,
            self.info.value("Pid"),
            words.on,
            escaped(&self.host()),
            escaped(description),
            words.live,
            words.pause,
            words.theme,
            words.theme,
            escaped(&switch),
            other.code(),
            other.code(),
            words.language,
        );
    }

    /// What became of the last form.
    fn told(&self, text: &mut String) {
        let words = self.language.words();
        let Some(code) = &self.options.told else { return };
        let (kind, said) = match code.as_str() {
            "DONE" => ("good", words.told_done),
            "NONE" => ("note", words.told_none),
            "PART" => ("note", words.told_part),
            "ERRP" => ("bad", words.told_errp),
            "EXCD" => ("bad", words.told_excd),
            "DENY" => ("bad", words.told_deny),
            _ => ("note", words.told_unkn),
        };
        let dismiss = self.options.link(&self.configured.uri, |_| {});
        let _ = write!(
            text,
            "<p class=\"told {kind}\" role=\"status\">{said}<a href=\"{}\" title=\"{}\" aria-label=\"{}\">×</a></p>",
            escaped(&dismiss),
            words.dismiss,
            words.dismiss,
        );
    }

    fn tiles(&self, text: &mut String) {
        let _ = write!(
            text,
            "<section id=\"process\" aria-label=\"{}\">",
            self.language.words().process
        );
        for (name, [label, value, note]) in tiles(self.info, self.language) {
            let _ = write!(
                text,
                "<div class=\"tile\" data-tile=\"{name}\"><span class=\"label\">{label}</span>\
                 <span class=\"value\">{}</span><span class=\"note\">{}</span></div>",
                escaped(&value),
                escaped(&note),
            );
        }
        text.push_str("</section>");
    }

    fn toolbar(&self, text: &mut String) {
        let words = self.language.words();
        let uri = &self.configured.uri;
        let link = |change: fn(&mut Options)| escaped(&self.options.link(uri, change));
        let _ = write!(
            text,
            "<div id=\"tools\"><label class=\"script\">{}<input type=\"search\" id=\"filter\" placeholder=\"{}\" \
             autocomplete=\"off\" spellcheck=\"false\"></label>",
            words.filter, words.filter_hint,
        );
        let _ = write!(
            text,
            "<form method=\"get\" class=\"noscript\" action=\"{}\"><label>{}<input name=\"scope\" maxlength=\"20\" size=\"12\" \
             value=\"{}\"></label></form>",
            escaped(uri),
            words.scope,
            escaped(self.options.scope.as_deref().unwrap_or_default()),
        );
        let (label, change): (_, fn(&mut Options)) = if self.options.up {
            (words.show_all, |options| options.up = false)
        } else {
            (words.hide_down, |options| options.up = true)
        };
        let _ = write!(
            text,
            "<a id=\"hide-down\" href=\"{}\" data-on=\"{}\">{label}</a>",
            link(change),
            self.options.up
        );
        if !self.options.no_refresh {
            let quiet = link(|options| options.no_refresh = true);
            let _ = write!(
                text,
                "<a class=\"noscript\" href=\"{quiet}\">{}</a>",
                words.no_refresh
            );
        }
        let _ = write!(
            text,
            "<a class=\"noscript\" href=\"{}\">{}</a>\
             <span class=\"trend script\" role=\"group\" aria-label=\"{}\">\
             <button type=\"button\" data-trend=\"0\" aria-pressed=\"true\">{}</button>\
             <button type=\"button\" data-trend=\"1\" aria-pressed=\"false\">{}</button>\
             <button type=\"button\" data-trend=\"2\" aria-pressed=\"false\">{}</button></span>\
             <span class=\"export\">{} <a href=\"{}\">CSV</a> <a href=\"{}\">JSON</a> <a href=\"{}\">{}</a></span></div>",
            link(|_| {}),
            words.refresh_now,
            words.trend,
            words.trend_sessions,
            words.trend_rate,
            words.trend_bytes,
            words.export,
            link(|options| (options.wanted, options.no_refresh) = (Wanted::Csv, true)),
            link(|options| (options.wanted, options.no_refresh) = (Wanted::Json, true)),
            link(|options| options.wanted = Wanted::JsonSchema),
            words.schema,
        );
    }

    fn proxy(&self, text: &mut String, proxy: &Proxy<'_>) {
        let words = self.language.words();
        let name = escaped(proxy.name);
        let servers = proxy.rows.iter().any(|row| row.kind == Kind::Server);
        let admin = self.configured.admin && servers;
        let _ = write!(
            text,
            "<section class=\"proxy\" id=\"{name}\" data-proxy=\"{name}\"><h2><a href=\"#{name}\">{name}</a> \
             <span class=\"mode\">{}</span></h2>",
            escaped(proxy.mode),
        );
        if admin {
            let action = self.options.link(&self.configured.uri, |_| {});
            let _ = write!(text, "<form method=\"post\" action=\"{}\">", escaped(&action));
        }
        text.push_str("<div class=\"scroll\"><table>");
        self.columns(text, servers);
        text.push_str("<tbody>");
        for row in &proxy.rows {
            self.row(text, row);
        }
        text.push_str("</tbody></table></div>");
        if admin {
            let _ = write!(
                text,
                "<div class=\"act\"><input type=\"hidden\" name=\"b\" value=\"#{}\"><label>{} \
                 <select name=\"action\"><option value=\"\"></option>",
                proxy.id, words.action,
            );
            let said = words.all();
            for action in ACTIONS {
                let label = said
                    .iter()
                    .find(|(name, _)| name.strip_prefix("action_") == Some(action));
                let label = label.map_or(*action, |(_, label)| label);
                let _ = write!(text, "<option value=\"{action}\">{label}</option>");
            }
            let _ = write!(
                text,
                "</select></label> <button>{}</button></div></form>",
                words.apply
            );
        }
        text.push_str("</section>");
    }

    fn columns(&self, text: &mut String, servers: bool) {
        let words = self.language.words();
        let admin = self.configured.admin;
        let place = match self.language {
            Language::English => 0,
            Language::Chinese => 1,
        };
        text.push_str("<colgroup>");
        if admin {
            text.push_str("<col class=\"pick\">");
        }
        text.push_str("<col class=\"name\"><col class=\"line script\">");
        for column in GROUPS.iter().flat_map(|group| group.columns) {
            let _ = write!(text, "<col class=\"r{} {}\">", column.rank, column.width());
        }
        text.push_str("</colgroup><thead><tr>");
        if admin {
            text.push_str("<th rowspan=\"2\" class=\"pick\">");
            if servers {
                let _ = write!(
                    text,
                    "<input type=\"checkbox\" class=\"all script\" aria-label=\"{}\">",
                    words.select_all
                );
            }
            text.push_str("</th>");
        }
        let _ = write!(
            text,
            "<th rowspan=\"2\" class=\"name\">{}</th><th rowspan=\"2\" class=\"line script\">{}</th>",
            words.name, words.trend
        );
        for group in GROUPS {
            let least = group.columns.iter().map(|column| column.rank).min().unwrap_or(1);
            let _ = write!(
                text,
                "<th colspan=\"{}\" class=\"group r{least}\" data-ranks=\"{}\">{}</th>",
                group.columns.len(),
                group
                    .columns
                    .iter()
                    .map(|column| column.rank.to_string())
                    .collect::<String>(),
                group.title
            );
        }
        text.push_str("</tr><tr>");
        for group in GROUPS {
            for (number, column) in group.columns.iter().enumerate() {
                let first = match (number, column.title) {
                    (0, "Status") => " first status",
                    (0, _) => " first",
                    _ => "",
                };
                let help = column.help[place];
                let _ = write!(
                    text,
                    "<th class=\"r{}{first}\" title=\"{help}\">{}</th>",
                    column.rank, column.title
                );
            }
        }
        text.push_str("</tr></thead>");
    }

    fn row(&self, text: &mut String, row: &crate::stats::Row) {
        let words = self.language.words();
        let view = view(row, words, self.selection.discreet);
        let _ = write!(
            text,
            "<tr class=\"{}\" data-key=\"{}\">",
            view.look,
            escaped(&view.key)
        );
        if self.configured.admin {
            text.push_str("<td class=\"pick\">");
            if row.kind == Kind::Server {
                let _ = write!(
                    text,
                    "<input type=\"checkbox\" name=\"s\" value=\"{0}\" aria-label=\"{1} {0}\">",
                    escaped(&view.name),
                    words.select
                );
            }
            text.push_str("</td>");
        }
        let _ = write!(
            text,
            "<th scope=\"row\" class=\"name\" title=\"{}\">{}</th><td class=\"line script\"></td>",
            escaped(&view.tip),
            escaped(&view.name)
        );
        let columns = GROUPS.iter().flat_map(|group| group.columns.iter().enumerate());
        for ((number, column), cell) in columns.zip(&view.cells) {
            let first = if number == 0 { " first" } else { "" };
            let status = if column.title == "Status" { " status" } else { "" };
            let nil = if cell.is_nothing() { " nil" } else { "" };
            let _ = write!(text, "<td class=\"r{}{first}{status}{nil}\"", column.rank);
            if !cell.tip.is_empty() {
                let _ = write!(text, " title=\"{}\"", escaped(&cell.tip));
            }
            let _ = write!(text, ">{}</td>", escaped(&cell.text));
        }
        text.push_str("</tr>");
    }

    /// Filled by the script once it is opened.
    fn clients(&self, text: &mut String) {
        let words = self.language.words();
        let _ = write!(
            text,
            "<details id=\"clients\" class=\"script\"><summary>{} <span class=\"count\">{}</span></summary>\
             <div class=\"scroll\"><table><thead><tr></tr></thead><tbody></tbody></table></div></details>\
             <dialog id=\"detail\" aria-label=\"{}\"></dialog>",
            words.clients, words.clients_hint, words.detail,
        );
    }

    fn legend(&self, text: &mut String) {
        let words = self.language.words();
        let looks = [
            ("active_up", words.legend_active_up),
            ("backup_up", words.legend_backup_up),
            ("active_going_down", words.legend_active_going_down),
            ("backup_going_down", words.legend_backup_going_down),
            ("active_going_up", words.legend_active_going_up),
            ("backup_going_up", words.legend_backup_going_up),
            ("active_down", words.legend_down),
            ("active_no_check", words.legend_no_check),
            ("maintain", words.legend_maintain),
            ("active_draining", words.legend_draining),
        ];
        let _ = write!(text, "<footer><h2>{}</h2><ul class=\"legend\">", words.legend);
        for (class, said) in looks {
            let _ = write!(text, "<li><span class=\"{class}\"></span>{said}</li>");
        }
        let _ = write!(
            text,
            "</ul><p>{} <noscript>{}</noscript></p></footer>",
            words.legend_note, words.javascript
        );
    }
}

/// The process in a few figures: name, and label, value, note.
pub(super) fn tiles(info: &Info, language: Language) -> Vec<(&'static str, [String; 3])> {
    let words = language.words();
    let number = |name: &str| match info.value(name) {
        Value::U32(number) => u64::from(*number),
        Value::U64(number) => *number,
        _ => 0,
    };
    let per_second = |name: &str| format!("{}{}", number(name), words.per_second);
    let most = |name: &str| format!("{} {}", words.peak, number(name));
    let note = match info.former {
        _ if number("Stopping") == 1 => words.stopping.to_owned(),
        Some((pid, sessions)) => format!("{} {pid}: {sessions} {}", words.former, words.stay),
        None => String::new(),
    };
    vec![
        (
            "uptime",
            [words.uptime.into(), human_time(number("Uptime_sec")), note],
        ),
        (
            "connections",
            [
                words.connections.into(),
                super::view::grouped(number("CurrConns")),
                format!("{} {}", words.of, super::view::grouped(number("Maxconn"))),
            ],
        ),
        (
            "connection-rate",
            [
                words.connection_rate.into(),
                per_second("ConnRate"),
                most("MaxConnRate"),
            ],
        ),
        (
            "session-rate",
            [
                words.session_rate.into(),
                per_second("SessRate"),
                most("MaxSessRate"),
            ],
        ),
        (
            "sessions",
            [
                words.requests_total.into(),
                super::view::grouped(number("CumReq")),
                String::new(),
            ],
        ),
        (
            "bytes-out",
            [
                words.traffic_out.into(),
                format!("{}{}", short_bytes(number("BytesOutRate")), words.per_second),
                short_bytes(number("TotalBytesOut")),
            ],
        ),
        (
            "idle",
            [
                words.idle.into(),
                format!("{} %", number("Idle_pct")),
                format!("{} {}", number("Nbthread"), words.threads),
            ],
        ),
        (
            "limits",
            [
                words.limits.into(),
                super::view::grouped(number("Ulimit-n")),
                format!(
                    "{}, {} {}",
                    words.files,
                    number("Listeners"),
                    words.sockets_listening
                ),
            ],
        ),
    ]
}
