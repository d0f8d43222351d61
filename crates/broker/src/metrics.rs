//! Metrics for Prometheus, with RabbitMQ's names and labels, so that dashboards and alerts that exist go on working.
//!
//! ```text
//!   /metrics                        sums: as many lines whatever there is
//!   /metrics/per-object             the same, with a line for each queue, channel and connection
//!   /metrics/detailed?family=NAME   lines for each object, of these families only; also vhost=NAME
//! ```
//!
//! Nothing is counted here: a page is written from one look at what connections and queues have counted.

mod families;
mod family;
mod page;
mod scene;
#[cfg(test)]
mod tests;

use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use warren_kit::metrics::{Asked, Timeouts, serve_pages};

use crate::about::About;
use crate::node::Node;
use families::FAMILIES;
use family::CHANNELS;
use page::Page;
use scene::{Objects, Scene};

/// What the text is: the old format, as RabbitMQ's.
const EXPOSITION: &str = "text/plain; version=0.0.4";

/// How long connections may take to say what their channels are like.
const PATIENCE: Duration = Duration::from_secs(1);

/// Answers scrapes until dropped.
///
/// # Errors
/// The listener is of no use.
pub async fn serve(node: Arc<Node>, about: Arc<About>, listener: TcpListener) -> io::Result<()> {
    serve_pages(
        EXPOSITION,
        listener,
        Timeouts::default(),
        move |asked: &Asked<'_>| {
            let wanted = Wanted::read(asked)?;
            let (node, about) = (Arc::clone(&node), Arc::clone(&about));
            Some(async move { text(node, about, wanted).await })
        },
    )
    .await
}

/// What was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Wanted {
    /// Sums.
    Sums,
    /// Sums where there are no objects, and objects.
    PerObject,
    /// Objects of these families, in these vhosts or in all.
    Detailed {
        families: Vec<String>,
        vhosts: Vec<String>,
    },
}

impl Wanted {
    fn read(asked: &Asked<'_>) -> Option<Self> {
        match asked.path {
            "/metrics" | "/metrics/" => Some(Self::Sums),
            "/metrics/per-object" => Some(Self::PerObject),
            "/metrics/detailed" => Some(Self::Detailed {
                families: asked.values("family"),
                vhosts: asked.values("vhost"),
            }),
            _ => None,
        }
    }
}

/// A page. Long ones are written where nobody else waits.
async fn text(node: Arc<Node>, about: Arc<About>, wanted: Wanted) -> String {
    let asks_channels = match &wanted {
        Wanted::Sums => false,
        Wanted::PerObject => true,
        Wanted::Detailed { families, .. } => families.iter().any(|family| family == CHANNELS),
    };
    let channels = match asks_channels {
        true => node.registry.channels(PATIENCE).await,
        false => Vec::new(),
    };
    let written = tokio::task::spawn_blocking(move || {
        let scene = Scene::now(&node, &about);
        let mut page = Page::default();
        match wanted {
            Wanted::Sums => FAMILIES.iter().for_each(|family| family.write(&scene, &mut page)),
            Wanted::PerObject => {
                let objects = Objects::new(&node, &scene, &channels, &[]);
                for family in FAMILIES {
                    match family.each {
                        Some(_) => family.write_each(family.name, &objects, &mut page),
                        None => family.write(&scene, &mut page),
                    }
                }
            }
            Wanted::Detailed { families, vhosts } => {
                let objects = Objects::new(&node, &scene, &channels, &vhosts);
                for family in FAMILIES.iter().filter(|family| family.is_in(&families)) {
                    let name = family.name.replacen("rabbitmq_", "rabbitmq_detailed_", 1);
                    family.write_each(&name, &objects, &mut page);
                }
                let known = FAMILIES.iter().filter(|family| family.is_identity());
                known.for_each(|family| family.write(&scene, &mut page));
            }
        }
        page.text
    });
    written.await.unwrap_or_default()
}
