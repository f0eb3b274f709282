// What a request about texts asks for, in its own words (shm::Parameters) and in its service's:
// checked, and settled where it says "as the service does".
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

#include "shm/shm.h"
#include "sidecar/base/result.h"
#include "sidecar/flow.h"
#include "sidecar/services.h"

namespace nacelle::sidecar {

struct Asked {
  RowPlan plan;
  bool raw = false;                                       // of the model: see model::Packed::raw
  std::string prompt;                                     // goes before each text; UTF-8
  shm::LongInput long_input = shm::LongInput::kTruncate;  // never kService
  bool counts = false;                                    // all tokens of a text that is truncated
  std::size_t head_size = 0;  // bytes of the payload before its text list
  // As the request has them, for the cache: what it does with it, and what its keys are made of.
  shm::CacheUse cache;
  shm::Parameters parameters{};
  std::string_view wanted_prompt;  // the payload's bytes
};

// Of a request for `op`, which the service answers, with these flags (RequestSlot::flags). Errors
// are kInvalid, kTooLarge and kNotFound, with what to do.
base::Result<Asked> read_asked(shm::Op op, std::uint16_t flags, std::span<const std::byte> payload,
                               const LoadedService& service);

}  // namespace nacelle::sidecar
