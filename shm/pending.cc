#include "shm/pending.h"

#include <cstdint>
#include <optional>
#include <span>
#include <utility>

#include "shm/list_call.h"
#include "shm/lookup.h"

namespace nacelle {
namespace {

shm::ListCall with_texts(shm::ListCall call, std::span<const std::string_view> texts) {
  call.texts = texts;
  return call;
}

}  // namespace

struct Pending::State {
  // Of a call that asks the sidecar.
  struct Asking {
    Asking(const shm::ListCall& call, shm::Lookup looked, std::vector<std::string_view> list,
           std::shared_ptr<shm::Link> link)
        : texts(std::move(list)),
          rest(with_texts(call, texts), std::move(looked)),
          run(rest.call(), std::move(link)) {}

    std::vector<std::string_view> texts;
    shm::Remainder rest;
    shm::ListRun run;
    std::uint64_t round = 0;  // of looks at the calls of this link: the last that we had part in

    [[nodiscard]] CallReport report() const {
      CallReport report = run.report();
      report.items_cached = rest.hits();
      return report;
    }
  };

  std::shared_ptr<const ServiceInfo> service;
  CallReport done;  // without `asking`
  std::optional<Asking> asking;
};

Pending::Pending(const shm::ListCall& call, shm::Lookup looked, std::vector<std::string_view> texts,
                 std::shared_ptr<shm::Link> link, std::shared_ptr<const ServiceInfo> service)
    : state_(std::make_unique<State>()) {
  state_->service = std::move(service);
  state_->asking.emplace(call, std::move(looked), std::move(texts), std::move(link));
}

Pending::Pending(const CallReport& report, std::shared_ptr<const ServiceInfo> service)
    : state_(std::make_unique<State>()) {
  state_->service = std::move(service);
  state_->done = report;
}

Pending::~Pending() = default;

base::Result<std::optional<CallReport>> Pending::advance(CallReport* on_error) {
  if (!state_->asking) return std::optional<CallReport>(state_->done);
  State::Asking& asking = *state_->asking;
  asking.run.link().begin_look(asking.round);
  base::Result<bool> done = asking.run.advance();
  if (!done) {
    if (on_error != nullptr) *on_error = asking.report();
    return done.error();
  }
  return *done ? std::optional<CallReport>(asking.report()) : std::nullopt;
}

int Pending::fd() const { return state_->asking ? state_->asking->run.link().poll_fd() : -1; }

const ServiceInfo& Pending::service() const { return *state_->service; }

}  // namespace nacelle
