/* librabbitmq, as its users do. */

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <sys/time.h>

#include <amqp.h>
#include <amqp_framing.h>
#include <amqp_ssl_socket.h>
#include <amqp_tcp_socket.h>

#define CHECK(condition)                                                                      \
    do {                                                                                      \
        if (!(condition)) {                                                                   \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);           \
            exit(1);                                                                          \
        }                                                                                     \
    } while (0)

typedef amqp_connection_state_t connection;

static const char *host;
static int port;

static amqp_bytes_t text(const char *text) { return amqp_cstring_bytes(text); }

static int is(amqp_bytes_t octets, const char *expected) {
    return octets.len == strlen(expected) && memcmp(octets.bytes, expected, octets.len) == 0;
}

static int begins(amqp_bytes_t octets, const char *expected) {
    return octets.len >= strlen(expected) && memcmp(octets.bytes, expected, strlen(expected)) == 0;
}

static connection try_connect(void) {
    connection c = amqp_new_connection();
    amqp_socket_t *socket = amqp_tcp_socket_new(c);
    struct timeval limit = {10, 0};
    if (amqp_socket_open_noblock(socket, host, port, &limit) == AMQP_STATUS_OK &&
        amqp_login(c, "/", 0, 131072, 0, AMQP_SASL_METHOD_PLAIN, "guest", "guest").reply_type == AMQP_RESPONSE_NORMAL) {
        return c;
    }
    amqp_destroy_connection(c);
    return NULL;
}

static connection open_connection(void) {
    connection c = try_connect();
    CHECK(c);
    return c;
}

static connection open_with_certificate(const char *certificates) {
    connection c = amqp_new_connection();
    amqp_socket_t *socket = amqp_ssl_socket_new(c);
    CHECK(socket);
    char authority[4096], certificate[4096], key[4096];
    snprintf(authority, sizeof authority, "%s/authority.pem", certificates);
    snprintf(certificate, sizeof certificate, "%s/client.pem", certificates);
    snprintf(key, sizeof key, "%s/client.pem.key", certificates);
    CHECK(amqp_ssl_socket_set_cacert(socket, authority) == AMQP_STATUS_OK);
    CHECK(amqp_ssl_socket_set_key(socket, certificate, key) == AMQP_STATUS_OK);
    amqp_ssl_socket_set_verify_peer(socket, 1);
    amqp_ssl_socket_set_verify_hostname(socket, 1);
    CHECK(amqp_socket_open(socket, host, port) == AMQP_STATUS_OK);
    /* It cannot send nothing, and what it sends means nothing. */
    CHECK(amqp_login(c, "/", 0, 131072, 0, AMQP_SASL_METHOD_EXTERNAL, "anybody").reply_type == AMQP_RESPONSE_NORMAL);
    return c;
}

static void close_connection(connection c) {
    CHECK(amqp_connection_close(c, 200).reply_type == AMQP_RESPONSE_NORMAL);
    amqp_destroy_connection(c);
}

static void ok(connection c) { CHECK(amqp_get_rpc_reply(c).reply_type == AMQP_RESPONSE_NORMAL); }

static void open_channel(connection c, int channel) {
    amqp_channel_open(c, channel);
    ok(c);
}

static void close_channel(connection c, int channel) {
    CHECK(amqp_channel_close(c, channel, 200).reply_type == AMQP_RESPONSE_NORMAL);
}

/* Which error ended the channel. */
static int refused(connection c, int channel, const char *expected) {
    amqp_rpc_reply_t reply = amqp_get_rpc_reply(c);
    CHECK(reply.reply_type == AMQP_RESPONSE_SERVER_EXCEPTION && reply.reply.id == AMQP_CHANNEL_CLOSE_METHOD);
    amqp_channel_close_t *close = reply.reply.decoded;
    CHECK(begins(close->reply_text, expected));
    int code = close->reply_code;
    amqp_channel_close_ok_t answer;
    CHECK(amqp_send_method(c, channel, AMQP_CHANNEL_CLOSE_OK_METHOD, &answer) == AMQP_STATUS_OK);
    amqp_maybe_release_buffers(c);
    return code;
}

static void declare(connection c, const char *queue, int durable, int exclusive, amqp_table_t arguments) {
    amqp_queue_declare(c, 1, text(queue), 0, durable, exclusive, 0, arguments);
    ok(c);
}

static void publish(connection c, const char *exchange, const char *key, const char *body, int mandatory, amqp_basic_properties_t *properties) {
    CHECK(amqp_basic_publish(c, 1, text(exchange), text(key), mandatory, 0, properties, text(body)) == AMQP_STATUS_OK);
}

static void publish_persistent(connection c, const char *exchange, const char *key, const char *body) {
    amqp_basic_properties_t properties = {._flags = AMQP_BASIC_DELIVERY_MODE_FLAG, .delivery_mode = 2};
    publish(c, exchange, key, body, 0, &properties);
}

/* Waits for a method. */
static amqp_frame_t method(connection c, amqp_method_number_t expected) {
    amqp_frame_t frame;
    struct timeval limit = {10, 0};
    CHECK(amqp_simple_wait_frame_noblock(c, &frame, &limit) == AMQP_STATUS_OK);
    CHECK(frame.frame_type == AMQP_FRAME_METHOD && frame.payload.method.id == expected);
    return frame;
}

/* Waits until so many messages are confirmed. */
static void confirmed(connection c, uint64_t last) {
    for (uint64_t seen = 0; seen < last;) {
        amqp_basic_ack_t *ack = method(c, AMQP_BASIC_ACK_METHOD).payload.method.decoded;
        seen = ack->delivery_tag;
    }
    amqp_maybe_release_buffers(c);
}

/* The next message of a queue, within a time. */
static amqp_message_t fetch(connection c, const char *queue) {
    for (time_t end = time(NULL) + 10; time(NULL) < end; usleep(20000)) {
        amqp_rpc_reply_t reply = amqp_basic_get(c, 1, text(queue), 1);
        CHECK(reply.reply_type == AMQP_RESPONSE_NORMAL);
        if (reply.reply.id == AMQP_BASIC_GET_OK_METHOD) {
            amqp_message_t message;
            CHECK(amqp_read_message(c, 1, &message, 0).reply_type == AMQP_RESPONSE_NORMAL);
            return message;
        }
        amqp_maybe_release_buffers(c);
    }
    fprintf(stderr, "nothing came to %s\n", queue);
    exit(1);
}

static void expect(connection c, const char *queue, const char *body) {
    amqp_message_t message = fetch(c, queue);
    CHECK(is(message.body, body));
    amqp_destroy_message(&message);
}

/* Whether a message comes to a consumer within milliseconds. */
static int delivered(connection c, amqp_envelope_t *envelope, int milliseconds) {
    struct timeval limit = {milliseconds / 1000, milliseconds % 1000 * 1000};
    amqp_maybe_release_buffers(c);
    amqp_rpc_reply_t reply = amqp_consume_message(c, envelope, &limit, 0);
    return reply.reply_type == AMQP_RESPONSE_NORMAL;
}

static void confirms(connection c) {
    open_channel(c, 1);
    amqp_confirm_select(c, 1);
    ok(c);
    declare(c, "librabbitmq.confirms", 0, 1, amqp_empty_table);
    char body[8];
    for (int number = 0; number < 100; number++) {
        snprintf(body, sizeof body, "%d", number);
        publish_persistent(c, "", "librabbitmq.confirms", body);
    }
    confirmed(c, 100);
    for (int number = 0; number < 100; number++) {
        snprintf(body, sizeof body, "%d", number);
        expect(c, "librabbitmq.confirms", body);
    }
    amqp_table_entry_t entries[] = {
        {text("x-max-length"), {.kind = AMQP_FIELD_KIND_I32, .value.i32 = 1}},
        {text("x-overflow"), {.kind = AMQP_FIELD_KIND_UTF8, .value.bytes = text("reject-publish")}},
    };
    declare(c, "librabbitmq.full", 0, 1, (amqp_table_t){.num_entries = 2, .entries = entries});
    publish_persistent(c, "", "librabbitmq.full", "fits");
    confirmed(c, 101);
    publish_persistent(c, "", "librabbitmq.full", "does not");
    amqp_basic_nack_t *refused = method(c, AMQP_BASIC_NACK_METHOD).payload.method.decoded;
    CHECK(refused->delivery_tag == 102);
    close_channel(c, 1);
}

static void returns(connection c) {
    open_channel(c, 1);
    amqp_basic_properties_t properties = {._flags = AMQP_BASIC_MESSAGE_ID_FLAG, .message_id = text("m")};
    publish(c, "amq.topic", "to.nobody", "body", 1, &properties);
    amqp_basic_return_t *back = method(c, AMQP_BASIC_RETURN_METHOD).payload.method.decoded;
    CHECK(back->reply_code == 312 && is(back->reply_text, "NO_ROUTE") && is(back->routing_key, "to.nobody"));
    amqp_message_t message;
    CHECK(amqp_read_message(c, 1, &message, 0).reply_type == AMQP_RESPONSE_NORMAL);
    CHECK(is(message.body, "body") && is(message.properties.message_id, "m"));
    amqp_destroy_message(&message);
    close_channel(c, 1);
}

/* librabbitmq says to no server that it understands being cancelled, unless it is told to. */
static void cancel(connection plain) {
    (void)plain;
    connection c = amqp_new_connection();
    CHECK(amqp_socket_open(amqp_tcp_socket_new(c), host, port) == AMQP_STATUS_OK);
    amqp_table_entry_t can = {text("consumer_cancel_notify"), {.kind = AMQP_FIELD_KIND_BOOLEAN, .value.boolean = 1}};
    amqp_table_entry_t capabilities = {
        text("capabilities"), {.kind = AMQP_FIELD_KIND_TABLE, .value.table = {.num_entries = 1, .entries = &can}}};
    amqp_table_t said = {.num_entries = 1, .entries = &capabilities};
    CHECK(amqp_login_with_properties(c, "/", 0, 131072, 0, &said, AMQP_SASL_METHOD_PLAIN, "guest", "guest").reply_type ==
          AMQP_RESPONSE_NORMAL);
    open_channel(c, 1);
    declare(c, "librabbitmq.cancel", 0, 0, amqp_empty_table);
    amqp_basic_consume(c, 1, text("librabbitmq.cancel"), text("tag"), 0, 0, 0, amqp_empty_table);
    ok(c);
    connection other = open_connection();
    open_channel(other, 1);
    amqp_queue_delete(other, 1, text("librabbitmq.cancel"), 0, 0);
    ok(other);
    close_connection(other);
    amqp_basic_cancel_t *cancelled = method(c, AMQP_BASIC_CANCEL_METHOD).payload.method.decoded;
    CHECK(is(cancelled->consumer_tag, "tag"));
    close_connection(c);
}

static void prefetch(connection c) {
    open_channel(c, 1);
    declare(c, "librabbitmq.prefetch", 0, 1, amqp_empty_table);
    for (int number = 0; number < 10; number++) {
        publish(c, "", "librabbitmq.prefetch", (char[]){'0' + number, 0}, 0, NULL);
    }
    amqp_basic_qos(c, 1, 0, 3, 0);
    ok(c);
    amqp_basic_consume(c, 1, text("librabbitmq.prefetch"), text("tag"), 0, 0, 0, amqp_empty_table);
    ok(c);
    amqp_envelope_t envelope;
    for (int number = 0; number < 3; number++) {
        CHECK(delivered(c, &envelope, 10000) && is(envelope.message.body, (char[]){'0' + number, 0}));
        amqp_destroy_envelope(&envelope);
    }
    CHECK(!delivered(c, &envelope, 500));
    CHECK(amqp_basic_ack(c, 1, 2, 1) == AMQP_STATUS_OK);
    for (int number = 3; number < 5; number++) {
        CHECK(delivered(c, &envelope, 10000) && is(envelope.message.body, (char[]){'0' + number, 0}));
        amqp_destroy_envelope(&envelope);
    }
    CHECK(amqp_basic_nack(c, 1, 3, 0, 1) == AMQP_STATUS_OK);
    CHECK(delivered(c, &envelope, 10000) && is(envelope.message.body, "2") && envelope.redelivered);
    amqp_destroy_envelope(&envelope);
    close_channel(c, 1);
}

static void exclusive(connection c) {
    connection other = open_connection();
    open_channel(other, 1);
    declare(other, "librabbitmq.exclusive", 0, 1, amqp_empty_table);
    open_channel(c, 1);
    amqp_queue_declare(c, 1, text("librabbitmq.exclusive"), 1, 0, 0, 0, amqp_empty_table);
    CHECK(refused(c, 1, "RESOURCE_LOCKED - cannot obtain exclusive access") == 405);
    close_connection(other);
    open_channel(c, 1);
    amqp_queue_declare(c, 1, text("librabbitmq.exclusive"), 1, 0, 0, 0, amqp_empty_table);
    CHECK(refused(c, 1, "NOT_FOUND - no queue 'librabbitmq.exclusive' in vhost '/'") == 404);
}

/* A queue whose dead letters go to another one. */
static void declare_dying(connection c, const char *queue, const char *dead, int milliseconds) {
    declare(c, dead, 0, 1, amqp_empty_table);
    amqp_table_entry_t entries[] = {
        {text("x-dead-letter-exchange"), {.kind = AMQP_FIELD_KIND_UTF8, .value.bytes = text("")}},
        {text("x-dead-letter-routing-key"), {.kind = AMQP_FIELD_KIND_UTF8, .value.bytes = text(dead)}},
        {text("x-message-ttl"), {.kind = AMQP_FIELD_KIND_I32, .value.i32 = milliseconds}},
    };
    declare(c, queue, 0, 1, (amqp_table_t){.num_entries = 3, .entries = entries});
}

static amqp_field_value_t *value(const amqp_table_t *table, const char *name) {
    for (int number = 0; number < table->num_entries; number++) {
        if (is(table->entries[number].key, name)) {
            return &table->entries[number].value;
        }
    }
    fprintf(stderr, "there is no %s\n", name);
    exit(1);
}

/* Why a message died, once. */
static int died_of(const amqp_message_t *message, const char *reason) {
    CHECK(message->properties._flags & AMQP_BASIC_HEADERS_FLAG);
    amqp_field_value_t *deaths = value(&message->properties.headers, "x-death");
    CHECK(deaths->kind == AMQP_FIELD_KIND_ARRAY && deaths->value.array.num_entries == 1);
    return is(value(&deaths->value.array.entries[0].value.table, "reason")->value.bytes, reason);
}

static void dead_letters(connection c) {
    open_channel(c, 1);
    declare_dying(c, "librabbitmq.living", "librabbitmq.dead", 60000);
    publish(c, "", "librabbitmq.living", "body", 0, NULL);
    amqp_rpc_reply_t reply = amqp_basic_get(c, 1, text("librabbitmq.living"), 0);
    CHECK(reply.reply.id == AMQP_BASIC_GET_OK_METHOD);
    uint64_t tag = ((amqp_basic_get_ok_t *)reply.reply.decoded)->delivery_tag;
    amqp_message_t message;
    CHECK(amqp_read_message(c, 1, &message, 0).reply_type == AMQP_RESPONSE_NORMAL);
    amqp_destroy_message(&message);
    CHECK(amqp_basic_reject(c, 1, tag, 0) == AMQP_STATUS_OK);
    message = fetch(c, "librabbitmq.dead");
    CHECK(is(message.body, "body") && died_of(&message, "rejected"));
    amqp_destroy_message(&message);
    close_channel(c, 1);
}

static void ttl(connection c) {
    open_channel(c, 1);
    declare_dying(c, "librabbitmq.ttl", "librabbitmq.late", 200);
    publish(c, "", "librabbitmq.ttl", "by its queue", 0, NULL);
    amqp_message_t message = fetch(c, "librabbitmq.late");
    CHECK(is(message.body, "by its queue") && died_of(&message, "expired"));
    amqp_destroy_message(&message);
    amqp_basic_properties_t properties = {._flags = AMQP_BASIC_EXPIRATION_FLAG, .expiration = text("50")};
    publish(c, "", "librabbitmq.ttl", "by itself", 0, &properties);
    message = fetch(c, "librabbitmq.late");
    CHECK(is(message.body, "by itself") && !(message.properties._flags & AMQP_BASIC_EXPIRATION_FLAG));
    amqp_destroy_message(&message);
    close_channel(c, 1);
}

static void rpc(connection c) {
    connection server = open_connection();
    open_channel(server, 1);
    declare(server, "librabbitmq.rpc", 0, 1, amqp_empty_table);
    amqp_basic_consume(server, 1, text("librabbitmq.rpc"), amqp_empty_bytes, 0, 1, 0, amqp_empty_table);
    ok(server);
    open_channel(c, 1);
    amqp_basic_consume(c, 1, text("amq.rabbitmq.reply-to"), amqp_empty_bytes, 0, 1, 0, amqp_empty_table);
    ok(c);
    amqp_basic_properties_t question = {
        ._flags = AMQP_BASIC_REPLY_TO_FLAG | AMQP_BASIC_CORRELATION_ID_FLAG,
        .reply_to = text("amq.rabbitmq.reply-to"),
        .correlation_id = text("7"),
    };
    publish(c, "", "librabbitmq.rpc", "question", 0, &question);
    amqp_envelope_t envelope;
    CHECK(delivered(server, &envelope, 10000) && is(envelope.message.body, "question"));
    char to[256] = {0};
    CHECK(envelope.message.properties.reply_to.len < sizeof to);
    memcpy(to, envelope.message.properties.reply_to.bytes, envelope.message.properties.reply_to.len);
    amqp_basic_properties_t answer = {._flags = AMQP_BASIC_CORRELATION_ID_FLAG, .correlation_id = text("7")};
    publish(server, "", to, "answer", 0, &answer);
    amqp_destroy_envelope(&envelope);
    CHECK(delivered(c, &envelope, 10000) && is(envelope.message.body, "answer"));
    CHECK(is(envelope.message.properties.correlation_id, "7"));
    amqp_destroy_envelope(&envelope);
    close_connection(server);
    close_channel(c, 1);
}

static void restart(connection c) {
    const char *name = "librabbitmq.restart";
    open_channel(c, 1);
    amqp_confirm_select(c, 1);
    ok(c);
    amqp_exchange_declare(c, 1, text(name), text("topic"), 0, 1, 0, 0, amqp_empty_table);
    ok(c);
    declare(c, name, 1, 0, amqp_empty_table);
    amqp_queue_bind(c, 1, text(name), text(name), text("a.#"), amqp_empty_table);
    ok(c);
    char body[8];
    for (int number = 0; number < 50; number++) {
        snprintf(body, sizeof body, "%d", number);
        publish_persistent(c, name, "a.b", body);
    }
    confirmed(c, 50);
    puts("restart");
    amqp_frame_t frame;
    struct timeval limit = {120, 0};
    int status = amqp_simple_wait_frame_noblock(c, &frame, &limit);
    CHECK(status != AMQP_STATUS_OK && status != AMQP_STATUS_TIMEOUT);
    amqp_destroy_connection(c);
    for (time_t end = time(NULL) + 120; !(c = try_connect()); usleep(100000)) {
        CHECK(time(NULL) < end);
    }
    open_channel(c, 1);
    amqp_confirm_select(c, 1);
    ok(c);
    publish_persistent(c, name, "a.c", "50");
    confirmed(c, 1);
    for (int number = 0; number < 51; number++) {
        snprintf(body, sizeof body, "%d", number);
        expect(c, name, body);
    }
    amqp_queue_delete(c, 1, text(name), 0, 0);
    ok(c);
    amqp_exchange_delete(c, 1, text(name), 0);
    ok(c);
    close_connection(c);
}

int main(int count, char **words) {
    CHECK(count >= 3);
    host = words[1];
    port = atoi(words[2]);
    setvbuf(stdout, NULL, _IOLBF, 0);
    /* Where certificates are, if it comes over TLS. */
    const char *certificates = getenv("CERTIFICATES");
    connection c = certificates ? open_with_certificate(certificates) : open_connection();
    const struct { const char *name; void (*run)(connection); } scenarios[] = {
        {"confirms", confirms}, {"returns", returns}, {"cancel", cancel},
        {"prefetch", prefetch}, {"exclusive", exclusive}, {"dead-letters", dead_letters},
        {"ttl", ttl}, {"rpc", rpc}, {"restart", restart},
    };
    for (size_t number = 0; number < (certificates ? 1 : sizeof scenarios / sizeof *scenarios); number++) {
        scenarios[number].run(c);
        printf("did %s\n", scenarios[number].name);
    }
    return 0;
}
