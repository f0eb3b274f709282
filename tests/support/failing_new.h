// Memory that runs out at a chosen moment: operator new of a test program, linked in with
// failing_new.cc.
#pragma once

#include <cstdint>

namespace nacelle::testing {

// While it lives, the `nth` operator new of the thread that made it, counted from 1, throws
// std::bad_alloc; the others do as always.
class FailingNew {
 public:
  explicit FailingNew(std::uint64_t nth);
  ~FailingNew();
  FailingNew(const FailingNew&) = delete;
  FailingNew& operator=(const FailingNew&) = delete;

  // Whether the nth was asked for.
  [[nodiscard]] static bool happened();
};

// How often this thread has called operator new.
std::uint64_t allocations();

// Objects that all threads' operator new has given out and not got back.
std::int64_t live_objects();

}  // namespace nacelle::testing
