#include "bench/cache/store.h"

#include <openssl/sha.h>

#include <cstdio>

namespace nacelle::bench {

Text::Text(std::uint64_t i) {
  size_ = static_cast<std::size_t>(std::snprintf(
      bytes_.data(), bytes_.size(),
      "How long may the tenant of flat %llu keep the deposit after the contract has ended?",
      static_cast<unsigned long long>(i)));
}

std::string hex_key(std::string_view text) {
  std::array<unsigned char, SHA256_DIGEST_LENGTH> digest;
  SHA256(reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest.data());
  constexpr char kDigits[] = "0123456789abcdef";
  std::string key = "embed:minilm:";
  for (const unsigned char byte : digest) {
    key += kDigits[byte >> 4];
    key += kDigits[byte & 15];
  }
  return key;
}

}  // namespace nacelle::bench
