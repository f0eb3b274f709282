// See flight.h.
#include "sidecar/schedule/flight.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <array>
#include <cstring>
#include <utility>

#include "sidecar/base/check.h"

namespace nacelle::sidecar {
namespace {

std::uint64_t digest(const std::vector<std::uint32_t>& numbers, std::uint64_t seed) {
  return XXH3_64bits_withSeed(numbers.data(), numbers.size() * sizeof numbers[0], seed);
}

bool same_plan(const RowPlan& a, const RowPlan& b) {
  return a.element == b.element && a.width == b.width && a.size == b.size &&
         a.with_format == b.with_format && a.normalize == b.normalize && a.scaled == b.scaled &&
         a.function == b.function && a.direct == b.direct;
}

}  // namespace

std::uint64_t answer_key(const Request& request) {
  const RowPlan& plan = request.plan;
  const std::array<std::uint32_t, 8> head = {
      request.service,
      static_cast<std::uint32_t>(request.task),
      request.texts,
      request.specials,
      plan.width,
      static_cast<std::uint32_t>(plan.element),
      static_cast<std::uint32_t>(plan.function),
      (request.raw ? 1U : 0U) | (plan.with_format ? 2U : 0U) | (plan.normalize ? 4U : 0U)};
  std::uint64_t key = XXH3_64bits(head.data(), sizeof head);
  key = digest(request.ids, key);
  key = digest(request.types, key);
  key = digest(request.offsets, key);
  return digest(request.first_windows, key);
}

bool same_answer(const Request& a, const Request& b) {
  return a.service == b.service && a.task == b.task && a.raw == b.raw && a.texts == b.texts &&
         a.specials == b.specials && same_plan(a.plan, b.plan) && a.offsets == b.offsets &&
         a.first_windows == b.first_windows && a.types == b.types && a.ids == b.ids;
}

void copy_rows(const Request& from, const Request& to) {
  if (from.plan.size == 0) return;
  CHECK(from.row(from.texts) <= from.reply.data() + from.reply.size());
  CHECK(to.row(to.texts) <= to.reply.data() + to.reply.size());
  const Request& tokens = from.offsets.empty() ? to : from;  // one of the two has them
  for (std::uint32_t text = 0; text < from.texts; ++text) {
    const auto& firsts = tokens.first_windows;
    const std::uint32_t window = firsts.empty() ? text : firsts[text];
    if (tokens.tokens(window) > 0) std::memcpy(to.row(text), from.row(text), from.plan.size);
  }
}

std::unique_ptr<Request> succeed(Flight& flight, std::unique_ptr<Request> next) {
  std::unique_ptr<Request> last = std::exchange(flight.leader, std::move(next));
  Request& leader = *flight.leader;
  leader.ids = std::move(last->ids);
  leader.types = std::move(last->types);
  leader.offsets = std::move(last->offsets);
  leader.first_windows = std::move(last->first_windows);
  leader.sum = std::move(last->sum);
  leader.sum_weight = last->sum_weight;
  leader.next = last->next;
  leader.started = last->started;
  leader.compute = last->compute;
  leader.share = last->share;
  leader.batch_texts = last->batch_texts;
  leader.batch_clients = last->batch_clients;
  if (flight.done > 0) copy_rows(*last, leader);
  return last;
}

Flight* FlightTable::find(std::uint64_t key, const Request& request) const {
  const auto found = flights_.find(key);
  if (found == flights_.end() || !same_answer(*found->second->leader, request)) return nullptr;
  return found->second;
}

void FlightTable::add(Flight& flight) {
  flight.listed = flights_.emplace(flight.key, &flight).second;
}

void FlightTable::remove(Flight& flight) {
  if (flight.listed) flights_.erase(flight.key);
  flight.listed = false;
}

}  // namespace nacelle::sidecar
