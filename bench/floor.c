/*
 * The C loop: a server that only calls send() once for each socket. No server can push with less CPU time.
 *
 *     floor MESSAGE_FILE
 *
 * The server accepts websockets and reads nothing from them after the handshake. It supports the command
 * `push ROUNDS GAP_MS`, which control.py describes.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MOST = 20000, LARGEST = 65535 };

static int sockets[MOST], count;
static uint8_t frame[LARGEST + 4];
static size_t size;
static char *stamp;

static void fail(const char *what) {
    perror(what);
    exit(1);
}

/* Create the websocket frame of an `envs` event. The file contains the event's payload. */
static void make_frame(const char *path) {
    char *text = (char *)frame + 4;
    FILE *file = fopen(path, "r");
    if (!file) fail(path);
    size_t length = sprintf(text, "42[\"envs\",");
    length += fread(text + length, 1, LARGEST - length - 1, file);
    fclose(file);
    text[length++] = ']';
    text[length] = 0;
    stamp = strstr(text, "\"time\":\"");
    if (!stamp) fail("no time in the message");
    stamp += strlen("\"time\":\"");
    frame[0] = 0x81;
    frame[1] = 126;
    frame[2] = length >> 8;
    frame[3] = length & 255;
    size = length + 4;
}

/* Write the time of the monotonic clock into the frame, as a date since 1970-01-01. */
static void set_stamp(void) {
    char text[40];
    struct timespec now;
    struct tm date;
    clock_gettime(CLOCK_MONOTONIC, &now);
    gmtime_r(&now.tv_sec, &date);
    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &date);
    sprintf(text + 19, ".%06ld", now.tv_nsec / 1000);
    memcpy(stamp, text, 26);
}

static int listen_somewhere(void) {
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof here;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    if (listener < 0 || bind(listener, (void *)&here, sizeof here) || listen(listener, 4096)) fail("listen");
    getsockname(listener, (void *)&here, &length);
    printf("{\"port\": %d}\n", ntohs(here.sin_port));
    fflush(stdout);
    return listener;
}

static void accept_client(int listener) {
    /* The load generator always sends the same key, the example of RFC 6455, section 1.3. This is the answer to it. */
    static const char answer[] = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                                 "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    char request[4096];
    size_t length = 0;
    int socket = accept(listener, NULL, NULL);
    if (socket < 0) fail("accept");
    do {
        ssize_t got = read(socket, request + length, sizeof request - 1 - length);
        if (got <= 0) { close(socket); return; }
        length += got;
        request[length] = 0;
    } while (!strstr(request, "\r\n\r\n"));
    if (count == MOST || write(socket, answer, sizeof answer - 1) < 0) fail("accept_client");
    sockets[count++] = socket;
}

static void push(int rounds, int gap_ms) {
    struct timespec gap = {gap_ms / 1000, gap_ms % 1000 * 1000000l};
    for (int round = 0; round < rounds; round++) {
        set_stamp();
        for (int i = 0; i < count; i++) send(sockets[i], frame, size, MSG_NOSIGNAL);
        if (gap_ms) nanosleep(&gap, NULL);
    }
    printf("{\"done\": %d}\n", rounds);
    fflush(stdout);
}

int main(int arguments, char **argument) {
    char line[256];
    if (arguments != 2) return 2;
    make_frame(argument[1]);
    struct pollfd waiting[2] = {{.fd = listen_somewhere(), .events = POLLIN}, {.fd = 0, .events = POLLIN}};
    for (;;) {
        poll(waiting, 2, -1);
        if (waiting[0].revents) accept_client(waiting[0].fd);
        if (waiting[1].revents) {
            int rounds, gap_ms;
            if (!fgets(line, sizeof line, stdin)) return 0;
            if (sscanf(line, "push %d %d", &rounds, &gap_ms) == 2) push(rounds, gap_ms);
        }
    }
}
