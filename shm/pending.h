// A call that does not wait, for event loops: Client::start(), then advance() whenever fd() is
// readable.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "shm/client.h"
#include "shm/list_call.h"
#include "sidecar/base/result.h"

namespace nacelle {

// For one thread at a time; and since they share fd(), start() and advance() of all pending calls
// of one client must be serialized (one event loop does that by itself), and all of them advanced
// when fd() is readable. Destroying one that has not ended gives the call up.
class Pending {
 public:
  Pending(const shm::ListCall& call, std::vector<std::string_view> texts,
          std::shared_ptr<shm::Link> link, std::shared_ptr<const ServiceInfo> service);

  // The report once the call is done; nothing while it is under way. Errors end it. kSidecarGone:
  // the sidecar stopped; the waiting calls of Client connect again, and so does the next start().
  base::Result<std::optional<CallReport>> advance(CallReport* on_error = nullptr);

  // Readable when there may be something to advance. Belongs to the client's connection: forget it
  // before the pending calls that use it are gone.
  [[nodiscard]] int fd() const { return run_.link().poll_fd(); }
  // Whose rows these are.
  [[nodiscard]] const ServiceInfo& service() const { return *service_; }

 private:
  std::vector<std::string_view> texts_;
  std::shared_ptr<const ServiceInfo> service_;
  shm::ListRun run_;
  std::uint64_t round_ = 0;  // of looks at the calls of this link: the last one that we had part in
};

}  // namespace nacelle
