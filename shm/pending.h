// A call that does not wait, for event loops: Client::start(), then advance() at once and whenever
// fd() is readable.
#pragma once

#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "shm/client.h"
#include "sidecar/base/result.h"

namespace nacelle {

namespace shm {
class Link;
struct ListCall;
struct Lookup;
}  // namespace shm

// For one thread at a time; and since they share fd(), start() and advance() of all pending calls
// of one client must be serialized (one event loop does that by itself), and all of them advanced
// when fd() is readable. Destroying one that has not ended gives the call up.
class Pending {
 public:
  // `texts` are the call's; what `looked` found of it is there.
  Pending(const shm::ListCall& call, shm::Lookup looked, std::vector<std::string_view> texts,
          std::shared_ptr<shm::Link> link, std::shared_ptr<const ServiceInfo> service);
  // A call that is done, as the report says.
  Pending(const CallReport& report, std::shared_ptr<const ServiceInfo> service);
  ~Pending();
  Pending(const Pending&) = delete;
  Pending& operator=(const Pending&) = delete;

  // The report once the call is done; nothing while it is under way. Errors end it. kSidecarGone:
  // the sidecar stopped; the waiting calls of Client connect again, and so does the next start().
  base::Result<std::optional<CallReport>> advance(CallReport* on_error = nullptr);

  // Readable when there may be something to advance. Belongs to the client's connection: forget it
  // before the pending calls that use it are gone. -1 for a call that was done from the beginning.
  [[nodiscard]] int fd() const;
  // Whose rows these are.
  [[nodiscard]] const ServiceInfo& service() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace nacelle
