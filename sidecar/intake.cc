#include "sidecar/intake.h"

#include <algorithm>
#include <cstring>
#include <thread>
#include <utility>

#include "sidecar/base/check.h"
#include "sidecar/base/log.h"
#include "sidecar/base/slices.h"
#include "sidecar/base/utf8.h"
#include "sidecar/result_cache.h"

namespace nacelle::sidecar {
namespace {

using base::Code;
using base::Error;
using base::Nanos;

// Sockets are looked at this often while requests keep the thread from sleeping.
constexpr Nanos kSocketsEvery = base::kMillisecond;
// Sweeps without texts between two looks at the clock.
constexpr std::uint32_t kSweepsPerClock = 16;
// Backstop against a lost doorbell; see wait.h in shm.
constexpr Nanos kSleepMax = base::kSecond;

// Fills `out` with whole copies of `bytes` and a part of one. Grows `bytes` to a few KiB of copies
// first: reading back what was just written to `out` would wait until the client's CPU has given it
// up.
void repeat(std::vector<std::byte>& bytes, std::span<std::byte> out) {
  constexpr std::size_t kEnough = 4096;
  const std::size_t once = bytes.size();
  if (once == 0) return;
  if (once < out.size() && once < kEnough) {
    bytes.resize(once * (std::min(kEnough, out.size()) / once + 1));
    for (std::size_t done = once; done < bytes.size(); done *= 2) {
      std::memcpy(&bytes[done], bytes.data(), std::min(done, bytes.size() - done));
    }
  }
  for (std::size_t done = 0; done < out.size(); done += bytes.size()) {
    std::memcpy(&out[done], bytes.data(), std::min(bytes.size(), out.size() - done));
  }
}

}  // namespace

void Intake::run() {
  base::take_short_slices(base::kAnswerSlice);
  Nanos last_work = base::now_ns();
  Nanos last_look = last_work;
  looked_ = looked_before_ = last_work;
  bool worked = false;
  const Nanos yield_after = shm::calibrated_yield_ns();
  const std::uint32_t sweeps_per_clock = yield_after > 0 ? kSweepsPerClock : 1;
  for (std::uint32_t sweeps = 1; !stopping_.load(std::memory_order_relaxed); ++sweeps) {
    worked |= sweep();
    // Reading the clock takes longer than a sweep that finds nothing, or a ping.
    if (sweeps % sweeps_per_clock != 0 && !took_texts_) {
      shm::spin_pause();
      continue;
    }
    const Nanos now = base::now_ns();
    looked_before_ = std::exchange(looked_, now);
    if (worked) last_work = now;
    worked = took_texts_ = false;
    if (now - last_look >= kSocketsEvery) {
      look_at_sockets(0);
      last_look = now;
    }
    const bool spins =
        downstream_.computing == nullptr || !downstream_.computing->load(std::memory_order_relaxed);
    if (now - last_work >= (spins ? spin_ : 0)) {
      sleep(kSleepMax);
      last_work = last_look = looked_ = looked_before_ = base::now_ns();
    } else if (now - last_work >= yield_after) {
      std::this_thread::yield();
    } else {
      shm::spin_pause();
    }
  }
  listener_.reset();  // the next sidecar's clients should not find this one
  guests_.clear();
  for (const auto& client : clients()) disconnect(client, "the sidecar stops", std::nullopt);
}

bool Intake::sweep() {
  bool worked = false;
  // By index: a client that breaks the protocol is removed on the way.
  for (std::size_t i = 0; i < clients_.size(); ++i) worked |= sweep_client(clients_[i]);
  return worked;
}

// Takes what the client has published, each slot at most once, and no more payload than its arena
// has bytes: slots may all point at the same bytes, and others wait. A sweep that was cut short
// goes on there the next time, and looks at every slot before it says that there is nothing.
bool Intake::sweep_client(const std::shared_ptr<ClientState>& client) {
  bool worked = false;
  bool from_the_start = client->cursor == 0;
  std::uint64_t budget = config_.transport.request_arena_bytes;
  shm::Submission submission;
  for (;;) {
    base::Result<bool> taken = client->connection->take(&client->cursor, &submission);
    if (!taken) {
      // A copy: `client` lies in the list that it is removed from.
      disconnect(std::shared_ptr(client), taken.error().message, client->connection->violation());
      return true;
    }
    if (!*taken) {
      client->cursor = 0;
      if (from_the_start) return worked;
      from_the_start = true;
      continue;
    }
    worked = true;
    handle(client, submission);
    if (submission.payload_size >= budget) return true;
    budget -= submission.payload_size;
  }
}

void Intake::handle(const std::shared_ptr<ClientState>& client, const shm::Submission& submission) {
  switch (submission.op) {
    case shm::Op::kPing:
      return handle_ping(*client, submission);
    case shm::Op::kDescribe:
      return handle_describe(*client, submission);
    case shm::Op::kEmbed:
    case shm::Op::kClassify:
    case shm::Op::kRerank:
    case shm::Op::kPingStream:
      break;
  }
  // seq_cst on both words, here and in drain(): either this request sees the drain, or the drain
  // waits for it.
  took_texts_ = true;
  taking_.store(true, std::memory_order_seq_cst);
  if (!shm::streams(submission.op)) {
    handle_texts(client, submission);
  } else if (draining()) {
    replier_.refuse(*client, submission, {Code::kSidecarGone, "the sidecar is shutting down"});
  } else {
    handle_stream(client, submission);
  }
  taking_.store(false, std::memory_order_seq_cst);
  taking_.notify_all();
}

void Intake::drain() {
  draining_.store(true, std::memory_order_seq_cst);
  taking_.wait(true, std::memory_order_seq_cst);
}

void Intake::handle_ping(ClientState& client, const shm::Submission& submission) {
  const std::uint32_t sent = submission.payload_size;
  const std::uint32_t size = submission.items > 0 ? submission.items : sent;
  if (size == 0) return replier_.answer(client, submission, 0);
  if (!client.connection->could_hold(size)) {
    return replier_.refuse(client, submission,
                           {Code::kTooLarge, "a reply of " + std::to_string(size) +
                                                 " bytes does not fit "
                                                 "(transport.reply_arena_bytes)"});
  }
  const std::span<std::byte> reply = client.connection->reserve(
      submission, size, sent > 0 ? shm::Connection::Fill::kNothing : shm::Connection::Fill::kZeros);
  if (reply.empty()) {
    return replier_.refuse(client, submission,
                           {Code::kBusy, "no room for the reply (transport.reply_arena_bytes)"},
                           1000);
  }
  if (sent == size) {
    // Straight from region to region: an echo holds nothing that would need checking.
    CHECK(client.connection->copy_payload(submission, reply));
  } else {
    payload_.resize(sent);
    CHECK(client.connection->copy_payload(submission, payload_));
    repeat(payload_, reply);
  }
  replier_.answer(client, submission, size);
}

void Intake::handle_describe(ClientState& client, const shm::Submission& submission) {
  payload_.resize(submission.payload_size);
  CHECK(client.connection->copy_payload(submission, payload_));
  const std::string name(reinterpret_cast<const char*>(payload_.data()),
                         std::min<std::size_t>(payload_.size(), 64));
  if (base::find_invalid_utf8(name)) {
    return replier_.refuse(client, submission, {Code::kInvalid, "a service's name is UTF-8"});
  }
  const base::Result<std::uint32_t> index = services_.find(name);
  if (!index) return replier_.refuse(client, submission, index.error());
  const LoadedService& service = services_.at(*index);
  const model::Info& info = service.model->info();

  shm::Description description{};
  description.service = *index;
  description.embed_width = info.embed_width;
  description.labels = static_cast<std::uint32_t>(info.labels.size());
  description.tokens_max = info.tokens_max;
  description.multi_label = info.multi_label ? 1 : 0;
  for (const shm::Op op : {shm::Op::kEmbed, shm::Op::kClassify, shm::Op::kRerank}) {
    if (service.answers(op)) description.ops |= static_cast<std::uint8_t>(1U << unsigned(op));
  }
  description.long_input = service.long_input;
  description.prompts = static_cast<std::uint8_t>(service.prompts.size());
  description.windows_max = config_.limits.windows_max;
  info.digest.copy(description.digest, sizeof description.digest);
  info.architecture.copy(description.architecture, sizeof description.architecture);
  std::vector<std::byte> text(sizeof description);
  std::memcpy(text.data(), &description, sizeof description);
  const auto append = [&text](std::string_view word) {
    const auto size = static_cast<std::uint32_t>(word.size());
    const auto* bytes = reinterpret_cast<const std::byte*>(word.data());
    const auto* size_bytes = reinterpret_cast<const std::byte*>(&size);
    text.insert(text.end(), size_bytes, size_bytes + sizeof size);
    text.insert(text.end(), bytes, bytes + word.size());
  };
  for (const std::string& label : info.labels) append(label);
  for (const Prompt& prompt : service.prompts) append(prompt.name);
  shm::DescribedCache cache{.answers = service.answers_digest,
                            .domain = {},
                            .mode = shm::CacheMode::kBypass,
                            .reserved = {},
                            .ttl_s = service.policy.cache_ttl_s};
  if (client.cache) {
    client.cache->domain().name().copy(cache.domain, sizeof cache.domain);
    cache.mode = cache_mode(service);
  }
  const auto* cache_bytes = reinterpret_cast<const std::byte*>(&cache);
  text.insert(text.end(), cache_bytes, cache_bytes + sizeof cache);
  if (!client.connection->could_hold(text.size())) {
    return replier_.refuse(client, submission,
                           {Code::kTooLarge, "the description of a service with " +
                                                 std::to_string(info.labels.size()) +
                                                 " labels does not fit "
                                                 "(transport.reply_arena_bytes)"});
  }
  const std::span<std::byte> reply = client.connection->reserve(submission, text.size());
  if (reply.empty()) {
    return replier_.refuse(client, submission,
                           {Code::kBusy, "no room for the reply (transport.reply_arena_bytes)"},
                           1000);
  }
  std::memcpy(reply.data(), text.data(), text.size());
  replier_.answer(client, submission, text.size());
}

void Intake::handle_stream(const std::shared_ptr<ClientState>& client,
                           const shm::Submission& submission) {
  shm::Connection& connection = *client->connection;
  shm::PingStream wanted{};
  if (submission.payload_size != sizeof wanted) {
    return replier_.refuse(
        *client, submission,
        {Code::kInvalid, "a ping stream is asked for with " + std::to_string(sizeof wanted) +
                             " bytes, not " + std::to_string(submission.payload_size)});
  }
  std::memcpy(&wanted, submission.inline_payload, sizeof wanted);
  if (wanted.pieces == 0) {
    return replier_.refuse(*client, submission,
                           {Code::kInvalid, "a stream has at least one piece"});
  }
  if (wanted.piece_bytes > connection.piece_max()) {
    return replier_.refuse(
        *client, submission,
        {Code::kTooLarge, "pieces of " + std::to_string(wanted.piece_bytes) +
                              " bytes; the limit is " + std::to_string(connection.piece_max()) +
                              ", half of transport.stream_ring_bytes"});
  }
  if (!connection.open_stream(submission)) {
    return replier_.refuse(*client, submission,
                           {Code::kBusy, "no room for a stream (transport.reply_arena_bytes)"},
                           1000);
  }
  const Nanos now = base::now_ns();
  downstream_.stream({.client = client,
                      .slot = submission.slot,
                      .generation = submission.generation,
                      .deadline = now + time_for(submission, config_.scheduler.deadline_default_ms),
                      .wanted = wanted,
                      .next_at = now});
}

}  // namespace nacelle::sidecar
