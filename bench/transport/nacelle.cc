// transport_nacelle: our client library against a running nacelled.
#include <array>
#include <deque>

#include "bench/transport/way.h"
#include "shm/client.h"
#include "shm/link.h"

namespace nacelle::bench {
namespace {

using base::Code;
using base::Error;
using base::Nanos;

constexpr std::size_t kInFlight = 48;  // below transport.slots
constexpr Nanos kPatience = 30 * base::kSecond;

class NacelleCaller : public Caller {
 public:
  NacelleCaller(std::string at, std::unique_ptr<Client> client)
      : at_(std::move(at)), client_(std::move(client)) {}

  base::Status call(std::span<const std::byte> request, std::span<std::byte> reply) override {
    return client_->ping(request, reply);
  }

  // Pings with many in flight, a reply of `size` bytes each, copied out: the nearest thing to
  // one-way traffic that the protocol has. A stream op belongs here once there is one.
  base::Result<OneWay> one_way(std::uint32_t size, Nanos duration) override {
    if (!link_) {
      auto link = shm::Link::open(at_, shm::Hello{}, base::now_ns() + kPatience);
      if (!link) return link.error();
      link_ = *std::move(link);
    }
    std::array<std::byte, kRequestSize> request;
    make_request(request, size, 1);
    std::vector<std::byte> expected(size);
    make_reply(request.data(), expected.data(), size);
    std::vector<std::byte> reply(size);
    const std::size_t window = std::min<std::size_t>(kInFlight, (2U << 20) / size);
    std::deque<shm::Ticket> flying;
    OneWay received;
    const Nanos begin = base::now_ns();
    for (bool more = true; more || !flying.empty();) {
      if (more && flying.size() < window) {
        const auto ticket = link_->submit(
            {.op = shm::Op::kPing, .items = size}, kRequestSize, begin + kPatience + duration,
            [&](std::span<std::byte> out) { std::memcpy(out.data(), request.data(), out.size()); });
        if (!ticket) return ticket.error();
        flying.push_back(*ticket);
        continue;
      }
      const auto answer = link_->wait(flying.front());
      if (!answer) return answer.error();
      if (answer->fields.code != Code::kOk || answer->payload.size() != size) {
        return Error{Code::kInternal, "a ping failed"};
      }
      std::memcpy(reply.data(), answer->payload.data(), size);
      link_->finish(flying.front());
      flying.pop_front();
      received.messages += 1;
      more = base::now_ns() - begin < duration;
    }
    received.duration = base::now_ns() - begin;
    received.bytes = received.messages * size;
    if (reply != expected) return Error{Code::kInternal, "the reply holds other bytes"};
    return received;
  }

  [[nodiscard]] std::uint64_t rescued() const override {
    return client_->rescued_by_timeout() + (link_ ? link_->rescued_by_timeout() : 0);
  }

 private:
  const std::string at_;
  std::unique_ptr<Client> client_;
  std::shared_ptr<shm::Link> link_;  // for one_way()
};

// One text to embed, in place of the null op; `at` is SOCKET,SERVICE,TEXT.
class EmbedCaller : public Caller {
 public:
  EmbedCaller(std::unique_ptr<Client> client, std::string service, std::string text)
      : client_(std::move(client)), service_(std::move(service)), text_(std::move(text)) {}

  // The reply that measure() expects is made here, once the vector is known to be the right one.
  base::Status call(std::span<const std::byte> request, std::span<std::byte> reply) override {
    const std::string_view texts[] = {text_};
    const auto rows = client_->embed(service_, texts);
    if (!rows) return rows.error();
    if (rows->items[0].code != 0 || rows->values.empty()) {
      return Error{Code::kInternal, "the text was not embedded"};
    }
    if (first_.empty()) first_ = rows->values;
    if (rows->values != first_) return Error{Code::kInternal, "another vector for the same text"};
    make_reply(request.data(), reply.data(), reply.size());
    return base::ok();
  }

 private:
  std::unique_ptr<Client> client_;
  const std::string service_;
  const std::string text_;
  std::vector<float> first_;
};

base::Result<std::unique_ptr<Caller>> connect(const std::string& at) {
  auto client = Client::connect({.socket = at, .name = "bench"});
  if (!client) return client.error();
  return std::unique_ptr<Caller>(std::make_unique<NacelleCaller>(at, *std::move(client)));
}

base::Result<std::unique_ptr<Caller>> connect_embed(const std::string& at) {
  const std::size_t one = at.find(',');
  const std::size_t two = at.find(',', one + 1);
  if (two == std::string::npos) return Error{Code::kInvalid, "give SOCKET,SERVICE,TEXT"};
  auto client = Client::connect({.socket = at.substr(0, one), .name = "bench"});
  if (!client) return client.error();
  return std::unique_ptr<Caller>(std::make_unique<EmbedCaller>(
      *std::move(client), at.substr(one + 1, two - one - 1), at.substr(two + 1)));
}

}  // namespace

std::span<const Way> ways() {
  // nacelled is the server of both.
  static constexpr Way kWays[] = {{"nacelle", nullptr, connect}, {"embed", nullptr, connect_embed}};
  return kWays;
}

}  // namespace nacelle::bench
