// A link without shared memory: what it writes into its copy of A, it sends.
#include <cstddef>

#include "shm/link.h"

namespace nacelle::shm {

// Without shared memory: sends what a request has changed, its generation last.
bool Link::carry_request(const Claim& claim, std::uint32_t payload_size) {
  const RequestSlot& slot = request_slot(claim.slot);
  const auto offset_of = [this](const void* at) {
    return static_cast<std::uint64_t>(static_cast<const std::byte*>(at) - request_.data());
  };
  if (payload_size > kRequestInline &&
      !carrier_->bytes(offset_of(claim.payload.data()), claim.payload)) {
    return false;
  }
  const std::span<const std::byte> fields(
      reinterpret_cast<const std::byte*>(&slot.op),
      offsetof(RequestSlot, released) - offsetof(RequestSlot, op));
  const auto& used = reinterpret_cast<const RequestHeader*>(request_.data())->slots_used;
  return carrier_->bytes(offset_of(&slot.op), fields) &&
         carrier_->store32(offset_of(&used), used.load(std::memory_order_relaxed)) &&
         carrier_->store64(offset_of(&slot.generation),
                           slot.generation.load(std::memory_order_relaxed));
}

// Without shared memory: sends a word of A that has changed. A link that cannot send is dead, and
// the next call learns it.
void Link::carry_word(const std::atomic<std::uint64_t>& word) {
  if (!carrier_) return;
  const auto offset = reinterpret_cast<const std::byte*>(&word) - request_.data();
  const std::uint64_t value = word.load(std::memory_order_relaxed);
  if (!carrier_->store64(static_cast<std::uint64_t>(offset), value)) dead_.store(true);
}

void Link::carry_word(const std::atomic<std::uint32_t>& word) {
  if (!carrier_) return;
  const auto offset = reinterpret_cast<const std::byte*>(&word) - request_.data();
  const std::uint32_t value = word.load(std::memory_order_relaxed);
  if (!carrier_->store32(static_cast<std::uint64_t>(offset), value)) dead_.store(true);
}

}  // namespace nacelle::shm
