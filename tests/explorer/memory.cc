// What words, plain memory and kernel objects do in the explored world: world.h tells the rules.
#include <algorithm>

#include "tests/explorer/world.h"

namespace nacelle::explorer {
namespace {

bool acquires(std::memory_order order) {
  return order == std::memory_order_acquire || order == std::memory_order_acq_rel ||
         order == std::memory_order_seq_cst;
}

bool releases(std::memory_order order) {
  return order == std::memory_order_release || order == std::memory_order_acq_rel ||
         order == std::memory_order_seq_cst;
}

const char* name_of(std::memory_order order) {
  switch (order) {
    case std::memory_order_relaxed:
      return "relaxed";
    case std::memory_order_acquire:
      return "acquire";
    case std::memory_order_release:
      return "release";
    case std::memory_order_seq_cst:
      return "seq_cst";
    default:
      return "acq_rel";
  }
}

// What a thread did, for the hash of what it has done.
enum Deed : std::uint64_t { kLoad = 1, kStore, kSleep, kNoSleep, kWake, kSignal, kAwait, kDrain };

}  // namespace

void Knowledge::join(const Knowledge& other) {
  for (std::size_t i = 0; i < newest.size(); ++i) newest[i] = std::max(newest[i], other.newest[i]);
  for (std::size_t i = 0; i < clock.size(); ++i) clock[i] = std::max(clock[i], other.clock[i]);
}

std::size_t World::add_word(const char* name, int index, std::uint64_t value) {
  if (words_used_ == kWordsMax) fail("the program has too many words for kWordsMax");
  WordState& word = words_[words_used_];
  word.name = name;
  word.index = index;
  word.seq_cst = 0;
  word.values.clear();
  word.values.push_back({value, words_used_ + 1, {}});
  return words_used_++;
}

std::string World::word_name(std::size_t word) const {
  const WordState& state = words_[word];
  return state.index < 0 ? state.name : state.name + ("[" + std::to_string(state.index) + "]");
}

void World::acquire(WordState& word, std::size_t index, std::memory_order order) {
  Thread& thread = self();
  if (acquires(order)) thread.known.join(word.values[index].known);
  const auto id = static_cast<std::size_t>(&word - words_.data());
  thread.known.newest[id] = std::max(thread.known.newest[id], static_cast<std::uint8_t>(index));
  if (order == std::memory_order_seq_cst && word.seq_cst < index) {
    word.seq_cst = static_cast<std::uint32_t>(index);
    looked_ahead_ = true;
  }
}

// Chooses among the values that a load of this order may return; `taken` says what comes along.
const World::Message& World::look(std::size_t word_id, std::memory_order order,
                                  std::memory_order taken) {
  step();
  WordState& word = words_[word_id];
  std::size_t oldest = self().known.newest[word_id];
  if (order == std::memory_order_seq_cst) oldest = std::max<std::size_t>(oldest, word.seq_cst);
  const std::size_t newest = word.values.size() - 1;
  const std::size_t index = newest - choose(newest - oldest + 1);
  acquire(word, index, taken);
  return word.values[index];
}

std::uint64_t World::load(std::size_t word_id, std::memory_order order) {
  const Message& message = look(word_id, order, order);
  remember_a_look(kLoad, word_id, message.hash);
  if (tracing_) {
    note("loads   %s: %llu (%s%s)", word_name(word_id).c_str(),
         static_cast<unsigned long long>(message.value), name_of(order),
         &message == &words_[word_id].values.back() ? "" : ", not the newest");
  }
  return message.value;
}

// `from`: what a read-modify-write has read; its release sequence goes on.
void World::append(std::size_t word_id, std::uint64_t value, std::memory_order order,
                   const Message* from) {
  WordState& word = words_[word_id];
  Thread& thread = self();
  const auto index = static_cast<std::uint8_t>(word.values.size());
  thread.known.newest[word_id] = index;
  remember(kStore, word_id ^ (value << 8U), word.values.back().hash);
  Message message;
  message.value = value;
  message.hash = thread.hash;
  if (releases(order)) message.known = thread.known;
  if (from != nullptr) message.known.join(from->known);
  message.known.newest[word_id] = index;
  word.values.push_back(message);
  if (releases(order)) tick();
  if (order == std::memory_order_seq_cst) word.seq_cst = index;
}

void World::store(std::size_t word_id, std::uint64_t value, std::memory_order order) {
  if (order == std::memory_order_seq_cst) {
    step();
  } else {
    count_step();
  }
  append(word_id, value, order, nullptr);
  if (tracing_) {
    note("stores  %s = %llu (%s)", word_name(word_id).c_str(),
         static_cast<unsigned long long>(value), name_of(order));
  }
}

bool World::compare_exchange(std::size_t word_id, std::uint64_t& expected, std::uint64_t desired,
                             std::memory_order order) {
  step();
  WordState& word = words_[word_id];
  const Message message = word.values.back();
  acquire(word, word.values.size() - 1, order);
  remember_a_look(kLoad, word_id, message.hash);
  const bool good = message.value == expected;
  if (good) append(word_id, desired, order, &message);
  if (tracing_) {
    note("%s %s from %llu to %llu (%s)", good ? "changes" : "leaves ", word_name(word_id).c_str(),
         static_cast<unsigned long long>(message.value), static_cast<unsigned long long>(desired),
         name_of(order));
  }
  expected = message.value;
  return good;
}

std::uint64_t World::fetch_add(std::size_t word_id, std::uint64_t change, std::memory_order order) {
  step();
  WordState& word = words_[word_id];
  const Message message = word.values.back();
  acquire(word, word.values.size() - 1, order);
  remember_a_look(kLoad, word_id, message.hash);
  append(word_id, message.value + change, order, &message);
  if (tracing_) {
    note("adds to %s: %llu (%s)", word_name(word_id).c_str(),
         static_cast<unsigned long long>(message.value + change), name_of(order));
  }
  return message.value;
}

// The kernel looks at the word behind a full barrier, and so does who wakes: a look that comes
// after a wake sees what the waker knew of the word. Nothing else comes along with a sleep or a
// wake; the real kernel's locks order more.
void World::futex_wait(std::size_t word_id, std::uint32_t expected) {
  const Message& message = look(word_id, std::memory_order_seq_cst, std::memory_order_relaxed);
  const std::uint64_t hash = message.hash;
  if (static_cast<std::uint32_t>(message.value) != expected) {
    remember_a_look(kNoSleep, word_id, hash);
    if (tracing_) note("finds   %s changed, and does not sleep", word_name(word_id).c_str());
    return;
  }
  remember_a_look(kSleep, word_id, hash);
  if (tracing_) note("sleeps  on %s", word_name(word_id).c_str());
  self().state = State::kAsleep;
  self().asleep_on = word_id;
  schedule(false);
}

void World::futex_wake(std::size_t word_id) {
  step();
  if (tracing_) note("wakes   who sleeps on %s", word_name(word_id).c_str());
  remember(kWake, word_id, 0);
  WordState& word = words_[word_id];
  word.seq_cst = std::max<std::uint32_t>(word.seq_cst, self().known.newest[word_id]);
  const std::uint64_t waker = self().hash;
  for (std::size_t i = 0; i < threads_used_; ++i) {
    Thread& thread = threads_[i];
    if (thread.state != State::kAsleep || thread.asleep_on != word_id) continue;
    thread.state = State::kReady;
    remember(kWake, i, thread.hash);
    const std::size_t me = current_;
    current_ = i;
    remember(kWake, word_id, waker);
    current_ = me;
  }
}

void World::signal(Object& object) {
  step();
  if (tracing_) note("signals %s", object.name);
  hand_over(object);
}

void World::hand_over(Object& object) {
  remember(kSignal, 0, object.hash);
  object.hash = self().hash;
  object.known.join(self().known);
  object.ready = true;
  tick();
}

unsigned World::await(std::initializer_list<Object*> objects, unsigned taken) {
  step(std::any_of(objects.begin(), objects.end(), [this](const Object* object) {
    return object >= hang_ups_.begin() && object < hang_ups_.end();
  }));
  const auto ready = [&] {
    unsigned bits = 0;
    unsigned bit = 1;
    for (const Object* object : objects) {
      if (object->ready) bits |= bit;
      bit <<= 1U;
    }
    return bits;
  };
  if (ready() == 0) {
    if (tracing_) note("waits   for %s", (*objects.begin())->name);
    self().waits_for = {};
    std::copy(objects.begin(), objects.end(), self().waits_for.begin());
    self().state = State::kWaiting;
    schedule(false);
  }
  const unsigned bits = ready();
  unsigned bit = 1;
  for (Object* object : objects) {
    if ((bits & bit) != 0) {
      self().known.join(object->known);
      remember(kAwait, bit, object->hash);
      if ((taken & bit) != 0) object->ready = false;
      object->hash = self().hash;
      if (tracing_) note("has     %s", object->name);
    }
    bit <<= 1U;
  }
  return bits;
}

void World::drain(Object& object) {
  step();
  self().known.join(object.known);
  remember(kDrain, object.ready ? 1 : 0, object.hash);
  object.hash = self().hash;
  object.ready = false;
  if (tracing_) note("drains  %s", object.name);
}

std::uint64_t World::read(Cell& cell) {
  const Thread& thread = self();
  if (!cell.written) fail(std::string("reads ") + cell.name + ", which nobody has written");
  if (cell.write_time > thread.known.clock[cell.writer]) {
    fail(std::string("a data race: reads ") + cell.name + " while " + threads_[cell.writer].name +
         " writes it");
  }
  self().left = thread.hash;
  cell.read_times[current_] = thread.known.clock[current_];
  if (tracing_) note("reads   %s: %llu", cell.name, static_cast<unsigned long long>(cell.value));
  return cell.value;
}

void World::write(Cell& cell, std::uint64_t value) {
  const Thread& thread = self();
  if (cell.written && cell.write_time > thread.known.clock[cell.writer]) {
    fail(std::string("a data race: writes ") + cell.name + " while " + threads_[cell.writer].name +
         " writes it");
  }
  for (std::size_t i = 0; i < threads_used_; ++i) {
    if (cell.read_times[i] > thread.known.clock[i]) {
      fail(std::string("a data race: writes ") + cell.name + " while " + threads_[i].name +
           " reads it");
    }
  }
  self().left = thread.hash;
  cell.value = value;
  cell.written = true;
  cell.writer = static_cast<std::uint8_t>(current_);
  cell.write_time = thread.known.clock[current_];
  if (tracing_) note("writes  %s = %llu", cell.name, static_cast<unsigned long long>(value));
}

}  // namespace nacelle::explorer
