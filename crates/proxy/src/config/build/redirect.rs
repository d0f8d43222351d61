//! `redirect`, on a line of its own and as an action of `http-request`.

use warren_kit::config::{Report, suggestion};

use super::actions::template;
use super::line::refuse;
use super::rules::Scope;
use crate::config::words::Word;
use crate::plan::{HttpAction, HttpRule, Redirect, RedirectOptions};

impl Scope<'_> {
    /// `location|prefix|scheme TO [code N] [drop-query] ...`
    pub(super) fn redirect(
        &self,
        report: &mut Report,
        words: &[Word],
        action: Option<&Word>,
    ) -> Option<HttpRule> {
        let [kind, to, rest @ ..] = words else {
            let span = words.first().or(action).map_or(0..0, |word| word.span.clone());
            report.error(
                span,
                "a redirection to nowhere",
                "write location, prefix or scheme, and where to",
            );
            return None;
        };
        let target = template(report, to)?;
        let to = match kind.text.as_str() {
            "location" => Redirect::Location(target),
            "prefix" => Redirect::Prefix(target),
            "scheme" => Redirect::Scheme(target),
            other => {
                let help = suggestion(other, ["location", "prefix", "scheme"].into_iter());
                return refuse(report, kind, format!("unknown redirection `{other}`"), help);
            }
        };
        let mut rest = rest;
        let mut code = 302;
        let mut options = RedirectOptions::default();
        while let Some((word, more)) = rest.split_first() {
            rest = match word.text.as_str() {
                "drop-query" => {
                    options.drop_query = true;
                    more
                }
                "append-slash" => {
                    options.append_slash = true;
                    more
                }
                "ignore-empty" => {
                    options.ignore_empty = true;
                    more
                }
                "code" => {
                    let number = more.first().and_then(|word| word.text.parse().ok());
                    let Some(number) = number.filter(|code| [301, 302, 303, 307, 308].contains(code)) else {
                        let help = "write 301, 302, 303, 307 or 308";
                        return refuse(report, word, "`code` needs the status of a redirection", help);
                    };
                    code = number;
                    more.get(1..).unwrap_or_default()
                }
                "set-cookie" | "clear-cookie" => {
                    let Some((cookie, more)) = more.split_first() else {
                        let said = format!("`{}` needs a cookie", word.text);
                        return refuse(report, word, said, "write NAME=VALUE behind");
                    };
                    let cleared = word.text == "clear-cookie";
                    let age = if cleared { "; Max-Age=0" } else { "" };
                    options.cookie = Some(format!("{}; path=/{age};", cookie.text));
                    more
                }
                _ => break,
            };
        }
        self.rule(report, HttpAction::Redirect { code, to, options }, rest)
    }
}
