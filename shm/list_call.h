// One list of texts on one link, cut into as many requests as it takes, a few of them under way at
// a time. Knows nothing of reconnecting: when the link dies, so does the call, and the client
// begins anew on another one.
#pragma once

#include <chrono>
#include <cstdint>
#include <span>
#include <string_view>

#include "shm/client.h"
#include "shm/link.h"
#include "sidecar/base/result.h"
#include "sidecar/base/time.h"

namespace nacelle::shm {

struct ListCall {
  Op op = Op::kEmbed;         // kEmbed or kClassify
  std::uint32_t service = 0;  // its handle on the link
  std::uint32_t width = 0;    // floats per text
  std::span<const std::string_view> texts;
  std::span<float> out;         // [texts, width]
  std::span<ItemReport> items;  // [texts], or empty: then a text that fails is an error
  CallOptions options;
};

// What can be refused before anything is sent: an empty list (kInvalid), a text over the link's
// limit (kTooLarge).
base::Status check_texts(const Link& link, std::span<const std::string_view> texts);

// Runs the whole list. After an error `report` tells how far it came, and `out` is not to be used.
base::Status run_list(const ListCall& call, Link& link, CallReport& report);

// A caller's time-out in nanoseconds, at most ten years: "for ever" must not overflow a clock.
base::Nanos bounded_ns(std::chrono::milliseconds timeout);

// Until when to wait for the answer to a call that names no deadline of its own.
base::Nanos default_deadline(const Link& link);

// The error that an answer holds, in the sidecar's words.
base::Error error_of(const Answer& answer);

}  // namespace nacelle::shm
