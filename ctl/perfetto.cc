#include "ctl/perfetto.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

namespace nacelle::ctl {
namespace {

using control::TracedBatch;
using control::TracedRequest;
using control::TraceReport;
using nlohmann::json;

constexpr int kClients = 1;  // "processes" of the picture
constexpr int kSidecar = 2;
constexpr int kIntake = 1;  // "threads" of the sidecar
constexpr int kScheduler = 2;
constexpr int kDevice = 3;
constexpr int kReplier = 4;

struct Track {
  int process;
  int thread;
};

class Events {
 public:
  explicit Events(std::uint64_t origin_ns) : origin_ns_(origin_ns) {}

  json& add(std::string_view name, std::string_view phase, Track track, std::uint64_t at_ns) {
    list_.push_back({{"name", name},
                     {"cat", "nacelle"},
                     {"ph", phase},
                     {"pid", track.process},
                     {"tid", track.thread},
                     {"ts", us(at_ns - std::min(at_ns, origin_ns_))}});
    return list_.back();
  }
  // A slice; nothing when it would end before it begins.
  void slice(std::string_view name, Track track, std::uint64_t from_ns, std::uint64_t to_ns,
             json arguments = json::object()) {
    if (to_ns < from_ns) return;
    json& event = add(name, "X", track, from_ns);
    event["dur"] = us(to_ns - from_ns);
    event["args"] = std::move(arguments);
  }
  void name_process(int process, std::string_view name) {
    add("process_name", "M", {process, 0}, origin_ns_)["args"] = {{"name", name}};
  }
  void name_thread(Track track, std::string_view name) {
    add("thread_name", "M", track, origin_ns_)["args"] = {{"name", name}};
    add("thread_sort_index", "M", track, origin_ns_)["args"] = {{"sort_index", track.thread}};
  }
  json take() { return std::move(list_); }

 private:
  static double us(std::uint64_t ns) { return static_cast<double>(ns) / 1000; }

  std::uint64_t origin_ns_;
  json list_ = json::array();
};

std::string service_name(const TraceReport& report, std::uint32_t index) {
  return index < report.services.size() ? report.services[index] : std::to_string(index);
}

json arguments_of(const TraceReport& report, const TracedRequest& request) {
  json arguments = {{"request", request.number},
                    {"client", request.client},
                    {"slot", request.slot},
                    {"texts", request.texts},
                    {"tokens", request.tokens},
                    {"outcome", request.outcome},
                    {"first_batch", request.first_batch},
                    {"last_batch", request.last_batch},
                    {"total_ns", request.replied_ns - request.taken_ns},
                    {"ring_ns_at_most", request.ring_ns}};
  for (std::size_t i = 0; i < request.stage_ns.size() && i < report.stages.size(); ++i) {
    arguments[report.stages[i] + "_ns"] = request.stage_ns[i];
  }
  return arguments;
}

// The request and its stages on the track of its slot.
void draw_request(Events& events, Track track, const TraceReport& report,
                  const TracedRequest& request, const TracedBatch* batch, std::uint64_t free_ns) {
  const std::uint64_t taken = request.taken_ns;
  // How long it lay there is an upper bound: not longer than since the slot's last reply.
  const std::uint64_t published =
      std::clamp(taken - std::min(taken, request.ring_ns), std::min(free_ns, taken), taken);
  events.slice(service_name(report, request.service) + " #" + std::to_string(request.number), track,
               published, request.replied_ns, arguments_of(report, request));
  events.slice("ring", track, published, taken);
  events.slice("tokenize", track, taken, request.tokenized_ns);
  if (request.first_batch == 0) {
    events.slice("batch_wait", track, request.tokenized_ns, request.replied_ns);
    return;
  }
  events.slice("batch_wait", track, request.tokenized_ns, request.first_begin_ns);
  if (batch != nullptr) {
    events.slice("copy", track, batch->begin_ns, batch->gathered_ns);
    events.slice("compute", track, batch->gathered_ns, batch->computed_ns);
    events.slice("copy", track, batch->computed_ns, batch->end_ns);
  } else {  // several batches, or one that is forgotten
    events.slice("batches", track, request.first_begin_ns, request.last_end_ns,
                 {{"first", request.first_batch}, {"last", request.last_batch}});
  }
  events.slice("reply", track, request.last_end_ns, request.replied_ns);
}

void draw_batch(Events& events, const TraceReport& report, const TracedBatch& batch) {
  const Track device{kSidecar, kDevice};
  events.slice("batch " + std::to_string(batch.number), device, batch.begin_ns, batch.end_ns,
               {{"service", service_name(report, batch.service)},
                {"texts", batch.texts},
                {"tokens", batch.tokens},
                {"clients", batch.clients}});
  events.slice("copy", device, batch.begin_ns, batch.gathered_ns);
  events.slice("compute", device, batch.gathered_ns, batch.computed_ns);
  events.slice("copy", device, batch.computed_ns, batch.end_ns);
}

}  // namespace

json perfetto(const TraceReport& report) {
  std::vector<const TracedRequest*> requests;  // in the order of their replies
  std::uint64_t origin_ns = UINT64_MAX;
  for (const TracedRequest& request : report.requests) {
    requests.push_back(&request);
    origin_ns = std::min(origin_ns, request.taken_ns - std::min(request.taken_ns, request.ring_ns));
  }
  for (const TracedBatch& batch : report.batches) origin_ns = std::min(origin_ns, batch.begin_ns);
  std::stable_sort(requests.begin(), requests.end(),
                   [](const auto* a, const auto* b) { return a->replied_ns < b->replied_ns; });

  Events events(origin_ns);
  events.name_process(kClients, "clients");
  events.name_process(kSidecar, "nacelled");
  events.name_thread({kSidecar, kIntake}, "intake");
  events.name_thread({kSidecar, kScheduler}, "scheduler");
  events.name_thread({kSidecar, kDevice}, "device batches");
  events.name_thread({kSidecar, kReplier}, "replier");

  std::map<std::uint64_t, const TracedBatch*> batches;
  for (const TracedBatch& batch : report.batches) {
    batches[batch.number] = &batch;
    draw_batch(events, report, batch);
  }
  std::map<std::uint64_t, std::string> names;
  for (const control::TracedClient& client : report.clients) names[client.id] = client.name;

  struct Slot {
    int thread = 0;
    std::uint64_t free_ns = 0;  // its last reply
  };
  std::map<std::pair<std::uint64_t, std::uint32_t>, Slot> slots;
  std::uint64_t last_reply_ns = 0;
  for (const TracedRequest* request : requests) {
    const auto [place, fresh] = slots.try_emplace({request->client, request->slot});
    Slot& slot = place->second;
    if (fresh) {
      slot.thread = static_cast<int>(slots.size());
      const auto name = names.find(request->client);
      events.name_thread({kClients, slot.thread},
                         "client " + std::to_string(request->client) +
                             (name == names.end() ? "" : " " + name->second) + ", slot " +
                             std::to_string(request->slot));
    }
    const auto batch_of = [&batches](std::uint64_t number) {
      const auto found = batches.find(number);
      return found == batches.end() ? nullptr : found->second;
    };
    const TracedBatch* first = batch_of(request->first_batch);
    const TracedBatch* last = batch_of(request->last_batch);
    const Track track{kClients, slot.thread};
    draw_request(events, track, report, *request,
                 request->first_batch == request->last_batch ? first : nullptr, slot.free_ns);
    slot.free_ns = request->replied_ns;

    const std::string title = "#" + std::to_string(request->number);
    events.slice(title, {kSidecar, kIntake}, request->taken_ns, request->tokenized_ns);
    const bool ran = request->first_batch != 0;
    const std::uint64_t waited_until = ran ? request->first_begin_ns : request->replied_ns;
    events.add(title, "b", {kSidecar, kScheduler}, request->tokenized_ns)["id"] = request->number;
    events.add(title, "e", {kSidecar, kScheduler}, waited_until)["id"] = request->number;
    // Replies of one batch go out one after the other.
    const std::uint64_t begin =
        std::max(ran ? request->last_end_ns : request->tokenized_ns, last_reply_ns);
    const std::uint64_t reply_begin = std::min(begin, request->replied_ns);
    events.slice(title, {kSidecar, kReplier}, reply_begin, request->replied_ns);
    last_reply_ns = request->replied_ns;

    events.add("request", "s", {kSidecar, kIntake}, request->taken_ns)["id"] = request->number;
    for (const TracedBatch* batch : {first, last == first ? nullptr : last}) {
      if (batch == nullptr) continue;
      events.add("request", "t", {kSidecar, kDevice}, batch->begin_ns)["id"] = request->number;
    }
    json& arrived = events.add("request", "f", {kSidecar, kReplier}, reply_begin);
    arrived["id"] = request->number;
    arrived["bp"] = "e";  // to the slice around it, not to the next one
  }
  return {{"traceEvents", events.take()}, {"displayTimeUnit", "ns"}};
}

}  // namespace nacelle::ctl
