//! Topic: words between dots, `*` for exactly one, `#` for any number.
//!
//! Patterns are a tree of words. A message walks it word by word with the set of all nodes that its words so far may have
//! led to, so that no pattern makes it slower than nodes × words, however many `#` it has.
//!
//! ```text
//!   a.*.c   a.#          (root) ─a─▶ ( ) ─*─▶ ( ) ─c─▶ (target)
//!                                     └──#─▶ (target) ⟲ any word
//! ```

use std::collections::HashMap;

use super::Target;
use super::targets::Targets;

/// Targets by pattern.
#[derive(Debug, Default)]
pub struct Topic {
    root: Node,
}

#[derive(Debug, Default)]
struct Node {
    /// By the word that follows, `*` apart.
    words: HashMap<Box<[u8]>, Self>,
    star: Option<Box<Self>>,
    /// Behind `#`: it may take any word and stay here.
    hash: Option<Box<Self>>,
    /// This is behind a `#`.
    stays: bool,
    /// Of the patterns that end here.
    targets: Targets,
}

impl Topic {
    pub(super) fn add(&mut self, pattern: &str, target: &Target) {
        let mut node = &mut self.root;
        for word in words_of_pattern(pattern) {
            node = match word {
                b"*" => node.star.get_or_insert_default(),
                b"#" => {
                    let next = node.hash.get_or_insert_default();
                    next.stays = true;
                    next
                }
                _ => node.words.entry(word.into()).or_default(),
            };
        }
        node.targets.add(target);
    }

    pub(super) fn remove(&mut self, pattern: &str, target: &Target) {
        let words: Vec<&[u8]> = words_of_pattern(pattern).collect();
        remove(&mut self.root, &words, target);
    }

    pub(super) fn route<'a>(&'a self, key: &[u8], found: &mut Vec<&'a Target>) {
        let mut here: Vec<&Node> = Vec::with_capacity(8);
        let mut next: Vec<&Node> = Vec::with_capacity(8);
        reach(&self.root, &mut here);
        for word in words(key) {
            for node in &here {
                if let Some(child) = node.words.get(word) {
                    reach(child, &mut next);
                }
                if let Some(child) = &node.star {
                    reach(child, &mut next);
                }
                if node.stays {
                    next.push(node);
                }
            }
            // Only a node that stays can be reached in two ways.
            if next.iter().any(|node| node.stays) {
                next.sort_unstable_by_key(|node| std::ptr::from_ref(*node));
                next.dedup_by_key(|node| std::ptr::from_ref(*node));
            }
            if next.is_empty() {
                return;
            }
            std::mem::swap(&mut here, &mut next);
            next.clear();
        }
        for node in here {
            found.extend(node.targets.as_slice());
        }
    }
}

/// A node, and what is behind a `#` that takes no word.
fn reach<'a>(node: &'a Node, into: &mut Vec<&'a Node>) {
    into.push(node);
    if let Some(behind) = &node.hash {
        reach(behind, into);
    }
}

/// True: nothing is left of the node.
fn remove(node: &mut Node, words: &[&[u8]], target: &Target) -> bool {
    match words.split_first() {
        None => node.targets.remove(target),
        Some((&b"*", rest)) => {
            if node
                .star
                .as_mut()
                .is_some_and(|child| remove(child, rest, target))
            {
                node.star = None;
            }
        }
        Some((&b"#", rest)) => {
            if node
                .hash
                .as_mut()
                .is_some_and(|child| remove(child, rest, target))
            {
                node.hash = None;
            }
        }
        Some((word, rest)) => {
            if node
                .words
                .get_mut(*word)
                .is_some_and(|child| remove(child, rest, target))
            {
                node.words.remove(*word);
            }
        }
    }
    node.targets.is_empty() && node.words.is_empty() && node.star.is_none() && node.hash.is_none()
}

/// Words of a routing key: an empty key has none, two dots in a row have an empty one between them.
fn words(key: &[u8]) -> impl Iterator<Item = &[u8]> {
    let none = key.is_empty();
    key.split(|octet| *octet == b'.').skip(usize::from(none))
}

/// Words of a pattern. Several `#` in a row say no more than one.
fn words_of_pattern(pattern: &str) -> impl Iterator<Item = &[u8]> {
    let mut before = b"".as_slice();
    words(pattern.as_bytes()).filter(move |word| {
        let again = *word == b"#" && before == b"#";
        before = word;
        !again
    })
}
