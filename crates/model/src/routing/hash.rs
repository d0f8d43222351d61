//! Exchanges that choose one of their targets: by the hash of the key, or at random.

use std::collections::{BTreeSet, HashMap};

use bytes::Bytes;
use warren_amqp::{ReplyCode, ShortString, Table, Value};

use super::{Said, Target};
use crate::refusal::Refusal;
use crate::wire_table;

/// The most places that a binding may take: its key is a weight.
const WEIGHT_MAX: usize = 10_000;
/// Properties that may be hashed.
const PROPERTIES: [&str; 3] = ["correlation_id", "message_id", "timestamp"];

/// What `x-consistent-hash` hashes is said once, or not at all.
pub(super) fn check_arguments(arguments: &Table) -> Result<(), Refusal> {
    let refused = |why: String| Err(Refusal::new(ReplyCode::PreconditionFailed, why));
    match (arguments.text("hash-header"), arguments.text("hash-property")) {
        (Some(_), Some(_)) => refused("hash-header and hash-property are mutually exclusive".to_owned()),
        (None, Some(property)) if !PROPERTIES.contains(&&*property) => {
            refused(format!("Unsupported property: {property}"))
        }
        _ => Ok(()),
    }
}

#[derive(Debug)]
enum By {
    Key,
    Header(String),
    Property(String),
    Chance,
}

/// Places, each leading to a target.
#[derive(Debug)]
pub struct Hash {
    by: By,
    weighted: bool,
    places: Vec<Target>,
    /// Which of them lead to a target: one that has thousands goes without looking at all of them for each.
    of: HashMap<Target, BTreeSet<usize>>,
}

impl Hash {
    pub(super) fn consistent(arguments: &Table) -> Self {
        let by = match (arguments.text("hash-header"), arguments.text("hash-property")) {
            (Some(header), _) => By::Header(header),
            (None, Some(property)) => By::Property(property),
            (None, None) => By::Key,
        };
        Self {
            by,
            weighted: true,
            places: Vec::new(),
            of: HashMap::new(),
        }
    }

    pub(super) fn modulus() -> Self {
        Self {
            by: By::Key,
            weighted: false,
            places: Vec::new(),
            of: HashMap::new(),
        }
    }

    pub(super) fn random() -> Self {
        Self {
            by: By::Chance,
            weighted: false,
            places: Vec::new(),
            of: HashMap::new(),
        }
    }

    pub(super) fn check(&self, key: &str) -> Result<(), Refusal> {
        if !self.weighted {
            return Ok(());
        }
        let why = match key.parse::<i64>() {
            Ok(weight) if weight < 1 => "The binding key must be greater than 0".to_owned(),
            Ok(weight) if weight > WEIGHT_MAX as i64 => {
                format!("The binding key must be {WEIGHT_MAX} or less: use weights of the same ratio")
            }
            Ok(_) => return Ok(()),
            Err(_) if key.is_empty() => "The binding key must be an integer: <<>>".to_owned(),
            Err(_) => format!("The binding key must be an integer: <<\"{key}\">>"),
        };
        Err(Refusal::new(ReplyCode::PreconditionFailed, why))
    }

    /// Places of a binding that has been checked.
    fn weight(&self, key: &str) -> usize {
        match self.weighted {
            true => key.parse().unwrap_or(0).min(WEIGHT_MAX),
            false => 1,
        }
    }

    /// With weights, a target has that of its first binding, as with RabbitMQ: others add nothing.
    pub(super) fn add(&mut self, key: &str, target: &Target) {
        if self.weighted && self.of.contains_key(target) {
            return;
        }
        let weight = self.weight(key);
        if weight > 0 {
            let first = self.places.len();
            let of = self.of.entry(target.clone()).or_default();
            of.extend(first..first + weight);
            self.places.extend(std::iter::repeat_n(target, weight).cloned());
        }
    }

    /// The last places come where others were: what led to them is spread over all, and nothing else moves. With weights, a target
    /// has none any more whichever of its bindings goes, as with RabbitMQ.
    pub(super) fn remove(&mut self, target: &Target) {
        let count = match self.weighted {
            true => self.of.get(target).map_or(0, BTreeSet::len),
            false => 1,
        };
        for _ in 0..count {
            let Some(of) = self.of.get_mut(target) else { return };
            let Some(place) = of.pop_last() else { return };
            if of.is_empty() {
                self.of.remove(target);
            }
            self.places.swap_remove(place);
            let moved = self.places.get(place);
            if let Some(of) = moved.and_then(|moved| self.of.get_mut(moved)) {
                of.remove(&self.places.len());
                of.insert(place);
            }
        }
    }

    pub(super) fn route(&self, said: &Said<'_>) -> Option<&Target> {
        let number = match &self.by {
            By::Chance => said.random(),
            By::Key => fnv(said.key),
            By::Header(name) => fnv(&said
                .headers()
                .and_then(|headers| headers.get(name))
                .map(octets)
                .unwrap_or_default()),
            By::Property(name) => fnv(&said.property(name)),
        };
        let index = match self.weighted {
            true => jump(number, self.places.len())?,
            false => {
                usize::try_from(number % u64::try_from(self.places.len()).ok().filter(|count| *count > 0)?)
                    .ok()?
            }
        };
        self.places.get(index)
    }
}

/// A header to be hashed: a text as it is, anything else as it is on the wire.
fn octets(value: &Value) -> Bytes {
    match value {
        Value::Text(octets) | Value::Octets(octets) => octets.clone(),
        other => wire_table::octets(&std::iter::once((ShortString::default(), other.clone())).collect()),
    }
}

/// FNV-1a, with a final mix: the same on every node and for ever.
fn fnv(octets: &[u8]) -> u64 {
    let hash = octets.iter().fold(0xcbf2_9ce4_8422_2325, |hash: u64, octet| {
        (hash ^ u64::from(*octet)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^ (hash >> 33)
}

/// Jump consistent hash (Lamping and Veach, 2014): when there is one more place, it takes its share and nothing else moves.
fn jump(mut key: u64, places: usize) -> Option<usize> {
    let places = i64::try_from(places).ok().filter(|places| *places > 0)?;
    let (mut before, mut next) = (-1_i64, 0_i64);
    while next < places {
        before = next;
        key = key.wrapping_mul(2_862_933_555_777_941_757).wrapping_add(1);
        let step = f64::from(1_u32 << 31) / ((key >> 33) + 1) as f64;
        next = ((before + 1) as f64 * step) as i64;
    }
    usize::try_from(before).ok()
}
