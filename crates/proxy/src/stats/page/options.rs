//! What comes after the page's address: `;csv`, `;up`, `;norefresh`, `;st=DONE`, `?scope=...`, as HAProxy has them, and
//! what our page asks for besides.

use warren_kit::form::decoded;

use super::words::Language;

/// What is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Wanted {
    #[default]
    Page,
    Csv,
    Typed,
    Json,
    JsonSchema,
    Info,
    Style,
    Script,
    /// Everything, as it changes.
    Live,
    /// The table of connections.
    Sessions,
    /// More about one row, `proxy/name`.
    Detail(String),
}

/// How it is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Options {
    pub(super) wanted: Wanted,
    /// Servers that are down are left out.
    pub(super) up: bool,
    /// No reloading.
    pub(super) no_refresh: bool,
    /// What became of the last action.
    pub(super) told: Option<String>,
    /// Only proxies whose name contains this.
    pub(super) scope: Option<String>,
    /// Unless the browser's own preference holds.
    pub(super) language: Option<Language>,
}

/// Octets of a scope; HAProxy's field has as many.
const SCOPE_MAX: usize = 20;

impl Options {
    /// `target` is the whole of what was asked for; `None` if it does not begin with the page's address.
    pub(super) fn of(target: &str, page: &str) -> Option<Self> {
        let rest = target.strip_prefix(page)?;
        let mut options = Self::default();
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        for part in path.split([';', '&']).chain(query.split([';', '&'])) {
            options.take(part);
        }
        Some(options)
    }

    fn take(&mut self, part: &str) {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        match name {
            "csv" => self.wanted = Wanted::Csv,
            "typed" => self.wanted = Wanted::Typed,
            "json" => self.wanted = Wanted::Json,
            "json-schema" => self.wanted = Wanted::JsonSchema,
            "info" => self.wanted = Wanted::Info,
            "page.css" => self.wanted = Wanted::Style,
            "page.js" => self.wanted = Wanted::Script,
            "live" => self.wanted = Wanted::Live,
            "sessions" => self.wanted = Wanted::Sessions,
            "detail" => self.wanted = Wanted::Detail(decoded(value)),
            "up" => self.up = true,
            "norefresh" => self.no_refresh = true,
            "st" => self.told = Some(value.to_owned()),
            "scope" => {
                let scope: String = decoded(value).chars().take(SCOPE_MAX).collect();
                self.scope = Some(scope).filter(|scope| !scope.is_empty());
            }
            "lang" => self.language = Language::of_code(value),
            _ => {}
        }
    }

    /// The address that leads here again, with something else asked for.
    pub(super) fn link(&self, page: &str, change: impl FnOnce(&mut Self)) -> String {
        let mut options = self.clone();
        options.wanted = Wanted::Page;
        options.told = None;
        change(&mut options);
        let mut link = page.to_owned();
        let word = match &options.wanted {
            Wanted::Page => "",
            Wanted::Csv => ";csv",
            Wanted::Typed => ";typed",
            Wanted::Json => ";json",
            Wanted::JsonSchema => ";json-schema",
            Wanted::Info => ";info",
            Wanted::Style => ";page.css",
            Wanted::Script => ";page.js",
            Wanted::Live => ";live",
            Wanted::Sessions => ";sessions",
            Wanted::Detail(_) => ";detail",
        };
        link.push_str(word);
        if let Some(told) = &options.told {
            link.push_str(";st=");
            link.push_str(told);
        }
        for (set, word) in [(options.up, ";up"), (options.no_refresh, ";norefresh")] {
            if set {
                link.push_str(word);
            }
        }
        if let Some(language) = options.language {
            link.push_str(";lang=");
            link.push_str(language.code());
        }
        if let Some(scope) = &options.scope {
            // HAProxy looks for this very text.
            link.push_str("?scope=");
            link.push_str(&encoded(scope));
        }
        link
    }
}

fn encoded(text: &str) -> String {
    let keep = |octet: u8| octet.is_ascii_alphanumeric() || b"-._~".contains(&octet);
    text.bytes()
        .map(|octet| {
            if keep(octet) {
                char::from(octet).to_string()
            } else {
                format!("%{octet:02X}")
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_follow_the_address_in_any_order() {
        let options = Options::of("/stats;up;norefresh;st=PART;lang=zh?scope=rab%2fbit", "/stats").unwrap();
        assert!(options.up && options.no_refresh);
        assert_eq!(options.told.as_deref(), Some("PART"));
        assert_eq!(options.scope.as_deref(), Some("rab/bit"));
        assert_eq!(options.language, Some(Language::Chinese));
        assert_eq!(
            Options::of("/stats;csv;norefresh", "/stats").unwrap().wanted,
            Wanted::Csv
        );
        // HAProxy's own default address has a question mark.
        let default = Options::of("/haproxy?stats;csv", "/haproxy?stats").unwrap();
        assert_eq!(default.wanted, Wanted::Csv);
        assert_eq!(Options::of("/other", "/stats"), None);
    }

    #[test]
    fn a_link_keeps_what_was_chosen_and_forgets_what_was_told() {
        let options = Options::of("/stats;up;st=DONE;lang=zh?scope=a b", "/stats").unwrap();
        let link = options.link("/stats", |options| options.wanted = Wanted::Csv);
        assert_eq!(link, "/stats;csv;up;lang=zh?scope=a%20b");
        assert_eq!(
            Options::of(&link, "/stats").unwrap().scope.as_deref(),
            Some("a b")
        );
    }
}
