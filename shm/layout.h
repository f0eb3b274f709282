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
inline constexpr std::uint16_t kVersionMinor = 1;  // 1: streams, polling

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
};
inline constexpr std::uint16_t kOpsEnd = 5;

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
  std::uint16_t flags;                    // 0
  std::uint32_t service;                  // the handle from a Description; 0 for ping and describe
  std::uint32_t items;                    // texts in the payload; ping: bytes wanted; describe: 0
  std::uint32_t payload_size;             // bytes
  std::uint32_t payload_offset;           // in A's arena; unused when the payload is inline
  std::uint32_t deadline_us;              // from now; 0 means the sidecar's default
  std::uint64_t trace;                    // the caller's own number, comes back in logs and traces
  std::uint8_t priority;                  // 0
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

// A text list: std::uint32_t size[items] | the texts' bytes, end to end, UTF-8.
// A row list: ItemReport[items], padded to 64 bytes | float[items][width].
struct ItemReport {
  std::uint16_t code;    // base::Code; a row whose code is not 0 is all zeros
  std::uint16_t flags;   // kItemTruncated
  std::uint32_t tokens;  // tokens computed, special ones included
  std::uint32_t detail;  // with kInvalid: the offset of the first byte that is not UTF-8
  std::uint32_t reserved;
};
inline constexpr std::uint16_t kItemTruncated = 1;  // the text had more tokens than the model takes

// Bytes of a row list, and where its rows begin.
constexpr std::uint64_t rows_offset(std::uint64_t items) {
  return base::align_up(items * sizeof(ItemReport), 64);
}
constexpr std::uint64_t row_list_size(std::uint64_t items, std::uint64_t width) {
  return rows_offset(items) + items * width * sizeof(float);
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

// The reply to kDescribe, followed by the labels: {std::uint32_t size, bytes} each.
struct Description {
  std::uint32_t service;      // the handle for requests; valid for this connection
  std::uint32_t embed_width;  // floats per embedding; 0 when the service does not embed
  std::uint32_t labels;       // scores per text; 0 when the service does not classify
  std::uint32_t tokens_max;   // per text; longer texts are truncated and say so
  std::uint8_t multi_label;   // 1: scores are independent (sigmoid) and do not sum to 1
  std::uint8_t reserved[7];
  char digest[64];        // SHA-256 of the model in lower-case hex, no terminator
  char architecture[64];  // padded with 0
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
static_assert(sizeof(ItemReport) == 16 && sizeof(Description) == 152);
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
