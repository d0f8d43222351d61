// amqplib, as its users do.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import amqp from 'amqplib';

const [host, port] = process.argv.slice(2);
// Where certificates are, if it comes over TLS.
const certificates = process.env.CERTIFICATES;
const connect = () => amqp.connect(`amqp://guest:guest@${host}:${port}?heartbeat=10`);

function connectWithCertificate() {
  const [ca, cert, key] = ['authority.pem', 'client.pem', 'client.pem.key'].map((name) => readFileSync(`${certificates}/${name}`));
  return amqp.connect(`amqps://${host}:${port}`, { ca: [ca], cert, key, credentials: amqp.credentials.external() });
}

/** The next message of a queue, within a time. */
async function fetch(channel, queue, milliseconds = 10_000) {
  for (const end = Date.now() + milliseconds; Date.now() < end; await sleep(20)) {
    const message = await channel.get(queue, { noAck: true });
    if (message) return message;
  }
  throw new Error(`nothing came to ${queue}`);
}

async function until(condition, milliseconds = 10_000) {
  for (const end = Date.now() + milliseconds; Date.now() < end; await sleep(20)) {
    if (condition()) return;
  }
  throw new Error(`it is not the case: ${condition}`);
}

const texts = (messages) => messages.map((message) => message.content.toString());
const numbers = (count) => Array.from({ length: count }, (_, number) => String(number));

/** How a channel ends that does something wrong. */
async function refusal(connection, doing) {
  const channel = await connection.createChannel();
  const [[error]] = await Promise.all([once(channel, 'error'), assert.rejects(doing(channel))]);
  return error;
}

async function confirms(connection) {
  const channel = await connection.createConfirmChannel();
  const { queue } = await channel.assertQueue('', { exclusive: true });
  for (const number of numbers(100)) channel.sendToQueue(queue, Buffer.from(number), { persistent: true });
  await channel.waitForConfirms();
  const got = [];
  for (let count = 0; count < 100; count += 1) got.push(await fetch(channel, queue));
  assert.deepEqual(texts(got), numbers(100));
  const full = await channel.assertQueue('', { exclusive: true, arguments: { 'x-max-length': 1, 'x-overflow': 'reject-publish' } });
  channel.sendToQueue(full.queue, Buffer.from('fits'));
  await channel.waitForConfirms();
  channel.sendToQueue(full.queue, Buffer.from('does not'));
  await assert.rejects(channel.waitForConfirms(), /nacked/);
  await channel.close();
}

async function returns(connection) {
  const channel = await connection.createConfirmChannel();
  const back = once(channel, 'return');
  const headers = { a: 1, b: [true, { c: 'd' }] };
  channel.publish('amq.topic', 'to.nobody', Buffer.from('body'), { mandatory: true, messageId: 'm', headers });
  const [message] = await back;
  assert.equal(message.fields.replyCode, 312);
  assert.equal(message.fields.replyText, 'NO_ROUTE');
  assert.equal(message.fields.routingKey, 'to.nobody');
  assert.deepEqual(message.properties.headers, headers);
  assert.equal(message.content.toString(), 'body');
  await channel.waitForConfirms();
  await channel.close();
}

async function cancel(connection) {
  const channel = await connection.createChannel();
  await channel.assertQueue('amqplib.cancel', { durable: false });
  const seen = [];
  await channel.consume('amqplib.cancel', (message) => seen.push(message));
  const other = await connect();
  await (await other.createChannel()).deleteQueue('amqplib.cancel');
  await other.close();
  await until(() => seen.length > 0);
  assert.deepEqual(seen, [null]);
  await channel.close();
}

async function prefetch(connection) {
  const channel = await connection.createChannel();
  const { queue } = await channel.assertQueue('', { exclusive: true });
  await channel.prefetch(3);
  for (const number of numbers(10)) channel.sendToQueue(queue, Buffer.from(number));
  const got = [];
  await channel.consume(queue, (message) => got.push(message));
  await sleep(500);
  assert.deepEqual(texts(got), numbers(3));
  channel.ack(got[1], true);
  await until(() => got.length === 5);
  channel.nack(got[2]);
  await until(() => got.length === 6);
  assert.equal(got[5].content.toString(), '2');
  assert.ok(got[5].fields.redelivered);
  await channel.close();
}

async function exclusive(connection) {
  const other = await connect();
  await (await other.createChannel()).assertQueue('amqplib.exclusive', { exclusive: true });
  const locked = await refusal(connection, (channel) => channel.checkQueue('amqplib.exclusive'));
  assert.equal(locked.code, 405);
  await other.close();
  const gone = await refusal(connection, (channel) => channel.checkQueue('amqplib.exclusive'));
  assert.equal(gone.code, 404);
  assert.match(gone.message, /NOT_FOUND - no queue 'amqplib.exclusive' in vhost '\/'/);
}

async function dying(channel, more = {}) {
  const dead = await channel.assertQueue('', { exclusive: true });
  const options = { exclusive: true, deadLetterExchange: '', deadLetterRoutingKey: dead.queue, ...more };
  return [dead.queue, (await channel.assertQueue('', options)).queue];
}

async function deadLetters(connection) {
  const channel = await connection.createChannel();
  const [dead, queue] = await dying(channel);
  channel.sendToQueue(queue, Buffer.from('body'), { headers: { kept: 'yes' } });
  channel.reject(await channel.get(queue), false);
  const letter = await fetch(channel, dead);
  const [death] = letter.properties.headers['x-death'];
  assert.equal(letter.properties.headers.kept, 'yes');
  assert.deepEqual([death.reason, death.queue, death.count, death['routing-keys']], ['rejected', queue, 1, [queue]]);
  await channel.close();
}

async function ttl(connection) {
  const channel = await connection.createChannel();
  const [dead, queue] = await dying(channel, { messageTtl: 200 });
  channel.sendToQueue(queue, Buffer.from('by its queue'));
  let letter = await fetch(channel, dead);
  assert.equal(letter.properties.headers['x-death'][0].reason, 'expired');
  channel.sendToQueue(queue, Buffer.from('by itself'), { expiration: 50 });
  letter = await fetch(channel, dead);
  assert.equal(letter.properties.headers['x-death'][0]['original-expiration'], '50');
  assert.equal(letter.properties.expiration, undefined);
  await channel.close();
}

async function rpc(connection) {
  const server = await connect();
  const asked = await server.createChannel();
  await asked.assertQueue('amqplib.rpc', { autoDelete: true, durable: false });
  await asked.consume('amqplib.rpc', (request) => {
    const { replyTo, correlationId } = request.properties;
    asked.sendToQueue(replyTo, Buffer.from(request.content.toString().toUpperCase()), { correlationId });
    asked.ack(request);
  });
  const channel = await connection.createChannel();
  const answers = [];
  await channel.consume('amq.rabbitmq.reply-to', (answer) => answers.push(answer), { noAck: true });
  channel.sendToQueue('amqplib.rpc', Buffer.from('question'), { replyTo: 'amq.rabbitmq.reply-to', correlationId: '7' });
  await until(() => answers.length > 0);
  assert.deepEqual(texts(answers), ['QUESTION']);
  assert.equal(answers[0].properties.correlationId, '7');
  await server.close();
  await channel.close();
}

async function restart(connection) {
  const channel = await connection.createConfirmChannel();
  await channel.assertExchange('amqplib.restart', 'topic', { durable: true });
  await channel.assertQueue('amqplib.restart', { durable: true });
  await channel.bindQueue('amqplib.restart', 'amqplib.restart', 'a.#');
  for (const number of numbers(50)) channel.publish('amqplib.restart', 'a.b', Buffer.from(number), { persistent: true });
  await channel.waitForConfirms();
  connection.on('error', () => {});
  const closed = new Promise((resolve) => connection.on('close', resolve));
  console.log('restart');
  await closed;
  let again;
  for (const end = Date.now() + 120_000; !again && Date.now() < end; ) {
    again = await connect().catch(() => sleep(100));
  }
  const back = await again.createConfirmChannel();
  back.publish('amqplib.restart', 'a.c', Buffer.from('50'), { persistent: true, mandatory: true });
  await back.waitForConfirms();
  const got = [];
  for (let count = 0; count < 51; count += 1) got.push(await fetch(back, 'amqplib.restart'));
  assert.deepEqual(texts(got), numbers(51));
  await back.deleteQueue('amqplib.restart');
  await back.deleteExchange('amqplib.restart');
  await again.close();
}

const all = { confirms, returns, cancel, prefetch, exclusive, 'dead-letters': deadLetters, ttl, rpc, restart };
const connection = await (certificates ? connectWithCertificate() : connect());
for (const [name, scenario] of Object.entries(certificates ? { confirms } : all)) {
  await scenario(connection);
  console.log('did', name);
}
if (certificates) await connection.close();
