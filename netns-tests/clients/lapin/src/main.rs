//! lapin, as its users do.

use std::path::Path;
use std::time::{Duration, Instant};

use futures_lite::StreamExt;
use lapin::message::{BasicGetMessage, Delivery};
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicGetOptions, BasicNackOptions, BasicPublishOptions,
    BasicQosOptions, BasicRejectOptions, ConfirmSelectOptions, ExchangeDeclareOptions, ExchangeDeleteOptions,
    QueueBindOptions, QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::tcp::{OwnedIdentity, OwnedTLSConfig};
use lapin::types::{AMQPValue, FieldTable, LongString};
use lapin::{
    BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, Consumer, Error, ErrorKind,
    ExchangeKind,
};
use tokio::time::{sleep, timeout};

const PATIENCE: Duration = Duration::from_secs(10);

/// Channels close when they are dropped.
type Done = Result<(), Error>;

/// `address:port`
fn place() -> String {
    let mut words = std::env::args().skip(1);
    let (host, port) = (words.next().expect("an address"), words.next().expect("a port"));
    format!("{host}:{port}")
}

async fn connect() -> Result<Connection, Error> {
    let uri = format!("amqp://guest:guest@{}/%2f?heartbeat=10", place());
    Connection::connect(&uri, ConnectionProperties::default()).await
}

/// With a certificate of this directory.
async fn connect_with_certificate(certificates: &Path) -> Result<Connection, Error> {
    let read = |name| std::fs::read_to_string(certificates.join(name)).expect("a certificate");
    let identity = OwnedIdentity::PKCS8 {
        pem: read("client.pem").into(),
        key: read("client.pem.key").into(),
    };
    let config = OwnedTLSConfig {
        identity: Some(identity),
        cert_chain: Some(read("authority.pem")),
    };
    let uri = format!("amqps://{}/%2f?auth_mechanism=external", place());
    let runtime = lapin::runtime::default_runtime()?;
    Connection::connect_with_config(&uri, ConnectionProperties::default(), config, runtime).await
}

async fn own(channel: &Channel, name: &str, arguments: FieldTable) -> Result<String, Error> {
    let queue = channel
        .queue_declare(name.into(), QueueDeclareOptions::exclusive(), arguments)
        .await?;
    Ok(queue.name().to_string())
}

async fn publish(
    channel: &Channel,
    queue: &str,
    body: &str,
    properties: BasicProperties,
) -> Result<Confirmation, Error> {
    let options = BasicPublishOptions::default();
    channel
        .basic_publish("".into(), queue.into(), options, body.as_bytes(), properties)
        .await?
        .await
}

/// The next message of a queue, within a time.
async fn fetch(channel: &Channel, queue: &str) -> Result<BasicGetMessage, Error> {
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end {
        if let Some(message) = channel
            .basic_get(queue.into(), BasicGetOptions { no_ack: true })
            .await?
        {
            return Ok(message);
        }
        sleep(Duration::from_millis(20)).await;
    }
    panic!("nothing came to {queue}");
}

async fn consume(channel: &Channel, queue: &str, no_ack: bool) -> Result<Consumer, Error> {
    let options = BasicConsumeOptions {
        no_ack,
        ..BasicConsumeOptions::default()
    };
    channel
        .basic_consume(queue.into(), "".into(), options, FieldTable::default())
        .await
}

async fn next(consumer: &mut Consumer) -> Delivery {
    let delivery = timeout(PATIENCE, consumer.next())
        .await
        .expect("a message in time");
    delivery.expect("a consumer").expect("a message")
}

fn text(delivery: &Delivery) -> &str {
    std::str::from_utf8(&delivery.data).expect("text")
}

fn code(error: &Error) -> (u16, String) {
    match error.kind() {
        ErrorKind::ProtocolError(error) => (error.get_id(), error.get_message().to_string()),
        other => panic!("{other:?}"),
    }
}

fn persistent() -> BasicProperties {
    BasicProperties::default().with_delivery_mode(2)
}

async fn confirms(connection: &Connection) -> Done {
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    let queue = own(&channel, "", FieldTable::default()).await?;
    for number in 0..100 {
        let confirmed = publish(&channel, &queue, &number.to_string(), persistent()).await?;
        assert_eq!(confirmed, Confirmation::Ack(None));
    }
    for number in 0..100 {
        assert_eq!(text(&fetch(&channel, &queue).await?.delivery), number.to_string());
    }
    let mut arguments = FieldTable::default();
    arguments.insert("x-max-length".into(), AMQPValue::LongInt(1));
    arguments.insert(
        "x-overflow".into(),
        AMQPValue::LongString("reject-publish".into()),
    );
    let full = own(&channel, "", arguments).await?;
    publish(&channel, &full, "fits", BasicProperties::default()).await?;
    let refused = publish(&channel, &full, "does not", BasicProperties::default()).await?;
    assert_eq!(refused, Confirmation::Nack(None));
    Ok(())
}

async fn returns(connection: &Connection) -> Done {
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    let mut headers = FieldTable::default();
    headers.insert("a".into(), AMQPValue::LongInt(1));
    let properties = BasicProperties::default()
        .with_message_id("m".into())
        .with_headers(headers);
    let options = BasicPublishOptions {
        mandatory: true,
        ..BasicPublishOptions::default()
    };
    let published = channel.basic_publish(
        "amq.topic".into(),
        "to.nobody".into(),
        options,
        b"body",
        properties.clone(),
    );
    let back = published.await?.await?.take_message().expect("it was returned");
    assert_eq!((back.reply_code, back.reply_text.as_str()), (312, "NO_ROUTE"));
    assert_eq!(
        (back.routing_key.as_str(), &back.data[..]),
        ("to.nobody", &b"body"[..])
    );
    assert_eq!(back.properties, properties);
    Ok(())
}

async fn cancel(connection: &Connection) -> Done {
    let channel = connection.create_channel().await?;
    channel
        .queue_declare(
            "lapin.cancel".into(),
            QueueDeclareOptions::default(),
            FieldTable::default(),
        )
        .await?;
    let mut consumer = consume(&channel, "lapin.cancel", false).await?;
    let other = connect().await?;
    // A channel that is dropped closes, and lapin fails if its connection does so meanwhile.
    let theirs = other.create_channel().await?;
    theirs
        .queue_delete("lapin.cancel".into(), QueueDeleteOptions::default())
        .await?;
    other.close(200, "".into()).await?;
    let last = timeout(PATIENCE, consumer.next()).await.expect("an end in time");
    assert!(last.is_none(), "{last:?}");
    Ok(())
}

async fn prefetch(connection: &Connection) -> Done {
    let channel = connection.create_channel().await?;
    let queue = own(&channel, "", FieldTable::default()).await?;
    for number in 0..10 {
        publish(&channel, &queue, &number.to_string(), BasicProperties::default()).await?;
    }
    channel.basic_qos(3, BasicQosOptions::default()).await?;
    let mut consumer = consume(&channel, &queue, false).await?;
    let mut got = Vec::new();
    for number in 0..3 {
        got.push(next(&mut consumer).await);
        assert_eq!(text(&got[number]), number.to_string());
    }
    assert!(
        timeout(Duration::from_millis(500), consumer.next())
            .await
            .is_err()
    );
    got[1].ack(BasicAckOptions { multiple: true }).await?;
    for number in 3..5 {
        assert_eq!(text(&next(&mut consumer).await), number.to_string());
    }
    got[2]
        .nack(BasicNackOptions {
            multiple: false,
            requeue: true,
        })
        .await?;
    let again = next(&mut consumer).await;
    assert_eq!((text(&again), again.redelivered), ("2", true));
    Ok(())
}

async fn exclusive(connection: &Connection) -> Done {
    let other = connect().await?;
    let theirs = other.create_channel().await?;
    own(&theirs, "lapin.exclusive", FieldTable::default()).await?;
    let passive = QueueDeclareOptions {
        passive: true,
        ..QueueDeclareOptions::default()
    };
    let channel = connection.create_channel().await?;
    let locked = channel
        .queue_declare("lapin.exclusive".into(), passive, FieldTable::default())
        .await
        .unwrap_err();
    assert_eq!(code(&locked).0, 405);
    other.close(200, "".into()).await?;
    let channel = connection.create_channel().await?;
    let gone = channel
        .queue_declare("lapin.exclusive".into(), passive, FieldTable::default())
        .await
        .unwrap_err();
    assert_eq!(
        code(&gone),
        (
            404,
            "NOT_FOUND - no queue 'lapin.exclusive' in vhost '/'".to_owned()
        )
    );
    Ok(())
}

/// A queue whose dead letters go to another one.
async fn dying(channel: &Channel, milliseconds: i32) -> Result<(String, String), Error> {
    let dead = own(channel, "", FieldTable::default()).await?;
    let mut arguments = FieldTable::default();
    arguments.insert("x-dead-letter-exchange".into(), AMQPValue::LongString("".into()));
    arguments.insert(
        "x-dead-letter-routing-key".into(),
        AMQPValue::LongString(dead.clone().into()),
    );
    arguments.insert("x-message-ttl".into(), AMQPValue::LongInt(milliseconds));
    Ok((own(channel, "", arguments).await?, dead))
}

/// One of the values of a message's only death.
fn death(delivery: &Delivery, name: &str) -> Option<AMQPValue> {
    let headers = delivery.properties.headers().as_ref().expect("headers");
    match headers.inner().get("x-death") {
        Some(AMQPValue::FieldArray(deaths)) => match deaths.as_slice() {
            [AMQPValue::FieldTable(death)] => death.inner().get(name).cloned(),
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

fn long(text: &str) -> Option<AMQPValue> {
    Some(AMQPValue::LongString(LongString::from(text)))
}

async fn dead_letters(connection: &Connection) -> Done {
    let channel = connection.create_channel().await?;
    let (queue, dead) = dying(&channel, 60_000).await?;
    publish(&channel, &queue, "body", BasicProperties::default()).await?;
    let got = channel
        .basic_get(queue.as_str().into(), BasicGetOptions::default())
        .await?
        .expect("a message");
    got.delivery.reject(BasicRejectOptions { requeue: false }).await?;
    let letter = fetch(&channel, &dead).await?.delivery;
    assert_eq!(text(&letter), "body");
    assert_eq!(
        (death(&letter, "reason"), death(&letter, "queue")),
        (long("rejected"), long(&queue))
    );
    Ok(())
}

async fn ttl(connection: &Connection) -> Done {
    let channel = connection.create_channel().await?;
    let (queue, dead) = dying(&channel, 200).await?;
    publish(&channel, &queue, "by its queue", BasicProperties::default()).await?;
    assert_eq!(
        death(&fetch(&channel, &dead).await?.delivery, "reason"),
        long("expired")
    );
    publish(
        &channel,
        &queue,
        "by itself",
        BasicProperties::default().with_expiration("50".into()),
    )
    .await?;
    let letter = fetch(&channel, &dead).await?.delivery;
    assert_eq!(
        (
            death(&letter, "original-expiration"),
            letter.properties.expiration()
        ),
        (long("50"), &None)
    );
    Ok(())
}

async fn rpc(connection: &Connection) -> Done {
    let server = connect().await?;
    let asked = server.create_channel().await?;
    own(&asked, "lapin.rpc", FieldTable::default()).await?;
    let mut requests = consume(&asked, "lapin.rpc", true).await?;
    let channel = connection.create_channel().await?;
    let mut answers = consume(&channel, "amq.rabbitmq.reply-to", true).await?;
    let question = BasicProperties::default()
        .with_reply_to("amq.rabbitmq.reply-to".into())
        .with_correlation_id("7".into());
    publish(&channel, "lapin.rpc", "question", question).await?;
    let request = next(&mut requests).await;
    let to = request
        .properties
        .reply_to()
        .clone()
        .expect("where the answer goes");
    let about = request
        .properties
        .correlation_id()
        .clone()
        .expect("what it is about");
    let properties = BasicProperties::default().with_correlation_id(about);
    publish(&asked, to.as_str(), &text(&request).to_uppercase(), properties).await?;
    let answer = next(&mut answers).await;
    assert_eq!(
        (text(&answer), answer.properties.correlation_id().clone()),
        ("QUESTION", Some("7".into()))
    );
    server.close(200, "".into()).await?;
    Ok(())
}

async fn restart(connection: &Connection) -> Done {
    const NAME: &str = "lapin.restart";
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    let durable = ExchangeDeclareOptions {
        durable: true,
        ..ExchangeDeclareOptions::default()
    };
    channel
        .exchange_declare(NAME.into(), ExchangeKind::Topic, durable, FieldTable::default())
        .await?;
    channel
        .queue_declare(NAME.into(), QueueDeclareOptions::durable(), FieldTable::default())
        .await?;
    channel
        .queue_bind(
            NAME.into(),
            NAME.into(),
            "a.#".into(),
            QueueBindOptions::default(),
            FieldTable::default(),
        )
        .await?;
    let publish = async |channel: &Channel, key: &str, body: String| {
        let options = BasicPublishOptions {
            mandatory: true,
            ..BasicPublishOptions::default()
        };
        let sent = channel
            .basic_publish(NAME.into(), key.into(), options, body.as_bytes(), persistent())
            .await?;
        assert_eq!(sent.await?, Confirmation::Ack(None));
        Ok::<(), Error>(())
    };
    for number in 0..50 {
        publish(&channel, "a.b", number.to_string()).await?;
    }
    println!("restart");
    let end = Instant::now() + Duration::from_secs(120);
    while connection.status().connected() {
        assert!(Instant::now() < end, "nobody restarted the broker");
        sleep(Duration::from_millis(50)).await;
    }
    let again = loop {
        match connect().await {
            Ok(connection) => break connection,
            Err(error) => assert!(Instant::now() < end, "{error}"),
        }
        sleep(Duration::from_millis(100)).await;
    };
    let channel = again.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    publish(&channel, "a.c", "50".to_owned()).await?;
    for number in 0..51 {
        assert_eq!(text(&fetch(&channel, NAME).await?.delivery), number.to_string());
    }
    channel
        .queue_delete(NAME.into(), QueueDeleteOptions::default())
        .await?;
    channel
        .exchange_delete(NAME.into(), ExchangeDeleteOptions::default())
        .await?;
    again.close(200, "".into()).await
}

#[tokio::main]
async fn main() -> Done {
    // Where certificates are, if it comes over TLS.
    let certificates = std::env::var_os("CERTIFICATES");
    let connection = match &certificates {
        Some(certificates) => connect_with_certificate(certificates.as_ref()).await?,
        None => connect().await?,
    };
    confirms(&connection).await?;
    println!("did confirms");
    if certificates.is_some() {
        return Ok(());
    }
    returns(&connection).await?;
    println!("did returns");
    cancel(&connection).await?;
    println!("did cancel");
    prefetch(&connection).await?;
    println!("did prefetch");
    exclusive(&connection).await?;
    println!("did exclusive");
    dead_letters(&connection).await?;
    println!("did dead-letters");
    ttl(&connection).await?;
    println!("did ttl");
    rpc(&connection).await?;
    println!("did rpc");
    restart(&connection).await?;
    println!("did restart");
    Ok(())
}
