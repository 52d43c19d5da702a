/*
 * The load generator: many Socket.IO clients over websocket, in one thread. It uses little CPU time, so that it is not
 * the bottleneck.
 *
 *     load PORT [plain] [monotonic] [stamp=K] [tabs]
 *
 *     plain        use websockets without Engine.IO and Socket.IO
 *     monotonic    the times in messages are from the monotonic clock, not from the wall clock
 *     stamp=K      the K-th "time" of a message is the time at which it was sent (default: 1, the first)
 *     tabs         each connection sends a unique name in `?tab=`, as the dashboard does
 *
 * It reads commands as lines from stdin, and answers each with one line of JSON on stdout:
 *     connect N AT_ONCE ROOMS   open N more connections, at most AT_ONCE of them in their handshake at a time; unless
 *                               ROOMS is 0, connection number i registers for the storehouse 1 + i % ROOMS
 *     close N                   close the newest N connections
 *     reset                     set all counters to 0 and discard all samples
 *     await N MS                answer with `stats` when N messages have arrived, or no message for MS milliseconds
 *     stats                     answer with the counters and the percentiles of the delays
 *     ask N AT_ONCE             send N `orgs` requests with acknowledgement, at most AT_ONCE at a time per connection
 *     stall N PONG              stop reading from the first N connections; if PONG is 1, they still send regular pongs
 *     resume                    read from the stalled connections again
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MOST = 20000, READ = 1 << 18, SAMPLES = 1 << 22, STAMP_WITHIN = 600, PONG_MS = 3000 };
enum { CLOSE = 8, PING = 9, PONG = 10, TEXT = 1 }; /* RFC 6455, 5.2 */
typedef enum { CONNECTING, UPGRADING, OPENING, JOINING, REGISTERING, READY, CLOSED } state;

typedef struct {
    int fd;
    state state;
    bool stalled;
    uint8_t *rest; /* start of a frame that has not arrived completely */
    size_t rest_size, rest_room;
    uint64_t messages;
    int64_t last_stamp;
    int asked, answered; /* acknowledgement ids of the last request and of the last answer */
    int64_t *asked_at;   /* ring buffer with the times of the last `asking_at_once` requests */
} client;

static client clients[MOST];
static int opened, ready, closed, connecting, to_open, at_once, rooms;
static int port, poller, stamp_index = 1;
static bool plain, pongs, tabs;
static clockid_t clock_of_stamps = CLOCK_REALTIME;

static uint64_t messages, bytes, pings, most_wanted;
static int64_t begun_at, last_at, newest_stamp, quiet_ns;
static uint32_t samples[SAMPLES]; /* delays in microseconds */
static size_t sampled;

static uint64_t requests_left, answers, out_of_order, different;
static uint64_t answer_hash;
static int asking_at_once;
static bool connect_wanted, answers_wanted;

static uint64_t resumed_messages, resumed_older;
static int64_t resumed_at, resumed_newest_at;

static int64_t clock_ns(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return t.tv_sec * 1000000000ll + t.tv_nsec;
}

static int64_t now_ns(void) { return clock_ns(CLOCK_MONOTONIC); }

static void fail(const char *what) {
    fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void watch(int fd, uint32_t events, uint64_t number, int operation) {
    struct epoll_event event = {.events = events, .data.u64 = number};
    if (epoll_ctl(poller, operation, fd, &event) < 0) fail("epoll_ctl");
}

static void send_all(int fd, const void *data, size_t size) {
    const char *next = data;
    while (size) {
        ssize_t sent = send(fd, next, size, MSG_NOSIGNAL);
        if (sent < 0 && errno != EAGAIN) return; /* the connection is closed; the next read handles that */
        if (sent < 0) { usleep(100); continue; }
        next += sent;
        size -= sent;
    }
}

/* Send one masked frame with at most 125 bytes of payload. */
static void send_frame(client *c, int kind, const char *text, size_t size) {
    static const uint8_t mask[4] = {0x12, 0x34, 0x56, 0x78};
    uint8_t frame[6 + 125] = {0x80 | kind, 0x80 | size, mask[0], mask[1], mask[2], mask[3]};
    for (size_t i = 0; i < size; i++) frame[6 + i] = text[i] ^ mask[i % 4];
    send_all(c->fd, frame, 6 + size);
}

static void send_text(client *c, const char *text) { send_frame(c, TEXT, text, strlen(text)); }

/* Print one answer to a command. */
static void say(const char *format, ...) {
    va_list values;
    va_start(values, format);
    vprintf(format, values);
    va_end(values);
    putchar('\n');
    fflush(stdout);
}

/* ---- Opening and closing connections ---- */

static void open_one(void) {
    int number = opened++, on = 1;
    client *c = &clients[number];
    *c = (client){.fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), .state = CONNECTING, .answered = 0};
    if (c->fd < 0) fail("socket");
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    struct sockaddr_in there = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (connect(c->fd, (struct sockaddr *)&there, sizeof there) < 0 && errno != EINPROGRESS) fail("connect");
    watch(c->fd, EPOLLOUT, number, EPOLL_CTL_ADD);
    connecting++;
    to_open--;
}

static void say_connected(void) {
    connect_wanted = false;
    say("{\"connected\": %d, \"seconds\": %.4f}", ready - closed, (now_ns() - begun_at) / 1e9);
}

static void open_more(void) {
    while (to_open && connecting < at_once) open_one();
    if (connect_wanted && !to_open && !connecting) say_connected();
}

static void upgrade(client *c) {
    char request[1024], tab[32] = "";
    if (tabs) snprintf(tab, sizeof tab, "&tab=load-%ld", (long)(c - clients));
    int size = snprintf(request, sizeof request,
        "GET %s%s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nOrigin: http://127.0.0.1:%d\r\n"
        "User-Agent: Mozilla/5.0 (X11; Linux x86_64) load\r\nAccept-Language: zh-CN,zh;q=0.9,en;q=0.8\r\n"
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        "/socket.io/?EIO=4&transport=websocket", tab, port, port);
    send_all(c->fd, request, size);
    c->state = UPGRADING;
}

static void become_ready(client *c) {
    c->state = READY;
    ready++;
    connecting--;
    open_more();
}

static void lose(client *c) {
    if (c->state == CLOSED) return;
    if (c->state != READY) {
        fprintf(stderr, "load: connection %ld was closed during its handshake\n", (long)(c - clients));
        exit(1);
    }
    close(c->fd);
    free(c->rest);
    free(c->asked_at);
    c->rest = NULL;
    c->asked_at = NULL;
    c->state = CLOSED;
    closed++;
}

static void close_last(int count) {
    while (count-- && opened) {
        client *c = &clients[--opened];
        if (c->state == READY) {
            send_frame(c, CLOSE, "\x03\xe8", 2);
            lose(c);
        }
        closed--;
        ready--;
    }
    say("{\"connected\": %d}", ready - closed);
}

/* ---- Evaluating messages ---- */

/* Return the number of days from 1970-01-01 to a date in the Gregorian calendar. */
static int64_t days(int64_t year, int month, int day) {
    year -= month <= 2;
    int64_t era = year / 400, of_era = year - era * 400;
    int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

static int digits(const uint8_t *p, int count) {
    int value = 0;
    while (count--) value = value * 10 + (*p++ - '0');
    return value;
}

/* Return the time at which the message was sent, in microseconds since 1970 or of the monotonic clock. Return 0 if the
 * message contains no time. */
static int64_t stamp_of(const uint8_t *text, size_t size) {
    static const char key[] = "\"time\":\"";
    const uint8_t *end = text + (size < STAMP_WITHIN ? size : STAMP_WITHIN), *p = text;
    for (int i = 0; i < stamp_index; i++) {
        p = memmem(p, end - p, key, sizeof key - 1);
        if (!p) return 0;
        p += sizeof key - 1;
    }
    if (end - p < 27) return 0;
    int64_t s = days(digits(p, 4), digits(p + 5, 2), digits(p + 8, 2)) * 86400;
    s += digits(p + 11, 2) * 3600 + digits(p + 14, 2) * 60 + digits(p + 17, 2);
    int64_t us = 0;
    if (p[19] == '.')
        for (int i = 0, unit = 100000; p[20 + i] >= '0' && p[20 + i] <= '9' && unit; i++, unit /= 10)
            us += (p[20 + i] - '0') * unit;
    return s * 1000000 + us;
}

static int by_size(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static uint32_t share(double part) { return sampled ? samples[(size_t)((sampled - 1) * part)] : 0; }

static void sample(int64_t us) {
    if (sampled < SAMPLES) samples[sampled++] = us < 0 ? 0 : us;
}

static void say_stats(void) {
    uint64_t least = UINT64_MAX, most = 0;
    for (int i = 0; i < opened; i++) {
        if (clients[i].stalled || clients[i].state != READY) continue;
        if (clients[i].messages < least) least = clients[i].messages;
        if (clients[i].messages > most) most = clients[i].messages;
    }
    qsort(samples, sampled, sizeof *samples, by_size);
    say("{\"messages\": %lu, \"bytes\": %lu, \"pings\": %lu, \"closed\": %d, \"least\": %lu, \"most\": %lu,"
           " \"samples\": %zu, \"p50_us\": %u, \"p99_us\": %u, \"max_us\": %u, \"last_ns\": %ld,"
           " \"resumed_messages\": %lu, \"resumed_older\": %lu, \"resumed_newest_ms\": %.3f}",
        messages, bytes, pings, closed, most ? least : 0, most, sampled, share(0.5), share(0.99), share(1.0),
        last_at, resumed_messages, resumed_older,
        resumed_newest_at ? (resumed_newest_at - resumed_at) / 1e6 : -1.0);
    most_wanted = 0;
}

static void count(client *c, const uint8_t *text, size_t size) {
    last_at = now_ns();
    messages++;
    bytes += size;
    c->messages++;
    int64_t stamp = stamp_of(text, size);
    if (stamp && stamp != c->last_stamp) {
        if (c->stalled) {
            resumed_messages++;
            if (stamp < newest_stamp) resumed_older++;
            else if (!resumed_newest_at) resumed_newest_at = last_at;
        } else
            sample(clock_ns(clock_of_stamps) / 1000 - stamp);
        c->last_stamp = stamp;
        if (stamp > newest_stamp) newest_stamp = stamp;
    }
    if (most_wanted && messages >= most_wanted) say_stats();
}

/* ---- Sending requests ---- */

static void ask_once(client *c) {
    char text[64];
    requests_left--;
    c->asked++;
    c->asked_at[c->asked % asking_at_once] = now_ns();
    snprintf(text, sizeof text, "42%d[\"orgs\"]", c->asked);
    send_text(c, text);
}

static void say_answers(void) {
    answers_wanted = false;
    most_wanted = 0;
    last_at = now_ns();
    qsort(samples, sampled, sizeof *samples, by_size);
    say("{\"answers\": %lu, \"out_of_order\": %lu, \"different\": %lu, \"answer\": \"%016lx\", \"events\": %lu,"
           " \"p50_us\": %u, \"p99_us\": %u, \"seconds\": %.6f}",
        answers, out_of_order, different, answer_hash, messages, share(0.5), share(0.99), (last_at - begun_at) / 1e9);
}

static void count_answer(client *c, const uint8_t *text, size_t size) {
    size_t i = 0;
    int id = 0;
    while (i < size && text[i] >= '0' && text[i] <= '9') id = id * 10 + (text[i++] - '0');
    uint64_t hash = 14695981039346656037u; /* FNV-1a */
    for (; i < size; i++) hash = (hash ^ text[i]) * 1099511628211u;
    if (answers && hash != answer_hash) different++;
    answer_hash = hash;
    if (id != c->answered + 1) out_of_order++;
    c->answered = id;
    sample((now_ns() - c->asked_at[id % asking_at_once]) / 1000);
    answers++;
    if (requests_left) ask_once(c);
}

static void ask(uint64_t count_wanted, int each) {
    requests_left = count_wanted;
    asking_at_once = each;
    answers_wanted = true;
    answers = out_of_order = different = messages = 0;
    sampled = 0;
    begun_at = now_ns();
    for (int i = 0; i < opened; i++) {
        free(clients[i].asked_at);
        clients[i].asked_at = calloc(each, sizeof(int64_t));
        clients[i].asked = clients[i].answered = 0;
    }
    for (int turn = 0; turn < each; turn++)
        for (int i = 0; i < opened && requests_left; i++) ask_once(&clients[i]);
    most_wanted = count_wanted;
}

/* ---- Reading from connections ---- */

static void handle_text(client *c, const uint8_t *text, size_t size) {
    if (plain) { count(c, text, size); return; }
    if (size == 0) return;
    if (text[0] == '2') {
        pings++;
        send_text(c, "3");
    } else if (c->state == OPENING && text[0] == '0') {
        send_text(c, "40");
        c->state = JOINING;
    } else if (size < 2 || text[0] != '4') {
        return;
    } else if (text[1] == '2') {
        if (answers_wanted) messages++;
        else count(c, text, size);
    } else if (c->state == JOINING && text[1] == '0') {
        if (!rooms) { become_ready(c); return; }
        char question[80];
        snprintf(question, sizeof question, "420[\"register\",{\"store_house_id\":%ld}]", 1 + (c - clients) % rooms);
        send_text(c, question);
        c->state = REGISTERING;
    } else if (c->state == REGISTERING && text[1] == '3') {
        become_ready(c);
    } else if (answers_wanted && text[1] == '3') {
        count_answer(c, text + 2, size - 2);
        if (answers == most_wanted) say_answers();
    }
}

/* Handle the complete frames in `data`. Return their total size. */
static size_t handle_frames(client *c, const uint8_t *data, size_t size) {
    size_t done = 0;
    while (size - done >= 2 && c->state != CLOSED) {
        const uint8_t *frame = data + done;
        size_t header = 2;
        uint64_t length = frame[1] & 127;
        if (length >= 126) header += length == 126 ? 2 : 8;
        if (size - done < header) break;
        if (header > 2) {
            length = 0;
            for (size_t i = 2; i < header; i++) length = length << 8 | frame[i];
        }
        if (size - done < header + length) break;
        int kind = frame[0] & 15;
        if (kind == TEXT) handle_text(c, frame + header, length);
        if (kind == PING) send_frame(c, PONG, (const char *)frame + header, length);
        done += header + length;
    }
    return done;
}

static size_t handle_handshake(client *c, const uint8_t *data, size_t size) {
    const uint8_t *end = memmem(data, size, "\r\n\r\n", 4);
    if (!end) return 0;
    if (memcmp(data, "HTTP/1.1 101", 12)) {
        fprintf(stderr, "load: the server did not accept the websocket: %.*s\n", (int)size, data);
        exit(1);
    }
    if (plain) become_ready(c);
    else c->state = OPENING;
    return end + 4 - data;
}

static void keep(client *c, const uint8_t *data, size_t size) {
    if (c->rest_room < size) {
        c->rest_room = size + 4096;
        uint8_t *room = malloc(c->rest_room);
        memcpy(room, data, size);
        free(c->rest);
        c->rest = room;
    } else
        memmove(c->rest, data, size);
    c->rest_size = size;
}

static void read_some(client *c) {
    static uint8_t buffer[2 * READ];
    size_t before = c->rest_size;
    if (before) memcpy(buffer, c->rest, before);
    ssize_t got = recv(c->fd, buffer + before, READ, 0);
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) { lose(c); return; }
    size_t size = before + got, done = 0;
    if (c->state == UPGRADING) {
        done = handle_handshake(c, buffer, size);
        if (!done) { keep(c, buffer, size); return; }
    }
    done += handle_frames(c, buffer + done, size - done);
    if (c->state != CLOSED) keep(c, buffer + done, size - done);
}

/* ---- Stalling connections ---- */

static void stall(int count_wanted, bool with_pongs) {
    pongs = with_pongs;
    for (int i = 0; i < count_wanted; i++) {
        clients[i].stalled = true;
        watch(clients[i].fd, 0, i, EPOLL_CTL_DEL);
    }
    say("{\"stalled\": %d}", count_wanted);
}

static void resume(void) {
    resumed_messages = resumed_older = 0;
    resumed_at = now_ns();
    resumed_newest_at = 0;
    for (int i = 0; i < opened; i++)
        if (clients[i].stalled && clients[i].state == READY) watch(clients[i].fd, EPOLLIN, i, EPOLL_CTL_ADD);
    pongs = false;
    say("{\"resumed\": true}");
}

static void send_pongs(void) {
    for (int i = 0; i < opened; i++)
        if (clients[i].stalled && clients[i].state == READY) send_text(&clients[i], "3");
}

/* ---- Commands ---- */

static void obey(const char *line) {
    uint64_t a = 0, b = 0, c = 0;
    char word[16] = "";
    sscanf(line, "%15s %lu %lu %lu", word, &a, &b, &c);
    if (!strcmp(word, "connect")) {
        if (opened + a > MOST) { fprintf(stderr, "load: at most %d connections\n", MOST); exit(1); }
        to_open = a;
        at_once = b;
        rooms = c;
        begun_at = now_ns();
        connect_wanted = true;
        open_more();
    } else if (!strcmp(word, "close")) {
        close_last(a);
    } else if (!strcmp(word, "reset")) {
        messages = bytes = pings = 0;
        sampled = 0;
        for (int i = 0; i < opened; i++) clients[i].messages = 0;
        say("{\"reset\": true}");
    } else if (!strcmp(word, "await")) {
        most_wanted = a;
        quiet_ns = b * 1000000ll;
        last_at = now_ns();
        if (messages >= most_wanted) say_stats();
    } else if (!strcmp(word, "stats")) {
        say_stats();
    } else if (!strcmp(word, "ask")) {
        ask(a, b);
    } else if (!strcmp(word, "stall")) {
        stall(a, b);
    } else if (!strcmp(word, "resume")) {
        resume();
    } else {
        fprintf(stderr, "load: unknown command: %s\n", line);
        exit(1);
    }
}

static void read_commands(void) {
    static char line[256];
    static size_t size;
    ssize_t got = read(0, line + size, sizeof line - 1 - size);
    if (got <= 0) exit(0);
    size += got;
    line[size] = 0;
    for (char *end; (end = strchr(line, '\n'));) {
        *end = 0;
        obey(line);
        size -= end + 1 - line;
        memmove(line, end + 1, size + 1);
    }
}

static void read_arguments(int count, char **arguments) {
    if (count < 2) { fprintf(stderr, "usage: load PORT [plain] [monotonic] [stamp=K] [tabs]\n"); exit(2); }
    port = atoi(arguments[1]);
    for (int i = 2; i < count; i++) {
        if (!strcmp(arguments[i], "plain")) plain = true;
        else if (!strcmp(arguments[i], "tabs")) tabs = true;
        else if (!strcmp(arguments[i], "monotonic")) clock_of_stamps = CLOCK_MONOTONIC;
        else if (!strncmp(arguments[i], "stamp=", 6)) stamp_index = atoi(arguments[i] + 6);
    }
}

static void start_handshake(client *c, uint64_t number) {
    int error;
    socklen_t size = sizeof error;
    getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error) {
        errno = error;
        fail("connect");
    }
    watch(c->fd, EPOLLIN, number, EPOLL_CTL_MOD);
    upgrade(c);
}

int main(int count_of_arguments, char **arguments) {
    const uint64_t commands = UINT64_MAX;
    struct epoll_event events[512];
    int64_t next_pong = 0;
    read_arguments(count_of_arguments, arguments);
    poller = epoll_create1(0);
    watch(0, EPOLLIN, commands, EPOLL_CTL_ADD);
    for (;;) {
        int arrived = epoll_wait(poller, events, 512, most_wanted || pongs ? 50 : -1);
        for (int i = 0; i < arrived; i++) {
            if (events[i].data.u64 == commands) { read_commands(); continue; }
            client *c = &clients[events[i].data.u64];
            if (c->state == CLOSED) continue;
            if (c->state == CONNECTING) start_handshake(c, events[i].data.u64);
            else read_some(c);
        }
        if (pongs && now_ns() > next_pong) {
            send_pongs();
            next_pong = now_ns() + PONG_MS * 1000000ll;
        }
        if (most_wanted && !answers_wanted && now_ns() - last_at > quiet_ns) say_stats();
    }
}
