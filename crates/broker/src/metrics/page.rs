//! Lines of the text that Prometheus reads.

use std::fmt::{Display, Write as _};

/// What has been written.
#[derive(Debug, Default)]
pub(super) struct Page {
    pub(super) text: String,
}

impl Page {
    /// A metric begins.
    pub(super) fn family(&mut self, name: &str, kind: &str, help: &str) {
        // Into a String nothing fails.
        let _ = write!(self.text, "# TYPE {name} {kind}\n# HELP {name} {help}\n");
    }

    /// A value of it.
    pub(super) fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.text.push_str(name);
        for (place, (label, said)) in labels.iter().enumerate() {
            self.text.push(if place == 0 { '{' } else { ',' });
            self.text.push_str(label);
            self.text.push_str("=\"");
            self.escaped(said);
            self.text.push('"');
        }
        if !labels.is_empty() {
            self.text.push('}');
        }
        let _ = writeln!(self.text, " {value}");
    }

    fn escaped(&mut self, said: &str) {
        if !said.contains(['\\', '"', '\n']) {
            return self.text.push_str(said);
        }
        for letter in said.chars() {
            match letter {
                '\\' => self.text.push_str("\\\\"),
                '"' => self.text.push_str("\\\""),
                '\n' => self.text.push_str("\\n"),
                other => self.text.push(other),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Page;

    #[test]
    fn what_would_end_a_label_is_escaped() {
        let mut page = Page::default();
        page.family("a", "gauge", "What.");
        page.sample("a", &[("queue", "q\"1\\\n"), ("vhost", "/")], 5);
        page.sample("a", &[], 0.5);
        assert_eq!(
            page.text,
            "# TYPE a gauge\n# HELP a What.\na{queue=\"q\\\"1\\\\\\n\",vhost=\"/\"} 5\na 0.5\n"
        );
    }
}
