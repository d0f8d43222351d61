use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use warren_amqp::content::{self, DeliveryMode, Header, Properties};
use warren_amqp::hot;
use warren_model::consumers::Terms;
use warren_model::queue::{Limits, Position, Reason};
use warren_model::{Message, MessageId, Millis, Name, QueueId};

use super::{Aftermath, Delivery, DeliverySink, Identity, Next, NoConsumer, OnlyIf, Queue, Room, Stays};
use crate::Waiter;

const NOW: Millis = Millis(1000);

/// A client that takes so many messages before its buffer is full.
struct Client {
    room: Mutex<usize>,
    got: Mutex<Vec<u64>>,
    woken: Mutex<usize>,
}

impl Client {
    fn new(room: usize) -> Arc<Self> {
        Arc::new(Self {
            room: Mutex::new(room),
            got: Mutex::default(),
            woken: Mutex::default(),
        })
    }

    fn got(&self) -> Vec<u64> {
        std::mem::take(&mut *self.got.lock())
    }
}

impl DeliverySink for Client {
    fn deliver(&self, delivery: Delivery<'_>) -> Room {
        self.got.lock().push(delivery.position.0);
        let mut room = self.room.lock();
        *room -= 1;
        if *room == 0 { Room::Full } else { Room::Left }
    }

    fn wake(&self) {
        *self.woken.lock() += 1;
    }

    fn cancel(&self) {
        self.got.lock().push(u64::MAX);
    }
}

fn queue(limits: Limits) -> Arc<Queue> {
    let name = |text| Name::try_from(text).unwrap();
    let identity = Identity {
        id: QueueId(7),
        vhost: name("/"),
        name: name("q"),
        durable: true,
        kind: warren_model::arguments::QueueType::Classic,
    };
    Arc::new(Queue::new(identity, limits, 0, false, NOW))
}

fn message(persistent: bool) -> Arc<Message> {
    let mode = if persistent {
        DeliveryMode::Persistent
    } else {
        DeliveryMode::Transient
    };
    let properties = Properties::of(mode).header(5);
    let body = Bytes::from_static(b"hello");
    let content = content::Message::new(
        &hot::Publish::default(),
        Header::read(&properties).unwrap(),
        &[body],
    );
    Arc::new(Message::new(MessageId::default(), content).unwrap())
}

fn publish(queue: &Arc<Queue>, count: u32, after: &mut Aftermath) {
    queue.publish(NOW, (0..count).map(|number| (number, message(true))), after);
}

fn consume(
    queue: &Arc<Queue>,
    prefetch: Option<u32>,
    no_ack: bool,
    client: &Arc<Client>,
) -> super::ConsumerId {
    let sink = Arc::clone(client) as Arc<dyn DeliverySink>;
    let terms = Terms {
        prefetch,
        ..Terms::default()
    };
    let id = queue.subscribe(NOW, terms, no_ack, sink).unwrap();
    queue.unblock(NOW, id, &mut Aftermath::default());
    id
}

const UNUSED: OnlyIf = OnlyIf {
    unused: true,
    empty: false,
};

#[test]
fn a_queue_that_leaves_takes_neither_consumers_nor_messages() {
    let (queue, client, mut after) = (queue(Limits::default()), Client::new(1000), Aftermath::default());
    let empty = OnlyIf {
        unused: false,
        empty: true,
    };
    let id = consume(&queue, Some(1), false, &client);
    assert_eq!(queue.leave(UNUSED), Err(Stays::InUse));
    publish(&queue, 3, &mut after);
    assert_eq!(queue.leave(empty), Err(Stays::NotEmpty));
    queue.unsubscribe(NOW, id, &mut after);
    assert_eq!(queue.leave(UNUSED), Ok(2), "one is still with him");
    publish(&queue, 1, &mut after);
    assert_eq!(queue.snapshot().counts.ready, 2);
    let sink = || Arc::clone(&client) as Arc<dyn DeliverySink>;
    let subscribe = || queue.subscribe(NOW, Terms::default(), true, sink());
    assert_eq!(subscribe(), Err(NoConsumer::Gone));
    queue.stay();
    assert!(subscribe().is_ok());
    publish(&queue, 1, &mut after);
}

#[test]
fn either_a_consumer_comes_or_the_unused_queue_goes() {
    let client = Client::new(1000);
    for _ in 0..2000 {
        let queue = queue(Limits::default());
        let sink = Arc::clone(&client) as Arc<dyn DeliverySink>;
        let came = std::thread::scope(|scope| {
            let leaves = scope.spawn(|| queue.leave(UNUSED).is_ok());
            let came = queue.subscribe(NOW, Terms::default(), true, sink).is_ok();
            assert_ne!(came, leaves.join().unwrap());
            came
        });
        assert_eq!(queue.snapshot().consumers, usize::from(came));
    }
}

#[test]
fn a_batch_wakes_a_connection_once() {
    let (queue, client, mut after) = (queue(Limits::default()), Client::new(1000), Aftermath::default());
    consume(&queue, None, true, &client);
    publish(&queue, 100, &mut after);
    assert!(
        after.placed.is_empty(),
        "what was delivered for good never has to be on disk"
    );
    after.tell();
    assert_eq!(*client.woken.lock(), 1);
    assert_eq!(client.got().len(), 100);
    assert!(after.is_done());
}

/// First and last positions, and how often they went out: as a batch leaves it to be written.
fn written(after: &mut Aftermath) -> Vec<(u64, u64, u32)> {
    let tries = after.tries.drain(..);
    tries
        .map(|(_, tries)| (tries.first.0, tries.last.0, tries.count))
        .collect()
}

#[test]
fn how_often_messages_went_out_is_noted_in_rows_where_it_counts() {
    let limited = Limits {
        deliveries: Some(9),
        ..Limits::default()
    };
    let (queue, client, mut after) = (queue(limited), Client::new(1000), Aftermath::default());
    let id = consume(&queue, Some(5), false, &client);
    queue.publish(NOW, (0..3).map(|number| (number, message(true))), &mut after);
    queue.publish(NOW, [(3, message(false))], &mut after);
    queue.publish(NOW, (4..8).map(|number| (number, message(true))), &mut after);
    // What is not kept does not come back.
    assert_eq!(written(&mut after), [(1, 3, 1), (5, 5, 1)]);
    let mut back = [2, 3, 4].map(Position);
    queue.requeue(NOW, Some(id), &mut back, &mut after);
    assert_eq!(client.got(), [1, 2, 3, 4, 5, 2, 3, 4]);
    assert_eq!(written(&mut after), [(2, 3, 2)]);
    queue.settle(NOW, Some(id), &[Position(1)], &mut after);
    queue.get(NOW, false, &mut after);
    queue.get(NOW, true, &mut after);
    assert_eq!(written(&mut after), [(6, 7, 1)]);
    let now = queue.tries().into_iter();
    let now: Vec<_> = now
        .map(|tries| (tries.first.0, tries.last.0, tries.count))
        .collect();
    assert_eq!(now, [(2, 4, 2), (5, 7, 1)], "what is settled needs nothing");
}

#[test]
fn nothing_is_noted_of_what_goes_out_where_it_does_not_count() {
    let (queue, client, mut after) = (queue(Limits::default()), Client::new(1000), Aftermath::default());
    consume(&queue, Some(5), false, &client);
    publish(&queue, 8, &mut after);
    queue.get(NOW, false, &mut after);
    assert_eq!(client.got(), [1, 2, 3, 4, 5]);
    assert!(after.tries.is_empty() && queue.tries().is_empty());
}

#[test]
fn nobody_gets_anything_before_he_knows_that_he_consumes() {
    let (queue, client, mut after) = (queue(Limits::default()), Client::new(10), Aftermath::default());
    let id = queue
        .subscribe(
            NOW,
            Terms::default(),
            false,
            Arc::clone(&client) as Arc<dyn DeliverySink>,
        )
        .unwrap();
    publish(&queue, 2, &mut after);
    assert!(client.got().is_empty());
    queue.unblock(NOW, id, &mut after);
    assert_eq!(client.got(), [1, 2]);
}

#[test]
fn the_prefetch_limit_opens_with_every_message_that_is_settled() {
    let (queue, client, mut after) = (queue(Limits::default()), Client::new(1000), Aftermath::default());
    let id = consume(&queue, Some(2), false, &client);
    publish(&queue, 5, &mut after);
    assert_eq!(after.placed.len(), 5);
    assert_eq!(client.got(), [1, 2]);
    queue.settle(NOW, Some(id), &[Position(1)], &mut after);
    assert_eq!(client.got(), [3]);
    queue.settle(NOW, Some(id), &[Position(2), Position(3)], &mut after);
    assert_eq!(client.got(), [4, 5]);
    assert_eq!(
        after.settled,
        [1, 2, 3].map(|position| (QueueId(7), Position(position)))
    );
    let now = queue.snapshot();
    assert_eq!(
        (
            now.counts.ready,
            now.counts.unacked,
            now.traffic.acked,
            now.traffic.delivered
        ),
        (0, 2, 3, 5)
    );
}

#[test]
fn a_connection_without_room_gets_nothing_until_it_has_some() {
    let (queue, client, mut after) = (queue(Limits::default()), Client::new(3), Aftermath::default());
    let id = consume(&queue, None, false, &client);
    publish(&queue, 5, &mut after);
    assert_eq!(client.got(), [1, 2, 3]);
    *client.room.lock() = 10;
    queue.unblock(NOW, id, &mut after);
    assert_eq!(client.got(), [4, 5]);
}

#[test]
fn what_a_consumer_leaves_goes_to_another() {
    let (queue, one, two, mut after) = (
        queue(Limits::default()),
        Client::new(100),
        Client::new(100),
        Aftermath::default(),
    );
    let first = consume(&queue, None, false, &one);
    publish(&queue, 3, &mut after);
    assert_eq!(one.got(), [1, 2, 3]);
    assert_eq!(queue.unsubscribe(NOW, first, &mut after), 0);
    consume(&queue, None, false, &two);
    queue.requeue(
        NOW,
        Some(first),
        &mut [Position(2), Position(1), Position(3)],
        &mut after,
    );
    assert_eq!(two.got(), [1, 2, 3]);
    assert_eq!(queue.snapshot().traffic.redelivered, 3);
}

#[test]
fn a_full_queue_still_serves_who_waits() {
    let limits = Limits {
        length: Some(0),
        ..Limits::default()
    };
    let (queue, client, mut after) = (queue(limits), Client::new(100), Aftermath::default());
    publish(&queue, 1, &mut after);
    assert_eq!(after.removed.len(), 1);
    assert_eq!(after.removed[0].1.reason, Reason::MaxLength);
    consume(&queue, None, false, &client);
    publish(&queue, 1, &mut after);
    assert_eq!(client.got(), [2]);
}

#[test]
fn a_deleted_queue_tells_its_consumers_and_takes_nothing() {
    let (queue, client, mut after) = (queue(Limits::default()), Client::new(1), Aftermath::default());
    consume(&queue, None, false, &client);
    publish(&queue, 3, &mut after);
    assert_eq!(queue.close(&mut after), 2);
    after.tell();
    assert_eq!(client.got(), [1, u64::MAX]);
    publish(&queue, 1, &mut after);
    assert_eq!(queue.snapshot().counts.ready, 0);
}

#[test]
fn an_exclusive_consumer_is_the_only_one() {
    let (queue, client) = (queue(Limits::default()), Client::new(1));
    consume(&queue, None, false, &client);
    let terms = Terms {
        exclusive: true,
        ..Terms::default()
    };
    assert_eq!(
        queue.subscribe(NOW, terms, false, client as Arc<dyn DeliverySink>),
        Err(NoConsumer::InExclusiveUse)
    );
}

#[test]
fn what_is_fetched_says_how_much_is_left() {
    let (queue, mut after) = (queue(Limits::default()), Aftermath::default());
    publish(&queue, 2, &mut after);
    let Next::Message { entry, left } = queue.get(NOW, true, &mut after) else {
        panic!("there are two");
    };
    assert_eq!((entry.position, left), (Position(1), 1));
    assert_eq!(after.settled, [(QueueId(7), Position(1))]);
    assert!(matches!(queue.get(NOW, false, &mut after), Next::Message { .. }));
    assert!(matches!(queue.get(NOW, false, &mut after), Next::Nothing));
    assert_eq!(queue.snapshot().counts.unacked, 1);
}

/// A publisher who waits, and how often he was told that he need not.
#[derive(Default)]
struct Told(Mutex<usize>);

impl Waiter for Told {
    fn safe(&self) {
        *self.0.lock() += 1;
    }
}

/// A queue to which more were published than leave the memory.
fn crowded() -> (Arc<Queue>, Aftermath) {
    let (queue, mut after) = (queue(Limits::default()), Aftermath::default());
    let mut count = 0;
    while after.crowded.is_empty() {
        publish(&queue, 1000, &mut after);
        count += 1000;
        assert!(count < 100_000, "nobody is ever told");
    }
    assert_eq!(after.paged.len(), 1, "said once");
    (queue, after)
}

#[test]
fn publishers_wait_until_half_of_what_is_too_much_has_left_the_memory() {
    let (queue, _) = crowded();
    let told = Arc::new(Told::default());
    for _ in 0..2 {
        // It is told once, however often it asks.
        assert!(queue.when_relieved(Arc::clone(&told) as Arc<dyn Waiter>));
    }
    let in_memory = queue.snapshot().in_memory;
    let mut left = 0;
    while queue.is_crowded() {
        assert_eq!(*told.0.lock(), 0);
        let entries = queue.to_page();
        assert!(queue.page_out(&entries).is_empty());
        left += entries.len();
    }
    assert_eq!(*told.0.lock(), 1);
    assert_eq!(queue.snapshot().in_memory, in_memory - left);
    assert!(!queue.to_page().is_empty(), "it goes on");
    assert!(!queue.when_relieved(told as Arc<dyn Waiter>));
}

#[test]
fn publishers_wait_for_nothing_where_messages_cannot_leave() {
    let ends: [fn(&Queue); 4] = [
        Queue::stop_paging,
        Queue::keep_in_memory,
        |queue| {
            queue.close(&mut Aftermath::default());
        },
        |queue| {
            while let entries = queue.to_page()
                && !entries.is_empty()
            {
                queue.page_out(&entries);
            }
        },
    ];
    for end in ends {
        let (queue, _) = crowded();
        let told = Arc::new(Told::default());
        assert!(queue.when_relieved(Arc::clone(&told) as Arc<dyn Waiter>));
        end(&queue);
        assert_eq!((*told.0.lock(), queue.is_crowded()), (1, false));
    }
    let (queue, mut after) = crowded();
    queue.keep_in_memory();
    (after.paged, after.crowded) = (Vec::new(), Vec::new());
    publish(&queue, 50_000, &mut after);
    assert!(after.paged.is_empty() && after.crowded.is_empty());
}
