"""A client of a broker that does what lines on its input say, and answers each with a line: see amqp.test.mjs."""

import select
import sys
import time

import pika

OCTETS = b"x" * 10_000

connection = pika.BlockingConnection(
    pika.ConnectionParameters(
        "127.0.0.1",
        int(sys.argv[1]),
        heartbeat=45,
        client_properties={"connection_name": "a connection's own name"},
    )
)
channels = [connection.channel()]
queue = channels[0].queue_declare("", exclusive=True).method.queue
publishing = False
pause = 0.005


def publish(count):
    for _ in range(count):
        channels[0].basic_publish("", queue, OCTETS)


def taken(*_):
    time.sleep(pause)


print(pika.__version__, flush=True)
while True:
    if not select.select([sys.stdin], [], [], 0)[0]:
        if publishing:
            publish(20)
        connection.process_data_events(time_limit=0.02)
        continue
    match sys.stdin.readline().split():
        case ["open"]:
            channels.append(connection.channel())
        case ["close"]:
            channels.pop().close()
        case ["publish"]:
            publishing = True
        case ["rest"]:
            publishing = False
        case ["publish", count]:
            publish(int(count))
        case ["consume", "slowly"]:
            channels[0].basic_consume(queue, taken, auto_ack=True)
        case ["consume", "quickly"]:
            pause = 0
        case _:
            connection.close()
            break
    print("done", flush=True)
