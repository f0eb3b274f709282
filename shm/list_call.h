// One list of texts on one link, cut into as many requests as it takes, a few of them under way at
// a time. Knows nothing of reconnecting: when the link dies, so does the call, and the client
// begins anew on another one.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
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

// A list under way. After an error report() tells how far it came, and `out` is not to be used.
class ListRun {
 public:
  ListRun(const ListCall& call, std::shared_ptr<Link> link);
  ~ListRun();  // gives up what is under way
  ListRun(const ListRun&) = delete;
  ListRun& operator=(const ListRun&) = delete;

  // Until the end.
  base::Status run();
  // As far as it goes without waiting. True: done. False: link().poll_fd() gets a byte when there
  // is more to do.
  base::Result<bool> advance();

  [[nodiscard]] const CallReport& report() const { return report_; }
  [[nodiscard]] const Link& link() const { return *link_; }
  [[nodiscard]] Link& link() { return *link_; }

 private:
  // A list that needs several requests keeps this many under way: one computes, one is written.
  static constexpr std::size_t kRequestsAhead = 2;

  // One request of the list: which texts, and the call that carries them.
  struct Chunk {
    std::size_t begin = 0;
    std::size_t end = 0;
    Ticket ticket;
  };

  base::Status send();
  base::Result<Ticket> publish(const Chunk& chunk);
  [[nodiscard]] std::size_t chunk_end(std::size_t begin) const;
  base::Status read(const Answer& answer);
  base::Status read_rows(const Answer& answer, const Chunk& chunk);
  Chunk pop();

  ListCall call_;
  std::shared_ptr<Link> link_;
  CallReport report_;
  base::Nanos timeout_;
  base::Nanos deadline_;             // of the whole list, when the caller gave a time-out
  std::size_t next_ = 0;             // the first text that has not been sent
  Chunk under_way_[kRequestsAhead];  // oldest first
  std::size_t count_ = 0;
};

// A caller's time-out in nanoseconds, at most ten years: "for ever" must not overflow a clock.
base::Nanos bounded_ns(std::chrono::milliseconds timeout);

// The error that an answer holds, in the sidecar's words.
base::Error error_of(const Answer& answer);

}  // namespace nacelle::shm
