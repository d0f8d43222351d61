//! Would the firewall of this host let advertisements in?
//!
//! The rules are read as `nft -j list ruleset` or `iptables-save` print them. The judgement leans towards silence: a rule
//! that might accept an advertisement counts as one that does.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::Value;
use warren_vrrp::Family;

/// The rules that decide about incoming packets, in order.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Firewall {
    chains: Vec<Chain>,
    rules: Vec<Rule>,
}

/// Where packets enter.
#[derive(Debug, PartialEq, Eq)]
struct Chain {
    name: String,
    table: String,
    families: Vec<Family>,
    /// What happens to packets that no rule decides about.
    drops: bool,
}

/// A rule that an advertisement would meet.
#[derive(Debug, PartialEq, Eq)]
struct Rule {
    chain: String,
    table: String,
    /// `None` = any.
    interfaces: Option<BTreeSet<String>>,
    /// The rule speaks of VRRP.
    names_vrrp: bool,
    /// It has no condition at all.
    always: bool,
    action: Action,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Action {
    /// Counting, logging: the next rule decides.
    Continue,
    Accept,
    Drop,
    Jump(String),
}

enum Verdict {
    Accepted,
    Dropped(String),
}

const JUMPS_MAX: u8 = 16;

impl Firewall {
    /// What the tools of this host say; empty if there are none or we may not ask.
    #[must_use]
    pub fn read() -> Self {
        if let Some(text) = output("nft", &["-j", "list", "ruleset"]) {
            return Self::from_nft(&text);
        }
        let mut firewall = Self::default();
        for (program, family) in [("iptables-save", Family::V4), ("ip6tables-save", Family::V6)] {
            if let Some(text) = output(program, &[]) {
                firewall.add_iptables(&text, family);
            }
        }
        firewall
    }

    /// Why advertisements do not come in on an interface; `None` if they do, or might.
    #[must_use]
    pub fn drops_vrrp(&self, family: Family, interface: &str) -> Option<String> {
        let chains = self
            .chains
            .iter()
            .filter(|chain| chain.families.contains(&family));
        chains
            .map(|chain| {
                (
                    chain,
                    self.verdict(&chain.table, &chain.name, interface, JUMPS_MAX),
                )
            })
            .find_map(|(chain, verdict)| match verdict {
                Some(Verdict::Accepted) => None,
                Some(Verdict::Dropped(why)) => Some(why),
                None => chain
                    .drops
                    .then(|| format!("the chain {} drops what no rule accepts", chain.name)),
            })
    }

    /// What the rules of a chain decide, if they do.
    fn verdict(&self, table: &str, chain: &str, interface: &str, jumps: u8) -> Option<Verdict> {
        let on_interface = |rule: &&Rule| {
            rule.interfaces
                .as_ref()
                .is_none_or(|names| names.iter().any(|name| name_matches(name, interface)))
        };
        let mut rules = self
            .rules
            .iter()
            .filter(|rule| rule.table == table && rule.chain == chain)
            .filter(on_interface);
        rules.find_map(|rule| match &rule.action {
            Action::Accept => Some(Verdict::Accepted),
            Action::Drop if rule.names_vrrp => {
                Some(Verdict::Dropped(format!("a rule of the chain {chain} names it")))
            }
            Action::Drop if rule.always => Some(Verdict::Dropped(format!(
                "the chain {chain} has a rule that drops everything"
            ))),
            Action::Jump(target) if jumps > 0 => self.verdict(table, target, interface, jumps - 1),
            Action::Drop | Action::Jump(_) | Action::Continue => None,
        })
    }

    /// Reads the JSON of `nft -j list ruleset`.
    #[must_use]
    pub fn from_nft(text: &str) -> Self {
        let mut firewall = Self::default();
        let ruleset: Value = serde_json::from_str(text).unwrap_or_default();
        for entry in ruleset["nftables"].as_array().into_iter().flatten() {
            if let Some(chain) = entry.get("chain") {
                firewall.chains.extend(nft_chain(chain));
            } else if let Some(rule) = entry.get("rule") {
                firewall.rules.extend(nft_rule(rule));
            }
        }
        firewall
    }

    /// Reads what `iptables-save` (or `ip6tables-save`) prints.
    pub fn add_iptables(&mut self, text: &str, family: Family) {
        let mut table = String::new();
        for line in text.lines() {
            if let Some(name) = line.strip_prefix('*') {
                table = format!("{name} {family:?}");
            } else if let Some(policy) = line.strip_prefix(":INPUT ") {
                self.chains.push(Chain {
                    name: "INPUT".to_owned(),
                    table: table.clone(),
                    families: vec![family],
                    drops: policy.starts_with("DROP"),
                });
            } else if let Some(rule) = line.strip_prefix("-A ") {
                self.rules.extend(iptables_rule(rule, &table));
            }
        }
    }
}

fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// `eth*` stands for all that begin with `eth`; iptables writes `eth+`.
fn name_matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix(['*', '+']) {
        Some(prefix) => name.starts_with(prefix),
        None => pattern == name,
    }
}

fn nft_chain(chain: &Value) -> Option<Chain> {
    let families = match chain["family"].as_str()? {
        "ip" => vec![Family::V4],
        "ip6" => vec![Family::V6],
        "inet" => vec![Family::V4, Family::V6],
        _ => return None,
    };
    (chain["hook"].as_str()? == "input" && chain["type"].as_str() == Some("filter")).then(|| Chain {
        name: chain["name"].as_str().unwrap_or_default().to_owned(),
        table: nft_table(chain),
        families,
        drops: chain["policy"].as_str() == Some("drop"),
    })
}

fn nft_table(entry: &Value) -> String {
    format!(
        "{} {}",
        entry["family"].as_str().unwrap_or_default(),
        entry["table"].as_str().unwrap_or_default()
    )
}

/// `None` if an advertisement does not meet the rule's conditions.
fn nft_rule(rule: &Value) -> Option<Rule> {
    let mut read = Rule {
        chain: rule["chain"].as_str()?.to_owned(),
        table: nft_table(rule),
        interfaces: None,
        names_vrrp: false,
        always: true,
        action: Action::Continue,
    };
    for expression in rule["expr"].as_array()? {
        if let Some(condition) = expression.get("match") {
            read.always = false;
            nft_condition(condition, &mut read)?;
        } else if let Some(map) = expression.get("vmap") {
            read.always = false;
            read.action = nft_map(map);
        } else if expression.get("accept").is_some() {
            read.action = Action::Accept;
        } else if expression.get("drop").is_some() || expression.get("reject").is_some() {
            read.action = Action::Drop;
        } else if let Some(jump) = expression.get("jump").or_else(|| expression.get("goto")) {
            read.action = Action::Jump(jump["target"].as_str()?.to_owned());
        }
    }
    Some(read)
}

/// `None` if an advertisement does not meet the condition.
fn nft_condition(condition: &Value, rule: &mut Rule) -> Option<()> {
    let (left, right) = (&condition["left"], &condition["right"]);
    let negated = condition["op"].as_str() == Some("!=");
    let words = words_of(right);
    let key = left["meta"]["key"]
        .as_str()
        .or_else(|| left["payload"]["field"].as_str())
        .unwrap_or_default();
    let transport = [
        "tcp", "udp", "icmp", "icmpv6", "igmp", "sctp", "dccp", "th", "esp", "ah",
    ];
    match key {
        "l4proto" | "protocol" | "nexthdr" => {
            let named = words.contains("vrrp") || words.contains("112");
            rule.names_vrrp |= named;
            (named != negated).then_some(())
        }
        "iifname" | "iif" if !negated => {
            rule.interfaces = Some(words);
            Some(())
        }
        _ if left["payload"]["protocol"]
            .as_str()
            .is_some_and(|protocol| transport.contains(&protocol)) =>
        {
            None
        }
        _ if left["ct"]["key"].as_str() == Some("state") => (words.contains("new") != negated).then_some(()),
        _ => Some(()),
    }
}

/// A verdict map accepts unless it is known not to speak of advertisements: a map of ports, states or other protocols.
fn nft_map(map: &Value) -> Action {
    let of_others = map["key"]["ct"].is_object()
        || map["key"]["payload"]["field"]
            .as_str()
            .is_some_and(|field| ["dport", "sport"].contains(&field));
    let of_protocols = map["key"]["meta"]["key"].as_str() == Some("l4proto");
    let words = words_of(&map["data"]);
    if of_others || of_protocols && !words.contains("vrrp") && !words.contains("112") {
        Action::Continue
    } else {
        Action::Accept
    }
}

/// All strings and numbers in a value: a set, a list or a single one.
fn words_of(value: &Value) -> BTreeSet<String> {
    match value {
        Value::String(text) => BTreeSet::from([text.clone()]),
        Value::Number(number) => BTreeSet::from([number.to_string()]),
        Value::Array(values) => values.iter().flat_map(words_of).collect(),
        Value::Object(values) => values.values().flat_map(words_of).collect(),
        Value::Null | Value::Bool(_) => BTreeSet::new(),
    }
}

/// `INPUT -i eth0 -p vrrp -j ACCEPT`; `None` if an advertisement does not meet the conditions.
fn iptables_rule(line: &str, table: &str) -> Option<Rule> {
    let mut words = line.split_whitespace();
    let mut rule = Rule {
        chain: words.next()?.to_owned(),
        table: table.to_owned(),
        interfaces: None,
        names_vrrp: false,
        always: true,
        action: Action::Continue,
    };
    let mut negated = false;
    while let Some(word) = words.next() {
        match word {
            "!" => {
                negated = true;
                continue;
            }
            "-j" | "-g" => {
                rule.action = match words.next()? {
                    "ACCEPT" => Action::Accept,
                    "DROP" | "REJECT" => Action::Drop,
                    "LOG" | "RETURN" | "MARK" | "NFLOG" => Action::Continue,
                    chain => Action::Jump(chain.to_owned()),
                }
            }
            "-p" => {
                let named = ["vrrp", "112"].contains(&words.next()?);
                rule.names_vrrp |= named;
                rule.always = false;
                if named == negated {
                    return None;
                }
            }
            "-i" => {
                let name = words.next()?;
                rule.always = false;
                if !negated {
                    rule.interfaces = Some(BTreeSet::from([name.to_owned()]));
                }
            }
            "--ctstate" | "--state" => {
                rule.always = false;
                if words.next()?.split(',').any(|state| state == "NEW") == negated {
                    return None;
                }
            }
            "--reject-with" | "--comment" | "-m" => {
                words.next();
            }
            condition if condition.starts_with('-') => rule.always = false,
            _ => {}
        }
        negated = false;
    }
    Some(rule)
}
