// A small world in which a few threads run in every order, and every load may see every value that
// the C++ memory model lets it see. Not for real threads: everything runs in the calling one.
//
// explore() runs a program again and again, depth first over all choices: which thread goes on,
// which of the values it may still see a load returns, and where a process is killed. Threads
// change over freely where one blocks or ends, and at most `preemptions` times elsewhere. The
// program must do the same when the same choices are made: its state is in words, data and kernel
// objects (words.h), or follows from what its threads have read from those.
//
// The memory model is C++20's, run forwards: a word keeps every value ever stored, a thread keeps
// the newest value of each word that it knows of, and may read that one or any newer.
//
//   release    what is stored carries along all that the storing thread knows of
//   acquire    who reads it knows that, too
//   seq_cst    and reads nothing older than what a seq_cst operation on the same word stored or
//   read
//              before it; the one order of all seq_cst operations is the order of execution
//   plain data two accesses, one of them a write, that no such chain orders are a failure
//
// Of C++'s behaviours this leaves out loads that see stores of the future, a word's values in
// another order than they were stored (none of ours has two writers without a read-modify-write),
// and orders of seq_cst operations that contradict what a relaxed load has seen.
//
// Three things keep the search small and lose nothing:
//
//   - States are compared by what every thread has done and seen. Who comes to a state a second
//     time, with no more freedom left, turns back: that part has been or will be explored.
//   - Before a store that is not seq_cst nobody else gets a turn: others may choose not to see it.
//   - A process is killed as late as one can tell: when it would go on, when everybody has to wait,
//     or when somebody is about to ask whether it is dead.
#pragma once

#include <setjmp.h>
#include <ucontext.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <string>
#include <vector>

namespace nacelle::explorer {

inline constexpr std::size_t kThreadsMax = 6;
inline constexpr std::size_t kWordsMax = 48;

struct Bounds {
  int preemptions = 3;
  int crashes = 0;                // of processes that may be killed
  std::uint64_t steps_max = 250;  // of one run: more is a program that does not end
};

// Sets of states, with the freedom that was left there. A hash table of whole words: millions of
// states are looked up, and a word each is what memory allows.
class StateSet {
 public:
  // Whether the state has been added with as many preemptions left, or more. Adds it if not.
  bool seen(std::uint64_t hash, int preemptions_left);
  [[nodiscard]] std::uint64_t size() const { return size_; }
  void clear();

 private:
  std::uint64_t& place_of(std::uint64_t hash);

  std::vector<std::uint64_t> table_;  // 0: free; or 61 bits of the hash, and preemptions left + 1
  std::uint64_t size_ = 0;
};

struct Outcome {
  std::string failure;  // empty: none within the bounds
  std::string choices;  // that lead to it: Explorer::replay
  std::string trace;    // its steps, a line each
  std::uint64_t runs = 0;
  std::uint64_t states = 0;
};

// The newest value of every word that a thread knows of, and how far it knows the other threads.
// Small, since it is copied with every step: a run that counts further is a failure.
struct Knowledge {
  std::array<std::uint8_t, kWordsMax> newest{};
  std::array<std::uint8_t, 8> clock{};
  void join(const Knowledge& other);
};

// Something in the kernel that threads wait for: an eventfd, a socket, a lock, a queue's counter.
// What goes through the kernel takes along what its sender knows.
struct Object {
  const char* name = "";
  bool ready = false;
  std::uint64_t hash = 0;
  Knowledge known = {};
};

class World {
 public:
  using Program = std::function<void(World&)>;

  explicit World(const Bounds& bounds) : bounds_(bounds) {}
  World(const World&) = delete;
  World& operator=(const World&) = delete;
  // `program` makes words and threads; it is called once for each run.
  Outcome explore(const Program& program);
  // One run with the choices that an outcome told.
  Outcome replay(const Program& program, const std::string& choices);
  // The one that runs now.
  static World& current();

  // --- for programs that set up ---

  // Process 0 is never killed, the others may be. A daemon need not end: it may wait for ever.
  void spawn(const char* name, int process, bool daemon, std::function<void()> body);
  // Becomes and stays ready when the process has ended or was killed.
  Object& hang_up(int process) { return hang_ups_.at(static_cast<std::size_t>(process)); }
  // Called when nobody can go on any more.
  void at_end(std::function<void()> check) { at_end_ = std::move(check); }
  // Keeps what the threads refer to until the run is over.
  void keep(std::shared_ptr<void> state) { kept_.push_back(std::move(state)); }

  // --- for threads ---

  [[noreturn]] void fail(const std::string& what);
  void check(bool good, const char* what) {
    if (!good) fail(what);
  }
  // From here on threads change over only where one has to wait: what was to be explored is over.
  void calm_down() { preemptions_left_ = crashes_left_ = 0; }

  std::size_t add_word(const char* name, int index, std::uint64_t value);
  std::uint64_t load(std::size_t word, std::memory_order order);
  void store(std::size_t word, std::uint64_t value, std::memory_order order);
  // Never fails for no reason. `expected` becomes what is there.
  bool compare_exchange(std::size_t word, std::uint64_t& expected, std::uint64_t desired,
                        std::memory_order order);
  // What was there.
  std::uint64_t fetch_add(std::size_t word, std::uint64_t change, std::memory_order order);
  // As the kernel does: sleeps if the word's low half is `expected`, without a time-out.
  void futex_wait(std::size_t word, std::uint32_t expected);
  void futex_wake(std::size_t word);

  void signal(Object& object);
  // Waits until one is ready; bit i: objects[i] was. Those in `taken` stop being ready.
  unsigned await(std::initializer_list<Object*> objects, unsigned taken);
  // Makes an object not ready.
  void drain(Object& object);
  // The same two without a turn of their own: the end of a critical section.
  void hand_over(Object& object);

  // Plain memory; `cell` is in words.h.
  struct Cell {
    const char* name;
    std::uint64_t value = 0;
    bool written = false;
    std::uint8_t write_time = 0;
    std::uint8_t writer = 0;
    std::array<std::uint8_t, kThreadsMax> read_times{};
  };
  std::uint64_t read(Cell& cell);
  void write(Cell& cell, std::uint64_t value);

 private:
  enum class State { kReady, kAsleep, kWaiting, kEnded, kKilled };
  struct Thread {
    const char* name = "";
    int process = 0;
    bool daemon = false;
    State state = State::kReady;
    std::uint64_t hash = 0;  // of all that it has done and seen
    std::uint64_t left = 0;  // the same when it last did something that others may notice
    Knowledge known;
    std::size_t asleep_on = 0;
    std::array<Object*, 4> waits_for{};
    std::function<void()> body;
    ucontext_t start;  // the first turn begins here, all others in `turn`
    jmp_buf turn;
    bool started = false;
  };
  struct Message {
    std::uint64_t value = 0;
    std::uint64_t hash = 0;
    Knowledge known;
  };
  struct WordState {
    const char* name = "";
    int index = 0;
    std::uint32_t seq_cst = 0;  // the newest that a seq_cst operation stored or read
    std::vector<Message> values;
  };
  struct Choice {
    std::uint8_t taken;
    std::uint8_t options;
  };
  enum class End { kNone, kQuiet, kSeen, kFailed };

  void run(const Program& program);
  Outcome failed_outcome(const Program& program);
  std::uint8_t choose(std::size_t options);
  [[nodiscard]] bool seen_before(bool can_go_on);
  [[nodiscard]] bool can_run(const Thread& thread) const;
  [[nodiscard]] bool can_be_killed(int process) const;
  void kill(int process);
  void tick() { self().known.clock[current_] += 1; }
  void count_step();
  // A turn: others may come first. `asks`: whether the step would see that a process is dead.
  void step(bool asks = false);
  void schedule(bool can_go_on, bool asks = false);
  void switch_to(std::size_t thread);
  [[noreturn]] void leave(End why);
  static void enter();
  void end_thread();
  Thread& self() { return threads_[current_]; }
  void remember(std::uint64_t a, std::uint64_t b, std::uint64_t c);
  void remember_a_look(std::uint64_t a, std::uint64_t b, std::uint64_t c);
  void append(std::size_t word, std::uint64_t value, std::memory_order order, const Message* from);
  const Message& look(std::size_t word, std::memory_order order, std::memory_order taken);
  void acquire(WordState& word, std::size_t index, std::memory_order order);
  void note(const char* format, ...) __attribute__((format(printf, 2, 3)));
  std::string word_name(std::size_t word) const;

  Bounds bounds_;
  std::vector<Choice> choices_;
  std::size_t position_ = 0;  // in choices_
  StateSet seen_;
  std::uint64_t runs_ = 0;
  bool tracing_ = false;
  std::string trace_;

  // Of the run.
  std::array<Thread, kThreadsMax> threads_;
  std::array<std::unique_ptr<char[]>, kThreadsMax> stacks_;
  std::size_t threads_used_ = 0;
  std::size_t current_ = 0;
  std::array<WordState, kWordsMax> words_;
  std::size_t words_used_ = 0;
  std::array<Object, 4> hang_ups_;
  std::vector<std::shared_ptr<void>> kept_;
  std::function<void()> at_end_;
  int preemptions_left_ = 0;
  int crashes_left_ = 0;
  int killed_ = -1;
  bool looked_ahead_ = false;  // the last look forbids others to see older values
  std::uint64_t steps_ = 0;
  End end_ = End::kNone;
  std::string failure_;
  jmp_buf main_;
};

}  // namespace nacelle::explorer
