// One list of texts on one link, cut into as many requests as it takes, a few of them under way at
// a time. Knows nothing of reconnecting: when the link dies, so does the call, and the client
// begins anew on another one.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "shm/client.h"
#include "shm/link.h"
#include "sidecar/base/result.h"
#include "sidecar/base/time.h"

namespace nacelle::shm {

struct ListCall {
  Op op = Op::kEmbed;                       // kEmbed, kClassify or kRerank
  std::uint32_t service = 0;                // its handle on the link
  std::uint32_t width = 0;                  // numbers per row
  std::span<const std::string_view> texts;  // kRerank: the query, then the documents
  std::span<std::byte> out;                 // [rows, row_size(options.dtype, width)]
  std::span<ItemReport> items;              // [rows], or empty: then a text that fails is an error
  CallOptions options;
  // Where the rows of these texts belong, when they are some of a longer list: rising places in
  // `out` and `items`, which are that list's. [rows()], or empty: in their order.
  std::span<const std::uint32_t> places = {};

  // Where row i goes.
  [[nodiscard]] std::size_t place(std::size_t i) const { return places.empty() ? i : places[i]; }
  // Rows wanted, for the last so many texts.
  [[nodiscard]] std::size_t rows() const { return texts.size() - (op == Op::kRerank ? 1 : 0); }
};

// What can be refused before anything is sent: an empty list, a query without documents, a prompt
// both by text and by name (kInvalid), a text or prompt over its limit (kTooLarge), an op or
// parameters that the sidecar is too old for (kVersionMismatch).
base::Status check_list(const Link& link, Op op, std::span<const std::string_view> texts,
                        const CallOptions& options);

// What a call asks for besides its texts, as requests and keys have it.
struct Wanted {
  Parameters parameters{};  // zeros when nothing differs from the defaults
  std::string_view prompt;  // its text or its name; the options' bytes
  bool is_default = true;
};
Wanted wanted_of(const CallOptions& options);

// A list under way. After an error report() tells how far it came, and `out` is not to be used.
class ListRun {
 public:
  // Copies the options' strings; all else that `call` points to must live as long.
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

  // One request of the list: which rows, and the call that carries them.
  struct Chunk {
    std::size_t begin = 0;
    std::size_t end = 0;
    Ticket ticket;
  };

  base::Status send();
  base::Result<Ticket> publish(const Chunk& chunk);
  [[nodiscard]] std::size_t chunk_end(std::size_t begin) const;
  [[nodiscard]] std::uint16_t flags() const;
  [[nodiscard]] std::byte* out_of(std::size_t row) const;
  base::Status read(const Answer& answer);
  base::Status read_rows(const Answer& answer, const Chunk& chunk);
  [[nodiscard]] base::Error error_of_item(const ItemReport& item, std::size_t row) const;
  [[nodiscard]] bool as_asked(const RowFormat& format) const;
  Chunk pop();

  ListCall call_;
  std::shared_ptr<Link> link_;
  CallReport report_;
  // What goes before the texts of each request; empty when nothing differs from the defaults.
  std::string head_;
  std::span<const std::string_view> query_;      // one text of each request, or none
  std::span<const std::string_view> documents_;  // the others: a row each
  std::uint64_t row_size_;                       // bytes
  base::Nanos timeout_;
  base::Nanos deadline_;             // of the whole list, when the caller gave a time-out
  std::size_t next_ = 0;             // the first row that has not been asked for
  Chunk under_way_[kRequestsAhead];  // oldest first
  std::size_t count_ = 0;
};

// A caller's time-out in nanoseconds, at most ten years: "for ever" must not overflow a clock.
base::Nanos bounded_ns(std::chrono::milliseconds timeout);

// The error that an answer holds, in the sidecar's words.
base::Error error_of(const Answer& answer);

}  // namespace nacelle::shm
