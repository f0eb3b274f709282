#include "shm/list_call.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <string>
#include <utility>

namespace nacelle::shm {
namespace {

using base::Code;
using base::Error;
using base::Nanos;

// When a connection is full: about a small batch's time, after which some slot is free again.
constexpr std::uint32_t kRetryAfterUs = 1000;

// The first versions of the protocol that have parameters and rerank, and the cache.
constexpr std::uint16_t kMinorOfParameters = 2;
constexpr std::uint16_t kMinorOfCache = 3;

// Texts of a request, in order: the query, if there is one, and its part of the list.
using Texts = std::span<const std::string_view>;

std::uint64_t list_size(Texts texts) {
  std::uint64_t size = texts.size() * sizeof(std::uint32_t);
  for (const std::string_view text : texts) size += text.size();
  return size;
}

// Appends to `*sizes` and `*bytes`, and moves both on.
void write_texts(Texts texts, std::byte** sizes, std::byte** bytes) {
  for (const std::string_view text : texts) {
    const auto size = static_cast<std::uint32_t>(text.size());
    std::memcpy(*sizes, &size, sizeof size);
    base::copy_bytes(*bytes, text.data(), text.size());
    *sizes += sizeof size;
    *bytes += text.size();
  }
}

// What goes before a request's text list.
std::string head_of(const CallOptions& options) {
  const Wanted wanted = wanted_of(options);
  if (wanted.is_default) return {};
  std::string head(sizeof wanted.parameters, '\0');
  std::memcpy(head.data(), &wanted.parameters, sizeof wanted.parameters);
  return head.append(wanted.prompt);
}

// "text 3", as the caller counts.
std::string name_of(Op op, std::size_t text) {
  if (op != Op::kRerank) return "text " + std::to_string(text);
  return text == 0 ? "the query" : "document " + std::to_string(text - 1);
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

Wanted wanted_of(const CallOptions& options) {
  Wanted wanted;
  Parameters& parameters = wanted.parameters;
  parameters.element = options.dtype;
  parameters.normalize = options.normalize;
  parameters.function = options.function;
  parameters.long_input = options.long_input;
  parameters.dimensions = options.dimensions;
  if (options.prompt) {
    parameters.prompt = Prompt::kText;
    wanted.prompt = *options.prompt;
  } else if (!options.prompt_name.empty()) {
    parameters.prompt = Prompt::kName;
    wanted.prompt = options.prompt_name;
  }
  parameters.prompt_size = static_cast<std::uint32_t>(wanted.prompt.size());
  constexpr Parameters kDefaults{};
  wanted.is_default = std::memcmp(&parameters, &kDefaults, sizeof parameters) == 0;
  return wanted;
}

base::Status check_list(const Link& link, Op op, Texts texts, const CallOptions& options) {
  if (op == Op::kRerank && texts.size() == 1) {
    return Error{Code::kInvalid, "the list of documents is empty: give at least one"};
  }
  if (texts.empty()) {
    return Error{Code::kInvalid, "the list of texts is empty: give at least one"};
  }
  if ((op == Op::kRerank || !wanted_of(options).is_default) &&
      link.version_minor() < kMinorOfParameters) {
    return Error{Code::kVersionMismatch,
                 "the sidecar speaks version 1." + std::to_string(link.version_minor()) +
                     " of the protocol; rerank, and options that change the answer, need 1." +
                     std::to_string(kMinorOfParameters) + ": update the sidecar"};
  }
  if (op == Op::kRerank && link.items_max() < 2) {
    return Error{Code::kTooLarge,
                 "a query and a document are two texts; the limit is 1 (limits.items_max)"};
  }
  if (options.prompt && !options.prompt_name.empty()) {
    return Error{Code::kInvalid, "a prompt is given by its text or by its name, not by both"};
  }
  const std::size_t prompt = options.prompt ? options.prompt->size() : options.prompt_name.size();
  if (prompt > kPromptBytesMax) {
    return Error{Code::kTooLarge, "a prompt of " + std::to_string(prompt) +
                                      " bytes; the limit is " + std::to_string(kPromptBytesMax)};
  }
  for (std::size_t i = 0; i < texts.size(); ++i) {
    if (texts[i].size() > link.text_bytes_max()) {
      return Error{Code::kTooLarge, name_of(op, i) + " has " + std::to_string(texts[i].size()) +
                                        " bytes; the limit is " +
                                        std::to_string(link.text_bytes_max()) +
                                        " (limits.text_bytes_max)"};
    }
  }
  return base::ok();
}

ListRun::ListRun(const ListCall& call, std::shared_ptr<Link> link)
    : call_(call),
      link_(std::move(link)),
      head_(head_of(call.options)),
      query_(call.texts.first(call.texts.size() - call.rows())),
      documents_(call.texts.last(call.rows())),
      row_size_(row_size(call.options.dtype, call.width)),
      timeout_(bounded_ns(call.options.timeout)),
      deadline_(base::now_ns() + timeout_) {
  call_.options.prompt.reset();  // head_ has them; the caller's bytes may go
  call_.options.prompt_name = {};
}

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
  while (next_ < documents_.size() && count_ < kRequestsAhead) {
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

// Of a request. A sidecar that knows no cache needs not be told what to do with it.
std::uint16_t ListRun::flags() const {
  const std::uint16_t parameters = head_.empty() ? 0 : kRequestParameters;
  if (link_->version_minor() < kMinorOfCache) return parameters;
  const auto cache = static_cast<unsigned>(call_.options.cache) << kRequestCacheShift;
  return static_cast<std::uint16_t>(parameters | cache);
}

// Asks for the rows [chunk.begin, chunk.end).
base::Result<Ticket> ListRun::publish(const Chunk& chunk) {
  const Texts part = documents_.subspan(chunk.begin, chunk.end - chunk.begin);
  const bool bounded = timeout_ > 0;
  const Nanos left_us = (deadline_ - base::now_ns()) / base::kMicrosecond;
  return link_->submit(
      {.op = call_.op,
       .flags = flags(),
       .service = call_.service,
       .items = static_cast<std::uint32_t>(query_.size() + part.size()),
       .deadline_us =
           bounded ? static_cast<std::uint32_t>(std::clamp<Nanos>(left_us, 1, UINT32_MAX)) : 0,
       .trace = call_.options.trace},
      static_cast<std::uint32_t>(head_.size() + list_size(query_) + list_size(part)),
      // Without a time-out of the caller's, each request has the sidecar's default for itself.
      bounded ? deadline_ : link_->default_deadline(base::now_ns()),
      [&](std::span<std::byte> payload) {
        base::copy_bytes(payload.data(), head_.data(), head_.size());
        std::byte* sizes = payload.data() + head_.size();
        std::byte* bytes = sizes + (query_.size() + part.size()) * sizeof(std::uint32_t);
        write_texts(query_, &sizes, &bytes);
        write_texts(part, &sizes, &bytes);
      });
}

// The end of the request that begins at row `begin`: as many texts as fit well into both arenas,
// at least one.
std::size_t ListRun::chunk_end(std::size_t begin) const {
  std::uint64_t payload = head_.size() + list_size(query_);
  const std::uint64_t repeated = query_.empty() ? 0 : query_.front().size();
  std::size_t end = begin;
  while (end < documents_.size() && query_.size() + (end - begin) < link_->items_max()) {
    payload += sizeof(std::uint32_t) + documents_[end].size();
    const bool fits = payload <= link_->request_arena_size() / kRequestsAhead &&
                      row_list_size(end + 1 - begin, row_size_, !head_.empty()) <=
                          link_->reply_arena_size() / kRequestsAhead &&
                      repeated * (end + 1 - begin) <= kRepeatedMax;
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
  const bool with_format = !head_.empty();
  const Error mismatch{Code::kInternal, "the sidecar's reply does not match the request"};
  if (answer.fields.items != count ||
      answer.payload.size() != row_list_size(count, row_size_, with_format)) {
    return mismatch;
  }
  if (with_format) {
    RowFormat format;
    std::memcpy(&format, answer.payload.data(), sizeof format);
    if (!as_asked(format)) return mismatch;
  }
  const std::byte* rows = answer.payload.data() + rows_offset(count, with_format);
  if (call_.places.empty()) {
    base::copy_bytes(out_of(chunk.begin), rows, count * row_size_);
  } else {
    for (std::size_t i = 0; i < count; ++i) {
      base::copy_bytes(out_of(chunk.begin + i), rows + i * row_size_, row_size_);
    }
  }
  for (std::size_t i = 0; i < count; ++i) {
    ItemReport item;
    std::memcpy(&item, answer.payload.data() + reports_offset(with_format) + i * sizeof item,
                sizeof item);
    if (!call_.items.empty()) call_.items[call_.place(chunk.begin + i)] = item;
    if (item.code == 0) continue;
    report_.items_failed += 1;
    if (call_.items.empty()) return error_of_item(item, chunk.begin + i);
    if (call_.op == Op::kRerank) {  // a score of 0 could pass for an answer
      const float none = std::numeric_limits<float>::quiet_NaN();
      std::memcpy(out_of(chunk.begin + i), &none, sizeof none);
    }
  }
  return base::ok();
}

std::byte* ListRun::out_of(std::size_t row) const {
  return call_.out.data() + call_.place(row) * row_size_;
}

bool ListRun::as_asked(const RowFormat& format) const {
  return format.element == call_.options.dtype && format.width == call_.width &&
         format.row_size == row_size_;
}

Error ListRun::error_of_item(const ItemReport& item, std::size_t row) const {
  const auto code = static_cast<Code>(item.code);
  const std::string where = name_of(call_.op, call_.place(row) + query_.size());
  if (code == Code::kInvalid) {
    return Error{code, where + " is not UTF-8 at byte " + std::to_string(item.detail) +
                           ": decode or replace it before the call"};
  }
  if (code == Code::kTooLarge) {
    return Error{code, where + " has " + ((item.flags & kItemMoreTokens) != 0 ? "more than " : "") +
                           std::to_string(item.tokens_total) + " tokens; the limit is " +
                           std::to_string(item.detail) +
                           ": shorten it, or call with another long_input"};
  }
  return Error{code, where + " failed: " + std::string(base::code_name(code))};
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
