"""kombu, as its users do, Celery among them."""

import socket
import ssl
import time

from amqp.exceptions import MessageNacked
from kombu import Connection, Consumer, Exchange, Producer, Queue

import common
from common import CERTIFICATES, HOST, PORT, drain, quiet, until


def connect():
    return Connection(f'amqp://guest:guest@{HOST}:{PORT}//', transport_options={'confirm_publish': True}, heartbeat=10)


def connect_with_certificate():
    own = {'ca_certs': f'{CERTIFICATES}/authority.pem', 'certfile': f'{CERTIFICATES}/client.pem',
           'keyfile': f'{CERTIFICATES}/client.pem.key', 'cert_reqs': ssl.CERT_REQUIRED, 'server_hostname': HOST}
    return Connection(f'amqp://{HOST}:{PORT}//', ssl=own, login_method='EXTERNAL', transport_options={'confirm_publish': True})


def fetch(queue):
    return common.fetch(lambda: queue.get(no_ack=True))


def confirms(connection):
    with connection.SimpleQueue('kombu.confirms') as queue:
        for number in range(100):
            queue.put({'number': number})
        got = [queue.get(timeout=10) for _ in range(100)]
        assert [message.payload['number'] for message in got] == list(range(100))
        for message in got:
            message.ack()
    queue.queue(connection.channel()).delete()
    channel = connection.channel()
    Queue('kombu.full', exclusive=True, max_length=1, queue_arguments={'x-overflow': 'reject-publish'}, channel=channel).declare()
    producer = Producer(channel, routing_key='kombu.full')
    producer.publish('fits')
    try:
        producer.publish('does not')
        raise AssertionError('it was confirmed')
    except MessageNacked:
        pass
    channel.close()


def returns(connection):
    seen = []
    producer = Producer(connection.channel(), on_return=lambda *back: seen.append(back))
    producer.publish({'a': 1}, exchange='amq.topic', routing_key='to.nobody', mandatory=True, headers={'b': [1, {'c': 'd'}]})
    until(lambda: seen, lambda: drain(connection))
    error, exchange, key, message = seen[0]
    assert (error.reply_code, exchange, key) == (312, 'amq.topic', 'to.nobody'), seen
    assert message.headers == {'b': [1, {'c': 'd'}]} and message.properties['content_type'] == 'application/json', message


def cancel(connection):
    channel = connection.channel()
    queue = Queue('kombu.cancel', channel=channel, durable=False)
    queue.declare()
    seen = []
    channel.basic_consume('kombu.cancel', callback=lambda _: None, on_cancel=seen.append)
    with connect() as other:
        queue(other.channel()).delete()
    until(lambda: seen, lambda: drain(connection))


def prefetch(connection):
    channel = connection.channel()
    queue = Queue('kombu.prefetch', exclusive=True, channel=channel)
    queue.declare()
    producer = Producer(channel, routing_key='kombu.prefetch')
    for number in range(10):
        producer.publish(str(number), content_type='text/plain')
    got = []
    consumer = Consumer(channel, [queue], on_message=got.append)
    consumer.qos(prefetch_count=3)
    consumer.consume()
    quiet(lambda: drain(connection))
    assert [message.body for message in got] == ['0', '1', '2'], got
    got[0].ack()
    until(lambda: len(got) == 4, lambda: drain(connection))
    got[1].requeue()
    until(lambda: len(got) == 5, lambda: drain(connection))
    assert got[4].body == '1' and got[4].delivery_info['redelivered'], got[4]
    consumer.cancel()
    channel.close()


def exclusive(connection):
    other = connect()
    Queue('kombu.exclusive', exclusive=True, channel=other.channel()).declare()
    mine = Queue('kombu.exclusive', exclusive=True)
    try:
        mine(connection.channel()).queue_declare(passive=True)
        raise AssertionError('it was not locked')
    except connection.channel_errors as error:
        assert error.reply_code == 405, error
    other.close()
    try:
        mine(connection.channel()).queue_declare(passive=True)
        raise AssertionError('it is still there')
    except connection.channel_errors as error:
        assert error.reply_code == 404, error


def dead_letters(connection):
    channel = connection.channel()
    exchange = Exchange('kombu.dead', 'fanout', durable=False, auto_delete=True)
    dead = Queue('kombu.dead', exchange, exclusive=True, channel=channel)
    dead.declare()
    queue = Queue('kombu.living', exclusive=True, queue_arguments={'x-dead-letter-exchange': 'kombu.dead'}, channel=channel)
    queue.declare()
    Producer(channel).publish({'a': 1}, routing_key='kombu.living')
    queue.get().reject()
    letter = fetch(dead)
    death, = letter.headers['x-death']
    assert letter.payload == {'a': 1} and (death['reason'], death['queue']) == ('rejected', 'kombu.living'), death
    channel.close()


def ttl(connection):
    channel = connection.channel()
    dead = Queue('kombu.late', exclusive=True, channel=channel)
    dead.declare()
    arguments = {'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': 'kombu.late'}
    queue = Queue('kombu.ttl', exclusive=True, queue_arguments=arguments, message_ttl=0.2, channel=channel)
    queue.declare()
    producer = Producer(channel, routing_key='kombu.ttl')
    producer.publish('by its queue')
    assert fetch(dead).headers['x-death'][0]['reason'] == 'expired'
    producer.publish('by itself', expiration=0.05)
    assert fetch(dead).headers['x-death'][0]['original-expiration'] == '50'
    channel.close()


def rpc(connection):
    server = connect()
    asked = server.channel()
    requests = Queue('kombu.rpc', exclusive=True)

    def answer(body, request):
        producer = Producer(asked)
        producer.publish(body.upper(), routing_key=request.properties['reply_to'],
                         correlation_id=request.properties['correlation_id'])
        request.ack()

    Consumer(asked, [requests], callbacks=[answer]).consume()
    channel = connection.channel()
    answers = []
    replies = Queue('amq.rabbitmq.reply-to', no_declare=True)
    Consumer(channel, [replies], no_ack=True, on_message=answers.append).consume()
    Producer(channel).publish('question', routing_key='kombu.rpc', reply_to='amq.rabbitmq.reply-to', correlation_id='7')
    server.drain_events(timeout=10)
    until(lambda: answers, lambda: drain(connection))
    assert (answers[0].payload, answers[0].properties['correlation_id']) == ('QUESTION', '7')
    server.close()
    channel.close()


def restart(connection):
    exchange = Exchange('kombu.restart', 'topic', durable=True)
    queue = Queue('kombu.restart', exchange, 'a.#', durable=True)
    queue(connection.channel()).declare()
    producer = Producer(connection.channel(), exchange)
    for number in range(50):
        producer.publish(number, routing_key='a.b', delivery_mode=2)
    print('restart', flush=True)
    end = time.monotonic() + 120
    try:
        while time.monotonic() < end:
            try:
                connection.drain_events(timeout=0.1)
            except socket.timeout:
                pass
        raise AssertionError('nobody restarted the broker')
    except connection.connection_errors:
        pass
    # Celery's way: it tries until somebody is there.
    connection.ensure_connection(max_retries=1000, interval_start=0.1, interval_step=0.1, interval_max=0.5)
    producer = Producer(connection.channel(), exchange)
    producer.publish(50, routing_key='a.c', delivery_mode=2, retry=True)
    queue = queue(connection.channel())
    got = [fetch(queue).payload for _ in range(51)]
    assert got == list(range(51)), got
    queue.delete()
    exchange(connection.channel()).delete()
    connection.close()


connection = connect_with_certificate() if CERTIFICATES else connect()
connection.connect()
if CERTIFICATES:
    common.do_all(connection, confirms)
else:
    common.do_all(connection, confirms, returns, cancel, prefetch, exclusive, dead_letters, ttl, rpc, restart)
