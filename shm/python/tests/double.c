/* A libnacelle that answers by itself, without a sidecar: for the tests of the Python binding.
 *
 * It tests how arguments arrive and how results and errors come back, nothing else; what a real
 * sidecar answers is tested in test_sidecar.py. Every name here is a service:
 *
 *   "sizes"      embeds to {bytes of the text, its first byte, its index}, classifies by length
 *   "embeds"     the same, without labels;  "labels": the same, without embeddings
 *   "status:N"   every embed and classify returns the nacelle_status N
 *   "item:N"     the last text has the status N
 *   "wide"       the same as "sizes" with 16 floats
 *   "ranks"      reranks by {bytes of the document + bytes of the query}, and does nothing else
 *   "blocks"     a call waits until double_release()
 *   "grows"      after its first call it is another model with one float more per row
 *   "restless"   it is another model after every call
 *   "gone:N"     the first N calls that nobody waits for end with SIDECAR_GONE
 *   "later:N"    a call that nobody waits for ends with the nacelle_status N, at the second look
 *   "full:N"     the first N calls that nobody waits for are refused on this side: all slots in use
 *
 * A stream of pings of 13 us between pieces breaks off after two.
 */
#define _GNU_SOURCE /* pipe2 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "nacelle.h"

#ifndef DOUBLE_VERSION
#define DOUBLE_VERSION "0.1.0"
#endif

enum { kWidth = 3, kLabels = 3, kTokensMax = 16, kReleaseWaitSeconds = 20, kKnownMax = 32 };

struct nacelle_client {
  unsigned generation;       /* of the models: "grows" and "restless" raise it */
  unsigned refused;          /* calls of "gone:N" and "full:N" so far */
  char known[kKnownMax][32]; /* services that were described */
};

enum Kind { kEmbeds, kClassifies, kReranks };

struct nacelle_pending {
  nacelle_client* client;
  char service[32];
  const nacelle_text* texts;
  size_t count, capacity;
  size_t query_size; /* of a rerank */
  uint32_t dtype;
  float* rows;
  nacelle_item* items;
  enum Kind kind;
  int releases_before, looks;
};

struct nacelle_stream {
  uint32_t pieces, piece_size, interval_us, next;
  unsigned char* piece;
};

static _Thread_local char error_text[256] = "no error";
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static int open_clients, open_pendings, open_streams, blocked_calls, releases;
static int pipe_ends[2] = {-1, -1}; /* readable when calls that nobody waits for were released */
/* What the last connect and the last call were given. */
static uint32_t last_connect_timeout_ms, last_timeout_ms;
static uint32_t last_interval_us;
static char last_call[256];
static char last_socket[256], last_name[256];

static nacelle_status fail(nacelle_status status, const char* text) {
  snprintf(error_text, sizeof error_text, "%s", text);
  return status;
}

/* Remembers what a call was given, in words. */
static void remember(const nacelle_call* call) {
  last_timeout_ms = call ? call->timeout_ms : 0;
  snprintf(last_call, sizeof last_call, "none");
  if (call == NULL) return;
  snprintf(last_call, sizeof last_call,
           "dtype %u dimensions %u normalize %u function %u long_input %u cache %u prompt %s name "
           "%s",
           call->dtype, call->dimensions, call->normalize, call->function, call->long_input,
           call->cache, call->prompt ? call->prompt : "NULL", call->prompt_name ? call->prompt_name : "NULL");
}

static nacelle_status wake_loops(void) {
  if (write(pipe_ends[1], "", 1) != 1) abort();
  return NACELLE_OK;
}

static void drain_pipe(void) {
  char bytes[64];
  while (read(pipe_ends[0], bytes, sizeof bytes) > 0) {
  }
}

static struct timespec in_a_while(void) {
  struct timespec until;
  clock_gettime(CLOCK_REALTIME, &until);
  until.tv_sec += kReleaseWaitSeconds;
  return until;
}

static int locked_count(const int* count) {
  pthread_mutex_lock(&mutex);
  const int now = *count;
  pthread_mutex_unlock(&mutex);
  return now;
}

static void add(int* count, int difference) {
  pthread_mutex_lock(&mutex);
  *count += difference;
  pthread_cond_broadcast(&changed);
  pthread_mutex_unlock(&mutex);
}

NACELLE_API int double_open_clients(void) { return locked_count(&open_clients); }
NACELLE_API int double_open_pendings(void) { return locked_count(&open_pendings); }
NACELLE_API int double_open_streams(void) { return locked_count(&open_streams); }

/* Waits until no stream is open: threads free them. 0 when that does not happen. */
NACELLE_API int double_wait_no_streams(void) {
  const struct timespec until = in_a_while();
  pthread_mutex_lock(&mutex);
  int error = 0;
  while (open_streams > 0 && error == 0) error = pthread_cond_timedwait(&changed, &mutex, &until);
  pthread_mutex_unlock(&mutex);
  return error == 0;
}

/* Waits until `count` calls are blocked; 0 when that does not happen. */
NACELLE_API int double_wait_blocked(int count) {
  const struct timespec until = in_a_while();
  pthread_mutex_lock(&mutex);
  int error = 0;
  while (blocked_calls < count && error == 0) {
    error = pthread_cond_timedwait(&changed, &mutex, &until);
  }
  pthread_mutex_unlock(&mutex);
  return error == 0;
}

/* Lets every blocked call go on. */
NACELLE_API void double_release(void) {
  pthread_mutex_lock(&mutex);
  ++releases;
  pthread_cond_broadcast(&changed);
  if (pipe_ends[1] >= 0) wake_loops();
  pthread_mutex_unlock(&mutex);
}

NACELLE_API uint32_t double_connect_timeout_ms(void) { return last_connect_timeout_ms; }
NACELLE_API uint32_t double_timeout_ms(void) { return last_timeout_ms; }
NACELLE_API const char* double_call(void) { return last_call; }
NACELLE_API uint32_t double_interval_us(void) { return last_interval_us; }
NACELLE_API const char* double_socket(void) { return last_socket; }
NACELLE_API const char* double_name(void) { return last_name; }

/* One line per struct ("struct size") and per field ("struct.field offset size"). */
#define STRUCT(s) #s, sizeof(s), (size_t)0
#define FIELD(s, f) #s "." #f, offsetof(s, f), sizeof(((s*)0)->f)
static const struct {
  const char* name;
  size_t first;
  size_t second;
} kLayout[] = {
    {STRUCT(nacelle_options)},
    {FIELD(nacelle_options, size)},
    {FIELD(nacelle_options, connect_timeout_ms)},
    {FIELD(nacelle_options, socket)},
    {FIELD(nacelle_options, name)},
    {STRUCT(nacelle_text)},
    {FIELD(nacelle_text, data)},
    {FIELD(nacelle_text, size)},
    {STRUCT(nacelle_call)},
    {FIELD(nacelle_call, size)},
    {FIELD(nacelle_call, timeout_ms)},
    {FIELD(nacelle_call, trace)},
    {FIELD(nacelle_call, dtype)},
    {FIELD(nacelle_call, dimensions)},
    {FIELD(nacelle_call, normalize)},
    {FIELD(nacelle_call, function)},
    {FIELD(nacelle_call, long_input)},
    {FIELD(nacelle_call, cache)},
    {FIELD(nacelle_call, prompt)},
    {FIELD(nacelle_call, prompt_name)},
    {STRUCT(nacelle_item)},
    {FIELD(nacelle_item, status)},
    {FIELD(nacelle_item, truncated)},
    {FIELD(nacelle_item, tokens)},
    {FIELD(nacelle_item, detail)},
    {FIELD(nacelle_item, tokens_total)},
    {STRUCT(nacelle_report)},
    {FIELD(nacelle_report, size)},
    {FIELD(nacelle_report, items_failed)},
    {FIELD(nacelle_report, queue_us)},
    {FIELD(nacelle_report, compute_us)},
    {FIELD(nacelle_report, batch_texts)},
    {FIELD(nacelle_report, batch_clients)},
    {FIELD(nacelle_report, retry_after_us)},
    {FIELD(nacelle_report, items_cached)},
    {STRUCT(nacelle_description)},
    {FIELD(nacelle_description, size)},
    {FIELD(nacelle_description, embed_width)},
    {FIELD(nacelle_description, labels)},
    {FIELD(nacelle_description, tokens_max)},
    {FIELD(nacelle_description, multi_label)},
    {FIELD(nacelle_description, digest)},
    {FIELD(nacelle_description, architecture)},
    {FIELD(nacelle_description, reranks)},
    {FIELD(nacelle_description, long_input)},
    {FIELD(nacelle_description, windows_max)},
    {FIELD(nacelle_description, prompts)},
};

/* Line number `index` of the layout, or 0 after the last. */
NACELLE_API int double_layout(size_t index, const char** name, size_t* first, size_t* second) {
  if (index >= sizeof kLayout / sizeof kLayout[0]) return 0;
  *name = kLayout[index].name;
  *first = kLayout[index].first;
  *second = kLayout[index].second;
  return 1;
}

nacelle_status nacelle_connect(const nacelle_options* options, nacelle_client** client) {
  last_connect_timeout_ms = options->connect_timeout_ms;
  snprintf(last_socket, sizeof last_socket, "%s", options->socket ? options->socket : "(null)");
  snprintf(last_name, sizeof last_name, "%s", options->name ? options->name : "(null)");
  if (strcmp(last_socket, "nobody") == 0) return fail(NACELLE_UNAVAILABLE, "nobody is there");
  *client = calloc(1, sizeof(nacelle_client));
  add(&open_clients, 1);
  return NACELLE_OK;
}

void nacelle_close(nacelle_client* client) {
  if (client == NULL) return;
  free(client);
  add(&open_clients, -1);
}

static uint32_t extra_floats(const nacelle_client* client, const char* service) {
  if (strcmp(service, "wide") == 0) return 13;
  return strcmp(service, "grows") == 0 && client->generation > 0 ? 1 : 0;
}

/* Whether the service was described; learn: it is now. */
static int is_known(nacelle_client* client, const char* service, int learn) {
  for (int i = 0; i < kKnownMax; ++i) {
    if (strcmp(client->known[i], service) == 0) return 1;
    if (client->known[i][0] != '\0') continue;
    if (learn) snprintf(client->known[i], sizeof client->known[i], "%s", service);
    return learn;
  }
  return 0;
}

static nacelle_status fill_description(const nacelle_client* client, const char* service,
                                       nacelle_description* description) {
  if (description->size != sizeof *description) return fail(NACELLE_INTERNAL, "size not set");
  const int ranks = strcmp(service, "ranks") == 0;
  description->embed_width =
      ranks || strcmp(service, "labels") == 0 ? 0 : kWidth + extra_floats(client, service);
  description->labels = ranks || strcmp(service, "embeds") == 0 ? 0 : kLabels;
  description->reranks = (uint32_t)ranks;
  description->long_input = NACELLE_CHUNK_MEAN;
  description->windows_max = 7;
  description->prompts = 2;
  description->tokens_max = kTokensMax;
  description->multi_label = 0;
  snprintf(description->digest, sizeof description->digest, "%064x", client->generation);
  snprintf(description->architecture, sizeof description->architecture, "double");
  return NACELLE_OK;
}

nacelle_status nacelle_describe(nacelle_client* client, const char* service,
                                nacelle_description* description) {
  if (strcmp(service, "nothing") == 0) return fail(NACELLE_NOT_FOUND, "no service \"nothing\"");
  is_known(client, service, 1);
  return fill_description(client, service, description);
}

nacelle_status nacelle_recall(nacelle_client* client, const char* service,
                              nacelle_description* description) {
  (void)client, (void)service, (void)description;
  return fail(NACELLE_NOT_FOUND, "the double keeps no cache");
}

nacelle_status nacelle_label(nacelle_client* client, const char* service, uint32_t index,
                             char* text, size_t capacity, size_t* needed) {
  (void)client, (void)service;
  char label[400] = "\xea\xb8\x8d\xec\xa0\x95"; /* two Hangul syllables */
  if (index == 1) snprintf(label, sizeof label, "short");
  if (index == 2) memset(label, 'x', 300), label[300] = '\0';
  *needed = strlen(label);
  snprintf(text, capacity, "%s", label);
  return NACELLE_OK;
}

nacelle_status nacelle_prompt(nacelle_client* client, const char* service, uint32_t index,
                              char* text, size_t capacity, size_t* needed) {
  (void)client, (void)service;
  *needed = (size_t)snprintf(text, capacity, "prompt %u", index);
  return NACELLE_OK;
}

/* The offset of the first encoded surrogate, the one kind of bad UTF-8 that comes from a str. */
static size_t find_surrogate(nacelle_text text) {
  for (size_t i = 0; i + 1 < text.size; ++i) {
    if ((unsigned char)text.data[i] == 0xED && (unsigned char)text.data[i + 1] >= 0xA0) return i;
  }
  return text.size;
}

static nacelle_status block(void) {
  const struct timespec until = in_a_while();
  pthread_mutex_lock(&mutex);
  const int before = releases;
  ++blocked_calls;
  pthread_cond_broadcast(&changed);
  int error = 0;
  while (releases == before && error == 0) {
    error = pthread_cond_timedwait(&changed, &mutex, &until);
  }
  --blocked_calls;
  pthread_mutex_unlock(&mutex);
  return error == 0 ? NACELLE_OK : fail(NACELLE_DEADLINE_EXCEEDED, "nobody released the call");
}

/* For the services whose model changes. */
static int change_model(nacelle_client* client, const char* service) {
  const int changes =
      strcmp(service, "restless") == 0 || (strcmp(service, "grows") == 0 && !client->generation);
  client->generation += (unsigned)changes;
  return changes;
}

/* What a call asks for: the bytes of its query, and what its rows are. */
typedef struct Wanted {
  enum Kind kind;
  size_t query_size;
  uint32_t dtype;
} Wanted;

static nacelle_status answer(const char* service, Wanted wanted, const nacelle_text* texts,
                             size_t count, float* rows, size_t width, nacelle_item* items,
                             nacelle_report* report) {
  static const size_t kSizes[] = {4, 2, 1, 1, 1};
  unsigned number;
  if (sscanf(service, "status:%u", &number) == 1) {
    report->retry_after_us = 2500;
    return fail((nacelle_status)number, "as the test wanted");
  }
  for (size_t i = 0; i < count; ++i) {
    const size_t bad = find_surrogate(texts[i]);
    memset(&items[i], 0, sizeof items[i]);
    char* row = (char*)rows + i * width * kSizes[wanted.dtype];
    memset(row, 0, width * kSizes[wanted.dtype]);
    items[i].tokens = (uint32_t)texts[i].size;
    items[i].tokens_total = (uint32_t)texts[i].size;
    items[i].detail = 1;
    if (items[i].tokens > kTokensMax) {
      items[i].tokens = kTokensMax;
      items[i].truncated = 1;
    }
    if (sscanf(service, "item:%u", &number) == 1 && i + 1 == count) {
      items[i].status = (uint16_t)number;
      items[i].detail = kTokensMax;
      items[i].truncated = 2;
    }
    if (bad < texts[i].size) {
      items[i].status = NACELLE_INVALID;
      items[i].detail = (uint32_t)bad;
    }
    report->items_failed += items[i].status != NACELLE_OK;
    if (items[i].status != NACELLE_OK) continue;
    if (wanted.dtype != NACELLE_FLOAT32) {
      memset(row, (int)i + 1, width * kSizes[wanted.dtype]);
      continue;
    }
    if (wanted.kind == kReranks) {
      rows[i] = (float)(texts[i].size + wanted.query_size);
      continue;
    }
    rows[i * width] = (float)texts[i].size;
    rows[i * width + 1] = texts[i].size ? (float)(unsigned char)texts[i].data[0] : 0.0F;
    rows[i * width + 2] = (float)i;
  }
  report->queue_us = 11;
  report->compute_us = 22;
  report->batch_texts = 33;
  report->batch_clients = 2;
  return NACELLE_OK;
}

static uint32_t dtype_of(const nacelle_call* call) { return call ? call->dtype : 0; }

static nacelle_status run(nacelle_client* client, const char* service, Wanted wanted,
                          const nacelle_text* texts, size_t count, const nacelle_call* call,
                          float* rows, size_t capacity, size_t width, nacelle_item* items,
                          nacelle_report* report) {
  remember(call);
  if (call && call->dimensions) width = call->dimensions;
  if (wanted.dtype >= NACELLE_BINARY) width /= 8;
  if (count == 0) return fail(NACELLE_INTERNAL, "no texts arrived");
  if (report->size != sizeof *report) return fail(NACELLE_INTERNAL, "size not set");
  if (change_model(client, service)) width += extra_floats(client, service);
  if (capacity < count * width) return fail(NACELLE_INVALID, "the output is too small");
  if (strcmp(service, "blocks") == 0) {
    const nacelle_status status = block();
    if (status != NACELLE_OK) return status;
  }
  return answer(service, wanted, texts, count, rows, width, items, report);
}

nacelle_status nacelle_embed(nacelle_client* client, const char* service, const nacelle_text* texts,
                             size_t count, const nacelle_call* call, void* vectors, size_t capacity,
                             nacelle_item* items, nacelle_report* report) {
  const Wanted wanted = {kEmbeds, 0, dtype_of(call)};
  return run(client, service, wanted, texts, count, call, vectors, capacity,
             kWidth + extra_floats(client, service), items, report);
}

nacelle_status nacelle_rerank(nacelle_client* client, const char* service,
                              const nacelle_text* query, const nacelle_text* documents,
                              size_t count, const nacelle_call* call, float* scores,
                              size_t capacity, nacelle_item* items, nacelle_report* report) {
  const Wanted wanted = {kReranks, query->size, 0};
  return run(client, service, wanted, documents, count, call, scores, capacity, 1, items, report);
}

size_t nacelle_best(const float* scores, size_t count, uint32_t* best, size_t top) {
  (void)scores, (void)count, (void)best, (void)top;
  return 0; /* the package sorts by itself */
}

/* Labels by length, where the text is good. */
static void score(const nacelle_text* texts, size_t count, float* scores,
                  const nacelle_item* items) {
  for (size_t i = 0; i < count; ++i) {
    if (items[i].status != NACELLE_OK) continue;
    const int is_long = texts[i].size > kTokensMax;
    scores[i * kLabels] = 0.25F;
    scores[i * kLabels + 1] = is_long ? 0.125F : 0.625F;
    scores[i * kLabels + 2] = is_long ? 0.625F : 0.125F;
  }
}

nacelle_status nacelle_classify(nacelle_client* client, const char* service,
                                const nacelle_text* texts, size_t count, const nacelle_call* call,
                                float* scores, size_t capacity, nacelle_item* items,
                                nacelle_report* report) {
  const Wanted wanted = {kClassifies, 0, 0};
  const nacelle_status status =
      run(client, service, wanted, texts, count, call, scores, capacity, kLabels, items, report);
  if (status == NACELLE_OK) score(texts, count, scores, items);
  return status;
}

static nacelle_status start(Wanted wanted, nacelle_client* client, const char* service,
                            const nacelle_text* texts, size_t count, const nacelle_call* call,
                            float* rows, size_t capacity, nacelle_item* items,
                            nacelle_description* description, nacelle_pending** pending) {
  remember(call);
  if (!is_known(client, service, 0)) return fail(NACELLE_NOT_FOUND, "not described yet");
  change_model(client, service);
  size_t width = wanted.kind == kClassifies ? kLabels
                 : wanted.kind == kReranks  ? 1
                                            : kWidth + extra_floats(client, service);
  if (call && call->dimensions) width = call->dimensions;
  if (wanted.dtype >= NACELLE_BINARY) width /= 8;
  if (count == 0 || capacity != count * width) return fail(NACELLE_INVALID, "another size");
  const nacelle_status status = fill_description(client, service, description);
  if (status != NACELLE_OK) return status;
  pthread_mutex_lock(&mutex);
  if (pipe_ends[0] < 0 && pipe2(pipe_ends, O_NONBLOCK | O_CLOEXEC) != 0) abort();
  const int before = releases;
  pthread_mutex_unlock(&mutex);
  *pending = malloc(sizeof **pending);
  **pending = (nacelle_pending){.client = client,
                                .texts = texts,
                                .count = count,
                                .capacity = capacity,
                                .query_size = wanted.query_size,
                                .dtype = wanted.dtype,
                                .rows = rows,
                                .items = items,
                                .kind = wanted.kind,
                                .releases_before = before};
  snprintf((*pending)->service, sizeof(*pending)->service, "%s", service);
  add(&open_pendings, 1);
  return NACELLE_OK;
}

nacelle_status nacelle_start_embed(nacelle_client* client, const char* service,
                                   const nacelle_text* texts, size_t count,
                                   const nacelle_call* call, void* vectors, size_t capacity,
                                   nacelle_item* items, nacelle_description* description,
                                   nacelle_pending** pending) {
  const Wanted wanted = {kEmbeds, 0, dtype_of(call)};
  return start(wanted, client, service, texts, count, call, vectors, capacity, items, description,
               pending);
}

nacelle_status nacelle_start_rerank(nacelle_client* client, const char* service,
                                    const nacelle_text* query, const nacelle_text* documents,
                                    size_t count, const nacelle_call* call, float* scores,
                                    size_t capacity, nacelle_item* items,
                                    nacelle_description* description, nacelle_pending** pending) {
  const Wanted wanted = {kReranks, query->size, 0};
  return start(wanted, client, service, documents, count, call, scores, capacity, items,
               description, pending);
}

nacelle_status nacelle_start_classify(nacelle_client* client, const char* service,
                                      const nacelle_text* texts, size_t count,
                                      const nacelle_call* call, float* scores, size_t capacity,
                                      nacelle_item* items, nacelle_description* description,
                                      nacelle_pending** pending) {
  const Wanted wanted = {kClassifies, 0, 0};
  return start(wanted, client, service, texts, count, call, scores, capacity, items, description,
               pending);
}

nacelle_status nacelle_pending_advance(nacelle_pending* pending, int* done,
                                       nacelle_report* report) {
  unsigned number;
  *done = 0;
  pending->looks += 1;
  if (sscanf(pending->service, "later:%u", &number) == 1) {
    if (pending->looks == 1) return wake_loops();
    drain_pipe();
    report->retry_after_us = 2500;
    return fail((nacelle_status)number, "as the test wanted");
  }
  if (strcmp(pending->service, "blocks") == 0) {
    if (locked_count(&releases) == pending->releases_before) return NACELLE_OK;
    drain_pipe();
  }
  if (sscanf(pending->service, "gone:%u", &number) == 1 && pending->client->refused < number) {
    ++pending->client->refused;
    return fail(NACELLE_SIDECAR_GONE, "it went away");
  }
  if (sscanf(pending->service, "full:%u", &number) == 1 && pending->client->refused < number) {
    ++pending->client->refused;
    return fail(NACELLE_BUSY, "all slots of this connection are in use");
  }
  const Wanted wanted = {pending->kind, pending->query_size, pending->dtype};
  const nacelle_status status =
      answer(pending->service, wanted, pending->texts, pending->count, pending->rows,
             pending->capacity / pending->count, pending->items, report);
  if (status != NACELLE_OK) return status;
  if (pending->kind == kClassifies)
    score(pending->texts, pending->count, pending->rows, pending->items);
  *done = 1;
  return NACELLE_OK;
}

int nacelle_pending_fd(const nacelle_pending* pending) {
  (void)pending;
  return pipe_ends[0];
}

void nacelle_pending_free(nacelle_pending* pending) {
  if (pending == NULL) return;
  free(pending);
  add(&open_pendings, -1);
}

nacelle_status nacelle_ping_stream(nacelle_client* client, uint32_t pieces, uint32_t piece_size,
                                   uint32_t interval_us, const nacelle_call* call,
                                   nacelle_stream** stream) {
  (void)client;
  remember(call);
  last_interval_us = interval_us;
  if (piece_size > (1U << 20)) return fail(NACELLE_TOO_LARGE, "a piece has at most 1 MiB");
  *stream = malloc(sizeof **stream);
  **stream = (nacelle_stream){pieces, piece_size, interval_us, 0, malloc(piece_size + 1)};
  add(&open_streams, 1);
  return NACELLE_OK;
}

nacelle_status nacelle_stream_next(nacelle_stream* stream, const void** data, size_t* size) {
  *data = NULL;
  *size = 0;
  if (stream->interval_us == 13 && stream->next == 2) return fail(NACELLE_SIDECAR_GONE, "broken");
  if (stream->next == stream->pieces) return NACELLE_OK;
  for (uint32_t j = 0; j < stream->piece_size; ++j) {
    stream->piece[j] = (unsigned char)(stream->next + j);
  }
  stream->next += 1;
  *data = stream->piece;
  *size = stream->piece_size;
  return NACELLE_OK;
}

void nacelle_stream_free(nacelle_stream* stream) {
  if (stream == NULL) return;
  free(stream->piece);
  free(stream);
  add(&open_streams, -1);
}

/* Turns the bytes around, so that a test sees that they were here. */
nacelle_status nacelle_ping(nacelle_client* client, void* data, size_t size) {
  (void)client;
  if (size > (1U << 20)) return fail(NACELLE_TOO_LARGE, "a ping has at most 1 MiB");
  unsigned char* bytes = data;
  for (size_t i = 0; i < size / 2; ++i) {
    const unsigned char byte = bytes[i];
    bytes[i] = bytes[size - 1 - i];
    bytes[size - 1 - i] = byte;
  }
  return NACELLE_OK;
}

const char* nacelle_error(void) { return error_text; }
const char* nacelle_status_name(nacelle_status status) {
  (void)status;
  return "unnamed";
}
const char* nacelle_version(void) { return DOUBLE_VERSION; }
