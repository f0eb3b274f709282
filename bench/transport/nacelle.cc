// transport_nacelle: our client library against a running nacelled.
#include <array>
#include <span>
#include <string>

#include "bench/transport/way.h"
#include "shm/client.h"
#include "shm/stream.h"

namespace nacelle::bench {
namespace {

using base::Code;
using base::Error;
using base::Nanos;

constexpr std::size_t kPiecesAtOnce = 256;

// Whether this is piece `index` of a ping stream.
bool right(std::span<const std::byte> piece, std::uint32_t index, std::uint32_t size) {
  if (piece.size() != size || piece[0] != static_cast<std::byte>(index)) return false;
  if (index % 100 != 0) return piece[size - 1] == static_cast<std::byte>(index + size - 1);
  for (std::uint32_t j = 0; j < size; ++j) {
    if (piece[j] != static_cast<std::byte>(index + j)) return false;
  }
  return true;
}

class NacelleCaller : public Caller {
 public:
  explicit NacelleCaller(std::unique_ptr<Client> client) : client_(std::move(client)) {}

  base::Status call(std::span<const std::byte> request, std::span<std::byte> reply) override {
    return client_->ping(request, reply);
  }

  // A stream, read as fast as it comes: every piece's size and place in the order are checked, and
  // the whole of every hundredth.
  base::Result<OneWay> one_way(std::uint32_t size, Nanos duration) override {
    auto stream = client_->ping_stream(UINT32_MAX, size);
    if (!stream) return stream.error();
    OneWay received;
    Nanos now = base::now_ns();
    const Nanos begin = now;
    std::array<std::span<const std::byte>, kPiecesAtOnce> pieces;
    while (now - begin < duration) {
      const auto count = (*stream)->next(pieces);
      if (!count) return count.error();
      for (const auto& piece : std::span(pieces).first(*count)) {
        const auto index = static_cast<std::uint32_t>(received.messages++);
        if (!right(piece, index, size)) {
          return Error{Code::kInternal, "piece " + std::to_string(index) + " is not what it was"};
        }
      }
      if (*count == 0) return Error{Code::kInternal, "the stream ended"};
      now = base::now_ns();
    }
    received.duration = now - begin;
    received.bytes = received.messages * size;
    return received;
  }

  [[nodiscard]] std::uint64_t rescued() const override { return client_->rescued_by_timeout(); }

 private:
  std::unique_ptr<Client> client_;
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
  return std::unique_ptr<Caller>(std::make_unique<NacelleCaller>(*std::move(client)));
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
