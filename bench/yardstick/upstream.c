/* The canned upstream of the yardstick: HTTP/1.1 on loopback, one thread, answers that were prepared as files.
 *
 *   upstream PORT FOLDER      FOLDER holds native.* and openai.*: whole, head, event, end, burst
 *
 * A path with /chat/completions is answered in OpenAI's shape, any other in Cloudflare's. A body that asks for a
 * stream gets all events in one write, or, if "paced" stands anywhere in the request, one every 10 ms. Ends with its
 * parent.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

enum { PACE_MS = 10, PACED_EVENTS = 50, MOST_REQUEST = 1 << 17, BATCH = 512 };

typedef struct { char *data; size_t size; } Bytes;
typedef struct { Bytes whole, head, event, end, burst; } Wire;

typedef struct Connection {
  int socket, events_left;
  const Wire *wire;
  const char *unsent;
  size_t unsent_size, received;
  struct Connection *next, **link; /* among the streams of the same millisecond */
  char request[MOST_REQUEST + 1];
} Connection;

static int poller, ticker, streams;
static Wire native, openai;
static Connection *due[PACE_MS]; /* streams by the millisecond in which they go on */
static uint64_t clock_ms;
static Connection *closed; /* freed once nothing in the batch can mean them any more */

static Bytes load(const char *folder, const char *shape, const char *part) {
  char path[4096];
  snprintf(path, sizeof path, "%s/%s.%s", folder, shape, part);
  FILE *file = fopen(path, "rb");
  if (!file) { perror(path); exit(1); }
  fseek(file, 0, SEEK_END);
  Bytes bytes = {0, (size_t)ftell(file)};
  rewind(file);
  bytes.data = malloc(bytes.size);
  if (!bytes.data || fread(bytes.data, 1, bytes.size, file) != bytes.size) { perror(path); exit(1); }
  fclose(file);
  return bytes;
}

static Wire load_wire(const char *folder, const char *shape) {
  return (Wire){load(folder, shape, "whole"), load(folder, shape, "head"), load(folder, shape, "event"),
                load(folder, shape, "end"), load(folder, shape, "burst")};
}

static void watch(Connection *c, int operation, uint32_t events) {
  struct epoll_event event = {.events = events, .data = {.ptr = c}};
  epoll_ctl(poller, operation, c->socket, &event);
}

static void set_ticker(int on) {
  struct itimerspec every = {{0, on ? 1000000 : 0}, {0, on ? 1000000 : 0}};
  timerfd_settime(ticker, 0, &every, 0);
}

static void park(Connection *c) {
  Connection **slot = &due[clock_ms % PACE_MS];
  c->next = *slot;
  c->link = slot;
  if (c->next) c->next->link = &c->next;
  *slot = c;
  if (streams++ == 0) set_ticker(1);
}

static void unpark(Connection *c) {
  if (!c->link) return;
  *c->link = c->next;
  if (c->next) c->next->link = c->link;
  c->link = NULL;
  if (--streams == 0) set_ticker(0);
}

static void hang_up(Connection *c) {
  if (c->socket < 0) return;
  unpark(c);
  close(c->socket);
  c->socket = -1;
  c->next = closed;
  closed = c;
}

static void push(Connection *c) {
  while (c->unsent_size) {
    ssize_t sent = send(c->socket, c->unsent, c->unsent_size, MSG_NOSIGNAL);
    if (sent < 0) {
      if (errno == EAGAIN) watch(c, EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT);
      else hang_up(c);
      return;
    }
    c->unsent += sent;
    c->unsent_size -= (size_t)sent;
  }
}

static void say(Connection *c, Bytes bytes) {
  c->unsent = bytes.data;
  c->unsent_size = bytes.size;
  push(c);
}

static int is_whole(Connection *c) {
  char *end = strstr(c->request, "\r\n\r\n");
  if (!end) return 0;
  size_t head = (size_t)(end + 4 - c->request);
  char *length = strcasestr(c->request, "\ncontent-length:");
  if (length && length < end) return c->received >= head + strtoul(length + 16, NULL, 10);
  char *coding = strcasestr(c->request, "\ntransfer-encoding: chunked");
  return !(coding && coding < end) || (c->received >= head + 5 && !memcmp(c->request + c->received - 5, "0\r\n\r\n", 5));
}

static void answer(Connection *c) {
  c->wire = strstr(c->request, "/chat/completions") ? &openai : &native;
  int is_stream = strstr(c->request, "\"stream\":true") || strstr(c->request, "\"stream\": true");
  int is_paced = strstr(c->request, "paced") != NULL;
  c->received = 0;
  if (!is_stream) say(c, c->wire->whole);
  else if (!is_paced) say(c, c->wire->burst);
  else {
    say(c, c->wire->head);
    if (c->socket >= 0) say(c, c->wire->event);
    if (c->socket >= 0) { c->events_left = PACED_EVENTS - 1; park(c); }
  }
}

static void go_on(Connection *c) {
  if (c->unsent_size) return; /* the other side is slow: it gets this event a turn later */
  if (c->events_left-- > 0) say(c, c->wire->event);
  else { unpark(c); say(c, c->wire->end); }
}

static void tick(void) {
  uint64_t passed;
  if (read(ticker, &passed, sizeof passed) != sizeof passed) return;
  while (passed--) {
    clock_ms++;
    for (Connection *c = due[clock_ms % PACE_MS], *next; c; c = next) { next = c->next; go_on(c); }
  }
}

static void welcome(int listener) {
  int socket = accept4(listener, NULL, NULL, SOCK_NONBLOCK), yes = 1;
  if (socket < 0) return;
  Connection *c = calloc(1, sizeof *c);
  if (!c) { close(socket); return; }
  setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
  c->socket = socket;
  watch(c, EPOLL_CTL_ADD, EPOLLIN);
}

static void receive(Connection *c) {
  ssize_t size = recv(c->socket, c->request + c->received, MOST_REQUEST - c->received, 0);
  if (size < 0 && errno == EAGAIN) return;
  if (size <= 0) { hang_up(c); return; }
  c->received += (size_t)size;
  c->request[c->received] = 0;
  if (is_whole(c)) answer(c);
}

static int listen_on(const char *port) {
  int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), yes = 1;
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port)),
                                .sin_addr = {htonl(INADDR_LOOPBACK)}};
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 1024)) { perror("listen"); exit(1); }
  return listener;
}

int main(int count, char **arguments) {
  if (count != 3) { fprintf(stderr, "upstream PORT FOLDER\n"); return 2; }
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  native = load_wire(arguments[2], "native");
  openai = load_wire(arguments[2], "openai");
  int listener = listen_on(arguments[1]);
  ticker = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
  poller = epoll_create1(0);
  struct epoll_event listening = {.events = EPOLLIN, .data = {.ptr = &listener}};
  struct epoll_event ticking = {.events = EPOLLIN, .data = {.ptr = &ticker}};
  epoll_ctl(poller, EPOLL_CTL_ADD, listener, &listening);
  epoll_ctl(poller, EPOLL_CTL_ADD, ticker, &ticking);
  static struct epoll_event batch[BATCH];
  for (;;) {
    int found = epoll_wait(poller, batch, BATCH, -1);
    for (int i = 0; i < found; i++) {
      void *who = batch[i].data.ptr;
      Connection *c = who;
      if (who == &listener) welcome(listener);
      else if (who == &ticker) tick();
      else if (c->socket >= 0) {
        if (batch[i].events & EPOLLOUT) {
          push(c);
          if (c->socket >= 0 && !c->unsent_size) watch(c, EPOLL_CTL_MOD, EPOLLIN);
        }
        if (c->socket >= 0 && batch[i].events & ~(uint32_t)EPOLLOUT) receive(c);
      }
    }
    while (closed) { Connection *c = closed; closed = c->next; free(c); }
  }
}
