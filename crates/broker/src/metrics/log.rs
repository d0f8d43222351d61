//! What the log says of itself. RabbitMQ has no names for this.

use warren_cluster::LogStatistics;

use super::page::Page;

/// Name behind `warren_log_`, type, what it says, and the number.
type Row = (
    &'static str,
    &'static str,
    &'static str,
    fn(&LogStatistics) -> f64,
);

const ROWS: [Row; 20] = [
    ("batches_total", "counter", "Batches appended.", |log| {
        log.batches as f64
    }),
    ("messages_total", "counter", "Messages appended.", |log| {
        log.messages as f64
    }),
    ("bytes_total", "counter", "What was appended.", |log| {
        log.octets as f64
    }),
    (
        "writes_total",
        "counter",
        "Writes, each of all batches that waited.",
        |log| log.writes as f64,
    ),
    ("syncs_total", "counter", "Calls of fdatasync.", |log| {
        log.syncs as f64
    }),
    ("sync_seconds_total", "counter", "Time in fdatasync.", |log| {
        log.sync_time.as_secs_f64()
    }),
    (
        "sync_longest_seconds",
        "gauge",
        "The longest fdatasync since the start.",
        |log| log.sync_longest.as_secs_f64(),
    ),
    ("waiting_bytes", "gauge", "What waits to be written.", |log| {
        log.waiting as f64
    }),
    (
        "segments",
        "gauge",
        "Files with something in them that is still needed.",
        |log| log.segments as f64,
    ),
    ("segment_bytes", "gauge", "Their size.", |log| {
        log.segment_octets as f64
    }),
    (
        "live_messages",
        "gauge",
        "Messages in them that are still needed, once for each queue.",
        |log| log.live as f64,
    ),
    (
        "moved_messages_total",
        "counter",
        "Messages copied out of files in which little was needed.",
        |log| log.moved as f64,
    ),
    (
        "fetched_messages_total",
        "counter",
        "Messages read back.",
        |log| log.fetched as f64,
    ),
    ("fetched_bytes_total", "counter", "What was read back.", |log| {
        log.fetched_octets as f64
    }),
    (
        "checkpoints_total",
        "counter",
        "Indexes written, so that the next start need not read everything.",
        |log| log.checkpoints as f64,
    ),
    ("segments_used_total", "counter", "Files taken into use.", |log| {
        log.segments_used as f64
    }),
    (
        "refused_batches_total",
        "counter",
        "Batches refused since the disk was full.",
        |log| log.refused as f64,
    ),
    (
        "full",
        "gauge",
        "Whether messages are refused since the disk is full.",
        |log| f64::from(u8::from(log.full)),
    ),
    (
        "scrubbed_bytes_total",
        "counter",
        "What was read to see whether it is what was written.",
        |log| log.scrubbed_octets as f64,
    ),
    (
        "damaged_total",
        "counter",
        "How often it was not: put back a copy of the data directory while there is one.",
        |log| log.damaged as f64,
    ),
];

/// All of it.
pub(super) fn write(log: &LogStatistics, page: &mut Page) {
    for (name, kind, help, of) in ROWS {
        let name = format!("warren_log_{name}");
        page.family(&name, kind, help);
        page.sample(&name, &[], of(log));
    }
}
