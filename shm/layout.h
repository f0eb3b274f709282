// Every byte that two processes share, with its owner. docs/formats/shm.md says the same in prose.
//
// A connection has two regions. Each has exactly one writer:
//
//   A, request region   written by the client, mapped read-only by the sidecar
//       RequestHeader | RequestSlot x slots | arena (payloads)
//   B, reply region     written by the sidecar, sealed so that no other mapping can ever write
//       ReplyHeader   | ReplySlot x slots   | arena (results)
//
// Everything is little-endian and append-only: a field is never moved, and what is reserved is 0.
// No pointers, locks, names, process ids or absolute times.
#pragma once

#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>

#include "sidecar/base/bytes.h"
#include "sidecar/base/result.h"

namespace nacelle::shm {

static_assert(std::endian::native == std::endian::little, "the shared layout is little-endian");
static_assert(std::atomic<std::uint64_t>::is_always_lock_free);
static_assert(std::atomic<std::uint32_t>::is_always_lock_free);
static_assert(sizeof(std::atomic<std::uint64_t>) == 8 && sizeof(std::atomic<std::uint32_t>) == 4);

// Both sides must have the same major version; the smaller minor version is spoken.
inline constexpr std::uint16_t kVersionMajor = 1;
// 1: streams, polling; 2: rerank, parameters; 3: the result cache
inline constexpr std::uint16_t kVersionMinor = 3;

// A pair of cache lines: what the adjacent-line prefetcher of x86 moves together.
inline constexpr std::size_t kAlignment = 128;

inline constexpr std::uint32_t kSlotsMax = 256;
inline constexpr std::uint32_t kRequestInline = 64;  // bytes of payload inside a request slot
inline constexpr std::uint32_t kReplyInline = 192;   // bytes of payload inside a reply slot

// What a request asks for. Append only.
enum class Op : std::uint16_t {
  kPing = 0,        // any bytes; the reply holds them again, over and over up to `items` bytes
  kDescribe = 1,    // a service's name; the reply is a Description
  kEmbed = 2,       // a text list; the reply is a row list of embeddings
  kClassify = 3,    // a text list; the reply is a row list of scores, one per label, summing to 1
  kPingStream = 4,  // a PingStream; the reply is a stream of that many pieces, without work
  kRerank = 5,      // a text list, the query first; the reply is a row list, a score per document
};
inline constexpr std::uint16_t kOpsEnd = 6;

// Whether an op's reply is a stream of pieces.
constexpr bool streams(Op op) { return op == Op::kPingStream; }

struct alignas(kAlignment) RequestHeader {
  // 1 + the highest slot ever published. Only grows; clients claim the lowest free slot, so a sweep
  // over [0, slots_used) touches as many lines as there were calls at the same time.
  std::atomic<std::uint32_t> slots_used;
  std::uint32_t reserved[31];
};

// One call. The client writes the fields, then stores `generation` with release.
struct alignas(kAlignment) RequestSlot {
  std::atomic<std::uint64_t> generation;  // 0 at first, then 1, 2, 3 ... for this slot
  std::uint16_t op;                       // Op
  std::uint16_t flags;         // kRequestParameters and a CacheMode, for embed, classify and rerank
  std::uint32_t service;       // the handle from a Description; 0 for ping and describe
  std::uint32_t items;         // texts in the payload; ping: bytes wanted; describe: 0
  std::uint32_t payload_size;  // bytes
  std::uint32_t payload_offset;  // in A's arena; unused when the payload is inline
  std::uint32_t deadline_us;     // from now; 0 means the sidecar's default
  std::uint64_t trace;           // the caller's own number, comes back in logs and traces
  std::uint8_t priority;         // 0
  std::uint8_t reserved[3];
  // Bytes of this slot's stream ring that the client is done with, over all its streams; wraps.
  std::atomic<std::uint32_t> consumed;
  std::uint64_t reserved1;
  std::atomic<std::uint32_t> cancel;   // low half of the generation the client gave up on
  std::atomic<std::uint32_t> waiting;  // how the client waits for the reply: protocol.h
  std::byte payload[kRequestInline];   // the payload when payload_size <= kRequestInline
  // The last generation whose reply the client is done with. On a line of its own: the sidecar
  // looks at the first line all the time, and a store there after each reply costs two more
  // transfers of it between the CPUs.
  std::atomic<std::uint64_t> released;
  std::uint64_t reserved2[15];
};

struct alignas(kAlignment) ReplyHeader {
  char magic[8];  // kMagic
  std::uint16_t version_major;
  std::uint16_t version_minor;
  std::uint32_t header_size;  // sizeof(ReplyHeader)
  std::uint64_t features;     // bits that both sides understand; none yet
  std::uint64_t epoch;        // random, one per sidecar process
  // The table of offsets, so that a newer sidecar may put things elsewhere.
  std::uint32_t slots;
  std::uint32_t request_slot_size;     // bytes from one request slot to the next
  std::uint32_t reply_slot_size;       // the same for reply slots
  std::uint32_t request_slots_offset;  // in A
  std::uint32_t reply_slots_offset;    // in B
  std::uint32_t request_arena_offset;  // in A
  std::uint32_t request_arena_size;
  std::uint32_t reply_arena_offset;  // in B
  std::uint32_t reply_arena_size;
  // Limits, so that a client can refuse before it sends.
  std::uint32_t items_max;            // texts in one request
  std::uint32_t text_bytes_max;       // bytes of one text
  std::uint32_t deadline_default_us;  // for requests that name none
  std::uint32_t stream_ring_size;     // bytes of every stream's ring in B's arena: a power of two
  std::uint32_t reserved0[11];
  // 1 while the sidecar sleeps: a client that publishes then also writes the doorbell eventfd.
  alignas(kAlignment) std::atomic<std::uint32_t> asleep;
  std::uint32_t reserved1[31];
};
inline constexpr char kMagic[8] = {'N', 'A', 'C', 'E', 'L', 'L', 'E', '\0'};

// The answer to the call in the request slot of the same number. The sidecar writes the fields,
// then stores `generation` with release; its low half is the word that a client sleeps on.
struct alignas(kAlignment) ReplySlot {
  std::atomic<std::uint64_t> generation;
  std::uint16_t code;            // base::Code; when not 0 the payload is inline text for a person
  std::uint16_t flags;           // 0
  std::uint32_t items;           // as in the request
  std::uint32_t payload_size;    // bytes
  std::uint32_t payload_offset;  // in B's arena; unused when the payload is inline
  std::uint32_t queue_us;        // from intake to the start of the first batch that held an item
  std::uint32_t compute_us;      // in batches that held an item
  std::uint32_t batch_texts;     // texts in the largest such batch, other clients' included
  std::uint32_t batch_clients;   // clients in that batch
  std::uint32_t retry_after_us;  // with kBusy: when another try is worth it
  // Low half of the last generation for which a wake was sent, stored after it: tells a sleeper
  // that timed out in the same moment from one whose wake-up was lost.
  std::atomic<std::uint32_t> woken;
  // Of a stream. Byte n of all that the slot ever streamed is at stream_offset + n % ring size.
  std::atomic<std::uint32_t> progress;  // counts publications and ends: what its reader sleeps on
  std::atomic<std::uint32_t> produced;  // bytes written into the ring, over all its streams; wraps
  std::atomic<std::uint32_t> stalled;   // 1: parked for want of room; who makes some rings
  std::uint32_t stream_offset;          // of the ring, in B's arena
  std::byte payload[kReplyInline];      // the payload when payload_size <= kReplyInline
};

// The fields of a reply slot, besides the generation and where the payload is.
struct ReplyFields {
  base::Code code = base::Code::kOk;
  std::uint32_t items = 0;
  std::uint32_t queue_us = 0;
  std::uint32_t compute_us = 0;
  std::uint32_t batch_texts = 0;
  std::uint32_t batch_clients = 0;
  std::uint32_t retry_after_us = 0;
};

// How a caller wants its rows. Append only, like all that follow; 0 is always what a request
// without Parameters gets.
enum class Element : std::uint8_t {
  kFloat32 = 0,
  kFloat16 = 1,  // IEEE 754 binary16, rounded to the nearest, ties to even
  kInt8 = 2,     // the row's direction: x * 127 / max|x|, rounded to the nearest, ties to even
  kBinary = 3,   // kUbinary's bytes less 128, as int8
  kUbinary = 4,  // a bit per number, 1 where it is above 0; the first is a byte's highest
};
inline constexpr std::uint8_t kElementsEnd = 5;
// Of embeddings: to length 1.
enum class Normalize : std::uint8_t { kModel = 0, kOff = 1, kOn = 2 };
inline constexpr std::uint8_t kNormalizesEnd = 3;
// From logits to scores. kModel: softmax, or a sigmoid for each where labels are independent.
enum class Function : std::uint8_t { kModel = 0, kSoftmax = 1, kSigmoid = 2, kNone = 3 };
inline constexpr std::uint8_t kFunctionsEnd = 4;
// What happens to a text of more tokens than the model takes.
enum class LongInput : std::uint8_t {
  kService = 0,    // what the service is set to
  kTruncate = 1,   // its first tokens are read, and its report says so
  kReject = 2,     // it fails with kTooLarge
  kChunkMean = 3,  // it is cut into windows, and the answer is their mean, weighted by tokens
};
inline constexpr std::uint8_t kLongInputsEnd = 4;
// What is put before each text.
enum class Prompt : std::uint8_t {
  kService = 0,  // what the service is set to, perhaps nothing
  kText = 1,     // the bytes behind the Parameters, perhaps none
  kName = 2,     // one of the service's prompts, whose name is behind the Parameters
};
inline constexpr std::uint8_t kPromptsEnd = 3;

// What changes an answer, all of it: two requests with equal Parameters, prompt and text to the
// same model in the same setting have equal rows. With kRequestParameters the payload is
//   Parameters | prompt_size bytes | the text list
// and the reply's row list begins with a RowFormat.
struct Parameters {
  Element element{};                // embed only
  Normalize normalize{};            // embed only
  Function function{};              // classify and rerank only
  LongInput long_input{};           // not kChunkMean with rerank
  Prompt prompt{};                  // embed only
  std::uint8_t reserved[3] = {};    // 0, and checked
  std::uint32_t dimensions = 0;     // embed only: the first so many numbers of each row; 0: all
  std::uint32_t prompt_size = 0;    // bytes
  std::uint32_t reserved1[4] = {};  // 0, and checked
};
inline constexpr std::uint16_t kRequestParameters = 1;     // in RequestSlot::flags
inline constexpr std::uint32_t kPromptBytesMax = 4096;     // of a prompt, or of a prompt's name
inline constexpr std::uint64_t kRepeatedMax = 16U << 20U;  // bytes of the query times documents

// What a request does with the result cache. It changes where an answer comes from and never what
// it is, so it is no parameter.
enum class CacheMode : std::uint8_t {
  kService = 0,   // what the service is set to; in a Description it is never this
  kUse = 1,       // an answer that is there is taken, one that is not is put there
  kBypass = 2,    // neither
  kReadOnly = 3,  // taken, but not put
  kRefresh = 4,   // computed in any case, and put in the place of what is there
};
inline constexpr std::uint8_t kCacheModesEnd = 5;
// Where it is in RequestSlot::flags.
inline constexpr unsigned kRequestCacheShift = 1;
inline constexpr std::uint16_t kRequestCacheMask = 7U << kRequestCacheShift;

struct CacheUse {
  bool reads = false;
  bool puts = false;
};
// What becomes of a call's wish under the service's setting. The operator's no stands: a service
// that bypasses does so for every call, and to one that only reads nothing is put.
constexpr CacheUse cache_use(CacheMode service, CacheMode call) {
  const CacheMode mode = call == CacheMode::kService ? service : call;
  const bool reads = mode == CacheMode::kUse || mode == CacheMode::kReadOnly;
  const bool puts = mode == CacheMode::kUse || mode == CacheMode::kRefresh;
  return {.reads = reads && service != CacheMode::kBypass,
          .puts = puts && service != CacheMode::kBypass && service != CacheMode::kReadOnly};
}

// What the rows of a reply are.
struct RowFormat {
  std::uint32_t width;     // numbers per row
  std::uint32_t row_size;  // bytes per row
  Element element;
  std::uint8_t reserved[7];
};

// Bytes of one row; `width` is a multiple of 8 where numbers are bits.
constexpr std::uint64_t row_size(Element element, std::uint64_t width) {
  switch (element) {
    case Element::kFloat32:
      return width * 4;
    case Element::kFloat16:
      return width * 2;
    case Element::kInt8:
      return width;
    case Element::kBinary:
    case Element::kUbinary:
      return width / 8;
  }
  return 0;
}

// A text list: std::uint32_t size[items] | the texts' bytes, end to end, UTF-8.
// A row list: RowFormat, if asked for | ItemReport[items], padded to 64 bytes | the rows.
struct ItemReport {
  std::uint16_t code;    // base::Code; a row whose code is not 0 is all zeros
  std::uint16_t flags;   // kItemTruncated, kItemMoreTokens
  std::uint32_t tokens;  // tokens computed, special ones included
  // With code 0: the windows that were computed, 1 unless the text was cut. With kInvalid: the
  // offset of the first byte that is not UTF-8. With kTooLarge: the most tokens there may be.
  std::uint32_t detail;
  // Of the whole text, special ones included once; 0 when it was truncated and nobody counted.
  std::uint32_t tokens_total;
};
inline constexpr std::uint16_t kItemTruncated = 1;   // tokens beyond those computed were not read
inline constexpr std::uint16_t kItemMoreTokens = 2;  // there are more than tokens_total

// Where the reports and the rows of a row list begin, and its bytes.
constexpr std::uint64_t reports_offset(bool with_format) {
  return with_format ? sizeof(RowFormat) : 0;
}
constexpr std::uint64_t rows_offset(std::uint64_t items, bool with_format = false) {
  return base::align_up(reports_offset(with_format) + items * sizeof(ItemReport), 64);
}
constexpr std::uint64_t row_list_size(std::uint64_t items, std::uint64_t row_bytes,
                                      bool with_format) {
  return rows_offset(items, with_format) + items * row_bytes;
}

// A stream's pieces lie in its ring one behind the other, each a header and its bytes, padded to 8.
// Headers never wrap around the ring's end, bytes may.
struct PieceHeader {
  std::uint32_t size;  // bytes of the piece
  std::uint32_t reserved;
};
constexpr std::uint32_t kPieceAlignment = 8;
// Bytes that a piece takes in the ring.
constexpr std::uint64_t piece_size(std::uint64_t size) {
  return sizeof(PieceHeader) + base::align_up(size, kPieceAlignment);
}

// The request of kPingStream. Byte j of piece i is the low byte of i + j.
struct PingStream {
  std::uint32_t pieces;       // how many, at least 1
  std::uint32_t piece_bytes;  // of each; at most half the ring
  std::uint32_t interval_us;  // between two pieces; 0: as fast as they are read
  std::uint32_t reserved;
};

// The reply to kDescribe, followed by the labels and then the prompts' names: {std::uint32_t size,
// bytes} each.
struct Description {
  std::uint32_t service;      // the handle for requests; valid for this connection
  std::uint32_t embed_width;  // floats per embedding; 0 when the service does not embed
  std::uint32_t labels;       // scores per text; 0 when the service does not classify
  std::uint32_t tokens_max;   // per window of a text
  std::uint8_t multi_label;   // 1: scores are independent (sigmoid) and do not sum to 1
  std::uint8_t ops;           // bit n: Op n, of those about texts; 0 before version 1.2
  LongInput long_input;       // of requests that say kService; kService before version 1.2
  std::uint8_t prompts;       // names of prompts
  std::uint32_t windows_max;  // that kChunkMean cuts one text into
  char digest[64];            // SHA-256 of the model in lower-case hex, no terminator
  char architecture[64];      // padded with 0
};

// Behind a Description's names since version 1.3: what a client needs to find this service's
// answers in the cache.
struct DescribedCache {
  std::array<std::byte, 32> answers;  // the answers digest, a part of every key (cache_key.h)
  char domain[32];                    // the client's, another part; padded with 0; empty: no cache
  CacheMode mode;                     // of requests that say kService; kBypass without a cache
  std::uint8_t reserved[3];
  std::uint32_t ttl_s;  // seconds that an answer is kept at most
};

static_assert(sizeof(RequestHeader) == 128);
static_assert(sizeof(RequestSlot) == 256);
static_assert(offsetof(RequestSlot, op) == 8 && offsetof(RequestSlot, service) == 12);
static_assert(offsetof(RequestSlot, items) == 16 && offsetof(RequestSlot, payload_size) == 20);
static_assert(offsetof(RequestSlot, payload_offset) == 24 &&
              offsetof(RequestSlot, deadline_us) == 28);
static_assert(offsetof(RequestSlot, trace) == 32 && offsetof(RequestSlot, priority) == 40);
static_assert(offsetof(RequestSlot, consumed) == 44);
static_assert(offsetof(RequestSlot, released) == 128 && offsetof(RequestSlot, cancel) == 56);
static_assert(offsetof(RequestSlot, waiting) == 60 && offsetof(RequestSlot, payload) == 64);
static_assert(sizeof(ReplyHeader) == 256);
static_assert(offsetof(ReplyHeader, features) == 16 && offsetof(ReplyHeader, epoch) == 24);
static_assert(offsetof(ReplyHeader, slots) == 32 && offsetof(ReplyHeader, items_max) == 68);
static_assert(offsetof(ReplyHeader, text_bytes_max) == 72);
static_assert(offsetof(ReplyHeader, deadline_default_us) == 76 &&
              offsetof(ReplyHeader, asleep) == 128);
static_assert(offsetof(ReplyHeader, stream_ring_size) == 80);
static_assert(sizeof(ReplySlot) == 256);
static_assert(offsetof(ReplySlot, code) == 8 && offsetof(ReplySlot, items) == 12);
static_assert(offsetof(ReplySlot, payload_size) == 16 && offsetof(ReplySlot, queue_us) == 24);
static_assert(offsetof(ReplySlot, retry_after_us) == 40 && offsetof(ReplySlot, woken) == 44);
static_assert(offsetof(ReplySlot, progress) == 48 && offsetof(ReplySlot, produced) == 52);
static_assert(offsetof(ReplySlot, stalled) == 56 && offsetof(ReplySlot, stream_offset) == 60);
static_assert(offsetof(ReplySlot, payload) == 64);
static_assert(sizeof(Parameters) == 32 && offsetof(Parameters, dimensions) == 8);
static_assert(offsetof(Parameters, prompt_size) == 12 && offsetof(Parameters, prompt) == 4);
static_assert(sizeof(RowFormat) == 16 && offsetof(RowFormat, element) == 8);
static_assert(sizeof(ItemReport) == 16 && offsetof(ItemReport, tokens_total) == 12);
static_assert(sizeof(Description) == 152 && offsetof(Description, ops) == 17);
static_assert(offsetof(Description, windows_max) == 20 && offsetof(Description, digest) == 24);
static_assert(sizeof(DescribedCache) == 72 && offsetof(DescribedCache, mode) == 64);
static_assert(sizeof(PieceHeader) == 8 && sizeof(PingStream) == 16);

// Where things are in the two regions of a connection.
struct Geometry {
  std::uint32_t slots = 64;
  std::uint32_t request_arena_size = 2U << 20;  // bytes
  std::uint32_t reply_arena_size = 4U << 20;    // bytes
  std::uint32_t stream_ring_size = 16U << 10;   // bytes, a power of two

  [[nodiscard]] constexpr std::uint32_t request_arena_offset() const {
    return static_cast<std::uint32_t>(
        base::align_up(sizeof(RequestHeader) + slots * sizeof(RequestSlot), 4096));
  }
  [[nodiscard]] constexpr std::uint32_t reply_arena_offset() const {
    return static_cast<std::uint32_t>(
        base::align_up(sizeof(ReplyHeader) + slots * sizeof(ReplySlot), 4096));
  }
  [[nodiscard]] constexpr std::uint64_t request_region_size() const {
    return base::align_up(std::uint64_t{request_arena_offset()} + request_arena_size, 4096);
  }
  [[nodiscard]] constexpr std::uint64_t reply_region_size() const {
    return base::align_up(std::uint64_t{reply_arena_offset()} + reply_arena_size, 4096);
  }
};

}  // namespace nacelle::shm
