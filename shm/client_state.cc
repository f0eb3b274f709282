#include "shm/client_state.h"

#include <errno.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <random>
#include <span>
#include <thread>
#include <utility>

#include "shm/list_call.h"

namespace nacelle {
namespace {

using base::Code;
using base::Error;
using base::Nanos;

constexpr Nanos kBackoffMin = 2 * base::kMillisecond;
constexpr Nanos kBackoffMax = 100 * base::kMillisecond;
constexpr std::size_t kServiceNameMax = 63;

base::Result<ServicePtr> parse_description(std::span<const std::byte> payload) {
  const Error bad{Code::kInternal,
                  "the sidecar described a service in a way this library cannot read"};
  shm::Description description;
  if (payload.size() < sizeof description) return bad;
  std::memcpy(&description, payload.data(), sizeof description);
  Service service;
  service.handle = description.service;
  service.info.embed_width = description.embed_width;
  service.info.tokens_max = description.tokens_max;
  service.info.multi_label = description.multi_label != 0;
  service.info.digest.assign(description.digest, ::strnlen(description.digest, 64));
  service.info.architecture.assign(description.architecture,
                                   ::strnlen(description.architecture, 64));
  service.info.reranks = (description.ops >> static_cast<unsigned>(shm::Op::kRerank) & 1U) != 0;
  // A sidecar before version 1.2 truncates, and says 0; a newer one may know more than this
  // library.
  if (description.long_input > shm::LongInput::kService &&
      description.long_input <= shm::LongInput::kChunkMean) {
    service.info.long_input = description.long_input;
  }
  service.info.windows_max = std::max(description.windows_max, 1U);
  std::size_t offset = sizeof description;
  const auto read_names = [&](std::uint32_t count, std::vector<std::string>& names) {
    for (std::uint32_t i = 0; i < count; ++i) {
      std::uint32_t size = 0;
      if (!base::fits(offset, sizeof size, payload.size())) return false;
      std::memcpy(&size, payload.data() + offset, sizeof size);
      offset += sizeof size;
      if (!base::fits(offset, size, payload.size())) return false;
      names.emplace_back(reinterpret_cast<const char*>(payload.data() + offset), size);
      offset += size;
    }
    return true;
  };
  if (!read_names(description.labels, service.info.labels) ||
      !read_names(description.prompts, service.info.prompts)) {
    return bad;
  }
  return ServicePtr(std::make_shared<Service>(std::move(service)));
}

}  // namespace

Client::State::State(ClientOptions wanted) : options(std::move(wanted)) {
  if (options.socket.empty()) {
    const char* path = std::getenv("NACELLE_SOCKET");
    options.socket = path != nullptr && *path != '\0' ? path : "/run/nacelle/nacelle.sock";
  }
  if (options.name.empty()) options.name = program_invocation_short_name;
  if (options.transport.empty()) {
    const char* transport = std::getenv("NACELLE_TRANSPORT");
    options.transport = transport != nullptr && *transport != '\0' ? transport : "shm";
  }
}

base::Result<std::shared_ptr<shm::Link>> Client::State::link() {
  const std::lock_guard lock(mutex);
  if (live.link && !live.link->dead()) return live.link;
  const Nanos deadline = base::now_ns() + shm::bounded_ns(options.connect_timeout);
  if (live.link) rescued_before += live.link->rescued_by_timeout();
  live = {};
  shm::Hello hello;
  if (options.transport == "socket") hello.features = shm::kFeatureCarry;
  std::memcpy(hello.name, options.name.data(),
              std::min(options.name.size(), sizeof hello.name - 1));
  std::minstd_rand random(std::random_device{}());
  for (Nanos pause = kBackoffMin;; pause = std::min(pause * 2, kBackoffMax)) {
    base::Result<std::shared_ptr<shm::Link>> made =
        shm::Link::open(options.socket, hello, std::max(deadline, base::now_ns() + kBackoffMax));
    if (made) {
      live.link = *made;
      return live.link;
    }
    const Code code = made.error().code;
    const bool may_come = code == Code::kUnavailable || code == Code::kSidecarGone ||
                          code == Code::kBusy || code == Code::kDeadlineExceeded;
    // Half to all of the pause, so that many clients do not come back in one moment.
    const Nanos wait = pause / 2 + static_cast<Nanos>(random()) % (pause / 2);
    if (!may_come || base::now_ns() + wait >= deadline) return made.error();
    std::this_thread::sleep_for(std::chrono::nanoseconds(wait));
  }
}

base::Result<ServicePtr> Client::State::service(const std::shared_ptr<shm::Link>& on,
                                                std::string_view name) {
  if (name.empty() || name.size() > kServiceNameMax) {
    return Error{Code::kInvalid,
                 "a service's name has 1 to 63 bytes, not " + std::to_string(name.size())};
  }
  {
    const std::lock_guard lock(mutex);
    if (live.link == on) {
      const auto found = live.services.find(name);
      if (found != live.services.end()) return found->second;
    }
  }
  const Nanos deadline = on->default_deadline(base::now_ns());
  base::Result<shm::Ticket> ticket = on->submit(
      {.op = shm::Op::kDescribe}, static_cast<std::uint32_t>(name.size()), deadline,
      [&](std::span<std::byte> out) { std::memcpy(out.data(), name.data(), name.size()); });
  if (!ticket) return ticket.error();
  base::Result<shm::Answer> answer = on->wait(*ticket);
  if (!answer) return answer.error();
  base::Result<ServicePtr> service = answer->fields.code == Code::kOk
                                         ? parse_description(answer->payload)
                                         : base::Result<ServicePtr>(shm::error_of(*answer));
  on->finish(*ticket);
  if (!service) return service;
  const std::lock_guard lock(mutex);
  if (live.link == on) live.services.emplace(name, *service);
  return service;
}

}  // namespace nacelle
