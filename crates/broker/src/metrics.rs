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
mod log;
mod objects;
mod page;
mod scene;

use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use warren_kit::metrics::{Asked, Timeouts, serve_pages};

use crate::about::About;
use crate::node::Node;
pub use families::{Family, families};
use objects::Objects;
use page::Page;
use scene::Scene;

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
    let channels = match &wanted {
        Wanted::PerObject => node.registry.channels(PATIENCE).await,
        Wanted::Detailed { families, .. } if objects::need_channels(families) => {
            node.registry.channels(PATIENCE).await
        }
        Wanted::Sums | Wanted::Detailed { .. } => Vec::new(),
    };
    let written = tokio::task::spawn_blocking(move || {
        let scene = Scene::now(&node, &about);
        let mut page = Page::default();
        match wanted {
            Wanted::Sums => {
                let all = families().iter();
                all.for_each(|family| family.write(&scene, &mut page));
                if let Some(log) = &scene.log {
                    log::write(log, &mut page);
                }
            }
            Wanted::PerObject => {
                let objects = Objects::new(&node, &scene, &channels, Vec::new());
                let single = families().iter().filter(|family| !objects::has(&family.name));
                single.for_each(|family| family.write(&scene, &mut page));
                if let Some(log) = &scene.log {
                    log::write(log, &mut page);
                }
                objects.write("rabbitmq_", None, &mut page);
            }
            Wanted::Detailed {
                families: wanted,
                vhosts,
            } => {
                let objects = Objects::new(&node, &scene, &channels, vhosts);
                objects.write("rabbitmq_detailed_", Some(&wanted), &mut page);
                let known = families().iter().filter(|family| family.is_identity());
                known.for_each(|family| family.write(&scene, &mut page));
            }
        }
        page.text
    });
    written.await.unwrap_or_default()
}
