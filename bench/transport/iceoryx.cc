// transport_iceoryx: Eclipse iceoryx's request and response, polled on both sides. The daemon
// iox-roudi must run.
#include <unistd.h>

#include <csignal>
#include <iceoryx_hoofs/log/logmanager.hpp>
#include <iceoryx_posh/popo/untyped_client.hpp>
#include <iceoryx_posh/popo/untyped_server.hpp>
#include <iceoryx_posh/runtime/posh_runtime.hpp>

#include "bench/transport/way.h"

namespace nacelle::bench {
namespace {

using base::Code;
using base::Error;

constexpr std::uint32_t kAlignment = 8;

// The daemon ends badly when a process went without a word to it.
volatile std::sig_atomic_t stopping = 0;

void join() {
  iox::log::LogManager::GetLogManager().SetDefaultLogLevel(iox::log::LogLevel::kOff,
                                                           iox::log::LogLevelOutput::kHideLogLevel);
  iox::runtime::PoshRuntime::initRuntime(
      {iox::cxx::TruncateToCapacity, "nacelle-bench-" + std::to_string(::getpid())});
}

iox::capro::ServiceDescription service() { return {"Nacelle", "Benchmark", "Null"}; }

Error no(const char* what) {
  return Error{Code::kUnavailable, std::string("iceoryx: cannot ") + what};
}

class IceoryxCaller : public Caller {
 public:
  IceoryxCaller() : client_(service()) {}

  [[nodiscard]] bool connected() const {
    return client_.getConnectionState() == iox::ConnectionState::CONNECTED;
  }

  base::Status call(std::span<const std::byte> request, std::span<std::byte> reply) override {
    auto loan = client_.loan(kRequestSize, kAlignment);
    if (loan.has_error()) return no("loan a request");
    std::memcpy(loan.value(), request.data(), kRequestSize);
    if (client_.send(loan.value()).has_error()) return no("send a request");
    for (;;) {
      auto taken = client_.take();
      if (taken.has_error()) continue;
      std::memcpy(reply.data(), taken.value(), reply.size());
      client_.releaseResponse(taken.value());
      return base::ok();
    }
  }

 private:
  iox::popo::UntypedClient client_;
};

base::Status serve(const std::string& /*folder*/, const Ready& ready) {
  join();
  iox::popo::UntypedServer server(service());
  ::signal(SIGTERM, [](int) { stopping = 1; });
  ready("iceoryx");
  while (stopping == 0) {
    auto request = server.take();
    if (request.has_error()) continue;
    const auto* bytes = static_cast<const std::byte*>(request.value());
    const std::uint32_t size = wanted_size(bytes);
    auto reply =
        server.loan(iox::popo::RequestHeader::fromPayload(request.value()), size, kAlignment);
    if (reply.has_error()) return no("loan a reply");
    make_reply(bytes, static_cast<std::byte*>(reply.value()), size);
    if (server.send(reply.value()).has_error()) return no("send a reply");
    server.releaseRequest(request.value());
  }
  return base::ok();
}

base::Result<std::unique_ptr<Caller>> connect(const std::string& /*at*/) {
  join();
  auto caller = std::make_unique<IceoryxCaller>();
  const base::Nanos stop = base::now_ns() + 10 * base::kSecond;
  while (!caller->connected()) {  // the daemon brings the two together
    if (base::now_ns() > stop) return no("connect to its server");
    ::usleep(1000);
  }
  return std::unique_ptr<Caller>(std::move(caller));
}

}  // namespace

std::span<const Way> ways() {
  static constexpr Way kWays[] = {{"iceoryx", serve, connect}};
  return kWays;
}

}  // namespace nacelle::bench
