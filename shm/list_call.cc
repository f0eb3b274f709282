#include "shm/list_call.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <string>

namespace nacelle::shm {
namespace {

using base::Code;
using base::Error;
using base::Nanos;

// A list that needs several requests keeps this many under way: one computes, one is being written.
constexpr std::size_t kRequestsAhead = 2;
// Beyond the sidecar's own deadline, before a call gives up on an answer.
constexpr Nanos kGrace = 2 * base::kSecond;

// One request of a list: which texts, and the call that carries them.
struct Chunk {
  std::size_t begin = 0;
  std::size_t end = 0;
  Ticket ticket;
};

std::uint64_t payload_size(std::span<const std::string_view> texts) {
  std::uint64_t size = texts.size() * sizeof(std::uint32_t);
  for (const std::string_view text : texts) size += text.size();
  return size;
}

void write_texts(std::span<const std::string_view> texts, std::span<std::byte> out) {
  std::byte* sizes = out.data();
  std::byte* bytes = sizes + texts.size() * sizeof(std::uint32_t);
  for (const std::string_view text : texts) {
    const auto size = static_cast<std::uint32_t>(text.size());
    std::memcpy(sizes, &size, sizeof size);
    base::copy_bytes(bytes, text.data(), text.size());
    sizes += sizeof size;
    bytes += text.size();
  }
}

std::uint32_t saturated_sum(std::uint32_t a, std::uint32_t b) {
  return static_cast<std::uint32_t>(std::min<std::uint64_t>(std::uint64_t{a} + b, UINT32_MAX));
}

void merge(CallReport& report, const ReplyFields& fields) {
  report.queue_us = saturated_sum(report.queue_us, fields.queue_us);
  report.compute_us = saturated_sum(report.compute_us, fields.compute_us);
  report.batch_texts = std::max(report.batch_texts, fields.batch_texts);
  report.batch_clients = std::max(report.batch_clients, fields.batch_clients);
  report.retry_after_us = fields.retry_after_us;
}

// The next request of a list: as many texts from `begin` as fit well into both arenas, at least
// one.
std::size_t chunk_end(const Link& link, std::span<const std::string_view> texts, std::size_t begin,
                      std::uint32_t width) {
  std::uint64_t payload = 0;
  std::size_t end = begin;
  while (end < texts.size() && end - begin < link.items_max()) {
    payload += sizeof(std::uint32_t) + texts[end].size();
    const bool fits =
        payload <= link.request_arena_size() / kRequestsAhead &&
        row_list_size(end + 1 - begin, width) <= link.reply_arena_size() / kRequestsAhead;
    if (!fits && end > begin) break;
    ++end;
  }
  return end;
}

// Reads one chunk's rows into their places. Counts failed items; without `items` the first is an
// error.
base::Status read_rows(const Answer& answer, const Chunk& chunk, const ListCall& call,
                       CallReport& report) {
  const std::size_t count = chunk.end - chunk.begin;
  if (answer.fields.items != count || answer.payload.size() != row_list_size(count, call.width)) {
    return Error{Code::kInternal, "the sidecar's reply does not match the request"};
  }
  for (std::size_t i = 0; i < count; ++i) {
    ItemReport item;
    std::memcpy(&item, answer.payload.data() + i * sizeof item, sizeof item);
    if (!call.items.empty()) call.items[chunk.begin + i] = item;
    if (item.code == 0) continue;
    report.items_failed += 1;
    if (!call.items.empty()) continue;
    const auto code = static_cast<Code>(item.code);
    const std::string where = "text " + std::to_string(chunk.begin + i);
    if (code == Code::kInvalid) {
      return Error{code, where + " is not UTF-8 at byte " + std::to_string(item.detail) +
                             ": decode or replace it before the call"};
    }
    return Error{code, where + " failed: " + std::string(base::code_name(code))};
  }
  std::memcpy(call.out.data() + chunk.begin * call.width,
              answer.payload.data() + rows_offset(count), count * call.width * sizeof(float));
  return base::ok();
}

// The requests under way, oldest first.
class Window {
 public:
  [[nodiscard]] bool empty() const { return count_ == 0; }
  [[nodiscard]] bool full() const { return count_ == chunks_.size(); }
  void push(const Chunk& chunk) { chunks_[(first_ + count_++) % chunks_.size()] = chunk; }
  Chunk pop() {
    const Chunk chunk = chunks_[first_];
    first_ = (first_ + 1) % chunks_.size();
    --count_;
    return chunk;
  }

 private:
  std::array<Chunk, kRequestsAhead> chunks_;
  std::size_t first_ = 0;
  std::size_t count_ = 0;
};

// Publishes the texts [chunk.begin, chunk.end).
base::Result<Ticket> send(const ListCall& call, const Chunk& chunk, Link& link, Nanos deadline) {
  const auto part = call.texts.subspan(chunk.begin, chunk.end - chunk.begin);
  const bool bounded = call.options.timeout.count() > 0;
  const Nanos left_us = (deadline - base::now_ns()) / base::kMicrosecond;
  return link.submit(
      {.op = call.op,
       .service = call.service,
       .items = static_cast<std::uint32_t>(part.size()),
       .deadline_us =
           bounded ? static_cast<std::uint32_t>(std::clamp<Nanos>(left_us, 1, UINT32_MAX)) : 0,
       .trace = call.options.trace},
      static_cast<std::uint32_t>(payload_size(part)), deadline,
      [&](std::span<std::byte> payload) { write_texts(part, payload); });
}

base::Status receive(const ListCall& call, const Chunk& chunk, Link& link, CallReport& report) {
  base::Result<Answer> answer = link.wait(chunk.ticket);
  if (!answer) return answer.error();
  merge(report, answer->fields);
  base::Status status = answer->fields.code == Code::kOk ? read_rows(*answer, chunk, call, report)
                                                         : error_of(*answer);
  link.finish(chunk.ticket);
  return status;
}

}  // namespace

// What can be refused before anything is sent.
base::Status check_texts(const Link& link, std::span<const std::string_view> texts) {
  if (texts.empty()) {
    return Error{Code::kInvalid, "the list of texts is empty: give at least one"};
  }
  for (std::size_t i = 0; i < texts.size(); ++i) {
    if (texts[i].size() > link.text_bytes_max()) {
      return Error{Code::kTooLarge, "text " + std::to_string(i) + " has " +
                                        std::to_string(texts[i].size()) + " bytes; the limit is " +
                                        std::to_string(link.text_bytes_max()) +
                                        " (limits.text_bytes_max)"};
    }
  }
  return base::ok();
}

base::Status run_list(const ListCall& call, Link& link, CallReport& report) {
  const Nanos timeout = bounded_ns(call.options.timeout);
  const Nanos whole = base::now_ns() + timeout;
  Window window;
  std::size_t next = 0;  // the first text that has not been sent
  base::Status status = base::ok();
  while (status && (next < call.texts.size() || !window.empty())) {
    if (next < call.texts.size() && !window.full()) {
      Chunk chunk{next, chunk_end(link, call.texts, next, call.width), {}};
      // Without a time-out of the caller's, each request has the sidecar's default for itself.
      const base::Result<Ticket> ticket =
          send(call, chunk, link, timeout > 0 ? whole : default_deadline(link));
      if (ticket) {
        chunk.ticket = *ticket;
        window.push(chunk);
        next = chunk.end;
        continue;
      }
      // No room while a request of ours is under way: take that one's answer first.
      if (ticket.error().code != Code::kBusy || window.empty()) {
        status = ticket.error();
        break;
      }
    }
    status = receive(call, window.pop(), link, report);
  }
  while (!window.empty()) link.cancel(window.pop().ticket);
  return status;
}

base::Nanos bounded_ns(std::chrono::milliseconds timeout) {
  constexpr std::chrono::milliseconds kTenYears = std::chrono::hours(24 * 3650);
  return std::chrono::nanoseconds(std::clamp(timeout, std::chrono::milliseconds(0), kTenYears))
      .count();
}

base::Nanos default_deadline(const Link& link) {
  return base::now_ns() + link.deadline_default_us() * base::kMicrosecond + kGrace;
}

Error error_of(const Answer& answer) {
  return Error{answer.fields.code, std::string(reinterpret_cast<const char*>(answer.payload.data()),
                                               answer.payload.size())};
}

}  // namespace nacelle::shm
