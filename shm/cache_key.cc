#include "shm/cache_key.h"

// The plain functions of SHA-256, whose state can be copied. OpenSSL 3 calls them deprecated; what
// it offers instead looks an algorithm up and allocates for each digest (docs/decisions/0028).
#define OPENSSL_SUPPRESS_DEPRECATED
#include <openssl/sha.h>

#include <bit>
#include <cstring>
#include <type_traits>

namespace nacelle::shm {

static_assert(sizeof(SHA256_CTX) == 112 && std::is_trivially_copyable_v<SHA256_CTX>);
static_assert(SHA256_DIGEST_LENGTH == 32);
static_assert(std::endian::native == std::endian::little,
              "sizes and numbers are hashed as they lie");

PartsDigest::PartsDigest() {
  SHA256_CTX context;
  SHA256_Init(&context);
  state_ = std::bit_cast<decltype(state_)>(context);
}

void PartsDigest::add(std::span<const std::byte> part) {
  auto context = std::bit_cast<SHA256_CTX>(state_);
  const std::uint64_t size = part.size();
  SHA256_Update(&context, &size, sizeof size);
  if (!part.empty()) SHA256_Update(&context, part.data(), part.size());
  state_ = std::bit_cast<decltype(state_)>(context);
}

std::array<std::byte, 32> PartsDigest::value() const {
  auto context = std::bit_cast<SHA256_CTX>(state_);
  std::array<std::byte, 32> digest;
  SHA256_Final(reinterpret_cast<unsigned char*>(digest.data()), &context);
  return digest;
}

CacheKeys::CacheKeys(const CacheContext& context) {
  const auto op = static_cast<std::uint16_t>(context.op);
  head_.add(kCacheKeyVersion);
  head_.add(context.domain);
  head_.add(context.answers);
  head_.add(std::as_bytes(std::span(&op, 1)));
  head_.add(std::as_bytes(std::span(&context.parameters, 1)));
  head_.add(context.prompt);
  if (context.query) head_.add(*context.query);
}

CacheKey CacheKeys::of(std::string_view text) const {
  PartsDigest digest = head_;
  digest.add(text);
  return {digest.value()};
}

}  // namespace nacelle::shm
