#include "shm/list_call.h"

#include <algorithm>
#include <cstring>
#include <string>

namespace nacelle::shm {
namespace {

using base::Code;
using base::Error;
using base::Nanos;

// When a connection is full: about a small batch's time, after which some slot is free again.
constexpr std::uint32_t kRetryAfterUs = 1000;

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

ListRun::ListRun(const ListCall& call, std::shared_ptr<Link> link)
    : call_(call),
      link_(std::move(link)),
      timeout_(bounded_ns(call.options.timeout)),
      deadline_(base::now_ns() + timeout_) {}

ListRun::~ListRun() {
  while (count_ > 0) link_->cancel(pop().ticket);
}

base::Status ListRun::run() {
  for (;;) {
    if (base::Status sent = send(); !sent) return sent;
    if (count_ == 0) return base::ok();
    base::Result<Answer> answer = link_->wait(under_way_[0].ticket);
    if (!answer) {
      pop();
      return answer.error();
    }
    if (base::Status good = read(*answer); !good) return good;
  }
}

base::Result<bool> ListRun::advance() {
  for (;;) {
    if (base::Status sent = send(); !sent) return sent.error();
    if (count_ == 0) return true;
    base::Result<std::optional<Answer>> answer = link_->try_wait(under_way_[0].ticket);
    if (!answer) {
      pop();
      return answer.error();
    }
    if (*answer) {
      if (base::Status good = read(**answer); !good) return good.error();
    } else if (!link_->poll(under_way_[0].ticket)) {
      return false;
    }
  }
}

// Sends as many requests as may be under way.
base::Status ListRun::send() {
  while (next_ < call_.texts.size() && count_ < kRequestsAhead) {
    Chunk chunk{next_, chunk_end(next_), {}};
    const base::Result<Ticket> ticket = publish(chunk);
    if (!ticket) {
      // No room while a request of ours is under way: take that one's answer first.
      const bool busy = ticket.error().code == Code::kBusy;
      if (busy && count_ > 0) return base::ok();
      if (busy) report_.retry_after_us = kRetryAfterUs;
      return ticket.error();
    }
    chunk.ticket = *ticket;
    under_way_[count_++] = chunk;
    next_ = chunk.end;
  }
  return base::ok();
}

// Publishes the texts [chunk.begin, chunk.end).
base::Result<Ticket> ListRun::publish(const Chunk& chunk) {
  const auto part = call_.texts.subspan(chunk.begin, chunk.end - chunk.begin);
  const bool bounded = timeout_ > 0;
  const Nanos left_us = (deadline_ - base::now_ns()) / base::kMicrosecond;
  return link_->submit(
      {.op = call_.op,
       .service = call_.service,
       .items = static_cast<std::uint32_t>(part.size()),
       .deadline_us =
           bounded ? static_cast<std::uint32_t>(std::clamp<Nanos>(left_us, 1, UINT32_MAX)) : 0,
       .trace = call_.options.trace},
      static_cast<std::uint32_t>(payload_size(part)),
      // Without a time-out of the caller's, each request has the sidecar's default for itself.
      bounded ? deadline_ : link_->default_deadline(base::now_ns()),
      [&](std::span<std::byte> payload) { write_texts(part, payload); });
}

// The end of the request that begins at text `begin`: as many texts as fit well into both arenas,
// at least one.
std::size_t ListRun::chunk_end(std::size_t begin) const {
  std::uint64_t payload = 0;
  std::size_t end = begin;
  while (end < call_.texts.size() && end - begin < link_->items_max()) {
    payload += sizeof(std::uint32_t) + call_.texts[end].size();
    const bool fits =
        payload <= link_->request_arena_size() / kRequestsAhead &&
        row_list_size(end + 1 - begin, call_.width) <= link_->reply_arena_size() / kRequestsAhead;
    if (!fits && end > begin) break;
    ++end;
  }
  return end;
}

ListRun::Chunk ListRun::pop() {
  const Chunk chunk = under_way_[0];
  std::copy(under_way_ + 1, under_way_ + count_, under_way_);
  --count_;
  return chunk;
}

// Takes the answer to the oldest request.
base::Status ListRun::read(const Answer& answer) {
  const Chunk chunk = pop();
  merge(report_, answer.fields);
  base::Status status =
      answer.fields.code == Code::kOk ? read_rows(answer, chunk) : error_of(answer);
  link_->finish(chunk.ticket);
  return status;
}

// Reads one request's rows into their places. Counts failed items; without `items` the first is an
// error.
base::Status ListRun::read_rows(const Answer& answer, const Chunk& chunk) {
  const std::size_t count = chunk.end - chunk.begin;
  if (answer.fields.items != count || answer.payload.size() != row_list_size(count, call_.width)) {
    return Error{Code::kInternal, "the sidecar's reply does not match the request"};
  }
  for (std::size_t i = 0; i < count; ++i) {
    ItemReport item;
    std::memcpy(&item, answer.payload.data() + i * sizeof item, sizeof item);
    if (!call_.items.empty()) call_.items[chunk.begin + i] = item;
    if (item.code == 0) continue;
    report_.items_failed += 1;
    if (!call_.items.empty()) continue;
    const auto code = static_cast<Code>(item.code);
    const std::string where = "text " + std::to_string(chunk.begin + i);
    if (code == Code::kInvalid) {
      return Error{code, where + " is not UTF-8 at byte " + std::to_string(item.detail) +
                             ": decode or replace it before the call"};
    }
    return Error{code, where + " failed: " + std::string(base::code_name(code))};
  }
  std::memcpy(call_.out.data() + chunk.begin * call_.width,
              answer.payload.data() + rows_offset(count), count * call_.width * sizeof(float));
  return base::ok();
}

base::Nanos bounded_ns(std::chrono::milliseconds timeout) {
  constexpr std::chrono::milliseconds kTenYears = std::chrono::hours(24 * 3650);
  return std::chrono::nanoseconds(std::clamp(timeout, std::chrono::milliseconds(0), kTenYears))
      .count();
}

Error error_of(const Answer& answer) {
  return Error{answer.fields.code, std::string(reinterpret_cast<const char*>(answer.payload.data()),
                                               answer.payload.size())};
}

}  // namespace nacelle::shm
