//! What a node goes by, under the names that RabbitMQ's application environment has for it.

use serde_json::{Value, json};
use warren_api::broker::Cell;
use warren_model::meta::PasswordHash;

use super::Column;
use crate::alarms::{DiskLimit, MemoryLimit};
use crate::node::Settings;
use crate::password::Hashing;

/// A name and what it is set to.
pub(super) type Item = (&'static str, Value);

pub(super) fn of(settings: &Settings) -> Vec<Item> {
    let part = |millionths: u32| f64::from(millionths) / 1e6;
    let timeout = settings.consumer_timeout.map(|it| it.as_millis());
    vec![
        ("channel_max", json!(settings.channel_max)),
        (
            "connection_max",
            settings
                .connection_max
                .map_or_else(|| json!("infinity"), |max| json!(max)),
        ),
        (
            "consumer_timeout",
            timeout.map_or_else(
                || json!("undefined"),
                |it| json!(u64::try_from(it).unwrap_or(u64::MAX)),
            ),
        ),
        ("default_user", json!(settings.first.user)),
        ("default_vhost", json!(settings.first.vhost)),
        (
            "disk_free_limit",
            match settings.disk_free_limit {
                DiskLimit::MillionthsOfMemory(millionths) => json!({"mem_relative": part(millionths)}),
                DiskLimit::Octets(octets) => json!(octets),
            },
        ),
        ("frame_max", json!(settings.frame_max.octets())),
        (
            "handshake_timeout",
            json!(u64::try_from(settings.handshake_timeout.as_millis()).unwrap_or(u64::MAX)),
        ),
        ("heartbeat", json!(settings.heartbeat)),
        ("loopback_users", json!(settings.loopback_users)),
        ("max_message_size", json!(settings.body_max)),
        (
            "password_hashing_module",
            match settings.hashing {
                Hashing::Sha256 => json!(PasswordHash::SHA256),
                Hashing::Sha512 => json!(PasswordHash::SHA512),
                Hashing::Argon2id => json!(PasswordHash::ARGON2ID),
            },
        ),
        (
            "vm_memory_high_watermark",
            match settings.memory_limit {
                MemoryLimit::Millionths(millionths) => json!(part(millionths)),
                MemoryLimit::Octets(octets) => json!({"absolute": octets}),
            },
        ),
    ]
}

pub(super) fn column(column: &str) -> Option<Column<Item>> {
    Some(match column {
        "name" => |(name, _)| Cell::from(*name),
        "value" => |(_, value)| Cell::Text(value.to_string()),
        _ => return None,
    })
}
