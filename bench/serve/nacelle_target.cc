// Nacelle: calls that do not wait, through nacelle::Client. Any number of them are under way on a
// connection until its slots are used up; then the client library itself answers "busy".
#include <cstring>
#include <utility>

#include "bench/serve/target.h"
#include "shm/client.h"
#include "shm/pending.h"

namespace nacelle::bench::serve {
namespace {

using base::Code;

struct Call {
  std::uint64_t id = 0;
  std::uint32_t text = 0;
  std::vector<float> row;
  std::unique_ptr<Pending> pending;
};

struct Connection {
  std::unique_ptr<Client> client;
  std::vector<Call> calls;  // under way; at most as many as the connection has slots
};

class NacelleTarget : public Target {
 public:
  NacelleTarget(const Question& question, std::vector<Connection> connections)
      : question_(question), connections_(std::move(connections)) {}

  [[nodiscard]] bool room() const override { return true; }

  void start(std::uint64_t id, std::uint32_t text, base::Nanos timeout,
             std::vector<Ended>& ended) override {
    Connection& connection = connections_[next_++ % connections_.size()];
    Call call{id, text, take_row(), nullptr};
    CallOptions options;
    // Whole milliseconds, and 0 would be the default.
    if (timeout > 0) options.timeout = std::chrono::milliseconds(1 + timeout / base::kMillisecond);
    auto pending = connection.client->start(shm::Op::kEmbed, question_.service,
                                            {question_.texts[text]}, call.row, {}, options);
    if (!pending) return end(call, pending.error(), 0, ended);
    call.pending = *std::move(pending);
    if (!look(call, ended)) connection.calls.push_back(std::move(call));
  }

  bool give_up(std::uint64_t id) override {
    for (Connection& connection : connections_) {
      for (Call& call : connection.calls) {
        if (call.id != id) continue;
        remove(connection, call);
        return true;
      }
    }
    return false;
  }

  void advance(std::vector<Ended>& ended) override {
    for (Connection& connection : connections_) {
      // All of them at each look: they share a descriptor (shm/pending.h).
      for (std::size_t i = 0; i < connection.calls.size();) {
        if (look(connection.calls[i], ended)) {
          remove(connection, connection.calls[i]);
        } else {
          ++i;
        }
      }
    }
  }

  void watch(std::vector<pollfd>& descriptors) const override {
    for (const Connection& connection : connections_) {
      if (connection.calls.empty()) continue;
      descriptors.push_back({connection.calls.front().pending->fd(), POLLIN, 0});
    }
  }

  [[nodiscard]] const std::string& complaint() const override { return complaint_; }

 private:
  // True when the call has ended.
  bool look(Call& call, std::vector<Ended>& ended) {
    CallReport report;
    const auto done = call.pending->advance(&report);
    if (!done) {
      end(call, done.error(), report.retry_after_us, ended);
      return true;
    }
    if (!*done) return false;
    const std::vector<float>& right = question_.vectors[call.text];
    const bool same = std::memcmp(call.row.data(), right.data(), right.size() * sizeof(float)) == 0;
    if (!same) complaint_ = "another vector for the same text";
    ended.push_back({call.id, same ? Outcome::kOk : Outcome::kFailed, 0});
    return true;
  }

  void end(const Call& call, const base::Error& error, std::uint32_t retry_after_us,
           std::vector<Ended>& ended) {
    Outcome outcome = Outcome::kFailed;
    if (error.code == Code::kBusy) outcome = Outcome::kBusy;
    if (error.code == Code::kDeadlineExceeded) outcome = Outcome::kDeadline;
    if (outcome == Outcome::kFailed) complaint_ = error.message;
    ended.push_back({call.id, outcome, retry_after_us});
  }

  void remove(Connection& connection, Call& call) {
    call.pending.reset();  // before its row has another owner
    rows_.push_back(std::move(call.row));
    if (&call != &connection.calls.back()) call = std::move(connection.calls.back());
    connection.calls.pop_back();
  }

  std::vector<float> take_row() {
    if (rows_.empty()) return std::vector<float>(question_.vectors.front().size());
    std::vector<float> row = std::move(rows_.back());
    rows_.pop_back();
    return row;
  }

  const Question& question_;
  std::vector<Connection> connections_;
  std::vector<std::vector<float>> rows_;  // that no call uses
  std::size_t next_ = 0;
  std::string complaint_;
};

base::Result<std::unique_ptr<Client>> connect(const Question& question) {
  return Client::connect({.socket = question.sockets.front(), .name = question.name});
}

}  // namespace

base::Status ask_alone(Question& question) {
  auto client = connect(question);
  if (!client) return client.error();
  for (const std::string& text : question.texts) {
    const std::string_view one = text;
    auto rows = (*client)->embed(question.service, {&one, 1});
    if (!rows) return rows.error();
    if (rows->report.items_failed != 0) {
      return base::Error{Code::kInvalid, "a text that cannot be embedded: " + text};
    }
    question.vectors.push_back(std::move(rows->values));
  }
  return base::ok();
}

base::Result<std::unique_ptr<Target>> connect_nacelle(const Question& question,
                                                      std::uint32_t connections) {
  std::vector<Connection> made(connections);
  for (Connection& connection : made) {
    auto client = connect(question);
    if (!client) return client.error();
    connection.client = *std::move(client);
    const auto described = connection.client->describe(question.service);
    if (!described) return described.error();
    if ((*described)->embed_width != question.vectors.front().size()) {
      return base::Error{Code::kInvalid, "the service has changed its model"};
    }
  }
  return std::unique_ptr<Target>(std::make_unique<NacelleTarget>(question, std::move(made)));
}

}  // namespace nacelle::bench::serve
