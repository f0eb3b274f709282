/* The C interface of libnacelle: ask the Nacelle sidecar beside you for embeddings, labels and
 * ranks.
 *
 *   nacelle_client* client;
 *   if (nacelle_connect(NULL, &client) != NACELLE_OK) die(nacelle_error());
 *   nacelle_text text = {"an example", 10};
 *   float vector[384];
 *   if (nacelle_embed(client, "minilm", &text, 1, NULL, vector, 384, NULL, NULL) != NACELLE_OK) ...
 *   nacelle_close(client);
 *
 * Threads    Any number of threads may use one client at the same time, each with calls of its own.
 *            nacelle_close() must be the last call. Each function says so again for itself. None
 *            may be called from a signal handler.
 * Forks      A client may be made, and used, before a fork(). Each child gets a connection of its
 *            own at its first call, and closes its copy of the client by itself.
 * Ownership  The caller owns every buffer it passes in; nothing is kept after a call returns. What
 *            the library hands out, and for how long, is said with the function.
 * Errors     Functions return a nacelle_status; nacelle_error() then has the reason in words.
 * Versions   A struct that begins with `size` is versioned: set it to sizeof the struct and zero
 *            the rest. Fields are only added, at the end. The library reads and writes no more
 *            than size bytes, takes 0 for what is missing, and ignores what it does not know: a
 *            program and a library of different ages work together. nacelle_text and nacelle_item
 *            stand in arrays, have no size, and never change.
 */
#ifndef NACELLE_H
#define NACELLE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define NACELLE_API __attribute__((visibility("default")))

typedef struct nacelle_client nacelle_client;
typedef struct nacelle_pending nacelle_pending;
typedef struct nacelle_stream nacelle_stream;

/* What a caller can do about it. The numbers never change. */
typedef enum nacelle_status {
  NACELLE_OK = 0,
  NACELLE_INVALID = 1,           /* the input is wrong; sending it again will not help */
  NACELLE_NOT_FOUND = 2,         /* no such service */
  NACELLE_TOO_LARGE = 3,         /* over a limit, which the message names with its option */
  NACELLE_BUSY = 4,              /* no room now; try again, after report.retry_after_us if set */
  NACELLE_DEADLINE_EXCEEDED = 5, /* not answered within timeout_ms */
  NACELLE_CANCELLED = 6,
  NACELLE_SIDECAR_GONE = 7, /* the sidecar stopped and did not come back in time */
  NACELLE_DENIED = 8,       /* this user is not on the sidecar's list */
  NACELLE_VERSION_MISMATCH = 9,
  NACELLE_UNAVAILABLE = 10, /* no sidecar there */
  NACELLE_INTERNAL = 11
} nacelle_status;

typedef struct nacelle_options {
  uint32_t size;               /* sizeof(nacelle_options) */
  uint32_t connect_timeout_ms; /* how long to wait for a sidecar that is starting; 0: 5000 */
  const char* socket;          /* NULL: $NACELLE_SOCKET, else /run/nacelle/nacelle.sock */
  const char* name;            /* shown by nacellectl; NULL: the program's name; <= 63 bytes */
} nacelle_options;

typedef struct nacelle_text {
  const char* data; /* UTF-8, needs no terminator */
  size_t size;      /* bytes */
} nacelle_text;

/* What the numbers of an embedding are. */
typedef enum nacelle_dtype {
  NACELLE_FLOAT32 = 0,
  NACELLE_FLOAT16 = 1, /* IEEE 754 binary16, rounded to the nearest, ties to even */
  NACELLE_INT8 = 2,    /* x * 127 / the row's largest |x|, rounded to the nearest, ties to even: the
                          direction, without the length */
  NACELLE_BINARY = 3,  /* NACELLE_UBINARY less 128, as int8 */
  NACELLE_UBINARY = 4 /* 8 numbers in a byte, a bit each, 1 where x > 0; the first is the highest */
} nacelle_dtype;

/* Whether embeddings are scaled to length 1. */
typedef enum nacelle_normalize {
  NACELLE_NORMALIZE_MODEL = 0, /* as the model says */
  NACELLE_NORMALIZE_OFF = 1,
  NACELLE_NORMALIZE_ON = 2
} nacelle_normalize;

/* What makes scores from the model's logits. */
typedef enum nacelle_function {
  NACELLE_FUNCTION_MODEL = 0, /* softmax; where labels are independent, or one alone, sigmoid */
  NACELLE_SOFTMAX = 1,
  NACELLE_SIGMOID = 2,
  NACELLE_RAW = 3 /* nothing: the logits */
} nacelle_function;

/* What happens to a text of more tokens than the model takes. */
typedef enum nacelle_long_input {
  NACELLE_LONG_SERVICE = 0, /* as the service is set */
  NACELLE_TRUNCATE = 1,     /* its first tokens are read; item.truncated says so */
  NACELLE_REJECT = 2,       /* it fails with NACELLE_TOO_LARGE */
  NACELLE_CHUNK_MEAN = 3 /* it is cut into windows, and the answer is the mean over them, weighted
                            by their tokens: of embeddings, which are then scaled to length 1 as
                            others are, or of logits. Not for rerank. */
} nacelle_long_input;

/* What a call does with the result cache, if the sidecar keeps one. It changes where an answer
 * comes from and nothing about it. What the operator has switched off for a service stays off. */
typedef enum nacelle_cache {
  NACELLE_CACHE_SERVICE = 0,   /* as the service is set */
  NACELLE_CACHE_USE = 1,       /* takes what is there, puts there what is not */
  NACELLE_CACHE_BYPASS = 2,    /* neither */
  NACELLE_CACHE_READ_ONLY = 3, /* takes, and puts nothing */
  NACELLE_CACHE_REFRESH = 4    /* computes, and puts that in the place of what is there */
} nacelle_cache;

/* All that may differ between two calls about the same texts. 0 is each field's default; setting
 * one from `dtype` on, but for `cache`, needs a sidecar of this version (NACELLE_VERSION_MISMATCH).
 */
typedef struct nacelle_call {
  uint32_t size;           /* sizeof(nacelle_call) */
  uint32_t timeout_ms;     /* 0: the sidecar's default deadline */
  uint64_t trace;          /* a number of your own, shown in traces */
  uint32_t dtype;          /* embed: a nacelle_dtype */
  uint32_t dimensions;     /* embed: the first so many numbers of each row (Matryoshka); 0: all */
  uint32_t normalize;      /* embed: a nacelle_normalize; after `dimensions` */
  uint32_t function;       /* classify, rerank: a nacelle_function */
  uint32_t long_input;     /* a nacelle_long_input */
  uint32_t cache;          /* a nacelle_cache */
  const char* prompt;      /* embed: put before each text; "": nothing. NULL: the one named below */
  const char* prompt_name; /* one of the service's prompts; NULL: the one it is set to, if any */
} nacelle_call;

/* What happened to one text. */
typedef struct nacelle_item {
  uint16_t status;    /* nacelle_status: NACELLE_INVALID when it is not UTF-8, NACELLE_TOO_LARGE
                         when it has too many tokens; its row is zeros, its score in a rerank NaN */
  uint16_t truncated; /* bit 0: the text had more tokens than the model takes; the rest was not
                         read. Bit 1: it has even more than tokens_total */
  uint32_t tokens;    /* tokens computed, special ones included */
  uint32_t detail;    /* with NACELLE_OK: the windows it was cut into, or 1. With NACELLE_INVALID:
                         the offset of the first byte that is not UTF-8. With NACELLE_TOO_LARGE: the
                         most tokens there may be */
  uint32_t tokens_total; /* of the whole text; 0: truncated without long_input, so nobody counted */
} nacelle_item;

/* What happened to one call. */
typedef struct nacelle_report {
  uint32_t size;           /* sizeof(nacelle_report) */
  uint32_t items_failed;   /* texts whose item.status is not NACELLE_OK */
  uint32_t queue_us;       /* waiting for a batch */
  uint32_t compute_us;     /* in batches */
  uint32_t batch_texts;    /* texts in the largest batch that held one of ours */
  uint32_t batch_clients;  /* client processes in that batch */
  uint32_t retry_after_us; /* with NACELLE_BUSY */
  uint32_t items_cached;   /* texts whose answers were read in the cache, without asking */
} nacelle_report;

/* What a service answers with. */
typedef struct nacelle_description {
  uint32_t size;         /* sizeof(nacelle_description) */
  uint32_t embed_width;  /* floats per embedding; 0: does not embed */
  uint32_t labels;       /* scores per text; 0: does not classify */
  uint32_t tokens_max;   /* per text; for longer ones see long_input */
  uint32_t multi_label;  /* 1: scores are independent and do not sum to 1 */
  char digest[65];       /* SHA-256 of the model, lower-case hex, terminated */
  char architecture[65]; /* terminated */
  uint32_t reranks;      /* 1: nacelle_rerank() */
  uint32_t long_input;   /* the service's nacelle_long_input */
  uint32_t windows_max;  /* that NACELLE_CHUNK_MEAN cuts one text into */
  uint32_t prompts;      /* how many it has; nacelle_prompt() has their names */
} nacelle_description;

/* Connects; *client is set only on success. options may be NULL. Waits for a sidecar that is not
 * there yet for up to connect_timeout_ms.
 * Threads: any number may call it at the same time.
 * Ownership: *client is the caller's until nacelle_close(); options and its strings are copied. */
NACELLE_API nacelle_status nacelle_connect(const nacelle_options* options, nacelle_client** client);

/* Frees the client and its connection; in a forked child, the child's. NULL is allowed.
 * Threads: no other thread may be inside a call with this client, nor begin one.
 * Ownership: takes the client back; it must not be used again. */
NACELLE_API void nacelle_close(nacelle_client* client);

/* Fills *description (its size set by the caller). Answered from memory after the first time.
 * Threads: any number may use the client at the same time; *description is this call's alone.
 * Ownership: *description is a copy and stays the caller's; it holds no pointers. */
NACELLE_API nacelle_status nacelle_describe(nacelle_client* client, const char* service,
                                            nacelle_description* description);

/* The same for the service as the answers have it that this client reads in the cache, also while
 * there is no sidecar to describe it. NACELLE_NOT_FOUND when it has not been described yet, or has
 * no cache: then it is nacelle_describe() that tells whose answers come. Asks and waits for nobody.
 * Threads and ownership: as with nacelle_describe(). */
NACELLE_API nacelle_status nacelle_recall(nacelle_client* client, const char* service,
                                          nacelle_description* description);

/* Copies label number `index` and a terminator into text[capacity]; the label is cut when it does
 * not fit. *needed, unless NULL, is its length without the terminator.
 * Threads: any number may use the client at the same time; text and *needed are this call's alone.
 * Ownership: text is a copy and stays the caller's. */
NACELLE_API nacelle_status nacelle_label(nacelle_client* client, const char* service,
                                         uint32_t index, char* text, size_t capacity,
                                         size_t* needed);

/* The same for the name of prompt number `index`.
 * Threads and ownership: as with nacelle_label(). */
NACELLE_API nacelle_status nacelle_prompt(nacelle_client* client, const char* service,
                                          uint32_t index, char* text, size_t capacity,
                                          size_t* needed);

/* Embeds texts[count], count >= 1. vectors: [count][width] elements of call->dtype, where width is
 * embed_width, or call->dimensions, and an eighth of that for bits; aligned for them. capacity: how
 * many elements that is, exactly: when a sidecar with a model of another width has taken over, the
 * call fails with NACELLE_INVALID instead of filling rows of another shape. items: [count] or NULL.
 * Without items one text that is not UTF-8, or over the model's tokens where those are rejected,
 * fails the whole call; with items it fails alone. A text over
 * limits.text_bytes_max fails the whole call. call and report may be NULL.
 * timeout_ms bounds the answer; while no sidecar is there, connect_timeout_ms bounds the wait.
 * After a failure vectors and items hold nothing of use; *report is filled, with what is known.
 * Threads: any number may use the client at the same time; texts and call may be shared by calls,
 * vectors, items and *report are this call's alone.
 * Ownership: all stays the caller's, and must not change until the call returns: the texts are
 * read, and the rows written, during the call only. */
NACELLE_API nacelle_status nacelle_embed(nacelle_client* client, const char* service,
                                         const nacelle_text* texts, size_t count,
                                         const nacelle_call* call, void* vectors, size_t capacity,
                                         nacelle_item* items, nacelle_report* report);

/* The same for labels. scores: [count][labels], in the order of the labels: probabilities, or
 * logits with NACELLE_RAW; nacelle_best() sorts a row.
 * Threads and ownership: as with nacelle_embed(). */
NACELLE_API nacelle_status nacelle_classify(nacelle_client* client, const char* service,
                                            const nacelle_text* texts, size_t count,
                                            const nacelle_call* call, float* scores,
                                            size_t capacity, nacelle_item* items,
                                            nacelle_report* report);

/* How well each of documents[count], count >= 1, answers the query, for services that rerank
 * (cross-encoders). scores: [count], in the order of the documents: probabilities, or logits with
 * NACELLE_RAW; NaN for one that failed. items: [count] or NULL. A query that is not UTF-8 fails the
 * call. nacelle_best() gives the best of them.
 * Threads and ownership: as with nacelle_embed(). */
NACELLE_API nacelle_status nacelle_rerank(nacelle_client* client, const char* service,
                                          const nacelle_text* query, const nacelle_text* documents,
                                          size_t count, const nacelle_call* call, float* scores,
                                          size_t capacity, nacelle_item* items,
                                          nacelle_report* report);

/* Writes the indices of the `top` highest of scores[count] to best[top], the highest first, equal
 * ones in their order, NaNs left out; returns how many those are. top may exceed count.
 * Threads: any. Ownership: all stays the caller's. */
NACELLE_API size_t nacelle_best(const float* scores, size_t count, uint32_t* best, size_t top);

/* The same without waiting, for event loops. The call is under way when *pending is set: advance it
 * at once, and again whenever nacelle_pending_fd() is readable, until it is done. When all answers
 * are in the cache it is done at the first time. Nothing is asked
 * of a sidecar that this client does not know yet: NACELLE_SIDECAR_GONE when there is no live
 * connection, NACELLE_NOT_FOUND when the service has not been described on it; nacelle_describe()
 * (which waits) mends both. texts' bytes, the output and items must live until the call is done or
 * freed. *description, unless NULL, is the service whose rows these will be; its size is set by the
 * caller.
 * Threads: all pending calls of one client share a descriptor, so start, advance and free them
 * under one lock, or from one thread, and advance all of them when it is readable. Calls that wait
 * may run in other threads at the same time. Ownership: *pending is the caller's until
 * nacelle_pending_free(); what was passed in stays the caller's, and all but the list `texts`
 * itself, and `call` with its strings, is used until then or until the call is done. */
NACELLE_API nacelle_status nacelle_start_embed(nacelle_client* client, const char* service,
                                               const nacelle_text* texts, size_t count,
                                               const nacelle_call* call, void* vectors,
                                               size_t capacity, nacelle_item* items,
                                               nacelle_description* description,
                                               nacelle_pending** pending);
/* The same for labels; scores as in nacelle_classify().
 * Threads: as nacelle_start_embed(). Ownership: the same. */
NACELLE_API nacelle_status nacelle_start_classify(nacelle_client* client, const char* service,
                                                  const nacelle_text* texts, size_t count,
                                                  const nacelle_call* call, float* scores,
                                                  size_t capacity, nacelle_item* items,
                                                  nacelle_description* description,
                                                  nacelle_pending** pending);

/* The same for reranking; the query's bytes must live as long as the documents'.
 * Threads: as nacelle_start_embed(). Ownership: the same. */
NACELLE_API nacelle_status nacelle_start_rerank(nacelle_client* client, const char* service,
                                                const nacelle_text* query,
                                                const nacelle_text* documents, size_t count,
                                                const nacelle_call* call, float* scores,
                                                size_t capacity, nacelle_item* items,
                                                nacelle_description* description,
                                                nacelle_pending** pending);

/* Goes on with a call as far as it can without waiting; *done becomes 1 when it has ended well.
 * Any status but NACELLE_OK has ended it, too. report may be NULL.
 * Threads: as nacelle_start_embed(). Ownership: done and report stay the caller's. */
NACELLE_API nacelle_status nacelle_pending_advance(nacelle_pending* pending, int* done,
                                                   nacelle_report* report);

/* A descriptor that is readable when there may be something to advance. It belongs to the client:
 * never read, write or close it, and stop watching it before the last pending call is freed. -1 for
 * a call whose answers were all in the cache: there is nothing to wait for.
 * Threads: any. Ownership: the descriptor stays the client's. */
NACELLE_API int nacelle_pending_fd(const nacelle_pending* pending);

/* Frees a call; one that has not ended is given up. NULL is allowed. May come after
 * nacelle_close(). Threads: as nacelle_start_embed(). Ownership: `pending` is gone; the buffers it
 * used are free. */
NACELLE_API void nacelle_pending_free(nacelle_pending* pending);

/* A stream without work: `pieces` pieces of `piece_size` bytes, one every interval_us (0: as fast
 * as they are read). Byte j of piece i is the low byte of i + j. call->timeout_ms bounds the whole
 * stream.
 * Threads: any number may use the client at the same time.
 * Ownership: *stream is the caller's until nacelle_stream_free(), which may come after
 * nacelle_close(). */
NACELLE_API nacelle_status nacelle_ping_stream(nacelle_client* client, uint32_t pieces,
                                               uint32_t piece_size, uint32_t interval_us,
                                               const nacelle_call* call, nacelle_stream** stream);

/* Waits for the next piece: *data[*size], valid until the next call on this stream; *data is NULL
 * at the end. A reader that is slow makes its own stream wait, and no other. Any status but
 * NACELLE_OK has ended the stream.
 * Threads: one at a time for one stream. Ownership: the piece stays the library's. */
NACELLE_API nacelle_status nacelle_stream_next(nacelle_stream* stream, const void** data,
                                               size_t* size);

/* Frees a stream; one that has not ended is given up, and the sidecar stops working on it. NULL is
 * allowed.
 * Threads: one at a time for one stream. Ownership: the stream and its last piece are gone. */
NACELLE_API void nacelle_stream_free(nacelle_stream* stream);

/* Sends data[size] and receives it back: a round trip without work. size <= 1 MiB.
 * Threads: any number may use the client at the same time; data is this call's alone.
 * Ownership: data stays the caller's; it is read and written during the call only. */
NACELLE_API nacelle_status nacelle_ping(nacelle_client* client, void* data, size_t size);

/* The reason for this thread's last status other than NACELLE_OK; never NULL.
 * Threads: each has a reason of its own, whichever clients it uses.
 * Ownership: the library's; valid until this thread's next call of this library, or its end. */
NACELLE_API const char* nacelle_error(void);

/* The word for a status: "too_large". Never NULL.
 * Threads: any. Ownership: the library's; valid for as long as it is loaded. */
NACELLE_API const char* nacelle_status_name(nacelle_status status);

/* The version of this library: "0.1.0".
 * Threads: any. Ownership: the library's; valid for as long as it is loaded. */
NACELLE_API const char* nacelle_version(void);

#ifdef __cplusplus
}
#endif

#endif /* NACELLE_H */
