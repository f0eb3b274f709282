// Intake's requests about texts: from a slot to a Request with tokens, or to the reason why not.
#include <cstring>
#include <new>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "sidecar/base/check.h"
#include "sidecar/base/utf8.h"
#include "sidecar/intake.h"
#include "sidecar/result_cache.h"
#include "sidecar/windows.h"

namespace nacelle::sidecar {
namespace {

using base::Code;
using base::Error;

model::Task task_of(shm::Op op) {
  return op == shm::Op::kEmbed ? model::Task::kEmbed : model::Task::kClassify;
}

std::string_view verb(shm::Op op) {
  return op == shm::Op::kEmbed ? "embed" : op == shm::Op::kRerank ? "rerank" : "classify";
}

// The texts of a text list, one after the other.
class TextList {
 public:
  TextList(std::span<const std::byte> bytes, std::uint32_t items, std::uint64_t text_max)
      : bytes_(bytes), offset_(std::uint64_t{items} * sizeof(std::uint32_t)), text_max_(text_max) {}

  [[nodiscard]] base::Status check() const {
    if (offset_ <= bytes_.size()) return base::ok();
    return Error{Code::kInvalid, "the payload is shorter than its list of sizes"};
  }
  // No more often than there are items, after check().
  base::Result<std::string_view> next() {
    std::uint32_t size = 0;
    std::memcpy(&size, bytes_.data() + count_ * sizeof size, sizeof size);
    const std::string which = "text " + std::to_string(count_++);
    if (!base::fits(offset_, size, bytes_.size())) {
      return Error{Code::kInvalid, which + " reaches past the payload"};
    }
    if (size > text_max_) {
      return Error{Code::kTooLarge, which + " has " + std::to_string(size) +
                                        " bytes; the limit is " + std::to_string(text_max_) +
                                        " (limits.text_bytes_max)"};
    }
    const auto* begin = reinterpret_cast<const char*>(bytes_.data() + offset_);
    offset_ += size;
    return std::string_view(begin, size);
  }
  [[nodiscard]] bool at_end() const { return offset_ == bytes_.size(); }

 private:
  std::span<const std::byte> bytes_;
  std::uint64_t offset_;
  std::uint64_t text_max_;
  std::size_t count_ = 0;
};

// The query of a rerank, when its documents may be as many as they are.
base::Status check_query(std::string_view query, std::uint32_t documents) {
  if (const auto bad = base::find_invalid_utf8(query)) {
    return Error{Code::kInvalid, "the query is not UTF-8 at byte " + std::to_string(*bad)};
  }
  if (query.size() * std::uint64_t{documents} > shm::kRepeatedMax) {
    return Error{Code::kTooLarge, "a query of " + std::to_string(query.size()) + " bytes for " +
                                      std::to_string(documents) +
                                      " documents: it is read for each, and may have " +
                                      std::to_string(shm::kRepeatedMax) +
                                      " bytes in all; send fewer documents at a time"};
  }
  return base::ok();
}

}  // namespace

// Splits a text list, tokenizes each text into `request`, and writes the items' reports. A text
// that cannot be computed gets no tokens and an error of its own; one that is in the cache, because
// another client has asked meanwhile or this one cannot look itself, gets its row.
base::Status Intake::tokenize(shm::Op op, const LoadedService& service, const Asked& asked,
                              std::span<const std::byte> list, std::uint32_t items,
                              Request& request) {
  TextList texts(list, items, config_.limits.text_bytes_max);
  if (base::Status good = texts.check(); !good) return good;
  std::string_view query;
  if (op == shm::Op::kRerank) {
    const base::Result<std::string_view> first = texts.next();
    if (!first) return first.error();
    query = *first;
    if (base::Status good = check_query(query, request.texts); !good) return good;
  }
  Windows windows(service, asked, config_.limits.windows_max, request);
  std::byte* report = request.reply.data() + shm::reports_offset(request.plan.with_format);
  CacheDomain* cache = request.client->cache ? &request.client->cache->domain() : nullptr;
  const cache::Times now = cache != nullptr ? cache_times() : cache::Times{};
  std::optional<shm::CacheKeys> keys;
  if (cache != nullptr && (asked.cache.reads || asked.cache.puts)) {
    keys.emplace(
        shm::CacheContext{.domain = cache->name(),
                          .answers = service.answers_digest,
                          .op = op,
                          .parameters = asked.parameters,
                          .prompt = asked.wanted_prompt,
                          .query = op == shm::Op::kRerank ? std::optional(query) : std::nullopt});
  }
  for (std::uint32_t i = 0; i < request.texts; ++i) {
    const base::Result<std::string_view> text = texts.next();
    if (!text) return text.error();
    ToCache to_cache{i, keys ? keys->of(*text) : shm::CacheKey{}};
    if (keys && asked.cache.reads &&
        cache->get(to_cache.key, {report, sizeof(shm::ItemReport)},
                   {request.row(i), request.plan.size}, now)) {
      windows.skip();
      report += sizeof(shm::ItemReport);
      continue;
    }
    const base::Result<shm::ItemReport> item =
        op == shm::Op::kRerank ? windows.add_pair(query, *text) : windows.add(*text);
    if (!item) return item.error().in("text " + std::to_string(i));
    std::memcpy(report, &*item, sizeof *item);
    report += sizeof *item;
    if (item->code != 0) {
      std::memset(request.row(i), 0, request.plan.size);  // a miss may have left anything there
    } else if (keys && asked.cache.puts) {
      request.to_cache.push_back(to_cache);
    }
  }
  windows.finish();
  if (!texts.at_end()) return Error{Code::kInvalid, "the payload is longer than its texts"};
  return base::ok();
}

// A request with its tokens, and room for its reply.
base::Result<std::unique_ptr<Request>> Intake::make_request(
    const std::shared_ptr<ClientState>& client, const shm::Submission& submission,
    const LoadedService& service) {
  const model::Info& info = service.model->info();
  if (!service.answers(submission.op)) {
    return Error{Code::kInvalid, "the service " + service.name + " (" + info.architecture +
                                     ") does not " + std::string(verb(submission.op))};
  }
  if (submission.items == 0) {
    return Error{Code::kInvalid, "the list of texts is empty: give at least one"};
  }
  const std::uint32_t rows = submission.items - (submission.op == shm::Op::kRerank ? 1 : 0);
  if (rows == 0) {
    return Error{Code::kInvalid, "there is a query, but no document: give at least one"};
  }
  if (submission.items > config_.limits.items_max) {
    return Error{Code::kTooLarge,
                 std::to_string(submission.items) + " texts in one request; the limit is " +
                     std::to_string(config_.limits.items_max) + " (limits.items_max)"};
  }
  payload_.resize(submission.payload_size);
  CHECK(client->connection->copy_payload(submission, payload_));
  const base::Result<Asked> asked = read_asked(submission.op, submission.flags, payload_, service);
  if (!asked) return asked.error();
  const RowPlan& plan = asked->plan;
  const std::uint64_t size = shm::row_list_size(rows, plan.size, plan.with_format);
  if (!client->connection->could_hold(size)) {
    return Error{Code::kTooLarge, "a reply of " + std::to_string(size) +
                                      " bytes does not fit (transport.reply_arena_bytes): send "
                                      "fewer texts at a time"};
  }

  auto request = std::make_unique<Request>();
  request->reply = client->connection->reserve(submission, size);
  if (request->reply.empty()) {
    return Error{Code::kBusy,
                 "no room for the reply beside those not yet read (transport.reply_arena_bytes)"};
  }
  request->client = client;
  request->slot = submission.slot;
  request->generation = submission.generation;
  request->service = submission.service;
  request->task = task_of(submission.op);
  request->raw = asked->raw;
  request->texts = rows;
  request->plan = plan;
  request->arrived = taken_;
  request->times.take(taken_, taken_ - looked_before_);
  request->deadline = request->arrived + time_for(submission, service.policy.deadline_ms);
  if (plan.with_format) {
    const shm::RowFormat format{plan.width, plan.size, plan.element, {}};
    std::memcpy(request->reply.data(), &format, sizeof format);
  }
  const std::span<const std::byte> list = std::span(payload_).subspan(asked->head_size);
  if (base::Status done =
          tokenize(submission.op, service, *asked, list, submission.items, *request);
      !done) {
    return done.error();
  }
  request->times.tokenized = base::now_ns();
  request->times.pass(Stage::kTokenize, request->times.tokenized);
  return request;
}

// The same, when memory may run out on the way.
base::Result<std::unique_ptr<Request>> Intake::try_request(
    const std::shared_ptr<ClientState>& client, const shm::Submission& submission,
    const LoadedService& service) {
  try {
    return make_request(client, submission, service);
  } catch (const std::bad_alloc&) {
    return Error{Code::kBusy, "out of memory"};  // short enough to need none
  }
}

void Intake::handle_texts(const std::shared_ptr<ClientState>& client,
                          const shm::Submission& submission) {
  taken_ = base::now_ns();
  counters_.requests.add();
  client->counters.requests.add();
  client->account->requests.add();
  if (submission.service >= services_.size()) {
    return replier_.refuse(
        *client, submission,
        {Code::kNotFound, "no service has the handle " + std::to_string(submission.service)});
  }
  LoadedService& service = services_.at(submission.service);
  service.counters.requests.add();
  if (draining()) {  // counted first: every request that is taken ends in the counts, too
    service.counters.errors.add();
    refused_in_drain_.add();
    return replier_.refuse(*client, submission,
                           {Code::kSidecarGone, "the sidecar is shutting down"});
  }
  if (const std::optional<Full> full = downstream_.full(*client, service)) {
    service.counters.errors.add();
    return replier_.refuse(*client, submission, full->why, full->retry_after_us);
  }
  base::Result<std::unique_ptr<Request>> request = try_request(client, submission, service);
  if (!request) {
    service.counters.errors.add();
    const bool busy = request.error().code == Code::kBusy;
    return replier_.refuse(*client, submission, request.error(), busy ? 1000 : 0);
  }
  if ((*request)->ids.empty()) {  // every text was bad: nothing to compute, and the items say why
    std::vector<Outcome> outcome;
    outcome.push_back({*std::move(request), base::ok()});
    return replier_.reply(std::move(outcome));
  }
  Refused refused = downstream_.submit(*std::move(request));
  if (refused.request) {
    service.counters.errors.add();
    replier_.refuse(*client, submission, refused.why, refused.retry_after_us);
  }
}

}  // namespace nacelle::sidecar
