// The deadlines of all requests that the scheduler holds, earliest first.
#pragma once

#include <set>
#include <tuple>

#include "sidecar/flow.h"

namespace nacelle::sidecar {

class Deadlines {
 public:
  void add(Request& request) { due_.insert({request.deadline, request.order, &request}); }
  void remove(Request& request) { due_.erase({request.deadline, request.order, &request}); }
  // kNever when there are none.
  [[nodiscard]] base::Nanos first() const {
    return due_.empty() ? base::kNever : std::get<0>(*due_.begin());
  }
  // The earliest of those that have passed, or null. It stays until it is removed.
  [[nodiscard]] Request* passed(base::Nanos now) const {
    return first() <= now ? std::get<2>(*due_.begin()) : nullptr;
  }

 private:
  // The order makes entries unique, so pointers are never compared.
  std::set<std::tuple<base::Nanos, std::uint64_t, Request*>> due_;
};

}  // namespace nacelle::sidecar
