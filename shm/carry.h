// Messages that carry the two regions of a connection over its socket, for places where memory
// cannot be shared. Each side has a copy of both regions; what one side writes into its own region
// travels as a message and is written into the other's copy, in the same order. So everything above
// the bytes is the same as with shared memory: the slots, the checks, the answers.
//
// One message is one SOCK_SEQPACKET packet: a CarryHeader, and for kBytes the bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace nacelle::shm {

// A bit of Hello::features: the client wants no descriptors but messages; and of Welcome::features:
// so be it.
inline constexpr std::uint64_t kFeatureCarry = 1;

enum class Carry : std::uint32_t {
  kBytes = 1,    // copy the bytes to `offset`
  kStore32 = 2,  // store the low half of `value` at `offset`, a multiple of 4
  kStore64 = 3,  // store `value` at `offset`, a multiple of 8
};

struct CarryHeader {
  std::uint32_t kind;    // Carry
  std::uint32_t offset;  // in the region of who sends it
  std::uint64_t value;   // 0 for kBytes
};
static_assert(sizeof(CarryHeader) == 16);

inline constexpr std::size_t kCarryBytesMax = 64U << 10;  // in one message

enum class Carried {
  kDone,
  kNothing,  // send: the socket is full now; receive: there is no message now
  kGone,     // the other side hung up
  kBroken,   // receive: a message that cannot be
};

// Neither blocks. At most kCarryBytesMax bytes.
Carried send_bytes(int socket, std::uint64_t offset, std::span<const std::byte> bytes);
Carried send_store(int socket, Carry kind, std::uint64_t offset, std::uint64_t value);

// Receives messages into a copy of the other side's region.
class CarryReader {
 public:
  explicit CarryReader(std::span<std::byte> region);
  // The next message, when it stays within the region. Bytes are copied; a store is left to the
  // caller, who may have something to do before it: then store().
  Carried receive(int socket, CarryHeader* message);
  // With seq_cst: whoever sees the word sees the bytes that came before it.
  void store(const CarryHeader& message) const;

 private:
  std::span<std::byte> region_;
  std::vector<std::byte> buffer_;
};

}  // namespace nacelle::shm
