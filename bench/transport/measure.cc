// See measure.h.
#include "bench/transport/measure.h"

#include <sys/resource.h>

#include <array>
#include <cmath>
#include <string>

namespace nacelle::bench {
namespace {

using base::Code;
using base::Error;
using base::Nanos;

constexpr std::size_t kCallsMax = 1U << 24;
constexpr std::size_t kEnd = 8;  // bytes checked at each end of a reply

base::Nanos cpu_ns() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  const auto of = [](const timeval& time) {
    return time.tv_sec * base::kSecond + time.tv_usec * base::kMicrosecond;
  };
  return of(usage.ru_utime) + of(usage.ru_stime);
}

using Request = std::array<std::byte, kRequestSize>;

std::array<Request, kSerials> make_requests(std::uint32_t reply_size) {
  std::array<Request, kSerials> requests;
  for (std::uint32_t serial = 0; serial < kSerials; ++serial) {
    make_request(requests[serial], reply_size, serial);
  }
  return requests;
}

std::vector<std::vector<std::byte>> make_replies(std::span<const Request> requests,
                                                 std::uint32_t reply_size) {
  std::vector<std::vector<std::byte>> replies;
  for (const Request& request : requests) {
    replies.emplace_back(reply_size);
    make_reply(request.data(), replies.back().data(), reply_size);
  }
  return replies;
}

base::Status check_size(std::uint32_t reply_size) {
  if (reply_size >= kRequestSize && reply_size <= kReplyMax) return base::ok();
  return Error{Code::kInvalid, "replies have 64 to 65536 bytes"};
}

Error wrong_reply() { return Error{Code::kInternal, "the reply holds other bytes"}; }

}  // namespace

std::uint32_t Latencies::at(double share) const {
  if (sorted.empty()) return 0;
  const auto rank = static_cast<std::size_t>(std::ceil(share * static_cast<double>(sorted.size())));
  return sorted[std::clamp<std::size_t>(rank, 1, sorted.size()) - 1];
}

base::Status verify(Caller& caller, std::uint32_t reply_size, unsigned count) {
  if (base::Status good = check_size(reply_size); !good) return good;
  if (base::Status prepared = caller.prepare(reply_size); !prepared) return prepared;
  const auto requests = make_requests(reply_size);
  const auto expected = make_replies(requests, reply_size);
  std::vector<std::byte> reply(reply_size);
  for (unsigned i = 0; i < count; ++i) {
    std::fill(reply.begin(), reply.end(), std::byte{0xEE});
    if (base::Status called = caller.call(requests[i % kSerials], reply); !called) return called;
    if (reply != expected[i % kSerials]) return wrong_reply();
  }
  return base::ok();
}

base::Result<Latencies> measure(Caller& caller, const Load& load) {
  if (base::Status good = check_size(load.reply_size); !good) return good.error();
  if (base::Status prepared = caller.prepare(load.reply_size); !prepared) return prepared.error();
  const auto requests = make_requests(load.reply_size);
  const auto expected = make_replies(requests, load.reply_size);
  std::vector<std::byte> reply(load.reply_size);
  Latencies out;
  out.sorted.resize(kCallsMax / 16, 1);  // touched before, for the usual number of calls
  out.sorted.clear();
  while (base::now_ns() < load.start_at) {  // a spin, but only until the others are there
    const timespec nap{0, 100'000};
    if (load.start_at - base::now_ns() > base::kMillisecond) nanosleep(&nap, nullptr);
  }
  const Nanos cpu = cpu_ns();
  out.begin = base::now_ns();
  const Nanos stop = out.begin + load.duration;
  Nanos due = out.begin;
  for (std::uint32_t i = 0; out.sorted.size() < kCallsMax; i = (i + 1) % kSerials) {
    Nanos begin = base::now_ns();
    if (load.interval > 0) {
      while (begin < due) begin = base::now_ns();
      begin = due;
      due += load.interval;
    }
    const base::Status called = caller.call(requests[i], reply);
    out.end = base::now_ns();
    if (!called) return called.error();
    out.sorted.push_back(static_cast<std::uint32_t>(std::min<Nanos>(out.end - begin, UINT32_MAX)));
    const std::byte* right = expected[i].data();
    if (std::memcmp(reply.data(), right, kEnd) != 0 ||
        std::memcmp(&reply[load.reply_size - kEnd], right + load.reply_size - kEnd, kEnd) != 0) {
      return wrong_reply();
    }
    if (out.end >= stop) break;
  }
  out.cpu = cpu_ns() - cpu;
  std::sort(out.sorted.begin(), out.sorted.end());
  return out;
}

std::string to_json(const Latencies& latencies) {
  const auto field = [](const char* name, auto value) {
    return "\"" + std::string(name) + "\": " + std::to_string(value);
  };
  return "{" + field("count", latencies.sorted.size()) + ", " + field("p50", latencies.at(0.5)) +
         ", " + field("p99", latencies.at(0.99)) + ", " + field("p999", latencies.at(0.999)) +
         ", " + field("max", latencies.at(1)) + ", " + field("begin", latencies.begin) + ", " +
         field("end", latencies.end) + ", " + field("cpu", latencies.cpu) + "}";
}

}  // namespace nacelle::bench
