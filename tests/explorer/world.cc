#include "tests/explorer/world.h"

#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <utility>

#include "sidecar/base/check.h"

namespace nacelle::explorer {
namespace {

constexpr std::size_t kStackSize = 256U << 10;

// The low bits of a StateSet's words.
constexpr std::uint64_t kFreedom = 7;

constexpr std::uint64_t kOdd1 = 0x9E3779B97F4A7C15ULL;
constexpr std::uint64_t kOdd2 = 0xC2B2AE3D27D4EB4FULL;

World* running = nullptr;

std::uint64_t mix(std::uint64_t x) {
  x ^= x >> 32U;
  x *= 0xD6E8FEB86659FD93ULL;
  x ^= x >> 32U;
  x *= 0xD6E8FEB86659FD93ULL;
  x ^= x >> 32U;
  return x;
}

// Choices as text: a digit or letter each, so that a failure is one word to copy.
constexpr char kDigits[] = "0123456789abcdefghijklmnopqrstuvwxyz";

}  // namespace

bool StateSet::seen(std::uint64_t hash, int preemptions_left) {
  if (table_.size() < 2 * (size_ + 1)) {
    std::vector<std::uint64_t> old(std::max<std::size_t>(2 * table_.size(), 1U << 12U));
    old.swap(table_);
    for (const std::uint64_t state : old) {
      if (state != 0) place_of(state) = state;
    }
  }
  std::uint64_t& place = place_of(hash);
  const auto freedom = static_cast<std::uint64_t>(preemptions_left) + 1;
  if ((place & kFreedom) >= freedom) return true;
  if (place == 0) ++size_;
  place = (hash & ~kFreedom) | freedom;
  return false;
}

// Where a state is, or would be.
std::uint64_t& StateSet::place_of(std::uint64_t hash) {
  const std::size_t mask = table_.size() - 1;
  for (std::size_t i = (hash >> 3U) & mask;; i = (i + 1) & mask) {
    if (table_[i] == 0 || ((table_[i] ^ hash) & ~kFreedom) == 0) return table_[i];
  }
}

void StateSet::clear() {
  table_.clear();
  size_ = 0;
}

World& World::current() {
  CHECK(running != nullptr);
  return *running;
}

Outcome World::explore(const Program& program) {
  choices_.clear();
  seen_.clear();
  runs_ = 0;
  for (;;) {
    run(program);
    ++runs_;
    if (end_ == End::kFailed) return failed_outcome(program);
    while (!choices_.empty() && choices_.back().taken + 1 == choices_.back().options) {
      choices_.pop_back();
    }
    if (choices_.empty()) break;
    choices_.back().taken += 1;
  }
  Outcome outcome;
  outcome.runs = runs_;
  outcome.states = seen_.size();
  return outcome;
}

Outcome World::replay(const Program& program, const std::string& choices) {
  choices_.clear();
  seen_.clear();
  for (const char c : choices) {
    const auto* digit = std::find(std::begin(kDigits), std::end(kDigits), c);
    choices_.push_back({static_cast<std::uint8_t>(digit - kDigits), 36});
  }
  tracing_ = true;
  trace_.clear();
  run(program);
  tracing_ = false;
  Outcome outcome;
  outcome.failure = end_ == End::kFailed ? failure_ : "";
  outcome.choices = choices;
  outcome.trace = trace_;
  outcome.runs = 1;
  return outcome;
}

// The run that failed once more, with every step told.
Outcome World::failed_outcome(const Program& program) {
  std::string text;
  for (const Choice& choice : choices_) text += kDigits[choice.taken];
  const std::uint64_t states = seen_.size();
  const std::string failure = failure_;
  Outcome outcome = replay(program, text);
  CHECK(outcome.failure == failure);  // a program that does not depend on its choices alone
  outcome.runs = runs_;
  outcome.states = states;
  return outcome;
}

void World::run(const Program& program) {
  threads_used_ = words_used_ = 0;
  for (Object& object : hang_ups_) object = {.name = "a hang-up"};
  position_ = 0;
  preemptions_left_ = bounds_.preemptions;
  crashes_left_ = bounds_.crashes;
  killed_ = -1;
  looked_ahead_ = false;
  steps_ = 0;
  end_ = End::kNone;
  at_end_ = nullptr;
  running = this;
  program(*this);
  CHECK(threads_used_ > 0 && end_ == End::kNone);
  current_ = kThreadsMax;                    // nobody yet
  if (_setjmp(main_) == 0) schedule(false);  // leave() comes back here
  if (end_ == End::kQuiet) {
    end_ = End::kNone;
    for (std::size_t i = 0; i < threads_used_ && end_ == End::kNone; ++i) {
      const Thread& thread = threads_[i];
      if (thread.daemon || thread.state == State::kEnded || thread.state == State::kKilled)
        continue;
      failure_ = std::string(thread.name) + " waits for ever";
      end_ = End::kFailed;
      if (tracing_) trace_ += "  " + failure_ + "\n";
    }
    if (end_ == End::kNone) {
      end_ = End::kSeen;  // fail() comes back above with another one
      if (at_end_) at_end_();
    }
  }
  running = nullptr;
  kept_.clear();
}

void World::spawn(const char* name, int process, bool daemon, std::function<void()> body) {
  CHECK(threads_used_ < kThreadsMax);
  const std::size_t id = threads_used_++;
  Thread& thread = threads_[id];
  thread.name = name;
  thread.process = process;
  thread.daemon = daemon;
  thread.state = State::kReady;
  thread.hash = thread.left = id + 1;
  thread.known = {};
  thread.known.clock[id] = 1;
  thread.body = std::move(body);
  if (!stacks_[id]) {
    stacks_[id] = std::make_unique<char[]>(kStackSize);
    ::getcontext(&thread.start);
    thread.start.uc_stack.ss_sp = stacks_[id].get();
    thread.start.uc_stack.ss_size = kStackSize;
    thread.start.uc_link = nullptr;
  }
  thread.started = false;
  ::makecontext(&thread.start, &World::enter, 0);
}

void World::enter() {
  World& world = *running;
  world.self().body();
  world.end_thread();
}

void World::end_thread() {
  Thread& thread = self();
  thread.state = State::kEnded;
  if (tracing_) note("ends");
  const bool last =
      std::none_of(threads_.begin(), threads_.begin() + static_cast<std::ptrdiff_t>(threads_used_),
                   [&](const Thread& other) {
                     return other.process == thread.process && other.state != State::kEnded;
                   });
  if (last) hand_over(hang_up(thread.process));
  schedule(false);
}

void World::fail(const std::string& what) {
  failure_ = what;
  if (tracing_) trace_ += "  FAILED: " + what + "\n";
  leave(End::kFailed);
}

// The threads' stacks are left as they are: nothing on them owns anything.
void World::leave(End why) {
  end_ = why;
  _longjmp(main_, 1);
}

std::uint8_t World::choose(std::size_t options) {
  if (options == 1) return 0;
  CHECK(options < sizeof kDigits);
  if (position_ == choices_.size()) choices_.push_back({0, static_cast<std::uint8_t>(options)});
  return choices_[position_++].taken;
}

bool World::can_run(const Thread& thread) const {
  if (thread.state == State::kReady) return true;
  return thread.state == State::kWaiting &&
         std::any_of(thread.waits_for.begin(), thread.waits_for.end(),
                     [](const Object* object) { return object != nullptr && object->ready; });
}

bool World::can_be_killed(int process) const {
  return process != 0 && process != killed_ &&
         std::any_of(threads_.begin(),
                     threads_.begin() + static_cast<std::ptrdiff_t>(threads_used_),
                     [process](const Thread& thread) {
                       return thread.process == process && thread.state != State::kEnded;
                     });
}

// What matters of the dead is what they have left in memory.
void World::kill(int process) {
  if (tracing_) trace_ += "  process " + std::to_string(process) + " is killed\n";
  killed_ = process;
  --crashes_left_;
  for (std::size_t i = 0; i < threads_used_; ++i) {
    Thread& thread = threads_[i];
    if (thread.process != process) continue;
    thread.state = State::kKilled;
    thread.hash = mix(thread.left + 77);
  }
  Object& object = hang_up(process);
  object.hash = mix(object.hash + 77);
  object.ready = true;
}

// Whether this state has been met with as much freedom left; what a thread will do follows from
// what it has done and seen, so the threads' hashes are the state.
bool World::seen_before(bool can_go_on) {
  std::uint64_t key = can_go_on ? current_ + 1 : 0;
  for (std::size_t i = 0; i < threads_used_; ++i) key = mix(key + threads_[i].hash);
  key = mix(key + static_cast<std::uint64_t>(crashes_left_));
  return seen_.seen(key, preemptions_left_);
}

void World::count_step() {
  if (++steps_ > bounds_.steps_max) fail("does not end");
}

void World::step(bool asks) {
  count_step();
  schedule(true, asks);
}

// Goes on with the current thread or with another one; or kills a process, and then again.
void World::schedule(bool can_go_on, bool asks) {
  for (;;) {
    std::array<std::size_t, kThreadsMax> threads{};
    std::size_t runnable = 0;
    if (can_go_on) threads[runnable++] = current_;
    for (std::size_t i = 0; i < threads_used_; ++i) {
      if (can_go_on && (i == current_ || preemptions_left_ == 0)) continue;
      if (can_run(threads_[i])) threads[runnable++] = i;
    }
    if (runnable == 0) leave(End::kQuiet);
    std::array<int, 4> processes{};
    std::size_t killable = 0;
    for (int process = 1; crashes_left_ > 0 && process < 4; ++process) {
      const bool late = !can_go_on || asks || self().process == process;
      if (late && can_be_killed(process)) processes[killable++] = process;
    }
    const std::size_t options = runnable + killable;
    if (options > 1 && position_ == choices_.size() && !tracing_ && seen_before(can_go_on)) {
      leave(End::kSeen);
    }
    const std::size_t taken = choose(options);
    if (taken < runnable) {
      if (can_go_on && taken > 0) --preemptions_left_;
      switch_to(threads[taken]);
      return;
    }
    kill(processes[taken - runnable]);
    can_go_on = can_go_on && self().state != State::kKilled;
  }
}

void World::switch_to(std::size_t thread) {
  threads_[thread].state = State::kReady;
  const std::size_t before = current_;
  current_ = thread;
  if (thread == before) return;
  if (before != kThreadsMax && _setjmp(threads_[before].turn) != 0) return;
  Thread& next = threads_[thread];
  if (next.started) _longjmp(next.turn, 1);
  next.started = true;
  ::setcontext(&next.start);
}

void World::remember(std::uint64_t a, std::uint64_t b, std::uint64_t c) {
  Thread& thread = self();
  thread.hash = thread.left = mix((thread.hash ^ (a << 56U)) + (b + 1) * kOdd2 + c * kOdd1);
}

void World::remember_a_look(std::uint64_t a, std::uint64_t b, std::uint64_t c) {
  const std::uint64_t left = self().left;
  remember(a, b, c);
  if (!looked_ahead_) self().left = left;
  looked_ahead_ = false;
}

void World::note(const char* format, ...) {
  std::array<char, 200> text{};
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(text.data(), text.size(), format, arguments);
  va_end(arguments);
  std::array<char, 240> line{};
  std::snprintf(line.data(), line.size(), "  %-10s %s\n", self().name, text.data());
  trace_ += line.data();
}

}  // namespace nacelle::explorer
