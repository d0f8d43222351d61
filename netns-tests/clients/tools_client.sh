#!/bin/sh
# usage: tools_client.sh ADDRESS PORT FILE
#
# The command line tools of librabbitmq, as scripts use them. They confirm nothing, cancel nothing and ask for no answers, so it
# is less that they do. FILE is there when the broker was restarted: tools that end after each step cannot see that.
set -eu
options="--server=$1 --port=$2 --username=guest --password=guest --heartbeat=10"
is() { [ "$1" = "$2" ] || { echo "expected '$2', got '$1'" >&2; exit 1; }; }
# shellcheck disable=SC2086 # a list of words
tool() { name=$1; shift; "amqp-$name" $options "$@"; }

# What is published is there a moment later: nobody confirms it.
get() { until tool get --queue="$1" 2> /dev/null; do sleep 0.05; done; }

is "$(tool declare-queue --queue=tools.queue)" tools.queue
is "$(tool declare-queue --queue=tools.queue)" tools.queue
! tool declare-queue --durable --queue=tools.queue || exit 1
echo did declare

for number in 1 2 3; do tool publish --routing-key=tools.queue --body="$number"; done
is "$(get tools.queue)" 1
is "$(tool consume --queue=tools.queue --count=2 --prefetch-count=1 cat)" 23
! tool get --queue=tools.queue || exit 1
is "$(tool delete-queue --queue=tools.queue)" 0
echo did consume

# A queue of its own at an exchange, until it has what it waits for.
got=$(mktemp)
trap 'rm -f "$got"' EXIT
tool consume --exchange=amq.topic --routing-key='tools.#' --count=1 cat > "$got" &
until tool publish --exchange=amq.topic --routing-key=tools.any --body=once && [ -s "$got" ]; do sleep 0.1; done
wait
is "$(cat "$got")" once
echo did bind

tool declare-queue --durable --queue=tools.restart > /dev/null
tool publish --persistent --routing-key=tools.restart --body=kept
# Nobody confirms it. This is more than enough for a disk.
sleep 1
echo restart
while [ ! -e "$3" ]; do sleep 0.1; done
is "$(get tools.restart)" kept
is "$(tool delete-queue --queue=tools.restart)" 0
echo did restart
