#include "shm/link.h"

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <thread>
#include <utility>

#include "shm/protocol.h"
#include "shm/wait.h"
#include "sidecar/base/check.h"

namespace nacelle::shm {
namespace {

using base::Code;
using base::Error;

// A sleeping call looks at the socket this often: the bound on learning that the sidecar died is
// 50 ms. (It usually learns sooner: nothing else would wake it.)
constexpr base::Nanos kSleepMax = 20 * base::kMillisecond;

constexpr std::size_t kLine = 64;
// Bytes of a reply that are asked for ahead; the CPU's own prefetcher does the rest.
constexpr std::size_t kPrefetchMax = 1024;

// Beyond the sidecar's own deadline, before a call gives up on an answer.
constexpr base::Nanos kGrace = 2 * base::kSecond;

// How long a wake may take from the reply on: the sidecar's waker may wait for a CPU.
constexpr base::Nanos kWakeMax = 100 * base::kMillisecond;

Error bad_header(const std::string& path) {
  return Error{Code::kInvalid,
               "the sidecar at " + path + " describes a memory layout that cannot be"};
}

}  // namespace

base::Result<std::shared_ptr<Link>> Link::open(const std::string& path, const Hello& hello,
                                               base::Nanos deadline) {
  base::Result<Greeting> greeting = greet(path, hello, deadline);
  if (!greeting) return greeting.error();
  const Welcome& welcome = greeting->welcome;
  const auto link = std::shared_ptr<Link>(new Link());
  link->path_ = path;
  link->version_minor_ = welcome.version_minor;
  const bool carried = (welcome.features & kFeatureCarry) != 0;
  base::Result<Mapping> request =
      carried
          ? Mapping::anonymous(welcome.request_region_size)
          : Mapping::map(greeting->fds[0].get(), welcome.request_region_size, Access::kReadWrite);
  if (!request) return request.error();
  base::Result<Mapping> reply =
      carried ? Mapping::anonymous(welcome.reply_region_size)
              : Mapping::map(greeting->fds[1].get(), welcome.reply_region_size, Access::kRead);
  if (!reply) return reply.error();
  link->request_ = *std::move(request);
  link->reply_ = *std::move(reply);
  link->doorbell_ = std::move(greeting->fds[2]);
  link->socket_ = std::move(greeting->socket);
  const std::span<std::byte> replies(link->reply_.data(),
                                     static_cast<std::size_t>(link->reply_.size()));
  if (carried) {
    base::Status header = receive_header(link->socket_.get(), replies, deadline);
    if (!header) return header.error();
  }
  if (base::Status read = link->read_header(); !read) return read.error();
  const std::span<std::byte> requests(link->request_.data(),
                                      static_cast<std::size_t>(link->request_.size()));
  link->backing_ = Backing(requests, carried ? requests.size() : link->request_arena_offset_);
  if (carried) link->carrier_ = std::make_unique<Carrier>(link->socket_.get(), replies);
  if (!carried && (welcome.features & kFeatureCache) != 0) {
    // A region that cannot be read, of a version to come perhaps, is no cache and no error.
    base::Result<std::unique_ptr<CacheReader>> cache =
        CacheReader::open(std::move(greeting->fds[3]), std::move(greeting->fds[4]));
    if (cache) link->cache_ = *std::move(cache);
  }
  if (!carried) link->spin_ns_ = calibrated_spin_ns();
  return link;
}

// Takes the table of offsets, and believes it only as far as the regions reach.
base::Status Link::read_header() {
  if (reply_.size() < sizeof(ReplyHeader)) return bad_header(path_);
  const auto& header = *reinterpret_cast<const ReplyHeader*>(reply_.data());
  if (std::memcmp(header.magic, kMagic, sizeof kMagic) != 0) return bad_header(path_);
  if (header.version_major != kVersionMajor) {
    return Error{Code::kVersionMismatch, "the sidecar at " + path_ + " speaks protocol " +
                                             std::to_string(header.version_major) +
                                             ", this library speaks " +
                                             std::to_string(kVersionMajor)};
  }
  slots_ = header.slots;
  request_slot_size_ = header.request_slot_size;
  reply_slot_size_ = header.reply_slot_size;
  request_slots_offset_ = header.request_slots_offset;
  reply_slots_offset_ = header.reply_slots_offset;
  request_arena_offset_ = header.request_arena_offset;
  request_arena_size_ = header.request_arena_size;
  reply_arena_offset_ = header.reply_arena_offset;
  reply_arena_size_ = header.reply_arena_size;
  items_max_ = header.items_max;
  text_bytes_max_ = header.text_bytes_max;
  deadline_default_us_ = header.deadline_default_us;
  stream_ring_size_ = header.stream_ring_size;
  const auto table_fits = [](std::uint64_t offset, std::uint64_t count, std::uint64_t stride,
                             std::uint64_t least, std::uint64_t limit) {
    return stride >= least && stride % kAlignment == 0 && offset % kAlignment == 0 &&
           stride <= limit && base::fits(offset, count * stride, limit);
  };
  const bool good =
      slots_ >= 1 && slots_ <= kSlotsMax && items_max_ >= 1 &&
      table_fits(request_slots_offset_, slots_, request_slot_size_, sizeof(RequestSlot),
                 request_.size()) &&
      table_fits(reply_slots_offset_, slots_, reply_slot_size_, sizeof(ReplySlot), reply_.size()) &&
      base::fits(request_arena_offset_, request_arena_size_, request_.size()) &&
      base::fits(reply_arena_offset_, reply_arena_size_, reply_.size()) &&
      request_arena_size_ % Arena::kUnit == 0 &&
      // 0: a sidecar without streams.
      (stream_ring_size_ == 0 ||
       (std::has_single_bit(stream_ring_size_) && stream_ring_size_ >= 2 * sizeof(PieceHeader)));
  if (!good) return bad_header(path_);
  arena_ = Arena(request_arena_size_, slots_);
  states_ = std::make_unique<SlotState[]>(slots_);
  for (std::uint32_t slot = 0; slot < slots_; ++slot) free_[slot / 64] |= 1ULL << (slot % 64);
  return base::ok();
}

RequestSlot& Link::request_slot(std::uint32_t slot) const {
  return *reinterpret_cast<RequestSlot*>(request_.data() + request_slots_offset_ +
                                         std::size_t{slot} * request_slot_size_);
}

const ReplySlot& Link::reply_slot(std::uint32_t slot) const {
  return *reinterpret_cast<const ReplySlot*>(reply_.data() + reply_slots_offset_ +
                                             std::size_t{slot} * reply_slot_size_);
}

// The lowest free slot, so that few calls at a time stay in few cache lines. Under the mutex.
std::optional<std::uint32_t> Link::claim_slot() {
  for (std::uint32_t word = 0; word < std::size(free_); ++word) {
    if (free_[word] == 0) continue;
    const auto bit = static_cast<std::uint32_t>(std::countr_zero(free_[word]));
    free_[word] &= free_[word] - 1;
    return word * 64 + bit;
  }
  return std::nullopt;
}

// Under the mutex.
void Link::free_slot(std::uint32_t slot) {
  SlotState& state = states_[slot];
  if (state.arena_size > 0) arena_.release(state.arena_offset, state.arena_size);
  state.arena_size = 0;
  free_[slot / 64] |= 1ULL << (slot % 64);
}

// Slots of calls that nobody waits for any more, once the sidecar has answered. Under the mutex.
void Link::collect_abandoned() {
  for (std::uint32_t word = 0; word < std::size(abandoned_); ++word) {
    for (std::uint64_t bits = abandoned_[word]; bits != 0; bits &= bits - 1) {
      const std::uint32_t slot = word * 64 + static_cast<std::uint32_t>(std::countr_zero(bits));
      if (!replied({slot, states_[slot].generation, 0})) continue;
      abandoned_[word] &= ~(1ULL << (slot % 64));
      release(slot, states_[slot].generation);
      free_slot(slot);
    }
  }
}

base::Result<Link::Claim> Link::claim(std::uint32_t payload_size) {
  if (dead_.load(std::memory_order_relaxed)) return gone();
  if (payload_size > kRequestInline && Arena::rounded(payload_size) > request_arena_size_) {
    return Error{Code::kTooLarge, "a request of " + std::to_string(payload_size) +
                                      " bytes does not fit in " +
                                      std::to_string(request_arena_size_) +
                                      " bytes (transport.request_arena_bytes)"};
  }
  const std::lock_guard lock(mutex_);
  collect_abandoned();
  const std::optional<std::uint32_t> slot = claim_slot();
  if (!slot) {
    return Error{Code::kBusy, "all " + std::to_string(slots_) +
                                  " slots of this connection are in use (transport.slots)"};
  }
  Claim claim{.slot = *slot, .offset = 0, .payload = {}};
  SlotState& state = states_[*slot];
  state.arena_size = 0;
  if (payload_size <= kRequestInline) {
    claim.payload = {request_slot(*slot).payload, payload_size};
    return claim;
  }
  std::optional<std::uint32_t> offset = arena_.allocate(payload_size);
  if (offset && !backing_.reach(request_arena_offset_ + std::uint64_t{*offset} + payload_size)) {
    arena_.release(*std::exchange(offset, std::nullopt), payload_size);
  }
  if (!offset) {
    free_slot(*slot);
    return Error{Code::kBusy, "no room for " + std::to_string(payload_size) +
                                  " bytes beside the calls in flight "
                                  "(transport.request_arena_bytes)"};
  }
  state.arena_offset = *offset;
  state.arena_size = payload_size;
  claim.offset = *offset;
  claim.payload = {request_.data() + request_arena_offset_ + *offset, payload_size};
  return claim;
}

base::Result<Ticket> Link::publish(const Claim& claim, const CallFields& fields,
                                   std::uint32_t payload_size, base::Nanos deadline) {
  RequestSlot& slot = request_slot(claim.slot);
  SlotState& state = states_[claim.slot];
  slot.op = static_cast<std::uint16_t>(fields.op);
  slot.flags = fields.flags;
  slot.service = fields.service;
  slot.items = fields.items;
  slot.payload_size = payload_size;
  slot.payload_offset = claim.offset;
  slot.deadline_us = fields.deadline_us;
  slot.trace = fields.trace;
  slot.priority = 0;
  slot.waiting.store(kWaitsNot, std::memory_order_relaxed);
  auto& used = reinterpret_cast<RequestHeader*>(request_.data())->slots_used;
  // seq_cst: when another thread has raised it, its store is to be visible before our generation
  // is.
  std::uint32_t seen = used.load(std::memory_order_seq_cst);
  while (seen <= claim.slot &&
         !used.compare_exchange_weak(seen, claim.slot + 1, std::memory_order_seq_cst)) {
  }
  state.generation += 1;
  const auto& header = *reinterpret_cast<const ReplyHeader*>(reply_.data());
  if (protocol::publish(slot.generation, state.generation, header.asleep)) ring_doorbell();
  if (carrier_ && !carry_request(claim, payload_size)) {
    const std::lock_guard lock(mutex_);
    free_slot(claim.slot);
    return gone();
  }
  return Ticket{claim.slot, state.generation, deadline};
}

// The reply has been read: its memory may be lent to another.
void Link::release(std::uint32_t slot, std::uint64_t generation) {
  std::atomic<std::uint64_t>& released = request_slot(slot).released;
  protocol::release(released, generation);
  carry_word(released);
}

void Link::ring_doorbell() {
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t rung = ::write(doorbell_.get(), &one, sizeof one);
}

bool Link::replied(const Ticket& ticket) const {
  return protocol::replied(reply_slot(ticket.slot).generation, ticket.generation);
}

base::Error Link::gone() {
  dead_.store(true, std::memory_order_relaxed);
  return Error{Code::kSidecarGone, "the sidecar at " + path_ + " went away"};
}

bool Link::look_alive() {
  if (!dead() && hung_up(socket_.get())) dead_.store(true, std::memory_order_relaxed);
  return !dead();
}

base::Nanos Link::default_deadline(base::Nanos now) const {
  return now + deadline_default_us_ * base::kMicrosecond + kGrace;
}

// Sleeps on `word`, which changes when the sidecar has news for this call, until done(), which
// loads with seq_cst. Errors use up the ticket.
base::Status Link::sleep_until(const Ticket& ticket, const std::atomic<std::uint32_t>& word,
                               const std::function<bool()>& done) {
  RequestSlot& slot = request_slot(ticket.slot);
  const base::Nanos deadline =
      ticket.deadline != kDefaultDeadline ? ticket.deadline : default_deadline(base::now_ns());
  protocol::raise_waiting(slot.waiting, kWaitsAsleep);
  FutexResult last = FutexResult::kWoken;
  std::uint32_t before = 0;
  for (;;) {
    const std::uint32_t slept_on = before;
    // Read before done(): news that comes after it changes the word, and the kernel sees that.
    before = word.load(std::memory_order_seq_cst);
    if (done()) {
      if (last == FutexResult::kTimedOut) count_rescue(ticket, slept_on);
      slot.waiting.store(kWaitsNot, std::memory_order_relaxed);
      return base::ok();
    }
    // Only after a whole sleep: a system call less for the usual wait, and 20 ms is soon enough.
    if (last == FutexResult::kTimedOut && hung_up(socket_.get())) {
      if (done()) return base::ok();  // the sidecar's last words came between the two looks
      abandon(ticket);
      return gone();
    }
    const base::Nanos left = deadline - base::now_ns();
    if (left <= 0) {
      cancel(ticket);
      return Error{Code::kDeadlineExceeded, "no answer within the call's timeout"};
    }
    last = futex_wait(&word, before, std::min(left, kSleepMax));
  }
}

base::Result<Answer> Link::wait(const Ticket& ticket) {
  const std::span<const std::byte> guess = states_[ticket.slot].reply;
  const auto look = [&] {
    // Not only when the generation has come: the payload takes as long to come as that did.
    for (std::size_t line = 0; line < guess.size(); line += kLine) {
      __builtin_prefetch(&guess[line]);
    }
    return replied(ticket);
  };
  if (!replied(ticket) && !spin_until(spin_ns_, look)) {
    const std::atomic<std::uint64_t>& generation = reply_slot(ticket.slot).generation;
    base::Status slept = sleep_until(ticket, *low_half(&generation), [&] {
      return protocol::replied_again(generation, ticket.generation);
    });
    if (!slept) return slept.error();
  }
  return read_answer(ticket);
}

bool Link::poll(const Ticket& ticket) {
  protocol::raise_waiting(request_slot(ticket.slot).waiting, kWaitsPolling);
  return protocol::replied_again(reply_slot(ticket.slot).generation, ticket.generation);
}

void Link::begin_look(std::uint64_t& round) {
  if (round == poll_round_) {
    if (carrier_) carrier_->drain();
    char bytes[64];
    while (!carrier_ && ::recv(socket_.get(), bytes, sizeof bytes, MSG_DONTWAIT) > 0) {
    }
    poll_round_ += 1;
  }
  round = poll_round_;
}

base::Result<std::optional<Answer>> Link::try_wait(const Ticket& ticket) {
  if (!replied(ticket)) {
    if (hung_up(socket_.get()) && !replied(ticket)) {
      abandon(ticket);
      return gone();
    }
    if (ticket.deadline == kDefaultDeadline || ticket.deadline > base::now_ns()) {
      return std::optional<Answer>();
    }
    cancel(ticket);
    return Error{Code::kDeadlineExceeded, "no answer within the call's timeout"};
  }
  base::Result<Answer> answer = read_answer(ticket);
  if (!answer) return answer.error();
  return std::optional<Answer>(*answer);
}

// The sleep timed out and there is news, later than `before`. Usually both happened in the same
// moment, and the sidecar says in `woken` that it has just sent the wake; if it does not say so
// soon, none was sent.
void Link::count_rescue(const Ticket& ticket, std::uint32_t before) {
  const auto& woken = reply_slot(ticket.slot).woken;
  const base::Nanos stop = base::now_ns() + kWakeMax;
  while (static_cast<std::int32_t>(woken.load(std::memory_order_acquire) - before) <= 0) {
    if (base::now_ns() > stop) {
      rescued_by_timeout_.fetch_add(1, std::memory_order_relaxed);
      return;
    }
    std::this_thread::yield();
  }
}

base::Result<Answer> Link::read_answer(const Ticket& ticket) {
  const ReplySlot& slot = reply_slot(ticket.slot);
  Answer answer;
  answer.fields = {.code = static_cast<Code>(slot.code),
                   .items = slot.items,
                   .queue_us = slot.queue_us,
                   .compute_us = slot.compute_us,
                   .batch_texts = slot.batch_texts,
                   .batch_clients = slot.batch_clients,
                   .retry_after_us = slot.retry_after_us};
  // It says so itself: the next call looks for another one.
  if (answer.fields.code == Code::kSidecarGone) dead_.store(true, std::memory_order_relaxed);
  if (slot.payload_size <= kReplyInline) {
    answer.payload = {slot.payload, slot.payload_size};
  } else if (base::fits(slot.payload_offset, slot.payload_size, reply_arena_size_)) {
    answer.payload = {reply_.data() + reply_arena_offset_ + slot.payload_offset, slot.payload_size};
  } else {
    finish(ticket);
    return Error{Code::kInternal, "the sidecar's reply lies outside its region"};
  }
  states_[ticket.slot].reply = answer.payload.first(std::min(answer.payload.size(), kPrefetchMax));
  return answer;
}

void Link::finish(const Ticket& ticket) {
  release(ticket.slot, ticket.generation);
  const std::lock_guard lock(mutex_);
  free_slot(ticket.slot);
}

void Link::cancel(const Ticket& ticket) {
  std::atomic<std::uint32_t>& word = request_slot(ticket.slot).cancel;
  word.store(static_cast<std::uint32_t>(ticket.generation), std::memory_order_release);
  carry_word(word);
  abandon(ticket);
}

void Link::close_inherited() {
  if (carrier_) carrier_->close_inherited();
  socket_.reset();
  doorbell_.reset();
}

void Link::abandon(const Ticket& ticket) {
  const std::lock_guard lock(mutex_);
  abandoned_[ticket.slot / 64] |= 1ULL << (ticket.slot % 64);
}

}  // namespace nacelle::shm
