"""What the clients in Python have in common: waiting for something, and doing one thing after the other."""

import os
import socket
import sys
import time

HOST, PORT = sys.argv[1], int(sys.argv[2])
# Where certificates are, for those who come over TLS.
CERTIFICATES = os.environ.get('CERTIFICATES')


def until(condition, wait, seconds=10):
    """Waits, a little each time, until something is the case."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, 'it is not the case'
        wait()


def drain(connection):
    """Reads what comes within a moment, as py-amqp and kombu do."""
    try:
        connection.drain_events(timeout=0.1)
    except socket.timeout:
        pass


def quiet(wait, seconds=0.5):
    """Waits, a little each time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        wait()


def fetch(get, seconds=10):
    """The next message of a queue, when there is one."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        message = get()
        if message:
            return message
        time.sleep(0.02)
    raise AssertionError('nothing came')


def do_all(connection, *scenarios):
    """Does these, and says so."""
    for scenario in scenarios:
        scenario(connection)
        print('did', scenario.__name__.replace('_', '-'), flush=True)
