// What a few threads do with a connection, small enough to be explored in every order.
#pragma once

#include <ostream>
#include <span>

#include "tests/explorer/world.h"

namespace nacelle::explorer {

struct Protocol {
  const char* name;
  World::Program program;
  Bounds bounds;
  friend std::ostream& operator<<(std::ostream& out, const Protocol& protocol) {
    return out << protocol.name;
  }
};

std::span<const Protocol> protocols();
const Protocol& protocol_named(const char* name);

}  // namespace nacelle::explorer
