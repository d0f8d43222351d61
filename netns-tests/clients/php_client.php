<?php
// php-amqplib, as its users do.

require_once 'PhpAmqpLib/autoload.php';

use PhpAmqpLib\Channel\AMQPChannel;
use PhpAmqpLib\Connection\AMQPSSLConnection;
use PhpAmqpLib\Connection\AMQPStreamConnection;
use PhpAmqpLib\Exception\AMQPBasicCancelException;
use PhpAmqpLib\Exception\AMQPProtocolChannelException;
use PhpAmqpLib\Exception\AMQPTimeoutException;
use PhpAmqpLib\Message\AMQPMessage;
use PhpAmqpLib\Wire\AMQPTable;

function connect(): AMQPStreamConnection
{
    [, $host, $port] = $_SERVER['argv'];
    return new AMQPStreamConnection($host, $port, 'guest', 'guest');
}

function connect_with_certificate(string $certificates): AMQPStreamConnection
{
    [, $host, $port] = $_SERVER['argv'];
    $own = ['cafile' => "$certificates/authority.pem", 'local_cert' => "$certificates/client.pem", 'local_pk' => "$certificates/client.pem.key"];
    return new AMQPSSLConnection($host, $port, null, null, '/', $own + ['verify_peer' => true], ['login_method' => 'EXTERNAL']);
}

function same($expected, $got): void
{
    if ($expected !== $got) {
        throw new Exception('expected ' . json_encode($expected) . ', got ' . json_encode($got));
    }
}

/** The next message of a queue, within a time. */
function fetch(AMQPChannel $channel, string $queue): AMQPMessage
{
    for ($end = microtime(true) + 10; microtime(true) < $end; usleep(20000)) {
        $message = $channel->basic_get($queue, true);
        if ($message) {
            return $message;
        }
    }
    throw new Exception("nothing came to $queue");
}

/** Reads until something is the case. */
function until(AMQPChannel $channel, callable $condition, float $seconds = 10): void
{
    for ($end = microtime(true) + $seconds; !$condition(); ) {
        if (microtime(true) > $end) {
            throw new Exception('it is not the case');
        }
        quiet($channel, 0.1);
    }
}

function quiet(AMQPChannel $channel, float $seconds): void
{
    try {
        $channel->wait(null, false, $seconds);
    } catch (AMQPTimeoutException $e) {
    }
}

/** The error with which a channel ends that does something wrong. */
function refusal(AMQPStreamConnection $connection, callable $wrong): AMQPProtocolChannelException
{
    try {
        $wrong($connection->channel());
    } catch (AMQPProtocolChannelException $error) {
        return $error;
    }
    throw new Exception('it was not refused');
}

function own(AMQPChannel $channel, array $arguments = []): string
{
    [$queue] = $channel->queue_declare('', false, false, true, true, false, new AMQPTable($arguments));
    return $queue;
}

function confirms(AMQPStreamConnection $connection): void
{
    $channel = $connection->channel();
    $channel->confirm_select();
    $acked = 0;
    $nacked = 0;
    $channel->set_ack_handler(function () use (&$acked) { $acked++; });
    $channel->set_nack_handler(function () use (&$nacked) { $nacked++; });
    $queue = own($channel);
    for ($number = 0; $number < 100; $number++) {
        $channel->basic_publish(new AMQPMessage((string)$number, ['delivery_mode' => 2]), '', $queue);
    }
    $channel->wait_for_pending_acks(10);
    same([100, 0], [$acked, $nacked]);
    for ($number = 0; $number < 100; $number++) {
        same((string)$number, fetch($channel, $queue)->body);
    }
    $full = own($channel, ['x-max-length' => 1, 'x-overflow' => 'reject-publish']);
    $channel->basic_publish(new AMQPMessage('fits'), '', $full);
    $channel->wait_for_pending_acks(10);
    $channel->basic_publish(new AMQPMessage('does not'), '', $full);
    $channel->wait_for_pending_acks(10);
    same([101, 1], [$acked, $nacked]);
    $channel->close();
}

function returns(AMQPStreamConnection $connection): void
{
    $channel = $connection->channel();
    $channel->confirm_select();
    $seen = [];
    $channel->set_return_listener(function (...$back) use (&$seen) { $seen[] = $back; });
    $headers = new AMQPTable(['a' => 1, 'b' => [true, 'c']]);
    $message = new AMQPMessage('body', ['message_id' => 'm', 'application_headers' => $headers]);
    $channel->basic_publish($message, 'amq.topic', 'to.nobody', true);
    $channel->wait_for_pending_acks_returns(10);
    [[$code, $text, $exchange, $key, $back]] = $seen;
    same([312, 'NO_ROUTE', 'amq.topic', 'to.nobody', 'body'], [$code, $text, $exchange, $key, $back->body]);
    same('m', $back->get('message_id'));
    same(['a' => 1, 'b' => [true, 'c']], $back->get('application_headers')->getNativeData());
    $channel->close();
}

function cancel(AMQPStreamConnection $connection): void
{
    $channel = $connection->channel();
    $channel->queue_declare('php.cancel', false, false, false, false);
    $tag = $channel->basic_consume('php.cancel', '', false, false, false, false, fn() => null);
    $other = connect();
    $other->channel()->queue_delete('php.cancel');
    $other->close();
    try {
        $channel->wait(null, false, 10);
        throw new Exception('it was not cancelled');
    } catch (AMQPBasicCancelException $e) {
        same($tag, $e->consumerTag);
    }
    $channel->close();
}

function prefetch(AMQPStreamConnection $connection): void
{
    $channel = $connection->channel();
    $queue = own($channel);
    $channel->basic_qos(0, 3, false);
    for ($number = 0; $number < 10; $number++) {
        $channel->basic_publish(new AMQPMessage((string)$number), '', $queue);
    }
    $got = [];
    $channel->basic_consume($queue, '', false, false, false, false, function ($message) use (&$got) { $got[] = $message; });
    for ($end = microtime(true) + 0.5; microtime(true) < $end; ) {
        quiet($channel, 0.1);
    }
    same(['0', '1', '2'], array_map(fn($message) => $message->body, $got));
    $channel->basic_ack($got[1]->getDeliveryTag(), true);
    until($channel, function () use (&$got) { return count($got) === 5; });
    $channel->basic_nack($got[2]->getDeliveryTag(), false, true);
    until($channel, function () use (&$got) { return count($got) === 6; });
    same(['2', true], [$got[5]->body, $got[5]->isRedelivered()]);
    $channel->close();
}

function exclusive(AMQPStreamConnection $connection): void
{
    $other = connect();
    $other->channel()->queue_declare('php.exclusive', false, false, true);
    $ask = fn($channel) => $channel->queue_declare('php.exclusive', true);
    same(405, refusal($connection, $ask)->amqp_reply_code);
    $other->close();
    $gone = refusal($connection, $ask);
    same([404, "NOT_FOUND - no queue 'php.exclusive' in vhost '/'"], [$gone->amqp_reply_code, $gone->amqp_reply_text]);
}

function dead_letters(AMQPStreamConnection $connection): void
{
    $channel = $connection->channel();
    $dead = own($channel);
    $queue = own($channel, ['x-dead-letter-exchange' => '', 'x-dead-letter-routing-key' => $dead]);
    $headers = new AMQPTable(['kept' => 'yes']);
    $channel->basic_publish(new AMQPMessage('body', ['application_headers' => $headers]), '', $queue);
    $channel->basic_reject($channel->basic_get($queue)->getDeliveryTag(), false);
    $headers = fetch($channel, $dead)->get('application_headers')->getNativeData();
    same('yes', $headers['kept']);
    $death = $headers['x-death'][0];
    same(['rejected', $queue, 1], [$death['reason'], $death['queue'], $death['count']]);
    $channel->close();
}

function ttl(AMQPStreamConnection $connection): void
{
    $channel = $connection->channel();
    $dead = own($channel);
    $arguments = ['x-dead-letter-exchange' => '', 'x-dead-letter-routing-key' => $dead, 'x-message-ttl' => 200];
    $queue = own($channel, $arguments);
    $channel->basic_publish(new AMQPMessage('by its queue'), '', $queue);
    same('expired', fetch($channel, $dead)->get('application_headers')->getNativeData()['x-death'][0]['reason']);
    $channel->basic_publish(new AMQPMessage('by itself', ['expiration' => '50']), '', $queue);
    $death = fetch($channel, $dead)->get('application_headers')->getNativeData()['x-death'][0];
    same('50', $death['original-expiration']);
    $channel->close();
}

function rpc(AMQPStreamConnection $connection): void
{
    $server = connect();
    $asked = $server->channel();
    $asked->queue_declare('php.rpc', false, false, false, true);
    $asked->basic_consume('php.rpc', '', false, false, false, false, function ($request) {
        $reply = new AMQPMessage(strtoupper($request->body), ['correlation_id' => $request->get('correlation_id')]);
        $request->getChannel()->basic_publish($reply, '', $request->get('reply_to'));
        $request->ack();
    });
    $channel = $connection->channel();
    $answers = [];
    $channel->basic_consume('amq.rabbitmq.reply-to', '', false, true, false, false, function ($answer) use (&$answers) {
        $answers[] = $answer;
    });
    $properties = ['reply_to' => 'amq.rabbitmq.reply-to', 'correlation_id' => '7'];
    $channel->basic_publish(new AMQPMessage('question', $properties), '', 'php.rpc');
    $asked->wait(null, false, 10);
    until($channel, function () use (&$answers) { return count($answers) > 0; });
    same(['QUESTION', '7'], [$answers[0]->body, $answers[0]->get('correlation_id')]);
    $server->close();
    $channel->close();
}

function restart(AMQPStreamConnection $connection): void
{
    $channel = $connection->channel();
    $channel->confirm_select();
    $channel->exchange_declare('php.restart', 'topic', false, true, false);
    $channel->queue_declare('php.restart', false, true, false, false);
    $channel->queue_bind('php.restart', 'php.restart', 'a.#');
    for ($number = 0; $number < 50; $number++) {
        $channel->basic_publish(new AMQPMessage((string)$number, ['delivery_mode' => 2]), 'php.restart', 'a.b');
    }
    $channel->wait_for_pending_acks(10);
    echo "restart\n";
    $lost = false;
    $again = null;
    for ($end = microtime(true) + 120; !$again && microtime(true) < $end; ) {
        try {
            if ($lost) {
                $again = connect();
            } else {
                quiet($channel, 0.1);
            }
        } catch (Exception $e) {
            $lost = true;
            usleep(100000);
        }
    }
    $channel = $again->channel();
    $channel->confirm_select();
    $channel->basic_publish(new AMQPMessage('50', ['delivery_mode' => 2]), 'php.restart', 'a.c', true);
    $channel->wait_for_pending_acks_returns(10);
    for ($number = 0; $number < 51; $number++) {
        same((string)$number, fetch($channel, 'php.restart')->body);
    }
    $channel->queue_delete('php.restart');
    $channel->exchange_delete('php.restart');
    $again->close();
}

// Where certificates are, if it comes over TLS.
$certificates = getenv('CERTIFICATES');
$connection = $certificates ? connect_with_certificate($certificates) : connect();
$all = ['confirms', 'returns', 'cancel', 'prefetch', 'exclusive', 'dead_letters', 'ttl', 'rpc', 'restart'];
foreach ($certificates ? ['confirms'] : $all as $scenario) {
    $scenario($connection);
    echo 'did ', str_replace('_', '-', $scenario), "\n";
}
