// What a program of the explored world is made of: words that stand in for std::atomic, plain
// memory, locks and queues. world.h tells what they do.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>

#include "tests/explorer/world.h"

namespace nacelle::explorer {

// Has the operations of std::atomic that shm/protocol.h uses.
template <typename T>
class Word {
 public:
  explicit Word(const char* name, int index = -1, T value = 0)
      : id_(World::current().add_word(name, index, static_cast<std::uint64_t>(value))) {}
  Word(const Word&) = delete;
  Word& operator=(const Word&) = delete;

  [[nodiscard]] T load(std::memory_order order) const {
    return static_cast<T>(World::current().load(id_, order));
  }
  void store(T value, std::memory_order order) {
    World::current().store(id_, static_cast<std::uint64_t>(value), order);
  }
  bool compare_exchange_weak(T& expected, T desired, std::memory_order order) {
    std::uint64_t value = static_cast<std::uint64_t>(expected);
    const bool good = World::current().compare_exchange(id_, value, desired, order);
    expected = static_cast<T>(value);
    return good;
  }
  T fetch_add(T change, std::memory_order order) {
    return static_cast<T>(
        World::current().fetch_add(id_, static_cast<std::uint64_t>(change), order));
  }
  void futex_wait(std::uint32_t expected) const { World::current().futex_wait(id_, expected); }
  void futex_wake() const { World::current().futex_wake(id_); }

 private:
  std::size_t id_;
};

// The half of a generation that a futex watches.
struct LowHalf {
  const Word<std::uint64_t>& word;
  [[nodiscard]] std::uint32_t load(std::memory_order order) const {
    return static_cast<std::uint32_t>(word.load(order));
  }
  void futex_wait(std::uint32_t expected) const { word.futex_wait(expected); }
};

// Plain memory: who reads or writes it must have heard of the last write, and of the last reads.
class Data {
 public:
  explicit Data(const char* name) : cell_{.name = name} {}
  std::uint64_t read() { return World::current().read(cell_); }
  void write(std::uint64_t value) { World::current().write(cell_, value); }

 private:
  World::Cell cell_;
};

class Mutex {
 public:
  void lock() { World::current().await({&free_}, 1); }
  void unlock() { World::current().hand_over(free_); }

 private:
  Object free_{.name = "a lock", .ready = true};
};

// A queue between threads of one process.
template <typename T>
class Queue {
 public:
  explicit Queue(const char* name) : filled_{.name = name} {}
  void push(const T& item) {
    World::current().signal(filled_);
    items_.push_back(item);
  }
  T pop() {
    World::current().await({&filled_}, 1);
    const T item = items_.front();
    items_.pop_front();
    filled_.ready = !items_.empty();
    return item;
  }

 private:
  Object filled_;
  std::deque<T> items_;
};

}  // namespace nacelle::explorer
