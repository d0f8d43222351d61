//! `docs/metrics.md`: the table of all metrics, and alerts to begin with.

use std::fmt::Write;

use prometheus_client::metrics::MetricType;

use super::{FAMILIES, Family, PREFIX};

const HEAD: &str = "\
# Metrics of the failover daemon

Made by `scripts/gen` from the program.
`metrics = \"127.0.0.1:9112\"` in `[vrrp]` switches them on; `GET /metrics` on that address answers with OpenMetrics text.
There is no TLS and no password: keep it on loopback, or put something in front that has both.

Names begin with `warren_vrrp_`, times are in seconds, counters count since the worker started or the router was
configured. A series goes away with its router, check or address.

";

/// One per failure that nobody may overlook; a scrape sees a moment, so those of states wait a little.
const ALERTS: &str = r#"
## Alerts

A router has the same name on every host, so sums by `router` see all of them.

```yaml
groups:
  - name: warren-vrrp
    rules:
      - alert: NoActiveRouter
        expr: sum by (router) (warren_vrrp_state{state="active"}) == 0
        for: 10s
        annotations:
          summary: "Nobody holds the addresses of {{ $labels.router }}; run `warren why {{ $labels.router }}` on each host"
      - alert: TwoActiveRouters
        expr: sum by (router) (warren_vrrp_state{state="active"}) > 1 or max by (router) (warren_vrrp_dual_active) == 1
        for: 10s
        annotations:
          summary: "Two hosts hold the addresses of {{ $labels.router }}; the hosts do not hear each other"
      - alert: AddressMissing
        expr: warren_vrrp_address_in_kernel == 0 and on (instance, router) warren_vrrp_state{state="active"} == 1
        for: 10s
        annotations:
          summary: "{{ $labels.instance }} is active for {{ $labels.router }} without {{ $labels.address }}"
      - alert: AdvertsMissing
        expr: warren_vrrp_active_peer_advert_age_seconds > 0.5 * warren_vrrp_active_down_interval_seconds
        for: 30s
        annotations:
          summary: "{{ $labels.instance }} hears the active router of {{ $labels.router }} irregularly; the network loses packets"
      - alert: CheckFailed
        expr: warren_vrrp_check_verdict{verdict="failed"} == 1
        for: 1m
        annotations:
          summary: "Check {{ $labels.check }} has failed on {{ $labels.instance }}; `warren status` shows its last output"
      - alert: FailoverDaemonGone
        expr: up{job="warren-vrrp"} == 0
        for: 1m
        annotations:
          summary: "{{ $labels.instance }} is not seen any more; the alerts above know only hosts that answer"
```
"#;

const PROXY: &str = "
# Metrics of the proxy

`metrics = \"127.0.0.1:9113\"` in `[proxy]` switches them on, or in a haproxy.cfg
`http-request use-service prometheus-exporter if { path /metrics }` in a frontend of mode http.
Names, types and labels of `haproxy_*` are those of HAProxy's own exporter, so that dashboards and alerts for it go on
working; a value that its statistics leave empty is `NaN`, as there. What only this proxy has is `warren_proxy_*`.

| name | type | labels | meaning |
|---|---|---|---|
";

const PROXY_ALERTS: &str = r#"
## Alerts for the proxy

```yaml
groups:
  - name: warren-proxy
    rules:
      - alert: NoServer
        expr: haproxy_backend_active_servers + haproxy_backend_backup_servers == 0 and haproxy_backend_agg_server_status{state="DOWN"} > 0
        for: 10s
        annotations:
          summary: "{{ $labels.proxy }} on {{ $labels.instance }} has no server left; clients are turned away"
      - alert: ServerDown
        expr: haproxy_server_status{state="DOWN"} == 1
        for: 1m
        annotations:
          summary: "{{ $labels.server }} of {{ $labels.proxy }} is down, as {{ $labels.instance }} sees it"
      - alert: OnlyBackups
        expr: haproxy_backend_active_servers == 0 and haproxy_backend_backup_servers > 0
        for: 1m
        annotations:
          summary: "{{ $labels.proxy }} on {{ $labels.instance }} lives on its backup servers"
      - alert: ConnectionsNearlyFull
        expr: haproxy_process_current_connections > 0.9 * haproxy_process_max_connections
        for: 1m
        annotations:
          summary: "{{ $labels.instance }} has {{ $value }} connections; maxconn is near"
      - alert: ConnectionsWait
        expr: haproxy_backend_current_queue > 0
        for: 1m
        annotations:
          summary: "{{ $value }} connections wait for a server of {{ $labels.proxy }}"
```
"#;

/// The whole page.
pub(crate) fn page() -> String {
    let mut page = HEAD.to_owned();
    page.push_str("| name | type | labels | meaning |\n|---|---|---|---|\n");
    for family in FAMILIES {
        let labels: Vec<String> = family.labels().iter().map(|label| format!("`{label}`")).collect();
        let _ = writeln!(
            page,
            "| `{}` | {} | {} | {} |",
            sample_name(family),
            family.kind.as_str(),
            labels.join(", "),
            family.help,
        );
    }
    page.push_str(ALERTS);
    page.push_str(PROXY);
    for family in warren_proxy::stats::families() {
        let labels: Vec<String> = family.labels().iter().map(|label| format!("`{label}`")).collect();
        let _ = writeln!(
            page,
            "| `{}` | {} | {} | {} |",
            family.name,
            family.kind,
            labels.join(", "),
            family.help,
        );
    }
    page.push_str(PROXY_ALERTS);
    page
}

/// What to ask the server for; a histogram has three names that begin with this.
fn sample_name(family: &Family) -> String {
    let unit = if family.seconds { "_seconds" } else { "" };
    let suffix = match family.kind {
        MetricType::Counter => "_total",
        MetricType::Info => "_info",
        _ => "",
    };
    format!("{PREFIX}_{}{unit}{suffix}", family.name)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn alerts_ask_for_metrics_that_exist() {
        let known: BTreeSet<String> = FAMILIES.iter().map(sample_name).collect();
        let asked: Vec<&str> = ALERTS
            .split(|it: char| !(it.is_ascii_alphanumeric() || it == '_'))
            .filter(|word| word.starts_with("warren_vrrp_"))
            .collect();
        assert!(asked.len() >= 6, "{asked:?}");
        for name in asked {
            assert!(known.contains(name), "{name} is no metric");
        }
    }
}
