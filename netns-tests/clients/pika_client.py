"""pika, as its users do."""

import ssl
import threading
import time

import pika
from pika.exceptions import AMQPError, ChannelClosedByBroker, NackError, UnroutableError

import common
from common import CERTIFICATES, HOST, PORT

PERSISTENT = pika.BasicProperties(delivery_mode=2)


def connect():
    parameters = pika.ConnectionParameters(HOST, PORT, heartbeat=10, blocked_connection_timeout=10, socket_timeout=10)
    return pika.BlockingConnection(parameters)


def connect_with_certificate():
    context = ssl.create_default_context(cafile=f'{CERTIFICATES}/authority.pem')
    context.load_cert_chain(f'{CERTIFICATES}/client.pem', f'{CERTIFICATES}/client.pem.key')
    options = pika.SSLOptions(context, HOST)
    external = pika.credentials.ExternalCredentials()
    return pika.BlockingConnection(pika.ConnectionParameters(HOST, PORT, credentials=external, ssl_options=options))


def fetch(channel, queue):
    """Method, properties, body."""
    def get():
        message = channel.basic_get(queue, auto_ack=True)
        return message if message[0] else None
    return common.fetch(get)


def until(connection, condition):
    common.until(condition, lambda: connection.process_data_events(0.1))


def confirms(connection):
    channel = connection.channel()
    channel.confirm_delivery()
    queue = channel.queue_declare('', exclusive=True).method.queue
    for number in range(100):
        channel.basic_publish('', queue, b'%d' % number, PERSISTENT, mandatory=True)
    assert [fetch(channel, queue)[2] for _ in range(100)] == [b'%d' % number for number in range(100)]
    full = channel.queue_declare('', exclusive=True, arguments={'x-max-length': 1, 'x-overflow': 'reject-publish'})
    channel.basic_publish('', full.method.queue, b'fits')
    try:
        channel.basic_publish('', full.method.queue, b'does not')
        raise AssertionError('it was confirmed')
    except NackError:
        pass


def returns(connection):
    channel = connection.channel()
    channel.confirm_delivery()
    properties = pika.BasicProperties(message_id='m', headers={'a': 1, 'b': [True, {'c': 'd'}]})
    try:
        channel.basic_publish('amq.topic', 'to.nobody', b'body', properties, mandatory=True)
        raise AssertionError('it was not returned')
    except UnroutableError as error:
        message, = error.messages
        assert (message.method.reply_code, message.method.reply_text) == (312, 'NO_ROUTE')
        assert (message.method.exchange, message.method.routing_key) == ('amq.topic', 'to.nobody')
        assert (message.properties, message.body) == (properties, b'body'), message.properties


def cancel(connection):
    channel = connection.channel()
    channel.queue_declare('pika.cancel')
    seen = []
    channel.add_on_cancel_callback(seen.append)
    tag = channel.basic_consume('pika.cancel', lambda *_: None)
    other = connect()
    other.channel().queue_delete('pika.cancel')
    other.close()
    until(connection, lambda: seen)
    assert seen[0].method.consumer_tag == tag, seen
    # pika's generator ends by itself.
    channel.queue_declare('pika.cancel')
    for method, _, _ in channel.consume('pika.cancel', inactivity_timeout=0.1):
        if method is None:
            other = connect()
            other.channel().queue_delete('pika.cancel')
            other.close()
    channel.close()


def prefetch(connection):
    channel = connection.channel()
    queue = channel.queue_declare('', exclusive=True).method.queue
    channel.basic_qos(prefetch_count=3)
    for number in range(10):
        channel.basic_publish('', queue, b'%d' % number)
    got = []
    channel.basic_consume(queue, lambda _, method, __, body: got.append((method.delivery_tag, body)))
    connection.process_data_events(0.5)
    assert [body for _, body in got] == [b'0', b'1', b'2'], got
    channel.basic_ack(got[1][0], multiple=True)
    until(connection, lambda: len(got) == 5)
    assert [body for _, body in got[3:]] == [b'3', b'4'], got
    channel.basic_nack(got[2][0], requeue=True)
    until(connection, lambda: len(got) == 6)
    assert got[5][1] == b'2', got
    channel.close()


def exclusive(connection):
    other = connect()
    other.channel().queue_declare('pika.exclusive', exclusive=True)
    try:
        connection.channel().queue_declare('pika.exclusive', passive=True)
        raise AssertionError('it was not locked')
    except ChannelClosedByBroker as error:
        assert error.reply_code == 405 and error.reply_text.startswith('RESOURCE_LOCKED - cannot obtain'), error
    other.close()
    try:
        connection.channel().queue_declare('pika.exclusive', passive=True)
        raise AssertionError('it is still there')
    except ChannelClosedByBroker as error:
        assert (error.reply_code, error.reply_text) == (404, "NOT_FOUND - no queue 'pika.exclusive' in vhost '/'"), error


def dead_letters(connection):
    channel = connection.channel()
    dead = channel.queue_declare('', exclusive=True).method.queue
    arguments = {'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': dead}
    queue = channel.queue_declare('', exclusive=True, arguments=arguments).method.queue
    channel.basic_publish('', queue, b'body', pika.BasicProperties(headers={'kept': 'yes'}))
    method, _, _ = channel.basic_get(queue)
    channel.basic_reject(method.delivery_tag, requeue=False)
    _, properties, body = fetch(channel, dead)
    death, = properties.headers['x-death']
    assert (body, properties.headers['kept']) == (b'body', 'yes')
    assert (death['reason'], death['queue'], death['count'], death['exchange']) == ('rejected', queue, 1, ''), death
    assert death['routing-keys'] == [queue] and properties.headers['x-first-death-queue'] == queue, properties


def ttl(connection):
    channel = connection.channel()
    dead = channel.queue_declare('', exclusive=True).method.queue
    arguments = {'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': dead, 'x-message-ttl': 200}
    queue = channel.queue_declare('', exclusive=True, arguments=arguments).method.queue
    channel.basic_publish('', queue, b'by its queue')
    method, properties, body = fetch(channel, dead)
    assert body == b'by its queue' and properties.headers['x-death'][0]['reason'] == 'expired', properties
    channel.basic_publish('', queue, b'by itself', pika.BasicProperties(expiration='50'))
    method, properties, body = fetch(channel, dead)
    assert body == b'by itself' and properties.expiration is None, properties
    assert properties.headers['x-death'][0]['original-expiration'] == '50', properties
    assert channel.basic_get(queue)[0] is None


def serve(queue, ready):
    """A server in another thread, with a connection of its own: answers one request."""
    connection = connect()
    channel = connection.channel()
    channel.queue_declare(queue, auto_delete=True)
    ready.set()
    for method, properties, body in channel.consume(queue, inactivity_timeout=10):
        assert properties.reply_to.startswith('amq.rabbitmq.reply-to.'), properties
        answer = pika.BasicProperties(correlation_id=properties.correlation_id)
        channel.basic_publish('', properties.reply_to, body.upper(), answer)
        channel.basic_ack(method.delivery_tag)
        break
    connection.close()


def rpc(connection):
    ready = threading.Event()
    server = threading.Thread(target=serve, args=('pika.rpc', ready))
    server.start()
    assert ready.wait(10)
    channel = connection.channel()
    answers = []
    channel.basic_consume('amq.rabbitmq.reply-to', lambda _, __, properties, body: answers.append((properties, body)), auto_ack=True)
    request = pika.BasicProperties(reply_to='amq.rabbitmq.reply-to', correlation_id='7')
    channel.basic_publish('', 'pika.rpc', b'question', request)
    until(connection, lambda: answers)
    (properties, body), = answers
    assert (properties.correlation_id, body) == ('7', b'QUESTION')
    server.join(10)
    channel.close()


def restart(connection):
    channel = connection.channel()
    channel.confirm_delivery()
    channel.exchange_declare('pika.restart', 'topic', durable=True)
    channel.queue_declare('pika.restart', durable=True)
    channel.queue_bind('pika.restart', 'pika.restart', 'a.#')
    for number in range(50):
        channel.basic_publish('pika.restart', 'a.b', b'%d' % number, PERSISTENT, mandatory=True)
    print('restart', flush=True)
    lost = False
    end = time.monotonic() + 120
    while time.monotonic() < end:
        try:
            if lost:
                connection = connect()
            connection.process_data_events(0.1)
            if lost:
                break
        except AMQPError:
            lost = True
            time.sleep(0.1)
    assert lost, 'nobody restarted the broker'
    channel = connection.channel()
    channel.confirm_delivery()
    channel.basic_publish('pika.restart', 'a.c', b'50', PERSISTENT, mandatory=True)
    got = [fetch(channel, 'pika.restart')[2] for _ in range(51)]
    assert got == [b'%d' % number for number in range(51)], got
    channel.queue_delete('pika.restart')
    channel.exchange_delete('pika.restart')
    connection.close()


if CERTIFICATES:
    common.do_all(connect_with_certificate(), confirms)
else:
    common.do_all(connect(), confirms, returns, cancel, prefetch, exclusive, dead_letters, ttl, rpc, restart)
