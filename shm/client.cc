#include "shm/client.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "shm/client_state.h"
#include "shm/list_call.h"
#include "shm/lookup.h"
#include "shm/pending.h"
#include "shm/stream.h"
#include "sidecar/base/check.h"

namespace nacelle {
namespace {

using base::Code;
using base::Error;
using base::Nanos;

std::string_view name_of(shm::Op op) {
  return op == shm::Op::kEmbed ? "embed" : op == shm::Op::kRerank ? "rerank" : "classify";
}

// Numbers per row of this call; kInvalid when the service does not do this.
base::Result<std::uint32_t> width_of(shm::Op op, std::string_view name, const ServiceInfo& info,
                                     const CallOptions& options) {
  const std::uint32_t width = Service::width_of(info, op);
  if (width == 0) {
    return Error{Code::kInvalid, "the service " + quoted(name) + " (" + info.architecture +
                                     ") does not " + std::string(name_of(op))};
  }
  const std::uint32_t wanted = options.dimensions;
  if (wanted > width) {
    return Error{Code::kInvalid, "dimensions is " + std::to_string(wanted) + "; the rows of " +
                                     quoted(name) + " have " + std::to_string(width) + " numbers"};
  }
  return wanted > 0 ? wanted : width;
}

// Whether the rows fit where they are to go; else numbers per row.
base::Result<std::uint32_t> check_shape(shm::Op op, std::string_view name, const Service& service,
                                        std::span<const std::string_view> texts,
                                        std::span<std::byte> out, std::span<shm::ItemReport> items,
                                        const CallOptions& options) {
  const base::Result<std::uint32_t> width = width_of(op, name, service.info, options);
  if (!width) return width.error();
  const std::size_t rows = texts.size() - (op == shm::Op::kRerank ? 1 : 0);
  const std::uint64_t size = shm::row_size(options.dtype, *width);
  if (out.size() != rows * size) {
    // Exactly: a sidecar that came back with another model would else fill rows of another width.
    return Error{Code::kInvalid, "the output has room for " + std::to_string(out.size()) +
                                     " bytes; " + std::to_string(rows) + " rows of " +
                                     std::to_string(size) + " are needed (" +
                                     std::to_string(*width) + " numbers each)"};
  }
  if (!items.empty() && items.size() < rows) {
    return Error{Code::kInvalid, "items has room for " + std::to_string(items.size()) +
                                     " entries; there are " + std::to_string(rows) + " texts"};
  }
  return *width;
}

// What can be refused before anything is sent; else numbers per row.
base::Result<std::uint32_t> check_call(shm::Op op, std::string_view name, const Service& service,
                                       const shm::Link& link,
                                       std::span<const std::string_view> texts,
                                       std::span<std::byte> out, std::span<shm::ItemReport> items,
                                       const CallOptions& options) {
  if (base::Status good = shm::check_list(link, op, texts, options); !good) return good.error();
  return check_shape(op, name, service, texts, out, items, options);
}

// The rows of a call that can be had without asking. None of a call that will be refused.
shm::Lookup look_up(const Known& known, std::string_view name, shm::ListCall& call) {
  const std::size_t least = call.op == shm::Op::kRerank ? 2 : 1;
  const bool two_prompts = call.options.prompt && !call.options.prompt_name.empty();
  if (!known.cache || !known.service || call.texts.size() < least || two_prompts) return {};
  const auto width =
      check_shape(call.op, name, *known.service, call.texts, call.out, call.items, call.options);
  if (!width) return {};
  call.width = *width;
  return shm::look_up(*known.cache, *known.service, call);
}

}  // namespace

Client::Client(std::unique_ptr<State> state) : state_(state.release()) {}

Client::~Client() {
  State* state = state_.load(std::memory_order_relaxed);
  if (state->mark.forked()) {
    // A copy that a forked child never used. The regions are not mapped here (MADV_DONTFORK), and
    // what is at their addresses now is somebody else's: close the descriptors, leave the rest.
    state->close_inherited();
    return;
  }
  delete state;
}

Client::State& Client::state() const {
  State* current = state_.load(std::memory_order_acquire);
  if (!current->mark.forked()) return *current;
  // A forked child: the parent's link is not ours, and its mutex may be held by a thread that does
  // not exist here. Leave the old state be (a small leak, once per fork) and begin anew.
  auto fresh = std::make_unique<State>(current->options);
  if (state_.compare_exchange_strong(current, fresh.get(), std::memory_order_acq_rel)) {
    current->close_inherited();
    return *fresh.release();
  }
  return *current;  // another thread of this child was first
}

base::Result<std::unique_ptr<Client>> Client::connect(const ClientOptions& options) {
  auto state = std::make_unique<State>(options);
  if (const std::string& transport = state->options.transport;
      transport != "shm" && transport != "socket") {
    return Error{Code::kInvalid, "the transport is " + quoted(transport) +
                                     " (NACELLE_TRANSPORT); there are \"shm\" and \"socket\""};
  }
  base::Result<std::shared_ptr<shm::Link>> link = state->link();
  if (!link) return link.error();
  return std::unique_ptr<Client>(new Client(std::move(state)));
}

base::Result<std::shared_ptr<const ServiceInfo>> Client::describe(std::string_view service) {
  State& self = state();
  for (int attempt = 0;; ++attempt) {
    base::Result<std::shared_ptr<shm::Link>> link = self.link();
    if (!link) return link.error();
    base::Result<ServicePtr> found = self.service(*link, service);
    if (found) return std::shared_ptr<const ServiceInfo>(*found, &(*found)->info);
    if (found.error().code != Code::kSidecarGone || attempt > 0) return found.error();
  }
}

std::shared_ptr<const ServiceInfo> Client::recall(std::string_view service) {
  const ServicePtr known = state().known(service).service;
  return known ? std::shared_ptr<const ServiceInfo>(known, &known->info) : nullptr;
}

base::Result<CallReport> Client::run(shm::Op op, std::string_view service,
                                     std::span<const std::string_view> texts,
                                     std::span<std::byte> out, std::span<shm::ItemReport> items,
                                     const CallOptions& options, CallReport* on_error) {
  CHECK(op == shm::Op::kEmbed || op == shm::Op::kClassify || op == shm::Op::kRerank);
  State& self = state();
  shm::ListCall call{.op = op, .texts = texts, .out = out, .items = items, .options = options};
  for (int attempt = 0;; ++attempt) {
    Known known = self.known(service);
    shm::Lookup looked = look_up(known, service, call);
    if (looked.whole()) return CallReport{.items_cached = looked.hits};
    base::Result<std::shared_ptr<shm::Link>> link = self.link();
    if (!link) return link.error();
    base::Result<ServicePtr> found = self.service(*link, service);
    CallReport report;
    base::Status status = base::ok();
    if (!found) {
      status = found.error();
    } else if (const auto width =
                   check_call(op, service, **found, **link, texts, out, items, options);
               !width) {
      return width.error();
    } else {
      call.service = (*found)->handle;
      call.width = *width;
      // Rows of one list are of one model: what was found under another description does not count.
      if (*found != known.service) {
        known = {(*link)->cache(), *found};
        looked = look_up(known, service, call);
        if (looked.whole()) return CallReport{.items_cached = looked.hits};
      }
      const shm::Remainder rest(call, std::move(looked));
      shm::ListRun list(rest.call(), *link);
      status = list.run();
      report = list.report();
      report.items_cached = rest.hits();
      // Nor does it when the service is another one by now.
      const bool changed =
          rest.hits() > 0 && known.cache->generation() != known.service->cache.generation;
      if (status && changed && attempt == 0) continue;
    }
    if (status) return report;
    if (on_error != nullptr) *on_error = report;
    if (status.error().code != Code::kSidecarGone || attempt > 0) return status.error();
  }
}

// Describes the service, makes rows of that shape and fills them. When a sidecar with another model
// takes over in between, once more: rows must not be read with another model's width or labels.
base::Result<std::shared_ptr<const ServiceInfo>> Client::fill(
    shm::Op op, std::string_view service, std::span<const std::string_view> texts, Rows& rows,
    bool per_item, const CallOptions& options) {
  const auto look = [&]() -> base::Result<std::shared_ptr<const ServiceInfo>> {
    if (auto known = recall(service)) return known;
    return describe(service);
  };
  for (int attempt = 0;; ++attempt) {
    const base::Result<std::shared_ptr<const ServiceInfo>> before = look();
    if (!before) return before.error();
    const base::Result<std::uint32_t> width = width_of(op, service, **before, options);
    if (!width) return width.error();
    const std::size_t count = texts.size() - (op == shm::Op::kRerank ? 1 : 0);
    const bool floats = options.dtype == shm::Element::kFloat32;
    rows.dtype = options.dtype;
    rows.width = *width;
    rows.values.assign(floats ? count * rows.width : 0, 0.0F);
    rows.encoded.assign(floats ? 0 : count * shm::row_size(rows.dtype, rows.width), {});
    rows.items.assign(per_item ? count : 0, {});
    const std::span<std::byte> out =
        floats ? std::as_writable_bytes(std::span(rows.values)) : std::span(rows.encoded);
    base::Result<CallReport> report = run(op, service, texts, out, rows.items, options);
    // Rows, or the complaint that they have another width: both may come from another model.
    // After any other error there is nothing to compare, and perhaps nobody to ask.
    if (!report && report.error().code != Code::kInvalid) return report.error();
    const base::Result<std::shared_ptr<const ServiceInfo>> after = look();
    const bool changed = after && (*after)->digest != (*before)->digest;
    if (changed && attempt == 0) continue;
    if (!report) return report.error();
    if (changed) return Error{Code::kBusy, "the model changed during the call, twice: try again"};
    rows.report = *report;
    return before;
  }
}

base::Result<Rows> Client::embed(std::string_view service, std::span<const std::string_view> texts,
                                 const CallOptions& options) {
  Rows rows;
  auto info = fill(shm::Op::kEmbed, service, texts, rows, true, options);
  if (!info) return info.error();
  return rows;
}

base::Result<std::vector<Classification>> Client::classify(std::string_view service,
                                                           std::span<const std::string_view> texts,
                                                           const CallOptions& options,
                                                           CallReport* report) {
  Rows rows;
  auto info = fill(shm::Op::kClassify, service, texts, rows, false, options);
  if (!info) return info.error();
  if (report != nullptr) *report = rows.report;
  std::vector<Classification> out(texts.size());
  for (std::size_t i = 0; i < texts.size(); ++i) {
    const std::span<const float> scores = rows.row(i);
    const auto best = std::max_element(scores.begin(), scores.end());
    out[i] = {.label = (*info)->labels[static_cast<std::size_t>(best - scores.begin())],
              .score = *best,
              .scores = {scores.begin(), scores.end()},
              .best = best_of(scores, options.top)};
  }
  return out;
}

base::Result<Ranking> Client::rerank(std::string_view service, std::string_view query,
                                     std::span<const std::string_view> documents,
                                     const CallOptions& options) {
  std::vector<std::string_view> texts = {query};
  texts.insert(texts.end(), documents.begin(), documents.end());
  Rows rows;
  auto info = fill(shm::Op::kRerank, service, texts, rows, true, options);
  if (!info) return info.error();
  return Ranking{.best = best_of(rows.values, options.top),
                 .scores = std::move(rows.values),
                 .items = std::move(rows.items),
                 .report = rows.report};
}

std::vector<std::uint32_t> best_of(std::span<const float> scores, std::uint32_t top) {
  std::vector<std::uint32_t> best;
  for (std::uint32_t i = 0; i < scores.size(); ++i) {
    if (!std::isnan(scores[i])) best.push_back(i);
  }
  const std::size_t wanted = top > 0 ? std::min<std::size_t>(top, best.size()) : best.size();
  std::partial_sort(best.begin(), best.begin() + static_cast<std::ptrdiff_t>(wanted), best.end(),
                    [&scores](std::uint32_t a, std::uint32_t b) {
                      return scores[a] != scores[b] ? scores[a] > scores[b] : a < b;
                    });
  best.resize(wanted);
  return best;
}

base::Result<std::unique_ptr<Pending>> Client::start(shm::Op op, std::string_view service,
                                                     std::vector<std::string_view> texts,
                                                     std::span<float> out,
                                                     std::span<shm::ItemReport> items,
                                                     const CallOptions& options) {
  return start(op, service, std::move(texts), std::as_writable_bytes(out), items, options);
}

base::Result<std::unique_ptr<Pending>> Client::start(shm::Op op, std::string_view service,
                                                     std::vector<std::string_view> texts,
                                                     std::span<std::byte> out,
                                                     std::span<shm::ItemReport> items,
                                                     const CallOptions& options) {
  CHECK(op == shm::Op::kEmbed || op == shm::Op::kClassify || op == shm::Op::kRerank);
  State& self = state();
  shm::ListCall call{.op = op, .texts = texts, .out = out, .items = items, .options = options};
  const Known cached = self.known(service);
  shm::Lookup looked = look_up(cached, service, call);
  if (looked.whole()) {
    return std::make_unique<Pending>(
        CallReport{.items_cached = looked.hits},
        std::shared_ptr<const ServiceInfo>(cached.service, &cached.service->info));
  }
  std::shared_ptr<shm::Link> link;
  ServicePtr known;
  {
    const std::lock_guard lock(self.mutex);
    link = self.live.link;
    const auto found = self.live.services.find(service);
    if (found != self.live.services.end()) known = found->second;
  }
  if (!link || link->dead()) return Error{Code::kSidecarGone, "there is no live connection"};
  if (!known || (link->cache() && link->cache()->generation() != known->cache.generation)) {
    return Error{Code::kNotFound, "the service " + quoted(service) + " has not been described yet"};
  }
  const auto width = check_call(op, service, *known, *link, texts, out, items, options);
  if (!width) return width.error();
  call.service = known->handle;
  call.width = *width;
  if (known != cached.service) looked = {};
  return std::make_unique<Pending>(call, std::move(looked), std::move(texts), std::move(link),
                                   std::shared_ptr<const ServiceInfo>(known, &known->info));
}

base::Result<std::unique_ptr<Stream>> Client::ping_stream(std::uint32_t pieces,
                                                          std::uint32_t piece_bytes,
                                                          std::chrono::microseconds interval,
                                                          const CallOptions& options) {
  const auto interval_us =
      static_cast<std::uint32_t>(std::clamp<std::int64_t>(interval.count(), 0, UINT32_MAX));
  const shm::PingStream wanted{pieces, piece_bytes, interval_us, 0};
  State& self = state();
  base::Result<std::shared_ptr<shm::Link>> link = self.link();
  if (!link) return link.error();
  const Nanos timeout = shm::bounded_ns(options.timeout);
  const Nanos deadline =
      timeout > 0 ? base::now_ns() + timeout : (*link)->default_deadline(base::now_ns());
  base::Result<shm::StreamTicket> ticket = (*link)->submit_stream(
      {.op = shm::Op::kPingStream,
       .deadline_us =
           static_cast<std::uint32_t>(std::min<Nanos>(timeout / base::kMicrosecond, UINT32_MAX)),
       .trace = options.trace},
      sizeof wanted, deadline,
      [&](std::span<std::byte> out) { std::memcpy(out.data(), &wanted, sizeof wanted); });
  if (!ticket) return ticket.error();
  return std::make_unique<Stream>(*std::move(link), *std::move(ticket));
}

base::Status Client::ping(std::span<const std::byte> request, std::span<std::byte> reply) {
  if (reply.empty() && !request.empty()) {
    return Error{Code::kInvalid, "a ping that sends bytes wants at least one back"};
  }
  State& self = state();
  for (int attempt = 0;; ++attempt) {
    base::Result<std::shared_ptr<shm::Link>> made = self.link();
    if (!made) return made.error();
    shm::Link& link = **made;
    if (request.size() > link.request_arena_size()) {
      return Error{Code::kTooLarge, "a ping of " + std::to_string(request.size()) +
                                        " bytes does not fit in " +
                                        std::to_string(link.request_arena_size()) +
                                        " bytes (transport.request_arena_bytes)"};
    }
    if (reply.size() > link.reply_arena_size()) {
      return Error{Code::kTooLarge, "a reply of " + std::to_string(reply.size()) +
                                        " bytes does not fit in " +
                                        std::to_string(link.reply_arena_size()) +
                                        " bytes (transport.reply_arena_bytes)"};
    }
    // A sidecar that knows no other size than the request's is asked for that in the old way.
    const std::size_t wanted = reply.size() == request.size() ? 0 : reply.size();
    base::Result<shm::Ticket> ticket =
        link.submit({.op = shm::Op::kPing, .items = static_cast<std::uint32_t>(wanted)},
                    static_cast<std::uint32_t>(request.size()), shm::kDefaultDeadline,
                    [&](std::span<std::byte> out) {
                      base::copy_bytes(out.data(), request.data(), request.size());
                    });
    base::Status status = base::ok();
    if (!ticket) {
      status = ticket.error();
    } else if (base::Result<shm::Answer> answer = link.wait(*ticket); !answer) {
      status = answer.error();
    } else {
      if (answer->fields.code != Code::kOk) {
        status = shm::error_of(*answer);
      } else if (answer->payload.size() != reply.size()) {
        status = Error{Code::kInternal, "the sidecar's reply does not match the request"};
      } else {
        base::copy_bytes(reply.data(), answer->payload.data(), reply.size());
      }
      link.finish(*ticket);
    }
    if (status || status.error().code != Code::kSidecarGone || attempt > 0) return status;
  }
}

std::uint64_t Client::rescued_by_timeout() const {
  State& self = state();
  const std::lock_guard lock(self.mutex);
  return self.rescued_before + (self.live.link ? self.live.link->rescued_by_timeout() : 0);
}

}  // namespace nacelle
