"""py-amqp, as its users do."""

import socket
import ssl
import time

import amqp
from amqp.exceptions import AMQPError, MessageNacked, NotFound, ResourceLocked

import common
from common import CERTIFICATES, HOST, PORT, drain, quiet, until


def connect():
    connection = amqp.Connection(f'{HOST}:{PORT}', heartbeat=10, connect_timeout=10, read_timeout=10, write_timeout=10,
                                 confirm_publish=True)
    connection.connect()
    return connection


def connect_with_certificate():
    own = {'ca_certs': f'{CERTIFICATES}/authority.pem', 'certfile': f'{CERTIFICATES}/client.pem',
           'keyfile': f'{CERTIFICATES}/client.pem.key', 'cert_reqs': ssl.CERT_REQUIRED, 'server_hostname': HOST}
    connection = amqp.Connection(f'{HOST}:{PORT}', ssl=own, login_method='EXTERNAL', confirm_publish=True)
    connection.connect()
    return connection


def fetch(channel, queue):
    return common.fetch(lambda: channel.basic_get(queue, no_ack=True))


def confirms(connection):
    channel = connection.channel()
    queue = channel.queue_declare('', exclusive=True).queue
    for number in range(100):
        channel.basic_publish_confirm(amqp.Message(str(number), delivery_mode=2), routing_key=queue)
    assert [fetch(channel, queue).body for _ in range(100)] == [str(number) for number in range(100)]
    full = channel.queue_declare('', exclusive=True, arguments={'x-max-length': 1, 'x-overflow': 'reject-publish'}).queue
    channel.basic_publish_confirm(amqp.Message('fits'), routing_key=full)
    try:
        channel.basic_publish_confirm(amqp.Message('does not'), routing_key=full)
        raise AssertionError('it was confirmed')
    except MessageNacked:
        pass
    channel.close()


def returns(connection):
    channel = connection.channel()
    seen = []
    channel.events['basic_return'].add(lambda *back: seen.append(back))
    message = amqp.Message('body', message_id='m', application_headers={'a': 1, 'b': [True, {'c': 'd'}]})
    channel.basic_publish(message, 'amq.topic', 'to.nobody', mandatory=True)
    until(lambda: seen, lambda: drain(connection))
    (error, exchange, key, back), = seen
    assert (error.reply_code, error.reply_text, exchange, key) == (312, 'NO_ROUTE', 'amq.topic', 'to.nobody'), seen
    assert (back.body, back.properties['message_id']) == ('body', 'm')
    assert back.headers == {'a': 1, 'b': [True, {'c': 'd'}]}, back.headers
    channel.close()


def cancel(connection):
    channel = connection.channel()
    channel.queue_declare('py-amqp.cancel', auto_delete=False)
    seen = []
    tag = channel.basic_consume('py-amqp.cancel', on_cancel=seen.append)
    other = connect()
    other.channel().queue_delete('py-amqp.cancel')
    other.close()
    until(lambda: seen, lambda: drain(connection))
    assert seen == [tag], seen
    channel.close()


def prefetch(connection):
    channel = connection.channel()
    queue = channel.queue_declare('', exclusive=True).queue
    channel.basic_qos(0, 3, False)
    for number in range(10):
        channel.basic_publish(amqp.Message(str(number)), routing_key=queue)
    got = []
    channel.basic_consume(queue, callback=got.append)
    quiet(lambda: drain(connection))
    assert [message.body for message in got] == ['0', '1', '2'], got
    channel.basic_ack(got[1].delivery_tag, multiple=True)
    until(lambda: len(got) == 5, lambda: drain(connection))
    channel.basic_reject(got[2].delivery_tag, requeue=True)
    until(lambda: len(got) == 6, lambda: drain(connection))
    assert (got[5].body, got[5].delivery_info['redelivered']) == ('2', True)
    channel.close()


def exclusive(connection):
    other = connect()
    other.channel().queue_declare('py-amqp.exclusive', exclusive=True)
    try:
        connection.channel().queue_declare('py-amqp.exclusive', passive=True)
        raise AssertionError('it was not locked')
    except ResourceLocked as error:
        assert error.reply_code == 405, error
    other.close()
    try:
        connection.channel().queue_declare('py-amqp.exclusive', passive=True)
        raise AssertionError('it is still there')
    except NotFound as error:
        assert error.reply_text == "NOT_FOUND - no queue 'py-amqp.exclusive' in vhost '/'", error


def dead_letters(connection):
    channel = connection.channel()
    dead = channel.queue_declare('', exclusive=True).queue
    arguments = {'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': dead}
    queue = channel.queue_declare('', exclusive=True, arguments=arguments).queue
    channel.basic_publish(amqp.Message('body', application_headers={'kept': 'yes'}), routing_key=queue)
    channel.basic_reject(channel.basic_get(queue).delivery_tag, requeue=False)
    letter = fetch(channel, dead)
    death, = letter.headers['x-death']
    assert (letter.body, letter.headers['kept']) == ('body', 'yes')
    assert (death['reason'], death['queue'], death['count']) == ('rejected', queue, 1), death
    channel.close()


def ttl(connection):
    channel = connection.channel()
    dead = channel.queue_declare('', exclusive=True).queue
    arguments = {'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': dead, 'x-message-ttl': 200}
    queue = channel.queue_declare('', exclusive=True, arguments=arguments).queue
    channel.basic_publish(amqp.Message('by its queue'), routing_key=queue)
    letter = fetch(channel, dead)
    assert letter.body == 'by its queue' and letter.headers['x-death'][0]['reason'] == 'expired'
    channel.basic_publish(amqp.Message('by itself', expiration='50'), routing_key=queue)
    letter = fetch(channel, dead)
    assert letter.body == 'by itself' and 'expiration' not in letter.properties, letter.properties
    channel.close()


def rpc(connection):
    server = connect()
    asked = server.channel()
    asked.queue_declare('py-amqp.rpc', exclusive=True)

    def answer(request):
        reply = amqp.Message(request.body.upper(), correlation_id=request.properties['correlation_id'])
        asked.basic_publish(reply, routing_key=request.properties['reply_to'])
        asked.basic_ack(request.delivery_tag)

    asked.basic_consume('py-amqp.rpc', callback=answer)
    channel = connection.channel()
    answers = []
    channel.basic_consume('amq.rabbitmq.reply-to', no_ack=True, callback=answers.append)
    question = amqp.Message('question', reply_to='amq.rabbitmq.reply-to', correlation_id='7')
    # Locked for this connection, but not for what is published.
    channel.basic_publish(question, routing_key='py-amqp.rpc')
    server.drain_events(timeout=10)
    until(lambda: answers, lambda: drain(connection))
    assert (answers[0].body, answers[0].properties['correlation_id']) == ('QUESTION', '7')
    server.close()
    channel.close()


def restart(connection):
    channel = connection.channel()
    channel.exchange_declare('py-amqp.restart', 'topic', durable=True, auto_delete=False)
    channel.queue_declare('py-amqp.restart', durable=True, auto_delete=False)
    channel.queue_bind('py-amqp.restart', 'py-amqp.restart', 'a.#')
    for number in range(50):
        message = amqp.Message(str(number), delivery_mode=2)
        channel.basic_publish_confirm(message, 'py-amqp.restart', 'a.b', mandatory=True)
    print('restart', flush=True)
    end = time.monotonic() + 120
    lost = False
    while time.monotonic() < end:
        try:
            if lost:
                connection = connect()
                break
            connection.drain_events(timeout=0.1)
        except socket.timeout:
            pass
        except (AMQPError, OSError):
            lost = True
            time.sleep(0.1)
    assert lost, 'nobody restarted the broker'
    channel = connection.channel()
    channel.basic_publish_confirm(amqp.Message('50', delivery_mode=2), 'py-amqp.restart', 'a.c', mandatory=True)
    got = [fetch(channel, 'py-amqp.restart').body for _ in range(51)]
    assert got == [str(number) for number in range(51)], got
    channel.queue_delete('py-amqp.restart')
    channel.exchange_delete('py-amqp.restart')
    connection.close()


if CERTIFICATES:
    common.do_all(connect_with_certificate(), confirms)
else:
    common.do_all(connect(), confirms, returns, cancel, prefetch, exclusive, dead_letters, ttl, rpc, restart)
