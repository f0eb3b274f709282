// Boost.Interprocess' message_queue: a named queue for each direction.
#include <unistd.h>

#include <boost/interprocess/ipc/message_queue.hpp>
#include <vector>

#include "bench/transport/plain.h"

namespace nacelle::bench {
namespace {

namespace ipc = boost::interprocess;
using base::Code;
using base::Error;

constexpr std::size_t kMessages = 4;

Error failed(const std::exception& error) {
  return Error{Code::kUnavailable, std::string("Boost's message queue: ") + error.what()};
}

class QueueCaller : public Caller {
 public:
  explicit QueueCaller(const std::string& at)
      : ask_(ipc::open_only, (at + "-ask").c_str()), tell_(ipc::open_only, (at + "-tell").c_str()) {
    // There is one client: the names are not needed any more, and nothing stays behind.
    ipc::message_queue::remove((at + "-ask").c_str());
    ipc::message_queue::remove((at + "-tell").c_str());
  }
  base::Status call(std::span<const std::byte> request, std::span<std::byte> reply) override {
    try {
      ask_.send(request.data(), request.size(), 0);
      std::size_t size = 0;
      unsigned priority = 0;
      // It takes nothing smaller than the queue's largest message.
      tell_.receive(message_.data(), message_.size(), size, priority);
      if (size != reply.size()) return Error{Code::kInternal, "the reply has another size"};
      std::memcpy(reply.data(), message_.data(), size);
    } catch (const std::exception& error) {
      return failed(error);
    }
    return base::ok();
  }

 private:
  ipc::message_queue ask_;
  ipc::message_queue tell_;
  std::vector<std::byte> message_ = std::vector<std::byte>(kReplyMax);
};

}  // namespace

base::Status serve_message_queue(const std::string& /*folder*/, const Ready& ready) {
  const std::string at = "nacelle-bench-" + std::to_string(::getpid());
  try {
    ipc::message_queue ask(ipc::create_only, (at + "-ask").c_str(), kMessages, kRequestSize);
    ipc::message_queue tell(ipc::create_only, (at + "-tell").c_str(), kMessages, kReplyMax);
    ready(at);
    std::vector<std::byte> reply(kReplyMax);
    std::byte request[kRequestSize];
    for (;;) {
      std::size_t size = 0;
      unsigned priority = 0;
      ask.receive(request, sizeof request, size, priority);
      const std::uint32_t wanted = wanted_size(request);
      make_reply(request, reply.data(), wanted);
      tell.send(reply.data(), wanted, 0);
    }
  } catch (const std::exception& error) {
    return failed(error);
  }
}

base::Result<std::unique_ptr<Caller>> connect_message_queue(const std::string& at) {
  try {
    return std::unique_ptr<Caller>(std::make_unique<QueueCaller>(at));
  } catch (const std::exception& error) {
    return failed(error);
  }
}

}  // namespace nacelle::bench
