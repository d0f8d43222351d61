//! A node's health in sentences: what is the matter, since when, what it leads to and what can be done.

use std::time::Duration;

use super::{Alarm, Certificate, Guesser, Health, Holder, Publisher, Status, Unattended};

/// Certificates are to be renewed when there is less time than this.
const RENEWAL: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// One sentence for each thing that matters, the worst first; one in all if nothing does.
#[must_use]
pub fn explain(health: &Health) -> Vec<String> {
    let status = &health.status;
    let mut sentences = Vec::new();
    sentences.extend(closed(health));
    for alarm in &status.alarms {
        sentences.push(self::alarm(alarm, status));
        if alarm.resource == "memory" && status.messages_ready + status.messages_unacknowledged > 0 {
            sentences.push(format!(
                "Queues have {} messages, {} of which clients have and have not acknowledged.",
                status.messages_ready + status.messages_unacknowledged,
                status.messages_unacknowledged
            ));
        }
    }
    sentences.extend(health.blocked.iter().map(blocked));
    sentences.extend(more(
        health.blocked.len(),
        health.blocked_count,
        "publishers are blocked",
    ));
    if health.slowed_count > 0 {
        sentences.push(format!(
            "{} publishers send more than queues and disk take, and are read as fast as those do: more consumers, or a faster \
             disk, would help.",
            health.slowed_count
        ));
    }
    let patience = Duration::from(health.looked_for);
    sentences.extend(health.unattended.iter().map(|queue| unattended(queue, patience)));
    sentences.extend(more(
        health.unattended.len(),
        health.unattended_count,
        "queues have messages and no consumer",
    ));
    sentences.extend(health.holders.iter().map(holder));
    sentences.extend(more(
        health.holders.len(),
        health.holders_count,
        "channels hold as many messages as they may",
    ));
    sentences.extend(health.guessers.iter().map(guesser));
    sentences.extend(nearly_short(status));
    let unanswered = Duration::from(status.disk.unanswered_us);
    if !unanswered.is_zero() {
        sentences.push(format!(
            "The disk has not answered for {}: who publishes persistent messages gets no confirm, and what operators change waits. \
             See dmesg, and what the storage of {} says; the broker goes on when it answers.",
            words(unanswered),
            status.data_directory.as_deref().unwrap_or("the data directory")
        ));
    }
    if health.damaged > 0 {
        sentences.push(format!(
            "What was read of the log was damaged {} times since the node started; the broker's own log says which file and which \
             queue. Everything else is served. See dmesg for what the disk says, and put back a copy of the data directory if a \
             queue misses what it must not.",
            health.damaged
        ));
    }
    if health.not_accepted > 0 {
        sentences.push(format!(
            "{} clients were not accepted since the node started, mostly for want of file descriptors ({} of {} are open): \
             raise LimitNOFILE of the unit.",
            health.not_accepted, status.files.open, status.files.limit
        ));
    }
    sentences.extend(status.certificates.iter().filter_map(|it| expiring(it, status)));
    if sentences.is_empty() {
        sentences.push(format!(
            "{} serves {} connections: nothing is short, no publisher waits, and every queue with messages has a consumer.",
            status.node, status.connections
        ));
    }
    sentences
}

fn closed(health: &Health) -> Option<String> {
    let node = &health.status.node;
    if health.status.maintenance {
        Some(format!(
            "{node} is in maintenance: its listeners are closed and its clients were told to go, until `rabbitmq-upgrade revive`."
        ))
    } else if health.suspended {
        Some(format!(
            "The listeners of {node} are closed: those who are connected stay, nobody else comes in until `rabbitmqctl \
             resume_listeners`."
        ))
    } else if !health.status.ready {
        Some(format!("{node} does not serve clients yet: it is starting."))
    } else {
        None
    }
}

fn alarm(alarm: &Alarm, status: &Status) -> String {
    let since = words(status.time.since(alarm.since));
    match alarm.resource.as_str() {
        "memory" => format!(
            "Memory has been short for {since}: {} of {} are used, and publishers are blocked until it is less. Consume or \
             purge what queues hold, or raise memory_limit (`rabbitmqctl set_vm_memory_high_watermark` does so at once).",
            octets(status.memory.used),
            octets(status.memory.limit)
        ),
        "disk" if status.disk.free >= status.disk.limit => format!(
            "The disk has been short for {since}, although {} are free and no more than {} have to be: the log got no room for \
             another file, and publishers are blocked until it does. Look at `df -i` and at quotas of the file system of {}, or \
             consume or purge queues.",
            octets(status.disk.free),
            octets(status.disk.limit),
            status.data_directory.as_deref().unwrap_or("the data directory")
        ),
        "disk" => format!(
            "The disk has been short for {since}: {} are free and {} have to be, and publishers are blocked until there are. \
             Make room in the file system of {}, consume or purge queues, or lower disk_free_limit.",
            octets(status.disk.free),
            octets(status.disk.limit),
            status.data_directory.as_deref().unwrap_or("the data directory")
        ),
        other => format!("There has been an alarm for {other} for {since}: publishers are blocked."),
    }
}

fn blocked(publisher: &Publisher) -> String {
    format!(
        "Connection {} of user {} in vhost {} published while something was short, and waits.",
        publisher.connection, publisher.user, publisher.vhost
    )
}

fn unattended(queue: &Unattended, patience: Duration) -> String {
    let place = format!("Queue {} in vhost {}", queue.queue, queue.vhost);
    let size = format!("{} messages ({})", queue.messages, octets(queue.octets));
    match queue.grown {
        0 => format!(
            "{place} has {size} and no consumer: start one, or purge or delete the queue if nobody wants them."
        ),
        grown => {
            let each = grown as f64 / patience.as_secs_f64().max(0.001);
            format!(
                "{place} has {size}, no consumer, and grows by {each:.0} messages a second: start a consumer, or limit the queue \
                 with a policy (max-length, message-ttl)."
            )
        }
    }
}

fn holder(holder: &Holder) -> String {
    let who = format!(
        "Channel {} of {} (user {}, vhost {}, from {})",
        holder.channel,
        holder.connection,
        holder.user,
        holder.vhost,
        holder.queues.join(", ")
    );
    match holder.prefetch {
        0 => format!(
            "{who} holds {} messages without acknowledging them, and without a limit: give its consumers a prefetch.",
            holder.messages
        ),
        _ => format!(
            "{who} holds {} unacknowledged messages, as many as its prefetch allows, and gets no others until it acknowledges \
             some: its program is slow, or forgets to.",
            holder.messages
        ),
    }
}

fn guesser(guesser: &Guesser) -> String {
    format!(
        "Logins from {} have failed {} times: each waits up to 3 seconds now. Mend the password of what runs there, or keep it \
         out.",
        guesser.address, guesser.failures
    )
}

/// Not short yet: nine tenths of the memory, or less than twice the room that has to be free.
fn nearly_short(status: &Status) -> Vec<String> {
    let has = |resource: &str| status.alarms.iter().any(|alarm| alarm.resource == resource);
    let mut sentences = Vec::new();
    let (memory, disk) = (&status.memory, &status.disk);
    if !has("memory") && memory.limit > 0 && memory.used > memory.limit / 10 * 9 {
        sentences.push(format!(
            "Memory is nearly short: {} of {} are used, and at the limit publishers are blocked.",
            octets(memory.used),
            octets(memory.limit)
        ));
    }
    if !has("disk") && disk.limit > 0 && disk.free < disk.limit.saturating_mul(2) {
        sentences.push(format!(
            "The disk is nearly short: {} are free, and below {} publishers are blocked.",
            octets(disk.free),
            octets(disk.limit)
        ));
    }
    sentences
}

fn expiring(certificate: &Certificate, status: &Status) -> Option<String> {
    let left = certificate.expires.since(status.time);
    let what = format!(
        "The certificate of {} in {}",
        certificate.subject, certificate.file
    );
    if left.is_zero() {
        Some(format!(
            "{what} has expired: replace the file, which is read by itself."
        ))
    } else if left < RENEWAL {
        Some(format!(
            "{what} expires in {}: replace the file, which is read by itself.",
            words(left)
        ))
    } else {
        None
    }
}

fn more(shown: usize, count: u64, what: &str) -> Option<String> {
    let left = count.saturating_sub(shown as u64);
    (left > 0).then(|| format!("{left} more {what}."))
}

/// `45 seconds`, `12 minutes`, `5 hours`, `3 days`
fn words(time: Duration) -> String {
    let seconds = time.as_secs();
    let (count, unit) = match seconds {
        0..=119 => (seconds, "second"),
        120..=7199 => (seconds / 60, "minute"),
        7200..=172_799 => (seconds / 3600, "hour"),
        _ => (seconds / 86_400, "day"),
    };
    match count {
        1 => format!("1 {unit}"),
        count => format!("{count} {unit}s"),
    }
}

/// `17 B`, `1.5 MB`
#[must_use]
pub fn octets(count: u64) -> String {
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    let (mut size, mut unit) = (count as f64, 0);
    while size >= 1000.0 && unit + 1 < UNITS.len() {
        size /= 1000.0;
        unit += 1;
    }
    let unit = UNITS.get(unit).copied().unwrap_or("B");
    match size < 10.0 && unit != "B" {
        true => format!("{size:.1} {unit}"),
        false => format!("{size:.0} {unit}"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::super::{Disk, Memory};
    use super::*;

    fn well() -> Health {
        Health {
            status: Status {
                node: "rabbit@a".into(),
                time: (UNIX_EPOCH + Duration::from_secs(1_000_000)).into(),
                ready: true,
                memory: Memory {
                    used: 30_000_000,
                    limit: 1_000_000_000,
                    ..Memory::default()
                },
                disk: Disk {
                    free: 5_000_000_000,
                    limit: 50_000_000,
                    ..Disk::default()
                },
                ..Status::default()
            },
            looked_for: Duration::from_millis(500).into(),
            ..Health::default()
        }
    }

    #[test]
    fn of_a_node_that_is_well_there_is_one_sentence() {
        let sentences = explain(&well());
        assert_eq!(sentences.len(), 1, "{sentences:?}");
        assert!(sentences[0].starts_with("rabbit@a serves 0 connections: nothing is short"));
    }

    #[test]
    fn a_disk_with_room_on_which_no_file_can_be_made_is_explained() {
        let mut health = well();
        health.status.alarms = vec![Alarm {
            resource: "disk".into(),
            since: health.status.time,
        }];
        let said = explain(&health).remove(0);
        assert!(
            said.contains("although 5.0 GB are free") && said.contains("`df -i`"),
            "{said}"
        );
    }

    #[test]
    fn damage_that_was_found_is_not_passed_over() {
        let health = Health { damaged: 2, ..well() };
        let sentences = explain(&health);
        assert!(
            sentences.len() == 1 && sentences[0].contains("damaged 2 times"),
            "{sentences:?}"
        );
    }

    #[test]
    fn an_alarm_says_since_when_and_what_to_do() {
        let mut health = well();
        health.status.alarms = vec![Alarm {
            resource: "disk".into(),
            since: (UNIX_EPOCH + Duration::from_secs(1_000_000 - 720)).into(),
        }];
        health.status.disk.free = 10_000_000;
        health.status.data_directory = Some("/data".into());
        health.blocked = vec![Publisher {
            connection: "10.0.0.1:5 -> 10.0.0.2:5672".into(),
            user: "shop".into(),
            vhost: "/".into(),
        }];
        health.blocked_count = 8;
        let sentences = explain(&health);
        assert!(
            sentences[0]
                .starts_with("The disk has been short for 12 minutes: 10 MB are free and 50 MB have to be"),
            "{sentences:?}"
        );
        assert!(
            sentences[1].contains("of user shop in vhost / published while"),
            "{sentences:?}"
        );
        assert_eq!(sentences[2], "7 more publishers are blocked.");
    }

    #[test]
    fn queues_without_consumers_say_whether_they_grow() {
        let mut health = well();
        let queue = |name: &str, grown| Unattended {
            vhost: "/".into(),
            queue: name.into(),
            messages: 100,
            octets: 1500,
            grown,
        };
        health.unattended = vec![queue("growing", 50), queue("forgotten", 0)];
        health.unattended_count = 2;
        let sentences = explain(&health);
        assert!(
            sentences[0].contains("grows by 100 messages a second"),
            "{sentences:?}"
        );
        assert!(
            sentences[1].contains("has 100 messages (1.5 kB) and no consumer"),
            "{sentences:?}"
        );
        assert_eq!(sentences.len(), 2);
    }

    #[test]
    fn what_will_soon_be_short_is_said_before_it_is() {
        let mut health = well();
        health.status.memory.used = 950_000_000;
        health.status.disk.free = 70_000_000;
        let sentences = explain(&health);
        assert!(
            sentences[0].starts_with("Memory is nearly short: 950 MB of 1.0 GB"),
            "{sentences:?}"
        );
        assert!(
            sentences[1].starts_with("The disk is nearly short: 70 MB are free"),
            "{sentences:?}"
        );
    }

    #[test]
    fn maintenance_says_how_it_ends() {
        let mut health = well();
        health.status.maintenance = true;
        assert!(explain(&health)[0].contains("until `rabbitmq-upgrade revive`"));
        health.status.maintenance = false;
        health.suspended = true;
        assert!(explain(&health)[0].contains("resume_listeners"));
    }
}
