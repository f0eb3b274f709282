// What a cached answer is called: a digest of all that decides it, so that equal names mean equal
// bytes, whoever computed them and on which machine.
//
//   key = SHA-256 over these parts, in this order, each as its size (8 bytes) and its bytes:
//     kCacheKeyVersion
//     domain       who may see it: "uid:1000"
//     answers      the service's answers digest: weights, tokenizer, precision, settings
//     op           2 bytes
//     parameters   32 bytes, zeros when the request has none
//     prompt       the bytes behind the Parameters: a text or a name
//     query        of a rerank only
//     text
//
// Sizes come first, so "ab", "c" and "a", "bc" are different lists. docs/formats/shm.md has a
// worked example.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "shm/layout.h"

namespace nacelle::shm {

struct CacheKey {
  std::array<std::byte, 32> bytes;

  friend bool operator==(const CacheKey&, const CacheKey&) = default;
};

static_assert(sizeof(CacheKey) == 32 && alignof(CacheKey) == 1);

inline constexpr std::string_view kCacheKeyVersion = "nacelle cache key 1";

// SHA-256 over parts, each preceded by its size. A copy goes on where the original stands, so what
// many lists begin with is hashed once.
class PartsDigest {
 public:
  PartsDigest();
  void add(std::span<const std::byte> part);
  void add(std::string_view part) { add(std::as_bytes(std::span(part))); }
  // Of the parts so far.
  [[nodiscard]] std::array<std::byte, 32> value() const;

 private:
  alignas(8) std::array<std::byte, 112> state_;  // OpenSSL's, a plain struct
};

// What the keys of one request have in common.
struct CacheContext {
  std::string_view domain;
  std::span<const std::byte, 32> answers;
  Op op = Op::kEmbed;
  Parameters parameters{};
  std::string_view prompt = {};
  std::optional<std::string_view> query = std::nullopt;  // of kRerank, and of no other
};

class CacheKeys {
 public:
  explicit CacheKeys(const CacheContext& context);
  // Of a text, or of a document in a rerank.
  [[nodiscard]] CacheKey of(std::string_view text) const;

 private:
  PartsDigest head_;
};

}  // namespace nacelle::shm
